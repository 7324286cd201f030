// SPDX-License-Identifier: Apache-2.0
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/buffer.h"
#include "model/json.h"
#include "model/value.h"
#include "view/view.h"

struct fixture {
    struct mst_json_parser *parser;
    struct mst_view *view;
    uint64_t revision;
};

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    f->parser = mst_json_parser_create();
    f->view = mst_view_create("iot", f->parser);
    *state = f;
    return f->parser && f->view ? 0 : -1;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    mst_view_destroy(f->view);
    mst_json_parser_destroy(f->parser);
    free(f);
    return 0;
}

static struct mst_span span(const char *text)
{
    return (struct mst_span){text, strlen(text)};
}

static uint32_t put(struct fixture *f, const char *id, const char *metadata)
{
    struct mst_identity identity = {.id = span(id), .metadata = span(metadata), .revision = ++f->revision};
    uint32_t row = MST_ROW_NONE;
    assert_int_equal(mst_view_put(f->view, &identity, NULL, &row), 0);
    return row;
}

static void drop(struct fixture *f, const char *id)
{
    assert_int_equal(mst_view_remove(f->view, id, strlen(id), ++f->revision), 0);
}

static struct mst_column *column(struct fixture *f, const char *text)
{
    struct mst_path path = {0};
    if (*text)
        assert_int_equal(mst_path_parse(&path, text, strlen(text), NULL), 0);
    return mst_view_column(f->view, &path);
}

static void assert_text(struct mst_span text, const char *expected)
{
    assert_int_equal(text.length, strlen(expected));
    assert_memory_equal(text.data, expected, text.length);
}

/* The value of a row in a column, as JSON; finals read as an array. */
static void assert_cell(const struct mst_column *c, uint32_t row, const char *json)
{
    const uint8_t *value = mst_column_value(c, mst_column_code(c, row));
    if (!json) {
        assert_null(value);
        return;
    }
    assert_non_null(value);
    struct mst_buffer out = {0};
    mst_buffer_append(&out, value, mst_value_size(value));
    if (mst_value_tag(value) == MST_FINALS)
        out.data[0] = MST_ARRAY;
    struct mst_buffer text = {0};
    mst_json_put_value(&text, (const uint8_t *)out.data);
    assert_text((struct mst_span){text.data, text.length}, json);
    mst_buffer_deinit(&text);
    mst_buffer_deinit(&out);
}

static void test_identity_comes_back_as_it_was_put(void **state)
{
    struct fixture *f = *state;
    struct mst_identity in = {.id = span("d1"),
                              .metadata = span("{ \"a\" : 1.50 }"),
                              .gateway = span("gw-1"),
                              .owner = span("alice"),
                              .registered_at = 11,
                              .updated_at = 12,
                              .expires_at = 13,
                              .lease_ms = INT64_C(2592000000),
                              .revision = 7};
    uint32_t row;
    assert_int_equal(mst_view_put(f->view, &in, NULL, &row), 0);
    struct mst_identity out;
    mst_view_identity(f->view, row, &out);
    assert_text(out.id, "d1");
    assert_text(out.metadata, "{ \"a\" : 1.50 }");
    assert_text(out.gateway, "gw-1");
    assert_text(out.owner, "alice");
    assert_int_equal(out.registered_at, 11);
    assert_int_equal(out.updated_at, 12);
    assert_int_equal(out.expires_at, 13);
    assert_int_equal(out.lease_ms, INT64_C(2592000000));
    assert_int_equal(out.revision, 7);
    assert_int_equal(mst_view_revision(f->view), 7);
    assert_int_equal(mst_view_find(f->view, "d1", 2), row);
    assert_int_equal(mst_view_find(f->view, "d2", 2), MST_ROW_NONE);
    assert_string_equal(mst_view_namespace(f->view), "iot");
    struct mst_buffer document = {0};
    assert_int_equal(mst_view_document(f->view, row, &document), 0);
    assert_int_equal(mst_value_tag((const uint8_t *)document.data), MST_OBJECT);
    mst_buffer_deinit(&document);
}

static void test_replace_keeps_the_row_and_older_revisions_are_ignored(void **state)
{
    struct fixture *f = *state;
    struct mst_column *a = column(f, "a");
    uint32_t row = put(f, "d1", "{\"a\":1}");
    assert_int_equal(put(f, "d1", "{\"a\":2}"), row);
    assert_cell(a, row, "2");
    struct mst_identity old = {.id = span("d1"), .metadata = span("{\"a\":3}"), .revision = f->revision};
    uint32_t found = 99;
    assert_int_equal(mst_view_put(f->view, &old, NULL, &found), 0);
    assert_int_equal(found, row);
    assert_cell(a, row, "2");
    assert_int_equal(mst_view_count(f->view), 1);
    assert_int_equal(mst_column_rows(a, mst_column_code(a, row)), 1);
}

