/* The simulator's datagrams: how long they take, what becomes of them on the way, and who gets them. */
#include "sim_world.h"

#include <stdio.h>

enum { LATENCY_MS = 10, COUNT = 20 };

static const wr_addr server = { .ip = { 10, 0, 0, 1 }, .port = 7777, .family = WR_FAMILY_IPV4 };
static const wr_addr client = { .ip = { 10, 1, 0, 1 }, .port = 7001, .family = WR_FAMILY_IPV4 };

/* Two sockets on two hosts. */
typedef struct ends {
    wr_sock server, client;
} ends;

static wr_sock open_at(world *w, wr_addr where)
{
    return world_udp_open(w, &(wr_udp_params){ .local = where }, &where);
}

static ends open_ends(world *w, wr_sim_options options)
{
    options.latency_us_min = options.latency_us_max = LATENCY_MS * 1000;
    sim_open(w, &options);
    return (ends){ .server = open_at(w, server), .client = open_at(w, client) };
}

static void close_ends(world *w, const ends *e)
{
    world_finish(w, e->server);
    world_finish(w, e->client);
    sim_close(w);
}

static uint64_t now(world *w)
{
    return wr_sim_now_ns(w->sim);
}

/* One datagram whose only byte is its number; returns the error for which it was refused. */
static int say(world *w, wr_sock sock, wr_addr to, uint8_t number)
{
    deed send = { 0 };
    wr_datagram datagram = { .data = &number, .size = 1, .peer = to };
    world_send_to(w, sock, &datagram, &send);
    world_await(w, &send);
    cr_assert_eq(send.error, 0);
    cr_assert_eq(send.batch.sent + send.batch.refused, 1);
    return send.batch.error;
}

/* All that comes, by number, in its order; returns how many. */
static unsigned hear_all(world *w, wr_sock sock, uint8_t *numbers, unsigned room)
{
    unsigned count = 0;
    deed recv = { 0 };
    for (;;) {
        world_recv_from(w, sock, 100, &recv);
        world_settle(w);
        if (!recv.done) break;
        cr_assert_eq(recv.error, 0);
        for (const wr_datagram *datagram = recv.datagrams; datagram; datagram = datagram->next) {
            cr_assert_lt(count, room);
            numbers[count++] = *(const uint8_t *)datagram->data;
        }
        world_return(w, &recv);
    }
    world_end(w, sock, false, &(deed){ 0 });
    while (w->in_flight) world_pump(w, WR_DEADLINE_NEVER);
    return count;
}

/* What the server hears of three datagrams while `fault` strikes at the second one. */
static unsigned hear_three(enum wr_sim_fault fault, uint8_t *numbers)
{
    world w;
    ends e = open_ends(&w, (wr_sim_options){ .script = sim_only_this, .script_data = &(sim_only){ fault, 1 } });
    for (uint8_t i = 0; i < 3; i++) cr_assert_eq(say(&w, e.client, server, i), 0);
    unsigned count = hear_all(&w, e.server, numbers, 4);
    world_finish(&w, e.client);
    sim_close(&w);
    return count;
}

/* ---- on their way ---- */

Test(sim_datagram, takes_the_latency)
{
    world w;
    ends e = open_ends(&w, (wr_sim_options){ 0 });
    deed recv = { 0 };
    world_recv_from(&w, e.server, 100, &recv);
    cr_assert_eq(say(&w, e.client, server, 1), 0);
    uint64_t before = now(&w);
    world_await(&w, &recv);
    cr_assert_eq(now(&w) - before, UINT64_C(1) * LATENCY_MS * MS);
    world_return(&w, &recv);
    close_ends(&w, &e);
}

Test(sim_datagram, comes_once_and_in_order_when_nothing_goes_wrong)
{
    uint8_t numbers[4];
    cr_assert_eq(hear_three(WR_FAULTS, numbers), 3);
    for (int i = 0; i < 3; i++) cr_assert_eq(numbers[i], i);
}

Test(sim_datagram, may_be_lost)
{
    uint8_t numbers[4];
    cr_assert_eq(hear_three(WR_FAULT_DATAGRAM_LOSS, numbers), 2);
    cr_assert(numbers[0] == 0 && numbers[1] == 2);
}

Test(sim_datagram, may_come_twice)
{
    uint8_t numbers[4];
    unsigned twice = 0;
    cr_assert_eq(hear_three(WR_FAULT_DATAGRAM_COPY, numbers), 4);
    for (int i = 0; i < 4; i++) twice += numbers[i] == 1;
    cr_assert_eq(twice, 2);
}

