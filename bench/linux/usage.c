#define _GNU_SOURCE
#include "usage.h"

#include <stdio.h>
#include <sys/resource.h>
#include <time.h>

static uint64_t read_clock(clockid_t which)
{
    struct timespec now;
    clock_gettime(which, &now);
    return (uint64_t)now.tv_sec * NS_PER_S + (uint64_t)now.tv_nsec;
}

static uint64_t from_timeval(struct timeval time)
{
    return (uint64_t)time.tv_sec * NS_PER_S + (uint64_t)time.tv_usec * NS_PER_US;
}

/* The second number of schedstat, which for a process is that of its main thread. */
static uint64_t read_waited(void)
{
    FILE *file = fopen("/proc/self/schedstat", "re");
    if (!file) return 0;
    unsigned long long ran_ns, waited_ns;
    if (fscanf(file, "%llu %llu", &ran_ns, &waited_ns) != 2) waited_ns = 0;
    fclose(file);
    return waited_ns;
}

uint64_t clock_ns(void)
{
    return read_clock(CLOCK_MONOTONIC);
}

struct usage usage_now(void)
{
    struct rusage split;
    getrusage(RUSAGE_SELF, &split);
    return (struct usage){ .cpu_ns = read_clock(CLOCK_PROCESS_CPUTIME_ID),
                           .user_ns = from_timeval(split.ru_utime),
                           .system_ns = from_timeval(split.ru_stime),
                           .waited_ns = read_waited() };
}

const char *usage_clock_text(void)
{
    return "CLOCK_PROCESS_CPUTIME_ID, in nanoseconds";
}
