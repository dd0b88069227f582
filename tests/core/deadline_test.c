/* The heap of deadlines, against a list that is searched. */
#include "core/deadline.h"

#include "core/world.h"

enum { MANY = 500 };

static wr_deadline all[MANY];

static uint64_t nearest(void)
{
    uint64_t due_ns = UINT64_MAX;
    for (int i = 0; i < MANY; i++)
        if (all[i].link && all[i].due_ns < due_ns) due_ns = all[i].due_ns;
    return due_ns;
}

Test(deadline, of_an_empty_heap_is_never)
{
    wr_deadlines heap = { 0 };
    wr_deadline alone = { 0 };
    cr_assert_eq(wr_deadlines_next_ns(&heap), UINT64_MAX);
    wr_deadlines_remove(&heap, &alone); /* harmless */
    wr_deadlines_add(&heap, &alone, 7);
    cr_assert_eq(wr_deadlines_next_ns(&heap), 7);
    wr_deadlines_remove(&heap, &alone);
    wr_deadlines_remove(&heap, &alone);
    cr_assert_eq(wr_deadlines_next_ns(&heap), UINT64_MAX);
}

Test(deadline, comes_in_the_order_of_time)
{
    wr_deadlines heap = { 0 };
    uint64_t seed = 3, before = 0;
    for (int i = 0; i < MANY; i++) wr_deadlines_add(&heap, &all[i], 1 + world_random(&seed) % 1000);
    for (int i = 0; i < MANY; i++) {
        cr_assert_geq(wr_deadlines_next_ns(&heap), before);
        before = wr_deadlines_next_ns(&heap);
        wr_deadlines_remove(&heap, heap.first);
    }
    cr_assert_null(heap.first);
}

Test(deadline, the_nearest_is_known_whatever_is_added_and_removed)
{
    wr_deadlines heap = { 0 };
    uint64_t seed = 1;
    for (int i = 0; i < 100000; i++) {
        wr_deadline *one = &all[world_random(&seed) % MANY];
        if (world_random(&seed) % 8 == 0 && heap.first) one = heap.first;
        if (one->link)
            wr_deadlines_remove(&heap, one);
        else
            wr_deadlines_add(&heap, one, world_random(&seed) % 300);
        cr_assert_eq(wr_deadlines_next_ns(&heap), nearest(), "after %d changes", i + 1);
    }
}
