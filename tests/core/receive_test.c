/* From bytes to messages, over real sockets: however the bytes arrive, the messages are the same. The runtime is
 * manual, so that a test knows what has been received when it goes on. */
#include <stdio.h>
#include <stdlib.h>

#include "core/world.h"

/* A stream of messages, and where each begins. */
typedef struct stream {
    uint8_t *bytes;
    size_t size, room;
    size_t starts[64];
    unsigned count;
} stream;

static void stream_put(stream *s, const void *bytes, size_t size)
{
    if (s->size + size > s->room) {
        s->room = (s->size + size) * 2;
        s->bytes = realloc(s->bytes, s->room);
        cr_assert_not_null(s->bytes);
    }
    cr_assert_not_null(s->bytes);
    memcpy(s->bytes + s->size, bytes, size);
    s->size += size;
}

static void stream_free(stream *s)
{
    free(s->bytes);
    *s = (stream){ 0 };
}

static void begin_message(stream *s)
{
    cr_assert_lt(s->count, 64);
    s->starts[s->count++] = s->size;
}

/* Appends a message with a body of `size` bytes as the framing wants it. */
static void put_message(stream *s, const weir_framing *framing, size_t size)
{
    uint8_t *body = malloc(size + 1);
    world_fill(body, size, s->count);
    begin_message(s);
    if (framing->kind == WEIR_FRAMING_LENGTH) {
        uint8_t header[64];
        unsigned header_size =
            framing->header_size ? framing->header_size : (unsigned)framing->length_offset + framing->length_size;
        memset(header, 0xee, sizeof header);
        size_t length = size + (framing->counts_header ? header_size : 0);
        for (unsigned i = 0; i < framing->length_size; i++) {
            unsigned at = framing->big_endian ? framing->length_size - 1 - i : i;
            header[framing->length_offset + at] = (uint8_t)(length >> 8 * i);
        }
        stream_put(s, header, header_size);
        stream_put(s, body, size);
    } else if (framing->kind == WEIR_FRAMING_DELIMITER) {
        for (size_t i = 0; i < size; i++)
            if (body[i] == (uint8_t)framing->delimiter) body[i] = 'x';
        stream_put(s, body, size);
        stream_put(s, &framing->delimiter, 1);
    } else { /* a netstring */
        char header[24];
        int length = snprintf(header, sizeof header, "%zu:", size);
        stream_put(s, header, (size_t)length);
        stream_put(s, body, size);
        stream_put(s, ",", 1);
    }
    free(body);
}

static int64_t frame_netstring(const void *bytes, size_t size, void *data)
{
    const char *text = bytes;
    size_t length = 0;
    cr_assert_not_null(data, "framing.data comes along");
    for (size_t i = 0; i < size; i++) {
        if (text[i] == ':') return (int64_t)(i + 1 + length + 1);
        if (text[i] < '0' || text[i] > '9') return -1;
        length = length * 10 + (size_t)(text[i] - '0');
    }
    return 0;
}

static const weir_framing NETSTRING = { .kind = WEIR_FRAMING_CUSTOM, .frame = frame_netstring, .data = "data" };

static const weir_framing framings[] = {
    { .kind = WEIR_FRAMING_LENGTH, .length_size = 1 },
    { .kind = WEIR_FRAMING_LENGTH, .length_size = 1, .counts_header = true },
    { .kind = WEIR_FRAMING_LENGTH, .length_size = 2 },
    { .kind = WEIR_FRAMING_LENGTH, .length_size = 2, .big_endian = true },
    { .kind = WEIR_FRAMING_LENGTH, .length_size = 2, .counts_header = true },
    { .kind = WEIR_FRAMING_LENGTH, .length_size = 2, .big_endian = true, .counts_header = true },
    { .kind = WEIR_FRAMING_LENGTH, .length_size = 4 },
    { .kind = WEIR_FRAMING_LENGTH, .length_size = 4, .big_endian = true },
    { .kind = WEIR_FRAMING_LENGTH, .length_size = 4, .counts_header = true },
    { .kind = WEIR_FRAMING_LENGTH, .length_size = 4, .big_endian = true, .counts_header = true },
    { .kind = WEIR_FRAMING_LENGTH, .length_size = 2, .length_offset = 3, .header_size = 9 },
    { .kind = WEIR_FRAMING_LENGTH, .length_size = 4, .length_offset = 4, .header_size = 12, .counts_header = true },
    { .kind = WEIR_FRAMING_LENGTH, .length_size = 2, .header_size = 4, .counts_header = true }, /* u16le_packet */
    { .kind = WEIR_FRAMING_DELIMITER, .delimiter = '\n' },
    { .kind = WEIR_FRAMING_DELIMITER, .delimiter = 0 },
    { .kind = WEIR_FRAMING_CUSTOM, .frame = frame_netstring, .data = "data" },
};

