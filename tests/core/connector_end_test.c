/* Connections that do not open: each ends with its reason, once, and leaves nothing behind. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "core/connecting.h"

#define COUNT(array) (sizeof(array) / sizeof *(array))

static uint64_t now_ms(void)
{
    return wr_os_now_ns() / 1000000;
}

static void check_unopened(world *w, unsigned count, int error)
{
    WORLD_AWAIT(w, w->closed == count);
    cr_assert_eq(w->opened, 0);
    cr_assert_eq(w->closed_unopened, count);
    cr_assert_eq(w->error, error, "%s", weir_error_name(w->error));
    cr_assert_eq(world_closed(w, error), count);
    cr_assert_eq(world_stats(w).connect_errors, count);
    cr_assert_eq(world_stats(w).connected, 0);
    WORLD_AWAIT(w, world_stats(w).connections == 0);
}

Test(connector_end, refused_by_the_peer_has_on_close_alone)
{
    for (int manual = 0; manual < 2; manual++) {
        world w = { .no_listener = true, .manual = manual };
        world_start(&w);
        connect_to(&w, host_free_port(), NULL);
        check_unopened(&w, 1, WEIR_ECONNREFUSED);
        cr_assert_eq(w.system_error, host_codes.connection_refused);
        world_stop(&w);
    }
}

Test(connector_end, an_unanswered_one_times_out_when_it_was_told_to)
{
    uint16_t port;
    raw_peer listener = host_full_listener(&port);
    for (int manual = 0; manual < 2; manual++) {
        world w = { .no_listener = true, .manual = manual };
        world_start(&w);
        uint64_t before_ms = now_ms();
        connect_to(&w, port, &(weir_connect_options){ .timeout_ms = 150 });
        check_unopened(&w, 1, WEIR_ETIMEDOUT);
        uint64_t after_ms = now_ms();
        cr_assert_geq(after_ms - before_ms, 149, "%u ms", (unsigned)(after_ms - before_ms));
        cr_assert_lt(after_ms - before_ms, 150 + RAW_PATIENCE_MS / 4);
        world_stop(&w);
    }
    raw_close(listener);
}

Test(connector_end, closed_or_aborted_by_its_id_while_it_is_connecting)
{
    uint16_t port;
    raw_peer listener = host_full_listener(&port);
    unsigned descriptors = 0;
    for (int manual = 0; manual < 2; manual++) {
        world w = { .no_listener = true, .manual = manual };
        world_start(&w);
        descriptors = raw_descriptors();
        weir_conn_id closed = connect_to(&w, port, NULL);
        WORLD_AWAIT(&w, raw_descriptors() == descriptors + 1); /* on its way */
        cr_assert_eq(weir_close_id(w.runtime, closed), 0);
        cr_assert_eq(weir_close_id(w.runtime, closed), 0);
        check_unopened(&w, 1, WEIR_ECLOSED);
        weir_conn_id aborted = connect_to(&w, port, NULL);
        WORLD_AWAIT(&w, raw_descriptors() == descriptors + 1);
        cr_assert_eq(weir_abort_id(w.runtime, aborted), 0);
        cr_assert_eq(weir_close_id(w.runtime, aborted), 0);
        WORLD_AWAIT(&w, w.closed == 2);
        cr_assert_eq(w.error, WEIR_EABORTED, "the first reason stands");
        cr_assert_eq(w.opened, 0);
        cr_assert_eq(raw_descriptors(), descriptors);
        world_stop(&w);
    }
    raw_close(listener);
}

Test(connector_end, closed_before_its_worker_knew_it)
{
    world w = { .no_listener = true, .manual = true };
    world_start(&w);
    uint16_t port;
    raw_peer listener = raw_listen(8, &port);
    weir_conn_id first = connect_to(&w, port, NULL), second = connect_to(&w, port, NULL);
    cr_assert_eq(weir_close_id(w.runtime, first), 0);
    cr_assert_eq(weir_abort_id(w.runtime, second), 0);
    WORLD_AWAIT(&w, w.closed == 2);
    WORLD_HOLDS(&w, 20, w.closed == 2);
    cr_assert_eq(world_closed(&w, WEIR_ECLOSED), 1);
    cr_assert_eq(world_closed(&w, WEIR_EABORTED), 1);
    raw_close(listener);
    world_stop(&w);
}

/* ---- its end and its opening in one pass of the loop ---- */

