/* wr_outbox: what a connection has sent and the kernel has not yet taken.
 *
 * A list of segments: copies gathered in chunks of the worker's pool, and references to shared buffers. An empty outbox
 * holds no memory. A batch at a time is in flight; its segments do not change until the send completes, new bytes join
 * the waiting ones. How many bytes are in it is its user's to know, from what each call puts in or returns. */
#ifndef WR_OUTBOX_H
#define WR_OUTBOX_H

#include <assert.h>
#include <string.h>
#include <weir/buffer.h>

#include "core/buffer.h"
#include "platform/cq.h"
#include "platform/memory.h"

enum {
    WR_CHUNK_SIZE = 2048,             /* a pool block: a header and about 2,000 bytes of copies */
    WR_CHUNKS_KEPT = 256,             /* free ones that a worker keeps: half a megabyte */
    WR_REFERENCES_KEPT = 4096,        /* the same, of references to shared buffers: 128 KiB */
    WR_SEND_BATCH_MAX = 256 * 1024,   /* bytes in flight: progress is seen, and memory freed, by the batch */
    WR_COPY_MAX = WR_CHUNK_SIZE - 48, /* what a chunk holds; a larger copy gets a block of its own */
    WR_SHARE_MIN = 1024,              /* see wr_outbox_share */
};

/* A chunk of the pool with up to WR_COPY_MAX bytes of copies; or one copy that is larger, in a block of its own; or a
 * reference to a buffer (then only the header is allocated). */
typedef struct wr_segment {
    wr_slice slice; /* first: the backend's list is ours */
    weir_buf *buf;  /* NULL: the bytes follow */
    unsigned char bytes[];
} wr_segment;

typedef struct wr_outbox {
    wr_segment *flight; /* with the backend: a list that ends */
    wr_segment *last;   /* of those that wait, in order: a ring, so the first one follows it. NULL: none does */
} wr_outbox;

/* wr_segments: where the outboxes of one worker get their segments from. A send to a group takes a reference a member:
 * from the pool that is some 15 instructions, from jemalloc and back 350. */
typedef struct wr_segments {
    wr_pool chunks;
    wr_pool references;
} wr_segments;

/* wr_segments_init: `keep`: whether free ones are kept at all. */
void wr_segments_init(wr_segments *segments, wr_memory *memory, bool keep);
void wr_segments_destroy(wr_segments *segments);

/* wr_outbox_reserve: appends `size` (at least 1) bytes, which the caller is to write where it points to, before
 * anything else is done with the outbox. NULL: no memory; the outbox is as before. */
static inline void *wr_outbox_reserve(wr_outbox *outbox, wr_segments *segments, uint32_t size);

/* wr_outbox_share: appends a reference to `buf`, which is not empty. WEIR_ENOMEM. One of up to WR_SHARE_MIN bytes joins
 * a chunk of copies that waits and has room: a reference there would begin a new chunk with the next copy, and small
 * copies and buffers by turns would hold 2 KiB a pair, 65 times what their limit counts. */
static inline int wr_outbox_share(wr_outbox *outbox, wr_segments *segments, weir_buf *buf);

static inline bool wr_outbox_waits(const wr_outbox *outbox)
{
    return outbox->last != NULL;
}

/* wr_outbox_launch: puts the next batch in flight and returns it; something waits, and nothing is in flight. */
static inline const wr_slice *wr_outbox_launch(wr_outbox *outbox);

/* wr_outbox_put_in_flight: the outbox was empty, and this segment was sent past it, which is not over yet. */
static inline void wr_outbox_put_in_flight(wr_outbox *outbox, wr_segment *segment);

/* wr_outbox_landed: the batch in flight, of which there is one, is with the kernel: frees it and returns its bytes. */
static inline uint32_t wr_outbox_landed(wr_outbox *outbox, wr_segments *segments);

/* wr_outbox_drop_waiting: forgets what is not in flight, and returns its bytes. */
uint32_t wr_outbox_drop_waiting(wr_outbox *outbox, wr_segments *segments);

