/* weir, by its public headers alone, as its guide teaches it. */
#include <stdlib.h>
#include <weir/weir.h>

#include "address.h"
#include "peer.h"
#include "thread.h"

static void check(int error, const char *what)
{
    if (error != 0) fail("%s: %s", what, weir_strerror(error));
}

static weir_runtime *create_runtime(const struct job *job)
{
    weir_runtime *runtime = NULL;
    weir_runtime_options options = { .workers = job->workers, .max_connections = job_descriptors(job) };
    check(weir_runtime_create(&runtime, &options), "weir_runtime_create");
    return runtime;
}

/* ---- servers ---- */

static weir_runtime *serving; /* for those who ask it while it serves */

static void serve(const struct job *job, const weir_protocol *protocol, void (*created)(weir_runtime *runtime))
{
    static const weir_placement placements[] = { [PLACEMENT_DEFAULT] = WEIR_PLACEMENT_DEFAULT,
                                                 [PLACEMENT_SPREAD] = WEIR_PLACEMENT_SPREAD,
                                                 [PLACEMENT_BALANCED] = WEIR_PLACEMENT_BALANCED };
    serving = create_runtime(job);
    if (created) created(serving);
    weir_listener *listener = NULL;
    weir_failure failure;
    weir_listen_options options = { .failure = &failure, .placement = placements[job->placement] };
    if (weir_listen(serving, "127.0.0.1:0", protocol, &options, &listener) != 0) fail("%s", failure.text);
    serve_ready(weir_listener_address(listener).port);
    check(weir_runtime_run(serving), "weir_runtime_run");
    weir_runtime_destroy(serving);
}

static void accept_open(weir_conn *conn)
{
    weir_close(conn);
}

static void serve_accept(const struct job *job)
{
    serve(job, &(weir_protocol){ .on_open = accept_open }, NULL);
}

static void echo_message(weir_conn *conn, const void *bytes, size_t size)
{
    weir_send(conn, bytes, size);
}

/* Reads no more from a peer that does not read: the others, too, keep up to one read of 64 KiB for it, and let nobody
 * go. */
static void serve_echo(const struct job *job)
{
    const weir_outbox_options patient = { .policy = WEIR_SLOW_PAUSE, .soft_limit = 65536, .soft_limit_ms = 3600000 };
    serve(job, &(weir_protocol){ .on_message = echo_message, .outbox = patient }, NULL);
}

static weir_group *room;
static unsigned packet_size;

static void room_create(weir_runtime *runtime)
{
    check(weir_group_create(runtime, &room), "weir_group_create");
}

static void room_open(weir_conn *conn)
{
    static const char joined = BROADCAST_JOINED;
    check(weir_group_add(room, conn), "weir_group_add");
    weir_send(conn, &joined, 1);
}

/* Of one connection, so one after the other. */
static void room_message(weir_conn *conn, const void *commands, size_t size)
{
    static uint64_t packets;
    (void)conn, (void)commands;
    for (size_t i = 0; i < size; i++) {
        weir_buf *packet = weir_buf_create(packet_size);
        if (!packet) fail("out of memory");
        broadcast_fill(weir_buf_bytes(packet), packet_size, ++packets);
        check(weir_group_send(room, packet), "weir_group_send");
        weir_buf_release(packet);
    }
}

static void serve_broadcast(const struct job *job)
{
    packet_size = job->size;
    serve(job, &(weir_protocol){ .on_open = room_open, .on_message = room_message }, room_create);
}

static uint64_t memory(void)
{
    weir_stats stats;
    weir_stats_read(serving, &stats);
    return stats.memory;
}

static void shares(uint64_t *connections)
{
    for (unsigned i = 0; i < weir_runtime_workers(serving); i++) {
        weir_stats stats;
        check(weir_stats_read_worker(serving, i, &stats), "weir_stats_read_worker");
        connections[i] = stats.connections;
    }
}

/* ---- client ---- */

