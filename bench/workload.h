/* A workload: what is measured. It has a listening side and a driving side, each in a process of its own, and one of
 * the two is the contender's. A workload is one file in workloads/ and one line in registry.c. */
#ifndef BENCH_WORKLOAD_H
#define BENCH_WORKLOAD_H

#include "driver.h"
#include "options.h"
#include "peer.h"

struct contender;
struct contest;
struct sample;

/* A number that a workload has beside operations, time and CPU: a column of its table and a field of its JSON. One that
 * is not known here, or means nothing, is NAN. */
struct figure {
    const char *name;  /* in JSON */
    const char *title; /* over the column */
    unsigned digits;   /* behind the point */
    bool range;        /* the table has the least and the most of all rounds beside the median */
};

/* The servers of a peer. */
enum server { SERVER_NONE, SERVER_ACCEPT, SERVER_ECHO, SERVER_BROADCAST };

struct workload {
    const char *name;
    const char *what;      /* for the table and for --help */
    const char *operation; /* what is counted, in the singular */
    bool contender_drives; /* the contender is the driving side */
    bool alone;            /* there is no listening side */
    bool fresh;            /* both sides begin anew for each slice, which is one burst and has no warm-up */
    bool places;           /* a contender takes part once for each placement that it can do, and tells its shares */
    bool undisturbed;      /* one late call counts: both sides go before other processes, where they may */
    option_set options;    /* those of its own, beyond what every workload has */
    struct job usual;      /* what is not said by options, and is not 0 */
    unsigned least_window, most_window, least_size; /* if not 0 */
    unsigned rounds, slice_ms;                      /* if not said, and not 0: the general ones */
    unsigned warm_up_each; /* if not 0: operations a connection that the warm-up has, and takes what time they need */
    const struct figure *figures; /* FIGURES_MAX at the most, and one without a name behind them; or NULL */
    bool only_figures;            /* its table has no others */
    const char *note;             /* under the table: what its figures are; or NULL */

    /* Where the contender listens: with which of its servers, and what drives that. */
    enum server server;
    struct driver load;

    /* Where it drives: can this contender take part, and how does it drive? */
    bool (*has)(const struct peer *peer);
    const struct driver *(*driver)(const struct peer *peer);

    /* One slice, from which it fills the sample but for its latencies; NULL: the general way. */
    void (*measure)(const struct contest *contest, struct contender *contender, struct sample *out);
};

/* workload_has: can this contender take part?
 * workload_serve: the listening side, which never returns. `peer` is NULL where that is not the contender's.
 * workload_driver: the driving side, and `peer` likewise. */
bool workload_has(const struct workload *workload, const struct peer *peer);
void workload_serve(const struct workload *workload, const struct peer *peer, const struct job *job);
const struct driver *workload_driver(const struct workload *workload, const struct peer *peer);

#endif
