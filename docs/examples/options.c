#include "options.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { HELP_COLUMN = 40 };

static uint64_t largest(const struct option *option)
{
    if (option->max != 0) return option->max;
    return option->number != NULL ? UINT32_MAX : SIZE_MAX;
}

/* What stands for the value in the help: "a|b|c" where there are choices. */
static void value_words(const struct option *option, char *words, size_t capacity)
{
    if (option->choices == NULL) {
        snprintf(words, capacity, "%s", option->value != NULL ? option->value : "");
        return;
    }
    size_t used = 0;
    for (size_t i = 0; option->choices[i] != NULL && used < capacity; i++)
        used += (size_t)snprintf(words + used, capacity - used, "%s%s", i == 0 ? "" : "|", option->choices[i]);
}

static void print_help(const char *program, const char *about, const struct option *options)
{
    printf("%s: %s\n\n", program, about);
    for (; options->name != NULL; options++) {
        char words[64];
        value_words(options, words, sizeof words);
        int width = printf("  %s %s", options->name, words);
        printf("%*s%s\n", width < HELP_COLUMN ? HELP_COLUMN - width : 1, "", options->help);
    }
    printf("  %-*s%s\n", HELP_COLUMN - 2, "--help", "print this and exit");
}

static _Noreturn void refuse(const char *program, const char *argument, const char *why)
{
    fprintf(stderr, "%s: %s: %s\n", program, argument, why);
    exit(2);
}

/* strtoull alone would let signs, spaces and an overflow through. */
static bool read_number(const char *text, uint64_t min, uint64_t max, uint64_t *out)
{
    char *end;
    if (text[0] < '0' || text[0] > '9') return false;
    errno = 0;
    *out = strtoull(text, &end, 10);
    return *end == '\0' && errno == 0 && *out >= min && *out <= max;
}

static void store(const char *program, const struct option *option, const char *text)
{
    char why[160];

    if (option->texts != NULL) {
        struct option_texts *texts = option->texts;
        if (texts->count == sizeof texts->at / sizeof texts->at[0]) refuse(program, option->name, "given too often");
        texts->at[texts->count++] = text;
    } else if (option->choice != NULL) {
        unsigned i = 0;
        while (option->choices[i] != NULL && strcmp(option->choices[i], text) != 0) i++;
        if (option->choices[i] == NULL) {
            char words[64];
            value_words(option, words, sizeof words);
            snprintf(why, sizeof why, "'%.60s' is none of %s", text, words);
            refuse(program, option->name, why);
        }
        *option->choice = i;
    } else {
        uint64_t number;
        if (!read_number(text, option->min, largest(option), &number)) {
            snprintf(why, sizeof why, "'%.60s' is not a whole number from %llu to %llu", text,
                     (unsigned long long)option->min, (unsigned long long)largest(option));
            refuse(program, option->name, why);
        }
        if (option->number != NULL)
            *option->number = (uint32_t)number;
        else
            *option->size = (size_t)number;
    }
}

void options_read(const char *about, const struct option *options, int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--help") == 0) {
            print_help(argv[0], about, options);
            exit(0);
        }
        const struct option *option = options;
        size_t length = strcspn(argv[i], "=");
        while (option->name != NULL && (strlen(option->name) != length || memcmp(option->name, argv[i], length) != 0))
            option++;
        if (option->name == NULL) refuse(argv[0], argv[i], "no such option; --help lists them");
        if (option->flag != NULL && argv[i][length] == '=') refuse(argv[0], option->name, "it takes no value");
        if (option->flag != NULL)
            *option->flag = true;
        else if (argv[i][length] == '=')
            store(argv[0], option, argv[i] + length + 1);
        else if (i + 1 < argc)
            store(argv[0], option, argv[++i]);
        else
            refuse(argv[0], option->name, "a value is missing");
    }
}
