/* A room's rules, without any network; and the client's view of it. */
#include "harness/weir_test.h"
#include "room.h"
#include "view.h"
#include <stdlib.h>

static struct room room;
static struct snapshot snapshot;

static void open_room(unsigned capacity)
{
    room_open(&room, capacity, 30, 1);
}

static unsigned enter(void)
{
    int player = room_enter(&room);
    cr_assert_geq(player, 0);
    return (unsigned)player;
}

/* ---- coming and going ---- */

Test(room, takes_as_many_as_it_has_places_for)
{
    open_room(3);
    for (int i = 0; i < 3; i++) cr_assert_eq(room_enter(&room), i);
    cr_assert_eq(room_enter(&room), -1);
    room_leave(&room, 1);
    cr_assert_eq(room_enter(&room), 1);
    cr_assert_eq(room.count, 3);
}

Test(room, tells_of_who_comes_and_who_goes_once)
{
    open_room(4);
    unsigned first = enter(), second = enter();
    room_step(&room, &snapshot);
    cr_assert_eq(snapshot.tick, 1);
    cr_assert_eq(snapshot.record_count, 2);
    room_step(&room, &snapshot);
    cr_assert_eq(snapshot.record_count, 0, "nobody has moved");
    room_leave(&room, first);
    room_step(&room, &snapshot);
    cr_assert_eq(snapshot.gone_count, 1);
    cr_assert_eq(snapshot.gone[0], first);
    cr_assert_eq(snapshot.record_count, 0);
    room_leave(&room, second);
    room_step(&room, &snapshot);
    cr_assert_eq(snapshot.gone_count, 1);
}

Test(room, never_mentions_who_came_and_went_between_two_ticks)
{
    open_room(4);
    room_leave(&room, enter());
    room_step(&room, &snapshot);
    cr_assert_eq(snapshot.gone_count + snapshot.record_count, 0);
}

Test(room, whose_place_changes_hands_in_one_tick_says_both)
{
    struct view view = { 0 };
    open_room(1);
    unsigned player = enter();
    room_step(&room, &snapshot);
    room_whole(&room, &snapshot);
    cr_assert_null(view_apply(&view, &snapshot));
    struct record before = view.records[player];
    room_leave(&room, player);
    cr_assert_eq(enter(), player);
    room_step(&room, &snapshot);
    cr_assert_eq(snapshot.gone_count, 1);
    cr_assert_eq(snapshot.record_count, 1);
    cr_assert_null(view_apply(&view, &snapshot));
    cr_assert(view.here[player]);
    cr_assert(before.x != view.records[player].x || before.y != view.records[player].y);
}

/* ---- steps ---- */

Test(room, moves_a_player_by_its_steps_and_acknowledges_them)
{
    open_room(1);
    unsigned player = enter();
    struct place expected = room.players[player].place;
    for (uint32_t i = 1; i <= 300; i++) {
        cr_assert_eq(room_input(&room, player, i, 700, -900), ACCEPTED);
        expected = world_move(expected, 700, -900);
        room_step(&room, &snapshot);
        cr_assert_eq(snapshot.record_count, 1);
        cr_assert_eq(snapshot.records[0].input, (uint8_t)i);
        cr_assert_eq(snapshot.records[0].x, world_seen(expected.x));
        cr_assert_eq(snapshot.records[0].y, world_seen(expected.y));
    }
}

Test(room, rejects_a_step_that_is_too_long_and_lets_the_player_stand)
{
    open_room(1);
    unsigned player = enter();
    struct place before = room.players[player].place;
    cr_assert_eq(room_input(&room, player, 1, STEP_MAX, 1), REJECTED);
    cr_assert_eq(room_input(&room, player, 2, INT16_MIN, INT16_MIN), REJECTED);
    cr_assert_eq(room.players[player].place.x, before.x);
    cr_assert_eq(room.players[player].place.y, before.y);
    cr_assert_eq(room_input(&room, player, 3, STEP_MAX, 0), ACCEPTED);
    room_step(&room, &snapshot);
    cr_assert_eq(snapshot.records[0].input, 3, "the rejected ones are acknowledged too");
}

Test(room, rejects_more_steps_than_the_ticks_allow)
{
    open_room(1);
    unsigned player = enter();
    uint32_t number = 0;
    for (int i = 0; i < INPUT_WINDOW; i++) cr_assert_eq(room_input(&room, player, ++number, 1, 1), ACCEPTED);
    cr_assert_eq(room_input(&room, player, ++number, 1, 1), REJECTED);
    room_step(&room, &snapshot);
    cr_assert_eq(room_input(&room, player, ++number, 1, 1), ACCEPTED, "a tick allows one more");
    cr_assert_eq(room_input(&room, player, ++number, 1, 1), REJECTED);
    for (int i = 0; i < 1000; i++) room_step(&room, &snapshot);
    for (int i = 0; i < INPUT_WINDOW; i++) cr_assert_eq(room_input(&room, player, ++number, 1, 1), ACCEPTED);
    cr_assert_eq(room_input(&room, player, ++number, 1, 1), REJECTED, "no more is saved up");
}

Test(room, has_had_enough_of_who_cheats_too_often)
{
    open_room(1);
    unsigned player = enter();
    uint32_t number = 0;
    for (int i = 0; i < CHEATS_MAX; i++) cr_assert_eq(room_input(&room, player, ++number, 9999, 0), REJECTED);
    cr_assert_eq(room_input(&room, player, ++number, 9999, 0), CHEATED);
}

