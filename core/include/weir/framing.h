/* Framing: how a byte stream is cut into messages.
 *
 * A message is a whole frame, its header or delimiter included, and is delivered in place from the receive buffer; only
 * an unfinished tail is ever copied. A frame that cannot advance (shorter than its own header), and one over
 * weir_protocol.max_message, end the connection with WEIR_EFRAME or WEIR_EMSGSIZE. */
#ifndef WEIR_FRAMING_H
#define WEIR_FRAMING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <weir/export.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef enum weir_framing_kind {
    WEIR_FRAMING_NONE = 0, /* bytes as they come, in pieces of any size */
    WEIR_FRAMING_LENGTH,   /* a header with a length field */
    WEIR_FRAMING_DELIMITER,
    WEIR_FRAMING_CUSTOM,
} weir_framing_kind;

/* weir_frame_fn: an embedder's own framing. Looks at the `size` bytes (at least one, at most max_message) at the front
 * of the stream and returns the size of the first frame, or 0 if that cannot be told yet, or a negative number if it is
 * malformed. A size larger than `size` means: call the message when that much is there. 0 for max_message bytes ends
 * the connection with WEIR_EMSGSIZE. Called on the worker; must depend on nothing but its arguments, and say of a frame
 * the same however much follows. `data` is weir_framing.data. */
typedef int64_t (*weir_frame_fn)(const void *bytes, size_t size, void *data);

typedef struct weir_framing {
    weir_framing_kind kind;
    /* WEIR_FRAMING_LENGTH: `header_size` bytes come first, and at `length_offset` in them stands an unsigned number of
     * `length_size` (1, 2 or 4) bytes. It counts the header too if `counts_header`, else only what follows it. */
    uint8_t header_size; /* 0: length_offset + length_size; at most 64 */
    uint8_t length_offset;
    uint8_t length_size;
    bool big_endian;
    bool counts_header;
    /* WEIR_FRAMING_DELIMITER: the byte that ends a message, and belongs to it. */
    char delimiter;
    /* WEIR_FRAMING_CUSTOM */
    weir_frame_fn frame;
    void *data;
} weir_framing;

/* weir_framing_line: messages end with '\n', which belongs to them. [any] */
WEIR_API weir_framing weir_framing_line(void);

/* weir_framing_u16le_packet: the packet of Korean game-server courses, [u16 size][u16 id][body], little-endian, the
 * size counting these four bytes. [any] */
WEIR_API weir_framing weir_framing_u16le_packet(void);

/* weir_framing_u32be: [u32 length][body], big-endian, the length not counting itself. [any] */
WEIR_API weir_framing weir_framing_u32be(void);

#ifdef __cplusplus
}
#endif

#endif
