/* The completion queue: datagrams that come and go (platform/cq.h, RECV_FROM and SEND_TO). A loopback loses none as
 * long as the receiver's buffer has room. */
#include "cq_world.h"

#include <stdlib.h>

enum { SIZE_MAX_USUAL = 2048, MANY = 100 };

/* Two sockets, and where they are. */
typedef struct ends {
    wr_sock a, b;
    wr_addr at_a, at_b;
} ends;

static bool open_ends(world *w, ends *e)
{
    return world_udp(w, WR_FAMILY_IPV4, &e->a, &e->at_a) && world_udp(w, WR_FAMILY_IPV4, &e->b, &e->at_b);
}

static void close_ends(world *w, const ends *e)
{
    world_finish(w, e->a);
    world_finish(w, e->b);
}

/* Sends, and waits until the system took all of them. */
static void say(world *w, wr_sock sock, const wr_datagram *first, uint32_t count)
{
    deed send = { 0 };
    world_send_to(w, sock, first, &send);
    world_await(w, &send);
    cr_assert_eq(send.error, 0);
    cr_assert_eq(send.batch.refused, 0, "error %d, the system's %d", send.batch.error, send.batch.system_error);
    cr_assert_eq(send.batch.sent, count);
    uint64_t size = 0;
    for (; first; first = first->next) size += first->size;
    cr_assert_eq(send.batch.sent_bytes, size);
}

static void say_bytes(world *w, wr_sock sock, wr_addr to, const void *data, uint32_t size)
{
    wr_datagram datagram = { .data = data, .size = size, .peer = to };
    say(w, sock, &datagram, 1);
}

/* Receives that many, and shows them one after another. */
static unsigned hear(world *w, wr_sock sock, uint16_t size_max, uint32_t count,
                     void (*check)(const wr_datagram *datagram, uint32_t number, const void *data), const void *data)
{
    uint32_t heard = 0;
    unsigned batches = 0;
    deed recv = { 0 };
    while (heard < count) {
        world_recv_from(w, sock, size_max, &recv);
        world_await(w, &recv);
        cr_assert_eq(recv.error, 0, "%d after %u of %u datagrams", recv.error, heard, count);
        cr_assert_leq(recv.size, count - heard, "more datagrams than were sent");
        for (const wr_datagram *datagram = recv.datagrams; datagram; datagram = datagram->next)
            check(datagram, heard++, data);
        world_return(w, &recv);
        batches++;
    }
    return batches;
}

static void is_equal(const wr_datagram *datagram, uint32_t number, const void *data)
{
    const wr_datagram *sent = (const wr_datagram *)data + number;
    cr_assert_eq(datagram->size, sent->size, "datagram %u", number);
    cr_assert_not(datagram->truncated);
    if (sent->size > 0) cr_assert_arr_eq(datagram->data, sent->data, sent->size, "datagram %u", number);
}

static uint8_t bytes[WR_DATAGRAM_MAX + 1];

static void fill_bytes(void)
{
    for (size_t i = 0; i < sizeof bytes; i++) bytes[i] = (uint8_t)(i * 31 + i / 251);
}

/* A list of datagrams to one peer, whose bytes tell one from the next. */
static void chain(wr_datagram *list, uint32_t count, wr_addr to, uint32_t (*size)(uint32_t number))
{
    fill_bytes();
    for (uint32_t i = 0; i < count; i++) {
        list[i] = (wr_datagram){ .data = bytes + i, .size = size(i), .peer = to };
        if (i > 0) list[i - 1].next = &list[i];
    }
}

static uint32_t size_varies(uint32_t number)
{
    return number * 7 % 200;
}

static uint32_t size_of_runs(uint32_t number)
{
    return number % 10 == 9 ? 50 : 100; /* runs of one size with a shorter last one, as bulk is cut */
}

static uint32_t size_one(uint32_t number)
{
    (void)number;
    return 1;
}

/* ---- receiving ---- */

