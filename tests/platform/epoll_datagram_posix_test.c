/* The epoll backend's datagrams, when system calls fail that the kernel cannot be made to fail: each error comes out
 * where it belongs, and what one peer's network says costs the others nothing. */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/udp.h>

#include "cq_world.h"
#include "harness/calls.h"
#include "platform/epoll/epoll.h"

enum { SIZE_MAX_USUAL = 2048, MANY = 40 };

typedef struct ends {
    wr_sock a, b;
    wr_addr at_a, at_b;
} ends;

static world *open_ends(ends *e)
{
    static world w;
    world_open(&w, &wr_cq_epoll);
    cr_assert(world_udp(&w, WR_FAMILY_IPV4, &e->a, &e->at_a));
    cr_assert(world_udp(&w, WR_FAMILY_IPV4, &e->b, &e->at_b));
    return &w;
}

static void close_ends(world *w, const ends *e)
{
    world_finish(w, e->a);
    world_finish(w, e->b);
    world_close(w);
}

/* Datagrams of one size: a run. */
static void run_of(wr_datagram *list, uint32_t count, uint32_t size, wr_addr to)
{
    static const uint8_t bytes[4096];
    for (uint32_t i = 0; i < count; i++) {
        list[i] = (wr_datagram){ .data = bytes, .size = size, .peer = to };
        if (i > 0) list[i - 1].next = &list[i];
    }
}

static void hear(world *w, wr_sock sock, uint32_t count, uint32_t size)
{
    deed recv = { 0 };
    for (uint32_t heard = 0; heard < count; heard += recv.size) {
        world_recv_from(w, sock, SIZE_MAX_USUAL, &recv);
        world_await(w, &recv);
        cr_assert_eq(recv.error, 0);
        for (const wr_datagram *d = recv.datagrams; d; d = d->next) cr_assert_eq(d->size, size);
        cr_assert_leq(heard + recv.size, count);
        world_return(w, &recv);
    }
}

/* How long datagrams may be that still go out in runs. */
static uint32_t run_size(world *w, wr_sock sock)
{
    return wr_epoll_get((wr_epoll *)w->cq, sock)->run_size;
}

/* ---- opening ---- */

Test(epoll_datagram, sockets_whose_options_cannot_be_set_are_none)
{
    static const struct {
        wr_udp_params params;
        int options; /* that must be set */
    } cases[] = {
        { { .local = { .family = WR_FAMILY_IPV4, .ip = { 127, 0, 0, 1 } } }, 0 },
        { { .local = { .family = WR_FAMILY_IPV4, .ip = { 127, 0, 0, 1 } }, .shared_port = true }, 1 },
        { { .local = { .family = WR_FAMILY_IPV4, .ip = { 127, 0, 0, 1 } }, .shared_port = true, .claims_port = true },
          1 },
        { { .local = { .family = WR_FAMILY_IPV6 }, .shared_port = true }, 2 },
    };
    ends e;
    world *w = open_ends(&e);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        for (int n = 0; n <= cases[i].options; n++) {
            wr_listen_result result;
            call_fails(CALL_SETSOCKOPT, EACCES, n, 1);
            int error = wr_cq_udp_open(w->cq, &cases[i].params, &result);
            cr_assert_eq(error, n < cases[i].options ? WEIR_EACCES : 0, "case %zu, option %d", i, n);
            if (error) cr_assert_eq(result.system_error, EACCES);
            if (!error) wr_cq_discard(w->cq, result.socket);
        }
    }
    call_fails(CALL_SETSOCKOPT, EACCES, 0, CALL_FOR_EVER); /* wishes */
    wr_udp_params params = {
        .local = world_loopback(WR_FAMILY_IPV4, 0), .receive_bytes = 1 << 20, .send_bytes = 1 << 20, .coalesce = true
    };
    wr_addr where;
    wr_sock sock = world_udp_open(w, &params, &where);
    cr_assert_eq(call_failures(CALL_SETSOCKOPT), 3);
    world_finish(w, sock);
    close_ends(w, &e);
}

/* ---- receiving ---- */

Test(epoll_datagram, a_receive_that_cannot_be_registered_says_so_and_may_try_again)
{
    ends e;
    world *w = open_ends(&e);
    deed recv = { 0 }, send = { 0 };
    wr_datagram one[1];
    run_of(one, 1, 5, e.at_b);
    call_fails(CALL_EPOLL_CTL, ENOMEM, 0, 1);
    world_recv_from(w, e.b, SIZE_MAX_USUAL, &recv);
    world_await(w, &recv);
    cr_assert_eq(recv.error, WEIR_ENOMEM);
    cr_assert_eq(recv.system_error, ENOMEM);
    world_send_to(w, e.a, one, &send);
    world_await(w, &send);
    hear(w, e.b, 1, 5);
    close_ends(w, &e);
}

