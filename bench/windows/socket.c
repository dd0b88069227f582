#include "windows/socket.h"

#include "fail.h"

enum { BACKLOG = 4096 }; /* negated (SOMAXCONN_HINT): Windows cuts more than 200 otherwise */

static void find(SOCKET any, GUID name, void *function, DWORD size)
{
    DWORD got;
    if (WSAIoctl(any, SIO_GET_EXTENSION_FUNCTION_POINTER, &name, sizeof name, function, size, &got, NULL, NULL) != 0) {
        fail_system("an extension of Winsock");
    }
}

const struct winsock *winsock_get(void)
{
    static struct winsock winsock;
    if (winsock.connect_ex) return &winsock;
    WSADATA data;
    int error = WSAStartup(MAKEWORD(2, 2), &data);
    if (error != 0) fail_code(error, "WSAStartup");
    const GUID accept_ex = WSAID_ACCEPTEX, connect_ex = WSAID_CONNECTEX;
    SOCKET any = socket_create();
    find(any, accept_ex, &winsock.accept_ex, sizeof winsock.accept_ex);
    find(any, connect_ex, &winsock.connect_ex, sizeof winsock.connect_ex);
    closesocket(any);
    return &winsock;
}

struct sockaddr_in socket_address(const struct address *address)
{
    return (struct sockaddr_in){ .sin_family = AF_INET,
                                 .sin_port = htons(address->port),
                                 .sin_addr.s_addr = htonl(address->ip) };
}

SOCKET socket_create(void)
{
    SOCKET created =
        WSASocketW(AF_INET, SOCK_STREAM, IPPROTO_TCP, NULL, 0, WSA_FLAG_OVERLAPPED | WSA_FLAG_NO_HANDLE_INHERIT);
    if (created == INVALID_SOCKET) fail_system("socket");
    return created;
}

static void set_option(SOCKET socket, int level, int option, int value, const char *name)
{
    if (setsockopt(socket, level, option, (const char *)&value, sizeof value) != 0) fail_system("%s", name);
}

void socket_set_no_delay(SOCKET socket)
{
    set_option(socket, IPPROTO_TCP, TCP_NODELAY, 1, "TCP_NODELAY");
}

SOCKET socket_listen(void)
{
    winsock_get();
    SOCKET listener = socket_create();
    struct sockaddr_in address = socket_address(&(struct address){ .ip = INADDR_LOOPBACK });
    set_option(listener, SOL_SOCKET, SO_EXCLUSIVEADDRUSE, 1, "SO_EXCLUSIVEADDRUSE");
    if (bind(listener, (struct sockaddr *)&address, sizeof address) != 0) fail_system("bind to 127.0.0.1");
    if (listen(listener, -BACKLOG) != 0) fail_system("listen");
    return listener;
}

uint16_t socket_port(SOCKET listener)
{
    struct sockaddr_in address = { 0 };
    int size = sizeof address;
    if (getsockname(listener, (struct sockaddr *)&address, &size) != 0) fail_system("getsockname");
    return ntohs(address.sin_port);
}

void socket_set_non_blocking(SOCKET socket)
{
    u_long on = 1;
    if (ioctlsocket(socket, (long)FIONBIO, &on) != 0) fail_system("FIONBIO");
}

void socket_connect(SOCKET socket, const struct sockaddr_in *to, const void *data, DWORD size, OVERLAPPED *overlapped)
{
    const struct sockaddr_in source = socket_address(&(struct address){ .ip = address_next_source() });
    if (bind(socket, (const struct sockaddr *)&source, sizeof source) != 0) fail_system("bind to a source address");
    memset(overlapped, 0, sizeof *overlapped);
    const struct winsock *winsock = winsock_get();
    void *bytes = (void *)(uintptr_t)data; /* a send does not write */
    if (!winsock->connect_ex(socket, (const struct sockaddr *)to, sizeof *to, bytes, size, NULL, overlapped) &&
        WSAGetLastError() != WSA_IO_PENDING) {
        fail_system("connect");
    }
}

void socket_connected(SOCKET socket)
{
    if (setsockopt(socket, SOL_SOCKET, SO_UPDATE_CONNECT_CONTEXT, NULL, 0) != 0) {
        fail_system("SO_UPDATE_CONNECT_CONTEXT");
    }
}

void socket_reset_at_end(SOCKET socket)
{
    struct linger reset = { .l_onoff = 1, .l_linger = 0 };
    if (setsockopt(socket, SOL_SOCKET, SO_LINGER, (const char *)&reset, sizeof reset) != 0) fail_system("SO_LINGER");
}

void socket_reset(SOCKET socket)
{
    socket_reset_at_end(socket);
    closesocket(socket);
}

int socket_result(SOCKET socket, OVERLAPPED *overlapped)
{
    if ((LONG)overlapped->Internal >= 0) return 0; /* an NTSTATUS, which nobody must translate if it is a success */
    DWORD bytes, flags;
    return WSAGetOverlappedResult(socket, overlapped, &bytes, FALSE, &flags) ? 0 : WSAGetLastError();
}

bool socket_pends(int result)
{
    return result == 0 || WSAGetLastError() == WSA_IO_PENDING;
}

HANDLE port_open(void)
{
    HANDLE port = CreateIoCompletionPort(INVALID_HANDLE_VALUE, NULL, 0, 1);
    if (!port) fail_system("a completion port");
    return port;
}

void port_join(HANDLE port, SOCKET socket, ULONG_PTR key)
{
    if (!CreateIoCompletionPort((HANDLE)socket, port, key, 0)) fail_system("CreateIoCompletionPort");
}

/* Layered providers say that their handles are no file handles. All sockets here have the same provider. */
static bool can_skip(SOCKET socket)
{
    static enum { UNKNOWN, YES, NO } known;
    if (known == UNKNOWN) {
        WSAPROTOCOL_INFOW info;
        int size = sizeof info;
        int failed = getsockopt(socket, SOL_SOCKET, SO_PROTOCOL_INFOW, (char *)&info, &size);
        known = !failed && info.dwServiceFlags1 & XP1_IFS_HANDLES ? YES : NO;
    }
    return known == YES;
}

bool port_join_skipping(HANDLE port, SOCKET socket, ULONG_PTR key)
{
    const UCHAR modes = FILE_SKIP_COMPLETION_PORT_ON_SUCCESS | FILE_SKIP_SET_EVENT_ON_HANDLE;
    port_join(port, socket, key);
    return can_skip(socket) && SetFileCompletionNotificationModes((HANDLE)socket, modes);
}

unsigned port_wait(HANDLE port, OVERLAPPED_ENTRY *packets, unsigned capacity, DWORD timeout_ms)
{
    ULONG count = 0;
    if (GetQueuedCompletionStatusEx(port, packets, capacity, &count, timeout_ms, FALSE)) return count;
    if (GetLastError() != WAIT_TIMEOUT) fail_system("GetQueuedCompletionStatusEx");
    return 0;
}
