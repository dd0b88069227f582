/* Attacks on a server, and what becomes of those who behave meanwhile: no answer is lost, nothing leaks, nothing spins,
 * and a stop in the middle ends all of them in order. How much longer their answers take is printed and not judged. */
#define _GNU_SOURCE
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
#include "core/outbox.h"
#include "core/world.h"
#include "faults/link.h"
#include "faults/storm.h"

enum {
    CALM_MS = 500,
    PATIENT_MS = RAW_SLOWDOWN > 1 ? 10000 : 5000, /* longer than retransmissions last */
    QUIET_MS = 300,
    /* Of the loops, while nobody asks for anything. One that spins makes some ten thousand passes. */
    QUIET_PASSES_MAX = 1500,
    QUIET_CPU_US_MAX = QUIET_MS * 1000 / 2,
    STOP_TIMEOUT_MS = 1000,
    MEMORY_KEPT_MAX = 2 * (64 * 16384 + WR_CHUNKS_KEPT * WR_CHUNK_SIZE), /* by the pools of two workers */
    MEMORY_EACH_MAX = 256,                                               /* of tables, which never shrink */
    SOURCES = 1 << 16,
    CHILDREN_MAX = 3,
};

typedef struct run run;

/* What the server's counters say. */
typedef struct level {
    uint64_t ns, memory, cpu_us;
    weir_stats stats;
} level;

typedef struct weather {
    const char *name;
    storm_raid raid;
    weir_listen_options limits;
    uint32_t attack_ms; /* at least; it goes on until it bites */
    bool (*bites)(const level *since, const level *now);
    void (*check)(const run *r, const level *since, const level *now); /* what holds then */
    unsigned spare_descriptors; /* that the server may have beyond those it has when the attack begins; 0: enough */
    bool visits;                /* visitors come, */
    bool visits_beside;         /* during the attack too */
    uint32_t handshake_ms, idle_ms;
} weather;

/* What the server saw. */
static struct {
    _Atomic unsigned open, peak;
    _Atomic unsigned from[SOURCES], from_peak;
} seen;

struct run {
    world w;
    storm *s;
    pid_t children[CHILDREN_MAX];
    unsigned child_count;
    unsigned descriptors; /* of the server without connections */
};

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

