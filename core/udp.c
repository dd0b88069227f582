/* weir_udp_open: from an address text to sockets on their workers; and what any thread may do with them. */
#include "core/udp.h"

#include <assert.h>
#include <string.h>

#include "core/address.h"
#include "core/buffer.h"
#include "core/failure.h"
#include "core/log.h"
#include "core/runtime.h"

enum {
    DEFAULT_MAX_DATAGRAM = 2048,
    DEFAULT_MAX_QUEUED = 1 << 20,
    QUEUED_MAX = 1 << 30,
};

_Static_assert(sizeof(weir_udp_peer) == 24 && sizeof(wr_addr) == 24, "a peer has no padding");

/* ---- opening ---- */

static size_t udp_size(unsigned sockets)
{
    return sizeof(weir_udp) + sockets * sizeof(weir_udp_socket);
}

static void free_udp(weir_udp *udp)
{
    wr_heap_free(&udp->runtime->heap, udp, udp_size(udp->socket_count));
}

void wr_udps_free(weir_runtime *runtime)
{
    while (runtime->udps) {
        weir_udp *udp = runtime->udps;
        runtime->udps = udp->next;
        free_udp(udp);
    }
}

static bool can_share(const weir_runtime *runtime)
{
    return (runtime->workers[0].cq->ops->caps & WR_CAP_SHARED_PORT) != 0;
}

static int refuse_options(const weir_runtime *runtime, const weir_udp_options *options, const wr_endpoint *endpoint,
                          const char **why)
{
    int error = WEIR_EINVAL;
    if (endpoint->addr.family == WR_FAMILY_UNIX) {
        *why = "UDP has IPv4 and IPv6 addresses alone";
        error = WEIR_ENOTSUP;
    } else if (options->sockets > runtime->worker_count) {
        *why = "there are more sockets than workers";
    } else if (options->max_datagram > WR_DATAGRAM_MAX) {
        *why = "max_datagram is over 65507";
    } else if (options->max_queued > QUEUED_MAX) {
        *why = "max_queued is over 1 GiB";
    } else if (options->ipv6_only && endpoint->addr.family != WR_FAMILY_IPV6) {
        *why = "ipv6_only goes with an IPv6 address";
    } else if ((options->sockets > 1 || options->share_port) && !can_share(runtime)) {
        *why = "several sockets and share_port need what this system lacks";
        error = WEIR_ENOTSUP;
    } else {
        error = 0;
    }
    return error;
}

static weir_udp *make_udp(weir_runtime *runtime, const weir_udp_protocol *protocol, const weir_udp_options *options,
                          const wr_endpoint *endpoint)
{
    unsigned count = options->sockets ? options->sockets : can_share(runtime) ? runtime->worker_count : 1;
    weir_udp *udp = wr_heap_alloc(&runtime->heap, udp_size(count));
    if (!udp) return NULL;
    memset(udp, 0, udp_size(count));
    udp->runtime = runtime;
    udp->protocol = *protocol;
    udp->endpoint = *endpoint;
    udp->max_datagram = (uint16_t)(options->max_datagram ? options->max_datagram : DEFAULT_MAX_DATAGRAM);
    udp->max_queued = options->max_queued ? options->max_queued : DEFAULT_MAX_QUEUED;
    udp->socket_count = count;
    if (count < runtime->worker_count) {
        unsigned turn = atomic_fetch_add_explicit(&runtime->shared.next_acceptor, 1, memory_order_relaxed);
        udp->first_worker = turn % runtime->worker_count;
    }
    for (unsigned i = 0; i < count; i++) {
        weir_udp_socket *socket = &udp->sockets[i];
        socket->udp = udp;
        socket->worker = &runtime->workers[(udp->first_worker + i) % runtime->worker_count];
        socket->recv.tag = socket->send.tag = socket->close.tag = WR_TAG_UDP;
        socket->timer.tag = WR_TIMER_UDP;
        socket->attach = (wr_message){ .run = wr_udp_socket_attach, .drop = wr_udp_socket_drop };
        socket->shut = (wr_message){ .run = wr_udp_socket_shut };
    }
    return udp;
}

/* All of them, or none, before any worker hears of them; the first one claims the port, as a listener does. */
static int open_sockets(weir_udp *udp, const weir_udp_options *options, wr_listen_result *result)
{
    wr_udp_params params = { .local = udp->endpoint.addr,
                             .receive_bytes = options->receive_buffer,
                             .send_bytes = options->send_buffer,
                             .shared_port = udp->socket_count > 1 || options->share_port,
                             .claims_port = udp->socket_count > 1 && !options->share_port,
                             .ipv6_only = options->ipv6_only,
                             .coalesce = options->coalesce };
    int error = 0;
    unsigned opened = 0;
    while (opened < udp->socket_count) {
        weir_udp_socket *socket = &udp->sockets[opened];
        error = wr_cq_udp_open(socket->worker->cq, &params, result);
        if (error) break;
        socket->detached = result->socket;
        params.local.port = result->bound.port;
        params.claims_port = false; /* it is ours */
        opened++;
    }
    for (; error && opened > 0; opened--)
        wr_cq_discard(udp->sockets[opened - 1].worker->cq, udp->sockets[opened - 1].detached);
    udp->endpoint.addr.port = params.local.port;
    return error;
}

