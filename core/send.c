/* The way out: sends queue in the outbox, limits are applied, and the end of the pass writes. */
#include <assert.h>

#include "core/buffer.h"
#include "core/conn.h"
#include "platform/bug.h"

size_t weir_conn_queued(const weir_conn *conn)
{
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
static void watch_soft_limit(weir_conn *conn)
{
    bool over = wr_conn_queued(conn) > wr_conn_protocol(conn)->outbox.soft_limit;
    if (over == conn->slow) return;
    conn->slow = over;
    conn->dropping = conn->slow_told = false;
    if (!over) return;
    conn->slow_ms = wr_conn_now_ms(conn);
    conn->rearm = true;
}

static int refuse_slow(weir_conn *conn)
{
    wr_add(&conn->worker->counters.sends_dropped, 1);
    return WEIR_ESLOW;
}

/* Whether the limits leave room for `size` (at least 1) bytes. */
static int admit(weir_conn *conn, size_t size)
{
    if (conn->dropping) watch_soft_limit(conn); /* other threads' bytes may be all that kept it above */
    if (conn->dropping) return refuse_slow(conn);
    size_t limit = wr_conn_protocol(conn)->outbox.hard_limit;
    if (size > limit || wr_conn_queued(conn) > limit - size) {
        wr_conn_apply_slow_policy(conn);
        return refuse_slow(conn);
    }
    return 0;
}

static int append(weir_conn *conn, const void *bytes, size_t size, weir_buf *buf)
{
    wr_segments *segments = &conn->worker->owner.segments;
    int error = buf ? wr_outbox_share(&conn->outbox, segments, buf)
                    : wr_outbox_copy(&conn->outbox, segments, bytes, (uint32_t)size);
    if (error) {
        wr_conn_fail(conn, error, 0);
        return error;
    }
    wr_add(&conn->worker->counters.queued, size);
    return 0;
}

static void appended(weir_conn *conn)
{
    watch_soft_limit(conn);
    if (conn->state == WR_CONN_OPEN) wr_conn_touch(conn);
}

int wr_conn_enqueue(weir_conn *conn, const void *bytes, size_t size, weir_buf *buf)
{
    if (!wr_conn_is_sendable(conn)) return WEIR_ECLOSED;
    if (size == 0) return 0;
    int error = admit(conn, size);
    if (error == 0) error = append(conn, bytes, size, buf);
    if (error == 0) appended(conn);
    return error;
}

/* The peer reads no more. What it sent before may still be here, and is delivered first; then its end, or a deadline,
 * ends the connection with this reason. */
static void stop_sending(weir_conn *conn, int error, int system_error)
{
    uint32_t dropped = wr_outbox_drop_waiting(&conn->outbox, &conn->worker->owner.segments);
    wr_sub(&conn->worker->counters.queued, dropped);
    conn->write_dead = true;
    conn->slow = false;
    wr_conn_leave_groups(conn);
    if (conn->state != WR_CONN_OPEN) return; /* it has its reason and its deadline */
    if (conn->end_told) {                    /* nothing can come any more, so nothing would find out */
        wr_conn_fail(conn, error, system_error);
        return;
    }
    conn->error = (int8_t)error;
    conn->system_error = system_error;
    wr_conn_limit_deadline(conn, wr_conn_protocol(conn)->close_timeout_ms); /* that of the handshake may be nearer */
}

static uint32_t free_flight(weir_conn *conn)
{
    uint32_t bytes = wr_outbox_landed(&conn->outbox, &conn->worker->owner.segments);
    wr_sub(&conn->worker->counters.queued, bytes);
    return bytes;
}

void wr_conn_landed(weir_conn *conn)
{
    wr_add(&conn->worker->counters.bytes_sent, free_flight(conn));
    if (conn->slow) watch_soft_limit(conn);
}

void wr_conn_sent(weir_conn *conn, int error, int system_error)
{
    if (conn->state == WR_CONN_GONE) {
        free_flight(conn);
        return;
    }
    if (error == 0) {
        wr_conn_landed(conn);
    } else {
        free_flight(conn);
        stop_sending(conn, error, system_error);
    }
    if ((conn->outbox.waiting && !WR_BUG(lost_wakeup)) || conn->rearm || conn->state != WR_CONN_OPEN)
        wr_conn_touch(conn);
}

int weir_send(weir_conn *conn, const void *bytes, size_t size)
{
    assert(wr_worker_here() == conn->worker);
    return wr_conn_enqueue(conn, bytes, size, NULL);
}

int weir_send_buf(weir_conn *conn, weir_buf *buf)
{
    assert(wr_worker_here() == conn->worker);
    if (!buf) return WEIR_EINVAL;
    return wr_conn_enqueue(conn, buf->bytes, buf->size, buf);
}

int weir_send_header_buf(weir_conn *conn, const void *header, size_t size, weir_buf *body)
{
    assert(wr_worker_here() == conn->worker);
    if (!body || (!header && size > 0)) return WEIR_EINVAL;
    if (size == 0 || body->size == 0)
        return wr_conn_enqueue(conn, size ? header : body->bytes, size + body->size, size ? NULL : body);
    if (!wr_conn_is_sendable(conn)) return WEIR_ECLOSED;
    int error = admit(conn, size <= SIZE_MAX - body->size ? size + body->size : SIZE_MAX);
    if (error == 0) error = append(conn, header, size, NULL);
    if (error == 0) error = append(conn, body->bytes, body->size, body);
    if (error == 0) appended(conn);
    return error;
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
