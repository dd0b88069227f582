/* The queue of the simulator, and what its callers must not do. */
#include <stdlib.h>
#include <string.h>

#include "platform/sim/sim.h"

enum {
    SHORT_WAITS = 8, /* one in so many waits of a driven queue */
    SHORT_WAIT = 3,  /* brings this many completions at most */
};

/* ---- sockets ---- */

wr_sim_socket *wr_sim_socket_open(wr_sim_queue *queue, wr_sim_file *file)
{
    if (wr_sim_strikes(queue->sim, WR_FAULT_ENOMEM)) return NULL;
    wr_sim_socket *socket = wr_table_take(&queue->own->sockets, sizeof *socket);
    if (!socket) return NULL;
    socket->in_use = true;
    socket->file = file;
    file->socket = socket;
    file->queue = queue;
    return socket;
}

void wr_sim_socket_retire(wr_sim_socket *socket)
{
    if (socket->file) socket->file->socket = NULL;
    socket->file = NULL;
    wr_table_retire(&socket->record);
}

/* In front or behind, as the seed says: so any two sockets come in any order. */
static void queue_socket(wr_sim_queue *queue, wr_sim_socket *socket)
{
    if (socket->queued) return;
    socket->queued = true;
    wr_ready *later = &queue->own->later;
    if (wr_ready_empty(later) || wr_sim_coin(queue->sim)) {
        wr_ready_add(later, &queue->own->sockets, sizeof *socket, &socket->record);
        return;
    }
    socket->record.next = later->first;
    later->first = socket->record.slot;
}

void wr_sim_wake(const wr_sim_file *file)
{
    if (file->socket && file->socket->in) queue_socket(file->queue, file->socket);
}

static wr_sim_socket *get_socket(wr_sim_queue *queue, wr_sock sock)
{
    wr_table *sockets = &queue->own->sockets;
    WR_SIM_RULE(sock.generation != 0 && sock.slot < wr_table_slots(sockets), "a handle is one of this queue's");
    wr_sim_socket *socket = wr_sim_socket_at(queue->own, sock.slot);
    WR_SIM_RULE(socket->record.generation == sock.generation && socket->file, "a handle is not used after its close");
    return socket;
}

/* ---- operations ---- */

void wr_sim_begin(wr_op *op, enum wr_op_kind kind, uint32_t slot)
{
    WR_SIM_RULE(!op->pending, "an operation is not submitted while it is in flight");
    wr_op_begin(op, kind, slot);
}

void wr_sim_finish(wr_sim_queue *queue, wr_sim_socket *socket, wr_op *op, int error)
{
    WR_SIM_RULE(op->pending, "an operation is the backend's until its final completion");
    if (!socket) {
        wr_done_add(&queue->own->orphans, op, error, wr_sim_code(error));
        return;
    }
    wr_done_add(&socket->done, op, error, wr_sim_code(error));
    queue_socket(queue, socket);
}

/* ---- leased buffers ---- */

uint8_t *wr_sim_lease_get(wr_sim_queue *queue, size_t size)
{
    wr_sim_own *own = queue->own;
    if (wr_sim_strikes(queue->sim, WR_FAULT_ENOMEM)) return NULL;
    wr_sim_lease *lease = wr_alloc(own->memory, sizeof *lease + size);
    if (!lease) return NULL;
    lease->next = own->leases;
    lease->size = size;
    own->leases = lease;
    return lease->bytes;
}

void wr_sim_lease_put(wr_sim_queue *queue, const uint8_t *buffer)
{
    wr_sim_own *own = queue->own;
    wr_sim_lease **link = &own->leases;
    while (*link && (*link)->bytes != buffer) link = &(*link)->next;
    wr_sim_lease *lease = *link;
    WR_SIM_RULE(lease, "a buffer that was leased is returned, once, and to its own queue");
    *link = lease->next;
    wr_free(own->memory, lease, sizeof *lease + lease->size);
}

/* ---- delivering ---- */

