/* Ticks in the simulator, to the nanosecond. */
#include "core/simulated.h"

typedef struct beat {
    weir_sim *sim;
    uint64_t count, first_ns, last_ns, last;
    uint64_t jitter; /* ticks that were not exactly where they belong, from the first one */
    uint64_t numbers[16];
} beat;

static void on_tick(weir_tick *tick, uint64_t number, void *data)
{
    (void)tick;
    beat *b = data;
    uint64_t now_ns = weir_sim_now_ns(b->sim);
    if (b->count == 0) b->first_ns = now_ns;
    uint64_t expected_ns = b->first_ns - S / 60 + number * S / 60;
    if (now_ns != expected_ns) b->jitter++;
    if (b->count < 16) b->numbers[b->count] = number;
    b->count++;
    b->last = number;
    b->last_ns = now_ns;
}

Test(tick_sim, at_60_hz_comes_216000_times_in_an_hour_without_drift)
{
    simulated s = { .network = { .seed = 5 } };
    simulated_open(&s);
    (void)simulated_connect(&s);
    beat b = { .sim = s.sim };
    weir_tick *tick;
    weir_tick_options options = { .hz = 60, .worker = 1, .on_tick = on_tick, .data = &b };
    cr_assert_eq(weir_tick_start(s.server, &options, &tick), 0);
    cr_assert_eq(weir_sim_run(s.sim, S / 60 + S / 120), 0);
    cr_assert_eq(b.count, 1);
    uint64_t start_ns = b.first_ns - S / 60;
    cr_assert_eq(weir_sim_run(s.sim, start_ns + 3600 * S + S / 120), 0);
    cr_assert_eq(b.count, 216000);
    cr_assert_eq(b.last, 216000);
    cr_assert_eq(b.last_ns, start_ns + 3600 * S, "%llu ns late", (unsigned long long)(b.last_ns - start_ns - 3600 * S));
    cr_assert_eq(b.jitter, 0);
    weir_tick_stats stats;
    weir_tick_report(tick, &stats);
    cr_assert_eq(stats.ticks, 216000);
    cr_assert_eq(stats.late_us[0], 216000);
    cr_assert_eq(stats.late_ns_max, 0);
    cr_assert_eq(stats.skipped + stats.overruns, 0);
    weir_tick_stop(tick);
    cr_assert_eq(weir_sim_advance(s.sim, S), 0);
    cr_assert_eq(b.count, 216000);
    simulated_close(&s);
}

Test(tick_sim, with_a_delay_comes_that_much_later_each_time)
{
    simulated s = { .network = { .seed = 5 } };
    simulated_open(&s);
    beat b[2] = { { .sim = s.sim }, { .sim = s.sim } };
    for (int i = 0; i < 2; i++) {
        weir_tick_options options = {
            .hz = 60, .worker = 1, .delay_us = i ? 12345 : 0, .on_tick = on_tick, .data = &b[i]
        };
        cr_assert_eq(weir_tick_start(s.server, &options, NULL), 0);
    }
    cr_assert_eq(weir_sim_run(s.sim, 10 * S), 0);
    cr_assert_eq(b[1].first_ns - b[0].first_ns, 12345000);
    cr_assert_eq(b[0].jitter + b[1].jitter, 0);
    cr_assert_geq(b[1].count, 599 - 1);
    simulated_close(&s);
}

/* A runtime that is driven by hand: between two polls time passes as for a worker that is held up. */
typedef struct held {
    weir_sim *sim;
    weir_runtime *runtime;
    weir_tick *tick;
    beat b;
} held;

static void hold(held *h, uint32_t catch_up)
{
    *h = (held){ 0 };
    cr_assert_eq(weir_sim_create(&h->sim, NULL), 0);
    cr_assert_eq(weir_runtime_create(&h->runtime, &(weir_runtime_options){ .manual = true, .sim = h->sim }), 0);
    h->b.sim = h->sim;
    weir_tick_options options = { .hz = 10, .catch_up = catch_up, .on_tick = on_tick, .data = &h->b };
    cr_assert_eq(weir_tick_start(h->runtime, &options, &h->tick), 0);
    cr_assert_geq(weir_poll(h->runtime, 0), 0);
}

static void pass(held *h, uint64_t ms)
{
    cr_assert_eq(weir_sim_advance(h->sim, ms * MS), 0);
    cr_assert_geq(weir_poll(h->runtime, 0), 0);
}

static void let_go(held *h)
{
    weir_runtime_destroy(h->runtime);
    weir_sim_destroy(h->sim);
}

Test(tick_sim, that_is_late_is_skipped_but_for_the_newest)
{
    held h;
    hold(&h, 0);
    pass(&h, 99);
    cr_assert_eq(h.b.count, 0);
    pass(&h, 1);
    cr_assert_eq(h.b.count, 1);
    pass(&h, 455); /* at 555 ms: 2, 3 and 4 are lost */
    cr_assert_eq(h.b.count, 2);
    cr_assert_eq(h.b.last, 5);
    pass(&h, 45); /* the next one is where it always was */
    cr_assert_eq(h.b.last, 6);
    weir_tick_stats stats;
    weir_tick_report(h.tick, &stats);
    cr_assert_eq(stats.ticks, 3);
    cr_assert_eq(stats.skipped, 3);
    cr_assert_eq(stats.late_ns_max, 55 * MS);
    cr_assert_eq(stats.late_ns_sum, 55 * MS);
    cr_assert_eq(stats.late_us[0], 2);
    cr_assert_eq(stats.late_us[16], 1); /* under 65.536 ms */
    let_go(&h);
}

