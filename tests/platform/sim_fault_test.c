/* The simulator's faults, each by script where it must strike once and by ratio where it must strike often; and cuts.
 */
#include "sim_world.h"

enum { LATENCY_MS = 10 };

static const wr_slice one_byte = { .data = "x", .size = 1 };

/* A world in which `only` strikes once. */
static void open_with(world *w, sim_only *only)
{
    sim_open(w, &(wr_sim_options){ .latency_us_min = LATENCY_MS * 1000,
                                   .latency_us_max = LATENCY_MS * 1000,
                                   .script = sim_only_this,
                                   .script_data = only });
}

static uint64_t now(world *w)
{
    return wr_sim_now_ns(w->sim);
}

/* What a recv ends with. */
static int hear(world *w, wr_sock sock)
{
    deed recv = { 0 };
    world_recv(w, sock, &recv);
    world_await(w, &recv);
    if (recv.buffer) world_return(w, &recv);
    return recv.error;
}

/* What a send of a byte ends with. */
static int say(world *w, wr_sock sock)
{
    deed send = { 0 };
    world_send(w, sock, &one_byte, &send);
    world_await(w, &send);
    return send.error;
}

static int connect_to(world *w, const wr_endpoint *where, wr_sock *sock)
{
    deed connect = { 0 };
    world_connect(w, where, &connect);
    world_await(w, &connect);
    *sock = connect.sock;
    return connect.error;
}

/* ---- pieces ---- */

Test(sim_partial, cuts_reads_and_writes_and_loses_nothing)
{
    enum { SIZE = 3000 };
    enum wr_sim_fault all = WR_FAULT_PARTIAL;
    uint8_t said[SIZE], heard[SIZE];
    world w;
    sim_open(&w, &(wr_sim_options){ .seed = 1, .script = sim_all_of, .script_data = &all });
    pair p = world_pair(&w);
    for (int i = 0; i < SIZE; i++) said[i] = (uint8_t)(i * 7);
    world_say(&w, p.a, said, SIZE);
    size_t size = 0, pieces = 0;
    for (; size < SIZE; pieces++) {
        deed recv = { 0 };
        world_recv(&w, p.b, &recv);
        world_await(&w, &recv);
        memcpy(heard + size, recv.buffer, recv.size);
        size += recv.size;
        world_return(&w, &recv);
    }
    cr_assert_gt(pieces, 5);
    cr_assert_arr_eq(said, heard, SIZE);
    world_finish_pair(&w, p);
    sim_close(&w);
}

/* ---- losses ---- */

Test(sim_loss, delays_a_segment_by_200_ms_and_what_follows_with_it)
{
    world w;
    open_with(&w, &(sim_only){ WR_FAULT_LOSS, 1 }); /* 0 is the SYN's */
    pair p = world_pair(&w);
    uint64_t before = now(&w);
    cr_assert_eq(say(&w, p.a), 0);
    cr_assert_eq(say(&w, p.a), 0);
    char heard[2];
    world_hear(&w, p.b, heard, 2);
    cr_assert_eq(now(&w) - before, (200 + LATENCY_MS) * MS);
    world_finish_pair(&w, p);
    sim_close(&w);
}

Test(sim_loss, of_a_syn_costs_a_second)
{
    world w;
    open_with(&w, &(sim_only){ WR_FAULT_LOSS, 0 });
    world_finish_pair(&w, world_pair(&w));
    cr_assert_eq(now(&w), UINT64_C(1) * S + 2 * LATENCY_MS * MS);
    sim_close(&w);
}

Test(sim_loss, of_everything_ends_after_eight_times)
{
    world w;
    sim_open(&w, &(wr_sim_options){ 0 });
    pair p = world_pair(&w);
    enum wr_sim_fault all = WR_FAULT_LOSS;
    wr_sim_change(w.sim, &(wr_sim_options){ .script = sim_all_of, .script_data = &all });
    uint64_t before = now(&w);
    deed recv = { 0 };
    cr_assert_eq(say(&w, p.a), 0);
    world_recv(&w, p.b, &recv);
    while (!recv.done) world_pump(&w, WR_DEADLINE_NEVER);
    cr_assert_eq(now(&w) - before, UINT64_C(200) * 255 * MS); /* 1 + 2 + 4 + … + 128 */
    world_return(&w, &recv);
    world_finish_pair(&w, p);
    sim_close(&w);
}

/* ---- resets ---- */

