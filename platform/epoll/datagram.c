#define _GNU_SOURCE
#include <assert.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "platform/epoll/epoll.h"
#include "platform/error_map.h"
#include "platform/posix/socket.h"

#define DATAGRAM_EVENTS (EPOLLIN | EPOLLET)

enum { RUN_BYTES = 65536 }; /* that the kernel puts together into one read, or cuts one write of into datagrams */

/* Room for what rides along with a message: the size of a run's datagrams. */
typedef struct control {
    _Alignas(struct cmsghdr) char bytes[CMSG_SPACE(sizeof(int))];
} control;

int wr_epoll_udp_open(wr_cq *base, const wr_udp_params *params, wr_listen_result *out)
{
    (void)base;
    return wr_socket_udp_open(params, out);
}

static int option(int fd, int level, int name, int otherwise)
{
    int value = 0;
    socklen_t length = sizeof value;
    return getsockopt(fd, level, name, &value, &length) == 0 ? value : otherwise;
}

/* A kernel that does not know of runs would send one as a single datagram, so it is asked first. */
static void begin(wr_socket *s)
{
    if (s->kind == WR_SOCKET_DATAGRAM) return;
    s->kind = WR_SOCKET_DATAGRAM;
    s->ipv6 = option(s->fd, SOL_SOCKET, SO_DOMAIN, AF_INET) == AF_INET6;
    s->coalesced = option(s->fd, IPPROTO_UDP, UDP_GRO, 0) == 1;
    s->run_size = option(s->fd, IPPROTO_UDP, UDP_SEGMENT, -1) < 0 ? 0 : WR_DATAGRAM_MAX;
}

/* ---- receiving ---- */

void wr_epoll_recv_from(wr_cq *base, wr_sock sock, wr_op *op, uint16_t size_max)
{
    wr_epoll *cq = wr_epoll_of(base);
    wr_socket *s = wr_epoll_get(cq, sock);
    assert(!s->in && size_max > 0 && (s->kind == WR_SOCKET_NEW || s->kind == WR_SOCKET_DATAGRAM));
    wr_op_begin(op, WR_OP_RECV_FROM, sock.slot);
    begin(s);
    s->receive_max = size_max;
    if (!s->registered) { /* reports what is there already */
        int error = wr_epoll_register(cq, s, DATAGRAM_EVENTS);
        if (error) {
            wr_epoll_finish_system(cq, op, error);
            return;
        }
    }
    s->in = op;
    if (s->readable || s->ended) wr_epoll_queue(cq, s);
}

/* One system call's worth of what comes. */
typedef struct arrivals {
    struct mmsghdr messages[WR_LEASE_CALL_MAX];
    struct iovec parts[WR_LEASE_CALL_MAX];
    struct sockaddr_storage peers[WR_LEASE_CALL_MAX];
    control controls[WR_LEASE_CALL_MAX];
} arrivals;

static void lay_out(arrivals *a, wr_lease *lease, unsigned room, uint32_t size, bool coalesced)
{
    size_t place = wr_lease_place(size);
    for (unsigned i = 0; i < room; i++) {
        a->parts[i] = (struct iovec){ .iov_base = lease->bytes + i * place, .iov_len = size };
        a->messages[i].msg_hdr = (struct msghdr){ .msg_name = &a->peers[i],
                                                  .msg_namelen = sizeof a->peers[i],
                                                  .msg_iov = &a->parts[i],
                                                  .msg_iovlen = 1,
                                                  .msg_control = coalesced ? &a->controls[i] : NULL,
                                                  .msg_controllen = coalesced ? sizeof a->controls[i] : 0 };
    }
}

/* How long each datagram of a message is, but for the last; 0: it is only one. */
static uint32_t run_size(struct msghdr *message)
{
    for (struct cmsghdr *c = CMSG_FIRSTHDR(message); c; c = CMSG_NXTHDR(message, c)) {
        if (c->cmsg_level != IPPROTO_UDP || c->cmsg_type != UDP_GRO) continue;
        int size;
        memcpy(&size, CMSG_DATA(c), sizeof size);
        return (uint32_t)size;
    }
    return 0;
}

/* Appends the datagrams of one message. A run has as many as the list has room for, by WR_DATAGRAMS_LEASED; would a
 * later kernel make longer ones, their ends would be lost as in a full buffer. */
static uint32_t unfold(wr_lease *lease, uint32_t count, struct mmsghdr *message, uint32_t size_max)
{
    const uint8_t *bytes = message->msg_hdr.msg_iov->iov_base;
    uint32_t left = message->msg_len, size = run_size(&message->msg_hdr);
    wr_addr peer;
    wr_sockaddr_read(&peer, message->msg_hdr.msg_name);
    if (size == 0) size = left;
    do {
        uint32_t whole = left < size ? left : size;
        lease->items[count] =
            (wr_datagram){ .data = bytes,
                           .size = whole < size_max ? whole : size_max,
                           .truncated = whole > size_max || (whole == left && message->msg_hdr.msg_flags & MSG_TRUNC),
                           .peer = peer };
        if (count > 0) lease->items[count - 1].next = &lease->items[count];
        count++;
        bytes += whole;
        left -= whole;
    } while (left > 0 && count < WR_DATAGRAMS_LEASED);
    return count;
}