static void publish(weir_udp *udp)
{
    weir_runtime *runtime = udp->runtime;
    wr_mutex_lock(&runtime->lock);
    udp->next = runtime->udps;
    runtime->udps = udp;
    wr_mutex_unlock(&runtime->lock);
    for (unsigned i = 0; i < udp->socket_count; i++) wr_message_post(udp->sockets[i].worker, &udp->sockets[i].attach);
    wr_log(runtime, WEIR_LOG_INFO, "UDP on %s, %u sockets", weir_udp_address(udp).text, udp->socket_count);
}

int weir_udp_open(weir_runtime *runtime, const char *address, const weir_udp_protocol *protocol,
                  const weir_udp_options *options, weir_udp **out)
{
    weir_udp_options none = { 0 };
    if (!options) options = &none;
    wr_failure failure = wr_failure_begin(options->failure, "UDP on", address);
    if (!runtime || !address || !protocol) return wr_failure_option(&failure, WEIR_EINVAL, "an argument is NULL");

    const char *why = NULL;
    wr_endpoint endpoint;
    int error = wr_address_parse(&endpoint, address, &why);
    if (error == 0) error = refuse_options(runtime, options, &endpoint, &why);
    if (error) return wr_failure_option(&failure, error, why);
    if (wr_runtime_stopping(runtime)) return wr_failure_option(&failure, WEIR_ESTOPPED, "the runtime is stopping");

    weir_udp *udp = make_udp(runtime, protocol, options, &endpoint);
    if (!udp) return wr_failure_option(&failure, WEIR_ENOMEM, "out of memory");
    wr_listen_result result;
    error = open_sockets(udp, options, &result);
    if (error) {
        free_udp(udp);
        return wr_failure_system(&failure, error, result.step, result.system_error);
    }
    publish(udp);
    if (out) *out = udp;
    return 0;
}

weir_address weir_udp_address(const weir_udp *udp)
{
    weir_address address;
    wr_address_format(&address, &udp->endpoint.addr, NULL);
    return address;
}

void weir_udp_close(weir_udp *udp)
{
    if (atomic_exchange(&udp->closed, true)) return;
    for (unsigned i = 0; i < udp->socket_count; i++) wr_message_post(udp->sockets[i].worker, &udp->sockets[i].shut);
}

/* ---- sending ---- */

/* A datagram on its way to the socket that is to send it. */
typedef struct wr_udp_request {
    wr_message message;
    weir_udp_socket *socket;
    wr_addr peer;
    weir_buf *buf; /* NULL: the bytes follow */
    uint32_t size;
    uint8_t bytes[];
} wr_udp_request;

static void free_request(wr_worker *worker, wr_message *message)
{
    wr_udp_request *request = WR_CONTAINER_OF(message, wr_udp_request, message);
    size_t size = sizeof *request + (request->buf ? 0 : request->size);
    weir_buf_release(request->buf);
    wr_heap_free(&worker->runtime->heap, request, size);
}

static void run_request(wr_worker *worker, wr_message *message)
{
    wr_udp_request *request = WR_CONTAINER_OF(message, wr_udp_request, message);
    atomic_fetch_sub_explicit(&request->socket->shared.queued, wr_udp_charge(request->size), memory_order_relaxed);
    int error = wr_udp_enqueue(request->socket, &request->peer, request->bytes, request->size, request->buf);
    if (error == WEIR_ECLOSED) wr_add(&worker->counters.udp_dropped, 1);
    free_request(worker, message);
}

/* Counts the datagram to what is on the way to the socket, unless its limit forbids. */
static bool reserve(weir_udp_socket *socket, size_t size)
{
    uint32_t queued = atomic_load_explicit(&socket->shared.queued, memory_order_relaxed);
    do {
        if (queued + (uint64_t)wr_udp_charge(size) > socket->udp->max_queued) return false;
    } while (!atomic_compare_exchange_weak_explicit(&socket->shared.queued, &queued, queued + wr_udp_charge(size),
                                                    memory_order_relaxed, memory_order_relaxed));
    return true;
}

static int drop(weir_udp_socket *socket, int error)
{
    atomic_fetch_add_explicit(&socket->worker->shared.udp_dropped, 1, memory_order_relaxed);
    return error;
}

