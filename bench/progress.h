/* What is seen while a contest runs: on a terminal one line that is rewritten, elsewhere a few lines. On stderr. */
#ifndef BENCH_PROGRESS_H
#define BENCH_PROGRESS_H

#include "contest.h"

void progress_slice(const struct contest *contest, unsigned round, unsigned which);
void progress_end(void);

#endif
