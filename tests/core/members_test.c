/* wr_members: the memberships of one worker, against a plain table of who is where. */
#include "core/members.h"

#include <stdlib.h>
#include <string.h>
#include <weir/error.h>

#include "core/conn.h"
#include "core/world.h"

enum { CONNS = 300, ROSTERS = 60 };

static weir_conn conns[CONNS];
static wr_roster rosters[ROSTERS];
static bool is_member[ROSTERS][CONNS];
static uint32_t sizes[ROSTERS];

static wr_members make(wr_memory *memory)
{
    return (wr_members){ .memory = memory };
}

static void check_all(const wr_members *members)
{
    uint32_t count = 0;
    for (unsigned r = 0; r < ROSTERS; r++) {
        cr_assert_eq(rosters[r].size, sizes[r]);
        uint32_t listed = 0;
        for (const wr_member *at = rosters[r].first; at; at = at->next, listed++)
            cr_assert(is_member[r][at->conn - conns], "somebody is in roster %u by mistake", r);
        cr_assert_eq(listed, sizes[r]);
        for (unsigned c = 0; c < CONNS; c++)
            cr_assert_eq(wr_members_find(members, &rosters[r], &conns[c]) != NULL, is_member[r][c]);
        count += sizes[r];
    }
    cr_assert_eq(members->count, count);
}

static void leave_all(wr_members *members, unsigned c)
{
    wr_members_leave_all(members, &conns[c]);
    cr_assert_null(conns[c].memberships);
    for (unsigned r = 0; r < ROSTERS; r++) {
        sizes[r] -= is_member[r][c];
        is_member[r][c] = false;
    }
}

Test(members, are_where_they_were_put)
{
    wr_memory memory = wr_malloc_memory();
    wr_members members = make(&memory);
    uint64_t seed = 7;
    for (unsigned step = 0; step < 60000; step++) {
        unsigned r = (unsigned)(world_random(&seed) % ROSTERS), c = (unsigned)(world_random(&seed) % CONNS);
        /* Mostly more of them, then mostly fewer. */
        bool adds = world_random(&seed) % 10 < (step / 20000 % 2 ? 2 : 8);
        wr_member *member = wr_members_find(&members, &rosters[r], &conns[c]);
        cr_assert_eq(member != NULL, is_member[r][c]);
        if (world_random(&seed) % 500 == 0) {
            leave_all(&members, c);
        } else if (adds) {
            cr_assert_eq(wr_members_add(&members, &rosters[r], &conns[c]), 0);
            sizes[r] += !is_member[r][c];
            is_member[r][c] = true;
        } else if (member) {
            wr_members_remove(&members, member);
            sizes[r]--;
            is_member[r][c] = false;
        }
        if (step % 2000 == 0) check_all(&members);
    }
    check_all(&members);
    cr_assert_gt(members.count, 1000);
    for (unsigned c = 0; c < CONNS; c++) leave_all(&members, c);
    check_all(&members);
    cr_assert_eq(memory.used, 0);
}

Test(members, are_found_in_short_chains)
{
    wr_memory memory = wr_malloc_memory();
    wr_members members = make(&memory);
    for (unsigned r = 0; r < ROSTERS; r++)
        for (unsigned c = 0; c < CONNS; c++) cr_assert_eq(wr_members_add(&members, &rosters[r], &conns[c]), 0);
    cr_assert_eq(members.in_use, members.count);
    uint32_t longest = 0;
    for (uint32_t b = 0; b < members.in_use; b++) {
        uint32_t length = 0;
        for (const wr_member *at = members.buckets[b]; at; at = at->bucket_next) length++;
        if (length > longest) longest = length;
    }
    cr_assert_lt(longest, 16, "a chain of %u", longest);
    for (unsigned c = 0; c < CONNS; c++) wr_members_leave_all(&members, &conns[c]);
    cr_assert_eq(memory.used, 0);
}

/* ---- no memory ---- */

static bool has_memory;

static void *alloc_if_any(wr_memory *memory, size_t size)
{
    (void)memory;
    return has_memory || size == sizeof(wr_member) ? malloc(size) : NULL;
}

static void free_it(wr_memory *memory, void *block, size_t size)
{
    (void)memory, (void)size;
    free(block);
}

Test(members, are_found_also_where_the_table_could_not_grow)
{
    wr_memory memory = { .alloc = alloc_if_any, .free = free_it };
    wr_members members = make(&memory);
    has_memory = false;
    cr_assert_eq(wr_members_add(&members, &rosters[0], &conns[0]), WEIR_ENOMEM, "there is no table at all");
    cr_assert_null(conns[0].memberships);
    cr_assert_eq(memory.used, 0);
    has_memory = true;
    cr_assert_eq(wr_members_add(&members, &rosters[0], &conns[0]), 0);
    has_memory = false;
    for (unsigned c = 1; c < CONNS; c++) cr_assert_eq(wr_members_add(&members, &rosters[0], &conns[c]), 0);
    cr_assert_eq(members.room, 16);
    for (unsigned c = 0; c < CONNS; c++) cr_assert_not_null(wr_members_find(&members, &rosters[0], &conns[c]));
    has_memory = true;
    for (unsigned c = 0; c < CONNS; c++) cr_assert_eq(wr_members_add(&members, &rosters[1], &conns[c]), 0);
    cr_assert_gt(members.in_use, CONNS);
    for (unsigned c = 0; c < CONNS; c++) cr_assert_not_null(wr_members_find(&members, &rosters[0], &conns[c]));
    for (unsigned c = 0; c < CONNS; c++) wr_members_leave_all(&members, &conns[c]);
    cr_assert_eq(memory.used, 0);
}
