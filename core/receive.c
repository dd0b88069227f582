/* From bytes to messages: frames are delivered where they lie in the receive buffer; only an unfinished one is kept. */
#include <assert.h>
#include <string.h>

#include "core/conn.h"
#include "core/framing.h"
#include "core/inbox.h"
#include "platform/hints.h"

enum {
    TAIL_MIN = 256,  /* bytes of a tail's first block */
    TAIL_STEP = 1024 /* bytes taken at a time while a frame's size is not known: what is over is given back */
};

/* Whether messages may be delivered at this moment. */
static inline bool is_listening(const weir_conn *conn)
{
    return conn->state == WR_CONN_OPEN && conn->deaf == 0;
}

static void free_tail(weir_conn *conn, wr_tail *tail)
{
    if (tail) wr_free(wr_worker_memory(conn->worker), tail, sizeof *tail + tail->capacity);
}

void wr_conn_free_tail(weir_conn *conn)
{
    free_tail(conn, conn->tail);
    conn->tail = NULL;
}

/* Appends to the tail. It grows with what has come, not with what a header announces: a peer that says 64 KiB and sends
 * three bytes holds 256. */
static int keep(weir_conn *conn, const uint8_t *bytes, size_t size)
{
    wr_tail *tail = conn->tail;
    uint32_t held = tail ? tail->size : 0;
    uint32_t needed = held + (uint32_t)size;
    if (!tail || needed > tail->capacity) {
        uint32_t capacity = tail ? tail->capacity * 2 : TAIL_MIN;
        if (capacity < needed) capacity = needed;
        wr_tail *larger = wr_alloc(wr_worker_memory(conn->worker), sizeof *larger + capacity);
        if (!larger) return WEIR_ENOMEM;
        *larger = (wr_tail){ .size = held, .capacity = capacity, .scanned = tail ? tail->scanned : 0 };
        if (tail) memcpy(larger->bytes, tail->bytes, held);
        free_tail(conn, tail);
        conn->tail = tail = larger;
    }
    memcpy(tail->bytes + held, bytes, size);
    tail->size = needed;
    return 0;
}

/* `rest`: bytes of the same read that follow the message. */
static inline void deliver(weir_conn *conn, const uint8_t *bytes, size_t size, size_t rest)
{
    const weir_protocol *protocol = wr_conn_protocol(conn);
    wr_add(&conn->worker->counters.messages_received, 1);
    if (!conn->got_message) {
        conn->got_message = true;
        if (!conn->write_dead) conn->has_deadline = false; /* the handshake's */
    }
    if (protocol->on_message)
        protocol->on_message(conn, bytes, size);
    else if (protocol->inbox && wr_inbox_message(conn, bytes, size, rest) != 0)
        wr_conn_fail(conn, WEIR_ENOMEM, 0);
}

static inline int64_t next_frame(const weir_conn *conn, const uint8_t *bytes, size_t size, uint32_t *scanned)
{
    const weir_protocol *protocol = wr_conn_protocol(conn);
    if (protocol->framing.kind == WEIR_FRAMING_NONE) return wr_framing_take_all(protocol->max_message, size);
    return wr_framing_next(&protocol->framing, protocol->max_message, bytes, size, scanned);
}

/* A custom framing that looks ahead has found the end of a frame far behind: what follows the frame has been in the
 * tail before. All that is there is cut anew, at the end of the pass. Returns how many bytes were used: all of them. */
static size_t stash(weir_conn *conn, const uint8_t *bytes, size_t size)
{
    if (size > 0 && keep(conn, bytes, size) != 0) {
        wr_conn_fail(conn, WEIR_ENOMEM, 0);
        return size;
    }
    conn->tail->scanned = 0;
    conn->stashed = true;
    wr_conn_touch(conn);
    return size;
}

/* Completes the frame that the tail begins, with as many of the bytes as it takes, and delivers it. Returns how many
 * were used: all of them if the frame is still unfinished. */
WR_COLD static size_t finish_tail(weir_conn *conn, const uint8_t *bytes, size_t size)
{
    size_t used = 0;
    for (;;) {
        wr_tail *tail = conn->tail;
        int64_t frame = next_frame(conn, tail->bytes, tail->size, &tail->scanned);
        if (frame < 0) {
            wr_conn_fail(conn, (int)frame, 0);
            return size;
        }
        if (frame > 0 && (uint64_t)frame <= tail->size) {
            size_t over = tail->size - (size_t)frame;
            if (over > used) return stash(conn, bytes + used, size - used) + used;
            used -= over;      /* not the tail's, but of what came last */
            conn->tail = NULL; /* the callback may pause, which makes a new one */
            deliver(conn, tail->bytes, (size_t)frame, size - used);
            free_tail(conn, tail);
            return used;
        }
        if (used == size) return used;
        size_t step = frame > 0 ? (size_t)frame - tail->size : TAIL_STEP;
        if (step > size - used) step = size - used;
        if (keep(conn, bytes + used, step) != 0) {
            wr_conn_fail(conn, WEIR_ENOMEM, 0);
            return size;
        }
        used += step;
    }
}