/* A worker's share of the window. Only that worker touches it during a burst. */
struct lane {
    struct client *client;
    struct attempt *attempts;
    unsigned worker, window;
    unsigned open; /* attempts whose on_close is yet to come */
    struct limit limit;
    struct tally tally;
};

/* One connection of the window after the other. The data of its dialer's protocol leads from the connection back to
 * here. */
struct attempt {
    weir_dialer *dialer;
    struct lane *lane;
    uint64_t since_ns;
};

struct client {
    weir_runtime *runtime;
    const char *address;
    weir_address sources[ADDRESS_SOURCES];
    unsigned workers;
    struct semaphore *lane_done;
    struct lane lanes[];
};

static bool start(struct attempt *attempt)
{
    struct lane *lane = attempt->lane;
    uint64_t now_ns = clock_ns();
    if (!tally_may_start(&lane->tally, &lane->limit, now_ns)) return false;
    attempt->since_ns = now_ns;
    check(weir_dialer_connect(attempt->dialer, NULL), "weir_dialer_connect");
    return true;
}

static void client_open(weir_conn *conn)
{
    struct attempt *attempt = weir_conn_data(conn);
    tally_finish(&attempt->lane->tally, clock_ns() - attempt->since_ns);
    weir_abort(conn);
}

static void client_close(weir_conn *conn, weir_reason reason)
{
    struct attempt *attempt = weir_conn_data(conn);
    struct lane *lane = attempt->lane;
    if (reason.error != WEIR_EABORTED) {
        fail("connect: %s (system error %d)", weir_strerror(reason.error), reason.system_error);
    }
    if (!start(attempt) && --lane->open == 0) semaphore_post(lane->client->lane_done);
}

static void lane_begin(weir_runtime *runtime, void *data)
{
    (void)runtime;
    struct lane *lane = data;
    lane->open = 1; /* this function's own, so that the lane is not done before all have been started */
    for (unsigned i = 0; i < lane->window && start(&lane->attempts[i]); i++) lane->open++;
    if (--lane->open == 0) semaphore_post(lane->client->lane_done);
}

static void attempt_create(struct attempt *attempt, struct lane *lane)
{
    const struct client *client = lane->client;
    weir_protocol protocol = { .on_open = client_open, .on_close = client_close, .data = attempt };
    weir_failure failure;
    weir_connect_options options = { .local_addresses = client->sources,
                                     .local_address_count = ADDRESS_SOURCES,
                                     .worker = lane->worker + 1,
                                     .failure = &failure };
    attempt->lane = lane;
    int error = weir_dialer_create(client->runtime, client->address, &protocol, &options, &attempt->dialer);
    if (error != 0) fail("%s", failure.text);
}

static void lane_create(struct client *client, unsigned worker, unsigned window)
{
    struct lane *lane = &client->lanes[worker];
    *lane = (struct lane){ .client = client, .worker = worker, .window = window };
    lane->attempts = calloc(window, sizeof lane->attempts[0]);
    if (window > 0 && !lane->attempts) fail("out of memory");
    for (unsigned i = 0; i < window; i++) attempt_create(&lane->attempts[i], lane);
}

static void *client_create(const struct job *job)
{
    struct client *client = calloc(1, sizeof *client + job->workers * sizeof client->lanes[0]);
    if (!client) fail("out of memory");
    client->lane_done = semaphore_create();
    client->runtime = create_runtime(job);
    client->address = job->address;
    client->workers = job->workers;
    for (int i = 0; i < ADDRESS_SOURCES; i++) {
        check(weir_address_parse(&client->sources[i], address_source_texts[i], NULL), address_source_texts[i]);
    }
    for (unsigned i = 0; i < job->workers; i++) {
        lane_create(client, i, job->window / job->workers + (i < job->window % job->workers));
    }
    check(weir_runtime_start(client->runtime), "weir_runtime_start");
    return client;
}

