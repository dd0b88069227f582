/* Sends to groups within one pass of a worker: they are deferred to its end, and nobody can tell. */
#include "core/buffer.h"
#include "core/group.h"
#include "core/room.h"
#include "core/runtime.h"
#include "core/slots.h"

/* Some functions of weir, called one after another in one callback. */
typedef struct pass {
    room r;
    weir_group *other;
    size_t queued;
    int error;
} pass;

static weir_conn *conn_of(pass *p, unsigned number)
{
    return world_conn(&p->r.w, p->r.ids[number]);
}

static void say_to(pass *p, unsigned number, const char *text)
{
    cr_assert_eq(weir_send(conn_of(p, number), text, strlen(text)), 0);
}

static void say(weir_group *group, const char *text)
{
    cr_assert_eq(room_say(group, text), 0);
}

/* So many connections, of which the first `members` are in the group. */
static void begin(pass *p, unsigned connections, unsigned members)
{
    p->r.w.manual = true;
    room_open(&p->r, connections, members);
    cr_assert_eq(weir_group_create(p->r.w.runtime, &p->other), 0);
}

/* The callback, and the pass around it. Returns how many sends weir has submitted for it. */
static uint64_t run(pass *p, void (*callback)(void *data))
{
    uint64_t before = world_stats(&p->r.w).sends;
    world_run(&p->r.w, 0, callback, p);
    world_settle(&p->r.w);
    cr_assert_null(p->r.w.runtime->workers[0].owner.fanout.first, "nothing is deferred any more");
    return world_stats(&p->r.w).sends - before;
}

static void hears(pass *p, unsigned number, const char *text)
{
    room_hears(&p->r, number, text);
    cr_assert(room_is_silent(&p->r, number), "peer %u gets more", number);
}

/* ---- order, and how much goes at once ---- */

static void speak_to_one_and_to_all(void *data)
{
    pass *p = data;
    say_to(p, 1, "1");
    say(p->r.group, "2");
    say_to(p, 1, "3");
    say(p->r.group, "4");
}

Test(group_pass, what_one_is_sent_among_sends_to_its_group_stands_in_order_and_leaves_at_once)
{
    pass p = { .error = 0 };
    begin(&p, 3, 3);
    cr_assert_eq(run(&p, speak_to_one_and_to_all), 3, "one a member");
    hears(&p, 0, "24");
    hears(&p, 1, "1234");
    hears(&p, 2, "24");
    cr_assert_eq(world_stats(&p.r.w).group_deliveries, 6);
    room_close(&p.r);
}

static void speak_to_all(void *data)
{
    pass *p = data;
    weir_buf *buf = weir_buf_copy("all", 3);
    cr_assert_eq(weir_group_send(p->r.group, buf), 0);
    cr_assert_eq(buf->references, 2, "nobody has one of his own");
    weir_buf_release(buf);
}

Test(group_pass, a_send_to_members_that_have_nothing_else_to_send_goes_past_their_outboxes)
{
    pass p = { .error = 0 };
    begin(&p, 4, 3);
    weir_stats before = world_stats(&p.r.w);
    cr_assert_eq(run(&p, speak_to_all), 3);
    for (unsigned i = 0; i < 3; i++) hears(&p, i, "all");
    cr_assert(room_is_silent(&p.r, 3));
    weir_stats after = world_stats(&p.r.w);
    cr_assert_eq(after.bytes_sent - before.bytes_sent, 9);
    cr_assert_eq(after.group_deliveries, 3);
    cr_assert_eq(after.queued, 0);
    room_close(&p.r);
}

static void speak_thrice(void *data)
{
    pass *p = data;
    say(p->r.group, "one");
    say(p->r.group, "two");
    say(p->r.group, "three");
}

Test(group_pass, several_sends_to_a_group_leave_at_once)
{
    pass p = { .error = 0 };
    begin(&p, 3, 3);
    cr_assert_eq(run(&p, speak_thrice), 3);
    for (unsigned i = 0; i < 3; i++) hears(&p, i, "onetwothree");
    room_close(&p.r);
}

static void speak_in_both(void *data)
{
    pass *p = data;
    say(p->r.group, "a");
    say(p->other, "b");
}

Test(group_pass, who_is_in_several_groups_is_sent_at_once_what_all_of_them_are)
{
    pass p = { .error = 0 };
    begin(&p, 3, 2);
    for (unsigned i = 1; i < 3; i++) cr_assert_eq(room_add(&p.r, p.other, i), 0);
    cr_assert_eq(run(&p, speak_in_both), 3);
    hears(&p, 0, "a");
    hears(&p, 1, "ab");
    hears(&p, 2, "b");
    room_close(&p.r);
}

