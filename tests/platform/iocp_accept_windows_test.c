/* The IOCP backend: what becomes of an accept when Windows does what it seldom does. */
#include "iocp_faults_windows.h"

static void connect_all(world *w, const wr_endpoint *where, deed *connects, int count)
{
    for (int i = 0; i < count; i++) world_connect(w, where, &connects[i]);
    for (int i = 0; i < count; i++) {
        world_await(w, &connects[i]);
        cr_assert_eq(connects[i].error, 0);
    }
}

static void discard_accepted(world *w, deed *accept)
{
    for (unsigned i = 0; i < accept->accepted_count; i++) wr_cq_discard(w->cq, accept->accepted[i]);
    accept->accepted_count = 0;
}

/* One more connection is accepted, and works. */
static void check_alive(world *w, wr_sock listener, const wr_endpoint *where, deed *accept)
{
    deed connect = { 0 };
    discard_accepted(w, accept);
    connect_all(w, where, &connect, 1);
    world_await_accepted(w, accept, 1);
    cr_assert_not(accept->done);
    wr_sock accepted = world_adopt(w, accept->accepted[0]);
    char heard[2];
    world_say(w, connect.sock, "hi", 2);
    world_hear(w, accepted, heard, 2);
    world_finish(w, accepted);
    world_finish(w, connect.sock);
    world_finish(w, listener);
    cr_assert_eq(accept->error, WEIR_ECANCELED);
    cr_assert_eq(accept->accepted_count, 1);
}

/* ---- at once ---- */

static void accepts_at_once(world *w)
{
    enum { CONNECTS = 3 };
    deed connects[CONNECTS] = { 0 }, accept = { 0 };
    wr_endpoint where;
    wr_sock listener = world_listen_ipv4(w, &where);
    connect_all(w, &where, connects, CONNECTS);
    faults.accept_ex.at_once = CONNECTS;
    world_accept(w, listener, &accept);
    cr_assert_eq(faults.accept_ex.at_once, 0, "they are not there");
    cr_assert_eq(accept.accepted_count, 0, "completed inline");
    world_await_accepted(w, &accept, CONNECTS);
    world_settle(w);
    cr_assert_eq(accept.accepted_count, CONNECTS);
    cr_assert_eq(faults.accept_context.calls, CONNECTS);
    for (int i = 0; i < CONNECTS; i++) cr_assert_eq(accept.peers[i].family, WR_FAMILY_IPV4);
    check_alive(w, listener, &where, &accept);
}

IOCP_TEST(iocp_accept, delivers_once_what_is_accepted_at_once_without_a_packet)
{
    accepts_at_once(w);
}

IOCP_TEST(iocp_accept, delivers_once_what_is_accepted_at_once_with_a_packet)
{
    faults_no_skip();
    accepts_at_once(w);
}

IOCP_TEST(iocp_accept, at_once_starves_nobody)
{
    enum { CONNECTS = 100 };
    static deed connects[CONNECTS];
    deed accept = { 0 }, recv = { 0 };
    wr_endpoint where;
    wr_sock listener = world_listen_ipv4(w, &where);
    pair quiet = world_pair(w);
    connect_all(w, &where, connects, CONNECTS);
    faults.accept_ex.at_once = CONNECTS;
    world_accept(w, listener, &accept);
    world_recv(w, quiet.b, &recv);
    world_say(w, quiet.a, "x", 1);
    while (accept.accepted_count < CONNECTS) {
        unsigned posted = faults.accept_ex.calls;
        world_pump(w, world_in_ms(w, 1000));
        cr_assert_leq(faults.accept_ex.calls - posted, WR_ACCEPTS_POSTED);
        cr_assert(recv.done || accept.accepted_count < CONNECTS / 2);
    }
    world_return(w, &recv);
    world_finish_pair(w, quiet);
    world_finish(w, listener);
    discard_accepted(w, &accept);
}

/* ---- shortages ---- */

/* Nothing can be posted: the accept ends with that, and the listener serves the next one. */
static void ends_and_goes_on(world *w, fault *f, int code, int error)
{
    deed accept = { 0 };
    wr_endpoint where;
    wr_sock listener = world_listen_ipv4(w, &where);
    *f = (fault){ .times = ALWAYS, .code = code };
    for (int i = 0; i < 3; i++) {
        world_accept(w, listener, &accept);
        world_await(w, &accept);
        cr_assert_eq(accept.error, error);
        cr_assert_eq(accept.system_error, code);
        cr_assert_eq(accept.errors, 0);
    }
    *f = (fault){ 0 };
    world_accept(w, listener, &accept);
    check_alive(w, listener, &where, &accept);
}

IOCP_TEST(iocp_accept, ends_when_nothing_can_be_posted)
{
    ends_and_goes_on(w, &faults.accept_ex, WSAENOBUFS, WEIR_ENOBUFS);
}

