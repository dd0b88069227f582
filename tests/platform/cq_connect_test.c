/* The completion queue: connecting, and cancelling that (platform/cq.h, 2 and 9). */
#include "cq_world.h"

static const wr_addr no_host = { .ip = { 192, 0, 2, 1 }, .family = WR_FAMILY_IPV4 }; /* RFC 5737 */

CQ_TEST(cq_connect, is_refused_where_nobody_listens)
{
    wr_endpoint nowhere = world_nowhere(w);
    deed connect = { 0 };
    for (int i = 0; i < 3; i++) { /* the deed and the socket's slot serve again */
        world_connect(w, &nowhere, &connect);
        world_await(w, &connect);
        cr_assert_eq(connect.error, WEIR_ECONNREFUSED);
        cr_assert_neq(connect.system_error, 0);
    }
}

CQ_TEST(cq_connect, finds_no_listener_behind_a_path_that_is_not_there)
{
    if (world_lacks(w, WR_CAP_UNIX)) return;
    wr_endpoint nowhere = { .addr.family = WR_FAMILY_UNIX, .path = "no-such-folder/x.sock" };
    deed connect = { 0 };
    world_connect(w, &nowhere, &connect);
    world_await(w, &connect);
    cr_assert_eq(connect.error, WEIR_ENOENT);
}

CQ_TEST(cq_connect, comes_from_the_local_address_that_is_asked_for)
{
    static const wr_addr local = { .ip = { 127, 0, 0, 2 }, .family = WR_FAMILY_IPV4 };
    wr_endpoint where;
    wr_sock listener = world_listen_ipv4(w, &where);
    deed accept = { 0 }, connect = { 0 };
    world_accept(w, listener, &accept);
    world_connect_from(w, &local, &where, &connect);
    world_await(w, &connect);
    cr_assert_eq(connect.error, 0);
    world_await_accepted(w, &accept, 1);
    cr_assert_arr_eq(accept.peers[0].ip, local.ip, 4);
    wr_addr bound;
    wr_cq_local(w->cq, connect.sock, &bound);
    cr_assert_arr_eq(bound.ip, local.ip, 4);
    cr_assert_eq(bound.port, accept.peers[0].port);
    wr_cq_discard(w->cq, accept.accepted[0]);
    world_finish(w, listener);
}

CQ_TEST(cq_connect, tells_of_a_local_address_that_is_not_here)
{
    wr_endpoint where;
    wr_sock listener = world_listen_ipv4(w, &where);
    deed connect = { 0 };
    world_connect_from(w, &no_host, &where, &connect);
    world_await(w, &connect);
    cr_assert_eq(connect.error, WEIR_EADDRNOTAVAIL);
    world_finish(w, listener);
}

/* The whole of its deadline may pass before that: core arms no timer for it. */
CQ_TEST(cq_connect, that_says_it_is_settled_comes_out_of_the_next_wait_which_does_not_wait)
{
    wr_endpoint where;
    wr_sock listener = world_listen_ipv4(w, &where);
    deed connects[2] = { 0 };
    world_connect_from(w, &no_host, &where, &connects[0]);
    cr_assert(connects[0].op.settled, "it failed within its submit, and each of our backends says so");
    world_connect(w, &where, &connects[1]);
    for (int i = 0; i < 2; i++) {
        if (!connects[i].op.settled) continue;
        world_pump(w, WR_DEADLINE_NOW);
        cr_assert(connects[i].done);
        cr_assert(!connects[i].op.settled, "that ends with the completion");
    }
    cr_assert_eq(connects[0].error, WEIR_EADDRNOTAVAIL);
    world_await(w, &connects[1]);
    cr_assert_eq(connects[1].error, 0);
    world_finish(w, listener);
}

/* A socket that is bound to the port it connects to meets itself: TCP allows that, and a program that gets it talks to
 * its own echo. */
CQ_TEST(cq_connect, refuses_to_connect_a_socket_to_itself)
{
    for (int i = 0; i < 10; i++) {
        wr_endpoint self = world_nowhere(w);
        deed connect = { 0 };
        world_connect_from(w, &self.addr, &self, &connect);
        world_await(w, &connect);
        cr_assert_eq(connect.error, WEIR_ECONNREFUSED);
    }
}

/* ---- cancelling ---- */

