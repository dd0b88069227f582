#include "room.h"
#include <assert.h>
#include <string.h>

static struct player *at(struct room *room, unsigned player)
{
    assert(player < room->capacity && room->players[player].here);
    return &room->players[player];
}

void room_open(struct room *room, unsigned capacity, unsigned hz, uint64_t seed)
{
    *room = (struct room){ .capacity = (uint8_t)capacity, .hz = (uint16_t)hz, .random = seed };
}

/* ---- coming and going ---- */

int room_enter(struct room *room)
{
    unsigned player = 0;
    while (player < room->capacity && room->players[player].here) player++;
    if (player == room->capacity) return -1;
    uint64_t where = world_random(&room->random);
    room->players[player] = (struct player){
        .here = true,
        .place = { (uint32_t)where % WORLD_SIZE, (uint32_t)(where >> 32) % WORLD_SIZE },
        .heard_tick = room->tick,
        .steps = INPUT_WINDOW,
        .chat_ticks = (uint16_t)(CHATS_SAVED * room->hz),
    };
    room->count++;
    return (int)player;
}

/* Who was never told of needs no mention; and one who was told of goes once a tick, so there is room. */
void room_leave(struct room *room, unsigned player)
{
    if (at(room, player)->told) room->gone[room->gone_count++] = (uint8_t)player;
    room->players[player].here = false;
    room->count--;
}

/* ---- what players do ---- */

static bool may_step(const struct player *player, int dx, int dy)
{
    return player->steps > 0 && world_step_is_fair(dx, dy);
}

/* Each tick allows a step; what the network holds up comes in a bunch, so up to INPUT_WINDOW of them may be made up
 * for. A client that keeps to one step a snapshot, with INPUT_WINDOW unacknowledged at most, is never rejected: of the
 * steps that answer to snapshots before the moment in which all were saved up, that many can still be under way. */
enum verdict room_input(struct room *room, unsigned player, uint32_t number, int dx, int dy)
{
    struct player *mover = at(room, player);
    if (number != mover->input + 1) return MALFORMED;
    mover->input = number;
    mover->heard_tick = room->tick;
    if (!may_step(mover, dx, dy)) return ++mover->cheats > CHEATS_MAX ? CHEATED : REJECTED;
    mover->steps--;
    mover->place = world_move(mover->place, dx, dy);
    return ACCEPTED;
}

enum verdict room_chat(struct room *room, unsigned player)
{
    struct player *speaker = at(room, player);
    if (speaker->chat_ticks < room->hz) return REJECTED;
    speaker->chat_ticks = (uint16_t)(speaker->chat_ticks - room->hz);
    room->chats++;
    return ACCEPTED;
}

bool room_is_idle(const struct room *room, unsigned player, unsigned seconds)
{
    return room->tick - room->players[player].heard_tick >= seconds * room->hz;
}

/* ---- what they are told ---- */

static struct record record_of(const struct player *player, unsigned number)
{
    return (struct record){ .player = (uint8_t)number,
                            .input = (uint8_t)player->input,
                            .x = world_seen(player->place.x),
                            .y = world_seen(player->place.y) };
}

static bool is_same(struct record a, struct record b)
{
    return a.player == b.player && a.input == b.input && a.x == b.x && a.y == b.y;
}

/* Adds what is new of the player to the snapshot, and gives it the time that has passed. */
static void step_player(struct room *room, unsigned number, struct snapshot *out)
{
    struct player *player = &room->players[number];
    struct record now = record_of(player, number);
    if (!player->told || !is_same(now, player->record)) out->records[out->record_count++] = now;
    player->record = now;
    player->told = true;
    if (player->steps < INPUT_WINDOW) player->steps++;
    if (player->chat_ticks < CHATS_SAVED * room->hz) player->chat_ticks++;
}

void room_step(struct room *room, struct snapshot *out)
{
    out->tick = ++room->tick;
    out->whole = false;
    out->record_count = 0;
    out->gone_count = room->gone_count;
    memcpy(out->gone, room->gone, room->gone_count);
    room->gone_count = 0;
    for (unsigned i = 0; i < room->capacity; i++)
        if (room->players[i].here) step_player(room, i, out);
}

void room_whole(const struct room *room, struct snapshot *out)
{
    out->tick = room->tick;
    out->whole = true;
    out->gone_count = out->record_count = 0;
    for (unsigned i = 0; i < room->capacity; i++)
        if (room->players[i].here && room->players[i].told) out->records[out->record_count++] = room->players[i].record;
}
