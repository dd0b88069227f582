/* A peer that reads more slowly than it is sent to: what is held for it, and the policies; of
 * WEIR_SLOW_PAUSE: slow_pause_test.c. */
#include <stdlib.h>

#include "core/outbox.h"
#include "core/world.h"

enum {
    SOFT = 64 * 1024,
    HARD = 256 * 1024,
    LONG_MS = 60000,
    SHORT_MS = 150 * RAW_SLOWDOWN,
    SIZE = 1000,  /* of a message */
    MANY = 20000, /* messages: more than the kernel's buffers and the limits take together */
};

static weir_outbox_options limits(weir_slow_policy policy, uint32_t soft_limit_ms)
{
    return (weir_outbox_options){
        .soft_limit = SOFT, .soft_limit_ms = soft_limit_ms, .hard_limit = HARD, .policy = policy
    };
}

static uint64_t ms_since(uint64_t ns)
{
    return (wr_os_now_ns() - ns) / 1000000;
}

/* Numbered messages of SIZE bytes, to a connection that may refuse some. */
typedef struct flood {
    world *w;
    weir_conn_id id;
    unsigned wanted;   /* how many to try */
    size_t until;      /* stops once so much is queued; 0: never */
    uint32_t next;     /* number of the next one */
    unsigned taken;    /* sends that said 0 */
    unsigned refused;  /* WEIR_ESLOW */
    int error;         /* what the last one said */
    uint32_t *numbers; /* of those that were taken; may be NULL */
} flood;

static void run_flood(void *data)
{
    flood *f = data;
    weir_conn *conn = world_conn(f->w, f->id);
    for (unsigned i = 0; i < f->wanted; i++) {
        uint8_t message[SIZE];
        memset(message, (int)f->next, sizeof message);
        memcpy(message, &f->next, sizeof f->next);
        f->error = weir_send(conn, message, sizeof message);
        if (f->error == 0 && f->numbers) f->numbers[f->taken] = f->next;
        f->next++;
        if (f->error == 0)
            f->taken++;
        else if (f->error == WEIR_ESLOW)
            f->refused++;
        else
            return; /* it has ended */
        if (f->until && weir_conn_queued(conn) > f->until) return;
    }
}

/* Whether more than `until` bytes stay queued: the system has taken what it can. A system that completes sends later
 * may still be at work on those of the last pass. */
static bool is_stuck(const flood *f, size_t until)
{
    enum { STILL_MS = 100 * RAW_SLOWDOWN };
    uint64_t start = wr_os_now_ns();
    do {
        if (world_stats(f->w).queued <= until) return f->w->closed > 0;
        world_turn(f->w);
    } while (ms_since(start) < STILL_MS);
    return true;
}

/* Sends in passes of 20 messages, so that the system takes what it can, up to `messages`, or to `until` bytes that stay
 * queued. */
static void pour(flood *f, unsigned messages, size_t until)
{
    f->wanted = 20;
    f->until = until;
    for (unsigned done = 0; done < messages; done += f->wanted) {
        if (f->error != 0 && f->error != WEIR_ESLOW) return;
        world_run(f->w, 0, run_flood, f);
        if (until && is_stuck(f, until)) return;
    }
}

static raw_peer open_slow(world *w, flood *f)
{
    raw_peer peer = world_connect_small(w);
    WORLD_AWAIT(w, w->opened > w->closed);
    *f = (flood){ .w = w, .id = w->id };
    return peer;
}

/* The peer reads `count` messages, which must be whole and be those of the numbers. */
static void read_messages(raw_peer peer, const uint32_t *numbers, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        uint8_t message[SIZE];
        uint32_t number;
        raw_receive(peer, message, sizeof message);
        memcpy(&number, message, sizeof number);
        cr_assert_eq(number, numbers[i], "message %u of those taken is number %u, came as %u", i, numbers[i], number);
        for (int j = sizeof number; j < SIZE; j++) cr_assert_eq(message[j], (uint8_t)number);
    }
}

/* ---- WEIR_SLOW_DISCONNECT ---- */

