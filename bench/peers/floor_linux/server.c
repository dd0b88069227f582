#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "linux/socket.h"
#include "peers/floor_linux/floor.h"
#include "thread.h"

enum {
    EVENTS_MAX = 256,
    ACCEPT_ROW = 16, /* wake-ups in a row that found a connection, before a batch is tried */
    ACCEPT_BATCH = 16,
};

static const uint32_t readable = EPOLLIN | EPOLLRDHUP | EPOLLET;

static struct floor_server *servers;
static unsigned server_count;

static void accept_some(struct floor_server *server)
{
    unsigned batch = server->row < ACCEPT_ROW ? 1 : ACCEPT_BATCH;
    unsigned found = 0;
    for (unsigned i = 0; i < batch; i++) {
        int fd = accept4(server->listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd >= 0) {
            found++;
            server->kind->opened(server, fd);
        } else if (errno == EAGAIN) {
            if (found <= 1) server->row = 0;
            return;
        } else if (errno != ECONNABORTED && errno != EINTR) {
            fail_system("accept");
        }
    }
    server->row++;
}

static void count(struct floor_server *server, int change)
{
    __atomic_store_n(&server->open, server->open + (uint64_t)(int64_t)change, __ATOMIC_RELAXED);
}

void floor_shares(uint64_t *connections)
{
    for (unsigned i = 0; i < server_count; i++) connections[i] = __atomic_load_n(&servers[i].open, __ATOMIC_RELAXED);
}

void floor_watch(struct floor_server *server, int fd)
{
    if ((unsigned)fd >= server->descriptors) fail("more connections than --connections says");
    epoll_watch(server->epoll, fd, readable, (uint64_t)fd);
    count(server, 1);
}

/* close() takes the descriptor out of the epoll instance. It cannot come back within the same batch of events under
 * another meaning: each descriptor is in a batch once. */
void floor_close(struct floor_server *server, int fd)
{
    if (server->kind->closing) server->kind->closing(server, fd);
    free(server->conns[fd].owed);
    server->conns[fd] = (struct floor_conn){ 0 };
    close(fd);
    count(server, -1);
}

size_t floor_receive(struct floor_server *server, int fd)
{
    ssize_t got;
    do {
        got = recv(fd, server->buffer, FLOOR_BUFFER, 0);
    } while (got < 0 && errno == EINTR);
    if (got == 0 || (got < 0 && errno != EAGAIN)) floor_close(server, fd);
    return got > 0 ? (size_t)got : 0;
}

void floor_again(struct floor_server *server, int fd)
{
    epoll_rewatch(server->epoll, fd, readable, (uint64_t)fd);
}

/* The peer does not read as fast as it is sent to: keep the rest, behind what is kept already. */
static void keep(struct floor_server *server, int fd, const uint8_t *rest, size_t size)
{
    struct floor_conn *conn = &server->conns[fd];
    uint8_t *owed = realloc(conn->owed, conn->owed_size + size);
    if (!owed) fail("out of memory");
    memcpy(owed + conn->owed_size, rest, size);
    if (!conn->owed) epoll_rewatch(server->epoll, fd, readable | EPOLLOUT, (uint64_t)fd);
    conn->owed = owed;
    conn->owed_size += size;
}

bool floor_send(struct floor_server *server, int fd, const uint8_t *bytes, size_t size)
{
    if (server->conns[fd].owed) {
        keep(server, fd, bytes, size);
        return false;
    }
    ssize_t took;
    do {
        took = send(fd, bytes, size, MSG_NOSIGNAL);
    } while (took < 0 && errno == EINTR);
    if (took == (ssize_t)size) return true;
    if (took < 0 && errno != EAGAIN) {
        floor_close(server, fd);
    } else {
        size_t sent = took < 0 ? 0 : (size_t)took;
        keep(server, fd, bytes + sent, size - sent);
    }
    return false;
}

/* Sends on what is owed. */
static void flush(struct floor_server *server, int fd)
{
    struct floor_conn *conn = &server->conns[fd];
    while (conn->owed_sent < conn->owed_size) {
        ssize_t took = send(fd, conn->owed + conn->owed_sent, conn->owed_size - conn->owed_sent, MSG_NOSIGNAL);
        if (took < 0 && errno == EINTR) continue;
        if (took < 0 && errno != EAGAIN) floor_close(server, fd);
        if (took < 0) return;
        conn->owed_sent += (size_t)took;
    }
    free(conn->owed);
    conn->owed = NULL;
    conn->owed_size = conn->owed_sent = 0;
    /* Changing the events also tells again what is readable by now: the edge may have passed while data were owed. */
    floor_again(server, fd);
}

static void loop(void *data)
{
    struct floor_server *server = data;
    struct epoll_event events[EVENTS_MAX];
    for (;;) {
        int count = epoll_wait(server->epoll, events, EVENTS_MAX, -1);
        if (count < 0 && errno != EINTR) fail_system("epoll_wait");
        for (int i = 0; i < count; i++) {
            int fd = (int)events[i].data.u64;
            if (fd == server->listener) {
                accept_some(server);
            } else if (server->conns[fd].owed) {
                flush(server, fd);
            } else {
                server->kind->readable(server, fd, events[i].events);
            }
        }
    }
}

/* Grows the descriptor table once: under load and with a second thread that takes milliseconds each time. */
static void grow_table(int any, unsigned descriptors)
{
    int high = fcntl(any, F_DUPFD_CLOEXEC, (int)descriptors - 1);
    if (high < 0) fail_system("descriptor %u", descriptors - 1);
    close(high);
}

void floor_serve(const struct job *job, const struct floor_kind *kind, unsigned workers)
{
    unsigned descriptors = job_descriptors(job) + 4 * workers;
    servers = calloc(workers, sizeof servers[0]);
    if (!servers) fail("out of memory");
    uint16_t port = 0;
    for (unsigned i = 0; i < workers; i++) {
        struct floor_server *server = &servers[i];
        *server = (struct floor_server){ .epoll = epoll_open(),
                                         .listener = workers > 1 ? socket_listen_shared(port) : socket_listen(),
                                         .kind = kind,
                                         .job = job,
                                         .descriptors = descriptors,
                                         .conns = calloc(descriptors, sizeof server->conns[0]),
                                         .buffer = malloc(FLOOR_BUFFER) };
        if (!server->conns || !server->buffer) fail("out of memory");
        port = socket_port(server->listener);
        epoll_watch(server->epoll, server->listener, EPOLLIN, (uint64_t)server->listener);
    }
    grow_table(servers[0].listener, descriptors);
    server_count = workers;
    for (unsigned i = 1; i < workers; i++) thread_start(loop, &servers[i]);
    serve_ready(port);
    loop(&servers[0]);
}
