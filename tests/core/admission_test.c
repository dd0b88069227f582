/* Who gets in, to which worker, and how fast: placement, limits, and what happens when the system has nothing left. */
#include <errno.h>
#include <string.h>

#include "core/host.h"
#include "core/world.h"

enum { PEERS_MAX = 400 };

static raw_peer peers[PEERS_MAX];

static void connect_many(uint16_t port, int count)
{
    for (int i = 0; i < count; i++) peers[i] = raw_connect("127.0.0.1", port, 0);
}

static void close_many(int count)
{
    for (int i = 0; i < count; i++) raw_close(peers[i]);
}

static uint64_t on_worker(const world *w, unsigned worker)
{
    weir_stats stats;
    cr_assert_eq(weir_stats_read_worker(w->runtime, worker, &stats), 0);
    return stats.connections;
}

static void find_extremes(const world *w, unsigned workers, uint64_t *least, uint64_t *most)
{
    *least = UINT64_MAX;
    *most = 0;
    for (unsigned i = 0; i < workers; i++) {
        uint64_t count = on_worker(w, i);
        if (count < *least) *least = count;
        if (count > *most) *most = count;
    }
}

/* ---- placement ---- */

Test(admission, balanced_gives_each_worker_as_many)
{
    enum { WORKERS = 4 };
    world w = { .runtime_options.workers = WORKERS, .listen_options.placement = WEIR_PLACEMENT_BALANCED };
    uint64_t least, most;
    world_start(&w);
    connect_many(w.port, 400);
    WORLD_AWAIT(&w, w.opened == 400);
    find_extremes(&w, WORKERS, &least, &most);
    cr_assert_leq(most - least, 1, "from %u to %u", (unsigned)least, (unsigned)most);
    close_many(400);
    WORLD_AWAIT(&w, world_stats(&w).connections == 0);
    world_stop(&w);
}

static void close_on_first_worker(weir_conn *conn, const void *bytes, size_t size)
{
    (void)bytes;
    (void)size;
    if (weir_conn_worker(conn) == 0) weir_abort(conn);
}

Test(admission, balanced_fills_up_the_worker_that_has_lost_most)
{
    world w = { .protocol.on_message = close_on_first_worker,
                .runtime_options.workers = 3,
                .listen_options.placement = WEIR_PLACEMENT_BALANCED };
    world_start(&w);
    connect_many(w.port, 90);
    WORLD_AWAIT(&w, w.opened == 90);
    for (int i = 0; i < 90; i++) raw_send(peers[i], "x", 1);
    WORLD_AWAIT(&w, w.messages == 90 && world_stats(&w).connections == 60);
    cr_assert_eq(on_worker(&w, 0), 0);
    for (int i = 90; i < 110; i++) peers[i] = raw_connect("127.0.0.1", w.port, 0);
    WORLD_AWAIT(&w, w.opened == 110);
    cr_assert_eq(on_worker(&w, 0), 20, "all of the new ones");
    close_many(110);
    world_stop(&w);
}

Test(admission, spread_gives_every_worker_some_and_hands_none_over)
{
    enum { WORKERS = 4 };
    if (!host_shares_ports()) cr_skip_test("a port has one socket here");
    world w = { .runtime_options.workers = WORKERS, .listen_options.placement = WEIR_PLACEMENT_SPREAD };
    uint64_t least, most;
    world_start(&w);
    uint64_t posts = world_stats(&w).posts;
    connect_many(w.port, 400);
    WORLD_AWAIT(&w, w.opened == 400);
    find_extremes(&w, WORKERS, &least, &most);
    cr_assert_gt(least, 30, "from %u to %u", (unsigned)least, (unsigned)most);
    cr_assert_leq(world_stats(&w).posts, posts + WORKERS);
    close_many(400);
    world_stop(&w);
}

/* ---- how many ---- */

/* Of `count` connections `allowed` get in; the others are closed at once. Then those leave, and others get in. */
static void check_limit(world *w, unsigned count, unsigned allowed, bool by_address)
{
    world_start(w);
    for (unsigned round = 1; round <= 3; round++) {
        connect_many(w->port, (int)count);
        WORLD_AWAIT(w, w->opened == round * allowed);
        WORLD_AWAIT(w, world_stats(w).refused_limit + world_stats(w).refused_address == round * (count - allowed));
        unsigned ended = 0;
        for (unsigned i = 0; i < count; i++) ended += !raw_is_silent(peers[i], 0);
        WORLD_HOLDS(w, 10, w->opened == round * allowed);
        cr_assert_eq(ended, count - allowed);
        cr_assert_eq(world_stats(w).refused_address, by_address ? round * (count - allowed) : 0);
        cr_assert_eq(world_stats(w).accepted, round * allowed);
        close_many((int)count);
        WORLD_AWAIT(w, world_stats(w).connections == 0);
        cr_assert_eq(w->closed, round * allowed, "no callback for those who were refused");
    }
    world_stop(w);
}

