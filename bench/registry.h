/* All workloads and all contenders. */
#ifndef BENCH_REGISTRY_H
#define BENCH_REGISTRY_H

#include "peer.h"
#include "workload.h"

/* Both end with NULL. The first contender is the one that the others are compared with by default. */
extern const struct workload *const registry_workloads[];
extern const struct peer *const registry_peers[];

/* Contenders that this build is without, as their library was not found; ends with a NULL name. */
struct missing {
    const char *name;
    const char *why;
};
extern const struct missing registry_missing[];

/* NULL if there is none of that name, which is `length` characters long. */
const struct workload *registry_workload(const char *name);
const struct peer *registry_peer(const char *name, unsigned length);

#endif
