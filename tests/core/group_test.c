/* Groups: who is a member, who gets what is sent, and in which order. */
#include <stdio.h>

#include "core/buffer.h"
#include "core/room.h"
#include "core/slots.h"

enum { WORKERS = 3 };

/* ---- who gets it ---- */

static void check_reach(bool manual)
{
    room r = { .w = { .manual = manual, .runtime_options.workers = manual ? 1 : WORKERS } };
    room_open(&r, 8, 5);
    cr_assert_eq(weir_group_size(r.group), 5);
    cr_assert_eq(room_say(r.group, "to all"), 0);
    for (unsigned i = 0; i < 5; i++) room_hears(&r, i, "to all");
    cr_assert_eq(room_say(r.group, " again"), 0);
    for (unsigned i = 0; i < 5; i++) room_hears(&r, i, " again");
    for (unsigned i = 5; i < 8; i++) cr_assert(room_is_silent(&r, i), "peer %u is no member", i);
    WORLD_AWAIT(&r.w, world_stats(&r.w).group_deliveries == 10);
    room_close(&r);
}

Test(group, a_send_reaches_every_member_on_every_worker_and_nobody_else)
{
    check_reach(false);
}

Test(group, a_send_reaches_every_member_of_a_runtime_that_is_polled)
{
    check_reach(true);
}

Test(group, one_message_a_worker_carries_a_send_to_all_its_members)
{
    room r = { .w.runtime_options.workers = 2 };
    room_open(&r, 20, 20);
    uint64_t before = world_stats(&r.w).posts;
    cr_assert_eq(room_say(r.group, "once"), 0);
    for (unsigned i = 0; i < 20; i++) room_hears(&r, i, "once");
    cr_assert_eq(world_stats(&r.w).posts - before, 2);
    room_close(&r);
}

Test(group, all_members_share_one_copy_of_the_bytes)
{
    enum { SIZE = 1 << 16 };
    static char got[SIZE];
    room r = { .w.runtime_options.workers = 2 };
    weir_buf *buf = weir_buf_create(SIZE);
    memset(weir_buf_bytes(buf), 'x', SIZE);
    room_open(&r, 6, 6);
    uint64_t before = r.w.memory.peak;
    cr_assert_eq(weir_group_send(r.group, buf), 0);
    for (unsigned i = 0; i < 6; i++) raw_receive(r.peers[i], got, SIZE);
    WORLD_AWAIT(&r.w, buf->references == 1);
    cr_assert_lt(r.w.memory.peak, before + SIZE, "somebody copied it");
    room_close(&r);
    weir_buf_release(buf);
}

Test(group, one_member_may_be_left_out)
{
    room r = { .w.runtime_options.workers = 2 };
    room_open(&r, 5, 4);
    cr_assert_eq(room_say_except(r.group, "a", r.ids[2]), 0);
    cr_assert_eq(room_say_except(r.group, "b", r.ids[4]), 0, "no member");
    cr_assert_eq(room_say_except(r.group, "c", 0), 0);
    cr_assert_eq(room_say_except(r.group, "d", UINT64_MAX), 0, "nobody's id");
    for (unsigned i = 0; i < 4; i++) room_hears(&r, i, i == 2 ? "bcd" : "abcd");
    room_close(&r);
}

Test(group, a_connection_may_be_in_several)
{
    weir_group *groups[50];
    room r = { .w.runtime_options.workers = 2 };
    room_open(&r, 2, 0);
    for (unsigned i = 0; i < 50; i++) {
        cr_assert_eq(weir_group_create(r.w.runtime, &groups[i]), 0);
        cr_assert_eq(room_add(&r, groups[i], 0), 0);
        if (i % 2) cr_assert_eq(room_add(&r, groups[i], 1), 0);
    }
    room_remove(&r, groups[3], 1);
    cr_assert(room_has(&r, groups[3], 0));
    cr_assert_not(room_has(&r, groups[3], 1));
    cr_assert_not(room_has(&r, groups[2], 1));
    cr_assert_eq(weir_group_size(groups[2]), 1);
    cr_assert_eq(weir_group_size(groups[3]), 1);
    cr_assert_eq(weir_group_size(groups[5]), 2);
    for (unsigned i = 0; i < 6; i++) cr_assert_eq(room_say(groups[i], (char[]){ (char)('a' + i), 0 }), 0);
    room_hears(&r, 0, "abcdef");
    room_hears(&r, 1, "bf");
    raw_close(r.peers[0]);
    room_leave(&r, 0);
    WORLD_AWAIT(&r.w, r.w.closed == 1);
    for (unsigned i = 0; i < 50; i++) cr_assert_eq(weir_group_size(groups[i]), i % 2 && i != 3, "group %u", i);
    room_close(&r);
}

