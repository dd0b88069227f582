/* Functions that any thread runs on a worker, at once or later. */
#include "core/worker.h"
#include "core/world.h"

/* A runtime without a listener; on so many workers. */
static void start(world *w, unsigned workers)
{
    w->no_listener = true;
    w->runtime_options.workers = workers;
    world_start(w);
}

static uint64_t now_ns(void)
{
    return wr_os_now_ns();
}

/* ---- at once ---- */

enum { POSTERS = 4, POSTS = 20000 };

/* What one thread posts, and how far the worker has come with it. */
typedef struct poster {
    world *w;
    wr_thread thread;
    unsigned worker;
    unsigned next;           /* the number that must come next; on the worker */
    _Atomic unsigned served; /* the same, for the test */
    _Atomic bool in_disorder;
    struct parcel *parcels;
} poster;

typedef struct parcel {
    poster *from;
    unsigned number;
} parcel;

static parcel all_parcels[POSTERS][POSTS];

static void receive(weir_runtime *runtime, void *data)
{
    const parcel *p = data;
    poster *from = p->from;
    if (p->number != from->next || runtime != from->w->runtime || wr_worker_here()->index != from->worker)
        atomic_store(&from->in_disorder, true);
    from->next++;
    atomic_fetch_add(&from->served, 1);
}

static void post_all(void *arg)
{
    poster *from = arg;
    for (unsigned i = 0; i < POSTS; i++)
        cr_assert_eq(weir_post(from->w->runtime, from->worker, receive, &from->parcels[i]), 0);
}

static void run_posters(world *w, bool to_one_worker)
{
    static poster posters[POSTERS];
    for (unsigned i = 0; i < POSTERS; i++) {
        posters[i] = (poster){ .w = w, .worker = to_one_worker ? 0 : i, .parcels = all_parcels[i] };
        for (unsigned n = 0; n < POSTS; n++) all_parcels[i][n] = (parcel){ .from = &posters[i], .number = n };
    }
    for (unsigned i = 0; i < POSTERS; i++)
        cr_assert_eq(wr_thread_start(&posters[i].thread, "poster", post_all, &posters[i]), 0);
    for (unsigned i = 0; i < POSTERS; i++) wr_thread_join(&posters[i].thread);
    for (unsigned i = 0; i < POSTERS; i++) {
        WORLD_AWAIT(w, posters[i].served == POSTS);
        cr_assert_not(posters[i].in_disorder, "thread %u", i);
    }
}

Test(post, keeps_the_order_of_each_of_several_threads_at_one_worker)
{
    world w = { 0 };
    start(&w, 1);
    run_posters(&w, true);
    world_stop(&w);
}

Test(post, keeps_the_order_of_each_of_several_threads_at_several_workers)
{
    world w = { 0 };
    start(&w, POSTERS);
    run_posters(&w, false);
    world_stop(&w);
}

typedef struct step {
    _Atomic unsigned *turn;
    unsigned number;
    struct step *next;
} step;

static _Thread_local bool posting;

/* Posts the next one, which must wait until this one has returned. */
static void take_step(weir_runtime *runtime, void *data)
{
    const step *s = data;
    cr_assert_not(posting, "a post runs inside weir_post");
    cr_assert_eq(atomic_load(s->turn), s->number);
    if (s->next) {
        posting = true;
        cr_assert_eq(weir_post(runtime, wr_worker_here()->index, take_step, s->next), 0);
        posting = false;
    }
    atomic_fetch_add(s->turn, 1);
}

Test(post, from_a_callback_runs_after_it)
{
    enum { STEPS = 100 };
    for (int manual = 0; manual < 2; manual++) {
        world w = { .manual = manual };
        static step steps[STEPS];
        _Atomic unsigned turn = 0;
        start(&w, 1);
        for (unsigned i = 0; i < STEPS; i++)
            steps[i] = (step){ .turn = &turn, .number = i, .next = i + 1 < STEPS ? &steps[i + 1] : NULL };
        cr_assert_eq(weir_post(w.runtime, 0, take_step, &steps[0]), 0);
        WORLD_AWAIT(&w, turn == STEPS);
        world_stop(&w);
    }
}

