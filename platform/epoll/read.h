/* The read of a stream, which every message takes, so that it is inlined in the wait. Its rare ends are in stream.c. */
#ifndef WR_EPOLL_READ_H
#define WR_EPOLL_READ_H

#include "platform/epoll/epoll.h"
#include "platform/posix/calls.h"

/* wr_epoll_serve_recv: reads once; true: there is a completion. A read that does not fill the buffer has emptied the
 * socket: to ask again only to hear EAGAIN would cost 7 to 9 % on echo. The end, once announced, is not announced
 * again, so `ended` keeps the socket readable. */
static inline bool wr_epoll_serve_recv(wr_epoll *cq, wr_socket *s, wr_completion *out)
{
    uint8_t *buffer = wr_pool_get(&cq->owner.buffers);
    if (!buffer) return wr_epoll_recv_unleased(s, out);
    ssize_t size = wr_call_recv(s->fd, buffer, cq->owner.buffers.block_size);
    if (size <= 0) return wr_epoll_recv_nothing(cq, s, out, size == 0, buffer);
    if (size < cq->owner.buffers.block_size) s->readable = false;
    wr_op *op = s->in;
    if (!op->multishot) {
        op->pending = false;
        s->in = NULL;
    }
    out->op = op;
    out->error = out->system_error = 0;
    out->flags = op->multishot ? WR_MORE : 0;
    out->size = (uint32_t)size;
    out->buffer = buffer;
    return true;
}

#endif
