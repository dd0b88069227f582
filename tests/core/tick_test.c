/* Ticks on the system's clock: what holds however loaded the machine is. Exact times are tick_sim_test.c's. */
#include "core/tick.h"

#include "core/world.h"

/* A runtime without a listener; on so many workers. */
static void start(world *w, unsigned workers)
{
    w->no_listener = true;
    w->runtime_options.workers = workers;
    world_start(w);
}

/* What one tick has seen. */
typedef struct beat {
    _Atomic uint64_t count, last;
    _Atomic bool in_disorder, elsewhere;
    unsigned worker;
    uint64_t stop_at; /* the callback with that number, or a later one, stops its tick */
} beat;

static void on_tick(weir_tick *tick, uint64_t number, void *data)
{
    beat *b = data;
    if (number <= b->last) b->in_disorder = true;
    if (wr_worker_here()->index != b->worker) b->elsewhere = true;
    b->last = number;
    b->count++;
    if (b->stop_at && number >= b->stop_at) {
        weir_tick_stop(tick);
        weir_tick_stop(tick); /* harmless here */
        weir_tick_stats stats;
        weir_tick_report(tick, &stats); /* it lives until this returns */
        cr_assert_eq(stats.ticks, b->count);
    }
}

static weir_tick *start_tick(world *w, uint32_t hz, beat *b)
{
    weir_tick *tick;
    weir_tick_options options = { .hz = hz, .worker = b->worker, .on_tick = on_tick, .data = b };
    cr_assert_eq(weir_tick_start(w->runtime, &options, &tick), 0);
    return tick;
}

Test(tick, comes_at_its_rate_on_its_worker_and_never_early)
{
    for (int manual = 0; manual < 2; manual++) {
        world w = { .manual = manual };
        start(&w, manual ? 1 : 2);
        beat b = { .worker = manual ? 0 : 1 };
        uint64_t began_ns = wr_os_now_ns();
        weir_tick *tick = start_tick(&w, 200, &b);
        WORLD_AWAIT(&w, b.count >= 20);
        uint64_t last = b.last, took_ns = wr_os_now_ns() - began_ns;
        /* The pass that took notice of it may have begun just before the call: hence the one more. */
        cr_assert_leq(last, took_ns / 5000000 + 1, "tick %llu", (unsigned long long)last);
        cr_assert_not(b.in_disorder);
        cr_assert_not(b.elsewhere);
        cr_assert_eq(weir_tick_runtime(tick), w.runtime);
        world_stop(&w);
    }
}

Test(tick, says_how_well_it_keeps_its_time)
{
    world w = { 0 };
    start(&w, 2);
    beat b = { .worker = 1 };
    weir_tick *tick = start_tick(&w, 1000, &b);
    WORLD_AWAIT(&w, b.count >= 50);
    weir_runtime_stop(w.runtime);
    cr_assert_eq(weir_runtime_wait(w.runtime), 0);
    weir_tick_stats stats;
    weir_tick_report(tick, &stats); /* also after the end */
    cr_assert_eq(stats.ticks, b.count);
    cr_assert_eq(stats.ticks + stats.skipped, b.last);
    uint64_t sum = 0;
    for (int i = 0; i < WEIR_STATS_BUCKETS; i++) sum += stats.late_us[i];
    cr_assert_eq(sum, stats.ticks);
    cr_assert_geq(stats.late_ns_sum, stats.late_ns_max);
    cr_assert_gt(stats.late_ns_max, 0);
    cr_assert_geq(stats.callback_ns_sum, stats.callback_ns_max);

    weir_stats all;
    weir_stats_read(w.runtime, &all);
    cr_assert_eq(all.ticks, stats.ticks);
    cr_assert_eq(all.ticks_skipped, stats.skipped);
    cr_assert_eq(all.tick_overruns, stats.overruns);
    cr_assert_eq(all.tick_late_ns_sum, stats.late_ns_sum);
    cr_assert_eq(all.tick_ns_max, stats.callback_ns_max);
    weir_tick_stop(tick); /* harmless after the end */
    world_stop(&w);
}

