/* weir_dialer, inside: what weir_connect's arguments say, read and checked once. The embedder may hold it, a link does,
 * and each connection that was opened with it: the last one frees it. All but `references` and the list stays as it is
 * from its making on. */
#ifndef WR_DIALER_H
#define WR_DIALER_H

#include <stdatomic.h>
#include <weir/connector.h>

#include "core/failure.h"
#include "core/runtime.h"
#include "core/service.h"

struct weir_dialer {
    weir_runtime *runtime;
    weir_dialer *next, **link;   /* in the runtime's list; under its lock, and only of those that the embedder holds */
    _Atomic uint32_t references; /* of all who hold it */
    uint32_t timeout_ms;
    uint32_t worker; /* that was asked for, from 1; 0: none */
    uint32_t local_count;
    const char *name;      /* to be looked up for each connection; NULL: the address is numeric, or a path */
    enum wr_family family; /* of a name: that of the local addresses; WR_FAMILY_NONE: any */
    const char *path;      /* WR_FAMILY_UNIX; else NULL */
    wr_addr remote;        /* of a name: its port alone */
    size_t size;           /* of this block: `locals`, and then the name or the path */
    wr_service service;    /* of its connections */
    wr_addr locals[];
};

/* wr_dialer_create: one, held by the caller. On an error `failure` says more. [any] */
int wr_dialer_create(weir_dialer **out, weir_runtime *runtime, const char *address, const weir_protocol *protocol,
                     const weir_connect_options *options, wr_failure *failure);

/* wr_dialer_retain: held by one more. [any] */
static inline void wr_dialer_retain(weir_dialer *dialer)
{
    atomic_fetch_add_explicit(&dialer->references, 1, memory_order_relaxed);
}

/* wr_dialer_free: for wr_dialer_release: nobody holds it. */
void wr_dialer_free(weir_dialer *dialer);

/* wr_dialer_release: no longer held by the caller. [any] */
static inline void wr_dialer_release(weir_dialer *dialer)
{
    if (atomic_fetch_sub_explicit(&dialer->references, 1, memory_order_acq_rel) == 1) wr_dialer_free(dialer);
}

/* wr_dialer_worker: the one that was asked for, or the one whose turn it is. [any] */
static inline wr_worker *wr_dialer_worker(const weir_dialer *dialer)
{
    weir_runtime *runtime = dialer->runtime;
    if (dialer->worker) return &runtime->workers[dialer->worker - 1];
    uint32_t next = atomic_fetch_add_explicit(&runtime->shared.next_worker, 1, memory_order_relaxed);
    return &runtime->workers[next % runtime->worker_count];
}

/* wr_dialers_free: the runtime's end: those that the embedder has not destroyed. */
void wr_dialers_free(weir_runtime *runtime);

#endif
