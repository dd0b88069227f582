/* How a runtime stops: whoever asks, what is owed arrives, nobody holds it up, and every connection hears of it. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/connecting.h"

static uint64_t now_ms(void)
{
    return wr_os_now_ns() / 1000000;
}

/* ---- who asks ---- */

static void stop_here(weir_conn *conn, const void *bytes, size_t size)
{
    (void)bytes;
    (void)size;
    weir_runtime_stop(weir_conn_runtime(conn));
}

Test(runtime_stop, from_a_callback)
{
    for (unsigned workers = 1; workers <= 3; workers += 2) {
        world w = { .protocol.on_message = stop_here, .runtime_options.workers = workers };
        world_start(&w);
        raw_peer peer = world_connect(&w);
        raw_send(peer, "x", 1);
        cr_assert_eq(weir_runtime_wait(w.runtime), 0);
        cr_assert_eq(w.closed, 1);
        cr_assert_eq(w.error, WEIR_ESTOPPED);
        cr_assert_eq(w.stopped, 1);
        cr_assert_eq(raw_await_end(peer), RAW_FIN);
        raw_close(peer);
        world_stop(&w);
    }
}

static void stop_from_thread(void *arg)
{
    weir_sleep_ms(10);
    weir_runtime_stop(arg);
}

Test(runtime_stop, from_another_thread)
{
    world w = { .runtime_options.workers = 2 };
    wr_thread thread;
    world_start(&w);
    raw_peer peer = world_connect(&w);
    WORLD_AWAIT(&w, w.opened == 1);
    cr_assert_eq(wr_thread_start(&thread, "stopper", stop_from_thread, w.runtime), 0);
    cr_assert_eq(weir_runtime_wait(w.runtime), 0);
    wr_thread_join(&thread);
    cr_assert_eq(w.error, WEIR_ESTOPPED);
    raw_close(peer);
    world_stop(&w);
}

Test(runtime_stop, by_the_embedders_own_loop)
{
    world w = { .manual = true };
    world_start(&w);
    raw_peer peer = world_connect(&w);
    WORLD_AWAIT(&w, w.opened == 1);
    weir_runtime_stop(w.runtime);
    cr_assert_eq(w.closed, 0, "not from inside the call");
    WORLD_AWAIT(&w, weir_poll(w.runtime, 0) == WEIR_ESTOPPED);
    cr_assert_eq(w.error, WEIR_ESTOPPED);
    raw_close(peer);
    world_stop(&w);
}

Test(runtime_stop, by_destroy_alone)
{
    world w = { .runtime_options.workers = 2 };
    raw_peer peers[10];
    world_start(&w);
    for (int i = 0; i < 10; i++) peers[i] = world_connect(&w);
    WORLD_AWAIT(&w, w.opened == 10);
    world_stop(&w);
    cr_assert_eq(w.stopped, 10);
    cr_assert_eq(w.closed, 10);
    cr_assert_eq(w.error, WEIR_ESTOPPED);
    for (int i = 0; i < 10; i++) {
        cr_assert_eq(raw_await_end(peers[i]), RAW_FIN);
        raw_close(peers[i]);
    }
}

/* ---- what is owed ---- */

static void say_goodbye(weir_conn *conn)
{
    weir_send(conn, "goodbye", 7);
}

Test(runtime_stop, the_goodbye_of_on_stop_arrives_and_then_the_end)
{
    enum { PEERS = 50 };
    static raw_peer peers[PEERS];
    world w = { .protocol.on_stop = say_goodbye, .runtime_options.workers = 3 };
    world_start(&w);
    for (int i = 0; i < PEERS; i++) peers[i] = world_connect(&w);
    WORLD_AWAIT(&w, w.opened == PEERS);
    weir_runtime_stop(w.runtime);
    for (int i = 0; i < PEERS; i++) {
        char heard[16] = "";
        size_t size;
        cr_assert_eq(raw_receive_all(peers[i], heard, sizeof heard, &size), RAW_FIN);
        cr_assert_eq(size, 7);
        cr_assert_arr_eq(heard, "goodbye", 7);
        raw_close(peers[i]);
    }
    cr_assert_eq(weir_runtime_wait(w.runtime), 0);
    cr_assert_eq(world_closed(&w, WEIR_ESTOPPED), PEERS);
    world_stop(&w);
}

static const size_t owed = 3 << 20;

