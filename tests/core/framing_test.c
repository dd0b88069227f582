/* Cutting a stream into messages: every framing, every cut, every refusal. */
#include <stdlib.h>
#include <string.h>
#include <weir/error.h>

#include "core/framing.h"
#include "harness/weir_test.h"

#define COUNT(array) (sizeof(array) / sizeof *(array))

enum { MAX = 1000 }; /* max_message where a test does not care */

static weir_framing checked(weir_framing framing)
{
    const char *why = NULL;
    cr_assert_eq(wr_framing_check(&framing, &why), 0, "%s", why);
    return framing;
}

/* next: wr_framing_next on a copy of exactly `size` bytes, so that AddressSanitizer sees a read beyond them. */
static int64_t next(const weir_framing *framing, uint32_t max_message, const void *bytes, size_t size,
                    uint32_t *scanned)
{
    uint8_t *copy = malloc(size);
    cr_assert_not_null(copy);
    memcpy(copy, bytes, size);
    int64_t result = wr_framing_next(framing, max_message, copy, size, scanned);
    free(copy);
    return result;
}

/* first: the same at the start of a frame. */
static int64_t first(const weir_framing *framing, uint32_t max_message, const void *bytes, size_t size)
{
    uint32_t scanned = 0;
    return next(framing, max_message, bytes, size, &scanned);
}

/* expect_frames: the stream consists of frames of these sizes, however it is cut: whatever of it has come, the
 * first frame is either not known yet or known rightly; it is known for certain when all of it is there, and once known
 * it stays so. Returns how many bytes of a frame it took at most to know its size. */
static size_t expect_frames(const weir_framing *framing, const void *stream, const size_t *sizes, size_t count)
{
    const uint8_t *frame = stream;
    size_t needed = 0, total = 0;
    for (size_t i = 0; i < count; i++) total += sizes[i];
    for (size_t i = 0; i < count; i++) {
        uint32_t scanned = 0; /* one for the whole frame, as the connection does it */
        bool known = false;
        for (size_t have = 1; have <= sizes[i]; have++) {
            int64_t result = next(framing, MAX, frame, have, &scanned);
            if (result == 0 && !known && have < sizes[i]) continue;
            cr_assert_eq(result, (int64_t)sizes[i], "frame %zu with %zu bytes of it: %lld", i, have, (long long)result);
            if (!known && have > needed) needed = have;
            known = true;
        }
        /* What follows, whole or cut, changes nothing. */
        for (size_t have = sizes[i]; have <= total; have++)
            cr_assert_eq(first(framing, MAX, frame, have), (int64_t)sizes[i], "frame %zu with %zu bytes", i, have);
        frame += sizes[i];
        total -= sizes[i];
    }
    return needed;
}

/* No framing. */

Test(framing, none_takes_bytes_as_they_come)
{
    weir_framing framing = checked((weir_framing){ 0 });
    cr_assert_eq(first(&framing, MAX, "abc", 3), 3);
    cr_assert_eq(first(&framing, MAX, "a", 1), 1);
}

Test(framing, none_cuts_at_max_message)
{
    weir_framing framing = checked((weir_framing){ 0 });
    cr_assert_eq(first(&framing, 3, "abc", 3), 3);
    cr_assert_eq(first(&framing, 3, "abcd", 4), 3);
}

/* A length in a header. */

Test(framing, packets_of_a_korean_game_course_are_cut_anywhere)
{
    const uint8_t stream[] = { 4, 0, 1, 0, /**/ 6, 0, 2, 0, 9, 9, /**/ 5, 0, 3, 0, 0 };
    weir_framing framing = checked(weir_framing_u16le_packet());
    cr_assert_eq(expect_frames(&framing, stream, (const size_t[]){ 4, 6, 5 }, 3), 2, "the size comes first");
}

Test(framing, u32be_lengths_do_not_count_themselves)
{
    const uint8_t stream[] = { 0, 0, 0, 0, /**/ 0, 0, 0, 3, 'a', 'b', 'c', /**/ 0, 0, 0, 1, 0xff };
    weir_framing framing = checked(weir_framing_u32be());
    cr_assert_eq(expect_frames(&framing, stream, (const size_t[]){ 4, 7, 5 }, 3), 4);
}

