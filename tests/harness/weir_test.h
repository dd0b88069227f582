/* What every test file includes: Criterion, or a small harness with the same macros where Criterion cannot go.
 *
 * Criterion crashes under ThreadSanitizer, hides the leaks that AddressSanitizer finds (it prints them and counts the
 * test as passed), and does not exist for mingw-w64. WEIR_OWN_HARNESS chooses the own one; tests/CMakeLists.txt defines
 * it for those builds. Both run each test in a process of its own, under a time limit.
 *
 * Common to both: Test(suite, name, .timeout, .init, .fini, .disabled, .description), cr_skip_test(reason), and
 * cr_assert_X (ends the test) and cr_expect_X (goes on) for X: nothing, not, eq, neq, lt, leq, gt, geq, null, not_null,
 * str_eq, str_neq, arr_eq, arr_neq (with a size in bytes), fail; each takes a printf message after its arguments. */
#ifndef WEIR_TEST_H
#define WEIR_TEST_H

#ifdef WEIR_OWN_HARNESS
#include "harness/own.h"
#else
#include <criterion/criterion.h>
#endif

#define WR_TEST_TIMEOUT_S 30 /* for a test without .timeout */

#endif
