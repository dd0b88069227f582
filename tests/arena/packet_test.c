/* Packets: what is written is read again, and nothing else is. */
#include "harness/weir_test.h"
#include "packet.h"
#include <string.h>

static const uint8_t text[] = "hello";
static const struct text hello = { text, 5 };

/* Reads what was written, and writes it again: the same bytes. */
static struct packet there_and_back(const struct packet *packet)
{
    struct packet read;
    weir_buf *first = packet_write(packet);
    cr_assert_not_null(first);
    cr_assert(packet_read(&read, weir_buf_bytes(first), weir_buf_size(first)));
    weir_buf *second = packet_write(&read);
    cr_assert_eq(weir_buf_size(first), weir_buf_size(second));
    cr_assert_arr_eq(weir_buf_bytes(first), weir_buf_bytes(second), weir_buf_size(first));
    if (read.id == PACKET_CHAT) read.as.chat = hello; /* it points into the bytes, which go now */
    if (read.id == PACKET_SAID) read.as.said.text = hello;
    weir_buf_release(first);
    weir_buf_release(second);
    return read;
}

Test(packet, of_a_client_is_read_as_it_was_written)
{
    struct packet join = { .id = PACKET_JOIN, .as.join = { .version = 1, .room = 0x1234 } };
    join = there_and_back(&join);
    cr_assert_eq(join.as.join.version, 1);
    cr_assert_eq(join.as.join.room, 0x1234);
    struct packet input = { .id = PACKET_INPUT, .as.input = { .number = 0xfedcba98, .dx = -1280, .dy = 1279 } };
    input = there_and_back(&input);
    cr_assert_eq(input.as.input.number, 0xfedcba98);
    cr_assert_eq(input.as.input.dx, -1280);
    cr_assert_eq(input.as.input.dy, 1279);
    struct packet chat = { .id = PACKET_CHAT, .as.chat = hello };
    chat = there_and_back(&chat);
    cr_assert_eq(chat.as.chat.size, 5);
    struct packet ping = { .id = PACKET_PING, .as.time_ns = UINT64_C(0x0123456789abcdef) };
    ping = there_and_back(&ping);
    cr_assert_eq(ping.as.time_ns, UINT64_C(0x0123456789abcdef));
}

Test(packet, of_the_server_is_read_as_it_was_written)
{
    struct packet welcome = { .id = PACKET_WELCOME,
                              .as.welcome = { .room = 7,
                                              .hz = 30,
                                              .tick = 9,
                                              .chats = 11,
                                              .place = { 12, WORLD_SIZE - 1 },
                                              .player = PLAYERS_MAX - 1 } };
    welcome = there_and_back(&welcome);
    cr_assert_eq(welcome.as.welcome.hz, 30);
    cr_assert_eq(welcome.as.welcome.place.y, WORLD_SIZE - 1);
    cr_assert_eq(welcome.as.welcome.player, PLAYERS_MAX - 1);
    struct packet said = { .id = PACKET_SAID, .as.said = { .number = 3, .player = 4, .text = hello } };
    said = there_and_back(&said);
    cr_assert_eq(said.as.said.number, 3);
    cr_assert_eq(said.as.said.player, 4);
    there_and_back(&(struct packet){ .id = PACKET_PONG, .as.time_ns = 1 });
    there_and_back(&(struct packet){ .id = PACKET_CLOSING, .as.seconds_left = 5 });
    for (int why = 0; why < GOODBYE_COUNT; why++)
        there_and_back(&(struct packet){ .id = PACKET_GOODBYE, .as.why = (enum goodbye)why });
}

Test(packet, a_snapshot_of_a_full_room_that_all_leave_is_read_as_it_was_written)
{
    struct packet packet = { .id = PACKET_SNAPSHOT,
                             .as.snapshot = { .tick = 5, .gone_count = PLAYERS_MAX, .record_count = PLAYERS_MAX } };
    for (int i = 0; i < PLAYERS_MAX; i++) {
        packet.as.snapshot.gone[i] = (uint8_t)i;
        packet.as.snapshot.records[i] = (struct record){ (uint8_t)i, (uint8_t)(i * 3), (uint16_t)(i * 7), 65535 };
    }
    struct packet read = there_and_back(&packet);
    cr_assert_eq(read.as.snapshot.record_count, PLAYERS_MAX);
    cr_assert_eq(read.as.snapshot.records[99].x, 99 * 7);
    cr_assert_eq(read.as.snapshot.gone[99], 99);
}

