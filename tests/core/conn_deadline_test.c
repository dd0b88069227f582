/* The deadlines of an open connection: for the first whole message, and for the next byte. Real time: a test waits for
 * short ones, and asks of them only that they come, and not too soon. */
#include "core/world.h"

enum {
    SHORT_MS = 150 * RAW_SLOWDOWN,
    SLACK_MS = 2, /* the clocks are read in different milliseconds */
};

static uint64_t ms_since(uint64_t ns)
{
    return (wr_os_now_ns() - ns) / 1000000;
}

/* ---- handshake_timeout_ms ---- */

Test(conn_deadline, a_peer_that_says_nothing_misses_the_handshake)
{
    world w = { .protocol = { .framing = weir_framing_line(), .handshake_timeout_ms = SHORT_MS } };
    world_start(&w);
    uint64_t start = wr_os_now_ns();
    raw_peer peer = world_connect(&w);
    WORLD_AWAIT(&w, w.closed == 1);
    cr_assert_geq(ms_since(start), SHORT_MS - SLACK_MS);
    cr_assert_eq(w.error, WEIR_EHANDSHAKE);
    cr_assert_eq(raw_await_end(peer), RAW_FIN);
    raw_close(peer);
    world_stop(&w);
}

Test(conn_deadline, a_peer_that_sends_parts_for_ever_misses_the_handshake)
{
    world w = { .protocol = { .framing = weir_framing_line(),
                              .max_message = 1 << 20,
                              .handshake_timeout_ms = SHORT_MS,
                              .idle_timeout_ms = SHORT_MS * 100 } };
    world_start(&w);
    uint64_t start = wr_os_now_ns();
    raw_peer peer = world_connect(&w);
    WORLD_AWAIT(&w, (raw_send_some(peer, "x", 1), w.closed == 1));
    cr_assert_geq(ms_since(start), SHORT_MS - SLACK_MS);
    cr_assert_eq(w.error, WEIR_EHANDSHAKE);
    cr_assert_eq(w.messages, 0);
    raw_close(peer);
    world_stop(&w);
}

Test(conn_deadline, after_the_first_message_the_handshake_is_over)
{
    world w = { .protocol = { .framing = weir_framing_line(), .handshake_timeout_ms = SHORT_MS } };
    world_start(&w);
    raw_peer peer = world_connect(&w);
    raw_send(peer, "hello\nunfinished", 16);
    WORLD_HOLDS(&w, SHORT_MS * 3, w.closed == 0);
    cr_assert_eq(w.messages, 1);
    raw_close(peer);
    WORLD_AWAIT(&w, w.closed == 1);
    cr_assert_eq(w.error, WEIR_ETRUNCATED);
    world_stop(&w);
}

static void greet(weir_conn *conn)
{
    cr_assert_eq(weir_send(conn, "who are you?\n", 13), 0);
}

Test(conn_deadline, what_this_side_sent_still_arrives_after_a_missed_handshake)
{
    world w = { .protocol = { .on_open = greet, .framing = weir_framing_line(), .handshake_timeout_ms = SHORT_MS } };
    char got[16];
    size_t size;
    world_start(&w);
    raw_peer peer = world_connect(&w);
    cr_assert_eq(raw_receive_all(peer, got, sizeof got, &size), RAW_FIN);
    cr_assert_eq(size, 13);
    raw_close(peer);
    WORLD_AWAIT(&w, w.closed == 1);
    cr_assert_eq(w.error, WEIR_EHANDSHAKE);
    world_stop(&w);
}

/* ---- idle_timeout_ms ---- */

Test(conn_deadline, a_silent_peer_is_idle)
{
    world w = { .protocol = { .framing = weir_framing_line(), .idle_timeout_ms = SHORT_MS } };
    world_start(&w);
    uint64_t start = wr_os_now_ns();
    raw_peer peer = world_connect(&w);
    WORLD_AWAIT(&w, w.closed == 1);
    cr_assert_geq(ms_since(start), SHORT_MS - SLACK_MS);
    cr_assert_eq(w.error, WEIR_EIDLE);
    cr_assert_eq(raw_await_end(peer), RAW_FIN);
    raw_close(peer);
    world_stop(&w);
}

Test(conn_deadline, each_received_byte_puts_the_idle_deadline_off)
{
    enum { TIMES = 10 };
    world w = { .protocol = { .framing = weir_framing_line(), .idle_timeout_ms = SHORT_MS * 4 } };
    world_start(&w);
    raw_peer peer = world_connect(&w);
    uint64_t start = wr_os_now_ns(), last = 0;
    for (int i = 0; i < TIMES; i++) {
        last = wr_os_now_ns();
        raw_send(peer, "x", 1); /* no whole message is needed */
        WORLD_HOLDS(&w, SHORT_MS, w.closed == 0);
    }
    cr_assert_gt(ms_since(start), (uint64_t)SHORT_MS * 8, "twice the deadline has passed");
    WORLD_AWAIT(&w, w.closed == 1);
    cr_assert_eq(w.error, WEIR_EIDLE);
    cr_assert_geq(ms_since(last), SHORT_MS * 4 - SLACK_MS, "counted from the last byte");
    raw_close(peer);
    world_stop(&w);
}

Test(conn_deadline, sending_to_a_silent_peer_does_not_put_it_off)
{
    world w = { .protocol = { .framing = weir_framing_line(), .idle_timeout_ms = SHORT_MS } };
    world_start(&w);
    raw_peer peer = world_connect(&w);
    WORLD_AWAIT(&w, w.opened == 1);
    weir_conn_id id = w.id;
    WORLD_AWAIT(&w, (weir_send_to(w.runtime, id, "x", 1), w.closed == 1));
    cr_assert_eq(w.error, WEIR_EIDLE);
    raw_close(peer);
    world_stop(&w);
}

Test(conn_deadline, while_paused_the_idle_deadline_rests_and_begins_anew_after)
{
    world w = { .protocol = { .framing = weir_framing_line(), .idle_timeout_ms = SHORT_MS } };
    world_start(&w);
    raw_peer peer = world_connect(&w);
    WORLD_AWAIT(&w, w.opened == 1);
    world_pause(&w, w.id);
    WORLD_HOLDS(&w, SHORT_MS * 3, w.closed == 0);
    uint64_t start = wr_os_now_ns();
    world_resume(&w, w.id);
    WORLD_AWAIT(&w, w.closed == 1);
    cr_assert_geq(ms_since(start), SHORT_MS - SLACK_MS);
    cr_assert_eq(w.error, WEIR_EIDLE);
    raw_close(peer);
    world_stop(&w);
}

Test(conn_deadline, many_connections_with_deadlines_each_end_by_their_own)
{
    enum { PEERS = 60 };
    world w = { .protocol = { .framing = weir_framing_line(),
                              .handshake_timeout_ms = SHORT_MS,
                              .idle_timeout_ms = SHORT_MS * 3 } };
    raw_peer peers[PEERS];
    world_start(&w);
    for (int i = 0; i < PEERS; i++) {
        peers[i] = world_connect(&w);
        if (i % 2) raw_send(peers[i], "hello\n", 6);
    }
    WORLD_AWAIT(&w, w.closed == PEERS);
    cr_assert_eq(world_closed(&w, WEIR_EHANDSHAKE), PEERS / 2);
    cr_assert_eq(world_closed(&w, WEIR_EIDLE), PEERS / 2);
    for (int i = 0; i < PEERS; i++) raw_close(peers[i]);
    world_stop(&w);
}