Test(sim_reset, ends_both_ends_at_a_delivery)
{
    world w;
    open_with(&w, &(sim_only){ WR_FAULT_RESET, 1 });
    pair p = world_pair(&w);
    cr_assert_eq(say(&w, p.a), 0);
    cr_assert_eq(hear(&w, p.b), 0);
    cr_assert_eq(say(&w, p.a), 0);
    uint64_t before = now(&w);
    cr_assert_eq(hear(&w, p.b), WEIR_ECONNRESET);
    cr_assert_eq(now(&w) - before, LATENCY_MS * MS);
    cr_assert_eq(hear(&w, p.a), WEIR_ECONNRESET);
    cr_assert_eq(now(&w) - before, 2 * LATENCY_MS * MS);
    cr_assert_eq(say(&w, p.a), WEIR_ECONNRESET);
    cr_assert_eq(say(&w, p.b), WEIR_ECONNRESET);
    world_finish_pair(&w, p);
    sim_close(&w);
}

Test(sim_reset, answers_what_is_sent_to_an_end_that_is_closed)
{
    world w;
    open_with(&w, &(sim_only){ WR_FAULTS, 0 });
    pair p = world_pair(&w);
    world_finish(&w, p.b);
    cr_assert_eq(hear(&w, p.a), WEIR_EEOF);
    cr_assert_eq(say(&w, p.a), 0); /* nobody knows yet */
    world_settle(&w);
    cr_assert_eq(say(&w, p.a), WEIR_ECONNRESET);
    world_finish(&w, p.a);
    sim_close(&w);
}

/* How often, of 100 seeds, bytes that came before a reset can still be read. */
static unsigned bytes_before_resets(bool close_unread)
{
    unsigned kept = 0;
    for (uint64_t seed = 0; seed < 100; seed++) {
        world w;
        sim_open(&w, &(wr_sim_options){ .seed = seed });
        pair p = world_pair(&w);
        cr_assert_eq(say(&w, p.a), 0);
        if (close_unread) cr_assert_eq(say(&w, p.b), 0);
        world_settle(&w);
        deed close = { 0 };
        world_end(&w, p.a, !close_unread, &close); /* closing with unread bytes is a reset too */
        world_await(&w, &close);
        world_settle(&w);
        size_t size;
        cr_assert_eq(world_hear_end(&w, p.b, &size), WEIR_ECONNRESET);
        kept += size == 1;
        world_finish(&w, p.b);
        sim_close(&w);
    }
    return kept;
}

Test(sim_reset, may_or_may_not_destroy_what_came_before)
{
    for (int unread = 0; unread < 2; unread++) {
        unsigned kept = bytes_before_resets(unread);
        cr_assert(kept > 20 && kept < 80, "%u of 100", kept);
    }
}

/* ---- refusals and shortages ---- */

Test(sim_refuse, strikes_although_somebody_listens)
{
    world w;
    open_with(&w, &(sim_only){ WR_FAULT_REFUSE, 0 });
    wr_endpoint where;
    wr_sock listener = world_listen_ipv4(&w, &where), sock;
    cr_assert_eq(connect_to(&w, &where, &sock), WEIR_ECONNREFUSED);
    cr_assert_eq(now(&w), 2 * LATENCY_MS * MS);
    cr_assert_eq(connect_to(&w, &where, &sock), 0);
    world_finish(&w, sock);
    world_finish(&w, listener);
    sim_close(&w);
}

Test(sim_emfile, strikes_listeners_connects_and_accepts)
{
    world w;
    wr_endpoint where = sim_at(10, 0, 0, 1, 80);
    wr_listen_result result;
    wr_sock sock;
    open_with(&w, &(sim_only){ WR_FAULT_EMFILE, 0 });
    cr_assert_eq(wr_cq_listen(w.cq, &(wr_listen_params){ .local = where, .backlog = 8 }, &result), WEIR_EMFILE);
    cr_assert_eq(result.step, WR_STEP_SOCKET);
    wr_sock listener = sim_listen(&w, &where, 8);

    wr_sim_change(w.sim,
                  &(wr_sim_options){ .script = sim_only_this, .script_data = &(sim_only){ WR_FAULT_EMFILE, 2 } });
    cr_assert_eq(connect_to(&w, &where, &sock), WEIR_EMFILE);
    cr_assert_eq(connect_to(&w, &where, &sock), 0);

    wr_sim_change(w.sim,
                  &(wr_sim_options){ .script = sim_only_this, .script_data = &(sim_only){ WR_FAULT_EMFILE, 4 } });
    deed accept = { 0 };
    world_accept(&w, listener, &accept);
    world_await(&w, &accept);
    cr_assert_eq(accept.error, WEIR_EMFILE);
    cr_assert_eq(accept.accepted_count, 0);
    world_accept(&w, listener, &accept); /* the backlog is still there */
    world_await_accepted(&w, &accept, 1);
    wr_cq_discard(w.cq, accept.accepted[0]);
    world_finish(&w, sock);
    world_finish(&w, listener);
    sim_close(&w);
}

