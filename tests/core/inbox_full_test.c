/* An inbox without room: its sockets stop, its memory is bounded, nothing is lost, and all go on fairly. */
#include "core/logic.h"

#include <stdlib.h>
#include <string.h>

enum {
    READ = 64 * 1024,  /* more than a read takes */
    QUEUED = 17 * 1024 /* what a worker may be queueing beyond max_bytes, with lines as short as these */
};

/* As many numbered lines as somebody takes. */
static void send_until_silent(logic *l, raw_numbers *sender)
{
    uint64_t before = 0;
    for (int silent = 0; silent < 50; silent++) { /* milliseconds without room */
        (void)raw_numbers_send(sender, UINT64_MAX);
        if (sender->next != before) silent = 0;
        before = sender->next;
        cr_assert_lt(before, 20000000, "somebody reads");
        world_turn(&l->w);
    }
}

/* The lines that have been begun, to their end; slowly taken. */
static void send_the_rest(logic *l, raw_numbers *senders, unsigned count, uint64_t until)
{
    uint64_t deadline_ns = wr_os_now_ns() + (uint64_t)RAW_PATIENCE_MS * 1000000;
    for (bool done = false; !done;) {
        done = true;
        for (unsigned i = 0; i < count; i++) done = raw_numbers_send(&senders[i], until) && done;
        for (int i = 0; i < 50 && logic_take(l); i++) continue;
        if (l->w.manual) world_turn(&l->w);
        cr_assert_lt(wr_os_now_ns(), deadline_ns, "it does not go on");
    }
}

Test(inbox_full, sockets_stop_and_go_on)
{
    enum { MAX = 32 * 1024 };
    logic l = { .options.max_bytes = MAX, .numbers = true };
    logic_start(&l);
    raw_numbers sender = { .peer = world_connect(&l.w) };
    send_until_silent(&l, &sender);
    cr_assert_leq(weir_inbox_bytes(l.w.inbox), MAX + QUEUED);
    uint64_t received = world_stats(&l.w).bytes_received;
    cr_assert_leq(received, MAX + READ);
    cr_assert_eq(world_stats(&l.w).inbox_stops, 1);
    WORLD_HOLDS(&l.w, 20, world_stats(&l.w).bytes_received == received);
    uint64_t sent = sender.next;
    send_the_rest(&l, &sender, 1, sent);
    LOGIC_AWAIT(&l, l.messages == sent);
    cr_assert_leq(l.most_bytes, MAX + QUEUED);
    raw_close(sender.peer);
    LOGIC_AWAIT(&l, l.closed == 1);
    cr_assert_eq(l.reason.error, WEIR_EEOF);
    logic_stop(&l);
}

/* Some connections wait at any moment, on each worker. */
Test(inbox_full, many_connections_and_a_slow_logic_thread_lose_nothing, .timeout = 60)
{
    enum { PEERS = 40, LINES = 4000, MAX = 64 * 1024, WORKERS = 2 };
    logic l = { .w.runtime_options.workers = WORKERS, .options.max_bytes = MAX, .numbers = true };
    static raw_numbers senders[PEERS];
    logic_start(&l);
    for (int i = 0; i < PEERS; i++) senders[i].peer = world_connect(&l.w);
    send_the_rest(&l, senders, PEERS, LINES);
    LOGIC_AWAIT(&l, l.messages == PEERS * LINES);
    cr_assert_gt(world_stats(&l.w).inbox_stops, 0, "it was never full"); /* how often depends on who is quicker */
    cr_assert_leq(l.most_bytes, MAX + WORKERS * QUEUED);
    /* Beside the inbox: a connection with its events, tail, socket and slot, and a worker's buffers. */
    cr_assert_leq(l.w.memory.peak, MAX + PEERS * READ + WORKERS * 512 * 1024);
    for (int i = 0; i < PEERS; i++) raw_close(senders[i].peer);
    LOGIC_AWAIT(&l, l.closed == PEERS);
    cr_assert_eq(weir_inbox_bytes(l.w.inbox), 0);
    logic_stop(&l);
}

Test(inbox_full, those_who_wait_go_on_in_turn, .timeout = 60)
{
    enum { PEERS = 8, MAX = 16 * 1024 };
    logic l = { .w.manual = true, .options.max_bytes = MAX, .numbers = true };
    static raw_numbers senders[PEERS];
    logic_start(&l);
    for (int i = 0; i < PEERS; i++) senders[i].peer = world_connect(&l.w);
    for (int round = 0; round < 400; round++) {
        for (int i = 0; i < PEERS; i++) (void)raw_numbers_send(&senders[i], UINT64_MAX);
        world_settle(&l.w);
        logic_drain(&l);
    }
    cr_assert_eq(l.opened, PEERS);
    logic_compare(&l);
    cr_assert_gt(l.least_numbers, l.most_numbers / 2, "%llu of one, %llu of another",
                 (unsigned long long)l.least_numbers, (unsigned long long)l.most_numbers);
    for (int i = 0; i < PEERS; i++) raw_reset(senders[i].peer);
    logic_stop(&l);
}

