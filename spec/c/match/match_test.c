// SPDX-License-Identifier: Apache-2.0
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "match/match.h"
#include "view/view.h"

#include "builder.h"
#include "random.h"

#define NOW INT64_C(1760000000000)

struct world {
    struct builder builder;
    struct mst_view *view;
    struct mst_rowset set;
    struct mst_buffer document;
    uint64_t seed, revision;
    int64_t now;
    unsigned serial;
};

static void world_init(struct world *w, uint64_t seed)
{
    *w = (struct world){.seed = seed, .now = NOW};
    builder_init(&w->builder);
    w->view = mst_view_create("iot", w->builder.parser);
    assert_non_null(w->view);
}

static void world_deinit(struct world *w)
{
    mst_rowset_deinit(&w->set);
    mst_view_destroy(w->view);
    mst_buffer_deinit(&w->document);
    builder_deinit(&w->builder);
}

static void put(struct world *w, unsigned number)
{
    char id[20], metadata[600];
    random_metadata(&w->seed, w->serial++, metadata, sizeof metadata);
    struct mst_identity identity = {.metadata = {metadata, strlen(metadata)},
                                    .registered_at = w->now - dice(&w->seed, 100000),
                                    .updated_at = w->now - dice(&w->seed, 1000),
                                    .expires_at = dice(&w->seed, 3) ? w->now + 1 + dice(&w->seed, 60000) : 0,
                                    .revision = ++w->revision};
    identity.id = (struct mst_span){id, (size_t)snprintf(id, sizeof id, "d%u", number)};
    assert_int_equal(mst_view_put(w->view, &identity, NULL, NULL), 0);
}

static void change(struct world *w, unsigned ids)
{
    char id[20];
    size_t length = (size_t)snprintf(id, sizeof id, "d%u", dice(&w->seed, ids));
    switch (dice(&w->seed, 5)) {
    case 0:
        mst_view_remove(w->view, id, length, ++w->revision);
        break;
    case 1:
        mst_view_touch(w->view, id, length, w->now + dice(&w->seed, 30000), 1000, ++w->revision);
        break;
    case 2:
        w->now += dice(&w->seed, 300);
        mst_view_expire(w->view, w->now, NULL, NULL);
        break;
    default:
        put(w, dice(&w->seed, ids));
    }
}

/* Columns against rows, for every row of the view. */
static void compare(struct world *w, struct mst_bound *bound)
{
    uint32_t found = 0;
    struct mst_error error = {0};
    assert_int_equal(mst_match(w->view, bound, &w->set, &error), 0);
    for (uint32_t row = 0; row < mst_view_row_limit(w->view); row++) {
        bool in_set = mst_rowset_next(&w->set, row) == row, expected = false;
        if (mst_view_alive(w->view, row)) {
            struct mst_identity identity;
            mst_view_identity(w->view, row, &identity);
            mst_buffer_clear(&w->document);
            assert_int_equal(mst_view_document(w->view, row, &w->document), 0);
            expected = mst_bound_match(bound, &identity, (const uint8_t *)w->document.data);
            if (in_set != expected)
                fail_msg("row %u: columns say %d, row says %d: %.*s", row, in_set, expected,
                         (int)identity.metadata.length, identity.metadata.data);
        }
        assert_int_equal(in_set, expected);
        found += expected;
    }
    assert_int_equal(w->set.count, found);
}

/* Returns how many rows matched. */
static uint32_t run_random_filter(struct world *w)
{
    struct mst_buffer parameters = {0};
    struct mst_bound *bound = NULL;
    struct mst_error error = {0};
    random_filter(&w->builder, &w->seed);
    random_parameters(&w->builder, &w->seed, &parameters);
    struct mst_program *program = load(&w->builder);
    int status = mst_bound_create(&bound, program, (const uint8_t *)parameters.data, w->now, "iot", &error);
    if (status < 0)
        fail_msg("not bound: %s", error.message);
    compare(w, bound);
    mst_bound_destroy(bound);
    mst_program_destroy(program);
    mst_buffer_deinit(&parameters);
    return w->set.count;
}

