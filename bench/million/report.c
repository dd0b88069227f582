#define _GNU_SOURCE
#include <inttypes.h>
#include <stdio.h>

#include "fail.h"
#include "machine.h"
#include "million/run.h"
#include "text.h"
#include "usage.h"

void report_header(const struct run *run)
{
    struct machine machine = machine_describe();
    char server_cpus[64], client_cpus[64];
    cpus_text(&run->server_place.cpus, server_cpus, sizeof server_cpus);
    cpus_text(&run->client_place.cpus, client_cpus, sizeof client_cpus);
    printf("machine   %s, %ld cores, %s\n", machine.cpu, machine.cores, machine.kernel);
    printf("servers   %u processes of weir on one port, at most %" PRIu64 " connections each, on cpu %s\n",
           run->servers_count, run->most_a_server, server_cpus);
    printf("clients   %u processes, at most %" PRIu64 " connections each, on cpu %s\n\n", run->clients_count,
           run->most_a_client, client_cpus);
    fflush(stdout);
}

void report_point(const struct point *point)
{
    if (!point) {
        printf("%12s %10s %14s %10s %10s\n", "held", "accepts/s", "server us each", "RSS GiB", "free GiB");
        return;
    }
    printf("%12s %10s %14.1f %10.2f %10.2f\n", text_grouped((double)point->held).text,
           text_grouped(point->accepts_s).text, point->cpu_us, (double)point->rss / (1 << 30),
           (double)point->free / (1 << 30));
    fflush(stdout);
}

static void print_latency(const char *what, const struct histogram *latency)
{
    printf("%-16s p50 %s, p99 %s, p99.9 %s, worst %s (%s)\n", what,
           text_duration(histogram_quantile(latency, 0.50)).text, text_duration(histogram_quantile(latency, 0.99)).text,
           text_duration(histogram_quantile(latency, 0.999)).text, text_duration(latency->worst_ns).text,
           text_grouped((double)latency->total).text);
}

static double each(const struct run *run, uint64_t after, uint64_t before)
{
    return after > before ? (double)(after - before) / (double)run->held : 0;
}

/* What weir has kept of its tables, for the connections to come. */
static double kept(const struct run *run)
{
    return each(run, run->servers_after.memory, run->servers_before.memory);
}

static double climb_rate(const struct run *run)
{
    return (double)run->held / ((double)run->climb_ns / NS_PER_S);
}

static double climb_cpu_us(const struct run *run)
{
    return (double)(run->servers_high.cpu_ns - run->servers_before.cpu_ns) / NS_PER_US / (double)run->held;
}

void report_end(const struct run *run)
{
    const struct server_facts *before = &run->servers_before, *high = &run->servers_high, *swept = &run->servers_swept;
    printf("\nheld             %s of %s%s%s\n", text_grouped((double)run->held).text,
           text_grouped((double)run->wanted).text, *run->stopped_by ? "; stopped by " : "", run->stopped_by);
    printf("climb            %s, %s accepts/s, %.1f us of a server's CPU each\n", text_duration(run->climb_ns).text,
           text_grouped(climb_rate(run)).text, climb_cpu_us(run));
    print_latency("connect", &run->connects);
    printf("a server         %" PRIu64 " to %" PRIu64 " connections\n", high->emptiest, high->fullest);
    printf("a connection     weir %.0f bytes, RSS %.0f; after a message on each: weir %.0f, RSS %.0f\n",
           each(run, high->memory, before->memory), each(run, high->rss, before->rss),
           each(run, swept->memory, before->memory), each(run, swept->rss, before->rss));
    printf("                 kernel %.0f bytes of slabs, for both ends\n", each(run, run->high.slab, run->before.slab));
    print_latency("echo, sample", &run->sample);
    print_latency("echo, all", &run->sweep);
    printf("                 %s a second, all connections once in %s\n",
           text_grouped((double)run->held / ((double)run->sweep_ns / NS_PER_S)).text,
           text_duration(run->sweep_ns).text);
    printf("close            %s; %s ended by the peer, %s otherwise; weir keeps %.0f bytes each for those to come\n",
           text_duration(run->close_ns).text, text_grouped((double)run->servers_after.closed_by_peer).text,
           text_grouped((double)run->servers_after.closed_by_us).text, kept(run));
}

static void write_latency(FILE *file, const char *name, const struct histogram *latency)
{
    fprintf(file,
            "  \"%s\": {\"count\": %" PRIu64 ", \"p50_ns\": %" PRIu64 ", \"p99_ns\": %" PRIu64 ", \"p999_ns\": %" PRIu64
            ", \"worst_ns\": %" PRIu64 "},\n",
            name, latency->total, histogram_quantile(latency, 0.50), histogram_quantile(latency, 0.99),
            histogram_quantile(latency, 0.999), latency->worst_ns);
}

/* No text in it needs escaping: `stopped_by` and what /proc says are of letters, digits and punctuation. */
void report_json(const struct run *run, FILE *file)
{
    struct machine machine = machine_describe();
    const struct server_facts *before = &run->servers_before, *high = &run->servers_high;
    fprintf(file, "{\n  \"machine\": {\"cpu\": \"%s\", \"cores\": %ld, \"kernel\": \"%s\"},\n", machine.cpu,
            machine.cores, machine.kernel);
    fprintf(file,
            "  \"wanted\": %" PRIu64 ", \"held\": %" PRIu64 ", \"stopped_by\": \"%s\", \"servers\": %u, "
            "\"clients\": %u,\n",
            run->wanted, run->held, run->stopped_by, run->servers_count, run->clients_count);
    fprintf(file, "  \"climb\": {\"ns\": %" PRIu64 ", \"accepts_s\": %.0f, \"server_cpu_us\": %.2f,\n    \"points\": [",
            run->climb_ns, climb_rate(run), climb_cpu_us(run));
    for (unsigned i = 0; i < run->points_count; i++) {
        const struct point *point = &run->points[i];
        fprintf(file,
                "%s\n      {\"held\": %" PRIu64 ", \"accepts_s\": %.0f, \"server_cpu_us\": %.2f, \"rss\": %" PRIu64
                ", \"free\": %" PRIu64 "}",
                i ? "," : "", point->held, point->accepts_s, point->cpu_us, point->rss, point->free);
    }
    fputs("]},\n", file);
    write_latency(file, "connect", &run->connects);
    write_latency(file, "echo_sample", &run->sample);
    write_latency(file, "echo_all", &run->sweep);
    fprintf(file, "  \"bytes_each\": {\"weir\": %.1f, \"rss\": %.1f, \"kernel\": %.1f, \"weir_after\": %.1f},\n",
            each(run, high->memory, before->memory), each(run, high->rss, before->rss),
            each(run, run->high.slab, run->before.slab), kept(run));
    fprintf(file, "  \"close\": {\"ns\": %" PRIu64 ", \"by_peer\": %" PRIu64 ", \"otherwise\": %" PRIu64 "}\n}\n",
            run->close_ns, run->servers_after.closed_by_peer, run->servers_after.closed_by_us);
}
