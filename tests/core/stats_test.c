/* Each counter counts what it says, and the text of all of them is Prometheus'. */
#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/connecting.h"
#include "core/prometheus.h"

/* ---- the counters: what accepting and limits count is in admission_test.c ---- */

static void echo(weir_conn *conn, const void *bytes, size_t size)
{
    weir_send(conn, bytes, size);
}

Test(stats, a_new_runtime_has_done_nothing)
{
    world w = { .manual = true, .no_listener = true };
    world_start(&w);
    weir_stats stats = world_stats(&w);
#define IS_ZERO(name, kind, help) \
    if (strcmp(#name, "memory") != 0) cr_expect_eq(stats.name, 0, #name);
    WEIR_STATS(IS_ZERO)
#undef IS_ZERO
    for (int i = 0; i < WEIR_STATS_REASONS; i++) cr_expect_eq(stats.closed[i], 0);
    world_stop(&w);
}

Test(stats, connections_accepted_connected_and_closed_by_reason)
{
    world server = { .no_listener = false }, client = { .no_listener = true };
    world_start(&server);
    world_start(&client);
    weir_conn_id first = 0; /* of the server's; the client closes its last one */
    for (unsigned i = 1; i <= 5; i++) {
        connect_to(&client, server.port, NULL);
        WORLD_AWAIT(&client, client.opened == i);
        WORLD_AWAIT(&server, server.opened == i);
        if (!first) first = server.id;
        cr_assert_eq(world_stats(&client).connections, i);
        cr_assert_eq(world_stats(&server).connections, i);
    }
    cr_assert_eq(world_stats(&client).connected, 5);
    cr_assert_eq(world_stats(&client).accepted, 0);
    cr_assert_eq(world_stats(&server).accepted, 5);
    cr_assert_eq(world_stats(&server).connected, 0);
    world_close(&client, client.id);
    WORLD_AWAIT(&server, server.closed == 1 && world_stats(&server).connections == 4);
    world_abort(&server, first);
    WORLD_AWAIT(&server, server.closed == 2);
    connect_to(&client, host_free_port(), NULL);
    WORLD_AWAIT(&client, client.closed == 3);
    cr_assert_eq(world_stats(&client).connect_errors, 1);
    cr_assert_eq(world_closed(&client, WEIR_ECLOSED), 1);
    cr_assert_eq(world_closed(&client, WEIR_ECONNREFUSED), 1);
    cr_assert_eq(world_closed(&client, WEIR_ECONNRESET) + world_closed(&client, WEIR_EEOF), 1);
    cr_assert_eq(world_closed(&server, WEIR_EEOF), 1);
    cr_assert_eq(world_closed(&server, WEIR_EABORTED), 1);
    WORLD_AWAIT(&client, world_stats(&client).connections == 3);
    world_stop(&client);
    world_stop(&server);
}

Test(stats, bytes_and_messages_of_both_directions)
{
    world w = { .protocol = { .framing = weir_framing_line(), .on_message = echo }, .manual = true };
    world_start(&w);
    raw_peer peer = world_connect(&w);
    raw_send(peer, "one\ntwo\nthr", 11);
    WORLD_AWAIT(&w, world_stats(&w).bytes_received == 11);
    cr_assert_eq(world_stats(&w).messages_received, 2, "a whole message");
    cr_assert_eq(world_stats(&w).bytes_sent, 8);
    cr_assert_eq(world_stats(&w).sends, 1, "both in one write");
    raw_send(peer, "ee\n", 3);
    WORLD_AWAIT(&w, world_stats(&w).bytes_sent == 14);
    cr_assert_eq(world_stats(&w).messages_received, 3);
    cr_assert_eq(world_stats(&w).bytes_received, 14);
    cr_assert_eq(world_stats(&w).sends, 2);
    cr_assert_eq(world_stats(&w).queued, 0);
    raw_close(peer);
    world_stop(&w);
}

static void ignore_slow(weir_conn *conn, size_t queued)
{
    (void)conn;
    (void)queued;
}

Test(stats, queued_dropped_and_dead_sends)
{
    static char block[8 << 20];
    world w = { .protocol = { .on_slow = ignore_slow,
                              .outbox = { .policy = WEIR_SLOW_NOTIFY, .hard_limit = sizeof block } } };
    world_start(&w);
    raw_peer peer = world_connect_small(&w);
    WORLD_AWAIT(&w, w.opened == 1);
    cr_assert_eq(world_send(&w, w.id, block, sizeof block), 0);
    WORLD_AWAIT(&w, world_stats(&w).queued > 0);
    cr_assert_eq(world_stats(&w).queued, world_queued(&w, w.id));
    cr_assert_eq(world_send(&w, w.id, block, sizeof block), WEIR_ESLOW);
    cr_assert_eq(world_stats(&w).sends_dropped, 1, "refused on the worker");
    cr_assert_eq(weir_send_to(w.runtime, w.id, block, sizeof block), 0);
    WORLD_AWAIT(&w, world_stats(&w).sends_dropped == 2);
    cr_assert_eq(weir_send_to(w.runtime, w.id, block, sizeof block + 1), WEIR_ESLOW);
    cr_assert_eq(world_stats(&w).sends_dropped, 3, "refused on this thread");
    raw_reset(peer);
    WORLD_AWAIT(&w, world_stats(&w).connections == 0);
    cr_assert_eq(world_stats(&w).queued, 0);
    cr_assert_eq(world_stats(&w).sends_dead, 0);
    for (unsigned i = 1; i <= 3; i++) {
        cr_assert_eq(weir_send_to(w.runtime, w.id, "x", 1), 0);
        WORLD_AWAIT(&w, world_stats(&w).sends_dead == i);
    }
    world_stop(&w);
}

static void nothing(weir_runtime *runtime, void *data)
{
    (void)runtime;
    (void)data;
}

Test(stats, posts_and_passes)
{
    world w = { .manual = true, .no_listener = true };
    world_start(&w);
    for (int i = 0; i < 10; i++) cr_assert_eq(weir_post(w.runtime, 0, nothing, NULL), 0);
    world_settle(&w);
    weir_stats stats = world_stats(&w);
    cr_assert_eq(stats.posts, 10);
    cr_assert_gt(stats.passes, 0);
    (void)weir_poll(w.runtime, 0);
    cr_assert_gt(world_stats(&w).passes, stats.passes);
    world_stop(&w);
}

static void take_three_ms(weir_runtime *runtime, void *data)
{
    (void)runtime;
    (void)data;
    weir_sleep_ms(3);
}

Test(stats, the_histogram_holds_each_pass_where_its_time_belongs)
{
    world w = { .manual = true, .no_listener = true };
    world_start(&w);
    for (int i = 0; i < 5; i++) {
        cr_assert_eq(weir_post(w.runtime, 0, take_three_ms, NULL), 0);
        world_settle(&w);
    }
    weir_stats stats = world_stats(&w);
    uint64_t sum = 0, slow = 0;
    for (int i = 0; i < WEIR_STATS_BUCKETS; i++) {
        sum += stats.pass_us[i];
        if (i >= 12) slow += stats.pass_us[i]; /* from 2.048 ms on */
    }
    cr_assert_eq(sum, stats.passes);
    cr_assert_geq(slow, 5);
    cr_assert_geq(stats.pass_ns_sum, 15000000);
    world_stop(&w);
}

Test(stats, memory_is_what_connections_and_their_outboxes_hold)
{
    static char block[100000];
    world w = { .protocol = { .session_size = 10000, .outbox.hard_limit = 64 << 20 } };
    world_start(&w);
    raw_peer peer = world_connect_small(&w);
    WORLD_AWAIT(&w, w.opened == 1);
    uint64_t one = world_stats(&w).memory;
    cr_assert_gt(one, 10000);
    raw_peer second = world_connect_small(&w);
    WORLD_AWAIT(&w, w.opened == 2);
    uint64_t two = world_stats(&w).memory;
    cr_assert_geq(two, one + 10000, "its session");
    cr_assert_leq(two, one + 10000 + 400);
    /* More than the kernel takes. */
    for (int i = 0; i < 400 && world_stats(&w).queued < 2000000; i++) (void)world_send(&w, w.id, block, sizeof block);
    weir_stats before = world_stats(&w);
    cr_assert_geq(before.queued, 2000000);
    for (int i = 0; i < 100; i++) cr_assert_eq(world_send(&w, w.id, block, 1000), 0);
    /* Some systems still take a little, after a while. */
    WORLD_AWAIT(&w, world_stats(&w).queued + world_stats(&w).bytes_sent == before.queued + before.bytes_sent + 100000);
    cr_assert_geq(world_stats(&w).memory, two + 100000, "its outbox");
    raw_reset(second);
    WORLD_AWAIT(&w, world_stats(&w).connections == 1);
    cr_assert_leq(world_stats(&w).memory, one + 2 * 1024 * 1024, "and back, but for what the pools keep");
    raw_close(peer);
    world_stop(&w);
}

Test(stats, of_each_worker_add_up)
{
    enum { WORKERS = 3, PEERS = 60 };
    static raw_peer peers[PEERS];
    world w = { .protocol.on_message = echo, .runtime_options.workers = WORKERS };
    world_start(&w);
    for (int i = 0; i < PEERS; i++) {
        peers[i] = world_connect(&w);
        raw_send(peers[i], "hello", 5);
    }
    WORLD_AWAIT(&w, world_stats(&w).bytes_sent == (uint64_t)PEERS * 5);
    weir_stats sum = { 0 }, one;
    for (unsigned i = 0; i < WORKERS; i++) {
        cr_assert_eq(weir_stats_read_worker(w.runtime, i, &one), 0);
        sum.accepted += one.accepted;
        sum.connections += one.connections;
        sum.bytes_sent += one.bytes_sent;
    }
    cr_assert_eq(sum.accepted, PEERS);
    cr_assert_eq(sum.connections, PEERS);
    cr_assert_eq(sum.bytes_sent, PEERS * 5);
    one.accepted = 77;
    cr_assert_eq(weir_stats_read_worker(w.runtime, WORKERS, &one), WEIR_EINVAL);
    cr_assert_eq(one.accepted, 0, "no numbers of another worker");
    for (int i = 0; i < PEERS; i++) raw_close(peers[i]);
    world_stop(&w);
}

/* ---- the text ---- */

static char text[256 * 1024];

/* A runtime with something in most counters, that stands still. */
static void start_busy(world *w)
{
    *w = (world){ .protocol.on_message = echo, .manual = true };
    world_start(w);
    raw_peer peer = world_connect(w), other = world_connect(w);
    raw_send(peer, "hello", 5);
    WORLD_AWAIT(w, world_stats(w).bytes_sent == 5);
    raw_reset(other);
    raw_close(peer);
    WORLD_AWAIT(w, w->closed == 2);
    world_settle(w);
}

Test(stats, the_text_is_well_formed_and_has_every_counter)
{
    char series[128];
    world w;
    start_busy(&w);
    cr_assert_lt(weir_stats_text(w.runtime, text, sizeof text), sizeof text);
    prometheus_check(text);
    weir_stats stats = world_stats(&w);
#define SUFFIX_counter "_total"
#define SUFFIX_gauge   ""
#define IS_THERE(name, kind, help) \
    cr_expect_eq(prometheus_value(text, "weir_" #name SUFFIX_##kind "{worker=\"0\"}"), (double)stats.name, #name);
    WEIR_STATS(IS_THERE)
#undef IS_THERE
    for (int i = 1; i < WEIR_STATS_REASONS; i++) {
        if (!stats.closed[i]) continue;
        (void)snprintf(series, sizeof series, "weir_closed_total{worker=\"0\",reason=\"%s\"}",
                       weir_error_name(-i) + strlen("WEIR_"));
        cr_expect_eq(prometheus_value(text, series), (double)stats.closed[i], "%s", series);
    }
    cr_expect_eq(prometheus_value(text, "weir_pass_seconds_count{worker=\"0\"}"), (double)stats.passes);
    double sum = prometheus_value(text, "weir_pass_seconds_sum{worker=\"0\"}");
    cr_expect(sum > (double)stats.pass_ns_sum / 1e9 - 1e-8 && sum < (double)stats.pass_ns_sum / 1e9 + 1e-8);
    world_stop(&w);
}

Test(stats, the_text_of_many_workers_names_each)
{
    world w = { .runtime_options.workers = 16, .no_listener = true };
    world_start(&w);
    cr_assert_lt(weir_stats_text(w.runtime, text, sizeof text), sizeof text);
    prometheus_check(text);
    for (unsigned i = 0; i < 16; i++) {
        char series[64];
        (void)snprintf(series, sizeof series, "weir_accepted_total{worker=\"%u\"}", i);
        cr_assert_eq(prometheus_value(text, series), 0);
    }
    world_stop(&w);
}

Test(stats, the_text_is_cut_as_snprintf_cuts)
{
    static char cut[256 * 1024];
    world w;
    start_busy(&w);
    size_t length = weir_stats_text(w.runtime, text, sizeof text);
    cr_assert_eq(strlen(text), length);
    cr_assert_eq(weir_stats_text(w.runtime, NULL, 0), length);
    for (size_t capacity = 0; capacity <= length + 2; capacity += capacity < 300 || capacity > length - 300 ? 1 : 97) {
        memset(cut, '#', length + 16);
        cr_assert_eq(weir_stats_text(w.runtime, cut, capacity), length, "capacity %zu", capacity);
        size_t kept = capacity == 0 ? 0 : capacity > length ? length : capacity - 1;
        if (capacity > 0) cr_assert_eq(cut[kept], 0, "capacity %zu", capacity);
        cr_assert_arr_eq(cut, text, kept, "capacity %zu", capacity);
        for (size_t i = capacity; i < length + 16; i++) cr_assert_eq(cut[i], '#', "written beyond %zu", capacity);
    }
    world_stop(&w);
}

Test(stats, without_memory_for_the_text_there_is_none)
{
    world w = { .no_listener = true, .manual = true };
    world_start(&w);
    world_refuse(&w, 0);
    memset(text, '#', 16);
    cr_assert_eq(weir_stats_text(w.runtime, text, sizeof text), 0);
    cr_assert_eq(text[0], 0);
    world_refuse(&w, -1);
    world_stop(&w);
}

/* Embedders set a locale for their players; the format is the machines'. */
Test(stats, the_text_has_points_wherever_the_embedder_lives)
{
    if (!host_set_comma_locale()) cr_skip_test("no locale with a decimal comma can be had here");
    world w;
    start_busy(&w);
    char comma[8];
    (void)snprintf(comma, sizeof comma, "%.1f", 0.5);
    cr_assert_str_eq(comma, "0,5");
    cr_assert_lt(weir_stats_text(w.runtime, text, sizeof text), sizeof text);
    cr_assert_not_null(setlocale(LC_ALL, "C")); /* for the checker's own numbers */
    prometheus_check(text);
    world_stop(&w);
}
