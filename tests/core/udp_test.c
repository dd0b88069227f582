/* UDP ports: where they are, what comes, what goes, and what is refused. The end of them is in udp_close_test.c. */
#include <stdio.h>
#include <string.h>

#include "core/host.h"
#include "core/port.h"

#define COUNT(array) (sizeof(array) / sizeof *(array))

/* ---- where ---- */

Test(udp, on_ipv4_has_a_port_of_the_systems_choice_and_says_it)
{
    port p = { .w.manual = true };
    port_start(&p);
    weir_address address = weir_udp_address(p.udp);
    char expected[64];
    (void)snprintf(expected, sizeof expected, "127.0.0.1:%u", address.port);
    cr_assert_neq(address.port, 0);
    cr_assert_str_eq(address.text, expected);
    port_stop(&p);
}

static int fail_open(world *w, const char *address, weir_udp_options options, weir_failure *failure)
{
    const weir_udp_protocol protocol = { 0 };
    weir_udp *udp = NULL;
    options.failure = failure;
    int error = weir_udp_open(w->runtime, address, &protocol, &options, &udp);
    cr_assert_null(udp);
    cr_assert_neq(error, 0, "%s", address);
    cr_assert_eq(failure->error, error);
    return error;
}

Test(udp, refuses_what_makes_no_sense_and_says_why)
{
    static const struct {
        const char *address, *word;
        weir_udp_options options;
        int error;
    } cases[] = {
        { "127.0.0.1", "port", { 0 }, WEIR_EADDRESS },
        { "nowhere:1", "nowhere", { 0 }, WEIR_EADDRESS },
        { "unix:/tmp/x", "IPv4 and IPv6", { 0 }, WEIR_ENOTSUP },
        { "127.0.0.1:0", "more sockets", { .sockets = 3 }, WEIR_EINVAL },
        { "127.0.0.1:0", "max_datagram", { .max_datagram = 65508 }, WEIR_EINVAL },
        { "127.0.0.1:0", "max_queued", { .max_queued = (1U << 30) + 1 }, WEIR_EINVAL },
        { "127.0.0.1:0", "ipv6_only", { .ipv6_only = true }, WEIR_EINVAL },
    };
    world w = { .no_listener = true, .runtime_options.workers = 2 };
    world_start(&w);
    weir_failure failure;
    for (size_t i = 0; i < COUNT(cases); i++) {
        int error = fail_open(&w, cases[i].address, cases[i].options, &failure);
        cr_assert_eq(error, cases[i].error, "%zu: %s", i, weir_error_name(error));
        cr_assert_eq(failure.step, WEIR_STEP_OPTIONS);
        cr_assert_eq(failure.system_error, 0);
        cr_assert_not_null(strstr(failure.text, cases[i].word), "%s", failure.text);
    }
    const weir_udp_protocol protocol = { 0 };
    cr_assert_eq(weir_udp_open(NULL, "127.0.0.1:0", &protocol, NULL, NULL), WEIR_EINVAL);
    cr_assert_eq(weir_udp_open(w.runtime, NULL, &protocol, NULL, NULL), WEIR_EINVAL);
    cr_assert_eq(weir_udp_open(w.runtime, "127.0.0.1:0", NULL, NULL, NULL), WEIR_EINVAL);
    world_stop(&w);
}

Test(udp, does_not_pretend_to_share_a_port_where_the_system_cannot)
{
    world w = { .no_listener = true, .runtime_options.workers = 2 };
    world_start(&w);
    weir_failure failure;
    static const weir_udp_options wishes[] = { { .sockets = 2 }, { .share_port = true } };
    const weir_udp_protocol protocol = { 0 };
    for (size_t i = 0; i < COUNT(wishes); i++) {
        if (host_shares_ports())
            cr_assert_eq(weir_udp_open(w.runtime, "127.0.0.1:0", &protocol, &wishes[i], NULL), 0);
        else
            cr_assert_eq(fail_open(&w, "127.0.0.1:0", wishes[i], &failure), WEIR_ENOTSUP);
    }
    world_stop(&w);
}