/* ---- coming and going ---- */

Test(group, who_is_added_twice_is_a_member_once)
{
    room r = { 0 };
    room_open(&r, 1, 1);
    cr_assert_eq(room_add(&r, r.group, 0), 0);
    cr_assert_eq(weir_group_size(r.group), 1);
    cr_assert_eq(room_say(r.group, "one"), 0);
    room_hears(&r, 0, "one");
    room_remove(&r, r.group, 0);
    room_remove(&r, r.group, 0);
    cr_assert_eq(weir_group_size(r.group), 0);
    cr_assert_eq(room_say(r.group, "none"), 0);
    cr_assert(room_is_silent(&r, 0));
    room_close(&r);
}

typedef struct seen {
    weir_group *_Atomic group; /* set while its callbacks may already come */
    size_t size;
    bool was_member;
    int error;
} seen;

static void look_in_on_close(weir_conn *conn, weir_reason reason)
{
    (void)reason;
    seen *s = world_data(conn);
    s->size = weir_group_size(s->group);
    s->was_member = weir_group_has(s->group, conn);
    s->error = weir_group_add(s->group, conn);
}

Test(group, a_member_has_left_by_its_on_close_and_cannot_come_back)
{
    seen s = { .size = 99, .was_member = true };
    room r = { .w.protocol = { .on_close = look_in_on_close, .data = &s } };
    room_open(&r, 1, 1);
    s.group = r.group;
    raw_close(r.peers[0]);
    room_leave(&r, 0);
    WORLD_AWAIT(&r.w, r.w.closed == 1);
    cr_assert_eq(s.size, 0);
    cr_assert_not(s.was_member);
    cr_assert_eq(s.error, WEIR_ECLOSED);
    room_close(&r);
}

static void close_and_count(weir_conn *conn, const void *bytes, size_t size)
{
    (void)size;
    seen *s = world_data(conn);
    if (*(const char *)bytes == 'c')
        weir_close(conn);
    else
        weir_abort(conn);
    s->size = weir_group_size(s->group);
    s->error = weir_group_add(s->group, conn);
}

static void check_leaves_at(const char *word)
{
    seen s = { .size = 99 };
    room r = { .w.protocol = { .on_message = close_and_count, .data = &s } };
    room_open(&r, 1, 1);
    s.group = r.group;
    raw_send(r.peers[0], word, 1);
    (void)raw_await_end(r.peers[0]);
    raw_close(r.peers[0]);
    room_leave(&r, 0);
    WORLD_AWAIT(&r.w, r.w.closed == 1);
    cr_assert_eq(s.size, 0, "it leaves at once");
    cr_assert_eq(s.error, WEIR_ECLOSED);
    room_close(&r);
}

Test(group, a_member_leaves_as_soon_as_it_is_closed)
{
    check_leaves_at("c");
}

Test(group, a_member_leaves_as_soon_as_it_is_aborted)
{
    check_leaves_at("a");
}

Test(group, members_come_and_go_by_their_ids)
{
    room r = { .w.runtime_options.workers = 2 };
    room_open(&r, 4, 0);
    for (unsigned i = 0; i < 4; i++) cr_assert_eq(weir_group_add_id(r.group, r.ids[i]), 0);
    cr_assert_eq(room_say(r.group, "in"), 0, "behind the additions of the same thread");
    for (unsigned i = 0; i < 4; i++) room_hears(&r, i, "in");
    cr_assert_eq(weir_group_size(r.group), 4);
    cr_assert_eq(weir_group_remove_id(r.group, r.ids[1]), 0);
    cr_assert_eq(weir_group_remove_id(r.group, r.ids[1]), 0, "harmless");
    cr_assert_eq(room_say(r.group, "out"), 0);
    for (unsigned i = 0; i < 4; i++)
        if (i != 1) room_hears(&r, i, "out");
    cr_assert(room_is_silent(&r, 1));
    cr_assert_eq(weir_group_size(r.group), 3);
    room_close(&r);
}

Test(group, the_id_of_one_that_has_gone_adds_nobody)
{
    room r = { 0 };
    room_open(&r, 1, 0);
    weir_conn_id id = r.ids[0];
    raw_close(r.peers[0]);
    room_leave(&r, 0);
    WORLD_AWAIT(&r.w, r.w.closed == 1);
    raw_peer next = world_connect(&r.w); /* in the same slot */
    WORLD_AWAIT(&r.w, r.w.opened == 2);
    cr_assert_eq(weir_group_add_id(r.group, id), 0);
    cr_assert_eq(weir_group_remove_id(r.group, id), 0);
    cr_assert_eq(room_say(r.group, "x"), 0);
    cr_assert_eq(weir_group_size(r.group), 0);
    raw_close(next);
    room_close(&r);
}

