#include "core/world.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/conn.h"
#include "core/host.h"
#include "core/runtime.h"

/* In front of the test's session: which callbacks have come. */
typedef struct mark {
    world *w;
    const weir_protocol *protocol; /* of the test */
    bool opened, ended, stopped, closed;
} mark;

enum { MARK_SIZE = (sizeof(mark) + 15) / 16 * 16 };

/* What weir gives back as protocol.data. */
typedef struct wrap {
    world *w;
    const weir_protocol *protocol;
    struct wrap *next;
} wrap;

/* Wraps live as long as the process: a listener's protocol ends with its runtime, and a test is a process. */
static wrap *wraps;

static _Thread_local bool in_callback;

/* ---- memory ---- */

static void *counted_alloc(size_t size, void *data)
{
    world_memory *memory = data;
    int64_t left = atomic_load(&memory->refuse_after);
    while (left >= 0) {
        if (left == 0 && !memory->refuse_once) {
            atomic_fetch_add(&memory->refused, 1);
            return NULL;
        }
        if (left == 0 && atomic_compare_exchange_strong(&memory->refuse_after, &left, -1)) {
            atomic_fetch_add(&memory->refused, 1);
            return NULL;
        }
        if (left > 0 && atomic_compare_exchange_weak(&memory->refuse_after, &left, left - 1)) break;
    }
    void *block = malloc(size);
    if (!block) return NULL;
    uint64_t used = atomic_fetch_add(&memory->used, size) + size;
    uint64_t peak = atomic_load(&memory->peak);
    while (used > peak && !atomic_compare_exchange_weak(&memory->peak, &peak, used)) continue;
    return block;
}

static void counted_free(void *block, size_t size, void *data)
{
    world_memory *memory = data;
    uint64_t before = atomic_fetch_sub(&memory->used, size);
    cr_assert_geq(before, size, "more is freed than was allocated");
    free(block);
}

void world_refuse(world *w, int64_t after)
{
    atomic_store(&w->memory.refuse_once, false);
    atomic_store(&w->memory.refuse_after, after);
}

void world_refuse_once(world *w, int64_t after)
{
    atomic_store(&w->memory.refuse_once, true);
    atomic_store(&w->memory.refuse_after, after);
}

/* ---- callbacks ---- */

static mark *mark_of(weir_conn *conn)
{
    return weir_conn_session(conn);
}

/* Whether a callback of the connection may come at this moment. */
static mark *enter(weir_conn *conn)
{
    mark *m = mark_of(conn);
    const wrap *around = weir_conn_data(conn);
    cr_assert_not(in_callback, "a callback inside a callback");
    in_callback = true;
    if (!m->w) m->w = around->w;
    m->protocol = around->protocol;
    cr_assert_not(m->closed, "a callback after on_close");
    return m;
}

static mark *enter_open(weir_conn *conn)
{
    mark *m = enter(conn);
    cr_assert(m->opened, "a callback before on_open");
    return m;
}

static void leave(void)
{
    in_callback = false;
}

static void on_open(weir_conn *conn)
{
    mark *m = enter(conn);
    cr_assert_not(m->opened, "on_open twice");
    m->opened = true;
    atomic_store(&m->w->id, weir_conn_get_id(conn));
    if (m->protocol->on_open) m->protocol->on_open(conn);
    atomic_fetch_add(&m->w->opened, 1);
    leave();
}

static void remember(world *w, const void *bytes, size_t size)
{
    wr_mutex_lock(&w->lock);
    if (w->byte_count + size > w->byte_room) {
        w->byte_room = (w->byte_count + size) * 2;
        w->bytes = realloc(w->bytes, w->byte_room);
        cr_assert_not_null(w->bytes);
    }
    if (w->kept_count == w->kept_room) {
        w->kept_room = w->kept_room * 2 + 64;
        w->kept = realloc(w->kept, w->kept_room * sizeof *w->kept);
        cr_assert_not_null(w->kept);
    }
    memcpy(w->bytes + w->byte_count, bytes, size);
    w->kept[w->kept_count++] = (world_message){ .offset = w->byte_count, .size = size };
    w->byte_count += size;
    wr_mutex_unlock(&w->lock);
}

static void on_message(weir_conn *conn, const void *bytes, size_t size)
{
    mark *m = enter_open(conn);
    if (m->w->keeps) remember(m->w, bytes, size);
    if (m->protocol->on_message) m->protocol->on_message(conn, bytes, size);
    atomic_fetch_add(&m->w->message_bytes, size);
    atomic_fetch_add(&m->w->messages, 1);
    leave();
}

static void on_end(weir_conn *conn)
{
    mark *m = enter_open(conn);
    cr_assert_not(m->ended, "on_end twice");
    m->ended = true;
    m->protocol->on_end(conn);
    atomic_fetch_add(&m->w->ended, 1);
    leave();
}

static void on_slow(weir_conn *conn, size_t queued)
{
    mark *m = enter_open(conn);
    m->protocol->on_slow(conn, queued);
    atomic_fetch_add(&m->w->slowed, 1);
    leave();
}