/* What the network says of one datagram sent earlier comes out of any later call, and is no reason to stop. What is
 * left says that there is no memory, or that this is no socket. */
static bool is_final(int system_error)
{
    switch (system_error) {
    case ENOMEM:
    case ENOBUFS:
    case EBADF:
    case ENOTSOCK:
    case EFAULT:
    case EINVAL:
        return true;
    default:
        return false;
    }
}

/* Reads once. Fewer datagrams than there was room for have emptied the socket: so it need not be asked again. Returns
 * how many there are; 0: `*error` tells why the receive ends, if it does. */
static uint32_t read_some(wr_socket *s, wr_lease *lease, int *error)
{
    arrivals a;
    uint32_t size = s->coalesced ? RUN_BYTES : s->receive_max;
    unsigned room = wr_lease_room(size);
    lay_out(&a, lease, room, size, s->coalesced);
    int got = recvmmsg(s->fd, a.messages, room, 0, NULL);
    if (got < 0) {
        if (errno == EAGAIN) s->readable = s->ended = false;
        *error = is_final(errno) ? errno : 0; /* if not: still readable, and the next pass tries again */
        return 0;
    }
    s->readable = (unsigned)got == room;
    uint32_t count = 0;
    for (int i = 0; i < got && count < WR_DATAGRAMS_LEASED; i++)
        count = unfold(lease, count, &a.messages[i], s->receive_max);
    return count;
}

unsigned wr_epoll_serve_recv_from(wr_epoll *cq, wr_socket *s, wr_completion *out)
{
    *out = (wr_completion){ .op = s->in };
    wr_lease *lease = wr_pool_get(&cq->owner.leases);
    if (!lease) {
        out->error = WEIR_ENOMEM;
    } else {
        out->size = read_some(s, lease, &out->system_error);
        if (out->size > 0)
            out->datagrams = lease->items;
        else
            wr_pool_put(&cq->owner.leases, lease);
        if (out->size == 0 && out->system_error == 0) return 0;
        out->error = wr_error_from_system(out->system_error);
    }
    s->in->pending = false;
    s->in = NULL;
    return 1;
}

/* ---- sending ---- */

/* One system call's worth of what goes. */
typedef struct departures {
    unsigned count; /* messages */
    struct mmsghdr messages[WR_SEND_MESSAGES_MAX];
    struct sockaddr_storage peers[WR_SEND_MESSAGES_MAX];
    struct iovec parts[WR_SEND_PARTS_MAX]; /* of all messages, one a datagram */
    control controls[WR_SEND_MESSAGES_MAX];
} departures;

static bool is_same_peer(const wr_addr *a, const wr_addr *b)
{
    return a->port == b->port && a->family == b->family && a->scope == b->scope &&
           memcmp(a->ip, b->ip, sizeof a->ip) == 0;
}

/* How many datagrams from this one on are a run: to one peer and of one size, but for the last, which may be shorter.
 */
static unsigned run_length(const wr_socket *s, const wr_datagram *first, unsigned room)
{
    uint32_t total = first->size;
    unsigned count = 1;
    if (first->size == 0 || first->size > s->run_size) return 1;
    if (room > WR_RUN_MAX) room = WR_RUN_MAX;
    for (const wr_datagram *d = first->next; d && count < room; d = d->next) {
        if (d->size == 0 || d->size > first->size || !is_same_peer(&d->peer, &first->peer)) break;
        if (total + d->size > WR_DATAGRAM_MAX) break;
        total += d->size;
        count++;
        if (d->size < first->size) break;
    }
    return count;
}

static void name_run_size(struct msghdr *header, control *room, uint16_t size)
{
    header->msg_control = room;
    header->msg_controllen = CMSG_SPACE(sizeof size);
    struct cmsghdr *c = CMSG_FIRSTHDR(header);
    c->cmsg_level = IPPROTO_UDP;
    c->cmsg_type = UDP_SEGMENT;
    c->cmsg_len = CMSG_LEN(sizeof size);
    memcpy(CMSG_DATA(c), &size, sizeof size);
}

/* Port 0 is nobody's; a kernel says EINVAL, which could also mean that it will not have the run. */
static bool may_be_offered(const wr_socket *s, const wr_datagram *datagram, struct sockaddr_storage *peer,
                           socklen_t *length)
{
    *length = datagram->peer.port ? wr_sockaddr_write_peer(peer, &datagram->peer, s->ipv6) : 0;
    return *length > 0;
}

