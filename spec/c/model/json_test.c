// SPDX-License-Identifier: Apache-2.0
#include "model/json.h"

#include <locale.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "model/json_scan.h"
#include "model/value.h"

static const struct mst_json_limits wide = {.bytes = 1 << 22, .depth = 128};
static struct mst_json_parser *parser;
static struct mst_buffer packed, out;

static int setup(void **state)
{
    (void)state;
    parser = mst_json_parser_create();
    return parser ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    mst_json_parser_destroy(parser);
    mst_buffer_deinit(&packed);
    mst_buffer_deinit(&out);
    return 0;
}

static int parse(const char *text, size_t length, const struct mst_json_limits *limits, struct mst_error *error)
{
    mst_buffer_clear(&packed);
    return mst_json_parse(parser, text, length, limits, &packed, error);
}

static void assert_out(const char *expected)
{
    assert_false(out.failed);
    mst_buffer_append_byte(&out, '\0');
    assert_string_equal(out.data, expected);
    mst_buffer_clear(&out);
}

/* Parses and writes again. */
static void check(const char *text, const char *expected)
{
    assert_int_equal(parse(text, strlen(text), &wide, NULL), 0);
    assert_true(mst_value_verify((const uint8_t *)packed.data, packed.length, 128));
    mst_json_put_value(&out, (const uint8_t *)packed.data);
    assert_out(expected);
}

static void good_texts_come_back(void **state)
{
    (void)state;
    check("null", "null");
    check(" \t\r\n[ true , false ] \n", "[true,false]");
    check("{}", "{}");
    check("[]", "[]");
    check("\"\"", "\"\"");
    check("{\"b\":{\"d\":1,\"c\":[{}]},\"a\":\"x\"}", "{\"a\":\"x\",\"b\":{\"c\":[{}],\"d\":1}}");
    check("\"\\u0041\\/\\\"\\\\\\b\\f\\n\\r\\t\\u0001\\u007f\"", "\"A/\\\"\\\\\\b\\f\\n\\r\\t\\u0001\x7F\"");
    check("\"\\ud83d\\ude00 \\u00e4\"", "\"\xF0\x9F\x98\x80 \xC3\xA4\"");
    check("{\"\":0,\"a\\u0000b\":1}", "{\"\":0,\"a\\u0000b\":1}");
}

static void numbers_keep_their_kind_and_value(void **state)
{
    (void)state;
    check("[0,-0,-1,9223372036854775807,-9223372036854775808]", "[0,0,-1,9223372036854775807,-9223372036854775808]");
    check("[9007199254740993]", "[9007199254740993]");
    check("[1.0,-0.0,1e2,5e-324,1.7976931348623157e308]",
          "[1.0,-0.0,100.0,4.94065645841247e-324,1.7976931348623157e+308]");
    check("[9223372036854775808,18446744073709551615]", "[9.223372036854776e+18,1.8446744073709552e+19]");
    check("1e-400", "0.0");
}

/* simdjson alone refuses these. */
static void integers_beyond_64_bits_are_doubles(void **state)
{
    (void)state;
    check("18446744073709551616", "1.8446744073709552e+19");
    check("-9223372036854775809", "-9.223372036854776e+18");
    check("[123456789012345678901234567890,1,\"123456789012345678901234567890\"]",
          "[1.2345678901234568e+29,1,\"123456789012345678901234567890\"]");
    check("{\"a\\\"99999999999999999999999\":-99999999999999999999999,\"b\":9.5e1}",
          "{\"a\\\"99999999999999999999999\":-1e+23,\"b\":95.0}");
    static char digits[400];
    memset(digits, '9', 399);
    struct mst_error error;
    assert_int_equal(parse(digits, 399, &wide, &error), MST_EJSON);
    assert_string_equal(error.message, "number is out of range");
    assert_int_equal(parse(digits, 300, &wide, &error), 0);
}

struct bad {
    const char *text;
    uint32_t offset;
    const char *message;
};

