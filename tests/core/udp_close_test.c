/* UDP ports: how they end. Each socket hears of it once, and what waits is sent first. */
#include <string.h>

#include "core/host.h"
#include "core/port.h"
#include "core/runtime.h"

static void close_it(weir_udp_socket *socket, const weir_udp_peer *from, const void *bytes, size_t size)
{
    cr_assert_eq(weir_udp_send(socket, from, bytes, size), 0);
    weir_udp_close(weir_udp_socket_port(socket));
    weir_udp_close(weir_udp_socket_port(socket)); /* twice is harmless */
    cr_assert_eq(weir_udp_send(socket, from, bytes, size), 0, "it closes after the callback");
}

Test(udp_close, sends_what_waits_and_tells_each_socket_once)
{
    for (unsigned workers = 1; workers <= 3; workers += 2) {
        port p = { .w.runtime_options.workers = workers, .on_datagram = close_it };
        char heard[4];
        port_start(&p);
        raw_peer peer = raw_udp("127.0.0.1");
        raw_udp_send(peer, "127.0.0.1", p.number, "x", 1);
        cr_assert_eq(raw_udp_receive(peer, heard, sizeof heard, NULL), 1);
        cr_assert_eq(raw_udp_receive(peer, heard, sizeof heard, NULL), 1);
        WORLD_AWAIT(&p.w, p.closed == p.sockets);
        cr_assert_eq(p.error, WEIR_ECLOSED);
        cr_assert_eq(p.stopped, 0);
        cr_assert_eq(world_stats(&p.w).udp_sockets, 0);
        weir_udp_peer to = port_peer(peer);
        weir_buf *buf = weir_buf_copy("x", 1);
        cr_assert_eq(weir_udp_send_to(p.udp, &to, "x", 1), WEIR_ECLOSED);
        cr_assert_eq(weir_udp_send_buf_to(p.udp, &to, buf), WEIR_ECLOSED);
        weir_buf_release(buf);
        weir_udp_close(p.udp);
        raw_close(peer);
        port_stop(&p);
    }
}

Test(udp_close, frees_the_port)
{
    port p = { .w.manual = true };
    char text[32];
    port_start(&p);
    memcpy(text, weir_udp_address(p.udp).text, sizeof text);
    weir_udp_close(p.udp);
    WORLD_AWAIT(&p.w, p.closed == 1);
    p.address = text;
    cr_assert_eq(port_open(&p), 0);
    port_stop(&p);
}

static void try_to_send(weir_udp_socket *socket)
{
    port *p = port_of(socket);
    cr_assert_eq(weir_udp_send(socket, &p->to, "x", 1), WEIR_ECLOSED);
    cr_assert_eq(weir_udp_send_to(weir_udp_socket_port(socket), &p->to, "x", 1), WEIR_ECLOSED);
}

static void say_goodbye(weir_udp_socket *socket)
{
    port *p = port_of(socket);
    if (p->to.port) cr_assert_eq(weir_udp_send(socket, &p->to, "goodbye", 7), 0);
}

Test(udp_close, at_a_stop_lets_each_socket_say_goodbye)
{
    port p = { .w.runtime_options.workers = 2, .on_stop = say_goodbye, .on_close = try_to_send };
    char heard[8];
    port_start(&p);
    raw_peer peer = raw_udp("127.0.0.1");
    p.to = port_peer(peer);
    WORLD_AWAIT(&p.w, world_stats(&p.w).udp_sockets == p.sockets);
    weir_runtime_stop(p.w.runtime);
    for (unsigned i = 0; i < p.sockets; i++) {
        cr_assert_eq(raw_udp_receive(peer, heard, sizeof heard, NULL), 7);
        cr_assert_arr_eq(heard, "goodbye", 7);
    }
    cr_assert_eq(weir_runtime_wait(p.w.runtime), 0);
    cr_assert_eq(p.stopped, p.sockets);
    cr_assert_eq(p.closed, p.sockets);
    cr_assert_eq(p.error, WEIR_ESTOPPED);
    raw_close(peer);
    port_stop(&p);
}

