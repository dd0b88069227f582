#include "usage.h"

#include <windows.h>

#include <stdbool.h>

enum { NS_PER_FILETIME = 100 };

uint64_t clock_ns(void)
{
    LARGE_INTEGER frequency, counter;
    QueryPerformanceFrequency(&frequency); /* fixed at boot, and cheap to ask for */
    QueryPerformanceCounter(&counter);
    uint64_t per_second = (uint64_t)frequency.QuadPart, ticks = (uint64_t)counter.QuadPart;
    return ticks / per_second * NS_PER_S + ticks % per_second * NS_PER_S / per_second;
}

/* Windows counts a process's cycles exactly, at each change of threads, and its time by looking at each clock tick who
 * runs. So the cycles are taken where they are to be had (Wine does not count them), and turned into time by the rate
 * at which the system found the processor to count when it started. It is the same number for all processes, so that
 * ratios are exact whatever it is worth. 0: there are no cycles. */
static double find_ns_per_cycle(void)
{
    ULONG64 cycles;
    DWORD mhz = 0, size = sizeof mhz;
    if (!QueryProcessCycleTime(GetCurrentProcess(), &cycles)) return 0;
    RegGetValueA(HKEY_LOCAL_MACHINE, "HARDWARE\\DESCRIPTION\\System\\CentralProcessor\\0", "~MHz", RRF_RT_REG_DWORD,
                 NULL, &mhz, &size);
    return mhz > 0 ? 1000.0 / mhz : 0;
}

/* One thread of a process asks for its usage, so this needs no lock. */
static double ns_per_cycle(void)
{
    static bool known;
    static double found;
    if (!known) found = find_ns_per_cycle();
    known = true;
    return found;
}

static uint64_t from_filetime(FILETIME time)
{
    return ((uint64_t)time.dwHighDateTime << 32 | time.dwLowDateTime) * NS_PER_FILETIME;
}

struct usage usage_now(void)
{
    FILETIME created, ended, system, user;
    ULONG64 cycles;
    double scale = ns_per_cycle();
    struct usage usage = { 0 };
    if (GetProcessTimes(GetCurrentProcess(), &created, &ended, &system, &user)) {
        usage.user_ns = from_filetime(user);
        usage.system_ns = from_filetime(system);
    }
    usage.cpu_ns = usage.user_ns + usage.system_ns;
    if (scale > 0 && QueryProcessCycleTime(GetCurrentProcess(), &cycles)) {
        usage.cpu_ns = (uint64_t)((double)cycles * scale);
    }
    return usage;
}

const char *usage_clock_text(void)
{
    return ns_per_cycle() > 0 ? "QueryProcessCycleTime, in cycles"
                              : "GetProcessTimes, in steps of a clock tick (10 to 16 ms): only long runs say something";
}
