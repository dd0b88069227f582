#include "core/tick.h"

#include <string.h>

#include "core/runtime.h"

enum { NS_PER_S = 1000000000, HZ_MAX = 10000 };

/* Each product fits: both parts of a rate have 32 bits, and a remainder of a division by hz is less than hz. */
uint64_t wr_rate_due_ns(wr_rate rate, uint64_t number)
{
    uint64_t rest = number % rate.hz * rate.divisor; /* in units of a second / hz */
    uint64_t seconds = number / rate.hz * rate.divisor + rest / rate.hz;
    return seconds * NS_PER_S + rest % rate.hz * NS_PER_S / rate.hz;
}

/* The largest n with n * divisor * 1e9 / hz < elapsed + 1, the inverse of the above with its rounding. */
uint64_t wr_rate_newest(wr_rate rate, uint64_t elapsed_ns)
{
    uint64_t end = elapsed_ns + 1;
    uint64_t whole = end / NS_PER_S * rate.hz, part = end % NS_PER_S * rate.hz;
    return (part ? whole + (part - 1) / NS_PER_S : whole - 1) / rate.divisor;
}

static uint64_t due_ns(const weir_tick *tick, uint64_t number)
{
    return tick->owner.start_ns + wr_rate_due_ns(tick->rate, number);
}

static bool is_stopped(const weir_tick *tick)
{
    return atomic_load_explicit(&tick->shared.stopped, memory_order_relaxed);
}

static void run_one(weir_tick *tick, uint64_t number)
{
    wr_counters *counters = &tick->worker->counters;
    uint64_t began_ns = wr_cq_now(tick->worker->cq);
    uint64_t late_ns = began_ns - due_ns(tick, number);
    wr_histogram_add(&tick->counters.late, late_ns);
    wr_histogram_add(&counters->tick_late, late_ns);
    wr_raise(&tick->counters.late_ns_max, late_ns);
    wr_add(&counters->ticks, 1);
    tick->run(tick, number, tick->data);
    uint64_t ended_ns = wr_cq_now(tick->worker->cq);
    wr_add(&tick->counters.callback_ns_sum, ended_ns - began_ns);
    wr_raise(&tick->counters.callback_ns_max, ended_ns - began_ns);
    wr_raise(&counters->tick_ns_max, ended_ns - began_ns);
    if (ended_ns < due_ns(tick, number + 1)) return;
    wr_add(&tick->counters.overruns, 1);
    wr_add(&counters->tick_overruns, 1);
}

static unsigned run_due(weir_tick *tick)
{
    uint64_t elapsed_ns = wr_cq_now(tick->worker->cq) - tick->owner.start_ns;
    uint64_t newest = wr_rate_newest(tick->rate, elapsed_ns);
    uint64_t missed = newest - tick->owner.next;
    if (missed > tick->catch_up) {
        uint64_t skipped = missed - tick->catch_up;
        tick->owner.next += skipped;
        wr_add(&tick->counters.skipped, skipped);
        wr_add(&tick->worker->counters.ticks_skipped, skipped);
    }
    unsigned count = 0;
    for (; tick->owner.next <= newest && !is_stopped(tick); count++) run_one(tick, tick->owner.next++);
    return count;
}

unsigned wr_ticks_run(wr_worker *worker)
{
    wr_deadlines *ticks = &worker->owner.ticks;
    unsigned count = 0;
    /* What has run is due after now, so this ends. What was stopped stays out: its message comes for it. */
    while (wr_deadlines_next_ns(ticks) <= worker->owner.now_ns) {
        weir_tick *tick = WR_CONTAINER_OF(ticks->first, weir_tick, owner.deadline);
        wr_deadlines_remove(ticks, &tick->owner.deadline);
        count += run_due(tick);
        if (!is_stopped(tick)) wr_deadlines_add(ticks, &tick->owner.deadline, due_ns(tick, tick->owner.next));
    }
    return count;
}

static void free_tick(weir_tick *tick)
{
    wr_heap_free(&tick->worker->runtime->heap, tick, sizeof *tick);
}

void wr_ticks_drop(wr_worker *worker)
{
    for (wr_deadline *first; (first = worker->owner.ticks.first);) {
        wr_deadlines_remove(&worker->owner.ticks, first);
        free_tick(WR_CONTAINER_OF(first, weir_tick, owner.deadline));
    }
}

/* Also on a worker that has ended: there it never runs, but is freed with the others. */
static void begin(wr_worker *worker, wr_message *message)
{
    weir_tick *tick = WR_CONTAINER_OF(message, weir_tick, start);
    tick->owner.start_ns = worker->owner.now_ns + tick->delay_us * UINT64_C(1000);
    tick->owner.next = 1;
    wr_deadlines_add(&worker->owner.ticks, &tick->owner.deadline, due_ns(tick, 1));
}

static void end(wr_worker *worker, wr_message *message)
{
    weir_tick *tick = WR_CONTAINER_OF(message, weir_tick, stop);
    wr_deadlines_remove(&worker->owner.ticks, &tick->owner.deadline);
    free_tick(tick);
}

static int check_options(const weir_runtime *runtime, const weir_tick_options *options)
{
    uint64_t divisor = options->hz_divisor ? options->hz_divisor : 1;
    if (options->worker >= runtime->worker_count || !options->on_tick) return WEIR_EINVAL;
    return options->hz == 0 || options->hz > HZ_MAX * divisor ? WEIR_EINVAL : 0;
}

int weir_tick_start(weir_runtime *runtime, const weir_tick_options *options, weir_tick **out)
{
    if (out) *out = NULL;
    if (!options || check_options(runtime, options) != 0) return WEIR_EINVAL;
    if (wr_runtime_has_ended(runtime)) return WEIR_ESTOPPED;
    weir_tick *tick = wr_heap_alloc(&runtime->heap, sizeof *tick);
    if (!tick) return WEIR_ENOMEM;
    memset(tick, 0, sizeof *tick);
    tick->start = (wr_message){ .run = begin, .drop = begin };
    tick->stop = (wr_message){ .run = end, .drop = end };
    tick->worker = &runtime->workers[options->worker];
    tick->run = options->on_tick;
    tick->data = options->data;
    tick->rate = (wr_rate){ options->hz, options->hz_divisor ? options->hz_divisor : 1 };
    tick->catch_up = options->catch_up;
    tick->delay_us = options->delay_us;
    wr_message_post(tick->worker, &tick->start);
    if (out) *out = tick;
    return 0;
}

void weir_tick_stop(weir_tick *tick)
{
    /* The second of two calls in one callback finds the first. */
    if (!tick || atomic_exchange_explicit(&tick->shared.stopped, true, memory_order_relaxed)) return;
    wr_message_post(tick->worker, &tick->stop);
}

static uint64_t load(const _Atomic uint64_t *counter)
{
    return atomic_load_explicit(counter, memory_order_relaxed);
}

void weir_tick_report(const weir_tick *tick, weir_tick_stats *out)
{
    *out = (weir_tick_stats){ .skipped = load(&tick->counters.skipped),
                              .overruns = load(&tick->counters.overruns),
                              .late_ns_max = load(&tick->counters.late_ns_max),
                              .callback_ns_sum = load(&tick->counters.callback_ns_sum),
                              .callback_ns_max = load(&tick->counters.callback_ns_max) };
    wr_histogram_read(&tick->counters.late, out->late_us, &out->late_ns_sum);
    for (int i = 0; i < WEIR_STATS_BUCKETS; i++) out->ticks += out->late_us[i];
}

weir_runtime *weir_tick_runtime(const weir_tick *tick)
{
    return tick->worker->runtime;
}
