/* The arena's server among bots that play by the rules and visitors that do not: whatever one of them does, the others
 * lose nothing (hall_close asks the bots), and each who is let go is told why. */
#include "hall.h"
#include "metrics.h"
#include <stdlib.h>
#include <string.h>

/* ---- playing ---- */

Test(server, welcomes_a_player_and_tells_it_of_each_tick)
{
    struct hall hall = { .bot_count = 6 };
    struct visitor visitor = { 0 };
    hall_open(&hall);
    visitor_join(&hall, &visitor, 1);
    cr_assert_eq(visitor.welcome.room, 1);
    cr_assert_eq(visitor.welcome.hz, 30);
    hall_run(&hall, 2000);
    cr_assert_eq(visitor.wholes, 1, "right behind the welcome");
    cr_assert_geq(visitor.snapshots, 59);
    cr_assert_eq(visitor.view.tick, visitor.welcome.tick + visitor.snapshots - 1);
    unsigned players = 0;
    for (unsigned i = 0; i < PLAYERS_MAX; i++) players += visitor.view.here[i];
    cr_assert_eq(players, 4, "three bots, and the visitor");
    cr_assert_geq(visitor.saids, 2);
    hall_close(&hall);
}

Test(server, answers_a_ping_also_before_the_join)
{
    struct hall hall = { 0 };
    struct visitor visitor = { 0 };
    hall_open(&hall);
    visitor_connect(&hall, &visitor);
    visitor_send(&hall, &visitor, &(struct packet){ .id = PACKET_PING, .as.time_ns = 12345 });
    hall_run(&hall, 100);
    cr_assert_eq(visitor.pongs, 1);
    cr_assert_eq(visitor.time_ns, 12345);
    hall_close(&hall);
}

Test(server, lets_nobody_speak_faster_than_a_room_can_listen)
{
    struct hall hall = { .bot_count = 2 };
    struct visitor visitor = { 0 };
    hall_open(&hall);
    visitor_join(&hall, &visitor, 0);
    for (int i = 0; i < 50; i++) visitor_say(&hall, &visitor, "buy gold");
    hall_run(&hall, 100);
    cr_assert_leq(visitor.saids, CHATS_SAVED + 1, "the bot in the room may have spoken too");
    cr_assert_geq(HALL_COUNTED(&hall, chats_rejected), 50 - CHATS_SAVED);
    cr_assert_eq(visitor.goodbye, -1);
    hall_close(&hall);
}

/* ---- cheating ---- */

Test(server, lets_a_cheat_stand_where_it_is)
{
    struct hall hall = { .bot_count = 2 };
    struct visitor visitor = { 0 };
    hall_open(&hall);
    visitor_join(&hall, &visitor, 0);
    hall_run(&hall, 50);
    struct record before = visitor.view.records[visitor.welcome.player];
    for (uint32_t i = 1; i <= 5; i++) visitor_step(&hall, &visitor, i, 30000, 30000);
    hall_run(&hall, 100);
    struct record after = visitor.view.records[visitor.welcome.player];
    cr_assert_eq(after.input, 5);
    cr_assert_eq(after.x, before.x);
    cr_assert_eq(after.y, before.y);
    cr_assert_eq(HALL_COUNTED(&hall, inputs_rejected), 5);
    cr_assert_eq(visitor.goodbye, -1);
    hall_close(&hall);
}

Test(server, lets_go_who_cheats_again_and_again)
{
    struct hall hall = { .bot_count = 2 };
    struct visitor visitor = { 0 };
    hall_open(&hall);
    visitor_join(&hall, &visitor, 0);
    for (uint32_t i = 1; i <= 100; i++)
        visitor_step(&hall, &visitor, i, 30000, 0); /* the last ones come after the end */
    hall_run(&hall, 1000);
    cr_assert_eq(visitor.goodbye, GOODBYE_CHEATING);
    cr_assert_eq(visitor.error, WEIR_EEOF);
    cr_assert_eq(HALL_COUNTED(&hall, goodbyes[GOODBYE_CHEATING]), 1);
    cr_assert_eq(HALL_COUNTED(&hall, inputs_rejected), CHEATS_MAX + 1);
    cr_assert_eq(server_players(hall.server), 2);
    hall_close(&hall);
}

