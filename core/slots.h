/* wr_slots: the connections of one worker by number, and what a weir_conn_id means.
 *
 * An id is worker (8 bits), slot (24) and the slot's generation (32) when the id was given out. The generation is
 * bumped when the connection has gone, so that an old id finds nothing, whatever lives in the slot by then. Slots are
 * never freed before the runtime, so other threads may look at their atomic parts. */
#ifndef WR_SLOTS_H
#define WR_SLOTS_H

#include <assert.h>
#include <stdatomic.h>
#include <weir/conn.h>

#include "core/memory.h"
#include "platform/bug.h"
#include "platform/os.h"

enum {
    WR_SLOT_CHUNK = 512, /* 12 KiB: to a block of 16 KiB and more jemalloc adds a page */
    WR_SLOTS_MAX = 1 << 24,
    WR_SLOT_CHUNKS_MAX = WR_SLOTS_MAX / WR_SLOT_CHUNK,
    WR_WORKERS_MAX = 256,
    WR_SLOTS_SPARE = 64, /* free ones that the worker holds, beyond what others may take */
    WR_SLOT_NONE = WR_SLOTS_MAX,
};

typedef struct wr_slot {
    struct {
        weir_conn *conn; /* NULL while it has not come to its worker */
    } owner;
    struct {
        _Atomic uint32_t generation; /* never 0 */
        _Atomic uint32_t queued;     /* bytes that other threads have on the way to it */
        _Atomic uint32_t limit;      /* for them: the hard limit of its outbox, and WR_SLOT_TOLD */
    } shared;
    uint32_t number; /* its own; in the list of free ones, which is under the lock, that of the next */
} wr_slot;

_Static_assert(sizeof(wr_slot) <= 24, "an idle connection stays small");

/* In wr_slot.shared.limit: its worker has been told that other threads found the outbox full. */
#define WR_SLOT_TOLD (UINT32_C(1) << 31)

/* The worker takes and gives back through a few spare ones of its own; the lock is for those who connect from other
 * threads, and for more or fewer spare ones. */
typedef struct wr_slots {
    const wr_heap *heap;
    wr_slot *_Atomic *chunks; /* chunk_max of them */
    uint32_t chunk_max;
    _Atomic uint32_t chunk_count;
    struct {
        wr_slot *spare[WR_SLOTS_SPARE + 1]; /* the last one is the next to be taken */
        uint32_t count;
    } owner;
    wr_mutex lock;
    uint32_t free; /* under the lock; WR_SLOT_NONE: the list is empty */
} wr_slots;

/* wr_slots_init: for up to `capacity` connections at once. WEIR_ENOMEM. */
int wr_slots_init(wr_slots *slots, const wr_heap *heap, uint32_t capacity);
void wr_slots_destroy(wr_slots *slots);

/* wr_slots_take_spares: spare ones, if there are any to be had, when there are none. wr_slots_give_spares: half of
 * them, when there are too many. [owner] */
void wr_slots_take_spares(wr_slots *slots);
void wr_slots_give_spares(wr_slots *slots);

/* wr_slot_begin: not when it is given back: a sender to the former connection may come later than that. */
static inline void wr_slot_begin(wr_slot *slot, uint32_t hard_limit)
{
    assert(!(hard_limit & WR_SLOT_TOLD));
    atomic_store_explicit(&slot->shared.limit, hard_limit, memory_order_relaxed);
}

/* wr_slots_take: a free slot; its generation is that of the connection to come. [owner]; wr_slots_take_shared: [any]
 * NULL: no memory, or all are taken. */
wr_slot *wr_slots_take_shared(wr_slots *slots, uint32_t hard_limit);
static inline wr_slot *wr_slots_take(wr_slots *slots, uint32_t hard_limit)
{
    if (slots->owner.count == 0) wr_slots_take_spares(slots);
    if (slots->owner.count == 0) return NULL;
    wr_slot *slot = slots->owner.spare[--slots->owner.count];
    wr_slot_begin(slot, hard_limit);
    return slot;
}

/* wr_slots_give: the connection has gone (owner.conn is NULL again): its ids are dead from here on. [owner] */
static inline void wr_slots_give(wr_slots *slots, wr_slot *slot)
{
    uint32_t generation = atomic_load_explicit(&slot->shared.generation, memory_order_relaxed) + !WR_BUG(slot_reused);
    atomic_store_explicit(&slot->shared.generation, generation ? generation : 1, memory_order_release);
    slots->owner.spare[slots->owner.count++] = slot;
    if (slots->owner.count > WR_SLOTS_SPARE) wr_slots_give_spares(slots);
}

/* wr_slots_at: the slot of a number, NULL beyond those ever taken. [any] */
static inline wr_slot *wr_slots_at(const wr_slots *slots, uint32_t number)
{
    if (number / WR_SLOT_CHUNK >= slots->chunk_max) return NULL;
    wr_slot *chunk = atomic_load_explicit(&slots->chunks[number / WR_SLOT_CHUNK], memory_order_acquire);
    return chunk ? &chunk[number % WR_SLOT_CHUNK] : NULL;
}

/* wr_slot_is_alive: whether the slot still has the connection of that id. [any] */
static inline bool wr_slot_is_alive(const wr_slot *slot, weir_conn_id id)
{
    return atomic_load_explicit(&slot->shared.generation, memory_order_acquire) == (uint32_t)id ||
           WR_BUG(stale_generation);
}

/* wr_slots_count: all that were ever made; for walking over them. [owner] */
uint32_t wr_slots_count(const wr_slots *slots);

static inline weir_conn_id wr_id_make(unsigned worker, uint32_t slot, uint32_t generation)
{
    return (uint64_t)worker << 56 | (uint64_t)slot << 32 | generation;
}

static inline unsigned wr_id_worker(weir_conn_id id)
{
    return (unsigned)(id >> 56);
}

static inline uint32_t wr_id_slot(weir_conn_id id)
{
    return (uint32_t)(id >> 32) & (WR_SLOTS_MAX - 1);
}

static inline uint32_t wr_id_generation(weir_conn_id id)
{
    return (uint32_t)id;
}

#endif
