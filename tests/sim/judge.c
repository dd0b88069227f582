/* Which ends of a connection are just, and what must hold when all is calm. */
#include "sim/swarm.h"

/* Timers of a runtime that is polled may be late while another one is being destroyed: nobody polls it then. */
static uint64_t slack_ns(const swarm_end *end)
{
    return end->runtime->manual ? 60 * SWARM_S : 3 * SWARM_MS;
}

static const char *name_of(int error)
{
    return weir_error_name(error);
}

/* ---- one end ---- */

/* Whether the listener, or its runtime, may turn a connection away, or end it as soon as it is there. */
static bool may_refuse(const swarm_listener *listener)
{
    const swarm *s = listener->s;
    return listener->closed || listener->runtime->stopping || s->ever[WEIR_SIM_ENOMEM] ||
           listener->options.max_connections || listener->options.max_per_address ||
           listener->runtime->options.max_connections;
}

/* An end that was refused, or given up, before anybody knew its address: it may be anyone's peer. */
static bool is_unmet(const swarm_end *end)
{
    return !end->peer || end->remote.family == WEIR_FAMILY_UNIX;
}

static void check_timeout(const swarm_end *end)
{
    swarm *s = end->s;
    uint64_t took_ns = end->closed_ns - end->born_ns, timeout_ns = end->connect_timeout_ms * SWARM_MS;
    SWARM_CHECK(s, end->state == END_CONNECTING, "end %u was open, and times out", end->number);
    SWARM_CHECK(s, took_ns + 2 * SWARM_MS >= timeout_ns && took_ns <= timeout_ns + slack_ns(end) + SWARM_ANSWER_NS,
                "end %u times out after %" PRIu64 " ms, with a timeout of %u ms", end->number, (took_ns / SWARM_MS),
                end->connect_timeout_ms);
}

static void check_handshake(const swarm_end *end)
{
    uint64_t due_ns = end->opened_ns + end->protocol.handshake_timeout_ms * SWARM_MS;
    uint64_t close_ns = end->protocol.close_timeout_ms * SWARM_MS;
    SWARM_CHECK(end->s,
                end->protocol.handshake_timeout_ms && !end->has_message && !end->ended && end->state == END_OPEN,
                "end %u ends with WEIR_EHANDSHAKE without cause", end->number);
    SWARM_CHECK(end->s, end->closed_ns + SWARM_MS >= due_ns, "end %u ends before its handshake deadline", end->number);
    SWARM_CHECK(end->s, end->closed_ns <= due_ns + close_ns + slack_ns(end) || end_may_be_unheard(end),
                "end %u ends long after its handshake deadline", end->number);
}

static void check_idle(const swarm_end *end)
{
    uint64_t since_ns = end_idle_since_ns(end);
    SWARM_CHECK(end->s,
                end->protocol.idle_timeout_ms && !(end->paused && end->pause_counts) && !end->ended &&
                    end->state == END_OPEN,
                "end %u ends with WEIR_EIDLE without cause", end->number);
    SWARM_CHECK(end->s, end->closed_ns + SWARM_MS >= since_ns + end->protocol.idle_timeout_ms * SWARM_MS,
                "end %u ends before its idle deadline", end->number);
}

/* The peer has sent nonsense, which is to end so. */
static void check_malformed(const swarm_end *end, int error)
{
    if (is_unmet(end) && !end->peer) return;
    SWARM_CHECK(end->s, end->peer->spoiled == error,
                "end %u ends with %s, and its peer has sent no nonsense of that kind", end->number, name_of(error));
}

static void check_refused(const swarm_end *end)
{
    const swarm *s = end->s;
    SWARM_CHECK(s, end->state == END_CONNECTING, "end %u was open, and is refused", end->number);
    SWARM_CHECK(s, !end->strict, "end %u is refused by a listener that is open, in calm weather", end->number);
}

/* What this end must know of itself. Whether the other end agrees is judged when the scenario is over. */
static bool has_cause(const swarm_end *end, int error)
{
    const swarm *s = end->s;
    switch (error) {
    case WEIR_ECLOSED:
        return end->asked_close || end->asked_close_id;
    case WEIR_EABORTED:
        return end->asked_abort || end->asked_abort_id;
    case WEIR_ESTOPPED:
        return end->runtime->stopping;
    case WEIR_ESLOW:
        return end_ends_when_slow(end);
    case WEIR_ENOMEM:
        return s->ever[WEIR_SIM_ENOMEM];
    case WEIR_ENOBUFS:
        return s->ever[WEIR_SIM_ENOBUFS];
    case WEIR_EMFILE:
        return end->state == END_CONNECTING && (s->ever[WEIR_SIM_EMFILE] || s->ever_full);
    case WEIR_EHOSTUNREACH:
        return end->state == END_CONNECTING && !end->target;
    case WEIR_EADDRNOTAVAIL:
        return end->state == END_CONNECTING && end->is_from_nowhere;
    case WEIR_EEOF:
    case WEIR_ECONNRESET:
        return end->state == END_OPEN;
    case WEIR_ETRUNCATED:
        return end->state == END_OPEN && (!end->peer || end->peer->spoiled == WEIR_ETRUNCATED);
    default:
        return false;
    }
}

