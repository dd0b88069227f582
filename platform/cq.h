/* The completion queue: the one interface that every backend implements and on which all of core stands.
 *
 * A worker owns one queue. It submits operations and takes their results out of wr_cq_wait, in the manner of IOCP and
 * io_uring; the epoll backend performs the operation when the kernel says that it is possible, so that all systems look
 * like this. The backend knows sockets, listeners and operations, and nothing of connections, messages or timers.
 *
 * What a backend keeps, and what core relies on. tests/platform/ proves each on every backend.
 *
 *  1. A submit returns nothing and never completes inline: every result, a failure too, comes out of wait. The success
 *     of a send or a close alone may be had at once, by who asks for it (wr_op.prompt).
 *  2. Operations are intrusive. The caller embeds a wr_op in its own object; from the submit to the final completion it
 *     belongs to the backend, and must not move, be freed or be submitted again. Each submit has exactly one final
 *     completion. Only ACCEPT, and a RECV that asks for it (wr_op.multishot), have more before it: those carry WR_MORE.
 *  3. A socket has at most one recv, one send and one close in flight, so the depth of a queue is bounded by its
 *     sockets. A send completes when all of it is with the kernel, or with an error. RECV_FROM and SEND_TO are the recv
 *     and the send of a datagram socket, which has no others.
 *  4. An idle connection holds no receive buffer. RECV carries none: its completion leases one from the queue's pool,
 *     and the caller gives it back by wr_cq_buf_return. epoll reads when the socket is ready; IOCP arms a zero-byte
 *     receive and then reads without blocking; io_uring selects from provided buffers, polling first. RECV_FROM leases
 *     a batch of datagrams likewise.
 *  5. A socket is a {slot, generation} handle, never a descriptor, and belongs to one queue. Using a stale handle is
 * the caller's error (asserted); a stale event of the kernel is dropped and cannot reach a newer socket in the slot.
 *     CLOSE completes last of all on its socket, and the generation is bumped before that completion is delivered.
 *  6. Completions of different sockets come in any order. The simulator shuffles them.
 *  7. wait takes a deadline on the queue's own monotonic clock (virtual in the simulator), rounds it up to what the
 *     kernel can do, and never spins below that. It polls the kernel, with timeout 0 when completions are at
 *     hand; a call that only hands over the results of submits may leave the poll to the next call, never twice in a
 *     row (docs/decisions/0001).
 *  8. Every loop is bounded: accepts a pass, bytes a read, datagrams a batch, writes a send. One busy socket cannot
 *     starve the others.
 *  9. recv and send cannot be cancelled (to stop reading, submit no recv, or stop one that goes on by wr_cq_recv_stop);
 *     closing the socket ends them. ACCEPT and CONNECT can. A cancel or a close may race with the result: the operation
 * ends with WEIR_ECANCELED or with its true result, once. CANCELED is derived from our own state, never from a system's
 * code.
 * 10. Any thread may post an operation to any queue. Wake-ups are coalesced: one system call when the list of posts
 *     goes from empty to not empty.
 * 11. Errors are those of weir/error.h; the system's raw code rides along for logs, never for logic.
 * 12. An accepted socket, and a new listener, belongs to no queue until it is adopted, exactly once, on the worker that
 *     was chosen for it (a handle joins one completion port for life).
 *
 * Threads: [owner] is the one thread that uses the queue (in manual mode it may change between calls, with a
 * happens-before edge); [any] is any thread. All functions but post, listen and udp_open are the owner's. */
#ifndef WR_CQ_H
#define WR_CQ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <weir/error.h>

#include "platform/addr.h"
#include "platform/memory.h"

typedef struct wr_cq wr_cq;
typedef struct wr_op wr_op;
typedef struct wr_sim wr_sim; /* platform/sim.h */

/* A socket of one queue. */
typedef struct wr_sock {
    uint32_t slot;
    uint32_t generation; /* never 0: a zeroed handle is no socket */
} wr_sock;

/* A socket that belongs to no queue yet: to be adopted or discarded, exactly once. `os` is the backend's. */
typedef struct wr_detached {
    intptr_t os;
} wr_detached;

/* Bytes to send: a list, so that a gathered write of any length needs no array. The caller's until the completion. */
typedef struct wr_slice wr_slice;
struct wr_slice {
    const wr_slice *next;
    const void *data;
    uint32_t size; /* at least 1 */
};

