#define _POSIX_C_SOURCE 200809L
#include "platform/common/socket.h"

#include <string.h>

socklen_t wr_sockaddr_write_other(struct sockaddr_storage *out, const wr_addr *addr, const char *path)
{
    if (addr->family == WR_FAMILY_IPV6) {
        struct sockaddr_in6 *in = (struct sockaddr_in6 *)out;
        *in = (struct sockaddr_in6){ .sin6_family = AF_INET6, .sin6_port = htons(addr->port) };
        in->sin6_scope_id = addr->scope;
        memcpy(&in->sin6_addr, addr->ip, sizeof in->sin6_addr);
        return sizeof *in;
    }
    struct sockaddr_un *un = (struct sockaddr_un *)out;
    *un = (struct sockaddr_un){ .sun_family = AF_UNIX };
    memcpy(un->sun_path, path, strlen(path));
    return sizeof *un;
}

socklen_t wr_sockaddr_write_peer(struct sockaddr_storage *out, const wr_addr *peer, bool ipv6)
{
    if (peer->family == WR_FAMILY_IPV4 && !ipv6) {
        struct sockaddr_in *in = (struct sockaddr_in *)out;
        *in = (struct sockaddr_in){ .sin_family = AF_INET, .sin_port = htons(peer->port) };
        memcpy(&in->sin_addr, peer->ip, sizeof in->sin_addr);
        return sizeof *in;
    }
    if (!ipv6 || (peer->family != WR_FAMILY_IPV4 && peer->family != WR_FAMILY_IPV6)) return 0;
    struct sockaddr_in6 *in = (struct sockaddr_in6 *)out;
    *in = (struct sockaddr_in6){ .sin6_family = AF_INET6, .sin6_port = htons(peer->port) };
    if (peer->family == WR_FAMILY_IPV6) {
        in->sin6_scope_id = peer->scope;
        memcpy(&in->sin6_addr, peer->ip, sizeof in->sin6_addr);
    } else {
        memset(&in->sin6_addr.s6_addr[10], 0xff, 2);
        memcpy(&in->sin6_addr.s6_addr[12], peer->ip, 4);
    }
    return sizeof *in;
}

void wr_sockaddr_read(wr_addr *out, const struct sockaddr_storage *address)
{
    *out = (wr_addr){ .family = WR_FAMILY_NONE };
    if (address->ss_family == AF_INET) {
        const struct sockaddr_in *in = (const struct sockaddr_in *)address;
        out->family = WR_FAMILY_IPV4;
        out->port = ntohs(in->sin_port);
        memcpy(out->ip, &in->sin_addr, sizeof in->sin_addr);
    } else if (address->ss_family == AF_INET6) {
        const struct sockaddr_in6 *in = (const struct sockaddr_in6 *)address;
        out->port = ntohs(in->sin6_port);
        if (IN6_IS_ADDR_V4MAPPED(&in->sin6_addr)) {
            out->family = WR_FAMILY_IPV4;
            memcpy(out->ip, &in->sin6_addr.s6_addr[12], 4);
        } else {
            out->family = WR_FAMILY_IPV6;
            out->scope = in->sin6_scope_id;
            memcpy(out->ip, &in->sin6_addr, sizeof in->sin6_addr);
        }
    } else if (address->ss_family == AF_UNIX) {
        out->family = WR_FAMILY_UNIX;
    }
}

void wr_socket_local(wr_os_socket os, wr_addr *out)
{
    struct sockaddr_storage address = { .ss_family = AF_UNSPEC };
    socklen_t length = sizeof address;
    if (getsockname(os, (struct sockaddr *)&address, &length) == 0)
        wr_sockaddr_read(out, &address);
    else
        *out = (wr_addr){ .family = WR_FAMILY_NONE };
}

bool wr_socket_turns_out_own_peer(wr_os_socket os, const wr_connect_params *params)
{
    struct sockaddr_storage address;
    socklen_t length = sizeof address;
    wr_addr local, peer;
    wr_socket_local(os, &local);
    if (local.family == WR_FAMILY_UNIX || local.family == WR_FAMILY_NONE) return false;
    if (params && local.port != params->remote->port) return false;
    if (getpeername(os, (struct sockaddr *)&address, &length) != 0) return false;
    wr_sockaddr_read(&peer, &address);
    return peer.port == local.port && wr_addr_is_same_ip(&peer, &local);
}
