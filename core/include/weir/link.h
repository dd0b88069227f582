/* Links: connections from this server to another that are there as often as can be: opened, and after each end opened
 * again, until weir_link_close.
 *
 * Between two attempts a link waits, so that a server that is down is not hammered, and one that comes back is not
 * trampled by all its clients in one moment: a random time from 1 ms up to a bound, which begins at backoff_ms_min and
 * doubles with each attempt up to backoff_ms_max. (The "full jitter" of M. Brooker, "Exponential backoff and jitter",
 * AWS Architecture Blog, 2015.) The bound begins anew only when the connection has stayed for up_after_ms: a server
 * that accepts and dies at once is not hammered either.
 *
 * Nothing is queued while the link is down: a send is then refused with WEIR_ESTATE, and what is to become of the
 * message is for the sender to decide (docs/guide/links.md). Whatever ended the connection, also weir_close, the link
 * opens the next one. */
#ifndef WEIR_LINK_H
#define WEIR_LINK_H

#include <weir/connector.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct weir_link weir_link;

typedef enum weir_link_state {
    WEIR_LINK_WAITING = 0, /* for the next attempt */
    WEIR_LINK_RESOLVING,   /* its name is being looked up; not with a numeric address */
    WEIR_LINK_CONNECTING,
    WEIR_LINK_UP,    /* the connection is there */
    WEIR_LINK_ENDED, /* nothing more happens: max_attempts have failed, or the runtime is stopping */
} weir_link_state;

/* How a link is, as of one moment. */
typedef struct weir_link_status {
    weir_link_state state;
    weir_conn_id conn;    /* UP: its connection; else 0 */
    uint32_t attempts;    /* begun since it last was up for up_after_ms, this one included */
    uint64_t ups;         /* how often it has been up */
    uint32_t wait_ms;     /* WAITING: how long, from when that began */
    uint64_t left_ms;     /* WAITING: until the next attempt */
    weir_failure failure; /* why the last attempt failed, or the last connection ended: failure.step says which;
                             failure.error is 0 before the first */
} weir_link_status;

/* weir_link_fn: the link has come into another state. On the link's worker, like any callback, and never from inside
 * another weir function. UP comes before on_open of the connection, and what follows comes after its on_close. */
typedef void (*weir_link_fn)(weir_link *link, weir_link_state state, void *data);

typedef struct weir_link_options {
    uint32_t backoff_ms_min; /* the first bound of a wait; 0: 100 ms */
    uint32_t backoff_ms_max; /* no wait is longer; 0: 30 s; never below backoff_ms_min */
    uint32_t up_after_ms;    /* so long a connection must stay for the bound to begin anew; 0: 5 s */
    uint32_t max_attempts;   /* so many without having been up for up_after_ms, and it ends; 0: for ever */
    /* Of each attempt: its timeout, local addresses, and the worker that the link and its connections live on. Its
     * `failure` says what weir_link_open refused. */
    weir_connect_options connect;
    weir_link_fn on_state; /* may be NULL */
    void *data;            /* for on_state */
} weir_link_options;

/* weir_link_open: a link to `address`, numeric or a name, looked up anew for each attempt. Returns at once; the first
 * attempt is made without a wait. The connections are of `protocol`, which is copied, and are in all respects as those
 * of weir_connect, on_close of each attempt that failed included. `options` may be NULL. It lives until
 * weir_link_close, or weir_runtime_destroy. [any], also before the start
 * WEIR_EINVAL, WEIR_EADDRESS, WEIR_ENOTSUP: refused, connect.failure says why. WEIR_ENOMEM. WEIR_ESTOPPED. */
WEIR_API int weir_link_open(weir_runtime *runtime, const char *address, const weir_protocol *protocol,
                            const weir_link_options *options, weir_link **out);

/* weir_link_close: ends it, in whatever state, and closes its connection as weir_close does. The link must not be used
 * from here on; it is freed when nothing needs it any more. Called on its worker, also in its own callbacks, it was the
 * last of on_state; elsewhere one may be running, and is the last. The connection's own callbacks still come. After the
 * runtime's end, and before weir_runtime_destroy, it is harmless. NULL is fine. [any] */
WEIR_API void weir_link_close(weir_link *link);

/* weir_link_get_status: a snapshot. [any] */
WEIR_API void weir_link_get_status(weir_link *link, weir_link_status *out);

/* weir_link_conn: its connection, for weir_send_buf_to and its kin; 0 while it is not up. [any] */
WEIR_API weir_conn_id weir_link_conn(const weir_link *link);

/* weir_link_send: weir_send_to its connection. [any]
 * WEIR_ESTATE: it is not up; nothing was queued. Else as weir_send_to: a connection that is lost in this moment takes
 * the message with it, as TCP does with what it has not delivered. */
WEIR_API int weir_link_send(weir_link *link, const void *bytes, size_t size);

/* weir_link_runtime: whose it is. [any] */
WEIR_API weir_runtime *weir_link_runtime(const weir_link *link);

/* weir_conn_link: the link that the connection is of; NULL: none, or that was closed. [worker] */
WEIR_API weir_link *weir_conn_link(const weir_conn *conn);

#ifdef __cplusplus
}
#endif

#endif
