/* What a connection that weir_connect or a link opens needs beyond an accepted one. It lives as long as the connection.
 */
#ifndef WR_CONNECTOR_H
#define WR_CONNECTOR_H

#include <weir/connector.h>
#include <weir/link.h>

#include "core/failure.h"
#include "core/mailbox.h"
#include "core/resolver.h"
#include "core/service.h"

struct wr_connector {
    wr_message message; /* brings the connection to its worker */
    weir_conn *conn;
    weir_link *link;   /* whose it is; NULL: nobody's, or the link was closed */
    wr_lookup *lookup; /* of its name; NULL: the address is numeric */
    weir_step step;    /* RESOLVE, CONNECT or OPEN: what it is at */
    wr_service service;
    wr_endpoint remote; /* of a name: the address that it is at */
    uint32_t timeout_ms;
    uint32_t deadline_ms; /* of the worker's clock, for all addresses together */
    uint32_t next_remote; /* of the name's addresses */
    uint32_t worker;      /* that was asked for, from 1; 0: none */
    uint32_t first;       /* local address that was tried */
    uint32_t tried;       /* how many were, to this remote one */
    uint32_t local_count;
    wr_addr locals[];
};

/* wr_connector_create: what the arguments of weir_connect say, checked, and started by nobody yet. On an error
 * `failure` says more. [any] */
int wr_connector_create(wr_connector **out, weir_runtime *runtime, const char *address, const weir_protocol *protocol,
                        const weir_connect_options *options, wr_failure *failure);

/* wr_connector_copy: the same once more; NULL: no memory. [any] */
wr_connector *wr_connector_copy(weir_runtime *runtime, const wr_connector *connector);

/* wr_connector_launch: a connection begins with it, and frees it in the end; `out` may be NULL. WEIR_ELIMIT,
 * WEIR_ENOMEM: none did. [any] */
int wr_connector_launch(weir_runtime *runtime, wr_connector *connector, wr_worker *worker, weir_conn_id *out);

/* wr_connector_worker: the one that was asked for, or the one whose turn it is. [any] */
wr_worker *wr_connector_worker(weir_runtime *runtime, const wr_connector *connector);

/* wr_connector_next_local: the local address to try next; NULL: the system chooses. [worker] */
const wr_addr *wr_connector_next_local(weir_runtime *runtime, wr_connector *connector);

/* wr_connector_has_local: whether there is one that has not been tried. [worker] */
bool wr_connector_has_local(const wr_connector *connector);

/* wr_connector_next_remote: goes on to the next address of the name; there is one. [worker] */
void wr_connector_next_remote(wr_connector *connector);

/* wr_connector_has_remote: whether the name has more addresses; never with a numeric one. [worker] */
bool wr_connector_has_remote(const wr_connector *connector);

/* wr_connector_free: with its connection. [any] */
void wr_connector_free(weir_runtime *runtime, wr_connector *connector);

#endif
