/* The own harness: Criterion's macros, as far as weir's tests use them. Include weir_test.h instead. */
#ifndef WEIR_TEST_OWN_H
#define WEIR_TEST_OWN_H

/* As Criterion's headers are, so that the compiler says the same of a test file with both. */
#pragma GCC system_header
#ifdef __clang__
#pragma clang diagnostic ignored "-Wgnu-zero-variadic-macro-arguments" /* an assertion without a message */
#endif

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* With mingw-w64, `printf` as an attribute means Microsoft's formats, and the tests use C's. */
#ifdef __MINGW_PRINTF_FORMAT
#define WR_TEST_FORMAT __MINGW_PRINTF_FORMAT
#else
#define WR_TEST_FORMAT printf
#endif

typedef struct wr_test wr_test;
struct wr_test {
    wr_test *next;
    const char *suite;
    const char *name;
    void (*body)(void);
    /* What a test may set. */
    void (*init)(void);
    void (*fini)(void);
    double timeout; /* seconds; 0: WR_TEST_TIMEOUT_S */
    bool disabled;
    const char *description;
    bool last; /* ends the list of designated initialisers, which may not be empty */
};

/* wr_test_register: called before main, once for each Test. */
void wr_test_register(wr_test *test);

/* wr_test_failed, wr_test_fatal: report a failed assertion; the first lets the test go on. Any thread of the test. */
__attribute__((format(WR_TEST_FORMAT, 4, 5))) void wr_test_failed(const char *file, int line, const char *text,
                                                                  const char *format, ...);
__attribute__((format(WR_TEST_FORMAT, 4, 5), noreturn)) void wr_test_fatal(const char *file, int line, const char *text,
                                                                           const char *format, ...);

/* wr_test_skip: ends the test as skipped. */
__attribute__((format(WR_TEST_FORMAT, 1, 2), noreturn)) void wr_test_skip(const char *format, ...);

