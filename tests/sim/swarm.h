/* The swarm: random scenarios in the simulator, each from one seed, under checks of all that weir promises.
 *
 * A scenario makes some runtimes and lets random actions loose on them while the network has its weather; then comes
 * calm, in which everything that is owed must arrive and everything that is over must end; then a stop. Each seed
 * leaves a random part of the actions and of the faults out altogether, since what is always there hides what needs
 * its absence (A. Groce, C. Zhang, E. Eide, Y. Chen, J. Regehr, "Swarm testing", ISSTA 2012).
 *
 *   scenario.c  the phases of a scenario, and what it is made of
 *   action.c    what happens in it: a table, to which every later capability of weir adds rows
 *   open.c      listening and connecting
 *   weather.c   what the network does
 *   group.c     groups: their actions, and the books of their members
 *   udp.c       UDP ports and datagrams: their actions and their books
 *   raw.c       peers that are not weir's: they close half, send nonsense, do not read
 *   end.c       the books of each end of a connection: what was sent, what has come
 *   callback.c  weir's callbacks: the order in which they may come
 *   link.c      links to a server that comes and goes, and its name
 *   logic.c     a server with an inbox, and the logic thread that takes from it
 *   clock.c     what runs on a worker at once, or at its time: posts, strands, ticks, timers
 *   judge.c     which ends of a connection are just, and what must hold when all is calm
 *   memory.c    an allocator that counts, and finds wrong frees
 *   main.c      the program; tests/fuzz/swarm_fuzz.c: the same, with a fuzzer's bytes in place of the seed */
#ifndef WR_TEST_SWARM_H
#define WR_TEST_SWARM_H

#include <inttypes.h>
#include <stdio.h>
#include <weir/sim.h>
#include <weir/weir.h>

#include "core/log.h"
#include "platform/sim.h"
#include "sim/choice.h"
#include "sim/message.h"

enum {
    SWARM_RUNTIMES = 4,
    SWARM_WORKERS = 4,
    SWARM_LISTENERS = 12,
    SWARM_ENDS = 320,
    SWARM_FORMATS = 3,
    SWARM_BUFFERS = 8,
    SWARM_POSTS = 256,
    SWARM_GROUPS = 8,
    SWARM_CASTS = 256, /* sends to one */
    SWARM_STRANDS = 8,
    SWARM_TASKS = 256,
    SWARM_TICKS = 16,
    SWARM_TIMERS = 64,
    SWARM_PORTS = 10,
    SWARM_DATAGRAMS = 1000,
    SWARM_ACTIONS_MAX = 64,
    SWARM_CHARGE = 256, /* more than what a small message of another thread's counts for beyond its bytes */
};

#define SWARM_MS UINT64_C(1000000)
#define SWARM_S  UINT64_C(1000000000)

/* An answer that is under way when a connect is given up is awaited: so much longer may that take. */
#define SWARM_ANSWER_NS (210 * SWARM_MS)

typedef struct swarm swarm;
typedef struct swarm_end swarm_end;
typedef struct swarm_runtime swarm_runtime;
typedef struct swarm_listener swarm_listener;
typedef struct swarm_raw swarm_raw;
typedef struct swarm_logic swarm_logic;
typedef struct swarm_links swarm_links;

/* ---- memory.c ---- */

typedef struct swarm_memory {
    swarm *s;
    uint64_t used, blocks;
    struct swarm_block *first;
} swarm_memory;

weir_allocator swarm_allocator(swarm_memory *memory);

/* ---- what a scenario is made of ---- */

typedef struct swarm_worker {
    swarm_runtime *runtime;
    unsigned number;
    uint32_t posted, ran; /* posts without a delay: in order */
} swarm_worker;

struct swarm_runtime {
    swarm *s;
    weir_runtime *runtime; /* NULL: destroyed */
    unsigned number, worker_count;
    bool manual;
    bool started;
    bool stopping, dying; /* asked to stop; being destroyed, so that nobody else may use it */
    uint64_t stop_ns;
    weir_runtime_options options;
    swarm_memory memory;
    /* What its callbacks said, to compare with its stats. */
    uint64_t accepted, connects, opened, messages, closed[WEIR_STATS_REASONS];
    uint64_t alive;       /* connections before their on_close */
    uint64_t refused;     /* sends that returned WEIR_ESLOW */
    uint64_t from_groups; /* messages of its groups that have come to anybody */
    uint64_t datagrams;   /* that have come to its ports */
    swarm_worker workers[SWARM_WORKERS];
};

