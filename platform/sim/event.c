/* What is yet to come. */
#include <stdlib.h>

#include "platform/sim/sim.h"

bool wr_sim_events_reserve(wr_sim *sim, uint32_t files)
{
    wr_sim_events *events = &sim->events;
    uint64_t needed = (uint64_t)files * WR_EVENT_KINDS;
    if (needed <= events->room) return true;
    if (needed > UINT32_MAX) return false;
    wr_sim_event *heap = realloc(events->heap, needed * sizeof *heap);
    if (!heap) return false;
    events->heap = heap;
    events->room = (uint32_t)needed;
    return true;
}

static bool comes_before(const wr_sim_event *a, const wr_sim_event *b)
{
    if (a->due_ns != b->due_ns) return a->due_ns < b->due_ns;
    if (a->order != b->order) return a->order < b->order;
    return a->serial < b->serial;
}

void wr_sim_schedule(wr_sim *sim, wr_sim_file *file, enum wr_sim_event_kind kind, uint64_t due_ns)
{
    wr_sim_events *events = &sim->events;
    if (wr_sim_is_scheduled(file, kind)) return;
    assert(events->count < events->room);
    file->scheduled |= (uint8_t)(1U << kind);
    wr_sim_event event = { .due_ns = due_ns,
                           .serial = events->serial++,
                           .file = file,
                           .order = (uint32_t)(wr_random_next(&sim->random) >> 32),
                           .kind = kind };
    uint32_t at = events->count++;
    while (at > 0 && comes_before(&event, &events->heap[(at - 1) / 2])) {
        events->heap[at] = events->heap[(at - 1) / 2];
        at = (at - 1) / 2;
    }
    events->heap[at] = event;
}

static wr_sim_event take_first(wr_sim_events *events)
{
    wr_sim_event first = events->heap[0];
    wr_sim_event moved = events->heap[--events->count];
    uint32_t at = 0;
    for (;;) {
        uint32_t child = 2 * at + 1;
        if (child >= events->count) break;
        if (child + 1 < events->count && comes_before(&events->heap[child + 1], &events->heap[child])) child++;
        if (!comes_before(&events->heap[child], &moved)) break;
        events->heap[at] = events->heap[child];
        at = child;
    }
    events->heap[at] = moved;
    return first;
}

static void do_event(wr_sim *sim, const wr_sim_event *event)
{
    wr_sim_file *file = event->file;
    switch ((enum wr_sim_event_kind)event->kind) {
    case WR_EVENT_ARRIVAL:
        wr_sim_arrive(sim, file);
        break;
    case WR_EVENT_WINDOW:
        wr_sim_push(sim, file);
        break;
    case WR_EVENT_RESET:
        wr_sim_take_reset(sim, file);
        break;
    case WR_EVENT_SYN:
        wr_sim_syn(sim, file);
        break;
    default: /* WR_EVENT_ANSWER */
        wr_sim_answer(sim, file);
        break;
    }
}

void wr_sim_run_event(wr_sim *sim)
{
    wr_sim_event event = take_first(&sim->events);
    wr_sim_file *file = event.file;
    file->scheduled &= (uint8_t) ~(1U << event.kind);
    if (file->kind != WR_FILE_DROPPED) {
        do_event(sim, &event);
    } else if (file->scheduled == 0) {
        file->kind = WR_FILE_FREE;
        wr_table_recycle(&sim->files, &file->record);
    }
}
