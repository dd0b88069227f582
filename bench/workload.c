#include "workload.h"

#include <stddef.h>

#include "net.h"

static void (*server_of(const struct workload *workload, const struct peer *peer))(const struct job *job)
{
    switch (workload->server) {
    case SERVER_NONE:
        break;
    case SERVER_ACCEPT:
        return peer->serve_accept;
    case SERVER_ECHO:
        return peer->serve_echo;
    case SERVER_BROADCAST:
        return peer->serve_broadcast;
    }
    return NULL;
}

bool workload_has(const struct workload *workload, const struct peer *peer)
{
    if (workload->contender_drives) return workload->has(peer);
    return server_of(workload, peer) && (!workload->places || peer->shares);
}

void workload_serve(const struct workload *workload, const struct peer *peer, const struct job *job)
{
    if (workload->contender_drives) {
        net_sink();
    } else {
        server_of(workload, peer)(job);
    }
}

const struct driver *workload_driver(const struct workload *workload, const struct peer *peer)
{
    return workload->contender_drives ? workload->driver(peer) : &workload->load;
}
