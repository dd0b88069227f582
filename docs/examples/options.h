/* Command-line options from one table, which the parser, its refusals and the help all read.
 * (getopt_long would do, were it on every system that these examples build on.) */
#ifndef EXAMPLES_OPTIONS_H
#define EXAMPLES_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The values of an option that may be given more than once. They point into argv. */
struct option_texts {
    const char *at[16];
    size_t count;
};

/* An option and its value: "--name VALUE" or "--name=VALUE"; a flag has none. Exactly one of the pointers is set; it
 * says what kind of value this is, and where to put it. What the command line does not mention stays as it was. */
struct option {
    const char *name;
    const char *value; /* what the help calls it; not needed with choices, and not with a flag */
    const char *help;
    uint32_t *number;
    size_t *size;
    uint64_t min; /* of a number or a size, */
    uint64_t max; /* and its bound above; 0: all that the type holds */
    unsigned *choice;
    const char *const *choices; /* the words, ended by NULL; the index of the chosen one is stored */
    struct option_texts *texts;
    bool *flag;
};

/* options_read: reads the command line as the table says, which an option without a name ends. Prints the help and
 * exits with 0 for --help; says what it refuses and why, and exits with 2, for anything that is not in the table. */
void options_read(const char *about, const struct option *options, int argc, char **argv);

#endif
