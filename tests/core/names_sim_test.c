/* weir_connect with names, in the simulator, where they take their time, fail, and have several addresses. */
#include <string.h>
#include <weir/sim.h>
#include <weir/weir.h>

#include "harness/weir_test.h"

#define MS UINT64_C(1000000)
#define S  UINT64_C(1000000000)

typedef struct scene {
    weir_sim *sim;
    weir_runtime *runtime;
    unsigned opened, closed;
    weir_reason reason;
    weir_address peer;
    uint64_t opened_ns, closed_ns;
} scene;

static void on_open(weir_conn *conn)
{
    scene *s = weir_conn_data(conn);
    s->opened++;
    s->peer = weir_conn_peer(conn);
    s->opened_ns = weir_sim_now_ns(s->sim);
}

static void on_close(weir_conn *conn, weir_reason reason)
{
    scene *s = weir_conn_data(conn);
    s->closed++;
    s->reason = reason;
    s->closed_ns = weir_sim_now_ns(s->sim);
}

static const weir_protocol silent = { 0 };

/* A server at 10.0.0.1 and at [fd00::1]. */
static void begin(scene *s, weir_sim_options network)
{
    cr_assert_eq(weir_sim_create(&s->sim, &network), 0);
    cr_assert_eq(weir_runtime_create(&s->runtime, &(weir_runtime_options){ .sim = s->sim }), 0);
    cr_assert_eq(weir_listen(s->runtime, "10.0.0.1:80", &silent, NULL, NULL), 0);
    cr_assert_eq(weir_listen(s->runtime, "[fd00::1]:80", &silent, NULL, NULL), 0);
}

static weir_conn_id connect_to(scene *s, const char *address, const weir_connect_options *options)
{
    const weir_protocol protocol = { .on_open = on_open, .on_close = on_close, .data = s };
    weir_conn_id id;
    cr_assert_eq(weir_connect(s->runtime, address, &protocol, options, &id), 0);
    return id;
}

static void end(scene *s)
{
    weir_runtime_destroy(s->runtime);
    weir_sim_destroy(s->sim);
    cr_assert_geq(s->closed, s->opened);
}

Test(names_sim, a_name_is_looked_up_and_connected_to)
{
    scene s = { .sim = NULL };
    begin(&s, (weir_sim_options){ .resolve_ms_min = 30, .resolve_ms_max = 40 });
    cr_assert_eq(weir_sim_name(s.sim, "db.internal", " 10.0.0.1  "), 0);
    connect_to(&s, "db.internal:80", NULL);
    cr_assert_eq(weir_sim_advance(s.sim, S), 0);
    cr_assert_eq(s.opened, 1);
    cr_assert_str_eq(s.peer.text, "10.0.0.1:80");
    cr_assert(s.opened_ns >= 29 * MS && s.opened_ns < 45 * MS, "it took %u us", (unsigned)(s.opened_ns / 1000));
    end(&s);
}

Test(names_sim, an_unknown_name_is_the_reason_of_on_close)
{
    scene s = { .sim = NULL };
    begin(&s, (weir_sim_options){ 0 });
    connect_to(&s, "nobody.internal:80", NULL);
    cr_assert_eq(s.closed, 0, "never from inside the call");
    cr_assert_eq(weir_sim_advance(s.sim, S), 0);
    cr_assert_eq(s.closed, 1);
    cr_assert_eq(s.reason.error, WEIR_EAI_NONAME);
    weir_stats stats;
    weir_stats_read(s.runtime, &stats);
    cr_assert_eq(stats.connect_errors, 1);
    cr_assert_eq(stats.closed[-WEIR_EAI_NONAME], 1);
    end(&s);
}

Test(names_sim, the_next_address_is_tried_when_one_refuses)
{
    scene s = { .sim = NULL };
    begin(&s, (weir_sim_options){ 0 });
    cr_assert_eq(weir_sim_name(s.sim, "db", "10.0.0.2 192.0.2.1 [::1]"), WEIR_EADDRESS, "no brackets");
    cr_assert_eq(weir_sim_name(s.sim, "db", "10.0.0.2 192.0.2.1 fd00::1"), 0);
    connect_to(&s, "db:80", NULL);
    cr_assert_eq(weir_sim_advance(s.sim, S), 0);
    cr_assert_eq(s.opened, 1);
    cr_assert_str_eq(s.peer.text, "[fd00::1]:80");
    cr_assert_eq(weir_sim_name(s.sim, "db", "192.0.2.1 10.0.0.2"), 0);
    connect_to(&s, "db:80", NULL);
    cr_assert_eq(weir_sim_advance(s.sim, S), 0);
    cr_assert_eq(s.closed, 1);
    cr_assert_eq(s.reason.error, WEIR_ECONNREFUSED, "the last one's reason");
    end(&s);
}

