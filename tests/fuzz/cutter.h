/* How a stream is cut into messages, by the words of weir/framing.h and nothing else: slow, simple, and with all of the
 * stream at hand. What weir delivers from pieces is compared with this. */
#ifndef WR_FUZZ_CUTTER_H
#define WR_FUZZ_CUTTER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <weir/weir.h>

#include "fuzz/fuzz.h"

enum { CUTTER_CUSTOM = 5 };

/* cutter_framing: any framing, also one that cannot work, taken from the input. */
weir_framing cutter_framing(fuzz_input *input);

/* cutter_accepts: whether weir must accept it. Fills in the default of header_size, as weir does. */
bool cutter_accepts(weir_framing *framing);

/* cutter_next: the size of the message at the front of the `size` bytes that are left of the stream; 0: they are an
 * unfinished one; WEIR_EFRAME, WEIR_EMSGSIZE. Not for WEIR_FRAMING_NONE. */
int64_t cutter_next(const weir_framing *framing, uint32_t max_message, const uint8_t *bytes, size_t size);

#endif
