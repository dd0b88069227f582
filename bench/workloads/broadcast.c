/* broadcast: a room. Each of the connections is a member; the load generator sends a command, one byte, over the first
 * of them, and every member gets a packet, which is compared byte for byte. An operation is the delivery of one packet
 * to one member. The next command leaves when all have the packet before it (--window: when all but so many have). */
#include <stdlib.h>
#include <string.h>

#include "net.h"
#include "workload.h"

enum {
    EVENTS_MAX = 256,
    CHUNK = 64 * 1024,
    /* A client that has heard nothing for a retransmission timeout acknowledges each of the next 16 segments at once
     * (Linux, TCP_MAX_QUICKACKS), which is handled in the server's time: 4.4 us a delivery instead of 3.5. Whoever has
     * waited for the others' slices has that before it; a room that speaks ten times a second never has. */
    WARM_UP_PACKETS = 20,
};

struct member {
    uint64_t packets;  /* that are here whole */
    unsigned received; /* bytes of the next one */
};

struct load {
    struct net *net;
    unsigned members, size, window;
    uint64_t commands; /* sent since the beginning: the number of the last packet to come */
    uint64_t done;     /* packets that all members have */
    unsigned *missing; /* by number, a ring: members that do not have it yet */
    uint64_t *since_ns;
    uint8_t *chunk, *packet;
    struct member each[];
};

/* Each has joined when its server says so, and it is in the backlog before that. */
static void join(struct load *load, unsigned member, const struct address *server)
{
    struct net_event event;
    net_open(load->net, member, server);
    size_t got = 0;
    while (got == 0) {
        if (net_wait(load->net, &event, 1, SILENCE_MS) == 0) fail("member %u was not told that it is one", member + 1);
        got = net_receive(load->net, member, load->chunk, CHUNK);
    }
    if (got != 1 || load->chunk[0] != BROADCAST_JOINED)
        fail("member %u got something else before it joined", member + 1);
}

static void *load_open(const struct job *job)
{
    struct load *load = calloc(1, sizeof *load + job->connections * sizeof load->each[0]);
    if (!load) fail("out of memory");
    load->net = net_create(job->connections);
    load->members = job->connections;
    load->size = job->size;
    load->window = job->window;
    load->missing = calloc(job->window, sizeof load->missing[0]);
    load->since_ns = calloc(job->window, sizeof load->since_ns[0]);
    load->chunk = malloc(CHUNK);
    load->packet = malloc(job->size);
    if (!load->missing || !load->since_ns || !load->chunk || !load->packet) fail("out of memory");
    struct address server = address_of(job->address);
    for (unsigned i = 0; i < load->members; i++) join(load, i, &server);
    return load;
}

/* One command, if there is room for all that comes of it. */
static bool command(struct load *load, const struct limit *limit, struct tally *tally)
{
    static const uint8_t byte = 'x';
    uint64_t now_ns = clock_ns();
    if (load->commands - load->done == load->window) return false;
    if (now_ns >= limit->until_ns || tally->started + load->members > limit->operations) return false;
    unsigned slot = (unsigned)(load->commands++ % load->window);
    load->missing[slot] = load->members;
    load->since_ns[slot] = now_ns;
    tally->started += load->members;
    if (net_send(load->net, 0, &byte, 1) != 1) fail("the server does not read its commands");
    return true;
}

static void packet_end(struct load *load, struct member *member, uint64_t now_ns, struct tally *tally)
{
    unsigned slot = (unsigned)(member->packets++ % load->window);
    tally_finish(tally, now_ns - load->since_ns[slot]);
    load->missing[slot]--;
    while (load->done < load->commands && load->missing[load->done % load->window] == 0) load->done++;
}

/* The packet that is awaited is made anew where it begins with another number than the one before. */
static const uint8_t *awaited(struct load *load, uint64_t number)
{
    static uint64_t made;
    if (made != number) broadcast_fill(load->packet, load->size, number);
    made = number;
    return load->packet;
}

static void receive(struct load *load, unsigned index, struct tally *tally)
{
    struct member *member = &load->each[index];
    size_t got = net_receive(load->net, index, load->chunk, CHUNK);
    uint64_t now_ns = clock_ns();
    for (size_t at = 0; at < got;) {
        if (member->packets == load->commands) fail("a packet came without a command");
        size_t part = load->size - member->received;
        if (part > got - at) part = got - at;
        const uint8_t *packet = awaited(load, member->packets + 1);
        if (memcmp(load->chunk + at, packet + member->received, part) != 0) {
            fail("member %u: packet %llu is not what it should be", index + 1, (unsigned long long)member->packets + 1);
        }
        at += part;
        member->received += (unsigned)part;
        if (member->received < load->size) return;
        member->received = 0;
        packet_end(load, member, now_ns, tally);
    }
}

static void load_burst(void *state, const struct limit *limit, struct tally *tally)
{
    struct load *load = state;
    struct net_event events[EVENTS_MAX];
    while (command(load, limit, tally)) continue;
    while (tally_in_flight(tally) > 0) {
        unsigned count = net_wait(load->net, events, EVENTS_MAX, SILENCE_MS);
        if (count == 0) fail("no packet came for %d s", SILENCE_MS / 1000);
        for (unsigned i = 0; i < count; i++) receive(load, events[i].stream, tally);
        while (command(load, limit, tally)) continue;
    }
}

const struct workload workload_broadcast = {
    .name = "broadcast",
    .what = "packets that the contender sends to all members of a room",
    .operation = "delivery",
    .options = OPTION(WINDOW) | OPTION(CONNECTIONS) | OPTION(SIZE),
    .usual = { .window = 1, .connections = 1000, .size = 128 },
    .most_window = 64,
    .warm_up_each = WARM_UP_PACKETS,
    .least_size = BROADCAST_LEAST,
    .server = SERVER_BROADCAST,
    .load = { load_open, load_burst },
};