CQ_TEST(cq_datagram, waits_until_there_is_one)
{
    ends e;
    if (!open_ends(w, &e)) return;
    deed recv = { 0 };
    world_recv_from(w, e.b, SIZE_MAX_USUAL, &recv);
    world_settle(w);
    cr_assert_not(recv.done);
    say_bytes(w, e.a, e.at_b, "x", 1);
    world_await(w, &recv);
    cr_assert_eq(recv.error, 0);
    cr_assert_eq(recv.size, 1);
    cr_assert_eq(recv.datagrams->size, 1);
    cr_assert_arr_eq(recv.datagrams->data, "x", 1);
    world_return(w, &recv);
    close_ends(w, &e);
}

CQ_TEST(cq_datagram, finds_one_that_came_before_it_was_asked)
{
    ends e;
    if (!open_ends(w, &e)) return;
    for (int i = 0; i < 20; i++) {
        wr_datagram sent = { .data = "early", .size = 5, .peer = e.at_b };
        say(w, e.a, &sent, 1);
        if (i % 2) world_settle(w); /* the queue hears of it while nobody asks */
        hear(w, e.b, SIZE_MAX_USUAL, 1, is_equal, &sent);
    }
    close_ends(w, &e);
}

CQ_TEST(cq_datagram, arrive_whole_and_in_the_order_of_the_sends)
{
    static wr_datagram sent[MANY];
    ends e;
    if (!open_ends(w, &e)) return;
    chain(sent, MANY, e.at_b, size_varies);
    say(w, e.a, sent, MANY);
    hear(w, e.b, SIZE_MAX_USUAL, MANY, is_equal, sent);
    close_ends(w, &e);
}

CQ_TEST(cq_datagram, come_many_at_once)
{
    static wr_datagram sent[MANY];
    ends e;
    if (!open_ends(w, &e)) return;
    chain(sent, MANY, e.at_b, size_one);
    say(w, e.a, sent, MANY);
    world_settle(w);
    cr_assert_leq(hear(w, e.b, SIZE_MAX_USUAL, MANY, is_equal, sent), MANY / 2);
    close_ends(w, &e);
}

/* Such runs leave in one piece where the kernel cuts them, and arrive in one where it puts them together: seen from
 * here they are the datagrams that they were. */
CQ_TEST(cq_datagram, of_one_size_stay_apart)
{
    static wr_datagram sent[MANY];
    for (int coalesce = 0; coalesce < 2; coalesce++) {
        wr_udp_params params = { .local = world_loopback(WR_FAMILY_IPV4, 0), .coalesce = coalesce };
        ends e;
        e.a = world_udp_open(w, &params, &e.at_a);
        e.b = world_udp_open(w, &params, &e.at_b);
        chain(sent, MANY, e.at_b, size_of_runs);
        say(w, e.a, sent, MANY);
        hear(w, e.b, SIZE_MAX_USUAL, MANY, is_equal, sent);
        close_ends(w, &e);
    }
}

CQ_TEST(cq_datagram, of_no_bytes_is_one_too)
{
    ends e;
    if (!open_ends(w, &e)) return;
    wr_datagram sent[3] = { { .next = &sent[1], .size = 0, .peer = e.at_b },
                            { .next = &sent[2], .data = "x", .size = 1, .peer = e.at_b },
                            { .data = "", .size = 0, .peer = e.at_b } };
    say(w, e.a, sent, 3);
    hear(w, e.b, SIZE_MAX_USUAL, 3, is_equal, sent);
    say(w, e.a, &sent[2], 1);
    hear(w, e.b, SIZE_MAX_USUAL, 1, is_equal, &sent[2]);
    close_ends(w, &e);
}

CQ_TEST(cq_datagram, of_the_largest_size_arrives_whole)
{
    ends e;
    if (!open_ends(w, &e)) return;
    fill_bytes();
    wr_datagram sent = { .data = bytes, .size = WR_DATAGRAM_MAX, .peer = e.at_b };
    for (int i = 0; i < 5; i++) {
        say(w, e.a, &sent, 1);
        hear(w, e.b, WR_DATAGRAM_MAX, 1, is_equal, &sent);
    }
    close_ends(w, &e);
}

static void is_cut(const wr_datagram *datagram, uint32_t number, const void *data)
{
    uint32_t size = ((const wr_datagram *)data)[number].size;
    cr_assert_eq(datagram->truncated, size > 100, "datagram %u", number);
    cr_assert_eq(datagram->size, size > 100 ? 100 : size, "datagram %u", number);
    cr_assert_arr_eq(datagram->data, ((const wr_datagram *)data)[number].data, datagram->size);
}

