/* Dialers: made once, used again and again, and gone before or after their connections. What weir_connect refuses they
 * refuse too: refused_by_weir asks both. */
#include <stdio.h>
#include <string.h>

#include "core/connecting.h"

static weir_dialer *dialer_to(world *w, uint16_t port, const weir_connect_options *options)
{
    char address[32];
    weir_dialer *dialer = NULL;
    weir_protocol protocol = world_wrap(w, &w->protocol);
    (void)snprintf(address, sizeof address, "127.0.0.1:%u", port);
    int error = weir_dialer_create(w->runtime, address, &protocol, options, &dialer);
    cr_assert_eq(error, 0, "%s: %s", address, weir_error_name(error));
    cr_assert_not_null(dialer);
    return dialer;
}

static weir_conn_id dial(weir_dialer *dialer)
{
    weir_conn_id id = 0;
    int error = weir_dialer_connect(dialer, &id);
    cr_assert_eq(error, 0, "%s", weir_error_name(error));
    cr_assert_neq(id, 0);
    return id;
}

static void echo(weir_conn *conn, const void *bytes, size_t size)
{
    weir_send(conn, bytes, size);
}

static void say_hello(weir_conn *conn)
{
    weir_send(conn, "hello\n", 6);
}

/* ---- connecting ---- */

Test(dialer, opens_connection_after_connection_on_each_worker_in_turn)
{
    enum { CONNECTIONS = 40, WORKERS = 4 };
    world server = { .protocol.on_message = echo };
    world client = { .protocol = { .on_open = say_hello }, .runtime_options.workers = WORKERS, .no_listener = true };
    world_start(&server);
    world_start(&client);
    weir_dialer *dialer = dialer_to(&client, server.port, NULL);
    for (unsigned i = 1; i <= CONNECTIONS; i++) {
        weir_conn_id id = dial(dialer);
        WORLD_AWAIT(&client, client.message_bytes == i * UINT64_C(6));
        cr_assert_eq(client.id, id, "the id is the connection's");
    }
    cr_assert_eq(weir_dialer_connect(dialer, NULL), 0, "nobody need know its id");
    WORLD_AWAIT(&client, client.opened == CONNECTIONS + 1);
    for (unsigned i = 0; i < WORKERS; i++) {
        weir_stats stats;
        cr_assert_eq(weir_stats_read_worker(client.runtime, i, &stats), 0);
        cr_assert(stats.connected == CONNECTIONS / WORKERS || stats.connected == CONNECTIONS / WORKERS + 1);
    }
    weir_dialer_destroy(dialer);
    world_stop(&client);
    world_stop(&server);
}

static weir_address seen_peer, seen_local;
static unsigned seen_worker, seen_zeros;

typedef struct session {
    uint64_t words[5];
} session;

static void look(weir_conn *conn)
{
    session *own = world_session(conn);
    seen_peer = weir_conn_peer(conn);
    seen_local = weir_conn_local(conn);
    seen_worker = weir_conn_worker(conn);
    for (unsigned i = 0; i < 5; i++) seen_zeros += own->words[i] == 0;
    memset(own, 0xff, sizeof *own);
}

Test(dialer, needs_nothing_of_what_it_was_made_of)
{
    world server = { .no_listener = false };
    world client = { .protocol = { .on_open = look, .session_size = sizeof(session) },
                     .runtime_options.workers = 3,
                     .no_listener = true };
    world_start(&server);
    world_start(&client);
    char address[32], expected[32];
    weir_address locals[2] = { local_address("127.0.0.1:0"), local_address("127.0.0.1:0") };
    weir_protocol protocol = world_wrap(&client, &client.protocol);
    weir_connect_options options = { .local_addresses = locals, .local_address_count = 2, .worker = 2 };
    (void)snprintf(address, sizeof address, "127.0.0.1:%u", server.port);
    (void)snprintf(expected, sizeof expected, "%s", address);
    weir_dialer *dialer = NULL;
    cr_assert_eq(weir_dialer_create(client.runtime, address, &protocol, &options, &dialer), 0);
    memset(address, 'x', sizeof address - 1);
    memset(locals, 0xff, sizeof locals);
    memset(&protocol, 0xff, sizeof protocol);
    memset(&options, 0xff, sizeof options);
    for (unsigned i = 1; i <= 5; i++) {
        dial(dialer);
        WORLD_AWAIT(&client, client.opened == i);
        cr_assert_str_eq(seen_peer.text, expected);
        cr_assert_str_eq(seen_local.host, "127.0.0.1");
        cr_assert_eq(seen_worker, 1);
        cr_assert_eq(seen_zeros, 5 * i, "a new session each time");
        world_abort(&client, client.id); /* the next one gets its memory */
        WORLD_AWAIT(&client, client.closed == i);
    }
    weir_dialer_destroy(dialer);
    world_stop(&client);
    world_stop(&server);
}

