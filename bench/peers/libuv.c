/* libuv, as its documentation teaches it to those who want speed: a loop a thread; handles from a pool and one read
 * buffer a loop, so that nothing is allocated for a connection or a message; uv_try_write at once, and uv_write for
 * what the system does not take. */
#define _GNU_SOURCE
#include <netinet/in.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <uv.h>

#include "address.h"
#include "peer.h"
#include "peers/mailbox.h"
#include "thread.h"

enum { BACKLOG = 4096, BUFFER = 64 * 1024 };

static void check(int error, const char *what)
{
    if (error < 0) fail("%s: %s", what, uv_strerror(error));
}

static void *allocate(size_t count, size_t size)
{
    void *block = calloc(count > 0 ? count : 1, size);
    if (!block) fail("out of memory");
    return block;
}

static void set_option(const uv_tcp_t *tcp, int level, int name)
{
    uv_os_fd_t fd;
    int on = 1;
    check(uv_fileno((const uv_handle_t *)tcp, &fd), "uv_fileno");
    if (setsockopt(fd, level, name, &on, sizeof on) != 0) fail_system("setsockopt");
}

/* ---- servers ---- */

struct conn {
    uv_tcp_t tcp;
    struct conn *next; /* in the pool */
    unsigned place;    /* in the room */
};

/* A loop of its own, on a thread of its own. */
struct worker {
    uv_loop_t loop;
    uv_tcp_t listener;
    struct conn *pool;
    atomic_uint_fast64_t open; /* written by the worker alone */
    char buffer[BUFFER];
};

static struct worker *workers;
static unsigned worker_count;

/* The members of the one room, in `broadcast`. */
static struct room {
    struct conn **members;
    unsigned count, packet_size;
    char *packet;
    uint64_t packets;
} room;

static struct worker *worker_of(const uv_handle_t *handle)
{
    return handle->loop->data;
}

static void count_open(struct worker *worker, uint64_t change)
{
    uint64_t open = atomic_load_explicit(&worker->open, memory_order_relaxed);
    atomic_store_explicit(&worker->open, open + change, memory_order_relaxed);
}

static void recycle(uv_handle_t *handle)
{
    struct worker *worker = worker_of(handle);
    struct conn *conn = (struct conn *)handle;
    conn->next = worker->pool;
    worker->pool = conn;
}

static void leave_room(const struct conn *conn)
{
    room.members[conn->place] = room.members[--room.count];
    room.members[conn->place]->place = conn->place;
}

static void close_conn(struct conn *conn)
{
    uv_handle_t *handle = (uv_handle_t *)&conn->tcp;
    if (uv_is_closing(handle)) return;
    if (room.members) leave_room(conn);
    count_open(worker_of(handle), (uint64_t)-1);
    uv_close(handle, recycle);
}

static struct conn *accept_conn(uv_stream_t *listener, int status)
{
    check(status, "accept");
    struct worker *worker = worker_of((uv_handle_t *)listener);
    struct conn *conn = worker->pool;
    if (conn) {
        worker->pool = conn->next;
    } else {
        conn = allocate(1, sizeof *conn);
    }
    check(uv_tcp_init(&worker->loop, &conn->tcp), "uv_tcp_init");
    check(uv_accept(listener, (uv_stream_t *)&conn->tcp), "uv_accept");
    count_open(worker, 1);
    return conn;
}

/* One buffer does for all connections of a loop: what is read is used, or copied, before the next read. */
static void lend_buffer(uv_handle_t *handle, size_t suggested, uv_buf_t *out)
{
    (void)suggested;
    *out = uv_buf_init(worker_of(handle)->buffer, BUFFER);
}

static void begin_reading(struct conn *conn, uv_read_cb got)
{
    int error = uv_read_start((uv_stream_t *)&conn->tcp, lend_buffer, got);
    if (error != 0) close_conn(conn);
}

/* What the system did not take at once. */
struct rest {
    uv_write_t request;
    char bytes[];
};

/* Writes at once what it can, and copies the rest for `written`. 0 if all is written, 1 if there is a rest, or an
 * error. */