static void check_bad(const struct bad *cases, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct mst_error error;
        size_t length = strlen(cases[i].text);
        assert_int_equal(parse(cases[i].text, length, &wide, &error), MST_EJSON);
        assert_int_equal(error.code, MST_EJSON);
        assert_string_equal(error.message, cases[i].message);
        assert_int_equal(error.has_position, 1);
        assert_int_equal(error.offset, cases[i].offset);
        assert_int_equal(packed.length, 0);
        assert_false(packed.failed);
    }
}

static void bad_structure_is_refused_with_its_position(void **state)
{
    (void)state;
    static const struct bad cases[] = {
        {"", 0, "unexpected end of text"},
        {"  ", 2, "unexpected end of text"},
        {"{", 1, "unexpected end of text"},
        {"[1", 2, "unexpected end of text"},
        {"{\"a\"", 4, "unexpected end of text"},
        {"{\"a\":", 5, "unexpected end of text"},
        {"[1,]", 3, "unexpected \"]\", expected a value"},
        {"[,1]", 1, "unexpected \",\", expected a value"},
        {"{\"a\":1,}", 7, "unexpected \"}\", expected a key in double quotes"},
        {"{a:1}", 1, "unexpected \"a\", expected a key in double quotes"},
        {"{'a':1}", 1, "unexpected \"'\", expected a key in double quotes"},
        {"{1:1}", 1, "unexpected \"1\", expected a key in double quotes"},
        {"{\"a\" 1}", 5, "unexpected \"1\", expected \":\""},
        {"{\"a\"::1}", 5, "unexpected \":\", expected a value"},
        {"{\"a\":1 \"b\":2}", 7, "unexpected \"\\\"\", expected \",\" or \"}\""},
        {"[1 2]", 3, "unexpected \"2\", expected \",\" or \"]\""},
        {"[1}", 2, "unexpected \"}\", expected \",\" or \"]\""},
        {"{\"a\":1]", 6, "unexpected \"]\", expected \",\" or \"}\""},
        {"1 2", 2, "unexpected \"2\", expected the end of the text"},
        {"{} x", 3, "unexpected \"x\", expected the end of the text"},
        {"]", 0, "unexpected \"]\", expected a value"},
        {"nul", 0, "unexpected \"n\", expected a value"},
        {"True", 0, "unexpected \"T\", expected a value"},
        {"truex", 4, "unexpected \"x\", expected the end of the text"},
        {"NaN", 0, "unexpected \"N\", expected a value"},
        {"// x\n1", 0, "unexpected \"/\", expected a value"},
        {"\xEF\xBB\xBF{}", 0, "byte order mark is not allowed"},
        {"[\xC3\xA4]", 1, "unexpected \"\xC3\xA4\", expected a value"},
        {"[\x01]", 1, "unexpected byte 0x01, expected a value"},
        {"[\xFF]", 1, "invalid UTF-8"},
        {"1\f", 1, "unexpected byte 0x0C, expected the end of the text"},
    };
    check_bad(cases, sizeof cases / sizeof cases[0]);
}

static void bad_scalars_are_refused_with_their_position(void **state)
{
    (void)state;
    static const struct bad cases[] = {
        {"[\"abc]", 1, "string is not closed"},
        {"[\"a\\\"]", 1, "string is not closed"},
        {"\"a\nb\"", 2, "control character in a string must be escaped"},
        {"\"a\\x\"", 2, "invalid escape in a string"},
        {"\"\\u12g4\"", 1, "\"\\u\" needs four hexadecimal digits"},
        {"\"\\u12", 1, "\"\\u\" needs four hexadecimal digits"},
        {"\"\\ud800\"", 1, "lone surrogate in a string"},
        {"\"\\udc00\"", 1, "lone surrogate in a string"},
        {"\"\\ud800\\u0041\"", 1, "lone surrogate in a string"},
        {"\"\\ud800\\ud800\"", 1, "lone surrogate in a string"},
        {"\"a\xC0\x80\"", 2, "invalid UTF-8"},
        {"\"\xED\xA0\x80\"", 1, "invalid UTF-8"},
        {"\"\xE2\x82\"", 1, "invalid UTF-8"},
        {"{\"a\xFF\":1}", 3, "invalid UTF-8"},
        {"01", 0, "number has a leading zero"},
        {"-01", 0, "number has a leading zero"},
        {"-", 1, "unexpected end of text"},
        {"[-]", 2, "unexpected \"]\", expected a digit"},
        {"1.", 2, "unexpected end of text"},
        {"[1.e3]", 3, "unexpected \"e\", expected a digit"},
        {".5", 0, "unexpected \".\", expected a value"},
        {"+1", 0, "unexpected \"+\", expected a value"},
        {"1e", 2, "unexpected end of text"},
        {"[1e+]", 4, "unexpected \"]\", expected a digit"},
        {"0x10", 1, "unexpected \"x\", expected the end of the text"},
        {"[1,1e400]", 3, "number is out of range"},
        {"-1.5e999", 0, "number is out of range"},
        {"1a", 1, "unexpected \"a\", expected the end of the text"},
    };
    check_bad(cases, sizeof cases / sizeof cases[0]);
    struct mst_error error;
    assert_int_equal(parse("1\0", 2, &wide, &error), MST_EJSON);
    assert_int_equal(parse("\"a\0b\"", 5, &wide, &error), MST_EJSON);
    assert_int_equal(error.offset, 2);
}

