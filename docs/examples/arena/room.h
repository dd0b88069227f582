/* The rules of a room, and nothing else: who is in it, who goes where, what is said, what a snapshot tells. It knows no
 * network, no clock and no thread; room.c is plain computation, and so are its tests. */
#ifndef ARENA_ROOM_H
#define ARENA_ROOM_H

#include "packet.h"

struct player {
    bool here;
    bool told;            /* is in a snapshot already */
    struct place place;   /* where it is */
    struct record record; /* what the others were told last */
    uint32_t input;       /* the number of the last one that came */
    uint32_t heard_tick;  /* when that was */
    uint8_t steps;        /* it may make now: one more each tick, up to INPUT_WINDOW */
    uint8_t cheats;       /* steps that were rejected */
    uint16_t chat_ticks;  /* of silence that it has saved up */
};

struct room {
    uint32_t tick;
    uint32_t chats; /* said so far */
    uint16_t hz;
    uint8_t capacity, count;
    uint8_t gone_count;
    uint8_t gone[PLAYERS_MAX]; /* since the last tick */
    uint64_t random;
    struct player players[PLAYERS_MAX];
};

enum verdict {
    ACCEPTED,
    REJECTED, /* has no effect, but for being counted */
    CHEATED,  /* rejected, and that too often: let it go */
    MALFORMED,
};

enum {
    CHEATS_MAX = 10, /* rejected steps that a player is allowed */
    CHATS_SAVED = 4, /* one a second may be said, and so many at once after a silence */
};

/* room_open: an empty room for `capacity` players at most, at `hz` ticks a second. Where players appear follows from
 * the seed. */
void room_open(struct room *room, unsigned capacity, unsigned hz, uint64_t seed);

/* room_enter: a player appears. Its number, or -1 when the room is full. */
int room_enter(struct room *room);

/* room_leave: the player has gone. Its number may be another's in the same tick. */
void room_leave(struct room *room, unsigned player);

/* room_input: a step, by the rules of protocol.h. MALFORMED: not the number that was next. */
enum verdict room_input(struct room *room, unsigned player, uint32_t number, int dx, int dy);

/* room_chat: whether the player may speak now. ACCEPTED: it says number `room->chats`. */
enum verdict room_chat(struct room *room, unsigned player);

/* room_step: the next tick; `out` becomes its snapshot. */
void room_step(struct room *room, struct snapshot *out);

/* room_whole: a snapshot of all who were told of, at the tick as it is. */
void room_whole(const struct room *room, struct snapshot *out);

/* room_is_idle: whether no input has come from the player for so long. */
bool room_is_idle(const struct room *room, unsigned player, unsigned seconds);

#endif
