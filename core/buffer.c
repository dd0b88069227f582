#include "core/buffer.h"

#include <string.h>

#include "core/framing.h"

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

static weir_buf *frame_length(const weir_framing *framing, const void *body, size_t size)
{
    uint8_t header[UINT8_MAX] = { 0 };
    if (!wr_framing_put_length(framing, header, size)) return NULL;
    weir_buf *buf = weir_buf_create(framing->header_size + size);
    if (!buf) return NULL;
    memcpy(buf->bytes, header, framing->header_size);
    if (size > 0) memcpy(buf->bytes + framing->header_size, body, size);
    return buf;
}

static weir_buf *frame_delimited(const weir_framing *framing, const void *body, size_t size)
{
    if (size > 0 && memchr(body, (unsigned char)framing->delimiter, size)) return NULL;
    weir_buf *buf = size < SIZE_MAX ? weir_buf_create(size + 1) : NULL;
    if (!buf) return NULL;
    if (size > 0) memcpy(buf->bytes, body, size);
    buf->bytes[size] = (unsigned char)framing->delimiter;
    return buf;
}

weir_buf *weir_buf_frame(const weir_framing *framing, const void *body, size_t size)
{
    const char *why;
    weir_framing checked = framing ? *framing : (weir_framing){ .kind = WEIR_FRAMING_NONE };
    if (wr_framing_check(&checked, &why) != 0 || (!body && size > 0)) return NULL;
    switch (checked.kind) {
    case WEIR_FRAMING_LENGTH:
        return frame_length(&checked, body, size);
    case WEIR_FRAMING_DELIMITER:
        return frame_delimited(&checked, body, size);
    case WEIR_FRAMING_NONE:
        return weir_buf_copy(body, size);
    case WEIR_FRAMING_CUSTOM:
    default:
        return NULL; /* only its owner knows how */
    }
}

weir_buf *weir_buf_packet(uint16_t id, const void *body, size_t size)
{
    weir_framing framing = weir_framing_u16le_packet();
    weir_buf *buf = weir_buf_frame(&framing, body, size);
    if (!buf) return NULL;
    buf->bytes[2] = (unsigned char)id;
    buf->bytes[3] = (unsigned char)(id >> 8);
    return buf;
}

weir_buf *weir_buf_retain(weir_buf *buf)
{
    return buf ? wr_buf_retain(buf) : NULL;
}

void weir_buf_release(weir_buf *buf)
{
    if (buf) wr_buf_release(buf);
}

void *weir_buf_bytes(weir_buf *buf)
{
    return buf->bytes;
}

size_t weir_buf_size(const weir_buf *buf)
{
    return buf->size;
}
