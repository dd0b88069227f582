/* weir_group, inside: a roster a worker, and messages between them. */
#ifndef WR_GROUP_H
#define WR_GROUP_H

#include <weir/group.h>

#include "core/fanout.h"
#include "core/mailbox.h"
#include "core/members.h"

/* A group on one worker. */
struct wr_group_part {
    wr_roster roster;       /* the worker's */
    wr_deferred deferred;   /* likewise */
    _Atomic uint32_t sends; /* messages on their way to it: sends; */
    _Atomic uint32_t moves; /* additions and removals by id */
    wr_message dissolve;    /* made beforehand, so that the end cannot fail */
    weir_group *group;
};

struct weir_group {
    weir_runtime *runtime;
    weir_group *next, **link;     /* in the runtime's list, under its lock */
    _Atomic unsigned undissolved; /* parts that are still there once it is to end; the last one frees it */
    wr_group_part parts[];        /* as many as workers */
};

/* wr_groups_free: those that are left when their runtime goes, and with it every connection. */
void wr_groups_free(weir_runtime *runtime);

#endif
