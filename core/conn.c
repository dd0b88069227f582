#include "core/conn.h"

#include <assert.h>
#include <string.h>

#include "core/address.h"
#include "core/alarm.h"
#include "core/connector.h"
#include "core/inbox.h"
#include "core/link.h"
#include "core/listener.h"
#include "core/runtime.h"
#include "platform/bug.h"
#include "platform/hints.h"

_Static_assert(sizeof(weir_conn) <= 160, "an idle connection stays small");

/* What stands in front of a connection: its wr_connector, if it was opened; its peer's address, if that is of IPv6. */
enum { FRONT_OPENED = offsetof(wr_connector, conn), FRONT_IPV6 = offsetof(wr_conn_ipv6, conn) };

static inline void free_conn(weir_conn *conn, size_t front, bool from_heap)
{
    size_t size = front + conn->service->conn_size;
    void *block = (char *)conn - front;
    if (conn->service->protocol.inbox) wr_inbox_leave(conn);
    if (from_heap)
        wr_heap_free(&conn->worker->runtime->heap, block, size);
    else
        wr_free(wr_worker_memory(conn->worker), block, size);
}

static inline weir_conn *create(wr_worker *worker, const wr_service *service, wr_memory *memory, size_t front)
{
    assert(worker);
    size_t size = service->conn_size;
    uint32_t hard_limit = (uint32_t)service->protocol.outbox.hard_limit;
    char *block = memory ? wr_alloc(memory, front + size) : wr_heap_alloc(&worker->runtime->heap, front + size);
    if (!block) return NULL;
    weir_conn *conn = (weir_conn *)(void *)(block + front);
    *conn = (weir_conn){ .worker = worker,
                         .service = service,
                         .recv = { .tag = WR_TAG_CONN, .multishot = true },
                         .send = { .tag = WR_TAG_CONN, .prompt = true },
                         .timer.tag = WR_TIMER_CONN };
    if (size > sizeof *conn) memset(conn + 1, 0, size - sizeof *conn);
    if (service->protocol.inbox && wr_inbox_join(conn) != 0) {
        free_conn(conn, front, !memory);
        return NULL;
    }
    conn->slot = memory ? wr_slots_take(&worker->slots, hard_limit) : wr_slots_take_shared(&worker->slots, hard_limit);
    if (conn->slot) return conn;
    free_conn(conn, front, !memory);
    return NULL;
}

weir_conn *wr_conn_create(wr_worker *worker, const wr_service *service, wr_memory *memory)
{
    return create(worker, service, memory, FRONT_OPENED);
}

static inline void destroy(weir_conn *conn)
{
    wr_worker *worker = conn->worker;
    weir_dialer *dialer = conn->service->dialer;
    assert(!conn->dirty && !conn->recv.pending && !conn->send.pending);
    if (conn->timers) wr_alarms_drop(&conn->timers);
    if (conn->tail) wr_conn_free_tail(conn);
    if (conn->outbox_bytes) {
        wr_sub(&worker->counters.queued, conn->outbox_bytes);
        if (conn->outbox.flight) wr_outbox_landed(&conn->outbox, &worker->owner.segments);
        wr_outbox_drop_waiting(&conn->outbox, &worker->owner.segments);
    }
    wr_slots_give(&worker->slots, conn->slot);
    if (!dialer) {
        if (conn->peer.family == WR_FAMILY_IPV6)
            free_conn(conn, FRONT_IPV6, false);
        else
            free_conn(conn, 0, false);
        return;
    }
    const wr_connector *connector = wr_connector_at(conn);
    if (connector->lookup) wr_heap_free(&worker->runtime->heap, connector->lookup, sizeof(wr_lookup));
    free_conn(conn, FRONT_OPENED, connector->from_heap);
    wr_dialer_release(dialer);
}

/* From here on the worker knows it, and its end is told by on_close. */
static void join_worker(weir_conn *conn)
{
    conn->slot->owner.conn = conn;
    conn->worker->owner.connections++;
}

