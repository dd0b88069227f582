/* A connection's life, and what a callback may ask of it. How it ends is in conn_close_test.c. */
#include <stdio.h>
#include <stdlib.h>

#include "core/host.h"
#include "core/world.h"

Test(conn, opens_then_has_messages_then_closes)
{
    world w = { .protocol = { .framing = weir_framing_line() }, .keeps = true };
    world_start(&w);
    raw_peer peer = world_connect(&w);
    WORLD_AWAIT(&w, w.opened == 1);
    cr_assert_eq(w.messages, 0);
    raw_send(peer, "one\ntwo\n", 8);
    WORLD_AWAIT(&w, w.messages == 2);
    cr_assert(world_message_is(&w, 0, "one\n", 4));
    cr_assert(world_message_is(&w, 1, "two\n", 4));
    cr_assert_eq(w.closed, 0);
    raw_close(peer);
    WORLD_AWAIT(&w, w.closed == 1);
    cr_assert_eq(w.error, WEIR_EEOF);
    cr_assert_eq(w.closed_unopened, 0);
    world_stop(&w);
}

Test(conn, many_at_once_each_keep_the_order_of_callbacks)
{
    enum { PEERS = 100, LINES = 50 };
    world w = { .protocol = { .framing = weir_framing_line() }, .runtime_options = { .workers = 3 } };
    static raw_peer peers[PEERS];
    world_start(&w);
    for (int i = 0; i < PEERS; i++) peers[i] = world_connect(&w);
    for (int line = 0; line < LINES; line++)
        for (int i = 0; i < PEERS; i++) raw_send(peers[i], "x\n", 2);
    WORLD_AWAIT(&w, w.messages == PEERS * LINES);
    for (int i = 0; i < PEERS; i++) {
        if (i % 2)
            raw_close(peers[i]);
        else
            raw_reset(peers[i]);
    }
    WORLD_AWAIT(&w, w.closed == PEERS);
    cr_assert_eq(w.opened, PEERS);
    cr_assert_eq(world_closed(&w, WEIR_EEOF), PEERS / 2);
    cr_assert_eq(world_closed(&w, WEIR_ECONNRESET), PEERS / 2);
    cr_assert_eq(world_stats(&w).connections, 0);
    world_stop(&w);
}

Test(conn, without_any_callback_it_lives_and_ends)
{
    weir_runtime *runtime;
    weir_listener *listener;
    weir_stats stats;
    cr_assert_eq(weir_runtime_create(&runtime, &(weir_runtime_options){ .workers = 1, .max_connections = 64 }), 0);
    cr_assert_eq(weir_listen(runtime, "127.0.0.1:0", &(weir_protocol){ 0 }, NULL, &listener), 0);
    cr_assert_eq(weir_runtime_start(runtime), 0);
    raw_peer peer = raw_connect("127.0.0.1", weir_listener_address(listener).port, 0);
    raw_send(peer, "nobody listens", 14);
    raw_finish(peer);
    cr_assert_eq(raw_await_end(peer), RAW_FIN);
    raw_close(peer);
    weir_runtime_stop(runtime);
    cr_assert_eq(weir_runtime_wait(runtime), 0);
    weir_stats_read(runtime, &stats);
    cr_assert_eq(stats.closed[-WEIR_EEOF], 1);
    cr_assert_eq(stats.bytes_received, 14);
    weir_runtime_destroy(runtime);
}

/* ---- the session ---- */

static void use_session(weir_conn *conn)
{
    size_t size = *(size_t *)world_data(conn);
    unsigned char *session = world_session(conn);
    cr_assert_eq((uintptr_t)weir_conn_session(conn) % 16, 0, "aligned for any type");
    for (size_t i = 0; i < size; i++) cr_assert_eq(session[i], 0, "byte %zu of %zu is not zeroed", i, size);
    memset(session, 0xa5, size);
}

static void find_session_as_it_was(weir_conn *conn, weir_reason reason)
{
    (void)reason;
    size_t size = *(size_t *)world_data(conn);
    const unsigned char *session = world_session(conn);
    for (size_t i = 0; i < size; i++) cr_assert_eq(session[i], 0xa5, "byte %zu of %zu was overwritten", i, size);
}

static void check_sessions(const char *listen, const char *host, size_t size)
{
    world w = { .protocol = { .framing = weir_framing_line(),
                              .on_open = use_session,
                              .on_close = find_session_as_it_was,
                              .session_size = size,
                              .data = &size },
                .address = listen };
    world_start(&w);
    for (uint64_t round = 0; round < 4; round++) { /* the later ones get the memory of those before */
        raw_peer peers[3];
        for (int i = 0; i < 3; i++) peers[i] = raw_connect(host, w.port, 0);
        for (int i = 0; i < 3; i++) raw_send(peers[i], "an unfinished one", 17);
        WORLD_AWAIT(&w, world_stats(&w).bytes_received == (round + 1) * 51);
        for (int i = 0; i < 3; i++) raw_close(peers[i]);
        WORLD_AWAIT(&w, w.closed == (round + 1) * 3);
    }
    world_stop(&w);
}

