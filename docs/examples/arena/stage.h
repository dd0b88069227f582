/* A room at work: its rules (room.h) between a tick and the players' connections.
 *
 * The room lives on one worker, which alone touches it: its tick runs there. Its players are where the listener put
 * them, on any worker. What they send comes by weir_post, or directly if they happen to be on the same one; what the
 * room says goes by weir_group_send, encoded once. So no lock is taken, and nobody waits for anybody. */
#ifndef ARENA_STAGE_H
#define ARENA_STAGE_H

#include "counters.h"
#include "room.h"
#include <weir/weir.h>

struct stage_options {
    uint16_t number; /* of the room */
    unsigned worker; /* where it lives */
    uint32_t players, hz;
    uint32_t delay_us; /* of its ticks, so that the rooms of a worker do not all send at once */
    uint32_t idle_s;   /* a player of whom no input has come for so long is let go */
    struct counters *counters;
    const _Atomic uint32_t *closing_s; /* the server is about to close, in so many seconds; 0: it is not */
};

struct stage {
    struct stage_options options;
    weir_runtime *runtime;
    weir_group *group; /* those who have been welcomed */
    struct room room;
    weir_conn_id conns[PLAYERS_MAX]; /* by player */
    bool wants_whole;                /* somebody missed the last snapshot */
    bool told_closing;
};

/* stage_open: begins, with the runtime. It lives as long as that. WEIR_E… */
int stage_open(struct stage *stage, weir_runtime *runtime, const struct stage_options *options);

/* stage_deliver: hands a packet of the player's on: JOIN, INPUT or CHAT, checked by packet_read already. [worker]
 * WEIR_ENOMEM, WEIR_ELIMIT: it was not. */
int stage_deliver(struct stage *stage, weir_conn *conn, const void *bytes, size_t size);

/* stage_leave: the connection has gone. Where even this cannot be handed on, the player goes after idle_s. [worker] */
void stage_leave(struct stage *stage, weir_conn *conn);

/* stage_say_goodbye: the last packet to a connection, which is counted, and closes then. [worker] */
void stage_say_goodbye(struct counters *counters, weir_conn *conn, enum goodbye why);

#endif
