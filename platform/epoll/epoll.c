#define _GNU_SOURCE
#include "platform/epoll/epoll.h"

#include <assert.h>
#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "platform/epoll/read.h"
#include "platform/error_map.h"
#include "platform/hints.h"
#include "platform/os.h"
#include "platform/posix/socket.h"

#define WAKE_KEY UINT64_MAX

void wr_epoll_finish(wr_epoll *cq, wr_op *op, int error, int system_error)
{
    op->settled = true;
    wr_done_add(&cq->owner.done, op, error, system_error);
}

void wr_epoll_finish_system(wr_epoll *cq, wr_op *op, int system_error)
{
    wr_epoll_finish(cq, op, wr_error_from_system(system_error), system_error);
}

WR_COLD void wr_epoll_queue(wr_epoll *cq, wr_socket *s)
{
    if (s->queued) return;
    s->queued = true;
    wr_ready_add(&cq->owner.ready, &cq->owner.sockets, sizeof *s, &s->record);
}

wr_socket *wr_epoll_add(wr_epoll *cq, int fd, enum wr_socket_kind kind)
{
    wr_socket *s = wr_table_take(&cq->owner.sockets, sizeof *s);
    if (!s) return NULL;
    s->fd = fd;
    s->kind = (uint8_t)kind;
    return s;
}

int wr_epoll_register(wr_epoll *cq, wr_socket *s, uint32_t events)
{
    struct epoll_event event = { .events = events, .data.u64 = (uint64_t)s->record.generation << 32 | s->record.slot };
    if (epoll_ctl(cq->owner.epoll_fd, s->registered ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, s->fd, &event) != 0) return errno;
    s->registered = true;
    s->wants_out = (events & EPOLLOUT) != 0;
    return 0;
}

void wr_epoll_drop(wr_epoll *cq, wr_socket *s, bool reset)
{
    if (s->in) wr_epoll_finish(cq, s->in, WEIR_ECANCELED, 0);
    if (s->out) wr_epoll_finish(cq, s->out, WEIR_ECANCELED, 0);
    s->in = s->out = NULL; /* they have their result: a cancel that comes before it is delivered finds nothing */
    if (s->registered && !s->was_reset) (void)epoll_ctl(cq->owner.epoll_fd, EPOLL_CTL_DEL, s->fd, NULL);
    wr_socket_close(s->fd, reset && !s->was_reset);
    wr_table_retire(&s->record);
    s->kind = WR_SOCKET_FREE;
    if (!s->queued) wr_table_recycle(&cq->owner.sockets, &s->record);
}

static void epoll_close(wr_cq *base, wr_sock sock, wr_op *op, bool reset)
{
    wr_epoll *cq = wr_epoll_of(base);
    wr_socket *s = wr_epoll_get(cq, sock);
    wr_op_begin(op, WR_OP_CLOSE, sock.slot);
    assert(!op->prompt || (!s->in && !s->out));
    wr_epoll_drop(cq, s, reset);
    wr_epoll_finish_submit(cq, op);
}

static int epoll_adopt(wr_cq *base, wr_detached socket, wr_sock *out)
{
    const wr_socket *s = wr_epoll_add(wr_epoll_of(base), (int)socket.os, WR_SOCKET_NEW);
    if (!s) return WEIR_ENOMEM;
    *out = (wr_sock){ .slot = s->record.slot, .generation = s->record.generation };
    return 0;
}

static void epoll_discard(wr_cq *base, wr_detached socket)
{
    (void)base;
    wr_socket_close((int)socket.os, false);
}

static void epoll_local(wr_cq *base, wr_sock sock, wr_addr *out)
{
    wr_socket_local(wr_epoll_get(wr_epoll_of(base), sock)->fd, out);
}

static void epoll_buf_return(wr_cq *base, uint8_t *buffer)
{
    wr_pool_put(&wr_epoll_of(base)->owner.buffers, buffer);
}

static void epoll_datagrams_return(wr_cq *base, const wr_datagram *datagrams)
{
    wr_pool_put(&wr_epoll_of(base)->owner.leases, (void *)(uintptr_t)datagrams); /* the lease begins with it */
}