Test(sim_datagram, may_be_overtaken)
{
    uint8_t numbers[4];
    cr_assert_eq(hear_three(WR_FAULT_DATAGRAM_LATE, numbers), 3);
    cr_assert(numbers[0] == 0 && numbers[1] == 2 && numbers[2] == 1);
}

Test(sim_datagram, overtakes_where_the_latency_varies)
{
    world w;
    uint8_t numbers[COUNT];
    unsigned late = 0;
    sim_open(&w, &(wr_sim_options){ .latency_us_min = 1000, .latency_us_max = 50000 });
    ends e = { .server = open_at(&w, server), .client = open_at(&w, client) };
    for (int i = 0; i < COUNT; i++) cr_assert_eq(say(&w, e.client, server, (uint8_t)i), 0);
    cr_assert_eq(hear_all(&w, e.server, numbers, COUNT), COUNT);
    for (int i = 1; i < COUNT; i++) late += numbers[i] < numbers[i - 1];
    cr_assert_gt(late, 2);
    world_finish(&w, e.client);
    sim_close(&w);
}

Test(sim_datagram, is_lost_in_a_cut)
{
    world w;
    uint8_t numbers[4];
    ends e = open_ends(&w, (wr_sim_options){ 0 });
    cr_assert_eq(say(&w, e.client, server, 0), 0); /* on its way when the cut comes */
    cr_assert_eq(wr_sim_cut(w.sim, &server, NULL), 0);
    cr_assert_eq(say(&w, e.client, server, 1), 0);
    world_settle(&w);
    wr_sim_heal(w.sim, NULL, NULL);
    cr_assert_eq(say(&w, e.client, server, 2), 0);
    cr_assert_eq(hear_all(&w, e.server, numbers, 4), 1);
    cr_assert_eq(numbers[0], 2);
    world_finish(&w, e.client);
    sim_close(&w);
}

/* ---- who gets it ---- */

Test(sim_datagram, is_for_whoever_has_the_port_when_it_comes)
{
    world w;
    uint8_t numbers[4];
    ends e = open_ends(&w, (wr_sim_options){ 0 });
    wr_addr later = server;
    later.port = 8888;
    cr_assert_eq(say(&w, e.client, later, 1), 0); /* nobody yet */
    wr_sock sock = open_at(&w, later);
    cr_assert_eq(hear_all(&w, sock, numbers, 4), 1);
    cr_assert_eq(say(&w, e.client, later, 2), 0); /* nobody any more, and nobody is told */
    world_settle(&w);
    close_ends(&w, &e);
}

Test(sim_datagram, is_on_its_way_when_its_world_ends)
{
    world w;
    ends e = open_ends(&w, (wr_sim_options){ 0 });
    for (uint8_t i = 0; i < 3; i++) cr_assert_eq(say(&w, e.client, server, i), 0);
    close_ends(&w, &e);
}

Test(sim_datagram, finds_no_room_in_a_full_buffer)
{
    enum { SENT = 200 };
    world w;
    uint8_t numbers[SENT];
    sim_open(&w, &(wr_sim_options){ 0 });
    wr_addr where = server;
    ends e = { .server = world_udp_open(&w, &(wr_udp_params){ .local = server, .receive_bytes = 5000 }, &where),
               .client = open_at(&w, client) };
    for (int i = 0; i < SENT; i++) cr_assert_eq(say(&w, e.client, server, (uint8_t)i), 0);
    world_settle(&w);
    unsigned count = hear_all(&w, e.server, numbers, SENT);
    cr_assert(count > 10 && count < 30, "%u", count);
    for (unsigned i = 0; i < count; i++) cr_assert_eq(numbers[i], i, "the last ones are lost, not the first");
    world_finish(&w, e.client);
    sim_close(&w);
}

/* The peer that the other sees, when it is spoken to from a socket that is bound to no host. */
static wr_addr seen_from(world *w, wr_sock sock, wr_sock other, wr_addr to)
{
    deed recv = { 0 };
    cr_assert_eq(say(w, sock, to, 1), 0);
    world_recv_from(w, other, 100, &recv);
    world_await(w, &recv);
    wr_addr peer = recv.datagrams->peer;
    world_return(w, &recv);
    return peer;
}

Test(sim_datagram, answers_from_where_it_was_spoken_to)
{
    world w;
    ends e = open_ends(&w, (wr_sim_options){ 0 });
    wr_sock any = open_at(&w, (wr_addr){ .port = 9999, .family = WR_FAMILY_IPV6 });
    wr_addr peer = seen_from(&w, any, e.client, client);
    cr_assert_arr_eq(peer.ip, ((const uint8_t[]){ 198, 18, 0, 1 }), 4, "it has not been spoken to yet");
    wr_addr name = { .ip = { 10, 0, 0, 9 }, .port = 9999, .family = WR_FAMILY_IPV4 };
    peer = seen_from(&w, e.client, any, name);
    cr_assert(peer.family == WR_FAMILY_IPV4 && peer.port == client.port);
    peer = seen_from(&w, any, e.client, client);
    cr_assert_arr_eq(peer.ip, name.ip, 4);
    cr_assert_eq(peer.port, 9999);
    world_finish(&w, any);
    close_ends(&w, &e);
}

