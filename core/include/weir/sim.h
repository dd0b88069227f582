/* The simulator: a whole server with its clients in one process, on one thread, in virtual time, over a network that is
 * as bad as you ask for and that repeats exactly.
 *
 * Make one, and runtimes with weir_runtime_options.sim; then listen and connect as ever, and let it run. Nothing moves
 * but inside weir_sim_run and its kin: there the runtimes' workers take turns, and the clock jumps from one event to
 * the next. What happens when, in which order, and what goes wrong is drawn from the seed: the same program with the
 * same seed does the same on every system, and weir_sim_trace_hash says whether it did. docs/guide/simulation.md shows
 * how to test a server so.
 *
 * - Code takes no virtual time; only the network and timers do.
 * - All runtimes of a simulator, and the simulator, belong to one thread: also functions marked [any] are called on it,
 *   outside of the run or from callbacks. A runtime with `workers` 0 has one.
 * - Every IPv4 and IPv6 address is some host's here, and may be listened on, but for 192.0.2.0/24, which none has.
 *   Connections without a local address come from 198.18.0.1 or [2001:2::1], those to the loopback from the loopback;
 *   so do datagrams of a socket that is bound to all addresses, until it has received one: then from where that was
 * sent to. A datagram that nobody waits for is lost, and nobody is told. Paths of Unix-domain sockets are names without
 * files. Names of hosts are those of weir_sim_name alone.
 * - weir_runtime_run and weir_runtime_wait run the simulator until that runtime has stopped; WEIR_ESTATE: nothing more
 *   can happen before that. weir_runtime_start starts no thread. weir_runtime_destroy drains in virtual time. weir_poll
 *   lets the whole simulator go on until the manual runtime has something to do, or its timeout has passed in virtual
 *   time, or nothing more can happen. weir_sleep_ms sleeps in real time.
 * - A broken rule in weir itself or in the use of its parts ends the program with a message, in release builds too. */
#ifndef WEIR_SIM_H
#define WEIR_SIM_H

#include <weir/runtime.h>

