/* The bots believe nothing: each lie of a server is a violation. The server here is the test's own. */
#include "bots.h"
#include "harness/weir_test.h"
#include <weir/sim.h>

#define ADDRESS "10.0.0.1:7777"
#define SECOND  UINT64_C(1000000000)

/* Plays to a JOIN what a good server says, and then what the test wants; nothing to all else. */
static const struct packet *lie;
static unsigned lies_left;

static void say(weir_conn *conn, const struct packet *packet)
{
    weir_buf *buf = packet_write(packet);
    weir_send_buf(conn, buf);
    weir_buf_release(buf);
}

static void on_message(weir_conn *conn, const void *bytes, size_t size)
{
    struct packet packet;
    cr_assert(packet_read(&packet, bytes, size));
    if (packet.id != PACKET_JOIN) return;
    const struct packet welcome = { .id = PACKET_WELCOME, .as.welcome = { .hz = 30, .tick = 7, .player = 2 } };
    const struct packet whole = { .id = PACKET_SNAPSHOT,
                                  .as.snapshot = {
                                      .tick = 7, .whole = true, .record_count = 1, .records = { { 2, 0, 0, 0 } } } };
    say(conn, &welcome);
    say(conn, &whole);
    for (; lies_left > 0; lies_left--) say(conn, lie++);
}

static struct bots_result play(const struct packet *lies, unsigned count, uint64_t seconds)
{
    struct bots_result result;
    const weir_protocol protocol = { .on_message = on_message, .framing = weir_framing_u16le_packet() };
    const struct bots_options options = { .address = ADDRESS, .bots = 1, .rooms = 1, .rate = 100, .seconds = 3 };
    weir_sim *sim = NULL;
    weir_runtime *runtime = NULL, *liar = NULL;
    struct bots *bots = NULL;
    lie = lies;
    lies_left = count;
    cr_assert_eq(weir_sim_create(&sim, NULL), 0);
    cr_assert_eq(weir_runtime_create(&liar, &(weir_runtime_options){ .sim = sim }), 0);
    cr_assert_eq(weir_runtime_create(&runtime, &(weir_runtime_options){ .sim = sim }), 0);
    cr_assert_eq(weir_listen(liar, ADDRESS, &protocol, NULL, NULL), 0);
    cr_assert_eq(bots_open(&bots, runtime, &options), 0);
    cr_assert_eq(weir_sim_run(sim, seconds * SECOND), 0);
    weir_runtime_destroy(runtime);
    weir_runtime_destroy(liar);
    weir_sim_destroy(sim);
    bots_judge(bots, &result);
    bots_free(bots);
    return result;
}

static void expect_violation(const struct packet *lies, unsigned count)
{
    struct bots_result result = play(lies, count, 10);
    cr_expect_eq(result.violations, 1, "%u", (unsigned)result.violations);
}

/* The whole snapshot above builds on this. */
#define DELTA(...)                                            \
    {                                                         \
        .id = PACKET_SNAPSHOT, .as.snapshot = { __VA_ARGS__ } \
    }
#define TEXT(string)                                  \
    {                                                 \
        (const uint8_t *)(string), sizeof(string) - 1 \
    }

Test(bots, are_content_with_a_server_that_keeps_its_word)
{
    const struct packet fine[] = { DELTA(.tick = 8),
                                   DELTA(.tick = 9),
                                   { .id = PACKET_SAID, .as.said = { 1, 2, TEXT("an admin speaks") } } };
    struct bots_result result = play(fine, 3, 10);
    cr_assert_eq(result.violations, 0);
    cr_assert_eq(result.tally.snapshots, 3);
    cr_assert_eq(result.tally.heard, 1);
}

Test(bots, notice_a_tick_that_is_missing)
{
    const struct packet whole[] = { DELTA(.tick = 9, .whole = true, .record_count = 1, .records = { { 2, 0, 0, 0 } }) };
    expect_violation(whole, 1);
    const struct packet delta[] = { DELTA(.tick = 9) };
    struct bots_result result = play(delta, 1, 10);
    cr_assert_eq(result.violations, 2, "it can make no sense of it either");
}

Test(bots, notice_that_they_stand_elsewhere_than_their_steps_have_led)
{
    const struct packet moved[] = { DELTA(.tick = 8, .record_count = 1, .records = { { 2, 0, 9, 9 } }) };
    expect_violation(moved, 1);
    const struct packet early[] = { DELTA(.tick = 8, .record_count = 1, .records = { { 2, 200, 0, 0 } }) };
    expect_violation(early, 1); /* acknowledges steps that were not made */
}

