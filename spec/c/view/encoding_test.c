// SPDX-License-Identifier: Apache-2.0
/* Columns in every encoding, against a naive list of documents. */
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

#define IDS 60000u
#define COLUMNS 7u

static const char *const paths[COLUMNS] = {"n", "s", "few", "mix", "deep.x", "late", "list"};

struct record {
    bool alive;
    int64_t deadline;
    char metadata[220];
};

struct world {
    struct mst_json_parser *parser;
    struct mst_view *view;
    struct mst_column *columns[COLUMNS]; /* NULL: not asked for yet */
    struct record *records;              /* IDS of them */
    struct mst_buffer document, finals;
    uint64_t revision, seed;
    int64_t now;
    uint32_t ids, alive;
    uint64_t spread; /* of the numbers */
    unsigned skew;   /* every how-manieth number is the heavy one; 0: none */
};

static uint32_t dice(struct world *w, uint32_t sides)
{
    w->seed = w->seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (uint32_t)(w->seed >> 33) % sides;
}

static void world_init(struct world *w, uint64_t seed, uint32_t ids)
{
    *w = (struct world){.seed = seed, .ids = ids, .now = 1000, .spread = 1000000};
    w->parser = mst_json_parser_create();
    w->view = mst_view_create("t", w->parser);
    w->records = calloc(IDS, sizeof *w->records);
    assert_true(w->view && w->records && ids <= IDS);
}

static void world_deinit(struct world *w)
{
    mst_view_destroy(w->view);
    mst_json_parser_destroy(w->parser);
    mst_buffer_deinit(&w->document);
    mst_buffer_deinit(&w->finals);
    free(w->records);
}

static struct mst_column *ask(struct world *w, unsigned i)
{
    struct mst_path path;
    assert_int_equal(mst_path_parse(&path, paths[i], strlen(paths[i]), NULL), 0);
    return w->columns[i] = mst_view_column(w->view, &path);
}

static size_t name_of(char *id, uint32_t number)
{
    return (size_t)sprintf(id, "device-%u", number);
}

static int put_mix(struct world *w, char *at)
{
    switch (dice(w, 9)) {
    case 0:
        return sprintf(at, "null");
    case 1:
        return sprintf(at, "true");
    case 2:
        return sprintf(at, "[%u]", dice(w, 50000));
    case 3:
        return sprintf(at, "{\"k\":%u}", dice(w, 50000));
    case 4:
        return sprintf(at, "\"t%u\"", dice(w, 50000));
    case 5:
        return sprintf(at, "\"\"");
    case 6:
        return sprintf(at, "%u.5", dice(w, 50000));
    case 7:
        return sprintf(at, "9007199254740%03u", dice(w, 1000));
    default:
        return sprintf(at, "-%u", dice(w, 50000));
    }
}

static void write_metadata(struct world *w, char *out)
{
    char *at = out;
    unsigned number = w->skew && dice(w, w->skew) ? 7 : (unsigned)(dice(w, 1u << 31) % w->spread);
    at += sprintf(at, "{\"few\":\"v%u\"", dice(w, 300));
    if (dice(w, 20))
        at += sprintf(at, ",\"n\":%u%s", number, dice(w, 3) ? "" : ".25");
    if (dice(w, 20))
        at += sprintf(at, ",\"s\":\"%s%u\"", dice(w, 2) ? "serial-" : "", number);
    if (dice(w, 3) == 0)
        at += sprintf(at, ",\"deep\":{\"x\":%u}", dice(w, 30000));
    if (dice(w, 3) == 0)
        at += sprintf(at, ",\"late\":%u", number);
    if (dice(w, 40) == 0)
        at += sprintf(at, ",\"list\":[%u,\"%u\"]", dice(w, 10), dice(w, 10));
    at += sprintf(at, ",\"mix\":");
    at += put_mix(w, at);
    sprintf(at, "}");
}

#define MANY 20u

static void put_some(struct world *w, uint32_t count)
{
    static char names[MANY][24];
    struct mst_identity identities[MANY] = {0};
    int results[MANY];
    for (uint32_t i = 0; i < count; i++) {
        uint32_t number = dice(w, w->ids);
        struct record *record = &w->records[number];
        w->alive += !record->alive;
        record->alive = true;
        record->deadline = dice(w, 4) ? 0 : w->now + 1 + dice(w, 5000);
        if (dice(w, 8) || record->metadata[0] == '\0')
            write_metadata(w, record->metadata);
        identities[i] = (struct mst_identity){
            .id = {names[i], name_of(names[i], number)}, .expires_at = record->deadline, .revision = ++w->revision};
        /* The same identity twice in a group: both puts are to have what is now there. */
        identities[i].metadata = (struct mst_span){record->metadata, strlen(record->metadata)};
    }
    for (uint32_t i = 0; i < count; i++)
        identities[i].metadata.length = strlen(identities[i].metadata.data);
    assert_int_equal(mst_view_put_many(w->view, identities, NULL, count, results), 0);
    for (uint32_t i = 0; i < count; i++)
        assert_int_equal(results[i], 0);
}

