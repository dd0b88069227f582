/* weir_timer, inside: the embedder's timers, of a worker or of a connection. */
#ifndef WR_ALARM_H
#define WR_ALARM_H

#include <weir/timer.h>

#include "core/timer.h"
#include "core/worker.h"

struct weir_timer {
    wr_timer timer;
    wr_worker *worker;
    weir_conn *conn;   /* whose it is; NULL: the worker's */
    weir_timer *next;  /* in the list of the worker's, or of the connection's */
    weir_timer **link; /* what points here; NULL while it has not come to its worker */
    uint64_t repeat_ms;
    union {
        weir_timer_fn of_worker;
        weir_conn_timer_fn of_conn;
    } run;
    void *data;
    bool running : 1;
    bool ended : 1;   /* to be freed: when it has run, or has come to its worker */
    bool settled : 1; /* its worker has armed or cancelled it, before it came there */
    bool owned : 1;   /* the embedder has it, and frees it */
};

/* wr_alarm_expire: its time has come. [worker] */
void wr_alarm_expire(wr_timer *timer);

/* wr_alarms_drop: frees all of a list: its connection has gone, or its worker has ended. */
void wr_alarms_drop(weir_timer *const *list);

#endif
