#include <string.h>

#include "platform/error_map.h"
#include "platform/iocp/iocp.h"

enum { ADDRESS_ROOM = sizeof(struct sockaddr_storage) + 16 }; /* AcceptEx asks for 16 bytes more than an address */

int wr_iocp_listen(wr_cq *base, const wr_listen_params *params, wr_listen_result *out)
{
    (void)base;
    return wr_socket_listen(params, out);
}

static void forget(wr_waiting_accept *accept)
{
    if (accept->socket != INVALID_SOCKET) wr_socket_close(accept->socket, false);
    accept->socket = INVALID_SOCKET;
    accept->landed = false;
}

/* A shortage is the listener's; other errors are of one connection, which was reset while it waited to be accepted. */
static bool is_shortage(int code)
{
    int error = wr_error_from_system(code);
    return error == WEIR_EMFILE || error == WEIR_ENOBUFS || error == WEIR_ENOMEM;
}

static bool is_reset(int code)
{
    int error = wr_error_from_system(code);
    return error == WEIR_ECONNRESET || error == WEIR_ECONNABORTED;
}

/* Posts one AcceptEx. 0; or a WSA code: nothing is in flight then. One that succeeds at once is landed already, and so
 * is one that finds a connection that was reset. */
static int post(wr_iocp *cq, wr_iocp_socket *s, wr_waiting_accept *accept)
{
    int error = cq->owner.calls->create_socket(s->listening->family, &accept->socket);
    if (error) return error;
    DWORD received = 0;
    accept->os = (OVERLAPPED){ 0 };
    BOOL succeeded = cq->owner.calls->accept_ex(s->os, accept->socket, accept->addresses, 0, ADDRESS_ROOM, ADDRESS_ROOM,
                                                &received, &accept->os);
    int code = succeeded ? 0 : WSAGetLastError();
    switch (wr_iocp_launched(cq, s, succeeded, code)) {
    case WR_LAUNCH_ALOFT:
        accept->aloft = true;
        return 0;
    case WR_LAUNCH_DONE:
        break;
    case WR_LAUNCH_FAILED:
        if (is_reset(code)) break;
        forget(accept);
        return code;
    }
    accept->landed = true;
    accept->error = code;
    wr_iocp_queue(cq, s);
    return 0;
}

static bool is_idle(const wr_waiting_accept *accept)
{
    return !accept->aloft && !accept->landed;
}

/* Posts all that are idle, unless one has met with an `error` that is the listener's. That matters only when none is
 * left in flight: until then each connection that is accepted is a new occasion. The end comes alone: what was
 * `delivered` in this wait puts it off, and then it is worth another try. */
static void post_all(wr_iocp *cq, wr_iocp_socket *s, int error, bool delivered)
{
    bool any = false;
    for (int i = 0; i < WR_ACCEPTS_POSTED; i++) {
        wr_waiting_accept *accept = &s->listening->waiting[i];
        if (is_idle(accept) && error == 0) error = post(cq, s, accept);
        any = any || !is_idle(accept);
    }
    if (any) return;
    if (delivered) {
        wr_iocp_queue(cq, s);
        return;
    }
    wr_op *op = s->in;
    s->in = NULL;
    wr_iocp_finish_system(cq, op, error);
}

static bool prepare(wr_iocp *cq, wr_iocp_socket *s)
{
    if (s->listening) return true;
    s->listening = wr_alloc(cq->owner.memory, sizeof *s->listening);
    if (!s->listening) return false;
    memset(s->listening, 0, sizeof *s->listening);
    for (int i = 0; i < WR_ACCEPTS_POSTED; i++) s->listening->waiting[i].socket = INVALID_SOCKET;
    wr_addr local;
    wr_socket_local(s->os, &local);
    s->listening->family = wr_sockaddr_family(&local);
    return true;
}

void wr_iocp_accept(wr_cq *base, wr_sock listener, wr_op *op)
{
    wr_iocp *cq = wr_iocp_of(base);
    wr_iocp_socket *s = wr_iocp_get(cq, listener);
    assert(!s->in && (s->kind == WR_IOCP_NEW || s->kind == WR_IOCP_LISTENER));
    wr_op_begin(op, WR_OP_ACCEPT, listener.slot);
    s->kind = WR_IOCP_LISTENER;
    if (!prepare(cq, s)) {
        wr_iocp_finish(cq, op, WEIR_ENOMEM, 0);
        return;
    }
    s->in = op;
    s->listening->cancelled = false;
    s->listening->batch = 1; /* whoever stops after each connection, to keep a rate, shall not be given a batch */
    post_all(cq, s, 0, false);
    wr_iocp_queue(cq, s); /* some may have landed before: see finish_cancel */
}

