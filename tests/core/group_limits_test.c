/* Groups at their limits: slow members, a worker that is behind, no memory, the end of the group and of the runtime. */
#include <string.h>

#include "core/buffer.h"
#include "core/members.h"
#include "core/room.h"
#include "core/runtime.h"

/* ---- slow members ---- */

enum { SIZE = 20000, HARD = 200000 };

static void check_slow(weir_slow_policy policy)
{
    static char got[SIZE];
    room r = { .w = { .runtime_options.workers = 2,
                      .protocol.outbox = { .hard_limit = HARD, .soft_limit = HARD, .policy = policy } } };
    room_open(&r, 3, 3);
    raw_peer deaf = world_connect_small(&r.w);
    WORLD_AWAIT(&r.w, r.w.opened == 4);
    cr_assert_eq(weir_group_add_id(r.group, r.w.id), 0);
    bool is_over = false;
    for (uint32_t n = 0; n < 3000 && !is_over; n++) {
        memset(got, 0, sizeof got);
        memcpy(got, &n, sizeof n);
        weir_buf *buf = weir_buf_copy(got, SIZE);
        cr_assert_eq(weir_group_send(r.group, buf), 0);
        weir_buf_release(buf);
        for (unsigned i = 0; i < 3; i++) {
            uint32_t number;
            raw_receive(r.peers[i], got, SIZE);
            memcpy(&number, got, sizeof number);
            cr_assert_eq(number, n, "peer %u", i);
        }
        weir_stats stats = world_stats(&r.w);
        is_over = policy == WEIR_SLOW_DISCONNECT ? stats.closed[-WEIR_ESLOW] == 1 : stats.sends_dropped >= 5;
    }
    cr_assert(is_over, "the deaf one was never found slow");
    if (policy == WEIR_SLOW_DISCONNECT) WORLD_AWAIT(&r.w, r.w.closed == 1);
    cr_assert_eq(weir_group_size(r.group), policy == WEIR_SLOW_DISCONNECT ? 3 : 4);
    raw_reset(deaf);
    room_close(&r);
}

Test(group_limits, a_member_that_does_not_read_is_let_go_and_the_others_lose_nothing)
{
    check_slow(WEIR_SLOW_DISCONNECT);
}

Test(group_limits, a_member_that_does_not_read_misses_messages_and_the_others_none)
{
    check_slow(WEIR_SLOW_DROP_NEWEST);
}

/* All of them go during one send: the list is walked while it empties. */
Test(group_limits, members_that_are_let_go_in_the_middle_of_a_send_leave_the_others_in)
{
    room r = { .w.protocol.outbox = { .hard_limit = 100, .soft_limit = 100 } };
    weir_buf *large = weir_buf_create(101);
    memset(weir_buf_bytes(large), 'x', 101);
    room_open(&r, 20, 20);
    cr_assert_eq(weir_group_send_except(r.group, large, r.ids[7]), 0);
    WORLD_AWAIT(&r.w, r.w.closed == 19);
    cr_assert_eq(world_closed(&r.w, WEIR_ESLOW), 19);
    cr_assert_eq(weir_group_size(r.group), 1);
    cr_assert_eq(world_stats(&r.w).sends_dropped, 19);
    cr_assert_eq(room_say(r.group, "still here"), 0);
    room_hears(&r, 7, "still here");
    cr_assert_eq(large->references, 1);
    weir_buf_release(large);
    room_close(&r);
}

/* ---- a worker that is behind ---- */

Test(group_limits, a_flood_that_a_worker_is_behind_with_is_refused_and_counted)
{
    room r = { .w = { .manual = true, .runtime_options.group_backlog = 10000 } };
    room_open(&r, 2, 2);
    unsigned accepted = 0;
    while (accepted < 1000 && room_say(r.group, "ten bytes.") == 0) accepted++;
    cr_assert_eq(accepted, 10000 / 138, "each counts as its bytes and 128 more");
    cr_assert_eq(room_say(r.group, "ten bytes."), WEIR_ESLOW);
    cr_assert_eq(weir_group_add_id(r.group, r.ids[0]), WEIR_ESLOW);
    cr_assert_eq(weir_group_remove_id(r.group, r.ids[0]), WEIR_ESLOW);
    cr_assert_eq(world_stats(&r.w).sends_dropped, 4, "for both members, twice");
    for (unsigned n = 0; n < accepted; n++)
        for (unsigned i = 0; i < 2; i++) room_hears(&r, i, "ten bytes.");
    cr_assert_eq(room_say(r.group, "and on"), 0);
    for (unsigned i = 0; i < 2; i++) room_hears(&r, i, "and on");
    cr_assert_eq(r.w.runtime->workers[0].shared.group_queued, 0);
    room_close(&r);
}

