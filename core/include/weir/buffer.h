/* weir_buf: bytes that many connections may send without copying them again.
 *
 * Reference-counted, and immutable once it has been given to a send. The one who creates it holds a reference and
 * releases it; every send takes one of its own. */
#ifndef WEIR_BUFFER_H
#define WEIR_BUFFER_H

#include <stddef.h>
#include <stdint.h>
#include <weir/export.h>
#include <weir/framing.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct weir_buf weir_buf;

/* weir_buf_create: an uninitialised buffer of `size` bytes, to be filled through weir_buf_bytes before its first send.
 * The caller owns the one reference. NULL when out of memory, or when size is over UINT32_MAX. [any] */
WEIR_API weir_buf *weir_buf_create(size_t size);

/* weir_buf_copy: a buffer that holds a copy of `size` bytes. Otherwise as weir_buf_create. [any] */
WEIR_API weir_buf *weir_buf_copy(const void *bytes, size_t size);

/* weir_buf_frame: a whole message of that framing around a copy of the body, framed once for all who get it: behind the
 * header with its length, other bytes of which are 0, or in front of the delimiter; without framing the body as it is.
 * Otherwise as weir_buf_create. [any]
 * NULL also where the receiver would not cut it out again: the length field cannot say the size, the body has the
 * delimiter in it, the framing is custom or none that weir_listen takes. */
WEIR_API weir_buf *weir_buf_frame(const weir_framing *framing, const void *body, size_t size);

/* weir_buf_packet: a packet of weir_framing_u16le_packet: its size, `id`, and a copy of the body, which has 65,531
 * bytes at most. Otherwise as weir_buf_create. [any] */
WEIR_API weir_buf *weir_buf_packet(uint16_t id, const void *body, size_t size);

/* weir_buf_retain: takes another reference, and returns buf; NULL is fine. [any] */
WEIR_API weir_buf *weir_buf_retain(weir_buf *buf);

/* weir_buf_release: gives a reference back; the last one frees the buffer. NULL is fine. [any] */
WEIR_API void weir_buf_release(weir_buf *buf);

/* weir_buf_bytes: where the bytes are. Do not write once a send has seen the buffer. [any] */
WEIR_API void *weir_buf_bytes(weir_buf *buf);

/* weir_buf_size: how many they are. [any] */
WEIR_API size_t weir_buf_size(const weir_buf *buf);

#ifdef __cplusplus
}
#endif

#endif
