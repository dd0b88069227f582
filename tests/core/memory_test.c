/* Where memory comes from: the account, the embedder's hook, and the pool. */
#include <stdalign.h>
#include <stdlib.h>
#include <string.h>

#include "core/memory.h"
#include "harness/weir_test.h"

/* An allocator that knows what is out, and that refuses when told to. */
typedef struct ledger {
    size_t bytes, blocks, calls;
    bool refuses;
} ledger;

static void *ledger_alloc(size_t size, void *data)
{
    ledger *l = data;
    l->calls++;
    if (l->refuses) return NULL;
    l->bytes += size;
    l->blocks++;
    return malloc(size);
}

static void ledger_free(void *block, size_t size, void *data)
{
    ledger *l = data;
    l->bytes -= size;
    l->blocks--;
    free(block);
}

static wr_heap ledger_heap(ledger *l)
{
    return (wr_heap){ .hook = { .alloc = ledger_alloc, .free = ledger_free, .data = l } };
}

static bool is_aligned(const void *block)
{
    return (uintptr_t)block % alignof(max_align_t) == 0;
}

Test(memory, the_heap_serves_without_a_hook)
{
    wr_heap heap = { 0 };
    char *block = wr_heap_alloc(&heap, 1000);
    cr_assert_not_null(block);
    cr_assert(is_aligned(block));
    memset(block, 1, 1000);
    wr_heap_free(&heap, block, 1000);
    wr_heap_free(&heap, NULL, 1000);
}

Test(memory, the_heap_goes_to_the_hook_and_names_the_size_at_both_ends)
{
    ledger l = { 0 };
    wr_heap heap = ledger_heap(&l);
    void *block = wr_heap_alloc(&heap, 1234);
    cr_assert_eq(l.bytes, 1234);
    wr_heap_free(&heap, block, 1234);
    wr_heap_free(&heap, NULL, 99);
    cr_assert_eq(l.bytes, 0);
    cr_assert_eq(l.blocks, 0);
    l.refuses = true;
    cr_assert_null(wr_heap_alloc(&heap, 1));
}

/* What holds for an arena, whatever stands behind it. */
static void use_arena(const wr_heap *heap)
{
    enum { BLOCKS = 500 };
    static void *blocks[BLOCKS];
    wr_arena arena;
    cr_assert_eq(wr_arena_init(&arena, heap), 0);
    wr_memory *memory = &arena.memory;
    uint64_t used = 0;
    for (int round = 0; round < 3; round++) {
        for (size_t i = 0; i < BLOCKS; i++) {
            size_t size = 1 + i * 37;
            blocks[i] = wr_alloc(memory, size);
            cr_assert_not_null(blocks[i]);
            cr_assert(is_aligned(blocks[i]) || size < alignof(max_align_t), "%zu bytes at %p", size, blocks[i]);
            memset(blocks[i], (int)i, size);
            used += size;
            cr_assert_eq(memory->used, used);
        }
        for (size_t i = 0; i < BLOCKS; i++) {
            size_t size = 1 + i * 37;
            const unsigned char *bytes = blocks[i];
            cr_assert_eq(bytes[size - 1], (unsigned char)i, "blocks overlap");
            wr_free(memory, blocks[i], size);
            used -= size;
            cr_assert_eq(memory->used, used);
        }
    }
    wr_free(memory, NULL, 5);
    cr_assert_eq(memory->used, 0);
    wr_arena_destroy(&arena);
}

Test(memory, an_arena_keeps_an_exact_account)
{
    wr_heap heap = { 0 };
    use_arena(&heap);
}

Test(memory, an_arena_over_a_hook_takes_all_from_there_and_gives_all_back)
{
    ledger l = { 0 };
    wr_heap heap = ledger_heap(&l);
    use_arena(&heap);
    cr_assert_gt(l.calls, 0);
    cr_assert_eq(l.bytes, 0);
    cr_assert_eq(l.blocks, 0);
}

Test(memory, what_could_not_be_allocated_does_not_count)
{
    ledger l = { .refuses = true };
    wr_heap heap = ledger_heap(&l);
    wr_arena arena;
    cr_assert_eq(wr_arena_init(&arena, &heap), 0);
    cr_assert_null(wr_alloc(&arena.memory, 100));
    cr_assert_eq(arena.memory.used, 0);
    wr_arena_destroy(&arena);
}