Test(udp, tells_what_the_system_refused)
{
    port p = { .w = { .manual = true } };
    port_start(&p);
    weir_failure failure;
    unsigned before = raw_descriptors();
    char text[64];
    (void)snprintf(text, sizeof text, "127.0.0.1:%u", p.number);
    cr_assert_eq(fail_open(&p.w, text, (weir_udp_options){ 0 }, &failure), WEIR_EADDRINUSE);
    cr_assert_eq(failure.step, WEIR_STEP_BIND);
    cr_assert_eq(failure.system_error, host_codes.address_in_use);
    cr_assert_not_null(strstr(failure.text, text), "%s", failure.text);
    cr_assert_eq(raw_descriptors(), before);
    port_stop(&p);
}

/* All its sockets, or none: whichever the system refuses. */
Test(udp, of_which_one_socket_cannot_be_had_is_none)
{
    if (!host_shares_ports()) cr_skip_test("a port has one socket here");
    world w = { .no_listener = true, .runtime_options.workers = 4 };
    world_start(&w);
    weir_failure failure;
    host_fill_descriptors();
    for (unsigned free = 0; free < 4; free++) {
        cr_assert_eq(fail_open(&w, "127.0.0.1:0", (weir_udp_options){ 0 }, &failure), WEIR_EMFILE);
        cr_assert_eq(failure.step, WEIR_STEP_SOCKET);
        host_free_descriptors(1);
    }
    const weir_udp_protocol protocol = { 0 };
    cr_assert_eq(weir_udp_open(w.runtime, "127.0.0.1:0", &protocol, NULL, NULL), 0);
    host_free_descriptors(host_descriptor_limit());
    world_stop(&w);
}

Test(udp, cannot_be_opened_when_the_runtime_stops)
{
    world w = { .no_listener = true, .manual = true };
    world_start(&w);
    weir_failure failure;
    weir_runtime_stop(w.runtime);
    cr_assert_eq(fail_open(&w, "127.0.0.1:0", (weir_udp_options){ 0 }, &failure), WEIR_ESTOPPED);
    world_stop(&w);
}

/* ---- what comes ---- */

Test(udp, delivers_each_datagram_and_says_whose_it_is)
{
    port p = { .w.manual = true, .keeps = true };
    port_start(&p);
    raw_peer peer = raw_udp("127.0.0.1");
    raw_udp_send(peer, "127.0.0.1", p.number, "hello", 5);
    raw_udp_send(peer, "127.0.0.1", p.number, "", 0);
    raw_udp_send(peer, "127.0.0.1", p.number, "world", 5);
    WORLD_AWAIT(&p.w, p.datagrams == 3);
    cr_assert_eq(p.bytes, 10);
    cr_assert_arr_eq(p.kept, "helloworld", 10);
    weir_address from = weir_udp_peer_address(&p.from);
    char expected[64];
    (void)snprintf(expected, sizeof expected, "127.0.0.1:%u", raw_port(peer));
    cr_assert_str_eq(from.text, expected);
    weir_udp_peer same = weir_udp_peer_of(&from);
    cr_assert_arr_eq(&same, &p.from, sizeof same, "a peer is a key");
    raw_close(peer);
    port_stop(&p);
}

Test(udp, shows_an_ipv4_peer_of_both_families_as_ipv4_and_answers_it)
{
    if (!host_has_ipv6()) cr_skip_test("there is no ::1 here");
    port p = { .w.manual = true, .address = "[::]:0", .echoes = true };
    port_start(&p);
    char heard[8];
    raw_peer four = raw_udp("127.0.0.1"), six = raw_udp("::1");
    raw_udp_send(four, "127.0.0.1", p.number, "4", 1);
    cr_assert_eq(raw_udp_receive(four, heard, sizeof heard, NULL), 1);
    cr_assert_eq(p.from.family, WEIR_FAMILY_IPV4);
    cr_assert_str_eq(weir_udp_peer_address(&p.from).host, "127.0.0.1");
    raw_udp_send(six, "::1", p.number, "6", 1);
    cr_assert_eq(raw_udp_receive(six, heard, sizeof heard, NULL), 1);
    cr_assert_eq(p.from.family, WEIR_FAMILY_IPV6);
    cr_assert_str_eq(weir_udp_peer_address(&p.from).host, "::1");
    raw_close(four);
    raw_close(six);
    port_stop(&p);
}

