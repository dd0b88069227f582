/* The way out: order, gathering, sharing, and what is held while. */
#include <stdlib.h>

#include "core/buffer.h"
#include "core/world.h"

enum { LARGE = 10 << 20 };

static const weir_outbox_options ROOM = { .soft_limit = 64 << 20, .hard_limit = 64 << 20 };

static char *filled(size_t size)
{
    char *bytes = malloc(size);
    cr_assert_not_null(bytes);
    world_fill(bytes, size, 7);
    return bytes;
}

static void hear(raw_peer peer, const void *expected, size_t size)
{
    char *got = malloc(size + 1);
    raw_receive(peer, got, size);
    cr_assert_arr_eq(got, expected, size);
    free(got);
}

/* ---- order and gathering ---- */

static void count_to_a_thousand(weir_conn *conn, const void *bytes, size_t size)
{
    (void)bytes, (void)size;
    for (uint16_t i = 0; i < 1000; i++) {
        uint8_t number[2] = { (uint8_t)(i >> 8), (uint8_t)i };
        cr_assert_eq(weir_send(conn, number, 2), 0);
    }
    cr_assert_eq(weir_conn_queued(conn), 2000);
}

Test(send, many_small_sends_of_a_pass_leave_in_order_in_one_write)
{
    world w = { .protocol = { .on_message = count_to_a_thousand } };
    uint8_t got[2000];
    world_start(&w);
    raw_peer peer = world_connect(&w);
    for (uint64_t round = 1; round <= 3; round++) {
        raw_send(peer, "go", 2);
        raw_receive(peer, got, sizeof got);
        for (size_t i = 0; i < 1000; i++) cr_assert_eq((size_t)got[2 * i] << 8 | got[2 * i + 1], i);
        WORLD_AWAIT(&w, world_stats(&w).bytes_sent == round * 2000);
        cr_assert_eq(world_stats(&w).sends, round);
    }
    cr_assert_eq(world_stats(&w).queued, 0);
    raw_close(peer);
    WORLD_AWAIT(&w, w.closed == 1);
    world_stop(&w);
}

static void echo(weir_conn *conn, const void *bytes, size_t size)
{
    cr_assert_eq(weir_send(conn, bytes, size), 0);
}

Test(send, the_answers_to_all_messages_of_a_read_leave_in_one_write)
{
    world w = { .manual = true, .protocol = { .on_message = echo, .framing = weir_framing_line() } };
    world_start(&w);
    raw_peer peer = world_connect(&w);
    WORLD_AWAIT(&w, w.opened == 1);
    raw_send(peer, "one\ntwo\nthree\n", 14);
    hear(peer, "one\ntwo\nthree\n", 14);
    cr_assert_eq(w.messages, 3);
    cr_assert_eq(world_stats(&w).sends, 1);
    raw_close(peer);
    WORLD_AWAIT(&w, w.closed == 1);
    world_stop(&w);
}

static void send_in_on_open(weir_conn *conn)
{
    cr_assert_eq(weir_send(conn, "wel", 3), 0);
    cr_assert_eq(weir_send(conn, "come", 4), 0);
}

Test(send, what_on_open_sends_comes_first)
{
    world w = { .protocol = { .on_open = send_in_on_open, .on_message = echo } };
    world_start(&w);
    raw_peer peer = world_connect(&w);
    raw_send(peer, "!", 1);
    hear(peer, "welcome!", 8);
    raw_close(peer);
    WORLD_AWAIT(&w, w.closed == 1);
    world_stop(&w);
}

static void send_nothing(weir_conn *conn, const void *bytes, size_t size)
{
    (void)bytes, (void)size;
    weir_buf *empty = weir_buf_create(0);
    cr_assert_eq(weir_send(conn, "", 0), 0);
    cr_assert_eq(weir_send(conn, NULL, 0), 0);
    cr_assert_eq(weir_send_buf(conn, empty), 0);
    cr_assert_eq(empty->references, 1);
    weir_buf_release(empty);
    cr_assert_eq(weir_send_buf(conn, NULL), WEIR_EINVAL);
    cr_assert_eq(weir_conn_queued(conn), 0);
}

Test(send, nothing_is_sent_for_zero_bytes)
{
    world w = { .protocol = { .on_message = send_nothing } };
    world_start(&w);
    raw_peer peer = world_connect(&w);
    raw_send(peer, "x", 1);
    WORLD_AWAIT(&w, w.messages == 1);
    cr_assert_eq(world_send(&w, w.id, "end", 3), 0);
    hear(peer, "end", 3);
    cr_assert_eq(world_stats(&w).sends, 1);
    raw_close(peer);
    WORLD_AWAIT(&w, w.closed == 1);
    world_stop(&w);
}

