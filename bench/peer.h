/* A contender: one library (or none, the floor), written as a competent user of it would. Plain C, so that one in C++
 * fits too. A contender is one file in peers/ and one line in registry.c.
 *
 * Whatever it does not have is NULL; it then has no part in the workloads that need it. What goes wrong ends its
 * process by one of the functions of fail.h. It may take and keep memory as it likes: each of its two sides has a
 * process of its own, which does one workload, once. */
#ifndef BENCH_PEER_H
#define BENCH_PEER_H

#include <stdbool.h>
#include <stdint.h>

#include "driver.h"
#include "fail.h"
#include "job.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Timers alone, without a network. One thread calls all of these, and is the loop's. */
struct peer_timers {
    /* Makes job->timers timers, numbered from 0, none of them armed. */
    void *(*open)(const struct job *job);
    /* Arms every timer to fire once: timer i in delays_ms[i] from now, whatever it was armed for before. None
     * is to fire in here. Called twice before each `run`: with delays of over 10 s, of which none ever fires, and then
     * with such of 200 to 700 ms. */
    void (*arm)(void *state, const uint32_t *delays_ms);
    /* Runs the loop until all of them have fired, asleep in between. Returns how often any did since they were
     * armed: job->timers, which is checked. */
    uint64_t (*run)(void *state);
};

/* Messages from other threads to a worker. */
struct peer_post {
    /* Starts a worker, which is a thread of its own and sleeps in its loop while there is nothing to do. Also what a
     * network would need is there, though nothing comes from one. */
    void *(*open)(const struct job *job);
    /* Hands one message of producer number `producer` to the worker, awake or asleep, on which the contender calls
     * post_received(producer) then, once for each message. Called by job->producers threads at once, each with its own
     * number. No more than job->window messages of a producer are under way at any time: there is always room. */
    void (*post)(void *state, unsigned producer);
};

struct peer {
    const char *name;
    const char *(*version)(void);
    bool takes_workers; /* serves with job->workers threads; else always with one */
    bool connects_so;   /* and so does the client */
    bool balances;      /* can place connections by PLACEMENT_BALANCED */

    /* Servers. Each listens on 127.0.0.1 at a port of the system's choice, says which by serve_ready, serves, and never
     * returns: its process is ended from outside. Connections end by a reset of the client's, at any time, also while
     * something is sent to them, and that is no error. Nagle's delay is off. The most connections that are open at once
     * are job->connections, and job->slow more; there may be 19,000.
     *
     * serve_accept closes each connection as soon as it is accepted. Workload `accept`.
     *
     * serve_echo sends every byte back. A client that does not read what comes back must not make the server's memory
     * grow without bound, nor hold up the others: stop reading from it, or let it go. Workloads `echo`, `accept-echo`,
     * `idle`, `ramp`, `slow` and `split`.
     *
     * serve_broadcast makes each connection a member as soon as it is accepted, and sends it one byte,
     * BROADCAST_JOINED, to say so. From then on every byte that comes is a command, whatever its value: to send one
     * packet to all members, the one that it came from included. Several may come in one read; only one connection
     * sends any. A packet has job->size bytes, filled in by broadcast_fill; the first one is number 1, the next one 2.
     * It is filled once, and no member may get part of one. Members all read. Workload `broadcast`. */
    void (*serve_accept)(const struct job *job);
    void (*serve_echo)(const struct job *job);
    void (*serve_broadcast)(const struct job *job);

    /* The client of the workload `connect`: each connection is reset as soon as it is established. */
    struct driver connect;

    struct peer_timers timers;
    struct peer_post post;

    /* Of its server, while that has nothing to do. Both are called on a thread of weir-bench's.
     *
     * memory: the bytes that the library holds, by its own count. NULL where it has none: malloc is asked then.
     *
     * shares: how many connections each worker has open now: job->workers numbers. NULL where there is one worker. */
    uint64_t (*memory)(void);
    void (*shares)(uint64_t *connections);
};

/* serve_ready: the server listens on this port. For peers to call. */
void serve_ready(uint16_t port);

/* post_received: a message of that producer has arrived. For peers to call, on the worker. */
void post_received(unsigned producer);

enum {
    BROADCAST_JOINED = 'J',
    BROADCAST_LEAST = 8, /* bytes of the smallest packet */
};

/* broadcast_fill: packet number `number`: the number in 8 bytes, the lowest first, and bytes that go on from it. */
static inline void broadcast_fill(uint8_t *packet, unsigned size, uint64_t number)
{
    for (unsigned i = 0; i < BROADCAST_LEAST; i++) packet[i] = (uint8_t)(number >> 8 * i);
    for (unsigned i = BROADCAST_LEAST; i < size; i++) packet[i] = (uint8_t)(number + i);
}

/* Descriptors that a server may need: its connections, some that linger while they close, and its own. */
static inline unsigned job_descriptors(const struct job *job)
{
    unsigned open = job->connections + job->slow;
    unsigned lingering = open / 8 < 512 ? open / 8 : 512;
    return open + lingering + 256;
}

#ifdef __cplusplus
}
#endif

#endif
