/* Opening connections: that they open, why they do not, and that each ends exactly once. Servers are raw ones, or
 * worlds of their own. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "core/connecting.h"

#define COUNT(array) (sizeof(array) / sizeof *(array))

static void echo(weir_conn *conn, const void *bytes, size_t size)
{
    weir_send(conn, bytes, size);
}

static void say_hello(weir_conn *conn)
{
    weir_send(conn, "hello\n", 6);
}

/* ---- that they open ---- */

Test(connector, opens_and_talks_both_ways)
{
    world server = { .protocol = { .framing = weir_framing_line(), .on_message = echo } };
    world client = { .protocol = { .framing = weir_framing_line(), .on_open = say_hello },
                     .no_listener = true,
                     .keeps = true };
    world_start(&server);
    world_start(&client);
    weir_conn_id id = connect_to(&client, server.port, NULL);
    WORLD_AWAIT(&client, client.messages == 1);
    cr_assert(world_message_is(&client, 0, "hello\n", 6));
    cr_assert_eq(client.id, id, "the id of weir_connect is the connection's");
    cr_assert_eq(world_stats(&client).connected, 1);
    cr_assert_eq(world_stats(&client).connections, 1);
    world_close(&client, id);
    WORLD_AWAIT(&client, client.closed == 1);
    cr_assert_eq(client.error, WEIR_ECLOSED);
    WORLD_AWAIT(&server, server.error == WEIR_EEOF);
    world_stop(&client);
    world_stop(&server);
}

static weir_address seen_peer, seen_local, closed_peer;

static void look(weir_conn *conn)
{
    seen_peer = weir_conn_peer(conn);
    seen_local = weir_conn_local(conn);
}

static void look_again(weir_conn *conn, weir_reason reason)
{
    (void)reason;
    closed_peer = weir_conn_peer(conn);
}

Test(connector, knows_both_of_its_ends)
{
    uint16_t port;
    world w = { .protocol = { .on_open = look, .on_close = look_again }, .no_listener = true };
    raw_peer listener = raw_listen(8, &port);
    world_start(&w);
    connect_to(&w, port, NULL);
    raw_peer peer = raw_accept(listener);
    WORLD_AWAIT(&w, w.opened == 1);
    char expected[32];
    (void)snprintf(expected, sizeof expected, "127.0.0.1:%u", port);
    cr_assert_str_eq(seen_peer.text, expected);
    cr_assert_str_eq(seen_local.host, "127.0.0.1");
    cr_assert_neq(seen_local.port, 0);
    cr_assert_neq(seen_local.port, port);
    raw_close(peer);
    WORLD_AWAIT(&w, w.closed == 1);
    cr_assert_str_eq(closed_peer.text, expected);
    raw_close(listener);
    world_stop(&w);
}

Test(connector, opens_over_ipv6)
{
    if (!host_has_ipv6()) cr_skip_test("there is no ::1 here");
    world server = { .protocol.on_message = echo, .address = "[::1]:0" };
    world client = { .protocol = { .on_open = say_hello }, .no_listener = true };
    world_start(&server);
    world_start(&client);
    weir_protocol protocol = world_wrap(&client, &client.protocol);
    cr_assert_eq(weir_connect(client.runtime, weir_listener_address(server.listener).text, &protocol, NULL, NULL), 0);
    WORLD_AWAIT(&client, client.message_bytes == 6);
    world_stop(&client);
    world_stop(&server);
}