Test(sim_emfile, strikes_beyond_max_sockets)
{
    world w;
    wr_endpoint where = sim_at(10, 0, 0, 1, 80);
    wr_sock first, second;
    deed accept = { 0 };
    sim_open(&w, &(wr_sim_options){ .max_sockets = 3 });
    wr_sock listener = sim_listen(&w, &where, 8);
    cr_assert_eq(connect_to(&w, &where, &first), 0);
    cr_assert_eq(connect_to(&w, &where, &second), 0);
    cr_assert_eq(connect_to(&w, &where, &(wr_sock){ 0 }), WEIR_EMFILE);
    world_accept(&w, listener, &accept);
    world_await(&w, &accept);
    cr_assert_eq(accept.error, WEIR_EMFILE);
    world_finish(&w, second); /* makes room for one */
    world_accept(&w, listener, &accept);
    world_await(&w, &accept);
    cr_assert_eq(accept.accepted_count, 1);
    cr_assert_eq(accept.error, WEIR_EMFILE);
    wr_cq_discard(w.cq, accept.accepted[0]);
    world_finish(&w, first);
    world_finish(&w, listener);
    sim_close(&w);
}

Test(sim_enobufs, strikes_connects_accepts_and_sends)
{
    world w;
    wr_endpoint where = sim_at(10, 0, 0, 1, 80);
    wr_sock sock;
    open_with(&w, &(sim_only){ WR_FAULT_ENOBUFS, 0 });
    wr_sock listener = sim_listen(&w, &where, 8);
    cr_assert_eq(connect_to(&w, &where, &sock), WEIR_ENOBUFS);
    cr_assert_eq(connect_to(&w, &where, &sock), 0);
    wr_sim_change(w.sim,
                  &(wr_sim_options){ .script = sim_only_this, .script_data = &(sim_only){ WR_FAULT_ENOBUFS, 2 } });
    deed accept = { 0 };
    world_accept(&w, listener, &accept);
    world_await(&w, &accept);
    cr_assert_eq(accept.error, WEIR_ENOBUFS);
    world_accept(&w, listener, &accept);
    world_await_accepted(&w, &accept, 1);
    wr_sim_change(w.sim,
                  &(wr_sim_options){ .script = sim_only_this, .script_data = &(sim_only){ WR_FAULT_ENOBUFS, 4 } });
    cr_assert_eq(say(&w, sock), WEIR_ENOBUFS);
    cr_assert_eq(say(&w, sock), 0);
    wr_cq_discard(w.cq, accept.accepted[0]);
    world_finish(&w, sock);
    world_finish(&w, listener);
    sim_close(&w);
}

Test(sim_enomem, strikes_recvs_connects_and_adoptions)
{
    world w;
    wr_endpoint where = sim_at(10, 0, 0, 1, 80);
    enum wr_sim_fault all = WR_FAULT_ENOMEM;
    const wr_sim_options short_of_memory = { .script = sim_all_of, .script_data = &all }, calm = { 0 };
    wr_sock sock;
    deed accept = { 0 };
    sim_open(&w, &calm);
    wr_sock listener = sim_listen(&w, &where, 8);
    wr_sim_change(w.sim, &short_of_memory);
    cr_assert_eq(connect_to(&w, &where, &sock), WEIR_ENOMEM);
    wr_sim_change(w.sim, &calm);
    cr_assert_eq(connect_to(&w, &where, &sock), 0);
    world_accept(&w, listener, &accept);
    world_await_accepted(&w, &accept, 1);
    wr_sim_change(w.sim, &short_of_memory);
    wr_sock accepted;
    cr_assert_eq(wr_cq_adopt(w.cq, accept.accepted[0], &accepted), WEIR_ENOMEM);
    wr_sim_change(w.sim, &calm);
    accepted = world_adopt(&w, accept.accepted[0]);
    cr_assert_eq(say(&w, sock), 0);
    wr_sim_change(w.sim, &short_of_memory);
    cr_assert_eq(hear(&w, accepted), WEIR_ENOMEM);
    wr_sim_change(w.sim, &calm);
    cr_assert_eq(hear(&w, accepted), 0);
    world_finish(&w, accepted);
    world_finish(&w, sock);
    world_finish(&w, listener);
    sim_close(&w);
}

/* ---- ratios ---- */

