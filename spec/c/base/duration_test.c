// SPDX-License-Identifier: Apache-2.0
#include "base/duration.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/error.h"

static void durations_that_are_good(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        uint64_t nanoseconds;
    } cases[] = {
        {"90", UINT64_C(90000000000)},
        {"0.5", 500000000},
        {"0", 0},
        {"1h30m", UINT64_C(5400000000000)},
        {"30m1h", UINT64_C(5400000000000)},
        {"250ms", 250000000},
        {"1m1m", UINT64_C(120000000000)},
        {"1.5us", 1500},
        {"0.1ns", 0},
        {"7ns", 7},
        {"1d", UINT64_C(86400000000000)},
        {"2w", UINT64_C(1209600000000000)},
        {"0.000000001", 1},
        {"0.0000000019999999999999999999999999", 1},
        {"9223372036.854775807", INT64_MAX},
        {"9223372036854775807ns", INT64_MAX},
        {"000000000000000000000000000000000000001s", 1000000000},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        uint64_t nanoseconds = 1;
        assert_int_equal(mst_duration_parse(cases[i].text, strlen(cases[i].text), &nanoseconds), 0);
        assert_int_equal(nanoseconds, cases[i].nanoseconds);
    }
}

static void durations_that_are_not(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int code;
    } cases[] = {
        {"", MST_EINVAL},
        {"s", MST_EINVAL},
        {"1x", MST_EINVAL},
        {"1 s", MST_EINVAL},
        {" 1", MST_EINVAL},
        {"1.", MST_EINVAL},
        {".5", MST_EINVAL},
        {"1h30", MST_EINVAL},
        {"0s5", MST_EINVAL},
        {"1S", MST_EINVAL},
        {"1e3", MST_EINVAL},
        {"--1", MST_EINVAL},
        {"-", MST_EINVAL},
        {"+1", MST_EINVAL},
        {"-5s", MST_ERANGE},
        {"293w", 0},
        {"15251w", MST_ERANGE},
        {"9223372036854775808ns", MST_ERANGE},
        {"9223372036.854775808", MST_ERANGE},
        {"9999999999999999999999999999999999999999999.5w", MST_ERANGE},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        uint64_t nanoseconds = 77;
        assert_int_equal(mst_duration_parse(cases[i].text, strlen(cases[i].text), &nanoseconds), cases[i].code);
        if (cases[i].code)
            assert_int_equal(nanoseconds, 77);
    }
}

static void times_that_are_good(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int64_t microseconds;
    } cases[] = {
        {"1970-01-01", 0},
        {"1970-01-01T00:00:00Z", 0},
        {"2025-10-09T12:00:00Z", INT64_C(1760011200000000)},
        {"2025-10-09", INT64_C(1759968000000000)},
        {"2025-10-09t14:00:00.5+02:00", INT64_C(1760011200500000)},
        {"2025-10-09T06:30:00-05:30", INT64_C(1760011200000000)},
        {"1969-12-31T23:59:59.999999Z", -1},
        {"2000-02-29T00:00:00z", INT64_C(951782400000000)},
        {"1970-01-01T00:00:00.1234567890123Z", 123456},
        {"0000-03-01", INT64_C(-62162035200000000)},
        {"9999-12-31T23:59:59Z", INT64_C(253402300799000000)},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        int64_t microseconds = 1;
        assert_int_equal(mst_time_parse(cases[i].text, strlen(cases[i].text), &microseconds), 0);
        assert_int_equal(microseconds, cases[i].microseconds);
    }
}

static void times_that_are_not(void **state)
{
    (void)state;
    static const char *const cases[] = {"",
                                        "2025",
                                        "2025-10",
                                        "2025-1-9",
                                        "2025-13-01",
                                        "2025-00-01",
                                        "2025-02-29",
                                        "1900-02-29",
                                        "2025-04-31",
                                        "2025-10-09T",
                                        "2025-10-09T12:00Z",
                                        "2025-10-09T12:00:00",
                                        "2025-10-09T24:00:00Z",
                                        "2025-10-09T12:60:00Z",
                                        "2016-12-31T23:59:60Z",
                                        "2025-10-09T12:00:00.Z",
                                        "2025-10-09T12:00:00Zx",
                                        "2025-10-09 ",
                                        "2025-10-09T12:00:00+2",
                                        "2025-10-09T12:00:00+02:60",
                                        "2025-10-09T12:00:00+24:00",
                                        "-025-10-09",
                                        "2025-10-09T12:00:00,5Z"};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        int64_t microseconds;
        assert_int_equal(mst_time_parse(cases[i], strlen(cases[i]), &microseconds), MST_EINVAL);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(durations_that_are_good),
        cmocka_unit_test(durations_that_are_not),
        cmocka_unit_test(times_that_are_good),
        cmocka_unit_test(times_that_are_not),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
