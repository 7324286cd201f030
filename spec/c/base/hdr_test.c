// SPDX-License-Identifier: Apache-2.0
#include "base/hdr.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#define HIGHEST UINT64_C(3600000000)

static uint64_t step(uint64_t *state)
{
    *state = *state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return *state;
}

/* Values spread over all magnitudes. */
static uint64_t spread(uint64_t *state)
{
    uint64_t shift = (step(state) >> 33) % 31, value = (step(state) >> 32) >> shift;
    return value < 1 ? 1 : value > HIGHEST ? HIGHEST : value;
}

static void an_empty_histogram_says_nothing(void **state)
{
    (void)state;
    struct mst_hdr *hdr = mst_hdr_create();
    assert_int_equal(mst_hdr_count(hdr), 0);
    assert_int_equal(mst_hdr_min(hdr), 0);
    assert_int_equal(mst_hdr_max(hdr), 0);
    assert_true(mst_hdr_mean(hdr) == 0);
    assert_int_equal(mst_hdr_percentile(hdr, 50), 0);
    mst_hdr_destroy(hdr);
}

/* Figures of hdr-histogram-js 3.0.1 (1 to 3.6e9, 3 digits, 64-bit counts) for the same 100,000 values. */
static void agrees_with_another_implementation(void **state)
{
    (void)state;
    static const struct {
        double percentile;
        uint64_t value;
    } expected[] = {{0.1, 1},
                    {1, 1},
                    {5, 3},
                    {10, 8},
                    {25, 224},
                    {33.3, 1384},
                    {50, 49311},
                    {75, 10428415},
                    {90, 260571135},
                    {95, 887619583},
                    {99, 2900361215},
                    {99.9, 3600809983},
                    {99.99, 3600809983},
                    {100, 3600809983}};
    struct mst_hdr *hdr = mst_hdr_create();
    uint64_t random = 12345;
    for (int i = 0; i < 100000; i++)
        mst_hdr_record(hdr, spread(&random));
    for (size_t i = 0; i < sizeof expected / sizeof expected[0]; i++) {
        uint64_t value = expected[i].value > HIGHEST ? HIGHEST : expected[i].value; /* ours never pass the maximum */
        assert_int_equal(mst_hdr_percentile(hdr, expected[i].percentile), value);
    }
    assert_int_equal(mst_hdr_max(hdr), HIGHEST);
    mst_hdr_destroy(hdr);
}

static void ranks_round_up(void **state)
{
    (void)state;
    static const uint64_t values[] = {1, 2, 3, 4, 2047, 2048, 2049, 4095, 4096, 10007, 1000003, 3599999999};
    static const struct {
        double percentile;
        uint64_t value;
    } expected[] = {{0, 1},       {5, 1},     {10, 2},         {25, 3},          {37.5, 2047},     {50, 2049},
                    {62.5, 4095}, {75, 4099}, {87.5, 1000447}, {95, 3599999999}, {100, 3599999999}};
    struct mst_hdr *hdr = mst_hdr_create();
    for (size_t i = 0; i < sizeof values / sizeof values[0]; i++)
        mst_hdr_record(hdr, values[i]);
    for (size_t i = 0; i < sizeof expected / sizeof expected[0]; i++)
        assert_int_equal(mst_hdr_percentile(hdr, expected[i].percentile), expected[i].value);
    mst_hdr_destroy(hdr);
}

/* 0.07 * 100 is a little more than 7 in binary. */
static void a_whole_rank_is_not_passed(void **state)
{
    (void)state;
    struct mst_hdr *hdr = mst_hdr_create();
    for (uint64_t value = 1; value <= 1000; value++)
        mst_hdr_record(hdr, value);
    for (uint64_t rank = 1; rank <= 1000; rank++)
        assert_int_equal(mst_hdr_percentile(hdr, (double)rank / 10), rank);
    mst_hdr_destroy(hdr);
}

/* Whatever the value, what comes back is at most a thousandth above it and never below. */
static void three_digits_everywhere(void **state)
{
    (void)state;
    struct mst_hdr *hdr = mst_hdr_create();
    for (uint64_t value = 1; value <= HIGHEST; value += 1 + value / 997) {
        mst_hdr_reset(hdr);
        mst_hdr_record(hdr, value);
        mst_hdr_record(hdr, HIGHEST);
        uint64_t got = mst_hdr_percentile(hdr, 50);
        assert_true(got >= value && got - value <= value / 1000);
        value += value < 2048 ? 0 : 7;
        if (value > 3000000) /* a reset costs; the layout repeats */
            value += value / 20;
    }
    mst_hdr_destroy(hdr);
}

static void bounds_zero_and_clipping(void **state)
{
    (void)state;
    struct mst_hdr *hdr = mst_hdr_create();
    mst_hdr_record(hdr, 0);
    assert_int_equal(mst_hdr_percentile(hdr, 100), 0);
    assert_int_equal(mst_hdr_min(hdr), 0);
    mst_hdr_record(hdr, HIGHEST);
    assert_int_equal(mst_hdr_clipped(hdr), 0);
    mst_hdr_record(hdr, HIGHEST + 1);
    mst_hdr_record(hdr, UINT64_MAX);
    assert_int_equal(mst_hdr_clipped(hdr), 2);
    assert_int_equal(mst_hdr_max(hdr), HIGHEST);
    assert_int_equal(mst_hdr_count(hdr), 4);
    assert_int_equal(mst_hdr_percentile(hdr, 25), 0);
    assert_int_equal(mst_hdr_percentile(hdr, 1000), HIGHEST);
    assert_int_equal(mst_hdr_percentile(hdr, -1), 0);
    assert_true(mst_hdr_mean(hdr) == 2700000000.0);
    mst_hdr_reset(hdr);
    assert_int_equal(mst_hdr_clipped(hdr), 0);
    mst_hdr_destroy(hdr);
}

static void adding_equals_recording_in_one(void **state)
{
    (void)state;
    struct mst_hdr *one = mst_hdr_create(), *left = mst_hdr_create(), *right = mst_hdr_create();
    uint64_t random = 99;
    for (int i = 0; i < 10000; i++) {
        uint64_t value = spread(&random);
        mst_hdr_record(one, value);
        mst_hdr_record(i % 3 ? left : right, value);
    }
    mst_hdr_add(left, right);
    for (double percentile = 0; percentile <= 100; percentile += 0.5)
        assert_int_equal(mst_hdr_percentile(left, percentile), mst_hdr_percentile(one, percentile));
    assert_int_equal(mst_hdr_count(left), 10000);
    assert_int_equal(mst_hdr_min(left), mst_hdr_min(one));
    assert_int_equal(mst_hdr_max(left), mst_hdr_max(one));
    assert_true(mst_hdr_mean(left) == mst_hdr_mean(one));
    mst_hdr_reset(right);
    mst_hdr_add(left, right);
    assert_int_equal(mst_hdr_min(left), mst_hdr_min(one));
    mst_hdr_destroy(one);
    mst_hdr_destroy(left);
    mst_hdr_destroy(right);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_empty_histogram_says_nothing),
        cmocka_unit_test(agrees_with_another_implementation),
        cmocka_unit_test(ranks_round_up),
        cmocka_unit_test(a_whole_rank_is_not_passed),
        cmocka_unit_test(three_digits_everywhere),
        cmocka_unit_test(bounds_zero_and_clipping),
        cmocka_unit_test(adding_equals_recording_in_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
