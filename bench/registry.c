#include "registry.h"

#include <stddef.h>
#include <string.h>

#include "bench_peers.h" /* written by CMake: which contenders this build has */

extern const struct workload workload_accept, workload_accept_echo, workload_broadcast, workload_connect, workload_echo,
    workload_idle, workload_post, workload_ramp, workload_slow, workload_split, workload_timers;

const struct workload *const registry_workloads[] = {
    &workload_accept, &workload_accept_echo, &workload_connect, &workload_echo, &workload_broadcast, &workload_slow,
    &workload_ramp,   &workload_idle,        &workload_timers,  &workload_post, &workload_split,     NULL,
};

#define DECLARE_PEER(name) extern const struct peer peer_##name;
BENCH_PEERS(DECLARE_PEER)

#define ADDRESS_OF_PEER(name) &peer_##name,
const struct peer *const registry_peers[] = { BENCH_PEERS(ADDRESS_OF_PEER) NULL };

#define NAME_AND_WHY(name, why) { #name, why },
const struct missing registry_missing[] = { BENCH_MISSING(NAME_AND_WHY){ NULL, NULL } };

const struct workload *registry_workload(const char *name)
{
    for (const struct workload *const *each = registry_workloads; *each; each++) {
        if (strcmp((*each)->name, name) == 0) return *each;
    }
    return NULL;
}

const struct peer *registry_peer(const char *name, unsigned length)
{
    for (const struct peer *const *each = registry_peers; *each; each++) {
        if (strlen((*each)->name) == length && memcmp((*each)->name, name, length) == 0) return *each;
    }
    return NULL;
}