WR_COLD static void leave_limits(const weir_conn *conn)
{
    const wr_addr peer = wr_conn_peer(conn);
    wr_limits_leave(&conn->service->listener->limits, &peer);
}

static inline void leave_listener(const weir_conn *conn)
{
    if (wr_limits_count(&conn->service->listener->limits)) leave_limits(conn);
}

/* The end of the line: on_close, and the memory. */
static void leave_worker(weir_conn *conn)
{
    wr_worker *worker = conn->worker;
    weir_runtime *runtime = worker->runtime;
    const weir_protocol *protocol = wr_conn_protocol(conn);
    const wr_connector *connector = wr_connector_of(conn);
    const weir_reason reason = { conn->error, conn->error ? conn->system_error : 0 };
    weir_step step = connector ? connector->step : WEIR_STEP_NONE;
    conn->state = WR_CONN_GONE;
    wr_conn_leave_groups(conn); /* one that never opened is still in those that it was added to by its id */
    wr_add(&worker->counters.closed[-conn->error], 1);
    if (protocol->on_close) protocol->on_close(conn, reason);
    if (protocol->inbox) wr_inbox_close(conn);
    if (conn->service->listener) leave_listener(conn);
    weir_link *link = NULL;
    if (connector) {
        if (connector->from_heap) wr_sub(&wr_worker_memory(worker)->used, FRONT_OPENED + conn->service->conn_size);
        link = connector->link;
    }
    conn->slot->owner.conn = NULL;
    destroy(conn);
    worker->owner.connections--;
    atomic_fetch_sub_explicit(&worker->shared.load, 1, memory_order_relaxed);
    wr_runtime_release(runtime);
    if (link) wr_link_down(link, step, reason);
    wr_worker_check_drained(worker);
}

/* Deadlines. */

void wr_conn_set_deadline(weir_conn *conn, uint32_t in_ms)
{
    conn->deadline_ms = wr_conn_now_ms(conn) + in_ms;
    conn->has_deadline = true;
    conn->rearm = true;
}

/* How long until the given time of the worker's 32-bit clock; 0 when it has passed. */
static uint32_t time_left(uint32_t now_ms, uint32_t at_ms)
{
    uint32_t left = at_ms - now_ms;
    return left > INT32_MAX ? 0 : left;
}

void wr_conn_limit_deadline(weir_conn *conn, uint32_t in_ms)
{
    bool is_nearer = conn->has_deadline && time_left(wr_conn_now_ms(conn), conn->deadline_ms) <= in_ms;
    if (!is_nearer) wr_conn_set_deadline(conn, in_ms);
}

static bool idle_deadline_runs(const weir_conn *conn)
{
    return wr_conn_protocol(conn)->idle_timeout_ms && conn->state == WR_CONN_OPEN && !wr_conn_is_paused(conn) &&
           !conn->peer_ended;
}

/* Time until the next deadline; UINT32_MAX when there is none. */
static uint32_t next_deadline(const weir_conn *conn)
{
    const weir_protocol *protocol = wr_conn_protocol(conn);
    uint32_t now = wr_conn_now_ms(conn);
    uint32_t next = UINT32_MAX;
    if (conn->has_deadline) next = time_left(now, conn->deadline_ms);
    if (idle_deadline_runs(conn)) {
        uint32_t left = time_left(now, conn->received_ms + protocol->idle_timeout_ms);
        if (left < next) next = left;
    }
    if (conn->slow && !conn->dropping && !conn->slow_told) {
        uint32_t left = time_left(now, conn->slow_ms + protocol->outbox.soft_limit_ms);
        if (left < next) next = left;
    }
    return next;
}