Test(conn, the_session_is_zeroed_and_aligned_and_all_its_own)
{
    check_sessions("127.0.0.1:0", "127.0.0.1", 1);
    check_sessions("127.0.0.1:0", "127.0.0.1", 17);
    check_sessions("127.0.0.1:0", "127.0.0.1", 4096);
    check_sessions("127.0.0.1:0", "127.0.0.1", (1 << 20) - 64);
}

/* Its peer's address takes more room, which is not the session's. */
Test(conn, the_session_is_all_its_own_over_ipv6_too)
{
    if (!host_has_ipv6()) cr_skip_test("there is no ::1 here");
    check_sessions("[::1]:0", "::1", 1);
    check_sessions("[::1]:0", "::1", 4096);
}

/* ---- what it knows ---- */

static void tell_data(weir_conn *conn)
{
    weir_send(conn, world_data(conn), 1);
}

Test(conn, each_listener_has_its_own_data)
{
    world w = { .protocol = { .on_open = tell_data, .data = (void *)(uintptr_t) "a" } };
    const weir_protocol other = { .on_open = tell_data, .data = (void *)(uintptr_t) "b" };
    world_start(&w);
    weir_listener *listener;
    weir_protocol wrapped = world_wrap(&w, &other);
    cr_assert_eq(weir_listen(w.runtime, "127.0.0.1:0", &wrapped, NULL, &listener), 0);
    for (int i = 0; i < 6; i++) {
        raw_peer peer = raw_connect("127.0.0.1", i % 2 ? weir_listener_address(listener).port : w.port, 0);
        char letter;
        raw_receive(peer, &letter, 1);
        cr_assert_eq(letter, i % 2 ? 'b' : 'a');
        raw_close(peer);
    }
    WORLD_AWAIT(&w, w.closed == 6);
    world_stop(&w);
}

typedef struct facts {
    weir_address peer, local, peer_at_end, local_at_end;
    weir_conn_id id, id_at_end;
    weir_runtime *runtime;
    unsigned worker;
} facts;

static void learn(weir_conn *conn)
{
    facts *f = world_data(conn);
    f->peer = weir_conn_peer(conn);
    f->local = weir_conn_local(conn);
    f->id = weir_conn_get_id(conn);
    f->runtime = weir_conn_runtime(conn);
    f->worker = weir_conn_worker(conn);
}

static void learn_at_end(weir_conn *conn, weir_reason reason)
{
    (void)reason;
    facts *f = world_data(conn);
    f->peer_at_end = weir_conn_peer(conn);
    f->local_at_end = weir_conn_local(conn);
    f->id_at_end = weir_conn_get_id(conn);
}

/* What a connection to `listen` over `host` says of itself. False: this system has no such address. */
static bool learn_facts(facts *f, const char *listen, const char *host, uint16_t *peer_port, uint16_t *port)
{
    world w = { .protocol = { .on_open = learn, .on_close = learn_at_end, .data = f }, .address = listen };
    raw_peer peer;
    world_start(&w);
    if (!raw_try_connect(host, w.port, RAW_PATIENCE_MS, &peer)) {
        world_stop(&w);
        return false;
    }
    WORLD_AWAIT(&w, w.opened == 1);
    *peer_port = raw_port(peer);
    *port = w.port;
    cr_assert(f->runtime == w.runtime);
    cr_assert_eq(f->worker, 0);
    cr_assert_eq(f->id, w.id);
    cr_assert_neq(f->id, 0);
    raw_close(peer);
    WORLD_AWAIT(&w, w.closed == 1);
    cr_assert_eq(f->id_at_end, f->id);
    cr_assert_str_eq(f->peer_at_end.text, f->peer.text, "the peer is still known in on_close");
    cr_assert_eq(f->local_at_end.family, WEIR_FAMILY_NONE);
    world_stop(&w);
    return true;
}

Test(conn, knows_both_its_addresses)
{
    facts f;
    char text[64];
    uint16_t peer_port, port;
    cr_assert(learn_facts(&f, "127.0.0.1:0", "127.0.0.1", &peer_port, &port));
    (void)snprintf(text, sizeof text, "127.0.0.1:%u", peer_port);
    cr_assert_str_eq(f.peer.text, text);
    cr_assert_str_eq(f.peer.host, "127.0.0.1");
    cr_assert_eq(f.peer.port, peer_port);
    cr_assert_eq(f.peer.family, WEIR_FAMILY_IPV4);
    (void)snprintf(text, sizeof text, "127.0.0.1:%u", port);
    cr_assert_str_eq(f.local.text, text);
    cr_assert_eq(f.local.port, port);
}

Test(conn, knows_both_its_addresses_over_ipv6)
{
    facts f;
    char text[64];
    uint16_t peer_port, port;
    if (!learn_facts(&f, "[::]:0", "::1", &peer_port, &port)) cr_skip_test("no IPv6 here");
    (void)snprintf(text, sizeof text, "[::1]:%u", peer_port);
    cr_assert_str_eq(f.peer.text, text);
    cr_assert_str_eq(f.peer.host, "::1");
    cr_assert_eq(f.peer.family, WEIR_FAMILY_IPV6);
    (void)snprintf(text, sizeof text, "[::1]:%u", port);
    cr_assert_str_eq(f.local.text, text);
}

