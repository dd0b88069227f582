/* The IOCP backend: the port, its waits and its wake-ups. */
#include "iocp_faults_windows.h"

#include <stdatomic.h>

#include "platform/os.h"

/* ---- creating and joining ---- */

Test(iocp_port, a_queue_without_a_port_is_none)
{
    wr_memory memory = wr_malloc_memory();
    wr_cq *cq = NULL;
    faults.create_port = (fault){ .times = 1, .code = ERROR_NO_SYSTEM_RESOURCES };
    cr_assert_eq(wr_cq_create(&faults_ops, &cq, &(wr_cq_options){ .memory = &memory }), WEIR_ESYSTEM);
    cr_assert_null(cq);
    cr_assert_eq(memory.used, 0);
}

IOCP_TEST(iocp_port, a_socket_that_cannot_join_stays_detached)
{
    wr_listen_params params = { .local.addr = { .ip = { 127, 0, 0, 1 }, .family = WR_FAMILY_IPV4 }, .backlog = 8 };
    wr_listen_result result;
    wr_sock listener;
    cr_assert_eq(wr_cq_listen(w->cq, &params, &result), 0);
    faults.create_port = (fault){ .times = 1, .code = ERROR_INVALID_PARAMETER };
    cr_assert_eq(wr_cq_adopt(w->cq, result.socket, &listener), WEIR_ESYSTEM);
    listener = world_adopt(w, result.socket);
    wr_addr local;
    wr_cq_local(w->cq, listener, &local);
    cr_assert_eq(local.port, result.bound.port);
    world_finish(w, listener);
}

/* ---- waiting ---- */

IOCP_TEST(iocp_port, takes_packets_one_by_one_when_many_are_too_many)
{
    enum { RECVS = 5 };
    deed recvs[RECVS] = { 0 };
    pair pairs[RECVS];
    faults.packets_at_most = 1;
    for (int i = 0; i < RECVS; i++) {
        pairs[i] = world_pair(w);
        world_recv(w, pairs[i].b, &recvs[i]);
    }
    for (int i = 0; i < RECVS; i++) world_say(w, pairs[i].a, "x", 1);
    for (int i = 0; i < RECVS; i++) {
        world_await(w, &recvs[i]);
        world_return(w, &recvs[i]);
        world_finish_pair(w, pairs[i]);
    }
}

IOCP_TEST(iocp_port, a_wait_that_cannot_be_ends_the_process)
{
    world_pump(w, WR_DEADLINE_NOW);
    faults_await_abort();
    faults.get_packets = (fault){ .times = ALWAYS, .code = ERROR_INVALID_HANDLE };
    world_pump(w, world_in_ms(w, 1));
    cr_assert_fail("the wait came back");
}

/* A timer as fine as the system's ends a short wait; a long one leaves that to the port. */
IOCP_TEST(iocp_port, short_waits_have_a_timer)
{
    if (!wr_iocp_of(w->cq)->owner.timer) cr_skip_test("this system has no high-resolution timer");
    uint64_t deadline_ns = world_in_ms(w, 5);
    cr_assert_eq(world_pump(w, deadline_ns), 0);
    cr_assert_eq(faults.timeout_ms, INFINITE);
    cr_assert(faults.alertable);
    cr_assert_geq(wr_cq_now(w->cq), deadline_ns);
    cr_assert_eq(world_pump(w, world_in_ms(w, WR_FINE_WAIT_MS + 20)), 0);
    cr_assert_not(faults.alertable);
    cr_assert_gt(faults.timeout_ms, WR_FINE_WAIT_MS);
    cr_assert_leq(faults.timeout_ms, WR_FINE_WAIT_MS + 20);
}

Test(iocp_port, short_waits_do_without_a_timer)
{
    world w;
    faults.create_timer = (fault){ .times = 1, .code = ERROR_INVALID_PARAMETER };
    world_open(&w, &faults_ops);
    cr_assert_eq(faults.create_timer.times, 0);
    uint64_t deadline_ns = world_in_ms(&w, 5);
    while (wr_cq_now(w.cq) < deadline_ns) {
        cr_assert_eq(world_pump(&w, deadline_ns), 0);
        cr_assert_not(faults.alertable);
        cr_assert_leq(faults.timeout_ms, 5, "rounded up, and no more");
    }
    world_close(&w);
}

static atomic_int procedures;

static void CALLBACK count_procedure(ULONG_PTR arg)
{
    (void)arg;
    atomic_fetch_add(&procedures, 1);
}

/* The embedder's own procedure calls run in an alertable wait, and may end it before its time. */
IOCP_TEST(iocp_port, a_procedure_call_of_somebody_else_does_no_harm)
{
    if (!wr_iocp_of(w->cq)->owner.timer) cr_skip_test("this system has no high-resolution timer");
    uint64_t deadline_ns = world_in_ms(w, 20);
    cr_assert(QueueUserAPC(count_procedure, GetCurrentThread(), 0));
    while (wr_cq_now(w->cq) < deadline_ns) cr_assert_eq(world_pump(w, deadline_ns), 0);
    cr_assert_eq(atomic_load(&procedures), 1);
}

/* In manual mode the owner may be another thread in each wait, while those before it go about their business: a port of
 * a low concurrency would count these, and keep its packets back. */
typedef struct waiter {
    wr_thread thread;
    world *w;
    atomic_int *turn;
    int number;
} waiter;

enum { WAITERS = 4 };

static void wait_in_turn(void *arg)
{
    waiter *self = arg;
    deed post = { 0 };
    while (atomic_load(self->turn) != self->number) continue;
    world_post(self->w, &post);
    world_await(self->w, &post);
    atomic_fetch_add(self->turn, 1);
    while (atomic_load(self->turn) < WAITERS) continue; /* running, and not waiting */
}

IOCP_TEST(iocp_port, serves_a_thread_while_the_former_ones_run)
{
    waiter waiters[WAITERS];
    atomic_int turn = 0;
    cr_assert_gt(faults.threads, 1000, "on Windows this decides it");
    for (int i = 0; i < WAITERS; i++) {
        waiters[i] = (waiter){ .w = w, .turn = &turn, .number = i };
        cr_assert_eq(wr_thread_start(&waiters[i].thread, "waiter", wait_in_turn, &waiters[i]), 0);
    }
    for (int i = 0; i < WAITERS; i++) wr_thread_join(&waiters[i].thread);
}

/* ---- waking ---- */

IOCP_TEST(iocp_port, a_wake_up_that_fails_ends_the_process)
{
    static deed post; /* which the failed test would leave in flight */
    faults_await_abort();
    faults.post_packet = (fault){ .times = 1, .code = ERROR_NO_SYSTEM_RESOURCES };
    world_post(w, &post);
    cr_assert_fail("the post came back");
}

IOCP_TEST(iocp_port, one_packet_wakes_for_many_posts)
{
    enum { POSTS = 10 };
    deed posts[POSTS] = { 0 };
    for (int i = 0; i < POSTS; i++) world_post(w, &posts[i]);
    for (int i = 0; i < POSTS; i++) world_await(w, &posts[i]);
    cr_assert_eq(faults.post_packet.calls, 1);
}
