/* WEIR_SLOW_PAUSE: a peer that does not read what it asks for is not heard until it does, and nothing is lost. */
#include <stdlib.h>

#include "core/conn.h"
#include "core/logic.h"
#include "core/world.h"

enum {
    SOFT = 64 * 1024,
    HARD = 256 * 1024,
    LONG_MS = 60000,
    SHORT_MS = 150 * RAW_SLOWDOWN,
    LINE = 1000, /* bytes of a question, and of its answer */
};

static weir_outbox_options limits(uint32_t soft_limit_ms)
{
    return (weir_outbox_options){
        .soft_limit = SOFT, .soft_limit_ms = soft_limit_ms, .hard_limit = HARD, .policy = WEIR_SLOW_PAUSE
    };
}

static void echo(weir_conn *conn, const void *bytes, size_t size)
{
    cr_assert_leq(weir_conn_queued(conn), SOFT, "a message of one who owes more than its limit");
    int error = weir_send(conn, bytes, size);
    cr_assert(error == 0 || error == WEIR_ECLOSED, "%s", weir_error_name(error)); /* after a reset */
}

static weir_protocol echoing(uint32_t soft_limit_ms)
{
    return (weir_protocol){ .on_message = echo, .framing = weir_framing_line(), .outbox = limits(soft_limit_ms) };
}

static void do_nothing(weir_conn *conn)
{
    (void)conn;
}

/* ---- a peer that asks, and reads only when told to ---- */

typedef struct asker {
    raw_peer peer;
    uint64_t asked, read; /* bytes */
} asker;

/* Question `n` is its number in digits, spaces, and a newline: the stream says at each place what must stand there. */
static uint8_t byte_at(uint64_t place)
{
    uint64_t number = place / LINE, column = place % LINE;
    if (column == LINE - 1) return '\n';
    if (column >= 10) return ' ';
    for (uint64_t i = 9; i > column; i--) number /= 10;
    return (uint8_t)('0' + number % 10);
}

/* As much as goes at this moment, up to `until` bytes in all. Whether any went. */
static bool ask_some(asker *a, uint64_t until)
{
    uint8_t bytes[16 * 1024];
    size_t size = sizeof bytes;
    if (size > until - a->asked) size = (size_t)(until - a->asked);
    for (size_t i = 0; i < size; i++) bytes[i] = byte_at(a->asked + i);
    size_t sent = raw_send_some(a->peer, bytes, size);
    cr_assert_neq(sent, SIZE_MAX, "it was disconnected");
    a->asked += sent;
    return sent > 0;
}

/* Until nobody takes any more. */
static void ask_until_stuck(world *w, asker *a)
{
    for (int silent = 0; silent < 100 * RAW_SLOWDOWN; silent++) { /* milliseconds without room */
        while (ask_some(a, UINT64_MAX)) silent = 0;
        cr_assert_lt(a->asked, 64 << 20, "somebody reads");
        world_turn(w);
    }
}

/* Whole questions, until more than the limit stays owed for them. */
static void ask_until_owed(world *w, asker *a)
{
    for (int still = 0; still < 30 * RAW_SLOWDOWN; still++) {
        if (world_stats(w).queued <= SOFT) {
            uint64_t until = a->asked + 16 * LINE; /* which the kernel takes, though nobody reads any more */
            WORLD_AWAIT(w, (ask_some(a, until), a->asked == until));
            still = 0;
        }
        world_turn(w);
    }
}

/* All that is there. */
static void read_some(asker *a)
{
    uint8_t bytes[16 * 1024];
    raw_end end = RAW_OPEN;
    for (size_t size; (size = raw_receive_some(a->peer, bytes, sizeof bytes, &end)) > 0; a->read += size)
        for (size_t i = 0; i < size; i++)
            cr_assert_eq(bytes[i], byte_at(a->read + i), "another byte at %llu", (unsigned long long)(a->read + i));
    cr_assert_eq(end, RAW_OPEN);
}

/* Finishes the question that has been begun, and reads all answers. */
static void read_all(world *w, asker *a)
{
    uint64_t all = (a->asked + LINE - 1) / LINE * LINE;
    WORLD_AWAIT(w, (ask_some(a, all), read_some(a), a->read == all));
    cr_assert_eq(w->message_bytes, all);
}

static asker start_asker(world *w)
{
    world_start(w);
    asker a = { .peer = world_connect_small(w) };
    WORLD_AWAIT(w, w->opened == 1);
    return a;
}

