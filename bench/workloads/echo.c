/* echo: connections that stay open, on each a window of messages in flight that come back as they are; with --rate each
 * message at its time instead (messages.h). */
#include "messages.h"
#include "workload.h"

static void *load_open(const struct job *job)
{
    return messages_open(job);
}

static void load_burst(void *state, const struct limit *limit, struct tally *tally)
{
    messages_burst(state, limit, tally, NULL, NULL);
}

static bool has(const struct peer *peer)
{
    return peer->serve_echo != NULL;
}

static void serve(const struct peer *peer, const struct job *job)
{
    peer->serve_echo(job);
}

static const struct driver *driver(const struct peer *peer)
{
    static const struct driver load = { load_open, load_burst };
    (void)peer;
    return &load;
}

const struct workload workload_echo = {
    .name = "echo",
    .what = "messages that the contender sends back",
    .operation = "message",
    .options = OPTION(WINDOW) | OPTION(CONNECTIONS) | OPTION(SIZE) | OPTION(RATE) | OPTION(WORKERS),
    .usual = { .window = 1, .connections = 1000, .size = 64 },
    .most_window = 1024,
    .has = has,
    .serve = serve,
    .driver = driver,
};