static void positions_count_lines_and_columns(void **state)
{
    (void)state;
    const char *text = "{\n  \"\xC3\xA4\": 1,\n  \"\xC3\xB6\xE2\x82\xAC\": oops\n}";
    struct mst_error error;
    assert_int_equal(parse(text, strlen(text), &wide, &error), MST_EJSON);
    assert_int_equal(error.line, 3);
    assert_int_equal(error.column, 9);
    assert_int_equal(error.offset, strstr(text, "oops") - text);
}

static void duplicate_keys_are_refused(void **state)
{
    (void)state;
    static const struct bad cases[] = {
        {"{\"a\":1,\"a\":2}", 7, "duplicate key \"a\""},
        {"{\"a\":1,\"\\u0061\":2}", 7, "duplicate key \"a\""},
        {"{\"x\":{\"a\":[{\"b\":1}],\"c\":{\"a\":2},\"a\":3}}", 32, "duplicate key \"a\""},
        {"[{\"a\":1},{\"a\":1,\"b\":2,\"b\":3,\"a\":4}]", 22, "duplicate key \"b\""},
        {"{\"\":1,\"\":2}", 6, "duplicate key \"\""},
        {"{\"a\\nb\":1,\"a\\nb\":2}", 10, "duplicate key \"a\\nb\""},
        {"{\"n\":99999999999999999999,\"n\":2}", 26, "duplicate key \"n\""},
    };
    check_bad(cases, sizeof cases / sizeof cases[0]);
    check("[{\"a\":1},{\"a\":{\"a\":1}}]", "[{\"a\":1},{\"a\":{\"a\":1}}]");
}

static void limits_hold_at_their_edge(void **state)
{
    (void)state;
    struct mst_error error;
    struct mst_json_limits limits = {.bytes = 7, .depth = 2, .fields = 2};
    assert_int_equal(parse("[1,2,3]", 7, &limits, &error), 0);
    assert_int_equal(parse("[1,2,3 ]", 8, &limits, &error), MST_ETOOBIG);
    assert_string_equal(error.message, "text has 8 bytes; at most 7 are allowed");
    assert_int_equal(parse("[[]]", 4, &limits, &error), 0);
    assert_int_equal(parse("[[[]]]", 6, &limits, &error), MST_ETOOBIG);
    assert_string_equal(error.message, "nested deeper than 2 levels");
    assert_int_equal(error.offset, 2);
    limits.bytes = 100;
    assert_int_equal(parse("{\"a\":{\"b\":1}}", 13, &limits, &error), 0);
    assert_int_equal(parse("{\"a\":{\"b\":1},\"c\":2}", 19, &limits, &error), MST_ETOOBIG);
    assert_string_equal(error.message, "more than 2 fields");
    assert_int_equal(error.offset, 13);
    assert_int_equal(packed.length, 0);
    limits.depth = 0;
    assert_int_equal(parse("1", 1, &limits, &error), 0);
    assert_int_equal(parse("[]", 2, &limits, &error), MST_ETOOBIG);
}

