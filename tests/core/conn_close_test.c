/* How a connection ends from this side: flush, FIN, drain; or a reset; and when. */
#include <stdlib.h>

#include "core/world.h"

enum {
    LONG_MS = 60000,               /* a time that no test waits for: what comes sooner came for another reason */
    SHORT_MS = 200 * RAW_SLOWDOWN, /* one that a test does wait for */
    LARGE = 4 << 20,               /* more than the kernel's buffers of both sides take */
};

static const weir_outbox_options ROOM = { .soft_limit = 64 << 20, .hard_limit = 64 << 20 };

static char *large(void)
{
    char *bytes = malloc(LARGE);
    cr_assert_not_null(bytes);
    world_fill(bytes, LARGE, 1);
    return bytes;
}

static uint64_t ms_since(uint64_t ns)
{
    return (wr_os_now_ns() - ns) / 1000000;
}

/* Reads exactly LARGE bytes in small steps, sending all the while, and then what is expected to come next. */
static void read_slowly_and_talk(raw_peer peer, const char *expected)
{
    char *got = malloc(LARGE);
    cr_assert_not_null(got);
    for (size_t done = 0; done < LARGE;) {
        size_t step = LARGE - done < 8192 ? LARGE - done : 8192;
        raw_receive(peer, got + done, step);
        done += step;
        cr_assert_neq(raw_send_some(peer, "late\n", 5), SIZE_MAX, "reset after %zu of %d bytes", done, LARGE);
    }
    cr_assert_arr_eq(got, expected, LARGE);
    free(got);
}

/* ---- weir_close ---- */

Test(conn_close, close_flushes_everything_to_a_slow_peer_that_goes_on_sending)
{
    char *bytes = large();
    world w = { .protocol = { .framing = weir_framing_line(), .outbox = ROOM, .close_timeout_ms = LONG_MS } };
    world_start(&w);
    raw_peer peer = world_connect_small(&w);
    WORLD_AWAIT(&w, w.opened == 1);
    cr_assert_eq(world_send(&w, w.id, bytes, LARGE), 0);
    world_close(&w, w.id);
    read_slowly_and_talk(peer, bytes);
    cr_assert_eq(raw_await_end(peer), RAW_FIN);
    /* The peer still sends after our FIN: that must not turn into a reset either. */
    for (int i = 0; i < 100; i++) cr_assert_neq(raw_send_some(peer, "later\n", 6), SIZE_MAX);
    WORLD_HOLDS(&w, 20, w.closed == 0); /* it waits for the peer's end */
    raw_close(peer);
    WORLD_AWAIT(&w, w.closed == 1);
    cr_assert_eq(w.error, WEIR_ECLOSED);
    cr_assert_eq(w.messages, 0, "no on_message after weir_close");
    cr_assert_eq(world_stats(&w).queued, 0);
    world_stop(&w);
    free(bytes);
}

Test(conn_close, a_peer_that_reads_only_after_it_sent_much_still_gets_everything)
{
    enum { REPLY = 100000 };
    char *bytes = large();
    world w = { .protocol = { .framing = weir_framing_line(), .outbox = ROOM, .close_timeout_ms = LONG_MS } };
    world_start(&w);
    raw_peer peer = world_connect(&w);
    WORLD_AWAIT(&w, w.opened == 1);
    cr_assert_eq(world_send(&w, w.id, bytes, REPLY), 0);
    world_close(&w, w.id);
    raw_send(peer, bytes, LARGE); /* all of it is unread bytes of a closed connection, were they not drained */
    char *got = malloc(REPLY);
    size_t size;
    cr_assert_eq(raw_receive_all(peer, got, REPLY, &size), RAW_FIN);
    cr_assert_eq(size, REPLY);
    cr_assert_arr_eq(got, bytes, REPLY);
    raw_close(peer);
    WORLD_AWAIT(&w, w.closed == 1);
    world_stop(&w);
    free(got);
    free(bytes);
}

static void close_now(weir_conn *conn)
{
    weir_close(conn);
}

static void greet_and_close(weir_conn *conn)
{
    cr_assert_eq(weir_send(conn, "full, come back later\n", 22), 0);
    weir_close(conn);
}

Test(conn_close, close_in_on_open_closes_at_once_when_nothing_was_sent)
{
    world w = { .protocol = { .on_open = close_now, .close_timeout_ms = LONG_MS } };
    world_start(&w);
    raw_peer peer = world_connect(&w);
    WORLD_AWAIT(&w, w.closed == 1); /* though this peer does not close */
    cr_assert_eq(w.error, WEIR_ECLOSED);
    cr_assert_eq(raw_await_end(peer), RAW_FIN);
    raw_close(peer);
    world_stop(&w);
}

