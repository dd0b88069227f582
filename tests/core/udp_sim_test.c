/* UDP in the simulator: players who say where they are ten times a second, on a network that loses, and a server that
 * tells all who are there. What arrives is right, what is lost is counted, and a seed repeats it all. */
#include <string.h>
#include <weir/sim.h>
#include <weir/weir.h>

#include "harness/weir_test.h"

enum { WORKERS = 3, PLAYERS = 24, ROUNDS = 50 };

#define MS UINT64_C(1000000)
#define S  UINT64_C(1000000000)

typedef struct position {
    uint32_t player, round;
} position;

typedef struct game {
    weir_sim *sim;
    weir_runtime *server, *clients;
    weir_udp *port;
    weir_udp *players[PLAYERS];
    weir_udp_peer at;
    unsigned server_heard, server_closed, client_heard[PLAYERS], clients_closed;
    int worker_of[PLAYERS]; /* that heard of the player; -1: none yet */
    uint32_t round;
} game;

static void server_hears(weir_udp_socket *socket, const weir_udp_peer *from, const void *bytes, size_t size)
{
    game *g = weir_udp_socket_data(socket);
    position said;
    cr_assert_eq(size, sizeof said);
    memcpy(&said, bytes, sizeof said);
    cr_assert_lt(said.player, PLAYERS);
    cr_assert_leq(said.round, g->round);
    int worker = (int)weir_udp_socket_worker(socket);
    cr_assert(g->worker_of[said.player] < 0 || g->worker_of[said.player] == worker, "a player has changed the worker");
    g->worker_of[said.player] = worker;
    g->server_heard++;
    cr_assert_eq(weir_udp_send(socket, from, bytes, size), 0);
}

static void player_hears(weir_udp_socket *socket, const weir_udp_peer *from, const void *bytes, size_t size)
{
    game *g = weir_udp_socket_data(socket);
    position said;
    cr_assert_eq(size, sizeof said);
    memcpy(&said, bytes, sizeof said);
    cr_assert_arr_eq(from, &g->at, sizeof *from);
    cr_assert_eq(weir_udp_socket_port(socket), g->players[said.player], "an answer for somebody else");
    g->client_heard[said.player]++;
}

static void server_closes(weir_udp_socket *socket, weir_reason reason)
{
    (void)reason;
    ((game *)weir_udp_socket_data(socket))->server_closed++;
}

static void player_closes(weir_udp_socket *socket, weir_reason reason)
{
    (void)reason;
    ((game *)weir_udp_socket_data(socket))->clients_closed++;
}

static void open_game(game *g, const weir_sim_options *network)
{
    *g = (game){ .round = 0 };
    for (int i = 0; i < PLAYERS; i++) g->worker_of[i] = -1;
    cr_assert_eq(weir_sim_create(&g->sim, network), 0);
    cr_assert_eq(weir_runtime_create(&g->server, &(weir_runtime_options){ .sim = g->sim, .workers = WORKERS }), 0);
    cr_assert_eq(weir_runtime_create(&g->clients, &(weir_runtime_options){ .sim = g->sim }), 0);
    weir_udp_protocol server = { .on_datagram = server_hears, .on_close = server_closes, .data = g };
    weir_udp_protocol player = { .on_datagram = player_hears, .on_close = player_closes, .data = g };
    cr_assert_eq(weir_udp_open(g->server, "10.0.0.1:7777", &server, NULL, &g->port), 0);
    weir_address address = weir_udp_address(g->port);
    g->at = weir_udp_peer_of(&address);
    for (int i = 0; i < PLAYERS; i++)
        cr_assert_eq(weir_udp_open(g->clients, "10.0.0.2:0", &player, NULL, &g->players[i]), 0);
    cr_assert_eq(weir_runtime_start(g->server), 0);
    cr_assert_eq(weir_runtime_start(g->clients), 0);
}

static void play(game *g)
{
    for (g->round = 0; g->round < ROUNDS; g->round++) {
        for (uint32_t player = 0; player < PLAYERS; player++) {
            position here = { .player = player, .round = g->round };
            cr_assert_eq(weir_udp_send_to(g->players[player], &g->at, &here, sizeof here), 0);
        }
        cr_assert_eq(weir_sim_advance(g->sim, 100 * MS), 0);
    }
    cr_assert_eq(weir_sim_advance(g->sim, 2 * S), 0);
}

static unsigned heard_by_all(const game *g)
{
    unsigned heard = 0;
    for (int i = 0; i < PLAYERS; i++) heard += g->client_heard[i];
    return heard;
}

static uint64_t close_game(game *g)
{
    weir_runtime_destroy(g->clients);
    weir_runtime_destroy(g->server);
    cr_assert_eq(g->server_closed, WORKERS);
    cr_assert_eq(g->clients_closed, PLAYERS);
    uint64_t hash = weir_sim_trace_hash(g->sim);
    weir_sim_destroy(g->sim);
    return hash;
}

