/* What runs on a worker, at once or at its time, on a clock that is exact. */
#include "sim/swarm.h"

/* ---- posts ---- */

static void post(swarm *s, uint64_t delay_ms)
{
    swarm_runtime *runtime = swarm_choose_runtime(s, true);
    if (!runtime || s->made_posts == SWARM_POSTS) return;
    unsigned worker = (unsigned)choose(&s->from, runtime->worker_count);
    swarm_post *made = &s->posts[s->made_posts];
    *made = (swarm_post){ .runtime = runtime,
                          .worker = worker,
                          .order = runtime->workers[worker].posted,
                          .delay_ms = delay_ms,
                          .due_ns = swarm_now(s) + delay_ms * SWARM_MS };
    int error = delay_ms ? weir_post_after(runtime->runtime, worker, delay_ms, callback_posted, made)
                         : weir_post(runtime->runtime, worker, callback_posted, made);
    SWARM_CHECK(s,
                error == 0 || (error == WEIR_ENOMEM && s->ever[WEIR_SIM_ENOMEM]) ||
                    (error == WEIR_ESTOPPED && runtime->stopping),
                "weir_post returns %s", weir_error_name(error));
    if (error) return;
    s->made_posts++;
    if (delay_ms == 0) runtime->workers[worker].posted++;
}

void clock_post(swarm *s, swarm_end *end)
{
    (void)end;
    post(s, 0);
}

void clock_post_after(swarm *s, swarm_end *end)
{
    (void)end;
    post(s, choose_from(&s->from, 1, 3000));
}

/* ---- strands ---- */

static bool can_be_used(const swarm_strand *strand)
{
    return strand->strand && strand->runtime->runtime && !strand->runtime->dying;
}

static swarm_strand *choose_strand(swarm *s)
{
    if (s->made_strands == 0) return NULL;
    swarm_strand *strand = &s->strands[choose(&s->from, s->made_strands)];
    return can_be_used(strand) ? strand : NULL;
}

void clock_make_strand(swarm *s, swarm_end *end)
{
    (void)end;
    swarm_runtime *runtime = swarm_choose_runtime(s, true);
    if (!runtime || s->made_strands == SWARM_STRANDS) return;
    swarm_strand *strand = &s->strands[s->made_strands];
    *strand = (swarm_strand){ .runtime = runtime, .number = s->made_strands };
    strand->max_queued = (uint32_t)choose_from(&s->from, 1, 20);
    weir_strand_options options = { .max_queued = strand->max_queued };
    int error = weir_strand_create(runtime->runtime, &options, &strand->strand);
    SWARM_CHECK(s, error == 0 || (error == WEIR_ENOMEM && s->ever[WEIR_SIM_ENOMEM]), "weir_strand_create returns %s",
                weir_error_name(error));
    if (error == 0) s->made_strands++;
}

void clock_destroy_strand(swarm *s, swarm_end *end)
{
    (void)end;
    swarm_strand *strand = choose_strand(s);
    if (!strand) return;
    swarm_say(s, "strand %u: weir_strand_destroy", strand->number);
    weir_strand_destroy(strand->strand);
    strand->strand = NULL;
}

static void run_task(weir_runtime *runtime, void *data)
{
    const swarm_task *task = data;
    swarm_strand *strand = task->strand;
    swarm *s = strand->runtime->s;
    callback_enter(s, "strand's function");
    SWARM_CHECK(s, runtime == strand->runtime->runtime && !strand->running,
                "strand %u runs twice at once, or elsewhere", strand->number);
    SWARM_CHECK(s, task->order == strand->ran, "strand %u runs number %u after %u others", strand->number, task->order,
                strand->ran);
    strand->running = true;
    strand->ran++;
    if (!s->quiet && choose(&s->from, 2)) swarm_act(s, INSIDE, NULL);
    strand->running = false;
    callback_leave(s);
}