/* A datagram: one of a list that came, or one of a list to send. */
typedef struct wr_datagram wr_datagram;
struct wr_datagram {
    const wr_datagram *next;
    const void *data;
    uint32_t size;  /* 0 is a datagram too */
    bool truncated; /* RECV_FROM: it was longer, and this is its beginning */
    wr_addr peer;   /* whom it came from, or goes to */
};

/* What SEND_TO is given, and what came of it. The caller's, as the datagrams are, until the completion; `first` may be
 * what a RECV_FROM has leased. */
typedef struct wr_send_batch {
    const wr_datagram *first; /* at least one; moved on by the backend: what the system was not offered yet */
    uint32_t sent;            /* set by the backend, as all below: datagrams that the system took */
    uint32_t refused;         /* datagrams that it did not, and which nobody will get */
    uint64_t sent_bytes;      /* of those it took */
    int32_t error;            /* of the first one refused */
    int32_t system_error;
} wr_send_batch;

enum {
    WR_DATAGRAM_MAX = 65507,   /* bytes of a datagram's data: what IPv4 leaves of 64 KiB */
    WR_DATAGRAMS_LEASED = 512, /* datagrams that one RECV_FROM delivers */
};

enum wr_op_kind {
    WR_OP_NONE,
    WR_OP_ACCEPT,
    WR_OP_CONNECT,
    WR_OP_RECV,
    WR_OP_SEND,
    WR_OP_CLOSE,
    WR_OP_POST,
    WR_OP_RECV_FROM,
    WR_OP_SEND_TO,
};

/* wr_node: a place in a list, embedded in what is in the list. */
typedef struct wr_node wr_node;
struct wr_node {
    wr_node *next;
};

/* wr_node_reverse: onto a list without a lock threads push in front, so who takes it whole has the newest first: puts
 * it into the order of the pushes. */
static inline wr_node *wr_node_reverse(wr_node *newest)
{
    wr_node *oldest = NULL;
    while (newest) {
        wr_node *next = newest->next;
        newest->next = oldest;
        oldest = newest;
        newest = next;
    }
    return oldest;
}

/* An operation. `tag` is the caller's; the rest is the backend's from submit to final completion. Zero it before its
 * first use. A finished one may be submitted again as it is. */
struct wr_op {
    union {
        wr_node link;           /* in one of the backend's lists; until it stands in one, what is its work: */
        const wr_slice *slices; /* SEND: from the first that the system has not wholly taken */
        wr_send_batch *batch;   /* SEND_TO */
    };
    union {
        uint32_t slot;        /* of its socket, */
        int32_t system_error; /* until it has failed */
    };
    int8_t error;       /* 0 until it has failed */
    uint8_t kind;       /* enum wr_op_kind of the last submit */
    uint8_t tag;        /* the caller's: which of its objects this is embedded in */
    bool pending : 1;   /* from submit to final completion */
    bool prompt : 1;    /* the caller's: a SEND that succeeds within its submit, or a CLOSE of a socket that has nothing
                           else in flight, may end there. `pending` is false after it then, and no completion follows
                           (docs/decisions/0003) */
    bool multishot : 1; /* the caller's: a RECV that has delivered bytes may go on, with WR_MORE (docs/decisions/0008).
                           A backend need not do so */
    bool settled : 1;   /* the backend's, when its submit returns: it has its result, which comes out of wait without
                           waiting: no deadline is needed for it. A backend need not say so */
};

_Static_assert(sizeof(wr_op) == sizeof(wr_op *) + 8, "a connection has three of them");

#define WR_CONTAINER_OF(pointer, type, member) ((type *)(void *)((char *)(pointer)-offsetof(type, member)))

enum { WR_MORE = 1 }; /* wr_completion.flags: not final, the operation stays in flight */

typedef struct wr_completion {
    wr_op *op;
    int error;        /* 0 or WEIR_E…; WEIR_EEOF when a recv finds the peer's end */
    int system_error; /* the raw code behind error, 0 where there is none */
    uint32_t flags;
    uint32_t size; /* RECV: bytes in `buffer`; RECV_FROM: datagrams in the list; at least 1 without an error */
    union {
        uint8_t *buffer;              /* RECV without an error: leased, give it back by wr_cq_buf_return */
        wr_detached socket;           /* ACCEPT without an error: adopt or discard it */
        wr_sock connected;            /* CONNECT without an error */
        const wr_datagram *datagrams; /* RECV_FROM without an error: leased, give them back by wr_cq_datagrams_return */
    };
    wr_addr peer; /* ACCEPT without an error */
} wr_completion;