/* Too many to look at each of them. */
Test(group_pass, who_is_in_very_many_groups_is_sent_at_once_what_all_of_them_are)
{
    pass p = { .error = 0 };
    weir_group *quiet;
    begin(&p, 2, 2);
    cr_assert_eq(room_add(&p.r, p.other, 0), 0);
    for (unsigned i = 0; i < 40; i++) {
        cr_assert_eq(weir_group_create(p.r.w.runtime, &quiet), 0);
        for (unsigned k = 0; k < 2; k++) cr_assert_eq(room_add(&p.r, quiet, k), 0);
    }
    cr_assert_eq(run(&p, speak_in_both), 2);
    hears(&p, 0, "ab");
    hears(&p, 1, "a");
    room_close(&p.r);
}

static void speak_to_all_but_one(void *data)
{
    pass *p = data;
    cr_assert_eq(room_say_except(p->r.group, "a", p->r.ids[1]), 0);
    cr_assert_eq(room_say_except(p->other, "b", p->r.ids[2]), 0);
}

Test(group_pass, each_send_leaves_out_its_own_exception)
{
    pass p = { .error = 0 };
    begin(&p, 3, 3);
    for (unsigned i = 0; i < 3; i++) cr_assert_eq(room_add(&p.r, p.other, i), 0);
    cr_assert_eq(run(&p, speak_to_all_but_one), 3);
    hears(&p, 0, "ab");
    hears(&p, 1, "b");
    hears(&p, 2, "a");
    cr_assert_eq(world_stats(&p.r.w).group_deliveries, 4);
    room_close(&p.r);
}

static void speak_and_send_by_id(void *data)
{
    pass *p = data;
    say(p->r.group, "a");
    cr_assert_eq(weir_send_to(p->r.w.runtime, p->r.ids[0], "b", 1), 0);
    say(p->r.group, "c");
}

Test(group_pass, what_comes_by_id_in_the_same_pass_comes_behind)
{
    pass p = { .error = 0 };
    begin(&p, 2, 2);
    (void)run(&p, speak_and_send_by_id);
    hears(&p, 0, "acb");
    hears(&p, 1, "ac");
    room_close(&p.r);
}

static void speak_and_share(void *data)
{
    pass *p = data;
    weir_buf *buf = weir_buf_copy("b", 1);
    say(p->r.group, "a");
    cr_assert_eq(weir_send_buf(conn_of(p, 0), buf), 0);
    say(p->r.group, "c");
    cr_assert_eq(weir_send_header_buf(conn_of(p, 1), "d", 1, buf), 0);
    weir_buf_release(buf);
}

Test(group_pass, shared_buffers_stand_in_order_too)
{
    pass p = { .error = 0 };
    begin(&p, 2, 2);
    cr_assert_eq(run(&p, speak_and_share), 2);
    hears(&p, 0, "abc");
    hears(&p, 1, "acdb");
    room_close(&p.r);
}

/* ---- who is a member, and in what state ---- */

static void speak_while_they_come_and_go(void *data)
{
    pass *p = data;
    say(p->r.group, "a");
    cr_assert_eq(weir_group_add(p->r.group, conn_of(p, 2)), 0);
    say(p->r.group, "b");
    weir_group_remove(p->r.group, conn_of(p, 0));
    say(p->r.group, "c");
    weir_group_remove(p->r.group, conn_of(p, 2));
    cr_assert_eq(weir_group_add(p->r.group, conn_of(p, 0)), 0);
}

Test(group_pass, who_is_a_member_at_the_time_of_the_send_gets_it)
{
    pass p = { .error = 0 };
    begin(&p, 3, 2);
    cr_assert_eq(run(&p, speak_while_they_come_and_go), 3);
    hears(&p, 0, "ab");
    hears(&p, 1, "abc");
    hears(&p, 2, "bc");
    room_close(&p.r);
}

static void leave_alone(void *data)
{
    pass *p = data;
    say(p->r.group, "a");
    weir_group_remove(p->r.group, conn_of(p, 1));
    say(p->other, "b");
}

Test(group_pass, the_last_member_gets_what_was_sent_before_it_left)
{
    pass p = { .error = 0 };
    begin(&p, 2, 0);
    cr_assert_eq(room_add(&p.r, p.r.group, 1), 0);
    cr_assert_eq(run(&p, leave_alone), 1);
    hears(&p, 1, "a");
    cr_assert_eq(weir_group_size(p.r.group), 0);
    cr_assert_eq(world_stats(&p.r.w).group_sends_empty, 1);
    room_close(&p.r);
}

