#include "core/resolver.h"

#include <stdlib.h>
#include <string.h>

#include "core/runtime.h"
#include "core/sim.h"

enum { PATIENCE_MS = 1000 };

/* From malloc, and without a pointer to the runtime: its thread may outlive that. */
struct wr_resolver {
    wr_mutex lock;
    wr_cond changed;
    wr_lookup *first, *last;
    uint32_t count;     /* that wait */
    wr_lookup *current; /* what the thread is at; NULL: nothing, or it was cancelled */
    bool ending;
    bool ended;       /* the thread has nothing to do with it any more */
    bool left_behind; /* the thread frees it */
    wr_thread thread;
    char name[WR_NAME_MAX + 1]; /* the thread's own, so that a cancelled lookup may go */
};

/* ---- answers ---- */

static void answer(wr_lookup *lookup, int error, int system_error)
{
    lookup->error = error;
    lookup->system_error = system_error;
    lookup->pending = false;
    wr_message_post(lookup->worker, &lookup->answered);
}

static void answer_found(wr_lookup *lookup, const wr_addr *addresses, int count, int system_error)
{
    if (count > 0) {
        memcpy(lookup->addresses, addresses, (size_t)count * sizeof *addresses);
        lookup->count = (unsigned)count;
    }
    answer(lookup, count > 0 ? 0 : count, system_error);
}

/* ---- the thread ---- */

static void free_resolver(wr_resolver *resolver)
{
    wr_cond_destroy(&resolver->changed);
    wr_mutex_destroy(&resolver->lock);
    free(resolver);
}

static wr_lookup *take(wr_resolver *resolver)
{
    wr_lookup *lookup = resolver->first;
    if (!lookup) return NULL;
    resolver->first = lookup->next;
    if (!resolver->first) resolver->last = NULL;
    resolver->count--;
    return lookup;
}

/* Gives the lock back while the system thinks. */
static void serve(wr_resolver *resolver, wr_lookup *lookup)
{
    wr_addr addresses[WR_LOOKUP_ADDRESSES];
    int system_error;
    enum wr_family family = lookup->family;
    memcpy(resolver->name, lookup->name, strlen(lookup->name) + 1);
    resolver->current = lookup;
    wr_mutex_unlock(&resolver->lock);
    int count = wr_os_resolve(resolver->name, family, addresses, WR_LOOKUP_ADDRESSES, &system_error);
    wr_mutex_lock(&resolver->lock);
    if (resolver->current) answer_found(resolver->current, addresses, count, system_error);
    resolver->current = NULL;
}

static void resolver_main(void *arg)
{
    wr_resolver *resolver = arg;
    wr_mutex_lock(&resolver->lock);
    while (!resolver->ending) {
        wr_lookup *lookup = take(resolver);
        if (lookup)
            serve(resolver, lookup);
        else
            wr_cond_wait(&resolver->changed, &resolver->lock);
    }
    bool left_behind = resolver->left_behind;
    resolver->ended = true;
    wr_cond_wake(&resolver->changed);
    wr_mutex_unlock(&resolver->lock);
    if (left_behind) free_resolver(resolver);
}

static int start(wr_resolver **out)
{
    wr_resolver *resolver = calloc(1, sizeof *resolver);
    if (!resolver) return WEIR_ENOMEM;
    wr_mutex_init(&resolver->lock);
    wr_cond_init(&resolver->changed);
    int error = wr_thread_start(&resolver->thread, "weir-resolver", resolver_main, resolver);
    if (error)
        free_resolver(resolver);
    else
        *out = resolver;
    return error;
}

void wr_resolver_destroy(wr_resolver *resolver)
{
    if (!resolver) return;
    uint64_t until_ns = wr_os_now_ns() + UINT64_C(1000000) * PATIENCE_MS;
    wr_mutex_lock(&resolver->lock);
    resolver->ending = true;
    wr_cond_wake(&resolver->changed);
    for (uint64_t now_ns; !resolver->ended && (now_ns = wr_os_now_ns()) < until_ns;)
        wr_cond_wait_ms(&resolver->changed, &resolver->lock, (uint32_t)((until_ns - now_ns) / 1000000 + 1));
    bool ended = resolver->ended;
    resolver->left_behind = !ended;
    if (!ended) wr_thread_detach(&resolver->thread); /* under the lock: after it the thread may be gone, and this too */
    wr_mutex_unlock(&resolver->lock);
    if (!ended) return;
    wr_thread_join(&resolver->thread);
    free_resolver(resolver);
}