struct swarm_listener {
    swarm *s;
    weir_listener *listener;
    swarm_runtime *runtime;
    unsigned number;
    const message_format *format;
    weir_listen_options options;
    weir_protocol protocol;
    char address[128];
    bool closed;
    uint64_t closed_ns;
    uint32_t alive;
    double tokens; /* of its accept_rate */
    uint64_t tokens_ns;
};

/* What one end has sent, and weir has accepted, in order. */
typedef struct swarm_sent {
    uint32_t size;
    int32_t buffer;               /* shared; -1: its own bytes */
    uint32_t after;               /* REMOTE: so many of the DIRECT channel were sent before */
    uint16_t casts[SWARM_GROUPS]; /* DIRECT: so many sends to each group reached its sender's outbox before */
} swarm_sent;

/* Sends in callbacks and by id overtake each other: two orders. */
enum swarm_channel { DIRECT, REMOTE, CHANNELS };

typedef struct swarm_ledger {
    swarm_sent *items;
    uint32_t count, room;
} swarm_ledger;

/* Of an end in a group. */
typedef struct swarm_membership {
    bool is_member, was_member;
    bool left_at_once; /* in a callback: what was still on its way to its worker it may not get */
    uint32_t first;    /* send to the group that it must get: those that were on their way it may */
    uint32_t end;      /* when it left: the first that it must not get */
    uint32_t next;     /* of those that have come to the other end */
    /* The last send that was made on its own worker, with none on its way there, and so at once: */
    uint32_t casts;  /* its number, and 1; 0: there was none */
    uint32_t before; /* so many of the DIRECT channel were sent before */
} swarm_membership;

enum swarm_state { END_CONNECTING, END_OPEN, END_GONE };

/* One end of a connection; the session of a weir_conn points at it. */
struct swarm_end {
    swarm *s;
    uint32_t number;
    enum swarm_state state;
    swarm_runtime *runtime;   /* NULL: a raw peer's */
    swarm_listener *listener; /* that accepted it; NULL: it connected */
    swarm_listener *target;   /* that it connects to; NULL: nobody */
    swarm_raw *raw;
    weir_protocol protocol; /* with its defaults */
    const message_format *format;
    weir_conn *conn; /* from on_open to on_close */
    weir_conn_id id;
    unsigned worker;
    weir_address local, remote;
    swarm_end *peer; /* the other end, when it is known */
    uint32_t connect_timeout_ms;
    bool is_from_nowhere; /* all its local addresses are foreign */

    swarm_ledger sent[CHANNELS];
    uint32_t got[CHANNELS];
    swarm_membership groups[SWARM_GROUPS];
    uint32_t skipped; /* REMOTE messages of the peer's that did not come, and later ones did */
    message_piece piece;
    uint64_t burst; /* bytes sent to its id since the network last moved */

    uint64_t born_ns, opened_ns, closed_ns;
    uint64_t message_ns; /* of the last message */
    uint64_t resumed_ns; /* after the last pause that counts */
    bool pause_counts;   /* it came before the idle deadline, which may have begun to close */
    uint64_t ending_ns;  /* when its end began: 0: not */
    uint32_t remote_due; /* REMOTE messages that weir_close_id stands behind */
    bool has_message;
    bool asked_close, asked_abort;            /* of weir, on its worker */
    bool asked_close_id, asked_abort_id;      /* by its id: on the way */
    bool paused, ended, slow_told, stop_told; /* by callbacks: on_end and so on */
    bool strict; /* nothing is in its way: all it is owed must come, and its end must be the orderly one */
    bool deaf;   /* a raw peer that has got nonsense */
    int spoiled; /* it has sent nonsense, which its peer must end with */
    weir_reason reason;
};