/* What is sent is the backend's until here: a kernel may read them at any time. */
static void check_sent(wr_sim_socket *socket)
{
    uint64_t sum = socket->offered ? wr_sim_batch_sum(socket->offered) : wr_sim_slices_sum(socket->sent);
    WR_SIM_RULE(sum == socket->sent_sum, "what is sent stays as it is until the completion");
    socket->sent = NULL;
    socket->offered = NULL;
}

/* Nothing leads to the record any more. */
static void free_socket(wr_sim_queue *queue, wr_sim_socket *socket)
{
    assert(!socket->done.first && !socket->queued);
    socket->in_use = false;
    wr_table_recycle(&queue->own->sockets, &socket->record);
}

static void deliver(wr_sim_queue *queue, wr_sim_socket *socket, wr_op *op, wr_completion *out)
{
    *out = wr_done_completion(op);
    if (!socket) return;
    if (op->kind == WR_OP_SEND || op->kind == WR_OP_SEND_TO) check_sent(socket);
    if ((op->kind == WR_OP_RECV || op->kind == WR_OP_RECV_FROM) && op->error == 0) {
        if (op->kind == WR_OP_RECV)
            out->buffer = socket->last_buffer;
        else
            out->datagrams = (const wr_datagram *)(const void *)socket->last_buffer;
        out->size = socket->last_size;
        socket->last_buffer = NULL;
    }
    if (op->kind == WR_OP_CONNECT && op->error == 0)
        out->connected = (wr_sock){ .slot = socket->record.slot, .generation = socket->record.generation };
    bool is_last = op->kind == WR_OP_CLOSE || (op->kind == WR_OP_CONNECT && op->error != 0);
    if (is_last) free_socket(queue, socket);
}

/* What one socket has to deliver: results first, and bytes or connections if there is room. */
static unsigned serve_socket(wr_sim_queue *queue, wr_sim_socket *socket, wr_completion *out, unsigned capacity)
{
    unsigned count = 0;
    while (count < capacity) {
        wr_op *op = wr_done_take(&socket->done);
        if (!op) break;
        deliver(queue, socket, op, &out[count++]);
    }
    if (!socket->in_use || !socket->file) {
        if (socket->in_use && socket->done.first) queue_socket(queue, socket);
        return count;
    }
    if (count < capacity && socket->in) {
        if (socket->file->kind == WR_FILE_LISTENER)
            count += wr_sim_serve_accept(queue, socket, out + count, capacity - count);
        else if (!wr_sim_is_readable(socket->file))
            ; /* a wake-up for nothing */
        else if (socket->file->kind == WR_FILE_DATAGRAM)
            count += wr_sim_serve_recv_from(queue, socket, out + count);
        else
            count += wr_sim_serve_recv(queue, socket, out + count);
    }
    bool has_more = socket->in && (socket->file->kind == WR_FILE_LISTENER ? socket->file->backlog.first != NULL
                                                                          : wr_sim_is_readable(socket->file));
    if (socket->done.first || has_more) queue_socket(queue, socket);
    return count;
}

static unsigned serve_sockets(wr_sim_queue *queue, wr_completion *out, unsigned capacity)
{
    wr_sim_own *own = queue->own;
    if (wr_ready_empty(&own->now)) {
        own->now = own->later;
        wr_ready_init(&own->later);
    }
    unsigned count = 0;
    while (count < capacity && !wr_ready_empty(&own->now)) {
        wr_sim_socket *socket = wr_ready_take(&own->now, &own->sockets, sizeof *socket);
        socket->queued = false;
        count += serve_socket(queue, socket, out + count, capacity - count);
    }
    return count;
}

static unsigned take_posts(wr_sim_queue *queue, wr_completion *out, unsigned capacity)
{
    unsigned count = 0;
    while (count < capacity) {
        wr_op *op = wr_posts_take(&queue->posts);
        if (!op) break;
        op->pending = false;
        out[count++] = (wr_completion){ .op = op };
    }
    return count;
}