/* ---- the simulator's ---- */

static void ask_world(wr_worker *worker, wr_lookup *lookup)
{
    uint32_t delay_ms = wr_sim_resolve_delay_ms(worker->runtime->options.sim);
    lookup->delay = (wr_timer){ .tag = WR_TIMER_LOOKUP };
    wr_wheel_arm(&worker->owner.wheel, &lookup->delay, worker->owner.now_ms + delay_ms);
}

void wr_lookup_expire(wr_timer *timer)
{
    wr_lookup *lookup = WR_CONTAINER_OF(timer, wr_lookup, delay);
    wr_addr addresses[WR_LOOKUP_ADDRESSES];
    weir_sim *sim = lookup->worker->runtime->options.sim;
    int count = wr_sim_resolve(sim, lookup->name, lookup->family, addresses, WR_LOOKUP_ADDRESSES);
    answer_found(lookup, addresses, count, 0);
}

static void cancel_in_world(wr_lookup *lookup)
{
    if (!lookup->pending) return;
    wr_wheel_disarm(&lookup->worker->owner.wheel, &lookup->delay);
    answer(lookup, WEIR_ECANCELED, 0);
}

/* ---- asking ---- */

/* The runtime's, which the first to ask makes. */
static int find_resolver(weir_runtime *runtime, wr_resolver **out)
{
    int error = 0;
    wr_mutex_lock(&runtime->lock);
    if (!runtime->resolver) error = start(&runtime->resolver);
    *out = runtime->resolver;
    wr_mutex_unlock(&runtime->lock);
    return error;
}

static int enqueue(wr_resolver *resolver, wr_lookup *lookup, uint32_t max_lookups)
{
    if (resolver->count >= max_lookups) return WEIR_ELIMIT;
    if (resolver->last)
        resolver->last->next = lookup;
    else
        resolver->first = lookup;
    resolver->last = lookup;
    resolver->count++;
    wr_cond_wake(&resolver->changed);
    return 0;
}

void wr_resolver_ask(wr_worker *worker, wr_lookup *lookup)
{
    lookup->worker = worker;
    lookup->next = NULL;
    lookup->count = 0;
    lookup->pending = true;
    if (worker->runtime->options.sim) {
        ask_world(worker, lookup);
        return;
    }
    wr_resolver *resolver;
    int error = find_resolver(worker->runtime, &resolver);
    if (error) {
        answer(lookup, error, 0);
        return;
    }
    wr_mutex_lock(&resolver->lock);
    error = enqueue(resolver, lookup, worker->runtime->options.max_lookups);
    if (error) answer(lookup, error, 0);
    wr_mutex_unlock(&resolver->lock);
}

static void unlink_lookup(wr_resolver *resolver, const wr_lookup *lookup)
{
    wr_lookup *before = NULL, *item = resolver->first;
    for (; item && item != lookup; item = item->next) before = item;
    if (!item) return;
    if (before)
        before->next = item->next;
    else
        resolver->first = item->next;
    if (resolver->last == item) resolver->last = before;
    resolver->count--;
}

void wr_resolver_cancel(wr_lookup *lookup)
{
    weir_runtime *runtime = lookup->worker->runtime;
    if (runtime->options.sim) {
        cancel_in_world(lookup);
        return;
    }
    /* Where none could be started there is nothing pending, and no lock. */
    wr_mutex_lock(&runtime->lock);
    wr_resolver *resolver = runtime->resolver;
    wr_mutex_unlock(&runtime->lock);
    if (!resolver) return;
    wr_mutex_lock(&resolver->lock);
    if (lookup->pending) {
        if (resolver->current == lookup)
            resolver->current = NULL;
        else
            unlink_lookup(resolver, lookup);
        answer(lookup, WEIR_ECANCELED, 0);
    }
    wr_mutex_unlock(&resolver->lock);
}
