/* The simulator's network: how long bytes are on their way, in which pieces they come, and who is reached where. */
#include "sim_world.h"

#include <stdio.h>
#include <stdlib.h>

#include "platform/os.h"

/* ---- the seed ---- */

/* A bit of everything: connections, bytes both ways, ends and resets. Returns the trace's hash. */
static uint64_t live(uint64_t seed)
{
    world w;
    sim_open(&w, &(wr_sim_options){ .seed = seed,
                                    .latency_us_min = 100,
                                    .latency_us_max = 9000,
                                    .per_mille = { [WR_FAULT_PARTIAL] = 300, [WR_FAULT_LOSS] = 100 } });
    for (int i = 0; i < 20; i++) {
        pair p = world_pair(&w);
        char heard[8];
        size_t size;
        deed close = { 0 };
        world_say(&w, p.a, "question", 8);
        world_hear(&w, p.b, heard, 8);
        world_say(&w, p.b, "answer", 6);
        world_end(&w, p.b, i % 3 == 0, &close);
        world_hear_end(&w, p.a, &size);
        world_await(&w, &close);
        world_finish(&w, p.a);
    }
    uint64_t hash = wr_sim_trace_hash(w.sim);
    sim_close(&w);
    return hash;
}

Test(sim_seed, decides_all_that_happens)
{
    for (uint64_t seed = 0; seed < 20; seed++) cr_assert_eq(live(seed), live(seed));
}

Test(sim_seed, makes_a_difference)
{
    for (uint64_t seed = 0; seed < 20; seed++) cr_assert_neq(live(seed), live(seed + 1));
}

/* One number, for every system and compiler: whoever changes what a seed means changes it here. */
Test(sim_seed, means_the_same_everywhere)
{
    cr_assert_eq(live(1), UINT64_C(0x873675bb9df8130b), "it is %016llx", (unsigned long long)live(1));
}

static void count_lines(const char *line, void *data)
{
    cr_assert_null(strchr(line, '\n'));
    ++*(unsigned *)data;
}

Test(sim_seed, does_not_hear_of_whoever_reads_the_trace)
{
    uint64_t hashes[2];
    unsigned lines = 0;
    for (int told = 0; told < 2; told++) {
        world w;
        sim_open(&w, &(wr_sim_options){ .seed = 5, .trace = told ? count_lines : NULL, .trace_data = &lines });
        world_finish_pair(&w, world_pair(&w));
        hashes[told] = wr_sim_trace_hash(w.sim);
        sim_close(&w);
    }
    cr_assert_eq(hashes[0], hashes[1]);
    cr_assert_gt(lines, 5);
}

static void keep_lines(const char *line, void *data)
{
    char *text = data;
    size_t length = strlen(text);
    snprintf(text + length, 4096 - length, "%s\n", line);
}

Test(sim_trace, tells_what_happens_in_words)
{
    char text[4096] = "";
    world w;
    sim_open(&w, &(wr_sim_options){
                     .latency_us_min = 10000, .latency_us_max = 10000, .trace = keep_lines, .trace_data = text });
    wr_endpoint where = sim_at(10, 0, 0, 1, 7777);
    wr_sock listener = sim_listen(&w, &where, 8);
    pair p = world_pair_at(&w, listener, &where);
    char heard[5];
    world_say(&w, p.a, "hello", 5);
    world_hear(&w, p.b, heard, 5);
    wr_addr host = where.addr;
    cr_assert_eq(wr_sim_cut(w.sim, &host, NULL), 0);
    world_finish_pair(&w, p);
    sim_close(&w);
    static const char *const expected[] = {
        "0.000000000 #1 10.0.0.1:7777 listens\n",
        "0.000000000 #2 198.18.0.1:32768 (to 10.0.0.1:7777) connects\n",
        "0.010000000 #3 10.0.0.1:7777 (to 198.18.0.1:32768) is accepted\n",
        "0.020000000 #2 198.18.0.1:32768 (to 10.0.0.1:7777) is connected\n",
        "0.020000000 #2 198.18.0.1:32768 (to 10.0.0.1:7777) sends 5 bytes\n",
        "0.030000000 #3 10.0.0.1:7777 (to 198.18.0.1:32768) gets 5 bytes\n",
        "0.030000000 #3 10.0.0.1:7777 (to 198.18.0.1:32768) reads 5 bytes\n",
        "0.030000000 network: 10.0.0.1 and all others are cut\n",
        "0.030000000 #2 198.18.0.1:32768 (to 10.0.0.1:7777) closes\n",
    };
    for (size_t i = 0; i < sizeof expected / sizeof *expected; i++)
        cr_assert_not_null(strstr(text, expected[i]), "no '%s' in\n%s", expected[i], text);
}

