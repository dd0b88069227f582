#define _GNU_SOURCE
#include "linux/socket.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "fail.h"

struct sockaddr_in socket_address(const struct address *address)
{
    return (struct sockaddr_in){ .sin_family = AF_INET,
                                 .sin_port = htons(address->port),
                                 .sin_addr.s_addr = htonl(address->ip) };
}

static int listen_at(uint16_t port, bool shared)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) fail_system("socket");
    int on = 1;
    struct sockaddr_in address = socket_address(&(struct address){ INADDR_LOOPBACK, port });
    if (setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) != 0) fail_system("TCP_NODELAY");
    if (shared && setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on) != 0) fail_system("SO_REUSEPORT");
    if (bind(fd, (struct sockaddr *)&address, sizeof address) != 0) fail_system("bind to 127.0.0.1");
    if (listen(fd, 4096) != 0) fail_system("listen");
    return fd;
}

int socket_listen(void)
{
    return listen_at(0, false);
}

int socket_listen_shared(uint16_t port)
{
    return listen_at(port, true);
}

uint16_t socket_port(int listener)
{
    struct sockaddr_in address = { 0 };
    socklen_t size = sizeof address;
    if (getsockname(listener, (struct sockaddr *)&address, &size) != 0) fail_system("getsockname");
    return ntohs(address.sin_port);
}

int socket_connect(const struct sockaddr_in *to)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) fail_system("socket");
    struct sockaddr_in source = socket_address(&(struct address){ .ip = address_next_source() });
    int on = 1;
    /* Without this, bind takes a port that is free for every destination, and searches longer for it. */
    if (setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on) != 0) fail_system("bind without a port");
    if (bind(fd, (const struct sockaddr *)&source, sizeof source) != 0) fail_system("bind to a source address");
    if (connect(fd, (const struct sockaddr *)to, sizeof *to) != 0 && errno != EINPROGRESS) fail_system("connect");
    return fd;
}

void socket_reset_at_end(int fd)
{
    struct linger reset = { .l_onoff = 1, .l_linger = 0 };
    if (setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset) != 0) fail_system("SO_LINGER");
}

void socket_reset(int fd)
{
    socket_reset_at_end(fd);
    close(fd);
}

int socket_error(int fd)
{
    int error = 0;
    socklen_t size = sizeof error;
    if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) != 0) return errno;
    return error;
}

int epoll_open(void)
{
    int fd = epoll_create1(EPOLL_CLOEXEC);
    if (fd < 0) fail_system("epoll_create1");
    return fd;
}

static void control(int epoll, int operation, int fd, uint32_t events, uint64_t key)
{
    struct epoll_event event = { .events = events, .data.u64 = key };
    if (epoll_ctl(epoll, operation, fd, &event) != 0) fail_system("epoll_ctl");
}

void epoll_watch(int epoll, int fd, uint32_t events, uint64_t key)
{
    control(epoll, EPOLL_CTL_ADD, fd, events, key);
}

void epoll_rewatch(int epoll, int fd, uint32_t events, uint64_t key)
{
    control(epoll, EPOLL_CTL_MOD, fd, events, key);
}
