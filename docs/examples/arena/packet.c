#include "packet.h"
#include <string.h>

enum { BODY_MAX = 7 + PLAYERS_MAX + 6 * PLAYERS_MAX };

_Static_assert(BODY_MAX >= TEXT_MAX + 5, "all other packets are smaller than a snapshot");

/* ---- numbers, little-endian ---- */

/* What is still to be read. Past the end all is 0, and `failed` stays set: so it is asked once, at the end. */
struct reader {
    const uint8_t *at;
    size_t left;
    bool failed;
};

static uint64_t take(struct reader *in, unsigned size)
{
    uint64_t number = 0;
    if (in->left < size) {
        in->failed = true;
        return 0;
    }
    for (unsigned i = 0; i < size; i++) number |= (uint64_t)in->at[i] << 8 * i;
    in->at += size;
    in->left -= size;
    return number;
}

/* A number below `end`. */
static uint32_t take_below(struct reader *in, unsigned size, uint32_t end)
{
    uint32_t number = (uint32_t)take(in, size);
    if (number >= end) in->failed = true;
    return number;
}

/* Whoever writes has reserved BODY_MAX. */
struct writer {
    uint8_t *at;
};

static void put(struct writer *out, uint64_t number, unsigned size)
{
    for (unsigned i = 0; i < size; i++) *out->at++ = (uint8_t)(number >> 8 * i);
}

/* ---- parts of packets ---- */

/* All that is left. Control characters would get at the terminals of those who print it. */
static struct text take_text(struct reader *in)
{
    struct text text = { in->at, (uint16_t)in->left };
    if (in->left == 0 || in->left > TEXT_MAX) in->failed = true;
    for (size_t i = 0; i < in->left && !in->failed; i++)
        if (in->at[i] < 0x20 || in->at[i] == 0x7f) in->failed = true;
    in->left = 0;
    return text;
}

static void put_text(struct writer *out, struct text text)
{
    memcpy(out->at, text.bytes, text.size);
    out->at += text.size;
}

static void take_welcome(struct reader *in, struct welcome *welcome)
{
    welcome->room = (uint16_t)take(in, 2);
    welcome->hz = (uint16_t)take(in, 2);
    welcome->tick = (uint32_t)take(in, 4);
    welcome->place.x = take_below(in, 4, WORLD_SIZE);
    welcome->place.y = take_below(in, 4, WORLD_SIZE);
    welcome->chats = (uint32_t)take(in, 4);
    welcome->player = (uint8_t)take_below(in, 1, PLAYERS_MAX);
    if (welcome->hz == 0) in->failed = true;
}

static void put_welcome(struct writer *out, const struct welcome *welcome)
{
    put(out, welcome->room, 2);
    put(out, welcome->hz, 2);
    put(out, welcome->tick, 4);
    put(out, welcome->place.x, 4);
    put(out, welcome->place.y, 4);
    put(out, welcome->chats, 4);
    put(out, welcome->player, 1);
}

static void take_snapshot(struct reader *in, struct snapshot *snapshot)
{
    snapshot->tick = (uint32_t)take(in, 4);
    snapshot->whole = take_below(in, 1, 2) != 0;
    snapshot->gone_count = (uint8_t)take_below(in, 1, PLAYERS_MAX + 1);
    snapshot->record_count = (uint8_t)take_below(in, 1, PLAYERS_MAX + 1);
    if (in->failed) return;
    for (unsigned i = 0; i < snapshot->gone_count; i++) snapshot->gone[i] = (uint8_t)take_below(in, 1, PLAYERS_MAX);
    for (unsigned i = 0; i < snapshot->record_count; i++) {
        struct record *record = &snapshot->records[i];
        record->player = (uint8_t)take_below(in, 1, PLAYERS_MAX);
        record->input = (uint8_t)take(in, 1);
        record->x = (uint16_t)take(in, 2);
        record->y = (uint16_t)take(in, 2);
    }
}

