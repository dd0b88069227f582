/* Accepting on a worker: admission, placement, pauses. */
#include <assert.h>
#include <stdio.h>

#include "core/conn.h"
#include "core/inbox.h"
#include "core/listener.h"
#include "core/log.h"
#include "core/runtime.h"
#include "platform/bug.h"

/* After a shortage of descriptors or memory. Long enough to cost nothing, short enough that nobody who waits in the
 * backlog gives up. */
enum { SHORTAGE_PAUSE_MS = 100 };

/* An accepted socket on its way to the worker that is to have it. */
typedef struct wr_handover {
    wr_message message;
    weir_listener *listener;
    wr_detached socket;
    wr_addr peer;
} wr_handover;

static void reconcile(wr_acceptor *acceptor)
{
    wr_cq *cq = acceptor->worker->cq;
    if (acceptor->closing) return;
    if (!acceptor->paused && !acceptor->accept.pending) wr_cq_accept(cq, acceptor->sock, &acceptor->accept);
    if (acceptor->paused && acceptor->accept.pending) wr_cq_cancel(cq, &acceptor->accept);
}

static void pause_for(wr_acceptor *acceptor, uint64_t ms)
{
    if (acceptor->closing) return;
    if (!acceptor->paused) wr_add(&acceptor->worker->counters.accept_pauses, 1);
    acceptor->paused = true;
    wr_wheel_arm(&acceptor->worker->owner.wheel, &acceptor->pause, acceptor->worker->owner.now_ms + ms);
}

/* Without the memory for it, the listener keeps its backlog and tries again. */
static void adopt(wr_acceptor *acceptor)
{
    wr_worker *worker = acceptor->worker;
    if (wr_cq_adopt(worker->cq, acceptor->detached, &acceptor->sock) == 0) {
        reconcile(acceptor);
        return;
    }
    wr_log(worker->runtime, WEIR_LOG_WARNING, "worker %u: no memory to listen; the listener pauses for %d ms",
           worker->index, SHORTAGE_PAUSE_MS);
    pause_for(acceptor, SHORTAGE_PAUSE_MS);
}

static bool is_adopted(const wr_acceptor *acceptor)
{
    return acceptor->sock.generation != 0;
}

void wr_acceptor_expire(wr_acceptor *acceptor)
{
    acceptor->paused = WR_BUG(listener_dies);
    if (is_adopted(acceptor))
        reconcile(acceptor);
    else
        adopt(acceptor);
}

/* Gives back what admission took, when no connection came of it. */
static void give_up(wr_worker *worker, weir_listener *listener, const wr_addr *peer)
{
    atomic_fetch_sub_explicit(&worker->shared.load, 1, memory_order_relaxed);
    if (!WR_BUG(limit_leaks)) wr_limits_leave(&listener->limits, peer);
    wr_runtime_release(worker->runtime);
}

static void serve_here(wr_worker *worker, weir_listener *listener, wr_detached socket, const wr_addr *peer)
{
    if (worker->owner.stopping)
        wr_cq_discard(worker->cq, socket);
    else if (wr_conn_accept(worker, &listener->service, socket, peer) == 0)
        return;
    else
        wr_add(&worker->counters.refused_memory, 1);
    give_up(worker, listener, peer);
}

static void run_handover(wr_worker *worker, wr_message *message)
{
    wr_handover *handover = WR_CONTAINER_OF(message, wr_handover, message);
    serve_here(worker, handover->listener, handover->socket, &handover->peer);
    wr_heap_free(&worker->runtime->heap, handover, sizeof *handover);
}

static void drop_handover(wr_worker *worker, wr_message *message)
{
    wr_handover *handover = WR_CONTAINER_OF(message, wr_handover, message);
    wr_cq_discard(worker->cq, handover->socket);
    give_up(worker, handover->listener, &handover->peer);
    wr_heap_free(&worker->runtime->heap, handover, sizeof *handover);
}

static void hand_over(wr_worker *to, weir_listener *listener, const wr_completion *accepted)
{
    wr_handover *handover = wr_heap_alloc(&to->runtime->heap, sizeof *handover);
    if (!handover) {
        wr_cq_discard(to->cq, accepted->socket);
        wr_add(&wr_worker_here()->counters.refused_memory, 1);
        give_up(to, listener, &accepted->peer);
        return;
    }
    *handover = (wr_handover){ .message = { .run = run_handover, .drop = drop_handover },
                               .listener = listener,
                               .socket = accepted->socket,
                               .peer = accepted->peer };
    wr_message_post(to, &handover->message);
}

/* The worker with the fewest connections; those on their way count, so a burst spreads too. */
static wr_worker *least_loaded(weir_runtime *runtime)
{
    wr_worker *least = &runtime->workers[0];
    uint32_t lowest = UINT32_MAX;
    for (unsigned i = 0; i < runtime->worker_count; i++) {
        uint32_t load = atomic_load_explicit(&runtime->workers[i].shared.load, memory_order_relaxed);
        if (load >= lowest) continue;
        lowest = load;
        least = &runtime->workers[i];
    }
    return least;
}

