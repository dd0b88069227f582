/* The floor: what completion-based code by hand can do on this system, and so the measure of all others. One thread,
 * one completion port, and as few calls an operation as Windows allows:
 *  - AcceptEx is always posted in number, so that a connection finds its socket ready; one that is closed at once is
 *    never joined to the port, nor made an ordinary socket, which closing does not need;
 *  - a receive has its buffer from the start: a message costs a WSARecv and a WSASend, where a receive of no bytes
 *    would cost a recv more (and an idle connection would hold no buffer, which here it does);
 *  - what succeeds at once queues no packet, and is gone on with, for a few times;
 *  - packets come in batches.
 * Sending is from the buffer of the receive, and the next receive follows its end: so a peer that does not read is not
 * read from either, and nothing is copied.
 * It is correct: partial sends, the end of the stream, errors, connections that are reset before they are accepted. */
#include <stdlib.h>

#include "peer.h"
#include "windows/accepts.h"

enum {
    PACKETS_MAX = 256,
    TURNS_MAX = 8, /* results of one connection that come at once, before the others have their turn */
    BUFFER = 16 * 1024,
};

static const char *version(void)
{
    return "by hand";
}

/* ---- servers ---- */

enum key { KEY_LISTENER, KEY_CONN };

/* One operation is in flight at any time: a receive, or the send of what it brought. */
struct conn {
    OVERLAPPED overlapped; /* first: a packet names it */
    SOCKET socket;
    bool skips; /* what succeeds at once queues no packet */
    bool sending;
    DWORD size, sent;
    char buffer[BUFFER];
};

struct server {
    HANDLE port;
    void (*opened)(struct server *server, SOCKET socket);
    struct accepts accepts;
};

static void close_at_once(struct server *server, SOCKET socket)
{
    (void)server;
    closesocket(socket);
}

static void end_conn(struct conn *conn)
{
    closesocket(conn->socket);
    free(conn);
}

/* Begins the next operation. True if it is done, and moved `*bytes`; else its packet will come, or it failed, and the
 * connection is gone. */
static bool launch(struct conn *conn, DWORD *bytes)
{
    DWORD flags = 0;
    WSABUF part = { .len = BUFFER, .buf = conn->buffer };
    if (conn->sending) part = (WSABUF){ .len = conn->size - conn->sent, .buf = conn->buffer + conn->sent };
    memset(&conn->overlapped, 0, sizeof conn->overlapped);
    int result = conn->sending ? WSASend(conn->socket, &part, 1, bytes, 0, &conn->overlapped, NULL)
                               : WSARecv(conn->socket, &part, 1, bytes, &flags, &conn->overlapped, NULL);
    if (result == 0) return conn->skips;
    if (WSAGetLastError() != WSA_IO_PENDING) end_conn(conn);
    return false;
}

/* The operation in flight has moved `bytes`. Goes on from there as long as Windows has results at once; if that does
 * not end, the last of them waits in the port behind what the others have. */
static void echo(const struct server *server, struct conn *conn, DWORD bytes)
{
    for (unsigned turn = 0; turn < TURNS_MAX; turn++) {
        if (conn->sending) {
            conn->sent += bytes;
            conn->sending = conn->sent < conn->size;
        } else if (bytes > 0) {
            conn->size = bytes;
            conn->sent = 0;
            conn->sending = true;
        } else { /* the end of the stream */
            end_conn(conn);
            return;
        }
        if (!launch(conn, &bytes)) return;
    }
    if (!PostQueuedCompletionStatus(server->port, bytes, KEY_CONN, &conn->overlapped)) {
        fail_system("PostQueuedCompletionStatus");
    }
}

static void open_conn(struct server *server, SOCKET socket)
{
    struct conn *conn = malloc(sizeof *conn);
    if (!conn) fail("out of memory");
    conn->socket = socket;
    conn->sending = false;
    accepts_complete(&server->accepts, socket);
    socket_set_no_delay(socket);
    conn->skips = port_join_skipping(server->port, socket, KEY_CONN);
    DWORD bytes;
    if (launch(conn, &bytes)) echo(server, conn, bytes);
}

