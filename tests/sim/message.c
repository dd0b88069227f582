#include "sim/message.h"

#include <string.h>
#include <weir/error.h>

enum { DIGIT_BITS = 6, DIGITS = 4, HIGH = 0x80 };

static void put_number(uint8_t *out, uint32_t number)
{
    for (int i = 0; i < DIGITS; i++) out[i] = (uint8_t)(HIGH | (number >> (i * DIGIT_BITS) & 0x3f));
}

static uint32_t get_number(const uint8_t *bytes)
{
    uint32_t number = 0;
    for (int i = 0; i < DIGITS; i++) number |= (uint32_t)(bytes[i] & 0x3f) << i * DIGIT_BITS;
    return number;
}

static bool is_number(const uint8_t *bytes)
{
    for (int i = 0; i < DIGITS; i++)
        if ((bytes[i] & 0xc0) != HIGH) return false;
    return true;
}

/* What the fill of a message follows from. */
static uint64_t key_of(const message_label *label)
{
    wr_random random;
    wr_random_seed(&random, (uint64_t)label->end << 32 | label->channel << 31 | label->place);
    return wr_random_next(&random);
}

static uint8_t fill(uint64_t key, uint32_t at)
{
    return (uint8_t)(HIGH | ((key >> at % 8 * 8 ^ at * 29 ^ at >> 7) & 0x7f));
}

/* ---- kinds ---- */

/* The embedder's own framing: the body says its size itself. Depends on its arguments alone. */
static int64_t cut_body(const void *bytes, size_t size, void *data)
{
    (void)data;
    const uint8_t *at = bytes;
    for (size_t i = 0; i < size && i < MESSAGE_BODY_MIN; i++)
        if ((at[i] & 0xc0) != HIGH) return -1;
    if (size < MESSAGE_BODY_MIN) return 0;
    uint32_t whole = get_number(at + 8);
    return whole < MESSAGE_BODY_MIN ? -1 : (int64_t)whole;
}

static weir_framing choose_length(choice *from)
{
    static const uint8_t sizes[] = { 1, 2, 4 };
    weir_framing framing = { .kind = WEIR_FRAMING_LENGTH, .length_size = CHOOSE_ONE(from, sizes) };
    framing.length_offset = (uint8_t)choose(from, 5);
    framing.header_size = (uint8_t)(framing.length_offset + framing.length_size + choose(from, 5));
    framing.big_endian = choose(from, 2);
    framing.counts_header = choose(from, 2);
    return framing;
}

static weir_framing choose_framing(choice *from)
{
    switch (choose(from, 8)) {
    case 0:
        return (weir_framing){ .kind = WEIR_FRAMING_NONE };
    case 1:
        return weir_framing_line();
    case 2:
        return (weir_framing){ .kind = WEIR_FRAMING_DELIMITER, .delimiter = (char)choose(from, 0x80) };
    case 3:
        return (weir_framing){ .kind = WEIR_FRAMING_CUSTOM, .frame = cut_body };
    case 4:
        return weir_framing_u16le_packet();
    case 5:
        return weir_framing_u32be();
    default:
        return choose_length(from);
    }
}

static uint32_t header_of(const message_format *format)
{
    return format->framing.kind == WEIR_FRAMING_LENGTH ? format->framing.header_size : 0;
}

static uint32_t trailer_of(const message_format *format)
{
    return format->framing.kind == WEIR_FRAMING_DELIMITER;
}

message_format message_choose(choice *from)
{
    static const uint32_t limits[] = { 64, 200, 1024, 5000, 20000, MESSAGE_MAX };
    message_format made = { .framing = choose_framing(from), .max_message = CHOOSE_ONE(from, limits) };
    made.least = header_of(&made) + MESSAGE_BODY_MIN + trailer_of(&made);
    made.most = made.max_message;
    if (made.framing.kind == WEIR_FRAMING_LENGTH && made.framing.length_size < 4) {
        uint32_t most = (1U << 8 * made.framing.length_size) - 1 + (made.framing.counts_header ? 0 : header_of(&made));
        if (made.most > most) made.most = most;
    }
    return made;
}

/* ---- messages ---- */

static void put_header(const message_format *format, uint8_t *out, uint32_t size)
{
    const weir_framing *framing = &format->framing;
    for (uint32_t i = 0; i < header_of(format); i++) out[i] = (uint8_t)(0x5a ^ i);
    uint32_t length = framing->counts_header ? size : size - header_of(format);
    for (uint32_t i = 0; i < framing->length_size; i++) {
        uint32_t shift = 8 * (framing->big_endian ? framing->length_size - 1 - i : i);
        out[framing->length_offset + i] = (uint8_t)(length >> shift);
    }
}

