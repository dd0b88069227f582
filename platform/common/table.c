#include "platform/common/table.h"

#include <string.h>

#include "platform/hints.h"

static size_t chunk_size(const wr_table *table)
{
    return (size_t)table->record_size * WR_TABLE_CHUNK;
}

void wr_table_init(wr_table *table, wr_memory *memory, uint32_t record_size)
{
    *table = (wr_table){ .memory = memory, .free = WR_NO_SLOT, .record_size = record_size };
}

void wr_table_destroy(wr_table *table)
{
    for (uint32_t i = 0; i < table->chunk_count; i++) wr_free(table->memory, table->chunks[i], chunk_size(table));
    wr_free(table->memory, (void *)table->chunks, table->chunk_room * sizeof *table->chunks);
}

/* Makes room for the pointer to one more chunk, doubling. */
static bool reserve_chunk(wr_table *table)
{
    if (table->chunk_count < table->chunk_room) return true;
    uint32_t room = table->chunk_room ? table->chunk_room * 2 : 4;
    unsigned char **chunks = wr_alloc(table->memory, room * sizeof *chunks);
    if (!chunks) return false;
    if (table->chunks) memcpy((void *)chunks, (void *)table->chunks, table->chunk_count * sizeof *chunks);
    wr_free(table->memory, (void *)table->chunks, table->chunk_room * sizeof *chunks);
    table->chunks = chunks;
    table->chunk_room = room;
    return true;
}

WR_COLD bool wr_table_grow(wr_table *table)
{
    if (!reserve_chunk(table)) return false;
    unsigned char *chunk = wr_alloc(table->memory, chunk_size(table));
    if (!chunk) return false;
    memset(chunk, 0, chunk_size(table));
    uint32_t first = table->chunk_count * WR_TABLE_CHUNK;
    table->chunks[table->chunk_count++] = chunk;
    for (uint32_t i = 0; i < WR_TABLE_CHUNK; i++) {
        wr_record *record = wr_table_at(table, first + i, table->record_size);
        *record = (wr_record){ .generation = 1, .slot = first + i, .next = first + i + 1 };
        if (i + 1 == WR_TABLE_CHUNK) record->next = WR_NO_SLOT;
    }
    table->free = first;
    return true;
}
