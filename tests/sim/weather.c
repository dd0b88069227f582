/* What the network does. */
#include "sim/swarm.h"

static uint32_t per_mille(choice *from, uint32_t most)
{
    static const uint32_t ratios[] = { 1, 5, 20, 100, 300 };
    uint32_t ratio = CHOOSE_ONE(from, ratios);
    return ratio < most ? ratio : most;
}

/* Half of the faults, on average, are left out of a scenario. A reset or a shortage of memory in every fifth case would
 * end everything before it has begun. */
void weather_choose(swarm *s)
{
    choice *from = &s->from;
    weir_sim_options *faults = &s->faults;
    if (choose(from, 2)) faults->partial_per_mille = per_mille(from, 300);
    if (choose(from, 2)) faults->loss_per_mille = per_mille(from, 300);
    if (choose(from, 2)) faults->reset_per_mille = per_mille(from, 20);
    if (choose(from, 2)) faults->refuse_per_mille = per_mille(from, 300);
    if (choose(from, 2)) faults->emfile_per_mille = per_mille(from, 300);
    if (choose(from, 2)) faults->enobufs_per_mille = per_mille(from, 20);
    if (choose(from, 2)) faults->enomem_per_mille = per_mille(from, 100);
    if (choose(from, 2)) faults->datagram_loss_per_mille = per_mille(from, 300);
    if (choose(from, 2)) faults->datagram_duplicate_per_mille = per_mille(from, 300);
    if (choose(from, 2)) faults->datagram_reorder_per_mille = per_mille(from, 300);
    if (choose(from, 2)) faults->resolve_per_mille = per_mille(from, 300);
    if (choose(from, 3) == 0) faults->resolve_ms_max = (uint32_t)choose_from(from, 1, 15000);
    if (choose(from, 3) == 0) faults->max_sockets = (uint32_t)choose_from(from, 4, 60);
    if (choose(from, 2)) faults->latency_us_max = (uint32_t)choose_from(from, 1, 200000);
    if (choose(from, 3) == 0) faults->bytes_per_second = choose_from(from, 2000, 2000000);
    if (choose(from, 2)) faults->window = (uint32_t)choose_from(from, 1, 20000);
}

static void apply(swarm *s)
{
    const weir_sim_options *now = &s->weather;
    s->ever[WEIR_SIM_PARTIAL] |= now->partial_per_mille > 0;
    s->ever[WEIR_SIM_LOSS] |= now->loss_per_mille > 0;
    s->ever[WEIR_SIM_RESET] |= now->reset_per_mille > 0;
    s->ever[WEIR_SIM_REFUSE] |= now->refuse_per_mille > 0;
    s->ever[WEIR_SIM_EMFILE] |= now->emfile_per_mille > 0;
    s->ever[WEIR_SIM_ENOBUFS] |= now->enobufs_per_mille > 0;
    s->ever[WEIR_SIM_ENOMEM] |= now->enomem_per_mille > 0;
    s->ever[WEIR_SIM_DATAGRAM_LOSS] |= now->datagram_loss_per_mille > 0;
    s->ever[WEIR_SIM_DATAGRAM_DUPLICATE] |= now->datagram_duplicate_per_mille > 0;
    s->ever[WEIR_SIM_DATAGRAM_REORDER] |= now->datagram_reorder_per_mille > 0;
    s->ever[WEIR_SIM_RESOLVE] |= now->resolve_per_mille > 0;
    s->ever_full |= now->max_sockets > 0;
    int error = weir_sim_change(s->sim, now);
    SWARM_CHECK(s, error == 0, "weir_sim_change: %s", weir_error_name(error));
}

static uint32_t now_or_not(swarm *s, uint32_t value)
{
    return choose(&s->from, 2) ? value : 0;
}

void weather_change(swarm *s)
{
    const weir_sim_options *faults = &s->faults;
    weir_sim_options *now = &s->weather;
    now->partial_per_mille = now_or_not(s, faults->partial_per_mille);
    now->loss_per_mille = now_or_not(s, faults->loss_per_mille);
    now->reset_per_mille = now_or_not(s, faults->reset_per_mille);
    now->refuse_per_mille = now_or_not(s, faults->refuse_per_mille);
    now->emfile_per_mille = now_or_not(s, faults->emfile_per_mille);
    now->enobufs_per_mille = now_or_not(s, faults->enobufs_per_mille);
    now->enomem_per_mille = now_or_not(s, faults->enomem_per_mille);
    now->datagram_loss_per_mille = now_or_not(s, faults->datagram_loss_per_mille);
    now->datagram_duplicate_per_mille = now_or_not(s, faults->datagram_duplicate_per_mille);
    now->datagram_reorder_per_mille = now_or_not(s, faults->datagram_reorder_per_mille);
    now->resolve_per_mille = now_or_not(s, faults->resolve_per_mille);
    now->resolve_ms_max = now_or_not(s, faults->resolve_ms_max);
    now->max_sockets = now_or_not(s, faults->max_sockets);
    now->latency_us_max = faults->latency_us_max ? 1 + (uint32_t)choose(&s->from, faults->latency_us_max) : 0;
    now->latency_us_min = (uint32_t)choose(&s->from, now->latency_us_max + 1);
    now->bytes_per_second = choose(&s->from, 2) ? faults->bytes_per_second : 0;
    now->window = now_or_not(s, faults->window);
    apply(s);
}

void weather_calm(swarm *s)
{
    weir_sim_options calm = { .trace = s->weather.trace, .trace_data = s->weather.trace_data };
    s->weather = calm;
    s->weather.latency_us_max = 1000;
    s->weather.window = choose(&s->from, 2) ? 4000 : 0;
    apply(s);
    weather_heal(s, true);
}

/* ---- partitions ---- */

void weather_cut(swarm *s)
{
    if (s->made_listeners == 0) return;
    const swarm_listener *listener = &s->listeners[choose(&s->from, s->made_listeners)];
    weir_address address;
    if (weir_address_parse(&address, listener->address, NULL) != 0 || address.family == WEIR_FAMILY_UNIX) return;
    const char *other = address.family == WEIR_FAMILY_IPV4 ? "198.18.0.1" : "2001:2::1";
    (void)snprintf(s->cut_host, sizeof s->cut_host, "%s", address.host);
    (void)snprintf(s->cut_other, sizeof s->cut_other, "%s", choose(&s->from, 2) ? other : "");
    int error = weir_sim_partition(s->sim, s->cut_host, s->cut_other[0] ? s->cut_other : NULL);
    SWARM_CHECK(s, error == 0, "weir_sim_partition: %s", weir_error_name(error));
    s->ever_cut = true;
}

void weather_heal(swarm *s, bool all)
{
    bool only_last = !all && s->cut_host[0];
    int error = only_last ? weir_sim_heal(s->sim, s->cut_host, s->cut_other[0] ? s->cut_other : NULL)
                          : weir_sim_heal(s->sim, NULL, NULL);
    SWARM_CHECK(s, error == 0, "weir_sim_heal: %s", weir_error_name(error));
}

void act_weather(swarm *s, swarm_end *end)
{
    (void)end;
    weather_change(s);
}

void act_cut(swarm *s, swarm_end *end)
{
    (void)end;
    weather_cut(s);
}

void act_heal(swarm *s, swarm_end *end)
{
    (void)end;
    weather_heal(s, choose(&s->from, 2));
}
