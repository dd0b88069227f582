/* Inboxes: what happens on connections, collected for one thread of the embedder's: the logic thread, which takes it
 * when it likes, once a tick for one. The workers read, frame and queue.
 *
 * A protocol that names an inbox (weir_protocol.inbox) has no on_open, on_message and on_close; what they would have
 * been told becomes events. Several listeners and connections of weir_connect may share one inbox, and a runtime may
 * have several. For one connection the order is OPEN, MESSAGEs, CLOSE; a connection that weir_connect could not open
 * has CLOSE alone. Between connections of one worker events come in the order in which they happened.
 *
 * Nothing is lost. When the events hold max_bytes, connections of that inbox stop reading, as by weir_conn_pause but
 * apart from it, so that TCP slows their peers down, and its listeners accept a few connections a second. When half of
 * it has been taken, they go on, those first that have waited longest. Until then no idle deadline and none for the
 * first message ends a connection that waits; both begin anew. Over max_bytes is at the most what the workers were just
 * queueing, each 16 KiB and a message; and each connection that has stopped keeps one read. */
#ifndef WEIR_INBOX_H
#define WEIR_INBOX_H

#include <weir/runtime.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct weir_inbox_options {
    /* What events may hold, counted as they lie in memory; 0: 16 MiB. OPEN and CLOSE always come; while a connection
     * lives, the 100 bytes or so that they need are its own, and count once it has ended. */
    size_t max_bytes;
    /* There is something in an inbox that was empty: to wake a thread that waits for something else than
     * weir_inbox_wait, as by an eventfd. On a worker; it may only call what is [any]. May be NULL. */
    void (*on_ready)(void *data);
    void *data; /* for on_ready */
} weir_inbox_options;

typedef enum weir_event_kind {
    WEIR_EVENT_OPEN = 1, /* a connection is there */
    WEIR_EVENT_MESSAGE,  /* a whole message */
    WEIR_EVENT_CLOSE,    /* a connection has gone; its last event */
} weir_event_kind;

typedef struct wr_inbox_entry wr_inbox_entry; /* weir's */

/* What happened. All that it points to stays valid until the next weir_inbox_next or weir_inbox_wait. */
typedef struct weir_event {
    weir_event_kind kind;
    weir_reason reason; /* CLOSE: why */
    weir_conn_id conn;
    const void *bytes; /* MESSAGE: aligned for a 32-bit number */
    size_t size;       /* MESSAGE */
    void *data;        /* weir_protocol.data */
    void *user;        /* what weir_event_set_user was given for this connection; NULL before */
    wr_inbox_entry *entry;
} weir_event;

/* weir_inbox_create: an inbox for connections of this runtime. `options` may be NULL. It outlives the runtime, and is
 * then freed with weir_inbox_destroy. [any]
 * WEIR_EINVAL: runtime or out is NULL. WEIR_ENOMEM. */
WEIR_API int weir_inbox_create(weir_runtime *runtime, const weir_inbox_options *options, weir_inbox **out);

/* weir_inbox_next: takes the next event; false: there is none now. Never blocks. Also after
 * weir_runtime_destroy, which leaves what has not been taken: each OPEN has its CLOSE there. [any], but one thread at a
 * time: the logic thread */
WEIR_API bool weir_inbox_next(weir_inbox *inbox, weir_event *event);

/* weir_inbox_wait: blocks until there is an event, timeout_ms at most (0: not at all, negative: without bound). Call it
 * where weir_inbox_next is called, never in a callback. On a simulated runtime it never blocks; a manual one must be
 * polled by another thread meanwhile. [any], as weir_inbox_next
 * WEIR_ETIMEDOUT: there is none. WEIR_ESTOPPED: nor will there be, the runtime has been destroyed. */
WEIR_API int weir_inbox_wait(weir_inbox *inbox, int timeout_ms);

/* weir_inbox_bytes: what the events hold that have not been taken, and that of the last call. [any] */
WEIR_API size_t weir_inbox_bytes(const weir_inbox *inbox);

/* weir_event_peer: the other end of the event's connection; of a Unix-domain socket not its path. [any], as
 * weir_inbox_next, and for the event that it returned last */
WEIR_API weir_address weir_event_peer(const weir_event *event);

/* weir_event_set_user: keeps a pointer of the embedder's with the connection, a player's for one: it is `user` in this
 * event and in all later ones of the connection. [any], as weir_event_peer */
WEIR_API void weir_event_set_user(weir_event *event, void *user);

/* weir_inbox_destroy: drops what has not been taken. After weir_runtime_destroy. NULL is fine. [owner] */
WEIR_API void weir_inbox_destroy(weir_inbox *inbox);

#ifdef __cplusplus
}
#endif

#endif
