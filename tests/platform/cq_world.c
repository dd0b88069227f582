#include "cq_world.h"

#include <stdio.h>
#include <stdlib.h>

#include "platform/os.h"
#include "platform/sim.h"

/* Where the queues of a test meet, if they are the simulator's: systems have one network, it has as many as are made.
 */
static wr_sim *network;

/* Those of the simulator that each test runs in: what is asked of all backends holds also where the seed shuffles and
 * cuts. They have no latency, since there is none that a test could wait out with WR_DEADLINE_NOW. */
static const wr_sim_options networks[] = {
    { .seed = 1, .threads = true },
    { .seed = 2, .threads = true, .per_mille[WR_FAULT_PARTIAL] = 300 },
};

static void *counted_alloc(wr_memory *base, size_t size)
{
    world_memory *memory = WR_CONTAINER_OF(base, world_memory, base);
    if (memory->allocations_left == 0) return NULL;
    if (memory->allocations_left != UINT64_MAX) memory->allocations_left--;
    return malloc(size);
}

static void counted_free(wr_memory *base, void *block, size_t size)
{
    (void)base;
    memset(block, 0xdd, size); /* `size` must be what was asked for: ASan tells if it is more */
    free(block);
}

static void open_in(world *w, const struct wr_cq_ops *ops, wr_sim *sim)
{
    *w = (world){ .ops = ops, .sim = sim, .capacity = WORLD_BATCH };
    w->memory =
        (world_memory){ .base = { .alloc = counted_alloc, .free = counted_free }, .allocations_left = UINT64_MAX };
    cr_assert_eq(world_create_queue(w, 0), 0);
}

int world_create_queue(world *w, uint32_t buffer_size)
{
    wr_cq_options options = { .memory = &w->memory.base, .buffer_size = buffer_size, .sim = w->sim };
    return wr_cq_create(w->ops, &w->cq, &options);
}

void world_open(world *w, const struct wr_cq_ops *ops)
{
    open_in(w, ops, ops == &wr_cq_sim ? network : NULL);
}

void world_open_in(world *w, wr_sim *sim)
{
    open_in(w, &wr_cq_sim, sim);
}

void world_close(world *w)
{
    if (w->path[0]) {
        wr_cq_discard(w->cq, w->path_owner);
        wr_os_path_remove(w->path);
    }
    wr_cq_destroy(w->cq);
    cr_assert_eq(w->memory.base.used, 0, "%llu bytes did not come back", (unsigned long long)w->memory.base.used);
}

void world_on_each_backend(void (*body)(world *w))
{
    const char *only = getenv("WEIR_TEST_BACKEND"), *lacks = NULL;
    unsigned applied = 0;
    for (const struct wr_cq_ops *const *ops = wr_cq_backends; *ops; ops++) {
        if (only && strcmp(only, (*ops)->name) != 0) continue;
        for (int pass = 0; pass < (*ops == &wr_cq_sim ? (int)(sizeof networks / sizeof *networks) : 1); pass++) {
            if (*ops == &wr_cq_sim) cr_assert_eq(wr_sim_create(&network, &networks[pass]), 0);
            world w;
            world_open(&w, *ops);
            body(&w);
            cr_assert_null(w.in_flight, "the test leaves an operation in flight, whose deed is gone");
            applied += !w.lacks;
            if (!lacks) lacks = w.lacks;
            world_close(&w);
            wr_sim_destroy(network);
            network = NULL;
        }
    }
    cr_assert(applied > 0 || lacks, "no backend here is called %s", only);
    if (applied == 0) cr_skip_test("%s", lacks);
}

bool world_lacks(world *w, unsigned cap)
{
    if (w->ops->caps & cap) return false;
    w->lacks =
        cap == WR_CAP_UNIX ? "the system has no Unix-domain sockets for this backend" : "a port has one listener";
    return true;
}

/* ---- waiting ---- */