static void start_server(run *r, const weather *now, const char *address)
{
    r->w = (world){ .protocol = { .on_open = on_open,
                                  .on_message = echo,
                                  .on_close = on_close,
                                  .framing = weir_framing_line(),
                                  .handshake_timeout_ms = now->handshake_ms,
                                  .idle_timeout_ms = now->idle_ms },
                    .runtime_options = { .workers = 2, .stop_timeout_ms = STOP_TIMEOUT_MS },
                    .listen_options = now->limits,
                    .address = address };
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
    s->loops = true;
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

static void end_children(run *r)
{
    uint64_t deadline_ns = storm_now_ns() + (uint64_t)RAW_PATIENCE_MS * 1000000;
    atomic_store(&r->s->phase, STORM_END);
    for (unsigned i = 0; i < r->child_count; i++) {
        int status = -1;
        while (waitpid(r->children[i], &status, WNOHANG) == 0) {
            cr_assert_lt(storm_now_ns(), deadline_ns, "process %u does not end", i);
            weir_sleep_ms(1);
        }
        cr_assert_eq(status, 0, "process %u ended with %d", i, status);
    }
}

static void enter_phase(run *r, enum storm_phase phase)
{
    atomic_store(&r->s->phase, phase);
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

static void gather(run *r, const weather *now)
{
    start_child(r, storm_guests);
    start_child(r, now->raid.run);
}

static void meet(run *r)
{
    WORLD_AWAIT(&r->w, r->s->guests.there == STORM_GUESTS && r->s->guests.busy == 0);
    WORLD_AWAIT(&r->w, seen.open == STORM_GUESTS);
    check_losses(r);
}

/* ---- what holds in any weather ---- */

static level read_level(const run *r)
{
    weir_stats stats = world_stats(&r->w); /* first, so that the time is none too short */
    return (level){ .ns = storm_now_ns(), .memory = r->w.memory.used, .cpu_us = host_cpu_us(), .stats = stats };
}

/* The raiders keep what they have; nobody asks for anything. */
static void check_no_spin(const run *r)
{
    weir_sleep_ms(30);
    level before = read_level(r);
    weir_sleep_ms(QUIET_MS);
    level after = read_level(r);
    cr_assert_leq(after.stats.passes - before.stats.passes, QUIET_PASSES_MAX);
    cr_assert_leq(after.cpu_us - before.cpu_us, QUIET_CPU_US_MAX * RAW_SLOWDOWN);
}

static void check_nothing_stays(run *r, const level *before)
{
    WORLD_AWAIT(&r->w, seen.open == STORM_GUESTS && world_stats(&r->w).connections == STORM_GUESTS);
    WORLD_AWAIT(&r->w, raw_descriptors() == r->descriptors + STORM_GUESTS);
    uint64_t allowed = before->memory + MEMORY_KEPT_MAX + (uint64_t)seen.peak * MEMORY_EACH_MAX;
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

static void print_latency(const char *what, const struct histogram *calm, const struct histogram *beside)
{
    if (calm->total == 0) return;
    printf(", %s p50 %.0f p99 %.0f us", what, us_of(calm, 0.5), us_of(calm, 0.99));
    if (beside->total) printf(" -> %.0f %.0f us", us_of(beside, 0.5), us_of(beside, 0.99));
}

static void print_figures(const run *r, const weather *now, const level *before, const level *after)
{
    const storm *s = r->s;
    printf("figure   %s: %llu connections of raiders, %llu ended by the server, in %u ms and %llu ms of its CPU time; "
           "%llu answers",
           now->name, (unsigned long long)s->raiders.connections, (unsigned long long)s->raiders.ended,
           (unsigned)((after->ns - before->ns) / 1000000), (unsigned long long)(after->cpu_us - before->cpu_us) / 1000,
           (unsigned long long)s->guests.answers);
    print_latency("an answer alone -> beside", &s->guests.calm, &s->guests.beside);
    print_latency("a visit", &s->guests.calm_visit, &s->guests.beside_visit);
    printf("\n");
    (void)fflush(stdout);
}

/* ---- the course of a storm ---- */

static level attack(run *r, const weather *now, const level *since)
{
    level current;
    enter_phase(r, STORM_ATTACK);
    pass(r, now->attack_ms);
    WORLD_AWAIT(&r->w, (current = read_level(r), now->bites(since, &current)));
    check_losses(r);
    return current;
}

static void blow(run *r, const weather *now)
{
    meet(r);
    enter_phase(r, STORM_CALM);
    pass(r, CALM_MS);
    hold(r);
    WORLD_AWAIT(&r->w, seen.open == STORM_GUESTS && raw_descriptors() == r->descriptors + STORM_GUESTS);
    level before = read_level(r);
    unsigned limit = host_descriptor_limit();
    if (now->spare_descriptors) cr_assert(host_limit_descriptors(raw_descriptors() + now->spare_descriptors));
    level after = attack(r, now, &before);
    hold(r);
    check_no_spin(r);
    if (now->check) now->check(r, &before, &after);
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
    end_children(r);
    WORLD_AWAIT(&r->w, seen.open == 0);
    check_losses(r);
    world_stop(&r->w);
}

static void play(const weather *now)
{
    run r = { .s = map_storm(now) };
    gather(&r, now);
    unsigned before = raw_descriptors();
    start_server(&r, now, NULL);
    r.descriptors = raw_descriptors();
    blow(&r, now);
    cr_assert_eq(raw_descriptors(), before);
}

/* The server is told to stop while all is going on. */
static void stop_within(const weather *now)
{
    run r = { .s = map_storm(now) };
    gather(&r, now);
    unsigned before = raw_descriptors();
    start_server(&r, now, NULL);
    meet(&r);
    if (now->spare_descriptors) cr_assert(host_limit_descriptors(raw_descriptors() + now->spare_descriptors));
    enter_phase(&r, STORM_ATTACK);
    pass(&r, 300);
    enter_phase(&r, STORM_STOP);
    weir_sleep_ms(5);
    uint64_t begun_ns = storm_now_ns();
    weir_runtime_stop(r.w.runtime);
    cr_assert_eq(weir_runtime_wait(r.w.runtime), 0);
    uint64_t took_ms = (storm_now_ns() - begun_ns) / 1000000;
    cr_assert_leq(took_ms, STOP_TIMEOUT_MS + 1000 * RAW_SLOWDOWN);
    cr_assert_eq(seen.open, 0, "%u connections have not closed", seen.open);
    cr_assert_geq(r.w.stopped, STORM_GUESTS);
    world_stop(&r.w);
    WORLD_AWAIT(&r.w, r.s->guests.there == 0 || r.s->guests.lost > 0);
    check_losses(&r);
    cr_assert_geq(r.s->guests.cut, STORM_GUESTS);
    cr_assert_eq(raw_descriptors(), before);
    printf("figure   a stop amid %s takes %u ms\n", now->name, (unsigned)took_ms);
    end_children(&r);
}

/* ---- the weathers ---- */

static uint64_t closed_between(const level *since, const level *now, int error)
{
    return now->stats.closed[-error] - since->stats.closed[-error];
}

static bool resets_bite(const level *since, const level *now)
{
    return closed_between(since, now, WEIR_ECONNRESET) >= 100;
}

static const weather resets = { .name = "resets",
                                .raid = { .run = storm_resets, .sources = 200 },
                                .attack_ms = 1500,
                                .bites = resets_bite,
                                .visits = true,
                                .visits_beside = true };

Test(storm, of_resets_takes_nothing_from_the_others, .timeout = 60)
{
    play(&resets);
}

Test(storm, of_resets_is_no_reason_to_stop_in_disorder, .timeout = 60)
{
    stop_within(&resets);
}

/* Who never ends a first message is ended, and so is who falls silent after it. */
static bool deadlines_bite(const level *since, const level *now)
{
    return closed_between(since, now, WEIR_EHANDSHAKE) >= 100 && closed_between(since, now, WEIR_EIDLE) >= 100;
}

static const weather drips = { .name = "drips",
                               .raid = { .run = storm_drips, .connections = 300, .sources = 50 },
                               .attack_ms = 1500,
                               .bites = deadlines_bite,
                               .visits = true,
                               .visits_beside = true,
                               .handshake_ms = STORM_HANDSHAKE_MS,
                               .idle_ms = STORM_IDLE_MS };

Test(storm, of_three_hundred_that_drip_takes_nothing_from_the_others, .timeout = 60)
{
    play(&drips);
}

Test(storm, of_drips_is_no_reason_to_stop_in_disorder, .timeout = 60)
{
    stop_within(&drips);
}

static bool limits_of_outboxes_bite(const level *since, const level *now)
{
    return closed_between(since, now, WEIR_ESLOW) >= 40;
}

/* The hard limit of each, 1 MiB, and what a message and a read are over. */
static void check_gluttons(const run *r, const level *since, const level *now)
{
    (void)now;
    cr_assert_leq(r->w.memory.peak, since->memory + MEMORY_KEPT_MAX + (uint64_t)seen.peak * (1200 * 1024));
}

static const weather gluttons = { .name = "gluttons that never read",
                                  .raid = { .run = storm_gluttons, .connections = 40, .sources = 10 },
                                  .attack_ms = 1500,
                                  .bites = limits_of_outboxes_bite,
                                  .check = check_gluttons,
                                  .visits = true,
                                  .visits_beside = true };

Test(storm, of_gluttons_that_never_read_takes_nothing_from_the_others, .timeout = 60)
{
    play(&gluttons);
}

Test(storm, of_gluttons_is_no_reason_to_stop_in_disorder, .timeout = 60)
{
    stop_within(&gluttons);
}

static bool shortage_bites(const level *since, const level *now)
{
    return now->stats.accept_errors > since->stats.accept_errors &&
           now->stats.accept_pauses >= since->stats.accept_pauses + 10;
}

static const weather descriptors;

static void check_descriptors(const run *r, const level *since, const level *now)
{
    (void)r;
    cr_assert_gt(seen.peak, STORM_GUESTS + descriptors.spare_descriptors / 2,
                 "nearly all that there may be are served");
    cr_assert_eq(now->stats.closed[-WEIR_EMFILE], since->stats.closed[-WEIR_EMFILE], "and none is ended for it");
}

static const weather descriptors = { .name = "no descriptor left",
                                     .raid = { .run = storm_crowd, .connections = 400, .sources = 50 },
                                     .attack_ms = 1500,
                                     .bites = shortage_bites,
                                     .check = check_descriptors,
                                     .spare_descriptors = 60,
                                     .visits = true };

Test(storm, without_a_descriptor_left_takes_nothing_from_those_who_are_there, .timeout = 60)
{
    play(&descriptors);
}

Test(storm, without_a_descriptor_left_is_no_reason_to_stop_in_disorder, .timeout = 60)
{
    stop_within(&descriptors);
}

static bool max_connections_bites(const level *since, const level *now)
{
    return now->stats.refused_limit >= since->stats.refused_limit + 100;
}

static void check_connections(const run *r, const level *since, const level *now)
{
    (void)r;
    (void)since;
    (void)now;
    cr_assert_eq(seen.peak, 100);
}

static const weather connections = { .name = "a flood over max_connections",
                                     .raid = { .run = storm_crowd, .connections = 200, .sources = 64 },
                                     .limits = { .max_connections = 100 },
                                     .attack_ms = 1500,
                                     .bites = max_connections_bites,
                                     .check = check_connections,
                                     .visits = true };

Test(storm, over_max_connections_takes_nothing_from_those_who_are_there, .timeout = 60)
{
    play(&connections);
}

Test(storm, over_max_connections_is_no_reason_to_stop_in_disorder, .timeout = 60)
{
    stop_within(&connections);
}

static bool max_per_address_bites(const level *since, const level *now)
{
    return now->stats.refused_address >= since->stats.refused_address + 100;
}

static void check_addresses(const run *r, const level *since, const level *now)
{
    (void)r;
    cr_assert_eq(seen.from_peak, 8);
    cr_assert_eq(now->stats.refused_limit, since->stats.refused_limit);
}

static const weather addresses = { .name = "a flood over max_per_address",
                                   .raid = { .run = storm_crowd, .connections = 480, .sources = 16 },
                                   .limits = { .max_per_address = 8 },
                                   .attack_ms = 1500,
                                   .bites = max_per_address_bites,
                                   .check = check_addresses,
                                   .visits = true,
                                   .visits_beside = true };

Test(storm, over_max_per_address_takes_nothing_from_other_addresses, .timeout = 60)
{
    play(&addresses);
}

Test(storm, over_max_per_address_is_no_reason_to_stop_in_disorder, .timeout = 60)
{
    stop_within(&addresses);
}

static bool accept_rate_bites(const level *since, const level *now)
{
    return now->stats.accept_pauses >= since->stats.accept_pauses + 10 &&
           now->stats.accepted >= since->stats.accepted + 50;
}

/* 200 a second, and the burst of a tenth of that; a socket a worker may be one over. */
static void check_rate(const run *r, const level *since, const level *now)
{
    (void)r;
    uint64_t ms = (now->ns - since->ns) / 1000000;
    cr_assert_leq(now->stats.accepted - since->stats.accepted, 200 * (ms + 1) / 1000 + 20 + 2);
}

static const weather rate = { .name = "a flood over accept_rate",
                              .raid = { .run = storm_crowd, .connections = 150, .sources = 64, .leaves = true },
                              .limits = { .accept_rate = 200 },
                              .attack_ms = 1500,
                              .bites = accept_rate_bites,
                              .check = check_rate };

Test(storm, over_accept_rate_takes_nothing_from_those_who_are_there, .timeout = 60)
{
    play(&rate);
}

Test(storm, over_accept_rate_is_no_reason_to_stop_in_disorder, .timeout = 60)
{
    stop_within(&rate);
}

/* ---- over a bad link ---- */

static const weather lossy = { .name = "resets over a link of 10 ms, 10 Mbit/s and 2 % of loss each way",
                               .raid = { .run = storm_resets, .sources = 1 },
                               .attack_ms = 2500,
                               .bites = resets_bite,
                               .visits = true,
                               .visits_beside = true,
                               .handshake_ms = PATIENT_MS, /* ends those whose reset was lost */
                               .idle_ms = PATIENT_MS };

static int near_end, far_end;

static void carry(storm *s)
{
    link_carry(near_end, far_end, &(link_terms){ .delay_us = 10000, .bytes_a_second = 1250000, .loss_percent = 2 },
               &s->phase, STORM_END);
}

Test(storm, over_a_slow_link_that_loses_packets_nothing_else_is_lost, .timeout = 90)
{
    const char *why;
    run r = { .s = map_storm(&lossy) };
    r.s->loops = false;
    far_end = link_end("10.99.0.2", &why);
    if (far_end < 0) cr_skip_test("%s", why);
    gather(&r, &lossy); /* they stay at that end */
    near_end = link_end("10.99.0.1", &why);
    if (near_end < 0) cr_skip_test("%s", why);
    r.s->host = ntohl(inet_addr("10.99.0.1"));
    start_child(&r, carry);
    (void)close(far_end);
    (void)close(near_end);
    unsigned before = raw_descriptors();
    start_server(&r, &lossy, "0.0.0.0:0");
    r.descriptors = raw_descriptors();
    blow(&r, &lossy);
    cr_assert_eq(raw_descriptors(), before);
}
