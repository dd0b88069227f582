/* wr_memory: where a worker and its queue get memory from, and how much they hold.
 *
 * One owner thread a wr_memory; `used` may be read from others. Frees name the size, so nothing is stored beside a
 * block and the account is exact. */
#ifndef WR_MEMORY_H
#define WR_MEMORY_H

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

#endif