enum { FRAMINGS = sizeof framings / sizeof *framings };

/* The messages that came are those of the stream, whole and in order. */
static void check_messages(world *w, const stream *s, const char *when, size_t where)
{
    cr_assert_eq(w->kept_count, s->count, "%s %zu", when, where);
    for (unsigned i = 0; i < s->count; i++) {
        size_t end = i + 1 < s->count ? s->starts[i + 1] : s->size;
        cr_assert(world_message_is(w, i, s->bytes + s->starts[i], end - s->starts[i]), "message %u, %s %zu", i, when,
                  where);
    }
    world_forget(w);
}

/* Sends, and waits until that is received and served. */
static void send_and_serve(world *w, raw_peer peer, const void *bytes, size_t size)
{
    uint64_t received = world_stats(w).bytes_received + size;
    raw_send(peer, bytes, size);
    WORLD_AWAIT(w, world_stats(w).bytes_received == received);
    world_settle(w);
}

static void each_framing(size_t largest, void (*run)(world *w, raw_peer peer, const stream *s))
{
    for (int i = 0; i < FRAMINGS; i++) {
        world w = { .manual = true, .keeps = true, .protocol = { .framing = framings[i], .max_message = 1 << 20 } };
        stream s = { 0 };
        const size_t sizes[] = { 3, 0, 1, 100, 7, largest, 2 };
        for (unsigned j = 0; j < sizeof sizes / sizeof *sizes; j++) {
            bool fits = framings[i].kind != WEIR_FRAMING_LENGTH || framings[i].length_size > 1 || sizes[j] < 250;
            put_message(&s, &framings[i], fits ? sizes[j] : 250);
        }
        world_start(&w);
        raw_peer peer = world_connect(&w);
        WORLD_AWAIT(&w, w.opened == 1);
        run(&w, peer, &s);
        raw_close(peer);
        WORLD_AWAIT(&w, w.closed == 1);
        cr_assert_eq(w.error, WEIR_EEOF, "nothing is left over: %s", weir_error_name(w.error));
        world_stop(&w);
        stream_free(&s);
    }
}

static void cut_at_every_byte(world *w, raw_peer peer, const stream *s)
{
    for (size_t cut = 1; cut < s->size; cut++) {
        send_and_serve(w, peer, s->bytes, cut);
        unsigned before = 0;
        while (before < s->count && (before + 1 < s->count ? s->starts[before + 1] : s->size) <= cut) before++;
        cr_assert_eq(w->messages, before, "what is whole is delivered at once: cut at %zu", cut);
        send_and_serve(w, peer, s->bytes + cut, s->size - cut);
        check_messages(w, s, "cut at", cut);
    }
}

static void byte_by_byte(world *w, raw_peer peer, const stream *s)
{
    for (size_t i = 0; i < s->size; i++) send_and_serve(w, peer, s->bytes + i, 1);
    check_messages(w, s, "byte by byte", 0);
}

static void in_one_piece(world *w, raw_peer peer, const stream *s)
{
    for (int i = 0; i < 3; i++) {
        send_and_serve(w, peer, s->bytes, s->size);
        check_messages(w, s, "in one piece", 0);
    }
}

static void in_random_pieces(world *w, raw_peer peer, const stream *s)
{
    enum { ROUNDS = 20 / RAW_SLOWDOWN };
    uint64_t seed = 99;
    for (int round = 0; round < ROUNDS; round++) {
        size_t scale = (size_t)1 << (4 + world_random(&seed) % 14);
        for (size_t done = 0; done < s->size;) {
            size_t piece = 1 + world_random(&seed) % scale;
            if (piece > s->size - done) piece = s->size - done;
            send_and_serve(w, peer, s->bytes + done, piece);
            done += piece;
        }
        check_messages(w, s, "round", (size_t)round);
    }
}

Test(receive, messages_cut_at_any_byte_arrive_whole, .timeout = 60)
{
    each_framing(40, cut_at_every_byte);
}

