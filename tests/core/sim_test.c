/* <weir/sim.h>: each option has its effect, the clock, cuts and the trace. */
#include <stdlib.h>
#include <string.h>

#include "core/simulated.h"

/* ---- options ---- */

Test(sim_options, that_cannot_be_are_refused)
{
    const weir_sim_options bad[] = {
        { .latency_us_min = 2, .latency_us_max = 1 },
        { .partial_per_mille = 1001 },
        { .loss_per_mille = 1001 },
        { .reset_per_mille = 1001 },
        { .refuse_per_mille = 1001 },
        { .emfile_per_mille = 1001 },
        { .enobufs_per_mille = 1001 },
        { .enomem_per_mille = 1001 },
        { .datagram_loss_per_mille = 1001 },
        { .datagram_duplicate_per_mille = 1001 },
        { .datagram_reorder_per_mille = 1001 },
    };
    weir_sim *sim, *none = NULL;
    cr_assert_eq(weir_sim_create(&sim, NULL), 0);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        cr_assert_eq(weir_sim_create(&none, &bad[i]), WEIR_EINVAL);
        cr_assert_null(none);
        cr_assert_eq(weir_sim_change(sim, &bad[i]), WEIR_EINVAL);
    }
    cr_assert_eq(weir_sim_create(NULL, NULL), WEIR_EINVAL);
    cr_assert_eq(weir_sim_change(sim, NULL), 0);
    weir_sim_destroy(sim);
    weir_sim_destroy(NULL);
    cr_assert_eq(weir_sim_now_ns(NULL), 0);
    cr_assert_eq(weir_sim_trace_hash(NULL), 0);
}

/* Opens, sends a line, and runs until nothing more happens. */
static void talk(simulated *s)
{
    simulated_open(s);
    weir_conn_id id = simulated_connect(s);
    simulated_say(s, id, "hello");
    cr_assert_eq(weir_sim_run(s->sim, WEIR_SIM_FOREVER), 0);
}

Test(sim_options, latency_is_100_us_by_default)
{
    simulated s = { 0 };
    talk(&s);
    cr_assert_eq(s.at_client.opened_ns, 200000);
    cr_assert_eq(s.at_server.message_ns, 300000);
    cr_assert_eq(s.at_client.message_ns, 400000);
    simulated_close(&s);
}

Test(sim_options, latency_min_alone_is_the_latency)
{
    simulated s = { .network = { .latency_us_min = 30000 } };
    talk(&s);
    cr_assert_eq(s.at_client.opened_ns, 60 * MS);
    cr_assert_eq(s.at_client.message_ns, 120 * MS);
    simulated_close(&s);
}

Test(sim_options, latency_max_makes_it_vary)
{
    uint64_t least = UINT64_MAX, most = 0;
    for (uint64_t seed = 0; seed < 50; seed++) {
        simulated s = { .network = { .seed = seed, .latency_us_min = 1000, .latency_us_max = 9000 } };
        talk(&s);
        if (s.at_client.opened_ns < least) least = s.at_client.opened_ns;
        if (s.at_client.opened_ns > most) most = s.at_client.opened_ns;
        simulated_close(&s);
    }
    cr_assert(least >= 2 * MS && most <= 18 * MS);
    cr_assert_gt(most - least, 5 * MS);
}

Test(sim_options, bytes_per_second_slows_what_is_sent)
{
    simulated s = { .network = { .bytes_per_second = 10 } };
    talk(&s);
    cr_assert_eq(s.at_server.message_ns - s.at_client.opened_ns, S / 2 + 100000);
    cr_assert_eq(s.at_client.message_ns - s.at_server.message_ns, S / 2 + 100000);
    simulated_close(&s);
}

static void pause_reading(weir_conn *conn, const void *bytes, size_t size)
{
    (void)bytes, (void)size;
    weir_conn_pause(conn);
}

static size_t queued;

static void read_queued(weir_runtime *runtime, void *data)
{
    weir_stats stats;
    (void)data;
    weir_stats_read(runtime, &stats);
    queued = stats.queued;
}

Test(sim_options, window_bounds_what_a_peer_that_does_not_read_is_sent)
{
    static char much[10000];
    memset(much, 'x', sizeof much - 1);
    simulated s = { .network = { .window = 3000 }, .server_protocol = { .on_message = pause_reading } };
    simulated_open(&s);
    weir_conn_id id = simulated_connect(&s);
    for (int i = 0; i < 2; i++) {
        simulated_say(&s, id, much);
        cr_assert_eq(weir_sim_advance(s.sim, S), 0);
    }
    cr_assert_eq(weir_post(s.clients, 0, read_queued, NULL), 0);
    cr_assert_eq(weir_sim_advance(s.sim, S), 0);
    cr_assert_gt(queued, 2 * (sizeof much - 1) - 3000 - 3000); /* the first read, and a window */
    simulated_close(&s);
}