IOCP_TEST(iocp_accept, ends_when_there_are_no_sockets)
{
    ends_and_goes_on(w, &faults.create_socket, WSAEMFILE, WEIR_EMFILE);
}

IOCP_TEST(iocp_accept, goes_on_with_those_that_could_be_posted)
{
    enum { POSTED = 2 };
    deed accept = { 0 }, connect = { 0 };
    wr_endpoint where;
    wr_sock listener = world_listen_ipv4(w, &where);
    faults.accept_ex = (fault){ .after = POSTED, .times = ALWAYS, .code = WSAENOBUFS };
    world_accept(w, listener, &accept);
    world_settle(w);
    cr_assert_not(accept.done);
    faults.accept_ex = (fault){ 0 };
    connect_all(w, &where, &connect, 1);
    world_await_accepted(w, &accept, 1);
    cr_assert_eq(faults.accept_ex.calls, WR_ACCEPTS_POSTED - POSTED + 1, "all are posted now");
    check_alive(w, listener, &where, &accept);
}

/* All that were posted are delivered, and no further one can be. */
IOCP_TEST(iocp_accept, ends_in_a_wait_of_its_own)
{
    deed connects[WR_ACCEPTS_POSTED] = { 0 }, accept = { 0 };
    wr_endpoint where;
    wr_sock listener = world_listen_ipv4(w, &where);
    connect_all(w, &where, connects, WR_ACCEPTS_POSTED);
    faults.create_socket = (fault){ .after = WR_ACCEPTS_POSTED, .times = ALWAYS, .code = WSAEMFILE };
    world_accept(w, listener, &accept);
    while (!accept.done) {
        unsigned before = accept.accepted_count;
        world_pump(w, world_in_ms(w, WORLD_PATIENCE_MS));
        if (accept.done) cr_assert_eq(accept.accepted_count, before, "with others");
    }
    cr_assert_eq(accept.error, WEIR_EMFILE);
    cr_assert_eq(accept.accepted_count, WR_ACCEPTS_POSTED);
    faults.create_socket = (fault){ 0 };
    discard_accepted(w, &accept);
    world_accept(w, listener, &accept);
    check_alive(w, listener, &where, &accept);
}

/* Just one is posted, and Windows finds too late that it lacks something. */
IOCP_TEST(iocp_accept, ends_with_a_shortage_that_comes_with_the_packet)
{
    deed accept = { 0 }, connect = { 0 };
    wr_endpoint where;
    wr_sock listener = world_listen_ipv4(w, &where);
    connect_all(w, &where, &connect, 1);
    faults.create_socket = (fault){ .after = 1, .times = 1, .code = WSAEMFILE };
    faults.accept_result = (fault){ .times = 1, .code = WSAENOBUFS };
    world_accept(w, listener, &accept);
    world_await(w, &accept);
    cr_assert_eq(accept.error, WEIR_ENOBUFS);
    cr_assert_eq(accept.errors, 0);
    cr_assert_eq(accept.accepted_count, 0);
    world_accept(w, listener, &accept);
    check_alive(w, listener, &where, &accept);
}

IOCP_TEST(iocp_accept, outlives_a_shortage_of_one_among_others)
{
    deed accept = { 0 }, connect = { 0 };
    wr_endpoint where;
    wr_sock listener = world_listen_ipv4(w, &where);
    world_accept(w, listener, &accept);
    world_settle(w);
    faults.accept_result = (fault){ .times = 1, .code = WSAENOBUFS };
    connect_all(w, &where, &connect, 1);
    world_settle(w);
    cr_assert_eq(faults.accept_result.times, 0);
    cr_assert_not(accept.done);
    cr_assert_eq(accept.errors, 0);
    check_alive(w, listener, &where, &accept);
}

/* ---- one connection among others ---- */

/* Waits for the one completion that is due, which tells of a connection that was lost. */
static int await_loss(world *w, const deed *accept)
{
    wr_completion lost;
    uint64_t deadline_ns = world_in_ms(w, WORLD_PATIENCE_MS);
    while (wr_cq_wait(w->cq, &lost, 1, deadline_ns) == 0) cr_assert_lt(wr_cq_now(w->cq), deadline_ns, "none came");
    cr_assert_eq(lost.op, &accept->op);
    cr_assert_eq(lost.flags, WR_MORE);
    return lost.error;
}

/* The fault costs one connection, which is counted as an error, and no more. It comes from a queue of its own, so that
 * nothing is delivered before this looks. */
static void loses_one(world *w, fault *f, int code, int error)
{
    world other;
    deed accept = { 0 }, connect = { 0 };
    wr_endpoint where;
    size_t size;
    wr_sock listener = world_listen_ipv4(w, &where);
    world_open(&other, w->ops);
    world_accept(w, listener, &accept);
    *f = (fault){ .times = 1, .code = code };
    connect_all(&other, &where, &connect, 1);
    cr_assert_eq(await_loss(w, &accept), error);
    int end = world_hear_end(&other, connect.sock, &size);
    cr_assert(end == WEIR_EEOF || end == WEIR_ECONNRESET, "its socket was kept: %d", end);
    world_close(&other);
    check_alive(w, listener, &where, &accept);
    cr_assert_eq(accept.errors, 0, "one was lost twice");
}

