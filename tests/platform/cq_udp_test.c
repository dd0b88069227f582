/* The completion queue: UDP sockets, from their opening to their close (platform/cq.h). */
#include "cq_world.h"

enum { SIZE_MAX_USUAL = 2048 };

static int fail_open(world *w, const wr_udp_params *params, enum wr_step step)
{
    wr_listen_result result = { .step = WR_STEP_NONE };
    int error = wr_cq_udp_open(w->cq, params, &result);
    cr_assert_neq(error, 0);
    cr_assert_eq(result.step, step, "step %d", result.step);
    cr_assert_neq(result.system_error, 0);
    return error;
}

/* Sends one byte; it is offered to the system, which is all that can be said of a datagram. */
static void say(world *w, wr_sock sock, wr_addr to)
{
    deed send = { 0 };
    wr_datagram datagram = { .data = "x", .size = 1, .peer = to };
    world_send_to(w, sock, &datagram, &send);
    world_await(w, &send);
    cr_assert_eq(send.error, 0);
    cr_assert_eq(send.batch.sent, 1, "error %d", send.batch.error);
}

/* Receives what has come, and returns whom the first was from. */
static wr_addr hear(world *w, wr_sock sock)
{
    deed recv = { 0 };
    world_recv_from(w, sock, SIZE_MAX_USUAL, &recv);
    world_await(w, &recv);
    cr_assert_eq(recv.error, 0);
    wr_addr from = recv.datagrams->peer;
    world_return(w, &recv);
    return from;
}

/* ---- opening ---- */

CQ_TEST(cq_udp, has_the_address_that_it_was_bound_to)
{
    wr_sock sock, other;
    wr_addr where, local;
    if (!world_udp(w, WR_FAMILY_IPV4, &sock, &where)) return;
    wr_cq_local(w->cq, sock, &local);
    cr_assert_eq(local.family, WR_FAMILY_IPV4);
    cr_assert_eq(local.port, where.port);
    cr_assert_arr_eq(local.ip, where.ip, 4);
    world_finish(w, sock);
    wr_udp_params params = { .local = where }; /* free again, and to be had by its number */
    other = world_udp_open(w, &params, &local);
    cr_assert_eq(local.port, where.port);
    world_finish(w, other);
}

CQ_TEST(cq_udp, takes_a_port_for_itself_alone)
{
    wr_sock sock;
    wr_udp_params params = { 0 };
    if (!world_udp(w, WR_FAMILY_IPV4, &sock, &params.local)) return;
    cr_assert_eq(fail_open(w, &params, WR_STEP_BIND), WEIR_EADDRINUSE);
    params.shared_port = (w->ops->caps & WR_CAP_SHARED_PORT) != 0;
    cr_assert_eq(fail_open(w, &params, WR_STEP_BIND), WEIR_EADDRINUSE);
    world_finish(w, sock);
}

CQ_TEST(cq_udp, leaves_the_port_to_listeners_of_streams)
{
    wr_endpoint where;
    wr_sock listener = world_listen_ipv4(w, &where);
    wr_addr bound;
    wr_udp_params params = { .local = where.addr };
    world_finish(w, world_udp_open(w, &params, &bound));
    world_finish(w, listener);
}

CQ_TEST(cq_udp, cannot_be_bound_to_what_is_none_of_this_hosts_addresses)
{
    wr_udp_params params = { .local = { .family = WR_FAMILY_IPV4, .ip = { 192, 0, 2, 1 } } }; /* RFC 5737 */
    wr_listen_result result;
    int error = wr_cq_udp_open(w->cq, &params, &result);
    if (error == 0 && strcmp(w->ops->name, "iocp") == 0) {
        wr_cq_discard(w->cq, result.socket);
        w->lacks = "Wine binds UDP sockets to any address, whoever has it";
        return;
    }
    cr_assert_eq(error, WEIR_EADDRNOTAVAIL);
    cr_assert_eq(result.step, WR_STEP_BIND);
    cr_assert_neq(result.system_error, 0);
}

CQ_TEST(cq_udp, that_is_detached_can_be_discarded)
{
    wr_udp_params params = { .local = world_loopback(WR_FAMILY_IPV4, 0) };
    wr_listen_result result;
    cr_assert_eq(wr_cq_udp_open(w->cq, &params, &result), 0);
    params.local = result.bound;
    wr_cq_discard(w->cq, result.socket);
    cr_assert_eq(wr_cq_udp_open(w->cq, &params, &result), 0);
    wr_cq_discard(w->cq, result.socket);
}

