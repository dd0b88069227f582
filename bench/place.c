#include "place.h"

#include <stdio.h>

bool cpus_overlap(const struct cpus *a, const struct cpus *b)
{
    for (unsigned i = 0; i < CPUS_MAX / 64; i++) {
        if (a->words[i] & b->words[i]) return true;
    }
    return false;
}

void cpus_text(const struct cpus *cpus, char *out, unsigned size)
{
    unsigned used = 0;
    out[0] = '\0';
    for (unsigned first = 0; first < CPUS_MAX && used < size; first++) {
        if (!cpus_have(cpus, first)) continue;
        unsigned last = first;
        while (last + 1 < CPUS_MAX && cpus_have(cpus, last + 1)) last++;
        const char *comma = used > 0 ? "," : "";
        used += (unsigned)(last > first ? snprintf(out + used, size - used, "%s%u-%u", comma, first, last)
                                        : snprintf(out + used, size - used, "%s%u", comma, first));
        first = last;
    }
}

/* The n-th of the allowed cores, or the last one. */
static unsigned allowed_cpu(const struct cpus *allowed, unsigned n)
{
    unsigned found = 0;
    for (unsigned cpu = 0; cpu < CPUS_MAX; cpu++) {
        if (!cpus_have(allowed, cpu)) continue;
        found = cpu;
        if (n-- == 0) break;
    }
    return found;
}

void place_sides(const struct cpus *allowed, unsigned workers, bool together, struct place *contender,
                 struct place *other)
{
    *contender = *other = (struct place){ .shared = together };
    if (together) workers = 1;
    for (unsigned i = 0; i < workers; i++) cpus_add(&contender->cpus, allowed_cpu(allowed, i));
    cpus_add(&other->cpus, allowed_cpu(allowed, together ? 0 : workers));
}