Test(udp, drops_and_counts_what_is_longer_than_it_takes)
{
    static char bytes[3000];
    static const uint32_t limits[] = { 100, 0, 2999 };
    for (size_t i = 0; i < COUNT(limits); i++) {
        port p = { .w.manual = true, .options.max_datagram = limits[i] };
        uint32_t limit = limits[i] ? limits[i] : 2048;
        port_start(&p);
        raw_peer peer = raw_udp("127.0.0.1");
        raw_udp_send(peer, "127.0.0.1", p.number, bytes, limit);
        raw_udp_send(peer, "127.0.0.1", p.number, bytes, limit + 1);
        raw_udp_send(peer, "127.0.0.1", p.number, bytes, 1);
        WORLD_AWAIT(&p.w, p.datagrams == 2);
        cr_assert_eq(p.bytes, limit + 1);
        cr_assert_eq(world_stats(&p.w).udp_truncated, 1);
        cr_assert_eq(world_stats(&p.w).udp_received, 2);
        raw_close(peer);
        port_stop(&p);
    }
}

Test(udp, without_callbacks_takes_datagrams_and_counts_them)
{
    port p = { .w.manual = true, .silent = true };
    port_start(&p);
    raw_peer peer = raw_udp("127.0.0.1");
    raw_udp_send(peer, "127.0.0.1", p.number, "hello", 5);
    WORLD_AWAIT(&p.w, world_stats(&p.w).udp_received == 1);
    cr_assert_eq(world_stats(&p.w).udp_bytes_received, 5);
    raw_close(peer);
    port_stop(&p);
}

/* ---- what goes ---- */

Test(udp, echoes_in_order)
{
    enum { ECHOES = 100 };
    port p = { .echoes = true };
    port_start(&p);
    raw_peer peer = raw_udp("127.0.0.1");
    for (unsigned char i = 0; i < ECHOES; i++) raw_udp_send(peer, "127.0.0.1", p.number, &i, 1);
    for (unsigned char i = 0; i < ECHOES; i++) {
        unsigned char heard[2];
        uint16_t from;
        cr_assert_eq(raw_udp_receive(peer, heard, sizeof heard, &from), 1);
        cr_assert_eq(heard[0], i);
        cr_assert_eq(from, p.number);
    }
    raw_close(peer);
    port_stop(&p);
}

static void send_three(weir_udp_socket *socket, const weir_udp_peer *from, const void *bytes, size_t size)
{
    static char large[30000];
    weir_buf *buf = weir_buf_copy("shared", 6);
    memset(large, 'L', sizeof large);
    cr_assert_not_null(buf);
    cr_assert_eq(weir_udp_send(socket, from, bytes, size), 0);
    cr_assert_eq(weir_udp_send_buf(socket, from, buf), 0);
    cr_assert_eq(weir_udp_send(socket, from, large, sizeof large), 0);
    cr_assert_eq(weir_udp_send_buf_to(weir_udp_socket_port(socket), from, buf), 0);
    cr_assert_eq(weir_udp_send_to(weir_udp_socket_port(socket), from, NULL, 0), 0);
    weir_buf_release(buf);
}

Test(udp, sends_copies_and_shared_buffers_of_all_sizes)
{
    static char heard[40000];
    port p = { .w.manual = true, .on_datagram = send_three };
    port_start(&p);
    raw_peer peer = raw_udp("127.0.0.1");
    raw_udp_send(peer, "127.0.0.1", p.number, "x", 1);
    cr_assert_eq(raw_udp_receive(peer, heard, sizeof heard, NULL), 1);
    cr_assert_eq(raw_udp_receive(peer, heard, sizeof heard, NULL), 6);
    cr_assert_arr_eq(heard, "shared", 6);
    cr_assert_eq(raw_udp_receive(peer, heard, sizeof heard, NULL), 30000);
    cr_assert_eq(heard[29999], 'L');
    cr_assert_eq(raw_udp_receive(peer, heard, sizeof heard, NULL), 6);
    cr_assert_eq(raw_udp_receive(peer, heard, sizeof heard, NULL), 0);
    WORLD_AWAIT(&p.w, world_stats(&p.w).udp_sent == 5);
    cr_assert_eq(world_stats(&p.w).udp_bytes_sent, 1 + 6 + 30000 + 6);
    cr_assert_eq(world_stats(&p.w).udp_queued, 0);
    raw_close(peer);
    port_stop(&p);
}

