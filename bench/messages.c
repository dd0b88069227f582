#include "messages.h"

#include <stdlib.h>
#include <string.h>

#include "fail.h"
#include "net.h"

enum { EVENTS_MAX = 256, CHUNK = 64 * 1024 };

struct client {
    size_t owed;     /* bytes of messages begun that the system has not taken yet */
    size_t sent;     /* bytes of the current message that it has */
    size_t received; /* bytes of the current message that came back */
    unsigned in_flight;
    unsigned oldest;    /* in since_ns, a ring */
    uint64_t *since_ns; /* when each message in flight began, or was to begin */
    uint64_t due;       /* paced: messages of this burst that should have begun */
    uint64_t begun;     /* paced: and those that have */
};

struct messages {
    struct net *net;
    unsigned connections, size, window, rate;
    uint8_t *pattern; /* a message over and over: size + CHUNK bytes, so that a chunk can start anywhere in one */
    uint8_t *chunk;
    struct client *clients;
    const struct limit *limit; /* of the burst */
    struct tally *tally;
    uint64_t start_ns;
    uint64_t due; /* paced: messages of all connections that should have begun */
};

static void *allocate(size_t count, size_t size)
{
    void *block = calloc(count, size);
    if (!block) fail("out of memory");
    return block;
}

struct messages *messages_open(const struct job *job)
{
    struct messages *messages = allocate(1, sizeof *messages);
    *messages = (struct messages){ .net = net_create(job->connections),
                                   .connections = job->connections,
                                   .size = job->size,
                                   .window = job->window,
                                   .rate = job->rate };
    messages->pattern = allocate(1, messages->size + CHUNK);
    for (unsigned i = 0; i < messages->size + CHUNK; i++) {
        messages->pattern[i] = (uint8_t)(i % messages->size * 131 + 7);
    }
    messages->chunk = allocate(1, CHUNK);
    messages->clients = allocate(messages->connections, sizeof messages->clients[0]);
    struct address server = address_of(job->address);
    /* One after the other, and each one awaited: no flood of the server's backlog. */
    for (unsigned i = 0; i < messages->connections; i++) {
        messages->clients[i].since_ns = allocate(messages->window, sizeof messages->clients[i].since_ns[0]);
        net_open(messages->net, i, &server);
    }
    return messages;
}

/* ---- a connection ---- */

static void client_send(struct messages *messages, unsigned index)
{
    struct client *client = &messages->clients[index];
    while (client->owed > 0) {
        size_t size = client->owed < CHUNK ? client->owed : CHUNK;
        size_t took = net_send(messages->net, index, messages->pattern + client->sent, size);
        client->owed -= took;
        client->sent = (client->sent + took) % messages->size;
        if (took < size) break;
    }
    net_want_room(messages->net, index, client->owed > 0);
}

/* It leaves at the next client_send. */
static void client_begin(struct messages *messages, struct client *client, uint64_t since_ns)
{
    unsigned newest = client->oldest + client->in_flight++;
    client->since_ns[newest < messages->window ? newest : newest - messages->window] = since_ns;
    client->owed += messages->size;
}

/* When message number `number` of the burst is to begin. */
static uint64_t due_ns(const struct messages *messages, uint64_t number)
{
    return messages->start_ns + (uint64_t)((double)number * NS_PER_S / messages->rate);
}

/* Begins what is due, or another message where one has come back. */
static void client_go_on(struct messages *messages, unsigned index, uint64_t now_ns)
{
    struct client *client = &messages->clients[index];
    while (client->in_flight < messages->window) {
        if (messages->rate > 0) {
            if (client->begun == client->due) return;
            client_begin(messages, client, due_ns(messages, client->begun++ * messages->connections + index));
        } else {
            if (!tally_may_start(messages->tally, messages->limit, now_ns)) return;
            client_begin(messages, client, now_ns);
        }
    }
}

