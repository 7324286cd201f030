// SPDX-License-Identifier: Apache-2.0
#include "base/buffer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void assert_holds(const struct mst_buffer *buffer, const char *text)
{
    assert_int_equal(buffer->length, strlen(text));
    assert_memory_equal(buffer->data, text, buffer->length);
}

static void appends_of_every_kind(void **state)
{
    (void)state;
    struct mst_buffer buffer = {0};
    mst_buffer_append(&buffer, "ab", 2);
    mst_buffer_append(&buffer, NULL, 0);
    mst_buffer_append_byte(&buffer, 'c');
    mst_buffer_append_string(&buffer, "de");
    mst_buffer_append_u64(&buffer, 0);
    mst_buffer_append_u64(&buffer, UINT64_MAX);
    mst_buffer_appendf(&buffer, "<%d>", -5);
    assert_false(buffer.failed);
    assert_holds(&buffer, "abcde018446744073709551615<-5>");
    mst_buffer_deinit(&buffer);
    assert_null(buffer.data);
}

/* Every length, the places where the parts of a number meet, and random numbers of all sizes, beside printf. */
static void numbers_are_written_as_printf_does(void **state)
{
    (void)state;
    char text[MST_U64_ROOM], expected[32];
    uint64_t random = 42, powers = 1;
    for (int i = 0; i < 300000; i++) {
        uint64_t number = random >> random % 64;
        if (i < 20 * 5) {
            number = powers * (uint64_t)(1 + i % 5) + (uint64_t)(i % 3) - 1;
            powers *= i % 5 == 4 ? 10 : 1;
        } else if (i < 150000) {
            number = (uint64_t)i - 20 * 5;
        }
        random = random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
        random ^= random >> 29;
        memset(text, 'x', sizeof text);
        int length = snprintf(expected, sizeof expected, "%llu", (unsigned long long)number);
        assert_ptr_equal(mst_u64_write(text, number), text + length);
        assert_memory_equal(text, expected, (size_t)length);
    }
}

static void a_number_at_the_limit_needs_no_more_than_its_digits(void **state)
{
    (void)state;
    struct mst_buffer buffer = {.limit = 20};
    mst_buffer_append_u64(&buffer, UINT64_MAX);
    assert_false(buffer.failed);
    assert_holds(&buffer, "18446744073709551615");
    mst_buffer_append_u64(&buffer, 7);
    assert_true(buffer.failed);
    mst_buffer_deinit(&buffer);
}

static void a_long_format_is_written_whole(void **state)
{
    (void)state;
    struct mst_buffer buffer = {0};
    char text[5000];
    memset(text, 'y', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    for (int length = 100; length < 4999; length += 97) {
        mst_buffer_clear(&buffer);
        mst_buffer_appendf(&buffer, "%.*s", length, text);
        assert_int_equal(buffer.length, length);
        assert_memory_equal(buffer.data, text, buffer.length);
    }
    mst_buffer_deinit(&buffer);
}

static void the_limit_is_exact_and_a_failure_sticks(void **state)
{
    (void)state;
    struct mst_buffer buffer = {.limit = 200};
    for (int i = 0; i < 200; i++)
        mst_buffer_append_byte(&buffer, 'x');
    assert_false(buffer.failed);
    assert_int_equal(buffer.length, 200);
    mst_buffer_append_byte(&buffer, 'y');
    assert_true(buffer.failed);
    assert_int_equal(buffer.length, 200);
    mst_buffer_consume(&buffer, 100);
    mst_buffer_append_byte(&buffer, 'z');
    assert_int_equal(buffer.length, 100);
    mst_buffer_clear(&buffer);
    assert_false(buffer.failed);
    mst_buffer_appendf(&buffer, "%0200d", 1);
    assert_false(buffer.failed);
    assert_int_equal(buffer.length, 200);
    mst_buffer_clear(&buffer);
    mst_buffer_appendf(&buffer, "%0201d", 1);
    assert_true(buffer.failed);
    assert_int_equal(buffer.length, 0);
    mst_buffer_deinit(&buffer);
}

static void a_limit_set_later_holds_too(void **state)
{
    (void)state;
    struct mst_buffer buffer = {0};
    assert_true(mst_buffer_reserve(&buffer, 1000));
    mst_buffer_append(&buffer, "0123456789", 10);
    buffer.limit = 5;
    mst_buffer_append_byte(&buffer, 'x');
    assert_true(buffer.failed);
    assert_int_equal(buffer.length, 10);
    mst_buffer_deinit(&buffer);
}

static void an_impossible_size_fails_cleanly(void **state)
{
    (void)state;
    struct mst_buffer buffer = {0};
    mst_buffer_append(&buffer, "abc", 3);
    assert_false(mst_buffer_reserve(&buffer, SIZE_MAX));
    assert_true(buffer.failed);
    assert_holds(&buffer, "abc");
    mst_buffer_deinit(&buffer);
}

static void consume_takes_from_the_front(void **state)
{
    (void)state;
    struct mst_buffer buffer = {0};
    mst_buffer_append_string(&buffer, "abcdef");
    mst_buffer_consume(&buffer, 2);
    assert_holds(&buffer, "cdef");
    mst_buffer_consume(&buffer, 0);
    assert_holds(&buffer, "cdef");
    mst_buffer_consume(&buffer, 9);
    assert_int_equal(buffer.length, 0);
    mst_buffer_deinit(&buffer);
}

static void take_leaves_an_empty_buffer(void **state)
{
    (void)state;
    struct mst_buffer buffer = {.limit = 10};
    mst_buffer_append_string(&buffer, "abc");
    size_t length;
    char *data = mst_buffer_take(&buffer, &length);
    assert_int_equal(length, 3);
    assert_memory_equal(data, "abc", 3);
    free(data);
    assert_int_equal(buffer.length, 0);
    mst_buffer_append_string(&buffer, "0123456789");
    assert_false(buffer.failed);
    assert_holds(&buffer, "0123456789");
    mst_buffer_deinit(&buffer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(appends_of_every_kind),
        cmocka_unit_test(numbers_are_written_as_printf_does),
        cmocka_unit_test(a_number_at_the_limit_needs_no_more_than_its_digits),
        cmocka_unit_test(a_long_format_is_written_whole),
        cmocka_unit_test(the_limit_is_exact_and_a_failure_sticks),
        cmocka_unit_test(a_limit_set_later_holds_too),
        cmocka_unit_test(an_impossible_size_fails_cleanly),
        cmocka_unit_test(consume_takes_from_the_front),
        cmocka_unit_test(take_leaves_an_empty_buffer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