Test(conn_close, close_later_closes_at_once_when_nothing_was_sent)
{
    world w = { .protocol = { .framing = weir_framing_line(), .close_timeout_ms = LONG_MS } };
    world_start(&w);
    raw_peer peer = world_connect(&w);
    raw_send(peer, "hello\nunfin", 11);
    WORLD_AWAIT(&w, world_stats(&w).bytes_received == 11);
    world_close(&w, w.id);
    WORLD_AWAIT(&w, w.closed == 1);
    cr_assert_eq(w.error, WEIR_ECLOSED);
    cr_assert_eq(raw_await_end(peer), RAW_FIN);
    raw_close(peer);
    world_stop(&w);
}

Test(conn_close, a_farewell_in_on_open_arrives)
{
    world w = { .protocol = { .on_open = greet_and_close, .close_timeout_ms = LONG_MS } };
    char got[32];
    size_t size;
    world_start(&w);
    for (unsigned i = 0; i < 20; i++) {
        raw_peer peer = world_connect(&w);
        raw_send(peer, "something unread", 16); /* closing upon it would be a reset */
        cr_assert_eq(raw_receive_all(peer, got, sizeof got, &size), RAW_FIN);
        cr_assert_eq(size, 22);
        cr_assert_arr_eq(got, "full, come back later\n", 22);
        raw_close(peer);
        WORLD_AWAIT(&w, w.closed == i + 1);
        cr_assert_eq(w.error, WEIR_ECLOSED);
    }
    world_stop(&w);
}

static void close_at_bye(weir_conn *conn, const void *bytes, size_t size)
{
    if (size != 4 || memcmp(bytes, "bye\n", 4) != 0) return;
    cr_assert_eq(weir_send(conn, "bye\n", 4), 0);
    weir_close(conn);
    weir_close(conn);
    cr_assert_eq(weir_send(conn, "more\n", 5), WEIR_ECLOSED);
    weir_buf *buf = weir_buf_copy("more\n", 5);
    cr_assert_eq(weir_send_buf(conn, buf), WEIR_ECLOSED);
    weir_buf_release(buf);
    cr_assert_eq(weir_conn_queued(conn), 4);
}

Test(conn_close, after_close_no_message_comes_and_no_send_goes)
{
    world w = { .protocol = { .on_message = close_at_bye, .framing = weir_framing_line() } };
    char got[16];
    size_t size;
    world_start(&w);
    raw_peer peer = world_connect(&w);
    raw_send(peer, "a\nbye\nb\nc\nd", 11); /* in one read */
    cr_assert_eq(raw_receive_all(peer, got, sizeof got, &size), RAW_FIN);
    cr_assert_eq(size, 4);
    cr_assert_arr_eq(got, "bye\n", 4);
    raw_send(peer, "e\nf\n", 4);
    raw_close(peer);
    WORLD_AWAIT(&w, w.closed == 1);
    cr_assert_eq(w.error, WEIR_ECLOSED);
    cr_assert_eq(w.messages, 2);
    world_stop(&w);
}

/* ---- weir_abort ---- */

static void abort_now(weir_conn *conn)
{
    weir_abort(conn);
    weir_abort(conn);
    weir_close(conn);
    cr_assert_eq(weir_send(conn, "x", 1), WEIR_ECLOSED);
}

static void send_and_abort(weir_conn *conn, const void *bytes, size_t size)
{
    (void)bytes, (void)size;
    cr_assert_eq(weir_send(conn, "never sent", 10), 0);
    weir_abort(conn);
}

Test(conn_close, abort_in_on_open_resets)
{
    world w = { .protocol = { .on_open = abort_now } };
    world_start(&w);
    raw_peer peer = world_connect(&w);
    cr_assert_eq(raw_await_end(peer), RAW_RESET);
    raw_close(peer);
    WORLD_AWAIT(&w, w.closed == 1);
    cr_assert_eq(w.error, WEIR_EABORTED);
    cr_assert_eq(w.opened, 1);
    world_stop(&w);
}

Test(conn_close, abort_in_on_message_resets_and_drops_what_was_sent_and_received)
{
    world w = { .protocol = { .on_message = send_and_abort, .framing = weir_framing_line() } };
    size_t size;
    world_start(&w);
    raw_peer peer = world_connect(&w);
    raw_send(peer, "a\nb\nc\nd", 7);
    cr_assert_eq(raw_receive_all(peer, NULL, 0, &size), RAW_RESET);
    cr_assert_eq(size, 0);
    raw_close(peer);
    WORLD_AWAIT(&w, w.closed == 1);
    cr_assert_eq(w.error, WEIR_EABORTED);
    cr_assert_eq(w.messages, 1);
    cr_assert_eq(world_stats(&w).queued, 0);
    world_stop(&w);
}

Test(conn_close, abort_with_a_send_in_flight_resets_and_frees_it)
{
    char *bytes = large();
    world w = { .protocol = { .outbox = ROOM, .close_timeout_ms = LONG_MS } };
    world_start(&w);
    raw_peer peer = world_connect_small(&w);
    WORLD_AWAIT(&w, w.opened == 1);
    for (int i = 0; i < 4; i++) cr_assert_eq(world_send(&w, w.id, bytes, LARGE), 0);
    cr_assert_gt(world_queued(&w, w.id), LARGE);
    world_abort(&w, w.id);
    WORLD_AWAIT(&w, w.closed == 1);
    cr_assert_eq(w.error, WEIR_EABORTED);
    cr_assert_eq(world_stats(&w).queued, 0);
    cr_assert_eq(raw_await_end(peer), RAW_RESET);
    raw_close(peer);
    world_stop(&w);
    free(bytes);
}

