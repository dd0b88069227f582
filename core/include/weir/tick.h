/* Ticks: a function that runs on a worker at a fixed rate, for a game's simulation step.
 *
 * Tick number n (from 1) is due exactly n / rate after the start: deadlines are absolute, so that neither a late
 * wake-up nor a slow callback shifts the later ones, and after an hour at 60 Hz 216,000 ticks have been due, not one
 * more or less. */
#ifndef WEIR_TICK_H
#define WEIR_TICK_H

#include <weir/runtime.h>
#include <weir/stats.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct weir_tick weir_tick;

/* weir_tick_fn: tick `number`. Game time is number / rate, also where ticks were skipped: then the number jumps.
 * On the tick's worker, like any callback. */
typedef void (*weir_tick_fn)(weir_tick *tick, uint64_t number, void *data);

typedef struct weir_tick_options {
    uint32_t hz;         /* ticks a second; not 0 */
    uint32_t hz_divisor; /* the rate is hz / hz_divisor: 60000 / 1001, or 1 / 10 for one in ten seconds; 0: 1 */
    unsigned worker;     /* on which it runs, from 0 */
    uint32_t delay_us;   /* the start is put off by so much: rooms of one worker need not all step at one moment */
    /* When the worker comes so late that further ticks have fallen due meanwhile, up to so many of those missed run at
     * once, one after the other, and then the newest; those before are skipped, and counted. 0: all but the newest are
     * skipped. */
    uint32_t catch_up;
    weir_tick_fn on_tick; /* not NULL */
    void *data;           /* for on_tick */
} weir_tick_options;

/* How well a tick keeps its time. Each number is exact; numbers of one snapshot may be a tick apart. */
typedef struct weir_tick_stats {
    uint64_t ticks;                       /* that ran */
    uint64_t skipped;                     /* that did not: see catch_up */
    uint64_t overruns;                    /* callbacks that ended when the next tick was due already */
    uint64_t late_us[WEIR_STATS_BUCKETS]; /* histogram of lateness: bucket i counts ticks that began under 2^i us late;
                                             the last one all later ones */
    uint64_t late_ns_sum, late_ns_max;
    uint64_t callback_ns_sum, callback_ns_max; /* how long the callbacks took */
} weir_tick_stats;

/* weir_tick_start: starts one, as soon as its worker runs and takes notice and delay_us have passed; the first tick
 * comes one period after that.
 * It goes on until weir_tick_stop, or until the runtime has stopped and drained; it keeps no runtime alive. `out` may
 * be NULL: it cannot be stopped by itself then. [any]
 * WEIR_EINVAL: no such worker, on_tick is NULL, or a rate of 0 or over 10,000 a second. WEIR_ENOMEM. WEIR_ESTOPPED. */
WEIR_API int weir_tick_start(weir_runtime *runtime, const weir_tick_options *options, weir_tick **out);

/* weir_tick_stop: ends it, also in its own callback. On its own worker no callback begins after this; on another thread
 * one may be running, and is the last. `tick` is dead from here on, but until its own callback returns, if in that.
 * Needed by no one who is content with the runtime's end; after that end, and before weir_runtime_destroy, it is
 * harmless. NULL is fine. [any] */
WEIR_API void weir_tick_stop(weir_tick *tick);

/* weir_tick_report: how it did so far. Until weir_tick_stop, or weir_runtime_destroy. All ticks of a worker together
 * are in weir_stats. [any] */
WEIR_API void weir_tick_report(const weir_tick *tick, weir_tick_stats *out);

/* weir_tick_runtime: whose it is. [any] */
WEIR_API weir_runtime *weir_tick_runtime(const weir_tick *tick);

#ifdef __cplusplus
}
#endif

#endif