Test(receive, messages_that_come_a_byte_at_a_time_arrive_whole)
{
    each_framing(300, byte_by_byte);
}

Test(receive, many_messages_in_one_read_arrive_each_by_itself)
{
    each_framing(1000, in_one_piece);
}

Test(receive, messages_in_pieces_of_any_size_arrive_whole, .timeout = 60)
{
    each_framing(30000 / RAW_SLOWDOWN, in_random_pieces);
}

/* ---- without framing ---- */

Test(receive, without_framing_all_bytes_arrive_in_pieces_of_up_to_max_message)
{
    enum { SIZE = 200000, PIECE = 1000 };
    world w = { .manual = true, .keeps = true, .protocol = { .max_message = PIECE } };
    uint8_t *bytes = malloc(SIZE);
    world_fill(bytes, SIZE, 3);
    world_start(&w);
    raw_peer peer = world_connect(&w);
    raw_send(peer, bytes, SIZE);
    WORLD_AWAIT(&w, w.message_bytes == SIZE);
    cr_assert(world_bytes_are(&w, bytes, SIZE));
    for (size_t i = 0; i < w.kept_count; i++) cr_assert_leq(w.kept[i].size, PIECE);
    raw_close(peer);
    WORLD_AWAIT(&w, w.closed == 1);
    cr_assert_eq(w.error, WEIR_EEOF);
    world_stop(&w);
    free(bytes);
}

/* ---- sizes ---- */

/* The body that makes a message of that size in all: that is what has a largest size. */
static size_t body_size(const weir_framing *framing, size_t size)
{
    if (framing->kind != WEIR_FRAMING_CUSTOM) return size - (framing->kind == WEIR_FRAMING_DELIMITER ? 1 : 4);
    size_t body = size - 3;
    while (body + (size_t)snprintf(NULL, 0, "%zu:,", body) > size) body--;
    return body;
}

static void exchange_sizes(const weir_framing *framing, uint32_t max)
{
    const size_t sizes[] = { 16383, 16384, 16385, 32767, 32768, 32769, 65536, 200000, max - 1, max };
    world w = { .manual = true, .keeps = true, .protocol = { .framing = *framing, .max_message = max } };
    world_start(&w);
    raw_peer peer = world_connect(&w);
    for (unsigned i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        stream s = { 0 };
        put_message(&s, framing, 5);
        put_message(&s, framing, body_size(framing, sizes[i]));
        put_message(&s, framing, 5);
        cr_assert_eq(s.starts[2] - s.starts[1], sizes[i]);
        send_and_serve(&w, peer, s.bytes, s.size);
        check_messages(&w, &s, "size", sizes[i]);
        stream_free(&s);
    }
    raw_close(peer);
    WORLD_AWAIT(&w, w.closed == 1);
    cr_assert_eq(w.error, WEIR_EEOF);
    world_stop(&w);
}

Test(receive, messages_larger_than_a_read_arrive_up_to_max_message)
{
    const weir_framing line = weir_framing_line(), u32be = weir_framing_u32be();
    exchange_sizes(&line, 1000000);
    exchange_sizes(&u32be, 1000000);
    exchange_sizes(&NETSTRING, 1000000);
}

/* Sends the bytes to a fresh connection, of which `good` messages are right, and finds it ended for that reason. */
static void refuse(const weir_framing *framing, uint32_t max, const void *bytes, size_t size, unsigned good, int error)
{
    world w = { .manual = true, .protocol = { .framing = *framing, .max_message = max } };
    for (int slowly = 0; slowly < 2; slowly++) {
        w.opened = w.messages = w.closed = 0;
        w.closed_unopened = 0;
        world_start(&w);
        raw_peer peer = world_connect(&w);
        WORLD_AWAIT(&w, w.opened == 1);
        for (size_t i = 0; slowly && i < size && w.closed == 0; i++) {
            if (raw_send_some(peer, (const uint8_t *)bytes + i, 1) != 1) break;
            world_settle(&w);
        }
        if (!slowly) raw_send(peer, bytes, size);
        WORLD_AWAIT(&w, w.closed == 1);
        cr_assert_eq(w.error, error, "%s", weir_error_name(w.error));
        cr_assert_eq(w.messages, good);
        cr_assert_neq(raw_await_end(peer), RAW_OPEN);
        raw_close(peer);
        world_stop(&w);
    }
}

