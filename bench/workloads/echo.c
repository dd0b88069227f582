/* echo: connections that stay open, on each a window of messages in flight that come back as they are. Every byte is
 * compared: an answer that is quick and wrong must not win. */
#include <stdlib.h>
#include <string.h>

#include "net.h"
#include "workload.h"

enum { EVENTS_MAX = 256, CHUNK = 64 * 1024 };

struct client {
    size_t owed;     /* bytes of messages begun that the system has not taken yet */
    size_t sent;     /* bytes of the current message that it has */
    size_t received; /* bytes of the current message that came back */
    unsigned in_flight;
    unsigned oldest;    /* in since_ns, a ring */
    uint64_t *since_ns; /* when each message in flight began */
};

struct load {
    struct net *net;
    unsigned connections, size, window;
    uint8_t *pattern; /* a message over and over: size + CHUNK bytes, so that a chunk can start anywhere in one */
    uint8_t *chunk;
    struct client *clients;
};

static void *allocate(size_t count, size_t size)
{
    void *block = calloc(count, size);
    if (!block) fail("out of memory");
    return block;
}

static void *load_open(const struct job *job)
{
    struct load *load = allocate(1, sizeof *load);
    *load = (struct load){ net_create(job->connections), job->connections, job->size, job->window, NULL, NULL, NULL };
    load->pattern = allocate(1, load->size + CHUNK);
    for (unsigned i = 0; i < load->size + CHUNK; i++) load->pattern[i] = (uint8_t)(i % load->size * 131 + 7);
    load->chunk = allocate(1, CHUNK);
    load->clients = allocate(load->connections, sizeof load->clients[0]);
    struct address server = address_of(job->address);
    /* One after the other, and each one awaited: no flood of the server's backlog. */
    for (unsigned i = 0; i < load->connections; i++) {
        load->clients[i].since_ns = allocate(load->window, sizeof load->clients[i].since_ns[0]);
        net_open(load->net, i, &server);
    }
    return load;
}

static void client_send(struct load *load, unsigned index)
{
    struct client *client = &load->clients[index];
    while (client->owed > 0) {
        size_t size = client->owed < CHUNK ? client->owed : CHUNK;
        size_t took = net_send(load->net, index, load->pattern + client->sent, size);
        client->owed -= took;
        client->sent = (client->sent + took) % load->size;
        if (took < size) break;
    }
    net_want_room(load->net, index, client->owed > 0);
}

/* Begins a message, if the limit allows one more. It leaves at the next client_send. */
static void client_begin(struct load *load, struct client *client, const struct limit *limit, struct tally *tally,
                         uint64_t now_ns)
{
    if (!tally_may_start(tally, limit, now_ns)) return;
    unsigned newest = client->oldest + client->in_flight++;
    client->since_ns[newest < load->window ? newest : newest - load->window] = now_ns;
    client->owed += load->size;
}

static void client_finish(struct load *load, struct client *client, struct tally *tally, uint64_t now_ns)
{
    tally_finish(tally, now_ns - client->since_ns[client->oldest]);
    client->in_flight--;
    if (++client->oldest == load->window) client->oldest = 0;
}

static void client_receive(struct load *load, unsigned index, const struct limit *limit, struct tally *tally)
{
    struct client *client = &load->clients[index];
    size_t got = net_receive(load->net, index, load->chunk, CHUNK);
    if (got == 0) return;
    uint64_t now_ns = clock_ns();
    size_t awaited = (size_t)client->in_flight * load->size - client->received;
    if (got > awaited || memcmp(load->chunk, load->pattern + client->received, got) != 0) {
        fail("what came back is not what was sent");
    }
    client->received += got;
    while (client->received >= load->size) {
        client->received -= load->size;
        client_finish(load, client, tally, now_ns);
        client_begin(load, client, limit, tally, now_ns);
    }
}

static void load_burst(void *state, const struct limit *limit, struct tally *tally)
{
    struct load *load = state;
    for (unsigned i = 0; i < load->connections; i++) {
        for (unsigned j = 0; j < load->window; j++) client_begin(load, &load->clients[i], limit, tally, clock_ns());
        client_send(load, i);
    }
    struct net_event events[EVENTS_MAX];
    while (tally_in_flight(tally) > 0) {
        unsigned count = net_wait(load->net, events, EVENTS_MAX, SILENCE_MS);
        if (count == 0) fail("no byte came back for %d s", SILENCE_MS / 1000);
        for (unsigned i = 0; i < count; i++) {
            unsigned index = events[i].stream;
            if (events[i].what & ~(uint32_t)NET_WRITABLE) client_receive(load, index, limit, tally);
            client_send(load, index);
        }
    }
}

static bool has(const struct peer *peer)
{
    return peer->serve_echo != NULL;
}

static void serve(const struct peer *peer, const struct job *job)
{
    peer->serve_echo(job);
}

static const struct driver *driver(const struct peer *peer)
{
    static const struct driver load = { load_open, load_burst };
    (void)peer;
    return &load;
}

const struct workload workload_echo = {
    .name = "echo",
    .what = "messages that the contender sends back",
    .operation = "message",
    .options = OPTION(WINDOW) | OPTION(CONNECTIONS) | OPTION(SIZE),
    .default_window = 1,
    .most_window = 1024,
    .has = has,
    .serve = serve,
    .driver = driver,
};