Test(bots, notice_that_they_are_not_in_their_room)
{
    const struct packet gone[] = { DELTA(.tick = 8, .gone_count = 1, .gone = { 2 }) };
    expect_violation(gone, 1);
    const struct packet other[] = { DELTA(.tick = 8, .gone_count = 1, .gone = { 77 }) };
    expect_violation(other, 1); /* who was never there has gone */
}

Test(bots, notice_a_text_that_is_lost_or_out_of_order)
{
    const struct packet lost[] = { { .id = PACKET_SAID, .as.said = { 2, 2, TEXT("x") } } };
    expect_violation(lost, 1);
    const struct packet nobody[] = { { .id = PACKET_SAID, .as.said = { 1, 3, TEXT("x") } } };
    expect_violation(nobody, 1);
    const struct packet swapped[] = {
        DELTA(.tick = 8, .record_count = 1, .records = { { 3, 0, 0, 0 } }),
        { .id = PACKET_SAID, .as.said = { 1, 3, TEXT("bot 5 says 8") } },
        { .id = PACKET_SAID, .as.said = { 2, 3, TEXT("bot 5 says 7") } },
    };
    expect_violation(swapped, 3);
    const struct packet own[] = { { .id = PACKET_SAID, .as.said = { 1, 2, TEXT("bot 0 says 4") } } };
    expect_violation(own, 1); /* it has said no such thing */
}

Test(bots, notice_a_pong_that_answers_nothing)
{
    const struct packet pong[] = { { .id = PACKET_PONG, .as.time_ns = 5 } };
    expect_violation(pong, 1);
}

Test(bots, notice_what_a_server_does_not_say)
{
    const struct packet ping[] = { { .id = PACKET_PING } };
    expect_violation(ping, 1);
    const struct packet again[] = { { .id = PACKET_WELCOME, .as.welcome = { .hz = 30, .tick = 7, .player = 2 } } };
    expect_violation(again, 1);
    const struct packet other[] = { { .id = PACKET_WELCOME,
                                      .as.welcome = { .room = 3, .hz = 30, .tick = 7, .player = 2 } } };
    struct bots_result result = play(other, 1, 10);
    cr_assert_eq(result.violations, 2, "the second welcome, and another room than it asked for");
}

Test(bots, notice_that_they_were_let_go)
{
    const struct packet goodbye[] = { { .id = PACKET_GOODBYE, .as.why = GOODBYE_CHEATING } };
    expect_violation(goodbye, 1);
}

/* Behind the whole snapshot it says nothing more, for longer than a bot waits. */
Test(bots, notice_a_server_that_falls_silent)
{
    const weir_protocol protocol = { .on_message = on_message, .framing = weir_framing_u16le_packet() };
    const struct bots_options options = { .address = ADDRESS, .bots = 1, .rooms = 1, .rate = 100, .seconds = 60 };
    struct bots_result result;
    weir_sim *sim = NULL;
    weir_runtime *runtime = NULL;
    struct bots *bots = NULL;
    cr_assert_eq(weir_sim_create(&sim, NULL), 0);
    cr_assert_eq(weir_runtime_create(&runtime, &(weir_runtime_options){ .sim = sim }), 0);
    cr_assert_eq(weir_listen(runtime, ADDRESS, &protocol, NULL, NULL), 0);
    cr_assert_eq(bots_open(&bots, runtime, &options), 0);
    cr_assert_eq(weir_runtime_run(runtime), 0);
    weir_runtime_destroy(runtime);
    weir_sim_destroy(sim);
    bots_judge(bots, &result);
    bots_free(bots);
    cr_assert_eq(result.dropped, 1);
    cr_assert_eq(result.violations, 1);
}

Test(bots, notice_that_there_is_no_server)
{
    const struct bots_options options = { .address = ADDRESS, .bots = 3, .rooms = 1, .rate = 100, .seconds = 1 };
    struct bots_result result;
    weir_sim *sim = NULL;
    weir_runtime *runtime = NULL;
    struct bots *bots = NULL;
    cr_assert_eq(weir_sim_create(&sim, NULL), 0);
    cr_assert_eq(weir_runtime_create(&runtime, &(weir_runtime_options){ .sim = sim }), 0);
    cr_assert_eq(bots_open(&bots, runtime, &options), 0);
    cr_assert_eq(weir_runtime_run(runtime), 0, "it stops when all are lost");
    weir_runtime_destroy(runtime);
    weir_sim_destroy(sim);
    bots_judge(bots, &result);
    bots_free(bots);
    cr_assert_eq(result.dropped, 3);
    cr_assert_eq(result.violations, 4, "and never were all in their rooms");
}
