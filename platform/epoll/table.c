#include <assert.h>
#include <string.h>

#include "platform/epoll/epoll.h"

wr_socket *wr_table_slot(const wr_epoll *cq, uint32_t slot)
{
    return &cq->owner.chunks[slot / WR_TABLE_CHUNK][slot % WR_TABLE_CHUNK];
}

wr_socket *wr_table_get(const wr_epoll *cq, wr_sock sock)
{
    assert(sock.slot / WR_TABLE_CHUNK < cq->owner.chunk_count);
    wr_socket *s = wr_table_slot(cq, sock.slot);
    assert(s->generation == sock.generation && s->kind != WR_SOCKET_FREE);
    return s;
}

/* Makes room for the pointer to one more chunk, doubling. */
static bool reserve_chunk(wr_epoll *cq)
{
    if (cq->owner.chunk_count < cq->owner.chunk_room) return true;
    uint32_t room = cq->owner.chunk_room ? cq->owner.chunk_room * 2 : 4;
    wr_socket **chunks = wr_alloc(cq->owner.memory, room * sizeof(wr_socket *));
    if (!chunks) return false;
    if (cq->owner.chunks) memcpy(chunks, cq->owner.chunks, cq->owner.chunk_count * sizeof(wr_socket *));
    wr_free(cq->owner.memory, cq->owner.chunks, cq->owner.chunk_room * sizeof(wr_socket *));
    cq->owner.chunks = chunks;
    cq->owner.chunk_room = room;
    return true;
}

static bool add_chunk(wr_epoll *cq)
{
    if (!reserve_chunk(cq)) return false;
    wr_socket *chunk = wr_alloc(cq->owner.memory, WR_TABLE_CHUNK * sizeof *chunk);
    if (!chunk) return false;
    memset(chunk, 0, WR_TABLE_CHUNK * sizeof *chunk);
    uint32_t first = cq->owner.chunk_count * WR_TABLE_CHUNK;
    for (uint32_t i = 0; i < WR_TABLE_CHUNK; i++) {
        chunk[i].generation = 1;
        chunk[i].next = i + 1 < WR_TABLE_CHUNK ? first + i + 1 : WR_NO_SLOT;
    }
    cq->owner.chunks[cq->owner.chunk_count++] = chunk;
    cq->owner.free_slot = first;
    return true;
}

wr_socket *wr_table_add(wr_epoll *cq, int fd, enum wr_socket_kind kind, wr_sock *out)
{
    if (cq->owner.free_slot == WR_NO_SLOT && !add_chunk(cq)) return NULL;
    uint32_t slot = cq->owner.free_slot;
    wr_socket *s = wr_table_slot(cq, slot);
    cq->owner.free_slot = s->next;
    *s = (wr_socket){ .fd = fd, .generation = s->generation, .kind = (uint8_t)kind };
    *out = (wr_sock){ .slot = slot, .generation = s->generation };
    return s;
}

void wr_table_recycle(wr_epoll *cq, uint32_t slot)
{
    wr_socket *s = wr_table_slot(cq, slot);
    assert(s->kind == WR_SOCKET_FREE && !s->queued);
    s->next = cq->owner.free_slot;
    cq->owner.free_slot = slot;
}

void wr_table_free(wr_epoll *cq, uint32_t slot)
{
    wr_socket *s = wr_table_slot(cq, slot);
    s->kind = WR_SOCKET_FREE;
    s->fd = -1;
    if (++s->generation == 0) s->generation = 1;
    if (!s->queued) wr_table_recycle(cq, slot);
}

void wr_table_destroy(wr_epoll *cq)
{
    for (uint32_t slot = 0; slot < cq->owner.chunk_count * WR_TABLE_CHUNK; slot++) {
        wr_socket *s = wr_table_slot(cq, slot);
        if (s->kind != WR_SOCKET_FREE) wr_epoll_drop(cq, s, slot, false);
    }
    for (uint32_t i = 0; i < cq->owner.chunk_count; i++)
        wr_free(cq->owner.memory, cq->owner.chunks[i], WR_TABLE_CHUNK * sizeof(wr_socket));
    wr_free(cq->owner.memory, cq->owner.chunks, cq->owner.chunk_room * sizeof(wr_socket *));
}