Test(slow, at_the_hard_limit_the_peer_is_disconnected_at_once)
{
    world w = { .protocol = { .outbox = limits(WEIR_SLOW_DISCONNECT, LONG_MS) } };
    flood f;
    world_start(&w);
    raw_peer peer = open_slow(&w, &f);
    while (f.error == 0 && f.next < MANY) {
        f.wanted = 1000;
        world_run(&w, 0, run_flood, &f);
    }
    cr_assert_eq(f.refused, 1, "only the first one hears of slowness");
    cr_assert_eq(f.error, WEIR_ECLOSED, "the later ones of an end");
    WORLD_AWAIT(&w, w.closed == 1);
    cr_assert_eq(w.error, WEIR_ESLOW);
    cr_assert_eq(world_closed(&w, WEIR_ESLOW), 1);
    cr_assert_eq(world_stats(&w).sends_dropped, 1);
    cr_assert_eq(world_stats(&w).queued, 0);
    cr_assert_eq(raw_await_end(peer), RAW_RESET);
    raw_close(peer);
    world_stop(&w);
}

Test(slow, one_message_over_the_hard_limit_disconnects)
{
    static char large[HARD + 1];
    world w = { .protocol = { .outbox = limits(WEIR_SLOW_DISCONNECT, LONG_MS) } };
    world_start(&w);
    raw_peer peer = world_connect(&w);
    WORLD_AWAIT(&w, w.opened == 1);
    cr_assert_eq(world_send(&w, w.id, large, HARD), 0);
    char *got = malloc(HARD);
    raw_receive(peer, got, HARD);
    free(got);
    WORLD_AWAIT(&w, world_stats(&w).queued == 0);
    cr_assert_eq(world_send(&w, w.id, large, HARD + 1), WEIR_ESLOW);
    WORLD_AWAIT(&w, w.closed == 1);
    cr_assert_eq(w.error, WEIR_ESLOW);
    raw_close(peer);
    world_stop(&w);
}

Test(slow, over_the_soft_limit_for_too_long_the_peer_is_disconnected)
{
    world w = { .protocol = { .outbox = limits(WEIR_SLOW_DISCONNECT, SHORT_MS) } };
    flood f;
    world_start(&w);
    raw_peer peer = open_slow(&w, &f);
    uint64_t start = wr_os_now_ns();
    pour(&f, MANY, SOFT);
    WORLD_AWAIT(&w, w.closed == 1);
    cr_assert_geq(ms_since(start), SHORT_MS - 2);
    cr_assert_eq(f.refused, 0);
    cr_assert_eq(w.error, WEIR_ESLOW);
    cr_assert_eq(world_closed(&w, WEIR_ESLOW), 1);
    cr_assert_eq(raw_await_end(peer), RAW_RESET);
    raw_close(peer);
    world_stop(&w);
}

Test(slow, under_the_soft_limit_it_may_stay_for_ever)
{
    world w = { .protocol = { .outbox = limits(WEIR_SLOW_DISCONNECT, SHORT_MS) } };
    flood f;
    world_start(&w);
    raw_peer peer = open_slow(&w, &f);
    pour(&f, MANY, SOFT / 2);
    WORLD_HOLDS(&w, SHORT_MS * 3, w.closed == 0);
    cr_assert_gt(world_queued(&w, f.id), SOFT / 2);
    raw_reset(peer);
    WORLD_AWAIT(&w, w.closed == 1);
    world_stop(&w);
}

Test(slow, back_under_the_soft_limit_in_time_all_is_forgotten)
{
    world w = { .protocol = { .outbox = limits(WEIR_SLOW_DISCONNECT, SHORT_MS * 6) } };
    static uint32_t numbers[MANY];
    flood f;
    world_start(&w);
    raw_peer peer = open_slow(&w, &f);
    unsigned read = 0;
    for (int i = 0; i < 3; i++) { /* each time over it, for less than the limit, in all for longer */
        f.numbers = numbers;
        pour(&f, MANY, SOFT);
        WORLD_HOLDS(&w, SHORT_MS * 2, w.closed == 0);
        read_messages(peer, numbers + read, f.taken - read);
        read = f.taken;
        WORLD_AWAIT(&w, world_queued(&w, f.id) == 0);
    }
    WORLD_HOLDS(&w, SHORT_MS * 7, w.closed == 0);
    raw_close(peer);
    WORLD_AWAIT(&w, w.closed == 1);
    cr_assert_eq(w.error, WEIR_EEOF);
    world_stop(&w);
}

/* ---- WEIR_SLOW_DROP_NEWEST ---- */