static void put_snapshot(struct writer *out, const struct snapshot *snapshot)
{
    put(out, snapshot->tick, 4);
    put(out, snapshot->whole, 1);
    put(out, snapshot->gone_count, 1);
    put(out, snapshot->record_count, 1);
    for (unsigned i = 0; i < snapshot->gone_count; i++) put(out, snapshot->gone[i], 1);
    for (unsigned i = 0; i < snapshot->record_count; i++) {
        const struct record *record = &snapshot->records[i];
        put(out, record->player, 1);
        put(out, record->input, 1);
        put(out, record->x, 2);
        put(out, record->y, 2);
    }
}

/* ---- packets ---- */

static void take_body(struct reader *in, struct packet *packet)
{
    switch (packet->id) {
    case PACKET_JOIN:
        packet->as.join.version = (uint16_t)take(in, 2);
        packet->as.join.room = (uint16_t)take(in, 2);
        return;
    case PACKET_INPUT:
        packet->as.input.number = (uint32_t)take(in, 4);
        packet->as.input.dx = (int16_t)take(in, 2);
        packet->as.input.dy = (int16_t)take(in, 2);
        return;
    case PACKET_CHAT:
        packet->as.chat = take_text(in);
        return;
    case PACKET_PING:
    case PACKET_PONG:
        packet->as.time_ns = take(in, 8);
        return;
    case PACKET_WELCOME:
        take_welcome(in, &packet->as.welcome);
        return;
    case PACKET_SNAPSHOT:
        take_snapshot(in, &packet->as.snapshot);
        return;
    case PACKET_SAID:
        packet->as.said.number = (uint32_t)take(in, 4);
        packet->as.said.player = (uint8_t)take_below(in, 1, PLAYERS_MAX);
        packet->as.said.text = take_text(in);
        return;
    case PACKET_CLOSING:
        packet->as.seconds_left = (uint16_t)take(in, 2);
        return;
    case PACKET_GOODBYE:
        packet->as.why = (enum goodbye)take_below(in, 1, GOODBYE_COUNT);
        return;
    }
    in->failed = true;
}

static void put_body(struct writer *out, const struct packet *packet)
{
    switch (packet->id) {
    case PACKET_JOIN:
        put(out, packet->as.join.version, 2);
        put(out, packet->as.join.room, 2);
        return;
    case PACKET_INPUT:
        put(out, packet->as.input.number, 4);
        put(out, (uint16_t)packet->as.input.dx, 2);
        put(out, (uint16_t)packet->as.input.dy, 2);
        return;
    case PACKET_CHAT:
        put_text(out, packet->as.chat);
        return;
    case PACKET_PING:
    case PACKET_PONG:
        put(out, packet->as.time_ns, 8);
        return;
    case PACKET_WELCOME:
        put_welcome(out, &packet->as.welcome);
        return;
    case PACKET_SNAPSHOT:
        put_snapshot(out, &packet->as.snapshot);
        return;
    case PACKET_SAID:
        put(out, packet->as.said.number, 4);
        put(out, packet->as.said.player, 1);
        put_text(out, packet->as.said.text);
        return;
    case PACKET_CLOSING:
        put(out, packet->as.seconds_left, 2);
        return;
    case PACKET_GOODBYE:
        put(out, packet->as.why, 1);
        return;
    }
}

bool packet_read(struct packet *out, const void *bytes, size_t size)
{
    struct reader in = { bytes, size, false };
    size_t told = take(&in, 2);
    out->id = (enum packet_id)take(&in, 2);
    if (in.failed || told != size) return false;
    take_body(&in, out);
    return !in.failed && in.left == 0;
}

weir_buf *packet_write(const struct packet *packet)
{
    uint8_t body[BODY_MAX];
    struct writer out = { body };
    put_body(&out, packet);
    return weir_buf_packet((uint16_t)packet->id, body, (size_t)(out.at - body));
}

const char *goodbye_text(enum goodbye why)
{
    switch (why) {
#define GOODBYE_TEXT(name, text) \
    case GOODBYE_##name:         \
        return text;
        GOODBYES(GOODBYE_TEXT)
#undef GOODBYE_TEXT
    case GOODBYE_COUNT:
        break;
    }
    return "for no reason";
}