static void test_put_of_the_row_s_own_spans_is_safe(void **state)
{
    struct fixture *f = *state;
    uint32_t row = put(f, "d1", "{\"a\":1}");
    struct mst_identity own;
    mst_view_identity(f->view, row, &own);
    own.revision = ++f->revision;
    own.owner = span("bob");
    assert_int_equal(mst_view_put(f->view, &own, NULL, NULL), 0);
    mst_view_identity(f->view, row, &own);
    assert_text(own.id, "d1");
    assert_text(own.metadata, "{\"a\":1}");
    assert_text(own.owner, "bob");
}

static void test_refused_puts_change_nothing(void **state)
{
    struct fixture *f = *state;
    struct mst_column *a = column(f, "a");
    uint32_t row = put(f, "d1", "{\"a\":1}");
    const char *bad[] = {"", "[1]", "{\"a\":", "1", "{\"a\":1,\"a\":2}"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct mst_identity identity = {.id = span("d1"), .metadata = span(bad[i]), .revision = 100};
        assert_int_equal(mst_view_put(f->view, &identity, NULL, NULL), MST_EJSON);
        identity.id = span("d2");
        assert_int_equal(mst_view_put(f->view, &identity, NULL, NULL), MST_EJSON);
    }
    char id[300];
    memset(id, 'x', sizeof id);
    struct mst_identity identity = {.id = {id, 256}, .metadata = span("{}"), .revision = 100};
    assert_int_equal(mst_view_put(f->view, &identity, NULL, NULL), MST_EID);
    identity.id.length = 0;
    assert_int_equal(mst_view_put(f->view, &identity, NULL, NULL), MST_EID);
    identity.id.length = 255;
    identity.lease_ms = INT64_C(1) << 40;
    assert_int_equal(mst_view_put(f->view, &identity, NULL, NULL), MST_ERANGE);
    assert_int_equal(mst_view_count(f->view), 1);
    assert_int_equal(mst_view_revision(f->view), 1);
    assert_cell(a, row, "1");
    identity.lease_ms = 0;
    assert_int_equal(mst_view_put(f->view, &identity, NULL, NULL), 0);
}

static void test_columns_hold_what_paths_denote(void **state)
{
    struct fixture *f = *state;
    uint32_t before =
        put(f, "before", "{\"a\":{\"b\":[{\"c\":1},{\"c\":\"x\"},{\"d\":2}]},\"n\\u0061me\":true,\"0\":5}");
    struct mst_column *c = column(f, "a.b.c"), *array = column(f, "a.b"), *name = column(f, "name"),
                      *second = column(f, "a.b[1].c"), *none = column(f, "zzz"), *all = column(f, "");
    uint32_t after = put(f, "after", "{\"a\":{\"b\":[{\"c\":1},{\"c\":\"x\"},{\"d\":2}]},\"name\":null}");
    for (int i = 0; i < 2; i++) {
        uint32_t row = i ? after : before;
        assert_cell(c, row, "[1,\"x\"]");
        assert_cell(array, row, "[{\"c\":1},{\"c\":\"x\"},{\"d\":2}]");
        assert_cell(second, row, "\"x\"");
        assert_cell(none, row, NULL);
        assert_non_null(mst_column_value(all, mst_column_code(all, row)));
    }
    assert_cell(name, before, "true");
    assert_cell(name, after, "null");
    assert_int_equal(mst_column_codes(c), 1);
    assert_int_equal(mst_column_rows(c, 1), 2);
    assert_int_equal(mst_column_compounds(c), 1);
    assert_int_equal(mst_column_compounds(name), 0);
    assert_int_equal(mst_column_rows(none, 0), 2);
    assert_ptr_equal(column(f, "a.b.c"), c);
    assert_ptr_not_equal(column(f, "`a.b.c`"), c);
}

static void test_codes_are_counted_and_reused(void **state)
{
    struct fixture *f = *state;
    struct mst_column *a = column(f, "a");
    uint32_t first = put(f, "d1", "{\"a\":\"x\"}");
    uint32_t code = mst_column_code(a, first);
    uint64_t epoch = mst_column_epoch(a);
    put(f, "d2", "{\"a\":\"x\"}");
    assert_int_equal(mst_column_epoch(a), epoch);
    assert_int_equal(mst_column_rows(a, code), 2);
    drop(f, "d1");
    assert_int_equal(mst_column_rows(a, code), 1);
    drop(f, "d2");
    assert_null(mst_column_value(a, code));
    assert_int_equal(mst_column_rows(a, code), 0);
    first = put(f, "d3", "{\"a\":[1]}");
    assert_int_equal(mst_column_code(a, first), code);
    assert_true(mst_column_epoch(a) > epoch);
    assert_int_equal(mst_column_compounds(a), 1);
    put(f, "d3", "{}");
    assert_int_equal(mst_column_compounds(a), 0);
    assert_int_equal(mst_column_rows(a, 0), 1);
}

