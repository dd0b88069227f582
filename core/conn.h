/* weir_conn, inside: conn.c has its life, receive.c the way from bytes to messages, send.c the way back, remote.c what
 * other threads do to it by its id.
 *
 *   CONNECTING -> OPEN -> CLOSING -> DRAINING -> GONE
 *
 * CONNECTING  only what weir_connect makes; no socket yet
 * OPEN        messages come and go
 * CLOSING     the reason is settled; what is owed is being flushed, what comes in is dropped
 * DRAINING    FIN is out; what still comes in is dropped until the peer's end
 * GONE        the socket is being closed; on_close and the end of the memory follow the completion of that
 *
 * A transition only settles what is desired; wr_conn_reconcile, once a pass for each connection that something
 * happened to, is the one place that submits sends, receives and closes to match. For one that its on_open has ended it
 * is called at once (docs/decisions/0009). */
#ifndef WR_CONN_H
#define WR_CONN_H

#include <assert.h>

#include "core/outbox.h"
#include "core/service.h"
#include "core/slots.h"
#include "core/timer.h"
#include "core/worker.h"

enum wr_conn_state { WR_CONN_CONNECTING, WR_CONN_OPEN, WR_CONN_CLOSING, WR_CONN_DRAINING, WR_CONN_GONE };

/* The unfinished frame at the end of what was received, or, while paused, all that was not yet delivered. */
typedef struct wr_tail {
    uint32_t size;
    uint32_t capacity;
    uint32_t scanned; /* see wr_framing_next */
    uint8_t bytes[];
} wr_tail;

/* Whom an accepted connection comes from, as far as 8 bytes say it. */
typedef struct wr_peer {
    uint8_t ip[4]; /* of IPv4 */
    uint16_t port;
    uint8_t family; /* enum wr_family; IPv6: all of the address stands in front of the connection, see wr_conn_ipv6 */
} wr_peer;

/* 160 bytes; with its slot (24) and its socket (40) an idle connection costs 224. Times are milliseconds of the
 * worker's clock, cut to 32 bits: compared by difference. */
struct weir_conn {
    wr_worker *worker;
    const wr_service *service;
    wr_slot *slot;
    wr_op recv; /* first the connect, if it was opened */
    wr_op send;
    union {
        wr_timer timer; /* for the next deadline of all kinds; moved lazily, so that a message costs no re-arming */
        wr_op close;    /* GONE: there are no more deadlines */
    };
    wr_sock sock;
    wr_outbox outbox;
    wr_tail *tail;
    weir_timer *timers;     /* the embedder's, which end with it */
    wr_member *memberships; /* in groups */
    wr_peer peer;           /* if it was accepted; wr_conn_peer says whose any connection is */
    uint32_t outbox_bytes;  /* of it, in flight or not */
    uint32_t received_ms;
    uint32_t deadline_ms; /* CONNECTING: to be there; OPEN: for the first message; CLOSING, DRAINING: to be gone */
    union {
        uint32_t slow_ms;     /* if `slow`: since when the outbox has been over its soft limit */
        int32_t system_error; /* if there is a reason: the system's */
    };
    uint8_t state; /* enum wr_conn_state */
    /* What is rare stands together, so that one look tells that nothing of it is the case. */
    union {
        struct {
            bool paused : 1;
            bool held : 1;    /* paused as well, by an inbox without room */
            bool owing : 1;   /* and by WEIR_SLOW_PAUSE, until its peer has read more of what it is owed */
            bool stashed : 1; /* the tail may hold whole frames */
        };
        uint8_t deaf; /* not 0: no message is delivered now */
    };
    union {
        struct {
            bool rearm : 1;      /* a deadline may be nearer than the timer */
            bool peer_ended : 1; /* FIN was received */
            bool write_dead : 1; /* a send failed: read what is there, then end with that reason */
            bool tell_slow : 1;  /* on_slow is due */
        };
        uint8_t special; /* not 0: there is more to do than to send and to receive */
    };
    int8_t error; /* the reason's WEIR_E…; 0 while there is none */
    bool dirty : 1;
    bool has_deadline : 1;
    bool got_message : 1; /* past the handshake */
    bool has_sent : 1;    /* the peer has a tail of ours that a reset could destroy */
    bool end_told : 1;    /* on_end has run, or the close begun */
    bool slow : 1;        /* over the soft limit */
    bool dropping : 1;    /* WEIR_SLOW_DROP_NEWEST is at it */
    bool slow_told : 1;
};

/* The session follows the connection, aligned for any type. */
#define WR_SESSION_OFFSET ((sizeof(weir_conn) + 15) & ~(size_t)15)

/* A connection that was accepted from an IPv6 peer. */
typedef struct wr_conn_ipv6 {
    wr_addr peer;
    _Alignas(16) weir_conn conn; /* last: its session follows it */
} wr_conn_ipv6;

/* wr_conn_create: a connection of a dialer's, with room for its wr_connector, its session and its slot, to be started
 * on its worker. From the worker's memory there; `memory` NULL: on any other thread, from the runtime's heap. NULL: no
 * memory, or no slot. */
weir_conn *wr_conn_create(wr_worker *worker, const wr_service *service, wr_memory *memory);

/* wr_conn_accept: a connection on an accepted socket, up to its on_open. Takes the socket; WEIR_ENOMEM: it is
 * discarded. [worker] */
int wr_conn_accept(wr_worker *worker, const wr_service *service, wr_detached socket, const wr_addr *peer);

/* wr_conn_start: begins to connect, by its connector. [worker] */
void wr_conn_start(weir_conn *conn);

/* wr_conn_resolved: the lookup of its name has its answer. [worker] */
void wr_conn_resolved(weir_conn *conn);

