/* Datagrams: sockets, what is on its way, and what has come. */
#include <stdlib.h>
#include <string.h>

#include "platform/bug.h"
#include "platform/sim/sim.h"

enum {
    RECEIVE_BYTES = 212992, /* of a socket whose owner asks for nothing: as Linux has it */
    RECEIVE_BYTES_MIN = 2304,
    OVERHEAD = 256,    /* a datagram's, in a buffer */
    OFFERED = 16,      /* a full buffer takes no more than that at once */
    LATE_NS = 1000000, /* and thrice the longest latency: how late one comes at most that others overtake */
};

int wr_sim_udp_open(wr_sim *sim, const wr_udp_params *params, wr_listen_result *out)
{
    const wr_listen_params bound = { .local.addr = params->local,
                                     .shared_port = params->shared_port,
                                     .claims_port = params->claims_port,
                                     .ipv6_only = params->ipv6_only };
    int error = wr_sim_open_bound(sim, WR_FILE_DATAGRAM, &sim->datagram_sockets, &bound, out);
    if (error) return error;
    wr_sim_file *file = wr_sim_file_of(sim, out->socket);
    file->mail.room = params->receive_bytes ? params->receive_bytes : RECEIVE_BYTES;
    if (file->mail.room < RECEIVE_BYTES_MIN) file->mail.room = RECEIVE_BYTES_MIN;
    file->order = wr_sim_draw_order(sim);
    wr_sim_note(sim, WR_NOTE_OPEN, file, 0);
    return 0;
}

/* ---- sending ---- */

/* A socket that is bound to no host answers from where it was last spoken to, as a host of one address would. */
static wr_addr source_of(const wr_sim_file *file, const wr_addr *to)
{
    wr_addr from = file->local;
    if (!wr_sim_is_any(&from)) return from;
    from.family = to->family;
    bool is_known =
        file->spoken_to.family == to->family && wr_sim_is_loopback(&file->spoken_to) == wr_sim_is_loopback(to);
    if (is_known)
        memcpy(from.ip, file->spoken_to.ip, sizeof from.ip);
    else
        wr_sim_set_source(&from, to);
    return from;
}

/* Why the system does not take it; 0: it does. */
static int refusal(wr_sim *sim, const wr_sim_file *file, const wr_datagram *datagram)
{
    const wr_addr *to = &datagram->peer;
    bool is_ipv4 = to->family == WR_FAMILY_IPV4;
    if (!is_ipv4 && (to->family != WR_FAMILY_IPV6 || file->local.family == WR_FAMILY_IPV4)) return WEIR_EAFNOSUPPORT;
    if (is_ipv4 && !wr_sim_takes_ipv4(file)) return WEIR_EAFNOSUPPORT;
    if (datagram->size > WR_DATAGRAM_MAX) return WEIR_EMSGSIZE;
    if (to->port == 0) return WEIR_EINVAL;
    if (wr_sim_is_foreign(to)) return WEIR_EHOSTUNREACH;
    return wr_sim_strikes(sim, WR_FAULT_ENOBUFS) ? WEIR_ENOBUFS : 0;
}

/* False: no memory. */
static bool launch(wr_sim *sim, const wr_sim_file *file, const wr_datagram *datagram)
{
    wr_sim_datagram *flying = malloc(sizeof *flying + datagram->size);
    if (!flying) return false;
    sim->flying++;
    if (!wr_sim_events_reserve(sim)) {
        sim->flying--;
        free(flying);
        return false;
    }
    *flying = (wr_sim_datagram){ .to = datagram->peer, .size = datagram->size };
    if (wr_sim_is_any(&flying->to)) wr_sim_set_loopback(&flying->to);
    flying->from = source_of(file, &flying->to);
    if (datagram->size > 0) memcpy(flying->bytes, datagram->data, datagram->size);
    uint64_t due_ns = sim->now_ns + wr_sim_latency_ns(sim);
    if (wr_sim_strikes(sim, WR_FAULT_DATAGRAM_LATE)) {
        uint64_t most_ns = LATE_NS + 3 * UINT64_C(1000) * sim->options.latency_us_max;
        due_ns += 1 + wr_random_below(&sim->random, most_ns);
    }
    wr_sim_schedule_datagram(sim, flying, due_ns, file->order);
    return true;
}

