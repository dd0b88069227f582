/* Slots and ids: an id finds its own connection's slot, or nothing. */
#include "core/slots.h"

#include <stdlib.h>
#include <string.h>

#include "harness/weir_test.h"

static _Atomic int allocations_left = -1;
static _Atomic long blocks;

static void *slots_alloc(size_t size, void *data)
{
    (void)data;
    if (allocations_left == 0) return NULL;
    if (allocations_left > 0) allocations_left--;
    blocks++;
    return malloc(size);
}

static void slots_free(void *block, size_t size, void *data)
{
    (void)size, (void)data;
    blocks--;
    free(block);
}

static const wr_heap heap = { .hook = { .alloc = slots_alloc, .free = slots_free } };

static void open_slots(wr_slots *slots, uint32_t capacity)
{
    cr_assert_eq(wr_slots_init(slots, &heap, capacity), 0);
}

static void close_slots(wr_slots *slots)
{
    wr_slots_destroy(slots);
    cr_assert_eq(blocks, 0);
}

Test(slots, an_id_is_made_of_its_parts)
{
    const struct {
        unsigned worker;
        uint32_t slot, generation;
    } parts[] = { { 0, 0, 1 }, { 255, WR_SLOTS_MAX - 1, UINT32_MAX }, { 3, 70000, 12345 }, { 0, WR_SLOTS_MAX - 1, 1 } };
    for (unsigned i = 0; i < sizeof parts / sizeof *parts; i++) {
        weir_conn_id id = wr_id_make(parts[i].worker, parts[i].slot, parts[i].generation);
        cr_assert_neq(id, 0);
        cr_assert_eq(wr_id_worker(id), parts[i].worker);
        cr_assert_eq(wr_id_slot(id), parts[i].slot);
        cr_assert_eq(wr_id_generation(id), parts[i].generation);
    }
}

Test(slots, one_that_was_never_made_is_not_there)
{
    wr_slots slots;
    open_slots(&slots, 2000);
    cr_assert_eq(wr_slots_count(&slots), 0);
    cr_assert_null(wr_slots_at(&slots, 0));
    wr_slot *slot = wr_slots_take(&slots, 1);
    cr_assert_not_null(slot);
    cr_assert(wr_slots_at(&slots, slot->number) == slot);
    cr_assert_null(wr_slots_at(&slots, WR_SLOT_CHUNK));
    cr_assert_null(wr_slots_at(&slots, 4 * WR_SLOT_CHUNK));
    cr_assert_null(wr_slots_at(&slots, WR_SLOTS_MAX - 1));
    cr_assert_null(wr_slots_at(&slots, UINT32_MAX));
    wr_slots_give(&slots, slot);
    close_slots(&slots);
}

Test(slots, no_two_are_the_same_and_the_capacity_is_kept)
{
    enum { CAPACITY = 3 * WR_SLOT_CHUNK - WR_SLOTS_SPARE, ALL = 3 * WR_SLOT_CHUNK };
    static bool taken[ALL];
    wr_slots slots;
    wr_slot *last = NULL;
    open_slots(&slots, CAPACITY);
    for (int i = 0; i < ALL; i++) {
        wr_slot *slot = last = i % 3 == 0 ? wr_slots_take_shared(&slots, 77) : wr_slots_take(&slots, 77);
        cr_assert_not_null(slot);
        cr_assert_lt(slot->number, ALL);
        cr_assert_not(taken[slot->number]);
        taken[slot->number] = true;
        cr_assert(wr_slots_at(&slots, slot->number) == slot);
        cr_assert_eq(slot->shared.generation, 1);
        cr_assert_eq(slot->shared.limit, 77);
        cr_assert_null(slot->owner.conn);
    }
    cr_assert_null(wr_slots_take(&slots, 1), "all are taken");
    cr_assert_null(wr_slots_take_shared(&slots, 1));
    cr_assert_eq(wr_slots_count(&slots), ALL);
    wr_slots_give(&slots, last);
    cr_assert(wr_slots_take(&slots, 1) == last);
    close_slots(&slots);
}

/* Those who connect from other threads must come to what the worker has given back. */
Test(slots, the_worker_keeps_no_more_spare_ones_than_it_may)
{
    enum { ALL = WR_SLOT_CHUNK };
    static wr_slot *taken[ALL];
    wr_slots slots;
    open_slots(&slots, ALL - WR_SLOTS_SPARE);
    for (int i = 0; i < ALL; i++) cr_assert_not_null(taken[i] = wr_slots_take(&slots, 1));
    for (int i = 0; i < ALL; i++) wr_slots_give(&slots, taken[i]);
    unsigned shared = 0;
    while (wr_slots_take_shared(&slots, 1)) shared++;
    cr_assert_geq(shared, ALL - WR_SLOTS_SPARE);
    close_slots(&slots);
}

