/* What any thread may do to a connection by its id: it becomes a message to the connection's worker. */
#include <string.h>

#include "core/buffer.h"
#include "core/conn.h"
#include "core/runtime.h"
#include "platform/bug.h"

enum command { SEND, SEND_BUF, CLOSE, ABORT, TELL_SLOW };

/* A message is counted as so many bytes at least, which is about what it holds while it waits: else a megabyte's limit
 * would let a million messages of one byte wait, and those are a hundred megabytes. */
enum { CHARGE_MIN = 64 };

typedef struct wr_request {
    wr_message message;
    weir_conn_id id;
    weir_buf *buf; /* SEND_BUF */
    uint32_t size; /* SEND, SEND_BUF: bytes to send */
    uint8_t command;
    uint8_t bytes[]; /* SEND */
} wr_request;

static uint32_t charge(size_t size)
{
    return size > CHARGE_MIN ? (uint32_t)size : CHARGE_MIN;
}

static wr_slot *find_slot(const weir_runtime *runtime, weir_conn_id id, wr_worker **worker)
{
    if (wr_id_worker(id) >= runtime->worker_count || wr_id_generation(id) == 0) return NULL;
    *worker = &runtime->workers[wr_id_worker(id)];
    return wr_slots_at(&(*worker)->slots, wr_id_slot(id));
}

static size_t request_size(const wr_request *request)
{
    return sizeof *request + (request->command == SEND ? request->size : 0);
}

static void free_request(wr_worker *worker, wr_message *message)
{
    wr_request *request = WR_CONTAINER_OF(message, wr_request, message);
    weir_buf_release(request->buf);
    wr_heap_free(&worker->runtime->heap, request, request_size(request));
}

/* What its limits refuse is counted there; one that is closing is as good as gone. */
static void send_now(weir_conn *conn, const wr_request *request)
{
    int error =
        request->buf ? wr_conn_enqueue_buf(conn, request->buf) : wr_conn_enqueue(conn, request->bytes, request->size);
    if (error == WEIR_ECLOSED) wr_add(&conn->worker->counters.sends_dead, 1);
}

static void forget_told(wr_slot *slot)
{
    atomic_fetch_and_explicit(&slot->shared.limit, ~WR_SLOT_TOLD, memory_order_relaxed);
}

static void run_request(wr_worker *worker, wr_message *message)
{
    wr_request *request = WR_CONTAINER_OF(message, wr_request, message);
    wr_slot *slot = wr_slots_at(&worker->slots, wr_id_slot(request->id));
    bool is_send = request->command == SEND || request->command == SEND_BUF;
    if (is_send) atomic_fetch_sub_explicit(&slot->shared.queued, charge(request->size), memory_order_relaxed);
    weir_conn *conn = wr_slot_is_alive(slot, request->id) ? slot->owner.conn : NULL;
    /* Also for one that has gone: at worst the next one in the slot is told twice. */
    if (request->command == TELL_SLOW) forget_told(slot);
    if (!conn || conn->state == WR_CONN_GONE) {
        if (is_send) wr_add(&worker->counters.sends_dead, 1);
    } else if (is_send) {
        send_now(conn, request);
    } else if (request->command == CLOSE) {
        wr_conn_close(conn, WEIR_ECLOSED);
    } else if (request->command == ABORT) {
        wr_conn_fail(conn, WEIR_EABORTED, 0);
    } else {
        wr_conn_apply_slow_policy(conn);
    }
    free_request(worker, message);
}

static wr_request *make_request(weir_runtime *runtime, enum command command, weir_conn_id id, uint32_t size)
{
    size_t room = sizeof(wr_request) + (command == SEND ? size : 0);
    wr_request *request = wr_heap_alloc(&runtime->heap, room);
    if (!request) return NULL;
    *request = (wr_request){
        .message = { .run = run_request, .drop = free_request }, .id = id, .size = size, .command = (uint8_t)command
    };
    return request;
}