Test(udp_close, that_has_begun_is_not_told_of_a_stop)
{
    port p = { .w.manual = true };
    port_start(&p);
    world_settle(&p.w);
    weir_udp_close(p.udp);
    weir_runtime_stop(p.w.runtime);
    WORLD_AWAIT(&p.w, p.closed == 1);
    cr_assert_eq(p.stopped, 0);
    cr_assert_eq(p.error, WEIR_ECLOSED);
    port_stop(&p);
}

/* A port, and a datagram of another thread's, that come in the moment in which the workers end. */
Test(udp_close, tells_a_socket_that_its_worker_never_came_to)
{
    port p = { .w = { .manual = true, .no_listener = true } };
    world_start(&p.w);
    weir_runtime_stop(p.w.runtime);
    while (weir_poll(p.w.runtime, 0) != WEIR_ESTOPPED) continue;
    p.w.runtime->shared.stopping = false;
    cr_assert_eq(port_open(&p), 0);
    p.w.runtime->shared.stopping = true;
    weir_udp_peer to = { .family = WEIR_FAMILY_IPV4, .ip = { 127, 0, 0, 1 }, .port = 9 };
    weir_buf *buf = weir_buf_copy("never sent", 10);
    cr_assert_eq(weir_udp_send_to(p.udp, &to, "never sent", 10), 0);
    cr_assert_eq(weir_udp_send_buf_to(p.udp, &to, buf), 0);
    weir_buf_release(buf);
    cr_assert_eq(p.closed, 0);
    port_stop(&p);
    cr_assert_eq(p.error, WEIR_ESTOPPED);
    cr_assert_eq(p.stopped, 0);
}

Test(udp_close, of_a_runtime_that_stops_first_comes_all_the_same)
{
    port p = { .w.manual = true };
    port_start(&p);
    weir_runtime_stop(p.w.runtime); /* behind the socket in the mailbox */
    cr_assert_eq(port_open(&p), WEIR_ESTOPPED);
    WORLD_AWAIT(&p.w, p.closed == 1);
    port_stop(&p);

    port q = { .w.manual = true };
    q.w.no_listener = true;
    world_start(&q.w);
    weir_runtime_stop(q.w.runtime);
    q.w.runtime->shared.stopping = false; /* the socket is opened in the moment of the stop, and comes behind it */
    cr_assert_eq(port_open(&q), 0);
    q.w.runtime->shared.stopping = true;
    weir_udp_close(q.udp);
    WORLD_AWAIT(&q.w, q.closed == 1);
    cr_assert_eq(q.error, WEIR_ESTOPPED);
    port_stop(&q);
}

static void flood(weir_udp_socket *socket)
{
    port *p = port_of(socket);
    for (int i = 0; i < 100; i++) cr_assert_eq(weir_udp_send(socket, &p->to, "flood", 5), 0);
}

Test(udp_close, sends_a_long_queue_first)
{
    port p = { .w.manual = true, .on_stop = flood };
    char heard[8];
    port_start(&p);
    world_settle(&p.w);
    raw_peer peer = raw_udp("127.0.0.1");
    p.to = port_peer(peer);
    weir_runtime_stop(p.w.runtime);
    for (int i = 0; i < 100; i++) cr_assert_eq(raw_udp_receive(peer, heard, sizeof heard, NULL), 5);
    WORLD_AWAIT(&p.w, p.closed == 1);
    cr_assert_eq(world_stats(&p.w).udp_sent, 100);
    cr_assert_eq(world_stats(&p.w).udp_queued, 0);
    raw_close(peer);
    port_stop(&p);
}

/* ---- without memory ---- */

