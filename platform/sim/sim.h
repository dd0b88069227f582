/* The simulator, inside. world.c has the world and its clock, event.c what is yet to come, fault.c what goes wrong,
 * trace.c what has happened, file.c and pipe.c the sockets and bytes of its "kernel"; queue.c the queue and its wait,
 * accept.c, connect.c, stream.c and datagram.c the operations; address.c says who has which address.
 *
 * A file is what the kernel has of a socket: a listener, or one end of a connection with the bytes on their way to it.
 * A socket is what a queue has of it: the operations in flight and those that have their result. The two know each
 * other from adoption to close. Files get events from the network; whatever may change what a socket has to
 * deliver puts it on its queue's list, and the next wait looks.
 *
 * No decision may depend on an address in memory, on the real clock, or on what a system's headers say. */
#ifndef WR_SIM_SIM_H
#define WR_SIM_SIM_H

#include "platform/common/done.h"
#include "platform/common/lease.h"
#include "platform/common/posts.h"
#include "platform/common/table.h"
#include "platform/os.h"
#include "platform/sim.h"
#include "platform/sim/random.h"

enum {
    WR_SIM_SEGMENT_MAX = 16 * 1024,
    WR_SIM_BUFFER_SIZE = 16 * 1024,
    WR_SIM_SUM_MAX = 256 * 1024, /* bytes of a send that are watched until its completion: as many as core sends */
    WR_SIM_ACCEPT_BATCH = 16,    /* accepts a wait and listener */
    WR_SIM_SYN_RETRIES = 6,      /* after 1, 2, 4… 32 s, and after another 64 WEIR_ETIMEDOUT: as Linux has it */
    WR_SIM_RETRANSMITS = 8,      /* of one segment; then it comes through */
    WR_SIM_PORT_FIRST = 32768,   /* of those that connects get */
    WR_SIM_PORT_BOUND = 49152,   /* and from here on, listeners */
    WR_SIM_PORT_LISTS = 256,
};

typedef struct wr_sim_datagram wr_sim_datagram;
typedef struct wr_sim_file wr_sim_file;
typedef struct wr_sim_queue wr_sim_queue;
typedef struct wr_sim_segment wr_sim_segment;
typedef struct wr_sim_socket wr_sim_socket;

/* WR_SIM_RULE: what the caller must keep of the contract (cq.h). */
#define WR_SIM_RULE(holds, rule) ((holds) ? (void)0 : wr_sim_broken(rule))

/* ---- what is yet to come (event.c) ---- */

enum wr_sim_event_kind {
    WR_EVENT_ARRIVAL, /* the next segment reaches the file */
    WR_EVENT_WINDOW,  /* the file hears that its peer has room again */
    WR_EVENT_RESET,   /* a reset reaches it */
    WR_EVENT_SYN,     /* its connect reaches the other side */
    WR_EVENT_ANSWER,  /* the answer to that reaches it */
    WR_EVENT_KINDS,
    WR_EVENT_DATAGRAM = WR_EVENT_KINDS, /* a datagram is where it was sent to: as many of these as are on their way */
};

typedef struct wr_sim_event {
    uint64_t due_ns;
    uint64_t serial; /* makes the order total */
    union {
        wr_sim_file *file;
        wr_sim_datagram *datagram; /* WR_EVENT_DATAGRAM */
    };
    uint32_t order; /* drawn: shuffles what is due at the same time */
    uint32_t kind;  /* enum wr_sim_event_kind */
} wr_sim_event;

/* A binary heap, the next event first (J. W. J. Williams, "Heapsort", CACM 1964). */
typedef struct wr_sim_events {
    wr_sim_event *heap;
    uint32_t count, room;
    uint64_t serial;
} wr_sim_events;

/* ---- the kernel (file.c, pipe.c, datagram.c) ---- */

