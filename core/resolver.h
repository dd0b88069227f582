/* The resolver: names become addresses on a thread of its own, because the system's getaddrinfo blocks, perhaps for
 * minutes. One a runtime, started by the first lookup; in the simulator there is none, and names live in the world. */
#ifndef WR_RESOLVER_H
#define WR_RESOLVER_H

#include "core/address.h"
#include "core/mailbox.h"
#include "core/timer.h"
#include "platform/os.h"

enum { WR_LOOKUP_ADDRESSES = 16 };

/* wr_lookup: an operation, as those of a queue: from wr_resolver_ask to its one completion it must not move or be
 * freed; the completion comes as `answered`, a message to the worker that asked, also when it was cancelled. */
typedef struct wr_connector wr_connector;
typedef struct wr_lookup wr_lookup;
struct wr_lookup {
    wr_message answered; /* its `run` is the asker's */
    wr_lookup *next;     /* in the resolver's queue */
    wr_connector *of;    /* who asks */
    wr_worker *worker;
    wr_timer delay; /* of the simulator */
    bool pending;   /* from the ask to the answer; under the resolver's lock, in the simulator the worker's */
    int error;      /* 0, or WEIR_EAI_…, WEIR_ELIMIT: max_lookups wait already, WEIR_ECANCELED, WEIR_ENOMEM */
    int system_error;
    enum wr_family family; /* which the asker wants; WR_FAMILY_NONE: any */
    const char *name;      /* outlives it */
    unsigned count;
    wr_addr addresses[WR_LOOKUP_ADDRESSES]; /* without ports */
};

typedef struct wr_resolver wr_resolver;

/* wr_resolver_ask: looks the name up; never answers from inside this call. [worker] */
void wr_resolver_ask(wr_worker *worker, wr_lookup *lookup);

/* wr_resolver_cancel: the answer comes now, and is WEIR_ECANCELED unless it was on its way already. [worker] */
void wr_resolver_cancel(wr_lookup *lookup);

/* wr_lookup_expire: its time in the simulator has come. [worker] */
void wr_lookup_expire(wr_timer *timer);

/* wr_resolver_destroy: all lookups have been answered. Waits for the thread; but for one that getaddrinfo holds not
 * longer than a second: that one is left behind, and frees what is its own when it comes back. NULL is fine. */
void wr_resolver_destroy(wr_resolver *resolver);

#endif
