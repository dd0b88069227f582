/* What happens in a scenario. A new capability of weir is a function and a row in the table at the end. */
#include "sim/swarm.h"

/* ---- choosing ---- */

static swarm_listener *choose_listener(swarm *s)
{
    return s->made_listeners ? &s->listeners[choose(&s->from, s->made_listeners)] : NULL;
}

/* Some end that weir has in this state, in a runtime that may be used. */
static swarm_end *choose_end(swarm *s, enum swarm_state least, enum swarm_state most)
{
    if (s->made_ends == 0) return NULL;
    unsigned first = (unsigned)choose(&s->from, s->made_ends);
    for (unsigned i = 0; i < s->made_ends; i++) {
        swarm_end *end = s->ends[(first + i) % s->made_ends];
        if (end->raw || end->id == 0 || !end->runtime->runtime || end->runtime->dying) continue;
        if (end->state >= least && end->state <= most) return end;
    }
    return NULL;
}

static bool take_from_budget(swarm *s)
{
    if (s->budget == 0) return false;
    s->budget--;
    return true;
}

/* Mostly small, sometimes as large as it gets; and rarely more than the outbox takes. */
static uint32_t choose_size(swarm_end *end)
{
    choice *from = &end->s->from;
    const message_format *format = end->format;
    uint32_t most = choose(from, 4) == 0 ? format->most : format->least + 100;
    if (most > format->most) most = format->most;
    if (most > end->protocol.outbox.hard_limit && choose(from, 8) != 0)
        most = (uint32_t)end->protocol.outbox.hard_limit;
    return most <= format->least ? format->least : (uint32_t)choose_from(from, format->least, most);
}

/* ---- listening and connecting ---- */

static void act_listen(swarm *s, swarm_end *end)
{
    (void)end;
    swarm_listen(s);
}

static void act_close_listener(swarm *s, swarm_end *end)
{
    (void)end;
    swarm_listener *listener = choose_listener(s);
    if (!listener || !listener->runtime->runtime || listener->runtime->dying) return;
    swarm_say(s, "listener %u: weir_listener_close", listener->number);
    weir_listener_close(listener->listener);
    if (!listener->closed) listener->closed_ns = swarm_now(s);
    listener->closed = true;
}

static bool take_connect(swarm *s)
{
    if (s->connects == 0 || s->made_ends >= SWARM_ENDS * 2 / 3) return false;
    s->connects--;
    return true;
}

static void act_connect(swarm *s, swarm_end *end)
{
    (void)end;
    swarm_listener *target = choose_listener(s);
    if (target && take_connect(s)) swarm_connect(s, target, false);
}

static void act_connect_nobody(swarm *s, swarm_end *end)
{
    (void)end;
    if (take_connect(s)) swarm_connect(s, NULL, false);
}

/* ---- by id ---- */

/* What was accepted since the network last moved stands in the mailbox: its sum is bounded. */
static void check_burst(swarm_end *end, uint32_t size)
{
    if (end->s->depth > 0) return;
    end->burst += size;
    SWARM_CHECK(end->s, end->burst <= end->protocol.outbox.hard_limit,
                "end %u: %" PRIu64 " bytes were accepted by its id at once, over the hard limit of %" PRIu64,
                end->number, end->burst, (uint64_t)end->protocol.outbox.hard_limit);
}

static void check_send_to(swarm *s, const swarm_end *end, int error)
{
    swarm_say(s, "end %u: a send by id: %s", end->number, weir_error_name(error));
    end->runtime->refused += error == WEIR_ESLOW;
    SWARM_CHECK(s, error == 0 || error == WEIR_ESLOW || (error == WEIR_ENOMEM && s->ever[WEIR_SIM_ENOMEM]),
                "a send by the id of end %u returns %s", end->number, weir_error_name(error));
}

static void send_by_id(swarm *s, swarm_end *end, uint32_t size)
{
    message_label label = end_label(end, REMOTE, size);
    message_write(end->format, &label, s->bytes);
    int error = weir_send_to(end->runtime->runtime, end->id, s->bytes, size);
    check_send_to(s, end, error);
    if (error) return;
    check_burst(end, size);
    end_accepted(end, REMOTE, size, -1);
}

static bool is_silent(const swarm_end *end)
{
    return !end || end_is_mute(end) || end->asked_close_id;
}

static void act_send_to(swarm *s, swarm_end *unused)
{
    (void)unused;
    swarm_end *end = choose_end(s, END_CONNECTING, END_OPEN);
    if (!is_silent(end) && take_from_budget(s)) send_by_id(s, end, choose_size(end));
}

