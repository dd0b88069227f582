/* What any thread does to a connection by its id: in order, harmless for those that have gone, and never to another. */
#include <stdio.h>
#include <stdlib.h>

#include "core/buffer.h"
#include "core/runtime.h"
#include "core/slots.h"
#include "core/world.h"

enum { THREADS = 4, LONG_MS = 60000 };

static const weir_outbox_options ROOM = { .soft_limit = 256 << 20, .hard_limit = 256 << 20 };

/* ---- order ---- */

enum { MESSAGES = 5000 };

typedef struct sender {
    world *w;
    weir_conn_id id;
    uint32_t number; /* of the thread */
    bool shares;
    wr_thread thread;
} sender;

static void send_numbers(void *arg)
{
    sender *s = arg;
    for (uint32_t i = 0; i < MESSAGES; i++) {
        uint32_t message[2] = { s->number, i };
        if (s->shares && i % 2) {
            weir_buf *buf = weir_buf_copy(message, sizeof message);
            cr_assert_eq(weir_send_buf_to(s->w->runtime, s->id, buf), 0);
            weir_buf_release(buf);
        } else {
            cr_assert_eq(weir_send_to(s->w->runtime, s->id, message, sizeof message), 0);
        }
    }
}

static void check_order(bool shares)
{
    world w = { .protocol = { .outbox = ROOM } };
    sender senders[THREADS];
    uint32_t next[THREADS] = { 0 };
    world_start(&w);
    raw_peer peer = world_connect(&w);
    WORLD_AWAIT(&w, w.opened == 1);
    for (unsigned i = 0; i < THREADS; i++) {
        senders[i] = (sender){ .w = &w, .id = w.id, .number = i, .shares = shares };
        cr_assert_eq(wr_thread_start(&senders[i].thread, "sender", send_numbers, &senders[i]), 0);
    }
    for (unsigned i = 0; i < THREADS * MESSAGES; i++) {
        uint32_t message[2];
        raw_receive(peer, message, sizeof message);
        cr_assert_lt(message[0], THREADS, "a message is not whole");
        cr_assert_eq(message[1], next[message[0]], "thread %u", message[0]);
        next[message[0]]++;
    }
    for (int i = 0; i < THREADS; i++) wr_thread_join(&senders[i].thread);
    cr_assert_geq(world_stats(&w).posts, (uint64_t)THREADS * MESSAGES);
    cr_assert_eq(world_stats(&w).sends_dead, 0);
    raw_close(peer);
    WORLD_AWAIT(&w, w.closed == 1);
    world_stop(&w);
}

Test(remote, the_sends_of_a_thread_arrive_in_order)
{
    check_order(false);
}

Test(remote, copies_and_buffers_of_a_thread_arrive_in_order)
{
    check_order(true);
}

Test(remote, a_buffer_is_shared_and_its_reference_given_back)
{
    enum { SIZE = 100000, PEERS = 5 };
    static char bytes[SIZE], got[SIZE];
    world w = { .protocol = { .outbox = ROOM } };
    raw_peer peers[PEERS];
    weir_buf *buf = weir_buf_copy(bytes, SIZE);
    world_start(&w);
    for (unsigned i = 0; i < PEERS; i++) {
        peers[i] = world_connect(&w);
        WORLD_AWAIT(&w, w.opened == i + 1);
        cr_assert_eq(weir_send_buf_to(w.runtime, w.id, buf), 0);
    }
    for (int i = 0; i < PEERS; i++) raw_receive(peers[i], got, SIZE);
    WORLD_AWAIT(&w, buf->references == 1);
    weir_conn_id id = w.id;
    for (int i = 0; i < PEERS; i++) raw_close(peers[i]);
    WORLD_AWAIT(&w, w.closed == PEERS);
    cr_assert_eq(weir_send_buf_to(w.runtime, id, buf), 0);
    cr_assert_eq(buf->references, 1, "nobody is left to have one");
    world_stop(&w);
    weir_buf_release(buf);
}

