/* The runtime's states, its threads, and the embedder's own loop. How it stops is in runtime_stop_test.c. */
#include <stdio.h>
#include <string.h>
#include <weir/version.h>

#include "core/host.h"
#include "core/world.h"

static const weir_runtime_options one_worker = { .workers = 1, .max_connections = 64 };
static const weir_runtime_options manual = { .manual = true, .max_connections = 64 };

static weir_runtime *make(weir_runtime_options options)
{
    weir_runtime *runtime;
    cr_assert_eq(weir_runtime_create(&runtime, &options), 0);
    return runtime;
}

static void echo(weir_conn *conn, const void *bytes, size_t size)
{
    weir_send(conn, bytes, size);
}

/* ---- creation ---- */

Test(runtime, refuses_options_that_make_no_sense)
{
    weir_runtime *runtime = (weir_runtime *)1;
    const weir_allocator half = { .alloc = NULL, .free = NULL };
    cr_assert_eq(weir_runtime_create(NULL, NULL), WEIR_EINVAL);
    cr_assert_eq(weir_runtime_create(&runtime, &(weir_runtime_options){ .workers = 257 }), WEIR_EINVAL);
    cr_assert_null(runtime);
    cr_assert_eq(weir_runtime_create(&runtime, &(weir_runtime_options){ .workers = UINT32_MAX }), WEIR_EINVAL);
    cr_assert_eq(weir_runtime_create(&runtime, &(weir_runtime_options){ .manual = true, .workers = 2 }), WEIR_EINVAL);
    cr_assert_eq(weir_runtime_create(&runtime, &(weir_runtime_options){ .allocator = &half }), WEIR_EINVAL);
    weir_runtime_destroy(NULL);
}

Test(runtime, is_of_the_version_that_its_headers_say)
{
    cr_assert_str_eq(weir_version(), WEIR_VERSION);
}

Test(runtime, has_a_clock_that_goes_on)
{
    weir_runtime *runtime = make(manual);
    uint64_t start_ns = weir_now_ns(runtime);
    weir_sleep_ms(2);
    uint64_t slept_ns = weir_now_ns(runtime) - start_ns;
    cr_assert_geq(slept_ns, 1000000);
    cr_assert_lt(slept_ns, 25000000000);
    weir_runtime_destroy(runtime);
}

Test(runtime, has_as_many_workers_as_was_said_or_one_a_core)
{
    const unsigned counts[] = { 1, 2, 16, 256 };
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
        weir_runtime *runtime = make((weir_runtime_options){ .workers = counts[i], .max_connections = 64 });
        cr_assert_eq(weir_runtime_workers(runtime), counts[i]);
        weir_runtime_destroy(runtime);
    }
    weir_runtime *runtime = make((weir_runtime_options){ .max_connections = 64 });
    cr_assert_eq(weir_runtime_workers(runtime), wr_os_cores());
    weir_runtime_destroy(runtime);
    runtime = make(manual);
    cr_assert_eq(weir_runtime_workers(runtime), 1);
    weir_runtime_destroy(runtime);
}

Test(runtime, without_options_has_the_defaults)
{
    weir_runtime *runtime;
    cr_assert_eq(weir_runtime_create(&runtime, NULL), 0);
    weir_listener *listener;
    const weir_protocol protocol = { .on_message = echo };
    cr_assert_eq(weir_listen(runtime, "127.0.0.1:0", &protocol, NULL, &listener), 0);
    cr_assert_eq(weir_runtime_start(runtime), 0);
    raw_peer peer = raw_connect("127.0.0.1", weir_listener_address(listener).port, 0);
    char heard[2];
    raw_send(peer, "hi", 2);
    raw_receive(peer, heard, 2);
    raw_close(peer);
    weir_runtime_destroy(runtime);
}

Test(runtime, without_a_descriptor_cannot_be_made_and_leaves_nothing)
{
    weir_runtime *runtime;
    weir_runtime_destroy(make((weir_runtime_options){ .workers = 4, .max_connections = 64 })); /* what stays is there */
    cr_assert(host_limit_descriptors(256));
    unsigned descriptors = raw_descriptors();
    host_fill_descriptors();
    for (unsigned left = 0; left < 8; left++) { /* four workers need two each */
        cr_assert_eq(weir_runtime_create(&runtime, &(weir_runtime_options){ .workers = 4, .max_connections = 64 }),
                     WEIR_EMFILE, "%u descriptors are free", left);
        host_free_descriptors(1);
    }
    runtime = make((weir_runtime_options){ .workers = 4, .max_connections = 64 });
    weir_runtime_destroy(runtime);
    host_free_descriptors(UINT32_MAX);
    cr_assert_eq(raw_descriptors(), descriptors);
}