static void client_finish(struct messages *messages, struct client *client, uint64_t now_ns)
{
    tally_finish(messages->tally, now_ns - client->since_ns[client->oldest]);
    client->in_flight--;
    if (++client->oldest == messages->window) client->oldest = 0;
}

static void client_receive(struct messages *messages, unsigned index)
{
    struct client *client = &messages->clients[index];
    size_t got = net_receive(messages->net, index, messages->chunk, CHUNK);
    if (got == 0) return;
    uint64_t now_ns = clock_ns();
    size_t awaited = (size_t)client->in_flight * messages->size - client->received;
    if (got > awaited || memcmp(messages->chunk, messages->pattern + client->received, got) != 0) {
        fail("what came back is not what was sent");
    }
    client->received += got;
    while (client->received >= messages->size) {
        client->received -= messages->size;
        client_finish(messages, client, now_ns);
    }
    client_go_on(messages, index, now_ns);
}

/* ---- a burst ---- */

/* Hands out what has become due since the last time. One that comes over 1 ms late is so by this loop's own fault. */
static void pace(struct messages *messages, uint64_t now_ns)
{
    for (;;) {
        uint64_t next_ns = due_ns(messages, messages->due);
        if (next_ns > now_ns || !tally_may_start(messages->tally, messages->limit, next_ns)) return;
        if (now_ns - next_ns > NS_PER_MS) messages->tally->late++;
        unsigned index = (unsigned)(messages->due++ % messages->connections);
        messages->clients[index].due++;
        client_go_on(messages, index, now_ns);
        client_send(messages, index);
    }
}

/* How long nothing has to be done. The wait is in milliseconds, so that within the last one the loop spins. */
static int wait_ms(const struct messages *messages, uint64_t now_ns)
{
    uint64_t next_ns = due_ns(messages, messages->due);
    if (next_ns >= messages->limit->until_ns || messages->tally->started >= messages->limit->operations) {
        return tally_in_flight(messages->tally) > 0 ? SILENCE_MS : 0;
    }
    return next_ns > now_ns ? (int)((next_ns - now_ns) / NS_PER_MS) : 0;
}

static bool more_is_due(const struct messages *messages)
{
    return messages->rate > 0 && messages->tally->started < messages->limit->operations &&
           due_ns(messages, messages->due) < messages->limit->until_ns;
}

static void begin(struct messages *messages)
{
    messages->start_ns = clock_ns();
    messages->due = 0;
    for (unsigned i = 0; i < messages->connections; i++) {
        messages->clients[i].due = messages->clients[i].begun = 0;
        if (messages->rate > 0) continue;
        client_go_on(messages, i, clock_ns());
        client_send(messages, i);
    }
}

void messages_burst(struct messages *messages, const struct limit *limit, struct tally *tally,
                    void (*step)(void *data, uint64_t now_ns), void *data)
{
    messages->limit = limit;
    messages->tally = tally;
    begin(messages);
    uint64_t heard_ns = messages->start_ns;
    struct net_event events[EVENTS_MAX];
    while (tally_in_flight(tally) > 0 || more_is_due(messages)) {
        uint64_t now_ns = clock_ns();
        if (messages->rate > 0) pace(messages, now_ns);
        if (step) step(data, now_ns);
        unsigned count =
            net_wait(messages->net, events, EVENTS_MAX, messages->rate > 0 ? wait_ms(messages, now_ns) : SILENCE_MS);
        if (count > 0 || tally_in_flight(tally) == 0) heard_ns = now_ns;
        if (now_ns - heard_ns > SILENCE_MS * (uint64_t)NS_PER_MS || (count == 0 && messages->rate == 0)) {
            fail("no byte came back for %d s", SILENCE_MS / 1000);
        }
        for (unsigned i = 0; i < count; i++) {
            unsigned index = events[i].stream;
            if (events[i].what & ~(uint32_t)NET_WRITABLE) client_receive(messages, index);
            client_send(messages, index);
        }
    }
}
