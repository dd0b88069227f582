/* The wheel: what each call promises, and all of them at once against a naive model. */
#include <stdlib.h>
#include <string.h>

#include "core/timer.h"
#include "harness/weir_test.h"

#define COUNT(array) (sizeof(array) / sizeof *(array))

#define SPAN_MS ((uint64_t)1 << (WR_WHEEL_BITS * WR_WHEEL_LEVELS)) /* what the levels hold */
#define DUE_MAX (((uint64_t)1 << 56) - 1)                          /* what a timer holds */
#define NEVER   UINT64_MAX

/* random_next: xorshift64*, so that a failure repeats on every system. */
static uint64_t random_next(uint64_t *state)
{
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    return *state * 0x2545f4914f6cdd1dULL;
}

/* next_wake: the wheel's next time, which must be in the future: otherwise the worker would spin. */
static uint64_t next_wake(wr_wheel *wheel, uint64_t now_ms)
{
    uint64_t wake = wr_wheel_next_ms(wheel);
    cr_assert_gt(wake, now_ms, "a wake-up for nothing");
    return wake;
}

Test(timer, an_empty_wheel_has_nothing_and_wants_nothing)
{
    wr_wheel wheel;
    wr_wheel_init(&wheel, 5);
    cr_assert_eq(wr_wheel_next_ms(&wheel), NEVER);
    cr_assert_null(wr_wheel_take(&wheel, 5));
    cr_assert_null(wr_wheel_take(&wheel, 1000));
    cr_assert_null(wr_wheel_take(&wheel, UINT64_MAX));
    cr_assert_eq(wr_wheel_next_ms(&wheel), NEVER);
}

Test(timer, fires_in_its_millisecond_wherever_it_stands)
{
    const uint64_t starts[] = { 0, 1, 63, 64, 4095, 123456789, SPAN_MS - 1, SPAN_MS, 5 * SPAN_MS + 12345 };
    const uint64_t delays[] = { 1,
                                2,
                                62,
                                63,
                                64,
                                65,
                                127,
                                128,
                                4095,
                                4096,
                                4097,
                                262143,
                                262144,
                                262145,
                                999999,
                                16777216,
                                1 << 30,
                                SPAN_MS - 1,
                                SPAN_MS,
                                SPAN_MS + 1,
                                SPAN_MS * 3 + 7,
                                SPAN_MS * 1000 };
    for (size_t i = 0; i < COUNT(starts); i++) {
        for (size_t j = 0; j < COUNT(delays); j++) {
            uint64_t due = starts[i] + delays[j];
            wr_wheel wheel;
            wr_timer timer = { .tag = 200 };
            wr_wheel_init(&wheel, starts[i]);
            wr_wheel_arm(&wheel, &timer, due);
            cr_assert(wr_timer_armed(&timer));
            cr_assert_null(wr_wheel_take(&wheel, due - 1), "early: %llu after %llu", (unsigned long long)delays[j],
                           (unsigned long long)starts[i]);
            cr_assert_eq(wr_wheel_next_ms(&wheel), due, "one millisecond before");
            cr_assert(wr_wheel_take(&wheel, due) == &timer);
            cr_assert_not(wr_timer_armed(&timer));
            cr_assert_eq(timer.tag, 200, "the tag is the owner's");
            cr_assert_null(wr_wheel_take(&wheel, due));
            cr_assert_eq(wr_wheel_next_ms(&wheel), NEVER);
        }
    }
}

