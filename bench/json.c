#include "json.h"

#include <inttypes.h>

#include "machine.h"
#include "report.h"
#include "summary.h"

static void write_string(FILE *file, const char *name, const char *text)
{
    fprintf(file, "\"%s\": \"", name);
    for (; *text; text++) {
        unsigned char c = (unsigned char)*text;
        if (c < 0x20) continue;
        if (c == '"' || c == '\\') fputc('\\', file);
        fputc(c, file);
    }
    fputc('"', file);
}

static void write_spread(FILE *file, const char *name, const struct spread *spread)
{
    if (spread->values == 0) {
        fprintf(file, "\"%s\": null", name);
        return;
    }
    fprintf(file, "\"%s\": {\"least\": %.4f, \"q1\": %.4f, \"median\": %.4f, \"q3\": %.4f, \"most\": %.4f}", name,
            spread->least, spread->low, spread->median, spread->high, spread->most);
}

static void write_usage(FILE *file, const char *name, const struct usage *usage)
{
    fprintf(file,
            "\"%s\": {\"cpu_ns\": %" PRIu64 ", \"user_ns\": %" PRIu64 ", \"system_ns\": %" PRIu64
            ", \"waited_ns\": %" PRIu64 "}",
            name, usage->cpu_ns, usage->user_ns, usage->system_ns, usage->waited_ns);
}

static void write_latency(FILE *file, uint64_t p50, uint64_t p99, uint64_t p999, uint64_t worst)
{
    fprintf(file,
            "\"latency_ns\": {\"p50\": %" PRIu64 ", \"p99\": %" PRIu64 ", \"p999\": %" PRIu64 ", \"worst\": %" PRIu64
            "}",
            p50, p99, p999, worst);
}

static void write_number(FILE *file, const char *name, double value)
{
    if (value >= 0) {
        fprintf(file, "\"%s\": %.4f", name, value);
    } else {
        fprintf(file, "\"%s\": null", name); /* NAN too */
    }
}

static void write_sample(FILE *file, const struct contest *contest, const struct sample *sample)
{
    fprintf(file, "{\"operations\": %" PRIu64 ", \"elapsed_ns\": %" PRIu64 ", ", sample->operations,
            sample->elapsed_ns);
    write_usage(file, "contender", &sample->contender);
    fputs(", ", file);
    write_usage(file, "other", &sample->other);
    fputs(", ", file);
    write_latency(file, sample->p50_ns, sample->p99_ns, sample->p999_ns, sample->worst_ns);
    const struct figure *figures = contest->workload->figures;
    for (unsigned i = 0; figures && figures[i].name; i++) {
        fputs(", ", file);
        write_number(file, figures[i].name, sample->figures[i]);
    }
    fputc('}', file);
}

/* For a curve. */
static void write_percentiles(FILE *file, const struct histogram *latency)
{
    static const double percentiles[] = { 1,  10,   25,   50,   75,    90,    95,    98,
                                          99, 99.5, 99.8, 99.9, 99.95, 99.98, 99.99, 99.999 };
    fputs(", \"percentiles_ns\": [", file);
    for (unsigned i = 0; i < sizeof percentiles / sizeof percentiles[0]; i++) {
        double above = (double)latency->total * (100 - percentiles[i]) / 100;
        if (above < 1) break; /* there are too few for that */
        fprintf(file, "%s[%g, %" PRIu64 "]", i ? ", " : "", percentiles[i],
                histogram_quantile(latency, percentiles[i] / 100));
    }
    fputc(']', file);
}

