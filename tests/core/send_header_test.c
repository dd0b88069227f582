/* weir_send_header_buf: bytes of a connection's own in front of a shared buffer, as one message. */
#include <stdlib.h>
#include <string.h>

#include "core/buffer.h"
#include "core/slots.h"
#include "core/world.h"

typedef struct deed {
    world *w;
    weir_conn_id id;
    const void *header;
    size_t size;
    weir_buf *body;
    int result;
} deed;

static void do_send(void *data)
{
    deed *d = data;
    d->result = weir_send_header_buf(world_conn(d->w, d->id), d->header, d->size, d->body);
}

static int send_both(world *w, const void *header, size_t size, weir_buf *body)
{
    deed d = { .w = w, .id = w->id, .header = header, .size = size, .body = body };
    world_run(w, wr_id_worker(w->id), do_send, &d);
    return d.result;
}

static weir_buf *filled(size_t size)
{
    weir_buf *buf = weir_buf_create(size);
    cr_assert_not_null(buf);
    world_fill(weir_buf_bytes(buf), size, size);
    return buf;
}

static void hear(raw_peer peer, const void *bytes, size_t size)
{
    char *got = malloc(size + 1);
    raw_receive(peer, got, size);
    cr_assert(memcmp(got, bytes, size) == 0);
    free(got);
}

Test(send_header, the_header_comes_first_and_then_the_body_of_any_size)
{
    static const size_t sizes[] = { 1, 100, 1024, 1025, 100000 };
    world w = { 0 };
    world_start(&w);
    raw_peer peer = world_connect(&w);
    WORLD_AWAIT(&w, w.opened == 1);
    for (unsigned i = 0; i < 5; i++) {
        weir_buf *body = filled(sizes[i]);
        cr_assert_eq(send_both(&w, "head", 4, body), 0);
        hear(peer, "head", 4);
        hear(peer, weir_buf_bytes(body), sizes[i]);
        WORLD_AWAIT(&w, body->references == 1);
        weir_buf_release(body);
    }
    cr_assert_eq(world_stats(&w).queued, 0);
    raw_close(peer);
    WORLD_AWAIT(&w, w.closed == 1);
    world_stop(&w);
}

Test(send_header, either_may_be_empty)
{
    world w = { 0 };
    world_start(&w);
    raw_peer peer = world_connect(&w);
    WORLD_AWAIT(&w, w.opened == 1);
    weir_buf *body = weir_buf_copy("body", 4), *none = weir_buf_create(0);
    cr_assert_eq(send_both(&w, NULL, 0, body), 0);
    cr_assert_eq(send_both(&w, "head", 4, none), 0);
    cr_assert_eq(send_both(&w, NULL, 0, none), 0);
    hear(peer, "bodyhead", 8);
    cr_assert_eq(send_both(&w, NULL, 1, body), WEIR_EINVAL);
    cr_assert_eq(send_both(&w, "x", 1, NULL), WEIR_EINVAL);
    weir_buf_release(body);
    weir_buf_release(none);
    raw_close(peer);
    WORLD_AWAIT(&w, w.closed == 1);
    world_stop(&w);
}

Test(send_header, the_limit_is_on_both_together)
{
    world w = { .protocol.outbox = { .soft_limit = 100, .hard_limit = 100, .policy = WEIR_SLOW_DROP_NEWEST } };
    world_start(&w);
    raw_peer peer = world_connect(&w);
    WORLD_AWAIT(&w, w.opened == 1);
    weir_buf *body = filled(90);
    cr_assert_eq(send_both(&w, "01234567890", 11, body), WEIR_ESLOW);
    cr_assert_eq(send_both(&w, "0123456789", SIZE_MAX, body), WEIR_ESLOW, "not even the sum can be said");
    cr_assert_eq(world_queued(&w, w.id), 0, "neither");
    cr_assert_eq(send_both(&w, "0123456789", 10, body), 0);
    hear(peer, "0123456789", 10);
    hear(peer, weir_buf_bytes(body), 90);
    cr_assert_eq(world_stats(&w).sends_dropped, 2);
    weir_buf_release(body);
    raw_close(peer);
    WORLD_AWAIT(&w, w.closed == 1);
    world_stop(&w);
}

static void send_on_close(weir_conn *conn, weir_reason reason)
{
    (void)reason;
    cr_assert_eq(weir_send_header_buf(conn, "head", 4, world_data(conn)), WEIR_ECLOSED);
}

Test(send_header, one_that_is_closed_takes_neither)
{
    weir_buf *body = filled(2000);
    world w = { .protocol = { .on_close = send_on_close, .data = body } };
    world_start(&w);
    raw_close(world_connect(&w));
    WORLD_AWAIT(&w, w.closed == 1);
    world_stop(&w);
    cr_assert_eq(body->references, 1);
    weir_buf_release(body);
}

Test(send_header, without_memory_for_either_the_connection_ends)
{
    world w = { .manual = true };
    weir_buf *body = filled(5000);
    world_start(&w);
    for (unsigned i = 0; i < 2; i++) {
        raw_peer peer = world_connect(&w);
        WORLD_AWAIT(&w, w.opened == i + 1);
        world_refuse(&w, 1 + i); /* the post; the header */
        cr_assert_eq(send_both(&w, "head", 4, body), WEIR_ENOMEM);
        world_refuse(&w, -1);
        WORLD_AWAIT(&w, w.closed == i + 1);
        cr_assert_eq(w.error, WEIR_ENOMEM);
        cr_assert_eq(world_stats(&w).queued, 0);
        raw_close(peer);
    }
    cr_assert_eq(body->references, 1);
    weir_buf_release(body);
    world_stop(&w);
}