static void end_by_peer(world *w, asker *a)
{
    raw_reset(a->peer);
    WORLD_AWAIT(w, w->closed == 1);
    world_stop(w);
}

/* ---- the pause ---- */

Test(slow_pause, a_peer_that_asks_and_never_reads_is_kept_and_held_back_until_it_reads)
{
    world w = { .protocol = echoing(LONG_MS) };
    asker a = start_asker(&w);
    for (int episode = 0; episode < 3; episode++) {
        ask_until_stuck(&w, &a);
        unsigned messages = w.messages;
        uint64_t received = world_stats(&w).bytes_received;
        WORLD_HOLDS(&w, 50, w.messages == messages && world_stats(&w).bytes_received == received);
        cr_assert_gt(world_queued(&w, w.id), SOFT);
        cr_assert_leq(world_queued(&w, w.id), SOFT + LINE, "the answer that passes the limit is the last one");
        cr_assert_lt(w.message_bytes, a.asked);
        read_all(&w, &a);
    }
    cr_assert_eq(w.closed, 0);
    cr_assert_eq(world_stats(&w).sends_dropped, 0);
    raw_close(a.peer);
    WORLD_AWAIT(&w, w.closed == 1);
    cr_assert_eq(w.error, WEIR_EEOF);
    world_stop(&w);
}

static void answer_at_length(weir_conn *conn, const void *bytes, size_t size)
{
    static char answer[SOFT + 1];
    (void)bytes, (void)size;
    cr_assert_eq(weir_conn_queued(conn), 0, "a message before the answer to the last one has gone");
    cr_assert_eq(weir_send(conn, answer, sizeof answer), 0);
}

Test(slow_pause, each_message_of_one_read_waits_for_the_answer_to_the_last)
{
    enum { QUESTIONS = 20, ALL = QUESTIONS * (SOFT + 1) };
    world w = { .protocol = echoing(LONG_MS) };
    w.protocol.on_message = answer_at_length;
    asker a = start_asker(&w);
    char *got = malloc(ALL);
    raw_send(a.peer, "\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n", QUESTIONS);
    raw_receive(a.peer, got, ALL);
    free(got);
    cr_assert_eq(w.messages, QUESTIONS);
    end_by_peer(&w, &a);
}

Test(slow_pause, the_peers_end_is_told_after_all_that_it_asked_before)
{
    world w = { .protocol = echoing(LONG_MS) };
    w.protocol.on_end = do_nothing;
    asker a = start_asker(&w);
    ask_until_owed(&w, &a);
    uint64_t all = a.asked;
    raw_finish(a.peer);
    WORLD_HOLDS(&w, 50, w.ended == 0 && w.closed == 0);
    WORLD_AWAIT(&w, (read_some(&a), a.read == all));
    WORLD_AWAIT(&w, w.ended == 1);
    cr_assert_eq(w.message_bytes, all);
    world_close(&w, w.id);
    WORLD_AWAIT(&w, w.closed == 1);
    raw_close(a.peer);
    world_stop(&w);
}

Test(slow_pause, a_reset_is_noticed_meanwhile)
{
    world w = { .protocol = echoing(LONG_MS) };
    asker a = start_asker(&w);
    ask_until_stuck(&w, &a);
    end_by_peer(&w, &a);
    cr_assert_neq(w.error, WEIR_ESLOW);
}

Test(slow_pause, it_can_be_closed_meanwhile)
{
    world w = { .protocol = echoing(LONG_MS) };
    w.protocol.close_timeout_ms = LONG_MS;
    asker a = start_asker(&w);
    ask_until_stuck(&w, &a);
    world_close(&w, w.id);
    size_t size;
    cr_assert_eq(raw_receive_all(a.peer, NULL, 0, &size), RAW_FIN);
    cr_assert_eq(size, w.message_bytes);
    raw_close(a.peer);
    WORLD_AWAIT(&w, w.closed == 1);
    cr_assert_eq(w.error, WEIR_ECLOSED);
    world_stop(&w);
}

/* ---- its limits ---- */