typedef struct wr_cq_options {
    wr_memory *memory;    /* where all of the queue's memory comes from; outlives the queue */
    uint32_t buffer_size; /* of a leased receive buffer, which bounds a read; 0: 16 KiB */
    wr_sim *sim;          /* the simulator's: the world that the queue lives in; NULL: one of its own */
} wr_cq_options;

/* Which step of opening a listener failed. */
enum wr_step { WR_STEP_NONE, WR_STEP_SOCKET, WR_STEP_BIND, WR_STEP_LISTEN };

typedef struct wr_listen_params {
    wr_endpoint local;
    uint32_t backlog;
    bool shared_port; /* several listeners on one port, the kernel spreads: only with WR_CAP_SHARED_PORT */
    bool claims_port; /* with shared_port: fail if any other listener has it already, one that shares too */
    bool ipv6_only;
} wr_listen_params;

typedef struct wr_listen_result {
    wr_detached socket;
    wr_addr bound; /* with the port that the system chose */
    int system_error;
    enum wr_step step; /* where it failed */
} wr_listen_result;

typedef struct wr_udp_params {
    wr_addr local;
    uint32_t receive_bytes; /* the kernel's buffers; 0: as the system has them. It may give less than is asked */
    uint32_t send_bytes;
    bool shared_port; /* as for a listener: the kernel spreads by both ends' addresses, so a peer keeps its socket while
                         the set of sockets stays. Only with WR_CAP_SHARED_PORT */
    bool claims_port; /* as for a listener */
    bool ipv6_only;
    bool coalesce; /* let the kernel put runs of one peer's datagrams together on their way up (UDP_GRO): fewer calls
                      for bulk from few peers, smaller batches for small datagrams of many. No effect where it cannot */
} wr_udp_params;

typedef struct wr_connect_params {
    const wr_addr *remote;
    const char *path;     /* of WR_FAMILY_UNIX, as wr_endpoint has it */
    const wr_addr *local; /* to bind first; NULL: the system chooses. Port 0: any port */
} wr_connect_params;

/* What a system can do beyond the contract: wr_cq_ops.caps. */
enum {
    WR_CAP_SHARED_PORT = 1, /* wr_listen_params.shared_port */
    WR_CAP_UNIX = 2,        /* WR_FAMILY_UNIX */
};

/* A backend: one value of this a backend, named wr_cq_epoll and so on. The comments are the contract of the wrappers
 * below, which are what callers use. */
struct wr_cq_ops {
    const char *name;
    unsigned caps;
    int (*create)(wr_cq **out, const wr_cq_options *options);
    void (*destroy)(wr_cq *cq);
    uint64_t (*now)(wr_cq *cq);
    unsigned (*wait)(wr_cq *cq, wr_completion *out, unsigned capacity, uint64_t deadline_ns);
    void (*post)(wr_cq *cq, wr_op *op);
    int (*listen)(wr_cq *cq, const wr_listen_params *params, wr_listen_result *out);
    int (*adopt)(wr_cq *cq, wr_detached socket, wr_sock *out);
    void (*discard)(wr_cq *cq, wr_detached socket);
    void (*accept)(wr_cq *cq, wr_sock listener, wr_op *op);
    void (*connect)(wr_cq *cq, const wr_connect_params *params, wr_op *op);
    void (*cancel)(wr_cq *cq, wr_op *op);
    void (*recv)(wr_cq *cq, wr_sock sock, wr_op *op);
    void (*recv_stop)(wr_cq *cq, wr_sock sock); /* NULL: every recv ends with its first completion */
    void (*buf_return)(wr_cq *cq, uint8_t *buffer);
    void (*send)(wr_cq *cq, wr_sock sock, wr_op *op, const wr_slice *slices);
    void (*shutdown)(wr_cq *cq, wr_sock sock);
    void (*close)(wr_cq *cq, wr_sock sock, wr_op *op, bool reset);
    void (*local)(wr_cq *cq, wr_sock sock, wr_addr *out);
    int (*udp_open)(wr_cq *cq, const wr_udp_params *params, wr_listen_result *out);
    void (*recv_from)(wr_cq *cq, wr_sock sock, wr_op *op, uint16_t size_max);
    void (*datagrams_return)(wr_cq *cq, const wr_datagram *datagrams);
    void (*send_to)(wr_cq *cq, wr_sock sock, wr_op *op, wr_send_batch *batch);
};

/* What every backend's queue begins with. */
struct wr_cq {
    const struct wr_cq_ops *ops;
};

