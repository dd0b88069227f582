#include "core/worker.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "core/alarm.h"
#include "core/conn.h"
#include "core/link.h"
#include "core/listener.h"
#include "core/post.h"
#include "core/runtime.h"
#include "core/sim.h"
#include "core/tick.h"
#include "core/udp.h"

static _Thread_local wr_worker *here;

wr_worker *wr_worker_here(void)
{
    return here;
}

void wr_message_post(wr_worker *worker, wr_message *message)
{
    message->op.tag = WR_TAG_MESSAGE;
    wr_cq_post(worker->cq, &message->op);
}

/* Stopping: no more accepts, and every connection is told and closed. */
static void begin_stop(wr_worker *worker, wr_message *message)
{
    (void)message;
    worker->owner.stopping = true;
    for (wr_acceptor *acceptor = worker->owner.acceptors; acceptor; acceptor = acceptor->next)
        wr_acceptor_close(acceptor);
    wr_links_stop(worker);
    uint32_t count = wr_slots_count(&worker->slots);
    for (uint32_t i = 0; i < count; i++) {
        weir_conn *conn = wr_slots_at(&worker->slots, i)->owner.conn;
        if (conn) wr_conn_stop(conn, worker->runtime->options.stop_timeout_ms);
    }
    wr_udp_sockets_stop(worker); /* last, so that those can still say goodbye through them */
    wr_worker_check_drained(worker);
}

static void finish(wr_worker *worker, wr_message *message)
{
    (void)message;
    worker->owner.finished = true;
}

void wr_worker_check_drained_now(wr_worker *worker)
{
    if (worker->owner.drained) return;
    if (worker->owner.connections > 0 || worker->owner.acceptors || worker->owner.udp_sockets) return;
    worker->owner.drained = true;
    wr_runtime_worker_drained(worker->runtime);
}

static void set_now(wr_worker *worker)
{
    worker->owner.now_ns = wr_cq_now(worker->cq);
    worker->owner.now_ms = worker->owner.now_ns / 1000000;
}

int wr_worker_init(wr_worker *worker, weir_runtime *runtime, unsigned index, uint32_t capacity)
{
    worker->runtime = runtime;
    worker->index = index;
    worker->stop = (wr_message){ .run = begin_stop };
    worker->finish = (wr_message){ .run = finish };
    int error = wr_arena_init(&worker->owner.arena, &runtime->heap);
    if (error) return error;
    wr_cq_options options = { .memory = wr_worker_memory(worker), .sim = wr_sim_world(runtime->options.sim) };
    worker->owner.members.memory = options.memory;
    /* In the simulator each block is an allocation, which may fail, in every build alike. */
    wr_segments_init(&worker->owner.segments, options.memory, !options.sim);
    error = wr_slots_init(&worker->slots, &runtime->heap, capacity);
    if (error) return error;
    error = wr_cq_create(options.sim ? &wr_cq_sim : wr_cq_backends[0], &worker->cq, &options);
    if (error) return error;
    set_now(worker);
    wr_wheel_init(&worker->owner.wheel, worker->owner.now_ms);
    return 0;
}

/* What was to run later and never will. */
static void drop_timers(wr_worker *worker)
{
    wr_timer *timer;
    while ((timer = wr_wheel_take(&worker->owner.wheel, WR_TIMER_MAX_MS)))
        if (timer->tag == WR_TIMER_DELAYED) wr_delayed_drop(worker, timer);
}

void wr_worker_destroy(wr_worker *worker)
{
    assert(!worker->owner.fanout.first); /* nobody is left for whom it could be */
    if (worker->cq) drop_timers(worker);
    wr_links_drop(worker);
    wr_ticks_drop(worker);
    wr_alarms_drop(&worker->owner.alarms);
    wr_cq_destroy(worker->cq);
    wr_slots_destroy(&worker->slots);
    if (!worker->owner.segments.chunks.memory) return; /* not even an arena */
    wr_segments_destroy(&worker->owner.segments);
    wr_dirty_free(&worker->owner.dirty, wr_worker_memory(worker));
    wr_arena_destroy(&worker->owner.arena);
}

static void dispatch(wr_worker *worker, const wr_completion *completion)
{
    wr_op *op = completion->op;
    switch ((enum wr_tag)op->tag) {
    case WR_TAG_MESSAGE: {
        wr_message *message = WR_CONTAINER_OF(op, wr_message, op);
        wr_add(&worker->counters.posts, 1);
        message->run(worker, message);
        break;
    }
    case WR_TAG_CONN:
        if (op->kind == WR_OP_RECV)
            wr_conn_received(WR_CONTAINER_OF(op, weir_conn, recv), completion);
        else
            wr_conn_complete(completion);
        break;
    case WR_TAG_ACCEPTOR: {
        wr_acceptor *acceptor = op->kind == WR_OP_CLOSE ? WR_CONTAINER_OF(op, wr_acceptor, close)
                                                        : WR_CONTAINER_OF(op, wr_acceptor, accept);
        wr_acceptor_complete(acceptor, completion);
        break;
    }
    case WR_TAG_UDP: {
        weir_udp_socket *socket = op->kind == WR_OP_SEND_TO ? WR_CONTAINER_OF(op, weir_udp_socket, send)
                                  : op->kind == WR_OP_CLOSE ? WR_CONTAINER_OF(op, weir_udp_socket, close)
                                                            : WR_CONTAINER_OF(op, weir_udp_socket, recv);
        wr_udp_socket_complete(socket, completion);
        break;
    }
    }
}