static void remove_one(struct world *w)
{
    char id[24];
    uint32_t number = dice(w, w->ids);
    bool there = w->records[number].alive;
    assert_int_equal(mst_view_remove(w->view, id, name_of(id, number), ++w->revision), there ? 0 : MST_ENOTFOUND);
    w->records[number].alive = false;
    w->alive -= there;
}

static void touch_one(struct world *w)
{
    char id[24];
    uint32_t number = dice(w, w->ids);
    struct mst_view_touch touch = {.lease_ms = 5, .expires_at = w->now + 1 + dice(w, 5000), .revision = ++w->revision};
    touch.id = (struct mst_span){id, name_of(id, number)};
    int result, expected = w->records[number].alive ? 0 : MST_ENOTFOUND;
    assert_int_equal(mst_view_touch_many(w->view, &touch, 1, &result), expected);
    assert_int_equal(result, expected);
    w->records[number].deadline = touch.expires_at;
}

static void expire(struct world *w)
{
    uint32_t ended = 0;
    w->now += dice(w, 300);
    for (uint32_t i = 0; i < w->ids; i++) {
        struct record *record = &w->records[i];
        if (!record->alive || record->deadline == 0 || record->deadline > w->now)
            continue;
        record->alive = false;
        ended++;
    }
    w->alive -= ended;
    assert_int_equal(mst_view_expire(w->view, w->now, NULL, NULL), ended);
}

/* What the path denotes in the record by its text; NULL: missing. */
static const uint8_t *truth(struct world *w, const struct record *record, unsigned column)
{
    struct mst_path path;
    struct mst_json_limits limits = {.bytes = 1000, .depth = 9};
    size_t length = strlen(record->metadata);
    mst_buffer_clear(&w->document);
    mst_buffer_clear(&w->finals);
    assert_int_equal(mst_path_parse(&path, paths[column], strlen(paths[column]), NULL), 0);
    assert_int_equal(mst_json_parse(w->parser, record->metadata, length, &limits, &w->document, NULL), 0);
    return mst_path_find(&path, (const uint8_t *)w->document.data, &w->finals);
}

static bool is_list(const uint8_t *value)
{
    return mst_value_tag(value) == MST_ARRAY || mst_value_tag(value) == MST_FINALS;
}

static void check_bounds(const struct mst_column *column, uint32_t code, const uint8_t *value)
{
    const uint8_t *low, *high;
    mst_column_bucket(column, code, &low, &high);
    assert_true((low == NULL) == (high == NULL));
    if (low) {
        assert_false(is_list(value));
        assert_true(mst_value_compare(low, value) <= 0);
        assert_true(mst_value_compare(value, high) <= 0);
    }
}

struct tally {
    uint32_t *rows; /* by code */
    uint32_t compounds, missing;
};

static void check_cell(struct world *w, unsigned i, uint32_t number, struct tally *tally)
{
    char id[24];
    uint8_t cell[16];
    struct mst_column *column = w->columns[i];
    uint32_t row = mst_view_find(w->view, id, name_of(id, number));
    assert_true(mst_view_alive(w->view, row));
    uint32_t code = mst_column_code(column, row);
    const uint8_t *expected = truth(w, &w->records[number], i), *found = mst_column_row_value(column, row, cell);
    assert_true((expected == NULL) == (found == NULL));
    assert_true((code == 0) == (expected == NULL));
    tally->missing += !expected;
    if (!expected)
        return;
    assert_int_equal(mst_value_size(found), mst_value_size(expected));
    assert_memory_equal(found, expected, mst_value_size(expected));
    assert_true(code <= mst_column_codes(column));
    tally->rows[code]++;
    tally->compounds += is_list(expected);
    if (mst_column_encoding(column) == MST_ENCODING_SKETCH)
        check_bounds(column, code, expected);
    else
        assert_int_equal(mst_column_find(column, expected), code);
}

