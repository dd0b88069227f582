/* The completion queue: receiving and sending (platform/cq.h, 3 and 4). */
#include "cq_world.h"

#include <stdlib.h>

enum { DEFAULT_BUFFER_SIZE = 16 * 1024 };

/* Bytes that tell their place in the stream. */
static uint8_t *pattern(size_t size)
{
    uint8_t *bytes = malloc(size);
    cr_assert_not_null(bytes);
    for (size_t i = 0; i < size; i++) bytes[i] = (uint8_t)(i * 31 + i / 251);
    return bytes;
}

/* Receives `size` bytes and finds the pattern in them. */
static void hear_pattern(world *w, wr_sock sock, size_t size)
{
    uint8_t *expected = pattern(size), *heard = malloc(size);
    cr_assert_not_null(heard);
    world_hear(w, sock, heard, size);
    cr_assert_arr_eq(heard, expected, size);
    free(expected);
    free(heard);
}

/* ---- receiving ---- */

CQ_TEST(cq_recv, waits_until_there_are_bytes)
{
    pair p = world_pair(w);
    deed recv = { 0 };
    world_recv(w, p.b, &recv);
    world_settle(w);
    cr_assert_not(recv.done);
    world_say(w, p.a, "x", 1);
    world_await(w, &recv);
    cr_assert_eq(recv.error, 0);
    cr_assert_eq(recv.size, 1);
    cr_assert_eq(recv.buffer[0], 'x');
    world_return(w, &recv);
    world_finish_pair(w, p);
}

CQ_TEST(cq_recv, finds_bytes_that_came_before_it_was_asked)
{
    pair p = world_pair(w);
    char heard[5];
    world_say(w, p.a, "early", 5);
    world_settle(w);
    world_hear(w, p.b, heard, 5);
    cr_assert_arr_eq(heard, "early", 5);
    world_finish_pair(w, p);
}

CQ_TEST(cq_recv, finds_bytes_that_came_between_two_of_it)
{
    pair p = world_pair(w);
    char heard;
    for (int i = 0; i < 50; i++) {
        world_say(w, p.a, "x", 1);
        if (i % 2) world_settle(w); /* the queue hears of it while nobody asks */
        world_hear(w, p.b, &heard, 1);
    }
    world_finish_pair(w, p);
}

CQ_TEST(cq_recv, takes_bytes_that_come_one_at_a_time)
{
    enum { COUNT = 2000 };
    pair p = world_pair(w);
    uint8_t *bytes = pattern(COUNT);
    for (int i = 0; i < COUNT; i++) world_say(w, p.a, &bytes[i], 1);
    hear_pattern(w, p.b, COUNT);
    free(bytes);
    world_finish_pair(w, p);
}

CQ_TEST(cq_recv, delivers_no_more_than_the_queues_buffer_size)
{
    enum { BUFFER_SIZE = 512, SIZE = 5000 };
    wr_cq_destroy(w->cq);
    cr_assert_eq(world_create_queue(w, BUFFER_SIZE), 0);
    pair p = world_pair(w);
    uint8_t *bytes = pattern(SIZE);
    world_say(w, p.a, bytes, SIZE);
    deed recv = { 0 };
    for (size_t heard = 0; heard < SIZE;) {
        world_recv(w, p.b, &recv);
        world_await(w, &recv);
        cr_assert_leq(recv.size, BUFFER_SIZE);
        cr_assert_arr_eq(recv.buffer, bytes + heard, recv.size);
        heard += recv.size;
        world_return(w, &recv);
    }
    free(bytes);
    world_finish_pair(w, p);
}

/* A buffer that is exactly full leaves open whether there is more. */
CQ_TEST(cq_recv, goes_on_after_a_buffer_that_was_just_filled)
{
    uint8_t *bytes = pattern(2 * DEFAULT_BUFFER_SIZE);
    for (int ended = 0; ended < 2; ended++) {
        pair p = world_pair(w);
        world_say(w, p.a, bytes, DEFAULT_BUFFER_SIZE);
        if (ended) {
            wr_cq_shutdown(w->cq, p.a);
            size_t size;
            cr_assert_eq(world_hear_end(w, p.b, &size), WEIR_EEOF);
            cr_assert_eq(size, DEFAULT_BUFFER_SIZE);
        } else {
            hear_pattern(w, p.b, DEFAULT_BUFFER_SIZE);
            deed recv = { 0 };
            world_recv(w, p.b, &recv);
            world_settle(w);
            cr_assert_not(recv.done);
            world_say(w, p.a, "x", 1);
            world_await(w, &recv);
            cr_assert_eq(recv.size, 1);
            world_return(w, &recv);
        }
        world_finish_pair(w, p);
    }
    free(bytes);
}