Test(group_limits, one_message_larger_than_the_backlog_may_go_alone)
{
    enum { LARGE = 5000 };
    static char got[LARGE];
    room r = { .w = { .manual = true, .runtime_options.group_backlog = 1000 } };
    weir_buf *buf = weir_buf_create(LARGE);
    memset(weir_buf_bytes(buf), 'x', LARGE);
    room_open(&r, 1, 1);
    cr_assert_eq(weir_group_send(r.group, buf), 0);
    cr_assert_eq(weir_group_send(r.group, buf), WEIR_ESLOW);
    raw_receive(r.peers[0], got, LARGE);
    cr_assert_eq(weir_group_send(r.group, buf), 0);
    raw_receive(r.peers[0], got, LARGE);
    weir_buf_release(buf);
    room_close(&r);
}

static _Atomic bool is_held, let_go;

static void hold(weir_runtime *runtime, void *data)
{
    (void)runtime, (void)data;
    is_held = true;
    while (!let_go) weir_sleep_ms(1);
}

Test(group_limits, a_worker_that_hangs_costs_the_members_of_others_nothing)
{
    room r = { .w.runtime_options = { .workers = 2, .group_backlog = 1000 } };
    room_open(&r, 2, 2);
    cr_assert_neq(wr_id_worker(r.ids[0]), wr_id_worker(r.ids[1]), "a balanced listener");
    cr_assert_eq(weir_post(r.w.runtime, wr_id_worker(r.ids[0]), hold, NULL), 0);
    WORLD_AWAIT(&r.w, is_held);
    for (unsigned n = 0; n < 100; n++) {
        int error = room_say(r.group, "on");
        cr_assert_eq(error, n < 1000 / 130 ? 0 : WEIR_ESLOW, "send %u", n);
        room_hears(&r, 1, "on");
    }
    let_go = true;
    for (unsigned n = 0; n < 1000 / 130; n++) room_hears(&r, 0, "on");
    cr_assert_eq(world_stats(&r.w).sends_dropped, 100 - 1000 / 130);
    cr_assert(room_is_silent(&r, 0));
    room_close(&r);
}

/* ---- no memory ---- */

Test(group_limits, without_memory_each_call_says_so_and_nothing_else_is_lost)
{
    room r = { .w.manual = true };
    weir_group *none;
    room_open(&r, 3, 1);
    world_refuse(&r.w, 0);
    cr_assert_eq(weir_group_create(r.w.runtime, &none), WEIR_ENOMEM);
    cr_assert_null(none);
    cr_assert_eq(room_say(r.group, "x"), WEIR_ENOMEM);
    cr_assert_eq(weir_group_add_id(r.group, r.ids[2]), WEIR_ENOMEM);
    world_refuse(&r.w, 1); /* that of the post */
    cr_assert_eq(room_add(&r, r.group, 1), WEIR_ENOMEM);
    world_refuse(&r.w, -1);
    cr_assert_eq(weir_group_size(r.group), 1);
    cr_assert_eq(r.w.runtime->workers[0].shared.group_queued, 0);
    cr_assert_eq(room_add(&r, r.group, 1), 0);
    cr_assert_eq(room_say(r.group, "again"), 0);
    room_hears(&r, 0, "again");
    room_hears(&r, 1, "again");
    room_close(&r);
}

Test(group_limits, without_memory_for_the_first_table_nobody_is_added)
{
    room r = { .w.manual = true };
    room_open(&r, 1, 0);
    world_refuse(&r.w, 2); /* the post, and the membership; not the table */
    cr_assert_eq(room_add(&r, r.group, 0), WEIR_ENOMEM);
    world_refuse(&r.w, -1);
    cr_assert_eq(weir_group_size(r.group), 0);
    cr_assert_eq(room_add(&r, r.group, 0), 0);
    room_close(&r);
}

Test(group_limits, a_connection_that_is_added_by_its_id_ends_when_there_is_no_memory_for_it)
{
    room r = { .w.manual = true };
    room_open(&r, 2, 1);
    cr_assert_eq(weir_group_add_id(r.group, r.ids[1]), 0);
    world_refuse(&r.w, 0);
    WORLD_AWAIT(&r.w, r.w.closed == 1);
    world_refuse(&r.w, -1);
    cr_assert_eq(world_closed(&r.w, WEIR_ENOMEM), 1);
    cr_assert_eq(weir_group_size(r.group), 1);
    cr_assert_eq(room_say(r.group, "alone"), 0);
    room_hears(&r, 0, "alone");
    room_close(&r);
}

