/* Inboxes in the simulator: on a hostile network, drained at moments that the seed chooses, and the same every time. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/world.h"
#include <weir/sim.h>

#define MS UINT64_C(1000000)
#define S  UINT64_C(1000000000)

enum { CLIENTS = 30, LINES = 300, MAX = 2000, SERVER_WORKERS = 2, QUEUED = 17 * 1024 };

/* What the logic thread knows of a connection. */
typedef struct player {
    unsigned lines;
    bool open, closed;
} player;

typedef struct play {
    weir_sim *sim;
    weir_runtime *server, *clients;
    weir_inbox *inbox;       /* of the server */
    weir_inbox *client_side; /* of the clients */
    uint64_t chance;
    player players[CLIENTS * 2];
    unsigned player_count, opened, closed, whole, client_closed;
    uint64_t lines, hash;
    size_t most_bytes;
    weir_conn_id ids[CLIENTS];
    bool connected[CLIENTS];
    unsigned sent[CLIENTS];
} play;

static void mix(play *p, uint64_t number)
{
    p->hash = (p->hash ^ number) * UINT64_C(0x9e3779b97f4a7c15);
    p->hash ^= p->hash >> 31;
}

static void take_line(play *p, player *who, const weir_event *event)
{
    cr_assert(who && who->open && !who->closed);
    cr_assert_eq(strtoul(event->bytes, NULL, 10), who->lines, "lost, doubled, or out of order");
    who->lines++;
    p->lines++;
}

static bool take(play *p)
{
    weir_event event;
    size_t bytes = weir_inbox_bytes(p->inbox);
    if (bytes > p->most_bytes) p->most_bytes = bytes;
    if (!weir_inbox_next(p->inbox, &event)) return false;
    player *who = event.user;
    mix(p, (uint64_t)event.kind << 60 ^ event.conn ^ event.size);
    switch (event.kind) {
    case WEIR_EVENT_OPEN:
        cr_assert_lt(p->player_count, CLIENTS * 2);
        who = &p->players[p->player_count++];
        who->open = true;
        weir_event_set_user(&event, who);
        p->opened++;
        break;
    case WEIR_EVENT_MESSAGE:
        take_line(p, who, &event);
        break;
    case WEIR_EVENT_CLOSE:
        cr_assert(who && who->open && !who->closed);
        who->closed = true;
        p->closed++;
        if (event.reason.error == WEIR_EEOF) {
            cr_assert_eq(who->lines, LINES, "the end came in order, and %u lines", who->lines);
            p->whole++;
        }
        break;
    }
    return true;
}

/* The clients' events: they have none but their beginning and their end. */
static void take_clients(play *p)
{
    weir_event event;
    while (weir_inbox_next(p->client_side, &event)) {
        cr_assert_neq(event.kind, WEIR_EVENT_MESSAGE);
        mix(p, event.conn ^ (uint64_t)event.kind << 50);
        if (event.kind == WEIR_EVENT_CLOSE) p->client_closed++;
        for (int i = 0; i < CLIENTS && event.kind == WEIR_EVENT_OPEN; i++)
            if (p->ids[i] == event.conn) p->connected[i] = true;
    }
}

static void send_some(play *p, unsigned i)
{
    char line[16];
    if (!p->connected[i]) return;
    for (uint64_t n = world_random(&p->chance) % 40; n > 0 && p->sent[i] < LINES; n--) {
        int size = snprintf(line, sizeof line, "%u\n", p->sent[i]);
        if (weir_send_to(p->clients, p->ids[i], line, (size_t)size) != 0) return;
        if (++p->sent[i] == LINES) cr_assert_eq(weir_close_id(p->clients, p->ids[i]), 0);
    }
}

static void begin(play *p, const weir_sim_options *network)
{
    p->chance = network->seed * 2 + 1;
    cr_assert_eq(weir_sim_create(&p->sim, network), 0);
    weir_runtime_options options = { .workers = SERVER_WORKERS, .sim = p->sim };
    cr_assert_eq(weir_runtime_create(&p->server, &options), 0);
    cr_assert_eq(weir_runtime_create(&p->clients, &(weir_runtime_options){ .sim = p->sim }), 0);
    cr_assert_eq(weir_inbox_create(p->server, &(weir_inbox_options){ .max_bytes = MAX }, &p->inbox), 0);
    cr_assert_eq(weir_inbox_create(p->clients, NULL, &p->client_side), 0);
    const weir_protocol protocol = { .inbox = p->inbox, .framing = weir_framing_line(), .idle_timeout_ms = 60000 };
    cr_assert_eq(weir_listen(p->server, "10.0.0.1:80", &protocol, NULL, NULL), 0);
    const weir_protocol client = { .inbox = p->client_side, .close_timeout_ms = 600000 };
    for (int i = 0; i < CLIENTS; i++)
        cr_assert_eq(weir_connect(p->clients, "10.0.0.1:80", &client, NULL, &p->ids[i]), 0);
}