/* Against the limits on what stands in the mailbox. */
static void act_flood_to(swarm *s, swarm_end *unused)
{
    (void)unused;
    swarm_end *end = choose_end(s, END_CONNECTING, END_OPEN);
    if (is_silent(end)) return;
    uint32_t size = choose_size(end);
    for (uint64_t n = choose_from(&s->from, 2, 40); n > 0 && take_from_budget(s); n--) send_by_id(s, end, size);
}

/* Shared buffers hold the same bytes for everybody; they are made once, for a format. */
static int choose_buffer(swarm *s, const swarm_end *end, enum swarm_channel channel)
{
    int number = (int)choose(&s->from, SWARM_BUFFERS);
    if (end->local.family == WEIR_FAMILY_UNIX || end->state != END_OPEN || !end->peer) return -1;
    swarm_buffer *buffer = &s->buffers[number];
    if (!buffer->buf) {
        uint32_t most = end->format->most < 3000 ? end->format->most : 3000;
        *buffer = (swarm_buffer){ .format = end->format, .channel = channel };
        buffer->size = (uint32_t)choose_from(&s->from, end->format->least, most);
        buffer->buf = weir_buf_create(buffer->size);
        SWARM_CHECK(s, buffer->buf, "the test is out of memory");
        message_label label = {
            .end = MESSAGE_SHARED, .channel = channel, .place = (uint32_t)number, .size = buffer->size
        };
        message_write(end->format, &label, weir_buf_bytes(buffer->buf));
    }
    return buffer->format == end->format && buffer->channel == channel ? number : -1;
}

static void act_send_buf_to(swarm *s, swarm_end *unused)
{
    (void)unused;
    swarm_end *end = choose_end(s, END_OPEN, END_OPEN);
    if (is_silent(end)) return;
    int number = choose_buffer(s, end, REMOTE);
    if (number < 0 || !take_from_budget(s)) return;
    const swarm_buffer *buffer = &s->buffers[number];
    int error = weir_send_buf_to(end->runtime->runtime, end->id, buffer->buf);
    check_send_to(s, end, error);
    if (error) return;
    check_burst(end, buffer->size);
    end_accepted(end, REMOTE, buffer->size, number);
}

/* To one that has gone: accepted, and never seen again. It stands in no books. */
static void act_send_dead(swarm *s, swarm_end *unused)
{
    (void)unused;
    swarm_end *end = choose_end(s, END_GONE, END_GONE);
    if (!end || !take_from_budget(s)) return;
    message_label label = end_label(end, REMOTE, end->format->least);
    message_write(end->format, &label, s->bytes);
    int error = weir_send_to(end->runtime->runtime, end->id, s->bytes, label.size);
    SWARM_CHECK(s, error == 0 || end->closed_ns == swarm_now(s),
                "a send by the id of end %u, which has gone, returns %s", end->number, weir_error_name(error));
}

static void act_close_id(swarm *s, swarm_end *unused)
{
    (void)unused;
    swarm_end *end = choose_end(s, END_CONNECTING, END_GONE);
    if (!end) return;
    int error = weir_close_id(end->runtime->runtime, end->id);
    swarm_say(s, "end %u: weir_close_id: %s", end->number, weir_error_name(error));
    SWARM_CHECK(s, error == 0 || (error == WEIR_ENOMEM && s->ever[WEIR_SIM_ENOMEM]), "weir_close_id returns %s",
                weir_error_name(error));
    if (error || end->state == END_GONE || end->asked_close_id) return;
    end->asked_close_id = true;
    if (!end->ending_ns) end->ending_ns = swarm_now(s);
    /* These stand in front of it in the mailbox, and nothing else closes it. */
    if (!end_is_mute(end) && !end->runtime->stopping && !end->protocol.idle_timeout_ms &&
        !end->protocol.handshake_timeout_ms)
        end->remote_due = end->sent[REMOTE].count;
}

static void act_abort_id(swarm *s, swarm_end *unused)
{
    (void)unused;
    swarm_end *end = choose_end(s, END_CONNECTING, END_GONE);
    if (!end) return;
    int error = weir_abort_id(end->runtime->runtime, end->id);
    swarm_say(s, "end %u: weir_abort_id: %s", end->number, weir_error_name(error));
    SWARM_CHECK(s, error == 0 || (error == WEIR_ENOMEM && s->ever[WEIR_SIM_ENOMEM]), "weir_abort_id returns %s",
                weir_error_name(error));
    if (error || end->state == END_GONE) return;
    end->asked_abort_id = true;
    if (!end->ending_ns) end->ending_ns = swarm_now(s);
}

/* ---- on a connection ---- */

static void act_send(swarm *s, swarm_end *end)
{
    for (uint64_t n = choose_from(&s->from, 1, 3); n > 0 && !end_is_mute(end) && take_from_budget(s); n--)
        (void)callback_send(end, choose_size(end));
}

