/* Listening: where, what is refused, what the system refuses, and the end of it. Limits are in admission_test.c. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "core/host.h"
#include "core/world.h"

#define COUNT(array) (sizeof(array) / sizeof *(array))

static weir_address seen_peer, seen_local;

static void look(weir_conn *conn)
{
    seen_peer = weir_conn_peer(conn);
    seen_local = weir_conn_local(conn);
}

static void echo(weir_conn *conn, const void *bytes, size_t size)
{
    weir_send(conn, bytes, size);
}

/* A connection works if what it says comes back. */
static void check_echo(raw_peer peer)
{
    char heard[5];
    raw_send(peer, "hello", 5);
    raw_receive(peer, heard, 5);
    cr_assert_arr_eq(heard, "hello", 5);
}

static weir_runtime *make_runtime(unsigned workers)
{
    weir_runtime *runtime;
    cr_assert_eq(weir_runtime_create(&runtime, &(weir_runtime_options){ .workers = workers, .max_connections = 256 }),
                 0);
    return runtime;
}

/* ---- where ---- */

Test(listener, on_ipv4_has_a_port_of_the_systems_choice_and_says_it)
{
    world w = { .protocol = { .on_open = look, .on_message = echo }, .manual = true };
    world_start(&w);
    weir_address address = weir_listener_address(w.listener);
    char expected[64];
    (void)snprintf(expected, sizeof expected, "127.0.0.1:%u", address.port);
    cr_assert_neq(address.port, 0);
    cr_assert_str_eq(address.text, expected);
    cr_assert_str_eq(address.host, "127.0.0.1");
    cr_assert_eq(address.family, WEIR_FAMILY_IPV4);
    raw_peer peer = host_connect_from("127.0.0.9", "127.0.0.1", address.port);
    check_echo(peer);
    cr_assert_str_eq(seen_local.text, expected);
    (void)snprintf(expected, sizeof expected, "127.0.0.9:%u", raw_port(peer));
    cr_assert_str_eq(seen_peer.text, expected);
    raw_close(peer);
    world_stop(&w);
}

Test(listener, on_ipv6_serves_ipv6)
{
    if (!host_has_ipv6()) cr_skip_test("there is no ::1 here");
    world w = { .protocol = { .on_open = look, .on_message = echo }, .address = "[::1]:0", .manual = true };
    world_start(&w);
    raw_peer peer = raw_connect("::1", w.port, 0);
    check_echo(peer);
    char expected[64];
    (void)snprintf(expected, sizeof expected, "[::1]:%u", raw_port(peer));
    cr_assert_str_eq(seen_peer.text, expected);
    cr_assert_eq(seen_peer.family, WEIR_FAMILY_IPV6);
    cr_assert_eq(seen_local.port, w.port);
    raw_close(peer);
    world_stop(&w);
}

Test(listener, on_both_families_shows_an_ipv4_client_as_ipv4)
{
    if (!host_has_ipv6()) cr_skip_test("there is no ::1 here");
    world w = { .protocol = { .on_open = look, .on_message = echo }, .address = "[::]:0", .manual = true };
    world_start(&w);
    raw_peer six = raw_connect("::1", w.port, 0);
    check_echo(six);
    cr_assert_eq(seen_peer.family, WEIR_FAMILY_IPV6);
    raw_peer four = raw_connect("127.0.0.1", w.port, 0);
    check_echo(four);
    cr_assert_eq(seen_peer.family, WEIR_FAMILY_IPV4);
    cr_assert_str_eq(seen_peer.host, "127.0.0.1");
    cr_assert_eq(seen_peer.port, raw_port(four));
    cr_assert_eq(seen_local.family, WEIR_FAMILY_IPV4);
    raw_close(six);
    raw_close(four);
    world_stop(&w);
}

Test(listener, ipv6_only_refuses_ipv4)
{
    if (!host_has_ipv6()) cr_skip_test("there is no ::1 here");
    world w = { .protocol = { .on_message = echo }, .address = "[::]:0", .listen_options.ipv6_only = true };
    world_start(&w);
    raw_peer six = raw_connect("::1", w.port, 0);
    check_echo(six);
    cr_assert(host_connect_is_refused("127.0.0.1", w.port));
    raw_close(six);
    world_stop(&w);
}