static int offer(wr_sim *sim, const wr_sim_file *file, const wr_datagram *datagram)
{
    int error = refusal(sim, file, datagram);
    if (error) return error;
    wr_sim_note_datagram(sim, WR_NOTE_SEND_TO, file, datagram->size, &datagram->peer);
    if (wr_sim_strikes(sim, WR_FAULT_DATAGRAM_LOSS)) return 0;
    if (!launch(sim, file, datagram)) return WEIR_ENOBUFS;
    if (wr_sim_strikes(sim, WR_FAULT_DATAGRAM_COPY)) (void)launch(sim, file, datagram);
    return 0;
}

void wr_sim_push_datagrams(wr_sim *sim, wr_sim_file *file)
{
    wr_sim_socket *socket = file->socket;
    if (!socket || !socket->out) return;
    wr_send_batch *batch = socket->batch;
    uint64_t left = UINT64_MAX;
    if (batch->first->next && wr_sim_strikes(sim, WR_FAULT_PARTIAL)) left = 1 + wr_random_below(&sim->random, OFFERED);
    for (; batch->first && left > 0; left--) {
        int error = offer(sim, file, batch->first);
        if (error == 0) {
            batch->sent++;
            batch->sent_bytes += batch->first->size;
        } else if (batch->refused++ == 0) {
            batch->error = error;
            batch->system_error = wr_sim_code(error);
        }
        batch->first = batch->first->next;
    }
    if (batch->first) {
        wr_sim_schedule(sim, file, WR_EVENT_WINDOW, sim->now_ns + wr_sim_latency_ns(sim));
        return;
    }
    wr_op *op = socket->out;
    socket->out = NULL;
    wr_sim_finish(file->queue, socket, op, 0);
}

uint64_t wr_sim_batch_sum(const wr_datagram *datagrams)
{
    uint64_t sum = 0;
    uint32_t left = WR_SIM_SUM_MAX;
    for (; datagrams; datagrams = datagrams->next) {
        WR_SIM_RULE(datagrams->size == 0 || datagrams->data, "a datagram's bytes are somewhere");
        uint32_t size = datagrams->size < left ? datagrams->size : left;
        sum = wr_sim_sum(sum ^ datagrams->peer.port, datagrams->peer.ip, sizeof datagrams->peer.ip);
        sum = wr_sim_sum(sum, datagrams->data, size);
        left -= size;
    }
    return sum;
}

void wr_sim_send_to(wr_sim_queue *queue, wr_sim_socket *socket, wr_op *op, wr_send_batch *batch)
{
    *batch = (wr_send_batch){ .first = batch->first };
    socket->out = op;
    socket->batch = batch;
    socket->offered = batch->first;
    socket->sent_sum = wr_sim_batch_sum(batch->first);
    wr_sim_push_datagrams(queue->sim, socket->file);
}

/* ---- on their way ---- */

/* Of several sockets that share the port one peer always meets the same, while they are the same. */
static wr_sim_file *find_receiver(wr_sim *sim, const wr_sim_datagram *datagram)
{
    wr_sim_bound *bound = &sim->datagram_sockets;
    uint32_t count = wr_sim_count_bound(bound, &datagram->to, NULL);
    if (count == 0) return NULL;
    uint64_t ends = wr_sim_sum(sim->options.seed ^ datagram->from.port, datagram->from.ip, sizeof datagram->from.ip);
    ends = wr_sim_sum(ends, datagram->to.ip, sizeof datagram->to.ip);
    return wr_sim_get_bound(bound, &datagram->to, NULL, ends % count);
}

/* Whether it is the receiver's now. */
static bool deliver(wr_sim *sim, wr_sim_datagram *datagram)
{
    if (wr_sim_is_cut(sim, &datagram->from, &datagram->to)) {
        wr_sim_note_datagram(sim, WR_NOTE_CUT_OFF, NULL, datagram->size, &datagram->to);
        return false;
    }
    wr_sim_file *file = find_receiver(sim, datagram);
    if (!file) {
        wr_sim_note_datagram(sim, WR_NOTE_NOBODY, NULL, datagram->size, &datagram->to);
        return false;
    }
    wr_sim_mail *mail = &file->mail;
    if (mail->held + OVERHEAD + datagram->size > mail->room) {
        wr_sim_note_datagram(sim, WR_NOTE_OVERFLOW, file, datagram->size, &datagram->from);
        return false;
    }
    file->spoken_to = datagram->to;
    mail->held += OVERHEAD + datagram->size;
    mail->count++;
    datagram->next = NULL;
    if (mail->last)
        mail->last->next = datagram;
    else
        mail->first = datagram;
    mail->last = datagram;
    sim->trace_hash = wr_sim_sum(sim->trace_hash, datagram->bytes, datagram->size);
    wr_sim_note_datagram(sim, WR_NOTE_DATAGRAM, file, datagram->size, &datagram->from);
    wr_sim_wake(file);
    return true;
}

