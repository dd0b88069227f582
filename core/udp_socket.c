/* A UDP socket on its worker: receiving, sending a batch a pass, closing. */
#include <assert.h>
#include <string.h>

#include "core/log.h"
#include "core/runtime.h"
#include "core/udp.h"
#include "platform/bug.h"

/* After a shortage of memory: as for an acceptor. */
enum { SHORTAGE_PAUSE_MS = 100 };

static void touch(weir_udp_socket *socket)
{
    if (socket->dirty) return;
    socket->dirty = true;
    socket->dirty_next = socket->worker->owner.udp_dirty;
    socket->worker->owner.udp_dirty = socket;
}

static bool is_adopted(const weir_udp_socket *socket)
{
    return socket->sock.generation != 0;
}

static void unlink_from_worker(weir_udp_socket *socket)
{
    weir_udp_socket **link = &socket->worker->owner.udp_sockets;
    while (*link != socket) link = &(*link)->next;
    *link = socket->next;
}

/* The queue knows it no more. It may still stand among the dirty ones. */
static void closed(weir_udp_socket *socket)
{
    wr_worker *worker = socket->worker;
    socket->sock = (wr_sock){ .generation = 0 };
    wr_wheel_disarm(&worker->owner.wheel, &socket->timer);
    wr_sub(&worker->counters.udp_queued, socket->queue.waiting.charge);
    wr_add(&worker->counters.udp_dropped, wr_udp_queue_drop(&socket->queue, &worker->owner.segments.chunks));
    wr_sub(&worker->counters.udp_sockets, 1);
    unlink_from_worker(socket);
    if (socket->udp->protocol.on_close) socket->udp->protocol.on_close(socket, socket->reason);
    wr_worker_check_drained(worker);
}

static void begin_close(weir_udp_socket *socket, int error, int system_error)
{
    wr_worker *worker = socket->worker;
    if (socket->closing) return;
    socket->closing = true;
    socket->reason = (weir_reason){ error, system_error };
    wr_wheel_arm(&worker->owner.wheel, &socket->timer, worker->owner.now_ms + worker->runtime->options.stop_timeout_ms);
    if (is_adopted(socket)) {
        touch(socket);
    } else {
        wr_cq_discard(worker->cq, socket->detached);
        closed(socket);
    }
}

/* The one place that submits. */
static void reconcile(weir_udp_socket *socket)
{
    wr_cq *cq = socket->worker->cq;
    if (!is_adopted(socket) || socket->close.pending) return;
    if (!socket->send.pending) {
        socket->batch.first = wr_udp_queue_launch(&socket->queue);
        if (socket->batch.first) wr_cq_send_to(cq, socket->sock, &socket->send, &socket->batch);
    }
    if (!socket->closing) {
        if (!socket->paused && !socket->recv.pending)
            wr_cq_recv_from(cq, socket->sock, &socket->recv, socket->udp->max_datagram);
    } else if (!socket->send.pending || socket->expired) {
        wr_cq_close(cq, socket->sock, &socket->close, false);
    }
}

void wr_udp_sockets_reconcile(wr_worker *worker)
{
    while (worker->owner.udp_dirty) {
        weir_udp_socket *socket = worker->owner.udp_dirty;
        worker->owner.udp_dirty = socket->dirty_next;
        socket->dirty = false;
        reconcile(socket);
    }
}

static void pause_for(weir_udp_socket *socket, uint64_t ms)
{
    if (socket->closing) return;
    socket->paused = true;
    wr_wheel_arm(&socket->worker->owner.wheel, &socket->timer, socket->worker->owner.now_ms + ms);
}

/* Without the memory for it, the port keeps what the kernel's buffer holds, and tries again. */
static void adopt(weir_udp_socket *socket)
{
    wr_worker *worker = socket->worker;
    if (wr_cq_adopt(worker->cq, socket->detached, &socket->sock) == 0) {
        touch(socket);
        return;
    }
    wr_log(worker->runtime, WEIR_LOG_WARNING, "worker %u: no memory for a UDP socket; it pauses for %d ms",
           worker->index, SHORTAGE_PAUSE_MS);
    pause_for(socket, SHORTAGE_PAUSE_MS);
}

void wr_udp_socket_expire(weir_udp_socket *socket)
{
    socket->paused = WR_BUG(udp_stays_paused) && socket->paused;
    socket->expired = socket->closing;
    if (is_adopted(socket))
        touch(socket);
    else
        adopt(socket);
}

/* ---- receiving ---- */

static weir_udp_peer peer_of(const wr_addr *addr)
{
    weir_udp_peer peer = { .scope = addr->scope, .port = addr->port, .family = addr->family };
    memcpy(peer.ip, addr->ip, sizeof peer.ip);
    return peer;
}

static void deliver(weir_udp_socket *socket, const wr_datagram *datagrams)
{
    const weir_udp_protocol *protocol = &socket->udp->protocol;
    uint64_t count = 0, bytes = 0, truncated = 0;
    for (const wr_datagram *datagram = datagrams; datagram; datagram = datagram->next) {
        if (datagram->truncated) {
            truncated++;
            continue;
        }
        count++;
        bytes += datagram->size;
        if (!protocol->on_datagram) continue;
        weir_udp_peer from = peer_of(&datagram->peer);
        protocol->on_datagram(socket, &from, datagram->data, datagram->size);
    }
    wr_counters *counters = &socket->worker->counters;
    wr_add(&counters->udp_received, count);
    wr_add(&counters->udp_bytes_received, bytes);
    wr_add(&counters->udp_truncated, truncated);
}