/* Posts first or last, as the seed says: so neither starves the other. */
static unsigned collect(wr_sim_queue *queue, wr_completion *out, unsigned capacity)
{
    unsigned count = 0;
    bool posts_first = !wr_posts_empty(&queue->posts) && wr_sim_coin(queue->sim);
    if (posts_first) count += take_posts(queue, out, capacity);
    while (count < capacity) {
        wr_op *op = wr_done_take(&queue->own->orphans);
        if (!op) break;
        deliver(queue, NULL, op, &out[count++]);
    }
    count += serve_sockets(queue, out + count, capacity - count);
    if (!posts_first) count += take_posts(queue, out + count, capacity - count);
    return count;
}

/* A kernel may have more than it tells at once. Without the odd short answer, what comes together would always be
 * served in one pass. */
static unsigned shorten(wr_sim *sim, unsigned capacity)
{
    bool is_short = capacity > SHORT_WAIT && wr_random_below(&sim->random, SHORT_WAITS) == 0;
    return is_short ? 1 + (unsigned)wr_random_below(&sim->random, SHORT_WAIT) : capacity;
}

/* ---- waiting ---- */

/* Nothing can happen, unless another thread does something. */
static bool await_others(wr_sim *sim)
{
    if (!sim->options.threads) return false;
    sim->waiters++;
    wr_cond_wait(&sim->changed, &sim->lock);
    sim->waiters--;
    return true;
}

/* Lets the world go on until the queue has something; `until_ns` on the world's clock. */
static unsigned wait_in_world(wr_sim_queue *queue, wr_completion *out, unsigned capacity, uint64_t until_ns)
{
    wr_sim *sim = queue->sim;
    for (;;) {
        wr_sim_run_events(sim);
        unsigned count = collect(queue, out, capacity);
        if (count > 0) return count;
        switch (wr_sim_step(sim, until_ns > sim->now_ns ? until_ns : sim->now_ns)) {
        case WR_SIM_STEPPED:
            break;
        case WR_SIM_IDLE:
            if (until_ns == WR_SIM_FOREVER && await_others(sim)) break;
            if (until_ns != WR_SIM_FOREVER) wr_sim_skip(sim, until_ns);
            return 0;
        default:
            return 0;
        }
    }
}

static unsigned sim_wait(wr_cq *cq, wr_completion *out, unsigned capacity, uint64_t deadline_ns)
{
    wr_sim_queue *queue = wr_sim_queue_of(cq);
    WR_SIM_RULE(queue->own, "a queue is not used after its destruction");
    WR_SIM_RULE(capacity > 0, "a wait has room for a completion");
    wr_sim_enter(queue->sim);
    queue->own->waits++;
    unsigned count;
    if (queue->step) {
        count = collect(queue, out, shorten(queue->sim, capacity));
    } else {
        uint64_t until_ns = deadline_ns > WR_SIM_EPOCH_NS ? deadline_ns - WR_SIM_EPOCH_NS : 0;
        count = wait_in_world(queue, out, capacity, deadline_ns == WR_DEADLINE_NEVER ? WR_SIM_FOREVER : until_ns);
    }
    wr_sim_leave(queue->sim);
    return count;
}

static uint64_t sim_now(wr_cq *cq)
{
    wr_sim *sim = wr_sim_queue_of(cq)->sim;
    wr_sim_enter(sim);
    uint64_t now_ns = sim->now_ns + WR_SIM_EPOCH_NS;
    wr_sim_leave(sim);
    return now_ns;
}

/* In signal handlers too, where the world is one thread's: then there is no lock to take. */
static void sim_post(wr_cq *cq, wr_op *op)
{
    wr_sim_queue *queue = wr_sim_queue_of(cq);
    WR_SIM_RULE(queue->own, "a queue is not used after its destruction");
    wr_sim_enter(queue->sim);
    wr_sim_begin(op, WR_OP_POST, WR_NO_SLOT);
    (void)wr_posts_push(&queue->posts, op);
    wr_sim_leave(queue->sim);
}

/* ---- birth and death ---- */

static int make_own(wr_sim_queue *queue, const wr_cq_options *options)
{
    wr_sim_own *own = wr_alloc(options->memory, sizeof *own);
    if (!own) return WEIR_ENOMEM;
    *own = (wr_sim_own){ .memory = options->memory,
                         .buffer_size = options->buffer_size ? options->buffer_size : WR_SIM_BUFFER_SIZE };
    wr_table_init(&own->sockets, options->memory, sizeof(wr_sim_socket));
    wr_ready_init(&own->now);
    wr_ready_init(&own->later);
    queue->own = own;
    return 0;
}

