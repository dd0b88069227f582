/* A test in a process of its own: what the runner (own.c) needs of a system. run_posix.c and
 * run_windows.c implement this page. */
#ifndef WEIR_TEST_RUN_H
#define WEIR_TEST_RUN_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "harness/own.h"

/* How a test's process tells the runner what came of it; any other status is a failure too. */
enum { WR_EXIT_PASSED = 0, WR_EXIT_FAILED = 1, WR_EXIT_SKIPPED = 77 };

/* A running test. The runner leaves what is not named here to the system's file. */
typedef struct wr_child {
    const wr_test *test;  /* NULL: nothing runs here */
    FILE *output;         /* what the test prints, both streams */
    uint64_t deadline_ms; /* the runner's */
    intptr_t process;     /* the system's */
    intptr_t group;       /* the system's, where what the test starts has a handle of its own */
    bool restarted;       /* the system's: its first process could not begin */
} wr_child;

typedef struct wr_child_end {
    int status;     /* the exit status, when it was not killed */
    char crash[64]; /* else the system's words; empty for an exit */
} wr_child_end;

/* wr_child_start: runs `test` in a new process that calls wr_test_run. False: the system cannot, and has said why on
 * stderr. */
bool wr_child_start(wr_child *child, const wr_test *test);

/* wr_child_wait: waits until one of the children has ended, with all that it started, and returns its number; -1 when
 * deadline_ms passes first. Some child is running. */
int wr_child_wait(wr_child *children, int count, uint64_t deadline_ms, wr_child_end *end);

/* wr_child_kill: ends it at once; wr_child_wait then delivers it. */
void wr_child_kill(wr_child *child);

/* wr_run_now_ms: a monotonic clock. */
uint64_t wr_run_now_ms(void);

/* wr_test_run: runs `test` in this process and ends it with one of the statuses above. */
__attribute__((noreturn)) void wr_test_run(const wr_test *test);

#endif