Test(framing, a_length_may_stand_anywhere_in_its_header)
{
    /* [type][flag][u16be size of the body][u8 sum] */
    const uint8_t stream[] = { 7, 1, 0, 2, 0xee, 'a', 'b', /**/ 8, 0, 0, 0, 0xee, /**/ 9, 0, 0, 1, 0xee, 'c' };
    weir_framing framing = checked((weir_framing){
        .kind = WEIR_FRAMING_LENGTH, .header_size = 5, .length_offset = 2, .length_size = 2, .big_endian = true });
    cr_assert_eq(expect_frames(&framing, stream, (const size_t[]){ 7, 5, 6 }, 3), 4,
                 "known with the length, before the header ends");
}

Test(framing, one_byte_lengths_reach_255)
{
    uint8_t stream[256] = { 255 };
    weir_framing framing = checked((weir_framing){ .kind = WEIR_FRAMING_LENGTH, .length_size = 1 });
    cr_assert_eq(expect_frames(&framing, stream, (const size_t[]){ 256 }, 1), 1);
    framing.counts_header = true;
    cr_assert_eq(expect_frames(&framing, stream, (const size_t[]){ 255 }, 1), 1);
}

Test(framing, bytes_are_ordered_as_the_framing_says)
{
    const uint8_t bytes[] = { 0x01, 0x02, 0x03, 0x04 };
    const struct {
        uint8_t length_size;
        bool big_endian;
        int64_t length;
    } cases[] = {
        { 1, false, 0x01 },  { 1, true, 0x01 },        { 2, false, 0x0201 },
        { 2, true, 0x0102 }, { 4, false, 0x04030201 }, { 4, true, 0x01020304 },
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        weir_framing framing = checked((weir_framing){
            .kind = WEIR_FRAMING_LENGTH, .length_size = cases[i].length_size, .big_endian = cases[i].big_endian });
        cr_assert_eq(first(&framing, UINT32_MAX, bytes, sizeof bytes), cases[i].length + cases[i].length_size);
        framing.counts_header = true;
        int64_t expected = cases[i].length < cases[i].length_size ? WEIR_EFRAME : cases[i].length;
        cr_assert_eq(first(&framing, UINT32_MAX, bytes, sizeof bytes), expected);
    }
}

Test(framing, a_length_shorter_than_its_header_is_malformed)
{
    weir_framing framing = checked(weir_framing_u16le_packet());
    for (uint8_t length = 0; length < 4; length++) {
        const uint8_t bytes[] = { length, 0, 1, 0 };
        cr_assert_eq(first(&framing, MAX, bytes, 4), WEIR_EFRAME, "length %d", length);
        cr_assert_eq(first(&framing, MAX, bytes, 2), WEIR_EFRAME, "told as soon as the length is there");
        cr_assert_eq(first(&framing, MAX, bytes, 1), 0);
    }
}

Test(framing, a_length_may_reach_max_message_and_not_pass_it)
{
    weir_framing counting = checked(weir_framing_u16le_packet()), body = checked(weir_framing_u32be());
    cr_assert_eq(first(&counting, 300, (const uint8_t[]){ 300 & 255, 300 >> 8, 1, 0 }, 4), 300);
    cr_assert_eq(first(&counting, 300, (const uint8_t[]){ 301 & 255, 301 >> 8, 1, 0 }, 4), WEIR_EMSGSIZE);
    cr_assert_eq(first(&body, 100, (const uint8_t[]){ 0, 0, 0, 96 }, 4), 100);
    cr_assert_eq(first(&body, 100, (const uint8_t[]){ 0, 0, 0, 97 }, 4), WEIR_EMSGSIZE);
    cr_assert_eq(first(&body, 3, (const uint8_t[]){ 0, 0, 0, 0 }, 4), WEIR_EMSGSIZE, "the header alone is too long");
}

Test(framing, the_largest_length_and_its_header_do_not_overflow)
{
    const uint8_t ones[] = { 0xff, 0xff, 0xff, 0xff };
    weir_framing framing = checked(weir_framing_u32be());
    cr_assert_eq(first(&framing, MAX, ones, 4), WEIR_EMSGSIZE);
    cr_assert_eq(first(&framing, UINT32_MAX, ones, 4), WEIR_EMSGSIZE, "4 GiB and 3 bytes are over 4 GiB");
    framing.counts_header = true;
    cr_assert_eq(first(&framing, UINT32_MAX, ones, 4), (int64_t)UINT32_MAX);
}

/* A delimiter. */

Test(framing, lines_are_cut_anywhere)
{
    weir_framing framing = checked(weir_framing_line());
    const char stream[] = "hello\n\nx\r\n\n";
    expect_frames(&framing, stream, (const size_t[]){ 6, 1, 3, 1 }, 4);
}

