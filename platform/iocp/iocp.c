#include "platform/iocp/iocp.h"

#include <stdlib.h>
#include <string.h>

#include "platform/error_map.h"
#include "platform/os.h"

#ifndef CREATE_WAITABLE_TIMER_HIGH_RESOLUTION
#define CREATE_WAITABLE_TIMER_HIGH_RESOLUTION 0x00000002 /* Windows 10 1803 */
#endif

void wr_iocp_finish(wr_iocp *cq, wr_op *op, int error, int system_error)
{
    op->settled = true;
    wr_done_add(&cq->owner.done, op, error, system_error);
}

void wr_iocp_finish_system(wr_iocp *cq, wr_op *op, int system_error)
{
    wr_iocp_finish(cq, op, wr_error_from_system(system_error), system_error);
}

void wr_iocp_queue(wr_iocp *cq, wr_iocp_socket *s)
{
    if (s->queued) return;
    s->queued = true;
    wr_ready_add(&cq->owner.ready, &cq->owner.sockets, sizeof *s, &s->record);
}

/* Flights. */

/* An immediate success queues a packet too, unless the socket skips it; an immediate failure does not. (A warning
 * does, but those are of datagrams: to datagram.c they are successes.) */
enum wr_launch wr_iocp_launched(wr_iocp *cq, wr_iocp_socket *s, bool succeeded, int code)
{
    if (succeeded && s->skips) return WR_LAUNCH_DONE;
    if (!succeeded && code != WSA_IO_PENDING) return WR_LAUNCH_FAILED;
    s->aloft++;
    cq->owner.aloft++;
    return WR_LAUNCH_ALOFT;
}

int wr_iocp_result(const wr_iocp *cq, const wr_iocp_socket *s, OVERLAPPED *overlapped, DWORD *bytes)
{
    DWORD flags;
    return cq->owner.calls->wsa_result(s->os, overlapped, bytes, FALSE, &flags) ? 0 : WSAGetLastError();
}

wr_outgoing *wr_iocp_lease(wr_iocp *cq, wr_iocp_socket *s, wr_op *op)
{
    assert(!s->out);
    s->out = wr_pool_get(&cq->owner.outgoing);
    if (s->out) *s->out = (wr_outgoing){ .op = op };
    return s->out;
}

wr_op *wr_iocp_give_back(wr_iocp *cq, wr_iocp_socket *s)
{
    wr_op *op = s->out->op;
    wr_pool_put(&cq->owner.outgoing, s->out);
    s->out = NULL;
    return op;
}

void wr_iocp_finish_out(wr_iocp *cq, wr_iocp_socket *s, int code)
{
    wr_iocp_finish_system(cq, wr_iocp_give_back(cq, s), code);
}

/* The one place where a closed socket ends: with its last flight. Until then Windows reads what is being sent, and
 * writes to what is being accepted. The close comes last. */
static void finish_closing(wr_iocp *cq, wr_iocp_socket *s)
{
    if (s->aloft > 0) return;
    if (s->kind == WR_IOCP_LISTENER)
        wr_iocp_free_accepts(cq, s);
    else if (s->kind == WR_IOCP_DATAGRAM && s->dispatch)
        wr_iocp_finish_send_to(cq, s, WEIR_ECANCELED);
    else if (s->out)
        wr_iocp_finish(cq, wr_iocp_give_back(cq, s), WEIR_ECANCELED, 0);
    if (s->in) wr_iocp_finish(cq, s->in, 0, 0);
    s->kind = WR_IOCP_FREE;
    if (!s->queued) wr_table_recycle(&cq->owner.sockets, &s->record);
}

