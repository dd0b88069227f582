#include "report.h"

#include <stdio.h>

#include "machine.h"
#include "registry.h"
#include "summary.h"
#include "text.h"

#if defined(__clang__)
#define COMPILER "clang " __VERSION__
#elif defined(__GNUC__)
#define COMPILER "gcc " __VERSION__
#else
#define COMPILER "a compiler that is neither gcc nor clang"
#endif

const char *report_compiler(void)
{
    return COMPILER;
}

static void print_versions(const struct contest *contest)
{
    printf("versions  ");
    for (unsigned i = 0; i < contest->count; i++) {
        const struct peer *peer = contest->contenders[i].peer;
        bool named = false;
        for (unsigned j = 0; j < i; j++) named = named || contest->contenders[j].peer == peer;
        if (!named) printf("%s %s, ", peer->name, peer->version());
    }
    printf("%s\n", report_compiler());
    for (const struct missing *each = registry_missing; each->name; each++) {
        printf("without   %s: %s\n", each->name, each->why);
    }
}

static void print_places(const struct contest *contest)
{
    char contender[64], other[64];
    cpus_text(&contest->contender_place.cpus, contender, sizeof contender);
    cpus_text(&contest->other_place.cpus, other, sizeof other);
    const char *side = contest->workload->contender_drives ? "sink" : "load generator";
    printf("cores     %s: contender on cpu %s, %s on cpu %s%s%s; %s\n", contest->together ? "together" : "apart",
           contender, side, other, contest->together ? ", " : "", contest->together ? machine_sharing_text : "",
           machine_awake_text(contest->awake));
    printf("clock     CPU time by %s\n", usage_clock_text());
}

void report_header(const struct contest *contest)
{
    struct machine machine = machine_describe();
    const struct workload *workload = contest->workload;
    printf("%s: %s\n", workload->name, workload->what);
    printf("machine   %s, %ld core%s, %s\n", machine.cpu, machine.cores, machine.cores == 1 ? "" : "s", machine.kernel);
    print_versions(contest);
    print_places(contest);
    printf("method    %u rounds of a slice of %.2f s for each contender in turn; window %u", contest->rounds,
           (double)contest->slice_ns / NS_PER_S, contest->job.window);
    if (workload->options & OPTION(CONNECTIONS)) printf(", %u connections", contest->job.connections);
    if (workload->options & OPTION(SIZE)) printf(", %u bytes", contest->job.size);
    printf("\n\n");
    fflush(stdout);
}

static void print_row(const struct contest *contest, unsigned which, const struct summary *summary)
{
    const struct contender *contender = &contest->contenders[which];
    char ratio[32] = "-";
    if (which == 0) {
        snprintf(ratio, sizeof ratio, "1.00");
    } else if (summary->ratio.values > 0) {
        snprintf(ratio, sizeof ratio, "%.2f (%.2f-%.2f)", summary->ratio.median, summary->ratio.low,
                 summary->ratio.high);
    }
    printf("%-12s %10s %9.2f %8.2f %8.2f   %-18s", contender->name, text_grouped(summary->rate.median).text,
           summary->cpu_us.median, summary->user_us, summary->system_us, ratio);
    const struct histogram *latency = &contender->latency;
    printf(" %9s %9s %9s %9s\n", text_duration(histogram_quantile(latency, 0.50)).text,
           text_duration(histogram_quantile(latency, 0.99)).text,
           text_duration(histogram_quantile(latency, 0.999)).text, text_duration(latency->worst_ns).text);
}

/* What a reader must know to read the table right. */
static void print_notes(const struct contest *contest, const struct summary *summaries)
{
    for (unsigned i = 0; i < contest->count; i++) {
        const struct contender *contender = &contest->contenders[i];
        if (contest->job.workers > 1) {
            printf("%s: %u thread%s\n", contender->name, contender->peer->takes_workers ? contest->job.workers : 1,
                   contender->peer->takes_workers ? "s" : ", and --workers does not apply");
        }
    }
    if (cpus_overlap(&contest->contender_place.cpus, &contest->other_place.cpus)) {
        printf("The two sides share a core: rates and latencies say little, CPU time per operation counts.\n");
        return;
    }
    const char *other = contest->workload->contender_drives ? "sink" : "load";
    printf("Slices, of %u, in which the %s was saturated (over 95 %% of the time that it could have its core):",
           contest->rounds_done, other);
    for (unsigned i = 0; i < contest->count; i++) {
        printf("%s %s %u", i ? "," : "", contest->contenders[i].name, summaries[i].saturated);
    }
    printf(".\n");
    double disturbed = summary_disturbed(contest);
    if (disturbed > 0.05)
        printf("Other processes kept the %s from its core for %.0f %% of the time.\n", other, disturbed * 100);
}

void report_table(const struct contest *contest)
{
    struct summary summaries[CONTENDERS_MAX];
    char to[64];
    snprintf(to, sizeof to, "to %s", contest->contenders[0].name);
    printf("%-12s %10s %9s %8s %8s   %-18s %9s %9s %9s %9s\n", "contender", "rate/s", "CPU us/op", "user", "system", to,
           "p50", "p99", "p99.9", "worst");
    for (unsigned i = 0; i < contest->count; i++) {
        summaries[i] = summary_of(contest, i);
        print_row(contest, i, &summaries[i]);
    }
    print_notes(contest, summaries);
    printf("\n");
}
