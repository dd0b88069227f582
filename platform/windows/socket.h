/* What the IOCP backend asks of Winsock beside overlapped calls: sockets, listening, opening a stream or a UDP socket,
 * closing.
 *
 * All sockets are overlapped, non-blocking and not inherited. There are no Unix-domain ones: Wine has none, and those
 * of Windows know neither AcceptEx nor ConnectEx. */
#ifndef WR_WINDOWS_SOCKET_H
#define WR_WINDOWS_SOCKET_H

#include "platform/common/socket.h"

/* wr_socket_create: a stream socket of a system's family (wr_sockaddr_family), with TCP_NODELAY, bound to nothing: what
 * AcceptEx wants. 0, or the system's code. After wr_calls_get. [any] */
int wr_socket_create(int family, SOCKET *out);

/* wr_socket_listen: wr_cq_listen on this system; out->socket.os is the SOCKET. Without shared_port. [any] */
int wr_socket_listen(const wr_listen_params *params, wr_listen_result *out);

/* wr_socket_udp_open: wr_cq_udp_open on this system. Without shared_port. [any] */
int wr_socket_udp_open(const wr_udp_params *params, wr_listen_result *out);

/* wr_socket_open: a stream socket for `params`, bound to its local address, or to any, as ConnectEx requires. 0, or the
 * system's code. [any] */
int wr_socket_open(const wr_connect_params *params, SOCKET *out);

/* wr_socket_close: nothing is pending on the socket, or its cancel was asked for. `reset` sends RST instead of FIN.
 * [any] */
void wr_socket_close(SOCKET os, bool reset);

#endif