Test(timer, a_worker_that_sleeps_until_next_ms_wakes_at_most_once_a_level)
{
    uint64_t seed = 11;
    for (int i = 0; i < 20000; i++) {
        uint64_t now = random_next(&seed) >> (8 + random_next(&seed) % 50);
        uint64_t due = now + 1 + (random_next(&seed) >> (28 + random_next(&seed) % 36)); /* within 2^36 ms */
        wr_wheel wheel;
        wr_timer timer = { 0 };
        wr_wheel_init(&wheel, now);
        wr_wheel_arm(&wheel, &timer, due);
        int wakes = 0;
        for (wr_timer *taken = NULL; !taken; wakes++) {
            now = next_wake(&wheel, now);
            cr_assert_leq(now, due);
            taken = wr_wheel_take(&wheel, now);
        }
        cr_assert_eq(now, due, "in its millisecond");
        cr_assert_leq(wakes, WR_WHEEL_LEVELS + 1, "%d wake-ups", wakes); /* one more for what was beyond the levels */
    }
}

Test(timer, one_armed_for_the_past_falls_due_at_once)
{
    wr_wheel wheel;
    wr_timer timers[3] = { 0 };
    wr_wheel_init(&wheel, 1000);
    wr_wheel_arm(&wheel, &timers[0], 0);
    wr_wheel_arm(&wheel, &timers[1], 999);
    wr_wheel_arm(&wheel, &timers[2], 1000);
    cr_assert_eq(wr_wheel_next_ms(&wheel), 1000);
    for (int i = 0; i < 3; i++) cr_assert_not_null(wr_wheel_take(&wheel, 1000));
    cr_assert_null(wr_wheel_take(&wheel, 1000));
    for (int i = 0; i < 3; i++) cr_assert_not(wr_timer_armed(&timers[i]));
}

Test(timer, one_that_rearms_itself_for_the_past_cannot_hold_up_the_loop)
{
    wr_wheel wheel;
    wr_timer timer = { 0 };
    wr_wheel_init(&wheel, 0);
    wr_wheel_arm(&wheel, &timer, 10);
    for (int pass = 0; pass < 3; pass++) {
        cr_assert(wr_wheel_take(&wheel, 500) == &timer);
        wr_wheel_arm(&wheel, &timer, 11); /* over for long, also where the wheel's time lags */
        cr_assert_null(wr_wheel_take(&wheel, 500), "pass %d goes on for ever", pass);
        cr_assert_eq(wr_wheel_next_ms(&wheel), 500, "the next pass is due at once");
    }
    cr_assert(wr_wheel_take(&wheel, 500) == &timer);
    wr_wheel_arm(&wheel, &timer, 500);
    cr_assert(wr_wheel_take(&wheel, 501) == &timer, "a later time is a later pass");
}

Test(timer, one_disarmed_never_fires)
{
    wr_wheel wheel;
    wr_timer timers[4] = { 0 };
    wr_wheel_init(&wheel, 0);
    const uint64_t dues[] = { 1, 1, 100, SPAN_MS + 5 };
    for (size_t i = 0; i < COUNT(timers); i++) wr_wheel_arm(&wheel, &timers[i], dues[i]);
    for (size_t i = 0; i < COUNT(timers); i++) {
        cr_assert_leq(wr_wheel_next_ms(&wheel), dues[i]);
        wr_wheel_disarm(&wheel, &timers[i]);
        cr_assert_not(wr_timer_armed(&timers[i]));
        wr_wheel_disarm(&wheel, &timers[i]); /* harmless */
    }
    cr_assert_eq(wr_wheel_next_ms(&wheel), NEVER, "no slot is thought to be occupied");
    cr_assert_null(wr_wheel_take(&wheel, 2 * SPAN_MS));
}

Test(timer, an_expired_one_may_be_disarmed_or_rearmed_before_it_is_taken)
{
    wr_wheel wheel;
    wr_timer timers[4] = { 0 };
    wr_wheel_init(&wheel, 0);
    for (size_t i = 0; i < COUNT(timers); i++) wr_wheel_arm(&wheel, &timers[i], 10 + i);
    cr_assert(wr_wheel_take(&wheel, 20) == &timers[0]);
    cr_assert_eq(wr_wheel_next_ms(&wheel), 20, "more are waiting");
    wr_wheel_disarm(&wheel, &timers[1]);
    wr_wheel_arm(&wheel, &timers[2], 30);
    wr_wheel_arm(&wheel, &timers[3], 15);
    cr_assert_null(wr_wheel_take(&wheel, 20), "nothing of them is left for this pass");
    cr_assert(wr_wheel_take(&wheel, 20) == &timers[3]);
    cr_assert_null(wr_wheel_take(&wheel, 29));
    cr_assert(wr_wheel_take(&wheel, 30) == &timers[2]);
    cr_assert_eq(wr_wheel_next_ms(&wheel), NEVER);
}