static void act_send_buf(swarm *s, swarm_end *end)
{
    int number = choose_buffer(s, end, DIRECT);
    if (number < 0 || !take_from_budget(s)) return;
    const swarm_buffer *buffer = &s->buffers[number];
    int error = weir_send_buf(end->conn, buffer->buf);
    swarm_say(s, "end %u: weir_send_buf of %u bytes: %s", end->number, buffer->size, weir_error_name(error));
    end->runtime->refused += error == WEIR_ESLOW;
    if (error == 0) end_accepted(end, DIRECT, buffer->size, number);
}

static void act_flood(swarm *s, swarm_end *end)
{
    uint32_t size = choose_size(end);
    for (uint64_t n = choose_from(&s->from, 2, 60); n > 0 && take_from_budget(s); n--)
        if (!callback_send(end, size)) break;
}

static void act_spoil(swarm *s, swarm_end *end)
{
    int kind = 0;
    size_t size = message_spoil(end->format, &s->from, s->bytes, &kind);
    if (size == 0 || weir_send(end->conn, s->bytes, size) != 0) return;
    swarm_say(s, "end %u: sends nonsense", end->number);
    end->spoiled = kind;
}

static void act_pause(swarm *s, swarm_end *end)
{
    if (end->ended) return;
    swarm_say(s, "end %u: weir_conn_pause", end->number);
    uint64_t idle_ns = end->protocol.idle_timeout_ms * SWARM_MS;
    if (end->paused) return;
    weir_conn_pause(end->conn);
    end->paused = true;
    end->pause_counts = swarm_now(s) + SWARM_MS < end_idle_since_ns(end) + idle_ns;
}

/* Another one on this worker. */
static void act_resume(swarm *s, swarm_end *end)
{
    for (unsigned i = 0; i < s->made_ends; i++) {
        swarm_end *other = s->ends[i];
        if (other->runtime != end->runtime || other->worker != end->worker) continue;
        if (other->state != END_OPEN || !other->paused || choose(&s->from, 2)) continue;
        callback_resume(other);
        return;
    }
}

static void act_close(swarm *s, swarm_end *end)
{
    (void)s;
    callback_close(end);
}

static void act_abort(swarm *s, swarm_end *end)
{
    if (!end->ending_ns) end->ending_ns = swarm_now(s);
    end->asked_abort = true;
    swarm_say(s, "end %u: weir_abort", end->number);
    weir_abort(end->conn);
}

/* ---- the runtimes and the world ---- */

static void act_make_runtime(swarm *s, swarm_end *end)
{
    (void)end;
    swarm_make_runtime(s);
}

static void act_stop(swarm *s, swarm_end *end)
{
    (void)end;
    swarm_runtime *runtime = swarm_choose_runtime(s, false);
    if (!runtime) return;
    swarm_say(s, "runtime %u: weir_runtime_stop", runtime->number);
    runtime->stopping = true;
    runtime->stop_ns = swarm_now(s);
    weir_runtime_stop(runtime->runtime);
}

static void act_destroy(swarm *s, swarm_end *end)
{
    (void)end;
    swarm_runtime *runtime = swarm_choose_runtime(s, false);
    if (runtime) swarm_destroy_runtime(runtime);
}

/* Runs the simulator until one that is stopping has stopped. */
static void act_wait(swarm *s, swarm_end *end)
{
    (void)end;
    swarm_runtime *runtime = swarm_choose_runtime(s, true);
    if (!runtime || !runtime->stopping || runtime->manual) return;
    swarm_forget_bursts(s);
    int error = runtime->started ? weir_runtime_wait(runtime->runtime) : weir_runtime_run(runtime->runtime);
    runtime->started = true;
    SWARM_CHECK(s, error == 0 && runtime->alive == 0, "runtime %u has not stopped: %s", runtime->number,
                weir_error_name(error));
}

static void act_stats(swarm *s, swarm_end *end)
{
    (void)end;
    const swarm_runtime *runtime = swarm_choose_runtime(s, true);
    if (!runtime) return;
    size_t size = weir_stats_text(runtime->runtime, (char *)s->bytes, sizeof s->bytes);
    bool is_whole = size > 0 && size < sizeof s->bytes && s->bytes[size - 1] == '\n' && s->bytes[size] == 0;
    SWARM_CHECK(s, is_whole || (size == 0 && s->ever[WEIR_SIM_ENOMEM]), "weir_stats_text writes no text");
}

static void act_raw(swarm *s, swarm_end *end)
{
    (void)end;
    if (choose(&s->from, 4) == 0 && take_connect(s))
        raw_make(s);
    else
        raw_act(s);
}

