/* Cutting a stream into frames: the parser of weir/framing.h, without state and without copying. */
#ifndef WR_FRAMING_H
#define WR_FRAMING_H

#include <stddef.h>
#include <stdint.h>
#include <weir/framing.h>

/* wr_framing_check: refuses what cannot work and fills in defaults (header_size). On WEIR_EINVAL `*why` is a static
 * sentence. */
int wr_framing_check(weir_framing *framing, const char **why);

/* wr_framing_next: the size of the first frame in the `size` (at least 1) bytes. May be over `size`: then that much is
 * needed. 0: not known yet. WEIR_EFRAME: malformed, or cannot advance. WEIR_EMSGSIZE: over max_message, also when
 * max_message (at least 1) bytes are there without an end in sight. `*scanned` (0 at the start of a frame, and 0 again
 * when its end is found) remembers how far a delimiter has been looked for, so that a frame that comes a byte at a time
 * is scanned once. The framing has passed wr_framing_check. */
int64_t wr_framing_next(const weir_framing *framing, uint32_t max_message, const uint8_t *bytes, size_t size,
                        uint32_t *scanned);

/* wr_framing_take_all: the same without framing: what has come is a message. */
static inline int64_t wr_framing_take_all(uint32_t max_message, size_t size)
{
    return size < max_message ? (int64_t)size : (int64_t)max_message;
}

/* wr_framing_put_length: writes the length field of a frame with a body of that size into its header. False: the field
 * cannot say that much. For WEIR_FRAMING_LENGTH that has passed wr_framing_check. */
bool wr_framing_put_length(const weir_framing *framing, uint8_t *header, size_t body_size);

#endif
