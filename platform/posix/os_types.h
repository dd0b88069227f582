/* What platform/os.h leaves to the system: a lock, a condition and a thread. */
#ifndef WR_OS_TYPES_H
#define WR_OS_TYPES_H

#include <pthread.h>

struct wr_mutex {
    pthread_mutex_t os;
};

struct wr_cond {
    pthread_cond_t os;
};

/* Stays where it is from start to join: the new thread reads here what to run, so that a start allocates nothing. */
struct wr_thread {
    pthread_t os;
    void (*main)(void *arg);
    void *arg;
    char name[16];
};

#endif
