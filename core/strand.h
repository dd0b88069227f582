/* weir_strand, inside. */
#ifndef WR_STRAND_H
#define WR_STRAND_H

#include <stdatomic.h>
#include <weir/strand.h>

#include "core/mailbox.h"

typedef struct wr_task {
    wr_node link;
    weir_post_fn run;
    void *data;
} wr_task;

struct weir_strand {
    wr_message turn; /* on its way to a worker, or being run there, while `ready` is not 0; so there is one at most */
    weir_runtime *runtime;
    weir_strand *next, **link; /* in the runtime's list, under its lock */
    uint32_t max_queued;
    wr_task last; /* its end */
    struct {
        wr_node *oldest; /* taken from `newest`, and put in the order of the posts; of whoever has the turn */
    } owner;
    struct {
        wr_node *_Atomic newest;
        _Atomic uint32_t places; /* of max_queued, that are taken */
        _Atomic uint32_t ready;  /* tasks that are in one of the lists for certain */
    } shared;
};

/* wr_strands_free: the workers have ended: frees all of the runtime's, with what they still had to run. */
void wr_strands_free(weir_runtime *runtime);

#endif