CQ_TEST(cq_recv, leases_as_many_buffers_as_are_kept)
{
    enum { LEASED = 200 };
    static deed recvs[LEASED];
    pair p = world_pair(w);
    for (int i = 0; i < LEASED; i++) {
        uint8_t byte = (uint8_t)i;
        world_say(w, p.a, &byte, 1);
        world_recv(w, p.b, &recvs[i]);
        world_await(w, &recvs[i]);
    }
    for (int i = 0; i < LEASED; i++) cr_assert_eq(recvs[i].buffer[0], (uint8_t)i, "a leased buffer was used again");
    for (int i = 0; i < LEASED; i++) world_return(w, &recvs[(i * 7) % LEASED]); /* in any order */
    world_finish_pair(w, p);
}

CQ_TEST(cq_recv, tells_of_the_end_as_often_as_it_is_asked)
{
    pair p = world_pair(w);
    deed recv = { 0 };
    world_recv(w, p.b, &recv);
    wr_cq_shutdown(w->cq, p.a);
    for (int i = 0; i < 5; i++) {
        world_await(w, &recv);
        cr_assert_eq(recv.error, WEIR_EEOF);
        if (i % 2) world_settle(w);
        world_recv(w, p.b, &recv);
    }
    world_await(w, &recv);
    world_finish_pair(w, p);
}

CQ_TEST(cq_recv, delivers_the_bytes_before_the_end)
{
    for (int settled = 0; settled < 2; settled++) {
        for (int asked = 0; asked < 2; asked++) {
            pair p = world_pair(w);
            deed recv = { 0 };
            if (asked) world_recv(w, p.b, &recv);
            world_say(w, p.a, "last", 4);
            wr_cq_shutdown(w->cq, p.a);
            if (settled) world_settle(w);
            if (!asked) world_recv(w, p.b, &recv);
            world_await(w, &recv);
            cr_assert_eq(recv.error, 0);
            size_t first = recv.size, rest; /* a part is allowed */
            world_return(w, &recv);
            cr_assert_eq(world_hear_end(w, p.b, &rest), WEIR_EEOF);
            cr_assert_eq(first + rest, 4);
            world_finish_pair(w, p);
        }
    }
}

/* A system may drop what came before a reset. And where no recv was waiting for it, a reset may look like an end: so it
 * does under Wine. cq_close_test.c has the case where one was. */
CQ_TEST(cq_recv, tells_of_a_reset_that_follows_bytes)
{
    pair p = world_pair(w);
    deed close = { 0 };
    size_t size;
    world_say(w, p.a, "last", 4);
    world_end(w, p.a, true, &close);
    world_await(w, &close);
    int end = world_hear_end(w, p.b, &size);
    cr_assert(end == WEIR_ECONNRESET || end == WEIR_EEOF);
    cr_assert_leq(size, 4);
    world_finish(w, p.b);
}

/* ---- sending ---- */

/* Receives `size` bytes by recvs that may go on, and finds the pattern in them, from its place `from` on. */
static void hear_more(world *w, wr_sock sock, deed *recv, size_t from, size_t size)
{
    uint8_t *expected = pattern(from + size);
    for (size_t heard = from; heard < from + size;) {
        if (!recv->buffer) world_recv_more(w, sock, recv);
        world_await_bytes(w, recv);
        cr_assert_eq(recv->error, 0);
        cr_assert_leq(recv->size, from + size - heard, "more bytes than were sent");
        cr_assert_arr_eq(recv->buffer, expected + heard, recv->size);
        heard += recv->size;
        world_return(w, recv);
    }
    free(expected);
}

CQ_TEST(cq_recv, delivers_one_message_after_the_other_when_it_goes_on)
{
    enum { COUNT = 50 };
    pair p = world_pair(w);
    deed recv = { 0 };
    uint8_t *bytes = pattern(COUNT);
    for (size_t i = 0; i < COUNT; i++) {
        world_say(w, p.a, &bytes[i], 1);
        if (i % 2) world_settle(w);
        hear_more(w, p.b, &recv, i, 1);
    }
    free(bytes);
    world_finish_pair(w, p);
}

