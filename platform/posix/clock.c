#define _POSIX_C_SOURCE 200809L

#include <errno.h>
#include <time.h>

#include "platform/os.h"

enum { NS_PER_MS = 1000000, NS_PER_S = 1000000000, MS_PER_S = 1000 };

static struct timespec monotonic(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now); /* fails only for a clock that does not exist */
    return now;
}

uint64_t wr_os_now_ns(void)
{
    struct timespec now = monotonic();
    /* The clock starts near 0 at boot; 1 ns more keeps 0 free for "never set". */
    return (uint64_t)now.tv_sec * NS_PER_S + (uint64_t)now.tv_nsec + 1;
}

void wr_os_sleep_ms(uint32_t ms)
{
    struct timespec until = monotonic();
    until.tv_sec += (time_t)(ms / MS_PER_S);
    until.tv_nsec += (long)(ms % MS_PER_S) * NS_PER_MS;
    if (until.tv_nsec >= NS_PER_S) {
        until.tv_nsec -= NS_PER_S;
        until.tv_sec++;
    }
    /* An absolute end, so that signals, however many, do not stretch it. */
    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL) == EINTR) continue;
}
