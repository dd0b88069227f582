/* Links over the system's own network: by name, through restarts, closed by other threads. When they try again and in
 * which order things come is in link_sim_test.c, to the millisecond. */
#include <stdio.h>
#include <string.h>

#include "core/connecting.h"

static void echo(weir_conn *conn, const void *bytes, size_t size)
{
    weir_send(conn, bytes, size);
}

static const weir_link_options hasty = { .backoff_ms_min = 1, .backoff_ms_max = 20 };

/* link_to: a link of the world's protocol to that port of a host. */
static weir_link *link_to(world *w, const char *host, uint16_t port, const weir_link_options *options)
{
    char address[300];
    weir_link *link;
    (void)snprintf(address, sizeof address, "%s:%u", host, port);
    weir_protocol protocol = world_wrap(w, &w->protocol);
    int error = weir_link_open(w->runtime, address, &protocol, options, &link);
    cr_assert_eq(error, 0, "%s: %s", address, weir_error_name(error));
    return link;
}

static weir_link_status status_of(weir_link *link)
{
    weir_link_status status;
    weir_link_get_status(link, &status);
    return status;
}

static void talk(bool manual, const char *host)
{
    world server = { .protocol.on_message = echo };
    world client = { .no_listener = true, .manual = manual };
    world_start(&server);
    world_start(&client);
    weir_link *link = link_to(&client, host, server.port, NULL);
    WORLD_AWAIT(&client, weir_link_conn(link) != 0);
    cr_assert_eq(weir_link_send(link, "hello", 5), 0);
    WORLD_AWAIT(&client, client.message_bytes == 5);
    weir_link_close(link);
    WORLD_AWAIT(&client, client.closed >= 1);
    cr_assert_eq(client.error, WEIR_ECLOSED);
    world_stop(&client);
    world_stop(&server);
}

Test(link, is_up_and_talks)
{
    talk(false, "127.0.0.1");
}

Test(link, of_a_name_is_up_and_talks)
{
    talk(false, "localhost"); /* ::1, where it comes first, refuses: the server is on 127.0.0.1 alone */
}

Test(link, of_a_polled_runtime_is_up_and_talks)
{
    talk(true, "localhost");
}

Test(link, to_an_unknown_name_says_so_and_tries_again)
{
    world w = { .no_listener = true };
    world_start(&w);
    weir_link *link = link_to(&w, "nobody.invalid", 7000, &hasty);
    WORLD_AWAIT(&w, w.closed_unopened >= 3);
    weir_link_status status = status_of(link);
    cr_assert(status.failure.error == WEIR_EAI_NONAME || status.failure.error == WEIR_EAI_AGAIN, "%s",
              status.failure.text);
    cr_assert_eq(status.failure.step, WEIR_STEP_RESOLVE);
    cr_assert_neq(status.failure.system_error, 0);
    cr_assert_not_null(strstr(status.failure.text, "nobody.invalid:7000: resolve"), "%s", status.failure.text);
    cr_assert_geq(status.attempts, 3);
    cr_assert_eq(weir_link_send(link, "x", 1), WEIR_ESTATE);
    world_stop(&w);
}

Test(link, comes_back_after_each_restart_of_the_server)
{
    uint16_t port = host_free_port();
    char address[32];
    (void)snprintf(address, sizeof address, "127.0.0.1:%u", port);
    world client = { .no_listener = true };
    world_start(&client);
    weir_link *link = link_to(&client, "127.0.0.1", port, &hasty);
    for (unsigned round = 1; round <= 20; round++) {
        world server = { .protocol.on_message = echo, .address = address };
        world_start(&server);
        WORLD_AWAIT(&client, weir_link_conn(link) != 0);
        cr_assert_eq(weir_link_send(link, "hello", 5), 0);
        WORLD_AWAIT(&client, client.message_bytes == (uint64_t)round * 5);
        world_stop(&server);
        WORLD_AWAIT(&client, weir_link_conn(link) == 0);
    }
    cr_assert_eq(status_of(link).ups, 20);
    world_stop(&client);
}

Test(link, lives_on_the_worker_that_was_asked_for)
{
    world server = { .protocol.on_message = echo };
    world client = { .no_listener = true, .runtime_options.workers = 3 };
    world_start(&server);
    world_start(&client);
    for (uint32_t worker = 1; worker <= 3; worker++) {
        weir_link_options options = { .connect.worker = worker };
        weir_link *link = link_to(&client, "127.0.0.1", server.port, &options);
        WORLD_AWAIT(&client, weir_link_conn(link) != 0);
        cr_assert_eq(weir_link_conn(link) >> 56, worker - 1);
    }
    world_stop(&client);
    world_stop(&server);
}

/* ---- other threads ---- */

enum { THREADS = 4, ROUNDS = 40 };

typedef struct churner {
    world *client;
    uint16_t port;
    unsigned number;
    wr_thread thread;
    _Atomic unsigned calls; /* of on_state */
    _Atomic bool closed;
} churner;

static void count_state(weir_link *link, weir_link_state state, void *data)
{
    churner *c = data;
    (void)link;
    (void)state;
    atomic_fetch_add(&c->calls, 1);
}

static void churn(void *arg)
{
    churner *c = arg;
    weir_protocol protocol = { .framing = weir_framing_line() };
    char address[32];
    for (unsigned round = 0; round < ROUNDS; round++) {
        weir_link *link;
        /* Half of them to where nobody listens. */
        (void)snprintf(address, sizeof address, "%s:%u", round % 3 ? "127.0.0.1" : "localhost",
                       round % 2 ? c->port : 1);
        const weir_link_options options = { .backoff_ms_max = 3, .on_state = count_state, .data = c };
        cr_assert_eq(weir_link_open(c->client->runtime, address, &protocol, &options, &link), 0);
        unsigned patience = (round + c->number) % 5;
        for (unsigned i = 0; i < patience; i++) {
            weir_link_status status;
            weir_link_get_status(link, &status);
            int error = weir_link_send(link, "x\n", 2);
            cr_assert(error == 0 || error == WEIR_ESTATE);
            wr_os_sleep_ms(1);
        }
        weir_link_close(link);
    }
}

