/* A contest, or one side of one, as the command line asks for it. What it asks for in vain ends the program with 2. */
#ifndef BENCH_SETUP_H
#define BENCH_SETUP_H

#include "contest.h"
#include "sides.h"

/* What every comparison takes, beside its workload's own. */
extern const option_set setup_contest_options;

const struct workload *setup_workload(const char *name);
void setup_contest(struct contest *contest, const struct workload *workload, const struct options *options);

/* setup_print_usual: what a workload does where options do not say otherwise. */
void setup_print_usual(const struct workload *workload);

/* setup_side: one that runs alone, by `what`, "serve" or "load". */
struct side setup_side(const char *what, const struct options *options, const struct workload *workload);

#endif
