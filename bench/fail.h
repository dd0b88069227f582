/* The one way in which weir-bench gives up. Whatever goes wrong ends the whole run: a figure from a run in which
 * something failed is worth nothing. */
#ifndef BENCH_FAIL_H
#define BENCH_FAIL_H

#ifdef __cplusplus
extern "C" {
#endif

/* What becomes of the sentence: it is printed to stderr, unless a child process has said here to send it elsewhere. */
typedef void (*fail_sink)(const char *sentence);
void fail_set_sink(fail_sink sink);

/* fail: tells the sink, and exits with 1. fail_system adds what errno means. */
void fail(const char *format, ...) __attribute__((noreturn, format(printf, 1, 2)));
void fail_system(const char *format, ...) __attribute__((noreturn, format(printf, 1, 2)));

/* fail_usage: the command line is wrong; exits with 2. */
void fail_usage(const char *format, ...) __attribute__((noreturn, format(printf, 1, 2)));

#ifdef __cplusplus
}
#endif

#endif
