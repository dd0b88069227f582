/* Listening and accepting. */
#include <stdlib.h>
#include <string.h>

#include "platform/sim/sim.h"

/* ---- addresses ---- */

/* 0.0.0.0 and [::] stand for all addresses of a host. */
bool wr_sim_is_any(const wr_addr *addr)
{
    static const uint8_t any[16];
    return memcmp(addr->ip, any, sizeof addr->ip) == 0;
}

/* Any address is some host's here, but for those that RFC 5737 sets aside for documentation first. */
bool wr_sim_is_foreign(const wr_addr *addr)
{
    return addr->family == WR_FAMILY_IPV4 && addr->ip[0] == 192 && addr->ip[1] == 0 && addr->ip[2] == 2;
}

/* There are files in the root's folders and beside the program, and no other folders. */
bool wr_sim_has_folder(const char *path)
{
    return path[0] == '/' || !strchr(path, '/');
}

static bool takes_ipv4(const wr_sim_file *listener)
{
    if (listener->local.family == WR_FAMILY_IPV4) return true;
    return wr_sim_is_any(&listener->local) && !listener->ipv6_only;
}

/* Whether a connection to the address is for this listener: 2 for its very own, 1 as one of all. */
static int match(const wr_sim_file *listener, const wr_addr *addr, const char *path)
{
    if (addr->family == WR_FAMILY_UNIX) return listener->path && strcmp(listener->path, path) == 0 ? 2 : 0;
    if (listener->path || listener->local.port != addr->port) return 0;
    if (wr_sim_same_host(&listener->local, addr)) return 2;
    if (!wr_sim_is_any(&listener->local)) return 0;
    return addr->family == listener->local.family || (addr->family == WR_FAMILY_IPV4 && takes_ipv4(listener));
}

wr_sim_file *wr_sim_find_listener(wr_sim *sim, const wr_addr *addr, const char *path)
{
    int best = 1;
    uint32_t count = 0;
    for (wr_sim_file *file = sim->listeners; file; file = file->next) {
        int matches = match(file, addr, path);
        if (matches < best) continue;
        count = matches > best ? 1 : count + 1;
        best = matches;
    }
    uint64_t choice = count > 0 ? wr_random_below(&sim->random, count) : 0;
    for (wr_sim_file *file = sim->listeners; file; file = file->next)
        if (match(file, addr, path) == best && choice-- == 0) return file;
    return NULL;
}

/* Whether the two cannot have one port both. */
static bool overlaps(const wr_sim_file *listener, const wr_listen_params *params)
{
    const wr_addr *addr = &params->local.addr;
    if (addr->family == WR_FAMILY_UNIX) return listener->path && strcmp(listener->path, params->local.path) == 0;
    if (listener->path || listener->local.port != addr->port) return false;
    if (wr_sim_same_host(&listener->local, addr)) return true;
    if (listener->local.family == addr->family) return wr_sim_is_any(addr) || wr_sim_is_any(&listener->local);
    if (addr->family == WR_FAMILY_IPV4) return takes_ipv4(listener);
    return wr_sim_is_any(addr) && !params->ipv6_only;
}

static bool is_taken(const wr_sim *sim, const wr_listen_params *params)
{
    for (const wr_sim_file *file = sim->listeners; file; file = file->next) {
        if (!overlaps(file, params)) continue;
        if (!file->shared_port || !params->shared_port || params->claims_port) return true;
    }
    return false;
}

/* A port that no listener has. */
static uint16_t choose_port(wr_sim *sim)
{
    for (int tries = 0; tries <= UINT16_MAX - WR_SIM_PORT_BOUND; tries++) {
        uint16_t port = sim->next_listen_port;
        sim->next_listen_port = port == UINT16_MAX ? WR_SIM_PORT_BOUND : (uint16_t)(port + 1);
        const wr_sim_file *file = sim->listeners;
        while (file && file->local.port != port) file = file->next;
        if (!file) return port;
    }
    return 0;
}

/* ---- listening ---- */

static int fail(wr_listen_result *out, enum wr_step step, int error)
{
    out->step = step;
    return error;
}

static int bind_file(wr_sim *sim, wr_sim_file *file, wr_listen_params *params, wr_listen_result *out)
{
    wr_addr *addr = &params->local.addr;
    bool is_path = addr->family == WR_FAMILY_UNIX;
    if (wr_sim_is_foreign(addr)) return fail(out, WR_STEP_BIND, WEIR_EADDRNOTAVAIL);
    if (is_path && !wr_sim_has_folder(params->local.path)) return fail(out, WR_STEP_BIND, WEIR_ENOENT);
    if (!is_path && addr->port == 0) addr->port = choose_port(sim);
    if ((!is_path && addr->port == 0) || is_taken(sim, params)) return fail(out, WR_STEP_BIND, WEIR_EADDRINUSE);
    if (is_path) {
        size_t size = strlen(params->local.path) + 1;
        file->path = malloc(size);
        if (!file->path) return fail(out, WR_STEP_BIND, WEIR_ENOBUFS);
        memcpy(file->path, params->local.path, size);
    }
    return 0;
}

int wr_sim_listen(wr_sim *sim, const wr_listen_params *params, wr_listen_result *out)
{
    *out = (wr_listen_result){ .step = WR_STEP_NONE };
    if (wr_sim_strikes(sim, WR_FAULT_EMFILE)) return fail(out, WR_STEP_SOCKET, WEIR_EMFILE);
    wr_sim_file *file = wr_sim_file_open(sim, WR_FILE_LISTENER);
    if (!file) return fail(out, WR_STEP_SOCKET, WEIR_ENOBUFS);
    wr_listen_params chosen = *params;
    int error = wr_sim_file_count(sim, file) ? 0 : fail(out, WR_STEP_SOCKET, WEIR_EMFILE);
    if (error == 0) error = bind_file(sim, file, &chosen, out);
    if (error) {
        wr_sim_file_drop(sim, file);
        return error;
    }
    file->local = chosen.local.addr;
    file->shared_port = params->shared_port;
    file->ipv6_only = params->ipv6_only;
    file->backlog.max = params->backlog;
    file->next = sim->listeners;
    sim->listeners = file;
    wr_sim_note(sim, WR_NOTE_LISTEN, file, 0);
    out->bound = file->local;
    out->socket = wr_sim_file_handle(file);
    return 0;
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