Test(conn_close, abort_after_close_ends_the_wait)
{
    char *bytes = large();
    world w = { .protocol = { .outbox = ROOM, .close_timeout_ms = LONG_MS } };
    world_start(&w);
    raw_peer flushing = world_connect_small(&w);
    WORLD_AWAIT(&w, w.opened == 1);
    cr_assert_eq(world_send(&w, w.id, bytes, LARGE), 0);
    world_close(&w, w.id);
    world_abort(&w, w.id);
    WORLD_AWAIT(&w, w.closed == 1);
    cr_assert_eq(w.error, WEIR_ECLOSED, "the first reason stands");
    cr_assert_eq(raw_await_end(flushing), RAW_RESET);

    raw_peer draining = world_connect(&w);
    WORLD_AWAIT(&w, w.opened == 2);
    cr_assert_eq(world_send(&w, w.id, "bye", 3), 0);
    world_close(&w, w.id);
    cr_assert_eq(raw_await_end(draining), RAW_FIN);
    world_abort(&w, w.id);
    WORLD_AWAIT(&w, w.closed == 2);
    cr_assert_eq(w.error, WEIR_ECLOSED);
    raw_close(flushing);
    raw_close(draining);
    world_stop(&w);
    free(bytes);
}

/* ---- close_timeout_ms ---- */

Test(conn_close, a_peer_that_never_closes_is_given_up_after_the_close_timeout)
{
    world w = { .protocol = { .on_open = greet_and_close, .close_timeout_ms = SHORT_MS } };
    world_start(&w);
    uint64_t start = wr_os_now_ns();
    raw_peer peer = world_connect(&w);
    cr_assert_eq(raw_await_end(peer), RAW_FIN);
    WORLD_AWAIT(&w, w.closed == 1);
    cr_assert_geq(ms_since(start), SHORT_MS - 2);
    cr_assert_eq(w.error, WEIR_ECLOSED);
    raw_close(peer);
    world_stop(&w);
}

Test(conn_close, a_peer_that_never_closes_but_talks_for_ever_is_given_up_too)
{
    world w = { .protocol = { .on_open = greet_and_close, .close_timeout_ms = SHORT_MS } };
    world_start(&w);
    uint64_t start = wr_os_now_ns();
    raw_peer peer = world_connect(&w);
    WORLD_AWAIT(&w, raw_send_some(peer, "and another thing\n", 18) == SIZE_MAX);
    cr_assert_geq(ms_since(start), SHORT_MS - 2);
    WORLD_AWAIT(&w, w.closed == 1);
    cr_assert_eq(w.error, WEIR_ECLOSED);
    raw_close(peer);
    world_stop(&w);
}

Test(conn_close, a_peer_that_never_reads_is_reset_after_the_close_timeout)
{
    char *bytes = large();
    world w = { .protocol = { .outbox = ROOM, .close_timeout_ms = SHORT_MS } };
    size_t size;
    world_start(&w);
    raw_peer peer = world_connect_small(&w);
    WORLD_AWAIT(&w, w.opened == 1);
    cr_assert_eq(world_send(&w, w.id, bytes, LARGE), 0);
    uint64_t start = wr_os_now_ns();
    world_close(&w, w.id);
    WORLD_AWAIT(&w, w.closed == 1);
    cr_assert_geq(ms_since(start), SHORT_MS - 2);
    cr_assert_eq(w.error, WEIR_ECLOSED);
    cr_assert_eq(world_stats(&w).queued, 0);
    cr_assert_eq(raw_receive_all(peer, NULL, 0, &size), RAW_RESET);
    cr_assert_lt(size, LARGE);
    raw_close(peer);
    world_stop(&w);
    free(bytes);
}

Test(conn_close, a_second_close_does_not_give_the_peer_more_time)
{
    char *bytes = large();
    world w = { .protocol = { .outbox = ROOM, .close_timeout_ms = SHORT_MS * 2 } };
    world_start(&w);
    for (unsigned draining = 0; draining < 2; draining++) { /* or flushing, to one that does not read */
        raw_peer peer = world_connect_small(&w);
        WORLD_AWAIT(&w, w.opened == draining + 1);
        weir_conn_id id = w.id;
        cr_assert_eq(world_send(&w, id, bytes, draining ? 1 : LARGE), 0);
        /* Each call would begin the time anew, and it would never end. */
        WORLD_AWAIT(&w, (weir_close_id(w.runtime, id), w.closed == draining + 1));
        cr_assert_eq(w.error, WEIR_ECLOSED);
        raw_close(peer);
    }
    world_stop(&w);
    free(bytes);
}