static int results[8];

static void send_nonsense(weir_udp_socket *socket, const weir_udp_peer *from, const void *bytes, size_t size)
{
    (void)size;
    static char large[65508];
    weir_buf *buf = weir_buf_create(sizeof large);
    memset(weir_buf_bytes(buf), 0, sizeof large);
    weir_udp *udp = weir_udp_socket_port(socket);
    int n = 0;
    results[n++] = weir_udp_send(socket, NULL, bytes, 1);
    results[n++] = weir_udp_send(socket, from, NULL, 1);
    results[n++] = weir_udp_send_buf(socket, from, NULL);
    results[n++] = weir_udp_send_to(udp, NULL, bytes, 1);
    results[n++] = weir_udp_send_buf_to(udp, from, NULL);
    results[n++] = weir_udp_send(socket, from, large, sizeof large);
    results[n++] = weir_udp_send_buf(socket, from, buf);
    results[n++] = weir_udp_send_buf_to(udp, from, buf);
    weir_buf_release(buf);
}

Test(udp, refuses_to_send_what_makes_no_sense)
{
    static const int expected[] = { WEIR_EINVAL, WEIR_EINVAL,   WEIR_EINVAL,   WEIR_EINVAL,
                                    WEIR_EINVAL, WEIR_EMSGSIZE, WEIR_EMSGSIZE, WEIR_EMSGSIZE };
    port p = { .w.manual = true, .on_datagram = send_nonsense };
    port_start(&p);
    raw_peer peer = raw_udp("127.0.0.1");
    raw_udp_send(peer, "127.0.0.1", p.number, "x", 1);
    WORLD_AWAIT(&p.w, p.datagrams == 1);
    for (size_t i = 0; i < COUNT(expected); i++) cr_assert_eq(results[i], expected[i], "%zu: %d", i, results[i]);
    cr_assert_eq(world_stats(&p.w).udp_dropped, 0);
    raw_close(peer);
    port_stop(&p);
}

/* An IPv4 socket knows nobody of IPv6, and nobody has a Unix-domain address or port 0. */
static void send_to_nobody(weir_udp_socket *socket, const weir_udp_peer *from, const void *bytes, size_t size)
{
    weir_address address;
    weir_udp_peer nobody;
    cr_assert_eq(weir_address_parse(&address, "[::1]:9", NULL), 0);
    nobody = weir_udp_peer_of(&address);
    cr_assert_eq(weir_udp_send(socket, &nobody, bytes, size), 0);
    cr_assert_eq(weir_address_parse(&address, "unix:/tmp/x", NULL), 0);
    nobody = weir_udp_peer_of(&address);
    cr_assert_eq(nobody.family, WEIR_FAMILY_NONE);
    cr_assert_eq(weir_udp_send(socket, &nobody, bytes, size), 0);
    nobody = *from;
    nobody.port = 0;
    cr_assert_eq(weir_udp_send(socket, &nobody, bytes, size), 0);
    cr_assert_eq(weir_udp_send(socket, from, bytes, size), 0);
}

Test(udp, counts_what_the_system_refuses_and_sends_the_rest)
{
    char heard[8];
    port p = { .w.manual = true, .on_datagram = send_to_nobody };
    port_start(&p);
    raw_peer peer = raw_udp("127.0.0.1");
    raw_udp_send(peer, "127.0.0.1", p.number, "x", 1);
    cr_assert_eq(raw_udp_receive(peer, heard, sizeof heard, NULL), 1);
    WORLD_AWAIT(&p.w, world_stats(&p.w).udp_sent == 1);
    cr_assert_eq(world_stats(&p.w).udp_refused, 3);
    cr_assert_eq(world_stats(&p.w).udp_dropped, 0);
    raw_close(peer);
    port_stop(&p);
}

/* ---- limits ---- */

static unsigned sent_in_callback, refused_in_callback;

