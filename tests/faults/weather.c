#define _GNU_SOURCE
#include "faults/weather.h"

#include <arpa/inet.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/host.h"

enum {
    CALM_MS = 500,
    QUIET_MS = 300,
    /* Of the loops, while nobody asks for anything. One that spins makes some ten thousand passes. */
    QUIET_PASSES_MAX = 1500,
    QUIET_CPU_US_MAX = QUIET_MS * 1000 / 2,
    MEMORY_EACH_MAX = 256, /* of tables, which never shrink */
    CLIENTS = 2,           /* processes: the guests', the raiders' */
    CHILDREN_MAX = 3,
};

static uint32_t stop_timeout_ms(const weather *now)
{
    return now->stop_timeout_ms ? now->stop_timeout_ms : 1000;
}

weather_seen seen;

typedef struct run {
    world w;
    storm *s;
    pid_t children[CHILDREN_MAX];
    unsigned child_count;
    unsigned descriptors; /* of the server without connections */
} run;

/* ---- the server ---- */

static void raise_peak(_Atomic unsigned *peak, unsigned now)
{
    unsigned before = atomic_load(peak);
    while (now > before && !atomic_compare_exchange_weak(peak, &before, now)) continue;
}

static _Atomic unsigned *source_of(const weir_conn *conn)
{
    weir_address peer = weir_conn_peer(conn);
    return &seen.from[peer.ip[2] << 8 | peer.ip[3]];
}

static void on_open(weir_conn *conn)
{
    raise_peak(&seen.peak, atomic_fetch_add(&seen.open, 1) + 1);
    raise_peak(&seen.from_peak, atomic_fetch_add(source_of(conn), 1) + 1);
}

static void on_close(weir_conn *conn, weir_reason reason)
{
    (void)reason;
    atomic_fetch_sub(&seen.open, 1);
    atomic_fetch_sub(source_of(conn), 1);
}

static void echo(weir_conn *conn, const void *bytes, size_t size)
{
    (void)weir_send(conn, bytes, size);
}

static void start_server(run *r, const weather *now)
{
    r->w = (world){ .protocol = { .on_open = on_open,
                                  .on_message = echo,
                                  .on_close = on_close,
                                  .framing = weir_framing_line(),
                                  .handshake_timeout_ms = now->handshake_ms,
                                  .idle_timeout_ms = now->idle_ms },
                    .runtime_options = { .workers = 2, .stop_timeout_ms = stop_timeout_ms(now) },
                    .listen_options = now->limits,
                    .address = now->link ? "0.0.0.0:0" : NULL };
    world_start(&r->w);
    atomic_store(&r->s->port, r->w.port);
}

/* ---- the other processes ---- */

