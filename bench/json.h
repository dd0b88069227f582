/* All of a contest, every round of it, as one JSON object. */
#ifndef BENCH_JSON_H
#define BENCH_JSON_H

#include <stdio.h>

#include "contest.h"

void json_write(FILE *file, const struct contest *contest);

#endif