Test(remote, what_is_on_the_way_when_the_runtime_ends_is_freed)
{
    world w = { .manual = true, .protocol = { .outbox = ROOM } };
    weir_buf *buf = weir_buf_copy("shared", 6);
    world_start(&w);
    raw_peer peer = world_connect(&w);
    WORLD_AWAIT(&w, w.opened == 1);
    for (int i = 0; i < 100; i++) {
        cr_assert_eq(weir_send_to(w.runtime, w.id, "copied", 6), 0);
        cr_assert_eq(weir_send_buf_to(w.runtime, w.id, buf), 0);
    }
    raw_close(peer);
    world_stop(&w); /* asserts that nothing leaked */
    cr_assert_eq(buf->references, 1);
    weir_buf_release(buf);
}

Test(remote, bad_arguments_are_refused)
{
    world w = { 0 };
    world_start(&w);
    raw_peer peer = world_connect(&w);
    WORLD_AWAIT(&w, w.opened == 1);
    cr_assert_eq(weir_send_to(w.runtime, w.id, NULL, 1), WEIR_EINVAL);
    cr_assert_eq(weir_send_buf_to(w.runtime, w.id, NULL), WEIR_EINVAL);
    cr_assert_eq(weir_send_to(w.runtime, w.id, NULL, 0), 0);
    cr_assert_eq(weir_send_to(w.runtime, w.id, "", 0), 0);
    cr_assert(raw_is_silent(peer, 10));
    raw_close(peer);
    WORLD_AWAIT(&w, w.closed == 1);
    world_stop(&w);
}

/* ---- the end by id ---- */

Test(remote, close_by_id_flushes_what_the_same_thread_sent_before)
{
    char got[16];
    size_t size;
    world w = { .protocol = { .close_timeout_ms = LONG_MS } };
    world_start(&w);
    raw_peer peer = world_connect(&w);
    WORLD_AWAIT(&w, w.opened == 1);
    cr_assert_eq(weir_send_to(w.runtime, w.id, "bye", 3), 0);
    cr_assert_eq(weir_close_id(w.runtime, w.id), 0);
    cr_assert_eq(weir_close_id(w.runtime, w.id), 0);
    cr_assert_eq(weir_send_to(w.runtime, w.id, "late", 4), 0);
    cr_assert_eq(raw_receive_all(peer, got, sizeof got, &size), RAW_FIN);
    cr_assert_eq(size, 3);
    raw_close(peer);
    WORLD_AWAIT(&w, w.closed == 1);
    cr_assert_eq(w.error, WEIR_ECLOSED);
    world_stop(&w);
}

Test(remote, abort_by_id_resets)
{
    world w = { 0 };
    world_start(&w);
    raw_peer peer = world_connect(&w);
    WORLD_AWAIT(&w, w.opened == 1);
    cr_assert_eq(weir_abort_id(w.runtime, w.id), 0);
    cr_assert_eq(weir_abort_id(w.runtime, w.id), 0);
    cr_assert_eq(raw_await_end(peer), RAW_RESET);
    WORLD_AWAIT(&w, w.closed == 1);
    cr_assert_eq(w.error, WEIR_EABORTED);
    raw_close(peer);
    world_stop(&w);
}

/* ---- ids of those that have gone ---- */