static void dawdle(weir_tick *tick, uint64_t number, void *data)
{
    (void)tick;
    beat *b = data;
    b->last = number;
    b->count++;
    weir_sleep_ms(12);
}

Test(tick, that_overruns_says_so_and_holds_up_nobody)
{
    world w = { .protocol = { .framing = weir_framing_line() } };
    world_start(&w);
    beat b = { 0 };
    weir_tick *tick;
    weir_tick_options options = { .hz = 200, .catch_up = 3, .on_tick = dawdle, .data = &b };
    cr_assert_eq(weir_tick_start(w.runtime, &options, &tick), 0);
    WORLD_AWAIT(&w, b.count >= 2);
    raw_peer peer = world_connect(&w);
    raw_send(peer, "hello\n", 6);
    WORLD_AWAIT(&w, w.messages == 1);
    WORLD_AWAIT(&w, b.count >= 12);
    weir_tick_stats stats;
    weir_tick_report(tick, &stats);
    cr_assert_geq(stats.overruns, 11);
    cr_assert_gt(stats.skipped, 0, "it can never catch up with so little");
    cr_assert_geq(stats.callback_ns_max, 12000000);
    raw_close(peer);
    world_stop(&w);
}

Test(tick, can_be_stopped_in_its_own_callback)
{
    world w = { 0 };
    start(&w, 1);
    beat b = { .stop_at = 3 };
    (void)start_tick(&w, 1000, &b);
    WORLD_AWAIT(&w, b.last >= 3);
    uint64_t count = b.count;
    WORLD_HOLDS(&w, 20, b.count == count);
    world_stop(&w);
}

Test(tick, can_be_stopped_by_another_thread)
{
    enum { TICKS = 50 };
    static beat beats[TICKS];
    weir_tick *ticks[TICKS];
    world w = { 0 };
    start(&w, 2);
    weir_tick_stop(NULL);
    for (unsigned i = 0; i < TICKS; i++) {
        beats[i] = (beat){ .worker = i % 2 };
        ticks[i] = start_tick(&w, 500 + i, &beats[i]);
        if (i % 3 == 0) weir_tick_stop(ticks[i]); /* it may not have begun */
    }
    WORLD_AWAIT(&w, beats[1].count >= 5);
    for (unsigned i = 0; i < TICKS; i++)
        if (i % 3 != 0) weir_tick_stop(ticks[i]);
    uint64_t posts = world_stats(&w).posts;
    WORLD_AWAIT(&w, (posts = world_stats(&w).posts) >= 2 * TICKS);
    uint64_t count = beats[1].count + beats[2].count;
    WORLD_HOLDS(&w, 20, beats[1].count + beats[2].count == count);
    world_stop(&w); /* the world counts the memory */
}

Test(tick, that_nobody_stops_ends_with_the_runtime)
{
    world w = { 0 };
    start(&w, 2);
    beat b = { 0 };
    weir_tick_options options = { .hz = 30, .on_tick = on_tick, .data = &b };
    cr_assert_eq(weir_tick_start(w.runtime, &options, NULL), 0);
    (void)start_tick(&w, 1000, &b);
    WORLD_AWAIT(&w, b.count > 0);
    world_stop(&w);

    world never_run = { .manual = true };
    start(&never_run, 1);
    (void)start_tick(&never_run, 1000, &b);
    world_stop(&never_run);
}

Test(tick, an_idle_worker_sleeps_until_it_and_no_less)
{
    world w = { 0 };
    start(&w, 1);
    beat b = { 0 };
    (void)start_tick(&w, 10, &b);
    WORLD_AWAIT(&w, b.count >= 2);
    uint64_t passes = world_stats(&w).passes, count = b.count;
    WORLD_AWAIT(&w, b.count >= count + 5);
    /* A wake-up a tick, and one more where the clock and the timer of the system disagree. */
    cr_assert_leq(world_stats(&w).passes - passes, 2 * (b.count - count) + 2);
    world_stop(&w);
}

