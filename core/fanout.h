/* wr_fanout: what was sent to groups in this pass, on its way to their members here.
 *
 * It is deferred, one send a group, to the end of the pass: there it goes straight to the members for whom nothing else
 * waits, and into the outboxes of the others. Nobody can tell: whatever would show the difference first puts all that
 * is deferred into the outboxes, in the order of the sends. That is another send to a member, its end, a look at its
 * outbox, a second send to the group, and a change of its members (docs/decisions/0006). */
#ifndef WR_FANOUT_H
#define WR_FANOUT_H

#include <stdbool.h>
#include <weir/buffer.h>
#include <weir/conn.h>

typedef struct wr_worker wr_worker;
typedef struct wr_group_part wr_group_part;

/* The parts of groups on one worker that have a deferred send, in the order of the sends. */
typedef struct wr_fanout {
    wr_group_part *first, *last;
} wr_fanout;

/* In a part. */
typedef struct wr_deferred {
    weir_buf *buf; /* NULL: nothing is deferred */
    weir_conn_id except;
    wr_group_part *next; /* in wr_fanout */
} wr_deferred;

/* wr_fanout_defer: sends to the members on this worker, all but one. [worker] */
void wr_fanout_defer(wr_worker *worker, wr_group_part *part, weir_buf *buf, weir_conn_id except);

/* wr_fanout_enqueue: puts all that is deferred into the outboxes. [worker] */
void wr_fanout_enqueue(wr_worker *worker);

/* wr_fanout_enqueue_before: the same, if some of it is, or may be, for this connection, to which something is about to
 * happen. [worker] */
void wr_fanout_enqueue_before(const weir_conn *conn);

/* wr_fanout_flush: sends all that is deferred, of which there is some. At the end of the pass, before connections are
 * reconciled. [worker] */
void wr_fanout_flush(wr_worker *worker);

#endif
