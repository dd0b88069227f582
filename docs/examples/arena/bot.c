#include "bot.h"
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum {
    TURN_MAX = 300,        /* how far a step differs from the one before it, in each direction */
    CHAT_PERIOD_S = 2,     /* it says something that often, but no more before that has come back */
    COMPLAINTS_SHOWN = 20, /* of a worker's bots; all are counted */
};

static const char text_format[] = "bot %" PRIu32 " says %" PRIu32;

void bot_complain(struct bot *bot, const char *format, ...)
{
    char text[256];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    if (bot->tally->violations++ < COMPLAINTS_SHOWN)
        printf("bot %" PRIu32 " in room %u at tick %" PRIu32 ": %s\n", bot->number, bot->room, bot->game.view.tick,
               text);
}

static void send_packet(weir_conn *conn, const struct packet *packet)
{
    weir_buf *buf = packet_write(packet);
    if (buf != NULL) weir_send_buf(conn, buf);
    weir_buf_release(buf);
}

void bot_open(struct bot *bot, weir_conn *conn)
{
    memset(&bot->game, 0, sizeof bot->game);
    bot->game.own_heard = bot->said; /* what was under way in the connection before is lost with it */
    send_packet(conn,
                &(struct packet){ .id = PACKET_JOIN, .as.join = { .version = PROTOCOL_VERSION, .room = bot->room } });
}

/* ---- what it does ---- */

static int turn(int from, uint64_t random)
{
    int to = from + (int)(random % (2 * TURN_MAX + 1)) - TURN_MAX;
    return to < -STEP_MAX ? -STEP_MAX : to > STEP_MAX ? STEP_MAX : to;
}

static void walk(struct bot *bot, weir_conn *conn)
{
    struct bot_game *game = &bot->game;
    if (game->sent - game->acknowledged == INPUT_WINDOW) return;
    const int16_t *last = game->steps[game->sent % INPUT_WINDOW];
    uint64_t random = world_random(&bot->random);
    int dx = turn(last[0], random & UINT32_MAX), dy = turn(last[1], random >> 32);
    while (!world_step_is_fair(dx, dy)) dx /= 2, dy /= 2;
    int16_t *step = game->steps[++game->sent % INPUT_WINDOW];
    step[0] = (int16_t)dx;
    step[1] = (int16_t)dy;
    send_packet(conn, &(struct packet){ .id = PACKET_INPUT,
                                        .as.input = { .number = game->sent, .dx = step[0], .dy = step[1] } });
}

/* At another tick than the other bots. */
static bool is_turn(const struct bot *bot, uint32_t period_s)
{
    uint32_t period = period_s * bot->game.hz;
    return (bot->game.view.tick + bot->number * 7) % period == 0;
}

static void talk(struct bot *bot, weir_conn *conn)
{
    if (!is_turn(bot, CHAT_PERIOD_S) || bot->game.own_heard != bot->said) return;
    char text[TEXT_MAX];
    int size = snprintf(text, sizeof text, text_format, bot->number, ++bot->said);
    send_packet(conn, &(struct packet){ .id = PACKET_CHAT,
                                        .as.chat = { .bytes = (const uint8_t *)text, .size = (uint16_t)size } });
    bot->tally->said++;
}

static void ping(struct bot *bot, weir_conn *conn)
{
    if (!is_turn(bot, 1) || bot->game.pinged_ns != 0) return;
    bot->game.pinged_ns = weir_now_ns(weir_conn_runtime(conn));
    send_packet(conn, &(struct packet){ .id = PACKET_PING, .as.time_ns = bot->game.pinged_ns });
}

/* ---- what it checks ---- */

static void check_welcome(struct bot *bot, const struct welcome *welcome)
{
    struct bot_game *game = &bot->game;
    if (game->is_welcome) bot_complain(bot, "was welcomed twice");
    if (welcome->room != bot->room) bot_complain(bot, "asked for room %u and is in %u", bot->room, welcome->room);
    game->is_welcome = true;
    game->player = welcome->player;
    game->hz = welcome->hz;
    game->place = welcome->place;
    game->chats = welcome->chats;
    game->view.tick = welcome->tick;
}

/* Goes the way of the steps that the record acknowledges, which must lead to where the record is. */
static void check_itself(struct bot *bot)
{
    struct bot_game *game = &bot->game;
    const struct record *record = &game->view.records[game->player];
    if (!game->view.here[game->player]) {
        bot_complain(bot, "is not in its own room");
        return;
    }
    uint8_t arrived = (uint8_t)(record->input - game->acknowledged);
    if (arrived > game->sent - game->acknowledged) {
        bot_complain(bot, "of %" PRIu32 " steps under way, %u are acknowledged", game->sent - game->acknowledged,
                     arrived);
        return;
    }
    for (; arrived > 0; arrived--) {
        const int16_t *step = game->steps[++game->acknowledged % INPUT_WINDOW];
        game->place = world_move(game->place, step[0], step[1]);
        bot->tally->inputs++;
    }
    if (record->x != world_seen(game->place.x) || record->y != world_seen(game->place.y))
        bot_complain(bot, "after step %" PRIu32 " expected to be at %u %u and is at %u %u", game->acknowledged,
                     world_seen(game->place.x), world_seen(game->place.y), record->x, record->y);
}

