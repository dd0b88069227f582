/* The floor: what readiness-based code by hand can do on this system, and so the measure of all others. One thread, one
 * epoll instance, and of each choice the one that was measured to be the cheapest (in CPU time an operation, the other
 * choice against this one):
 *  - one accept a wake-up, since under light load a second one finds nothing (accepting until EAGAIN: 1.23), and
 *    batches once a row of wake-ups has shown that connections queue up;
 *  - edge-triggered, and a read that did not fill the buffer emptied the socket (reading until EAGAIN: 1.07 to 1.09);
 *  - EPOLLOUT only after a send that fell short (changing it around each reply: 1.20);
 *  - a connect that the kernel has finished meanwhile is found by a second connect() (waiting in epoll: 1.05).
 * It is correct: partial reads and writes, the end of the stream, errors, a peer that does not read. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "linux/socket.h"
#include "peer.h"

enum {
    EVENTS_MAX = 256,
    ACCEPT_ROW = 16, /* wake-ups in a row that found a connection, before a batch is tried */
    ACCEPT_BATCH = 16,
    READS_MAX = 4, /* full buffers of one connection before the others have their turn */
    BUFFER = 64 * 1024,
};

static const uint32_t readable = EPOLLIN | EPOLLRDHUP | EPOLLET;

static const char *version(void)
{
    return "by hand";
}

/* ---- servers ---- */

struct conn {
    uint8_t *owed; /* what a short send left over; NULL nearly always */
    size_t owed_size, owed_sent;
};

struct server {
    int epoll, listener;
    void (*opened)(struct server *server, int fd);
    unsigned row;
    unsigned descriptors;
    struct conn *conns; /* by descriptor */
    uint8_t *buffer;
};

static void accept_some(struct server *server)
{
    unsigned batch = server->row < ACCEPT_ROW ? 1 : ACCEPT_BATCH;
    unsigned found = 0;
    for (unsigned i = 0; i < batch; i++) {
        int fd = accept4(server->listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd >= 0) {
            found++;
            server->opened(server, fd);
        } else if (errno == EAGAIN) {
            if (found <= 1) server->row = 0;
            return;
        } else if (errno != ECONNABORTED && errno != EINTR) {
            fail_system("accept");
        }
    }
    server->row++;
}

static void close_at_once(struct server *server, int fd)
{
    (void)server;
    close(fd);
}

static void watch_conn(struct server *server, int fd)
{
    if ((unsigned)fd >= server->descriptors) fail("more connections than --connections says");
    epoll_watch(server->epoll, fd, readable, (uint64_t)fd);
}

/* close() takes the descriptor out of the epoll instance. It cannot come back within the same batch of events under
 * another meaning: each descriptor is in a batch once. */
static void close_conn(struct server *server, int fd)
{
    free(server->conns[fd].owed);
    server->conns[fd] = (struct conn){ 0 };
    close(fd);
}

/* The peer does not read as fast as it sends: keep the rest, and read no more until it is gone. */
static void keep(struct server *server, int fd, const uint8_t *rest, size_t size)
{
    struct conn *conn = &server->conns[fd];
    conn->owed = malloc(size);
    if (!conn->owed) fail("out of memory");
    memcpy(conn->owed, rest, size);
    conn->owed_size = size;
    conn->owed_sent = 0;
    epoll_rewatch(server->epoll, fd, readable | EPOLLOUT, (uint64_t)fd);
}

/* True when nothing is owed any more. */
static bool flush(struct server *server, int fd)
{
    struct conn *conn = &server->conns[fd];
    while (conn->owed_sent < conn->owed_size) {
        ssize_t took = send(fd, conn->owed + conn->owed_sent, conn->owed_size - conn->owed_sent, MSG_NOSIGNAL);
        if (took < 0 && errno == EINTR) continue;
        if (took < 0 && errno != EAGAIN) close_conn(server, fd);
        if (took < 0) return false;
        conn->owed_sent += (size_t)took;
    }
    free(conn->owed);
    *conn = (struct conn){ 0 };
    /* Changing the events also tells again what is readable by now: the edge may have passed while data were owed. */
    epoll_rewatch(server->epoll, fd, readable, (uint64_t)fd);
    return true;
}

/* Sends back what was read. False when the socket takes no more, or is gone. */
static bool answer(struct server *server, int fd, size_t size)
{
    ssize_t took;
    do {
        took = send(fd, server->buffer, size, MSG_NOSIGNAL);
    } while (took < 0 && errno == EINTR);
    if (took == (ssize_t)size) return true;
    if (took < 0 && errno != EAGAIN) {
        close_conn(server, fd);
    } else {
        size_t sent = took < 0 ? 0 : (size_t)took;
        keep(server, fd, server->buffer + sent, size - sent);
    }
    return false;
}

static void echo(struct server *server, int fd, uint32_t events)
{
    if (server->conns[fd].owed) {
        flush(server, fd);
        return;
    }
    /* With an end or an error in the same edge a short read is not the last word: it will not be told again. */
    bool to_the_end = events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR);
    for (unsigned i = 0; i < READS_MAX;) {
        ssize_t got = recv(fd, server->buffer, BUFFER, 0);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0 && errno == EAGAIN) return;
        if (got <= 0) {
            close_conn(server, fd);
            return;
        }
        if (!answer(server, fd, (size_t)got)) return;
        if (got < BUFFER && !to_the_end) return;
        i++;
    }
    epoll_rewatch(server->epoll, fd, readable, (uint64_t)fd); /* tells again that there is more */
}