Test(slow, drop_newest_drops_whole_messages_and_goes_on_when_the_peer_reads_again)
{
    world w = { .protocol = { .outbox = limits(WEIR_SLOW_DROP_NEWEST, LONG_MS) } };
    static uint32_t numbers[2 * MANY];
    flood f;
    world_start(&w);
    raw_peer peer = open_slow(&w, &f);
    f.numbers = numbers;
    unsigned read = 0;
    for (int episode = 0; episode < 3; episode++) {
        unsigned refused = f.refused;
        pour(&f, MANY, HARD - SIZE); /* to the hard limit, */
        pour(&f, 100, 0);            /* and beyond */
        cr_assert_gt(f.refused, refused);
        cr_assert_leq(world_queued(&w, f.id), HARD);
        unsigned taken = f.taken;
        pour(&f, 100, 0);
        cr_assert_eq(f.taken, taken, "whatever its size, nothing goes before the peer has read");
        cr_assert_eq(world_stats(&w).sends_dropped, f.refused);
        read_messages(peer, numbers + read, f.taken - read);
        read = f.taken;
        WORLD_AWAIT(&w, world_queued(&w, f.id) == 0);
        pour(&f, 20, 0);
        cr_assert_eq(f.taken, read + 20, "it takes again");
    }
    read_messages(peer, numbers + read, f.taken - read);
    cr_assert(raw_is_silent(peer, 20), "what was dropped does not come");
    cr_assert_eq(w.closed, 0);
    raw_close(peer);
    WORLD_AWAIT(&w, w.closed == 1);
    cr_assert_eq(w.error, WEIR_EEOF);
    world_stop(&w);
}

Test(slow, drop_newest_begins_after_too_long_over_the_soft_limit)
{
    world w = { .protocol = { .outbox = limits(WEIR_SLOW_DROP_NEWEST, SHORT_MS) } };
    flood f;
    world_start(&w);
    raw_peer peer = open_slow(&w, &f);
    pour(&f, MANY, SOFT);
    cr_assert_eq(f.refused, 0);
    WORLD_AWAIT(&w, world_send(&w, f.id, "x", 1) == WEIR_ESLOW);
    cr_assert_lt(world_queued(&w, f.id), HARD / 2, "though there is room");
    cr_assert_eq(w.closed, 0);
    raw_reset(peer);
    WORLD_AWAIT(&w, w.closed == 1);
    world_stop(&w);
}

Test(slow, a_message_too_large_for_an_outbox_with_room_is_dropped_alone)
{
    static char large[HARD + 1];
    char got[3];
    world w = { .protocol = { .outbox = limits(WEIR_SLOW_DROP_NEWEST, LONG_MS) } };
    world_start(&w);
    raw_peer peer = world_connect(&w);
    WORLD_AWAIT(&w, w.opened == 1);
    cr_assert_eq(world_send(&w, w.id, large, sizeof large), WEIR_ESLOW);
    cr_assert_eq(world_send(&w, w.id, "end", 3), 0);
    raw_receive(peer, got, 3);
    cr_assert_arr_eq(got, "end", 3);
    cr_assert_eq(world_stats(&w).sends_dropped, 1);
    raw_close(peer);
    WORLD_AWAIT(&w, w.closed == 1);
    world_stop(&w);
}

/* While the peer catches up, other threads have more in the mailbox than the soft limit: that must not keep it dropping
 * when all of it has gone. */
Test(slow, dropping_ends_also_when_other_threads_sent_meanwhile)
{
    static char large[SOFT + 20000], junk[65536];
    world w = { .manual = true, .protocol = { .outbox = limits(WEIR_SLOW_DROP_NEWEST, 1) } };
    world_start(&w);
    raw_peer peer = world_connect_small(&w);
    WORLD_AWAIT(&w, w.opened == 1);
    weir_conn_id id = w.id;
    while (world_queued(&w, id) == 0) { /* until one does not fit the kernel's buffers any more */
        cr_assert_eq(world_send(&w, id, large, sizeof large), 0);
        world_settle(&w);
    }
    WORLD_AWAIT(&w, world_send(&w, id, "x", 1) == WEIR_ESLOW);
    raw_while_waiting(NULL, NULL); /* the worker rests: the kernel's buffers are read, and the mailbox fills */
    raw_end end;
    for (int silent = 0; silent < 20; silent++) {
        if (raw_receive_some(peer, junk, sizeof junk, &end) > 0) silent = 0;
        weir_sleep_ms(1);
    }
    for (int i = 0; i < 2000; i++) cr_assert_eq(weir_send_to(w.runtime, id, junk, 100), 0);
    world_settle(&w);
    WORLD_AWAIT(&w, (raw_receive_some(peer, junk, sizeof junk, &end), world_queued(&w, id) == 0));
    cr_assert_eq(world_send(&w, id, "x", 1), 0);
    raw_close(peer);
    WORLD_AWAIT(&w, w.closed == 1);
    world_stop(&w);
}

