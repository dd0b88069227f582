#include "core/raw_windows.h"

#include <string.h>

#include "harness/weir_test.h"

/* Which sockets have sent their FIN, by their handles, which are small multiples of four. */
enum { HANDLES = 1 << 16 };
static bool finished[HANDLES];

static SOCKET socket_of(raw_peer peer)
{
    return (SOCKET)peer.os;
}

static bool *finished_of(SOCKET os)
{
    return &finished[os / 4 % HANDLES];
}

raw_peer raw_windows_peer(SOCKET os)
{
    *finished_of(os) = false;
    return (raw_peer){ .os = (intptr_t)os };
}

uint64_t raw_os_now_ms(void)
{
    return GetTickCount64();
}

/* select, because WSAPoll told nothing of a failed connect until Windows 10 of 2020. */
bool raw_os_poll(raw_peer peer, raw_event event, uint32_t timeout_ms)
{
    fd_set ready, failed;
    FD_ZERO(&ready);
    FD_ZERO(&failed);
    ready.fd_array[ready.fd_count++] = socket_of(peer); /* which FD_SET does, with a loop that a compiler warns of */
    failed.fd_array[failed.fd_count++] = socket_of(peer);
    struct timeval timeout = { .tv_sec = (long)(timeout_ms / 1000), .tv_usec = (long)(timeout_ms % 1000) * 1000 };
    bool reads = event == RAW_READABLE;
    int count = select(0, reads ? &ready : NULL, reads ? NULL : &ready, &failed, &timeout);
    cr_assert_geq(count, 0, "select: %d", WSAGetLastError());
    return count > 0;
}

static void set_option(SOCKET os, int level, int name, int value)
{
    cr_assert_eq(setsockopt(os, level, name, (const char *)&value, sizeof value), 0, "setsockopt: %d",
                 WSAGetLastError());
}

static BOOL CALLBACK start_winsock(INIT_ONCE *once, void *parameter, void **context)
{
    (void)once;
    (void)parameter;
    (void)context;
    WSADATA data;
    return WSAStartup(MAKEWORD(2, 2), &data) == 0;
}

static SOCKET make_socket(int family, int type)
{
    static INIT_ONCE started = INIT_ONCE_STATIC_INIT;
    u_long on = 1;
    cr_assert(InitOnceExecuteOnce(&started, start_winsock, NULL, NULL));
    SOCKET os = WSASocketW(family, type, 0, NULL, 0, WSA_FLAG_OVERLAPPED | WSA_FLAG_NO_HANDLE_INHERIT);
    cr_assert_neq(os, INVALID_SOCKET, "socket: %d", WSAGetLastError());
    cr_assert_eq(ioctlsocket(os, (long)FIONBIO, &on), 0);
    return os;
}

SOCKET raw_windows_socket(int family)
{
    SOCKET os = make_socket(family, SOCK_STREAM);
    set_option(os, IPPROTO_TCP, TCP_NODELAY, 1);
    return os;
}

socklen_t raw_windows_address(struct sockaddr_storage *out, const char *host, uint16_t port)
{
    memset(out, 0, sizeof *out);
    struct sockaddr_in *in = (struct sockaddr_in *)out;
    if (inet_pton(AF_INET, host, &in->sin_addr) == 1) {
        in->sin_family = AF_INET;
        in->sin_port = htons(port);
        return sizeof *in;
    }
    struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)out;
    cr_assert_eq(inet_pton(AF_INET6, host, &in6->sin6_addr), 1, "not a numeric host: %s", host);
    in6->sin6_family = AF_INET6;
    in6->sin6_port = htons(port);
    return sizeof *in6;
}

static int socket_error(SOCKET os)
{
    int error = 0, size = sizeof error;
    cr_assert_eq(getsockopt(os, SOL_SOCKET, SO_ERROR, (char *)&error, &size), 0);
    return error;
}

