/* weir_runtime, inside. */
#ifndef WR_RUNTIME_H
#define WR_RUNTIME_H

#include <stdatomic.h>
#include <weir/connector.h>
#include <weir/group.h>
#include <weir/listener.h>
#include <weir/runtime.h>
#include <weir/strand.h>
#include <weir/udp.h>

#include "core/memory.h"
#include "core/resolver.h"
#include "core/worker.h"
#include "platform/os.h"

struct weir_runtime {
    weir_runtime_options options; /* with the defaults filled in */
    wr_heap heap;
    wr_worker *workers;
    unsigned worker_count;
    struct {
        bool started;     /* by run, start or the first poll */
        unsigned threads; /* running in the background */
        bool watching_signals;
    } owner;
    struct {
        _Atomic bool stopping;          /* weir_runtime_stop was called */
        _Atomic bool ended;             /* the workers have ended */
        _Atomic unsigned undrained;     /* workers that still have connections, acceptors or UDP sockets */
        _Atomic uint32_t connections;   /* against max_connections */
        _Atomic uint32_t next_worker;   /* weir_connect goes round */
        _Atomic uint32_t next_acceptor; /* balanced listeners go round */
        _Atomic uint32_t next_local;    /* local addresses go round */
        _Atomic uint32_t next_strand;   /* strands that other threads post to go round */
    } shared;
    wr_mutex lock; /* for the lists of listeners, inboxes, strands, groups, UDP ports and dialers, and for the
                      resolver's birth */
    weir_listener *listeners;
    weir_inbox *inboxes;
    weir_strand *strands;
    weir_group *groups;
    weir_udp *udps;
    weir_dialer *dialers;
    wr_resolver *resolver; /* NULL: no name was looked up yet */
};

/* wr_runtime_release: gives the place of a connection back. [any] */
static inline void wr_runtime_release(weir_runtime *runtime)
{
    atomic_fetch_sub_explicit(&runtime->shared.connections, 1, memory_order_relaxed);
}

/* wr_runtime_admit: takes a place under max_connections; false if there is none. [any] */
static inline bool wr_runtime_admit(weir_runtime *runtime)
{
    uint32_t before = atomic_fetch_add_explicit(&runtime->shared.connections, 1, memory_order_relaxed);
    if (before < runtime->options.max_connections) return true;
    wr_runtime_release(runtime);
    return false;
}

/* wr_runtime_stopping: whether weir_runtime_stop was called. [any] */
static inline bool wr_runtime_stopping(const weir_runtime *runtime)
{
    return atomic_load_explicit(&runtime->shared.stopping, memory_order_acquire);
}

/* wr_runtime_draw: a number from 0 to bound - 1, bound at least 1: the simulator's, or one that nobody can foresee.
 * [any]
 */
uint64_t wr_runtime_draw(const weir_runtime *runtime, uint64_t bound);

/* wr_runtime_has_ended: whether the workers have ended, after a stop and the drain. [any] */
bool wr_runtime_has_ended(const weir_runtime *runtime);

/* wr_runtime_check_ended: one of its workers has finished where no thread runs them. [owner] */
void wr_runtime_check_ended(weir_runtime *runtime);

/* wr_runtime_worker_drained: one more worker has nothing left; the last one tells all to finish. [worker] */
void wr_runtime_worker_drained(weir_runtime *runtime);

#endif
