/* weir_link, inside.
 *
 * Its worker alone moves it. An attempt is a connection of its dialer's, whose connector knows the link; the
 * connection tells it what becomes of it. Weir_link_close only marks it and posts `end`, so nothing is freed while a
 * callback of its runs. */
#ifndef WR_LINK_H
#define WR_LINK_H

#include <stdatomic.h>
#include <weir/link.h>

#include "core/connector.h"
#include "core/timer.h"
#include "core/worker.h"

struct weir_link {
    wr_message start, end;
    wr_worker *worker;
    weir_dialer *dialer; /* of each attempt */
    weir_link_options options;
    wr_mutex lock; /* of `status`, which the worker writes and anyone reads */
    weir_link_status status;
    _Atomic weir_conn_id conn; /* status.conn, for those who only want to send */
    _Atomic bool closed;
    struct {
        wr_connector *attempt; /* of the connection that there is, in whatever state; NULL: none */
        wr_timer timer;        /* WAITING: the next attempt; UP: the back-off begins anew */
        weir_link *next, **link;
        uint64_t due_ms; /* of the wheel: the next attempt */
    } owner;
    char address[]; /* for failures */
};

/* wr_link_resolved: the addresses of the name are known, the first is being connected to. [worker] */
void wr_link_resolved(weir_link *link);

/* wr_link_up: the connection is there, right before its on_open. [worker] */
void wr_link_up(weir_link *link, const weir_conn *conn);

/* wr_link_down: the connection has ended, at that step, and is gone: the link waits for its next attempt, or ends.
 * [worker] */
void wr_link_down(weir_link *link, weir_step step, weir_reason reason);

/* wr_link_expire: its timer has fired. [worker] */
void wr_link_expire(wr_timer *timer);

/* wr_links_stop: the runtime is stopping: those that wait end; the others do with their connections. [worker] */
void wr_links_stop(wr_worker *worker);

/* wr_links_drop: the worker has ended: frees those that nobody closed. */
void wr_links_drop(wr_worker *worker);

#endif