static void deep_nesting_is_harmless(void **state)
{
    (void)state;
    static char text[400001];
    struct mst_error error;
    struct mst_json_limits limits = {.bytes = sizeof text, .depth = 1000000};
    memset(text, '[', 200000);
    memset(text + 200000, ']', 200000);
    assert_int_equal(parse(text, 400000, &limits, &error), MST_ETOOBIG);
    assert_string_equal(error.message, "nested deeper than 128 levels");
    assert_int_equal(error.offset, 128);
    assert_int_equal(parse(text + 200000 - 128, 256, &limits, &error), 0);
    assert_int_equal(parse(text + 200000 - 129, 258, &limits, &error), MST_ETOOBIG);
    assert_int_equal(parse(text, 400000 - 1, &limits, &error), MST_ETOOBIG);
}

static void output_is_appended_or_untouched(void **state)
{
    (void)state;
    struct mst_buffer small = {.limit = 20};
    struct mst_error error;
    mst_buffer_append_string(&small, "ab");
    assert_int_equal(mst_json_parse(parser, "[1,2,3]", 7, &wide, &small, &error), MST_ETOOBIG);
    assert_int_equal(small.length, 2);
    assert_false(small.failed);
    assert_int_equal(mst_json_parse(parser, "[1]", 3, &wide, &small, &error), 0);
    assert_int_equal(small.length, 20);
    mst_buffer_deinit(&small);
}

/* The parser and the scanner must agree about every text, however broken. */
static void parser_and_scanner_agree_on_noise(void **state)
{
    (void)state;
    static const char *const seeds[] = {
        "{\"a\":[1,-2.5e3,true,null,{\"b\":\"x\\u00e4\\n\"}],\"c\":{\"d\":false},\"e\":\"\xC3\xA4\xF0\x9F\x98\x80\"}",
        "[0.1,12345678901234567890,[[[\"\\ud83d\\ude00\"]]],{\"k\":\"v\",\"l\":\"\"}]",
    };
    static const char alphabet[] = "{}[]\",:\\u01e-+.tfn \n\xC3\xA4\x80\xED";
    srand(11);
    for (int round = 0; round < 60000; round++) {
        char text[160];
        size_t length = strlen(seeds[round % 2]);
        memcpy(text, seeds[round % 2], length);
        for (int i = rand() % 3; i >= 0; i--) {
            size_t at = (size_t)rand() % length;
            if (rand() % 3 == 0) {
                memmove(text + at, text + at + 1, --length - at);
            } else {
                char byte = alphabet[(size_t)rand() % (sizeof alphabet - 1)];
                text[at] = byte;
            }
        }
        struct mst_error error = {0};
        int status = parse(text, length, &wide, &error);
        int scanned = mst__json_diagnose(text, length, 128, NULL);
        if (status == 0) {
            assert_int_equal(scanned, 0);
            assert_true(mst_value_verify((const uint8_t *)packed.data, packed.length, 128));
        } else {
            assert_true(error.has_position);
            if (scanned == 0)
                assert_memory_equal(error.message, "duplicate key", 13);
        }
    }
}

static void a_parser_serves_many_documents(void **state)
{
    (void)state;
    struct mst_buffer text = {0};
    for (int round = 0; round < 3; round++) {
        mst_buffer_clear(&text);
        mst_buffer_append_byte(&text, '[');
        for (int i = 0; i < 20000; i++)
            mst_buffer_appendf(&text, "%s{\"n\":%d}", i ? "," : "", i);
        mst_buffer_append_byte(&text, ']');
        assert_int_equal(parse(text.data, text.length, &wide, NULL), 0);
        assert_int_equal(mst_value_count((const uint8_t *)packed.data), 20000);
        check("{\"a\":1}", "{\"a\":1}");
        struct mst_error error;
        assert_int_equal(parse("{\"a\":", 5, &wide, &error), MST_EJSON);
    }
    mst_buffer_deinit(&text);
}

static void assert_member(const char *text, const char *key, const char *expected)
{
    struct mst_span raw;
    if (!expected) {
        assert_false(mst_json_member(text, strlen(text), key, &raw));
        return;
    }
    assert_true(mst_json_member(text, strlen(text), key, &raw));
    assert_int_equal(raw.length, strlen(expected));
    assert_memory_equal(raw.data, expected, raw.length);
}

