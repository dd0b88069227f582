#include "platform/memory.h"

#include <assert.h>

#include "platform/hints.h"

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

WR_COLD void *wr_pool_get_new(wr_pool *pool)
{
    void *block = wr_alloc(pool->memory, pool->block_size);
#ifndef NDEBUG
    if (block) pool->leased++;
#endif
    return block;
}

WR_COLD void wr_pool_put_back(wr_pool *pool, void *block)
{
    wr_free(pool->memory, block, pool->block_size);
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
