/* The operating-system facts that core needs beside the queue. posix/ and windows/ implement this page; the type of a
 * lock and of a thread come from the os_types.h in the folder of the system that is built. */
#ifndef WR_OS_H
#define WR_OS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <weir/error.h>

#include "os_types.h" /* struct wr_mutex, struct wr_cond, struct wr_thread */
#include "platform/addr.h"

typedef struct wr_mutex wr_mutex;
typedef struct wr_cond wr_cond;
typedef struct wr_thread wr_thread;

/* Locks: not recursive; never held while a callback runs. */
void wr_mutex_init(wr_mutex *mutex);
void wr_mutex_destroy(wr_mutex *mutex);
void wr_mutex_lock(wr_mutex *mutex);
void wr_mutex_unlock(wr_mutex *mutex);

/* Conditions: wr_cond_wait gives the held lock back, sleeps until a wr_cond_wake, and takes it again; it may also
 * return for nothing. wr_cond_wake wakes all who wait. */
void wr_cond_init(wr_cond *cond);
void wr_cond_destroy(wr_cond *cond);
void wr_cond_wait(wr_cond *cond, wr_mutex *mutex);
void wr_cond_wake(wr_cond *cond);

/* wr_cond_wait_ms: as wr_cond_wait, for about `ms` at most. */
void wr_cond_wait_ms(wr_cond *cond, wr_mutex *mutex, uint32_t ms);

/* wr_thread_start: runs `main(arg)` on a new thread; `name` (up to 15 bytes) shows in debuggers. `thread` must not move
 * before it is joined. WEIR_ENOMEM, WEIR_ESYSTEM: no thread was started. */
int wr_thread_start(wr_thread *thread, const char *name, void (*main)(void *arg), void *arg);

/* wr_thread_join: waits for its end. Once a started thread. */
void wr_thread_join(wr_thread *thread);

/* wr_thread_detach: instead of wr_thread_join: `thread` may go as soon as its main has begun. */
void wr_thread_detach(wr_thread *thread);

/* wr_os_now_ns: the monotonic clock, in nanoseconds; never 0. [any] */
uint64_t wr_os_now_ns(void);

/* wr_os_sleep_ms: blocks for at least that long, signals or not. [any] */
void wr_os_sleep_ms(uint32_t ms);

/* wr_os_cores: how many cores this process may run on, at least 1. [any] */
unsigned wr_os_cores(void);

/* wr_os_descriptor_limit: how many descriptors the process may have open now; UINT32_MAX where there is no limit. [any]
 */
uint32_t wr_os_descriptor_limit(void);

/* wr_os_descriptors_reserve: raises the limit to `count` if it is lower, and makes the kernel's table that large at
 * once: a table that doubles under load, in a process of several threads, stalls accept for milliseconds. [any]
 * WEIR_ELIMIT: the hard limit is lower; the table then has that size. WEIR_EMFILE, WEIR_ENOMEM: the table could not be
 * made that large. */
int wr_os_descriptors_reserve(uint32_t count);

/* wr_os_ip_parse: reads a numeric IPv4 or IPv6 address of `length` bytes, with %scope (an interface's name or number)
 * after IPv6, into addr's family, ip and scope. A mapped IPv4 address becomes IPv4. False: it is none. [any] */
bool wr_os_ip_parse(const char *text, size_t length, wr_addr *addr);

enum { WR_IP_TEXT_MAX = 72 }; /* the longest IPv6 address, '%', an interface's name, and a final 0 */

/* wr_os_ip_format: the reverse, without a port; text has WR_IP_TEXT_MAX bytes. [any] */
void wr_os_ip_format(const wr_addr *addr, char *text);

/* wr_os_resolve: the addresses of a name, or as many of them as there is room for, in the order in which the system
 * would try them (RFC 6724), each with port 0; of one family alone, unless that is WR_FAMILY_NONE. Blocks for as long
 * as the system's resolver likes, which may be minutes. Returns how many, at least 1; else WEIR_EAI_NONAME,
 * WEIR_EAI_AGAIN, WEIR_EAI_FAIL, WEIR_ENOMEM…, and the system's code. [any], once a queue was made */
int wr_os_resolve(const char *name, enum wr_family family, wr_addr *out, unsigned capacity, int *system_error);

/* wr_os_random: 64 bits that no other call gives, here or in another process; not for secrets. [any] */
uint64_t wr_os_random(void);

/* wr_os_path_remove: removes the file that a Unix-domain listener made; leaves anything else. [any] */
void wr_os_path_remove(const char *path);

/* wr_os_error_text: the system's words for one of its codes, also of wr_os_resolve; always ends with a 0. [any] */
void wr_os_error_text(int system_error, char *text, size_t capacity);

/* wr_os_signals_watch: SIGINT and SIGTERM (console control events on Windows) call `notify(arg)`, in a signal handler;
 * after the first one the former effect is back. Up to eight watches in a process; all are told. [any]
 * WEIR_ESTATE: eight already. WEIR_ESYSTEM. */
int wr_os_signals_watch(void (*notify)(void *arg), void *arg);

/* wr_os_signals_unwatch: ends the watch with that arg, and with the last one restores the former effect; no call of its
 * notify is running any more when this returns. Harmless if there is none. [any] */
void wr_os_signals_unwatch(void *arg);

#endif
