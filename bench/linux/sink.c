#define _GNU_SOURCE
#include <errno.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "linux/socket.h"
#include "net.h"
#include "peer.h"

enum { EVENTS_MAX = 256, ACCEPT_MAX = 64 };

/* The last word of a connection is the client's reset: an error here is its usual end. */
static void sink_read(int fd)
{
    char bytes[4096];
    ssize_t got;
    do {
        got = recv(fd, bytes, sizeof bytes, 0);
    } while (got > 0);
    if (got < 0 && errno == EAGAIN) return;
    close(fd);
}

static void sink_accept(int epoll, int listener)
{
    for (int i = 0; i < ACCEPT_MAX; i++) {
        int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd >= 0) {
            epoll_watch(epoll, fd, EPOLLIN | EPOLLRDHUP, (uint64_t)fd);
        } else if (errno == EAGAIN) {
            return;
        } else if (errno != ECONNABORTED) {
            fail_system("accept");
        }
    }
}

void net_sink(void)
{
    int epoll = epoll_open();
    int listener = socket_listen();
    epoll_watch(epoll, listener, EPOLLIN, (uint64_t)listener);
    serve_ready(socket_port(listener));

    struct epoll_event events[EVENTS_MAX];
    for (;;) {
        int count = epoll_wait(epoll, events, EVENTS_MAX, -1);
        if (count < 0 && errno != EINTR) fail_system("epoll_wait");
        for (int i = 0; i < count; i++) {
            int fd = (int)events[i].data.u64;
            if (fd == listener) {
                sink_accept(epoll, listener);
            } else {
                sink_read(fd);
            }
        }
    }
}
