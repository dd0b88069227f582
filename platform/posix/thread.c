#define _GNU_SOURCE /* pthread_setname_np, sched_getaffinity */

#include <assert.h>
#include <errno.h>
#include <sched.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "platform/os.h"

/* must: pthread calls below fail only on a mistake of ours, such as a lock destroyed while it is held. */
static void must(int result)
{
    assert(result == 0);
    (void)result;
}

void wr_mutex_init(wr_mutex *mutex)
{
    must(pthread_mutex_init(&mutex->os, NULL));
}

void wr_mutex_destroy(wr_mutex *mutex)
{
    must(pthread_mutex_destroy(&mutex->os));
}

void wr_mutex_lock(wr_mutex *mutex)
{
    must(pthread_mutex_lock(&mutex->os));
}

void wr_mutex_unlock(wr_mutex *mutex)
{
    must(pthread_mutex_unlock(&mutex->os));
}

void wr_cond_init(wr_cond *cond)
{
    pthread_condattr_t attributes;
    must(pthread_condattr_init(&attributes));
    must(pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC)); /* for wr_cond_wait_ms */
    must(pthread_cond_init(&cond->os, &attributes));
    must(pthread_condattr_destroy(&attributes));
}

void wr_cond_destroy(wr_cond *cond)
{
    must(pthread_cond_destroy(&cond->os));
}

void wr_cond_wait(wr_cond *cond, wr_mutex *mutex)
{
    must(pthread_cond_wait(&cond->os, &mutex->os));
}

void wr_cond_wait_ms(wr_cond *cond, wr_mutex *mutex, uint32_t ms)
{
    uint64_t until_ns = wr_os_now_ns() + (uint64_t)ms * 1000000;
    struct timespec until = { .tv_sec = (time_t)(until_ns / 1000000000), .tv_nsec = (long)(until_ns % 1000000000) };
    int error = pthread_cond_timedwait(&cond->os, &mutex->os, &until);
    if (error != ETIMEDOUT) must(error);
}

void wr_cond_wake(wr_cond *cond)
{
    must(pthread_cond_broadcast(&cond->os));
}

static void *thread_main(void *data)
{
    wr_thread *thread = data;
    /* From inside, so that the name is there before anything runs. A thread without a name works as well. */
    (void)pthread_setname_np(pthread_self(), thread->name);
    thread->main(thread->arg);
    return NULL;
}

int wr_thread_start(wr_thread *thread, const char *name, void (*main)(void *arg), void *arg)
{
    size_t length = strnlen(name, sizeof thread->name - 1);
    memcpy(thread->name, name, length);
    thread->name[length] = 0;
    thread->main = main;
    thread->arg = arg;

    int result = pthread_create(&thread->os, NULL, thread_main, thread);
    /* EAGAIN is what a missing stack and a full process table look like: both are a lack of room. */
    if (result == EAGAIN || result == ENOMEM) return WEIR_ENOMEM;
    return result == 0 ? 0 : WEIR_ESYSTEM;
}

void wr_thread_join(wr_thread *thread)
{
    must(pthread_join(thread->os, NULL));
}

void wr_thread_detach(wr_thread *thread)
{
    must(pthread_detach(thread->os));
}

unsigned wr_os_cores(void)
{
    /* The kernel refuses a set smaller than its own, which a machine of over 1,024 cores may have. */
    for (int capacity = CPU_SETSIZE; capacity <= 1 << 20; capacity *= 2) {
        cpu_set_t *set = CPU_ALLOC((size_t)capacity);
        if (!set) break;
        size_t size = CPU_ALLOC_SIZE((size_t)capacity);
        int result = sched_getaffinity(0, size, set);
        int error = errno;
        int count = result == 0 ? CPU_COUNT_S(size, set) : 0;
        CPU_FREE(set);
        if (count > 0) return (unsigned)count;
        if (result == 0 || error != EINVAL) break;
    }
    long online = sysconf(_SC_NPROCESSORS_ONLN);
    return online > 0 ? (unsigned)online : 1;
}
