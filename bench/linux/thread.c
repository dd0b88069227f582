#define _GNU_SOURCE
#include "thread.h"

#include <pthread.h>
#include <semaphore.h>
#include <stdlib.h>
#include <time.h>

#include "fail.h"

struct start {
    void (*body)(void *argument);
    void *argument;
};

static void *run(void *start_of_this)
{
    struct start start = *(struct start *)start_of_this;
    free(start_of_this);
    start.body(start.argument);
    return NULL;
}

void thread_start(void (*body)(void *argument), void *argument)
{
    struct start *start = malloc(sizeof *start);
    if (!start) fail("out of memory");
    *start = (struct start){ body, argument };
    pthread_t thread;
    int error = pthread_create(&thread, NULL, run, start);
    if (error != 0) fail_code(error, "a thread could not be started");
    pthread_detach(thread);
}

void thread_sleep_ms(unsigned ms)
{
    struct timespec time = { .tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000L };
    while (nanosleep(&time, &time) != 0) continue; /* EINTR */
}

struct semaphore {
    sem_t os;
};

struct semaphore *semaphore_create(void)
{
    struct semaphore *semaphore = malloc(sizeof *semaphore);
    if (!semaphore) fail("out of memory");
    if (sem_init(&semaphore->os, 0, 0) != 0) fail_system("sem_init");
    return semaphore;
}

void semaphore_post(struct semaphore *semaphore)
{
    sem_post(&semaphore->os);
}

void semaphore_wait(struct semaphore *semaphore)
{
    while (sem_wait(&semaphore->os) != 0) continue; /* EINTR */
}
