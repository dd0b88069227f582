/* wr_random: xoshiro256** (D. Blackman, S. Vigna, "Scrambled linear pseudorandom number generators", ACM TOMS 2021),
 * its state filled from the seed by SplitMix64 (G. Steele, D. Lea, C. Flood, OOPSLA 2014). The same numbers on every
 * system. */
#ifndef WR_RANDOM_H
#define WR_RANDOM_H

#include <stdint.h>

typedef struct wr_random {
    uint64_t state[4];
} wr_random;

static inline void wr_random_seed(wr_random *random, uint64_t seed)
{
    for (int i = 0; i < 4; i++) {
        seed += UINT64_C(0x9e3779b97f4a7c15);
        uint64_t mixed = seed;
        mixed = (mixed ^ mixed >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
        mixed = (mixed ^ mixed >> 27) * UINT64_C(0x94d049bb133111eb);
        random->state[i] = mixed ^ mixed >> 31;
    }
}

static inline uint64_t wr_random_rotate(uint64_t bits, int by)
{
    return bits << by | bits >> (64 - by);
}

static inline uint64_t wr_random_next(wr_random *random)
{
    uint64_t *s = random->state;
    uint64_t result = wr_random_rotate(s[1] * 5, 7) * 9;
    uint64_t shifted = s[1] << 17;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= shifted;
    s[3] = wr_random_rotate(s[3], 45);
    return result;
}

/* wr_random_below: 0 to bound - 1; `bound` is at least 1. The bias of the remainder, below 2^-20 for what is asked
 * here, does not matter. */
static inline uint64_t wr_random_below(wr_random *random, uint64_t bound)
{
    return bound > 1 ? wr_random_next(random) % bound : 0;
}

#endif
