/* A large room in which somebody always says something, and a tenth of the members never read. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/prometheus.h"
#include "core/room.h"

enum {
    READERS = 180,
    DEAF = 20,
    SIZE = 8000, /* of what is said */
    HARD = 128 * 1024,
    ROUNDS_MAX = 2000, /* far more than the system's buffers and the limit take */
    ROUNDS_AFTER = 50, /* the room goes on without them */
};

static void say_to_all(weir_conn *conn, const void *bytes, size_t size)
{
    weir_group *group = *(weir_group **)world_data(conn);
    weir_buf *buf = weir_buf_copy(bytes, size);
    cr_assert_not_null(buf);
    cr_assert_eq(weir_group_send(group, buf), 0);
    weir_buf_release(buf);
}

/* One of the readers speaks, each in turn, and all hear it, whole and next. */
static void round_of_talk(room *r, uint32_t number)
{
    static char said[SIZE], heard[SIZE];
    world_fill(said, SIZE, number);
    uint16_t size = SIZE;
    memcpy(said, &size, sizeof size);
    raw_send(r->peers[number % READERS], said, SIZE);
    for (unsigned i = 0; i < READERS; i++) {
        raw_receive(r->peers[i], heard, SIZE);
        cr_assert_arr_eq(heard, said, SIZE, "reader %u, round %u", i, number);
    }
}

/* In the text that a Prometheus server gets, of both workers. */
static double closed_as_slow(const world *w)
{
    size_t size = weir_stats_text(w->runtime, NULL, 0) + 1000;
    char *text = malloc(size);
    cr_assert_lt(weir_stats_text(w->runtime, text, size), size);
    prometheus_check(text);
    double closed = 0;
    for (unsigned worker = 0; worker < 2; worker++) {
        char series[64];
        snprintf(series, sizeof series, "weir_closed_total{worker=\"%u\",reason=\"ESLOW\"}", worker);
        closed += prometheus_value(text, series);
    }
    free(text);
    return closed;
}

Test(chatter, of_200_members_20_never_read_and_are_let_go_and_the_180_lose_nothing, .timeout = 120)
{
    static room r;
    static raw_peer deaf[DEAF];
    r = (room){ .w = { .runtime_options.workers = 2,
                       .protocol = { .framing = weir_framing_u16le_packet(),
                                     .on_message = say_to_all,
                                     .data = &r.group,
                                     .outbox = { .soft_limit = HARD, .hard_limit = HARD } } } };
    room_open(&r, READERS, READERS);
    for (unsigned i = 0; i < DEAF; i++) {
        deaf[i] = world_connect_small(&r.w);
        WORLD_AWAIT(&r.w, r.w.opened == READERS + i + 1);
        cr_assert_eq(weir_group_add_id(r.group, r.w.id), 0);
    }
    WORLD_AWAIT(&r.w, weir_group_size(r.group) == READERS + DEAF);

    uint64_t before = r.w.memory.used;
    atomic_store(&r.w.memory.peak, before);
    uint64_t queued_max = 0;
    uint32_t number = 0;
    for (; world_closed(&r.w, WEIR_ESLOW) < DEAF; number++) {
        cr_assert_lt(number, ROUNDS_MAX, "only %u were let go", r.w.closed);
        round_of_talk(&r, number);
        uint64_t queued = world_stats(&r.w).queued;
        if (queued > queued_max) queued_max = queued;
    }
    for (uint32_t end = number + ROUNDS_AFTER; number < end; number++) round_of_talk(&r, number);

    /* Of the limits they took what is theirs, and of memory no more than that. */
    cr_assert_gt(queued_max, HARD / 2);
    cr_assert_leq(queued_max, DEAF * HARD + READERS * SIZE);
    cr_assert_leq(r.w.memory.peak - before, DEAF * HARD, "%llu bytes", (unsigned long long)(r.w.memory.peak - before));
    WORLD_AWAIT(&r.w, r.w.closed == DEAF);
    cr_assert_eq(world_closed(&r.w, WEIR_ESLOW), DEAF);
    cr_assert_eq(world_stats(&r.w).connections, READERS);
    cr_assert_eq(world_stats(&r.w).sends_dropped, DEAF, "the one message of each that passed its limit");
    cr_assert_eq(world_stats(&r.w).messages_received, number);
    cr_assert_eq(closed_as_slow(&r.w), DEAF);
    cr_assert_eq(weir_group_size(r.group), READERS);
    for (unsigned i = 0; i < READERS; i++) cr_assert(room_is_silent(&r, i), "reader %u hears what nobody said", i);
    for (unsigned i = 0; i < DEAF; i++) {
        cr_assert_eq(raw_await_end(deaf[i]), RAW_RESET);
        raw_close(deaf[i]);
    }
    room_close(&r);
}
