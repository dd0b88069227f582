/* What a callback may ask of its connection. */
#include <assert.h>
#include <string.h>

#include "core/address.h"
#include "core/conn.h"
#include "core/connector.h"

void *weir_conn_session(weir_conn *conn)
{
    return (char *)conn + WR_SESSION_OFFSET;
}

void *weir_conn_data(const weir_conn *conn)
{
    return wr_conn_protocol(conn)->data;
}

weir_conn_id weir_conn_get_id(const weir_conn *conn)
{
    uint32_t generation = atomic_load_explicit(&conn->slot->shared.generation, memory_order_relaxed);
    return wr_id_make(conn->worker->index, conn->slot->number, generation);
}

weir_runtime *weir_conn_runtime(const weir_conn *conn)
{
    return conn->worker->runtime;
}

unsigned weir_conn_worker(const weir_conn *conn)
{
    return conn->worker->index;
}

wr_addr wr_conn_peer(const weir_conn *conn)
{
    const wr_connector *connector = wr_connector_of(conn);
    if (connector) return *wr_connector_remote(connector);
    if (conn->peer.family == WR_FAMILY_IPV6) return WR_CONTAINER_OF((uintptr_t)conn, wr_conn_ipv6, conn)->peer;
    wr_addr peer = { .port = conn->peer.port, .family = conn->peer.family };
    memcpy(peer.ip, conn->peer.ip, sizeof conn->peer.ip);
    return peer;
}

weir_address weir_conn_peer(const weir_conn *conn)
{
    weir_address address;
    const weir_dialer *dialer = conn->service->dialer;
    const wr_addr peer = wr_conn_peer(conn);
    wr_address_format(&address, &peer, dialer ? dialer->path : NULL);
    return address;
}

weir_address weir_conn_local(const weir_conn *conn)
{
    assert(wr_worker_here() == conn->worker);
    weir_address address;
    wr_addr local = { .family = WR_FAMILY_NONE };
    if (conn->state != WR_CONN_CONNECTING && conn->state != WR_CONN_GONE)
        wr_cq_local(conn->worker->cq, conn->sock, &local);
    wr_address_format(&address, &local, NULL);
    return address;
}
