/* The arena's server: its listener, its rooms, and how it closes. */
#ifndef ARENA_SERVER_H
#define ARENA_SERVER_H

#include "stage.h"
#include <stdio.h>

struct server;

struct server_options {
    const char *address;
    const char *metrics;       /* where counters are served, for Prometheus; NULL: nowhere */
    uint32_t rooms, room_size; /* room_size: players at most; PLAYERS_MAX at most */
    uint32_t hz;               /* ticks a second */
    uint32_t idle_s;           /* without a byte, or an input, for so long a player is let go */
    weir_outbox_options outbox;
    weir_failure *failure; /* what was refused about an address; may be NULL */
};

/* server_open: listens and begins, with the runtime. WEIR_E…; also then it must be freed. */
int server_open(struct server **out, weir_runtime *runtime, const struct server_options *options);

/* server_free: after weir_runtime_destroy. NULL is fine. */
void server_free(struct server *server);

/* server_drain: tells all players that the server closes in so many seconds, and lets nobody in any more. When that
 * time is over, or all have left before, it stops the runtime. Twice is harmless. On a worker, or while none runs. */
void server_drain(struct server *server, uint32_t seconds);

/* server_address: where it listens. */
weir_address server_address(const struct server *server);

/* server_players: how many are in the rooms. */
size_t server_players(const struct server *server);

/* server_counters: what has been counted. */
const struct counters *server_counters(const struct server *server);

/* server_print: one line for people: how it does, and why players were let go. */
void server_print(const struct server *server, FILE *file);

#endif
