/* The driving side of a workload: what makes operations happen and counts them. In most it is the load generator; in
 * `connect`, `timers` and `post` it is the contender itself. */
#ifndef BENCH_DRIVER_H
#define BENCH_DRIVER_H

#include <stdbool.h>
#include <stdint.h>

#include "histogram.h"
#include "job.h"
#include "usage.h"

#ifdef __cplusplus
extern "C" {
#endif

/* When a burst ends: at a time, or after a number of operations, whichever comes first. */
struct limit {
    uint64_t until_ns; /* by clock_ns */
    uint64_t operations;
};

enum { FIGURES_MAX = 8 }; /* numbers that a workload has beside those that all have */

/* What a burst did. */
struct tally {
    uint64_t started;
    uint64_t finished;
    uint64_t late; /* of those that have a time to begin at: begun over 1 ms after it, by the driver's own fault */
    struct histogram latency;
    double figures[FIGURES_MAX]; /* as the workload has named them */
};

/* How long nothing may happen before a driver gives up. Long enough for a machine that is busy with other things. */
enum { SILENCE_MS = 10000 };

struct driver {
    /* Sets up all that outlives a burst. */
    void *(*open)(const struct job *job);
    /* Keeps operations going until the limit, sees to it that the last one has ended, and returns. */
    void (*burst)(void *state, const struct limit *limit, struct tally *tally);
};

/* tally_may_start: may another operation begin at `now_ns`? If so it is counted as started. */
static inline bool tally_may_start(struct tally *tally, const struct limit *limit, uint64_t now_ns)
{
    if (now_ns >= limit->until_ns || tally->started >= limit->operations) return false;
    tally->started++;
    return true;
}

static inline void tally_finish(struct tally *tally, uint64_t latency_ns)
{
    tally->finished++;
    histogram_add(&tally->latency, latency_ns);
}

static inline uint64_t tally_in_flight(const struct tally *tally)
{
    return tally->started - tally->finished;
}

#ifdef __cplusplus
}
#endif

#endif
