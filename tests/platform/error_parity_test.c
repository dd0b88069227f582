/* The same accident has the same WEIR_E… on every system. The accidents stand here with the numbers that the systems
 * have published for them, so the list is one and the same wherever the test runs; each system checks its own column
 * against its table (platform/error_map.h), in both directions. */
#define _POSIX_C_SOURCE 200809L /* for the codes of getaddrinfo */
#include "os_net.h"

#include <errno.h>
#include <stdbool.h>

#include "harness/weir_test.h"
#include "platform/error_map.h"

#define COUNT(array) (sizeof(array) / sizeof *(array))

static const struct {
    const char *accident;
    int linux_errno, winsock, win32; /* 0: this system has no such code */
    int error;
} accidents[] = {
    { "an argument is wrong", 22, 10022, 87, WEIR_EINVAL },
    { "the operation is not supported", 95, 10045, 50, WEIR_ENOTSUP },
    { "the protocol is not supported", 93, 10043, 0, WEIR_ENOTSUP },
    { "the option is not supported", 92, 10042, 0, WEIR_ENOTSUP },
    { "there is no memory", 12, 0, 8, WEIR_ENOMEM },
    { "there is no storage", 0, 0, 14, WEIR_ENOMEM },
    { "the paging file is too small", 0, 0, 1455, WEIR_ENOMEM },
    { "the process has too many descriptors", 24, 10024, 4, WEIR_EMFILE },
    { "the system has too many descriptors", 23, 0, 0, WEIR_EMFILE },
    { "there is no buffer space", 105, 10055, 1450, WEIR_ENOBUFS },
    { "no more pages can be locked", 0, 0, 1453, WEIR_ENOBUFS },
    { "the quota is used up", 0, 0, 1816, WEIR_ENOBUFS },
    { "permission is denied", 13, 10013, 5, WEIR_EACCES },
    { "a privilege is missing", 1, 0, 1314, WEIR_EACCES },
    { "the medium is read-only", 30, 0, 19, WEIR_EACCES },
    { "the address is in use", 98, 10048, 52, WEIR_EADDRINUSE },
    { "the address is none of this host", 99, 10049, 1214, WEIR_EADDRNOTAVAIL },
    { "the address family is not supported", 97, 10047, 0, WEIR_EAFNOSUPPORT },
    { "the protocol family is not supported", 96, 10046, 0, WEIR_EAFNOSUPPORT },
    { "nobody listens", 111, 10061, 1225, WEIR_ECONNREFUSED },
    { "the port is unreachable", 0, 0, 1234, WEIR_ECONNREFUSED },
    { "the peer has reset", 104, 10054, 64, WEIR_ECONNRESET },
    { "nothing can be sent any more", 32, 10058, 109, WEIR_ECONNRESET },
    { "the connection is gone", 107, 10057, 1229, WEIR_ECONNRESET },
    { "the network has reset", 102, 10052, 0, WEIR_ECONNRESET },
    { "this system has ended the connection", 103, 10053, 1236, WEIR_ECONNABORTED },
    { "the protocol was broken", 71, 0, 0, WEIR_ECONNABORTED },
    { "the network is down", 100, 10050, 59, WEIR_ENETDOWN },
    { "the network is unreachable", 101, 10051, 1231, WEIR_ENETUNREACH },
    { "the protocol is unreachable", 0, 0, 1233, WEIR_ENETUNREACH },
    { "there is no path through the network", 0, 0, 53, WEIR_ENETUNREACH },
    { "the host is unreachable", 113, 10065, 1232, WEIR_EHOSTUNREACH },
    { "the host is down", 112, 10064, 1256, WEIR_EHOSTUNREACH },
    { "the peer does not answer", 110, 10060, 121, WEIR_ETIMEDOUT },
    { "the time is up", 0, 0, 1460, WEIR_ETIMEDOUT },
    { "there is no such file", 2, 0, 2, WEIR_ENOENT },
    { "there is no such folder", 20, 0, 3, WEIR_ENOENT },
    { "the buffer is not readable", 14, 10014, 998, WEIR_EFAULT },
    { "the datagram is too long", 90, 10040, 1784, WEIR_EMSGSIZE },
    { "nobody has the name", -2, 11001, 0, WEIR_EAI_NONAME },
    { "the name has no address", -5, 11004, 0, WEIR_EAI_NONAME },
    { "the name has no address of the family", -9, 0, 0, WEIR_EAI_NONAME },
    { "the name server does not answer", -3, 11002, 0, WEIR_EAI_AGAIN },
    { "the name server has failed", -4, 11003, 0, WEIR_EAI_FAIL },
    { "the resolver knows no such family", -6, 0, 0, WEIR_EAFNOSUPPORT },
    { "the resolver has no memory", -10, 0, 0, WEIR_ENOMEM },
};

/* The table's codes of the system that this test runs on. */
static const struct {
    int first, second; /* 0: none */
    int error;
} rows[] = {
#ifdef _WIN32
#define ROW(error, posix, winsock, win32) { winsock, win32, error },
#else
#define ROW(error, posix, winsock, win32) { posix, 0, error },
#endif
    WR_ERROR_MAP(ROW)
#undef ROW
};

/* The same two of an accident. */
static void own_codes(size_t accident, int *first, int *second)
{
#ifdef _WIN32
    *first = accidents[accident].winsock;
    *second = accidents[accident].win32;
#else
    *first = accidents[accident].linux_errno;
    *second = 0;
#endif
}

static void skip_elsewhere(void)
{
#if !defined(_WIN32) && !defined(__linux__)
    cr_skip_test("the list has no numbers of this system");
#endif
}

Test(error_parity, each_accident_has_its_one_name)
{
    skip_elsewhere();
    for (size_t i = 0; i < COUNT(accidents); i++) {
        int first, second;
        own_codes(i, &first, &second);
        if (first)
            cr_expect_eq(wr_error_from_system(first), accidents[i].error, "%s: %d", accidents[i].accident, first);
        if (second)
            cr_expect_eq(wr_error_from_system(second), accidents[i].error, "%s: %d", accidents[i].accident, second);
    }
}

Test(error_parity, each_row_of_the_table_is_one_of_the_accidents)
{
    skip_elsewhere();
    for (size_t i = 0; i < COUNT(rows); i++) {
        bool found = false;
        for (size_t j = 0; j < COUNT(accidents); j++) {
            int first, second;
            own_codes(j, &first, &second);
            found =
                found || (first == rows[i].first && second == rows[i].second && accidents[j].error == rows[i].error);
        }
        cr_expect(found, "the codes %d and %d, %s", rows[i].first, rows[i].second, weir_error_name(rows[i].error));
    }
}

Test(error_parity, no_number_stands_twice_in_a_column)
{
    for (size_t i = 0; i < COUNT(accidents); i++) {
        for (size_t j = 0; j < i; j++) {
            cr_expect(!accidents[i].linux_errno || accidents[i].linux_errno != accidents[j].linux_errno, "%s",
                      accidents[i].accident);
            cr_expect(!accidents[i].winsock || accidents[i].winsock != accidents[j].winsock, "%s",
                      accidents[i].accident);
            cr_expect(!accidents[i].win32 || accidents[i].win32 != accidents[j].win32, "%s", accidents[i].accident);
        }
    }
}