static int write_or_keep(struct conn *conn, const char *bytes, size_t size, uv_write_cb written)
{
    uv_stream_t *stream = (uv_stream_t *)&conn->tcp;
    uv_buf_t out = uv_buf_init((char *)bytes, (unsigned)size);
    int took = uv_try_write(stream, &out, 1);
    if (took == (int)size) return 0;
    if (took < 0 && took != UV_EAGAIN) return took;
    size_t sent = took < 0 ? 0 : (size_t)took;
    struct rest *rest = malloc(sizeof *rest + size - sent);
    if (!rest) fail("out of memory");
    memcpy(rest->bytes, bytes + sent, size - sent);
    out = uv_buf_init(rest->bytes, (unsigned)(size - sent));
    int error = uv_write(&rest->request, stream, &out, 1, written);
    if (error == 0) return 1;
    free(rest);
    return error;
}

static void run_worker(void *worker_of_this)
{
    struct worker *worker = worker_of_this;
    uv_run(&worker->loop, UV_RUN_DEFAULT);
    fail("libuv's loop has ended");
}

static uint16_t listen_with(struct worker *worker, uint16_t port, uv_connection_cb accepted)
{
    uv_tcp_t *listener = &worker->listener;
    struct sockaddr_in address;
    check(uv_ip4_addr("127.0.0.1", port, &address), "127.0.0.1");
    check(uv_tcp_init_ex(&worker->loop, listener, AF_INET), "uv_tcp_init_ex");
    if (worker_count > 1) set_option(listener, SOL_SOCKET, SO_REUSEPORT);
    check(uv_tcp_nodelay(listener, 1), "TCP_NODELAY"); /* which connections inherit */
    check(uv_tcp_bind(listener, (struct sockaddr *)&address, 0), "bind to 127.0.0.1");
    check(uv_listen((uv_stream_t *)listener, BACKLOG, accepted), "listen");
    int size = sizeof address;
    check(uv_tcp_getsockname(listener, (struct sockaddr *)&address, &size), "uv_tcp_getsockname");
    return ntohs(address.sin_port);
}

static void serve(const struct job *job, uv_connection_cb accepted)
{
    worker_count = job->workers;
    workers = allocate(worker_count, sizeof workers[0]);
    uint16_t port = 0;
    for (unsigned i = 0; i < worker_count; i++) {
        check(uv_loop_init(&workers[i].loop), "uv_loop_init");
        workers[i].loop.data = &workers[i];
        port = listen_with(&workers[i], port, accepted);
    }
    for (unsigned i = 1; i < worker_count; i++) thread_start(run_worker, &workers[i]);
    serve_ready(port);
    run_worker(&workers[0]);
}

static void accept_accepted(uv_stream_t *listener, int status)
{
    close_conn(accept_conn(listener, status));
}

static void serve_accept(const struct job *job)
{
    serve(job, accept_accepted);
}

static void echo_got(uv_stream_t *stream, ssize_t got, const uv_buf_t *buffer);

/* The peer reads again. */
static void echo_written(uv_write_t *request, int status)
{
    struct conn *conn = (struct conn *)request->handle;
    free(request); /* the first member of struct rest */
    if (status < 0) {
        close_conn(conn);
    } else {
        begin_reading(conn, echo_got);
    }
}

static void echo_got(uv_stream_t *stream, ssize_t got, const uv_buf_t *buffer)
{
    struct conn *conn = (struct conn *)stream;
    if (got == 0) return; /* EAGAIN */
    int left = got < 0 ? (int)got : write_or_keep(conn, buffer->base, (size_t)got, echo_written);
    if (left < 0) {
        close_conn(conn);
    } else if (left > 0) {
        uv_read_stop(stream);
    }
}

static void echo_accepted(uv_stream_t *listener, int status)
{
    begin_reading(accept_conn(listener, status), echo_got);
}

static void serve_echo(const struct job *job)
{
    serve(job, echo_accepted);
}

static void room_written(uv_write_t *request, int status)
{
    struct conn *conn = (struct conn *)request->handle;
    free(request);
    if (status < 0) close_conn(conn);
}

static void room_send(struct conn *member, const char *bytes, size_t size)
{
    if (write_or_keep(member, bytes, size, room_written) < 0) close_conn(member);
}

/* From the last one on: the one that a failed write takes out of the array is replaced by one that has the packet. */
static void room_got(uv_stream_t *stream, ssize_t got, const uv_buf_t *buffer)
{
    (void)buffer;
    if (got < 0) close_conn((struct conn *)stream);
    for (ssize_t i = 0; i < got; i++) {
        broadcast_fill((uint8_t *)room.packet, room.packet_size, ++room.packets);
        for (unsigned j = room.count; j-- > 0;) room_send(room.members[j], room.packet, room.packet_size);
    }
}

