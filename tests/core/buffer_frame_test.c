/* weir_buf_frame and weir_buf_packet: what they make is what framing cuts. */
#include <stdlib.h>
#include <string.h>
#include <weir/buffer.h>
#include <weir/error.h>

#include "core/framing.h"
#include "harness/weir_test.h"

enum { MOST = 1 << 20 };

/* The buffer is one whole frame with that body; the body begins after `header` bytes. */
static void check_frame(const weir_framing *framing, const char *body, size_t size)
{
    const char *why;
    weir_framing checked = *framing;
    uint32_t scanned = 0;
    cr_assert_eq(wr_framing_check(&checked, &why), 0);
    weir_buf *buf = weir_buf_frame(framing, body, size);
    cr_assert_not_null(buf);
    size_t header = checked.kind == WEIR_FRAMING_LENGTH ? checked.header_size : 0;
    size_t whole = header + size + (checked.kind == WEIR_FRAMING_DELIMITER);
    const uint8_t *bytes = weir_buf_bytes(buf);
    cr_assert_eq(weir_buf_size(buf), whole);
    cr_assert_eq(wr_framing_next(&checked, MOST, bytes, whole, &scanned), (int64_t)whole);
    cr_assert(memcmp(bytes + header, body, size) == 0);
    weir_buf_release(buf);
}

Test(buffer_frame, makes_what_every_framing_with_a_length_cuts)
{
    static char body[300];
    const uint8_t sizes[] = { 1, 2, 4 };
    memset(body, 'b', sizeof body);
    for (unsigned i = 0; i < 3; i++)
        for (unsigned variant = 0; variant < 4; variant++)
            for (uint8_t offset = 0; offset < 5; offset++)
                for (uint8_t rest = 0; rest < 3; rest++) {
                    weir_framing framing = { .kind = WEIR_FRAMING_LENGTH,
                                             .header_size = rest ? (uint8_t)(offset + sizes[i] + rest) : 0,
                                             .length_offset = offset,
                                             .length_size = sizes[i],
                                             .big_endian = variant & 1,
                                             .counts_header = variant >> 1 };
                    check_frame(&framing, body, 0);
                    check_frame(&framing, body, 1);
                    check_frame(&framing, body, 200);
                    if (sizes[i] > 1) check_frame(&framing, body, sizeof body);
                }
}

Test(buffer_frame, leaves_the_rest_of_the_header_zero)
{
    weir_framing framing = { .kind = WEIR_FRAMING_LENGTH, .header_size = 8, .length_offset = 2, .length_size = 2 };
    weir_buf *buf = weir_buf_frame(&framing, "body", 4);
    cr_assert_arr_eq(weir_buf_bytes(buf), "\0\0\4\0\0\0\0\0body", 12);
    weir_buf_release(buf);
}

Test(buffer_frame, puts_the_delimiter_behind_the_body)
{
    weir_framing line = weir_framing_line();
    check_frame(&line, "a line", 6);
    check_frame(&line, "", 0);
    weir_buf *buf = weir_buf_frame(&line, "a line", 6);
    cr_assert_arr_eq(weir_buf_bytes(buf), "a line\n", 7);
    weir_buf_release(buf);
}

Test(buffer_frame, adds_nothing_where_there_is_no_framing)
{
    const weir_framing none = { .kind = WEIR_FRAMING_NONE };
    check_frame(&none, "bytes", 5);
}

Test(buffer_frame, refuses_what_the_length_cannot_say)
{
    static char body[70000];
    weir_framing framing = { .kind = WEIR_FRAMING_LENGTH, .length_size = 1 };
    check_frame(&framing, body, 255);
    cr_assert_null(weir_buf_frame(&framing, body, 256));
    framing.counts_header = true;
    check_frame(&framing, body, 254);
    cr_assert_null(weir_buf_frame(&framing, body, 255));
    framing.length_size = 2;
    check_frame(&framing, body, 65533);
    cr_assert_null(weir_buf_frame(&framing, body, 65534));
#if SIZE_MAX > UINT32_MAX
    framing.length_size = 4;
    cr_assert_null(weir_buf_frame(&framing, body, UINT32_MAX));
    cr_assert_null(weir_buf_frame(&framing, body, SIZE_MAX), "not even the sum can be said");
    framing.counts_header = false;
    cr_assert_null(weir_buf_frame(&framing, body, UINT32_MAX), "with the header it is more than a buffer holds");
#endif
}

static int64_t custom(const void *bytes, size_t size, void *data)
{
    (void)bytes, (void)size, (void)data;
    return 1;
}

Test(buffer_frame, refuses_what_would_not_be_cut_out_again)
{
    weir_framing framing = weir_framing_line();
    cr_assert_null(weir_buf_frame(&framing, "two\nlines", 9));
    cr_assert_null(weir_buf_frame(&framing, "line\n", 5));
    cr_assert_null(weir_buf_frame(&framing, NULL, 1));
    cr_assert_null(weir_buf_frame(&(weir_framing){ .kind = WEIR_FRAMING_CUSTOM, .frame = custom }, "x", 1));
    cr_assert_null(weir_buf_frame(&(weir_framing){ .kind = WEIR_FRAMING_LENGTH, .length_size = 3 }, "x", 1));
    cr_assert_null(weir_buf_frame(&(weir_framing){ .kind = (weir_framing_kind)77 }, "x", 1));
    weir_buf *buf = weir_buf_frame(NULL, "x", 1); /* as an all-zero one */
    cr_assert_eq(weir_buf_size(buf), 1);
    weir_buf_release(buf);
}

Test(buffer_frame, makes_packets_with_their_ids)
{
    static char body[65532];
    weir_framing framing = weir_framing_u16le_packet();
    weir_buf *buf = weir_buf_packet(0x1234, "body", 4);
    cr_assert_arr_eq(weir_buf_bytes(buf),
                     "\x08\x00\x34\x12"
                     "body",
                     8);
    weir_buf_release(buf);
    buf = weir_buf_packet(7, NULL, 0);
    cr_assert_arr_eq(weir_buf_bytes(buf), "\x04\x00\x07\x00", 4);
    weir_buf_release(buf);
    buf = weir_buf_packet(UINT16_MAX, body, 65531);
    uint32_t scanned = 0;
    cr_assert_eq(wr_framing_next(&framing, MOST, weir_buf_bytes(buf), weir_buf_size(buf), &scanned), 65535);
    weir_buf_release(buf);
    cr_assert_null(weir_buf_packet(1, body, 65532));
}