static int command(weir_runtime *runtime, enum command what, weir_conn_id id)
{
    wr_worker *worker;
    wr_slot *slot = find_slot(runtime, id, &worker);
    if (!slot) return WEIR_EINVAL;
    if (!wr_slot_is_alive(slot, id)) return 0;
    wr_request *request = make_request(runtime, what, id, 0);
    if (!request) return WEIR_ENOMEM;
    wr_message_post(worker, &request->message);
    return 0;
}

/* Counts the message to what is on the way to the connection, unless its limit forbids. The first one may always go, if
 * its bytes may. */
static bool reserve(wr_slot *slot, size_t size)
{
    uint32_t limit = atomic_load_explicit(&slot->shared.limit, memory_order_relaxed) & ~WR_SLOT_TOLD;
    uint32_t queued = atomic_load_explicit(&slot->shared.queued, memory_order_relaxed);
    do {
        bool is_over = size > limit || (queued > 0 && queued + (uint64_t)charge(size) > limit);
        if (is_over && !WR_BUG(remote_uncounted)) return false;
    } while (!atomic_compare_exchange_weak_explicit(&slot->shared.queued, &queued, queued + charge(size),
                                                    memory_order_relaxed, memory_order_relaxed));
    return true;
}

/* Its worker applies the policy. One such message at a time: what cannot be sent must not fill the mailbox instead. */
static int refuse(weir_runtime *runtime, wr_slot *slot, weir_conn_id id)
{
    wr_worker *worker = &runtime->workers[wr_id_worker(id)];
    atomic_fetch_add_explicit(&worker->shared.refused_sends, 1, memory_order_relaxed);
    uint32_t limit = atomic_fetch_or_explicit(&slot->shared.limit, WR_SLOT_TOLD, memory_order_relaxed);
    if (limit & WR_SLOT_TOLD) return WEIR_ESLOW;
    /* Where no message went, the next refusal tries again; it may be of another connection, in the same slot. */
    if (command(runtime, TELL_SLOW, id) != 0 || !wr_slot_is_alive(slot, id)) forget_told(slot);
    return WEIR_ESLOW;
}

static int send_to(weir_runtime *runtime, weir_conn_id id, const void *bytes, size_t size, weir_buf *buf)
{
    wr_worker *worker;
    wr_slot *slot = find_slot(runtime, id, &worker);
    if (!slot || (!bytes && !buf && size > 0)) return WEIR_EINVAL;
    if (!wr_slot_is_alive(slot, id)) {
        atomic_fetch_add_explicit(&worker->shared.dead_sends, 1, memory_order_relaxed);
        return 0;
    }
    if (size == 0) return 0;
    if (!reserve(slot, size)) return refuse(runtime, slot, id);
    wr_request *request = make_request(runtime, buf ? SEND_BUF : SEND, id, (uint32_t)size);
    if (!request) {
        atomic_fetch_sub_explicit(&slot->shared.queued, charge(size), memory_order_relaxed);
        return WEIR_ENOMEM;
    }
    if (bytes)
        memcpy(request->bytes, bytes, size);
    else
        request->buf = weir_buf_retain(buf);
    wr_message_post(worker, &request->message);
    return 0;
}

int weir_send_to(weir_runtime *runtime, weir_conn_id id, const void *bytes, size_t size)
{
    return send_to(runtime, id, bytes, size, NULL);
}

int weir_send_buf_to(weir_runtime *runtime, weir_conn_id id, weir_buf *buf)
{
    if (!buf) return WEIR_EINVAL;
    return send_to(runtime, id, NULL, buf->size, buf);
}

int weir_close_id(weir_runtime *runtime, weir_conn_id id)
{
    return command(runtime, CLOSE, id);
}

int weir_abort_id(weir_runtime *runtime, weir_conn_id id)
{
    return command(runtime, ABORT, id);
}
