#include "core/memory.h"

#include <assert.h>
#include <stdbool.h>
#include <stdlib.h>

#include "platform/hints.h"

#ifndef WEIR_HAVE_JEMALLOC
#define WEIR_HAVE_JEMALLOC 0
#endif

#if WEIR_HAVE_JEMALLOC
#include <jemalloc/jemalloc.h>
#include <stdio.h>
#endif

void *wr_heap_alloc(const wr_heap *heap, size_t size)
{
    if (heap->sim && wr_sim_strikes(heap->sim, WR_FAULT_ENOMEM)) return NULL;
    return heap->hook.alloc ? heap->hook.alloc(size, heap->hook.data) : malloc(size);
}

void wr_heap_free(const wr_heap *heap, void *block, size_t size)
{
    if (!block) return;
    if (heap->hook.alloc)
        heap->hook.free(block, size, heap->hook.data);
    else
        free(block);
}

static void *alloc_from_heap(wr_memory *memory, size_t size)
{
    return wr_heap_alloc(WR_ARENA_OF(memory)->heap, size);
}

static void free_to_heap(wr_memory *memory, void *block, size_t size)
{
    wr_heap_free(WR_ARENA_OF(memory)->heap, block, size);
}

#if WEIR_HAVE_JEMALLOC

/* An arena a worker keeps its connections together and away from the other workers' locks; a cache of jemalloc's own
 * serves what this one does not have, also where the embedder's thread drives the worker. */
WR_COLD static void *alloc_from_jemalloc(const wr_arena *arena, size_t size)
{
    return mallocx(size, MALLOCX_ARENA(arena->jemalloc_arena) | MALLOCX_TCACHE(arena->jemalloc_cache));
}

WR_COLD static void free_to_jemalloc(const wr_arena *arena, void *block, size_t size)
{
    sdallocx(block, size, MALLOCX_TCACHE(arena->jemalloc_cache));
}

static size_t class_of(size_t size)
{
    return (size - 1) / WR_CACHE_STEP;
}

static size_t class_size(size_t class)
{
    return (class + 1) * WR_CACHE_STEP;
}

static void *alloc_from_arena(wr_memory *memory, size_t size)
{
    wr_arena *arena = WR_ARENA_OF(memory);
    size_t class = class_of(size);
    if (class >= WR_CACHE_CLASSES) return alloc_from_jemalloc(arena, size);
    void *block = arena->classes[class].free;
    if (!block) return alloc_from_jemalloc(arena, class_size(class));
    arena->classes[class].free = *(void **)block;
    arena->classes[class].count--;
    return block;
}

static void free_to_arena(wr_memory *memory, void *block, size_t size)
{
    wr_arena *arena = WR_ARENA_OF(memory);
    size_t class = class_of(size);
    if (class >= WR_CACHE_CLASSES) {
        free_to_jemalloc(arena, block, size);
    } else if (arena->classes[class].count * class_size(class) >= WR_CACHE_KEPT) {
        free_to_jemalloc(arena, block, class_size(class));
    } else {
        *(void **)block = arena->classes[class].free;
        arena->classes[class].free = block;
        arena->classes[class].count++;
    }
}

static void empty_cache(wr_arena *arena)
{
    for (size_t class = 0; class < WR_CACHE_CLASSES; class ++) {
        void *block = arena->classes[class].free;
        while (block) {
            void *next = *(void **)block;
            free_to_jemalloc(arena, block, class_size(class));
            block = next;
        }
        arena->classes[class].free = NULL;
    }
}

static int make_jemalloc_arena(wr_arena *arena)
{
    size_t size = sizeof arena->jemalloc_arena;
    if (mallctl("arenas.create", &arena->jemalloc_arena, &size, NULL, 0) != 0) return WEIR_ENOMEM;
    size = sizeof arena->jemalloc_cache;
    if (mallctl("tcache.create", &arena->jemalloc_cache, &size, NULL, 0) != 0) return WEIR_ENOMEM;
    arena->memory.alloc = alloc_from_arena;
    arena->memory.free = free_to_arena;
    return 0;
}

static void destroy_jemalloc_arena(wr_arena *arena)
{
    char name[48];
    empty_cache(arena);
    (void)mallctl("tcache.destroy", NULL, NULL, &arena->jemalloc_cache, sizeof arena->jemalloc_cache);
    (void)snprintf(name, sizeof name, "arena.%u.destroy", arena->jemalloc_arena);
    (void)mallctl(name, NULL, NULL, NULL, 0);
}

const char *wr_allocator_name(void)
{
    return "jemalloc";
}

#else

const char *wr_allocator_name(void)
{
    return "malloc";
}

#endif

#if WEIR_HAVE_JEMALLOC
/* A simulator decides about each allocation, so it must see them. */
static bool has_own_arena(const wr_heap *heap)
{
    return !heap->hook.alloc && !heap->sim;
}
#endif

int wr_arena_init(wr_arena *arena, const wr_heap *heap)
{
    *arena = (wr_arena){ .memory = { .alloc = alloc_from_heap, .free = free_to_heap }, .heap = heap };
#if WEIR_HAVE_JEMALLOC
    if (has_own_arena(heap)) return make_jemalloc_arena(arena);
#endif
    return 0;
}

void wr_arena_destroy(wr_arena *arena)
{
    assert(atomic_load(&arena->memory.used) == 0);
#if WEIR_HAVE_JEMALLOC
    if (has_own_arena(arena->heap)) destroy_jemalloc_arena(arena);
#else
    (void)arena;
#endif
}
