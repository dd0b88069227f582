/* weir_conn_pause and weir_conn_resume: TCP slows the peer down, and nothing is lost, doubled or out of order. */
#include <stdio.h>
#include <stdlib.h>

#include "core/world.h"

static void pause_at_p(weir_conn *conn, const void *bytes, size_t size)
{
    (void)size;
    if (*(const char *)bytes == 'p') weir_conn_pause(conn);
}

static void pause_always(weir_conn *conn, const void *bytes, size_t size)
{
    (void)bytes, (void)size;
    weir_conn_pause(conn);
}

static void pause_first(weir_conn *conn)
{
    weir_conn_pause(conn);
}

static void do_nothing(weir_conn *conn)
{
    (void)conn;
}

Test(conn_pause, tcp_holds_back_a_peer_that_sends_to_a_paused_connection)
{
    world w = { .protocol = { .on_open = pause_first } };
    static char block[65536];
    world_start(&w);
    raw_peer peer = world_connect(&w);
    WORLD_AWAIT(&w, w.opened == 1);
    uint64_t sent = 0;
    for (int silent = 0; silent < 50; silent++) { /* milliseconds without room */
        size_t got = raw_send_some(peer, block, sizeof block);
        cr_assert_neq(got, SIZE_MAX);
        sent += got;
        cr_assert_lt(sent, 64 << 20, "somebody reads");
        if (got) silent = 0;
        weir_sleep_ms(1);
    }
    cr_assert_eq(world_stats(&w).bytes_received, 0);
    world_resume(&w, w.id);
    WORLD_AWAIT(&w, world_stats(&w).bytes_received == sent);
    cr_assert_eq(w.message_bytes, sent);
    raw_close(peer);
    WORLD_AWAIT(&w, w.closed == 1);
    world_stop(&w);
}

Test(conn_pause, a_paused_connection_takes_one_read_at_most)
{
    enum { BUFFER = 64 * 1024 }; /* a read takes less */
    world w = { .protocol = { .framing = weir_framing_line() } };
    static char lines[BUFFER * 4];
    memset(lines, '\n', sizeof lines);
    world_start(&w);
    raw_peer peer = world_connect(&w);
    WORLD_AWAIT(&w, w.opened == 1);
    world_pause(&w, w.id); /* with a read already asked for */
    raw_send(peer, lines, sizeof lines);
    WORLD_HOLDS(&w, 30, world_stats(&w).bytes_received <= BUFFER);
    cr_assert_eq(w.messages, 0);
    world_resume(&w, w.id);
    WORLD_AWAIT(&w, w.messages == sizeof lines);
    raw_close(peer);
    WORLD_AWAIT(&w, w.closed == 1);
    world_stop(&w);
}

Test(conn_pause, one_that_pauses_at_a_message_reads_no_more)
{
    enum { BUFFER = 64 * 1024 }; /* a read takes less */
    world w = { .protocol = { .on_message = pause_always } };
    static char block[BUFFER * 4];
    world_start(&w);
    raw_peer peer = world_connect(&w);
    for (size_t sent = 1; sent <= 5; sent++) { /* not only at its first read */
        raw_send(peer, "x", 1);
        WORLD_AWAIT(&w, w.message_bytes == sent);
        if (sent < 5) world_resume(&w, w.id);
    }
    raw_send(peer, block, sizeof block);
    WORLD_HOLDS(&w, 30, world_stats(&w).bytes_received == 5);
    world_resume(&w, w.id);
    WORLD_AWAIT(&w, w.messages == 6);
    WORLD_HOLDS(&w, 30, world_stats(&w).bytes_received <= BUFFER);
    raw_close(peer);
    world_resume(&w, w.id);
    world_stop(&w);
}

