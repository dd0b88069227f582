#define _GNU_SOURCE /* RLIMIT_NOFILE, O_CLOEXEC, seteuid */
#include "core/host.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <locale.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "harness/weir_test.h"

enum { FILLED_MAX = 65536, NOBODY = 65534 };

/* ---- the process ---- */

static int filled[FILLED_MAX];
static unsigned filled_count;

uint64_t host_cpu_us(void)
{
    struct timespec time;
    cr_assert_eq(clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time), 0);
    return (uint64_t)time.tv_sec * 1000000 + (uint64_t)time.tv_nsec / 1000;
}

static struct rlimit read_limit(void)
{
    struct rlimit limit;
    cr_assert_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
    return limit;
}

static unsigned clamp(rlim_t limit)
{
    return limit > UINT32_MAX ? UINT32_MAX : (unsigned)limit;
}

unsigned host_descriptor_limit(void)
{
    return clamp(read_limit().rlim_cur);
}

unsigned host_hard_limit(void)
{
    return clamp(read_limit().rlim_max);
}

unsigned host_descriptor_table(void)
{
    char line[256];
    unsigned size = 0;
    FILE *file = fopen("/proc/self/status", "r");
    cr_assert_not_null(file);
    while (fgets(line, sizeof line, file))
        if (strncmp(line, "FDSize:", 7) == 0) size = (unsigned)strtoul(line + 7, NULL, 10);
    (void)fclose(file);
    return size;
}

bool host_limit_descriptors(unsigned limit)
{
    struct rlimit now = read_limit();
    now.rlim_cur = limit;
    return limit <= now.rlim_max && setrlimit(RLIMIT_NOFILE, &now) == 0;
}

void host_lower_hard_limit(unsigned limit)
{
    struct rlimit both = { .rlim_cur = limit, .rlim_max = limit };
    cr_assert_eq(setrlimit(RLIMIT_NOFILE, &both), 0);
}

void host_fill_descriptors(void)
{
    while (filled_count < FILLED_MAX) {
        int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
        if (fd < 0) return;
        filled[filled_count++] = fd;
    }
    cr_assert_fail("more than %d descriptors", FILLED_MAX);
}

void host_free_descriptors(unsigned count)
{
    while (count > 0 && filled_count > 0) {
        (void)close(filled[--filled_count]);
        count--;
    }
}

bool host_drop_rights(void)
{
    return geteuid() != 0 || seteuid(NOBODY) == 0;
}

void host_regain_rights(void)
{
    if (getuid() != 0) return;
    cr_assert_eq(seteuid(0), 0);
    (void)prctl(PR_SET_DUMPABLE, 1); /* a leak detector wants to attach */
}

static bool has_comma(const char *name)
{
    return setlocale(LC_NUMERIC, name) && strcmp(localeconv()->decimal_point, ",") == 0;
}

/* A machine that builds software often has no locales but the tool to make one. */
bool host_set_comma_locale(void)
{
    static const char *const names[] = { "de_DE.UTF-8", "fr_FR.UTF-8", "ru_RU.UTF-8" };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (has_comma(names[i])) return true;
    char folder[64], command[512];
    (void)snprintf(folder, sizeof folder, "/tmp/weir-test-%ld-locale", (long)getpid());
    (void)snprintf(command, sizeof command,
                   "mkdir %s && localedef --no-archive -c -i de_DE -f UTF-8 %s/de_DE.UTF-8 >%s/log 2>&1", folder,
                   folder, folder);
    bool made = system(command) == 0 && setenv("LOCPATH", folder, 1) == 0 && has_comma("de_DE.UTF-8");
    (void)snprintf(command, sizeof command, "rm -rf %s", folder);
    made = system(command) == 0 && made;
    return made;
}

const unsigned host_socket_size = 40;
const bool host_ends_at_once = true;

const struct host_codes host_codes = { .address_in_use = EADDRINUSE,
                                       .address_not_available = EADDRNOTAVAIL,
                                       .connection_refused = ECONNREFUSED };

/* ---- files ---- */

void host_path(char *path)
{
    static unsigned count;
    (void)snprintf(path, HOST_PATH_MAX, "/tmp/weir-test-%ld-%u.sock", (long)getpid(), count++);
    (void)unlink(path);
}

