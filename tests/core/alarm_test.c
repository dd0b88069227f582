/* The embedder's timers on the system's clock: never early, on their worker, and safe to end. Exact times are
 * alarm_sim_test.c's. */
#include "core/alarm.h"

#include "core/world.h"

/* A runtime without a listener; on so many workers. */
static void start(world *w, unsigned workers)
{
    w->no_listener = true;
    w->runtime_options.workers = workers;
    world_start(w);
}

typedef struct bell {
    _Atomic unsigned rung;
    _Atomic uint64_t rang_ns;
    _Atomic bool elsewhere;
    unsigned worker;
    void (*then)(weir_timer *timer, struct bell *bell);
} bell;

static void ring(weir_timer *timer, void *data)
{
    bell *b = data;
    if (wr_worker_here()->index != b->worker) b->elsewhere = true;
    b->rang_ns = wr_os_now_ns();
    b->rung++;
    if (b->then) b->then(timer, b);
}

static weir_timer *set(world *w, bell *b, uint64_t delay_ms, uint64_t repeat_ms)
{
    weir_timer *timer;
    weir_timer_options options = {
        .delay_ms = delay_ms, .repeat_ms = repeat_ms, .worker = b->worker, .on_timer = ring, .data = b
    };
    cr_assert_eq(weir_timer_start(w->runtime, &options, &timer), 0);
    return timer;
}

/* What only the worker may do, on it. */
typedef struct request {
    weir_timer *timer;
    uint64_t delay_ms;
} request;

static void do_arm(void *data)
{
    const request *r = data;
    weir_timer_arm(r->timer, r->delay_ms);
}

static void do_cancel(void *data)
{
    const request *r = data;
    weir_timer_cancel(r->timer);
    weir_timer_cancel(r->timer);
}

static void do_free(void *data)
{
    const request *r = data;
    weir_timer_free(r->timer);
}

Test(alarm, rings_once_and_never_early)
{
    enum { BELLS = 40 };
    static bell bells[BELLS];
    weir_timer *timers[BELLS];
    world w = { 0 };
    start(&w, 2);
    uint64_t began_ns = wr_os_now_ns();
    for (unsigned i = 0; i < BELLS; i++) {
        bells[i] = (bell){ .worker = i % 2 };
        timers[i] = set(&w, &bells[i], i, 0);
    }
    for (unsigned i = 0; i < BELLS; i++) {
        WORLD_AWAIT(&w, bells[i].rung == 1);
        cr_assert_geq(bells[i].rang_ns - began_ns, i * 1000000, "%u ms", i);
        cr_assert_not(bells[i].elsewhere);
    }
    WORLD_HOLDS(&w, 20, bells[0].rung == 1 && bells[BELLS - 1].rung == 1);
    for (unsigned i = 0; i < BELLS; i++) weir_timer_free(timers[i]);
    weir_timer_free(NULL);
    world_stop(&w);
}

Test(alarm, rings_again_and_again_and_without_drift)
{
    world w = { .manual = true };
    start(&w, 1);
    bell b = { 0 };
    uint64_t began_ns = wr_os_now_ns();
    (void)set(&w, &b, 3, 5);
    WORLD_AWAIT(&w, b.rung >= 10);
    cr_assert_geq(b.rang_ns - began_ns, 48000000);
    world_stop(&w); /* which frees it */
}

static void cancel_it(weir_timer *timer, bell *b)
{
    if (b->rung == 3) weir_timer_cancel(timer);
}

static void free_it(weir_timer *timer, bell *b)
{
    if (b->rung < 3) return;
    weir_timer_free(timer);
    b->then = NULL;
}

static void arm_it(weir_timer *timer, bell *b)
{
    if (b->rung < 3) weir_timer_arm(timer, 2);
}

Test(alarm, can_be_cancelled_freed_and_armed_in_its_own_callback)
{
    world w = { 0 };
    start(&w, 1);
    bell cancelled = { .then = cancel_it }, freed = { .then = free_it }, armed = { .then = arm_it };
    request r = { .timer = set(&w, &cancelled, 1, 1), .delay_ms = 2 };
    (void)set(&w, &freed, 1, 1);
    (void)set(&w, &armed, 1, 0);
    WORLD_AWAIT(&w, cancelled.rung == 3 && freed.rung == 3 && armed.rung == 3);
    WORLD_HOLDS(&w, 20, cancelled.rung == 3 && freed.rung == 3 && armed.rung == 3);
    world_run(&w, 0, do_arm, &r); /* it goes on where it was left */
    WORLD_AWAIT(&w, cancelled.rung >= 5);
    world_run(&w, 0, do_cancel, &r);
    unsigned rung = cancelled.rung;
    WORLD_HOLDS(&w, 20, cancelled.rung == rung);
    world_run(&w, 0, do_free, &r);
    world_stop(&w);
}

