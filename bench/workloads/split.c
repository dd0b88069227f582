/* split: how evenly connections are spread over the workers, when all have come, and again after many have gone and
 * come: four times a random half of them. */
#include <stdlib.h>

#include "contest.h"
#include "net.h"

enum { CHURNS = 4 };

enum { FIRST_LEAST, FIRST_MOST, CHURNED_LEAST, CHURNED_MOST, FIGURES };

static const struct figure figures[] = {
    [FIRST_LEAST] = { "first_least", "min/mean", 2, false },
    [FIRST_MOST] = { "first_most", "max/mean", 2, false },
    [CHURNED_LEAST] = { "churned_least", "churned min", 2, false },
    [CHURNED_MOST] = { "churned_most", "churned max", 2, false },
    [FIGURES] = { 0 },
};

struct load {
    struct address server;
    struct net *net;
    unsigned connections;
    bool opened;
};

static void *load_open(const struct job *job)
{
    struct load *load = calloc(1, sizeof *load);
    if (!load) fail("out of memory");
    load->server = address_of(job->address);
    load->net = net_create(job->connections);
    load->connections = job->connections;
    return load;
}

/* The first burst opens all. Each other one closes about half of them, and then opens as many. */
static void load_burst(void *state, const struct limit *limit, struct tally *tally)
{
    struct load *load = state;
    (void)limit;
    bool *missing = calloc(load->connections, sizeof *missing);
    if (!missing) fail("out of memory");
    for (unsigned i = 0; i < load->connections; i++) {
        missing[i] = !load->opened || rand() % 2 == 0; // NOLINT: any will do
        if (missing[i] && load->opened) net_reset(load->net, i);
    }
    for (unsigned i = 0; i < load->connections; i++) {
        if (!missing[i]) continue;
        net_open(load->net, i, &load->server);
        tally->started++;
    }
    tally->finished = tally->started;
    load->opened = true;
    free(missing);
}

/* Waits until the server has exactly as many connections as there are. */
static const struct server_state *settled(const struct contest *contest, const struct contender *contender)
{
    const uint64_t until_ns = clock_ns() + SILENCE_MS * (uint64_t)NS_PER_MS;
    for (;;) {
        const struct server_state *state = contest_state(contender);
        uint64_t sum = 0;
        for (unsigned i = 0; i < contest->job.workers; i++) sum += state->shares[i];
        if (sum == contest->job.connections) return state;
        if (clock_ns() > until_ns) {
            fail("%s says that it has %llu connections, and there are %u", contender->name, (unsigned long long)sum,
                 contest->job.connections);
        }
    }
}

/* The worker that has the fewest, and the one that has the most, to their mean. */
static void take(const struct contest *contest, const struct contender *contender, double *least, double *most)
{
    const struct server_state *state = settled(contest, contender);
    double mean = (double)contest->job.connections / contest->job.workers;
    *least = *most = (double)state->shares[0] / mean;
    for (unsigned i = 1; i < contest->job.workers; i++) {
        double share = (double)state->shares[i] / mean;
        if (share < *least) *least = share;
        if (share > *most) *most = share;
    }
}

static void measure(const struct contest *contest, struct contender *contender, struct sample *out)
{
    struct usage before = contest_usage(contender);
    double found[FIGURES];
    contest_burst(contender, 0);
    take(contest, contender, &found[FIRST_LEAST], &found[FIRST_MOST]);
    const struct outcome *outcome = NULL;
    for (unsigned i = 0; i < CHURNS; i++) outcome = contest_burst(contender, 0);
    take(contest, contender, &found[CHURNED_LEAST], &found[CHURNED_MOST]);
    struct usage after = contest_usage(contender);
    struct usage spent = usage_between(&before, &after);
    contest_sample(contest, out, outcome, &spent);
    for (unsigned i = 0; i < FIGURES; i++) out->figures[i] = found[i];
}

const struct workload workload_split = {
    .name = "split",
    .what = "how evenly connections are spread over the contender's workers",
    .operation = "connection",
    .fresh = true,
    .places = true,
    .only_figures = true,
    .options = OPTION(CONNECTIONS) | OPTION(WORKERS),
    .usual = { .connections = 1000, .workers = 4 },
    .rounds = 5,
    .figures = figures,
    .note =
        "Connections of the worker that has the fewest and of the one that has the most, to their mean; churned: after "
        "half of all\nwent and came, four times.",
    .server = SERVER_ECHO,
    .load = { load_open, load_burst },
    .measure = measure,
};