enum wr_sim_file_kind {
    WR_FILE_FREE,
    WR_FILE_DROPPED, /* gone; its slot waits for its last event */
    WR_FILE_LISTENER,
    WR_FILE_CONNECTING,
    WR_FILE_STREAM,
    WR_FILE_DATAGRAM,
};

/* Bytes on their way, or arrived and not yet read. */
struct wr_sim_segment {
    wr_sim_segment *next;
    uint64_t arrives_ns;
    uint32_t size; /* 0: FIN */
    uint32_t taken;
    uint8_t bytes[];
};

/* One direction of a connection, kept at the end that it leads to. */
typedef struct wr_sim_pipe {
    wr_sim_segment *first, *last;
    wr_sim_segment *arriving; /* the first that has not arrived */
    uint64_t last_arrival_ns; /* of all that were sent: none overtakes another */
    uint64_t sender_free_ns;  /* with a bandwidth: when the next segment can leave */
    uint32_t held;            /* bytes in all segments */
    uint32_t unread;          /* of those, arrived */
    bool fin_sent, ended;     /* FIN is on its way; it has arrived */
    bool cut_off;             /* the next segment would have arrived, and a cut holds it back */
} wr_sim_pipe;

typedef struct wr_sim_backlog {
    wr_sim_file *first, *last;
    uint32_t count, max;
} wr_sim_backlog;

/* A datagram, on its way, or arrived and not yet read. */
struct wr_sim_datagram {
    wr_sim_datagram *next;
    wr_addr from, to;
    uint32_t size;
    uint8_t bytes[];
};

/* Those that have come to a socket. */
typedef struct wr_sim_mail {
    wr_sim_datagram *first, *last;
    uint32_t count;
    uint32_t held, room; /* bytes */
} wr_sim_mail;

struct wr_sim_file {
    wr_record record;
    uint8_t kind;      /* enum wr_sim_file_kind */
    uint8_t scheduled; /* a bit an event kind: at most one of each */
    uint8_t attempts;  /* CONNECTING: how often it was tried again */
    bool counted;      /* against max_sockets */
    bool shared_port, ipv6_only;
    bool shut;       /* STREAM: FIN was sent */
    bool given_up;   /* CONNECTING: cancelled, when the answer was on its way already */
    bool provoked;   /* sent to a peer that has gone: a reset answers */
    bool unanswered; /* ... which a cut has swallowed */
    uint32_t number; /* in the trace */
    int32_t error;   /* STREAM: broken, WEIR_E… */
    int32_t answer;  /* CONNECTING: the result, when it comes */
    wr_addr local, remote;
    wr_sim_socket *socket; /* of the queue that adopted it; NULL: detached, or in a backlog */
    wr_sim_queue *queue;
    wr_sim_file *peer; /* STREAM: the other end, while it is there */
    wr_sim_pipe pipe;
    wr_sim_file *next;     /* in the backlog, or the next one that is bound */
    wr_sim_file *listener; /* in whose backlog it stands */
    wr_sim_backlog backlog;
    wr_sim_file *target; /* CONNECTING over a Unix-domain socket: the listener, if it is still that one */
    uint32_t target_generation;
    char *path; /* of a Unix-domain listener */
    /* DATAGRAM: */
    wr_sim_mail mail;
    wr_addr spoken_to; /* where the last one that came was sent to */
    uint32_t order;    /* of the events of what it sends: what is sent and due together stays in order */
};

/* Files with an address of their own, in lists by port. */
typedef struct wr_sim_bound {
    wr_sim_file *by_port[WR_SIM_PORT_LISTS];
} wr_sim_bound;

/* ---- queues (queue.c) ---- */