/* ---- time ---- */

static uint64_t now(world *w)
{
    return wr_sim_now_ns(w->sim);
}

Test(sim_latency, is_what_was_asked_for)
{
    world w;
    sim_open(&w, &(wr_sim_options){ .latency_us_min = 25000, .latency_us_max = 25000 });
    wr_endpoint where;
    wr_sock listener = world_listen_ipv4(&w, &where);
    cr_assert_eq(now(&w), 0);
    pair p = world_pair_at(&w, listener, &where);
    cr_assert_eq(now(&w), 50 * MS); /* there and back */
    char heard;
    world_say(&w, p.a, "x", 1); /* with the kernel at once */
    cr_assert_eq(now(&w), 50 * MS);
    world_hear(&w, p.b, &heard, 1);
    cr_assert_eq(now(&w), 75 * MS);
    deed recv = { 0 };
    world_recv(&w, p.a, &recv);
    wr_cq_shutdown(w.cq, p.b);
    world_await(&w, &recv);
    cr_assert_eq(recv.error, WEIR_EEOF);
    cr_assert_eq(now(&w), 100 * MS);
    world_finish_pair(&w, p);
    sim_close(&w);
}

Test(sim_latency, varies_between_its_bounds)
{
    world w;
    sim_open(&w, &(wr_sim_options){ .seed = 3, .latency_us_min = 1000, .latency_us_max = 5000 });
    pair p = world_pair(&w);
    uint64_t least = UINT64_MAX, most = 0;
    for (int i = 0; i < 1000; i++) {
        char heard;
        uint64_t before = now(&w);
        world_say(&w, p.a, "x", 1);
        world_hear(&w, p.b, &heard, 1);
        uint64_t took = now(&w) - before;
        if (took < least) least = took;
        if (took > most) most = took;
    }
    cr_assert(least >= 1 * MS && least < 1 * MS + MS / 10, "%llu", (unsigned long long)least);
    cr_assert(most <= 5 * MS && most > 5 * MS - MS / 10, "%llu", (unsigned long long)most);
    world_finish_pair(&w, p);
    sim_close(&w);
}

Test(sim_latency, lets_no_segment_overtake_another)
{
    world w;
    sim_open(&w, &(wr_sim_options){ .seed = 4, .latency_us_max = 100000 });
    pair p = world_pair(&w);
    for (unsigned i = 0; i < 250; i++) world_say(&w, p.a, &(uint8_t){ (uint8_t)i }, 1);
    for (unsigned i = 0; i < 250; i++) {
        deed recv = { 0 };
        world_recv(&w, p.b, &recv);
        world_await(&w, &recv);
        for (uint32_t k = 0; k < recv.size; k++) cr_assert_eq(recv.buffer[k], (uint8_t)(i + k));
        i += recv.size - 1;
        world_return(&w, &recv);
    }
    world_finish_pair(&w, p);
    sim_close(&w);
}

/* Receives that many bytes, whatever they are. */
static void drain(world *w, wr_sock sock, uint64_t size)
{
    deed recv = { 0 };
    for (uint64_t got = 0; got < size; got += recv.size) {
        world_recv(w, sock, &recv);
        world_await(w, &recv);
        cr_assert_eq(recv.error, 0);
        world_return(w, &recv);
    }
}

static const uint8_t million[1000000];

Test(sim_bandwidth, spreads_bytes_over_time)
{
    world w;
    sim_open(&w, &(wr_sim_options){
                     .bytes_per_second = 250000, .window = 2000000, .latency_us_min = 10000, .latency_us_max = 10000 });
    pair p = world_pair(&w);
    uint64_t before = now(&w);
    world_say(&w, p.a, million, sizeof million);
    cr_assert_eq(now(&w), before); /* the kernel has it */
    drain(&w, p.b, sizeof million);
    cr_assert_eq(now(&w) - before, UINT64_C(4) * S + 10 * MS);
    /* The line is free again: another byte takes 4 us and the latency. */
    world_say(&w, p.a, million, 1);
    before = now(&w);
    drain(&w, p.b, 1);
    cr_assert_eq(now(&w) - before, 4000 + 10 * MS);
    world_finish_pair(&w, p);
    sim_close(&w);
}

