/* What a partition of the simulated network leaves behind when it has healed. */
#include <stdlib.h>
#include <string.h>
#include <weir/sim.h>

#include "core/world.h"

#define MS UINT64_C(1000000)

enum { LARGE = 512 * 1024 };

typedef struct scene {
    weir_sim *sim;
    weir_runtime *server, *client;
    weir_conn_id server_id, client_id;
    size_t received; /* by the client */
    int server_error, client_error;
    uint64_t client_closed_ns;
    bool greets, pauses;
} scene;

static void server_open(weir_conn *conn)
{
    scene *s = weir_conn_data(conn);
    s->server_id = weir_conn_get_id(conn);
    if (s->greets) cr_assert_eq(weir_send(conn, "hello", 5), 0);
}

static void server_close(weir_conn *conn, weir_reason reason)
{
    ((scene *)weir_conn_data(conn))->server_error = reason.error;
}

static void client_open(weir_conn *conn)
{
    if (((scene *)weir_conn_data(conn))->pauses) weir_conn_pause(conn);
}

static void client_message(weir_conn *conn, const void *bytes, size_t size)
{
    (void)bytes;
    ((scene *)weir_conn_data(conn))->received += size;
}

static void client_close(weir_conn *conn, weir_reason reason)
{
    scene *s = weir_conn_data(conn);
    s->client_error = reason.error;
    s->client_closed_ns = weir_sim_now_ns(s->sim);
}

static void begin(scene *s, const weir_connect_options *options)
{
    weir_sim_options network = { .latency_us_min = 1000, .latency_us_max = 1000 };
    weir_protocol server = { .on_open = server_open, .on_close = server_close, .data = s };
    weir_protocol client = {
        .on_open = client_open, .on_message = client_message, .on_close = client_close, .data = s
    };
    cr_assert_eq(weir_sim_create(&s->sim, &network), 0);
    weir_runtime_options in_sim = { .sim = s->sim };
    cr_assert_eq(weir_runtime_create(&s->server, &in_sim), 0);
    cr_assert_eq(weir_runtime_create(&s->client, &in_sim), 0);
    cr_assert_eq(weir_listen(s->server, "10.0.0.1:7777", &server, NULL, NULL), 0);
    cr_assert_eq(weir_connect(s->client, "10.0.0.1:7777", &client, options, &s->client_id), 0);
}

static void run_to(scene *s, uint64_t ns)
{
    cr_assert_eq(weir_sim_run(s->sim, ns), 0);
}

static void end(scene *s)
{
    weir_runtime_destroy(s->client);
    weir_runtime_destroy(s->server);
    weir_sim_destroy(s->sim);
}

Test(partition, of_an_answer_does_not_hold_up_the_timeout_of_a_connect)
{
    for (uint64_t timeout_ms = 1500; timeout_ms < 8000; timeout_ms += 500) {
        scene s = { .greets = false };
        weir_connect_options options = { .timeout_ms = (uint32_t)timeout_ms };
        begin(&s, &options);
        run_to(&s, 3 * MS / 2); /* the server has the connection, and its answer is on the way */
        cr_assert_eq(weir_sim_partition(s.sim, "10.0.0.1", NULL), 0);
        run_to(&s, 60000 * MS);
        cr_assert_eq(s.client_error, WEIR_ETIMEDOUT);
        cr_assert_eq(s.client_closed_ns, timeout_ms * MS);
        end(&s);
    }
}

Test(partition, of_an_answer_loses_nothing_of_what_the_server_says_first)
{
    scene s = { .greets = true };
    begin(&s, NULL);
    run_to(&s, 3 * MS / 2);
    cr_assert_eq(weir_sim_partition(s.sim, "10.0.0.1", NULL), 0);
    run_to(&s, 100 * MS); /* its greeting stands before the cut too */
    cr_assert_eq(weir_sim_heal(s.sim, NULL, NULL), 0);
    run_to(&s, 60000 * MS);
    cr_assert_eq(s.received, 5);
    end(&s);
}

Test(partition, that_swallows_a_reset_leaves_no_send_waiting_for_ever)
{
    static char bytes[LARGE];
    scene s = { .pauses = true };
    begin(&s, NULL);
    run_to(&s, 10 * MS);
    cr_assert_eq(weir_send_to(s.server, s.server_id, bytes, sizeof bytes), 0);
    run_to(&s, 50 * MS); /* more than the window: the rest waits for room */
    cr_assert_eq(weir_sim_partition(s.sim, "10.0.0.1", NULL), 0);
    cr_assert_eq(weir_abort_id(s.client, s.client_id), 0);
    run_to(&s, 100 * MS);
    cr_assert_eq(s.client_error, WEIR_EABORTED);
    cr_assert_eq(s.server_error, 0);
    cr_assert_eq(weir_sim_heal(s.sim, NULL, NULL), 0);
    run_to(&s, 60000 * MS);
    cr_assert_eq(s.server_error, WEIR_ECONNRESET);
    end(&s);
}
