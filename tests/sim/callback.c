/* weir's callbacks: the order in which they may come, and what is done in them. */
#include <string.h>

#include "core/conn.h"
#include "sim/swarm.h"

typedef struct swarm_session {
    swarm_end *end;
    uint8_t zeroed[];
} swarm_session;

static void begin(swarm *s, const swarm_end *end, const char *what, uint64_t detail)
{
    SWARM_CHECK(s, s->depth == 0, "%s of end %u comes inside of another callback", what, end->number);
    s->depth++;
    swarm_mix(s, (uint64_t)what[3] << 56 ^ (uint64_t)end->number << 32 ^ detail);
    swarm_say(s, "end %u: %s %" PRIu64, end->number, what, detail);
}

void callback_leave(swarm *s)
{
    s->depth--;
}

static void check_queued(const swarm_end *end)
{
    uint64_t queued = weir_conn_queued(end->conn), most = 2 * end->protocol.outbox.hard_limit + SWARM_CHARGE;
    SWARM_CHECK(end->s, queued <= most, "end %u has %" PRIu64 " bytes queued, with a hard limit of %" PRIu64,
                end->number, queued, (uint64_t)end->protocol.outbox.hard_limit);
}

/* What the embedder may do now, a few things of it. */
static void react(swarm_end *end)
{
    swarm *s = end->s;
    if (s->quiet || s->depth != 1) return;
    for (uint64_t n = choose(&s->from, 4); n > 0 && !end_is_mute(end); n--) swarm_act(s, ON_CONN, end);
}

/* Finds the end, and checks that its callbacks come on its own worker while it is open. */
static swarm_end *enter(weir_conn *conn, const char *what, uint64_t detail)
{
    const swarm_session *session = weir_conn_session(conn);
    swarm_end *end = session->end;
    swarm *s = end->s;
    begin(s, end, what, detail);
    SWARM_CHECK(s, end->state == END_OPEN && end->conn == conn, "%s of end %u comes in the wrong order", what,
                end->number);
    SWARM_CHECK(s, weir_conn_get_id(conn) == end->id && weir_conn_worker(conn) == end->worker,
                "%s of end %u: the connection is another", what, end->number);
    if (s->hash % 2 == 0) check_queued(end); /* a look that might itself put things in order */
    return end;
}

/* ---- on_open ---- */

static void check_session(swarm_end *end, weir_conn *conn)
{
    swarm_session *session = weir_conn_session(conn);
    size_t size = end->protocol.session_size - sizeof *session;
    bool is_zeroed = !session->end;
    for (size_t i = 0; i < size; i++) is_zeroed = is_zeroed && session->zeroed[i] == 0;
    SWARM_CHECK(end->s, is_zeroed, "the session of end %u is not zeroed", end->number);
    session->end = end;
    memset(session->zeroed, 0xee, size);
}

static void check_id(const swarm_end *end)
{
    for (unsigned i = 0; i < end->s->made_ends; i++) {
        const swarm_end *other = end->s->ends[i];
        SWARM_CHECK(end->s, other == end || other->runtime != end->runtime || other->id != end->id,
                    "end %u has the id of end %u", end->number, other->number);
    }
}

static void open_end(swarm_end *end, weir_conn *conn)
{
    swarm *s = end->s;
    end->state = END_OPEN;
    end->conn = conn;
    end->id = weir_conn_get_id(conn);
    end->worker = weir_conn_worker(conn);
    end->opened_ns = swarm_now(s);
    end->local = weir_conn_local(conn);
    end->remote = weir_conn_peer(conn);
    end->runtime->opened++;
    check_id(end);
    check_session(end, conn);
    end_meet(end);
    begin(s, end, "on_open", end->worker);
    swarm_say(s, "end %u: %s to %s", end->number, end->local.text, end->remote.text);
    if (end->strict && !end->listener) (void)callback_send(end, end->format->least);
    react(end);
    callback_leave(s);
}

static bool is_same_customer(const weir_address *a, const weir_address *b)
{
    return a->family == b->family && memcmp(a->ip, b->ip, a->family == WEIR_FAMILY_IPV4 ? 4 : 8) == 0;
}

