/* The large room of chatter_test.c in the simulator: on a network that loses and cuts, the same from the same seed. */
#include <string.h>

#include "core/simulated.h"

enum {
    READERS = 180,
    DEAF = 20, /* the last ones */
    MEMBERS = READERS + DEAF,
    SIZE = 1000, /* of what is said */
    SOFT = 64 * 1024,
    SOFT_MS = 2000,
    HARD = 256 * 1024,
    ROUNDS = 500, /* one in 20 ms of virtual time */
};

typedef struct talk {
    weir_sim *sim;
    weir_runtime *server, *clients;
    weir_group *group;
    weir_conn_id members[MEMBERS];
    uint32_t heard[READERS];
    unsigned joined, slow, other_ends;
    bool has_calmed; /* from then on ends are the test's own */
} talk;

/* [u16 size][u16 id], and then what makes it the only one. */
typedef struct words {
    uint16_t size, id;
    uint32_t number;
    char text[SIZE - 8];
} words;

static void on_server_open(weir_conn *conn)
{
    talk *t = weir_conn_data(conn);
    cr_assert_eq(weir_group_add(t->group, conn), 0);
    t->joined++;
}

static void on_server_close(weir_conn *conn, weir_reason reason)
{
    talk *t = weir_conn_data(conn);
    if (t->has_calmed) return;
    if (reason.error == WEIR_ESLOW)
        t->slow++;
    else
        t->other_ends++;
}

static void on_client_message(weir_conn *conn, const void *bytes, size_t size)
{
    talk *t = weir_conn_data(conn);
    words said;
    unsigned reader = 0;
    while (reader < READERS && t->members[reader] != weir_conn_get_id(conn)) reader++;
    cr_assert_lt(reader, READERS, "somebody heard who does not read");
    cr_assert_eq(size, sizeof said);
    memcpy(&said, bytes, sizeof said);
    cr_assert_eq(said.number, ++t->heard[reader], "reader %u", reader);
    for (unsigned i = 0; i < sizeof said.text; i++) cr_assert_eq(said.text[i], (char)said.number);
}

static void begin(talk *t, uint64_t seed)
{
    const weir_sim_options network = { .seed = seed,
                                       .latency_us_min = 1000,
                                       .latency_us_max = 40000,
                                       .window = 16 * 1024,
                                       .loss_per_mille = 10,
                                       .partial_per_mille = 200 };
    const weir_outbox_options limits = { .soft_limit = SOFT, .soft_limit_ms = SOFT_MS, .hard_limit = HARD };
    memset(t, 0, sizeof *t);
    cr_assert_eq(weir_sim_create(&t->sim, &network), 0);
    cr_assert_eq(weir_runtime_create(&t->server, &(weir_runtime_options){ .workers = 4, .sim = t->sim }), 0);
    cr_assert_eq(weir_runtime_create(&t->clients, &(weir_runtime_options){ .sim = t->sim }), 0);
    cr_assert_eq(weir_group_create(t->server, &t->group), 0);
    weir_protocol protocol = { .on_open = on_server_open, .on_close = on_server_close, .data = t, .outbox = limits };
    cr_assert_eq(weir_listen(t->server, "10.0.0.1:80", &protocol, NULL, NULL), 0);
    protocol = (weir_protocol){ .on_message = on_client_message, .framing = weir_framing_u16le_packet(), .data = t };
    for (unsigned i = 0; i < MEMBERS; i++) {
        protocol.on_open = i < READERS ? NULL : weir_conn_pause;
        cr_assert_eq(weir_connect(t->clients, "10.0.0.1:80", &protocol, NULL, &t->members[i]), 0);
    }
    cr_assert_eq(weir_sim_advance(t->sim, 20 * S), 0);
    cr_assert_eq(t->joined, MEMBERS);
}

static void say(talk *t, uint32_t number)
{
    words said = { .number = number };
    memset(said.text, (int)(char)number, sizeof said.text);
    weir_buf *buf = weir_buf_packet(1, &said.number, sizeof said - 4);
    cr_assert_eq(weir_group_send(t->group, buf), 0);
    weir_buf_release(buf);
}

/* The hash of all that happened. */
static uint64_t run_talk(uint64_t seed)
{
    static talk t;
    weir_stats stats;
    begin(&t, seed);
    weir_stats_read(t.server, &stats);
    uint64_t before = stats.memory, queued_max = 0;
    for (uint32_t number = 1; number <= ROUNDS; number++) {
        say(&t, number);
        cr_assert_eq(weir_sim_advance(t.sim, 20 * MS), 0);
        weir_stats_read(t.server, &stats);
        cr_assert_leq(stats.queued, DEAF * HARD + READERS * SOFT);
        cr_assert_leq(stats.memory, before + DEAF * HARD);
        if (stats.queued > queued_max) queued_max = stats.queued;
    }
    cr_assert_geq(queued_max, DEAF * SOFT, "the deaf did take what they may");
    cr_assert_eq(weir_sim_advance(t.sim, 60 * S), 0);
    for (unsigned i = 0; i < READERS; i++) cr_assert_eq(t.heard[i], ROUNDS, "seed %u: reader %u", (unsigned)seed, i);
    weir_stats_read(t.server, &stats);
    cr_assert_eq(t.slow, DEAF);
    cr_assert_eq(t.other_ends, 0);
    cr_assert_eq(stats.closed[-WEIR_ESLOW], DEAF);
    cr_assert_eq(stats.sends_dropped, 0, "it was the soft limit");
    cr_assert_eq(stats.connections, READERS);
    cr_assert_eq(stats.queued, 0);
    cr_assert_eq(weir_group_size(t.group), READERS);
    uint64_t hash = weir_sim_trace_hash(t.sim);
    t.has_calmed = true;
    weir_runtime_destroy(t.server);
    weir_runtime_destroy(t.clients);
    weir_sim_destroy(t.sim);
    return hash;
}

Test(chatter_sim, of_200_members_20_never_read_and_are_let_go_and_the_180_lose_nothing_on_a_bad_network, .timeout = 120)
{
    uint64_t hash = run_talk(1);
    cr_assert_neq(run_talk(2), hash);
    cr_assert_eq(run_talk(1), hash);
}