/* ---- states ---- */

Test(runtime, destroyed_without_a_start)
{
    weir_runtime_destroy(make(one_worker));
    weir_runtime_destroy(make(manual));
    weir_runtime_destroy(make((weir_runtime_options){ .workers = 8, .max_connections = 64 }));
}

Test(runtime, destroyed_with_listeners_and_connects_that_never_began)
{
    for (int is_manual = 0; is_manual < 2; is_manual++) {
        world w = { .manual = is_manual, .no_listener = true };
        uint16_t port;
        raw_peer listener = raw_listen(8, &port);
        char address[32];
        (void)snprintf(address, sizeof address, "127.0.0.1:%u", port);
        /* The world starts what is not manual; this one stays as it was made. */
        weir_runtime *runtime =
            make(is_manual ? manual : (weir_runtime_options){ .workers = 3, .max_connections = 64 });
        weir_protocol protocol = world_wrap(&w, &w.protocol);
        cr_assert_eq(weir_listen(runtime, "127.0.0.1:0", &protocol, NULL, NULL), 0);
        for (int i = 0; i < 7; i++) cr_assert_eq(weir_connect(runtime, address, &protocol, NULL, NULL), 0);
        weir_runtime_destroy(runtime);
        cr_assert_eq(w.closed, 7);
        cr_assert_eq(w.opened + w.closed_unopened, 7);
        cr_assert_eq(w.error, WEIR_ESTOPPED);
        raw_close(listener);
    }
}

Test(runtime, runs_once)
{
    weir_runtime *runtime = make(one_worker);
    cr_assert_eq(weir_runtime_wait(runtime), WEIR_ESTATE, "not started");
    cr_assert_eq(weir_poll(runtime, 0), WEIR_ESTATE, "not manual");
    cr_assert_eq(weir_runtime_start(runtime), 0);
    cr_assert_eq(weir_runtime_start(runtime), WEIR_ESTATE);
    cr_assert_eq(weir_runtime_run(runtime), WEIR_ESTATE);
    cr_assert_eq(weir_poll(runtime, 0), WEIR_ESTATE);
    weir_runtime_stop(runtime);
    weir_runtime_stop(runtime);
    cr_assert_eq(weir_runtime_wait(runtime), 0);
    cr_assert_eq(weir_runtime_wait(runtime), WEIR_ESTATE, "has been waited for");
    cr_assert_eq(weir_runtime_start(runtime), WEIR_ESTATE);
    cr_assert_eq(weir_runtime_run(runtime), WEIR_ESTATE);
    weir_runtime_stop(runtime);
    weir_runtime_destroy(runtime);
}

static void stop(weir_runtime *runtime, void *data)
{
    (void)data;
    weir_runtime_stop(runtime);
}

Test(runtime, run_serves_on_the_callers_thread_until_the_stop)
{
    for (unsigned workers = 1; workers <= 4; workers += 3) {
        weir_runtime *runtime = make((weir_runtime_options){ .workers = workers, .max_connections = 64 });
        cr_assert_eq(weir_post_after(runtime, workers - 1, 20, stop, NULL), 0);
        cr_assert_eq(weir_runtime_run(runtime), 0);
        cr_assert_eq(weir_runtime_wait(runtime), WEIR_ESTATE);
        cr_assert_eq(weir_runtime_run(runtime), WEIR_ESTATE);
        weir_runtime_destroy(runtime);
    }
}

Test(runtime, stopped_before_it_starts_ends_at_once)
{
    for (int i = 0; i < 3; i++) {
        weir_runtime *runtime = make((weir_runtime_options){ .workers = 2, .max_connections = 64 });
        weir_runtime_stop(runtime);
        if (i == 0) cr_assert_eq(weir_runtime_run(runtime), 0);
        if (i == 1) {
            cr_assert_eq(weir_runtime_start(runtime), 0);
            cr_assert_eq(weir_runtime_wait(runtime), 0);
        }
        weir_runtime_destroy(runtime);
    }
}

