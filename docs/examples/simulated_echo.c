/* A server tested under a network as bad as you like, again and again, in virtual time: docs/guide/simulation.md walks
 * through it.
 *
 * The server answers each line "x" with "ok x". Each client sends a numbered line at an interval, checks what it is
 * answered, and comes back when its connection is lost. Whatever the network does, no answer may be wrong.
 *
 * simulated_echo [OPTIONS]        --help lists them */
#include "options.h"
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <weir/sim.h>
#include <weir/weir.h>

#define SERVER_HOST    "10.0.0.1"
#define SERVER_ADDRESS SERVER_HOST ":7777"

enum { SERVER_CORRECT, SERVER_NAIVE };

static const char *const servers[] = { [SERVER_CORRECT] = "correct", [SERVER_NAIVE] = "naive", NULL };

/* All that the command line decides. */
struct settings {
    weir_sim_options network;
    uint32_t seed, seeds, clients, seconds, interval_ms, workers;
    uint32_t cut_ms; /* in the middle of the run the server is cut off for so long */
    unsigned server;
    bool trace;
};

/* A run of one seed. */
struct run {
    const struct settings *settings;
    weir_sim *sim;
    weir_runtime *server, *clients;
    struct client *all;
    uint64_t sent, answered, wrong, lost;
};

/* It outlives its connections. */
struct client {
    struct run *run;
    weir_conn_id conn; /* 0: none */
    uint32_t number;
    uint64_t next_sent, next_answer;
    bool talks; /* a timer for the next line is running */
};

/* ---- the server ---- */

static void answer(weir_conn *conn, const void *bytes, size_t size)
{
    weir_send(conn, "ok ", 3);
    weir_send(conn, bytes, size);
}

static weir_protocol server_protocol(unsigned server)
{
    weir_protocol protocol = { .on_message = answer, .framing = weir_framing_line(), .idle_timeout_ms = 30000 };
    if (server == SERVER_NAIVE) protocol.framing = (weir_framing){ 0 }; /* "a read brings a line" */
    return protocol;
}

/* ---- the clients ---- */

static void connect_client(weir_runtime *runtime, void *data);

static void say(weir_runtime *runtime, void *data)
{
    struct client *client = data;
    char line[64];
    client->talks = client->conn != 0;
    if (!client->talks) return; /* lost meanwhile; it says more when it is back */
    int size = snprintf(line, sizeof line, "%" PRIu32 " %" PRIu64 "\n", client->number, client->next_sent);
    if (weir_send_to(runtime, client->conn, line, (size_t)size) == 0) { /* else the same line is next again */
        client->next_sent++;
        client->run->sent++;
    }
    weir_post_after(runtime, 0, client->run->settings->interval_ms, say, client);
}

static void client_open(weir_conn *conn)
{
    struct client *client = weir_conn_data(conn);
    client->conn = weir_conn_get_id(conn);
    client->next_answer = client->next_sent; /* what was under way in the connection before is lost with it */
    if (client->talks) return;
    client->talks = true;
    weir_post_after(weir_conn_runtime(conn), 0, client->number % client->run->settings->interval_ms, say, client);
}

static void client_message(weir_conn *conn, const void *bytes, size_t size)
{
    struct client *client = weir_conn_data(conn);
    char expected[64];
    int length =
        snprintf(expected, sizeof expected, "ok %" PRIu32 " %" PRIu64 "\n", client->number, client->next_answer);
    client->next_answer++;
    client->run->answered++;
    if (size == (size_t)length && memcmp(bytes, expected, size) == 0) return;
    client->run->wrong++;
    printf("%" PRIu64 " us: client %" PRIu32 " expected '%.*s' and got '%.*s'\n",
           weir_sim_now_ns(client->run->sim) / 1000, client->number, length - 1, expected, (int)size - 1,
           (const char *)bytes);
    weir_abort(conn);
}

static void client_close(weir_conn *conn, weir_reason reason)
{
    struct client *client = weir_conn_data(conn);
    client->conn = 0;
    if (reason.error == WEIR_ESTOPPED) return;
    client->run->lost++;
    weir_post_after(weir_conn_runtime(conn), 0, 1000, connect_client, client);
}

static void connect_client(weir_runtime *runtime, void *data)
{
    const weir_protocol protocol = { .on_open = client_open,
                                     .on_message = client_message,
                                     .on_close = client_close,
                                     .framing = weir_framing_line(),
                                     .data = data };
    weir_connect(runtime, SERVER_ADDRESS, &protocol, NULL, NULL); /* what comes of it shows in on_open or on_close */
}

/* ---- a run ---- */