/* Counts the connection against every limit, or against none and in the stats. */
static bool admit(wr_acceptor *acceptor, const wr_addr *peer)
{
    wr_counters *counters = &acceptor->worker->counters;
    if (!wr_runtime_admit(acceptor->worker->runtime)) {
        wr_add(&counters->refused_limit, 1);
        return false;
    }
    switch (wr_limits_enter(&acceptor->listener->limits, peer)) {
    case WR_ADMITTED:
        return true;
    case WR_OVER_CONNECTIONS:
        wr_add(&counters->refused_limit, 1);
        break;
    case WR_OVER_ADDRESS:
        wr_add(&counters->refused_address, 1);
        break;
    case WR_NO_MEMORY:
        wr_add(&counters->refused_memory, 1);
        break;
    }
    wr_runtime_release(acceptor->worker->runtime);
    return false;
}

/* What connections that come and go leave in an inbox is not held back otherwise. */
static bool has_no_room(const weir_listener *listener)
{
    const weir_inbox *inbox = listener->service.protocol.inbox;
    return inbox && wr_inbox_is_full(inbox);
}

static void accepted(wr_acceptor *acceptor, const wr_completion *completion)
{
    wr_worker *worker = acceptor->worker;
    weir_listener *listener = acceptor->listener;
    if (acceptor->closing || !admit(acceptor, &completion->peer)) {
        wr_cq_discard(worker->cq, completion->socket);
        return;
    }
    uint64_t pause_ns = wr_limits_pace(&listener->limits, worker->owner.now_ns);
    if (pause_ns) pause_for(acceptor, pause_ns / 1000000 + 1);
    if (has_no_room(listener)) pause_for(acceptor, SHORTAGE_PAUSE_MS);
    wr_worker *to = listener->spread ? worker : least_loaded(worker->runtime);
    atomic_fetch_add_explicit(&to->shared.load, 1, memory_order_relaxed);
    if (to == worker)
        serve_here(worker, listener, completion->socket, &completion->peer);
    else
        hand_over(to, listener, completion);
}

static void accept_failed(wr_acceptor *acceptor, const wr_completion *completion)
{
    wr_worker *worker = acceptor->worker;
    wr_add(&worker->counters.accept_errors, 1);
    if (!(completion->flags & WR_MORE)) {
        wr_log(worker->runtime, WEIR_LOG_WARNING, "accept failed: %s; the listener pauses for %d ms",
               weir_strerror(completion->error), SHORTAGE_PAUSE_MS);
        pause_for(acceptor, SHORTAGE_PAUSE_MS);
    }
    if (acceptor->listener->on_accept_error)
        acceptor->listener->on_accept_error(acceptor->listener,
                                            (weir_reason){ completion->error, completion->system_error });
}

static void unlink_from_worker(wr_acceptor *acceptor)
{
    wr_acceptor **link = &acceptor->worker->owner.acceptors;
    while (*link != acceptor) link = &(*link)->next;
    *link = acceptor->next;
}

/* The file of a Unix-domain socket outlives the socket; a simulated one has none. */
static void remove_file(const weir_listener *listener)
{
    if (listener->runtime->options.sim) return;
    if (listener->endpoint.addr.family == WR_FAMILY_UNIX) wr_os_path_remove(listener->endpoint.path);
}

static void closed(wr_acceptor *acceptor)
{
    remove_file(acceptor->listener);
    unlink_from_worker(acceptor);
    wr_worker_check_drained(acceptor->worker);
}

void wr_acceptor_complete(wr_acceptor *acceptor, const wr_completion *completion)
{
    if (completion->op == &acceptor->close) {
        closed(acceptor);
        return;
    }
    if (completion->error == 0)
        accepted(acceptor, completion);
    else if (completion->error != WEIR_ECANCELED && !acceptor->closing)
        accept_failed(acceptor, completion);
    reconcile(acceptor);
}

void wr_acceptor_close(wr_acceptor *acceptor)
{
    if (acceptor->closing) return;
    acceptor->closing = true;
    wr_wheel_disarm(&acceptor->worker->owner.wheel, &acceptor->pause);
    if (is_adopted(acceptor)) {
        wr_cq_close(acceptor->worker->cq, acceptor->sock, &acceptor->close, false);
    } else {
        wr_cq_discard(acceptor->worker->cq, acceptor->detached);
        closed(acceptor);
    }
}

void wr_acceptor_attach(wr_worker *worker, wr_message *message)
{
    wr_acceptor *acceptor = WR_CONTAINER_OF(message, wr_acceptor, attach);
    if (worker->owner.stopping) {
        wr_acceptor_drop(worker, message);
        return;
    }
    acceptor->attached = true;
    acceptor->next = worker->owner.acceptors;
    worker->owner.acceptors = acceptor;
    adopt(acceptor);
}

void wr_acceptor_drop(wr_worker *worker, wr_message *message)
{
    wr_acceptor *acceptor = WR_CONTAINER_OF(message, wr_acceptor, attach);
    wr_cq_discard(worker->cq, acceptor->detached);
    remove_file(acceptor->listener);
}

void wr_acceptor_shut(wr_worker *worker, wr_message *message)
{
    (void)worker;
    wr_acceptor *acceptor = WR_CONTAINER_OF(message, wr_acceptor, shut);
    if (acceptor->attached) wr_acceptor_close(acceptor);
}
