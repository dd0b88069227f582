#include "platform/memory.h"

#include <assert.h>

/* Under ASan every block goes through malloc and free, so that a use after the return is seen. */
#if defined(__SANITIZE_ADDRESS__)
#define WR_POOL_BYPASS 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define WR_POOL_BYPASS 1
#endif
#endif

void wr_pool_init(wr_pool *pool, wr_memory *memory, uint32_t block_size, uint32_t keep)
{
    assert(block_size >= sizeof(void *));
#ifdef WR_POOL_BYPASS
    keep = 0;
#endif
    *pool = (wr_pool){ .memory = memory, .block_size = block_size, .keep = keep };
}

void wr_pool_destroy(wr_pool *pool)
{
    assert(pool->leased == 0);
    while (pool->free) {
        void *block = pool->free;
        pool->free = *(void **)block;
        wr_free(pool->memory, block, pool->block_size);
    }
    pool->free_count = 0;
}

void *wr_pool_get(wr_pool *pool)
{
    void *block = pool->free;
    if (block) {
        pool->free = *(void **)block;
        pool->free_count--;
    } else {
        block = wr_alloc(pool->memory, pool->block_size);
        if (!block) return NULL;
    }
    pool->leased++;
    return block;
}

void wr_pool_put(wr_pool *pool, void *block)
{
    assert(pool->leased > 0);
    pool->leased--;
    if (pool->free_count >= pool->keep) {
        wr_free(pool->memory, block, pool->block_size);
        return;
    }
    *(void **)block = pool->free;
    pool->free = block;
    pool->free_count++;
}
