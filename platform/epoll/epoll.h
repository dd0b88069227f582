/* The epoll backend, inside. epoll.c has the queue and the wait, accept.c, connect.c, stream.c and
 * datagram.c the operations.
 *
 * An operation is tried when it is submitted (send, connect) or when the kernel has said that it is possible (accept,
 * recv, the rest of a send). Sockets are registered edge-triggered, once, when they first have to wait; a flag a
 * direction remembers what the last edge said until a call finds otherwise. Listeners are level-triggered, and
 * registered only while an accept is pending. */
#ifndef WR_EPOLL_H
#define WR_EPOLL_H

#include "platform/common/done.h"
#include "platform/common/lease.h"
#include "platform/common/posts.h"
#include "platform/common/table.h"
#include "platform/cq.h"

enum {
    WR_EPOLL_EVENTS = 256,    /* taken from the kernel a pass; what is over waits for the next one */
    WR_ACCEPT_BATCH_MAX = 16, /* accepts a pass and listener */
    WR_ACCEPT_ROW_MIN = 4,    /* passes in a row that found a connection before a batch is tried */
    WR_ACCEPT_ROW_MAX = 64,   /* the same after batches that found only one */
    WR_SEND_CALLS_MAX = 16,   /* system calls a send and pass */
    WR_SEND_SLICES_MAX = 64,  /* slices a system call */
    /* A recv's; 32 and 64 KiB made no difference to echoes of 64 B, 16 KiB and 64 KiB. */
    WR_BUFFER_SIZE = 16 * 1024,
    WR_BUFFERS_KEPT = 64, /* as many as a worker takes completions at once */
    WR_RUN_MAX = 64,      /* datagrams that the kernel cuts one write into: what it has taken since it can (4.18) */
    WR_SEND_MESSAGES_MAX = 32, /* datagrams, or runs of them, a system call */
    WR_SEND_PARTS_MAX = 128,   /* datagrams a system call */
};

enum wr_socket_kind {
    WR_SOCKET_FREE,
    WR_SOCKET_NEW, /* adopted; a listener or a stream, as its first operation shows */
    WR_SOCKET_LISTENER,
    WR_SOCKET_CONNECTING,
    WR_SOCKET_STREAM,
    WR_SOCKET_DATAGRAM,
};

typedef struct wr_socket {
    wr_record record; /* its `next` is that of the ready list, while it stands there */
    int fd;
    wr_op *in;  /* pending recv or accept */
    wr_op *out; /* pending send, which knows what is left of it, or connect */
    union {
        uint32_t slice_done; /* of `out`: bytes of its first slice that the kernel has */
        struct {
            uint16_t receive_max; /* datagrams: of `in`, the bytes of each */
            uint16_t run_size;    /* ... and the largest size that goes out in runs; 0: none does */
        };
    };
    uint8_t kind;        /* enum wr_socket_kind */
    bool registered : 1; /* with epoll */
    bool wants_out : 1;  /* registered for EPOLLOUT too */
    bool queued : 1;     /* in the ready list */
    bool delays : 1;     /* has Nagle's algorithm, which is no use to a server that gathers its writes */
    bool readable : 1;   /* the next read may find something */
    bool writable : 1;   /* the kernel said so since the last short write */
    bool ended : 1;      /* FIN, RST or an error was announced: readable until a read says what it is. The end may
                            come in one edge with the last bytes, and is not announced again */
    bool was_reset : 1;  /* by its peer: a read has said so */
    union {
        struct {
            uint8_t accept_row; /* listener: passes in a row that found exactly one connection */
            uint8_t accept_row_needed;
        };
        struct {
            bool ipv6 : 1;      /* datagrams: it is of that family */
            bool coalesced : 1; /* datagrams: the kernel puts runs together */
        };
    };
} wr_socket;

_Static_assert(sizeof(wr_socket) <= 40, "an idle socket stays small");

typedef struct wr_epoll {
    wr_cq base;
    struct {
        int epoll_fd;
        int wake_fd; /* eventfd, edge-triggered, never read: a write is the edge */
        wr_memory *memory;
        wr_pool buffers;
        wr_pool leases;   /* of datagrams */
        wr_done done;     /* results of submits */
        bool poll_owed;   /* the last wait did not ask the kernel */
        bool posts_first; /* in this wait, if it is short of room */
        wr_ready ready;   /* sockets that may have something to do */
        wr_table sockets;
        uint64_t stale_events;
    } owner;
    wr_posts posts;
} wr_epoll;

