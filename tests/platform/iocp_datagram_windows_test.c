/* The IOCP backend: what becomes of datagrams when Windows does what it seldom does. */
#include "iocp_faults_windows.h"

enum { SIZE_MAX_USUAL = 2048, MANY = 3 * WR_SENDS_ALOFT };

typedef struct ends {
    wr_sock a, b;
    wr_addr at_a, at_b;
} ends;

static ends open_ends(world *w)
{
    ends e;
    cr_assert(world_udp(w, WR_FAMILY_IPV4, &e.a, &e.at_a));
    cr_assert(world_udp(w, WR_FAMILY_IPV4, &e.b, &e.at_b));
    return e;
}

static void close_ends(world *w, const ends *e)
{
    world_finish(w, e->a);
    world_finish(w, e->b);
}

static void say(world *w, const ends *e, const char *word)
{
    deed send = { 0 };
    wr_datagram datagram = { .data = word, .size = (uint32_t)strlen(word), .peer = e->at_b };
    world_send_to(w, e->a, &datagram, &send);
    world_await(w, &send);
    cr_assert_eq(send.error, 0);
    cr_assert_eq(send.batch.sent, 1, "error %d", send.batch.error);
}

static void check_word(world *w, deed *recv, const char *word)
{
    world_await(w, recv);
    cr_assert_eq(recv->error, 0);
    cr_assert_eq(recv->size, 1);
    cr_assert_eq(recv->datagrams->size, strlen(word));
    cr_assert_arr_eq(recv->datagrams->data, word, strlen(word));
    world_return(w, recv);
}

static void hear(world *w, const ends *e, const char *word)
{
    deed recv = { 0 };
    world_recv_from(w, e->b, SIZE_MAX_USUAL, &recv);
    check_word(w, &recv, word);
}

/* ---- receiving ---- */

/* The notice peeks, and that it peeks at too much for no bytes is a warning, at once or by packet: never both. */
IOCP_TEST(iocp_recv_from, is_noticed_once_whether_at_once_or_later)
{
    ends e = open_ends(w);
    for (int i = 0; i < 5; i++) {
        say(w, &e, "at once");
        world_settle(w);
        hear(w, &e, "at once");
        deed recv = { 0 };
        world_recv_from(w, e.b, SIZE_MAX_USUAL, &recv);
        say(w, &e, "later");
        check_word(w, &recv, "later");
        world_settle(w);
        cr_assert_eq(wr_iocp_get(wr_iocp_of(w->cq), e.b)->aloft, 0);
    }
    close_ends(w, &e);
}

/* Skipping packets is asked for streams alone: what Windows makes of a warning then nobody says. */
IOCP_TEST(iocp_recv_from, queues_a_packet_for_every_success)
{
    ends e = open_ends(w);
    cr_assert_eq(faults.set_modes.calls, 0);
    world_finish_pair(w, world_pair(w));
    cr_assert_gt(faults.set_modes.calls, 0);
    close_ends(w, &e);
}

/* A system that does not know SIO_UDP_CONNRESET tells of a port that nobody has. */
IOCP_TEST(iocp_recv_from, goes_on_after_what_the_network_says_of_a_peer)
{
    static const int codes[] = { WSAECONNRESET, WSAENETRESET, WSAEHOSTUNREACH, WSAENETUNREACH, WSAECONNREFUSED };
    ends e = open_ends(w);
    for (size_t i = 0; i < sizeof codes / sizeof *codes; i++) {
        deed recv = { 0 };
        faults.recv_from = (fault){ .times = 3, .code = codes[i] };
        world_recv_from(w, e.b, SIZE_MAX_USUAL, &recv);
        say(w, &e, "behind it");
        check_word(w, &recv, "behind it");
        faults.wsa_recv = (fault){ .times = 2, .code = codes[i] }; /* the notice itself, when it is posted */
        world_recv_from(w, e.b, SIZE_MAX_USUAL, &recv);
        world_settle(w);
        cr_assert_not(recv.done, "error %d", recv.error);
        say(w, &e, "after it");
        check_word(w, &recv, "after it");
        faults.stream_result = (fault){ .times = 1, .code = codes[i] }; /* and when it has landed, for nothing */
        faults.recv_from = (fault){ .times = 1, .code = WSAEWOULDBLOCK };
        world_recv_from(w, e.b, SIZE_MAX_USUAL, &recv);
        faults.stream_result.after = 1; /* of the send */
        say(w, &e, "at last");
        check_word(w, &recv, "at last");
        faults.stream_result = (fault){ 0 };
    }
    close_ends(w, &e);
}