Test(sim_ratio, is_of_a_thousand)
{
    static const uint16_t ratios[] = { 0, 1, 250, 999, 1000 };
    for (int fault = 0; fault < WR_FAULTS; fault++) {
        for (size_t i = 0; i < sizeof ratios / sizeof *ratios; i++) {
            wr_sim *sim;
            wr_sim_options options = { .seed = 9 };
            options.per_mille[fault] = ratios[i];
            cr_assert_eq(wr_sim_create(&sim, &options), 0);
            unsigned struck = 0;
            for (int n = 0; n < 100000; n++) struck += wr_sim_strikes(sim, (enum wr_sim_fault)fault);
            unsigned expected = ratios[i] * 100u, slack = ratios[i] % 1000 == 0 ? 0 : 60 + expected / 50;
            cr_assert(struck + slack >= expected && struck <= expected + slack, "%u instead of %u", struck, expected);
            wr_sim_destroy(sim);
        }
    }
}

/* ---- cuts ---- */

static const wr_addr server = { .ip = { 10, 0, 0, 1 }, .family = WR_FAMILY_IPV4 };
static const wr_addr client = { .ip = { 198, 18, 0, 1 }, .family = WR_FAMILY_IPV4 };
static const wr_addr stranger = { .ip = { 10, 0, 0, 9 }, .family = WR_FAMILY_IPV4 };

/* A connection from client to server. */
static pair open_pair(world *w)
{
    sim_open(w, &(wr_sim_options){ .latency_us_min = LATENCY_MS * 1000, .latency_us_max = LATENCY_MS * 1000 });
    wr_endpoint where = sim_at(10, 0, 0, 1, 80);
    wr_sock listener = sim_listen(w, &where, 8);
    pair p = world_pair_at(w, listener, &where);
    world_finish(w, listener);
    return p;
}

static void close_pair(world *w, pair p)
{
    world_finish_pair(w, p);
    sim_close(w);
}

Test(sim_cut, holds_bytes_until_it_heals)
{
    const wr_addr *const cuts[][2] = {
        { &server, &client }, { &client, &server }, { &server, NULL }, { &client, NULL }
    };
    for (size_t i = 0; i < sizeof cuts / sizeof *cuts; i++) {
        world w;
        pair p = open_pair(&w);
        cr_assert_eq(say(&w, p.a), 0); /* on its way when the cut comes */
        cr_assert_eq(wr_sim_cut(w.sim, cuts[i][0], cuts[i][1]), 0);
        cr_assert_eq(say(&w, p.a), 0);
        wr_cq_shutdown(w.cq, p.b);
        deed recv = { 0 };
        world_recv(&w, p.b, &recv);
        uint64_t until = world_in_ms(&w, 60000);
        while (wr_cq_now(w.cq) < until) world_pump(&w, until);
        cr_assert_not(recv.done);
        wr_sim_heal(w.sim, cuts[i][0], cuts[i][1]);
        uint64_t before = now(&w);
        world_await(&w, &recv);
        cr_assert_eq(recv.size, 2);
        cr_assert_eq(now(&w) - before, LATENCY_MS * MS);
        world_return(&w, &recv);
        cr_assert_eq(hear(&w, p.a), WEIR_EEOF);
        close_pair(&w, p);
    }
}

Test(sim_cut, does_not_concern_others)
{
    const wr_addr *const cuts[][2] = { { &server, &stranger }, { &stranger, NULL } };
    for (size_t i = 0; i < sizeof cuts / sizeof *cuts; i++) {
        world w;
        pair p = open_pair(&w);
        cr_assert_eq(wr_sim_cut(w.sim, cuts[i][0], cuts[i][1]), 0);
        cr_assert_eq(say(&w, p.a), 0);
        cr_assert_eq(hear(&w, p.b), 0);
        close_pair(&w, p);
    }
}

Test(sim_cut, heals_one_by_one_or_all_at_once)
{
    world w;
    pair p = open_pair(&w);
    cr_assert_eq(wr_sim_cut(w.sim, &server, &client), 0);
    cr_assert_eq(wr_sim_cut(w.sim, &server, NULL), 0);
    cr_assert_eq(say(&w, p.a), 0);
    wr_sim_heal(w.sim, &server, &client);
    deed recv = { 0 };
    world_recv(&w, p.b, &recv);
    world_settle(&w);
    cr_assert_not(recv.done);
    for (int i = 0; i < 10; i++) cr_assert_eq(wr_sim_cut(w.sim, &stranger, &client), 0);
    wr_sim_heal(w.sim, NULL, NULL);
    world_await(&w, &recv);
    world_return(&w, &recv);
    close_pair(&w, p);
}

