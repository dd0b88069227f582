/* The course of a storm (storm.h) in a given weather, and what holds in any: the server's side, in the test's process.
 */
#ifndef WR_TEST_WEATHER_H
#define WR_TEST_WEATHER_H

#include "core/outbox.h"
#include "core/world.h"
#include "faults/storm.h"

enum {
    /* What the pools of two workers keep. */
    WEATHER_MEMORY_KEPT_MAX = 2 * (64 * 16384 + WR_CHUNKS_KEPT * WR_CHUNK_SIZE),
    WEATHER_SOURCES = 1 << 16,
};

/* What the server's counters say. */
typedef struct weather_level {
    uint64_t ns, memory, cpu_us;
    weir_stats stats;
} weather_level;

typedef struct weather {
    const char *name;
    const link_terms *link; /* NULL: the loopback */
    storm_raid raid;
    weir_listen_options limits;
    uint32_t attack_ms; /* at least; it goes on until it bites */
    bool (*bites)(const weather_level *since, const weather_level *now);
    /* What holds then; may be NULL. */
    void (*check)(const world *w, const weather_level *since, const weather_level *now);
    unsigned spare_descriptors; /* that the server may have beyond those it has when the attack begins; 0: enough */
    bool visits;                /* visitors come, */
    bool visits_beside;         /* during the attack too */
    uint32_t handshake_ms, idle_ms;
    uint32_t stop_timeout_ms; /* 0: 1 s */
} weather;

/* What the server saw of its connections. */
typedef struct weather_seen {
    _Atomic unsigned open, peak;
    _Atomic unsigned from[WEATHER_SOURCES], from_peak; /* by the last two bytes of their addresses */
} weather_seen;

extern weather_seen seen;

/* weather_blow: the guests alone, then the attack, then its end: no answer may be lost, nothing may stay behind,
 * nothing may spin, and who comes afterwards is served. Skips the test where the weather's link cannot be had. */
void weather_blow(const weather *now);

/* weather_stop: the server is told to stop amid the attack: in order towards the guests, in time, and with nothing left
 * behind. */
void weather_stop(const weather *now);

#endif