static void check_column(struct world *w, unsigned i)
{
    struct mst_column *column = w->columns[i];
    uint32_t codes = mst_column_codes(column);
    struct tally tally = {.rows = calloc(codes + 1, sizeof *tally.rows)};
    for (uint32_t number = 0; number < w->ids; number++)
        if (w->records[number].alive)
            check_cell(w, i, number, &tally);
    bool sketch = mst_column_encoding(column) == MST_ENCODING_SKETCH;
    assert_int_equal(mst_column_rows(column, 0), tally.missing);
    assert_true(sketch ? codes <= 255 && mst_column_width(column) == 1 : codes < 1u << (8 * mst_column_width(column)));
    for (uint32_t code = 1; code <= codes; code++)
        assert_int_equal(mst_column_rows(column, code), tally.rows[code]);
    if (sketch)
        assert_int_equal(mst_column_compounds(column), tally.compounds);
    free(tally.rows);
}

/* Sets that are kept hold exactly the rows of their codes. */
static void check_bitsets(struct world *w, struct mst_column *column)
{
    uint32_t limit = mst_view_row_limit(w->view);
    for (uint32_t code = 1; code <= 3 && code <= mst_column_codes(column); code++) {
        const uint64_t *set = mst_column_bitset(column, code, w->now);
        for (uint32_t row = 0; set && row < limit; row++)
            assert_int_equal(set[row / 64] >> (row % 64) & 1, mst_column_code(column, row) == code);
    }
}

static void check(struct world *w)
{
    assert_int_equal(mst_view_count(w->view), w->alive);
    for (unsigned i = 0; i < COLUMNS; i++) {
        if (!w->columns[i] || mst_column_filling(w->columns[i]))
            continue;
        check_column(w, i);
        check_bitsets(w, w->columns[i]);
    }
}

static void random_steps(struct world *w, unsigned steps)
{
    for (unsigned i = 0; i < steps; i++) {
        switch (dice(w, 12)) {
        case 0:
        case 1:
            remove_one(w);
            break;
        case 2:
            touch_one(w);
            break;
        case 3:
            if (dice(w, 30) == 0)
                expire(w);
            break;
        default:
            put_some(w, 1 + dice(w, MANY));
        }
    }
}

static void run(uint64_t seed, uint32_t ids, unsigned rounds, unsigned steps, unsigned skew)
{
    struct world w;
    world_init(&w, seed, ids);
    w.skew = skew;
    for (unsigned round = 0; round < rounds; round++) {
        for (unsigned i = 0; i < COLUMNS; i++)
            if (!w.columns[i] && dice(&w, 3) == 0)
                ask(&w, i);
        if (round == rounds / 2)
            w.spread = w.spread == 1000000 ? 100 : 1000000; /* values crowd together, or scatter */
        random_steps(&w, steps);
        check(&w);
    }
    mst_view_empty(w.view, ++w.revision);
    for (uint32_t i = 0; i < ids; i++)
        w.records[i].alive = false;
    w.alive = 0;
    check(&w);
    random_steps(&w, 100);
    check(&w);
    world_deinit(&w);
}

static void test_random_changes_as_in_a_naive_list(void **state)
{
    (void)state;
    run(1, 300, 40, 60, 0);
    run(2, 9000, 8, 700, 0);
    run(3, 9000, 8, 700, 2);
    run(4, 20000, 4, 3000, 4);
}

static void test_many_values_become_a_sketch_of_even_buckets(void **state)
{
    (void)state;
    struct world w;
    world_init(&w, 5, 20000);
    struct mst_column *n = ask(&w, 0), *few = ask(&w, 2);
    uint64_t epoch = mst_column_epoch(n);
    while (w.alive < 4000)
        put_some(&w, MANY);
    assert_int_equal(mst_column_encoding(n), MST_ENCODING_DICTIONARY);
    while (w.alive < 15000)
        put_some(&w, MANY);
    assert_int_equal(mst_column_encoding(n), MST_ENCODING_SKETCH);
    assert_int_equal(mst_column_encoding(few), MST_ENCODING_DICTIONARY);
    assert_true(mst_column_epoch(n) > epoch);
    assert_true(mst_column_codes(n) > 100);
    for (uint32_t code = 1; code <= mst_column_codes(n); code++)
        assert_true(mst_column_rows(n, code) <= w.alive / 20);
    check(&w);
    world_deinit(&w);
}