Test(dialer, used_before_the_start_opens_after_it)
{
    world server = { .protocol.on_message = echo };
    world_start(&server);
    world client = { .protocol = { .on_open = say_hello }, .no_listener = true, .manual = true };
    world_start(&client);
    weir_dialer *dialer = dialer_to(&client, server.port, NULL);
    dial(dialer);
    dial(dialer);
    weir_dialer_destroy(dialer);
    cr_assert_eq(client.opened, 0);
    cr_assert_eq(world_stats(&client).connections, 2, "they count already");
    WORLD_AWAIT(&client, client.message_bytes == 12);
    world_stop(&client);
    world_stop(&server);
}

typedef struct caller {
    weir_dialer *dialer;
    weir_runtime *runtime;
    wr_thread thread;
} caller;

enum { CALLERS = 4, CALLS = 100 };

static void call(void *arg)
{
    const caller *c = arg;
    for (int i = 0; i < CALLS; i++) {
        weir_conn_id id = dial(c->dialer);
        cr_assert_eq(weir_send_to(c->runtime, id, "x", 1), 0);
        if (i % 2) cr_assert_eq(weir_close_id(c->runtime, id), 0);
    }
}

Test(dialer, used_by_several_threads_at_once_opens_all)
{
    world server = { .no_listener = false };
    world client = { .runtime_options.workers = 2, .no_listener = true };
    world_start(&server);
    world_start(&client);
    weir_dialer *dialer = dialer_to(&client, server.port, NULL);
    caller callers[CALLERS];
    for (int i = 0; i < CALLERS; i++) {
        callers[i] = (caller){ .dialer = dialer, .runtime = client.runtime };
        cr_assert_eq(wr_thread_start(&callers[i].thread, "caller", call, &callers[i]), 0);
    }
    for (int i = 0; i < CALLERS; i++) wr_thread_join(&callers[i].thread);
    weir_dialer_destroy(dialer); /* while most of them are on their way */
    WORLD_AWAIT(&client, client.opened + client.closed_unopened == CALLERS * CALLS);
    WORLD_AWAIT(&client, client.closed == CALLERS * CALLS / 2);
    world_stop(&client);
    world_stop(&server);
}

/* ---- its end, and theirs ---- */

Test(dialer, destroyed_while_its_connections_are_connecting_lets_them_come_to_their_end)
{
    uint16_t port;
    raw_peer listener = host_full_listener(&port);
    for (int manual = 0; manual < 2; manual++) {
        world w = { .no_listener = true, .manual = manual };
        world_start(&w);
        weir_dialer *dialer = dialer_to(&w, port, &(weir_connect_options){ .timeout_ms = 150 });
        dial(dialer);
        dial(dialer);
        weir_dialer_destroy(dialer);
        WORLD_AWAIT(&w, w.closed == 2);
        cr_assert_eq(w.closed_unopened, 2);
        cr_assert_eq(w.error, WEIR_ETIMEDOUT, "%s", weir_error_name(w.error));
        world_stop(&w);
    }
    raw_close(listener);
}

Test(dialer, destroyed_while_its_connections_are_open_lets_them_talk)
{
    world server = { .protocol.on_message = echo };
    world client = { .no_listener = true };
    world_start(&server);
    world_start(&client);
    weir_dialer *dialer = dialer_to(&client, server.port, NULL);
    weir_conn_id id = dial(dialer);
    WORLD_AWAIT(&client, client.opened == 1);
    weir_dialer_destroy(dialer);
    cr_assert_eq(world_send(&client, id, "still there", 11), 0);
    WORLD_AWAIT(&client, client.message_bytes == 11);
    world_close(&client, id);
    WORLD_AWAIT(&client, client.closed == 1);
    cr_assert_eq(client.error, WEIR_ECLOSED);
    world_stop(&client);
    world_stop(&server);
}

static weir_dialer *own;
static unsigned own_opened;

static void destroy_at_last(weir_conn *conn)
{
    if (++own_opened == 20) {
        weir_dialer_destroy(own);
        own = NULL;
    }
    weir_abort(conn);
}

static void dial_again(weir_conn *conn, weir_reason reason)
{
    (void)conn;
    (void)reason;
    if (own) dial(own);
}

Test(dialer, may_be_used_and_destroyed_in_callbacks_of_its_own_connections)
{
    world server = { .no_listener = false };
    world client = { .protocol = { .on_open = destroy_at_last, .on_close = dial_again },
                     .runtime_options.workers = 2,
                     .no_listener = true };
    world_start(&server);
    world_start(&client);
    own = dialer_to(&client, server.port, NULL);
    dial(own);
    WORLD_AWAIT(&client, client.closed == 20); /* world checks that no callback runs inside another */
    WORLD_AWAIT(&client, world_stats(&client).connections == 0);
    world_stop(&client);
    world_stop(&server);
}

Test(dialer, left_behind_goes_with_its_runtime)
{
    world server = { .no_listener = false };
    world_start(&server);
    for (int manual = 0; manual < 2; manual++) {
        world client = { .no_listener = true, .manual = manual };
        world_start(&client);
        dialer_to(&client, server.port, NULL); /* never used */
        weir_dialer *first = dialer_to(&client, server.port, NULL), *last = dialer_to(&client, server.port, NULL);
        dial(first);
        dial(last);
        WORLD_AWAIT(&client, client.opened == 2);
        dial(first); /* and one that may still be connecting */
        weir_dialer_destroy(last);
        world_stop(&client); /* which sees that all memory has come back */
    }
    world_stop(&server);
}