CQ_TEST(cq_udp, may_ask_for_buffers_of_any_size)
{
    static const uint32_t sizes[] = { 1, 65536, 4 << 20, UINT32_MAX };
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        wr_udp_params params = { .local = world_loopback(WR_FAMILY_IPV4, 0),
                                 .receive_bytes = sizes[i],
                                 .send_bytes = sizes[i] };
        wr_addr where;
        wr_sock sock = world_udp_open(w, &params, &where);
        say(w, sock, where);
        hear(w, sock);
        world_finish(w, sock);
    }
}

/* ---- families ---- */

CQ_TEST(cq_udp, of_both_families_speaks_with_ipv4_too)
{
    wr_sock any, sock;
    wr_addr where, at;
    if (!world_udp(w, WR_FAMILY_IPV6, &sock, &where)) return; /* there is IPv6 here */
    world_finish(w, sock);
    wr_udp_params params = { .local = { .family = WR_FAMILY_IPV6 } };
    any = world_udp_open(w, &params, &where);
    cr_assert(world_udp(w, WR_FAMILY_IPV4, &sock, &at));
    say(w, sock, world_loopback(WR_FAMILY_IPV4, where.port));
    wr_addr from = hear(w, any);
    cr_assert_eq(from.family, WR_FAMILY_IPV4, "a mapped address is IPv4");
    cr_assert_eq(from.port, at.port);
    say(w, any, from);
    hear(w, sock);
    world_finish(w, sock);
    world_finish(w, any);
}

CQ_TEST(cq_udp, of_ipv6_only_refuses_ipv4)
{
    wr_sock sock;
    wr_addr where, at;
    if (!world_udp(w, WR_FAMILY_IPV6, &sock, &where)) return;
    world_finish(w, sock);
    wr_udp_params params = { .local = { .family = WR_FAMILY_IPV6 }, .ipv6_only = true };
    sock = world_udp_open(w, &params, &where);
    deed send = { 0 };
    wr_datagram datagram = { .data = "x", .size = 1, .peer = world_loopback(WR_FAMILY_IPV4, 9) };
    world_send_to(w, sock, &datagram, &send);
    world_await(w, &send);
    cr_assert_eq(send.error, 0);
    cr_assert_eq(send.batch.refused, 1);
    params.local = (wr_addr){ .family = WR_FAMILY_IPV4, .port = where.port }; /* the port is free for IPv4 */
    wr_sock other = world_udp_open(w, &params, &at);
    world_finish(w, other);
    world_finish(w, sock);
}

/* ---- a port of several ---- */

enum { SHARERS = 4, PEERS = 64 };

static void open_sharers(world *w, wr_sock *sharers, wr_addr *where)
{
    wr_udp_params params = { .local = world_loopback(WR_FAMILY_IPV4, 0), .shared_port = true, .claims_port = true };
    for (int i = 0; i < SHARERS; i++) {
        sharers[i] = world_udp_open(w, &params, where);
        params = (wr_udp_params){ .local = *where, .shared_port = true };
    }
}

CQ_TEST(cq_udp, shares_its_port_so_that_each_has_some_peers_and_keeps_them)
{
    enum { ROUNDS = 3 };
    if (world_lacks(w, WR_CAP_SHARED_PORT)) return;
    wr_sock sharers[SHARERS], peers[PEERS];
    wr_addr where, at[PEERS];
    static deed recvs[SHARERS];
    int owner[PEERS];
    unsigned counts[SHARERS] = { 0 };
    open_sharers(w, sharers, &where);
    for (int i = 0; i < SHARERS; i++) world_recv_from(w, sharers[i], SIZE_MAX_USUAL, &recvs[i]);
    for (int p = 0; p < PEERS; p++) {
        cr_assert(world_udp(w, WR_FAMILY_IPV4, &peers[p], &at[p]));
        owner[p] = -1;
    }
    for (int round = 0; round < ROUNDS * PEERS; round++) {
        int p = round % PEERS, got = -1;
        say(w, peers[p], where);
        uint64_t deadline_ns = world_in_ms(w, WORLD_PATIENCE_MS);
        while (got < 0) {
            cr_assert_lt(wr_cq_now(w->cq), deadline_ns, "a datagram reached no socket");
            for (int i = 0; i < SHARERS; i++) got = recvs[i].done ? i : got;
            if (got < 0) world_pump(w, deadline_ns);
        }
        cr_assert_eq(recvs[got].error, 0);
        cr_assert_eq(recvs[got].datagrams->peer.port, at[p].port);
        cr_assert(owner[p] < 0 || owner[p] == got, "a peer has changed its socket");
        counts[got] += owner[p] < 0;
        owner[p] = got;
        world_return(w, &recvs[got]);
        world_recv_from(w, sharers[got], SIZE_MAX_USUAL, &recvs[got]);
    }
    for (int i = 0; i < SHARERS; i++) {
        cr_assert_gt(counts[i], 0, "a socket has no peers");
        world_finish(w, sharers[i]);
    }
    for (int p = 0; p < PEERS; p++) world_finish(w, peers[p]);
}

