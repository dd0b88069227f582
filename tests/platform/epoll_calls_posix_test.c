/* The epoll backend, and the facts of the system beside it, when system calls fail that the kernel cannot be made to
 * fail: each error comes out where it belongs, and nothing stays behind. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>

#include "cq_world.h"
#include "harness/calls.h"
#include "platform/common/socket.h"
#include "platform/epoll/epoll.h"
#include "platform/os.h"
#include "platform/posix/socket.h"

enum { DESCRIPTORS = 256 };

static unsigned descriptors(void)
{
    unsigned count = 0;
    for (int fd = 0; fd < DESCRIPTORS; fd++) count += fcntl(fd, F_GETFD) >= 0;
    return count;
}

static world *open_world(void)
{
    static world w;
    world_open(&w, &wr_cq_epoll);
    return &w;
}

Test(epoll_calls, a_queue_that_cannot_be_made_leaves_nothing)
{
    static const enum call calls[] = { CALL_EPOLL_CREATE1, CALL_EVENTFD, CALL_EPOLL_CTL };
    wr_memory memory = wr_malloc_memory();
    unsigned before = descriptors();
    for (size_t i = 0; i < sizeof calls / sizeof *calls; i++) {
        wr_cq *cq = NULL;
        call_fails(calls[i], EMFILE, 0, 1);
        cr_assert_eq(wr_cq_create(&wr_cq_epoll, &cq, &(wr_cq_options){ .memory = &memory }), WEIR_EMFILE);
        cr_assert_eq(call_failures(calls[i]), 1);
        cr_assert_null(cq);
        cr_assert_eq(memory.used, 0);
        cr_assert_eq(descriptors(), before);
    }
}

/* Without it, a small send after another waits for the peer's acknowledgement, which the peer delays. */
Test(epoll_calls, a_stream_turns_off_nagles_delay_once_before_it_sends)
{
    world *w = open_world();
    wr_endpoint where;
    wr_sock listener = world_listen_ipv4(w, &where);
    call_fails(CALL_SETSOCKOPT, 0, 0, CALL_FOR_EVER);
    pair p = world_pair_at(w, listener, &where);
    cr_assert_eq(call_failures(CALL_SETSOCKOPT), 0);
    world_say(w, p.a, "a", 1);
    cr_assert_eq(call_failures(CALL_SETSOCKOPT), 1, "the one that connected");
    world_say(w, p.a, "b", 1);
    world_say(w, p.b, "c", 1);
    cr_assert_eq(call_failures(CALL_SETSOCKOPT), 1, "and what was accepted has it from its listener");
    call_fails(CALL_SETSOCKOPT, 0, 0, 0);
    world_finish_pair(w, p);
    world_finish(w, listener);
    world_close(w);
}

/* ---- registrations ---- */

Test(epoll_calls, a_listener_that_cannot_be_registered_says_so_and_may_try_again)
{
    world *w = open_world();
    wr_endpoint where;
    wr_sock listener = world_listen_ipv4(w, &where);
    deed accept = { 0 };
    call_fails(CALL_EPOLL_CTL, ENOMEM, 0, 1);
    world_accept(w, listener, &accept);
    world_await(w, &accept);
    cr_assert_eq(accept.error, WEIR_ENOMEM);
    cr_assert_eq(accept.system_error, ENOMEM);
    world_finish_pair(w, world_pair_at(w, listener, &where));
    world_finish(w, listener);
    world_close(w);
}

Test(epoll_calls, a_stream_that_cannot_be_registered_says_so_at_its_first_recv)
{
    world *w = open_world();
    pair p = world_pair(w);
    deed recv = { 0 };
    char heard[5];
    call_fails(CALL_EPOLL_CTL, ENOMEM, 0, 1);
    world_recv(w, p.b, &recv);
    world_await(w, &recv);
    cr_assert_eq(recv.error, WEIR_ENOMEM);
    world_say(w, p.a, "hello", 5); /* a second try is as good as a first */
    world_hear(w, p.b, heard, 5);
    cr_assert_arr_eq(heard, "hello", 5);
    world_finish_pair(w, p);
    world_close(w);
}

Test(epoll_calls, a_send_that_cannot_wait_for_room_ends_with_that_error)
{
    enum { SIZE = 64 << 20 };
    world *w = open_world();
    pair p = world_pair(w);
    char *bytes = calloc(1, SIZE);
    cr_assert_not_null(bytes);
    wr_slice slice = { .data = bytes, .size = SIZE };
    deed send = { 0 };
    call_fails(CALL_EPOLL_CTL, ENOMEM, 0, 1);
    world_send(w, p.b, &slice, &send);
    world_await(w, &send);
    cr_assert_eq(call_failures(CALL_EPOLL_CTL), 1);
    cr_assert_eq(send.error, WEIR_ENOMEM);
    world_finish_pair(w, p);
    free(bytes);
    world_close(w);
}