static void send_much(weir_conn *conn, const void *bytes, size_t size)
{
    (void)bytes;
    (void)size;
    static char block[65536];
    for (size_t sent = 0; sent < owed; sent += sizeof block) {
        memset(block, (int)(sent / sizeof block), sizeof block);
        cr_assert_eq(weir_send(conn, block, sizeof block), 0);
    }
}

Test(runtime_stop, a_peer_that_reads_slowly_gets_every_byte)
{
    world w = { .protocol = { .on_message = send_much,
                              .on_stop = say_goodbye,
                              .outbox = { .soft_limit = 16 << 20, .hard_limit = 16 << 20 } },
                .runtime_options.stop_timeout_ms = 60000 };
    world_start(&w);
    raw_peer peer = world_connect_small(&w);
    raw_send(peer, "x", 1);
    WORLD_AWAIT(&w, w.messages == 1);
    weir_runtime_stop(w.runtime);
    static char heard[65536];
    for (size_t got = 0; got < owed; got += sizeof heard) {
        raw_receive(peer, heard, sizeof heard);
        cr_assert_eq(heard[0], (char)(got / sizeof heard));
        cr_assert_eq(heard[sizeof heard - 1], heard[0]);
        if (got % (sizeof heard * 8) == 0) weir_sleep_ms(5);
    }
    raw_receive(peer, heard, 7);
    cr_assert_arr_eq(heard, "goodbye", 7);
    cr_assert_eq(raw_await_end(peer), RAW_FIN);
    cr_assert_eq(w.closed, 0, "it waits for the peer's own end");
    raw_close(peer);
    cr_assert_eq(weir_runtime_wait(w.runtime), 0);
    cr_assert_eq(w.error, WEIR_ESTOPPED);
    world_stop(&w);
}

/* ---- what does not hold it up ---- */

static void check_timeout(bool reads, uint32_t stop_timeout_ms, uint32_t close_timeout_ms, uint32_t expected_ms)
{
    world w = { .protocol = { .on_message = send_much,
                              .close_timeout_ms = close_timeout_ms,
                              .outbox = { .soft_limit = 16 << 20, .hard_limit = 16 << 20 } },
                .runtime_options = { .stop_timeout_ms = stop_timeout_ms, .workers = 2 } };
    world_start(&w);
    raw_peer peer = world_connect_small(&w), idle = world_connect(&w);
    raw_send(peer, "x", 1);
    WORLD_AWAIT(&w, w.messages == 1 && w.opened == 2);
    uint64_t before_ms = now_ms();
    weir_runtime_stop(w.runtime);
    if (reads) cr_assert_eq(raw_await_end(peer), RAW_FIN); /* but never closes */
    cr_assert_eq(weir_runtime_wait(w.runtime), 0);
    uint64_t took_ms = now_ms() - before_ms;
    cr_assert_geq(took_ms + 2, expected_ms, "%u ms", (unsigned)took_ms);
    cr_assert_lt(took_ms, expected_ms + 2000 * RAW_SLOWDOWN, "%u ms", (unsigned)took_ms);
    cr_assert_eq(world_closed(&w, WEIR_ESTOPPED), 2);
    if (!reads) cr_assert_eq(raw_await_end(peer), RAW_RESET);
    raw_close(peer);
    raw_close(idle);
    world_stop(&w);
}

Test(runtime_stop, a_peer_that_never_reads_is_reset_after_stop_timeout_ms)
{
    check_timeout(false, 300, 0, 300);
}

Test(runtime_stop, a_peer_that_reads_but_never_closes_is_reset_after_stop_timeout_ms)
{
    const uint32_t enough_to_read_all_ms = 300 * RAW_SLOWDOWN;
    check_timeout(true, enough_to_read_all_ms, 0, enough_to_read_all_ms);
}

Test(runtime_stop, a_shorter_close_timeout_ms_stands)
{
    check_timeout(false, 20000, 200, 200);
}

static void close_first(weir_conn *conn, const void *bytes, size_t size)
{
    send_much(conn, bytes, size);
    weir_close(conn);
}

