/* Connections: what the embedder's callbacks get, and what they may do with it.
 *
 * The life of a connection, all of it on one worker:
 *   on_open, then on_message any number of times, then on_close exactly once. A connection that weir_connect could not
 *   open gets on_close alone. Nothing is ever called from inside another weir function: weir_close, weir_abort and
 *   weir_send return first. */
#ifndef WEIR_CONN_H
#define WEIR_CONN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <weir/address.h>
#include <weir/buffer.h>
#include <weir/framing.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct weir_runtime weir_runtime;

/* Where events for a thread of the embedder's are collected: weir/inbox.h. */
typedef struct weir_inbox weir_inbox;

/* A connection, inside callbacks on its worker. Gone when on_close has returned; keep a weir_conn_id instead. */
typedef struct weir_conn weir_conn;

/* A connection's name, safe on any thread for ever: worker, slot and generation in 64 bits. 0 names none. What is sent
 * to the id of a connection that has gone is dropped and counted, and never reaches another one. */
typedef uint64_t weir_conn_id;

/* Why a connection ended. */
typedef struct weir_reason {
    int error;        /* WEIR_E…; WEIR_ECLOSED after weir_close, WEIR_EEOF when the peer closed, and so on */
    int system_error; /* the system's own code where it had one, for logs; else 0 */
} weir_reason;

/* What is done about a peer that reads more slowly than it is sent to, when what it is owed stays over
 * outbox.soft_limit for outbox.soft_limit_ms, or when a send would pass outbox.hard_limit. */
typedef enum weir_slow_policy {
    WEIR_SLOW_DISCONNECT = 0, /* reset it: on_close with WEIR_ESLOW */
    WEIR_SLOW_DROP_NEWEST,    /* drop what is sent from then on, until it is back under the soft limit; counted */
    WEIR_SLOW_NOTIFY,         /* call on_slow once; sends that would pass the hard limit are refused */
    /* For servers that answer requests: from the send that passes outbox.soft_limit until it is back under it, no more
     * is read from the peer and no message of it is delivered, as with weir_conn_pause, but that the deadline for the
     * first message rests too. Its own sends then block. Otherwise as WEIR_SLOW_DISCONNECT. */
    WEIR_SLOW_PAUSE,
} weir_slow_policy;

/* Limits on the bytes that were sent and that the kernel has not yet taken. Those that other threads have queued count;
 * while its worker has not come to them, they may be as many again. A peer that has read all the rest is under its soft
 * limit whatever they have on the way. */
typedef struct weir_outbox_options {
    size_t soft_limit;       /* 0: 256 KiB */
    uint32_t soft_limit_ms;  /* how long it may stay above; 0: 10 s */
    size_t hard_limit;       /* 0: 1 MiB; never below soft_limit */
    weir_slow_policy policy; /* 0: WEIR_SLOW_DISCONNECT */
} weir_outbox_options;

/* What happens on a kind of connection. weir_listen and weir_connect copy it. Any callback may be NULL. */
typedef struct weir_protocol {
    /* The connection is there: first callback. */
    void (*on_open)(weir_conn *conn);
    /* A whole message, as `framing` cuts it; the bytes are valid until the callback returns. */
    void (*on_message)(weir_conn *conn, const void *bytes, size_t size);
    /* The peer has finished sending (half-close) and still reads. Without this callback weir flushes what is owed and
     * closes, with WEIR_EEOF. With it the connection stays open until weir_close. */
    void (*on_end)(weir_conn *conn);
    /* WEIR_SLOW_NOTIFY: `queued` bytes are waiting. Called once until the outbox is back under its soft limit. */
    void (*on_slow)(weir_conn *conn, size_t queued);
    /* The runtime is stopping: the last moment to say goodbye. weir closes the connection afterwards. */
    void (*on_stop)(weir_conn *conn);
    /* The last callback. The session is still there; sends are refused. */
    void (*on_close)(weir_conn *conn, weir_reason reason);

    /* In place of on_open, on_message and on_close, which are then NULL: the inbox that gets it all. Of this runtime.
     */
    weir_inbox *inbox;

    void *data;          /* the embedder's own; weir_conn_data returns it */
    size_t session_size; /* zeroed bytes inside every connection; at most 1 MiB */
    weir_framing framing;
    uint32_t max_message;          /* a message's largest size; 0: 64 KiB; at most 256 MiB */
    uint32_t handshake_timeout_ms; /* for the first whole message; 0: none */
    uint32_t idle_timeout_ms;      /* for the next received byte; 0: none */
    uint32_t close_timeout_ms;     /* for weir_close to flush, and for the peer to close in turn; 0: 5 s */
    weir_outbox_options outbox;
} weir_protocol;