Test(receive, an_overlong_message_ends_the_connection)
{
    const weir_framing line = weir_framing_line(), u32be = weir_framing_u32be(), packet = weir_framing_u16le_packet();
    refuse(&u32be, 10, "\0\0\0\6sixsix\0\0\0\7", 14, 1, WEIR_EMSGSIZE); /* header and body */
    refuse(&u32be, 10, "\377\377\377\377", 4, 0, WEIR_EMSGSIZE);        /* would pass 2^32 */
    refuse(&packet, 10, "\12\0idsixsix\13\0", 12, 1, WEIR_EMSGSIZE);    /* before the header's end */
    refuse(&line, 10, "nine char\nten chars.", 20, 1, WEIR_EMSGSIZE);
    refuse(&NETSTRING, 10, "3:abc,8:", 8, 1, WEIR_EMSGSIZE);
    refuse(&NETSTRING, 10, "0000000000", 10, 0, WEIR_EMSGSIZE); /* not even a size in so many bytes */
}

Test(receive, a_frame_that_cannot_advance_or_is_malformed_ends_the_connection)
{
    const weir_framing packet = weir_framing_u16le_packet();
    refuse(&packet, 0, "\0\0", 2, 0, WEIR_EFRAME);
    refuse(&packet, 0, "\4\0id\3\0", 6, 1, WEIR_EFRAME);
    refuse(&(weir_framing){ .kind = WEIR_FRAMING_LENGTH, .length_size = 1, .counts_header = true }, 0, "\1\0\1", 3, 1,
           WEIR_EFRAME);
    refuse(&NETSTRING, 0, "1:a,x", 5, 1, WEIR_EFRAME);
}

/* ---- a framing that looks ahead ---- */

/* A line ends only when two more bytes are known, as where a continuation may follow. */
static int64_t frame_looking_ahead(const void *bytes, size_t size, void *data)
{
    (void)data;
    const char *end = memchr(bytes, '\n', size);
    if (!end || (size_t)(end - (const char *)bytes) + 2 >= size) return 0;
    return end - (const char *)bytes + 1;
}

Test(receive, a_custom_framing_may_need_bytes_beyond_the_frame)
{
    static const char text[] = "a\nbb\n\n\n\nccc\nd\ne\nffffff\n..";
    enum { SIZE = sizeof text - 1, LINES = 10 };
    world w = { .manual = true,
                .keeps = true,
                .protocol = { .framing = { .kind = WEIR_FRAMING_CUSTOM, .frame = frame_looking_ahead } } };
    world_start(&w);
    for (unsigned cut = 0; cut < SIZE; cut++) { /* 0: byte by byte */
        raw_peer peer = world_connect(&w);
        WORLD_AWAIT(&w, w.opened == cut + 1);
        for (size_t done = 0; done < SIZE;) {
            size_t piece = cut == 0 ? 1 : done == 0 ? cut : SIZE - done;
            send_and_serve(&w, peer, text + done, piece);
            done += piece;
        }
        cr_assert_eq(w.messages, LINES - 1, "cut at %u", cut);
        cr_assert(world_bytes_are(&w, text, SIZE - 2), "cut at %u", cut);
        world_forget(&w);
        raw_close(peer);
        WORLD_AWAIT(&w, w.closed == cut + 1);
        cr_assert_eq(w.error, WEIR_ETRUNCATED);
    }
    world_stop(&w);
}

/* ---- memory ---- */

Test(receive, an_unfinished_message_holds_what_came_and_not_what_it_announces)
{
    enum { BODY = 200 << 20, PIECE = 1000, PIECES = 300 };
    world w = { .manual = true, .protocol = { .framing = weir_framing_u32be(), .max_message = 256 << 20 } };
    static const uint8_t header[4] = { (uint8_t)(BODY >> 24), (uint8_t)(BODY >> 16 & 255), (uint8_t)(BODY >> 8 & 255),
                                       (uint8_t)(BODY & 255) };
    static uint8_t piece[PIECE];
    world_start(&w);
    raw_peer peer = world_connect(&w);
    send_and_serve(&w, peer, "\0\0\0\1x", 5); /* a warm-up: the pool of receive buffers stays */
    uint64_t idle = world_stats(&w).memory;
    send_and_serve(&w, peer, header, 4);
    cr_assert_leq(world_stats(&w).memory, idle + 512);
    for (uint64_t i = 1; i <= PIECES; i++) {
        send_and_serve(&w, peer, piece, PIECE);
        cr_assert_leq(world_stats(&w).memory, idle + 2 * (i * PIECE + 4) + 512, "after %llu bytes",
                      (unsigned long long)i * PIECE);
    }
    raw_close(peer);
    WORLD_AWAIT(&w, w.closed == 1);
    cr_assert_eq(w.error, WEIR_ETRUNCATED);
    cr_assert_lt(world_stats(&w).memory, idle);
    world_stop(&w);
}