Test(room, takes_steps_in_order_only)
{
    open_room(1);
    unsigned player = enter();
    cr_assert_eq(room_input(&room, player, 0, 1, 1), MALFORMED);
    cr_assert_eq(room_input(&room, player, 2, 1, 1), MALFORMED);
    cr_assert_eq(room_input(&room, player, 1, 1, 1), ACCEPTED);
    cr_assert_eq(room_input(&room, player, 1, 1, 1), MALFORMED);
}

Test(world, ends_at_its_edges)
{
    struct place corner = world_move((struct place){ 5, WORLD_SIZE - 5 }, -1000, 1000);
    cr_assert_eq(corner.x, 0);
    cr_assert_eq(corner.y, WORLD_SIZE - 1);
    corner = world_move((struct place){ WORLD_SIZE - 1, 0 }, INT16_MAX, INT16_MIN);
    cr_assert_eq(corner.x, WORLD_SIZE - 1);
    cr_assert_eq(corner.y, 0);
}

Test(world, allows_the_same_way_in_each_direction)
{
    cr_assert(world_step_is_fair(0, -STEP_MAX));
    cr_assert(!world_step_is_fair(0, STEP_MAX + 1));
    cr_assert(world_step_is_fair(905, 905));
    cr_assert(!world_step_is_fair(906, 906), "%d", STEP_MAX);
    cr_assert(!world_step_is_fair(INT16_MIN, INT16_MIN));
}

/* ---- texts ---- */

Test(room, lets_a_player_speak_once_a_second_and_save_up_a_few)
{
    open_room(1);
    unsigned player = enter();
    for (int i = 0; i < CHATS_SAVED; i++) cr_assert_eq(room_chat(&room, player), ACCEPTED);
    cr_assert_eq(room_chat(&room, player), REJECTED);
    cr_assert_eq(room.chats, CHATS_SAVED);
    for (int i = 0; i < 29; i++) room_step(&room, &snapshot);
    cr_assert_eq(room_chat(&room, player), REJECTED);
    room_step(&room, &snapshot);
    cr_assert_eq(room_chat(&room, player), ACCEPTED);
}

Test(room, knows_who_is_idle)
{
    open_room(1);
    unsigned player = enter();
    for (int i = 0; i < 59; i++) room_step(&room, &snapshot);
    cr_assert(!room_is_idle(&room, player, 2));
    room_step(&room, &snapshot);
    cr_assert(room_is_idle(&room, player, 2));
    cr_assert_eq(room_input(&room, player, 1, 0, 0), ACCEPTED);
    cr_assert(!room_is_idle(&room, player, 2));
}

/* ---- the view ---- */

static void expect_same(const struct view *view)
{
    for (unsigned i = 0; i < room.capacity; i++) {
        const struct player *player = &room.players[i];
        cr_assert_eq(view->here[i], player->here);
        if (!player->here) continue;
        cr_assert_eq(view->records[i].x, world_seen(player->place.x));
        cr_assert_eq(view->records[i].y, world_seen(player->place.y));
        cr_assert_eq(view->records[i].input, (uint8_t)player->input);
    }
}

static void do_something(uint64_t *random)
{
    unsigned player = (unsigned)(world_random(random) % room.capacity);
    struct player *there = &room.players[player];
    if (!there->here)
        room_enter(&room);
    else if (world_random(random) % 16 == 0)
        room_leave(&room, player);
    else
        room_input(&room, player, there->input + 1, (int)(world_random(random) % 100) - 50, 20);
}

Test(view, of_the_deltas_is_the_room_at_each_tick)
{
    struct view early = { 0 };
    uint64_t random = 1;
    open_room(PLAYERS_MAX);
    room_whole(&room, &snapshot);
    cr_assert_null(view_apply(&early, &snapshot));
    for (int tick = 0; tick < 5000; tick++) {
        for (uint64_t i = world_random(&random) % 40; i > 0; i--) do_something(&random);
        room_step(&room, &snapshot);
        cr_assert_null(view_apply(&early, &snapshot));
        expect_same(&early);
        struct view late = { 0 }; /* of who comes now, and is told all at once */
        room_whole(&room, &snapshot);
        cr_assert_null(view_apply(&late, &snapshot));
        expect_same(&late);
    }
}

Test(view, refuses_what_does_not_build_on_what_it_has)
{
    struct view view = { 0 };
    struct snapshot delta = { .tick = 6 }, whole = { .tick = 5, .whole = true };
    cr_assert_not_null(view_apply(&view, &delta), "nothing was there before");
    cr_assert_null(view_apply(&view, &whole));
    cr_assert_null(view_apply(&view, &delta));
    cr_assert_not_null(view_apply(&view, &delta), "the same again");
    delta.tick = 8;
    cr_assert_not_null(view_apply(&view, &delta), "7 is missing");
    delta = (struct snapshot){ .tick = 7, .gone_count = 1, .gone = { 3 } };
    cr_assert_not_null(view_apply(&view, &delta), "3 was not there");
    whole.tick = 100;
    cr_assert_null(view_apply(&view, &whole), "a whole one fits always");
    cr_assert_eq(view.tick, 100);
}