static uint32_t size_around_100(uint32_t number)
{
    static const uint32_t sizes[] = { 100, 101, 99, 5000, 100, 100, 120, 120, 120, 1 };
    return sizes[number % 10];
}

CQ_TEST(cq_datagram, that_is_too_long_is_flagged)
{
    static wr_datagram sent[20];
    for (int coalesce = 0; coalesce < 2; coalesce++) {
        wr_udp_params params = { .local = world_loopback(WR_FAMILY_IPV4, 0), .coalesce = coalesce };
        ends e;
        e.a = world_udp_open(w, &params, &e.at_a);
        e.b = world_udp_open(w, &params, &e.at_b);
        chain(sent, 20, e.at_b, size_around_100);
        say(w, e.a, sent, 20);
        hear(w, e.b, 100, 20, is_cut, sent);
        close_ends(w, &e);
    }
}

static void is_from(const wr_datagram *datagram, uint32_t number, const void *data)
{
    (void)number;
    const wr_addr *expected = data;
    cr_assert_eq(datagram->peer.family, expected->family);
    cr_assert_eq(datagram->peer.port, expected->port);
    cr_assert_arr_eq(datagram->peer.ip, expected->ip, sizeof expected->ip);
}

CQ_TEST(cq_datagram, tells_whom_it_came_from)
{
    for (int i = 0; i < 2; i++) {
        enum wr_family family = i ? WR_FAMILY_IPV6 : WR_FAMILY_IPV4;
        ends e;
        if (!world_udp(w, family, &e.a, &e.at_a) || !world_udp(w, family, &e.b, &e.at_b)) return;
        say_bytes(w, e.a, e.at_b, "x", 1);
        hear(w, e.b, SIZE_MAX_USUAL, 1, is_from, &e.at_a);
        say_bytes(w, e.b, e.at_a, "y", 1);
        hear(w, e.a, SIZE_MAX_USUAL, 1, is_from, &e.at_b);
        close_ends(w, &e);
    }
}

CQ_TEST(cq_datagram, goes_back_out_of_what_was_leased)
{
    static wr_datagram sent[10];
    ends e;
    if (!open_ends(w, &e)) return;
    chain(sent, 10, e.at_b, size_varies);
    say(w, e.a, sent, 10);
    for (uint32_t echoed = 0; echoed < 10;) {
        deed recv = { 0 };
        world_recv_from(w, e.b, SIZE_MAX_USUAL, &recv);
        world_await(w, &recv);
        say(w, e.b, recv.datagrams, recv.size);
        echoed += recv.size;
        world_return(w, &recv);
    }
    hear(w, e.a, SIZE_MAX_USUAL, 10, is_equal, sent);
    close_ends(w, &e);
}

/* ---- what one peer may not do to the others ---- */

CQ_TEST(cq_datagram, to_a_port_without_a_listener_does_not_end_the_receive)
{
    ends e;
    wr_sock gone;
    wr_addr nowhere;
    if (!open_ends(w, &e) || !world_udp(w, WR_FAMILY_IPV4, &gone, &nowhere)) return;
    world_finish(w, gone);
    deed recv = { 0 };
    world_recv_from(w, e.a, SIZE_MAX_USUAL, &recv);
    for (int i = 0; i < 5; i++) {
        deed send = { 0 };
        wr_datagram lost = { .data = "x", .size = 1, .peer = nowhere };
        world_send_to(w, e.a, &lost, &send);
        world_await(w, &send); /* a system may say of a later one that an earlier one was refused */
        cr_assert_eq(send.error, 0);
        world_settle(w);
    }
    cr_assert_not(recv.done);
    say_bytes(w, e.b, e.at_a, "y", 1);
    world_await(w, &recv);
    cr_assert_eq(recv.error, 0);
    cr_assert_eq(recv.size, 1);
    is_from(recv.datagrams, 0, &e.at_b);
    world_return(w, &recv);
    close_ends(w, &e);
}

