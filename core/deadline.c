#include "core/deadline.h"

#include <stddef.h>

/* meld: two heaps, given by their roots, become one; each may be NULL. Of two that are due at once `a` comes first. */
static wr_deadline *meld(wr_deadline *a, wr_deadline *b)
{
    if (!a || !b) return a ? a : b;
    wr_deadline *root = b->due_ns < a->due_ns ? b : a;
    wr_deadline *child = root == a ? b : a;
    child->next = root->child;
    if (child->next) child->next->link = &child->next;
    child->link = &root->child;
    root->child = child;
    return root;
}

/* meld_siblings: all of a list become one heap: first in pairs, then the pairs from the last to the first, which is
 * what makes the heap as good as a balanced tree in the long run. */
static wr_deadline *meld_siblings(wr_deadline *list)
{
    wr_deadline *pairs = NULL, *root = NULL;
    while (list) {
        wr_deadline *a = list, *b = list->next;
        list = b ? b->next : NULL;
        a->next = NULL;
        if (b) b->next = NULL;
        wr_deadline *pair = meld(a, b);
        pair->next = pairs;
        pairs = pair;
    }
    while (pairs) {
        wr_deadline *pair = pairs;
        pairs = pair->next;
        pair->next = NULL;
        root = meld(pair, root);
    }
    return root;
}

static void set_root(wr_deadlines *heap, wr_deadline *root)
{
    heap->first = root;
    if (root) root->link = &heap->first;
}

void wr_deadlines_add(wr_deadlines *heap, wr_deadline *deadline, uint64_t due_ns)
{
    *deadline = (wr_deadline){ .due_ns = due_ns };
    set_root(heap, meld(heap->first, deadline));
}

void wr_deadlines_remove(wr_deadlines *heap, wr_deadline *deadline)
{
    if (!deadline->link) return;
    *deadline->link = deadline->next;
    if (deadline->next) deadline->next->link = deadline->link;
    set_root(heap, meld(heap->first, meld_siblings(deadline->child)));
    deadline->link = NULL;
    deadline->child = deadline->next = NULL;
}