/* ---- the way of every message, which is inlined; outbox.c has what is rare ---- */

/* wr_segment_make_large: for a copy that no chunk holds. NULL: no memory. */
wr_segment *wr_segment_make_large(wr_segments *segments, uint32_t size);

uint32_t wr_outbox_free_list(wr_segment *segment, wr_segments *segments);
const wr_slice *wr_outbox_launch_several(wr_outbox *outbox);

static inline bool wr_segment_is_chunk(const wr_segment *segment)
{
    return !segment->buf && segment->slice.size <= WR_COPY_MAX;
}

static inline void wr_outbox_append(wr_outbox *outbox, wr_segment *segment)
{
    wr_segment *last = outbox->last;
    segment->slice.next = &segment->slice;
    if (last) {
        segment->slice.next = last->slice.next;
        last->slice.next = &segment->slice;
    }
    outbox->last = segment;
}

/* Small sends of one pass end up side by side in one chunk. NULL: it has no room, or there is none. */
static inline void *wr_outbox_extend(wr_outbox *outbox, uint32_t size)
{
    wr_segment *last = outbox->last;
    if (!last || !wr_segment_is_chunk(last) || WR_COPY_MAX - last->slice.size < size) return NULL;
    void *place = last->bytes + last->slice.size;
    last->slice.size += size;
    return place;
}

static inline void *wr_outbox_reserve(wr_outbox *outbox, wr_segments *segments, uint32_t size)
{
    assert(size > 0);
    void *place = wr_outbox_extend(outbox, size);
    if (place) return place;
    wr_segment *segment = size <= WR_COPY_MAX ? wr_pool_get(&segments->chunks) : wr_segment_make_large(segments, size);
    if (!segment) return NULL;
    segment->slice.data = segment->bytes;
    segment->slice.size = size;
    segment->buf = NULL;
    wr_outbox_append(outbox, segment);
    return segment->bytes;
}

static inline int wr_outbox_share(wr_outbox *outbox, wr_segments *segments, weir_buf *buf)
{
    assert(buf->size > 0);
    void *place = buf->size <= WR_SHARE_MIN ? wr_outbox_extend(outbox, buf->size) : NULL;
    if (place) {
        memcpy(place, buf->bytes, buf->size);
        return 0;
    }
    wr_segment *segment = wr_pool_get(&segments->references);
    if (!segment) return WEIR_ENOMEM;
    segment->slice.data = buf->bytes;
    segment->slice.size = buf->size;
    segment->buf = wr_buf_retain(buf);
    wr_outbox_append(outbox, segment);
    return 0;
}

static inline const wr_slice *wr_outbox_launch(wr_outbox *outbox)
{
    wr_segment *last = outbox->last;
    assert(!outbox->flight && last);
    if (last->slice.next != &last->slice) return wr_outbox_launch_several(outbox);
    last->slice.next = NULL;
    outbox->flight = last;
    outbox->last = NULL;
    return &last->slice;
}

static inline void wr_outbox_put_in_flight(wr_outbox *outbox, wr_segment *segment)
{
    assert(segment && !outbox->flight && !outbox->last);
    outbox->flight = segment;
}

static inline void wr_segment_free(wr_segment *segment, wr_segments *segments)
{
    if (segment->buf) {
        wr_buf_release(segment->buf);
        wr_pool_put(&segments->references, segment);
    } else if (segment->slice.size <= WR_COPY_MAX) {
        wr_pool_put(&segments->chunks, segment);
    } else {
        wr_free(segments->chunks.memory, segment, sizeof *segment + segment->slice.size);
    }
}

static inline uint32_t wr_outbox_landed(wr_outbox *outbox, wr_segments *segments)
{
    wr_segment *segment = outbox->flight;
    uint32_t bytes = segment->slice.size;
    if (segment->slice.next)
        bytes = wr_outbox_free_list(segment, segments);
    else
        wr_segment_free(segment, segments);
    outbox->flight = NULL;
    return bytes;
}

#endif