/* Its peer hears no second reset, and the kernel has nothing more to report of it. */
Test(epoll_calls, a_socket_that_its_peer_has_reset_is_closed_without_further_calls)
{
    world *w = open_world();
    unsigned before = descriptors();
    pair p = world_pair(w);
    deed recv = { 0 }, reset = { 0 }, close = { 0 };
    world_recv(w, p.b, &recv);
    world_settle(w); /* registered */
    world_end(w, p.a, true, &reset);
    world_await(w, &recv);
    cr_assert_eq(recv.error, WEIR_ECONNRESET);
    call_fails(CALL_SETSOCKOPT, EINVAL, 0, CALL_FOR_EVER);
    call_fails(CALL_EPOLL_CTL, ENOENT, 0, CALL_FOR_EVER);
    world_end(w, p.b, true, &close);
    world_await(w, &close);
    cr_assert_eq(call_failures(CALL_SETSOCKOPT), 0);
    cr_assert_eq(call_failures(CALL_EPOLL_CTL), 0);
    call_fails(CALL_SETSOCKOPT, 0, 0, 0);
    call_fails(CALL_EPOLL_CTL, 0, 0, 0);
    cr_assert_eq(descriptors(), before);
    world_close(w);
}

/* On the loopback a connect is over at once, unless it is told otherwise, twice. */
static void connect_later(world *w, deed *connect)
{
    wr_endpoint where = world_nowhere(w);
    call_fails(CALL_CONNECT, EINPROGRESS, 0, 2);
    world_connect(w, &where, connect);
    world_await(w, connect);
    cr_assert_eq(call_failures(CALL_CONNECT), 2);
}

Test(epoll_calls, a_connect_that_cannot_be_registered_ends_with_that_error)
{
    world *w = open_world();
    unsigned before = descriptors();
    deed connect = { 0 };
    call_fails(CALL_EPOLL_CTL, ENOMEM, 0, 1);
    connect_later(w, &connect);
    cr_assert_eq(connect.error, WEIR_ENOMEM);
    cr_assert_eq(descriptors(), before);
    world_close(w);
}

Test(epoll_calls, a_connect_that_cannot_ask_for_its_result_ends_with_that_error)
{
    world *w = open_world();
    unsigned before = descriptors();
    deed connect = { 0 };
    call_fails(CALL_GETSOCKOPT, ENOBUFS, 0, 1);
    connect_later(w, &connect);
    cr_assert_eq(connect.error, WEIR_ENOBUFS);
    cr_assert_eq(descriptors(), before);
    world_close(w);
}

/* Where an event of the kernel is older than the end of its socket. Such a one is left when the descriptor of a socket
 * lives on elsewhere and its registration with it; here neither DEL nor close are done. */
Test(epoll_calls, an_event_for_a_socket_that_is_gone_reaches_nobody)
{
    world *w = open_world();
    wr_endpoint where;
    wr_sock listener = world_listen_ipv4(w, &where);
    pair gone = world_pair_at(w, listener, &where);
    deed recv = { 0 }, close = { 0 };
    world_recv(w, gone.b, &recv);
    world_settle(w);
    call_fails(CALL_EPOLL_CTL, 0, 0, 1);
    call_fails(CALL_CLOSE, 0, 0, 1);
    world_end(w, gone.b, false, &close);
    world_await(w, &close);
    cr_assert_eq(call_failures(CALL_EPOLL_CTL), 1);
    cr_assert_eq(call_failures(CALL_CLOSE), 1);

    pair next = world_pair_at(w, listener, &where);
    cr_assert(next.a.slot == gone.b.slot || next.b.slot == gone.b.slot, "the slot is in use again");
    deed first = { 0 }, second = { 0 };
    world_recv(w, next.a, &first);
    world_recv(w, next.b, &second);
    world_say(w, gone.a, "for one that is gone", 20);
    world_settle(w);
    cr_assert_geq(((wr_epoll *)w->cq)->owner.stale_events, 1);
    cr_assert_not(first.done || second.done);
    world_finish(w, gone.a);
    world_finish_pair(w, next);
    world_finish(w, listener);
    world_await(w, &first);
    world_await(w, &second);
    world_close(w);
}

/* ---- accept ---- */

static void fail_accept(world *w, wr_sock listener, const wr_endpoint *where, int system_error, int error, bool ends)
{
    deed accept = { 0 }, connect = { 0 };
    call_fails(CALL_ACCEPT4, system_error, 0, 1);
    world_accept(w, listener, &accept);
    world_connect(w, where, &connect);
    world_await(w, &connect);
    if (ends) {
        world_await(w, &accept);
        cr_assert_eq(accept.error, error, "errno %d", system_error);
        cr_assert_eq(accept.system_error, system_error);
        cr_assert_eq(accept.accepted_count, 0);
        world_accept(w, listener, &accept); /* the connection has waited */
    }
    world_await_accepted(w, &accept, 1);
    cr_assert_eq(accept.errors, ends ? 0 : 1, "errno %d", system_error);
    wr_cq_discard(w->cq, accept.accepted[0]);
    wr_cq_cancel(w->cq, &accept.op);
    world_await(w, &accept);
    world_finish(w, connect.sock);
}