static uint64_t epoll_now(wr_cq *base)
{
    (void)base;
    return wr_os_now_ns();
}

static void wake(wr_epoll *cq)
{
    uint64_t one = 1;
    /* The counter is never read down, and takes 2^64 - 2 writes before one could block; a signal's EINTR is for
     * blocking descriptors only. So a failure here is a broken process: a lost wake-up would hang it silently. */
    ssize_t written = write(cq->owner.wake_fd, &one, sizeof one);
    assert(written == sizeof one);
    (void)written;
}

static void epoll_post(wr_cq *base, wr_op *op)
{
    wr_epoll *cq = wr_epoll_of(base);
    wr_op_begin(op, WR_OP_POST, WR_NO_SLOT);
    if (wr_posts_push(&cq->posts, op)) wake(cq);
}

static unsigned take_done(wr_epoll *cq, wr_completion *out, unsigned capacity)
{
    unsigned count = 0;
    while (count < capacity) {
        wr_op *op = wr_done_take(&cq->owner.done);
        if (!op) break;
        out[count] = wr_done_completion(op);
        if (op->kind == WR_OP_CONNECT && op->error == 0) {
            out[count].connected.slot = op->slot;
            out[count].connected.generation = wr_epoll_slot(cq, op->slot)->record.generation;
        }
        count++;
    }
    return count;
}

static unsigned take_posts(wr_epoll *cq, wr_completion *out, unsigned capacity)
{
    unsigned count = 0;
    while (count < capacity) {
        wr_op *op = wr_posts_take(&cq->posts);
        if (!op) break;
        op->pending = false;
        out[count++] = (wr_completion){ .op = op };
    }
    return count;
}

/* What a stream has to deliver, to *out, which is moved on. False: it must be looked at again. */
static inline bool serve_stream(wr_epoll *cq, wr_socket *s, wr_completion **out)
{
    if (s->out && (s->writable || s->ended)) wr_epoll_serve_send(cq, s);
    /* Bytes before the end: the read tells of the end only when there is nothing before it. */
    if (!s->in || !(s->readable | s->ended)) return true;
    if (wr_epoll_serve_recv(cq, s, *out)) ++*out;
    return !(s->readable | s->ended) || !s->in;
}

/* The same of any socket, up to `end`, which is not reached yet. */
static inline bool serve(wr_epoll *cq, wr_socket *s, wr_completion **out, const wr_completion *end)
{
    if (s->kind == WR_SOCKET_STREAM) return serve_stream(cq, s, out);
    switch (s->kind) {
    case WR_SOCKET_FREE: /* closed while it stood in the list */
        wr_table_recycle(&cq->owner.sockets, &s->record);
        return true;
    case WR_SOCKET_LISTENER: /* level-triggered: what is left is reported again */
        *out += wr_epoll_serve_accept(cq, s, *out, (unsigned)(end - *out));
        return true;
    case WR_SOCKET_CONNECTING:
        wr_epoll_serve_connect(cq, s);
        return true;
    case WR_SOCKET_DATAGRAM:
        if (s->out && (s->writable || s->ended)) wr_epoll_serve_send_to(cq, s);
        if (!s->in || !(s->readable || s->ended)) return true;
        *out += wr_epoll_serve_recv_from(cq, s, *out);
        return !s->in || !(s->readable || s->ended);
    default: /* adopted, and nothing asked of it yet */
        return true;
    }
}

/* Looks once at each socket that stands in the list at the start; those that queue up meanwhile wait for the next pass,
 * so that a busy one cannot hold up the others. */
static wr_completion *serve_ready(wr_epoll *cq, wr_completion *out, const wr_completion *end)
{
    uint32_t last = cq->owner.ready.last;
    while (out < end && !wr_ready_empty(&cq->owner.ready)) {
        wr_socket *s = wr_ready_take(&cq->owner.ready, &cq->owner.sockets, sizeof *s);
        uint32_t slot = s->record.slot;
        s->queued = false;
        if (!serve(cq, s, &out, end)) wr_epoll_queue(cq, s);
        if (slot == last) break;
    }
    return out;
}

