#include "platform/error_map.h"
#include "platform/iocp/iocp.h"

static void finish_recv(wr_iocp *cq, wr_iocp_socket *s, int code)
{
    wr_op *op = s->in;
    s->in = NULL;
    wr_iocp_finish_system(cq, op, code);
}

/* A receive of no bytes completes when there is something to read: data, the end, or an error. So an idle connection
 * holds no buffer, and Windows locks no page for it. */
static void arm(wr_iocp *cq, wr_iocp_socket *s)
{
    WSABUF nothing = { .len = 0, .buf = NULL };
    DWORD flags = 0;
    s->notice = (OVERLAPPED){ 0 };
    int failed = cq->owner.calls->wsa_recv(s->os, &nothing, 1, NULL, &flags, &s->notice, NULL);
    int code = failed ? WSAGetLastError() : 0;
    switch (wr_iocp_launched(cq, s, !failed, code)) {
    case WR_LAUNCH_ALOFT:
        break;
    case WR_LAUNCH_DONE:
        s->readable = true;
        wr_iocp_queue(cq, s);
        break;
    case WR_LAUNCH_FAILED:
        finish_recv(cq, s, code);
        break;
    }
}

void wr_iocp_recv(wr_cq *base, wr_sock sock, wr_op *op)
{
    wr_iocp *cq = wr_iocp_of(base);
    wr_iocp_socket *s = wr_iocp_get(cq, sock);
    assert(!s->in && (s->kind == WR_IOCP_NEW || s->kind == WR_IOCP_STREAM));
    wr_op_begin(op, WR_OP_RECV, sock.slot);
    s->kind = WR_IOCP_STREAM;
    s->in = op;
    if (s->readable)
        wr_iocp_queue(cq, s);
    else
        arm(cq, s);
}

void wr_iocp_recv_landed(wr_iocp *cq, wr_iocp_socket *s)
{
    s->readable = true;
    wr_iocp_queue(cq, s);
}

/* Why a read found no bytes: WSA's code, 0 for the peer's end. The notice knows of a reset what the read after it may
 * not: Wine then tells of an end, on a socket that no longer has a peer. A notice that was aborted, and not by us,
 * knows nothing: somebody else cancelled what is pending on the process's sockets. */
static int read_code(const wr_iocp *cq, wr_iocp_socket *s, int size)
{
    int code = size < 0 ? WSAGetLastError() : 0;
    DWORD bytes;
    int noticed = wr_iocp_result(cq, s, &s->notice, &bytes);
    if (noticed && noticed != WSA_OPERATION_ABORTED && (code == 0 || code == WSAEWOULDBLOCK)) return noticed;
    if (code != 0 || s->shut) return code;
    struct sockaddr_storage peer;
    int length = sizeof peer;
    bool has_peer =
        cq->owner.calls->getpeername(s->os, (struct sockaddr *)&peer, &length) == 0 || WSAGetLastError() != WSAENOTCONN;
    return has_peer ? 0 : WSAECONNRESET;
}

/* Reads once; a read that does not fill the buffer has emptied the socket, and the next recv waits for a notice. */
unsigned wr_iocp_serve_recv(wr_iocp *cq, wr_iocp_socket *s, wr_completion *out)
{
    *out = (wr_completion){ .op = s->in };
    uint8_t *buffer = wr_pool_get(&cq->owner.buffers);
    if (!buffer) {
        out->error = WEIR_ENOMEM;
    } else {
        int size = cq->owner.calls->recv(s->os, (char *)buffer, (int)cq->owner.buffers.block_size, 0);
        if (size > 0) {
            out->buffer = buffer;
            out->size = (uint32_t)size;
            s->readable = out->size == cq->owner.buffers.block_size;
        } else {
            int code = read_code(cq, s, size);
            wr_pool_put(&cq->owner.buffers, buffer);
            if (code == WSAEWOULDBLOCK) { /* a notice for nothing */
                s->readable = false;
                arm(cq, s);
                return 0;
            }
            s->readable = true; /* a further recv reads again and hears the same */
            out->error = code ? wr_error_from_system(code) : WEIR_EEOF;
            out->system_error = code;
        }
    }
    s->in->pending = false;
    s->in = NULL;
    return 1;
}

