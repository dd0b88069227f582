/* What embedders see when system calls fail that the kernel cannot be made to fail. */
#include <errno.h>
#include <string.h>

#include "core/host.h"
#include "core/world.h"
#include "harness/calls.h"

static void echo(weir_conn *conn, const void *bytes, size_t size)
{
    (void)weir_send(conn, bytes, size);
}

Test(failing_calls, a_listener_that_cannot_be_made_names_the_step)
{
    static const struct {
        enum call call;
        weir_step step;
        const char *word;
    } cases[] = { { CALL_SETSOCKOPT, WEIR_STEP_SOCKET, "socket" }, { CALL_LISTEN, WEIR_STEP_LISTEN, "listen" } };
    world w = { .no_listener = true, .manual = true };
    world_start(&w);
    unsigned before = raw_descriptors();
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        weir_failure failure;
        const weir_protocol protocol = { 0 };
        call_fails(cases[i].call, EACCES, 0, 1);
        int error =
            weir_listen(w.runtime, "127.0.0.1:0", &protocol, &(weir_listen_options){ .failure = &failure }, NULL);
        cr_assert_eq(error, WEIR_EACCES);
        cr_assert_eq(failure.step, cases[i].step);
        cr_assert_eq(failure.system_error, EACCES);
        cr_assert_not_null(strstr(failure.text, cases[i].word), "%s", failure.text);
        cr_assert_eq(raw_descriptors(), before);
    }
    world_stop(&w);
}

Test(failing_calls, a_listener_that_cannot_wait_for_connections_pauses_and_goes_on)
{
    world w = { .manual = true, .protocol.on_message = echo };
    call_fails(CALL_EPOLL_CTL, ENOMEM, 1, 1); /* the queue's own comes first */
    world_start(&w);
    world_settle(&w);
    cr_assert_eq(call_failures(CALL_EPOLL_CTL), 1);
    cr_assert_eq(world_stats(&w).accept_errors, 1);
    cr_assert_eq(world_stats(&w).accept_pauses, 1);
    raw_peer peer = world_connect(&w);
    WORLD_AWAIT(&w, w.opened == 1);
    raw_close(peer);
    WORLD_AWAIT(&w, w.closed == 1);
    world_stop(&w);
}

Test(failing_calls, a_connection_that_cannot_wait_for_bytes_ends_alone)
{
    world w = { .manual = true, .protocol.on_message = echo };
    world_start(&w);
    raw_peer bystander = world_connect(&w);
    WORLD_AWAIT(&w, w.opened == 1);
    world_settle(&w);
    call_fails(CALL_EPOLL_CTL, ENOMEM, 0, 1);
    raw_peer peer = world_connect(&w);
    WORLD_AWAIT(&w, w.closed == 1);
    cr_assert_eq(w.error, WEIR_ENOMEM);
    cr_assert_eq(w.system_error, ENOMEM);
    cr_assert_eq(raw_await_end(peer), RAW_RESET);
    char heard[5];
    raw_send(bystander, "still", 5);
    raw_receive(bystander, heard, 5);
    raw_close(bystander);
    raw_close(peer);
    WORLD_AWAIT(&w, w.closed == 2);
    world_stop(&w);
}

/* The kernel has no memory for what is sent; the connection itself is well. */
Test(failing_calls, a_send_that_fails_leaves_what_the_peer_says_until_the_deadline)
{
    world w = { .manual = true,
                .keeps = true,
                .protocol = { .on_message = echo, .framing = weir_framing_line(), .close_timeout_ms = 100 } };
    world_start(&w);
    raw_peer peer = world_connect(&w);
    WORLD_AWAIT(&w, w.opened == 1);
    raw_send(peer, "first\n", 6);
    call_fails(CALL_SEND, ENOBUFS, 0, 1);
    WORLD_AWAIT(&w, w.messages == 1);
    world_settle(&w);
    cr_assert_eq(call_failures(CALL_SEND), 1);
    raw_send(peer, "second\n", 7);
    WORLD_AWAIT(&w, w.messages == 2);
    cr_assert(world_message_is(&w, 1, "second\n", 7));
    cr_assert_eq(w.closed, 0);
    WORLD_AWAIT(&w, w.closed == 1);
    cr_assert_eq(w.error, WEIR_ENOBUFS);
    cr_assert_eq(w.system_error, ENOBUFS);
    cr_assert_eq(raw_await_end(peer), RAW_RESET);
    raw_close(peer);
    world_stop(&w);
}

/* ---- threads ---- */

static void fail_thread(int system_error, int error, bool runs)
{
    enum { WORKERS = 4 };
    const int threads = runs ? WORKERS - 1 : WORKERS;
    unsigned before = raw_descriptors();
    for (int n = 0; n < threads; n++) {
        weir_runtime *runtime;
        const weir_protocol protocol = { 0 };
        cr_assert_eq(
            weir_runtime_create(&runtime, &(weir_runtime_options){ .workers = WORKERS, .max_connections = 64 }), 0);
        cr_assert_eq(weir_listen(runtime, "127.0.0.1:0", &protocol, NULL, NULL), 0);
        call_fails(CALL_PTHREAD_CREATE, system_error, n, 1);
        cr_assert_eq(runs ? weir_runtime_run(runtime) : weir_runtime_start(runtime), error);
        cr_assert_eq(call_failures(CALL_PTHREAD_CREATE), 1);
        cr_assert_eq(weir_listen(runtime, "127.0.0.1:0", &protocol, NULL, NULL), WEIR_ESTOPPED);
        weir_runtime_destroy(runtime);
        cr_assert_eq(raw_descriptors(), before);
    }
}

Test(failing_calls, a_thread_that_cannot_be_started_stops_the_others)
{
    fail_thread(EAGAIN, WEIR_ENOMEM, false);
    fail_thread(EAGAIN, WEIR_ENOMEM, true);
    fail_thread(EPERM, WEIR_ESYSTEM, false);
}