IOCP_TEST(iocp_accept, outlives_a_connection_that_was_reset)
{
    loses_one(w, &faults.accept_result, ERROR_NETNAME_DELETED, WEIR_ECONNRESET);
    loses_one(w, &faults.accept_result, WSAECONNRESET, WEIR_ECONNRESET);
    loses_one(w, &faults.accept_result, WSAENOTCONN, WEIR_ECONNRESET);
    loses_one(w, &faults.accept_result, ERROR_CONNECTION_ABORTED, WEIR_ECONNABORTED);
}

IOCP_TEST(iocp_accept, outlives_a_connection_that_cannot_take_over_the_context)
{
    loses_one(w, &faults.accept_context, WSAENOTCONN, WEIR_ECONNRESET);
}

/* An AcceptEx that meets the reset connection at once: the error is that connection's, even if no other is posted. */
IOCP_TEST(iocp_accept, outlives_connections_that_are_found_reset_at_once)
{
    deed accept = { 0 };
    wr_endpoint where;
    wr_sock listener = world_listen_ipv4(w, &where);
    faults.accept_ex = (fault){ .times = WR_ACCEPTS_POSTED, .code = WSAECONNRESET };
    world_accept(w, listener, &accept);
    for (int i = 0; i < WR_ACCEPTS_POSTED; i++) cr_assert_eq(await_loss(w, &accept), WEIR_ECONNRESET);
    check_alive(w, listener, &where, &accept);
    cr_assert_eq(accept.errors, 0);
}

IOCP_TEST(iocp_accept, gives_each_connection_the_context_of_its_listener)
{
    deed accept = { 0 }, connect = { 0 };
    wr_listen_params params = { .local.addr = { .ip = { 127, 0, 0, 1 }, .family = WR_FAMILY_IPV4 }, .backlog = 8 };
    wr_listen_result result;
    cr_assert_eq(wr_cq_listen(w->cq, &params, &result), 0);
    params.local.addr.port = result.bound.port;
    wr_sock listener = world_adopt(w, result.socket);
    world_accept(w, listener, &accept);
    connect_all(w, &params.local, &connect, 1);
    world_await_accepted(w, &accept, 1);
    cr_assert_eq(faults.accept_context.calls, 1);
    cr_assert_eq(faults.context, (SOCKET)result.socket.os);
    check_alive(w, listener, &params.local, &accept);
}

/* ---- cancelling ---- */

/* All that was posted is done already, with its packets on the way: to Windows there is nothing to cancel. */
IOCP_TEST(iocp_accept, ends_when_the_cancel_finds_nothing)
{
    deed connects[WR_ACCEPTS_POSTED] = { 0 }, accept = { 0 };
    wr_endpoint where;
    wr_sock listener = world_listen_ipv4(w, &where);
    world_accept(w, listener, &accept);
    connect_all(w, &where, connects, WR_ACCEPTS_POSTED);
    faults.cancel_io = (fault){ .times = 1, .code = ERROR_NOT_FOUND };
    wr_cq_cancel(w->cq, &accept.op);
    world_await(w, &accept);
    cr_assert_eq(faults.cancel_io.calls, 1);
    cr_assert_eq(accept.error, WEIR_ECANCELED);
    unsigned before = accept.accepted_count;
    world_accept(w, listener, &accept); /* clears the count */
    world_await_accepted(w, &accept, WR_ACCEPTS_POSTED - before);
    check_alive(w, listener, &where, &accept);
}

IOCP_TEST(iocp_accept, outlives_a_cancel_that_is_not_its_own)
{
    deed accept = { 0 }, connect = { 0 };
    wr_listen_params params = { .local.addr = { .ip = { 127, 0, 0, 1 }, .family = WR_FAMILY_IPV4 }, .backlog = 8 };
    wr_listen_result result;
    cr_assert_eq(wr_cq_listen(w->cq, &params, &result), 0);
    params.local.addr.port = result.bound.port;
    wr_sock listener = world_adopt(w, result.socket);
    world_accept(w, listener, &accept);
    cr_assert(CancelIoEx((HANDLE)result.socket.os, NULL));
    world_settle(w);
    cr_assert_not(accept.done);
    cr_assert_eq(accept.errors, 0);
    cr_assert_eq(faults.accept_ex.calls, 2 * WR_ACCEPTS_POSTED);
    connect_all(w, &params.local, &connect, 1);
    world_await_accepted(w, &accept, 1);
    check_alive(w, listener, &params.local, &accept);
}
