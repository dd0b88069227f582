#include "stage.h"
#include <stdlib.h>
#include <string.h>

enum { CATCH_UP = 5 }; /* ticks that a late worker makes up for */

/* A packet on its way from a player's worker to that of the room. */
struct letter {
    struct stage *stage;
    weir_conn_id from;
    size_t size; /* 0: it has gone */
    uint8_t bytes[];
};

/* ---- to the players ---- */

static int broadcast(struct stage *stage, const struct packet *packet)
{
    weir_buf *buf = packet_write(packet);
    int err = buf != NULL ? weir_group_send(stage->group, buf) : WEIR_ENOMEM;
    if (err != 0) count(&stage->options.counters->broadcasts_failed, 1);
    weir_buf_release(buf);
    return err;
}

static int send_to(const struct stage *stage, weir_conn_id conn, const struct packet *packet)
{
    weir_buf *buf = packet_write(packet);
    int err = buf != NULL ? weir_send_buf_to(stage->runtime, conn, buf) : WEIR_ENOMEM;
    weir_buf_release(buf);
    return err;
}

/* The goodbye arrives in front of the close: one thread's requests for one connection keep their order. */
static bool dismiss(const struct stage *stage, weir_conn_id conn, enum goodbye why)
{
    send_to(stage, conn, &(struct packet){ .id = PACKET_GOODBYE, .as.why = why });
    if (weir_close_id(stage->runtime, conn) != 0) return false;
    count(&stage->options.counters->goodbyes[why], 1);
    return true;
}

/* If that fails, the player stays, and is let go for the same reason a little later. */
static void let_go(struct stage *stage, unsigned player, enum goodbye why)
{
    if (!dismiss(stage, stage->conns[player], why)) return;
    room_leave(&stage->room, player);
    stage->conns[player] = 0;
}

/* ---- from the players ---- */

static int find_player(const struct stage *stage, weir_conn_id conn)
{
    for (unsigned i = 0; i < stage->room.capacity; i++)
        if (stage->conns[i] == conn) return (int)i;
    return -1;
}

static void take_join(struct stage *stage, weir_conn_id conn)
{
    int player = stage->told_closing ? -1 : room_enter(&stage->room);
    if (player >= 0) {
        stage->conns[player] = conn;
        count(&stage->options.counters->joined, 1);
    } else {
        dismiss(stage, conn, stage->told_closing ? GOODBYE_CLOSING : GOODBYE_FULL);
    }
}

static void take_input(struct stage *stage, unsigned player, const struct packet *packet)
{
    struct counters *counters = stage->options.counters;
    switch (room_input(&stage->room, player, packet->as.input.number, packet->as.input.dx, packet->as.input.dy)) {
    case ACCEPTED:
        count(&counters->inputs, 1);
        break;
    case REJECTED:
        count(&counters->inputs_rejected, 1);
        break;
    case CHEATED:
        count(&counters->inputs_rejected, 1);
        let_go(stage, player, GOODBYE_CHEATING);
        break;
    case MALFORMED:
        let_go(stage, player, GOODBYE_MALFORMED);
        break;
    }
}

static void take_chat(struct stage *stage, unsigned player, struct text text)
{
    struct packet said = { .id = PACKET_SAID };
    if (room_chat(&stage->room, player) != ACCEPTED) {
        count(&stage->options.counters->chats_rejected, 1);
        return;
    }
    count(&stage->options.counters->chats, 1);
    said.as.said.number = stage->room.chats;
    said.as.said.player = (uint8_t)player;
    said.as.said.text = text;
    broadcast(stage, &said);
}

static void take(struct stage *stage, weir_conn_id from, const void *bytes, size_t size)
{
    int player = find_player(stage, from);
    struct packet packet;
    if (size == 0) {
        if (player < 0) return; /* was let go */
        room_leave(&stage->room, (unsigned)player);
        stage->conns[player] = 0;
    } else if (packet_read(&packet, bytes, size) && packet.id == PACKET_JOIN) {
        take_join(stage, from);
    } else if (player < 0) {
        weir_close_id(stage->runtime, from); /* it was let go, and this was on its way */
    } else if (packet.id == PACKET_INPUT) {
        take_input(stage, (unsigned)player, &packet);
    } else {
        take_chat(stage, (unsigned)player, packet.as.chat);
    }
}

static void open_letter(weir_runtime *runtime, void *data)
{
    struct letter *letter = data;
    (void)runtime;
    take(letter->stage, letter->from, letter->bytes, letter->size);
    free(letter);
}

