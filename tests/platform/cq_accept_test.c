/* The completion queue: listening and accepting (platform/cq.h, 2, 9 and 12). */
#include "cq_world.h"
#include "platform/os.h"

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
}

/* ---- listening ---- */

CQ_TEST(cq_listen, tells_the_port_that_the_system_chose)
{
    wr_endpoint where;
    wr_sock listener = world_listen_ipv4(w, &where);
    cr_assert_neq(where.addr.port, 0);
    wr_addr local;
    wr_cq_local(w->cq, listener, &local);
    cr_assert_eq(local.family, WR_FAMILY_IPV4);
    cr_assert_eq(local.port, where.addr.port);
    world_finish(w, listener);
}

CQ_TEST(cq_listen, refuses_a_port_that_is_taken)
{
    wr_endpoint where;
    wr_sock listener = world_listen_ipv4(w, &where);
    wr_listen_result result;
    int error = wr_cq_listen(w->cq, &(wr_listen_params){ .local = where, .backlog = 8 }, &result);
    cr_assert_eq(error, WEIR_EADDRINUSE);
    cr_assert(result.step == WR_STEP_BIND || result.step == WR_STEP_LISTEN);
    cr_assert_neq(result.system_error, 0);
    world_finish(w, listener);
}

CQ_TEST(cq_listen, refuses_an_address_of_another_host)
{
    /* 192.0.2.0/24 is for documentation (RFC 5737): no host has it. */
    wr_listen_params params = { .local.addr = { .ip = { 192, 0, 2, 1 }, .family = WR_FAMILY_IPV4 }, .backlog = 8 };
    wr_listen_result result;
    cr_assert_eq(wr_cq_listen(w->cq, &params, &result), WEIR_EADDRNOTAVAIL);
    cr_assert_eq(result.step, WR_STEP_BIND);
}

CQ_TEST(cq_listen, refuses_a_path_in_no_folder)
{
    if (world_lacks(w, WR_CAP_UNIX)) return;
    wr_listen_params params = { .local = { .addr.family = WR_FAMILY_UNIX, .path = "no-such-folder/x.sock" },
                                .backlog = 8 };
    wr_listen_result result;
    cr_assert_eq(wr_cq_listen(w->cq, &params, &result), WEIR_ENOENT);
    cr_assert_eq(result.step, WR_STEP_BIND);
}

CQ_TEST(cq_listen, shares_a_port_among_listeners_that_all_ask_for_it)
{
    if (world_lacks(w, WR_CAP_SHARED_PORT)) return;
    wr_listen_params params = { .local.addr = { .ip = { 127, 0, 0, 1 }, .family = WR_FAMILY_IPV4 },
                                .backlog = 64,
                                .shared_port = true };
    enum { CONNECTS = 32 };
    static deed connects[CONNECTS];
    static deed accepts[2];
    wr_sock listeners[2];
    for (int i = 0; i < 2; i++) {
        wr_listen_result result;
        cr_assert_eq(wr_cq_listen(w->cq, &params, &result), 0);
        params.local.addr.port = result.bound.port;
        listeners[i] = world_adopt(w, result.socket);
        world_accept(w, listeners[i], &accepts[i]);
    }
    connect_all(w, &params.local, connects, CONNECTS);
    world_settle(w);
    cr_assert_eq(accepts[0].accepted_count + accepts[1].accepted_count, CONNECTS);
    for (int i = 0; i < 2; i++) {
        world_finish(w, listeners[i]);
        discard_accepted(w, &accepts[i]);
    }
}

/* ---- accepting ---- */

static void accepts_and_echoes(world *w, enum wr_family family)
{
    wr_sock listener;
    wr_endpoint where;
    if (!world_listen(w, family, &listener, &where)) return;
    deed accept = { 0 }, connect = { 0 };
    world_accept(w, listener, &accept);
    world_connect(w, &where, &connect);
    world_await(w, &connect);
    cr_assert_eq(connect.error, 0);
    world_await_accepted(w, &accept, 1);
    wr_addr local;
    wr_cq_local(w->cq, connect.sock, &local);
    cr_assert_eq(accept.peers[0].family, family);
    cr_assert_eq(accept.peers[0].port, local.port);
    cr_assert_arr_eq(accept.peers[0].ip, local.ip, sizeof local.ip);

    wr_sock accepted = world_adopt(w, accept.accepted[0]);
    char heard[4];
    world_say(w, connect.sock, "ping", 4);
    world_hear(w, accepted, heard, 4);
    world_say(w, accepted, heard, 4);
    memset(heard, 0, sizeof heard);
    world_hear(w, connect.sock, heard, 4);
    cr_assert_arr_eq(heard, "ping", 4);
    world_finish(w, connect.sock);
    world_finish(w, accepted);
    world_finish(w, listener);
}