/* The limits of a listener, counted by what its callbacks say. */
static void check_limits(swarm_end *end)
{
    swarm_listener *listener = end->listener;
    const weir_listen_options *options = &listener->options;
    swarm *s = end->s;
    uint32_t from_address = 0;
    for (unsigned i = 0; i < s->made_ends; i++) {
        const swarm_end *other = s->ends[i];
        if (other->listener == listener && other->state == END_OPEN)
            from_address += is_same_customer(&other->remote, &end->remote);
    }
    SWARM_CHECK(s, !options->max_connections || listener->alive <= options->max_connections,
                "listener %u has %u connections, and max_connections %u", listener->number, listener->alive,
                options->max_connections);
    SWARM_CHECK(s,
                !options->max_per_address || end->remote.family == WEIR_FAMILY_UNIX ||
                    from_address <= options->max_per_address,
                "listener %u has %u connections of one address, and max_per_address %u", listener->number, from_address,
                options->max_per_address);
    uint32_t most = end->runtime->options.max_connections;
    SWARM_CHECK(s, !most || end->runtime->alive <= most,
                "runtime %u has %" PRIu64 " connections, and max_connections %u", end->runtime->number,
                end->runtime->alive, most);
}

/* accept_rate: a bucket that holds a tenth of a second, and what each worker may have accepted before it could stop: a
 * batch of the backend's. */
static void check_rate(swarm_end *end)
{
    swarm_listener *listener = end->listener;
    if (!listener->options.accept_rate) return;
    double rate = listener->options.accept_rate, burst = rate / 10 < 1 ? 1 : rate / 10;
    double slack = 16.0 * listener->runtime->worker_count;
    listener->tokens += (double)(end->opened_ns - listener->tokens_ns) / 1e9 * rate;
    if (listener->tokens > burst) listener->tokens = burst;
    listener->tokens -= 1;
    listener->tokens_ns = end->opened_ns;
    SWARM_CHECK(end->s, listener->tokens >= -slack, "listener %u accepts faster than its accept_rate",
                listener->number);
}

static void on_accepted(weir_conn *conn)
{
    swarm_listener *listener = weir_conn_data(conn);
    swarm *s = listener->s;
    swarm_end *end = end_make(s);
    listener->alive++;
    listener->runtime->alive++;
    listener->runtime->accepted++;
    if (!end) { /* more than the books have room for: out, and only counted */
        weir_abort(conn);
        return;
    }
    end->runtime = listener->runtime;
    end->listener = listener;
    end->protocol = listener->protocol;
    end->format = listener->format;
    SWARM_CHECK(s,
                !listener->runtime->stopping || swarm_now(s) == listener->runtime->stop_ns || listener->runtime->manual,
                "listener %u accepts after the stop", listener->number);
    end->opened_ns = swarm_now(s);
    end->remote = weir_conn_peer(conn);
    end->state = END_OPEN;
    check_limits(end);
    check_rate(end);
    open_end(end, conn);
}

static void on_connected(weir_conn *conn)
{
    swarm_end *end = weir_conn_data(conn);
    SWARM_CHECK(end->s, end->state == END_CONNECTING, "on_open of end %u comes twice", end->number);
    SWARM_CHECK(end->s, weir_conn_get_id(conn) == end->id, "end %u has another id than weir_connect gave", end->number);
    open_end(end, conn);
}

/* ---- messages ---- */

bool callback_send(swarm_end *end, uint32_t size)
{
    swarm *s = end->s;
    message_label label = end_label(end, DIRECT, size);
    message_write(end->format, &label, s->bytes);
    bool has_room = weir_conn_queued(end->conn) + size <= end->protocol.outbox.hard_limit;
    int error = weir_send(end->conn, s->bytes, size);
    swarm_say(s, "end %u: weir_send of %u bytes: %s", end->number, size, weir_error_name(error));
    if (error == 0) {
        uint64_t queued = weir_conn_queued(end->conn);
        SWARM_CHECK(s, queued <= end->protocol.outbox.hard_limit,
                    "end %u: weir_send was accepted, and %" PRIu64 " bytes are queued, over the hard limit of %" PRIu64,
                    end->number, queued, (uint64_t)end->protocol.outbox.hard_limit);
        end_accepted(end, DIRECT, size, -1);
        return true;
    }
    end->runtime->refused += error == WEIR_ESLOW;
    SWARM_CHECK(s, error != WEIR_ESLOW || !has_room || end->protocol.outbox.policy == WEIR_SLOW_DROP_NEWEST,
                "end %u: weir_send returns WEIR_ESLOW, and there is room", end->number);
    SWARM_CHECK(s, error == WEIR_ESLOW || error == WEIR_ECLOSED || (error == WEIR_ENOMEM && s->ever[WEIR_SIM_ENOMEM]),
                "end %u: weir_send returns %s", end->number, weir_error_name(error));
    return false;
}