CQ_TEST(cq_connect, ends_once_when_it_is_cancelled_at_once)
{
    wr_endpoint where, nowhere = world_nowhere(w);
    wr_sock listener = world_listen_ipv4(w, &where);
    deed connect = { 0 };
    for (int i = 0; i < 50; i++) {
        bool there = i % 2 == 0;
        world_connect(w, there ? &where : &nowhere, &connect);
        wr_cq_cancel(w->cq, &connect.op);
        cr_assert_not(connect.done, "completed inline");
        wr_cq_cancel(w->cq, &connect.op); /* twice is harmless */
        world_await(w, &connect);
        if (connect.error == 0) {
            cr_assert(there);
            world_finish(w, connect.sock);
        } else if (connect.error != WEIR_ECANCELED) {
            cr_assert(!there && connect.error == WEIR_ECONNREFUSED);
        }
    }
    world_settle(w);
    world_finish(w, listener);
}

CQ_TEST(cq_connect, ends_once_when_it_is_cancelled_after_it_failed_to_start)
{
    wr_endpoint where;
    wr_sock listener = world_listen_ipv4(w, &where);
    deed connect = { 0 };
    world_connect_from(w, &no_host, &where, &connect);
    wr_cq_cancel(w->cq, &connect.op); /* has its result perhaps, and no socket */
    world_await(w, &connect);
    cr_assert(connect.error == WEIR_EADDRNOTAVAIL || connect.error == WEIR_ECANCELED);
    world_finish(w, listener);
}

CQ_TEST(cq_connect, is_not_undone_by_a_late_cancel)
{
    wr_endpoint where;
    wr_sock listener = world_listen_ipv4(w, &where);
    deed accept = { 0 }, connect = { 0 };
    world_accept(w, listener, &accept);
    world_connect(w, &where, &connect);
    world_await(w, &connect);
    cr_assert_eq(connect.error, 0);
    wr_cq_cancel(w->cq, &connect.op);
    world_await_accepted(w, &accept, 1);
    wr_sock accepted = world_adopt(w, accept.accepted[0]);
    char heard;
    world_say(w, connect.sock, "x", 1);
    world_hear(w, accepted, &heard, 1);
    world_finish(w, listener);
}

/* A listener whose backlog is full leaves connections hanging, on systems that do not refuse them. */
CQ_TEST(cq_connect, can_be_cancelled_while_it_hangs)
{
    enum { TRIES = 64 };
    static deed connects[TRIES];
    wr_listen_params params = { .local.addr = { .ip = { 127, 0, 0, 1 }, .family = WR_FAMILY_IPV4 }, .backlog = 1 };
    wr_listen_result result;
    cr_assert_eq(wr_cq_listen(w->cq, &params, &result), 0);
    wr_sock listener = world_adopt(w, result.socket);
    params.local.addr.port = result.bound.port;

    for (int i = 0; i < TRIES; i++) world_connect(w, &params.local, &connects[i]);
    world_settle(w);
    for (int i = 0; i < TRIES; i++) {
        bool hangs = !connects[i].done;
        wr_cq_cancel(w->cq, &connects[i].op);
        world_await(w, &connects[i]);
        bool raced = connects[i].error == 0 || connects[i].error == WEIR_ECONNREFUSED;
        if (hangs) cr_assert(connects[i].error == WEIR_ECANCELED || raced);
        if (connects[i].error == 0) world_finish(w, connects[i].sock);
    }
    world_settle(w); /* nothing of the cancelled ones comes later */
    world_finish(w, listener);
}

CQ_TEST(cq_connect, gives_a_cancelled_ones_place_to_others)
{
    wr_endpoint where;
    wr_sock listener = world_listen_ipv4(w, &where);
    deed connect = { 0 };
    for (int i = 0; i < 300; i++) {
        world_connect(w, &where, &connect);
        wr_cq_cancel(w->cq, &connect.op);
        world_await(w, &connect);
        if (connect.error == 0) world_finish(w, connect.sock);
    }
    uint64_t used = w->memory.base.used;
    for (int i = 0; i < 300; i++) {
        world_connect(w, &where, &connect);
        wr_cq_cancel(w->cq, &connect.op);
        world_await(w, &connect);
        if (connect.error == 0) world_finish(w, connect.sock);
    }
    cr_assert_eq(w->memory.base.used, used);
    world_finish(w, listener);
}
