#include <string.h>

#include "platform/error_map.h"
#include "platform/iocp/iocp.h"

enum { ADDRESS_ROOM = sizeof(struct sockaddr_storage) + 16 }; /* AcceptEx asks for 16 bytes more than an address */

int wr_iocp_listen(wr_cq *base, const wr_listen_params *params, wr_listen_result *out)
{
    (void)base;
    return wr_socket_listen(params, out);
}

/* Posts one AcceptEx. 0; or a WSA code: nothing is in flight then. One that succeeds at once is landed already. */
static int post(wr_iocp *cq, wr_iocp_socket *s, wr_waiting_accept *accept)
{
    int error = cq->owner.calls->create_socket(s->family, &accept->socket);
    if (error) return error;
    DWORD received = 0;
    OVERLAPPED *overlapped = wr_iocp_prepare(s, &accept->flight);
    BOOL succeeded = cq->owner.calls->accept_ex(s->os, accept->socket, accept->addresses, 0, ADDRESS_ROOM, ADDRESS_ROOM,
                                                &received, overlapped);
    int code = succeeded ? 0 : WSAGetLastError();
    switch (wr_iocp_launched(cq, s, &accept->flight, succeeded, code)) {
    case WR_LAUNCH_ALOFT:
        return 0;
    case WR_LAUNCH_DONE:
        accept->landed = true;
        accept->error = 0;
        wr_iocp_queue(cq, s);
        return 0;
    default:
        wr_socket_close(accept->socket, false);
        accept->socket = INVALID_SOCKET;
        return code;
    }
}

static bool is_idle(const wr_waiting_accept *accept)
{
    return !accept->flight.aloft && !accept->landed;
}

/* Posts all that are idle. A shortage matters only when none is left in flight: until then each connection that is
 * accepted is a new occasion. */
static void post_all(wr_iocp *cq, wr_iocp_socket *s)
{
    int error = 0;
    bool any = false;
    for (int i = 0; i < WR_ACCEPTS_POSTED; i++) {
        if (is_idle(&s->accepts[i]) && error == 0) error = post(cq, s, &s->accepts[i]);
        any = any || !is_idle(&s->accepts[i]);
    }
    if (any) return;
    wr_op *op = s->in;
    s->in = NULL;
    wr_iocp_finish_system(cq, op, error);
}

static bool prepare(wr_iocp *cq, wr_iocp_socket *s)
{
    if (s->accepts) return true;
    s->accepts = wr_alloc(cq->owner.memory, WR_ACCEPTS_POSTED * sizeof *s->accepts);
    if (!s->accepts) return false;
    memset(s->accepts, 0, WR_ACCEPTS_POSTED * sizeof *s->accepts);
    for (int i = 0; i < WR_ACCEPTS_POSTED; i++) s->accepts[i].socket = INVALID_SOCKET;
    wr_addr local;
    wr_socket_local(s->os, &local);
    s->family = wr_sockaddr_family(&local);
    return true;
}

void wr_iocp_accept(wr_cq *base, wr_sock listener, wr_op *op)
{
    wr_iocp *cq = wr_iocp_of(base);
    wr_iocp_socket *s = wr_iocp_get(cq, listener);
    assert(!s->in && (s->kind == WR_IOCP_NEW || s->kind == WR_IOCP_LISTENER));
    wr_op_begin(op, WR_OP_ACCEPT, listener.slot);
    s->kind = WR_IOCP_LISTENER;
    s->cancelled = false;
    s->accept_batch = 1; /* whoever stops after each connection, to keep a rate, shall not be given a batch */
    if (!prepare(cq, s)) {
        wr_iocp_finish(cq, op, WEIR_ENOMEM, 0);
        return;
    }
    s->in = op;
    post_all(cq, s);
    wr_iocp_queue(cq, s); /* some may have landed before: see finish_cancel */
}

void wr_iocp_accept_landed(wr_iocp *cq, wr_iocp_socket *s, wr_flight *flight)
{
    wr_waiting_accept *accept = WR_CONTAINER_OF(flight, wr_waiting_accept, flight);
    DWORD bytes;
    accept->landed = true;
    accept->error = s->closing ? WSAECONNABORTED : wr_iocp_result(cq, s, flight, &bytes);
    wr_iocp_queue(cq, s);
}

static void forget(wr_waiting_accept *accept)
{
    if (accept->socket != INVALID_SOCKET) wr_socket_close(accept->socket, false);
    accept->socket = INVALID_SOCKET;
    accept->landed = false;
}