/* The socket of an event, with what it says noted; NULL: it concerns none, or one that has gone. */
static wr_socket *note_event(wr_epoll *cq, const struct epoll_event *event)
{
    if (event->data.u64 == WAKE_KEY) return NULL;
    wr_socket *s = wr_epoll_slot(cq, (uint32_t)event->data.u64);
    if (s->record.generation != (uint32_t)(event->data.u64 >> 32)) {
        cq->owner.stale_events++;
        return NULL;
    }
    if (event->events & EPOLLIN) s->readable = true;
    if (event->events & EPOLLOUT) s->writable = true;
    if (event->events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) s->ended = true;
    return s;
}

/* Those that wait already come first: then the events wait behind them. Where none do, events are served as they are
 * taken, while there is room. */
static unsigned serve_events(wr_epoll *cq, const struct epoll_event *events, int event_count, wr_completion *out,
                             unsigned capacity)
{
    bool none_waits = wr_ready_empty(&cq->owner.ready);
    wr_completion *next = out, *end = out + capacity, *room = none_waits ? end : out;
    for (const struct epoll_event *event = events; event < events + event_count; event++) {
        wr_socket *s = note_event(cq, event);
        if (s && (next == room || !serve(cq, s, &next, end))) wr_epoll_queue(cq, s);
    }
    if (!none_waits) next = serve_ready(cq, out, end);
    return (unsigned)(next - out);
}

/* epoll_pwait2 takes nanoseconds; kernels before 5.11, and valgrind, have only milliseconds, rounded up. */
static int wait_until(wr_epoll *cq, struct epoll_event *events, uint64_t deadline_ns)
{
    int fd = cq->owner.epoll_fd;
    if (deadline_ns == WR_DEADLINE_NOW) return wr_call_epoll_wait(fd, events, WR_EPOLL_EVENTS, 0);
    if (deadline_ns == WR_DEADLINE_NEVER) return wr_call_epoll_wait(fd, events, WR_EPOLL_EVENTS, -1);
    uint64_t now = wr_os_now_ns();
    uint64_t left = deadline_ns > now ? deadline_ns - now : 0;
#ifdef SYS_epoll_pwait2
    struct timespec timeout = { .tv_sec = (time_t)(left / 1000000000), .tv_nsec = (long)(left % 1000000000) };
    long got = syscall(SYS_epoll_pwait2, fd, events, WR_EPOLL_EVENTS, &timeout, NULL, 0);
    if (got >= 0 || errno != ENOSYS) return (int)got;
#endif
    uint64_t ms = left / 1000000 + (left % 1000000 != 0);
    return wr_call_epoll_wait(fd, events, WR_EPOLL_EVENTS, ms > INT32_MAX ? INT32_MAX : (int)ms);
}

/* Never inlined, so that a profile shows the time asleep under a name of its own. */
__attribute__((noinline)) static int wr_epoll_poll_kernel(wr_epoll *cq, struct epoll_event *events,
                                                          uint64_t deadline_ns)
{
    int count = wait_until(cq, events, deadline_ns);
    assert(count >= 0 || errno == EINTR);
    return count;
}

/* Where there is more to deliver than room, nobody may always come last: posts and sockets take turns, and the results
 * of submits had the last wait for themselves. */
static unsigned collect(wr_epoll *cq, const struct epoll_event *events, int event_count, wr_completion *out,
                        unsigned capacity)
{
    unsigned count = 0;
    bool posts_first = cq->owner.posts_first = !cq->owner.posts_first;
    if (posts_first && !wr_posts_empty(&cq->posts)) count += take_posts(cq, out, capacity);
    count += serve_events(cq, events, event_count, out + count, capacity - count);
    if (!posts_first && !wr_posts_empty(&cq->posts)) count += take_posts(cq, out + count, capacity - count);
    return cq->owner.done.first ? count + take_done(cq, out + count, capacity - count) : count;
}

