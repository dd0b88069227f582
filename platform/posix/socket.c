#define _GNU_SOURCE
#include "platform/posix/socket.h"

#include <errno.h>
#include <limits.h>
#include <netinet/tcp.h>
#include <netinet/udp.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "platform/error_map.h"
#include "platform/posix/calls.h"

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
    int fd = socket(wr_sockaddr_family(addr), SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) return listen_failed(out, WR_STEP_SOCKET, fd);
    if (!configure_listener(fd, params)) return listen_failed(out, WR_STEP_SOCKET, fd);

    struct sockaddr_storage address;
    socklen_t length = wr_sockaddr_write(&address, addr, params->local.path);
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

/* The kernel's buffers are a wish: it gives as much as its limits allow, and says nothing. So is coalescing, which
 * older kernels lack. SO_REUSEADDR is not set: with it, another socket could take the port's datagrams over. */
static bool configure_udp(int fd, const wr_udp_params *params)
{
    int receive = params->receive_bytes < INT_MAX ? (int)params->receive_bytes : INT_MAX;
    int send = params->send_bytes < INT_MAX ? (int)params->send_bytes : INT_MAX;
    if (receive) (void)set_flag(fd, SOL_SOCKET, SO_RCVBUF, receive);
    if (send) (void)set_flag(fd, SOL_SOCKET, SO_SNDBUF, send);
    if (params->coalesce) (void)set_flag(fd, IPPROTO_UDP, UDP_GRO, 1);
    if (params->shared_port && !params->claims_port && !set_flag(fd, SOL_SOCKET, SO_REUSEPORT, 1)) return false;
    return params->local.family != WR_FAMILY_IPV6 || set_flag(fd, IPPROTO_IPV6, IPV6_V6ONLY, params->ipv6_only);
}

int wr_socket_udp_open(const wr_udp_params *params, wr_listen_result *out)
{
    *out = (wr_listen_result){ .step = WR_STEP_NONE };
    int fd = socket(wr_sockaddr_family(&params->local), SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) return listen_failed(out, WR_STEP_SOCKET, fd);
    if (!configure_udp(fd, params)) return listen_failed(out, WR_STEP_SOCKET, fd);

    struct sockaddr_storage address;
    socklen_t length = wr_sockaddr_write_peer(&address, &params->local, params->local.family == WR_FAMILY_IPV6);
    if (bind(fd, (struct sockaddr *)&address, length) != 0) return listen_failed(out, WR_STEP_BIND, fd);
    if (params->claims_port && !set_flag(fd, SOL_SOCKET, SO_REUSEPORT, 1)) return listen_failed(out, WR_STEP_BIND, fd);
    wr_socket_local(fd, &out->bound);
    out->socket.os = fd;
    return 0;
}

int wr_socket_open(const wr_connect_params *params, int *out)
{
    int fd = socket(wr_sockaddr_family(params->remote), SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) return errno;
    if (params->local) {
        /* Without this, bind takes a port for itself alone; with it, connect chooses one that is free towards this
         * peer, so each local address has its full range for every peer. */
        if (params->local->port == 0) (void)set_flag(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1);
        struct sockaddr_storage address;
        socklen_t length = wr_sockaddr_write(&address, params->local, NULL);
        if (bind(fd, (struct sockaddr *)&address, length) != 0) {
            int error = errno;
            close(fd);
            return error;
        }
    }
    *out = fd;
    return 0;
}

void wr_socket_send_undelayed(int fd)
{
    (void)set_flag(fd, IPPROTO_TCP, TCP_NODELAY, 1); /* else there is a delay, not a failure */
}

void wr_socket_close(int fd, bool reset)
{
    if (reset) {
        struct linger none = { .l_onoff = 1, .l_linger = 0 };
        (void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &none, sizeof none); /* at worst the peer sees FIN */
    }
    wr_call_close(fd);
}
