// SPDX-License-Identifier: Apache-2.0
#include "model/value.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "model/json.h"

static struct mst_json_parser *parser;
static struct mst_buffer kept; /* values that json() made; freed after each test */

static int setup(void **state)
{
    (void)state;
    parser = mst_json_parser_create();
    return mst_buffer_reserve(&kept, 1 << 16) ? 0 : -1; /* so that it never moves */
}

static int teardown(void **state)
{
    (void)state;
    mst_json_parser_destroy(parser);
    mst_buffer_deinit(&kept);
    return 0;
}

static const uint8_t *json(const char *text)
{
    static const struct mst_json_limits limits = {.bytes = 4096, .depth = 32};
    size_t start = kept.length;
    assert_true(kept.capacity - kept.length > 16 * strlen(text));
    assert_int_equal(mst_json_parse(parser, text, strlen(text), &limits, &kept, NULL), 0);
    return (const uint8_t *)kept.data + start;
}

static void the_layout_is_the_documented_one(void **state)
{
    (void)state;
    static const uint8_t expected[] = {
        7, 38, 0, 0, 0,   2,   0,    0,    0,                                  /* object, 38 bytes, 2 members */
        1, 0,  0, 0, 'a', 3,   0xFE, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, /* "a": -2 */
        2, 0,  0, 0, 'b', 'c', 6,    9,    0,    0,    0,    4,    0,    0,
        0, 0,  1, 2, 5,   1,   0,    0,    0,    'x', /* "bc": [null,false,true,"x"] */
    };
    const uint8_t *value = json("{\"bc\":[null,false,true,\"x\"],\"a\":-2}");
    assert_int_equal(mst_value_size(value), sizeof expected);
    assert_memory_equal(value, expected, sizeof expected);
}

static void reading_what_was_written(void **state)
{
    (void)state;
    const uint8_t *value = json("{\"d\":-2.5,\"i\":9007199254740993,\"l\":[1,\"two\",{}],\"s\":\"h\\u00e9\"}");
    assert_int_equal(mst_value_count(value), 4);
    assert_true(mst_value_double(mst_value_get(value, "d", 1)) == -2.5);
    assert_true(mst_value_int(mst_value_get(value, "i", 1)) == INT64_C(9007199254740993));
    assert_true(mst_value_double(mst_value_get(value, "i", 1)) == 9007199254740992.0);
    size_t length;
    assert_memory_equal(mst_value_string(mst_value_get(value, "s", 1), &length), "h\xC3\xA9", 3);
    assert_int_equal(length, 3);
    const uint8_t *list = mst_value_get(value, "l", 1);
    assert_int_equal(mst_value_int(mst_value_at(list, 0)), 1);
    assert_int_equal(mst_value_tag(mst_value_at(list, 2)), MST_OBJECT);
    assert_null(mst_value_at(list, 3));
    assert_null(mst_value_at(list, UINT32_MAX));
    assert_null(mst_value_at(value, 0));
    assert_null(mst_value_get(value, "x", 1));
    assert_null(mst_value_get(value, "ii", 2));
    assert_null(mst_value_get(list, "d", 1));
    assert_null(mst_value_at(json("[]"), 0));
}

static void walks_visit_all_in_order(void **state)
{
    (void)state;
    const uint8_t *position = NULL, *element;
    int64_t expected = 1;
    for (const uint8_t *list = json("[1,2,3]"); mst_value_next(list, &position, &element); expected++)
        assert_int_equal(mst_value_int(element), expected);
    assert_int_equal(expected, 4);
    const char *key, *keys = "abc";
    size_t length;
    position = NULL;
    for (const uint8_t *object = json("{\"c\":0,\"a\":0,\"b\":0}");
         mst_value_next_member(object, &position, &key, &length, &element);)
        assert_int_equal(*key, *keys++);
    assert_int_equal(*keys, '\0');
    position = NULL;
    assert_false(mst_value_next(json("[]"), &position, &element));
    assert_false(mst_value_next_member(json("{}"), &position, &key, &length, &element));
}

static void keys_sort_by_their_bytes(void **state)
{
    (void)state;
    const uint8_t *object = json("{\"\\u00e4\":1,\"z\":2,\"\":3,\"zz\":4,\"Z\":5,\"\\ud83d\\ude00\":6,\"\\uff5e\":7}");
    static const int64_t order[] = {3, 5, 2, 4, 1, 7, 6};
    const uint8_t *position = NULL, *element;
    const char *key;
    size_t length, i = 0;
    while (mst_value_next_member(object, &position, &key, &length, &element))
        assert_int_equal(mst_value_int(element), order[i++]);
    assert_int_equal(i, 7);
    assert_true(mst_value_verify(object, mst_value_size(object), 1));
}