Test(sim_bandwidth, is_each_ways_own)
{
    world w;
    sim_open(&w, &(wr_sim_options){ .bytes_per_second = 1000000, .window = 2000000 });
    pair p = world_pair(&w);
    uint64_t before = now(&w);
    world_say(&w, p.a, million, sizeof million);
    world_say(&w, p.b, million, sizeof million);
    drain(&w, p.a, sizeof million);
    drain(&w, p.b, sizeof million);
    cr_assert_eq(now(&w) - before, (uint64_t)S);
    world_finish_pair(&w, p);
    sim_close(&w);
}

/* ---- windows ---- */

Test(sim_window, bounds_what_nobody_reads)
{
    enum { WINDOW = 5000 };
    world w;
    sim_open(&w, &(wr_sim_options){ .window = WINDOW, .latency_us_min = 1000, .latency_us_max = 1000 });
    pair p = world_pair(&w);
    deed send = { 0 };
    wr_slice slice = { .data = million, .size = WINDOW };
    world_send(&w, p.a, &slice, &send);
    world_await(&w, &send);
    slice.size = 1;
    world_send(&w, p.a, &slice, &send);
    world_settle(&w);
    cr_assert_not(send.done);
    uint64_t before = now(&w);
    drain(&w, p.b, 1);
    world_await(&w, &send);
    cr_assert_eq(send.error, 0);
    cr_assert_eq(now(&w) - before, 1 * MS); /* the sender hears of the room a latency later */
    world_finish_pair(&w, p);
    sim_close(&w);
}

Test(sim_window, has_a_default)
{
    world w;
    sim_open(&w, &(wr_sim_options){ 0 });
    pair p = world_pair(&w);
    deed send = { 0 };
    wr_slice slice = { .data = million, .size = WR_SIM_WINDOW };
    world_send(&w, p.a, &slice, &send);
    world_await(&w, &send);
    world_send(&w, p.a, &slice, &send);
    world_settle(&w);
    cr_assert_not(send.done);
    world_finish_pair(&w, p);
    world_await(&w, &send);
    sim_close(&w);
}

/* ---- order ---- */

/* Two connections with a recv pending at their `b`, for which a byte comes at the same time. */
typedef struct twins {
    pair pairs[2];
    deed recvs[2], sends[2];
} twins;

static const wr_slice four_bytes = { .data = "late", .size = 4 };

static void twins_open(world *w, twins *t)
{
    memset(t, 0, sizeof *t);
    for (int i = 0; i < 2; i++) {
        t->pairs[i] = world_pair(w);
        world_recv(w, t->pairs[i].b, &t->recvs[i]);
    }
    for (int i = 0; i < 2; i++) world_send(w, t->pairs[i].a, &four_bytes, &t->sends[i]);
}

static bool first_is_first(uint64_t seed)
{
    world w;
    twins t;
    sim_open(&w, &(wr_sim_options){ .seed = seed });
    twins_open(&w, &t);
    for (int i = 0; i < 2; i++) {
        world_await(&w, &t.recvs[i]);
        world_await(&w, &t.sends[i]);
        world_return(&w, &t.recvs[i]);
    }
    for (int i = 0; i < 2; i++) world_finish_pair(&w, t.pairs[i]);
    sim_close(&w);
    return t.recvs[0].turn < t.recvs[1].turn;
}

Test(sim_order, of_completions_on_different_sockets_is_the_seeds)
{
    unsigned first = 0;
    for (uint64_t seed = 0; seed < 100; seed++) first += first_is_first(seed);
    cr_assert(first > 20 && first < 80, "%u of 100", first);
}

