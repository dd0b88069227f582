/* Groups under several threads at once: senders, comers and goers, destroyers. */
#include <string.h>

#include "core/room.h"
#include "core/runtime.h"

enum {
    WORKERS = 3,
    THREADS = 4,
    STAYERS = 6, /* the rest comes and goes */
    GUESTS = 4,
    SENDS = 1500,
};

typedef struct sender {
    room *r;
    weir_group *groups[2];
    uint32_t number;
    wr_thread thread;
} sender;

typedef struct words {
    uint32_t thread, group, number;
} words;

static void send_numbers(void *arg)
{
    sender *s = arg;
    for (uint32_t i = 0; i < SENDS; i++) {
        words message = { .thread = s->number, .group = i % 2, .number = i / 2 };
        weir_buf *buf = weir_buf_copy(&message, sizeof message);
        cr_assert_eq(weir_group_send(s->groups[i % 2], buf), 0);
        weir_buf_release(buf);
        weir_conn_id guest = s->r->ids[STAYERS + (i * 7 + s->number) % GUESTS];
        if (i % 3 == 0) cr_assert_eq(weir_group_add_id(s->groups[i / 3 % 2], guest), 0);
        if (i % 5 == 0) cr_assert_eq(weir_group_remove_id(s->groups[i / 5 % 2], guest), 0);
        cr_assert_leq(weir_group_size(s->groups[0]), STAYERS + GUESTS);
    }
}

/* Whole messages, of each thread in order; a guest may miss some, but gets none twice. */
static unsigned hear(room *r, unsigned number, uint32_t (*next)[2], bool is_guest)
{
    words message;
    raw_end end;
    size_t size = raw_receive_some(r->peers[number], &message, sizeof message, &end);
    cr_assert_eq(end, RAW_OPEN);
    if (size == 0) return 0;
    if (size < sizeof message) raw_receive(r->peers[number], (char *)&message + size, sizeof message - size);
    cr_assert(message.thread < THREADS && message.group < 2, "a message is not whole");
    uint32_t *due = &next[message.thread][message.group];
    cr_assert(message.number == *due || (is_guest && message.number > *due), "peer %u gets number %u, and not %u",
              number, message.number, *due);
    *due = message.number + 1;
    return 1;
}

Test(group_threads, who_stays_gets_the_sends_of_every_thread_once_and_in_order, .timeout = 60)
{
    room r = { .w.runtime_options.workers = WORKERS };
    sender senders[THREADS];
    static uint32_t next[STAYERS + GUESTS][THREADS][2];
    weir_group *other;
    room_open(&r, STAYERS + GUESTS, STAYERS);
    cr_assert_eq(weir_group_create(r.w.runtime, &other), 0);
    for (unsigned i = 0; i < STAYERS; i++) cr_assert_eq(room_add(&r, other, i), 0);
    for (unsigned i = 0; i < THREADS; i++) {
        senders[i] = (sender){ .r = &r, .groups = { r.group, other }, .number = i };
        cr_assert_eq(wr_thread_start(&senders[i].thread, "sender", send_numbers, &senders[i]), 0);
    }
    unsigned heard = 0;
    uint64_t deadline_ns = wr_os_now_ns() + (uint64_t)RAW_PATIENCE_MS * 1000000;
    while (heard < STAYERS * THREADS * SENDS) {
        unsigned before = heard;
        for (unsigned i = 0; i < STAYERS; i++) heard += hear(&r, i, next[i], false);
        for (unsigned i = STAYERS; i < STAYERS + GUESTS; i++) (void)hear(&r, i, next[i], true);
        if (heard == before) world_turn(&r.w);
        cr_assert_lt(wr_os_now_ns(), deadline_ns, "%u messages", heard);
    }
    for (unsigned i = 0; i < THREADS; i++) wr_thread_join(&senders[i].thread);
    for (unsigned i = 0; i < WORKERS; i++)
        WORLD_AWAIT(&r.w, atomic_load(&r.w.runtime->workers[i].shared.group_queued) == 0);
    for (unsigned i = 0; i < STAYERS; i++) cr_assert(room_is_silent(&r, i));
    room_close(&r);
}