Test(connector, opens_over_a_path_and_tells_a_missing_file_from_a_dead_one)
{
    char path[HOST_PATH_MAX], address[HOST_PATH_MAX + 8];
    host_path(path);
    (void)snprintf(address, sizeof address, "unix:%s", path);
    world client = { .protocol = { .on_open = say_hello, .on_close = look_again }, .no_listener = true };
    world_start(&client);
    weir_protocol protocol = world_wrap(&client, &client.protocol);
    cr_assert_eq(weir_connect(client.runtime, address, &protocol, NULL, NULL), 0);
    WORLD_AWAIT(&client, client.closed == 1);
    cr_assert_eq(client.error, WEIR_ENOENT);
    cr_assert_eq(client.system_error, ENOENT);
    cr_assert_str_eq(closed_peer.text, address);
    host_leave_dead_socket(path);
    cr_assert_eq(weir_connect(client.runtime, address, &protocol, NULL, NULL), 0);
    WORLD_AWAIT(&client, client.closed == 2);
    cr_assert_eq(client.error, WEIR_ECONNREFUSED);
    cr_assert_eq(client.opened, 0);
    world server = { .protocol.on_message = echo, .address = address };
    world_start(&server);
    cr_assert_eq(weir_connect(client.runtime, address, &protocol, NULL, NULL), 0);
    WORLD_AWAIT(&client, client.message_bytes == 6);
    world_stop(&client);
    world_stop(&server);
}

Test(connector, opens_hundreds_at_once_each_with_its_worker_in_turn)
{
    enum { CONNECTIONS = 400, WORKERS = 4 };
    world server = { .protocol.on_message = echo };
    world client = { .protocol = { .on_open = say_hello }, .runtime_options.workers = WORKERS, .no_listener = true };
    world_start(&server);
    world_start(&client);
    for (int i = 0; i < CONNECTIONS; i++) connect_to(&client, server.port, NULL);
    WORLD_AWAIT(&client, client.message_bytes == (uint64_t)CONNECTIONS * 6);
    for (unsigned i = 0; i < WORKERS; i++) {
        weir_stats stats;
        cr_assert_eq(weir_stats_read_worker(client.runtime, i, &stats), 0);
        cr_assert_eq(stats.connected, CONNECTIONS / WORKERS);
    }
    world_stop(&client);
    world_stop(&server);
}

static unsigned seen_worker;

static void look_at_worker(weir_conn *conn)
{
    seen_worker = weir_conn_worker(conn);
}

Test(connector, opens_on_the_worker_that_was_asked_for)
{
    world server = { .no_listener = false };
    world client = { .protocol = { .on_open = look_at_worker }, .runtime_options.workers = 3, .no_listener = true };
    world_start(&server);
    world_start(&client);
    for (unsigned i = 0; i < 9; i++) {
        uint32_t worker = 3 - i % 3;
        connect_to(&client, server.port, &(weir_connect_options){ .worker = worker });
        WORLD_AWAIT(&client, client.opened == i + 1);
        cr_assert_eq(seen_worker, worker - 1);
    }
    world_stop(&client);
    world_stop(&server);
}

/* ---- when and where it is called ---- */

Test(connector, called_before_the_start_opens_after_it)
{
    world server = { .protocol.on_message = echo };
    world_start(&server);
    world client = { .protocol = { .on_open = say_hello }, .no_listener = true, .manual = true };
    world_start(&client);
    connect_to(&client, server.port, NULL);
    weir_sleep_ms(10);
    cr_assert_eq(client.opened, 0);
    cr_assert_eq(world_stats(&client).connections, 1, "it counts already");
    WORLD_AWAIT(&client, client.message_bytes == 6);
    world_stop(&client);
    world_stop(&server);
}

static uint16_t next_port;

static void connect_on(weir_conn *conn)
{
    world *w = world_of(conn);
    if (w->opened < 20) connect_to(w, next_port, NULL);
}

Test(connector, called_in_a_callback_opens_from_the_loop)
{
    world server = { .no_listener = false };
    world client = { .protocol = { .on_open = connect_on }, .runtime_options.workers = 2, .no_listener = true };
    world_start(&server);
    world_start(&client);
    next_port = server.port;
    connect_to(&client, server.port, NULL);
    WORLD_AWAIT(&client, client.opened >= 21); /* world checks that no callback runs inside another */
    world_stop(&client);
    world_stop(&server);
}

typedef struct caller {
    world *w;
    uint16_t port;
    wr_thread thread;
} caller;

enum { CALLERS = 4, CALLS = 100 };

