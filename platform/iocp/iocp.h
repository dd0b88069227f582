/* The IOCP backend, inside. iocp.c has the queue and the wait, accept.c, connect.c, stream.c and datagram.c the
 * operations.
 *
 * One completion port a queue. What Windows performs (AcceptEx, ConnectEx, WSASend, WSASendTo, and a receive of no
 * bytes, which completes when there is something to read) is a flight: an OVERLAPPED that belongs to Windows until its
 * packet has come. An idle connection has one, the receive, which lives in the socket's record; the others are leased
 * while they are needed. A packet names the socket's slot in its key, and the flight by the OVERLAPPED's address; a
 * closed socket keeps its record until its last flight has landed. */
#ifndef WR_IOCP_H
#define WR_IOCP_H

#include "platform/common/done.h"
#include "platform/common/lease.h"
#include "platform/common/posts.h"
#include "platform/common/table.h"
#include "platform/windows/calls.h"
#include "platform/windows/socket.h"

enum {
    WR_IOCP_PACKETS = 64,            /* taken from the port a pass */
    WR_ACCEPTS_POSTED = 16,          /* AcceptEx in flight a listener: a burst of connections finds as many ready */
    WR_SEND_CALLS_MAX = 16,          /* WSASend a send and pass that succeed at once */
    WR_SEND_SLICES_MAX = 64,         /* WSABUFs a call */
    WR_SEND_BYTES_MAX = 1024 * 1024, /* bytes a call: Windows locks the pages of a send until it is done */
    WR_BUFFER_SIZE = 16 * 1024,      /* a recv's */
    WR_BUFFERS_KEPT = 64,            /* as many as a worker takes completions at once */
    WR_OUTGOING_KEPT = 256,          /* 14 KiB */
    WR_RECV_CALLS_MAX = 64,          /* datagrams read a receive and pass */
    WR_SENDS_ALOFT = 32,             /* datagrams a socket that Windows has at once */
    WR_DISPATCHES_KEPT = 8,
    WR_FINE_WAIT_MS = 32, /* shorter waits use the high-resolution timer: the others are up to 16 ms late */
};

enum wr_iocp_kind {
    WR_IOCP_FREE,
    WR_IOCP_NEW,
    WR_IOCP_LISTENER,
    WR_IOCP_CONNECTING,
    WR_IOCP_STREAM,
    WR_IOCP_DATAGRAM,
};

/* A send or a connect, from its submit to its result. */
typedef struct wr_outgoing {
    OVERLAPPED os;
    wr_op *op;
    const wr_slice *slice; /* SEND: the first that Windows has not wholly taken */
    uint32_t slice_done;   /* bytes of it that Windows has */
    bool aloft;            /* Windows has it */
} wr_outgoing;

/* A SEND_TO, from its submit to its result. */
typedef struct wr_dispatch {
    wr_op *op;
    wr_send_batch *batch;
    uint8_t idle[WR_SENDS_ALOFT]; /* the numbers of the flights that Windows does not have, a stack */
    uint8_t idle_count;
    OVERLAPPED flights[WR_SENDS_ALOFT]; /* a datagram each */
} wr_dispatch;

/* An AcceptEx: the socket that is to become a connection, and where Windows writes its addresses. */
typedef struct wr_waiting_accept {
    OVERLAPPED os;
    SOCKET socket;
    bool aloft;  /* Windows has it */
    bool landed; /* to be delivered */
    int error;   /* WSA code of a landed one */
    uint8_t addresses[2 * (sizeof(struct sockaddr_storage) + 16)];
} wr_waiting_accept;

/* What a listener has beside its record. */
typedef struct wr_listening {
    int family;     /* of the sockets it accepts */
    unsigned batch; /* so many connections are delivered a pass, at most */
    unsigned next;  /* whose turn it is to be delivered */
    bool cancelled; /* the accept is to end when its flights have landed */
    wr_waiting_accept waiting[WR_ACCEPTS_POSTED];
} wr_listening;

/* 72 bytes, as a server has as many as connections. */
typedef struct wr_iocp_socket {
    wr_record record;     /* its `next` is that of the ready list, while it stands there */
    uint8_t kind : 3;     /* enum wr_iocp_kind */
    uint8_t queued : 1;   /* in the ready list */
    uint8_t readable : 1; /* the next read may find something */
    uint8_t skips : 1;    /* an operation that succeeds at once queues no packet */
    uint8_t closing : 1;  /* closed: waits for its flights */
    uint8_t shut : 1;     /* streams: FIN was sent */
    uint8_t aloft : 7;    /* flights */
    uint8_t ipv6 : 1;     /* datagrams: it is of that family */
    uint16_t size_max;    /* datagrams: of `in`, the bytes of each */
    SOCKET os;
    wr_op *in; /* pending recv or accept; of a closing one, the close */
    union {
        wr_outgoing *out;        /* pending send or connect */
        wr_listening *listening; /* listener: once it has accepted */
        wr_dispatch *dispatch;   /* datagrams: pending send_to */
    };
    OVERLAPPED notice; /* the receive of no bytes; its result stays here until the next one */
} wr_iocp_socket;

typedef struct wr_iocp {
    wr_cq base;
    struct {
        HANDLE port;
        HANDLE timer; /* high-resolution; NULL where the system has none */
        const wr_calls *calls;
        wr_memory *memory;
        wr_pool buffers;
        wr_pool outgoing;
        wr_pool leases; /* of datagrams */
        wr_pool dispatches;
        wr_done done;
        bool poll_owed;   /* the last wait did not ask the port */
        bool posts_first; /* in this wait, if it is short of room */
        wr_ready ready;
        wr_table sockets;
        uint32_t aloft; /* flights of all sockets */
    } owner;
    wr_posts posts;
} wr_iocp;