Test(group_limits, a_group_costs_its_runtime_nothing_once_it_is_empty)
{
    room r = { .w.manual = true };
    room_open(&r, 10, 0);
    uint64_t before = world_stats(&r.w).memory;
    for (unsigned i = 0; i < 10; i++) cr_assert_eq(room_add(&r, r.group, i), 0);
    cr_assert_eq(world_stats(&r.w).memory, before + 10 * sizeof(wr_member) + 16 * sizeof(void *));
    for (unsigned i = 0; i < 10; i++) room_remove(&r, r.group, i);
    cr_assert_eq(world_stats(&r.w).memory, before);
    room_close(&r);
}

/* ---- the end ---- */

Test(group_limits, a_send_to_a_group_without_members_is_counted)
{
    room r = { .w.runtime_options.workers = 2 };
    room_open(&r, 1, 0);
    cr_assert_eq(room_say(r.group, "anybody?"), 0);
    cr_assert_eq(room_say(r.group, "anybody?"), 0);
    cr_assert_eq(world_stats(&r.w).group_sends_empty, 2);
    room_close(&r);
}

Test(group_limits, a_send_to_a_group_of_a_runtime_that_has_stopped_is_counted)
{
    room r = { .w.runtime_options.workers = 2 };
    room_open(&r, 2, 2);
    weir_runtime_stop(r.w.runtime);
    for (unsigned i = 0; i < 2; i++) {
        cr_assert_eq(raw_await_end(r.peers[i]), RAW_FIN);
        raw_close(r.peers[i]);
        room_leave(&r, i);
    }
    cr_assert_eq(weir_runtime_wait(r.w.runtime), 0);
    cr_assert_eq(weir_group_size(r.group), 0);
    cr_assert_eq(room_say(r.group, "too late"), 0);
    cr_assert_eq(world_stats(&r.w).group_sends_empty, 1);
    weir_group_destroy(r.group);
    weir_group *late;
    cr_assert_eq(weir_group_create(r.w.runtime, &late), 0);
    cr_assert_eq(room_say(late, "too late"), 0);
    world_stop(&r.w);
}

Test(group_limits, what_was_sent_before_a_group_is_destroyed_arrives_and_its_members_stay)
{
    room r = { .w.runtime_options.workers = 2 };
    room_open(&r, 6, 6);
    for (int i = 0; i < 100; i++) cr_assert_eq(room_say(r.group, "last words "), 0);
    weir_group_destroy(r.group);
    for (int i = 0; i < 100; i++)
        for (unsigned k = 0; k < 6; k++) room_hears(&r, k, "last words ");
    WORLD_AWAIT(&r.w, r.w.runtime->workers[0].owner.members.count == 0);
    WORLD_AWAIT(&r.w, !r.w.runtime->groups);
    for (unsigned k = 0; k < 6; k++) {
        cr_assert_eq(weir_send_to(r.w.runtime, r.ids[k], "alive", 5), 0);
        room_hears(&r, k, "alive");
    }
    room_close(&r);
}

Test(group_limits, what_is_on_its_way_when_the_runtime_ends_is_freed)
{
    room r = { .w.manual = true };
    weir_buf *buf = weir_buf_copy("never", 5);
    room_open(&r, 1, 1);
    raw_close(r.peers[0]);
    room_leave(&r, 0);
    WORLD_AWAIT(&r.w, r.w.closed == 1);
    weir_runtime_stop(r.w.runtime);
    world_settle(&r.w);
    cr_assert_eq(weir_group_send(r.group, buf), 0);
    weir_group_destroy(r.group); /* nobody is left to see it through but the end of the runtime */
    world_stop(&r.w);
    cr_assert_eq(buf->references, 1);
    weir_buf_release(buf);
}

Test(group_limits, what_waits_for_a_worker_that_never_ran_is_freed)
{
    room r = { .w.manual = true };
    weir_buf *buf = weir_buf_copy("never", 5);
    room_open(&r, 1, 1);
    for (int i = 0; i < 10; i++) cr_assert_eq(weir_group_send(r.group, buf), 0);
    cr_assert_eq(weir_group_add_id(r.group, r.ids[0]), 0);
    weir_group_destroy(r.group);
    raw_close(r.peers[0]);
    room_leave(&r, 0);
    world_stop(&r.w);
    cr_assert_eq(buf->references, 1);
    weir_buf_release(buf);
}