static void count(weir_runtime *runtime, void *data)
{
    (void)runtime;
    atomic_fetch_add((_Atomic unsigned *)data, 1);
}

Test(post, before_the_start_runs_after_it)
{
    _Atomic unsigned counted = 0;
    weir_runtime *runtime;
    cr_assert_eq(weir_runtime_create(&runtime, &(weir_runtime_options){ .workers = 3, .max_connections = 64 }), 0);
    for (unsigned i = 0; i < 3; i++) cr_assert_eq(weir_post(runtime, i, count, &counted), 0);
    weir_sleep_ms(10);
    cr_assert_eq(counted, 0);
    cr_assert_eq(weir_runtime_start(runtime), 0);
    for (int i = 0; i < RAW_PATIENCE_MS && counted < 3; i++) weir_sleep_ms(1);
    cr_assert_eq(counted, 3);
    weir_runtime_destroy(runtime);
}

Test(post, to_no_worker_or_without_a_function_is_refused)
{
    world w = { 0 };
    start(&w, 2);
    _Atomic unsigned counted = 0;
    cr_assert_eq(weir_post(w.runtime, 2, count, &counted), WEIR_EINVAL);
    cr_assert_eq(weir_post(w.runtime, UINT32_MAX, count, &counted), WEIR_EINVAL);
    cr_assert_eq(weir_post(w.runtime, 0, NULL, &counted), WEIR_EINVAL);
    cr_assert_eq(weir_post_after(w.runtime, 2, 1, count, &counted), WEIR_EINVAL);
    cr_assert_eq(weir_post_after(w.runtime, 0, 1, NULL, &counted), WEIR_EINVAL);
    world_refuse(&w, 0);
    cr_assert_eq(weir_post(w.runtime, 0, count, &counted), WEIR_ENOMEM);
    cr_assert_eq(weir_post_after(w.runtime, 0, 1, count, &counted), WEIR_ENOMEM);
    world_refuse(&w, -1);
    WORLD_HOLDS(&w, 10, counted == 0);
    world_stop(&w);
}

Test(post, after_the_end_is_refused)
{
    _Atomic unsigned counted = 0;
    world w = { 0 };
    start(&w, 2);
    weir_runtime_stop(w.runtime);
    cr_assert_eq(weir_runtime_wait(w.runtime), 0);
    for (unsigned i = 0; i < 2; i++) {
        cr_assert_eq(weir_post(w.runtime, i, count, &counted), WEIR_ESTOPPED);
        cr_assert_eq(weir_post_after(w.runtime, i, 1, count, &counted), WEIR_ESTOPPED);
    }
    cr_assert_eq(counted, 0);
    world_stop(&w);
}

static void post_again(weir_runtime *runtime, void *data)
{
    atomic_fetch_add((_Atomic unsigned *)data, 1);
    (void)weir_post(runtime, wr_worker_here()->index, post_again, data);
}

Test(post, one_that_posts_itself_for_ever_neither_holds_up_the_loop_nor_the_end)
{
    world w = { .runtime_options.workers = 2 };
    world_start(&w);
    _Atomic unsigned counted = 0;
    for (unsigned i = 0; i < 2; i++) cr_assert_eq(weir_post(w.runtime, i, post_again, &counted), 0);
    WORLD_AWAIT(&w, counted > 1000);
    raw_peer peer = world_connect(&w);
    raw_send(peer, "x", 1);
    WORLD_AWAIT(&w, w.messages == 1);
    raw_close(peer);
    world_stop(&w); /* the last one of each worker is freed: the world counts */
}