Test(tick, is_refused_with_the_reason)
{
    world w = { 0 };
    start(&w, 2);
    weir_tick *tick = (void *)&w;
    const weir_tick_options good = { .hz = 30, .on_tick = on_tick };
    weir_tick_options bad = good;
    cr_assert_eq(weir_tick_start(w.runtime, NULL, &tick), WEIR_EINVAL);
    cr_assert_null(tick);
    bad.worker = 2;
    cr_assert_eq(weir_tick_start(w.runtime, &bad, &tick), WEIR_EINVAL);
    bad = good, bad.hz = 0;
    cr_assert_eq(weir_tick_start(w.runtime, &bad, &tick), WEIR_EINVAL);
    bad = good, bad.hz = 10001;
    cr_assert_eq(weir_tick_start(w.runtime, &bad, &tick), WEIR_EINVAL);
    bad = good, bad.hz = UINT32_MAX, bad.hz_divisor = 429496;
    cr_assert_eq(weir_tick_start(w.runtime, &bad, &tick), WEIR_EINVAL);
    bad = good, bad.on_tick = NULL;
    cr_assert_eq(weir_tick_start(w.runtime, &bad, &tick), WEIR_EINVAL);
    world_refuse(&w, 0);
    cr_assert_eq(weir_tick_start(w.runtime, &good, &tick), WEIR_ENOMEM);
    cr_assert_null(tick);
    world_refuse(&w, -1);
    weir_runtime_stop(w.runtime);
    cr_assert_eq(weir_runtime_wait(w.runtime), 0);
    cr_assert_eq(weir_tick_start(w.runtime, &good, &tick), WEIR_ESTOPPED);
    world_stop(&w);
}

/* ---- the arithmetic ---- */

Test(tick, is_due_exactly_where_its_rate_says)
{
    cr_assert_eq(wr_rate_due_ns((wr_rate){ 60, 1 }, 1), 16666666);
    cr_assert_eq(wr_rate_due_ns((wr_rate){ 60, 1 }, 216000), UINT64_C(3600000000000));
    cr_assert_eq(wr_rate_due_ns((wr_rate){ 60000, 1001 }, 60000), UINT64_C(1001000000000));
    cr_assert_eq(wr_rate_due_ns((wr_rate){ 1, 10 }, 7), UINT64_C(70000000000));
    cr_assert_eq(wr_rate_due_ns((wr_rate){ 30, 1 }, UINT64_C(30) * 86400 * 36500),
                 UINT64_C(86400) * 36500 * 1000000000);
    cr_assert_eq(wr_rate_due_ns((wr_rate){ UINT32_MAX, UINT32_MAX }, 1000), UINT64_C(1000000000000));
}

Test(tick, the_newest_one_is_the_last_that_is_due)
{
    uint64_t seed = 17;
    for (int i = 0; i < 200000; i++) {
        uint64_t hz = world_random(&seed), divisor = world_random(&seed), elapsed_ns = world_random(&seed);
        /* Of all sizes, and up to 73 years. */
        wr_rate rate = { 1 + (uint32_t)(hz >> (33 + hz % 31)), 1 + (uint32_t)(divisor >> (33 + divisor % 31)) };
        elapsed_ns >>= 3 + elapsed_ns % 40;
        uint64_t number = wr_rate_newest(rate, elapsed_ns);
        cr_assert_leq(wr_rate_due_ns(rate, number), elapsed_ns, "%u/%u", rate.hz, rate.divisor);
        cr_assert_gt(wr_rate_due_ns(rate, number + 1), elapsed_ns, "%u/%u", rate.hz, rate.divisor);
        uint64_t due_ns = wr_rate_due_ns(rate, number);
        if (rate.hz / rate.divisor < 1000000000) cr_assert_eq(wr_rate_newest(rate, due_ns), number);
    }
}
