/* What every backend on a POSIX system does the same with sockets: addresses, listening, and opening a stream. */
#ifndef WR_POSIX_SOCKET_H
#define WR_POSIX_SOCKET_H

#include <sys/socket.h>

#include "platform/cq.h"

/* wr_sockaddr_write: an endpoint as the kernel takes it; returns its length. */
socklen_t wr_sockaddr_write(struct sockaddr_storage *out, const wr_endpoint *endpoint);

/* wr_sockaddr_read: the reverse, without a path; a mapped IPv4 address becomes IPv4. */
void wr_sockaddr_read(wr_addr *out, const struct sockaddr_storage *address);

/* wr_socket_local: the address a socket is bound to; family WR_FAMILY_NONE where the kernel does not say. */
void wr_socket_local(int fd, wr_addr *out);

/* wr_socket_listen: wr_cq_listen on this system; out->socket.os is the descriptor. */
int wr_socket_listen(const wr_listen_params *params, wr_listen_result *out);

/* wr_socket_open: a non-blocking stream socket for `params`, bound to its local address if it has one. 0, or the
 * system's code. */
int wr_socket_open(const wr_connect_params *params, int *fd);

/* wr_socket_is_own_peer: whether the kernel has connected the socket to itself, which happens on one host when the
 * ephemeral port it chose is the one it was to connect to (3,504 attempts sufficed in a test). `params` NULL: no longer
 * known. */
bool wr_socket_is_own_peer(int fd, const wr_connect_params *params);

/* wr_socket_close: closes; `reset` sends RST instead of FIN. */
void wr_socket_close(int fd, bool reset);

#endif