static unsigned epoll_wait_completions(wr_cq *base, wr_completion *out, unsigned capacity, uint64_t deadline_ns)
{
    wr_epoll *cq = wr_epoll_of(base);
    assert(capacity > 0);
    if (cq->owner.done.first && !cq->owner.poll_owed) {
        cq->owner.poll_owed = true; /* a poll after each send would be one system call in four: see cq.h, 7 */
        return take_done(cq, out, capacity);
    }
    cq->owner.poll_owed = false;
    bool at_hand = cq->owner.done.first || !wr_ready_empty(&cq->owner.ready) || !wr_posts_empty(&cq->posts);
    struct epoll_event events[WR_EPOLL_EVENTS];
    int event_count = wr_epoll_poll_kernel(cq, events, at_hand ? WR_DEADLINE_NOW : deadline_ns);
    return collect(cq, events, event_count, out, capacity);
}

static void epoll_destroy(wr_cq *base)
{
    wr_epoll *cq = wr_epoll_of(base);
    wr_memory *memory = cq->owner.memory;
    for (uint32_t slot = 0; slot < wr_table_slots(&cq->owner.sockets); slot++) {
        wr_socket *s = wr_epoll_slot(cq, slot);
        if (s->kind != WR_SOCKET_FREE) wr_epoll_drop(cq, s, false);
    }
    wr_table_destroy(&cq->owner.sockets);
    wr_pool_destroy(&cq->owner.buffers);
    wr_pool_destroy(&cq->owner.leases);
    if (cq->owner.wake_fd >= 0) close(cq->owner.wake_fd);
    if (cq->owner.epoll_fd >= 0) close(cq->owner.epoll_fd);
    wr_free(memory, cq, sizeof *cq);
}

static int epoll_open(wr_epoll *cq)
{
    cq->owner.epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    cq->owner.wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (cq->owner.epoll_fd < 0 || cq->owner.wake_fd < 0) return wr_error_from_system(errno);
    struct epoll_event event = { .events = EPOLLIN | EPOLLET, .data.u64 = WAKE_KEY };
    if (epoll_ctl(cq->owner.epoll_fd, EPOLL_CTL_ADD, cq->owner.wake_fd, &event) != 0)
        return wr_error_from_system(errno);
    return 0;
}

static int epoll_create_queue(wr_cq **out, const wr_cq_options *options)
{
    wr_epoll *cq = wr_alloc(options->memory, sizeof *cq);
    if (!cq) return WEIR_ENOMEM;
    memset(cq, 0, sizeof *cq);
    cq->base.ops = &wr_cq_epoll;
    cq->owner.memory = options->memory;
    wr_ready_init(&cq->owner.ready);
    wr_table_init(&cq->owner.sockets, options->memory, sizeof(wr_socket));
    wr_pool_init(&cq->owner.buffers, options->memory, options->buffer_size ? options->buffer_size : WR_BUFFER_SIZE,
                 WR_BUFFERS_KEPT);
    wr_pool_init(&cq->owner.leases, options->memory, sizeof(wr_lease), WR_LEASES_KEPT);
    int error = epoll_open(cq);
    if (error) {
        epoll_destroy(&cq->base);
        return error;
    }
    *out = &cq->base;
    return 0;
}

const struct wr_cq_ops wr_cq_epoll = {
    .name = "epoll",
    .caps = WR_CAP_SHARED_PORT | WR_CAP_UNIX,
    .create = epoll_create_queue,
    .destroy = epoll_destroy,
    .now = epoll_now,
    .wait = epoll_wait_completions,
    .post = epoll_post,
    .listen = wr_epoll_listen,
    .adopt = epoll_adopt,
    .discard = epoll_discard,
    .accept = wr_epoll_accept,
    .connect = wr_epoll_connect,
    .cancel = wr_epoll_cancel,
    .recv = wr_epoll_recv,
    .recv_stop = wr_epoll_recv_stop,
    .buf_return = epoll_buf_return,
    .send = wr_epoll_send,
    .shutdown = wr_epoll_shutdown,
    .close = epoll_close,
    .local = epoll_local,
    .udp_open = wr_epoll_udp_open,
    .recv_from = wr_epoll_recv_from,
    .datagrams_return = epoll_datagrams_return,
    .send_to = wr_epoll_send_to,
};
