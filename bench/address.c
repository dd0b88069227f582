#include "address.h"

#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "fail.h"

enum { LOOPBACK_NET = 127, FIRST_SOURCE = 0x7F000002 }; /* 127.0.0.2 */

const char *const address_source_texts[ADDRESS_SOURCES] = {
    "127.0.0.2:0", "127.0.0.3:0", "127.0.0.4:0", "127.0.0.5:0",
    "127.0.0.6:0", "127.0.0.7:0", "127.0.0.8:0", "127.0.0.9:0"
};

uint32_t address_next_source(void)
{
    static atomic_uint next; /* clients of several threads ask */
    return FIRST_SOURCE + atomic_fetch_add_explicit(&next, 1, memory_order_relaxed) % ADDRESS_SOURCES;
}

bool address_parse(const char *text, struct address *out)
{
    unsigned part[4], port;
    char excess;
    if (text[strspn(text, "0123456789.:")] != '\0') return false; /* sscanf would take signs and spaces */
    if (sscanf(text, "%3u.%3u.%3u.%3u:%5u%c", &part[0], &part[1], &part[2], &part[3], &port, &excess) != 5)
        return false;
    if (part[0] != LOOPBACK_NET || port == 0 || port > UINT16_MAX) return false;
    uint32_t ip = 0;
    for (int i = 0; i < 4; i++) {
        if (part[i] > UINT8_MAX) return false;
        ip = ip << 8 | part[i];
    }
    *out = (struct address){ ip, (uint16_t)port };
    return true;
}

struct address address_of(const char *text)
{
    struct address address;
    if (!address_parse(text, &address)) fail("%s is not an address on loopback", text);
    return address;
}
