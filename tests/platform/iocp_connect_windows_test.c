/* The IOCP backend: what becomes of a connect when Windows does what it seldom does. */
#include "iocp_faults_windows.h"

/* A listener, and what it accepts. */
typedef struct host {
    wr_sock listener;
    wr_endpoint where;
    deed accept;
} host;

static void host_open(world *w, host *h)
{
    memset(h, 0, sizeof *h);
    h->listener = world_listen_ipv4(w, &h->where);
    world_accept(w, h->listener, &h->accept);
}

/* Closes it, and all that was accepted and not adopted. */
static void host_close(world *w, host *h, unsigned adopted)
{
    world_finish(w, h->listener);
    for (unsigned i = adopted; i < h->accept.accepted_count; i++) wr_cq_discard(w->cq, h->accept.accepted[i]);
}

/* ---- at once ---- */

static void connects_at_once(world *w)
{
    deed connect = { 0 };
    host h;
    host_open(w, &h);
    faults.connect_ex.at_once = 1;
    world_connect(w, &h.where, &connect);
    cr_assert_eq(faults.connect_ex.at_once, 0);
    world_await(w, &connect);
    cr_assert_eq(connect.error, 0);
    cr_assert_eq(faults.connect_context.calls, 1);
    world_await_accepted(w, &h.accept, 1);
    world_settle(w);
    wr_addr local;
    wr_cq_local(w->cq, connect.sock, &local);
    cr_assert_eq(local.port, h.accept.peers[0].port);

    wr_sock accepted = world_adopt(w, h.accept.accepted[0]);
    char heard[2];
    world_say(w, connect.sock, "hi", 2);
    world_hear(w, accepted, heard, 2);
    world_say(w, accepted, "ho", 2);
    world_hear(w, connect.sock, heard, 2);
    world_finish(w, connect.sock);
    world_finish(w, accepted);
    host_close(w, &h, 1);
}

IOCP_TEST(iocp_connect, completes_once_what_is_connected_at_once_without_a_packet)
{
    connects_at_once(w);
}

IOCP_TEST(iocp_connect, completes_once_what_is_connected_at_once_with_a_packet)
{
    faults_no_skip();
    connects_at_once(w);
}

IOCP_TEST(iocp_connect, may_be_closed_before_the_packet_of_what_was_connected_at_once)
{
    deed connect = { 0 };
    host h;
    host_open(w, &h);
    faults_no_skip();
    faults.connect_ex.at_once = 1;
    world_connect(w, &h.where, &connect);
    wr_cq_cancel(w->cq, &connect.op);
    world_await(w, &connect);
    cr_assert_eq(connect.error, WEIR_ECANCELED);
    world_settle(w);
    host_close(w, &h, 0);
}

/* ---- failures ---- */

/* The connect ends with the error, leaves nothing behind, and the next one succeeds. */
static void fails_once(world *w, fault *f, int code, int error, int system_error)
{
    deed connect = { 0 };
    host h;
    host_open(w, &h);
    *f = (fault){ .times = 1, .code = code };
    world_connect(w, &h.where, &connect);
    world_await(w, &connect);
    cr_assert_eq(connect.error, error);
    cr_assert_eq(connect.system_error, system_error);
    wr_cq_cancel(w->cq, &connect.op); /* late, and harmless */
    world_settle(w);
    for (unsigned i = 0; i < h.accept.accepted_count; i++) { /* what got through has been closed */
        wr_sock accepted = world_adopt(w, h.accept.accepted[i]);
        size_t size;
        int end = world_hear_end(w, accepted, &size);
        cr_assert(end == WEIR_EEOF || end == WEIR_ECONNRESET, "%d", end);
        world_finish(w, accepted);
    }
    unsigned before = h.accept.accepted_count;
    world_connect(w, &h.where, &connect);
    world_await(w, &connect);
    cr_assert_eq(connect.error, 0);
    world_await_accepted(w, &h.accept, before + 1);
    world_finish(w, connect.sock);
    host_close(w, &h, before);
}

IOCP_TEST(iocp_connect, fails_when_there_is_no_way)
{
    fails_once(w, &faults.connect_ex, WSAENETUNREACH, WEIR_ENETUNREACH, WSAENETUNREACH);
    fails_once(w, &faults.connect_ex, WSAEHOSTUNREACH, WEIR_EHOSTUNREACH, WSAEHOSTUNREACH);
    fails_once(w, &faults.connect_ex, WSAEACCES, WEIR_EACCES, WSAEACCES);
}

IOCP_TEST(iocp_connect, fails_with_what_the_packet_says)
{
    fails_once(w, &faults.stream_result, WSAECONNREFUSED, WEIR_ECONNREFUSED, WSAECONNREFUSED);
    fails_once(w, &faults.stream_result, ERROR_SEM_TIMEOUT, WEIR_ETIMEDOUT, ERROR_SEM_TIMEOUT);
}

IOCP_TEST(iocp_connect, fails_when_the_socket_cannot_take_over_its_context)
{
    fails_once(w, &faults.connect_context, WSAENOTCONN, WEIR_ECONNRESET, WSAENOTCONN);
}

IOCP_TEST(iocp_connect, fails_when_the_socket_cannot_join_the_port)
{
    fails_once(w, &faults.create_port, ERROR_INVALID_PARAMETER, WEIR_ESYSTEM, 0);
}

/* The connect is done, with its packet on the way: to Windows there is nothing to cancel. */
IOCP_TEST(iocp_connect, ends_when_the_cancel_finds_nothing)
{
    deed connect = { 0 };
    host h;
    host_open(w, &h);
    world_connect(w, &h.where, &connect);
    faults.cancel_io = (fault){ .times = 1, .code = ERROR_NOT_FOUND };
    wr_cq_cancel(w->cq, &connect.op);
    cr_assert_eq(faults.cancel_io.calls, 1);
    world_await(w, &connect);
    cr_assert_eq(connect.error, WEIR_ECANCELED);
    world_settle(w);
    host_close(w, &h, 0);
}
