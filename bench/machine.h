/* The machine: what it is, which of its cores a process runs on, and how deep they may sleep. linux/ and windows/
 * implement this page. */
#ifndef BENCH_MACHINE_H
#define BENCH_MACHINE_H

#include "place.h"

struct machine {
    char cpu[128];
    char kernel[160];
    long cores;
};

struct machine machine_describe(void);

/* machine_cpus: the cores that this process may use. machine_enter: from here on it runs at that place. */
struct cpus machine_cpus(void);
void machine_enter(const struct place *place);

/* machine_may_go_first: whether processes may have their cores before all others, for a second or so: what else runs,
 * the kernel's threads among it, waits. */
bool machine_may_go_first(void);

/* machine_stay_awake: keeps idle cores polling until the process ends. False where that is not possible. Waking a
 * halted virtual core costs over 20 us, which would drown what is measured. */
bool machine_stay_awake(void);

/* machine_raise_descriptors: raises this process's limit as far as it may be, and returns it. */
unsigned machine_raise_descriptors(void);

/* machine_has_terminal: somebody watches stderr, where a line can be rewritten. */
bool machine_has_terminal(void);

/* machine_spreads: the kernel spreads connections over several listening sockets on one port. */
extern const bool machine_spreads;

/* What a run says of how this system does these things, and of what it lacks. */
extern const char *const machine_sharing_text; /* how two processes share a core */
const char *machine_awake_text(bool awake);    /* what idle cores do */
const char *machine_first_text(bool first);    /* whether other processes may take the cores */

#endif
