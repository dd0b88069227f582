/* weir_dialer, and weir_connect, which makes one for a single connection. */
#include "core/dialer.h"

#include <string.h>

#include "core/address.h"
#include "core/connector.h"

enum { DEFAULT_TIMEOUT_MS = 10000, LOCAL_ADDRESSES_MAX = 65536 };

/* ---- what is refused ---- */

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

static int refuse_options(const weir_runtime *runtime, const weir_connect_options *options, const wr_addr *remote,
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
    bool is_name = remote->family == WR_FAMILY_NONE;
    if (*local_family != WR_FAMILY_NONE && !is_name && *local_family != (enum wr_family)remote->family) {
        *why = "a local address is of another family than the address";
        return WEIR_EINVAL;
    }
    if (remote->family != WR_FAMILY_UNIX && remote->port == 0) {
        *why = "port 0 cannot be connected to";
        return WEIR_EINVAL;
    }
    if (remote->family == WR_FAMILY_UNIX && !(runtime->workers[0].cq->ops->caps & WR_CAP_UNIX)) {
        *why = "Unix-domain sockets are not supported on this system";
        return WEIR_ENOTSUP;
    }
    return 0;
}

/* ---- birth and end ---- */

static wr_addr local_of(const weir_address *address)
{
    wr_addr local = { .port = address->port, .scope = address->scope, .family = (uint8_t)address->family };
    memcpy(local.ip, address->ip, sizeof local.ip);
    return local;
}

/* One without a service yet. NULL: no memory. */
static weir_dialer *allocate(weir_runtime *runtime, const wr_endpoint *remote, const char *name,
                             const weir_connect_options *options)
{
    const char *text = remote->addr.family == WR_FAMILY_UNIX ? remote->path : name;
    size_t locals_size = options->local_address_count * sizeof(wr_addr);
    size_t text_size = strlen(text) + 1, size = sizeof(weir_dialer) + locals_size + text_size;
    weir_dialer *dialer = wr_heap_alloc(&runtime->heap, size);
    if (!dialer) return NULL;
    dialer->runtime = runtime;
    dialer->link = NULL;
    atomic_init(&dialer->references, 1);
    dialer->timeout_ms = options->timeout_ms ? options->timeout_ms : DEFAULT_TIMEOUT_MS;
    dialer->worker = options->worker;
    dialer->local_count = options->local_address_count;
    dialer->remote = remote->addr;
    dialer->size = size;
    for (uint32_t i = 0; i < dialer->local_count; i++) dialer->locals[i] = local_of(&options->local_addresses[i]);
    char *copy = memcpy((char *)dialer->locals + locals_size, text, text_size);
    dialer->name = *name ? copy : NULL;
    dialer->path = dialer->remote.family == WR_FAMILY_UNIX ? copy : NULL;
    return dialer;
}

int wr_dialer_create(weir_dialer **out, weir_runtime *runtime, const char *address, const weir_protocol *protocol,
                     const weir_connect_options *options, wr_failure *failure)
{
    if (!runtime || !address || !protocol) return wr_failure_option(failure, WEIR_EINVAL, "an argument is NULL");
    const char *why = NULL;
    wr_endpoint remote;
    enum wr_family local_family;
    char name[WR_NAME_MAX + 1];
    int error = wr_address_parse_remote(&remote, name, address, &why);
    if (error == 0) error = refuse_options(runtime, options, &remote.addr, &local_family, &why);
    if (error) return wr_failure_option(failure, error, why);
    if (wr_runtime_stopping(runtime)) return wr_failure_option(failure, WEIR_ESTOPPED, "the runtime is stopping");
    weir_dialer *dialer = allocate(runtime, &remote, name, options);
    if (!dialer) return wr_failure_option(failure, WEIR_ENOMEM, "out of memory");
    dialer->family = local_family;
    error = wr_service_init(&dialer->service, runtime, protocol, &why);
    dialer->service.dialer = dialer;
    if (error) {
        wr_dialer_release(dialer);
        return wr_failure_option(failure, error, why);
    }
    *out = dialer;
    return 0;
}

void wr_dialer_free(weir_dialer *dialer)
{
    wr_heap_free(&dialer->runtime->heap, dialer, dialer->size);
}

void wr_dialers_free(weir_runtime *runtime)
{
    while (runtime->dialers) {
        weir_dialer *dialer = runtime->dialers;
        runtime->dialers = dialer->next;
        wr_dialer_release(dialer);
    }
}

/* ---- the embedder's ---- */

int weir_connect(weir_runtime *runtime, const char *address, const weir_protocol *protocol,
                 const weir_connect_options *options, weir_conn_id *out)
{
    const weir_connect_options none = { 0 };
    if (!options) options = &none;
    wr_failure failure = wr_failure_begin(options->failure, "connect", address);
    weir_dialer *dialer = NULL;
    int error = wr_dialer_create(&dialer, runtime, address, protocol, options, &failure);
    if (!dialer) return error;
    error = wr_connector_dial(dialer, out);
    wr_dialer_release(dialer);
    return error ? wr_failure_option(&failure, error, weir_strerror(error)) : 0;
}

int weir_dialer_create(weir_runtime *runtime, const char *address, const weir_protocol *protocol,
                       const weir_connect_options *options, weir_dialer **out)
{
    const weir_connect_options none = { 0 };
    if (out) *out = NULL;
    if (!options) options = &none;
    wr_failure failure = wr_failure_begin(options->failure, "connect", address);
    if (!out) return wr_failure_option(&failure, WEIR_EINVAL, "an argument is NULL");
    weir_dialer *dialer = NULL;
    int error = wr_dialer_create(&dialer, runtime, address, protocol, options, &failure);
    if (!dialer) return error;
    wr_mutex_lock(&runtime->lock);
    dialer->next = runtime->dialers;
    dialer->link = &runtime->dialers;
    if (dialer->next) dialer->next->link = &dialer->next;
    runtime->dialers = dialer;
    wr_mutex_unlock(&runtime->lock);
    *out = dialer;
    return 0;
}

int weir_dialer_connect(weir_dialer *dialer, weir_conn_id *out)
{
    if (!dialer) return WEIR_EINVAL;
    if (wr_runtime_stopping(dialer->runtime)) return WEIR_ESTOPPED;
    return wr_connector_dial(dialer, out);
}

void weir_dialer_destroy(weir_dialer *dialer)
{
    if (!dialer) return;
    wr_mutex *lock = &dialer->runtime->lock;
    wr_mutex_lock(lock);
    *dialer->link = dialer->next;
    if (dialer->next) dialer->next->link = dialer->link;
    wr_mutex_unlock(lock);
    wr_dialer_release(dialer);
}
