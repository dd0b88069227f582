/* What a connection that was opened has beyond an accepted one: where its connecting is at. It stands in front of the
 * connection, in one block with it. */
#ifndef WR_CONNECTOR_H
#define WR_CONNECTOR_H

#include <assert.h>
#include <weir/link.h>

#include "core/conn.h"
#include "core/dialer.h"
#include "core/mailbox.h"
#include "core/resolver.h"

struct wr_connector {
    wr_message message;          /* brings the connection to its worker */
    weir_link *link;             /* whose it is; NULL: nobody's, or the link was closed */
    wr_lookup *lookup;           /* of its name; NULL: it has none */
    weir_step step;              /* RESOLVE, CONNECT or OPEN: what it is at */
    uint32_t deadline_ms;        /* of the worker's clock, for all addresses together */
    uint32_t next_remote;        /* of the name's addresses */
    uint32_t first;              /* local address that was tried */
    uint32_t tried;              /* how many were, to this remote one */
    bool from_heap;              /* made on another thread, with the runtime's memory */
    _Alignas(16) weir_conn conn; /* last: its session follows it */
};

/* wr_connector_dial: a connection of the dialer's begins; `out` may be NULL. WEIR_ELIMIT, WEIR_ENOMEM. [any] */
int wr_connector_dial(weir_dialer *dialer, weir_conn_id *out);

/* wr_connector_attempt: likewise, of a link's dialer, on the link's worker, which is this one; it has not ended when
 * this returns. WEIR_ELIMIT, WEIR_ENOMEM. [worker] */
int wr_connector_attempt(weir_dialer *dialer, weir_link *link, wr_connector **out);

/* wr_connector_at: of a connection that was opened. */
static inline wr_connector *wr_connector_at(weir_conn *conn)
{
    assert(conn->service->dialer);
    return WR_CONTAINER_OF(conn, wr_connector, conn);
}

/* wr_connector_of: of any connection; NULL: it was accepted. */
static inline wr_connector *wr_connector_of(const weir_conn *conn)
{
    return conn->service->dialer ? WR_CONTAINER_OF((uintptr_t)conn, wr_connector, conn) : NULL;
}

/* wr_connector_next_local: the local address to try next; NULL: the system chooses. Connections begin in turn; each
 * then goes round on its own, so that it comes to all of them. [worker] */
static inline const wr_addr *wr_connector_next_local(wr_connector *connector)
{
    const weir_dialer *dialer = connector->conn.service->dialer;
    uint32_t count = dialer->local_count;
    if (count == 0) return NULL;
    if (connector->tried == 0)
        connector->first =
            atomic_fetch_add_explicit(&dialer->runtime->shared.next_local, 1, memory_order_relaxed) % count;
    uint32_t turn = connector->first + connector->tried++;
    return &dialer->locals[turn < count ? turn : turn - count];
}

/* wr_connector_has_local: whether there is one that has not been tried. [worker] */
static inline bool wr_connector_has_local(const wr_connector *connector)
{
    return connector->tried < connector->conn.service->dialer->local_count;
}

/* wr_connector_remote: the address that it is at; of a name that has none yet, the port alone. [worker] */
static inline const wr_addr *wr_connector_remote(const wr_connector *connector)
{
    if (connector->next_remote == 0) return &connector->conn.service->dialer->remote;
    return &connector->lookup->addresses[connector->next_remote - 1];
}

/* wr_connector_next_remote: goes on to the next address of the name; there is one. [worker] */
void wr_connector_next_remote(wr_connector *connector);

/* wr_connector_has_remote: whether the name has more addresses; never with a numeric one. [worker] */
bool wr_connector_has_remote(const wr_connector *connector);

#endif
