/* The floor's client, of the workload `connect`. */
#define _GNU_SOURCE
#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "linux/socket.h"
#include "peers/floor_linux/floor.h"

enum { EVENTS_MAX = 256 };

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

void *floor_client_open(const struct job *job)
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
void floor_client_burst(void *state, const struct limit *limit, struct tally *tally)
{
    struct client *client = state;
    bool more;
    do {
        more = start_attempts(client, limit, tally);
        check_attempts(client, tally);
        poll_attempts(client, client->waiting > 0 && (!more || client->waiting == client->window), tally);
    } while (more || tally_in_flight(tally) > 0);
}