Test(alarm, that_has_rung_can_be_cancelled_armed_and_freed)
{
    world w = { 0 };
    start(&w, 2);
    bell b = { .worker = 1 };
    request r = { .timer = set(&w, &b, 0, 0), .delay_ms = 5 };
    WORLD_AWAIT(&w, b.rung == 1);
    world_run(&w, 1, do_cancel, &r);
    world_run(&w, 1, do_arm, &r);
    WORLD_AWAIT(&w, b.rung == 2);
    r.delay_ms = 3600000;
    world_run(&w, 1, do_arm, &r);
    r.delay_ms = 1; /* nearer than it was */
    world_run(&w, 1, do_arm, &r);
    WORLD_AWAIT(&w, b.rung == 3);
    weir_timer_free(r.timer);
    world_stop(&w);
}

Test(alarm, without_a_handle_is_freed_when_it_has_rung)
{
    enum { BELLS = 10000 };
    static bell b;
    world w = { 0 };
    start(&w, 1);
    uint64_t memory = w.memory.used;
    weir_timer_options options = { .on_timer = ring, .data = &b };
    for (int i = 0; i < BELLS; i++) {
        options.delay_ms = (uint64_t)i % 20;
        cr_assert_eq(weir_timer_start(w.runtime, &options, NULL), 0);
    }
    WORLD_AWAIT(&w, b.rung == BELLS);
    WORLD_AWAIT(&w, w.memory.used <= memory);
    bell thrice = { .then = cancel_it }, again = { .then = arm_it };
    options = (weir_timer_options){ .repeat_ms = 1, .on_timer = ring, .data = &thrice };
    cr_assert_eq(weir_timer_start(w.runtime, &options, NULL), 0);
    options = (weir_timer_options){ .on_timer = ring, .data = &again };
    cr_assert_eq(weir_timer_start(w.runtime, &options, NULL), 0);
    WORLD_AWAIT(&w, thrice.rung == 3 && again.rung == 3);
    WORLD_AWAIT(&w, w.memory.used <= memory);
    world_stop(&w);
}

Test(alarm, can_be_freed_by_any_thread_at_any_time)
{
    enum { BELLS = 2000 };
    static bell b[2];
    world w = { 0 };
    start(&w, 2);
    b[0] = (bell){ 0 }, b[1] = (bell){ .worker = 1 };
    for (int i = 0; i < BELLS; i++) weir_timer_free(set(&w, &b[i % 2], (uint64_t)i % 3, (uint64_t)i % 2));
    bell last = { 0 };
    weir_timer_free(set(&w, &last, 3600000, 0));
    world_stop(&w); /* the world counts the memory */
    cr_assert_not(b[0].elsewhere || b[1].elsewhere);
    cr_assert_eq(last.rung, 0);
}

static void start_all(void *data)
{
    world *w = data;
    static bell b;
    b = (bell){ .worker = 0 };
    weir_timer *freed = set(w, &b, 0, 1), *cancelled = set(w, &b, 0, 1), *later = set(w, &b, 0, 0);
    weir_timer_free(freed); /* it is on its worker already */
    weir_timer_cancel(cancelled);
    weir_timer_arm(later, 3600000);
    cr_assert_eq(b.rung, 0);
}

Test(alarm, of_its_own_worker_is_there_at_once)
{
    world w = { 0 };
    start(&w, 1);
    world_run(&w, 0, start_all, &w);
    weir_sleep_ms(5);
    uint64_t passes = world_stats(&w).passes;
    weir_sleep_ms(50);
    cr_assert_leq(world_stats(&w).passes, passes + 2, "nothing is left to wake up for");
    world_stop(&w);
}

static weir_timer *early[3];

static void use_early(weir_runtime *runtime, void *data)
{
    (void)runtime, (void)data;
    weir_timer_free(early[0]);
    weir_timer_cancel(early[1]);
    weir_timer_arm(early[2], 1);
}

/* A callback may have one from another thread before its own worker has heard of it. */
Test(alarm, obeys_its_worker_before_it_has_come_there)
{
    world w = { .manual = true };
    start(&w, 1);
    bell freed = { 0 }, cancelled = { 0 }, armed = { 0 };
    cr_assert_eq(weir_post(w.runtime, 0, use_early, NULL), 0);
    early[0] = set(&w, &freed, 0, 1);
    early[1] = set(&w, &cancelled, 0, 1);
    early[2] = set(&w, &armed, 3600000, 0);
    WORLD_AWAIT(&w, armed.rung == 1);
    WORLD_HOLDS(&w, 10, freed.rung == 0 && cancelled.rung == 0);
    world_stop(&w);
}

