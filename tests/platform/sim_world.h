/* What the tests of the simulator itself share: a world of a test's own, with a queue in it. */
#ifndef WR_SIM_WORLD_H
#define WR_SIM_WORLD_H

#include "cq_world.h"
#include "platform/sim.h"

enum { MS = 1000000, S = 1000000000 };

/* sim_open: a world with those options, and a queue. */
void sim_open(world *w, const wr_sim_options *options);

/* sim_close: the queue, and its world, which checks that no socket is left. */
void sim_close(world *w);

/* sim_at: an IPv4 endpoint. */
wr_endpoint sim_at(uint8_t a, uint8_t b, uint8_t c, uint8_t d, uint16_t port);

/* sim_listen: a listener there. */
wr_sock sim_listen(world *w, const wr_endpoint *where, uint32_t backlog);

/* sim_only: a script (script_data points at one) that makes one fault happen at one opportunity. */
typedef struct sim_only {
    enum wr_sim_fault fault;
    uint64_t number;
} sim_only;
bool sim_only_this(enum wr_sim_fault fault, uint64_t number, void *data);

/* sim_all: the same for all opportunities of one fault. */
bool sim_all_of(enum wr_sim_fault fault, uint64_t number, void *data);

#endif