Test(remote, an_old_id_never_reaches_the_newer_connection_in_its_slot, .timeout = 60)
{
    enum { ROUNDS = 3000 / RAW_SLOWDOWN };
    static weir_conn_id ids[ROUNDS];
    world w = { .protocol = { .framing = weir_framing_line() } };
    weir_buf *buf = weir_buf_copy("for the dead", 12);
    world_start(&w);
    for (unsigned i = 0; i < ROUNDS; i++) {
        raw_peer peer = world_connect(&w);
        WORLD_AWAIT(&w, w.opened == i + 1);
        ids[i] = w.id;
        cr_assert_eq(wr_id_slot(ids[i]), wr_id_slot(ids[0]), "the test wants the same slot");
        raw_reset(peer);
        WORLD_AWAIT(&w, w.closed == i + 1);
    }
    raw_peer peer = world_connect(&w);
    WORLD_AWAIT(&w, w.opened == ROUNDS + 1);
    cr_assert_eq(wr_id_slot(w.id), wr_id_slot(ids[0]));
    for (unsigned i = 0; i < ROUNDS; i++) {
        cr_assert_eq(weir_send_to(w.runtime, ids[i], "for the dead", 12), 0);
        cr_assert_eq(weir_send_buf_to(w.runtime, ids[i], buf), 0);
        cr_assert_eq(weir_close_id(w.runtime, ids[i]), 0);
        cr_assert_eq(weir_abort_id(w.runtime, ids[i]), 0);
    }
    WORLD_AWAIT(&w, world_stats(&w).sends_dead == (uint64_t)2 * ROUNDS);
    cr_assert_eq(world_send(&w, w.id, "alive", 5), 0);
    char got[5];
    raw_receive(peer, got, 5);
    cr_assert_arr_eq(got, "alive", 5);
    cr_assert(raw_is_silent(peer, 10));
    cr_assert_eq(w.closed, ROUNDS);
    raw_close(peer);
    WORLD_AWAIT(&w, w.closed == ROUNDS + 1);
    world_stop(&w);
    weir_buf_release(buf);
}

/* Sent while it lived, served when another one has its slot. */
Test(remote, what_is_on_the_way_to_one_that_ends_does_not_reach_the_next)
{
    enum { SENDS = 5000 };
    world w = { .manual = true, .protocol = { .outbox = ROOM } };
    world_start(&w);
    raw_peer first = world_connect(&w);
    WORLD_AWAIT(&w, w.opened == 1);
    weir_conn_id id = w.id;
    cr_assert_eq(weir_abort_id(w.runtime, id), 0);
    for (int i = 0; i < SENDS; i++) cr_assert_eq(weir_send_to(w.runtime, id, "for the dead", 12), 0);
    cr_assert_eq(weir_close_id(w.runtime, id), 0);
    while (w.closed == 0) wr_worker_step(&w.runtime->workers[0], 0); /* by single passes: a poll serves too many */
    cr_assert_lt(world_stats(&w).sends_dead, SENDS / 2);
    raw_while_waiting(NULL, NULL);
    raw_peer second = world_connect(&w);
    while (w.opened == 1) wr_worker_step(&w.runtime->workers[0], 0);
    cr_assert_lt(world_stats(&w).sends_dead, SENDS, "some must come when the second one is there");
    cr_assert_eq(wr_id_slot(w.id), wr_id_slot(id));
    WORLD_AWAIT(&w, world_stats(&w).sends_dead == SENDS);
    world_settle(&w);
    cr_assert(raw_is_silent(second, 10));
    cr_assert_eq(world_queued(&w, w.id), 0, "what was for the former one is not counted against it");
    cr_assert_eq(w.closed, 1);
    raw_close(first);
    raw_close(second);
    WORLD_AWAIT(&w, w.closed == 2);
    world_stop(&w);
}

/* ---- forged ids ---- */

static void poke(world *w, weir_conn_id id, bool never_issued)
{
    int errors[3] = { weir_send_to(w->runtime, id, "forged", 6), weir_close_id(w->runtime, id),
                      weir_abort_id(w->runtime, id) };
    for (int i = 0; i < 3; i++) {
        if (never_issued)
            cr_assert_eq(errors[i], WEIR_EINVAL, "%llx", (unsigned long long)id);
        else
            cr_assert(errors[i] == 0 || errors[i] == WEIR_EINVAL || errors[i] == WEIR_ESLOW);
    }
}