Test(listener, two_of_them_each_have_their_protocol)
{
    static weir_protocol other;
    world w = { .protocol = { .on_message = echo } };
    weir_listener *second;
    world_start(&w);
    other.framing = weir_framing_line();
    weir_protocol wrapped = world_wrap(&w, &other);
    cr_assert_eq(weir_listen(w.runtime, "127.0.0.1:0", &wrapped, NULL, &second), 0, "also while it runs");
    raw_peer first = world_connect(&w), mute = raw_connect("127.0.0.1", weir_listener_address(second).port, 0);
    check_echo(first);
    raw_send(mute, "no line", 7);
    cr_assert(raw_is_silent(mute, 20));
    cr_assert_eq(w.messages, 1);
    raw_close(first);
    raw_close(mute);
    world_stop(&w);
}

/* ---- what is refused ---- */

static weir_failure refused(weir_runtime *runtime, const char *address, const weir_protocol *protocol,
                            weir_listen_options options, int expected)
{
    weir_failure failure = { .error = 1, .system_error = 77, .step = WEIR_STEP_LISTEN };
    weir_listener *listener = (weir_listener *)&failure;
    options.failure = &failure;
    int error = weir_listen(runtime, address, protocol, &options, &listener);
    cr_expect_eq(error, expected, "%s: %s", address ? address : "NULL", weir_error_name(error));
    cr_expect_eq(failure.error, error);
    cr_expect_neq(failure.text[0], 0);
    cr_expect(!address || strstr(failure.text, address), "\"%s\" does not name %s", failure.text, address);
    cr_expect(listener == (weir_listener *)&failure, "out is touched");
    options.failure = NULL;
    cr_expect_eq(weir_listen(runtime, address, protocol, &options, NULL), expected, "without a failure");
    return failure;
}

static void refused_by_weir(weir_runtime *runtime, const char *address, const weir_protocol *protocol,
                            weir_listen_options options, int expected, const char *word)
{
    weir_failure failure = refused(runtime, address, protocol, options, expected);
    cr_expect_eq(failure.step, WEIR_STEP_OPTIONS);
    cr_expect_eq(failure.system_error, 0);
    cr_expect_not_null(strstr(failure.text, word), "\"%s\" does not say %s", failure.text, word);
}

Test(listener, refuses_options_that_make_no_sense_and_says_which)
{
    weir_runtime *runtime = make_runtime(2);
    const weir_protocol fine = { 0 };
    const struct {
        const char *address;
        weir_listen_options options;
        int error;
        const char *word;
    } cases[] = {
        { "127.0.0.1:0", { .placement = (weir_placement)3 }, WEIR_EINVAL, "placement" },
        { "127.0.0.1:0", { .placement = (weir_placement)-1 }, WEIR_EINVAL, "placement" },
        { "127.0.0.1:0", { .backlog = UINT32_MAX }, WEIR_EINVAL, "backlog" },
        { "127.0.0.1:0", { .backlog = (uint32_t)INT32_MAX + 1 }, WEIR_EINVAL, "backlog" },
        { "127.0.0.1:0", { .ipv6_only = true }, WEIR_EINVAL, "ipv6_only" },
        { "unix:/tmp/weir-test-none", { .ipv6_only = true }, WEIR_EINVAL, "ipv6_only" },
        { "unix:/tmp/weir-test-none", { .placement = WEIR_PLACEMENT_SPREAD }, WEIR_ENOTSUP, "spread" },
        { "unix:/tmp/weir-test-none", { .share_port = true }, WEIR_ENOTSUP, "share_port" },
    };
    unsigned descriptors = raw_descriptors();
    for (size_t i = 0; i < COUNT(cases); i++)
        refused_by_weir(runtime, cases[i].address, &fine, cases[i].options, cases[i].error, cases[i].word);
    const weir_protocol wide = { .session_size = (size_t)2 << 20 };
    const weir_protocol odd = { .framing = { .kind = WEIR_FRAMING_LENGTH, .length_size = 3 } };
    refused_by_weir(runtime, "127.0.0.1:0", &wide, (weir_listen_options){ 0 }, WEIR_EINVAL, "session_size");
    refused_by_weir(runtime, "127.0.0.1:0", &odd, (weir_listen_options){ 0 }, WEIR_EINVAL, "length_size");
    refused_by_weir(runtime, NULL, &fine, (weir_listen_options){ 0 }, WEIR_EINVAL, "NULL");
    refused_by_weir(runtime, "127.0.0.1:0", NULL, (weir_listen_options){ 0 }, WEIR_EINVAL, "NULL");
    refused_by_weir(NULL, "127.0.0.1:0", &fine, (weir_listen_options){ 0 }, WEIR_EINVAL, "NULL");
    cr_assert_eq(raw_descriptors(), descriptors);
    cr_assert_not(host_exists("/tmp/weir-test-none"));
    weir_runtime_destroy(runtime);
}

