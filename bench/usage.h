/* The clock, and what a process has spent. linux/ and windows/ implement the first part of this page. */
#ifndef BENCH_USAGE_H
#define BENCH_USAGE_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

enum { NS_PER_US = 1000, NS_PER_MS = 1000000, NS_PER_S = 1000000000 };

/* CPU time of all threads of a process. `cpu_ns` is as exact as usage_clock_text says. The split into user and system
 * is the kernel's, which on most builds samples it 64 to 1,000 times a second: good over a whole run, a guess over one
 * slice. */
struct usage {
    uint64_t cpu_ns;
    uint64_t user_ns;
    uint64_t system_ns;
    uint64_t waited_ns; /* of the main thread: ready to run, but its core was taken; 0 where the kernel does not say */
};

uint64_t clock_ns(void);
struct usage usage_now(void);
const char *usage_clock_text(void); /* what cpu_ns is read from, and how fine that is */

struct usage usage_since(const struct usage *before);
struct usage usage_between(const struct usage *before, const struct usage *after);

#ifdef __cplusplus
}
#endif

#endif