void clock_post_to_strand(swarm *s, swarm_end *end)
{
    (void)end;
    swarm_strand *strand = choose_strand(s);
    if (!strand) return;
    for (uint64_t n = choose(&s->from, 8); n > 0 && s->made_tasks < SWARM_TASKS; n--) {
        swarm_task *task = &s->tasks[s->made_tasks];
        *task = (swarm_task){ .strand = strand, .order = strand->posted };
        int error = weir_strand_post(strand->strand, run_task, task);
        bool is_full = strand->posted - strand->ran == strand->max_queued;
        SWARM_CHECK(s,
                    (error == 0 && !is_full) || (error == WEIR_ELIMIT && is_full) ||
                        (error == WEIR_ENOMEM && s->ever[WEIR_SIM_ENOMEM]) ||
                        (error == WEIR_ESTOPPED && strand->runtime->stopping),
                    "weir_strand_post returns %s, and %u of %u wait", weir_error_name(error),
                    strand->posted - strand->ran, strand->max_queued);
        if (error) return;
        strand->posted++;
        s->made_tasks++;
    }
}

/* ---- ticks ---- */

static uint64_t tick_due_ns(const swarm_tick *tick, uint64_t number)
{
    return number * tick->options.hz_divisor * SWARM_S / tick->options.hz;
}

static void stop_tick(swarm_tick *tick)
{
    swarm *s = tick->runtime->s;
    weir_tick_stats stats;
    swarm_say(s, "tick %u: weir_tick_stop", tick->number);
    weir_tick_report(tick->tick, &stats);
    SWARM_CHECK(s, stats.ticks == tick->count && (tick->count == 0 || stats.ticks + stats.skipped == tick->last),
                "tick %u says that it came %" PRIu64 " times, and its callback %" PRIu64, tick->number, stats.ticks,
                tick->count);
    SWARM_CHECK(s, tick->runtime->manual || stats.late_ns_max == 0, "tick %u was %" PRIu64 " ns late", tick->number,
                stats.late_ns_max);
    weir_tick_stop(tick->tick);
    tick->tick = NULL;
}

static void on_tick(weir_tick *handle, uint64_t number, void *data)
{
    swarm_tick *tick = data;
    swarm *s = tick->runtime->s;
    uint64_t now_ns = swarm_now(s);
    callback_enter(s, "tick");
    SWARM_CHECK(s, tick->tick == handle, "tick %u comes after it was stopped", tick->number);
    SWARM_CHECK(s, weir_tick_runtime(handle) == tick->runtime->runtime, "tick %u has another runtime", tick->number);
    if (tick->runtime->manual) { /* whoever polls may come late */
        SWARM_CHECK(s, number > tick->last, "tick %u counts %" PRIu64 " after %" PRIu64, tick->number, number,
                    tick->last);
    } else {
        if (tick->count == 0) tick->start_ns = now_ns - tick_due_ns(tick, 1);
        SWARM_CHECK(s, number == tick->last + 1, "tick %u counts %" PRIu64 " after %" PRIu64, tick->number, number,
                    tick->last);
        SWARM_CHECK(s, now_ns == tick->start_ns + tick_due_ns(tick, number),
                    "tick %u has number %" PRIu64 " at another time than its rate says", tick->number, number);
    }
    tick->last = number;
    tick->count++;
    if (!s->quiet && choose(&s->from, 4) == 0) swarm_act(s, INSIDE, NULL);
    if (tick->tick && choose(&s->from, 64) == 0) stop_tick(tick);
    callback_leave(s);
}

void clock_start_tick(swarm *s, swarm_end *end)
{
    (void)end;
    swarm_runtime *runtime = swarm_choose_runtime(s, true);
    if (!runtime || s->made_ticks == SWARM_TICKS) return;
    choice *from = &s->from;
    swarm_tick *tick = &s->ticks[s->made_ticks];
    *tick = (swarm_tick){ .runtime = runtime, .number = s->made_ticks };
    tick->options = (weir_tick_options){ .hz = (uint32_t)choose_from(from, 1, 60),
                                         .hz_divisor = (uint32_t)choose_from(from, 1, 20),
                                         .worker = (unsigned)choose(from, runtime->worker_count),
                                         .catch_up = (uint32_t)choose(from, 4),
                                         .on_tick = on_tick,
                                         .data = tick };
    int error = weir_tick_start(runtime->runtime, &tick->options, &tick->tick);
    SWARM_CHECK(s,
                error == 0 || (error == WEIR_ENOMEM && s->ever[WEIR_SIM_ENOMEM]) ||
                    (error == WEIR_ESTOPPED && runtime->stopping),
                "weir_tick_start returns %s", weir_error_name(error));
    if (error) return;
    s->made_ticks++;
    swarm_say(s, "tick %u: of runtime %u, %u Hz / %u", tick->number, runtime->number, tick->options.hz,
              tick->options.hz_divisor);
}

