/* Functions that other threads run on a worker, at once or later. */
#ifndef WR_POST_H
#define WR_POST_H

#include "core/timer.h"
#include "core/worker.h"

/* wr_delayed_run: its time has come. [worker] */
void wr_delayed_run(wr_worker *worker, wr_timer *timer);

/* wr_delayed_drop: it never will. */
void wr_delayed_drop(wr_worker *worker, wr_timer *timer);

#endif
