/* libevent, by raw events, its fastest way: edge-triggered events inside the connections' own structs, recv and send by
 * hand. What its documentation offers for speed is used: a base without locks, as each is one thread's, and no clock
 * read for timers that are not there. What it leaves to its user is done as the floor does it, so that what differs is
 * libevent: when to accept, that a short read emptied the socket, and EV_WRITE only after a send that fell short. */
#define _GNU_SOURCE
#include <errno.h>
#include <event2/event.h>
#include <event2/event_struct.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "linux/socket.h"
#include "peer.h"
#include "peers/mailbox.h"
#include "thread.h"

enum {
    ACCEPT_ROW = 16, /* wake-ups in a row that found a connection, before a batch is tried */
    ACCEPT_BATCH = 16,
    READS_MAX = 4, /* full buffers of one connection before the others have their turn */
    BUFFER = 64 * 1024,
};

/* EV_CLOSED is EPOLLRDHUP: with it a short read may be the last one, and the end of the stream is told still. */
static const short readable = EV_READ | EV_CLOSED | EV_ET | EV_PERSIST;

static void *allocate(size_t count, size_t size)
{
    void *block = calloc(count > 0 ? count : 1, size);
    if (!block) fail("out of memory");
    return block;
}

static struct event_base *create_base(int flags)
{
    struct event_config *config = event_config_new();
    if (!config) fail("out of memory");
    event_config_set_flag(config, EVENT_BASE_FLAG_NOLOCK | flags);
    struct event_base *base = event_base_new_with_config(config);
    if (!base) fail("libevent: no event base");
    event_config_free(config);
    return base;
}

static void add(struct event *event, const struct timeval *timeout)
{
    if (event_add(event, timeout) != 0) fail_system("event_add");
}

/* ---- servers ---- */

struct conn {
    struct event event;
    struct worker *worker;
    struct conn *next; /* in the pool */
    uint8_t *owed;     /* what a short send left over; NULL nearly always */
    size_t owed_size, owed_sent;
    unsigned place; /* in the room */
};

/* A base of its own, on a thread of its own. */
struct worker {
    struct event_base *base;
    struct event listener;
    void (*accepted)(struct worker *worker, int fd);
    unsigned row;
    struct conn *pool;
    atomic_uint_fast64_t open; /* written by the worker alone */
    uint8_t buffer[BUFFER];
};

static struct worker *workers;
static unsigned worker_count;

/* The members of the one room, in `broadcast`. */
static struct room {
    struct conn **members;
    unsigned count, packet_size;
    uint8_t *packet;
    uint64_t packets;
} room;

static void count_open(struct worker *worker, uint64_t change)
{
    uint64_t open = atomic_load_explicit(&worker->open, memory_order_relaxed);
    atomic_store_explicit(&worker->open, open + change, memory_order_relaxed);
}

static void accept_some(evutil_socket_t listener, short what, void *worker_of_this)
{
    (void)what;
    struct worker *worker = worker_of_this;
    unsigned batch = worker->row < ACCEPT_ROW ? 1 : ACCEPT_BATCH;
    unsigned found = 0;
    for (unsigned i = 0; i < batch; i++) {
        int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd >= 0) {
            found++;
            worker->accepted(worker, fd);
        } else if (errno == EAGAIN) {
            if (found <= 1) worker->row = 0;
            return;
        } else if (errno != ECONNABORTED && errno != EINTR) {
            fail_system("accept");
        }
    }
    worker->row++;
}

static struct conn *open_conn(struct worker *worker, int fd, event_callback_fn told)
{
    struct conn *conn = worker->pool;
    if (conn) {
        worker->pool = conn->next;
    } else {
        conn = allocate(1, sizeof *conn);
        conn->worker = worker;
    }
    count_open(worker, 1);
    event_assign(&conn->event, worker->base, fd, readable, told, conn);
    add(&conn->event, NULL);
    return conn;
}

static void leave_room(const struct conn *conn)
{
    room.members[conn->place] = room.members[--room.count];
    room.members[conn->place]->place = conn->place;
}

