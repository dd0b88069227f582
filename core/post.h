/* Functions that other threads run on a worker, at once or later. */
#ifndef WR_POST_H
#define WR_POST_H

#include "core/timer.h"
#include "core/worker.h"

/* wr_place_take: one more waits in a queue with so many places; false: it is full. To be given back by the one that
 * takes it out, before what has waited runs. [any] */
static inline bool wr_place_take(_Atomic uint32_t *places, uint32_t most)
{
    if (atomic_fetch_add_explicit(places, 1, memory_order_relaxed) < most) return true;
    atomic_fetch_sub_explicit(places, 1, memory_order_relaxed);
    return false;
}

/* wr_delayed_run: its time has come. [worker] */
void wr_delayed_run(wr_worker *worker, wr_timer *timer);

/* wr_delayed_drop: it never will. */
void wr_delayed_drop(wr_worker *worker, wr_timer *timer);

#endif
