/* The completion queue: operations posted by any thread (platform/cq.h, 10). */
#include "cq_world.h"
#include "platform/os.h"

CQ_TEST(cq_post, completes_without_an_error)
{
    deed post = { 0 };
    world_post(w, &post);
    world_await(w, &post);
    cr_assert_eq(post.error, 0);
    cr_assert_eq(post.system_error, 0);
}

CQ_TEST(cq_post, keeps_the_order_of_the_owners_own_posts)
{
    enum { POSTS = 1000 };
    static deed posts[POSTS];
    for (int i = 0; i < POSTS; i++) world_post(w, &posts[i]);
    world_await(w, &posts[POSTS - 1]);
    for (int i = 1; i < POSTS; i++) cr_assert_eq(posts[i].turn, posts[i - 1].turn + 1);
}

CQ_TEST(cq_post, may_be_repeated_from_its_completion)
{
    deed post = { 0 };
    for (int i = 0; i < 10000; i++) {
        world_post(w, &post);
        world_await(w, &post);
    }
}

CQ_TEST(cq_post, is_forgotten_when_the_queue_is_destroyed)
{
    world other;
    world_open(&other, w->ops);
    deed post = { 0 };
    world_post(&other, &post);
    world_close(&other);
    cr_assert_not(post.done);
}

/* ---- many threads post to one queue ---- */

enum { THREADS = 4, POSTS_A_THREAD = 50000 };

typedef struct numbered {
    wr_op op;
    unsigned thread, number;
} numbered;

typedef struct poster {
    wr_thread thread;
    wr_cq *cq;
    numbered *posts;
} poster;

static void post_all(void *arg)
{
    poster *p = arg;
    for (unsigned i = 0; i < POSTS_A_THREAD; i++) wr_cq_post(p->cq, &p->posts[i].op);
}

CQ_TEST(cq_post, keeps_the_order_of_each_of_many_threads)
{
    static numbered posts[THREADS][POSTS_A_THREAD];
    static poster posters[THREADS];
    unsigned next[THREADS] = { 0 };
    for (unsigned t = 0; t < THREADS; t++) {
        for (unsigned i = 0; i < POSTS_A_THREAD; i++) posts[t][i] = (numbered){ .thread = t, .number = i };
        posters[t] = (poster){ .cq = w->cq, .posts = posts[t] };
        cr_assert_eq(wr_thread_start(&posters[t].thread, "poster", post_all, &posters[t]), 0);
    }
    for (unsigned got = 0; got < THREADS * POSTS_A_THREAD;) {
        wr_completion out[WORLD_BATCH];
        unsigned count = wr_cq_wait(w->cq, out, WORLD_BATCH, WR_DEADLINE_NEVER);
        for (unsigned i = 0; i < count; i++) {
            numbered *n = WR_CONTAINER_OF(out[i].op, numbered, op);
            cr_assert_eq(out[i].error, 0);
            cr_assert_eq(n->number, next[n->thread], "thread %u: %u came before %u", n->thread, n->number,
                         next[n->thread]);
            next[n->thread]++;
        }
        got += count;
    }
    for (unsigned t = 0; t < THREADS; t++) wr_thread_join(&posters[t].thread);
    world_settle(w); /* and nothing came twice: world_pump would find an operation that is not in flight */
}

/* ---- two threads, each asleep until the other posts: one lost wake-up ends in the time limit ---- */

enum { ROUNDS = 20000 };

typedef struct player {
    wr_thread thread;
    wr_cq *cq;
    struct player *other;
    wr_op ball; /* in the other's queue, or back here */
} player;

static void await_one(wr_cq *cq)
{
    wr_completion out;
    while (wr_cq_wait(cq, &out, 1, WR_DEADLINE_NEVER) == 0) continue;
    cr_assert_eq(out.op->kind, WR_OP_POST);
}

static void return_each_ball(void *arg)
{
    player *p = arg;
    for (int i = 0; i < ROUNDS; i++) {
        await_one(p->cq);
        wr_cq_post(p->other->cq, &p->ball);
    }
}

CQ_TEST(cq_post, wakes_a_queue_that_waits_without_a_deadline)
{
    world other;
    world_open(&other, w->ops);
    player here = { .cq = w->cq }, there = { .cq = other.cq, .other = &here };
    here.other = &there;
    cr_assert_eq(wr_thread_start(&there.thread, "player", return_each_ball, &there), 0);
    for (int i = 0; i < ROUNDS; i++) {
        wr_cq_post(there.cq, &here.ball);
        await_one(here.cq);
    }
    wr_thread_join(&there.thread);
    world_close(&other);
}
