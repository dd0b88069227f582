/* wr_addr: a network address in 24 bytes, the same on every system. */
#ifndef WR_ADDR_H
#define WR_ADDR_H

#include <stdint.h>

enum wr_family { WR_FAMILY_NONE = 0, WR_FAMILY_UNIX = 1, WR_FAMILY_IPV4 = 4, WR_FAMILY_IPV6 = 6 };

typedef struct wr_addr {
    uint8_t ip[16]; /* network order; IPv4 in the first four. A mapped IPv4 address is always stored as IPv4. */
    uint32_t scope; /* IPv6 link-local: the interface's number */
    uint16_t port;  /* host order */
    uint8_t family; /* enum wr_family */
} wr_addr;

enum { WR_UNIX_PATH_MAX = 107 }; /* sun_path without its final 0: the smallest of the systems' */

/* wr_endpoint: an address to bind or to connect to; the path, which ends with 0, is for WR_FAMILY_UNIX alone.
 */
typedef struct wr_endpoint {
    wr_addr addr;
    char path[WR_UNIX_PATH_MAX + 1];
} wr_endpoint;

#endif
