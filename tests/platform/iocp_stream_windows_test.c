/* The IOCP backend: what becomes of sends and receives when Windows does what it seldom does. */
#include "iocp_faults_windows.h"

/* What a test's body is run with: an operation that is done at once queues no packet, or it does. */
#define IOCP_TEST_BOTH(suite, name)                     \
    static void suite##_##name##_both(world *w);        \
    IOCP_TEST(suite, name##_without_a_packet)           \
    {                                                   \
        suite##_##name##_both(w);                       \
    }                                                   \
    IOCP_TEST(suite, name##_with_a_packet)              \
    {                                                   \
        faults_no_skip();                               \
        suite##_##name##_both(w);                       \
    }                                                   \
    IOCP_TEST(suite, name##_through_a_layered_provider) \
    {                                                   \
        faults.layered = true;                          \
        suite##_##name##_both(w);                       \
        cr_assert_eq(faults.set_modes.calls, 0);        \
    }                                                   \
    static void suite##_##name##_both(world *w)

/* ---- sending ---- */

IOCP_TEST_BOTH(iocp_send, completes_once_what_is_taken_at_once)
{
    pair p = world_pair(w);
    char heard[4];
    for (int i = 0; i < 3; i++) {
        world_say(w, p.a, "ping", 4);
        world_hear(w, p.b, heard, 4);
        cr_assert_arr_eq(heard, "ping", 4);
    }
    cr_assert_eq(faults.wsa_send.calls, 3);
    world_settle(w);
    world_finish_pair(w, p);
}

/* However little is taken at a time, all of it goes, in its order and across the bounds of the slices. */
IOCP_TEST_BOTH(iocp_send, goes_on_after_a_part)
{
    const wr_slice last = { .data = "ghijklmnop", .size = 10 };
    const wr_slice middle = { .next = &last, .data = "cdef", .size = 4 };
    const wr_slice first = { .next = &middle, .data = "ab", .size = 2 };
    pair p = world_pair(w);
    for (ULONG at_most = 1; at_most <= 4; at_most++) {
        deed send = { 0 };
        char heard[16];
        faults.send_at_most = at_most;
        world_send(w, p.a, &first, &send);
        world_await(w, &send);
        cr_assert_eq(send.error, 0);
        world_hear(w, p.b, heard, 16);
        cr_assert_arr_eq(heard, "abcdefghijklmnop", 16);
    }
    world_finish_pair(w, p);
}

IOCP_TEST(iocp_send, at_once_starves_nobody)
{
    enum { CALLS = 20 * WR_SEND_CALLS_MAX };
    static const char block[CALLS];
    const wr_slice slice = { .data = block, .size = sizeof block };
    deed send = { 0 }, recv = { 0 };
    pair busy = world_pair(w), quiet = world_pair(w);
    world_recv(w, quiet.b, &recv);
    world_say(w, quiet.a, "x", 1);
    faults.send_at_most = 1;
    faults.wsa_send.calls = 0;
    world_send(w, busy.a, &slice, &send);
    cr_assert_leq(faults.wsa_send.calls, WR_SEND_CALLS_MAX);
    while (!send.done) {
        unsigned before = faults.wsa_send.calls;
        world_pump(w, world_in_ms(w, WORLD_PATIENCE_MS));
        cr_assert_leq(faults.wsa_send.calls - before, WR_SEND_CALLS_MAX);
        cr_assert(recv.done || faults.wsa_send.calls < CALLS / 2);
    }
    cr_assert_eq(faults.wsa_send.calls, CALLS);
    cr_assert(recv.done);
    world_return(w, &recv);
    world_finish_pair(w, busy);
    world_finish_pair(w, quiet);
}

IOCP_TEST(iocp_send, may_be_closed_between_two_parts)
{
    static const char block[2 * WR_SEND_CALLS_MAX];
    const wr_slice slice = { .data = block, .size = sizeof block };
    deed send = { 0 };
    pair p = world_pair(w);
    faults.send_at_most = 1;
    world_send(w, p.a, &slice, &send);
    world_finish(w, p.a);
    cr_assert(send.done);
    cr_assert_eq(send.error, WEIR_ECANCELED);
    world_finish(w, p.b);
}

static void send_fails(world *w, fault *f, int code, int error)
{
    const wr_slice slice = { .data = "x", .size = 1 };
    deed send = { 0 };
    pair p = world_pair(w);
    *f = (fault){ .times = 1, .code = code };
    world_send(w, p.a, &slice, &send);
    world_await(w, &send);
    cr_assert_eq(send.error, error);
    cr_assert_eq(send.system_error, code);
    world_say(w, p.b, "y", 1); /* the other way goes on */
    char heard;
    world_hear(w, p.a, &heard, 1);
    world_finish_pair(w, p);
}

IOCP_TEST(iocp_send, fails_with_what_the_call_says)
{
    send_fails(w, &faults.wsa_send, WSAENOBUFS, WEIR_ENOBUFS);
    send_fails(w, &faults.wsa_send, WSAECONNABORTED, WEIR_ECONNABORTED);
}

IOCP_TEST(iocp_send, fails_with_what_the_packet_says)
{
    faults_no_skip();
    send_fails(w, &faults.stream_result, ERROR_NETNAME_DELETED, WEIR_ECONNRESET);
}

/* ---- receiving ---- */

IOCP_TEST_BOTH(iocp_recv, reads_once_what_is_noticed_at_once)
{
    deed recv = { 0 };
    pair p = world_pair(w);
    for (int i = 0; i < 3; i++) {
        world_say(w, p.a, "x", 1);
        faults.wsa_recv.at_once = 1;
        world_recv(w, p.b, &recv);
        cr_assert_eq(faults.wsa_recv.at_once, 0);
        world_await(w, &recv);
        cr_assert_eq(recv.error, 0);
        cr_assert_eq(recv.size, 1);
        world_return(w, &recv);
        world_settle(w);
    }
    world_finish_pair(w, p);
}

IOCP_TEST_BOTH(iocp_recv, may_be_closed_after_a_notice_at_once)
{
    deed recv = { 0 };
    pair p = world_pair(w);
    world_say(w, p.a, "x", 1);
    faults.wsa_recv.at_once = 1;
    world_recv(w, p.b, &recv);
    world_finish(w, p.b);
    cr_assert(recv.done);
    cr_assert_eq(recv.error, WEIR_ECANCELED);
    world_settle(w);
    world_finish(w, p.a);
}

IOCP_TEST_BOTH(iocp_recv, waits_again_after_a_notice_of_nothing)
{
    deed recv = { 0 };
    pair p = world_pair(w);
    faults.recv = (fault){ .times = 2, .code = WSAEWOULDBLOCK };
    faults.wsa_recv = (fault){ 0 };
    world_recv(w, p.b, &recv);
    world_say(w, p.a, "x", 1);
    world_await(w, &recv);
    cr_assert_eq(recv.error, 0);
    cr_assert_eq(recv.size, 1);
    cr_assert_eq(faults.wsa_recv.calls, 3);
    world_return(w, &recv);
    world_finish_pair(w, p);
}

/* However often that happens, it is one look a wait. */
IOCP_TEST(iocp_recv, notices_of_nothing_starve_nobody)
{
    deed recv = { 0 }, post = { 0 };
    pair p = world_pair(w);
    world_say(w, p.a, "x", 1);
    faults.recv = (fault){ .times = ALWAYS, .code = WSAEWOULDBLOCK };
    world_recv(w, p.b, &recv);
    for (int i = 0; i < 20; i++) {
        unsigned before = faults.recv.calls;
        world_post(w, &post);
        world_await(w, &post);
        cr_assert_leq(faults.recv.calls - before, 2);
    }
    faults.recv = (fault){ 0 };
    world_await(w, &recv);
    world_return(w, &recv);
    world_finish_pair(w, p);
}

/* Somebody else cancels what is pending: nothing is known of the connection, and the receive goes on. */
IOCP_TEST(iocp_recv, outlives_a_cancel_that_is_not_its_own)
{
    deed recv = { 0 };
    pair p = world_pair(w);
    faults.wsa_recv = (fault){ 0 };
    world_recv(w, p.b, &recv);
    SOCKET os = wr_iocp_get(wr_iocp_of(w->cq), p.b)->os;
    cr_assert(CancelIoEx((HANDLE)os, NULL));
    world_settle(w);
    cr_assert_not(recv.done, "error %d", recv.error);
    cr_assert_eq(faults.wsa_recv.calls, 2);
    world_say(w, p.a, "x", 1);
    world_await(w, &recv);
    cr_assert_eq(recv.error, 0);
    world_return(w, &recv);
    world_finish_pair(w, p);
}

/* Until one succeeds again: what the call itself says is no end of it. */
IOCP_TEST(iocp_recv, fails_with_what_the_call_says)
{
    deed recv = { 0 };
    pair p = world_pair(w);
    faults.wsa_recv = (fault){ .times = 2, .code = WSAENETRESET };
    for (int i = 0; i < 2; i++) {
        world_recv(w, p.b, &recv);
        world_await(w, &recv);
        cr_assert_eq(recv.error, WEIR_ECONNRESET);
        cr_assert_eq(recv.system_error, WSAENETRESET);
    }
    world_say(w, p.a, "x", 1);
    char heard;
    world_hear(w, p.b, &heard, 1);
    world_finish_pair(w, p);
}

static int end_of(world *w, wr_sock sock)
{
    size_t size;
    int end = world_hear_end(w, sock, &size);
    cr_assert_eq(size, 0);
    return end;
}

IOCP_TEST(iocp_recv, takes_the_word_of_the_notice_for_a_reset_that_looks_like_an_end)
{
    pair p = world_pair(w);
    wr_cq_shutdown(w->cq, p.a);
    faults.stream_result = (fault){ .times = ALWAYS, .code = WSAECONNRESET };
    for (int i = 0; i < 2; i++) cr_assert_eq(end_of(w, p.b), WEIR_ECONNRESET);
    faults.stream_result = (fault){ 0 };
    world_finish_pair(w, p);
}

IOCP_TEST(iocp_recv, takes_an_end_without_a_peer_for_a_reset)
{
    pair p = world_pair(w);
    wr_cq_shutdown(w->cq, p.a);
    cr_assert_eq(end_of(w, p.b), WEIR_EEOF);
    faults.getpeername = (fault){ .times = 1, .code = WSAENOTCONN };
    cr_assert_eq(end_of(w, p.b), WEIR_ECONNRESET);
    faults.getpeername = (fault){ .times = 1, .code = WSAENOBUFS };
    cr_assert_eq(end_of(w, p.b), WEIR_EEOF, "it says nothing about the peer");
    world_finish_pair(w, p);
}

/* ---- closing ---- */

/* Whether the cancel finds nothing, or fails outright, each operation ends, and the close after them. */
IOCP_TEST(iocp_close, waits_for_what_the_cancel_does_not_find)
{
    const int codes[] = { ERROR_NOT_FOUND, ERROR_INVALID_HANDLE };
    for (int i = 0; i < 2; i++) {
        deed recv = { 0 };
        pair p = world_pair(w);
        world_recv(w, p.b, &recv);
        faults.cancel_io = (fault){ .times = 1, .code = codes[i] };
        world_finish(w, p.b);
        cr_assert_eq(faults.cancel_io.calls, 1);
        cr_assert_eq(recv.error, WEIR_ECANCELED);
        world_finish(w, p.a);
    }
}