Test(listener, refuses_addresses_that_it_does_not_understand)
{
    static const char *const bad[] = { "",       "127.0.0.1", "127.0.0.1:",    "localhost:80", ":80",        "[::1]",
                                       "::1:80", "127.1:80",  "1.2.3.4:65536", "unix:",        "[1.2.3.4]:1" };
    weir_runtime *runtime = make_runtime(1);
    for (size_t i = 0; i < COUNT(bad); i++)
        refused_by_weir(runtime, bad[i], &(weir_protocol){ 0 }, (weir_listen_options){ 0 }, WEIR_EADDRESS, "listen");
    weir_runtime_destroy(runtime);
}

Test(listener, tells_what_the_system_refused_and_where)
{
    weir_runtime *runtime = make_runtime(2);
    const weir_protocol fine = { 0 };
    unsigned descriptors = raw_descriptors();
    weir_failure failure = refused(runtime, "198.51.100.201:0", &fine, (weir_listen_options){ 0 }, WEIR_EADDRNOTAVAIL);
    cr_assert_eq(failure.step, WEIR_STEP_BIND);
    cr_assert_eq(failure.system_error, host_codes.address_not_available);
    cr_assert_not_null(strstr(failure.text, "bind"), "%s", failure.text);
    cr_assert_eq(raw_descriptors(), descriptors);
    weir_runtime_destroy(runtime);
}

Test(listener, on_a_port_of_the_system_needs_the_right_to_it)
{
    weir_runtime *runtime = make_runtime(1);
    if (!host_drop_rights()) cr_skip_test("this process cannot give up its rights");
    weir_failure failure;
    int error =
        weir_listen(runtime, "127.0.0.1:1", &(weir_protocol){ 0 }, &(weir_listen_options){ .failure = &failure }, NULL);
    host_regain_rights();
    if (error == 0 || error == WEIR_EADDRINUSE) {
        weir_runtime_destroy(runtime);
        cr_skip_test("anybody may listen on port 1 here");
    }
    cr_assert_eq(error, WEIR_EACCES);
    cr_assert_eq(failure.step, WEIR_STEP_BIND);
    cr_assert_eq(failure.system_error, EACCES);
    weir_runtime_destroy(runtime);
}

Test(listener, without_a_descriptor_says_so)
{
    weir_runtime *runtime = make_runtime(4);
    weir_failure failure;
    const weir_listen_options options = { .failure = &failure };
    host_fill_descriptors();
    cr_assert_eq(weir_listen(runtime, "127.0.0.1:0", &(weir_protocol){ 0 }, &options, NULL), WEIR_EMFILE);
    cr_assert_eq(failure.step, WEIR_STEP_SOCKET);
    cr_assert_eq(failure.system_error, EMFILE);
    host_free_descriptors(2); /* of the four that it needs */
    cr_assert_eq(weir_listen(runtime, "127.0.0.1:0", &(weir_protocol){ 0 }, &options, NULL), WEIR_EMFILE);
    host_free_descriptors(2);
    cr_assert_eq(weir_listen(runtime, "127.0.0.1:0", &(weir_protocol){ 0 }, &options, NULL), 0,
                 "the two of before are back");
    host_free_descriptors(UINT32_MAX);
    weir_runtime_destroy(runtime);
}

/* How a listener that found no memory on its worker may end. */
enum end { END_SERVES, END_CLOSED, END_DESTROYED };

Test(listener, without_memory_on_its_worker_keeps_its_backlog_and_tries_again)
{
    for (int end = END_SERVES; end <= END_DESTROYED; end++) {
        world w = { .protocol = { .on_message = echo }, .manual = true };
        world_start(&w);
        raw_while_waiting(NULL, NULL);
        raw_peer peer = world_connect(&w);
        world_refuse(&w, 0);
        WORLD_HOLDS(&w, 50, w.opened == 0);
        cr_assert_gt(w.memory.refused, 0);
        world_refuse(&w, -1);
        if (end == END_SERVES) WORLD_AWAIT(&w, w.opened == 1);
        if (end == END_CLOSED) {
            weir_listener_close(w.listener);
            WORLD_AWAIT(&w, !raw_is_silent(peer, 0));
            cr_assert(host_connect_is_refused("127.0.0.1", w.port));
        }
        world_stop(&w);
        cr_assert_eq(w.opened, end == END_SERVES);
        raw_close(peer);
    }
}

/* ---- an occupied port ---- */

static int listen_at(weir_runtime *runtime, uint16_t port, weir_listen_options options, weir_failure *failure)
{
    char address[32];
    (void)snprintf(address, sizeof address, "127.0.0.1:%u", port);
    options.failure = failure;
    return weir_listen(runtime, address, &(weir_protocol){ 0 }, &options, NULL);
}

