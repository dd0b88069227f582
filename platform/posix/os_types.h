/* What platform/os.h leaves to the system: a lock and a thread. */
#ifndef WR_OS_TYPES_H
#define WR_OS_TYPES_H

#include <pthread.h>

struct wr_mutex {
    pthread_mutex_t os;
};

struct wr_thread {
    pthread_t os;
};

#endif