/* What it was asked to do, it has done within its close_timeout. */
static void check_prompt(const swarm_end *end)
{
    bool was_asked = end->asked_close || end->asked_close_id || end->asked_abort || end->asked_abort_id;
    uint64_t due_ns = end->ending_ns + end->protocol.close_timeout_ms * SWARM_MS + slack_ns(end);
    if (end->state == END_CONNECTING) due_ns += SWARM_ANSWER_NS;
    SWARM_CHECK(end->s, !was_asked || end->closed_ns <= due_ns, "end %u was to be closed, and ends long after that",
                end->number);
}

void judge_close(const swarm_end *end, weir_reason reason)
{
    check_prompt(end);
    switch (reason.error) {
    case WEIR_ETIMEDOUT:
        check_timeout(end);
        break;
    case WEIR_EHANDSHAKE:
        check_handshake(end);
        break;
    case WEIR_EIDLE:
        check_idle(end);
        break;
    case WEIR_EFRAME:
    case WEIR_EMSGSIZE:
        check_malformed(end, reason.error);
        break;
    case WEIR_ECONNREFUSED:
        check_refused(end);
        break;
    case WEIR_EEOF:
        end_check_all_came(end, "at the end of the stream");
        SWARM_CHECK(end->s, !end->protocol.on_end || end->ended, "end %u closes at its peer's end without on_end",
                    end->number);
        break;
    default:
        break;
    }
    bool has_its_own = reason.error == WEIR_ETIMEDOUT || reason.error == WEIR_EHANDSHAKE ||
                       reason.error == WEIR_EIDLE || reason.error == WEIR_EFRAME || reason.error == WEIR_EMSGSIZE ||
                       reason.error == WEIR_ECONNREFUSED;
    SWARM_CHECK(end->s, has_its_own || has_cause(end, reason.error), "end %u ends with %s, and there was no cause",
                end->number, name_of(reason.error));
}

/* ---- both ends together ---- */

static bool is_orderly(int error)
{
    return error == WEIR_ECLOSED || error == WEIR_ESTOPPED || error == WEIR_EHANDSHAKE || error == WEIR_EIDLE ||
           error == WEIR_EEOF || error == WEIR_ETRUNCATED;
}

/* When an end began to end, at the earliest. */
static uint64_t ending_ns(const swarm_end *end)
{
    switch (end->reason.error) {
    case WEIR_ESTOPPED:
        return end->runtime->stop_ns;
    case WEIR_EHANDSHAKE:
        return end->opened_ns + end->protocol.handshake_timeout_ms * SWARM_MS;
    case WEIR_EIDLE:
        return end_idle_since_ns(end) + end->protocol.idle_timeout_ms * SWARM_MS;
    default:
        return end->ending_ns ? end->ending_ns : end->opened_ns;
    }
}

/* How long it may have taken to close before it was reset. */
static uint64_t patience_ns(const swarm_end *end)
{
    uint64_t close_ns = end->protocol.close_timeout_ms * SWARM_MS;
    uint64_t stop_ns = end->runtime->options.stop_timeout_ms * SWARM_MS;
    return end->runtime->stopping && stop_ns < close_ns ? stop_ns : close_ns;
}

/* Whether `peer`, which weir has, may have sent the reset that `end` got. */
static bool may_have_reset(const swarm_end *peer, const swarm_end *end)
{
    const swarm *s = end->s;
    if (s->ever[WEIR_SIM_RESET] || s->ever[WEIR_SIM_ENOMEM] || s->ever[WEIR_SIM_ENOBUFS] || end->spoiled) return true;
    if (!is_orderly(peer->reason.error) || peer->asked_abort || peer->asked_abort_id) return true;
    if (peer->sent[DIRECT].count == 0 && ending_ns(peer) <= end->closed_ns + SWARM_MS)
        return true; /* nothing to protect: closed at once */
    if (peer->runtime->stopping && peer->runtime->stop_ns <= end->closed_ns) return true;
    return end->closed_ns + SWARM_MS >= ending_ns(peer) + patience_ns(peer);
}

/* By the address: another listener may have had it before, or have all addresses. */
static bool is_for(const swarm_end *end, const swarm_listener *listener)
{
    weir_address target, address;
    if (!end->target) return false;
    (void)weir_address_parse(&target, end->target->address, NULL);
    (void)weir_address_parse(&address, listener->address, NULL);
    return target.port == address.port;
}

