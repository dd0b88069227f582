/* What connections hold and give back: descriptors, memory, CPU time. */
#include <stdio.h>
#include <string.h>

#include "core/host.h"
#include "core/outbox.h"
#include "core/world.h"

enum { BATCH = 401, IDLE = 4000 }; /* odd, so that no leak a connection adds up to whole blocks */

static raw_peer peers[IDLE];

static void echo(weir_conn *conn, const void *bytes, size_t size)
{
    weir_send(conn, bytes, size);
}

/* BATCH connections come, say something each, and go as `ends` says. */
static void one_batch(world *w, void (*ends)(raw_peer peer))
{
    for (int i = 0; i < BATCH; i++) {
        peers[i] = world_connect(w);
        raw_send(peers[i], "hello", 5);
    }
    for (int i = 0; i < BATCH; i++) {
        char heard[5];
        raw_receive(peers[i], heard, 5);
    }
    for (int i = 0; i < BATCH; i++) ends(peers[i]);
    WORLD_AWAIT(w, world_stats(w).connections == 0);
}

/* What the pools keep varies with what was in use at once, by whole blocks; nothing else may vary. One worker, whose
 * socket table the first batch makes as large as all need it. */
static void check_batches(int batches, void (*ends)(raw_peer peer), int reason)
{
    enum { KEPT_MAX = 64 * 16384 + WR_CHUNKS_KEPT * WR_CHUNK_SIZE };
    world w = { .protocol = { .on_message = echo, .session_size = 200 } };
    world_start(&w);
    one_batch(&w, ends);
    uint64_t memory = world_stats(&w).memory;
    unsigned descriptors = raw_descriptors();
    for (int i = 1; i < batches; i++) {
        one_batch(&w, ends);
        uint64_t now = world_stats(&w).memory, change = now > memory ? now - memory : memory - now;
        cr_assert_eq(change % WR_CHUNK_SIZE, 0, "batch %d: %llu bytes", i, (unsigned long long)change);
        cr_assert_leq(change, KEPT_MAX, "batch %d: %llu bytes", i, (unsigned long long)change);
        cr_assert_eq(raw_descriptors(), descriptors, "batch %d", i);
    }
    cr_assert_eq(world_closed(&w, reason), (uint64_t)batches * BATCH);
    world_stop(&w);
}

Test(resources, eight_thousand_connections_leave_nothing_behind, .timeout = 60)
{
    check_batches(20, raw_close, WEIR_EEOF);
}

Test(resources, three_thousand_resets_in_a_row_leave_nothing_behind, .timeout = 60)
{
    check_batches(8, raw_reset, WEIR_ECONNRESET);
}

Test(resources, resets_before_anything_is_said_leave_nothing_behind)
{
    world w = { .protocol.on_message = echo, .runtime_options.workers = 2 };
    world_start(&w);
    raw_close(world_connect(&w));
    WORLD_AWAIT(&w, w.closed == 1 && world_stats(&w).connections == 0); /* the listener has what it needs */
    unsigned descriptors = raw_descriptors();
    for (int i = 0; i < 3000; i++) raw_reset(world_connect(&w));
    WORLD_AWAIT(&w, w.opened + world_stats(&w).accept_errors == 3001 && w.closed == w.opened);
    WORLD_AWAIT(&w, world_stats(&w).connections == 0 && raw_descriptors() == descriptors);
    world_stop(&w);
}

/* ---- idle connections ---- */

/* Room for both ends of IDLE connections, or as many as there may be. */
static int idle_count(void)
{
    unsigned wanted = 2 * IDLE + 200, hard = host_hard_limit();
    unsigned limit = wanted < hard ? wanted : hard;
    if (host_descriptor_limit() < limit) cr_assert(host_limit_descriptors(limit));
    return limit < 1200 ? 0 : (int)(limit - 200) / 2;
}

