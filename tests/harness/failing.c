/* Tests that end in each possible way: harness_test.c runs this program and looks at what the runner says. */
#include <stdlib.h>

#include "harness/weir_test.h"

static volatile int three = 3;

Test(failing, passes)
{
    cr_assert_eq(three, 3);
}

Test(failing, fails_an_assertion)
{
    cr_assert_eq(three, 4, "three is %d", three);
    exit(0); /* not reached */
}

Test(failing, fails_an_expectation_and_goes_on)
{
    cr_expect_eq(three, 4);
    cr_skip_test("reached, and still failed");
}

Test(failing, crashes)
{
    abort();
}

Test(failing, exits)
{
    exit(three);
}

Test(failing, passes_its_time_limit, .timeout = 0.2)
{
    while (three) continue;
}

Test(failing, skips_itself)
{
    cr_skip_test("for %d reasons", three);
}

Test(failing, is_disabled, .disabled = true)
{
    cr_assert_fail("it ran");
}
