/* Times in buckets that are a 32nd of a power of two wide: exact enough for percentiles, however many there are. */
#ifndef ARENA_HISTOGRAM_H
#define ARENA_HISTOGRAM_H

#include <stdint.h>

enum { HISTOGRAM_PARTS = 32, HISTOGRAM_BUCKETS = 60 * HISTOGRAM_PARTS }; /* of a power of two; in all */

struct histogram {
    uint64_t counts[HISTOGRAM_BUCKETS];
    uint64_t count, max_ns;
};

/* histogram_add: counts one. */
void histogram_add(struct histogram *histogram, uint64_t ns);

/* histogram_merge: adds all of the other. */
void histogram_merge(struct histogram *into, const struct histogram *from);

/* histogram_percentile: what so many in a thousand do not exceed; 1000: the largest. At most 1/32 too much. 0 if there
 * are none. */
uint64_t histogram_percentile(const struct histogram *histogram, unsigned per_mille);

#endif
