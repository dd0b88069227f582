/* The embedder's timers in the simulator: exactly when they ring. */
#include "core/simulated.h"

typedef struct bell {
    weir_sim *sim;
    unsigned rung;
    uint64_t rang_ns;
} bell;

static void ring(weir_timer *timer, void *data)
{
    (void)timer;
    bell *b = data;
    b->rung++;
    b->rang_ns = weir_sim_now_ns(b->sim);
}

static weir_sim *make(weir_runtime **runtime, bool manual)
{
    weir_sim *sim;
    cr_assert_eq(weir_sim_create(&sim, NULL), 0);
    cr_assert_eq(weir_runtime_create(runtime, &(weir_runtime_options){ .manual = manual, .sim = sim }), 0);
    return sim;
}

Test(alarm_sim, repeats_without_drift_for_a_day)
{
    weir_runtime *runtime;
    weir_sim *sim = make(&runtime, false);
    bell b = { .sim = sim };
    weir_timer_options options = { .delay_ms = 100, .repeat_ms = 250, .on_timer = ring, .data = &b };
    cr_assert_eq(weir_timer_start(runtime, &options, NULL), 0);
    cr_assert_eq(weir_sim_run(sim, 102 * MS), 0);
    cr_assert_eq(b.rung, 1);
    uint64_t first_ns = b.rang_ns;
    cr_assert_eq(weir_sim_run(sim, first_ns + 86400 * S), 0);
    cr_assert_eq(b.rung, 1 + 86400 * 4);
    cr_assert_eq(b.rang_ns, first_ns + 86400 * S);
    weir_runtime_destroy(runtime);
    weir_sim_destroy(sim);
}

Test(alarm_sim, leaves_out_what_a_late_worker_missed)
{
    weir_runtime *runtime;
    weir_sim *sim = make(&runtime, true);
    bell b = { .sim = sim };
    weir_timer_options options = { .delay_ms = 9, .repeat_ms = 10, .on_timer = ring, .data = &b };
    cr_assert_eq(weir_timer_start(runtime, &options, NULL), 0);
    cr_assert_geq(weir_poll(runtime, 0), 0);
    uint64_t start_ns = weir_sim_now_ns(sim);
    cr_assert_eq(weir_sim_advance(sim, 1005 * MS), 0);
    cr_assert_geq(weir_poll(runtime, 0), 0);
    cr_assert_eq(b.rung, 1);
    while (b.rung < 2) cr_assert_geq(weir_poll(runtime, 100), 0);
    cr_assert_eq(b.rang_ns / MS, (start_ns + 1010 * MS) / MS, "in its old rhythm");
    weir_runtime_destroy(runtime);
    weir_sim_destroy(sim);
}

Test(alarm_sim, of_all_times_waits_without_an_end)
{
    weir_runtime *runtime;
    weir_sim *sim = make(&runtime, false);
    bell b = { .sim = sim };
    weir_timer_options options = { .delay_ms = UINT64_MAX, .repeat_ms = UINT64_MAX, .on_timer = ring, .data = &b };
    cr_assert_eq(weir_timer_start(runtime, &options, NULL), 0);
    options.delay_ms = 0;
    cr_assert_eq(weir_timer_start(runtime, &options, NULL), 0);
    cr_assert_eq(weir_sim_run(sim, UINT64_C(3153600000) * S), 0); /* a century */
    cr_assert_eq(b.rung, 1);
    weir_runtime_destroy(runtime);
    weir_sim_destroy(sim);
}

/* Many, each armed again and again. */
Test(alarm_sim, a_hundred_thousand_repeat)
{
    enum { BELLS = 100000 };
    static bell b;
    weir_runtime *runtime;
    weir_sim *sim = make(&runtime, false);
    b = (bell){ .sim = sim };
    weir_timer_options options = { .repeat_ms = 30000, .on_timer = ring, .data = &b };
    for (unsigned i = 0; i < BELLS; i++) {
        options.delay_ms = i;
        cr_assert_eq(weir_timer_start(runtime, &options, NULL), 0);
    }
    cr_assert_eq(weir_sim_run(sim, 129 * S), 0);
    cr_assert_gt(b.rung, 2 * BELLS);
    weir_runtime_destroy(runtime);
    weir_sim_destroy(sim);
}
