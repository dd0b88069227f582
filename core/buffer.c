#include "core/buffer.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

/* From malloc, not from a worker's arena: a buffer belongs to no runtime, and any thread may free it. */
weir_buf *weir_buf_create(size_t size)
{
    if (size > UINT32_MAX) return NULL;
    weir_buf *buf = malloc(sizeof *buf + size);
    if (!buf) return NULL;
    atomic_init(&buf->references, 1);
    buf->size = (uint32_t)size;
    return buf;
}

weir_buf *weir_buf_copy(const void *bytes, size_t size)
{
    weir_buf *buf = weir_buf_create(size);
    if (buf && size > 0) memcpy(buf->bytes, bytes, size);
    return buf;
}

weir_buf *weir_buf_retain(weir_buf *buf)
{
    if (!buf) return NULL;
    uint32_t before = atomic_fetch_add_explicit(&buf->references, 1, memory_order_relaxed);
    assert(before > 0);
    (void)before;
    return buf;
}

/* Release on every decrement, acquire on the last: whoever frees it sees all that the others did with it. */
void weir_buf_release(weir_buf *buf)
{
    if (!buf) return;
    uint32_t before = atomic_fetch_sub_explicit(&buf->references, 1, memory_order_acq_rel);
    assert(before > 0);
    if (before == 1) free(buf);
}

void *weir_buf_bytes(weir_buf *buf)
{
    return buf->bytes;
}

size_t weir_buf_size(const weir_buf *buf)
{
    return buf->size;
}
