/* Connecting: a SYN that reaches a listener or not, and its answer. */
#include "platform/sim/sim.h"

#define RETRY_NS UINT64_C(1000000000) /* after the first SYN; each further wait is twice as long */

/* ---- addresses ---- */

static uint16_t choose_port(wr_sim *sim, uint16_t remote_port)
{
    uint16_t port;
    do {
        port = sim->next_port;
        sim->next_port = port + 1 == WR_SIM_PORT_BOUND ? WR_SIM_PORT_FIRST : (uint16_t)(port + 1);
    } while (port == remote_port);
    return port;
}

/* Both ends' addresses, or what is wrong with them. */
static int set_addresses(wr_sim *sim, wr_sim_file *file, const wr_connect_params *params)
{
    file->remote = *params->remote;
    file->local = (wr_addr){ .family = file->remote.family };
    if (file->remote.family == WR_FAMILY_UNIX) return wr_sim_has_folder(params->path) ? 0 : WEIR_ENOENT;
    if (wr_sim_is_any(&file->remote)) wr_sim_set_loopback(&file->remote);
    if (params->local) {
        if (wr_sim_is_foreign(params->local)) return WEIR_EADDRNOTAVAIL;
        file->local = *params->local;
    }
    if (wr_sim_is_any(&file->local)) wr_sim_set_source(&file->local, &file->remote);
    if (file->local.port == 0) file->local.port = choose_port(sim, file->remote.port);
    bool is_self = file->local.port == file->remote.port && wr_sim_same_host(&file->local, &file->remote);
    return is_self ? WEIR_ECONNREFUSED : 0;
}

/* ---- the connecting end ---- */

static void finish(wr_sim *sim, wr_sim_file *file, int error)
{
    wr_sim_queue *queue = file->queue;
    wr_sim_socket *socket = file->socket;
    wr_op *op = socket->out;
    socket->out = NULL;
    if (error) {
        if (error == WEIR_ECONNREFUSED) wr_sim_note(sim, WR_NOTE_REFUSED, file, 0);
        wr_sim_socket_retire(socket);
        wr_sim_file_close(sim, file, true);
    } else {
        file->kind = WR_FILE_STREAM;
        wr_sim_note(sim, WR_NOTE_CONNECTED, file, 0);
    }
    wr_sim_finish(queue, socket, op, error);
}

static int open_client(wr_sim_queue *queue, const wr_connect_params *params, wr_sim_file **out)
{
    wr_sim *sim = queue->sim;
    if (wr_sim_strikes(sim, WR_FAULT_EMFILE)) return WEIR_EMFILE;
    if (wr_sim_strikes(sim, WR_FAULT_ENOBUFS)) return WEIR_ENOBUFS;
    wr_sim_file *file = wr_sim_file_open(sim, WR_FILE_CONNECTING);
    if (!file) return WEIR_ENOBUFS;
    int error = wr_sim_file_count(sim, file) ? 0 : WEIR_EMFILE;
    if (error == 0) error = set_addresses(sim, file, params);
    if (error == 0 && !wr_sim_socket_open(queue, file)) error = WEIR_ENOMEM;
    if (error == 0 && file->remote.family == WR_FAMILY_UNIX) {
        /* What the SYN looks for; the path itself is not kept. */
        file->target = wr_sim_find_listener(sim, &file->remote, params->path);
        file->target_generation = file->target ? file->target->record.generation : 0;
    }
    if (error)
        wr_sim_file_drop(sim, file);
    else
        *out = file;
    return error;
}

void wr_sim_connect(wr_sim_queue *queue, const wr_connect_params *params, wr_op *op)
{
    wr_sim *sim = queue->sim;
    wr_sim_file *file;
    int error = open_client(queue, params, &file);
    if (error) {
        op->settled = true; /* here alone: else another queue's thread may be the one that finishes it */
        wr_sim_finish(queue, NULL, op, error);
        return;
    }
    op->slot = file->socket->record.slot;
    file->socket->out = op;
    wr_sim_note(sim, WR_NOTE_CONNECT, file, 0);
    wr_sim_schedule(sim, file, WR_EVENT_SYN, sim->now_ns + wr_sim_latency_ns(sim));
}

