#include "core/connector.h"

#include "core/link.h"

bool wr_connector_has_remote(const wr_connector *connector)
{
    return connector->lookup && connector->next_remote < connector->lookup->count;
}

void wr_connector_next_remote(wr_connector *connector)
{
    connector->lookup->addresses[connector->next_remote++].port = connector->conn.service->dialer->remote.port;
    connector->tried = 0;
}

static void arrive(wr_worker *worker, wr_message *message)
{
    (void)worker;
    wr_conn_start(&WR_CONTAINER_OF(message, wr_connector, message)->conn);
}

static void answered(wr_worker *worker, wr_message *message)
{
    (void)worker;
    wr_conn_resolved(&WR_CONTAINER_OF(message, wr_lookup, answered)->of->conn);
}

/* NULL: no memory. */
static wr_lookup *make_lookup(const weir_dialer *dialer)
{
    wr_lookup *lookup = wr_heap_alloc(&dialer->runtime->heap, sizeof *lookup);
    if (lookup) *lookup = (wr_lookup){ .answered.run = answered, .family = dialer->family, .name = dialer->name };
    return lookup;
}

/* Made here, on whatever thread, so that its id can be returned and a lack of memory shows. NULL: no memory. */
static inline wr_connector *make(weir_dialer *dialer, wr_worker *worker, bool is_here)
{
    wr_lookup *lookup = dialer->name ? make_lookup(dialer) : NULL;
    if (dialer->name && !lookup) return NULL;
    weir_conn *conn = wr_conn_create(worker, &dialer->service, is_here ? wr_worker_memory(worker) : NULL);
    if (!conn) {
        wr_heap_free(&dialer->runtime->heap, lookup, sizeof *lookup);
        return NULL;
    }
    wr_connector *connector = WR_CONTAINER_OF(conn, wr_connector, conn);
    connector->from_heap = !is_here;
    connector->link = NULL;
    connector->lookup = lookup;
    connector->step = lookup ? WEIR_STEP_RESOLVE : WEIR_STEP_CONNECT;
    connector->next_remote = connector->tried = 0;
    if (lookup) lookup->of = connector;
    return connector;
}

static inline int create(wr_connector **out, weir_dialer *dialer, wr_worker *worker, bool is_here)
{
    if (!wr_runtime_admit(dialer->runtime)) return WEIR_ELIMIT;
    wr_connector *connector = make(dialer, worker, is_here);
    if (!connector) {
        wr_runtime_release(dialer->runtime);
        return WEIR_ENOMEM;
    }
    wr_dialer_retain(dialer);
    atomic_fetch_add_explicit(&worker->shared.load, 1, memory_order_relaxed);
    *out = connector;
    return 0;
}

/* On its worker itself there is nowhere to go. Elsewhere it may be gone when this returns. */
static inline void launch(wr_connector *connector, wr_worker *worker, bool is_here)
{
    if (is_here && !worker->owner.stopping) {
        wr_conn_start(&connector->conn);
        return;
    }
    connector->message = (wr_message){ .run = arrive, .drop = arrive };
    wr_message_post(worker, &connector->message); /* also when stopping: on_close comes from the loop */
}

int wr_connector_dial(weir_dialer *dialer, weir_conn_id *out)
{
    wr_worker *worker = wr_dialer_worker(dialer);
    bool is_here = wr_worker_here() == worker;
    wr_connector *connector;
    int error = create(&connector, dialer, worker, is_here);
    if (error) return error;
    if (out) *out = weir_conn_get_id(&connector->conn);
    launch(connector, worker, is_here);
    return 0;
}

int wr_connector_attempt(weir_dialer *dialer, weir_link *link, wr_connector **out)
{
    int error = create(out, dialer, link->worker, true);
    if (error) return error;
    (*out)->link = link;
    launch(*out, link->worker, true);
    return 0;
}
