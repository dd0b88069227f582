/* The phases of a scenario, and what it is made of. */
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "core/buffer.h"
#include "sim/swarm.h"

enum {
    CALM_S = 200,   /* longer than what was slow or lost takes to come, and than all deadlines */
    ORDERLY_S = 30, /* as long as an accept_rate of 2 a second may take */
    VISIT_MS = 20,  /* for as long, a visitor does not read */
    STUCK_POLLS = 1000000,
    DAY_S = 24 * 60 * 60,
};

/* ---- telling ---- */

void swarm_fail(const swarm *s, const char *format, ...)
{
    char text[400];
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    s->options.failed(s, text);
    abort();
}

void swarm_say(const swarm *s, const char *format, ...)
{
    if (!s->options.trace) return;
    uint64_t now_ns = swarm_now(s);
    va_list arguments;
    printf("%" PRIu64 ".%09" PRIu64 "   ", now_ns / SWARM_S, now_ns % SWARM_S);
    va_start(arguments, format);
    (void)vprintf(format, arguments);
    va_end(arguments);
    printf("\n");
}

static void print_line(const char *line, void *data)
{
    (void)data;
    printf("%s\n", line);
}

/* ---- runtimes ---- */

static swarm_runtime *manual_runtime(swarm *s)
{
    for (unsigned i = 0; i < s->made_runtimes; i++)
        if (s->runtimes[i].manual && s->runtimes[i].runtime && !s->runtimes[i].dying) return &s->runtimes[i];
    return NULL;
}

void swarm_make_runtime(swarm *s)
{
    if (s->made_runtimes == SWARM_RUNTIMES) return;
    choice *from = &s->from;
    swarm_runtime *made = &s->runtimes[s->made_runtimes];
    *made = (swarm_runtime){ .s = s, .number = s->made_runtimes, .memory = { .s = s } };
    weir_allocator allocator = swarm_allocator(&made->memory);
    made->manual = !manual_runtime(s) && choose(from, 4) == 0;
    made->worker_count = made->manual ? 1 : (unsigned)choose_from(from, 1, SWARM_WORKERS);
    made->options = (weir_runtime_options){ .workers = made->worker_count,
                                            .manual = made->manual,
                                            .stop_timeout_ms = (uint32_t)choose_from(from, 10, 5000),
                                            .max_connections = choose(from, 5) ? 0 : (uint32_t)choose_from(from, 1, 40),
                                            .group_backlog = choose(from, 4) ? 0 : choose_from(from, 1, 20000),
                                            .allocator = &allocator,
                                            .sim = s->sim };
    for (unsigned i = 0; i < SWARM_WORKERS; i++) made->workers[i] = (swarm_worker){ .runtime = made, .number = i };
    int error = weir_runtime_create(&made->runtime, &made->options);
    SWARM_CHECK(s, error == 0 || (error == WEIR_ENOMEM && s->ever[WEIR_SIM_ENOMEM]), "weir_runtime_create returns %s",
                weir_error_name(error));
    SWARM_CHECK(s, error == 0 || made->memory.blocks == 0,
                "weir_runtime_create has failed, and kept %" PRIu64 " blocks", made->memory.blocks);
    if (error) return;
    made->options.allocator = NULL;
    s->made_runtimes++;
    swarm_say(s, "runtime %u: %u workers%s", made->number, made->worker_count, made->manual ? ", polled" : "");
    if (made->manual || choose(from, 2)) return; /* in a simulator a start is nothing that anybody waits for */
    made->started = true;
    error = weir_runtime_start(made->runtime);
    SWARM_CHECK(s, error == 0, "weir_runtime_start returns %s", weir_error_name(error));
}

