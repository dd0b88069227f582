#include "core/link.h"

#include <assert.h>
#include <string.h>

#include "core/conn.h"
#include "core/failure.h"
#include "core/runtime.h"
#include "core/sim.h"
#include "platform/bug.h"

enum {
    DEFAULT_BACKOFF_MS_MIN = 100,
    DEFAULT_BACKOFF_MS_MAX = 30000,
    DEFAULT_UP_AFTER_MS = 5000,
};

/* The clock of its worker's wheel, also for other threads. */
static uint64_t clock_ms(const weir_link *link)
{
    const weir_sim *sim = link->worker->runtime->options.sim;
    return (sim ? weir_sim_now_ns(sim) + WR_SIM_EPOCH_NS : wr_os_now_ns()) / 1000000;
}

/* The timer fires in that time, never earlier: the pass may have begun up to a millisecond earlier than it says. */
static uint64_t arm(weir_link *link, uint64_t delay_ms)
{
    wr_worker *worker = link->worker;
    uint64_t due_ms = worker->owner.now_ms + delay_ms + 1;
    wr_wheel_arm(&worker->owner.wheel, &link->owner.timer, due_ms);
    return due_ms;
}

/* The last thing that its caller does with the link, but for what the loop brings: the callback may close it. */
static void enter(weir_link *link, weir_link_state state)
{
    assert(wr_worker_here() == link->worker);
    wr_mutex_lock(&link->lock);
    link->status.state = state;
    wr_mutex_unlock(&link->lock);
    bool is_closed = atomic_load_explicit(&link->closed, memory_order_acquire) && !WR_BUG(link_speaks_on);
    if (link->options.on_state && !is_closed) link->options.on_state(link, state, link->options.data);
}

static void note_failure(weir_link *link, weir_step step, int error, int system_error)
{
    weir_failure told;
    wr_failure failure = { .out = &told, .what = "link", .address = link->address };
    wr_failure_ended(&failure, step, error, system_error);
    wr_mutex_lock(&link->lock);
    link->status.failure = told;
    wr_mutex_unlock(&link->lock);
}

/* From 1 ms, so that time passes between any two attempts. */
static uint32_t draw_wait_ms(const weir_link *link)
{
    uint32_t least = link->options.backoff_ms_min, most = link->options.backoff_ms_max;
    uint32_t doublings = link->status.attempts > 1 ? link->status.attempts - 1 : 0;
    uint64_t bound = doublings < 32 ? (uint64_t)least << doublings : most;
    return 1 + (uint32_t)wr_runtime_draw(link->worker->runtime, bound < most ? bound : most);
}

static void go_on(weir_link *link)
{
    uint32_t most = link->options.max_attempts;
    if (link->worker->owner.stopping || (most && link->status.attempts >= most)) {
        enter(link, WEIR_LINK_ENDED);
        return;
    }
    uint32_t wait_ms = draw_wait_ms(link);
    uint64_t due_ms = arm(link, WR_BUG(link_hammers) ? 0 : wait_ms);
    wr_mutex_lock(&link->lock);
    link->status.wait_ms = wait_ms;
    link->owner.due_ms = due_ms;
    wr_mutex_unlock(&link->lock);
    enter(link, WEIR_LINK_WAITING);
}

static void set_attempts(weir_link *link, uint32_t attempts)
{
    wr_mutex_lock(&link->lock);
    link->status.attempts = attempts;
    wr_mutex_unlock(&link->lock);
}

static void attempt(weir_link *link)
{
    set_attempts(link, link->status.attempts + 1);
    int error = wr_connector_attempt(link->dialer, link, &link->owner.attempt);
    if (error) {
        note_failure(link, WEIR_STEP_CONNECT, error, 0);
        go_on(link);
    } else {
        enter(link, link->dialer->name ? WEIR_LINK_RESOLVING : WEIR_LINK_CONNECTING);
    }
}

/* ---- what its connection says ---- */

void wr_link_resolved(weir_link *link)
{
    enter(link, WEIR_LINK_CONNECTING);
}

void wr_link_up(weir_link *link, const weir_conn *conn)
{
    weir_conn_id id = weir_conn_get_id(conn);
    arm(link, link->options.up_after_ms);
    atomic_store_explicit(&link->conn, id, memory_order_release);
    wr_mutex_lock(&link->lock);
    link->status.conn = id;
    link->status.ups++;
    wr_mutex_unlock(&link->lock);
    enter(link, WEIR_LINK_UP);
}

void wr_link_down(weir_link *link, weir_step step, weir_reason reason)
{
    link->owner.attempt = NULL;
    wr_wheel_disarm(&link->worker->owner.wheel, &link->owner.timer);
    atomic_store_explicit(&link->conn, 0, memory_order_release);
    wr_mutex_lock(&link->lock);
    link->status.conn = 0;
    wr_mutex_unlock(&link->lock);
    note_failure(link, step, reason.error, reason.system_error);
    go_on(link);
}

void wr_link_expire(wr_timer *timer)
{
    weir_link *link = WR_CONTAINER_OF(timer, weir_link, owner.timer);
    if (link->owner.attempt)
        set_attempts(link, 0); /* it has been up for long enough */
    else if (!link->worker->owner.stopping)
        attempt(link);
}

/* ---- birth and end ---- */

static void free_link(weir_link *link)
{
    weir_runtime *runtime = link->worker->runtime;
    wr_dialer_release(link->dialer);
    wr_mutex_destroy(&link->lock);
    wr_heap_free(&runtime->heap, link, sizeof *link + strlen(link->address) + 1);
}

