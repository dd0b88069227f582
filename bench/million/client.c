/* A client: blocking sockets by hand, which cost it nothing while they are held. */
#define _GNU_SOURCE
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "fail.h"
#include "machine.h"
#include "million/crew.h"
#include "usage.h"

enum {
    MESSAGE = 64,
    ANSWER_S = 10,         /* how long a connect or an answer may take */
    SOURCES = 2,           /* addresses of a client: neither has more than half of its ephemeral ports in use */
    CLIENTS_A_BLOCK = 120, /* 127.1.0.2 … 127.1.0.241, 127.1.1.2 … */
};

struct client {
    struct client_plan plan;
    int *sockets;
    uint32_t count;
    struct word answer;
};

static struct sockaddr_in loopback(uint32_t ip, uint16_t port)
{
    return (struct sockaddr_in){ .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(ip) };
}

static struct sockaddr_in source_of(const struct client *client)
{
    uint32_t number = client->plan.number * SOURCES + client->count % SOURCES;
    enum { A_BLOCK = CLIENTS_A_BLOCK * SOURCES };
    return loopback((127u << 24) + (1u << 16) + (number / A_BLOCK << 8) + 2 + number % A_BLOCK, 0);
}

/* Opens one more. Returns the system's code, or 0. */
static int open_one(struct client *client)
{
    uint64_t since_ns = clock_ns();
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) return errno;
    struct sockaddr_in source = source_of(client);
    struct sockaddr_in server = loopback(INADDR_LOOPBACK, client->plan.port);
    struct timeval patience = { .tv_sec = ANSWER_S };
    int on = 1;
    /* Without IP_BIND_ADDRESS_NO_PORT, bind takes a port that is free for every destination, and searches for it. */
    if (setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on) != 0 ||
        setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience) != 0 ||
        setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience) != 0 ||
        bind(fd, (const struct sockaddr *)&source, sizeof source) != 0 ||
        connect(fd, (const struct sockaddr *)&server, sizeof server) != 0) {
        int error = errno;
        close(fd);
        return error;
    }
    client->sockets[client->count++] = fd;
    histogram_add(&client->answer.client.latency, clock_ns() - since_ns);
    return 0;
}

static void climb(struct client *client, uint64_t count)
{
    for (uint64_t i = 0; i < count; i++) {
        client->answer.client.error = open_one(client);
        if (client->answer.client.error != 0) return;
    }
}

/* One message there and back; false if it is not what was sent. */
static bool echo_one(struct client *client, uint32_t which)
{
    char sent[MESSAGE], got[MESSAGE];
    memset(sent, 0, sizeof sent);
    snprintf(sent, sizeof sent, "client %u, connection %u", client->plan.number, which);
    uint64_t since_ns = clock_ns();
    if (send(client->sockets[which], sent, sizeof sent, MSG_NOSIGNAL) != MESSAGE) return false;
    if (recv(client->sockets[which], got, sizeof got, MSG_WAITALL) != MESSAGE) return false;
    histogram_add(&client->answer.client.latency, clock_ns() - since_ns);
    return memcmp(sent, got, sizeof sent) == 0;
}

static void echo(struct client *client, uint64_t count)
{
    if (count > client->count) count = client->count;
    for (uint64_t i = 0; i < count; i++) {
        if (!echo_one(client, (uint32_t)(i * client->count / count))) {
            client->answer.client.lost = true;
            return;
        }
    }
}

static void close_all(struct client *client)
{
    while (client->count > 0) close(client->sockets[--client->count]);
}

void client_body(const void *data)
{
    struct client client = { .plan = *(const struct client_plan *)data };
    machine_raise_descriptors();
    client.sockets = calloc(client.plan.connections, sizeof client.sockets[0]);
    if (!client.sockets) fail("out of memory");
    crew_tell(&(struct word){ .kind = WORD_READY });
    struct word word;
    while (crew_hear(&word)) {
        memset(&client.answer, 0, sizeof client.answer);
        client.answer.kind = word.kind;
        if (word.kind == WORD_CLIMB) climb(&client, word.count);
        if (word.kind == WORD_ECHO) echo(&client, word.count);
        if (word.kind == WORD_CLOSE) close_all(&client);
        client.answer.client.open = client.count;
        crew_tell(&client.answer);
    }
    free(client.sockets);
}
