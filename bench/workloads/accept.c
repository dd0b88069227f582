/* accept: the contender accepts each connection and closes it at once; the load generator keeps a window of them going
 * and sees each end.
 *
 * The server's close sends FIN first, so the server's end would have to wait in TIME_WAIT. The load generator answers
 * the end of the stream by a reset, which takes both ends away at once: no port is ever held. */
#define _GNU_SOURCE
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

#include "net.h"
#include "workload.h"

enum { EVENTS_MAX = 256, SILENCE_MS = 5000 };

struct attempt {
    int fd;
    uint64_t since_ns;
};

struct load {
    struct sockaddr_in server;
    int epoll;
    unsigned window;
    struct attempt attempts[];
};

static void *load_open(const struct job *job)
{
    struct load *load = calloc(1, sizeof *load + job->window * sizeof load->attempts[0]);
    if (!load) fail("out of memory");
    load->server = net_address(job->address);
    load->epoll = net_epoll();
    load->window = job->window;
    return load;
}

static void attempt_start(struct load *load, unsigned index)
{
    struct attempt *attempt = &load->attempts[index];
    attempt->since_ns = clock_ns();
    attempt->fd = net_connect(&load->server);
    net_watch(load->epoll, attempt->fd, EPOLLIN | EPOLLRDHUP, index);
}

static void attempt_end(const struct attempt *attempt, uint32_t events)
{
    if (events & EPOLLERR) fail("a connection was not closed but failed: %s", strerror(net_error(attempt->fd)));
    if (!(events & EPOLLRDHUP)) fail("the server sent something, and was to close at once");
    net_reset(attempt->fd);
}

static void load_burst(void *state, const struct limit *limit, struct tally *tally)
{
    struct load *load = state;
    for (unsigned i = 0; i < load->window && tally_may_start(tally, limit, clock_ns()); i++) attempt_start(load, i);

    struct epoll_event events[EVENTS_MAX];
    while (tally_in_flight(tally) > 0) {
        int count = epoll_wait(load->epoll, events, EVENTS_MAX, SILENCE_MS);
        if (count <= 0) fail("no connection was closed for %d s", SILENCE_MS / 1000);
        /* One time for the batch: all of these streams had ended when epoll_wait returned. */
        uint64_t now_ns = clock_ns();
        for (int i = 0; i < count; i++) {
            unsigned index = (unsigned)events[i].data.u64;
            attempt_end(&load->attempts[index], events[i].events);
            tally_finish(tally, now_ns - load->attempts[index].since_ns);
            if (tally_may_start(tally, limit, now_ns)) attempt_start(load, index);
        }
    }
}

static bool has(const struct peer *peer)
{
    return peer->serve_accept != NULL;
}

static void serve(const struct peer *peer, const struct job *job)
{
    peer->serve_accept(job);
}

static const struct driver *driver(const struct peer *peer)
{
    static const struct driver load = { load_open, load_burst };
    (void)peer;
    return &load;
}

const struct workload workload_accept = {
    .name = "accept",
    .what = "connections that the contender accepts and closes at once",
    .operation = "connection",
    .options = OPTION(WINDOW),
    .default_window = 64,
    .most_window = 4096,
    .has = has,
    .serve = serve,
    .driver = driver,
};
