/* A workload: what is measured. It has a listening side and a driving side, each in a process of its own, and one of
 * the two is the contender's. A workload is one file in workloads/ and one line in registry.c. */
#ifndef BENCH_WORKLOAD_H
#define BENCH_WORKLOAD_H

#include "driver.h"
#include "options.h"
#include "peer.h"

struct workload {
    const char *name;
    const char *what;        /* for the table and for --help */
    const char *operation;   /* what is counted, in the singular */
    bool contender_drives;   /* the contender is the driving side */
    option_set options;      /* those of its own, beyond what every workload has */
    unsigned default_window; /* --window, where it is not given */
    unsigned most_window;
    bool (*has)(const struct peer *peer);                          /* can this contender take part? */
    void (*serve)(const struct peer *peer, const struct job *job); /* the listening side; never returns */
    const struct driver *(*driver)(const struct peer *peer);
};

#endif