static void enlist(wr_worker *worker, wr_message *message)
{
    weir_link *link = WR_CONTAINER_OF(message, weir_link, start);
    link->owner.next = worker->owner.links;
    link->owner.link = &worker->owner.links;
    if (link->owner.next) link->owner.next->owner.link = &link->owner.next;
    worker->owner.links = link;
}

static void arrive(wr_worker *worker, wr_message *message)
{
    weir_link *link = WR_CONTAINER_OF(message, weir_link, start);
    enlist(worker, message);
    if (!worker->owner.stopping) {
        attempt(link);
        return;
    }
    note_failure(link, WEIR_STEP_NONE, WEIR_ESTOPPED, 0);
    enter(link, WEIR_LINK_ENDED);
}

/* Also on a worker that has ended: then there is no connection, and no timer. */
static void finish(wr_worker *worker, wr_message *message)
{
    weir_link *link = WR_CONTAINER_OF(message, weir_link, end);
    wr_connector *connector = link->owner.attempt;
    if (connector) {
        connector->link = NULL;
        wr_conn_close(&connector->conn, WEIR_ECLOSED);
    }
    wr_wheel_disarm(&worker->owner.wheel, &link->owner.timer);
    *link->owner.link = link->owner.next;
    if (link->owner.next) link->owner.next->owner.link = link->owner.link;
    free_link(link);
}

void wr_links_stop(wr_worker *worker)
{
    for (weir_link *link = worker->owner.links; link; link = link->owner.next) {
        if (link->owner.attempt || link->status.state == WEIR_LINK_ENDED) continue;
        wr_wheel_disarm(&worker->owner.wheel, &link->owner.timer);
        note_failure(link, WEIR_STEP_NONE, WEIR_ESTOPPED, 0);
        enter(link, WEIR_LINK_ENDED);
    }
}

void wr_links_drop(wr_worker *worker)
{
    for (weir_link *link; (link = worker->owner.links);) {
        worker->owner.links = link->owner.next;
        free_link(link);
    }
}

static const char *refuse(const weir_link_options *options)
{
    if (options->backoff_ms_min > WR_TIMEOUT_MAX) return "backoff_ms_min is over 2^30";
    if (options->backoff_ms_max > WR_TIMEOUT_MAX) return "backoff_ms_max is over 2^30";
    if (options->up_after_ms > WR_TIMEOUT_MAX) return "up_after_ms is over 2^30";
    return NULL;
}

static void fill_options(weir_link_options *options)
{
    if (!options->backoff_ms_min) options->backoff_ms_min = DEFAULT_BACKOFF_MS_MIN;
    if (!options->backoff_ms_max) options->backoff_ms_max = DEFAULT_BACKOFF_MS_MAX;
    if (options->backoff_ms_max < options->backoff_ms_min) options->backoff_ms_max = options->backoff_ms_min;
    if (!options->up_after_ms) options->up_after_ms = DEFAULT_UP_AFTER_MS;
    options->connect = (weir_connect_options){ 0 }; /* the dialer has all of it */
}

int weir_link_open(weir_runtime *runtime, const char *address, const weir_protocol *protocol,
                   const weir_link_options *options, weir_link **out)
{
    const weir_link_options none = { 0 };
    if (out) *out = NULL;
    if (!options) options = &none;
    wr_failure failure = wr_failure_begin(options->connect.failure, "link", address);
    const char *why = out ? refuse(options) : "an argument is NULL";
    if (why) return wr_failure_option(&failure, WEIR_EINVAL, why);
    weir_dialer *dialer = NULL;
    int error = wr_dialer_create(&dialer, runtime, address, protocol, &options->connect, &failure);
    if (!dialer) return error;
    weir_link *link = wr_heap_alloc(&runtime->heap, sizeof *link + strlen(address) + 1);
    if (!link) {
        wr_dialer_release(dialer);
        return wr_failure_option(&failure, WEIR_ENOMEM, "out of memory");
    }
    *link = (weir_link){ .start = { .run = arrive, .drop = enlist },
                         .end = { .run = finish, .drop = finish },
                         .worker = wr_dialer_worker(dialer),
                         .dialer = dialer,
                         .options = *options,
                         .owner.timer.tag = WR_TIMER_LINK };
    fill_options(&link->options);
    wr_mutex_init(&link->lock);
    memcpy(link->address, address, strlen(address) + 1);
    *out = link;
    wr_message_post(link->worker, &link->start);
    return 0;
}

void weir_link_close(weir_link *link)
{
    if (!link) return;
    atomic_store_explicit(&link->closed, true, memory_order_release);
    wr_message_post(link->worker, &link->end);
}

/* ---- what others may ask ---- */

void weir_link_get_status(weir_link *link, weir_link_status *out)
{
    uint64_t now_ms = clock_ms(link);
    wr_mutex_lock(&link->lock);
    *out = link->status;
    uint64_t due_ms = link->owner.due_ms;
    wr_mutex_unlock(&link->lock);
    bool is_waiting = out->state == WEIR_LINK_WAITING && due_ms > 0;
    if (!is_waiting) out->wait_ms = 0;
    out->left_ms = is_waiting && due_ms > now_ms ? due_ms - now_ms : 0;
}

weir_conn_id weir_link_conn(const weir_link *link)
{
    return atomic_load_explicit(&link->conn, memory_order_acquire);
}

int weir_link_send(weir_link *link, const void *bytes, size_t size)
{
    weir_conn_id id = weir_link_conn(link);
    return id ? weir_send_to(link->worker->runtime, id, bytes, size) : WEIR_ESTATE;
}

weir_runtime *weir_link_runtime(const weir_link *link)
{
    return link->worker->runtime;
}

weir_link *weir_conn_link(const weir_conn *conn)
{
    assert(wr_worker_here() == conn->worker);
    const wr_connector *connector = wr_connector_of(conn);
    return connector ? connector->link : NULL;
}
