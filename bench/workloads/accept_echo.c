/* accept-echo: the life of a short connection. The load generator connects, sends one message, and resets the
 * connection when the message is back; the contender accepts, receives, sends, and closes. A window of such connections
 * is under way at any time. */
#include <stdlib.h>
#include <string.h>

#include "net.h"
#include "workload.h"

enum { EVENTS_MAX = 256 };

struct attempt {
    uint64_t since_ns;
    size_t received;
};

struct load {
    struct address server;
    struct net *net;
    unsigned window, size;
    uint8_t *message, *answer;
    struct attempt attempts[];
};

static void *load_open(const struct job *job)
{
    struct load *load = calloc(1, sizeof *load + job->window * sizeof load->attempts[0]);
    if (!load) fail("out of memory");
    load->server = address_of(job->address);
    load->net = net_create(job->window);
    load->window = job->window;
    load->size = job->size;
    load->message = malloc(job->size);
    load->answer = malloc(job->size);
    if (!load->message || !load->answer) fail("out of memory");
    for (unsigned i = 0; i < job->size; i++) load->message[i] = (uint8_t)(i * 131 + 7);
    return load;
}

static void attempt_start(struct load *load, unsigned index)
{
    load->attempts[index] = (struct attempt){ .since_ns = clock_ns() };
    net_ask(load->net, index, &load->server, load->message, load->size);
}

/* True when the whole message is back. */
static bool attempt_go_on(struct load *load, const struct net_event *event)
{
    struct attempt *attempt = &load->attempts[event->stream];
    if (event->what & NET_FAILED) fail_code(net_error(load->net, event->stream), "a connection failed");
    size_t got = net_receive(load->net, event->stream, load->answer, load->size - attempt->received);
    if (memcmp(load->answer, load->message + attempt->received, got) != 0) fail("what came back is not what was sent");
    attempt->received += got;
    return attempt->received == load->size;
}

static void load_burst(void *state, const struct limit *limit, struct tally *tally)
{
    struct load *load = state;
    for (unsigned i = 0; i < load->window && tally_may_start(tally, limit, clock_ns()); i++) attempt_start(load, i);

    struct net_event events[EVENTS_MAX];
    while (tally_in_flight(tally) > 0) {
        unsigned count = net_wait(load->net, events, EVENTS_MAX, SILENCE_MS);
        if (count == 0) fail("no byte came back for %d s", SILENCE_MS / 1000);
        for (unsigned i = 0; i < count; i++) {
            unsigned index = events[i].stream;
            if (!attempt_go_on(load, &events[i])) continue;
            uint64_t now_ns = clock_ns();
            tally_finish(tally, now_ns - load->attempts[index].since_ns);
            net_reset(load->net, index);
            if (tally_may_start(tally, limit, now_ns)) attempt_start(load, index);
        }
    }
}

const struct workload workload_accept_echo = {
    .name = "accept-echo",
    .what = "connections on which one message goes there and back",
    .operation = "connection",
    .options = OPTION(WINDOW) | OPTION(SIZE) | OPTION(WORKERS),
    .usual = { .window = 64, .size = 64 },
    .most_window = 4096,
    .server = SERVER_ECHO,
    .load = { load_open, load_burst },
};
