/* Addresses between text (weir/address.h) and what the platform takes. */
#ifndef WR_ADDRESS_H
#define WR_ADDRESS_H

#include <weir/address.h>

#include "platform/addr.h"

/* wr_address_parse: `text` into an endpoint. On WEIR_EADDRESS `*why` is a static sentence that says what is wrong. */
int wr_address_parse(wr_endpoint *out, const char *text, const char **why);

enum { WR_NAME_MAX = 253 };

/* wr_address_parse_remote: what can be connected to: an endpoint, or a name with a port: then `name` is not empty, and
 * `out` has the port and no family. Otherwise as wr_address_parse. */
int wr_address_parse_remote(wr_endpoint *out, char name[WR_NAME_MAX + 1], const char *text, const char **why);

/* wr_address_format: the public form; `path` is for WR_FAMILY_UNIX, NULL for a nameless end. */
void wr_address_format(weir_address *out, const wr_addr *addr, const char *path);

#endif
