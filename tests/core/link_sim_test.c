/* Links in virtual time: when they try again, what they say of themselves, and how they end. */
#include <string.h>

#include "core/linked.h"

enum { LINKS = 1000 };

/* ---- up ---- */

Test(link_sim, is_up_at_once_where_a_server_listens)
{
    linked l = { .options.backoff_ms_min = 1000 };
    linked_open(&l);
    linked_serve(&l);
    weir_link_status status = linked_status(&l);
    cr_assert_eq(status.state, WEIR_LINK_WAITING);
    cr_assert_eq(status.left_ms, 0, "without a wait");
    cr_assert_eq(weir_link_send(l.link, "x", 1), WEIR_ESTATE);
    cr_assert_eq(weir_link_conn(l.link), 0);
    linked_run(&l, 10 * MS);
    cr_assert_eq(l.note_count, 2);
    cr_assert_eq(l.notes[0].state, WEIR_LINK_CONNECTING);
    cr_assert_eq(l.notes[1].state, WEIR_LINK_UP);
    cr_assert_eq(weir_link_send(l.link, "hello", 5), 0);
    linked_run(&l, 10 * MS);
    cr_assert_eq(l.heard, 5);
    status = linked_status(&l);
    cr_assert_eq(status.ups, 1);
    cr_assert_eq(status.attempts, 1);
    cr_assert_eq(status.failure.error, 0);
    linked_end(&l);
}

Test(link_sim, comes_back_after_every_restart_of_the_server)
{
    linked l = { .options = { .backoff_ms_max = 500 } };
    linked_open(&l);
    for (unsigned round = 1; round <= 100; round++) {
        linked_serve(&l);
        linked_await(&l, WEIR_LINK_UP);
        cr_assert_eq(weir_link_send(l.link, "x", 1), 0);
        linked_run(&l, (round % 7) * S + S);
        cr_assert_eq(l.heard, round, "what was sent while it was up arrived");
        linked_unserve(&l);
        linked_await(&l, WEIR_LINK_WAITING);
        cr_assert_eq(weir_link_send(l.link, "x", 1), WEIR_ESTATE, "nothing is queued while it is down");
    }
    cr_assert_eq(l.ups, 100);
    cr_assert_eq(l.opened, 100);
    cr_assert_eq(linked_status(&l).ups, 100);
    linked_end(&l);
}

Test(link_sim, opens_the_next_connection_after_weir_close_too)
{
    linked l = { .options.backoff_ms_min = 10 };
    linked_open(&l);
    linked_serve(&l);
    linked_await(&l, WEIR_LINK_UP);
    cr_assert_eq(weir_close_id(l.client, weir_link_conn(l.link)), 0);
    linked_await(&l, WEIR_LINK_WAITING);
    weir_failure failure = linked_status(&l).failure;
    cr_assert_eq(failure.error, WEIR_ECLOSED);
    cr_assert_eq(failure.step, WEIR_STEP_OPEN);
    linked_await(&l, WEIR_LINK_UP);
    linked_end(&l);
}

/* ---- back-off ---- */

Test(link_sim, waits_within_its_bounds_over_fifty_attempts)
{
    linked l = { .network.seed = 5, .options = { .backoff_ms_min = 50, .backoff_ms_max = 10000 } };
    linked_open(&l);
    uint64_t bound = 50, sum_ms = 0;
    unsigned above_half = 0;
    for (unsigned attempt = 1; attempt <= 50; attempt++) {
        linked_await(&l, WEIR_LINK_WAITING);
        const linked_note waiting = l.notes[l.note_count - 1];
        cr_assert_eq(waiting.attempts, attempt);
        cr_assert(waiting.wait_ms >= 1 && waiting.wait_ms <= bound, "attempt %u waits %u ms", attempt, waiting.wait_ms);
        cr_assert_leq(linked_status(&l).left_ms, waiting.wait_ms + 1);
        linked_await(&l, WEIR_LINK_CONNECTING);
        uint64_t waited_ns = l.notes[l.note_count - 1].ns - waiting.ns;
        cr_assert(waited_ns >= waiting.wait_ms * MS && waited_ns <= (waiting.wait_ms + 2) * MS);
        if (bound == 10000) {
            sum_ms += waiting.wait_ms;
            above_half += waiting.wait_ms > 5000;
        }
        bound = bound * 2 < 10000 ? bound * 2 : 10000;
    }
    cr_assert(sum_ms > 42 * 3000 && sum_ms < 42 * 7000, "42 waits of 5 s on average take %u ms", (unsigned)sum_ms);
    cr_assert(above_half > 10 && above_half < 32);
    cr_assert_eq(l.closed, 50, "each attempt has its on_close");
    cr_assert_eq(l.error, WEIR_ECONNREFUSED);
    linked_end(&l);
}