static void rearm(weir_conn *conn)
{
    conn->rearm = false;
    uint32_t left = next_deadline(conn);
    if (left == UINT32_MAX) return; /* one that is armed for nothing finds that out when it fires */
    uint64_t due = conn->worker->owner.now_ms + left;
    if (!wr_timer_armed(&conn->timer) || due < conn->timer.due_ms)
        wr_wheel_arm(&conn->worker->owner.wheel, &conn->timer, due);
}

void wr_conn_settle(weir_conn *conn, int error, int system_error)
{
    if (conn->error != 0) return;
    conn->slow = false; /* its time is where the system's error is now */
    conn->error = (int8_t)error;
    conn->system_error = system_error;
}

/* Its end is desired before it is there. What is in flight, a lookup or a connect, brings it when it completes. */
static void cancel_connect(weir_conn *conn)
{
    wr_connector *connector = wr_connector_at(conn);
    if (connector->step == WEIR_STEP_RESOLVE)
        wr_resolver_cancel(connector->lookup);
    else
        wr_cq_cancel(conn->worker->cq, &conn->recv);
}

static void expire_deadline(weir_conn *conn)
{
    conn->has_deadline = false;
    switch (conn->state) {
    case WR_CONN_CONNECTING:
        if (!wr_connector_has_remote(wr_connector_at(conn))) wr_conn_settle(conn, WEIR_ETIMEDOUT, 0);
        cancel_connect(conn);
        break;
    case WR_CONN_OPEN:
        if (conn->write_dead)
            wr_conn_fail(conn, 0, 0);       /* with the reason of the send that failed */
        else if (conn->held || conn->owing) /* its first message may have come, and nobody looks */
            wr_conn_set_deadline(conn, wr_conn_protocol(conn)->handshake_timeout_ms);
        else
            wr_conn_close(conn, WEIR_EHANDSHAKE);
        break;
    default:
        wr_conn_fail(conn, 0, 0);
    }
}

void wr_conn_expire(weir_conn *conn)
{
    const weir_protocol *protocol = wr_conn_protocol(conn);
    uint32_t now = wr_conn_now_ms(conn);
    if (conn->state == WR_CONN_GONE) return;
    if (conn->has_deadline && time_left(now, conn->deadline_ms) == 0) expire_deadline(conn);
    if (idle_deadline_runs(conn) && time_left(now, conn->received_ms + protocol->idle_timeout_ms) == 0)
        wr_conn_close(conn, WEIR_EIDLE);
    if (conn->state <= WR_CONN_OPEN && conn->slow &&
        time_left(now, conn->slow_ms + protocol->outbox.soft_limit_ms) == 0)
        wr_conn_expire_slow(conn);
    if (conn->state != WR_CONN_GONE && !WR_BUG(timer_not_rearmed)) rearm(conn);
}

/* Birth. */

static inline void open_conn(weir_conn *conn)
{
    const weir_protocol *protocol = wr_conn_protocol(conn);
    conn->state = WR_CONN_OPEN;
    conn->received_ms = wr_conn_now_ms(conn);
    conn->has_deadline = false;
    conn->rearm = true; /* for the idle deadline */
    if (protocol->handshake_timeout_ms) wr_conn_set_deadline(conn, protocol->handshake_timeout_ms);
    bool was_dirty = conn->dirty;
    conn->dirty = true; /* whatever on_open does with it, what comes of that is below */
    if (protocol->on_open) protocol->on_open(conn);
    if (protocol->inbox) wr_inbox_open(conn);
    if (was_dirty) return;
    if (conn->state == WR_CONN_OPEN) {
        wr_dirty_add(&conn->worker->owner.dirty, conn);
    } else {
        /* What is over leaves at once: the next one finds its memory, and the kernel's, in the cache still. */
        conn->dirty = false;
        wr_conn_reconcile_all(conn);
    }
}

static weir_conn *create_ipv6(wr_worker *worker, const wr_service *service, const wr_addr *peer)
{
    weir_conn *conn = create(worker, service, wr_worker_memory(worker), FRONT_IPV6);
    if (conn) WR_CONTAINER_OF(conn, wr_conn_ipv6, conn)->peer = *peer;
    return conn;
}

