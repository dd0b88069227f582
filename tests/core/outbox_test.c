/* The outbox: order, batches, and what it holds when memory runs out. */
#include "core/outbox.h"

#include <stdlib.h>
#include <string.h>

#include "core/buffer.h"
#include "harness/weir_test.h"

/* A memory that counts what is out, and that refuses when told to. */
typedef struct counted {
    wr_memory base;
    int left; /* allocations that succeed; negative: all */
} counted;

typedef struct box {
    counted memory;
    wr_segments segments;
    wr_outbox outbox;
    uint32_t bytes; /* put in and not yet come out */
} box;

static void *counted_alloc(wr_memory *memory, size_t size)
{
    counted *c = (counted *)memory;
    if (c->left == 0) return NULL;
    if (c->left > 0) c->left--;
    return malloc(size);
}

static void counted_free(wr_memory *memory, void *block, size_t size)
{
    (void)memory, (void)size;
    free(block);
}

static void box_open(box *b, bool keep)
{
    *b = (box){ .memory = { .base = { .alloc = counted_alloc, .free = counted_free }, .left = -1 } };
    wr_segments_init(&b->segments, &b->memory.base, keep);
}

static uint64_t used(const box *b)
{
    return b->memory.base.used;
}

static uint32_t land(box *b)
{
    uint32_t bytes = wr_outbox_landed(&b->outbox, &b->segments);
    b->bytes -= bytes;
    return bytes;
}

static uint32_t drop_waiting(box *b)
{
    uint32_t bytes = wr_outbox_drop_waiting(&b->outbox, &b->segments);
    cr_assert_not(wr_outbox_waits(&b->outbox));
    b->bytes -= bytes;
    return bytes;
}

static void box_close(box *b)
{
    if (b->outbox.flight) land(b);
    drop_waiting(b);
    cr_assert_eq(b->bytes, 0);
    wr_segments_destroy(&b->segments);
    cr_assert_eq(used(b), 0, "%llu bytes leaked", (unsigned long long)used(b));
}

static int try_copy(box *b, const void *bytes, uint32_t size)
{
    void *place = wr_outbox_reserve(&b->outbox, &b->segments, size);
    if (!place) return WEIR_ENOMEM;
    memcpy(place, bytes, size);
    b->bytes += size;
    return 0;
}

static int try_share(box *b, weir_buf *buf)
{
    int error = wr_outbox_share(&b->outbox, &b->segments, buf);
    if (error == 0) b->bytes += buf->size;
    return error;
}

static void copy(box *b, const void *bytes, uint32_t size)
{
    cr_assert_eq(try_copy(b, bytes, size), 0);
}

static void share(box *b, const void *bytes, uint32_t size)
{
    weir_buf *buf = weir_buf_copy(bytes, size);
    cr_assert_eq(try_share(b, buf), 0);
    weir_buf_release(buf);
}

/* Sends what waits, batch by batch, into `out`; returns how many bytes there were. */
static size_t drain(box *b, uint8_t *out, size_t room)
{
    size_t total = 0;
    while (wr_outbox_waits(&b->outbox)) {
        const wr_slice *slices = wr_outbox_launch(&b->outbox);
        size_t batch = 0;
        for (const wr_slice *slice = slices; slice; slice = slice->next) {
            cr_assert_gt(slice->size, 0);
            cr_assert_leq(total + slice->size, room);
            memcpy(out + total, slice->data, slice->size);
            total += slice->size;
            batch += slice->size;
        }
        cr_assert_eq(land(b), batch);
    }
    return total;
}

static void fill(uint8_t *bytes, size_t size)
{
    uint32_t state = 12345;
    for (size_t i = 0; i < size; i++) {
        state = state * 1664525 + 1013904223;
        bytes[i] = (uint8_t)(state >> 24);
    }
}

Test(outbox, an_empty_one_has_nothing_that_waits_and_holds_nothing)
{
    box b;
    box_open(&b, false);
    cr_assert_not(wr_outbox_waits(&b.outbox));
    cr_assert_eq(drop_waiting(&b), 0);
    cr_assert_eq(used(&b), 0);
    box_close(&b);
}

