#include "view.h"
#include <string.h>

static const char *refuse(const struct view *view, const struct snapshot *snapshot)
{
    if (snapshot->whole) return NULL;
    if (!view->begun) return "the first snapshot is not a whole one";
    if (snapshot->tick != view->tick + 1) return "it does not build on the one before";
    for (unsigned i = 0; i < snapshot->gone_count; i++)
        if (!view->here[snapshot->gone[i]]) return "one has gone who was not there";
    return NULL;
}

const char *view_apply(struct view *view, const struct snapshot *snapshot)
{
    const char *why = refuse(view, snapshot);
    if (why != NULL) return why;
    if (snapshot->whole) memset(view->here, 0, sizeof view->here);
    view->begun = true;
    view->tick = snapshot->tick;
    for (unsigned i = 0; i < snapshot->gone_count; i++) view->here[snapshot->gone[i]] = false;
    for (unsigned i = 0; i < snapshot->record_count; i++) {
        view->here[snapshot->records[i].player] = true;
        view->records[snapshot->records[i].player] = snapshot->records[i];
    }
    return NULL;
}