void message_write(const message_format *format, const message_label *label, uint8_t *out)
{
    uint32_t header = header_of(format), trailer = trailer_of(format);
    if (header) put_header(format, out, label->size);
    uint8_t *body = out + header;
    uint32_t size = label->size - header - trailer;
    put_number(body, label->end);
    put_number(body + 4, label->channel << 23 | label->place);
    put_number(body + 8, label->size);
    uint64_t key = key_of(label);
    for (uint32_t i = MESSAGE_BODY_MIN; i < size; i++) body[i] = fill(key, i);
    if (trailer) body[size] = (uint8_t)format->framing.delimiter;
}

static const char *read_label(const uint8_t *body, message_label *out)
{
    if (!is_number(body) || !is_number(body + 4) || !is_number(body + 8)) return "bytes that nobody sent";
    uint32_t place = get_number(body + 4);
    *out = (message_label){
        .end = get_number(body), .channel = place >> 23, .place = place & 0x7fffff, .size = get_number(body + 8)
    };
    return NULL;
}

const char *message_read(const message_format *format, const uint8_t *bytes, size_t size, message_label *out)
{
    uint32_t header = header_of(format), trailer = trailer_of(format);
    if (size < header + MESSAGE_BODY_MIN + trailer) return "a message shorter than any that was sent";
    if (size > format->max_message) return "a message longer than max_message";
    const uint8_t *body = bytes + header;
    const char *wrong = read_label(body, out);
    if (wrong) return wrong;
    if (out->size != size) return "a message of another size than was sent";
    if (header) {
        uint8_t expected[64];
        put_header(format, expected, out->size);
        if (memcmp(expected, bytes, header) != 0) return "a header that nobody sent";
    }
    uint64_t key = key_of(out);
    uint32_t body_size = (uint32_t)size - header - trailer;
    for (uint32_t i = MESSAGE_BODY_MIN; i < body_size; i++)
        if (body[i] != fill(key, i)) return "a message whose bytes have changed";
    if (trailer && body[body_size] != (uint8_t)format->framing.delimiter) return "a message without its delimiter";
    return NULL;
}

/* The numbers have come: what they say, if they can be true. */
static const char *begin_piece(const message_format *format, message_piece *piece)
{
    uint32_t header = header_of(format);
    const char *wrong = read_label(piece->head + header, &piece->label);
    if (wrong) return wrong;
    if (piece->label.size < format->least || piece->label.size > format->most)
        return "a message of a size that nobody sent";
    uint8_t expected[64];
    if (header) put_header(format, expected, piece->label.size);
    return header && memcmp(expected, piece->head, header) != 0 ? "a header that nobody sent" : NULL;
}

size_t message_feed(const message_format *format, message_piece *piece, const uint8_t *bytes, size_t size, bool *whole,
                    const char **wrong)
{
    uint32_t header = header_of(format), trailer = trailer_of(format), head = header + MESSAGE_BODY_MIN;
    size_t used = 0;
    *wrong = NULL;
    *whole = false;
    if (piece->have < head) {
        while (piece->have < head && used < size) piece->head[piece->have++] = bytes[used++];
        if (piece->have < head) return used;
        *wrong = begin_piece(format, piece);
        if (*wrong) return used;
    }
    uint64_t key = key_of(&piece->label);
    for (; piece->have < piece->label.size && used < size; used++, piece->have++) {
        bool is_body = piece->have < piece->label.size - trailer;
        uint8_t expected = is_body ? fill(key, piece->have - header) : (uint8_t)format->framing.delimiter;
        if (bytes[used] != expected) *wrong = "a stream whose bytes have changed";
    }
    *whole = piece->have == piece->label.size;
    return used;
}

/* ---- what is no message ---- */

static size_t spoil_length(const message_format *format, choice *from, uint8_t *out, int *error)
{
    uint32_t header = header_of(format);
    if (format->framing.counts_header && choose(from, 2)) { /* shorter than itself: the size of 0 is the classic one */
        put_header(format, out, choose(from, 2) ? 0 : (uint32_t)choose(from, header));
        *error = WEIR_EFRAME;
    } else {
        if (format->most < format->max_message) return 0; /* the field cannot say as much */
        uint64_t largest = format->framing.length_size == 4 ? UINT32_MAX : (1U << 8 * format->framing.length_size) - 1;
        if (!format->framing.counts_header) largest += header;
        if (largest <= format->max_message) return 0;
        put_header(format, out, format->max_message + 1);
        *error = WEIR_EMSGSIZE;
    }
    return header;
}

size_t message_spoil(const message_format *format, choice *from, uint8_t *out, int *error)
{
    switch (format->framing.kind) {
    case WEIR_FRAMING_LENGTH:
        return spoil_length(format, from, out, error);
    case WEIR_FRAMING_DELIMITER:
        memset(out, HIGH, format->max_message);
        *error = WEIR_EMSGSIZE;
        return format->max_message;
    case WEIR_FRAMING_CUSTOM:
        memset(out, 1, MESSAGE_BODY_MIN);
        *error = WEIR_EFRAME;
        return MESSAGE_BODY_MIN;
    default:
        return 0;
    }
}