static void send_too_much(weir_udp_socket *socket, const weir_udp_peer *from, const void *bytes, size_t size)
{
    static char large[936]; /* 1,000 with what it counts */
    (void)bytes;
    (void)size;
    for (int i = 0; i < 15; i++) {
        int error = weir_udp_send(socket, from, large, sizeof large);
        cr_assert(error == 0 || error == WEIR_ELIMIT, "%s", weir_error_name(error));
        sent_in_callback += error == 0;
        refused_in_callback += error != 0;
    }
}

Test(udp, refuses_what_is_more_than_may_wait)
{
    static char heard[2000];
    port p = { .w.manual = true, .on_datagram = send_too_much, .options.max_queued = 10000 };
    port_start(&p);
    raw_peer peer = raw_udp("127.0.0.1");
    for (unsigned round = 1; round <= 3; round++) {
        raw_udp_send(peer, "127.0.0.1", p.number, "x", 1);
        for (int i = 0; i < 10; i++) cr_assert_eq(raw_udp_receive(peer, heard, sizeof heard, NULL), 936);
        WORLD_AWAIT(&p.w, world_stats(&p.w).udp_sent == 10 * round);
        cr_assert_eq(sent_in_callback, 10 * round);
        cr_assert_eq(refused_in_callback, 5 * round);
        cr_assert_eq(world_stats(&p.w).udp_dropped, 5 * round);
        cr_assert_eq(world_stats(&p.w).udp_queued, 0);
    }
    raw_close(peer);
    port_stop(&p);
}

Test(udp, refuses_other_threads_what_is_more_than_may_be_on_the_way)
{
    static char bytes[936], heard[2000];
    port p = { .w.manual = true, .options.max_queued = 10000 };
    port_start(&p);
    world_settle(&p.w);
    raw_peer peer = raw_udp("127.0.0.1");
    weir_udp_peer to = port_peer(peer);
    for (unsigned round = 1; round <= 3; round++) {
        for (int i = 0; i < 10; i++) cr_assert_eq(weir_udp_send_to(p.udp, &to, bytes, sizeof bytes), 0);
        for (int i = 0; i < 5; i++) cr_assert_eq(weir_udp_send_to(p.udp, &to, bytes, sizeof bytes), WEIR_ELIMIT);
        cr_assert_eq(world_stats(&p.w).udp_dropped, 5 * round);
        for (int i = 0; i < 10; i++) cr_assert_eq(raw_udp_receive(peer, heard, sizeof heard, NULL), 936);
        WORLD_AWAIT(&p.w, world_stats(&p.w).udp_sent == 10 * round);
    }
    raw_close(peer);
    port_stop(&p);
}

/* ---- threads ---- */

enum { SPOKEN = 100 }; /* twice as many fit the receive buffer of a witness */

typedef struct speaker {
    port *p;
    weir_udp_peer to;
} speaker;

static void speak(void *arg)
{
    speaker *s = arg;
    weir_buf *buf = weir_buf_copy("b", 1);
    for (uint32_t i = 0; i < SPOKEN; i++) {
        cr_assert_eq(weir_udp_send_to(s->p->udp, &s->to, &i, sizeof i), 0);
        cr_assert_eq(weir_udp_send_buf_to(s->p->udp, &s->to, buf), 0);
    }
    weir_buf_release(buf);
}

Test(udp, sends_for_other_threads_in_the_order_of_each)
{
    enum { SPEAKERS = 3 };
    port p = { .w.runtime_options.workers = 2 };
    port_start(&p);
    wr_thread threads[SPEAKERS];
    speaker speakers[SPEAKERS];
    raw_peer peers[SPEAKERS];
    for (int i = 0; i < SPEAKERS; i++) {
        peers[i] = raw_udp("127.0.0.1");
        speakers[i] = (speaker){ .p = &p, .to = port_peer(peers[i]) };
        cr_assert_eq(wr_thread_start(&threads[i], "speaker", speak, &speakers[i]), 0);
    }
    for (int i = 0; i < SPEAKERS; i++) {
        for (uint32_t n = 0; n < SPOKEN; n++) {
            uint32_t heard = 0;
            uint16_t from;
            cr_assert_eq(raw_udp_receive(peers[i], &heard, sizeof heard, &from), sizeof heard);
            cr_assert_eq(heard, n);
            cr_assert_eq(from, p.number);
            cr_assert_eq(raw_udp_receive(peers[i], &heard, sizeof heard, NULL), 1);
        }
    }
    for (int i = 0; i < SPEAKERS; i++) {
        wr_thread_join(&threads[i]);
        raw_close(peers[i]);
    }
    port_stop(&p);
}

