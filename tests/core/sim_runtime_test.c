/* <weir/sim.h>: what the functions of a runtime do in a simulator. */
#include <stdio.h>
#include <string.h>

#include "core/simulated.h"

static weir_runtime *make(weir_sim *sim, unsigned workers)
{
    weir_runtime *runtime;
    cr_assert_eq(weir_runtime_create(&runtime, &(weir_runtime_options){ .workers = workers, .sim = sim }), 0);
    return runtime;
}

static weir_sim *make_sim(void)
{
    weir_sim *sim;
    cr_assert_eq(weir_sim_create(&sim, NULL), 0);
    return sim;
}

static void stop(weir_runtime *runtime, void *data)
{
    (void)data;
    weir_runtime_stop(runtime);
}

static void nothing(weir_runtime *runtime, void *data)
{
    (void)runtime, (void)data;
}

Test(sim_runtime, has_one_worker_unless_it_is_asked_for_more)
{
    weir_sim *sim = make_sim();
    weir_runtime *one = make(sim, 0), *seven = make(sim, 7);
    cr_assert_eq(weir_runtime_workers(one), 1); /* on a machine of any size */
    cr_assert_eq(weir_runtime_workers(seven), 7);
    weir_runtime_destroy(one);
    weir_runtime_destroy(seven);
    weir_sim_destroy(sim);
}

static void keep_line(weir_log_level level, const char *text, void *data)
{
    (void)level;
    if (strstr(text, "workers")) snprintf(data, 200, "%s", text);
}

Test(sim_runtime, says_that_it_is_simulated)
{
    char line[200] = "";
    weir_sim *sim = make_sim();
    weir_runtime *runtime;
    weir_runtime_options options = { .workers = 2, .sim = sim, .log = keep_line, .log_data = line };
    cr_assert_eq(weir_runtime_create(&runtime, &options), 0);
    cr_assert_not_null(strstr(line, "2 workers on sim"), "%s", line);
    weir_runtime_destroy(runtime);
    weir_sim_destroy(sim);
}

Test(sim_runtime, has_the_virtual_time_for_its_clock)
{
    weir_sim *sim = NULL;
    weir_runtime *runtime = NULL;
    cr_assert_eq(weir_sim_create(&sim, NULL), 0);
    cr_assert_eq(weir_runtime_create(&runtime, &(weir_runtime_options){ .sim = sim }), 0);
    uint64_t start_ns = weir_now_ns(runtime);
    cr_assert_eq(weir_sim_advance(sim, 12345), 0);
    cr_assert_eq(weir_now_ns(runtime) - start_ns, 12345);
    weir_runtime_destroy(runtime);
    weir_sim_destroy(sim);
}

Test(sim_runtime, runs_until_it_is_stopped_while_others_go_on)
{
    simulated s = { 0 };
    simulated_open(&s);
    weir_conn_id id = simulated_connect(&s);
    simulated_say(&s, id, "hello");
    cr_assert_eq(weir_post_after(s.clients, 0, 1000, stop, NULL), 0);
    cr_assert_eq(weir_runtime_run(s.clients), 0);
    cr_assert_eq(weir_sim_now_ns(s.sim) / S, 1);
    cr_assert_eq(s.at_client.messages, 1);
    cr_assert_eq(s.at_client.error, WEIR_ESTOPPED);
    cr_assert_eq(weir_runtime_run(s.clients), WEIR_ESTATE); /* once */
    cr_assert_eq(weir_post(s.clients, 0, nothing, NULL), WEIR_ESTOPPED);
    simulated_close(&s);
}

Test(sim_runtime, gives_up_when_nothing_can_stop_it_any_more)
{
    simulated s = { 0 };
    simulated_open(&s);
    cr_assert_eq(weir_runtime_run(s.server), WEIR_ESTATE);
    (void)simulated_connect(&s); /* it lives on */
    cr_assert_eq(weir_sim_advance(s.sim, S), 0);
    cr_assert_eq(s.at_server.opened, 1);
    simulated_close(&s);
}