static void add_to_group(weir_conn *conn)
{
    seen *s = world_data(conn);
    s->error = weir_group_add(s->group, conn);
}

/* A connection that still connects can be named, and so added. */
Test(group, one_that_connects_gets_what_was_sent_meanwhile_when_it_is_open)
{
    seen s = { .group = NULL };
    room r = { .w = { .manual = true, .no_listener = true, .protocol = { .data = &s, .on_open = add_to_group } } };
    uint16_t port;
    char address[32];
    weir_conn_id id;
    raw_peer listener = raw_listen(5, &port);
    room_open(&r, 0, 0);
    s.group = r.group;
    weir_protocol protocol = world_wrap(&r.w, &r.w.protocol);
    snprintf(address, sizeof address, "127.0.0.1:%u", port);
    cr_assert_eq(weir_connect(r.w.runtime, address, &protocol, NULL, &id), 0);
    cr_assert_eq(weir_group_add_id(r.group, id), 0);
    cr_assert_eq(room_say(r.group, "early"), 0);
    raw_peer peer = raw_accept(listener);
    char heard[6] = "";
    raw_receive(peer, heard, 5);
    cr_assert_str_eq(heard, "early");
    cr_assert_eq(weir_group_size(r.group), 1);
    raw_close(peer);
    raw_close(listener);
    room_close(&r);
}

Test(group, one_that_never_opens_leaves_too)
{
    room r = { .w = { .manual = true, .no_listener = true } };
    weir_conn_id id;
    uint16_t port;
    char address[32];
    raw_close(raw_listen(1, &port)); /* nobody is there */
    room_open(&r, 0, 0);
    weir_protocol protocol = world_wrap(&r.w, &r.w.protocol);
    snprintf(address, sizeof address, "127.0.0.1:%u", port);
    cr_assert_eq(weir_connect(r.w.runtime, address, &protocol, NULL, &id), 0);
    cr_assert_eq(weir_group_add_id(r.group, id), 0);
    cr_assert_eq(room_say(r.group, "lost"), 0);
    WORLD_AWAIT(&r.w, r.w.closed == 1);
    cr_assert_eq(weir_group_size(r.group), 0);
    room_close(&r);
}

Test(group, one_that_is_closed_while_it_connects_gets_nothing_and_that_is_counted)
{
    room r = { .w = { .manual = true, .no_listener = true } };
    weir_conn_id id;
    uint16_t port;
    char address[32];
    raw_peer listener = raw_listen(1, &port);
    room_open(&r, 0, 0);
    weir_protocol protocol = world_wrap(&r.w, &r.w.protocol);
    snprintf(address, sizeof address, "127.0.0.1:%u", port);
    cr_assert_eq(weir_connect(r.w.runtime, address, &protocol, NULL, &id), 0);
    cr_assert_eq(weir_group_add_id(r.group, id), 0);
    cr_assert_eq(weir_close_id(r.w.runtime, id), 0);
    cr_assert_eq(room_say(r.group, "lost"), 0);
    WORLD_AWAIT(&r.w, r.w.closed == 1);
    weir_stats stats = world_stats(&r.w);
    cr_assert_eq(stats.sends_dead, 1);
    cr_assert_eq(stats.group_deliveries, 0);
    raw_close(listener);
    room_close(&r);
}

/* ---- order ---- */

typedef struct talk {
    weir_group *_Atomic group; /* set while its callbacks may already come */
} talk;

static void talk_in_callback(weir_conn *conn, const void *bytes, size_t size)
{
    talk *t = world_data(conn);
    (void)bytes, (void)size;
    weir_send(conn, "1", 1);
    room_say(t->group, "2");
    weir_send(conn, "3", 1);
    room_say(t->group, "4");
}

Test(group, in_callbacks_sends_and_group_sends_arrive_in_order)
{
    talk t = { .group = NULL };
    room r = { .w.protocol = { .on_message = talk_in_callback, .data = &t } };
    room_open(&r, 2, 2);
    t.group = r.group;
    uint64_t before = world_stats(&r.w).posts;
    raw_send(r.peers[0], "?", 1);
    room_hears(&r, 0, "1234");
    room_hears(&r, 1, "24");
    cr_assert_eq(world_stats(&r.w).posts, before, "no message was needed");
    room_close(&r);
}

