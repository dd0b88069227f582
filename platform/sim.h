/* The simulator, as core and the tests see it beside the queue (cq.h): a world with a clock, a network and a seed.
 *
 * wr_cq_sim is a backend like the others; its queues live in a world, and what they do there depends on its seed and on
 * nothing else. Two ways to use one:
 *
 *   driven     core attaches a step function to each queue, and wr_sim_step decides what happens next: something
 *              on the network, or one of the queues' owners. A wait of such a queue only takes what is there.
 *   by itself  a queue that nobody attached to moves the world on in wr_cq_wait, until it has a completion or its
 * deadline comes. So tests and manual runtimes use it.
 *
 * A world is one thread's, unless wr_sim_options.threads says otherwise. Times here are nanoseconds since its start;
 * the clock of its queues is WR_SIM_EPOCH_NS ahead, as it may never be 0. */
#ifndef WR_SIM_H
#define WR_SIM_H

#include "platform/cq.h"

extern const struct wr_cq_ops wr_cq_sim;

/* wr_sim_broken: a rule of the contract is broken: prints which, and aborts. Not an assertion of ours, so it holds in
 * every build: where a kernel would let a caller's mistake pass, the simulator ends the program. */
_Noreturn void wr_sim_broken(const char *rule);

#define WR_SIM_EPOCH_NS UINT64_C(1000000000)
#define WR_SIM_FOREVER  UINT64_MAX

/* What can be made to go wrong, by ratio or by script. */
enum wr_sim_fault {
    WR_FAULT_PARTIAL,       /* a read, a write or a batch of datagrams is cut short */
    WR_FAULT_LOSS,          /* a segment is lost, and sent again by the sender's system after 200 ms, 400 ms… */
    WR_FAULT_RESET,         /* a delivery is answered by a reset, which both ends see */
    WR_FAULT_REFUSE,        /* a connect is refused although somebody listens */
    WR_FAULT_EMFILE,        /* no descriptor for a listener, an accept, a connect or a UDP socket */
    WR_FAULT_ENOBUFS,       /* no buffer of the system's for an accept, a connect, a send or a datagram */
    WR_FAULT_ENOMEM,        /* no memory: an allocation of the queue's, or of whoever asks wr_sim_strikes */
    WR_FAULT_DATAGRAM_LOSS, /* it never comes */
    WR_FAULT_DATAGRAM_COPY, /* it comes twice */
    WR_FAULT_DATAGRAM_LATE, /* it is held up, and others overtake it */
    WR_FAULT_RESOLVE,       /* a name is not looked up; asked by core, which keeps the names */
    WR_FAULTS,
};

enum { WR_SIM_WINDOW = 128 * 1024 };

typedef struct wr_sim_options {
    uint64_t seed;
    uint32_t latency_us_min, latency_us_max; /* one way, drawn for each segment; the maximum is not below the minimum */
    uint64_t bytes_per_second;               /* each way of a connection; 0: no bound */
    uint32_t window;      /* bytes that a direction of a connection takes before they are read; 0: WR_SIM_WINDOW */
    uint32_t max_sockets; /* open at once in the world; then WEIR_EMFILE; 0: no bound */
    uint16_t per_mille[WR_FAULTS];
    bool spares_setup; /* ratios apply only within wr_sim_step, and where wr_sim_set_live says so: whoever prepares a
                          test does not want to handle each failure there */
    bool threads;      /* the world's queues are used by several threads, each by its own: a lock around
                          everything, and no promise about order. None of them can be driven */
    /* Whether the fault strikes at its opportunity `number`, counted from 0 for each kind; asked where the ratio did
     * not strike. Must not touch the world. */
    bool (*script)(enum wr_sim_fault fault, uint64_t number, void *data);
    void *script_data;
    void (*trace)(const char *line,
                  void *data); /* told of what happens; without a line end; must not touch the world */
    void *trace_data;
} wr_sim_options;

/* wr_sim_create: a world at time 0. Its own memory comes from malloc. WEIR_ENOMEM. */
int wr_sim_create(wr_sim **out, const wr_sim_options *options);

/* wr_sim_destroy: its queues are destroyed, and every detached socket was adopted or discarded. NULL is fine. */
void wr_sim_destroy(wr_sim *sim);

/* wr_sim_change: other options from now on; the seed and `threads` stay. */
void wr_sim_change(wr_sim *sim, const wr_sim_options *options);

uint64_t wr_sim_now_ns(const wr_sim *sim);

/* wr_sim_trace_hash: a number for all that has happened so far: events, their times, every byte that arrived. */
uint64_t wr_sim_trace_hash(const wr_sim *sim);

/* wr_sim_step_fn: lets a queue's owner do one pass; its wr_cq_wait does not block. Returns the time, on the queue's
 * clock, at which it wants the next one if nothing comes before; WR_DEADLINE_NEVER: none. */
typedef uint64_t (*wr_sim_step_fn)(void *owner);

/* wr_sim_attach: from here on wr_sim_step drives the queue. Its owner is due for a first pass when something comes. */
void wr_sim_attach(wr_cq *cq, wr_sim_step_fn step, void *owner);

enum wr_sim_progress {
    WR_SIM_STEPPED, /* something has happened */
    WR_SIM_REACHED, /* nothing more happens until the time that was given, and that is now */
    WR_SIM_IDLE,    /* nothing more can happen at all: no event, no alarm; the clock stands still */
};

/* wr_sim_step: the next thing that happens, at `until_ns` at the latest: an event of the network, or one pass of an
 * owner that has something to do. Of several that may come first, the seed chooses. */
enum wr_sim_progress wr_sim_step(wr_sim *sim, uint64_t until_ns);

/* wr_sim_skip: moves the clock of an idle world; backwards is harmless, and does nothing. */
void wr_sim_skip(wr_sim *sim, uint64_t to_ns);

/* wr_sim_set_live: with spares_setup: ratios apply from here on, or no more. For an owner whose passes are no steps. */
void wr_sim_set_live(wr_sim *sim, bool live);

/* wr_sim_strikes: draws whether the fault strikes now. */
bool wr_sim_strikes(wr_sim *sim, enum wr_sim_fault fault);

/* wr_sim_draw: a number from 0 to bound - 1 of the world's seed, for an owner that decides something by chance; bound
 * is at least 1. */
uint64_t wr_sim_draw(wr_sim *sim, uint64_t bound);

/* wr_sim_cut: nothing passes between the two hosts any more, whatever their ports; `b` NULL: between `a` and all
 * others. What is on its way waits, as TCP keeps it and sends it again; resets and datagrams are lost. WEIR_ENOMEM. */
int wr_sim_cut(wr_sim *sim, const wr_addr *a, const wr_addr *b);

/* wr_sim_heal: undoes the same wr_sim_cut; `a` NULL: all of them. */
void wr_sim_heal(wr_sim *sim, const wr_addr *a, const wr_addr *b);

#endif