/* Rooms that live for a moment, while their members come from the network and go again. */
typedef struct host {
    room *r;
    wr_thread thread;
} host;

static void open_and_close_rooms(void *arg)
{
    host *h = arg;
    for (unsigned i = 0; i < 200; i++) {
        weir_group *group;
        cr_assert_eq(weir_group_create(h->r->w.runtime, &group), 0);
        for (unsigned k = 0; k < STAYERS; k++) cr_assert_eq(weir_group_add_id(group, h->r->ids[k]), 0);
        cr_assert_eq(room_say(group, "x"), 0);
        if (i % 2) cr_assert_eq(weir_group_remove_id(group, h->r->ids[i % STAYERS]), 0);
        cr_assert_eq(room_say_except(group, "x", h->r->ids[0]), 0);
        weir_group_destroy(group);
    }
}

Test(group_threads, a_group_is_destroyed_safely_while_its_sends_are_under_way, .timeout = 60)
{
    room r = { .w.runtime_options.workers = WORKERS };
    host hosts[THREADS];
    room_open(&r, STAYERS, 0);
    for (unsigned i = 0; i < THREADS; i++) {
        hosts[i].r = &r;
        cr_assert_eq(wr_thread_start(&hosts[i].thread, "host", open_and_close_rooms, &hosts[i]), 0);
    }
    raw_reset(r.peers[STAYERS - 1]); /* in the middle of it */
    for (unsigned i = 0; i < THREADS; i++) wr_thread_join(&hosts[i].thread);
    room_leave(&r, STAYERS - 1);
    char byte;
    for (unsigned i = 0; i < THREADS * 200; i++) raw_receive(r.peers[0], &byte, 1);
    room_close(&r);
}

/* Each connection joins in its on_open, and says goodbye to all when the runtime stops. */
static weir_group *_Atomic lobby;

static void join(weir_conn *conn)
{
    cr_assert_eq(weir_group_add(lobby, conn), 0);
}

static void echo_to_all(weir_conn *conn, const void *bytes, size_t size)
{
    (void)conn;
    weir_buf *buf = weir_buf_copy(bytes, size);
    cr_assert_eq(weir_group_send(lobby, buf), 0);
    weir_buf_release(buf);
}

static void say_goodbye(weir_conn *conn)
{
    (void)conn;
    cr_assert_eq(room_say(lobby, "!"), 0);
}

Test(group_threads, workers_that_send_to_each_other_lose_nothing_and_stop_in_order, .timeout = 60)
{
    enum { PEERS = 9, EACH = 100 };
    raw_peer peers[PEERS];
    world w = { .protocol = { .on_open = join, .on_message = echo_to_all, .on_stop = say_goodbye },
                .listen_options.placement = WEIR_PLACEMENT_BALANCED,
                .no_listener = true,
                .runtime_options.workers = WORKERS };
    weir_group *group;
    weir_listener *listener;
    world_start(&w);
    cr_assert_eq(weir_group_create(w.runtime, &group), 0);
    lobby = group;
    weir_protocol protocol = world_wrap(&w, &w.protocol);
    cr_assert_eq(weir_listen(w.runtime, "127.0.0.1:0", &protocol, &w.listen_options, &listener), 0);
    w.port = weir_listener_address(listener).port;
    for (unsigned i = 0; i < PEERS; i++) {
        peers[i] = world_connect(&w);
        WORLD_AWAIT(&w, weir_group_size(group) == i + 1);
    }
    for (unsigned n = 0; n < EACH; n++)
        for (unsigned i = 0; i < PEERS; i++) raw_send(peers[i], "x", 1);
    char byte;
    for (unsigned i = 0; i < PEERS; i++)
        for (unsigned n = 0; n < EACH * PEERS; n++) {
            raw_receive(peers[i], &byte, 1);
            cr_assert_eq(byte, 'x');
        }
    weir_runtime_stop(w.runtime);
    for (unsigned i = 0; i < PEERS; i++) {
        cr_assert_eq(raw_await_end(peers[i]), RAW_FIN);
        raw_close(peers[i]);
    }
    cr_assert_eq(weir_runtime_wait(w.runtime), 0);
    cr_assert_eq(weir_group_size(group), 0);
    world_stop(&w);
}
