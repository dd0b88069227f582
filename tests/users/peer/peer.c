/* The other end in tests that use a program from outside: plain POSIX sockets, nothing of weir's.
 *
 * peer STEP...      runs the steps in order, each within 30 s; exits 1 at the first that fails, saying which and why
 *   connect ADDRESS     opens a connection, the current one from here; waits for a server that is not there yet.
 *                       a.b.c.d:port, [ipv6]:port or unix:path. Those opened before stay open
 *   udp ADDRESS         the current connection from here is a UDP socket that speaks with that peer alone: send and
 *                       expect are one datagram each
 *   throttle            the next connect asks for small kernel buffers, on the server's side too
 *   send TEXT           \n and \xHH stand for bytes
 *   expect TEXT         receives exactly that
 *   await TEXT          receives until that has come, after any bytes
 *   flood SIZE LAG      sends SIZE bytes of a pattern and receives it back, LAG bytes behind
 *   settle              waits until the server has read all that was sent (IPv4)
 *   rest                receives, slowly, what flood is still owed
 *   stuff SIZE          sends SIZE bytes and receives nothing; being reset ends it
 *   expect-end          receives the end of the stream, and no byte before it
 *   expect-reset        receives a reset, after any bytes
 *   expect-lost         receives either of the two, after any bytes
 *   drain               receives the end of the stream, after any bytes
 *   finish              sends the end of the stream, and goes on receiving
 *   reset               closes with a reset
 *   signal NAME PID     sends INT or TERM to a process
 *   hold                prints "holding", and stays until it is killed
 *
 * peer free-port    prints a TCP port that 127.0.0.1 has free */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

enum { STEP_MS = 30000, RETRY_MS = 2, SLOW_MS = 2, PIECE = 64 << 10 };

struct address {
    union {
        struct sockaddr any;
        struct sockaddr_in ipv4;
        struct sockaddr_in6 ipv6;
        struct sockaddr_un local;
    } is;
    socklen_t size;
};

static int current = -1;                /* the connection that the steps are about */
static uint64_t flood_sent, flood_read; /* of the pattern, on the current connection */
static bool reset_seen;                 /* by a send: then no receive says it again */
static bool throttled;                  /* for the next connect */
static const char *step = "peer";       /* being run, for messages */
static char bytes[PIECE], expected[PIECE];

static _Noreturn __attribute__((format(printf, 1, 2))) void fail(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    fprintf(stderr, "peer: %s: ", step);
    vfprintf(stderr, format, arguments);
    fprintf(stderr, "\n");
    va_end(arguments);
    exit(1);
}

static int64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void sleep_ms(long ms)
{
    nanosleep(&(struct timespec){ .tv_nsec = ms * 1000000 }, NULL);
}

static struct address parse(const char *text)
{
    struct address address = { 0 };
    char host[INET6_ADDRSTRLEN];
    const char *colon = strrchr(text, ':');

    if (strncmp(text, "unix:", 5) == 0 && strlen(text + 5) < sizeof address.is.local.sun_path) {
        address.is.local.sun_family = AF_UNIX;
        strcpy(address.is.local.sun_path, text + 5);
        address.size = sizeof address.is.local;
        return address;
    }
    bool brackets = text[0] == '[' && colon != NULL && colon[-1] == ']';
    if (colon == NULL || (size_t)(colon - text) >= sizeof host) fail("what is %s?", text);
    snprintf(host, sizeof host, "%.*s", (int)(colon - text) - (brackets ? 2 : 0), text + (brackets ? 1 : 0));
    in_port_t port = htons((uint16_t)atoi(colon + 1));
    if (inet_pton(AF_INET, host, &address.is.ipv4.sin_addr) == 1) {
        address.is.ipv4.sin_family = AF_INET;
        address.is.ipv4.sin_port = port;
        address.size = sizeof address.is.ipv4;
    } else if (inet_pton(AF_INET6, host, &address.is.ipv6.sin6_addr) == 1) {
        address.is.ipv6.sin6_family = AF_INET6;
        address.is.ipv6.sin6_port = port;
        address.size = sizeof address.is.ipv6;
    } else {
        fail("what is %s?", text);
    }
    return address;
}