Test(outbox, copies_and_buffers_of_every_size_come_out_in_order)
{
    const uint32_t sizes[] = { 1,     1,      2,    100,  1900,        1,
                               500,   2000,   2001, 2048, WR_COPY_MAX, WR_COPY_MAX + 1,
                               5000,  300000, 7,    7,    1024,        WR_CHUNK_SIZE,
                               65536, 3,      512 };
    enum { SIZES = sizeof sizes / sizeof *sizes, ROOM = 2 << 20 };
    static uint8_t bytes[ROOM], out[ROOM];
    fill(bytes, sizeof bytes);
    for (unsigned mix = 0; mix < 64; mix++) { /* which of them are shared */
        box b;
        size_t total = 0;
        box_open(&b, mix % 3);
        for (unsigned round = 0; round < 3; round++) {
            for (unsigned i = 0; i < SIZES; i++) {
                if ((i * 7 + round) * 2654435761u >> 26 < mix)
                    share(&b, bytes + total, sizes[i]);
                else
                    copy(&b, bytes + total, sizes[i]);
                total += sizes[i];
            }
        }
        cr_assert_eq(drain(&b, out, sizeof out), total);
        cr_assert_arr_eq(out, bytes, total);
        cr_assert_eq(b.bytes, 0);
        box_close(&b);
    }
}

Test(outbox, small_copies_share_a_chunk)
{
    box b;
    box_open(&b, false);
    for (int i = 0; i < 100; i++) copy(&b, "0123456789", 10);
    cr_assert_eq(used(&b), WR_CHUNK_SIZE);
    const wr_slice *slices = wr_outbox_launch(&b.outbox);
    cr_assert_eq(slices->size, 1000);
    cr_assert_null(slices->next);
    box_close(&b);
}

/* Otherwise a peer that does not read costs a chunk for each pair, hundreds of times what its limit says. */
Test(outbox, small_buffers_between_small_copies_do_not_cost_a_chunk_each)
{
    enum { PAIRS = 1000 };
    box b;
    box_open(&b, false);
    for (int i = 0; i < PAIRS; i++) {
        copy(&b, "copied to one", 13);
        share(&b, "sent to all of them", 19);
    }
    cr_assert_leq(used(&b), 2 * (uint64_t)b.bytes, "%llu bytes hold %u", (unsigned long long)used(&b), b.bytes);
    static uint8_t out[PAIRS * 32];
    cr_assert_eq(drain(&b, out, sizeof out), sizeof out);
    for (size_t i = 0; i < PAIRS; i++) cr_assert_arr_eq(out + i * 32, "copied to onesent to all of them", 32);
    box_close(&b);
}

Test(outbox, what_is_large_is_accounted_too)
{
    static uint8_t bytes[1 << 20];
    box b;
    box_open(&b, false);
    copy(&b, bytes, sizeof bytes);
    cr_assert_geq(used(&b), sizeof bytes);
    cr_assert_leq(used(&b), sizeof bytes + 256);
    box_close(&b);
}

Test(outbox, an_empty_outbox_holds_no_memory)
{
    static uint8_t bytes[100000], out[300000];
    box b;
    box_open(&b, false);
    for (int round = 0; round < 3; round++) {
        copy(&b, bytes, 10);
        copy(&b, bytes, sizeof bytes);
        share(&b, bytes, sizeof bytes);
        copy(&b, bytes, 2000);
        drain(&b, out, sizeof out);
        cr_assert_eq(used(&b), 0);
    }
    box_close(&b);
}

/* ---- batches ---- */