static weir_protocol victim_protocol;
static uint16_t victim_port;
static bool victim_is_closed;

/* On the loopback the connect is over before this returns, and the request to end it stands in the mailbox: from the
 * callback of a connection that has just opened, the loop finds both at once. */
static void open_and_end(weir_conn *conn)
{
    world *w = world_of(conn);
    weir_protocol protocol = world_wrap(w, &victim_protocol);
    char address[32];
    weir_conn_id id;
    (void)snprintf(address, sizeof address, "127.0.0.1:%u", victim_port);
    cr_assert_eq(weir_connect(w->runtime, address, &protocol, NULL, &id), 0);
    int error = victim_is_closed ? weir_close_id(w->runtime, id) : weir_abort_id(w->runtime, id);
    cr_assert_eq(error, 0);
}

static weir_protocol opener_protocol = { .on_open = open_and_end };

Test(connector_end, ended_in_the_pass_in_which_it_is_there_ends_alone)
{
    for (int i = 0; i < 20; i++) {
        raw_peer listener = raw_listen(8, &victim_port);
        world w = { .manual = i % 4 < 2 };
        world_start(&w);
        raw_peer bystander = world_connect(&w);
        WORLD_AWAIT(&w, w.opened == 1);
        unsigned descriptors = raw_descriptors();
        victim_is_closed = i % 2;
        char address[32];
        (void)snprintf(address, sizeof address, "127.0.0.1:%u", victim_port);
        weir_protocol protocol = world_wrap(&w, &opener_protocol);
        cr_assert_eq(weir_connect(w.runtime, address, &protocol, NULL, NULL), 0);
        raw_peer opener = raw_accept(listener), victim = raw_accept(listener);
        WORLD_AWAIT(&w, w.closed == 1);
        cr_assert_eq(w.error, victim_is_closed ? WEIR_ECLOSED : WEIR_EABORTED);
        (void)raw_await_end(victim);
        raw_close(victim);
        cr_assert_eq(raw_descriptors(), descriptors + 2, "the opener's two ends");
        raw_send(bystander, "x", 1);
        WORLD_AWAIT(&w, w.messages == 1);
        raw_peer next = world_connect(&w); /* and the listener lives */
        WORLD_AWAIT(&w, world_stats(&w).connections == 3);
        cr_assert_eq(w.closed, 1);
        raw_close(next);
        raw_close(opener);
        raw_close(bystander);
        raw_close(listener);
        world_stop(&w);
    }
}

/* ---- local addresses ---- */

static char seen_hosts[64][32];
static _Atomic unsigned seen_host_count;

static void note_local(weir_conn *conn)
{
    unsigned i = atomic_load(&seen_host_count);
    (void)snprintf(seen_hosts[i % 64], sizeof seen_hosts[0], "%.31s", weir_conn_local(conn).host);
    atomic_store(&seen_host_count, i + 1);
}

static unsigned seen_host(const char *host)
{
    unsigned count = 0;
    for (unsigned i = 0; i < seen_host_count && i < 64; i++) count += strcmp(seen_hosts[i], host) == 0;
    return count;
}

Test(connector_end, local_addresses_are_used_in_turn)
{
    uint16_t port;
    raw_peer listener = raw_listen(64, &port);
    const weir_address locals[] = { local_address("127.0.0.2:0"), local_address("127.0.0.3:0"),
                                    local_address("127.0.0.4:0") };
    world w = { .protocol.on_open = note_local, .no_listener = true };
    world_start(&w);
    for (int i = 0; i < 30; i++)
        connect_to(&w, port, &(weir_connect_options){ .local_addresses = locals, .local_address_count = 3 });
    WORLD_AWAIT(&w, w.opened == 30);
    for (int i = 0; i < 3; i++) cr_assert_eq(seen_host(locals[i].host), 10, "%s", locals[i].host);
    raw_close(listener);
    world_stop(&w);
}

