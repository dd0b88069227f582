#include "core/post.h"

#include "core/runtime.h"

typedef struct wr_posted {
    wr_message message;
    wr_timer timer; /* armed on the worker, if there is a delay */
    uint64_t delay_ms;
    weir_post_fn run;
    void *data;
} wr_posted;

static void free_posted(wr_worker *worker, wr_posted *posted)
{
    wr_heap_free(&worker->runtime->heap, posted, sizeof *posted);
}

static void run_posted(wr_worker *worker, wr_posted *posted)
{
    weir_post_fn run = posted->run;
    void *data = posted->data;
    free_posted(worker, posted); /* first, so that what runs may use the memory */
    run(worker->runtime, data);
}

static void arrive(wr_worker *worker, wr_message *message)
{
    wr_posted *posted = WR_CONTAINER_OF(message, wr_posted, message);
    atomic_fetch_sub_explicit(&worker->shared.posted, 1, memory_order_relaxed);
    if (posted->delay_ms == 0) {
        run_posted(worker, posted);
        return;
    }
    /* This pass may have begun before the call, up to a millisecond of the clock earlier: hence the one more. */
    wr_wheel_arm(&worker->owner.wheel, &posted->timer, worker->owner.now_ms + posted->delay_ms + 1);
}

static void drop(wr_worker *worker, wr_message *message)
{
    free_posted(worker, WR_CONTAINER_OF(message, wr_posted, message));
}

void wr_delayed_run(wr_worker *worker, wr_timer *timer)
{
    run_posted(worker, WR_CONTAINER_OF(timer, wr_posted, timer));
}

void wr_delayed_drop(wr_worker *worker, wr_timer *timer)
{
    free_posted(worker, WR_CONTAINER_OF(timer, wr_posted, timer));
}

int weir_post_after(weir_runtime *runtime, unsigned worker, uint64_t delay_ms, weir_post_fn run, void *data)
{
    if (worker >= runtime->worker_count || !run) return WEIR_EINVAL;
    if (atomic_load_explicit(&runtime->shared.ended, memory_order_acquire)) return WEIR_ESTOPPED;
    _Atomic uint32_t *places = &runtime->workers[worker].shared.posted;
    if (!wr_place_take(places, runtime->options.max_posts)) return WEIR_ELIMIT;
    wr_posted *posted = wr_heap_alloc(&runtime->heap, sizeof *posted);
    if (!posted) {
        atomic_fetch_sub_explicit(places, 1, memory_order_relaxed);
        return WEIR_ENOMEM;
    }
    if (delay_ms > WR_TIMER_MAX_MS / 2) delay_ms = WR_TIMER_MAX_MS / 2; /* a million years */
    *posted = (wr_posted){ .message = { .run = arrive, .drop = drop },
                           .timer = { .tag = WR_TIMER_DELAYED },
                           .delay_ms = delay_ms,
                           .run = run,
                           .data = data };
    wr_message_post(&runtime->workers[worker], &posted->message);
    return 0;
}

int weir_post(weir_runtime *runtime, unsigned worker, weir_post_fn run, void *data)
{
    return weir_post_after(runtime, worker, 0, run, data);
}
