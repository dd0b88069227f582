/* weir_listener, inside: one or more acceptors, each a listening socket on one worker. */
#ifndef WR_LISTENER_H
#define WR_LISTENER_H

#include <stdatomic.h>
#include <weir/listener.h>

#include "core/limits.h"
#include "core/service.h"
#include "core/timer.h"
#include "core/worker.h"

/* A listening socket and the worker that accepts from it. What is desired (open, paused) and what is in flight (the
 * operations) are brought together in one place, as for a connection. */
struct wr_acceptor {
    weir_listener *listener;
    wr_worker *worker;
    wr_acceptor *next; /* of the worker's acceptors */
    wr_detached detached;
    wr_sock sock; /* once the queue has adopted it */
    wr_op accept, close;
    wr_timer pause;
    wr_message attach, shut;
    bool attached; /* one of its worker's */
    bool closing;
    bool paused; /* until the timer fires */
};

struct weir_listener {
    weir_runtime *runtime;
    weir_listener *next; /* of the runtime's listeners */
    wr_service service;
    wr_limits limits;
    void (*on_accept_error)(weir_listener *listener, weir_reason reason);
    wr_endpoint endpoint; /* as bound */
    bool spread;          /* a connection stays on the worker that accepted it */
    _Atomic bool closed;  /* weir_listener_close was called */
    unsigned acceptor_count;
    wr_acceptor acceptors[];
};

/* acceptor.c */

/* The acceptor's messages: it comes to its worker; its worker has ended first; it is to be closed. */
void wr_acceptor_attach(wr_worker *worker, wr_message *message);
void wr_acceptor_drop(wr_worker *worker, wr_message *message);
void wr_acceptor_shut(wr_worker *worker, wr_message *message);

/* wr_acceptor_complete: one of its operations has completed. [worker] */
void wr_acceptor_complete(wr_acceptor *acceptor, const wr_completion *completion);

/* wr_acceptor_expire: its pause is over. [worker] */
void wr_acceptor_expire(wr_acceptor *acceptor);

/* wr_acceptor_close: accepts no more. [worker] */
void wr_acceptor_close(wr_acceptor *acceptor);

/* listener.c */

/* wr_listener_free: its acceptors have closed, or their workers have ended. [owner] */
void wr_listener_free(weir_listener *listener);

#endif
