#include "core/alarm.h"

#include <assert.h>

#include "core/conn.h"
#include "core/runtime.h"

/* One of a worker's, which any thread may start and free. */
typedef struct wr_worker_alarm {
    weir_timer timer;
    wr_message start, end;
    uint64_t delay_ms;
} wr_worker_alarm;

#define WR_ALARM_MAX_MS (WR_TIMER_MAX_MS / 4) /* sums of it and of a time fit */

static uint64_t at_most(uint64_t ms)
{
    return ms < WR_ALARM_MAX_MS ? ms : WR_ALARM_MAX_MS;
}

/* The pass may have begun up to a millisecond of the wheel earlier than it says: hence the one more. */
static void arm(weir_timer *timer, uint64_t delay_ms)
{
    wr_wheel_arm(&timer->worker->owner.wheel, &timer->timer, timer->worker->owner.now_ms + at_most(delay_ms) + 1);
}

static void arm_again(weir_timer *timer)
{
    uint64_t now_ms = timer->worker->owner.now_ms, due_ms = timer->timer.due_ms + timer->repeat_ms;
    if (due_ms <= now_ms) due_ms += ((now_ms - due_ms) / timer->repeat_ms + 1) * timer->repeat_ms;
    wr_wheel_arm(&timer->worker->owner.wheel, &timer->timer, due_ms);
}

static void enlist(weir_timer **list, weir_timer *timer)
{
    timer->next = *list;
    timer->link = list;
    if (timer->next) timer->next->link = &timer->next;
    *list = timer;
}

static void free_alarm(weir_timer *timer)
{
    wr_wheel_disarm(&timer->worker->owner.wheel, &timer->timer);
    *timer->link = timer->next;
    if (timer->next) timer->next->link = timer->link;
    if (timer->conn)
        wr_free(wr_worker_memory(timer->worker), timer, sizeof *timer);
    else
        wr_heap_free(&timer->worker->runtime->heap, timer, sizeof(wr_worker_alarm));
}

void wr_alarms_drop(weir_timer *const *list)
{
    while (*list) free_alarm(*list);
}

void wr_alarm_expire(wr_timer *wheel_timer)
{
    weir_timer *timer = WR_CONTAINER_OF(wheel_timer, weir_timer, timer);
    if (timer->conn && timer->conn->state != WR_CONN_OPEN) return;
    if (timer->repeat_ms) arm_again(timer);
    timer->running = true;
    if (timer->conn)
        timer->run.of_conn(timer->conn, timer, timer->data);
    else
        timer->run.of_worker(timer, timer->data);
    timer->running = false;
    if (timer->ended || (!timer->owned && !wr_timer_armed(&timer->timer))) free_alarm(timer);
}

/* It has come to its worker; also to one that has ended, where it is freed with the others. */
static void arrive(wr_worker *worker, wr_message *message)
{
    wr_worker_alarm *alarm = WR_CONTAINER_OF(message, wr_worker_alarm, start);
    enlist(&worker->owner.alarms, &alarm->timer);
    if (alarm->timer.ended)
        free_alarm(&alarm->timer);
    else if (!alarm->timer.settled)
        arm(&alarm->timer, alarm->delay_ms);
}

static void end(wr_worker *worker, wr_message *message)
{
    (void)worker;
    free_alarm(&WR_CONTAINER_OF(message, wr_worker_alarm, end)->timer);
}

int weir_timer_start(weir_runtime *runtime, const weir_timer_options *options, weir_timer **out)
{
    if (out) *out = NULL;
    if (!options || options->worker >= runtime->worker_count || !options->on_timer) return WEIR_EINVAL;
    if (wr_runtime_has_ended(runtime)) return WEIR_ESTOPPED;
    wr_worker_alarm *alarm = wr_heap_alloc(&runtime->heap, sizeof *alarm);
    if (!alarm) return WEIR_ENOMEM;
    wr_worker *worker = &runtime->workers[options->worker];
    *alarm = (wr_worker_alarm){ .timer = { .timer = { .tag = WR_TIMER_ALARM },
                                           .worker = worker,
                                           .repeat_ms = at_most(options->repeat_ms),
                                           .run.of_worker = options->on_timer,
                                           .data = options->data,
                                           .owned = out != NULL },
                                .start = { .run = arrive, .drop = arrive },
                                .end = { .run = end, .drop = end },
                                .delay_ms = options->delay_ms };
    if (out) *out = &alarm->timer;
    if (wr_worker_here() == worker)
        arrive(worker, &alarm->start);
    else
        wr_message_post(worker, &alarm->start);
    return 0;
}

int weir_conn_timer_start(weir_conn *conn, const weir_conn_timer_options *options, weir_timer **out)
{
    assert(wr_worker_here() == conn->worker);
    if (out) *out = NULL;
    if (!options || !options->on_timer) return WEIR_EINVAL;
    if (conn->state != WR_CONN_OPEN) return WEIR_ECLOSED;
    weir_timer *timer = wr_alloc(wr_worker_memory(conn->worker), sizeof *timer);
    if (!timer) return WEIR_ENOMEM;
    *timer = (weir_timer){ .timer = { .tag = WR_TIMER_ALARM },
                           .worker = conn->worker,
                           .conn = conn,
                           .repeat_ms = at_most(options->repeat_ms),
                           .run.of_conn = options->on_timer,
                           .data = options->data,
                           .owned = out != NULL };
    enlist(&conn->timers, timer);
    arm(timer, options->delay_ms);
    if (out) *out = timer;
    return 0;
}

void weir_timer_arm(weir_timer *timer, uint64_t delay_ms)
{
    assert(wr_worker_here() == timer->worker);
    timer->settled = true;
    arm(timer, delay_ms);
}

void weir_timer_cancel(weir_timer *timer)
{
    assert(wr_worker_here() == timer->worker);
    timer->settled = true;
    wr_wheel_disarm(&timer->worker->owner.wheel, &timer->timer);
}

void weir_timer_free(weir_timer *timer)
{
    if (!timer) return;
    assert(!timer->conn || wr_worker_here() == timer->worker);
    if (wr_worker_here() != timer->worker) {
        wr_message_post(timer->worker, &((wr_worker_alarm *)(void *)timer)->end);
        return;
    }
    wr_wheel_disarm(&timer->worker->owner.wheel, &timer->timer);
    timer->ended = timer->settled = true;
    if (timer->link && !timer->running) free_alarm(timer);
}