Test(alarm, is_refused_with_the_reason)
{
    world w = { 0 };
    start(&w, 2);
    bell b = { 0 };
    weir_timer *timer = (void *)&w;
    weir_timer_options options = { .on_timer = ring, .data = &b };
    cr_assert_eq(weir_timer_start(w.runtime, NULL, &timer), WEIR_EINVAL);
    cr_assert_null(timer);
    options.worker = 2;
    cr_assert_eq(weir_timer_start(w.runtime, &options, &timer), WEIR_EINVAL);
    options = (weir_timer_options){ 0 };
    cr_assert_eq(weir_timer_start(w.runtime, &options, NULL), WEIR_EINVAL);
    options.on_timer = ring;
    world_refuse(&w, 0);
    cr_assert_eq(weir_timer_start(w.runtime, &options, &timer), WEIR_ENOMEM);
    world_refuse(&w, -1);
    weir_timer *kept = set(&w, &b, 3600000, 0);
    weir_runtime_stop(w.runtime);
    cr_assert_eq(weir_runtime_wait(w.runtime), 0);
    cr_assert_eq(weir_timer_start(w.runtime, &options, &timer), WEIR_ESTOPPED);
    weir_timer_free(kept); /* harmless after the end */
    world_stop(&w);
}

/* ---- of a connection ---- */

typedef struct pulse {
    weir_conn *conn;
    weir_timer *timer;
    _Atomic unsigned beats, strays;
    _Atomic int error;
} pulse;

static pulse the_pulse;

static void beat(weir_conn *conn, weir_timer *timer, void *data)
{
    pulse *p = data;
    if (conn != p->conn || timer != p->timer) p->strays++;
    p->beats++;
    (void)weir_send(conn, "beat\n", 5);
}

static void begin_pulse(weir_conn *conn)
{
    pulse *p = world_data(conn);
    p->conn = conn;
    weir_conn_timer_options options = { .delay_ms = 1, .repeat_ms = 1, .on_timer = beat, .data = p };
    p->error = weir_conn_timer_start(conn, &options, &p->timer);
}

static void end_pulse(weir_conn *conn, weir_reason reason)
{
    (void)reason;
    pulse *p = world_data(conn);
    weir_conn_timer_options options = { .on_timer = beat, .data = p };
    weir_timer *timer;
    if (weir_conn_timer_start(conn, &options, &timer) != WEIR_ECLOSED || timer) p->strays++;
    p->conn = NULL;
    if (p->timer) weir_timer_cancel(p->timer); /* it is still there */
}

static void start_pulse(world *w)
{
    the_pulse = (pulse){ 0 };
    *w = (world){ .protocol = { .on_open = begin_pulse,
                                .on_close = end_pulse,
                                .framing = weir_framing_line(),
                                .data = &the_pulse } };
    world_start(w);
}

Test(alarm, of_a_connection_rings_until_that_closes)
{
    world w;
    start_pulse(&w);
    raw_peer peer = world_connect(&w);
    WORLD_AWAIT(&w, the_pulse.beats >= 10);
    cr_assert_eq(the_pulse.error, 0);
    raw_close(peer);
    WORLD_AWAIT(&w, w.closed == 1);
    unsigned beats = the_pulse.beats;
    WORLD_HOLDS(&w, 20, the_pulse.beats == beats);
    cr_assert_eq(the_pulse.strays, 0);
    world_stop(&w);
}

Test(alarm, of_a_connection_is_silent_while_that_closes)
{
    world w;
    start_pulse(&w);
    raw_peer peer = world_connect(&w);
    WORLD_AWAIT(&w, the_pulse.beats >= 1);
    world_close(&w, w.id);
    unsigned beats = the_pulse.beats;
    WORLD_HOLDS(&w, 20, the_pulse.beats == beats); /* the peer has not yet ended */
    cr_assert_eq(w.closed, 0);
    raw_close(peer);
    WORLD_AWAIT(&w, w.closed == 1);
    cr_assert_eq(the_pulse.strays, 0);
    world_stop(&w);
}

static void free_pulse(weir_conn *conn, const void *bytes, size_t size)
{
    (void)bytes, (void)size;
    pulse *p = world_data(conn);
    weir_timer_free(p->timer);
    p->timer = NULL;
    weir_conn_timer_options options = { .delay_ms = 3600000, .on_timer = beat, .data = p };
    for (int i = 0; i < 100; i++) (void)weir_conn_timer_start(conn, &options, NULL);
    p->error = weir_conn_timer_start(conn, NULL, NULL);
}

Test(alarm, of_a_connection_can_be_freed_before_it_and_need_not)
{
    world w;
    the_pulse = (pulse){ 0 };
    w = (world){ .protocol = { .on_open = begin_pulse,
                               .on_message = free_pulse,
                               .on_close = end_pulse,
                               .framing = weir_framing_line(),
                               .data = &the_pulse } };
    world_start(&w);
    raw_peer peer = world_connect(&w);
    raw_send(peer, "go\n", 3);
    WORLD_AWAIT(&w, w.messages == 1);
    cr_assert_eq(the_pulse.error, WEIR_EINVAL);
    unsigned beats = the_pulse.beats;
    WORLD_HOLDS(&w, 20, the_pulse.beats == beats);
    raw_close(peer);
    WORLD_AWAIT(&w, w.closed == 1);
    world_stop(&w); /* the world counts the memory */
}
