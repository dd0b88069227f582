/* What the IOCP backend asks of Windows, as a table. A queue calls through the one that it was created on, so that a
 * test can put one in between that does what Windows may do and Wine never does. */
#ifndef WR_WINDOWS_CALLS_H
#define WR_WINDOWS_CALLS_H

#include "os_net.h"

typedef struct wr_calls {
    /* Winsock's extensions, of which only Winsock says where they are. */
    LPFN_ACCEPTEX accept_ex;
    LPFN_GETACCEPTEXSOCKADDRS get_accept_addresses;
    LPFN_CONNECTEX connect_ex;
    /* Winsock. */
    int (*create_socket)(int family, SOCKET *out); /* wr_socket_create */
    LPFN_WSARECV wsa_recv;
    LPFN_WSASEND wsa_send;
    LPFN_WSAGETOVERLAPPEDRESULT wsa_result;
    LPFN_WSASENDTO wsa_send_to;
    LPFN_RECV recv;
    LPFN_RECVFROM recv_from;
    LPFN_GETPEERNAME getpeername;
    LPFN_GETSOCKOPT getsockopt;
    LPFN_SETSOCKOPT setsockopt;
    /* The completion port. */
    HANDLE(WINAPI *create_port)(HANDLE file, HANDLE port, ULONG_PTR key, DWORD threads);
    BOOL(WINAPI *set_modes)(HANDLE file, UCHAR modes); /* SetFileCompletionNotificationModes */
    BOOL(WINAPI *get_packets)
    (HANDLE port, OVERLAPPED_ENTRY *packets, ULONG room, ULONG *count, DWORD timeout_ms, BOOL alertable);
    BOOL(WINAPI *post_packet)(HANDLE port, DWORD bytes, ULONG_PTR key, OVERLAPPED *overlapped);
    BOOL(WINAPI *cancel_io)(HANDLE file, OVERLAPPED *overlapped); /* CancelIoEx */
    HANDLE(WINAPI *create_timer)(SECURITY_ATTRIBUTES *attributes, const wchar_t *name, DWORD flags, DWORD access);
} wr_calls;

/* wr_calls_get: Windows itself; the first call starts Winsock. NULL if that failed: WSAGetLastError says why. [any] */
const wr_calls *wr_calls_get(void);

#endif
