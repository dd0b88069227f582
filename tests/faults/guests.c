/* Clients that behave: each sends a line, waits for the same line, rests, and sends the next. Whatever else happens to
 * the server, each answer must come, and be right. */
#define _GNU_SOURCE
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "faults/storm.h"

enum {
    ALL = STORM_GUESTS + STORM_VISITORS,
    REST_NS = 3000000, /* and up to as much again: about 4,000 questions a second in all */
    SHORT = 64,
    LONG = 8000, /* every 16th: over a segment, so that it comes in pieces */
};

enum state { AWAY, CONNECTING, RESTING, ASKING, GONE };

typedef struct guest {
    storm *s;
    unsigned number;
    bool visits;
    enum state state;
    enum storm_phase asked_in;
    int fd;
    uint64_t began_ns, rested_ns;
    uint32_t questions;
    size_t size, sent, got;
    char line[STORM_LINE_MAX];
} guest;

static void count_busy(const guest *g, int change)
{
    atomic_fetch_add(&g->s->guests.busy, (unsigned)change);
}

static void leave(guest *g, enum state state)
{
    (void)close(g->fd);
    if (g->state == CONNECTING || g->state == ASKING) count_busy(g, -1);
    if (!g->visits) atomic_fetch_sub(&g->s->guests.there, 1);
    g->state = state;
}

static void lose(guest *g, const char *what, int error)
{
    storm *s = g->s;
    if (atomic_fetch_add(&s->guests.lost, 1) == 0)
        (void)snprintf(s->guests.why, sizeof s->guests.why, "guest %u, question %u in phase %d: %s%s%s", g->number,
                       g->questions, (int)g->asked_in, what, error ? ": " : "", error ? strerror(error) : "");
    leave(g, GONE);
}

/* The server has ended the connection. At a stop it may, but not by a reset, unless it never took the connection. */
static void meet_end(guest *g, int error)
{
    bool never_served = g->visits || g->state == CONNECTING;
    if (storm_phase_now(g->s) != STORM_STOP || (error && !never_served)) {
        lose(g, error ? "the connection broke" : "the connection ended", error);
        return;
    }
    if (g->got > 0 && g->got < g->size) {
        lose(g, "the stop cut an answer", 0);
        return;
    }
    atomic_fetch_add(&g->s->guests.cut, 1);
    leave(g, GONE);
}

static void ask(guest *g)
{
    g->questions++;
    g->size = g->questions % 16 == 15 ? LONG : SHORT;
    for (size_t i = 0; i < g->size; i++) g->line[i] = (char)('a' + (i + g->number + g->questions) % 26);
    g->line[g->size - 1] = '\n';
    g->sent = g->got = 0;
    g->state = ASKING;
}

static void come(guest *g)
{
    g->asked_in = storm_phase_now(g->s);
    g->began_ns = storm_now_ns();
    g->fd = storm_open(g->s, g->number);
    if (g->fd < 0) {
        g->questions++;
        if (atomic_fetch_add(&g->s->guests.lost, 1) == 0)
            (void)snprintf(g->s->guests.why, sizeof g->s->guests.why, "no socket: %s", strerror(errno));
        g->state = GONE;
        return;
    }
    g->state = CONNECTING;
    count_busy(g, 1);
    if (!g->visits) atomic_fetch_add(&g->s->guests.there, 1);
}

static void note_latency(const guest *g)
{
    storm *s = g->s;
    uint64_t ns = storm_now_ns() - g->began_ns;
    atomic_fetch_add(&s->guests.answers, 1);
    if (g->asked_in == STORM_CALM)
        histogram_add(g->visits ? &s->guests.calm_visit : &s->guests.calm, ns);
    else if (g->asked_in == STORM_ATTACK)
        histogram_add(g->visits ? &s->guests.beside_visit : &s->guests.beside, ns);
}

