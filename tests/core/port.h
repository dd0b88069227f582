/* What the tests of UDP share: a runtime with a UDP port, and a record of what its callbacks said. The runtime and its
 * memory are a world's (world.h), which asserts at the end that all came back. */
#ifndef WR_TEST_PORT_H
#define WR_TEST_PORT_H

#include "core/world.h"

enum { PORT_KEPT_MAX = 4096 };

typedef struct port {
    /* What a test may set before port_start. */
    world w;             /* has no listener */
    const char *address; /* NULL: 127.0.0.1:0 */
    weir_udp_options options;
    void (*on_datagram)(weir_udp_socket *socket, const weir_udp_peer *from, const void *bytes, size_t size);
    void (*on_stop)(weir_udp_socket *socket);
    void (*on_close)(weir_udp_socket *socket);
    bool echoes; /* each datagram */
    bool keeps;  /* the bytes; for one worker */
    bool silent; /* no callbacks at all */

    weir_udp *udp;    /* the last one opened */
    unsigned sockets; /* of all that were opened */
    uint16_t number;  /* the port's */
    weir_udp_peer to; /* a test's */

    /* What the callbacks said, of all sockets together. */
    _Atomic unsigned datagrams, stopped, closed;
    _Atomic uint64_t bytes;
    _Atomic int error; /* of the last on_close */
    _Atomic int system_error;
    weir_udp_peer from; /* of the last datagram; for one worker */
    char kept[PORT_KEPT_MAX];
} port;

/* port_start: the runtime, and the port. port_open: the port alone. */
void port_start(port *p);
int port_open(port *p);

/* port_stop: destroys the runtime; asserts that each socket has had its on_close. */
void port_stop(port *p);

/* port_of: whose callback it is. */
port *port_of(const weir_udp_socket *socket);

/* port_peer: a witness on 127.0.0.1, as weir sees it. */
weir_udp_peer port_peer(raw_peer peer);

#endif
