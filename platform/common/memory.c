#include "platform/memory.h"

#include <stdlib.h>

static void *malloc_alloc(wr_memory *memory, size_t size)
{
    (void)memory;
    return malloc(size);
}

static void malloc_free(wr_memory *memory, void *block, size_t size)
{
    (void)memory;
    (void)size;
    free(block);
}

wr_memory wr_malloc_memory(void)
{
    return (wr_memory){ .alloc = malloc_alloc, .free = malloc_free };
}