int stage_deliver(struct stage *stage, weir_conn *conn, const void *bytes, size_t size)
{
    weir_conn_id from = weir_conn_get_id(conn);
    if (weir_conn_worker(conn) == stage->options.worker) {
        take(stage, from, bytes, size);
        return 0;
    }
    struct letter *letter = malloc(sizeof *letter + size);
    if (letter == NULL) return WEIR_ENOMEM;
    letter->stage = stage;
    letter->from = from;
    letter->size = size;
    if (size > 0) memcpy(letter->bytes, bytes, size);
    int err = weir_post(stage->runtime, stage->options.worker, open_letter, letter);
    if (err != 0) free(letter);
    return err;
}

void stage_leave(struct stage *stage, weir_conn *conn)
{
    (void)stage_deliver(stage, conn, NULL, 0);
}

void stage_say_goodbye(struct counters *counters, weir_conn *conn, enum goodbye why)
{
    weir_buf *buf = packet_write(&(struct packet){ .id = PACKET_GOODBYE, .as.why = why });
    if (buf != NULL) weir_send_buf(conn, buf);
    weir_buf_release(buf);
    count(&counters->goodbyes[why], 1);
    weir_close(conn);
}

/* ---- the tick ---- */

/* A new player gets all of the room as it is now, then joins the group: the next snapshot that reaches it is that of
 * the next tick, because one thread's requests for one connection keep their order. */
static void welcome(struct stage *stage, unsigned player, weir_buf *whole)
{
    const struct room *room = &stage->room;
    weir_conn_id conn = stage->conns[player];
    struct packet packet = { .id = PACKET_WELCOME,
                             .as.welcome = { .room = stage->options.number,
                                             .hz = room->hz,
                                             .tick = room->tick,
                                             .chats = room->chats,
                                             .place = room->players[player].place,
                                             .player = (uint8_t)player } };
    int err = whole != NULL ? send_to(stage, conn, &packet) : WEIR_ENOMEM;
    if (err == 0) err = weir_send_buf_to(stage->runtime, conn, whole);
    if (err == 0) err = weir_group_add_id(stage->group, conn);
    if (err != 0) let_go(stage, player, GOODBYE_BUSY);
}

static void welcome_all(struct stage *stage, const bool *is_new)
{
    struct packet packet = { .id = PACKET_SNAPSHOT };
    weir_buf *whole = NULL;
    for (unsigned i = 0; i < stage->room.capacity; i++) {
        if (!is_new[i]) continue;
        if (whole == NULL) {
            room_whole(&stage->room, &packet.as.snapshot);
            whole = packet_write(&packet);
        }
        welcome(stage, i, whole);
    }
    weir_buf_release(whole);
}

/* Also those that no stage_leave could tell of. */
static void let_idle_go(struct stage *stage)
{
    for (unsigned i = 0; i < stage->room.capacity; i++)
        if (stage->conns[i] != 0 && room_is_idle(&stage->room, i, stage->options.idle_s))
            let_go(stage, i, GOODBYE_IDLE);
}

/* Who missed a snapshot cannot make sense of the next, unless that is a whole one. */
static void broadcast_snapshot(struct stage *stage, struct packet *packet)
{
    if (stage->wants_whole) room_whole(&stage->room, &packet->as.snapshot);
    stage->wants_whole = broadcast(stage, packet) != 0;
    count(&stage->options.counters->snapshots, 1);
}

static void tell_closing(struct stage *stage)
{
    uint32_t closing_s = atomic_load_explicit(stage->options.closing_s, memory_order_relaxed);
    if (closing_s == 0 || stage->told_closing) return;
    const struct packet packet = { .id = PACKET_CLOSING, .as.seconds_left = (uint16_t)closing_s };
    stage->told_closing = broadcast(stage, &packet) == 0; /* else again at the next tick */
}

/* Ticks that weir skipped, because the worker was late, are none of the room's: its time stood still meanwhile. */
static void on_tick(weir_tick *tick, uint64_t number, void *data)
{
    struct stage *stage = data;
    struct packet packet = { .id = PACKET_SNAPSHOT };
    bool is_new[PLAYERS_MAX] = { false };
    (void)tick, (void)number;
    let_idle_go(stage);
    for (unsigned i = 0; i < stage->room.capacity; i++)
        is_new[i] = stage->room.players[i].here && !stage->room.players[i].told;
    room_step(&stage->room, &packet.as.snapshot);
    if (stage->room.count > 0) broadcast_snapshot(stage, &packet);
    welcome_all(stage, is_new);
    tell_closing(stage);
}

int stage_open(struct stage *stage, weir_runtime *runtime, const struct stage_options *options)
{
    *stage = (struct stage){ .options = *options, .runtime = runtime };
    room_open(&stage->room, options->players, options->hz, options->number);
    int err = weir_group_create(runtime, &stage->group);
    if (err != 0) return err;
    return weir_tick_start(runtime,
                           &(weir_tick_options){ .hz = options->hz,
                                                 .worker = options->worker,
                                                 .delay_us = options->delay_us,
                                                 .catch_up = CATCH_UP,
                                                 .on_tick = on_tick,
                                                 .data = stage },
                           NULL);
}
