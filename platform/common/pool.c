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
