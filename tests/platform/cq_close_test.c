/* The completion queue: closing, and what a closed socket leaves behind (platform/cq.h, 5 and 9). */
#include "cq_world.h"

static const uint8_t big[8 << 20]; /* more than the system takes while nobody reads */
static const wr_slice big_slices[3] = {
    { .next = &big_slices[1], .data = big, .size = sizeof big },
    { .next = &big_slices[2], .data = big, .size = sizeof big },
    { .next = NULL, .data = big, .size = sizeof big },
};

CQ_TEST(cq_close, completes_on_an_idle_stream)
{
    pair p = world_pair(w);
    world_finish(w, p.a);
    world_finish(w, p.b);
}

CQ_TEST(cq_close, completes_on_a_socket_that_was_never_used)
{
    wr_listen_params params = { .local.addr = { .ip = { 127, 0, 0, 1 }, .family = WR_FAMILY_IPV4 }, .backlog = 8 };
    wr_listen_result result;
    cr_assert_eq(wr_cq_listen(w->cq, &params, &result), 0);
    world_finish(w, world_adopt(w, result.socket));
}

CQ_TEST(cq_close, ends_a_recv_and_a_send_before_it_completes)
{
    for (int reset = 0; reset < 2; reset++) {
        pair p = world_pair(w);
        deed recv = { 0 }, send = { 0 }, close = { 0 };
        world_recv(w, p.a, &recv);
        world_send(w, p.a, big_slices, &send);
        world_settle(w);
        cr_assert(!recv.done && !send.done);
        world_end(w, p.a, reset, &close);
        world_await(w, &close); /* which checks that nothing of the socket is left in flight */
        cr_assert_eq(recv.error, WEIR_ECANCELED);
        cr_assert_eq(send.error, WEIR_ECANCELED);
        cr_assert_eq(recv.system_error, 0);
        cr_assert_eq(send.system_error, 0);
        world_finish(w, p.b);
    }
}

/* Every choice of what is in flight, of what has come, of the wait before the close, and of the kind of close. Each
 * operation ends once, the close last; a recv that ends without an error has the bytes. Prompt, where it may be, or
 * not. */
CQ_TEST(cq_close, races_with_everything)
{
    enum { RECV = 1, SEND_SMALL = 2, SEND_BIG = 4, PEER_SAYS = 8, PEER_ENDS = 16, PUMP = 32, RESET = 64 };
    enum { PROMPT = 128, ALL = 256 };
    wr_slice small = { .data = "small", .size = 5 };
    wr_endpoint where;
    wr_sock listener = world_listen_ipv4(w, &where);
    for (int choice = 0; choice < ALL; choice++) {
        if ((choice & SEND_SMALL) && (choice & SEND_BIG)) continue;
        pair p = world_pair_at(w, listener, &where);
        deed recv = { 0 }, send = { 0 }, close = { 0 };
        send.op.prompt = choice & PROMPT;
        if (choice & RECV) world_recv(w, p.a, &recv);
        if (choice & SEND_SMALL) world_send(w, p.a, &small, &send);
        if (choice & SEND_BIG) world_send(w, p.a, big_slices, &send);
        if (choice & PEER_SAYS) world_say(w, p.b, "hello", 5);
        if (choice & PEER_ENDS) wr_cq_shutdown(w->cq, p.b);
        if (choice & PUMP) world_pump(w, world_in_ms(w, 1));
        close.op.prompt = (choice & PROMPT) && !recv.op.pending && !send.op.pending;
        world_end(w, p.a, choice & RESET, &close);
        world_await(w, &close);
        if (choice & RECV) {
            cr_assert(recv.done);
            if (recv.error == 0) world_return(w, &recv);
            cr_assert(recv.error == 0 || recv.error == WEIR_ECANCELED || recv.error == WEIR_EEOF);
        }
        if (choice & SEND_SMALL) cr_assert(send.done && (send.error == 0 || send.error == WEIR_ECANCELED));
        if (choice & SEND_BIG) cr_assert(send.done && send.error == WEIR_ECANCELED);
        world_finish(w, p.b);
    }
    world_settle(w);
    world_finish(w, listener);
}

CQ_TEST(cq_close, ends_both_ends_at_once)
{
    pair p = world_pair(w);
    deed close_a = { 0 }, close_b = { 0 }, recv_a = { 0 }, recv_b = { 0 };
    world_recv(w, p.a, &recv_a);
    world_recv(w, p.b, &recv_b);
    world_end(w, p.a, false, &close_a);
    world_end(w, p.b, true, &close_b);
    world_await(w, &close_a);
    world_await(w, &close_b);
    cr_assert(recv_a.done && recv_b.done);
}

CQ_TEST(cq_close, shows_the_peer_an_end)
{
    pair p = world_pair(w);
    deed recv = { 0 };
    world_recv(w, p.b, &recv);
    world_finish(w, p.a);
    world_await(w, &recv);
    cr_assert_eq(recv.error, WEIR_EEOF);
    world_finish(w, p.b);
}

