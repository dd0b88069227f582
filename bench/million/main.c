/* weir-million: a million established connections on one machine, weir holding one end of each. README.md in the
 * folder above says what it reports. */
#define _GNU_SOURCE
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fail.h"
#include "machine.h"
#include "million/run.h"
#include "text.h"
#include "usage.h"

enum {
    OWN_DESCRIPTORS = 96,     /* of a process, besides its connections */
    STEP = 1000,              /* connections that a client opens between two looks at the machine */
    SAMPLE = 100,             /* round trips of a client while all are held */
    SETTLE_MS = 60000,        /* for servers to have accepted, or seen the end of, what clients did */
    SPARE_MEMORY = 768 << 20, /* bytes that the machine keeps, whatever is asked for */
};

/* ---- the machine ---- */

static struct system_facts system_facts(void)
{
    static const char path[] = "/proc/meminfo";
    FILE *file = fopen(path, "re");
    if (!file) fail_system("%s", path);
    char name[64];
    unsigned long long kib;
    struct system_facts facts = { 0 };
    while (fscanf(file, "%63s %llu%*[^\n]", name, &kib) == 2) {
        uint64_t bytes = (uint64_t)kib * 1024;
        if (strcmp(name, "MemFree:") == 0 || strcmp(name, "Active(file):") == 0 ||
            strcmp(name, "Inactive(file):") == 0) {
            facts.free += bytes;
        }
        if (strcmp(name, "Slab:") == 0) facts.slab += bytes;
    }
    fclose(file);
    if (facts.free == 0 || facts.slab == 0) fail("%s does not say what is free, and what slabs take", path);
    return facts;
}

/* ---- what the members tell ---- */

static struct server_facts servers_facts(struct run *run)
{
    struct server_facts sum = { .emptiest = UINT64_MAX };
    for (unsigned i = 0; i < run->servers_count; i++) {
        struct word word = { .kind = WORD_FACTS };
        member_tell(&run->servers[i], &word);
        member_hear(&run->servers[i], &word);
        sum.open += word.server.open;
        sum.accepted += word.server.accepted;
        sum.closed_by_peer += word.server.closed_by_peer;
        sum.closed_by_us += word.server.closed_by_us;
        sum.memory += word.server.memory;
        sum.rss += word.server.rss;
        sum.cpu_ns += word.server.cpu_ns;
        if (word.server.open > sum.fullest) sum.fullest = word.server.open;
        if (word.server.open < sum.emptiest) sum.emptiest = word.server.open;
    }
    return sum;
}

/* Until the servers have `open` connections: what a client did reaches them a little later. */
static struct server_facts servers_settled(struct run *run, uint64_t open)
{
    uint64_t until_ns = clock_ns() + (uint64_t)SETTLE_MS * NS_PER_MS;
    struct server_facts facts = servers_facts(run);
    while (facts.open != open && clock_ns() < until_ns) facts = servers_facts(run);
    if (facts.open != open) {
        fail("the clients hold %" PRIu64 " connections, the servers %" PRIu64 " after %d s", open, facts.open,
             SETTLE_MS / 1000);
    }
    return facts;
}

/* ---- the climb ---- */

/* Where the climb was when the current stretch began. */
struct stretch {
    uint64_t since_ns, held, cpu_ns;
};

static void end_stretch(struct run *run, struct stretch *stretch)
{
    struct server_facts facts = servers_facts(run);
    double opened = (double)(run->held - stretch->held);
    double seconds = (double)(clock_ns() - stretch->since_ns) / NS_PER_S;
    struct point *point = &run->points[run->points_count++];
    *point = (struct point){ .held = run->held,
                             .accepts_s = opened / seconds,
                             .cpu_us = (double)(facts.cpu_ns - stretch->cpu_ns) / NS_PER_US / opened,
                             .rss = facts.rss,
                             .free = system_facts().free };
    report_point(point);
    *stretch = (struct stretch){ clock_ns(), run->held, facts.cpu_ns };
}