CQ_TEST(cq_recv, delivers_several_buffers_and_the_end_when_it_goes_on)
{
    enum { SIZE = 3 * DEFAULT_BUFFER_SIZE };
    pair p = world_pair(w);
    deed recv = { 0 };
    uint8_t *bytes = pattern(SIZE);
    world_say(w, p.a, bytes, SIZE);
    wr_cq_shutdown(w->cq, p.a);
    hear_more(w, p.b, &recv, 0, SIZE);
    world_recv_more(w, p.b, &recv);
    world_await(w, &recv);
    cr_assert_eq(recv.error, WEIR_EEOF);
    free(bytes);
    world_finish_pair(w, p);
}

/* A pair whose recv at `b` goes on, after `size` bytes, or after a few more turns. False: this backend's end always. */
static bool pair_with_more(world *w, pair *p, deed *recv, uint32_t size)
{
    *p = world_pair(w);
    uint8_t *bytes = pattern(size);
    bool goes_on = false;
    for (int i = 0; i < 50 && !goes_on; i++) {
        world_say(w, p->a, bytes, size);
        hear_more(w, p->b, recv, 0, size);
        goes_on = recv->op.pending;
    }
    free(bytes);
    if (!goes_on) world_finish_pair(w, *p);
    return goes_on;
}

CQ_TEST(cq_recv, ends_without_a_completion_when_it_is_stopped)
{
    pair p;
    deed recv = { 0 };
    if (!pair_with_more(w, &p, &recv, 1)) return;
    world_recv_stop(w, &recv);
    world_say(w, p.a, "x", 1);
    world_settle(w);
    char heard;
    world_hear(w, p.b, &heard, 1);
    cr_assert_eq(heard, 'x');
    world_finish_pair(w, p);
}

CQ_TEST(cq_recv, is_stopped_in_the_middle_of_what_has_come)
{
    enum { SIZE = 3 * DEFAULT_BUFFER_SIZE };
    pair p = world_pair(w);
    deed recv = { .op.multishot = true };
    uint8_t *bytes = pattern(SIZE), *heard = malloc(SIZE);
    cr_assert_not_null(heard);
    world_say(w, p.a, bytes, SIZE);
    size_t size = 0;
    do {
        world_recv(w, p.b, &recv);
        world_await_bytes(w, &recv);
        memcpy(heard + size, recv.buffer, recv.size);
        size += recv.size;
        world_return(w, &recv);
        if (recv.op.pending) world_recv_stop(w, &recv);
        world_settle(w);
        cr_assert_null(recv.buffer);
    } while (size < SIZE);
    cr_assert_arr_eq(heard, bytes, SIZE);
    free(bytes);
    free(heard);
    world_finish_pair(w, p);
}

/* Nothing has come since, so its end is the close. */
CQ_TEST(cq_recv, ends_by_a_close_when_it_went_on)
{
    pair p;
    deed recv = { 0 }, close = { 0 };
    if (!pair_with_more(w, &p, &recv, 1)) return;
    world_end(w, p.b, false, &close);
    world_await(w, &close);
    cr_assert(recv.done);
    cr_assert_eq(recv.error, WEIR_ECANCELED);
    world_finish(w, p.a);
}

CQ_TEST(cq_send, sends_one_byte)
{
    pair p = world_pair(w);
    char heard = 0;
    world_say(w, p.a, "1", 1);
    world_hear(w, p.b, &heard, 1);
    cr_assert_eq(heard, '1');
    world_finish_pair(w, p);
}

CQ_TEST(cq_send, sends_many_slices_in_their_order)
{
    enum { SLICES = 200 };
    wr_slice slices[SLICES];
    size_t total = 0;
    uint8_t *bytes = pattern((size_t)SLICES * SLICES);
    for (uint32_t i = 0; i < SLICES; i++) {
        uint32_t size = i % 3 ? i : 1;
        slices[i] = (wr_slice){ .next = i + 1 < SLICES ? &slices[i + 1] : NULL, .data = bytes + total, .size = size };
        total += size;
    }
    pair p = world_pair(w);
    deed send = { 0 };
    world_send(w, p.a, slices, &send);
    hear_pattern(w, p.b, total);
    world_await(w, &send);
    cr_assert_eq(send.error, 0);
    free(bytes);
    world_finish_pair(w, p);
}

