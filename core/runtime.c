#include "core/runtime.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <weir/version.h>

#include "core/dialer.h"
#include "core/group.h"
#include "core/inbox.h"
#include "core/listener.h"
#include "core/log.h"
#include "core/sim.h"
#include "core/strand.h"
#include "core/udp.h"

enum {
    DEFAULT_STOP_TIMEOUT_MS = 5000,
    DEFAULT_GROUP_BACKLOG = 64 << 20,
    DEFAULT_MAX_POSTS = 1 << 18, /* 25 MB of them a worker */
    DEFAULT_MAX_LOOKUPS = 1024,
    SPARE_DESCRIPTORS = 64,       /* for all that is no connection: queues, listeners, the embedder's files */
    PREGROWN_DESCRIPTORS = 65536, /* of a generous limit, as many are prepared: half a megabyte of kernel memory */
    LOG_LINE_MAX = 512,
    POLL_PASSES_MAX = 16,
    DRIVE_TURN_NS = 1000000,
    SIM_CONNECTIONS_MAX = 1 << 20, /* where there are no descriptors */
};

const char *weir_version(void)
{
    return WEIR_VERSION;
}

void weir_sleep_ms(uint32_t ms)
{
    wr_os_sleep_ms(ms);
}

uint64_t weir_now_ns(const weir_runtime *runtime)
{
    return runtime->options.sim ? weir_sim_now_ns(runtime->options.sim) : wr_os_now_ns();
}

void wr_log(const weir_runtime *runtime, weir_log_level level, const char *format, ...)
{
    if (!runtime->options.log) return;
    char line[LOG_LINE_MAX];
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(line, sizeof line, format, arguments);
    va_end(arguments);
    runtime->options.log(level, line, runtime->options.log_data);
}

/* Counters that all workers share. They are touched twice a connection, never on the way of a byte. */

uint64_t wr_runtime_draw(const weir_runtime *runtime, uint64_t bound)
{
    return runtime->options.sim ? wr_sim_draw(runtime->options.sim->world, bound) : wr_os_random() % bound;
}

void wr_runtime_worker_drained(weir_runtime *runtime)
{
    if (atomic_fetch_sub_explicit(&runtime->shared.undrained, 1, memory_order_acq_rel) != 1) return;
    for (unsigned i = 0; i < runtime->worker_count; i++)
        wr_message_post(&runtime->workers[i], &runtime->workers[i].finish);
}

/* Creation. */

static int check_options(const weir_runtime_options *options)
{
    if (options->workers > WR_WORKERS_MAX) return WEIR_EINVAL;
    if (options->manual && options->workers > 1) return WEIR_EINVAL;
    if (options->allocator && (!options->allocator->alloc || !options->allocator->free)) return WEIR_EINVAL;
    return 0;
}

/* The descriptor table is grown here, once: while it doubles under load, in a process of several threads, accept stalls
 * for milliseconds (15.9 ms were measured at 19,000 connections; 0.07 ms when grown beforehand). */
static int prepare_descriptors(weir_runtime *runtime)
{
    weir_runtime_options *options = &runtime->options;
    if (options->sim) {
        if (!options->max_connections) options->max_connections = SIM_CONNECTIONS_MAX;
        return 0;
    }
    uint32_t limit = wr_os_descriptor_limit();
    if (options->max_connections) {
        uint64_t wanted = (uint64_t)options->max_connections + SPARE_DESCRIPTORS + 4ull * runtime->worker_count;
        return wr_os_descriptors_reserve(wanted < UINT32_MAX ? (uint32_t)wanted : UINT32_MAX);
    }
    options->max_connections = limit > 2 * SPARE_DESCRIPTORS ? limit - SPARE_DESCRIPTORS : SPARE_DESCRIPTORS;
    (void)wr_os_descriptors_reserve(limit < PREGROWN_DESCRIPTORS ? limit
                                                                 : PREGROWN_DESCRIPTORS); /* an advantage only */
    return 0;
}

static void notify_stop(void *runtime)
{
    weir_runtime_stop(runtime);
}

static int make_workers(weir_runtime *runtime)
{
    size_t size = runtime->worker_count * sizeof *runtime->workers;
    runtime->workers = wr_heap_alloc(&runtime->heap, size);
    if (!runtime->workers) return WEIR_ENOMEM;
    memset(runtime->workers, 0, size);
    for (unsigned i = 0; i < runtime->worker_count; i++) {
        int error = wr_worker_init(&runtime->workers[i], runtime, i, runtime->options.max_connections);
        if (error) return error;
    }
    return 0;
}

