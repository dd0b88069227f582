#include "core/slots.h"

#include <assert.h>
#include <string.h>

#include "platform/bug.h"
#include "platform/hints.h"

int wr_slots_init(wr_slots *slots, const wr_heap *heap, uint32_t capacity)
{
    if (capacity > WR_SLOTS_MAX - WR_SLOTS_SPARE) capacity = WR_SLOTS_MAX - WR_SLOTS_SPARE;
    capacity += WR_SLOTS_SPARE;
    *slots =
        (wr_slots){ .heap = heap, .chunk_max = (capacity + WR_SLOT_CHUNK - 1) / WR_SLOT_CHUNK, .free = WR_SLOT_NONE };
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
    slots->free = count * WR_SLOT_CHUNK;
    for (uint32_t i = 0; i < WR_SLOT_CHUNK; i++) {
        atomic_init(&chunk[i].shared.generation, 1);
        chunk[i].number = i + 1 < WR_SLOT_CHUNK ? slots->free + i + 1 : WR_SLOT_NONE;
    }
    atomic_store_explicit(&slots->chunks[count], chunk, memory_order_release);
    atomic_store_explicit(&slots->chunk_count, count + 1, memory_order_release);
    return true;
}

/* Under the lock. NULL: none is left. */
static wr_slot *take_free(wr_slots *slots)
{
    if (slots->free == WR_SLOT_NONE && !add_chunk(slots)) return NULL;
    uint32_t number = slots->free;
    wr_slot *slot = wr_slots_at(slots, number);
    slots->free = slot->number;
    slot->number = number;
    return slot;
}

/* Under the lock. */
static void give_free(wr_slots *slots, wr_slot *slot)
{
    uint32_t number = slot->number;
    slot->number = slots->free;
    slots->free = number;
}

wr_slot *wr_slots_take_shared(wr_slots *slots, uint32_t hard_limit)
{
    wr_mutex_lock(&slots->lock);
    wr_slot *slot = take_free(slots);
    wr_mutex_unlock(&slots->lock);
    if (slot) wr_slot_begin(slot, hard_limit);
    return slot;
}

/* Half as many as there may be, or what there is, to be taken in their order; there are none. */
WR_COLD void wr_slots_take_spares(wr_slots *slots)
{
    enum { WANTED = WR_SLOTS_SPARE / 2 };
    wr_slot **first = slots->owner.spare + WANTED, *slot;
    wr_mutex_lock(&slots->lock);
    while (first > slots->owner.spare && (slot = take_free(slots))) *--first = slot;
    wr_mutex_unlock(&slots->lock);
    slots->owner.count = (uint32_t)(slots->owner.spare + WANTED - first);
    memmove((void *)slots->owner.spare, (void *)first, slots->owner.count * sizeof(wr_slot *));
}

WR_COLD void wr_slots_give_spares(wr_slots *slots)
{
    wr_mutex_lock(&slots->lock);
    while (slots->owner.count > WR_SLOTS_SPARE / 2) give_free(slots, slots->owner.spare[--slots->owner.count]);
    wr_mutex_unlock(&slots->lock);
}

uint32_t wr_slots_count(const wr_slots *slots)
{
    return atomic_load_explicit(&slots->chunk_count, memory_order_acquire) * WR_SLOT_CHUNK;
}
