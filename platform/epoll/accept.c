#define _GNU_SOURCE
#include <assert.h>
#include <errno.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "platform/epoll/epoll.h"
#include "platform/error_map.h"
#include "platform/posix/calls.h"
#include "platform/posix/socket.h"

int wr_epoll_listen(wr_cq *base, const wr_listen_params *params, wr_listen_result *out)
{
    (void)base;
    return wr_socket_listen(params, out);
}

/* A listener without an accept must cost nothing, and a level-triggered one with a backlog would fire at every pass. */
static void disarm(wr_epoll *cq, wr_socket *s)
{
    if (!s->registered) return;
    (void)epoll_ctl(cq->owner.epoll_fd, EPOLL_CTL_DEL, s->fd, NULL); /* registered, so it cannot fail */
    s->registered = false;
}

void wr_epoll_accept(wr_cq *base, wr_sock listener, wr_op *op)
{
    wr_epoll *cq = wr_epoll_of(base);
    wr_socket *s = wr_epoll_get(cq, listener);
    assert(!s->in && (s->kind == WR_SOCKET_NEW || s->kind == WR_SOCKET_LISTENER));
    wr_op_begin(op, WR_OP_ACCEPT, listener.slot);
    if (s->kind == WR_SOCKET_NEW) s->accept_row_needed = WR_ACCEPT_ROW_MIN;
    s->accept_row = 0; /* whoever stops after each connection, to keep a rate, shall not be given a batch */
    s->kind = WR_SOCKET_LISTENER;
    int error = s->registered ? 0 : wr_epoll_register(cq, s, EPOLLIN);
    if (error)
        wr_epoll_finish_system(cq, op, error);
    else
        s->in = op;
}

/* Without a descriptor or memory, trying on is in vain until something else is freed: the caller decides when. What is
 * left are errors of one connection, which the kernel hands out by accept (accept(2), "Error handling"), and after
 * which the next accept is right. */
static bool is_shortage(int error)
{
    return error == WEIR_EMFILE || error == WEIR_ENOBUFS || error == WEIR_ENOMEM;
}

/* EINVAL and the like say that this is no listening socket: no later accept will do better. */
static bool is_misuse(int system_error)
{
    return system_error == EBADF || system_error == EINVAL || system_error == ENOTSOCK || system_error == EFAULT;
}

enum found { FOUND_ONE, FOUND_ERROR, FOUND_NONE, FOUND_END };

static enum found accept_one(wr_socket *s, wr_completion *out)
{
    struct sockaddr_storage address;
    socklen_t length = sizeof address;
    int fd = wr_call_accept(s->fd, &address, &length);
    *out = (wr_completion){ .op = s->in, .flags = WR_MORE };
    if (fd >= 0) {
        out->socket.os = fd;
        wr_sockaddr_read(&out->peer, &address);
        return FOUND_ONE;
    }
    if (errno == EAGAIN || errno == EINTR) return FOUND_NONE; /* level-triggered: the next pass tries again */
    out->system_error = errno;
    out->error = wr_error_from_system(errno);
    if (!is_shortage(out->error) && !is_misuse(errno)) return FOUND_ERROR;
    out->flags = 0;
    return FOUND_END;
}

/* One accept a pass suits a listener that is not under pressure: each wake-up finds one connection, and a second accept
 * would be in vain (accepting until EAGAIN cost 1.23 of the CPU time a connection). After a row of passes that each
 * found one, a batch is tried. It pays under pressure; where it finds only one, a longer row is asked for. */
static unsigned batch_size(const wr_socket *s)
{
    return s->accept_row >= s->accept_row_needed ? WR_ACCEPT_BATCH_MAX : 1;
}

static void learn(wr_socket *s, unsigned batch, unsigned accepted)
{
    if (batch == 1) {
        s->accept_row = accepted ? (uint8_t)(s->accept_row + 1) : 0;
    } else if (accepted > 1) {
        s->accept_row_needed = WR_ACCEPT_ROW_MIN; /* and the row stands: the next pass takes a batch too */
    } else {
        s->accept_row = 0;
        if (s->accept_row_needed < WR_ACCEPT_ROW_MAX) s->accept_row_needed = (uint8_t)(s->accept_row_needed * 2);
    }
}

unsigned wr_epoll_serve_accept(wr_epoll *cq, wr_socket *s, wr_completion *out, unsigned capacity)
{
    if (!s->in) return 0; /* cancelled after the event */
    unsigned batch = batch_size(s);
    unsigned limit = batch < capacity ? batch : capacity;
    unsigned count = 0;
    while (count < limit) {
        enum found found = accept_one(s, &out[count]);
        if (found == FOUND_NONE) break;
        if (found == FOUND_END && count > 0) break; /* it will be found again, and then be the only one of its wait */
        count++;
        if (found == FOUND_END) {
            s->in->pending = false;
            s->in = NULL;
            disarm(cq, s);
            break;
        }
    }
    learn(s, batch, count);
    return count;
}

void wr_epoll_cancel(wr_cq *base, wr_op *op)
{
    wr_epoll *cq = wr_epoll_of(base);
    if (!wr_op_has_slot(op)) return;
    wr_socket *s = wr_epoll_slot(cq, op->slot);
    if (op->kind == WR_OP_ACCEPT && s->in == op) {
        s->in = NULL;
        disarm(cq, s);
        wr_epoll_finish(cq, op, WEIR_ECANCELED, 0);
    } else if (op->kind == WR_OP_CONNECT && s->out == op) {
        wr_epoll_drop(cq, s, true); /* completes it */
    }
}