Test(remote, forged_ids_are_harmless)
{
    world w = { .runtime_options = { .workers = 3 } };
    uint64_t seed = 17;
    world_start(&w);
    raw_peer peer = world_connect(&w);
    WORLD_AWAIT(&w, w.opened == 1);
    weir_conn_id id = w.id;
    uint32_t generation = wr_id_generation(id);
    poke(&w, 0, true);
    poke(&w, wr_id_make(wr_id_worker(id), wr_id_slot(id), 0), true);
    poke(&w, wr_id_make(3, wr_id_slot(id), generation), true);
    poke(&w, wr_id_make(255, wr_id_slot(id), generation), true);
    poke(&w, wr_id_make(wr_id_worker(id), WR_SLOTS_MAX - 1, generation), true);
    poke(&w, UINT64_MAX, true);
    for (unsigned worker = 0; worker < 3; worker++)
        if (worker != wr_id_worker(id)) poke(&w, wr_id_make(worker, wr_id_slot(id), generation), false);
    poke(&w, wr_id_make(wr_id_worker(id), wr_id_slot(id), generation + 1), false);
    poke(&w, wr_id_make(wr_id_worker(id), wr_id_slot(id) + 1, 1), false); /* the next connection's, to come */
    for (int i = 0; i < 20000; i++) {
        weir_conn_id forged = world_random(&seed);
        if (i % 2) forged = wr_id_make(wr_id_worker(forged) % 4, wr_id_slot(forged) % 2048, wr_id_generation(forged));
        if (forged != id) poke(&w, forged, false);
    }
    cr_assert_eq(world_send(&w, id, "alive", 5), 0);
    char got[5];
    raw_receive(peer, got, 5);
    cr_assert_arr_eq(got, "alive", 5);
    cr_assert_eq(w.closed, 0);
    raw_close(peer);
    WORLD_AWAIT(&w, w.closed == 1);
    world_stop(&w);
}

Test(remote, an_id_used_before_its_time_leaves_the_connection_unharmed)
{
    static char large[4 << 20];
    world w = { .manual = true };
    world_start(&w);
    raw_peer first = world_connect(&w);
    WORLD_AWAIT(&w, w.opened == 1);
    weir_conn_id coming = wr_id_make(0, wr_id_slot(w.id) + 1, 1);
    (void)weir_send_to(w.runtime, coming, large, sizeof large);
    (void)weir_send_to(w.runtime, coming, "x", 1);
    (void)weir_close_id(w.runtime, coming);
    world_settle(&w);
    raw_peer second = world_connect(&w);
    WORLD_AWAIT(&w, w.opened == 2);
    cr_assert_eq(w.id, coming);
    cr_assert(raw_is_silent(second, 10));
    cr_assert_eq(weir_send_to(w.runtime, coming, large, sizeof large), WEIR_ESLOW);
    WORLD_AWAIT(&w, w.closed == 1); /* its policy is applied, as for any other */
    cr_assert_eq(w.error, WEIR_ESLOW);
    raw_close(first);
    raw_close(second);
    WORLD_AWAIT(&w, w.closed == 2);
    world_stop(&w);
}

/* ---- to a connection that is being opened ---- */

static void send_second(weir_conn *conn)
{
    cr_assert_eq(weir_send(conn, "second", 6), 0);
}

static weir_conn_id connect_to(world *w, const char *host, uint16_t port, const weir_protocol *protocol)
{
    char address[64];
    weir_conn_id id;
    weir_protocol wrapped = world_wrap(w, protocol);
    (void)snprintf(address, sizeof address, "%s:%u", host, port);
    cr_assert_eq(weir_connect(w->runtime, address, &wrapped, NULL, &id), 0);
    return id;
}

