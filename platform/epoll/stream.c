#define _GNU_SOURCE
#include <assert.h>
#include <errno.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "platform/epoll/epoll.h"
#include "platform/error_map.h"
#include "platform/hints.h"
#include "platform/posix/calls.h"
#include "platform/posix/socket.h"

#define STREAM_EVENTS (EPOLLIN | EPOLLRDHUP | EPOLLET)

static inline void await_readable(wr_epoll *cq, wr_socket *s, wr_op *op)
{
    s->in = op;
    if (s->readable | s->ended) wr_epoll_queue(cq, s);
}

/* The first recv of a socket. The registration reports what is there already. */
WR_COLD static void begin_recv(wr_epoll *cq, wr_socket *s, wr_op *op)
{
    int error = wr_epoll_register(cq, s, STREAM_EVENTS);
    if (error)
        wr_epoll_finish_system(cq, op, error);
    else
        await_readable(cq, s, op);
}

void wr_epoll_recv(wr_cq *base, wr_sock sock, wr_op *op)
{
    wr_epoll *cq = wr_epoll_of(base);
    wr_socket *s = wr_epoll_get(cq, sock);
    assert(!s->in && (s->kind == WR_SOCKET_NEW || s->kind == WR_SOCKET_STREAM));
    wr_op_begin(op, WR_OP_RECV, sock.slot);
    s->kind = WR_SOCKET_STREAM;
    if (s->registered)
        await_readable(cq, s, op);
    else
        begin_recv(cq, s, op);
}

void wr_epoll_recv_stop(wr_cq *base, wr_sock sock)
{
    wr_socket *s = wr_epoll_get(wr_epoll_of(base), sock);
    assert(s->in && s->kind == WR_SOCKET_STREAM);
    s->in->pending = false;
    s->in = NULL;
}

/* The recv ends with an error: that of a read, or its end, or no memory. */
static bool end_recv(wr_socket *s, wr_completion *out, int error, int system_error)
{
    *out = (wr_completion){ .op = s->in, .error = error, .system_error = system_error };
    s->in->pending = false;
    s->in = NULL;
    return true;
}

WR_COLD bool wr_epoll_recv_unleased(wr_socket *s, wr_completion *out)
{
    return end_recv(s, out, WEIR_ENOMEM, 0);
}

/* Still readable after a signal: the next pass tries again. */
WR_COLD bool wr_epoll_recv_nothing(wr_epoll *cq, wr_socket *s, wr_completion *out, bool ended, uint8_t *buffer)
{
    int error = errno;
    wr_pool_put(&cq->owner.buffers, buffer);
    if (!ended && error == EINTR) return false;
    if (!ended && error == EAGAIN) {
        s->readable = s->ended = false;
        return false;
    }
    if (!ended && error == ECONNRESET) s->was_reset = true;
    s->ended = true; /* a further recv reads again and hears the same */
    return ended ? end_recv(s, out, WEIR_EEOF, 0) : end_recv(s, out, wr_error_from_system(error), error);
}

static size_t gather(const wr_socket *s, struct iovec *parts, unsigned *count)
{
    size_t total = 0;
    uint32_t skip = s->slice_done;
    *count = 0;
    for (const wr_slice *slice = s->out->slices; slice && *count < WR_SEND_SLICES_MAX; slice = slice->next) {
        /* iovec serves reads too, so its pointer is not const; a send does not write. */
        parts[*count].iov_base = (void *)(uintptr_t)((const char *)slice->data + skip);
        parts[*count].iov_len = slice->size - skip;
        total += parts[*count].iov_len;
        ++*count;
        skip = 0;
    }
    return total;
}

static void advance(wr_socket *s, size_t sent)
{
    wr_op *op = s->out;
    while (sent > 0) {
        assert(op->slices); /* the kernel takes no more than there is */
        size_t left = op->slices->size - s->slice_done;
        if (sent < left) {
            s->slice_done += (uint32_t)sent;
            return;
        }
        sent -= left;
        op->slices = op->slices->next;
        s->slice_done = 0;
    }
}

static ssize_t write_gathered(const wr_socket *s, size_t *wanted)
{
    struct iovec parts[WR_SEND_SLICES_MAX];
    unsigned count;
    *wanted = gather(s, parts, &count);
    struct msghdr message = { .msg_iov = parts, .msg_iovlen = count };
    return sendmsg(s->fd, &message, MSG_NOSIGNAL);
}

