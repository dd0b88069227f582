#include "core/fanout.h"

#include <assert.h>

#include "core/buffer.h"
#include "core/conn.h"
#include "core/group.h"
#include "platform/bug.h"
#include "platform/hints.h"

/* A connection may be in thousands of groups: so many are looked at. */
enum { MEMBERSHIPS_SEEN = 8 };

static const wr_group_part *part_of(const wr_member *member)
{
    return WR_CONTAINER_OF(member->roster, wr_group_part, roster);
}

/* Whether a send is deferred for the connection, by a membership other than `but`; true also where that is not known.
 */
static bool may_be_deferred_for(const weir_conn *conn, const wr_member *but)
{
    unsigned seen = 0;
    for (const wr_member *member = conn->memberships; member; member = member->conn_next) {
        if (member == but) continue;
        if (part_of(member)->deferred.buf || ++seen == MEMBERSHIPS_SEEN) return true;
    }
    return false;
}

void wr_fanout_defer(wr_worker *worker, wr_group_part *part, weir_buf *buf, weir_conn_id except)
{
    wr_fanout *fanout = &worker->owner.fanout;
    if (part->deferred.buf) wr_fanout_enqueue(worker);
    part->deferred = (wr_deferred){ .buf = wr_buf_retain(buf), .except = except };
    /* Lest the worker waits for something else before it comes to this, if the pass is at its end. */
    if (part->roster.first) wr_conn_touch(part->roster.first->conn);
    if (fanout->first)
        fanout->last->deferred.next = part;
    else
        fanout->first = part;
    fanout->last = part;
}

/* From here on the list is empty: what befalls a member on the way, which may end it, does not come back to this. */
static wr_group_part *take_all(wr_worker *worker)
{
    wr_group_part *first = worker->owner.fanout.first;
    worker->owner.fanout = (wr_fanout){ NULL, NULL };
    return first;
}

/* The part is done with. Returns the next one. */
static wr_group_part *done(wr_group_part *part)
{
    wr_group_part *next = part->deferred.next;
    wr_buf_release(part->deferred.buf);
    part->deferred = (wr_deferred){ .buf = NULL };
    return next;
}

/* Returns how many get it: one or none. */
static unsigned enqueue(weir_conn *conn, weir_buf *buf)
{
    int error = wr_conn_enqueue_buf(conn, buf);
    if (error == WEIR_ECLOSED) wr_add(&conn->worker->counters.sends_dead, 1); /* one that connects, and was closed */
    return error == 0;
}

static const weir_conn *except_of(const wr_worker *worker, const wr_group_part *part)
{
    return part->deferred.except ? wr_worker_find_conn(worker, part->deferred.except) : NULL;
}

/* No callback runs in here, so nobody joins or leaves meanwhile but the one who is sent to, and is let go for that. */
static void enqueue_part(wr_worker *worker, const wr_group_part *part)
{
    const weir_conn *except = except_of(worker, part);
    uint64_t delivered = 0;
    for (const wr_member *member = part->roster.first, *next; member; member = next) {
        next = member->next;
        if (member->conn != except) delivered += enqueue(member->conn, part->deferred.buf);
    }
    wr_add(&worker->counters.group_deliveries, delivered);
}

WR_COLD void wr_fanout_enqueue(wr_worker *worker)
{
    for (wr_group_part *part = take_all(worker); part; part = done(part)) enqueue_part(worker, part);
}

WR_COLD void wr_fanout_enqueue_before(const weir_conn *conn)
{
    if (may_be_deferred_for(conn, NULL) && !WR_BUG(fanout_overtaken)) wr_fanout_enqueue(conn->worker);
}

/* Whether a send that is within its limits may go past its outbox: nothing else waits for the connection. One that is
 * slow, or drops what is new, has an outbox that is not empty. */
static inline bool is_clear(const weir_conn *conn)
{
    return conn->state == WR_CONN_OPEN && conn->special == 0 && wr_conn_queued(conn) == 0;
}

/* One segment, which is offered to one member after another, since mostly the kernel takes it at once. */
typedef struct offer {
    wr_segment *segment;
    const wr_service *service; /* to whose connections; NULL: this is to be found out */
    const weir_conn *except;
} offer;

/* `is_only`: nothing else is deferred on this worker. */
static inline bool may_go_past(const wr_member *member, bool is_only)
{
    return is_clear(member->conn) && (is_only || !may_be_deferred_for(member->conn, member));
}

/* The short way: sends to one after another. Returns the first that is not to be sent to like this, or whose send is
 * not over; NULL: all are done. */
static inline const wr_member *send_to_run(wr_worker *worker, const wr_member *member, const offer *o, bool is_only)
{
    for (; member; member = member->next) {
        weir_conn *conn = member->conn;
        if (conn == o->except || conn->service != o->service || !may_go_past(member, is_only)) return member;
        assert(!conn->send.pending && !conn->slow && !conn->dropping);
        conn->has_sent = true;
        wr_cq_send(worker->cq, conn->sock, &conn->send, &o->segment->slice);
        if (conn->send.pending) return member;
    }
    return NULL;
}

/* Makes the offer one to the connections of this service. False: it is beyond their soft limit, which the hard one is
 * never below, or there is no memory for a segment; they get the bytes through their outboxes. */
static bool prepare(offer *o, wr_segments *segments, weir_buf *buf, const wr_service *service)
{
    if (buf->size > service->protocol.outbox.soft_limit) return false;
    if (!o->segment) {
        o->segment = wr_pool_get(&segments->references);
        if (!o->segment) return false;
        o->segment->slice = (wr_slice){ .data = buf->bytes, .size = buf->size };
        o->segment->buf = wr_buf_retain(buf);
    }
    o->service = service;
    return true;
}

/* As enqueue_part, but whoever has nothing else to send is sent it here and now. */
static void flush_part(wr_worker *worker, const wr_group_part *part, bool is_only)
{
    weir_buf *buf = part->deferred.buf;
    wr_segments *segments = &worker->owner.segments;
    offer o = { .except = except_of(worker, part) };
    uint64_t sent = wr_roster_size(&part->roster), pending = 0, enqueued = 0; /* all but who is counted out */
    const wr_member *member = part->roster.first;
    while ((member = is_only ? send_to_run(worker, member, &o, true) : send_to_run(worker, member, &o, false))) {
        weir_conn *conn = member->conn;
        const wr_member *next = member->next;
        if (conn == o.except) {
            sent--;
        } else if (conn->send.pending && conn->outbox_bytes == 0) { /* it was sent to, and the segment is its */
            wr_outbox_put_in_flight(&conn->outbox, o.segment);
            conn->outbox_bytes = buf->size;
            o.segment = NULL;
            o.service = NULL;
            pending++;
        } else if (conn->service != o.service && may_go_past(member, is_only) &&
                   prepare(&o, segments, buf, conn->service)) {
            continue;
        } else {
            sent--;
            enqueued += enqueue(conn, buf);
        }
        member = next;
    }
    if (o.segment) wr_segment_free(o.segment, segments);
    wr_add(&worker->counters.sends, sent);
    wr_add(&worker->counters.bytes_sent, (sent - pending) * buf->size);
    wr_add(&worker->counters.queued, pending * buf->size);
    wr_add(&worker->counters.group_deliveries, sent + enqueued);
}

void wr_fanout_flush(wr_worker *worker)
{
    wr_group_part *part = take_all(worker);
    bool is_only = !part->deferred.next;
    for (; part; part = done(part)) flush_part(worker, part, is_only);
}