Test(slots, each_use_has_a_generation_of_its_own)
{
    wr_slots slots;
    open_slots(&slots, 1);
    wr_slot *first = wr_slots_take(&slots, 1);
    wr_slots_give(&slots, first);
    for (uint32_t i = 2; i <= 5000; i++) {
        wr_slot *slot = wr_slots_take(&slots, 1);
        cr_assert(slot == first);
        cr_assert_eq(slot->shared.generation, i);
        wr_slots_give(&slots, slot);
        cr_assert_eq(slot->shared.generation, i + 1, "its ids are dead at once");
    }
    close_slots(&slots);
}

Test(slots, a_generation_is_never_0)
{
    wr_slots slots;
    open_slots(&slots, 1);
    wr_slot *slot = wr_slots_take(&slots, 1);
    slot->shared.generation = UINT32_MAX;
    wr_slots_give(&slots, slot);
    cr_assert_eq(slot->shared.generation, 1);
    close_slots(&slots);
}

/* What an earlier connection's senders have left behind must not silence the policy of the next one. */
Test(slots, a_taken_slot_has_told_nobody_that_it_is_slow)
{
    wr_slots slots;
    open_slots(&slots, 1);
    wr_slot *slot = wr_slots_take(&slots, 1);
    wr_slots_give(&slots, slot);
    slot->shared.limit |= WR_SLOT_TOLD; /* by a thread that saw the old one alive, and came too late */
    cr_assert(wr_slots_take(&slots, 2) == slot);
    cr_assert_eq(slot->shared.limit, 2);
    close_slots(&slots);
}

Test(slots, without_memory_none_is_taken_and_nothing_breaks)
{
    wr_slots slots;
    allocations_left = 0;
    cr_assert_eq(wr_slots_init(&slots, &heap, 100), WEIR_ENOMEM);
    wr_slots_destroy(&slots);
    allocations_left = 1;
    cr_assert_eq(wr_slots_init(&slots, &heap, 100), 0);
    cr_assert_null(wr_slots_take(&slots, 1));
    cr_assert_null(wr_slots_take_shared(&slots, 1));
    cr_assert_eq(wr_slots_count(&slots), 0);
    allocations_left = -1;
    cr_assert_not_null(wr_slots_take(&slots, 1));
    close_slots(&slots);
}

/* ---- from several threads ---- */

enum { THREADS = 4, HELD = 50, ROUNDS = 100 };

typedef struct taker {
    wr_slots *slots;
    _Atomic unsigned *holders; /* of each slot */
    wr_slot *held[HELD];
} taker;

static wr_slot *hold(_Atomic unsigned *holders, wr_slot *slot)
{
    cr_assert_not_null(slot);
    cr_assert_eq(atomic_fetch_add(&holders[slot->number], 1), 0, "two have the same slot");
    return slot;
}

static void give(wr_slots *slots, _Atomic unsigned *holders, wr_slot *slot)
{
    atomic_fetch_sub(&holders[slot->number], 1);
    wr_slots_give(slots, slot);
}

static void take_shared(void *arg)
{
    taker *t = arg;
    for (int i = 0; i < HELD; i++) t->held[i] = hold(t->holders, wr_slots_take_shared(t->slots, 1));
}

/* As the worker does, while others connect. */
Test(slots, others_take_while_the_worker_takes_and_gives_back)
{
    static _Atomic unsigned holders[2 * WR_SLOT_CHUNK];
    static taker takers[THREADS];
    wr_slots slots;
    wr_thread threads[THREADS];
    open_slots(&slots, WR_SLOT_CHUNK);
    for (int round = 0; round < ROUNDS; round++) {
        for (int i = 0; i < THREADS; i++) {
            takers[i] = (taker){ .slots = &slots, .holders = holders };
            cr_assert_eq(wr_thread_start(&threads[i], "taker", take_shared, &takers[i]), 0);
        }
        wr_slot *own[HELD];
        for (int i = 0; i < HELD; i++) own[i] = hold(holders, wr_slots_take(&slots, 1));
        for (int i = 0; i < HELD; i++) give(&slots, holders, own[i]);
        for (int i = 0; i < THREADS; i++) wr_thread_join(&threads[i]);
        for (int i = 0; i < THREADS; i++)
            for (int j = 0; j < HELD; j++) give(&slots, holders, takers[i].held[j]);
    }
    close_slots(&slots);
}