Test(post, what_is_left_at_the_end_is_freed_and_does_not_run)
{
    _Atomic unsigned counted = 0;
    world w = { .manual = true };
    start(&w, 1);
    weir_runtime_stop(w.runtime);
    while (weir_poll(w.runtime, 0) != WEIR_ESTOPPED) continue;
    uint64_t used = w.memory.used;
    cr_assert_eq(weir_post(w.runtime, 0, count, &counted), WEIR_ESTOPPED);
    cr_assert_eq(w.memory.used, used);
    world_stop(&w);

    world other = { .manual = true };
    start(&other, 1);
    for (int i = 0; i < 1000; i++) cr_assert_eq(weir_post_after(other.runtime, 0, 3600000, count, &counted), 0);
    for (int i = 0; i < 3; i++) (void)weir_poll(other.runtime, 0);
    for (int i = 0; i < 1000; i++) cr_assert_eq(weir_post_after(other.runtime, 0, 3600000, count, &counted), 0);
    world_stop(&other);
    cr_assert_eq(counted, 0);
}

/* ---- later ---- */

typedef struct alarm {
    uint64_t posted_ns;
    uint64_t delay_ms;
    _Atomic uint64_t rang_ns; /* 0: not yet */
    unsigned place;           /* as the so manieth */
} alarm;

static _Atomic unsigned rung;

static void ring(weir_runtime *runtime, void *data)
{
    (void)runtime;
    alarm *a = data;
    a->place = atomic_load(&rung);
    atomic_store(&a->rang_ns, now_ns());
    atomic_fetch_add(&rung, 1);
}

static void set(world *w, unsigned worker, alarm *a, uint64_t delay_ms)
{
    a->delay_ms = delay_ms;
    a->posted_ns = now_ns();
    cr_assert_eq(weir_post_after(w->runtime, worker, delay_ms, ring, a), 0);
}

Test(post, later_is_never_early)
{
    enum { ALARMS = 400 };
    static alarm alarms[ALARMS];
    for (int manual = 0; manual < 2; manual++) {
        world w = { .manual = manual };
        start(&w, 1);
        uint64_t seed = 3;
        atomic_store(&rung, 0);
        for (int i = 0; i < ALARMS; i++) {
            alarms[i] = (alarm){ 0 };
            set(&w, 0, &alarms[i], world_random(&seed) % 100);
            if (i % 50 == 0) world_turn(&w);
        }
        WORLD_AWAIT(&w, rung == ALARMS);
        for (int i = 0; i < ALARMS; i++) {
            uint64_t took_ns = alarms[i].rang_ns - alarms[i].posted_ns;
            cr_assert_geq(took_ns, alarms[i].delay_ms * 1000000, "%llu ms: after %llu ns",
                          (unsigned long long)alarms[i].delay_ms, (unsigned long long)took_ns);
            cr_assert_lt(took_ns, (alarms[i].delay_ms + RAW_PATIENCE_MS / 4) * 1000000);
        }
        world_stop(&w);
    }
}

Test(post, later_comes_in_the_order_of_time)
{
    enum { ALARMS = 20 };
    static alarm alarms[ALARMS];
    world w = { .manual = true };
    start(&w, 1);
    for (unsigned i = 0; i < ALARMS; i++) set(&w, 0, &alarms[i], (ALARMS - i) * 5);
    WORLD_AWAIT(&w, rung == ALARMS);
    for (unsigned i = 0; i < ALARMS; i++) cr_assert_eq(alarms[i].place, ALARMS - 1 - i);
    world_stop(&w);
}

Test(post, after_no_time_is_at_once_and_in_order)
{
    static alarm alarms[3];
    _Atomic unsigned counted = 0;
    world w = { .manual = true };
    start(&w, 1);
    set(&w, 0, &alarms[0], 0);
    cr_assert_eq(weir_post(w.runtime, 0, count, &counted), 0);
    set(&w, 0, &alarms[1], 1);
    set(&w, 0, &alarms[2], 0);
    world_settle(&w);
    cr_assert_eq(counted, 1);
    cr_assert_neq(alarms[0].rang_ns, 0);
    cr_assert_neq(alarms[2].rang_ns, 0);
    cr_assert_eq(alarms[2].place, 1);
    WORLD_AWAIT(&w, rung == 3);
    world_stop(&w);
}

