/* A server: weir by its public headers alone, one worker, on a port that other processes listen on too. It sends back
 * what it gets. */
#include <stdatomic.h>
#include <stdio.h>
#include <weir/weir.h>

#include "fail.h"
#include "memory.h"
#include "million/crew.h"
#include "usage.h"

static void echo_message(weir_conn *conn, const void *bytes, size_t size)
{
    weir_send(conn, bytes, size);
}

static void tell_facts(const weir_runtime *runtime, const struct word *asked)
{
    struct word word = { .kind = asked->kind };
    weir_stats stats;
    weir_stats_read(runtime, &stats);
    uint64_t closed = 0;
    for (int i = 0; i < WEIR_STATS_REASONS; i++) closed += stats.closed[i];
    word.server = (struct server_facts){ .open = stats.connections,
                                         .accepted = stats.accepted,
                                         .closed_by_peer = stats.closed[-WEIR_EEOF],
                                         .closed_by_us = closed - stats.closed[-WEIR_EEOF],
                                         .memory = stats.memory,
                                         .rss = memory_resident(),
                                         .cpu_ns = usage_now().cpu_ns };
    crew_tell(&word);
}

void server_body(const void *data)
{
    const struct server_plan *plan = data;
    weir_runtime *runtime = NULL;
    weir_runtime_options options = { .workers = 1, .max_connections = plan->connections };
    int error = weir_runtime_create(&runtime, &options);
    if (error != 0) fail("weir_runtime_create: %s", weir_strerror(error));

    char address[32];
    snprintf(address, sizeof address, "127.0.0.1:%u", plan->port);
    weir_protocol protocol = { .on_message = echo_message };
    weir_failure failure;
    weir_listen_options listen = { .share_port = true, .failure = &failure };
    weir_listener *listener = NULL;
    if (weir_listen(runtime, address, &protocol, &listen, &listener) != 0) fail("%s", failure.text);
    error = weir_runtime_start(runtime);
    if (error != 0) fail("weir_runtime_start: %s", weir_strerror(error));

    struct word word = { .kind = WORD_READY, .port = weir_listener_address(listener).port };
    crew_tell(&word);
    while (crew_hear(&word)) tell_facts(runtime, &word);
    weir_runtime_destroy(runtime);
}