static void on_stop(weir_conn *conn)
{
    mark *m = enter_open(conn);
    cr_assert_not(m->stopped, "on_stop twice");
    m->stopped = true;
    if (m->protocol->on_stop) m->protocol->on_stop(conn);
    atomic_fetch_add(&m->w->stopped, 1);
    leave();
}

static void on_close(weir_conn *conn, weir_reason reason)
{
    mark *m = enter(conn);
    m->closed = true;
    world *w = m->w;
    if (m->protocol->on_close) m->protocol->on_close(conn, reason);
    atomic_store(&w->error, reason.error);
    atomic_store(&w->system_error, reason.system_error);
    if (!m->opened) atomic_fetch_add(&w->closed_unopened, 1);
    atomic_fetch_add(&w->closed, 1);
    leave();
}

weir_protocol world_wrap(world *w, const weir_protocol *protocol)
{
    wrap *around = malloc(sizeof *around);
    cr_assert_not_null(around);
    *around = (wrap){ .w = w, .protocol = protocol, .next = wraps };
    wraps = around;
    weir_protocol wrapped = *protocol;
    wrapped.data = around;
    wrapped.session_size += MARK_SIZE;
    wrapped.on_open = on_open;
    wrapped.on_message = on_message;
    wrapped.on_end = protocol->on_end ? on_end : NULL; /* its absence has a meaning */
    wrapped.on_slow = protocol->on_slow ? on_slow : NULL;
    wrapped.on_stop = on_stop;
    wrapped.on_close = on_close;
    return wrapped;
}

world *world_of(const weir_conn *conn)
{
    const wrap *around = weir_conn_data(conn);
    return around->w;
}

void *world_data(const weir_conn *conn)
{
    const wrap *around = weir_conn_data(conn);
    return around->protocol->data;
}

void *world_session(weir_conn *conn)
{
    return (char *)weir_conn_session(conn) + MARK_SIZE;
}

/* ---- life ---- */

static void drive(void *arg)
{
    world *w = arg;
    int served = weir_poll(w->runtime, 0);
    cr_assert(served >= 0 || served == WEIR_ESTOPPED, "weir_poll: %s", weir_error_name(served));
}

static void listen_on(world *w)
{
    weir_failure failure = { 0 };
    weir_listen_options options = w->listen_options;
    options.failure = &failure;
    if (options.placement == WEIR_PLACEMENT_SPREAD && !host_shares_ports()) options.placement = WEIR_PLACEMENT_BALANCED;
    weir_protocol protocol = world_wrap(w, &w->protocol);
    int error = weir_listen(w->runtime, w->address ? w->address : "127.0.0.1:0", &protocol, &options, &w->listener);
    cr_assert_eq(error, 0, "weir_listen: %s", failure.text);
    w->port = weir_listener_address(w->listener).port;
}

void world_start(world *w)
{
    weir_allocator allocator = { .alloc = counted_alloc, .free = counted_free, .data = &w->memory };
    weir_runtime_options options = w->runtime_options;
    atomic_store(&w->memory.refuse_after, -1);
    wr_mutex_init(&w->lock);
    options.allocator = &allocator;
    options.manual = w->manual;
    if (!options.workers) options.workers = 1;
    if (!options.max_connections) options.max_connections = 4096; /* else the slots' table has room for a million */
    int error = weir_runtime_create(&w->runtime, &options);
    cr_assert_eq(error, 0, "weir_runtime_create: %s", weir_error_name(error));
    if (!w->no_listener) listen_on(w);
    if (w->manual)
        raw_while_waiting(drive, w);
    else
        cr_assert_eq(weir_runtime_start(w->runtime), 0);
}

void world_stop(world *w)
{
    raw_while_waiting(NULL, NULL);
    weir_runtime_destroy(w->runtime);
    w->runtime = NULL;
    weir_inbox_destroy(w->inbox);
    w->inbox = NULL;
    cr_assert_eq(w->closed, w->opened + w->closed_unopened, "%u opened, %u closed", w->opened, w->closed);
    cr_assert_eq(w->memory.used, 0, "%llu bytes leaked", (unsigned long long)w->memory.used);
    free(w->bytes);
    free(w->kept);
    w->bytes = NULL;
    w->kept = NULL;
    wr_mutex_destroy(&w->lock);
}

raw_peer world_connect(world *w)
{
    return raw_connect("127.0.0.1", w->port, 0);
}

raw_peer world_connect_small(world *w)
{
    return raw_connect("127.0.0.1", w->port, 4096);
}

void world_turn(world *w)
{
    if (w->manual)
        (void)weir_poll(w->runtime, 1);
    else
        weir_sleep_ms(1);
}

void world_settle(world *w)
{
    cr_assert(w->manual);
    while (weir_poll(w->runtime, 0) > 0) continue;
}

/* ---- looking ---- */

