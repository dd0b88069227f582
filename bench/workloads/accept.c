/* accept: the contender accepts each connection and closes it at once; the load generator keeps a window of them going
 * and sees each end.
 *
 * The server's close sends FIN first, so the server's end would have to wait in TIME_WAIT. The load generator answers
 * the end of the stream by a reset, which takes both ends away at once: no port is ever held. */
#include <stdlib.h>

#include "net.h"
#include "workload.h"

enum { EVENTS_MAX = 256 };

struct load {
    struct address server;
    struct net *net;
    unsigned window;
    uint64_t since_ns[]; /* when each attempt began */
};

static void *load_open(const struct job *job)
{
    struct load *load = calloc(1, sizeof *load + job->window * sizeof load->since_ns[0]);
    if (!load) fail("out of memory");
    load->server = address_of(job->address);
    load->net = net_create(job->window);
    load->window = job->window;
    return load;
}

static void attempt_start(struct load *load, unsigned index)
{
    load->since_ns[index] = clock_ns();
    net_start(load->net, index, &load->server);
}

static void attempt_end(const struct load *load, const struct net_event *event)
{
    if (event->what & NET_FAILED) {
        fail_code(net_error(load->net, event->stream), "a connection was not closed but failed");
    }
    if (!(event->what & NET_ENDED)) fail("the server sent something, and was to close at once");
    net_reset(load->net, event->stream);
}

static void load_burst(void *state, const struct limit *limit, struct tally *tally)
{
    struct load *load = state;
    for (unsigned i = 0; i < load->window && tally_may_start(tally, limit, clock_ns()); i++) attempt_start(load, i);

    struct net_event events[EVENTS_MAX];
    while (tally_in_flight(tally) > 0) {
        unsigned count = net_wait(load->net, events, EVENTS_MAX, SILENCE_MS);
        if (count == 0) fail("no connection was closed for %d s", SILENCE_MS / 1000);
        /* One time for the batch: all of these streams had ended when net_wait returned. */
        uint64_t now_ns = clock_ns();
        for (unsigned i = 0; i < count; i++) {
            unsigned index = events[i].stream;
            attempt_end(load, &events[i]);
            tally_finish(tally, now_ns - load->since_ns[index]);
            if (tally_may_start(tally, limit, now_ns)) attempt_start(load, index);
        }
    }
}

const struct workload workload_accept = {
    .name = "accept",
    .what = "connections that the contender accepts and closes at once",
    .operation = "connection",
    .options = OPTION(WINDOW) | OPTION(WORKERS),
    .usual = { .window = 64 },
    .most_window = 4096,
    .server = SERVER_ACCEPT,
    .load = { load_open, load_burst },
};
