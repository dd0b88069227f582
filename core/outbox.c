#include "core/outbox.h"

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
    wr_segment *last = outbox->waiting;
    uint64_t bytes = last->slice.size;
    while (last != outbox->end && bytes + last->slice.next->size <= WR_SEND_BATCH_MAX) {
        last = next_of(last);
        bytes += last->slice.size;
    }
    outbox->flight = outbox->waiting;
    outbox->waiting = next_of(last);
    if (!outbox->waiting) outbox->end = NULL;
    last->slice.next = NULL;
    return &outbox->flight->slice;
}

uint32_t wr_outbox_drop_waiting(wr_outbox *outbox, wr_segments *segments)
{
    uint32_t bytes = wr_outbox_free_list(outbox->waiting, segments);
    outbox->waiting = outbox->end = NULL;
    outbox->bytes -= bytes;
    return bytes;
}