CQ_TEST(cq_accept, serves_ipv4)
{
    accepts_and_echoes(w, WR_FAMILY_IPV4);
}

CQ_TEST(cq_accept, serves_ipv6)
{
    accepts_and_echoes(w, WR_FAMILY_IPV6);
}

CQ_TEST(cq_accept, serves_unix_domain_sockets)
{
    accepts_and_echoes(w, WR_FAMILY_UNIX);
}

CQ_TEST(cq_accept, delivers_many_connections_by_one_submit)
{
    enum { CONNECTS = 200 };
    static deed connects[CONNECTS];
    deed accept = { 0 };
    wr_endpoint where;
    wr_sock listener = world_listen_ipv4(w, &where);
    world_accept(w, listener, &accept);
    connect_all(w, &where, connects, CONNECTS);
    world_await_accepted(w, &accept, CONNECTS);
    cr_assert_not(accept.done);
    world_finish(w, listener);
    cr_assert_eq(accept.error, WEIR_ECANCELED);
    cr_assert_eq(accept.accepted_count, CONNECTS);
    discard_accepted(w, &accept);
    for (int i = 0; i < CONNECTS; i++) world_finish(w, connects[i].sock);
}

CQ_TEST(cq_accept, delivers_them_one_at_a_time_through_one_place)
{
    enum { CONNECTS = 40 };
    static deed connects[CONNECTS];
    deed accept = { 0 };
    wr_endpoint where;
    wr_sock listener = world_listen_ipv4(w, &where);
    connect_all(w, &where, connects, CONNECTS);
    w->capacity = 1;
    world_accept(w, listener, &accept);
    world_await_accepted(w, &accept, CONNECTS);
    world_finish(w, listener);
    discard_accepted(w, &accept);
}

CQ_TEST(cq_accept, leaves_the_backlog_alone_until_it_is_asked)
{
    deed connect = { 0 }, accept = { 0 };
    wr_endpoint where;
    wr_sock listener = world_listen_ipv4(w, &where);
    connect_all(w, &where, &connect, 1);
    world_settle(w);
    world_accept(w, listener, &accept);
    world_await_accepted(w, &accept, 1);
    world_finish(w, listener);
    discard_accepted(w, &accept);
}

CQ_TEST(cq_accept, ends_when_it_is_cancelled)
{
    wr_endpoint where;
    wr_sock listener = world_listen_ipv4(w, &where);
    deed accept = { 0 };
    for (int i = 0; i < 3; i++) {
        world_accept(w, listener, &accept);
        world_settle(w);
        cr_assert_not(accept.done);
        wr_cq_cancel(w->cq, &accept.op);
        cr_assert_not(accept.done, "completed inline");
        wr_cq_cancel(w->cq, &accept.op); /* twice is harmless */
        world_await(w, &accept);
        cr_assert_eq(accept.error, WEIR_ECANCELED);
        cr_assert_eq(accept.system_error, 0);
        wr_cq_cancel(w->cq, &accept.op); /* and so is late */
    }
    world_settle(w);
    world_finish(w, listener);
}

/* Whatever the cancel finds already accepted is delivered, or is by a later accept; nothing is lost. */
CQ_TEST(cq_accept, loses_no_connection_when_it_is_cancelled_among_them)
{
    enum { CONNECTS = 100 };
    static deed connects[CONNECTS];
    deed accept = { 0 };
    wr_endpoint where;
    wr_sock listener = world_listen_ipv4(w, &where);
    for (int i = 0; i < CONNECTS; i++) world_connect(w, &where, &connects[i]);
    unsigned accepted = 0;
    uint64_t deadline_ns = world_in_ms(w, WORLD_PATIENCE_MS);
    for (unsigned pumps = 0; accepted < CONNECTS; pumps++) {
        cr_assert_lt(wr_cq_now(w->cq), deadline_ns, "%u of %d accepted", accepted, CONNECTS);
        world_accept(w, listener, &accept);
        for (unsigned i = 0; i < pumps % 4; i++) world_pump(w, world_in_ms(w, 1));
        wr_cq_cancel(w->cq, &accept.op);
        world_await(w, &accept);
        cr_assert_eq(accept.error, WEIR_ECANCELED);
        accepted += accept.accepted_count;
        discard_accepted(w, &accept);
    }
    world_settle(w);
    cr_assert_eq(accepted, CONNECTS);
    world_finish(w, listener);
}

