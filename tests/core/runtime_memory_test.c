/* The runtime on the embedder's allocator, down to an allocator that fails: at every place once. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/host.h"
#include "core/world.h"

/* ---- an allocator with a ledger: every block's size, and which allocation is to fail ---- */

typedef struct block {
    size_t size;
    uint64_t magic;
} block;

typedef struct ledger {
    _Atomic uint64_t bytes, blocks, calls, wrong;
    _Atomic uint64_t fails_at; /* the so manieth allocation from 1; 0: none */
    bool fails_on;             /* and all that follow */
} ledger;

#define MAGIC UINT64_C(0x77656972)

static void *ledger_alloc(size_t size, void *data)
{
    ledger *l = data;
    uint64_t call = atomic_fetch_add(&l->calls, 1) + 1;
    uint64_t at = atomic_load(&l->fails_at);
    if (at && (call == at || (l->fails_on && call > at))) return NULL;
    block *b = malloc(sizeof *b + size);
    if (!b) return NULL;
    *b = (block){ .size = size, .magic = MAGIC };
    memset(b + 1, 0xdd, size); /* nobody may count on zeros */
    atomic_fetch_add(&l->bytes, size);
    atomic_fetch_add(&l->blocks, 1);
    return b + 1;
}

static void ledger_free(void *bytes, size_t size, void *data)
{
    ledger *l = data;
    block *b = (block *)bytes - 1;
    if (b->magic != MAGIC || b->size != size) atomic_fetch_add(&l->wrong, 1);
    atomic_fetch_sub(&l->bytes, b->size);
    atomic_fetch_sub(&l->blocks, 1);
    b->magic = 0;
    free(b);
}

static weir_allocator allocator_of(ledger *l)
{
    return (weir_allocator){ .alloc = ledger_alloc, .free = ledger_free, .data = l };
}

static void check_balance(const ledger *l)
{
    cr_assert_eq(l->wrong, 0, "%llu blocks freed with another size", (unsigned long long)l->wrong);
    cr_assert_eq(l->blocks, 0, "%llu blocks leak", (unsigned long long)l->blocks);
    cr_assert_eq(l->bytes, 0, "%llu bytes leak", (unsigned long long)l->bytes);
}

/* ---- the scenario: a server, a client in the same runtime, an echo, and all ways to send ---- */

enum { REPLY = 3 + 40000 + 20000 + 2 };

typedef struct play {
    weir_runtime *runtime;
    unsigned opened, closed, received; /* of both ends */
    int errors[8];                     /* of on_close */
    weir_conn_id server_id;
    weir_buf *shared;
    bool refused; /* a call said WEIR_ENOMEM, so that something will not come */
    bool done;
} play;

static play *play_of(const weir_conn *conn)
{
    return weir_conn_data(conn);
}

static void on_open(weir_conn *conn)
{
    play_of(conn)->opened++;
}

static void on_close(weir_conn *conn, weir_reason reason)
{
    play *p = play_of(conn);
    cr_assert_lt(reason.error, 0);
    if (p->closed < 8) p->errors[p->closed] = reason.error;
    p->closed++;
}

static void client_open(weir_conn *conn)
{
    play_of(conn)->opened++;
    weir_send(conn, "hello\n", 6);
}

/* Small and large copies, a shared buffer, and a send by id. */
static void server_message(weir_conn *conn, const void *bytes, size_t size)
{
    static const char large[40000];
    play *p = play_of(conn);
    (void)bytes;
    (void)size;
    weir_send(conn, "abc", 3);
    weir_send(conn, large, sizeof large);
    weir_send_buf(conn, p->shared);
    p->refused |= weir_send_to(p->runtime, weir_conn_get_id(conn), "de", 2) != 0;
}

static void finish(weir_runtime *runtime, void *data)
{
    (void)runtime;
    ((play *)data)->done = true;
}

static void client_message(weir_conn *conn, const void *bytes, size_t size)
{
    play *p = play_of(conn);
    (void)bytes;
    p->received += (unsigned)size;
    if (p->received < REPLY) return;
    p->refused |= weir_post_after(p->runtime, 0, 1, finish, p) != 0;
    weir_close(conn);
}