static inline weir_conn *create_accepted(wr_worker *worker, const wr_service *service, const wr_addr *peer)
{
    bool is_ipv6 = peer->family == WR_FAMILY_IPV6;
    weir_conn *conn =
        is_ipv6 ? create_ipv6(worker, service, peer) : create(worker, service, wr_worker_memory(worker), 0);
    if (!conn) return NULL;
    memcpy(conn->peer.ip, peer->ip, sizeof conn->peer.ip);
    conn->peer.port = peer->port;
    conn->peer.family = peer->family;
    return conn;
}

int wr_conn_accept(wr_worker *worker, const wr_service *service, wr_detached socket, const wr_addr *peer)
{
    weir_conn *conn = create_accepted(worker, service, peer);
    if (!conn || wr_cq_adopt(worker->cq, socket, &conn->sock) != 0) {
        if (conn) destroy(conn);
        wr_cq_discard(worker->cq, socket);
        return WEIR_ENOMEM;
    }
    join_worker(conn);
    wr_add(&worker->counters.accepted, 1);
    open_conn(conn);
    return 0;
}

static void connect_next(weir_conn *conn)
{
    wr_connect_params params = { .remote = wr_connector_remote(wr_connector_at(conn)),
                                 .path = conn->service->dialer->path,
                                 .local = wr_connector_next_local(wr_connector_at(conn)) };
    wr_cq_connect(conn->worker->cq, &params, &conn->recv);
    if (conn->rearm && !conn->recv.settled) rearm(conn); /* on one host it is mostly over by now */
}

/* Each of a name's addresses has an equal share of the time that is left, so that one that does not answer cannot use
 * up all of it. */
static void connect_next_remote(weir_conn *conn)
{
    wr_connector *connector = wr_connector_at(conn);
    uint32_t left = time_left(wr_conn_now_ms(conn), connector->deadline_ms);
    wr_conn_set_deadline(conn, left / (connector->lookup->count - connector->next_remote));
    wr_connector_next_remote(connector);
    connect_next(conn);
}

void wr_conn_start(weir_conn *conn)
{
    wr_connector *connector = wr_connector_at(conn);
    const weir_dialer *dialer = conn->service->dialer;
    conn->state = WR_CONN_CONNECTING;
    join_worker(conn);
    if (connector->from_heap) wr_add(&wr_worker_memory(conn->worker)->used, FRONT_OPENED + conn->service->conn_size);
    if (conn->worker->owner.stopping) {
        wr_conn_settle(conn, WEIR_ESTOPPED, 0);
        wr_add(&conn->worker->counters.connect_errors, 1);
        leave_worker(conn);
        return;
    }
    wr_conn_set_deadline(conn, dialer->timeout_ms);
    if (!connector->lookup) {
        connect_next(conn);
        return;
    }
    connector->deadline_ms = conn->deadline_ms;
    rearm(conn);
    wr_resolver_ask(conn->worker, connector->lookup);
}

static void never_opened(weir_conn *conn, int error, int system_error)
{
    wr_conn_settle(conn, error, system_error);
    wr_wheel_disarm(&conn->worker->owner.wheel, &conn->timer);
    wr_add(&conn->worker->counters.connect_errors, 1);
    if (conn->dirty)
        conn->state = WR_CONN_GONE; /* reconcile sees it last */
    else
        leave_worker(conn);
}

void wr_conn_resolved(weir_conn *conn)
{
    wr_connector *connector = wr_connector_at(conn);
    if (conn->error != 0 || connector->lookup->error != 0) {
        never_opened(conn, connector->lookup->error, connector->lookup->system_error);
        return;
    }
    connector->step = WEIR_STEP_CONNECT;
    connect_next_remote(conn);
    if (connector->link) wr_link_resolved(connector->link);
}

