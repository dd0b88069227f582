/* The completion queue: what it holds, and what happens when it gets no more (platform/cq.h, 4 and the documentation of
 * each function). */
#include "cq_world.h"

enum { DEFAULT_BUFFER_SIZE = 16 * 1024 };

CQ_TEST(cq_memory, an_idle_connection_holds_no_buffer)
{
    enum { PAIRS = 64 };
    static deed recvs[PAIRS];
    pair pairs[PAIRS];
    for (int i = 0; i < PAIRS; i++) pairs[i] = world_pair(w);
    uint64_t used = w->memory.base.used;
    for (int i = 0; i < PAIRS; i++) world_recv(w, pairs[i].b, &recvs[i]);
    world_settle(w);
    cr_assert_lt(w->memory.base.used, used + DEFAULT_BUFFER_SIZE);
    for (int i = 0; i < PAIRS; i++) world_finish_pair(w, pairs[i]);
}

CQ_TEST(cq_memory, keeps_few_buffers_after_many_were_leased)
{
    enum { LEASED = 500 };
    static deed recvs[LEASED];
    pair p = world_pair(w);
    for (int i = 0; i < LEASED; i++) {
        world_say(w, p.a, "x", 1);
        world_recv(w, p.b, &recvs[i]);
        world_await(w, &recvs[i]);
    }
    uint64_t used = w->memory.base.used;
    for (int i = 0; i < LEASED; i++) world_return(w, &recvs[i]);
    cr_assert_lt(w->memory.base.used, used / 2);
    world_finish_pair(w, p);
}

CQ_TEST(cq_memory, a_recv_without_memory_leaves_the_bytes)
{
    pair p = world_pair(w);
    deed recv = { 0 };
    world_say(w, p.a, "kept", 4);
    w->memory.allocations_left = 0;
    for (int i = 0; i < 3; i++) {
        world_recv(w, p.b, &recv);
        world_await(w, &recv);
        cr_assert_eq(recv.error, WEIR_ENOMEM);
    }
    w->memory.allocations_left = UINT64_MAX;
    char heard[4];
    world_hear(w, p.b, heard, 4);
    cr_assert_arr_eq(heard, "kept", 4);
    world_finish_pair(w, p);
}

CQ_TEST(cq_memory, a_recv_without_memory_leaves_the_end)
{
    pair p = world_pair(w);
    deed recv = { 0 };
    world_say(w, p.a, "kept", 4);
    wr_cq_shutdown(w->cq, p.a);
    w->memory.allocations_left = 0;
    world_recv(w, p.b, &recv);
    world_await(w, &recv);
    cr_assert_eq(recv.error, WEIR_ENOMEM);
    w->memory.allocations_left = UINT64_MAX;
    size_t size;
    cr_assert_eq(world_hear_end(w, p.b, &size), WEIR_EEOF);
    cr_assert_eq(size, 4);
    world_finish_pair(w, p);
}

/* Until the queue has no more room for sockets, connects succeed without new memory; then they say so. */
CQ_TEST(cq_memory, a_connect_without_memory_fails_and_a_later_one_succeeds)
{
    enum { TRIES = 2000 };
    static deed connects[TRIES];
    wr_endpoint where;
    wr_sock listener = world_listen_ipv4(w, &where);
    deed accept = { 0 };
    world_accept(w, listener, &accept);
    w->memory.allocations_left = 0;
    int opened = 0;
    for (; opened < TRIES; opened++) {
        accept.accepted_count = 0;
        world_connect(w, &where, &connects[opened]);
        world_await(w, &connects[opened]);
        for (unsigned i = 0; i < accept.accepted_count; i++) wr_cq_discard(w->cq, accept.accepted[i]);
        if (connects[opened].error) break;
    }
    cr_assert_lt(opened, TRIES);
    cr_assert_eq(connects[opened].error, WEIR_ENOMEM);
    w->memory.allocations_left = UINT64_MAX;
    accept.accepted_count = 0;
    world_connect(w, &where, &connects[opened]);
    world_await(w, &connects[opened]);
    cr_assert_eq(connects[opened].error, 0);
    world_await_accepted(w, &accept, 1);
    for (unsigned i = 0; i < accept.accepted_count; i++) wr_cq_discard(w->cq, accept.accepted[i]);
    world_finish(w, listener);
}