Test(epoll_calls, an_accept_ends_for_what_stays_and_goes_on_after_what_passes)
{
    static const struct {
        int system_error, error;
        bool ends;
    } cases[] = {
        { EMFILE, WEIR_EMFILE, true },
        { ENFILE, WEIR_EMFILE, true },
        { ENOBUFS, WEIR_ENOBUFS, true },
        { ENOMEM, WEIR_ENOMEM, true },
        { EINVAL, WEIR_EINVAL, true },
        { EBADF, WEIR_ESYSTEM, true },
        { ENOTSOCK, WEIR_ESYSTEM, true },
        { EFAULT, WEIR_EFAULT, true },
        { ECONNABORTED, 0, false },
        { EPROTO, 0, false },
        { EPERM, 0, false },
        { ENETDOWN, 0, false },
        { EHOSTUNREACH, 0, false },
        { ETIMEDOUT, 0, false },
    };
    world *w = open_world();
    wr_endpoint where;
    wr_sock listener = world_listen_ipv4(w, &where);
    unsigned before = descriptors();
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        fail_accept(w, listener, &where, cases[i].system_error, cases[i].error, cases[i].ends);
        cr_assert_eq(descriptors(), before, "errno %d leaks", cases[i].system_error);
    }
    world_finish(w, listener);
    world_close(w);
}

/* ---- listen ---- */

/* Each option of the socket fails once; returns how many there are. */
static int fail_options(world *w, wr_listen_params params, enum wr_step last_step)
{
    unsigned before = descriptors();
    for (int n = 0;; n++) {
        wr_listen_result result;
        call_fails(CALL_SETSOCKOPT, EACCES, n, 1);
        int error = wr_cq_listen(w->cq, &params, &result);
        bool failed = call_failures(CALL_SETSOCKOPT) > 0;
        call_fails(CALL_SETSOCKOPT, 0, 0, 0);
        if (!failed) {
            cr_assert_eq(error, 0, "%s", weir_error_name(error));
            wr_cq_discard(w->cq, result.socket);
            return n;
        }
        cr_assert_eq(error, WEIR_EACCES);
        cr_assert_eq(result.system_error, EACCES);
        cr_assert(result.step == WR_STEP_SOCKET || result.step == last_step, "option %d, step %d", n, result.step);
        cr_assert_eq(descriptors(), before);
    }
}

Test(epoll_calls, a_listener_whose_options_cannot_be_set_is_none)
{
    world *w = open_world();
    wr_listen_params params = { .local.addr = { .family = WR_FAMILY_IPV4, .ip = { 127, 0, 0, 1 } }, .backlog = 1 };
    cr_assert_eq(fail_options(w, params, WR_STEP_SOCKET), 2);
    params.shared_port = true;
    cr_assert_eq(fail_options(w, params, WR_STEP_SOCKET), 3);
    params.claims_port = true;
    cr_assert_eq(fail_options(w, params, WR_STEP_LISTEN), 3);
    world_close(w);
}

Test(epoll_calls, an_address_that_the_system_no_longer_knows_is_of_no_family)
{
    world *w = open_world();
    pair p = world_pair(w);
    wr_addr addr;
    call_fails(CALL_GETSOCKNAME, ENOBUFS, 0, 1);
    wr_cq_local(w->cq, p.a, &addr);
    cr_assert_eq(addr.family, WR_FAMILY_NONE);
    wr_cq_local(w->cq, p.a, &addr);
    cr_assert_eq(addr.family, WR_FAMILY_IPV4);
    world_finish_pair(w, p);
    world_close(w);
}

/* ---- older systems ---- */

Test(epoll_calls, without_epoll_pwait2_a_wait_is_rounded_up)
{
    world *w = open_world();
    for (uint64_t us = 100; us <= 20000; us *= 7) {
        wr_completion completion;
        call_fails(CALL_SYSCALL, ENOSYS, 0, 1);
        uint64_t deadline_ns = wr_cq_now(w->cq) + us * 1000;
        cr_assert_eq(wr_cq_wait(w->cq, &completion, 1, deadline_ns), 0);
        cr_assert_eq(call_failures(CALL_SYSCALL), 1);
        cr_assert_geq(wr_cq_now(w->cq), deadline_ns);
    }
    world_close(w);
}

Test(epoll_calls, cores_are_counted_where_the_affinity_is_not_to_be_had)
{
    static const int errors[] = { EINVAL, EPERM }; /* a set that is always too small, and no answer at all */
    for (size_t i = 0; i < 2; i++) {
        call_fails(CALL_SCHED_GETAFFINITY, errors[i], 0, CALL_FOR_EVER);
        cr_assert_geq(wr_os_cores(), 1);
        cr_assert_geq(call_failures(CALL_SCHED_GETAFFINITY), 1);
        call_fails(CALL_SCHED_GETAFFINITY, 0, 0, 0);
    }
}
