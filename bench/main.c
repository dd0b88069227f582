/* weir-bench: weir and its peers, side by side. README.md beside this file says what is measured and how. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "address.h"
#include "contest.h"
#include "fail.h"
#include "json.h"
#include "machine.h"
#include "registry.h"
#include "report.h"
#include "sides.h"

static const option_set contest_options = OPTION(SECONDS) | OPTION(ROUNDS) | OPTION(WORKERS) | OPTION(CONTENDERS) |
                                          OPTION(JSON) | OPTION(TOGETHER) | OPTION(HELP);

enum {
    SPARE_DESCRIPTORS = 128, /* what a process has open besides what job_descriptors counts */
    SLICE_MS = 200,
    SHORTEST_SLICE_MS = 10,
    LONGEST_WARM_UP_MS = 40,
};

static void print_help(void)
{
    printf("usage: weir-bench WORKLOAD [options]       compare contenders\n"
           "       weir-bench serve --workload NAME    run the listening side alone, for a profiler\n"
           "       weir-bench load --workload NAME     run the driving side alone\n\nworkloads:\n");
    for (const struct workload *const *each = registry_workloads; *each; each++) {
        printf("  %-10s %s\n", (*each)->name, (*each)->what);
    }
    printf("\ncontenders:");
    for (const struct peer *const *each = registry_peers; *each; each++) printf(" %s", (*each)->name);
    printf("\n");
    for (const struct missing *each = registry_missing; each->name; each++) {
        printf("  without %s: %s\n", each->name, each->why);
    }
    printf("\noptions (weir-bench WORKLOAD --help lists those of one workload):\n");
    options_print(OPTION_ALL);
}

static const struct workload *known_workload(const char *name)
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
    if (!workload->has(peer)) fail_usage("%s has no part in %s", peer->name, workload->name);
    return peer;
}

static struct job job_of(const struct options *options, const struct workload *workload)
{
    struct job job = { .workers = options->workers, .size = options->size, .window = options->window };
    if (!(options->given & OPTION(WINDOW))) job.window = workload->default_window;
    if (job.window > workload->most_window) {
        fail_usage("--window %u: %s takes at most %u", job.window, workload->name, workload->most_window);
    }
    job.connections = workload->options & OPTION(CONNECTIONS) ? options->connections : job.window;
    unsigned limit = machine_raise_descriptors();
    if (job_descriptors(&job) + SPARE_DESCRIPTORS > limit) {
        fail_usage("%u connections need %u descriptors, and a process may have %u here", job.connections,
                   job_descriptors(&job) + SPARE_DESCRIPTORS, limit);
    }
    return job;
}

static void add_contender(struct contest *contest, const struct peer *peer)
{
    if (contest->count == CONTENDERS_MAX) fail_usage("--contenders: more than %d", CONTENDERS_MAX);
    unsigned same = 1;
    for (unsigned i = 0; i < contest->count; i++) same += contest->contenders[i].peer == peer;
    struct contender *contender = &contest->contenders[contest->count++];
    contender->peer = peer;
    snprintf(contender->name, sizeof contender->name, same > 1 ? "%s#%u" : "%s", peer->name, same);
}

static void add_contenders(struct contest *contest, const char *list)
{
    if (!list) {
        for (const struct peer *const *each = registry_peers; *each; each++) {
            if (contest->workload->has(*each)) add_contender(contest, *each);
        }
        return;
    }
    for (const char *name = list; name; name = strchr(name, ',') ? strchr(name, ',') + 1 : NULL) {
        add_contender(contest, known_peer(name, contest->workload));
    }
}

static void set_times(struct contest *contest, const struct options *options)
{
    contest->rounds = options->rounds;
    contest->slice_ns = SLICE_MS * (uint64_t)NS_PER_MS;
    if (options->given & OPTION(SECONDS)) {
        contest->slice_ns = (uint64_t)(options->seconds * NS_PER_S / (contest->rounds * contest->count));
    }
    if (contest->slice_ns < SHORTEST_SLICE_MS * (uint64_t)NS_PER_MS) {
        fail_usage("--seconds %g: %u rounds of %u contenders leave %.1f ms a slice, and %d ms is the least",
                   options->seconds, contest->rounds, contest->count, (double)contest->slice_ns / NS_PER_MS,
                   SHORTEST_SLICE_MS);
    }
    contest->warm_up_ns = contest->slice_ns / 5;
    if (contest->warm_up_ns > LONGEST_WARM_UP_MS * (uint64_t)NS_PER_MS) {
        contest->warm_up_ns = LONGEST_WARM_UP_MS * (uint64_t)NS_PER_MS;
    }
}