CQ_TEST(cq_memory, an_adopt_without_memory_leaves_the_socket_detached)
{
    world other; /* which has no room for any socket yet */
    world_open(&other, w->ops);
    wr_endpoint where;
    wr_sock listener = world_listen_ipv4(w, &where), adopted = { 0 };
    deed accept = { 0 }, connect = { 0 };
    world_accept(w, listener, &accept);
    world_connect(w, &where, &connect);
    world_await(w, &connect);
    world_await_accepted(w, &accept, 1);
    other.memory.allocations_left = 0;
    cr_assert_eq(wr_cq_adopt(other.cq, accept.accepted[0], &adopted), WEIR_ENOMEM);
    other.memory.allocations_left = UINT64_MAX;
    adopted = world_adopt(&other, accept.accepted[0]);
    world_say(w, connect.sock, "x", 1);
    char heard;
    world_hear(&other, adopted, &heard, 1);
    world_close(&other);
    world_finish(w, listener);
}

/* ---- each allocation in the life of a connection fails once ---- */

enum { MESSAGES = 3 };

/* What is in flight when something fails, and must live until the queue is destroyed. */
typedef struct life {
    world world;
    deed accept, connect, sends[MESSAGES], recvs[MESSAGES];
} life;

/* Waits for the deed; whether it ended well. */
static bool well(life *l, const deed *d)
{
    world_await(&l->world, d);
    cr_assert(d->error == 0 || d->error == WEIR_ENOMEM, "error %d", d->error);
    return d->error == 0;
}

static bool talk(life *l, wr_sock a, wr_sock b)
{
    wr_slice slice = { .data = "x", .size = 1 };
    for (int i = 0; i < MESSAGES; i++) {
        world_recv(&l->world, b, &l->recvs[i]);
        world_send(&l->world, a, &slice, &l->sends[i]);
        if (!well(l, &l->sends[i]) || !well(l, &l->recvs[i])) return false;
        world_return(&l->world, &l->recvs[i]);
    }
    return true;
}

/* Adopts, or discards. */
static bool adopt(life *l, wr_detached socket, wr_sock *out)
{
    int error = wr_cq_adopt(l->world.cq, socket, out);
    cr_assert(error == 0 || error == WEIR_ENOMEM);
    if (error) wr_cq_discard(l->world.cq, socket);
    return error == 0;
}

/* True when nothing failed. */
static bool live(life *l)
{
    wr_listen_params params = { .local.addr = { .ip = { 127, 0, 0, 1 }, .family = WR_FAMILY_IPV4 }, .backlog = 8 };
    wr_listen_result result;
    wr_sock listener, b;
    cr_assert_eq(wr_cq_listen(l->world.cq, &params, &result), 0);
    if (!adopt(l, result.socket, &listener)) return false;
    params.local.addr.port = result.bound.port;
    world_accept(&l->world, listener, &l->accept);
    world_connect(&l->world, &params.local, &l->connect);
    if (!well(l, &l->connect)) return false;
    while (l->accept.accepted_count == 0 && !l->accept.done) world_pump(&l->world, WR_DEADLINE_NEVER);
    if (l->accept.done) return well(l, &l->accept);
    return adopt(l, l->accept.accepted[0], &b) && talk(l, l->connect.sock, b);
}

Test(cq_memory, may_refuse_any_allocation)
{
    static life l;
    for (const struct wr_cq_ops *const *ops = wr_cq_backends; *ops; ops++) {
        unsigned allowed = 0;
        for (bool ok = false; !ok; allowed++) {
            cr_assert_lt(allowed, 1000);
            memset(&l, 0, sizeof l);
            world_open(&l.world, *ops);
            l.world.memory.allocations_left = allowed;
            ok = live(&l);
            world_close(&l.world);
        }
        cr_assert_gt(allowed, 1, "nothing was allocated at all");
    }
}
