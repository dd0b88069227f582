/* Timers of one worker: a hierarchical wheel of milliseconds.
 *
 * Arming and disarming cost a few instructions whatever the number of timers, so that a deadline a connection costs
 * nothing that counts. (G. Varghese, A. Lauck, "Hashed and hierarchical timing wheels", SOSP 1987.) Only the worker
 * touches its wheel. */
#ifndef WR_TIMER_H
#define WR_TIMER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Embedded in what it belongs to; zero it before its first use. `tag` is the owner's, to tell by what it is embedded
 * in. */
typedef struct wr_timer wr_timer;
struct wr_timer {
    wr_timer *next;
    wr_timer **link; /* what points here; NULL when not armed */
    uint64_t due_ms : 56;
    uint64_t tag : 8;
};

enum {
    WR_WHEEL_BITS = 6,
    WR_WHEEL_SLOTS = 1 << WR_WHEEL_BITS,
    WR_WHEEL_LEVELS = 6, /* 64^6 ms are two years; a timer beyond waits in the last level and is placed anew */
};

#define WR_TIMER_MAX_MS (((uint64_t)1 << 56) - 1) /* what due_ms holds, 2.2 million years: the end of time */

typedef struct wr_wheel {
    uint64_t now_ms;                    /* up to where everything has been taken */
    uint64_t occupied[WR_WHEEL_LEVELS]; /* a bit a slot that is not empty */
    uint64_t next_ms;                   /* what wr_wheel_next_ms says; 0: it must look */
    wr_timer *slots[WR_WHEEL_LEVELS][WR_WHEEL_SLOTS];
    wr_timer *due; /* expired, not yet taken */
    bool passing;  /* a pass has begun: wr_wheel_take has not yet returned its NULL */
} wr_wheel;

/* wr_wheel_init: empties the wheel; time starts at now_ms. */
void wr_wheel_init(wr_wheel *wheel, uint64_t now_ms);

/* wr_wheel_arm: (re-)arms; a due_ms that has passed falls due at the next wr_wheel_take. */
void wr_wheel_arm(wr_wheel *wheel, wr_timer *timer, uint64_t due_ms);

static inline bool wr_timer_armed(const wr_timer *timer)
{
    return timer->link != 0;
}

void wr_wheel_disarm_armed(wr_wheel *wheel, wr_timer *timer); /* for the next one */

/* wr_wheel_disarm: harmless when it is not armed; also right for one that has expired and is not yet taken. */
static inline void wr_wheel_disarm(wr_wheel *wheel, wr_timer *timer)
{
    if (wr_timer_armed(timer)) wr_wheel_disarm_armed(wheel, timer);
}

/* wr_wheel_next_ms: the time at which to call wr_wheel_take next: never later than the earliest timer, perhaps earlier
 * (at a slot's start, to move its timers down); UINT64_MAX when no timer is armed. Constant time. */
static inline uint64_t wr_wheel_next_ms(wr_wheel *wheel);

/* wr_wheel_take: a timer that is due at now_ms, disarmed, or NULL when there is no more. Call it until NULL. Never
 * early; in the order of their milliseconds, unless time has jumped by years; a now_ms that goes back changes nothing.
 * Between calls any timer may be armed or disarmed; one armed for a time that has passed comes in a later pass (a later
 * now_ms, or after a NULL), so that a timer that re-arms itself cannot hold up the loop. */
static inline wr_timer *wr_wheel_take(wr_wheel *wheel, uint64_t now_ms);

/* wr_wheel_look_next, wr_wheel_take_due: for those above, where something may be due or has changed. */
uint64_t wr_wheel_look_next(wr_wheel *wheel);
wr_timer *wr_wheel_take_due(wr_wheel *wheel, uint64_t now_ms);

/* A pass asks for it twice, and most passes find that nothing has changed: the slot that comes first stays the first
 * while now moves up to its start. */
static inline uint64_t wr_wheel_next_ms(wr_wheel *wheel)
{
    return wheel->next_ms && !wheel->due ? wheel->next_ms : wr_wheel_look_next(wheel);
}

static inline wr_timer *wr_wheel_take(wr_wheel *wheel, uint64_t now_ms)
{
    if (now_ms < wheel->now_ms || now_ms >= wr_wheel_next_ms(wheel) || now_ms > WR_TIMER_MAX_MS)
        return wr_wheel_take_due(wheel, now_ms);
    wheel->now_ms = now_ms;
    wheel->passing = false;
    return NULL;
}

#endif