Test(server, lets_go_who_runs_ahead_of_the_ticks)
{
    struct hall hall = { .bot_count = 2 };
    struct visitor visitor = { 0 };
    hall_open(&hall);
    visitor_join(&hall, &visitor, 0);
    for (uint32_t i = 1; i <= 200; i++) visitor_step(&hall, &visitor, i, 1, 1);
    hall_run(&hall, 1000);
    cr_assert_eq(visitor.goodbye, GOODBYE_CHEATING);
    hall_close(&hall);
}

/* ---- what is not of the protocol ---- */

/* Sends these bytes, after the join or without; they are the end. */
static void expect_malformed(struct hall *hall, bool joins, const void *bytes, size_t size)
{
    struct visitor visitor = { 0 };
    uint64_t before = HALL_COUNTED(hall, goodbyes[GOODBYE_MALFORMED]);
    visitor_connect(hall, &visitor);
    if (joins) visitor_join(hall, &visitor, 0);
    visitor_send_bytes(hall, &visitor, bytes, size);
    hall_run(hall, 1000);
    cr_expect_eq(visitor.goodbye, GOODBYE_MALFORMED);
    cr_expect_eq(visitor.error, WEIR_EEOF);
    cr_expect_eq(HALL_COUNTED(hall, goodbyes[GOODBYE_MALFORMED]), before + 1);
}

#define MALFORMED_AFTER(joins, ...)                            \
    do {                                                       \
        const uint8_t packet[] = { __VA_ARGS__ };              \
        expect_malformed(&hall, joins, packet, sizeof packet); \
    } while (0)

Test(server, lets_go_who_sends_what_is_not_of_the_protocol)
{
    struct hall hall = { .bot_count = 2 };
    hall_open(&hall);
    MALFORMED_AFTER(false, 4, 0, 0, 0);
    MALFORMED_AFTER(false, 7, 0, PACKET_JOIN, 0, 1, 0, 0);
    MALFORMED_AFTER(false, 5, 0, PACKET_CHAT, 0, 'x');                      /* who has not joined */
    MALFORMED_AFTER(false, 12, 0, PACKET_INPUT, 0, 1, 0, 0, 0, 1, 0, 1, 0); /* likewise */
    MALFORMED_AFTER(true, 8, 0, PACKET_JOIN, 0, PROTOCOL_VERSION, 0, 0, 0); /* a second time */
    MALFORMED_AFTER(true, 12, 0, PACKET_INPUT, 0, 7, 0, 0, 0, 1, 0, 1, 0);  /* not its first step */
    MALFORMED_AFTER(true, 6, 0, PACKET_CHAT, 0, 'x', '\n');
    MALFORMED_AFTER(true, 6, 0, PACKET_CLOSING, 0, 1, 0); /* what only a server says */
    cr_assert_eq(server_players(hall.server), 2);
    hall_close(&hall);
}

Test(server, resets_who_announces_more_than_any_packet_holds)
{
    struct hall hall = { .bot_count = 2 };
    struct visitor visitor = { 0 };
    hall_open(&hall);
    visitor_join(&hall, &visitor, 0);
    visitor_send_bytes(&hall, &visitor, "\xff\xff\x03\x00", 4);
    hall_run(&hall, 1000);
    cr_assert(visitor.has_ended);
    weir_stats stats;
    weir_stats_read(hall.server_runtime, &stats);
    cr_assert_eq(stats.closed[-WEIR_EMSGSIZE], 1);
    cr_assert_eq(server_players(hall.server), 2);
    hall_close(&hall);
}

Test(server, tells_who_cannot_join_why)
{
    struct hall hall = { .options = { .rooms = 1, .room_size = 2 }, .bot_count = 2 };
    struct visitor old = { 0 }, lost = { 0 }, late = { 0 };
    hall_open(&hall);
    visitor_connect(&hall, &old);
    visitor_send(&hall, &old, &(struct packet){ .id = PACKET_JOIN, .as.join.version = PROTOCOL_VERSION + 1 });
    visitor_join(&hall, &lost, 1);
    visitor_join(&hall, &late, 0);
    hall_run(&hall, 1000);
    cr_assert_eq(old.goodbye, GOODBYE_VERSION);
    cr_assert_eq(lost.goodbye, GOODBYE_NO_ROOM);
    cr_assert_eq(late.goodbye, GOODBYE_FULL);
    cr_assert(old.has_ended && lost.has_ended && late.has_ended);
    hall_close(&hall);
}

/* ---- the silent and the slow ---- */

