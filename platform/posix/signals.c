#define _POSIX_C_SOURCE 200809L

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>

#include "platform/os.h"

enum { WATCHES_MAX = 8 };

static const int signals[] = { SIGINT, SIGTERM };
enum { SIGNALS = sizeof signals / sizeof *signals };

/* What the handler reads. It may run on any thread at any time, even while a watch begins or ends, and may take no
 * lock; so two things order it against the others:
 *  - `running` counts it from its first step to its last. Whoever has emptied a watch, or has found `installed` false,
 *    and then sees `running` at 0 knows that a handler that starts later sees the same. All of these accesses are
 *    sequentially consistent, since each side writes one of the two and then reads the other.
 *  - `installed` goes from true to false once for each time that the handler was put in place; who takes it restores
 *    the former effect. `former` is written only while it is false and no handler runs. */
static struct watch {
    void (*_Atomic notify)(void *arg); /* NULL: free */
    void *_Atomic arg;                 /* written before notify */
} watches[WATCHES_MAX];
static atomic_uint running;
static atomic_bool installed;
static struct sigaction former[SIGNALS];

static pthread_mutex_t watches_lock = PTHREAD_MUTEX_INITIALIZER; /* for all but the handler */

static void on_signal(int number);

/* restore: the former effect of both signals, unless somebody has put a handler over ours. Async-signal-safe. */
static void restore(void)
{
    for (int i = 0; i < SIGNALS; i++) {
        struct sigaction now;
        if (sigaction(signals[i], NULL, &now) == 0 && now.sa_handler == on_signal)
            (void)sigaction(signals[i], &former[i], NULL);
    }
}

static void on_signal(int number)
{
    (void)number;
    int saved = errno; /* of whatever was interrupted */
    atomic_fetch_add(&running, 1);
    if (atomic_exchange(&installed, false)) restore();
    for (int i = 0; i < WATCHES_MAX; i++) {
        void (*notify)(void *arg) = atomic_load(&watches[i].notify);
        if (notify) notify(atomic_load(&watches[i].arg));
    }
    atomic_fetch_sub(&running, 1);
    errno = saved;
}

/* await_handlers: a handler on this very thread has returned already, so this waits for other threads alone. */
static void await_handlers(void)
{
    while (atomic_load(&running) > 0) (void)sched_yield();
}

/* install: puts the handler in place, unless it is. */
static int install(void)
{
    if (atomic_load(&installed)) return 0;
    await_handlers(); /* one may still be restoring from `former` */
    for (int i = 0; i < SIGNALS; i++) {
        struct sigaction now;
        if (sigaction(signals[i], NULL, &now) != 0) return WEIR_ESYSTEM;
        /* Ours already, where somebody had put a handler over it and took that away after our end. */
        if (now.sa_handler != on_signal) former[i] = now;
    }

    struct sigaction ours = { .sa_handler = on_signal, .sa_flags = SA_RESTART };
    (void)sigemptyset(&ours.sa_mask);
    for (int i = 0; i < SIGNALS; i++) (void)sigaddset(&ours.sa_mask, signals[i]);

    atomic_store(&installed, true);
    int error = 0;
    for (int i = 0; i < SIGNALS; i++) {
        if (sigaction(signals[i], &ours, NULL) != 0) error = WEIR_ESYSTEM;
    }
    if (error) atomic_store(&installed, false);
    /* Also where the first signal came before this loop had put the handler in place for the second one. */
    if (!atomic_load(&installed)) restore();
    return error;
}

int wr_os_signals_watch(void (*notify)(void *arg), void *arg)
{
    int error = WEIR_ESTATE;
    pthread_mutex_lock(&watches_lock);
    for (int i = 0; i < WATCHES_MAX; i++) {
        if (atomic_load(&watches[i].notify)) continue;
        /* Filled before the handler is in place, so that no signal that it takes is lost. */
        atomic_store(&watches[i].arg, arg);
        atomic_store(&watches[i].notify, notify);
        error = install();
        if (error) atomic_store(&watches[i].notify, NULL);
        break;
    }
    pthread_mutex_unlock(&watches_lock);
    return error;
}

void wr_os_signals_unwatch(void *arg)
{
    pthread_mutex_lock(&watches_lock);
    bool left = false;
    for (int i = 0; i < WATCHES_MAX; i++) {
        if (!atomic_load(&watches[i].notify)) continue;
        if (atomic_load(&watches[i].arg) == arg)
            atomic_store(&watches[i].notify, NULL);
        else
            left = true;
    }
    if (!left && atomic_exchange(&installed, false)) restore();
    await_handlers();
    pthread_mutex_unlock(&watches_lock);
}