extern const struct wr_cq_ops wr_cq_epoll;

static inline wr_epoll *wr_epoll_of(wr_cq *cq)
{
    return (wr_epoll *)cq;
}

static inline wr_socket *wr_epoll_slot(const wr_epoll *cq, uint32_t slot)
{
    return wr_table_at(&cq->owner.sockets, slot, sizeof(wr_socket));
}

static inline wr_socket *wr_epoll_get(const wr_epoll *cq, wr_sock sock)
{
    return wr_table_get(&cq->owner.sockets, sock, sizeof(wr_socket));
}

/* epoll.c */

/* wr_epoll_add: a record for `fd`; NULL when there is no memory. */
wr_socket *wr_epoll_add(wr_epoll *cq, int fd, enum wr_socket_kind kind);

/* wr_epoll_finish: the operation has its result, which the next wait delivers. */
void wr_epoll_finish(wr_epoll *cq, wr_op *op, int error, int system_error);

/* wr_epoll_finish_submit: it has succeeded within its submit. */
static inline void wr_epoll_finish_submit(wr_epoll *cq, wr_op *op)
{
    if (op->prompt)
        op->pending = false;
    else
        wr_epoll_finish(cq, op, 0, 0);
}

/* wr_epoll_finish_system: the same, with a system's code to be mapped. */
void wr_epoll_finish_system(wr_epoll *cq, wr_op *op, int system_error);

/* wr_epoll_queue: the next pass looks at the socket. */
void wr_epoll_queue(wr_epoll *cq, wr_socket *s);

/* wr_epoll_register: (re-)registers for `events`; 0 or errno. */
int wr_epoll_register(wr_epoll *cq, wr_socket *s, uint32_t events);

/* wr_epoll_drop: takes the socket out of epoll, closes its descriptor and frees its slot. Out of epoll first: a
 * duplicate of the descriptor, in a child process for one, would keep the registration. Of one that its peer has reset
 * the kernel has nothing more to report, and nobody is left to be told, which saves two system calls. */
void wr_epoll_drop(wr_epoll *cq, wr_socket *s, bool reset);

/* accept.c */
int wr_epoll_listen(wr_cq *cq, const wr_listen_params *params, wr_listen_result *out);
void wr_epoll_accept(wr_cq *cq, wr_sock listener, wr_op *op);
void wr_epoll_cancel(wr_cq *cq, wr_op *op);
unsigned wr_epoll_serve_accept(wr_epoll *cq, wr_socket *s, wr_completion *out, unsigned capacity);

/* connect.c */
void wr_epoll_connect(wr_cq *cq, const wr_connect_params *params, wr_op *op);
void wr_epoll_serve_connect(wr_epoll *cq, wr_socket *s);

/* stream.c */
void wr_epoll_recv(wr_cq *cq, wr_sock sock, wr_op *op);
void wr_epoll_recv_stop(wr_cq *cq, wr_sock sock);
void wr_epoll_send(wr_cq *cq, wr_sock sock, wr_op *op, const wr_slice *slices);
void wr_epoll_shutdown(wr_cq *cq, wr_sock sock);

/* For wr_epoll_serve_recv (read.h): the recv ends, for no buffer could be leased. */
bool wr_epoll_recv_unleased(wr_socket *s, wr_completion *out);

/* For the same: the read brought no bytes, since the stream has ended or else for what errno says. True:
 * there is a completion. */
bool wr_epoll_recv_nothing(wr_epoll *cq, wr_socket *s, wr_completion *out, bool ended, uint8_t *buffer);

void wr_epoll_serve_send(wr_epoll *cq, wr_socket *s);

/* datagram.c */
int wr_epoll_udp_open(wr_cq *cq, const wr_udp_params *params, wr_listen_result *out);
void wr_epoll_recv_from(wr_cq *cq, wr_sock sock, wr_op *op, uint16_t size_max);
void wr_epoll_send_to(wr_cq *cq, wr_sock sock, wr_op *op, wr_send_batch *batch);
unsigned wr_epoll_serve_recv_from(wr_epoll *cq, wr_socket *s, wr_completion *out);
void wr_epoll_serve_send_to(wr_epoll *cq, wr_socket *s);

#endif