static void speak_and_close(void *data)
{
    pass *p = data;
    say(p->r.group, "last words");
    weir_close(conn_of(p, 1));
}

Test(group_pass, a_member_that_is_closed_then_still_gets_it)
{
    char heard[16] = "";
    size_t size;
    pass p = { .error = 0 };
    begin(&p, 3, 3);
    (void)run(&p, speak_and_close);
    cr_assert_eq(raw_receive_all(p.r.peers[1], heard, sizeof heard - 1, &size), RAW_FIN);
    cr_assert_str_eq(heard, "last words");
    raw_close(p.r.peers[1]);
    room_leave(&p.r, 1);
    hears(&p, 0, "last words");
    hears(&p, 2, "last words");
    room_close(&p.r);
}

static void speak_and_abort(void *data)
{
    pass *p = data;
    say(p->r.group, "for two");
    weir_abort(conn_of(p, 1));
}

Test(group_pass, a_member_that_is_aborted_then_takes_nothing_from_the_others)
{
    pass p = { .error = 0 };
    begin(&p, 3, 3);
    (void)run(&p, speak_and_abort);
    cr_assert_eq(raw_await_end(p.r.peers[1]), RAW_RESET);
    raw_close(p.r.peers[1]);
    room_leave(&p.r, 1);
    WORLD_AWAIT(&p.r.w, p.r.w.closed == 1);
    hears(&p, 0, "for two");
    hears(&p, 2, "for two");
    cr_assert_eq(world_stats(&p.r.w).group_deliveries, 3, "it was a member");
    cr_assert_eq(world_stats(&p.r.w).queued, 0);
    room_close(&p.r);
}

static void speak_and_look(void *data)
{
    pass *p = data;
    say(p->r.group, "seven b");
    p->queued = weir_conn_queued(conn_of(p, 0));
}

Test(group_pass, what_is_deferred_counts_as_queued)
{
    pass p = { .error = 0 };
    begin(&p, 2, 2);
    (void)run(&p, speak_and_look);
    cr_assert_eq(p.queued, 7);
    hears(&p, 0, "seven b");
    hears(&p, 1, "seven b");
    room_close(&p.r);
}

static void speak_and_dissolve(void *data)
{
    pass *p = data;
    say(p->r.group, "a");
    say(p->other, "b");
    weir_group_destroy(p->r.group);
}

Test(group_pass, a_group_may_be_destroyed_right_after_a_send)
{
    pass p = { .error = 0 };
    begin(&p, 2, 2);
    cr_assert_eq(room_add(&p.r, p.other, 1), 0);
    (void)run(&p, speak_and_dissolve);
    hears(&p, 0, "a");
    hears(&p, 1, "ab");
    WORLD_AWAIT(&p.r.w, p.r.w.runtime->groups == p.other && !p.other->next);
    room_close(&p.r);
}

/* The message that ends the group comes in the same pass as the callback, or the pass after. */
static void send_and_dissolve_by_messages(pass *p, weir_buf *buf)
{
    cr_assert_eq(weir_group_send(p->r.group, buf), 0);
    weir_group_destroy(p->r.group);
    world_settle(&p->r.w);
}

Test(group_pass, the_end_of_a_group_in_the_pass_of_its_last_send_loses_nothing)
{
    pass p = { .error = 0 };
    weir_buf *buf = weir_buf_copy("last", 4);
    begin(&p, 2, 2);
    send_and_dissolve_by_messages(&p, buf);
    hears(&p, 0, "last");
    hears(&p, 1, "last");
    cr_assert_eq(buf->references, 1);
    weir_buf_release(buf);
    room_close(&p.r);
}

/* A close that did not know of it would not wait for its peer, and what is unread here would reset the connection. */
Test(group_pass, what_was_sent_to_a_group_alone_is_not_destroyed_by_the_close_that_follows)
{
    static const char UNREAD[60000];
    char heard[4] = "";
    size_t size;
    pass p = { .error = 0 };
    begin(&p, 1, 1);
    world_pause(&p.r.w, p.r.ids[0]);
    raw_send(p.r.peers[0], UNREAD, sizeof UNREAD);
    cr_assert_eq(run(&p, speak_to_all), 1);
    world_close(&p.r.w, p.r.ids[0]);
    cr_assert_eq(raw_receive_all(p.r.peers[0], heard, 3, &size), RAW_FIN);
    cr_assert_str_eq(heard, "all");
    raw_close(p.r.peers[0]);
    room_leave(&p.r, 0);
    room_close(&p.r);
}

/* ---- from callbacks at the end of a pass ---- */

