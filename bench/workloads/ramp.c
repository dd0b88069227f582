/* ramp: from no connection to all of them, as fast as a window of attempts allows, in a server that has just begun.
 * Each connection sends a byte as soon as it is there, gets it back, and stays open. Its latency is from connect() to
 * that byte: the worst one shows what stalls a server that grows, above all its descriptor table. */
#include <stdlib.h>

#include "net.h"
#include "workload.h"

enum { EVENTS_MAX = 256 };

struct load {
    struct address server;
    struct net *net;
    unsigned window, connections, begun;
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

static void attempt(struct load *load, const struct limit *limit, struct tally *tally)
{
    static const uint8_t byte = 'r';
    if (load->begun == load->connections || tally->started == limit->operations) return;
    tally->started++;
    load->since_ns[load->begun] = clock_ns();
    net_ask(load->net, load->begun++, &load->server, &byte, 1);
}

/* A burst is one ramp, however long it takes. */
static void load_burst(void *state, const struct limit *limit, struct tally *tally)
{
    struct load *load = state;
    for (unsigned i = 0; i < load->window; i++) attempt(load, limit, tally);
    struct net_event events[EVENTS_MAX];
    while (tally_in_flight(tally) > 0) {
        unsigned count = net_wait(load->net, events, EVENTS_MAX, SILENCE_MS);
        if (count == 0) fail("no byte came back for %d s", SILENCE_MS / 1000);
        for (unsigned i = 0; i < count; i++) {
            uint8_t byte;
            unsigned index = events[i].stream;
            if (events[i].what & NET_FAILED) fail_code(net_error(load->net, index), "a connection failed");
            if (net_receive(load->net, index, &byte, 1) == 0) continue;
            if (byte != 'r') fail("what came back is not what was sent");
            tally_finish(tally, clock_ns() - load->since_ns[index]);
            attempt(load, limit, tally);
        }
    }
}

const struct workload workload_ramp = {
    .name = "ramp",
    .what = "connections that come and stay, from none to all, in a server that has just begun",
    .operation = "connection",
    .fresh = true,
    .options = OPTION(WINDOW) | OPTION(CONNECTIONS) | OPTION(WORKERS),
    .usual = { .window = 16, .connections = 19000 },
    .most_window = 4096,
    .rounds = 3,
    .note = "Latencies are from connect() to the first byte from the server; the worst one is of all rounds.",
    .server = SERVER_ECHO,
    .load = { load_open, load_burst },
};