static void write_summary(FILE *file, const struct contest *contest, unsigned which)
{
    struct summary summary = summary_of(contest, which);
    const struct histogram *latency = &contest->contenders[which].latency;
    fputs("\"summary\": {", file);
    write_spread(file, "rate", &summary.rate);
    fputs(", ", file);
    write_spread(file, "cpu_us", &summary.cpu_us);
    fprintf(file, ", \"user_us\": %.4f, \"system_us\": %.4f, ", summary.user_us, summary.system_us);
    write_spread(file, "ratio", &summary.ratio);
    fprintf(file, ", \"saturated\": %u, \"late\": %.6f, ", summary.saturated, summary.late);
    write_latency(file, histogram_quantile(latency, 0.50), histogram_quantile(latency, 0.99),
                  histogram_quantile(latency, 0.999), latency->worst_ns);
    write_percentiles(file, latency);
    const struct figure *figures = contest->workload->figures;
    for (unsigned i = 0; figures && figures[i].name; i++) {
        fputs(", ", file);
        write_spread(file, figures[i].name, &summary.figures[i]);
    }
    fputc('}', file);
}

static void write_contender(FILE *file, const struct contest *contest, unsigned which)
{
    const struct contender *contender = &contest->contenders[which];
    fputs("    {", file);
    write_string(file, "name", contender->name);
    fputs(", ", file);
    write_string(file, "version", contender->peer->version());
    fprintf(file, ", \"workers\": %u,\n     ", summary_workers(contest, contender));
    write_summary(file, contest, which);
    fputs(",\n     \"rounds\": [", file);
    for (unsigned i = 0; i < contest->rounds_done; i++) {
        fputs(i ? ",\n       " : "\n       ", file);
        write_sample(file, contest, &contender->samples[i]);
    }
    fputs("]}", file);
}

static void write_set_up(FILE *file, const struct contest *contest)
{
    struct machine machine = machine_describe();
    char contender[64], other[64];
    cpus_text(&contest->contender_place.cpus, contender, sizeof contender);
    cpus_text(&contest->other_place.cpus, other, sizeof other);
    fputs("  \"machine\": {", file);
    write_string(file, "cpu", machine.cpu);
    fprintf(file, ", \"cores\": %ld, ", machine.cores);
    write_string(file, "kernel", machine.kernel);
    fputs(", ", file);
    write_string(file, "compiler", report_compiler());
    fputs("},\n  \"method\": {", file);
    write_string(file, "mode", contest->together ? "together" : "apart");
    fputs(", ", file);
    write_string(file, "contender_cpus", contender);
    fputs(", ", file);
    write_string(file, "other_cpus", other);
    fputs(", ", file);
    write_string(file, "cpu_clock", usage_clock_text());
    fprintf(file, ", \"idle_cores_poll\": %s, \"slice_ns\": %" PRIu64 ", ", contest->awake ? "true" : "false",
            contest->slice_ns);
    if (contest->workload->warm_up_each) {
        fprintf(file, "\"warm_up_operations\": %" PRIu64 "},\n", contest->warm_up.operations);
    } else {
        fprintf(file, "\"warm_up_ns\": %" PRIu64 "},\n", contest->warm_up.duration_ns);
    }
    const struct job *job = &contest->job;
    fprintf(file, "  \"options\": {\"rounds\": %u, \"window\": %u, \"connections\": %u", contest->rounds, job->window,
            job->connections);
    if (contest->workload->options & OPTION(SIZE)) fprintf(file, ", \"size\": %u", job->size);
    if (contest->workload->options & OPTION(SLOW)) fprintf(file, ", \"slow\": %u", job->slow);
    if (job->rate > 0) fprintf(file, ", \"rate\": %u", job->rate);
    if (job->timers > 0) fprintf(file, ", \"timers\": %u", job->timers);
    if (job->producers > 0) fprintf(file, ", \"producers\": %u", job->producers);
    fprintf(file, ", \"workers\": %u},\n", job->workers);
}

void json_write(FILE *file, const struct contest *contest)
{
    fputs("{\n  ", file);
    write_string(file, "workload", contest->workload->name);
    fputs(",\n  ", file);
    write_string(file, "operation", contest->workload->operation);
    fputs(",\n", file);
    write_set_up(file, contest);
    fputs("  \"contenders\": [\n", file);
    for (unsigned i = 0; i < contest->count; i++) {
        if (i) fputs(",\n", file);
        write_contender(file, contest, i);
    }
    fputs("\n  ]\n}\n", file);
}