static int sim_create(wr_cq **out, const wr_cq_options *options)
{
    wr_sim *sim = options->sim;
    int error = sim ? 0 : wr_sim_create(&sim, &(wr_sim_options){ .threads = true });
    if (error) return error;
    wr_sim_queue *queue = calloc(1, sizeof *queue);
    error = queue ? make_own(queue, options) : WEIR_ENOMEM;
    if (error) {
        free(queue);
        if (!options->sim) wr_sim_destroy(sim);
        return error;
    }
    queue->base.ops = &wr_cq_sim;
    queue->sim = sim;
    queue->owns_sim = !options->sim;
    wr_sim_enter(sim);
    queue->number = sim->queue_numbers++;
    queue->next = sim->queues;
    sim->queues = queue;
    wr_sim_leave(sim);
    *out = &queue->base;
    return 0;
}

static void sim_destroy(wr_cq *cq)
{
    wr_sim_queue *queue = wr_sim_queue_of(cq);
    wr_sim_own *own = queue->own;
    wr_sim *sim = queue->sim;
    bool owns_sim = queue->owns_sim;
    WR_SIM_RULE(own, "a queue is destroyed once");
    wr_sim_enter(sim);
    for (uint32_t slot = 0; slot < wr_table_slots(&own->sockets); slot++) {
        wr_sim_socket *socket = wr_sim_socket_at(own, slot);
        if (socket->in_use && socket->last_buffer) wr_sim_lease_put(queue, socket->last_buffer);
        if (socket->in_use && socket->file) wr_sim_file_close(sim, socket->file, false);
    }
    WR_SIM_RULE(!own->leases, "a queue is destroyed when its buffers are back");
    wr_table_destroy(&own->sockets);
    wr_free(own->memory, own, sizeof *own);
    queue->own = NULL;
    wr_sim_leave(sim);
    if (owns_sim) wr_sim_destroy(sim);
}

/* ---- the table: every function enters the world, and looks at what it was given ---- */

static wr_sim_queue *enter(wr_cq *cq)
{
    wr_sim_queue *queue = wr_sim_queue_of(cq);
    WR_SIM_RULE(queue->own, "a queue is not used after its destruction");
    wr_sim_enter(queue->sim);
    return queue;
}

static int sim_listen(wr_cq *cq, const wr_listen_params *params, wr_listen_result *out)
{
    wr_sim_queue *queue = enter(cq);
    int error = wr_sim_listen(queue->sim, params, out);
    out->system_error = wr_sim_code(error);
    wr_sim_leave(queue->sim);
    return error;
}

static int sim_adopt(wr_cq *cq, wr_detached detached, wr_sock *out)
{
    wr_sim_queue *queue = enter(cq);
    const wr_sim_socket *socket = wr_sim_socket_open(queue, wr_sim_file_of(queue->sim, detached));
    if (socket) *out = (wr_sock){ .slot = socket->record.slot, .generation = socket->record.generation };
    wr_sim_leave(queue->sim);
    return socket ? 0 : WEIR_ENOMEM;
}

static void sim_discard(wr_cq *cq, wr_detached detached)
{
    wr_sim_queue *queue = enter(cq);
    wr_sim_file_close(queue->sim, wr_sim_file_of(queue->sim, detached), false);
    wr_sim_leave(queue->sim);
}

static void sim_accept(wr_cq *cq, wr_sock listener, wr_op *op)
{
    wr_sim_queue *queue = enter(cq);
    wr_sim_socket *socket = get_socket(queue, listener);
    WR_SIM_RULE(socket->file->kind == WR_FILE_LISTENER, "an accept is for a listener");
    WR_SIM_RULE(!socket->in, "a listener has one accept in flight");
    wr_sim_begin(op, WR_OP_ACCEPT, listener.slot);
    socket->begun = false;
    socket->in = op;
    if (socket->file->backlog.first) queue_socket(queue, socket);
    wr_sim_leave(queue->sim);
}