/* Blocking, with the deadline in the socket: a receive or send that runs into it says EAGAIN. */
static int open_socket(int family)
{
    const struct timeval limit = { .tv_sec = STEP_MS / 1000 };
    const int mss = 1460, receive_buffer = 16 << 10;
    int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (fd < 0) fail("socket: %s", strerror(errno));
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
    if (throttled) {
        /* Linux sizes the server's send buffer by the segments that this side takes: loopback's of 64 KiB would let
         * megabytes disappear into the kernel, where the server owes them no more. */
        setsockopt(fd, IPPROTO_TCP, TCP_MAXSEG, &mss, sizeof mss);
        setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &receive_buffer, sizeof receive_buffer);
    }
    return fd;
}

static void do_connect(char **arguments)
{
    const char *text = arguments[0];
    const struct address to = parse(text);
    const int64_t deadline = now_ms() + STEP_MS;

    for (;; sleep_ms(RETRY_MS)) {
        current = open_socket(to.is.any.sa_family);
        if (connect(current, &to.is.any, to.size) == 0) break;
        if (errno != ECONNREFUSED && errno != ENOENT) fail("%s: %s", text, strerror(errno));
        if (now_ms() >= deadline) fail("%s: nobody listens", text);
        close(current);
    }
    throttled = reset_seen = false;
    flood_sent = flood_read = 0;
}

