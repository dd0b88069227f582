/* Where a process runs: a set of cores. */
#ifndef BENCH_PLACE_H
#define BENCH_PLACE_H

#include <stdbool.h>
#include <stdint.h>

enum { CPUS_MAX = 1024 };

struct cpus {
    uint64_t words[CPUS_MAX / 64];
};

struct place {
    struct cpus cpus;
    bool shared; /* with the other side: no wake-up shall preempt, so that the two work in long turns */
    bool first;  /* before all other processes (machine_may_go_first) */
};

static inline bool cpus_have(const struct cpus *cpus, unsigned cpu)
{
    return cpus->words[cpu / 64] >> cpu % 64 & 1;
}

static inline void cpus_add(struct cpus *cpus, unsigned cpu)
{
    cpus->words[cpu / 64] |= 1ull << cpu % 64;
}

bool cpus_overlap(const struct cpus *a, const struct cpus *b);

/* cpus_text: "0" or "0-1,4". */
void cpus_text(const struct cpus *cpus, char *out, unsigned size);

/* place_sides: the contender's side and the other one, on the cores that this process may use: the first `workers` for
 * the contender and the next one for the other side, or the last one if there is none left. */
void place_sides(const struct cpus *allowed, unsigned workers, bool together, struct place *contender,
                 struct place *other);

#endif
