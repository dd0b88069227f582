#include "machine.h"

#include <windows.h>

#include <stdio.h>
#include <string.h>

#include "fail.h"

static void read_registry(const char *key, const char *value, char *out, DWORD size)
{
    if (RegGetValueA(HKEY_LOCAL_MACHINE, key, value, RRF_RT_REG_SZ, NULL, out, &size) != ERROR_SUCCESS) {
        snprintf(out, size, "unknown");
    }
}

/* Empty on Windows itself. */
static void read_wine_version(char *out, size_t size)
{
    const char *(CDECL * version)(void) = NULL;
    FARPROC found = GetProcAddress(GetModuleHandleW(L"ntdll.dll"), "wine_get_version");
    memcpy(&version, &found, sizeof version); /* a cast between these two makes gcc suspicious */
    out[0] = '\0';
    if (version) snprintf(out, size, " in Wine %s, whose speed says nothing", version());
}

struct machine machine_describe(void)
{
    struct machine machine = { .cores = (long)GetActiveProcessorCount(ALL_PROCESSOR_GROUPS) };
    char build[32], wine[80];
    read_registry("HARDWARE\\DESCRIPTION\\System\\CentralProcessor\\0", "ProcessorNameString", machine.cpu,
                  sizeof machine.cpu);
    read_registry("SOFTWARE\\Microsoft\\Windows NT\\CurrentVersion", "CurrentBuildNumber", build, sizeof build);
    read_wine_version(wine, sizeof wine);
    snprintf(machine.kernel, sizeof machine.kernel, "Windows build %s%s", build, wine);
    return machine;
}

/* Those of the first 64 that are in this process's group, which is all that a mask can name. */
struct cpus machine_cpus(void)
{
    DWORD_PTR mask, system;
    if (!GetProcessAffinityMask(GetCurrentProcess(), &mask, &system)) fail_system("GetProcessAffinityMask");
    return (struct cpus){ { mask } };
}

void machine_enter(const struct place *place)
{
    DWORD_PTR mask = (DWORD_PTR)place->cpus.words[0];
    if (!SetProcessAffinityMask(GetCurrentProcess(), mask)) fail_system("SetProcessAffinityMask");
}

/* A higher class than the others' would be before them most of the time; it is not tried. */
bool machine_may_go_first(void)
{
    return false;
}

bool machine_stay_awake(void)
{
    return false;
}

/* There is no limit beside the memory. */
unsigned machine_raise_descriptors(void)
{
    return INT32_MAX;
}

bool machine_has_terminal(void)
{
    HANDLE error = GetStdHandle(STD_ERROR_HANDLE);
    DWORD mode;
    return GetConsoleMode(error, &mode) && SetConsoleMode(error, mode | ENABLE_VIRTUAL_TERMINAL_PROCESSING);
}

const bool machine_spreads = false;

const char *const machine_sharing_text = "there is no SCHED_BATCH here, so they take short turns";

const char *machine_awake_text(bool awake)
{
    (void)awake;
    return "idle cores may halt (a process cannot forbid it here), so wake-ups weigh more";
}

const char *machine_first_text(bool first)
{
    (void)first;
    return "other processes may take the cores";
}
