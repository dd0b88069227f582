#include "net.h"

#include <stdlib.h>

#include "driver.h"
#include "fail.h"
#include "windows/socket.h"

enum { PACKETS_MAX = 256 };

enum state { CLOSED, CONNECTING, ASKING, AWAITS_END, OPEN };

/* In each state but CLOSED, exactly one operation is in flight on `in`; of OPEN, it is a receive of no bytes, which
 * lands when there is something to read. */
struct stream {
    OVERLAPPED in, out;
    SOCKET socket;
    enum state state;
    bool sending, wants_room;
    int error;
    char byte; /* AWAITS_END: where what should not come would go */
};

struct net {
    HANDLE port;
    struct stream streams[];
};

struct net *net_create(unsigned streams)
{
    struct net *net = calloc(1, sizeof *net + streams * sizeof net->streams[0]);
    if (!net) fail("out of memory");
    winsock_get();
    net->port = port_open();
    return net;
}

static void start(struct net *net, unsigned stream, const struct address *to, enum state state, const uint8_t *data,
                  size_t size)
{
    struct sockaddr_in address = socket_address(to);
    struct stream *s = &net->streams[stream];
    s->state = state;
    s->sending = s->wants_room = false;
    s->socket = socket_create();
    port_join(net->port, s->socket, stream);
    socket_connect(s->socket, &address, data, (DWORD)size, &s->in);
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

static bool begin_receive(struct stream *s, char *buffer, ULONG size)
{
    WSABUF room = { .len = size, .buf = buffer };
    DWORD flags = 0;
    memset(&s->in, 0, sizeof s->in);
    return socket_pends(WSARecv(s->socket, &room, 1, NULL, &flags, &s->in, NULL));
}

static void await_bytes(struct stream *s)
{
    if (!begin_receive(s, NULL, 0)) fail_system("WSARecv");
}

void net_open(struct net *net, unsigned stream, const struct address *to)
{
    struct stream *s = &net->streams[stream];
    net_start(net, stream, to);
    OVERLAPPED_ENTRY packet;
    if (port_wait(net->port, &packet, 1, SILENCE_MS) == 0) fail("connection %u: no answer", stream + 1);
    if (packet.lpOverlapped != &s->in) fail("the server closed a connection"); /* nothing was sent on any yet */
    int error = socket_result(s->socket, &s->in);
    if (error != 0) fail_code(error, "connection %u", stream + 1);
    socket_connected(s->socket);
    socket_set_no_delay(s->socket);
    socket_reset_at_end(s->socket);
    socket_set_non_blocking(s->socket);
    s->state = OPEN;
    await_bytes(s);
}

/* A connection of net_start: 0, or what is to be told. */
static uint32_t landed_start(struct stream *s, DWORD bytes)
{
    s->error = socket_result(s->socket, &s->in);
    if (s->error != 0) return NET_FAILED;
    if (s->state == AWAITS_END) return bytes == 0 ? NET_ENDED : NET_READABLE;
    socket_connected(s->socket);
    if (s->state == ASKING) {
        socket_reset_at_end(s->socket);
        socket_set_non_blocking(s->socket);
        s->state = OPEN;
        await_bytes(s);
        return 0;
    }
    s->state = AWAITS_END;
    if (begin_receive(s, &s->byte, 1)) return 0;
    s->error = WSAGetLastError();
    return NET_FAILED;
}

static uint32_t landed(struct stream *s, const OVERLAPPED_ENTRY *packet)
{
    if (packet->lpOverlapped == &s->out) {
        int error = socket_result(s->socket, &s->out);
        if (error != 0) fail_code(error, "send");
        s->sending = false;
        return s->wants_room ? NET_WRITABLE : 0;
    }
    return s->state == OPEN ? NET_READABLE : landed_start(s, packet->dwNumberOfBytesTransferred);
}

unsigned net_wait(struct net *net, struct net_event *out, unsigned capacity, int timeout_ms)
{
    OVERLAPPED_ENTRY packets[PACKETS_MAX];
    unsigned told = 0, count;
    do {
        count = port_wait(net->port, packets, capacity < PACKETS_MAX ? capacity : PACKETS_MAX, (DWORD)timeout_ms);
        for (unsigned i = 0; i < count; i++) {
            uint32_t stream = (uint32_t)packets[i].lpCompletionKey;
            uint32_t what = landed(&net->streams[stream], &packets[i]);
            if (what != 0) out[told++] = (struct net_event){ stream, what };
        }
    } while (count > 0 && told == 0);
    return told;
}

size_t net_receive(struct net *net, unsigned stream, uint8_t *buffer, size_t size)
{
    struct stream *s = &net->streams[stream];
    int got = recv(s->socket, (char *)buffer, (int)size, 0);
    if (got == 0) fail("the server closed a connection");
    if (got < 0 && WSAGetLastError() != WSAEWOULDBLOCK) fail_system("recv");
    await_bytes(s);
    return got < 0 ? 0 : (size_t)got;
}

size_t net_send(struct net *net, unsigned stream, const uint8_t *data, size_t size)
{
    struct stream *s = &net->streams[stream];
    if (s->sending) return 0;
    WSABUF bytes = { .len = (ULONG)size, .buf = (char *)(uintptr_t)data }; /* a send does not write */
    memset(&s->out, 0, sizeof s->out);
    if (!socket_pends(WSASend(s->socket, &bytes, 1, NULL, 0, &s->out, NULL))) fail_system("send");
    s->sending = true;
    return size;
}

void net_want_room(struct net *net, unsigned stream, bool wanted)
{
    net->streams[stream].wants_room = wanted;
}

int net_error(struct net *net, unsigned stream)
{
    return net->streams[stream].error;
}

void net_reset(struct net *net, unsigned stream)
{
    socket_reset(net->streams[stream].socket);
    net->streams[stream].state = CLOSED;
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