typedef struct swarm_buffer {
    weir_buf *buf;
    const message_format *format;
    uint32_t size;
    enum swarm_channel channel;
} swarm_buffer;

typedef struct swarm_post {
    swarm_runtime *runtime;
    unsigned worker;
    uint32_t order; /* without a delay */
    uint64_t delay_ms, due_ns;
    bool ran;
} swarm_post;

typedef struct swarm_cast {
    int32_t except; /* the number of an end; -1: nobody's */
    bool partial;   /* a worker had no room for it */
} swarm_cast;

typedef struct swarm_group {
    weir_group *group; /* NULL: destroyed */
    swarm_runtime *runtime;
    unsigned number;
    const message_format *format;
    uint32_t count; /* sends */
    swarm_cast casts[SWARM_CASTS];
} swarm_group;
typedef struct swarm_strand {
    swarm_runtime *runtime;
    weir_strand *strand; /* NULL: destroyed, which does not keep its tasks from running */
    unsigned number;
    uint32_t max_queued, posted, ran;
    bool running;
} swarm_strand;

typedef struct swarm_task {
    swarm_strand *strand;
    uint32_t order;
} swarm_task;

typedef struct swarm_tick {
    swarm_runtime *runtime;
    weir_tick *tick; /* NULL: stopped */
    weir_tick_options options;
    unsigned number;
    uint64_t count, last; /* callbacks, and the number of the last one */
    uint64_t start_ns;    /* when number 0 would have been, by the first one */
} swarm_tick;

typedef struct swarm_timer {
    swarm_runtime *runtime;
    swarm_end *end;    /* whose it is; NULL: the runtime's */
    weir_timer *timer; /* NULL: freed */
    unsigned number;
    bool is_armed;
    uint64_t due_ns, repeat_ms;
} swarm_timer;

/* A UDP port. Its number is in the port's, so that no two ever have the same. */
typedef struct swarm_port {
    swarm *s;
    swarm_runtime *runtime;
    weir_udp *udp; /* NULL: its runtime is gone */
    unsigned number, sockets;
    weir_address address;
    weir_udp_peer target; /* what others send to */
    bool is_any;          /* bound to all addresses */
    bool asked_close;
    bool closed[SWARM_WORKERS], told_stop[SWARM_WORKERS];
    unsigned closes;
    uint32_t max_datagram, max_queued;
    uint64_t room, expected;        /* bytes in its socket's buffer, and of what was sent to it */
    uint8_t served_by[SWARM_PORTS]; /* the worker that gets what a port sends, and 1; 0: none yet */
} swarm_port;

typedef struct swarm_datagram {
    unsigned from, to; /* SWARM_PORTS: nobody */
    uint32_t size;
    bool accepted;
    bool due; /* it must come, if nothing goes wrong with the network and both ports stay */
    unsigned came;
} swarm_datagram;

/* ---- actions (action.c) ---- */

enum swarm_place {
    OUTSIDE = 1, /* between runs of the simulator */
    INSIDE = 2,  /* in any callback and post */
    ON_CONN = 4, /* with the weir_conn of an open end, on its worker */
};

typedef struct swarm_action {
    const char *name;
    unsigned weight;
    unsigned places;                       /* enum swarm_place */
    void (*run)(swarm *s, swarm_end *end); /* end: with ON_CONN alone */
} swarm_action;

extern const swarm_action swarm_actions[];
extern const unsigned swarm_action_count;

/* swarm_act: one random action of those that the seed has and that are possible at this place. */
void swarm_act(swarm *s, enum swarm_place place, swarm_end *end);

/* ---- the scenario (scenario.c) ---- */

typedef struct swarm_options {
    uint64_t seed;
    bool trace;
    /* What to do about a broken promise; does not return. */
    void (*failed)(const swarm *s, const char *text);
} swarm_options;