Test(sim_runtime, starts_without_a_thread_and_waits_in_virtual_time)
{
    weir_sim *sim = make_sim();
    weir_runtime *runtime = make(sim, 3);
    cr_assert_eq(weir_runtime_wait(runtime), WEIR_ESTATE); /* not started */
    cr_assert_eq(weir_runtime_start(runtime), 0);
    cr_assert_eq(weir_runtime_start(runtime), WEIR_ESTATE);
    cr_assert_eq(weir_sim_now_ns(sim), 0);
    cr_assert_eq(weir_post_after(runtime, 2, 5000, stop, NULL), 0);
    cr_assert_eq(weir_runtime_wait(runtime), 0);
    cr_assert_eq(weir_sim_now_ns(sim) / S, 5);
    weir_runtime_destroy(runtime);
    weir_sim_destroy(sim);
}

Test(sim_runtime, ends_by_itself_when_it_was_stopped_in_a_run)
{
    weir_sim *sim = make_sim();
    weir_runtime *runtime = make(sim, 3);
    weir_runtime_stop(runtime);
    cr_assert_eq(weir_sim_run(sim, WEIR_SIM_FOREVER), 0);
    cr_assert_eq(weir_post(runtime, 0, nothing, NULL), WEIR_ESTOPPED);
    weir_runtime_destroy(runtime);
    weir_sim_destroy(sim);
}

static unsigned stopped_late;

static void post_to_the_ended(weir_runtime *runtime, void *data)
{
    weir_runtime *other = data;
    (void)runtime;
    for (unsigned i = 0; i < weir_runtime_workers(other); i++)
        if (weir_post(other, i, nothing, NULL) == 0) stopped_late++;
}

/* One worker has finished and another not: what is sent to the first must not keep the simulator busy. */
Test(sim_runtime, drops_what_comes_to_a_worker_that_has_finished)
{
    for (uint64_t seed = 0; seed < 50; seed++) {
        weir_sim *sim;
        cr_assert_eq(weir_sim_create(&sim, &(weir_sim_options){ .seed = seed }), 0);
        weir_runtime *ending = make(sim, 3), *other = make(sim, 1);
        weir_runtime_stop(ending);
        for (int i = 0; i < 10; i++) cr_assert_eq(weir_post(other, 0, post_to_the_ended, ending), 0);
        cr_assert_eq(weir_sim_run(sim, WEIR_SIM_FOREVER), 0);
        weir_runtime_destroy(ending);
        weir_runtime_destroy(other);
        weir_sim_destroy(sim);
    }
    cr_assert_gt(stopped_late, 0);
}

/* A peer that is cut off neither reads nor closes: the deadline of the stop, in virtual time, ends it. */
Test(sim_runtime, drains_in_virtual_time_when_it_is_destroyed)
{
    simulated s = { 0 };
    simulated_open(&s);
    weir_conn_id id = simulated_connect(&s);
    simulated_say(&s, id, "hello");
    cr_assert_eq(weir_sim_advance(s.sim, S), 0);
    cr_assert_eq(weir_sim_partition(s.sim, "10.0.0.1", NULL), 0);
    uint64_t before_ns = weir_sim_now_ns(s.sim);
    weir_runtime_destroy(s.server);
    cr_assert_eq(s.at_server.closed, 1);
    cr_assert_eq(s.at_server.error, WEIR_ESTOPPED);
    cr_assert_eq((weir_sim_now_ns(s.sim) - before_ns) / S, 5);
    weir_runtime_destroy(s.clients);
    weir_sim_destroy(s.sim);
}

