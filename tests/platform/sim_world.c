#include "sim_world.h"

void sim_open(world *w, const wr_sim_options *options)
{
    wr_sim *sim;
    cr_assert_eq(wr_sim_create(&sim, options), 0);
    world_open_in(w, sim);
}

void sim_close(world *w)
{
    wr_sim *sim = w->sim;
    world_close(w);
    wr_sim_destroy(sim);
}

wr_endpoint sim_at(uint8_t a, uint8_t b, uint8_t c, uint8_t d, uint16_t port)
{
    return (wr_endpoint){ .addr = { .ip = { a, b, c, d }, .port = port, .family = WR_FAMILY_IPV4 } };
}

wr_sock sim_listen(world *w, const wr_endpoint *where, uint32_t backlog)
{
    wr_listen_result result;
    cr_assert_eq(wr_cq_listen(w->cq, &(wr_listen_params){ .local = *where, .backlog = backlog }, &result), 0);
    return world_adopt(w, result.socket);
}

bool sim_only_this(enum wr_sim_fault fault, uint64_t number, void *data)
{
    const sim_only *only = data;
    return fault == only->fault && number == only->number;
}

bool sim_all_of(enum wr_sim_fault fault, uint64_t number, void *data)
{
    (void)number;
    return fault == *(const enum wr_sim_fault *)data;
}
