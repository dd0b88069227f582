#include "core/timer.h"

#include <stddef.h>
#include <string.h>

#include "core/bits.h"

/* Where a timer stands. Times are numbers of WR_WHEEL_LEVELS digits in base 64. A timer stands at the level of the
 * highest digit in which its time differs from now, in the slot of its own digit there. From that follows all else:
 *  - digits above agree and this one is larger than now's, so slots do not wrap around: lower levels, and in a level
 *    lower slots, come first;
 *  - while now moves up to the slot's start, place_of gives the same place: it need not be stored;
 *  - slot number 0 is never used above level 0, and the slot of now's own digit never at any level. The first slot of
 *    the last level holds what is beyond the wheel; now's own slot at level 0 what was armed for a time that has
 *    passed. */
struct place {
    unsigned level;
    unsigned slot;
};

enum {
    SLOT_MASK = WR_WHEEL_SLOTS - 1,
    LEVEL_LAST = WR_WHEEL_LEVELS - 1,
    SPAN_BITS = WR_WHEEL_BITS * WR_WHEEL_LEVELS,
};

#define SPAN_MASK (((uint64_t)1 << SPAN_BITS) - 1)

static struct place place_of(uint64_t due_ms, uint64_t now_ms)
{
    if (due_ms <= now_ms) return (struct place){ 0, (unsigned)(now_ms & SLOT_MASK) };
    unsigned level = wr_bit_high(due_ms ^ now_ms) / WR_WHEEL_BITS;
    if (level > LEVEL_LAST) return (struct place){ LEVEL_LAST, 0 };
    return (struct place){ level, (unsigned)(due_ms >> level * WR_WHEEL_BITS & SLOT_MASK) };
}

static void push(wr_timer **link, wr_timer *timer)
{
    timer->next = *link;
    timer->link = link;
    if (timer->next) timer->next->link = &timer->next;
    *link = timer;
}

static void unlink_timer(wr_timer *timer)
{
    *timer->link = timer->next;
    if (timer->next) timer->next->link = timer->link;
    timer->next = NULL;
    timer->link = NULL;
}

/* insert: puts a timer that is in no list into the slot that its due_ms asks for. */
static void insert(wr_wheel *wheel, wr_timer *timer)
{
    struct place place = place_of(timer->due_ms, wheel->now_ms);
    push(&wheel->slots[place.level][place.slot], timer);
    wheel->occupied[place.level] |= (uint64_t)1 << place.slot;
    if (timer->due_ms < wheel->next_ms) wheel->next_ms = 0;
}

void wr_wheel_init(wr_wheel *wheel, uint64_t now_ms)
{
    memset(wheel, 0, sizeof *wheel);
    wheel->now_ms = now_ms < WR_TIMER_MAX_MS ? now_ms : WR_TIMER_MAX_MS;
    wheel->next_ms = UINT64_MAX;
}

void wr_wheel_arm(wr_wheel *wheel, wr_timer *timer, uint64_t due_ms)
{
    if (due_ms > WR_TIMER_MAX_MS) due_ms = WR_TIMER_MAX_MS;
    if (timer->link && due_ms > wheel->now_ms) {
        /* An idle deadline is moved on by a little, again and again: most often it stays in its slot. A million of
         * them, of 30 s, moved in random order: 55 ns each, against 77 ns without this. */
        struct place from = place_of(timer->due_ms, wheel->now_ms), to = place_of(due_ms, wheel->now_ms);
        if (from.level == to.level && from.slot == to.slot) {
            timer->due_ms = due_ms & WR_TIMER_MAX_MS;
            return;
        }
    }
    wr_wheel_disarm(wheel, timer);
    timer->due_ms = due_ms & WR_TIMER_MAX_MS; /* the mask tells the compiler what is known: it fits */
    insert(wheel, timer);
}

void wr_wheel_disarm_armed(wr_wheel *wheel, wr_timer *timer)
{
    unlink_timer(timer);
    /* One that has expired was in wheel->due; for it this looks at the slot of what was armed late: no harm. */
    struct place place = place_of(timer->due_ms, wheel->now_ms);
    if (wheel->slots[place.level][place.slot]) return;
    wheel->occupied[place.level] &= ~((uint64_t)1 << place.slot);
    wheel->next_ms = 0;
}

/* next_slot: the slot that comes first, and the time at which it starts; UINT64_MAX if all are empty. */
static uint64_t next_slot(const wr_wheel *wheel, struct place *place)
{
    for (unsigned level = 0; level < WR_WHEEL_LEVELS; level++) {
        uint64_t bits = wheel->occupied[level];
        if (level == LEVEL_LAST) bits &= ~(uint64_t)1;
        if (!bits) continue;
        unsigned shift = level * WR_WHEEL_BITS;
        *place = (struct place){ level, wr_bit_low(bits) };
        return ((wheel->now_ms >> shift & ~(uint64_t)SLOT_MASK) | place->slot) << shift;
    }
    if (!wheel->occupied[LEVEL_LAST]) return UINT64_MAX;
    *place = (struct place){ LEVEL_LAST, 0 };
    return (wheel->now_ms | SPAN_MASK) + 1;
}

uint64_t wr_wheel_look_next(wr_wheel *wheel)
{
    if (wheel->due) return wheel->now_ms;
    struct place place;
    if (!wheel->next_ms) wheel->next_ms = next_slot(wheel, &place);
    return wheel->next_ms;
}

/* advance: moves time to now_ms, and what has expired into wheel->due, which is empty. It goes from one occupied slot
 * to the next, so the work is bounded by the timers: each moves down at most once a level, however far time jumps. */
static void advance(wr_wheel *wheel, uint64_t now_ms)
{
    wr_timer **tail = &wheel->due;
    struct place place = { 0, 0 };
    for (uint64_t start; (start = next_slot(wheel, &place)) <= now_ms;) {
        /* What was beyond the wheel, after a jump of more than two years: once, and not for each two years of it. */
        if (start > (wheel->now_ms | SPAN_MASK)) start = now_ms & ~SPAN_MASK;
        wheel->now_ms = start;
        wr_timer *timer = wheel->slots[place.level][place.slot];
        wheel->slots[place.level][place.slot] = NULL;
        wheel->occupied[place.level] &= ~((uint64_t)1 << place.slot);
        for (wr_timer *next; timer; timer = next) {
            next = timer->next;
            if (timer->due_ms > start) {
                insert(wheel, timer);
                continue;
            }
            push(tail, timer);
            tail = &timer->next;
        }
    }
    wheel->now_ms = now_ms;
    wheel->next_ms = 0;
}

wr_timer *wr_wheel_take_due(wr_wheel *wheel, uint64_t now_ms)
{
    if (now_ms > WR_TIMER_MAX_MS) now_ms = WR_TIMER_MAX_MS;
    if (now_ms < wheel->now_ms) now_ms = wheel->now_ms;
    if (now_ms < wr_wheel_next_ms(wheel)) {
        wheel->now_ms = now_ms;
        wheel->passing = false;
        return NULL;
    }
    /* What is armed for the past while timers are being taken waits in its slot until the next pass. */
    if (!wheel->due && (!wheel->passing || now_ms > wheel->now_ms)) advance(wheel, now_ms);
    wr_timer *timer = wheel->due;
    wheel->passing = timer != NULL;
    if (timer) unlink_timer(timer);
    return timer;
}