weir_stats world_stats(const world *w)
{
    weir_stats stats;
    weir_stats_read(w->runtime, &stats);
    return stats;
}

uint64_t world_closed(const world *w, int error)
{
    return world_stats(w).closed[-error];
}

bool world_message_is(world *w, size_t number, const void *bytes, size_t size)
{
    wr_mutex_lock(&w->lock);
    bool same = number < w->kept_count && w->kept[number].size == size &&
                memcmp(w->bytes + w->kept[number].offset, bytes, size) == 0;
    wr_mutex_unlock(&w->lock);
    return same;
}

bool world_bytes_are(world *w, const void *bytes, size_t size)
{
    wr_mutex_lock(&w->lock);
    bool same = w->byte_count == size && (size == 0 || memcmp(w->bytes, bytes, size) == 0);
    wr_mutex_unlock(&w->lock);
    return same;
}

void world_forget(world *w)
{
    wr_mutex_lock(&w->lock);
    w->byte_count = w->kept_count = 0;
    wr_mutex_unlock(&w->lock);
    w->messages = 0;
    w->message_bytes = 0;
}

/* ---- on the worker ---- */

typedef struct task {
    void (*run)(void *data);
    void *data;
    _Atomic bool done;
} task;

static void run_task(weir_runtime *runtime, void *data)
{
    (void)runtime;
    task *t = data;
    cr_assert_not(in_callback);
    in_callback = true;
    t->run(t->data);
    in_callback = false;
    atomic_store(&t->done, true);
}

void world_run(world *w, unsigned worker, void (*run)(void *data), void *data)
{
    task t = { .run = run, .data = data };
    cr_assert_eq(weir_post(w->runtime, worker, run_task, &t), 0);
    WORLD_AWAIT(w, atomic_load(&t.done));
}

weir_conn *world_conn(world *w, weir_conn_id id)
{
    wr_worker *worker = &w->runtime->workers[wr_id_worker(id)];
    cr_assert(wr_worker_here() == worker, "only its worker may have it");
    wr_slot *slot = wr_slots_at(&worker->slots, wr_id_slot(id));
    cr_assert_not_null(slot);
    cr_assert_eq(slot->shared.generation, wr_id_generation(id), "the connection has gone");
    cr_assert_not_null(slot->owner.conn);
    return slot->owner.conn;
}

typedef struct deed {
    world *w;
    weir_conn_id id;
    const void *bytes;
    size_t size;
    weir_buf *buf;
    int result;
} deed;

static void do_send(void *data)
{
    deed *d = data;
    d->result = weir_send(world_conn(d->w, d->id), d->bytes, d->size);
}

static void do_send_buf(void *data)
{
    deed *d = data;
    d->result = weir_send_buf(world_conn(d->w, d->id), d->buf);
}

static void do_close(void *data)
{
    deed *d = data;
    weir_close(world_conn(d->w, d->id));
}

static void do_abort(void *data)
{
    deed *d = data;
    weir_abort(world_conn(d->w, d->id));
}

static void do_pause(void *data)
{
    deed *d = data;
    weir_conn_pause(world_conn(d->w, d->id));
}

static void do_resume(void *data)
{
    deed *d = data;
    weir_conn_resume(world_conn(d->w, d->id));
}

static void do_queued(void *data)
{
    deed *d = data;
    d->size = weir_conn_queued(world_conn(d->w, d->id));
}

static void run_deed(void (*run)(void *data), deed *d)
{
    world_run(d->w, wr_id_worker(d->id), run, d);
}

int world_send(world *w, weir_conn_id id, const void *bytes, size_t size)
{
    deed d = { .w = w, .id = id, .bytes = bytes, .size = size };
    run_deed(do_send, &d);
    return d.result;
}

int world_send_buf(world *w, weir_conn_id id, weir_buf *buf)
{
    deed d = { .w = w, .id = id, .buf = buf };
    run_deed(do_send_buf, &d);
    return d.result;
}

void world_close(world *w, weir_conn_id id)
{
    run_deed(do_close, &(deed){ .w = w, .id = id });
}

void world_abort(world *w, weir_conn_id id)
{
    run_deed(do_abort, &(deed){ .w = w, .id = id });
}

void world_pause(world *w, weir_conn_id id)
{
    run_deed(do_pause, &(deed){ .w = w, .id = id });
}

void world_resume(world *w, weir_conn_id id)
{
    run_deed(do_resume, &(deed){ .w = w, .id = id });
}

size_t world_queued(world *w, weir_conn_id id)
{
    deed d = { .w = w, .id = id };
    run_deed(do_queued, &d);
    return d.size;
}

uint64_t world_random(uint64_t *state)
{
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    return *state * 0x2545f4914f6cdd1dULL;
}

void world_fill(void *bytes, size_t size, uint64_t seed)
{
    uint64_t state = seed * 2 + 1;
    for (size_t i = 0; i < size; i++) ((uint8_t *)bytes)[i] = (uint8_t)(world_random(&state) >> 56);
}
