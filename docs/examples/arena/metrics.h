/* The server's counters for Prometheus, by the least of HTTP. */
#ifndef ARENA_METRICS_H
#define ARENA_METRICS_H

#include "server.h"

/* metrics_open: answers each request at the address with the counters of the server and of weir. WEIR_E… of
 * weir_listen.
 */
int metrics_open(struct server *server, weir_runtime *runtime, const char *address, weir_failure *failure);

/* metrics_text: that text, to be freed; NULL when out of memory. */
char *metrics_text(const struct server *server, const weir_runtime *runtime, size_t *size);

#endif