Test(connector_end, a_local_address_without_a_port_left_makes_way_for_the_next)
{
    uint16_t port, taken;
    raw_peer listener = raw_listen(64, &port), owner = raw_listen(1, &taken);
    char text[32];
    (void)snprintf(text, sizeof text, "127.0.0.1:%u", taken);
    const weir_address locals[] = { local_address("198.51.100.201:0"), local_address(text),
                                    local_address("127.0.0.5:0") };
    world w = { .protocol.on_open = note_local, .no_listener = true };
    world_start(&w);
    for (unsigned i = 0; i < 9; i++) {
        connect_to(&w, port, &(weir_connect_options){ .local_addresses = locals, .local_address_count = 3 });
        WORLD_AWAIT(&w, w.opened + w.closed == i + 1);
    }
    cr_assert_eq(w.opened, 9, "%s", weir_error_name(w.error));
    cr_assert_eq(seen_host("127.0.0.5"), 9);
    cr_assert_eq(world_stats(&w).connect_errors, 0, "these are not errors of the connection");
    raw_close(listener);
    raw_close(owner);
    world_stop(&w);
}

Test(connector_end, each_connection_tries_all_local_addresses_whatever_the_others_do)
{
    uint16_t port;
    raw_peer listener = raw_listen(64, &port);
    const weir_address locals[] = { local_address("198.51.100.201:0"), local_address("127.0.0.5:0") };
    world w = { .protocol.on_open = note_local, .no_listener = true, .manual = true };
    world_start(&w);
    for (unsigned i = 0; i < 20; i++) /* all are there before the first one begins */
        connect_to(&w, port, &(weir_connect_options){ .local_addresses = locals, .local_address_count = 2 });
    WORLD_AWAIT(&w, w.opened + w.closed == 20);
    cr_assert_eq(w.opened, 20, "%u, %s", w.opened, weir_error_name(w.error));
    raw_close(listener);
    world_stop(&w);
}

Test(connector_end, without_any_usable_local_address_says_so)
{
    uint16_t port;
    raw_peer listener = raw_listen(64, &port);
    const weir_address locals[] = { local_address("198.51.100.201:0"), local_address("203.0.113.201:0") };
    world w = { .no_listener = true };
    world_start(&w);
    connect_to(&w, port, &(weir_connect_options){ .local_addresses = locals, .local_address_count = 2 });
    check_unopened(&w, 1, WEIR_EADDRNOTAVAIL);
    cr_assert_eq(w.system_error, host_codes.address_not_available);
    raw_close(listener);
    world_stop(&w);
}

Test(connector_end, connected_to_itself_counts_as_refused)
{
    world w = { .no_listener = true };
    world_start(&w);
    unsigned descriptors = raw_descriptors();
    for (unsigned i = 1; i <= 20; i++) {
        char text[32];
        uint16_t port = host_free_port();
        (void)snprintf(text, sizeof text, "127.0.0.1:%u", port);
        const weir_address local = local_address(text);
        connect_to(&w, port, &(weir_connect_options){ .local_addresses = &local, .local_address_count = 1 });
        check_unopened(&w, i, WEIR_ECONNREFUSED);
    }
    cr_assert_eq(raw_descriptors(), descriptors);
    world_stop(&w);
}

/* ---- refused at once ---- */

Test(connector_end, refuses_options_that_make_no_sense_and_says_which)
{
    static const char *const bad[] = { "", "127.0.0.1", "local host:80", "127.0.0.1:65536", "[::1]", "unix:" };
    const weir_address six = local_address("[::1]:0"), four = local_address("127.0.0.1:0"), none = { 0 };
    world w = { .no_listener = true, .runtime_options.workers = 2 };
    world_start(&w);
    for (size_t i = 0; i < COUNT(bad); i++)
        refused_by_weir(&w, bad[i], (weir_connect_options){ 0 }, WEIR_EADDRESS, "connect");
    const char *address = "127.0.0.1:80";
    refused_by_weir(&w, NULL, (weir_connect_options){ 0 }, WEIR_EINVAL, "NULL");
    refused_by_weir(&w, "127.0.0.1:0", (weir_connect_options){ 0 }, WEIR_EINVAL, "port 0");
    refused_by_weir(&w, address, (weir_connect_options){ .worker = 3 }, WEIR_EINVAL, "worker");
    refused_by_weir(&w, address, (weir_connect_options){ .timeout_ms = UINT32_MAX }, WEIR_EINVAL, "timeout_ms");
    refused_by_weir(&w, address, (weir_connect_options){ .local_address_count = 1 }, WEIR_EINVAL, "local_address");
    refused_by_weir(&w, address, (weir_connect_options){ .local_addresses = &four, .local_address_count = UINT32_MAX },
                    WEIR_EINVAL, "local_address");
    refused_by_weir(&w, address, (weir_connect_options){ .local_addresses = &six, .local_address_count = 1 },
                    WEIR_EINVAL, "family");
    refused_by_weir(&w, address, (weir_connect_options){ .local_addresses = &none, .local_address_count = 1 },
                    WEIR_EINVAL, "family");
    refused_by_weir(&w, "[::1]:80", (weir_connect_options){ .local_addresses = &four, .local_address_count = 1 },
                    WEIR_EINVAL, "family");
    refused_by_weir(&w, "unix:/tmp/x", (weir_connect_options){ .local_addresses = &four, .local_address_count = 1 },
                    WEIR_EINVAL, "family");
    const weir_protocol wide = { .session_size = (size_t)2 << 20 };
    cr_assert_eq(weir_connect(w.runtime, address, &wide, NULL, NULL), WEIR_EINVAL);
    cr_assert_eq(weir_connect(w.runtime, address, NULL, NULL, NULL), WEIR_EINVAL);
    cr_assert_eq(weir_connect(NULL, address, &w.protocol, NULL, NULL), WEIR_EINVAL);
    cr_assert_eq(world_stats(&w).connections, 0);
    cr_assert_eq(w.closed, 0, "no callback follows");
    world_stop(&w);
}