Test(group, a_send_in_a_callback_overtakes_none_of_the_same_thread_that_waits)
{
    talk t = { .group = NULL };
    room r = { .w = { .manual = true, .protocol = { .on_message = talk_in_callback, .data = &t } } };
    room_open(&r, 2, 1);
    t.group = r.group;
    raw_send(r.peers[1], "?", 1);
    weir_sleep_ms(20); /* it may be there by now, so that the callback comes first: right in either case */
    cr_assert_eq(room_say(r.group, "a"), 0);
    cr_assert_eq(weir_group_add_id(r.group, r.ids[1]), 0);
    cr_assert_eq(room_say(r.group, "b"), 0);
    room_hears(&r, 0, "ab24");
    WORLD_AWAIT(&r.w, r.w.messages == 1);
    room_close(&r);
}

static void add_by_id_and_talk(weir_conn *conn, const void *bytes, size_t size)
{
    talk *t = world_data(conn);
    (void)bytes, (void)size;
    weir_group_add_id(t->group, weir_conn_get_id(conn));
    room_say(t->group, "in");
    weir_group_remove_id(t->group, weir_conn_get_id(conn));
    room_say(t->group, "out");
}

Test(group, an_addition_by_id_in_a_callback_stands_in_order_with_its_sends)
{
    talk t = { .group = NULL };
    room r = { .w.protocol = { .on_message = add_by_id_and_talk, .data = &t } };
    room_open(&r, 2, 1);
    t.group = r.group;
    raw_send(r.peers[1], "?", 1);
    room_hears(&r, 0, "inout");
    room_hears(&r, 1, "in");
    WORLD_AWAIT(&r.w, weir_group_size(r.group) == 1);
    cr_assert(room_is_silent(&r, 1));
    room_close(&r);
}

Test(group, a_thread_that_sends_to_a_group_and_to_an_id_is_heard_in_order)
{
    room r = { .w.runtime_options.workers = 2 };
    room_open(&r, 3, 3);
    for (int i = 0; i < 200; i++) {
        cr_assert_eq(room_say(r.group, "all"), 0);
        for (unsigned k = 0; k < 3; k++) cr_assert_eq(weir_send_to(r.w.runtime, r.ids[k], "you", 3), 0);
    }
    for (int i = 0; i < 200; i++)
        for (unsigned k = 0; k < 3; k++) room_hears(&r, k, "allyou");
    room_close(&r);
}

/* ---- arguments ---- */

Test(group, bad_arguments_are_refused)
{
    room r = { 0 };
    weir_group *other;
    world stranger = { .no_listener = true };
    room_open(&r, 1, 0);
    world_start(&stranger);
    cr_assert_eq(weir_group_create(stranger.runtime, &other), 0);
    cr_assert_eq(weir_group_create(r.w.runtime, NULL), WEIR_EINVAL);
    weir_group *none = other;
    cr_assert_eq(weir_group_create(NULL, &none), WEIR_EINVAL);
    cr_assert_null(none);
    cr_assert_eq(room_add(&r, other, 0), WEIR_EINVAL, "of another runtime");
    cr_assert_eq(room_add(&r, NULL, 0), WEIR_EINVAL);
    room_remove(&r, other, 0);
    room_remove(&r, NULL, 0);
    cr_assert_not(room_has(&r, other, 0));
    weir_buf *buf = weir_buf_copy("x", 1);
    cr_assert_eq(weir_group_send(r.group, NULL), WEIR_EINVAL);
    cr_assert_eq(weir_group_send(NULL, buf), WEIR_EINVAL);
    weir_buf_release(buf);
    cr_assert_eq(weir_group_add_id(NULL, r.ids[0]), WEIR_EINVAL);
    cr_assert_eq(weir_group_add_id(r.group, 0), WEIR_EINVAL);
    cr_assert_eq(weir_group_add_id(r.group, wr_id_make(200, 0, 1)), WEIR_EINVAL, "no such worker");
    cr_assert_eq(weir_group_remove_id(r.group, wr_id_make(0, WR_SLOTS_MAX - 1, 1)), WEIR_EINVAL, "no such slot");
    cr_assert_eq(weir_group_size(NULL), 0);
    weir_group_destroy(NULL);
    room_close(&r);
    world_stop(&stranger);
}

Test(group, an_empty_buffer_is_sent_to_nobody)
{
    room r = { 0 };
    room_open(&r, 1, 1);
    cr_assert_eq(room_say(r.group, ""), 0);
    cr_assert_eq(world_stats(&r.w).group_deliveries, 0);
    cr_assert_eq(world_stats(&r.w).group_sends_empty, 0);
    room_close(&r);
}