Test(tick_sim, that_is_late_is_caught_up_with_as_far_as_allowed)
{
    held h;
    hold(&h, 2);
    pass(&h, 100);
    pass(&h, 250); /* at 350 ms: 2 is caught up with, then 3 */
    cr_assert_eq(h.b.count, 3);
    cr_assert_eq(h.b.numbers[1], 2);
    cr_assert_eq(h.b.numbers[2], 3);
    pass(&h, 600); /* at 950 ms: 4, 5 and 6 are lost, 7 and 8 caught up with */
    cr_assert_eq(h.b.count, 6);
    for (uint64_t i = 0; i < 3; i++) cr_assert_eq(h.b.numbers[3 + i], 7 + i);
    weir_tick_stats stats;
    weir_tick_report(h.tick, &stats);
    cr_assert_eq(stats.skipped, 3);
    cr_assert_eq(stats.late_ns_max, 250 * MS);
    let_go(&h);
}

static void stop_the_third(weir_tick *tick, uint64_t number, void *data)
{
    held *h = data;
    if (h->b.count < 16) h->b.numbers[h->b.count] = number;
    if (++h->b.count == 3) weir_tick_stop(tick);
}

Test(tick_sim, stopped_while_it_catches_up_runs_no_more)
{
    held h;
    hold(&h, 0);
    weir_tick_options options = { .hz = 10, .catch_up = UINT32_MAX, .on_tick = stop_the_third, .data = &h };
    weir_tick_stop(h.tick);
    cr_assert_eq(weir_tick_start(h.runtime, &options, NULL), 0);
    pass(&h, 0);
    pass(&h, 1000); /* ten are due */
    cr_assert_eq(h.b.count, 3);
    cr_assert_eq(h.b.numbers[2], 3);
    pass(&h, 1000);
    cr_assert_eq(h.b.count, 3);
    let_go(&h);
}

/* ---- several ---- */

typedef struct lane {
    uint64_t count;
    uint32_t hz;
} lane;

static void count(weir_tick *tick, uint64_t number, void *data)
{
    (void)tick, (void)number;
    ((lane *)data)->count++;
}

Test(tick_sim, a_thousand_on_one_worker_each_keep_their_rate)
{
    enum { LANES = 1000 };
    static lane lanes[LANES];
    held h;
    cr_assert_eq(weir_sim_create(&h.sim, NULL), 0);
    cr_assert_eq(weir_runtime_create(&h.runtime, &(weir_runtime_options){ .workers = 1, .sim = h.sim }), 0);
    for (uint32_t i = 0; i < LANES; i++) {
        lanes[i] = (lane){ .hz = 1 + i % 60 };
        weir_tick_options options = { .hz = lanes[i].hz, .on_tick = count, .data = &lanes[i] };
        cr_assert_eq(weir_tick_start(h.runtime, &options, NULL), 0);
    }
    cr_assert_eq(weir_sim_run(h.sim, 10 * S + S / 1000), 0);
    for (uint32_t i = 0; i < LANES; i++) cr_assert_eq(lanes[i].count, 10 * lanes[i].hz, "%u Hz", lanes[i].hz);
    let_go(&h);
}

Test(tick_sim, of_a_fraction_of_a_hertz_and_of_no_whole_number_of_them)
{
    static lane slow, film;
    held h;
    cr_assert_eq(weir_sim_create(&h.sim, NULL), 0);
    cr_assert_eq(weir_runtime_create(&h.runtime, &(weir_runtime_options){ .workers = 1, .sim = h.sim }), 0);
    weir_tick_options options = { .hz = 1, .hz_divisor = 3600, .on_tick = count, .data = &slow };
    cr_assert_eq(weir_tick_start(h.runtime, &options, NULL), 0);
    options = (weir_tick_options){ .hz = 60000, .hz_divisor = 1001, .on_tick = count, .data = &film };
    cr_assert_eq(weir_tick_start(h.runtime, &options, NULL), 0);
    cr_assert_eq(weir_sim_run(h.sim, 1001 * S + S / 1000), 0);
    cr_assert_eq(film.count, 60000);
    cr_assert_eq(slow.count, 0);
    cr_assert_eq(weir_sim_run(h.sim, 3600 * S + S / 1000), 0);
    cr_assert_eq(slow.count, 1);
    let_go(&h);
}

static void start_late(weir_runtime *runtime, void *data)
{
    weir_tick *tick;
    weir_tick_options options = { .hz = 10, .on_tick = count, .data = data };
    cr_assert_eq(weir_tick_start(runtime, &options, &tick), 0);
}

/* Its worker may have ended while another has not: nothing comes of it, and nothing is lost. */
Test(tick_sim, started_while_the_runtime_stops_never_comes)
{
    static lane late;
    held h;
    cr_assert_eq(weir_sim_create(&h.sim, NULL), 0);
    cr_assert_eq(weir_runtime_create(&h.runtime, &(weir_runtime_options){ .workers = 3, .sim = h.sim }), 0);
    cr_assert_eq(weir_post(h.runtime, 2, start_late, &late), 0);
    weir_runtime_stop(h.runtime);
    cr_assert_eq(weir_sim_run(h.sim, 10 * S), 0);
    cr_assert_eq(late.count, 0);
    let_go(&h);
}
