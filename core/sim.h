/* weir_sim, inside: a world of the simulator (platform/sim.h) and what its runtimes need of it. */
#ifndef WR_CORE_SIM_H
#define WR_CORE_SIM_H

#include <weir/sim.h>

#include "platform/sim.h"

typedef struct wr_sim_name wr_sim_name;

struct weir_sim {
    wr_sim *world;
    unsigned runtimes; /* that live in it */
    weir_sim_options options;
    wr_sim_name *names;
};

/* wr_sim_world: NULL for NULL. */
static inline wr_sim *wr_sim_world(const weir_sim *sim)
{
    return sim ? sim->world : NULL;
}

/* wr_sim_drive: hands a runtime's workers to the simulator. Not those of a manual one, which weir_poll drives. */
void wr_sim_drive(weir_runtime *runtime);

/* wr_sim_serve: runs the simulator until the runtime has ended. WEIR_ESTATE: nothing more can happen before that.
 * WEIR_ELIMIT. */
int wr_sim_serve(weir_runtime *runtime);

/* wr_sim_resolve_delay_ms: how long the next lookup takes; at least 1. */
uint32_t wr_sim_resolve_delay_ms(weir_sim *sim);

/* wr_sim_resolve: as wr_os_resolve, at once, of the names that the simulator was given. */
int wr_sim_resolve(weir_sim *sim, const char *name, enum wr_family family, wr_addr *out, unsigned capacity);

/* wr_sim_names_free: the simulator goes. */
void wr_sim_names_free(weir_sim *sim);

#endif
