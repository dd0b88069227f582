/* The world: its clock, its hosts and what is cut between them, and who comes next. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "platform/sim/sim.h"

/* Its address tells threads apart; nothing else is made of it. */
static _Thread_local char this_thread;

_Noreturn void wr_sim_broken(const char *rule)
{
    (void)fprintf(stderr, "weir: the simulator found a broken rule: %s\n", rule);
    (void)fflush(stderr);
    abort();
}

void wr_sim_enter(wr_sim *sim)
{
    if (sim->options.threads)
        wr_mutex_lock(&sim->lock);
    else
        WR_SIM_RULE(sim->thread == &this_thread, "a world without `threads` is used by the thread that made it");
}

void wr_sim_leave(wr_sim *sim)
{
    if (!sim->options.threads) return;
    if (sim->waiters) wr_cond_wake(&sim->changed);
    wr_mutex_unlock(&sim->lock);
}

int wr_sim_create(wr_sim **out, const wr_sim_options *options)
{
    wr_sim *sim = calloc(1, sizeof *sim);
    if (!sim) return WEIR_ENOMEM;
    sim->memory = wr_malloc_memory();
    sim->options.threads = options->threads;
    sim->options.seed = options->seed;
    wr_sim_change(sim, options);
    wr_random_seed(&sim->random, options->seed);
    wr_table_init(&sim->files, &sim->memory, sizeof(wr_sim_file));
    sim->next_port = WR_SIM_PORT_FIRST;
    sim->next_listen_port = WR_SIM_PORT_BOUND;
    sim->thread = &this_thread;
    sim->trace_hash = wr_sim_sum(0, &(uint8_t){ 0 }, 1);
    wr_mutex_init(&sim->lock);
    wr_cond_init(&sim->changed);
    *out = sim;
    return 0;
}

static void check_files_gone(const wr_sim *sim)
{
    for (uint32_t slot = 0; slot < wr_table_slots(&sim->files); slot++) {
        const wr_sim_file *file = wr_table_at(&sim->files, slot, sizeof *file);
        WR_SIM_RULE(file->kind == WR_FILE_FREE || file->kind == WR_FILE_DROPPED,
                    "each detached socket is adopted or discarded before its world is destroyed");
    }
}

void wr_sim_destroy(wr_sim *sim)
{
    if (!sim) return;
    while (sim->queues) {
        wr_sim_queue *queue = sim->queues;
        WR_SIM_RULE(!queue->own, "a world is destroyed after its queues");
        sim->queues = queue->next;
        free(queue);
    }
    check_files_gone(sim);
    wr_table_destroy(&sim->files);
    wr_sim_events_free(sim);
    free(sim->cuts);
    wr_cond_destroy(&sim->changed);
    wr_mutex_destroy(&sim->lock);
    free(sim);
}

void wr_sim_change(wr_sim *sim, const wr_sim_options *options)
{
    wr_sim_options changed = *options;
    changed.seed = sim->options.seed;
    changed.threads = sim->options.threads;
    if (!changed.window) changed.window = WR_SIM_WINDOW;
    sim->options = changed;
}

uint64_t wr_sim_now_ns(const wr_sim *sim)
{
    return sim->now_ns;
}

uint64_t wr_sim_latency_ns(wr_sim *sim)
{
    uint64_t min_ns = (uint64_t)sim->options.latency_us_min * 1000;
    uint64_t max_ns = (uint64_t)sim->options.latency_us_max * 1000;
    return min_ns + wr_random_below(&sim->random, max_ns - min_ns + 1);
}

/* ---- cuts ---- */

bool wr_sim_same_host(const wr_addr *a, const wr_addr *b)
{
    if (a->family != b->family) return false;
    return memcmp(a->ip, b->ip, a->family == WR_FAMILY_IPV4 ? 4 : sizeof a->ip) == 0;
}

static bool is_between(const wr_sim_cut_pair *cut, const wr_addr *a, const wr_addr *b)
{
    if (cut->b.family == WR_FAMILY_NONE) return wr_sim_same_host(&cut->a, a) != wr_sim_same_host(&cut->a, b);
    return (wr_sim_same_host(&cut->a, a) && wr_sim_same_host(&cut->b, b)) ||
           (wr_sim_same_host(&cut->a, b) && wr_sim_same_host(&cut->b, a));
}

bool wr_sim_is_cut(const wr_sim *sim, const wr_addr *a, const wr_addr *b)
{
    for (uint32_t i = 0; i < sim->cut_count; i++)
        if (is_between(&sim->cuts[i], a, b)) return true;
    return false;
}

static wr_sim_cut_pair cut_of(const wr_addr *a, const wr_addr *b)
{
    return (wr_sim_cut_pair){ .a = *a, .b = b ? *b : (wr_addr){ .family = WR_FAMILY_NONE } };
}

static bool is_same_cut(const wr_sim_cut_pair *cut, const wr_addr *a, const wr_addr *b)
{
    wr_sim_cut_pair other = cut_of(a, b);
    return wr_sim_same_host(&cut->a, &other.a) && wr_sim_same_host(&cut->b, &other.b);
}

