/* The sockets of the simulator's kernel. */
#include <stdlib.h>

#include "platform/sim/sim.h"

_Static_assert(sizeof(intptr_t) == 8, "a detached socket's name is a slot and a generation of 32 bits each");

wr_sim_file *wr_sim_file_open(wr_sim *sim, enum wr_sim_file_kind kind)
{
    wr_sim_file *file = wr_table_take(&sim->files, sizeof *file);
    if (!file) return NULL;
    if (!wr_sim_events_reserve(sim)) {
        wr_table_retire(&file->record);
        wr_table_recycle(&sim->files, &file->record);
        return NULL;
    }
    file->kind = (uint8_t)kind;
    file->number = ++sim->numbers;
    return file;
}

bool wr_sim_file_count(wr_sim *sim, wr_sim_file *file)
{
    if (sim->options.max_sockets && sim->open >= sim->options.max_sockets) return false;
    sim->open++;
    file->counted = true;
    return true;
}

/* What was taken from the table stays in it until its last event has come: events point at it. */
void wr_sim_file_drop(wr_sim *sim, wr_sim_file *file)
{
    if (file->kind == WR_FILE_LISTENER) wr_sim_unlist(&sim->listeners, file);
    if (file->kind == WR_FILE_DATAGRAM) wr_sim_unlist(&sim->datagram_sockets, file);
    wr_sim_pipe_clear(&file->pipe, true);
    wr_sim_mail_clear(&file->mail);
    if (file->peer) file->peer->peer = NULL;
    if (file->socket) file->socket->file = NULL;
    if (file->counted) sim->open--;
    free(file->path);
    file->path = NULL;
    file->peer = NULL;
    file->socket = NULL;
    file->kind = WR_FILE_DROPPED;
    wr_table_retire(&file->record);
    if (file->scheduled) return;
    file->kind = WR_FILE_FREE;
    wr_table_recycle(&sim->files, &file->record);
}

/* A reset overtakes what is on its way, unless it only answers that nobody reads any more: then it comes behind it. */
static void reset_peer(wr_sim *sim, wr_sim_file *peer, bool overtakes)
{
    uint64_t due_ns = sim->now_ns + wr_sim_latency_ns(sim);
    if (!overtakes && due_ns <= peer->pipe.last_arrival_ns) due_ns = peer->pipe.last_arrival_ns + 1;
    wr_sim_schedule(sim, peer, WR_EVENT_RESET, due_ns);
}

static void close_backlog(wr_sim *sim, wr_sim_file *listener)
{
    wr_sim_file *next;
    for (wr_sim_file *file = listener->backlog.first; file; file = next) {
        next = file->next;
        wr_sim_file_close(sim, file, true);
    }
}

void wr_sim_file_close(wr_sim *sim, wr_sim_file *file, bool reset)
{
    wr_sim_note(sim, reset ? WR_NOTE_ABORT : WR_NOTE_CLOSE, file, 0);
    if (file->kind == WR_FILE_LISTENER) close_backlog(sim, file);
    wr_sim_file *peer = file->peer;
    if (peer && !file->error) {
        /* Bytes that nobody will read are answered by a reset: those that are here, and those on their way. */
        if (reset || file->pipe.held > 0)
            reset_peer(sim, peer, reset);
        else if (!peer->pipe.fin_sent && !wr_sim_pipe_send(sim, file, peer, 0))
            reset_peer(sim, peer, false); /* without the memory for a FIN, this is how it ends */
    }
    wr_sim_file_drop(sim, file);
}

wr_detached wr_sim_file_handle(const wr_sim_file *file)
{
    return (wr_detached){ .os = (intptr_t)((uint64_t)file->record.generation << 32 | file->record.slot) };
}

wr_sim_file *wr_sim_file_of(wr_sim *sim, wr_detached socket)
{
    uint32_t slot = (uint32_t)(uint64_t)socket.os, generation = (uint32_t)((uint64_t)socket.os >> 32);
    WR_SIM_RULE(slot < wr_table_slots(&sim->files), "a detached socket is one of this world's");
    wr_sim_file *file = wr_table_at(&sim->files, slot, sizeof *file);
    WR_SIM_RULE(file->record.generation == generation && file->kind >= WR_FILE_LISTENER,
                "a detached socket is adopted or discarded once");
    WR_SIM_RULE(!file->socket && !file->listener, "a detached socket is adopted or discarded once");
    return file;
}
