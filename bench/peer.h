/* A contender: one library (or none, the floor), written as a competent user of it would. Plain C, so that one in C++
 * fits too. A contender is one file in peers/ and one line in registry.c. */
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

struct peer {
    const char *name;
    const char *(*version)(void);
    bool takes_workers; /* serves with job->workers threads; else always with one */

    /* Servers. Each listens on 127.0.0.1 at a port of the system's choice, says which by serve_ready, serves, and never
     * returns: its process is ended from outside. NULL where the contender has none. */
    void (*serve_accept)(const struct job *job); /* closes each connection as soon as it is accepted */
    void (*serve_echo)(const struct job *job);   /* sends every byte back */

    /* The client of the workload `connect`: each connection is reset as soon as it is established. */
    struct driver connect;
};

/* serve_ready: the server listens on this port. For peers to call. */
void serve_ready(uint16_t port);

/* Descriptors that a server may need: its connections, some that linger while they close, and its own. */
static inline unsigned job_descriptors(const struct job *job)
{
    return job->connections + job->connections / 8 + 256;
}

#ifdef __cplusplus
}
#endif

#endif