Test(link_sim, whose_connections_die_at_once_keeps_backing_off)
{
    linked l = { .server_drops = true, .options = { .backoff_ms_min = 100, .backoff_ms_max = 60000 } };
    linked_open(&l);
    linked_serve(&l);
    linked_run(&l, 600 * S);
    cr_assert_gt(l.ups, 5);
    cr_assert_lt(l.ups, 60, "ten minutes of a server that drops all: %u connections", l.ups);
    cr_assert_gt(linked_status(&l).attempts, 5);
    linked_end(&l);
}

Test(link_sim, begins_its_back_off_anew_after_it_has_stayed_up)
{
    linked l = { .options = { .backoff_ms_min = 100, .backoff_ms_max = 60000, .up_after_ms = 2000 } };
    linked_open(&l);
    linked_run(&l, 600 * S);
    cr_assert_gt(linked_status(&l).attempts, 8);
    linked_serve(&l);
    linked_await(&l, WEIR_LINK_UP);
    linked_run(&l, 1900 * MS);
    cr_assert_gt(linked_status(&l).attempts, 8, "not yet");
    linked_run(&l, 200 * MS);
    cr_assert_eq(linked_status(&l).attempts, 0, "now");
    linked_unserve(&l);
    linked_await(&l, WEIR_LINK_WAITING);
    cr_assert_leq(l.notes[l.note_count - 1].wait_ms, 100);
    linked_end(&l);
}

Test(link_sim, ends_after_max_attempts)
{
    linked l = { .options = { .max_attempts = 4 } };
    linked_open(&l);
    linked_await(&l, WEIR_LINK_ENDED);
    linked_run(&l, 3600 * S);
    cr_assert_eq(l.closed, 4);
    cr_assert_eq(l.notes[l.note_count - 1].state, WEIR_LINK_ENDED);
    weir_link_status status = linked_status(&l);
    cr_assert_eq(status.attempts, 4);
    cr_assert_eq(status.failure.error, WEIR_ECONNREFUSED);
    cr_assert_eq(status.failure.step, WEIR_STEP_CONNECT);
    cr_assert_not_null(strstr(status.failure.text, "10.0.0.1:80"), "%s", status.failure.text);
    linked_end(&l);
}

typedef struct herd {
    weir_sim *sim;
    uint64_t second_ns[LINKS]; /* when the second attempt of each began */
    uint32_t begun[LINKS];
    unsigned done;
} herd;

typedef struct herd_link {
    herd *h;
    unsigned number;
} herd_link;

static void note_second(weir_link *link, weir_link_state state, void *data)
{
    const herd_link *of = data;
    (void)link;
    if (state != WEIR_LINK_CONNECTING || ++of->h->begun[of->number] != 2) return;
    of->h->second_ns[of->number] = weir_sim_now_ns(of->h->sim);
    of->h->done++;
}

static bool all_done(void *data)
{
    return ((herd *)data)->done == LINKS;
}