static void serve(const struct job *job, void (*opened)(struct server *server, int fd))
{
    struct server server = {
        .epoll = epoll_open(), .listener = socket_listen(), .opened = opened, .descriptors = job_descriptors(job)
    };
    server.conns = calloc(server.descriptors, sizeof server.conns[0]);
    server.buffer = malloc(BUFFER);
    if (!server.conns || !server.buffer) fail("out of memory");
    /* Grows the descriptor table once: under load and with a second thread that takes milliseconds each time. */
    int high = fcntl(server.listener, F_DUPFD_CLOEXEC, (int)server.descriptors - 1);
    if (high < 0) fail_system("descriptor %u", server.descriptors - 1);
    close(high);
    epoll_watch(server.epoll, server.listener, EPOLLIN, (uint64_t)server.listener);
    serve_ready(socket_port(server.listener));

    struct epoll_event events[EVENTS_MAX];
    for (;;) {
        int count = epoll_wait(server.epoll, events, EVENTS_MAX, -1);
        if (count < 0 && errno != EINTR) fail_system("epoll_wait");
        for (int i = 0; i < count; i++) {
            int fd = (int)events[i].data.u64;
            if (fd == server.listener) {
                accept_some(&server);
            } else {
                echo(&server, fd, events[i].events);
            }
        }
    }
}

static void serve_accept(const struct job *job)
{
    serve(job, close_at_once);
}

static void serve_echo(const struct job *job)
{
    serve(job, watch_conn);
}

/* ---- client ---- */

struct attempt {
    int fd;
    bool watched;
    uint64_t since_ns;
};

struct client {
    struct sockaddr_in server;
    int epoll;
    unsigned window;
    unsigned waiting; /* attempts that epoll watches */
    struct attempt attempts[];
};

static void *client_open(const struct job *job)
{
    struct client *client = calloc(1, sizeof *client + job->window * sizeof client->attempts[0]);
    if (!client) fail("out of memory");
    struct address server = address_of(job->address);
    client->server = socket_address(&server);
    client->epoll = epoll_open();
    client->window = job->window;
    for (unsigned i = 0; i < client->window; i++) client->attempts[i].fd = -1;
    return client;
}

/* A pass starts what the window has room for. False when the limit allows no more. */
static bool start_attempts(struct client *client, const struct limit *limit, struct tally *tally)
{
    for (unsigned i = 0; i < client->window; i++) {
        struct attempt *attempt = &client->attempts[i];
        if (attempt->fd >= 0) continue;
        uint64_t now_ns = clock_ns();
        if (!tally_may_start(tally, limit, now_ns)) return false;
        attempt->since_ns = now_ns;
        attempt->watched = false;
        attempt->fd = socket_connect(&client->server);
    }
    return true;
}

static void finish_attempt(struct client *client, struct attempt *attempt, struct tally *tally)
{
    tally_finish(tally, clock_ns() - attempt->since_ns);
    if (attempt->watched) client->waiting--;
    socket_reset(attempt->fd);
    attempt->fd = -1;
}

/* And asks for each once more, instead of waiting for its writability: over loopback all are there by now. */
static void check_attempts(struct client *client, struct tally *tally)
{
    for (unsigned i = 0; i < client->window; i++) {
        struct attempt *attempt = &client->attempts[i];
        if (attempt->fd < 0 || attempt->watched) continue;
        if (connect(attempt->fd, (struct sockaddr *)&client->server, sizeof client->server) == 0 || errno == EISCONN) {
            finish_attempt(client, attempt, tally);
        } else if (errno == EALREADY) {
            attempt->watched = true;
            client->waiting++;
            epoll_watch(client->epoll, attempt->fd, EPOLLOUT, i);
        } else {
            fail_system("connect");
        }
    }
}

static void poll_attempts(struct client *client, bool block, struct tally *tally)
{
    struct epoll_event events[EVENTS_MAX];
    int count = epoll_wait(client->epoll, events, EVENTS_MAX, block ? SILENCE_MS : 0);
    if (count == 0 && block) fail("no connect ended for %d s", SILENCE_MS / 1000);
    for (int i = 0; i < count; i++) {
        struct attempt *attempt = &client->attempts[events[i].data.u64];
        int error = socket_error(attempt->fd);
        if (error != 0) fail_code(error, "connect");
        finish_attempt(client, attempt, tally);
    }
}

/* It polls once a pass, as any server must that has other sockets too. */
static void client_burst(void *state, const struct limit *limit, struct tally *tally)
{
    struct client *client = state;
    bool more;
    do {
        more = start_attempts(client, limit, tally);
        check_attempts(client, tally);
        poll_attempts(client, client->waiting > 0 && (!more || client->waiting == client->window), tally);
    } while (more || tally_in_flight(tally) > 0);
}

const struct peer peer_floor = {
    .name = "floor",
    .version = version,
    .serve_accept = serve_accept,
    .serve_echo = serve_echo,
    .connect = { client_open, client_burst },
};
