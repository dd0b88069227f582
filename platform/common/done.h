/* What every backend does with operations: take them from the caller, and keep those that have their result until the
 * next wait delivers them. */
#ifndef WR_DONE_H
#define WR_DONE_H

#include <assert.h>

#include "platform/cq.h"

/* Operations with their results, in order. */
typedef struct wr_done {
    wr_link *first;
    wr_link *last;
} wr_done;

/* wr_op_begin: from here on the operation is the backend's. */
static inline void wr_op_begin(wr_op *op, enum wr_op_kind kind, uint32_t slot)
{
    assert(!op->pending);
    op->kind = (uint8_t)kind;
    op->pending = true;
    op->slot = slot;
}

/* wr_done_add: the operation has its result. */
static inline void wr_done_add(wr_done *done, wr_op *op, int error, int system_error)
{
    assert(op->pending);
    op->error = error;
    op->system_error = system_error;
    op->link.next = NULL;
    if (done->first)
        done->last->next = &op->link;
    else
        done->first = &op->link;
    done->last = &op->link;
}

/* wr_done_take: the oldest one, which is the caller's again; NULL when there is none. */
static inline wr_op *wr_done_take(wr_done *done)
{
    wr_link *link = done->first;
    if (!link) return NULL;
    done->first = link->next;
    wr_op *op = WR_CONTAINER_OF(link, wr_op, link);
    op->pending = false;
    return op;
}

#endif