/* However often that happens, it is some looks a wait. */
IOCP_TEST(iocp_recv_from, what_the_network_says_starves_nobody)
{
    ends e = open_ends(w);
    deed recv = { 0 }, post = { 0 };
    say(w, &e, "x");
    faults.recv_from = (fault){ .times = ALWAYS, .code = WSAECONNRESET };
    world_recv_from(w, e.b, SIZE_MAX_USUAL, &recv);
    for (int i = 0; i < 10; i++) {
        unsigned before = faults.recv_from.calls;
        world_post(w, &post);
        world_await(w, &post);
        cr_assert_leq(faults.recv_from.calls - before, 2 * WR_RECV_CALLS_MAX);
    }
    faults.recv_from = (fault){ 0 };
    check_word(w, &recv, "x");
    close_ends(w, &e);
}

IOCP_TEST(iocp_recv_from, waits_again_after_a_notice_of_nothing)
{
    ends e = open_ends(w);
    deed recv = { 0 };
    faults.recv_from = (fault){ .times = 2, .code = WSAEWOULDBLOCK };
    faults.wsa_recv = (fault){ 0 };
    world_recv_from(w, e.b, SIZE_MAX_USUAL, &recv);
    say(w, &e, "x");
    check_word(w, &recv, "x");
    cr_assert_eq(faults.wsa_recv.calls, 3);
    close_ends(w, &e);
}

IOCP_TEST(iocp_recv_from, outlives_a_cancel_that_is_not_its_own)
{
    ends e = open_ends(w);
    deed recv = { 0 };
    world_recv_from(w, e.b, SIZE_MAX_USUAL, &recv);
    cr_assert(CancelIoEx((HANDLE)wr_iocp_get(wr_iocp_of(w->cq), e.b)->os, NULL));
    world_settle(w);
    cr_assert_not(recv.done, "error %d", recv.error);
    say(w, &e, "x");
    check_word(w, &recv, "x");
    close_ends(w, &e);
}

static void recv_fails(world *w, int code, int error)
{
    ends e = open_ends(w);
    deed recv = { 0 };
    faults.wsa_recv = (fault){ .times = 1, .code = code }; /* the call */
    world_recv_from(w, e.b, SIZE_MAX_USUAL, &recv);
    world_await(w, &recv);
    cr_assert_eq(recv.error, error);
    cr_assert_eq(recv.system_error, code);
    faults.recv_from = (fault){ .times = 1, .code = code }; /* the read */
    world_recv_from(w, e.b, SIZE_MAX_USUAL, &recv);
    say(w, &e, "x");
    world_await(w, &recv);
    cr_assert_eq(recv.error, error);
    cr_assert_eq(recv.system_error, code);
    hear(w, &e, "x");
    world_recv_from(w, e.b, SIZE_MAX_USUAL, &recv); /* the packet, when there is nothing to read */
    faults.recv_from = (fault){ .times = 1, .code = WSAEWOULDBLOCK };
    faults.stream_result = (fault){ .after = 1, .times = 1, .code = code };
    say(w, &e, "y");
    world_await(w, &recv);
    cr_assert_eq(recv.error, error);
    hear(w, &e, "y");
    close_ends(w, &e);
}

IOCP_TEST(iocp_recv_from, fails_with_what_is_the_sockets)
{
    recv_fails(w, WSAENOBUFS, WEIR_ENOBUFS);
    recv_fails(w, WSAENETDOWN, WEIR_ENETDOWN);
}

/* ---- sending ---- */

static void chain(wr_datagram *list, unsigned count, wr_addr to)
{
    for (unsigned i = 0; i < count; i++)
        list[i] = (wr_datagram){ .next = i + 1 < count ? &list[i + 1] : NULL, .data = "many", .size = 4, .peer = to };
}

/* Whether it is done when the call returns or later, each datagram counts once; and no more than so many are Windows'
 * at once. */
IOCP_TEST(iocp_send_to, counts_each_datagram_once)
{
    static wr_datagram list[MANY];
    static const int pending[] = { 0, 1, WR_SENDS_ALOFT, MANY };
    ends e = open_ends(w);
    for (size_t i = 0; i < sizeof pending / sizeof *pending; i++) {
        deed send = { 0 };
        chain(list, MANY, e.at_b);
        faults.sends_pend = pending[i];
        faults.wsa_send_to = (fault){ 0 };
        world_send_to(w, e.a, list, &send);
        cr_assert_eq(faults.wsa_send_to.calls, WR_SENDS_ALOFT);
        cr_assert_eq(wr_iocp_get(wr_iocp_of(w->cq), e.a)->aloft, WR_SENDS_ALOFT);
        world_await(w, &send);
        cr_assert_eq(send.error, 0);
        cr_assert_eq(send.batch.sent, MANY);
        cr_assert_eq(send.batch.sent_bytes, 4 * MANY);
        cr_assert_eq(send.batch.refused, 0);
        cr_assert_eq(faults.wsa_send_to.calls, MANY);
        cr_assert_eq(faults.sends_pend, 0);
    }
    close_ends(w, &e);
}