int raw_windows_connect(SOCKET os, const struct sockaddr_storage *address, socklen_t length, uint32_t patience_ms)
{
    if (connect(os, (const struct sockaddr *)address, length) == 0) return 0;
    if (WSAGetLastError() != WSAEWOULDBLOCK) return WSAGetLastError();
    if (!raw_wait(raw_windows_peer(os), RAW_WRITABLE, patience_ms)) return WSAETIMEDOUT;
    int error = socket_error(os);
    return error == WSAECONNRESET ? 0 : error; /* one that was there and is reset already counts */
}

raw_peer raw_connect(const char *host, uint16_t port, int receive_buffer)
{
    struct sockaddr_storage address;
    socklen_t length = raw_windows_address(&address, host, port);
    SOCKET os = raw_windows_socket(address.ss_family);
    /* Before the handshake, in which the window's scale is settled. */
    if (receive_buffer) set_option(os, SOL_SOCKET, SO_RCVBUF, receive_buffer);
    int error = raw_windows_connect(os, &address, length, RAW_PATIENCE_MS);
    cr_assert_eq(error, 0, "connect: %d", error);
    return raw_windows_peer(os);
}

bool raw_try_connect(const char *host, uint16_t port, uint32_t patience_ms, raw_peer *out)
{
    struct sockaddr_storage address;
    socklen_t length = raw_windows_address(&address, host, port);
    SOCKET os = raw_windows_socket(address.ss_family);
    *out = raw_windows_peer(os);
    if (raw_windows_connect(os, &address, length, patience_ms) == 0) return true;
    closesocket(os);
    return false;
}

raw_peer raw_connect_unix(const char *path)
{
    cr_skip_test("%s: there are no Unix-domain sockets here", path);
}

raw_peer raw_listen(int backlog, uint16_t *port)
{
    struct sockaddr_storage address;
    socklen_t length = raw_windows_address(&address, "127.0.0.1", 0);
    SOCKET os = raw_windows_socket(AF_INET);
    cr_assert_eq(bind(os, (struct sockaddr *)&address, length), 0, "bind: %d", WSAGetLastError());
    cr_assert_eq(listen(os, backlog), 0, "listen: %d", WSAGetLastError());
    raw_peer listener = raw_windows_peer(os);
    *port = raw_port(listener);
    return listener;
}

raw_peer raw_accept(raw_peer listener)
{
    raw_must(listener, RAW_READABLE, "nobody connects");
    SOCKET os = accept(socket_of(listener), NULL, NULL); /* it does not block, as its listener does not */
    cr_assert_neq(os, INVALID_SOCKET, "accept: %d", WSAGetLastError());
    return raw_windows_peer(os);
}

void raw_receive_buffer(raw_peer listener, int size)
{
    set_option(socket_of(listener), SOL_SOCKET, SO_RCVBUF, size);
}

size_t raw_send_some(raw_peer peer, const void *bytes, size_t size)
{
    enum { CALL_MAX = 1 << 20 };
    int sent = send(socket_of(peer), bytes, (int)(size < CALL_MAX ? size : CALL_MAX), 0);
    if (sent >= 0) return (size_t)sent;
    int error = WSAGetLastError();
    if (error == WSAEWOULDBLOCK) return 0;
    cr_assert(error == WSAECONNRESET || error == WSAECONNABORTED || error == WSAESHUTDOWN, "send: %d", error);
    return SIZE_MAX;
}

/* After a reset for which no receive was waiting, Wine says end of file. What gives it away is that there is no peer
 * any more; but there is none either when both sides have sent FIN. */
static bool is_hidden_reset(SOCKET os)
{
    struct sockaddr_storage address;
    socklen_t length = sizeof address;
    return !*finished_of(os) && getpeername(os, (struct sockaddr *)&address, &length) != 0;
}

void raw_finish(raw_peer peer)
{
    SOCKET os = socket_of(peer);
    cr_assert(shutdown(os, SD_SEND) == 0 || is_hidden_reset(os), "shutdown: %d", WSAGetLastError());
    *finished_of(os) = true;
}