bool host_exists(const char *path)
{
    struct stat status;
    return lstat(path, &status) == 0;
}

void host_make_file(const char *path)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    cr_assert_geq(fd, 0, "%s: %s", path, strerror(errno));
    (void)close(fd);
}

void host_remove(const char *path)
{
    cr_assert_eq(unlink(path), 0, "%s: %s", path, strerror(errno));
}

void host_leave_dead_socket(const char *path)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    cr_assert_lt(strlen(path), sizeof address.sun_path);
    memcpy(address.sun_path, path, strlen(path));
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    cr_assert_geq(fd, 0);
    cr_assert_eq(bind(fd, (struct sockaddr *)&address, sizeof address), 0, "%s: %s", path, strerror(errno));
    cr_assert_eq(listen(fd, 1), 0);
    (void)close(fd);
    cr_assert(host_exists(path));
}

/* ---- addresses ---- */

static socklen_t write_address(struct sockaddr_storage *out, const char *host, uint16_t port)
{
    memset(out, 0, sizeof *out);
    struct sockaddr_in *in = (struct sockaddr_in *)out;
    in->sin_port = htons(port);
    in->sin_family = AF_INET;
    if (inet_pton(AF_INET, host, &in->sin_addr) == 1) return sizeof *in;
    struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)out;
    memset(out, 0, sizeof *out);
    in6->sin6_port = htons(port);
    in6->sin6_family = AF_INET6;
    cr_assert_eq(inet_pton(AF_INET6, host, &in6->sin6_addr), 1, "not a numeric host: %s", host);
    return sizeof *in6;
}

static int make_socket(int family)
{
    int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    cr_assert_geq(fd, 0, "socket: %s", strerror(errno));
    return fd;
}

bool host_has_ipv6(void)
{
    struct sockaddr_storage address;
    socklen_t length = write_address(&address, "::1", 0);
    int fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) return false;
    bool has = bind(fd, (struct sockaddr *)&address, length) == 0;
    (void)close(fd);
    return has;
}

bool host_shares_ports(void)
{
    return true;
}

uint16_t host_free_port(void)
{
    uint16_t port;
    raw_close(raw_listen(1, &port));
    return port;
}

raw_peer host_connect_from(const char *source, const char *host, uint16_t port)
{
    struct sockaddr_storage local, remote;
    socklen_t local_length = write_address(&local, source, 0), length = write_address(&remote, host, port);
    int fd = make_socket(remote.ss_family);
    cr_assert_eq(bind(fd, (struct sockaddr *)&local, local_length), 0, "bind to %s: %s", source, strerror(errno));
    cr_assert_eq(connect(fd, (struct sockaddr *)&remote, length), 0, "connect from %s: %s", source, strerror(errno));
    cr_assert_eq(fcntl(fd, F_SETFL, O_NONBLOCK), 0); /* as raw.h wants its peers */
    return (raw_peer){ .os = fd };
}

bool host_connect_is_refused(const char *host, uint16_t port)
{
    struct sockaddr_storage remote;
    socklen_t length = write_address(&remote, host, port);
    int fd = make_socket(remote.ss_family);
    bool refused = connect(fd, (struct sockaddr *)&remote, length) != 0 && errno == ECONNREFUSED;
    (void)close(fd);
    return refused;
}

/* A backlog of 0 holds one connection; the handshakes of those that follow are not answered. */
raw_peer host_full_listener(uint16_t *port)
{
    enum { FILLERS = 4 };
    raw_peer listener = raw_listen(0, port);
    struct sockaddr_storage remote;
    socklen_t length = write_address(&remote, "127.0.0.1", *port);
    for (int i = 0; i < FILLERS; i++) {
        int fd = make_socket(AF_INET);
        cr_assert_eq(fcntl(fd, F_SETFL, O_NONBLOCK), 0);
        struct pollfd entry = { .fd = fd, .events = POLLOUT };
        if (connect(fd, (struct sockaddr *)&remote, length) != 0 && poll(&entry, 1, 50) == 0) return listener;
    }
    cr_assert_fail("the backlog of %d does not fill", FILLERS);
    return listener;
}