/* Ascending; every pair is compared both ways. */
static void numbers_compare_by_mathematical_value(void **state)
{
    (void)state;
    static const char *const ascending[] = {"-1e300",
                                            "-9223372036854777856.0",
                                            "-9223372036854775808",
                                            "-9223372036854775807",
                                            "-9007199254740993",
                                            "-9007199254740992.0",
                                            "-1.5",
                                            "-1",
                                            "-0.5",
                                            "0",
                                            "5e-324",
                                            "0.5",
                                            "1",
                                            "1.5",
                                            "2",
                                            "9007199254740991",
                                            "9007199254740992.0",
                                            "9007199254740993",
                                            "9223372036854774784.0",
                                            "9223372036854775806",
                                            "9223372036854775807",
                                            "9223372036854775808.0",
                                            "9223372036854777856.0",
                                            "1e300"};
    size_t count = sizeof ascending / sizeof ascending[0];
    for (size_t i = 0; i < count; i++) {
        const uint8_t *left = json(ascending[i]);
        for (size_t j = 0; j < count; j++) {
            const uint8_t *right = json(ascending[j]);
            int expected = (i > j) - (i < j);
            assert_int_equal(mst_value_compare_numbers(left, right), expected);
            assert_int_equal(mst_value_compare(left, right), expected);
            assert_int_equal(mst_value_equal(left, right), i == j);
            kept.length = (size_t)((const char *)right - kept.data);
        }
    }
    assert_int_equal(mst_value_compare_numbers(json("1"), json("1.0")), 0);
    assert_int_equal(mst_value_compare_numbers(json("0"), json("-0.0")), 0);
    assert_int_equal(mst_value_compare_numbers(json("-9223372036854775808"), json("-9223372036854775808.0")), 0);
}

static void the_total_order_of_values(void **state)
{
    (void)state;
    static const char *const ascending[] = {"null", "false",  "true",         "-3",       "2.5",   "3",
                                            "\"\"", "\"a\"",  "\"a\\u0000\"", "\"aa\"",   "\"b\"", "\"\\u00e4\"",
                                            "[]",   "[null]", "{}",           "{\"a\":1}"};
    size_t count = sizeof ascending / sizeof ascending[0];
    for (size_t i = 0; i < count; i++)
        for (size_t j = 0; j < count; j++)
            assert_int_equal(mst_value_compare(json(ascending[i]), json(ascending[j])), (i > j) - (i < j));
}

static void equality_is_deep(void **state)
{
    (void)state;
    static const struct {
        const char *a, *b;
        bool equal;
    } cases[] = {
        {"[1,2]", "[1.0,2]", true},
        {"[1,2]", "[2,1]", false},
        {"[1]", "[1,2]", false},
        {"{\"a\":{\"b\":[1]},\"c\":0}", "{\"c\":-0.0,\"a\":{\"b\":[1.0]}}", true},
        {"{\"a\":1}", "{\"b\":1}", false},
        {"{\"a\":1}", "{\"a\":1,\"b\":1}", false},
        {"{\"a\":1}", "{\"aa\":1}", false},
        {"1", "\"1\"", false},
        {"1", "true", false},
        {"null", "null", true},
        {"null", "false", false},
        {"[]", "{}", false},
        {"\"a\"", "\"b\"", false},
        {"\"a\"", "\"a\"", true},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_int_equal(mst_value_equal(json(cases[i].a), json(cases[i].b)), cases[i].equal);
        assert_int_equal(mst_value_equal(json(cases[i].b), json(cases[i].a)), cases[i].equal);
    }
}

static void verify_takes_exactly_one_value(void **state)
{
    (void)state;
    const uint8_t *value = json("{\"a\":[1,2.5,{\"b\":\"x\"}],\"b\":null}");
    size_t size = mst_value_size(value);
    assert_true(mst_value_verify(value, size, 3));
    assert_false(mst_value_verify(value, size, 2));
    assert_false(mst_value_verify(value, size + 1, 3));
    for (size_t length = 0; length < size; length++)
        assert_false(mst_value_verify(value, length, 3));
    assert_true(mst_value_verify(json("1"), 9, 0));
    assert_false(mst_value_verify(json("[]"), 9, 0));
}

