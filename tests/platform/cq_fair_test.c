/* The completion queue: nobody starves (platform/cq.h, 6, 7 and 8). What is bounded here is the number of waits and of
 * completions, never time. */
#include "cq_world.h"

enum { FLOODS = 16, PUMPS_MAX = 400 };

static const uint8_t block[1 << 20];
static const wr_slice flood_slice = { .data = block, .size = sizeof block };

/* A connection over which as much goes as the system takes: whoever pumps must keep it going. */
typedef struct flood {
    pair sockets;
    deed send, recv;
    unsigned received; /* completions */
} flood;

static void flood_start(world *w, flood *f)
{
    *f = (flood){ .sockets = world_pair(w) };
    world_send(w, f->sockets.a, &flood_slice, &f->send);
    world_recv(w, f->sockets.b, &f->recv);
}

static void flood_go_on(world *w, flood *f)
{
    if (f->send.done) world_send(w, f->sockets.a, &flood_slice, &f->send);
    if (!f->recv.done) return;
    f->received++;
    world_return(w, &f->recv);
    world_recv(w, f->sockets.b, &f->recv);
}

static void flood_stop(world *w, flood *f)
{
    world_finish_pair(w, f->sockets);
    if (f->recv.buffer) world_return(w, &f->recv);
}

CQ_TEST(cq_fair, floods_starve_no_other_stream)
{
    static flood floods[FLOODS];
    deed recv = { 0 };
    pair quiet = world_pair(w);
    world_recv(w, quiet.b, &recv);
    for (int i = 0; i < FLOODS; i++) flood_start(w, &floods[i]);
    w->capacity = 4;
    for (int i = 0; i < 100; i++) { /* until they flow */
        world_pump(w, WR_DEADLINE_NOW);
        for (int f = 0; f < FLOODS; f++) flood_go_on(w, &floods[f]);
    }
    deed say = { 0 };
    wr_slice slice = { .data = "x", .size = 1 };
    world_send(w, quiet.a, &slice, &say);
    for (int pumps = 0; !recv.done; pumps++) {
        cr_assert_lt(pumps, PUMPS_MAX);
        world_pump(w, WR_DEADLINE_NOW);
        for (int f = 0; f < FLOODS; f++) flood_go_on(w, &floods[f]);
    }
    world_return(w, &recv);
    for (int i = 0; i < FLOODS; i++) flood_stop(w, &floods[i]);
    world_finish_pair(w, quiet);
}

CQ_TEST(cq_fair, floods_share_the_queue)
{
    static flood floods[FLOODS];
    for (int i = 0; i < FLOODS; i++) flood_start(w, &floods[i]);
    w->capacity = 4;
    for (int i = 0; i < 2000; i++) {
        world_pump(w, world_in_ms(w, 1));
        for (int f = 0; f < FLOODS; f++) flood_go_on(w, &floods[f]);
    }
    unsigned most = 0, least = UINT32_MAX;
    for (int i = 0; i < FLOODS; i++) {
        most = floods[i].received > most ? floods[i].received : most;
        least = floods[i].received < least ? floods[i].received : least;
        flood_stop(w, &floods[i]);
    }
    cr_assert_gt(least, most / 4, "one received %u times, another %u times", least, most);
}

/* Sends that the system takes at once have their results at hand, always. */
CQ_TEST(cq_fair, submits_that_complete_at_once_starve_nobody)
{
    static deed sends[FLOODS];
    pair senders[FLOODS];
    wr_slice slice = { .data = "x", .size = 1 };
    for (int i = 0; i < FLOODS; i++) senders[i] = world_pair(w);
    pair quiet = world_pair(w);
    deed recv = { 0 }, post = { 0 };
    world_recv(w, quiet.b, &recv);
    world_say(w, quiet.a, "x", 1);

    const unsigned capacities[] = { 1, 4, FLOODS };
    for (size_t c = 0; c < sizeof capacities / sizeof *capacities; c++) {
        w->capacity = capacities[c];
        for (int i = 0; i < FLOODS; i++) world_send(w, senders[i].a, &slice, &sends[i]);
        world_post(w, &post);
        for (int pumps = 0; !recv.done || !post.done; pumps++) {
            cr_assert_lt(pumps, PUMPS_MAX, "with %u places a wait", w->capacity);
            world_pump(w, WR_DEADLINE_NOW);
            for (int i = 0; i < FLOODS; i++) {
                if (sends[i].done) world_send(w, senders[i].a, &slice, &sends[i]);
            }
        }
        for (int i = 0; i < FLOODS; i++) world_await(w, &sends[i]);
        world_return(w, &recv);
        world_recv(w, quiet.b, &recv);
        world_say(w, quiet.a, "x", 1);
    }
    world_await(w, &recv);
    world_return(w, &recv);
    world_finish_pair(w, quiet);
    for (int i = 0; i < FLOODS; i++) world_finish_pair(w, senders[i]);
}

CQ_TEST(cq_fair, posts_starve_nobody)
{
    static deed posts[FLOODS];
    pair quiet = world_pair(w);
    deed recv = { 0 };
    world_recv(w, quiet.b, &recv);
    world_say(w, quiet.a, "x", 1);
    w->capacity = 4;
    for (int i = 0; i < FLOODS; i++) world_post(w, &posts[i]);
    for (int pumps = 0; !recv.done; pumps++) {
        cr_assert_lt(pumps, PUMPS_MAX);
        world_pump(w, WR_DEADLINE_NOW);
        for (int i = 0; i < FLOODS; i++) {
            if (posts[i].done) world_post(w, &posts[i]);
        }
    }
    for (int i = 0; i < FLOODS; i++) world_await(w, &posts[i]);
    world_return(w, &recv);
    world_finish_pair(w, quiet);
}

CQ_TEST(cq_fair, a_busy_listener_starves_no_stream)
{
    enum { CONNECTS = 200 };
    static deed connects[CONNECTS];
    deed accept = { 0 }, recv = { 0 };
    wr_endpoint where;
    wr_sock listener = world_listen_ipv4(w, &where);
    pair quiet = world_pair(w);
    for (int i = 0; i < CONNECTS; i++) world_connect(w, &where, &connects[i]);
    for (int i = 0; i < CONNECTS; i++) world_await(w, &connects[i]);
    w->capacity = 4;
    world_accept(w, listener, &accept);
    world_say(w, quiet.a, "x", 1);
    world_recv(w, quiet.b, &recv);
    for (int pumps = 0; !recv.done; pumps++) {
        cr_assert_lt(pumps, CONNECTS / 8);
        world_pump(w, WR_DEADLINE_NOW);
    }
    cr_assert_lt(accept.accepted_count, CONNECTS);
    world_return(w, &recv);
    world_await_accepted(w, &accept, CONNECTS);
    for (int i = 0; i < CONNECTS; i++) wr_cq_discard(w->cq, accept.accepted[i]);
    world_finish_pair(w, quiet);
    world_finish(w, listener);
}
