/* The completion queue: creating, waiting, destroying (platform/cq.h, 1 and 7). */
#include "cq_world.h"

enum { MS = 1000000 };

CQ_TEST(cq_wait, does_not_block_with_deadline_now)
{
    uint64_t before_ns = wr_cq_now(w->cq);
    cr_assert_eq(world_pump(w, WR_DEADLINE_NOW), 0);
    cr_assert_lt(wr_cq_now(w->cq) - before_ns, 1000 * MS);
}

CQ_TEST(cq_wait, does_not_block_with_a_deadline_in_the_past)
{
    uint64_t before_ns = wr_cq_now(w->cq);
    cr_assert_eq(world_pump(w, before_ns > 1 ? before_ns - 1 : before_ns), 0);
    cr_assert_lt(wr_cq_now(w->cq) - before_ns, 1000 * MS);
}

CQ_TEST(cq_wait, ends_at_its_deadline_and_not_before)
{
    static const uint64_t waits_ns[] = { 1, 999, 50000, 999999, MS, MS + 1, 20 * MS };
    for (size_t i = 0; i < sizeof waits_ns / sizeof *waits_ns; i++) {
        uint64_t deadline_ns = wr_cq_now(w->cq) + waits_ns[i];
        cr_assert_eq(world_pump(w, deadline_ns), 0);
        uint64_t now_ns = wr_cq_now(w->cq);
        cr_assert_geq(now_ns, deadline_ns, "%llu ns early", (unsigned long long)(deadline_ns - now_ns));
        cr_assert_lt(now_ns - deadline_ns, 5000ull * MS);
    }
}

CQ_TEST(cq_wait, has_a_clock_that_never_goes_back)
{
    uint64_t last_ns = wr_cq_now(w->cq);
    cr_assert_neq(last_ns, 0);
    for (int i = 0; i < 10000; i++) {
        uint64_t now_ns = wr_cq_now(w->cq);
        cr_assert_geq(now_ns, last_ns);
        last_ns = now_ns;
    }
}

CQ_TEST(cq_wait, delivers_everything_through_one_place)
{
    enum { PAIRS = 8 };
    static deed recvs[PAIRS], sends[PAIRS], posts[PAIRS];
    pair pairs[PAIRS];
    wr_slice hello = { .data = "hello", .size = 5 };
    for (int i = 0; i < PAIRS; i++) pairs[i] = world_pair(w);
    w->capacity = 1;
    for (int i = 0; i < PAIRS; i++) {
        world_recv(w, pairs[i].b, &recvs[i]);
        world_send(w, pairs[i].a, &hello, &sends[i]);
        world_post(w, &posts[i]);
    }
    for (int i = 0; i < PAIRS; i++) {
        world_await(w, &recvs[i]);
        world_await(w, &sends[i]);
        world_await(w, &posts[i]);
        cr_assert_arr_eq(recvs[i].buffer, "hello", recvs[i].size); /* a part is allowed */
        world_return(w, &recvs[i]);
    }
    for (int i = 0; i < PAIRS; i++) world_finish_pair(w, pairs[i]);
}

CQ_TEST(cq_wait, keeps_two_queues_apart)
{
    world other;
    world_open(&other, w->ops);
    deed mine = { 0 }, theirs = { 0 };
    world_post(w, &mine);
    world_post(&other, &theirs);
    world_await(&other, &theirs);
    cr_assert_not(mine.done);
    world_await(w, &mine);
    world_close(&other);
}

CQ_TEST(cq_wait, destroys_with_operations_in_flight)
{
    deed accept = { 0 }, recv = { 0 }, send = { 0 }, post = { 0 }, recv_other = { 0 };
    static const uint8_t bytes[1 << 20];
    wr_slice slices[16];
    for (size_t i = 0; i < 16; i++)
        slices[i] = (wr_slice){ .next = i < 15 ? &slices[i + 1] : NULL, .data = bytes, .size = sizeof bytes };

    world other;
    world_open(&other, w->ops);
    wr_endpoint where;
    wr_sock listener = world_listen_ipv4(w, &where);
    world_accept(w, listener, &accept);
    deed connect = { 0 };
    world_connect(&other, &where, &connect);
    world_await_accepted(w, &accept, 1);
    world_await(&other, &connect);
    wr_sock stream = world_adopt(&other, accept.accepted[0]);
    world_recv(&other, stream, &recv);
    world_send(&other, stream, slices, &send); /* more than fits, and nobody reads */
    world_post(&other, &post);
    world_recv(&other, connect.sock, &recv_other);
    world_close(&other); /* asserts that the memory is back */
    cr_assert_not(recv.done);
    world_finish(w, listener);
}

CQ_TEST(cq_wait, tells_the_peers_of_a_destroyed_queue)
{
    world other;
    world_open(&other, w->ops);
    wr_endpoint where;
    wr_sock listener = world_listen_ipv4(w, &where);
    deed accept = { 0 }, connect = { 0 };
    world_accept(w, listener, &accept);
    world_connect(&other, &where, &connect);
    world_await(&other, &connect);
    world_await_accepted(w, &accept, 1);
    world_close(&other);
    size_t size;
    int end = world_hear_end(w, world_adopt(w, accept.accepted[0]), &size);
    cr_assert(end == WEIR_EEOF || end == WEIR_ECONNRESET);
    world_finish(w, listener);
}

CQ_TEST(cq_wait, creates_no_queue_without_memory)
{
    world_memory memory = w->memory;
    memory.base.used = 0;
    wr_cq_options options = { .memory = &memory.base };
    wr_cq *cq = NULL;
    uint64_t allocations = 0;
    for (;; allocations++) {
        memory.allocations_left = allocations;
        int error = wr_cq_create(w->ops, &cq, &options);
        if (error == 0) break;
        cr_assert_eq(error, WEIR_ENOMEM);
        cr_assert_eq(memory.base.used, 0);
        cr_assert_lt(allocations, 100);
    }
    cr_assert_gt(allocations, 0);
    wr_cq_destroy(cq);
    cr_assert_eq(memory.base.used, 0);
}

Test(cq_wait, destroys_nothing_when_there_is_no_queue)
{
    wr_cq_destroy(NULL);
}