Test(conn_pause, no_message_follows_the_one_that_pauses)
{
    world w = { .protocol = { .framing = weir_framing_line(), .on_message = pause_at_p }, .keeps = true };
    world_start(&w);
    raw_peer peer = world_connect(&w);
    raw_send(peer, "a\np1\nb\nc\np2\nd\ne\nun", 18); /* in one read */
    WORLD_AWAIT(&w, w.messages == 2);
    WORLD_HOLDS(&w, 20, w.messages == 2);
    cr_assert(world_bytes_are(&w, "a\np1\n", 5));
    world_resume(&w, w.id);
    WORLD_AWAIT(&w, w.messages == 5);
    WORLD_HOLDS(&w, 20, w.messages == 5);
    cr_assert(world_bytes_are(&w, "a\np1\nb\nc\np2\n", 12));
    raw_send(peer, "finished\n", 9); /* while it is paused */
    WORLD_HOLDS(&w, 20, w.messages == 5);
    world_resume(&w, w.id);
    WORLD_AWAIT(&w, w.messages == 8);
    cr_assert(world_bytes_are(&w, "a\np1\nb\nc\np2\nd\ne\nunfinished\n", 27));
    raw_close(peer);
    WORLD_AWAIT(&w, w.closed == 1);
    cr_assert_eq(w.error, WEIR_EEOF);
    world_stop(&w);
}

/* Paused in the middle of an unfinished frame by another function than on_message: the rest comes while paused. */
Test(conn_pause, an_unfinished_frame_is_finished_after_the_pause)
{
    world w = { .protocol = { .framing = weir_framing_line() }, .keeps = true };
    world_start(&w);
    raw_peer peer = world_connect(&w);
    raw_send(peer, "begun ", 6);
    WORLD_AWAIT(&w, world_stats(&w).bytes_received == 6);
    world_pause(&w, w.id);
    raw_send(peer, "and ended\nnext\nand a part", 25);
    WORLD_AWAIT(&w, world_stats(&w).bytes_received == 31);
    WORLD_HOLDS(&w, 20, w.messages == 0);
    world_resume(&w, w.id);
    WORLD_AWAIT(&w, w.messages == 2);
    raw_send(peer, " whole\n", 7);
    WORLD_AWAIT(&w, w.messages == 3);
    cr_assert(world_bytes_are(&w, "begun and ended\nnext\nand a part whole\n", 38));
    raw_close(peer);
    WORLD_AWAIT(&w, w.closed == 1);
    world_stop(&w);
}

/* The stash is then cut one message a resume, and each cut copies: this must hold for any number. */
Test(conn_pause, one_that_pauses_at_every_message_gets_them_all)
{
    enum { LINES = 500 };
    world w = { .manual = true,
                .protocol = { .framing = weir_framing_line(), .on_message = pause_always },
                .keeps = true };
    static char lines[LINES * 8 + 1];
    for (unsigned i = 0; i < LINES; i++) (void)snprintf(lines + (size_t)i * 8, 9, "line%03u\n", i % 1000);
    world_start(&w);
    raw_peer peer = world_connect(&w);
    raw_send(peer, lines, sizeof lines - 1);
    for (unsigned i = 1; i <= LINES; i++) {
        WORLD_AWAIT(&w, w.messages == i);
        world_resume(&w, w.id);
    }
    cr_assert(world_bytes_are(&w, lines, sizeof lines - 1));
    raw_close(peer);
    WORLD_AWAIT(&w, w.closed == 1);
    cr_assert_eq(w.error, WEIR_EEOF);
    world_stop(&w);
}

