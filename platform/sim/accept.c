/* Listening and accepting. */
#include "platform/sim/sim.h"

/* ---- listening ---- */

int wr_sim_listen(wr_sim *sim, const wr_listen_params *params, wr_listen_result *out)
{
    int error = wr_sim_open_bound(sim, WR_FILE_LISTENER, &sim->listeners, params, out);
    if (error) return error;
    wr_sim_file *file = wr_sim_file_of(sim, out->socket);
    file->backlog.max = params->backlog;
    wr_sim_note(sim, WR_NOTE_LISTEN, file, 0);
    return 0;
}

wr_sim_file *wr_sim_find_listener(wr_sim *sim, const wr_addr *addr, const char *path)
{
    uint32_t count = wr_sim_count_bound(&sim->listeners, addr, path);
    if (count == 0) return NULL;
    return wr_sim_get_bound(&sim->listeners, addr, path, wr_random_below(&sim->random, count));
}

/* ---- accepting ---- */

static wr_sim_file *take_from_backlog(wr_sim_file *listener)
{
    wr_sim_file *file = listener->backlog.first;
    listener->backlog.first = file->next;
    listener->backlog.count--;
    file->next = file->listener = NULL;
    return file;
}

/* What stands in the way of every accept now: the end of this one. */
static int shortage(wr_sim *sim)
{
    if (wr_sim_strikes(sim, WR_FAULT_EMFILE)) return WEIR_EMFILE;
    if (wr_sim_strikes(sim, WR_FAULT_ENOBUFS)) return WEIR_ENOBUFS;
    if (sim->options.max_sockets && sim->open >= sim->options.max_sockets) return WEIR_EMFILE;
    return 0;
}

/* One that was reset in the backlog: systems hide it, tell of it, or hand it over. True: there is a completion. */
static bool accept_dead(wr_sim *sim, wr_sim_file *file, wr_completion *out)
{
    uint64_t choice = wr_random_below(&sim->random, 3);
    if (choice == 0) return true;
    wr_sim_file_drop(sim, file);
    out->error = WEIR_ECONNABORTED;
    out->system_error = wr_sim_code(out->error);
    return choice == 1;
}

unsigned wr_sim_serve_accept(wr_sim_queue *queue, wr_sim_socket *socket, wr_completion *out, unsigned capacity)
{
    wr_sim *sim = queue->sim;
    wr_sim_file *listener = socket->file;
    unsigned batch = socket->begun ? WR_SIM_ACCEPT_BATCH : 1;
    unsigned limit = capacity < batch ? capacity : batch;
    unsigned count = 0;
    if (!listener->backlog.first) return 0;
    int error = shortage(sim);
    if (error) {
        *out = (wr_completion){ .op = socket->in, .error = error, .system_error = wr_sim_code(error) };
        socket->in->pending = false;
        socket->in = NULL;
        return 1;
    }
    while (count < limit && listener->backlog.first) {
        if (sim->options.max_sockets && sim->open >= sim->options.max_sockets) break; /* the next wait says so, alone */
        wr_sim_file *file = take_from_backlog(listener);
        out[count] = (wr_completion){ .op = socket->in, .flags = WR_MORE };
        if (file->error && !accept_dead(sim, file, &out[count])) continue;
        if (out[count].error == 0) {
            (void)wr_sim_file_count(sim, file);
            out[count].socket = wr_sim_file_handle(file);
            out[count].peer = file->remote;
            wr_sim_note(sim, WR_NOTE_ACCEPT, file, 0);
        }
        count++;
    }
    socket->begun = socket->begun || count > 0;
    return count;
}
