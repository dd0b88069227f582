#include "setup.h"

#include <stdio.h>
#include <string.h>

#include "fail.h"
#include "machine.h"
#include "registry.h"

const option_set setup_contest_options =
    OPTION(SECONDS) | OPTION(ROUNDS) | OPTION(CONTENDERS) | OPTION(JSON) | OPTION(TOGETHER) | OPTION(HELP);

enum {
    SPARE_DESCRIPTORS = 96, /* what a process has open besides what job_descriptors counts */
    ROUNDS = 25,
    SLICE_MS = 200,
    SHORTEST_SLICE_MS = 10,
    LONGEST_WARM_UP_MS = 40,
    LONGEST_COUNTED_WARM_UP_MS = 2000,
};

const struct workload *setup_workload(const char *name)
{
    const struct workload *workload = registry_workload(name);
    if (!workload) fail_usage("%s is no workload; see weir-bench --help", name);
    return workload;
}

/* The part of a name list up to the next comma. */
static const struct peer *known_peer(const char *name, const struct workload *workload)
{
    unsigned length = (unsigned)strcspn(name, ",");
    const struct peer *peer = registry_peer(name, length);
    for (const struct missing *each = registry_missing; each->name; each++) {
        if (strlen(each->name) == length && memcmp(each->name, name, length) == 0) {
            fail_usage("%s is not in this build: %s", each->name, each->why);
        }
    }
    if (!peer) fail_usage("\"%.*s\" is no contender; see weir-bench --help", (int)length, name);
    if (!workload_has(workload, peer)) fail_usage("%s has no part in %s here", peer->name, workload->name);
    return peer;
}

static void take(const struct options *options, option_set option, unsigned given, unsigned *field)
{
    if (options->given & option) *field = given;
}

static struct job job_of(const struct options *options, const struct workload *workload)
{
    struct job job = workload->usual;
    if (job.workers == 0) job.workers = 1;
    take(options, OPTION(WORKERS), options->workers, &job.workers);
    take(options, OPTION(CONNECTIONS), options->connections, &job.connections);
    take(options, OPTION(SIZE), options->size, &job.size);
    take(options, OPTION(WINDOW), options->window, &job.window);
    take(options, OPTION(RATE), options->rate, &job.rate);
    take(options, OPTION(SLOW), options->slow, &job.slow);
    take(options, OPTION(TIMERS), options->timers, &job.timers);
    take(options, OPTION(PRODUCERS), options->producers, &job.producers);
    if (workload->most_window > 0 && job.window > workload->most_window) {
        fail_usage("--window %u: %s takes at most %u", job.window, workload->name, workload->most_window);
    }
    if (job.window < workload->least_window) {
        fail_usage("--window %u: %s takes at least %u", job.window, workload->name, workload->least_window);
    }
    if (job.size < workload->least_size) {
        fail_usage("--size %u: %s takes at least %u", job.size, workload->name, workload->least_size);
    }
    if (job.connections == 0) job.connections = job.window; /* each operation is a connection */
    unsigned limit = machine_raise_descriptors();
    if (!workload->alone && job_descriptors(&job) + SPARE_DESCRIPTORS > limit) {
        fail_usage("%u connections need %u descriptors, and a process may have %u here", job.connections,
                   job_descriptors(&job) + SPARE_DESCRIPTORS, limit);
    }
    return job;
}

static void add_contender(struct contest *contest, const struct peer *peer, enum placement placement)
{
    static const char *const placed[] = { "", " spread", " balanced" };
    if (contest->count == CONTENDERS_MAX) fail_usage("--contenders: more than %d", CONTENDERS_MAX);
    unsigned same = 1;
    for (unsigned i = 0; i < contest->count; i++) {
        same += contest->contenders[i].peer == peer && contest->contenders[i].placement == placement;
    }
    struct contender *contender = &contest->contenders[contest->count++];
    contender->peer = peer;
    contender->placement = placement;
    snprintf(contender->name, sizeof contender->name, same > 1 ? "%s%s#%u" : "%s%s", peer->name, placed[placement],
             same);
}

static void add_peer(struct contest *contest, const struct peer *peer)
{
    if (!contest->workload->places) {
        add_contender(contest, peer, PLACEMENT_DEFAULT);
        return;
    }
    if (machine_spreads) add_contender(contest, peer, PLACEMENT_SPREAD);
    if (peer->balances) add_contender(contest, peer, PLACEMENT_BALANCED);
}

static void add_contenders(struct contest *contest, const char *list)
{
    if (!list) {
        for (const struct peer *const *each = registry_peers; *each; each++) {
            if (workload_has(contest->workload, *each)) add_peer(contest, *each);
        }
        if (contest->count == 0) fail_usage("no contender has a part in %s here", contest->workload->name);
        return;
    }
    for (const char *name = list; name; name = strchr(name, ',') ? strchr(name, ',') + 1 : NULL) {
        add_peer(contest, known_peer(name, contest->workload));
    }
}