static void verify_refuses_what_no_writer_writes(void **state)
{
    (void)state;
    static const uint8_t infinite[] = {4, 0, 0, 0, 0, 0, 0, 0xF0, 0x7F}, bad_tag[] = {9},
                         bad_utf8[] = {5, 1, 0, 0, 0, 0xFF}, finals[] = {8, 0, 0, 0, 0, 0, 0, 0, 0},
                         huge_count[] = {6, 1, 0, 0, 0, 0xFF, 0xFF, 0xFF, 0xFF, 0},
                         unsorted[] = {7, 12, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 'b', 0, 1, 0, 0, 0, 'a', 0},
                         twice[] = {7, 12, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 'a', 0, 1, 0, 0, 0, 'a', 0},
                         long_key[] = {7, 6, 0, 0, 0, 1, 0, 0, 0, 0xFF, 0xFF, 0xFF, 0xFF, 'a', 0};
    assert_false(mst_value_verify(infinite, sizeof infinite, 8));
    assert_false(mst_value_verify(bad_tag, sizeof bad_tag, 8));
    assert_false(mst_value_verify(bad_utf8, sizeof bad_utf8, 8));
    assert_false(mst_value_verify(finals, sizeof finals, 8));
    assert_false(mst_value_verify(huge_count, sizeof huge_count, 8));
    assert_false(mst_value_verify(unsorted, sizeof unsorted, 8));
    assert_false(mst_value_verify(twice, sizeof twice, 8));
    assert_false(mst_value_verify(long_key, sizeof long_key, 8));
}

/* Bytes changed at random in exact-sized memory: no read past it, and what passes can be walked and written. */
static void verify_survives_noise(void **state)
{
    (void)state;
    const uint8_t *value =
        json("{\"a\":[1,2.5,{\"b\":\"x\"},[]],\"b\":null,\"long key\":{\"z\":[true,false,\"yyy\"]}}");
    size_t size = mst_value_size(value);
    srand(3);
    for (int round = 0; round < 50000; round++) {
        size_t length = size - (size_t)(rand() % 4 == 0 ? rand() % (int)size : 0);
        uint8_t *copy = malloc(length);
        memcpy(copy, value, length);
        for (int i = rand() % 3; i >= 0; i--)
            copy[(size_t)rand() % length] = (uint8_t)(rand() % 3 ? rand() % 10 : rand());
        if (mst_value_verify(copy, length, 8)) {
            struct mst_buffer out = {0};
            mst_json_put_value(&out, copy);
            assert_false(out.failed);
            assert_true(mst_value_equal(copy, copy));
            mst_buffer_deinit(&out);
        }
        free(copy);
    }
}

static void writers_by_hand(void **state)
{
    (void)state;
    struct mst_buffer out = {0};
    size_t object = mst_value_begin(&out, MST_OBJECT);
    mst_value_put_key(&out, "a", 1);
    size_t list = mst_value_begin(&out, MST_ARRAY);
    mst_value_put_null(&out);
    mst_value_put_bool(&out, true);
    mst_value_put_int(&out, INT64_MIN);
    mst_value_put_double(&out, 0.1);
    mst_value_put_string(&out, "", 0);
    mst_value_end(&out, list, 5);
    mst_value_put_key(&out, "b", 1);
    mst_value_put_bool(&out, false);
    mst_value_end(&out, object, 2);
    const uint8_t *same = json("{\"a\":[null,true,-9223372036854775808,0.1,\"\"],\"b\":false}");
    assert_int_equal(out.length, mst_value_size(same));
    assert_memory_equal(out.data, same, out.length);
    mst_buffer_deinit(&out);
}

static void a_full_buffer_fails_and_stays_readable(void **state)
{
    (void)state;
    struct mst_buffer out = {.limit = 20};
    size_t list = mst_value_begin(&out, MST_ARRAY);
    mst_value_put_string(&out, "0123456789", 10);
    assert_true(out.failed);
    mst_value_end(&out, list, 1);
    assert_int_equal(out.length, 9);
    mst_buffer_deinit(&out);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(the_layout_is_the_documented_one),
        TEST(reading_what_was_written),
        TEST(walks_visit_all_in_order),
        TEST(keys_sort_by_their_bytes),
        TEST(numbers_compare_by_mathematical_value),
        TEST(the_total_order_of_values),
        TEST(equality_is_deep),
        TEST(verify_takes_exactly_one_value),
        TEST(verify_refuses_what_no_writer_writes),
        TEST(verify_survives_noise),
        TEST(writers_by_hand),
        TEST(a_full_buffer_fails_and_stays_readable),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
