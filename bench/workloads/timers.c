/* timers: many of them, armed, armed again for another time, and fired, in a process that does nothing else. An
 * operation is one of these three for one timer. Delays are mixed evenly: timers of neighbouring numbers have nothing
 * in common. */
#include <stdlib.h>

#include "fail.h"
#include "workload.h"

enum { FAR_MS = 10000, NEAR_MS = 200, SPAN_MS = 500, OPERATIONS = 3 };

enum { ARM, REARM, FIRE, FIGURES };

static const struct figure figures[] = {
    [ARM] = { "arm_ns", "arm ns", 1, false },
    [REARM] = { "rearm_ns", "re-arm ns", 1, false },
    [FIRE] = { "fire_ns", "fire ns", 1, false },
    [FIGURES] = { 0 },
};

struct load {
    const struct peer_timers *peer;
    void *state;
    unsigned count;
    uint32_t longest_ms;
    uint32_t *far_ms, *near_ms;
};

static uint32_t *delays(unsigned count, uint32_t from, uint32_t span)
{
    uint32_t *delays_ms = calloc(count, sizeof *delays_ms);
    if (!delays_ms) fail("out of memory");
    uint32_t random = 2463534242u; /* xorshift32: the same ones for all */
    for (unsigned i = 0; i < count; i++) {
        random ^= random << 13;
        random ^= random >> 17;
        random ^= random << 5;
        delays_ms[i] = from + random % span;
    }
    return delays_ms;
}

static void *open_timers(const struct peer *peer, const struct job *job)
{
    struct load *load = calloc(1, sizeof *load);
    if (!load) fail("out of memory");
    load->peer = &peer->timers;
    load->count = job->timers;
    load->far_ms = delays(job->timers, FAR_MS + 1, FAR_MS);
    load->near_ms = delays(job->timers, NEAR_MS, SPAN_MS);
    for (unsigned i = 0; i < job->timers; i++) {
        if (load->near_ms[i] > load->longest_ms) load->longest_ms = load->near_ms[i];
    }
    load->state = load->peer->open(job);
    return load;
}

/* Adds what was spent since `*last`, and makes it now. */
static void add(double *cpu_ns, struct usage *last)
{
    struct usage now = usage_now();
    *cpu_ns += (double)(now.cpu_ns - last->cpu_ns);
    *last = now;
}

static void cycle(struct load *load, double *cpu_ns)
{
    struct usage last = usage_now();
    load->peer->arm(load->state, load->far_ms);
    add(&cpu_ns[ARM], &last);
    uint64_t armed_ns = clock_ns();
    load->peer->arm(load->state, load->near_ms);
    add(&cpu_ns[REARM], &last);
    uint64_t fired = load->peer->run(load->state);
    add(&cpu_ns[FIRE], &last);
    if (fired != load->count) {
        fail("%llu of %u timers fired", (unsigned long long)fired, load->count);
    }
    if (clock_ns() - armed_ns < load->longest_ms * (uint64_t)NS_PER_MS) fail("timers fired before their time");
}

static void burst(void *state, const struct limit *limit, struct tally *tally)
{
    struct load *load = state;
    double cpu_ns[FIGURES] = { 0 };
    unsigned cycles = 0;
    do {
        cycle(load, cpu_ns);
        cycles++;
        tally->started += (uint64_t)load->count * OPERATIONS;
        tally->finished = tally->started;
    } while (clock_ns() < limit->until_ns && tally->started < limit->operations);
    for (unsigned i = 0; i < FIGURES; i++) tally->figures[i] = cpu_ns[i] / ((double)cycles * load->count);
}

static bool has(const struct peer *peer)
{
    return peer->timers.open != NULL;
}

static const struct peer *opened; /* by the one driver of this process */

static void *open_those(const struct job *job)
{
    return open_timers(opened, job);
}

static const struct driver *driver(const struct peer *peer)
{
    static const struct driver timers = { open_those, burst };
    opened = peer;
    return &timers;
}

const struct workload workload_timers = {
    .name = "timers",
    .what = "timers that the contender arms, re-arms and fires, without a network",
    .operation = "timer operation",
    .contender_drives = true,
    .alone = true,
    .options = OPTION(TIMERS),
    .usual = { .timers = 1000000 },
    .rounds = 3,
    .figures = figures,
    .note = "A slice is as long as it takes to arm all, re-arm all, and fire all within 0.7 s, most of "
            "which the process\nsleeps through: the rate says nothing.",
    .has = has,
    .driver = driver,
};
