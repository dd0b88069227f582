/* What a connection that weir_connect opens needs beyond an accepted one. It lives as long as the connection. */
#ifndef WR_CONNECTOR_H
#define WR_CONNECTOR_H

#include <weir/connector.h>

#include "core/mailbox.h"
#include "core/service.h"

struct wr_connector {
    wr_message message; /* brings the connection to its worker */
    weir_conn *conn;
    wr_service service;
    wr_endpoint remote;
    uint32_t timeout_ms;
    uint32_t first; /* local address that was tried */
    uint32_t tried; /* how many were */
    uint32_t local_count;
    wr_addr locals[];
};

/* wr_connector_next_local: the local address to try next; NULL: the system chooses. [worker] */
const wr_addr *wr_connector_next_local(weir_runtime *runtime, wr_connector *connector);

/* wr_connector_has_more: whether there is one that has not been tried. [worker] */
bool wr_connector_has_more(const wr_connector *connector);

/* wr_connector_free: with its connection. [any] */
void wr_connector_free(weir_runtime *runtime, wr_connector *connector);

#endif