Test(receive, a_finished_message_gives_its_memory_back)
{
    world w = { .manual = true, .protocol = { .framing = weir_framing_line(), .max_message = 1 << 20 } };
    static char text[50000];
    memset(text, 'x', sizeof text);
    world_start(&w);
    raw_peer peer = world_connect(&w);
    send_and_serve(&w, peer, "warm-up\n", 8);
    uint64_t idle = world_stats(&w).memory;
    for (unsigned i = 0; i < 5; i++) {
        send_and_serve(&w, peer, text, sizeof text);
        cr_assert_gt(world_stats(&w).memory, idle + sizeof text);
        send_and_serve(&w, peer, "\n", 1);
        cr_assert_eq(w.messages, i + 2);
        cr_assert_eq(world_stats(&w).memory, idle);
    }
    raw_close(peer);
    WORLD_AWAIT(&w, w.closed == 1);
    world_stop(&w);
}

Test(receive, without_memory_a_connection_ends_alone)
{
    world w = { .manual = true, .protocol = { .framing = weir_framing_line() } };
    unsigned failed = 0;
    world_start(&w);
    raw_peer bystander = world_connect(&w);
    WORLD_AWAIT(&w, w.opened == 1);
    for (int after = 0; after < 8; after++) {
        raw_peer peer = world_connect(&w);
        WORLD_AWAIT(&w, w.opened == 2u + (unsigned)after);
        unsigned closed = w.closed;
        raw_send(peer, "unfinished", 10);
        world_refuse(&w, after);
        uint64_t received = world_stats(&w).bytes_received;
        WORLD_AWAIT(&w, world_stats(&w).bytes_received == received + 10 || w.closed > closed);
        world_settle(&w);
        world_refuse(&w, -1);
        if (w.closed > closed) {
            cr_assert_eq(w.error, WEIR_ENOMEM);
            failed++;
        }
        raw_reset(peer);
        WORLD_AWAIT(&w, w.closed == closed + 1);
        unsigned before = w.messages;
        raw_send(bystander, "still here\n", 11);
        WORLD_AWAIT(&w, w.messages == before + 1);
    }
    cr_assert_gt(failed, 0);
    cr_assert_lt(failed, 8, "with enough of it nothing fails");
    raw_close(bystander);
    WORLD_AWAIT(&w, w.closed == 9);
    world_stop(&w);
}

/* The end of "bb\n" is known when the third of the further bytes has come: by then there is more of them in the tail
 * than a read's step, and the rest of the read has to go there too. */
Test(receive, without_memory_for_what_follows_a_frame_a_connection_ends_alone)
{
    enum { REST = 3000, LINES = REST / 2, TRIES = 8 };
    world w = { .manual = true,
                .keeps = true,
                .protocol = { .framing = { .kind = WEIR_FRAMING_CUSTOM, .frame = frame_looking_ahead } } };
    static char rest[REST];
    for (size_t i = 0; i < REST; i++) rest[i] = i % 2 ? '\n' : 'x';
    unsigned failed = 0;
    world_start(&w);
    for (int after = 0; after < TRIES; after++) {
        raw_peer peer = world_connect(&w);
        WORLD_AWAIT(&w, w.opened == (unsigned)after + 1);
        send_and_serve(&w, peer, "bb\n.", 4);
        cr_assert_eq(w.messages, 0);
        unsigned closed = w.closed;
        raw_send(peer, rest, REST);
        world_refuse(&w, after);
        WORLD_AWAIT(&w, w.messages == LINES || w.closed > closed);
        world_refuse(&w, -1);
        if (w.closed > closed) {
            cr_assert_eq(w.error, WEIR_ENOMEM);
            failed++;
        } else {
            cr_assert(world_message_is(&w, 0, "bb\n", 3));
        }
        world_forget(&w);
        raw_reset(peer);
        WORLD_AWAIT(&w, w.closed == closed + 1);
    }
    cr_assert_gt(failed, 1, "the tail has to grow twice");
    cr_assert_lt(failed, TRIES, "with enough of it nothing fails");
    world_stop(&w);
}
