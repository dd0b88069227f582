#include "net.h"

#include <stdlib.h>

#include "driver.h"
#include "fail.h"
#include "windows/socket.h"

enum { PACKETS_MAX = 256 };

enum state { CONNECTING, ASKING, AWAITS_END, OPEN };

/* A connection. Its packets have it as their key, so it stays until the last one has come, also when its stream has
 * gone on to another one. In each state at most one operation is in flight on `in`; of OPEN, it is a receive of no
 * bytes, which lands when there is something to read. */
struct link {
    OVERLAPPED in, out;
    SOCKET socket;
    enum state state;
    uint32_t stream;
    bool receiving, sending; /* in flight on `in`, on `out` */
    bool closed;
    bool wants_room;
    int error;
    char byte; /* AWAITS_END: where what should not come would go */
};

struct net {
    HANDLE port;
    struct link *links[]; /* by stream */
};

struct net *net_create(unsigned streams)
{
    struct net *net = calloc(1, sizeof *net + streams * sizeof(struct link *));
    if (!net) fail("out of memory");
    winsock_get();
    net->port = port_open();
    return net;
}

static struct link *start(struct net *net, unsigned stream, const struct address *to, enum state state,
                          const uint8_t *data, size_t size)
{
    struct sockaddr_in address = socket_address(to);
    struct link *link = calloc(1, sizeof *link);
    if (!link) fail("out of memory");
    link->state = state;
    link->stream = stream;
    link->receiving = true;
    link->socket = socket_create();
    net->links[stream] = link;
    port_join(net->port, link->socket, (ULONG_PTR)link);
    socket_connect(link->socket, &address, data, (DWORD)size, &link->in);
    return link;
}

void net_start(struct net *net, unsigned stream, const struct address *to)
{
    start(net, stream, to, CONNECTING, NULL, 0);
}

/* ConnectEx sends them itself. */
void net_ask(struct net *net, unsigned stream, const struct address *to, const uint8_t *data, size_t size)
{
    start(net, stream, to, ASKING, data, size);
}

static bool begin_receive(struct link *link, char *buffer, ULONG size)
{
    WSABUF room = { .len = size, .buf = buffer };
    DWORD flags = 0;
    memset(&link->in, 0, sizeof link->in);
    link->receiving = socket_pends(WSARecv(link->socket, &room, 1, NULL, &flags, &link->in, NULL));
    return link->receiving;
}

static void await_bytes(struct link *link)
{
    if (!begin_receive(link, NULL, 0)) fail_system("WSARecv");
}

static void become_open(struct link *link)
{
    socket_reset_at_end(link->socket);
    socket_set_non_blocking(link->socket);
    link->state = OPEN;
    await_bytes(link);
}

/* True if the packet is the last one of a connection that is no more. */
static bool was_last(struct link *link, const OVERLAPPED_ENTRY *packet)
{
    if (packet->lpOverlapped == &link->out) {
        link->sending = false;
    } else {
        link->receiving = false;
    }
    if (!link->closed) return false;
    if (!link->receiving && !link->sending) free(link);
    return true;
}

/* Packets of connections that were closed before may come in between. */
void net_open(struct net *net, unsigned stream, const struct address *to)
{
    struct link *link = start(net, stream, to, CONNECTING, NULL, 0);
    OVERLAPPED_ENTRY packet;
    do {
        if (port_wait(net->port, &packet, 1, SILENCE_MS) == 0) fail("connection %u: no answer", stream + 1);
    } while (was_last((struct link *)packet.lpCompletionKey, &packet));
    if (packet.lpOverlapped != &link->in) fail("the server closed a connection"); /* nothing was sent on any yet */
    int error = socket_result(link->socket, &link->in);
    if (error != 0) fail_code(error, "connection %u", stream + 1);
    socket_connected(link->socket);
    socket_set_no_delay(link->socket);
    become_open(link);
}

