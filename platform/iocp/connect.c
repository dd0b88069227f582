#include "platform/error_map.h"
#include "platform/iocp/iocp.h"

static void fail(wr_iocp *cq, wr_iocp_socket *s, int code)
{
    wr_op *op = s->out;
    s->out = NULL;
    wr_iocp_drop(cq, s, false);
    wr_iocp_finish_system(cq, op, code);
}

/* Until its context is set, a connected socket knows neither its addresses nor shutdown. */
static void settle(wr_iocp *cq, wr_iocp_socket *s, const wr_connect_params *params)
{
    if (cq->owner.calls->setsockopt(s->os, SOL_SOCKET, SO_UPDATE_CONNECT_CONTEXT, NULL, 0) != 0) {
        fail(cq, s, WSAGetLastError());
        return;
    }
    if (wr_socket_is_own_peer(s->os, params)) {
        fail(cq, s, WSAECONNREFUSED);
        return;
    }
    wr_op *op = s->out;
    s->out = NULL;
    s->kind = WR_IOCP_STREAM;
    wr_iocp_finish(cq, op, 0, 0);
}

void wr_iocp_connect(wr_cq *base, const wr_connect_params *params, wr_op *op)
{
    wr_iocp *cq = wr_iocp_of(base);
    wr_op_begin(op, WR_OP_CONNECT, WR_NO_SLOT);
    SOCKET socket;
    int code = wr_socket_open(params, &socket);
    if (code) {
        wr_iocp_finish_system(cq, op, code);
        return;
    }
    int error;
    wr_iocp_socket *s = wr_iocp_add(cq, socket, WR_IOCP_CONNECTING, &error);
    if (!s) {
        wr_socket_close(socket, false);
        wr_iocp_finish(cq, op, error, 0);
        return;
    }
    op->slot = s->record.slot;
    s->out = op;
    struct sockaddr_storage address;
    int length = wr_sockaddr_write(&address, &params->remote);
    OVERLAPPED *overlapped = wr_iocp_prepare(s, &s->out_flight);
    BOOL succeeded =
        cq->owner.calls->connect_ex(socket, (struct sockaddr *)&address, length, NULL, 0, NULL, overlapped);
    code = succeeded ? 0 : WSAGetLastError();
    switch (wr_iocp_launched(cq, s, &s->out_flight, succeeded, code)) {
    case WR_LAUNCH_ALOFT:
        break;
    case WR_LAUNCH_DONE:
        settle(cq, s, params);
        break;
    case WR_LAUNCH_FAILED: /* an unreachable network fails at once */
        fail(cq, s, code);
        break;
    }
}

void wr_iocp_connect_landed(wr_iocp *cq, wr_iocp_socket *s)
{
    DWORD bytes;
    int code = wr_iocp_result(cq, s, &s->out_flight, &bytes);
    if (code)
        fail(cq, s, code);
    else
        settle(cq, s, NULL);
}