/* A client goes as far as it may. False when something stopped it. */
static bool climb_client(struct run *run, const struct member *client, struct stretch *stretch)
{
    for (uint64_t open = 0; open < run->most_a_client && run->held < run->wanted;) {
        uint64_t room = run->most_a_client - open, rest = run->wanted - run->held;
        struct word word = { .kind = WORD_CLIMB, .count = room < rest ? room : rest };
        if (word.count > STEP) word.count = STEP;
        if (system_facts().free < SPARE_MEMORY) {
            snprintf(run->stopped_by, sizeof run->stopped_by, "less than %d MiB of memory were left",
                     SPARE_MEMORY >> 20);
            return false;
        }
        member_tell(client, &word);
        member_hear(client, &word);
        histogram_merge(&run->connects, &word.client.latency);
        run->held += word.client.open - open;
        open = word.client.open;
        if (run->held >= (run->points_count + 1) * run->wanted / POINTS) end_stretch(run, stretch);
        if (word.client.error != 0) {
            snprintf(run->stopped_by, sizeof run->stopped_by, "%s: connect: %s", client->name,
                     strerror(word.client.error));
            return false;
        }
    }
    return true;
}

static void climb(struct run *run)
{
    report_point(NULL);
    struct stretch stretch = { clock_ns(), 0, run->servers_before.cpu_ns };
    uint64_t start_ns = stretch.since_ns;
    for (unsigned i = 0; i < run->clients_count && run->held < run->wanted; i++) {
        if (!climb_client(run, &run->clients[i], &stretch)) break;
    }
    if (run->held > stretch.held) end_stretch(run, &stretch);
    run->servers_high = servers_settled(run, run->held);
    run->climb_ns = clock_ns() - start_ns;
    run->high = system_facts();
}

/* ---- while all are held ---- */

/* Every client echoes on `count` of its connections; `together` of them at the same time. */
static void echo(struct run *run, uint64_t count, unsigned together, struct histogram *latency)
{
    for (unsigned first = 0; first < run->clients_count; first += together) {
        unsigned end = first + together < run->clients_count ? first + together : run->clients_count;
        for (unsigned i = first; i < end; i++) {
            member_tell(&run->clients[i], &(struct word){ .kind = WORD_ECHO, .count = count });
        }
        for (unsigned i = first; i < end; i++) {
            struct word word;
            member_hear(&run->clients[i], &word);
            if (word.client.lost) fail("%s: a connection that was held did not answer", run->clients[i].name);
            histogram_merge(latency, &word.client.latency);
        }
    }
}

static void sweep(struct run *run)
{
    enum { AT_ONCE = 2 };
    uint64_t start_ns = clock_ns();
    echo(run, UINT64_MAX, AT_ONCE, &run->sweep);
    run->sweep_ns = clock_ns() - start_ns;
    if (run->sweep.total != run->held) {
        fail("%" PRIu64 " of %" PRIu64 " connections answered", run->sweep.total, run->held);
    }
    run->servers_swept = servers_facts(run);
}

static void clients_close(struct run *run)
{
    for (unsigned i = 0; i < run->clients_count; i++) {
        struct word word = { .kind = WORD_CLOSE };
        member_tell(&run->clients[i], &word);
        member_hear(&run->clients[i], &word);
    }
}

/* ---- all of it ---- */

static void plan(struct run *run)
{
    unsigned limit = machine_raise_descriptors();
    if (limit < 2 * OWN_DESCRIPTORS) fail("%u descriptors a process are too few", limit);
    run->most_a_client = limit - OWN_DESCRIPTORS;
    /* The kernel's hash spreads connections over the servers like dice: the fullest has some standard deviations more
     * than the mean, and 6 of them are room enough for any of hundreds. */
    run->most_a_server = run->most_a_client;
    uint64_t mean = run->most_a_server - (uint64_t)(6 * sqrt((double)run->most_a_server));
    if (run->most_a_client > 25000)
        run->most_a_client = 25000; /* of 28,232 ephemeral ports an address, and two of these */
    uint64_t servers = (run->wanted + mean - 1) / mean;
    uint64_t clients = (run->wanted + run->most_a_client - 1) / run->most_a_client;
    if (servers > SERVERS_MAX || clients > CLIENTS_MAX) {
        fail("%" PRIu64 " connections need %" PRIu64 " processes, with %u descriptors each", run->wanted,
             servers + clients, limit);
    }
    run->servers_count = (unsigned)servers;
    run->clients_count = (unsigned)clients;
    struct cpus cpus = machine_cpus();
    place_sides(&cpus, 1, false, &run->server_place, &run->client_place);
}

