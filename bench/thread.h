/* Threads, as far as weir-bench needs them. linux/ and windows/ implement this page. */
#ifndef BENCH_THREAD_H
#define BENCH_THREAD_H

#ifdef __cplusplus
extern "C" {
#endif

/* thread_start: a thread that nobody waits for. */
void thread_start(void (*body)(void *argument), void *argument);

/* thread_sleep_ms: for about so long. */
void thread_sleep_ms(unsigned ms);

/* A counting semaphore that begins at 0. */
struct semaphore;

struct semaphore *semaphore_create(void);
void semaphore_post(struct semaphore *semaphore);
void semaphore_wait(struct semaphore *semaphore);

#ifdef __cplusplus
}
#endif

#endif