static void test_numbers_of_two_forms_are_two_values(void **state)
{
    struct fixture *f = *state;
    struct mst_column *a = column(f, "a");
    uint32_t integer = put(f, "d1", "{\"a\":1}"), real = put(f, "d2", "{\"a\":1.0}");
    assert_int_not_equal(mst_column_code(a, integer), mst_column_code(a, real));
    struct mst_buffer value = {0};
    mst_value_put_int(&value, 1);
    assert_int_equal(mst_column_find(a, (const uint8_t *)value.data), mst_column_code(a, integer));
    mst_buffer_clear(&value);
    mst_value_put_int(&value, 2);
    assert_int_equal(mst_column_find(a, (const uint8_t *)value.data), 0);
    mst_buffer_deinit(&value);
}

static void test_freed_rows_are_reused_lowest_first(void **state)
{
    struct fixture *f = *state;
    char id[20];
    for (int i = 0; i < 10000; i++) {
        snprintf(id, sizeof id, "d%d", i);
        assert_int_equal(put(f, id, "{}"), i);
    }
    assert_int_equal(mst_view_row_limit(f->view), 10000);
    drop(f, "d9000");
    drop(f, "d70");
    drop(f, "d4100");
    drop(f, "d3");
    assert_int_equal(put(f, "x1", "{}"), 3);
    assert_int_equal(put(f, "x2", "{}"), 70);
    assert_false(mst_view_alive(f->view, 4100));
    assert_int_equal(put(f, "x3", "{}"), 4100);
    assert_int_equal(put(f, "x4", "{}"), 9000);
    assert_int_equal(put(f, "x5", "{}"), 10000);
    for (int i = 5000; i < 10000; i++) {
        if (i == 9000)
            continue;
        snprintf(id, sizeof id, "d%d", i);
        drop(f, id);
    }
    drop(f, "x5");
    assert_int_equal(mst_view_row_limit(f->view), 9001);
    drop(f, "x4");
    assert_int_equal(mst_view_row_limit(f->view), 5000);
    assert_int_equal(mst_view_count(f->view), 5000);
    assert_int_equal(put(f, "x6", "{}"), 5000);
}

static void fill_distinct(struct fixture *f, int from, int to)
{
    char id[20], metadata[40];
    for (int i = from; i < to; i++) {
        snprintf(id, sizeof id, "d%d", i);
        snprintf(metadata, sizeof metadata, "{\"n\":%d,\"s\":\"v%d\"}", i, i % 3);
        put(f, id, metadata);
    }
}

static void test_columns_widen_past_255_values(void **state)
{
    struct fixture *f = *state;
    struct mst_column *n = column(f, "n"), *s = column(f, "s");
    static const struct {
        int count;
        unsigned width;
    } steps[] = {{255, 1}, {256, 2}, {4096, 2}};
    int from = 0;
    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
        fill_distinct(f, from, steps[i].count);
        from = steps[i].count;
        assert_int_equal(mst_column_width(n), steps[i].width);
        assert_int_equal(mst_column_width(s), 1);
        for (int row = 0; row < from; row += row < 300 || row > from - 300 ? 1 : 97) {
            const uint8_t *value = mst_column_value(n, mst_column_code(n, (uint32_t)row));
            assert_int_equal(mst_value_int(value), row);
        }
    }
    assert_int_equal(mst_column_codes(n), 4096);
    assert_int_equal(mst_column_encoding(n), MST_ENCODING_DICTIONARY);
    struct mst_column *late = column(f, "n");
    assert_ptr_equal(late, n);
    assert_true(mst_view_bytes(f->view) > 4096 * 64);
}

static void test_a_column_made_late_equals_one_made_early(void **state)
{
    struct fixture *f = *state;
    struct mst_column *early = column(f, "n");
    fill_distinct(f, 0, 3000);
    for (int i = 0; i < 3000; i += 7) {
        char id[20];
        snprintf(id, sizeof id, "d%d", i);
        drop(f, id);
    }
    struct mst_column *late = column(f, "s");
    for (uint32_t row = 0; row < 3000; row++) {
        assert_int_equal(mst_column_code(early, row) != 0, row % 7 != 0);
        assert_int_equal(mst_column_code(late, row) != 0, row % 7 != 0);
    }
    assert_int_equal(mst_column_codes(late), 3);
    assert_int_equal(mst_column_rows(late, 1) + mst_column_rows(late, 2) + mst_column_rows(late, 3),
                     mst_view_count(f->view));
}

