#include "windows/accepts.h"

#include "fail.h"

enum { DEAD_MAX = 1000 }; /* connections in a row that were reset while they waited */

static void post(struct accepts *accepts, struct posted_accept *accept)
{
    const struct winsock *winsock = winsock_get();
    DWORD received;
    accept->socket = socket_create();
    for (unsigned dead = 0; dead < DEAD_MAX; dead++) {
        memset(&accept->overlapped, 0, sizeof accept->overlapped);
        if (winsock->accept_ex(accepts->listener, accept->socket, accept->addresses, 0, ACCEPT_ROOM, ACCEPT_ROOM,
                               &received, &accept->overlapped) ||
            WSAGetLastError() == WSA_IO_PENDING) {
            return;
        }
        if (WSAGetLastError() != WSAECONNRESET) break;
    }
    fail_system("AcceptEx");
}

void accepts_begin(struct accepts *accepts, HANDLE port, ULONG_PTR key)
{
    accepts->listener = socket_listen();
    port_join(port, accepts->listener, key);
    for (unsigned i = 0; i < ACCEPTS_POSTED; i++) post(accepts, &accepts->posted[i]);
}

SOCKET accepts_take(struct accepts *accepts, OVERLAPPED *overlapped)
{
    struct posted_accept *accept = (struct posted_accept *)overlapped;
    SOCKET accepted = accept->socket;
    if (socket_result(accepts->listener, overlapped) != 0) { /* of that one connection: the listener lives */
        closesocket(accepted);
        accepted = INVALID_SOCKET;
    }
    post(accepts, accept);
    return accepted;
}

void accepts_complete(const struct accepts *accepts, SOCKET socket)
{
    if (setsockopt(socket, SOL_SOCKET, SO_UPDATE_ACCEPT_CONTEXT, (const char *)&accepts->listener,
                   sizeof accepts->listener) != 0) {
        fail_system("SO_UPDATE_ACCEPT_CONTEXT");
    }
}
