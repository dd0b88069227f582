/* Receiving and sending. */
#include <string.h>

#include "platform/bug.h"
#include "platform/sim/sim.h"

uint64_t wr_sim_slices_sum(const wr_slice *slices)
{
    uint64_t sum = 0;
    uint32_t left = WR_SIM_SUM_MAX;
    for (; slices; slices = slices->next) {
        WR_SIM_RULE(slices->size > 0 && slices->data, "a slice has bytes");
        uint32_t size = slices->size < left ? slices->size : left;
        sum = wr_sim_sum(sum, slices->data, size);
        left -= size;
    }
    return sum;
}

/* ---- sending ---- */

static void finish_send(wr_sim_file *file, int error)
{
    wr_sim_socket *socket = file->socket;
    wr_op *op = socket->out;
    socket->out = NULL;
    socket->slice = NULL;
    if (error == 0 && socket->submitting && op->prompt && wr_sim_coin(file->queue->sim)) {
        socket->sent = NULL;
        op->pending = false;
        return;
    }
    wr_sim_finish(file->queue, socket, op, error);
}

/* How many bytes are left to send, up to `most`. */
static uint32_t count_left(const wr_sim_socket *socket, uint32_t most)
{
    uint32_t left = 0, skip = socket->slice_done;
    for (const wr_slice *slice = socket->slice; slice && left < most; slice = slice->next) {
        uint32_t size = slice->size - skip;
        left = size > most - left ? most : left + size;
        skip = 0;
    }
    return left;
}

static void gather(wr_sim_socket *socket, uint8_t *bytes, uint32_t size)
{
    while (size > 0) {
        uint32_t part = socket->slice->size - socket->slice_done;
        if (part > size) part = size;
        memcpy(bytes, (const uint8_t *)socket->slice->data + socket->slice_done, part);
        bytes += part;
        size -= part;
        socket->slice_done += part;
        if (WR_BUG(partial_write) && socket->slice_done < socket->slice->size) socket->slice_done = 0;
        if (socket->slice_done < socket->slice->size) return;
        socket->slice = socket->slice->next;
        socket->slice_done = 0;
    }
}

/* Sends what there is room for. */
void wr_sim_push(wr_sim *sim, wr_sim_file *file)
{
    wr_sim_socket *socket = file->socket;
    if (!socket || !socket->out || file->kind != WR_FILE_STREAM) return; /* the room comes too late */
    if (file->peer && wr_sim_strikes(sim, WR_FAULT_ENOBUFS)) {
        finish_send(file, WEIR_ENOBUFS);
        return;
    }
    while (socket->slice && file->peer) {
        uint32_t held = file->peer->pipe.held;
        if (held >= sim->options.window) return;
        uint32_t room = sim->options.window - held;
        uint32_t size = count_left(socket, room < WR_SIM_SEGMENT_MAX ? room : WR_SIM_SEGMENT_MAX);
        if (size > 1 && wr_sim_strikes(sim, WR_FAULT_PARTIAL)) size = 1 + (uint32_t)wr_random_below(&sim->random, size);
        uint8_t *bytes = wr_sim_pipe_send(sim, file, file->peer, size);
        if (!bytes) {
            finish_send(file, WEIR_ENOBUFS);
            return;
        }
        gather(socket, bytes, size);
    }
    if (!file->peer) wr_sim_provoke(sim, file); /* all of it goes to nobody */
    finish_send(file, 0);
}

void wr_sim_send(wr_sim_queue *queue, wr_sim_socket *socket, wr_op *op, const wr_slice *slices)
{
    socket->out = op;
    socket->slice = socket->sent = slices;
    socket->slice_done = 0;
    socket->sent_sum = wr_sim_slices_sum(slices);
    socket->submitting = true;
    if (socket->file->error)
        finish_send(socket->file, socket->file->error);
    else
        wr_sim_push(queue->sim, socket->file);
    socket->submitting = false;
}

void wr_sim_shutdown(wr_sim *sim, wr_sim_file *file)
{
    if (file->shut) return;
    file->shut = true;
    if (!file->peer) return; /* it shows in the next recv */
    if (!wr_sim_pipe_send(sim, file, file->peer, 0)) wr_sim_take_reset(sim, file);
}

/* ---- receiving ---- */

unsigned wr_sim_serve_recv(wr_sim_queue *queue, wr_sim_socket *socket, wr_completion *out)
{
    wr_sim_file *file = socket->file;
    *out = (wr_completion){ .op = socket->in };
    if (file->pipe.unread > 0) {
        uint8_t *buffer = wr_sim_lease_get(queue, queue->own->buffer_size);
        if (buffer) {
            out->buffer = buffer;
            out->size = wr_sim_pipe_read(queue->sim, file, buffer, queue->own->buffer_size);
        } else {
            out->error = WEIR_ENOMEM;
        }
    } else {
        out->error = file->error ? file->error : WEIR_EEOF;
        out->system_error = wr_sim_code(out->error);
    }
    WR_SIM_RULE(socket->in->pending, "an operation is the backend's until its final completion");
    if (out->error == 0 && socket->in->multishot && wr_sim_coin(queue->sim)) {
        out->flags = WR_MORE;
        socket->went_on = queue->own->waits;
        return 1;
    }
    socket->in->pending = false;
    socket->in = NULL;
    return 1;
}

void wr_sim_part(wr_sim_queue *queue, wr_sim_socket *socket)
{
    wr_sim_file *file = socket->file;
    if (file->pipe.unread == 0 || !wr_sim_coin(queue->sim)) return;
    socket->last_buffer = wr_sim_lease_get(queue, queue->own->buffer_size);
    if (!socket->last_buffer) return;
    socket->last_size = wr_sim_pipe_read(queue->sim, file, socket->last_buffer, queue->own->buffer_size);
    wr_op *op = socket->in;
    socket->in = NULL;
    wr_sim_finish(queue, socket, op, 0);
}
