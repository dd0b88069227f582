/* Where the bits of a number are. */
#ifndef WR_BITS_H
#define WR_BITS_H

#include <stdint.h>

/* wr_bit_high, wr_bit_low: the number of the highest and of the lowest bit that is set in `bits`, which is not 0. */
#if defined(__GNUC__) && !defined(WR_PORTABLE_BITS)
static inline unsigned wr_bit_high(uint64_t bits)
{
    return 63U - (unsigned)__builtin_clzll(bits);
}

static inline unsigned wr_bit_low(uint64_t bits)
{
    return (unsigned)__builtin_ctzll(bits);
}
#else
static inline unsigned wr_bit_high(uint64_t bits)
{
    unsigned number = 0;
    for (unsigned half = 32; half > 0; half /= 2) {
        if (bits >> half == 0) continue;
        bits >>= half;
        number += half;
    }
    return number;
}

static inline unsigned wr_bit_low(uint64_t bits)
{
    return wr_bit_high(bits & (~bits + 1));
}
#endif

#endif