/* ---- WEIR_SLOW_NOTIFY ---- */

static size_t told_queued;

static void note_queued(weir_conn *conn, size_t queued)
{
    cr_assert_eq(queued, weir_conn_queued(conn));
    told_queued = queued;
    cr_assert_eq(weir_send(conn, "x", SIZE_MAX), WEIR_ESLOW); /* from here too, and it is no second notice */
}

Test(slow, notify_tells_once_an_episode_and_refuses_over_the_hard_limit)
{
    world w = { .protocol = { .outbox = limits(WEIR_SLOW_NOTIFY, LONG_MS), .on_slow = note_queued } };
    static uint32_t numbers[3 * MANY];
    flood f;
    world_start(&w);
    raw_peer peer = open_slow(&w, &f);
    f.numbers = numbers;
    unsigned read = 0;
    for (unsigned episode = 1; episode <= 3; episode++) {
        pour(&f, MANY, HARD - SIZE);
        unsigned refused = f.refused;
        pour(&f, 200, 0);
        cr_assert_gt(f.refused, refused);
        cr_assert_leq(world_queued(&w, f.id), HARD);
        WORLD_AWAIT(&w, w.slowed == episode);
        WORLD_HOLDS(&w, 20, w.slowed == episode);
        cr_assert_gt(told_queued, SOFT);
        cr_assert_leq(told_queued, HARD);
        read_messages(peer, numbers + read, f.taken - read);
        read = f.taken;
        WORLD_AWAIT(&w, world_queued(&w, f.id) == 0);
    }
    cr_assert_eq(world_stats(&w).sends_dropped, f.refused + 3);
    cr_assert_eq(w.closed, 0);
    raw_close(peer);
    WORLD_AWAIT(&w, w.closed == 1);
    cr_assert_eq(w.error, WEIR_EEOF);
    world_stop(&w);
}

Test(slow, notify_tells_of_too_long_over_the_soft_limit)
{
    world w = { .protocol = { .outbox = limits(WEIR_SLOW_NOTIFY, SHORT_MS), .on_slow = note_queued } };
    flood f;
    world_start(&w);
    raw_peer peer = open_slow(&w, &f);
    uint64_t start = wr_os_now_ns();
    pour(&f, MANY, SOFT);
    WORLD_AWAIT(&w, w.slowed == 1);
    cr_assert_geq(ms_since(start), SHORT_MS - 2);
    WORLD_HOLDS(&w, SHORT_MS * 2, w.slowed == 1);
    raw_reset(peer);
    WORLD_AWAIT(&w, w.closed == 1);
    world_stop(&w);
}

static void abort_slow(weir_conn *conn, size_t queued)
{
    (void)queued;
    weir_abort(conn);
}

Test(slow, on_slow_may_abort)
{
    world w = { .protocol = { .outbox = limits(WEIR_SLOW_NOTIFY, LONG_MS), .on_slow = abort_slow } };
    flood f;
    world_start(&w);
    raw_peer peer = open_slow(&w, &f);
    f.wanted = MANY;
    world_run(&w, 0, run_flood, &f);
    WORLD_AWAIT(&w, w.closed == 1);
    cr_assert_eq(w.error, WEIR_EABORTED);
    cr_assert_eq(w.slowed, 1);
    raw_close(peer);
    world_stop(&w);
}

static void ignore_slow(weir_conn *conn, size_t queued)
{
    (void)conn, (void)queued;
}

/* ---- memory ---- */

typedef struct hose {
    world *w;
    weir_conn_id id;
    uint32_t copied, shared; /* bytes of each, by turns; 0: none */
} hose;

static void run_hose(void *data)
{
    static char bytes[8192];
    hose *h = data;
    weir_conn *conn = world_conn(h->w, h->id);
    weir_buf *buf = weir_buf_copy(bytes, h->shared);
    for (unsigned sent = 0; sent < HARD; sent += h->copied + h->shared) {
        (void)weir_send(conn, bytes, h->copied);
        (void)weir_send_buf(conn, buf);
    }
    weir_buf_release(buf);
}

