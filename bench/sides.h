/* The two sides of a workload as processes: of a comparison, or alone at the command line. */
#ifndef BENCH_SIDES_H
#define BENCH_SIDES_H

#include "process.h"
#include "workload.h"

struct side {
    const struct workload *workload;
    const struct peer *peer; /* NULL for the side that is not the contender's */
    struct job job;
};

/* Bodies for process_start; `argument` is a struct side. The server answers MESSAGE_USAGE, the driver MESSAGE_BURST. */
void side_server(int control, const void *argument);
void side_driver(int control, const void *argument);

/* One burst of an open driver. */
void side_burst(const struct driver *driver, void *state, const struct order *order, struct outcome *out);

/* side_serve_alone: prints the port, and serves until stdin ends or `seconds` (0: no limit) have passed. Never returns.
 * side_drive_alone: one burst, and what came of it. */
void side_serve_alone(const struct side *side, double seconds);
void side_drive_alone(const struct side *side, const struct order *order);

#endif