Test(conn_pause, the_end_is_told_only_after_the_stashed_messages)
{
    world w = { .protocol = { .framing = weir_framing_line(), .on_message = pause_at_p, .on_end = do_nothing },
                .keeps = true };
    world_start(&w);
    raw_peer peer = world_connect(&w);
    raw_send(peer, "p1\na\np2\nb\n", 10);
    raw_finish(peer);
    WORLD_AWAIT(&w, w.messages == 1);
    WORLD_HOLDS(&w, 20, w.ended == 0 && w.closed == 0);
    world_resume(&w, w.id);
    WORLD_AWAIT(&w, w.messages == 3);
    WORLD_HOLDS(&w, 20, w.ended == 0);
    world_resume(&w, w.id);
    WORLD_AWAIT(&w, w.ended == 1);
    cr_assert(world_bytes_are(&w, "p1\na\np2\nb\n", 10));
    world_close(&w, w.id);
    WORLD_AWAIT(&w, w.closed == 1);
    raw_close(peer);
    world_stop(&w);
}

Test(conn_pause, an_end_that_came_while_paused_closes_after_resume)
{
    world w = { .protocol = { .framing = weir_framing_line() } };
    world_start(&w);
    raw_peer peer = world_connect(&w);
    WORLD_AWAIT(&w, w.opened == 1);
    world_pause(&w, w.id);
    raw_send(peer, "a\nb\n", 4);
    raw_close(peer);
    WORLD_HOLDS(&w, 30, w.messages == 0 && w.closed == 0);
    world_resume(&w, w.id);
    WORLD_AWAIT(&w, w.closed == 1);
    cr_assert_eq(w.error, WEIR_EEOF);
    cr_assert_eq(w.messages, 2);
    world_stop(&w);
}

Test(conn_pause, an_end_alone_is_not_told_while_paused)
{
    world w = { .protocol = { .framing = weir_framing_line(), .on_end = do_nothing } };
    world_start(&w);
    raw_peer peer = world_connect(&w);
    WORLD_AWAIT(&w, w.opened == 1);
    world_pause(&w, w.id); /* with a read already asked for, which finds the end */
    raw_finish(peer);
    WORLD_HOLDS(&w, 30, w.ended == 0);
    world_resume(&w, w.id);
    WORLD_AWAIT(&w, w.ended == 1);
    world_close(&w, w.id);
    WORLD_AWAIT(&w, w.closed == 1);
    raw_close(peer);
    world_stop(&w);
}

Test(conn_pause, a_truncated_stash_is_told_as_one)
{
    world w = { .protocol = { .framing = weir_framing_line() } };
    world_start(&w);
    raw_peer peer = world_connect(&w);
    WORLD_AWAIT(&w, w.opened == 1);
    world_pause(&w, w.id);
    raw_send(peer, "a\nb\nc", 5);
    WORLD_AWAIT(&w, world_stats(&w).bytes_received == 5);
    raw_close(peer);
    world_resume(&w, w.id);
    WORLD_AWAIT(&w, w.closed == 1);
    cr_assert_eq(w.error, WEIR_ETRUNCATED);
    cr_assert_eq(w.messages, 2);
    world_stop(&w);
}

Test(conn_pause, without_framing_bytes_stay_in_order_over_pauses)
{
    enum { SIZE = 300000 };
    world w = { .protocol = { .max_message = 1000, .on_message = pause_always }, .keeps = true };
    char *bytes = malloc(SIZE);
    world_fill(bytes, SIZE, 5);
    world_start(&w);
    raw_peer peer = world_connect(&w);
    size_t sent = 0;
    WORLD_AWAIT(&w, w.opened == 1);
    while (w.message_bytes < SIZE) {
        unsigned before = w.messages;
        if (sent < SIZE) sent += raw_send_some(peer, bytes + sent, SIZE - sent);
        world_resume(&w, w.id);
        WORLD_AWAIT(&w, w.messages > before || w.message_bytes == sent);
    }
    cr_assert(world_bytes_are(&w, bytes, SIZE));
    world_resume(&w, w.id);
    raw_close(peer);
    WORLD_AWAIT(&w, w.closed == 1);
    cr_assert_eq(w.error, WEIR_EEOF);
    world_stop(&w);
    free(bytes);
}

/* ---- in passing ---- */

static void pause_and_resume(weir_conn *conn, const void *bytes, size_t size)
{
    (void)bytes, (void)size;
    weir_conn_pause(conn);
    weir_conn_resume(conn);
}