/* Whether the whole scenario went through, untouched by what failed. */
static bool drive(play *p, const char *address)
{
    weir_listener *listener;
    const weir_protocol server = { .on_open = on_open,
                                   .on_message = server_message,
                                   .on_close = on_close,
                                   .session_size = 100,
                                   .idle_timeout_ms = 5000,
                                   .framing = weir_framing_line(),
                                   .data = p };
    const weir_protocol client = {
        .on_open = client_open, .on_message = client_message, .on_close = on_close, .data = p
    };
    const weir_listen_options options = { .max_per_address = 10, .placement = WEIR_PLACEMENT_BALANCED };
    int error = weir_listen(p->runtime, address, &server, &options, &listener);
    cr_assert(error == 0 || error == WEIR_ENOMEM, "weir_listen: %s", weir_error_name(error));
    if (error) return false;
    error = weir_connect(p->runtime, weir_listener_address(listener).text, &client, NULL, NULL);
    cr_assert(error == 0 || error == WEIR_ENOMEM, "weir_connect: %s", weir_error_name(error));
    if (error) return false;
    uint64_t deadline_ns = wr_os_now_ns() + (uint64_t)2000 * 1000000 * RAW_SLOWDOWN;
    bool failed = false;
    while (!p->done && !failed && wr_os_now_ns() < deadline_ns) {
        cr_assert_geq(weir_poll(p->runtime, 1), 0);
        for (unsigned i = 0; i < p->closed && i < 8; i++)
            failed |= p->errors[i] == WEIR_ENOMEM || p->errors[i] == WEIR_ECONNRESET;
        failed |= p->refused || (p->closed == 2 && p->received < REPLY);
    }
    char text[32768];
    size_t length = weir_stats_text(p->runtime, text, sizeof text);
    cr_assert_lt(length, sizeof text);
    weir_listener_close(listener);
    return p->done && length > 0;
}

/* Runs the scenario with the n-th allocation failing. True: nothing failed, so n is beyond the last one. */
static bool attempt(uint64_t n, bool fails_on, const char *address)
{
    static ledger l;
    l = (ledger){ .fails_on = fails_on };
    atomic_store(&l.fails_at, n);
    weir_allocator allocator = allocator_of(&l);
    play p = { .shared = weir_buf_create(20000) };
    cr_assert_not_null(p.shared);
    memset(weir_buf_bytes(p.shared), 1, 20000);
    int error = weir_runtime_create(
        &p.runtime, &(weir_runtime_options){
                        .manual = true, .max_connections = 64, .allocator = &allocator, .stop_timeout_ms = 500 });
    cr_assert(error == 0 || error == WEIR_ENOMEM, "allocation %llu: %s", (unsigned long long)n, weir_error_name(error));
    bool went_through = false;
    if (error == 0) {
        went_through = drive(&p, address);
        weir_runtime_destroy(p.runtime);
    } else {
        cr_assert_null(p.runtime);
    }
    weir_buf_release(p.shared);
    check_balance(&l);
    bool failed = l.calls >= n;
    if (!failed) {
        cr_assert(went_through, "without a failure the scenario goes through");
        cr_assert_eq(p.opened, 2);
    }
    cr_assert_geq(p.closed, p.opened);
    return !failed;
}

static void sweep(bool fails_on, const char *address)
{
    unsigned descriptors = raw_descriptors();
    uint64_t n = 1;
    while (!attempt(n, fails_on, address)) {
        cr_assert_eq(raw_descriptors(), descriptors, "allocation %llu leaks a descriptor", (unsigned long long)n);
        cr_assert_lt(n, 500, "it never goes through");
        n++;
    }
    cr_assert_gt(n, 10, "the hook was hardly asked");
    cr_assert_eq(raw_descriptors(), descriptors);
}

Test(runtime_memory, every_single_allocation_may_fail, .timeout = 120)
{
    sweep(false, "127.0.0.1:0");
}