static void rest(guest *g)
{
    g->rested_ns = storm_now_ns() + REST_NS + (uint64_t)g->questions * 7919 % REST_NS;
    count_busy(g, -1);
    g->state = RESTING;
}

static void answered(guest *g)
{
    note_latency(g);
    rest(g);
    if (g->visits) leave(g, AWAY);
}

static void send_question(guest *g)
{
    ssize_t sent = send(g->fd, g->line + g->sent, g->size - g->sent, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent > 0)
        g->sent += (size_t)sent;
    else if (errno != EAGAIN && errno != EINTR)
        meet_end(g, errno);
}

static void read_answer(guest *g)
{
    char bytes[STORM_LINE_MAX];
    ssize_t size = recv(g->fd, bytes, sizeof bytes, MSG_DONTWAIT);
    if (size < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (size <= 0) {
        meet_end(g, size < 0 ? errno : 0);
        return;
    }
    if (g->state != ASKING || (size_t)size > g->sent - g->got || memcmp(bytes, g->line + g->got, (size_t)size) != 0) {
        lose(g, "another answer than the right one", 0);
        return;
    }
    g->got += (size_t)size;
    if (g->got == g->size) answered(g);
}

static void connected(guest *g)
{
    int error = 0;
    socklen_t length = sizeof error;
    (void)getsockopt(g->fd, SOL_SOCKET, SO_ERROR, &error, &length);
    if (error)
        meet_end(g, error);
    else
        ask(g); /* at once: there may be a deadline for the first message */
}

static bool may_ask(const guest *g, enum storm_phase phase)
{
    if (g->visits && !g->s->visits) return false;
    if (phase == STORM_CALM || phase == STORM_AFTER) return true;
    return (phase == STORM_ATTACK || phase == STORM_STOP) && (!g->visits || g->s->visits_beside);
}

/* What the guest does by itself at this moment. */
static void act(guest *g, enum storm_phase phase)
{
    uint64_t now_ns = storm_now_ns();
    if (g->state == AWAY && now_ns >= g->rested_ns && (g->visits ? may_ask(g, phase) : phase == STORM_GATHER)) {
        come(g);
    } else if (g->state == RESTING && now_ns >= g->rested_ns && may_ask(g, phase)) {
        g->asked_in = phase;
        g->began_ns = now_ns;
        count_busy(g, 1);
        ask(g);
        send_question(g);
    } else if ((g->state == CONNECTING || g->state == ASKING) &&
               now_ns - g->began_ns > (uint64_t)STORM_PATIENCE_MS * 1000000) {
        lose(g, "no answer", 0);
    }
}

static void wait_for_all(guest *guests)
{
    struct pollfd entries[ALL];
    for (int i = 0; i < ALL; i++) {
        const guest *g = &guests[i];
        bool writes = g->state == CONNECTING || (g->state == ASKING && g->sent < g->size);
        entries[i] = (struct pollfd){ .fd = g->state == AWAY || g->state == GONE ? -1 : g->fd,
                                      .events = (short)(POLLIN | (writes ? POLLOUT : 0)) };
    }
    if (poll(entries, ALL, 1) <= 0) return;
    for (int i = 0; i < ALL; i++) {
        guest *g = &guests[i];
        if (entries[i].revents == 0) continue;
        if (g->state == CONNECTING) {
            connected(g);
            continue;
        }
        if (g->state == ASKING && g->sent < g->size) send_question(g);
        if (g->state == ASKING || g->state == RESTING) read_answer(g);
    }
}

void storm_guests(storm *s)
{
    static guest guests[ALL];
    for (unsigned i = 0; i < ALL; i++) guests[i] = (guest){ .s = s, .number = i, .visits = i >= STORM_GUESTS };
    while (storm_phase_now(s) != STORM_END) {
        enum storm_phase phase = storm_phase_now(s);
        if (s->port)
            for (int i = 0; i < ALL; i++) act(&guests[i], phase);
        wait_for_all(guests);
    }
}
