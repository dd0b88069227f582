/* Sockets for the hand-written sides: the load generator, the sink and the floor. All on loopback. */
#ifndef BENCH_NET_H
#define BENCH_NET_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>

/* Connections come from these addresses in turn. Each has its own ephemeral ports (28,232 by default), so that ports
 * cannot run out even where a connection should linger in TIME_WAIT. */
enum { NET_SOURCES = 8 };
extern const char *const net_source_texts[NET_SOURCES]; /* "127.0.0.2:0" and on */

/* net_parse: reads "127.0.0.1:7777". False unless it is a loopback address with a port. */
bool net_parse(const char *text, struct sockaddr_in *out);

/* net_address: net_parse of what is known to be right. */
struct sockaddr_in net_address(const char *text);

/* net_listen: a listening socket on 127.0.0.1, non-blocking, whose connections inherit TCP_NODELAY. */
int net_listen(void);
uint16_t net_port(int listener);

/* net_connect: a non-blocking stream socket that connects, or has connected, to `to` from the next source address. */
int net_connect(const struct sockaddr_in *to);

/* net_reset: closes with a reset. Neither end is left in TIME_WAIT, and the port is free at once.
 * net_reset_at_end: the same whenever the socket is closed, also by the death of the process. */
void net_reset(int fd);
void net_reset_at_end(int fd);

/* net_error: takes the socket's pending error. */
int net_error(int fd);

/* net_epoll: an epoll instance; net_watch adds a socket under a key. */
int net_epoll(void);
void net_watch(int epoll, int fd, uint32_t events, uint64_t key);
void net_rewatch(int epoll, int fd, uint32_t events, uint64_t key);

#endif