struct wr_sim_socket {
    wr_record record;      /* its `next` is that of the list of ready ones */
    wr_sim_file *file;     /* NULL: closed */
    wr_op *in;             /* pending recv or accept */
    wr_op *out;            /* pending send or connect */
    const wr_slice *slice; /* of `out`: the first that is not wholly sent */
    uint32_t slice_done;
    wr_send_batch *batch; /* of a pending send_to */
    uint16_t size_max;    /* of a pending recv_from */
    bool queued;          /* in a list of ready ones */
    bool in_use;
    bool begun;                 /* the accept has delivered something since its submit */
    bool submitting;            /* a send, at this moment */
    uint64_t went_on;           /* the wait, by the queue's count, in which a recv said that it goes on */
    wr_done done;               /* operations that have their result, in order */
    const wr_slice *sent;       /* of the send whose result is not yet delivered, */
    const wr_datagram *offered; /* or of the send_to, */
    uint64_t sent_sum;          /* to see that it stays as it is until then */
    uint8_t *last_buffer;       /* of a recv or recv_from that has what came before the close */
    uint32_t last_size;
};

/* A leased buffer, with its place in the list of them: so a return of another's, or a second one, is found. */
typedef struct wr_sim_lease wr_sim_lease;
struct wr_sim_lease {
    wr_sim_lease *next;
    size_t size;
    _Alignas(16) uint8_t bytes[];
};

/* What lives in the memory of the queue's owner. */
typedef struct wr_sim_own {
    wr_memory *memory;
    wr_table sockets;
    uint32_t buffer_size;
    wr_sim_lease *leases;
    /* Sockets: those that this round still looks at, and those of the next one: so nobody starves. */
    wr_ready now, later;
    wr_done orphans; /* results of connects that got no socket */
    uint64_t waits;
} wr_sim_own;

/* The rest stays when the queue is destroyed, until its world is: a post that comes too late is found. */
struct wr_sim_queue {
    wr_cq base;
    wr_sim *sim;
    wr_sim_queue *next; /* of the world's */
    wr_sim_own *own;    /* NULL: destroyed */
    wr_posts posts;
    wr_sim_step_fn step; /* NULL: not driven */
    void *owner;
    uint64_t alarm_ns; /* when the owner wants its next pass */
    uint32_t number;
    bool owns_sim;
};

/* ---- the world (world.c) ---- */

typedef struct wr_sim_cut_pair {
    wr_addr a, b; /* b of no family: all others */
} wr_sim_cut_pair;

struct wr_sim {
    wr_sim_options options;
    wr_memory memory;
    wr_random random;
    uint64_t now_ns;
    uint64_t trace_hash;
    uint64_t chances[WR_FAULTS]; /* opportunities so far */
    wr_sim_events events;
    wr_table files;
    wr_sim_bound listeners, datagram_sockets;
    uint32_t flying; /* datagrams */
    wr_sim_queue *queues;
    wr_sim_cut_pair *cuts;
    uint32_t cut_count, cut_room;
    uint32_t numbers; /* of files, given out */
    uint32_t queue_numbers;
    uint32_t open; /* counted files */
    bool stepping, live;
    uint16_t next_port, next_listen_port;
    const char *thread; /* the one thread that uses it; see wr_sim_enter */
    /* With options.threads: */
    wr_mutex lock;
    wr_cond changed;
    unsigned waiters;
};

/* wr_sim_enter, wr_sim_leave: around every use of a world. */
void wr_sim_enter(wr_sim *sim);
void wr_sim_leave(wr_sim *sim);

/* wr_sim_run_events: all that is due now. */
void wr_sim_run_events(wr_sim *sim);

/* wr_sim_is_cut: whether a cut lies between the two hosts. */
bool wr_sim_is_cut(const wr_sim *sim, const wr_addr *a, const wr_addr *b);

bool wr_sim_same_host(const wr_addr *a, const wr_addr *b);

/* wr_sim_coin: one of two. */
static inline bool wr_sim_coin(wr_sim *sim)
{
    return wr_random_next(&sim->random) >> 63;
}

/* wr_sim_latency_ns: a new draw. */
uint64_t wr_sim_latency_ns(wr_sim *sim);

/* event.c */

