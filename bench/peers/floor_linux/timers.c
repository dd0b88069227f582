/* The floor's timers: a wheel of one slot a millisecond, each a list through the timers themselves. Arming is a link
 * and an unlink; what is further away than the wheel's turn stays in its slot for another turn. */
#define _GNU_SOURCE
#include <poll.h>
#include <stdlib.h>

#include "peers/floor_linux/floor.h"

enum { SLOTS = 1024 }; /* over the longest delay of those that fire */

struct timer {
    struct timer *next, **link; /* what points here; NULL: not armed */
    uint64_t due_ms;
};

struct wheel {
    unsigned count;
    uint64_t now_ms; /* all that was due up to here has fired */
    uint64_t fired;
    struct timer *slots[SLOTS];
    struct timer timers[];
};

static uint64_t clock_ms(void)
{
    return clock_ns() / NS_PER_MS;
}

void *floor_timers_open(const struct job *job)
{
    struct wheel *wheel = calloc(1, sizeof *wheel + job->timers * sizeof wheel->timers[0]);
    if (!wheel) fail("out of memory");
    wheel->count = job->timers;
    return wheel;
}

static void disarm(struct timer *timer)
{
    if (!timer->link) return;
    *timer->link = timer->next;
    if (timer->next) timer->next->link = timer->link;
    timer->link = NULL;
}

static void arm(struct wheel *wheel, struct timer *timer, uint64_t due_ms)
{
    disarm(timer);
    struct timer **slot = &wheel->slots[due_ms % SLOTS];
    timer->due_ms = due_ms;
    timer->next = *slot;
    timer->link = slot;
    if (*slot) (*slot)->link = &timer->next;
    *slot = timer;
}

/* Never early: this millisecond has begun already. */
void floor_timers_arm(void *state, const uint32_t *delays_ms)
{
    struct wheel *wheel = state;
    wheel->now_ms = clock_ms();
    for (unsigned i = 0; i < wheel->count; i++) arm(wheel, &wheel->timers[i], wheel->now_ms + delays_ms[i] + 1);
}

static void fire_slot(struct wheel *wheel, uint64_t now_ms)
{
    struct timer *next;
    for (struct timer *timer = wheel->slots[now_ms % SLOTS]; timer; timer = next) {
        next = timer->next;
        if (timer->due_ms > now_ms) continue;
        disarm(timer);
        wheel->fired++;
    }
}

uint64_t floor_timers_run(void *state)
{
    struct wheel *wheel = state;
    wheel->fired = 0;
    while (wheel->fired < wheel->count) {
        uint64_t now_ms = clock_ms();
        if (now_ms == wheel->now_ms) {
            poll(NULL, 0, 1);
            continue;
        }
        while (wheel->now_ms < now_ms) fire_slot(wheel, ++wheel->now_ms);
    }
    return wheel->fired;
}
