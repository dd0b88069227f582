#define _GNU_SOURCE
#include "net.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "fail.h"

const char *const net_source_texts[NET_SOURCES] = { "127.0.0.2:0", "127.0.0.3:0", "127.0.0.4:0", "127.0.0.5:0",
                                                    "127.0.0.6:0", "127.0.0.7:0", "127.0.0.8:0", "127.0.0.9:0" };

bool net_parse(const char *text, struct sockaddr_in *out)
{
    char host[INET_ADDRSTRLEN];
    unsigned port;
    char excess;
    if (sscanf(text, "%15[0-9.]:%5u%c", host, &port, &excess) != 2 || port == 0 || port > UINT16_MAX) return false;
    *out = (struct sockaddr_in){ .sin_family = AF_INET, .sin_port = htons((uint16_t)port) };
    return inet_pton(AF_INET, host, &out->sin_addr) == 1 && ntohl(out->sin_addr.s_addr) >> 24 == IN_LOOPBACKNET;
}

struct sockaddr_in net_address(const char *text)
{
    struct sockaddr_in address;
    if (!net_parse(text, &address)) fail("%s is not an address on loopback", text);
    return address;
}

int net_listen(void)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) fail_system("socket");
    int on = 1;
    struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    if (setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) != 0) fail_system("TCP_NODELAY");
    if (bind(fd, (struct sockaddr *)&address, sizeof address) != 0) fail_system("bind to 127.0.0.1");
    if (listen(fd, 4096) != 0) fail_system("listen");
    return fd;
}

uint16_t net_port(int listener)
{
    struct sockaddr_in address = { 0 };
    socklen_t size = sizeof address;
    if (getsockname(listener, (struct sockaddr *)&address, &size) != 0) fail_system("getsockname");
    return ntohs(address.sin_port);
}

static const struct sockaddr_in *next_source(void)
{
    static struct sockaddr_in sources[NET_SOURCES];
    static unsigned next;
    if (sources[0].sin_family != AF_INET) {
        for (unsigned i = 0; i < NET_SOURCES; i++) {
            sources[i].sin_family = AF_INET;
            sources[i].sin_addr.s_addr = htonl(INADDR_LOOPBACK + 1 + i);
        }
    }
    return &sources[next++ % NET_SOURCES];
}

int net_connect(const struct sockaddr_in *to)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) fail_system("socket");
    const struct sockaddr_in *source = next_source();
    int on = 1;
    /* Without this, bind takes a port that is free for every destination, and searches longer for it. */
    if (setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on) != 0) fail_system("bind without a port");
    if (bind(fd, (const struct sockaddr *)source, sizeof *source) != 0) fail_system("bind to a source address");
    if (connect(fd, (const struct sockaddr *)to, sizeof *to) != 0 && errno != EINPROGRESS) fail_system("connect");
    return fd;
}

void net_reset_at_end(int fd)
{
    struct linger reset = { .l_onoff = 1, .l_linger = 0 };
    if (setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset) != 0) fail_system("SO_LINGER");
}

void net_reset(int fd)
{
    net_reset_at_end(fd);
    close(fd);
}

int net_error(int fd)
{
    int error = 0;
    socklen_t size = sizeof error;
    if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) != 0) return errno;
    return error;
}

int net_epoll(void)
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

void net_watch(int epoll, int fd, uint32_t events, uint64_t key)
{
    control(epoll, EPOLL_CTL_ADD, fd, events, key);
}

void net_rewatch(int epoll, int fd, uint32_t events, uint64_t key)
{
    control(epoll, EPOLL_CTL_MOD, fd, events, key);
}
