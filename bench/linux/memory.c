#define _GNU_SOURCE
#include "memory.h"

#include <malloc.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "fail.h"

/* jemalloc's, where the process has it as its malloc: then glibc's count is of nothing. */
int mallctl(const char *name, void *old, size_t *old_size, void *new_value, size_t new_size) __attribute__((weak));

uint64_t memory_resident(void)
{
    unsigned long long pages = 0, resident = 0;
    FILE *file = fopen("/proc/self/statm", "re");
    if (!file) fail_system("/proc/self/statm");
    if (fscanf(file, "%llu %llu", &pages, &resident) != 2) fail("/proc/self/statm has no size");
    fclose(file);
    return resident * (uint64_t)sysconf(_SC_PAGESIZE);
}

uint64_t memory_allocated(void)
{
    if (!mallctl) {
        struct mallinfo2 info = mallinfo2();
        return (uint64_t)info.uordblks + (uint64_t)info.hblkhd;
    }
    uint64_t epoch = 1; /* what follows is of the last time that this was set */
    size_t allocated = 0, size = sizeof allocated;
    mallctl("epoch", NULL, NULL, &epoch, sizeof epoch);
    return mallctl("stats.allocated", &allocated, &size, NULL, 0) == 0 ? allocated : 0;
}

/* Slab holds sockets, files, inodes, the epoll items and what is queued. */
bool memory_kernel(uint64_t *bytes)
{
    FILE *file = fopen("/proc/meminfo", "re");
    if (!file) return false;
    char line[128];
    bool found = false;
    while (!found && fgets(line, sizeof line, file)) {
        unsigned long long kib;
        found = sscanf(line, "Slab: %llu kB", &kib) == 1;
        if (found) *bytes = kib * 1024;
    }
    fclose(file);
    return found;
}