static void sim_connect(wr_cq *cq, const wr_connect_params *params, wr_op *op)
{
    wr_sim_queue *queue = enter(cq);
    wr_sim_begin(op, WR_OP_CONNECT, WR_NO_SLOT);
    wr_sim_connect(queue, params, op);
    wr_sim_leave(queue->sim);
}

static void sim_cancel(wr_cq *cq, wr_op *op)
{
    wr_sim_queue *queue = enter(cq);
    if (wr_op_has_slot(op)) {
        wr_sim_socket *socket = wr_sim_socket_at(queue->own, op->slot);
        bool is_cancellable = op->kind == WR_OP_ACCEPT || op->kind == WR_OP_CONNECT;
        WR_SIM_RULE(is_cancellable, "only accepts and connects are cancelled");
        if (op->kind == WR_OP_ACCEPT && socket->in == op) {
            socket->in = NULL;
            wr_sim_finish(queue, socket, op, WEIR_ECANCELED);
        } else if (op->kind == WR_OP_CONNECT && socket->out == op) {
            wr_sim_cancel_connect(queue, socket);
        }
    }
    wr_sim_leave(queue->sim);
}

static wr_sim_socket *get_stream(wr_sim_queue *queue, wr_sock sock)
{
    wr_sim_socket *socket = get_socket(queue, sock);
    WR_SIM_RULE(socket->file->kind == WR_FILE_STREAM, "bytes go over streams");
    return socket;
}

static void sim_recv(wr_cq *cq, wr_sock sock, wr_op *op)
{
    wr_sim_queue *queue = enter(cq);
    wr_sim_socket *socket = get_stream(queue, sock);
    WR_SIM_RULE(!socket->in, "a socket has one recv in flight");
    wr_sim_begin(op, WR_OP_RECV, sock.slot);
    socket->in = op;
    if (wr_sim_is_readable(socket->file)) queue_socket(queue, socket);
    wr_sim_leave(queue->sim);
}

static void sim_recv_stop(wr_cq *cq, wr_sock sock)
{
    wr_sim_queue *queue = enter(cq);
    wr_sim_socket *socket = get_stream(queue, sock);
    WR_SIM_RULE(socket->in && socket->went_on == queue->own->waits, "a recv that has just gone on is stopped");
    socket->in->pending = false;
    socket->in = NULL;
    wr_sim_leave(queue->sim);
}

static void sim_buf_return(wr_cq *cq, uint8_t *buffer)
{
    wr_sim_queue *queue = enter(cq);
    wr_sim_lease_put(queue, buffer);
    wr_sim_leave(queue->sim);
}

static void sim_send(wr_cq *cq, wr_sock sock, wr_op *op, const wr_slice *slices)
{
    wr_sim_queue *queue = enter(cq);
    wr_sim_socket *socket = get_stream(queue, sock);
    WR_SIM_RULE(!socket->out && !socket->sent, "a socket has one send in flight");
    WR_SIM_RULE(slices, "a send has bytes");
    WR_SIM_RULE(!socket->file->shut, "nothing is sent after the FIN");
    wr_sim_begin(op, WR_OP_SEND, sock.slot);
    wr_sim_send(queue, socket, op, slices);
    wr_sim_leave(queue->sim);
}

static wr_sim_socket *get_datagram_socket(wr_sim_queue *queue, wr_sock sock)
{
    wr_sim_socket *socket = get_socket(queue, sock);
    WR_SIM_RULE(socket->file->kind == WR_FILE_DATAGRAM, "datagrams go over their own sockets");
    return socket;
}

static int sim_udp_open(wr_cq *cq, const wr_udp_params *params, wr_listen_result *out)
{
    wr_sim_queue *queue = enter(cq);
    int error = wr_sim_udp_open(queue->sim, params, out);
    out->system_error = wr_sim_code(error);
    wr_sim_leave(queue->sim);
    return error;
}