Test(framing, any_byte_can_be_a_delimiter)
{
    const char delimiters[] = { 0, 1, '|', '\x7f', '\x80', '\xff' };
    for (size_t i = 0; i < COUNT(delimiters); i++) {
        weir_framing framing = checked((weir_framing){ .kind = WEIR_FRAMING_DELIMITER, .delimiter = delimiters[i] });
        const char stream[] = { 'a', 'b', delimiters[i], delimiters[i], 'c', delimiters[i] };
        expect_frames(&framing, stream, (const size_t[]){ 3, 1, 2 }, 3);
    }
}

Test(framing, what_was_scanned_is_not_scanned_again)
{
    weir_framing framing = checked(weir_framing_line());
    uint32_t scanned = 0;
    cr_assert_eq(next(&framing, MAX, "abcd", 4, &scanned), 0);
    cr_assert_eq(scanned, 4);
    /* A delimiter that was not there before shows whether the first four bytes are looked at. */
    cr_assert_eq(next(&framing, MAX, "a\ncdef", 6, &scanned), 0);
    cr_assert_eq(scanned, 6);
    cr_assert_eq(next(&framing, MAX, "a\ncdef\n\n", 8, &scanned), 7);
    cr_assert_eq(scanned, 0, "ready for the next frame");
}

Test(framing, a_line_may_reach_max_message_and_not_pass_it)
{
    weir_framing framing = checked(weir_framing_line());
    cr_assert_eq(first(&framing, 4, "abc\n", 4), 4);
    cr_assert_eq(first(&framing, 4, "abc", 3), 0);
    cr_assert_eq(first(&framing, 4, "abcd", 4), WEIR_EMSGSIZE);
    cr_assert_eq(first(&framing, 4, "abcd\n", 5), WEIR_EMSGSIZE);
    uint32_t scanned = 0;
    for (size_t have = 1; have < 4; have++) cr_assert_eq(next(&framing, 4, "abcd", have, &scanned), 0);
    cr_assert_eq(next(&framing, 4, "abcd", 4, &scanned), WEIR_EMSGSIZE);
}

/* The embedder's own. */

struct script {
    int64_t result;
    size_t size; /* that it was called with */
    char byte;
};

static int64_t scripted(const void *bytes, size_t size, void *data)
{
    struct script *script = data;
    script->size = size;
    script->byte = *(const char *)bytes;
    return script->result;
}

/* custom: what comes of a function's result when there are 5 bytes and max_message is 10. */
static int64_t custom(int64_t result)
{
    struct script script = { .result = result };
    weir_framing framing = checked((weir_framing){ .kind = WEIR_FRAMING_CUSTOM, .frame = scripted, .data = &script });
    int64_t size = first(&framing, 10, "hello", 5);
    cr_assert(script.size == 5 && script.byte == 'h', "called with the bytes, their number and the data");
    return size;
}

Test(framing, a_custom_function_decides)
{
    cr_assert_eq(custom(0), 0);
    cr_assert_eq(custom(1), 1);
    cr_assert_eq(custom(5), 5);
    cr_assert_eq(custom(10), 10);
}

Test(framing, a_custom_function_is_not_trusted)
{
    cr_assert_eq(custom(-1), WEIR_EFRAME);
    cr_assert_eq(custom(WEIR_EMSGSIZE), WEIR_EFRAME, "any negative number means malformed");
    cr_assert_eq(custom(INT64_MIN), WEIR_EFRAME);
    cr_assert_eq(custom(11), WEIR_EMSGSIZE);
    cr_assert_eq(custom((int64_t)1 << 32), WEIR_EMSGSIZE);
    cr_assert_eq(custom(((int64_t)1 << 32) + 5), WEIR_EMSGSIZE);
    cr_assert_eq(custom(INT64_MAX), WEIR_EMSGSIZE);
}

Test(framing, a_custom_function_that_never_decides_ends_at_max_message)
{
    struct script script = { .result = 0 };
    weir_framing framing = checked((weir_framing){ .kind = WEIR_FRAMING_CUSTOM, .frame = scripted, .data = &script });
    cr_assert_eq(first(&framing, 5, "hell", 4), 0);
    cr_assert_eq(first(&framing, 5, "hello", 5), WEIR_EMSGSIZE);
}

/* [u8 count][count x u16]: a size that only a function can tell. */
static int64_t counted_pairs(const void *bytes, size_t size, void *data)
{
    (void)size;
    (void)data;
    return 1 + 2 * *(const uint8_t *)bytes;
}