void wr_iocp_drop(wr_iocp *cq, wr_iocp_socket *s, wr_op *close, bool reset)
{
    assert(!s->closing);
    s->closing = true;
    /* Closing alone does not end all that is pending. Nothing pending, or done already, is fine, and lands all the
     * same. */
    if (s->aloft > 0) (void)cq->owner.calls->cancel_io((HANDLE)s->os, NULL);
    wr_socket_close(s->os, reset);
    wr_table_retire(&s->record);
    if (s->in) wr_iocp_finish(cq, s->in, WEIR_ECANCELED, 0);
    s->in = close;
    finish_closing(cq, s);
}

static void land(wr_iocp *cq, uint32_t slot, OVERLAPPED *overlapped)
{
    wr_iocp_socket *s = wr_iocp_slot(cq, slot);
    assert(s->aloft > 0);
    s->aloft--;
    cq->owner.aloft--;
    if (s->kind == WR_IOCP_DATAGRAM && overlapped != &s->notice) wr_iocp_send_to_landed(cq, s, overlapped);
    if (s->closing)
        finish_closing(cq, s);
    else if (s->kind == WR_IOCP_LISTENER)
        wr_iocp_accept_landed(cq, s, overlapped);
    else if (overlapped == &s->notice)
        wr_iocp_recv_landed(cq, s);
    else if (s->kind == WR_IOCP_CONNECTING)
        wr_iocp_connect_landed(cq, s);
    else if (s->kind == WR_IOCP_STREAM)
        wr_iocp_send_landed(cq, s);
}

/* Sockets. */

/* Skipping packets is right only where nothing layered on Winsock sits in between: such providers say that their
 * handles are no file handles. And not for datagrams: whether a warning is skipped like a success is nowhere said, and
 * versions of Windows are known to get it wrong for them. */
static bool can_skip(const wr_calls *calls, SOCKET socket)
{
    WSAPROTOCOL_INFOW info;
    int length = sizeof info;
    if (calls->getsockopt(socket, SOL_SOCKET, SO_PROTOCOL_INFOW, (char *)&info, &length) != 0) return false;
    return info.iSocketType == SOCK_STREAM && (info.dwServiceFlags1 & XP1_IFS_HANDLES) != 0;
}

wr_iocp_socket *wr_iocp_add(wr_iocp *cq, SOCKET socket, enum wr_iocp_kind kind, int *error)
{
    wr_iocp_socket *s = wr_table_take(&cq->owner.sockets, sizeof *s);
    *error = WEIR_ENOMEM;
    if (!s) return NULL;
    if (!cq->owner.calls->create_port((HANDLE)socket, cq->owner.port, s->record.slot, 0)) {
        *error = WEIR_ESYSTEM;
        wr_table_recycle(&cq->owner.sockets, &s->record);
        return NULL;
    }
    s->os = socket;
    s->kind = kind & 7;
    UCHAR mode = FILE_SKIP_COMPLETION_PORT_ON_SUCCESS | FILE_SKIP_SET_EVENT_ON_HANDLE;
    s->skips = can_skip(cq->owner.calls, socket) && cq->owner.calls->set_modes((HANDLE)socket, mode);
    return s;
}

static int iocp_adopt(wr_cq *base, wr_detached socket, wr_sock *out)
{
    int error;
    const wr_iocp_socket *s = wr_iocp_add(wr_iocp_of(base), (SOCKET)socket.os, WR_IOCP_NEW, &error);
    if (!s) return error;
    *out = (wr_sock){ .slot = s->record.slot, .generation = s->record.generation };
    return 0;
}

static void iocp_discard(wr_cq *base, wr_detached socket)
{
    (void)base;
    wr_socket_close((SOCKET)socket.os, false);
}

static void iocp_close(wr_cq *base, wr_sock sock, wr_op *op, bool reset)
{
    wr_iocp *cq = wr_iocp_of(base);
    wr_iocp_socket *s = wr_iocp_get(cq, sock);
    wr_op_begin(op, WR_OP_CLOSE, sock.slot);
    wr_iocp_drop(cq, s, op, reset);
}

static void iocp_local(wr_cq *base, wr_sock sock, wr_addr *out)
{
    wr_socket_local(wr_iocp_get(wr_iocp_of(base), sock)->os, out);
}