static bool is_alive(const swarm_tick *tick)
{
    return tick->tick && tick->runtime->runtime && !tick->runtime->dying;
}

void clock_stop_tick(swarm *s, swarm_end *end)
{
    (void)end;
    if (s->made_ticks == 0) return;
    swarm_tick *tick = &s->ticks[choose(&s->from, s->made_ticks)];
    if (is_alive(tick)) stop_tick(tick);
}

/* ---- timers ---- */

static void set_due(swarm_timer *timer, uint64_t delay_ms)
{
    timer->is_armed = true;
    timer->due_ns = swarm_now(timer->runtime->s) + delay_ms * SWARM_MS;
}

static void free_timer(swarm_timer *timer)
{
    swarm_say(timer->runtime->s, "timer %u: weir_timer_free", timer->number);
    weir_timer_free(timer->timer);
    timer->timer = NULL;
}

/* What a callback may do with its own. */
static void use_timer(swarm_timer *timer)
{
    swarm *s = timer->runtime->s;
    uint64_t delay_ms = choose(&s->from, 2000);
    switch (choose(&s->from, 8)) {
    case 0:
        weir_timer_cancel(timer->timer);
        timer->is_armed = false;
        break;
    case 1:
        weir_timer_arm(timer->timer, delay_ms);
        set_due(timer, delay_ms);
        break;
    case 2:
        free_timer(timer);
        break;
    default:
        break;
    }
}

static void ring(swarm_timer *timer, weir_timer *handle)
{
    swarm *s = timer->runtime->s;
    uint64_t now_ns = swarm_now(s);
    callback_enter(s, "timer");
    SWARM_CHECK(s, timer->timer == handle, "timer %u rings after it was freed", timer->number);
    SWARM_CHECK(s, timer->is_armed, "timer %u rings, and is not armed", timer->number);
    SWARM_CHECK(s, now_ns >= timer->due_ns, "timer %u rings %" PRIu64 " ns too early", timer->number,
                timer->due_ns - now_ns);
    SWARM_CHECK(s, now_ns <= timer->due_ns + 3 * SWARM_MS || timer->runtime->manual,
                "timer %u rings %" PRIu64 " ns too late", timer->number, now_ns - timer->due_ns);
    timer->is_armed = timer->repeat_ms > 0;
    timer->due_ns += timer->repeat_ms * SWARM_MS;
    if (!s->quiet && choose(&s->from, 4) == 0) swarm_act(s, INSIDE, NULL);
    if (timer->timer && s->quiet)
        free_timer(timer);
    else if (timer->timer)
        use_timer(timer);
    callback_leave(s);
}

static void on_timer(weir_timer *handle, void *data)
{
    ring(data, handle);
}

static void on_conn_timer(weir_conn *conn, weir_timer *handle, void *data)
{
    const swarm_timer *timer = data;
    const swarm_end *end = timer->end;
    SWARM_CHECK(end->s, end->conn == conn && end->state == END_OPEN && !end->asked_close && !end->asked_abort,
                "timer %u of end %u rings, and that is not open", timer->number, end->number);
    ring(data, handle);
}