Test(runtime_memory, from_every_allocation_on_all_may_fail, .timeout = 240)
{
    sweep(true, "127.0.0.1:0");
}

Test(runtime_memory, a_path_is_cleared_whatever_fails, .timeout = 120)
{
    char path[HOST_PATH_MAX], address[HOST_PATH_MAX + 8];
    host_path(path);
    (void)snprintf(address, sizeof address, "unix:%s", path);
    for (uint64_t n = 1; !attempt(n, false, address); n++)
        cr_assert_not(host_exists(path), "allocation %llu leaves the file", (unsigned long long)n);
    cr_assert_not(host_exists(path));
}

/* ---- threads ---- */

static void echo(weir_conn *conn, const void *bytes, size_t size)
{
    weir_send(conn, bytes, size);
}

Test(runtime_memory, all_of_it_comes_from_the_hook_and_goes_back_with_its_size)
{
    enum { PEERS = 60 };
    static ledger l;
    static raw_peer peers[PEERS];
    weir_allocator allocator = allocator_of(&l);
    weir_runtime *runtime;
    weir_listener *listener;
    const weir_protocol protocol = { .on_message = echo, .session_size = 77 };
    cr_assert_eq(
        weir_runtime_create(&runtime,
                            &(weir_runtime_options){ .workers = 3, .max_connections = 256, .allocator = &allocator }),
        0);
    memset(&allocator, 0, sizeof allocator); /* it was copied */
    cr_assert_eq(weir_listen(runtime, "127.0.0.1:0", &protocol, NULL, &listener), 0);
    cr_assert_eq(weir_runtime_start(runtime), 0);
    for (int i = 0; i < PEERS; i++) {
        char heard[4];
        peers[i] = raw_connect("127.0.0.1", weir_listener_address(listener).port, 0);
        raw_send(peers[i], "abcd", 4);
        raw_receive(peers[i], heard, 4);
    }
    cr_assert_gt(l.blocks, PEERS);
    cr_assert_gt(l.bytes, PEERS * 77);
    for (int i = 0; i < PEERS; i++) raw_close(peers[i]);
    weir_runtime_destroy(runtime);
    check_balance(&l);
}

Test(runtime_memory, while_it_comes_and_goes_a_busy_server_of_several_workers_ends_well, .timeout = 60)
{
    static ledger l;
    weir_allocator allocator = allocator_of(&l);
    weir_runtime *runtime;
    weir_listener *listener;
    const weir_protocol protocol = { .on_message = echo, .session_size = 77 };
    const weir_listen_options options = { .placement = WEIR_PLACEMENT_BALANCED, .max_per_address = 1000 };
    cr_assert_eq(
        weir_runtime_create(&runtime,
                            &(weir_runtime_options){ .workers = 3, .max_connections = 256, .allocator = &allocator }),
        0);
    cr_assert_eq(weir_listen(runtime, "127.0.0.1:0", &protocol, &options, &listener), 0);
    cr_assert_eq(weir_runtime_start(runtime), 0);
    uint16_t port = weir_listener_address(listener).port;
    for (uint64_t i = 0; i < 400; i++) {
        raw_peer peer;
        atomic_store(&l.fails_at, l.calls + 1 + i % 7);
        if (!raw_try_connect("127.0.0.1", port, RAW_PATIENCE_MS, &peer)) continue;
        (void)raw_send_some(peer, "abcd", 4);
        if (i % 3 == 0) (void)raw_is_silent(peer, 2);
        raw_close(peer);
    }
    atomic_store(&l.fails_at, 0);
    raw_peer peer = raw_connect("127.0.0.1", port, 0);
    char heard[4];
    raw_send(peer, "abcd", 4);
    raw_receive(peer, heard, 4);
    raw_close(peer);
    weir_stats stats;
    weir_stats_read(runtime, &stats);
    cr_assert_gt(stats.accepted, 0);
    weir_runtime_destroy(runtime);
    check_balance(&l);
}
