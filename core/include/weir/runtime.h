/* The runtime: workers, each with its completion queue, timers and connections. */
#ifndef WEIR_RUNTIME_H
#define WEIR_RUNTIME_H

#include <weir/conn.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef enum weir_log_level {
    WEIR_LOG_ERROR = 1, /* something was lost */
    WEIR_LOG_WARNING,   /* something is close to a limit */
    WEIR_LOG_INFO,      /* a start, a stop, a listener */
} weir_log_level;

/* weir_log_fn: one line, without a line end. Called from any thread of weir, also several at once. */
typedef void (*weir_log_fn)(weir_log_level level, const char *text, void *data);

/* An allocator for what a runtime allocates; a weir_buf, which belongs to none, comes from malloc. Both functions are
 * called from all of weir's threads and of the embedder's. */
typedef struct weir_allocator {
    void *(*alloc)(size_t size, void *data); /* aligned for any type; NULL when there is none */
    void (*free)(void *block, size_t size, void *data);
    void *data;
} weir_allocator;

typedef struct weir_sim weir_sim; /* weir/sim.h */

typedef struct weir_runtime_options {
    unsigned workers;     /* threads that serve connections; 0: one a core; at most 256 */
    bool manual;          /* no threads: weir_poll does the work of the one worker */
    bool stop_on_signals; /* SIGINT and SIGTERM call weir_runtime_stop; a second one has its former effect again */
    /* Open connections in all. 0: as many as the process may have descriptors for, less 64. Otherwise the descriptor
     * limit is raised to fit, as far as the system lets it. The table is grown once, at creation. */
    uint32_t max_connections;
    uint32_t max_posts;   /* of weir_post that wait for one worker; 0: 262,144 */
    uint32_t max_lookups; /* of names that wait for the resolver; 0: 1,024 */
    /* For connections to flush and close at a stop; the rest is reset. For UDP ports to send what waits. 0: 5 s */
    uint32_t stop_timeout_ms;
    /* Bytes of group sends that may wait for one worker, each message counting as 128 more; then weir_group_send is
     * refused there. 0: 64 MiB. */
    size_t group_backlog;
    weir_log_fn log;                 /* NULL: silent */
    void *log_data;                  /* for log */
    const weir_allocator *allocator; /* copied; NULL: jemalloc, an arena a worker, where built with it, else malloc */
    weir_sim *sim;                   /* the simulator to live in, in place of the system's network; NULL: none */
} weir_runtime_options;

/* weir_runtime_create: makes the workers and their queues, and starts no thread. Free with weir_runtime_destroy.
 * [any]; the caller becomes the owner
 * WEIR_EINVAL: more than 256 workers, manual with more than one, or half an allocator. WEIR_EMFILE, WEIR_ENOMEM.
 * WEIR_ELIMIT: the process may not have descriptors for max_connections. WEIR_ESTATE: eight runtimes already
 * have stop_on_signals. */
WEIR_API int weir_runtime_create(weir_runtime **out, const weir_runtime_options *options);

/* weir_runtime_run: serves until weir_runtime_stop and the drain after it; the caller's thread is one of the workers.
 * [owner]
 * WEIR_ESTATE: started already, or manual. WEIR_ENOMEM, WEIR_ESYSTEM: a thread could not be started; the runtime has
 * stopped again. */
WEIR_API int weir_runtime_run(weir_runtime *runtime);

/* weir_runtime_start: as weir_runtime_run, with all workers in the background. [owner] */
WEIR_API int weir_runtime_start(weir_runtime *runtime);

/* weir_runtime_stop: asks for a stop: no more accepts, on_stop for every connection, then each is closed as by
 * weir_close within stop_timeout_ms, and what is left is reset; on_close has WEIR_ESTOPPED. UDP ports are told
 * likewise, and closed as by weir_udp_close. Returns at once; twice is harmless. [any], and in signal handlers */
WEIR_API void weir_runtime_stop(weir_runtime *runtime);

/* weir_runtime_wait: blocks until a started runtime has stopped and its threads are joined. [owner]
 * WEIR_ESTATE: not started by weir_runtime_start. */
WEIR_API int weir_runtime_wait(weir_runtime *runtime);

/* weir_poll: drives a manual runtime: waits up to timeout_ms (0: not at all, negative: without bound) for something to
 * do, does what there is, and returns how many events it served. [owner]
 * WEIR_ESTATE: not manual, or called from a callback. WEIR_ESTOPPED: the runtime has stopped and drained. */
WEIR_API int weir_poll(weir_runtime *runtime, int timeout_ms);

/* weir_runtime_destroy: stops (as weir_runtime_stop), drains, joins, and frees everything but inboxes. NULL is fine.
 * Where the system's resolver is still busy with a name that nobody waits for any more, it is waited for for a second;
 * then its thread is left behind, and ends by itself. [owner] */
WEIR_API void weir_runtime_destroy(weir_runtime *runtime);

/* weir_runtime_workers: how many workers it has. [any] */
WEIR_API unsigned weir_runtime_workers(const weir_runtime *runtime);

/* weir_post_fn: a function run on a worker. */
typedef void (*weir_post_fn)(weir_runtime *runtime, void *data);

/* weir_post: runs `run(runtime, data)` on worker number `worker` (from 0). In order among the posts of one thread to
 * one worker; never from inside this call. What is still queued when the workers end does not run. [any]
 * WEIR_EINVAL: no such worker, or run is NULL. WEIR_ELIMIT: max_posts wait for the worker already; nothing was queued.
 * WEIR_ENOMEM. WEIR_ESTOPPED: the workers have ended. */
WEIR_API int weir_post(weir_runtime *runtime, unsigned worker, weir_post_fn run, void *data);

/* weir_post_after: as weir_post, but not before `delay_ms` have passed; once its worker has taken notice, it
 * counts no more against max_posts. [any] */
WEIR_API int weir_post_after(weir_runtime *runtime, unsigned worker, uint64_t delay_ms, weir_post_fn run, void *data);

/* weir_now_ns: the runtime's clock in nanoseconds, monotonic, from an arbitrary start: to measure with, and in the
 * simulator virtual, so that what it decides repeats. [any] */
WEIR_API uint64_t weir_now_ns(const weir_runtime *runtime);

/* weir_sleep_ms: blocks the calling thread. For the embedder's own threads; never in a callback. [any] */
WEIR_API void weir_sleep_ms(uint32_t ms);

#ifdef __cplusplus
}
#endif

#endif