void wr_iocp_accept_landed(wr_iocp *cq, wr_iocp_socket *s, OVERLAPPED *overlapped)
{
    wr_waiting_accept *accept = WR_CONTAINER_OF(overlapped, wr_waiting_accept, os);
    DWORD bytes;
    accept->aloft = false;
    accept->landed = true;
    accept->error = wr_iocp_result(cq, s, overlapped, &bytes);
    if (accept->error == WSA_OPERATION_ABORTED) forget(accept); /* by our cancel, mostly: no connection was lost */
    wr_iocp_queue(cq, s);
}

/* Until its context is set, an accepted socket knows neither its addresses nor shutdown. */
static int settle(const wr_iocp *cq, const wr_iocp_socket *s, const wr_waiting_accept *accept)
{
    if (accept->error) return accept->error;
    int set = cq->owner.calls->setsockopt(accept->socket, SOL_SOCKET, SO_UPDATE_ACCEPT_CONTEXT, (const char *)&s->os,
                                          sizeof s->os);
    return set == 0 ? 0 : WSAGetLastError();
}

/* Returns the WSA code with which the connection was lost. */
static int deliver(wr_iocp *cq, wr_iocp_socket *s, wr_waiting_accept *accept, wr_completion *out)
{
    *out = (wr_completion){ .op = s->in, .flags = WR_MORE };
    int error = settle(cq, s, accept);
    if (error) {
        out->error = wr_error_from_system(error);
        out->system_error = error;
        forget(accept);
        return error;
    }
    struct sockaddr *local, *peer;
    struct sockaddr_storage address = { .ss_family = AF_UNSPEC }; /* aligned, as those need not be */
    int local_length, peer_length;
    cq->owner.calls->get_accept_addresses(accept->addresses, 0, ADDRESS_ROOM, ADDRESS_ROOM, &local, &local_length,
                                          &peer, &peer_length);
    memcpy(&address, peer, (size_t)peer_length);
    wr_sockaddr_read(&out->peer, &address);
    out->socket.os = (intptr_t)accept->socket;
    accept->socket = INVALID_SOCKET;
    accept->landed = false;
    return 0;
}

/* A cancelled accept ends when Windows has given back all that was posted. What had been accepted by then is not
 * delivered any more, but kept for the next accept, as if it were still in the backlog. */
static void finish_cancel(wr_iocp *cq, wr_iocp_socket *s)
{
    for (int i = 0; i < WR_ACCEPTS_POSTED; i++) {
        wr_waiting_accept *accept = &s->listening->waiting[i];
        if (accept->aloft) return;
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
    wr_listening *l = s->listening;
    if (l->cancelled) {
        finish_cancel(cq, s);
        return 0;
    }
    unsigned limit = l->batch < capacity ? l->batch : capacity;
    unsigned count = 0, left = 0;
    int shortage = 0;
    for (unsigned i = 0, first = l->next; i < WR_ACCEPTS_POSTED; i++) {
        unsigned turn = (first + i) % WR_ACCEPTS_POSTED;
        if (!l->waiting[turn].landed) continue;
        if (count < limit) {
            int error = deliver(cq, s, &l->waiting[turn], &out[count]);
            if (is_shortage(error))
                shortage = error;
            else
                count++;
            l->next = turn + 1;
        } else {
            left++;
        }
    }
    if (left > 0) {
        wr_iocp_queue(cq, s);
        if (l->batch < WR_ACCEPTS_POSTED) l->batch *= 2;
    }
    post_all(cq, s, shortage, count > 0);
    return count;
}

void wr_iocp_free_accepts(wr_iocp *cq, wr_iocp_socket *s)
{
    if (!s->listening) return;
    for (int i = 0; i < WR_ACCEPTS_POSTED; i++) forget(&s->listening->waiting[i]);
    wr_free(cq->owner.memory, s->listening, sizeof *s->listening);
    s->listening = NULL;
}

void wr_iocp_cancel(wr_cq *base, wr_op *op)
{
    wr_iocp *cq = wr_iocp_of(base);
    if (!wr_op_has_slot(op)) return;
    wr_iocp_socket *s = wr_iocp_slot(cq, op->slot);
    if (op->kind == WR_OP_ACCEPT && s->in == op && !s->closing) {
        s->listening->cancelled = true;
        (void)cq->owner.calls->cancel_io((HANDLE)s->os, NULL); /* what it finds done already lands all the same */
        wr_iocp_queue(cq, s);
    } else if (op->kind == WR_OP_CONNECT && s->kind == WR_IOCP_CONNECTING && !s->closing && s->out->op == op) {
        wr_iocp_drop(cq, s, NULL, true);
    }
}