#define Test(...) WR_TEST(__VA_ARGS__, .last = true)
#define WR_TEST(suite_, name_, ...)                                             \
    static void suite_##_##name_(void);                                         \
    static wr_test suite_##_##name_##_test = {                                  \
        .suite = #suite_, .name = #name_, .body = suite_##_##name_, __VA_ARGS__ \
    };                                                                          \
    __attribute__((constructor)) static void suite_##_##name_##_register(void)  \
    {                                                                           \
        wr_test_register(&suite_##_##name_##_test);                             \
    }                                                                           \
    static void suite_##_##name_(void)

#define cr_skip(...)      wr_test_skip("" __VA_ARGS__)
#define cr_skip_test(...) wr_test_skip("" __VA_ARGS__)

/* The format begins with a space because the message, which may be missing, follows the assertion's text. */
#define WR_CHECK(otherwise, condition, text, ...)                               \
    do {                                                                        \
        if (!(condition)) otherwise(__FILE__, __LINE__, text, " " __VA_ARGS__); \
    } while (0)
#define WR_CHECK_OP(otherwise, a, op, b, ...)  WR_CHECK(otherwise, (a)op(b), #a " " #op " " #b, __VA_ARGS__)
#define WR_CHECK_STR(otherwise, a, op, b, ...) WR_CHECK(otherwise, strcmp(a, b) op 0, #a " " #op " " #b, __VA_ARGS__)
#define WR_CHECK_ARR(otherwise, a, op, b, size, ...) \
    WR_CHECK(otherwise, memcmp(a, b, size) op 0, #a " " #op " " #b " (" #size " bytes)", __VA_ARGS__)

#define cr_assert(condition, ...)       WR_CHECK(wr_test_fatal, condition, #condition, __VA_ARGS__)
#define cr_assert_not(condition, ...)   WR_CHECK(wr_test_fatal, !(condition), "not " #condition, __VA_ARGS__)
#define cr_assert_fail(...)             WR_CHECK(wr_test_fatal, false, "", __VA_ARGS__)
#define cr_assert_null(a, ...)          WR_CHECK_OP(wr_test_fatal, a, ==, NULL, __VA_ARGS__)
#define cr_assert_not_null(a, ...)      WR_CHECK_OP(wr_test_fatal, a, !=, NULL, __VA_ARGS__)
#define cr_assert_eq(a, b, ...)         WR_CHECK_OP(wr_test_fatal, a, ==, b, __VA_ARGS__)
#define cr_assert_neq(a, b, ...)        WR_CHECK_OP(wr_test_fatal, a, !=, b, __VA_ARGS__)
#define cr_assert_lt(a, b, ...)         WR_CHECK_OP(wr_test_fatal, a, <, b, __VA_ARGS__)
#define cr_assert_leq(a, b, ...)        WR_CHECK_OP(wr_test_fatal, a, <=, b, __VA_ARGS__)
#define cr_assert_gt(a, b, ...)         WR_CHECK_OP(wr_test_fatal, a, >, b, __VA_ARGS__)
#define cr_assert_geq(a, b, ...)        WR_CHECK_OP(wr_test_fatal, a, >=, b, __VA_ARGS__)
#define cr_assert_str_eq(a, b, ...)     WR_CHECK_STR(wr_test_fatal, a, ==, b, __VA_ARGS__)
#define cr_assert_str_neq(a, b, ...)    WR_CHECK_STR(wr_test_fatal, a, !=, b, __VA_ARGS__)
#define cr_assert_arr_eq(a, b, n, ...)  WR_CHECK_ARR(wr_test_fatal, a, ==, b, n, __VA_ARGS__)
#define cr_assert_arr_neq(a, b, n, ...) WR_CHECK_ARR(wr_test_fatal, a, !=, b, n, __VA_ARGS__)

#define cr_expect(condition, ...)       WR_CHECK(wr_test_failed, condition, #condition, __VA_ARGS__)
#define cr_expect_not(condition, ...)   WR_CHECK(wr_test_failed, !(condition), "not " #condition, __VA_ARGS__)
#define cr_expect_fail(...)             WR_CHECK(wr_test_failed, false, "", __VA_ARGS__)
#define cr_expect_null(a, ...)          WR_CHECK_OP(wr_test_failed, a, ==, NULL, __VA_ARGS__)
#define cr_expect_not_null(a, ...)      WR_CHECK_OP(wr_test_failed, a, !=, NULL, __VA_ARGS__)
#define cr_expect_eq(a, b, ...)         WR_CHECK_OP(wr_test_failed, a, ==, b, __VA_ARGS__)
#define cr_expect_neq(a, b, ...)        WR_CHECK_OP(wr_test_failed, a, !=, b, __VA_ARGS__)
#define cr_expect_lt(a, b, ...)         WR_CHECK_OP(wr_test_failed, a, <, b, __VA_ARGS__)
#define cr_expect_leq(a, b, ...)        WR_CHECK_OP(wr_test_failed, a, <=, b, __VA_ARGS__)
#define cr_expect_gt(a, b, ...)         WR_CHECK_OP(wr_test_failed, a, >, b, __VA_ARGS__)
#define cr_expect_geq(a, b, ...)        WR_CHECK_OP(wr_test_failed, a, >=, b, __VA_ARGS__)
#define cr_expect_str_eq(a, b, ...)     WR_CHECK_STR(wr_test_failed, a, ==, b, __VA_ARGS__)
#define cr_expect_str_neq(a, b, ...)    WR_CHECK_STR(wr_test_failed, a, !=, b, __VA_ARGS__)
#define cr_expect_arr_eq(a, b, n, ...)  WR_CHECK_ARR(wr_test_failed, a, ==, b, n, __VA_ARGS__)
#define cr_expect_arr_neq(a, b, n, ...) WR_CHECK_ARR(wr_test_failed, a, !=, b, n, __VA_ARGS__)

#endif
