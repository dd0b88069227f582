/* Bytes on their way. */
#include <stdlib.h>
#include <string.h>

#include "platform/bug.h"
#include "platform/sim/sim.h"

#define RETRANSMIT_NS UINT64_C(200000000) /* the first one's delay, as Linux has it; each further one's is double */

static uint64_t losses_ns(wr_sim *sim)
{
    uint64_t delay_ns = 0;
    for (int n = 0; n < WR_SIM_RETRANSMITS && wr_sim_strikes(sim, WR_FAULT_LOSS); n++) delay_ns += RETRANSMIT_NS << n;
    return delay_ns;
}

/* When a segment that is sent now will be there. */
static uint64_t arrival_ns(wr_sim *sim, wr_sim_pipe *pipe, uint32_t size)
{
    uint64_t leaves_ns = sim->now_ns;
    if (sim->options.bytes_per_second) {
        if (pipe->sender_free_ns > leaves_ns) leaves_ns = pipe->sender_free_ns;
        leaves_ns += size * UINT64_C(1000000000) / sim->options.bytes_per_second;
        pipe->sender_free_ns = leaves_ns;
    }
    uint64_t there_ns = leaves_ns + wr_sim_latency_ns(sim) + losses_ns(sim);
    if (there_ns > pipe->last_arrival_ns) pipe->last_arrival_ns = there_ns;
    return pipe->last_arrival_ns;
}

uint8_t *wr_sim_pipe_send(wr_sim *sim, wr_sim_file *from, wr_sim_file *to, uint32_t size)
{
    wr_sim_pipe *pipe = &to->pipe;
    wr_sim_segment *segment = malloc(sizeof *segment + size);
    if (!segment) return NULL;
    wr_sim_note(sim, size ? WR_NOTE_SEND : WR_NOTE_FIN, from, size);
    *segment = (wr_sim_segment){ .arrives_ns = arrival_ns(sim, pipe, size), .size = size };
    if (pipe->last)
        pipe->last->next = segment;
    else
        pipe->first = segment;
    pipe->last = segment;
    pipe->held += size;
    if (size == 0) pipe->fin_sent = true;
    if (!pipe->arriving) {
        pipe->arriving = segment;
        wr_sim_schedule(sim, to, WR_EVENT_ARRIVAL, segment->arrives_ns);
    }
    return segment->bytes;
}

void wr_sim_pipe_clear(wr_sim_pipe *pipe, bool all)
{
    wr_sim_segment *last_kept = NULL;
    wr_sim_segment *segment = pipe->first;
    if (!all) {
        for (; segment && segment != pipe->arriving; segment = segment->next) last_kept = segment;
    } else {
        pipe->unread = 0;
    }
    while (segment) {
        wr_sim_segment *next = segment->next;
        pipe->held -= segment->size - segment->taken;
        free(segment);
        segment = next;
    }
    pipe->arriving = NULL;
    pipe->last = last_kept;
    if (last_kept)
        last_kept->next = NULL;
    else
        pipe->first = NULL;
}

uint32_t wr_sim_pipe_read(wr_sim *sim, wr_sim_file *file, uint8_t *bytes, uint32_t size)
{
    wr_sim_pipe *pipe = &file->pipe;
    if (size > pipe->unread) size = pipe->unread;
    if (size > 1 && wr_sim_strikes(sim, WR_FAULT_PARTIAL)) size = 1 + (uint32_t)wr_random_below(&sim->random, size);
    for (uint32_t read = 0; read < size;) {
        wr_sim_segment *segment = pipe->first;
        uint32_t part = segment->size - segment->taken;
        if (part > size - read) part = size - read;
        memcpy(bytes + read, segment->bytes + segment->taken, part);
        read += part;
        segment->taken += part;
        if (segment->taken < segment->size) break;
        pipe->first = segment->next;
        if (pipe->last == segment) pipe->last = NULL;
        free(segment);
    }
    pipe->unread -= size;
    pipe->held -= size;
    wr_sim_note(sim, WR_NOTE_READ, file, size);
    wr_sim_file *peer = file->peer; /* which may wait for the room, and hears of it later */
    if (peer && peer->socket && peer->socket->out)
        wr_sim_schedule(sim, peer, WR_EVENT_WINDOW, sim->now_ns + wr_sim_latency_ns(sim));
    return size;
}

