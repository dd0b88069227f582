/* What every backend on a POSIX system does the same with sockets: listening, opening a stream or a UDP socket,
 * closing. */
#ifndef WR_POSIX_SOCKET_H
#define WR_POSIX_SOCKET_H

#include "platform/common/socket.h"

/* wr_socket_listen: wr_cq_listen on this system; out->socket.os is the descriptor. */
int wr_socket_listen(const wr_listen_params *params, wr_listen_result *out);

/* wr_socket_udp_open: wr_cq_udp_open on this system. */
int wr_socket_udp_open(const wr_udp_params *params, wr_listen_result *out);

/* wr_socket_open: a non-blocking stream socket for `params`, bound to its local address if it has one. 0, or the
 * system's code. */
int wr_socket_open(const wr_connect_params *params, int *fd);

/* wr_socket_send_undelayed: turns off Nagle's delay of a stream that wr_socket_open made, and that is no Unix-domain
 * socket. */
void wr_socket_send_undelayed(int fd);

/* wr_socket_close: closes; `reset` sends RST instead of FIN. */
void wr_socket_close(int fd, bool reset);

#endif