Test(admission, max_connections_of_a_listener)
{
    for (int balanced = 0; balanced < 2; balanced++) {
        world w = { .listen_options = { .max_connections = 10,
                                        .placement = balanced ? WEIR_PLACEMENT_BALANCED : WEIR_PLACEMENT_SPREAD },
                    .runtime_options.workers = 3 };
        check_limit(&w, 30, 10, false);
    }
}

Test(admission, max_connections_of_the_runtime)
{
    world w = { .runtime_options = { .max_connections = 12, .workers = 3 } };
    check_limit(&w, 30, 12, false);
}

Test(admission, max_per_address)
{
    for (int balanced = 0; balanced < 2; balanced++) {
        world w = { .listen_options = { .max_per_address = 7,
                                        .placement = balanced ? WEIR_PLACEMENT_BALANCED : WEIR_PLACEMENT_SPREAD },
                    .runtime_options.workers = 3 };
        check_limit(&w, 20, 7, true);
    }
}

Test(admission, max_per_address_counts_each_address_for_itself)
{
    static const char *const sources[] = { "127.0.0.2", "127.0.0.3", "127.0.0.4", "127.1.2.3" };
    world w = { .listen_options.max_per_address = 2 };
    world_start(&w);
    for (int i = 0; i < 12; i++) peers[i] = host_connect_from(sources[i % 4], "127.0.0.1", w.port);
    WORLD_AWAIT(&w, w.opened + world_stats(&w).refused_address == 12);
    cr_assert_eq(w.opened, 8);
    for (int i = 0; i < 8; i++) cr_assert(raw_is_silent(peers[i], 0), "the first two of each are in");
    raw_close(peers[1]); /* one of the second source's leaves */
    WORLD_AWAIT(&w, w.closed == 1);
    WORLD_AWAIT(&w, world_stats(&w).connections == 7);
    peers[1] = host_connect_from(sources[0], "127.0.0.1", w.port);
    WORLD_AWAIT(&w, world_stats(&w).refused_address == 5);
    raw_peer again = host_connect_from(sources[1], "127.0.0.1", w.port);
    WORLD_AWAIT(&w, w.opened == 9);
    raw_close(again);
    close_many(12);
    world_stop(&w);
}

Test(admission, max_per_address_counts_an_ipv4_client_of_both_families_as_ipv4)
{
    if (!host_has_ipv6()) cr_skip_test("there is no ::1 here");
    world w = { .listen_options.max_per_address = 2, .address = "[::]:0" };
    world_start(&w);
    for (int i = 0; i < 3; i++) peers[i] = raw_connect("::1", w.port, 0);
    for (int i = 3; i < 6; i++) peers[i] = raw_connect("127.0.0.1", w.port, 0);
    for (int i = 6; i < 8; i++) peers[i] = host_connect_from("127.0.0.2", "127.0.0.1", w.port);
    WORLD_AWAIT(&w, w.opened + world_stats(&w).refused_address == 8);
    cr_assert_eq(w.opened, 6);
    close_many(8);
    world_stop(&w);
}

Test(admission, a_connection_that_finds_no_memory_takes_no_place)
{
    world w = { .listen_options = { .max_connections = 5, .max_per_address = 5 } };
    world_start(&w);
    raw_close(world_connect(&w));
    WORLD_AWAIT(&w, w.closed == 1); /* the listener has all that it needs */
    world_refuse(&w, 0);
    for (int i = 0; i < 20; i++) {
        peers[i] = raw_connect("127.0.0.1", w.port, 0);
        cr_assert_neq(raw_await_end(peers[i]), RAW_OPEN);
    }
    WORLD_AWAIT(&w, world_stats(&w).refused_memory == 20); /* counted after the peer has seen it */
    cr_assert_eq(w.opened, 1);
    world_refuse(&w, -1);
    close_many(20);
    connect_many(w.port, 5);
    WORLD_AWAIT(&w, w.opened == 6);
    close_many(5);
    world_stop(&w);
}