Test(timer, a_rearmed_one_fires_at_its_last_time_alone)
{
    wr_wheel wheel;
    wr_timer timer = { 0 };
    wr_wheel_init(&wheel, 0);
    const uint64_t dues[] = { 100000, 5, 5, 70, 100001, 100050, 64, 100002 };
    for (size_t i = 0; i < COUNT(dues); i++) wr_wheel_arm(&wheel, &timer, dues[i]);
    cr_assert_null(wr_wheel_take(&wheel, 100001));
    cr_assert(wr_wheel_take(&wheel, 100002) == &timer);
    cr_assert_null(wr_wheel_take(&wheel, 200000));
}

Test(timer, those_that_a_late_pass_finds_come_in_the_order_of_their_times)
{
    enum { TIMERS = 2000 };
    static wr_timer timers[TIMERS];
    uint64_t seed = 7, before = 0;
    wr_wheel wheel;
    wr_wheel_init(&wheel, 0);
    for (int i = 0; i < TIMERS; i++) wr_wheel_arm(&wheel, &timers[i], random_next(&seed) >> (29 + i % 30));
    for (int i = 0; i < TIMERS; i++) {
        wr_timer *timer = wr_wheel_take(&wheel, SPAN_MS - 1);
        cr_assert_not_null(timer, "%d of %d", i, TIMERS);
        cr_assert_geq(timer->due_ms, before);
        before = timer->due_ms;
    }
}

Test(timer, time_that_goes_back_changes_nothing)
{
    wr_wheel wheel;
    wr_timer timers[2] = { 0 };
    wr_wheel_init(&wheel, 1000);
    wr_wheel_arm(&wheel, &timers[0], 1500);
    cr_assert_null(wr_wheel_take(&wheel, 3));
    cr_assert_null(wr_wheel_take(&wheel, 1400));
    wr_wheel_arm(&wheel, &timers[1], 1400);
    cr_assert(wr_wheel_take(&wheel, 1200) == &timers[1], "1400 has been");
    cr_assert_null(wr_wheel_take(&wheel, 1499));
    cr_assert(wr_wheel_take(&wheel, 1500) == &timers[0]);
}

Test(timer, the_end_of_time_is_no_exception)
{
    wr_wheel wheel;
    wr_timer never = { 0 }, last = { 0 }, late = { 0 };
    wr_wheel_init(&wheel, 0);
    wr_wheel_arm(&wheel, &never, UINT64_MAX);
    cr_assert_eq(never.due_ms, DUE_MAX);
    wr_wheel_arm(&wheel, &never, DUE_MAX + 1); /* not 0, though its low 56 bits are */
    cr_assert_eq(never.due_ms, DUE_MAX);
    wr_wheel_arm(&wheel, &last, DUE_MAX - 1);
    cr_assert_lt(wr_wheel_next_ms(&wheel), DUE_MAX);
    cr_assert_null(wr_wheel_take(&wheel, DUE_MAX - 2));
    cr_assert(wr_wheel_take(&wheel, DUE_MAX - 1) == &last);
    cr_assert_null(wr_wheel_take(&wheel, DUE_MAX - 1));
    cr_assert(wr_wheel_take(&wheel, UINT64_MAX) == &never);
    cr_assert_null(wr_wheel_take(&wheel, UINT64_MAX));
    wr_wheel_arm(&wheel, &late, UINT64_MAX);
    cr_assert_eq(wr_wheel_next_ms(&wheel), DUE_MAX);
    cr_assert(wr_wheel_take(&wheel, UINT64_MAX) == &late);
    cr_assert_null(wr_wheel_take(&wheel, UINT64_MAX));

    wr_wheel_init(&wheel, UINT64_MAX);
    wr_wheel_arm(&wheel, &late, 0);
    cr_assert(wr_wheel_take(&wheel, 0) == &late);
    cr_assert_eq(wr_wheel_next_ms(&wheel), NEVER);
}