Test(names_sim, an_address_that_does_not_answer_uses_up_its_share_of_the_time_alone)
{
    scene s = { .sim = NULL };
    begin(&s, (weir_sim_options){ 0 });
    cr_assert_eq(weir_sim_partition(s.sim, "10.0.0.7", NULL), 0);
    cr_assert_eq(weir_sim_partition(s.sim, "10.0.0.8", NULL), 0);
    cr_assert_eq(weir_sim_name(s.sim, "db", "10.0.0.7 10.0.0.8 10.0.0.1"), 0);
    connect_to(&s, "db:80", &(weir_connect_options){ .timeout_ms = 900 });
    cr_assert_eq(weir_sim_advance(s.sim, S), 0);
    cr_assert_eq(s.opened, 1);
    cr_assert(s.opened_ns > 590 * MS && s.opened_ns < 620 * MS, "after two thirds, not %u us",
              (unsigned)(s.opened_ns / 1000));
    cr_assert_eq(weir_sim_name(s.sim, "db", "10.0.0.7 10.0.0.8"), 0);
    uint64_t now_ns = weir_sim_now_ns(s.sim);
    connect_to(&s, "db:80", &(weir_connect_options){ .timeout_ms = 900 });
    cr_assert_eq(weir_sim_advance(s.sim, 2 * S), 0);
    cr_assert_eq(s.closed, 1);
    cr_assert_eq(s.reason.error, WEIR_ETIMEDOUT);
    cr_assert(s.closed_ns - now_ns >= 899 * MS && s.closed_ns - now_ns < 920 * MS, "%u us",
              (unsigned)((s.closed_ns - now_ns) / 1000));
    end(&s);
}

Test(names_sim, a_lookup_that_takes_too_long_is_a_timeout)
{
    scene s = { .sim = NULL };
    begin(&s, (weir_sim_options){ .resolve_ms_min = 10000 });
    cr_assert_eq(weir_sim_name(s.sim, "db", "10.0.0.1"), 0);
    connect_to(&s, "db:80", &(weir_connect_options){ .timeout_ms = 500 });
    cr_assert_eq(weir_sim_advance(s.sim, S), 0);
    cr_assert_eq(s.closed, 1);
    cr_assert_eq(s.reason.error, WEIR_ETIMEDOUT);
    cr_assert_eq(s.opened, 0);
    end(&s);
}

Test(names_sim, closing_or_aborting_by_id_ends_a_lookup)
{
    scene s = { .sim = NULL };
    begin(&s, (weir_sim_options){ .resolve_ms_min = 10000 });
    weir_conn_id id = connect_to(&s, "db:80", NULL);
    cr_assert_eq(weir_sim_advance(s.sim, S), 0);
    cr_assert_eq(weir_close_id(s.runtime, id), 0);
    cr_assert_eq(weir_close_id(s.runtime, id), 0);
    cr_assert_eq(weir_sim_advance(s.sim, S), 0);
    cr_assert_eq(s.closed, 1);
    cr_assert_eq(s.reason.error, WEIR_ECLOSED);
    id = connect_to(&s, "db:80", NULL);
    cr_assert_eq(weir_abort_id(s.runtime, id), 0);
    cr_assert_eq(weir_sim_advance(s.sim, S), 0);
    cr_assert_eq(s.closed, 2);
    cr_assert_eq(s.reason.error, WEIR_EABORTED);
    end(&s);
}

Test(names_sim, local_addresses_choose_the_family_of_the_name)
{
    scene s = { .sim = NULL };
    weir_address local;
    begin(&s, (weir_sim_options){ 0 });
    cr_assert_eq(weir_address_parse(&local, "10.0.0.5:0", NULL), 0);
    cr_assert_eq(weir_sim_name(s.sim, "db", "fd00::1 10.0.0.1"), 0);
    connect_to(&s, "db:80", &(weir_connect_options){ .local_addresses = &local, .local_address_count = 1 });
    cr_assert_eq(weir_sim_advance(s.sim, S), 0);
    cr_assert_str_eq(s.peer.text, "10.0.0.1:80");
    cr_assert_eq(weir_sim_name(s.sim, "db", "fd00::1"), 0);
    connect_to(&s, "db:80", &(weir_connect_options){ .local_addresses = &local, .local_address_count = 1 });
    cr_assert_eq(weir_sim_advance(s.sim, S), 0);
    cr_assert_eq(s.reason.error, WEIR_EAI_NONAME);
    end(&s);
}

