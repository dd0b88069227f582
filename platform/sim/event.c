/* What is yet to come. */
#include <stdlib.h>

#include "platform/sim/sim.h"

bool wr_sim_events_reserve(wr_sim *sim)
{
    wr_sim_events *events = &sim->events;
    uint64_t needed = (uint64_t)wr_table_slots(&sim->files) * WR_EVENT_KINDS + sim->flying;
    if (needed <= events->room) return true;
    if (needed < UINT64_C(2) * events->room) needed = UINT64_C(2) * events->room;
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

uint32_t wr_sim_draw_order(wr_sim *sim)
{
    return (uint32_t)(wr_random_next(&sim->random) >> 32);
}

static void add(wr_sim_events *events, wr_sim_event event)
{
    assert(events->count < events->room);
    event.serial = events->serial++;
    uint32_t at = events->count++;
    while (at > 0 && comes_before(&event, &events->heap[(at - 1) / 2])) {
        events->heap[at] = events->heap[(at - 1) / 2];
        at = (at - 1) / 2;
    }
    events->heap[at] = event;
}

void wr_sim_schedule(wr_sim *sim, wr_sim_file *file, enum wr_sim_event_kind kind, uint64_t due_ns)
{
    if (wr_sim_is_scheduled(file, kind)) return;
    file->scheduled |= (uint8_t)(1U << kind);
    add(&sim->events, (wr_sim_event){ .due_ns = due_ns, .file = file, .order = wr_sim_draw_order(sim), .kind = kind });
}

void wr_sim_schedule_datagram(wr_sim *sim, wr_sim_datagram *datagram, uint64_t due_ns, uint32_t order)
{
    add(&sim->events,
        (wr_sim_event){ .due_ns = due_ns, .datagram = datagram, .order = order, .kind = WR_EVENT_DATAGRAM });
}

void wr_sim_events_free(wr_sim *sim)
{
    for (uint32_t i = 0; i < sim->events.count; i++)
        if (sim->events.heap[i].kind == WR_EVENT_DATAGRAM) free(sim->events.heap[i].datagram);
    free(sim->events.heap);
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
        if (file->kind == WR_FILE_DATAGRAM)
            wr_sim_push_datagrams(sim, file);
        else
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
    if (event.kind == WR_EVENT_DATAGRAM) {
        wr_sim_deliver(sim, event.datagram);
        return;
    }
    wr_sim_file *file = event.file;
    file->scheduled &= (uint8_t) ~(1U << event.kind);
    if (file->kind != WR_FILE_DROPPED) {
        do_event(sim, &event);
    } else if (file->scheduled == 0) {
        file->kind = WR_FILE_FREE;
        wr_table_recycle(&sim->files, &file->record);
    }
}