const swarm_action swarm_actions[] = {
    { "listen", 6, OUTSIDE | INSIDE, act_listen },
    { "close_listener", 1, OUTSIDE | INSIDE, act_close_listener },
    { "connect", 20, OUTSIDE | INSIDE, act_connect },
    { "connect_nobody", 1, OUTSIDE | INSIDE, act_connect_nobody },
    { "raw", 12, OUTSIDE | INSIDE, act_raw },
    { "send_to", 12, OUTSIDE | INSIDE, act_send_to },
    { "flood_to", 2, OUTSIDE, act_flood_to },
    { "send_buf_to", 6, OUTSIDE | INSIDE, act_send_buf_to },
    { "send_dead", 4, OUTSIDE | INSIDE, act_send_dead },
    { "close_id", 3, OUTSIDE | INSIDE, act_close_id },
    { "abort_id", 1, OUTSIDE | INSIDE, act_abort_id },
    { "send", 30, ON_CONN, act_send },
    { "send_buf", 10, ON_CONN, act_send_buf },
    { "flood", 5, ON_CONN, act_flood },
    { "spoil", 1, ON_CONN, act_spoil },
    { "pause", 3, ON_CONN, act_pause },
    { "resume", 4, ON_CONN, act_resume },
    { "close", 3, ON_CONN, act_close },
    { "abort", 1, ON_CONN, act_abort },
    { "post", 6, OUTSIDE | INSIDE, clock_post },
    { "post_after", 4, OUTSIDE | INSIDE, clock_post_after },
    { "start_tick", 1, OUTSIDE | INSIDE, clock_start_tick },
    { "stop_tick", 1, OUTSIDE | INSIDE, clock_stop_tick },
    { "make_strand", 1, OUTSIDE | INSIDE, clock_make_strand },
    { "destroy_strand", 1, OUTSIDE | INSIDE, clock_destroy_strand },
    { "post_to_strand", 6, OUTSIDE | INSIDE, clock_post_to_strand },
    { "start_timer", 2, OUTSIDE | INSIDE, clock_start_timer },
    { "start_conn_timer", 2, ON_CONN, clock_start_conn_timer },
    { "free_timer", 1, OUTSIDE | INSIDE, clock_free_timer },
    { "group_create", 3, OUTSIDE | INSIDE, act_group_create },
    { "group_join", 12, ON_CONN, act_group_join },
    { "group_leave", 2, ON_CONN, act_group_leave },
    { "group_add_id", 8, OUTSIDE | INSIDE, act_group_add_id },
    { "group_remove_id", 2, OUTSIDE | INSIDE, act_group_remove_id },
    { "group_send", 12, OUTSIDE | INSIDE, act_group_send },
    { "group_destroy", 1, OUTSIDE | INSIDE, act_group_destroy },
    { "make_runtime", 1, OUTSIDE, act_make_runtime },
    { "stop", 1, OUTSIDE | INSIDE, act_stop },
    { "destroy", 1, OUTSIDE, act_destroy },
    { "wait", 1, OUTSIDE, act_wait },
    { "stats", 1, OUTSIDE | INSIDE, act_stats },
    { "weather", 4, OUTSIDE | INSIDE, act_weather },
    { "cut", 2, OUTSIDE | INSIDE, act_cut },
    { "heal", 3, OUTSIDE | INSIDE, act_heal },
    { "udp_open", 4, OUTSIDE | INSIDE, act_udp_open },
    { "udp_close", 1, OUTSIDE | INSIDE, act_udp_close },
    { "udp_send", 16, OUTSIDE | INSIDE, act_udp_send },
    { "logic", 3, OUTSIDE, act_logic },
    { "logic_more", 8, OUTSIDE | INSIDE, act_logic_more },
    { "link", 8, OUTSIDE | INSIDE, act_link },
    { "link_server", 2, OUTSIDE, act_link_server },
};

const unsigned swarm_action_count = sizeof swarm_actions / sizeof *swarm_actions;

static bool is_possible(const swarm *s, unsigned i, unsigned places)
{
    return s->enabled[i] && (swarm_actions[i].places & places) != 0;
}

void swarm_act(swarm *s, enum swarm_place place, swarm_end *end)
{
    unsigned places = place == ON_CONN ? ON_CONN | INSIDE : place;
    uint64_t sum = 0;
    for (unsigned i = 0; i < swarm_action_count; i++)
        if (is_possible(s, i, places)) sum += swarm_actions[i].weight;
    if (sum == 0) return;
    uint64_t chosen = choose(&s->from, sum);
    unsigned i = 0;
    for (;; i++) {
        if (!is_possible(s, i, places)) continue;
        if (chosen < swarm_actions[i].weight) break;
        chosen -= swarm_actions[i].weight;
    }
    swarm_mix(s, i);
    swarm_actions[i].run(s, end);
}
