/* What every system does the same with sockets: addresses in and out, and whom a socket is connected to. */
#ifndef WR_COMMON_SOCKET_H
#define WR_COMMON_SOCKET_H

#include <string.h>

#include "os_net.h" /* wr_os_socket, sockaddr_storage */
#include "platform/cq.h"

/* wr_sockaddr_family: the system's number for an address's family. */
static inline int wr_sockaddr_family(const wr_addr *addr)
{
    return addr->family == WR_FAMILY_IPV4 ? AF_INET : addr->family == WR_FAMILY_IPV6 ? AF_INET6 : AF_UNIX;
}

/* wr_sockaddr_write_other: for wr_sockaddr_write, of all but IPv4. */
socklen_t wr_sockaddr_write_other(struct sockaddr_storage *out, const wr_addr *addr, const char *path);

/* wr_sockaddr_write: an address as the kernel takes it, with the path of WR_FAMILY_UNIX; returns its length, up to
 * which `out` is written. */
static inline socklen_t wr_sockaddr_write(struct sockaddr_storage *out, const wr_addr *addr, const char *path)
{
    if (addr->family != WR_FAMILY_IPV4) return wr_sockaddr_write_other(out, addr, path);
    struct sockaddr_in *in = (struct sockaddr_in *)out;
    *in = (struct sockaddr_in){ .sin_family = AF_INET, .sin_port = htons(addr->port) };
    memcpy(&in->sin_addr, addr->ip, sizeof in->sin_addr);
    return sizeof *in;
}

/* wr_sockaddr_write_peer: a peer as a socket of either family is told of it, IPv4 mapped for an IPv6 one; 0: such a
 * socket cannot speak with it. */
socklen_t wr_sockaddr_write_peer(struct sockaddr_storage *out, const wr_addr *peer, bool ipv6);

/* wr_sockaddr_read: the reverse, without a path; a mapped IPv4 address becomes IPv4. */
void wr_sockaddr_read(wr_addr *out, const struct sockaddr_storage *address);

/* wr_socket_local: the address a socket is bound to; family WR_FAMILY_NONE where the kernel does not say. */
void wr_socket_local(wr_os_socket os, wr_addr *out);

static inline bool wr_addr_is_same_ip(const wr_addr *a, const wr_addr *b)
{
    if (a->family != b->family) return false;
    return a->family == WR_FAMILY_IPV4 ? memcmp(a->ip, b->ip, 4) == 0 : memcmp(a->ip, b->ip, sizeof a->ip) == 0;
}

/* wr_addr_is_specific: 0.0.0.0 and [::] leave the choice to the kernel. */
static inline bool wr_addr_is_specific(const wr_addr *addr)
{
    static const uint8_t unspecified[sizeof addr->ip];
    return memcmp(addr->ip, unspecified, sizeof addr->ip) != 0;
}

/* wr_socket_turns_out_own_peer: for wr_socket_is_own_peer, where the addresses alone do not say. */
bool wr_socket_turns_out_own_peer(wr_os_socket os, const wr_connect_params *params);

/* wr_socket_is_own_peer: whether the kernel has connected the socket to itself, which happens on one host when the
 * ephemeral port it chose is the one it was to connect to (3,504 attempts sufficed in a test). `params` NULL: no longer
 * known. */
static inline bool wr_socket_is_own_peer(wr_os_socket os, const wr_connect_params *params)
{
    bool cannot_be = params && params->local && !wr_addr_is_same_ip(params->local, params->remote) &&
                     wr_addr_is_specific(params->local) && wr_addr_is_specific(params->remote);
    return !cannot_be && wr_socket_turns_out_own_peer(os, params);
}

#endif
