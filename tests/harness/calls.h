/* System calls that fail when a test says so, for what the kernel cannot be made to do: a registration with epoll that
 * is refused, a connection that dies between its handshake and its accept. The linker puts calls_posix.c between the
 * program, with all of weir in it, and the C library (--wrap); only tests that link weir_calls have it. */
#ifndef WR_TEST_CALLS_H
#define WR_TEST_CALLS_H

#include <stdbool.h>

enum call {
    CALL_ACCEPT4,
    CALL_CLOSE,
    CALL_CONNECT,
    CALL_EPOLL_CREATE1,
    CALL_EPOLL_CTL,
    CALL_EVENTFD,
    CALL_GETADDRINFO, /* `error` is the EAI_ code that it returns */
    CALL_GETSOCKNAME,
    CALL_GETSOCKOPT,
    CALL_LISTEN,
    CALL_PTHREAD_CREATE,
    CALL_RECVMMSG,
    CALL_SCHED_GETAFFINITY,
    CALL_SEND,
    CALL_SENDMMSG,
    CALL_SETSOCKOPT,
    CALL_SYSCALL,
    CALLS,
};

enum { CALL_FOR_EVER = 1 << 30 };

/* call_fails: after so many more calls, by any thread, so many fail with that errno, and do nothing. An `error` of 0:
 * they do nothing and say that they have. Replaces what was said before; `times` 0: none fails. */
void call_fails(enum call call, int error, int after, int times);

/* call_failures: how many have failed so since the last call_fails. */
unsigned call_failures(enum call call);

/* call_hold: each getaddrinfo waits from now on, until it is called with false; call_held: how many wait. */
void call_hold(bool hold);
unsigned call_held(void);

#endif
