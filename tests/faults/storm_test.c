/* Attacks on a server, and what becomes of those who behave meanwhile: no answer is lost, nothing leaks, nothing spins,
 * and a stop in the middle ends all of them in order. How much longer their answers take is printed and not judged. */
#include "faults/weather.h"

static uint64_t closed_between(const weather_level *since, const weather_level *now, int error)
{
    return now->stats.closed[-error] - since->stats.closed[-error];
}

static bool resets_bite(const weather_level *since, const weather_level *now)
{
    return closed_between(since, now, WEIR_ECONNRESET) >= 100;
}

static const weather resets = { .name = "resets",
                                .raid = { .run = storm_resets, .sources = 200 },
                                .attack_ms = 1500,
                                .bites = resets_bite,
                                .visits = true,
                                .visits_beside = true };

Test(storm, of_resets_takes_nothing_from_the_others, .timeout = 60)
{
    weather_blow(&resets);
}

Test(storm, of_resets_is_no_reason_to_stop_in_disorder, .timeout = 60)
{
    weather_stop(&resets);
}

/* Who never ends a first message is ended, and so is who falls silent after it. */
static bool deadlines_bite(const weather_level *since, const weather_level *now)
{
    return closed_between(since, now, WEIR_EHANDSHAKE) >= 100 && closed_between(since, now, WEIR_EIDLE) >= 100;
}

static const weather drips = { .name = "drips",
                               .raid = { .run = storm_drips, .connections = 300, .sources = 50 },
                               .attack_ms = 1500,
                               .bites = deadlines_bite,
                               .visits = true,
                               .visits_beside = true,
                               .handshake_ms = STORM_HANDSHAKE_MS,
                               .idle_ms = STORM_IDLE_MS };

Test(storm, of_three_hundred_that_drip_takes_nothing_from_the_others, .timeout = 60)
{
    weather_blow(&drips);
}

Test(storm, of_drips_is_no_reason_to_stop_in_disorder, .timeout = 60)
{
    weather_stop(&drips);
}

static bool limits_of_outboxes_bite(const weather_level *since, const weather_level *now)
{
    return closed_between(since, now, WEIR_ESLOW) >= 40;
}

/* The hard limit of each, 1 MiB, and what a message and a read are over. */
static void check_gluttons(const world *w, const weather_level *since, const weather_level *now)
{
    (void)now;
    cr_assert_leq(w->memory.peak, since->memory + WEATHER_MEMORY_KEPT_MAX + (uint64_t)seen.peak * (1200 * 1024));
}

static const weather gluttons = { .name = "gluttons that never read",
                                  .raid = { .run = storm_gluttons, .connections = 40, .sources = 10 },
                                  .attack_ms = 1500,
                                  .bites = limits_of_outboxes_bite,
                                  .check = check_gluttons,
                                  .visits = true,
                                  .visits_beside = true };

Test(storm, of_gluttons_that_never_read_takes_nothing_from_the_others, .timeout = 60)
{
    weather_blow(&gluttons);
}

Test(storm, of_gluttons_is_no_reason_to_stop_in_disorder, .timeout = 60)
{
    weather_stop(&gluttons);
}

static bool shortage_bites(const weather_level *since, const weather_level *now)
{
    return now->stats.accept_errors > since->stats.accept_errors &&
           now->stats.accept_pauses >= since->stats.accept_pauses + 10;
}

static const weather descriptors;

static void check_descriptors(const world *w, const weather_level *since, const weather_level *now)
{
    (void)w;
    cr_assert_gt(seen.peak, STORM_GUESTS + descriptors.spare_descriptors / 2,
                 "nearly all that there may be are served");
    cr_assert_eq(now->stats.closed[-WEIR_EMFILE], since->stats.closed[-WEIR_EMFILE], "and none is ended for it");
}

static const weather descriptors = { .name = "no descriptor left",
                                     .raid = { .run = storm_crowd, .connections = 400, .sources = 50 },
                                     .attack_ms = 1500,
                                     .bites = shortage_bites,
                                     .check = check_descriptors,
                                     .spare_descriptors = 60,
                                     .visits = true };

Test(storm, without_a_descriptor_left_takes_nothing_from_those_who_are_there, .timeout = 60)
{
    weather_blow(&descriptors);
}