static void run_world(uint64_t seed, unsigned ids, unsigned filters, unsigned changes)
{
    struct world w;
    unsigned mixed = 0;
    world_init(&w, seed);
    for (unsigned i = 0; i < ids; i++)
        put(&w, i);
    for (unsigned i = 0; i < filters; i++) {
        for (unsigned j = 0; j < changes; j++)
            change(&w, ids);
        uint32_t found = run_random_filter(&w);
        mixed += found > 0 && found < mst_view_count(w.view);
    }
    /* Random filters that hold for all rows or none would test nothing. */
    if (mixed * 8 <= filters)
        fail_msg("only %u of %u filters told rows apart", mixed, filters);
    world_deinit(&w);
}

static void test_columns_agree_with_rows(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 10; seed++)
        run_world(seed, 300, 200, 12);
}

static void test_columns_agree_with_rows_over_many_values(void **state)
{
    (void)state;
    run_world(99, 9000, 40, 40);
}

/* Sets w->set to the rows of one leaf. */
static uint32_t match_leaf(struct world *w, unsigned op, const char *left, const char *right)
{
    struct mst_bound *bound = NULL;
    builder_clear(&w->builder);
    add_leaf_node(&w->builder, add_leaf(&w->builder, op, left, right, NULL));
    struct mst_program *program = load(&w->builder);
    assert_int_equal(mst_bound_create(&bound, program, NULL, w->now, "iot", NULL), 0);
    assert_int_equal(mst_match(w->view, bound, &w->set, NULL), 0);
    mst_bound_destroy(bound);
    mst_program_destroy(program);
    return w->set.count;
}

static void put_numbered(struct world *w, unsigned count)
{
    char id[20], metadata[60];
    for (unsigned i = 0; i < count; i++) {
        struct mst_identity identity = {.revision = ++w->revision};
        identity.id = (struct mst_span){id, (size_t)snprintf(id, sizeof id, "d%u", i)};
        identity.metadata.data = metadata;
        identity.metadata.length =
            (size_t)snprintf(metadata, sizeof metadata, "{\"n\":%u,\"m\":%u,\"s\":\"SN%u\"}", i, i % 10, i);
        assert_int_equal(mst_view_put(w->view, &identity, NULL, NULL), 0);
    }
}

static void test_counts_on_columns_of_every_width(void **state)
{
    (void)state;
    static const unsigned counts[] = {1, 63, 64, 65, 255, 256, 4095, 4096, 4097, 70001};
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
        struct world w;
        unsigned count = counts[i];
        char last[30];
        world_init(&w, 1);
        put_numbered(&w, count);
        snprintf(last, sizeof last, "=%u.0", count - 1);
        assert_int_equal(match_leaf(&w, MST_OP_EQ, "n", last), 1);
        assert_int_equal(mst_rowset_next(&w.set, 0), count - 1);
        assert_int_equal(mst_rowset_next(&w.set, count), MST_ROW_NONE);
        assert_int_equal(match_leaf(&w, MST_OP_IN, "s", "=[\"SN0\",\"SNx\",7]"), 1);
        assert_int_equal(match_leaf(&w, MST_OP_EQ, "n", "=-1"), 0);
        assert_int_equal(match_leaf(&w, MST_OP_EQ, "n", "=null"), 0);
        assert_int_equal(match_leaf(&w, MST_OP_LT, "n", "=50"), count < 50 ? count : 50);
        assert_int_equal(match_leaf(&w, MST_OP_EQ, "m", "=3"), (count + 6) / 10);
        assert_int_equal(match_leaf(&w, MST_OP_GE, "m", "=0"), count);
        assert_int_equal(match_leaf(&w, MST_OP_EQ, "zzz", "=null"), count);
        snprintf(last, sizeof last, "=\"d%u\"", count - 1);
        assert_int_equal(match_leaf(&w, MST_OP_EQ, "@id", last), 1);
        assert_int_equal(mst_rowset_next(&w.set, 0), count - 1);
        snprintf(last, sizeof last, "=[\"d%u\",\"d0\",\"x\",7,null]", count - 1);
        assert_int_equal(match_leaf(&w, MST_OP_IN, "@id", last), count > 1 ? 2 : 1);
        assert_int_equal(match_leaf(&w, MST_OP_EQ, "@id", "=null"), 0);
        world_deinit(&w);
    }
}