/* The other end may have answered already: then the cancel is too late, if the seed says so. Not where the answer was
 * cut off and waits to be sent again: that may take a minute, and no system would await it. */
void wr_sim_cancel_connect(wr_sim_queue *queue, wr_sim_socket *socket)
{
    wr_sim *sim = queue->sim;
    wr_sim_file *file = socket->file;
    if (file->given_up) return;
    file->given_up = file->attempts == 0 && wr_sim_is_scheduled(file, WR_EVENT_ANSWER) && wr_sim_coin(sim);
    if (!file->given_up) finish(sim, file, WEIR_ECANCELED);
}

static void try_again(wr_sim *sim, wr_sim_file *file, enum wr_sim_event_kind kind)
{
    if (file->given_up) {
        finish(sim, file, WEIR_ECANCELED);
        return;
    }
    wr_sim_note(sim, WR_NOTE_UNREACHED, file, file->attempts);
    wr_sim_schedule(sim, file, kind, sim->now_ns + (RETRY_NS << file->attempts++));
}

/* The wait after the last try is over too. */
static bool is_tired(wr_sim *sim, wr_sim_file *file)
{
    if (file->attempts <= WR_SIM_SYN_RETRIES) return false;
    finish(sim, file, file->given_up ? WEIR_ECANCELED : WEIR_ETIMEDOUT);
    return true;
}

/* ---- the other end ---- */

static void answer(wr_sim *sim, wr_sim_file *file, int result)
{
    file->answer = result;
    uint64_t due_ns = sim->now_ns + wr_sim_latency_ns(sim);
    file->pipe.last_arrival_ns = due_ns; /* no bytes overtake it */
    wr_sim_schedule(sim, file, WR_EVENT_ANSWER, due_ns);
}

static wr_sim_file *find_target(wr_sim *sim, const wr_sim_file *file)
{
    if (file->remote.family != WR_FAMILY_UNIX) return wr_sim_find_listener(sim, &file->remote, NULL);
    bool is_there = file->target && file->target->kind == WR_FILE_LISTENER &&
                    file->target->record.generation == file->target_generation;
    return is_there ? file->target : NULL;
}

/* The connection stands in the listener's backlog from here on. False: there was no room or memory. */
static bool enter_backlog(wr_sim *sim, wr_sim_file *listener, wr_sim_file *client)
{
    wr_sim_backlog *backlog = &listener->backlog;
    if (backlog->count >= backlog->max) return false;
    wr_sim_file *file = wr_sim_file_open(sim, WR_FILE_STREAM);
    if (!file) return false;
    file->local = client->remote;
    file->remote = client->local;
    file->peer = client;
    client->peer = file;
    file->listener = listener;
    if (backlog->first)
        backlog->last->next = file;
    else
        backlog->first = file;
    backlog->last = file;
    backlog->count++;
    wr_sim_wake(listener);
    return true;
}

void wr_sim_syn(wr_sim *sim, wr_sim_file *file)
{
    if (is_tired(sim, file)) return;
    if (wr_sim_is_foreign(&file->remote)) {
        answer(sim, file, WEIR_EHOSTUNREACH);
        return;
    }
    if (wr_sim_is_cut(sim, &file->local, &file->remote) || wr_sim_strikes(sim, WR_FAULT_LOSS)) {
        try_again(sim, file, WR_EVENT_SYN);
        return;
    }
    wr_sim_file *listener = find_target(sim, file);
    if (!listener || wr_sim_strikes(sim, WR_FAULT_REFUSE))
        answer(sim, file, WEIR_ECONNREFUSED);
    else if (enter_backlog(sim, listener, file))
        answer(sim, file, 0);
    else
        try_again(sim, file, WR_EVENT_SYN);
}

void wr_sim_answer(wr_sim *sim, wr_sim_file *file)
{
    if (is_tired(sim, file)) return;
    if (wr_sim_is_cut(sim, &file->local, &file->remote))
        try_again(sim, file, WR_EVENT_ANSWER);
    else
        finish(sim, file, file->answer);
}
