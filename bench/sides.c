#define _GNU_SOURCE
#include "sides.h"

#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "fail.h"

static int server_control = -1; /* -1: alone at the command line */

void serve_ready(uint16_t port)
{
    if (server_control < 0) {
        printf("127.0.0.1:%u\n", port);
        fflush(stdout);
        return;
    }
    message_send(server_control, &(struct message){ .kind = MESSAGE_READY, .port = port });
}

/* What watches over a server beside its own threads: asleep but for the two questions of a slice. It exists for all
 * contenders alike, so that none of them needs code to be measured. */
static void start_watcher(void *(*body)(void *), void *argument)
{
    pthread_t thread;
    int error = pthread_create(&thread, NULL, body, argument);
    if (error != 0) fail("a thread could not be started: %s", strerror(error));
    pthread_detach(thread);
}

static void *answer_usage(void *nothing)
{
    struct message message;
    while (message_receive(server_control, &message)) {
        message.usage = usage_now();
        message_send(server_control, &message);
    }
    _exit(0);
    return nothing;
}

void side_server(int control, const void *argument)
{
    const struct side *side = argument;
    server_control = control;
    start_watcher(answer_usage, NULL);
    side->workload->serve(side->peer, &side->job);
    fail("the server stopped by itself");
}

void side_burst(const struct driver *driver, void *state, const struct order *order, struct outcome *out)
{
    memset(out, 0, sizeof *out);
    struct usage before = usage_now();
    uint64_t start_ns = clock_ns();
    struct limit limit = { start_ns + order->duration_ns, order->operations };
    driver->burst(state, &limit, &out->tally);
    out->elapsed_ns = clock_ns() - start_ns;
    out->usage = usage_since(&before);
}

void side_driver(int control, const void *argument)
{
    const struct side *side = argument;
    const struct driver *driver = side->workload->driver(side->peer);
    void *state = driver->open(&side->job);
    static struct message message = { .kind = MESSAGE_READY };
    message_send(control, &message);
    while (message_receive(control, &message)) {
        struct order order = message.order;
        side_burst(driver, state, &order, &message.outcome);
        message_send(control, &message);
    }
}

static void *end_with_stdin(void *seconds)
{
    double limit = *(double *)seconds;
    uint64_t until_ns = clock_ns() + (uint64_t)(limit * NS_PER_S);
    char ignored[256];
    for (;;) {
        uint64_t now_ns = clock_ns();
        if (limit > 0 && now_ns >= until_ns) break;
        struct pollfd wait = { .fd = STDIN_FILENO, .events = POLLIN };
        poll(&wait, 1, limit > 0 ? (int)((until_ns - now_ns) / NS_PER_MS) + 1 : -1);
        if (wait.revents && read(STDIN_FILENO, ignored, sizeof ignored) <= 0) break;
    }
    _exit(0);
    return NULL;
}

void side_serve_alone(const struct side *side, double seconds)
{
    static double limit;
    limit = seconds;
    start_watcher(end_with_stdin, &limit);
    side->workload->serve(side->peer, &side->job);
    fail("the server stopped by itself");
}

void side_drive_alone(const struct side *side, const struct order *order)
{
    const struct driver *driver = side->workload->driver(side->peer);
    void *state = driver->open(&side->job);
    static struct outcome outcome;
    side_burst(driver, state, order, &outcome);
    double seconds = (double)outcome.elapsed_ns / NS_PER_S;
    double operations = (double)outcome.tally.finished;
    printf("%.0f operations in %.3f s: %.0f/s, %.2f us CPU each on this side, p50 %.1f us, p99 %.1f us\n", operations,
           seconds, operations / seconds, (double)outcome.usage.cpu_ns / NS_PER_US / operations,
           (double)histogram_quantile(&outcome.tally.latency, 0.50) / NS_PER_US,
           (double)histogram_quantile(&outcome.tally.latency, 0.99) / NS_PER_US);
}
