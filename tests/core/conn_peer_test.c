/* How a connection ends from the peer's side: half-close, close and reset, in each of its states. */
#include <stdlib.h>

#include "core/world.h"

enum {
    LONG_MS = 60000,
    LARGE = 4 << 20, /* more than the kernel's buffers of both sides take */
};

static const weir_outbox_options ROOM = { .soft_limit = 64 << 20, .hard_limit = 64 << 20 };

static char *large(void)
{
    char *bytes = malloc(LARGE);
    cr_assert_not_null(bytes);
    world_fill(bytes, LARGE, 2);
    return bytes;
}

/* ---- half-close ---- */

static void answer_with_much(weir_conn *conn, const void *bytes, size_t size)
{
    (void)bytes, (void)size;
    cr_assert_eq(weir_send(conn, world_data(conn), LARGE), 0);
}

Test(conn_peer, what_is_owed_still_arrives_after_a_half_close)
{
    char *bytes = large(), *got = malloc(LARGE);
    world w = { .protocol = { .framing = weir_framing_line(),
                              .on_message = answer_with_much,
                              .data = bytes,
                              .outbox = ROOM,
                              .close_timeout_ms = LONG_MS } };
    size_t size;
    world_start(&w);
    raw_peer peer = world_connect_small(&w);
    raw_send(peer, "give\n", 5);
    raw_finish(peer);
    cr_assert_eq(raw_receive_all(peer, got, LARGE, &size), RAW_FIN);
    cr_assert_eq(size, LARGE);
    cr_assert_arr_eq(got, bytes, LARGE);
    WORLD_AWAIT(&w, w.closed == 1); /* at once: the peer has ended already, though it has not closed */
    cr_assert_eq(w.error, WEIR_EEOF);
    raw_close(peer);
    world_stop(&w);
    free(got);
    free(bytes);
}

static void do_nothing(weir_conn *conn)
{
    (void)conn;
}

Test(conn_peer, on_end_keeps_the_connection_for_later_sends)
{
    world w = { .protocol = { .framing = weir_framing_line(),
                              .on_end = do_nothing,
                              .handshake_timeout_ms = 50,
                              .idle_timeout_ms = 50, /* nothing can be received any more */
                              .close_timeout_ms = LONG_MS },
                .keeps = true };
    char got[8];
    world_start(&w);
    raw_peer peer = world_connect(&w);
    raw_send(peer, "last\n", 5);
    raw_finish(peer);
    WORLD_AWAIT(&w, w.ended == 1);
    cr_assert_eq(w.messages, 1, "what came before the end is told before it");
    WORLD_HOLDS(&w, 150, w.closed == 0);
    for (int i = 0; i < 3; i++) {
        cr_assert_eq(world_send(&w, w.id, "still", 5), 0);
        raw_receive(peer, got, 5);
        cr_assert_arr_eq(got, "still", 5);
    }
    world_close(&w, w.id);
    cr_assert_eq(raw_await_end(peer), RAW_FIN);
    WORLD_AWAIT(&w, w.closed == 1);
    cr_assert_eq(w.error, WEIR_ECLOSED);
    cr_assert_eq(w.ended, 1);
    raw_close(peer);
    world_stop(&w);
}

Test(conn_peer, after_the_end_no_first_message_is_waited_for)
{
    world w = { .protocol = { .framing = weir_framing_line(), .on_end = do_nothing, .handshake_timeout_ms = 100 } };
    world_start(&w);
    raw_peer peer = world_connect(&w);
    raw_finish(peer);
    WORLD_AWAIT(&w, w.ended == 1);
    WORLD_HOLDS(&w, 250, w.closed == 0);
    world_close(&w, w.id);
    WORLD_AWAIT(&w, w.closed == 1);
    cr_assert_eq(w.error, WEIR_ECLOSED);
    raw_close(peer);
    world_stop(&w);
}

static void close_at_end(weir_conn *conn)
{
    cr_assert_eq(weir_send(conn, "bye", 3), 0);
    weir_close(conn);
}

static void abort_at_end(weir_conn *conn)
{
    weir_abort(conn);
}

