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

#include "core/raw_os.h"
#include "harness/weir_test.h"

/* A reset is told once, by whichever call comes first, connect too; later ones would say FIN. By descriptor. */
static _Atomic bool was_reset[1 << 16];

static int fd_of(raw_peer peer)
{
    return (int)peer.os;
}

uint64_t raw_os_now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

bool raw_os_poll(raw_peer peer, raw_event event, uint32_t timeout_ms)
{
    struct pollfd entry = { .fd = fd_of(peer), .events = event == RAW_READABLE ? POLLIN : POLLOUT };
    int ready = poll(&entry, 1, (int)timeout_ms);
    cr_assert(ready >= 0 || errno == EINTR, "poll: %s", strerror(errno));
    return ready > 0;
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
    if (!raw_wait((raw_peer){ .os = fd }, RAW_WRITABLE, patience_ms)) return ETIMEDOUT;
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
    raw_must(listener, RAW_READABLE, "nobody connects");
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

void raw_finish(raw_peer peer)
{
    bool done = shutdown(fd_of(peer), SHUT_WR) == 0;
    cr_assert(done || is_reset(fd_of(peer), errno), "shutdown: %s", strerror(errno));
}

bool raw_tells_reset_after_finish(void)
{
    return true;
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

union address {
    struct sockaddr_storage any;
    struct sockaddr_in in;
    struct sockaddr_in6 in6;
};

static uint16_t port_of(const union address *address)
{
    return ntohs(address->any.ss_family == AF_INET6 ? address->in6.sin6_port : address->in.sin_port);
}

uint16_t raw_port(raw_peer peer)
{
    union address address = { .any = { 0 } };
    socklen_t length = sizeof address;
    cr_assert_eq(getsockname(fd_of(peer), (struct sockaddr *)&address, &length), 0);
    return port_of(&address);
}

raw_peer raw_udp(const char *host)
{
    struct sockaddr_storage address;
    socklen_t length = write_address(&address, host, 0);
    int fd = fresh(socket(address.ss_family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    cr_assert_eq(bind(fd, (struct sockaddr *)&address, length), 0, "bind: %s", strerror(errno));
    return (raw_peer){ .os = fd };
}

void raw_udp_send(raw_peer peer, const char *host, uint16_t port, const void *bytes, size_t size)
{
    struct sockaddr_storage address;
    socklen_t length = write_address(&address, host, port);
    ssize_t sent = sendto(fd_of(peer), bytes, size, 0, (struct sockaddr *)&address, length);
    cr_assert_eq(sent, (ssize_t)size, "sendto: %s", strerror(errno));
}

size_t raw_udp_receive(raw_peer peer, void *bytes, size_t capacity, uint16_t *port)
{
    union address address = { .any = { 0 } };
    socklen_t length = sizeof address;
    raw_must(peer, RAW_READABLE, "no datagram comes");
    ssize_t size = recvfrom(fd_of(peer), bytes, capacity, 0, (struct sockaddr *)&address, &length);
    cr_assert_geq(size, 0, "recvfrom: %s", strerror(errno));
    if (port) *port = port_of(&address);
    return (size_t)size;
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
