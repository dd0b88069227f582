#include "summary.h"

#include <stdlib.h>

#include "fail.h"

static int compare(const void *a, const void *b)
{
    double left = *(const double *)a, right = *(const double *)b;
    return (left > right) - (left < right);
}

/* Between two values where the place is not whole, so that the median of an even number is the usual one. */
static double value_at(const double *sorted, unsigned count, double share)
{
    double place = share * (count - 1);
    unsigned below = (unsigned)place;
    unsigned above = below + 1 < count ? below + 1 : below;
    return sorted[below] + (place - below) * (sorted[above] - sorted[below]);
}

typedef double (*sample_value)(const struct sample *sample, const struct sample *first);

static double rate(const struct sample *sample, const struct sample *first)
{
    (void)first;
    return (double)sample->operations * NS_PER_S / (double)sample->elapsed_ns;
}

static double cpu_us(const struct sample *sample, const struct sample *first)
{
    (void)first;
    return (double)sample->contender.cpu_ns / NS_PER_US / (double)sample->operations;
}

/* There is none (below 0) where a coarse clock saw nothing of the first one. */
static double ratio(const struct sample *sample, const struct sample *first)
{
    return first->contender.cpu_ns > 0 ? cpu_us(sample, NULL) / cpu_us(first, NULL) : -1;
}

static struct spread spread_of(const struct contest *contest, unsigned which, sample_value value)
{
    struct spread spread = { 0 };
    double *values = calloc(contest->rounds_done, sizeof *values);
    if (!values) fail("out of memory");
    for (unsigned i = 0; i < contest->rounds_done; i++) {
        double found = value(&contest->contenders[which].samples[i], &contest->contenders[0].samples[i]);
        if (found >= 0) values[spread.values++] = found;
    }
    qsort(values, spread.values, sizeof *values, compare);
    if (spread.values > 0) {
        spread.low = value_at(values, spread.values, 0.25);
        spread.median = value_at(values, spread.values, 0.5);
        spread.high = value_at(values, spread.values, 0.75);
    }
    free(values);
    return spread;
}

struct summary summary_of(const struct contest *contest, unsigned which)
{
    struct summary summary = { .rate = spread_of(contest, which, rate),
                               .cpu_us = spread_of(contest, which, cpu_us),
                               .ratio = spread_of(contest, which, ratio) };
    uint64_t user_ns = 0, system_ns = 0;
    for (unsigned i = 0; i < contest->rounds_done; i++) {
        const struct sample *sample = &contest->contenders[which].samples[i];
        user_ns += sample->contender.user_ns;
        system_ns += sample->contender.system_ns;
        double could_run_ns = (double)sample->elapsed_ns - (double)sample->other.waited_ns;
        if ((double)sample->other.cpu_ns > 0.95 * could_run_ns) summary.saturated++;
    }
    double both_ns = (double)(user_ns + system_ns);
    if (both_ns > 0) {
        summary.user_us = summary.cpu_us.median * (double)user_ns / both_ns;
        summary.system_us = summary.cpu_us.median * (double)system_ns / both_ns;
    }
    return summary;
}

double summary_disturbed(const struct contest *contest)
{
    double elapsed_ns = 0, waited_ns = 0;
    for (unsigned which = 0; which < contest->count; which++) {
        for (unsigned i = 0; i < contest->rounds_done; i++) {
            const struct sample *sample = &contest->contenders[which].samples[i];
            elapsed_ns += (double)sample->elapsed_ns;
            waited_ns += (double)sample->other.waited_ns;
        }
    }
    return elapsed_ns > 0 ? waited_ns / elapsed_ns : 0;
}