Test(conn_peer, on_end_may_close_or_abort)
{
    world w = { .protocol = { .on_end = close_at_end, .close_timeout_ms = LONG_MS } };
    char got[8];
    size_t size;
    world_start(&w);
    raw_peer peer = world_connect(&w);
    raw_finish(peer);
    cr_assert_eq(raw_receive_all(peer, got, sizeof got, &size), RAW_FIN);
    cr_assert_eq(size, 3);
    WORLD_AWAIT(&w, w.closed == 1);
    cr_assert_eq(w.error, WEIR_ECLOSED);
    raw_close(peer);
    world_stop(&w);

    world x = { .protocol = { .on_end = abort_at_end } };
    world_start(&x);
    peer = world_connect(&x);
    raw_finish(peer);
    raw_end end = raw_await_end(peer);
    cr_assert(end == RAW_RESET || !raw_tells_reset_after_finish());
    WORLD_AWAIT(&x, x.closed == 1);
    cr_assert_eq(x.error, WEIR_EABORTED);
    raw_close(peer);
    world_stop(&x);
}

Test(conn_peer, an_end_in_the_middle_of_a_frame_is_a_truncation)
{
    world w = { .protocol = { .framing = weir_framing_u32be(), .on_end = do_nothing } };
    static const uint8_t frames[] = { 0, 0, 0, 2, 'h', 'i', 0, 0, 0, 9, 'h' };
    world_start(&w);
    for (unsigned size = 1; size <= sizeof frames; size++) {
        raw_peer peer = world_connect(&w);
        raw_send(peer, frames, size);
        raw_finish(peer);
        if (size == 6) { /* a whole one: no truncation */
            WORLD_AWAIT(&w, w.ended == 1);
            raw_reset(peer);
            world_abort(&w, w.id);
        } else {
            raw_await_end(peer);
            raw_close(peer);
        }
        WORLD_AWAIT(&w, w.closed == size);
        cr_assert_eq(w.error, size == 6 ? WEIR_EABORTED : WEIR_ETRUNCATED, "after %u bytes: %s", size,
                     weir_error_name(w.error));
    }
    cr_assert_eq(w.ended, 1);
    world_stop(&w);
}

Test(conn_peer, without_framing_no_end_is_a_truncation)
{
    world w = { .keeps = true };
    world_start(&w);
    raw_peer peer = world_connect(&w);
    raw_send(peer, "any bytes", 9);
    raw_finish(peer);
    WORLD_AWAIT(&w, w.closed == 1);
    cr_assert_eq(w.error, WEIR_EEOF);
    cr_assert(world_bytes_are(&w, "any bytes", 9));
    raw_close(peer);
    world_stop(&w);
}

/* ---- reset ---- */

Test(conn_peer, a_reset_before_the_accept_leaves_nothing_behind)
{
    world w = { .manual = true, .protocol = { .framing = weir_framing_line() } };
    world_start(&w);
    world_settle(&w); /* the listener has what it needs */
    unsigned before = raw_descriptors();
    for (int i = 0; i < 50; i++) {
        raw_while_waiting(NULL, NULL); /* so that nothing is accepted in between */
        raw_peer peer = world_connect(&w);
        raw_reset(peer);
        world_settle(&w);
    }
    WORLD_AWAIT(&w, world_stats(&w).connections == 0);
    cr_assert_eq(w.opened, w.closed);
    cr_assert_eq(world_closed(&w, WEIR_ECONNRESET), w.closed, "%s", weir_error_name(w.error));
    cr_assert_eq(raw_descriptors(), before);
    world_stop(&w);
}

Test(conn_peer, a_reset_of_an_idle_connection_is_told)
{
    world w = { .protocol = { .framing = weir_framing_line() } };
    world_start(&w);
    raw_peer peer = world_connect(&w);
    raw_send(peer, "hello\nunfinished", 16);
    WORLD_AWAIT(&w, world_stats(&w).bytes_received == 16);
    raw_reset(peer);
    WORLD_AWAIT(&w, w.closed == 1);
    cr_assert_eq(w.error, WEIR_ECONNRESET);
    cr_assert_neq(w.system_error, 0, "for the log");
    world_stop(&w);
}

Test(conn_peer, bytes_that_came_before_a_reset_are_delivered_before_it)
{
    world w = { .manual = true, .protocol = { .framing = weir_framing_line() }, .keeps = true };
    world_start(&w);
    raw_peer peer = world_connect(&w);
    WORLD_AWAIT(&w, w.opened == 1);
    raw_send(peer, "one\ntwo\n", 8);
    raw_reset(peer);
    WORLD_AWAIT(&w, w.closed == 1);
    cr_assert_eq(w.error, WEIR_ECONNRESET);
    cr_assert(world_bytes_are(&w, "one\ntwo\n", 8));
    world_stop(&w);
}