static void put_raw(struct world *w, const char *id, const char *metadata)
{
    struct mst_identity identity = {.id = {id, strlen(id)}, .metadata = {metadata, strlen(metadata)}};
    identity.revision = ++w->revision;
    assert_int_equal(mst_view_put(w->view, &identity, NULL, NULL), 0);
}

static void test_literals_looked_up_in_large_dictionaries(void **state)
{
    (void)state;
    for (unsigned count = 300; count <= 6000; count *= 20) {
        struct world w;
        world_init(&w, 1);
        put_numbered(&w, count);
        put_raw(&w, "a", "{\"n\":0.0}");
        put_raw(&w, "b", "{\"n\":-0.0,\"s\":{\"x\":1}}");
        put_raw(&w, "c", "{\"n\":null}");
        assert_int_equal(match_leaf(&w, MST_OP_EQ, "n", "=0"), 3);
        assert_int_equal(match_leaf(&w, MST_OP_EQ, "n", "=-0.0"), 3);
        assert_int_equal(match_leaf(&w, MST_OP_EQ, "n", "=7.0"), 1);
        assert_int_equal(match_leaf(&w, MST_OP_EQ, "n", "=7.5"), 0);
        assert_int_equal(match_leaf(&w, MST_OP_EQ, "n", "=1e300"), 0);
        assert_int_equal(match_leaf(&w, MST_OP_EQ, "n", "=null"), 1);
        assert_int_equal(match_leaf(&w, MST_OP_EQ, "s", "=null"), 2);
        /* An object in the list ends the look-ups after the first ones have been made. */
        assert_int_equal(match_leaf(&w, MST_OP_IN, "s", "=[\"SN1\",null,{\"x\":1.0},\"SN2\"]"), 5);
        world_deinit(&w);
    }
}

static void test_no_filter_is_all_live_rows(void **state)
{
    (void)state;
    struct world w;
    world_init(&w, 1);
    assert_int_equal(mst_match(w.view, NULL, &w.set, NULL), 0);
    assert_int_equal(w.set.count, 0);
    assert_int_equal(mst_rowset_next(&w.set, 0), MST_ROW_NONE);
    put_numbered(&w, 200);
    assert_int_equal(mst_view_remove(w.view, "d7", 2, 1000), 0);
    assert_int_equal(mst_match(w.view, NULL, &w.set, NULL), 0);
    assert_int_equal(w.set.count, 199);
    assert_int_equal(mst_rowset_next(&w.set, 7), 8);
    struct mst_bound *bound = NULL;
    builder_clear(&w.builder);
    struct mst_program *program = load(&w.builder);
    assert_int_equal(mst_bound_create(&bound, program, NULL, NOW, "iot", NULL), 0);
    assert_int_equal(mst_match(w.view, bound, &w.set, NULL), 0);
    assert_int_equal(w.set.count, 199);
    mst_bound_destroy(bound);
    mst_program_destroy(program);
    world_deinit(&w);
}

static void test_more_paths_than_columns(void **state)
{
    (void)state;
    struct world w;
    world_init(&w, 1);
    put_numbered(&w, 100);
    for (int i = 0; i < 1024; i++) {
        char name[20];
        snprintf(name, sizeof name, "x%d", i);
        struct mst_path path = {.count = 1, .steps = {{name, (uint32_t)strlen(name), -1}}};
        assert_non_null(mst_view_column(w.view, &path));
    }
    assert_int_equal(match_leaf(&w, MST_OP_LT, "n", "=50"), 50);
    assert_int_equal(match_leaf(&w, MST_OP_EQ, "n", "n"), 100);
    assert_int_equal(match_leaf(&w, MST_OP_EQ, "@id", "=\"d5\""), 1);
    world_deinit(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_columns_agree_with_rows),
        cmocka_unit_test(test_columns_agree_with_rows_over_many_values),
        cmocka_unit_test(test_counts_on_columns_of_every_width),
        cmocka_unit_test(test_literals_looked_up_in_large_dictionaries),
        cmocka_unit_test(test_no_filter_is_all_live_rows),
        cmocka_unit_test(test_more_paths_than_columns),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
