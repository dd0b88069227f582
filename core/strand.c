#include "core/strand.h"

#include <string.h>

#include "core/post.h"
#include "core/runtime.h"
#include "core/worker.h"

enum {
    DEFAULT_MAX_QUEUED = 65536,
    TASKS_A_TURN = 64, /* then others of the worker's have theirs */
};

static void free_strand(weir_strand *strand)
{
    wr_heap_free(&strand->runtime->heap, strand, sizeof *strand);
}

/* The oldest; there is one. */
static wr_task *take(weir_strand *strand)
{
    if (!strand->owner.oldest)
        strand->owner.oldest =
            wr_node_reverse(atomic_exchange_explicit(&strand->shared.newest, NULL, memory_order_acquire));
    wr_node *link = strand->owner.oldest;
    strand->owner.oldest = link->next;
    return WR_CONTAINER_OF(link, wr_task, link);
}

static void finish(weir_strand *strand)
{
    wr_mutex_lock(&strand->runtime->lock);
    *strand->link = strand->next;
    if (strand->next) strand->next->link = strand->link;
    wr_mutex_unlock(&strand->runtime->lock);
    free_strand(strand);
}

/* Who brings `ready` up from 0 posts the turn, and the turn brings it down, so the next one begins after this, and sees
 * what it left: the orders of the counter are what makes a lock needless. */
static void run_turn(wr_worker *worker, wr_message *message)
{
    weir_strand *strand = WR_CONTAINER_OF(message, weir_strand, turn);
    weir_runtime *runtime = strand->runtime;
    uint32_t count = atomic_load_explicit(&strand->shared.ready, memory_order_acquire);
    if (count > TASKS_A_TURN) count = TASKS_A_TURN;
    for (uint32_t i = 0; i < count; i++) {
        wr_task *task = take(strand);
        if (task == &strand->last) {
            finish(strand);
            return;
        }
        weir_post_fn run = task->run;
        void *data = task->data;
        wr_heap_free(&runtime->heap, task,
                     sizeof *task); /* first, so that what runs may use the memory and the place */
        atomic_fetch_sub_explicit(&strand->shared.places, 1, memory_order_relaxed);
        run(runtime, data);
    }
    if (atomic_fetch_sub_explicit(&strand->shared.ready, count, memory_order_acq_rel) > count)
        wr_message_post(worker, message);
}

/* On this thread's worker, which has what it needs in its cache; from elsewhere on each in turn. */
static wr_worker *choose_worker(weir_runtime *runtime)
{
    wr_worker *here = wr_worker_here();
    if (here && here->runtime == runtime) return here;
    uint32_t number = atomic_fetch_add_explicit(&runtime->shared.next_strand, 1, memory_order_relaxed);
    return &runtime->workers[number % runtime->worker_count];
}

static void push(weir_strand *strand, wr_task *task)
{
    wr_node *newest = atomic_load_explicit(&strand->shared.newest, memory_order_relaxed);
    do {
        task->link.next = newest;
    } while (!atomic_compare_exchange_weak_explicit(&strand->shared.newest, &newest, &task->link, memory_order_release,
                                                    memory_order_relaxed));
    if (atomic_fetch_add_explicit(&strand->shared.ready, 1, memory_order_acq_rel) == 0)
        wr_message_post(choose_worker(strand->runtime), &strand->turn);
}

int weir_strand_create(weir_runtime *runtime, const weir_strand_options *options, weir_strand **out)
{
    if (!out) return WEIR_EINVAL;
    weir_strand *strand = wr_heap_alloc(&runtime->heap, sizeof *strand);
    *out = strand;
    if (!strand) return WEIR_ENOMEM;
    memset(strand, 0, sizeof *strand);
    strand->turn.run = run_turn; /* where it is dropped, wr_strands_free finds the strand */
    strand->runtime = runtime;
    strand->max_queued = options && options->max_queued ? options->max_queued : DEFAULT_MAX_QUEUED;
    wr_mutex_lock(&runtime->lock);
    strand->next = runtime->strands;
    strand->link = &runtime->strands;
    if (strand->next) strand->next->link = &strand->next;
    runtime->strands = strand;
    wr_mutex_unlock(&runtime->lock);
    return 0;
}

int weir_strand_post(weir_strand *strand, weir_post_fn run, void *data)
{
    if (!run) return WEIR_EINVAL;
    if (wr_runtime_has_ended(strand->runtime)) return WEIR_ESTOPPED;
    if (!wr_place_take(&strand->shared.places, strand->max_queued)) return WEIR_ELIMIT;
    wr_task *task = wr_heap_alloc(&strand->runtime->heap, sizeof *task);
    if (!task) {
        atomic_fetch_sub_explicit(&strand->shared.places, 1, memory_order_relaxed);
        return WEIR_ENOMEM;
    }
    *task = (wr_task){ .run = run, .data = data };
    push(strand, task);
    return 0;
}

void weir_strand_destroy(weir_strand *strand)
{
    if (strand) push(strand, &strand->last);
}

void wr_strands_free(weir_runtime *runtime)
{
    for (weir_strand *strand; (strand = runtime->strands);) {
        runtime->strands = strand->next;
        while (strand->owner.oldest || atomic_load_explicit(&strand->shared.newest, memory_order_relaxed)) {
            wr_task *task = take(strand);
            if (task != &strand->last) wr_heap_free(&runtime->heap, task, sizeof *task);
        }
        free_strand(strand);
    }
}