CQ_TEST(cq_accept, gives_no_crowd_to_whoever_cancels_after_each_connection)
{
    enum { CONNECTS = 40 };
    static deed connects[CONNECTS];
    deed accept = { 0 };
    wr_endpoint where;
    wr_sock listener = world_listen_ipv4(w, &where);
    connect_all(w, &where, connects, CONNECTS);
    for (int accepted = 0; accepted < CONNECTS; accepted++) {
        world_accept(w, listener, &accept);
        world_await_accepted(w, &accept, 1);
        wr_cq_cancel(w->cq, &accept.op);
        world_await(w, &accept);
        cr_assert_eq(accept.error, WEIR_ECANCELED);
        cr_assert_eq(accept.accepted_count, 1, "%u after %d", accept.accepted_count, accepted);
        discard_accepted(w, &accept);
        world_settle(w);
    }
    world_finish(w, listener);
}

CQ_TEST(cq_accept, lives_on_when_connections_die_in_the_backlog)
{
    enum { CONNECTS = 8 };
    static deed connects[CONNECTS];
    deed accept = { 0 }, close = { 0 }, last = { 0 };
    wr_endpoint where;
    wr_sock listener = world_listen_ipv4(w, &where);
    connect_all(w, &where, connects, CONNECTS);
    for (int i = 0; i < CONNECTS; i++) {
        world_end(w, connects[i].sock, true, &close);
        world_await(w, &close);
    }
    world_accept(w, listener, &accept);
    world_settle(w);
    cr_assert_not(accept.done);
    cr_assert_leq(accept.accepted_count + accept.errors, CONNECTS); /* the system may hide them */
    unsigned dead = accept.accepted_count;
    connect_all(w, &where, &last, 1);
    world_await_accepted(w, &accept, dead + 1);
    world_finish(w, listener);
    discard_accepted(w, &accept);
}

CQ_TEST(cq_accept, ends_before_the_close_of_its_listener)
{
    wr_endpoint where;
    wr_sock listener = world_listen_ipv4(w, &where);
    deed accept = { 0 }, close = { 0 };
    world_accept(w, listener, &accept);
    world_end(w, listener, false, &close);
    world_await(w, &close);
    cr_assert(accept.done);
    cr_assert_eq(accept.error, WEIR_ECANCELED);
}

CQ_TEST(cq_accept, ends_once_when_cancel_and_close_race)
{
    wr_endpoint where;
    wr_sock listener = world_listen_ipv4(w, &where);
    deed accept = { 0 }, close = { 0 }, connect = { 0 };
    world_accept(w, listener, &accept);
    world_connect(w, &where, &connect);
    wr_cq_cancel(w->cq, &accept.op);
    world_end(w, listener, false, &close);
    wr_cq_cancel(w->cq, &accept.op);
    world_await(w, &close);
    cr_assert(accept.done);
    cr_assert_eq(accept.error, WEIR_ECANCELED);
    discard_accepted(w, &accept);
    world_await(w, &connect);
    world_settle(w);
}

CQ_TEST(cq_accept, refuses_connections_once_its_listener_is_closed)
{
    wr_endpoint where = world_nowhere(w);
    deed connect = { 0 };
    world_connect(w, &where, &connect);
    world_await(w, &connect);
    cr_assert_eq(connect.error, WEIR_ECONNREFUSED);
}

/* ---- what becomes of an accepted socket ---- */

CQ_TEST(cq_accept, closes_a_connection_that_is_discarded)
{
    deed accept = { 0 }, connect = { 0 };
    wr_endpoint where;
    wr_sock listener = world_listen_ipv4(w, &where);
    world_accept(w, listener, &accept);
    connect_all(w, &where, &connect, 1);
    world_await_accepted(w, &accept, 1);
    wr_cq_discard(w->cq, accept.accepted[0]);
    size_t size;
    int end = world_hear_end(w, connect.sock, &size);
    cr_assert(end == WEIR_EEOF || end == WEIR_ECONNRESET);
    world_finish(w, listener);
}