/* wr_sim_events_reserve: room for the events of all files, and of all datagrams on their way. False: no memory. */
bool wr_sim_events_reserve(wr_sim *sim);

/* wr_sim_draw_order: for events that are due at the same time as others. */
uint32_t wr_sim_draw_order(wr_sim *sim);

/* wr_sim_schedule: nothing, if the file has one of that kind already. */
void wr_sim_schedule(wr_sim *sim, wr_sim_file *file, enum wr_sim_event_kind kind, uint64_t due_ns);

/* wr_sim_schedule_datagram: there is room for it. */
void wr_sim_schedule_datagram(wr_sim *sim, wr_sim_datagram *datagram, uint64_t due_ns, uint32_t order);

static inline bool wr_sim_is_scheduled(const wr_sim_file *file, enum wr_sim_event_kind kind)
{
    return file->scheduled >> kind & 1;
}

/* wr_sim_run_event: takes the next one, which is there, and does it. */
void wr_sim_run_event(wr_sim *sim);

/* wr_sim_events_free: the world ends; so do datagrams on their way. */
void wr_sim_events_free(wr_sim *sim);

/* file.c */

/* wr_sim_file_open: NULL when there is no memory. */
wr_sim_file *wr_sim_file_open(wr_sim *sim, enum wr_sim_file_kind kind);

/* wr_sim_file_drop: ends it; nobody is told. */
void wr_sim_file_drop(wr_sim *sim, wr_sim_file *file);

/* wr_sim_file_close: ends it as close(2) does: its peer hears of it, a backlog is reset. */
void wr_sim_file_close(wr_sim *sim, wr_sim_file *file, bool reset);

/* wr_sim_file_count: takes a place under max_sockets; false if there is none. */
bool wr_sim_file_count(wr_sim *sim, wr_sim_file *file);

/* wr_sim_file_handle, wr_sim_file_of: a detached file's name outside. */
wr_detached wr_sim_file_handle(const wr_sim_file *file);
wr_sim_file *wr_sim_file_of(wr_sim *sim, wr_detached socket);

/* pipe.c */

/* wr_sim_pipe_send: a segment of `size` bytes for `to` to fill, on its way from its peer; NULL when there is no
 * memory. size 0: FIN. */
uint8_t *wr_sim_pipe_send(wr_sim *sim, wr_sim_file *from, wr_sim_file *to, uint32_t size);

/* wr_sim_pipe_read: takes up to `size` bytes of what has arrived; returns how many. */
uint32_t wr_sim_pipe_read(wr_sim *sim, wr_sim_file *file, uint8_t *bytes, uint32_t size);

/* wr_sim_pipe_clear: forgets what is in it; `all` false: not what has arrived. */
void wr_sim_pipe_clear(wr_sim_pipe *pipe, bool all);

/* wr_sim_arrive, wr_sim_take_reset: events of a stream. */
void wr_sim_arrive(wr_sim *sim, wr_sim_file *file);
void wr_sim_take_reset(wr_sim *sim, wr_sim_file *file);

/* wr_sim_provoke: what the file has sent finds nobody. */
void wr_sim_provoke(wr_sim *sim, wr_sim_file *file);

/* wr_sim_resume: a cut has healed. */
void wr_sim_resume(wr_sim *sim, wr_sim_file *file);

static inline bool wr_sim_is_readable(const wr_sim_file *file)
{
    return file->pipe.unread > 0 || file->pipe.ended || file->error != 0 || file->mail.first;
}

/* fault.c */

/* wr_sim_code: the raw code behind an error: Linux's, on every system. */
int wr_sim_code(int error);

/* trace.c */