void wr_sim_deliver(wr_sim *sim, wr_sim_datagram *datagram)
{
    sim->flying--;
    if (!deliver(sim, datagram)) free(datagram);
}

/* ---- receiving ---- */

static void remove_first(wr_sim_mail *mail)
{
    wr_sim_datagram *datagram = mail->first;
    mail->first = datagram->next;
    if (!mail->first) mail->last = NULL;
    mail->held -= OVERHEAD + datagram->size;
    mail->count--;
    free(datagram);
}

void wr_sim_mail_clear(wr_sim_mail *mail)
{
    while (mail->first) remove_first(mail);
}

/* How many of those that have come the next receive brings, and the bytes that it takes of them. */
static uint32_t measure(wr_sim *sim, const wr_sim_mail *mail, uint32_t size_max, uint32_t *bytes)
{
    uint32_t count = mail->count < WR_DATAGRAMS_LEASED ? mail->count : WR_DATAGRAMS_LEASED, fits = 0;
    if (count > 1 && wr_sim_strikes(sim, WR_FAULT_PARTIAL)) count = 1 + (uint32_t)wr_random_below(&sim->random, count);
    *bytes = 0;
    for (const wr_sim_datagram *datagram = mail->first; fits < count; datagram = datagram->next, fits++) {
        uint32_t size = datagram->size < size_max ? datagram->size : size_max;
        if (*bytes + size > WR_LEASE_BYTES) break;
        *bytes += size;
    }
    return fits;
}

static uint8_t *read_mail(wr_sim_queue *queue, const wr_sim_socket *socket, uint32_t *count)
{
    wr_sim_file *file = socket->file;
    wr_sim_mail *mail = &file->mail;
    uint32_t bytes;
    *count = measure(queue->sim, mail, socket->size_max, &bytes);
    uint8_t *lease = wr_sim_lease_get(queue, *count * sizeof(wr_datagram) + bytes);
    if (!lease) return NULL;
    wr_datagram *items = (wr_datagram *)(void *)lease;
    uint8_t *at = lease + *count * sizeof *items;
    for (uint32_t i = 0; i < *count; i++) {
        const wr_sim_datagram *datagram = mail->first;
        uint32_t size = datagram->size < socket->size_max ? datagram->size : socket->size_max;
        items[i] = (wr_datagram){ .next = i + 1 < *count ? &items[i + 1] : NULL,
                                  .data = at,
                                  .size = size,
                                  .truncated = size < datagram->size,
                                  .peer = datagram->from };
        memcpy(at, datagram->bytes, size);
        at += size;
        if (WR_BUG(datagram_twice) && i + 1 == *count && mail->count > 1) break;
        remove_first(mail);
    }
    wr_sim_note(queue->sim, WR_NOTE_READ_MAIL, file, *count);
    return lease;
}

unsigned wr_sim_serve_recv_from(wr_sim_queue *queue, wr_sim_socket *socket, wr_completion *out)
{
    wr_op *op = socket->in;
    WR_SIM_RULE(op->pending, "an operation is the backend's until its final completion");
    *out = (wr_completion){ .op = op };
    uint8_t *lease = read_mail(queue, socket, &out->size);
    if (lease) {
        out->datagrams = (const wr_datagram *)(const void *)lease;
    } else {
        out->error = WEIR_ENOMEM;
        out->size = 0;
    }
    op->pending = false;
    socket->in = NULL;
    return 1;
}

void wr_sim_part_from(wr_sim_queue *queue, wr_sim_socket *socket)
{
    if (!socket->file->mail.first || !wr_sim_coin(queue->sim)) return;
    socket->last_buffer = read_mail(queue, socket, &socket->last_size);
    if (!socket->last_buffer) return;
    wr_op *op = socket->in;
    socket->in = NULL;
    wr_sim_finish(queue, socket, op, 0);
}