Test(link_sim, a_thousand_links_to_a_server_that_is_down_do_not_come_in_a_crowd)
{
    static herd h;
    static herd_link links[LINKS];
    weir_runtime *runtime;
    const weir_protocol protocol = { 0 };
    cr_assert_eq(weir_sim_create(&h.sim, &(weir_sim_options){ .seed = 11 }), 0);
    cr_assert_eq(weir_runtime_create(&runtime, &(weir_runtime_options){ .workers = 4, .sim = h.sim }), 0);
    for (unsigned i = 0; i < LINKS; i++) {
        weir_link *link;
        links[i] = (herd_link){ &h, i };
        const weir_link_options options = { .backoff_ms_min = 10000, .on_state = note_second, .data = &links[i] };
        cr_assert_eq(weir_link_open(runtime, "10.0.0.1:80", &protocol, &options, &link), 0);
    }
    cr_assert_eq(weir_sim_run_until(h.sim, all_done, &h, 20 * S), 0);
    unsigned tenths[10] = { 0 };
    for (unsigned i = 0; i < LINKS; i++) {
        uint64_t second = h.second_ns[i] / S;
        tenths[second < 10 ? second : 9]++;
    }
    for (unsigned i = 0; i < 10; i++)
        cr_assert(tenths[i] >= 60 && tenths[i] <= 140, "%u of 1,000 come in second %u", tenths[i], i);
    weir_runtime_destroy(runtime);
    weir_sim_destroy(h.sim);
}

static uint64_t hash_of_seed(uint64_t seed)
{
    linked l = { .network = { .seed = seed, .resolve_ms_max = 50, .resolve_per_mille = 300 },
                 .address = "db.internal:80" };
    linked_open(&l);
    cr_assert_eq(weir_sim_name(l.sim, "db.internal", "10.0.0.1"), 0);
    linked_run(&l, 20 * S);
    linked_serve(&l);
    linked_run(&l, 60 * S);
    uint64_t hash = weir_sim_trace_hash(l.sim);
    linked_end(&l);
    return hash;
}

Test(link_sim, repeats_its_lookups_and_its_waits_from_the_seed)
{
    cr_assert_eq(hash_of_seed(1), hash_of_seed(1));
    cr_assert_neq(hash_of_seed(1), hash_of_seed(2));
}

/* ---- names ---- */

Test(link_sim, looks_its_name_up_for_each_attempt)
{
    linked l = { .network = { .resolve_ms_min = 20 },
                 .address = "db.internal:80",
                 .options = { .backoff_ms_max = 100 } };
    linked_open(&l);
    linked_await(&l, WEIR_LINK_RESOLVING);
    linked_await(&l, WEIR_LINK_WAITING);
    weir_failure failure = linked_status(&l).failure;
    cr_assert_eq(failure.error, WEIR_EAI_NONAME);
    cr_assert_eq(failure.step, WEIR_STEP_RESOLVE);
    cr_assert_not_null(strstr(failure.text, "link db.internal:80: resolve"), "%s", failure.text);
    cr_assert_eq(l.error, WEIR_EAI_NONAME);
    cr_assert(l.notes[1].ns - l.notes[0].ns >= 19 * MS, "the lookup takes its time");
    cr_assert_eq(weir_sim_name(l.sim, "db.internal", "10.0.0.9"), 0);
    linked_serve(&l);
    linked_run(&l, 2 * S);
    cr_assert_eq(l.error, WEIR_ECONNREFUSED);
    cr_assert_eq(weir_sim_name(l.sim, "db.internal", "10.0.0.1"), 0);
    linked_await(&l, WEIR_LINK_UP);
    linked_end(&l);
}

Test(link_sim, tries_again_when_the_name_server_fails_for_now)
{
    linked l = { .network.resolve_per_mille = 1000, .address = "db.internal:80" };
    linked_open(&l);
    cr_assert_eq(weir_sim_name(l.sim, "db.internal", "10.0.0.1"), 0);
    linked_serve(&l);
    linked_run(&l, 10 * S);
    cr_assert_eq(l.error, WEIR_EAI_AGAIN);
    cr_assert_eq(linked_status(&l).failure.step, WEIR_STEP_RESOLVE);
    cr_assert_eq(weir_sim_change(l.sim, NULL), 0);
    linked_await(&l, WEIR_LINK_UP);
    linked_end(&l);
}

