/* What a client knows of its room: the snapshots put together. */
#ifndef ARENA_VIEW_H
#define ARENA_VIEW_H

#include "packet.h"

struct view {
    uint32_t tick;
    bool begun; /* a whole snapshot has come */
    bool here[PLAYERS_MAX];
    struct record records[PLAYERS_MAX]; /* of those who are here */
};

/* view_apply: takes the next snapshot in; a whole one always fits. NULL, or what is wrong; then the view is as it was.
 */
const char *view_apply(struct view *view, const struct snapshot *snapshot);

#endif
