/* The one way in which weir-bench gives up. Whatever goes wrong ends the whole run: a figure from a run in which
 * something failed is worth nothing. */
#ifndef BENCH_FAIL_H
#define BENCH_FAIL_H

#include <stdio.h> /* on Windows it says which formats printf takes */

#ifdef __cplusplus
extern "C" {
#endif

/* Compilers that can check the formats, and know that none of these returns. */
#if defined(__MINGW_PRINTF_FORMAT)
#define FAILS(format_at, first) __attribute__((noreturn, format(__MINGW_PRINTF_FORMAT, format_at, first)))
#elif defined(__GNUC__)
#define FAILS(format_at, first) __attribute__((noreturn, format(printf, format_at, first)))
#else
#define FAILS(format_at, first)
#endif

/* What becomes of the sentence: it is printed to stderr, unless a child process has said here to send it elsewhere. */
typedef void (*fail_sink)(const char *sentence);
void fail_set_sink(fail_sink sink);

/* fail: tells the sink, and exits with 1. fail_code adds what a code of the system's means; fail_system does so with
 * that of what failed last. */
void fail(const char *format, ...) FAILS(1, 2);
void fail_code(int code, const char *format, ...) FAILS(2, 3);
void fail_system(const char *format, ...) FAILS(1, 2);

/* fail_usage: the command line is wrong; exits with 2. */
void fail_usage(const char *format, ...) FAILS(1, 2);

#ifdef __cplusplus
}
#endif

#endif
