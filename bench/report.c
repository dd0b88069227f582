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
    printf("cores     %s: contender on cpu %s", contest->together ? "together" : "apart", contender);
    if (!contest->workload->alone) {
        printf(", %s on cpu %s", contest->workload->contender_drives ? "sink" : "load generator", other);
    }
    printf("%s%s; %s\n", contest->together ? ", " : "", contest->together ? machine_sharing_text : "",
           machine_awake_text(contest->awake));
    if (contest->workload->undisturbed) printf("          %s\n", machine_first_text(contest->first));
    printf("clock     CPU time by %s\n", usage_clock_text());
}

static void print_method(const struct contest *contest)
{
    const struct workload *workload = contest->workload;
    const struct job *job = &contest->job;
    printf("method    %u rounds of ", contest->rounds);
    if (workload->fresh) {
        printf("new processes for each contender in turn");
        if (workload->slice_ms > 0) printf(", for %.1f s", (double)contest->slice_ns / NS_PER_S);
    } else {
        printf("a slice of %.2f s for each contender in turn", (double)contest->slice_ns / NS_PER_S);
    }
    if (job->window > 0) printf("; window %u", job->window);
    if (workload->options & OPTION(CONNECTIONS)) printf(", %u connections", job->connections);
    if (workload->options & OPTION(SIZE)) printf(", %u bytes", job->size);
    if (job->slow > 0) printf(", %u slow clients", job->slow);
    if (job->timers > 0) printf("; %s timers", text_grouped(job->timers).text);
    if (job->producers > 0) printf(", %u producer%s", job->producers, job->producers == 1 ? "" : "s");
    if (job->rate > 0) printf("; paced, at %s a second", text_grouped(job->rate).text);
    printf("\n\n");
}

void report_header(const struct contest *contest)
{
    struct machine machine = machine_describe();
    const struct workload *workload = contest->workload;
    printf("%s: %s\n", workload->name, workload->what);
    printf("machine   %s, %ld core%s, %s\n", machine.cpu, machine.cores, machine.cores == 1 ? "" : "s", machine.kernel);
    print_versions(contest);
    print_places(contest);
    print_method(contest);
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
    int digits = summary->cpu_us.median < 1 ? 3 : 2;
    printf("%-14s %10s %9.*f %8.*f %8.*f   %-18s", contender->name, text_grouped(summary->rate.median).text, digits,
           summary->cpu_us.median, digits, summary->user_us, digits, summary->system_us, ratio);
    const struct histogram *latency = &contender->latency;
    if (latency->total > 0) {
        printf(" %9s %9s %9s %9s", text_duration(histogram_quantile(latency, 0.50)).text,
               text_duration(histogram_quantile(latency, 0.99)).text,
               text_duration(histogram_quantile(latency, 0.999)).text, text_duration(latency->worst_ns).text);
    }
    printf("\n");
}

static void print_operations(const struct contest *contest, const struct summary *summaries)
{
    char to[64];
    snprintf(to, sizeof to, "to %s", contest->contenders[0].name);
    printf("%-14s %10s %9s %8s %8s   %-18s", "contender", "rate/s", "CPU us/op", "user", "system", to);
    bool latencies = contest->contenders[0].latency.total > 0;
    if (latencies) printf(" %9s %9s %9s %9s", "p50", "p99", "p99.9", "worst");
    printf("\n");
    for (unsigned i = 0; i < contest->count; i++) print_row(contest, i, &summaries[i]);
}

static int figure_width(const struct figure *figure)
{
    return figure->range ? 22 : 14;
}

static void print_figure(const struct figure *figure, const struct spread *spread)
{
    char text[64] = "-";
    int digits = (int)figure->digits;
    if (spread->values > 0 && figure->range) {
        snprintf(text, sizeof text, "%.*f (%.*f-%.*f)", digits, spread->median, digits, spread->least, digits,
                 spread->most);
    } else if (spread->values > 0) {
        snprintf(text, sizeof text, "%.*f", digits, spread->median);
    }
    printf(" %*s", figure_width(figure), text);
}

/* The medians of what the workload alone has. */
static void print_figures(const struct contest *contest, const struct summary *summaries)
{
    const struct figure *figures = contest->workload->figures;
    printf("%-14s", "contender");
    for (unsigned i = 0; figures[i].name; i++) printf(" %*s", figure_width(&figures[i]), figures[i].title);
    printf("\n");
    for (unsigned which = 0; which < contest->count; which++) {
        printf("%-14s", contest->contenders[which].name);
        for (unsigned i = 0; figures[i].name; i++) print_figure(&figures[i], &summaries[which].figures[i]);
        printf("\n");
    }
}

/* How far the side that is not the contender's was the limit. */
static void print_limits(const struct contest *contest, const struct summary *summaries)
{
    const char *other = contest->workload->contender_drives ? "sink" : "load";
    unsigned limited = 0;
    if (contest->job.rate > 0) {
        printf("Messages that the %s began over 1 ms late by its own fault, in percent:", other);
    } else {
        printf("Slices, of %u, in which the %s was saturated (over 95 %% of the time that it could have its core):",
               contest->rounds_done, other);
    }
    for (unsigned i = 0; i < contest->count; i++) {
        const struct summary *summary = &summaries[i];
        printf("%s %s ", i ? "," : "", contest->contenders[i].name);
        if (contest->job.rate > 0) {
            printf("%.1f", summary->late * 100);
            limited += summary->late > 0.01;
        } else {
            printf("%u", summary->saturated);
            limited += summary->saturated * 2 > contest->rounds_done;
        }
    }
    printf(".\n");
    if (limited > 0) {
        printf("So the %s was the limit for %u of %u: there, rates and latencies are its own, too.\n", other, limited,
               contest->count);
    }
    double disturbed = summary_disturbed(contest);
    if (disturbed > 0.05)
        printf("Other processes kept the %s from its core for %.0f %% of the time.\n", other, disturbed * 100);
}

/* What a reader must know to read the table right. */
static void print_notes(const struct contest *contest, const struct summary *summaries)
{
    if (contest->workload->note) printf("%s\n", contest->workload->note);
    for (unsigned i = 0; i < contest->count; i++) {
        const struct contender *contender = &contest->contenders[i];
        if (contest->job.workers == 1) break;
        unsigned workers = summary_workers(contest, contender);
        printf("%s: %u thread%s\n", contender->name, workers, workers > 1 ? "s" : ", and --workers does not apply");
    }
    if (contest->workload->alone || contest->workload->only_figures) return;
    if (cpus_overlap(&contest->contender_place.cpus, &contest->other_place.cpus)) {
        printf("The two sides share a core: rates and latencies say little, CPU time per operation counts.\n");
        return;
    }
    print_limits(contest, summaries);
}

void report_table(const struct contest *contest)
{
    struct summary summaries[CONTENDERS_MAX] = { 0 };
    for (unsigned i = 0; i < contest->count; i++) summaries[i] = summary_of(contest, i);
    if (!contest->workload->only_figures) print_operations(contest, summaries);
    if (!contest->workload->only_figures && contest->workload->figures) printf("\n");
    if (contest->workload->figures) print_figures(contest, summaries);
    print_notes(contest, summaries);
    printf("\n");
}