void callback_resume(swarm_end *end)
{
    end->paused = false;
    if (end->pause_counts) end->resumed_ns = swarm_now(end->s);
    swarm_say(end->s, "end %u: weir_conn_resume", end->number);
    weir_conn_resume(end->conn);
}

void callback_close(swarm_end *end)
{
    if (!end->ending_ns) end->ending_ns = swarm_now(end->s);
    end->asked_close = true;
    swarm_say(end->s, "end %u: weir_close", end->number);
    end->remote_due = 0; /* what is still in its mailbox comes too late */
    weir_close(end->conn);
}

/* The deadline for the first message is kept to the millisecond: nothing else takes time here. */
static void check_handshake(const swarm_end *end)
{
    uint64_t timeout_ns = end->protocol.handshake_timeout_ms * SWARM_MS;
    if (end->has_message || timeout_ns == 0 || end->runtime->manual || end_may_be_unheard(end)) return;
    SWARM_CHECK(end->s, swarm_now(end->s) <= end->opened_ns + timeout_ns + 3 * SWARM_MS,
                "end %u gets its first message after its handshake deadline", end->number);
}

/* WEIR_SLOW_PAUSE: what other threads have queued, and what was sent to groups in this pass, counts only from when its
 * worker comes to it, so this looks at the outbox itself, as it was before any other look. */
static void check_paused(const swarm_end *end, uint32_t owed)
{
    SWARM_CHECK(end->s, !end_may_be_unheard(end) || owed <= end->protocol.outbox.soft_limit,
                "end %u gets a message, and owes its peer %u bytes, over the soft limit of %" PRIu64, end->number, owed,
                (uint64_t)end->protocol.outbox.soft_limit);
}

/* The first of another runtime's, and each of a visitor's, who does not read yet: as much as he may be owed for long.
 */
static void answer(swarm_end *end)
{
    uint32_t size = end->format->most < 3000 ? end->format->most : 3000;
    if (end->peer->raw) {
        for (int i = 0; i < 3 && weir_conn_queued(end->conn) + size <= end->protocol.outbox.soft_limit / 2; i++)
            (void)callback_send(end, size);
        return;
    }
    if (end->has_message) return;
    (void)callback_send(end, end->format->least);
    if (!end->listener) callback_close(end);
}

static void on_message(weir_conn *conn, const void *bytes, size_t size)
{
    uint32_t owed = conn->outbox_bytes;
    swarm_end *end = enter(conn, "on_message", size);
    swarm *s = end->s;
    SWARM_CHECK(s, !end->paused && !end->ended && !end->asked_close && !end->asked_abort && !end->stop_told,
                "end %u gets a message after its %s", end->number, end->paused ? "pause" : "end");
    check_handshake(end);
    check_paused(end, owed);
    end->runtime->messages++;
    end->message_ns = swarm_now(s);
    end_take(end, bytes, size);
    if (end->strict) answer(end);
    end->has_message = true;
    react(end);
    callback_leave(s);
}

static void on_end(weir_conn *conn)
{
    swarm_end *end = enter(conn, "on_end", 0);
    swarm *s = end->s;
    SWARM_CHECK(s, !end->ended && !end->paused && !end->asked_close && !end->asked_abort,
                "end %u gets an on_end too many", end->number);
    end->ended = true;
    end_check_all_came(end, "at on_end");
    react(end);
    if (!end->asked_close && !end->asked_abort && (s->quiet || choose(&s->from, 2))) callback_close(end);
    callback_leave(s);
}