static void start(struct run *run)
{
    for (unsigned i = 0; i < run->servers_count; i++) {
        struct server_plan server = { run->port, (uint32_t)run->most_a_server };
        struct word ready;
        snprintf(run->servers[i].name, sizeof run->servers[i].name, "server %u", i + 1);
        member_start(&run->servers[i], server_body, &server, &run->server_place, &ready);
        run->port = ready.port;
    }
    for (unsigned i = 0; i < run->clients_count; i++) {
        struct client_plan client = { run->port, i, (uint32_t)run->most_a_client };
        struct word ready;
        snprintf(run->clients[i].name, sizeof run->clients[i].name, "client %u", i + 1);
        member_start(&run->clients[i], client_body, &client, &run->client_place, &ready);
    }
    run->servers_before = servers_facts(run);
    run->before = system_facts();
}

static void close_all(struct run *run)
{
    uint64_t start_ns = clock_ns();
    clients_close(run);
    run->servers_after = servers_settled(run, 0);
    run->close_ns = clock_ns() - start_ns;
    run->after = system_facts();
}

static uint64_t wanted_of(const char *text)
{
    char *end = NULL;
    errno = 0;
    unsigned long long value = strtoull(text, &end, 10);
    if (*text < '0' || *text > '9' || *end != '\0') fail_usage("%s: not a whole number of connections", text);
    if (errno != 0 || value < 1 || value > 4000000) fail_usage("%s: must be from 1 to 4000000", text);
    return value;
}

static void print_help(void)
{
    puts(
        "usage: weir-million [CONNECTIONS] [--json FILE]\n"
        "Opens 1,000,000 connections over loopback to as many processes of weir as that needs, which share a port;\n"
        "holds them, sends a message there and back on each, closes them, and says what it cost. That takes about two\n"
        "minutes and 11 KB of memory a connection. Exits with 1 if something stopped the climb, and says what.");
}

static FILE *read_arguments(struct run *run, int count, char **arguments)
{
    FILE *json = NULL;
    run->wanted = 1000000;
    for (int i = 1; i < count; i++) {
        if (strcmp(arguments[i], "--json") == 0) {
            if (++i == count) fail_usage("--json needs a file");
            json = fopen(arguments[i], "we");
            if (!json) fail_system("%s", arguments[i]);
        } else {
            run->wanted = wanted_of(arguments[i]);
        }
    }
    return json;
}

static void to_stderr(const char *sentence)
{
    fprintf(stderr, "weir-million: %s\n", sentence);
}

int main(int count, char **arguments)
{
    if (count == 2 && (strcmp(arguments[1], "-h") == 0 || strcmp(arguments[1], "--help") == 0)) {
        print_help();
        return 0;
    }
    fail_set_sink(to_stderr);
    static struct run run;
    FILE *json = read_arguments(&run, count, arguments);
    plan(&run);
    start(&run);
    report_header(&run);
    climb(&run);
    if (run.held == 0) fail("no connection at all: %s", run.stopped_by);
    echo(&run, SAMPLE, 1, &run.sample);
    sweep(&run);
    close_all(&run);
    crew_end();
    report_end(&run);
    if (json) report_json(&run, json);
    if (json && fclose(json) != 0) fail_system("the JSON file");
    if (run.servers_after.closed_by_us != 0 || run.servers_after.closed_by_peer != run.held) {
        fail("not every connection ended by its peer");
    }
    return *run.stopped_by ? 1 : 0;
}
