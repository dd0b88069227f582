#include "histogram.h"

enum { FINE = 1 << HISTOGRAM_FINE_BITS };

/* The number of the highest bit that is set in `value`, which is not 0. */
static unsigned highest_bit(uint64_t value)
{
#ifdef __GNUC__
    return 63u - (unsigned)__builtin_clzll(value);
#else
    unsigned number = 0;
    while (value >>= 1) number++;
    return number;
#endif
}

/* The first 32 buckets are one wide. From there each octave [2^k, 2^(k+1)) has 32, picked by the five bits that follow
 * the leading one. */
static unsigned bucket_of(uint64_t value)
{
    if (value < FINE) return (unsigned)value;
    unsigned top = highest_bit(value);
    if (top > HISTOGRAM_TOP_BIT) return HISTOGRAM_BUCKETS - 1;
    unsigned shift = top - HISTOGRAM_FINE_BITS;
    return (shift + 1) * FINE + (unsigned)(value >> shift) - FINE;
}

static uint64_t middle_of(unsigned bucket)
{
    if (bucket < FINE) return bucket;
    unsigned shift = bucket / FINE - 1;
    uint64_t lowest = (uint64_t)(FINE + bucket % FINE) << shift;
    return lowest + ((1ull << shift) >> 1);
}

void histogram_add(struct histogram *histogram, uint64_t value_ns)
{
    histogram->counts[bucket_of(value_ns)]++;
    histogram->total++;
    if (value_ns > histogram->worst_ns) histogram->worst_ns = value_ns;
}

void histogram_merge(struct histogram *into, const struct histogram *from)
{
    for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++) into->counts[i] += from->counts[i];
    into->total += from->total;
    if (from->worst_ns > into->worst_ns) into->worst_ns = from->worst_ns;
}

uint64_t histogram_quantile(const struct histogram *histogram, double share)
{
    double wanted = share * (double)histogram->total;
    uint64_t seen = 0;
    for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++) {
        seen += histogram->counts[i];
        if (seen > 0 && (double)seen >= wanted) {
            uint64_t value = middle_of(i);
            return value < histogram->worst_ns ? value : histogram->worst_ns;
        }
    }
    return histogram->worst_ns;
}