Test(post, after_a_time_beyond_all_clocks_waits_without_a_spin)
{
    _Atomic unsigned counted = 0;
    world w = { 0 };
    start(&w, 1);
    cr_assert_eq(weir_post_after(w.runtime, 0, UINT64_MAX, count, &counted), 0);
    cr_assert_eq(weir_post_after(w.runtime, 0, UINT64_MAX / 2, count, &counted), 0);
    weir_sleep_ms(10);
    uint64_t passes = world_stats(&w).passes;
    weir_sleep_ms(100);
    cr_assert_leq(world_stats(&w).passes, passes + 3);
    cr_assert_eq(counted, 0);
    world_stop(&w);
}

Test(post, wakes_a_worker_that_sleeps_until_a_later_one)
{
    static alarm far, near;
    world w = { 0 };
    start(&w, 1);
    set(&w, 0, &far, 3600000);
    weir_sleep_ms(5);
    set(&w, 0, &near, 10);
    WORLD_AWAIT(&w, near.rang_ns != 0);
    cr_assert_lt(near.rang_ns - near.posted_ns, (uint64_t)RAW_PATIENCE_MS * 1000000 / 2);
    world_stop(&w);
}

Test(post, that_finds_the_queue_full_is_refused_until_there_is_room)
{
    enum { MOST = 100 };
    _Atomic unsigned counted = 0;
    world w = { .manual = true, .runtime_options = { .max_posts = MOST } };
    start(&w, 1);
    for (unsigned i = 0; i < MOST; i++)
        cr_assert_eq(weir_post_after(w.runtime, 0, i % 2 ? 3600000 : 0, count, &counted), 0);
    cr_assert_eq(weir_post(w.runtime, 0, count, &counted), WEIR_ELIMIT);
    cr_assert_eq(weir_post_after(w.runtime, 0, 1, count, &counted), WEIR_ELIMIT);
    WORLD_AWAIT(&w, counted == MOST / 2);
    /* Those that wait for their time have left the queue. */
    for (unsigned i = 0; i < MOST; i++) cr_assert_eq(weir_post(w.runtime, 0, count, &counted), 0);
    cr_assert_eq(weir_post(w.runtime, 0, count, &counted), WEIR_ELIMIT);
    WORLD_AWAIT(&w, counted == MOST / 2 + MOST);
    world_refuse(&w, 0);
    for (unsigned i = 0; i < 2 * MOST; i++) cr_assert_eq(weir_post(w.runtime, 0, count, &counted), WEIR_ENOMEM);
    world_refuse(&w, -1);
    for (unsigned i = 0; i < MOST; i++) cr_assert_eq(weir_post(w.runtime, 0, count, &counted), 0);
    world_stop(&w);
}

Test(post, a_hundred_thousand_that_wait_are_dropped_at_the_end)
{
    enum { WAITING = 100000 };
    _Atomic unsigned counted = 0;
    world w = { 0 };
    start(&w, 2);
    uint64_t seed = 9;
    for (unsigned i = 0; i < WAITING; i++) {
        uint64_t delay_ms = 100000 + world_random(&seed) % (uint64_t)1000000000;
        cr_assert_eq(weir_post_after(w.runtime, i % 2, delay_ms, count, &counted), 0);
    }
    WORLD_AWAIT(&w, world_stats(&w).posts >= WAITING);
    weir_sleep_ms(10);
    uint64_t passes = world_stats(&w).passes;
    weir_sleep_ms(100);
    cr_assert_leq(world_stats(&w).passes, passes + 20, "few wake-ups while they wait");
    world_stop(&w); /* the world counts the memory */
    cr_assert_eq(counted, 0);
}