/* weir_send: queues a copy of `size` bytes. They leave at the end of the loop pass in one gathered write with all else
 * that was sent in it. [worker]
 * WEIR_ECLOSED: the connection is closing, nothing was queued. WEIR_ESLOW: the hard limit or the drop policy refused
 * it. WEIR_ENOMEM: nothing was queued and the connection ends with this reason. May be ignored: whatever cannot be
 * sent shows in on_close or in the stats. */
WEIR_API int weir_send(weir_conn *conn, const void *bytes, size_t size);

/* weir_send_buf: as weir_send, but takes a reference instead of a copy. The caller keeps its own. [worker] */
WEIR_API int weir_send_buf(weir_conn *conn, weir_buf *buf);

/* weir_send_header_buf: `size` bytes of this connection's own, such as a sequence number, and behind them the buffer,
 * which is shared: one message under the limits, both or neither. Otherwise as weir_send_buf. [worker]
 * WEIR_EINVAL: body is NULL, or header is and size is not 0. */
WEIR_API int weir_send_header_buf(weir_conn *conn, const void *header, size_t size, weir_buf *body);

/* weir_send_to: weir_send from anywhere; in order among the sends of one thread to one connection. [any]
 * 0 also when the connection has gone: counted in stats.sends_dead. WEIR_ESLOW: the bytes queued for it are at
 * its hard limit. WEIR_ENOMEM, WEIR_EINVAL: nothing was queued. */
WEIR_API int weir_send_to(weir_runtime *runtime, weir_conn_id id, const void *bytes, size_t size);

/* weir_send_buf_to: weir_send_buf from anywhere; otherwise as weir_send_to. [any] */
WEIR_API int weir_send_buf_to(weir_runtime *runtime, weir_conn_id id, weir_buf *buf);

/* weir_close: flushes what is owed, sends FIN, and drops what the peer still sends until it closes in turn, all within
 * close_timeout_ms. No on_message comes any more; on_close follows with WEIR_ECLOSED. Closing twice is harmless.
 * [worker] */
WEIR_API void weir_close(weir_conn *conn);

/* weir_abort: resets the connection at once and drops what is owed. on_close follows with WEIR_EABORTED, or with the
 * reason for which it was closing already. [worker] */
WEIR_API void weir_abort(weir_conn *conn);

/* weir_close_id, weir_abort_id: the same from anywhere; harmless for a connection that has gone. [any]
 * WEIR_ENOMEM: the request could not be queued. WEIR_EINVAL: `id` never came from this runtime. */
WEIR_API int weir_close_id(weir_runtime *runtime, weir_conn_id id);
WEIR_API int weir_abort_id(weir_runtime *runtime, weir_conn_id id);

/* weir_conn_pause: stops reading after the current message, so that TCP slows the peer down. weir_conn_resume reads on;
 * what had already been received comes first, from the loop and never from inside the call. While paused the idle
 * deadline rests; that for the first message does not. [worker] */
WEIR_API void weir_conn_pause(weir_conn *conn);
WEIR_API void weir_conn_resume(weir_conn *conn);

/* weir_conn_session: the connection's session_size bytes, zeroed at the start, aligned for any type. [worker] */
WEIR_API void *weir_conn_session(weir_conn *conn);

/* weir_conn_data: weir_protocol.data. [worker] */
WEIR_API void *weir_conn_data(const weir_conn *conn);

/* weir_conn_get_id: the name to keep. [worker] */
WEIR_API weir_conn_id weir_conn_get_id(const weir_conn *conn);

/* weir_conn_runtime: the runtime that the connection lives in. [worker] */
WEIR_API weir_runtime *weir_conn_runtime(const weir_conn *conn);

/* weir_conn_worker: the number of its worker, from 0. [worker] */
WEIR_API unsigned weir_conn_worker(const weir_conn *conn);

/* weir_conn_peer: the other end, also in on_close; family WEIR_FAMILY_NONE where a name was not found. [worker] */
WEIR_API weir_address weir_conn_peer(const weir_conn *conn);

/* weir_conn_local: this end; family WEIR_FAMILY_NONE where the system no longer knows, as in on_close. [worker] */
WEIR_API weir_address weir_conn_local(const weir_conn *conn);

/* weir_conn_queued: bytes sent that the kernel has not yet taken; a message of another thread's that is still on its
 * way here counts as 64 at least. [worker] */
WEIR_API size_t weir_conn_queued(const weir_conn *conn);

#ifdef __cplusplus
}
#endif

#endif