Test(remote, what_is_sent_to_a_connecting_connection_arrives)
{
    world w = { .no_listener = true };
    uint16_t port;
    char got[11];
    const weir_protocol protocol = { .on_open = send_second };
    world_start(&w);
    raw_peer listener = raw_listen(8, &port);
    weir_conn_id id = connect_to(&w, "127.0.0.1", port, &protocol);
    cr_assert_eq(weir_send_to(w.runtime, id, "first", 5), 0);
    raw_peer peer = raw_accept(listener);
    raw_receive(peer, got, 11);
    cr_assert(memcmp(got, "firstsecond", 11) == 0 || memcmp(got, "secondfirst", 11) == 0);
    cr_assert_eq(weir_close_id(w.runtime, id), 0);
    cr_assert_eq(raw_await_end(peer), RAW_FIN);
    raw_close(peer);
    raw_close(listener);
    WORLD_AWAIT(&w, w.closed == 1);
    cr_assert_eq(w.error, WEIR_ECLOSED);
    world_stop(&w);
}

Test(remote, one_that_is_ended_while_connecting_gets_on_close_alone)
{
    const weir_protocol protocol = { 0 };
    for (int kind = 0; kind < 2; kind++) {
        world w = { .manual = true, .no_listener = true };
        uint16_t port;
        world_start(&w);
        raw_peer listener = raw_listen(8, &port);
        for (unsigned i = 1; i <= 20; i++) {
            weir_conn_id id = connect_to(&w, i % 2 ? "127.0.0.1" : "0.0.0.0", port, &protocol);
            for (int twice = 0; twice < 2; twice++)
                cr_assert_eq(kind ? weir_abort_id(w.runtime, id) : weir_close_id(w.runtime, id), 0);
            WORLD_AWAIT(&w, w.closed == i);
            cr_assert_eq(w.error, kind ? WEIR_EABORTED : WEIR_ECLOSED);
            cr_assert_eq(w.opened, 0);
        }
        raw_close(listener);
        world_stop(&w);
    }
}

typedef struct strike {
    weir_conn_id id;
    int kind;
} strike;

static void strike_by_id(weir_runtime *runtime, void *data)
{
    static const char large[2 << 20];
    const strike *s = data;
    if (s->kind == 0) cr_assert_eq(weir_abort_id(runtime, s->id), 0);
    if (s->kind == 1) cr_assert_eq(weir_close_id(runtime, s->id), 0);
    if (s->kind == 2) cr_assert_eq(weir_send_to(runtime, s->id, large, sizeof large), WEIR_ESLOW);
}

/* The request and the completion of the connect come out of the same wait, the request first: the connection is neither
 * connecting any more nor open yet. */
Test(remote, one_that_is_ended_in_the_pass_in_which_it_is_there_ends_in_order)
{
    const int errors[] = { WEIR_EABORTED, WEIR_ECLOSED, WEIR_ESLOW };
    const weir_protocol protocol = { 0 };
    for (int kind = 0; kind < 3; kind++) {
        world w = { .manual = true, .no_listener = true };
        uint16_t port;
        world_start(&w);
        raw_peer listener = raw_listen(64, &port);
        for (unsigned i = 1; i <= 20; i++) {
            /* 0.0.0.0 leads to the loopback too, but is not taken for it: the connect completes a wait later. */
            strike s = { .id = connect_to(&w, "0.0.0.0", port, &protocol), .kind = kind };
            cr_assert_eq(weir_post(w.runtime, 0, strike_by_id, &s), 0);
            WORLD_AWAIT(&w, w.closed == i);
            cr_assert_eq(w.error, errors[kind], "%s", weir_error_name(w.error));
            raw_close(raw_accept(listener));
        }
        raw_close(listener);
        world_stop(&w);
    }
}

/* ---- memory ---- */

