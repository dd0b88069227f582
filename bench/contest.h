/* A contest: one workload, some contenders, and the rounds in which they are measured side by side. */
#ifndef BENCH_CONTEST_H
#define BENCH_CONTEST_H

#include "place.h"
#include "process.h"
#include "workload.h"

enum { CONTENDERS_MAX = 12 };

/* One slice. */
struct sample {
    uint64_t operations;
    uint64_t elapsed_ns;
    struct usage contender; /* what the contender's process spent */
    struct usage other;     /* and the other side's: the load generator, or the sink */
    uint64_t late;          /* as in a tally */
    uint64_t p50_ns, p99_ns, p999_ns, worst_ns;
    double figures[FIGURES_MAX];
};

struct contender {
    const struct peer *peer;
    enum placement placement;
    char name[32];
    struct process server, driver;
    struct sample *samples; /* one a round */
    struct histogram latency;
};

struct contest {
    const struct workload *workload;
    struct job job;
    unsigned rounds; /* at most ROUNDS_MAX */
    unsigned rounds_done;
    uint64_t slice_ns;
    struct order warm_up;
    bool together;
    bool awake; /* idle cores poll */
    bool first; /* both sides go before other processes */
    struct place contender_place, other_place;
    struct contender contenders[CONTENDERS_MAX];
    unsigned count;
};

/* contest_run: starts all processes, and measures. Fails, and so exits, if anything goes wrong. */
void contest_run(struct contest *contest);

/* What workloads measure with.
 *
 * contest_burst: asks the contender's driver for one burst. What came of it is the process's own until the next one.
 * contest_usage, contest_state: asks the listening side.
 * contest_sample: fills a sample from a burst, and from what the listening side spent in it. */
const struct outcome *contest_burst(const struct contender *contender, uint64_t duration_ns);
struct usage contest_usage(const struct contender *contender);
const struct server_state *contest_state(const struct contender *contender);
void contest_sample(const struct contest *contest, struct sample *out, const struct outcome *outcome,
                    const struct usage *listening);

#endif