Test(listener, on_an_occupied_port_is_refused_whatever_the_placement)
{
    uint16_t port;
    raw_peer owner = raw_listen(1, &port);
    weir_runtime *runtime = make_runtime(3);
    for (int placement = WEIR_PLACEMENT_DEFAULT; placement <= WEIR_PLACEMENT_BALANCED; placement++) {
        for (int share = 0; share < 2; share++) {
            if (!host_shares_ports() && (share || placement == WEIR_PLACEMENT_SPREAD)) continue;
            weir_failure failure;
            const weir_listen_options options = { .placement = (weir_placement)placement, .share_port = share };
            cr_assert_eq(listen_at(runtime, port, options, &failure), WEIR_EADDRINUSE);
            cr_assert_eq(failure.step, WEIR_STEP_BIND);
            cr_assert_eq(failure.system_error, host_codes.address_in_use);
        }
    }
    raw_close(owner);
    weir_failure failure;
    cr_assert_eq(listen_at(runtime, port, (weir_listen_options){ 0 }, &failure), 0, "%s", failure.text);
    weir_runtime_destroy(runtime);
}

Test(listener, does_not_let_a_second_server_in_although_its_own_workers_share_the_port)
{
    if (!host_shares_ports()) cr_skip_test("a port has one socket here");
    weir_listener *listener;
    weir_failure failure;
    const weir_listen_options spread = { .placement = WEIR_PLACEMENT_SPREAD };
    weir_runtime *first = make_runtime(3), *second = make_runtime(3);
    cr_assert_eq(weir_listen(first, "127.0.0.1:0", &(weir_protocol){ 0 }, &spread, &listener), 0);
    uint16_t port = weir_listener_address(listener).port;
    cr_assert_eq(listen_at(second, port, spread, &failure), WEIR_EADDRINUSE);
    cr_assert_eq(failure.step, WEIR_STEP_BIND);
    cr_assert_eq(listen_at(second, port, (weir_listen_options){ .placement = WEIR_PLACEMENT_BALANCED }, &failure),
                 WEIR_EADDRINUSE);
    cr_assert_eq(listen_at(first, port, spread, &failure), WEIR_EADDRINUSE, "nor its own second listener");
    weir_runtime_destroy(first);
    cr_assert_eq(listen_at(second, port, spread, &failure), 0, "%s", failure.text);
    weir_runtime_destroy(second);
}

Test(listener, share_port_lets_a_second_server_in)
{
    enum { PEERS = 60 };
    static raw_peer peers[PEERS];
    if (!host_shares_ports()) cr_skip_test("a port has one socket here");
    world first = { .protocol = { .on_message = echo }, .listen_options.share_port = true };
    world_start(&first);
    char address[32];
    (void)snprintf(address, sizeof address, "127.0.0.1:%u", first.port);
    world second = { .protocol = { .on_message = echo }, .listen_options.share_port = true, .address = address };
    world_start(&second);
    for (int i = 0; i < PEERS; i++) peers[i] = world_connect(&first);
    WORLD_AWAIT(&first, first.opened + second.opened == PEERS);
    cr_assert_gt(first.opened, 0, "the kernel gives some to each");
    cr_assert_gt(second.opened, 0);
    for (int i = 0; i < PEERS; i++) {
        check_echo(peers[i]);
        raw_close(peers[i]);
    }
    world_stop(&second);
    world_stop(&first);
}

/* ---- the end of it ---- */

static void close_and_check(weir_placement placement, bool manual)
{
    world w = { .protocol = { .on_message = echo },
                .listen_options.placement = placement,
                .runtime_options.workers = manual ? 1 : 3,
                .manual = manual };
    world_start(&w);
    raw_peer peer = world_connect(&w);
    check_echo(peer);
    weir_listener_close(w.listener);
    weir_listener_close(w.listener);
    WORLD_AWAIT(&w, host_connect_is_refused("127.0.0.1", w.port));
    check_echo(peer);
    WORLD_AWAIT(&w, w.closed == w.opened - 1); /* those that looked whether it is closed */
    WORLD_HOLDS(&w, 20, w.closed == w.opened - 1);
    cr_assert_eq(weir_listener_address(w.listener).port, w.port, "it may still be asked");
    weir_listener_close(w.listener);
    raw_close(peer);
    WORLD_AWAIT(&w, w.closed == w.opened);
    weir_runtime_stop(w.runtime);
    weir_listener_close(w.listener);
    world_stop(&w);
}