/* Closes one whose bytes have come and were not yet delivered. True: its recv has them. */
static bool close_brings_bytes(uint64_t seed)
{
    world w;
    twins t;
    deed close = { 0 };
    sim_open(&w, &(wr_sim_options){ .seed = seed });
    twins_open(&w, &t);
    w.capacity = 1;
    while (!t.recvs[0].done && !t.recvs[1].done) world_pump(&w, WR_DEADLINE_NOW);
    w.capacity = WORLD_BATCH;
    int late = t.recvs[0].done ? 1 : 0;
    world_end(&w, t.pairs[late].b, false, &close);
    world_await(&w, &close);
    for (int i = 0; i < 2; i++) world_await(&w, &t.sends[i]);
    cr_assert(t.recvs[late].done && (t.recvs[late].error == 0 || t.recvs[late].error == WEIR_ECANCELED));
    bool has_bytes = t.recvs[late].error == 0;
    if (has_bytes) cr_assert_arr_eq(t.recvs[late].buffer, "late", 4);
    for (int i = 0; i < 2; i++)
        if (t.recvs[i].buffer) world_return(&w, &t.recvs[i]);
    world_finish(&w, t.pairs[late].a);
    world_finish_pair(&w, t.pairs[1 - late]);
    sim_close(&w);
    return has_bytes;
}

Test(sim_order, lets_a_recv_that_is_pending_at_the_close_end_either_way)
{
    unsigned with_bytes = 0;
    for (uint64_t seed = 0; seed < 100; seed++) with_bytes += close_brings_bytes(seed);
    cr_assert(with_bytes > 20 && with_bytes < 80, "%u of 100", with_bytes);
}

/* ---- hosts ---- */

Test(sim_hosts, have_any_address)
{
    world w;
    sim_open(&w, &(wr_sim_options){ 0 });
    wr_endpoint where = sim_at(203, 0, 113, 9, 443);
    wr_sock listener = sim_listen(&w, &where, 8);
    wr_addr client = sim_at(8, 8, 8, 8, 0).addr, local;
    deed accept = { 0 }, connect = { 0 };
    world_accept(&w, listener, &accept);
    world_connect_from(&w, &client, &where, &connect);
    world_await(&w, &connect);
    world_await_accepted(&w, &accept, 1);
    cr_assert_arr_eq(accept.peers[0].ip, client.ip, 4);
    wr_sock accepted = world_adopt(&w, accept.accepted[0]);
    wr_cq_local(w.cq, accepted, &local);
    cr_assert_arr_eq(local.ip, where.addr.ip, 4);
    cr_assert_eq(local.port, 443);
    world_finish(&w, listener);
    sim_close(&w);
}

Test(sim_hosts, do_not_have_those_for_documentation)
{
    world w;
    sim_open(&w, &(wr_sim_options){ .latency_us_min = 1000, .latency_us_max = 1000 });
    wr_endpoint nowhere = sim_at(192, 0, 2, 1, 80);
    deed connect = { 0 };
    world_connect(&w, &nowhere, &connect);
    world_await(&w, &connect);
    cr_assert_eq(connect.error, WEIR_EHOSTUNREACH);
    cr_assert_eq(now(&w), 2 * MS);
    sim_close(&w);
}

static wr_endpoint ipv6_at(uint8_t last, uint16_t port)
{
    wr_endpoint where = { .addr = { .port = port, .family = WR_FAMILY_IPV6 } };
    where.addr.ip[15] = last;
    if (last > 1) where.addr.ip[0] = 0xfd;
    return where;
}

/* Connects, and tells by which listener it was accepted: -1 by none. */
static int reach(world *w, const wr_endpoint *where, deed *accepts, int count)
{
    deed connect = { 0 };
    world_connect(w, where, &connect);
    world_await(w, &connect);
    if (connect.error) {
        cr_assert_eq(connect.error, WEIR_ECONNREFUSED);
        return -1;
    }
    world_settle(w);
    world_finish(w, connect.sock);
    for (int i = 0; i < count; i++) {
        if (accepts[i].accepted_count == 0) continue;
        wr_cq_discard(w->cq, accepts[i].accepted[0]);
        accepts[i].accepted_count = 0;
        return i;
    }
    return -1;
}