Test(udp_close, without_memory_for_the_socket_waits_for_some)
{
    for (int stops = 0; stops < 2; stops++) {
        port p = { .w.manual = true };
        port_start(&p);
        world_refuse(&p.w, 0);
        for (int i = 0; i < 3; i++) world_turn(&p.w);
        cr_assert_gt(p.w.memory.refused, 0);
        cr_assert_eq(world_stats(&p.w).udp_sockets, 1);
        if (stops) {
            weir_udp_close(p.udp); /* before it has come to its queue */
            WORLD_AWAIT(&p.w, p.closed == 1);
        }
        world_refuse(&p.w, -1);
        if (!stops) {
            raw_peer peer = raw_udp("127.0.0.1");
            raw_udp_send(peer, "127.0.0.1", p.number, "x", 1);
            WORLD_AWAIT(&p.w, p.datagrams == 1);
            raw_close(peer);
        }
        port_stop(&p);
    }
}

Test(udp_close, without_memory_for_what_comes_the_kernel_keeps_it)
{
    port p = { .w.manual = true, .echoes = true };
    char heard[4];
    port_start(&p);
    world_settle(&p.w);
    raw_peer peer = raw_udp("127.0.0.1");
    world_refuse(&p.w, 0);
    raw_udp_send(peer, "127.0.0.1", p.number, "x", 1);
    WORLD_AWAIT(&p.w, p.w.memory.refused > 0);
    cr_assert_eq(p.datagrams, 0);
    world_refuse(&p.w, -1);
    cr_assert_eq(raw_udp_receive(peer, heard, sizeof heard, NULL), 1);
    raw_close(peer);
    port_stop(&p);
}

/* ---- each allocation, once ---- */

static void answer_all_ways(weir_udp_socket *socket, const weir_udp_peer *from, const void *bytes, size_t size)
{
    static char large[20000];
    weir_buf *buf = weir_buf_copy("buf", 3);
    cr_assert_not_null(buf);
    (void)weir_udp_send(socket, from, bytes, size);
    (void)weir_udp_send(socket, from, large, sizeof large);
    (void)weir_udp_send_buf(socket, from, buf);
    weir_buf_release(buf);
}

enum { ANSWERS = 3 }; /* of one pass: one batch, which a backend may need memory for */

/* With the n-th allocation failing. False: there were fewer. What could not be sent is counted, all else arrives. */
static bool attempt(int64_t n)
{
    static char heard[30000];
    port p = { .w = { .manual = true, .no_listener = true }, .on_datagram = answer_all_ways };
    world_start(&p.w);
    world_refuse_once(&p.w, n);
    int error = port_open(&p);
    if (error) {
        cr_assert_eq(error, WEIR_ENOMEM);
        world_stop(&p.w);
        return true;
    }
    raw_peer peer = raw_udp("127.0.0.1");
    weir_udp_peer to = port_peer(peer);
    raw_udp_send(peer, "127.0.0.1", p.number, "x", 1);
    WORLD_AWAIT(&p.w, p.datagrams == 1);
    (void)weir_udp_send_to(p.udp, &to, "anywhere", 8);
    WORLD_AWAIT(&p.w, world_stats(&p.w).udp_sent + world_stats(&p.w).udp_dropped == ANSWERS + 1);
    bool failed = p.w.memory.refused > 0;
    weir_stats stats = world_stats(&p.w);
    cr_assert_leq(stats.udp_dropped, ANSWERS);
    cr_assert_eq(stats.udp_refused, 0);
    for (uint64_t i = 0; i < stats.udp_sent; i++) raw_udp_receive(peer, heard, sizeof heard, NULL);
    cr_assert(raw_is_silent(peer, 0));
    raw_close(peer);
    world_refuse(&p.w, -1);
    port_stop(&p);
    cr_assert_eq(p.closed, 1);
    return failed;
}

Test(udp_close, each_allocation_that_fails_costs_one_batch_at_most, .timeout = 60)
{
    unsigned descriptors = raw_descriptors();
    int64_t n = 0;
    while (attempt(n)) {
        cr_assert_eq(raw_descriptors(), descriptors, "allocation %lld leaks a descriptor", (long long)n);
        cr_assert_lt(n, 100, "it never goes through");
        n++;
    }
    cr_assert_gt(n, 5, "only %lld allocations", (long long)n);
}
