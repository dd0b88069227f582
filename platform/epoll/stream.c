#define _GNU_SOURCE
#include <assert.h>
#include <errno.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "platform/epoll/epoll.h"
#include "platform/error_map.h"
#include "platform/posix/socket.h"

#define STREAM_EVENTS (EPOLLIN | EPOLLRDHUP | EPOLLET)

void wr_epoll_recv(wr_cq *base, wr_sock sock, wr_op *op)
{
    wr_epoll *cq = wr_epoll_of(base);
    wr_socket *s = wr_epoll_get(cq, sock);
    assert(!s->in && (s->kind == WR_SOCKET_NEW || s->kind == WR_SOCKET_STREAM));
    wr_op_begin(op, WR_OP_RECV, sock.slot);
    s->kind = WR_SOCKET_STREAM;
    if (!s->registered) { /* reports what is there already */
        int error = wr_epoll_register(cq, s, STREAM_EVENTS);
        if (error) {
            wr_epoll_finish_system(cq, op, error);
            return;
        }
    }
    s->in = op;
    if (s->readable || s->ended) wr_epoll_queue(cq, s);
}

/* Reads once. A read that does not fill the buffer has emptied the socket: to ask again only to hear EAGAIN would cost
 * 7 to 9 % on echo. The end, once announced, is not announced again, so `ended` keeps the socket readable. */
unsigned wr_epoll_serve_recv(wr_epoll *cq, wr_socket *s, wr_completion *out)
{
    *out = (wr_completion){ .op = s->in };
    uint8_t *buffer = wr_pool_get(&cq->owner.buffers);
    if (!buffer) {
        out->error = WEIR_ENOMEM;
    } else {
        ssize_t size = recv(s->fd, buffer, cq->owner.buffers.block_size, 0);
        if (size > 0) {
            out->buffer = buffer;
            out->size = (uint32_t)size;
            s->readable = out->size == cq->owner.buffers.block_size;
        } else {
            int error = errno;
            wr_pool_put(&cq->owner.buffers, buffer);
            if (size < 0 && error == EINTR) return 0; /* still readable: the next pass tries again */
            if (size < 0 && error == EAGAIN) {
                s->readable = s->ended = false;
                return 0;
            }
            s->ended = true; /* a further recv reads again and hears the same */
            out->error = size == 0 ? WEIR_EEOF : wr_error_from_system(error);
            out->system_error = size == 0 ? 0 : error;
        }
    }
    s->in->pending = false;
    s->in = NULL;
    return 1;
}

static size_t gather(const wr_socket *s, struct iovec *parts, unsigned *count)
{
    size_t total = 0;
    uint32_t skip = s->slice_done;
    *count = 0;
    for (const wr_slice *slice = s->slice; slice && *count < WR_SEND_SLICES_MAX; slice = slice->next) {
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
    while (sent > 0) {
        size_t left = s->slice->size - s->slice_done;
        if (sent < left) {
            s->slice_done += (uint32_t)sent;
            return;
        }
        sent -= left;
        s->slice = s->slice->next;
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

/* One write, of `wanted` bytes; MSG_NOSIGNAL, since a signal of the process is not ours to raise. */
static ssize_t write_some(const wr_socket *s, size_t *wanted)
{
    if (s->slice->next) return write_gathered(s, wanted);
    *wanted = s->slice->size - s->slice_done;
    return send(s->fd, (const char *)s->slice->data + s->slice_done, *wanted, MSG_NOSIGNAL);
}

/* The operation is the caller's to finish. */
static wr_op *take_out(wr_socket *s)
{
    wr_op *op = s->out;
    s->out = NULL;
    s->slice = NULL;
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

/* True: the kernel has all of it, and the operation is to be finished. */
static bool write_out(wr_epoll *cq, wr_socket *s)
{
    for (int call = 0; call < WR_SEND_CALLS_MAX; call++) {
        size_t wanted;
        ssize_t sent = write_some(s, &wanted);
        if (sent < 0 && errno == EINTR) continue;
        if (sent < 0 && errno != EAGAIN) {
            wr_epoll_finish_system(cq, take_out(s), errno);
            return false;
        }
        if (sent > 0) advance(s, (size_t)sent);
        if (!s->slice) return true;
        if (sent < 0 || (size_t)sent < wanted) {
            await_writable(cq, s);
            return false;
        }
    }
    s->writable = true;
    wr_epoll_queue(cq, s); /* enough for one pass */
    return false;
}

void wr_epoll_serve_send(wr_epoll *cq, wr_socket *s)
{
    if (write_out(cq, s)) wr_epoll_finish(cq, take_out(s), 0, 0);
}

void wr_epoll_send(wr_cq *base, wr_sock sock, wr_op *op, const wr_slice *slices)
{
    wr_epoll *cq = wr_epoll_of(base);
    wr_socket *s = wr_epoll_get(cq, sock);
    assert(!s->out && slices && (s->kind == WR_SOCKET_NEW || s->kind == WR_SOCKET_STREAM));
    wr_op_begin(op, WR_OP_SEND, sock.slot);
    if (s->delays) { /* before the first send, not at the connect: one that says nothing saves the call */
        wr_socket_send_undelayed(s->fd);
        s->delays = false;
    }
    s->kind = WR_SOCKET_STREAM;
    s->out = op;
    s->slice = slices;
    s->slice_done = 0;
    if (write_out(cq, s)) wr_epoll_finish_submit(cq, take_out(s));
}

void wr_epoll_shutdown(wr_cq *base, wr_sock sock)
{
    wr_socket *s = wr_epoll_get(wr_epoll_of(base), sock);
    assert(!s->out);
    (void)shutdown(s->fd, SHUT_WR); /* fails only for a connection that is gone, which the next recv tells */
}