/* By the call or by the packet: that one is refused, and the others go. */
static void refuse(world *w, fault *f, int code, int error)
{
    static wr_datagram list[MANY];
    ends e = open_ends(w);
    deed send = { 0 };
    chain(list, MANY, e.at_b);
    *f = (fault){ .after = 40, .times = 2, .code = code };
    world_send_to(w, e.a, list, &send);
    world_await(w, &send);
    cr_assert_eq(send.error, 0);
    cr_assert_eq(send.batch.sent, MANY - 2);
    cr_assert_eq(send.batch.sent_bytes, 4 * (MANY - 2));
    cr_assert_eq(send.batch.refused, 2);
    cr_assert_eq(send.batch.error, error);
    cr_assert_eq(send.batch.system_error, code);
    say(w, &e, "on");
    close_ends(w, &e);
}

IOCP_TEST(iocp_send_to, leaves_out_what_the_call_refuses)
{
    refuse(w, &faults.wsa_send_to, WSAEHOSTUNREACH, WEIR_EHOSTUNREACH);
    refuse(w, &faults.wsa_send_to, WSAENOBUFS, WEIR_ENOBUFS);
}

IOCP_TEST(iocp_send_to, leaves_out_what_the_packet_refuses)
{
    refuse(w, &faults.stream_result, ERROR_HOST_UNREACHABLE, WEIR_EHOSTUNREACH);
    refuse(w, &faults.stream_result, WSAEMSGSIZE, WEIR_EMSGSIZE);
}

/* Calls that fail at once have no packet that would go on for them. */
IOCP_TEST(iocp_send_to, of_which_all_are_refused_at_once_starves_nobody)
{
    static wr_datagram list[20 * MANY];
    ends e = open_ends(w);
    deed send = { 0 };
    chain(list, 20 * MANY, e.at_b);
    faults.wsa_send_to = (fault){ .times = ALWAYS, .code = WSAENETUNREACH };
    world_send_to(w, e.a, list, &send);
    while (!send.done) {
        unsigned before = faults.wsa_send_to.calls;
        world_pump(w, world_in_ms(w, WORLD_PATIENCE_MS));
        cr_assert_leq(faults.wsa_send_to.calls - before, WR_SENDS_ALOFT);
    }
    cr_assert_eq(send.batch.refused, 20 * MANY);
    cr_assert_eq(send.batch.sent, 0);
    close_ends(w, &e);
}

/* ---- closing ---- */

/* Their packets come after the close: the send ends with what had been sent, before the close does, and no packet
 * finds a socket that is not its own. */
IOCP_TEST(iocp_datagram, may_be_closed_while_sends_are_aloft)
{
    static wr_datagram list[MANY];
    wr_sock peer;
    wr_addr at_peer;
    cr_assert(world_udp(w, WR_FAMILY_IPV4, &peer, &at_peer));
    for (int i = 0; i < 20; i++) {
        deed send = { 0 }, recv = { 0 }, close = { 0 };
        wr_sock sock;
        wr_addr where;
        cr_assert(world_udp(w, WR_FAMILY_IPV4, &sock, &where));
        chain(list, i % 2 ? MANY : 5, at_peer);
        faults.sends_pend = i % 3 * 3;
        faults.cancel_io = (fault){ .times = 1, .code = ERROR_NOT_FOUND };
        if (i % 4 == 0) world_recv_from(w, sock, SIZE_MAX_USUAL, &recv);
        world_send_to(w, sock, list, &send);
        world_end(w, sock, false, &close);
        world_await(w, &close);
        cr_assert(send.done);
        cr_assert_eq(send.error, WEIR_ECANCELED);
        cr_assert_eq(send.batch.refused, 0);
        cr_assert_eq(send.batch.sent, i % 2 ? WR_SENDS_ALOFT : 5, "Wine had sent them when it returned");
        cr_assert_eq(send.batch.sent_bytes, 4 * send.batch.sent);
        cr_assert(i % 4 != 0 || recv.error == WEIR_ECANCELED);
    }
    world_settle(w);
    world_finish(w, peer);
}

IOCP_TEST(iocp_datagram, needs_memory_to_send)
{
    static wr_datagram list[2];
    ends e = open_ends(w);
    deed send = { 0 };
    chain(list, 2, e.at_b);
    w->memory.allocations_left = 0;
    world_send_to(w, e.a, list, &send);
    world_await(w, &send);
    cr_assert_eq(send.error, WEIR_ENOMEM);
    cr_assert_eq(send.batch.sent + send.batch.refused, 0);
    w->memory.allocations_left = UINT64_MAX;
    say(w, &e, "now");
    hear(w, &e, "now");
    close_ends(w, &e);
}
