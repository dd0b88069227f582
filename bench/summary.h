/* What the rounds of a contest come to. */
#ifndef BENCH_SUMMARY_H
#define BENCH_SUMMARY_H

#include "contest.h"

struct spread {
    unsigned values;          /* how many there are; if none, the rest means nothing */
    double low, median, high; /* quartiles */
    double least, most;
};

/* CPU time is of the contender's process, in microseconds per operation. */
struct summary {
    struct spread rate; /* operations a second */
    struct spread cpu_us;
    double user_us, system_us; /* the median, split as over the whole contest: one slice is too short for that */
    struct spread ratio;       /* CPU per operation, to that of the first one in the same round, if the clock saw any */
    unsigned saturated;        /* rounds in which the other side ran for over 95 % of the time that it could */
    double late;               /* share of the operations that the other side began late, where they have their times */
    struct spread figures[FIGURES_MAX];
};

struct summary summary_of(const struct contest *contest, unsigned which);

/* summary_workers: threads that the contender serves, or connects, with. */
unsigned summary_workers(const struct contest *contest, const struct contender *contender);

/* summary_disturbed: the share of the time in which the other side waited while its core was taken. With a core of its
 * own that is the work of processes that do not belong to the contest. */
double summary_disturbed(const struct contest *contest);

#endif
