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
    wr_heap_free(&runtime->heap, connector->lookup, sizeof *connector->lookup);
    wr_heap_free(&runtime->heap, connector, connector_size(connector->local_count));
}

bool wr_connector_has_local(const wr_connector *connector)
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

bool wr_connector_has_remote(const wr_connector *connector)
{
    return connector->lookup && connector->next_remote < connector->lookup->count;
}

void wr_connector_next_remote(wr_connector *connector)
{
    uint16_t port = connector->remote.addr.port;
    connector->remote.addr = connector->lookup->addresses[connector->next_remote++];
    connector->remote.addr.port = port;
    connector->tried = 0;
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

/* All of one family, which is then that of the address; WR_FAMILY_NONE: there are none. */
static const char *refuse_locals(const weir_connect_options *options, enum wr_family *family)
{
    *family = WR_FAMILY_NONE;
    if (options->local_address_count > LOCAL_ADDRESSES_MAX ||
        (options->local_address_count && !options->local_addresses))
        return "local_address_count is over 65536, or local_addresses is NULL";
    for (uint32_t i = 0; i < options->local_address_count; i++) {
        unsigned given = options->local_addresses[i].family;
        if (given != WR_FAMILY_IPV4 && given != WR_FAMILY_IPV6)
            return "a local address is of no family to connect from";
        if (i > 0 && given != (unsigned)*family) return "the local addresses are of different families";
        *family = (enum wr_family)given;
    }
    return NULL;
}

static int refuse_options(const weir_runtime *runtime, const weir_connect_options *options, const wr_endpoint *remote,
                          enum wr_family *local_family, const char **why)
{
    if (options->worker > runtime->worker_count) {
        *why = "worker is over the number of workers";
        return WEIR_EINVAL;
    }
    if (options->timeout_ms > WR_TIMEOUT_MAX) {
        *why = "timeout_ms is over 2^30";
        return WEIR_EINVAL;
    }
    *why = refuse_locals(options, local_family);
    if (*why) return WEIR_EINVAL;
    bool is_name = remote->addr.family == WR_FAMILY_NONE;
    if (*local_family != WR_FAMILY_NONE && !is_name && *local_family != (enum wr_family)remote->addr.family) {
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

wr_worker *wr_connector_worker(weir_runtime *runtime, const wr_connector *connector)
{
    if (connector->worker) return &runtime->workers[connector->worker - 1];
    uint32_t next = atomic_fetch_add_explicit(&runtime->shared.next_worker, 1, memory_order_relaxed);
    return &runtime->workers[next % runtime->worker_count];
}

/* The connection is made here, so that its id can be returned and a lack of memory shows here; then it goes to its
 * worker, which starts it. On that worker itself there is nowhere to go. */
int wr_connector_launch(weir_runtime *runtime, wr_connector *connector, wr_worker *worker, weir_conn_id *out)
{
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

static void answered(wr_worker *worker, wr_message *message)
{
    (void)worker;
    wr_conn_resolved(WR_CONTAINER_OF(message, wr_lookup, answered)->of->conn);
}

/* A connector for so many local addresses, with a lookup if `name` is not empty; NULL: no memory. */
static wr_connector *allocate(weir_runtime *runtime, uint32_t locals, const char *name, enum wr_family family)
{
    wr_connector *connector = wr_heap_alloc(&runtime->heap, connector_size(locals));
    if (!connector) return NULL;
    *connector = (wr_connector){ .message = { .run = arrive, .drop = arrive },
                                 .step = *name ? WEIR_STEP_RESOLVE : WEIR_STEP_CONNECT,
                                 .local_count = locals };
    if (!*name) return connector;
    wr_lookup *lookup = connector->lookup = wr_heap_alloc(&runtime->heap, sizeof *lookup);
    if (!lookup) {
        wr_connector_free(runtime, connector);
        return NULL;
    }
    *lookup = (wr_lookup){ .answered.run = answered, .of = connector, .family = family };
    memcpy(lookup->name, name, strlen(name));
    return connector;
}

int wr_connector_create(wr_connector **out, weir_runtime *runtime, const char *address, const weir_protocol *protocol,
                        const weir_connect_options *options, wr_failure *failure)
{
    if (!runtime || !address || !protocol) return wr_failure_option(failure, WEIR_EINVAL, "an argument is NULL");
    const char *why = NULL;
    wr_endpoint remote;
    wr_service service;
    enum wr_family local_family;
    char name[WR_NAME_MAX + 1];
    int error = wr_address_parse_remote(&remote, name, address, &why);
    if (error == 0) error = wr_service_init(&service, runtime, protocol, &why);
    if (error == 0) error = refuse_options(runtime, options, &remote, &local_family, &why);
    if (error) return wr_failure_option(failure, error, why);
    if (wr_runtime_stopping(runtime)) return wr_failure_option(failure, WEIR_ESTOPPED, "the runtime is stopping");

    wr_connector *connector = allocate(runtime, options->local_address_count, name, local_family);
    if (!connector) return wr_failure_option(failure, WEIR_ENOMEM, "out of memory");
    connector->service = service;
    connector->remote = remote;
    connector->timeout_ms = options->timeout_ms ? options->timeout_ms : DEFAULT_TIMEOUT_MS;
    connector->worker = options->worker;
    for (uint32_t i = 0; i < connector->local_count; i++) connector->locals[i] = local_of(&options->local_addresses[i]);
    *out = connector;
    return 0;
}

wr_connector *wr_connector_copy(weir_runtime *runtime, const wr_connector *from)
{
    const wr_lookup *lookup = from->lookup;
    wr_connector *connector =
        allocate(runtime, from->local_count, lookup ? lookup->name : "", lookup ? lookup->family : WR_FAMILY_NONE);
    if (!connector) return NULL;
    connector->service = from->service;
    connector->remote = from->remote;
    connector->timeout_ms = from->timeout_ms;
    connector->worker = from->worker;
    memcpy(connector->locals, from->locals, from->local_count * sizeof *from->locals);
    return connector;
}

int weir_connect(weir_runtime *runtime, const char *address, const weir_protocol *protocol,
                 const weir_connect_options *options, weir_conn_id *out)
{
    weir_connect_options none = { 0 };
    if (!options) options = &none;
    wr_failure failure = wr_failure_begin(options->failure, "connect", address);
    wr_connector *connector = NULL;
    int error = wr_connector_create(&connector, runtime, address, protocol, options, &failure);
    if (!connector) return error;
    error = wr_connector_launch(runtime, connector, wr_connector_worker(runtime, connector), out);
    if (error == 0) return 0;
    wr_connector_free(runtime, connector);
    return wr_failure_option(&failure, error, weir_strerror(error));
}