static DWORD gather(const wr_outgoing *out, WSABUF *parts)
{
    uint32_t skip = out->slice_done, total = 0;
    DWORD count = 0;
    for (const wr_slice *slice = out->slice; slice && count < WR_SEND_SLICES_MAX && total < WR_SEND_BYTES_MAX;
         slice = slice->next) {
        uint32_t size = slice->size - skip;
        if (size > WR_SEND_BYTES_MAX - total) size = WR_SEND_BYTES_MAX - total;
        parts[count].buf = (char *)(uintptr_t)((const char *)slice->data + skip); /* a send does not write */
        parts[count].len = size;
        total += size;
        count++;
        skip = 0;
    }
    return count;
}

static void advance(wr_outgoing *out, DWORD sent)
{
    while (sent > 0) {
        uint32_t left = out->slice->size - out->slice_done;
        if (sent < left) {
            out->slice_done += sent;
            return;
        }
        sent -= left;
        out->slice = out->slice->next;
        out->slice_done = 0;
    }
}

/* True: Windows has all of it, and the operation is to be finished. */
static bool write_out(wr_iocp *cq, wr_iocp_socket *s)
{
    wr_outgoing *out = s->out;
    for (int call = 0; call < WR_SEND_CALLS_MAX; call++) {
        WSABUF parts[WR_SEND_SLICES_MAX];
        DWORD count = gather(out, parts), sent = 0;
        out->os = (OVERLAPPED){ 0 };
        int failed = cq->owner.calls->wsa_send(s->os, parts, count, &sent, 0, &out->os, NULL);
        int code = failed ? WSAGetLastError() : 0;
        enum wr_launch launch = wr_iocp_launched(cq, s, !failed, code);
        out->aloft = launch == WR_LAUNCH_ALOFT;
        if (out->aloft) return false;
        if (launch == WR_LAUNCH_FAILED) {
            wr_iocp_finish_out(cq, s, code);
            return false;
        }
        advance(out, sent);
        if (!out->slice) return true;
    }
    wr_iocp_queue(cq, s); /* enough for one pass */
    return false;
}

void wr_iocp_serve_send(wr_iocp *cq, wr_iocp_socket *s)
{
    if (write_out(cq, s)) wr_iocp_finish_out(cq, s, 0);
}

void wr_iocp_send(wr_cq *base, wr_sock sock, wr_op *op, const wr_slice *slices)
{
    wr_iocp *cq = wr_iocp_of(base);
    wr_iocp_socket *s = wr_iocp_get(cq, sock);
    assert(slices && (s->kind == WR_IOCP_NEW || s->kind == WR_IOCP_STREAM));
    wr_op_begin(op, WR_OP_SEND, sock.slot);
    s->kind = WR_IOCP_STREAM;
    wr_outgoing *out = wr_iocp_lease(cq, s, op);
    if (!out) {
        wr_iocp_finish(cq, op, WEIR_ENOMEM, 0);
        return;
    }
    out->slice = slices;
    if (!write_out(cq, s)) return;
    if (op->prompt) {
        wr_iocp_give_back(cq, s);
        op->pending = false;
    } else {
        wr_iocp_finish_out(cq, s, 0);
    }
}

void wr_iocp_send_landed(wr_iocp *cq, wr_iocp_socket *s)
{
    wr_outgoing *out = s->out;
    DWORD sent;
    out->aloft = false;
    int code = wr_iocp_result(cq, s, &out->os, &sent);
    if (code == 0) advance(out, sent);
    if (code || !out->slice)
        wr_iocp_finish_out(cq, s, code);
    else
        wr_iocp_queue(cq, s);
}

void wr_iocp_shutdown(wr_cq *base, wr_sock sock)
{
    wr_iocp_socket *s = wr_iocp_get(wr_iocp_of(base), sock);
    assert(!s->out);
    s->shut = true;
    (void)shutdown(s->os, SD_SEND); /* fails only for a connection that is gone, which the next recv tells */
}