Test(runtime, manual_has_no_thread_of_its_own)
{
    weir_runtime *runtime = make(manual);
    cr_assert_eq(weir_runtime_start(runtime), WEIR_ESTATE);
    cr_assert_eq(weir_runtime_run(runtime), WEIR_ESTATE);
    cr_assert_eq(weir_runtime_wait(runtime), WEIR_ESTATE);
    cr_assert_geq(weir_poll(runtime, 0), 0);
    weir_runtime_stop(runtime);
    for (int i = 0; i < 10 && weir_poll(runtime, 0) >= 0; i++) continue;
    cr_assert_eq(weir_poll(runtime, 0), WEIR_ESTOPPED);
    cr_assert_eq(weir_poll(runtime, -1), WEIR_ESTOPPED);
    weir_runtime_destroy(runtime);
}

Test(runtime, two_at_once_in_one_process_know_nothing_of_each_other)
{
    world first = { .protocol.on_message = echo }, second = { .protocol.on_message = echo, .manual = true };
    world_start(&second);
    raw_while_waiting(NULL, NULL);
    world_start(&first);
    raw_peer one = world_connect(&first), two = world_connect(&second);
    raw_send(one, "x", 1);
    raw_send(two, "y", 1);
    WORLD_AWAIT(&first, first.messages == 1);
    cr_assert_eq(second.messages, 0);
    WORLD_AWAIT(&second, second.messages == 1);
    char heard;
    raw_receive(one, &heard, 1);
    cr_assert_eq(heard, 'x');
    raw_close(one);
    world_stop(&first);
    raw_receive(two, &heard, 1);
    cr_assert_eq(heard, 'y');
    raw_close(two);
    world_stop(&second);
}

/* ---- the embedder's loop ---- */

static uint64_t now_us(void)
{
    return wr_os_now_ns() / 1000;
}

Test(runtime, poll_of_0_does_not_block_and_of_16_not_much_longer)
{
    enum { LATE_US = 250000 * RAW_SLOWDOWN }; /* a shared machine; a lost wake-up would be for ever */
    weir_runtime *runtime = make(manual);
    (void)weir_poll(runtime, 0);
    uint64_t before = now_us();
    for (int i = 0; i < 100; i++) cr_assert_eq(weir_poll(runtime, 0), 0);
    cr_assert_lt(now_us() - before, LATE_US);
    before = now_us();
    cr_assert_eq(weir_poll(runtime, 16), 0);
    cr_assert_geq(now_us() - before, 16000);
    cr_assert_lt(now_us() - before, 16000 + LATE_US);
    weir_runtime_destroy(runtime);
}

static void note(weir_runtime *runtime, void *data)
{
    (void)runtime;
    ++*(int *)data;
}

Test(runtime, poll_wakes_early_for_what_falls_due)
{
    int noted = 0;
    weir_runtime *runtime = make(manual);
    uint64_t before = now_us();
    cr_assert_eq(weir_post(runtime, 0, note, &noted), 0);
    cr_assert_gt(weir_poll(runtime, 20000), 0);
    cr_assert_eq(noted, 1);
    cr_assert_eq(weir_post_after(runtime, 0, 30, note, &noted), 0);
    while (noted < 2) cr_assert_geq(weir_poll(runtime, -1), 0);
    cr_assert_geq(now_us() - before, 30000);
    cr_assert_lt(now_us() - before, 10000000);
    weir_runtime_destroy(runtime);
}

typedef struct waker {
    weir_runtime *runtime;
    wr_thread thread;
    int noted;
} waker;

static void wake(void *arg)
{
    waker *w = arg;
    weir_sleep_ms(20);
    cr_assert_eq(weir_post(w->runtime, 0, note, &w->noted), 0);
}

Test(runtime, poll_wakes_early_for_another_thread)
{
    for (int i = 0; i < 20; i++) {
        waker w = { .runtime = make(manual) };
        uint64_t before = now_us();
        cr_assert_eq(wr_thread_start(&w.thread, "waker", wake, &w), 0);
        while (w.noted == 0) cr_assert_geq(weir_poll(w.runtime, i % 2 ? -1 : 20000), 0);
        cr_assert_lt(now_us() - before, 10000000);
        wr_thread_join(&w.thread);
        weir_runtime_destroy(w.runtime);
    }
}