Test(link, opened_asked_and_closed_by_several_threads_leaves_nothing, .timeout = 60)
{
    world server = { .protocol.on_message = echo };
    world client = { .no_listener = true, .runtime_options.workers = 2 };
    world_start(&server);
    world_start(&client);
    churner churners[THREADS];
    for (unsigned i = 0; i < THREADS; i++) {
        churners[i] = (churner){ .client = &client, .port = server.port, .number = i };
        cr_assert_eq(wr_thread_start(&churners[i].thread, "churner", churn, &churners[i]), 0);
    }
    unsigned calls = 0;
    for (unsigned i = 0; i < THREADS; i++) {
        wr_thread_join(&churners[i].thread);
        calls += churners[i].calls;
    }
    cr_assert_gt(calls, 0);
    WORLD_AWAIT(&client, world_stats(&client).connections == 0);
    world_stop(&client);
    world_stop(&server);
}

/* ---- stop ---- */

Test(link, whose_next_attempt_is_an_hour_away_does_not_hold_up_a_stop)
{
    world w = { .no_listener = true };
    world_start(&w);
    const weir_link_options patient = { .backoff_ms_min = 3600000, .backoff_ms_max = 3600000 };
    weir_link *link = link_to(&w, "127.0.0.1", 1, &patient);
    WORLD_AWAIT(&w, w.closed_unopened == 1 && status_of(link).state == WEIR_LINK_WAITING);
    uint64_t began_ns = wr_os_now_ns();
    world_stop(&w);
    cr_assert_lt(wr_os_now_ns() - began_ns, UINT64_C(60000000000));
}

/* ---- refused at once ---- */

Test(link, refuses_what_makes_no_sense_and_says_why)
{
    static const struct {
        const char *address;
        weir_link_options options;
        int error;
        const char *word;
    } bad[] = {
        { NULL, { 0 }, WEIR_EINVAL, "NULL" },
        { "local host:80", { 0 }, WEIR_EADDRESS, "neither" },
        { "localhost:0", { 0 }, WEIR_EINVAL, "port 0" },
        { "localhost:80", { .backoff_ms_min = UINT32_MAX }, WEIR_EINVAL, "backoff_ms_min" },
        { "localhost:80", { .backoff_ms_max = UINT32_MAX }, WEIR_EINVAL, "backoff_ms_max" },
        { "localhost:80", { .up_after_ms = UINT32_MAX }, WEIR_EINVAL, "up_after_ms" },
        { "localhost:80", { .connect.timeout_ms = UINT32_MAX }, WEIR_EINVAL, "timeout_ms" },
        { "localhost:80", { .connect.worker = 9 }, WEIR_EINVAL, "worker" },
        { "localhost:80", { .connect.local_address_count = 1 }, WEIR_EINVAL, "local_address" },
    };
    const weir_protocol protocol = { 0 };
    world w = { .no_listener = true };
    world_start(&w);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        weir_failure failure;
        weir_link_options options = bad[i].options;
        weir_link *link = (weir_link *)&w;
        options.connect.failure = &failure;
        cr_expect_eq(weir_link_open(w.runtime, bad[i].address, &protocol, &options, &link), bad[i].error);
        cr_expect_null(link);
        cr_expect_eq(failure.error, bad[i].error);
        cr_expect_eq(failure.step, WEIR_STEP_OPTIONS);
        cr_expect_not_null(strstr(failure.text, bad[i].word), "\"%s\" does not say %s", failure.text, bad[i].word);
    }
    weir_link *link;
    cr_assert_eq(weir_link_open(w.runtime, "localhost:80", NULL, NULL, &link), WEIR_EINVAL);
    cr_assert_eq(weir_link_open(NULL, "localhost:80", &protocol, NULL, &link), WEIR_EINVAL);
    cr_assert_eq(weir_link_open(w.runtime, "localhost:80", &protocol, NULL, NULL), WEIR_EINVAL);
    weir_link_close(NULL);
    world_stop(&w);
}

Test(link, is_refused_when_the_runtime_has_max_connections_and_comes_up_when_one_has_gone)
{
    world server = { .protocol.on_message = echo };
    world client = { .no_listener = true, .runtime_options.max_connections = 1 };
    world_start(&server);
    world_start(&client);
    weir_conn_id first = connect_to(&client, server.port, NULL);
    WORLD_AWAIT(&client, client.opened == 1);
    weir_link *link = link_to(&client, "127.0.0.1", server.port, &hasty);
    WORLD_AWAIT(&client, status_of(link).failure.error == WEIR_ELIMIT);
    world_close(&client, first);
    WORLD_AWAIT(&client, weir_link_conn(link) != 0);
    world_stop(&client);
    world_stop(&server);
}

static _Atomic unsigned with_link;

static void look_at_link(weir_conn *conn)
{
    if (weir_conn_link(conn)) atomic_fetch_add(&with_link, 1);
}

Test(link, is_not_that_of_other_connections)
{
    world server = { .protocol.on_open = look_at_link };
    world client = { .no_listener = true, .protocol.on_open = look_at_link };
    world_start(&server);
    world_start(&client);
    connect_to(&client, server.port, NULL);
    WORLD_AWAIT(&client, client.opened == 1);
    WORLD_AWAIT(&server, server.opened == 1);
    cr_assert_eq(with_link, 0);
    world_stop(&client);
    world_stop(&server);
}
