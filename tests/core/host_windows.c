#include "core/host.h"

#include <locale.h>
#include <string.h>

#include "core/raw_windows.h"
#include "harness/weir_test.h"

/* ---- the process ---- */

uint64_t host_cpu_us(void)
{
    FILETIME created, ended, kernel, user; /* in units of 100 ns */
    cr_assert(GetProcessTimes(GetCurrentProcess(), &created, &ended, &kernel, &user));
    uint64_t high = (uint64_t)kernel.dwHighDateTime + user.dwHighDateTime;
    return ((high << 32) + kernel.dwLowDateTime + user.dwLowDateTime) / 10;
}

unsigned host_descriptor_limit(void)
{
    return UINT32_MAX;
}

unsigned host_hard_limit(void)
{
    return UINT32_MAX;
}

unsigned host_descriptor_table(void)
{
    return UINT32_MAX; /* there is no table that grows */
}

bool host_limit_descriptors(unsigned limit)
{
    cr_skip_test("no limit of %u descriptors can be set here", limit);
}

void host_lower_hard_limit(unsigned limit)
{
    cr_skip_test("no limit of %u descriptors can be set here", limit);
}

void host_fill_descriptors(void)
{
    cr_skip_test("there is no limit of descriptors here");
}

void host_free_descriptors(unsigned count)
{
    (void)count;
}

bool host_drop_rights(void)
{
    return false; /* an ordinary user may bind to any port here */
}

void host_regain_rights(void) {}

bool host_set_comma_locale(void)
{
    return setlocale(LC_ALL, "de-DE") && strcmp(localeconv()->decimal_point, ",") == 0;
}

const unsigned host_socket_size = 72; /* with the OVERLAPPED of the receive that waits */
const bool host_ends_at_once = false;

const struct host_codes host_codes = { .address_in_use = WSAEADDRINUSE,
                                       .address_not_available = WSAEADDRNOTAVAIL,
                                       .connection_refused = WSAECONNREFUSED };

/* ---- files ---- */

void host_path(char *path)
{
    path[0] = 0;
    cr_skip_test("there are no Unix-domain sockets here");
}

bool host_exists(const char *path)
{
    return GetFileAttributesA(path) != INVALID_FILE_ATTRIBUTES;
}

void host_make_file(const char *path)
{
    HANDLE file = CreateFileA(path, GENERIC_WRITE, 0, NULL, CREATE_NEW, FILE_ATTRIBUTE_NORMAL, NULL);
    cr_assert_neq(file, INVALID_HANDLE_VALUE, "%s: error %lu", path, GetLastError());
    CloseHandle(file);
}

void host_remove(const char *path)
{
    cr_assert(DeleteFileA(path), "%s: error %lu", path, GetLastError());
}

void host_leave_dead_socket(const char *path)
{
    cr_skip_test("%s: there are no Unix-domain sockets here", path);
}

/* ---- addresses ---- */

bool host_has_ipv6(void)
{
    struct sockaddr_storage address;
    socklen_t length = raw_windows_address(&address, "::1", 0);
    SOCKET os = raw_windows_socket(AF_INET6);
    bool has = bind(os, (struct sockaddr *)&address, length) == 0;
    closesocket(os);
    return has;
}

bool host_shares_ports(void)
{
    return false;
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
    socklen_t local_length = raw_windows_address(&local, source, 0);
    socklen_t length = raw_windows_address(&remote, host, port);
    SOCKET os = raw_windows_socket(remote.ss_family);
    cr_assert_eq(bind(os, (struct sockaddr *)&local, local_length), 0, "bind to %s: %d", source, WSAGetLastError());
    int error = raw_windows_connect(os, &remote, length, RAW_PATIENCE_MS);
    cr_assert_eq(error, 0, "connect from %s: %d", source, error);
    return raw_windows_peer(os);
}

bool host_connect_is_refused(const char *host, uint16_t port)
{
    struct sockaddr_storage remote;
    socklen_t length = raw_windows_address(&remote, host, port);
    SOCKET os = raw_windows_socket(remote.ss_family);
    bool refused = raw_windows_connect(os, &remote, length, RAW_PATIENCE_MS) == WSAECONNREFUSED;
    closesocket(os);
    return refused;
}

/* Wine's backlogs are Linux's. Windows refuses whom it has no place for, and so has no such listener. */
raw_peer host_full_listener(uint16_t *port)
{
    enum { FILLERS = 4 };
    raw_peer listener = raw_listen(0, port);
    struct sockaddr_storage remote;
    socklen_t length = raw_windows_address(&remote, "127.0.0.1", *port);
    for (int i = 0; i < FILLERS; i++) {
        SOCKET os = raw_windows_socket(AF_INET);
        if (raw_windows_connect(os, &remote, length, 50) == WSAETIMEDOUT) return listener;
    }
    cr_skip_test("a full backlog does not leave the next one waiting here");
}