static void free_runtime(weir_runtime *runtime)
{
    wr_heap heap = runtime->heap;
    weir_sim *sim = runtime->options.sim;
    wr_resolver_destroy(runtime->resolver);
    for (unsigned i = 0; runtime->workers && i < runtime->worker_count; i++) wr_worker_destroy(&runtime->workers[i]);
    wr_strands_free(runtime);
    while (runtime->listeners) {
        weir_listener *listener = runtime->listeners;
        runtime->listeners = listener->next;
        wr_listener_free(listener);
    }
    wr_groups_free(runtime);
    wr_udps_free(runtime);
    wr_dialers_free(runtime);
    wr_heap_free(&heap, runtime->workers, runtime->worker_count * sizeof *runtime->workers);
    wr_mutex_destroy(&runtime->lock);
    wr_heap_free(&heap, runtime, sizeof *runtime);
    if (sim) sim->runtimes--;
}

static void fill_options(weir_runtime *runtime, const weir_runtime_options *options)
{
    runtime->options = *options;
    runtime->options.allocator = NULL; /* the heap has its copy */
    if (!runtime->options.max_posts) runtime->options.max_posts = DEFAULT_MAX_POSTS;
    if (!runtime->options.max_lookups) runtime->options.max_lookups = DEFAULT_MAX_LOOKUPS;
    if (!runtime->options.stop_timeout_ms) runtime->options.stop_timeout_ms = DEFAULT_STOP_TIMEOUT_MS;
    if (!runtime->options.group_backlog) runtime->options.group_backlog = DEFAULT_GROUP_BACKLOG;
    runtime->worker_count = options->workers ? options->workers : options->manual || options->sim ? 1 : wr_os_cores();
    if (runtime->worker_count > WR_WORKERS_MAX) runtime->worker_count = WR_WORKERS_MAX;
    atomic_init(&runtime->shared.undrained, runtime->worker_count);
}

int weir_runtime_create(weir_runtime **out, const weir_runtime_options *options)
{
    weir_runtime_options none = { 0 };
    if (!out) return WEIR_EINVAL;
    if (!options) options = &none;
    *out = NULL;
    int error = check_options(options);
    if (error) return error;
    wr_heap heap = { .hook = options->allocator ? *options->allocator : (weir_allocator){ 0 },
                     .sim = wr_sim_world(options->sim) };
    weir_runtime *runtime = wr_heap_alloc(&heap, sizeof *runtime);
    if (!runtime) return WEIR_ENOMEM;
    memset(runtime, 0, sizeof *runtime);
    runtime->heap = heap;
    wr_mutex_init(&runtime->lock);
    fill_options(runtime, options);
    if (options->sim) options->sim->runtimes++;
    error = prepare_descriptors(runtime);
    if (error == 0) error = make_workers(runtime);
    if (error == 0 && options->stop_on_signals) {
        error = wr_os_signals_watch(notify_stop, runtime);
        runtime->owner.watching_signals = error == 0;
    }
    if (error) {
        free_runtime(runtime);
        return error;
    }
    if (options->sim) wr_sim_drive(runtime);
    wr_log(runtime, WEIR_LOG_INFO, "weir %s: %u workers on %s, %s, up to %u connections", WEIR_VERSION,
           runtime->worker_count, runtime->workers[0].cq->ops->name, wr_allocator_name(),
           runtime->options.max_connections);
    *out = runtime;
    return 0;
}

/* Running. */

static void worker_main(void *worker)
{
    wr_worker_run(worker);
}

/* Serves the first `count` workers, which have no threads, on this one, until they have finished. */
static void drive(weir_runtime *runtime, unsigned count)
{
    bool finished = false;
    while (!finished) {
        finished = true;
        for (unsigned i = 0; i < count; i++) {
            wr_worker *worker = &runtime->workers[i];
            if (worker->owner.finished) continue;
            /* Alone, it may sleep until something comes; else the others want their turn. */
            uint64_t deadline = count > 1 ? wr_cq_now(worker->cq) + DRIVE_TURN_NS : WR_DEADLINE_NEVER;
            wr_worker_step(worker, deadline);
            finished = finished && worker->owner.finished;
        }
    }
}

bool wr_runtime_has_ended(const weir_runtime *runtime)
{
    return atomic_load_explicit(&runtime->shared.ended, memory_order_acquire);
}

static void end_run(weir_runtime *runtime)
{
    unsigned first = runtime->worker_count - runtime->owner.threads;
    for (unsigned i = first; i < runtime->worker_count; i++) wr_thread_join(&runtime->workers[i].thread);
    runtime->owner.threads = 0;
    atomic_store_explicit(&runtime->shared.ended, true, memory_order_release);
    wr_log(runtime, WEIR_LOG_INFO, "stopped");
}

void wr_runtime_check_ended(weir_runtime *runtime)
{
    for (unsigned i = 0; i < runtime->worker_count; i++)
        if (!runtime->workers[i].owner.finished) return;
    end_run(runtime);
}