/* The very first one needs more than those after it: for itself, and for the first slots. */
Test(admission, the_first_connection_of_all_may_find_no_memory_and_the_next_is_served)
{
    for (int after = 0; after < 2; after++) {
        world w = { .manual = true };
        world_start(&w);
        world_settle(&w); /* the listener listens */
        world_refuse(&w, after);
        raw_peer first = world_connect(&w);
        WORLD_AWAIT(&w, world_stats(&w).refused_memory == 1);
        cr_assert_neq(raw_await_end(first), RAW_OPEN);
        world_refuse(&w, -1);
        raw_peer next = world_connect(&w);
        WORLD_AWAIT(&w, w.opened == 1);
        raw_close(first);
        raw_close(next);
        WORLD_AWAIT(&w, w.closed == 1);
        world_stop(&w);
    }
}

Test(admission, peers_that_reset_in_the_backlog_do_not_end_the_listener)
{
    world w = { .manual = true };
    world_start(&w);
    connect_many(w.port, 30);
    for (int i = 0; i < 30; i += 2) raw_reset(peers[i]);
    WORLD_AWAIT(&w, w.opened - w.closed == 15);
    raw_peer later = world_connect(&w);
    WORLD_AWAIT(&w, w.opened - w.closed == 16);
    cr_assert_eq(world_closed(&w, WEIR_ECONNRESET) + world_stats(&w).accept_errors, 15);
    raw_close(later);
    for (int i = 1; i < 30; i += 2) raw_close(peers[i]);
    world_stop(&w);
}

/* ---- how fast ---- */

/* So many more than its rate may get in: a tenth of it, a batch a worker that the kernel had ready, and those of the
 * milliseconds that a busy machine lets pass between looking at the clock and at the count. */
enum { RATE = 100, RATE_PEERS = 220, RATE_SLACK = RATE / 10 + 2 * 16 + RATE / 5 };

static void check_rate(weir_placement placement)
{
    world w = { .runtime_options.workers = 2, .listen_options = { .accept_rate = RATE, .placement = placement } };
    world_start(&w);
    uint64_t start_ns = wr_os_now_ns();
    connect_many(w.port, RATE_PEERS);
    cr_assert_lt(w.opened, RATE_PEERS, "the rest waits in the backlog");
    while (w.opened < RATE_PEERS) {
        unsigned opened = w.opened;
        double seconds = (double)(wr_os_now_ns() - start_ns) / 1e9;
        cr_assert_leq(opened, seconds * RATE + RATE_SLACK, "%u after %.3f s", opened, seconds);
        cr_assert_lt(seconds, RATE_PEERS / RATE + 10.0 * RAW_SLOWDOWN, "%u after %.3f s", opened, seconds);
        weir_sleep_ms(5);
    }
    double seconds = (double)(wr_os_now_ns() - start_ns) / 1e9;
    cr_assert_geq(seconds, (double)(RATE_PEERS - RATE_SLACK) / RATE, "all of them after %.3f s", seconds);
    cr_assert_gt(world_stats(&w).accept_pauses, 0);
    cr_assert_eq(world_stats(&w).accept_errors, 0);
    close_many(RATE_PEERS);
    world_stop(&w);
}

Test(admission, accept_rate_lets_the_rest_wait_and_serves_it_later, .timeout = 40)
{
    check_rate(WEIR_PLACEMENT_SPREAD);
}

Test(admission, accept_rate_of_a_balanced_listener, .timeout = 40)
{
    check_rate(WEIR_PLACEMENT_BALANCED);
}

Test(admission, accept_rate_of_a_few_a_second_lets_no_crowd_in)
{
    enum { FEW = 10, WAITING = 25, SLACK = 4 };
    world w = { .listen_options.accept_rate = FEW };
    world_start(&w);
    uint64_t start_ns = wr_os_now_ns();
    connect_many(w.port, WAITING);
    while (w.opened < WAITING) {
        unsigned now_open = w.opened;
        double seconds = (double)(wr_os_now_ns() - start_ns) / 1e9;
        cr_assert_leq(now_open, seconds * FEW + SLACK, "%u after %.3f s", now_open, seconds);
        cr_assert_lt(seconds, 10.0 * RAW_SLOWDOWN);
        weir_sleep_ms(5);
    }
    close_many(WAITING);
    world_stop(&w);
}

Test(admission, accept_rate_far_above_the_demand_pauses_nobody)
{
    world w = { .listen_options.accept_rate = 1000000 };
    world_start(&w);
    connect_many(w.port, 300);
    WORLD_AWAIT(&w, w.opened == 300);
    cr_assert_eq(world_stats(&w).accept_pauses, 0);
    close_many(300);
    world_stop(&w);
}