/* Sends good ones and a bad one between them: the good ones arrive. */
static void refuse(world *w, const wr_datagram *bad, int error)
{
    ends e;
    if (!open_ends(w, &e)) return;
    wr_datagram list[3] = { { .next = &list[1], .data = "a", .size = 1, .peer = e.at_b },
                            *bad,
                            { .data = "b", .size = 1, .peer = e.at_b } };
    list[1].next = &list[2];
    deed send = { 0 };
    world_send_to(w, e.a, list, &send);
    world_await(w, &send);
    cr_assert_eq(send.error, 0);
    cr_assert_eq(send.batch.sent, 2);
    cr_assert_eq(send.batch.refused, 1);
    cr_assert_neq(send.batch.error, 0);
    if (error) cr_assert_eq(send.batch.error, error, "%d", send.batch.error);
    list[1] = list[2];
    hear(w, e.b, SIZE_MAX_USUAL, 2, is_equal, list);
    world_send_to(w, e.a, bad, &send); /* alone, and the counts begin anew */
    world_await(w, &send);
    cr_assert_eq(send.error, 0);
    cr_assert_eq(send.batch.sent, 0);
    cr_assert_eq(send.batch.refused, 1);
    close_ends(w, &e);
}

CQ_TEST(cq_datagram, that_is_longer_than_any_may_be_is_refused_alone)
{
    wr_datagram bad = { .data = bytes, .size = WR_DATAGRAM_MAX + 1, .peer = world_loopback(WR_FAMILY_IPV4, 9) };
    refuse(w, &bad, WEIR_EMSGSIZE);
}

CQ_TEST(cq_datagram, to_another_family_is_refused_alone)
{
    wr_datagram bad = { .data = "x", .size = 1, .peer = world_loopback(WR_FAMILY_IPV6, 9) };
    refuse(w, &bad, WEIR_EAFNOSUPPORT);
    bad.peer.family = WR_FAMILY_NONE;
    refuse(w, &bad, WEIR_EAFNOSUPPORT);
    bad.peer.family = WR_FAMILY_UNIX;
    refuse(w, &bad, WEIR_EAFNOSUPPORT);
}

CQ_TEST(cq_datagram, to_port_0_is_refused_alone)
{
    wr_datagram bad = { .data = "x", .size = 1, .peer = world_loopback(WR_FAMILY_IPV4, 0) };
    refuse(w, &bad, 0);
}

CQ_TEST(cq_datagram, of_which_all_are_refused_leaves_a_socket_that_works)
{
    static wr_datagram bad[MANY];
    ends e;
    if (!open_ends(w, &e)) return;
    chain(bad, MANY, world_loopback(WR_FAMILY_IPV6, 9), size_varies);
    deed send = { 0 };
    world_send_to(w, e.a, bad, &send);
    world_await(w, &send);
    cr_assert_eq(send.error, 0);
    cr_assert_eq(send.batch.sent, 0);
    cr_assert_eq(send.batch.refused, MANY);
    wr_datagram good = { .data = "x", .size = 1, .peer = e.at_b };
    say(w, e.a, &good, 1);
    hear(w, e.b, SIZE_MAX_USUAL, 1, is_equal, &good);
    close_ends(w, &e);
}

/* ---- sending ---- */

CQ_TEST(cq_datagram, of_a_long_list_are_all_offered_to_the_system)
{
    enum { COUNT = 2000, ROUNDS = 3 };
    static wr_datagram sent[COUNT];
    ends e;
    if (!open_ends(w, &e)) return;
    for (int round = 0; round < ROUNDS; round++) {
        chain(sent, COUNT, e.at_b, round ? size_of_runs : size_varies);
        say(w, e.a, sent, COUNT); /* nobody takes them, and that is no reason to wait for long */
    }
    close_ends(w, &e);
}

CQ_TEST(cq_datagram, go_to_many_peers_out_of_one_list)
{
    enum { PEERS = 40, EACH = 3 };
    static wr_datagram list[PEERS * EACH];
    wr_sock sender, peers[PEERS];
    wr_addr from, at[PEERS];
    if (!world_udp(w, WR_FAMILY_IPV4, &sender, &from)) return;
    for (int i = 0; i < PEERS; i++) cr_assert(world_udp(w, WR_FAMILY_IPV4, &peers[i], &at[i]));
    chain(list, PEERS * EACH, from, size_one);
    for (int i = 0; i < PEERS * EACH; i++) list[i].peer = at[i % PEERS];
    say(w, sender, list, PEERS * EACH);
    for (int i = 0; i < PEERS; i++) {
        wr_datagram expected[EACH];
        for (int k = 0; k < EACH; k++) expected[k] = list[k * PEERS + i];
        hear(w, peers[i], SIZE_MAX_USUAL, EACH, is_equal, expected);
        world_finish(w, peers[i]);
    }
    world_finish(w, sender);
}