Test(sim_options, partial_cuts_messages_without_framing)
{
    simulated s = { .network = { .seed = 1, .partial_per_mille = 1000 } };
    talk(&s);
    cr_assert_gt(s.at_server.messages, 1);
    cr_assert_eq(s.at_server.bytes, 5);
    cr_assert_eq(s.at_client.bytes, 5);
    simulated_close(&s);
}

Test(sim_options, loss_delays)
{
    simulated s = { .network = { .loss_per_mille = 1000 } };
    simulated_open(&s);
    (void)simulated_connect(&s);
    cr_assert_eq(weir_sim_run(s.sim, WEIR_SIM_FOREVER), 0);
    cr_assert_eq(s.at_client.error, WEIR_ETIMEDOUT); /* weir's own deadline for connects, after 10 s */
    cr_assert_eq(s.at_client.closed_ns / S, 10);
    simulated_close(&s);
}

Test(sim_options, reset_ends_both_sides)
{
    simulated s = { .network = { .reset_per_mille = 1000 } };
    talk(&s);
    cr_assert_eq(s.at_client.error, WEIR_ECONNRESET);
    cr_assert_eq(s.at_client.system_error, 104);
    cr_assert_eq(s.at_server.error, WEIR_ECONNRESET);
    cr_assert_eq(s.at_server.messages, 0);
    simulated_close(&s);
}

Test(sim_options, refuse_refuses)
{
    simulated s = { .network = { .refuse_per_mille = 1000 } };
    simulated_open(&s);
    (void)simulated_connect(&s);
    cr_assert_eq(weir_sim_run(s.sim, WEIR_SIM_FOREVER), 0);
    cr_assert_eq(s.at_client.error, WEIR_ECONNREFUSED);
    cr_assert_eq(s.at_client.opened, 0);
    simulated_close(&s);
}

static unsigned accept_errors;
static int accept_error;

static void on_accept_error(weir_listener *listener, weir_reason reason)
{
    (void)listener;
    accept_errors++;
    accept_error = reason.error;
}

/* Accepts fail while the ratio says so, and go on afterwards; connects fail alike. */
static void runs_short(weir_sim_options shortage, int error)
{
    simulated s = { .listen_options = { .on_accept_error = on_accept_error } };
    accept_errors = 0;
    simulated_open(&s);
    weir_conn_id id = simulated_connect(&s);
    cr_assert_eq(weir_sim_run(s.sim, 150000), 0); /* the SYN is there, the accept is not */
    cr_assert_eq(weir_sim_change(s.sim, &shortage), 0);
    (void)simulated_connect(&s);
    cr_assert_eq(weir_sim_advance(s.sim, S), 0);
    cr_assert_eq(s.at_client.closed, 1);
    cr_assert_eq(s.at_client.error, error);
    cr_assert_geq(s.at_server.opened + accept_errors, 1);
    if (accept_errors) cr_assert_eq(accept_error, error);
    cr_assert_eq(weir_sim_change(s.sim, NULL), 0);
    simulated_say(&s, id, "hello");
    cr_assert_eq(weir_sim_advance(s.sim, S), 0);
    cr_assert_eq(s.at_server.opened, 1);
    cr_assert_eq(s.at_client.messages, 1);
    simulated_close(&s);
}

Test(sim_options, emfile_strikes_connects)
{
    runs_short((weir_sim_options){ .emfile_per_mille = 1000 }, WEIR_EMFILE);
}

Test(sim_options, enobufs_strikes_connects)
{
    runs_short((weir_sim_options){ .enobufs_per_mille = 1000 }, WEIR_ENOBUFS);
}

Test(sim_options, emfile_and_enobufs_make_a_listener_pause_and_go_on)
{
    for (int i = 0; i < 2; i++) {
        simulated s = { .listen_options = { .on_accept_error = on_accept_error } };
        accept_errors = 0;
        simulated_open(&s);
        (void)simulated_connect(&s);
        cr_assert_eq(weir_sim_run(s.sim, 50000), 0); /* its socket is there */
        weir_sim_options shortage = { .emfile_per_mille = i ? 1000 : 0, .enobufs_per_mille = i ? 0 : 1000 };
        cr_assert_eq(weir_sim_change(s.sim, &shortage), 0);
        cr_assert_eq(weir_sim_run(s.sim, S + 50000), 0);
        cr_assert_eq(accept_errors, 11); /* at once, and every 100 ms */
        cr_assert_eq(accept_error, i ? WEIR_EMFILE : WEIR_ENOBUFS);
        cr_assert_eq(s.at_server.opened, 0);
        cr_assert_eq(weir_sim_change(s.sim, NULL), 0);
        cr_assert_eq(weir_sim_advance(s.sim, S), 0);
        cr_assert_eq(s.at_server.opened, 1);
        simulated_close(&s);
    }
}

