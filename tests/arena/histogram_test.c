/* Percentiles out of buckets. */
#include "harness/weir_test.h"
#include "histogram.h"

Test(histogram, of_nothing_is_zero)
{
    static struct histogram h;
    cr_assert_eq(histogram_percentile(&h, 500), 0);
    cr_assert_eq(histogram_percentile(&h, 1000), 0);
}

Test(histogram, says_small_numbers_exactly)
{
    static struct histogram h;
    for (uint64_t i = 1; i <= 60; i++) histogram_add(&h, i);
    cr_assert_eq(histogram_percentile(&h, 500), 30);
    cr_assert_eq(histogram_percentile(&h, 900), 54);
    cr_assert_eq(histogram_percentile(&h, 1000), 60);
}

Test(histogram, is_at_most_a_32nd_too_high_and_never_too_low)
{
    for (uint64_t value = 1; value < UINT64_C(1) << 50; value += value / 7 + 1) {
        static struct histogram h;
        h = (struct histogram){ 0 };
        histogram_add(&h, value);
        histogram_add(&h, UINT64_C(1) << 55);
        uint64_t said = histogram_percentile(&h, 500);
        cr_assert_geq(said, value);
        cr_assert_leq(said - value, value / 32);
    }
}

Test(histogram, takes_the_largest_number_there_is)
{
    static struct histogram h;
    histogram_add(&h, UINT64_MAX);
    cr_assert_eq(histogram_percentile(&h, 1000), UINT64_MAX);
}

Test(histogram, adds_up)
{
    static struct histogram a, b;
    for (uint64_t i = 1; i <= 99; i++) histogram_add(&a, 10);
    histogram_add(&b, 5000);
    histogram_merge(&a, &b);
    cr_assert_eq(a.count, 100);
    cr_assert_eq(histogram_percentile(&a, 990), 10);
    cr_assert_eq(histogram_percentile(&a, 1000), 5000);
}
