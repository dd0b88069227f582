/* What every backend does with operations: take them from the caller, and keep those that have their result until the
 * next wait delivers them. */
#ifndef WR_DONE_H
#define WR_DONE_H

#include <assert.h>

#include "platform/common/table.h"
#include "platform/cq.h"

/* Operations with their results, in order. */
typedef struct wr_done {
    wr_node *first;
    wr_node *last;
} wr_done;

/* wr_op_begin: from here on the operation is the backend's. */
static inline void wr_op_begin(wr_op *op, enum wr_op_kind kind, uint32_t slot)
{
    assert(!op->pending);
    op->kind = (uint8_t)kind;
    op->pending = true;
    op->error = 0;
    op->slot = slot;
}

/* wr_op_has_slot: whether it is in flight, and `slot` leads to its socket. */
static inline bool wr_op_has_slot(const wr_op *op)
{
    return op->pending && op->error == 0 && op->slot != WR_NO_SLOT;
}

/* wr_done_add: the operation has its result. */
static inline void wr_done_add(wr_done *done, wr_op *op, int error, int system_error)
{
    assert(op->pending);
    op->error = (int8_t)error;
    if (error) op->system_error = system_error;
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
    wr_node *link = done->first;
    if (!link) return NULL;
    done->first = link->next;
    wr_op *op = WR_CONTAINER_OF(link, wr_op, link);
    op->pending = op->settled = false;
    return op;
}

/* wr_done_completion: what tells the caller of it. A CONNECT's socket is the backend's to add. */
static inline wr_completion wr_done_completion(wr_op *op)
{
    return (wr_completion){ .op = op, .error = op->error, .system_error = op->error ? op->system_error : 0 };
}

#endif