void swarm_destroy_runtime(swarm_runtime *runtime)
{
    swarm *s = runtime->s;
    swarm_say(s, "runtime %u: weir_runtime_destroy", runtime->number);
    if (!runtime->stopping) runtime->stop_ns = swarm_now(s);
    runtime->stopping = runtime->dying = true;
    swarm_forget_bursts(s);
    weir_runtime_destroy(runtime->runtime);
    runtime->runtime = NULL;
    clock_forget(runtime);
    udp_forget(runtime);
    uint64_t took_ns = swarm_now(s) - runtime->stop_ns;
    bool is_late = took_ns > runtime->options.stop_timeout_ms * SWARM_MS + 3 * SWARM_MS;
    /* One that was asked long ago has ended since, and whatever happens meanwhile moves the clock. */
    SWARM_CHECK(s, !is_late || runtime->alive == 0, "runtime %u has connections after its end", runtime->number);
    SWARM_CHECK(s, runtime->alive == 0, "runtime %u has gone, and %" PRIu64 " of its connections had no on_close",
                runtime->number, runtime->alive);
    SWARM_CHECK(s, runtime->memory.blocks == 0 && runtime->memory.used == 0,
                "runtime %u has gone, and %" PRIu64 " blocks of its memory are left, %" PRIu64 " bytes",
                runtime->number, runtime->memory.blocks, runtime->memory.used);
    for (unsigned i = 0; i < s->made_ends; i++) {
        const swarm_end *end = s->ends[i];
        if (end->runtime != runtime || end->reason.error == 0) continue;
        uint64_t slack_ns = end->opened_ns ? 3 * SWARM_MS : SWARM_ANSWER_NS;
        SWARM_CHECK(s,
                    end->closed_ns <= runtime->stop_ns + runtime->options.stop_timeout_ms * SWARM_MS + slack_ns ||
                        runtime->manual,
                    "end %u ends long after the stop_timeout of its runtime", end->number);
    }
}

/* ---- running ---- */

void swarm_forget_bursts(swarm *s)
{
    for (unsigned i = 0; i < s->made_ends; i++) s->ends[i]->burst = 0;
}

static void poll_until(swarm *s, uint64_t until_ns)
{
    uint64_t last_ns = 0;
    for (unsigned polls = 0; swarm_now(s) < until_ns; polls++) {
        swarm_runtime *manual = manual_runtime(s);
        if (!manual) break;
        uint64_t left_ms = (until_ns - swarm_now(s) + SWARM_MS - 1) / SWARM_MS;
        int served = weir_poll(manual->runtime, (int)left_ms);
        if (served == WEIR_ESTOPPED) break;
        SWARM_CHECK(s, served >= 0, "weir_poll returns %s", weir_error_name(served));
        if (swarm_now(s) != last_ns) polls = 0;
        last_ns = swarm_now(s);
        SWARM_CHECK(s, polls < STUCK_POLLS, "time stands still");
    }
    if (swarm_now(s) >= until_ns) return;
    int error = weir_sim_advance(s->sim, until_ns - swarm_now(s));
    SWARM_CHECK(s, error == 0, "weir_sim_advance returns %s", weir_error_name(error));
}

void swarm_run(swarm *s, uint64_t ns)
{
    swarm_forget_bursts(s);
    swarm_runtime *manual = manual_runtime(s);
    if (manual && ns == 0) (void)weir_poll(manual->runtime, 0);
    poll_until(s, swarm_now(s) + ns);
    SWARM_CHECK(s, s->depth == 0, "a callback has not returned");
    for (unsigned i = 0; i < s->made_runtimes; i++)
        if (s->runtimes[i].runtime) judge_runtime(&s->runtimes[i], false);
}

static bool has_shortage(const swarm *s)
{
    const weir_sim_options *now = &s->weather;
    return now->emfile_per_mille || now->enobufs_per_mille || now->enomem_per_mille || now->max_sockets;
}

static void run_a_while(swarm *s)
{
    /* Half the way round of 32 bits of milliseconds. Not where a listener tries again ten times a second, or a link for
     * all that time; and nobody may bring that about meanwhile. */
    if (chance(&s->from, 300) && !has_shortage(s) && !link_is_restless(s)) {
        s->quiet = true;
        swarm_run(s, 24 * DAY_S * SWARM_S);
        s->quiet = false;
        return;
    }
    static const uint64_t spans_ns[] = { 0, 1, 1000, 100000, SWARM_MS, 20 * SWARM_MS, 200 * SWARM_MS, 3 * SWARM_S };
    swarm_run(s, choose(&s->from, CHOOSE_ONE(&s->from, spans_ns) + 1));
}

