/* Numbers for people. */
#ifndef BENCH_TEXT_H
#define BENCH_TEXT_H

#include <stdint.h>

struct text {
    char text[32];
};

struct text text_grouped(double value);       /* 41,236 */
struct text text_duration(uint64_t value_ns); /* 812 ns, 14.2 us, 1.52 ms, 2.10 s */

#endif
