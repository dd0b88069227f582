/* wr_dirty: the connections of a worker that something has happened to, in the order in which it did: to be reconciled
 * at the end of the pass.
 *
 * A list of pointers, since most connections are in it hardly ever: a link in each would cost more. A touch finds its
 * place there, or only notes that there was none, so that it cannot fail and calls nothing. Then the end of the pass
 * looks for all that are dirty, and makes the list longer. */
#ifndef WR_DIRTY_H
#define WR_DIRTY_H

#include <weir/conn.h>

#include "platform/memory.h"

typedef struct wr_worker wr_worker;

typedef struct wr_dirty {
    weir_conn **list, **end; /* from the first to behind the last */
    weir_conn **limit;       /* behind its room */
    bool unlisted;           /* some are dirty that do not stand in the list */
} wr_dirty;

/* wr_dirty_free: gives the list back. */
void wr_dirty_free(wr_dirty *dirty, wr_memory *memory);

/* wr_dirty_add: the connection is marked as dirty, and was not before. */
static inline void wr_dirty_add(wr_dirty *dirty, weir_conn *conn)
{
    if (dirty->end == dirty->limit)
        dirty->unlisted = true;
    else
        *dirty->end++ = conn;
}

/* wr_dirty_count: of those in the list. */
static inline size_t wr_dirty_count(const wr_dirty *dirty)
{
    return (size_t)(dirty->end - dirty->list);
}

static inline bool wr_dirty_is_empty(const wr_dirty *dirty)
{
    return dirty->end == dirty->list && !dirty->unlisted;
}

/* wr_dirty_relist: makes a longer list, of all that are dirty. False: there is no memory. */
bool wr_dirty_relist(wr_worker *worker);

/* wr_dirty_walk: reconciles all that are dirty without a list. */
void wr_dirty_walk(wr_worker *worker);

/* wr_dirty_keep_rest: for wr_dirty_drop, when there are more than those. */
void wr_dirty_keep_rest(wr_dirty *dirty, size_t count);

/* wr_dirty_drop: takes the first ones out of the list. */
static inline void wr_dirty_drop(wr_dirty *dirty, size_t count)
{
    if (wr_dirty_count(dirty) == count)
        dirty->end = dirty->list;
    else
        wr_dirty_keep_rest(dirty, count);
}

#endif
