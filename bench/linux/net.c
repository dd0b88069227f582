#define _GNU_SOURCE
#include "net.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "driver.h"
#include "fail.h"
#include "linux/socket.h"

enum { EVENTS_MAX = 256 };

struct stream {
    int fd;
    bool wants_room;    /* EPOLLOUT is on */
    bool resets;        /* however it is closed */
    const uint8_t *ask; /* what is left of it */
    size_t ask_size;
};

struct net {
    int epoll;
    struct stream streams[];
};

struct net *net_create(unsigned streams)
{
    struct net *net = calloc(1, sizeof *net + streams * sizeof net->streams[0]);
    if (!net) fail("out of memory");
    net->epoll = epoll_open();
    return net;
}

static int connect_to(const struct address *to)
{
    struct sockaddr_in address = socket_address(to);
    return socket_connect(&address);
}

void net_start(struct net *net, unsigned stream, const struct address *to)
{
    int fd = connect_to(to);
    net->streams[stream] = (struct stream){ .fd = fd };
    epoll_watch(net->epoll, fd, EPOLLIN | EPOLLRDHUP, stream);
}

/* Sends what is left of the question. Over loopback the connection is nearly always there when connect() returns, so
 * that this needs no wait. */
static void ask(struct stream *stream)
{
    ssize_t took = send(stream->fd, stream->ask, stream->ask_size, MSG_NOSIGNAL);
    if (took < 0 && errno != EAGAIN) fail_system("connect and send");
    if (took < 0) return;
    stream->ask += took;
    stream->ask_size -= (size_t)took;
}

void net_ask(struct net *net, unsigned stream, const struct address *to, const uint8_t *data, size_t size)
{
    int fd = connect_to(to);
    net->streams[stream] = (struct stream){ .fd = fd, .resets = true, .ask = data, .ask_size = size };
    socket_reset_at_end(fd);
    ask(&net->streams[stream]);
    epoll_watch(net->epoll, fd, EPOLLIN | EPOLLRDHUP | (net->streams[stream].ask_size > 0 ? EPOLLOUT : 0u), stream);
}

void net_open(struct net *net, unsigned stream, const struct address *to)
{
    int fd = connect_to(to);
    net->streams[stream] = (struct stream){ .fd = fd, .resets = true };
    epoll_watch(net->epoll, fd, EPOLLOUT, stream);
    struct epoll_event event;
    if (epoll_wait(net->epoll, &event, 1, SILENCE_MS) != 1) fail("connection %u: no answer", stream + 1);
    int error = socket_error(fd);
    if (error != 0) fail_code(error, "connection %u", stream + 1);
    int on = 1;
    if (setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) != 0) fail_system("TCP_NODELAY");
    socket_reset_at_end(fd);
    epoll_rewatch(net->epoll, fd, EPOLLIN, stream);
}

static uint32_t what_of(uint32_t events)
{
    uint32_t what = 0;
    if (events & (EPOLLIN | EPOLLHUP)) what |= NET_READABLE;
    if (events & EPOLLOUT) what |= NET_WRITABLE;
    if (events & EPOLLRDHUP) what |= NET_ENDED;
    if (events & EPOLLERR) what |= NET_FAILED;
    return what;
}

static unsigned tell(struct net *net, const struct epoll_event *events, int count, struct net_event *out)
{
    unsigned told = 0;
    for (int i = 0; i < count; i++) {
        uint32_t number = (uint32_t)events[i].data.u64, what = what_of(events[i].events);
        struct stream *stream = &net->streams[number];
        if (stream->ask_size > 0 && what == NET_WRITABLE) {
            ask(stream);
            if (stream->ask_size == 0) epoll_rewatch(net->epoll, stream->fd, EPOLLIN | EPOLLRDHUP, number);
            continue;
        }
        out[told++] = (struct net_event){ number, what };
    }
    return told;
}

unsigned net_wait(struct net *net, struct net_event *out, unsigned capacity, int timeout_ms)
{
    struct epoll_event events[EVENTS_MAX];
    unsigned told;
    int count;
    do {
        count = epoll_wait(net->epoll, events, capacity < EVENTS_MAX ? (int)capacity : EVENTS_MAX, timeout_ms);
        told = tell(net, events, count, out);
    } while (count > 0 && told == 0); /* questions went on */
    return told;
}

size_t net_receive(struct net *net, unsigned stream, uint8_t *buffer, size_t size)
{
    ssize_t got = recv(net->streams[stream].fd, buffer, size, 0);
    if (got == 0) fail("the server closed a connection");
    if (got < 0 && errno != EAGAIN) fail_system("recv");
    return got < 0 ? 0 : (size_t)got;
}

size_t net_send(struct net *net, unsigned stream, const uint8_t *data, size_t size)
{
    ssize_t took = send(net->streams[stream].fd, data, size, MSG_NOSIGNAL);
    if (took < 0 && errno != EAGAIN) fail_system("send");
    return took < 0 ? 0 : (size_t)took;
}

void net_want_room(struct net *net, unsigned stream, bool wanted)
{
    struct stream *changed = &net->streams[stream];
    if (changed->wants_room == wanted) return;
    changed->wants_room = wanted;
    epoll_rewatch(net->epoll, changed->fd, wanted ? EPOLLIN | EPOLLOUT : EPOLLIN, stream);
}

int net_error(struct net *net, unsigned stream)
{
    return socket_error(net->streams[stream].fd);
}

void net_reset(struct net *net, unsigned stream)
{
    const struct stream *closed = &net->streams[stream];
    if (closed->resets) {
        close(closed->fd);
    } else {
        socket_reset(closed->fd);
    }
}

intptr_t net_deaf_open(const struct address *to)
{
    int fd = connect_to(to), least = 1; /* the kernel raises it to its own least */
    if (setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &least, sizeof least) != 0) fail_system("SO_RCVBUF");
    socket_reset_at_end(fd);
    struct pollfd wait = { .fd = fd, .events = POLLOUT };
    if (poll(&wait, 1, SILENCE_MS) != 1) fail("a connection: no answer");
    int error = socket_error(fd);
    if (error != 0) fail_code(error, "connect");
    return fd;
}

int net_deaf_send(intptr_t deaf, const uint8_t *data, size_t size)
{
    ssize_t took = send((int)deaf, data, size, MSG_NOSIGNAL);
    if (took >= 0) return (int)took;
    if (errno == EAGAIN) return 0;
    if (errno != ECONNRESET && errno != EPIPE) fail_system("send");
    return NET_GONE;
}

void net_deaf_close(intptr_t deaf)
{
    close((int)deaf);
}
