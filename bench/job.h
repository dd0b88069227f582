/* What both sides of a workload are told. */
#ifndef BENCH_JOB_H
#define BENCH_JOB_H

#ifdef __cplusplus
extern "C" {
#endif

struct job {
    char address[32];     /* where the driving side connects to: "127.0.0.1:7777" */
    unsigned workers;     /* threads, for a contender that has them */
    unsigned connections; /* that are open at once */
    unsigned size;        /* bytes of a message */
    unsigned window;      /* operations in flight: of the driver in accept and connect, of a connection in echo */
};

#ifdef __cplusplus
}
#endif

#endif