extern const struct wr_cq_ops wr_cq_iocp;

static inline wr_iocp *wr_iocp_of(wr_cq *cq)
{
    return (wr_iocp *)cq;
}

static inline wr_iocp_socket *wr_iocp_slot(const wr_iocp *cq, uint32_t slot)
{
    return wr_table_at(&cq->owner.sockets, slot, sizeof(wr_iocp_socket));
}

static inline wr_iocp_socket *wr_iocp_get(const wr_iocp *cq, wr_sock sock)
{
    return wr_table_get(&cq->owner.sockets, sock, sizeof(wr_iocp_socket));
}

/* iocp.c */

/* wr_iocp_create: wr_cq_create on these calls, which outlive the queue. */
int wr_iocp_create(const wr_calls *calls, wr_cq **out, const wr_cq_options *options);

/* wr_iocp_add: a record for a socket, joined to the port; NULL with the error in `*error`: WEIR_ENOMEM, WEIR_ESYSTEM.
 */
wr_iocp_socket *wr_iocp_add(wr_iocp *cq, SOCKET socket, enum wr_iocp_kind kind, int *error);

/* wr_iocp_finish: the operation has its result, which the next wait delivers; wr_iocp_finish_system maps a WSA code. */
void wr_iocp_finish(wr_iocp *cq, wr_op *op, int error, int system_error);
void wr_iocp_finish_system(wr_iocp *cq, wr_op *op, int system_error);

/* wr_iocp_queue: the next pass looks at the socket. */
void wr_iocp_queue(wr_iocp *cq, wr_iocp_socket *s);

enum wr_launch { WR_LAUNCH_DONE, WR_LAUNCH_ALOFT, WR_LAUNCH_FAILED };

/* wr_iocp_launched: after a call that may have sent something aloft: whether it is done already (no packet follows),
 * aloft, or failed with `code`. */
enum wr_launch wr_iocp_launched(wr_iocp *cq, wr_iocp_socket *s, bool succeeded, int code);

/* wr_iocp_result: the WSA code of what has landed, 0 for success; `*bytes` is what it moved. */
int wr_iocp_result(const wr_iocp *cq, const wr_iocp_socket *s, OVERLAPPED *overlapped, DWORD *bytes);

/* wr_iocp_lease: makes `op` the socket's send or connect; NULL when there is no memory. wr_iocp_give_back: it
 * is no longer, and the caller's to finish. wr_iocp_finish_out: it has its result, a WSA code or 0. */
wr_outgoing *wr_iocp_lease(wr_iocp *cq, wr_iocp_socket *s, wr_op *op);
wr_op *wr_iocp_give_back(wr_iocp *cq, wr_iocp_socket *s);
void wr_iocp_finish_out(wr_iocp *cq, wr_iocp_socket *s, int code);

/* wr_iocp_drop: closes the socket; its operations end, and its slot is freed, when its flights have landed, and last of
 * all `close`, if there is one. */
void wr_iocp_drop(wr_iocp *cq, wr_iocp_socket *s, wr_op *close, bool reset);

/* accept.c */
int wr_iocp_listen(wr_cq *cq, const wr_listen_params *params, wr_listen_result *out);
void wr_iocp_accept(wr_cq *cq, wr_sock listener, wr_op *op);
void wr_iocp_cancel(wr_cq *cq, wr_op *op);
void wr_iocp_accept_landed(wr_iocp *cq, wr_iocp_socket *s, OVERLAPPED *overlapped);
unsigned wr_iocp_serve_accept(wr_iocp *cq, wr_iocp_socket *s, wr_completion *out, unsigned capacity);

/* wr_iocp_free_accepts: the listener has closed, and its flights have landed. */
void wr_iocp_free_accepts(wr_iocp *cq, wr_iocp_socket *s);

/* connect.c */
void wr_iocp_connect(wr_cq *cq, const wr_connect_params *params, wr_op *op);
void wr_iocp_connect_landed(wr_iocp *cq, wr_iocp_socket *s);

/* stream.c */
void wr_iocp_recv(wr_cq *cq, wr_sock sock, wr_op *op);
void wr_iocp_recv_landed(wr_iocp *cq, wr_iocp_socket *s);
unsigned wr_iocp_serve_recv(wr_iocp *cq, wr_iocp_socket *s, wr_completion *out);
void wr_iocp_send(wr_cq *cq, wr_sock sock, wr_op *op, const wr_slice *slices);
void wr_iocp_send_landed(wr_iocp *cq, wr_iocp_socket *s);
void wr_iocp_serve_send(wr_iocp *cq, wr_iocp_socket *s);
void wr_iocp_shutdown(wr_cq *cq, wr_sock sock);

/* datagram.c */
int wr_iocp_udp_open(wr_cq *cq, const wr_udp_params *params, wr_listen_result *out);
void wr_iocp_recv_from(wr_cq *cq, wr_sock sock, wr_op *op, uint16_t size_max);
unsigned wr_iocp_serve_recv_from(wr_iocp *cq, wr_iocp_socket *s, wr_completion *out);
void wr_iocp_send_to(wr_cq *cq, wr_sock sock, wr_op *op, wr_send_batch *batch);
void wr_iocp_send_to_landed(wr_iocp *cq, wr_iocp_socket *s, OVERLAPPED *flight);
void wr_iocp_serve_send_to(wr_iocp *cq, wr_iocp_socket *s);
void wr_iocp_finish_send_to(wr_iocp *cq, wr_iocp_socket *s, int error);

#endif