Test(runtime_stop, one_that_is_closing_already_keeps_its_reason_and_does_not_hold_up_the_stop)
{
    world w = { .protocol = { .on_message = close_first,
                              .close_timeout_ms = 60000,
                              .outbox = { .soft_limit = 16 << 20, .hard_limit = 16 << 20 } },
                .runtime_options.stop_timeout_ms = 200 };
    world_start(&w);
    raw_peer peer = world_connect_small(&w);
    raw_send(peer, "x", 1);
    WORLD_AWAIT(&w, w.messages == 1);
    uint64_t before_ms = now_ms();
    weir_runtime_stop(w.runtime);
    cr_assert_eq(weir_runtime_wait(w.runtime), 0);
    cr_assert_lt(now_ms() - before_ms, 5000 * RAW_SLOWDOWN);
    cr_assert_eq(w.error, WEIR_ECLOSED);
    cr_assert_eq(w.stopped, 0, "it is told of one end only");
    raw_close(peer);
    world_stop(&w);
}

static void pause(weir_conn *conn)
{
    weir_conn_pause(conn);
}

Test(runtime_stop, a_paused_connection_ends_too)
{
    world w = { .protocol = { .on_open = pause, .on_stop = say_goodbye } };
    world_start(&w);
    raw_peer peer = world_connect(&w);
    raw_send(peer, "never delivered", 15);
    WORLD_AWAIT(&w, w.opened == 1);
    weir_runtime_stop(w.runtime);
    char heard[8];
    size_t size;
    cr_assert_eq(raw_receive_all(peer, heard, sizeof heard, &size), RAW_FIN);
    cr_assert_eq(size, 7);
    raw_close(peer);
    cr_assert_eq(weir_runtime_wait(w.runtime), 0);
    cr_assert_eq(w.messages, 0);
    world_stop(&w);
}

static void abort_at_stop(weir_conn *conn)
{
    weir_abort(conn);
}

Test(runtime_stop, on_stop_may_abort)
{
    world w = { .protocol.on_stop = abort_at_stop };
    world_start(&w);
    raw_peer peer = world_connect(&w);
    WORLD_AWAIT(&w, w.opened == 1);
    weir_runtime_stop(w.runtime);
    cr_assert_eq(weir_runtime_wait(w.runtime), 0);
    cr_assert_eq(w.error, WEIR_EABORTED);
    cr_assert_eq(raw_await_end(peer), RAW_RESET);
    raw_close(peer);
    world_stop(&w);
}

/* ---- while something new comes ---- */

typedef struct stopper {
    weir_runtime *runtime; /* to be stopped by the next allocation */
} stopper;

static void *stopping_alloc(size_t size, void *data)
{
    stopper *s = data;
    weir_runtime *runtime = s->runtime;
    s->runtime = NULL;
    if (runtime) weir_runtime_stop(runtime);
    return malloc(size);
}

static void stopping_free(void *block, size_t size, void *data)
{
    (void)size;
    (void)data;
    free(block);
}

/* A manual runtime whose next allocation stops it, when s->runtime is set. */
static weir_runtime *make_stoppable(stopper *s)
{
    const weir_allocator allocator = { .alloc = stopping_alloc, .free = stopping_free, .data = s };
    const weir_runtime_options options = { .manual = true, .max_connections = 64, .allocator = &allocator };
    weir_runtime *runtime;
    cr_assert_eq(weir_runtime_create(&runtime, &options), 0);
    return runtime;
}

/* weir_listen has looked whether the runtime stops, and allocates next: the stop reaches the worker first. */
Test(runtime_stop, that_overtakes_a_listener_closes_it)
{
    stopper s = { NULL };
    const weir_protocol protocol = { 0 };
    unsigned descriptors = raw_descriptors();
    weir_runtime *runtime = make_stoppable(&s);
    weir_listener *listener;
    s.runtime = runtime;
    cr_assert_eq(weir_listen(runtime, "127.0.0.1:0", &protocol, NULL, &listener), 0);
    cr_assert_null(s.runtime);
    uint16_t port = weir_listener_address(listener).port;
    while (weir_poll(runtime, 0) >= 0) continue;
    cr_assert_eq(weir_poll(runtime, 0), WEIR_ESTOPPED);
    cr_assert(host_connect_is_refused("127.0.0.1", port));
    weir_runtime_destroy(runtime);
    cr_assert_eq(raw_descriptors(), descriptors);
}

static void note_reason(weir_conn *conn, weir_reason reason)
{
    int *error = weir_conn_data(conn);
    cr_assert_eq(*error, 0, "on_close twice");
    *error = reason.error;
}

