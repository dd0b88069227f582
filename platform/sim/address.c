/* Addresses: which there are, whose they are, and who may have them. */
#include <stdlib.h>
#include <string.h>

#include "platform/sim/sim.h"

/* ---- hosts ---- */

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

bool wr_sim_is_loopback(const wr_addr *addr)
{
    static const uint8_t ipv6[16] = { [15] = 1 };
    return addr->family == WR_FAMILY_IPV4 ? addr->ip[0] == 127 : memcmp(addr->ip, ipv6, sizeof ipv6) == 0;
}

void wr_sim_set_loopback(wr_addr *addr)
{
    static const wr_addr ipv4 = { .ip = { 127, 0, 0, 1 } }, ipv6 = { .ip = { [15] = 1 } };
    memcpy(addr->ip, addr->family == WR_FAMILY_IPV4 ? ipv4.ip : ipv6.ip, sizeof addr->ip);
}

/* The host of those who say nothing of a local address: one of the ranges for benchmarks (RFC 2544, RFC 5180). */
static void set_client(wr_addr *addr)
{
    static const wr_addr ipv4 = { .ip = { 198, 18, 0, 1 } }, ipv6 = { .ip = { 0x20, 0x01, 0x00, 0x02, [15] = 1 } };
    memcpy(addr->ip, addr->family == WR_FAMILY_IPV4 ? ipv4.ip : ipv6.ip, sizeof addr->ip);
}

void wr_sim_set_source(wr_addr *local, const wr_addr *remote)
{
    if (wr_sim_is_loopback(remote))
        wr_sim_set_loopback(local);
    else
        set_client(local);
}

/* There are files in the root's folders and beside the program, and no other folders. */
bool wr_sim_has_folder(const char *path)
{
    return path[0] == '/' || !strchr(path, '/');
}

/* ---- who is bound where ---- */

bool wr_sim_takes_ipv4(const wr_sim_file *file)
{
    if (file->local.family == WR_FAMILY_IPV4) return true;
    return wr_sim_is_any(&file->local) && !file->ipv6_only;
}

/* Whether what goes to the address is for this one: 2 for its very own, 1 as one of all. */
static int match(const wr_sim_file *file, const wr_addr *addr, const char *path)
{
    if (addr->family == WR_FAMILY_UNIX) return file->path && strcmp(file->path, path) == 0 ? 2 : 0;
    if (file->path || file->local.port != addr->port) return 0;
    if (wr_sim_same_host(&file->local, addr)) return 2;
    if (!wr_sim_is_any(&file->local)) return 0;
    return addr->family == file->local.family || (addr->family == WR_FAMILY_IPV4 && wr_sim_takes_ipv4(file));
}

static int best_match(wr_sim_bound *bound, const wr_addr *addr, const char *path, uint32_t *count)
{
    int best = 1;
    *count = 0;
    for (const wr_sim_file *file = *wr_sim_bound_at(bound, addr->port); file; file = file->next) {
        int matches = match(file, addr, path);
        if (matches < best) continue;
        *count = matches > best ? 1 : *count + 1;
        best = matches;
    }
    return best;
}

uint32_t wr_sim_count_bound(wr_sim_bound *bound, const wr_addr *addr, const char *path)
{
    uint32_t count;
    (void)best_match(bound, addr, path, &count);
    return count;
}

wr_sim_file *wr_sim_get_bound(wr_sim_bound *bound, const wr_addr *addr, const char *path, uint64_t number)
{
    uint32_t count;
    int best = best_match(bound, addr, path, &count);
    for (wr_sim_file *file = *wr_sim_bound_at(bound, addr->port); file; file = file->next)
        if (match(file, addr, path) == best && number-- == 0) return file;
    return NULL;
}

