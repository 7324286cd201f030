// SPDX-License-Identifier: Apache-2.0
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "match/match.h"
#include "match/sort.h"
#include "view/view.h"

#include "builder.h"
#include "random.h"

#define ROWS 300u

struct world {
    struct builder builder;
    struct mst_view *view;
    struct mst_rowset set;
};

static void put(struct world *w, const char *id, const char *metadata)
{
    static uint64_t revision;
    struct mst_identity identity = {
        .id = {id, strlen(id)}, .metadata = {metadata, strlen(metadata)}, .revision = ++revision};
    assert_int_equal(mst_view_put(w->view, &identity, NULL, NULL), 0);
}

static void world_init(struct world *w)
{
    *w = (struct world){0};
    builder_init(&w->builder);
    w->view = mst_view_create("t", w->builder.parser);
}

static void world_deinit(struct world *w)
{
    mst_rowset_deinit(&w->set);
    mst_view_destroy(w->view);
    builder_deinit(&w->builder);
}

static struct mst_sort_key key(const char *path, bool descending)
{
    struct mst_sort_key made = {.descending = descending};
    assert_int_equal(mst_path_parse(&made.path, path, strlen(path), NULL), 0);
    return made;
}

/* The ids of the first `limit` rows, joined. */
static void assert_order(struct world *w, const struct mst_sort_key *keys, uint32_t key_count, uint32_t limit,
                         const char *expected)
{
    uint32_t rows[ROWS], count = 99;
    struct mst_buffer ids = {0};
    assert_int_equal(mst_match(w->view, NULL, &w->set, NULL), 0);
    assert_int_equal(mst_sort(w->view, &w->set, keys, key_count, limit, rows, &count), 0);
    for (uint32_t i = 0; i < count; i++) {
        struct mst_identity identity;
        mst_view_identity(w->view, rows[i], &identity);
        mst_buffer_append(&ids, identity.id.data, identity.id.length);
    }
    mst_buffer_append_byte(&ids, '\0');
    assert_string_equal(ids.data, expected);
    mst_buffer_deinit(&ids);
}

static void test_order_of_types_missing_last_ties_by_id(void **state)
{
    (void)state;
    struct world w;
    world_init(&w);
    put(&w, "h", "{}");
    put(&w, "g", "{\"a\":[1]}");
    put(&w, "f", "{\"a\":\"x\"}");
    put(&w, "e", "{\"a\":2.5}");
    put(&w, "d", "{\"a\":1,\"b\":1}");
    put(&w, "c", "{\"a\":1.0,\"b\":2}");
    put(&w, "b", "{\"a\":true}");
    put(&w, "a", "{\"a\":null}");
    put(&w, "aa", "{}");
    struct mst_sort_key keys[2] = {key("a", false), key("b", true)};
    assert_order(&w, keys, 1, 99, "abcdefgaah");
    assert_order(&w, keys, 2, 99, "abcdefgaah");
    assert_order(&w, keys, 1, 3, "abc");
    assert_order(&w, keys, 1, 0, "");
    keys[0].descending = true;
    assert_order(&w, keys, 1, 99, "gfecdbaaah");
    keys[1].descending = false;
    assert_order(&w, keys, 2, 4, "gfed");
    assert_order(&w, NULL, 0, 2, "aaa");
    world_deinit(&w);
}

static void test_several_finals_sort_by_the_first(void **state)
{
    (void)state;
    struct world w;
    world_init(&w);
    put(&w, "a", "{\"s\":[{\"t\":5},{\"t\":1}]}");
    put(&w, "b", "{\"s\":[{\"t\":3},{\"t\":9}]}");
    put(&w, "c", "{\"s\":{\"t\":4}}");
    struct mst_sort_key keys[1] = {key("s.t", false)};
    assert_order(&w, keys, 1, 9, "bca");
    world_deinit(&w);
}

/* For the naive order below: qsort has no context. */
static struct world *naive_world;
static const struct mst_sort_key *naive_keys;

static int naive_compare(const void *a, const void *b)
{
    const uint32_t *rows[2] = {a, b};
    struct mst_identity identity[2];
    struct mst_buffer documents[2] = {{0}}, scratch[2] = {{0}};
    int order = 0;
    for (int i = 0; i < 2; i++) {
        mst_view_identity(naive_world->view, *rows[i], &identity[i]);
        mst_view_document(naive_world->view, *rows[i], &documents[i]);
    }
    for (int k = 0; k < 2 && order == 0; k++) {
        const uint8_t *found[2];
        for (int i = 0; i < 2; i++) {
            mst_buffer_clear(&scratch[i]);
            found[i] = mst_path_find(&naive_keys[k].path, (const uint8_t *)documents[i].data, &scratch[i]);
            if (found[i] && mst_value_tag(found[i]) == MST_FINALS)
                found[i] = mst_value_at(found[i], 0);
        }
        if (found[0] && found[1])
            order = mst_value_compare(found[0], found[1]) * (naive_keys[k].descending ? -1 : 1);
        else
            order = (found[0] == NULL) - (found[1] == NULL);
    }
    if (order == 0) {
        size_t least = identity[0].id.length < identity[1].id.length ? identity[0].id.length : identity[1].id.length;
        order = memcmp(identity[0].id.data, identity[1].id.data, least);
        order = order ? order : (int)identity[0].id.length - (int)identity[1].id.length;
    }
    for (int i = 0; i < 2; i++) {
        mst_buffer_deinit(&documents[i]);
        mst_buffer_deinit(&scratch[i]);
    }
    return order;
}