Test(storm, without_a_descriptor_left_is_no_reason_to_stop_in_disorder, .timeout = 60)
{
    weather_stop(&descriptors);
}

static bool max_connections_bites(const weather_level *since, const weather_level *now)
{
    return now->stats.refused_limit >= since->stats.refused_limit + 100;
}

static void check_connections(const world *w, const weather_level *since, const weather_level *now)
{
    (void)w;
    (void)since;
    (void)now;
    cr_assert_eq(seen.peak, 100);
}

static const weather connections = { .name = "a flood over max_connections",
                                     .raid = { .run = storm_crowd, .connections = 200, .sources = 64 },
                                     .limits = { .max_connections = 100 },
                                     .attack_ms = 1500,
                                     .bites = max_connections_bites,
                                     .check = check_connections,
                                     .visits = true };

Test(storm, over_max_connections_takes_nothing_from_those_who_are_there, .timeout = 60)
{
    weather_blow(&connections);
}

Test(storm, over_max_connections_is_no_reason_to_stop_in_disorder, .timeout = 60)
{
    weather_stop(&connections);
}

static bool max_per_address_bites(const weather_level *since, const weather_level *now)
{
    return now->stats.refused_address >= since->stats.refused_address + 100;
}

static void check_addresses(const world *w, const weather_level *since, const weather_level *now)
{
    (void)w;
    cr_assert_eq(seen.from_peak, 8);
    cr_assert_eq(now->stats.refused_limit, since->stats.refused_limit);
}

static const weather addresses = { .name = "a flood over max_per_address",
                                   .raid = { .run = storm_crowd, .connections = 480, .sources = 16 },
                                   .limits = { .max_per_address = 8 },
                                   .attack_ms = 1500,
                                   .bites = max_per_address_bites,
                                   .check = check_addresses,
                                   .visits = true,
                                   .visits_beside = true };

Test(storm, over_max_per_address_takes_nothing_from_other_addresses, .timeout = 60)
{
    weather_blow(&addresses);
}

Test(storm, over_max_per_address_is_no_reason_to_stop_in_disorder, .timeout = 60)
{
    weather_stop(&addresses);
}

static bool accept_rate_bites(const weather_level *since, const weather_level *now)
{
    return now->stats.accept_pauses >= since->stats.accept_pauses + 10 &&
           now->stats.accepted >= since->stats.accepted + 50;
}

/* 200 a second, and the burst of a tenth of that; a socket a worker may be one over. */
static void check_rate(const world *w, const weather_level *since, const weather_level *now)
{
    (void)w;
    uint64_t ms = (now->ns - since->ns) / 1000000;
    cr_assert_leq(now->stats.accepted - since->stats.accepted, 200 * (ms + 1) / 1000 + 20 + 2);
}

static const weather rate = { .name = "a flood over accept_rate",
                              .raid = { .run = storm_crowd, .connections = 150, .sources = 64, .leaves = true },
                              .limits = { .accept_rate = 200 },
                              .attack_ms = 1500,
                              .bites = accept_rate_bites,
                              .check = check_rate };

Test(storm, over_accept_rate_takes_nothing_from_those_who_are_there, .timeout = 60)
{
    weather_blow(&rate);
}

Test(storm, over_accept_rate_is_no_reason_to_stop_in_disorder, .timeout = 60)
{
    weather_stop(&rate);
}

/* ---- over a bad link ---- */

static const link_terms bad_link = { .delay_us = 10000, .bytes_a_second = 1250000, .loss_percent = 2 };

static const weather lossy = { .name = "resets over a link of 10 ms, 10 Mbit/s and 2 % of loss each way",
                               .link = &bad_link,
                               .raid = { .run = storm_resets, .sources = 1 },
                               .attack_ms = 2500,
                               .bites = resets_bite,
                               .visits = true,
                               .visits_beside = true,
                               .stop_timeout_ms = 10000 };

Test(storm, over_a_bad_link_takes_nothing_from_the_others, .timeout = 90)
{
    weather_blow(&lossy);
}

Test(storm, over_a_bad_link_is_no_reason_to_stop_in_disorder, .timeout = 90)
{
    weather_stop(&lossy);
}