static storm *map_storm(const weather *now)
{
    storm *s = mmap(NULL, sizeof *s, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    cr_assert_neq((void *)s, MAP_FAILED);
    s->raid = now->raid;
    s->host = INADDR_LOOPBACK;
    s->loops = !now->link;
    s->link = now->link;
    s->visits = now->visits;
    s->visits_beside = now->visits_beside;
    return s;
}

/* Before the test has threads. What it runs ends with this process. */
static void start_child(run *r, void (*main)(storm *s))
{
    (void)fflush(NULL);
    pid_t pid = fork();
    cr_assert_geq(pid, 0, "fork: %s", strerror(errno));
    if (pid == 0) {
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        main(r->s);
        _exit(0);
    }
    r->children[r->child_count++] = pid;
}

static void enter_phase(run *r, enum storm_phase phase)
{
    atomic_store(&r->s->phase, phase);
}

/* Sets the phase in which they end, and waits for the children from that number on, up to another. */
static void end_children(run *r, enum storm_phase phase, unsigned first, unsigned end)
{
    uint64_t deadline_ns = storm_now_ns() + (uint64_t)RAW_PATIENCE_MS * 1000000;
    enter_phase(r, phase);
    for (unsigned i = first; i < end; i++) {
        int status = -1;
        while (waitpid(r->children[i], &status, WNOHANG) == 0) {
            cr_assert_lt(storm_now_ns(), deadline_ns, "process %u does not end", i);
            weir_sleep_ms(1);
        }
        cr_assert_eq(status, 0, "process %u ended with %d", i, status);
    }
}

/* Guests and raiders; the link must still carry their goodbyes. */
static void end_clients(run *r)
{
    end_children(r, STORM_END, 0, CLIENTS);
}

static void end_link(run *r)
{
    end_children(r, STORM_OVER, CLIENTS, r->child_count);
}

static void check_losses(const run *r)
{
    cr_assert_eq(r->s->guests.lost, 0, "%u guests lost something; the first: %s", (unsigned)r->s->guests.lost,
                 r->s->guests.why);
}

/* Lets the phase last. */
static void pass(const run *r, uint32_t ms)
{
    uint64_t end_ns = storm_now_ns() + (uint64_t)ms * 1000000;
    while (storm_now_ns() < end_ns) {
        check_losses(r);
        weir_sleep_ms(5);
    }
}

static void hold(run *r)
{
    enter_phase(r, STORM_HOLD);
    weir_sleep_ms(5); /* each has seen it, or is counted as busy */
    WORLD_AWAIT(&r->w, r->s->guests.busy == 0);
    check_losses(r);
}

static int near_end, far_end; /* of the link, if the weather has one */

static void carry(storm *s)
{
    link_carry(near_end, far_end, s->link, &s->phase, STORM_OVER);
}

static int make_end(const char *address)
{
    const char *why;
    int end = link_end(address, &why);
    if (end < 0) cr_skip_test("%s", why);
    return end;
}

static void gather(run *r, const weather *now)
{
    if (now->link) far_end = make_end("10.99.0.2");
    start_child(r, storm_guests);
    start_child(r, now->raid.run);
    if (!now->link) return;
    near_end = make_end("10.99.0.1"); /* this process goes on to the other end */
    r->s->host = ntohl(inet_addr("10.99.0.1"));
    start_child(r, carry);
    (void)close(far_end);
    (void)close(near_end);
}

static void meet(run *r)
{
    WORLD_AWAIT(&r->w, r->s->guests.there == STORM_GUESTS && r->s->guests.busy == 0);
    WORLD_AWAIT(&r->w, seen.open == STORM_GUESTS);
    check_losses(r);
}

/* ---- what holds in any weather ---- */

static weather_level read_level(const run *r)
{
    weir_stats stats = world_stats(&r->w); /* first, so that the time is none too short */
    return (weather_level){ .ns = storm_now_ns(), .memory = r->w.memory.used, .cpu_us = host_cpu_us(), .stats = stats };
}

/* The raiders keep what they have; nobody asks for anything. */
static void check_no_spin(const run *r)
{
    weir_sleep_ms(30);
    weather_level before = read_level(r);
    weir_sleep_ms(QUIET_MS);
    weather_level after = read_level(r);
    cr_assert_leq(after.stats.passes - before.stats.passes, QUIET_PASSES_MAX);
    cr_assert_leq(after.cpu_us - before.cpu_us, QUIET_CPU_US_MAX * RAW_SLOWDOWN);
}

static void check_nothing_stays(run *r, const weather_level *before)
{
    WORLD_AWAIT(&r->w, seen.open == STORM_GUESTS && world_stats(&r->w).connections == STORM_GUESTS);
    WORLD_AWAIT(&r->w, raw_descriptors() == r->descriptors + STORM_GUESTS);
    uint64_t allowed = before->memory + WEATHER_MEMORY_KEPT_MAX + (uint64_t)seen.peak * MEMORY_EACH_MAX;
    cr_assert_leq(r->w.memory.used, allowed, "%llu bytes before, %llu after, with %u connections at once",
                  (unsigned long long)before->memory, (unsigned long long)r->w.memory.used, seen.peak);
}

/* Somebody who comes when all is over is served. */
static void check_newcomer(run *r)
{
    char heard[6];
    raw_peer peer = world_connect(&r->w);
    raw_send(peer, "hello\n", 6);
    raw_receive(peer, heard, 6);
    cr_assert_arr_eq(heard, "hello\n", 6);
    raw_close(peer);
}

static double us_of(const struct histogram *h, double share)
{
    return (double)histogram_quantile(h, share) / 1000;
}

static void print_latency(const char *whose, const struct histogram *calm, const struct histogram *beside)
{
    if (calm->total) printf("; %s p50 %.0f p99 %.0f us alone", whose, us_of(calm, 0.5), us_of(calm, 0.99));
    if (beside->total) printf(", p50 %.0f p99 %.0f us beside it", us_of(beside, 0.5), us_of(beside, 0.99));
}

static void print_figures(const run *r, const weather *now, const weather_level *before, const weather_level *after)
{
    const storm *s = r->s;
    printf("figure   %s: %llu connections, %llu of them ended by the server, in %u ms with %u ms of its CPU time",
           now->name, (unsigned long long)s->raiders.connections, (unsigned long long)s->raiders.ended,
           (unsigned)((after->ns - before->ns) / 1000000), (unsigned)((after->cpu_us - before->cpu_us) / 1000));
    print_latency("an answer", &s->guests.calm, &s->guests.beside);
    print_latency("a visit", &s->guests.calm_visit, &s->guests.beside_visit);
    printf("\n");
    (void)fflush(stdout);
}

/* ---- the course of a storm ---- */

static weather_level attack(run *r, const weather *now, const weather_level *since)
{
    weather_level current;
    enter_phase(r, STORM_ATTACK);
    pass(r, now->attack_ms);
    WORLD_AWAIT(&r->w, (current = read_level(r), now->bites(since, &current)));
    check_losses(r);
    return current;
}

static void blow(run *r, const weather *now)
{
    enter_phase(r, STORM_CALM);
    pass(r, CALM_MS);
    hold(r);
    WORLD_AWAIT(&r->w, seen.open == STORM_GUESTS && raw_descriptors() == r->descriptors + STORM_GUESTS);
    weather_level before = read_level(r);
    unsigned limit = host_descriptor_limit();
    if (now->spare_descriptors) cr_assert(host_limit_descriptors(raw_descriptors() + now->spare_descriptors));
    weather_level after = attack(r, now, &before);
    hold(r);
    check_no_spin(r);
    if (now->check) now->check(&r->w, &before, &after);
    enter_phase(r, STORM_LEAVE);
    WORLD_AWAIT(&r->w, r->s->raiders.there == 0 && seen.open == STORM_GUESTS);
    uint64_t answers = r->s->guests.answers;
    enter_phase(r, STORM_AFTER);
    WORLD_AWAIT(&r->w, r->s->guests.answers > answers + 50);
    check_newcomer(r);
    hold(r);
    check_nothing_stays(r, &before);
    cr_assert(host_limit_descriptors(limit));
    print_figures(r, now, &before, &after);
    end_clients(r);
    WORLD_AWAIT(&r->w, seen.open == 0);
    check_losses(r);
    end_link(r);
    world_stop(&r->w);
}

/* The server is told to stop while all is going on. */
static void stop_within(run *r, const weather *now)
{
    if (now->spare_descriptors) cr_assert(host_limit_descriptors(raw_descriptors() + now->spare_descriptors));
    enter_phase(r, STORM_ATTACK);
    pass(r, 300);
    enter_phase(r, STORM_STOP);
    weir_sleep_ms(5);
    uint64_t begun_ns = storm_now_ns();
    weir_runtime_stop(r->w.runtime);
    cr_assert_eq(weir_runtime_wait(r->w.runtime), 0);
    uint64_t took_ms = (storm_now_ns() - begun_ns) / 1000000;
    cr_assert_leq(took_ms, stop_timeout_ms(now) + 1000 * RAW_SLOWDOWN);
    cr_assert_eq(seen.open, 0, "%u connections have not closed", seen.open);
    cr_assert_geq(r->w.stopped, STORM_GUESTS);
    world_stop(&r->w);
    WORLD_AWAIT(&r->w, r->s->guests.there == 0 || r->s->guests.lost > 0);
    check_losses(r);
    cr_assert_geq(r->s->guests.cut, STORM_GUESTS);
    printf("figure   a stop amid %s takes %u ms\n", now->name, (unsigned)took_ms);
    end_clients(r);
    end_link(r);
}

/* The processes, the server, and what happens to them. */
static void play(const weather *now, void (*course)(run *r, const weather *now))
{
    run r = { .s = map_storm(now) };
    gather(&r, now);
    unsigned before = raw_descriptors();
    start_server(&r, now);
    r.descriptors = raw_descriptors();
    meet(&r);
    course(&r, now);
    cr_assert_eq(raw_descriptors(), before);
}

void weather_blow(const weather *now)
{
    play(now, blow);
}

void weather_stop(const weather *now)
{
    play(now, stop_within);
}