static void members_are_found_as_raw_text(void **state)
{
    (void)state;
    const char *text = " { \"a\" : 1 , \"b\":{\"a\":[2,\"]}\\\"\"]} ,\"c "
                       "d\":\"x,y\\\\\",\"\\u00e4\\n\\ud83d\\ude00\":[ ],\"z\":-1.5e3}";
    assert_member(text, "a", "1");
    assert_member(text, "b", "{\"a\":[2,\"]}\\\"\"]}");
    assert_member(text, "c d", "\"x,y\\\\\"");
    assert_member(text, "\xC3\xA4\n\xF0\x9F\x98\x80", "[ ]");
    assert_member(text, "z", "-1.5e3");
    assert_member(text, "x", NULL);
    assert_member(text, "", NULL);
    assert_member("{\"\":null}", "", "null");
    assert_member("{}", "a", NULL);
    assert_member("[\"a\"]", "a", NULL);
    assert_member("\"a\"", "a", NULL);
    assert_member("{\"\\u0061\\/\":true }", "a/", "true");
    assert_member("{\"ab\":1,\"\\u0061\":2}", "a", "2");
}

static void elements_are_walked_as_raw_text(void **state)
{
    (void)state;
    const char *text = " [ 1 ,\"a,]\\\"\", [2,[3]] ,{\"k\":[4]}, null ] ";
    static const char *const expected[] = {"1", "\"a,]\\\"\"", "[2,[3]]", "{\"k\":[4]}", "null"};
    struct mst_span raw;
    size_t position = 0, count = 0;
    while (mst_json_element(text, strlen(text), &position, &raw)) {
        assert_true(count < 5);
        assert_int_equal(raw.length, strlen(expected[count]));
        assert_memory_equal(raw.data, expected[count], raw.length);
        count++;
    }
    assert_int_equal(count, 5);
    position = 0;
    assert_false(mst_json_element("[ ]", 3, &position, &raw));
    position = 0;
    assert_false(mst_json_element("{}", 2, &position, &raw));
}

/* A caller's mistake (a text that was never parsed) must not read outside or hang. */
static void spans_of_broken_text_stay_inside(void **state)
{
    (void)state;
    const char *seed = "{\"a\\u00e4\":[1,\"x\"],\"b\":{\"c\":\"\\\"\"},\"\\ud83d\\ude00\":2}";
    srand(5);
    for (int round = 0; round < 60000; round++) {
        size_t length = 1 + (size_t)rand() % strlen(seed);
        char *text = malloc(length);
        memcpy(text, seed, length);
        text[(size_t)rand() % length] = "{}[]\",:\\u"[rand() % 9];
        if (rand() % 2)
            text[0] = '[';
        struct mst_span raw;
        if (mst_json_member(text, length, "zz", &raw))
            assert_true(raw.data >= text && raw.data + raw.length <= text + length);
        size_t position = 0, count = 0;
        while (mst_json_element(text, length, &position, &raw)) {
            assert_true(raw.data >= text && raw.data + raw.length <= text + length);
            assert_true(count++ < length);
        }
        free(text);
    }
}

static void strings_are_escaped_and_repaired(void **state)
{
    (void)state;
    mst_json_put_string(&out, "a\"\\/\b\f\n\r\t\x1F\x7F\xC3\xA4", 13);
    assert_out("\"a\\\"\\\\/\\b\\f\\n\\r\\t\\u001f\x7F\xC3\xA4\"");
    mst_json_put_string(&out, "x\xFFy\xE2\x82", 5);
    assert_out("\"x\xEF\xBF\xBDy\xEF\xBF\xBD\xEF\xBF\xBD\"");
    mst_json_put_string(&out, "\0", 1);
    assert_out("\"\\u0000\"");
    mst_json_put_string(&out, NULL, 0);
    assert_out("\"\"");
}

static void integers_are_exact(void **state)
{
    (void)state;
    mst_json_put_int(&out, INT64_MIN);
    mst_buffer_append_byte(&out, ' ');
    mst_json_put_int(&out, INT64_MAX);
    mst_buffer_append_byte(&out, ' ');
    mst_json_put_int(&out, 0);
    assert_out("-9223372036854775808 9223372036854775807 0");
}