CQ_TEST(cq_udp, that_claims_a_port_finds_out_that_others_share_it)
{
    if (world_lacks(w, WR_CAP_SHARED_PORT)) return;
    wr_sock sharers[SHARERS];
    wr_addr where;
    open_sharers(w, sharers, &where);
    wr_udp_params params = { .local = where, .shared_port = true, .claims_port = true };
    cr_assert_eq(fail_open(w, &params, WR_STEP_BIND), WEIR_EADDRINUSE);
    params.shared_port = params.claims_port = false;
    cr_assert_eq(fail_open(w, &params, WR_STEP_BIND), WEIR_EADDRINUSE);
    for (int i = 0; i < SHARERS; i++) world_finish(w, sharers[i]);
}

/* ---- closing ---- */

CQ_TEST(cq_udp, closes_idle_and_never_used)
{
    wr_sock sock;
    wr_addr where;
    for (int reset = 0; reset < 2; reset++) {
        if (!world_udp(w, WR_FAMILY_IPV4, &sock, &where)) return;
        deed close = { 0 };
        world_end(w, sock, reset, &close);
        world_await(w, &close);
    }
}

CQ_TEST(cq_udp, closes_after_its_receive_has_ended)
{
    wr_sock sock;
    wr_addr where;
    if (!world_udp(w, WR_FAMILY_IPV4, &sock, &where)) return;
    deed recv = { 0 }, close = { 0 };
    world_recv_from(w, sock, SIZE_MAX_USUAL, &recv);
    world_settle(w);
    world_end(w, sock, false, &close);
    world_await(w, &close); /* which checks that nothing of the socket is left in flight */
    cr_assert_eq(recv.error, WEIR_ECANCELED);
    cr_assert_eq(recv.system_error, 0);
}

/* Every choice of what is in flight, of what has come, and of the wait before the close. */
CQ_TEST(cq_udp, races_its_close_with_everything)
{
    enum { RECV = 1, SEND = 2, SEND_MANY = 4, PEER_SAYS = 8, PUMP = 16, RESET = 32, ALL = 64, LIST = 500 };
    static wr_datagram list[LIST];
    wr_sock peer, sock;
    wr_addr at_peer, where;
    if (!world_udp(w, WR_FAMILY_IPV4, &peer, &at_peer)) return;
    for (int i = 0; i < LIST; i++) {
        list[i] = (wr_datagram){ .data = "many", .size = 4, .peer = at_peer };
        if (i > 0) list[i - 1].next = &list[i];
    }
    for (int choice = 0; choice < ALL; choice++) {
        if ((choice & SEND) && (choice & SEND_MANY)) continue;
        cr_assert(world_udp(w, WR_FAMILY_IPV4, &sock, &where));
        deed recv = { 0 }, send = { 0 }, close = { 0 };
        if (choice & RECV) world_recv_from(w, sock, SIZE_MAX_USUAL, &recv);
        if (choice & SEND) world_send_to(w, sock, &list[LIST - 1], &send);
        if (choice & SEND_MANY) world_send_to(w, sock, list, &send);
        if (choice & PEER_SAYS) say(w, peer, where);
        if (choice & PUMP) world_pump(w, world_in_ms(w, 1));
        world_end(w, sock, choice & RESET, &close);
        world_await(w, &close);
        if (choice & RECV) {
            cr_assert(recv.done && (recv.error == 0 || recv.error == WEIR_ECANCELED));
            if (recv.error == 0) world_return(w, &recv);
        }
        if (choice & (SEND | SEND_MANY)) {
            uint32_t count = choice & SEND ? 1 : LIST;
            cr_assert(send.done && (send.error == 0 || send.error == WEIR_ECANCELED));
            cr_assert_leq(send.batch.sent + send.batch.refused, count);
            if (send.error == 0) cr_assert_eq(send.batch.sent, count);
        }
    }
    world_settle(w);
    world_finish(w, peer);
}