/* ---- what is refused ---- */

#define REFUSED(...)                                        \
    do {                                                    \
        const uint8_t bytes[] = { __VA_ARGS__ };            \
        struct packet out;                                  \
        cr_expect(!packet_read(&out, bytes, sizeof bytes)); \
    } while (0)

Test(packet, cut_short_anywhere_or_with_more_behind_it_is_refused)
{
    struct packet packets[] = {
        { .id = PACKET_JOIN },
        { .id = PACKET_INPUT },
        { .id = PACKET_PING },
        { .id = PACKET_WELCOME, .as.welcome.hz = 30 },
        { .id = PACKET_SNAPSHOT, .as.snapshot = { .gone_count = 2, .record_count = 2 } },
        { .id = PACKET_CLOSING },
        { .id = PACKET_GOODBYE },
    };
    for (size_t i = 0; i < sizeof packets / sizeof packets[0]; i++) {
        struct packet out;
        uint8_t bytes[64] = { 0 };
        weir_buf *buf = packet_write(&packets[i]);
        size_t size = weir_buf_size(buf);
        memcpy(bytes, weir_buf_bytes(buf), size);
        for (size_t cut = 0; cut <= size + 1; cut++) {
            bytes[0] = (uint8_t)cut; /* its header says so too */
            cr_expect_eq(packet_read(&out, bytes, cut), cut == size, "packet %d of %zu bytes", (int)packets[i].id, cut);
        }
        weir_buf_release(buf);
    }
}

Test(packet, whose_header_says_another_size_is_refused)
{
    REFUSED(9, 0, PACKET_JOIN, 0, 1, 0, 0, 0);
}

Test(packet, with_an_id_that_is_none_is_refused)
{
    REFUSED(4, 0, 0, 0);
    REFUSED(4, 0, 5, 0);
    REFUSED(4, 0, 107, 0);
    REFUSED(8, 0, PACKET_JOIN, 1, 1, 0, 0, 0); /* 257 */
}

Test(packet, with_a_number_out_of_its_bounds_is_refused)
{
    REFUSED(5, 0, PACKET_GOODBYE, 0, GOODBYE_COUNT);
    REFUSED(11, 0, PACKET_SNAPSHOT, 0, 1, 0, 0, 0, 2, 0, 0);              /* neither whole nor not */
    REFUSED(12, 0, PACKET_SNAPSHOT, 0, 1, 0, 0, 0, 0, 1, 0, PLAYERS_MAX); /* nobody has that place */
    REFUSED(17, 0, PACKET_SNAPSHOT, 0, 1, 0, 0, 0, 0, 0, 1, PLAYERS_MAX, 0, 0, 0, 0, 0);
    REFUSED(11, 0, PACKET_SNAPSHOT, 0, 1, 0, 0, 0, 0, PLAYERS_MAX + 1, 0);
    REFUSED(10, 0, PACKET_SAID, 0, 1, 0, 0, 0, PLAYERS_MAX, 'x');
}

Test(packet, a_welcome_at_no_rate_or_out_of_the_world_is_refused)
{
    REFUSED(25, 0, PACKET_WELCOME, 0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0);
    REFUSED(25, 0, PACKET_WELCOME, 0, 1, 0, 30, 0, 1, 0, 0, 0, 0, 0, 16, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0);
}

Test(packet, a_text_that_is_empty_too_long_or_not_printable_is_refused)
{
    uint8_t bytes[4 + TEXT_MAX + 1] = { 0, 0, PACKET_CHAT, 0 };
    struct packet out;
    memset(bytes + 4, 'a', TEXT_MAX + 1);
    for (size_t size = 0; size <= TEXT_MAX + 1; size++) {
        bytes[0] = (uint8_t)(4 + size);
        cr_expect_eq(packet_read(&out, bytes, 4 + size), size > 0 && size <= TEXT_MAX, "%zu bytes", size);
    }
    for (int byte = 0; byte < 256; byte++) {
        bytes[0] = 6;
        bytes[5] = (uint8_t)byte;
        cr_expect_eq(packet_read(&out, bytes, 6), byte >= 0x20 && byte != 0x7f, "byte %d", byte);
    }
}
