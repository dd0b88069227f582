/* What the tests of the arena's server share: an arena in the simulator, visitors who send it what they like, and bots
 * that see to it that nobody else suffers. */
#ifndef ARENA_HALL_H
#define ARENA_HALL_H

#include "bots.h"
#include "harness/weir_test.h"
#include "server.h"
#include <weir/sim.h>

#define SECOND UINT64_C(1000000000)

struct hall {
    /* What a test may set before hall_open; the zero of each stands for a good default. */
    weir_sim_options network;
    weir_runtime_options runtime;
    struct server_options options;
    uint32_t bot_count; /* bots that play meanwhile, in all rooms */
    bool bots_rejoin;

    weir_sim *sim;
    weir_runtime *server_runtime, *clients;
    struct server *server;
    struct bots *bots;
};

/* A client that keeps to no rules, and notes what it is told. */
struct visitor {
    weir_conn_id id;
    bool is_deaf; /* set before it connects: reads nothing after its welcome */
    bool is_open, has_ended;
    int error;       /* why it ended */
    unsigned opened; /* of what it got, how many */
    unsigned welcomes, snapshots, wholes, saids, pongs, closings, unreadable;
    int goodbye; /* -1: none */
    struct welcome welcome;
    struct view view;
    uint16_t seconds_left;
    uint64_t time_ns;
    struct snapshot last;
};

/* hall_open: all of it must succeed; the bots are all in their rooms. */
void hall_open(struct hall *hall);

/* hall_run: for so long, in virtual time. */
void hall_run(struct hall *hall, uint32_t ms);

/* hall_close: destroys everything. No bot may have had anything to complain of, unless bots_rejoin. */
void hall_close(struct hall *hall);

/* hall_counted: a counter of the server's. */
#define HALL_COUNTED(hall, name) counted(&server_counters((hall)->server)->name)

/* visitor_connect: and has run until the connection is there. */
void visitor_connect(struct hall *hall, struct visitor *visitor);

/* visitor_join: a room, with the right version, and has run until it was told the result. */
void visitor_join(struct hall *hall, struct visitor *visitor, uint16_t room);

/* visitor_send: it leaves with the next run. */
void visitor_send(struct hall *hall, const struct visitor *visitor, const struct packet *packet);
void visitor_send_bytes(struct hall *hall, const struct visitor *visitor, const void *bytes, size_t size);

/* visitor_step: the packet INPUT. */
void visitor_step(struct hall *hall, const struct visitor *visitor, uint32_t number, int dx, int dy);

/* visitor_say: the packet CHAT. */
void visitor_say(struct hall *hall, const struct visitor *visitor, const char *text);

#endif