/* ---- no descriptor left ---- */

static _Atomic unsigned accept_errors, opened;
static _Atomic int last_error, last_system_error;
static bool closes_at_error;

static void note_error(weir_listener *listener, weir_reason reason)
{
    cr_assert_neq(weir_listener_address(listener).port, 0);
    last_error = reason.error;
    last_system_error = reason.system_error;
    atomic_fetch_add(&accept_errors, 1);
    if (closes_at_error) weir_listener_close(listener);
}

static void note_open(weir_conn *conn)
{
    (void)conn;
    atomic_fetch_add(&opened, 1);
}

static void wait_until_at_least(const _Atomic unsigned *count, unsigned least)
{
    for (int i = 0; i < RAW_PATIENCE_MS && *count < least; i++) weir_sleep_ms(1);
    cr_assert_geq(*count, least);
}

/* More peers wait in the backlog than the process has descriptors for. */
static weir_runtime *start_starved(weir_placement placement, int waiting, unsigned left, weir_listener **listener)
{
    weir_runtime *runtime;
    const weir_protocol protocol = { .on_open = note_open };
    const weir_listen_options options = { .placement = placement, .on_accept_error = note_error };
    cr_assert_eq(weir_runtime_create(&runtime, &(weir_runtime_options){ .workers = 2, .max_connections = 256 }), 0);
    cr_assert_eq(weir_listen(runtime, "127.0.0.1:0", &protocol, &options, listener), 0);
    accept_errors = opened = 0;
    connect_many(weir_listener_address(*listener).port, waiting);
    cr_assert(host_limit_descriptors(raw_descriptors() + 40)); /* few are quickly filled */
    host_fill_descriptors();
    host_free_descriptors(left);
    cr_assert_eq(weir_runtime_start(runtime), 0);
    return runtime;
}

static void check_shortage(weir_placement placement)
{
    enum { WAITING = 30, LEFT = 10 };
    weir_listener *listener;
    weir_stats stats;
    weir_runtime *runtime = start_starved(placement, WAITING, LEFT, &listener);
    wait_until_at_least(&accept_errors, 1);
    cr_assert_eq(last_error, WEIR_EMFILE);
    cr_assert_eq(last_system_error, EMFILE);
    wait_until_at_least(&opened, LEFT);

    unsigned errors = accept_errors;
    uint64_t cpu_us = host_cpu_us();
    weir_sleep_ms(500);
    cpu_us = host_cpu_us() - cpu_us;
    cr_assert_lt(cpu_us, 50000, "it spins: %u us of CPU time in 0.5 s", (unsigned)cpu_us);
    cr_assert_leq(accept_errors - errors, 2 * 6, "each of two listeners pauses for 100 ms");
    cr_assert_eq(opened, LEFT);
    weir_stats_read(runtime, &stats);
    cr_assert_eq(stats.accept_errors, accept_errors);
    cr_assert_gt(stats.accept_pauses, 0);
    cr_assert_leq(stats.accept_pauses, stats.accept_errors);

    host_free_descriptors(UINT32_MAX);
    wait_until_at_least(&opened, WAITING);
    raw_close(raw_connect("127.0.0.1", weir_listener_address(listener).port, 0));
    wait_until_at_least(&opened, WAITING + 1);
    close_many(WAITING);
    weir_runtime_destroy(runtime);
}

Test(admission, without_a_descriptor_it_says_so_does_not_spin_and_goes_on_later)
{
    check_shortage(WEIR_PLACEMENT_BALANCED);
    check_shortage(WEIR_PLACEMENT_SPREAD);
}

Test(admission, without_a_descriptor_the_listener_may_be_closed_by_its_callback)
{
    enum { WAITING = 20 };
    weir_listener *listener;
    closes_at_error = true;
    weir_runtime *runtime = start_starved(WEIR_PLACEMENT_BALANCED, WAITING, 4, &listener);
    wait_until_at_least(&accept_errors, 1);
    int ended = 0;
    for (int i = 0; i < WAITING; i++) ended += !raw_is_silent(peers[i], i ? 0 : 300);
    cr_assert_eq(accept_errors, 1);
    cr_assert_eq(opened, 4);
    host_free_descriptors(UINT32_MAX);
    cr_assert(host_connect_is_refused("127.0.0.1", weir_listener_address(listener).port));
    cr_assert_eq(opened, 4);
    cr_assert_geq(ended, WAITING - 4, "those in the backlog are told");
    close_many(WAITING);
    weir_runtime_destroy(runtime);
}