/* ---- the end ---- */

static const weir_link_state all_states[] = { WEIR_LINK_RESOLVING, WEIR_LINK_CONNECTING, WEIR_LINK_UP,
                                              WEIR_LINK_WAITING, WEIR_LINK_ENDED };

/* A link that comes by all states: up once, then down for good. */
static void pass_by(linked *l, weir_link_state state)
{
    linked_open(l);
    cr_assert_eq(weir_sim_name(l->sim, "db.internal", "10.0.0.1"), 0);
    linked_serve(l);
    if (state == WEIR_LINK_RESOLVING || state == WEIR_LINK_CONNECTING || state == WEIR_LINK_UP) {
        linked_await(l, state);
        return;
    }
    linked_await(l, WEIR_LINK_UP);
    linked_unserve(l);
    linked_await(l, state);
}

Test(link_sim, closed_in_any_state_ends_its_connection_once_and_says_no_more)
{
    for (size_t i = 0; i < sizeof all_states / sizeof *all_states; i++) {
        linked l = { .address = "db.internal:80", .options.max_attempts = 3 };
        pass_by(&l, all_states[i]);
        unsigned notes = l.note_count, attempts = 0;
        for (unsigned n = 0; n < notes; n++) attempts += l.notes[n].state == WEIR_LINK_RESOLVING;
        weir_link_close(l.link);
        l.link = NULL;
        linked_run(&l, 600 * S);
        cr_assert_eq(l.note_count, notes, "state %d", all_states[i]);
        cr_assert_eq(l.closed, attempts, "state %d: %u of %u closed", all_states[i], l.closed, attempts);
        if (all_states[i] <= WEIR_LINK_UP && all_states[i] != WEIR_LINK_WAITING) cr_assert_eq(l.error, WEIR_ECLOSED);
        linked_end(&l);
    }
}

Test(link_sim, closed_in_its_own_callback_ends_its_connection_once_and_says_no_more)
{
    unsigned notes = 3 + 1; /* up to the first wait */
    for (unsigned n = 1; n <= notes + 4; n++) {
        linked l = { .address = "db.internal:80", .close_at = n, .options.max_attempts = 3 };
        linked_open(&l);
        cr_assert_eq(weir_sim_name(l.sim, "db.internal", "10.0.0.1"), 0);
        linked_serve(&l);
        linked_run(&l, S);
        linked_unserve(&l);
        linked_run(&l, 600 * S);
        cr_assert_eq(l.note_count, n);
        cr_assert_null(l.link);
        cr_assert_eq(l.opened, n >= 3 ? 1 : 0);
        linked_end(&l);
    }
}

static void close_own_link(weir_conn *conn)
{
    weir_link_close(weir_conn_link(conn));
}

static void close_own_link_at_last(weir_conn *conn, weir_reason reason)
{
    unsigned *closes = weir_conn_data(conn);
    (void)reason;
    ++*closes;
    weir_link_close(weir_conn_link(conn));
}

Test(link_sim, closed_in_a_callback_of_its_connection_is_gone_after_it)
{
    for (int when = 0; when < 3; when++) {
        linked l = { .address = "10.0.0.1:80" };
        unsigned closes = 0;
        const weir_protocol protocol = { .on_open = when == 0 ? close_own_link : NULL,
                                         .on_close = when > 0 ? close_own_link_at_last : NULL,
                                         .data = &closes };
        linked_open(&l);
        if (when < 2) linked_serve(&l);
        weir_link *link;
        cr_assert_eq(weir_link_open(l.client, "10.0.0.1:80", &protocol, NULL, &link), 0);
        linked_run(&l, S);
        if (when == 1) linked_unserve(&l);
        linked_run(&l, 60 * S);
        cr_assert_eq(closes, when > 0 ? 1 : 0);
        linked_end(&l);
    }
}

