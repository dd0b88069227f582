/* Timers: a function that runs on a worker once after a time, or again and again; of a worker, or of a connection.
 *
 * Any number of them costs little: starting, re-arming and cancelling take a constant time. Times are milliseconds,
 * count from the beginning of the worker's pass, and are never cut short. For a game's step use a tick (weir/tick.h).
 */
#ifndef WEIR_TIMER_H
#define WEIR_TIMER_H

#include <weir/runtime.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct weir_timer weir_timer;

/* weir_timer_fn: the time has come. On the timer's worker, like any callback. It may re-arm, cancel and free `timer`.
 */
typedef void (*weir_timer_fn)(weir_timer *timer, void *data);

typedef struct weir_timer_options {
    uint64_t delay_ms;      /* until it fires for the first time */
    uint64_t repeat_ms;     /* from then on, counted from when it was due, so that it does not drift; what a late worker
                               missed is left out; 0: it fires once */
    unsigned worker;        /* on which it runs, from 0 */
    weir_timer_fn on_timer; /* not NULL */
    void *data;             /* for on_timer */
} weir_timer_options;

/* weir_timer_start: starts one. With `out` it lives until weir_timer_free, fired or not, and can be armed again.
 * Without, it is freed when its callback leaves it unarmed: after it has fired once, or was cancelled there. All go
 * with the runtime, and keep none alive: they fire until it has stopped and drained. [any] WEIR_EINVAL: no such worker,
 * or on_timer is NULL. WEIR_ENOMEM. WEIR_ESTOPPED. */
WEIR_API int weir_timer_start(weir_runtime *runtime, const weir_timer_options *options, weir_timer **out);

/* weir_conn_timer_fn: the same of a connection that is open. */
typedef void (*weir_conn_timer_fn)(weir_conn *conn, weir_timer *timer, void *data);

typedef struct weir_conn_timer_options {
    uint64_t delay_ms, repeat_ms; /* as in weir_timer_options */
    weir_conn_timer_fn on_timer;  /* not NULL */
    void *data;                   /* for on_timer */
} weir_conn_timer_options;

/* weir_conn_timer_start: starts one that belongs to a connection: it fires no more when that has begun to close, and is
 * freed with it, right after on_close. Else as weir_timer_start. [worker]
 * WEIR_EINVAL: on_timer is NULL. WEIR_ECLOSED: the connection is closing. WEIR_ENOMEM. */
WEIR_API int weir_conn_timer_start(weir_conn *conn, const weir_conn_timer_options *options, weir_timer **out);

/* weir_timer_arm: it fires (first) in delay_ms from now, whatever was set before; also one that has fired, or was
 * cancelled. [worker]: that of the timer */
WEIR_API void weir_timer_arm(weir_timer *timer, uint64_t delay_ms);

/* weir_timer_cancel: it does not fire, until it is armed again; no effect on one that has fired. [worker]: that of the
 * timer */
WEIR_API void weir_timer_cancel(weir_timer *timer);

/* weir_timer_free: cancels and frees it, in its own callback after that has returned. On another thread than its
 * worker's a callback may be running, and is the last. After the runtime's end, and before weir_runtime_destroy, it is
 * harmless. NULL is fine. [any]; of a connection's timer only [worker] */
WEIR_API void weir_timer_free(weir_timer *timer);

#ifdef __cplusplus
}
#endif

#endif