static void call(void *arg)
{
    caller *c = arg;
    for (int i = 0; i < CALLS; i++) {
        weir_conn_id id = connect_to(c->w, c->port, NULL);
        cr_assert_eq(weir_send_to(c->w->runtime, id, "x", 1), 0);
        if (i % 2) cr_assert_eq(weir_close_id(c->w->runtime, id), 0);
    }
}

Test(connector, called_by_several_threads_at_once_opens_all)
{
    world server = { .no_listener = false };
    world client = { .runtime_options.workers = 2, .no_listener = true };
    world_start(&server);
    world_start(&client);
    caller callers[CALLERS];
    for (int i = 0; i < CALLERS; i++) {
        callers[i] = (caller){ .w = &client, .port = server.port };
        cr_assert_eq(wr_thread_start(&callers[i].thread, "caller", call, &callers[i]), 0);
    }
    for (int i = 0; i < CALLERS; i++) wr_thread_join(&callers[i].thread);
    WORLD_AWAIT(&client, client.opened + client.closed_unopened == CALLERS * CALLS);
    WORLD_AWAIT(&client, client.closed == CALLERS * CALLS / 2);
    WORLD_AWAIT(&server, server.opened >= CALLERS * CALLS / 2);
    world_stop(&client);
    world_stop(&server);
}

static int connect_error;

static void connect_too_late(weir_conn *conn)
{
    connect_error = weir_connect(weir_conn_runtime(conn), "127.0.0.1:1", &(weir_protocol){ 0 }, NULL, NULL);
}

Test(connector, is_refused_when_the_runtime_stops)
{
    uint16_t port;
    raw_peer listener = raw_listen(8, &port);
    world w = { .protocol.on_stop = connect_too_late, .no_listener = true };
    world_start(&w);
    connect_to(&w, port, NULL);
    WORLD_AWAIT(&w, w.opened == 1);
    weir_runtime_stop(w.runtime);
    WORLD_AWAIT(&w, w.stopped == 1);
    cr_assert_eq(connect_error, WEIR_ESTOPPED);
    refused_by_weir(&w, "127.0.0.1:1", (weir_connect_options){ 0 }, WEIR_ESTOPPED, "stopping");
    raw_close(listener);
    world_stop(&w);
}

/* ---- what is sent before it is there ---- */

Test(connector, what_is_sent_to_its_id_before_it_is_there_arrives_when_it_is)
{
    for (int round = 0; round < 50; round++) {
        uint16_t port;
        raw_peer listener = raw_listen(8, &port);
        world w = { .protocol.on_open = look, .no_listener = true, .manual = round % 2 };
        world_start(&w);
        weir_conn_id id = connect_to(&w, port, NULL);
        cr_assert_eq(weir_send_to(w.runtime, id, "second,", 7), 0);
        cr_assert_eq(weir_send_to(w.runtime, id, "third", 5), 0);
        raw_peer peer = raw_accept(listener);
        char heard[12];
        raw_receive(peer, heard, sizeof heard);
        cr_assert_eq(w.opened, 1, "after on_open");
        cr_assert_arr_eq(heard, "second,third", sizeof heard);
        raw_close(peer);
        raw_close(listener);
        WORLD_AWAIT(&w, w.closed == 1);
        cr_assert_eq(world_stats(&w).queued, 0);
        world_stop(&w);
    }
}

Test(connector, what_is_sent_to_one_that_never_opens_is_dropped)
{
    uint16_t port;
    world w = { .no_listener = true };
    world_start(&w);
    raw_peer listener = host_full_listener(&port);
    static char megabyte[1000000];
    weir_conn_id id = connect_to(&w, port, &(weir_connect_options){ .timeout_ms = 1000 });
    cr_assert_eq(weir_send_to(w.runtime, id, megabyte, sizeof megabyte), 0);
    WORLD_AWAIT(&w, w.closed == 1);
    cr_assert_eq(w.error, WEIR_ETIMEDOUT);
    cr_assert_eq(world_stats(&w).queued, 0);
    cr_assert_eq(weir_send_to(w.runtime, id, "x", 1), 0);
    WORLD_AWAIT(&w, world_stats(&w).sends_dead == 1);
    raw_close(listener);
    world_stop(&w);
}
