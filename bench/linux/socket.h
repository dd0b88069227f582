/* Sockets and epoll as the hand-written sides of Linux use them: the load generator, the sink and the floor. */
#ifndef BENCH_LINUX_SOCKET_H
#define BENCH_LINUX_SOCKET_H

#include <netinet/in.h>

#include "address.h"

struct sockaddr_in socket_address(const struct address *address);

/* socket_listen: a listening socket on 127.0.0.1, non-blocking, whose connections inherit TCP_NODELAY. */
int socket_listen(void);

/* socket_listen_shared: one of several on one port, among which the kernel spreads connections; port 0 is for the
 * first. */
int socket_listen_shared(uint16_t port);

uint16_t socket_port(int listener);

/* socket_connect: a non-blocking stream socket that connects, or has connected, to `to` from the next source address.
 */
int socket_connect(const struct sockaddr_in *to);

/* socket_reset: closes with a reset. Neither end is left in TIME_WAIT, and the port is free at once.
 * socket_reset_at_end: the same whenever the socket is closed, also by the death of the process. */
void socket_reset(int fd);
void socket_reset_at_end(int fd);

/* socket_error: takes the socket's pending error. */
int socket_error(int fd);

/* epoll_open: an epoll instance; epoll_watch adds a socket under a key, epoll_rewatch changes its events. */
int epoll_open(void);
void epoll_watch(int epoll, int fd, uint32_t events, uint64_t key);
void epoll_rewatch(int epoll, int fd, uint32_t events, uint64_t key);

#endif
