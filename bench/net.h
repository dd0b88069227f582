/* Streams for the sides that are weir-bench's own: the load generators and the sink. All on loopback. linux/ implements
 * this page by epoll, windows/ by a completion port.
 *
 * A net and its streams, which are numbered from 0 on, are one thread's. What no workload can expect ends the run. */
#ifndef BENCH_NET_H
#define BENCH_NET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "address.h"

struct net;

enum {
    NET_READABLE = 1, /* something has come: one net_receive is due */
    NET_WRITABLE = 2, /* there is room again, as net_want_room asked */
    NET_ENDED = 4,    /* the peer has closed */
    NET_FAILED = 8,   /* net_error says why */
};

struct net_event {
    uint32_t stream;
    uint32_t what;
};

struct net *net_create(unsigned streams);

/* net_start: begins a connection to `to` from the next source address, and comes back at once. The first event tells
 * how it went on: NET_ENDED when the peer has closed it, NET_FAILED, or NET_READABLE alone when it sent something. */
void net_start(struct net *net, unsigned stream, const struct address *to);

/* net_ask: as net_start, for a connection on which these bytes, which must stay as they are, are sent as soon as it is
 * there. What comes back is told as NET_READABLE. It ends in a reset. */
void net_ask(struct net *net, unsigned stream, const struct address *to, const uint8_t *data, size_t size);

/* net_open: a connection that stays, established when this returns; without Nagle's delay. It ends in a reset when the
 * process does. */
void net_open(struct net *net, unsigned stream, const struct address *to);

/* net_wait: waits for events; 0 if none came within `timeout_ms`. */
unsigned net_wait(struct net *net, struct net_event *out, unsigned capacity, int timeout_ms);

/* net_receive: how many bytes came; 0 if there were none after all. Fails if the peer has closed. */
size_t net_receive(struct net *net, unsigned stream, uint8_t *buffer, size_t size);

/* net_send: how many of the bytes the system took; they must stay as they are while the stream lives. */
size_t net_send(struct net *net, unsigned stream, const uint8_t *data, size_t size);

/* net_want_room: whether to tell when net_send, which fell short, can take more. */
void net_want_room(struct net *net, unsigned stream, bool wanted);

/* net_error: the system's code for a stream that failed. */
int net_error(struct net *net, unsigned stream);

/* net_reset: closes with a reset. Neither end is left in TIME_WAIT, and the port is free at once. */
void net_reset(struct net *net, unsigned stream);

/* A connection whose end here never reads, and takes little on its way: of no net, established when net_deaf_open
 * returns; it ends in a reset. net_deaf_send: how many bytes the system took at once, or NET_GONE when the peer has
 * ended the connection, which is then to be closed all the same. */
enum { NET_GONE = -1 };
intptr_t net_deaf_open(const struct address *to);
int net_deaf_send(intptr_t deaf, const uint8_t *data, size_t size);
void net_deaf_close(intptr_t deaf);

/* net_sink: accepts, reads each connection to its end, and closes it. Calls serve_ready; never returns. */
void net_sink(void);

#endif