/* One write, of `wanted` bytes. */
static ssize_t write_some(const wr_socket *s, size_t *wanted)
{
    const wr_slice *first = s->out->slices;
    if (first->next) return write_gathered(s, wanted);
    *wanted = first->size - s->slice_done;
    return wr_call_send(s->fd, (const char *)first->data + s->slice_done, *wanted);
}

/* The operation is the caller's to finish. */
static wr_op *take_out(wr_socket *s)
{
    wr_op *op = s->out;
    s->out = NULL;
    return op;
}

/* The socket is full. EPOLLOUT is registered only now: most connections never need it. A new registration reports
 * what has become possible in the meantime. */
static void await_writable(wr_epoll *cq, wr_socket *s)
{
    s->writable = false;
    if (s->wants_out) return;
    int error = wr_epoll_register(cq, s, STREAM_EVENTS | EPOLLOUT);
    if (error) wr_epoll_finish_system(cq, take_out(s), error);
}

/* What one write came to. */
enum written { WRITTEN_ALL, WRITTEN_SOME, WRITTEN_WAITS };

static enum written note_written(wr_epoll *cq, wr_socket *s, ssize_t sent, size_t wanted)
{
    if (sent < 0 && errno == EINTR) return WRITTEN_SOME;
    if (sent < 0 && errno != EAGAIN) {
        wr_epoll_finish_system(cq, take_out(s), errno);
        return WRITTEN_WAITS;
    }
    if (sent > 0) advance(s, (size_t)sent);
    if (!s->out->slices) return WRITTEN_ALL;
    if (sent > 0 && (size_t)sent == wanted) return WRITTEN_SOME;
    await_writable(cq, s);
    return WRITTEN_WAITS;
}

/* Goes on after the first `calls` writes. True: the kernel has all of it, and the operation is to be finished. */
static bool write_out(wr_epoll *cq, wr_socket *s, int calls)
{
    for (; calls < WR_SEND_CALLS_MAX; calls++) {
        size_t wanted;
        ssize_t sent = write_some(s, &wanted);
        enum written written = note_written(cq, s, sent, wanted);
        if (written != WRITTEN_SOME) return written == WRITTEN_ALL;
    }
    s->writable = true;
    wr_epoll_queue(cq, s); /* enough for one pass */
    return false;
}

void wr_epoll_serve_send(wr_epoll *cq, wr_socket *s)
{
    if (write_out(cq, s, 0)) wr_epoll_finish(cq, take_out(s), 0, 0);
}

/* What one write of a single slice, if it was made, has left to do. */
WR_COLD static void send_rest(wr_epoll *cq, wr_socket *s, wr_op *op, const wr_slice *slices, ssize_t sent)
{
    int error = errno;
    wr_op_begin(op, WR_OP_SEND, s->record.slot);
    op->slices = slices;
    s->out = op;
    s->slice_done = 0;
    errno = error;
    enum written written = slices->next ? WRITTEN_SOME : note_written(cq, s, sent, slices->size);
    if (written == WRITTEN_SOME && !write_out(cq, s, slices->next ? 0 : 1)) return;
    if (written != WRITTEN_WAITS) wr_epoll_finish_submit(cq, take_out(s));
}

void wr_epoll_send(wr_cq *base, wr_sock sock, wr_op *op, const wr_slice *slices)
{
    wr_epoll *cq = wr_epoll_of(base);
    wr_socket *s = wr_epoll_get(cq, sock);
    assert(!s->out && slices && (s->kind == WR_SOCKET_NEW || s->kind == WR_SOCKET_STREAM));
    if (s->delays) { /* before the first send, not at the connect: one that says nothing saves the call */
        wr_socket_send_undelayed(s->fd);
        s->delays = false;
    }
    s->kind = WR_SOCKET_STREAM;
    op->kind = WR_OP_SEND;
    ssize_t sent = slices->next ? -1 : wr_call_send(s->fd, slices->data, slices->size);
    if (sent != (ssize_t)slices->size || !op->prompt) send_rest(cq, s, op, slices, sent);
}

void wr_epoll_shutdown(wr_cq *base, wr_sock sock)
{
    wr_socket *s = wr_epoll_get(wr_epoll_of(base), sock);
    assert(!s->out);
    (void)shutdown(s->fd, SHUT_WR); /* fails only for a connection that is gone, which the next recv tells */
}
