/* weir_inbox, inside: a list that workers push onto without a lock (wr_posts does it the same way) and that the logic
 * thread takes whole; and how connections wait for room in it.
 *
 * A connection holds what its OPEN and CLOSE need from its start. Its messages are copied a read at a time into one
 * block, so that a read of many costs one allocation and one push. */
#ifndef WR_INBOX_H
#define WR_INBOX_H

#include <stdatomic.h>
#include <weir/inbox.h>

#include "core/mailbox.h"
#include "core/memory.h"
#include "platform/os.h"

enum wr_inbox_kind { WR_INBOX_OPEN, WR_INBOX_CLOSE, WR_INBOX_BLOCK };

/* Embedded in what is pushed. */
typedef struct wr_inbox_node {
    wr_node link;
    uint32_t kind;   /* enum wr_inbox_kind: what it is embedded in */
    uint32_t charge; /* what it counts for until it has been taken */
} wr_inbox_node;

/* What the events of one connection need; the consumer frees it after CLOSE. */
struct wr_inbox_entry {
    wr_inbox_node open, close;
    weir_conn_id id;
    wr_addr peer;
    weir_reason reason;
    void *data;
    void *user; /* the consumer's alone */
};

/* Messages of one connection, one after the other: their size in 32 bits, their bytes, up to the next multiple of 4. */
typedef struct wr_inbox_block {
    wr_inbox_node node;
    wr_inbox_entry *entry;
    uint32_t capacity, used;
    uint32_t words[];
} wr_inbox_block;

/* wr_inbox_seat: what a connection of an inbox has more than others; it stands behind the session. */
typedef struct wr_inbox_seat {
    wr_inbox_entry *entry; /* NULL: the consumer's by now */
    wr_inbox_block *block; /* of the read that is being cut, not yet pushed */
    weir_conn *next;       /* of those that wait for room */
    weir_conn **link;      /* what points here; NULL when not waiting */
} wr_inbox_seat;

/* A worker's side of an inbox: its connections that wait for room, those that have waited longest first. */
typedef struct wr_inbox_port {
    wr_message resume; /* first */
    weir_inbox *inbox;
    wr_worker *worker;
    weir_conn *held;
    weir_conn **held_end;
    _Atomic int state; /* of `resume`: see inbox_port.c */
} wr_inbox_port;

struct weir_inbox {
    weir_runtime *runtime; /* under the lock; NULL: it has been destroyed */
    weir_inbox *next;      /* of the runtime's inboxes */
    wr_heap heap;
    size_t max_bytes, low_bytes;
    void (*on_ready)(void *data);
    void *data;
    bool simulated;
    unsigned port_count;
    struct {
        wr_node *_Atomic newest;
        _Atomic size_t bytes;
        _Atomic bool full;     /* from max_bytes down to low_bytes */
        _Atomic bool sleeping; /* the consumer, or it is about to */
    } shared;
    wr_mutex lock; /* around sleeping, waking ports, and the end */
    wr_cond filled;
    struct {
        wr_node *oldest;       /* taken from `shared`, in the order of the pushes */
        wr_inbox_block *block; /* the last event was of this one, */
        uint32_t read;         /* which has been read up to here; or */
        wr_inbox_entry *gone;  /* it was this one's CLOSE */
    } consumer;
    wr_inbox_port ports[]; /* a worker */
};

/* wr_inbox_room: what a message of that size takes of a block. */
static inline uint32_t wr_inbox_room(size_t size)
{
    return (uint32_t)(sizeof(uint32_t) + ((size + 3) & ~(size_t)3));
}

/* inbox.c */

/* wr_inbox_push: [worker] The node is the consumer's from here on. */
void wr_inbox_push(weir_inbox *inbox, wr_inbox_node *node);

/* wr_inboxes_end: the workers are about to be freed: nobody posts to them, and who waits for an event shall not. */
void wr_inboxes_end(weir_runtime *runtime);

/* inbox_port.c */

/* wr_inbox_seat_size: what a connection of this service needs behind its session. */
size_t wr_inbox_seat_size(const weir_protocol *protocol);

/* wr_inbox_join: a connection is being made: WEIR_ENOMEM. [any] */
int wr_inbox_join(weir_conn *conn);

/* wr_inbox_leave: it is being freed. [any] */
void wr_inbox_leave(weir_conn *conn);

/* wr_inbox_open, wr_inbox_close: queue the event; they cannot fail. [worker] */
void wr_inbox_open(weir_conn *conn);
void wr_inbox_close(weir_conn *conn);

/* wr_inbox_message: queues one of a read, of which `rest` bytes follow. WEIR_ENOMEM. [worker] */
int wr_inbox_message(weir_conn *conn, const void *bytes, size_t size, size_t rest);

/* wr_inbox_begin, wr_inbox_finish: around the cutting of a read; where there is no room, the connection is held: see
 * weir_conn.held. [worker] */
void wr_inbox_begin(weir_conn *conn);
void wr_inbox_finish(weir_conn *conn);

/* wr_inbox_port_init: also what wr_inbox_relieve wakes. */
void wr_inbox_port_init(wr_inbox_port *port, weir_inbox *inbox, wr_worker *worker);

/* wr_inbox_relieve: if there is room again, those who wait for it go on. [any] */
void wr_inbox_relieve(weir_inbox *inbox);

static inline bool wr_inbox_is_full(const weir_inbox *inbox)
{
    return atomic_load(&inbox->shared.full);
}

#endif