static void close_conn(struct conn *conn)
{
    struct worker *worker = conn->worker;
    if (room.members) leave_room(conn);
    event_del(&conn->event);
    close(event_get_fd(&conn->event));
    free(conn->owed);
    conn->owed = NULL;
    conn->owed_size = conn->owed_sent = 0;
    count_open(worker, (uint64_t)-1);
    conn->next = worker->pool;
    worker->pool = conn;
}

/* Changing the events also tells again what is readable by now: an edge may have passed. */
static void watch(struct conn *conn, short what)
{
    evutil_socket_t fd = event_get_fd(&conn->event);
    event_callback_fn told = event_get_callback(&conn->event);
    event_del(&conn->event);
    event_assign(&conn->event, conn->worker->base, fd, what, told, conn);
    add(&conn->event, NULL);
}

/* How many bytes came. None, if it has been closed or nothing was there after all. */
static size_t receive(struct conn *conn)
{
    ssize_t got;
    do {
        got = recv(event_get_fd(&conn->event), conn->worker->buffer, BUFFER, 0);
    } while (got < 0 && errno == EINTR);
    if (got == 0 || (got < 0 && errno != EAGAIN)) close_conn(conn);
    return got > 0 ? (size_t)got : 0;
}

/* How many bytes the system took; -1 if the connection has failed. */
static ssize_t send_some(const struct conn *conn, const uint8_t *bytes, size_t size)
{
    ssize_t took;
    do {
        took = send(event_get_fd(&conn->event), bytes, size, MSG_NOSIGNAL);
    } while (took < 0 && errno == EINTR);
    return took < 0 && errno == EAGAIN ? 0 : took;
}

/* The peer does not read as fast as it is sent to: keep the rest, behind what is kept already. */
static void keep(struct conn *conn, const uint8_t *rest, size_t size)
{
    uint8_t *owed = realloc(conn->owed, conn->owed_size + size);
    if (!owed) fail("out of memory");
    memcpy(owed + conn->owed_size, rest, size);
    if (!conn->owed) watch(conn, readable | EV_WRITE);
    conn->owed = owed;
    conn->owed_size += size;
}

/* True if all was sent. Else it is owed, or the connection has failed and is closed. */
static bool send_or_keep(struct conn *conn, const uint8_t *bytes, size_t size)
{
    ssize_t took = conn->owed ? 0 : send_some(conn, bytes, size);
    if (took == (ssize_t)size) return true;
    if (took < 0) {
        close_conn(conn);
    } else {
        keep(conn, bytes + took, size - (size_t)took);
    }
    return false;
}

/* Sends what is owed. */
static void flush(struct conn *conn)
{
    while (conn->owed_sent < conn->owed_size) {
        ssize_t took = send_some(conn, conn->owed + conn->owed_sent, conn->owed_size - conn->owed_sent);
        if (took < 0) close_conn(conn);
        if (took <= 0) return;
        conn->owed_sent += (size_t)took;
    }
    free(conn->owed);
    conn->owed = NULL;
    conn->owed_size = conn->owed_sent = 0;
    watch(conn, readable);
}

static void run_worker(void *worker_of_this)
{
    struct worker *worker = worker_of_this;
    event_base_dispatch(worker->base);
    fail("libevent's loop has ended");
}

static void serve(const struct job *job, void (*accepted)(struct worker *worker, int fd))
{
    worker_count = job->workers;
    workers = allocate(worker_count, sizeof workers[0]);
    uint16_t port = 0;
    for (unsigned i = 0; i < worker_count; i++) {
        struct worker *worker = &workers[i];
        int listener = worker_count > 1 ? socket_listen_shared(port) : socket_listen();
        port = socket_port(listener);
        worker->accepted = accepted;
        worker->base = create_base(EVENT_BASE_FLAG_NO_CACHE_TIME);
        event_assign(&worker->listener, worker->base, listener, EV_READ | EV_PERSIST, accept_some, worker);
        add(&worker->listener, NULL);
    }
    for (unsigned i = 1; i < worker_count; i++) thread_start(run_worker, &workers[i]);
    serve_ready(port);
    run_worker(&workers[0]);
}

static void close_at_once(struct worker *worker, int fd)
{
    (void)worker;
    close(fd);
}

static void serve_accept(const struct job *job)
{
    serve(job, close_at_once);
}

