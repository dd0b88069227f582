/* The own harness: registration, assertions, and the runner. */
#include "harness/run.h"

#include <stdarg.h>

#include "harness/weir_test.h"

#ifndef WR_TEST_SLOWDOWN
#define WR_TEST_SLOWDOWN 1 /* what a sanitizer multiplies time limits by */
#endif

enum { JOBS_MAX = 64 };

static wr_test *first_test;
static wr_test **last_link = &first_test;

void wr_test_register(wr_test *test)
{
    *last_link = test;
    last_link = &test->next;
}

/* ---- in the test's process ---- */

static _Atomic bool failed;
static bool returned; /* the body ran to its end */

__attribute__((format(WR_TEST_FORMAT, 4, 0))) static void report(const char *file, int line, const char *text,
                                                                 const char *format, va_list arguments)
{
    char message[1024];
    failed = true;
    vsnprintf(message, sizeof message, format, arguments);
    fprintf(stderr, "%s:%d: failed: %s%s\n", file, line, text, message);
}

void wr_test_failed(const char *file, int line, const char *text, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    report(file, line, text, format, arguments);
    va_end(arguments);
}

/* Ends the process without its atexit functions: other threads of the test may still be running. */
__attribute__((noreturn)) static void leave(int status)
{
    fflush(stdout);
    _Exit(status);
}

void wr_test_fatal(const char *file, int line, const char *text, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    report(file, line, text, format, arguments);
    va_end(arguments);
    leave(WR_EXIT_FAILED);
}

void wr_test_skip(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vprintf(format, arguments);
    va_end(arguments);
    leave(failed ? WR_EXIT_FAILED : WR_EXIT_SKIPPED);
}

static void catch_early_exit(void)
{
    if (returned) return;
    fprintf(stderr, "the test called exit\n");
    leave(WR_EXIT_FAILED);
}

void wr_test_run(const wr_test *test)
{
    atexit(catch_early_exit);
    if (test->init) test->init();
    test->body();
    if (test->fini) test->fini();
    returned = true;
    exit(failed ? WR_EXIT_FAILED : WR_EXIT_PASSED); /* not leave: leaks are looked for at exit */
}

/* ---- the runner ---- */

static struct {
    const char *filter; /* of suite/name, or NULL */
    double timeout_s;
    int jobs;
} options = { .timeout_s = WR_TEST_TIMEOUT_S, .jobs = 1 };

static struct {
    size_t passed, failed, skipped;
} count;

/* '*' stands for any characters, '?' for one. */
static bool matches(const char *glob, const char *text)
{
    if (*glob == '*') return matches(glob + 1, text) || (*text && matches(glob, text + 1));
    if (!*glob || !*text) return *glob == *text;
    return (*glob == '?' || *glob == *text) && matches(glob + 1, text + 1);
}

static bool selected(const wr_test *test, const char *glob)
{
    char full_name[512];
    snprintf(full_name, sizeof full_name, "%s/%s", test->suite, test->name);
    return !glob || matches(glob, full_name);
}

/* After the character `last`. Ends with a line end, whatever the test did: what follows is to begin a line. */
static void show_output(FILE *output, char last)
{
    char block[4096];
    size_t size;
    rewind(output);
    while ((size = fread(block, 1, sizeof block, output)) > 0) {
        fwrite(block, 1, size, stdout);
        last = block[size - 1];
    }
    if (last != '\n') putchar('\n');
}

/* Counts an ended test, tells what went wrong, and makes room for the next. */
static void finish(wr_child *child, const wr_child_end *end, bool timed_out)
{
    const wr_test *test = child->test;
    if (timed_out || end->crash[0]) {
        count.failed++;
        printf("FAILED   %s/%s: %s\n", test->suite, test->name, timed_out ? "time limit passed" : end->crash);
        show_output(child->output, '\n');
    } else if (end->status == WR_EXIT_PASSED) {
        count.passed++;
    } else if (end->status == WR_EXIT_SKIPPED) {
        count.skipped++;
        printf("skipped  %s/%s: ", test->suite, test->name);
        show_output(child->output, ' ');
    } else {
        count.failed++;
        printf("FAILED   %s/%s: exit status %d\n", test->suite, test->name, end->status);
        show_output(child->output, '\n');
    }
    fclose(child->output);
    child->test = NULL;
}

