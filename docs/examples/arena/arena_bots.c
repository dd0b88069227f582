/* Players for the arena, that check all they are told: bot.h says what.
 *
 * arena_bots [OPTIONS]        --help lists them; exits with 1 if anything was not as it must be */
#include "../options.h"
#include "bots.h"

int main(int argc, char **argv)
{
    struct option_texts addresses = { 0 };
    struct bots_options settings = { .bots = 100, .rooms = 16, .rate = 500, .seconds = 30 };
    uint32_t workers = 1;
    const struct option options[] = {
        { "--address", "ADDR", "of the arena; 127.0.0.1:7777", .texts = &addresses },
        { "--bots", "N", "100", .number = &settings.bots, .min = 1, .max = 1000000 },
        { "--rooms", "N", "that they spread over; 16", .number = &settings.rooms, .min = 1, .max = UINT16_MAX },
        { "--rate", "N", "connections a second, until all are there; 500", .number = &settings.rate, .min = 1 },
        { "--seconds", "S", "of play, once all are there; 0: until the server closes; 30",
          .number = &settings.seconds },
        { "--workers", "N", "threads; 0: one a core; 1", .number = &workers, .max = 256 },
        { 0 },
    };
    struct bots *bots = NULL;
    weir_runtime *runtime = NULL;

    setvbuf(stdout, NULL, _IONBF, 0); /* each line is seen at once, through a pipe too */
    options_read("bots that play in the arena, and check all that they are told.", options, argc, argv);
    settings.address = addresses.count > 0 ? addresses.at[0] : "127.0.0.1:7777";

    int err = weir_runtime_create(&runtime, &(weir_runtime_options){ .workers = workers });
    if (err == 0) err = bots_open(&bots, runtime, &settings);
    if (err == 0) err = weir_runtime_run(runtime);
    if (err != 0) fprintf(stderr, "arena_bots: %s\n", weir_strerror(err));
    weir_runtime_destroy(runtime);

    struct bots_result result = { 0 };
    if (err == 0) {
        bots_judge(bots, &result);
        bots_print(&result, stdout);
    }
    bots_free(bots);
    return err == 0 && result.violations == 0 ? 0 : 1;
}
