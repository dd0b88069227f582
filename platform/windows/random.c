#define _CRT_RAND_S /* shows rand_s, which asks the system's generator and has no state here */
#include <stdlib.h>

#include "platform/os.h"

uint64_t wr_os_random(void)
{
    unsigned high, low;
    if (rand_s(&high) == 0 && rand_s(&low) == 0) return (uint64_t)high << 32 | low;
    uint64_t bits = wr_os_now_ns() * UINT64_C(0x9e3779b97f4a7c15);
    return bits ^ bits >> 31;
}