Test(sim_options, max_sockets_bounds_what_is_open)
{
    simulated s = { .network = { .max_sockets = SERVER_WORKERS + 3 } };
    simulated_open(&s);
    for (int i = 0; i < 4; i++) (void)simulated_connect(&s);
    cr_assert_eq(weir_sim_run(s.sim, 100 * MS), 0);
    cr_assert_leq(s.at_client.opened + s.at_server.opened, 3);
    cr_assert_eq(s.at_client.error, WEIR_EMFILE);
    simulated_close(&s);
}

Test(sim_options, enomem_ends_connections_and_leaks_nothing)
{
    unsigned lost = 0;
    for (uint64_t seed = 0; seed < 40; seed++) {
        simulated s = { .network = { .seed = seed, .enomem_per_mille = 30 },
                        .server_protocol = { .framing = weir_framing_line() },
                        .client_protocol = { .framing = weir_framing_line() } };
        simulated_open(&s);
        for (int i = 0; i < 20; i++) (void)simulated_connect(&s);
        for (int i = 0; i < 20; i++) {
            cr_assert_eq(weir_sim_advance(s.sim, MS), 0);
            simulated_say(&s, s.at_client.id, "li");
            cr_assert_eq(weir_sim_advance(s.sim, MS), 0);
            simulated_say(&s, s.at_client.id, "ne\n");
        }
        cr_assert_eq(weir_sim_run(s.sim, WEIR_SIM_FOREVER), 0);
        lost += s.at_client.closed;
        if (s.at_client.closed) cr_assert_neq(s.at_client.error, 0);
        simulated_close(&s); /* which asserts that all memory came back */
    }
    cr_assert_gt(lost, 40);
}

/* ---- scripts ---- */

typedef struct asked {
    uint64_t next[WEIR_SIM_RESOLVE + 1];
    bool in_order;
    uint64_t fail_allocation; /* this one; UINT64_MAX: none */
} asked;

static bool script(weir_sim_fault fault, uint64_t number, void *data)
{
    asked *a = data;
    if (number != a->next[fault]++) a->in_order = false;
    return fault == WEIR_SIM_ENOMEM && number == a->fail_allocation;
}

Test(sim_script, is_asked_about_each_opportunity)
{
    asked a = { .in_order = true, .fail_allocation = UINT64_MAX };
    simulated s = { .network = { .script = script, .script_data = &a } };
    talk(&s);
    simulated_close(&s);
    cr_assert(a.in_order);
    for (int fault = 0; fault <= WEIR_SIM_ENOMEM; fault++) cr_assert_gt(a.next[fault], 0, "fault %d", fault);
}

/* What is there of a life when each step may have failed. */
static void live(asked *a)
{
    weir_sim *sim;
    weir_runtime *runtime = NULL;
    simulated s = { .network = { .script = script, .script_data = a } };
    weir_protocol protocol = { .framing = weir_framing_line() };
    cr_assert_eq(weir_sim_create(&sim, &s.network), 0);
    int error = weir_runtime_create(&runtime, &(weir_runtime_options){ .workers = 2, .sim = sim });
    if (error == 0) error = weir_listen(runtime, "10.0.0.1:80", &protocol, NULL, NULL);
    weir_conn_id id;
    if (error == 0) error = weir_connect(runtime, "10.0.0.1:80", &protocol, NULL, &id);
    if (error == 0) error = weir_sim_advance(sim, S);
    if (error == 0) error = weir_send_to(runtime, id, "ha", 2);
    if (error == 0) error = weir_sim_advance(sim, S);
    if (error == 0) error = weir_send_to(runtime, id, "lf\n", 3);
    cr_assert(error == 0 || error == WEIR_ENOMEM, "%s", weir_strerror(error));
    cr_assert_eq(weir_sim_advance(sim, S), 0);
    weir_runtime_destroy(runtime);
    weir_sim_destroy(sim);
}

Test(sim_script, can_fail_each_allocation_in_turn)
{
    asked all = { .fail_allocation = UINT64_MAX };
    live(&all);
    uint64_t allocations = all.next[WEIR_SIM_ENOMEM];
    cr_assert_gt(allocations, 20);
    for (uint64_t n = 0; n < allocations; n++) live(&(asked){ .fail_allocation = n });
}

