#include "core/udp_queue.h"

#include <string.h>

#include "core/buffer.h"
#include "core/outbox.h"

/* A chunk of the pool, or a larger block for one datagram that fits none. */
struct wr_udp_chunk {
    wr_udp_chunk *next;
    uint32_t size; /* of the block */
    uint32_t used;
};

typedef struct entry {
    wr_datagram datagram; /* first: the backend's list is ours */
    weir_buf *buf;        /* NULL: the bytes follow */
    unsigned char bytes[];
} entry;

static entry *entry_of(const wr_datagram *datagram)
{
    return (entry *)(uintptr_t)datagram;
}

static uint32_t aligned(size_t size)
{
    return (uint32_t)((size + _Alignof(entry) - 1) & ~(_Alignof(entry) - 1));
}

static wr_udp_chunk *add_chunk(wr_udp_list *list, wr_pool *chunks, uint32_t need)
{
    uint32_t size = need + (uint32_t)sizeof(wr_udp_chunk);
    bool is_pooled = size <= WR_CHUNK_SIZE;
    wr_udp_chunk *chunk = is_pooled ? wr_pool_get(chunks) : wr_alloc(chunks->memory, size);
    if (!chunk) return NULL;
    *chunk = (wr_udp_chunk){ .size = is_pooled ? WR_CHUNK_SIZE : size, .used = sizeof *chunk };
    if (list->last_chunk)
        list->last_chunk->next = chunk;
    else
        list->chunks = chunk;
    list->last_chunk = chunk;
    return chunk;
}

int wr_udp_queue_push(wr_udp_queue *queue, wr_pool *chunks, const wr_addr *peer, const void *bytes, uint32_t size,
                      weir_buf *buf)
{
    wr_udp_list *list = &queue->waiting;
    uint32_t need = aligned(sizeof(entry) + (buf ? 0 : size));
    wr_udp_chunk *chunk = list->last_chunk;
    if (!chunk || chunk->size - chunk->used < need) chunk = add_chunk(list, chunks, need);
    if (!chunk) return WEIR_ENOMEM;
    entry *e = (entry *)(void *)((char *)chunk + chunk->used);
    chunk->used += need;
    *e = (entry){ .datagram = { .data = buf ? buf->bytes : e->bytes, .size = size, .peer = *peer },
                  .buf = weir_buf_retain(buf) };
    if (!buf && size > 0) memcpy(e->bytes, bytes, size);
    if (list->first)
        list->last->next = &e->datagram;
    else
        list->first = &e->datagram;
    list->last = &e->datagram;
    list->count++;
    list->charge += wr_udp_charge(size);
    return 0;
}

const wr_datagram *wr_udp_queue_launch(wr_udp_queue *queue)
{
    queue->flight = queue->waiting;
    queue->waiting = (wr_udp_list){ .first = NULL };
    return queue->flight.first;
}

static uint32_t free_list(wr_udp_list *list, wr_pool *chunks)
{
    uint32_t count = list->count;
    for (const wr_datagram *d = list->first; d; d = d->next) weir_buf_release(entry_of(d)->buf);
    while (list->chunks) {
        wr_udp_chunk *chunk = list->chunks;
        list->chunks = chunk->next;
        if (chunk->size == WR_CHUNK_SIZE)
            wr_pool_put(chunks, chunk);
        else
            wr_free(chunks->memory, chunk, chunk->size);
    }
    *list = (wr_udp_list){ .first = NULL };
    return count;
}

uint32_t wr_udp_queue_landed(wr_udp_queue *queue, wr_pool *chunks)
{
    return free_list(&queue->flight, chunks);
}

uint32_t wr_udp_queue_drop(wr_udp_queue *queue, wr_pool *chunks)
{
    return free_list(&queue->waiting, chunks);
}
