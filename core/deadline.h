/* wr_deadlines: what is due when, to the nanosecond: a pairing heap of what embeds a wr_deadline.
 *
 * For the few things that a millisecond of the wheel (timer.h) is too coarse for. Adding costs a comparison, taking the
 * first out is logarithmic. (M. Fredman et al., "The pairing heap: a new form of self-adjusting heap", 1986.) */
#ifndef WR_DEADLINE_H
#define WR_DEADLINE_H

#include <stdbool.h>
#include <stdint.h>

/* Embedded in what it belongs to; zero it before its first use. */
typedef struct wr_deadline wr_deadline;
struct wr_deadline {
    uint64_t due_ns;
    wr_deadline *child; /* the first of those that are due later than this one */
    wr_deadline *next;  /* its sibling */
    wr_deadline **link; /* what points here; NULL when it is in no heap */
};

typedef struct wr_deadlines {
    wr_deadline *first; /* the nearest; NULL when there is none */
} wr_deadlines;

static inline uint64_t wr_deadlines_next_ns(const wr_deadlines *heap)
{
    return heap->first ? heap->first->due_ns : UINT64_MAX;
}

/* wr_deadlines_add: one that is in no heap. */
void wr_deadlines_add(wr_deadlines *heap, wr_deadline *deadline, uint64_t due_ns);

/* wr_deadlines_remove: harmless when it is in no heap. */
void wr_deadlines_remove(wr_deadlines *heap, wr_deadline *deadline);

#endif