Test(outbox, a_batch_is_cut_at_its_largest_size)
{
    enum { PART = 30000, PARTS = 40, TOTAL = PART * PARTS };
    static uint8_t bytes[PART];
    box b;
    size_t total = 0;
    box_open(&b, false);
    for (int i = 0; i < PARTS; i++) share(&b, bytes, PART);
    while (wr_outbox_waits(&b.outbox)) {
        const wr_slice *slices = wr_outbox_launch(&b.outbox);
        size_t batch = 0;
        for (const wr_slice *slice = slices; slice; slice = slice->next) batch += slice->size;
        cr_assert_leq(batch, WR_SEND_BATCH_MAX);
        total += batch;
        if (total < TOTAL) cr_assert_gt(batch + PART, WR_SEND_BATCH_MAX, "as large as may be");
        cr_assert_eq(land(&b), batch);
    }
    cr_assert_eq(total, TOTAL);
    box_close(&b);
}

Test(outbox, what_comes_between_two_batches_goes_behind_what_waits)
{
    enum { PART = 200000, PARTS = 6 };
    static uint8_t bytes[PART * PARTS], out[PART * PARTS];
    box b;
    size_t total = 0;
    fill(bytes, sizeof bytes);
    box_open(&b, false);
    for (int i = 0; i < 3; i++) share(&b, bytes + i * PART, PART);
    for (int i = 3; wr_outbox_waits(&b.outbox); i++) { /* a batch is one part */
        const wr_slice *slice = wr_outbox_launch(&b.outbox);
        memcpy(out + total, slice->data, slice->size);
        total += slice->size;
        if (i < PARTS) share(&b, bytes + i * PART, PART);
        cr_assert_null(slice->next);
        land(&b);
    }
    cr_assert_eq(total, sizeof bytes);
    cr_assert_arr_eq(out, bytes, sizeof bytes);
    box_close(&b);
}

Test(outbox, exactly_a_batch_is_one_batch)
{
    static uint8_t bytes[WR_SEND_BATCH_MAX];
    box b;
    box_open(&b, false);
    share(&b, bytes, WR_SEND_BATCH_MAX / 2);
    share(&b, bytes, WR_SEND_BATCH_MAX / 2);
    share(&b, bytes, 1);
    cr_assert_not_null(wr_outbox_launch(&b.outbox));
    cr_assert_eq(land(&b), WR_SEND_BATCH_MAX);
    cr_assert_not_null(wr_outbox_launch(&b.outbox));
    cr_assert_eq(land(&b), 1);
    box_close(&b);
}

Test(outbox, what_is_larger_than_a_batch_is_one_by_itself)
{
    enum { HUGE_SIZE = WR_SEND_BATCH_MAX * 3 };
    static uint8_t bytes[HUGE_SIZE];
    box b;
    box_open(&b, false);
    copy(&b, bytes, HUGE_SIZE);
    copy(&b, bytes, 5);
    cr_assert_not_null(wr_outbox_launch(&b.outbox));
    cr_assert_eq(land(&b), HUGE_SIZE);
    cr_assert_not_null(wr_outbox_launch(&b.outbox));
    cr_assert_eq(land(&b), 5);
    box_close(&b);
}

Test(outbox, appends_never_touch_the_batch_in_flight)
{
    static uint8_t out[64];
    box b;
    box_open(&b, true);
    copy(&b, "first", 5); /* its chunk has room for more */
    const wr_slice *slices = wr_outbox_launch(&b.outbox);
    const wr_slice before = *slices;
    cr_assert_eq(before.size, 5);
    copy(&b, "second", 6);
    share(&b, "third", 5);
    copy(&b, "fourth", 6);
    cr_assert_eq(slices->size, before.size);
    cr_assert(slices->data == before.data);
    cr_assert_null(slices->next);
    cr_assert_arr_eq(slices->data, "first", 5);
    cr_assert_eq(land(&b), 5);
    cr_assert_eq(drain(&b, out, sizeof out), 17);
    cr_assert_arr_eq(out, "secondthirdfourth", 17);
    box_close(&b);
}

