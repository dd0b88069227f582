/* A process may have as many sockets as the system's memory has room for: there is no limit to read or to raise, and no
 * table that stalls when it grows. */
#include "platform/os.h"

uint32_t wr_os_descriptor_limit(void)
{
    return UINT32_MAX;
}

int wr_os_descriptors_reserve(uint32_t count)
{
    (void)count;
    return 0;
}
