/* connect: the contender opens connections as a client, a window of them in flight, and resets each as soon as it is
 * established. The listening side is a sink: it accepts, reads to the end and closes. */
#include "workload.h"

static bool has(const struct peer *peer)
{
    return peer->connect.open != NULL;
}

static const struct driver *driver(const struct peer *peer)
{
    return &peer->connect;
}

const struct workload workload_connect = {
    .name = "connect",
    .what = "connections that the contender opens as a client, and resets at once",
    .operation = "connection",
    .contender_drives = true,
    .options = OPTION(WINDOW) | OPTION(WORKERS),
    .usual = { .window = 64 },
    .most_window = 4096,
    .has = has,
    .driver = driver,
};