typedef struct mourning {
    weir_group *_Atomic group;
} mourning;

static void abort_it(weir_conn *conn, const void *bytes, size_t size)
{
    (void)bytes, (void)size;
    weir_abort(conn);
}

static void tell_the_others(weir_conn *conn, weir_reason reason)
{
    (void)reason;
    mourning *m = world_data(conn);
    say(m->group, "it is gone");
}

/* The worker has nothing else to wake up for. */
Test(group_pass, a_send_from_on_close_is_not_left_lying)
{
    mourning m = { .group = NULL };
    room r = { .w.protocol = { .on_message = abort_it, .on_close = tell_the_others, .data = &m } };
    room_open(&r, 3, 3);
    m.group = r.group;
    raw_send(r.peers[0], "!", 1);
    room_hears(&r, 1, "it is gone");
    room_hears(&r, 2, "it is gone");
    raw_close(r.peers[0]);
    room_leave(&r, 0);
    room_close(&r);
}

static void say_goodbye(weir_conn *conn)
{
    mourning *m = world_data(conn);
    say(m->group, "!");
}

static void speak_and_stop(void *data)
{
    pass *p = data;
    say(p->r.group, "the end");
    weir_runtime_stop(p->r.w.runtime);
}

Test(group_pass, what_was_sent_before_and_during_a_stop_arrives)
{
    mourning m = { .group = NULL };
    pass p = { .r.w.protocol = { .on_stop = say_goodbye, .data = &m } };
    unsigned goodbyes = 0;
    begin(&p, 3, 3);
    m.group = p.r.group;
    world_run(&p.r.w, 0, speak_and_stop, &p);
    for (unsigned i = 0; i < 3; i++) {
        char heard[16] = "";
        size_t size;
        cr_assert_eq(raw_receive_all(p.r.peers[i], heard, sizeof heard - 1, &size), RAW_FIN);
        cr_assert_eq(strncmp(heard, "the end!", 8), 0, "peer %u hears %s", i, heard);
        goodbyes += (unsigned)size - 7;
        raw_close(p.r.peers[i]);
        room_leave(&p.r, i);
    }
    cr_assert_eq(goodbyes, 3 + 2 + 1, "each is told of itself and of those after it");
    room_close(&p.r);
}

/* ---- limits ---- */

/* So much is sent to all at once that nothing of it is lost, but the kernel does not take it. */
enum { SIZE = 50000, SENDS = 400 };

static void send_much(void *data)
{
    pass *p = data;
    weir_buf *buf = weir_buf_create(SIZE);
    world_fill(weir_buf_bytes(buf), SIZE, p->queued++);
    cr_assert_eq(weir_group_send(p->r.group, buf), 0);
    weir_buf_release(buf);
}

Test(group_pass, a_member_that_reads_late_gets_all_in_order, .timeout = 60)
{
    static char got[SIZE], want[SIZE];
    weir_outbox_options patient = { .soft_limit = SIZE * (SENDS + 1), .hard_limit = SIZE * (SENDS + 1) };
    pass p = { .r.w.protocol.outbox = patient };
    begin(&p, 1, 1);
    raw_peer late = world_connect_small(&p.r.w);
    WORLD_AWAIT(&p.r.w, p.r.w.opened == 2);
    cr_assert_eq(weir_group_add_id(p.r.group, p.r.w.id), 0);
    for (unsigned n = 0; n < SENDS; n++) {
        (void)run(&p, send_much);
        world_fill(want, SIZE, n);
        raw_receive(p.r.peers[0], got, SIZE);
        cr_assert_eq(memcmp(got, want, SIZE), 0, "send %u", n);
    }
    cr_assert_gt(world_stats(&p.r.w).queued, 0, "the kernel has taken all of it");
    for (unsigned n = 0; n < SENDS; n++) {
        world_fill(want, SIZE, n);
        raw_receive(late, got, SIZE);
        cr_assert_eq(memcmp(got, want, SIZE), 0, "send %u", n);
    }
    world_settle(&p.r.w);
    weir_stats stats = world_stats(&p.r.w);
    cr_assert_eq(stats.queued, 0);
    cr_assert_eq(stats.bytes_sent, 2ull * SIZE * SENDS);
    cr_assert_eq(stats.group_deliveries, 2 * SENDS);
    raw_close(late);
    room_close(&p.r);
}

static void send_200_bytes(void *data)
{
    pass *p = data;
    weir_buf *buf = weir_buf_create(200);
    world_fill(weir_buf_bytes(buf), 200, 1);
    cr_assert_eq(weir_group_send(p->r.group, buf), 0);
    weir_buf_release(buf);
}