CQ_TEST(cq_close, still_delivers_what_was_sent)
{
    pair p = world_pair(w);
    char heard[4];
    size_t size;
    world_say(w, p.a, "last", 4);
    world_finish(w, p.a);
    world_hear(w, p.b, heard, 4);
    cr_assert_arr_eq(heard, "last", 4);
    cr_assert_eq(world_hear_end(w, p.b, &size), WEIR_EEOF);
    world_finish(w, p.b);
}

CQ_TEST(cq_close, shows_the_peer_a_reset_when_asked)
{
    pair p = world_pair(w);
    deed recv = { 0 }, close = { 0 };
    world_recv(w, p.b, &recv);
    world_end(w, p.a, true, &close);
    world_await(w, &recv);
    cr_assert_eq(recv.error, WEIR_ECONNRESET);
    world_finish(w, p.b);
}

/* ---- handles ---- */

CQ_TEST(cq_close, gives_the_slot_a_new_generation)
{
    pair old = world_pair(w);
    world_finish_pair(w, old);
    bool reused = false;
    for (int i = 0; i < 1000 && !reused; i++) {
        pair p = world_pair(w);
        const wr_sock both[2] = { p.a, p.b };
        for (int k = 0; k < 2; k++) {
            if (both[k].slot != old.a.slot) continue;
            reused = true;
            cr_assert_neq(both[k].generation, old.a.generation);
        }
        world_finish_pair(w, p);
    }
    if (!reused) w->lacks = "no slot was used again";
}

/* The kernel may know of bytes for the old socket, and the queue of a place in its list, when the slot gets a new one.
 */
CQ_TEST(cq_close, keeps_stale_events_from_the_slots_next_socket)
{
    wr_endpoint where;
    wr_sock listener = world_listen_ipv4(w, &where);
    deed recv = { 0 }, silent_a = { 0 }, silent_b = { 0 }, close = { 0 }, said = { 0 };
    wr_slice slice = { .data = "stale", .size = 5 };
    for (int i = 0; i < 50; i++) {
        pair old = world_pair_at(w, listener, &where);
        world_recv(w, old.b, &recv);
        world_pump(w, WR_DEADLINE_NOW); /* it is registered by now */
        world_send(w, old.a, &slice, &said);
        world_end(w, old.b, i % 2, &close);
        pair new = world_pair_at(w, listener, &where);
        world_recv(w, new.a, &silent_a);
        world_recv(w, new.b, &silent_b);
        if (i % 10 == 0) world_settle(w);
        for (int n = 0; n < 3; n++) world_pump(w, WR_DEADLINE_NOW);
        cr_assert(!silent_a.done && !silent_b.done, "a new socket heard of an old one's bytes");
        cr_assert(recv.done && close.done && said.done);
        if (recv.error == 0) world_return(w, &recv);
        world_finish_pair(w, new);
        world_finish(w, old.a);
    }
    world_finish(w, listener);
}

CQ_TEST(cq_close, leaves_nothing_behind)
{
    uint64_t used = 0;
    for (int i = 0; i < 600; i++) {
        pair p = world_pair(w);
        deed recv = { 0 };
        world_recv(w, p.a, &recv);
        world_finish_pair(w, p);
        if (i == 300) used = w->memory.base.used;
    }
    cr_assert_eq(w->memory.base.used, used);
}

/* The queue has looked at the sockets, and had no place for what they brought. */
CQ_TEST(cq_close, leaves_nothing_behind_of_sockets_that_had_something_to_deliver)
{
    enum { PAIRS = 16, ROUNDS = 200 };
    static deed recvs[PAIRS], sends[PAIRS], closes[PAIRS];
    pair pairs[PAIRS];
    wr_slice slice = { .data = "x", .size = 1 };
    wr_endpoint where;
    wr_sock listener = world_listen_ipv4(w, &where);
    uint64_t used = 0;
    for (int round = 0; round < ROUNDS; round++) {
        for (int i = 0; i < PAIRS; i++) pairs[i] = world_pair_at(w, listener, &where);
        for (int i = 0; i < PAIRS; i++) {
            world_recv(w, pairs[i].b, &recvs[i]);
            world_send(w, pairs[i].a, &slice, &sends[i]);
        }
        w->capacity = 1;
        for (int i = 0; i < PAIRS / 2; i++) world_pump(w, WR_DEADLINE_NOW);
        for (int i = 0; i < PAIRS; i++) world_end(w, pairs[i].b, false, &closes[i]);
        w->capacity = WORLD_BATCH;
        for (int i = 0; i < PAIRS; i++) {
            world_await(w, &closes[i]);
            world_await(w, &sends[i]);
            if (recvs[i].buffer) world_return(w, &recvs[i]);
            world_finish(w, pairs[i].a);
        }
        if (round == ROUNDS / 4) used = w->memory.base.used;
    }
    cr_assert_leq(w->memory.base.used, used);
    world_finish(w, listener);
}
