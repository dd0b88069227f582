#define _GNU_SOURCE
#include "machine.h"

#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "fail.h"

static void read_cpu_model(char *out, size_t size)
{
    FILE *file = fopen("/proc/cpuinfo", "re");
    if (!file) return;
    char line[256];
    while (fgets(line, sizeof line, file)) {
        const char *value = strchr(line, ':');
        if (strncmp(line, "model name", 10) != 0 || !value) continue;
        value += 1 + strspn(value + 1, " \t");
        snprintf(out, size, "%.*s", (int)strcspn(value, "\n"), value);
        break;
    }
    fclose(file);
}

struct machine machine_describe(void)
{
    struct machine machine = { .cores = sysconf(_SC_NPROCESSORS_ONLN) };
    struct utsname system;
    if (uname(&system) != 0) fail_system("uname");
    snprintf(machine.cpu, sizeof machine.cpu, "%s", system.machine); /* Arm's cpuinfo names no model */
    read_cpu_model(machine.cpu, sizeof machine.cpu);
    snprintf(machine.kernel, sizeof machine.kernel, "%s %s", system.sysname, system.release);
    return machine;
}

bool machine_stay_awake(void)
{
    /* The kernel forgets the wish when the descriptor is closed, so it stays open. */
    int fd = open("/dev/cpu_dma_latency", O_WRONLY | O_CLOEXEC);
    int32_t most_us = 0;
    return fd >= 0 && write(fd, &most_us, sizeof most_us) == (ssize_t)sizeof most_us;
}

unsigned machine_raise_descriptors(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0) fail_system("RLIMIT_NOFILE");
    limit.rlim_cur = limit.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &limit) != 0) fail_system("RLIMIT_NOFILE");
    return limit.rlim_cur < INT32_MAX ? (unsigned)limit.rlim_cur : INT32_MAX;
}

/* The n-th of the allowed cores, or the last one. */
static int allowed_cpu(const cpu_set_t *allowed, unsigned n)
{
    int found = 0;
    for (int cpu = 0; cpu < CPU_SETSIZE; cpu++) {
        if (!CPU_ISSET((size_t)cpu, allowed)) continue;
        found = cpu;
        if (n-- == 0) break;
    }
    return found;
}

void machine_place(unsigned workers, bool together, struct place *contender, struct place *other)
{
    cpu_set_t allowed;
    if (sched_getaffinity(0, sizeof allowed, &allowed) != 0) fail_system("sched_getaffinity");
    *contender = *other = (struct place){ .batch = together };
    if (together) workers = 1;
    for (unsigned i = 0; i < workers; i++) CPU_SET((size_t)allowed_cpu(&allowed, i), &contender->cpus);
    CPU_SET((size_t)allowed_cpu(&allowed, together ? 0 : workers), &other->cpus);
}

void machine_enter(const struct place *place)
{
    if (sched_setaffinity(0, sizeof place->cpus, &place->cpus) != 0) fail_system("sched_setaffinity");
    struct sched_param none = { 0 };
    if (place->batch && sched_setscheduler(0, SCHED_BATCH, &none) != 0) fail_system("SCHED_BATCH");
}

void machine_cpus_text(const cpu_set_t *cpus, char *out, unsigned size)
{
    unsigned used = 0;
    out[0] = '\0';
    for (int first = 0; first < CPU_SETSIZE && used < size; first++) {
        if (!CPU_ISSET((size_t)first, cpus)) continue;
        int last = first;
        while (last + 1 < CPU_SETSIZE && CPU_ISSET((size_t)last + 1, cpus)) last++;
        const char *comma = used > 0 ? "," : "";
        used += (unsigned)(last > first ? snprintf(out + used, size - used, "%s%d-%d", comma, first, last)
                                        : snprintf(out + used, size - used, "%s%d", comma, first));
        first = last;
    }
}