Test(outbox, dropping_what_waits_leaves_the_batch_in_flight)
{
    box b;
    box_open(&b, false);
    copy(&b, "flies", 5);
    const wr_slice *slices = wr_outbox_launch(&b.outbox);
    copy(&b, "waits", 5);
    share(&b, "waits too", 9);
    cr_assert_eq(drop_waiting(&b), 14);
    cr_assert_arr_eq(slices->data, "flies", 5);
    copy(&b, "new", 3);
    cr_assert_eq(land(&b), 5);
    slices = wr_outbox_launch(&b.outbox);
    cr_assert_eq(slices->size, 3);
    cr_assert_null(slices->next);
    box_close(&b);
}

/* ---- buffers ---- */

Test(outbox, a_large_buffer_is_shared_and_not_copied)
{
    static uint8_t bytes[50000];
    weir_buf *buf = weir_buf_copy(bytes, sizeof bytes);
    box boxes[10];
    for (int i = 0; i < 10; i++) {
        box_open(&boxes[i], false);
        cr_assert_eq(try_share(&boxes[i], buf), 0);
        cr_assert_eq(buf->references, 2u + (unsigned)i);
        cr_assert_lt(used(&boxes[i]), 256);
        cr_assert(wr_outbox_launch(&boxes[i].outbox)->data == weir_buf_bytes(buf));
    }
    for (int i = 0; i < 10; i++) box_close(&boxes[i]);
    cr_assert_eq(buf->references, 1);
    weir_buf_release(buf);
}

Test(outbox, the_last_reference_may_be_the_outboxes_own)
{
    enum { SIZE = 40000 };
    static uint8_t bytes[SIZE], out[SIZE * 2];
    box b;
    fill(bytes, SIZE);
    box_open(&b, false);
    weir_buf *buf = weir_buf_copy(bytes, SIZE);
    cr_assert_eq(try_share(&b, buf), 0);
    cr_assert_eq(try_share(&b, buf), 0);
    weir_buf_release(buf);
    cr_assert_eq(drain(&b, out, sizeof out), sizeof out);
    cr_assert_arr_eq(out, bytes, SIZE);
    cr_assert_arr_eq(out + SIZE, bytes, SIZE);
    box_close(&b);
}

/* ---- no memory ---- */

static void refuse_each(bool shared, uint32_t size)
{
    static uint8_t bytes[100000], out[200000];
    box b;
    fill(bytes, sizeof bytes);
    box_open(&b, false);
    weir_buf *buf = weir_buf_copy(bytes, size);
    copy(&b, bytes, 2000); /* no room for more in its chunk */
    const wr_outbox before = b.outbox;
    uint64_t used_before = used(&b);
    int failures = 0;
    for (int left = 0;; left++) {
        b.memory.left = left;
        int error = shared ? try_share(&b, buf) : try_copy(&b, bytes, size);
        b.memory.left = -1;
        if (error == 0) break;
        cr_assert_eq(error, WEIR_ENOMEM);
        cr_assert_arr_eq(&b.outbox, &before, sizeof before, "the outbox is as before");
        cr_assert_eq(used(&b), used_before);
        cr_assert_eq(buf->references, 1);
        failures++;
    }
    cr_assert_gt(failures, 0, "%u bytes were had without asking", size);
    cr_assert_eq(drain(&b, out, sizeof out), 2000 + size);
    cr_assert_arr_eq(out + 2000, bytes, size);
    box_close(&b);
    cr_assert_eq(buf->references, 1);
    weir_buf_release(buf);
}

Test(outbox, without_memory_it_is_as_before)
{
    const uint32_t sizes[] = { 100, WR_COPY_MAX, WR_COPY_MAX + 1, 100000 };
    for (int i = 0; i < 4; i++) {
        refuse_each(false, sizes[i]);
        refuse_each(true, sizes[i]);
    }
}

Test(outbox, without_memory_what_fits_the_last_chunk_still_goes)
{
    uint8_t out[32];
    box b;
    box_open(&b, false);
    copy(&b, "one ", 4);
    b.memory.left = 0;
    copy(&b, "two", 3);
    b.memory.left = -1;
    cr_assert_eq(drain(&b, out, sizeof out), 7);
    cr_assert_arr_eq(out, "one two", 7);
    box_close(&b);
}
