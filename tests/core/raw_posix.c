#define _GNU_SOURCE
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "core/raw.h"
#include "harness/weir_test.h"

static void (*work)(void *arg);
static void *work_arg;

void raw_while_waiting(void (*function)(void *arg), void *arg)
{
    work = function;
    work_arg = arg;
}

/* A reset is told once, by whichever call comes first, connect too; later ones would say FIN. By descriptor. */
static _Atomic bool was_reset[1 << 16];

static int64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* Whether the descriptor has one of the events before the deadline. */
static bool await_until(int fd, short events, int64_t deadline_ms)
{
    for (;;) {
        struct pollfd entry = { .fd = fd, .events = events };
        if (work) work(work_arg);
        int64_t left = deadline_ms - now_ms();
        int ready = poll(&entry, 1, left <= 0 ? 0 : work ? 1 : (int)left);
        if (ready > 0) return true;
        cr_assert(ready == 0 || errno == EINTR, "poll: %s", strerror(errno));
        if (left <= 0) return false;
    }
}

static void await(int fd, short events, const char *what)
{
    cr_assert(await_until(fd, events, now_ms() + RAW_PATIENCE_MS), "timed out: %s", what);
}

static int fd_of(raw_peer peer)
{
    return (int)peer.os;
}

static void set_option(int fd, int level, int name, int value)
{
    cr_assert_eq(setsockopt(fd, level, name, &value, sizeof value), 0, "setsockopt: %s", strerror(errno));
}

/* What a read, or SO_ERROR, says of a reset: EPIPE if FIN had come before it. */
static bool is_reset(int fd, int error)
{
    if (error == ECONNRESET || error == EPIPE) was_reset[fd] = true;
    return was_reset[fd];
}

/* A new descriptor. */
static int fresh(int fd)
{
    cr_assert_lt(fd, (int)(sizeof was_reset / sizeof *was_reset));
    was_reset[fd] = false;
    return fd;
}

static int make_socket(int family)
{
    int fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    cr_assert_geq(fd, 0, "socket: %s", strerror(errno));
    fresh(fd);
    if (family != AF_UNIX) set_option(fd, IPPROTO_TCP, TCP_NODELAY, 1);
    return fd;
}

static socklen_t write_address(struct sockaddr_storage *out, const char *host, uint16_t port)
{
    memset(out, 0, sizeof *out);
    struct sockaddr_in *in = (struct sockaddr_in *)out;
    if (inet_pton(AF_INET, host, &in->sin_addr) == 1) {
        in->sin_family = AF_INET;
        in->sin_port = htons(port);
        return sizeof *in;
    }
    struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)out;
    cr_assert_eq(inet_pton(AF_INET6, host, &in6->sin6_addr), 1, "not a numeric host: %s", host);
    in6->sin6_family = AF_INET6;
    in6->sin6_port = htons(port);
    return sizeof *in6;
}

/* 0, or why there is no connection; one that was there and is reset already counts. */
static int connect_socket(int fd, const struct sockaddr *address, socklen_t length, uint32_t patience_ms)
{
    if (connect(fd, address, length) == 0) return 0;
    if (errno != EINPROGRESS && errno != EAGAIN) return errno;
    if (!await_until(fd, POLLOUT, now_ms() + patience_ms)) return ETIMEDOUT;
    int error = 0;
    socklen_t size = sizeof error;
    cr_assert_eq(getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size), 0);
    return is_reset(fd, error) ? 0 : error;
}

raw_peer raw_connect(const char *host, uint16_t port, int receive_buffer)
{
    struct sockaddr_storage address;
    socklen_t length = write_address(&address, host, port);
    int fd = make_socket(address.ss_family);
    /* Before the handshake, in which the window's scale is settled. */
    if (receive_buffer) set_option(fd, SOL_SOCKET, SO_RCVBUF, receive_buffer);
    int error = connect_socket(fd, (struct sockaddr *)&address, length, RAW_PATIENCE_MS);
    cr_assert_eq(error, 0, "connect: %s", strerror(error));
    return (raw_peer){ .os = fd };
}

bool raw_try_connect(const char *host, uint16_t port, uint32_t patience_ms, raw_peer *out)
{
    struct sockaddr_storage address;
    socklen_t length = write_address(&address, host, port);
    int fd = make_socket(address.ss_family);
    out->os = fd;
    if (connect_socket(fd, (struct sockaddr *)&address, length, patience_ms) == 0) return true;
    close(fd);
    return false;
}

raw_peer raw_connect_unix(const char *path)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    cr_assert_lt(strlen(path), sizeof address.sun_path);
    memcpy(address.sun_path, path, strlen(path));
    int fd = make_socket(AF_UNIX);
    int error = connect_socket(fd, (struct sockaddr *)&address, sizeof address, RAW_PATIENCE_MS);
    cr_assert_eq(error, 0, "connect: %s", strerror(error));
    return (raw_peer){ .os = fd };
}

