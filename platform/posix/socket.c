#define _GNU_SOURCE
#include "platform/posix/socket.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "platform/error_map.h"

socklen_t wr_sockaddr_write(struct sockaddr_storage *out, const wr_endpoint *endpoint)
{
    const wr_addr *addr = &endpoint->addr;
    memset(out, 0, sizeof *out);
    if (addr->family == WR_FAMILY_IPV4) {
        struct sockaddr_in *in = (struct sockaddr_in *)out;
        in->sin_family = AF_INET;
        in->sin_port = htons(addr->port);
        memcpy(&in->sin_addr, addr->ip, sizeof in->sin_addr);
        return sizeof *in;
    }
    if (addr->family == WR_FAMILY_IPV6) {
        struct sockaddr_in6 *in = (struct sockaddr_in6 *)out;
        in->sin6_family = AF_INET6;
        in->sin6_port = htons(addr->port);
        in->sin6_scope_id = addr->scope;
        memcpy(&in->sin6_addr, addr->ip, sizeof in->sin6_addr);
        return sizeof *in;
    }
    struct sockaddr_un *un = (struct sockaddr_un *)out;
    un->sun_family = AF_UNIX;
    memcpy(un->sun_path, endpoint->path, sizeof un->sun_path);
    return sizeof *un;
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

void wr_socket_local(int fd, wr_addr *out)
{
    struct sockaddr_storage address = { .ss_family = AF_UNSPEC };
    socklen_t length = sizeof address;
    if (getsockname(fd, (struct sockaddr *)&address, &length) == 0)
        wr_sockaddr_read(out, &address);
    else
        *out = (wr_addr){ .family = WR_FAMILY_NONE };
}

static int system_family(const wr_addr *addr)
{
    switch (addr->family) {
    case WR_FAMILY_IPV4:
        return AF_INET;
    case WR_FAMILY_IPV6:
        return AF_INET6;
    default:
        return AF_UNIX;
    }
}

static bool set_flag(int fd, int level, int option, int value)
{
    return setsockopt(fd, level, option, &value, sizeof value) == 0;
}

/* A Unix-domain listener that did not end well leaves its file behind, and no one can bind there again. The file is
 * dead if it is a socket that refuses: then it is removed. */
static bool remove_dead_unix_file(const struct sockaddr_storage *address, socklen_t length)
{
    const struct sockaddr_un *un = (const struct sockaddr_un *)address;
    struct stat status;
    if (lstat(un->sun_path, &status) != 0 || !S_ISSOCK(status.st_mode)) return false;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) return false;
    bool dead = connect(fd, (const struct sockaddr *)address, length) != 0 && errno == ECONNREFUSED;
    close(fd);
    return dead && unlink(un->sun_path) == 0;
}

/* SO_REUSEADDR lets a restarted server bind while connections of its predecessor are in TIME_WAIT; on Linux it does not
 * let two live listeners share a port (two sockets that are only bound may: the listen of one of them then fails).
 * SO_REUSEPORT does; set after the listen, it lets in only later ones that have it too. TCP_NODELAY
 * is inherited by what is accepted, which saves a system call a connection: a server that gathers its writes has no use
 * for Nagle's delay. */
static bool configure_listener(int fd, const wr_listen_params *params)
{
    if (params->local.addr.family == WR_FAMILY_UNIX) return true;
    if (!set_flag(fd, SOL_SOCKET, SO_REUSEADDR, 1)) return false;
    if (params->shared_port && !params->claims_port && !set_flag(fd, SOL_SOCKET, SO_REUSEPORT, 1)) return false;
    if (!set_flag(fd, IPPROTO_TCP, TCP_NODELAY, 1)) return false;
    return params->local.addr.family != WR_FAMILY_IPV6 || set_flag(fd, IPPROTO_IPV6, IPV6_V6ONLY, params->ipv6_only);
}

static int listen_failed(wr_listen_result *out, enum wr_step step, int fd)
{
    out->system_error = errno;
    out->step = step;
    if (fd >= 0) close(fd);
    return wr_error_from_system(out->system_error);
}