static void iocp_buf_return(wr_cq *base, uint8_t *buffer)
{
    wr_pool_put(&wr_iocp_of(base)->owner.buffers, buffer);
}

static void iocp_datagrams_return(wr_cq *base, const wr_datagram *datagrams)
{
    wr_pool_put(&wr_iocp_of(base)->owner.leases, (void *)(uintptr_t)datagrams); /* the lease begins with it */
}

static uint64_t iocp_now(wr_cq *base)
{
    (void)base;
    return wr_os_now_ns();
}

/* A lost wake-up would hang the process silently, so a failure here is its end. */
static void iocp_post(wr_cq *base, wr_op *op)
{
    wr_iocp *cq = wr_iocp_of(base);
    wr_op_begin(op, WR_OP_POST, WR_NO_SLOT);
    if (wr_posts_push(&cq->posts, op) && !cq->owner.calls->post_packet(cq->owner.port, 0, 0, NULL)) abort();
}

/* Waiting. */

static unsigned take_done(wr_iocp *cq, wr_completion *out, unsigned capacity)
{
    unsigned count = 0;
    while (count < capacity) {
        wr_op *op = wr_done_take(&cq->owner.done);
        if (!op) break;
        out[count] = wr_done_completion(op);
        if (op->kind == WR_OP_CONNECT && op->error == 0) {
            out[count].connected.slot = op->slot;
            out[count].connected.generation = wr_iocp_slot(cq, op->slot)->record.generation;
        }
        count++;
    }
    return count;
}

/* What one socket has to deliver, into `capacity` (at least 1) places. */
static unsigned serve(wr_iocp *cq, wr_iocp_socket *s, wr_completion *out, unsigned capacity)
{
    switch (s->kind) {
    case WR_IOCP_FREE: /* closed while it stood in the list */
        wr_table_recycle(&cq->owner.sockets, &s->record);
        return 0;
    case WR_IOCP_LISTENER:
        return s->closing ? 0 : wr_iocp_serve_accept(cq, s, out, capacity);
    case WR_IOCP_DATAGRAM:
        if (s->closing) return 0;
        if (s->dispatch) wr_iocp_serve_send_to(cq, s);
        return s->in && s->readable ? wr_iocp_serve_recv_from(cq, s, out) : 0;
    default:
        if (s->closing) return 0;
        if (s->out && !s->out->aloft) wr_iocp_serve_send(cq, s);
        return s->in && s->readable ? wr_iocp_serve_recv(cq, s, out) : 0;
    }
}

/* Looks once at each socket that stands in the list at the start, so that a busy one cannot hold up the others. */
static unsigned serve_ready(wr_iocp *cq, wr_completion *out, unsigned capacity)
{
    unsigned count = 0;
    uint32_t last = cq->owner.ready.last;
    while (count < capacity && !wr_ready_empty(&cq->owner.ready)) {
        wr_iocp_socket *s = wr_ready_take(&cq->owner.ready, &cq->owner.sockets, sizeof *s);
        uint32_t slot = s->record.slot;
        s->queued = false;
        count += serve(cq, s, out + count, capacity - count);
        if (slot == last) break;
    }
    return count;
}

static VOID CALLBACK timer_has_fired(PVOID arg, DWORD low, DWORD high)
{
    (void)arg, (void)low, (void)high; /* that it ran has ended the wait */
}

/* How long to wait in milliseconds, rounded up. A short wait gets a timer as fine as the system has, which ends the
 * (alertable) wait by a procedure call: the port's own timeouts may come a clock tick of 15.6 ms late. */