static void judge_pair(const swarm_end *end)
{
    const swarm_end *peer = end->peer;
    swarm *s = end->s;
    int error = end->reason.error;
    if (error != WEIR_EEOF && error != WEIR_ECONNRESET) return;
    if (!peer) {
        if (end->remote.family == WEIR_FAMILY_UNIX) return; /* whoever it was */
        bool has_cause = !end->listener ? !end->target || may_refuse(end->target) : s->made_ends == SWARM_ENDS;
        for (unsigned i = 0; i < s->made_ends && end->listener; i++)
            has_cause = has_cause || (s->ends[i]->opened_ns == 0 && is_for(s->ends[i], end->listener));
        SWARM_CHECK(s, has_cause || s->ever[WEIR_SIM_RESET] || s->made_ends == SWARM_ENDS,
                    "end %u ends with %s, and there was nobody at the other end", end->number, name_of(error));
        return;
    }
    if (peer->raw) return; /* they may do anything */
    if (error == WEIR_EEOF)
        SWARM_CHECK(s, is_orderly(peer->reason.error) && ending_ns(peer) <= end->closed_ns + SWARM_MS,
                    "end %u ends with WEIR_EEOF, and its peer %u with %s", end->number, peer->number,
                    name_of(peer->reason.error));
    else
        SWARM_CHECK(s, may_have_reset(peer, end), "end %u is reset, and its peer %u ended in order, with %s",
                    end->number, peer->number, name_of(peer->reason.error));
}

void judge_all(swarm *s)
{
    for (unsigned i = 0; i < s->made_ends; i++) {
        const swarm_end *end = s->ends[i];
        if (end->raw || end->reason.error == 0) continue;
        judge_pair(end);
    }
}

/* ---- when all is calm ---- */

/* What must have come to `end` by now, when nothing stands between the two. */
static void check_owed(const swarm_end *end)
{
    const swarm_end *peer = end->peer;
    if (!peer || peer->state != END_OPEN || end->state != END_OPEN) return;
    if (end_is_mute(peer) || end_is_mute(end) || peer->asked_close_id || end->asked_close_id) return;
    end_check_all_came(end, "and all has been calm for long");
    SWARM_CHECK(end->s, end->got[REMOTE] == peer->sent[REMOTE].count || (peer->runtime && !end_ends_when_slow(peer)),
                "end %u has %u of %u messages that were sent by id through end %u, and all has been calm for long",
                end->number, end->got[REMOTE], peer->sent[REMOTE].count, peer->number);
    group_check_owed(end);
}

static void check_over(const swarm_end *end)
{
    swarm *s = end->s;
    SWARM_CHECK(s, end->state != END_CONNECTING, "end %u still connects, and its time is over", end->number);
    if (end->state != END_OPEN) return;
    SWARM_CHECK(s, !end->asked_close && !end->asked_close_id && !end->asked_abort && !end->asked_abort_id,
                "end %u was closed, and all has been calm for long, and it is still there", end->number);
    SWARM_CHECK(s, !end->protocol.idle_timeout_ms || end->ended,
                "end %u is still there, and its idle deadline has passed", end->number);
    SWARM_CHECK(s, !end->protocol.handshake_timeout_ms || end->has_message || end->ended,
                "end %u is still there, and its handshake deadline has passed", end->number);
    SWARM_CHECK(s, !end->peer || !end->peer->spoiled || end->peer->state != END_OPEN,
                "end %u got nonsense, and is still there", end->number);
}

/* Its peer has gone in order, when nothing could swallow that: it must have heard of it. */
static void check_heard(const swarm_end *end)
{
    const swarm_end *peer = end->peer;
    if (end->state != END_OPEN || !peer || peer->state != END_GONE || end->s->ever_cut) return;
    SWARM_CHECK(end->s, false, "end %u has not heard that its peer %u has gone", end->number, peer->number);
}

void judge_calm(swarm *s)
{
    for (unsigned i = 0; i < s->made_ends; i++) {
        const swarm_end *end = s->ends[i];
        if (end->raw) continue;
        check_over(end);
        check_owed(end);
        check_heard(end);
    }
    group_judge_sizes(s);
    clock_judge(s);
}

void judge_orderly(swarm *s)
{
    for (unsigned i = 0; i < s->made_ends; i++) {
        const swarm_end *end = s->ends[i];
        if (!end->strict) continue;
        if (end->raw) {
            SWARM_CHECK(s, end->ended, "end %u, a visitor in calm weather, has not heard the end of the stream",
                        end->number);
            continue;
        }
        SWARM_CHECK(s, end->state == END_GONE, "end %u was to be closed in calm weather, and is still there",
                    end->number);
        int error = end->reason.error;
        SWARM_CHECK(s, error == WEIR_ECLOSED || error == WEIR_EEOF,
                    "end %u was to be closed in calm weather, and ends with %s", end->number, name_of(error));
        SWARM_CHECK(s, error == WEIR_ECLOSED || end->peer, "end %u has closed without its peer", end->number);
    }
}