static int start(struct run *run)
{
    const struct settings *settings = run->settings;
    const weir_protocol protocol = server_protocol(settings->server);
    int err = weir_sim_create(&run->sim, &settings->network);
    if (err != 0) return err;
    err = weir_runtime_create(&run->server, &(weir_runtime_options){ .workers = settings->workers, .sim = run->sim });
    if (err == 0) err = weir_runtime_create(&run->clients, &(weir_runtime_options){ .sim = run->sim });
    if (err == 0) err = weir_listen(run->server, SERVER_ADDRESS, &protocol, NULL, NULL);
    run->all = calloc(settings->clients, sizeof *run->all);
    if (run->all == NULL) return WEIR_ENOMEM;
    for (uint32_t i = 0; err == 0 && i < settings->clients; i++) {
        run->all[i] = (struct client){ .run = run, .number = i };
        err = weir_post(run->clients, 0, connect_client, &run->all[i]);
    }
    return err;
}

static bool has_failed(void *run)
{
    return ((struct run *)run)->wrong != 0;
}

/* Up to that time, or to the first wrong answer. */
static int go_to(struct run *run, uint64_t until_ns)
{
    int err = weir_sim_run_until(run->sim, has_failed, run, until_ns);
    return err == WEIR_ETIMEDOUT ? 0 : err;
}

static int go(struct run *run)
{
    const struct settings *settings = run->settings;
    uint64_t end_ns = settings->seconds * UINT64_C(1000000000);
    uint64_t cut_ns = settings->cut_ms * UINT64_C(1000000);
    int err = 0;
    if (cut_ns != 0) {
        err = go_to(run, end_ns / 2);
        if (err == 0) err = weir_sim_partition(run->sim, SERVER_HOST, NULL);
        if (err == 0) err = go_to(run, end_ns / 2 + cut_ns);
        if (err == 0) err = weir_sim_heal(run->sim, SERVER_HOST, NULL);
    }
    return err == 0 ? go_to(run, end_ns) : err;
}

static bool run_seed(const struct settings *settings)
{
    struct run run = { .settings = settings };
    int err = start(&run);
    if (err == 0) err = go(&run);
    if (err != 0) fprintf(stderr, "simulated_echo: %s\n", weir_strerror(err));
    printf("seed %" PRIu64 ": sent %" PRIu64 " answered %" PRIu64 " wrong %" PRIu64 " lost connections %" PRIu64
           " virtual ms %" PRIu64 " trace %016" PRIx64 "\n",
           settings->network.seed, run.sent, run.answered, run.wrong, run.lost, weir_sim_now_ns(run.sim) / 1000000,
           weir_sim_trace_hash(run.sim));
    weir_runtime_destroy(run.clients);
    weir_runtime_destroy(run.server);
    weir_sim_destroy(run.sim);
    free(run.all);
    return err == 0 && run.wrong == 0;
}

static void print_trace(const char *line, void *data)
{
    (void)data;
    puts(line);
}

static void read_settings(struct settings *settings, int argc, char **argv)
{
    weir_sim_options *network = &settings->network;
    uint32_t latency_max_ms = 80;
    const struct option options[] = {
        { "--seed", "N", "the first seed", .number = &settings->seed },
        { "--seeds", "N", "so many seeds, one after the other, up to the first that fails",
          .number = &settings->seeds },
        { "--clients", "N", "connections", .number = &settings->clients, .max = 1000000 },
        { "--seconds", "S", "virtual time that a seed runs", .number = &settings->seconds },
        { "--interval-ms", "MS", "between two lines of a client", .number = &settings->interval_ms },
        { "--workers", "N", "of the server; 0: 1", .number = &settings->workers, .max = 256 },
        { "--server", NULL, "naive: one with a mistake in it", .choice = &settings->server, .choices = servers },
        { "--latency-max-ms", "MS", "one way; the least is 0.2 ms", .number = &latency_max_ms, .max = 60000 },
        { "--partial", "N", "reads and writes of 1000 that are cut short", .number = &network->partial_per_mille,
          .max = 1000 },
        { "--loss", "N", "segments of 1000 that are lost", .number = &network->loss_per_mille, .max = 1000 },
        { "--reset", "N", "deliveries of 1000 that a reset answers", .number = &network->reset_per_mille, .max = 1000 },
        { "--refuse", "N", "connects of 1000 that are refused", .number = &network->refuse_per_mille, .max = 1000 },
        { "--cut-ms", "MS", "the server is cut off for so long", .number = &settings->cut_ms },
        { "--trace", NULL, "print what happens on the network", .flag = &settings->trace },
        { 0 },
    };
    options_read("tests an echo server in virtual time, over a network made of a seed.", options, argc, argv);
    if (settings->interval_ms == 0) settings->interval_ms = 1;
    network->latency_us_max = latency_max_ms * 1000;
    network->latency_us_min = network->latency_us_max < 200 ? network->latency_us_max : 200;
    if (settings->trace) network->trace = print_trace;
}

int main(int argc, char **argv)
{
    struct settings settings = {
        .seed = 1, .seeds = 1, .clients = 20, .seconds = 60, .interval_ms = 1000, .workers = 4
    };
    read_settings(&settings, argc, argv);
    for (uint32_t i = 0; i < settings.seeds; i++) {
        settings.network.seed = (uint64_t)settings.seed + i;
        if (!run_seed(&settings)) return 1;
    }
    return 0;
}
