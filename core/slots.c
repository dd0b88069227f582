#include "core/slots.h"

#include <assert.h>
#include <string.h>

#include "platform/bug.h"

#define NO_SLOT UINT32_MAX

int wr_slots_init(wr_slots *slots, const wr_heap *heap, uint32_t capacity)
{
    if (capacity > WR_SLOTS_MAX) capacity = WR_SLOTS_MAX;
    *slots = (wr_slots){ .heap = heap, .chunk_max = (capacity + WR_SLOT_CHUNK - 1) / WR_SLOT_CHUNK, .free = NO_SLOT };
    slots->chunks = wr_heap_alloc(heap, slots->chunk_max * sizeof *slots->chunks);
    if (!slots->chunks) return WEIR_ENOMEM;
    for (uint32_t i = 0; i < slots->chunk_max; i++) atomic_init(&slots->chunks[i], NULL);
    wr_mutex_init(&slots->lock);
    return 0;
}

void wr_slots_destroy(wr_slots *slots)
{
    if (!slots->chunks) return;
    for (uint32_t i = 0; i < slots->chunk_count; i++)
        wr_heap_free(slots->heap, slots->chunks[i], WR_SLOT_CHUNK * sizeof(wr_slot));
    wr_heap_free(slots->heap, (void *)slots->chunks, slots->chunk_max * sizeof *slots->chunks);
    wr_mutex_destroy(&slots->lock);
}

static bool add_chunk(wr_slots *slots)
{
    uint32_t count = atomic_load_explicit(&slots->chunk_count, memory_order_relaxed);
    if (count == slots->chunk_max) return false;
    wr_slot *chunk = wr_heap_alloc(slots->heap, WR_SLOT_CHUNK * sizeof *chunk);
    if (!chunk) return false;
    memset(chunk, 0, WR_SLOT_CHUNK * sizeof *chunk);
    for (uint32_t i = 0; i < WR_SLOT_CHUNK; i++) {
        atomic_init(&chunk[i].shared.generation, 1);
        chunk[i].next_free = i + 1 < WR_SLOT_CHUNK ? count * WR_SLOT_CHUNK + i + 1 : NO_SLOT;
    }
    slots->free = count * WR_SLOT_CHUNK;
    atomic_store_explicit(&slots->chunks[count], chunk, memory_order_release);
    atomic_store_explicit(&slots->chunk_count, count + 1, memory_order_release);
    return true;
}

wr_slot *wr_slots_take(wr_slots *slots, uint32_t hard_limit, uint32_t *number)
{
    wr_slot *slot = NULL;
    wr_mutex_lock(&slots->lock);
    if (slots->free != NO_SLOT || add_chunk(slots)) {
        *number = slots->free;
        slot = wr_slots_at(slots, *number);
        slots->free = slot->next_free;
        slot->memberships = NULL;
        atomic_store_explicit(&slot->shared.hard_limit, hard_limit, memory_order_relaxed);
        /* Here and not when it was given back: a sender to the former connection may have come later than that. */
        atomic_store_explicit(&slot->shared.slow_told, false, memory_order_relaxed);
    }
    wr_mutex_unlock(&slots->lock);
    return slot;
}

void wr_slots_give(wr_slots *slots, uint32_t number)
{
    wr_slot *slot = wr_slots_at(slots, number);
    uint32_t generation = atomic_load_explicit(&slot->shared.generation, memory_order_relaxed) + !WR_BUG(slot_reused);
    wr_mutex_lock(&slots->lock);
    atomic_store_explicit(&slot->shared.generation, generation ? generation : 1, memory_order_release);
    slot->next_free = slots->free;
    slots->free = number;
    wr_mutex_unlock(&slots->lock);
}

wr_slot *wr_slots_at(const wr_slots *slots, uint32_t number)
{
    if (number / WR_SLOT_CHUNK >= slots->chunk_max) return NULL;
    wr_slot *chunk = atomic_load_explicit(&slots->chunks[number / WR_SLOT_CHUNK], memory_order_acquire);
    return chunk ? &chunk[number % WR_SLOT_CHUNK] : NULL;
}

uint32_t wr_slots_count(const wr_slots *slots)
{
    return atomic_load_explicit(&slots->chunk_count, memory_order_acquire) * WR_SLOT_CHUNK;
}
