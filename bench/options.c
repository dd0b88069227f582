#include "options.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fail.h"
#include "job.h"

enum kind { NUMBER, SECONDS, TEXT, FLAG };

struct specification {
    const char *name;
    const char *argument;
    enum kind kind;
    size_t where; /* in struct options */
    unsigned least, most;
    const char *help;
};

#define FIELD(name) offsetof(struct options, name)

static const struct specification specifications[OPTION_END] = {
    [OPTION_SECONDS] = { "--seconds", "S", SECONDS, FIELD(seconds), 0, 3600,
                         "time to measure in all, split into slices; else a slice has 0.2 s in most workloads" },
    [OPTION_ROUNDS] = { "--rounds", "N", NUMBER, FIELD(rounds), 1, ROUNDS_MAX, "rounds of one slice a contender" },
    [OPTION_WINDOW] = { "--window", "N", NUMBER, FIELD(window), 1, 4096,
                        "operations in flight; of echo and slow: of a connection; of post: of a producer" },
    [OPTION_CONNECTIONS] = { "--connections", "N", NUMBER, FIELD(connections), 1, 1000000, "open at once" },
    [OPTION_SIZE] = { "--size", "BYTES", NUMBER, FIELD(size), 1, 1 << 20, "of a message" },
    [OPTION_RATE] = { "--rate", "N", NUMBER, FIELD(rate), 1, 10000000,
                      "messages a second in all, each at its time; else the next one follows an answer" },
    [OPTION_SLOW] = { "--slow", "N", NUMBER, FIELD(slow), 0, 10000, "clients that ask and never read" },
    [OPTION_TIMERS] = { "--timers", "N", NUMBER, FIELD(timers), 1, 10000000, "how many" },
    [OPTION_PRODUCERS] = { "--producers", "N", NUMBER, FIELD(producers), 1, JOB_PRODUCERS_MAX, "threads that post" },
    [OPTION_WORKERS] = { "--workers", "N", NUMBER, FIELD(workers), 1, JOB_WORKERS_MAX,
                         "threads of contenders that have them" },
    [OPTION_CONTENDERS] = { "--contenders", "LIST", TEXT, FIELD(contenders), 0, 0,
                            "such as floor,weir (all); compared with the first; one may stand twice" },
    [OPTION_JSON] = { "--json", "FILE", TEXT, FIELD(json), 0, 0, "write all rounds there" },
    [OPTION_TOGETHER] = { "--together", NULL, FLAG, 0, 0, 0,
                          "both sides on one core: what a saturated server pays; read CPU per operation only" },
    [OPTION_WORKLOAD] = { "--workload", "NAME", TEXT, FIELD(workload), 0, 0, "which one" },
    [OPTION_CONTENDER] = { "--contender", "NAME", TEXT, FIELD(contender), 0, 0, "which one" },
    [OPTION_ADDRESS] = { "--address", "ADDRESS", TEXT, FIELD(address), 0, 0, "of the server, such as 127.0.0.1:7777" },
    [OPTION_COUNT] = { "--count", "N", NUMBER, FIELD(count), 1, 1000000000, "end after so many operations" },
    [OPTION_HELP] = { "--help", NULL, FLAG, 0, 0, 0, "this text" },
};

static const struct specification *find(const char *text, size_t length)
{
    for (unsigned i = 0; i < OPTION_END; i++) {
        if (strlen(specifications[i].name) == length && memcmp(specifications[i].name, text, length) == 0) {
            return &specifications[i];
        }
    }
    fail_usage("%.*s is no option; see weir-bench --help", (int)length, text);
}

static void read_number(const struct specification *option, const char *text, unsigned *out)
{
    char *end = NULL;
    errno = 0;
    unsigned long long value = strtoull(text, &end, 10);
    if (*text < '0' || *text > '9' || *end != '\0') fail_usage("%s %s: not a whole number", option->name, text);
    if (errno != 0 || value < option->least || value > option->most) {
        fail_usage("%s %s: must be from %u to %u", option->name, text, option->least, option->most);
    }
    *out = (unsigned)value;
}

static void read_seconds(const struct specification *option, const char *text, double *out)
{
    char *end = NULL;
    double value = strtod(text, &end);
    if (*text < '0' || *text > '9' || *end != '\0') fail_usage("%s %s: not a number", option->name, text);
    if (!(value > option->least) || value > option->most) {
        fail_usage("%s %s: must be over %u and at most %u", option->name, text, option->least, option->most);
    }
    *out = value;
}

static void read_value(const struct specification *option, const char *text, struct options *out)
{
    void *field = (char *)out + option->where;
    switch (option->kind) {
    case NUMBER:
        read_number(option, text, field);
        break;
    case SECONDS:
        read_seconds(option, text, field);
        break;
    case TEXT:
        if (*text == '\0') fail_usage("%s: its value is empty", option->name);
        *(const char **)field = text;
        break;
    case FLAG:
        break;
    }
}

void options_parse(struct options *out, int count, char **arguments)
{
    *out = (struct options){ 0 };
    for (int i = 0; i < count; i++) {
        const char *text = arguments[i];
        if (strncmp(text, "--", 2) != 0) fail_usage("%s: an option, which begins with --, was expected", text);
        size_t length = strcspn(text, "=");
        const struct specification *option = find(text, length);
        const char *value = text[length] == '=' ? text + length + 1 : NULL;
        if (option->kind == FLAG && value) fail_usage("%s takes no value", option->name);
        if (option->kind != FLAG && !value) {
            if (i + 1 == count) fail_usage("%s: its value %s is missing", option->name, option->argument);
            value = arguments[++i];
        }
        read_value(option, value, out);
        out->given |= 1u << (option - specifications);
    }
}

void options_refuse_others(const struct options *options, option_set used, const char *what)
{
    for (unsigned i = 0; i < OPTION_END; i++) {
        if (options->given & ~used & 1u << i) fail_usage("%s does not use %s", what, specifications[i].name);
    }
}

void options_print(option_set set)
{
    for (unsigned i = 0; i < OPTION_END; i++) {
        const struct specification *option = &specifications[i];
        if (!(set & 1u << i)) continue;
        char left[32];
        snprintf(left, sizeof left, "%s %s", option->name, option->argument ? option->argument : "");
        printf("  %-20s %s\n", left, option->help);
    }
}