Test(connector_end, beyond_max_connections_is_refused_until_one_has_gone)
{
    uint16_t port;
    raw_peer listener = raw_listen(64, &port);
    world w = { .no_listener = true, .runtime_options = { .max_connections = 10, .workers = 2 } };
    world_start(&w);
    weir_conn_id ids[10];
    for (int i = 0; i < 10; i++) ids[i] = connect_to(&w, port, NULL);
    char address[32];
    (void)snprintf(address, sizeof address, "127.0.0.1:%u", port);
    refused_by_weir(&w, address, (weir_connect_options){ 0 }, WEIR_ELIMIT, weir_strerror(WEIR_ELIMIT));
    WORLD_AWAIT(&w, w.opened == 10);
    refused_by_weir(&w, address, (weir_connect_options){ 0 }, WEIR_ELIMIT, weir_strerror(WEIR_ELIMIT));
    cr_assert_eq(weir_abort_id(w.runtime, ids[3]), 0);
    WORLD_AWAIT(&w, world_stats(&w).connections == 9);
    connect_to(&w, port, NULL);
    WORLD_AWAIT(&w, w.opened == 11);
    raw_close(listener);
    world_stop(&w);
}

Test(connector_end, without_a_descriptor_ends_with_that_reason)
{
    uint16_t port;
    raw_peer listener = raw_listen(64, &port);
    world w = { .no_listener = true };
    world_start(&w);
    host_fill_descriptors();
    connect_to(&w, port, NULL);
    check_unopened(&w, 1, WEIR_EMFILE);
    cr_assert_eq(w.system_error, EMFILE);
    host_free_descriptors(UINT32_MAX);
    connect_to(&w, port, NULL);
    WORLD_AWAIT(&w, w.opened == 1);
    raw_close(listener);
    world_stop(&w);
}

Test(connector_end, a_stop_ends_those_that_are_still_connecting)
{
    uint16_t port;
    raw_peer listener = host_full_listener(&port);
    for (int started = 0; started < 2; started++) {
        world w = { .no_listener = true, .runtime_options.workers = 2, .manual = false };
        if (!started) w.manual = true, w.runtime_options.workers = 1;
        world_start(&w);
        unsigned descriptors = raw_descriptors();
        for (int i = 0; i < 5; i++) connect_to(&w, port, NULL);
        if (started) WORLD_AWAIT(&w, raw_descriptors() == descriptors + 5);
        uint64_t before_ms = now_ms();
        world_stop(&w);
        cr_assert_lt(now_ms() - before_ms, 2000, "nothing to wait for");
        cr_assert_eq(w.closed, 5);
        cr_assert_eq(w.closed_unopened, 5);
        cr_assert_eq(w.error, WEIR_ESTOPPED);
    }
    raw_close(listener);
}

/* The most there are for a moment: a listener that has just accepted may be about to make its next socket. */
static unsigned most_descriptors(void)
{
    unsigned most = 0;
    for (int i = 0; i < 20; i++) {
        unsigned now = raw_descriptors();
        if (now > most) most = now;
        weir_sleep_ms(5);
    }
    return most;
}

