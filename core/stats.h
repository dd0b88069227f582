/* The counters of one worker: it writes, anyone reads, nobody locks. */
#ifndef WR_STATS_H
#define WR_STATS_H

#include <stdatomic.h>
#include <weir/stats.h>

#include "core/bits.h"
#include "platform/memory.h"

/* Times, by powers of two of a microsecond, and their sum. */
typedef struct wr_histogram {
    _Atomic uint64_t buckets[WEIR_STATS_BUCKETS];
    _Atomic uint64_t ns_sum;
} wr_histogram;

typedef struct wr_counters {
#define WR_COUNTER(name, kind, help) _Atomic uint64_t name;
    WEIR_STATS(WR_COUNTER)
#undef WR_COUNTER
    _Atomic uint64_t closed[WEIR_STATS_REASONS];
    wr_histogram pass;      /* how long the passes worked */
    wr_histogram tick_late; /* how late the ticks began */
    _Atomic uint64_t tick_ns_max;
} wr_counters;

/* wr_histogram_add: one more time. [owner] */
static inline void wr_histogram_add(wr_histogram *histogram, uint64_t ns)
{
    uint64_t us = ns / 1000;
    unsigned bucket = us ? wr_bit_high(us) + 1 : 0;
    if (bucket > WEIR_STATS_BUCKETS - 1) bucket = WEIR_STATS_BUCKETS - 1;
    wr_add(&histogram->buckets[bucket], 1);
    wr_add(&histogram->ns_sum, ns);
}

/* wr_histogram_read: adds all of it to what a public snapshot has. [any] */
void wr_histogram_read(const wr_histogram *histogram, uint64_t *buckets, uint64_t *ns_sum);

/* wr_raise: a maximum that one thread writes and others read. [owner] */
static inline void wr_raise(_Atomic uint64_t *maximum, uint64_t n)
{
    if (n > atomic_load_explicit(maximum, memory_order_relaxed))
        atomic_store_explicit(maximum, n, memory_order_relaxed);
}

#endif