static uint64_t time_limit_ms(const wr_test *test)
{
    double seconds = test->timeout > 0 ? test->timeout : options.timeout_s;
    return (uint64_t)(seconds * 1000) * WR_TEST_SLOWDOWN;
}

/* Waits for one of the running tests to end, by itself or by its time limit. */
static void await_one(wr_child *children)
{
    wr_child *first = NULL; /* whose time limit passes first */
    for (int i = 0; i < options.jobs; i++) {
        if (children[i].test && (!first || children[i].deadline_ms < first->deadline_ms)) first = &children[i];
    }
    wr_child_end end;
    int ended = wr_child_wait(children, options.jobs, first->deadline_ms, &end);
    if (ended >= 0) {
        finish(&children[ended], &end, false);
        return;
    }
    wr_child_kill(first);
    wr_child_wait(first, 1, UINT64_MAX, &end);
    finish(first, &end, true);
}

static wr_child *find_free(wr_child *children)
{
    for (int i = 0; i < options.jobs; i++) {
        if (!children[i].test) return &children[i];
    }
    return NULL;
}

static void run_all(void)
{
    static wr_child children[JOBS_MAX];
    for (const wr_test *test = first_test; test; test = test->next) {
        if (!selected(test, options.filter)) continue;
        if (test->disabled) {
            count.skipped++;
            printf("skipped  %s/%s: disabled\n", test->suite, test->name);
            continue;
        }
        wr_child *child;
        while (!(child = find_free(children))) await_one(children);
        if (wr_child_start(child, test)) {
            child->deadline_ms = wr_run_now_ms() + time_limit_ms(test);
        } else {
            count.failed++;
            child->test = NULL;
        }
    }
    for (int i = 0; i < options.jobs; i++) {
        while (children[i].test) await_one(children);
    }
    printf("summary: %zu passed, %zu failed, %zu skipped\n", count.passed, count.failed, count.skipped);
}

static void list_all(void)
{
    for (const wr_test *test = first_test; test; test = test->next) {
        if (selected(test, options.filter)) printf("%s/%s\n", test->suite, test->name);
    }
}

static void run_here(const char *full_name)
{
    for (const wr_test *test = first_test; test; test = test->next) {
        if (selected(test, full_name)) wr_test_run(test);
    }
    fprintf(stderr, "no test %s\n", full_name);
    exit(2);
}

__attribute__((noreturn)) static void usage(const char *program, int status)
{
    fprintf(status ? stderr : stdout,
            "usage: %s [options]\n"
            "  --list           name the tests\n"
            "  --filter GLOB    only those whose suite/name matches\n"
            "  -j N             so many at once (1)\n"
            "  --timeout S      time limit, in seconds, of a test without its own (%d)\n"
            "  --run SUITE/NAME run one test in this very process, as for a debugger\n",
            program, WR_TEST_TIMEOUT_S);
    exit(status);
}

int main(int argc, char **argv)
{
    bool list = false;
    setvbuf(stdout, NULL, _IOLBF, 0); /* in order with stderr, and not lost when a test crashes */
    for (int i = 1; i < argc; i++) {
        const char *option = argv[i];
        if (strcmp(option, "--help") == 0) usage(argv[0], 0);
        if (strcmp(option, "--list") == 0) {
            list = true;
            continue;
        }
        if (strncmp(option, "-j", 2) == 0 && option[2]) { /* -j2, as Criterion takes it */
            options.jobs = atoi(option + 2);
            continue;
        }
        if (++i == argc) usage(argv[0], 2);
        if (strcmp(option, "--filter") == 0) {
            options.filter = argv[i];
        } else if (strcmp(option, "-j") == 0) {
            options.jobs = atoi(argv[i]);
        } else if (strcmp(option, "--timeout") == 0) {
            options.timeout_s = atof(argv[i]);
        } else if (strcmp(option, "--run") == 0) {
            run_here(argv[i]);
        } else {
            usage(argv[0], 2);
        }
    }
    if (options.jobs < 1 || options.jobs > JOBS_MAX || options.timeout_s <= 0) usage(argv[0], 2);
    if (list) {
        list_all();
    } else {
        run_all();
    }
    return count.failed ? 1 : 0;
}