/* ---- stats ---- */

/* What its connections may hold between passes: the outbox, what stands in the mailbox for it, the unfinished message,
 * which grows by doubling; and what there is in any case. */
static uint64_t most_memory(const swarm_runtime *runtime)
{
    const swarm *s = runtime->s;
    uint64_t most = 200 * 1024 * (runtime->worker_count + 1) + 10000 * s->made_listeners + 2000 * s->made_posts;
    for (unsigned g = 0; g < s->made_groups; g++) most += 1000 + 500 * (uint64_t)s->groups[g].count;
    most += udp_most_memory(runtime);
    most += 2000 * s->made_ticks + 1000 * (s->made_timers + s->made_strands + s->made_tasks);
    for (unsigned i = 0; i < s->made_ends; i++) {
        const swarm_end *end = s->ends[i];
        if (end->runtime != runtime || end->state == END_GONE) continue;
        most += 4 * end->protocol.outbox.hard_limit + 3 * end->protocol.max_message + 4000 + 100 * SWARM_GROUPS;
    }
    return most;
}

void judge_runtime(const swarm_runtime *runtime, bool is_settled)
{
    swarm *s = runtime->s;
    weir_stats stats;
    weir_stats_read(runtime->runtime, &stats);
    SWARM_CHECK(s, stats.accepted == runtime->accepted,
                "runtime %u says that it accepted %" PRIu64 ", and on_open %" PRIu64, runtime->number, stats.accepted,
                runtime->accepted);
    SWARM_CHECK(s, stats.messages_received == runtime->messages,
                "runtime %u says that %" PRIu64 " messages came, and on_message %" PRIu64, runtime->number,
                stats.messages_received, runtime->messages);
    for (int reason = 0; reason < WEIR_STATS_REASONS; reason++)
        SWARM_CHECK(s, stats.closed[reason] == runtime->closed[reason],
                    "runtime %u says that %" PRIu64 " ended with %s, and on_close %" PRIu64, runtime->number,
                    stats.closed[reason], name_of(-reason), runtime->closed[reason]);
    SWARM_CHECK(s, stats.connections >= runtime->alive,
                "runtime %u says that it has %" PRIu64 " connections, of %" PRIu64, runtime->number, stats.connections,
                runtime->alive);
    SWARM_CHECK(s, stats.connected + stats.connect_errors <= runtime->connects,
                "runtime %u says that more connects came to an end than were begun", runtime->number);
    SWARM_CHECK(s, stats.sends_dropped >= runtime->refused,
                "runtime %u dropped %" PRIu64 " messages, and says %" PRIu64, runtime->number, runtime->refused,
                stats.sends_dropped);
    SWARM_CHECK(s, stats.memory <= runtime->memory.used + 65536,
                "runtime %u says that it has %" PRIu64 " bytes, of %" PRIu64, runtime->number, stats.memory,
                runtime->memory.used);
    SWARM_CHECK(s, stats.group_deliveries >= runtime->from_groups,
                "runtime %u says that %" PRIu64 " messages of its groups were sent, and %" PRIu64 " have come",
                runtime->number, stats.group_deliveries, runtime->from_groups);
    SWARM_CHECK(s, stats.udp_received == runtime->datagrams,
                "runtime %u says that %" PRIu64 " datagrams came, and on_datagram %" PRIu64, runtime->number,
                stats.udp_received, runtime->datagrams);
    uint64_t most = most_memory(runtime);
    SWARM_CHECK(s, runtime->memory.used <= most, "runtime %u has %" PRIu64 " bytes, and its limits allow for %" PRIu64,
                runtime->number, runtime->memory.used, most);
    if (!is_settled) return;
    SWARM_CHECK(s, stats.connections == runtime->alive,
                "runtime %u says that it has %" PRIu64 " connections, of %" PRIu64, runtime->number, stats.connections,
                runtime->alive);
    SWARM_CHECK(s, stats.connected + stats.connect_errors == runtime->connects,
                "runtime %u says that %" PRIu64 " of %" PRIu64 " connects came to an end", runtime->number,
                (stats.connected + stats.connect_errors), runtime->connects);
    SWARM_CHECK(s, stats.udp_queued == 0,
                "runtime %u still has %" PRIu64 " bytes of datagrams queued, and all has been calm for long",
                runtime->number, stats.udp_queued);
    SWARM_CHECK(s, stats.queued == 0, "runtime %u still has %" PRIu64 " bytes queued, and all has been calm for long",
                runtime->number, stats.queued);
}
