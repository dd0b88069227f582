/* 19,000 idle connections in one server process: what each of them holds, what they cost while nothing happens, and
 * that all of it comes back. Their other ends live in processes of their own, since no process may have descriptors for
 * both. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <weir/weir.h>

enum {
    CONNECTIONS = 19000,
    CLIENTS = 2, /* processes */
    EACH = CONNECTIONS / CLIENTS,
    ROUNDS = 2, /* the second one finds what the first one left behind */
    DESCRIPTORS_NEEDED = 20000,
    BYTES_MAX = 300, /* that weir may hold for a connection */
    IDLE_MS = 1000,
    IDLE_CPU_US_MAX = 20000,
    IDLE_PASSES_MAX = 4,
    PATIENCE_MS = 15000,
};

static unsigned passed, failed;

static void check(bool condition, const char *what)
{
    printf("%-8s %s\n", condition ? "ok" : "FAILED", what);
    if (condition)
        passed++;
    else
        failed++;
}

static _Noreturn void finish(unsigned skipped)
{
    printf("summary: %u passed, %u failed, %u skipped\n", passed, failed, skipped);
    exit(failed ? 1 : 0);
}

/* Nothing that follows makes sense. */
static _Noreturn void give_up(const char *what)
{
    printf("FAILED   %s: %s\n", what, strerror(errno));
    failed++;
    finish(0);
}

/* ---- the clients' processes ---- */

/* What the server tells a client, and where it hears that the client is done. */
struct client {
    pid_t pid;
    int orders, answers;
};

static bool tell(int fd, uint32_t number)
{
    return write(fd, &number, sizeof number) == sizeof number;
}

static bool hear(int fd, uint32_t *number)
{
    return read(fd, number, sizeof *number) == sizeof *number;
}

/* Each client has source addresses of its own: one has about 28,000 ports towards a server. */
static int open_one(unsigned client, unsigned number, uint16_t port)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) return -1;
    uint32_t source = 0x7f000002 + client * 4 + number % 4;
    struct sockaddr_in local = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(source) };
    struct sockaddr_in remote = { .sin_family = AF_INET,
                                  .sin_port = htons(port),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    int on = 1;
    (void)setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on);
    if (bind(fd, (struct sockaddr *)&local, sizeof local) != 0) return -1;
    return connect(fd, (struct sockaddr *)&remote, sizeof remote) == 0 ? fd : -1;
}

/* An order is a port to open all connections to, or 0 to close them. The answer is how many there are. Without the
 * server the orders end, and so does this. */
static _Noreturn void serve_orders(unsigned client, int orders, int answers)
{
    static int fds[EACH];
    uint32_t port, count = 0;
    while (hear(orders, &port)) {
        if (port) {
            while (count < EACH && (fds[count] = open_one(client, count, (uint16_t)port)) >= 0) count++;
        } else {
            while (count > 0) (void)close(fds[--count]);
        }
        if (!tell(answers, count)) break;
    }
    _exit(0);
}

/* Before the server has threads, or a descriptor that a client would inherit. */
static void start_client(struct client *clients, unsigned number)
{
    struct client *c = &clients[number];
    int orders[2], answers[2];
    if (pipe(orders) != 0 || pipe(answers) != 0) give_up("pipe");
    (void)fflush(stdout);
    c->pid = fork();
    if (c->pid < 0) give_up("fork");
    if (c->pid == 0) {
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        (void)close(orders[1]);
        (void)close(answers[0]);
        for (unsigned i = 0; i < number; i++) (void)close(clients[i].orders); /* or those would never end */
        serve_orders(number, orders[0], answers[1]);
    }
    (void)close(orders[0]);
    (void)close(answers[1]);
    c->orders = orders[1];
    c->answers = answers[0];
}

/* All clients at once; false when one does not come to `expected`. */
static bool order(const struct client *clients, uint32_t port, uint32_t expected)
{
    bool done = true;
    for (int i = 0; i < CLIENTS; i++) done = tell(clients[i].orders, port) && done;
    for (int i = 0; i < CLIENTS; i++) {
        uint32_t count = 0;
        done = hear(clients[i].answers, &count) && count == expected && done;
    }
    return done;
}

/* ---- the server ---- */

static unsigned open_descriptors(void)
{
    unsigned count = 0;
    DIR *folder = opendir("/proc/self/fd");
    if (!folder) give_up("/proc/self/fd");
    while (readdir(folder)) count++;
    (void)closedir(folder);
    return count;
}

static long resident_kib(void)
{
    long pages = 0;
    FILE *file = fopen("/proc/self/statm", "r");
    if (!file) return 0;
    if (fscanf(file, "%*s %ld", &pages) != 1) pages = 0;
    (void)fclose(file);
    return pages * (sysconf(_SC_PAGESIZE) / 1024);
}