/* The bound is twice the limit: a chunk of 2 KiB holds one copy of a little over half of that. */
static void never_read(uint32_t copied, uint32_t shared)
{
    world w = { .protocol = { .outbox = limits(WEIR_SLOW_NOTIFY, LONG_MS), .on_slow = ignore_slow } };
    world_start(&w);
    raw_peer peer = world_connect_small(&w);
    WORLD_AWAIT(&w, w.opened == 1);
    hose h = { .w = &w, .id = w.id, .copied = copied, .shared = shared };
    uint64_t before = w.memory.used;
    atomic_store(&w.memory.peak, before);
    for (int i = 0; i < 60; i++) world_run(&w, 0, run_hose, &h); /* 15 MiB */
    size_t queued = world_queued(&w, w.id);
    cr_assert_gt(queued, HARD - 10000, "it is full");
    cr_assert_leq(queued, HARD);
    cr_assert_leq(w.memory.peak - before, 2 * HARD + 2 * HARD / 32 + 2 * WR_CHUNK_SIZE,
                  "copies of %u and buffers of %u take %llu bytes", copied, shared,
                  (unsigned long long)(w.memory.peak - before));
    raw_reset(peer);
    WORLD_AWAIT(&w, w.closed == 1);
    world_stop(&w);
}

Test(slow, a_peer_that_never_reads_holds_no_more_than_its_limit_whatever_is_sent, .timeout = 60)
{
    const uint32_t kinds[][2] = { { 10, 0 },    { 1000, 0 },  { 1001, 0 },   { 5000, 0 }, { 0, 100 },
                                  { 10, 10 },   { 13, 500 },  { 1001, 100 }, { 1, 1024 }, { 1, 1025 },
                                  { 13, 3000 }, { 2000, 64 }, { 5000, 20 } };
    for (unsigned i = 0; i < sizeof kinds / sizeof *kinds; i++) never_read(kinds[i][0], kinds[i][1]);
}

/* ---- other threads ---- */

enum { THREADS = 4 };

typedef struct sender {
    world *w;
    weir_conn_id id;
    unsigned messages;
    unsigned taken, refused;
    wr_thread thread;
} sender;

static void send_many(void *arg)
{
    static const char message[SIZE];
    sender *s = arg;
    for (unsigned i = 0; i < s->messages; i++) {
        int error = weir_send_to(s->w->runtime, s->id, message, sizeof message);
        cr_assert(error == 0 || error == WEIR_ESLOW, "%s", weir_error_name(error));
        *(error ? &s->refused : &s->taken) += 1;
    }
}

static void send_from_threads(world *w, unsigned messages, sender *senders)
{
    for (int i = 0; i < THREADS; i++) {
        senders[i] = (sender){ .w = w, .id = w->id, .messages = messages };
        cr_assert_eq(wr_thread_start(&senders[i].thread, "sender", send_many, &senders[i]), 0);
    }
    for (int i = 0; i < THREADS; i++) wr_thread_join(&senders[i].thread);
}

Test(slow, threads_that_outrun_the_worker_are_refused_at_the_hard_limit)
{
    world w = { .manual = true, .protocol = { .outbox = limits(WEIR_SLOW_DISCONNECT, LONG_MS) } };
    sender senders[THREADS];
    world_start(&w);
    raw_peer peer = world_connect(&w);
    WORLD_AWAIT(&w, w.opened == 1);
    uint64_t before = w.memory.used;
    send_from_threads(&w, 5000, senders); /* the worker does not run meanwhile */
    unsigned taken = 0, refused = 0;
    for (int i = 0; i < THREADS; i++) {
        taken += senders[i].taken;
        refused += senders[i].refused;
        cr_assert_gt(senders[i].refused, 0);
    }
    cr_assert_eq(taken, HARD / SIZE);
    cr_assert_leq(w.memory.peak - before, HARD + HARD / 8);
    cr_assert_eq(world_stats(&w).sends_dropped, refused);
    WORLD_AWAIT(&w, w.closed == 1);
    cr_assert_eq(w.error, WEIR_ESLOW);
    cr_assert_eq(world_closed(&w, WEIR_ESLOW), 1);
    raw_close(peer);
    world_stop(&w);
}

