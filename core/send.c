/* The way out: sends queue in the outbox, limits are applied, and the end of the pass writes. */
#include <assert.h>
#include <string.h>

#include "core/buffer.h"
#include "core/conn.h"
#include "platform/bug.h"
#include "platform/hints.h"

size_t weir_conn_queued(const weir_conn *conn)
{
    wr_conn_catch_up(conn);
    return wr_conn_queued(conn);
}

/* on_slow is due: from the loop, never inside the embedder's own call; once until the outbox is back under its soft
 * limit. */
static void tell_slow(weir_conn *conn)
{
    if (conn->slow_told) return;
    conn->tell_slow = true;
    conn->slow_told = conn->slow;
    wr_conn_touch(conn);
}

void wr_conn_apply_slow_policy(weir_conn *conn)
{
    if (!wr_conn_is_sendable(conn))
        return; /* it is ending, perhaps flushing: another thread's sends must not cut that */
    switch (wr_conn_protocol(conn)->outbox.policy) {
    case WEIR_SLOW_DISCONNECT:
    case WEIR_SLOW_PAUSE:
        wr_conn_fail(conn, WEIR_ESLOW, 0);
        break;
    case WEIR_SLOW_DROP_NEWEST:
        conn->dropping = conn->slow; /* a message too large for an outbox that has room is dropped alone */
        break;
    case WEIR_SLOW_NOTIFY:
        tell_slow(conn);
        break;
    }
}

/* Above the soft limit the clock runs; back under it everything about slowness is forgotten. */
WR_COLD static void cross_soft_limit(weir_conn *conn, bool is_over)
{
    bool was_owing = conn->owing;
    conn->slow = is_over;
    conn->dropping = conn->slow_told = false;
    conn->owing = is_over && wr_conn_protocol(conn)->outbox.policy == WEIR_SLOW_PAUSE;
    if (is_over) {
        conn->slow_ms = wr_conn_now_ms(conn);
        conn->rearm = true;
    } else if (was_owing) {
        if (WR_BUG(owing_for_ever)) conn->owing = true;
        wr_conn_hear(conn);
    }
}

static inline void note_soft_limit(weir_conn *conn, bool is_over)
{
    if (is_over != conn->slow) cross_soft_limit(conn, is_over);
}

/* What other threads have queued counts, but nothing tells when it goes another way than through the outbox: it is
 * dropped, was meant for a connection that has gone, or found no memory. So an empty outbox is never over its limit;
 * any other has a send coming to its end, which looks again. */
WR_COLD static void watch_soft_limit(weir_conn *conn)
{
    bool is_over = conn->outbox_bytes > 0 && wr_conn_queued(conn) > wr_conn_protocol(conn)->outbox.soft_limit;
    note_soft_limit(conn, is_over);
}

void wr_conn_expire_slow(weir_conn *conn)
{
    watch_soft_limit(conn);
    if (conn->slow) wr_conn_apply_slow_policy(conn);
}

/* It is over its limit with that, or drops what is new. */
WR_COLD static int admit_slow(weir_conn *conn, bool fits)
{
    if (conn->dropping) watch_soft_limit(conn); /* other threads' bytes may be all that kept it above */
    if (fits && !conn->dropping) return 0;
    if (!conn->dropping) wr_conn_apply_slow_policy(conn);
    wr_add(&conn->worker->counters.sends_dropped, 1);
    return WEIR_ESLOW;
}

/* Whether the limits leave room for `size` (at least 1) bytes beside those that are queued. */
static inline int admit(weir_conn *conn, size_t size, size_t queued)
{
    size_t limit = wr_conn_protocol(conn)->outbox.hard_limit;
    bool fits = size <= limit && queued <= limit - size;
    return fits && !conn->dropping ? 0 : admit_slow(conn, fits);
}

/* What it queued could not be held. */
WR_COLD static int fail_enqueue(weir_conn *conn)
{
    wr_conn_fail(conn, WEIR_ENOMEM, 0);
    return WEIR_ENOMEM;
}

/* `size` bytes have joined the outbox. */
static inline void count_in(weir_conn *conn, size_t size)
{
    conn->outbox_bytes += (uint32_t)size;
    wr_add(&conn->worker->counters.queued, size);
}

