#include <windows.h>

#include "platform/os.h"

enum { NS_PER_MS = 1000000, NS_PER_S = 1000000000 };

uint64_t wr_os_now_ns(void)
{
    /* Neither call fails since Windows XP. The frequency is fixed at boot, and cheap to ask for. */
    LARGE_INTEGER frequency, counter;
    (void)QueryPerformanceFrequency(&frequency);
    (void)QueryPerformanceCounter(&counter);
    uint64_t per_second = (uint64_t)frequency.QuadPart, ticks = (uint64_t)counter.QuadPart;
    /* Seconds apart: ticks * NS_PER_S overflows after half an hour at the usual 10 MHz.
     * The clock starts near 0 at boot; 1 ns more keeps 0 free for "never set". */
    return ticks / per_second * NS_PER_S + ticks % per_second * NS_PER_S / per_second + 1;
}

void wr_os_sleep_ms(uint32_t ms)
{
    /* Sleep counts the system's ticks, and so may end up to one of them early. */
    uint64_t until = wr_os_now_ns() + (uint64_t)ms * NS_PER_MS;
    for (uint64_t now = wr_os_now_ns(); now < until; now = wr_os_now_ns())
        Sleep((DWORD)((until - now + NS_PER_MS - 1) / NS_PER_MS));
}