static void room_accepted(uv_stream_t *listener, int status)
{
    static const char joined = BROADCAST_JOINED;
    struct conn *conn = accept_conn(listener, status);
    conn->place = room.count;
    room.members[room.count++] = conn;
    begin_reading(conn, room_got);
    room_send(conn, &joined, 1);
}

static void serve_broadcast(const struct job *job)
{
    room.members = allocate(job_descriptors(job), sizeof(struct conn *));
    room.packet = allocate(1, job->size);
    room.packet_size = job->size;
    serve(job, room_accepted);
}

static void shares(uint64_t *connections)
{
    for (unsigned i = 0; i < worker_count; i++) {
        connections[i] = atomic_load_explicit(&workers[i].open, memory_order_relaxed);
    }
}

/* ---- client ---- */

struct attempt {
    uv_tcp_t tcp;
    uv_connect_t request;
    struct lane *lane;
    uint64_t since_ns;
};

/* A loop and its share of the window. */
struct lane {
    uv_loop_t loop;
    uv_timer_t silence;
    struct client *client;
    struct attempt *attempts;
    unsigned window;
    struct limit limit;
    struct tally tally;
    uint64_t finished_before; /* when silence was looked for last */
};

struct client {
    struct sockaddr_in server;
    unsigned lane_count;
    struct semaphore *lane_done;
    struct lane lanes[];
};

static void attempt_start(struct attempt *attempt);

static void attempt_closed(uv_handle_t *handle)
{
    attempt_start((struct attempt *)handle);
}

static void attempt_connected(uv_connect_t *request, int status)
{
    struct attempt *attempt = (struct attempt *)request->handle;
    check(status, "connect");
    tally_finish(&attempt->lane->tally, clock_ns() - attempt->since_ns);
    check(uv_tcp_close_reset(&attempt->tcp, attempt_closed), "uv_tcp_close_reset");
}

static void attempt_start(struct attempt *attempt)
{
    struct lane *lane = attempt->lane;
    uint64_t now_ns = clock_ns();
    if (!tally_may_start(&lane->tally, &lane->limit, now_ns)) return;
    attempt->since_ns = now_ns;
    struct sockaddr_in source = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(address_next_source()) };
    check(uv_tcp_init_ex(&lane->loop, &attempt->tcp, AF_INET), "uv_tcp_init_ex");
    set_option(&attempt->tcp, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT);
    check(uv_tcp_bind(&attempt->tcp, (struct sockaddr *)&source, 0), "bind to a source address");
    check(uv_tcp_connect(&attempt->request, &attempt->tcp, (struct sockaddr *)&lane->client->server, attempt_connected),
          "connect");
}

static void look_for_silence(uv_timer_t *timer)
{
    struct lane *lane = timer->data;
    if (lane->tally.finished == lane->finished_before) fail("no connect ended for %d s", SILENCE_MS / 1000);
    lane->finished_before = lane->tally.finished;
}

static void lane_open(struct lane *lane, struct client *client, unsigned window)
{
    lane->client = client;
    lane->window = window;
    lane->attempts = allocate(window, sizeof lane->attempts[0]);
    for (unsigned i = 0; i < window; i++) lane->attempts[i].lane = lane;
    check(uv_loop_init(&lane->loop), "uv_loop_init");
    check(uv_timer_init(&lane->loop, &lane->silence), "uv_timer_init");
    lane->silence.data = lane;
    uv_unref((uv_handle_t *)&lane->silence); /* it does not keep the loop alive */
}

static void *client_open(const struct job *job)
{
    struct client *client = allocate(1, sizeof *client + job->workers * sizeof client->lanes[0]);
    struct address server = address_of(job->address);
    client->server = (struct sockaddr_in){ .sin_family = AF_INET,
                                           .sin_port = htons(server.port),
                                           .sin_addr.s_addr = htonl(server.ip) };
    client->lane_count = job->workers;
    client->lane_done = semaphore_create();
    for (unsigned i = 0; i < job->workers; i++) {
        lane_open(&client->lanes[i], client, job->window / job->workers + (i < job->window % job->workers));
    }
    return client;
}