Test(remote, many_small_messages_hold_little_more_than_the_limit_while_they_wait)
{
    enum { HARD = 256 * 1024 };
    const weir_outbox_options outbox = { .soft_limit = HARD, .hard_limit = HARD, .policy = WEIR_SLOW_DROP_NEWEST };
    world w = { .manual = true, .protocol.outbox = outbox };
    world_start(&w);
    raw_peer peer = world_connect(&w);
    WORLD_AWAIT(&w, w.opened == 1);
    uint64_t before = w.memory.used;
    unsigned taken = 0;
    while (weir_send_to(w.runtime, w.id, "x", 1) == 0) cr_assert_lt(++taken, HARD);
    cr_assert_geq(taken, 4096, "%u", taken);
    cr_assert_leq(w.memory.used - before, 2 * HARD, "%u bytes", (unsigned)(w.memory.used - before));
    WORLD_AWAIT(&w, world_stats(&w).bytes_sent == taken); /* and they are all there, and count no more */
    cr_assert_eq(weir_send_to(w.runtime, w.id, "x", 1), 0);
    raw_reset(peer);
    WORLD_AWAIT(&w, w.closed == 1);
    world_stop(&w);
}

Test(remote, a_limit_smaller_than_a_message_counts_for_still_lets_one_through)
{
    const weir_outbox_options outbox = { .soft_limit = 10, .hard_limit = 10, .policy = WEIR_SLOW_DROP_NEWEST };
    world w = { .manual = true, .protocol.outbox = outbox };
    char got[10];
    world_start(&w);
    raw_peer peer = world_connect(&w);
    WORLD_AWAIT(&w, w.opened == 1);
    for (int i = 0; i < 3; i++) {
        cr_assert_eq(weir_send_to(w.runtime, w.id, "0123456789a", 11), WEIR_ESLOW);
        world_settle(&w);
        cr_assert_eq(weir_send_to(w.runtime, w.id, "0123456789", 10), 0);
        cr_assert_eq(weir_send_to(w.runtime, w.id, "x", 1), WEIR_ESLOW);
        raw_receive(peer, got, sizeof got);
    }
    raw_reset(peer);
    WORLD_AWAIT(&w, w.closed == 1);
    world_stop(&w);
}

Test(remote, without_memory_a_request_is_refused_and_no_limit_is_used_up)
{
    enum { SIZE = 500000 };
    static char bytes[SIZE], got[SIZE];
    weir_buf *buf = weir_buf_copy(bytes, SIZE);
    world w = { .manual = true };
    world_start(&w);
    raw_peer peer = world_connect(&w);
    WORLD_AWAIT(&w, w.opened == 1);
    world_refuse(&w, 0);
    for (int i = 0; i < 10; i++) { /* together more than the hard limit */
        cr_assert_eq(weir_send_to(w.runtime, w.id, bytes, SIZE), WEIR_ENOMEM);
        cr_assert_eq(weir_send_buf_to(w.runtime, w.id, buf), WEIR_ENOMEM);
        cr_assert_eq(weir_close_id(w.runtime, w.id), WEIR_ENOMEM);
        cr_assert_eq(weir_abort_id(w.runtime, w.id), WEIR_ENOMEM);
    }
    world_refuse(&w, -1);
    cr_assert_eq(buf->references, 1);
    cr_assert_eq(weir_send_to(w.runtime, w.id, bytes, SIZE), 0);
    raw_receive(peer, got, SIZE);
    cr_assert_eq(w.closed, 0);
    raw_close(peer);
    WORLD_AWAIT(&w, w.closed == 1);
    world_stop(&w);
    weir_buf_release(buf);
}

static void ignore_slow(weir_conn *conn, size_t queued)
{
    (void)conn;
    (void)queued;
}

Test(remote, a_notice_that_could_not_be_sent_for_want_of_memory_is_sent_with_the_next_refusal)
{
    world w = { .manual = true,
                .protocol = { .on_slow = ignore_slow,
                              .outbox = { .soft_limit = 10, .hard_limit = 10, .policy = WEIR_SLOW_NOTIFY } } };
    world_start(&w);
    raw_peer peer = world_connect(&w);
    WORLD_AWAIT(&w, w.opened == 1);
    world_refuse(&w, 0);
    cr_assert_eq(weir_send_to(w.runtime, w.id, "over ten bytes", 14), WEIR_ESLOW);
    world_settle(&w);
    cr_assert_eq(w.slowed, 0);
    world_refuse(&w, -1);
    cr_assert_eq(weir_send_to(w.runtime, w.id, "over ten bytes", 14), WEIR_ESLOW);
    WORLD_AWAIT(&w, w.slowed == 1);
    raw_close(peer);
    WORLD_AWAIT(&w, w.closed == 1);
    world_stop(&w);
}

