#define _GNU_SOURCE
#include "machine.h"

#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "fail.h"

enum { PRIORITY = 40 }; /* of SCHED_FIFO: before all that has none, behind the kernel's own of that kind */

_Static_assert((int)CPUS_MAX >= (int)CPU_SETSIZE, "struct cpus holds what cpu_set_t does");

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

struct cpus machine_cpus(void)
{
    cpu_set_t set;
    struct cpus allowed = { 0 };
    if (sched_getaffinity(0, sizeof set, &set) != 0) fail_system("sched_getaffinity");
    for (unsigned cpu = 0; cpu < CPU_SETSIZE; cpu++) {
        if (CPU_ISSET(cpu, &set)) cpus_add(&allowed, cpu);
    }
    return allowed;
}

void machine_enter(const struct place *place)
{
    cpu_set_t set;
    CPU_ZERO(&set);
    for (unsigned cpu = 0; cpu < CPU_SETSIZE; cpu++) {
        if (cpus_have(&place->cpus, cpu)) CPU_SET(cpu, &set);
    }
    if (sched_setaffinity(0, sizeof set, &set) != 0) fail_system("sched_setaffinity");
    struct sched_param none = { 0 };
    if (place->shared && sched_setscheduler(0, SCHED_BATCH, &none) != 0) fail_system("SCHED_BATCH");
    struct sched_param first = { .sched_priority = PRIORITY };
    if (place->first && sched_setscheduler(0, SCHED_FIFO, &first) != 0) fail_system("SCHED_FIFO");
}

bool machine_may_go_first(void)
{
    struct sched_param first = { .sched_priority = PRIORITY }, none = { 0 };
    if (sched_setscheduler(0, SCHED_FIFO, &first) != 0) return false;
    if (sched_setscheduler(0, SCHED_OTHER, &none) != 0) fail_system("SCHED_OTHER");
    return true;
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

bool machine_has_terminal(void)
{
    return isatty(STDERR_FILENO);
}

const bool machine_spreads = true;

const char *const machine_sharing_text = "SCHED_BATCH";

const char *machine_awake_text(bool awake)
{
    return awake ? "idle cores poll"
                 : "idle cores may halt (no access to /dev/cpu_dma_latency), so wake-ups weigh more";
}

const char *machine_first_text(bool first)
{
    return first ? "both sides go before other processes (SCHED_FIFO)"
                 : "other processes may take the cores (no right to SCHED_FIFO)";
}