static void start_timer(swarm *s, swarm_runtime *runtime, swarm_end *end)
{
    if (s->made_timers == SWARM_TIMERS) return;
    choice *from = &s->from;
    swarm_timer *timer = &s->timers[s->made_timers];
    *timer = (swarm_timer){ .runtime = runtime, .end = end, .number = s->made_timers };
    if (choose(from, 2)) timer->repeat_ms = choose_from(from, 20, 2000);
    uint64_t delay_ms = choose(from, 3000);
    unsigned worker = (unsigned)choose(from, runtime->worker_count);
    set_due(timer, delay_ms);
    weir_timer_options of_worker = {
        .delay_ms = delay_ms, .repeat_ms = timer->repeat_ms, .worker = worker, .on_timer = on_timer, .data = timer
    };
    weir_conn_timer_options of_conn = {
        .delay_ms = delay_ms, .repeat_ms = timer->repeat_ms, .on_timer = on_conn_timer, .data = timer
    };
    int error = end ? weir_conn_timer_start(end->conn, &of_conn, &timer->timer)
                    : weir_timer_start(runtime->runtime, &of_worker, &timer->timer);
    SWARM_CHECK(s,
                error == 0 || (error == WEIR_ENOMEM && s->ever[WEIR_SIM_ENOMEM]) ||
                    (error == WEIR_ESTOPPED && !end && runtime->stopping) || (error == WEIR_ECLOSED && end),
                "weir_timer_start returns %s", weir_error_name(error));
    if (error) return;
    s->made_timers++;
    swarm_say(s, "timer %u: in %" PRIu64 " ms, every %" PRIu64, timer->number, delay_ms, timer->repeat_ms);
}

void clock_start_timer(swarm *s, swarm_end *end)
{
    (void)end;
    swarm_runtime *runtime = swarm_choose_runtime(s, true);
    if (runtime) start_timer(s, runtime, NULL);
}

void clock_start_conn_timer(swarm *s, swarm_end *end)
{
    start_timer(s, end->runtime, end);
}

/* One that any thread may free. */
static bool can_be_freed(const swarm_timer *timer)
{
    return timer->timer && !timer->end && timer->runtime->runtime && !timer->runtime->dying;
}

void clock_free_timer(swarm *s, swarm_end *end)
{
    (void)end;
    if (s->made_timers == 0) return;
    swarm_timer *timer = &s->timers[choose(&s->from, s->made_timers)];
    if (can_be_freed(timer)) free_timer(timer);
}

/* ---- all of it ---- */

void clock_calm(swarm *s)
{
    for (unsigned i = 0; i < s->made_ticks; i++)
        if (is_alive(&s->ticks[i])) stop_tick(&s->ticks[i]);
    for (unsigned i = 0; i < s->made_timers; i++) {
        swarm_timer *timer = &s->timers[i];
        if (!can_be_freed(timer)) continue;
        bool is_overdue = timer->is_armed && timer->due_ns + 3 * SWARM_MS < swarm_now(s);
        SWARM_CHECK(s, !is_overdue || timer->runtime->manual || timer->runtime->stopping, "timer %u has not rung",
                    timer->number);
        free_timer(timer);
    }
}

void clock_judge(swarm *s)
{
    for (unsigned i = 0; i < s->made_posts; i++) {
        const swarm_post *post = &s->posts[i];
        if (post->runtime->stopping || !post->runtime->runtime || post->due_ns > swarm_now(s)) continue;
        SWARM_CHECK(s, post->ran, "a post of %" PRIu64 " ms has not run", post->delay_ms);
    }
    for (unsigned i = 0; i < s->made_strands; i++) {
        const swarm_strand *strand = &s->strands[i];
        if (strand->runtime->stopping || !strand->runtime->runtime) continue;
        SWARM_CHECK(s, strand->ran == strand->posted, "strand %u has run %u functions of %u", strand->number,
                    strand->ran, strand->posted);
    }
}

void clock_forget(const swarm_runtime *runtime)
{
    swarm *s = runtime->s;
    for (unsigned i = 0; i < s->made_ticks; i++)
        if (s->ticks[i].runtime == runtime) s->ticks[i].tick = NULL;
    for (unsigned i = 0; i < s->made_timers; i++)
        if (s->timers[i].runtime == runtime) s->timers[i].timer = NULL;
    for (unsigned i = 0; i < s->made_strands; i++)
        if (s->strands[i].runtime == runtime) s->strands[i].strand = NULL;
}

void clock_forget_end(const swarm_end *end)
{
    swarm *s = end->s;
    for (unsigned i = 0; i < s->made_timers; i++)
        if (s->timers[i].end == end) s->timers[i].timer = NULL;
}