static void doubles_stay_doubles_and_read_back_equal(void **state)
{
    (void)state;
    static const struct {
        double number;
        const char *text;
    } cases[] = {{0.1, "0.1"},
                 {5, "5.0"},
                 {-0.0, "-0.0"},
                 {1e15, "1e+15"},
                 {123456789012345, "123456789012345.0"},
                 {1e22, "1e+22"},
                 {1e-7, "1e-07"},
                 {0.30000000000000004, "0.30000000000000004"},
                 {1.0 / 3, "0.3333333333333333"},
                 {9007199254740993.0, "9007199254740992.0"},
                 {INFINITY, "null"},
                 {-INFINITY, "null"},
                 {NAN, "null"}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        mst_json_put_double(&out, cases[i].number);
        assert_out(cases[i].text);
    }
    uint64_t bits = 1;
    for (int i = 0; i < 20000; i++) {
        bits = bits * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
        double number;
        memcpy(&number, &bits, sizeof number);
        if (!isfinite(number))
            continue;
        mst_buffer_clear(&out);
        mst_json_put_double(&out, number);
        assert_int_equal(parse(out.data, out.length, &wide, NULL), 0);
        assert_int_equal(packed.data[0], MST_DOUBLE);
        double back = mst_value_double((const uint8_t *)packed.data);
        assert_memory_equal(&back, &number, sizeof number);
    }
    mst_buffer_clear(&out);
}

/* Where no such locale is installed, only the plain one is tried. */
static void a_locale_with_a_decimal_comma_changes_nothing(void **state)
{
    (void)state;
    if (!setlocale(LC_NUMERIC, "de_DE.UTF-8") && !setlocale(LC_NUMERIC, "fr_FR.UTF-8"))
        skip();
    check("[1.5,-2.25e-10]", "[1.5,-2.25e-10]");
    struct mst_error error;
    assert_int_equal(parse("[1.5e400]", 9, &wide, &error), MST_EJSON);
    assert_string_equal(error.message, "number is out of range");
    setlocale(LC_NUMERIC, "C");
}

static void errors_become_objects(void **state)
{
    (void)state;
    struct mst_error error;
    mst_error_set(&error, MST_EFILTER, "unexpected `%s`", "=<");
    mst_json_put_error(&out, &error);
    assert_out("{\"error\":{\"code\":\"EFILTER\",\"message\":\"unexpected `=<`\"}}");
    mst_error_hint(&error, "did you mean \"<=\"?");
    mst_error_at(&error, "a =< 1", 6, 2);
    mst_json_put_error(&out, &error);
    assert_out("{\"error\":{\"code\":\"EFILTER\",\"message\":\"unexpected `=<`\",\"hint\":\"did you mean \\\"<=\\\"?\","
               "\"at\":{\"offset\":2,\"line\":1,\"column\":3}}}");
    error = (struct mst_error){.code = MST_EBUSY};
    mst_json_put_error(&out, &error);
    assert_out("{\"error\":{\"code\":\"EBUSY\",\"message\":\"too many requests in flight\"}}");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(good_texts_come_back),
        TEST(numbers_keep_their_kind_and_value),
        TEST(integers_beyond_64_bits_are_doubles),
        TEST(bad_structure_is_refused_with_its_position),
        TEST(bad_scalars_are_refused_with_their_position),
        TEST(positions_count_lines_and_columns),
        TEST(duplicate_keys_are_refused),
        TEST(limits_hold_at_their_edge),
        TEST(deep_nesting_is_harmless),
        TEST(output_is_appended_or_untouched),
        TEST(parser_and_scanner_agree_on_noise),
        TEST(a_parser_serves_many_documents),
        TEST(members_are_found_as_raw_text),
        TEST(elements_are_walked_as_raw_text),
        TEST(spans_of_broken_text_stay_inside),
        TEST(strings_are_escaped_and_repaired),
        TEST(integers_are_exact),
        TEST(doubles_stay_doubles_and_read_back_equal),
        TEST(a_locale_with_a_decimal_comma_changes_nothing),
        TEST(errors_become_objects),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