Test(sim_runtime, is_destroyed_before_it_ever_ran)
{
    weir_sim *sim = make_sim();
    weir_runtime *runtime = make(sim, 4);
    weir_protocol protocol = { 0 };
    cr_assert_eq(weir_listen(runtime, "10.0.0.1:80", &protocol, NULL, NULL), 0);
    cr_assert_eq(weir_connect(runtime, "10.0.0.1:80", &protocol, NULL, NULL), 0);
    cr_assert_eq(weir_post(runtime, 3, nothing, NULL), 0);
    weir_runtime_destroy(runtime);
    weir_sim_destroy(sim);
}

/* ---- weir_poll ---- */

static unsigned polled;

static void count(weir_runtime *runtime, void *data)
{
    (void)runtime, (void)data;
    polled++;
}

Test(sim_poll, waits_in_virtual_time_and_lets_the_others_go_on)
{
    weir_sim *sim = make_sim();
    weir_runtime *manual, *other = make(sim, 2);
    cr_assert_eq(weir_runtime_create(&manual, &(weir_runtime_options){ .manual = true, .sim = sim }), 0);
    cr_assert_eq(weir_poll(manual, 0), 0);
    cr_assert_eq(weir_sim_now_ns(sim), 0);
    cr_assert_eq(weir_post_after(manual, 0, 50, count, NULL), 0);
    cr_assert_eq(weir_post_after(other, 1, 20, count, NULL), 0);
    cr_assert_eq(weir_poll(manual, 0), 1); /* the post itself, which sets a timer */
    cr_assert_eq(weir_poll(manual, 30), 0);
    cr_assert_eq(weir_sim_now_ns(sim), 30 * MS);
    cr_assert_eq(polled, 1); /* the other's */
    cr_assert_eq(weir_poll(manual, 1000), 1);
    cr_assert_eq(polled, 2);
    cr_assert_eq(weir_sim_now_ns(sim), 51 * MS);
    cr_assert_eq(weir_poll(manual, -1), 0); /* nothing can come any more */
    weir_runtime_destroy(manual);
    weir_runtime_destroy(other);
    weir_sim_destroy(sim);
}

static void say_hello(weir_conn *conn)
{
    weir_send(conn, "hello", 5);
}

static void echo(weir_conn *conn, const void *bytes, size_t size)
{
    weir_send(conn, bytes, size);
}

static void close_then(weir_conn *conn, const void *bytes, size_t size)
{
    (void)bytes, (void)size;
    polled++;
    weir_close(conn);
}

Test(sim_poll, serves_connections)
{
    weir_sim *sim = make_sim();
    weir_runtime *manual, *other = make(sim, 2);
    const weir_protocol server = { .on_message = echo }, client = { .on_open = say_hello, .on_message = close_then };
    cr_assert_eq(weir_runtime_create(&manual, &(weir_runtime_options){ .manual = true, .sim = sim }), 0);
    cr_assert_eq(weir_listen(manual, "10.0.0.1:80", &server, NULL, NULL), 0);
    for (int i = 0; i < 10; i++) cr_assert_eq(weir_connect(other, "10.0.0.1:80", &client, NULL, NULL), 0);
    while (weir_sim_now_ns(sim) < S) cr_assert_geq(weir_poll(manual, 1000), 0);
    cr_assert_eq(polled, 10);
    weir_stats stats;
    weir_stats_read(manual, &stats);
    cr_assert_eq(stats.connections, 0);
    weir_runtime_destroy(other);
    weir_runtime_destroy(manual);
    weir_sim_destroy(sim);
}

/* ---- what a callback must not do ---- */

static int errors[4];

static bool yes(void *data)
{
    (void)data;
    return true;
}

static void run_inside(weir_runtime *runtime, void *data)
{
    weir_sim *sim = data;
    errors[0] = weir_sim_run(sim, WEIR_SIM_FOREVER);
    errors[1] = weir_sim_run_until(sim, yes, NULL, WEIR_SIM_FOREVER);
    errors[2] = weir_sim_advance(sim, 1);
    errors[3] = weir_runtime_run(runtime);
    weir_sim_partition(sim, "10.0.0.1", NULL); /* this it may */
    weir_sim_heal(sim, NULL, NULL);
}

