/* What the rounds of a contest come to. */
#ifndef BENCH_SUMMARY_H
#define BENCH_SUMMARY_H

#include "contest.h"

struct spread {
    double low, median, high; /* quartiles */
};

/* CPU time is of the contender's process, in microseconds per operation. */
struct summary {
    struct spread rate; /* operations a second */
    struct spread cpu_us;
    double user_us, system_us; /* the median, split as over the whole contest: one slice is too short for that */
    struct spread ratio;       /* CPU per operation, to that of the first contender in the same round */
    unsigned saturated;        /* rounds in which the other side used over 95 % of its core */
};

struct summary summary_of(const struct contest *contest, unsigned which);

#endif