Test(runtime_stop, that_overtakes_a_connect_ends_it)
{
    stopper s = { NULL };
    int error = 0;
    const weir_protocol protocol = { .on_close = note_reason, .data = &error };
    weir_runtime *runtime = make_stoppable(&s);
    s.runtime = runtime;
    cr_assert_eq(weir_connect(runtime, "127.0.0.1:1", &protocol, NULL, NULL), 0);
    cr_assert_null(s.runtime);
    cr_assert_eq(error, 0, "never from inside the call");
    while (weir_poll(runtime, 0) >= 0) continue;
    cr_assert_eq(error, WEIR_ESTOPPED);
    weir_runtime_destroy(runtime);
}

Test(runtime_stop, that_overtakes_a_dialer_ends_its_connection)
{
    stopper s = { NULL };
    int error = 0;
    const weir_protocol protocol = { .on_close = note_reason, .data = &error };
    weir_runtime *runtime = make_stoppable(&s);
    weir_dialer *dialer;
    cr_assert_eq(weir_dialer_create(runtime, "127.0.0.1:1", &protocol, NULL, &dialer), 0);
    s.runtime = runtime;
    cr_assert_eq(weir_dialer_connect(dialer, NULL), 0);
    cr_assert_null(s.runtime);
    cr_assert_eq(error, 0, "never from inside the call");
    cr_assert_eq(weir_dialer_connect(dialer, NULL), WEIR_ESTOPPED);
    while (weir_poll(runtime, 0) >= 0) continue;
    cr_assert_eq(error, WEIR_ESTOPPED);
    weir_runtime_destroy(runtime);
}

/* ---- while all is busy ---- */

typedef struct flood {
    world *w;
    uint16_t port;
    wr_thread thread;
    _Atomic bool done;
} flood;

static void connect_for_ever(void *arg)
{
    flood *f = arg;
    raw_peer peer;
    while (!f->done) {
        if (!raw_try_connect("127.0.0.1", f->port, 100, &peer)) continue;
        (void)raw_send_some(peer, "x", 1);
        raw_close(peer);
    }
}

static void send_for_ever(void *arg)
{
    flood *f = arg;
    char address[32];
    weir_protocol protocol = world_wrap(f->w, &f->w->protocol);
    (void)snprintf(address, sizeof address, "127.0.0.1:%u", f->port);
    while (!f->done) {
        weir_conn_id id = 0;
        int error = weir_connect(f->w->runtime, address, &protocol, NULL, &id);
        cr_assert(error == 0 || error == WEIR_ESTOPPED || error == WEIR_ELIMIT, "%s", weir_error_name(error));
        if (error == 0) (void)weir_send_to(f->w->runtime, id, "y", 1);
        if (f->w->id) (void)weir_send_to(f->w->runtime, f->w->id, "z", 1);
    }
}

Test(runtime_stop, while_connections_pour_in_and_out_ends_each_of_them, .timeout = 60)
{
    /* What takes minutes on a busy machine proves no more than the first rounds. */
    uint64_t start_ns = wr_os_now_ns();
    for (int round = 0; round < 12 && (round < 2 || wr_os_now_ns() - start_ns < UINT64_C(15000000000)); round++) {
        world w = { .runtime_options = { .workers = 3, .stop_timeout_ms = 500, .max_connections = 200 },
                    .listen_options.placement = round % 2 ? WEIR_PLACEMENT_SPREAD : WEIR_PLACEMENT_BALANCED };
        world_start(&w);
        raw_peer stays = world_connect(&w); /* to hear of the stop: the others may all have gone just then */
        WORLD_AWAIT(&w, w.opened == 1);
        flood in = { .w = &w, .port = w.port }, out = { .w = &w, .port = w.port };
        cr_assert_eq(wr_thread_start(&in.thread, "in", connect_for_ever, &in), 0);
        cr_assert_eq(wr_thread_start(&out.thread, "out", send_for_ever, &out), 0);
        WORLD_AWAIT(&w, w.opened > 100);
        weir_runtime_stop(w.runtime);
        cr_assert_eq(weir_runtime_wait(w.runtime), 0);
        in.done = out.done = true;
        wr_thread_join(&in.thread);
        wr_thread_join(&out.thread);
        raw_close(stays);
        world_stop(&w); /* checks that each has closed */
        cr_assert_gt(w.stopped, 0);
    }
}