static void finish(play *p)
{
    weir_runtime_destroy(p->clients);
    weir_runtime_destroy(p->server);
    while (take(p)) continue;
    take_clients(p);
    weir_inbox_destroy(p->inbox);
    weir_inbox_destroy(p->client_side);
    weir_sim_destroy(p->sim);
    cr_assert_eq(p->opened, p->closed);
    cr_assert_eq(p->client_closed, CLIENTS);
    cr_assert_leq(p->most_bytes, MAX + SERVER_WORKERS * QUEUED);
}

/* Drained from outside, between runs, a few events at random moments. */
static play run(const weir_sim_options *network)
{
    play p = { 0 };
    begin(&p, network);
    for (unsigned turn = 0; turn < 20000 && p.client_closed < CLIENTS; turn++) {
        send_some(&p, (unsigned)(world_random(&p.chance) % CLIENTS));
        cr_assert_eq(weir_sim_advance(p.sim, world_random(&p.chance) % (5 * MS)), 0);
        for (uint64_t n = world_random(&p.chance) % 60; n > 0 && take(&p); n--) continue;
        take_clients(&p);
    }
    finish(&p);
    return p;
}

static weir_sim_options hostile(uint64_t seed)
{
    return (weir_sim_options){ .seed = seed,
                               .latency_us_min = 10,
                               .latency_us_max = 30000,
                               .partial_per_mille = 300,
                               .loss_per_mille = 20,
                               .window = 600 };
}

Test(inbox_sim, nothing_is_lost_on_a_slow_network_and_it_repeats, .timeout = 60)
{
    unsigned full = 0;
    for (uint64_t seed = 1; seed <= 5; seed++) {
        weir_sim_options network = hostile(seed);
        play first = run(&network), second = run(&network);
        cr_assert_eq(first.whole, CLIENTS, "seed %d: %u of %u", (int)seed, first.whole, CLIENTS);
        cr_assert_eq(first.lines, CLIENTS * LINES);
        cr_assert_eq(first.hash, second.hash);
        full += first.most_bytes > MAX;
    }
    cr_assert_gt(full, 0, "it was never full");
}

Test(inbox_sim, every_open_has_its_close_when_connections_are_reset_and_memory_fails, .timeout = 60)
{
    unsigned whole = 0, closed = 0;
    for (uint64_t seed = 1; seed <= 10; seed++) {
        weir_sim_options network = hostile(seed);
        network.reset_per_mille = 1;
        network.enomem_per_mille = seed % 2 ? 3 : 0;
        play p = { 0 };
        begin(&p, &network);
        for (unsigned turn = 0; turn < 3000; turn++) {
            send_some(&p, (unsigned)(world_random(&p.chance) % CLIENTS));
            cr_assert_eq(weir_sim_advance(p.sim, world_random(&p.chance) % (5 * MS)), 0);
            for (uint64_t n = world_random(&p.chance) % 60; n > 0 && take(&p); n--) continue;
            take_clients(&p);
        }
        finish(&p);
        whole += p.whole;
        closed += p.closed;
    }
    cr_assert_gt(whole, 0);
    cr_assert_gt(closed, whole);
}

/* A logic "thread" inside: a timer of a worker's takes what there is, once a tick. */
static void tick(weir_runtime *runtime, void *data)
{
    play *p = data;
    for (int i = 0; i < 200 && take(p); i++) continue;
    if (p->whole < CLIENTS) cr_assert_eq(weir_post_after(runtime, 0, 20, tick, p), 0);
}

Test(inbox_sim, a_timer_may_take_the_events)
{
    play p = { 0 };
    weir_sim_options network = hostile(7);
    begin(&p, &network);
    cr_assert_eq(weir_post(p.server, 0, tick, &p), 0);
    for (unsigned turn = 0; turn < 20000 && p.whole < CLIENTS; turn++) {
        send_some(&p, turn % CLIENTS);
        cr_assert_eq(weir_sim_advance(p.sim, 2 * MS), 0);
        take_clients(&p);
    }
    cr_assert_eq(p.whole, CLIENTS);
    finish(&p);
}

Test(inbox_sim, a_wait_does_not_stop_the_only_thread)
{
    play p = { 0 };
    begin(&p, &(weir_sim_options){ .seed = 1 });
    cr_assert_eq(weir_inbox_wait(p.inbox, -1), WEIR_ETIMEDOUT);
    cr_assert_eq(weir_sim_advance(p.sim, S), 0);
    cr_assert_eq(weir_inbox_wait(p.inbox, -1), 0);
    finish(&p);
}
