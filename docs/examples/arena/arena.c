/* The arena: an authoritative game server in small. README.md says how it is built.
 *
 * arena [OPTIONS]        --help lists them; Ctrl-C or SIGTERM: tells the players, and closes some seconds later */
#include "../options.h"
#include "server.h"
#include <signal.h>
#include <stdatomic.h>

enum { SIGNAL_CHECK_MS = 50 };

struct settings {
    struct server_options server;
    struct option_texts addresses, metrics;
    uint32_t workers, drain_s, stats_s;
};

struct program {
    const struct settings *settings;
    struct server *server;
};

/* ---- signals ---- */

static atomic_bool is_asked_to_stop;

/* All that a handler may do, and all that differs between systems is none of this program's. A second signal ends it at
 * once. */
static void on_signal(int number)
{
    atomic_store(&is_asked_to_stop, true);
    signal(number, SIG_DFL);
}

static void on_signal_check(weir_timer *timer, void *data)
{
    const struct program *program = data;
    if (!atomic_load(&is_asked_to_stop)) return;
    weir_timer_cancel(timer);
    printf("closing in %u s, with %zu players\n", (unsigned)program->settings->drain_s,
           server_players(program->server));
    server_drain(program->server, program->settings->drain_s);
}

static int watch_signals(weir_runtime *runtime, struct program *program)
{
    signal(SIGINT, on_signal);
    signal(SIGTERM, on_signal);
    return weir_timer_start(
        runtime, &(weir_timer_options){ .repeat_ms = SIGNAL_CHECK_MS, .on_timer = on_signal_check, .data = program },
        NULL);
}

/* ---- the program ---- */

static void on_stats(weir_timer *timer, void *data)
{
    const struct program *program = data;
    (void)timer;
    server_print(program->server, stdout);
}

static int print_stats(weir_runtime *runtime, struct program *program)
{
    uint64_t period_ms = program->settings->stats_s * UINT64_C(1000);
    if (period_ms == 0) return 0;
    const weir_timer_options options = {
        .delay_ms = period_ms, .repeat_ms = period_ms, .on_timer = on_stats, .data = program
    };
    return weir_timer_start(runtime, &options, NULL);
}

static void read_settings(struct settings *settings, int argc, char **argv)
{
    struct server_options *server = &settings->server;
    const struct option options[] = {
        { "--address", "ADDR", "listen here; 0.0.0.0:7777", .texts = &settings->addresses },
        { "--metrics", "ADDR", "answer Prometheus here", .texts = &settings->metrics },
        { "--workers", "N", "threads; 0: one a core", .number = &settings->workers, .max = 256 },
        { "--rooms", "N", "16", .number = &server->rooms, .min = 1, .max = UINT16_MAX },
        { "--room-size", "N", "players in a room at most; 100", .number = &server->room_size, .min = 1,
          .max = PLAYERS_MAX },
        { "--hz", "N", "ticks a second; 30", .number = &server->hz, .min = 1, .max = 1000 },
        { "--idle-s", "S", "a silent player is let go; 15", .number = &server->idle_s, .min = 1, .max = 3600 },
        { "--soft-limit", "BYTES", "unread by a player for a while; 65536", .size = &server->outbox.soft_limit },
        { "--soft-limit-ms", "MS", "how long a while is; 5000", .number = &server->outbox.soft_limit_ms },
        { "--hard-limit", "BYTES", "unread by a player ever; 262144", .size = &server->outbox.hard_limit },
        { "--drain-s", "S", "from the signal to the close; 5", .number = &settings->drain_s, .max = UINT16_MAX },
        { "--stats", "S", "a line of statistics that often; 0: none; 5", .number = &settings->stats_s },
        { 0 },
    };
    options_read("a game server: rooms of players who walk about and talk.", options, argc, argv);
    server->address = settings->addresses.count > 0 ? settings->addresses.at[0] : "0.0.0.0:7777";
    server->metrics = settings->metrics.count > 0 ? settings->metrics.at[0] : NULL;
}

int main(int argc, char **argv)
{
    weir_failure failure = { 0 };
    struct settings settings = {
        .server = { .rooms = 16,
                    .room_size = PLAYERS_MAX,
                    .hz = 30,
                    .idle_s = 15,
                    .outbox = { .soft_limit = 64 << 10, .soft_limit_ms = 5000, .hard_limit = 256 << 10 },
                    .failure = &failure },
        .drain_s = 5,
        .stats_s = 5,
    };
    struct program program = { .settings = &settings };
    weir_runtime *runtime = NULL;

    setvbuf(stdout, NULL, _IONBF, 0); /* each line is seen at once, through a pipe too */
    read_settings(&settings, argc, argv);

    int err = weir_runtime_create(&runtime, &(weir_runtime_options){ .workers = settings.workers });
    if (err == 0) err = server_open(&program.server, runtime, &settings.server);
    if (err == 0) err = watch_signals(runtime, &program);
    if (err == 0) err = print_stats(runtime, &program);
    if (err == 0) printf("listening on %s\n", server_address(program.server).text);
    if (err == 0) err = weir_runtime_run(runtime);
    if (err != 0) fprintf(stderr, "arena: %s\n", failure.error == err ? failure.text : weir_strerror(err));
    if (err == 0) server_print(program.server, stdout);
    weir_runtime_destroy(runtime);
    server_free(program.server);
    return err == 0 ? 0 : 1;
}
