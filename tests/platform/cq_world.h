/* What the conformance tests of the completion queue (platform/cq.h) share: a queue whose memory counts and can be made
 * to refuse, operations that remember what came of them, and connected sockets.
 *
 * A test's body runs on every backend of the build and uses nothing but cq.h: no descriptors, no system's sockets.
 * Where a peer is needed, it is another socket of a queue. While it waits, a world checks of each submit that it does
 * not complete inline, and of each completion what holds for all (platform/cq.h, 1, 2 and 5). */
#ifndef WR_CQ_WORLD_H
#define WR_CQ_WORLD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "harness/weir_test.h"
#include "platform/cq.h"

enum {
    WORLD_PATIENCE_MS = 20000, /* before a test says that something never came */
    WORLD_SILENCE_MS = 20,     /* to find that nothing comes */
    WORLD_BATCH = 64,          /* completions a wait, unless a test says otherwise */
    DEED_ACCEPTED_MAX = 256,
};

/* An operation, and what came of it. It may be submitted again once it is done. */
typedef struct deed deed;
struct deed {
    wr_op op;
    deed *next;    /* in flight */
    wr_sock sock;  /* it was submitted on; CONNECT: what it connected */
    bool done;     /* the final completion came */
    unsigned turn; /* ... as the world's so manieth, from 1 */
    int error;
    int system_error;
    uint32_t size;                /* RECV: of what came last */
    uint8_t *buffer;              /* RECV: leased */
    const wr_datagram *datagrams; /* RECV_FROM: leased */
    wr_send_batch batch;          /* SEND_TO */
    unsigned errors;              /* ACCEPT: with WR_MORE */
    unsigned accepted_count;
    wr_detached accepted[DEED_ACCEPTED_MAX]; /* from here on not cleared by a submit: accepted_count says what counts */
    wr_addr peers[DEED_ACCEPTED_MAX];
};

/* A memory that knows what is out, and that refuses when told to. */
typedef struct world_memory {
    wr_memory base;
    uint64_t allocations_left; /* UINT64_MAX: never refuses */
} world_memory;

typedef struct world {
    const struct wr_cq_ops *ops;
    wr_cq *cq;
    const char *lacks; /* why the test does not apply to this backend; NULL: it does */
    wr_sim *sim;       /* of the simulator's queues: where they live */
    world_memory memory;
    unsigned capacity;   /* of a wait */
    unsigned turns;      /* final completions so far */
    bool awaits_threads; /* what a test waits for may be another thread's to do */
    deed *in_flight;
    char path[64]; /* of a Unix-domain socket; empty until one is asked for */
    wr_detached path_owner;
} world;

/* Two ends of a connection in one queue. */
typedef struct pair {
    wr_sock a; /* connected */
    wr_sock b; /* accepted */
} pair;

/* CQ_TEST: a test whose body runs in a fresh world on each backend. */
#define CQ_TEST(suite, name)                          \
    static void suite##_##name##_body(world *w);      \
    Test(suite, name)                                 \
    {                                                 \
        world_on_each_backend(suite##_##name##_body); \
    }                                                 \
    static void suite##_##name##_body(world *w)

/* world_on_each_backend: on the one that the environment's WEIR_TEST_BACKEND names, or else on all of the build. Skips
 * the test, for the first one's reason, if it applies to none. */
void world_on_each_backend(void (*body)(world *w));

/* world_lacks: whether the backend lacks this WR_CAP_…: then the body is to return. */
bool world_lacks(world *w, unsigned cap);

/* world_open, world_close: a queue; closing it asserts that all of its memory came back. */
void world_open(world *w, const struct wr_cq_ops *ops);
void world_close(world *w);

/* world_open_in: a queue of the simulator, in a world of the test's own. */
void world_open_in(world *w, wr_sim *sim);

/* world_create_queue: the queue alone, in place of one that was destroyed; buffer_size as in wr_cq_options. */
int world_create_queue(world *w, uint32_t buffer_size);

/* ---- waiting ---- */

/* world_pump: one wait; returns how many completions it brought. */
unsigned world_pump(world *w, uint64_t deadline_ns);

/* world_await: waits until the deed is done; the test fails if that never happens. */
void world_await(world *w, const deed *d);

/* world_await_bytes: waits until a recv has brought something, or is done. */
void world_await_bytes(world *w, const deed *recv);

/* world_await_accepted: waits until the accept has delivered so many sockets in all. */
void world_await_accepted(world *w, const deed *accept, unsigned count);

/* world_settle: waits until nothing has come for WORLD_SILENCE_MS. */
void world_settle(world *w);

/* world_in_ms: a deadline. */
uint64_t world_in_ms(world *w, uint64_t ms);

/* ---- submitting ---- */

void world_post(world *w, deed *d);
void world_accept(world *w, wr_sock listener, deed *d);
void world_connect(world *w, const wr_endpoint *remote, deed *d);
void world_connect_from(world *w, const wr_addr *local, const wr_endpoint *remote, deed *d);
void world_recv(world *w, wr_sock sock, deed *d);

/* world_recv_more: the same, but it may go on; or nothing, if it is in flight still. */
void world_recv_more(world *w, wr_sock sock, deed *d);
void world_send(world *w, wr_sock sock, const wr_slice *slices, deed *d);
void world_end(world *w, wr_sock sock, bool reset, deed *d);

void world_recv_from(world *w, wr_sock sock, uint16_t size_max, deed *d);
void world_send_to(world *w, wr_sock sock, const wr_datagram *first, deed *d);

/* world_return: gives what a finished recv leased back. */
void world_return(world *w, deed *d);

/* world_recv_stop: ends a recv that goes on. */
void world_recv_stop(world *w, deed *d);

/* ---- submitting and waiting ---- */

/* world_listen: a listener on the loopback, with a port or path of its own; `*where` is what to connect to. False: the
 * backend or this system has no such family; the body is to return. */
bool world_listen(world *w, enum wr_family family, wr_sock *listener, wr_endpoint *where);

/* world_listen_ipv4: the same where it must be. */
wr_sock world_listen_ipv4(world *w, wr_endpoint *where);

/* world_nowhere: an IPv4 endpoint of the loopback where nobody listens. */
wr_endpoint world_nowhere(world *w);

/* world_adopt: adopts what must be adoptable. */
wr_sock world_adopt(world *w, wr_detached socket);

/* world_pair: a connection over IPv4; world_pair_at: over a listener without a pending accept. */
pair world_pair(world *w);
pair world_pair_at(world *w, wr_sock listener, const wr_endpoint *where);

/* world_finish: closes a socket, and waits for that. */
void world_finish(world *w, wr_sock sock);
void world_finish_pair(world *w, pair p);

/* world_say: sends, and waits until all is sent. world_hear: receives exactly that many bytes. */
void world_say(world *w, wr_sock sock, const void *bytes, uint32_t size);
void world_hear(world *w, wr_sock sock, void *bytes, size_t size);

/* world_udp: a UDP socket on the loopback; `*where` is its address. False: as world_listen. */
bool world_udp(world *w, enum wr_family family, wr_sock *sock, wr_addr *where);

/* world_udp_open: one with these parameters, which must be possible. */
wr_sock world_udp_open(world *w, const wr_udp_params *params, wr_addr *where);

/* world_loopback: the address, with that port. */
wr_addr world_loopback(enum wr_family family, uint16_t port);

/* world_hear_end: receives until there is no more, and returns why; `*size` counts the bytes before it. */
int world_hear_end(world *w, wr_sock sock, size_t *size);

#endif
