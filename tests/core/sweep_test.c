/* Memory runs out for one allocation, for each of them once, while a server listens, accepts, connects, receives in
 * pieces, sends in all ways, posts and closes. What needed it ends, and says so once; nothing else notices. */
#include <string.h>

#include "core/host.h"
#include "core/world.h"

enum {
    LARGE = 40000,
    SHARED = 20000,
    REPLY = 3 + LARGE + SHARED + 2,
    LINE = 600, /* in two halves, so that the tail for the first one must grow */
    ALLOCATIONS_MAX = 500,
};

static char line[LINE];

typedef struct play {
    world *w;
    weir_listener *listener;
    weir_buf *shared;
    weir_conn_id client;
    weir_protocol server_protocol, client_protocol;
    _Atomic uint64_t received;
    _Atomic unsigned told;  /* how often a call or the log said that there was no memory */
    _Atomic unsigned ended; /* of the client */
    _Atomic bool paused;
} play;

/* What a call returned that reports by its result alone. */
static bool tells(play *p, int error)
{
    cr_assert(error == 0 || error == WEIR_ENOMEM, "%s", weir_error_name(error));
    if (error) atomic_fetch_add(&p->told, 1);
    return error != 0;
}

static void log_line(weir_log_level level, const char *text, void *data)
{
    play *p = data;
    if (level <= WEIR_LOG_WARNING && strstr(text, "no memory")) atomic_fetch_add(&p->told, 1);
}

/* ---- the server's side ---- */

/* Small and large copies, a shared buffer, and a send by id. Those to the connection itself are told by its on_close.
 */
static void server_message(weir_conn *conn, const void *bytes, size_t size)
{
    static const char large[LARGE];
    play *p = world_data(conn);
    cr_assert_eq(size, LINE);
    cr_assert_arr_eq(bytes, line, LINE);
    (void)weir_send(conn, "abc", 3);
    (void)weir_send(conn, large, sizeof large);
    (void)weir_send_buf(conn, p->shared);
    if (tells(p, weir_send_to(weir_conn_runtime(conn), weir_conn_get_id(conn), "de", 2))) weir_abort(conn);
}

/* ---- the client's ---- */

static void say_rest(weir_runtime *runtime, void *data)
{
    play *p = data;
    if (tells(p, weir_send_to(runtime, p->client, line + LINE / 2, LINE / 2)))
        tells(p, weir_abort_id(runtime, p->client));
}

static void client_open(weir_conn *conn)
{
    play *p = world_data(conn);
    p->client = weir_conn_get_id(conn);
    if (weir_send(conn, line, LINE / 2) != 0) return;
    if (tells(p, weir_post_after(weir_conn_runtime(conn), weir_conn_worker(conn), 2, say_rest, p))) weir_abort(conn);
}

static void resume(weir_runtime *runtime, void *data)
{
    (void)runtime;
    play *p = data;
    if (!p->ended) weir_conn_resume(world_conn(p->w, p->client));
}

/* Ten bytes at a time, so that most of a read is left when it pauses. */
static void client_message(weir_conn *conn, const void *bytes, size_t size)
{
    play *p = world_data(conn);
    (void)bytes;
    atomic_fetch_add(&p->received, size);
    if (p->received >= REPLY) {
        weir_close(conn);
    } else if (!p->paused) {
        p->paused = true;
        weir_conn_pause(conn);
        if (tells(p, weir_post(weir_conn_runtime(conn), weir_conn_worker(conn), resume, p))) weir_abort(conn);
    }
}

static void client_close(weir_conn *conn, weir_reason reason)
{
    play *p = world_data(conn);
    (void)reason;
    atomic_fetch_add(&p->ended, 1);
}

/* ---- all of it ---- */