int wr_sim_cut(wr_sim *sim, const wr_addr *a, const wr_addr *b)
{
    wr_sim_enter(sim);
    int error = 0;
    if (sim->cut_count == sim->cut_room) {
        uint32_t room = sim->cut_room ? sim->cut_room * 2 : 4;
        wr_sim_cut_pair *cuts = realloc(sim->cuts, room * sizeof *cuts);
        if (cuts) {
            sim->cuts = cuts;
            sim->cut_room = room;
        } else {
            error = WEIR_ENOMEM;
        }
    }
    if (error == 0) {
        sim->cuts[sim->cut_count++] = cut_of(a, b);
        wr_sim_note_cut(sim, WR_NOTE_CUT, a, b);
    }
    wr_sim_leave(sim);
    return error;
}

void wr_sim_heal(wr_sim *sim, const wr_addr *a, const wr_addr *b)
{
    wr_sim_enter(sim);
    uint32_t kept = 0;
    for (uint32_t i = 0; a && i < sim->cut_count; i++)
        if (!is_same_cut(&sim->cuts[i], a, b)) sim->cuts[kept++] = sim->cuts[i];
    sim->cut_count = kept;
    wr_sim_note_cut(sim, WR_NOTE_HEAL, a, b);
    for (uint32_t slot = 0; slot < wr_table_slots(&sim->files); slot++) {
        wr_sim_file *file = wr_table_at(&sim->files, slot, sizeof *file);
        bool has_stream = file->kind == WR_FILE_STREAM || file->kind == WR_FILE_CONNECTING; /* its peer may have sent */
        if (has_stream && !wr_sim_is_cut(sim, &file->local, &file->remote)) wr_sim_resume(sim, file);
    }
    wr_sim_leave(sim);
}

/* ---- what comes next ---- */

void wr_sim_attach(wr_cq *cq, wr_sim_step_fn step, void *owner)
{
    wr_sim_queue *queue = wr_sim_queue_of(cq);
    WR_SIM_RULE(!queue->sim->options.threads, "a world with `threads` drives no queues");
    WR_SIM_RULE(!queue->step, "a queue is attached once");
    queue->step = step;
    queue->owner = owner;
    queue->alarm_ns = WR_SIM_FOREVER;
}

static bool has_results(wr_sim_queue *queue)
{
    const wr_sim_own *own = queue->own;
    return own->orphans.first || !wr_ready_empty(&own->now) || !wr_ready_empty(&own->later) ||
           !wr_posts_empty(&queue->posts);
}

static bool wants_step(const wr_sim *sim, wr_sim_queue *queue)
{
    return queue->step && queue->own && (queue->alarm_ns <= sim->now_ns || has_results(queue));
}

static bool event_is_due(const wr_sim *sim)
{
    return sim->events.count > 0 && sim->events.heap[0].due_ns <= sim->now_ns;
}

void wr_sim_run_events(wr_sim *sim)
{
    while (event_is_due(sim)) wr_sim_run_event(sim);
}

/* The time of the first event or alarm; WR_SIM_FOREVER when there is none. */
static uint64_t next_time(const wr_sim *sim)
{
    uint64_t next = sim->events.count > 0 ? sim->events.heap[0].due_ns : WR_SIM_FOREVER;
    for (const wr_sim_queue *queue = sim->queues; queue; queue = queue->next)
        if (queue->step && queue->own && queue->alarm_ns < next) next = queue->alarm_ns;
    return next;
}

static void step_queue(wr_sim *sim, wr_sim_queue *queue)
{
    wr_sim_note(sim, WR_NOTE_STEP, NULL, queue->number);
    queue->alarm_ns = WR_SIM_FOREVER;
    uint64_t deadline_ns = queue->step(queue->owner);
    if (deadline_ns == WR_DEADLINE_NEVER) return;
    queue->alarm_ns = deadline_ns > WR_SIM_EPOCH_NS ? deadline_ns - WR_SIM_EPOCH_NS : 0;
}

/* The network, if it has something, and each queue that does are as likely to be next. */
static bool step_one(wr_sim *sim)
{
    uint32_t count = event_is_due(sim);
    bool network = count > 0;
    for (wr_sim_queue *queue = sim->queues; queue; queue = queue->next) count += wants_step(sim, queue);
    if (count == 0) return false;
    uint64_t choice = wr_random_below(&sim->random, count);
    if (network && choice-- == 0) {
        wr_sim_run_event(sim);
        return true;
    }
    for (wr_sim_queue *queue = sim->queues; queue; queue = queue->next) {
        if (!wants_step(sim, queue) || choice-- > 0) continue;
        step_queue(sim, queue);
        break;
    }
    return true;
}

static void set_now(wr_sim *sim, uint64_t now_ns)
{
    if (now_ns > sim->now_ns) sim->now_ns = now_ns;
}

enum wr_sim_progress wr_sim_step(wr_sim *sim, uint64_t until_ns)
{
    WR_SIM_RULE(!sim->stepping, "a world is not stepped from inside one of its own steps");
    if (sim->now_ns > until_ns) return WR_SIM_REACHED;
    sim->stepping = true;
    enum wr_sim_progress progress = WR_SIM_STEPPED;
    while (!step_one(sim)) {
        uint64_t next = next_time(sim);
        if (next == WR_SIM_FOREVER || next > until_ns) {
            progress = next == WR_SIM_FOREVER ? WR_SIM_IDLE : WR_SIM_REACHED;
            if (progress == WR_SIM_REACHED) set_now(sim, until_ns);
            break;
        }
        set_now(sim, next);
    }
    sim->stepping = false;
    return progress;
}

void wr_sim_set_live(wr_sim *sim, bool live)
{
    sim->live = live;
}

void wr_sim_skip(wr_sim *sim, uint64_t to_ns)
{
    set_now(sim, to_ns);
}
