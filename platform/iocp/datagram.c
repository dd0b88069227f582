#include "platform/error_map.h"
#include "platform/iocp/iocp.h"

int wr_iocp_udp_open(wr_cq *base, const wr_udp_params *params, wr_listen_result *out)
{
    (void)base;
    return wr_socket_udp_open(params, out);
}

static void begin(wr_iocp_socket *s)
{
    if (s->kind == WR_IOCP_DATAGRAM) return;
    wr_addr local;
    wr_socket_local(s->os, &local);
    s->kind = WR_IOCP_DATAGRAM;
    s->ipv6 = local.family == WR_FAMILY_IPV6;
}

/* A warning of NT's, such as that a datagram was longer than its buffer, is an error to Winsock's callers; but the
 * operation was done, and its packet comes. One that was never begun has left the OVERLAPPED as it was. */
static bool was_done(const OVERLAPPED *overlapped)
{
    return (overlapped->Internal & 0xC0000000) == 0x80000000;
}

/* What the network says of a datagram that was sent earlier: to a port that nobody has (SIO_UDP_CONNRESET is off, so
 * that it should not), too far, or where no route leads. It is about one peer among many. */
static bool is_of_a_peer(int code)
{
    switch (code) {
    case WSAECONNRESET:
    case WSAECONNREFUSED:
    case WSAENETRESET:
    case WSAENETUNREACH:
    case WSAEHOSTUNREACH:
    case ERROR_PORT_UNREACHABLE:
        return true;
    default:
        return false;
    }
}

/* ---- receiving ---- */

static void finish_recv(wr_iocp *cq, wr_iocp_socket *s, int code)
{
    wr_op *op = s->in;
    s->in = NULL;
    wr_iocp_finish_system(cq, op, code);
}

/* A receive of no bytes, as for a stream; but it must not take the datagram, of which nothing would be left: it peeks.
 * That it is too long for no bytes is how it says that there is one. */
static void arm(wr_iocp *cq, wr_iocp_socket *s)
{
    WSABUF nothing = { .len = 0, .buf = NULL };
    DWORD flags = MSG_PEEK;
    s->notice = (OVERLAPPED){ 0 };
    int failed = cq->owner.calls->wsa_recv(s->os, &nothing, 1, NULL, &flags, &s->notice, NULL);
    int code = failed ? WSAGetLastError() : 0;
    enum wr_launch launch = wr_iocp_launched(cq, s, !failed || was_done(&s->notice), code);
    if (launch == WR_LAUNCH_ALOFT) return;
    if (launch == WR_LAUNCH_FAILED && !is_of_a_peer(code)) {
        finish_recv(cq, s, code);
        return;
    }
    s->readable = true;
    wr_iocp_queue(cq, s);
}

void wr_iocp_recv_from(wr_cq *base, wr_sock sock, wr_op *op, uint16_t size_max)
{
    wr_iocp *cq = wr_iocp_of(base);
    wr_iocp_socket *s = wr_iocp_get(cq, sock);
    assert(!s->in && size_max > 0 && (s->kind == WR_IOCP_NEW || s->kind == WR_IOCP_DATAGRAM));
    wr_op_begin(op, WR_OP_RECV_FROM, sock.slot);
    begin(s);
    s->in = op;
    s->size_max = size_max;
    if (s->readable)
        wr_iocp_queue(cq, s);
    else
        arm(cq, s);
}

/* Takes one. WSAEWOULDBLOCK: there was none. */
static int take(const wr_iocp *cq, const wr_iocp_socket *s, void *bytes, wr_datagram *item)
{
    struct sockaddr_storage peer;
    int length = sizeof peer;
    int size = cq->owner.calls->recv_from(s->os, (char *)bytes, (int)s->size_max, 0, (struct sockaddr *)&peer, &length);
    int code = size < 0 ? WSAGetLastError() : 0;
    bool truncated = code == WSAEMSGSIZE;
    if (code && !truncated) return code;
    *item = (wr_datagram){ .data = bytes, .size = truncated ? s->size_max : (uint32_t)size, .truncated = truncated };
    wr_sockaddr_read(&item->peer, &peer);
    return 0;
}

/* Reads until there is no more, or it is enough for one pass; returns how many there are, and in `*code` what else the
 * last read said. */
static uint32_t read_some(const wr_iocp *cq, wr_iocp_socket *s, wr_lease *lease, int *code)
{
    uint32_t count = 0, used = 0;
    for (int call = 0; call < WR_RECV_CALLS_MAX && used + s->size_max <= WR_LEASE_BYTES; call++) {
        *code = take(cq, s, lease->bytes + used, &lease->items[count]);
        if (is_of_a_peer(*code)) {
            *code = 0;
            continue;
        }
        if (*code) break;
        if (count > 0) lease->items[count - 1].next = &lease->items[count];
        used += wr_lease_place(lease->items[count].size);
        count++;
    }
    if (*code == WSAEWOULDBLOCK) s->readable = false;
    return count;
}

/* Nothing was read. The notice may have said why, unless it is of one peer or was aborted by somebody else. */
static int read_code(const wr_iocp *cq, wr_iocp_socket *s, int code)
{
    if (code != WSAEWOULDBLOCK) return code;
    DWORD bytes;
    int noticed = wr_iocp_result(cq, s, &s->notice, &bytes);
    bool is_notice = noticed == WSAEMSGSIZE || noticed == WSA_OPERATION_ABORTED || is_of_a_peer(noticed);
    return is_notice ? 0 : noticed;
}