Test(conn_peer, a_reset_with_a_send_in_flight_is_told_and_frees_it)
{
    char *bytes = large();
    world w = { .protocol = { .framing = weir_framing_line(), .outbox = ROOM, .close_timeout_ms = LONG_MS } };
    world_start(&w);
    raw_peer peer = world_connect_small(&w);
    WORLD_AWAIT(&w, w.opened == 1);
    for (int i = 0; i < 3; i++) cr_assert_eq(world_send(&w, w.id, bytes, LARGE), 0);
    raw_reset(peer);
    WORLD_AWAIT(&w, w.closed == 1);
    cr_assert_eq(w.error, WEIR_ECONNRESET);
    cr_assert_eq(world_stats(&w).queued, 0);
    world_stop(&w);
    free(bytes);
}

Test(conn_peer, a_reset_while_closing_or_draining_ends_the_wait)
{
    char *bytes = large();
    world w = { .protocol = { .framing = weir_framing_line(), .outbox = ROOM, .close_timeout_ms = LONG_MS } };
    world_start(&w);
    raw_peer closing = world_connect_small(&w);
    WORLD_AWAIT(&w, w.opened == 1);
    cr_assert_eq(world_send(&w, w.id, bytes, LARGE), 0);
    world_close(&w, w.id);
    raw_reset(closing);
    WORLD_AWAIT(&w, w.closed == 1);
    cr_assert_eq(w.error, WEIR_ECLOSED);

    raw_peer draining = world_connect(&w);
    WORLD_AWAIT(&w, w.opened == 2);
    cr_assert_eq(world_send(&w, w.id, "bye", 3), 0);
    world_close(&w, w.id);
    cr_assert_eq(raw_await_end(draining), RAW_FIN);
    raw_reset(draining);
    WORLD_AWAIT(&w, w.closed == 2);
    cr_assert_eq(w.error, WEIR_ECLOSED);
    cr_assert_eq(world_stats(&w).queued, 0);
    world_stop(&w);
    free(bytes);
}

Test(conn_peer, a_reset_after_a_half_close_with_sends_owed_ends_the_wait)
{
    char *bytes = large();
    world w = { .protocol = { .framing = weir_framing_line(),
                              .on_message = answer_with_much,
                              .data = bytes,
                              .outbox = ROOM,
                              .close_timeout_ms = LONG_MS } };
    world_start(&w);
    raw_peer peer = world_connect_small(&w);
    raw_send(peer, "give\n", 5);
    raw_finish(peer);
    WORLD_AWAIT(&w, w.messages == 1);
    char some[100];
    raw_receive(peer, some, sizeof some);
    raw_reset(peer);
    WORLD_AWAIT(&w, w.closed == 1);
    cr_assert_neq(w.error, 0);
    world_stop(&w);
    free(bytes);
}

/* It is read no more, so only a send can find out: then there is nothing left to wait for. */
Test(conn_peer, a_failed_send_after_the_peers_end_ends_the_connection_at_once)
{
    world w = { .protocol = { .framing = weir_framing_line(), .on_end = do_nothing, .close_timeout_ms = LONG_MS } };
    world_start(&w);
    raw_peer peer = world_connect(&w);
    raw_finish(peer);
    WORLD_AWAIT(&w, w.ended == 1);
    raw_reset(peer);
    weir_conn_id id = w.id;
    WORLD_AWAIT(&w, (weir_send_to(w.runtime, id, "anyone?", 7), w.closed == 1));
    cr_assert_eq(w.error, WEIR_ECONNRESET);
    world_stop(&w);
}

static void talk_to_nobody(weir_conn *conn, const void *bytes, size_t size)
{
    (void)bytes;
    (void)weir_send(conn, bytes, size);
}

/* The peer has said all it wanted and is gone: answers fail, but what it said still counts. */
Test(conn_peer, a_send_that_fails_loses_no_message_that_has_come)
{
    enum { LINES = 400 }; /* more than one read takes, less than the kernel's window at the start */
    world w = { .manual = true, .protocol = { .framing = weir_framing_line(), .on_message = talk_to_nobody } };
    static char lines[LINES * 100];
    memset(lines, 'x', sizeof lines);
    for (int i = 1; i <= LINES; i++) lines[i * 100 - 1] = '\n';
    world_start(&w);
    raw_peer peer = world_connect(&w);
    WORLD_AWAIT(&w, w.opened == 1);
    raw_send(peer, lines, sizeof lines);
    raw_close(peer); /* upon the first answer its system says RST, with bytes of the peer still unread here */
    WORLD_AWAIT(&w, w.closed == 1);
    cr_assert_eq(w.error, WEIR_ECONNRESET, "%s", weir_error_name(w.error));
    cr_assert_eq(w.messages, LINES);
    world_stop(&w);
}