Test(runtime, one_poll_a_frame_serves_all_that_has_come_and_sends_all_that_was_sent)
{
    enum { PEERS = 20 };
    raw_peer peers[PEERS];
    world w = { .protocol.on_message = echo, .manual = true };
    world_start(&w);
    raw_while_waiting(NULL, NULL);
    for (int i = 0; i < PEERS; i++) {
        peers[i] = world_connect(&w);
        raw_send(peers[i], "hello", 5);
    }
    for (int frame = 0; frame < 2 && w.messages < PEERS; frame++) cr_assert_gt(weir_poll(w.runtime, 0), 0);
    cr_assert_eq(w.messages, PEERS);
    for (int i = 0; i < PEERS; i++) {
        char heard[5];
        raw_receive(peers[i], heard, 5);
        raw_close(peers[i]);
    }
    world_stop(&w);
}

static int error_in_callback;

static void poll_inside(weir_conn *conn, const void *bytes, size_t size)
{
    (void)bytes;
    (void)size;
    error_in_callback = weir_poll(weir_conn_runtime(conn), 0);
}

static void poll_inside_a_post(weir_runtime *runtime, void *data)
{
    (void)data;
    error_in_callback = weir_poll(runtime, 0);
}

Test(runtime, poll_inside_a_callback_is_refused)
{
    world w = { .protocol.on_message = poll_inside, .manual = true };
    world_start(&w);
    raw_peer peer = world_connect(&w);
    raw_send(peer, "x", 1);
    WORLD_AWAIT(&w, w.messages == 1);
    cr_assert_eq(error_in_callback, WEIR_ESTATE);
    error_in_callback = 0;
    cr_assert_eq(weir_post(w.runtime, 0, poll_inside_a_post, NULL), 0);
    WORLD_AWAIT(&w, error_in_callback != 0);
    cr_assert_eq(error_in_callback, WEIR_ESTATE);
    raw_close(peer);
    world_stop(&w);
}

/* ---- the log ---- */

enum { LINES_MAX = 64 };

typedef struct log_lines {
    wr_mutex lock;
    char lines[LINES_MAX][200];
    weir_log_level levels[LINES_MAX];
    unsigned count;
} log_lines;

static void keep_line(weir_log_level level, const char *text, void *data)
{
    log_lines *l = data;
    wr_mutex_lock(&l->lock);
    if (l->count < LINES_MAX) {
        (void)snprintf(l->lines[l->count], sizeof l->lines[0], "%s", text);
        l->levels[l->count++] = level;
    }
    wr_mutex_unlock(&l->lock);
}

static bool has_line(log_lines *l, weir_log_level level, const char *part)
{
    bool found = false;
    wr_mutex_lock(&l->lock);
    for (unsigned i = 0; i < l->count; i++) found |= l->levels[i] == level && strstr(l->lines[i], part);
    wr_mutex_unlock(&l->lock);
    return found;
}

Test(runtime, logs_its_start_its_listeners_and_its_stop_a_line_each)
{
    static log_lines l;
    wr_mutex_init(&l.lock);
    world w = { .runtime_options = { .log = keep_line, .log_data = &l, .workers = 2 } };
    world_start(&w);
    cr_assert(has_line(&l, WEIR_LOG_INFO, WEIR_VERSION));
    cr_assert(has_line(&l, WEIR_LOG_INFO, "2 workers"));
    cr_assert(has_line(&l, WEIR_LOG_INFO, weir_listener_address(w.listener).text));
    cr_assert_not(has_line(&l, WEIR_LOG_INFO, "stopped"));
    world_stop(&w);
    cr_assert(has_line(&l, WEIR_LOG_INFO, "stopped"));
    for (unsigned i = 0; i < l.count; i++) {
        cr_assert_null(strchr(l.lines[i], '\n'), "%s", l.lines[i]);
        cr_assert_eq(l.levels[i], WEIR_LOG_INFO, "all is well: %s", l.lines[i]);
    }
    wr_mutex_destroy(&l.lock);
}

Test(runtime, logs_that_a_listener_pauses)
{
    static log_lines l;
    wr_mutex_init(&l.lock);
    world w = { .runtime_options = { .log = keep_line, .log_data = &l }, .manual = true };
    world_start(&w);
    world_refuse(&w, 0);
    (void)weir_poll(w.runtime, 0);
    world_refuse(&w, -1);
    cr_assert(has_line(&l, WEIR_LOG_WARNING, "pauses"));
    world_stop(&w);
    wr_mutex_destroy(&l.lock);
}