/* Up to the first one that cannot even be offered. */
static void pack(const wr_socket *s, departures *d)
{
    unsigned parts = 0;
    const wr_datagram *datagram = s->out->batch->first;
    for (d->count = 0; datagram && d->count < WR_SEND_MESSAGES_MAX && parts < WR_SEND_PARTS_MAX; d->count++) {
        struct msghdr *header = &d->messages[d->count].msg_hdr;
        socklen_t length;
        if (!may_be_offered(s, datagram, &d->peers[d->count], &length)) return;
        unsigned run = run_length(s, datagram, WR_SEND_PARTS_MAX - parts);
        *header = (struct msghdr){
            .msg_name = &d->peers[d->count], .msg_namelen = length, .msg_iov = &d->parts[parts], .msg_iovlen = run
        };
        if (run > 1) name_run_size(header, &d->controls[d->count], (uint16_t)datagram->size);
        for (unsigned i = 0; i < run; i++, datagram = datagram->next) /* a send does not write */
            d->parts[parts++] =
                (struct iovec){ .iov_base = (void *)(uintptr_t)datagram->data, .iov_len = datagram->size };
    }
}

static void pass(wr_send_batch *batch, size_t count)
{
    for (; count > 0; count--) batch->first = batch->first->next;
}

static void refuse(wr_send_batch *batch, size_t count, int error, int system_error)
{
    if (batch->refused == 0) {
        batch->error = error;
        batch->system_error = system_error;
    }
    batch->refused += (uint32_t)count;
    pass(batch, count);
}

/* The first message failed. A run may be more than the kernel, the path or the device takes: EINVAL and EMSGSIZE say
 * that its datagrams are too large for one, EIO that there shall be none. From then on they go one by one, and if they
 * are at fault themselves, that will be heard again. */
static void take_refusal(wr_socket *s, const struct msghdr *first, int system_error)
{
    bool is_run = first->msg_iovlen > 1;
    if (is_run && (system_error == EINVAL || system_error == EMSGSIZE))
        s->run_size = (uint16_t)(first->msg_iov->iov_len - 1);
    else if (is_run && system_error == EIO)
        s->run_size = 0;
    else
        refuse(s->out->batch, first->msg_iovlen, wr_error_from_system(system_error), system_error);
}

static void finish_send(wr_epoll *cq, wr_socket *s, int system_error)
{
    wr_op *op = s->out;
    s->out = NULL;
    /* Each datagram that leaves would be an event, for ever. */
    if (s->wants_out) (void)wr_epoll_register(cq, s, DATAGRAM_EVENTS);
    wr_epoll_finish_system(cq, op, system_error);
}

static void await_writable(wr_epoll *cq, wr_socket *s)
{
    s->writable = false;
    if (s->wants_out) return;
    int error = wr_epoll_register(cq, s, DATAGRAM_EVENTS | EPOLLOUT); /* reports what became possible meanwhile */
    if (error) finish_send(cq, s, error);
}

/* Offers some to the system; false: it must be waited for. */
static bool write_some(wr_socket *s)
{
    departures d;
    wr_send_batch *batch = s->out->batch;
    pack(s, &d);
    if (d.count == 0) {
        refuse(batch, 1, batch->first->peer.port == 0 ? WEIR_EINVAL : WEIR_EAFNOSUPPORT, 0);
        return true;
    }
    int took = sendmmsg(s->fd, d.messages, d.count, 0);
    if (took < 0 && errno == EAGAIN) return false;
    if (took < 0 && errno != EINTR) take_refusal(s, &d.messages[0].msg_hdr, errno);
    for (int i = 0; i < took; i++) {
        batch->sent += (uint32_t)d.messages[i].msg_hdr.msg_iovlen;
        batch->sent_bytes += d.messages[i].msg_len;
        pass(batch, d.messages[i].msg_hdr.msg_iovlen);
    }
    return true;
}

void wr_epoll_serve_send_to(wr_epoll *cq, wr_socket *s)
{
    for (int call = 0; call < WR_SEND_CALLS_MAX; call++) {
        if (!write_some(s)) {
            await_writable(cq, s);
            return;
        }
        if (!s->out->batch->first) {
            finish_send(cq, s, 0);
            return;
        }
    }
    s->writable = true;
    wr_epoll_queue(cq, s); /* enough for one pass */
}

void wr_epoll_send_to(wr_cq *base, wr_sock sock, wr_op *op, wr_send_batch *batch)
{
    wr_epoll *cq = wr_epoll_of(base);
    wr_socket *s = wr_epoll_get(cq, sock);
    assert(!s->out && batch->first && (s->kind == WR_SOCKET_NEW || s->kind == WR_SOCKET_DATAGRAM));
    wr_op_begin(op, WR_OP_SEND_TO, sock.slot);
    begin(s);
    *batch = (wr_send_batch){ .first = batch->first };
    op->batch = batch;
    s->out = op;
    wr_epoll_serve_send_to(cq, s);
}