static DWORD prepare_wait(wr_iocp *cq, uint64_t deadline_ns, bool *fine)
{
    *fine = false;
    if (deadline_ns == WR_DEADLINE_NOW) return 0;
    if (deadline_ns == WR_DEADLINE_NEVER) return INFINITE;
    uint64_t now = wr_os_now_ns();
    if (deadline_ns <= now) return 0;
    uint64_t left = deadline_ns - now;
    uint64_t ms = left / 1000000 + (left % 1000000 != 0);
    if (cq->owner.timer && ms <= WR_FINE_WAIT_MS) {
        LARGE_INTEGER due = { .QuadPart = -(LONGLONG)((left + 99) / 100) };
        *fine = SetWaitableTimer(cq->owner.timer, &due, 0, timer_has_fired, NULL, FALSE);
        if (*fine) return INFINITE;
    }
    return ms < INFINITE ? (DWORD)ms : INFINITE - 1;
}

/* The wait itself. What Windows may say beside that the time is over, or that a procedure call came, is that it lacks
 * what it needs to hand over many packets, but not one; or that the port is none. A queue that cannot wait would spin
 * for ever, so that is its process's end. */
static ULONG take_packets(wr_iocp *cq, OVERLAPPED_ENTRY *packets, DWORD ms, bool fine)
{
    ULONG count = 0;
    for (ULONG room = WR_IOCP_PACKETS; room > 0; room /= WR_IOCP_PACKETS) {
        if (cq->owner.calls->get_packets(cq->owner.port, packets, room, &count, ms, fine)) return count;
        DWORD error = GetLastError();
        if (error == WAIT_TIMEOUT || error == WAIT_IO_COMPLETION) return 0;
    }
    abort();
}

static void poll_port(wr_iocp *cq, uint64_t deadline_ns)
{
    OVERLAPPED_ENTRY packets[WR_IOCP_PACKETS];
    bool fine;
    DWORD ms = prepare_wait(cq, deadline_ns, &fine);
    ULONG count = take_packets(cq, packets, ms, fine);
    if (fine) (void)CancelWaitableTimer(cq->owner.timer);
    for (ULONG i = 0; i < count; i++)
        if (packets[i].lpOverlapped)
            land(cq, (uint32_t)packets[i].lpCompletionKey, packets[i].lpOverlapped); /* else a wake-up */
}

static unsigned take_posts(wr_iocp *cq, wr_completion *out, unsigned capacity)
{
    unsigned count = 0;
    while (count < capacity) {
        wr_op *op = wr_posts_take(&cq->posts);
        if (!op) break;
        op->pending = false;
        out[count++] = (wr_completion){ .op = op };
    }
    return count;
}

/* Where there is more to deliver than room, nobody may always come last: posts and sockets take turns, and the results
 * of submits had the last wait for themselves. */
static unsigned collect(wr_iocp *cq, wr_completion *out, unsigned capacity)
{
    unsigned count = 0;
    cq->owner.posts_first = !cq->owner.posts_first;
    if (cq->owner.posts_first) count += take_posts(cq, out, capacity);
    count += serve_ready(cq, out + count, capacity - count);
    if (!cq->owner.posts_first) count += take_posts(cq, out + count, capacity - count);
    return count + take_done(cq, out + count, capacity - count);
}

static unsigned iocp_wait(wr_cq *base, wr_completion *out, unsigned capacity, uint64_t deadline_ns)
{
    wr_iocp *cq = wr_iocp_of(base);
    assert(capacity > 0);
    if (cq->owner.done.first && !cq->owner.poll_owed) {
        cq->owner.poll_owed = true;
        return take_done(cq, out, capacity);
    }
    cq->owner.poll_owed = false;
    bool at_hand = cq->owner.done.first || !wr_ready_empty(&cq->owner.ready) || !wr_posts_empty(&cq->posts);
    poll_port(cq, at_hand ? WR_DEADLINE_NOW : deadline_ns);
    return collect(cq, out, capacity);
}