static void connected(weir_conn *conn, const wr_completion *completion)
{
    wr_connector *connector = wr_connector_at(conn);
    if (completion->error == 0) {
        conn->sock = completion->connected;
        wr_add(&conn->worker->counters.connected, 1);
        if (conn->error != 0) {
            wr_conn_fail(conn, 0, 0); /* ended before it was there: by its deadline, its id, or a stop */
            return;
        }
        connector->step = WEIR_STEP_OPEN;
        if (connector->link) wr_link_up(connector->link, conn);
        open_conn(conn);
        return;
    }
    /* This local address has no port left. Which of the two is said depends on whether bind or connect found out. */
    bool no_port = completion->error == WEIR_EADDRNOTAVAIL || completion->error == WEIR_EADDRINUSE;
    if (conn->error == 0 && no_port && wr_connector_has_local(connector))
        connect_next(conn);
    else if (conn->error == 0 && wr_connector_has_remote(connector))
        connect_next_remote(conn);
    else
        never_opened(conn, completion->error, completion->system_error);
}

/* The end. */

void wr_conn_close(weir_conn *conn, int error)
{
    wr_conn_catch_up(conn);
    if (conn->state == WR_CONN_CONNECTING) {
        wr_conn_settle(conn, error, 0);
        cancel_connect(conn);
        return;
    }
    if (conn->state != WR_CONN_OPEN) return;
    wr_conn_settle(conn, error, 0);
    conn->state = WR_CONN_CLOSING;
    wr_conn_leave_groups(conn);
    wr_conn_set_deadline(conn, wr_conn_protocol(conn)->close_timeout_ms);
    wr_conn_touch(conn);
}

/* Whoever calls this outside of wr_conn_reconcile touches the connection: its end may wait for nothing more. */
static void close_socket(weir_conn *conn, bool reset)
{
    conn->state = WR_CONN_GONE;
    conn->has_deadline = false;
    wr_conn_leave_groups(conn);
    wr_wheel_disarm(&conn->worker->owner.wheel, &conn->timer);
    conn->close = (wr_op){ .tag = WR_TAG_CONN, .prompt = !conn->recv.pending && !conn->send.pending };
    wr_cq_close(conn->worker->cq, conn->sock, &conn->close, reset);
    if (!conn->close.pending) conn->sock = (wr_sock){ 0, 0 };
}

/* Whether nothing of it is left but the memory. */
static bool is_over(const weir_conn *conn)
{
    return conn->state == WR_CONN_GONE && conn->sock.generation == 0;
}

void wr_conn_fail(weir_conn *conn, int error, int system_error)
{
    wr_conn_catch_up(conn);
    if (conn->state == WR_CONN_GONE) return;
    if (conn->state == WR_CONN_CONNECTING && conn->sock.generation == 0) {
        /* Its connect may be over, and the result stand behind this in the same batch: no socket to close yet. */
        wr_conn_settle(conn, error, system_error);
        cancel_connect(conn);
        return;
    }
    wr_conn_settle(conn, error, system_error);
    close_socket(conn, true);
    if (is_over(conn)) wr_conn_touch(conn);
}

void wr_conn_stop(weir_conn *conn, uint32_t timeout_ms)
{
    const weir_protocol *protocol = wr_conn_protocol(conn);
    if (conn->state == WR_CONN_OPEN && protocol->on_stop) protocol->on_stop(conn);
    wr_conn_close(conn, WEIR_ESTOPPED);
    if (conn->state != WR_CONN_CLOSING && conn->state != WR_CONN_DRAINING) return;
    wr_conn_limit_deadline(conn, timeout_ms);
    wr_conn_touch(conn);
}

