/* The counters of one worker: it writes, anyone reads, nobody locks. */
#ifndef WR_STATS_H
#define WR_STATS_H

#include <stdatomic.h>
#include <weir/stats.h>

typedef struct wr_counters {
#define WR_COUNTER(name, kind, help) _Atomic uint64_t name;
    WEIR_STATS(WR_COUNTER)
#undef WR_COUNTER
    _Atomic uint64_t closed[WEIR_STATS_REASONS];
    _Atomic uint64_t pass_us[WEIR_STATS_BUCKETS];
    _Atomic uint64_t pass_ns_sum;
} wr_counters;

/* wr_counters_pass: a pass of the loop worked for that long. [owner] */
void wr_counters_pass(wr_counters *counters, uint64_t ns);

#endif
