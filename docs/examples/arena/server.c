#include "server.h"
#include "metrics.h"
#include <inttypes.h>
#include <stdlib.h>

enum {
    HANDSHAKE_TIMEOUT_MS = 5000,
    DRAIN_CHECK_MS = 50,
    MESSAGE_MAX = 4 + TEXT_MAX, /* the longest that a client may send: a chat */
};

struct server {
    weir_runtime *runtime;
    weir_listener *listener;
    struct counters counters;
    _Atomic uint32_t closing_s; /* 0: it is not closing */
    uint64_t closing_ns;        /* when that is over; the worker that drains */
    uint32_t rooms;
    struct stage stages[];
};

struct session {
    struct stage *stage; /* that the player has joined */
};

/* ---- connections ---- */

static struct server *server_of(const weir_conn *conn)
{
    return weir_conn_data(conn);
}

static void say_goodbye(weir_conn *conn, enum goodbye why)
{
    stage_say_goodbye(&server_of(conn)->counters, conn, why);
}

static void hand_on(weir_conn *conn, const void *bytes, size_t size)
{
    const struct session *session = weir_conn_session(conn);
    if (stage_deliver(session->stage, conn, bytes, size) != 0) say_goodbye(conn, GOODBYE_BUSY);
}

static void join(weir_conn *conn, const struct packet *packet, const void *bytes, size_t size)
{
    struct server *server = server_of(conn);
    struct session *session = weir_conn_session(conn);
    if (session->stage != NULL) {
        say_goodbye(conn, GOODBYE_MALFORMED);
    } else if (packet->as.join.version != PROTOCOL_VERSION) {
        say_goodbye(conn, GOODBYE_VERSION);
    } else if (packet->as.join.room >= server->rooms) {
        say_goodbye(conn, GOODBYE_NO_ROOM);
    } else if (atomic_load_explicit(&server->closing_s, memory_order_relaxed) != 0) {
        say_goodbye(conn, GOODBYE_CLOSING);
    } else {
        session->stage = &server->stages[packet->as.join.room];
        hand_on(conn, bytes, size);
    }
}

static void answer_ping(weir_conn *conn, struct packet *packet)
{
    packet->id = PACKET_PONG;
    weir_buf *pong = packet_write(packet);
    if (pong != NULL) weir_send_buf(conn, pong);
    weir_buf_release(pong);
}

static void on_message(weir_conn *conn, const void *bytes, size_t size)
{
    const struct session *session = weir_conn_session(conn);
    struct packet packet;
    bool is_known = packet_read(&packet, bytes, size);
    if (is_known && packet.id == PACKET_JOIN)
        join(conn, &packet, bytes, size);
    else if (is_known && packet.id == PACKET_PING)
        answer_ping(conn, &packet);
    else if (is_known && (packet.id == PACKET_INPUT || packet.id == PACKET_CHAT) && session->stage != NULL)
        hand_on(conn, bytes, size);
    else
        say_goodbye(conn, GOODBYE_MALFORMED); /* also what only a server says */
}

static void on_stop(weir_conn *conn)
{
    say_goodbye(conn, GOODBYE_CLOSING);
}

static void on_close(weir_conn *conn, weir_reason reason)
{
    const struct session *session = weir_conn_session(conn);
    (void)reason; /* weir_stats counts them */
    if (session->stage != NULL) stage_leave(session->stage, conn);
}

/* ---- opening ---- */

static int open_stages(struct server *server, const struct server_options *options)
{
    int err = 0;
    for (uint32_t i = 0; err == 0 && i < options->rooms; i++)
        err = stage_open(&server->stages[i], server->runtime,
                         &(struct stage_options){
                             .number = (uint16_t)i,
                             .worker = i % weir_runtime_workers(server->runtime),
                             .players = options->room_size,
                             .hz = options->hz,
                             .delay_us = (uint32_t)(UINT64_C(1000000) * i / options->rooms / options->hz),
                             .idle_s = options->idle_s,
                             .counters = &server->counters,
                             .closing_s = &server->closing_s,
                         });
    return err;
}