/* The backends of this build, the default one first; ends with NULL. */
extern const struct wr_cq_ops *const wr_cq_backends[];

#define WR_DEADLINE_NEVER UINT64_MAX /* wait without bound */
#define WR_DEADLINE_NOW   0          /* do not wait */

/* wr_cq_create: a queue of the backend `ops`. [any]; the caller becomes the owner.
 * WEIR_ENOMEM, WEIR_EMFILE, WEIR_ESYSTEM. */
static inline int wr_cq_create(const struct wr_cq_ops *ops, wr_cq **out, const wr_cq_options *options)
{
    return ops->create(out, options);
}

/* wr_cq_destroy: closes what sockets are still open and frees the queue. Operations in flight never complete, and must
 * outlive it; posts not yet delivered are forgotten; all leased buffers must be back. NULL is fine. [owner] */
static inline void wr_cq_destroy(wr_cq *cq)
{
    if (cq) cq->ops->destroy(cq);
}

/* wr_cq_now: the queue's clock in nanoseconds; monotonic, from an arbitrary start, never 0. [owner] */
static inline uint64_t wr_cq_now(wr_cq *cq)
{
    return cq->ops->now(cq);
}

/* wr_cq_wait: delivers up to `capacity` (at least 1) completions into `out` and returns how many; 0 when the deadline
 * has passed, a signal came, or a wake-up turned out to be for nothing: call again. WR_DEADLINE_NOW does not block,
 * WR_DEADLINE_NEVER has no bound. [owner] */
static inline unsigned wr_cq_wait(wr_cq *cq, wr_completion *out, unsigned capacity, uint64_t deadline_ns)
{
    return cq->ops->wait(cq, out, capacity, deadline_ns);
}

/* wr_cq_post: delivers `op` to the queue's owner, in the order of posts by one thread. It never fails. [any], and in
 * signal handlers */
static inline void wr_cq_post(wr_cq *cq, wr_op *op)
{
    cq->ops->post(cq, op);
}

/* wr_cq_listen: opens a listening socket, with TCP_NODELAY for what it accepts. `cq` only tells which system. On
 * success out->socket is to be adopted by one queue. On an error out->step and out->system_error say more. [any]
 * WEIR_EADDRINUSE, WEIR_EACCES, WEIR_EADDRNOTAVAIL, WEIR_EAFNOSUPPORT, WEIR_EMFILE, WEIR_ENOTSUP, WEIR_ENOENT…. */
static inline int wr_cq_listen(wr_cq *cq, const wr_listen_params *params, wr_listen_result *out)
{
    return cq->ops->listen(cq, params, out);
}

/* wr_cq_adopt: makes a detached socket this queue's. On an error it stays detached. [owner]
 * WEIR_ENOMEM, WEIR_ESYSTEM. */
static inline int wr_cq_adopt(wr_cq *cq, wr_detached socket, wr_sock *out)
{
    return cq->ops->adopt(cq, socket, out);
}

/* wr_cq_discard: closes a detached socket. `cq` only tells which system. [any] */
static inline void wr_cq_discard(wr_cq *cq, wr_detached socket)
{
    cq->ops->discard(cq, socket);
}

/* wr_cq_accept: delivers a completion with WR_MORE for each accepted socket, until it is cancelled, the listener is
 * closed, or accepting fails. The first wait that delivers any delivers one: whoever cancels after each connection, to
 * keep a rate, is given no crowd; what a backend has accepted in advance waits for the next wr_cq_accept. A connection
 * that died before it was accepted (WEIR_ECONNABORTED and such) is an error with WR_MORE. At WEIR_EMFILE, WEIR_ENOBUFS
 * and WEIR_ENOMEM the completion is final: the listener keeps its backlog, costs nothing, and waits for the next
 * wr_cq_accept. The final completion never comes out of the same wait as one with WR_MORE. [owner] */
static inline void wr_cq_accept(wr_cq *cq, wr_sock listener, wr_op *op)
{
    cq->ops->accept(cq, listener, op);
}

/* wr_cq_connect: opens a stream. The parameters, and what they point to, are read before this returns. Its completion
 * carries the socket, which is this queue's already. No timeout: cancel it. A connection of a socket to itself is
 * WEIR_ECONNREFUSED. [owner] */
static inline void wr_cq_connect(wr_cq *cq, const wr_connect_params *params, wr_op *op)
{
    cq->ops->connect(cq, params, op);
}

/* wr_cq_cancel: ends a pending ACCEPT or CONNECT early; nothing happens to an operation that has its result already.
 * The final completion comes in any case, with WEIR_ECANCELED or its true result. [owner] */