struct swarm {
    swarm_options options;
    choice from;
    weir_sim *sim;
    bool enabled[SWARM_ACTIONS_MAX];
    weir_sim_options faults; /* that this seed may have at all, at their worst */
    weir_sim_options weather;
    bool ever[WEIR_SIM_RESOLVE + 1];   /* faults that were possible so far */
    bool ever_cut, ever_full;          /* partitions; max_sockets */
    char cut_host[128], cut_other[32]; /* the last one */
    bool quiet;                        /* calm: callbacks send no more */
    unsigned depth;                    /* callbacks that run: one at most */
    unsigned budget;                   /* messages that may still be sent, */
    unsigned connects;                 /* and connections opened */
    unsigned made_groups;
    unsigned made_runtimes, made_listeners, made_ends, made_buffers, made_posts, made_strands, made_tasks, made_ticks,
        made_timers;
    message_format formats[SWARM_FORMATS];
    swarm_runtime runtimes[SWARM_RUNTIMES];
    swarm_listener listeners[SWARM_LISTENERS];
    swarm_end *ends[SWARM_ENDS];
    swarm_buffer buffers[SWARM_BUFFERS];
    swarm_post posts[SWARM_POSTS];
    swarm_group groups[SWARM_GROUPS];
    swarm_strand strands[SWARM_STRANDS];
    swarm_task tasks[SWARM_TASKS];
    swarm_tick ticks[SWARM_TICKS];
    swarm_timer timers[SWARM_TIMERS];
    unsigned made_ports, made_datagrams, calm_datagrams;
    swarm_port ports[SWARM_PORTS];
    swarm_datagram datagrams[SWARM_DATAGRAMS];
    swarm_raw *raws;
    swarm_logic *logic;
    unsigned made_logics;
    swarm_links *links;
    uint64_t hash; /* of all callbacks */
    uint8_t bytes[MESSAGE_MAX + 64];
};

typedef struct swarm_result {
    uint64_t hash;
    uint64_t virtual_ns;
    unsigned ends, messages, datagrams; /* that have come */
} swarm_result;

/* swarm_run_scenario: all of it, from `from`. */
swarm_result swarm_run_scenario(const swarm_options *options, choice from);

/* swarm_run: lets the simulator run for `ns`, and polls the manual runtime. */
void swarm_run(swarm *s, uint64_t ns);

/* swarm_forget_bursts: the simulator is about to run, and to take what was sent by id. */
void swarm_forget_bursts(swarm *s);

/* swarm_make_runtime: one more, if there is room. swarm_destroy_runtime: as it stands, with all that is owed. */
void swarm_make_runtime(swarm *s);
void swarm_destroy_runtime(swarm_runtime *runtime);

_Noreturn void swarm_fail(const swarm *s, const char *format, ...) WR_PRINTF(2, 3);

#define SWARM_CHECK(s, holds, ...) ((holds) ? (void)0 : swarm_fail((s), __VA_ARGS__))

/* swarm_say: a line in the trace. */
void swarm_say(const swarm *s, const char *format, ...) WR_PRINTF(2, 3);

static inline uint64_t swarm_now(const swarm *s)
{
    return weir_sim_now_ns(s->sim);
}

static inline void swarm_mix(swarm *s, uint64_t number)
{
    s->hash = (s->hash ^ number) * UINT64_C(0x9e3779b97f4a7c15);
    s->hash ^= s->hash >> 29;
}

/* ---- open.c ---- */

/* swarm_choose_runtime: one that may be used; one that is stopping must refuse what it is asked for. NULL: none. */
swarm_runtime *swarm_choose_runtime(swarm *s, bool also_stopping);

/* swarm_listen: somewhere, with random limits. */
void swarm_listen(swarm *s);

/* swarm_connect: from some runtime to a listener, or to an address where nobody is (`target` NULL). `strict`: without
 * limits or deadlines of its own, and it must succeed. */
void swarm_connect(swarm *s, swarm_listener *target, bool strict);

/* ---- weather.c ---- */

/* weather_choose: which faults this seed has. */
void weather_choose(swarm *s);

/* weather_change: other weather; weather_calm: none. */
void weather_change(swarm *s);
void weather_calm(swarm *s);

/* weather_cut, weather_heal: partitions; all of them, or the last. */
void weather_cut(swarm *s);
void weather_heal(swarm *s, bool all);