Test(slow_pause, one_that_stays_over_its_soft_limit_for_too_long_is_disconnected)
{
    world w = { .protocol = echoing(SHORT_MS) };
    asker a = start_asker(&w);
    uint64_t deadline_ns = wr_os_now_ns() + (uint64_t)RAW_PATIENCE_MS * 1000000;
    while (w.closed == 0) {
        static const char question[LINE] = { [LINE - 1] = '\n' };
        cr_assert_lt(wr_os_now_ns(), deadline_ns);
        if (raw_send_some(a.peer, question, LINE) == 0) world_turn(&w);
    }
    cr_assert_eq(w.error, WEIR_ESLOW);
    cr_assert_eq(world_closed(&w, WEIR_ESLOW), 1);
    cr_assert_eq(world_stats(&w).sends_dropped, 0, "it was not the hard limit");
    cr_assert_eq(raw_await_end(a.peer), RAW_RESET);
    raw_close(a.peer);
    world_stop(&w);
}

Test(slow_pause, a_send_that_would_pass_the_hard_limit_disconnects)
{
    static char large[HARD];
    world w = { .protocol = echoing(LONG_MS) };
    asker a = start_asker(&w);
    ask_until_stuck(&w, &a);
    cr_assert_eq(world_send(&w, w.id, large, HARD - SOFT - 2 * LINE), 0, "there is room for what others send");
    WORLD_HOLDS(&w, 20, w.closed == 0);
    cr_assert_eq(world_send(&w, w.id, large, 4 * LINE), WEIR_ESLOW);
    WORLD_AWAIT(&w, w.closed == 1);
    cr_assert_eq(w.error, WEIR_ESLOW);
    raw_close(a.peer);
    world_stop(&w);
}

Test(slow_pause, so_does_one_of_another_thread)
{
    static char large[HARD + 1];
    world w = { .protocol = echoing(LONG_MS) };
    asker a = start_asker(&w);
    cr_assert_eq(weir_send_to(w.runtime, w.id, large, sizeof large), WEIR_ESLOW);
    WORLD_AWAIT(&w, w.closed == 1);
    cr_assert_eq(w.error, WEIR_ESLOW);
    raw_close(a.peer);
    world_stop(&w);
}

/* ---- deadlines ---- */

Test(slow_pause, the_idle_deadline_rests_meanwhile_and_begins_anew)
{
    world w = { .protocol = echoing(LONG_MS) };
    w.protocol.idle_timeout_ms = SHORT_MS * 2;
    asker a = start_asker(&w);
    ask_until_stuck(&w, &a);
    WORLD_HOLDS(&w, SHORT_MS * 4, w.closed == 0);
    read_all(&w, &a);
    uint64_t start_ns = wr_os_now_ns();
    WORLD_AWAIT(&w, w.closed == 1);
    cr_assert_eq(w.error, WEIR_EIDLE);
    cr_assert_geq((wr_os_now_ns() - start_ns) / 1000000, SHORT_MS);
    raw_close(a.peer);
    world_stop(&w);
}

/* ---- with other reasons not to be heard ---- */

Test(slow_pause, one_that_is_paused_by_its_embedder_too_needs_both_to_be_heard_again)
{
    world w = { .protocol = echoing(LONG_MS) };
    asker a = start_asker(&w);
    ask_until_stuck(&w, &a);
    unsigned messages = w.messages;
    world_pause(&w, w.id);
    world_resume(&w, w.id);
    WORLD_HOLDS(&w, 30, w.messages == messages);
    world_pause(&w, w.id);
    uint64_t answered = w.message_bytes;
    WORLD_AWAIT(&w, (read_some(&a), a.read == answered));
    WORLD_HOLDS(&w, 30, w.messages == messages && world_queued(&w, w.id) == 0);
    world_resume(&w, w.id);
    read_all(&w, &a);
    end_by_peer(&w, &a);
}

static size_t queued_at(const logic *l)
{
    return (size_t)world_stats(&l->w).queued;
}

/* Owes it more than its soft limit: so much as its kernel and the peer's do not take. */
static void owe(logic *l)
{
    static char more[SOFT];
    for (int still = 0; still < 30 * RAW_SLOWDOWN; still++) {
        if (queued_at(l) <= SOFT) {
            cr_assert_eq(world_send(&l->w, l->id, more, sizeof more), 0);
            still = 0;
        }
        world_turn(&l->w);
    }
}