static void on_slow(weir_conn *conn, size_t queued)
{
    swarm_end *end = enter(conn, "on_slow", queued);
    SWARM_CHECK(end->s, end->protocol.outbox.policy == WEIR_SLOW_NOTIFY, "end %u gets on_slow", end->number);
    react(end);
    callback_leave(end->s);
}

static void on_stop(weir_conn *conn)
{
    swarm_end *end = enter(conn, "on_stop", 0);
    swarm *s = end->s;
    SWARM_CHECK(s, end->runtime->stopping && !end->stop_told, "end %u gets on_stop, and there is no stop", end->number);
    react(end);
    if (!end_is_mute(end) && end->format->least <= end->protocol.outbox.hard_limit)
        (void)callback_send(end, end->format->least);
    end->stop_told = true;
    callback_leave(s);
}

/* ---- on_close ---- */

static void count_close(swarm_runtime *runtime, swarm_listener *listener, weir_reason reason)
{
    runtime->closed[-reason.error]++;
    runtime->alive--;
    if (listener) listener->alive--;
}

static void close_end(swarm_end *end, weir_conn *conn, weir_reason reason)
{
    swarm *s = end->s;
    begin(s, end, "on_close", (uint64_t)-reason.error);
    SWARM_CHECK(s, end->state != END_GONE, "on_close of end %u comes twice", end->number);
    SWARM_CHECK(s, reason.error < 0 && reason.error > -WEIR_STATS_REASONS, "end %u ends with %d", end->number,
                reason.error);
    swarm_say(s, "end %u: ends with %s", end->number, weir_error_name(reason.error));
    int error = weir_send(conn, "x", 1);
    SWARM_CHECK(s, error == WEIR_ECLOSED, "end %u: weir_send in on_close returns %s", end->number,
                weir_error_name(error));
    end->reason = reason;
    end->closed_ns = swarm_now(s);
    judge_close(end, reason);
    end->state = END_GONE;
    end->conn = NULL;
    clock_forget_end(end);
    count_close(end->runtime, end->listener, reason);
    if (!s->quiet && choose(&s->from, 4) == 0) swarm_act(s, INSIDE, NULL);
    callback_leave(s);
}

static void on_accepted_close(weir_conn *conn, weir_reason reason)
{
    const swarm_session *session = weir_conn_session(conn);
    swarm_listener *listener = weir_conn_data(conn);
    if (session->end)
        close_end(session->end, conn, reason);
    else
        count_close(listener->runtime, listener, reason);
}

static void on_connected_close(weir_conn *conn, weir_reason reason)
{
    swarm_end *end = weir_conn_data(conn);
    const swarm_session *session = weir_conn_session(conn);
    SWARM_CHECK(end->s, (session->end == end) == (end->state == END_OPEN),
                "on_close of end %u with the session of another", end->number);
    close_end(end, conn, reason);
}

void callback_accept_error(weir_listener *listener, weir_reason reason)
{
    (void)listener;
    (void)reason;
}

/* ---- the protocol ---- */

static uint32_t maybe(choice *from, uint32_t least, uint32_t most)
{
    return choose(from, 3) == 0 ? (uint32_t)choose_from(from, least, most) : 0;
}

static weir_outbox_options choose_outbox(choice *from)
{
    weir_outbox_options outbox = { .policy = (weir_slow_policy)choose(from, 4) };
    outbox.soft_limit = maybe(from, 100, 100000);
    outbox.hard_limit = maybe(from, 200, 400000);
    outbox.soft_limit_ms = maybe(from, 1, 5000);
    return outbox;
}

/* Those of weir_protocol, so that the books know them. */
static void fill_defaults(weir_protocol *protocol)
{
    weir_outbox_options *outbox = &protocol->outbox;
    if (!protocol->close_timeout_ms) protocol->close_timeout_ms = 5000;
    if (!outbox->soft_limit) outbox->soft_limit = 256 * 1024;
    if (!outbox->hard_limit) outbox->hard_limit = 1024 * 1024;
    if (outbox->hard_limit < outbox->soft_limit) outbox->hard_limit = outbox->soft_limit;
}