Test(connector_end, thousands_of_connects_and_aborts_leave_nothing_behind, .timeout = 60)
{
    enum { ROUNDS = 30, EACH = 100 };
    world server = { .no_listener = false };
    world client = { .no_listener = true, .runtime_options.workers = 2 };
    world_start(&server);
    world_start(&client);
    unsigned descriptors = 0;
    uint64_t memory = 0;
    uint64_t seed = 5;
    for (unsigned round = 1; round <= ROUNDS; round++) {
        for (int i = 0; i < EACH; i++) {
            weir_conn_id id = connect_to(&client, server.port, NULL);
            if (world_random(&seed) % 4 == 0) weir_sleep_ms(1);
            if (world_random(&seed) % 2)
                cr_assert_eq(weir_abort_id(client.runtime, id), 0);
            else
                cr_assert_eq(weir_close_id(client.runtime, id), 0);
        }
        WORLD_AWAIT(&client, client.closed == round * EACH);
        WORLD_AWAIT(&client, world_stats(&server).connections == 0 && world_stats(&client).connections == 0);
        if (round == ROUNDS / 3) {
            descriptors = most_descriptors();
            memory = client.memory.used;
        }
    }
    WORLD_AWAIT(&server, raw_descriptors() <= descriptors); /* the backlog may still hold some that have ended */
    cr_assert_leq(client.memory.used, memory + memory / 4); /* how many there were at once varies */
    world_stop(&client);
    world_stop(&server);
}

Test(connector_end, without_memory_is_refused_at_once_wherever_it_runs_out)
{
    world w = { .no_listener = true, .manual = true };
    const weir_protocol protocol = { 0 };
    world_start(&w);
    uint64_t used = w.memory.used;
    for (int after = 0; after < 3; after++) { /* for what was asked, for the connection, for its slot */
        weir_failure failure;
        weir_conn_id id = 0;
        world_refuse(&w, after);
        cr_assert_eq(
            weir_connect(w.runtime, "127.0.0.1:1", &protocol, &(weir_connect_options){ .failure = &failure }, &id),
            WEIR_ENOMEM, "after %d", after);
        cr_assert_eq(failure.error, WEIR_ENOMEM);
        cr_assert_eq(id, 0);
        cr_assert_eq(w.memory.used, used);
        cr_assert_eq(world_stats(&w).connections, 0);
    }
    world_refuse(&w, -1);
    connect_to(&w, host_free_port(), NULL);
    check_unopened(&w, 1, WEIR_ECONNREFUSED);
    world_stop(&w);
}

/* ---- refused while something else is to be told ---- */

typedef struct refusal {
    uint16_t port; /* where nobody listens */
    weir_protocol protocol;
} refusal;

static void never_slow(weir_conn *conn, size_t queued)
{
    (void)conn;
    cr_assert_fail("on_slow of a connection that never opened, with %zu bytes", queued);
}

/* The refusal is there at once, on the loopback, and in the next pass it stands behind the message that too much was
 * sent: the connection is in the list of those to be looked at when it ends. */
static void connect_in_vain(weir_conn *conn)
{
    refusal *r = world_data(conn);
    char address[32];
    weir_conn_id id;
    (void)snprintf(address, sizeof address, "127.0.0.1:%u", r->port);
    cr_assert_eq(weir_connect(weir_conn_runtime(conn), address, &r->protocol, NULL, &id), 0);
    cr_assert_eq(weir_send_to(weir_conn_runtime(conn), id, "over ten bytes", 14), WEIR_ESLOW);
}

Test(connector_end, refused_when_too_much_was_sent_to_it_has_on_close_alone)
{
    refusal r = { .port = host_free_port() };
    world w = { .manual = true, .protocol = { .on_open = connect_in_vain, .data = &r } };
    weir_protocol notify = { .on_slow = never_slow,
                             .outbox = { .soft_limit = 10, .hard_limit = 10, .policy = WEIR_SLOW_NOTIFY } };
    uint16_t port;
    raw_peer listener = raw_listen(4, &port);
    w.no_listener = true;
    world_start(&w);
    r.protocol = world_wrap(&w, &notify);
    for (unsigned i = 1; i <= 4; i++) { /* posts and sockets take turns */
        connect_to(&w, port, NULL);
        WORLD_AWAIT(&w, w.opened == i && w.closed_unopened == i);
        cr_assert_eq(w.error, WEIR_ECONNREFUSED);
        raw_reset(raw_accept(listener));
        WORLD_AWAIT(&w, w.closed == 2 * i);
    }
    raw_close(listener);
    world_stop(&w);
}