/* A connection of net_start or net_ask: 0, or what is to be told. */
static uint32_t landed_start(struct link *link, DWORD bytes)
{
    link->error = socket_result(link->socket, &link->in);
    if (link->error != 0) return NET_FAILED;
    if (link->state == AWAITS_END) return bytes == 0 ? NET_ENDED : NET_READABLE;
    socket_connected(link->socket);
    if (link->state == ASKING) {
        become_open(link);
        return 0;
    }
    link->state = AWAITS_END;
    if (begin_receive(link, &link->byte, 1)) return 0;
    link->error = WSAGetLastError();
    return NET_FAILED;
}

static uint32_t landed(struct link *link, const OVERLAPPED_ENTRY *packet)
{
    if (packet->lpOverlapped == &link->out) {
        int error = socket_result(link->socket, &link->out);
        if (error != 0) fail_code(error, "send");
        return link->wants_room ? NET_WRITABLE : 0;
    }
    return link->state == OPEN ? NET_READABLE : landed_start(link, packet->dwNumberOfBytesTransferred);
}

unsigned net_wait(struct net *net, struct net_event *out, unsigned capacity, int timeout_ms)
{
    OVERLAPPED_ENTRY packets[PACKETS_MAX];
    unsigned told = 0, count;
    do {
        count = port_wait(net->port, packets, capacity < PACKETS_MAX ? capacity : PACKETS_MAX, (DWORD)timeout_ms);
        for (unsigned i = 0; i < count; i++) {
            struct link *link = (struct link *)packets[i].lpCompletionKey;
            if (was_last(link, &packets[i])) continue;
            uint32_t what = landed(link, &packets[i]);
            if (what != 0) out[told++] = (struct net_event){ link->stream, what };
        }
    } while (count > 0 && told == 0);
    return told;
}

size_t net_receive(struct net *net, unsigned stream, uint8_t *buffer, size_t size)
{
    struct link *link = net->links[stream];
    int got = recv(link->socket, (char *)buffer, (int)size, 0);
    if (got == 0) fail("the server closed a connection");
    if (got < 0 && WSAGetLastError() != WSAEWOULDBLOCK) fail_system("recv");
    if (!link->receiving) await_bytes(link);
    return got < 0 ? 0 : (size_t)got;
}

size_t net_send(struct net *net, unsigned stream, const uint8_t *data, size_t size)
{
    struct link *link = net->links[stream];
    if (link->sending) return 0;
    WSABUF bytes = { .len = (ULONG)size, .buf = (char *)(uintptr_t)data }; /* a send does not write */
    memset(&link->out, 0, sizeof link->out);
    if (!socket_pends(WSASend(link->socket, &bytes, 1, NULL, 0, &link->out, NULL))) fail_system("send");
    link->sending = true;
    return size;
}

void net_want_room(struct net *net, unsigned stream, bool wanted)
{
    net->links[stream]->wants_room = wanted;
}

int net_error(struct net *net, unsigned stream)
{
    return net->links[stream]->error;
}

void net_reset(struct net *net, unsigned stream)
{
    struct link *link = net->links[stream];
    net->links[stream] = NULL;
    link->closed = true;
    socket_reset(link->socket);
    if (!link->receiving && !link->sending) free(link);
}

intptr_t net_deaf_open(const struct address *to)
{
    winsock_get();
    struct sockaddr_in address = socket_address(to);
    SOCKET deaf = socket_create();
    int least = 1;
    if (setsockopt(deaf, SOL_SOCKET, SO_RCVBUF, (const char *)&least, sizeof least) != 0) fail_system("SO_RCVBUF");
    if (connect(deaf, (const struct sockaddr *)&address, sizeof address) != 0) fail_system("connect");
    socket_reset_at_end(deaf);
    socket_set_non_blocking(deaf);
    return (intptr_t)deaf;
}

int net_deaf_send(intptr_t deaf, const uint8_t *data, size_t size)
{
    int took = send((SOCKET)deaf, (const char *)data, (int)size, 0);
    if (took >= 0) return took;
    int error = WSAGetLastError();
    if (error == WSAEWOULDBLOCK) return 0;
    if (error != WSAECONNRESET && error != WSAECONNABORTED) fail_system("send");
    return NET_GONE;
}

void net_deaf_close(intptr_t deaf)
{
    closesocket((SOCKET)deaf);
}