enum wr_sim_note {
    WR_NOTE_LISTEN,
    WR_NOTE_CONNECT,
    WR_NOTE_REFUSED,
    WR_NOTE_CONNECTED,
    WR_NOTE_UNREACHED,
    WR_NOTE_ACCEPT,
    WR_NOTE_SEND,
    WR_NOTE_ARRIVE,
    WR_NOTE_READ,
    WR_NOTE_FIN,
    WR_NOTE_END,
    WR_NOTE_RESET,
    WR_NOTE_LOST,
    WR_NOTE_HELD,
    WR_NOTE_CLOSE,
    WR_NOTE_ABORT,
    WR_NOTE_FAULT,
    WR_NOTE_CUT,
    WR_NOTE_HEAL,
    WR_NOTE_STEP,
    WR_NOTE_OPEN,
    WR_NOTE_SEND_TO,
    WR_NOTE_DATAGRAM,
    WR_NOTE_READ_MAIL,
    WR_NOTE_OVERFLOW,
    WR_NOTE_NOBODY,
    WR_NOTE_CUT_OFF,
};

/* wr_sim_note: adds to the trace; `file` may be NULL. */
void wr_sim_note(wr_sim *sim, enum wr_sim_note note, const wr_sim_file *file, uint64_t number);

/* wr_sim_note_cut: the same for WR_NOTE_CUT and WR_NOTE_HEAL; `a` NULL: every cut, `b` NULL: all other hosts. */
void wr_sim_note_cut(wr_sim *sim, enum wr_sim_note note, const wr_addr *a, const wr_addr *b);

/* wr_sim_note_datagram: the same of a datagram of that size, and whom it comes from or goes to. */
void wr_sim_note_datagram(wr_sim *sim, enum wr_sim_note note, const wr_sim_file *file, uint32_t size,
                          const wr_addr *peer);

/* wr_sim_sum: a checksum of bytes, going on from `sum`. */
uint64_t wr_sim_sum(uint64_t sum, const void *bytes, size_t size);

/* queue.c */

static inline wr_sim_queue *wr_sim_queue_of(wr_cq *cq)
{
    return (wr_sim_queue *)cq;
}

static inline wr_sim_socket *wr_sim_socket_at(const wr_sim_own *own, uint32_t slot)
{
    return wr_table_at(&own->sockets, slot, sizeof(wr_sim_socket));
}

/* wr_sim_socket_open: a record for the file; NULL when there is no memory. */
wr_sim_socket *wr_sim_socket_open(wr_sim_queue *queue, wr_sim_file *file);

/* wr_sim_socket_retire: its handle is dead; the record goes when its last result is delivered. */
void wr_sim_socket_retire(wr_sim_socket *socket);

/* wr_sim_wake: the file's socket may have something to deliver. */
void wr_sim_wake(const wr_sim_file *file);

/* wr_sim_begin: the operation is the backend's from here on. */
void wr_sim_begin(wr_op *op, enum wr_op_kind kind, uint32_t slot);

/* wr_sim_finish: the operation has its result. `socket` NULL: a connect that got none. */
void wr_sim_finish(wr_sim_queue *queue, wr_sim_socket *socket, wr_op *op, int error);

/* wr_sim_lease_get: a buffer; NULL when there is no memory. */
uint8_t *wr_sim_lease_get(wr_sim_queue *queue, size_t size);
void wr_sim_lease_put(wr_sim_queue *queue, const uint8_t *buffer);

/* address.c */

/* wr_sim_is_any: 0.0.0.0 or [::], which stand for all addresses of a host. */
bool wr_sim_is_any(const wr_addr *addr);

/* wr_sim_is_foreign: an address that no host of the simulator has. */
bool wr_sim_is_foreign(const wr_addr *addr);

bool wr_sim_is_loopback(const wr_addr *addr);
void wr_sim_set_loopback(wr_addr *addr);

/* wr_sim_set_source: the host from which those who say nothing of it speak to `remote`. */
void wr_sim_set_source(wr_addr *local, const wr_addr *remote);

/* wr_sim_has_folder: whether there is such a folder. */
bool wr_sim_has_folder(const char *path);