static void take_off(world *w, const deed *d)
{
    deed **link = &w->in_flight;
    while (*link && *link != d) link = &(*link)->next;
    cr_assert_not_null(*link, "a completion of an operation that is not in flight");
    *link = d->next;
}

/* A socket's close is the last that comes of it. */
static void check_close(const world *w, const deed *close)
{
    cr_assert_eq(close->error, 0);
    for (const deed *other = w->in_flight; other; other = other->next) {
        bool same = other->sock.slot == close->sock.slot && other->sock.generation == close->sock.generation;
        cr_assert_not(same, "an operation of kind %d is in flight after the close", other->op.kind);
    }
}

static void note_bytes(deed *d, const wr_completion *c)
{
    cr_assert_geq(c->size, 1);
    cr_assert_not_null(c->buffer);
    cr_assert_null(d->buffer, "bytes before the last ones were returned");
    d->size = c->size;
    d->buffer = c->buffer;
}

/* One that is not the final one. */
static void note_more(deed *d, const wr_completion *c)
{
    cr_assert(d->op.pending);
    if (d->op.kind == WR_OP_RECV) {
        cr_assert(d->op.multishot);
        cr_assert_eq(c->error, 0);
        note_bytes(d, c);
        return;
    }
    cr_assert_eq(d->op.kind, WR_OP_ACCEPT, "only an accept and a recv have more to come");
    if (c->error) {
        d->errors++;
        return;
    }
    cr_assert_lt(d->accepted_count, DEED_ACCEPTED_MAX);
    d->accepted[d->accepted_count] = c->socket;
    d->peers[d->accepted_count] = c->peer;
    d->accepted_count++;
}

static void note_datagrams(deed *d, const wr_completion *c)
{
    uint32_t count = 0;
    for (const wr_datagram *datagram = c->datagrams; datagram; datagram = datagram->next) count++;
    cr_assert_geq(count, 1);
    cr_assert_leq(count, WR_DATAGRAMS_LEASED);
    cr_assert_eq(count, c->size);
    d->size = count;
    d->datagrams = c->datagrams;
}

static void note_final(world *w, deed *d, const wr_completion *c)
{
    take_off(w, d);
    cr_assert_not(d->op.pending);
    cr_assert_not(d->done);
    d->done = true;
    d->turn = ++w->turns;
    d->error = c->error;
    d->system_error = c->system_error;
    if (d->op.kind == WR_OP_ACCEPT) cr_assert_neq(c->error, 0, "an accept ends with an error alone");
    if (d->op.kind == WR_OP_CLOSE) check_close(w, d);
    if (d->op.kind == WR_OP_CONNECT && c->error == 0) {
        d->sock = c->connected;
        cr_assert_neq(d->sock.generation, 0);
    }
    if (d->op.kind == WR_OP_RECV && c->error == 0) note_bytes(d, c);
    if (d->op.kind == WR_OP_RECV_FROM && c->error == 0) note_datagrams(d, c);
    if (d->op.kind == WR_OP_SEND_TO && c->error == 0) cr_assert_null(d->batch.first, "a send that left some out");
}

unsigned world_pump(world *w, uint64_t deadline_ns)
{
    wr_completion out[WORLD_BATCH];
    cr_assert_leq(w->capacity, WORLD_BATCH);
    unsigned count = wr_cq_wait(w->cq, out, w->capacity, deadline_ns);
    cr_assert_leq(count, w->capacity);
    for (unsigned i = 0; i < count; i++) {
        deed *d = WR_CONTAINER_OF(out[i].op, deed, op);
        if (out[i].flags & WR_MORE)
            note_more(d, &out[i]);
        else
            note_final(w, d, &out[i]);
    }
    return count;
}

uint64_t world_in_ms(world *w, uint64_t ms)
{
    return wr_cq_now(w->cq) + ms * 1000000;
}

/* patience_ns: the end of it. A virtual clock does not wait for another thread, it jumps: there the harness's time
 * limit is all there is. */