Test(conn_pause, resume_in_the_same_callback_takes_the_pause_back)
{
    world w = { .protocol = { .framing = weir_framing_line(), .on_message = pause_and_resume }, .keeps = true };
    world_start(&w);
    raw_peer peer = world_connect(&w);
    raw_send(peer, "a\nb\nc\n", 6);
    WORLD_AWAIT(&w, w.messages == 3);
    raw_send(peer, "d\n", 2);
    WORLD_AWAIT(&w, w.messages == 4);
    cr_assert(world_bytes_are(&w, "a\nb\nc\nd\n", 8));
    raw_close(peer);
    WORLD_AWAIT(&w, w.closed == 1);
    world_stop(&w);
}

static void resume_later(weir_runtime *runtime, void *data);

typedef struct later {
    world *w;
    weir_conn_id id;
} later;

static void pause_until_posted(weir_conn *conn, const void *bytes, size_t size)
{
    (void)bytes, (void)size;
    later *l = world_data(conn);
    l->id = weir_conn_get_id(conn);
    weir_conn_pause(conn);
    cr_assert_eq(weir_post(weir_conn_runtime(conn), weir_conn_worker(conn), resume_later, l), 0);
}

static void resume_later(weir_runtime *runtime, void *data)
{
    (void)runtime;
    later *l = data;
    unsigned before = l->w->messages;
    weir_conn *conn = world_conn(l->w, l->id);
    weir_conn_resume(conn);
    weir_conn_resume(conn);
    cr_assert_eq(l->w->messages, before, "a message from inside weir_conn_resume");
}

Test(conn_pause, a_posted_function_resumes_and_messages_come_from_the_loop)
{
    enum { LINES = 300 };
    later l;
    world w = { .protocol = { .framing = weir_framing_line(), .on_message = pause_until_posted, .data = &l } };
    l.w = &w;
    world_start(&w);
    raw_peer peer = world_connect(&w);
    for (int i = 0; i < LINES; i++) raw_send(peer, "x\n", 2);
    WORLD_AWAIT(&w, w.messages == LINES);
    raw_reset(peer);
    WORLD_AWAIT(&w, w.closed == 1);
    world_stop(&w);
}

static void pause_and_close(weir_conn *conn, const void *bytes, size_t size)
{
    cr_assert_eq(weir_send(conn, bytes, size), 0);
    weir_conn_pause(conn);
    weir_close(conn);
    weir_conn_resume(conn);
}

Test(conn_pause, a_paused_connection_can_close_and_drain)
{
    world w = { .protocol = {
                    .framing = weir_framing_line(), .on_message = pause_and_close, .close_timeout_ms = 60000 } };
    static char junk[1 << 20];
    char got[2];
    memset(junk, '\n', sizeof junk);
    world_start(&w);
    raw_peer peer = world_connect(&w);
    raw_send(peer, junk, sizeof junk);
    raw_receive(peer, got, 1);
    cr_assert_eq(raw_await_end(peer), RAW_FIN);
    raw_close(peer);
    WORLD_AWAIT(&w, w.closed == 1);
    cr_assert_eq(w.error, WEIR_ECLOSED);
    cr_assert_eq(w.messages, 1);
    world_stop(&w);
}

Test(conn_pause, a_paused_connection_still_sends)
{
    world w = { .protocol = { .on_open = pause_first } };
    char got[3];
    world_start(&w);
    raw_peer peer = world_connect(&w);
    WORLD_AWAIT(&w, w.opened == 1);
    cr_assert_eq(world_send(&w, w.id, "out", 3), 0);
    raw_receive(peer, got, 3);
    cr_assert_arr_eq(got, "out", 3);
    world_abort(&w, w.id);
    WORLD_AWAIT(&w, w.closed == 1);
    raw_close(peer);
    world_stop(&w);
}
