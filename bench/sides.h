/* The two sides of a workload as processes: of a comparison, or alone at the command line. */
#ifndef BENCH_SIDES_H
#define BENCH_SIDES_H

#include "process.h"
#include "workload.h"

struct side {
    const struct workload *workload;
    const struct peer *peer; /* NULL for the side that is not the contender's, when it runs alone */
    struct job job;
};

/* side_run: what a child does. The server answers MESSAGE_USAGE, the driver MESSAGE_BURST. A driver returns when the
 * parent has gone. */
void side_run(const struct task *task);

/* One burst of an open driver. */
void side_burst(const struct driver *driver, void *state, const struct order *order, struct outcome *out);

/* side_serve_alone: prints the port, and serves until stdin ends or `seconds` (0: no limit) have passed.
 * side_drive_alone: one burst, and what came of it. Neither returns. */
void side_serve_alone(const struct side *side, double seconds);
void side_drive_alone(const struct side *side, const struct order *order);

#endif