static inline void count_out(weir_conn *conn, uint32_t size)
{
    conn->outbox_bytes -= size;
    wr_sub(&conn->worker->counters.queued, size);
}

/* `size` bytes have been appended, and so many are queued in all. */
static inline void appended(weir_conn *conn, size_t size, size_t queued)
{
    count_in(conn, size);
    note_soft_limit(conn, queued > wr_conn_protocol(conn)->outbox.soft_limit);
    if (conn->state == WR_CONN_OPEN) wr_conn_touch(conn);
}

/* The bytes are copied last: nothing has to be kept over that. */
static int append(weir_conn *conn, const void *bytes, size_t size)
{
    if (!wr_conn_is_sendable(conn)) return WEIR_ECLOSED;
    if (size == 0) return 0;
    size_t queued = wr_conn_queued(conn);
    int error = admit(conn, size, queued);
    if (error) return error;
    void *room = wr_outbox_reserve(&conn->outbox, &conn->worker->owner.segments, (uint32_t)size);
    if (!room) return fail_enqueue(conn);
    appended(conn, size, queued + size);
    memcpy(room, bytes, size);
    return 0;
}

WR_COLD static int append_behind_deferred(weir_conn *conn, const void *bytes, size_t size)
{
    wr_fanout_enqueue_before(conn);
    return append(conn, bytes, size);
}

/* Whether it is the first message of a pass, to a connection that is and stays within its soft limit, which the hard
 * one is never below: most are, and there is nothing more to look at. */
static inline bool is_easy(const weir_conn *conn, size_t size)
{
    size_t limit = wr_conn_protocol(conn)->outbox.soft_limit;
    return conn->state == WR_CONN_OPEN && conn->error == 0 && size > 0 && size <= WR_COPY_MAX && size <= limit &&
           wr_conn_queued(conn) <= limit - size && !conn->slow && !wr_outbox_waits(&conn->outbox);
}

static inline int enqueue(weir_conn *conn, const void *bytes, size_t size)
{
    if (wr_conn_may_be_behind(conn)) return append_behind_deferred(conn, bytes, size);
    if (!is_easy(conn, size)) return append(conn, bytes, size);
    void *room = wr_outbox_reserve(&conn->outbox, &conn->worker->owner.segments, (uint32_t)size);
    if (!room) return fail_enqueue(conn);
    count_in(conn, size);
    wr_conn_touch(conn);
    memcpy(room, bytes, size);
    return 0;
}

static inline int append_buf(weir_conn *conn, weir_buf *buf)
{
    size_t size = buf->size;
    if (!wr_conn_is_sendable(conn)) return WEIR_ECLOSED;
    if (size == 0) return 0;
    size_t queued = wr_conn_queued(conn);
    int error = admit(conn, size, queued);
    if (error) return error;
    if (wr_outbox_share(&conn->outbox, &conn->worker->owner.segments, buf) != 0) return fail_enqueue(conn);
    appended(conn, size, queued + size);
    return 0;
}

WR_COLD static int append_buf_behind_deferred(weir_conn *conn, weir_buf *buf)
{
    wr_fanout_enqueue_before(conn);
    return append_buf(conn, buf);
}

static inline int enqueue_buf(weir_conn *conn, weir_buf *buf)
{
    if (wr_conn_may_be_behind(conn)) return append_buf_behind_deferred(conn, buf);
    return append_buf(conn, buf);
}

int wr_conn_enqueue(weir_conn *conn, const void *bytes, size_t size)
{
    return enqueue(conn, bytes, size);
}

int wr_conn_enqueue_buf(weir_conn *conn, weir_buf *buf)
{
    return enqueue_buf(conn, buf);
}

void wr_conn_drop_waiting(weir_conn *conn)
{
    count_out(conn, wr_outbox_drop_waiting(&conn->outbox, &conn->worker->owner.segments));
}

/* The peer reads no more. What it sent before may still be here, and is delivered first; then its end, or a deadline,
 * ends the connection with this reason. */
