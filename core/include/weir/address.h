/* Addresses as text: what weir_listen and weir_connect take, and what a connection says of its ends.
 *
 *   0.0.0.0:7777         IPv4
 *   [::1]:7777           IPv6; [::]:7777 listens on IPv4 too unless weir_listen_options.ipv6_only
 *   [fe80::1%eth0]:7777  IPv6 with a scope: an interface's name or number
 *   unix:/run/x.sock     a Unix-domain socket
 *   db.internal:7000     a name, for weir_connect and weir_link_open alone, which look it up (weir/connector.h)
 *
 * Elsewhere addresses are numeric, and nothing asks a name server. Port 0 lets the system choose when listening. */
#ifndef WEIR_ADDRESS_H
#define WEIR_ADDRESS_H

#include <stddef.h>
#include <stdint.h>
#include <weir/error.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef enum weir_family {
    WEIR_FAMILY_NONE = 0, /* not known */
    WEIR_FAMILY_IPV4 = 4,
    WEIR_FAMILY_IPV6 = 6,
    WEIR_FAMILY_UNIX = 1,
} weir_family;

/* An address, by value. An IPv4 client of a dual-stack listener shows as IPv4, not as ::ffff:a.b.c.d. */
typedef struct weir_address {
    char text[128]; /* as weir_listen would take it; "unix:" alone for the nameless end of a Unix-domain socket */
    char host[112]; /* the text without port and brackets, "127.0.0.1"; the path of a Unix-domain socket */
    uint8_t ip[16]; /* network byte order; IPv4 in the first four, the rest 0 */
    uint32_t scope; /* of a link-local IPv6 address: the interface's number */
    uint16_t port;  /* host byte order; 0 for a Unix-domain socket */
    weir_family family;
} weir_address;

/* weir_address_parse: reads `text` into `*out` without touching the network. [any]
 * On WEIR_EADDRESS, `why` (may be NULL) is set to a static sentence that says what is wrong, and `*out` is unchanged.
 * WEIR_EINVAL: text or out is NULL. */
WEIR_API int weir_address_parse(weir_address *out, const char *text, const char **why);

/* What failed, in more than a number: weir_listen and weir_connect fill it where their options ask, and a link has it
 * in its status. */
typedef enum weir_step {
    WEIR_STEP_NONE = 0,
    WEIR_STEP_OPTIONS, /* an option or the address text was refused before the system was asked */
    WEIR_STEP_SOCKET,
    WEIR_STEP_BIND,
    WEIR_STEP_LISTEN,
    WEIR_STEP_RESOLVE, /* the name was looked up */
    WEIR_STEP_CONNECT,
    WEIR_STEP_OPEN, /* the connection was there, and has ended */
} weir_step;

typedef struct weir_failure {
    int error;        /* WEIR_E…, the same as was returned */
    int system_error; /* errno, or WSAGetLastError(); 0 where the system was not asked */
    weir_step step;
    char text[256]; /* one sentence for a log: the address, the step, the system's words */
} weir_failure;

#ifdef __cplusplus
}
#endif

#endif
