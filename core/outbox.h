/* wr_outbox: what a connection has sent and the kernel has not yet taken.
 *
 * A list of segments: copies gathered in chunks of the worker's pool, and references to shared buffers. An empty outbox
 * holds no memory. A batch at a time is in flight; its segments do not change until the send completes, new bytes join
 * the waiting ones. */
#ifndef WR_OUTBOX_H
#define WR_OUTBOX_H

#include <weir/buffer.h>

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

typedef struct wr_segment wr_segment;

typedef struct wr_outbox {
    wr_segment *flight;        /* with the backend */
    wr_segment *waiting, *end; /* in order; `end` is the last of the waiting */
    uint32_t bytes;            /* in both */
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

/* wr_outbox_copy: appends a copy of `size` (at least 1) bytes. WEIR_ENOMEM: the outbox is as before. */
int wr_outbox_copy(wr_outbox *outbox, wr_segments *segments, const void *bytes, uint32_t size);

/* wr_outbox_share: appends a reference to `buf`, which is not empty. WEIR_ENOMEM. One of up to WR_SHARE_MIN bytes joins
 * a chunk of copies that waits and has room: a reference there would begin a new chunk with the next copy, and small
 * copies and buffers by turns would hold 2 KiB a pair, 65 times what their limit counts. */
int wr_outbox_share(wr_outbox *outbox, wr_segments *segments, weir_buf *buf);

/* wr_outbox_launch: puts the next batch in flight and returns it; NULL when nothing waits. None may be in flight. */
const wr_slice *wr_outbox_launch(wr_outbox *outbox);

/* wr_outbox_landed: the batch in flight is with the kernel: frees it and returns its bytes. */
uint32_t wr_outbox_landed(wr_outbox *outbox, wr_segments *segments);

/* wr_outbox_drop_waiting: forgets what is not in flight, and returns its bytes. */
uint32_t wr_outbox_drop_waiting(wr_outbox *outbox, wr_segments *segments);

#endif
