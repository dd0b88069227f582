/* The error vocabulary and how the system's codes come into it. */
#define _POSIX_C_SOURCE 200809L /* for the codes of getaddrinfo */
#include "os_net.h"

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "harness/weir_test.h"
#include "platform/error_map.h"

#define COUNT(array) (sizeof(array) / sizeof *(array))

static const struct {
    int error;
    int number;
    const char *name;
    const char *text;
} errors[] = {
#define ROW(name, number, text) { WEIR_##name, number, "WEIR_" #name, text },
    WEIR_ERRORS(ROW)
#undef ROW
};

/* The table, as words: what a system lacks is "0". */
static const struct {
    int error;
    const char *posix;
    const char *winsock;
    const char *win32;
} rows[] = {
#define ROW(error, posix, winsock, win32) { error, #posix, #winsock, #win32 },
    WR_ERROR_MAP(ROW)
#undef ROW
};

/* The codes of the system that this test runs on; 0 where it has none. */
static const struct {
    int code;
    int error;
} codes[] = {
#ifdef _WIN32
#define ROW(error, posix, winsock, win32) { winsock, error }, { win32, error },
#else
#define ROW(error, posix, winsock, win32) { posix, error },
#endif
    WR_ERROR_MAP(ROW)
#undef ROW
};

Test(error, every_error_has_its_name_and_its_text)
{
    for (size_t i = 0; i < COUNT(errors); i++) {
        cr_assert_eq(errors[i].error, -errors[i].number);
        cr_assert_str_eq(weir_error_name(errors[i].error), errors[i].name);
        cr_assert_str_eq(weir_strerror(errors[i].error), errors[i].text);
        cr_assert_neq(errors[i].text[0], 0, "%s has no text", errors[i].name);
    }
}

Test(error, success_has_a_name_and_a_text)
{
    cr_assert_str_eq(weir_error_name(0), "WEIR_OK");
    cr_assert_str_eq(weir_strerror(WEIR_OK), "no error");
}

Test(error, a_number_outside_the_table_is_unknown)
{
    const int numbers[] = { 1, -8, -19, -39, -60, -1000, INT32_MAX, INT32_MIN };
    for (size_t i = 0; i < COUNT(numbers); i++) {
        cr_assert_str_eq(weir_error_name(numbers[i]), "WEIR_?", "%d", numbers[i]);
        cr_assert_str_eq(weir_strerror(numbers[i]), "unknown error", "%d", numbers[i]);
    }
}

Test(error, the_texts_are_all_different)
{
    for (size_t i = 0; i < COUNT(errors); i++) {
        for (size_t j = 0; j < i; j++)
            cr_assert_str_neq(errors[i].text, errors[j].text, "%s and %s", errors[i].name, errors[j].name);
    }
}

Test(error, the_numbers_are_those_of_the_first_release)
{
    const int published[][2] = {
        { WEIR_EINVAL, -1 },         { WEIR_ESTATE, -2 },        { WEIR_ENOTSUP, -3 },       { WEIR_EADDRESS, -4 },
        { WEIR_ENOMEM, -5 },         { WEIR_ELIMIT, -6 },        { WEIR_ECANCELED, -7 },     { WEIR_ESYSTEM, -20 },
        { WEIR_EMFILE, -21 },        { WEIR_ENOBUFS, -22 },      { WEIR_EACCES, -23 },       { WEIR_EADDRINUSE, -24 },
        { WEIR_EADDRNOTAVAIL, -25 }, { WEIR_EAFNOSUPPORT, -26 }, { WEIR_ECONNREFUSED, -27 }, { WEIR_ECONNRESET, -28 },
        { WEIR_ECONNABORTED, -29 },  { WEIR_ENETDOWN, -30 },     { WEIR_ENETUNREACH, -31 },  { WEIR_EHOSTUNREACH, -32 },
        { WEIR_ETIMEDOUT, -33 },     { WEIR_ENOENT, -34 },       { WEIR_EFAULT, -35 },       { WEIR_EAI_NONAME, -36 },
        { WEIR_EAI_AGAIN, -37 },     { WEIR_EAI_FAIL, -38 },     { WEIR_ECLOSED, -50 },      { WEIR_EABORTED, -51 },
        { WEIR_EEOF, -52 },          { WEIR_ETRUNCATED, -53 },   { WEIR_EHANDSHAKE, -54 },   { WEIR_EIDLE, -55 },
        { WEIR_EFRAME, -56 },        { WEIR_EMSGSIZE, -57 },     { WEIR_ESLOW, -58 },        { WEIR_ESTOPPED, -59 },
    };
    for (size_t i = 0; i < COUNT(published); i++)
        cr_assert_eq(published[i][0], published[i][1], "%s was renumbered", weir_error_name(published[i][1]));
}

