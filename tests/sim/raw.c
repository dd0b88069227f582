/* Peers that are not weir's, on a completion queue of their own: they close half, send nonsense and single bytes, do
 * not read, and go without a word. */
#include <stdlib.h>
#include <string.h>

#include "core/address.h"
#include "core/sim.h"
#include "sim/swarm.h"

enum { COMPLETIONS = 16, OUT_MAX = 4096, VISIT_MESSAGES = 3 };

enum { TAG_CONNECT, TAG_RECV, TAG_SEND, TAG_CLOSE };

typedef struct peer peer;
struct peer {
    peer *next;
    swarm_raw *owner;
    swarm_end *end;
    wr_op connect, recv, send, close;
    wr_sock sock; /* of generation 0: none */
    wr_slice slice;
    uint32_t out_size;
    bool reads, hears_end;            /* it wants to read; it has been told of the end */
    bool receiving, sending, closing; /* until the completion is served: `pending` ends when it is taken */
    bool closes_half, closes, resets, shut, dead;
    unsigned visit; /* see raw_visit: messages still to say, and one for the half-close; 0: no visit, or over */
    uint8_t out[OUT_MAX];
};

struct swarm_raw {
    swarm *s;
    wr_memory memory;
    wr_cq *cq;
    peer *peers;
    unsigned count;
};

static void say_message(swarm *s, peer *p)
{
    swarm_end *end = p->end;
    uint32_t most = end->format->most < OUT_MAX ? end->format->most : OUT_MAX;
    if (most - p->out_size < end->format->least || p->out_size > most) return;
    uint32_t size = (uint32_t)choose_from(&s->from, end->format->least, most - p->out_size);
    message_label label = end_label(end, DIRECT, size);
    message_write(end->format, &label, p->out + p->out_size);
    p->out_size += size;
    end_accepted(end, DIRECT, size, -1);
}

static void go_on_with_visit(peer *p)
{
    if (p->visit == 0 || p->sending || p->out_size > 0) return;
    if (--p->visit > 0)
        say_message(p->owner->s, p);
    else
        p->closes_half = true;
}

static void reconcile(peer *p)
{
    wr_cq *cq = p->owner->cq;
    if (p->sock.generation == 0 || p->closing || p->dead) return;
    go_on_with_visit(p);
    if (p->resets || (p->closes && !p->sending && p->out_size == 0)) {
        p->closing = true;
        wr_cq_close(cq, p->sock, &p->close, p->resets);
        return;
    }
    if (p->out_size > 0 && !p->sending && !p->shut) {
        p->sending = true;
        p->slice = (wr_slice){ .data = p->out, .size = p->out_size };
        wr_cq_send(cq, p->sock, &p->send, &p->slice);
    }
    if (p->closes_half && !p->shut && !p->sending && p->out_size == 0) {
        p->shut = true;
        wr_cq_shutdown(cq, p->sock);
    }
    if (p->reads && !p->receiving && !p->hears_end) {
        p->receiving = true;
        wr_cq_recv(cq, p->sock, &p->recv);
    }
}

static void connected(peer *p, const wr_completion *completion)
{
    swarm_end *end = p->end;
    if (completion->error) {
        end->state = END_GONE;
        end->closed_ns = swarm_now(end->s);
        p->dead = true;
        return;
    }
    wr_addr local;
    p->sock = completion->connected;
    wr_cq_local(p->owner->cq, p->sock, &local);
    wr_address_format(&end->local, &local, NULL);
    end->state = END_OPEN;
    end->opened_ns = swarm_now(end->s);
    end_meet(end);
    swarm_say(end->s, "end %u: a raw peer, %s to %s", end->number, end->local.text, end->remote.text);
}

static void received(peer *p, const wr_completion *completion)
{
    swarm_end *end = p->end;
    if (completion->error == 0) {
        end_take(end, completion->buffer, completion->size);
        wr_cq_buf_return(p->owner->cq, completion->buffer);
        return;
    }
    if (completion->error == WEIR_ENOMEM || completion->error == WEIR_ECANCELED) return;
    p->hears_end = true;
    swarm_say(end->s, "end %u: the raw peer hears %s", end->number, weir_error_name(completion->error));
    if (completion->error == WEIR_EEOF) {
        end->ended = true;
        end_check_all_came(end, "at the end of the stream");
    }
    if (end->s->quiet || choose(&end->s->from, 2)) p->closes = true;
}

static void complete(peer *p, const wr_completion *completion)
{
    switch (completion->op->tag) {
    case TAG_CONNECT:
        connected(p, completion);
        break;
    case TAG_RECV:
        p->receiving = false;
        received(p, completion);
        break;
    case TAG_SEND:
        p->sending = false;
        p->out_size = 0;
        if (completion->error) p->resets = true; /* a FIN would say that it was all */
        break;
    default:
        p->dead = true;
        p->end->state = END_GONE;
        p->end->closed_ns = swarm_now(p->end->s);
    }
    reconcile(p);
}

static peer *peer_of(const wr_op *op)
{
    switch (op->tag) {
    case TAG_CONNECT:
        return WR_CONTAINER_OF(op, peer, connect);
    case TAG_RECV:
        return WR_CONTAINER_OF(op, peer, recv);
    case TAG_SEND:
        return WR_CONTAINER_OF(op, peer, send);
    default:
        return WR_CONTAINER_OF(op, peer, close);
    }
}