Test(framing, custom_frames_are_cut_anywhere)
{
    const uint8_t stream[] = { 0, /**/ 2, 1, 1, 2, 2, /**/ 1, 3, 3 };
    weir_framing framing = checked((weir_framing){ .kind = WEIR_FRAMING_CUSTOM, .frame = counted_pairs });
    expect_frames(&framing, stream, (const size_t[]){ 1, 5, 3 }, 3);
}

/* Begins with '<', and goes to where the next one begins. */
static int64_t until_next(const void *bytes, size_t size, void *data)
{
    (void)data;
    const char *begin = bytes, *next = size > 1 ? memchr(begin + 1, '<', size - 1) : NULL;
    if (*begin != '<') return -1;
    return next ? next - begin : 0;
}

/* However much has come: a frame that can only be told by looking beyond max_message is too large, and so is one that
 * only turns out to be malformed there. */
Test(framing, a_custom_function_sees_no_more_than_max_message)
{
    weir_framing framing = checked((weir_framing){ .kind = WEIR_FRAMING_CUSTOM, .frame = until_next });
    cr_assert_eq(first(&framing, 5, "<abc<", 5), 4);
    cr_assert_eq(first(&framing, 5, "<abcd", 5), WEIR_EMSGSIZE);
    cr_assert_eq(first(&framing, 5, "<abcd<", 6), WEIR_EMSGSIZE);
    struct script script = { .result = 0 };
    framing = checked((weir_framing){ .kind = WEIR_FRAMING_CUSTOM, .frame = scripted, .data = &script });
    cr_assert_eq(first(&framing, 5, "hello, and more", 15), WEIR_EMSGSIZE);
    cr_assert_eq(script.size, 5);
}

/* What is refused beforehand. */

static void expect_refused(weir_framing framing, const char *reason)
{
    const char *why = NULL;
    cr_assert_eq(wr_framing_check(&framing, &why), WEIR_EINVAL, "expected: %s", reason);
    cr_assert_not_null(why);
    cr_assert_not_null(strstr(why, reason), "\"%s\" does not say \"%s\"", why, reason);
}

Test(framing, a_check_names_what_cannot_work)
{
    for (unsigned size = 0; size < 256; size++) {
        if (size == 1 || size == 2 || size == 4) continue;
        expect_refused((weir_framing){ .kind = WEIR_FRAMING_LENGTH, .length_size = (uint8_t)size }, "length_size");
    }
    weir_framing framing = { .kind = WEIR_FRAMING_LENGTH, .length_size = 2, .header_size = 3, .length_offset = 2 };
    expect_refused(framing, "ends after the frame header");
    framing.header_size = 1;
    expect_refused(framing, "ends after the frame header");
    framing.header_size = 65;
    expect_refused(framing, "64 bytes");
    framing.header_size = 0;
    framing.length_offset = 63;
    expect_refused(framing, "64 bytes");
    framing.length_offset = 255; /* must not wrap around to 1 */
    expect_refused(framing, "64 bytes");
    expect_refused((weir_framing){ .kind = WEIR_FRAMING_CUSTOM }, "NULL");
    expect_refused((weir_framing){ .kind = (weir_framing_kind)4 }, "kind");
    expect_refused((weir_framing){ .kind = (weir_framing_kind)77 }, "kind");
}

Test(framing, a_check_fills_in_the_header)
{
    weir_framing framing =
        checked((weir_framing){ .kind = WEIR_FRAMING_LENGTH, .length_offset = 60, .length_size = 4 });
    cr_assert_eq(framing.header_size, 64);
    framing = checked((weir_framing){ .kind = WEIR_FRAMING_LENGTH, .header_size = 9, .length_size = 4 });
    cr_assert_eq(framing.header_size, 9, "a given one stays");
}

Test(framing, the_presets_are_what_they_say)
{
    weir_framing line = weir_framing_line(), packet = weir_framing_u16le_packet(), body = weir_framing_u32be();
    cr_assert(line.kind == WEIR_FRAMING_DELIMITER && line.delimiter == '\n');
    cr_assert(packet.kind == WEIR_FRAMING_LENGTH && packet.header_size == 4 && packet.length_offset == 0);
    cr_assert(packet.length_size == 2 && packet.counts_header && !packet.big_endian);
    cr_assert(body.kind == WEIR_FRAMING_LENGTH && body.header_size == 4 && body.length_offset == 0);
    cr_assert(body.length_size == 4 && !body.counts_header && body.big_endian);
}
