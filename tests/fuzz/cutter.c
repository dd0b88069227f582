#include "fuzz/cutter.h"

enum { HEADER_LONGEST = 64, VARINT_LONGEST = 4 };

/* ---- framings as embedders write them: each tells the same of a frame, however much stands behind it ---- */

/* A length in groups of seven bits, least significant first, of at most four bytes; then so many bytes. */
static int64_t frame_varint(const void *bytes, size_t size, void *data)
{
    const uint8_t *byte = bytes;
    int64_t length = 0;
    (void)data;
    for (size_t i = 0; i < size && i < VARINT_LONGEST; i++) {
        length |= (int64_t)(byte[i] & 0x7f) << (7 * i);
        if (!(byte[i] & 0x80)) return length + (int64_t)i + 1;
    }
    return size < VARINT_LONGEST ? 0 : -1;
}

/* Ends with CR LF. */
static int64_t frame_crlf(const void *bytes, size_t size, void *data)
{
    const uint8_t *byte = bytes;
    (void)data;
    for (size_t i = 1; i < size; i++)
        if (byte[i - 1] == '\r' && byte[i] == '\n') return (int64_t)i + 1;
    return 0;
}

/* Begins with '<', and goes to where the next one begins: known only when that has come. */
static int64_t frame_until_next(const void *bytes, size_t size, void *data)
{
    const uint8_t *byte = bytes;
    (void)data;
    if (byte[0] != '<') return -7;
    for (size_t i = 1; i < size; i++)
        if (byte[i] == '<') return (int64_t)i;
    return 0;
}

static int64_t frame_never(const void *bytes, size_t size, void *data)
{
    (void)bytes;
    (void)size;
    (void)data;
    return 0;
}

/* The first byte chooses among sizes that an embedder's arithmetic may come to. */
static int64_t frame_extreme(const void *bytes, size_t size, void *data)
{
    static const int64_t sizes[] = {
        1, 2, 3, 255, 65536, UINT32_MAX, (int64_t)UINT32_MAX + 2, INT64_MAX, INT64_MIN, -1
    };
    (void)size;
    (void)data;
    return sizes[*(const uint8_t *)bytes % (sizeof sizes / sizeof *sizes)];
}

static const weir_frame_fn custom[CUTTER_CUSTOM] = { frame_varint, frame_crlf, frame_until_next, frame_never,
                                                     frame_extreme };

weir_framing cutter_framing(fuzz_input *input)
{
    uint8_t kind = fuzz_u8(input), flags = fuzz_u8(input);
    weir_framing framing = { .kind = kind % 5, /* one more than there are */
                             .big_endian = flags & 1,
                             .counts_header = flags & 2,
                             .header_size = fuzz_u8(input),
                             .length_offset = fuzz_u8(input),
                             .length_size = (uint8_t)(flags & 4 ? fuzz_u8(input) : 1 << (fuzz_u8(input) % 3)),
                             .delimiter = (char)fuzz_u8(input) };
    if (!(flags & 8)) {
        framing.header_size %= 8;
        framing.length_offset %= 4;
    }
    if (!(flags & 16)) framing.frame = custom[kind / 5 % CUTTER_CUSTOM];
    return framing;
}

bool cutter_accepts(weir_framing *framing)
{
    if (framing->kind == WEIR_FRAMING_NONE || framing->kind == WEIR_FRAMING_DELIMITER) return true;
    if (framing->kind == WEIR_FRAMING_CUSTOM) return framing->frame != NULL;
    if (framing->kind != WEIR_FRAMING_LENGTH) return false;
    unsigned size = framing->length_size, end = framing->length_offset + size;
    if (size != 1 && size != 2 && size != 4) return false;
    if (framing->header_size == 0 && end <= HEADER_LONGEST) framing->header_size = (uint8_t)end;
    return framing->header_size >= end && framing->header_size <= HEADER_LONGEST;
}

static int64_t next_length(const weir_framing *framing, uint32_t max_message, const uint8_t *bytes, size_t size)
{
    if (size < (size_t)framing->length_offset + framing->length_size) return 0;
    uint64_t number = 0;
    for (unsigned i = 0; i < framing->length_size; i++) {
        unsigned place = framing->big_endian ? framing->length_size - 1u - i : i;
        number |= (uint64_t)bytes[framing->length_offset + i] << (8 * place);
    }
    if (framing->counts_header && number < framing->header_size) return WEIR_EFRAME;
    uint64_t total = framing->counts_header ? number : number + framing->header_size;
    if (total > max_message) return WEIR_EMSGSIZE;
    return total <= size ? (int64_t)total : 0;
}

static int64_t next_delimited(const weir_framing *framing, uint32_t max_message, const uint8_t *bytes, size_t size)
{
    for (size_t i = 0; i < size && i < max_message; i++)
        if (bytes[i] == (uint8_t)framing->delimiter) return (int64_t)i + 1;
    return size >= max_message ? WEIR_EMSGSIZE : 0;
}

/* It is asked about no more than a message may have, so the answer cannot depend on how much has come. */
static int64_t next_custom(const weir_framing *framing, uint32_t max_message, const uint8_t *bytes, size_t size)
{
    size_t shown = size < max_message ? size : max_message;
    int64_t total = framing->frame(bytes, shown, framing->data);
    if (total < 0) return WEIR_EFRAME;
    if (total > max_message || (total == 0 && shown == max_message)) return WEIR_EMSGSIZE;
    return (uint64_t)total <= size ? total : 0;
}

int64_t cutter_next(const weir_framing *framing, uint32_t max_message, const uint8_t *bytes, size_t size)
{
    if (framing->kind == WEIR_FRAMING_LENGTH) return next_length(framing, max_message, bytes, size);
    if (framing->kind == WEIR_FRAMING_DELIMITER) return next_delimited(framing, max_message, bytes, size);
    return next_custom(framing, max_message, bytes, size);
}