Test(memory, many_arenas_come_and_go)
{
    for (int i = 0; i < 300; i++) {
        wr_heap heap = { 0 };
        wr_arena arenas[4];
        void *blocks[4];
        for (int j = 0; j < 4; j++) {
            cr_assert_eq(wr_arena_init(&arenas[j], &heap), 0, "arena %d of round %d", j, i);
            blocks[j] = wr_alloc(&arenas[j].memory, 5000);
            cr_assert_not_null(blocks[j]);
            memset(blocks[j], j, 5000);
        }
        for (int j = 0; j < 4; j++) {
            cr_assert_eq(((char *)blocks[j])[4999], j, "arenas share a block");
            wr_free(&arenas[j].memory, blocks[j], 5000);
            wr_arena_destroy(&arenas[j]);
        }
    }
}

/* Which wr_arena keeps before jemalloc; with malloc there is nothing to be kept. */
Test(memory, an_arena_gives_out_again_what_was_freed_and_keeps_no_more_than_it_may)
{
    enum { SIZE = 200, BLOCKS = 2 * WR_CACHE_KEPT / SIZE };
    static void *blocks[BLOCKS];
    wr_heap heap = { 0 };
    wr_arena arena;
    cr_assert_eq(wr_arena_init(&arena, &heap), 0);
    for (int i = 0; i < BLOCKS; i++) cr_assert_not_null(blocks[i] = wr_alloc(&arena.memory, SIZE));
    for (int i = 0; i < BLOCKS; i++) wr_free(&arena.memory, blocks[i], SIZE);
    cr_assert_eq(arena.memory.used, 0);
    if (strcmp(wr_allocator_name(), "jemalloc") == 0) {
        size_t kept = 0;
        for (int i = 0; i < WR_CACHE_CLASSES; i++) kept += arena.classes[i].count;
        cr_assert_gt(kept, 0);
        cr_assert_leq(kept * SIZE, WR_CACHE_KEPT);
        void *again = wr_alloc(&arena.memory, SIZE - 1); /* of the same class */
        cr_assert(again == blocks[kept - 1], "the last one that was kept");
        wr_free(&arena.memory, again, SIZE - 1);
    }
    wr_arena_destroy(&arena);
}

Test(memory, the_allocator_has_a_name)
{
    const char *name = wr_allocator_name();
    cr_assert(strcmp(name, "jemalloc") == 0 || strcmp(name, "malloc") == 0, "%s", name);
}

/* ---- the pool ---- */

enum { BLOCK = 64 };

Test(memory, a_pool_gives_out_last_what_came_back_last)
{
    wr_memory memory = wr_malloc_memory();
    wr_pool pool;
    wr_pool_init(&pool, &memory, BLOCK, 10);
    void *a = wr_pool_get(&pool);
    void *b = wr_pool_get(&pool);
    cr_assert_neq(a, b);
    wr_pool_put(&pool, a);
    wr_pool_put(&pool, b);
    bool keeps = pool.free_count == 2; /* not where a sanitizer is to see each block go */
    a = wr_pool_get(&pool);
    cr_assert(a == b || !keeps);
    wr_pool_put(&pool, a);
    wr_pool_destroy(&pool);
    cr_assert_eq(memory.used, 0);
}

Test(memory, a_pool_keeps_no_more_than_it_was_told_to)
{
    enum { LEASED = 100, KEPT = 8 };
    void *blocks[LEASED];
    wr_memory memory = wr_malloc_memory();
    wr_pool pool;
    wr_pool_init(&pool, &memory, BLOCK, KEPT);
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < LEASED; i++) {
            blocks[i] = wr_pool_get(&pool);
            memset(blocks[i], i, BLOCK);
        }
        cr_assert_geq(memory.used, LEASED * BLOCK);
        for (int i = 0; i < LEASED; i++) cr_assert_eq(((unsigned char *)blocks[i])[BLOCK - 1], i, "blocks overlap");
        for (int i = 0; i < LEASED; i++) wr_pool_put(&pool, blocks[i]);
        cr_assert_leq(memory.used, KEPT * BLOCK);
    }
    wr_pool_destroy(&pool);
    cr_assert_eq(memory.used, 0);
}

Test(memory, a_pool_without_memory_says_so_and_serves_again_later)
{
    ledger l = { .refuses = true };
    wr_heap heap = ledger_heap(&l);
    wr_arena arena;
    cr_assert_eq(wr_arena_init(&arena, &heap), 0);
    wr_pool pool;
    wr_pool_init(&pool, &arena.memory, BLOCK, 1);
    cr_assert_null(wr_pool_get(&pool));
    cr_assert_eq(pool.leased, 0);
    l.refuses = false;
    void *block = wr_pool_get(&pool);
    cr_assert_not_null(block);
    wr_pool_put(&pool, block);
    wr_pool_destroy(&pool);
    wr_arena_destroy(&arena);
    cr_assert_eq(l.bytes, 0);
}