int wr_socket_listen(const wr_listen_params *params, wr_listen_result *out)
{
    const wr_addr *addr = &params->local.addr;
    *out = (wr_listen_result){ .step = WR_STEP_NONE };
    int fd = socket(system_family(addr), SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) return listen_failed(out, WR_STEP_SOCKET, fd);
    if (!configure_listener(fd, params)) return listen_failed(out, WR_STEP_SOCKET, fd);

    struct sockaddr_storage address;
    socklen_t length = wr_sockaddr_write(&address, &params->local);
    int bound = bind(fd, (struct sockaddr *)&address, length);
    if (bound != 0 && errno == EADDRINUSE && addr->family == WR_FAMILY_UNIX) {
        if (remove_dead_unix_file(&address, length))
            bound = bind(fd, (struct sockaddr *)&address, length);
        else
            errno = EADDRINUSE;
    }
    if (bound != 0) return listen_failed(out, WR_STEP_BIND, fd);
    if (listen(fd, (int)params->backlog) != 0) return listen_failed(out, WR_STEP_LISTEN, fd);
    if (params->claims_port && !set_flag(fd, SOL_SOCKET, SO_REUSEPORT, 1))
        return listen_failed(out, WR_STEP_LISTEN, fd);
    wr_socket_local(fd, &out->bound);
    out->socket.os = fd;
    return 0;
}

int wr_socket_open(const wr_connect_params *params, int *out)
{
    const wr_addr *remote = &params->remote.addr;
    int fd = socket(system_family(remote), SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) return errno;
    if (remote->family != WR_FAMILY_UNIX) (void)set_flag(fd, IPPROTO_TCP, TCP_NODELAY, 1); /* a delay, not a failure */
    if (params->local) {
        /* Without this, bind takes a port for itself alone; with it, connect chooses one that is free towards this
         * peer, so each local address has its full range for every peer. */
        if (params->local->port == 0) (void)set_flag(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1);
        wr_endpoint local = { .addr = *params->local };
        struct sockaddr_storage address;
        socklen_t length = wr_sockaddr_write(&address, &local);
        if (bind(fd, (struct sockaddr *)&address, length) != 0) {
            int error = errno;
            close(fd);
            return error;
        }
    }
    *out = fd;
    return 0;
}

static bool is_same_ip(const wr_addr *a, const wr_addr *b)
{
    return a->family == b->family && memcmp(a->ip, b->ip, a->family == WR_FAMILY_IPV4 ? 4 : 16) == 0;
}

/* 0.0.0.0 and [::] leave the choice to the kernel. */
static bool is_specific(const wr_addr *addr)
{
    static const uint8_t unspecified[16];
    return memcmp(addr->ip, unspecified, sizeof addr->ip) != 0;
}

static bool cannot_be_own_peer(const wr_connect_params *params)
{
    return params && params->local && is_specific(params->local) && is_specific(&params->remote.addr) &&
           !is_same_ip(params->local, &params->remote.addr);
}

bool wr_socket_is_own_peer(int fd, const wr_connect_params *params)
{
    if (cannot_be_own_peer(params)) return false; /* without a system call */
    struct sockaddr_storage address;
    socklen_t length = sizeof address;
    wr_addr local, peer;
    wr_socket_local(fd, &local);
    if (local.family == WR_FAMILY_UNIX || local.family == WR_FAMILY_NONE) return false;
    if (params && local.port != params->remote.addr.port) return false;
    if (getpeername(fd, (struct sockaddr *)&address, &length) != 0) return false;
    wr_sockaddr_read(&peer, &address);
    return peer.port == local.port && is_same_ip(&peer, &local);
}

void wr_socket_close(int fd, bool reset)
{
    if (reset) {
        struct linger none = { .l_onoff = 1, .l_linger = 0 };
        (void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &none, sizeof none); /* at worst the peer sees FIN */
    }
    close(fd); /* Linux has closed the descriptor even when this says EINTR */
}
