#include "histogram.h"

/* Up to HISTOGRAM_PARTS each number has its own bucket; from there on each power of two has that many. */
static unsigned bucket_of(uint64_t ns)
{
    unsigned shift = 0;
    while (ns >> shift >= UINT64_C(2) * HISTOGRAM_PARTS) shift++;
    unsigned bucket = shift * HISTOGRAM_PARTS + (unsigned)(ns >> shift);
    return bucket < HISTOGRAM_BUCKETS ? bucket : HISTOGRAM_BUCKETS - 1;
}

static uint64_t largest_in(unsigned bucket)
{
    if (bucket < 2 * HISTOGRAM_PARTS) return bucket;
    unsigned shift = bucket / HISTOGRAM_PARTS - 1;
    return ((uint64_t)(bucket % HISTOGRAM_PARTS + HISTOGRAM_PARTS + 1) << shift) - 1;
}

void histogram_add(struct histogram *histogram, uint64_t ns)
{
    histogram->counts[bucket_of(ns)]++;
    histogram->count++;
    if (ns > histogram->max_ns) histogram->max_ns = ns;
}

void histogram_merge(struct histogram *into, const struct histogram *from)
{
    for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++) into->counts[i] += from->counts[i];
    into->count += from->count;
    if (from->max_ns > into->max_ns) into->max_ns = from->max_ns;
}

uint64_t histogram_percentile(const struct histogram *histogram, unsigned per_mille)
{
    uint64_t rank = (histogram->count * per_mille + 999) / 1000, below = 0;
    for (unsigned i = 0; i < HISTOGRAM_BUCKETS && rank > 0; i++)
        if ((below += histogram->counts[i]) >= rank)
            return largest_in(i) < histogram->max_ns ? largest_in(i) : histogram->max_ns;
    return 0;
}
