/* What every system does the same with sockets: addresses in and out, and whom a socket is connected to. */
#ifndef WR_COMMON_SOCKET_H
#define WR_COMMON_SOCKET_H

#include "os_net.h" /* wr_os_socket, sockaddr_storage */
#include "platform/cq.h"

/* wr_sockaddr_family: the system's number for an address's family. */
int wr_sockaddr_family(const wr_addr *addr);

/* wr_sockaddr_write: an address as the kernel takes it, with the path of WR_FAMILY_UNIX; returns its length, up to
 * which `out` is written. */
socklen_t wr_sockaddr_write(struct sockaddr_storage *out, const wr_addr *addr, const char *path);

/* wr_sockaddr_write_peer: a peer as a socket of either family is told of it, IPv4 mapped for an IPv6 one; 0: such a
 * socket cannot speak with it. */
socklen_t wr_sockaddr_write_peer(struct sockaddr_storage *out, const wr_addr *peer, bool ipv6);

/* wr_sockaddr_read: the reverse, without a path; a mapped IPv4 address becomes IPv4. */
void wr_sockaddr_read(wr_addr *out, const struct sockaddr_storage *address);

/* wr_socket_local: the address a socket is bound to; family WR_FAMILY_NONE where the kernel does not say. */
void wr_socket_local(wr_os_socket os, wr_addr *out);

/* wr_socket_is_own_peer: whether the kernel has connected the socket to itself, which happens on one host when the
 * ephemeral port it chose is the one it was to connect to (3,504 attempts sufficed in a test). `params` NULL: no longer
 * known. */
bool wr_socket_is_own_peer(wr_os_socket os, const wr_connect_params *params);

#endif