/* wr_conn_complete: an operation of a connection, other than a recv, has completed. [worker] */
void wr_conn_complete(const wr_completion *completion);

/* wr_conn_expire: its timer has fired. [worker] */
void wr_conn_expire(weir_conn *conn);

/* wr_conn_reconcile_all: for wr_conn_reconcile, of one that is not plain. [worker] */
void wr_conn_reconcile_all(weir_conn *conn);

/* wr_conn_touch: reconcile it at the end of this pass. [worker] */
static inline void wr_conn_touch(weir_conn *conn)
{
    if (conn->dirty) return;
    conn->dirty = true;
    wr_dirty_add(&conn->worker->owner.dirty, conn);
}

/* wr_conn_queued: bytes in its outbox, and on their way there from other threads. [worker] */
static inline size_t wr_conn_queued(const weir_conn *conn)
{
    return (size_t)conn->outbox_bytes + atomic_load_explicit(&conn->slot->shared.queued, memory_order_relaxed);
}

/* wr_conn_settle: the reason why it ends; the first one stands. [worker] */
void wr_conn_settle(weir_conn *conn, int error, int system_error);

/* wr_conn_close: the orderly end, with `error` as the reason; of no effect on one that is ending. [worker] */
void wr_conn_close(weir_conn *conn, int error);

/* wr_conn_fail: the end at once, by a reset. The first reason stands. [worker] */
void wr_conn_fail(weir_conn *conn, int error, int system_error);

/* wr_conn_stop: the runtime is stopping: on_stop, then the orderly end within `timeout_ms`. [worker] */
void wr_conn_stop(weir_conn *conn, uint32_t timeout_ms);

/* wr_conn_set_deadline: the one that its state is under, from now. The next reconcile arms the timer. [worker] */
void wr_conn_set_deadline(weir_conn *conn, uint32_t in_ms);

/* wr_conn_limit_deadline: the same, but a nearer one stands. [worker] */
void wr_conn_limit_deadline(weir_conn *conn, uint32_t in_ms);

/* wr_conn_peer: its other end's address; while the name of that is being looked up, the port alone. [worker] */
wr_addr wr_conn_peer(const weir_conn *conn);

static inline uint32_t wr_conn_now_ms(const weir_conn *conn)
{
    return (uint32_t)conn->worker->owner.now_ms;
}

/* wr_conn_is_paused: by the embedder, by a full inbox, or by its own peer, who does not read: what has come is not
 * delivered, and no more is read. */
static inline bool wr_conn_is_paused(const weir_conn *conn)
{
    return conn->paused || conn->held || conn->owing;
}

static inline const weir_protocol *wr_conn_protocol(const weir_conn *conn)
{
    return &conn->service->protocol;
}

/* wr_conn_is_plain: whether it is open, and a pass has nothing to do for it but to send and to receive. */
static inline bool wr_conn_is_plain(const weir_conn *conn)
{
    return conn->state == WR_CONN_OPEN && conn->deaf == 0 && conn->special == 0;
}

/* wr_conn_is_sendable: whether a send would be taken, its limits apart. */
static inline bool wr_conn_is_sendable(const weir_conn *conn)
{
    assert(!conn->write_dead || conn->error != 0 || conn->state > WR_CONN_OPEN);
    return conn->state <= WR_CONN_OPEN && conn->error == 0;
}

/* wr_conn_may_be_behind: whether wr_conn_catch_up may have anything to do. */
static inline bool wr_conn_may_be_behind(const weir_conn *conn)
{
    return conn->worker->owner.fanout.first != NULL;
}

/* wr_conn_catch_up: what was sent to its groups and deferred comes before what is about to happen to it. [worker] */
static inline void wr_conn_catch_up(const weir_conn *conn)
{
    if (wr_conn_may_be_behind(conn)) wr_fanout_enqueue_before(conn);
}

/* wr_conn_leave_groups: it can be sent to no more. [worker] */
static inline void wr_conn_leave_groups(weir_conn *conn)
{
    if (conn->memberships) wr_members_leave_all(&conn->worker->owner.members, conn);
}

/* receive.c */

/* wr_conn_received: its recv has completed: delivers what is whole, keeps the rest. [worker] */
void wr_conn_received(weir_conn *conn, const wr_completion *completion);

/* wr_conn_hear: what kept it from being heard, other than weir_conn_pause, is over; the end of the pass goes on with
 * it, if nothing else does. [worker] */
void wr_conn_hear(weir_conn *conn);

/* wr_conn_unstash: delivers what had come while the connection was paused. [worker] */
void wr_conn_unstash(weir_conn *conn);

void wr_conn_free_tail(weir_conn *conn);

/* send.c */

/* wr_conn_enqueue, wr_conn_enqueue_buf: weir_send and weir_send_buf, for the rest of core. [worker] */
int wr_conn_enqueue(weir_conn *conn, const void *bytes, size_t size);
int wr_conn_enqueue_buf(weir_conn *conn, weir_buf *buf);

/* wr_conn_drop_waiting: forgets what is queued and not in flight. [worker] */
void wr_conn_drop_waiting(weir_conn *conn);

/* wr_conn_launch: sends what waits; nothing is in flight. [worker] */
void wr_conn_launch(weir_conn *conn);

/* wr_conn_reconcile: makes what is submitted match what is desired. At the end of the pass. [worker] */
void wr_conn_reconcile(weir_conn *conn);

/* wr_conn_sent: the completion of the send in flight has come. [worker] */
void wr_conn_sent(weir_conn *conn, int error, int system_error);

/* wr_conn_apply_slow_policy: a send did not fit its limits; wr_conn_expire_slow: it has been over the soft one for its
 * time. [worker] */
void wr_conn_apply_slow_policy(weir_conn *conn);
void wr_conn_expire_slow(weir_conn *conn);

#endif