static uint64_t cpu_us(void)
{
    struct timespec time;
    (void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
    return (uint64_t)time.tv_sec * 1000000 + (uint64_t)time.tv_nsec / 1000;
}

static weir_stats read_stats(const weir_runtime *runtime)
{
    weir_stats stats;
    weir_stats_read(runtime, &stats);
    return stats;
}

static bool await_connections(const weir_runtime *runtime, uint64_t count)
{
    for (int waited_ms = 0; waited_ms < PATIENCE_MS; waited_ms += 5) {
        if (read_stats(runtime).connections == count) return true;
        weir_sleep_ms(5);
    }
    printf("         %llu connections instead of %llu\n", (unsigned long long)read_stats(runtime).connections,
           (unsigned long long)count);
    return false;
}

/* Opens all, looks at what they cost, closes all. Returns the memory that weir still holds. */
static uint64_t one_round(const weir_runtime *runtime, const struct client *clients, uint16_t port, int round)
{
    weir_stats before = read_stats(runtime);
    long resident_before = resident_kib();
    printf("round %d: %d connections\n", round, CONNECTIONS);
    check(order(clients, port, EACH), "the clients could open them all");
    check(await_connections(runtime, CONNECTIONS), "all of them are served");
    check(read_stats(runtime).accept_errors == before.accept_errors, "no accept failed");

    weir_sleep_ms(50); /* the last pass ends */
    weir_stats busy = read_stats(runtime);
    uint64_t cpu_before = cpu_us();
    weir_sleep_ms(IDLE_MS);
    uint64_t idle_cpu_us = cpu_us() - cpu_before;
    weir_stats idle = read_stats(runtime);
    printf("         %.1f bytes of weir's and %.1f of resident memory a connection\n",
           (double)(idle.memory - before.memory) / CONNECTIONS,
           (double)(resident_kib() - resident_before) * 1024 / CONNECTIONS);
    printf("         %llu us of CPU time and %llu passes of the loop in %d ms\n", (unsigned long long)idle_cpu_us,
           (unsigned long long)(idle.passes - busy.passes), IDLE_MS);
    check(idle.memory - before.memory <= (uint64_t)BYTES_MAX * CONNECTIONS, "a connection holds at most 300 bytes");
    check(idle.passes - busy.passes <= IDLE_PASSES_MAX, "the loops do not turn while all are idle");
    check(idle_cpu_us <= IDLE_CPU_US_MAX, "and use no CPU time");

    check(order(clients, 0, 0), "the clients could close them all");
    check(await_connections(runtime, 0), "all of them are gone");
    weir_sleep_ms(50);
    weir_stats after = read_stats(runtime);
    check(after.closed[-WEIR_EEOF] - before.closed[-WEIR_EEOF] == CONNECTIONS, "each was closed by its peer");
    return after.memory;
}

static void serve(const struct client *clients)
{
    weir_runtime *runtime;
    weir_listener *listener;
    const weir_protocol protocol = { .framing = weir_framing_line() };
    /* Balanced: each round finds the tables of the one before as large as it needs them. */
    const weir_listen_options options = { .placement = WEIR_PLACEMENT_BALANCED };
    int error = weir_runtime_create(&runtime, &(weir_runtime_options){ .workers = 2, .max_connections = CONNECTIONS });
    if (error == 0) error = weir_listen(runtime, "127.0.0.1:0", &protocol, &options, &listener);
    if (error == 0) error = weir_runtime_start(runtime);
    if (error) {
        printf("         %s\n", weir_strerror(error));
        give_up("the server did not start");
    }
    uint16_t port = weir_listener_address(listener).port;
    unsigned descriptors = open_descriptors();
    uint64_t held[ROUNDS];
    for (int i = 0; i < ROUNDS; i++) {
        held[i] = one_round(runtime, clients, port, i + 1);
        check(open_descriptors() == descriptors, "every descriptor is back");
    }
    printf("         %llu bytes are kept after each round\n", (unsigned long long)held[ROUNDS - 1]);
    check(held[0] == held[ROUNDS - 1], "no round leaves memory behind");
    weir_runtime_destroy(runtime);
}

static bool raise_limit(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_max < DESCRIPTORS_NEEDED) return false;
    limit.rlim_cur = DESCRIPTORS_NEEDED;
    return setrlimit(RLIMIT_NOFILE, &limit) == 0;
}

int main(void)
{
    (void)setvbuf(stdout, NULL, _IOLBF, 0);
    if (!raise_limit()) {
        printf("skipped: the hard limit of descriptors is under %d\n", DESCRIPTORS_NEEDED);
        finish(1);
    }
    (void)signal(SIGPIPE, SIG_IGN); /* a client that has died shows in the write */
    struct client clients[CLIENTS];
    for (unsigned i = 0; i < CLIENTS; i++) start_client(clients, i);
    serve(clients);
    for (int i = 0; i < CLIENTS; i++) (void)close(clients[i].orders);
    for (int i = 0; i < CLIENTS; i++) (void)waitpid(clients[i].pid, NULL, 0);
    finish(0);
}
