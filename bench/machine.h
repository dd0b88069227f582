/* The machine: what it is, which of its cores a process runs on, and how deep they may sleep. */
#ifndef BENCH_MACHINE_H
#define BENCH_MACHINE_H

#include <sched.h>
#include <stdbool.h>

struct machine {
    char cpu[128];
    char kernel[160];
    long cores;
};

struct machine machine_describe(void);

/* machine_stay_awake: keeps idle cores polling until the process ends. False where that is not permitted. Waking a
 * halted virtual core costs over 20 us, which would drown what is measured. */
bool machine_stay_awake(void);

/* machine_raise_descriptors: raises this process's limit as far as it may be, and returns it. */
unsigned machine_raise_descriptors(void);

/* Where a process runs. */
struct place {
    cpu_set_t cpus;
    bool batch; /* SCHED_BATCH: no wake-up preempts, so that two processes on one core work in long turns */
};

/* machine_place: the contender's side and the other one, on the cores that this process may use: the first `workers`
 * for the contender and the next one for the other side, or the last one if there is none left. */
void machine_place(unsigned workers, bool together, struct place *contender, struct place *other);

void machine_enter(const struct place *place);

/* machine_cpus_text: "0" or "0-1,4". */
void machine_cpus_text(const cpu_set_t *cpus, char *out, unsigned size);

#endif