static inline void wr_cq_cancel(wr_cq *cq, wr_op *op)
{
    cq->ops->cancel(cq, op);
}

/* wr_cq_recv: completes when bytes are there, with a leased buffer; with WEIR_EEOF at the peer's end (again and again
 * if asked); or with an error. At WEIR_ENOMEM no buffer could be leased, and the bytes are still there. [owner] */
static inline void wr_cq_recv(wr_cq *cq, wr_sock sock, wr_op *op)
{
    cq->ops->recv(cq, sock, op);
}

/* wr_cq_recv_stop: ends the socket's recv, whose completion with WR_MORE has come, before the next wait: none follows,
 * and the operation is the caller's again. [owner] */
static inline void wr_cq_recv_stop(wr_cq *cq, wr_sock sock)
{
    cq->ops->recv_stop(cq, sock);
}

/* wr_cq_buf_return: gives a leased buffer back. [owner] */
static inline void wr_cq_buf_return(wr_cq *cq, uint8_t *buffer)
{
    cq->ops->buf_return(cq, buffer);
}

/* wr_cq_send: sends all slices, in as few system calls as the system allows. [owner] */
static inline void wr_cq_send(wr_cq *cq, wr_sock sock, wr_op *op, const wr_slice *slices)
{
    cq->ops->send(cq, sock, op, slices);
}

/* wr_cq_shutdown: sends FIN; receiving goes on. No send may be in flight. A failure shows in the next recv. [owner] */
static inline void wr_cq_shutdown(wr_cq *cq, wr_sock sock)
{
    cq->ops->shutdown(cq, sock);
}

/* wr_cq_close: ends the socket, of whatever kind: pending operations complete first, with WEIR_ECANCELED or their true
 * result, then this one, with 0. `reset`, of a stream, sends RST instead of FIN and drops what the kernel still holds.
 * The handle is dead from here on. [owner] */
static inline void wr_cq_close(wr_cq *cq, wr_sock sock, wr_op *op, bool reset)
{
    cq->ops->close(cq, sock, op, reset);
}

/* wr_cq_local: the socket's own address; family WR_FAMILY_NONE where the system no longer knows. [owner] */
static inline void wr_cq_local(wr_cq *cq, wr_sock sock, wr_addr *out)
{
    cq->ops->local(cq, sock, out);
}

/* wr_cq_udp_open: opens a UDP socket, bound, IPv4 or IPv6; an IPv6 one that is not ipv6_only speaks with IPv4 peers
 * too. `cq` only tells which system. On success out->socket is to be adopted by one queue. On an error out->step and
 * out->system_error say more. [any]
 * WEIR_EADDRINUSE, WEIR_EACCES, WEIR_EADDRNOTAVAIL, WEIR_EAFNOSUPPORT, WEIR_EMFILE, WEIR_ENOTSUP…. */
static inline int wr_cq_udp_open(wr_cq *cq, const wr_udp_params *params, wr_listen_result *out)
{
    return cq->ops->udp_open(cq, params, out);
}

/* wr_cq_recv_from: completes when datagrams are there, with a leased list of them, in the order of their arrival; each
 * is taken up to size_max (at least 1) bytes, and flagged if it was longer. What the network says of an earlier send (a
 * port without a listener, a host out of reach) concerns one peer among many: it neither ends the receive nor shows in
 * it. At WEIR_ENOMEM nothing could be leased, and the datagrams are still there. Any other error is the socket's.
 * [owner] */
static inline void wr_cq_recv_from(wr_cq *cq, wr_sock sock, wr_op *op, uint16_t size_max)
{
    cq->ops->recv_from(cq, sock, op, size_max);
}

/* wr_cq_datagrams_return: gives a leased list back, named by its first. [owner] */
static inline void wr_cq_datagrams_return(wr_cq *cq, const wr_datagram *datagrams)
{
    cq->ops->datagrams_return(cq, datagrams);
}

/* wr_cq_send_to: offers all datagrams to the system, in order and in as few system calls as it allows, and waits while
 * its buffer is full. One that the system refuses (too long, no route, an address of another family) is counted in the
 * batch and left out, and the next one follows; the completion has no error for that. With WEIR_ECANCELED the batch
 * says what had been sent by then: the rest was not. [owner] */
static inline void wr_cq_send_to(wr_cq *cq, wr_sock sock, wr_op *op, wr_send_batch *batch)
{
    cq->ops->send_to(cq, sock, op, batch);
}

#endif