static void client_burst(void *state, const struct limit *limit, struct tally *tally)
{
    struct client *client = state;
    for (unsigned i = 0; i < client->workers; i++) {
        struct lane *lane = &client->lanes[i];
        uint64_t rest = i == 0 ? limit->operations % client->workers : 0;
        lane->limit = (struct limit){ limit->until_ns, limit->operations / client->workers + rest };
        lane->tally = (struct tally){ 0 };
        check(weir_post(client->runtime, i, lane_begin, lane), "weir_post");
    }
    for (unsigned i = 0; i < client->workers; i++) semaphore_wait(client->lane_done);
    for (unsigned i = 0; i < client->workers; i++) {
        const struct tally *done = &client->lanes[i].tally;
        tally->started += done->started;
        tally->finished += done->finished;
        histogram_merge(&tally->latency, &done->latency);
    }
}

/* ---- timers ---- */

/* On a manual runtime, whose one worker is whoever polls it. */
struct timers {
    weir_runtime *runtime;
    const uint32_t *delays_ms;
    uint64_t fired;
    unsigned count;
    weir_timer *each[];
};

static void timer_fired(weir_timer *timer, void *data)
{
    (void)timer;
    ((struct timers *)data)->fired++;
}

static void timers_create(weir_runtime *runtime, void *data)
{
    struct timers *timers = data;
    weir_timer_options options = { .on_timer = timer_fired, .data = timers, .delay_ms = 1000 };
    for (unsigned i = 0; i < timers->count; i++) {
        check(weir_timer_start(runtime, &options, &timers->each[i]), "weir_timer_start");
        weir_timer_cancel(timers->each[i]);
    }
}

static void *timers_open(const struct job *job)
{
    struct timers *timers = calloc(1, sizeof *timers + job->timers * sizeof(weir_timer *));
    if (!timers) fail("out of memory");
    timers->count = job->timers;
    check(weir_runtime_create(&timers->runtime, &(weir_runtime_options){ .manual = true, .max_connections = 1 }),
          "weir_runtime_create");
    check(weir_post(timers->runtime, 0, timers_create, timers), "weir_post");
    weir_poll(timers->runtime, 0);
    return timers;
}

static void timers_arm_all(weir_runtime *runtime, void *data)
{
    struct timers *timers = data;
    (void)runtime;
    for (unsigned i = 0; i < timers->count; i++) weir_timer_arm(timers->each[i], timers->delays_ms[i]);
}

static void timers_arm(void *state, const uint32_t *delays_ms)
{
    struct timers *timers = state;
    timers->delays_ms = delays_ms;
    timers->fired = 0; /* not in timers_run: should arming take long, the poll goes on to what is due by then */
    check(weir_post(timers->runtime, 0, timers_arm_all, timers), "weir_post");
    weir_poll(timers->runtime, 0);
}

static uint64_t timers_run(void *state)
{
    struct timers *timers = state;
    while (timers->fired < timers->count) weir_poll(timers->runtime, 1000);
    return timers->fired;
}

/* ---- messages between threads ---- */

static void *post_open(const struct job *job)
{
    weir_runtime *runtime = create_runtime(job);
    check(weir_runtime_start(runtime), "weir_runtime_start");
    return runtime;
}

static void post_arrived(weir_runtime *runtime, void *producer)
{
    (void)runtime;
    post_received((unsigned)(uintptr_t)producer);
}

static void post_one(void *state, unsigned producer)
{
    check(weir_post(state, 0, post_arrived, (void *)(uintptr_t)producer), "weir_post");
}

const struct peer peer_weir = {
    .name = "weir",
    .version = weir_version,
    .takes_workers = true,
    .connects_so = true,
    .balances = true,
    .serve_accept = serve_accept,
    .serve_echo = serve_echo,
    .serve_broadcast = serve_broadcast,
    .connect = { client_create, client_burst },
    .timers = { timers_open, timers_arm, timers_run },
    .post = { post_open, post_one },
    .memory = memory,
    .shares = shares,
};
