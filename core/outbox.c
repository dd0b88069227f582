#include "core/outbox.h"

#include "platform/hints.h"

_Static_assert(sizeof(wr_segment) + WR_COPY_MAX <= WR_CHUNK_SIZE, "a copy of WR_COPY_MAX fits a chunk");

void wr_segments_init(wr_segments *segments, wr_memory *memory, bool keep)
{
    wr_pool_init(&segments->chunks, memory, WR_CHUNK_SIZE, keep ? WR_CHUNKS_KEPT : 0);
    wr_pool_init(&segments->references, memory, sizeof(wr_segment), keep ? WR_REFERENCES_KEPT : 0);
}

void wr_segments_destroy(wr_segments *segments)
{
    wr_pool_destroy(&segments->chunks);
    wr_pool_destroy(&segments->references);
}

WR_COLD wr_segment *wr_segment_make_large(wr_segments *segments, uint32_t size)
{
    return wr_alloc(segments->chunks.memory, sizeof(wr_segment) + size);
}

static wr_segment *segment_of(const wr_slice *slice)
{
    return (wr_segment *)(uintptr_t)slice;
}

static wr_segment *next_of(const wr_segment *segment)
{
    return segment_of(segment->slice.next);
}

uint32_t wr_outbox_free_list(wr_segment *segment, wr_segments *segments)
{
    uint32_t bytes = 0;
    while (segment) {
        wr_segment *next = next_of(segment);
        bytes += segment->slice.size;
        wr_segment_free(segment, segments);
        segment = next;
    }
    return bytes;
}

const wr_slice *wr_outbox_launch_several(wr_outbox *outbox)
{
    wr_segment *first = next_of(outbox->last), *end = first;
    uint64_t bytes = end->slice.size;
    while (end != outbox->last && bytes + end->slice.next->size <= WR_SEND_BATCH_MAX) {
        end = next_of(end);
        bytes += end->slice.size;
    }
    if (end == outbox->last)
        outbox->last = NULL;
    else
        outbox->last->slice.next = end->slice.next;
    end->slice.next = NULL;
    outbox->flight = first;
    return &first->slice;
}

uint32_t wr_outbox_drop_waiting(wr_outbox *outbox, wr_segments *segments)
{
    if (!outbox->last) return 0;
    wr_segment *first = next_of(outbox->last);
    outbox->last->slice.next = NULL;
    outbox->last = NULL;
    return wr_outbox_free_list(first, segments);
}
