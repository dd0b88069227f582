#include <sys/random.h>

#include "platform/os.h"

uint64_t wr_os_random(void)
{
    uint64_t bits;
    if (getrandom(&bits, sizeof bits, 0) == (ssize_t)sizeof bits) return bits;
    /* A kernel before 3.17, or one that is forbidden to answer: the clock, spread by the step of SplitMix64. */
    bits = wr_os_now_ns() * UINT64_C(0x9e3779b97f4a7c15);
    return bits ^ bits >> 31;
}