raw_peer raw_listen(int backlog, uint16_t *port)
{
    struct sockaddr_storage address;
    socklen_t length = write_address(&address, "127.0.0.1", 0);
    int fd = make_socket(AF_INET);
    cr_assert_eq(bind(fd, (struct sockaddr *)&address, length), 0, "bind: %s", strerror(errno));
    cr_assert_eq(listen(fd, backlog), 0, "listen: %s", strerror(errno));
    raw_peer listener = { .os = fd };
    *port = raw_port(listener);
    return listener;
}

raw_peer raw_accept(raw_peer listener)
{
    await(fd_of(listener), POLLIN, "nobody connects");
    int fd = accept4(fd_of(listener), NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    cr_assert_geq(fd, 0, "accept: %s", strerror(errno));
    return (raw_peer){ .os = fresh(fd) };
}

void raw_receive_buffer(raw_peer listener, int size)
{
    set_option(fd_of(listener), SOL_SOCKET, SO_RCVBUF, size);
}

size_t raw_send_some(raw_peer peer, const void *bytes, size_t size)
{
    ssize_t sent = send(fd_of(peer), bytes, size, MSG_NOSIGNAL);
    if (sent >= 0) return (size_t)sent;
    if (errno == EAGAIN || errno == EINTR) return 0;
    if (errno == EPIPE) return SIZE_MAX; /* maybe only this end's own raw_finish */
    cr_assert(is_reset(fd_of(peer), errno), "send: %s", strerror(errno));
    return SIZE_MAX;
}

void raw_send(raw_peer peer, const void *bytes, size_t size)
{
    size_t done = 0;
    while (done < size) {
        size_t sent = raw_send_some(peer, (const char *)bytes + done, size - done);
        cr_assert_neq(sent, SIZE_MAX, "the connection ended after %zu of %zu bytes", done, size);
        if (sent == 0) await(fd_of(peer), POLLOUT, "the other side does not read");
        done += sent;
    }
}

void raw_send_slowly(raw_peer peer, const void *bytes, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        raw_send(peer, (const char *)bytes + i, 1);
        if (work) work(work_arg);
    }
}

void raw_finish(raw_peer peer)
{
    bool done = shutdown(fd_of(peer), SHUT_WR) == 0;
    cr_assert(done || is_reset(fd_of(peer), errno), "shutdown: %s", strerror(errno));
}

size_t raw_receive_some(raw_peer peer, void *bytes, size_t capacity, raw_end *end)
{
    *end = RAW_OPEN;
    ssize_t size = recv(fd_of(peer), bytes, capacity, 0);
    if (size > 0) return (size_t)size;
    if (is_reset(fd_of(peer), size < 0 ? errno : 0)) {
        *end = RAW_RESET;
    } else if (size == 0) {
        *end = RAW_FIN;
    } else {
        cr_assert(errno == EAGAIN || errno == EINTR, "recv: %s", strerror(errno));
    }
    return 0;
}

void raw_receive(raw_peer peer, void *bytes, size_t size)
{
    size_t done = 0;
    while (done < size) {
        raw_end end;
        size_t got = raw_receive_some(peer, (char *)bytes + done, size - done, &end);
        cr_assert_eq(end, RAW_OPEN, "the connection ended after %zu of %zu bytes", done, size);
        if (got == 0) await(fd_of(peer), POLLIN, "the bytes do not come");
        done += got;
    }
}

raw_end raw_receive_all(raw_peer peer, void *bytes, size_t capacity, size_t *size)
{
    char rest[16384];
    size_t total = 0;
    for (;;) {
        raw_end end;
        bool keep = total < capacity;
        size_t got =
            raw_receive_some(peer, keep ? (char *)bytes + total : rest, keep ? capacity - total : sizeof rest, &end);
        total += got;
        if (size) *size = total;
        if (end != RAW_OPEN) return end;
        if (got == 0) await(fd_of(peer), POLLIN, "the end does not come");
    }
}

raw_end raw_await_end(raw_peer peer)
{
    return raw_receive_all(peer, NULL, 0, NULL);
}

bool raw_is_silent(raw_peer peer, uint32_t ms)
{
    return !await_until(fd_of(peer), POLLIN, now_ms() + ms);
}

void raw_close(raw_peer peer)
{
    close(fd_of(peer));
}

void raw_reset(raw_peer peer)
{
    struct linger none = { .l_onoff = 1, .l_linger = 0 };
    cr_assert_eq(setsockopt(fd_of(peer), SOL_SOCKET, SO_LINGER, &none, sizeof none), 0);
    close(fd_of(peer));
}

uint16_t raw_port(raw_peer peer)
{
    union {
        struct sockaddr_storage any;
        struct sockaddr_in in;
        struct sockaddr_in6 in6;
    } address = { .any = { 0 } };
    socklen_t length = sizeof address;
    cr_assert_eq(getsockname(fd_of(peer), (struct sockaddr *)&address, &length), 0);
    return ntohs(address.any.ss_family == AF_INET6 ? address.in6.sin6_port : address.in.sin_port);
}

unsigned raw_descriptors(void)
{
    DIR *folder = opendir("/proc/self/fd");
    cr_assert_not_null(folder);
    unsigned count = 0;
    for (struct dirent *entry; (entry = readdir(folder));) count += entry->d_name[0] != '.';
    closedir(folder);
    return count - 1; /* the folder's own */
}