CQ_TEST(cq_udp, leaves_nothing_behind)
{
    uint64_t used = 0;
    wr_sock sock;
    wr_addr where;
    for (int i = 0; i < 600; i++) {
        if (!world_udp(w, WR_FAMILY_IPV4, &sock, &where)) return;
        deed recv = { 0 };
        world_recv_from(w, sock, SIZE_MAX_USUAL, &recv);
        if (i % 3 == 0) say(w, sock, where);
        world_finish(w, sock);
        if (recv.datagrams) world_return(w, &recv);
        if (i == 300) used = w->memory.base.used;
    }
    cr_assert_leq(w->memory.base.used, used);
}

/* The kernel may know of datagrams for the old socket when its slot gets a new one. */
CQ_TEST(cq_udp, keeps_stale_events_from_the_slots_next_socket)
{
    wr_sock peer, old, new;
    wr_addr at_peer, where, at_new;
    if (!world_udp(w, WR_FAMILY_IPV4, &peer, &at_peer)) return;
    for (int i = 0; i < 50; i++) {
        deed recv = { 0 }, silent = { 0 }, close = { 0 };
        cr_assert(world_udp(w, WR_FAMILY_IPV4, &old, &where));
        world_recv_from(w, old, SIZE_MAX_USUAL, &recv);
        world_pump(w, WR_DEADLINE_NOW); /* it is registered by now */
        say(w, peer, where);
        world_end(w, old, i % 2, &close);
        cr_assert(world_udp(w, WR_FAMILY_IPV4, &new, &at_new));
        cr_assert(new.slot != old.slot || new.generation != old.generation);
        world_recv_from(w, new, SIZE_MAX_USUAL, &silent);
        if (i % 10 == 0) world_settle(w);
        world_await(w, &close);
        cr_assert_not(silent.done, "a new socket heard of an old one's datagram");
        cr_assert(recv.done);
        if (recv.error == 0) world_return(w, &recv);
        world_finish(w, new);
    }
    world_finish(w, peer);
}

/* ---- fairness ---- */

CQ_TEST(cq_udp, that_is_flooded_starves_no_other_socket)
{
    enum { FLOOD = 300, PUMPS_MAX = 400 };
    static wr_datagram list[FLOOD];
    wr_sock flooded, peer;
    wr_addr where, at_peer;
    if (!world_udp(w, WR_FAMILY_IPV4, &flooded, &where)) return;
    cr_assert(world_udp(w, WR_FAMILY_IPV4, &peer, &at_peer));
    for (int i = 0; i < FLOOD; i++) {
        list[i] = (wr_datagram){ .data = "flood", .size = 5, .peer = where };
        if (i > 0) list[i - 1].next = &list[i];
    }
    pair quiet = world_pair(w);
    deed hear_quiet = { 0 }, say_quiet = { 0 }, recv = { 0 }, send = { 0 };
    wr_slice slice = { .data = "x", .size = 1 };
    world_recv(w, quiet.b, &hear_quiet);
    world_recv_from(w, flooded, SIZE_MAX_USUAL, &recv);
    world_send_to(w, peer, list, &send);
    world_send(w, quiet.a, &slice, &say_quiet);
    w->capacity = 1;
    for (int pumps = 0; !hear_quiet.done; pumps++) {
        cr_assert_lt(pumps, PUMPS_MAX);
        world_pump(w, WR_DEADLINE_NOW);
        if (send.done) world_send_to(w, peer, list, &send);
        if (!recv.done) continue;
        world_return(w, &recv);
        world_recv_from(w, flooded, SIZE_MAX_USUAL, &recv);
    }
    w->capacity = WORLD_BATCH;
    world_return(w, &hear_quiet);
    world_finish_pair(w, quiet);
    world_finish(w, peer);
    world_finish(w, flooded);
    if (recv.datagrams) world_return(w, &recv);
    if (!say_quiet.done) world_await(w, &say_quiet);
}