Test(resources, an_idle_connection_holds_little_and_costs_nothing, .timeout = 60)
{
    int count = idle_count();
    if (!count) cr_skip_test("this process may have fewer than 1,200 descriptors");
    world w = { .protocol = { .on_message = echo, .framing = weir_framing_line() },
                .runtime_options = { .workers = 2, .max_connections = IDLE + 1000 },
                .listen_options.placement = WEIR_PLACEMENT_BALANCED };
    world_start(&w);
    raw_peer first = world_connect(&w);
    WORLD_AWAIT(&w, w.opened == 1);
    uint64_t memory = world_stats(&w).memory;
    for (int i = 0; i < count; i++) peers[i] = world_connect(&w);
    WORLD_AWAIT(&w, w.opened == (unsigned)count + 1);
    uint64_t each = (world_stats(&w).memory - memory) / (unsigned)count;
    /* A weir_conn of 160 bytes, a slot of 24, a socket, 16 of the world's, and what the tables of two workers round up.
     */
    cr_assert_leq(each, 160 + 24 + host_socket_size + 16 + 16, "%u bytes a connection", (unsigned)each);

    weir_sleep_ms(20);
    uint64_t passes = world_stats(&w).passes, cpu_us = host_cpu_us();
    weir_sleep_ms(500);
    cpu_us = host_cpu_us() - cpu_us;
    cr_assert_leq(world_stats(&w).passes, passes + 2, "the loops turn for nothing");
    cr_assert_lt(cpu_us, 20000 * RAW_SLOWDOWN, "%u us of CPU time in 0.5 s", (unsigned)cpu_us);

    raw_send(peers[count / 2], "hello\n", 6);
    char heard[6];
    raw_receive(peers[count / 2], heard, 6);
    for (int i = 0; i < count; i++) raw_close(peers[i]);
    raw_close(first);
    WORLD_AWAIT(&w, world_stats(&w).connections == 0);
    world_stop(&w);
}

Test(resources, deadlines_of_idle_connections_cost_next_to_nothing, .timeout = 60)
{
    enum { COUNT = 400 };
    world w = { .protocol = { .idle_timeout_ms = 60000, .handshake_timeout_ms = 50000 } };
    world_start(&w);
    for (int i = 0; i < COUNT; i++) peers[i] = world_connect(&w);
    WORLD_AWAIT(&w, w.opened == COUNT);
    weir_sleep_ms(20);
    uint64_t passes = world_stats(&w).passes;
    weir_sleep_ms(500);
    cr_assert_leq(world_stats(&w).passes, passes + 20);
    for (int i = 0; i < COUNT; i++) raw_close(peers[i]);
    world_stop(&w);
}

/* ---- the descriptor table ---- */

Test(resources, the_descriptor_limit_is_raised_to_what_max_connections_needs)
{
    weir_runtime *runtime;
    if (host_hard_limit() < 2000) cr_skip_test("this process may have fewer than 2,000 descriptors");
    cr_assert(host_limit_descriptors(256));
    cr_assert_eq(weir_runtime_create(&runtime, &(weir_runtime_options){ .workers = 2, .max_connections = 1000 }), 0);
    cr_assert_geq(host_descriptor_limit(), 1000 + 64, "for connections, and for all else");
    cr_assert_geq(host_descriptor_table(), 1000 + 64, "and the table is that large already");
    unsigned limit = host_descriptor_limit();
    weir_runtime_destroy(runtime);
    cr_assert_eq(weir_runtime_create(&runtime, &(weir_runtime_options){ .workers = 1, .max_connections = 10 }), 0);
    cr_assert_eq(host_descriptor_limit(), limit, "never lowered");
    weir_runtime_destroy(runtime);
}

Test(resources, more_connections_than_the_process_may_ever_have_are_refused)
{
    weir_runtime *runtime;
    host_lower_hard_limit(512);
    unsigned descriptors = raw_descriptors();
    cr_assert_eq(weir_runtime_create(&runtime, &(weir_runtime_options){ .workers = 1, .max_connections = 5000 }),
                 WEIR_ELIMIT);
    cr_assert_null(runtime);
    cr_assert_eq(weir_runtime_create(&runtime, &(weir_runtime_options){ .max_connections = UINT32_MAX }), WEIR_ELIMIT);
    cr_assert_eq(raw_descriptors(), descriptors);
    cr_assert_eq(weir_runtime_create(&runtime, &(weir_runtime_options){ .workers = 1, .max_connections = 300 }), 0);
    weir_runtime_destroy(runtime);
}

static char first_line[256];

static void keep_first(weir_log_level level, const char *text, void *data)
{
    (void)level;
    (void)data;
    if (!first_line[0]) (void)snprintf(first_line, sizeof first_line, "%s", text);
}

Test(resources, without_max_connections_as_many_as_descriptors_less_64)
{
    weir_runtime *runtime;
    cr_assert(host_limit_descriptors(1000));
    cr_assert_eq(weir_runtime_create(&runtime, &(weir_runtime_options){ .workers = 1, .log = keep_first }), 0);
    cr_assert_not_null(strstr(first_line, "936"), "%s", first_line);
    cr_assert_eq(host_descriptor_limit(), 1000);
    cr_assert_geq(host_descriptor_table(), 1000);
    weir_runtime_destroy(runtime);
}