Test(link_sim, a_stop_ends_it_in_any_state_without_waiting_for_its_turn)
{
    for (size_t i = 0; i < sizeof all_states / sizeof *all_states; i++) {
        linked l = { .network.resolve_ms_min = 60000,
                     .address = all_states[i] == WEIR_LINK_RESOLVING ? "db.internal:80" : "10.0.0.1:80",
                     .options = { .backoff_ms_min = 3600000, .max_attempts = 2, .connect.timeout_ms = 60000 } };
        if (all_states[i] == WEIR_LINK_ENDED) l.options.backoff_ms_min = 1;
        pass_by(&l, all_states[i]);
        uint64_t stopped_ns = weir_sim_now_ns(l.sim);
        weir_runtime_stop(l.client);
        linked_run(&l, S);
        cr_assert_eq(l.notes[l.note_count - 1].state, WEIR_LINK_ENDED, "state %d", all_states[i]);
        cr_assert_lt(l.notes[l.note_count - 1].ns, stopped_ns + S);
        if (all_states[i] != WEIR_LINK_ENDED) cr_assert_eq(linked_status(&l).failure.error, WEIR_ESTOPPED);
        weir_link *late;
        const weir_protocol protocol = { 0 };
        cr_assert_eq(weir_link_open(l.client, "10.0.0.1:80", &protocol, NULL, &late), WEIR_ESTOPPED);
        cr_assert_null(late);
        if (i % 2) weir_link_close(l.link); /* after the end it is harmless */
        linked_end(&l);
    }
}

Test(link_sim, opened_and_closed_before_anything_has_run_leaves_nothing)
{
    linked l = { .address = "db.internal:80" };
    linked_open(&l);
    weir_link_close(l.link);
    l.link = NULL;
    linked_run(&l, S);
    cr_assert_eq(l.note_count, 0);
    linked_end(&l);
}

/* ---- memory ---- */

typedef struct shortage {
    uint64_t fail;
    bool reached;
} shortage;

static bool no_memory(weir_sim_fault fault, uint64_t number, void *data)
{
    shortage *s = data;
    if (fault != WEIR_SIM_ENOMEM || number != s->fail) return false;
    s->reached = true;
    return true;
}

static const weir_protocol quiet = { .session_size = 32 };

/* A link that must come up although one allocation fails, unless that is its own. */
static void come_up(shortage *s)
{
    weir_sim *sim;
    weir_runtime *runtime = NULL;
    weir_link *link = NULL;
    weir_failure failure;
    const weir_link_options options = { .connect.failure = &failure };
    cr_assert_eq(weir_sim_create(&sim, &(weir_sim_options){ .script = no_memory, .script_data = s }), 0);
    cr_assert_eq(weir_sim_name(sim, "db.internal", "10.0.0.1"), 0);
    int error = weir_runtime_create(&runtime, &(weir_runtime_options){ .sim = sim });
    if (error == 0) error = weir_listen(runtime, "10.0.0.1:80", &quiet, NULL, NULL);
    if (error == 0) {
        error = weir_link_open(runtime, "db.internal:80", &quiet, &options, &link);
        cr_assert_eq(failure.error, error);
    }
    cr_assert(error == 0 || (error == WEIR_ENOMEM && s->reached), "%s", weir_error_name(error));
    if (link) {
        cr_assert_eq(weir_sim_advance(sim, 60 * S), 0);
        weir_link_status status;
        weir_link_get_status(link, &status);
        cr_assert_eq(status.state, WEIR_LINK_UP, "allocation %u", (unsigned)s->fail);
    }
    weir_runtime_destroy(runtime);
    weir_sim_destroy(sim);
}

Test(link_sim, comes_up_although_any_one_allocation_fails)
{
    shortage s = { .reached = true };
    unsigned count = 0;
    for (; s.reached; s.fail++, count++) {
        s.reached = false;
        come_up(&s);
        cr_assert_lt(count, 1000);
    }
    cr_assert_gt(count, 10);
}