/* The limit is the assertion: work for each millisecond, or for each two years, of a jump would take hours. */
Test(timer, a_jump_of_any_size_costs_what_it_fires, .timeout = 10)
{
    enum { TIMERS = 1000, JUMPS = 200 };
    static wr_timer timers[TIMERS];
    wr_wheel wheel;
    wr_wheel_init(&wheel, 0);
    uint64_t seed = 3, now = 0;
    for (int jump = 0; jump < JUMPS; jump++) {
        for (int i = 0; i < TIMERS; i++) wr_wheel_arm(&wheel, &timers[i], now + (random_next(&seed) >> (8 + i % 56)));
        now += DUE_MAX / JUMPS - 1;
        int taken = 0, left = 0;
        while (wr_wheel_take(&wheel, now)) taken++;
        for (int i = 0; i < TIMERS; i++) {
            left += wr_timer_armed(&timers[i]);
            cr_assert(!wr_timer_armed(&timers[i]) || timers[i].due_ms > now);
        }
        cr_assert_eq(taken + left, TIMERS);
        cr_assert_gt(taken, TIMERS / 2);
        next_wake(&wheel, now);
    }
}

Test(timer, a_jump_over_all_of_time_moves_each_timer_once, .timeout = 10)
{
    enum { TIMERS = 20000 };
    static wr_timer timers[TIMERS];
    wr_wheel wheel;
    wr_wheel_init(&wheel, 0);
    for (int i = 0; i < TIMERS; i++) wr_wheel_arm(&wheel, &timers[i], DUE_MAX);
    cr_assert_null(wr_wheel_take(&wheel, DUE_MAX - 1));
    for (int i = 0; i < TIMERS; i++) cr_assert_not_null(wr_wheel_take(&wheel, DUE_MAX));
    cr_assert_null(wr_wheel_take(&wheel, DUE_MAX));
}

/* As above: anything that looks through the timers on an arm or a take would not end. */
Test(timer, a_million_are_rearmed_millions_of_times, .timeout = 20)
{
    enum { TIMERS = 1000000, ROUNDS = 4, IDLE_MS = 30000 };
    wr_timer *timers = calloc(TIMERS, sizeof *timers);
    cr_assert_not_null(timers);
    wr_wheel wheel;
    wr_wheel_init(&wheel, 0);
    uint64_t now = 0;
    for (int i = 0; i < ROUNDS * TIMERS; i++) {
        if (i % 1000 == 0) cr_assert_null(wr_wheel_take(&wheel, ++now), "all of them were moved on in time");
        wr_wheel_arm(&wheel, &timers[i % TIMERS], now + IDLE_MS);
    }
    int taken = 0;
    while (wr_wheel_take(&wheel, now + IDLE_MS)) taken++;
    cr_assert_eq(taken, TIMERS);
    cr_assert_eq(wr_wheel_next_ms(&wheel), NEVER);
    free(timers);
}

/* The model: a list of times, searched from end to end. */
enum { MODEL_TIMERS = 64 };

struct model {
    wr_wheel wheel;
    wr_timer timers[MODEL_TIMERS];
    uint64_t due_ms[MODEL_TIMERS]; /* NEVER: not armed */
    bool next_pass[MODEL_TIMERS];  /* armed during this pass for a time that has passed */
    uint64_t now_ms;
    uint64_t seed;
    unsigned fired;
};

