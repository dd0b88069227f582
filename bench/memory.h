/* Memory, as the workload `idle` sees it. linux/ and windows/ implement this page. */
#ifndef BENCH_MEMORY_H
#define BENCH_MEMORY_H

#include <stdbool.h>
#include <stdint.h>

/* memory_resident: of this process. memory_allocated: what malloc has given out; 0 where it does not say. */
uint64_t memory_resident(void);
uint64_t memory_allocated(void);

/* memory_kernel: what the kernel holds for its own objects, all of the system's, sockets among them. False where it
 * does not say. */
bool memory_kernel(uint64_t *bytes);

#endif
