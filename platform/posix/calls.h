/* The system calls of every message and every connection, straight to the kernel.
 *
 * The C library makes each of them a point where a thread can be cancelled, which in a process of several threads takes
 * some 40 instructions a call. No thread of weir's is ever cancelled. The sanitizers learn from the library's functions
 * what the kernel writes and who waits for whom, so under them it is those. All return what the library's do, and set
 * errno. */
#ifndef WR_POSIX_CALLS_H
#define WR_POSIX_CALLS_H

#include <stddef.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define WR_LIBRARY_CALLS 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define WR_LIBRARY_CALLS 1
#endif
#endif

static inline ssize_t wr_call_recv(int fd, void *bytes, size_t size)
{
#ifdef WR_LIBRARY_CALLS
    return recv(fd, bytes, size, 0);
#else
    return syscall(SYS_recvfrom, fd, bytes, size, 0, NULL, NULL);
#endif
}

/* MSG_NOSIGNAL, since a signal of the process is not ours to raise. */
static inline ssize_t wr_call_send(int fd, const void *bytes, size_t size)
{
#ifdef WR_LIBRARY_CALLS
    return send(fd, bytes, size, MSG_NOSIGNAL);
#else
    return syscall(SYS_sendto, fd, bytes, size, MSG_NOSIGNAL, NULL, 0);
#endif
}

static inline int wr_call_accept(int fd, struct sockaddr_storage *address, socklen_t *length)
{
#ifdef WR_LIBRARY_CALLS
    return accept4(fd, (struct sockaddr *)address, length, SOCK_NONBLOCK | SOCK_CLOEXEC);
#else
    return (int)syscall(SYS_accept4, fd, address, length, SOCK_NONBLOCK | SOCK_CLOEXEC);
#endif
}

static inline int wr_call_connect(int fd, const struct sockaddr_storage *address, socklen_t length)
{
#ifdef WR_LIBRARY_CALLS
    return connect(fd, (const struct sockaddr *)address, length);
#else
    return (int)syscall(SYS_connect, fd, address, length);
#endif
}

/* Linux has closed the descriptor even when this says EINTR. */
static inline void wr_call_close(int fd)
{
#ifdef WR_LIBRARY_CALLS
    (void)close(fd);
#else
    (void)syscall(SYS_close, fd);
#endif
}

static inline int wr_call_epoll_wait(int epoll, struct epoll_event *events, int capacity, int timeout_ms)
{
#ifdef WR_LIBRARY_CALLS
    return epoll_wait(epoll, events, capacity, timeout_ms);
#else
    return (int)syscall(SYS_epoll_pwait, epoll, events, capacity, timeout_ms, NULL, 0);
#endif
}

#endif