static void echo(evutil_socket_t fd, short what, void *conn_of_this)
{
    (void)fd;
    struct conn *conn = conn_of_this;
    if (conn->owed) {
        flush(conn); /* and reads no more until it is gone */
        return;
    }
    /* With the end in the same edge a short read is not the last word: it will not be told again. */
    for (unsigned i = 0; i < READS_MAX; i++) {
        size_t got = receive(conn);
        if (got == 0 || !send_or_keep(conn, conn->worker->buffer, got)) return;
        if (got < BUFFER && !(what & EV_CLOSED)) return;
    }
    watch(conn, readable); /* tells again that there is more */
}

static void echo_accepted(struct worker *worker, int fd)
{
    open_conn(worker, fd, echo);
}

static void serve_echo(const struct job *job)
{
    serve(job, echo_accepted);
}

/* From the last one on: the one that a failed send takes out of the array is replaced by one that has the packet. */
static void commanded(evutil_socket_t fd, short what, void *conn_of_this)
{
    (void)fd;
    struct conn *conn = conn_of_this;
    if (conn->owed) {
        flush(conn);
        return;
    }
    size_t commands = receive(conn);
    for (size_t i = 0; i < commands; i++) {
        broadcast_fill(room.packet, room.packet_size, ++room.packets);
        for (unsigned j = room.count; j-- > 0;) send_or_keep(room.members[j], room.packet, room.packet_size);
    }
    /* The end in the same edge is told again, if the connection is still there. */
    if (what & EV_CLOSED && event_pending(&conn->event, EV_READ, NULL)) watch(conn, readable);
}

static void room_accepted(struct worker *worker, int fd)
{
    static const uint8_t joined = BROADCAST_JOINED;
    struct conn *conn = open_conn(worker, fd, commanded);
    conn->place = room.count;
    room.members[room.count++] = conn;
    send_or_keep(conn, &joined, 1);
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
    struct event event;
    struct lane *lane;
    uint64_t since_ns;
};

