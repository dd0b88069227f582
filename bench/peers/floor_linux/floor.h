/* What the parts of Linux's floor share: its server, as a loop that a workload hangs its own doings into. */
#ifndef BENCH_PEERS_FLOOR_LINUX_FLOOR_H
#define BENCH_PEERS_FLOOR_LINUX_FLOOR_H

#include <stddef.h>

#include "peer.h"

enum { FLOOR_BUFFER = 64 * 1024 };

struct floor_server;

/* What a server does. */
struct floor_kind {
    void (*opened)(struct floor_server *server, int fd);
    /* There is something to read, and nothing owed; `events` are epoll's. NULL: connections do not stay. */
    void (*readable)(struct floor_server *server, int fd, uint32_t events);
    void (*closing)(struct floor_server *server, int fd); /* just before its close(); may be NULL */
};

struct floor_conn {
    uint8_t *owed; /* what a short send left over; NULL nearly always */
    size_t owed_size, owed_sent;
    unsigned place; /* the kind's own */
};

/* One of them is a thread's: all that its loop touches. */
struct floor_server {
    int epoll, listener;
    const struct floor_kind *kind;
    const struct job *job;
    unsigned row;
    unsigned descriptors;
    struct floor_conn *conns; /* by descriptor */
    uint8_t *buffer;
    uint64_t open; /* connections; written by its thread alone, and read by others */
};

/* floor_serve: serves with `workers` threads, each with a listening socket of its own on one port. Never returns. */
void floor_serve(const struct job *job, const struct floor_kind *kind, unsigned workers);

/* floor_watch: from now on the connection is read. floor_close: ends it. floor_receive: reads into server->buffer; 0 if
 * there is nothing, or no connection any more. */
void floor_watch(struct floor_server *server, int fd);
void floor_close(struct floor_server *server, int fd);
size_t floor_receive(struct floor_server *server, int fd);

/* floor_send: sends, and keeps what the socket does not take. False when something is owed, or the connection is gone.
 * floor_again: has what is readable by now be told once more. */
bool floor_send(struct floor_server *server, int fd, const uint8_t *bytes, size_t size);
void floor_again(struct floor_server *server, int fd);

void floor_shares(uint64_t *connections);
void floor_serve_broadcast(const struct job *job);

void *floor_client_open(const struct job *job);
void floor_client_burst(void *state, const struct limit *limit, struct tally *tally);

void *floor_timers_open(const struct job *job);
void floor_timers_arm(void *state, const uint32_t *delays_ms);
uint64_t floor_timers_run(void *state);

void *floor_post_open(const struct job *job);
void floor_post_post(void *state, unsigned producer);

#endif
