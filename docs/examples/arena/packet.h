/* Packets as structs, and as bytes: protocol.h says how they look on the wire. */
#ifndef ARENA_PACKET_H
#define ARENA_PACKET_H

#include "protocol.h"
#include "world.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <weir/buffer.h>

/* What a snapshot says of a player. */
struct record {
    uint8_t player;
    uint8_t input; /* the low bits of the number of the last one that came */
    uint16_t x, y; /* in units of PLACE_GRAIN */
};

struct snapshot {
    uint32_t tick;
    bool whole; /* forget all that was before; else only what has changed */
    uint8_t gone_count, record_count;
    uint8_t gone[PLAYERS_MAX];
    struct record records[PLAYERS_MAX];
};

/* A text points into the bytes that were read. */
struct text {
    const uint8_t *bytes;
    uint16_t size;
};

struct welcome {
    uint16_t room, hz;
    uint32_t tick, chats;
    struct place place;
    uint8_t player;
};

struct packet {
    enum packet_id id;
    union {
        struct {
            uint16_t version, room;
        } join;
        struct {
            uint32_t number;
            int16_t dx, dy;
        } input;
        struct text chat;
        uint64_t time_ns; /* PING, PONG: of the client's clock */
        struct welcome welcome;
        struct snapshot snapshot;
        struct {
            uint32_t number;
            uint8_t player;
            struct text text;
        } said;
        uint16_t seconds_left; /* CLOSING */
        enum goodbye why;      /* GOODBYE */
    } as;
};

/* packet_read: makes sense of a whole packet, header included. False: it is none of the protocol's; `out` has no
 * meaning then. What it accepts is what packet_write makes, to the bit, and every number in it is in its bounds. */
bool packet_read(struct packet *out, const void *bytes, size_t size);

/* packet_write: the packet as bytes, to be sent to one or to thousands. The caller owns the reference. NULL: out of
 * memory. */
weir_buf *packet_write(const struct packet *packet);

/* goodbye_text: what the reason means, for people. */
const char *goodbye_text(enum goodbye why);

#endif