/* More than a backend hands over in one pass, and less than makes the system say that it is full. */
CQ_TEST(cq_send, sends_thousands_of_slices)
{
    enum { SLICES = 5000 };
    static wr_slice slices[SLICES];
    uint8_t *bytes = pattern(SLICES);
    for (size_t i = 0; i < SLICES; i++)
        slices[i] = (wr_slice){ .next = i + 1 < SLICES ? &slices[i + 1] : NULL, .data = bytes + i, .size = 1 };
    pair p = world_pair(w);
    deed send = { 0 };
    world_send(w, p.a, slices, &send);
    world_await(w, &send);
    cr_assert_eq(send.error, 0);
    hear_pattern(w, p.b, SLICES);
    free(bytes);
    world_finish_pair(w, p);
}

/* 20 MB are more than the system takes while nobody reads: the send must be continued, many times and in mid-slice. */
static void send_to_a_slow_reader(world *w, pair p, uint32_t slice_size)
{
    enum { SIZE = 20 << 20, SLICES_MAX = 1024 };
    static wr_slice slices[SLICES_MAX];
    uint8_t *bytes = pattern(SIZE);
    size_t count = 0;
    for (uint32_t at = 0; at < SIZE; count++) {
        uint32_t size = SIZE - at < slice_size ? SIZE - at : slice_size;
        slices[count] = (wr_slice){ .next = NULL, .data = bytes + at, .size = size };
        if (count > 0) slices[count - 1].next = &slices[count];
        at += size;
    }
    deed send = { 0 };
    world_send(w, p.a, slices, &send);
    world_settle(w);
    cr_assert_not(send.done, "complete before it could be");
    hear_pattern(w, p.b, SIZE);
    world_await(w, &send);
    cr_assert_eq(send.error, 0);
    free(bytes);
}

CQ_TEST(cq_send, continues_what_a_slow_reader_leaves)
{
    pair p = world_pair(w);
    send_to_a_slow_reader(w, p, 20 << 20);
    send_to_a_slow_reader(w, p, 65537); /* the same sockets: they have waited before */
    world_finish_pair(w, p);
}

/* Both ends send more than fits before they read. */
CQ_TEST(cq_send, goes_both_ways_at_once)
{
    enum { SIZE = 8 << 20 };
    uint8_t *bytes = pattern(SIZE);
    wr_slice slice = { .data = bytes, .size = SIZE };
    pair p = world_pair(w);
    deed send_a = { 0 }, send_b = { 0 };
    world_send(w, p.a, &slice, &send_a);
    world_send(w, p.b, &slice, &send_b);
    hear_pattern(w, p.b, SIZE);
    hear_pattern(w, p.a, SIZE);
    world_await(w, &send_a);
    world_await(w, &send_b);
    cr_assert_eq(send_a.error, 0);
    cr_assert_eq(send_b.error, 0);
    free(bytes);
    world_finish_pair(w, p);
}

/* A completion more, of one that has ended already, would be of an operation that is not in flight. */
CQ_TEST(cq_send, ends_once_when_it_is_prompt)
{
    enum { SENDS = 100 };
    pair p = world_pair(w);
    deed send = { .op.prompt = true };
    char heard[3];
    for (int i = 0; i < SENDS; i++) {
        wr_slice last = { .data = i % 2 ? "d" : "c", .size = 1 };
        wr_slice first = { .next = i % 3 ? &last : NULL, .data = "ab", .size = 2 };
        world_send(w, p.a, &first, &send);
        if (i % 5 == 0) world_settle(w);
        world_await(w, &send);
        cr_assert_eq(send.error, 0);
        world_hear(w, p.b, heard, i % 3 ? 3 : 2);
        cr_assert_arr_eq(heard, i % 2 ? "abd" : "abc", i % 3 ? 3 : 2);
    }
    world_settle(w);
    world_finish_pair(w, p);
}

/* What cannot end at once ends by a completion. */
CQ_TEST(cq_send, continues_what_a_slow_reader_leaves_when_it_is_prompt)
{
    enum { SIZE = 20 << 20 };
    uint8_t *bytes = pattern(SIZE);
    wr_slice slice = { .data = bytes, .size = SIZE };
    pair p = world_pair(w);
    deed send = { .op.prompt = true };
    world_send(w, p.a, &slice, &send);
    cr_assert_not(send.done, "complete before it could be");
    hear_pattern(w, p.b, SIZE);
    world_await(w, &send);
    cr_assert_eq(send.error, 0);
    free(bytes);
    world_finish_pair(w, p);
}

