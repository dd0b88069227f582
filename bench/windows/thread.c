#include "thread.h"

#include <windows.h>

#include <stdlib.h>

#include "fail.h"

struct start {
    void (*body)(void *argument);
    void *argument;
};

static DWORD WINAPI run(void *start_of_this)
{
    struct start start = *(struct start *)start_of_this;
    free(start_of_this);
    start.body(start.argument);
    return 0;
}

void thread_start(void (*body)(void *argument), void *argument)
{
    struct start *start = malloc(sizeof *start);
    if (!start) fail("out of memory");
    *start = (struct start){ body, argument };
    HANDLE thread = CreateThread(NULL, 0, run, start, 0, NULL);
    if (!thread) fail_system("a thread could not be started");
    CloseHandle(thread);
}

void thread_sleep_ms(unsigned ms)
{
    Sleep(ms);
}

struct semaphore *semaphore_create(void)
{
    HANDLE semaphore = CreateSemaphoreW(NULL, 0, LONG_MAX, NULL);
    if (!semaphore) fail_system("a semaphore");
    return (struct semaphore *)semaphore; /* never dereferenced: the handle is all there is to it */
}

void semaphore_post(struct semaphore *semaphore)
{
    ReleaseSemaphore((HANDLE)semaphore, 1, NULL);
}

void semaphore_wait(struct semaphore *semaphore)
{
    WaitForSingleObject((HANDLE)semaphore, INFINITE);
}
