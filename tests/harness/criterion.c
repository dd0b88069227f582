/* Criterion's runner with weir's default time limit, and with the own harness's last line, which tests/run adds up. */
#include <criterion/criterion.h>
#include <criterion/hooks.h>
#include <stdio.h>

#include "harness/weir_test.h"

/* Criterion itself names a skipped test only when asked to be verbose. One without a message is disabled, by the test
 * or by --filter: those do not count. */
static size_t report_skipped(const struct criterion_global_stats *stats)
{
    size_t skipped = 0;
    for (const struct criterion_suite_stats *suite = stats->suites; suite; suite = suite->next) {
        for (const struct criterion_test_stats *test = suite->tests; test; test = test->next) {
            if (test->test_status != CR_STATUS_SKIPPED || (!test->message && criterion_options.pattern)) continue;
            skipped++;
            printf("skipped  %s/%s: %s\n", test->test->category, test->test->name,
                   test->message ? test->message : "disabled");
        }
    }
    return skipped;
}

ReportHook(POST_ALL)(struct criterion_global_stats *stats)
{
    size_t skipped = report_skipped(stats);
    printf("summary: %zu passed, %zu failed, %zu skipped\n", stats->tests_passed, stats->tests_failed, skipped);
}

/* By hand, because Criterion 2.4.1 ignores criterion_options.timeout, and so its --timeout. */
static void limit_time(struct criterion_test_set *tests)
{
    FOREACH_SET (struct criterion_suite_set *suite, tests->suites) {
        FOREACH_SET (struct criterion_test *test, suite->tests) {
            if (test->data->timeout <= 0) test->data->timeout = WR_TEST_TIMEOUT_S;
        }
    }
}

int main(int argc, char **argv)
{
    struct criterion_test_set *tests = criterion_initialize();
    limit_time(tests);
    int status = 0;
    if (criterion_handle_args(argc, argv, true)) status = criterion_run_all_tests(tests) ? 0 : 1;
    criterion_finalize(tests);
    return status;
}