Test(group_pass, a_send_beyond_the_soft_limit_arrives)
{
    char got[200], want[200];
    pass p = { .r.w.protocol.outbox = { .soft_limit = 100, .hard_limit = 200 } };
    begin(&p, 2, 2);
    cr_assert_eq(run(&p, send_200_bytes), 2);
    world_fill(want, 200, 1);
    for (unsigned i = 0; i < 2; i++) {
        raw_receive(p.r.peers[i], got, 200);
        cr_assert_eq(memcmp(got, want, 200), 0);
    }
    cr_assert_eq(world_stats(&p.r.w).sends_dropped, 0);
    room_close(&p.r);
}

Test(group_pass, a_send_beyond_the_hard_limit_lets_all_of_them_go)
{
    pass p = { .r.w.protocol.outbox = { .soft_limit = 100, .hard_limit = 199 } };
    begin(&p, 5, 4);
    cr_assert_eq(run(&p, send_200_bytes), 0);
    WORLD_AWAIT(&p.r.w, p.r.w.closed == 4);
    cr_assert_eq(world_closed(&p.r.w, WEIR_ESLOW), 4);
    cr_assert_eq(world_stats(&p.r.w).sends_dropped, 4);
    cr_assert_eq(world_stats(&p.r.w).group_deliveries, 0);
    cr_assert_eq(weir_group_size(p.r.group), 0);
    room_close(&p.r);
}

/* Those that are let go by the first send are members of the group that the second goes to. */
static void send_200_bytes_and_more(void *data)
{
    pass *p = data;
    send_200_bytes(p);
    say(p->other, "more");
}

Test(group_pass, who_is_let_go_by_one_send_gets_nothing_of_the_next)
{
    pass p = { .r.w.protocol.outbox = { .soft_limit = 100, .hard_limit = 199 } };
    begin(&p, 4, 2);
    for (unsigned i = 1; i < 4; i++) cr_assert_eq(room_add(&p.r, p.other, i), 0);
    cr_assert_eq(run(&p, send_200_bytes_and_more), 2);
    WORLD_AWAIT(&p.r.w, p.r.w.closed == 2);
    hears(&p, 2, "more");
    hears(&p, 3, "more");
    cr_assert_eq(world_stats(&p.r.w).group_deliveries, 2);
    room_close(&p.r);
}

static void send_200_bytes_behind_some_by_id(void *data)
{
    pass *p = data;
    p->error = weir_send_to(p->r.w.runtime, p->r.ids[0], "on its way", 10);
    send_200_bytes(p);
}

Test(group_pass, what_is_on_its_way_by_id_counts_against_the_limit)
{
    pass p = { .r.w.protocol.outbox = { .hard_limit = 205, .soft_limit = 205, .policy = WEIR_SLOW_DROP_NEWEST } };
    begin(&p, 2, 2);
    (void)run(&p, send_200_bytes_behind_some_by_id);
    cr_assert_eq(p.error, 0);
    hears(&p, 0, "on its way");
    cr_assert_eq(world_stats(&p.r.w).sends_dropped, 1);
    cr_assert_eq(world_stats(&p.r.w).group_deliveries, 1);
    room_close(&p.r);
}

/* ---- no memory ---- */

static void speak_without_memory_once(void *data)
{
    pass *p = data;
    say(p->r.group, "hello");
    world_refuse_once(&p->r.w, 0);
}

Test(group_pass, without_memory_for_what_all_members_share_each_still_gets_it)
{
    pass p = { .error = 0 };
    begin(&p, 3, 3);
    uint64_t refused = p.r.w.memory.refused;
    (void)run(&p, speak_without_memory_once);
    cr_assert_eq(p.r.w.memory.refused, refused + 1);
    for (unsigned i = 0; i < 3; i++) hears(&p, i, "hello");
    cr_assert_eq(p.r.w.closed, 0);
    room_close(&p.r);
}

static void speak_without_memory(void *data)
{
    pass *p = data;
    say(p->r.group, "hello");
    world_refuse(&p->r.w, 0);
}

Test(group_pass, without_any_memory_the_members_end_and_nobody_else)
{
    pass p = { .error = 0 };
    begin(&p, 3, 2);
    world_run(&p.r.w, 0, speak_without_memory, &p);
    WORLD_AWAIT(&p.r.w, p.r.w.closed == 2);
    world_refuse(&p.r.w, -1);
    cr_assert_eq(world_closed(&p.r.w, WEIR_ENOMEM), 2);
    cr_assert_eq(world_send(&p.r.w, p.r.ids[2], "alive", 5), 0);
    hears(&p, 2, "alive");
    room_close(&p.r);
}