/* ---- the clock ---- */

static uint64_t ran_ns;

static void note_time(weir_runtime *runtime, void *data)
{
    (void)runtime;
    ran_ns = weir_sim_now_ns(data);
}

Test(sim_clock, jumps_to_what_comes_next)
{
    simulated s = { 0 };
    simulated_open(&s);
    cr_assert_eq(weir_post_after(s.server, 0, 3600 * 1000, note_time, s.sim), 0);
    cr_assert_eq(weir_sim_run(s.sim, 3600 * S - 1), 0);
    cr_assert_eq(ran_ns, 0);
    cr_assert_eq(weir_sim_now_ns(s.sim), 3600 * S - 1);
    cr_assert_eq(weir_sim_run(s.sim, WEIR_SIM_FOREVER), 0);
    cr_assert_eq(ran_ns / MS, 3600 * 1000 + 1);   /* a delay never ends early */
    cr_assert_eq(weir_sim_now_ns(s.sim), ran_ns); /* and stands there: nothing more can happen */
    cr_assert_eq(weir_sim_advance(s.sim, 5 * S), 0);
    cr_assert_eq(weir_sim_now_ns(s.sim), ran_ns + 5 * S);
    cr_assert_eq(weir_sim_run(s.sim, 1), 0); /* long ago */
    cr_assert_eq(weir_sim_now_ns(s.sim), ran_ns + 5 * S);
    simulated_close(&s);
}

static bool has_answer(void *data)
{
    return ((simulated *)data)->at_client.messages > 0;
}

Test(sim_clock, stops_where_a_predicate_is_true)
{
    simulated s = { .network = { .latency_us_min = 10000 } };
    simulated_open(&s);
    weir_conn_id id = simulated_connect(&s);
    cr_assert_eq(weir_sim_run_until(s.sim, has_answer, &s, S), WEIR_ETIMEDOUT);
    cr_assert_eq(weir_sim_now_ns(s.sim), S);
    simulated_say(&s, id, "hello");
    cr_assert_eq(weir_sim_run_until(s.sim, has_answer, &s, S + 10 * MS), WEIR_ETIMEDOUT);
    cr_assert_eq(weir_sim_now_ns(s.sim), S + 10 * MS);
    cr_assert_eq(weir_sim_run_until(s.sim, has_answer, &s, WEIR_SIM_FOREVER), 0);
    cr_assert_eq(weir_sim_now_ns(s.sim), S + 20 * MS);
    cr_assert_eq(weir_sim_run_until(s.sim, has_answer, &s, 0), 0); /* it is true already */
    s.at_client.messages = 0;
    cr_assert_eq(weir_sim_run_until(s.sim, has_answer, &s, WEIR_SIM_FOREVER), WEIR_ETIMEDOUT); /* idle before that */
    cr_assert_lt(weir_sim_now_ns(s.sim), 60 * S);
    simulated_close(&s);
}

Test(sim_clock, runs_the_deadlines_of_connections)
{
    simulated s = { .server_protocol = { .idle_timeout_ms = 60000 } };
    simulated_open(&s);
    (void)simulated_connect(&s);
    cr_assert_eq(weir_sim_run(s.sim, WEIR_SIM_FOREVER), 0);
    cr_assert_eq(s.at_server.error, WEIR_EIDLE);
    cr_assert_eq(s.at_server.closed_ns / S, 60);
    cr_assert_eq(s.at_client.error, WEIR_EEOF);
    simulated_close(&s);
}

/* ---- cuts ---- */

Test(sim_partition, holds_back_and_heals)
{
    simulated s = { 0 };
    simulated_open(&s);
    weir_conn_id id = simulated_connect(&s);
    cr_assert_eq(weir_sim_advance(s.sim, S), 0);
    cr_assert_eq(weir_sim_partition(s.sim, "10.0.0.1", NULL), 0);
    simulated_say(&s, id, "hello");
    cr_assert_eq(weir_sim_advance(s.sim, 3600 * S), 0);
    cr_assert_eq(s.at_server.messages, 0);
    cr_assert_eq(weir_sim_heal(s.sim, "10.0.0.1", "198.18.0.1"), 0); /* another one */
    cr_assert_eq(weir_sim_advance(s.sim, S), 0);
    cr_assert_eq(s.at_server.messages, 0);
    cr_assert_eq(weir_sim_heal(s.sim, "10.0.0.1", NULL), 0);
    cr_assert_eq(weir_sim_advance(s.sim, S), 0);
    cr_assert_eq(s.at_client.messages, 1);
    simulated_close(&s);
}

