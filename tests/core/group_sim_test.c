/* Groups on a hostile network, in the simulator: chat in rooms on several workers, exactly once and in order. */
#include <string.h>

#include "core/simulated.h"

enum { WORKERS = 4, ROOMS = 6, PLAYERS = 40, ROUNDS = 25 };

typedef struct chat {
    weir_sim *sim;
    weir_runtime *server, *clients;
    weir_group *rooms[ROOMS];
    unsigned joined, closed;
    weir_conn_id players[PLAYERS];
    uint32_t heard[PLAYERS][PLAYERS]; /* by player, of player: messages */
    uint32_t ticks[PLAYERS];
    unsigned workers_used;
} chat;

/* What players say, and the server to a room. */
typedef struct line {
    uint16_t size, id; /* SAY: of a player; TICK: the server's */
    uint32_t player, number;
} line;

enum { SAY = 1, TICK = 2 };

static chat *chat_of(weir_conn *conn)
{
    return weir_conn_data(conn);
}

static void on_server_message(weir_conn *conn, const void *bytes, size_t size)
{
    chat *c = chat_of(conn);
    line said;
    cr_assert_eq(size, sizeof said);
    memcpy(&said, bytes, sizeof said);
    weir_group *room = c->rooms[said.player % ROOMS];
    if (said.number == 0) {
        cr_assert_eq(weir_group_add(room, conn), 0);
        c->joined++;
        c->workers_used |= 1U << weir_conn_worker(conn);
        return;
    }
    weir_buf *buf = weir_buf_copy(bytes, size);
    cr_assert_eq(weir_group_send(room, buf), 0);
    weir_buf_release(buf);
}

/* Client number `player` is found by its connection's id. */
static unsigned player_of(chat *c, weir_conn *conn)
{
    unsigned player = 0;
    while (player < PLAYERS && c->players[player] != weir_conn_get_id(conn)) player++;
    cr_assert_lt(player, PLAYERS);
    return player;
}

static void on_client_message(weir_conn *conn, const void *bytes, size_t size)
{
    chat *c = chat_of(conn);
    line said;
    cr_assert_eq(size, sizeof said);
    memcpy(&said, bytes, sizeof said);
    unsigned player = player_of(c, conn);
    if (said.id == TICK) {
        cr_assert_eq(said.player, player % ROOMS, "a tick of another room");
        cr_assert_eq(said.number, ++c->ticks[player]);
        return;
    }
    cr_assert_eq(said.player % ROOMS, player % ROOMS, "somebody in another room is heard");
    cr_assert_eq(said.number, ++c->heard[player][said.player], "player %u of player %u", player, said.player);
}

static void on_server_close(weir_conn *conn, weir_reason reason)
{
    (void)reason;
    chat_of(conn)->closed++;
}

static const weir_protocol SERVER = { .on_message = on_server_message, .on_close = on_server_close };

static void begin(chat *c, uint64_t seed)
{
    weir_sim_options network = {
        .seed = seed,
        .latency_us_min = 1000,
        .latency_us_max = 60000,
        .loss_per_mille = 50,
        .partial_per_mille = 300,
    };
    cr_assert_eq(weir_sim_create(&c->sim, &network), 0);
    cr_assert_eq(weir_runtime_create(&c->server, &(weir_runtime_options){ .workers = WORKERS, .sim = c->sim }), 0);
    cr_assert_eq(weir_runtime_create(&c->clients, &(weir_runtime_options){ .workers = 2, .sim = c->sim }), 0);
    weir_protocol protocol = SERVER;
    protocol.framing = weir_framing_u16le_packet();
    protocol.data = c;
    cr_assert_eq(weir_listen(c->server, "10.0.0.1:80", &protocol, NULL, NULL), 0);
    protocol.on_message = on_client_message;
    protocol.on_close = NULL;
    for (unsigned i = 0; i < ROOMS; i++) cr_assert_eq(weir_group_create(c->server, &c->rooms[i]), 0);
    for (unsigned i = 0; i < PLAYERS; i++)
        cr_assert_eq(weir_connect(c->clients, "10.0.0.1:80", &protocol, NULL, &c->players[i]), 0);
}

static void say(chat *c, unsigned player, uint32_t number)
{
    line words = { .size = sizeof words, .id = SAY, .player = player, .number = number };
    cr_assert_eq(weir_send_to(c->clients, c->players[player], &words, sizeof words), 0);
}

static void tick(chat *c, uint32_t number)
{
    for (unsigned i = 0; i < ROOMS; i++) {
        uint32_t body[2] = { i, number };
        weir_buf *buf = weir_buf_packet(TICK, body, sizeof body);
        cr_assert_eq(weir_group_send(c->rooms[i], buf), 0);
        weir_buf_release(buf);
    }
}

static void play(uint64_t seed)
{
    static chat c;
    memset(&c, 0, sizeof c);
    begin(&c, seed);
    for (unsigned i = 0; i < PLAYERS; i++) say(&c, i, 0);
    cr_assert_eq(weir_sim_advance(c.sim, 20 * S), 0);
    cr_assert_eq(c.joined, PLAYERS);
    cr_assert_gt(c.workers_used & (c.workers_used - 1), 0, "they are all on one worker");
    for (uint32_t n = 1; n <= ROUNDS; n++) {
        for (unsigned i = 0; i < PLAYERS; i++) say(&c, i, n);
        tick(&c, n);
        cr_assert_eq(weir_sim_advance(c.sim, 33 * MS), 0);
    }
    cr_assert_eq(weir_sim_advance(c.sim, 60 * S), 0);
    for (unsigned i = 0; i < PLAYERS; i++) {
        cr_assert_eq(c.ticks[i], ROUNDS, "seed %u: player %u", (unsigned)seed, i);
        for (unsigned k = 0; k < PLAYERS; k++)
            cr_assert_eq(c.heard[i][k], i % ROOMS == k % ROOMS ? ROUNDS : 0, "player %u of player %u", i, k);
    }
    for (unsigned i = 0; i < PLAYERS; i += 2) cr_assert_eq(weir_close_id(c.clients, c.players[i]), 0);
    cr_assert_eq(weir_sim_advance(c.sim, 60 * S), 0);
    cr_assert_eq(c.closed, PLAYERS / 2);
    size_t left = 0;
    for (unsigned i = 0; i < ROOMS; i++) left += weir_group_size(c.rooms[i]);
    cr_assert_eq(left, PLAYERS / 2);
    weir_runtime_destroy(c.server);
    weir_runtime_destroy(c.clients);
    weir_sim_destroy(c.sim);
}

Test(group_sim, everybody_in_a_room_hears_everything_said_there_once_and_in_order, .timeout = 60)
{
    for (uint64_t seed = 1; seed <= 10; seed++) play(seed);
}
