/* Where a runtime's memory comes from: the embedder's allocator, or jemalloc with an arena a worker, or malloc. */
#ifndef WR_CORE_MEMORY_H
#define WR_CORE_MEMORY_H

#include <weir/runtime.h>

#include "platform/memory.h"
#include "platform/sim.h"

/* wr_heap: for what any thread may allocate and another may free. Thread-safe, not accounted. */
typedef struct wr_heap {
    weir_allocator hook; /* no alloc function: the default */
    wr_sim *sim;         /* which decides what fails; NULL: none */
} wr_heap;

/* wr_heap_alloc, wr_heap_free: as malloc and free, with the size named at both. [any] */
void *wr_heap_alloc(const wr_heap *heap, size_t size);
void wr_heap_free(const wr_heap *heap, void *block, size_t size);

enum {
    WR_CACHE_STEP = 16,        /* blocks of as many steps are alike */
    WR_CACHE_CLASSES = 64,     /* up to 1 KiB */
    WR_CACHE_KEPT = 16 * 1024, /* bytes of free blocks that a class keeps */
};

/* wr_arena: the wr_memory of one worker. Small blocks that were freed are kept for the next ones: from here a
 * connection and its end cost some 30 instructions, from jemalloc, whose calls that name an arena do not take its
 * shortest way, 260. */
typedef struct wr_arena {
    wr_memory memory;
    const wr_heap *heap;
    unsigned jemalloc_arena, jemalloc_cache;
    struct {
        void *free; /* a list through the first word of each */
        uint32_t count;
    } classes[WR_CACHE_CLASSES];
} wr_arena;

#define WR_ARENA_OF(pointer) ((wr_arena *)(pointer)) /* memory stands first */

/* wr_arena_init: WEIR_ENOMEM. The heap outlives the arena. */
int wr_arena_init(wr_arena *arena, const wr_heap *heap);

/* wr_arena_destroy: everything must have been freed. */
void wr_arena_destroy(wr_arena *arena);

/* wr_allocator_name: "jemalloc" or "malloc", for logs. */
const char *wr_allocator_name(void);

#endif