/* ---- shortages ---- */

Test(sim_datagram, is_refused_where_no_host_is)
{
    world w;
    ends e = open_ends(&w, (wr_sim_options){ 0 });
    cr_assert_eq(say(&w, e.client, sim_at(192, 0, 2, 1, 80).addr, 1), WEIR_EHOSTUNREACH);
    close_ends(&w, &e);
}

Test(sim_datagram, is_refused_for_want_of_buffers)
{
    world w;
    uint8_t numbers[4];
    ends e =
        open_ends(&w, (wr_sim_options){ .script = sim_only_this, .script_data = &(sim_only){ WR_FAULT_ENOBUFS, 1 } });
    cr_assert_eq(say(&w, e.client, server, 0), 0);
    cr_assert_eq(say(&w, e.client, server, 1), WEIR_ENOBUFS);
    cr_assert_eq(say(&w, e.client, server, 2), 0);
    cr_assert_eq(hear_all(&w, e.server, numbers, 4), 2);
    world_finish(&w, e.client);
    sim_close(&w);
}

static int open_fails(world *w, enum wr_step *step)
{
    wr_listen_result result;
    int error = wr_cq_udp_open(w->cq, &(wr_udp_params){ .local = server }, &result);
    *step = result.step;
    if (error == 0) wr_cq_discard(w->cq, result.socket);
    return error;
}

Test(sim_datagram, has_no_socket_without_a_descriptor)
{
    world w;
    enum wr_step step;
    sim_open(&w, &(wr_sim_options){ .script = sim_only_this, .script_data = &(sim_only){ WR_FAULT_EMFILE, 0 } });
    cr_assert_eq(open_fails(&w, &step), WEIR_EMFILE);
    cr_assert_eq(step, WR_STEP_SOCKET);
    wr_sim_change(w.sim, &(wr_sim_options){ .max_sockets = 1 });
    wr_sock sock = open_at(&w, client);
    cr_assert_eq(open_fails(&w, &step), WEIR_EMFILE);
    world_finish(&w, sock);
    cr_assert_eq(open_fails(&w, &step), 0);
    sim_close(&w);
}

Test(sim_datagram, stays_when_there_is_no_memory)
{
    world w;
    enum wr_sim_fault all = WR_FAULT_ENOMEM;
    ends e = open_ends(&w, (wr_sim_options){ 0 });
    deed recv = { 0 };
    cr_assert_eq(say(&w, e.client, server, 1), 0);
    wr_sim_change(w.sim, &(wr_sim_options){ .script = sim_all_of, .script_data = &all });
    world_recv_from(&w, e.server, 100, &recv);
    world_await(&w, &recv);
    cr_assert_eq(recv.error, WEIR_ENOMEM);
    wr_sim_change(w.sim, &(wr_sim_options){ 0 });
    world_recv_from(&w, e.server, 100, &recv);
    world_await(&w, &recv);
    cr_assert_eq(recv.error, 0);
    world_return(&w, &recv);
    close_ends(&w, &e);
}

/* ---- batches ---- */

static void chain(wr_datagram *list, unsigned count, wr_addr to)
{
    static uint8_t numbers[COUNT];
    for (unsigned i = 0; i < count; i++) {
        numbers[i] = (uint8_t)i;
        list[i] =
            (wr_datagram){ .next = i + 1 < count ? &list[i + 1] : NULL, .data = &numbers[i], .size = 1, .peer = to };
    }
}

Test(sim_datagram, batches_are_cut_short_and_lose_nothing)
{
    enum wr_sim_fault all = WR_FAULT_PARTIAL;
    wr_datagram list[COUNT];
    uint8_t numbers[COUNT];
    world w;
    ends e = open_ends(&w, (wr_sim_options){ .seed = 3, .script = sim_all_of, .script_data = &all });
    deed send = { 0 };
    chain(list, COUNT, server);
    uint64_t before = now(&w);
    world_send_to(&w, e.client, list, &send);
    world_await(&w, &send);
    cr_assert_gt(now(&w), before, "a part of it had to wait");
    cr_assert_eq(send.batch.sent, COUNT);
    cr_assert_eq(hear_all(&w, e.server, numbers, COUNT), COUNT);
    for (int i = 0; i < COUNT; i++) cr_assert_eq(numbers[i], i);
    world_finish(&w, e.client);
    sim_close(&w);
}