Test(names_sim, a_dialer_looks_its_name_up_anew_for_each_connection)
{
    scene s = { .sim = NULL };
    begin(&s, (weir_sim_options){ 0 });
    const weir_protocol protocol = { .on_open = on_open, .on_close = on_close, .data = &s };
    weir_dialer *dialer;
    char address[] = "db.internal:80";
    cr_assert_eq(weir_dialer_create(s.runtime, address, &protocol, NULL, &dialer), 0);
    memset(address, 'x', sizeof address - 1);
    static const struct {
        const char *addresses, *peer;
    } moves[] = { { "10.0.0.1", "10.0.0.1:80" },
                  { "fd00::1", "[fd00::1]:80" },
                  { NULL, "" },
                  { "10.0.0.9 10.0.0.1", "10.0.0.1:80" } };
    for (unsigned i = 0; i < 4; i++) {
        unsigned opened = s.opened, closed = s.closed;
        cr_assert_eq(weir_sim_name(s.sim, "db.internal", moves[i].addresses), 0);
        cr_assert_eq(weir_dialer_connect(dialer, NULL), 0);
        cr_assert_eq(weir_dialer_connect(dialer, NULL), 0, "two at a time");
        cr_assert_eq(weir_sim_advance(s.sim, 5 * S), 0);
        cr_assert_eq(s.opened, opened + (moves[i].addresses ? 2 : 0));
        cr_assert_eq(s.closed, closed + (moves[i].addresses ? 0 : 2));
        if (moves[i].addresses)
            cr_assert_str_eq(s.peer.text, moves[i].peer);
        else
            cr_assert_eq(s.reason.error, WEIR_EAI_NONAME);
    }
    cr_assert_eq(weir_dialer_connect(dialer, NULL), 0);
    weir_dialer_destroy(dialer); /* while its name is being looked up */
    cr_assert_eq(weir_sim_advance(s.sim, 5 * S), 0);
    cr_assert_eq(s.opened, 7);
    end(&s);
}

Test(names_sim, a_stop_ends_a_lookup_at_once)
{
    scene s = { .sim = NULL };
    begin(&s, (weir_sim_options){ .resolve_ms_min = 60000 });
    connect_to(&s, "db:80", &(weir_connect_options){ .timeout_ms = 120000 });
    cr_assert_eq(weir_sim_advance(s.sim, S), 0);
    weir_runtime_destroy(s.runtime);
    cr_assert_eq(s.closed, 1);
    cr_assert_eq(s.reason.error, WEIR_ESTOPPED);
    cr_assert_lt(s.closed_ns, 2 * S);
    weir_sim_destroy(s.sim);
}

Test(names_sim, what_is_no_name_or_no_address_of_one_is_refused)
{
    scene s = { .sim = NULL };
    char longest[300];
    for (unsigned i = 0; i < 299; i++) longest[i] = 'a';
    longest[254] = 0;
    begin(&s, (weir_sim_options){ 0 });
    cr_assert_eq(weir_sim_name(s.sim, NULL, "10.0.0.1"), WEIR_EINVAL);
    cr_assert_eq(weir_sim_name(s.sim, "", "10.0.0.1"), WEIR_EINVAL);
    cr_assert_eq(weir_sim_name(s.sim, longest, "10.0.0.1"), WEIR_EINVAL);
    cr_assert_eq(weir_sim_name(s.sim, "db", ""), WEIR_EADDRESS);
    cr_assert_eq(weir_sim_name(s.sim, "db", "10.0.0.1:80"), WEIR_EADDRESS);
    cr_assert_eq(weir_sim_name(s.sim, "db",
                               "1.1.1.1 1.1.1.1 1.1.1.1 1.1.1.1 1.1.1.1 1.1.1.1 1.1.1.1 1.1.1.1 1.1.1.1 "
                               "1.1.1.1 1.1.1.1 1.1.1.1 1.1.1.1 1.1.1.1 1.1.1.1 1.1.1.1 1.1.1.1"),
                 WEIR_EADDRESS);
    cr_assert_eq(weir_sim_name(s.sim, "nobody", NULL), 0, "nobody knew it");
    cr_assert_eq(weir_sim_name(s.sim, "db", "10.0.0.1"), 0);
    cr_assert_eq(weir_sim_name(s.sim, "db", NULL), 0);
    connect_to(&s, "db:80", NULL);
    cr_assert_eq(weir_sim_advance(s.sim, S), 0);
    cr_assert_eq(s.reason.error, WEIR_EAI_NONAME);
    weir_sim_options network = { .resolve_ms_min = 2, .resolve_ms_max = 1 };
    cr_assert_eq(weir_sim_change(s.sim, &network), WEIR_EINVAL);
    network = (weir_sim_options){ .resolve_per_mille = 1001 };
    cr_assert_eq(weir_sim_change(s.sim, &network), WEIR_EINVAL);
    end(&s);
}