/* ---- workers ---- */

Test(udp, keeps_each_peer_on_one_worker_and_gives_each_worker_some)
{
    enum { WORKERS = 3, PEERS = 60, ROUNDS = 3 };
    static raw_peer peers[PEERS];
    port p = { .w.runtime_options.workers = WORKERS, .echoes = true };
    port_start(&p);
    unsigned workers_used = host_shares_ports() ? WORKERS : 1;
    for (int i = 0; i < PEERS; i++) peers[i] = raw_udp("127.0.0.1");
    for (int round = 0; round < ROUNDS; round++) {
        for (int i = 0; i < PEERS; i++) {
            uint16_t heard = (uint16_t)i;
            raw_udp_send(peers[i], "127.0.0.1", p.number, &heard, sizeof heard);
            cr_assert_eq(raw_udp_receive(peers[i], &heard, sizeof heard, NULL), sizeof heard);
            cr_assert_eq(heard, i);
        }
    }
    unsigned used = 0;
    for (unsigned worker = 0; worker < WORKERS; worker++) {
        weir_stats stats;
        cr_assert_eq(weir_stats_read_worker(p.w.runtime, worker, &stats), 0);
        used += stats.udp_received > 0;
        cr_assert_eq(stats.udp_received % ROUNDS, 0, "a peer has changed its worker");
        cr_assert_eq(stats.udp_sockets, stats.udp_received > 0);
    }
    cr_assert_eq(used, workers_used);
    for (int i = 0; i < PEERS; i++) raw_close(peers[i]);
    port_stop(&p);
}

static void send_from_here(void *data)
{
    port *p = data;
    cr_assert_eq(weir_udp_send_to(p->udp, &p->to, "x", 1), 0);
}

/* A worker that has no socket of the port hands over to one that has. */
Test(udp, with_one_socket_sends_from_every_worker)
{
    enum { WORKERS = 3 };
    port p = { .w.runtime_options.workers = WORKERS, .options.sockets = 1 };
    port_start(&p);
    raw_peer peer = raw_udp("127.0.0.1");
    p.to = port_peer(peer);
    for (unsigned worker = 0; worker < WORKERS; worker++) {
        char heard[4];
        world_run(&p.w, worker, send_from_here, &p);
        cr_assert_eq(raw_udp_receive(peer, heard, sizeof heard, NULL), 1);
    }
    cr_assert_eq(world_stats(&p.w).udp_sockets, 1);
    raw_close(peer);
    port_stop(&p);
}

Test(udp, shows_in_the_text_of_the_stats)
{
    static char text[65536];
    port p = { .w.manual = true, .echoes = true };
    port_start(&p);
    char heard[8];
    raw_peer peer = raw_udp("127.0.0.1");
    raw_udp_send(peer, "127.0.0.1", p.number, "hello", 5);
    cr_assert_eq(raw_udp_receive(peer, heard, sizeof heard, NULL), 5);
    WORLD_AWAIT(&p.w, world_stats(&p.w).udp_sent == 1);
    cr_assert_lt(weir_stats_text(p.w.runtime, text, sizeof text), sizeof text);
    static const char *const lines[] = {
        "weir_udp_received_total{worker=\"0\"} 1\n", "weir_udp_bytes_received_total{worker=\"0\"} 5\n",
        "weir_udp_sent_total{worker=\"0\"} 1\n",     "weir_udp_bytes_sent_total{worker=\"0\"} 5\n",
        "weir_udp_sockets{worker=\"0\"} 1\n",        "weir_udp_dropped_total{worker=\"0\"} 0\n"
    };
    for (size_t i = 0; i < COUNT(lines); i++) cr_assert_not_null(strstr(text, lines[i]), "%s", lines[i]);
    raw_close(peer);
    port_stop(&p);
}