/* ---- size ---- */

Test(send, ten_megabytes_arrive_whether_copied_or_shared)
{
    char *bytes = filled(LARGE);
    weir_buf *buf = weir_buf_copy(bytes, LARGE);
    world w = { .protocol = { .outbox = ROOM } };
    world_start(&w);
    raw_peer peer = world_connect(&w);
    WORLD_AWAIT(&w, w.opened == 1);
    cr_assert_eq(world_send(&w, w.id, bytes, LARGE), 0);
    cr_assert_eq(world_send_buf(&w, w.id, buf), 0);
    cr_assert_eq(world_send(&w, w.id, "end", 3), 0);
    hear(peer, bytes, LARGE);
    hear(peer, bytes, LARGE);
    hear(peer, "end", 3);
    WORLD_AWAIT(&w, world_stats(&w).queued == 0);
    cr_assert_eq(world_stats(&w).bytes_sent, 2 * (uint64_t)LARGE + 3);
    cr_assert_eq(world_queued(&w, w.id), 0);
    raw_close(peer);
    WORLD_AWAIT(&w, w.closed == 1);
    cr_assert_eq(buf->references, 1);
    world_stop(&w);
    weir_buf_release(buf);
    free(bytes);
}

/* Copies, shared buffers, small and large ones, by a seed. */
static void send_mixture(weir_conn *conn, const char *bytes, size_t size, uint64_t *seed)
{
    for (size_t done = 0; done < size;) {
        size_t piece = 1 + world_random(seed) % ((size_t)1 << (1 + world_random(seed) % 15));
        if (piece > size - done) piece = size - done;
        if (world_random(seed) % 2) {
            weir_buf *buf = weir_buf_copy(bytes + done, piece);
            cr_assert_eq(weir_send_buf(conn, buf), 0);
            weir_buf_release(buf); /* at once: the outbox has its own reference */
        } else {
            char *copy = malloc(piece);
            memcpy(copy, bytes + done, piece);
            cr_assert_eq(weir_send(conn, copy, piece), 0);
            memset(copy, 0, piece); /* it was copied */
            free(copy);
        }
        done += piece;
    }
}

typedef struct mixture {
    world *w;
    weir_conn_id id;
    const char *bytes;
    uint64_t seed;
} mixture;

enum { MIXTURE = 200000, ROUNDS = 30 };

static void run_mixture(void *data)
{
    mixture *m = data;
    send_mixture(world_conn(m->w, m->id), m->bytes, MIXTURE, &m->seed);
}

Test(send, copies_and_buffers_of_any_size_keep_their_order)
{
    char *bytes = filled(MIXTURE);
    world w = { .protocol = { .outbox = ROOM } };
    world_start(&w);
    raw_peer peer = world_connect_small(&w); /* so that some wait while others are in flight */
    WORLD_AWAIT(&w, w.opened == 1);
    mixture m = { .w = &w, .id = w.id, .bytes = bytes, .seed = 42 };
    for (int i = 0; i < ROUNDS; i++) world_run(&w, 0, run_mixture, &m);
    cr_assert_gt(world_queued(&w, w.id), 0, "the peer has not read");
    for (int i = 0; i < ROUNDS; i++) hear(peer, bytes, MIXTURE);
    WORLD_AWAIT(&w, world_stats(&w).queued == 0);
    raw_close(peer);
    WORLD_AWAIT(&w, w.closed == 1);
    world_stop(&w);
    free(bytes);
}

/* ---- sharing ---- */

Test(send, a_buffer_is_shared_by_all_that_it_was_sent_to_and_freed_with_the_last)
{
    enum { PEERS = 20, SIZE = 100000 };
    raw_peer peers[PEERS];
    weir_conn_id ids[PEERS];
    char *bytes = filled(SIZE);
    weir_buf *buf = weir_buf_copy(bytes, SIZE);
    world w = { .protocol = { .outbox = ROOM } };
    world_start(&w);
    for (unsigned i = 0; i < PEERS; i++) {
        peers[i] = world_connect_small(&w);
        WORLD_AWAIT(&w, w.opened == i + 1);
        ids[i] = w.id;
    }
    uint64_t idle = world_stats(&w).memory;
    for (int round = 0; round < 50; round++) /* more than the kernel takes of it */
        for (int i = 0; i < PEERS; i++) cr_assert_eq(world_send_buf(&w, ids[i], buf), 0);
    cr_assert_gt(buf->references, PEERS);
    cr_assert_lt(world_stats(&w).memory - idle, SIZE, "a hundred million bytes are owed, and none is copied");
    for (int i = 0; i < PEERS / 2; i++)
        for (int round = 0; round < 50; round++) hear(peers[i], bytes, SIZE);
    for (int i = PEERS / 2; i < PEERS; i++) raw_reset(peers[i]); /* their references end too */
    WORLD_AWAIT(&w, w.closed == PEERS / 2 && buf->references == 1);
    weir_buf_release(buf);
    for (int i = 0; i < PEERS / 2; i++) raw_close(peers[i]);
    WORLD_AWAIT(&w, w.closed == PEERS);
    world_stop(&w);
    free(bytes);
}