/* ---- churn ---- */

enum { RECENT = 32, CHURNS = 1200 / RAW_SLOWDOWN, WORKERS = 4 };

typedef struct churn {
    world w;
    _Atomic weir_conn_id recent[RECENT]; /* of whom the threads pick; most of them have gone */
    _Atomic unsigned next;
    _Atomic bool over;
    _Atomic uint64_t sends;
} churn;

static void list_recent(weir_conn *conn)
{
    churn *c = world_data(conn);
    atomic_store(&c->recent[atomic_fetch_add(&c->next, 1) % RECENT], weir_conn_get_id(conn));
}

static void answer(weir_conn *conn, const void *bytes, size_t size)
{
    (void)weir_send(conn, bytes, size);
}

static void disturb(void *arg)
{
    static _Atomic uint64_t seeds = 1;
    churn *c = arg;
    uint64_t seed = atomic_fetch_add(&seeds, 1) * 0x9e3779b97f4a7c15ULL;
    weir_runtime *runtime = c->w.runtime;
    weir_buf *buf = weir_buf_copy("shared by many", 14);
    while (!atomic_load(&c->over)) {
        weir_conn_id id = atomic_load(&c->recent[world_random(&seed) % RECENT]);
        if (id == 0) continue;
        int error;
        switch (world_random(&seed) % 64) {
        case 0:
            error = weir_close_id(runtime, id);
            break;
        case 1:
            error = weir_abort_id(runtime, id);
            break;
        default:
            error =
                world_random(&seed) % 2 ? weir_send_to(runtime, id, "hello", 5) : weir_send_buf_to(runtime, id, buf);
            atomic_fetch_add(&c->sends, 1);
        }
        cr_assert(error == 0 || error == WEIR_ESLOW, "%s", weir_error_name(error));
        if (world_random(&seed) % 16 == 0) weir_sleep_ms(1);
    }
    cr_assert_geq(buf->references, 1);
    weir_buf_release(buf);
}

Test(remote, threads_that_send_and_end_while_connections_come_and_go, .timeout = 60)
{
    enum { OPEN = 16 };
    static churn c;
    raw_peer peers[OPEN];
    wr_thread threads[THREADS];
    uint64_t seed = 5;
    c.w = (world){ .protocol = { .on_open = list_recent, .on_message = answer, .data = &c, .close_timeout_ms = 1000 },
                   .runtime_options = { .workers = WORKERS } };
    world_start(&c.w);
    for (int i = 0; i < THREADS; i++) cr_assert_eq(wr_thread_start(&threads[i], "disturb", disturb, &c), 0);
    for (int i = 0; i < OPEN; i++) peers[i] = world_connect(&c.w);
    for (int i = 0; i < CHURNS; i++) {
        raw_peer *peer = &peers[world_random(&seed) % OPEN];
        (void)raw_send_some(*peer, "what a day", 10);
        if (world_random(&seed) % 2)
            raw_close(*peer);
        else
            raw_reset(*peer);
        *peer = world_connect(&c.w);
    }
    atomic_store(&c.over, true);
    for (int i = 0; i < THREADS; i++) wr_thread_join(&threads[i]);
    for (int i = 0; i < OPEN; i++) raw_close(peers[i]);
    WORLD_AWAIT(&c.w, world_stats(&c.w).connections == 0);
    cr_assert_eq(c.w.closed, c.w.opened);
    cr_assert_geq(c.w.opened, CHURNS / 2); /* some were reset before they were accepted */
    cr_assert_gt(world_stats(&c.w).sends_dead, 0);
    cr_assert_gt(c.sends, 0);
    cr_assert_eq(world_stats(&c.w).queued, 0);
    world_stop(&c.w);
}