static uint64_t patience_ns(world *w)
{
    return w->awaits_threads ? WR_DEADLINE_NEVER : world_in_ms(w, WORLD_PATIENCE_MS);
}

void world_await(world *w, const deed *d)
{
    uint64_t deadline_ns = patience_ns(w);
    while (!d->done) {
        cr_assert_lt(wr_cq_now(w->cq), deadline_ns, "an operation of kind %d never completed", d->op.kind);
        world_pump(w, deadline_ns);
    }
}

void world_await_bytes(world *w, const deed *recv)
{
    uint64_t deadline_ns = patience_ns(w);
    while (!recv->done && !recv->buffer) {
        cr_assert_lt(wr_cq_now(w->cq), deadline_ns, "no bytes came");
        world_pump(w, deadline_ns);
    }
}

void world_await_accepted(world *w, const deed *accept, unsigned count)
{
    uint64_t deadline_ns = patience_ns(w);
    while (accept->accepted_count < count) {
        cr_assert_lt(wr_cq_now(w->cq), deadline_ns, "%u of %u accepted", accept->accepted_count, count);
        world_pump(w, deadline_ns);
    }
}

void world_settle(world *w)
{
    uint64_t silent_ns = world_in_ms(w, WORLD_SILENCE_MS);
    while (wr_cq_now(w->cq) < silent_ns) {
        if (world_pump(w, silent_ns) > 0) silent_ns = world_in_ms(w, WORLD_SILENCE_MS);
    }
}

/* ---- submitting ---- */

static void begin(world *w, deed *d, wr_sock sock)
{
    wr_op op = d->op;
    memset(d, 0, offsetof(deed, accepted));
    d->op = op;
    d->sock = sock;
    d->next = w->in_flight;
    w->in_flight = d;
}

static void check_submitted(const deed *d, enum wr_op_kind kind)
{
    cr_assert(d->op.pending);
    cr_assert_not(d->done, "completed inline");
    cr_assert_eq(d->op.kind, kind);
}

/* For the two that may end within their submit, if their operation is prompt. */
static void note_submitted(world *w, deed *d, enum wr_op_kind kind)
{
    if (!d->op.prompt || d->op.pending) {
        check_submitted(d, kind);
        return;
    }
    take_off(w, d);
    d->done = true;
    d->turn = ++w->turns;
    if (kind == WR_OP_CLOSE) check_close(w, d);
}

void world_post(world *w, deed *d)
{
    begin(w, d, (wr_sock){ 0 });
    wr_cq_post(w->cq, &d->op);
    check_submitted(d, WR_OP_POST);
}

void world_accept(world *w, wr_sock listener, deed *d)
{
    begin(w, d, listener);
    wr_cq_accept(w->cq, listener, &d->op);
    check_submitted(d, WR_OP_ACCEPT);
}

void world_connect_from(world *w, const wr_addr *local, const wr_endpoint *remote, deed *d)
{
    wr_endpoint to = *remote;
    wr_addr from = local ? *local : (wr_addr){ 0 };
    wr_connect_params params = { .remote = &to.addr, .path = to.path, .local = local ? &from : NULL };
    begin(w, d, (wr_sock){ 0 });
    wr_cq_connect(w->cq, &params, &d->op);
    memset(&params, 0xff, sizeof params); /* they have been read, */
    memset(&to, 0xff, sizeof to);         /* and what they pointed to */
    memset(&from, 0xff, sizeof from);
    check_submitted(d, WR_OP_CONNECT);
}

void world_connect(world *w, const wr_endpoint *remote, deed *d)
{
    world_connect_from(w, NULL, remote, d);
}

void world_recv(world *w, wr_sock sock, deed *d)
{
    begin(w, d, sock);
    wr_cq_recv(w->cq, sock, &d->op);
    check_submitted(d, WR_OP_RECV);
}

void world_recv_more(world *w, wr_sock sock, deed *d)
{
    if (d->op.pending) return;
    d->op.multishot = true;
    world_recv(w, sock, d);
}

