/* ramp: from no connection to all of them, as fast as a window of attempts allows, in a server that has just begun.
 * Each connection sends a byte as soon as it is there, gets it back, and stays open. Its latency is from connect() to
 * that byte: the worst one of a round shows what stalls a server that grows, above all its descriptor table. One
 * round's worst may as well be a moment in which the system gave a core to others, so it takes several rounds, and the
 * load tells how long it was held up itself. */
#include <stdlib.h>

#include "net.h"
#include "workload.h"

enum { EVENTS_MAX = 256 };

enum { WORST, HELD_UP, FIGURES };

static const struct figure figures[] = {
    [WORST] = { .name = "round_worst_ms", .title = "worst of a round, ms", .digits = 2, .range = true },
    [HELD_UP] = { .name = "load_held_up_ms", .title = "load held up, ms", .digits = 2, .range = true },
    [FIGURES] = { 0 },
};

struct load {
    struct address server;
    struct net *net;
    unsigned window, connections, begun;
    uint64_t looked_ns;  /* when it looked at the clock, or came back from a wait */
    uint64_t held_up_ns; /* the longest from one look to the next */
    uint64_t since_ns[]; /* when each attempt began */
};

static void *load_open(const struct job *job)
{
    struct load *load = calloc(1, sizeof *load + job->connections * sizeof load->since_ns[0]);
    if (!load) fail("out of memory");
    load->server = address_of(job->address);
    load->net = net_create(job->connections);
    load->window = job->window;
    load->connections = job->connections;
    return load;
}

/* From one look to the next the load makes a call or two, none of which waits, neither for the contender nor for
 * anything else. If that takes long, something else had the core meanwhile. */
static uint64_t look(struct load *load)
{
    uint64_t now_ns = clock_ns();
    if (now_ns - load->looked_ns > load->held_up_ns) load->held_up_ns = now_ns - load->looked_ns;
    load->looked_ns = now_ns;
    return now_ns;
}

static void attempt(struct load *load, const struct limit *limit, struct tally *tally)
{
    static const uint8_t byte = 'r';
    if (load->begun == load->connections || tally->started == limit->operations) return;
    tally->started++;
    load->since_ns[load->begun] = look(load);
    net_ask(load->net, load->begun++, &load->server, &byte, 1);
}

/* A burst is one ramp, however long it takes. */
static void load_burst(void *state, const struct limit *limit, struct tally *tally)
{
    struct load *load = state;
    load->looked_ns = clock_ns();
    for (unsigned i = 0; i < load->window; i++) attempt(load, limit, tally);
    struct net_event events[EVENTS_MAX];
    while (tally_in_flight(tally) > 0) {
        look(load);
        unsigned count = net_wait(load->net, events, EVENTS_MAX, SILENCE_MS);
        load->looked_ns = clock_ns();
        if (count == 0) fail("no byte came back for %d s", SILENCE_MS / 1000);
        for (unsigned i = 0; i < count; i++) {
            uint8_t byte;
            unsigned index = events[i].stream;
            if (events[i].what & NET_FAILED) fail_code(net_error(load->net, index), "a connection failed");
            if (net_receive(load->net, index, &byte, 1) == 0) continue;
            if (byte != 'r') fail("what came back is not what was sent");
            tally_finish(tally, look(load) - load->since_ns[index]);
            attempt(load, limit, tally);
        }
    }
    tally->figures[WORST] = (double)tally->latency.worst_ns / NS_PER_MS;
    tally->figures[HELD_UP] = (double)load->held_up_ns / NS_PER_MS;
}

const struct workload workload_ramp = {
    .name = "ramp",
    .what = "connections that come and stay, from none to all, in a server that has just begun",
    .operation = "connection",
    .fresh = true,
    .undisturbed = true,
    .options = OPTION(WINDOW) | OPTION(CONNECTIONS) | OPTION(WORKERS),
    .usual = { .window = 16, .connections = 19000 },
    .most_window = 4096,
    .rounds = 9,
    .figures = figures,
    .note =
        "Latencies are from connect() to the first byte from the server. Above, the worst is of all rounds; below, it "
        "is the median\nof each round's worst, with the least and the most. load held up: the longest that the load "
        "generator took, in a round,\nover a call or two that never wait: something else had its core meanwhile.",
    .server = SERVER_ECHO,
    .load = { load_open, load_burst },
};