static void receive_failed(weir_udp_socket *socket, const wr_completion *completion)
{
    const weir_runtime *runtime = socket->worker->runtime;
    if (completion->error == WEIR_ENOMEM || completion->error == WEIR_ENOBUFS) {
        wr_log(runtime, WEIR_LOG_WARNING, "worker %u: a UDP receive failed: %s; it pauses for %d ms",
               socket->worker->index, weir_strerror(completion->error), SHORTAGE_PAUSE_MS);
        pause_for(socket, SHORTAGE_PAUSE_MS);
        return;
    }
    wr_log(runtime, WEIR_LOG_ERROR, "worker %u: a UDP socket failed: %s (%d)", socket->worker->index,
           weir_strerror(completion->error), completion->system_error);
    begin_close(socket, completion->error, completion->system_error);
}

static void received(weir_udp_socket *socket, const wr_completion *completion)
{
    if (completion->error == 0) {
        if (!socket->closing) deliver(socket, completion->datagrams);
        if (WR_BUG(datagrams_kept) && socket->closing) return;
        wr_cq_datagrams_return(socket->worker->cq, completion->datagrams);
    } else if (!socket->closing) {
        receive_failed(socket, completion);
    }
}

/* ---- sending ---- */

int wr_udp_enqueue(weir_udp_socket *socket, const wr_addr *peer, const void *bytes, uint32_t size, weir_buf *buf)
{
    wr_worker *worker = socket->worker;
    if (socket->closing) return WEIR_ECLOSED;
    int error = WEIR_ELIMIT;
    uint64_t queued = (uint64_t)wr_udp_queue_charge(&socket->queue) +
                      atomic_load_explicit(&socket->shared.queued, memory_order_relaxed);
    if (queued + wr_udp_charge(size) <= socket->udp->max_queued)
        error = wr_udp_queue_push(&socket->queue, &worker->owner.segments.chunks, peer, bytes, size, buf);
    if (error) {
        wr_add(&worker->counters.udp_dropped, 1);
        return error;
    }
    wr_add(&worker->counters.udp_queued, wr_udp_charge(size));
    touch(socket);
    return 0;
}

/* What an error of the whole send has left over is lost; the next one may have more luck. */
static void sent(weir_udp_socket *socket)
{
    wr_worker *worker = socket->worker;
    wr_counters *counters = &worker->counters;
    const wr_send_batch *batch = &socket->batch;
    wr_sub(&counters->udp_queued, socket->queue.flight.charge);
    uint32_t count = wr_udp_queue_landed(&socket->queue, &worker->owner.segments.chunks);
    wr_add(&counters->udp_sent, batch->sent);
    wr_add(&counters->udp_bytes_sent, batch->sent_bytes);
    wr_add(&counters->udp_refused, batch->refused);
    wr_add(&counters->udp_dropped, count - batch->sent - batch->refused);
}

/* ---- coming and going ---- */

void wr_udp_socket_complete(weir_udp_socket *socket, const wr_completion *completion)
{
    if (completion->op == &socket->close) {
        closed(socket);
        return;
    }
    if (completion->op == &socket->recv)
        received(socket, completion);
    else
        sent(socket);
    touch(socket);
}

void wr_udp_socket_attach(wr_worker *worker, wr_message *message)
{
    weir_udp_socket *socket = WR_CONTAINER_OF(message, weir_udp_socket, attach);
    if (worker->owner.stopping) {
        wr_udp_socket_drop(worker, message);
        return;
    }
    socket->attached = true;
    socket->next = worker->owner.udp_sockets;
    worker->owner.udp_sockets = socket;
    wr_add(&worker->counters.udp_sockets, 1);
    adopt(socket);
}

void wr_udp_socket_drop(wr_worker *worker, wr_message *message)
{
    weir_udp_socket *socket = WR_CONTAINER_OF(message, weir_udp_socket, attach);
    wr_cq_discard(worker->cq, socket->detached);
    socket->closing = true;
    if (socket->udp->protocol.on_close) socket->udp->protocol.on_close(socket, (weir_reason){ WEIR_ESTOPPED, 0 });
}

void wr_udp_socket_shut(wr_worker *worker, wr_message *message)
{
    (void)worker;
    weir_udp_socket *socket = WR_CONTAINER_OF(message, weir_udp_socket, shut);
    if (socket->attached) begin_close(socket, WEIR_ECLOSED, 0);
}

void wr_udp_sockets_stop(wr_worker *worker)
{
    weir_udp_socket *next;
    for (weir_udp_socket *socket = worker->owner.udp_sockets; socket; socket = next) {
        next = socket->next;
        if (socket->closing) continue;
        if (socket->udp->protocol.on_stop) socket->udp->protocol.on_stop(socket);
        begin_close(socket, WEIR_ESTOPPED, 0);
    }
}