/* Whether the client got all of its answer. */
static bool drive(play *p)
{
    char text[32768];
    p->server_protocol = (weir_protocol){ .on_message = server_message,
                                          .session_size = 100,
                                          .idle_timeout_ms = 60000,
                                          .framing = weir_framing_line(),
                                          .data = p };
    p->client_protocol = (weir_protocol){
        .on_open = client_open, .on_message = client_message, .on_close = client_close, .max_message = 10, .data = p
    };
    const weir_listen_options options = { .max_per_address = 10, .placement = WEIR_PLACEMENT_BALANCED };
    weir_protocol wrapped = world_wrap(p->w, &p->server_protocol);
    if (tells(p, weir_listen(p->w->runtime, "127.0.0.1:0", &wrapped, &options, &p->listener))) return false;
    wrapped = world_wrap(p->w, &p->client_protocol);
    weir_conn_id id;
    /* The last worker: the listener's is another one, if there is another, and hands its end over to this one. */
    const weir_connect_options there = { .worker = weir_runtime_workers(p->w->runtime) };
    if (tells(p, weir_connect(p->w->runtime, weir_listener_address(p->listener).text, &wrapped, &there, &id)))
        return false;
    WORLD_AWAIT(p->w, p->ended == 1);
    if (weir_stats_text(p->w->runtime, text, sizeof text) == 0) atomic_fetch_add(&p->told, 1);
    return p->received == REPLY;
}

static void echo(weir_conn *conn, const void *bytes, size_t size)
{
    (void)weir_send(conn, bytes, size);
}

static void exchange(raw_peer peer)
{
    char heard[5];
    raw_send(peer, "still", 5);
    raw_receive(peer, heard, 5);
    cr_assert_arr_eq(heard, "still", 5);
}

/* With the n-th allocation failing, from 0. False: there were fewer. */
static bool attempt(int64_t n, bool manual)
{
    world w = { .protocol = { .on_message = echo },
                .listen_options.placement = WEIR_PLACEMENT_BALANCED, /* so the bystander is the first worker's */
                .manual = manual,
                .runtime_options = { .workers = manual ? 1 : 2, .max_connections = 64, .stop_timeout_ms = 500 } };
    play p = { .w = &w, .shared = weir_buf_create(SHARED) };
    cr_assert_not_null(p.shared);
    memset(weir_buf_bytes(p.shared), 1, SHARED);
    memset(line, 'x', LINE);
    line[LINE - 1] = '\n';
    w.runtime_options.log = log_line;
    w.runtime_options.log_data = &p;
    world_start(&w);
    raw_peer bystander = world_connect(&w);
    exchange(bystander);
    WORLD_AWAIT(&w, w.opened == 1);

    world_refuse_once(&w, n);
    bool went_through = drive(&p);
    world_refuse(&w, -1);
    WORLD_AWAIT(&w, world_stats(&w).connections == 1);
    exchange(bystander);
    raw_peer newcomer = world_connect(&w);
    exchange(newcomer);
    weir_stats stats = world_stats(&w);
    uint64_t told = p.told + stats.closed[-WEIR_ENOMEM] + stats.refused_memory;
    bool failed = w.memory.refused > 0;
    /* A connection that is closing already keeps the reason that it has. */
    cr_assert(told == w.memory.refused || (told == 0 && went_through), "allocation %lld: told %u times", (long long)n,
              (unsigned)told);
    cr_assert(went_through || failed, "with all memory that it needs it goes through");
    raw_close(newcomer);
    raw_close(bystander);
    world_stop(&w);
    weir_buf_release(p.shared);
    return failed;
}

static void sweep(bool manual)
{
    unsigned descriptors = raw_descriptors();
    int64_t n = 0;
    while (attempt(n, manual)) {
        cr_assert_eq(raw_descriptors(), descriptors, "allocation %lld leaks a descriptor", (long long)n);
        cr_assert_lt(n, ALLOCATIONS_MAX, "it never goes through");
        n++;
    }
    cr_assert_gt(n, 10, "only %lld allocations", (long long)n);
    cr_assert_eq(raw_descriptors(), descriptors);
}

Test(sweep, each_allocation_that_fails_is_told_once_and_ends_nothing_else, .timeout = 120)
{
    sweep(true);
}

Test(sweep, each_allocation_that_fails_on_several_workers_is_told_once_and_ends_nothing_else, .timeout = 120)
{
    sweep(false);
}