/* Until its context is set, an accepted socket knows neither its addresses nor shutdown. */
static int settle(const wr_iocp *cq, const wr_iocp_socket *s, const wr_waiting_accept *accept)
{
    if (accept->error) return accept->error;
    int set = cq->owner.calls->setsockopt(accept->socket, SOL_SOCKET, SO_UPDATE_ACCEPT_CONTEXT, (const char *)&s->os,
                                          sizeof s->os);
    return set == 0 ? 0 : WSAGetLastError();
}

static void deliver(wr_iocp *cq, wr_iocp_socket *s, wr_waiting_accept *accept, wr_completion *out)
{
    *out = (wr_completion){ .op = s->in, .flags = WR_MORE };
    int error = settle(cq, s, accept);
    if (error) { /* of this one connection, which was reset before it was accepted: the listener lives */
        out->error = wr_error_from_system(error);
        out->system_error = error;
        forget(accept);
        return;
    }
    struct sockaddr *local, *peer;
    int local_length, peer_length;
    cq->owner.calls->get_accept_addresses(accept->addresses, 0, ADDRESS_ROOM, ADDRESS_ROOM, &local, &local_length,
                                          &peer, &peer_length);
    out->socket.os = (intptr_t)accept->socket;
    wr_sockaddr_read(&out->peer, (const struct sockaddr_storage *)(const void *)peer);
    accept->socket = INVALID_SOCKET;
    accept->landed = false;
}

/* A cancelled accept ends when Windows has given back all that was posted. What had been accepted by then is not
 * delivered any more, but kept for the next accept, as if it were still in the backlog. */
static void finish_cancel(wr_iocp *cq, wr_iocp_socket *s)
{
    for (int i = 0; i < WR_ACCEPTS_POSTED; i++) {
        wr_waiting_accept *accept = &s->accepts[i];
        if (accept->flight.aloft) return;
        if (accept->error) forget(accept);
    }
    wr_op *op = s->in;
    s->in = NULL;
    wr_iocp_finish(cq, op, WEIR_ECANCELED, 0);
}

/* One connection is delivered at first, and twice as many as before whenever more have landed; in turn, so that none
 * that has landed is left behind. */
unsigned wr_iocp_serve_accept(wr_iocp *cq, wr_iocp_socket *s, wr_completion *out, unsigned capacity)
{
    if (!s->in) return 0;
    if (s->cancelled) {
        finish_cancel(cq, s);
        return 0;
    }
    unsigned limit = s->accept_batch < capacity ? s->accept_batch : capacity;
    unsigned count = 0, left = 0;
    for (unsigned i = 0, first = s->accept_next; i < WR_ACCEPTS_POSTED; i++) {
        unsigned turn = (first + i) % WR_ACCEPTS_POSTED;
        if (!s->accepts[turn].landed) continue;
        if (count < limit) {
            deliver(cq, s, &s->accepts[turn], &out[count++]);
            s->accept_next = (uint8_t)(turn + 1);
        } else {
            left++;
        }
    }
    if (left > 0) {
        wr_iocp_queue(cq, s);
        if (s->accept_batch < WR_ACCEPTS_POSTED) s->accept_batch *= 2;
    }
    post_all(cq, s);
    return count;
}

void wr_iocp_free_accepts(wr_iocp *cq, wr_iocp_socket *s)
{
    if (!s->accepts) return;
    for (int i = 0; i < WR_ACCEPTS_POSTED; i++) forget(&s->accepts[i]);
    wr_free(cq->owner.memory, s->accepts, WR_ACCEPTS_POSTED * sizeof *s->accepts);
    s->accepts = NULL;
}

void wr_iocp_cancel(wr_cq *base, wr_op *op)
{
    wr_iocp *cq = wr_iocp_of(base);
    if (!op->pending || op->slot == WR_NO_SLOT) return;
    wr_iocp_socket *s = wr_iocp_slot(cq, op->slot);
    if (op->kind == WR_OP_ACCEPT && s->in == op && !s->closing) {
        s->cancelled = true;
        (void)cq->owner.calls->cancel_io((HANDLE)s->os, NULL); /* what it finds done already lands all the same */
        wr_iocp_queue(cq, s);
    } else if (op->kind == WR_OP_CONNECT && s->out == op && !s->closing) {
        wr_iocp_drop(cq, s, true);
    }
}
