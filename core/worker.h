/* wr_worker: one thread's share of a runtime: a queue, timers, a mailbox and the connections that live here. Nothing of
 * it is shared on the way of a byte. */
#ifndef WR_WORKER_H
#define WR_WORKER_H

#include <stdatomic.h>

#include "core/deadline.h"
#include "core/dirty.h"
#include "core/fanout.h"
#include "core/mailbox.h"
#include "core/members.h"
#include "core/memory.h"
#include "core/outbox.h"
#include "core/slots.h"
#include "core/stats.h"
#include "core/timer.h"
#include "platform/cq.h"
#include "platform/os.h"

enum {
    WR_COMPLETIONS_MAX = 64, /* taken a pass: as many receive buffers are in use at once */
};

/* wr_op.tag: what an operation of core is embedded in. */
enum wr_tag { WR_TAG_MESSAGE, WR_TAG_CONN, WR_TAG_ACCEPTOR, WR_TAG_UDP };

/* wr_timer.tag, likewise. */
enum wr_timer_tag {
    WR_TIMER_CONN,
    WR_TIMER_ACCEPTOR,
    WR_TIMER_DELAYED,
    WR_TIMER_ALARM,
    WR_TIMER_LINK,
    WR_TIMER_LOOKUP,
    WR_TIMER_UDP,
};

typedef struct wr_acceptor wr_acceptor;
typedef struct weir_timer weir_timer;
typedef struct weir_link weir_link;
typedef struct weir_udp_socket weir_udp_socket;

struct wr_worker {
    weir_runtime *runtime;
    unsigned index;
    wr_cq *cq;
    struct {
        wr_arena arena;
        wr_wheel wheel;
        wr_deadlines ticks;
        weir_timer *alarms;         /* the embedder's timers that are no connection's */
        wr_segments segments;       /* of the outboxes */
        wr_members members;         /* of its connections in groups */
        wr_fanout fanout;           /* what was sent to groups, on its way to them */
        uint64_t now_ns;            /* when this pass began */
        uint64_t now_ms;            /* the same for the wheel */
        wr_dirty dirty;             /* to be reconciled at the end of the pass */
        weir_udp_socket *udp_dirty; /* likewise */
        weir_udp_socket *udp_sockets;
        wr_acceptor *acceptors;
        weir_link *links;
        uint32_t connections; /* here, in whatever state */
        bool stopping;        /* no new connections; those that are here are closing */
        bool drained;         /* has said so */
        bool finished;        /* every worker is drained: the loop ends */
    } owner;
    struct {
        _Atomic uint32_t load;          /* connections that are here or on their way, for placement */
        _Atomic uint64_t posts;         /* by weir_post, ever; and posts_arrived, as those who post saw it last: */
        _Atomic uint64_t posts_seen;    /* the difference is held against max_posts */
        _Atomic uint64_t dead_sends;    /* by other threads, to connections here that had gone */
        _Atomic uint64_t refused_sends; /* likewise, at a hard limit */
        _Atomic uint64_t udp_dropped;   /* likewise, at max_queued */
        _Atomic uint64_t group_queued;  /* against group_backlog: what waits here of groups' messages */
        _Atomic uint64_t empty_group_sends;
    } shared;
    wr_slots slots;
    wr_counters counters;
    _Atomic uint64_t posts_arrived; /* of shared.posts; the worker's, so it lies apart from them */
    wr_message stop, finish;
    wr_thread thread;
};

/* wr_worker_init: WEIR_ENOMEM, WEIR_EMFILE. Undone by wr_worker_destroy, also after a failure. */
int wr_worker_init(wr_worker *worker, weir_runtime *runtime, unsigned index, uint32_t capacity);

/* wr_worker_destroy: the loop has ended, or never began. */
void wr_worker_destroy(wr_worker *worker);

/* wr_worker_step: one pass: waits until `deadline_ns` at most, serves what came, runs what is due, sends what was
 * sent. Returns how many events it served. On the worker's thread. */
unsigned wr_worker_step(wr_worker *worker, uint64_t deadline_ns);

/* wr_worker_deadline: when the next step is due if nothing comes before; WR_DEADLINE_NEVER: then alone. */
uint64_t wr_worker_deadline(wr_worker *worker);

/* wr_worker_run: steps until the runtime has stopped and drained. */
void wr_worker_run(wr_worker *worker);

/* wr_worker_drop_messages: takes what still stands in the mailbox of a worker that has ended. */
void wr_worker_drop_messages(wr_worker *worker);

void wr_worker_check_drained_now(wr_worker *worker); /* for the next one */

/* wr_worker_check_drained: to be called where the last connection or acceptor may have gone. */
static inline void wr_worker_check_drained(wr_worker *worker)
{
    if (worker->owner.stopping) wr_worker_check_drained_now(worker);
}

/* wr_worker_here: the worker whose callbacks this thread runs now; NULL outside of them. */
wr_worker *wr_worker_here(void);

/* wr_worker_find_conn: the connection of an id; NULL: it does not live here. [worker] */
static inline weir_conn *wr_worker_find_conn(const wr_worker *worker, weir_conn_id id)
{
    if (wr_id_worker(id) != worker->index) return NULL;
    const wr_slot *slot = wr_slots_at(&worker->slots, wr_id_slot(id));
    return slot && wr_slot_is_alive(slot, id) ? slot->owner.conn : NULL;
}

static inline wr_memory *wr_worker_memory(wr_worker *worker)
{
    return &worker->owner.arena.memory;
}

#endif
