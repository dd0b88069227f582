/* wr_table: the sockets of one queue, whatever a backend keeps of a socket.
 *
 * Records of one size in chunks, so that their addresses are stable. A slot is named together with its generation,
 * which is bumped when its use ends: a handle, and an event of the kernel, that is older than that finds out. */
#ifndef WR_TABLE_H
#define WR_TABLE_H

#include <assert.h>
#include <string.h>

#include "platform/cq.h"

enum { WR_TABLE_CHUNK = 256 }; /* records allocated together */

#define WR_NO_SLOT UINT32_MAX

/* What every record begins with. Whether it is in use is for the backend to say; a fresh one is all zero behind this.
 */
typedef struct wr_record {
    uint32_t generation; /* never 0 */
    uint32_t next;       /* slot of the next free one; the backend's while the record is in use */
    uint32_t slot;       /* its own */
} wr_record;

typedef struct wr_table {
    wr_memory *memory;
    unsigned char **chunks;
    uint32_t chunk_count, chunk_room;
    uint32_t free;
    uint32_t record_size;
} wr_table;

void wr_table_init(wr_table *table, wr_memory *memory, uint32_t record_size);
void wr_table_destroy(wr_table *table);

/* wr_table_grow: for wr_table_take, when none is free. */
bool wr_table_grow(wr_table *table);

/* wr_table_retire: ends the record's use: its handles are dead. It keeps its slot until wr_table_recycle. */
static inline void wr_table_retire(wr_record *record)
{
    if (++record->generation == 0) record->generation = 1;
}

/* wr_table_recycle: gives the slot of a retired record to others. */
static inline void wr_table_recycle(wr_table *table, wr_record *record)
{
    record->next = table->free;
    table->free = record->slot;
}

/* wr_table_at: the record of a slot, whatever its state. `size` is sizeof its type: a constant, so that no division or
 * multiplication by a variable is left. */
static inline void *wr_table_at(const wr_table *table, uint32_t slot, size_t size)
{
    return table->chunks[slot / WR_TABLE_CHUNK] + (slot % WR_TABLE_CHUNK) * size;
}

/* wr_table_take: a record to use, zero but for its wr_record; NULL when there is no memory. */
static inline void *wr_table_take(wr_table *table, size_t size)
{
    if (table->free == WR_NO_SLOT && !wr_table_grow(table)) return NULL;
    wr_record *record = wr_table_at(table, table->free, size);
    table->free = record->next;
    record->next = 0;
    memset(record + 1, 0, size - sizeof *record);
    return record;
}

/* wr_table_get: the record of a handle, which must not be stale. */
static inline void *wr_table_get(const wr_table *table, wr_sock sock, size_t size)
{
    assert(sock.slot / WR_TABLE_CHUNK < table->chunk_count);
    wr_record *record = wr_table_at(table, sock.slot, size);
    assert(record->generation == sock.generation);
    return record;
}

/* wr_table_slots: how many slots there are, for walking over them. */
static inline uint32_t wr_table_slots(const wr_table *table)
{
    return table->chunk_count * WR_TABLE_CHUNK;
}

/* wr_ready: records that the next pass is to look at, in the order in which they came; a list through `next`. */
typedef struct wr_ready {
    uint32_t first, last; /* WR_NO_SLOT: empty */
} wr_ready;

static inline void wr_ready_init(wr_ready *ready)
{
    ready->first = ready->last = WR_NO_SLOT;
}

static inline bool wr_ready_empty(const wr_ready *ready)
{
    return ready->first == WR_NO_SLOT;
}

/* wr_ready_add: the record stands in no list yet. */
static inline void wr_ready_add(wr_ready *ready, const wr_table *table, size_t size, wr_record *record)
{
    record->next = WR_NO_SLOT;
    if (wr_ready_empty(ready))
        ready->first = record->slot;
    else
        ((wr_record *)wr_table_at(table, ready->last, size))->next = record->slot;
    ready->last = record->slot;
}

/* wr_ready_take: the first one; the list is not empty. */
static inline void *wr_ready_take(wr_ready *ready, const wr_table *table, size_t size)
{
    wr_record *record = wr_table_at(table, ready->first, size);
    ready->first = record->next;
    return record;
}

#endif
