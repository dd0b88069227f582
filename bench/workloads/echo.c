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

const struct workload workload_echo = {
    .name = "echo",
    .what = "messages that the contender sends back",
    .operation = "message",
    .options = OPTION(WINDOW) | OPTION(CONNECTIONS) | OPTION(SIZE) | OPTION(RATE) | OPTION(WORKERS),
    .usual = { .window = 1, .connections = 1000, .size = 64 },
    .most_window = 1024,
    .server = SERVER_ECHO,
    .load = { load_open, load_burst },
};