static void post_to_all(swarm *s, weir_post_fn run)
{
    for (unsigned i = 0; i < s->made_runtimes; i++) {
        swarm_runtime *runtime = &s->runtimes[i];
        for (unsigned w = 0; runtime->runtime && w < runtime->worker_count; w++) {
            int error = weir_post(runtime->runtime, w, run, &runtime->workers[w]);
            SWARM_CHECK(s, error == 0 || (error == WEIR_ESTOPPED && runtime->stopping), "weir_post returns %s",
                        weir_error_name(error));
        }
    }
}

/* ---- the phases ---- */

/* 0 is no time in the books. Connections keep times in 32 bits of milliseconds: these are about to turn negative, or
 * over. The queues' clock is a second ahead. */
static void start_clock(swarm *s)
{
    static const uint64_t starts_ms[] = { 1, 1, 1, 1, INT32_MAX, UINT32_MAX };
    uint64_t start_ms = CHOOSE_ONE(&s->from, starts_ms);
    if (start_ms > 1) start_ms -= 1000 + choose(&s->from, 10000);
    int error = weir_sim_advance(s->sim, start_ms * SWARM_MS);
    SWARM_CHECK(s, error == 0, "weir_sim_advance returns %s", weir_error_name(error));
}

static void begin(swarm *s)
{
    weir_sim_options network = { .seed = choose(&s->from, UINT64_MAX) };
    if (s->options.trace) network.trace = print_line;
    int error = weir_sim_create(&s->sim, &network);
    SWARM_CHECK(s, error == 0, "weir_sim_create returns %s", weir_error_name(error));
    s->weather = network;
    weather_choose(s);
    for (unsigned i = 0; i < swarm_action_count; i++) s->enabled[i] = choose(&s->from, 4) != 3;
    for (unsigned i = 0; i < SWARM_FORMATS; i++) s->formats[i] = message_choose(&s->from);
    s->budget = (unsigned)choose_from(&s->from, 20, 600);
    s->connects = (unsigned)choose_from(&s->from, 1, choose(&s->from, 2) ? 10 : SWARM_ENDS / 2);
    bool early = choose(&s->from, 2);
    if (early) swarm_make_runtime(s);
    start_clock(s);
    for (uint64_t n = choose_from(&s->from, early ? 0 : 1, 2); n > 0; n--) swarm_make_runtime(s);
    for (unsigned i = 0; i < swarm_action_count; i++) { /* without these nothing would happen */
        const char *name = swarm_actions[i].name;
        if (strcmp(name, "listen") == 0 || strcmp(name, "connect") == 0 || strcmp(name, "send") == 0)
            s->enabled[i] = true;
        if (strcmp(name, "listen") == 0) swarm_actions[i].run(s, NULL);
    }
    weather_change(s);
}

static void storm(swarm *s)
{
    for (uint64_t n = choose_from(&s->from, 10, 120); n > 0 && !choice_is_over(&s->from); n--) {
        swarm_act(s, OUTSIDE, NULL);
        if (choose(&s->from, 2)) run_a_while(s);
    }
}

static void calm(swarm *s)
{
    swarm_say(s, "calm");
    s->quiet = true;
    weather_calm(s);
    raw_calm(s);
    clock_calm(s);
    link_calm_begin(s);
    post_to_all(s, callback_calm);
    swarm_run(s, CALM_S * SWARM_S);
    logic_calm(s);
    link_calm_end(s);
    judge_calm(s);
    udp_judge_calm(s);
    for (unsigned i = 0; i < s->made_runtimes; i++) {
        swarm_runtime *runtime = &s->runtimes[i];
        if (!runtime->runtime) continue;
        judge_runtime(runtime, true);
        if (!runtime->stopping) continue;
        int error = weir_post(runtime->runtime, 0, callback_calm, &runtime->workers[0]);
        SWARM_CHECK(s, error == WEIR_ESTOPPED, "runtime %u was stopped long ago, and weir_post returns %s",
                    runtime->number, weir_error_name(error));
    }
}

