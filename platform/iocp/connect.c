#include "platform/error_map.h"
#include "platform/iocp/iocp.h"

static void fail(wr_iocp *cq, wr_iocp_socket *s, int code)
{
    wr_iocp_finish_out(cq, s, code);
    wr_iocp_drop(cq, s, NULL, false);
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
    s->kind = WR_IOCP_STREAM;
    wr_iocp_finish_out(cq, s, 0);
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
    if (!wr_iocp_lease(cq, s, op)) {
        wr_iocp_drop(cq, s, NULL, false);
        wr_iocp_finish(cq, op, WEIR_ENOMEM, 0);
        return;
    }
    struct sockaddr_storage address;
    int length = wr_sockaddr_write(&address, params->remote, params->path);
    BOOL succeeded =
        cq->owner.calls->connect_ex(socket, (struct sockaddr *)&address, length, NULL, 0, NULL, &s->out->os);
    code = succeeded ? 0 : WSAGetLastError();
    switch (wr_iocp_launched(cq, s, succeeded, code)) {
    case WR_LAUNCH_ALOFT:
        s->out->aloft = true;
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
    s->out->aloft = false;
    int code = wr_iocp_result(cq, s, &s->out->os, &bytes);
    if (code)
        fail(cq, s, code);
    else
        settle(cq, s, NULL);
}
