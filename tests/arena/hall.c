#include "hall.h"
#include <string.h>

#define ADDRESS "10.0.0.1:7777"

static void fill_options(struct hall *hall)
{
    struct server_options *options = &hall->options;
    if (options->address == NULL) options->address = ADDRESS;
    if (options->rooms == 0) options->rooms = 2;
    if (options->room_size == 0) options->room_size = PLAYERS_MAX;
    if (options->hz == 0) options->hz = 30;
    if (options->idle_s == 0) options->idle_s = 15;
    if (hall->runtime.workers == 0) hall->runtime.workers = 2;
}

static bool all_play(void *data)
{
    const struct hall *hall = data;
    return bots_playing(hall->bots) == hall->bot_count;
}

void hall_open(struct hall *hall)
{
    fill_options(hall);
    cr_assert_eq(weir_sim_create(&hall->sim, &hall->network), 0);
    hall->runtime.sim = hall->sim;
    cr_assert_eq(weir_runtime_create(&hall->server_runtime, &hall->runtime), 0);
    cr_assert_eq(weir_runtime_create(&hall->clients, &(weir_runtime_options){ .sim = hall->sim }), 0);
    cr_assert_eq(server_open(&hall->server, hall->server_runtime, &hall->options), 0);
    if (hall->bot_count == 0) return;
    const struct bots_options bots = { .address = hall->options.address,
                                       .bots = hall->bot_count,
                                       .rooms = hall->options.rooms,
                                       .rate = 1000,
                                       .rejoins = hall->bots_rejoin };
    cr_assert_eq(bots_open(&hall->bots, hall->clients, &bots), 0);
    cr_assert_eq(weir_sim_run_until(hall->sim, all_play, hall, 10 * SECOND), 0);
}

void hall_run(struct hall *hall, uint32_t ms)
{
    cr_assert_eq(weir_sim_advance(hall->sim, ms * UINT64_C(1000000)), 0);
}

void hall_close(struct hall *hall)
{
    struct bots_result result = { 0 };
    weir_runtime_destroy(hall->clients);
    weir_runtime_destroy(hall->server_runtime);
    if (hall->bots != NULL) bots_judge(hall->bots, &result);
    if (!hall->bots_rejoin) cr_expect_eq(result.violations, 0);
    bots_free(hall->bots);
    server_free(hall->server);
    weir_sim_destroy(hall->sim);
}

/* ---- visitors ---- */

static void on_open(weir_conn *conn)
{
    struct visitor *visitor = weir_conn_data(conn);
    visitor->is_open = true;
    visitor->goodbye = -1;
}

static void note_snapshot(struct visitor *visitor, const struct snapshot *snapshot)
{
    visitor->snapshots++;
    visitor->wholes += snapshot->whole;
    visitor->last = *snapshot;
    cr_expect_null(view_apply(&visitor->view, snapshot));
}

static void note_packet(struct visitor *visitor, const struct packet *packet)
{
    switch (packet->id) {
    case PACKET_WELCOME:
        visitor->welcomes++;
        visitor->welcome = packet->as.welcome;
        break;
    case PACKET_SNAPSHOT:
        note_snapshot(visitor, &packet->as.snapshot);
        break;
    case PACKET_SAID:
        visitor->saids++;
        break;
    case PACKET_PONG:
        visitor->pongs++;
        visitor->time_ns = packet->as.time_ns;
        break;
    case PACKET_CLOSING:
        visitor->closings++;
        visitor->seconds_left = packet->as.seconds_left;
        break;
    case PACKET_GOODBYE:
        visitor->goodbye = (int)packet->as.why;
        break;
    default:
        visitor->unreadable++;
        break;
    }
}

static void on_message(weir_conn *conn, const void *bytes, size_t size)
{
    struct visitor *visitor = weir_conn_data(conn);
    struct packet packet;
    if (packet_read(&packet, bytes, size))
        note_packet(visitor, &packet);
    else
        visitor->unreadable++;
    if (visitor->is_deaf && visitor->welcomes > 0) weir_conn_pause(conn);
}

static void on_close(weir_conn *conn, weir_reason reason)
{
    struct visitor *visitor = weir_conn_data(conn);
    visitor->has_ended = true;
    visitor->error = reason.error;
}

static bool is_there(void *data)
{
    const struct visitor *visitor = data;
    return visitor->is_open;
}

static bool is_told(void *data)
{
    const struct visitor *visitor = data;
    return visitor->welcomes > 0 || visitor->has_ended;
}

void visitor_connect(struct hall *hall, struct visitor *visitor)
{
    const weir_protocol protocol = { .on_open = on_open,
                                     .on_message = on_message,
                                     .on_close = on_close,
                                     .data = visitor,
                                     .framing = weir_framing_u16le_packet() };
    cr_assert_eq(weir_connect(hall->clients, hall->options.address, &protocol, NULL, &visitor->id), 0);
    uint64_t limit_ns = weir_sim_now_ns(hall->sim) + 10 * SECOND;
    cr_assert_eq(weir_sim_run_until(hall->sim, is_there, visitor, limit_ns), 0);
}

void visitor_join(struct hall *hall, struct visitor *visitor, uint16_t room)
{
    if (!visitor->is_open) visitor_connect(hall, visitor);
    visitor_send(hall, visitor,
                 &(struct packet){ .id = PACKET_JOIN, .as.join = { .version = PROTOCOL_VERSION, .room = room } });
    uint64_t limit_ns = weir_sim_now_ns(hall->sim) + 10 * SECOND;
    cr_assert_eq(weir_sim_run_until(hall->sim, is_told, visitor, limit_ns), 0);
}

void visitor_send_bytes(struct hall *hall, const struct visitor *visitor, const void *bytes, size_t size)
{
    cr_assert_eq(weir_send_to(hall->clients, visitor->id, bytes, size), 0);
}

void visitor_send(struct hall *hall, const struct visitor *visitor, const struct packet *packet)
{
    weir_buf *buf = packet_write(packet);
    cr_assert_not_null(buf);
    cr_assert_eq(weir_send_buf_to(hall->clients, visitor->id, buf), 0);
    weir_buf_release(buf);
}

void visitor_step(struct hall *hall, const struct visitor *visitor, uint32_t number, int dx, int dy)
{
    visitor_send(
        hall, visitor,
        &(struct packet){ .id = PACKET_INPUT, .as.input = { .number = number, .dx = (int16_t)dx, .dy = (int16_t)dy } });
}

void visitor_say(struct hall *hall, const struct visitor *visitor, const char *text)
{
    visitor_send(hall, visitor,
                 &(struct packet){ .id = PACKET_CHAT,
                                   .as.chat = { .bytes = (const uint8_t *)text, .size = (uint16_t)strlen(text) } });
}