/* Its limits stand in the way of one more connection; those of one that has none leave room. */
static bool has_no_place(const swarm_listener *listener)
{
    const weir_listen_options *options = &listener->options;
    if (listener->runtime->options.max_connections) return true; /* its other listeners may take it */
    return (options->max_connections || options->max_per_address) && listener->alive > 0;
}

/* Connections in which nothing may go wrong: some of those that are there, and a new one to each listener. */
static void orderly(swarm *s)
{
    swarm_say(s, "in order");
    for (unsigned i = 0; i < s->made_ends; i++) {
        swarm_end *end = s->ends[i], *peer = end->peer;
        if (end->state != END_OPEN || !peer || peer->state != END_OPEN || end->raw || peer->raw) continue;
        if (end_is_mute(end) || end_is_mute(peer) || end->runtime->stopping || peer->runtime->stopping) continue;
        end->strict = peer->strict = true;
    }
    for (unsigned i = 0; i < s->made_listeners && s->made_ends + 4 < SWARM_ENDS; i++) {
        swarm_listener *listener = &s->listeners[i];
        if (listener->closed || listener->runtime->stopping || has_no_place(listener)) continue;
        swarm_connect(s, listener, true);
        bool is_patient = listener->protocol.close_timeout_ms > 10 * VISIT_MS;
        if (is_patient && !listener->options.max_connections && !listener->options.max_per_address)
            raw_visit(s, listener);
    }
    udp_speak(s);
    swarm_run(s, VISIT_MS * SWARM_MS);
    raw_read(s);
    swarm_run(s, ORDERLY_S * SWARM_S);
    post_to_all(s, callback_part);
    swarm_run(s, ORDERLY_S * SWARM_S);
    judge_orderly(s);
    udp_judge_orderly(s);
}

/* Stops in the middle of whatever there still is. */
static void end_all(swarm *s)
{
    s->quiet = false;
    if (choose(&s->from, 2)) weather_change(s);
    for (uint64_t n = choose(&s->from, 20); n > 0; n--) swarm_act(s, OUTSIDE, NULL);
    if (choose(&s->from, 2)) run_a_while(s);
    while (true) {
        unsigned first = (unsigned)choose(&s->from, s->made_runtimes), i = 0;
        while (i < s->made_runtimes && !s->runtimes[(first + i) % s->made_runtimes].runtime) i++;
        if (i == s->made_runtimes) break;
        swarm_destroy_runtime(&s->runtimes[(first + i) % s->made_runtimes]);
    }
    link_destroy(s);
    logic_destroy(s);
    raw_destroy(s);
    judge_all(s);
}

static void free_all(swarm *s)
{
    for (unsigned i = 0; i < SWARM_BUFFERS; i++) {
        weir_buf *buf = s->buffers[i].buf;
        SWARM_CHECK(s, !buf || atomic_load(&buf->references) == 1, "somebody still holds a shared buffer");
        weir_buf_release(buf);
    }
    for (unsigned i = 0; i < s->made_ends; i++) end_free(s->ends[i]);
    weir_sim_destroy(s->sim);
}

swarm_result swarm_run_scenario(const swarm_options *options, choice from)
{
    swarm *s = calloc(1, sizeof *s);
    if (!s) abort();
    s->options = *options;
    s->from = from;
    begin(s);
    storm(s);
    calm(s);
    orderly(s);
    end_all(s);
    swarm_mix(s, weir_sim_trace_hash(s->sim));
    swarm_result result = { .hash = s->hash, .virtual_ns = swarm_now(s), .ends = s->made_ends };
    for (unsigned i = 0; i < s->made_runtimes; i++) {
        result.messages += (unsigned)s->runtimes[i].messages;
        result.datagrams += (unsigned)s->runtimes[i].datagrams;
    }
    free_all(s);
    free(s);
    return result;
}
