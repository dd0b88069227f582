/* What goes wrong: by ratio, or as a script says. */
#include "platform/sim/sim.h"

static bool ratios_apply(const wr_sim *sim)
{
    return !sim->options.spares_setup || sim->stepping || sim->live;
}

bool wr_sim_strikes(wr_sim *sim, enum wr_sim_fault fault)
{
    const wr_sim_options *options = &sim->options;
    uint64_t number = sim->chances[fault]++;
    uint16_t per_mille = options->per_mille[fault];
    bool strikes = per_mille && ratios_apply(sim) && wr_random_below(&sim->random, 1000) < per_mille;
    if (!strikes && options->script) strikes = options->script(fault, number, options->script_data);
    if (strikes && fault != WR_FAULT_PARTIAL) wr_sim_note(sim, WR_NOTE_FAULT, NULL, fault);
    return strikes;
}

uint64_t wr_sim_draw(wr_sim *sim, uint64_t bound)
{
    return wr_random_below(&sim->random, bound);
}

int wr_sim_code(int error)
{
    switch (error) {
    case WEIR_ENOENT:
        return 2;
    case WEIR_ENOMEM:
        return 12;
    case WEIR_EINVAL:
        return 22;
    case WEIR_EMFILE:
        return 24;
    case WEIR_EMSGSIZE:
        return 90;
    case WEIR_EAFNOSUPPORT:
        return 97;
    case WEIR_EADDRINUSE:
        return 98;
    case WEIR_EADDRNOTAVAIL:
        return 99;
    case WEIR_ECONNABORTED:
        return 103;
    case WEIR_ECONNRESET:
        return 104;
    case WEIR_ENOBUFS:
        return 105;
    case WEIR_ETIMEDOUT:
        return 110;
    case WEIR_ECONNREFUSED:
        return 111;
    case WEIR_EHOSTUNREACH:
        return 113;
    default: /* not the system's */
        return 0;
    }
}
