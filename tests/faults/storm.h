/* A storm: a server of weir's in the test's process, clients that behave (guests) in a second one, clients that do not
 * (raiders) in a third. Processes, because descriptors and CPU time are counted by process. They share a page of
 * memory: the test says which phase it is, the others say what they see.
 *
 *   GATHER  the guests come, one by one
 *   CALM    they ask, alone
 *   ATTACK  the raiders do what they are there for, the guests go on
 *   HOLD    the raiders keep what they have and do nothing more; the guests finish what they have asked, and are silent
 *   LEAVE   the raiders go
 *   AFTER   they are gone, the guests ask again
 *   STOP    like ATTACK, but the server is stopping: an orderly end is no loss
 *   END     all leave
 *   OVER    nothing needs to be carried any more */
#ifndef WR_TEST_STORM_H
#define WR_TEST_STORM_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "bench/histogram.h"
#include "core/raw.h"
#include "faults/link.h"

enum {
    STORM_GUESTS = 20,  /* connections that stay */
    STORM_VISITORS = 4, /* and clients that open one for each question */
    STORM_LINE_MAX = 8192,
    STORM_PATIENCE_MS = RAW_PATIENCE_MS, /* for an answer */
    STORM_HANDSHAKE_MS = 800,
    STORM_IDLE_MS = 2000,
};

enum storm_phase {
    STORM_GATHER,
    STORM_CALM,
    STORM_ATTACK,
    STORM_HOLD,
    STORM_LEAVE,
    STORM_AFTER,
    STORM_STOP,
    STORM_END,
    STORM_OVER
};

typedef struct storm storm;

/* What raiders do. */
typedef struct storm_raid {
    void (*run)(storm *s);
    unsigned connections; /* at once */
    unsigned sources;     /* addresses that they come from */
    bool leaves;          /* crowd: each asks once, leaves when it is answered, and comes again */
} storm_raid;

struct storm {
    /* Written before the others start. */
    storm_raid raid;
    uint32_t host; /* of the server, host byte order */
    bool loops;    /* it is on the loopback: there are many source addresses */
    const link_terms *link;
    bool visits;        /* visitors come, */
    bool visits_beside; /* during the attack too */

    _Atomic int phase; /* enum storm_phase */
    _Atomic uint32_t port;

    struct {
        _Atomic unsigned there, busy;                            /* connections; questions without an answer yet */
        _Atomic uint64_t answers, lost, cut;                     /* cut: by the stop, in order */
        struct histogram calm, beside, calm_visit, beside_visit; /* of an answer; of a whole visit */
        char why[160];                                           /* of the first loss */
    } guests;

    struct {
        _Atomic uint64_t connections, ended; /* that were opened; that the server ended */
        _Atomic unsigned there;
    } raiders;
};

/* guests.c, attacks.c: what runs in the other processes. They return at STORM_END. */
void storm_guests(storm *s);
void storm_resets(storm *s);   /* open, say half a message or nothing, and reset */
void storm_crowd(storm *s);    /* open and stay, or see storm_raid.leaves */
void storm_drips(storm *s);    /* a byte at a time: with an end, without one, and none at all after the first message */
void storm_gluttons(storm *s); /* ask for more and more and read nothing */

/* storm_now_ns: a monotonic clock. storm_open: a socket that is connecting, from source address number `source`; -1 if
 * none can be had. storm_nap: half a millisecond. */
uint64_t storm_now_ns(void);
int storm_open(const storm *s, uint32_t source);
void storm_nap(void);

static inline enum storm_phase storm_phase_now(const storm *s)
{
    return (enum storm_phase)atomic_load(&s->phase);
}

#endif
