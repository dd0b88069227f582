#include "sides.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fail.h"
#include "machine.h"
#include "memory.h"
#include "registry.h"
#include "text.h"
#include "thread.h"

void serve_ready(uint16_t port)
{
    if (process_is_child()) {
        process_send(&(struct message){ .kind = MESSAGE_READY, .port = port });
        return;
    }
    printf("127.0.0.1:%u\n", port);
    fflush(stdout);
}

static void last_words(const char *sentence)
{
    struct message message = { .kind = MESSAGE_FAILURE };
    snprintf(message.failure, sizeof message.failure, "%s", sentence);
    process_send(&message);
    _Exit(1);
}

static void fill_state(const struct peer *peer, struct server_state *out)
{
    *out = (struct server_state){ .held = peer->memory ? peer->memory() : memory_allocated(),
                                  .resident = memory_resident() };
    if (peer->shares) peer->shares(out->shares);
}

/* What watches over a server beside its own threads: asleep but for the two questions of a slice. It exists for all
 * contenders alike, so that none of them needs code to be measured. */
static void answer_questions(void *data)
{
    const struct side *side = data;
    struct message message;
    while (process_receive(&message)) {
        if (message.kind == MESSAGE_STATE) {
            fill_state(side->peer, &message.state);
        } else {
            message.usage = usage_now();
        }
        process_send(&message);
    }
    _Exit(0);
}

static void run_server(struct side *side)
{
    thread_start(answer_questions, side);
    workload_serve(side->workload, side->peer, &side->job);
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

static void run_driver(const struct side *side)
{
    const struct driver *driver = workload_driver(side->workload, side->peer);
    void *state = driver->open(&side->job);
    static struct message message = { .kind = MESSAGE_READY };
    process_send(&message);
    while (process_receive(&message)) {
        struct order order = message.order;
        side_burst(driver, state, &order, &message.outcome);
        process_send(&message);
    }
}

void side_run(const struct task *task)
{
    fail_set_sink(last_words);
    machine_enter(&task->place);
    struct side side = { registry_workload(task->workload), registry_peer(task->peer, (unsigned)strlen(task->peer)),
                         task->job };
    if (task->drives) {
        run_driver(&side);
    } else {
        run_server(&side);
    }
}

static void end_with_stdin(void *seconds)
{
    double limit = *(double *)seconds;
    process_wait_for_stdin(limit > 0 ? clock_ns() + (uint64_t)(limit * NS_PER_S) : 0);
    _Exit(0);
}

void side_serve_alone(const struct side *side, double seconds)
{
    static double limit;
    limit = seconds;
    thread_start(end_with_stdin, &limit);
    workload_serve(side->workload, side->peer, &side->job);
    fail("the server stopped by itself");
}

void side_drive_alone(const struct side *side, const struct order *order)
{
    const struct driver *driver = workload_driver(side->workload, side->peer);
    static void *volatile state; /* there as long as the process, however that ends: what it points to is no leak */
    static struct outcome outcome;
    state = driver->open(&side->job);
    side_burst(driver, state, order, &outcome);
    double seconds = (double)outcome.elapsed_ns / NS_PER_S;
    double operations = (double)outcome.tally.finished;
    if (operations == 0) fail("not one operation fits into that");
    printf("%.0f operations in %.3f s: %.0f/s, %.3f us CPU each on this side", operations, seconds,
           operations / seconds, (double)outcome.usage.cpu_ns / NS_PER_US / operations);
    const struct histogram *latency = &outcome.tally.latency;
    if (latency->total > 0) {
        printf(", p50 %s, p99 %s", text_duration(histogram_quantile(latency, 0.50)).text,
               text_duration(histogram_quantile(latency, 0.99)).text);
    }
    printf("\n");
    fflush(stdout);
    _Exit(0); /* a driver has no end of its own: its threads still run */
}