/* Rows of the table. */
void act_weather(swarm *s, swarm_end *end);
void act_cut(swarm *s, swarm_end *end);
void act_heal(swarm *s, swarm_end *end);

/* ---- end.c ---- */

/* end_make: NULL when there are enough. */
swarm_end *end_make(swarm *s);

void end_free(swarm_end *end);

/* end_meet: finds the other end, by the addresses of both. */
void end_meet(swarm_end *end);

/* end_accepted: weir, or a raw peer's system, has taken a message of this size to send. */
void end_accepted(swarm_end *end, enum swarm_channel channel, uint32_t size, int buffer);

/* end_label: of the next message. */
message_label end_label(const swarm_end *end, enum swarm_channel channel, uint32_t size);

/* end_take: bytes have come, a whole message unless the format has no framing. */
void end_take(swarm_end *end, const uint8_t *bytes, size_t size);

/* end_check_all_came: the stream has ended in order: nothing of the peer's may be missing. */
void end_check_all_came(const swarm_end *end, const char *when);

/* end_idle_since_ns: when its idle deadline began to run, at the earliest. */
uint64_t end_idle_since_ns(const swarm_end *end);

static inline bool end_may_be_unheard(const swarm_end *end) /* while it owes its peer more than its soft limit */
{
    return end->protocol.outbox.policy == WEIR_SLOW_PAUSE;
}

static inline bool end_ends_when_slow(const swarm_end *end) /* rather than that its peer misses anything */
{
    return end->protocol.outbox.policy == WEIR_SLOW_DISCONNECT || end->protocol.outbox.policy == WEIR_SLOW_PAUSE;
}

static inline bool end_is_mute(const swarm_end *end) /* has nothing more to say that makes sense */
{
    return end->spoiled != 0 || end->asked_close || end->asked_abort || end->asked_abort_id;
}

/* ---- callback.c ---- */

/* callback_protocol: weir's side of an end: random limits and deadlines, and the callbacks. */
weir_protocol callback_protocol(swarm *s, const message_format *format, void *data, bool connects);

void callback_accept_error(weir_listener *listener, weir_reason reason);

/* callback_posted: for weir_post and weir_post_after; data is a swarm_post. */
void callback_posted(weir_runtime *runtime, void *data);

/* callback_calm: posted, data is a swarm_worker: lets paused connections read, and closes those that only wait for it.
 * callback_part: the same for the end of the `strict` ones: the last words of both ends, and a close. */
void callback_calm(weir_runtime *runtime, void *data);
void callback_part(weir_runtime *runtime, void *data);

/* callback_enter, callback_leave: around a callback that is no connection's. */
void callback_enter(swarm *s, const char *what);
void callback_leave(swarm *s);

/* callback_send: weir_send of a message of this size; whether it was accepted. Checks what it returned. */
bool callback_send(swarm_end *end, uint32_t size);

/* callback_resume: weir_conn_resume. callback_close: weir_close. */
void callback_resume(swarm_end *end);
void callback_close(swarm_end *end);

/* ---- clock.c ---- */

/* Actions, each on something chosen at random. */
void clock_post(swarm *s, swarm_end *end);
void clock_post_after(swarm *s, swarm_end *end);
void clock_make_strand(swarm *s, swarm_end *end);
void clock_destroy_strand(swarm *s, swarm_end *end);
void clock_post_to_strand(swarm *s, swarm_end *end);
void clock_start_tick(swarm *s, swarm_end *end);
void clock_stop_tick(swarm *s, swarm_end *end);
void clock_start_timer(swarm *s, swarm_end *end);
void clock_start_conn_timer(swarm *s, swarm_end *end);
void clock_free_timer(swarm *s, swarm_end *end);

/* clock_calm: stops ticks and timers, so that calm need not be told in them. clock_judge: all that is due has run.
 * clock_forget: those of a runtime that is gone;
 * clock_forget_end: of a connection that is. */
void clock_calm(swarm *s);
void clock_judge(swarm *s);
void clock_forget(const swarm_runtime *runtime);
void clock_forget_end(const swarm_end *end);

/* ---- judge.c ---- */

