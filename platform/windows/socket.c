#include "platform/windows/socket.h"

#include <assert.h>
#include <limits.h>

#include "platform/error_map.h"
#include "platform/windows/calls.h"

/* mingw-w64 10 does not have all of these. */
#ifndef SO_REUSE_UNICASTPORT
#define SO_REUSE_UNICASTPORT 0x3007
#endif
#ifndef SIO_UDP_CONNRESET
#define SIO_UDP_CONNRESET _WSAIOW(IOC_VENDOR, 12)
#endif
#ifndef SIO_UDP_NETRESET
#define SIO_UDP_NETRESET _WSAIOW(IOC_VENDOR, 15)
#endif

/* ---- sockets ---- */

static bool set_option(SOCKET os, int level, int option, int value)
{
    return setsockopt(os, level, option, (const char *)&value, sizeof value) == 0;
}

static int create(int family, int type, int protocol, SOCKET *out)
{
    u_long on = 1; /* the receive of no bytes says when to read, and the read must then not block */
    SOCKET os = WSASocketW(family, type, protocol, NULL, 0, WSA_FLAG_OVERLAPPED | WSA_FLAG_NO_HANDLE_INHERIT);
    if (os == INVALID_SOCKET) return WSAGetLastError();
    if (ioctlsocket(os, (long)FIONBIO, &on) != 0) {
        int error = WSAGetLastError();
        (void)closesocket(os);
        return error;
    }
    *out = os;
    return 0;
}

/* A server that gathers its writes has no use for Nagle's delay; without the option there is a delay, not a failure. */
int wr_socket_create(int family, SOCKET *out)
{
    int error = create(family, SOCK_STREAM, IPPROTO_TCP, out);
    if (error == 0) (void)set_option(*out, IPPROTO_TCP, TCP_NODELAY, 1);
    return error;
}

static int open_socket(const wr_addr *addr, SOCKET *out)
{
    if (addr->family == WR_FAMILY_UNIX) return WSAEAFNOSUPPORT; /* Windows could make it, and nothing more */
    return wr_calls_get() ? wr_socket_create(wr_sockaddr_family(addr), out) : WSAGetLastError();
}

static int bind_to(SOCKET os, const wr_addr *local)
{
    struct sockaddr_storage address;
    socklen_t length = wr_sockaddr_write(&address, local, NULL);
    return bind(os, (const struct sockaddr *)&address, length);
}

void wr_socket_close(SOCKET os, bool reset)
{
    if (reset) {
        struct linger none = { .l_onoff = 1, .l_linger = 0 };
        (void)setsockopt(os, SOL_SOCKET, SO_LINGER, (const char *)&none, sizeof none); /* at worst the peer sees FIN */
    }
    (void)closesocket(os);
}

/* ---- listening ---- */

/* Without SO_EXCLUSIVEADDRUSE another process could take the port away, by SO_REUSEADDR, which on Windows lets two live
 * listeners share it; a restarted server binds while connections of its predecessor are in TIME_WAIT in any case. */
static bool configure_listener(SOCKET os, const wr_listen_params *params)
{
    if (!set_option(os, SOL_SOCKET, SO_EXCLUSIVEADDRUSE, 1)) return false;
    return params->local.addr.family != WR_FAMILY_IPV6 || set_option(os, IPPROTO_IPV6, IPV6_V6ONLY, params->ipv6_only);
}

static int system_backlog(uint32_t backlog)
{
    enum { PLAIN_MAX = 200 }; /* Windows cuts more than that, unless it is negated (SOMAXCONN_HINT) */
    return backlog <= PLAIN_MAX ? (int)backlog : -(int)(backlog < SOMAXCONN ? backlog : SOMAXCONN);
}

static int listen_failed(wr_listen_result *out, enum wr_step step, int system_error, SOCKET os)
{
    out->system_error = system_error;
    out->step = step;
    if (os != INVALID_SOCKET) (void)closesocket(os);
    return wr_error_from_system(system_error);
}