static int compare(const struct workload *workload, const struct options *options)
{
    static struct contest contest;
    contest.workload = workload;
    contest.together = options->given & OPTION(TOGETHER);
    contest.job = job_of(options, workload);
    add_contenders(&contest, options->contenders);
    set_times(&contest, options);
    if (contest.together && contest.job.workers > 1) fail_usage("--together is one core: --workers must be 1");

    /* Opened before the run: a name that cannot be written is told at once. */
    FILE *json = options->json ? fopen(options->json, "wb") : NULL;
    if (options->json && !json) fail_usage("--json %s: %s", options->json, strerror(errno));
    contest.awake = machine_stay_awake();
    struct cpus allowed = machine_cpus();
    place_sides(&allowed, contest.job.workers, contest.together, &contest.contender_place, &contest.other_place);

    report_header(&contest);
    contest_run(&contest);
    report_table(&contest);
    if (json) {
        json_write(json, &contest);
        bool written = !ferror(json);
        if (fclose(json) != 0 || !written) fail("%s could not be written", options->json);
    }
    return 0;
}

static const struct peer *peer_of(const struct options *options, const struct workload *workload, bool takes_part,
                                  const char *what)
{
    if (takes_part == !(options->given & OPTION(CONTENDER))) {
        fail_usage(takes_part ? "%s: --contender is missing" : "%s does not use --contender: this side is weir-bench's",
                   what);
    }
    return takes_part ? known_peer(options->contender, workload) : NULL;
}

static int serve(const struct options *options)
{
    if (!options->workload) fail_usage("serve: --workload is missing");
    const struct workload *workload = known_workload(options->workload);
    bool contender = !workload->contender_drives;
    options_refuse_others(options,
                          OPTION(WORKLOAD) | OPTION(CONTENDER) | OPTION(SECONDS) |
                              (contender ? OPTION(WORKERS) | (workload->options & OPTION(CONNECTIONS)) : 0),
                          "serve");
    struct side side = { workload, peer_of(options, workload, contender, "serve"), job_of(options, workload) };
    side_serve_alone(&side, options->given & OPTION(SECONDS) ? options->seconds : 0);
    return 0;
}

static int load(const struct options *options)
{
    if (!options->workload || !options->address) fail_usage("load: --workload and --address are needed");
    const struct workload *workload = known_workload(options->workload);
    bool contender = workload->contender_drives;
    options_refuse_others(options,
                          workload->options | OPTION(WORKLOAD) | OPTION(CONTENDER) | OPTION(ADDRESS) | OPTION(SECONDS) |
                              OPTION(COUNT) | (contender ? OPTION(WORKERS) : 0),
                          "load");
    struct side side = { workload, peer_of(options, workload, contender, "load"), job_of(options, workload) };
    struct address parsed;
    if (!address_parse(options->address, &parsed)) {
        fail_usage("--address %s: must be an address on loopback with a port", options->address);
    }
    snprintf(side.job.address, sizeof side.job.address, "%s", options->address);
    bool counted = options->given & OPTION(COUNT), timed = options->given & OPTION(SECONDS);
    double seconds = timed ? options->seconds : counted ? 3600 : 5;
    struct order order = { (uint64_t)(seconds * NS_PER_S), counted ? options->count : UINT64_MAX };
    side_drive_alone(&side, &order);
    return 0;
}

typedef int (*subcommand)(const struct options *options);

/* One of the two that run a side alone, or NULL. */
static subcommand find_alone(const char *name)
{
    if (strcmp(name, "serve") == 0) return serve;
    if (strcmp(name, "load") == 0) return load;
    return NULL;
}

int main(int argc, char **argv)
{
    process_run_child(argc - 1, argv + 1);
    const char *what = argc > 1 ? argv[1] : "--help";
    struct options options;
    options_parse(&options, argc > 2 ? argc - 2 : 0, argv + 2);
    subcommand alone = find_alone(what);
    if (strcmp(what, "--help") == 0 || (alone && options.given & OPTION(HELP))) {
        print_help();
        return argc > 1 ? 0 : 2;
    }
    if (alone) return alone(&options);

    const struct workload *workload = known_workload(what);
    option_set used = contest_options | workload->options;
    options_refuse_others(&options, used, workload->name);
    if (options.given & OPTION(HELP)) {
        printf("%s: %s\n\n", workload->name, workload->what);
        options_print(used);
        return 0;
    }
    return compare(workload, &options);
}