CQ_TEST(cq_datagram, go_both_ways_at_once)
{
    enum { ROUNDS = 200 };
    ends e;
    if (!open_ends(w, &e)) return;
    deed recv_a = { 0 }, recv_b = { 0 }, send_a = { 0 }, send_b = { 0 };
    wr_datagram ping = { .data = "ping", .size = 4, .peer = e.at_b },
                pong = { .data = "pong", .size = 4, .peer = e.at_a };
    for (int i = 0; i < ROUNDS; i++) {
        world_recv_from(w, e.a, SIZE_MAX_USUAL, &recv_a);
        world_recv_from(w, e.b, SIZE_MAX_USUAL, &recv_b);
        world_send_to(w, e.a, &ping, &send_a);
        world_send_to(w, e.b, &pong, &send_b);
        world_await(w, &send_a);
        world_await(w, &send_b);
        world_await(w, &recv_a);
        world_await(w, &recv_b);
        is_equal(recv_a.datagrams, 0, &pong);
        is_equal(recv_b.datagrams, 0, &ping);
        world_return(w, &recv_a);
        world_return(w, &recv_b);
    }
    close_ends(w, &e);
}

/* ---- memory ---- */

CQ_TEST(cq_datagram, holds_no_memory_while_none_comes)
{
    enum { SOCKETS = 32 };
    static deed recvs[SOCKETS];
    wr_sock socks[SOCKETS];
    wr_addr where;
    for (int i = 0; i < SOCKETS; i++) cr_assert(world_udp(w, WR_FAMILY_IPV4, &socks[i], &where));
    uint64_t used = w->memory.base.used;
    for (int i = 0; i < SOCKETS; i++) world_recv_from(w, socks[i], WR_DATAGRAM_MAX, &recvs[i]);
    world_settle(w);
    cr_assert_lt(w->memory.base.used, used + WR_DATAGRAM_MAX);
    for (int i = 0; i < SOCKETS; i++) world_finish(w, socks[i]);
}

CQ_TEST(cq_datagram, stays_where_it_is_when_there_is_no_memory)
{
    ends e;
    if (!open_ends(w, &e)) return;
    deed recv = { 0 };
    wr_datagram sent = { .data = "kept", .size = 4, .peer = e.at_b };
    say(w, e.a, &sent, 1);
    w->memory.allocations_left = 0;
    for (int i = 0; i < 3; i++) {
        world_recv_from(w, e.b, SIZE_MAX_USUAL, &recv);
        world_await(w, &recv);
        cr_assert_eq(recv.error, WEIR_ENOMEM);
    }
    w->memory.allocations_left = UINT64_MAX;
    hear(w, e.b, SIZE_MAX_USUAL, 1, is_equal, &sent);
    close_ends(w, &e);
}

CQ_TEST(cq_datagram, is_leased_until_it_is_returned)
{
    enum { LEASED = 12 };
    static deed recvs[LEASED];
    uint64_t used_by_one = 0;
    ends e;
    if (!open_ends(w, &e)) return;
    for (int i = 0; i < LEASED; i++) {
        uint8_t byte = (uint8_t)i;
        say_bytes(w, e.a, e.at_b, &byte, 1);
        world_recv_from(w, e.b, SIZE_MAX_USUAL, &recvs[i]);
        world_await(w, &recvs[i]);
        if (i == 0) used_by_one = w->memory.base.used;
    }
    cr_assert_gt(w->memory.base.used, used_by_one);
    for (int i = 0; i < LEASED; i++)
        cr_assert_eq(*(const uint8_t *)recvs[i].datagrams->data, i, "a leased datagram was written over");
    for (int i = 0; i < LEASED; i++) world_return(w, &recvs[(i * 7) % LEASED]); /* in any order */
    cr_assert_leq(w->memory.base.used, used_by_one, "more than one was kept");
    close_ends(w, &e);
}
