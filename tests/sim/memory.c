/* An allocator that counts, knows a wrong free, and leaves nothing in what was freed. */
#include <stdlib.h>
#include <string.h>

#include "sim/swarm.h"

/* In front of each block; its size keeps the block aligned for any type. */
typedef struct swarm_block {
    _Alignas(16) struct swarm_block *next;
    struct swarm_block *previous;
    swarm_memory *owner;
    size_t size;
} swarm_block;

static void *take(size_t size, void *data)
{
    swarm_memory *memory = data;
    swarm_block *block = malloc(sizeof *block + size);
    if (!block) return NULL;
    *block = (swarm_block){ .next = memory->first, .owner = memory, .size = size };
    if (block->next) block->next->previous = block;
    memory->first = block;
    memory->used += size;
    memory->blocks++;
    memset(block + 1, 0xa5, size); /* nobody may take it for zeroed */
    return block + 1;
}

static void give(void *bytes, size_t size, void *data)
{
    swarm_memory *memory = data;
    swarm_block *block = (swarm_block *)bytes - 1;
    SWARM_CHECK(memory->s, block->owner == memory, "a block is freed twice, or in another runtime than its own");
    SWARM_CHECK(memory->s, block->size == size, "a block of %" PRIu64 " bytes is freed as one of %" PRIu64,
                (uint64_t)block->size, (uint64_t)size);
    if (block->previous)
        block->previous->next = block->next;
    else
        memory->first = block->next;
    if (block->next) block->next->previous = block->previous;
    memory->used -= size;
    memory->blocks--;
    memset(block, 0xdd, sizeof *block + size);
    free(block);
}

weir_allocator swarm_allocator(swarm_memory *memory)
{
    return (weir_allocator){ .alloc = take, .free = give, .data = memory };
}