Test(udp_sim, on_a_quiet_network_loses_nothing_and_uses_each_worker)
{
    game g;
    open_game(&g, &(weir_sim_options){ .seed = 1, .latency_us_min = 5000, .latency_us_max = 40000 });
    play(&g);
    cr_assert_eq(g.server_heard, PLAYERS * ROUNDS);
    cr_assert_eq(heard_by_all(&g), PLAYERS * ROUNDS);
    unsigned used = 0;
    for (int i = 0; i < PLAYERS; i++) used |= 1U << g.worker_of[i];
    cr_assert_eq(used, (1U << WORKERS) - 1);
    weir_stats stats;
    weir_stats_read(g.server, &stats);
    cr_assert_eq(stats.udp_received, PLAYERS * ROUNDS);
    cr_assert_eq(stats.udp_sent, PLAYERS * ROUNDS);
    cr_assert_eq(stats.udp_bytes_sent, PLAYERS * ROUNDS * sizeof(position));
    close_game(&g);
}

Test(udp_sim, on_a_network_that_loses_goes_on_without_what_is_lost)
{
    game g;
    const weir_sim_options network = {
        .seed = 2,
        .latency_us_min = 1000,
        .latency_us_max = 300000,
        .datagram_loss_per_mille = 100,
    };
    open_game(&g, &network);
    play(&g);
    cr_assert_lt(heard_by_all(&g), PLAYERS * ROUNDS);
    cr_assert_gt(heard_by_all(&g), PLAYERS * ROUNDS / 2);
    close_game(&g);
}

Test(udp_sim, repeats_a_seed)
{
    uint64_t hashes[3];
    for (int i = 0; i < 3; i++) {
        game g;
        const weir_sim_options network = { .seed = i == 2 ? 8 : 7,
                                           .latency_us_max = 50000,
                                           .datagram_loss_per_mille = 50,
                                           .datagram_duplicate_per_mille = 50,
                                           .datagram_reorder_per_mille = 50,
                                           .partial_per_mille = 100 };
        open_game(&g, &network);
        play(&g);
        hashes[i] = close_game(&g);
    }
    cr_assert_eq(hashes[0], hashes[1]);
    cr_assert_neq(hashes[0], hashes[2]);
}

Test(udp_sim, across_a_cut_nothing_arrives_and_after_it_all_goes_on)
{
    game g;
    open_game(&g, &(weir_sim_options){ .seed = 3 });
    cr_assert_eq(weir_sim_partition(g.sim, "10.0.0.1", "10.0.0.2"), 0);
    play(&g);
    cr_assert_eq(heard_by_all(&g), 0);
    cr_assert_eq(weir_sim_heal(g.sim, NULL, NULL), 0);
    play(&g);
    cr_assert_geq(heard_by_all(&g), PLAYERS * ROUNDS);
    close_game(&g);
}

/* ---- without threads ---- */

static unsigned echoes;

static void count_echo(weir_udp_socket *socket, const weir_udp_peer *from, const void *bytes, size_t size)
{
    (void)socket;
    (void)from;
    (void)bytes;
    (void)size;
    echoes++;
}

static void echo(weir_udp_socket *socket, const weir_udp_peer *from, const void *bytes, size_t size)
{
    cr_assert_eq(weir_udp_send(socket, from, bytes, size), 0);
}

Test(udp_sim, serves_manual_runtimes)
{
    weir_sim *sim;
    weir_runtime *runtime;
    weir_udp *server, *client;
    const weir_udp_protocol echo_protocol = { .on_datagram = echo }, count_protocol = { .on_datagram = count_echo };
    cr_assert_eq(weir_sim_create(&sim, &(weir_sim_options){ .seed = 4 }), 0);
    cr_assert_eq(weir_runtime_create(&runtime, &(weir_runtime_options){ .sim = sim, .manual = true }), 0);
    cr_assert_eq(weir_udp_open(runtime, "10.0.0.1:7777", &echo_protocol, NULL, &server), 0);
    cr_assert_eq(weir_udp_open(runtime, "10.0.0.2:0", &count_protocol, NULL, &client), 0);
    weir_address address = weir_udp_address(server);
    weir_udp_peer to = weir_udp_peer_of(&address);
    for (int i = 0; i < 10; i++) cr_assert_eq(weir_udp_send_to(client, &to, "hello", 5), 0);
    for (int i = 0; i < 100 && echoes < 10; i++) cr_assert_geq(weir_poll(runtime, 10), 0);
    cr_assert_eq(echoes, 10);
    weir_runtime_destroy(runtime);
    weir_sim_destroy(sim);
}