/* A place in the room that somebody has left may be another speaker's. */
static void forget_speakers(struct bot_game *game, const struct snapshot *snapshot)
{
    if (snapshot->whole) memset(game->heard, 0, sizeof game->heard);
    for (unsigned i = 0; i < snapshot->gone_count; i++) game->heard[snapshot->gone[i]] = 0;
}

static void measure_jitter(struct bot *bot, uint64_t now_ns)
{
    struct bot_game *game = &bot->game;
    uint64_t between_ns = now_ns - game->arrived_ns, period_ns = UINT64_C(1000000000) / game->hz;
    histogram_add(&bot->tally->jitter, between_ns > period_ns ? between_ns - period_ns : period_ns - between_ns);
}

static void receive_snapshot(struct bot *bot, weir_conn *conn, const struct snapshot *snapshot, bool measures)
{
    struct bot_game *game = &bot->game;
    uint64_t now_ns = weir_now_ns(weir_conn_runtime(conn));
    if (!game->is_welcome) {
        bot_complain(bot, "a snapshot comes before the welcome");
        return;
    }
    uint32_t expected = game->view.tick + game->is_playing; /* the first is of the welcome's tick */
    if (snapshot->tick != expected)
        bot_complain(bot, "expected the snapshot of tick %" PRIu32 " and got that of %" PRIu32, expected,
                     snapshot->tick);
    const char *why = view_apply(&game->view, snapshot);
    if (why != NULL) {
        bot_complain(bot, "the snapshot of tick %" PRIu32 " makes no sense: %s", snapshot->tick, why);
        return;
    }
    bot->tally->snapshots++;
    forget_speakers(game, snapshot);
    check_itself(bot);
    if (measures) bot->measured++;
    if (measures && game->arrived_ns != 0) measure_jitter(bot, now_ns);
    game->arrived_ns = game->is_playing ? now_ns : 0; /* the first one comes for the welcome, not for the time */
    game->is_playing = true;
    walk(bot, conn);
    talk(bot, conn);
    ping(bot, conn);
}

static void check_own_text(struct bot *bot, uint32_t number)
{
    if (number != bot->game.own_heard + 1 || number > bot->said)
        bot_complain(bot, "its text %" PRIu32 " comes back where %" PRIu32 " was next", number,
                     bot->game.own_heard + 1);
    bot->game.own_heard = number;
}

static void receive_said(struct bot *bot, const struct packet *packet)
{
    struct bot_game *game = &bot->game;
    char text[TEXT_MAX + 1] = "";
    uint32_t speaker = 0, number = 0;
    unsigned player = packet->as.said.player;
    memcpy(text, packet->as.said.text.bytes, packet->as.said.text.size);
    if (packet->as.said.number != ++game->chats)
        bot_complain(bot, "hears text %" PRIu32 " of the room where %" PRIu32 " was next", packet->as.said.number,
                     game->chats);
    game->chats = packet->as.said.number;
    bot->tally->heard++;
    if (!game->view.here[player]) bot_complain(bot, "hears player %u, who is not there", player);
    if (sscanf(text, "bot %" SCNu32 " says %" SCNu32, &speaker, &number) != 2) return; /* no bot's */
    if (game->heard[player] != 0 && number != game->heard[player] + 1)
        bot_complain(bot, "hears text %" PRIu32 " of bot %" PRIu32 " after its %" PRIu32, number, speaker,
                     game->heard[player]);
    game->heard[player] = number;
    if (player == game->player) check_own_text(bot, number);
}

static void receive_pong(struct bot *bot, weir_conn *conn, uint64_t time_ns, bool measures)
{
    if (time_ns != bot->game.pinged_ns || time_ns == 0)
        bot_complain(bot, "asked with %" PRIu64 " and is answered with %" PRIu64, bot->game.pinged_ns, time_ns);
    else if (measures)
        histogram_add(&bot->tally->round_trip, weir_now_ns(weir_conn_runtime(conn)) - time_ns);
    bot->game.pinged_ns = 0;
    bot->tally->pongs++;
}

static void receive_goodbye(struct bot *bot, enum goodbye why)
{
    if (why == GOODBYE_CLOSING)
        bot->told_closing = true;
    else
        bot_complain(bot, "was let go: %s", goodbye_text(why));
}

void bot_receive(struct bot *bot, weir_conn *conn, const void *bytes, size_t size, bool measures)
{
    struct packet packet;
    if (!packet_read(&packet, bytes, size)) {
        bot_complain(bot, "got %zu bytes that make no packet", size);
        return;
    }
    switch (packet.id) {
    case PACKET_WELCOME:
        check_welcome(bot, &packet.as.welcome);
        break;
    case PACKET_SNAPSHOT:
        receive_snapshot(bot, conn, &packet.as.snapshot, measures);
        break;
    case PACKET_SAID:
        receive_said(bot, &packet);
        break;
    case PACKET_PONG:
        receive_pong(bot, conn, packet.as.time_ns, measures);
        break;
    case PACKET_CLOSING:
        bot->told_closing = true;
        break;
    case PACKET_GOODBYE:
        receive_goodbye(bot, packet.as.why);
        break;
    case PACKET_JOIN:
    case PACKET_INPUT:
    case PACKET_CHAT:
    case PACKET_PING:
        bot_complain(bot, "got what only a client says: packet %d", (int)packet.id);
        break;
    }
}