void world_recv_stop(world *w, deed *d)
{
    wr_cq_recv_stop(w->cq, d->sock);
    cr_assert_not(d->op.pending);
    take_off(w, d);
}

void world_send(world *w, wr_sock sock, const wr_slice *slices, deed *d)
{
    begin(w, d, sock);
    wr_cq_send(w->cq, sock, &d->op, slices);
    note_submitted(w, d, WR_OP_SEND);
}

void world_end(world *w, wr_sock sock, bool reset, deed *d)
{
    begin(w, d, sock);
    wr_cq_close(w->cq, sock, &d->op, reset);
    note_submitted(w, d, WR_OP_CLOSE);
}

void world_recv_from(world *w, wr_sock sock, uint16_t size_max, deed *d)
{
    begin(w, d, sock);
    wr_cq_recv_from(w->cq, sock, &d->op, size_max);
    check_submitted(d, WR_OP_RECV_FROM);
}

void world_send_to(world *w, wr_sock sock, const wr_datagram *first, deed *d)
{
    begin(w, d, sock);
    d->batch = (wr_send_batch){
        .first = first, .sent = 99, .sent_bytes = 99, .refused = 99, .error = 99
    }; /* the backend sets them */
    wr_cq_send_to(w->cq, sock, &d->op, &d->batch);
    check_submitted(d, WR_OP_SEND_TO);
}

void world_return(world *w, deed *d)
{
    cr_assert(d->buffer || d->datagrams);
    if (d->buffer) wr_cq_buf_return(w->cq, d->buffer);
    if (d->datagrams) wr_cq_datagrams_return(w->cq, d->datagrams);
    d->buffer = NULL;
    d->datagrams = NULL;
}

/* ---- submitting and waiting ---- */

/* The port of a listener that lives as long as the world makes the path no other test's. */
static void name_path(world *w)
{
    wr_listen_params params = { .local = { .addr = { .ip = { 127, 0, 0, 1 }, .family = WR_FAMILY_IPV4 } },
                                .backlog = 1 };
    wr_listen_result result;
    cr_assert_eq(wr_cq_listen(w->cq, &params, &result), 0);
    w->path_owner = result.socket;
    snprintf(w->path, sizeof w->path, "weir-test-%u.sock", result.bound.port);
}

static wr_endpoint endpoint_for(world *w, enum wr_family family)
{
    wr_endpoint endpoint = { .addr = world_loopback(family, 0) };
    if (family == WR_FAMILY_UNIX) {
        if (!w->path[0]) name_path(w);
        memcpy(endpoint.path, w->path, sizeof w->path);
    }
    return endpoint;
}

wr_addr world_loopback(enum wr_family family, uint16_t port)
{
    wr_addr addr = { .family = (uint8_t)family, .port = port };
    if (family == WR_FAMILY_IPV4) memcpy(addr.ip, (const uint8_t[]){ 127, 0, 0, 1 }, 4);
    if (family == WR_FAMILY_IPV6) addr.ip[15] = 1;
    return addr;
}

wr_sock world_udp_open(world *w, const wr_udp_params *params, wr_addr *where)
{
    wr_listen_result result;
    int error = wr_cq_udp_open(w->cq, params, &result);
    cr_assert_eq(error, 0, "udp_open: %d, system error %d", error, result.system_error);
    cr_assert_neq(result.bound.port, 0);
    *where = result.bound;
    return world_adopt(w, result.socket);
}

bool world_udp(world *w, enum wr_family family, wr_sock *sock, wr_addr *where)
{
    wr_udp_params params = { .local = world_loopback(family, 0) };
    wr_listen_result result;
    int error = wr_cq_udp_open(w->cq, &params, &result);
    if (family == WR_FAMILY_IPV6 && (error == WEIR_EAFNOSUPPORT || error == WEIR_EADDRNOTAVAIL)) {
        w->lacks = "the loopback has no IPv6 here";
        return false;
    }
    cr_assert_eq(error, 0, "udp_open: %d, system error %d", error, result.system_error);
    cr_assert_eq(result.bound.family, family);
    *where = result.bound;
    *sock = world_adopt(w, result.socket);
    return true;
}