static void do_udp(char **arguments)
{
    const struct timeval limit = { .tv_sec = STEP_MS / 1000 };
    const struct address to = parse(arguments[0]);
    current = socket(to.is.any.sa_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (current < 0) fail("socket: %s", strerror(errno));
    setsockopt(current, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    if (connect(current, &to.is.any, to.size) != 0) fail("%s: %s", arguments[0], strerror(errno));
}

static uint64_t number(const char *text)
{
    char *end;
    uint64_t value = strtoull(text, &end, 10);
    if (end == text || *end != '\0') fail("%s is not a number", text);
    return value;
}

/* Into `bytes`; returns how many. */
static size_t decode(const char *text)
{
    size_t size = 0;
    for (; *text != '\0' && size < sizeof bytes; size++) {
        unsigned hex;
        if (sscanf(text, "\\x%2x", &hex) == 1) {
            bytes[size] = (char)hex;
            text += 4;
        } else if (strncmp(text, "\\n", 2) == 0) {
            bytes[size] = '\n';
            text += 2;
        } else {
            bytes[size] = *text++;
        }
    }
    return size;
}

static void do_send(char **arguments)
{
    size_t size = decode(arguments[0]);
    ssize_t sent = send(current, bytes, size, MSG_NOSIGNAL);
    if (sent != (ssize_t)size) fail("%s", strerror(errno));
}

static const char *why_receive_failed(ssize_t result)
{
    if (result == 0) return "the server closed";
    return errno == EAGAIN ? "nothing came" : strerror(errno);
}

static void do_expect(char **arguments)
{
    size_t size = decode(arguments[0]), got = 0;
    memcpy(expected, bytes, size);
    while (got < size) {
        ssize_t count = recv(current, bytes + got, size - got, 0);
        if (count <= 0) fail("after %zu of %zu bytes: %s", got, size, why_receive_failed(count));
        got += (size_t)count;
    }
    if (memcmp(bytes, expected, size) != 0) fail("'%.*s' came instead of '%s'", (int)size, bytes, arguments[0]);
}

static void do_await(char **arguments)
{
    size_t size = decode(arguments[0]), got = 0;
    int64_t end_ms = now_ms() + STEP_MS;
    memcpy(expected, bytes, size);
    do {
        if (got == size) memmove(bytes, bytes + 1, --got);
        ssize_t count = recv(current, bytes + got, size - got, 0);
        if (count <= 0) fail("%s", why_receive_failed(count));
        if (now_ms() > end_ms) fail("'%s' did not come", arguments[0]);
        got += (size_t)count;
    } while (got < size || memcmp(bytes, expected, size) != 0);
}

/* The pattern at `offset` of the stream. 251 is prime, so that lost or doubled blocks of any usual size show. */
static void make_pattern(char *out, uint64_t offset, size_t size)
{
    for (size_t i = 0; i < size; i++) out[i] = (char)((offset + i) % 251);
}

static void send_pattern(uint64_t size)
{
    while (size > 0) {
        size_t piece = size < PIECE ? (size_t)size : PIECE;
        make_pattern(bytes, flood_sent, piece);
        ssize_t count = send(current, bytes, piece, MSG_NOSIGNAL);
        if (count < 0) fail("after %" PRIu64 " bytes: %s", flood_sent, strerror(errno));
        flood_sent += (uint64_t)count;
        size -= (uint64_t)count;
    }
}

static void receive_pattern(void)
{
    ssize_t count = recv(current, bytes, PIECE, 0);
    if (count <= 0)
        fail("after %" PRIu64 " of %" PRIu64 " bytes: %s", flood_read, flood_sent, why_receive_failed(count));
    make_pattern(expected, flood_read, (size_t)count);
    if (memcmp(bytes, expected, (size_t)count) != 0) fail("wrong bytes after %" PRIu64, flood_read);
    flood_read += (uint64_t)count;
}

static void do_flood(char **arguments)
{
    uint64_t size = number(arguments[0]), lag = number(arguments[1]);

    while (size > 0) {
        uint64_t piece = size < PIECE ? size : PIECE;
        while (flood_sent - flood_read + piece > lag) receive_pattern();
        send_pattern(piece);
        size -= piece;
    }
}

static void do_rest(char **arguments)
{
    (void)arguments;
    while (flood_read < flood_sent) {
        receive_pattern();
        sleep_ms(SLOW_MS); /* slow on purpose, not to wait for anything */
    }
}

static void do_stuff(char **arguments)
{
    uint64_t size = number(arguments[0]);

    memset(bytes, 0, sizeof bytes);
    while (size > 0) {
        ssize_t count = send(current, bytes, size < PIECE ? (size_t)size : PIECE, MSG_NOSIGNAL);
        reset_seen = count < 0 && (errno == ECONNRESET || errno == EPIPE);
        if (reset_seen) return;
        if (count < 0) fail("%s", strerror(errno));
        size -= (uint64_t)count;
    }
}

/* The server's row in /proc/net/tcp says how much its socket holds unread; ours, what has not arrived there. */
static bool all_read(const struct sockaddr_in *here, const struct sockaddr_in *there)
{
    char line[256];
    bool server_found = false, pending = false;
    FILE *table = fopen("/proc/net/tcp", "r");

    if (table == NULL) fail("/proc/net/tcp: %s", strerror(errno));
    while (fgets(line, sizeof line, table) != NULL) {
        unsigned local, local_port, remote, remote_port, unsent, unread;
        if (sscanf(line, "%*d: %x:%x %x:%x %*x %x:%x", &local, &local_port, &remote, &remote_port, &unsent, &unread) !=
            6)
            continue;
        bool ours = local_port == ntohs(here->sin_port) && remote_port == ntohs(there->sin_port);
        bool servers = local_port == ntohs(there->sin_port) && remote_port == ntohs(here->sin_port);
        server_found |= servers;
        pending |= (ours && unsent != 0) || (servers && unread != 0);
    }
    fclose(table);
    return server_found && !pending;
}

static void do_settle(char **arguments)
{
    (void)arguments;
    struct sockaddr_in here, there;
    socklen_t size = sizeof here;
    int64_t deadline = now_ms() + STEP_MS;

    getsockname(current, (struct sockaddr *)&here, &size);
    size = sizeof there;
    getpeername(current, (struct sockaddr *)&there, &size);
    for (; !all_read(&here, &there); sleep_ms(RETRY_MS))
        if (now_ms() >= deadline) fail("the server does not read");
}

/* Receives whatever comes until it ends: true for the end of the stream, false for a reset. */
static bool receive_all(uint64_t *size)
{
    ssize_t count;

    *size = 0;
    while (!reset_seen && (count = recv(current, bytes, sizeof bytes, 0)) != 0) {
        if (count > 0)
            *size += (uint64_t)count;
        else if (errno == ECONNRESET)
            reset_seen = true;
        else
            fail("%s", why_receive_failed(count));
    }
    return !reset_seen;
}

static void do_expect_end(char **arguments)
{
    uint64_t size;
    (void)arguments;
    if (!receive_all(&size)) fail("a reset came");
    if (size != 0) fail("%" PRIu64 " bytes came first", size);
}

static void do_expect_reset(char **arguments)
{
    uint64_t size;
    (void)arguments;
    if (receive_all(&size)) fail("the stream ended in order");
}

static void do_expect_lost(char **arguments)
{
    uint64_t size;
    (void)arguments;
    receive_all(&size);
}

static void do_drain(char **arguments)
{
    uint64_t size;
    (void)arguments;
    if (!receive_all(&size)) fail("a reset came after %" PRIu64 " bytes", size);
}

static void do_throttle(char **arguments)
{
    (void)arguments;
    throttled = true;
}

static void do_finish(char **arguments)
{
    (void)arguments;
    shutdown(current, SHUT_WR);
}

static void do_reset(char **arguments)
{
    (void)arguments;
    setsockopt(current, SOL_SOCKET, SO_LINGER, &(struct linger){ .l_onoff = 1 }, sizeof(struct linger));
    close(current);
}

static void do_signal(char **arguments)
{
    if (kill((pid_t)atoi(arguments[1]), strcmp(arguments[0], "INT") == 0 ? SIGINT : SIGTERM) != 0)
        fail("%s", strerror(errno));
}

static void do_hold(char **arguments)
{
    (void)arguments;
    printf("holding\n");
    fflush(stdout);
    for (;;) pause();
}

/* The ports below 32768 are those that Linux gives to nobody who has not asked for them: between the end of this
 * program and the start of the server that gets the port, no outgoing connection takes it, nor does do_connect, while
 * it waits for that server, reach itself. Tests that run side by side begin their search at different places. */
static int free_port(void)
{
    const int first = 10000, count = 20000;

    for (int i = 0; i < count; i++) {
        int port = first + (getpid() + i) % count;
        const struct sockaddr_in at = { .sin_family = AF_INET,
                                        .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
                                        .sin_port = htons((uint16_t)port) };
        int fd = open_socket(AF_INET);
        bool is_free = bind(fd, (const struct sockaddr *)&at, sizeof at) == 0;
        close(fd);
        if (is_free) {
            printf("%d\n", port);
            return 0;
        }
    }
    fail("no port is free");
}

static const struct step {
    const char *name;
    int arguments;
    void (*run)(char **arguments);
} steps[] = {
    { "connect", 1, do_connect },
    { "udp", 1, do_udp },
    { "throttle", 0, do_throttle },
    { "send", 1, do_send },
    { "expect", 1, do_expect },
    { "await", 1, do_await },
    { "flood", 2, do_flood },
    { "settle", 0, do_settle },
    { "rest", 0, do_rest },
    { "stuff", 1, do_stuff },
    { "expect-end", 0, do_expect_end },
    { "expect-reset", 0, do_expect_reset },
    { "expect-lost", 0, do_expect_lost },
    { "drain", 0, do_drain },
    { "finish", 0, do_finish },
    { "reset", 0, do_reset },
    { "signal", 2, do_signal },
    { "hold", 0, do_hold },
};

int main(int argc, char **argv)
{
    if (argc == 2 && strcmp(argv[1], "free-port") == 0) return free_port();
    for (int i = 1; i < argc;) {
        const size_t count = sizeof steps / sizeof steps[0];
        size_t s = 0;
        step = argv[i++];
        while (s < count && strcmp(steps[s].name, step) != 0) s++;
        if (s == count) fail("no such step");
        if (i + steps[s].arguments > argc) fail("an argument is missing");
        steps[s].run(argv + i);
        i += steps[s].arguments;
    }
    return 0;
}