/* What has come before a close may still be told of, or not; a send that waits ends either way. */
Test(sim_datagram, may_or_may_not_come_before_a_close)
{
    enum wr_sim_fault all = WR_FAULT_PARTIAL;
    unsigned told = 0, waited = 0;
    for (uint64_t seed = 0; seed < 100; seed++) {
        world w;
        wr_datagram list[COUNT];
        deed recv = { 0 }, send = { 0 }, close = { 0 };
        ends e = open_ends(&w, (wr_sim_options){ .seed = seed, .script = sim_all_of, .script_data = &all });
        cr_assert_eq(say(&w, e.client, server, 1), 0);
        world_settle(&w);
        chain(list, COUNT, client);
        world_send_to(&w, e.server, list, &send);
        world_recv_from(&w, e.server, 100, &recv);
        world_end(&w, e.server, false, &close);
        world_await(&w, &close);
        cr_assert(recv.done && send.done);
        told += recv.error == 0;
        waited += send.error == WEIR_ECANCELED;
        cr_assert_eq(send.batch.sent == COUNT, send.error == 0);
        if (recv.error == 0) world_return(&w, &recv);
        world_finish(&w, e.client);
        sim_close(&w);
    }
    cr_assert(told > 20 && told < 80, "%u of 100", told);
    cr_assert_eq(waited, 100);
}

/* ---- the trace ---- */

static void keep_lines(const char *line, void *data)
{
    char *text = data;
    size_t length = strlen(text);
    snprintf(text + length, 4096 - length, "%s\n", line);
}

Test(sim_datagram, is_told_of_in_words)
{
    char text[4096] = "";
    world w;
    ends e = open_ends(&w, (wr_sim_options){ .trace = keep_lines, .trace_data = text });
    deed recv = { 0 };
    wr_addr nobody = server;
    nobody.port = 1;
    cr_assert_eq(say(&w, e.client, server, 1), 0);
    cr_assert_eq(say(&w, e.client, nobody, 1), 0);
    world_recv_from(&w, e.server, 100, &recv);
    world_await(&w, &recv);
    world_return(&w, &recv);
    world_settle(&w);
    cr_assert_eq(wr_sim_cut(w.sim, &server, NULL), 0);
    cr_assert_eq(say(&w, e.client, server, 1), 0);
    world_settle(&w);
    close_ends(&w, &e);
    static const char *const expected[] = {
        "0.000000000 #1 10.0.0.1:7777 opens\n",
        "0.000000000 #2 10.1.0.1:7001 sends 1 bytes to 10.0.0.1:7777\n",
        "0.010000000 #1 10.0.0.1:7777 gets 1 bytes from 10.1.0.1:7001\n",
        "0.010000000 network: nobody takes 1 bytes to 10.0.0.1:1\n",
        "0.010000000 #1 10.0.0.1:7777 reads 1 datagrams\n",
        " network: a cut swallows 1 bytes to 10.0.0.1:7777\n",
    };
    for (size_t i = 0; i < sizeof expected / sizeof *expected; i++)
        cr_assert_not_null(strstr(text, expected[i]), "no '%s' in\n%s", expected[i], text);
}

static uint64_t live(uint64_t seed)
{
    world w;
    wr_datagram list[COUNT];
    deed send = { 0 };
    uint8_t numbers[2 * COUNT];
    sim_open(&w, &(wr_sim_options){ .seed = seed,
                                    .latency_us_min = 100,
                                    .latency_us_max = 9000,
                                    .per_mille = { [WR_FAULT_PARTIAL] = 300,
                                                   [WR_FAULT_DATAGRAM_LOSS] = 200,
                                                   [WR_FAULT_DATAGRAM_COPY] = 200,
                                                   [WR_FAULT_DATAGRAM_LATE] = 200 } });
    ends e = { .server = open_at(&w, server), .client = open_at(&w, client) };
    chain(list, COUNT, server);
    world_send_to(&w, e.client, list, &send);
    world_await(&w, &send);
    hear_all(&w, e.server, numbers, 2 * COUNT);
    world_finish(&w, e.client);
    uint64_t hash = wr_sim_trace_hash(w.sim);
    sim_close(&w);
    return hash;
}

Test(sim_datagram, follows_from_the_seed)
{
    for (uint64_t seed = 0; seed < 20; seed++) {
        cr_assert_eq(live(seed), live(seed));
        cr_assert_neq(live(seed), live(seed + 1));
    }
    cr_assert_eq(live(1), UINT64_C(0x4111d582116e97e1), "it is %016llx", (unsigned long long)live(1));
}