bool world_listen(world *w, enum wr_family family, wr_sock *listener, wr_endpoint *where)
{
    if (family == WR_FAMILY_UNIX && world_lacks(w, WR_CAP_UNIX)) return false;
    wr_listen_params params = { .local = endpoint_for(w, family), .backlog = 512 };
    wr_listen_result result;
    int error = wr_cq_listen(w->cq, &params, &result);
    if (family == WR_FAMILY_IPV6 && (error == WEIR_EAFNOSUPPORT || error == WEIR_EADDRNOTAVAIL)) {
        w->lacks = "the loopback has no IPv6 here";
        return false;
    }
    cr_assert_eq(error, 0, "listen: %d, system error %d", error, result.system_error);
    *where = params.local;
    where->addr.port = result.bound.port;
    *listener = world_adopt(w, result.socket);
    return true;
}

wr_sock world_listen_ipv4(world *w, wr_endpoint *where)
{
    wr_sock listener;
    cr_assert(world_listen(w, WR_FAMILY_IPV4, &listener, where));
    return listener;
}

wr_endpoint world_nowhere(world *w)
{
    wr_endpoint where;
    wr_sock listener = world_listen_ipv4(w, &where);
    world_finish(w, listener);
    return where;
}

wr_sock world_adopt(world *w, wr_detached socket)
{
    wr_sock sock;
    cr_assert_eq(wr_cq_adopt(w->cq, socket, &sock), 0);
    cr_assert_neq(sock.generation, 0);
    return sock;
}

pair world_pair_at(world *w, wr_sock listener, const wr_endpoint *where)
{
    deed accept = { 0 }, connect = { 0 };
    world_accept(w, listener, &accept);
    world_connect(w, where, &connect);
    world_await(w, &connect);
    cr_assert_eq(connect.error, 0);
    world_await_accepted(w, &accept, 1);
    wr_cq_cancel(w->cq, &accept.op);
    world_await(w, &accept);
    return (pair){ .a = connect.sock, .b = world_adopt(w, accept.accepted[0]) };
}

pair world_pair(world *w)
{
    wr_endpoint where;
    wr_sock listener = world_listen_ipv4(w, &where);
    pair p = world_pair_at(w, listener, &where);
    world_finish(w, listener);
    return p;
}

void world_finish(world *w, wr_sock sock)
{
    deed close = { 0 };
    world_end(w, sock, false, &close);
    world_await(w, &close);
}

void world_finish_pair(world *w, pair p)
{
    world_finish(w, p.a);
    world_finish(w, p.b);
}

void world_say(world *w, wr_sock sock, const void *bytes, uint32_t size)
{
    deed send = { 0 };
    wr_slice slice = { .data = bytes, .size = size };
    world_send(w, sock, &slice, &send);
    world_await(w, &send);
    cr_assert_eq(send.error, 0);
}

void world_hear(world *w, wr_sock sock, void *bytes, size_t size)
{
    deed recv = { 0 };
    size_t heard = 0;
    while (heard < size) {
        world_recv(w, sock, &recv);
        world_await(w, &recv);
        cr_assert_eq(recv.error, 0, "%d after %zu of %zu bytes", recv.error, heard, size);
        cr_assert_leq(recv.size, size - heard, "more bytes than were sent");
        memcpy((uint8_t *)bytes + heard, recv.buffer, recv.size);
        heard += recv.size;
        world_return(w, &recv);
    }
}

int world_hear_end(world *w, wr_sock sock, size_t *size)
{
    deed recv = { 0 };
    *size = 0;
    for (;;) {
        world_recv(w, sock, &recv);
        world_await(w, &recv);
        if (recv.error) return recv.error;
        *size += recv.size;
        world_return(w, &recv);
    }
}