Test(server, lets_go_who_does_nothing_although_it_is_there)
{
    struct hall hall = { .options.idle_s = 3, .bot_count = 2 };
    struct visitor visitor = { 0 };
    hall_open(&hall);
    visitor_join(&hall, &visitor, 0);
    for (int s = 0; s < 5; s++) {
        if (!visitor.has_ended) visitor_send(&hall, &visitor, &(struct packet){ .id = PACKET_PING, .as.time_ns = 1 });
        hall_run(&hall, 1000);
    }
    cr_assert_eq(visitor.goodbye, GOODBYE_IDLE);
    cr_assert(visitor.has_ended);
    cr_assert_eq(server_players(hall.server), 2);
    hall_close(&hall);
}

Test(server, notices_who_never_says_a_word)
{
    struct hall hall = { .options.idle_s = 3, .bot_count = 2 };
    struct visitor visitor = { 0 };
    hall_open(&hall);
    visitor_connect(&hall, &visitor);
    hall_run(&hall, 6000);
    cr_assert(visitor.has_ended);
    hall_close(&hall);
}

/* The network takes 4 KiB for each; a room of 20 that all walk sends 4 KB a second. */
Test(server, lets_go_who_never_reads_and_the_others_lose_nothing)
{
    struct hall hall = { .network.window = 4096,
                         .options = { .rooms = 1,
                                      .idle_s = 60,
                                      .outbox = { .soft_limit = 4096, .soft_limit_ms = 2000, .hard_limit = 8192 } },
                         .bot_count = 20 };
    struct visitor deaf = { .is_deaf = true };
    hall_open(&hall);
    visitor_join(&hall, &deaf, 0);
    hall_run(&hall, 8000);
    weir_stats stats;
    weir_stats_read(hall.server_runtime, &stats);
    cr_assert_eq(stats.closed[-WEIR_ESLOW], 1);
    cr_assert_eq(server_players(hall.server), 20);
    hall_close(&hall);
}

/* ---- closing ---- */

Test(server, tells_all_before_it_closes_and_lets_nobody_in)
{
    struct hall hall = { .bot_count = 10 };
    struct visitor player = { 0 }, guest = { 0 }, late = { 0 };
    hall_open(&hall);
    visitor_join(&hall, &player, 0);
    visitor_connect(&hall, &guest); /* does not join */
    server_drain(hall.server, 3);
    server_drain(hall.server, 60); /* too late to choose */
    hall_run(&hall, 100);
    cr_assert_eq(player.closings, 1);
    cr_assert_eq(player.seconds_left, 3);
    visitor_join(&hall, &late, 1);
    cr_assert_eq(late.goodbye, GOODBYE_CLOSING);
    unsigned before = player.snapshots;
    hall_run(&hall, 2000);
    cr_assert_geq(player.snapshots, before + 58, "the game goes on");
    cr_assert(!player.has_ended);
    hall_run(&hall, 2000);
    cr_assert(player.has_ended && guest.has_ended);
    cr_assert_eq(player.goodbye, GOODBYE_CLOSING);
    cr_assert_eq(guest.goodbye, GOODBYE_CLOSING);
    cr_assert(bots_ended(hall.bots));
    cr_assert_eq(weir_runtime_run(hall.server_runtime), 0, "it has stopped");
    hall_close(&hall);
}

Test(server, that_closes_does_not_wait_when_all_have_left)
{
    struct hall hall = { 0 };
    struct visitor visitor = { 0 };
    hall_open(&hall);
    visitor_join(&hall, &visitor, 0);
    server_drain(hall.server, 3600);
    hall_run(&hall, 500);
    cr_assert_eq(visitor.closings, 1);
    cr_assert(!visitor.has_ended);
    cr_assert_eq(weir_close_id(hall.clients, visitor.id), 0);
    hall_run(&hall, 500);
    cr_assert_eq(weir_runtime_run(hall.server_runtime), 0);
    hall_close(&hall);
}

/* ---- when something runs out ---- */

/* Each of the first allocations after the game has begun fails, one a run: a player may be lost, or miss a snapshot and
 * be repaired by a whole one, but the room goes on, takes all in again, and closes in good order. */
struct shortage {
    uint64_t from; /* 0: not yet */
    uint64_t number;
    bool is_armed, has_happened;
};

static bool is_short(weir_sim_fault fault, uint64_t number, void *data)
{
    struct shortage *shortage = data;
    if (fault != WEIR_SIM_ENOMEM || !shortage->is_armed) return false;
    if (shortage->from == 0) shortage->from = number;
    if (number != shortage->from + shortage->number) return false;
    return shortage->has_happened = true;
}

