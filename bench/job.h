/* What both sides of a workload are told. */
#ifndef BENCH_JOB_H
#define BENCH_JOB_H

#ifdef __cplusplus
extern "C" {
#endif

/* Which worker gets a connection, for contenders that leave a choice. */
enum placement {
    PLACEMENT_DEFAULT,  /* what the contender does unless it is told otherwise */
    PLACEMENT_SPREAD,   /* the kernel picks one, by a listening socket a worker */
    PLACEMENT_BALANCED, /* the worker that has the fewest */
};

enum { JOB_WORKERS_MAX = 64, JOB_PRODUCERS_MAX = 16 };

struct job {
    char address[32];         /* where the driving side connects to: "127.0.0.1:7777" */
    unsigned workers;         /* threads, for a contender that has them */
    unsigned connections;     /* that are open at once */
    unsigned size;            /* bytes of a message */
    unsigned window;          /* operations in flight: the workload says of what */
    unsigned rate;            /* messages a second in all, each at its time; 0: the next one when one has come back */
    unsigned slow;            /* connections beside those, which ask and never read */
    unsigned timers;          /* of the workload `timers` */
    unsigned producers;       /* threads that post, in `post` */
    enum placement placement; /* PLACEMENT_DEFAULT but in `split` */
};

#ifdef __cplusplus
}
#endif

#endif