int wr_socket_listen(const wr_listen_params *params, wr_listen_result *out)
{
    const wr_addr *addr = &params->local.addr;
    assert(!params->shared_port);
    *out = (wr_listen_result){ .step = WR_STEP_NONE };
    SOCKET os = INVALID_SOCKET;
    int error = open_socket(addr, &os);
    if (error) return listen_failed(out, WR_STEP_SOCKET, error, INVALID_SOCKET);
    if (!configure_listener(os, params)) return listen_failed(out, WR_STEP_SOCKET, WSAGetLastError(), os);
    if (bind_to(os, &params->local.addr) != 0) return listen_failed(out, WR_STEP_BIND, WSAGetLastError(), os);
    if (listen(os, system_backlog(params->backlog)) != 0)
        return listen_failed(out, WR_STEP_LISTEN, WSAGetLastError(), os);
    wr_socket_local(os, &out->bound);
    out->socket.os = (intptr_t)os;
    return 0;
}

/* ---- datagrams ---- */

/* A receive is not to fail for what the network says of an earlier send, which is about one peer among many. Where that
 * cannot be switched off, the backend takes no notice of it. */
static void be_deaf_to_peers(SOCKET os)
{
    BOOL off = FALSE;
    DWORD got;
    (void)WSAIoctl(os, SIO_UDP_CONNRESET, &off, sizeof off, NULL, 0, &got, NULL, NULL);
    (void)WSAIoctl(os, SIO_UDP_NETRESET, &off, sizeof off, NULL, 0, &got, NULL, NULL);
}

/* The kernel's buffers are a wish. The port is this socket's alone, as for a listener. */
static bool configure_udp(SOCKET os, const wr_udp_params *params)
{
    int receive = params->receive_bytes < INT_MAX ? (int)params->receive_bytes : INT_MAX;
    int send = params->send_bytes < INT_MAX ? (int)params->send_bytes : INT_MAX;
    if (receive) (void)set_option(os, SOL_SOCKET, SO_RCVBUF, receive);
    if (send) (void)set_option(os, SOL_SOCKET, SO_SNDBUF, send);
    be_deaf_to_peers(os);
    if (!set_option(os, SOL_SOCKET, SO_EXCLUSIVEADDRUSE, 1)) return false;
    return params->local.family != WR_FAMILY_IPV6 || set_option(os, IPPROTO_IPV6, IPV6_V6ONLY, params->ipv6_only);
}

int wr_socket_udp_open(const wr_udp_params *params, wr_listen_result *out)
{
    SOCKET os = INVALID_SOCKET;
    assert(!params->shared_port);
    *out = (wr_listen_result){ .step = WR_STEP_NONE };
    int error =
        wr_calls_get() ? create(wr_sockaddr_family(&params->local), SOCK_DGRAM, IPPROTO_UDP, &os) : WSAGetLastError();
    if (error) return listen_failed(out, WR_STEP_SOCKET, error, INVALID_SOCKET);
    if (!configure_udp(os, params)) return listen_failed(out, WR_STEP_SOCKET, WSAGetLastError(), os);
    if (bind_to(os, &params->local) != 0) return listen_failed(out, WR_STEP_BIND, WSAGetLastError(), os);
    wr_socket_local(os, &out->bound);
    out->socket.os = (intptr_t)os;
    return 0;
}

/* ---- connecting ---- */

int wr_socket_open(const wr_connect_params *params, SOCKET *out)
{
    SOCKET os = INVALID_SOCKET;
    int error = open_socket(params->remote, &os);
    if (error) return error;
    wr_addr local = { .family = params->remote->family }; /* any address, any port */
    if (params->local) local = *params->local;
    /* A port that bind chooses is one of 16,384 for all that this host connects to, and then for nothing else; so it is
     * left for ConnectEx to choose. Before Windows 10, which has the option, the bound stays. */
    if (local.port == 0) (void)set_option(os, SOL_SOCKET, SO_REUSE_UNICASTPORT, 1);
    if (bind_to(os, &local) != 0) {
        error = WSAGetLastError();
        (void)closesocket(os);
        return error;
    }
    *out = os;
    return 0;
}
