/* Admission: the limits of a listener, shared by the workers that accept for it. */
#ifndef WR_LIMITS_H
#define WR_LIMITS_H

#include <stdatomic.h>

#include "core/memory.h"
#include "platform/addr.h"
#include "platform/os.h"

typedef struct wr_limits {
    const wr_heap *heap;
    uint32_t max_connections; /* 0: no limit */
    uint32_t max_per_address;
    uint32_t accept_rate;
    _Atomic uint32_t connections;
    _Atomic uint64_t due_ns;              /* accept_rate: when the next accept would be due if they came evenly */
    struct wr_counted_address *addresses; /* under the lock; open addressing, room for a power of two */
    uint32_t address_count, address_room;
    wr_mutex lock;
} wr_limits;

void wr_limits_init(wr_limits *limits, const wr_heap *heap);
void wr_limits_destroy(wr_limits *limits);

enum wr_admission { WR_ADMITTED, WR_OVER_CONNECTIONS, WR_OVER_ADDRESS, WR_NO_MEMORY };

/* wr_limits_count: whether connections are counted at all. */
static inline bool wr_limits_count(const wr_limits *limits)
{
    return limits->max_connections || limits->max_per_address;
}

/* wr_limits_enter: counts a connection from `peer`, unless a limit forbids. An IPv6 peer counts by its /64, which is
 * what one customer gets and can wander through at will. [any] */
static inline enum wr_admission wr_limits_enter(wr_limits *limits, const wr_addr *peer);

/* wr_limits_leave: the connection has gone. Once for each that was admitted. [any] */
static inline void wr_limits_leave(wr_limits *limits, const wr_addr *peer);

/* wr_limits_pace: notes an accept at `now_ns`, and returns for how many nanoseconds to accept no more (0: go on), so
 * that accept_rate holds with bursts of a tenth of a second. [any] */
static inline uint64_t wr_limits_pace(wr_limits *limits, uint64_t now_ns);

/* For those above, where there are limits. */
enum wr_admission wr_limits_enter_limited(wr_limits *limits, const wr_addr *peer);
void wr_limits_leave_limited(wr_limits *limits, const wr_addr *peer);
uint64_t wr_limits_pace_limited(wr_limits *limits, uint64_t now_ns);

static inline enum wr_admission wr_limits_enter(wr_limits *limits, const wr_addr *peer)
{
    return wr_limits_count(limits) ? wr_limits_enter_limited(limits, peer) : WR_ADMITTED;
}

static inline void wr_limits_leave(wr_limits *limits, const wr_addr *peer)
{
    if (wr_limits_count(limits)) wr_limits_leave_limited(limits, peer);
}

static inline uint64_t wr_limits_pace(wr_limits *limits, uint64_t now_ns)
{
    return limits->accept_rate ? wr_limits_pace_limited(limits, now_ns) : 0;
}

#endif
