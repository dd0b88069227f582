/* Listening: accepting connections, under limits. */
#ifndef WEIR_LISTENER_H
#define WEIR_LISTENER_H

#include <weir/conn.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct weir_listener weir_listener;

/* Which worker gets a new connection. */
typedef enum weir_placement {
    WEIR_PLACEMENT_DEFAULT = 0, /* spread where the system can, else balanced */
    WEIR_PLACEMENT_SPREAD,   /* a listening socket a worker (SO_REUSEPORT): the kernel's hash decides; no hand-over */
    WEIR_PLACEMENT_BALANCED, /* one listening socket; each connection goes to the worker that has the fewest */
} weir_placement;

typedef struct weir_listen_options {
    uint32_t max_connections; /* open at once through this listener; more are closed at once; 0: no limit */
    uint32_t max_per_address; /* open at once from one IP address; more are closed at once; 0: no limit */
    uint32_t accept_rate;     /* a second, with bursts of a tenth of that; the rest waits in the backlog; 0: no limit */
    uint32_t backlog;         /* connections that the kernel holds before they are accepted; 0: 4096 */
    weir_placement placement;
    bool ipv6_only; /* [::] does not take IPv4 too */
    /* Processes of one user that all say so listen on one port, and the kernel spreads (SO_REUSEPORT). It also joins a
     * spread listener that does not say so: Linux cannot keep it out. */
    bool share_port;
    /* An accept failed: WEIR_EMFILE, WEIR_ENOBUFS, WEIR_ECONNABORTED and so on. The listener lives on; at
     * WEIR_EMFILE and WEIR_ENOBUFS it pauses for 100 ms. On the accepting worker. */
    void (*on_accept_error)(weir_listener *listener, weir_reason reason);
    weir_failure *failure; /* where weir_listen says what failed; may be NULL; not kept */
} weir_listen_options;

/* weir_listen: binds `address` (weir/address.h) and accepts connections that follow `protocol`, as soon as the runtime
 * runs. `options` and `out` may be NULL. The listener belongs to the runtime and lives until weir_runtime_destroy.
 * [any], also before the start
 * WEIR_EADDRESS, WEIR_EINVAL: the text or an option is refused, failure.text says which. WEIR_EADDRINUSE, WEIR_EACCES,
 * WEIR_EADDRNOTAVAIL, WEIR_EAFNOSUPPORT, WEIR_EMFILE, WEIR_ENOENT…: the system refused, failure.step says where.
 * WEIR_ENOTSUP: placement spread, or Unix-domain sockets, where the system lacks them. WEIR_ENOMEM. WEIR_ESTOPPED. */
WEIR_API int weir_listen(weir_runtime *runtime, const char *address, const weir_protocol *protocol,
                         const weir_listen_options *options, weir_listener **out);

/* weir_listener_address: where it listens, with the port that the system chose for port 0. [any] */
WEIR_API weir_address weir_listener_address(const weir_listener *listener);

/* weir_listener_close: accepts no more; open connections stay. Returns at once, twice is harmless. [any] */
WEIR_API void weir_listener_close(weir_listener *listener);

#ifdef __cplusplus
}
#endif

#endif