static void test_a_heavy_value_has_a_bucket_of_its_own(void **state)
{
    (void)state;
    struct world w;
    world_init(&w, 6, 40000);
    w.skew = 2;
    struct mst_column *columns[] = {ask(&w, 0), ask(&w, 1)};
    while (w.alive < 30000)
        put_some(&w, MANY);
    for (int i = 0; i < 2; i++) {
        uint32_t heavy = 0;
        assert_int_equal(mst_column_encoding(columns[i]), MST_ENCODING_SKETCH);
        for (uint32_t code = 1; code <= mst_column_codes(columns[i]); code++) {
            const uint8_t *low, *high;
            mst_column_bucket(columns[i], code, &low, &high);
            if (mst_column_rows(columns[i], code) < w.alive / 8)
                continue;
            heavy++;
            assert_non_null(low);
            assert_int_equal(mst_value_compare(low, high), 0);
        }
        assert_int_equal(heavy, 2); /* 7 and 7.25; "7" and "serial-7" */
    }
    check(&w);
    world_deinit(&w);
}

static void test_growing_values_stay_even(void **state)
{
    (void)state;
    struct world w;
    char id[24], metadata[40];
    world_init(&w, 7, 60000);
    struct mst_column *n = ask(&w, 0);
    uint32_t largest = 0, passed = 0;
    for (uint32_t i = 0; i < 60000; i++) {
        struct mst_identity identity = {.id = {id, name_of(id, i)}, .revision = ++w.revision};
        identity.metadata = (struct mst_span){metadata, (size_t)sprintf(metadata, "{\"n\":%u}", i)};
        assert_int_equal(mst_view_put(w.view, &identity, NULL, NULL), 0);
    }
    for (uint32_t code = 1; code <= mst_column_codes(n); code++)
        largest = mst_column_rows(n, code) > largest ? mst_column_rows(n, code) : largest;
    assert_true(largest <= 60000 / 25 + 1);
    for (uint32_t row = 0; row < 60000; row++) {
        uint8_t cell[16];
        check_bounds(n, mst_column_code(n, row), mst_column_row_value(n, row, cell));
    }
    const uint8_t *low, *high, *before = NULL;
    for (uint32_t code = 1; code <= mst_column_codes(n); code++) {
        mst_column_bucket(n, code, &low, &high);
        if (!low)
            continue;
        assert_true(mst_value_compare(low, high) <= 0);
        assert_true(!before || mst_value_compare(before, low) <= 0); /* codes are in the order of values */
        before = low;
        passed++;
    }
    assert_true(passed > 100);
    world_deinit(&w);
}

static void test_scalars_get_columns_as_they_arrive(void **state)
{
    (void)state;
    struct world w;
    char id[24], metadata[4000];
    world_init(&w, 8, 60000);
    /* Enough rows for a column to be filled in slices, were it not there yet. */
    for (uint32_t i = 0; i < 50100; i++) {
        struct mst_identity identity = {.id = {id, name_of(id, i)}, .revision = ++w.revision};
        int length = sprintf(metadata, "{\"n\":%u,\"list\":[1]", i % 5);
        for (int k = 0; i == 50050 && k < 100; k++)
            length += sprintf(metadata + length, ",\"field%03d\":%d", k, k);
        length += sprintf(metadata + length, "}");
        identity.metadata = (struct mst_span){metadata, (size_t)length};
        assert_int_equal(mst_view_put(w.view, &identity, NULL, NULL), 0);
    }
    assert_false(mst_column_filling(ask(&w, 0)));
    assert_true(mst_column_filling(ask(&w, 6)));
    unsigned there = 0;
    for (int k = 0; k < 100; k++) {
        struct mst_path path = {.count = 1, .steps = {{id, (uint32_t)sprintf(id, "field%03d", k), -1}}};
        struct mst_column *column = mst_view_column(w.view, &path);
        if (mst_column_filling(column))
            continue;
        there++;
        uint8_t cell[16];
        assert_int_equal(mst_value_int(mst_column_row_value(column, 50050, cell)), k);
        assert_int_equal(mst_column_rows(column, 0), 50099);
    }
    assert_int_equal(there, 63);
    world_deinit(&w);
}

