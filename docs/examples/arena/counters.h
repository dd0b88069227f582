/* What the server counts. All threads add, all may read. */
#ifndef ARENA_COUNTERS_H
#define ARENA_COUNTERS_H

#include "protocol.h"
#include <stdatomic.h>
#include <stdint.h>

/* X(name, help) */
#define COUNTERS(X)                                                 \
    X(joined, "Players who entered a room")                         \
    X(inputs, "Steps that were made")                               \
    X(inputs_rejected, "Steps that were rejected")                  \
    X(chats, "Texts that were said")                                \
    X(chats_rejected, "Texts that came too fast")                   \
    X(snapshots, "Snapshots that were made, each for a whole room") \
    X(broadcasts_failed, "Broadcasts that did not reach a whole room")

struct counters {
#define COUNTERS_FIELD(name, help) _Atomic uint64_t name;
    COUNTERS(COUNTERS_FIELD)
#undef COUNTERS_FIELD
    _Atomic uint64_t goodbyes[GOODBYE_COUNT]; /* players let go, by the reason that they were told */
};

static inline void count(_Atomic uint64_t *counter, uint64_t more)
{
    atomic_fetch_add_explicit(counter, more, memory_order_relaxed);
}

static inline uint64_t counted(const _Atomic uint64_t *counter)
{
    return atomic_load_explicit(counter, memory_order_relaxed);
}

#endif
