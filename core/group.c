#include "core/group.h"

#include <assert.h>
#include <string.h>

#include "core/buffer.h"
#include "core/conn.h"
#include "core/runtime.h"
#include "platform/bug.h"

/* What a message counts for beyond its bytes, against group_backlog: about what it holds itself. */
enum { MESSAGE_CHARGE = 128 };

/* One send on its way to several workers: one block, so that it is made as a whole or not at all. */
typedef struct wr_cast wr_cast;

typedef struct wr_cast_part {
    wr_message message;
    wr_cast *cast;
} wr_cast_part;

struct wr_cast {
    weir_group *group;
    weir_buf *buf;
    weir_conn_id except;
    uint32_t count;
    _Atomic uint32_t left; /* parts that have not arrived; the last one frees it */
    wr_cast_part parts[];
};

/* An addition or a removal by id. */
typedef struct wr_move {
    wr_message message;
    weir_group *group;
    weir_conn_id id;
    bool is_removal;
} wr_move;

/* ---- what waits in a worker's mailbox ---- */

static uint64_t charge_of(const weir_buf *buf)
{
    return MESSAGE_CHARGE + (buf ? buf->size : 0);
}

/* Counts a message against the worker's backlog, unless that is reached. The first one may always go. */
static bool reserve(wr_worker *worker, uint64_t charge)
{
    uint64_t limit = worker->runtime->options.group_backlog;
    uint64_t queued = atomic_load_explicit(&worker->shared.group_queued, memory_order_relaxed);
    do {
        if (queued > 0 && (charge > limit || queued > limit - charge)) return false;
    } while (!atomic_compare_exchange_weak_explicit(&worker->shared.group_queued, &queued, queued + charge,
                                                    memory_order_relaxed, memory_order_relaxed));
    return true;
}

static void give_back(wr_worker *worker, uint64_t charge)
{
    atomic_fetch_sub_explicit(&worker->shared.group_queued, charge, memory_order_relaxed);
}

/* ---- life ---- */

/* Before the members change: what is deferred is for those that are there now. */
static void enqueue_deferred(wr_worker *worker, const wr_group_part *part)
{
    if (part->deferred.buf) wr_fanout_enqueue(worker);
}

/* One part is gone: the last one takes the group along. */
static void dissolved(weir_group *group)
{
    weir_runtime *runtime = group->runtime;
    if (atomic_fetch_sub_explicit(&group->undissolved, 1, memory_order_acq_rel) != 1) return;
    wr_mutex_lock(&runtime->lock);
    *group->link = group->next;
    if (group->next) group->next->link = group->link;
    wr_mutex_unlock(&runtime->lock);
    wr_heap_free(&runtime->heap, group, sizeof *group + runtime->worker_count * sizeof *group->parts);
}

static void dissolve(wr_worker *worker, wr_message *message)
{
    wr_group_part *part = WR_CONTAINER_OF(message, wr_group_part, dissolve);
    enqueue_deferred(worker, part);
    while (part->roster.first) wr_members_remove(&worker->owner.members, part->roster.first);
    dissolved(part->group);
}

int weir_group_create(weir_runtime *runtime, weir_group **out)
{
    if (!out) return WEIR_EINVAL;
    *out = NULL;
    if (!runtime) return WEIR_EINVAL;
    size_t size = sizeof(weir_group) + runtime->worker_count * sizeof(wr_group_part);
    weir_group *group = wr_heap_alloc(&runtime->heap, size);
    if (!group) return WEIR_ENOMEM;
    memset(group, 0, size);
    group->runtime = runtime;
    atomic_init(&group->undissolved, runtime->worker_count);
    for (unsigned i = 0; i < runtime->worker_count; i++) {
        group->parts[i].group = group;
        group->parts[i].dissolve = (wr_message){ .run = dissolve, .drop = dissolve };
    }
    wr_mutex_lock(&runtime->lock);
    group->next = runtime->groups;
    group->link = &runtime->groups;
    if (group->next) group->next->link = &group->next;
    runtime->groups = group;
    wr_mutex_unlock(&runtime->lock);
    *out = group;
    return 0;
}

/* Behind all that was sent to it: once a worker has come to this, nothing there knows the group any more. */
void weir_group_destroy(weir_group *group)
{
    if (!group) return;
    weir_runtime *runtime = group->runtime;
    wr_group_part *parts = group->parts; /* the group may be gone as soon as the last message is posted */
    for (unsigned i = 0; i < runtime->worker_count; i++) wr_message_post(&runtime->workers[i], &parts[i].dissolve);
}