/* A base and its share of the window. */
struct lane {
    struct client *client;
    struct event_base *base;
    struct event silence;
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

static void attempt_told(evutil_socket_t fd, short what, void *attempt_of_this);

/* Waits for writability, as any client of a network must. */
static void attempt_start(struct attempt *attempt)
{
    struct lane *lane = attempt->lane;
    uint64_t now_ns = clock_ns();
    if (!tally_may_start(&lane->tally, &lane->limit, now_ns)) return;
    attempt->since_ns = now_ns;
    int fd = socket_connect(&lane->client->server);
    event_assign(&attempt->event, lane->base, fd, EV_WRITE, attempt_told, attempt);
    add(&attempt->event, NULL);
}

static void attempt_told(evutil_socket_t fd, short what, void *attempt_of_this)
{
    (void)what;
    struct attempt *attempt = attempt_of_this;
    struct lane *lane = attempt->lane;
    int error = socket_error(fd);
    if (error != 0) fail_code(error, "connect");
    tally_finish(&lane->tally, clock_ns() - attempt->since_ns);
    socket_reset(fd);
    attempt_start(attempt);
    if (tally_in_flight(&lane->tally) == 0) event_base_loopbreak(lane->base);
}

static void look_for_silence(evutil_socket_t fd, short what, void *lane_of_this)
{
    (void)fd, (void)what;
    struct lane *lane = lane_of_this;
    if (lane->tally.finished == lane->finished_before) fail("no connect ended for %d s", SILENCE_MS / 1000);
    lane->finished_before = lane->tally.finished;
}

static void lane_open(struct lane *lane, struct client *client, unsigned window)
{
    lane->client = client;
    lane->window = window;
    lane->attempts = allocate(window, sizeof lane->attempts[0]);
    for (unsigned i = 0; i < window; i++) lane->attempts[i].lane = lane;
    lane->base = create_base(0);
    event_assign(&lane->silence, lane->base, -1, EV_PERSIST, look_for_silence, lane);
}

static void *client_open(const struct job *job)
{
    struct client *client = allocate(1, sizeof *client + job->workers * sizeof client->lanes[0]);
    struct address server = address_of(job->address);
    client->server = socket_address(&server);
    client->lane_count = job->workers;
    client->lane_done = semaphore_create();
    for (unsigned i = 0; i < job->workers; i++) {
        lane_open(&client->lanes[i], client, job->window / job->workers + (i < job->window % job->workers));
    }
    return client;
}

static void lane_run(void *lane_of_this)
{
    struct lane *lane = lane_of_this;
    lane->finished_before = UINT64_MAX;
    add(&lane->silence, &(struct timeval){ .tv_sec = SILENCE_MS / 1000 });
    for (unsigned i = 0; i < lane->window; i++) attempt_start(&lane->attempts[i]);
    if (tally_in_flight(&lane->tally) > 0) event_base_dispatch(lane->base);
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
    struct event_base *base;
    struct event armer;
    const uint32_t *delays_ms;
    unsigned count;
    uint64_t fired;
    struct event each[];
};

static void timer_fired(evutil_socket_t fd, short what, void *timers_of_this)
{
    (void)fd, (void)what;
    ((struct timers *)timers_of_this)->fired++;
}

/* From inside the loop, as programs do, where the time is the loop's and not asked for each timer. */
static void arm_all(evutil_socket_t fd, short what, void *timers_of_this)
{
    (void)fd, (void)what;
    struct timers *timers = timers_of_this;
    for (unsigned i = 0; i < timers->count; i++) {
        uint32_t delay_ms = timers->delays_ms[i];
        struct timeval delay = { .tv_sec = delay_ms / 1000, .tv_usec = (suseconds_t)(delay_ms % 1000) * 1000 };
        add(&timers->each[i], &delay);
    }
}

static void *timers_open(const struct job *job)
{
    struct timers *timers = allocate(1, sizeof *timers + job->timers * sizeof timers->each[0]);
    /* Never early: its usual clock is behind by a tick when a timer is armed, and by more when the tick is late. */
    timers->base = create_base(EVENT_BASE_FLAG_PRECISE_TIMER);
    timers->count = job->timers;
    event_assign(&timers->armer, timers->base, -1, 0, arm_all, timers);
    for (unsigned i = 0; i < timers->count; i++) {
        event_assign(&timers->each[i], timers->base, -1, 0, timer_fired, timers);
    }
    return timers;
}

static void timers_arm(void *state, const uint32_t *delays_ms)
{
    struct timers *timers = state;
    timers->delays_ms = delays_ms;
    timers->fired = 0;
    event_active(&timers->armer, EV_TIMEOUT, 0);
    event_base_loop(timers->base, EVLOOP_ONCE | EVLOOP_NONBLOCK);
}

/* The loop ends when no timer is armed. */
static uint64_t timers_run(void *state)
{
    struct timers *timers = state;
    event_base_dispatch(timers->base);
    return timers->fired;
}

/* ---- messages between threads ---- */

struct post {
    struct mailbox mailbox;
    struct event_base *base;
    struct event wake;
    int fd;
};

static void post_woken(evutil_socket_t fd, short what, void *post_of_this)
{
    (void)fd, (void)what;
    mailbox_receive(&((struct post *)post_of_this)->mailbox);
}

static void post_run(void *post_of_this)
{
    event_base_dispatch(((struct post *)post_of_this)->base);
    fail("libevent's loop has ended");
}

/* An eventfd of its own, and not event_active, for which the base would need locks. Edge-triggered it need not be read:
 * each write is an edge. */
static void *post_open(const struct job *job)
{
    struct post *post = allocate(1, sizeof *post);
    mailbox_open(&post->mailbox, job);
    post->base = create_base(EVENT_BASE_FLAG_NO_CACHE_TIME);
    post->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (post->fd < 0) fail_system("eventfd");
    event_assign(&post->wake, post->base, post->fd, EV_READ | EV_ET | EV_PERSIST, post_woken, post);
    add(&post->wake, NULL);
    thread_start(post_run, post);
    return post;
}

static void post_one(void *state, unsigned producer)
{
    struct post *post = state;
    uint64_t one = 1;
    if (!mailbox_post(&post->mailbox, producer)) return;
    if (write(post->fd, &one, sizeof one) != (ssize_t)sizeof one) fail_system("eventfd");
}

const struct peer peer_libevent = {
    .name = "libevent",
    .version = event_get_version,
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