Test(epoll_datagram, a_receive_ends_for_what_stays_and_goes_on_after_what_passes)
{
    static const struct {
        int system_error, error;
    } cases[] = {
        { ENOMEM, WEIR_ENOMEM },
        { ENOBUFS, WEIR_ENOBUFS },
        { EBADF, WEIR_ESYSTEM },
        { ENOTSOCK, WEIR_ESYSTEM },
        { EFAULT, WEIR_EFAULT },
        { EINVAL, WEIR_EINVAL },
        { ECONNREFUSED, 0 },
        { EHOSTUNREACH, 0 },
        { ENETUNREACH, 0 },
        { EMSGSIZE, 0 },
        { EINTR, 0 },
        { EAGAIN, 0 },
    };
    ends e;
    world *w = open_ends(&e);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        deed recv = { 0 }, send = { 0 };
        wr_datagram one[1];
        run_of(one, 1, 5, e.at_b);
        call_fails(CALL_RECVMMSG, cases[i].system_error, 0, 1);
        world_recv_from(w, e.b, SIZE_MAX_USUAL, &recv);
        world_send_to(w, e.a, one, &send);
        world_await(w, &send);
        if (cases[i].system_error == EAGAIN) { /* an edge for nothing: the next one counts */
            world_settle(w);
            world_send_to(w, e.a, one, &send);
            world_await(w, &send);
        }
        world_await(w, &recv);
        cr_assert_eq(call_failures(CALL_RECVMMSG), 1);
        cr_assert_eq(recv.error, cases[i].error, "errno %d", cases[i].system_error);
        cr_assert_eq(recv.system_error, cases[i].error ? cases[i].system_error : 0);
        if (recv.error)
            hear(w, e.b, 1, 5);
        else
            world_return(w, &recv);
    }
    close_ends(w, &e);
}

/* ---- sending ---- */

Test(epoll_datagram, a_send_waits_while_the_buffer_is_full)
{
    static wr_datagram list[MANY];
    ends e;
    world *w = open_ends(&e);
    for (int received = 0; received < 2; received++) { /* one that is registered already, and one that is not */
        deed recv = { 0 }, send = { 0 };
        run_of(list, MANY, 5, e.at_b);
        if (received) world_recv_from(w, e.a, SIZE_MAX_USUAL, &recv);
        call_fails(CALL_SENDMMSG, EAGAIN, 0, 1);
        world_send_to(w, e.a, list, &send);
        cr_assert_eq(call_failures(CALL_SENDMMSG), 1);
        cr_assert_not(send.done);
        world_await(w, &send); /* the new registration says that there is room */
        cr_assert_eq(send.error, 0);
        cr_assert_eq(send.batch.sent, MANY);
        cr_assert_not(wr_epoll_get((wr_epoll *)w->cq, e.a)->wants_out, "each datagram would be an event");
        hear(w, e.b, MANY, 5);
        if (received) {
            world_finish(w, e.a);
            cr_assert_eq(recv.error, WEIR_ECANCELED);
            cr_assert(world_udp(w, WR_FAMILY_IPV4, &e.a, &e.at_a));
        }
    }
    close_ends(w, &e);
}

Test(epoll_datagram, a_send_that_waits_ends_with_the_close_and_says_what_left)
{
    static wr_datagram list[MANY * 4];
    ends e;
    world *w = open_ends(&e);
    deed send = { 0 }, close = { 0 };
    run_of(list, MANY * 4, 5, e.at_b);
    for (uint32_t i = 0; i < MANY * 4; i++) list[i].size = i % 2 ? 5 : 4; /* no runs longer than two */
    call_fails(CALL_SENDMMSG, EAGAIN, 1, CALL_FOR_EVER);
    world_send_to(w, e.a, list, &send);
    for (int i = 0; i < 5; i++) world_pump(w, WR_DEADLINE_NOW);
    cr_assert_not(send.done);
    world_end(w, e.a, false, &close);
    world_await(w, &close);
    cr_assert_eq(send.error, WEIR_ECANCELED);
    cr_assert_gt(send.batch.sent, 0);
    cr_assert_lt(send.batch.sent, MANY * 4);
    cr_assert_eq(send.batch.refused, 0);
    call_fails(CALL_SENDMMSG, 0, 0, 0);
    world_finish(w, e.b);
    world_close(w);
}

Test(epoll_datagram, a_send_that_cannot_wait_for_room_ends_with_that_error)
{
    static wr_datagram list[MANY];
    ends e;
    world *w = open_ends(&e);
    deed send = { 0 };
    run_of(list, MANY, 5, e.at_b);
    call_fails(CALL_SENDMMSG, EAGAIN, 0, 1);
    call_fails(CALL_EPOLL_CTL, ENOMEM, 0, 1);
    world_send_to(w, e.a, list, &send);
    world_await(w, &send);
    cr_assert_eq(send.error, WEIR_ENOMEM);
    cr_assert_eq(send.batch.sent, 0);
    close_ends(w, &e);
}