static int hand_over(weir_udp_socket *socket, const weir_udp_peer *to, const void *bytes, size_t size, weir_buf *buf)
{
    if (!reserve(socket, size)) return drop(socket, WEIR_ELIMIT);
    const wr_heap *heap = &socket->udp->runtime->heap;
    wr_udp_request *request = wr_heap_alloc(heap, sizeof *request + (buf ? 0 : size));
    if (!request) {
        atomic_fetch_sub_explicit(&socket->shared.queued, wr_udp_charge(size), memory_order_relaxed);
        return drop(socket, WEIR_ENOMEM);
    }
    *request = (wr_udp_request){ .message = { .run = run_request, .drop = free_request },
                                 .socket = socket,
                                 .peer = wr_udp_addr(to),
                                 .buf = weir_buf_retain(buf),
                                 .size = (uint32_t)size };
    if (!buf && size > 0) memcpy(request->bytes, bytes, size);
    wr_message_post(socket->worker, &request->message);
    return 0;
}

/* FNV-1a. */
static uint32_t hash(const weir_udp_peer *peer)
{
    uint8_t key[sizeof peer->ip + sizeof peer->port];
    uint32_t value = 2166136261u;
    memcpy(key, peer->ip, sizeof peer->ip);
    memcpy(key + sizeof peer->ip, &peer->port, sizeof peer->port);
    for (size_t i = 0; i < sizeof key; i++) value = (value ^ key[i]) * 16777619u;
    return value;
}

/* This worker's own socket; NULL outside of callbacks, or if it has none. */
static weir_udp_socket *socket_here(weir_udp *udp)
{
    const wr_worker *here = wr_worker_here();
    if (!here || here->runtime != udp->runtime) return NULL;
    unsigned workers = udp->runtime->worker_count;
    unsigned i = (here->index + workers - udp->first_worker) % workers;
    return i < udp->socket_count ? &udp->sockets[i] : NULL;
}

static int check(const weir_udp_peer *to, const void *bytes, size_t size, bool is_buf)
{
    if (!to || (!bytes && (is_buf || size > 0))) return WEIR_EINVAL;
    return size > WR_DATAGRAM_MAX ? WEIR_EMSGSIZE : 0;
}

static int send_here(weir_udp_socket *socket, const weir_udp_peer *to, const void *bytes, size_t size, weir_buf *buf)
{
    assert(wr_worker_here() == socket->worker);
    wr_addr peer = wr_udp_addr(to);
    return wr_udp_enqueue(socket, &peer, bytes, (uint32_t)size, buf);
}

static int send_anywhere(weir_udp *udp, const weir_udp_peer *to, const void *bytes, size_t size, weir_buf *buf)
{
    weir_udp_socket *here = socket_here(udp);
    if (here) return send_here(here, to, bytes, size, buf);
    if (atomic_load_explicit(&udp->closed, memory_order_relaxed)) return WEIR_ECLOSED;
    return hand_over(&udp->sockets[hash(to) % udp->socket_count], to, bytes, size, buf);
}

int weir_udp_send(weir_udp_socket *socket, const weir_udp_peer *to, const void *bytes, size_t size)
{
    int error = check(to, bytes, size, false);
    return error ? error : send_here(socket, to, bytes, size, NULL);
}

int weir_udp_send_buf(weir_udp_socket *socket, const weir_udp_peer *to, weir_buf *buf)
{
    int error = check(to, buf, buf ? buf->size : 0, true);
    return error ? error : send_here(socket, to, NULL, buf->size, buf);
}

int weir_udp_send_to(weir_udp *udp, const weir_udp_peer *to, const void *bytes, size_t size)
{
    int error = check(to, bytes, size, false);
    return error ? error : send_anywhere(udp, to, bytes, size, NULL);
}

int weir_udp_send_buf_to(weir_udp *udp, const weir_udp_peer *to, weir_buf *buf)
{
    int error = check(to, buf, buf ? buf->size : 0, true);
    return error ? error : send_anywhere(udp, to, NULL, buf->size, buf);
}

/* ---- the rest ---- */

weir_udp_peer weir_udp_peer_of(const weir_address *address)
{
    weir_udp_peer peer = { .family = WEIR_FAMILY_NONE };
    if (address->family != WEIR_FAMILY_IPV4 && address->family != WEIR_FAMILY_IPV6) return peer;
    memcpy(peer.ip, address->ip, sizeof peer.ip);
    peer.scope = address->scope;
    peer.port = address->port;
    peer.family = (uint8_t)address->family;
    return peer;
}

weir_address weir_udp_peer_address(const weir_udp_peer *peer)
{
    weir_address address;
    wr_addr addr = wr_udp_addr(peer);
    wr_address_format(&address, &addr, NULL);
    return address;
}

void *weir_udp_socket_data(const weir_udp_socket *socket)
{
    return socket->udp->protocol.data;
}

weir_udp *weir_udp_socket_port(const weir_udp_socket *socket)
{
    return socket->udp;
}

weir_runtime *weir_udp_socket_runtime(const weir_udp_socket *socket)
{
    return socket->udp->runtime;
}

unsigned weir_udp_socket_worker(const weir_udp_socket *socket)
{
    return socket->worker->index;
}