/* judge_close: on_close has come with this reason: was there cause? */
void judge_close(const swarm_end *end, weir_reason reason);

/* judge_runtime: what its stats must say whenever nothing runs; and, settled, when nothing is under way either. */
void judge_runtime(const swarm_runtime *runtime, bool is_settled);

/* judge_calm: everything that is owed has come, and everything that is over has ended. */
void judge_calm(swarm *s);

/* judge_orderly: those that were `strict` have ended in order, with all their messages. */
void judge_orderly(swarm *s);

/* judge_all: all ends are over: do those of each connection agree? */
void judge_all(swarm *s);

/* ---- group.c ---- */

/* Rows of the table of actions. */
void act_group_create(swarm *s, swarm_end *end);
void act_group_join(swarm *s, swarm_end *end);
void act_group_leave(swarm *s, swarm_end *end);
void act_group_add_id(swarm *s, swarm_end *end);
void act_group_remove_id(swarm *s, swarm_end *end);
void act_group_send(swarm *s, swarm_end *end);
void act_group_destroy(swarm *s, swarm_end *end);

/* group_take: a message of a group has come to this end. */
void group_take(swarm_end *end, const message_label *label);

/* group_check_before: a message that was sent in a callback has come to this end: so must have what was sent to its
 * peer's groups before. */
void group_check_before(const swarm_end *end, const swarm_sent *item);

/* group_check_owed: what its peer was a member for has come to it. group_judge_sizes: nothing moves: each group has the
 * size that the books say. */
void group_check_owed(const swarm_end *end);
void group_judge_sizes(swarm *s);

/* ---- link.c ---- */

/* act_link, a row of the table: opens a link, or closes one, sends through one, names or forgets the server.
 * act_link_server: the server comes, or goes. */
void act_link(swarm *s, swarm_end *end);
void act_link_server(swarm *s, swarm_end *end);

/* link_calm_begin: the server is there, and has its name. link_calm_end: so all links must be up, and all that they
 * were given must have come. link_destroy: both sides, if there are any. */
void link_calm_begin(swarm *s);
void link_calm_end(swarm *s);
void link_destroy(swarm *s);

/* link_is_restless: there is a link that is not up, and tries to be. */
bool link_is_restless(const swarm *s);

/* ---- logic.c ---- */

/* act_logic, a row of the table: makes a server with an inbox, or destroys it. act_logic_more: a client more, some
 * lines of one end, the end of a connection; or takes some events. */
void act_logic(swarm *s, swarm_end *end);
void act_logic_more(swarm *s, swarm_end *end);

/* logic_destroy: if there is one, with all that is left in its inbox. */
void logic_destroy(swarm *s);

/* logic_calm: takes what comes until nothing does: all lines must have come. */
void logic_calm(swarm *s);

/* ---- udp.c ---- */

/* Rows of the table of actions. */
void act_udp_open(swarm *s, swarm_end *end);
void act_udp_close(swarm *s, swarm_end *end);
void act_udp_send(swarm *s, swarm_end *end);

/* udp_speak: in calm weather each port that is open sends to each. udp_judge_orderly: and all of that has come. */
void udp_speak(swarm *s);
void udp_judge_orderly(swarm *s);

/* udp_judge_calm: where nothing could go wrong nothing is missing; and what was closed has ended. */
void udp_judge_calm(swarm *s);

/* udp_forget: the ports of a runtime that is gone: each has had its end. */
void udp_forget(const swarm_runtime *runtime);

/* udp_most_memory: what the ports of a runtime may hold. */
uint64_t udp_most_memory(const swarm_runtime *runtime);

/* ---- raw.c ---- */

/* raw_make: a peer connects to a listener that is open, if there is one. */
void raw_make(swarm *s);

/* raw_visit: a `strict` one, which says a few things one by one and closes its half, and reads nothing until raw_read.
 */
void raw_visit(swarm *s, swarm_listener *target);
void raw_read(swarm *s);

/* raw_act: one of them does something. */
void raw_act(swarm *s);

/* raw_calm: from here on they read, and end. */
void raw_calm(swarm *s);

void raw_destroy(swarm *s);

#endif