/* The loop ends when no attempt is left. */
static void lane_run(void *lane_of_this)
{
    struct lane *lane = lane_of_this;
    lane->finished_before = UINT64_MAX;
    uv_update_time(&lane->loop);
    check(uv_timer_start(&lane->silence, look_for_silence, SILENCE_MS, SILENCE_MS), "uv_timer_start");
    for (unsigned i = 0; i < lane->window; i++) attempt_start(&lane->attempts[i]);
    uv_run(&lane->loop, UV_RUN_DEFAULT);
    semaphore_post(lane->client->lane_done);
}

static void client_burst(void *state, const struct limit *limit, struct tally *tally)
{
    struct client *client = state;
    unsigned count = client->lane_count;
    for (unsigned i = 0; i < count; i++) {
        uint64_t rest = i == 0 ? limit->operations % count : 0;
        client->lanes[i].limit = (struct limit){ limit->until_ns, limit->operations / count + rest };
        client->lanes[i].tally = (struct tally){ 0 };
    }
    for (unsigned i = 1; i < count; i++) thread_start(lane_run, &client->lanes[i]);
    lane_run(&client->lanes[0]);
    for (unsigned i = 0; i < count; i++) semaphore_wait(client->lane_done);
    for (unsigned i = 0; i < count; i++) {
        const struct tally *done = &client->lanes[i].tally;
        tally->started += done->started;
        tally->finished += done->finished;
        histogram_merge(&tally->latency, &done->latency);
    }
}

/* ---- timers ---- */

struct timers {
    uv_loop_t loop;
    unsigned count;
    uint64_t fired;
    uv_timer_t each[];
};

static void *timers_open(const struct job *job)
{
    struct timers *timers = allocate(1, sizeof *timers + job->timers * sizeof timers->each[0]);
    timers->count = job->timers;
    check(uv_loop_init(&timers->loop), "uv_loop_init");
    timers->loop.data = timers;
    for (unsigned i = 0; i < timers->count; i++) check(uv_timer_init(&timers->loop, &timers->each[i]), "uv_timer_init");
    return timers;
}

static void timer_fired(uv_timer_t *timer)
{
    ((struct timers *)timer->loop->data)->fired++;
}

/* Never early: the loop's millisecond has begun already. */
static void timers_arm(void *state, const uint32_t *delays_ms)
{
    struct timers *timers = state;
    timers->fired = 0;
    uv_update_time(&timers->loop);
    for (unsigned i = 0; i < timers->count; i++) {
        check(uv_timer_start(&timers->each[i], timer_fired, delays_ms[i] + 1, 0), "uv_timer_start");
    }
}

/* The loop ends when no timer is armed. */
static uint64_t timers_run(void *state)
{
    struct timers *timers = state;
    uv_run(&timers->loop, UV_RUN_DEFAULT);
    return timers->fired;
}

/* ---- messages between threads ---- */

struct post {
    struct mailbox mailbox;
    uv_loop_t loop;
    uv_async_t wake;
};

static void post_woken(uv_async_t *wake)
{
    mailbox_receive(&((struct post *)wake->data)->mailbox);
}

static void post_run(void *post_of_this)
{
    uv_run(&((struct post *)post_of_this)->loop, UV_RUN_DEFAULT);
    fail("libuv's loop has ended");
}

static void *post_open(const struct job *job)
{
    struct post *post = allocate(1, sizeof *post);
    mailbox_open(&post->mailbox, job);
    check(uv_loop_init(&post->loop), "uv_loop_init");
    check(uv_async_init(&post->loop, &post->wake, post_woken), "uv_async_init");
    post->wake.data = post;
    thread_start(post_run, post);
    return post;
}

static void post_one(void *state, unsigned producer)
{
    struct post *post = state;
    if (mailbox_post(&post->mailbox, producer)) check(uv_async_send(&post->wake), "uv_async_send");
}

const struct peer peer_libuv = {
    .name = "libuv",
    .version = uv_version_string,
    .takes_workers = true,
    .connects_so = true,
    .serve_accept = serve_accept,
    .serve_echo = serve_echo,
    .serve_broadcast = serve_broadcast,
    .connect = { client_open, client_burst },
    .timers = { timers_open, timers_arm, timers_run },
    .post = { post_open, post_one },
    .shares = shares,
};