void wr_groups_free(weir_runtime *runtime)
{
    while (runtime->groups) {
        weir_group *group = runtime->groups;
        runtime->groups = group->next;
        wr_heap_free(&runtime->heap, group, sizeof *group + runtime->worker_count * sizeof *group->parts);
    }
}

/* ---- members ---- */

static wr_group_part *part_of(const weir_group *group, const weir_conn *conn)
{
    return (wr_group_part *)&group->parts[conn->worker->index];
}

int weir_group_add(weir_group *group, weir_conn *conn)
{
    assert(wr_worker_here() == conn->worker);
    if (!group || group->runtime != conn->worker->runtime) return WEIR_EINVAL;
    enqueue_deferred(conn->worker, part_of(group, conn));
    if (!wr_conn_is_sendable(conn)) return WEIR_ECLOSED;
    return wr_members_add(&conn->worker->owner.members, &part_of(group, conn)->roster, conn);
}

static wr_member *find_member(const weir_group *group, const weir_conn *conn)
{
    assert(wr_worker_here() == conn->worker);
    if (!group || group->runtime != conn->worker->runtime) return NULL;
    return wr_members_find(&conn->worker->owner.members, &part_of(group, conn)->roster, conn);
}

void weir_group_remove(weir_group *group, weir_conn *conn)
{
    if (!find_member(group, conn)) return;
    enqueue_deferred(conn->worker, part_of(group, conn));
    wr_member *member = find_member(group, conn); /* its limits may just have let it go */
    if (member) wr_members_remove(&conn->worker->owner.members, member);
}

bool weir_group_has(const weir_group *group, const weir_conn *conn)
{
    return find_member(group, conn) != NULL;
}

/* Members first, then what is on its way: see is_inhabited. */
static void drop_move(wr_worker *worker, wr_message *message)
{
    wr_move *move = WR_CONTAINER_OF(message, wr_move, message);
    atomic_fetch_sub_explicit(&move->group->parts[worker->index].moves, 1, memory_order_release);
    give_back(worker, charge_of(NULL));
    wr_heap_free(&worker->runtime->heap, move, sizeof *move);
}

static void run_move(wr_worker *worker, wr_message *message)
{
    const wr_move *move = WR_CONTAINER_OF(message, wr_move, message);
    weir_conn *conn = wr_worker_find_conn(worker, move->id);
    if (conn && move->is_removal)
        weir_group_remove(move->group, conn);
    else if (conn && weir_group_add(move->group, conn) == WEIR_ENOMEM)
        wr_conn_fail(conn, WEIR_ENOMEM, 0);
    drop_move(worker, message);
}

static int move_by_id(weir_group *group, weir_conn_id id, bool is_removal)
{
    if (!group || wr_id_worker(id) >= group->runtime->worker_count || wr_id_generation(id) == 0) return WEIR_EINVAL;
    wr_worker *worker = &group->runtime->workers[wr_id_worker(id)];
    const wr_slot *slot = wr_slots_at(&worker->slots, wr_id_slot(id));
    if (!slot) return WEIR_EINVAL;
    if (!wr_slot_is_alive(slot, id)) return 0;
    if (!reserve(worker, charge_of(NULL))) return WEIR_ESLOW;
    wr_move *move = wr_heap_alloc(&group->runtime->heap, sizeof *move);
    if (!move) {
        give_back(worker, charge_of(NULL));
        return WEIR_ENOMEM;
    }
    *move = (wr_move){
        .message = { .run = run_move, .drop = drop_move }, .group = group, .id = id, .is_removal = is_removal
    };
    atomic_fetch_add_explicit(&group->parts[worker->index].moves, 1, memory_order_relaxed);
    wr_message_post(worker, &move->message);
    return 0;
}

int weir_group_add_id(weir_group *group, weir_conn_id id)
{
    return move_by_id(group, id, false);
}

int weir_group_remove_id(weir_group *group, weir_conn_id id)
{
    return move_by_id(group, id, true);
}

size_t weir_group_size(const weir_group *group)
{
    size_t size = 0;
    for (unsigned i = 0; group && i < group->runtime->worker_count; i++)
        size += wr_roster_size(&group->parts[i].roster);
    return size;
}

/* ---- sending ---- */

static size_t cast_size(uint32_t count)
{
    return sizeof(wr_cast) + count * sizeof(wr_cast_part);
}

static void drop_cast(wr_worker *worker, wr_message *message)
{
    wr_cast *cast = WR_CONTAINER_OF(message, wr_cast_part, message)->cast;
    atomic_fetch_sub_explicit(&cast->group->parts[worker->index].sends, 1, memory_order_relaxed);
    give_back(worker, charge_of(cast->buf));
    if (atomic_fetch_sub_explicit(&cast->left, 1, memory_order_acq_rel) != 1) return;
    weir_buf_release(cast->buf);
    wr_heap_free(&worker->runtime->heap, cast, cast_size(cast->count));
}

