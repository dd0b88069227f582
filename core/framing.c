#include "core/framing.h"

#include <assert.h>
#include <string.h>
#include <weir/error.h>

#include "platform/bug.h"

enum { HEADER_MAX = 64 };

weir_framing weir_framing_line(void)
{
    return (weir_framing){ .kind = WEIR_FRAMING_DELIMITER, .delimiter = '\n' };
}

weir_framing weir_framing_u16le_packet(void)
{
    return (weir_framing){ .kind = WEIR_FRAMING_LENGTH, .header_size = 4, .length_size = 2, .counts_header = true };
}

weir_framing weir_framing_u32be(void)
{
    return (weir_framing){ .kind = WEIR_FRAMING_LENGTH, .header_size = 4, .length_size = 4, .big_endian = true };
}

static const char *check_length(weir_framing *framing)
{
    unsigned size = framing->length_size;
    if (size != 1 && size != 2 && size != 4) return "framing.length_size is not 1, 2 or 4";
    unsigned end = framing->length_offset + size;
    if (end > HEADER_MAX || framing->header_size > HEADER_MAX) return "the frame header is longer than 64 bytes";
    if (framing->header_size == 0) framing->header_size = (uint8_t)end;
    if (framing->header_size < end) return "the length field ends after the frame header";
    return NULL;
}

int wr_framing_check(weir_framing *framing, const char **why)
{
    const char *wrong = NULL;
    switch (framing->kind) {
    case WEIR_FRAMING_NONE:
    case WEIR_FRAMING_DELIMITER:
        break;
    case WEIR_FRAMING_LENGTH:
        wrong = check_length(framing);
        break;
    case WEIR_FRAMING_CUSTOM:
        if (!framing->frame) wrong = "framing.frame is NULL in a custom framing";
        break;
    default:
        wrong = "framing.kind is not one of WEIR_FRAMING_…";
    }
    if (!wrong) return 0;
    *why = wrong;
    return WEIR_EINVAL;
}

/* read_length: the number in the `size` bytes; shifts, so that neither alignment nor the machine's order matters. */
static uint32_t read_length(const uint8_t *bytes, unsigned size, bool big_endian)
{
    uint32_t length = 0;
    for (unsigned i = 0; i < size; i++) length = length << 8 | bytes[big_endian ? i : size - 1 - i];
    return length;
}

static int64_t next_length(const weir_framing *framing, uint32_t max_message, const uint8_t *bytes, size_t size)
{
    /* The length may stand before the header's end: what is wrong with it is told at once. */
    if (size < (size_t)framing->length_offset + framing->length_size) return 0;
    /* 64 bits: header and length together may pass 2^32. */
    uint64_t total = read_length(bytes + framing->length_offset, framing->length_size, framing->big_endian);
    if (!framing->counts_header) total += framing->header_size;
    if (total < framing->header_size && !WR_BUG(zero_frame)) return WEIR_EFRAME;
    return total > max_message ? WEIR_EMSGSIZE : (int64_t)total;
}

static int64_t next_delimited(const weir_framing *framing, uint32_t max_message, const uint8_t *bytes, size_t size,
                              uint32_t *scanned)
{
    uint32_t limit = size < max_message ? (uint32_t)size : max_message;
    assert(*scanned <= limit);
    const uint8_t *end = memchr(bytes + *scanned, (unsigned char)framing->delimiter, limit - *scanned);
    if (end) {
        *scanned = 0;
        return end - bytes + 1;
    }
    *scanned = limit;
    return limit == max_message ? WEIR_EMSGSIZE : 0;
}

/* It never sees more than a message may have: what it then says does not depend on how much has come at once. */
static int64_t next_custom(const weir_framing *framing, uint32_t max_message, const uint8_t *bytes, size_t size)
{
    if (size > max_message) size = max_message;
    int64_t total = framing->frame(bytes, size, framing->data);
    if (total < 0) return WEIR_EFRAME;
    if (total > max_message || (total == 0 && size == max_message)) return WEIR_EMSGSIZE;
    return total;
}

int64_t wr_framing_next(const weir_framing *framing, uint32_t max_message, const uint8_t *bytes, size_t size,
                        uint32_t *scanned)
{
    assert(size > 0 && max_message > 0);
    switch (framing->kind) {
    case WEIR_FRAMING_LENGTH:
        return next_length(framing, max_message, bytes, size);
    case WEIR_FRAMING_DELIMITER:
        return next_delimited(framing, max_message, bytes, size, scanned);
    case WEIR_FRAMING_CUSTOM:
        return next_custom(framing, max_message, bytes, size);
    case WEIR_FRAMING_NONE:
    default:
        return wr_framing_take_all(max_message, size);
    }
}

bool wr_framing_put_length(const weir_framing *framing, uint8_t *header, size_t body_size)
{
    uint64_t length = (uint64_t)body_size + (framing->counts_header ? framing->header_size : 0);
    unsigned size = framing->length_size;
    if (length < body_size || length >> 8 * size) return false;
    for (unsigned i = 0; i < size; i++)
        header[framing->length_offset + (framing->big_endian ? size - 1 - i : i)] = (uint8_t)(length >> 8 * i);
    return true;
}