static void set_times(struct contest *contest, const struct options *options)
{
    const struct workload *workload = contest->workload;
    contest->rounds = options->given & OPTION(ROUNDS) ? options->rounds : workload->rounds ? workload->rounds : ROUNDS;
    contest->slice_ns = (workload->slice_ms ? workload->slice_ms : SLICE_MS) * (uint64_t)NS_PER_MS;
    if (options->given & OPTION(SECONDS)) {
        contest->slice_ns = (uint64_t)(options->seconds * NS_PER_S / (contest->rounds * contest->count));
    }
    if (contest->slice_ns < SHORTEST_SLICE_MS * (uint64_t)NS_PER_MS) {
        fail_usage("--seconds %g: %u rounds of %u contenders leave %.1f ms a slice, and %d ms is the least",
                   options->seconds, contest->rounds, contest->count, (double)contest->slice_ns / NS_PER_MS,
                   SHORTEST_SLICE_MS);
    }
    contest->warm_up = (struct order){ .duration_ns = contest->slice_ns / 5, .operations = UINT64_MAX };
    if (contest->warm_up.duration_ns > LONGEST_WARM_UP_MS * (uint64_t)NS_PER_MS) {
        contest->warm_up.duration_ns = LONGEST_WARM_UP_MS * (uint64_t)NS_PER_MS;
    }
    if (workload->warm_up_each) {
        contest->warm_up.duration_ns = LONGEST_COUNTED_WARM_UP_MS * (uint64_t)NS_PER_MS;
        contest->warm_up.operations = (uint64_t)workload->warm_up_each * contest->job.connections;
    }
}

void setup_print_usual(const struct workload *workload)
{
    const struct job *usual = &workload->usual;
    const struct {
        const char *name;
        option_set option;
        unsigned value;
    } known[] = {
        { "workers", OPTION(WORKERS), usual->workers ? usual->workers : 1 },
        { "connections", OPTION(CONNECTIONS), usual->connections },
        { "size", OPTION(SIZE), usual->size },
        { "window", OPTION(WINDOW), usual->window },
        { "rate", OPTION(RATE), usual->rate },
        { "slow", OPTION(SLOW), usual->slow },
        { "timers", OPTION(TIMERS), usual->timers },
        { "producers", OPTION(PRODUCERS), usual->producers },
    };
    printf("\nusual: --rounds %u", workload->rounds ? workload->rounds : ROUNDS);
    for (unsigned i = 0; i < sizeof known / sizeof known[0]; i++) {
        if (workload->options & known[i].option && known[i].value > 0)
            printf(" --%s %u", known[i].name, known[i].value);
    }
    printf("\n");
}

void setup_contest(struct contest *contest, const struct workload *workload, const struct options *options)
{
    contest->workload = workload;
    contest->together = options->given & OPTION(TOGETHER);
    contest->job = job_of(options, workload);
    add_contenders(contest, options->contenders);
    set_times(contest, options);
    unsigned cores = contest->job.workers + contest->job.producers;
    if (contest->together && cores > 1) fail_usage("--together is one core: --workers must be 1");
    if (contest->together && contest->job.rate > 0) fail_usage("--together: paced load needs a core of its own");
    contest->awake = machine_stay_awake();
    struct cpus allowed = machine_cpus();
    place_sides(&allowed, cores, contest->together, &contest->contender_place, &contest->other_place);
    contest->first = contest->workload->undisturbed && !contest->together && machine_may_go_first();
    contest->contender_place.first = contest->other_place.first = contest->first;
}

/* The contender of a side that runs alone; NULL, and no option, where that side is not the contender's. */
static const struct peer *peer_of(const struct options *options, const struct workload *workload, bool wanted,
                                  const char *what)
{
    if (wanted && !options->contender) fail_usage("%s: --contender is missing", what);
    if (!wanted && options->contender) {
        fail_usage("%s does not use --contender: this side is weir-bench's", what);
    }
    return wanted ? known_peer(options->contender, workload) : NULL;
}

/* What a listening side alone has use for. */
static option_set served_options(const struct workload *workload, bool contender)
{
    option_set used = OPTION(CONNECTIONS) | OPTION(SLOW);
    if (contender) used |= OPTION(WORKERS);
    if (workload->least_size > 0) used |= OPTION(SIZE); /* the packets are the server's */
    return contender ? used & workload->options : 0;
}

struct side setup_side(const char *what, const struct options *options, const struct workload *workload)
{
    bool drives = strcmp(what, "load") == 0;
    bool contender = workload->contender_drives == drives;
    if (workload->measure || (workload->alone && !drives)) {
        fail_usage("%s: %s does not run so, only as a comparison", what, workload->name);
    }
    option_set used = OPTION(WORKLOAD) | OPTION(CONTENDER) | OPTION(SECONDS);
    if (drives) {
        used |= OPTION(COUNT) | (workload->options & (contender ? OPTION_ALL : ~OPTION(WORKERS)));
        if (!workload->alone) used |= OPTION(ADDRESS);
    } else {
        used |= served_options(workload, contender);
    }
    options_refuse_others(options, used, what);
    return (struct side){ workload, peer_of(options, workload, contender, what), job_of(options, workload) };
}
