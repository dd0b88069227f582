#include "platform/windows/calls.h"

#include <stdbool.h>

#include "platform/windows/socket.h"

/* find: a function of the provider of `os`, by the name that Winsock has for it; false if it has none. */
static bool find(SOCKET os, GUID name, void *function, DWORD size)
{
    DWORD got;
    return WSAIoctl(os, SIO_GET_EXTENSION_FUNCTION_POINTER, &name, sizeof name, function, size, &got, NULL, NULL) == 0;
}

static bool find_extensions(wr_calls *calls)
{
    const GUID accept_ex = WSAID_ACCEPTEX, sockaddrs = WSAID_GETACCEPTEXSOCKADDRS, connect_ex = WSAID_CONNECTEX;
    SOCKET any;
    if (wr_socket_create(AF_INET, &any) != 0 && wr_socket_create(AF_INET6, &any) != 0) return false;
    bool found = find(any, accept_ex, &calls->accept_ex, sizeof calls->accept_ex) &&
                 find(any, sockaddrs, &calls->get_accept_addresses, sizeof calls->get_accept_addresses) &&
                 find(any, connect_ex, &calls->connect_ex, sizeof calls->connect_ex);
    int error = WSAGetLastError();
    (void)closesocket(any);
    WSASetLastError(error);
    return found;
}

/* start: for InitOnceExecuteOnce, which tries again after a failure. Winsock is never stopped: the process's end does
 * that, and whoever embeds weir may have come to rely on our start. */
static BOOL CALLBACK start(INIT_ONCE *once, void *calls, void **context)
{
    (void)once;
    (void)context;
    WSADATA data;
    int error = WSAStartup(MAKEWORD(2, 2), &data);
    WSASetLastError(error); /* it leaves that to us */
    /* Not initialised where it stands: to MSVC the address of what is in a DLL is no constant. */
    *(wr_calls *)calls = (wr_calls){
        .create_socket = wr_socket_create,
        .wsa_recv = WSARecv,
        .wsa_send = WSASend,
        .wsa_result = WSAGetOverlappedResult,
        .wsa_send_to = WSASendTo,
        .recv = recv,
        .recv_from = recvfrom,
        .getpeername = getpeername,
        .getsockopt = getsockopt,
        .setsockopt = setsockopt,
        .create_port = CreateIoCompletionPort,
        .set_modes = SetFileCompletionNotificationModes,
        .get_packets = GetQueuedCompletionStatusEx,
        .post_packet = PostQueuedCompletionStatus,
        .cancel_io = CancelIoEx,
        .create_timer = CreateWaitableTimerExW,
    };
    return error == 0 && find_extensions(calls);
}

const wr_calls *wr_calls_get(void)
{
    static wr_calls calls;
    static INIT_ONCE started = INIT_ONCE_STATIC_INIT;
    return InitOnceExecuteOnce(&started, start, &calls, NULL) ? &calls : NULL;
}