/* ---- events of a stream ---- */

/* Something on the way answers what `file` would have got by a reset, in both directions. */
static void reset_both(wr_sim *sim, wr_sim_file *file)
{
    wr_sim_file *peer = file->peer;
    if (peer) wr_sim_schedule(sim, peer, WR_EVENT_RESET, sim->now_ns + wr_sim_latency_ns(sim));
    wr_sim_take_reset(sim, file);
}

void wr_sim_arrive(wr_sim *sim, wr_sim_file *file)
{
    wr_sim_pipe *pipe = &file->pipe;
    if (!pipe->arriving) return; /* a reset was quicker */
    if (wr_sim_is_cut(sim, &file->local, &file->remote)) {
        pipe->cut_off = true;
        wr_sim_note(sim, WR_NOTE_HELD, file, 0);
        return;
    }
    while (pipe->arriving && pipe->arriving->arrives_ns <= sim->now_ns) {
        wr_sim_segment *segment = pipe->arriving;
        if (segment->size > 0 && wr_sim_strikes(sim, WR_FAULT_RESET)) {
            reset_both(sim, file);
            return;
        }
        pipe->arriving = segment->next;
        pipe->unread += segment->size;
        if (segment->size == 0) pipe->ended = !(WR_BUG(eof_swallowed) && pipe->unread > 0);
        sim->trace_hash = wr_sim_sum(sim->trace_hash, segment->bytes, segment->size);
        wr_sim_note(sim, segment->size ? WR_NOTE_ARRIVE : WR_NOTE_END, file, segment->size);
    }
    if (pipe->arriving) wr_sim_schedule(sim, file, WR_EVENT_ARRIVAL, pipe->arriving->arrives_ns);
    wr_sim_wake(file);
}

void wr_sim_take_reset(wr_sim *sim, wr_sim_file *file)
{
    if (file->error) return;
    if (wr_sim_is_cut(sim, &file->local, &file->remote)) {
        /* What waits for room will be sent at last, and answered in the same way. */
        file->unanswered = file->provoked || (file->socket && file->socket->out);
        wr_sim_note(sim, WR_NOTE_LOST, file, 0);
        return;
    }
    wr_sim_note(sim, WR_NOTE_RESET, file, 0);
    if (file->kind == WR_FILE_CONNECTING) { /* its answer is on the way, and is this */
        file->answer = WEIR_ECONNREFUSED;
        return;
    }
    file->error = WEIR_ECONNRESET;
    /* Some systems still hand over what came before a reset, others drop it. */
    wr_sim_pipe_clear(&file->pipe, wr_sim_coin(sim));
    file->pipe.ended = false;
    if (file->peer) file->peer->peer = NULL;
    file->peer = NULL;
    wr_sim_socket *socket = file->socket;
    if (!socket) return;
    if (socket->out) {
        wr_op *op = socket->out;
        socket->out = NULL;
        wr_sim_finish(file->queue, socket, op, WEIR_ECONNRESET);
    }
    wr_sim_wake(file);
}

void wr_sim_provoke(wr_sim *sim, wr_sim_file *file)
{
    file->provoked = true;
    uint64_t there_ns = wr_sim_latency_ns(sim);
    wr_sim_schedule(sim, file, WR_EVENT_RESET, sim->now_ns + there_ns + wr_sim_latency_ns(sim));
}

void wr_sim_resume(wr_sim *sim, wr_sim_file *file)
{
    if (file->unanswered) {
        file->unanswered = false;
        wr_sim_provoke(sim, file);
    }
    if (!file->pipe.cut_off) return;
    file->pipe.cut_off = false;
    wr_sim_schedule(sim, file, WR_EVENT_ARRIVAL, sim->now_ns + wr_sim_latency_ns(sim));
}