static void sim_recv_from(wr_cq *cq, wr_sock sock, wr_op *op, uint16_t size_max)
{
    wr_sim_queue *queue = enter(cq);
    wr_sim_socket *socket = get_datagram_socket(queue, sock);
    WR_SIM_RULE(!socket->in, "a socket has one recv in flight");
    WR_SIM_RULE(size_max > 0, "a recv_from has room for a byte");
    wr_sim_begin(op, WR_OP_RECV_FROM, sock.slot);
    socket->in = op;
    socket->size_max = size_max;
    if (wr_sim_is_readable(socket->file)) queue_socket(queue, socket);
    wr_sim_leave(queue->sim);
}

static void sim_datagrams_return(wr_cq *cq, const wr_datagram *datagrams)
{
    wr_sim_queue *queue = enter(cq);
    wr_sim_lease_put(queue, (const uint8_t *)datagrams);
    wr_sim_leave(queue->sim);
}

static void sim_send_to(wr_cq *cq, wr_sock sock, wr_op *op, wr_send_batch *batch)
{
    wr_sim_queue *queue = enter(cq);
    wr_sim_socket *socket = get_datagram_socket(queue, sock);
    WR_SIM_RULE(!socket->out && !socket->offered, "a socket has one send in flight");
    WR_SIM_RULE(batch->first, "a send_to has a datagram");
    wr_sim_begin(op, WR_OP_SEND_TO, sock.slot);
    wr_sim_send_to(queue, socket, op, batch);
    wr_sim_leave(queue->sim);
}

static void sim_shutdown(wr_cq *cq, wr_sock sock)
{
    wr_sim_queue *queue = enter(cq);
    wr_sim_socket *socket = get_stream(queue, sock);
    WR_SIM_RULE(!socket->out, "no send is in flight at a shutdown");
    wr_sim_shutdown(queue->sim, socket->file);
    wr_sim_leave(queue->sim);
}

static void sim_close(wr_cq *cq, wr_sock sock, wr_op *op, bool reset)
{
    wr_sim_queue *queue = enter(cq);
    wr_sim_socket *socket = get_socket(queue, sock);
    wr_sim_begin(op, WR_OP_CLOSE, sock.slot);
    WR_SIM_RULE(!op->prompt || (!socket->in && !socket->out && !socket->done.first),
                "a close is prompt where nothing else is in flight");
    if (socket->in && socket->file->kind == WR_FILE_STREAM) wr_sim_part(queue, socket);
    if (socket->in && socket->file->kind == WR_FILE_DATAGRAM) wr_sim_part_from(queue, socket);
    if (socket->in) wr_sim_finish(queue, socket, socket->in, WEIR_ECANCELED);
    if (socket->out) wr_sim_finish(queue, socket, socket->out, WEIR_ECANCELED);
    socket->in = socket->out = NULL;
    wr_sim_file *file = socket->file;
    wr_sim_socket_retire(socket);
    wr_sim_file_close(queue->sim, file, reset);
    if (op->prompt && !socket->queued && wr_sim_coin(queue->sim)) {
        op->pending = false;
        free_socket(queue, socket);
    } else {
        wr_sim_finish(queue, socket, op, 0);
    }
    wr_sim_leave(queue->sim);
}

static void sim_local(wr_cq *cq, wr_sock sock, wr_addr *out)
{
    wr_sim_queue *queue = enter(cq);
    *out = get_socket(queue, sock)->file->local;
    wr_sim_leave(queue->sim);
}

const struct wr_cq_ops wr_cq_sim = {
    .name = "sim",
    .caps = WR_CAP_SHARED_PORT | WR_CAP_UNIX,
    .create = sim_create,
    .destroy = sim_destroy,
    .now = sim_now,
    .wait = sim_wait,
    .post = sim_post,
    .listen = sim_listen,
    .adopt = sim_adopt,
    .discard = sim_discard,
    .accept = sim_accept,
    .connect = sim_connect,
    .cancel = sim_cancel,
    .recv = sim_recv,
    .recv_stop = sim_recv_stop,
    .buf_return = sim_buf_return,
    .send = sim_send,
    .shutdown = sim_shutdown,
    .close = sim_close,
    .local = sim_local,
    .udp_open = sim_udp_open,
    .recv_from = sim_recv_from,
    .datagrams_return = sim_datagrams_return,
    .send_to = sim_send_to,
};