/* Whether the two cannot have one port both. */
static bool overlaps(const wr_sim_file *file, const wr_listen_params *params)
{
    const wr_addr *addr = &params->local.addr;
    if (addr->family == WR_FAMILY_UNIX) return file->path && strcmp(file->path, params->local.path) == 0;
    if (file->path || file->local.port != addr->port) return false;
    if (wr_sim_same_host(&file->local, addr)) return true;
    if (file->local.family == addr->family) return wr_sim_is_any(addr) || wr_sim_is_any(&file->local);
    if (addr->family == WR_FAMILY_IPV4) return wr_sim_takes_ipv4(file);
    return wr_sim_is_any(addr) && !params->ipv6_only;
}

static bool is_taken(wr_sim_bound *bound, const wr_listen_params *params)
{
    for (const wr_sim_file *file = *wr_sim_bound_at(bound, params->local.addr.port); file; file = file->next) {
        if (!overlaps(file, params)) continue;
        if (!file->shared_port || !params->shared_port || params->claims_port) return true;
    }
    return false;
}

/* A port that none of them has. */
static uint16_t choose_port(wr_sim *sim, wr_sim_bound *bound)
{
    for (int tries = 0; tries <= UINT16_MAX - WR_SIM_PORT_BOUND; tries++) {
        uint16_t port = sim->next_listen_port;
        sim->next_listen_port = port == UINT16_MAX ? WR_SIM_PORT_BOUND : (uint16_t)(port + 1);
        const wr_sim_file *file = *wr_sim_bound_at(bound, port);
        while (file && file->local.port != port) file = file->next;
        if (!file) return port;
    }
    return 0;
}

static int bind_file(wr_sim *sim, wr_sim_file *file, wr_sim_bound *bound, const wr_listen_params *params)
{
    wr_listen_params chosen = *params;
    wr_addr *addr = &chosen.local.addr;
    bool is_path = addr->family == WR_FAMILY_UNIX;
    if (wr_sim_is_foreign(addr)) return WEIR_EADDRNOTAVAIL;
    if (is_path && !wr_sim_has_folder(chosen.local.path)) return WEIR_ENOENT;
    if (!is_path && addr->port == 0) addr->port = choose_port(sim, bound);
    if ((!is_path && addr->port == 0) || is_taken(bound, &chosen)) return WEIR_EADDRINUSE;
    if (is_path) {
        size_t size = strlen(chosen.local.path) + 1;
        file->path = malloc(size);
        if (!file->path) return WEIR_ENOBUFS;
        memcpy(file->path, chosen.local.path, size);
    }
    file->local = *addr;
    file->shared_port = params->shared_port;
    file->ipv6_only = params->ipv6_only;
    return 0;
}

static int fail(wr_listen_result *out, enum wr_step step, int error)
{
    out->step = step;
    return error;
}

int wr_sim_open_bound(wr_sim *sim, enum wr_sim_file_kind kind, wr_sim_bound *bound, const wr_listen_params *params,
                      wr_listen_result *out)
{
    *out = (wr_listen_result){ .step = WR_STEP_NONE };
    if (wr_sim_strikes(sim, WR_FAULT_EMFILE)) return fail(out, WR_STEP_SOCKET, WEIR_EMFILE);
    wr_sim_file *file = wr_sim_file_open(sim, kind);
    if (!file) return fail(out, WR_STEP_SOCKET, WEIR_ENOBUFS);
    int error = wr_sim_file_count(sim, file) ? 0 : fail(out, WR_STEP_SOCKET, WEIR_EMFILE);
    if (error == 0) {
        error = bind_file(sim, file, bound, params);
        if (error) out->step = WR_STEP_BIND;
    }
    if (error) {
        wr_sim_file_drop(sim, file);
        return error;
    }
    wr_sim_file **first = wr_sim_bound_at(bound, file->local.port);
    file->next = *first;
    *first = file;
    out->bound = file->local;
    out->socket = wr_sim_file_handle(file);
    return 0;
}

void wr_sim_unlist(wr_sim_bound *bound, const wr_sim_file *file)
{
    wr_sim_file **link = wr_sim_bound_at(bound, file->local.port);
    while (*link && *link != file) link = &(*link)->next;
    if (*link) *link = file->next;
}