/* What is left is the beginning of a frame, or nobody may hear it now. */
WR_COLD static void keep_rest(weir_conn *conn, const uint8_t *bytes, size_t size, uint32_t scanned)
{
    if (conn->state != WR_CONN_OPEN) return;
    if (!is_listening(conn)) conn->stashed = true; /* there may be whole frames in it */
    if (keep(conn, bytes, size) != 0)
        wr_conn_fail(conn, WEIR_ENOMEM, 0);
    else if (!conn->stashed)
        conn->tail->scanned = scanned;
}

static void cut(weir_conn *conn, const uint8_t *bytes, size_t size)
{
    if (conn->tail && is_listening(conn)) {
        size_t used = finish_tail(conn, bytes, size);
        bytes += used;
        size -= used;
    }
    uint32_t scanned = 0;
    while (size > 0 && is_listening(conn)) {
        scanned = 0;
        int64_t frame = next_frame(conn, bytes, size, &scanned);
        if (frame < 0) {
            wr_conn_fail(conn, (int)frame, 0);
            return;
        }
        if (frame == 0 || (uint64_t)frame > size) break;
        deliver(conn, bytes, (size_t)frame, size - (size_t)frame);
        bytes += frame;
        size -= (size_t)frame;
    }
    if (size > 0) keep_rest(conn, bytes, size, scanned);
}

WR_COLD static void cut_for_inbox(weir_conn *conn, const uint8_t *bytes, size_t size)
{
    wr_inbox_begin(conn);
    cut(conn, bytes, size);
    wr_inbox_finish(conn);
}

/* Without framing, what has come is mostly one message, as it is. */
static inline bool is_one_message(const weir_conn *conn, size_t size)
{
    const weir_protocol *protocol = wr_conn_protocol(conn);
    return protocol->framing.kind == WEIR_FRAMING_NONE && size <= protocol->max_message && is_listening(conn) &&
           !conn->tail;
}

static inline void receive(weir_conn *conn, const uint8_t *bytes, size_t size)
{
    if (wr_conn_protocol(conn)->inbox)
        cut_for_inbox(conn, bytes, size);
    else if (is_one_message(conn, size))
        deliver(conn, bytes, size, 0);
    else
        cut(conn, bytes, size);
}

WR_COLD static void receive_failed(weir_conn *conn, const wr_completion *completion)
{
    if (completion->error == WEIR_EEOF)
        conn->peer_ended = true;
    else if (completion->error != WEIR_ECANCELED)
        wr_conn_fail(conn, completion->error, completion->system_error);
    if (conn->state != WR_CONN_GONE) wr_conn_touch(conn);
}

/* The recv has ended, or goes on while nobody listens. */
WR_COLD static void after_received(weir_conn *conn)
{
    if (conn->state == WR_CONN_GONE) return;
    if (conn->recv.pending && wr_conn_is_paused(conn) && conn->state == WR_CONN_OPEN)
        wr_cq_recv_stop(conn->worker->cq, conn->sock);
    wr_conn_touch(conn);
}

void wr_conn_received(weir_conn *conn, const wr_completion *completion)
{
    if (completion->error != 0) {
        receive_failed(conn, completion);
        return;
    }
    wr_worker *worker = conn->worker;
    wr_add(&worker->counters.bytes_received, completion->size);
    conn->received_ms = (uint32_t)worker->owner.now_ms;
    if (conn->state == WR_CONN_OPEN) receive(conn, completion->buffer, completion->size);
    wr_cq_buf_return(worker->cq, completion->buffer);
    if (!conn->recv.pending || !is_listening(conn)) after_received(conn);
}

void wr_conn_unstash(weir_conn *conn)
{
    wr_tail *stash = conn->tail;
    conn->tail = NULL;
    conn->stashed = false;
    if (!stash) return;
    receive(conn, stash->bytes, stash->size);
    free_tail(conn, stash);
}

static void restart_idle_deadline(weir_conn *conn)
{
    conn->received_ms = wr_conn_now_ms(conn);
    conn->rearm = true;
    wr_conn_touch(conn);
}

void wr_conn_hear(weir_conn *conn)
{
    uint32_t handshake_ms = wr_conn_protocol(conn)->handshake_timeout_ms;
    bool awaits_first = !conn->got_message && conn->state == WR_CONN_OPEN && !conn->write_dead && !conn->end_told;
    if (handshake_ms && awaits_first) wr_conn_set_deadline(conn, handshake_ms);
    restart_idle_deadline(conn);
}

void weir_conn_pause(weir_conn *conn)
{
    assert(wr_worker_here() == conn->worker);
    if (conn->state == WR_CONN_OPEN) conn->paused = true;
}

void weir_conn_resume(weir_conn *conn)
{
    assert(wr_worker_here() == conn->worker);
    if (conn->state != WR_CONN_OPEN || !conn->paused) return;
    conn->paused = false;
    restart_idle_deadline(conn);
}