weir_protocol callback_protocol(swarm *s, const message_format *format, void *data, bool connects)
{
    choice *from = &s->from;
    weir_protocol protocol = {
        .on_open = connects ? on_connected : on_accepted,
        .on_message = on_message,
        .on_end = choose(from, 2) ? on_end : NULL,
        .on_slow = on_slow,
        .on_stop = on_stop,
        .on_close = connects ? on_connected_close : on_accepted_close,
        .data = data,
        .session_size = sizeof(swarm_session) + choose(from, 100),
        .framing = format->framing,
        .max_message = format->max_message,
        .handshake_timeout_ms = maybe(from, 50, 5000),
        .idle_timeout_ms = maybe(from, 50, 8000),
        .close_timeout_ms = maybe(from, 20, 8000),
        .outbox = choose_outbox(from),
    };
    fill_defaults(&protocol);
    return protocol;
}

/* ---- posts ---- */

void callback_enter(swarm *s, const char *what)
{
    SWARM_CHECK(s, s->depth == 0, "a %s runs inside of a callback", what);
    s->depth++;
    swarm_mix(s, (uint64_t)what[0]);
}

/* Some open connection of that worker: a post may use it as a callback may. */
static swarm_end *choose_open(swarm *s, const swarm_runtime *runtime, unsigned worker)
{
    if (s->made_ends == 0) return NULL;
    unsigned first = (unsigned)choose(&s->from, s->made_ends);
    for (unsigned i = 0; i < s->made_ends; i++) {
        swarm_end *end = s->ends[(first + i) % s->made_ends];
        if (end->runtime == runtime && end->worker == worker && end->state == END_OPEN && !end->raw) return end;
    }
    return NULL;
}

void callback_posted(weir_runtime *runtime, void *data)
{
    swarm_post *post = data;
    swarm_runtime *own = post->runtime;
    swarm *s = own->s;
    uint64_t now_ns = swarm_now(s);
    callback_enter(s, "post");
    SWARM_CHECK(s, runtime == own->runtime && !post->ran, "a post runs twice, or elsewhere");
    post->ran = true;
    swarm_worker *worker = &own->workers[post->worker];
    if (post->delay_ms == 0) {
        SWARM_CHECK(s, post->order == worker->ran, "posts run in another order than they were posted in");
        worker->ran++;
    } else {
        SWARM_CHECK(s, now_ns >= post->due_ns, "a post of %" PRIu64 " ms runs %" PRIu64 " ns too early", post->delay_ms,
                    (post->due_ns - now_ns));
        SWARM_CHECK(s, now_ns <= post->due_ns + 3 * SWARM_MS || own->manual,
                    "a post of %" PRIu64 " ms runs %" PRIu64 " ns too late", post->delay_ms, (now_ns - post->due_ns));
    }
    if (!s->quiet) {
        swarm_act(s, INSIDE, NULL);
        swarm_end *end = choose_open(s, own, post->worker);
        if (end) react(end);
    }
    callback_leave(s);
}

static void for_each_open(swarm_worker *worker, void (*run)(swarm_end *end))
{
    swarm_runtime *runtime = worker->runtime;
    swarm *s = runtime->s;
    callback_enter(s, "calm");
    for (unsigned i = 0; i < s->made_ends; i++) {
        swarm_end *end = s->ends[i];
        if (end->runtime == runtime && end->worker == worker->number && end->state == END_OPEN) run(end);
    }
    callback_leave(s);
}

static void calm_down(swarm_end *end)
{
    if (end->paused) callback_resume(end);
    if (end->ended && !end->asked_close) callback_close(end);
}

void callback_calm(weir_runtime *runtime, void *data)
{
    (void)runtime;
    for_each_open(data, calm_down);
}

/* The connecting end says a last thing and closes in the same breath; the other one talks meanwhile. */
static void part(swarm_end *end)
{
    if (!end->strict || end_is_mute(end) || end->peer->raw) return;
    for (int i = 0; i < 3 && end->format->least * 4 < end->protocol.outbox.soft_limit; i++)
        (void)callback_send(end, end->format->least);
    bool closes = end->listener ? end->peer->number % 2 == 0 : end->number % 2 == 1;
    if (closes) callback_close(end);
}

void callback_part(weir_runtime *runtime, void *data)
{
    (void)runtime;
    for_each_open(data, part);
}
