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

static void serve(const struct job *job, const weir_protocol *protocol)
{
    weir_runtime *runtime = create_runtime(job);
    weir_listener *listener = NULL;
    weir_failure failure;
    weir_listen_options options = { .failure = &failure };
    if (weir_listen(runtime, "127.0.0.1:0", protocol, &options, &listener) != 0) fail("%s", failure.text);
    serve_ready(weir_listener_address(listener).port);
    check(weir_runtime_run(runtime), "weir_runtime_run");
    weir_runtime_destroy(runtime);
}

static void accept_open(weir_conn *conn)
{
    weir_close(conn);
}

static void serve_accept(const struct job *job)
{
    serve(job, &(weir_protocol){ .on_open = accept_open });
}

static void echo_message(weir_conn *conn, const void *bytes, size_t size)
{
    weir_send(conn, bytes, size);
}

static void serve_echo(const struct job *job)
{
    serve(job, &(weir_protocol){ .on_message = echo_message });
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

/* One connection of the window after the other. Its protocol leads from the connection back to here. */
struct attempt {
    weir_protocol protocol;
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
    const struct client *client = lane->client;
    weir_failure failure;
    weir_connect_options options = { .local_addresses = client->sources,
                                     .local_address_count = ADDRESS_SOURCES,
                                     .worker = lane->worker + 1,
                                     .failure = &failure };
    int error = weir_connect(client->runtime, client->address, &attempt->protocol, &options, NULL);
    if (error != 0) fail("weir_connect: %s", failure.error == error ? failure.text : weir_strerror(error));
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

static void lane_create(struct client *client, unsigned worker, unsigned window)
{
    struct lane *lane = &client->lanes[worker];
    *lane = (struct lane){ .client = client, .worker = worker, .window = window };
    lane->attempts = calloc(window, sizeof lane->attempts[0]);
    if (window > 0 && !lane->attempts) fail("out of memory");
    for (unsigned i = 0; i < window; i++) {
        struct attempt *attempt = &lane->attempts[i];
        attempt->lane = lane;
        attempt->protocol = (weir_protocol){ .on_open = client_open, .on_close = client_close, .data = attempt };
    }
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

const struct peer peer_weir = {
    .name = "weir",
    .version = weir_version,
    .takes_workers = true,
    .serve_accept = serve_accept,
    .serve_echo = serve_echo,
    .connect = { client_create, client_burst },
};
