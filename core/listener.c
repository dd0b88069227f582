/* weir_listen: from an address text to acceptors on their workers. */
#include "core/listener.h"
#include "core/log.h"

#include <stdio.h>
#include <string.h>

#include "core/address.h"
#include "core/failure.h"
#include "core/runtime.h"

enum { DEFAULT_BACKLOG = 4096 };

static size_t listener_size(unsigned acceptors)
{
    return sizeof(weir_listener) + acceptors * sizeof(wr_acceptor);
}

void wr_listener_free(weir_listener *listener)
{
    wr_limits_destroy(&listener->limits);
    wr_heap_free(&listener->runtime->heap, listener, listener_size(listener->acceptor_count));
}

static unsigned system_caps(const weir_runtime *runtime)
{
    return runtime->workers[0].cq->ops->caps;
}

static int refuse_options(const weir_runtime *runtime, const weir_listen_options *options, const wr_endpoint *endpoint,
                          const char **why)
{
    unsigned caps = system_caps(runtime);
    if ((unsigned)options->placement > WEIR_PLACEMENT_BALANCED) {
        *why = "placement is no weir_placement";
        return WEIR_EINVAL;
    }
    if (options->backlog > INT32_MAX) {
        *why = "backlog is over 2^31";
        return WEIR_EINVAL;
    }
    if (options->ipv6_only && endpoint->addr.family != WR_FAMILY_IPV6) {
        *why = "ipv6_only goes with an IPv6 address";
        return WEIR_EINVAL;
    }
    bool can_share = (caps & WR_CAP_SHARED_PORT) && endpoint->addr.family != WR_FAMILY_UNIX;
    if ((options->placement == WEIR_PLACEMENT_SPREAD || options->share_port) && !can_share) {
        *why = "placement spread and share_port need what this system or address family lacks";
        return WEIR_ENOTSUP;
    }
    if (endpoint->addr.family == WR_FAMILY_UNIX && !(caps & WR_CAP_UNIX)) {
        *why = "Unix-domain sockets are not supported on this system";
        return WEIR_ENOTSUP;
    }
    return 0;
}

static bool spreads(const weir_runtime *runtime, const weir_listen_options *options, const wr_endpoint *endpoint)
{
    return options->placement != WEIR_PLACEMENT_BALANCED && endpoint->addr.family != WR_FAMILY_UNIX &&
           (system_caps(runtime) & WR_CAP_SHARED_PORT);
}

static weir_listener *make_listener(weir_runtime *runtime, const wr_service *service,
                                    const weir_listen_options *options, const wr_endpoint *endpoint)
{
    bool spread = spreads(runtime, options, endpoint);
    unsigned count = spread ? runtime->worker_count : 1;
    weir_listener *listener = wr_heap_alloc(&runtime->heap, listener_size(count));
    if (!listener) return NULL;
    memset(listener, 0, listener_size(count));
    listener->runtime = runtime;
    listener->service = *service;
    listener->service.listener = listener;
    listener->endpoint = *endpoint;
    listener->on_accept_error = options->on_accept_error;
    listener->spread = spread;
    listener->acceptor_count = count;
    wr_limits_init(&listener->limits, &runtime->heap);
    listener->limits.max_connections = options->max_connections;
    listener->limits.max_per_address = options->max_per_address;
    listener->limits.accept_rate = options->accept_rate;
    unsigned first = spread ? 0 : atomic_fetch_add_explicit(&runtime->shared.next_acceptor, 1, memory_order_relaxed);
    for (unsigned i = 0; i < count; i++) {
        wr_acceptor *acceptor = &listener->acceptors[i];
        acceptor->listener = listener;
        acceptor->worker = &runtime->workers[(first + i) % runtime->worker_count];
        acceptor->accept.tag = acceptor->close.tag = WR_TAG_ACCEPTOR;
        acceptor->pause.tag = WR_TIMER_ACCEPTOR;
        acceptor->attach = (wr_message){ .run = wr_acceptor_attach, .drop = wr_acceptor_drop };
        acceptor->shut = (wr_message){ .run = wr_acceptor_shut, .drop = NULL };
    }
    return listener;
}

