/* Sequences of public calls in the simulator: the swarm (tests/sim/swarm.h) with the bytes in place of its seed. */
#include "fuzz/fuzz.h"
#include "sim/swarm.h"

static void failed(const swarm *s, const char *text)
{
    (void)s;
    fprintf(stderr, "%s\n", text);
    abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const swarm_options options = { .failed = failed };
    (void)swarm_run_scenario(&options, choice_of_bytes(data, size));
    return 0;
}