Test(sim_runtime, is_not_run_from_a_callback)
{
    weir_sim *sim = make_sim();
    weir_runtime *runtime = make(sim, 1);
    cr_assert_eq(weir_post(runtime, 0, run_inside, sim), 0);
    cr_assert_eq(weir_sim_run(sim, WEIR_SIM_FOREVER), 0);
    for (int i = 0; i < 4; i++) cr_assert_eq(errors[i], WEIR_ESTATE);
    weir_runtime_destroy(runtime);
    weir_sim_destroy(sim);
}

/* ---- the rest of the face ---- */

static void post_for_ever(weir_runtime *runtime, void *data)
{
    weir_post(runtime, 0, post_for_ever, data);
}

Test(sim_runtime, that_keeps_itself_busy_is_noticed, .timeout = 120)
{
    weir_sim *sim = make_sim();
    weir_runtime *runtime = make(sim, 1);
    cr_assert_eq(weir_post(runtime, 0, post_for_ever, NULL), 0);
    cr_assert_eq(weir_sim_run(sim, S), WEIR_ELIMIT);
    cr_assert_eq(weir_sim_now_ns(sim), 0);
    weir_runtime_destroy(runtime);
    weir_sim_destroy(sim);
}

Test(sim_runtime, listens_with_either_placement)
{
    for (int placement = WEIR_PLACEMENT_SPREAD; placement <= WEIR_PLACEMENT_BALANCED; placement++) {
        simulated s = { .listen_options = { .placement = (weir_placement)placement } };
        simulated_open(&s);
        for (int i = 0; i < 40; i++) (void)simulated_connect(&s);
        cr_assert_eq(weir_sim_run(s.sim, S), 0);
        cr_assert_eq(s.at_server.opened, 40);
        for (unsigned worker = 0; worker < SERVER_WORKERS; worker++) {
            weir_stats stats;
            cr_assert_eq(weir_stats_read_worker(s.server, worker, &stats), 0);
            if (placement == WEIR_PLACEMENT_BALANCED) cr_assert_eq(stats.connections, 20);
            cr_assert_gt(stats.connections, 5);
        }
        simulated_close(&s);
    }
}

Test(sim_runtime, listens_on_a_path_without_making_a_file)
{
    weir_sim *sim = make_sim();
    weir_runtime *runtime = make(sim, 2);
    weir_protocol server = { .on_message = echo }, client = { .on_open = say_hello, .on_message = close_then };
    weir_listener *listener;
    polled = 0;
    cr_assert_eq(weir_listen(runtime, "unix:weir-simulated.sock", &server, NULL, &listener), 0);
    cr_assert_eq(weir_listen(runtime, "unix:weir-simulated.sock", &server, NULL, NULL), WEIR_EADDRINUSE);
    cr_assert_eq(weir_connect(runtime, "unix:weir-simulated.sock", &client, NULL, NULL), 0);
    cr_assert_eq(weir_sim_run(sim, S), 0);
    cr_assert_eq(polled, 1);
    cr_assert_null(fopen("weir-simulated.sock", "r"));
    weir_listener_close(listener);
    cr_assert_eq(weir_sim_run(sim, 2 * S), 0);
    cr_assert_eq(weir_listen(runtime, "unix:weir-simulated.sock", &server, NULL, NULL), 0);
    weir_runtime_destroy(runtime);
    weir_sim_destroy(sim);
}

Test(sim_runtime, keeps_its_limits)
{
    simulated s = { .listen_options = { .max_per_address = 2, .accept_rate = 10 } };
    simulated_open(&s);
    for (int i = 0; i < 5; i++) (void)simulated_connect(&s);
    cr_assert_eq(weir_sim_run(s.sim, 10 * S), 0);
    weir_stats stats;
    weir_stats_read(s.server, &stats);
    cr_assert_eq(stats.connections, 2);
    cr_assert_eq(stats.refused_address, 3);
    simulated_close(&s);
}
