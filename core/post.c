#include "core/post.h"

#include "core/runtime.h"

typedef struct wr_posted {
    wr_message message;
    weir_post_fn run;
    void *data;
} wr_posted;

/* One with a delay: its worker arms the timer when it arrives. */
typedef struct wr_delayed {
    wr_posted posted; /* first */
    wr_timer timer;
    uint64_t delay_ms;
} wr_delayed;

/* First out of the memory, so that what runs may use it. */
static void run_and_free(wr_worker *worker, const wr_posted *posted, void *block, size_t size)
{
    weir_post_fn run = posted->run;
    void *data = posted->data;
    wr_heap_free(&worker->runtime->heap, block, size);
    run(worker->runtime, data);
}

/* Signed: later posts may have arrived since `before` was read. */
static bool is_within(uint64_t before, uint64_t arrived, uint32_t most)
{
    return (int64_t)(before - arrived) < (int64_t)most;
}

/* A place among max_posts. Who posts looks at what has arrived only when there seems to be no room: else that number's
 * cache line would come over for each post, and go back for each that arrives. */
static bool enter(wr_worker *worker, uint32_t most)
{
    uint64_t before = atomic_fetch_add_explicit(&worker->shared.posts, 1, memory_order_relaxed);
    uint64_t arrived = atomic_load_explicit(&worker->shared.posts_seen, memory_order_relaxed);
    if (is_within(before, arrived, most)) return true;
    arrived = atomic_load_explicit(&worker->posts_arrived, memory_order_relaxed);
    atomic_store_explicit(&worker->shared.posts_seen, arrived, memory_order_relaxed);
    if (is_within(before, arrived, most)) return true;
    atomic_fetch_sub_explicit(&worker->shared.posts, 1, memory_order_relaxed);
    return false;
}

/* Before what has been posted runs: its place is free for what that posts. */
static void leave(wr_worker *worker)
{
    wr_add(&worker->posts_arrived, 1);
}

static void run_posted(wr_worker *worker, wr_message *message)
{
    wr_posted *posted = WR_CONTAINER_OF(message, wr_posted, message);
    leave(worker);
    run_and_free(worker, posted, posted, sizeof *posted);
}

static void drop_posted(wr_worker *worker, wr_message *message)
{
    wr_posted *posted = WR_CONTAINER_OF(message, wr_posted, message);
    wr_heap_free(&worker->runtime->heap, posted, sizeof *posted);
}

/* This pass may have begun before the call, up to a millisecond of the clock earlier: hence the one more. */
static void arm_delayed(wr_worker *worker, wr_message *message)
{
    wr_delayed *delayed = WR_CONTAINER_OF(message, wr_delayed, posted.message);
    leave(worker);
    wr_wheel_arm(&worker->owner.wheel, &delayed->timer, worker->owner.now_ms + delayed->delay_ms + 1);
}

static void drop_delayed(wr_worker *worker, wr_message *message)
{
    wr_delayed *delayed = WR_CONTAINER_OF(message, wr_delayed, posted.message);
    wr_heap_free(&worker->runtime->heap, delayed, sizeof *delayed);
}

void wr_delayed_run(wr_worker *worker, wr_timer *timer)
{
    wr_delayed *delayed = WR_CONTAINER_OF(timer, wr_delayed, timer);
    run_and_free(worker, &delayed->posted, delayed, sizeof *delayed);
}

void wr_delayed_drop(wr_worker *worker, wr_timer *timer)
{
    wr_delayed *delayed = WR_CONTAINER_OF(timer, wr_delayed, timer);
    wr_heap_free(&worker->runtime->heap, delayed, sizeof *delayed);
}

/* A block for one of the worker's posts, which has a place among max_posts. NULL: `*error` says why. */
static void *take_place(weir_runtime *runtime, unsigned worker, weir_post_fn run, size_t size, int *error)
{
    *error = WEIR_EINVAL;
    if (worker >= runtime->worker_count || !run) return NULL;
    *error = WEIR_ESTOPPED;
    if (atomic_load_explicit(&runtime->shared.ended, memory_order_acquire)) return NULL;
    *error = WEIR_ELIMIT;
    if (!enter(&runtime->workers[worker], runtime->options.max_posts)) return NULL;
    *error = WEIR_ENOMEM;
    void *block = wr_heap_alloc(&runtime->heap, size);
    if (!block) atomic_fetch_sub_explicit(&runtime->workers[worker].shared.posts, 1, memory_order_relaxed);
    return block;
}

int weir_post_after(weir_runtime *runtime, unsigned worker, uint64_t delay_ms, weir_post_fn run, void *data)
{
    if (delay_ms == 0) return weir_post(runtime, worker, run, data);
    int error;
    wr_delayed *delayed = take_place(runtime, worker, run, sizeof *delayed, &error);
    if (!delayed) return error;
    if (delay_ms > WR_TIMER_MAX_MS / 2) delay_ms = WR_TIMER_MAX_MS / 2; /* a million years */
    *delayed =
        (wr_delayed){ .posted = { .message = { .run = arm_delayed, .drop = drop_delayed }, .run = run, .data = data },
                      .timer = { .tag = WR_TIMER_DELAYED },
                      .delay_ms = delay_ms };
    wr_message_post(&runtime->workers[worker], &delayed->posted.message);
    return 0;
}

int weir_post(weir_runtime *runtime, unsigned worker, weir_post_fn run, void *data)
{
    int error;
    wr_posted *posted = take_place(runtime, worker, run, sizeof *posted, &error);
    if (!posted) return error;
    *posted = (wr_posted){ .message = { .run = run_posted, .drop = drop_posted }, .run = run, .data = data };
    wr_message_post(&runtime->workers[worker], &posted->message);
    return 0;
}
