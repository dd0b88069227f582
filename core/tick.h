/* weir_tick, inside. */
#ifndef WR_TICK_H
#define WR_TICK_H

#include <weir/tick.h>

#include "core/deadline.h"
#include "core/worker.h"

/* wr_rate: hz / divisor ticks a second, neither 0. All of this is exact in integers for more than a hundred years. */
typedef struct wr_rate {
    uint32_t hz, divisor;
} wr_rate;

/* wr_rate_due_ns: when tick `number` is due, in nanoseconds from the start, rounded down. */
uint64_t wr_rate_due_ns(wr_rate rate, uint64_t number);

/* wr_rate_newest: the number of the last tick that is due by then. */
uint64_t wr_rate_newest(wr_rate rate, uint64_t elapsed_ns);

struct weir_tick {
    wr_message start, stop;
    wr_worker *worker;
    weir_tick_fn run;
    void *data;
    wr_rate rate;
    uint32_t catch_up, delay_us;
    struct {
        wr_deadline deadline; /* of tick number `next`, in the worker's */
        uint64_t start_ns;
        uint64_t next;
    } owner;
    struct {
        _Atomic bool stopped;
    } shared;
    struct { /* the worker writes, anyone reads */
        _Atomic uint64_t skipped, overruns, late_ns_max, callback_ns_sum, callback_ns_max;
        wr_histogram late;
    } counters;
};

/* wr_ticks_run: runs what is due, each tick once, or as often as it has to catch up. Returns how many callbacks ran.
 * [worker] */
unsigned wr_ticks_run(wr_worker *worker);

/* wr_ticks_drop: the worker has ended: frees those that nobody stopped. */
void wr_ticks_drop(wr_worker *worker);

#endif