Test(epoll_datagram, an_interrupted_send_goes_on)
{
    wr_datagram one[1];
    ends e;
    world *w = open_ends(&e);
    deed send = { 0 };
    run_of(one, 1, 5, e.at_b);
    call_fails(CALL_SENDMMSG, EINTR, 0, 2);
    world_send_to(w, e.a, one, &send);
    world_await(w, &send);
    cr_assert_eq(send.batch.sent, 1);
    hear(w, e.b, 1, 5);
    close_ends(w, &e);
}

Test(epoll_datagram, each_that_is_refused_is_counted_and_the_first_reason_kept)
{
    wr_datagram list[4];
    ends e;
    world *w = open_ends(&e);
    deed send = { 0 };
    run_of(list, 4, 5, e.at_b);
    for (uint32_t i = 0; i < 4; i++) list[i].size = 5 + i; /* no runs */
    call_fails(CALL_SENDMMSG, EPERM, 0, 2);
    world_send_to(w, e.a, list, &send);
    world_await(w, &send);
    cr_assert_eq(send.error, 0);
    cr_assert_eq(send.batch.sent, 2);
    cr_assert_eq(send.batch.refused, 2);
    cr_assert_eq(send.batch.error, WEIR_EACCES);
    cr_assert_eq(send.batch.system_error, EPERM);
    cr_assert_eq(send.batch.sent_bytes, 7 + 8);
    close_ends(w, &e);
}

/* ---- runs ---- */

Test(epoll_datagram, a_run_that_the_kernel_does_not_take_goes_one_by_one)
{
    static const struct {
        int system_error;
        uint32_t left; /* what may still go in runs */
    } cases[] = { { EINVAL, 999 }, { EMSGSIZE, 999 }, { EIO, 0 } };
    static wr_datagram list[MANY];
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        ends e;
        world *w = open_ends(&e);
        deed send = { 0 };
        run_of(list, MANY, 1000, e.at_b);
        call_fails(CALL_SENDMMSG, cases[i].system_error, 0, 1);
        world_send_to(w, e.a, list, &send);
        world_await(w, &send);
        cr_assert_eq(call_failures(CALL_SENDMMSG), 1);
        cr_assert_eq(send.batch.sent, MANY);
        cr_assert_eq(send.batch.refused, 0);
        cr_assert_eq(run_size(w, e.a), cases[i].left);
        hear(w, e.b, MANY, 1000);
        close_ends(w, &e);
    }
}

Test(epoll_datagram, a_run_to_a_peer_out_of_reach_is_refused_as_one)
{
    static wr_datagram list[MANY];
    ends e;
    world *w = open_ends(&e);
    deed send = { 0 };
    run_of(list, MANY, 1000, e.at_b);
    call_fails(CALL_SENDMMSG, ENETUNREACH, 0, 1);
    world_send_to(w, e.a, list, &send);
    world_await(w, &send);
    cr_assert_eq(send.batch.sent, 0);
    cr_assert_eq(send.batch.refused, MANY);
    cr_assert_eq(send.batch.error, WEIR_ENETUNREACH);
    cr_assert_eq(run_size(w, e.a), WR_DATAGRAM_MAX);
    close_ends(w, &e);
}

/* A kernel that does not know runs would take one for a single datagram. */
Test(epoll_datagram, on_an_older_kernel_each_goes_by_itself)
{
    static wr_datagram list[MANY];
    ends e;
    world *w = open_ends(&e);
    deed send = { 0 };
    run_of(list, MANY, 1000, e.at_b);
    call_fails(CALL_GETSOCKOPT, ENOPROTOOPT, 1, 2); /* SO_DOMAIN comes first */
    world_send_to(w, e.a, list, &send);
    world_await(w, &send);
    cr_assert_eq(call_failures(CALL_GETSOCKOPT), 2);
    cr_assert_eq(run_size(w, e.a), 0);
    cr_assert_eq(send.batch.sent, MANY);
    hear(w, e.b, MANY, 1000);
    close_ends(w, &e);
}

/* No run is so long that the system would refuse it. */
Test(epoll_datagram, runs_stay_within_what_one_write_may_be)
{
    enum { LONG = 200 };
    static wr_datagram list[LONG];
    static const uint32_t sizes[] = { 1, 1000, 1472, 4000 };
    ends e;
    world *w = open_ends(&e);
    deed send = { 0 };
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        run_of(list, LONG, sizes[i], e.at_b);
        world_send_to(w, e.a, list, &send);
        world_await(w, &send);
        cr_assert_eq(send.batch.sent, LONG);
        cr_assert_eq(send.batch.refused, 0);
        cr_assert_eq(run_size(w, e.a), WR_DATAGRAM_MAX, "the kernel has refused a run");
    }
    close_ends(w, &e);
}
