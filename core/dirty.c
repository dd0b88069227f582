#include "core/dirty.h"

#include <string.h>

#include "core/conn.h"
#include "platform/hints.h"

enum { ROOM_MIN = 64 };

static size_t room_of(const wr_dirty *dirty)
{
    return (size_t)(dirty->limit - dirty->list);
}

void wr_dirty_free(wr_dirty *dirty, wr_memory *memory)
{
    wr_free(memory, (void *)dirty->list, room_of(dirty) * sizeof(weir_conn *));
    *dirty = (wr_dirty){ 0 };
}

/* The dirty one in a slot; NULL: there is none. */
static weir_conn *dirty_at(const wr_worker *worker, uint32_t slot)
{
    weir_conn *conn = wr_slots_at(&worker->slots, slot)->owner.conn;
    return conn && conn->dirty ? conn : NULL;
}

WR_COLD bool wr_dirty_relist(wr_worker *worker)
{
    wr_dirty *dirty = &worker->owner.dirty;
    wr_memory *memory = wr_worker_memory(worker);
    uint32_t slots = wr_slots_count(&worker->slots);
    size_t count = 0, room = dirty->list ? room_of(dirty) * 2 : ROOM_MIN;
    for (uint32_t i = 0; i < slots; i++) count += dirty_at(worker, i) != NULL;
    while (room < count) room *= 2;
    weir_conn **list = wr_alloc(memory, room * sizeof(weir_conn *));
    if (!list) return false;
    wr_dirty_free(dirty, memory);
    *dirty = (wr_dirty){ .list = list, .end = list, .limit = list + room };
    for (uint32_t i = 0; i < slots; i++) {
        weir_conn *conn = dirty_at(worker, i);
        if (conn) wr_dirty_add(dirty, conn);
    }
    return true;
}

/* One that is touched before its turn comes in this pass still, and could not be left in a list, since this may be its
 * end: so there is none meanwhile. */
WR_COLD void wr_dirty_walk(wr_worker *worker)
{
    wr_dirty_free(&worker->owner.dirty, wr_worker_memory(worker));
    uint32_t slots = wr_slots_count(&worker->slots);
    for (uint32_t i = 0; i < slots; i++) {
        weir_conn *conn = dirty_at(worker, i);
        if (!conn) continue;
        conn->dirty = false;
        wr_conn_reconcile(conn);
    }
}

WR_COLD void wr_dirty_keep_rest(wr_dirty *dirty, size_t count)
{
    size_t left = wr_dirty_count(dirty) - count;
    memmove((void *)dirty->list, (void *)(dirty->list + count), left * sizeof(weir_conn *));
    dirty->end = dirty->list + left;
}