Test(slow_pause, one_that_an_inbox_holds_too_needs_both_to_be_heard_again)
{
    logic l = { .options.max_bytes = 32 * 1024, .numbers = true };
    l.protocol.outbox = limits(LONG_MS);
    logic_start(&l);
    raw_numbers sender = { .peer = world_connect_small(&l.w) };
    LOGIC_AWAIT(&l, l.opened == 1);
    while (world_stats(&l.w).inbox_stops == 0) {
        (void)raw_numbers_send(&sender, UINT64_MAX);
        world_turn(&l.w);
    }
    owe(&l);
    uint64_t sent = sender.next;
    LOGIC_AWAIT(&l, weir_inbox_bytes(l.w.inbox) == 0);
    uint64_t taken = l.messages, received = world_stats(&l.w).bytes_received;
    /* Nothing comes, unless the kernel takes more of what it is owed after all. */
    WORLD_HOLDS(&l.w, 30,
                (weir_inbox_bytes(l.w.inbox) == 0 && world_stats(&l.w).bytes_received == received) ||
                    queued_at(&l) <= SOFT);
    cr_assert_lt(taken, sent);
    char junk[4096];
    raw_end end;
    LOGIC_AWAIT(&l, (raw_receive_some(sender.peer, junk, sizeof junk, &end), raw_numbers_send(&sender, sent),
                     l.messages == sent));
    raw_reset(sender.peer);
    LOGIC_AWAIT(&l, l.closed == 1);
    logic_stop(&l);
}

/* ---- bytes of other threads ---- */

typedef struct change {
    world *w;
    weir_conn_id id;
    uint32_t plus, minus;
} change;

/* As weir_send_to does, and then finds no memory; or as it did for the last connection in this slot. */
static void change_reserved(void *data)
{
    const change *c = data;
    weir_conn *conn = world_conn(c->w, c->id);
    atomic_fetch_add(&conn->slot->shared.queued, c->plus);
    atomic_fetch_sub(&conn->slot->shared.queued, c->minus);
}

static void reserve(world *w, uint32_t bytes)
{
    world_run(w, 0, change_reserved, &(change){ .w = w, .id = w->id, .plus = bytes });
}

static void give_back(world *w, uint32_t bytes)
{
    world_run(w, 0, change_reserved, &(change){ .w = w, .id = w->id, .minus = bytes });
}

static void echo_anyway(weir_conn *conn, const void *bytes, size_t size)
{
    cr_assert_eq(weir_send(conn, bytes, size), 0);
}

Test(slow_pause, what_other_threads_have_queued_keeps_no_peer_unheard_that_has_read_all)
{
    world w = { .protocol = echoing(LONG_MS) };
    w.protocol.on_message = echo_anyway;
    asker a = start_asker(&w);
    reserve(&w, SOFT + 1);
    for (int i = 1; i <= 20; i++) {
        WORLD_AWAIT(&w, (ask_some(&a, (uint64_t)i * LINE), a.asked == (uint64_t)i * LINE));
        read_all(&w, &a); /* over its limit from its answer on, until that has gone */
    }
    give_back(&w, SOFT + 1); /* and never comes */
    WORLD_AWAIT(&w, (ask_some(&a, 21 * LINE), a.asked == 21 * LINE));
    read_all(&w, &a);
    end_by_peer(&w, &a);
}

/* Until a few bytes stay here, but not too many. */
static void owe_little(world *w)
{
    static char some[SOFT / 4];
    for (int still = 0; still < 30 * RAW_SLOWDOWN; still++) {
        if (world_queued(w, w->id) == 0) {
            cr_assert_eq(world_send(w, w->id, some, sizeof some), 0);
            still = 0;
        }
        world_turn(w);
    }
}

static void be_over_by_others(weir_slow_policy policy)
{
    world w = { .protocol = { .framing = weir_framing_line(), .outbox = limits(SHORT_MS) } };
    w.protocol.outbox.policy = policy;
    asker a = start_asker(&w);
    owe_little(&w);
    cr_assert_leq(world_queued(&w, w.id), SOFT / 4);
    reserve(&w, SOFT);
    cr_assert_eq(world_send(&w, w.id, "x", 1), 0); /* and is over it */
    raw_send(a.peer, "hear me\n", 8);
    if (policy == WEIR_SLOW_PAUSE) WORLD_HOLDS(&w, 20, w.messages == 0);
    give_back(&w, SOFT);
    WORLD_HOLDS(&w, SHORT_MS * 2, w.closed == 0);
    WORLD_AWAIT(&w, w.messages == 1);
    end_by_peer(&w, &a);
}

/* Though no send came to its end, and nothing was told. */
Test(slow_pause, one_that_was_over_by_what_never_came_is_heard_again_and_stays)
{
    be_over_by_others(WEIR_SLOW_PAUSE);
    be_over_by_others(WEIR_SLOW_DISCONNECT);
}