static void run_cast(wr_worker *worker, wr_message *message)
{
    const wr_cast *cast = WR_CONTAINER_OF(message, wr_cast_part, message)->cast;
    wr_fanout_defer(worker, &cast->group->parts[worker->index], cast->buf, cast->except);
    drop_cast(worker, message);
}

/* Whether anybody is there, or will be when a message that is sent now arrives. Moves are read first: one that has just
 * been made is among the members by then. */
static bool is_inhabited(const wr_group_part *part)
{
    return (atomic_load_explicit(&part->moves, memory_order_acquire) > 0 && !WR_BUG(group_misses_added)) ||
           wr_roster_size(&part->roster) > 0;
}

/* Whether nothing of the group's is on its way here that this would overtake. */
static bool may_deliver_now(const wr_group_part *part)
{
    return (atomic_load_explicit(&part->moves, memory_order_relaxed) == 0 &&
            atomic_load_explicit(&part->sends, memory_order_relaxed) == 0) ||
           WR_BUG(group_overtakes);
}

/* The workers that a message must go to. */
typedef struct wr_targets {
    uint32_t count;
    uint8_t workers[WR_WORKERS_MAX];
} wr_targets;

_Static_assert(WR_WORKERS_MAX <= UINT8_MAX + 1, "a worker's number fits");

/* WEIR_ESLOW: one that has no room is left out. */
static int choose_targets(weir_group *group, const weir_buf *buf, const wr_worker *direct, wr_targets *out)
{
    int error = 0;
    for (unsigned i = 0; i < group->runtime->worker_count; i++) {
        const wr_group_part *part = &group->parts[i];
        wr_worker *worker = &group->runtime->workers[i];
        if (worker == direct || !is_inhabited(part)) continue;
        if (reserve(worker, charge_of(buf))) {
            out->workers[out->count++] = (uint8_t)i;
            continue;
        }
        uint32_t members = wr_roster_size(&part->roster);
        atomic_fetch_add_explicit(&worker->shared.refused_sends, members, memory_order_relaxed);
        error = WEIR_ESLOW;
    }
    return error;
}

static int post_cast(weir_group *group, weir_buf *buf, weir_conn_id except, const wr_targets *targets)
{
    weir_runtime *runtime = group->runtime;
    wr_cast *cast = wr_heap_alloc(&runtime->heap, cast_size(targets->count));
    if (!cast) {
        for (uint32_t i = 0; i < targets->count; i++) give_back(&runtime->workers[targets->workers[i]], charge_of(buf));
        return WEIR_ENOMEM;
    }
    *cast = (wr_cast){ .group = group, .buf = weir_buf_retain(buf), .except = except, .count = targets->count };
    atomic_init(&cast->left, targets->count);
    for (uint32_t i = 0; i < targets->count; i++) {
        atomic_fetch_add_explicit(&group->parts[targets->workers[i]].sends, 1, memory_order_relaxed);
        cast->parts[i] = (wr_cast_part){ .message = { .run = run_cast, .drop = drop_cast }, .cast = cast };
    }
    wr_cast_part *parts = cast->parts; /* it may be gone as soon as the last message is posted */
    for (uint32_t i = 0; i < targets->count; i++)
        wr_message_post(&runtime->workers[targets->workers[i]], &parts[i].message);
    return 0;
}

int weir_group_send_except(weir_group *group, weir_buf *buf, weir_conn_id except)
{
    if (!group || !buf) return WEIR_EINVAL;
    if (buf->size == 0) return 0;
    wr_worker *here = wr_worker_here();
    if (here && here->runtime != group->runtime) here = NULL;
    wr_worker *direct = here && may_deliver_now(&group->parts[here->index]) ? here : NULL;
    wr_targets targets;
    targets.count = 0;
    int error = choose_targets(group, buf, direct, &targets);
    if (targets.count > 0 && post_cast(group, buf, except, &targets) != 0) return WEIR_ENOMEM;
    bool is_direct = direct && group->parts[direct->index].roster.first;
    if (is_direct) wr_fanout_defer(direct, &group->parts[direct->index], buf, except);
    if (!is_direct && targets.count == 0 && error == 0) {
        wr_worker *counting = here ? here : &group->runtime->workers[0];
        atomic_fetch_add_explicit(&counting->shared.empty_group_sends, 1, memory_order_relaxed);
    }
    return error;
}

int weir_group_send(weir_group *group, weir_buf *buf)
{
    return weir_group_send_except(group, buf, 0);
}