Test(sim_hosts, prefer_the_listener_of_the_very_address)
{
    world w;
    sim_open(&w, &(wr_sim_options){ 0 });
    const wr_endpoint any = sim_at(0, 0, 0, 0, 80), one = sim_at(10, 0, 0, 1, 81), both = ipv6_at(0, 82);
    const wr_endpoint wheres[] = { any, one, both };
    static deed accepts[3];
    wr_sock listeners[3];
    for (int i = 0; i < 3; i++) {
        listeners[i] = sim_listen(&w, &wheres[i], 8);
        world_accept(&w, listeners[i], &accepts[i]);
    }
    const struct {
        wr_endpoint to;
        int reached;
    } cases[] = {
        { sim_at(10, 0, 0, 1, 80), 0 },  { sim_at(10, 0, 0, 2, 80), 0 }, { sim_at(10, 0, 0, 1, 81), 1 },
        { sim_at(10, 0, 0, 2, 81), -1 }, { ipv6_at(7, 82), 2 },          { sim_at(10, 0, 0, 9, 82), 2 },
        { ipv6_at(7, 80), -1 },          { sim_at(0, 0, 0, 0, 80), 0 },  { ipv6_at(0, 82), 2 },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        cr_assert_eq(reach(&w, &cases[i].to, accepts, 3), cases[i].reached, "case %zu", i);
    for (int i = 0; i < 3; i++) world_finish(&w, listeners[i]);
    sim_close(&w);
}

static int try_listen(world *w, wr_listen_params params)
{
    wr_listen_result result;
    params.backlog = 8;
    int error = wr_cq_listen(w->cq, &params, &result);
    if (error == 0) wr_cq_discard(w->cq, result.socket);
    return error;
}

Test(sim_hosts, let_two_listeners_have_a_port_where_they_do_not_meet)
{
    world w;
    sim_open(&w, &(wr_sim_options){ 0 });
    const wr_endpoint one = sim_at(10, 0, 0, 1, 80), everything = ipv6_at(0, 81);
    wr_sock first = sim_listen(&w, &one, 8), second = sim_listen(&w, &everything, 8);
    cr_assert_eq(try_listen(&w, (wr_listen_params){ .local = sim_at(10, 0, 0, 2, 80) }), 0);
    cr_assert_eq(try_listen(&w, (wr_listen_params){ .local = sim_at(10, 0, 0, 1, 80) }), WEIR_EADDRINUSE);
    cr_assert_eq(try_listen(&w, (wr_listen_params){ .local = sim_at(0, 0, 0, 0, 80) }), WEIR_EADDRINUSE);
    cr_assert_eq(try_listen(&w, (wr_listen_params){ .local = ipv6_at(0, 80) }), WEIR_EADDRINUSE);
    cr_assert_eq(try_listen(&w, (wr_listen_params){ .local = ipv6_at(0, 80), .ipv6_only = true }), 0);
    cr_assert_eq(try_listen(&w, (wr_listen_params){ .local = ipv6_at(9, 81) }), WEIR_EADDRINUSE);
    cr_assert_eq(try_listen(&w, (wr_listen_params){ .local = sim_at(10, 0, 0, 1, 81) }), WEIR_EADDRINUSE);
    world_finish(&w, first);
    world_finish(&w, second);
    cr_assert_eq(try_listen(&w, (wr_listen_params){ .local = one }), 0);
    sim_close(&w);
}

Test(sim_hosts, share_a_port_only_if_all_say_so)
{
    world w;
    sim_open(&w, &(wr_sim_options){ 0 });
    wr_listen_params params = {
        .local = sim_at(10, 0, 0, 1, 80), .backlog = 8, .shared_port = true, .claims_port = true
    };
    wr_listen_result result;
    cr_assert_eq(wr_cq_listen(w.cq, &params, &result), 0);
    cr_assert_eq(try_listen(&w, params), WEIR_EADDRINUSE);
    params.claims_port = false;
    cr_assert_eq(try_listen(&w, params), 0);
    params.shared_port = false;
    cr_assert_eq(try_listen(&w, params), WEIR_EADDRINUSE);
    wr_cq_discard(w.cq, result.socket);
    sim_close(&w);
}

Test(sim_hosts, make_a_connect_wait_for_room_in_the_backlog)
{
    world w;
    sim_open(&w, &(wr_sim_options){ 0 });
    wr_endpoint where = sim_at(10, 0, 0, 1, 80);
    wr_sock listener = sim_listen(&w, &where, 1);
    deed connects[2] = { 0 }, accept = { 0 };
    for (int i = 0; i < 2; i++) world_connect(&w, &where, &connects[i]);
    world_settle(&w);
    cr_assert_neq(connects[0].done, connects[1].done);
    world_accept(&w, listener, &accept);
    world_await_accepted(&w, &accept, 2);
    cr_assert_eq(now(&w), (uint64_t)S); /* when it was tried again */
    for (int i = 0; i < 2; i++) world_await(&w, &connects[i]);
    for (int i = 0; i < 2; i++) wr_cq_discard(w.cq, accept.accepted[i]);
    world_finish(&w, listener);
    sim_close(&w);
}