static unsigned run_timers(wr_worker *worker)
{
    unsigned count = 0;
    wr_timer *timer;
    while ((timer = wr_wheel_take(&worker->owner.wheel, worker->owner.now_ms))) {
        count++;
        switch ((enum wr_timer_tag)timer->tag) {
        case WR_TIMER_CONN:
            wr_conn_expire(WR_CONTAINER_OF(timer, weir_conn, timer));
            break;
        case WR_TIMER_ACCEPTOR:
            wr_acceptor_expire(WR_CONTAINER_OF(timer, wr_acceptor, pause));
            break;
        case WR_TIMER_DELAYED:
            wr_delayed_run(worker, timer);
            break;
        case WR_TIMER_ALARM:
            wr_alarm_expire(timer);
            break;
        case WR_TIMER_UDP:
            wr_udp_socket_expire(WR_CONTAINER_OF(timer, weir_udp_socket, timer));
            break;
        case WR_TIMER_LINK:
            wr_link_expire(timer);
            break;
        case WR_TIMER_LOOKUP:
            wr_lookup_expire(timer);
            break;
        }
    }
    return count;
}

/* Those that are touched meanwhile come in the next pass, so that this one ends. */
static inline void reconcile_dirty(wr_worker *worker)
{
    wr_dirty *dirty = &worker->owner.dirty;
    if (dirty->unlisted && !wr_dirty_relist(worker)) {
        wr_dirty_walk(worker);
        return;
    }
    weir_conn **end = dirty->end;
    for (weir_conn **next = dirty->list; next < end; next++) {
        weir_conn *conn = *next;
        conn->dirty = false;
        wr_conn_reconcile(conn);
    }
    wr_dirty_drop(dirty, (size_t)(end - dirty->list));
}

static uint64_t next_deadline(wr_worker *worker, uint64_t deadline_ns)
{
    if (!wr_dirty_is_empty(&worker->owner.dirty)) return WR_DEADLINE_NOW;
    uint64_t tick_ns = wr_deadlines_next_ns(&worker->owner.ticks);
    if (tick_ns < deadline_ns) deadline_ns = tick_ns;
    uint64_t due_ms = wr_wheel_next_ms(&worker->owner.wheel);
    if (due_ms >= UINT64_MAX / 1000000) return deadline_ns;
    uint64_t due_ns = due_ms * 1000000;
    return due_ns < deadline_ns ? due_ns : deadline_ns;
}

uint64_t wr_worker_deadline(wr_worker *worker)
{
    return next_deadline(worker, WR_DEADLINE_NEVER);
}

unsigned wr_worker_step(wr_worker *worker, uint64_t deadline_ns)
{
    wr_completion completions[WR_COMPLETIONS_MAX];
    wr_worker *before = here;
    unsigned count = wr_cq_wait(worker->cq, completions, WR_COMPLETIONS_MAX, next_deadline(worker, deadline_ns));
    here = worker;
    set_now(worker);
    for (unsigned i = 0; i < count; i++) dispatch(worker, &completions[i]);
    if (wr_deadlines_next_ns(&worker->owner.ticks) <= worker->owner.now_ns) count += wr_ticks_run(worker);
    count += run_timers(worker);
    if (worker->owner.fanout.first) wr_fanout_flush(worker);
    reconcile_dirty(worker);
    if (worker->owner.udp_dirty) wr_udp_sockets_reconcile(worker);
    here = before;
    wr_add(&worker->counters.passes, 1);
    wr_histogram_add(&worker->counters.pass, wr_cq_now(worker->cq) - worker->owner.now_ns);
    return count;
}

void wr_worker_run(wr_worker *worker)
{
    while (!worker->owner.finished) wr_worker_step(worker, WR_DEADLINE_NEVER);
}

void wr_worker_drop_messages(wr_worker *worker)
{
    wr_completion completions[WR_COMPLETIONS_MAX];
    unsigned count;
    here = worker;
    do {
        count = wr_cq_wait(worker->cq, completions, WR_COMPLETIONS_MAX, WR_DEADLINE_NOW);
        for (unsigned i = 0; i < count; i++) {
            wr_message *message = WR_CONTAINER_OF(completions[i].op, wr_message, op);
            assert(completions[i].op->tag == WR_TAG_MESSAGE); /* all else has ended */
            if (message->drop) message->drop(worker, message);
        }
    } while (count > 0);
    here = NULL;
}
