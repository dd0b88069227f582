/* The table that a contest ends in, and the lines above it. On stdout. */
#ifndef BENCH_REPORT_H
#define BENCH_REPORT_H

#include "contest.h"

void report_header(const struct contest *contest);
void report_table(const struct contest *contest);

/* report_compiler: the compiler of this build, such as "gcc 12.2.0". */
const char *report_compiler(void);

#endif