static uint64_t step(void *owner)
{
    swarm_raw *raws = owner;
    wr_completion completions[COMPLETIONS];
    unsigned count = wr_cq_wait(raws->cq, completions, COMPLETIONS, WR_DEADLINE_NOW);
    for (unsigned i = 0; i < count; i++) complete(peer_of(completions[i].op), &completions[i]);
    return WR_DEADLINE_NEVER;
}

static swarm_raw *get_raws(swarm *s)
{
    if (s->raws) return s->raws;
    swarm_raw *raws = calloc(1, sizeof *raws);
    SWARM_CHECK(s, raws, "the test is out of memory");
    raws->s = s;
    raws->memory = wr_malloc_memory();
    wr_cq_options options = { .memory = &raws->memory, .sim = s->sim->world };
    int error = wr_cq_create(&wr_cq_sim, &raws->cq, &options);
    SWARM_CHECK(s, error == 0, "wr_cq_create returns %s", weir_error_name(error));
    wr_sim_attach(raws->cq, step, raws);
    s->raws = raws;
    return raws;
}

static void make_peer(swarm *s, swarm_listener *target, bool reads, unsigned visit)
{
    swarm_raw *raws = get_raws(s);
    swarm_end *end = end_make(s);
    peer *p = calloc(1, sizeof *p);
    SWARM_CHECK(s, end && p, "the test is out of memory");
    *p = (peer){ .next = raws->peers, .owner = raws, .end = end, .reads = reads, .visit = visit };
    end->strict = visit > 0;
    p->connect.tag = TAG_CONNECT;
    p->recv.tag = TAG_RECV;
    p->send.tag = TAG_SEND;
    p->close.tag = TAG_CLOSE;
    raws->peers = p;
    raws->count++;
    end->raw = raws;
    end->target = target;
    end->format = target->format;
    wr_endpoint remote;
    const char *why;
    int error = wr_address_parse(&remote, target->address, &why);
    SWARM_CHECK(s, error == 0, "the address %s is not understood", target->address);
    wr_address_format(&end->remote, &remote.addr, remote.path);
    const wr_connect_params params = { .remote = &remote.addr, .path = remote.path };
    wr_cq_connect(raws->cq, &params, &p->connect);
}

void raw_make(swarm *s)
{
    if (s->made_listeners == 0) return;
    make_peer(s, &s->listeners[choose(&s->from, s->made_listeners)], choose(&s->from, 2), 0);
}

void raw_visit(swarm *s, swarm_listener *target)
{
    make_peer(s, target, false, 1 + VISIT_MESSAGES);
}

void raw_read(swarm *s)
{
    for (peer *p = s->raws ? s->raws->peers : NULL; p; p = p->next) {
        p->reads = true;
        reconcile(p);
    }
}

/* ---- what they do ---- */

static void say_nonsense(swarm *s, peer *p)
{
    int kind = 0;
    size_t size = message_spoil(p->end->format, &s->from, s->bytes, &kind);
    if (size == 0 || p->out_size + size > OUT_MAX) return;
    memcpy(p->out + p->out_size, s->bytes, size);
    p->out_size += (uint32_t)size;
    p->end->spoiled = kind;
}

/* The beginning of a message, and then the end. */
static void break_off(swarm *s, peer *p)
{
    swarm_end *end = p->end;
    message_label label = end_label(end, DIRECT, end->format->least);
    if (end->format->framing.kind == WEIR_FRAMING_NONE || p->out_size + label.size > OUT_MAX) return;
    message_write(end->format, &label, p->out + p->out_size);
    p->out_size += (uint32_t)choose_from(&s->from, 1, label.size - 1);
    p->closes_half = true;
    end->spoiled = WEIR_ETRUNCATED;
}

void raw_act(swarm *s)
{
    swarm_raw *raws = s->raws;
    if (!raws || raws->count == 0) return;
    peer *p = raws->peers;
    for (uint64_t n = choose(&s->from, raws->count); n > 0; n--) p = p->next;
    if (p->dead || p->sock.generation == 0 || p->closing) return;
    bool may_speak = !p->closes_half && !p->closes && !p->end->spoiled && !p->sending;
    switch (choose(&s->from, 14)) {
    case 0:
    case 6:
    case 7:
        p->closes_half = true;
        break;
    case 1:
        p->closes = true;
        break;
    case 2:
        p->resets = true;
        break;
    case 3:
        p->reads = !p->reads;
        break;
    case 4:
        if (may_speak) say_nonsense(s, p);
        break;
    case 5:
        if (may_speak) break_off(s, p);
        break;
    default:
        if (may_speak && s->budget > 0) {
            s->budget--;
            say_message(s, p);
        }
    }
    reconcile(p);
}

void raw_calm(swarm *s)
{
    for (peer *p = s->raws ? s->raws->peers : NULL; p; p = p->next) {
        p->reads = p->closes_half = true;
        p->closes = p->closes || p->hears_end;
        reconcile(p);
    }
}

void raw_destroy(swarm *s)
{
    swarm_raw *raws = s->raws;
    if (!raws) return;
    wr_cq_destroy(raws->cq);
    while (raws->peers) {
        peer *p = raws->peers;
        raws->peers = p->next;
        free(p);
    }
    free(raws);
    s->raws = NULL;
}