Test(conn, an_ipv4_client_of_a_dual_stack_listener_shows_as_ipv4)
{
    facts f;
    char text[64];
    uint16_t peer_port, port;
    if (!learn_facts(&f, "[::]:0", "127.0.0.1", &peer_port, &port)) cr_skip_test("no dual stack here");
    (void)snprintf(text, sizeof text, "127.0.0.1:%u", peer_port);
    cr_assert_str_eq(f.peer.text, text);
    cr_assert_eq(f.peer.family, WEIR_FAMILY_IPV4);
    (void)snprintf(text, sizeof text, "127.0.0.1:%u", port);
    cr_assert_str_eq(f.local.text, text);
}

Test(conn, over_a_unix_domain_socket_the_peer_has_no_name)
{
    facts f;
    char path[HOST_PATH_MAX], address[HOST_PATH_MAX + 8];
    host_path(path);
    world w = { .protocol = { .on_open = learn, .data = &f }, .address = address };
    (void)snprintf(address, sizeof address, "unix:%s", path);
    world_start(&w);
    raw_peer peer = raw_connect_unix(path);
    WORLD_AWAIT(&w, w.opened == 1);
    cr_assert_eq(f.peer.family, WEIR_FAMILY_UNIX);
    cr_assert_str_eq(f.peer.text, "unix:");
    cr_assert_eq(f.peer.port, 0);
    raw_close(peer);
    WORLD_AWAIT(&w, w.closed == 1);
    world_stop(&w);
}

Test(conn, ids_are_never_the_same_twice)
{
    enum { ROUNDS = 300 };
    static weir_conn_id ids[ROUNDS];
    world w = { .protocol = { .framing = weir_framing_line() } };
    world_start(&w);
    for (unsigned i = 0; i < ROUNDS; i++) {
        raw_peer peer = world_connect(&w);
        WORLD_AWAIT(&w, w.opened == i + 1);
        ids[i] = w.id;
        for (unsigned j = 0; j < i; j++) cr_assert_neq(ids[i], ids[j]);
        raw_reset(peer);
        WORLD_AWAIT(&w, w.closed == i + 1);
    }
    world_stop(&w);
}

/* ---- on_close ---- */

static void try_everything(weir_conn *conn, weir_reason reason)
{
    (void)reason;
    weir_buf *buf = weir_buf_copy("late", 4);
    cr_assert_eq(weir_send(conn, "late", 4), WEIR_ECLOSED);
    cr_assert_eq(weir_send_buf(conn, buf), WEIR_ECLOSED);
    weir_buf_release(buf);
    weir_close(conn);
    weir_abort(conn);
    weir_conn_pause(conn);
    weir_conn_resume(conn);
    cr_assert_eq(weir_conn_queued(conn), 0);
}

Test(conn, on_close_may_do_anything_to_no_effect)
{
    world w = { .protocol = { .on_close = try_everything, .framing = weir_framing_line() } };
    world_start(&w);
    raw_peer peers[2] = { world_connect(&w), world_connect(&w) };
    WORLD_AWAIT(&w, w.opened == 2);
    raw_close(peers[0]);
    WORLD_AWAIT(&w, w.closed == 1);
    cr_assert_eq(w.error, WEIR_EEOF);
    raw_reset(peers[1]);
    WORLD_AWAIT(&w, w.closed == 2);
    cr_assert_eq(w.error, WEIR_ECONNRESET);
    world_stop(&w);
}

static _Atomic weir_conn_id closing_id;

static void send_by_id(weir_conn *conn, weir_reason reason)
{
    (void)reason;
    weir_conn_id id = weir_conn_get_id(conn);
    closing_id = id;
    cr_assert_eq(weir_send_to(weir_conn_runtime(conn), id, "late", 4), 0);
    cr_assert_eq(weir_close_id(weir_conn_runtime(conn), id), 0);
    cr_assert_eq(weir_abort_id(weir_conn_runtime(conn), id), 0);
}

Test(conn, what_on_close_sends_by_its_id_reaches_nobody)
{
    world w = { .protocol = { .on_close = send_by_id } };
    world_start(&w);
    raw_close(world_connect(&w));
    WORLD_AWAIT(&w, w.closed == 1);
    raw_peer next = world_connect(&w); /* in the slot of the first one */
    WORLD_AWAIT(&w, w.opened == 2 && world_stats(&w).sends_dead == 1);
    cr_assert_eq((uint32_t)(w.id >> 32), (uint32_t)(closing_id >> 32), "the test wants the same slot");
    cr_assert(raw_is_silent(next, 20));
    raw_close(next);
    WORLD_AWAIT(&w, w.closed == 2);
    cr_assert_eq(w.error, WEIR_EEOF);
    world_stop(&w);
}