Test(slow, threads_that_flood_a_peer_that_never_reads_get_it_disconnected)
{
    world w = { .protocol = { .outbox = limits(WEIR_SLOW_DISCONNECT, LONG_MS) } };
    sender senders[THREADS];
    world_start(&w);
    raw_peer peer = world_connect_small(&w);
    WORLD_AWAIT(&w, w.opened == 1);
    uint64_t before = w.memory.used;
    send_from_threads(&w, MANY, senders);
    WORLD_AWAIT(&w, w.closed == 1);
    cr_assert_eq(w.error, WEIR_ESLOW);
    /* As much in the mailbox as in the outbox, and a buffer or two of the worker's. */
    cr_assert_leq(w.memory.peak - before, 2 * HARD + HARD / 2, "%llu bytes",
                  (unsigned long long)(w.memory.peak - before));
    raw_close(peer);
    world_stop(&w);
}

Test(slow, threads_that_flood_do_not_take_more_memory_where_the_policy_keeps_the_peer)
{
    const weir_slow_policy policies[] = { WEIR_SLOW_DROP_NEWEST, WEIR_SLOW_NOTIFY };
    for (int i = 0; i < 2; i++) {
        world w = { .protocol = { .outbox = limits(policies[i], LONG_MS), .on_slow = ignore_slow } };
        sender senders[THREADS];
        world_start(&w);
        raw_peer peer = world_connect_small(&w);
        WORLD_AWAIT(&w, w.opened == 1);
        uint64_t before = w.memory.used;
        send_from_threads(&w, MANY, senders);
        unsigned refused = 0, taken = 0;
        for (int j = 0; j < THREADS; j++) {
            refused += senders[j].refused;
            taken += senders[j].taken;
        }
        cr_assert_leq(w.memory.peak - before, 2 * HARD + HARD / 2, "%llu bytes",
                      (unsigned long long)(w.memory.peak - before));
        cr_assert_leq(world_queued(&w, w.id), HARD); /* its post comes after all sends */
        cr_assert_geq(world_stats(&w).sends_dropped, refused);
        /* What was taken was sent, is queued, or was dropped and counted: once nothing moves between the numbers. */
        WORLD_AWAIT(&w, world_stats(&w).bytes_sent + world_queued(&w, w.id) +
                                (world_stats(&w).sends_dropped - refused) * SIZE ==
                            (uint64_t)taken * SIZE);
        cr_assert_eq(w.closed, 0);
        if (policies[i] == WEIR_SLOW_NOTIFY) WORLD_AWAIT(&w, w.slowed > 0);
        raw_reset(peer);
        WORLD_AWAIT(&w, w.closed == 1);
        world_stop(&w);
    }
}

/* ---- in other states ---- */

Test(slow, a_connection_that_is_closing_still_flushes_when_another_thread_sends_too_much)
{
    enum { TAIL = HARD };
    static char tail[TAIL], got[TAIL], large[HARD + 1];
    world w = { .protocol = { .outbox = limits(WEIR_SLOW_DISCONNECT, LONG_MS), .close_timeout_ms = LONG_MS } };
    size_t total = 0;
    world_fill(tail, TAIL, 4);
    world_start(&w);
    raw_peer peer = world_connect_small(&w);
    WORLD_AWAIT(&w, w.opened == 1);
    while (world_queued(&w, w.id) == 0) { /* the last one stays here */
        cr_assert_eq(world_send(&w, w.id, tail, TAIL), 0);
        total += TAIL;
    }
    world_close(&w, w.id);
    cr_assert_eq(weir_send_to(w.runtime, w.id, large, sizeof large), WEIR_ESLOW);
    for (size_t done = 0; done < total; done += TAIL) {
        raw_receive(peer, got, TAIL);
        cr_assert_arr_eq(got, tail, TAIL);
    }
    cr_assert_eq(raw_await_end(peer), RAW_FIN);
    raw_close(peer);
    WORLD_AWAIT(&w, w.closed == 1);
    cr_assert_eq(w.error, WEIR_ECLOSED);
    world_stop(&w);
}

Test(slow, a_size_that_wraps_around_is_refused)
{
    world w = { .protocol = { .outbox = limits(WEIR_SLOW_DROP_NEWEST, LONG_MS) } };
    flood f;
    world_start(&w);
    raw_peer peer = open_slow(&w, &f);
    pour(&f, MANY, SOFT / 2);
    cr_assert_eq(world_send(&w, f.id, "x", (size_t)-1), WEIR_ESLOW);
    cr_assert_eq(weir_send_to(w.runtime, f.id, "x", (size_t)-1), WEIR_ESLOW);
    raw_reset(peer);
    WORLD_AWAIT(&w, w.closed == 1);
    world_stop(&w);
}