/* Two senders fill it; `second` then waits for room as well. */
static void fill(logic *l, raw_numbers *first, raw_numbers *second)
{
    first->peer = world_connect(&l->w);
    send_until_silent(l, first);
    second->peer = world_connect(&l->w);
    (void)raw_numbers_send(second, 10);
    WORLD_AWAIT(&l->w, world_stats(&l->w).inbox_stops == 2);
}

Test(inbox_full, no_deadline_ends_a_connection_that_waits_for_room)
{
    logic l = { .options.max_bytes = 8192,
                .protocol = { .idle_timeout_ms = 60, .handshake_timeout_ms = 60 },
                .numbers = true };
    raw_numbers first = { 0 }, second = { 0 };
    logic_start(&l);
    fill(&l, &first, &second);
    WORLD_HOLDS(&l.w, 250, world_closed(&l.w, WEIR_EIDLE) == 0 && world_closed(&l.w, WEIR_EHANDSHAKE) == 0);
    uint64_t sent = first.next;
    send_the_rest(&l, &first, 1, sent);
    LOGIC_AWAIT(&l, l.messages == sent + 10);
    LOGIC_AWAIT(&l, l.closed == 2); /* now they are idle */
    cr_assert_eq(world_closed(&l.w, WEIR_EIDLE), 2);
    raw_close(first.peer);
    raw_close(second.peer);
    logic_stop(&l);
}

Test(inbox_full, a_pause_of_the_embedders_own_stays)
{
    logic l = { .options.max_bytes = 8192, .numbers = true };
    raw_numbers first = { 0 }, second = { 0 };
    logic_start(&l);
    fill(&l, &first, &second);
    cr_assert(logic_take(&l));
    weir_conn_id id = l.id;
    uint64_t queued = world_stats(&l.w).messages_received, sent = first.next;
    world_pause(&l.w, id);
    LOGIC_AWAIT(&l, l.messages == queued + 10); /* what it had, and what the second has */
    WORLD_HOLDS(&l.w, 30, world_stats(&l.w).messages_received == queued + 10);
    world_resume(&l.w, id);
    send_the_rest(&l, &first, 1, sent);
    LOGIC_AWAIT(&l, l.messages == sent + 10);
    raw_close(first.peer);
    raw_close(second.peer);
    LOGIC_AWAIT(&l, l.closed == 2);
    logic_stop(&l);
}

Test(inbox_full, closing_connections_that_wait_says_so_and_frees_them)
{
    logic l = { .options.max_bytes = 8192, .numbers = true };
    raw_numbers first = { 0 }, second = { 0 };
    weir_event event;
    logic_start(&l);
    fill(&l, &first, &second);
    cr_assert(weir_inbox_next(l.w.inbox, &event));
    cr_assert_eq(event.kind, WEIR_EVENT_OPEN);
    cr_assert_eq(weir_abort_id(l.w.runtime, event.conn), 0);
    WORLD_AWAIT(&l.w, world_closed(&l.w, WEIR_EABORTED) == 1);
    uint64_t messages = 0;
    unsigned closed = 0;
    cr_assert_eq(raw_await_end(first.peer), RAW_RESET);
    raw_close(first.peer);
    while (messages < 10) { /* the second's, once what the first left has been taken */
        cr_assert_eq(weir_inbox_wait(l.w.inbox, RAW_PATIENCE_MS), 0);
        cr_assert(weir_inbox_next(l.w.inbox, &event));
        closed += event.kind == WEIR_EVENT_CLOSE;
        messages += closed && event.kind == WEIR_EVENT_MESSAGE;
    }
    cr_assert_eq(closed, 1);
    raw_reset(second.peer);
    world_stop(&l.w);
}

Test(inbox_full, a_runtime_stops_while_connections_wait)
{
    logic l = { .w.runtime_options = { .workers = 2, .stop_timeout_ms = 200 },
                .options.max_bytes = 8192,
                .numbers = true };
    raw_numbers first = { 0 }, second = { 0 };
    logic_start(&l);
    fill(&l, &first, &second);
    logic_stop(&l); /* checks that each OPEN has its CLOSE */
    cr_assert_eq(l.closed, 2);
    cr_assert_eq(l.reason.error, WEIR_ESTOPPED);
    raw_close(first.peer);
    raw_close(second.peer);
}

/* What is left of connections that come and go counts as well. */
Test(inbox_full, those_who_only_come_and_go_wait_outside)
{
    enum { PEERS = 400, MAX = 4096 };
    logic l = { .options.max_bytes = MAX };
    static raw_peer peers[PEERS];
    logic_start(&l);
    for (int i = 0; i < PEERS; i++) {
        peers[i] = world_connect(&l.w);
        raw_close(peers[i]);
    }
    WORLD_HOLDS(&l.w, 150, world_stats(&l.w).accepted < PEERS);
    cr_assert_gt(world_stats(&l.w).accept_pauses, 0);
    LOGIC_AWAIT(&l, l.closed == PEERS);
    cr_assert_eq(l.opened, PEERS);
    logic_stop(&l);
}
