// SPDX-License-Identifier: Apache-2.0
#include "model/path.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "model/json.h"
#include "model/value.h"

static const struct mst_json_limits limits = {.bytes = 4096, .depth = 32};

/* Finds `text` in `document` and compares with the JSON `expected`; NULL: missing. A "finals:" prefix asks for the tag.
 */
static void check(const char *text, const char *document, const char *expected)
{
    struct mst_json_parser *parser = mst_json_parser_create();
    struct mst_buffer packed = {0}, scratch = {0}, out = {0};
    struct mst_path path;
    mst_buffer_append_string(&scratch, "before");
    assert_int_equal(mst_path_parse(&path, text, strlen(text), NULL), 0);
    assert_int_equal(mst_json_parse(parser, document, strlen(document), &limits, &packed, NULL), 0);
    const uint8_t *found = mst_path_find(&path, (const uint8_t *)packed.data, &scratch);
    if (!expected) {
        assert_null(found);
    } else {
        bool finals = strncmp(expected, "finals:", 7) == 0;
        expected += finals ? 7 : 0;
        assert_non_null(found);
        assert_int_equal(mst_value_tag(found) == MST_FINALS, finals);
        mst_json_put_value(&out, found);
        assert_int_equal(out.length, strlen(expected));
        assert_memory_equal(out.data, expected, out.length);
    }
    assert_memory_equal(scratch.data, "before", 6);
    mst_buffer_deinit(&packed);
    mst_buffer_deinit(&scratch);
    mst_buffer_deinit(&out);
    mst_json_parser_destroy(parser);
}

static void names_go_into_objects(void **state)
{
    (void)state;
    check("a", "{\"a\":1}", "1");
    check("a", "{\"a\":null}", "null");
    check("b", "{\"a\":1}", NULL);
    check("a.b.c", "{\"a\":{\"b\":{\"c\":\"x\"}}}", "\"x\"");
    check("a.b", "{\"a.b\":1}", NULL);
    check("`a.b`", "{\"a.b\":1}", "1");
    check("a.b", "{\"a\":1}", NULL);
    check("a.`b c`", "{\"a\":{\"b c\":2}}", "2");
    check("a", "[1]", NULL);
}

static void names_go_through_one_level_of_array(void **state)
{
    (void)state;
    check("a.b", "{\"a\":[{\"b\":1},{\"c\":2},3,{\"b\":4}]}", "finals:[1,4]");
    check("a.b", "{\"a\":[{\"b\":1}]}", "1");
    check("a.b", "{\"a\":[{\"c\":1}]}", NULL);
    check("a.b", "{\"a\":[[{\"b\":1}]]}", NULL);
    check("a.b.c", "{\"a\":[{\"b\":[{\"c\":1},{\"c\":2}]},{\"b\":{\"c\":[3]}}]}", "finals:[1,2,[3]]");
    check("a", "{\"a\":[1,2]}", "[1,2]");
}

static void indexes_take_elements_or_keys(void **state)
{
    (void)state;
    check("a[0]", "{\"a\":[7,8]}", "7");
    check("a[1].b", "{\"a\":[7,{\"b\":9}]}", "9");
    check("a[2]", "{\"a\":[7,8]}", NULL);
    check("a[0]", "{\"a\":{\"0\":5}}", "5");
    check("a[0][1]", "{\"a\":[[1,2]]}", "2");
    check("a[0]", "{\"a\":[{\"0\":5}]}", "{\"0\":5}");
    check("a[2147483647]", "{\"a\":[1]}", NULL);
    check("a.b[0]", "{\"a\":[{\"b\":[1]},{\"b\":[2]}]}", "finals:[1,2]");
}

static void no_step_denotes_the_document(void **state)
{
    (void)state;
    struct mst_path path = {0};
    struct mst_buffer scratch = {0};
    const uint8_t null[] = {MST_NULL};
    assert_ptr_equal(mst_path_find(&path, null, &scratch), null);
}

static void finals_that_do_not_fit_are_reported(void **state)
{
    (void)state;
    struct mst_json_parser *parser = mst_json_parser_create();
    struct mst_buffer packed = {0}, scratch = {.limit = 20};
    struct mst_path path;
    const char *document = "{\"a\":[{\"b\":1},{\"b\":2}]}";
    assert_int_equal(mst_path_parse(&path, "a.b", 3, NULL), 0);
    assert_int_equal(mst_json_parse(parser, document, strlen(document), &limits, &packed, NULL), 0);
    assert_null(mst_path_find(&path, (const uint8_t *)packed.data, &scratch));
    assert_true(scratch.failed);
    mst_buffer_deinit(&packed);
    mst_buffer_deinit(&scratch);
    mst_json_parser_destroy(parser);
}

static void parsing_keeps_names_and_indexes(void **state)
{
    (void)state;
    struct mst_path path;
    const char *text = "load-avg.`x y`[12].\xC3\xA4_9";
    assert_int_equal(mst_path_parse(&path, text, strlen(text), NULL), 0);
    assert_int_equal(path.count, 4);
    static const char *const names[] = {"load-avg", "x y", "12", "\xC3\xA4_9"};
    static const int32_t indexes[] = {-1, -1, 12, -1};
    for (uint32_t i = 0; i < 4; i++) {
        assert_int_equal(path.steps[i].length, strlen(names[i]));
        assert_memory_equal(path.steps[i].name, names[i], path.steps[i].length);
        assert_int_equal(path.steps[i].index, indexes[i]);
    }
}

static void bad_paths_are_refused_with_their_position(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        uint32_t offset;
        const char *message;
    } cases[] = {
        {"", 0, "unexpected end of path"},
        {"a.", 2, "unexpected end of path"},
        {".a", 0, "expected a field name"},
        {"a..b", 2, "expected a field name"},
        {"a b", 1, "expected \".\" or \"[\""},
        {"9a", 0, "expected a field name"},
        {"a-", 1, "expected \".\" or \"[\""},
        {"a-1", 1, "expected \".\" or \"[\""},
        {"[0]", 0, "expected a field name"},
        {"a[", 1, "\"[\" is not closed"},
        {"a[1", 1, "\"[\" is not closed"},
        {"a[]", 2, "expected a number from 0"},
        {"a[-1]", 2, "expected a number from 0"},
        {"a[1x]", 3, "expected \"]\""},
        {"a[01]", 2, "index has a leading zero"},
        {"a[2147483648]", 2, "index is too large"},
        {"a.`b", 2, "back-quote is not closed"},
        {"``", 0, "empty field name"},
        {"a.b\xFF", 3, "invalid UTF-8"},
        {"a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a", 31, "path has more than 16 steps"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct mst_path path;
        struct mst_error error;
        assert_int_equal(mst_path_parse(&path, cases[i].text, strlen(cases[i].text), &error), MST_EINVAL);
        assert_string_equal(error.message, cases[i].message);
        assert_int_equal(error.has_position, 1);
        assert_int_equal(error.offset, cases[i].offset);
    }
    struct mst_path path;
    assert_int_equal(mst_path_parse(&path, "a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a", 31, NULL), 0);
    assert_int_equal(path.count, 16);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_go_into_objects),
        cmocka_unit_test(names_go_through_one_level_of_array),
        cmocka_unit_test(indexes_take_elements_or_keys),
        cmocka_unit_test(no_step_denotes_the_document),
        cmocka_unit_test(finals_that_do_not_fit_are_reported),
        cmocka_unit_test(parsing_keeps_names_and_indexes),
        cmocka_unit_test(bad_paths_are_refused_with_their_position),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
