/* wr_memory: where a worker and its queue get memory from, and how much they hold.
 *
 * One owner thread a wr_memory; `used` may be read from others. Frees name the size, so nothing is stored beside a
 * block and the account is exact. */
#ifndef WR_MEMORY_H
#define WR_MEMORY_H

#include <assert.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

typedef struct wr_memory wr_memory;
struct wr_memory {
    void *(*alloc)(wr_memory *memory, size_t size); /* NULL when there is none */
    void (*free)(wr_memory *memory, void *block, size_t size);
    _Atomic uint64_t used; /* bytes; written by the owner alone */
};

/* wr_add: adds to a counter that one thread writes and others read: a plain load and store, no locked instruction. */
static inline void wr_add(_Atomic uint64_t *counter, uint64_t n)
{
    atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + n, memory_order_relaxed);
}

static inline void wr_sub(_Atomic uint64_t *counter, uint64_t n)
{
    atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) - n, memory_order_relaxed);
}

/* wr_alloc: uninitialised, aligned for any type; NULL when there is none. [owner] */
static inline void *wr_alloc(wr_memory *memory, size_t size)
{
    void *block = memory->alloc(memory, size);
    if (block) wr_add(&memory->used, size);
    return block;
}

/* wr_free: `size` is what was asked for; NULL is fine. [owner] */
static inline void wr_free(wr_memory *memory, void *block, size_t size)
{
    if (!block) return;
    wr_sub(&memory->used, size);
    memory->free(memory, block, size);
}

/* wr_malloc_memory: one that malloc serves, for tests and for what is no worker's. */
wr_memory wr_malloc_memory(void);

/* wr_pool: blocks of one size for one worker; the last one returned is given out first, while it is still in the
 * cache. */
typedef struct wr_pool {
    wr_memory *memory;
    void *free;          /* a list through the first word of each block */
    uint32_t block_size; /* at least a pointer */
    uint32_t free_count;
    uint32_t keep;   /* free blocks beyond this go back to the memory */
    uint32_t leased; /* given out; counted for the assertions alone */
} wr_pool;

void wr_pool_init(wr_pool *pool, wr_memory *memory, uint32_t block_size, uint32_t keep);

/* wr_pool_destroy: all blocks must be back. */
void wr_pool_destroy(wr_pool *pool);

/* wr_pool_get_new: for wr_pool_get, when none is free. */
void *wr_pool_get_new(wr_pool *pool);

/* wr_pool_put_back: for wr_pool_put, when enough are free. */
void wr_pool_put_back(wr_pool *pool, void *block);

/* wr_pool_get: NULL when there is no memory. */
static inline void *wr_pool_get(wr_pool *pool)
{
    void *block = pool->free;
    if (!block) return wr_pool_get_new(pool);
    pool->free = *(void **)block;
    pool->free_count--;
#ifndef NDEBUG
    pool->leased++;
#endif
    return block;
}

static inline void wr_pool_put(wr_pool *pool, void *block)
{
#ifndef NDEBUG
    assert(pool->leased > 0);
    pool->leased--;
#endif
    if (pool->free_count >= pool->keep) {
        wr_pool_put_back(pool, block);
        return;
    }
    *(void **)block = pool->free;
    pool->free = block;
    pool->free_count++;
}

#endif
