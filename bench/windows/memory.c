#include "memory.h"

#include <windows.h>

#include <psapi.h>

uint64_t memory_resident(void)
{
    PROCESS_MEMORY_COUNTERS counters = { .cb = sizeof counters };
    return K32GetProcessMemoryInfo(GetCurrentProcess(), &counters, sizeof counters) ? counters.WorkingSetSize : 0;
}

uint64_t memory_allocated(void)
{
    return 0;
}

bool memory_kernel(uint64_t *bytes)
{
    (void)bytes;
    return false;
}