/* The peer has sent FIN, and all that came before it has been delivered. */
static void tell_end(weir_conn *conn)
{
    if (conn->end_told || conn->state != WR_CONN_OPEN) return;
    conn->end_told = true;
    if (WR_BUG(half_close_drops_sends)) wr_conn_drop_waiting(conn);
    if (conn->write_dead) {
        wr_conn_fail(conn, 0, 0);
        return;
    }
    const weir_protocol *protocol = wr_conn_protocol(conn);
    if (conn->tail && protocol->framing.kind != WEIR_FRAMING_NONE) {
        wr_conn_close(conn, WEIR_ETRUNCATED);
    } else if (protocol->on_end) {
        conn->has_deadline = false; /* no first message can come any more */
        protocol->on_end(conn);
    } else {
        wr_conn_close(conn, WEIR_EEOF);
    }
}

/* Whether to flush, to send FIN, or to close. A reset destroys what the peer has not yet read of ours, and closing with
 * unread bytes is a reset: so FIN goes first, and what comes is read until the peer's own FIN. When nothing was sent
 * there is nothing to protect. After a send that failed, a FIN would tell the peer that it has all of it. */
static void reconcile_end(weir_conn *conn)
{
    if (conn->send.pending || wr_outbox_waits(&conn->outbox)) return;
    if (conn->write_dead && !WR_BUG(fin_after_failed_send))
        close_socket(conn, true);
    else if (conn->state == WR_CONN_CLOSING && conn->has_sent && !conn->peer_ended && !WR_BUG(reset_on_close)) {
        wr_cq_shutdown(conn->worker->cq, conn->sock);
        conn->state = WR_CONN_DRAINING;
    } else if (conn->state == WR_CONN_CLOSING || conn->peer_ended) {
        close_socket(conn, false);
    }
}

static bool wants_bytes(const weir_conn *conn)
{
    if (conn->peer_ended || conn->recv.pending) return false;
    return conn->state == WR_CONN_OPEN ? !wr_conn_is_paused(conn) : conn->state != WR_CONN_GONE;
}

/* What an open one's embedder has yet to hear of. */
static void tell(weir_conn *conn)
{
    if (conn->tell_slow) {
        conn->tell_slow = false;
        wr_conn_protocol(conn)->on_slow(conn, weir_conn_queued(conn));
    }
    if (conn->stashed && !wr_conn_is_paused(conn) && conn->state == WR_CONN_OPEN) wr_conn_unstash(conn);
    if (conn->peer_ended && !wr_conn_is_paused(conn)) tell_end(conn);
}

static void submit(weir_conn *conn)
{
    if (wr_outbox_waits(&conn->outbox) && !conn->write_dead && !conn->send.pending) wr_conn_launch(conn);
    if (conn->state != WR_CONN_OPEN) reconcile_end(conn);
    if (wants_bytes(conn)) wr_cq_recv(conn->worker->cq, conn->sock, &conn->recv);
    if (conn->rearm && conn->state != WR_CONN_GONE) rearm(conn);
}

void wr_conn_reconcile_all(weir_conn *conn)
{
    if (conn->state == WR_CONN_CONNECTING) return;
    if (conn->state == WR_CONN_OPEN) tell(conn);
    if (conn->state != WR_CONN_GONE) submit(conn);
    if (is_over(conn) && !conn->dirty) leave_worker(conn);
}

/* The last one. */
static void closed(weir_conn *conn)
{
    conn->sock = (wr_sock){ 0, 0 };
    if (!conn->dirty || WR_BUG(double_completion)) leave_worker(conn); /* else reconcile does */
}

void wr_conn_complete(const wr_completion *completion)
{
    wr_op *op = completion->op;
    switch (op->kind) {
    case WR_OP_CONNECT:
        connected(WR_CONTAINER_OF(op, weir_conn, recv), completion);
        break;
    case WR_OP_SEND:
        wr_conn_sent(WR_CONTAINER_OF(op, weir_conn, send), completion->error, completion->system_error);
        break;
    default: /* WR_OP_CLOSE */
        closed(WR_CONTAINER_OF(op, weir_conn, close));
    }
}