static void test_filling_in_slices_amid_writes(void **state)
{
    (void)state;
    struct world w;
    world_init(&w, 9, 60000);
    /* These never become automatic: "deep" and "list" are no scalars, and "late" has been seen as a list first. */
    struct mst_identity first = {.id = {"x", 1}, .metadata = {"{\"late\":[]}", 11}, .revision = ++w.revision};
    assert_int_equal(mst_view_put(w.view, &first, NULL, NULL), 0);
    assert_int_equal(mst_view_remove(w.view, "x", 1, ++w.revision), 0);
    while (w.alive < 51000)
        put_some(&w, MANY);
    for (unsigned i = 4; i < COLUMNS; i++)
        assert_true(mst_column_filling(ask(&w, i)));
    unsigned slices = 0;
    while (mst_view_fill(w.view, 2000)) {
        random_steps(&w, 20);
        slices++;
        if (w.alive < 50500)
            put_some(&w, MANY);
    }
    assert_true(slices > 60);
    assert_false(mst_view_fill(w.view, 2000));
    assert_int_equal(mst_column_encoding(w.columns[5]), MST_ENCODING_SKETCH);
    check(&w);
    world_deinit(&w);
}

static void test_a_hot_code_gets_a_set_within_the_budget(void **state)
{
    (void)state;
    struct world w;
    world_init(&w, 10, 20000);
    struct mst_column *few = ask(&w, 2);
    while (w.alive < 8000)
        put_some(&w, MANY);
    assert_null(mst_column_bitset(few, 1, 1000));
    assert_null(mst_column_bitset(few, 1, 2000));
    assert_null(mst_column_bitset(few, 2, 2000));
    assert_null(mst_column_bitset(few, 1, 70000)); /* the first two are long ago */
    assert_null(mst_column_bitset(few, 1, 70001));
    assert_non_null(mst_column_bitset(few, 1, 70002));
    random_steps(&w, 300);
    const uint64_t *set = mst_column_bitset(few, 1, 70003);
    uint32_t rows = 0;
    for (uint32_t i = 0; i < (mst_view_row_limit(w.view) + 63) / 64; i++)
        rows += (uint32_t)__builtin_popcountll(set[i]);
    assert_int_equal(rows, mst_column_rows(few, 1));
    unsigned kept = 0;
    for (uint32_t code = 1; code <= 200; code++)
        for (int use = 0; use < 3; use++)
            kept += mst_column_bitset(few, code, 70010) != NULL && use == 2;
    assert_true(kept > 2 && kept <= 64);
    /* Those that nobody asks for any more make room. */
    for (int use = 0; use < 2; use++)
        assert_null(mst_column_bitset(few, 201, 200000));
    assert_non_null(mst_column_bitset(few, 201, 200000));
    world_deinit(&w);
}

static void test_a_group_may_name_an_identity_twice(void **state)
{
    (void)state;
    struct world w;
    world_init(&w, 11, 10);
    struct mst_identity identities[] = {
        {.id = {"a", 1}, .metadata = {"{\"n\":1}", 7}, .revision = 1},
        {.id = {"", 0}, .metadata = {"{\"n\":1}", 7}, .revision = 2},
        {.id = {"a", 1}, .metadata = {"{\"n\":2}", 7}, .revision = 3},
        {.id = {"b", 1}, .metadata = {"{\"n\":", 5}, .revision = 4},
        {.id = {"a", 1}, .metadata = {"{\"n\":9}", 7}, .revision = 2},
    };
    int results[5];
    uint8_t cell[16];
    assert_int_equal(mst_view_put_many(w.view, identities, NULL, 5, results), MST_EID);
    assert_int_equal(results[0], 0);
    assert_int_equal(results[1], MST_EID);
    assert_int_equal(results[2], 0);
    assert_int_equal(results[3], MST_EJSON);
    assert_int_equal(results[4], 0);
    assert_int_equal(mst_view_count(w.view), 1);
    assert_int_equal(mst_value_int(mst_column_row_value(ask(&w, 0), 0, cell)), 2);
    struct mst_span ids[] = {{"a", 1}, {"a", 1}};
    assert_int_equal(mst_view_remove_many(w.view, ids, 2, 9, results), MST_ENOTFOUND);
    assert_int_equal(results[0], 0);
    assert_int_equal(results[1], MST_ENOTFOUND);
    assert_int_equal(mst_view_count(w.view), 0);
    assert_int_equal(mst_view_revision(w.view), 9);
    world_deinit(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random_changes_as_in_a_naive_list),
        cmocka_unit_test(test_many_values_become_a_sketch_of_even_buckets),
        cmocka_unit_test(test_a_heavy_value_has_a_bucket_of_its_own),
        cmocka_unit_test(test_growing_values_stay_even),
        cmocka_unit_test(test_scalars_get_columns_as_they_arrive),
        cmocka_unit_test(test_filling_in_slices_amid_writes),
        cmocka_unit_test(test_a_hot_code_gets_a_set_within_the_budget),
        cmocka_unit_test(test_a_group_may_name_an_identity_twice),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
