/* What platform/os.h leaves to the system: a lock, a condition and a thread. Without <windows.h>, whose macros core
 * shall not see.
 */
#ifndef WR_OS_TYPES_H
#define WR_OS_TYPES_H

struct wr_mutex {
    void *os; /* SRWLOCK */
};

struct wr_cond {
    void *os; /* CONDITION_VARIABLE */
};

/* Stays where it is from start to join: the new thread reads here what to run, so that a start allocates nothing. */
struct wr_thread {
    void *os; /* HANDLE */
    void (*main)(void *arg);
    void *arg;
    char name[16];
};

#endif