/* Opens all sockets before any worker hears of them: all of them, or none. The first one claims the port: sharing it
 * would let a second server of the same user slip in beside the first, and take half of its players. */
static int open_sockets(weir_listener *listener, const weir_listen_options *options, wr_listen_result *result)
{
    wr_listen_params params = { .local = listener->endpoint,
                                .backlog = options->backlog ? options->backlog : DEFAULT_BACKLOG,
                                .shared_port = listener->acceptor_count > 1 || options->share_port,
                                .claims_port = listener->acceptor_count > 1 && !options->share_port,
                                .ipv6_only = options->ipv6_only };
    int error = 0;
    unsigned opened = 0;
    while (error == 0 && opened < listener->acceptor_count) {
        wr_acceptor *acceptor = &listener->acceptors[opened];
        error = wr_cq_listen(acceptor->worker->cq, &params, result);
        if (error) break;
        acceptor->detached = result->socket;
        if (result->bound.family != WR_FAMILY_NONE && result->bound.family != WR_FAMILY_UNIX)
            params.local.addr.port = result->bound.port;
        params.claims_port = false; /* it is ours */
        opened++;
    }
    if (error)
        while (opened > 0) {
            opened--;
            wr_cq_discard(listener->acceptors[opened].worker->cq, listener->acceptors[opened].detached);
        }
    listener->endpoint.addr.port = params.local.addr.port;
    return error;
}

static void publish(weir_listener *listener)
{
    weir_runtime *runtime = listener->runtime;
    wr_mutex_lock(&runtime->lock);
    listener->next = runtime->listeners;
    runtime->listeners = listener;
    wr_mutex_unlock(&runtime->lock);
    for (unsigned i = 0; i < listener->acceptor_count; i++)
        wr_message_post(listener->acceptors[i].worker, &listener->acceptors[i].attach);
    wr_log(runtime, WEIR_LOG_INFO, "listening on %s, %s", weir_listener_address(listener).text,
           listener->spread ? "a socket a worker" : "balanced over the workers");
}

int weir_listen(weir_runtime *runtime, const char *address, const weir_protocol *protocol,
                const weir_listen_options *options, weir_listener **out)
{
    weir_listen_options none = { 0 };
    if (!options) options = &none;
    wr_failure failure = wr_failure_begin(options->failure, "listen", address);
    if (!runtime || !address || !protocol) return wr_failure_option(&failure, WEIR_EINVAL, "an argument is NULL");

    const char *why = NULL;
    wr_endpoint endpoint;
    wr_service service;
    int error = wr_address_parse(&endpoint, address, &why);
    if (error == 0) error = wr_service_init(&service, runtime, protocol, &why);
    if (error == 0) error = refuse_options(runtime, options, &endpoint, &why);
    if (error) return wr_failure_option(&failure, error, why);
    if (wr_runtime_stopping(runtime)) return wr_failure_option(&failure, WEIR_ESTOPPED, "the runtime is stopping");

    weir_listener *listener = make_listener(runtime, &service, options, &endpoint);
    if (!listener) return wr_failure_option(&failure, WEIR_ENOMEM, "out of memory");
    wr_listen_result result;
    error = open_sockets(listener, options, &result);
    if (error) {
        wr_listener_free(listener);
        return wr_failure_system(&failure, error, result.step, result.system_error);
    }
    publish(listener);
    if (out) *out = listener;
    return 0;
}

weir_address weir_listener_address(const weir_listener *listener)
{
    weir_address address;
    wr_address_format(&address, &listener->endpoint.addr, listener->endpoint.path);
    return address;
}

void weir_listener_close(weir_listener *listener)
{
    if (atomic_exchange(&listener->closed, true)) return;
    for (unsigned i = 0; i < listener->acceptor_count; i++)
        wr_message_post(listener->acceptors[i].worker, &listener->acceptors[i].shut);
}