/* Starts the threads of workers `first` and up, the last one first. If one cannot be started, all are stopped again. */
static int start_threads(weir_runtime *runtime, unsigned first)
{
    for (unsigned i = runtime->worker_count; i > first; i--) {
        wr_worker *worker = &runtime->workers[i - 1];
        char name[16];
        (void)snprintf(name, sizeof name, "weir-%u", worker->index);
        int error = wr_thread_start(&worker->thread, name, worker_main, worker);
        if (error) {
            weir_runtime_stop(runtime);
            drive(runtime, i);
            end_run(runtime);
            return error;
        }
        runtime->owner.threads++;
    }
    return 0;
}

static int begin_run(weir_runtime *runtime)
{
    if (runtime->owner.started || runtime->options.manual) return WEIR_ESTATE;
    runtime->owner.started = true;
    return 0;
}

int weir_runtime_start(weir_runtime *runtime)
{
    int error = begin_run(runtime);
    return error || runtime->options.sim ? error : start_threads(runtime, 0);
}

int weir_runtime_run(weir_runtime *runtime)
{
    int error = begin_run(runtime);
    if (error) return error;
    if (runtime->options.sim) return wr_sim_serve(runtime);
    error = start_threads(runtime, 1);
    if (error) return error;
    wr_worker_run(&runtime->workers[0]);
    end_run(runtime);
    return 0;
}

int weir_runtime_wait(weir_runtime *runtime)
{
    if (runtime->options.sim && runtime->owner.started) return wr_sim_serve(runtime);
    if (runtime->owner.threads != runtime->worker_count) return WEIR_ESTATE;
    end_run(runtime);
    return 0;
}

void weir_runtime_stop(weir_runtime *runtime)
{
    if (atomic_exchange_explicit(&runtime->shared.stopping, true, memory_order_acq_rel)) return;
    for (unsigned i = 0; i < runtime->worker_count; i++)
        wr_message_post(&runtime->workers[i], &runtime->workers[i].stop);
}

static uint64_t poll_deadline(const wr_worker *worker, int timeout_ms)
{
    if (timeout_ms < 0) return WR_DEADLINE_NEVER;
    if (timeout_ms == 0) return WR_DEADLINE_NOW;
    return wr_cq_now(worker->cq) + (uint64_t)timeout_ms * 1000000;
}

/* Passes until there is nothing left to do, so that an embedder who polls once a frame finds its sends sent and all
 * that has arrived served; bounded, so that a busy network cannot hold up the frame. */
int weir_poll(weir_runtime *runtime, int timeout_ms)
{
    if (!runtime->options.manual || wr_worker_here()) return WEIR_ESTATE;
    if (wr_runtime_has_ended(runtime)) return WEIR_ESTOPPED;
    wr_worker *worker = &runtime->workers[0];
    wr_sim *sim = wr_sim_world(runtime->options.sim);
    uint64_t deadline = poll_deadline(worker, timeout_ms);
    if (sim) wr_sim_set_live(sim, true);
    unsigned events = 0;
    for (int pass = 0; pass < POLL_PASSES_MAX && !worker->owner.finished; pass++) {
        unsigned served = wr_worker_step(worker, events ? WR_DEADLINE_NOW : deadline);
        events += served;
        if (served == 0 && (events > 0 || (timeout_ms >= 0 && wr_cq_now(worker->cq) >= deadline))) break;
    }
    if (sim) wr_sim_set_live(sim, false);
    if (worker->owner.finished) end_run(runtime);
    return (int)events;
}

/* In a simulator the last worker ends it; elsewhere whoever waits for them does. */
static void drain(weir_runtime *runtime)
{
    weir_runtime_stop(runtime);
    if (runtime->options.sim && !runtime->options.manual) {
        /* Each connection has a deadline by now, so only time that stands still can keep it from its end. */
        if (wr_sim_serve(runtime) != 0) wr_sim_broken("a runtime is destroyed where time moves on");
        return;
    }
    if (runtime->owner.threads == 0) drive(runtime, runtime->worker_count);
    end_run(runtime);
}

void weir_runtime_destroy(weir_runtime *runtime)
{
    if (!runtime) return;
    assert(!wr_worker_here());
    if (!wr_runtime_has_ended(runtime)) drain(runtime);
    if (runtime->owner.watching_signals) wr_os_signals_unwatch(runtime);
    for (unsigned i = 0; i < runtime->worker_count; i++) wr_worker_drop_messages(&runtime->workers[i]);
    wr_inboxes_end(runtime);
    free_runtime(runtime);
}

unsigned weir_runtime_workers(const weir_runtime *runtime)
{
    return runtime->worker_count;
}
