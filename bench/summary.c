#include "summary.h"

#include <stdlib.h>

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
    return sample->elapsed_ns > 0 ? (double)sample->operations * NS_PER_S / (double)sample->elapsed_ns : -1;
}

static double cpu_us(const struct sample *sample, const struct sample *first)
{
    (void)first;
    return sample->operations > 0 ? (double)sample->contender.cpu_ns / NS_PER_US / (double)sample->operations : -1;
}

/* There is none (below 0) where a coarse clock saw nothing of the first one. */
static double ratio(const struct sample *sample, const struct sample *first)
{
    return first->contender.cpu_ns > 0 && first->operations > 0 ? cpu_us(sample, NULL) / cpu_us(first, NULL) : -1;
}

/* Sorts the values, of which those below 0 and NAN mean nothing. */
static struct spread spread_of_values(double *values, unsigned count)
{
    struct spread spread = { 0 };
    for (unsigned i = 0; i < count; i++) {
        if (values[i] >= 0) values[spread.values++] = values[i];
    }
    qsort(values, spread.values, sizeof *values, compare);
    if (spread.values > 0) {
        spread.low = value_at(values, spread.values, 0.25);
        spread.median = value_at(values, spread.values, 0.5);
        spread.high = value_at(values, spread.values, 0.75);
        spread.least = values[0];
        spread.most = values[spread.values - 1];
    }
    return spread;
}

static struct spread spread_of(const struct contest *contest, unsigned which, sample_value value)
{
    double values[ROUNDS_MAX];
    for (unsigned i = 0; i < contest->rounds_done; i++) {
        values[i] = value(&contest->contenders[which].samples[i], &contest->contenders[0].samples[i]);
    }
    return spread_of_values(values, contest->rounds_done);
}

static struct spread spread_of_figure(const struct contest *contest, unsigned which, unsigned figure)
{
    double values[ROUNDS_MAX];
    for (unsigned i = 0; i < contest->rounds_done; i++) {
        values[i] = contest->contenders[which].samples[i].figures[figure];
    }
    return spread_of_values(values, contest->rounds_done);
}

struct summary summary_of(const struct contest *contest, unsigned which)
{
    struct summary summary = { .rate = spread_of(contest, which, rate),
                               .cpu_us = spread_of(contest, which, cpu_us),
                               .ratio = spread_of(contest, which, ratio) };
    uint64_t user_ns = 0, system_ns = 0, operations = 0, late = 0;
    for (unsigned i = 0; i < contest->rounds_done; i++) {
        const struct sample *sample = &contest->contenders[which].samples[i];
        user_ns += sample->contender.user_ns;
        system_ns += sample->contender.system_ns;
        operations += sample->operations;
        late += sample->late;
        double could_run_ns = (double)sample->elapsed_ns - (double)sample->other.waited_ns;
        if ((double)sample->other.cpu_ns > 0.95 * could_run_ns) summary.saturated++;
    }
    double both_ns = (double)(user_ns + system_ns);
    if (both_ns > 0) {
        summary.user_us = summary.cpu_us.median * (double)user_ns / both_ns;
        summary.system_us = summary.cpu_us.median * (double)system_ns / both_ns;
    }
    if (operations > 0) summary.late = (double)late / (double)operations;
    const struct figure *figures = contest->workload->figures;
    for (unsigned i = 0; figures && figures[i].name; i++) summary.figures[i] = spread_of_figure(contest, which, i);
    return summary;
}

unsigned summary_workers(const struct contest *contest, const struct contender *contender)
{
    const struct peer *peer = contender->peer;
    bool takes = contest->workload->contender_drives ? peer->connects_so : peer->takes_workers;
    return takes ? contest->job.workers : 1;
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
