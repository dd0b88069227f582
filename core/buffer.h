/* weir_buf, inside. */
#ifndef WR_BUFFER_H
#define WR_BUFFER_H

#include <assert.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <weir/buffer.h>

struct weir_buf {
    _Atomic uint32_t references;
    uint32_t size;
    _Alignas(16) unsigned char bytes[];
};

/* wr_buf_retain, wr_buf_release: as weir_buf_retain and weir_buf_release, for one that is not NULL; inlined. [any] */
static inline weir_buf *wr_buf_retain(weir_buf *buf)
{
    uint32_t before = atomic_fetch_add_explicit(&buf->references, 1, memory_order_relaxed);
    assert(before > 0);
    (void)before;
    return buf;
}

/* Release on every decrement, acquire on the last: whoever frees it sees all that the others did with it. */
static inline void wr_buf_release(weir_buf *buf)
{
    uint32_t before = atomic_fetch_sub_explicit(&buf->references, 1, memory_order_acq_rel);
    assert(before > 0);
    if (before == 1) free(buf);
}

#endif