bool raw_tells_reset_after_finish(void)
{
    HMODULE library = GetModuleHandleW(L"ntdll.dll");
    return !library || !GetProcAddress(library, "wine_get_version"); /* which is how Wine says that it is there */
}

size_t raw_receive_some(raw_peer peer, void *bytes, size_t capacity, raw_end *end)
{
    *end = RAW_OPEN;
    int size = recv(socket_of(peer), bytes, (int)(capacity < INT32_MAX ? capacity : INT32_MAX), 0);
    if (size > 0) return (size_t)size;
    if (size == 0) {
        *end = is_hidden_reset(socket_of(peer)) ? RAW_RESET : RAW_FIN;
        return 0;
    }
    int error = WSAGetLastError();
    if (error == WSAEWOULDBLOCK) return 0;
    cr_assert(error == WSAECONNRESET || error == WSAECONNABORTED, "recv: %d", error);
    *end = RAW_RESET;
    return 0;
}

void raw_close(raw_peer peer)
{
    closesocket(socket_of(peer));
}

void raw_reset(raw_peer peer)
{
    struct linger none = { .l_onoff = 1, .l_linger = 0 };
    cr_assert_eq(setsockopt(socket_of(peer), SOL_SOCKET, SO_LINGER, (const char *)&none, sizeof none), 0);
    closesocket(socket_of(peer));
}

union address {
    struct sockaddr_storage any;
    struct sockaddr_in in;
    struct sockaddr_in6 in6;
};

static uint16_t port_of(const union address *address)
{
    return ntohs(address->any.ss_family == AF_INET6 ? address->in6.sin6_port : address->in.sin_port);
}

uint16_t raw_port(raw_peer peer)
{
    union address address = { .any = { 0 } };
    socklen_t length = sizeof address;
    cr_assert_eq(getsockname(socket_of(peer), (struct sockaddr *)&address, &length), 0);
    return port_of(&address);
}

raw_peer raw_udp(const char *host)
{
    struct sockaddr_storage address;
    socklen_t length = raw_windows_address(&address, host, 0);
    SOCKET os = make_socket(address.ss_family, SOCK_DGRAM);
    cr_assert_eq(bind(os, (struct sockaddr *)&address, length), 0, "bind: %d", WSAGetLastError());
    return raw_windows_peer(os);
}

void raw_udp_send(raw_peer peer, const char *host, uint16_t port, const void *bytes, size_t size)
{
    struct sockaddr_storage address;
    socklen_t length = raw_windows_address(&address, host, port);
    int sent = sendto(socket_of(peer), bytes, (int)size, 0, (struct sockaddr *)&address, length);
    cr_assert_eq(sent, (int)size, "sendto: %d", WSAGetLastError());
}

size_t raw_udp_receive(raw_peer peer, void *bytes, size_t capacity, uint16_t *port)
{
    union address address = { .any = { 0 } };
    socklen_t length = sizeof address;
    raw_must(peer, RAW_READABLE, "no datagram comes");
    int size = recvfrom(socket_of(peer), bytes, (int)capacity, 0, (struct sockaddr *)&address, &length);
    cr_assert_geq(size, 0, "recvfrom: %d", WSAGetLastError());
    if (port) *port = port_of(&address);
    return (size_t)size;
}

/* Handles are multiples of four and given out from the lowest: after so many free ones there are no more. (Wine does
 * not count them: GetProcessHandleCount says 0.) */
unsigned raw_descriptors(void)
{
    enum { GAP = 256 };
    unsigned sockets = 0;
    for (uintptr_t handle = 4, last = 0; handle - last < GAP * 4; handle += 4) {
        DWORD flags;
        if (!GetHandleInformation((HANDLE)handle, &flags)) continue;
        last = handle;
        int type, size = sizeof type;
        sockets += getsockopt(handle, SOL_SOCKET, SO_TYPE, (char *)&type, &size) == 0;
    }
    return sockets;
}
