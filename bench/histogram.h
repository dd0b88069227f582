/* Latencies, counted in buckets whose width grows with the value: 32 to an octave, so that a percentile is within 1.6 %
 * of the truth from nanoseconds to a minute, in 8 KiB. */
#ifndef BENCH_HISTOGRAM_H
#define BENCH_HISTOGRAM_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

enum {
    HISTOGRAM_FINE_BITS = 5, /* 2^5 buckets an octave */
    HISTOGRAM_TOP_BIT = 35,  /* values from 2^36 ns (69 s) on share a bucket */
    HISTOGRAM_BUCKETS = (HISTOGRAM_TOP_BIT - HISTOGRAM_FINE_BITS + 2) << HISTOGRAM_FINE_BITS,
};

struct histogram {
    uint64_t total;
    uint64_t worst_ns;
    uint64_t counts[HISTOGRAM_BUCKETS];
};

void histogram_add(struct histogram *histogram, uint64_t value_ns);
void histogram_merge(struct histogram *into, const struct histogram *from);

/* histogram_quantile: the value that `share` (0 to 1) of all values do not exceed: the middle of its bucket. 0 if there
 * is none. */
uint64_t histogram_quantile(const struct histogram *histogram, double share);

#ifdef __cplusplus
}
#endif

#endif
