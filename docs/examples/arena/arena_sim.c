/* The whole arena, server and bots, in one process, in virtual time, on a network that a seed makes bad: minutes of
 * play in milliseconds. First a storm, in which bots are cut off and come back; then calm, in which all must be back;
 * then the server closes, and all must be told. The bots check what they always check.
 *
 * arena_sim [OPTIONS]        --help lists them; stops at the first seed that fails, and exits with 1 */
#include "../options.h"
#include "bots.h"
#include "server.h"
#include <inttypes.h>
#include <stdlib.h>
#include <weir/sim.h>

#define ADDRESS "10.0.0.1:7777"
#define SECOND  UINT64_C(1000000000)

enum { COME_BACK_S = 120, CALM_S = 2, DRAIN_S = 2, END_S = 60 };

struct settings {
    weir_sim_options storm;
    struct server_options server;
    struct bots_options bots;
    uint32_t seed, seeds, seconds, workers;
    bool trace;
};

struct run {
    const struct settings *settings;
    weir_sim *sim;
    weir_runtime *server_runtime, *bots_runtime;
    struct server *server;
    struct bots *bots;
};

static int start(struct run *run)
{
    const struct settings *settings = run->settings;
    int err = weir_sim_create(&run->sim, &settings->storm);
    const weir_runtime_options server = { .workers = settings->workers, .sim = run->sim };
    if (err == 0) err = weir_runtime_create(&run->server_runtime, &server);
    if (err == 0) err = weir_runtime_create(&run->bots_runtime, &(weir_runtime_options){ .sim = run->sim });
    if (err == 0) err = server_open(&run->server, run->server_runtime, &settings->server);
    if (err == 0) err = bots_open(&run->bots, run->bots_runtime, &settings->bots);
    return err;
}

static bool all_play(void *data)
{
    const struct run *run = data;
    return bots_are_level(run->bots);
}

static bool all_left(void *data)
{
    const struct run *run = data;
    return bots_ended(run->bots);
}

static int calm(struct run *run)
{
    const weir_sim_options *storm = &run->settings->storm;
    return weir_sim_change(run->sim, &(weir_sim_options){ .latency_us_min = storm->latency_us_min,
                                                          .latency_us_max = storm->latency_us_max,
                                                          .trace = storm->trace });
}

static int wait_for(struct run *run, const char *what, bool (*done)(void *data), uint64_t seconds)
{
    int err = weir_sim_run_until(run->sim, done, run, weir_sim_now_ns(run->sim) + seconds * SECOND);
    if (err != 0) printf("%s, even after %" PRIu64 " s\n", what, seconds);
    return err;
}

static int play(struct run *run)
{
    int err = start(run);
    if (err == 0) err = weir_sim_advance(run->sim, run->settings->seconds * SECOND);
    if (err == 0) err = calm(run);
    if (err == 0) err = wait_for(run, "not all are back", all_play, COME_BACK_S);
    if (err == 0) err = weir_sim_advance(run->sim, CALM_S * SECOND);
    if (err == 0) server_drain(run->server, DRAIN_S);
    if (err == 0) err = wait_for(run, "not all have left", all_left, END_S);
    return err;
}

static bool run_seed(const struct settings *settings)
{
    struct run run = { .settings = settings };
    struct bots_result result = { 0 };
    int err = play(&run);
    weir_runtime_destroy(run.bots_runtime);
    weir_runtime_destroy(run.server_runtime);
    if (err == 0) bots_judge(run.bots, &result);
    printf("seed %" PRIu64 ": snapshots %" PRIu64 " steps %" PRIu64 " texts %" PRIu64 " rejoined %" PRIu32
           " told %" PRIu32 " violations %" PRIu64 " digest %016" PRIx64 "\n",
           settings->storm.seed, result.tally.snapshots, result.tally.inputs, result.tally.heard, result.rejoined,
           result.told, result.violations, weir_sim_trace_hash(run.sim));
    if (err != 0) printf("seed %" PRIu64 ": %s\n", settings->storm.seed, weir_strerror(err));
    weir_sim_destroy(run.sim);
    server_free(run.server);
    bots_free(run.bots);
    return err == 0 && result.violations == 0 && result.told == settings->bots.bots;
}

static void print_trace(const char *line, void *data)
{
    (void)data;
    puts(line);
}

static void read_settings(struct settings *settings, int argc, char **argv)
{
    weir_sim_options *storm = &settings->storm;
    uint32_t latency_max_ms = 40;
    const struct option options[] = {
        { "--seed", "N", "the first seed", .number = &settings->seed },
        { "--seeds", "N", "so many, one after the other", .number = &settings->seeds },
        { "--bots", "N", "8", .number = &settings->bots.bots, .min = 1, .max = 100000 },
        { "--rooms", "N", "2", .number = &settings->server.rooms, .min = 1, .max = 1000 },
        { "--hz", "N", "ticks a second; 30", .number = &settings->server.hz, .min = 1, .max = 1000 },
        { "--seconds", "S", "of storm, in virtual time; 5", .number = &settings->seconds, .min = 1 },
        { "--workers", "N", "of the server; 2", .number = &settings->workers, .min = 1, .max = 256 },
        { "--latency-max-ms", "MS", "one way; the least is 1 ms; 40", .number = &latency_max_ms, .min = 1,
          .max = 60000 },
        { "--partial", "N", "reads and writes of 1000 that are cut short; 100", .number = &storm->partial_per_mille,
          .max = 1000 },
        { "--loss", "N", "segments of 1000 that are lost; 5", .number = &storm->loss_per_mille, .max = 1000 },
        { "--reset", "N", "deliveries of 1000 that a reset answers; 1", .number = &storm->reset_per_mille,
          .max = 1000 },
        { "--trace", NULL, "print what happens on the network", .flag = &settings->trace },
        { 0 },
    };
    options_read("the arena with its bots in the simulator.", options, argc, argv);
    storm->latency_us_min = 1000;
    storm->latency_us_max = latency_max_ms * 1000;
    if (settings->trace) storm->trace = print_trace;
    settings->bots.rooms = settings->server.rooms;
    settings->bots.rate = settings->bots.bots * 2; /* half a second */
}

int main(int argc, char **argv)
{
    struct settings settings = {
        .storm = { .partial_per_mille = 100, .loss_per_mille = 5, .reset_per_mille = 1 },
        .server = { .address = ADDRESS, .rooms = 2, .room_size = PLAYERS_MAX, .hz = 30, .idle_s = 15 },
        .bots = { .address = ADDRESS, .bots = 8, .rejoins = true },
        .seed = 1,
        .seeds = 1,
        .seconds = 5,
        .workers = 2,
    };
    read_settings(&settings, argc, argv);
    for (uint32_t i = 0; i < settings.seeds; i++) {
        settings.storm.seed = (uint64_t)settings.seed + i;
        if (!run_seed(&settings)) return 1;
    }
    return 0;
}
