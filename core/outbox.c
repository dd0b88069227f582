#include "core/outbox.h"

#include <assert.h>
#include <string.h>

#include "core/buffer.h"

/* A chunk of the pool with up to WR_COPY_MAX bytes of copies; or one copy that is larger, in a block of its own; or a
 * reference to a buffer (then only the header is allocated). */
struct wr_segment {
    wr_slice slice; /* first: the backend's list is ours */
    weir_buf *buf;  /* NULL: the bytes follow */
    unsigned char bytes[];
};

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

static bool is_chunk(const wr_segment *segment)
{
    return !segment->buf && segment->slice.size <= WR_COPY_MAX;
}

static void append(wr_outbox *outbox, wr_segment *segment)
{
    segment->slice.next = NULL;
    if (outbox->waiting)
        outbox->end->slice.next = &segment->slice;
    else
        outbox->waiting = segment;
    outbox->end = segment;
    outbox->bytes += segment->slice.size;
}

static void free_segment(wr_segment *segment, wr_segments *segments)
{
    if (segment->buf) {
        weir_buf_release(segment->buf);
        wr_pool_put(&segments->references, segment);
    } else if (is_chunk(segment)) {
        wr_pool_put(&segments->chunks, segment);
    } else {
        wr_free(segments->chunks.memory, segment, sizeof *segment + segment->slice.size);
    }
}

static uint32_t free_list(wr_segment *segment, wr_segments *segments)
{
    uint32_t bytes = 0;
    while (segment) {
        wr_segment *next = next_of(segment);
        bytes += segment->slice.size;
        free_segment(segment, segments);
        segment = next;
    }
    return bytes;
}

/* Small sends of one pass end up side by side in one chunk. */
static bool append_to_last_chunk(wr_outbox *outbox, const void *bytes, uint32_t size)
{
    wr_segment *last = outbox->end;
    if (!outbox->waiting || !is_chunk(last) || WR_COPY_MAX - last->slice.size < size) return false;
    memcpy(last->bytes + last->slice.size, bytes, size);
    last->slice.size += size;
    outbox->bytes += size;
    return true;
}

int wr_outbox_share(wr_outbox *outbox, wr_segments *segments, weir_buf *buf)
{
    assert(buf->size > 0);
    if (buf->size <= WR_SHARE_MIN && append_to_last_chunk(outbox, buf->bytes, buf->size)) return 0;
    wr_segment *segment = wr_pool_get(&segments->references);
    if (!segment) return WEIR_ENOMEM;
    *segment = (wr_segment){ .slice = { .data = buf->bytes, .size = buf->size }, .buf = weir_buf_retain(buf) };
    append(outbox, segment);
    return 0;
}

int wr_outbox_copy(wr_outbox *outbox, wr_segments *segments, const void *bytes, uint32_t size)
{
    assert(size > 0);
    if (append_to_last_chunk(outbox, bytes, size)) return 0;
    wr_segment *segment = size <= WR_COPY_MAX ? wr_pool_get(&segments->chunks)
                                              : wr_alloc(segments->chunks.memory, sizeof *segment + size);
    if (!segment) return WEIR_ENOMEM;
    segment->slice.data = segment->bytes;
    segment->slice.size = size;
    segment->buf = NULL;
    memcpy(segment->bytes, bytes, size);
    append(outbox, segment);
    return 0;
}

const wr_slice *wr_outbox_launch(wr_outbox *outbox)
{
    assert(!outbox->flight);
    if (!outbox->waiting) return NULL;
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

uint32_t wr_outbox_landed(wr_outbox *outbox, wr_segments *segments)
{
    uint32_t bytes = free_list(outbox->flight, segments);
    outbox->flight = NULL;
    outbox->bytes -= bytes;
    return bytes;
}

uint32_t wr_outbox_drop_waiting(wr_outbox *outbox, wr_segments *segments)
{
    uint32_t bytes = free_list(outbox->waiting, segments);
    outbox->waiting = outbox->end = NULL;
    outbox->bytes -= bytes;
    return bytes;
}