static uint64_t below(struct model *model, uint64_t bound)
{
    return random_next(&model->seed) % bound;
}

/* some_time: mostly near, at times years away, at times over. */
static uint64_t some_time(struct model *model)
{
    if (below(model, 8) == 0) return model->now_ms - below(model, model->now_ms < 300 ? model->now_ms + 1 : 300);
    uint64_t delay = random_next(&model->seed) >> (20 + below(model, 44));
    return model->now_ms + delay;
}

static void model_change(struct model *model)
{
    size_t i = (size_t)below(model, MODEL_TIMERS);
    if (below(model, 4) == 0) {
        wr_wheel_disarm(&model->wheel, &model->timers[i]);
        model->due_ms[i] = NEVER;
        return;
    }
    uint64_t due = some_time(model);
    wr_wheel_arm(&model->wheel, &model->timers[i], due);
    model->due_ms[i] = due < DUE_MAX ? due : DUE_MAX;
    model->next_pass[i] = due <= model->now_ms;
}

static uint64_t model_earliest(const struct model *model)
{
    uint64_t earliest = NEVER;
    for (size_t i = 0; i < MODEL_TIMERS; i++) {
        cr_assert_eq(wr_timer_armed(&model->timers[i]), model->due_ms[i] != NEVER);
        if (model->due_ms[i] < earliest) earliest = model->due_ms[i];
    }
    return earliest;
}

static void model_pass(struct model *model)
{
    for (size_t i = 0; i < MODEL_TIMERS; i++) model->next_pass[i] = false;
    for (wr_timer *timer; (timer = wr_wheel_take(&model->wheel, model->now_ms));) {
        size_t i = (size_t)(timer - model->timers);
        cr_assert_leq(model->due_ms[i], model->now_ms, "early, twice, or disarmed");
        cr_assert_not(model->next_pass[i], "armed in this pass for the past");
        model->due_ms[i] = NEVER;
        model->fired++;
        if (below(model, 3) == 0) model_change(model); /* as a callback does */
    }
    uint64_t earliest = model_earliest(model);
    bool waiting = false;
    for (size_t i = 0; i < MODEL_TIMERS; i++) {
        if (model->due_ms[i] > model->now_ms) continue;
        cr_assert(model->next_pass[i], "lost: due at %llu, now %llu", (unsigned long long)model->due_ms[i],
                  (unsigned long long)model->now_ms);
        waiting = true;
    }
    uint64_t wake = wr_wheel_next_ms(&model->wheel);
    if (waiting)
        cr_assert_eq(wake, model->now_ms);
    else if (earliest == NEVER)
        cr_assert_eq(wake, NEVER);
    else
        cr_assert(wake > model->now_ms && wake <= earliest);
}

Test(timer, the_wheel_does_what_a_list_would_do, .timeout = 60)
{
    enum { RUNS = 60, STEPS = 2000 };
    static struct model model;
    unsigned fired = 0;
    for (uint64_t run = 1; run <= RUNS; run++) {
        memset(&model, 0, sizeof model);
        for (size_t i = 0; i < MODEL_TIMERS; i++) model.due_ms[i] = NEVER;
        model.seed = run;
        model.now_ms = random_next(&model.seed) >> (20 + run % 44);
        wr_wheel_init(&model.wheel, model.now_ms);
        for (int step = 0; step < STEPS; step++) {
            for (uint64_t changes = below(&model, 6); changes > 0; changes--) model_change(&model);
            uint64_t wake = wr_wheel_next_ms(&model.wheel);
            if (below(&model, 2) == 0 && wake != NEVER)
                model.now_ms = wake; /* as the worker does */
            else
                model.now_ms += random_next(&model.seed) >> (24 + below(&model, 40));
            model_pass(&model);
        }
        fired += model.fired;
    }
    cr_assert_gt(fired, RUNS * STEPS / 4, "only %u fired: the run proves little", fired);
}
