#define _GNU_SOURCE
#include "harness/calls.h"

#include <errno.h>
#include <netdb.h>
#include <pthread.h>
#include <sched.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>

static struct fault {
    _Atomic int after, times, error;
    _Atomic unsigned failures;
} faults[CALLS];

void call_fails(enum call call, int error, int after, int times)
{
    struct fault *f = &faults[call];
    f->times = 0;
    f->after = after;
    f->error = error;
    f->failures = 0;
    f->times = times;
}

unsigned call_failures(enum call call)
{
    return faults[call].failures;
}

/* Whether this call is one that fails; errno says how. */
static bool fails(enum call call)
{
    struct fault *f = &faults[call];
    if (f->times <= 0) return false;
    if (f->after > 0 && atomic_fetch_sub(&f->after, 1) > 0) return false;
    if (atomic_fetch_sub(&f->times, 1) <= 0) return false;
    f->failures++;
    errno = f->error;
    return true;
}

/* What a call that fails returns. */
static int result(void)
{
    return errno ? -1 : 0;
}

/* WRAP: the real function under the name that the linker gives it, and what stands in its place. */
#define WRAP(call, type, name, parameters, arguments) \
    type __real_##name parameters;                    \
    type __wrap_##name parameters;                    \
    type __wrap_##name parameters                     \
    {                                                 \
        if (fails(call)) return result();             \
        return __real_##name arguments;               \
    }

WRAP(CALL_ACCEPT4, int, accept4, (int fd, struct sockaddr *address, socklen_t *length, int flags),
     (fd, address, length, flags))
WRAP(CALL_CLOSE, int, close, (int fd), (fd))
WRAP(CALL_CONNECT, int, connect, (int fd, const struct sockaddr *address, socklen_t length), (fd, address, length))
WRAP(CALL_EPOLL_CREATE1, int, epoll_create1, (int flags), (flags))
WRAP(CALL_EPOLL_CTL, int, epoll_ctl, (int epoll, int what, int fd, struct epoll_event *event), (epoll, what, fd, event))
WRAP(CALL_EVENTFD, int, eventfd, (unsigned count, int flags), (count, flags))
WRAP(CALL_GETSOCKNAME, int, getsockname, (int fd, struct sockaddr *address, socklen_t *length), (fd, address, length))
WRAP(CALL_GETSOCKOPT, int, getsockopt, (int fd, int level, int name, void *value, socklen_t *length),
     (fd, level, name, value, length))
WRAP(CALL_LISTEN, int, listen, (int fd, int backlog), (fd, backlog))
WRAP(CALL_RECVMMSG, int, recvmmsg,
     (int fd, struct mmsghdr *messages, unsigned count, int flags, struct timespec *timeout),
     (fd, messages, count, flags, timeout))
WRAP(CALL_SCHED_GETAFFINITY, int, sched_getaffinity, (pid_t pid, size_t size, cpu_set_t *set), (pid, size, set))
WRAP(CALL_SEND, ssize_t, send, (int fd, const void *bytes, size_t size, int flags), (fd, bytes, size, flags))
WRAP(CALL_SENDMMSG, int, sendmmsg, (int fd, struct mmsghdr *messages, unsigned count, int flags),
     (fd, messages, count, flags))
WRAP(CALL_SETSOCKOPT, int, setsockopt, (int fd, int level, int name, const void *value, socklen_t length),
     (fd, level, name, value, length))

/* Returns its error. */
int __real_pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*main)(void *), void *arg);
int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*main)(void *), void *arg);
int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*main)(void *), void *arg)
{
    if (fails(CALL_PTHREAD_CREATE)) return errno;
    return __real_pthread_create(thread, attributes, main, arg);
}

static pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t gate_moved = PTHREAD_COND_INITIALIZER;
static bool holding;
static unsigned held;

void call_hold(bool hold)
{
    pthread_mutex_lock(&gate);
    holding = hold;
    pthread_cond_broadcast(&gate_moved);
    pthread_mutex_unlock(&gate);
}

unsigned call_held(void)
{
    pthread_mutex_lock(&gate);
    unsigned count = held;
    pthread_mutex_unlock(&gate);
    return count;
}

static void pass_gate(void)
{
    pthread_mutex_lock(&gate);
    held++;
    while (holding) pthread_cond_wait(&gate_moved, &gate);
    held--;
    pthread_mutex_unlock(&gate);
}

/* Returns its error. */
int __real_getaddrinfo(const char *name, const char *service, const struct addrinfo *hints, struct addrinfo **out);
int __wrap_getaddrinfo(const char *name, const char *service, const struct addrinfo *hints, struct addrinfo **out);
int __wrap_getaddrinfo(const char *name, const char *service, const struct addrinfo *hints, struct addrinfo **out)
{
    pass_gate();
    if (!fails(CALL_GETADDRINFO)) return __real_getaddrinfo(name, service, hints, out);
    int code = errno;
    if (code == EAI_SYSTEM) errno = EMFILE;
    return code;
}

/* Which call it is that weir makes without the C library's function for it (platform/posix/calls.h). */
static enum call call_of(long number)
{
    switch (number) {
    case SYS_accept4:
        return CALL_ACCEPT4;
    case SYS_close:
        return CALL_CLOSE;
    case SYS_connect:
        return CALL_CONNECT;
    case SYS_sendto:
        return CALL_SEND;
    default:
        return CALL_SYSCALL;
    }
}

/* With as many arguments as there may be: those that a call does not have are not looked at. */
long __real_syscall(long number, ...);
long __wrap_syscall(long number, ...);
long __wrap_syscall(long number, ...)
{
    long arguments[6];
    va_list list;
    if (fails(call_of(number))) return result();
    va_start(list, number);
    for (int i = 0; i < 6; i++) arguments[i] = va_arg(list, long);
    va_end(list);
    return __real_syscall(number, arguments[0], arguments[1], arguments[2], arguments[3], arguments[4], arguments[5]);
}
