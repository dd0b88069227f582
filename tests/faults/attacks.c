/* Clients that do not behave. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "faults/storm.h"

enum {
    RAIDERS_MAX = 512,
    BATCH = 16,
    RESETS_MAX = 30000,
    REACH_MS = 40,        /* in which a connection over the slow link is there */
    ROUND_NS = 5000000,   /* between two looks at all raiders */
    LINE = 64,            /* of one that drips */
    GLUT = 16 * 1024,     /* a line of one that does not read, */
    GLUTS = 8,            /* and how many it sends at a time */
    FIRST_SOURCE = 0x100, /* guests come from those below */
};

typedef struct raider {
    int fd; /* -1: not there */
    uint32_t number;
    uint32_t sent;
} raider;

static raider raiders[RAIDERS_MAX];

uint64_t storm_now_ns(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

void storm_nap(void)
{
    (void)nanosleep(&(struct timespec){ .tv_nsec = 500000 }, NULL);
}

int storm_open(const storm *s, uint32_t source)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) return -1;
    int on = 1;
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(0x7f010001 + source) };
    bool ready = true;
    if (s->loops) {
        (void)setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on);
        ready = bind(fd, (struct sockaddr *)&address, sizeof address) == 0;
    }
    address.sin_addr.s_addr = htonl(s->host);
    address.sin_port = htons((uint16_t)s->port);
    if (ready && (connect(fd, (struct sockaddr *)&address, sizeof address) == 0 || errno == EINPROGRESS)) return fd;
    (void)close(fd);
    return -1;
}

static void end_by_reset(int fd)
{
    struct linger none = { .l_onoff = 1, .l_linger = 0 };
    (void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &none, sizeof none);
    (void)close(fd);
}

static uint32_t source_of(const storm *s, uint32_t number)
{
    return FIRST_SOURCE + number % s->raid.sources;
}

static bool attacks_now(const storm *s)
{
    enum storm_phase phase = storm_phase_now(s);
    return phase == STORM_ATTACK || phase == STORM_STOP;
}

/* ---- resets ---- */

static void nap_ms(unsigned ms)
{
    for (unsigned i = 0; i < 2 * ms; i++) storm_nap();
}

static void reset_batch(storm *s, uint32_t first)
{
    int fds[BATCH];
    for (uint32_t i = 0; i < BATCH; i++) {
        fds[i] = storm_open(s, source_of(s, first + i));
        if (fds[i] < 0) continue;
        atomic_fetch_add(&s->raiders.connections, 1);
        if (s->loops && i % 2) (void)send(fds[i], "half a mess", 11, MSG_NOSIGNAL);
    }
    if (!s->loops) nap_ms(REACH_MS); /* else the server would not hear of them */
    for (int i = 0; i < BATCH; i++) {
        if (fds[i] < 0) continue;
        /* A reset may be lost. The answer to any of these is met by another one. */
        for (int line = 0; !s->loops && line < 4; line++) (void)send(fds[i], "hello\n", 6, MSG_NOSIGNAL);
        end_by_reset(fds[i]);
    }
}

void storm_resets(storm *s)
{
    uint32_t count = 0;
    while (storm_phase_now(s) != STORM_END) {
        if (attacks_now(s) && count < RESETS_MAX) {
            reset_batch(s, count);
            count += BATCH;
        } else {
            storm_nap();
        }
    }
}

/* ---- raiders that are there for longer ---- */

static void enter(storm *s, raider *r)
{
    r->fd = storm_open(s, source_of(s, r->number));
    r->sent = 0;
    if (r->fd < 0) return;
    atomic_fetch_add(&s->raiders.connections, 1);
    atomic_fetch_add(&s->raiders.there, 1);
}

static void leave(storm *s, raider *r)
{
    (void)close(r->fd);
    r->fd = -1;
    atomic_fetch_sub(&s->raiders.there, 1);
}

/* What the server says, and whether it has ended the connection, so that the raider is free again. */
static size_t hear(storm *s, raider *r)
{
    char bytes[LINE * 2];
    ssize_t size = recv(r->fd, bytes, sizeof bytes, MSG_DONTWAIT);
    if (size > 0) return (size_t)size;
    if (size < 0 && (errno == EAGAIN || errno == EINTR)) return 0;
    atomic_fetch_add(&s->raiders.ended, 1);
    leave(s, r);
    return 0;
}

/* Lets each raider take its turn, over and over, as long as the attack lasts. */
static void lead(storm *s, void (*turn)(storm *s, raider *r))
{
    for (uint32_t i = 0; i < RAIDERS_MAX; i++) raiders[i] = (raider){ .fd = -1, .number = i };
    uint64_t next_ns = 0;
    while (storm_phase_now(s) < STORM_LEAVE || storm_phase_now(s) == STORM_STOP) {
        if (!attacks_now(s) || storm_now_ns() < next_ns) {
            storm_nap();
            continue;
        }
        next_ns = storm_now_ns() + ROUND_NS;
        for (uint32_t i = 0; i < s->raid.connections; i++) {
            if (raiders[i].fd < 0)
                enter(s, &raiders[i]);
            else
                turn(s, &raiders[i]);
        }
    }
    for (uint32_t i = 0; i < s->raid.connections; i++)
        if (raiders[i].fd >= 0) leave(s, &raiders[i]);
    while (storm_phase_now(s) != STORM_END) storm_nap();
}

static void crowd(storm *s, raider *r)
{
    size_t heard = hear(s, r);
    if (r->fd < 0 || !s->raid.leaves) return;
    if (heard)
        leave(s, r);
    else if (r->sent == 0 && send(r->fd, "hello\n", 6, MSG_NOSIGNAL | MSG_DONTWAIT) == 6)
        r->sent = 6;
}

void storm_crowd(storm *s)
{
    lead(s, crowd);
}

static void drip(storm *s, raider *r)
{
    (void)hear(s, r);
    if (r->fd < 0) return;
    bool ends = r->number % 3 != 1;            /* the second third never ends its line */
    if (r->number % 3 == 2 && r->sent == LINE) /* the last third says one message, and no more */
        return;
    char byte = ends && r->sent % LINE == LINE - 1 ? '\n' : 'x';
    if (send(r->fd, &byte, 1, MSG_NOSIGNAL | MSG_DONTWAIT) == 1) r->sent++;
}

void storm_drips(storm *s)
{
    lead(s, drip);
}

static void gorge(storm *s, raider *r)
{
    static char line[GLUT];
    memset(line, 'x', sizeof line);
    line[GLUT - 1] = '\n';
    /* Whole lines as long as the kernel takes them: the server's answers fill what lies between it and this end. */
    for (int i = 0; i < GLUTS; i++) {
        ssize_t sent = send(r->fd, line + r->sent % GLUT, GLUT - r->sent % GLUT, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (sent < 0 && (errno == EAGAIN || errno == EINTR || errno == ENOTCONN)) return;
        if (sent < 0) {
            atomic_fetch_add(&s->raiders.ended, 1);
            leave(s, r);
            return;
        }
        r->sent += (uint32_t)sent;
    }
}

void storm_gluttons(storm *s)
{
    lead(s, gorge);
}
