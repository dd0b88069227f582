/* The arena's protocol: what a client and the server say to each other.
 *
 * Packets are [u16 size][u16 id][body], all numbers little-endian, the size counting its four bytes. A client joins a
 * room, is told of all of it once, and then of what has changed at each tick. Over TCP nothing is lost or reordered, so
 * each snapshot builds on the one before.
 *
 *   client                                       server
 *   JOIN     u16 version, u16 room               WELCOME   u16 room, u16 hz, u32 tick, u32 x, u32 y, u32 chats, u8
 * player INPUT    u32 number, i16 dx, i16 dy          SNAPSHOT  u32 tick, u8 whole, u8 gone count, u8 record count,
 *                                                          gone: u8 player; record: u8 player, u8 input, u16 x, u16 y
 *   CHAT     text                                SAID      u32 number, u8 player, text
 *   PING     u64 time                            PONG      u64 time, the same
 *                                                CLOSING   u16 seconds that are left
 *                                                GOODBYE   u8 why; the connection ends behind it
 *
 * - WELCOME comes once, with the exact place of the player, and a whole SNAPSHOT of the same tick behind it. From then
 *   on each SNAPSHOT is of the next tick: who has gone, then a record for each who is new, or has moved. A whole one
 *   has a record for everybody. A place in a record is exact to PLACE_GRAIN.
 * - INPUT is a step: where the player goes from where it is. Numbers count from 1. A client sends one at most for each
 *   snapshot, and waits while INPUT_WINDOW of them are not acknowledged; the record's `input` acknowledges, by the low
 *   eight bits of the number. A step that is too long, and one more than the ticks allow, is rejected: acknowledged,
 *   but the player stays where it is.
 * - SAID is numbered by the room: who is told of number n is told of n + 1. WELCOME has the number of the last one.
 * - Whoever sends anything else is told GOODBYE_MALFORMED. */
#ifndef ARENA_PROTOCOL_H
#define ARENA_PROTOCOL_H

enum {
    PROTOCOL_VERSION = 1,
    PLAYERS_MAX = 100, /* in a room */
    TEXT_MAX = 200,    /* bytes of a chat, none of them a control character */
    INPUT_WINDOW = 32, /* about a second at 30 ticks */

    PLACE_GRAIN = 16,        /* a place in a snapshot is in so many 256ths of a unit, */
    WORLD_SIZE = 4096 * 256, /* and an exact one in 256ths: the world is 4,096 units wide and high */
    STEP_MAX = 5 * 256,      /* a player's way in one tick */
};

enum packet_id {
    PACKET_JOIN = 1,
    PACKET_INPUT = 2,
    PACKET_CHAT = 3,
    PACKET_PING = 4,
    PACKET_WELCOME = 101,
    PACKET_SNAPSHOT = 102,
    PACKET_SAID = 103,
    PACKET_PONG = 104,
    PACKET_CLOSING = 105,
    PACKET_GOODBYE = 106,
};

/* Why the server lets a player go. X(name, text) */
#define GOODBYES(X)                                      \
    X(MALFORMED, "sent what is not of the protocol")     \
    X(VERSION, "speaks another version of the protocol") \
    X(NO_ROOM, "asked for a room that is not there")     \
    X(FULL, "the room is full")                          \
    X(CHEATING, "too many steps that nobody can make")   \
    X(IDLE, "nothing was heard for too long")            \
    X(BUSY, "the server cannot keep up")                 \
    X(CLOSING, "the server is closing")

enum goodbye {
#define GOODBYE_VALUE(name, text) GOODBYE_##name,
    GOODBYES(GOODBYE_VALUE)
#undef GOODBYE_VALUE
        GOODBYE_COUNT
};

#endif
