/* The harness itself, the same for Criterion and for the own one. */
#define _POSIX_C_SOURCE 200809L /* popen */
#include <stdio.h>
#include <string.h>

#include "harness/weir_test.h"

static int value;

static void set_value(void)
{
    value = 7;
}

static void check_value(void)
{
    cr_assert_eq(value, 8);
}

Test(harness, runs_init_before_and_fini_after_the_test, .init = set_value, .fini = check_value, .timeout = 5)
{
    cr_assert_eq(value, 7);
    value++;
}

Test(harness, gives_each_test_its_own_process)
{
    cr_assert_eq(value, 0);
    value = 9;
}

Test(harness, gives_each_test_its_own_process_again)
{
    cr_assert_eq(value, 0);
    value = 9;
}

Test(harness, assertions_hold_for_what_is_true)
{
    const int one[] = { 1, 2 }, same[] = { 1, 2 }, other[] = { 1, 3 };
    const char *text = "text", *nothing = NULL;
    cr_assert(one[0] == 1);
    cr_assert(one[0] == 1, "with a message, %s and %d", text, one[1]);
    cr_assert_not(one[0] == 2);
    cr_assert_null(nothing);
    cr_assert_not_null(text);
    cr_assert_eq(one[0], 1);
    cr_assert_neq(one[0], 2);
    cr_assert_lt(one[0], 2);
    cr_assert_leq(one[0], 1);
    cr_assert_gt(one[1], 1);
    cr_assert_geq(one[1], 2);
    cr_assert_str_eq(text, "text");
    cr_assert_str_neq(text, "test");
    cr_assert_arr_eq(one, same, sizeof one);
    cr_assert_arr_neq(one, other, sizeof one);
}

Test(harness, expectations_hold_for_what_is_true)
{
    const int one[] = { 1, 2 }, same[] = { 1, 2 }, other[] = { 1, 3 };
    const char *text = "text", *nothing = NULL;
    cr_expect(one[0] == 1);
    cr_expect(one[0] == 1, "with a message, %s and %d", text, one[1]);
    cr_expect_not(one[0] == 2);
    cr_expect_null(nothing);
    cr_expect_not_null(text);
    cr_expect_eq(one[0], 1);
    cr_expect_neq(one[0], 2);
    cr_expect_lt(one[0], 2);
    cr_expect_leq(one[0], 1);
    cr_expect_gt(one[1], 1);
    cr_expect_geq(one[1], 2);
    cr_expect_str_eq(text, "text");
    cr_expect_str_neq(text, "test");
    cr_expect_arr_eq(one, same, sizeof one);
    cr_expect_arr_neq(one, other, sizeof one);
}

static FILE *run_failing(void)
{
#ifdef _WIN32
    char command[] = "\"" WR_FAILING_PROGRAM "\" -j2 2>&1";
    for (char *c = command; *c; c++) { /* a '/' would be an option to the shell */
        if (*c == '/') *c = '\\';
    }
    return _popen(command, "r");
#else
    /* Without the environment: Criterion in a child of Criterion takes it for its own worker. */
    return popen("env -i '" WR_FAILING_PROGRAM "' -j2 2>&1", "r");
#endif
}

/* The last line that begins with "summary: ". Returns the exit status. */
static int summary_of_failing(char summary[512])
{
    FILE *runner = run_failing();
    cr_assert_not_null(runner);
    char line[512];
    while (fgets(line, sizeof line, runner)) {
        if (strncmp(line, "summary: ", 9) == 0) memcpy(summary, line, sizeof line);
    }
    return pclose(runner);
}

Test(harness, counts_what_came_of_each_test)
{
    char summary[512] = "";
    int status = 0;
    /* Under load Wine's shell now and then starts nothing: a runner that said not one word did not run. */
    for (int tries = 0; tries < 3 && summary[0] == '\0'; tries++) status = summary_of_failing(summary);
    cr_assert_neq(status, 0, "the runner's exit status tells of failures");
    cr_assert_str_eq(summary, "summary: 1 passed, 5 failed, 2 skipped\n", "%s", summary);
}