int server_open(struct server **out, weir_runtime *runtime, const struct server_options *options)
{
    struct server *server = calloc(1, sizeof *server + options->rooms * sizeof *server->stages);
    *out = server;
    if (server == NULL) return WEIR_ENOMEM;
    server->runtime = runtime;
    server->rooms = options->rooms;
    const weir_protocol protocol = {
        .on_message = on_message,
        .on_stop = on_stop,
        .on_close = on_close,
        .data = server,
        .session_size = sizeof(struct session),
        .framing = weir_framing_u16le_packet(),
        .max_message = MESSAGE_MAX,
        .handshake_timeout_ms = HANDSHAKE_TIMEOUT_MS,
        .idle_timeout_ms = options->idle_s * 1000,
        .outbox = options->outbox,
    };
    const weir_listen_options limits = { .failure = options->failure };
    int err = open_stages(server, options);
    if (err == 0) err = weir_listen(runtime, options->address, &protocol, &limits, &server->listener);
    if (err == 0 && options->metrics != NULL) err = metrics_open(server, runtime, options->metrics, options->failure);
    return err;
}

void server_free(struct server *server)
{
    free(server);
}

/* ---- closing ---- */

static void on_drain_check(weir_timer *timer, void *data)
{
    struct server *server = data;
    (void)timer;
    if (server_players(server) == 0 || weir_now_ns(server->runtime) >= server->closing_ns)
        weir_runtime_stop(server->runtime); /* on_stop says the goodbyes */
}

void server_drain(struct server *server, uint32_t seconds)
{
    uint32_t open = 0, closing_s = seconds != 0 ? seconds : 1;
    if (!atomic_compare_exchange_strong(&server->closing_s, &open, closing_s)) return;
    server->closing_ns = weir_now_ns(server->runtime) + seconds * UINT64_C(1000000000);
    const weir_timer_options options = {
        .delay_ms = DRAIN_CHECK_MS, .repeat_ms = DRAIN_CHECK_MS, .on_timer = on_drain_check, .data = server
    };
    if (weir_timer_start(server->runtime, &options, NULL) != 0) weir_runtime_stop(server->runtime);
}

/* ---- watching ---- */

weir_address server_address(const struct server *server)
{
    return weir_listener_address(server->listener);
}

size_t server_players(const struct server *server)
{
    size_t players = 0;
    for (uint32_t i = 0; i < server->rooms; i++) players += weir_group_size(server->stages[i].group);
    return players;
}

const struct counters *server_counters(const struct server *server)
{
    return &server->counters;
}

/* The bound of lateness under which 99 of 100 ticks began. */
static uint64_t late_us_p99(const weir_stats *stats)
{
    uint64_t all = 0, below = 0;
    int bucket = 0;
    for (int i = 0; i < WEIR_STATS_BUCKETS; i++) all += stats->tick_late_us[i];
    while (bucket < WEIR_STATS_BUCKETS && (below += stats->tick_late_us[bucket]) * 100 < all * 99) bucket++;
    return UINT64_C(1) << bucket;
}

void server_print(const struct server *server, FILE *file)
{
    const struct counters *counters = &server->counters;
    weir_stats stats;
    weir_stats_read(server->runtime, &stats);
    fprintf(file, "players %zu  ticks %" PRIu64 " skipped %" PRIu64 " 99%% late under %" PRIu64 " us",
            server_players(server), stats.ticks, stats.ticks_skipped, late_us_p99(&stats));
    fprintf(file, "  inputs %" PRIu64 " rejected %" PRIu64 "  chats %" PRIu64 " rejected %" PRIu64,
            counted(&counters->inputs), counted(&counters->inputs_rejected), counted(&counters->chats),
            counted(&counters->chats_rejected));
    fprintf(file, "  queued %" PRIu64 "  failed %" PRIu64, stats.queued, counted(&counters->broadcasts_failed));
    for (int why = 0; why < GOODBYE_COUNT; why++)
        if (counted(&counters->goodbyes[why]) > 0)
            fprintf(file, "  [%s: %" PRIu64 "]", goodbye_text((enum goodbye)why), counted(&counters->goodbyes[why]));
    for (int error = 1; error < WEIR_STATS_REASONS; error++)
        if (stats.closed[error] > 0) fprintf(file, "  %s %" PRIu64, weir_error_name(-error), stats.closed[error]);
    fputc('\n', file);
}
