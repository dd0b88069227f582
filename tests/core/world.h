/* What the tests of core share: a runtime with a listener, and a record of what its callbacks said.
 *
 *   world w = { .protocol = { .framing = weir_framing_line(), .on_message = my_message } };
 *   world_start(&w);
 *   raw_peer peer = world_connect(&w);
 *   raw_send(peer, "hello\n", 6);
 *   WORLD_AWAIT(&w, w.messages == 1);
 *   raw_close(peer);
 *   WORLD_AWAIT(&w, w.closed == 1);
 *   world_stop(&w);
 *
 * The world's own callbacks stand between weir and those of the test: they check what holds for every connection (the
 * order of callbacks, on_close exactly once and nothing after it, no callback inside another of the same thread),
 * count, remember, and then call the test's. Memory comes from an allocator that counts and can be made to refuse;
 * world_stop asserts that all of it came back. */
#ifndef WR_TEST_WORLD_H
#define WR_TEST_WORLD_H

#include <stdatomic.h>
#include <weir/weir.h>

#include "core/raw.h"
#include "harness/weir_test.h"
#include "platform/os.h"

typedef struct world_memory {
    _Atomic uint64_t used, peak;  /* bytes */
    _Atomic int64_t refuse_after; /* so many allocations succeed from now on; negative: all. See world_refuse. */
    _Atomic bool refuse_once;     /* see world_refuse_once */
    _Atomic uint64_t refused;
} world_memory;

typedef struct world_message {
    size_t offset; /* in world.bytes */
    size_t size;
} world_message;

typedef struct world {
    /* What a test may set before world_start. */
    weir_protocol protocol; /* its data is what world_data gives; its session is world_session's */
    weir_runtime_options runtime_options;
    weir_listen_options listen_options; /* `spread` becomes `balanced` where the system has only that */
    const char *address;                /* NULL: 127.0.0.1:0 */
    bool manual;                        /* the test drives: WORLD_AWAIT and all waits of raw.h poll */
    bool keeps;                         /* remember the messages, see world_message_is */
    bool no_listener;

    weir_runtime *runtime;
    weir_inbox *inbox; /* a test's; goes with the runtime */
    weir_listener *listener;
    uint16_t port;
    world_memory memory;

    /* What the callbacks said, of all connections together. */
    _Atomic unsigned opened, messages, ended, slowed, stopped, closed;
    _Atomic uint64_t message_bytes;
    _Atomic weir_conn_id id;          /* of the last one that opened */
    _Atomic int error;                /* of the last on_close */
    _Atomic int system_error;         /* likewise */
    _Atomic unsigned closed_unopened; /* on_close alone */

    wr_mutex lock; /* of what follows */
    char *bytes;
    size_t byte_count, byte_room;
    world_message *kept;
    size_t kept_count, kept_room;
} world;

/* world_start: the runtime, on one worker unless runtime_options says otherwise, started unless `manual`, and the
 * listener. */
void world_start(world *w);

/* world_wrap: the world's callbacks around those of `protocol`, which must live on: for weir_connect, and for
 * further listeners. */
weir_protocol world_wrap(world *w, const weir_protocol *protocol);

/* world_stop: destroys the runtime; asserts that nothing leaked and that every connection that opened has closed. */
void world_stop(world *w);

/* world_connect: a peer; world_connect_small: one with a small receive buffer. */
raw_peer world_connect(world *w);
raw_peer world_connect_small(world *w);

/* world_of, world_data, world_session: in callbacks: the world, the test's protocol.data, the test's session. */
world *world_of(const weir_conn *conn);
void *world_data(const weir_conn *conn);
void *world_session(weir_conn *conn);

weir_stats world_stats(const world *w);

/* world_closed: connections that ended for that reason. */
uint64_t world_closed(const world *w, int error);

/* world_message_is: the message with that number (from 0) has exactly these bytes. The world must keep them. */
bool world_message_is(world *w, size_t number, const void *bytes, size_t size);

/* world_bytes_are: all messages together are exactly these bytes. */
bool world_bytes_are(world *w, const void *bytes, size_t size);

/* world_forget: the messages so far. */
void world_forget(world *w);

/* world_refuse: after so many more allocations there is no memory; a negative number: there is again. */
void world_refuse(world *w, int64_t after);

/* world_refuse_once: after so many more allocations one fails, and no other. */
void world_refuse_once(world *w, int64_t after);

/* WORLD_AWAIT: until the condition holds; the test fails if it never does. Drives a manual runtime. */
#define WORLD_AWAIT(w, condition)                                                          \
    do {                                                                                   \
        uint64_t world_deadline_ns = wr_os_now_ns() + (uint64_t)RAW_PATIENCE_MS * 1000000; \
        while (!(condition)) {                                                             \
            cr_assert_lt(wr_os_now_ns(), world_deadline_ns, "never came: %s", #condition); \
            world_turn(w);                                                                 \
        }                                                                                  \
    } while (0)

/* WORLD_HOLDS: the condition holds during `ms`, which is long enough for what would break it. */
#define WORLD_HOLDS(w, ms, condition)                                    \
    do {                                                                 \
        uint64_t world_end_ns = wr_os_now_ns() + (uint64_t)(ms)*1000000; \
        do {                                                             \
            cr_assert((condition), "did not last");                      \
            world_turn(w);                                               \
        } while (wr_os_now_ns() < world_end_ns);                         \
    } while (0)

/* world_turn: a millisecond of waiting, or of driving. */
void world_turn(world *w);

/* world_settle: drives a manual runtime until it has nothing left to do at this moment. */
void world_settle(world *w);

/* world_run: runs `run(data)` on the worker and waits for its end. */
void world_run(world *w, unsigned worker, void (*run)(void *data), void *data);

/* world_conn: the connection of an id, for what only its worker may do: in functions of world_run. */
weir_conn *world_conn(world *w, weir_conn_id id);

/* world_send and so on: the function of weir by that name, called on the connection's worker while the test waits. */
int world_send(world *w, weir_conn_id id, const void *bytes, size_t size);
int world_send_buf(world *w, weir_conn_id id, weir_buf *buf);
void world_close(world *w, weir_conn_id id);
void world_abort(world *w, weir_conn_id id);
void world_pause(world *w, weir_conn_id id);
void world_resume(world *w, weir_conn_id id);
size_t world_queued(world *w, weir_conn_id id);

/* world_fill: bytes that differ by position and by seed. */
void world_fill(void *bytes, size_t size, uint64_t seed);

/* world_random: xorshift64*, so that a failure repeats. */
uint64_t world_random(uint64_t *state);

#endif