Test(error_map, each_code_of_the_system_has_the_error_of_its_row)
{
    for (size_t i = 0; i < COUNT(codes); i++) {
        if (codes[i].code) cr_assert_eq(wr_error_from_system(codes[i].code), codes[i].error, "code %d", codes[i].code);
    }
}

Test(error_map, no_code_stands_twice)
{
    for (size_t i = 0; i < COUNT(codes); i++) {
        for (size_t j = 0; j < i; j++)
            cr_assert(codes[i].code == 0 || codes[i].code != codes[j].code, "code %d", codes[i].code);
    }
}

Test(error_map, no_error_is_0_and_a_foreign_code_is_a_system_error)
{
    cr_assert_eq(wr_error_from_system(0), 0);
    cr_assert_eq(wr_error_from_system(-1), WEIR_ESYSTEM);
    cr_assert_eq(wr_error_from_system(123456), WEIR_ESYSTEM);
    cr_assert_eq(wr_error_from_system(INT32_MAX), WEIR_ESYSTEM);
}

/* by_posix: the row of an errno's name. */
static size_t by_posix(const char *name)
{
    for (size_t i = 0; i < COUNT(rows); i++) {
        if (strcmp(rows[i].posix, name) == 0) return i;
    }
    cr_assert(false, "%s is not in the table", name);
    return 0;
}

Test(error_map, what_looks_the_same_to_an_embedder_has_one_name)
{
    const struct {
        const char *posix;
        int error;
    } expected[] = {
        { "EMFILE", WEIR_EMFILE },         { "ENFILE", WEIR_EMFILE },         { "ENOBUFS", WEIR_ENOBUFS },
        { "ENOMEM", WEIR_ENOMEM },         { "ECONNRESET", WEIR_ECONNRESET }, { "EPIPE", WEIR_ECONNRESET },
        { "EACCES", WEIR_EACCES },         { "EPERM", WEIR_EACCES },          { "ECONNREFUSED", WEIR_ECONNREFUSED },
        { "EADDRINUSE", WEIR_EADDRINUSE }, { "ETIMEDOUT", WEIR_ETIMEDOUT },   { "ECONNABORTED", WEIR_ECONNABORTED },
    };
    for (size_t i = 0; i < COUNT(expected); i++)
        cr_assert_eq(rows[by_posix(expected[i].posix)].error, expected[i].error, "%s", expected[i].posix);
}

Test(error_map, a_cancelled_or_unfinished_operation_has_no_row)
{
    const char *const absent[] = {
        "ECANCELED",   "EINPROGRESS",    "EALREADY",       "EAGAIN",        "EINTR",
        "EWOULDBLOCK", "WSA_IO_PENDING", "WSAEWOULDBLOCK", "WSAECANCELLED", "ERROR_OPERATION_ABORTED"
    };
    for (size_t i = 0; i < COUNT(absent); i++) {
        for (size_t j = 0; j < COUNT(rows); j++) {
            cr_assert_str_neq(rows[j].posix, absent[i]);
            cr_assert_str_neq(rows[j].winsock, absent[i]);
            cr_assert_str_neq(rows[j].win32, absent[i]);
        }
    }
}

Test(error_map, a_winsock_code_stands_beside_the_errno_of_the_same_name)
{
    for (size_t i = 0; i < COUNT(rows); i++) {
        if (strcmp(rows[i].winsock, "0") == 0 || strcmp(rows[i].posix, "0") == 0) continue;
        if (strcmp(rows[i].posix, "EPIPE") == 0) continue;    /* Windows has no EPIPE: WSAESHUTDOWN takes its part */
        if (strncmp(rows[i].posix, "EAI_", 4) == 0) continue; /* Winsock has them under the names of its older call */
        cr_assert_str_eq(rows[i].winsock + strlen("WSA"), rows[i].posix);
    }
}

Test(error_map, each_error_can_come_from_every_system)
{
    for (size_t i = 0; i < COUNT(rows); i++) {
        bool posix = false, windows = false;
        for (size_t j = 0; j < COUNT(rows); j++) {
            if (rows[j].error != rows[i].error) continue;
            posix = posix || strcmp(rows[j].posix, "0") != 0;
            windows = windows || strcmp(rows[j].winsock, "0") != 0 || strcmp(rows[j].win32, "0") != 0;
        }
        cr_assert(posix && windows, "%s", weir_error_name(rows[i].error));
    }
}
