/* weir_connect: from an address text to a connection that its worker starts. */
#include "core/connector.h"

#include <string.h>

#include "core/address.h"
#include "core/conn.h"
#include "core/failure.h"
#include "core/runtime.h"

enum { DEFAULT_TIMEOUT_MS = 10000, LOCAL_ADDRESSES_MAX = 65536 };

static size_t connector_size(uint32_t locals)
{
    return sizeof(wr_connector) + locals * sizeof(wr_addr);
}

void wr_connector_free(weir_runtime *runtime, wr_connector *connector)
{
    wr_heap_free(&runtime->heap, connector, connector_size(connector->local_count));
}

bool wr_connector_has_more(const wr_connector *connector)
{
    return connector->tried < connector->local_count;
}

const wr_addr *wr_connector_next_local(weir_runtime *runtime, wr_connector *connector)
{
    if (connector->local_count == 0) return NULL;
    /* Connections begin in turn; each then goes round on its own, so that it comes to all of them. */
    if (connector->tried == 0)
        connector->first = atomic_fetch_add_explicit(&runtime->shared.next_local, 1, memory_order_relaxed);
    uint32_t turn = connector->first % connector->local_count + connector->tried++;
    return &connector->locals[turn % connector->local_count];
}

static void arrive(wr_worker *worker, wr_message *message)
{
    (void)worker;
    wr_conn_start(WR_CONTAINER_OF(message, wr_connector, message)->conn);
}

static wr_addr local_of(const weir_address *address)
{
    wr_addr local = { .port = address->port, .scope = address->scope, .family = (uint8_t)address->family };
    memcpy(local.ip, address->ip, sizeof local.ip);
    return local;
}

static int refuse_options(const weir_runtime *runtime, const weir_connect_options *options, const wr_endpoint *remote,
                          const char **why)
{
    if (options->worker > runtime->worker_count) {
        *why = "worker is over the number of workers";
        return WEIR_EINVAL;
    }
    if (options->timeout_ms > WR_TIMEOUT_MAX) {
        *why = "timeout_ms is over 2^30";
        return WEIR_EINVAL;
    }
    if (options->local_address_count > LOCAL_ADDRESSES_MAX ||
        (options->local_address_count && !options->local_addresses)) {
        *why = "local_address_count is over 65536, or local_addresses is NULL";
        return WEIR_EINVAL;
    }
    for (uint32_t i = 0; i < options->local_address_count; i++) {
        unsigned family = options->local_addresses[i].family;
        if (family == remote->addr.family && family != WR_FAMILY_UNIX) continue;
        *why = "a local address is of another family than the address";
        return WEIR_EINVAL;
    }
    if (remote->addr.family != WR_FAMILY_UNIX && remote->addr.port == 0) {
        *why = "port 0 cannot be connected to";
        return WEIR_EINVAL;
    }
    if (remote->addr.family == WR_FAMILY_UNIX && !(runtime->workers[0].cq->ops->caps & WR_CAP_UNIX)) {
        *why = "Unix-domain sockets are not supported on this system";
        return WEIR_ENOTSUP;
    }
    return 0;
}

static wr_worker *choose_worker(weir_runtime *runtime, uint32_t wanted)
{
    if (wanted) return &runtime->workers[wanted - 1];
    uint32_t next = atomic_fetch_add_explicit(&runtime->shared.next_worker, 1, memory_order_relaxed);
    return &runtime->workers[next % runtime->worker_count];
}

/* The connection is made here, so that its id can be returned and a lack of memory shows here; then it goes to its
 * worker, which starts it. On that worker itself there is nowhere to go. */
static int launch(weir_runtime *runtime, wr_connector *connector, uint32_t wanted_worker, weir_conn_id *out)
{
    wr_worker *worker = choose_worker(runtime, wanted_worker);
    bool is_here = wr_worker_here() == worker;
    if (!wr_runtime_admit(runtime)) return WEIR_ELIMIT;
    weir_conn *conn = wr_conn_create(worker, &connector->service, is_here ? wr_worker_memory(worker) : NULL);
    if (!conn) {
        wr_runtime_release(runtime);
        return WEIR_ENOMEM;
    }
    atomic_fetch_add_explicit(&worker->shared.load, 1, memory_order_relaxed);
    connector->conn = conn;
    connector->service.connector = connector;
    if (out) *out = weir_conn_get_id(conn);
    if (is_here && !worker->owner.stopping)
        wr_conn_start(conn);
    else
        wr_message_post(worker, &connector->message); /* also when stopping: on_close comes from the loop */
    return 0;
}

int weir_connect(weir_runtime *runtime, const char *address, const weir_protocol *protocol,
                 const weir_connect_options *options, weir_conn_id *out)
{
    weir_connect_options none = { 0 };
    if (!options) options = &none;
    wr_failure failure = wr_failure_begin(options->failure, "connect", address);
    if (!runtime || !address || !protocol) return wr_failure_option(&failure, WEIR_EINVAL, "an argument is NULL");

    const char *why = NULL;
    wr_endpoint remote;
    wr_service service;
    int error = wr_address_parse(&remote, address, &why);
    if (error == 0) error = wr_service_init(&service, runtime, protocol, &why);
    if (error == 0) error = refuse_options(runtime, options, &remote, &why);
    if (error) return wr_failure_option(&failure, error, why);
    if (wr_runtime_stopping(runtime)) return wr_failure_option(&failure, WEIR_ESTOPPED, "the runtime is stopping");

    wr_connector *connector = wr_heap_alloc(&runtime->heap, connector_size(options->local_address_count));
    if (!connector) return wr_failure_option(&failure, WEIR_ENOMEM, "out of memory");
    *connector = (wr_connector){ .message = { .run = arrive, .drop = arrive },
                                 .service = service,
                                 .remote = remote,
                                 .timeout_ms = options->timeout_ms ? options->timeout_ms : DEFAULT_TIMEOUT_MS,
                                 .local_count = options->local_address_count };
    for (uint32_t i = 0; i < connector->local_count; i++) connector->locals[i] = local_of(&options->local_addresses[i]);
    error = launch(runtime, connector, options->worker, out);
    if (error == 0) return 0;
    wr_connector_free(runtime, connector);
    return wr_failure_option(&failure, error, weir_strerror(error));
}