static void stop_sending(weir_conn *conn, int error, int system_error)
{
    wr_conn_drop_waiting(conn);
    conn->write_dead = true;
    note_soft_limit(conn, false);
    wr_conn_leave_groups(conn);
    if (conn->state != WR_CONN_OPEN) return; /* it has its reason and its deadline */
    if (conn->end_told) {                    /* nothing can come any more, so nothing would find out */
        wr_conn_fail(conn, error, system_error);
        return;
    }
    wr_conn_settle(conn, error, system_error);
    wr_conn_limit_deadline(conn, wr_conn_protocol(conn)->close_timeout_ms); /* that of the handshake may be nearer */
}

static inline uint32_t free_flight(weir_conn *conn)
{
    uint32_t bytes = wr_outbox_landed(&conn->outbox, &conn->worker->owner.segments);
    count_out(conn, bytes);
    return bytes;
}

/* All of the batch in flight is with the kernel. */
static inline void landed(weir_conn *conn)
{
    wr_add(&conn->worker->counters.bytes_sent, free_flight(conn));
    if (conn->slow) watch_soft_limit(conn);
}

/* Mostly the kernel takes all of it at once. */
static inline void launch(weir_conn *conn)
{
    conn->has_sent = true;
    wr_add(&conn->worker->counters.sends, 1);
    wr_cq_send(conn->worker->cq, conn->sock, &conn->send, wr_outbox_launch(&conn->outbox));
    if (conn->send.pending) return;
    landed(conn);
    if (wr_outbox_waits(&conn->outbox)) wr_conn_touch(conn); /* enough for one pass */
}

void wr_conn_launch(weir_conn *conn)
{
    launch(conn);
}

void wr_conn_reconcile(weir_conn *conn)
{
    if (!wr_conn_is_plain(conn)) {
        wr_conn_reconcile_all(conn);
        return;
    }
    if (wr_outbox_waits(&conn->outbox) && !conn->send.pending) launch(conn);
    if (!conn->recv.pending) wr_cq_recv(conn->worker->cq, conn->sock, &conn->recv);
}

void wr_conn_sent(weir_conn *conn, int error, int system_error)
{
    if (conn->state == WR_CONN_GONE) {
        free_flight(conn);
        return;
    }
    if (error == 0) {
        landed(conn);
    } else {
        free_flight(conn);
        stop_sending(conn, error, system_error);
    }
    if ((wr_outbox_waits(&conn->outbox) && !WR_BUG(lost_wakeup)) || conn->rearm || conn->state != WR_CONN_OPEN)
        wr_conn_touch(conn);
}

int weir_send(weir_conn *conn, const void *bytes, size_t size)
{
    assert(wr_worker_here() == conn->worker);
    return enqueue(conn, bytes, size);
}

int weir_send_buf(weir_conn *conn, weir_buf *buf)
{
    assert(wr_worker_here() == conn->worker);
    if (!buf) return WEIR_EINVAL;
    return enqueue_buf(conn, buf);
}

int weir_send_header_buf(weir_conn *conn, const void *header, size_t size, weir_buf *body)
{
    assert(wr_worker_here() == conn->worker);
    if (!body || (!header && size > 0)) return WEIR_EINVAL;
    if (size == 0) return enqueue_buf(conn, body);
    if (body->size == 0) return enqueue(conn, header, size);
    wr_conn_catch_up(conn);
    if (!wr_conn_is_sendable(conn)) return WEIR_ECLOSED;
    wr_segments *segments = &conn->worker->owner.segments;
    size_t queued = wr_conn_queued(conn), both = size <= SIZE_MAX - body->size ? size + body->size : SIZE_MAX;
    int error = admit(conn, both, queued);
    if (error) return error;
    void *room = wr_outbox_reserve(&conn->outbox, segments, (uint32_t)size);
    if (!room) return fail_enqueue(conn);
    memcpy(room, header, size);
    count_in(conn, size);
    if (wr_outbox_share(&conn->outbox, segments, body) != 0) return fail_enqueue(conn);
    appended(conn, body->size, queued + both);
    return 0;
}

void weir_close(weir_conn *conn)
{
    assert(wr_worker_here() == conn->worker);
    wr_conn_close(conn, WEIR_ECLOSED);
}

void weir_abort(weir_conn *conn)
{
    assert(wr_worker_here() == conn->worker);
    wr_conn_fail(conn, WEIR_EABORTED, 0);
}