static void test_there_are_at_most_1024_columns(void **state)
{
    struct fixture *f = *state;
    char name[20];
    for (int i = 0; i < 1024; i++) {
        snprintf(name, sizeof name, "f%d", i);
        assert_non_null(column(f, name));
    }
    assert_null(column(f, "one_more"));
    assert_non_null(column(f, "f1023"));
    put(f, "d1", "{\"f7\":1}");
    assert_cell(column(f, "f7"), 0, "1");
}

static void test_touch_and_remove(void **state)
{
    struct fixture *f = *state;
    uint32_t row = put(f, "d1", "{}");
    assert_int_equal(mst_view_touch(f->view, "d1", 2, 5000, 4000, 9), 0);
    struct mst_identity identity;
    mst_view_identity(f->view, row, &identity);
    assert_int_equal(identity.expires_at, 5000);
    assert_int_equal(identity.lease_ms, 4000);
    assert_int_equal(identity.revision, 9);
    assert_int_equal(identity.updated_at, 0);
    assert_int_equal(mst_view_touch(f->view, "d1", 2, 9000, 4000, 8), 0);
    mst_view_identity(f->view, row, &identity);
    assert_int_equal(identity.expires_at, 5000);
    assert_int_equal(mst_view_touch(f->view, "zz", 2, 1, 1, 10), MST_ENOTFOUND);
    assert_int_equal(mst_view_remove(f->view, "zz", 2, 20), MST_ENOTFOUND);
    assert_int_equal(mst_view_revision(f->view), 20);
    assert_int_equal(mst_view_remove(f->view, "d1", 2, 21), 0);
    assert_int_equal(mst_view_count(f->view), 0);
    assert_int_equal(mst_view_row_limit(f->view), 0);
    assert_int_equal(mst_view_next_expiry(f->view), INT64_MAX);
}

static void test_an_emptied_view_has_no_rows_and_a_newer_revision(void **state)
{
    struct fixture *f = *state;
    put(f, "d1", "{\"a\":1}");
    put(f, "d2", "{\"a\":2}");
    put(f, "d3", "{\"a\":3}");
    drop(f, "d2");
    mst_view_empty(f->view, 50);
    assert_int_equal(mst_view_count(f->view), 0);
    assert_int_equal(mst_view_row_limit(f->view), 0);
    assert_int_equal(mst_view_find(f->view, "d1", 2), MST_ROW_NONE);
    assert_int_equal(mst_view_revision(f->view), 50);
    mst_view_empty(f->view, 49);
    assert_int_equal(mst_view_revision(f->view), 50);
    assert_int_equal(put(f, "d3", "{}"), 0);
}

static void test_gateways_are_shared_and_freed(void **state)
{
    struct fixture *f = *state;
    struct mst_identity identity = {.metadata = span("{}")}, out;
    char id[20], gateway[20];
    for (int i = 0; i < 1000; i++) {
        snprintf(id, sizeof id, "d%d", i % 200);
        snprintf(gateway, sizeof gateway, "g%d", i % 7);
        identity.id = span(id);
        identity.gateway = span(gateway);
        identity.revision = ++f->revision;
        uint32_t row;
        assert_int_equal(mst_view_put(f->view, &identity, NULL, &row), 0);
        mst_view_identity(f->view, row, &out);
        assert_text(out.gateway, gateway);
        if (i % 3 == 0)
            drop(f, id);
    }
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        CASE(test_identity_comes_back_as_it_was_put),
        CASE(test_replace_keeps_the_row_and_older_revisions_are_ignored),
        CASE(test_put_of_the_row_s_own_spans_is_safe),
        CASE(test_refused_puts_change_nothing),
        CASE(test_columns_hold_what_paths_denote),
        CASE(test_codes_are_counted_and_reused),
        CASE(test_numbers_of_two_forms_are_two_values),
        CASE(test_freed_rows_are_reused_lowest_first),
        CASE(test_columns_widen_past_255_values),
        CASE(test_a_column_made_late_equals_one_made_early),
        CASE(test_there_are_at_most_1024_columns),
        CASE(test_touch_and_remove),
        CASE(test_an_emptied_view_has_no_rows_and_a_newer_revision),
        CASE(test_gateways_are_shared_and_freed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
