/* choice: where all of a scenario's decisions come from: a seed, or the bytes of a fuzzer. */
#ifndef WR_TEST_CHOICE_H
#define WR_TEST_CHOICE_H

#include <stdbool.h>
#include <stddef.h>

#include "platform/sim/random.h"

typedef struct choice {
    wr_random random;
    const uint8_t *bytes; /* instead of `random`; NULL: none */
    size_t left;
} choice;

static inline choice choice_of_seed(uint64_t seed)
{
    choice from = { .bytes = NULL };
    wr_random_seed(&from.random, seed);
    return from;
}

static inline choice choice_of_bytes(const uint8_t *bytes, size_t size)
{
    return (choice){ .bytes = bytes, .left = size };
}

/* choice_is_over: the fuzzer's bytes are used up: all that follows is 0. */
static inline bool choice_is_over(const choice *from)
{
    return from->bytes && from->left == 0;
}

/* choose: 0 to bound - 1; 0 for a bound of 0. Of bytes as few as the bound needs, so that a fuzzer's change of one
 * stays a small one. */
static inline uint64_t choose(choice *from, uint64_t bound)
{
    if (!from->bytes) return wr_random_below(&from->random, bound);
    if (bound == 0) return 0;
    uint64_t number = 0;
    for (uint64_t rest = bound - 1; rest > 0 && from->left > 0; rest >>= 8) {
        number = number << 8 | *from->bytes++;
        from->left--;
    }
    return number % bound;
}

/* choose_from: `least` to `most`, both included. */
static inline uint64_t choose_from(choice *from, uint64_t least, uint64_t most)
{
    return least + choose(from, most - least + 1);
}

/* chance: true once in `of`. */
static inline bool chance(choice *from, uint64_t of)
{
    return choose(from, of) == of - 1;
}

#define CHOOSE_ONE(from, array) ((array)[choose((from), sizeof(array) / sizeof *(array))])

#endif
