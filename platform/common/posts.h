/* wr_posts: operations posted by any thread, taken by one.
 *
 * A list that producers push onto with one compare-and-swap and that the owner takes whole with one exchange: no lock,
 * no ABA (nothing is ever popped singly), safe in signal handlers. */
#ifndef WR_POSTS_H
#define WR_POSTS_H

#include <stdatomic.h>

#include "platform/cq.h"

typedef struct wr_posts {
    struct {
        wr_node *_Atomic newest;
    } shared;
    struct {
        wr_node *oldest; /* taken from `shared`, and put in the order of the posts */
    } owner;
} wr_posts;

/* wr_posts_push: true when the list was empty, so that the owner must be woken. [any] */
static inline bool wr_posts_push(wr_posts *posts, wr_op *op)
{
    wr_node *newest = atomic_load_explicit(&posts->shared.newest, memory_order_relaxed);
    do {
        op->link.next = newest;
    } while (!atomic_compare_exchange_weak_explicit(&posts->shared.newest, &newest, &op->link, memory_order_release,
                                                    memory_order_relaxed));
    return newest == NULL;
}

/* wr_posts_empty: whether there is nothing to take at this moment. [owner] */
static inline bool wr_posts_empty(wr_posts *posts)
{
    return !posts->owner.oldest && !atomic_load_explicit(&posts->shared.newest, memory_order_relaxed);
}

/* wr_posts_take: the oldest operation, or NULL. [owner] */
static inline wr_op *wr_posts_take(wr_posts *posts)
{
    if (!posts->owner.oldest) {
        if (!atomic_load_explicit(&posts->shared.newest, memory_order_relaxed)) return NULL;
        posts->owner.oldest =
            wr_node_reverse(atomic_exchange_explicit(&posts->shared.newest, NULL, memory_order_acquire));
    }
    wr_node *link = posts->owner.oldest;
    if (!link) return NULL;
    posts->owner.oldest = link->next;
    return WR_CONTAINER_OF(link, wr_op, link);
}

#endif