static void iocp_destroy(wr_cq *base)
{
    wr_iocp *cq = wr_iocp_of(base);
    wr_memory *memory = cq->owner.memory;
    for (uint32_t slot = 0; slot < wr_table_slots(&cq->owner.sockets); slot++) {
        wr_iocp_socket *s = wr_iocp_slot(cq, slot);
        if (s->kind != WR_IOCP_FREE && !s->closing) wr_iocp_drop(cq, s, NULL, false);
    }
    while (cq->owner.aloft > 0) poll_port(cq, WR_DEADLINE_NEVER); /* Windows still writes to what is aloft */
    wr_table_destroy(&cq->owner.sockets);
    wr_pool_destroy(&cq->owner.buffers);
    wr_pool_destroy(&cq->owner.outgoing);
    wr_pool_destroy(&cq->owner.leases);
    wr_pool_destroy(&cq->owner.dispatches);
    if (cq->owner.timer) (void)CloseHandle(cq->owner.timer);
    if (cq->owner.port) (void)CloseHandle(cq->owner.port);
    wr_free(memory, cq, sizeof *cq);
}

int wr_iocp_create(const wr_calls *calls, wr_cq **out, const wr_cq_options *options)
{
    wr_iocp *cq = wr_alloc(options->memory, sizeof *cq);
    if (!cq) return WEIR_ENOMEM;
    memset(cq, 0, sizeof *cq);
    cq->base.ops = &wr_cq_iocp;
    cq->owner.memory = options->memory;
    cq->owner.calls = calls;
    wr_ready_init(&cq->owner.ready);
    wr_table_init(&cq->owner.sockets, options->memory, sizeof(wr_iocp_socket));
    wr_pool_init(&cq->owner.buffers, options->memory, options->buffer_size ? options->buffer_size : WR_BUFFER_SIZE,
                 WR_BUFFERS_KEPT);
    wr_pool_init(&cq->owner.outgoing, options->memory, sizeof(wr_outgoing), WR_OUTGOING_KEPT);
    wr_pool_init(&cq->owner.leases, options->memory, sizeof(wr_lease), WR_LEASES_KEPT);
    wr_pool_init(&cq->owner.dispatches, options->memory, sizeof(wr_dispatch), WR_DISPATCHES_KEPT);
    /* One thread waits at a time, but in manual mode it need not be the same one: Windows counts as the port's whoever
     * waited last, and would keep the packets of a port for one thread from the next while the former runs. */
    cq->owner.port = calls->create_port(INVALID_HANDLE_VALUE, NULL, 0, MAXLONG);
    if (!cq->owner.port) {
        iocp_destroy(&cq->base);
        return WEIR_ESYSTEM;
    }
    cq->owner.timer =
        calls->create_timer(NULL, NULL, CREATE_WAITABLE_TIMER_HIGH_RESOLUTION, TIMER_MODIFY_STATE | SYNCHRONIZE);
    *out = &cq->base;
    return 0;
}

static int iocp_create(wr_cq **out, const wr_cq_options *options)
{
    const wr_calls *calls = wr_calls_get();
    return calls ? wr_iocp_create(calls, out, options) : WEIR_ESYSTEM;
}

const struct wr_cq_ops wr_cq_iocp = {
    .name = "iocp",
    .create = iocp_create,
    .destroy = iocp_destroy,
    .now = iocp_now,
    .wait = iocp_wait,
    .post = iocp_post,
    .listen = wr_iocp_listen,
    .adopt = iocp_adopt,
    .discard = iocp_discard,
    .accept = wr_iocp_accept,
    .connect = wr_iocp_connect,
    .cancel = wr_iocp_cancel,
    .recv = wr_iocp_recv,
    .buf_return = iocp_buf_return,
    .send = wr_iocp_send,
    .shutdown = wr_iocp_shutdown,
    .close = iocp_close,
    .local = iocp_local,
    .udp_open = wr_iocp_udp_open,
    .recv_from = wr_iocp_recv_from,
    .datagrams_return = iocp_datagrams_return,
    .send_to = wr_iocp_send_to,
};