Test(server, outlives_any_allocation_that_fails, .timeout = 120)
{
    uint64_t happened = 0, unsent = 0, busy = 0;
    for (uint64_t number = 0; number < 120; number++) {
        struct shortage shortage = { .number = number };
        struct hall hall = { .network = { .script = is_short, .script_data = &shortage },
                             .options.idle_s = 3,
                             .bot_count = 6,
                             .bots_rejoin = true };
        struct visitor visitor = { 0 };
        hall_open(&hall);
        visitor_connect(&hall, &visitor);
        visitor_send(&hall, &visitor, &(struct packet){ .id = PACKET_JOIN, .as.join.version = PROTOCOL_VERSION });
        shortage.is_armed = true;
        hall_run(&hall, 3000);
        shortage.is_armed = false;
        hall_run(&hall, 5000);
        cr_assert_eq(bots_playing(hall.bots), 6, "allocation %u", (unsigned)number);
        cr_assert_eq(server_players(hall.server), 6);
        happened += shortage.has_happened;
        unsent += HALL_COUNTED(&hall, broadcasts_failed);
        busy += HALL_COUNTED(&hall, goodbyes[GOODBYE_BUSY]);
        server_drain(hall.server, 1);
        hall_run(&hall, 3000);
        cr_assert(bots_ended(hall.bots));
        hall_close(&hall);
    }
    cr_assert_gt(happened, 100);
    cr_assert_gt(unsent, 0);
    cr_assert_gt(busy, 0);
}

Test(server, refuses_an_address_with_the_reason)
{
    weir_failure failure = { 0 };
    struct server *server = NULL;
    weir_runtime *runtime = NULL;
    struct server_options options = { .address = "nowhere", .rooms = 1, .room_size = 1, .hz = 1, .failure = &failure };
    cr_assert_eq(weir_runtime_create(&runtime, &(weir_runtime_options){ .workers = 1 }), 0);
    cr_assert_eq(server_open(&server, runtime, &options), WEIR_EADDRESS);
    cr_assert_neq(failure.text[0], 0);
    weir_runtime_destroy(runtime);
    server_free(server);
    cr_assert_eq(weir_runtime_create(&runtime, &(weir_runtime_options){ .workers = 1 }), 0);
    options.address = "127.0.0.1:0";
    options.metrics = "nowhere either";
    cr_assert_eq(server_open(&server, runtime, &options), WEIR_EADDRESS);
    weir_runtime_destroy(runtime);
    server_free(server);
}

/* ---- watching ---- */

struct page {
    char text[64 << 10];
    size_t size;
    bool has_ended;
};

static void ask(weir_conn *conn)
{
    weir_send(conn, "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n", 34);
}

static void take_page(weir_conn *conn, const void *bytes, size_t size)
{
    struct page *page = weir_conn_data(conn);
    cr_assert_lt(page->size + size, sizeof page->text);
    memcpy(page->text + page->size, bytes, size);
    page->size += size;
}

static void end_page(weir_conn *conn, weir_reason reason)
{
    struct page *page = weir_conn_data(conn);
    cr_expect_eq(reason.error, WEIR_EEOF);
    page->has_ended = true;
}

Test(server, serves_its_counters_and_weirs)
{
    static struct page page;
    struct hall hall = { .options.metrics = "10.0.0.1:9100", .bot_count = 6 };
    const weir_protocol protocol = { .on_open = ask, .on_message = take_page, .on_close = end_page, .data = &page };
    hall_open(&hall);
    cr_assert_eq(weir_connect(hall.clients, "10.0.0.1:9100", &protocol, NULL, NULL), 0);
    hall_run(&hall, 1000);
    cr_assert(page.has_ended);
    cr_assert_eq(strncmp(page.text, "HTTP/1.0 200 OK\r\n", 17), 0);
    cr_assert_not_null(strstr(page.text, "\narena_players 6\n"));
    cr_assert_not_null(strstr(page.text, "\narena_joined_total 6\n"));
    cr_assert_not_null(strstr(page.text, "\narena_goodbyes_total{reason=\"CLOSING\"} 0\n"));
    cr_assert_not_null(strstr(page.text, "\nweir_ticks_total{worker=\"0\"} "));
    hall_close(&hall);
}
