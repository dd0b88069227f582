/* The command line. */
#ifndef BENCH_OPTIONS_H
#define BENCH_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>

enum { ROUNDS_MAX = 1000 };

enum option {
    OPTION_SECONDS,
    OPTION_ROUNDS,
    OPTION_WINDOW,
    OPTION_CONNECTIONS,
    OPTION_SIZE,
    OPTION_RATE,
    OPTION_SLOW,
    OPTION_TIMERS,
    OPTION_PRODUCERS,
    OPTION_WORKERS,
    OPTION_CONTENDERS,
    OPTION_JSON,
    OPTION_TOGETHER,
    OPTION_WORKLOAD,
    OPTION_CONTENDER,
    OPTION_ADDRESS,
    OPTION_COUNT,
    OPTION_HELP,
    OPTION_END,
};

/* Some of the options: OPTION(SIZE) | OPTION(WINDOW). */
typedef uint32_t option_set;
#define OPTION(name) (1u << OPTION_##name)
#define OPTION_ALL   (OPTION(END) - 1)

struct options {
    option_set given;
    double seconds;
    unsigned rounds, window, connections, size, rate, slow, timers, producers, workers, count;
    const char *contenders, *json, *workload, *contender, *address;
};

/* options_parse: reads `--name value` and `--name=value`. Exits with 2, and says why, at anything it does not know and
 * at any value out of range. An option that is not given is 0 or NULL. */
void options_parse(struct options *out, int count, char **arguments);

/* options_refuse_others: exits with 2 if an option was given that `what` does not use. */
void options_refuse_others(const struct options *options, option_set used, const char *what);

/* options_print: one line of help for each option of the set. */
void options_print(option_set set);

#endif
