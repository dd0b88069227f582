/* Opening connections: weir_connect for one, a weir_dialer for many to the same place. */
#ifndef WEIR_CONNECTOR_H
#define WEIR_CONNECTOR_H

#include <weir/conn.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct weir_connect_options {
    uint32_t timeout_ms; /* until the connection is there, the lookup of a name included; 0: 10 s */
    /* Addresses of this host to connect from, as weir_address_parse makes them of "10.0.0.2:0", used in turn: each has
     * its own 28,000 or so ephemeral ports. The next one is tried when one has none left. Of the family of the address;
     * of a name only the addresses of their family are tried. Copied. */
    const weir_address *local_addresses;
    uint32_t local_address_count;
    /* The worker that gets the connection, counted from 1; 0: all in turn. */
    uint32_t worker;
    weir_failure *failure; /* where weir_connect says what it refused; may be NULL; not kept */
} weir_connect_options;

/* weir_connect: opens a connection to `address` (weir/address.h). Returns at once; what follows is on_open, or on_close
 * alone with the reason: WEIR_ECONNREFUSED, WEIR_ETIMEDOUT, WEIR_ENETUNREACH, WEIR_EHOSTUNREACH, WEIR_EMFILE,
 * WEIR_EADDRNOTAVAIL (no port left), WEIR_ESTOPPED…. A connection that the kernel made to itself (possible when
 * connecting to a free ephemeral port of this host) counts as WEIR_ECONNREFUSED. `options` and `out` may be NULL.
 *
 * A name is looked up by the system on a thread of its own, never on a worker; a numeric address does not go there. Its
 * addresses, 16 at most, are tried in the order in which the system gives them (RFC 6724), the next one when one has
 * failed, or has used up its share of the time that is left; the reason is that of the last one. Without addresses it
 * is WEIR_EAI_NONAME, WEIR_EAI_AGAIN (the name server does not answer now) or WEIR_EAI_FAIL; with max_lookups waiting
 * already WEIR_ELIMIT. A name is of ASCII letters, digits, '-', '_' and '.'. [any], also before the start
 *
 * WEIR_EADDRESS, WEIR_EINVAL, WEIR_ENOTSUP: refused, failure.text says why, no callback follows. WEIR_ELIMIT: the
 * runtime has max_connections already. WEIR_ENOMEM. WEIR_ESTOPPED. */
WEIR_API int weir_connect(weir_runtime *runtime, const char *address, const weir_protocol *protocol,
                          const weir_connect_options *options, weir_conn_id *out);

/* Whom to connect to and how: the arguments of weir_connect, read, checked and copied once, for whoever connects to one
 * place again and again: a load generator, a proxy. */
typedef struct weir_dialer weir_dialer;

/* weir_dialer_create: from the same arguments as weir_connect, of which nothing is needed any more when this returns.
 * It goes with the runtime, or earlier with weir_dialer_destroy. `options` may be NULL. [any], also before the start
 *
 * WEIR_EADDRESS, WEIR_EINVAL, WEIR_ENOTSUP: refused, failure.text says why. WEIR_ENOMEM. WEIR_ESTOPPED. */
WEIR_API int weir_dialer_create(weir_runtime *runtime, const char *address, const weir_protocol *protocol,
                                const weir_connect_options *options, weir_dialer **out);

/* weir_dialer_connect: opens a connection, in all respects as weir_connect does: a name is looked up anew for each,
 * local addresses and workers go round. From any number of threads at once. `out` may be NULL. [any], also before the
 * start
 *
 * WEIR_EINVAL: dialer is NULL. WEIR_ELIMIT: the runtime has max_connections already. WEIR_ENOMEM. WEIR_ESTOPPED. */
WEIR_API int weir_dialer_connect(weir_dialer *dialer, weir_conn_id *out);

/* weir_dialer_destroy: ends the dialer before its runtime's end. Its connections live on, those that are only
 * connecting too. Nobody may use it in a call that begins later or is not yet over. NULL is fine. [any] */
WEIR_API void weir_dialer_destroy(weir_dialer *dialer);

#ifdef __cplusplus
}
#endif

#endif