Test(listener, closed_accepts_no_more_and_open_connections_stay)
{
    close_and_check(WEIR_PLACEMENT_SPREAD, false);
    close_and_check(WEIR_PLACEMENT_BALANCED, false);
    close_and_check(WEIR_PLACEMENT_DEFAULT, true);
}

Test(listener, closed_before_the_start_never_accepts)
{
    for (int destroyed = 0; destroyed < 2; destroyed++) {
        weir_listener *listener;
        weir_runtime *runtime = make_runtime(2);
        cr_assert_eq(weir_listen(runtime, "127.0.0.1:0", &(weir_protocol){ 0 }, NULL, &listener), 0);
        uint16_t port = weir_listener_address(listener).port;
        weir_listener_close(listener);
        if (!destroyed) {
            cr_assert_eq(weir_runtime_start(runtime), 0);
            for (int i = 0; i < RAW_PATIENCE_MS && !host_connect_is_refused("127.0.0.1", port); i++) weir_sleep_ms(1);
        }
        weir_runtime_destroy(runtime);
        cr_assert(host_connect_is_refused("127.0.0.1", port));
    }
}

static void close_listener(weir_conn *conn)
{
    world *w = world_of(conn);
    if (w->opened == 50) weir_listener_close(w->listener);
}

Test(listener, closed_in_a_callback_while_connections_pour_in_forgets_none_of_them)
{
    enum { PEERS = 200 };
    static raw_peer peers[PEERS];
    for (int balanced = 0; balanced < 2; balanced++) {
        world w = { .protocol = { .on_open = close_listener, .on_message = echo },
                    .runtime_options.workers = 3,
                    .listen_options.placement = balanced ? WEIR_PLACEMENT_BALANCED : WEIR_PLACEMENT_SPREAD };
        world_start(&w);
        int connected = 0;
        while (connected < PEERS && raw_try_connect("127.0.0.1", w.port, 1000, &peers[connected])) connected++;
        WORLD_AWAIT(&w, host_connect_is_refused("127.0.0.1", w.port));
        /* Each was served, or reset with the backlog: a byte finds out. */
        unsigned served = 0;
        for (int i = 0; i < connected; i++) {
            char heard;
            raw_end end = RAW_OPEN;
            if (raw_send_some(peers[i], "x", 1) == 1) {
                while (raw_receive_some(peers[i], &heard, 1, &end) == 0 && end == RAW_OPEN) world_turn(&w);
                served += end == RAW_OPEN;
            }
            raw_close(peers[i]);
        }
        cr_assert_geq(served, 50);
        cr_assert_eq(w.messages, served);
        WORLD_AWAIT(&w, world_stats(&w).connections == 0);
        world_stop(&w);
    }
}

Test(listener, serves_those_who_waited_in_the_backlog_for_the_start)
{
    enum { PEERS = 100 };
    static raw_peer peers[PEERS];
    static weir_protocol protocol;
    weir_listener *listener;
    weir_stats stats;
    protocol.on_message = echo;
    weir_runtime *runtime = make_runtime(2);
    cr_assert_eq(weir_listen(runtime, "127.0.0.1:0", &protocol, NULL, &listener), 0);
    for (int i = 0; i < PEERS; i++) peers[i] = raw_connect("127.0.0.1", weir_listener_address(listener).port, 0);
    cr_assert_eq(weir_runtime_start(runtime), 0);
    for (int i = 0; i < PEERS; i++) check_echo(peers[i]);
    weir_stats_read(runtime, &stats);
    cr_assert_eq(stats.accepted, PEERS);
    for (int i = 0; i < PEERS; i++) raw_close(peers[i]);
    weir_runtime_destroy(runtime);
}

static int error_in_callback;

static void listen_too_late(weir_conn *conn)
{
    error_in_callback = weir_listen(weir_conn_runtime(conn), "127.0.0.1:0", &(weir_protocol){ 0 }, NULL, NULL);
}

Test(listener, is_refused_when_the_runtime_stops)
{
    world w = { .protocol.on_stop = listen_too_late };
    world_start(&w);
    raw_peer peer = world_connect(&w);
    WORLD_AWAIT(&w, w.opened == 1);
    weir_runtime_stop(w.runtime);
    WORLD_AWAIT(&w, w.closed == 1);
    cr_assert_eq(error_in_callback, WEIR_ESTOPPED);
    weir_failure failure = refused(w.runtime, "127.0.0.1:0", &w.protocol, (weir_listen_options){ 0 }, WEIR_ESTOPPED);
    cr_assert_eq(failure.step, WEIR_STEP_OPTIONS);
    raw_close(peer);
    world_stop(&w);
}
