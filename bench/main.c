/* weir-bench: weir and its peers, side by side. README.md beside this file says what is measured and how. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "address.h"
#include "contest.h"
#include "fail.h"
#include "json.h"
#include "registry.h"
#include "report.h"
#include "setup.h"

static void print_help(void)
{
    printf("usage: weir-bench WORKLOAD [options]       compare contenders\n"
           "       weir-bench serve --workload NAME    run the listening side alone, for a profiler\n"
           "       weir-bench load --workload NAME     run the driving side alone\n\nworkloads:\n");
    for (const struct workload *const *each = registry_workloads; *each; each++) {
        printf("  %-12s %s\n", (*each)->name, (*each)->what);
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

static int compare(const struct workload *workload, const struct options *options)
{
    static struct contest contest;
    setup_contest(&contest, workload, options);

    /* Opened before the run: a name that cannot be written is told at once. */
    FILE *json = options->json ? fopen(options->json, "wb") : NULL;
    if (options->json && !json) fail_usage("--json %s: %s", options->json, strerror(errno));

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

static int serve(const struct options *options)
{
    if (!options->workload) fail_usage("serve: --workload is missing");
    struct side side = setup_side("serve", options, setup_workload(options->workload));
    side_serve_alone(&side, options->given & OPTION(SECONDS) ? options->seconds : 0);
    return 0;
}

static int load(const struct options *options)
{
    if (!options->workload) fail_usage("load: --workload is missing");
    const struct workload *workload = setup_workload(options->workload);
    struct side side = setup_side("load", options, workload);
    struct address parsed;
    if (!workload->alone && !options->address) fail_usage("load: --address is missing");
    if (!workload->alone && !address_parse(options->address, &parsed)) {
        fail_usage("--address %s: must be an address on loopback with a port", options->address);
    }
    if (options->address) snprintf(side.job.address, sizeof side.job.address, "%s", options->address);
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

    const struct workload *workload = setup_workload(what);
    option_set used = setup_contest_options | workload->options;
    options_refuse_others(&options, used, workload->name);
    if (options.given & OPTION(HELP)) {
        printf("%s: %s\n\n", workload->name, workload->what);
        options_print(used);
        setup_print_usual(workload);
        return 0;
    }
    return compare(workload, &options);
}