/* ---- refused ---- */

Test(dialer, without_an_argument_that_it_needs_is_refused)
{
    world w = { .no_listener = true, .manual = true };
    const weir_protocol protocol = { 0 };
    weir_dialer *dialer = (weir_dialer *)&w;
    weir_failure failure = { 0 };
    world_start(&w);
    cr_assert_eq(weir_dialer_create(NULL, "127.0.0.1:1", &protocol, NULL, &dialer), WEIR_EINVAL);
    cr_assert_null(dialer);
    cr_assert_eq(weir_dialer_create(w.runtime, NULL, &protocol, NULL, &dialer), WEIR_EINVAL);
    cr_assert_eq(weir_dialer_create(w.runtime, "127.0.0.1:1", NULL, NULL, &dialer), WEIR_EINVAL);
    cr_assert_eq(
        weir_dialer_create(w.runtime, "127.0.0.1:1", &protocol, &(weir_connect_options){ .failure = &failure }, NULL),
        WEIR_EINVAL);
    cr_assert_str_eq(failure.text, "connect 127.0.0.1:1: an argument is NULL");
    cr_assert_eq(weir_dialer_connect(NULL, NULL), WEIR_EINVAL);
    weir_dialer_destroy(NULL);
    world_stop(&w);
}

Test(dialer, beyond_max_connections_is_refused_until_one_has_gone)
{
    world server = { .no_listener = false };
    world client = { .no_listener = true, .runtime_options.max_connections = 2 };
    world_start(&server);
    world_start(&client);
    weir_dialer *dialer = dialer_to(&client, server.port, NULL);
    weir_conn_id first = dial(dialer), id = 12345;
    dial(dialer);
    cr_assert_eq(weir_dialer_connect(dialer, &id), WEIR_ELIMIT);
    cr_assert_eq(id, 12345, "out is touched");
    WORLD_AWAIT(&client, client.opened == 2);
    cr_assert_eq(weir_abort_id(client.runtime, first), 0);
    WORLD_AWAIT(&client, world_stats(&client).connections == 1);
    dial(dialer);
    WORLD_AWAIT(&client, client.opened == 3);
    weir_dialer_destroy(dialer);
    world_stop(&client);
    world_stop(&server);
}

static int stopped_error;

static void dial_too_late(weir_conn *conn)
{
    (void)conn;
    stopped_error = weir_dialer_connect(own, NULL);
}

Test(dialer, is_refused_when_the_runtime_stops)
{
    world server = { .no_listener = false };
    world client = { .protocol.on_stop = dial_too_late, .no_listener = true };
    world_start(&server);
    world_start(&client);
    own = dialer_to(&client, server.port, NULL);
    dial(own);
    WORLD_AWAIT(&client, client.opened == 1);
    weir_runtime_stop(client.runtime);
    WORLD_AWAIT(&client, client.closed == 1);
    cr_assert_eq(stopped_error, WEIR_ESTOPPED);
    cr_assert_eq(weir_dialer_connect(own, NULL), WEIR_ESTOPPED);
    weir_dialer_destroy(own); /* also then */
    world_stop(&client);
    world_stop(&server);
}

static void check_refused(world *w, weir_dialer *dialer, int allocations)
{
    uint64_t used = w->memory.used;
    for (int after = 0; after < allocations; after++) {
        weir_conn_id id = 12345;
        world_refuse(w, after);
        cr_assert_eq(weir_dialer_connect(dialer, &id), WEIR_ENOMEM, "after %d", after);
        cr_assert_eq(id, 12345);
        cr_assert_eq(w->memory.used, used);
        cr_assert_eq(world_stats(w).connections, 0);
    }
    world_refuse(w, -1);
}

Test(dialer, without_memory_is_refused_wherever_it_runs_out)
{
    world w = { .no_listener = true, .manual = true };
    const weir_protocol protocol = { 0 };
    weir_dialer *numeric = NULL, *named = NULL;
    world_start(&w);
    uint64_t used = w.memory.used;
    world_refuse(&w, 0);
    cr_assert_eq(weir_dialer_create(w.runtime, "127.0.0.1:1", &protocol, NULL, &numeric), WEIR_ENOMEM);
    cr_assert_null(numeric);
    cr_assert_eq(w.memory.used, used);
    world_refuse(&w, -1);
    cr_assert_eq(weir_dialer_create(w.runtime, "name.invalid:1", &protocol, NULL, &named), 0);
    check_refused(&w, named, 3); /* for its lookup, for the connection, for its slot */
    numeric = dialer_to(&w, host_free_port(), NULL);
    check_refused(&w, numeric, 2);
    dial(numeric);
    WORLD_AWAIT(&w, w.closed == 1);
    cr_assert_eq(w.error, WEIR_ECONNREFUSED);
    world_stop(&w);
}
