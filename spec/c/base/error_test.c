// SPDX-License-Identifier: Apache-2.0
#include "base/error.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static void codes_and_names_are_each_others_reverse(void **state)
{
    (void)state;
#define MST_X(code, number, name, class_, text)         \
    assert_string_equal(mst_error_name(code), name);    \
    assert_int_equal(mst_error_code(name), number);     \
    assert_string_equal(mst_error_class(code), class_); \
    assert_string_equal(mst_error_text(code), text);
    MST_ERRORS(MST_X)
#undef MST_X
    assert_string_equal(mst_error_name(-9999), "EINTERNAL");
    assert_string_equal(mst_error_name(0), "EINTERNAL");
    assert_int_equal(mst_error_code("ENONE"), MST_EINTERNAL);
}

static void set_returns_the_code_and_clears_what_was_there(void **state)
{
    (void)state;
    struct mst_error error;
    memset(&error, 0x5A, sizeof error);
    assert_int_equal(mst_error_set(&error, MST_ERANGE, "%d is too large", 7), MST_ERANGE);
    assert_int_equal(error.code, MST_ERANGE);
    assert_string_equal(error.message, "7 is too large");
    assert_int_equal(error.has_position, 0);
    assert_string_equal(error.hint, "");
    mst_error_hint(&error, "use at most %d", 5);
    assert_string_equal(error.hint, "use at most 5");
    assert_int_equal(mst_error_set(NULL, MST_EBUSY, "x"), MST_EBUSY);
    mst_error_hint(NULL, "x");
    mst_error_at(NULL, "x", 1, 0);
}

static void a_long_message_is_cut_at_a_code_point(void **state)
{
    (void)state;
    char text[600];
    for (size_t shift = 0; shift < 4; shift++) {
        memset(text, 'x', shift);
        for (size_t i = shift; i + 4 < sizeof text; i += 3)
            memcpy(text + i, "\xE2\x82\xAC", 4);
        struct mst_error error;
        mst_error_set(&error, MST_EINVAL, "%s", text);
        size_t length = strlen(error.message);
        assert_true(length <= 399 && length >= 397);
        assert_int_equal((length - shift) % 3, 0);
        assert_memory_equal(error.message, text, length);
    }
}

static void a_message_stays_one_line_of_utf8(void **state)
{
    (void)state;
    struct mst_error error;
    mst_error_set(&error, MST_EINVAL,
                  "a\nb\x01"
                  "c\x7F"
                  "d\xFF"
                  "e\xC3");
    assert_string_equal(error.message, "a b?c?d?e?");
}

static void a_position_counts_lines_and_code_points(void **state)
{
    (void)state;
    const char text[] = "ab\n\xC3\xA4\xE2\x82\xAC"
                        "c";
    struct mst_error error;
    mst_error_set(&error, MST_EINVAL, "x");
    mst_error_at(&error, text, sizeof text - 1, 8);
    assert_int_equal(error.has_position, 1);
    assert_int_equal(error.line, 2);
    assert_int_equal(error.column, 3);
    assert_int_equal(error.offset, 8);
    mst_error_at(&error, text, sizeof text - 1, 0);
    assert_int_equal(error.line, 1);
    assert_int_equal(error.column, 1);
    mst_error_at(&error, text, sizeof text - 1, 1000);
    assert_int_equal(error.offset, 9);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(codes_and_names_are_each_others_reverse),
        cmocka_unit_test(set_returns_the_code_and_clears_what_was_there),
        cmocka_unit_test(a_long_message_is_cut_at_a_code_point),
        cmocka_unit_test(a_message_stays_one_line_of_utf8),
        cmocka_unit_test(a_position_counts_lines_and_code_points),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