CQ_TEST(cq_accept, lets_another_queue_adopt_the_connection)
{
    world other;
    world_open(&other, w->ops);
    deed accept = { 0 }, connect = { 0 };
    wr_endpoint where;
    wr_sock listener = world_listen_ipv4(w, &where);
    world_accept(w, listener, &accept);
    connect_all(w, &where, &connect, 1);
    world_await_accepted(w, &accept, 1);
    world_say(w, connect.sock, "first", 5); /* before it belongs to anybody */
    wr_sock accepted = world_adopt(&other, accept.accepted[0]);
    char heard[5];
    world_hear(&other, accepted, heard, 5);
    cr_assert_arr_eq(heard, "first", 5);
    world_say(&other, accepted, "second", 6);
    char answer[6];
    world_hear(w, connect.sock, answer, 6);
    cr_assert_arr_eq(answer, "second", 6);
    world_finish(&other, accepted);
    world_finish(w, listener);
    world_close(&other);
}

CQ_TEST(cq_accept, lets_another_queue_adopt_the_listener)
{
    world other;
    world_open(&other, w->ops);
    wr_listen_params params = { .local.addr = { .ip = { 127, 0, 0, 1 }, .family = WR_FAMILY_IPV4 }, .backlog = 8 };
    wr_listen_result result;
    cr_assert_eq(wr_cq_listen(w->cq, &params, &result), 0);
    wr_sock listener = world_adopt(&other, result.socket);
    params.local.addr.port = result.bound.port;
    deed accept = { 0 }, connect = { 0 };
    world_accept(&other, listener, &accept);
    connect_all(w, &params.local, &connect, 1);
    world_await_accepted(&other, &accept, 1);
    discard_accepted(&other, &accept);
    world_close(&other);
}

/* A second thread, to which the first one hands each connection that it accepts, by a post. */
enum { HANDED = 100 };

typedef struct handed {
    wr_op op; /* for one thing after the other: post, recv, send, close */
    wr_detached socket;
    wr_sock sock;
    wr_slice answer;
    uint8_t *buffer;
} handed;

typedef struct echoer {
    wr_thread thread;
    wr_cq *cq;
} echoer;

/* One step in the life of a connection; true after the last. */
static bool step(wr_cq *cq, const wr_completion *c)
{
    handed *h = WR_CONTAINER_OF(c->op, handed, op);
    cr_assert_eq(c->error, 0);
    switch (c->op->kind) {
    case WR_OP_POST:
        cr_assert_eq(wr_cq_adopt(cq, h->socket, &h->sock), 0);
        wr_cq_recv(cq, h->sock, &h->op);
        return false;
    case WR_OP_RECV:
        h->buffer = c->buffer;
        h->answer = (wr_slice){ .data = c->buffer, .size = c->size };
        wr_cq_send(cq, h->sock, &h->op, &h->answer);
        return false;
    case WR_OP_SEND:
        wr_cq_buf_return(cq, h->buffer);
        wr_cq_close(cq, h->sock, &h->op, false);
        return false;
    default:
        cr_assert_eq(c->op->kind, WR_OP_CLOSE);
        return true;
    }
}

static void adopt_and_echo(void *arg)
{
    echoer *e = arg;
    for (int closed = 0; closed < HANDED;) {
        wr_completion out[WORLD_BATCH];
        unsigned count = wr_cq_wait(e->cq, out, WORLD_BATCH, WR_DEADLINE_NEVER);
        for (unsigned i = 0; i < count; i++) closed += step(e->cq, &out[i]);
    }
}

CQ_TEST(cq_accept, hands_connections_to_a_queue_on_another_thread)
{
    static deed connects[HANDED];
    static handed handed_over[HANDED];
    world other;
    world_open(&other, w->ops);
    echoer e = { .cq = other.cq };
    cr_assert_eq(wr_thread_start(&e.thread, "echoer", adopt_and_echo, &e), 0);

    deed accept = { 0 };
    wr_endpoint where;
    wr_sock listener = world_listen_ipv4(w, &where);
    world_accept(w, listener, &accept);
    connect_all(w, &where, connects, HANDED);
    world_await_accepted(w, &accept, HANDED);
    w->awaits_threads = true;
    for (int i = 0; i < HANDED; i++) {
        handed_over[i] = (handed){ .socket = accept.accepted[i] };
        wr_cq_post(other.cq, &handed_over[i].op);
    }
    for (int i = 0; i < HANDED; i++) {
        uint8_t said = (uint8_t)i, heard;
        world_say(w, connects[i].sock, &said, 1);
        world_hear(w, connects[i].sock, &heard, 1);
        cr_assert_eq(heard, said);
        world_finish(w, connects[i].sock);
    }
    wr_thread_join(&e.thread);
    world_finish(w, listener);
    world_close(&other);
}