unsigned wr_iocp_serve_recv_from(wr_iocp *cq, wr_iocp_socket *s, wr_completion *out)
{
    *out = (wr_completion){ .op = s->in };
    wr_lease *lease = wr_pool_get(&cq->owner.leases);
    if (!lease) {
        out->error = WEIR_ENOMEM;
    } else {
        int code = 0;
        out->size = read_some(cq, s, lease, &code);
        if (out->size > 0) {
            out->datagrams = lease->items;
        } else {
            wr_pool_put(&cq->owner.leases, lease);
            code = read_code(cq, s, code);
            if (code == 0) { /* a notice for nothing */
                if (s->readable)
                    wr_iocp_queue(cq, s);
                else
                    arm(cq, s);
                return 0;
            }
            out->error = wr_error_from_system(code);
            out->system_error = code;
        }
    }
    s->in->pending = false;
    s->in = NULL;
    return 1;
}

/* ---- sending ---- */

static void count_sent(wr_send_batch *batch, uint64_t bytes)
{
    batch->sent++;
    batch->sent_bytes += bytes;
}

static void refuse(wr_send_batch *batch, int error, int system_error)
{
    if (batch->refused++ > 0) return;
    batch->error = error;
    batch->system_error = system_error;
}

/* What need not be asked of Windows. Too long a datagram it refuses too, but some say so at once and some by packet. */
static int refusal(const wr_datagram *datagram, socklen_t address_length)
{
    if (address_length == 0) return WEIR_EAFNOSUPPORT;
    if (datagram->size > WR_DATAGRAM_MAX) return WEIR_EMSGSIZE;
    return datagram->peer.port == 0 ? WEIR_EINVAL : 0;
}

/* Offers one datagram, by an idle flight. */
static void offer(wr_iocp *cq, wr_iocp_socket *s, const wr_datagram *datagram)
{
    wr_dispatch *d = s->dispatch;
    struct sockaddr_storage address;
    socklen_t length = wr_sockaddr_write_peer(&address, &datagram->peer, s->ipv6);
    int error = refusal(datagram, length);
    if (error) {
        refuse(d->batch, error, 0);
        return;
    }
    OVERLAPPED *flight = &d->flights[d->idle[d->idle_count - 1]];
    *flight = (OVERLAPPED){ 0 };
    WSABUF part = { .len = datagram->size, .buf = (char *)(uintptr_t)datagram->data }; /* a send does not write */
    int failed =
        cq->owner.calls->wsa_send_to(s->os, &part, 1, NULL, 0, (const struct sockaddr *)&address, length, flight, NULL);
    int code = failed ? WSAGetLastError() : 0;
    switch (wr_iocp_launched(cq, s, !failed || was_done(flight), code)) {
    case WR_LAUNCH_ALOFT:
        d->idle_count--;
        break;
    case WR_LAUNCH_DONE:
        count_sent(d->batch, datagram->size);
        break;
    case WR_LAUNCH_FAILED:
        refuse(d->batch, wr_error_from_system(code), code);
        break;
    }
}

void wr_iocp_finish_send_to(wr_iocp *cq, wr_iocp_socket *s, int error)
{
    wr_op *op = s->dispatch->op;
    wr_pool_put(&cq->owner.dispatches, s->dispatch);
    s->dispatch = NULL;
    wr_iocp_finish(cq, op, error, 0);
}

/* As many as there are flights, so that Windows is never without one while there are more; it is done when all have
 * landed. */
void wr_iocp_serve_send_to(wr_iocp *cq, wr_iocp_socket *s)
{
    wr_dispatch *d = s->dispatch;
    for (int call = 0; call < WR_SENDS_ALOFT && d->idle_count > 0 && d->batch->first; call++) {
        const wr_datagram *datagram = d->batch->first;
        d->batch->first = datagram->next;
        offer(cq, s, datagram);
    }
    if (!d->batch->first && d->idle_count == WR_SENDS_ALOFT)
        wr_iocp_finish_send_to(cq, s, 0);
    else if (d->batch->first && d->idle_count > 0)
        wr_iocp_queue(cq, s); /* enough for one pass */
}

void wr_iocp_send_to(wr_cq *base, wr_sock sock, wr_op *op, wr_send_batch *batch)
{
    wr_iocp *cq = wr_iocp_of(base);
    wr_iocp_socket *s = wr_iocp_get(cq, sock);
    assert(!s->dispatch && batch->first && (s->kind == WR_IOCP_NEW || s->kind == WR_IOCP_DATAGRAM));
    wr_op_begin(op, WR_OP_SEND_TO, sock.slot);
    begin(s);
    *batch = (wr_send_batch){ .first = batch->first };
    s->dispatch = wr_pool_get(&cq->owner.dispatches);
    if (!s->dispatch) {
        wr_iocp_finish(cq, op, WEIR_ENOMEM, 0);
        return;
    }
    s->dispatch->op = op;
    s->dispatch->batch = batch;
    s->dispatch->idle_count = WR_SENDS_ALOFT;
    for (int i = 0; i < WR_SENDS_ALOFT; i++) s->dispatch->idle[i] = (uint8_t)i;
    wr_iocp_serve_send_to(cq, s);
}

/* A socket that is closed can no longer be asked; NT's own code says what became of the datagram. */
void wr_iocp_send_to_landed(wr_iocp *cq, wr_iocp_socket *s, OVERLAPPED *flight)
{
    wr_dispatch *d = s->dispatch;
    DWORD bytes;
    d->idle[d->idle_count++] = (uint8_t)(flight - d->flights);
    if (s->closing) {
        if ((flight->Internal & 0x80000000) == 0) count_sent(d->batch, flight->InternalHigh);
        return;
    }
    int code = wr_iocp_result(cq, s, flight, &bytes);
    if (code)
        refuse(d->batch, wr_error_from_system(code), code);
    else
        count_sent(d->batch, bytes);
    if (d->batch->first || d->idle_count == WR_SENDS_ALOFT) wr_iocp_queue(cq, s);
}