/* Only a success may be had at once. */
CQ_TEST(cq_send, fails_by_a_completion_when_it_is_prompt)
{
    pair p = world_pair(w);
    deed close = { 0 }, send = { .op.prompt = true };
    wr_slice slice = { .data = "x", .size = 1 };
    world_end(w, p.b, true, &close);
    world_await(w, &close);
    world_settle(w);
    do {
        world_send(w, p.a, &slice, &send);
        bool was_pending = send.op.pending;
        world_await(w, &send);
        cr_assert(was_pending || send.error == 0);
    } while (send.error == 0);
    cr_assert(send.error == WEIR_ECONNRESET || send.error == WEIR_ECONNABORTED);
    world_finish(w, p.a);
}

CQ_TEST(cq_send, fails_when_the_peer_has_reset)
{
    pair p = world_pair(w);
    deed recv = { 0 }, close = { 0 }, send = { 0 };
    wr_slice slice = { .data = "x", .size = 1 };
    world_recv(w, p.a, &recv);
    world_end(w, p.b, true, &close);
    world_await(w, &recv);
    for (int i = 0; i < 2; i++) {
        world_send(w, p.a, &slice, &send);
        world_await(w, &send);
        cr_assert(send.error == WEIR_ECONNRESET || send.error == WEIR_ECONNABORTED);
    }
    world_finish(w, p.a);
}

CQ_TEST(cq_send, fails_when_the_peer_resets_in_the_middle)
{
    enum { SIZE = 20 << 20 };
    uint8_t *bytes = pattern(SIZE);
    wr_slice slice = { .data = bytes, .size = SIZE };
    pair p = world_pair(w);
    deed send = { 0 }, close = { 0 };
    world_send(w, p.a, &slice, &send);
    world_settle(w);
    world_end(w, p.b, true, &close);
    world_await(w, &send);
    cr_assert(send.error == WEIR_ECONNRESET || send.error == WEIR_ECONNABORTED);
    free(bytes);
    world_finish(w, p.a);
}

/* ---- half-close ---- */

CQ_TEST(cq_shutdown, still_receives)
{
    pair p = world_pair(w);
    size_t size;
    char heard[6];
    wr_cq_shutdown(w->cq, p.a);
    cr_assert_eq(world_hear_end(w, p.b, &size), WEIR_EEOF);
    world_say(w, p.b, "answer", 6);
    world_hear(w, p.a, heard, 6);
    cr_assert_arr_eq(heard, "answer", 6);
    wr_cq_shutdown(w->cq, p.b);
    cr_assert_eq(world_hear_end(w, p.a, &size), WEIR_EEOF);
    world_finish_pair(w, p);
}

CQ_TEST(cq_shutdown, comes_after_what_was_sent)
{
    enum { SIZE = 8 << 20 };
    uint8_t *bytes = pattern(SIZE);
    wr_slice slice = { .data = bytes, .size = SIZE };
    pair p = world_pair(w);
    deed send = { 0 }, recv = { 0 };
    size_t heard = 0, rest;
    world_send(w, p.a, &slice, &send);
    while (!send.done) {
        world_recv(w, p.b, &recv);
        world_await(w, &recv);
        cr_assert_arr_eq(recv.buffer, bytes + heard, recv.size);
        heard += recv.size;
        world_return(w, &recv);
    }
    wr_cq_shutdown(w->cq, p.a);
    cr_assert_eq(world_hear_end(w, p.b, &rest), WEIR_EEOF);
    cr_assert_eq(heard + rest, SIZE);
    free(bytes);
    world_finish_pair(w, p);
}

/* The peer's end announces itself while a send waits for room: the send goes on. */
CQ_TEST(cq_shutdown, of_the_peer_does_not_end_our_send)
{
    enum { SIZE = 20 << 20 };
    uint8_t *bytes = pattern(SIZE);
    wr_slice slice = { .data = bytes, .size = SIZE };
    pair p = world_pair(w);
    deed send = { 0 };
    size_t size;
    world_send(w, p.a, &slice, &send);
    world_settle(w);
    wr_cq_shutdown(w->cq, p.b);
    cr_assert_eq(world_hear_end(w, p.a, &size), WEIR_EEOF);
    cr_assert_not(send.done);
    hear_pattern(w, p.b, SIZE);
    world_await(w, &send);
    cr_assert_eq(send.error, 0);
    free(bytes);
    world_finish_pair(w, p);
}