/* Reads all pages of `limit` rows, each behind the place of the one before; returns how many rows there were. */
static uint32_t read_pages(struct world *w, const struct mst_sort_key *keys, uint32_t key_count, uint32_t limit,
                           uint32_t *rows)
{
    const uint32_t all = w->set.count;
    uint32_t total = 0, count = 0;
    struct mst_row_scratch scratch[2] = {0};
    const uint8_t *values[2] = {NULL, NULL};
    struct mst_identity identity;
    struct mst_sort_place place = {.values = values};
    do {
        assert_true(total <= all); /* `rows` has room for one page more */
        assert_int_equal(
            mst_sort_after(w->view, &w->set, keys, key_count, total ? &place : NULL, limit, rows + total, &count), 0);
        total += count;
        for (uint32_t i = 0; total && i < key_count; i++)
            values[i] = mst_row_first_value(w->view, mst_view_column(w->view, &keys[i].path), &keys[i].path,
                                            rows[total - 1], &scratch[i]);
        if (total)
            mst_view_identity(w->view, rows[total - 1], &identity);
        place.id = identity.id;
    } while (count);
    mst_row_scratch_deinit(&scratch[0]);
    mst_row_scratch_deinit(&scratch[1]);
    return total;
}

#define MANY 30000u

/* A column of so many values is a sketch; whole numbers, fractions and texts by turns. */
static void test_pages_over_a_sketch(void **state)
{
    (void)state;
    struct world w;
    struct mst_sort_key keys[1] = {key("n", false)};
    static uint32_t rows[2 * MANY], rank_of[MANY];
    world_init(&w);
    for (uint32_t i = 0; i < MANY; i++) {
        char id[20], metadata[60];
        uint32_t rank = i * 7919u % MANY;
        snprintf(id, sizeof id, "d%u", i);
        if (rank < MANY / 2)
            snprintf(metadata, sizeof metadata, rank % 2 ? "{\"n\":%u.5}" : "{\"n\":%u}", rank);
        else
            snprintf(metadata, sizeof metadata, rank < MANY - 10 ? "{\"n\":\"%08u\"}" : "{}", rank);
        put(&w, id, metadata);
        rank_of[mst_view_find(w.view, id, strlen(id))] = rank;
    }
    assert_int_equal(mst_match(w.view, NULL, &w.set, NULL), 0);
    struct mst_column *column = mst_view_column(w.view, &keys[0].path);
    while (mst_column_filling(column))
        mst_view_fill(w.view, MANY);
    assert_int_equal(mst_column_encoding(column), MST_ENCODING_SKETCH);
    assert_int_equal(read_pages(&w, keys, 1, 7001, rows), MANY);
    for (uint32_t i = 0; i < MANY - 10; i++)
        assert_int_equal(rank_of[rows[i]], i);
    for (uint32_t i = MANY - 10; i < MANY; i++)
        assert_true(rank_of[rows[i]] >= MANY - 10);
    world_deinit(&w);
}

static void test_first_rows_agree_with_a_full_sort(void **state)
{
    (void)state;
    static const uint32_t limits[] = {1, 2, 7, 50, ROWS - 1, ROWS, 1000};
    static const char *const paths[][2] = {{"a", "b"}, {"o.q.r", "n"}, {"tags", "a"}, {"n", "serial"}};
    uint64_t seed = 3;
    struct world w;
    world_init(&w);
    for (unsigned i = 0; i < ROWS; i++) {
        char id[20], metadata[600];
        snprintf(id, sizeof id, "d%u", i);
        random_metadata(&seed, i, metadata, sizeof metadata);
        put(&w, id, metadata);
    }
    assert_int_equal(mst_match(w.view, NULL, &w.set, NULL), 0);
    for (unsigned p = 0; p < 8; p++) {
        struct mst_sort_key keys[2] = {key(paths[p / 2][0], p % 2), key(paths[p / 2][1], p % 3)};
        uint32_t expected[ROWS], rows[ROWS + 1000], count;
        for (uint32_t i = 0; i < ROWS; i++)
            expected[i] = i;
        naive_world = &w;
        naive_keys = keys;
        qsort(expected, ROWS, sizeof *expected, naive_compare);
        for (size_t i = 0; i < sizeof limits / sizeof *limits; i++) {
            assert_int_equal(mst_sort(w.view, &w.set, keys, 2, limits[i], rows, &count), 0);
            assert_int_equal(count, limits[i] < ROWS ? limits[i] : ROWS);
            assert_memory_equal(rows, expected, count * sizeof *rows);
            if (limits[i] >= ROWS)
                continue;
            assert_int_equal(read_pages(&w, keys, 2, limits[i], rows), ROWS);
            assert_memory_equal(rows, expected, sizeof expected);
        }
    }
    world_deinit(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_order_of_types_missing_last_ties_by_id),
        cmocka_unit_test(test_several_finals_sort_by_the_first),
        cmocka_unit_test(test_first_rows_agree_with_a_full_sort),
        cmocka_unit_test(test_pages_over_a_sketch),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
