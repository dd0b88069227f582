/* UDP: datagrams to and from many peers through one port.
 *
 * A weir_udp is a port. Where the system can share one (Linux), each worker has a socket of its own on it, and the
 * kernel spreads the peers by both ends' addresses: a peer comes to the same socket, and so to the same worker, for as
 * long as the set of sockets stays as it is. Elsewhere there is one socket, on one worker.
 *
 * What UDP does not do, this does not do either: a datagram may be lost, come twice or come late, and its source
 * address may be a lie until the peer has proved that it hears what is sent there. docs/guide/udp.md has more. */
#ifndef WEIR_UDP_H
#define WEIR_UDP_H

#include <weir/address.h>
#include <weir/buffer.h>
#include <weir/conn.h>

#ifdef __cplusplus
extern "C" {
#endif

/* A port for datagrams. It belongs to the runtime and lives until weir_runtime_destroy. */
typedef struct weir_udp weir_udp;

/* One of its sockets: in callbacks on its worker, and as long as on_close has not come. */
typedef struct weir_udp_socket weir_udp_socket;

/* Whom a datagram came from, or goes to: 24 bytes without padding, so that it can be a key as it is. (A weir_address
 * has its text with it, which no datagram should have to pay for.) An IPv4 peer of a dual-stack socket is IPv4. */
typedef struct weir_udp_peer {
    uint8_t ip[16]; /* network byte order; IPv4 in the first four, the rest 0 */
    uint32_t scope; /* of a link-local IPv6 address: the interface's number */
    uint16_t port;  /* host byte order */
    uint8_t family; /* WEIR_FAMILY_IPV4 or WEIR_FAMILY_IPV6 */
    uint8_t zero;   /* 0 */
} weir_udp_peer;

/* What happens on a port. weir_udp_open copies it. Any callback may be NULL. */
typedef struct weir_udp_protocol {
    /* A datagram, whole; the bytes and `from` are valid until the callback returns. It may be empty: size 0. */
    void (*on_datagram)(weir_udp_socket *socket, const weir_udp_peer *from, const void *bytes, size_t size);
    /* The runtime is stopping: the last moment to say goodbye. What is sent here still leaves. */
    void (*on_stop)(weir_udp_socket *socket);
    /* The last callback of a socket, once for each: WEIR_ECLOSED after weir_udp_close, WEIR_ESTOPPED, or what the
     * system said. Sends are refused. On its worker; for a socket that its worker never came to, in
     * weir_runtime_destroy. */
    void (*on_close)(weir_udp_socket *socket, weir_reason reason);
    void *data; /* the embedder's own; weir_udp_socket_data returns it */
} weir_udp_protocol;

typedef struct weir_udp_options {
    /* Sockets, each on a worker of its own. 0: one a worker where the system can share a port, else one. At most as
     * many as there are workers. 1 is right for one who only talks to a server. */
    unsigned sockets;
    /* The longest datagram that is taken; what is longer is dropped and counted. 0: 2048, more than any that crosses
     * today's Ethernet in one piece; at most 65,507. */
    uint32_t max_datagram;
    /* Bytes that wait to be sent, a socket, each datagram counting as 64 more; then sends are refused. Those of other
     * threads may be as many again while its worker has not come to them. 0: 1 MiB; at most 1 GiB. */
    uint32_t max_queued;
    uint32_t
        receive_buffer;   /* the kernel's, for each socket; 0: as the system has it. It may give less than is asked */
    uint32_t send_buffer; /* likewise */
    bool ipv6_only;       /* [::] does not take IPv4 too */
    bool share_port;      /* as weir_listen_options.share_port */
    /* For bulk from few peers: the kernel may put runs of one peer's datagrams together on their way up (UDP_GRO on
     * Linux), which on_datagram gets one by one as ever. For small datagrams of many peers it costs: batches get
     * smaller. No effect where the system cannot. */
    bool coalesce;
    weir_failure *failure; /* where weir_udp_open says what failed; may be NULL; not kept */
} weir_udp_options;

/* weir_udp_open: binds `address` (weir/address.h, IPv4 or IPv6) and receives as soon as the runtime runs. `options` and
 * `out` may be NULL. [any], also before the start
 * WEIR_EADDRESS, WEIR_EINVAL: the text or an option is refused, failure.text says which. WEIR_EADDRINUSE, WEIR_EACCES,
 * WEIR_EADDRNOTAVAIL, WEIR_EAFNOSUPPORT, WEIR_EMFILE…: the system refused, failure.step says where. WEIR_ENOTSUP: a
 * Unix-domain address; several sockets or share_port where the system cannot share a port. WEIR_ENOMEM.
 * WEIR_ESTOPPED. */
WEIR_API int weir_udp_open(weir_runtime *runtime, const char *address, const weir_udp_protocol *protocol,
                           const weir_udp_options *options, weir_udp **out);

/* weir_udp_address: where it is bound, with the port that the system chose for port 0. [any] */
WEIR_API weir_address weir_udp_address(const weir_udp *udp);

/* weir_udp_close: sends what waits, within the runtime's stop_timeout_ms, and closes; on_close follows for each socket,
 * with WEIR_ECLOSED. What comes meanwhile is dropped. Returns at once; twice is harmless. [any] */
WEIR_API void weir_udp_close(weir_udp *udp);

/* weir_udp_send: queues a copy of one datagram. It leaves at the end of the loop pass, in one system call with all else
 * that was sent in it as far as the system can; runs of one size to one peer, with a shorter last one, are cheapest.
 * [worker]
 * That the system took it is all that weir ever knows; what it refused (a network that is out of reach, a datagram that
 * is too long for the path) is counted in stats.udp_refused.
 * WEIR_ELIMIT: max_queued bytes wait already: dropped, and counted in stats.udp_dropped. WEIR_ECLOSED: the socket is
 * closing. WEIR_EMSGSIZE: longer than 65,507 bytes. WEIR_EINVAL: `to` is NULL, or bytes is and size is not 0.
 * WEIR_ENOMEM: dropped and counted. */
WEIR_API int weir_udp_send(weir_udp_socket *socket, const weir_udp_peer *to, const void *bytes, size_t size);

/* weir_udp_send_buf: as weir_udp_send, but takes a reference instead of a copy. The caller keeps its own. [worker] */
WEIR_API int weir_udp_send_buf(weir_udp_socket *socket, const weir_udp_peer *to, weir_buf *buf);

/* weir_udp_send_to, weir_udp_send_buf_to: the same from anywhere. In a callback it goes out of the socket of that
 * worker, else, or if that has none, out of one that the peer's address chooses. In order among the sends of one thread
 * to one peer, as far as UDP keeps it. [any] */
WEIR_API int weir_udp_send_to(weir_udp *udp, const weir_udp_peer *to, const void *bytes, size_t size);
WEIR_API int weir_udp_send_buf_to(weir_udp *udp, const weir_udp_peer *to, weir_buf *buf);

/* weir_udp_peer_of: the peer at an address; of family WEIR_FAMILY_NONE, to which nothing can be sent, for a Unix-domain
 * one. [any] */
WEIR_API weir_udp_peer weir_udp_peer_of(const weir_address *address);

/* weir_udp_peer_address: the reverse, with the text. [any] */
WEIR_API weir_address weir_udp_peer_address(const weir_udp_peer *peer);

/* weir_udp_socket_data: weir_udp_protocol.data. [worker] */
WEIR_API void *weir_udp_socket_data(const weir_udp_socket *socket);

/* weir_udp_socket_port: the port that it is a socket of, as weir_udp_open gave it out. [worker] */
WEIR_API weir_udp *weir_udp_socket_port(const weir_udp_socket *socket);

/* weir_udp_socket_runtime: the runtime that it lives in. [worker] */
WEIR_API weir_runtime *weir_udp_socket_runtime(const weir_udp_socket *socket);

/* weir_udp_socket_worker: the number of its worker, from 0. [worker] */
WEIR_API unsigned weir_udp_socket_worker(const weir_udp_socket *socket);

#ifdef __cplusplus
}
#endif

#endif
