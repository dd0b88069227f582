#include <stdlib.h>

#include "net.h"
#include "peer.h"
#include "windows/accepts.h"

enum { PACKETS_MAX = 64, BUFFER = 4096 };

enum key { KEY_LISTENER, KEY_CONN };

struct conn {
    OVERLAPPED overlapped; /* first: a packet names it */
    SOCKET socket;
    char buffer[BUFFER];
};

static void end(struct conn *conn)
{
    closesocket(conn->socket);
    free(conn);
}

static void receive(struct conn *conn)
{
    WSABUF room = { .len = BUFFER, .buf = conn->buffer };
    DWORD flags = 0;
    memset(&conn->overlapped, 0, sizeof conn->overlapped);
    if (!socket_pends(WSARecv(conn->socket, &room, 1, NULL, &flags, &conn->overlapped, NULL))) end(conn);
}

static void begin(HANDLE port, SOCKET socket)
{
    struct conn *conn = malloc(sizeof *conn);
    if (!conn) fail("out of memory");
    conn->socket = socket;
    port_join(port, socket, KEY_CONN);
    receive(conn);
}

/* The last word of a connection is the client's reset: an error here is its usual end. */
static void landed(struct conn *conn, DWORD bytes)
{
    if (bytes > 0 && socket_result(conn->socket, &conn->overlapped) == 0) {
        receive(conn);
    } else {
        end(conn);
    }
}

void net_sink(void)
{
    static struct accepts accepts;
    HANDLE port = port_open();
    accepts_begin(&accepts, port, KEY_LISTENER);
    serve_ready(socket_port(accepts.listener));

    OVERLAPPED_ENTRY packets[PACKETS_MAX];
    for (;;) {
        unsigned count = port_wait(port, packets, PACKETS_MAX, INFINITE);
        for (unsigned i = 0; i < count; i++) {
            if (packets[i].lpCompletionKey == KEY_CONN) {
                landed((struct conn *)packets[i].lpOverlapped, packets[i].dwNumberOfBytesTransferred);
            } else {
                SOCKET accepted = accepts_take(&accepts, packets[i].lpOverlapped);
                if (accepted != INVALID_SOCKET) begin(port, accepted);
            }
        }
    }
}