Test(sim_cut, makes_connects_time_out_after_127_s)
{
    world w;
    pair p = open_pair(&w);
    wr_endpoint where = sim_at(10, 0, 0, 1, 81);
    wr_sock listener = sim_listen(&w, &where, 8);
    cr_assert_eq(wr_sim_cut(w.sim, &server, NULL), 0);
    deed connect = { 0 };
    uint64_t before = now(&w);
    world_connect(&w, &where, &connect);
    while (!connect.done) world_pump(&w, WR_DEADLINE_NEVER);
    cr_assert_eq(connect.error, WEIR_ETIMEDOUT);
    cr_assert_eq(now(&w) - before, UINT64_C(127) * S + LATENCY_MS * MS);
    world_finish(&w, listener);
    close_pair(&w, p);
}

Test(sim_cut, of_a_connect_that_heals_in_time_is_only_a_delay)
{
    world w;
    pair p = open_pair(&w);
    wr_endpoint where = sim_at(10, 0, 0, 1, 81);
    wr_sock listener = sim_listen(&w, &where, 8);
    cr_assert_eq(wr_sim_cut(w.sim, &server, NULL), 0);
    deed connect = { 0 };
    world_connect(&w, &where, &connect);
    world_settle(&w);
    wr_sim_heal(w.sim, &server, NULL);
    world_await(&w, &connect);
    cr_assert_eq(connect.error, 0);
    world_finish(&w, connect.sock);
    world_finish(&w, listener);
    close_pair(&w, p);
}

/* A reset is not sent again: the other end knows nothing until it speaks. */
Test(sim_cut, swallows_a_reset_and_leaves_an_end_half_open)
{
    world w;
    pair p = open_pair(&w);
    deed close = { 0 }, recv = { 0 };
    cr_assert_eq(wr_sim_cut(w.sim, &server, &client), 0);
    world_recv(&w, p.b, &recv);
    world_end(&w, p.a, true, &close);
    world_await(&w, &close);
    world_settle(&w);
    wr_sim_heal(w.sim, &server, &client);
    uint64_t until = world_in_ms(&w, 3600 * 1000);
    while (wr_cq_now(w.cq) < until) world_pump(&w, until);
    cr_assert_not(recv.done);
    cr_assert_eq(say(&w, p.b), 0);
    world_await(&w, &recv);
    cr_assert_eq(recv.error, WEIR_ECONNRESET);
    world_finish(&w, p.b);
    sim_close(&w);
}

Test(sim_cut, keeps_the_answer_to_bytes_that_found_nobody)
{
    world w;
    pair p = open_pair(&w);
    world_finish(&w, p.a);
    cr_assert_eq(hear(&w, p.b), WEIR_EEOF);
    cr_assert_eq(wr_sim_cut(w.sim, &server, &client), 0);
    cr_assert_eq(say(&w, p.b), 0);
    world_settle(&w);
    cr_assert_eq(say(&w, p.b), 0); /* no reset has come */
    wr_sim_heal(w.sim, &server, &client);
    world_settle(&w);
    cr_assert_eq(say(&w, p.b), WEIR_ECONNRESET);
    world_finish(&w, p.b);
    sim_close(&w);
}

/* ---- connections that die in the backlog ---- */

Test(sim_backlog, hides_tells_of_or_hands_over_what_died_in_it)
{
    unsigned hidden = 0, told = 0, handed = 0;
    for (uint64_t seed = 0; seed < 100; seed++) {
        world w;
        deed accept = { 0 }, close = { 0 };
        wr_endpoint where = sim_at(10, 0, 0, 1, 80);
        wr_sock sock;
        sim_open(&w, &(wr_sim_options){ .seed = seed });
        wr_sock listener = sim_listen(&w, &where, 8);
        cr_assert_eq(connect_to(&w, &where, &sock), 0);
        world_end(&w, sock, true, &close);
        world_await(&w, &close);
        world_settle(&w);
        world_accept(&w, listener, &accept);
        world_settle(&w);
        if (accept.accepted_count) {
            wr_sock accepted = world_adopt(&w, accept.accepted[0]);
            cr_assert_eq(hear(&w, accepted), WEIR_ECONNRESET);
            world_finish(&w, accepted);
        }
        told += accept.errors;
        handed += accept.accepted_count;
        hidden += accept.errors + accept.accepted_count == 0;
        world_finish(&w, listener);
        sim_close(&w);
    }
    cr_assert(hidden > 15 && told > 15 && handed > 15, "%u %u %u", hidden, told, handed);
}