static void landed(const struct server *server, const OVERLAPPED_ENTRY *packet)
{
    struct conn *conn = (struct conn *)packet->lpOverlapped;
    if (socket_result(conn->socket, &conn->overlapped) != 0) {
        end_conn(conn);
    } else {
        echo(server, conn, packet->dwNumberOfBytesTransferred);
    }
}

static void serve(void (*opened)(struct server *server, SOCKET socket))
{
    static struct server server;
    server.port = port_open();
    server.opened = opened;
    accepts_begin(&server.accepts, server.port, KEY_LISTENER);
    serve_ready(socket_port(server.accepts.listener));

    OVERLAPPED_ENTRY packets[PACKETS_MAX];
    for (;;) {
        unsigned count = port_wait(server.port, packets, PACKETS_MAX, INFINITE);
        for (unsigned i = 0; i < count; i++) {
            if (packets[i].lpCompletionKey == KEY_CONN) {
                landed(&server, &packets[i]);
            } else {
                SOCKET accepted = accepts_take(&server.accepts, packets[i].lpOverlapped);
                if (accepted != INVALID_SOCKET) opened(&server, accepted);
            }
        }
    }
}

static void serve_accept(const struct job *job)
{
    (void)job;
    serve(close_at_once);
}

static void serve_echo(const struct job *job)
{
    (void)job;
    serve(open_conn);
}

/* ---- client ---- */

struct attempt {
    OVERLAPPED overlapped; /* first: a packet names it */
    SOCKET socket;
    uint64_t since_ns;
};

struct client {
    struct sockaddr_in server;
    HANDLE port;
    unsigned window;
    struct attempt attempts[];
};

static void *client_open(const struct job *job)
{
    struct client *client = calloc(1, sizeof *client + job->window * sizeof client->attempts[0]);
    if (!client) fail("out of memory");
    struct address server = address_of(job->address);
    client->server = socket_address(&server);
    winsock_get();
    client->port = port_open();
    client->window = job->window;
    return client;
}

static void start_attempt(const struct client *client, struct attempt *attempt, uint64_t now_ns)
{
    attempt->since_ns = now_ns;
    attempt->socket = socket_create();
    port_join(client->port, attempt->socket, 0);
    socket_connect(attempt->socket, &client->server, NULL, 0, &attempt->overlapped);
}

static void finish_attempt(struct attempt *attempt, struct tally *tally, uint64_t now_ns)
{
    int error = socket_result(attempt->socket, &attempt->overlapped);
    if (error != 0) fail_code(error, "connect");
    tally_finish(tally, now_ns - attempt->since_ns);
    socket_connected(attempt->socket);
    socket_reset(attempt->socket);
}

static void client_burst(void *state, const struct limit *limit, struct tally *tally)
{
    struct client *client = state;
    for (unsigned i = 0; i < client->window; i++) {
        uint64_t now_ns = clock_ns();
        if (!tally_may_start(tally, limit, now_ns)) break;
        start_attempt(client, &client->attempts[i], now_ns);
    }
    OVERLAPPED_ENTRY packets[PACKETS_MAX];
    while (tally_in_flight(tally) > 0) {
        unsigned count = port_wait(client->port, packets, PACKETS_MAX, SILENCE_MS);
        if (count == 0) fail("no connect ended for %d s", SILENCE_MS / 1000);
        for (unsigned i = 0; i < count; i++) {
            struct attempt *attempt = (struct attempt *)packets[i].lpOverlapped;
            uint64_t now_ns = clock_ns();
            finish_attempt(attempt, tally, now_ns);
            if (tally_may_start(tally, limit, now_ns)) start_attempt(client, attempt, now_ns);
        }
    }
}

const struct peer peer_floor = {
    .name = "floor",
    .version = version,
    .serve_accept = serve_accept,
    .serve_echo = serve_echo,
    .connect = { client_open, client_burst },
};