/* wr_sim_takes_ipv4: whether the bound file speaks with IPv4 peers. */
bool wr_sim_takes_ipv4(const wr_sim_file *file);

static inline wr_sim_file **wr_sim_bound_at(wr_sim_bound *bound, uint16_t port)
{
    return &bound->by_port[port % WR_SIM_PORT_LISTS];
}

/* wr_sim_open_bound: a new file of that kind, with an address that none of `bound` has, and in their list. */
int wr_sim_open_bound(wr_sim *sim, enum wr_sim_file_kind kind, wr_sim_bound *bound, const wr_listen_params *params,
                      wr_listen_result *out);
void wr_sim_unlist(wr_sim_bound *bound, const wr_sim_file *file);

/* wr_sim_count_bound: how many share the best match for the address; wr_sim_get_bound: one of these, by its number. */
uint32_t wr_sim_count_bound(wr_sim_bound *bound, const wr_addr *addr, const char *path);
wr_sim_file *wr_sim_get_bound(wr_sim_bound *bound, const wr_addr *addr, const char *path, uint64_t number);

/* accept.c */
int wr_sim_listen(wr_sim *sim, const wr_listen_params *params, wr_listen_result *out);
unsigned wr_sim_serve_accept(wr_sim_queue *queue, wr_sim_socket *socket, wr_completion *out, unsigned capacity);

/* wr_sim_find_listener: of several that share the port, the seed chooses. NULL: nobody. */
wr_sim_file *wr_sim_find_listener(wr_sim *sim, const wr_addr *addr, const char *path);

/* connect.c */
void wr_sim_connect(wr_sim_queue *queue, const wr_connect_params *params, wr_op *op);
void wr_sim_cancel_connect(wr_sim_queue *queue, wr_sim_socket *socket);
void wr_sim_syn(wr_sim *sim, wr_sim_file *file);
void wr_sim_answer(wr_sim *sim, wr_sim_file *file);

/* stream.c */
void wr_sim_recv(wr_sim_queue *queue, wr_sim_socket *socket, wr_op *op);
void wr_sim_send(wr_sim_queue *queue, wr_sim_socket *socket, wr_op *op, const wr_slice *slices);
void wr_sim_push(wr_sim *sim, wr_sim_file *file);
void wr_sim_shutdown(wr_sim *sim, wr_sim_file *file);
unsigned wr_sim_serve_recv(wr_sim_queue *queue, wr_sim_socket *socket, wr_completion *out);

/* wr_sim_part: a recv that is pending at the close may have its bytes already; the seed chooses. */
void wr_sim_part(wr_sim_queue *queue, wr_sim_socket *socket);

/* wr_sim_slices_sum: a checksum of the first WR_SIM_SUM_MAX bytes. */
uint64_t wr_sim_slices_sum(const wr_slice *slices);

/* datagram.c */
int wr_sim_udp_open(wr_sim *sim, const wr_udp_params *params, wr_listen_result *out);
void wr_sim_send_to(wr_sim_queue *queue, wr_sim_socket *socket, wr_op *op, wr_send_batch *batch);
unsigned wr_sim_serve_recv_from(wr_sim_queue *queue, wr_sim_socket *socket, wr_completion *out);

/* wr_sim_part_from: as wr_sim_part, of a recv_from. */
void wr_sim_part_from(wr_sim_queue *queue, wr_sim_socket *socket);

/* wr_sim_push_datagrams: offers the rest of the pending send_to. */
void wr_sim_push_datagrams(wr_sim *sim, wr_sim_file *file);

/* wr_sim_deliver: the datagram is where it was sent to. */
void wr_sim_deliver(wr_sim *sim, wr_sim_datagram *datagram);

void wr_sim_mail_clear(wr_sim_mail *mail);

/* wr_sim_batch_sum: a checksum of the datagrams, and of their first WR_SIM_SUM_MAX bytes. */
uint64_t wr_sim_batch_sum(const wr_datagram *datagrams);

#endif