#ifdef __cplusplus
extern "C" {
#endif

/* What can go wrong, for weir_sim_options.script. */
typedef enum weir_sim_fault {
    WEIR_SIM_PARTIAL,            /* a read, a write or a batch of datagrams is cut short */
    WEIR_SIM_LOSS,               /* a segment is lost, and sent again after 200 ms, 400 ms… */
    WEIR_SIM_RESET,              /* a delivery is answered by a reset: both ends get WEIR_ECONNRESET */
    WEIR_SIM_REFUSE,             /* a connect is refused although somebody listens */
    WEIR_SIM_EMFILE,             /* no descriptor for a listener, an accept, a connect or a UDP socket */
    WEIR_SIM_ENOBUFS,            /* no buffer space of the system's for an accept, a connect, a send or a datagram */
    WEIR_SIM_ENOMEM,             /* an allocation of a runtime's fails */
    WEIR_SIM_DATAGRAM_LOSS,      /* a datagram never comes */
    WEIR_SIM_DATAGRAM_DUPLICATE, /* a datagram comes twice */
    WEIR_SIM_DATAGRAM_REORDER,   /* a datagram is held up, and later ones overtake it */
    WEIR_SIM_RESOLVE,            /* a name is not found for now: WEIR_EAI_AGAIN */
} weir_sim_fault;

/* Zero is a local network on which nothing goes wrong. The ratios apply while the simulator runs, not to what is set up
 * between runs: there a failing allocation would only be in the way. */
typedef struct weir_sim_options {
    uint64_t seed;
    /* One way, drawn anew for each segment and datagram; no segment of a connection overtakes another, but a datagram
     * may. A maximum of 0 stands for the minimum, and both 0 for 100 us. */
    uint32_t latency_us_min, latency_us_max;
    uint64_t bytes_per_second;        /* each way of each connection; 0: no bound */
    uint32_t window;                  /* bytes a connection takes each way before the peer reads them; 0: 128 KiB */
    uint32_t max_sockets;             /* open at once, of all runtimes; then WEIR_EMFILE; 0: no bound */
    uint32_t partial_per_mille;       /* of reads, writes and batches of datagrams: cut short at a random place */
    uint32_t loss_per_mille;          /* of segments: lost, and sent again after 200 ms, 400 ms and so on */
    uint32_t reset_per_mille;         /* of deliveries: answered by a reset instead */
    uint32_t refuse_per_mille;        /* of connects: refused */
    uint32_t emfile_per_mille;        /* of accepts, connects and UDP sockets: WEIR_EMFILE */
    uint32_t enobufs_per_mille;       /* of accepts, connects, sends and datagrams: WEIR_ENOBUFS */
    uint32_t enomem_per_mille;        /* of allocations: there is none */
    uint32_t datagram_loss_per_mille; /* of datagrams: they never come */
    uint32_t datagram_duplicate_per_mille; /* of datagrams: they come twice */
    uint32_t datagram_reorder_per_mille; /* of datagrams: held up by 1 ms and three times the longest latency at most */
    uint32_t resolve_per_mille;          /* of lookups of names: WEIR_EAI_AGAIN */
    /* How long the lookup of a name takes, drawn for each. A maximum of 0 stands for the minimum, and both 0 for 1 ms.
     */
    uint32_t resolve_ms_min, resolve_ms_max;
    /* Faults by script: asked at each opportunity that the ratio let pass, also outside of the run; `number` counts the
     * opportunities of that kind from 0. True: it happens. Must not call weir. NULL: none. */
    bool (*script)(weir_sim_fault fault, uint64_t number, void *data);
    void *script_data;
    /* Told of each thing that happens, in one line without a line end. Must not call weir. NULL: none. */
    void (*trace)(const char *line, void *data);
    void *trace_data;
} weir_sim_options;

#define WEIR_SIM_FOREVER UINT64_MAX /* a time that never comes */

/* weir_sim_create: a simulator at virtual time 0. Free it with weir_sim_destroy, after its runtimes.
 * [any]; the caller becomes the owner
 * WEIR_EINVAL: a ratio above 1000, or a maximum of latency or of lookups below its minimum. WEIR_ENOMEM. */
WEIR_API int weir_sim_create(weir_sim **out, const weir_sim_options *options);

/* weir_sim_destroy: its runtimes are gone. NULL is fine. [owner] */
WEIR_API void weir_sim_destroy(weir_sim *sim);

/* weir_sim_change: other options from now on, all but the seed: a storm, and calm again. [owner], also in callbacks
 * WEIR_EINVAL: as for weir_sim_create; nothing was changed. */
WEIR_API int weir_sim_change(weir_sim *sim, const weir_sim_options *options);

/* weir_sim_run: runs until virtual time `until_ns`, or until nothing more can ever happen: no bytes on the way, no
 * timer. Then the clock stands where the last thing happened. WEIR_SIM_FOREVER: until the latter. [owner] WEIR_ELIMIT:
 * the workers keep each other busy, and time has not moved for ten million steps. WEIR_ESTATE: called from a callback.
 */
WEIR_API int weir_sim_run(weir_sim *sim, uint64_t until_ns);

/* weir_sim_run_until: runs until `done(data)` is true; asked before the first step and after each. [owner]
 * WEIR_ETIMEDOUT: it was not by virtual time `until_ns`, or when nothing more could happen. WEIR_ELIMIT, WEIR_ESTATE:
 * as weir_sim_run. */
WEIR_API int weir_sim_run_until(weir_sim *sim, bool (*done)(void *data), void *data, uint64_t until_ns);

/* weir_sim_advance: as weir_sim_run, for `ns` from now, and the clock moves on by that also where nothing happens: for
 * a game loop of your own. [owner] */
WEIR_API int weir_sim_advance(weir_sim *sim, uint64_t ns);

/* weir_sim_now_ns: the virtual time, in nanoseconds since the start; 0 for NULL. [owner], also in callbacks */
WEIR_API uint64_t weir_sim_now_ns(const weir_sim *sim);

/* weir_sim_partition: cuts the network between two hosts, named by numeric addresses without ports; `b` NULL: between
 * `a` and all others. Connections stay open: what is on its way waits, as TCP sends it again and again, and connects
 * time out. Datagrams are lost. [owner], also in callbacks
 * WEIR_EADDRESS: an address is not understood. WEIR_ENOMEM. */
WEIR_API int weir_sim_partition(weir_sim *sim, const char *a, const char *b);

/* weir_sim_heal: undoes the weir_sim_partition of the same two; `a` NULL: all of them. [owner], also in callbacks
 * WEIR_EADDRESS: an address is not understood. */
WEIR_API int weir_sim_heal(weir_sim *sim, const char *a, const char *b);

/* weir_sim_name: what a name means from now on: numeric addresses without ports, with spaces between them, in the order
 * in which they are tried; 16 at most. NULL: nobody knows it any more. Names are compared byte by byte. [owner], also
 * in callbacks WEIR_EINVAL: no name, or more than 253 bytes of it. WEIR_EADDRESS: an address is not understood, or
 * there is none, or one too many; nothing was changed. WEIR_ENOMEM. */
WEIR_API int weir_sim_name(weir_sim *sim, const char *name, const char *addresses);

/* weir_sim_trace_hash: a number for all that has happened so far: each event, its time, each byte that arrived, and who
 * worked when. Two runs that differ in anything have different ones; 0 for NULL. [owner], also in callbacks */
WEIR_API uint64_t weir_sim_trace_hash(const weir_sim *sim);

#ifdef __cplusplus
}
#endif

#endif
