/* Addresses on loopback: nothing else is measured. */
#ifndef BENCH_ADDRESS_H
#define BENCH_ADDRESS_H

#include <stdbool.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct address {
    uint32_t ip; /* both in the byte order of this machine */
    uint16_t port;
};

/* Connections come from these addresses in turn. Each has its own ephemeral ports (28,232 by default on Linux, 16,384
 * on Windows), so that ports cannot run out even where a connection should linger in TIME_WAIT. */
enum { ADDRESS_SOURCES = 8 };
extern const char *const address_source_texts[ADDRESS_SOURCES]; /* "127.0.0.2:0" and on */

/* address_next_source: the IP address from which the next connection is to come. */
uint32_t address_next_source(void);

/* address_parse: reads "127.0.0.1:7777". False unless it is an address on loopback with a port. */
bool address_parse(const char *text, struct address *out);

/* address_of: address_parse of what is known to be right. */
struct address address_of(const char *text);

#ifdef __cplusplus
}
#endif

#endif