Test(send, a_buffer_may_be_released_right_after_the_send)
{
    char *bytes = filled(LARGE);
    weir_buf *buf = weir_buf_copy(bytes, LARGE);
    world w = { .protocol = { .outbox = ROOM } };
    world_start(&w);
    raw_peer peer = world_connect_small(&w);
    WORLD_AWAIT(&w, w.opened == 1);
    cr_assert_eq(world_send_buf(&w, w.id, buf), 0);
    weir_buf_release(buf);
    hear(peer, bytes, LARGE);
    raw_close(peer);
    WORLD_AWAIT(&w, w.closed == 1);
    world_stop(&w);
    free(bytes);
}

/* ---- memory ---- */

Test(send, an_empty_outbox_holds_no_memory)
{
    enum { SIZE = 4 << 20 };
    char *bytes = filled(SIZE);
    world w = { .protocol = { .outbox = ROOM } };
    world_start(&w);
    raw_peer peer = world_connect_small(&w);
    WORLD_AWAIT(&w, w.opened == 1);
    uint64_t idle = 0;
    for (int round = 0; round < 4; round++) { /* the first one warms the pools up */
        cr_assert_eq(world_send(&w, w.id, bytes, 100), 0);
        cr_assert_eq(world_send(&w, w.id, bytes, SIZE), 0);
        cr_assert_eq(world_send(&w, w.id, bytes, 2000), 0);
        cr_assert_gt(world_stats(&w).memory, idle + SIZE / 2, "what is owed is accounted");
        hear(peer, bytes, 100);
        hear(peer, bytes, SIZE);
        hear(peer, bytes, 2000);
        WORLD_AWAIT(&w, world_stats(&w).queued == 0);
        if (round == 0) idle = world_stats(&w).memory;
        cr_assert_eq(world_stats(&w).memory, idle);
    }
    raw_close(peer);
    WORLD_AWAIT(&w, w.closed == 1);
    world_stop(&w);
    free(bytes);
}

Test(send, without_memory_the_connection_ends_and_the_send_says_so)
{
    char *bytes = filled(100000);
    world w = { .manual = true };
    world_start(&w);
    for (unsigned i = 0; i < 2; i++) { /* a chunk, and a block of its own */
        raw_peer peer = world_connect(&w);
        WORLD_AWAIT(&w, w.opened == i + 1);
        world_refuse(&w, 1); /* for the post of world_send itself */
        cr_assert_eq(world_send(&w, w.id, bytes, i ? 100000 : 100), WEIR_ENOMEM);
        world_refuse(&w, -1);
        WORLD_AWAIT(&w, w.closed == i + 1);
        cr_assert_eq(w.error, WEIR_ENOMEM);
        raw_close(peer);
    }
    world_stop(&w);
    free(bytes);
}

/* Many connections that want to send at once each get their turn. */
Test(send, a_fast_reader_does_not_wait_for_a_slow_one)
{
    enum { SIZE = 8 << 20 };
    char *bytes = filled(SIZE);
    world w = { .protocol = { .outbox = ROOM } };
    world_start(&w);
    raw_peer slow = world_connect_small(&w);
    WORLD_AWAIT(&w, w.opened == 1);
    cr_assert_eq(world_send(&w, w.id, bytes, SIZE), 0);
    raw_peer fast = world_connect(&w);
    WORLD_AWAIT(&w, w.opened == 2);
    cr_assert_eq(world_send(&w, w.id, bytes, SIZE), 0);
    hear(fast, bytes, SIZE);
    hear(slow, bytes, SIZE);
    raw_close(fast);
    raw_close(slow);
    WORLD_AWAIT(&w, w.closed == 2);
    world_stop(&w);
    free(bytes);
}