Test(sim_partition, between_two_hosts_leaves_a_third_alone)
{
    simulated s = { 0 };
    simulated_open(&s);
    (void)simulated_connect(&s);
    weir_address local;
    cr_assert_eq(weir_address_parse(&local, "10.0.0.7:0", NULL), 0);
    weir_connect_options options = { .local_addresses = &local, .local_address_count = 1 };
    weir_conn_id other;
    cr_assert_eq(weir_connect(s.clients, "10.0.0.1:80", &s.client_protocol, &options, &other), 0);
    cr_assert_eq(weir_sim_advance(s.sim, S), 0);
    cr_assert_eq(s.at_client.opened, 2);
    cr_assert_eq(weir_sim_partition(s.sim, "10.0.0.1", "198.18.0.1"), 0);
    simulated_say(&s, other, "hello");
    cr_assert_eq(weir_sim_advance(s.sim, S), 0);
    cr_assert_eq(s.at_client.messages, 1);
    cr_assert_eq(weir_sim_heal(s.sim, NULL, NULL), 0);
    simulated_close(&s);
}

Test(sim_partition, refuses_what_is_no_address)
{
    weir_sim *sim;
    cr_assert_eq(weir_sim_create(&sim, NULL), 0);
    cr_assert_eq(weir_sim_partition(sim, NULL, NULL), WEIR_EADDRESS);
    cr_assert_eq(weir_sim_partition(sim, "server", NULL), WEIR_EADDRESS);
    cr_assert_eq(weir_sim_partition(sim, "10.0.0.1", "10.0.0.2:80"), WEIR_EADDRESS);
    cr_assert_eq(weir_sim_partition(sim, "fd00::1", "::1"), 0);
    cr_assert_eq(weir_sim_heal(sim, "x", NULL), WEIR_EADDRESS);
    cr_assert_eq(weir_sim_heal(sim, "10.0.0.1", "x"), WEIR_EADDRESS);
    weir_sim_destroy(sim);
}

/* ---- the trace ---- */

static void *plain_alloc(size_t size, void *data)
{
    ++*(unsigned *)data;
    return malloc(size);
}

static void plain_free(void *block, size_t size, void *data)
{
    (void)size, (void)data;
    free(block);
}

/* The hash of a busy run. */
static uint64_t busy(uint64_t seed, const weir_allocator *allocator, void (*trace)(const char *line, void *data))
{
    simulated s = { .network = { .seed = seed, .latency_us_max = 5000, .partial_per_mille = 200, .trace = trace } };
    cr_assert_eq(weir_sim_create(&s.sim, &s.network), 0);
    weir_runtime_options options = { .workers = 3, .sim = s.sim, .allocator = allocator };
    cr_assert_eq(weir_runtime_create(&s.server, &options), 0);
    cr_assert_eq(weir_runtime_create(&s.clients, &(weir_runtime_options){ .workers = 2, .sim = s.sim }), 0);
    weir_protocol protocol = { .framing = weir_framing_line() };
    cr_assert_eq(weir_listen(s.server, "[fd00::1]:80", &protocol, NULL, NULL), 0);
    weir_conn_id ids[10];
    for (int i = 0; i < 10; i++) cr_assert_eq(weir_connect(s.clients, "[fd00::1]:80", &protocol, NULL, &ids[i]), 0);
    for (int i = 0; i < 100; i++) {
        cr_assert_eq(weir_sim_advance(s.sim, 3 * MS), 0);
        simulated_say(&s, ids[i % 10], i % 3 ? "a line\n" : "a longer li");
    }
    weir_runtime_destroy(s.clients);
    weir_runtime_destroy(s.server);
    uint64_t hash = weir_sim_trace_hash(s.sim);
    weir_sim_destroy(s.sim);
    return hash;
}

static void ignore_line(const char *line, void *data)
{
    (void)line, (void)data;
}

Test(sim_trace_hash, is_the_seeds_alone)
{
    unsigned allocations = 0;
    const weir_allocator allocator = { .alloc = plain_alloc, .free = plain_free, .data = &allocations };
    for (uint64_t seed = 1; seed <= 5; seed++) {
        uint64_t hash = busy(seed, NULL, NULL);
        cr_assert_eq(busy(seed, NULL, ignore_line), hash);
        cr_assert_eq(busy(seed, &allocator, NULL), hash);
        cr_assert_neq(busy(seed + 100, NULL, NULL), hash);
    }
    cr_assert_gt(allocations, 100);
}
