/* weir_udp, inside: a port, with one or more sockets, each on one worker. */
#ifndef WR_UDP_H
#define WR_UDP_H

#include <stdatomic.h>
#include <string.h>
#include <weir/udp.h>

#include "core/timer.h"
#include "core/udp_queue.h"
#include "core/worker.h"

/* A socket and the worker that serves it. What is desired (open, paused, closing) and what is in flight are brought
 * together in one place at the end of a pass, as for a connection. */
struct weir_udp_socket {
    weir_udp *udp;
    wr_worker *worker;
    weir_udp_socket *next;       /* of the worker's */
    weir_udp_socket *dirty_next; /* of those to be reconciled */
    wr_detached detached;
    wr_sock sock; /* once the queue has adopted it */
    wr_op recv, send, close;
    wr_send_batch batch; /* of `send` */
    wr_udp_queue queue;
    wr_timer timer; /* the end of a pause; once it closes, its deadline */
    wr_message attach, shut;
    weir_reason reason; /* why it closes */
    bool attached;      /* one of its worker's */
    bool dirty;
    bool paused;  /* receives no more until the timer fires */
    bool closing; /* sends what waits, and no more */
    bool expired; /* not even that */
    struct {
        _Atomic uint32_t queued; /* by other threads, and not yet here */
    } shared;
};

struct weir_udp {
    weir_runtime *runtime;
    weir_udp *next; /* of the runtime's */
    weir_udp_protocol protocol;
    wr_endpoint endpoint; /* as bound */
    uint16_t max_datagram;
    uint32_t max_queued;
    unsigned first_worker; /* whose socket is sockets[0] */
    _Atomic bool closed;   /* weir_udp_close was called */
    unsigned socket_count;
    weir_udp_socket sockets[];
};

/* A public peer is the platform's address with its padding named. */
static inline wr_addr wr_udp_addr(const weir_udp_peer *peer)
{
    wr_addr addr;
    memset(&addr, 0, sizeof addr); /* its padding too: it goes back out in peers */
    memcpy(addr.ip, peer->ip, sizeof addr.ip);
    addr.scope = peer->scope;
    addr.port = peer->port;
    addr.family = peer->family;
    return addr;
}

/* udp.c */

/* wr_udps_free: those of a runtime whose workers have ended. [owner] */
void wr_udps_free(weir_runtime *runtime);

/* udp_socket.c */

/* The socket's messages: it comes to its worker; its worker has ended first; it is to be closed. */
void wr_udp_socket_attach(wr_worker *worker, wr_message *message);
void wr_udp_socket_drop(wr_worker *worker, wr_message *message);
void wr_udp_socket_shut(wr_worker *worker, wr_message *message);

/* wr_udp_socket_complete: one of its operations has completed. [worker] */
void wr_udp_socket_complete(weir_udp_socket *socket, const wr_completion *completion);

/* wr_udp_socket_expire: its timer has fired. [worker] */
void wr_udp_socket_expire(weir_udp_socket *socket);

/* wr_udp_sockets_stop: tells all of a worker's sockets, and begins to close them. [worker] */
void wr_udp_sockets_stop(wr_worker *worker);

/* wr_udp_sockets_reconcile: submits what those that something happened to ask for. [worker] */
void wr_udp_sockets_reconcile(wr_worker *worker);

/* wr_udp_enqueue: appends a datagram under the socket's limit; with `buf` NULL a copy. What it refuses is counted, but
 * for WEIR_ECLOSED. [worker] */
int wr_udp_enqueue(weir_udp_socket *socket, const wr_addr *peer, const void *bytes, uint32_t size, weir_buf *buf);

#endif
