// SPDX-License-Identifier: Apache-2.0
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "match/kernel.h"
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

/* The ways to ask that do not give a set. */
static void compare_counts(struct world *w, struct mst_bound *bound, uint32_t expected)
{
    struct mst_step steps[64];
    uint32_t count, step_count, rows, *listed = malloc((expected + 17) * sizeof *listed);
    bool exists;
    assert_int_equal(mst_match_count(w->view, bound, &count, NULL), 0);
    assert_int_equal(count, expected);
    assert_int_equal(mst_match_exists(w->view, bound, &exists, NULL), 0);
    assert_int_equal(exists, expected > 0);
    assert_int_equal(mst_match_explain(w->view, bound, true, steps, 64, &step_count, &rows, NULL), 0);
    assert_int_equal(rows, expected);
    for (uint32_t i = 0; i < step_count && i < 64; i++)
        assert_true(steps[i].rows_out <= steps[i].rows_in && steps[i].rows_in <= mst_view_count(w->view));
    assert_non_null(listed);
    for (uint32_t row = 0, i = 0; (row = mst_rowset_next(&w->set, row)) != MST_ROW_NONE; row++, i++)
        listed[i] = row;
    uint32_t first = expected ? listed[expected / 3] : 0, *again = malloc((expected + 17) * sizeof *again);
    assert_non_null(again);
    count = mst_rowset_list(&w->set, first, again, expected / 2);
    assert_int_equal(count, expected / 2 < expected - expected / 3 ? expected / 2 : expected - expected / 3);
    assert_memory_equal(again, listed + expected / 3, count * sizeof *again);
    free(again);
    free(listed);
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
    compare_counts(w, bound, found);
}

static const char *const instructions[] = {"scalar", "sse2", "avx2", "avx512"};

/* Programs that are made from now on use those, if the processor has them. */
static bool use_instructions(unsigned number)
{
    bool there = mst__kernels_find(instructions[number]) != NULL;
    if (!there)
        print_message("%s: not on this processor\n", instructions[number]);
    setenv("MUSTER_KERNELS", instructions[number], 1);
    if (there)
        assert_string_equal(mst_match_instructions(), instructions[number]);
    return there;
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
    for (unsigned i = 0; i < 4; i++)
        for (uint64_t seed = 1; use_instructions(i) && seed <= 4; seed++)
            run_world(seed + 10 * i, 300, 200, 12);
    unsetenv("MUSTER_KERNELS");
}

static void test_columns_agree_with_rows_over_many_values(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 4; i++)
        if (use_instructions(i))
            run_world(99 + i, 9000, 60, 40);
    unsetenv("MUSTER_KERNELS");
}

/* One filter, kept from request to request, with the text of its program made once. */
static struct mst_program *keep_filter(struct world *w)
{
    random_filter(&w->builder, &w->seed);
    return load(&w->builder);
}

static void run_kept(struct world *w, struct mst_program *program)
{
    struct mst_buffer parameters = {0};
    struct mst_bound *bound = NULL;
    random_parameters(&w->builder, &w->seed, &parameters);
    assert_int_equal(mst_bound_create(&bound, program, (const uint8_t *)parameters.data, w->now, "iot", NULL), 0);
    compare(w, bound);
    mst_bound_destroy(bound);
    mst_buffer_deinit(&parameters);
}

/* What a program has worked out for a view must follow the view, the parameters and the time. */
static void run_kept_programs(uint64_t seed, unsigned ids, unsigned programs, unsigned rounds, unsigned changes)
{
    struct world w;
    struct mst_program *kept[40];
    world_init(&w, seed);
    for (unsigned i = 0; i < ids / 8; i++)
        put(&w, i);
    for (unsigned i = 0; i < programs; i++)
        kept[i] = keep_filter(&w);
    for (unsigned round = 0; round < rounds; round++) {
        for (unsigned j = 0; j < changes; j++)
            change(&w, ids);
        for (unsigned i = 0; i < programs; i++)
            if (dice(&w.seed, 3))
                run_kept(&w, kept[i]);
    }
    for (unsigned i = 0; i < programs; i++)
        mst_program_destroy(kept[i]);
    world_deinit(&w);
}

static void test_kept_programs_follow_the_view(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 4; i++)
        for (uint64_t seed = 1; use_instructions(i) && seed <= 3; seed++)
            run_kept_programs(seed + 10 * i, 200, 40, 15, 25);
    unsetenv("MUSTER_KERNELS");
    run_kept_programs(50, 9000, 20, 6, 2500);
}

/* More views than plans are kept for, some of them made anew in the same place. */
static void test_one_program_over_many_views(void **state)
{
    (void)state;
    enum { VIEWS = 6 };
    struct world worlds[VIEWS];
    struct mst_program *kept[8];
    uint64_t seed = 3;
    for (unsigned i = 0; i < VIEWS; i++) {
        world_init(&worlds[i], 100 + i);
        for (unsigned j = 0; j < 60; j++)
            put(&worlds[i], j);
    }
    for (unsigned i = 0; i < 8; i++)
        kept[i] = keep_filter(&worlds[0]);
    for (unsigned round = 0; round < 300; round++) {
        struct world *w = &worlds[dice(&seed, dice(&seed, 2) ? 2 : VIEWS)];
        if (dice(&seed, 10) == 0) {
            mst_view_destroy(w->view);
            w->view = mst_view_create("iot", w->builder.parser);
            assert_non_null(w->view);
            for (unsigned j = 0; j < 60; j++)
                put(w, j);
        }
        for (unsigned j = 0; j < 5; j++)
            change(w, 80);
        run_kept(w, kept[dice(&seed, 8)]);
    }
    assert_true(mst_program_kept(kept[0]) > 0);
    for (unsigned i = 0; i < 8; i++)
        mst_program_destroy(kept[i]);
    for (unsigned i = 0; i < VIEWS; i++)
        world_deinit(&worlds[i]);
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

/* A filter of one leaf, bound without parameters, over w->builder; to be given back with drop_leaf. */
static struct mst_program *keep_leaf(struct world *w, unsigned op, const char *left, const char *right,
                                     const char *third, struct mst_bound **bound)
{
    builder_clear(&w->builder);
    add_leaf_node(&w->builder, add_leaf(&w->builder, op, left, right, third));
    struct mst_program *program = load(&w->builder);
    assert_int_equal(mst_bound_create(bound, program, NULL, w->now, "iot", NULL), 0);
    return program;
}

static void drop_leaf(struct mst_program *program, struct mst_bound *bound)
{
    mst_bound_destroy(bound);
    mst_program_destroy(program);
}

static void test_sketches_look_at_few_rows(void **state)
{
    (void)state;
    static const struct {
        unsigned op;
        const char *left, *right, *third;
        uint32_t expected;
    } cases[] = {
        {MST_OP_LT, "n", "=1234", NULL, 1234},
        {MST_OP_GE, "n", "=19000.5", NULL, 999},
        {MST_OP_LE, "n", "=1234", NULL, 1235},
        {MST_OP_GT, "n", "=1234", NULL, 18765},
        {MST_OP_EQ, "n", "=777.0", NULL, 1},
        {MST_OP_BETWEEN, "n", "=5000", "=5999", 1000},
        {MST_OP_IN, "n", "=[1,19999,20000]", NULL, 2},
        {MST_OP_STARTSWITH, "s", "=\"SN12\"", NULL, 1111},
        {MST_OP_EQ, "s", "=\"SN777\"", NULL, 1},
        {MST_OP_LT, "s", "=\"SN2\"", NULL, 11112},
        {MST_OP_GT, "s", "=5", NULL, 0},
        {MST_OP_EXISTS, "s", NULL, NULL, 20000},
        {MST_OP_LT, "n", "=\"x\"", NULL, 0},
        {MST_OP_TYPE, "s", "#types 1", NULL, 20000},
    };
    struct world w;
    world_init(&w, 1);
    put_numbered(&w, 20000);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct mst_bound *bound;
        struct mst_step step;
        uint32_t count, rows;
        struct mst_program *program = keep_leaf(&w, cases[i].op, cases[i].left, cases[i].right, cases[i].third, &bound);
        assert_int_equal(mst_match_explain(w.view, bound, true, &step, 1, &count, &rows, NULL), 0);
        assert_int_equal(rows, cases[i].expected);
        assert_string_equal(step.encoding, "sketch8");
        if (step.rows_verified > 1500)
            fail_msg("case %zu: %llu rows were looked at", i, (unsigned long long)step.rows_verified);
        compare(&w, bound);
        drop_leaf(program, bound);
    }
    world_deinit(&w);
}

/* Values that widen bounds, fill buckets that were empty, and need a look at each, under filters that are kept. */
static void test_kept_programs_follow_a_sketch(void **state)
{
    (void)state;
    static const char *const added[] = {"null",  "true",  "{\"x\":1.0}", "[5,70000]", "-17",
                                        "99999", "1e300", "-1e300",      "\"text\"",  "\"\"",
                                        "false", "[]",    "40000.5",     "\"SN9\"",   "0.5"};
    static const struct {
        unsigned op;
        const char *right;
    } leaves[] = {{MST_OP_LT, "=1234"},      {MST_OP_GT, "=19998"},     {MST_OP_EQ, "=null"},    {MST_OP_EQ, "=5"},
                  {MST_OP_LT, "=\"u\""},     {MST_OP_EQ, "=true"},      {MST_OP_TRUE, NULL},     {MST_OP_EXISTS, NULL},
                  {MST_OP_TYPE, "#types 8"}, {MST_OP_EQ, "={\"x\":1}"}, {MST_OP_CONTAINS, "=5"}, {MST_OP_LT, "=-5"}};
    enum { LEAVES = sizeof leaves / sizeof *leaves };
    struct mst_program *programs[LEAVES];
    struct mst_bound *bound[LEAVES];
    struct world w;
    world_init(&w, 1);
    put_numbered(&w, 20000);
    for (unsigned i = 0; i < LEAVES; i++)
        programs[i] = keep_leaf(&w, leaves[i].op, "n", leaves[i].right, NULL, &bound[i]);
    for (size_t round = 0; round < sizeof added / sizeof *added; round++) {
        char id[20], metadata[60];
        for (unsigned i = 0; i < LEAVES; i++)
            compare(&w, bound[i]);
        snprintf(id, sizeof id, "%s%zu", round % 2 ? "d" : "new", round * 7);
        snprintf(metadata, sizeof metadata, "{\"n\":%s}", added[round]);
        put_raw(&w, id, metadata);
    }
    for (unsigned i = 0; i < LEAVES; i++) {
        compare(&w, bound[i]);
        drop_leaf(programs[i], bound[i]);
    }
    world_deinit(&w);
}

/* Equality by look-up: the code of a value may go to another one, and a parameter may be bound anew. */
static void test_kept_equalities_follow_codes_and_parameters(void **state)
{
    (void)state;
    static const char *const leaves[] = {"=\"a\"", "=\"b\"", ":p", "=[\"a\",\"c\"]", ":l", "=\"new\""};
    enum { LEAVES = sizeof leaves / sizeof *leaves };
    static const char *const values[] = {"a", "b", "c", "new", "e"};
    struct mst_program *programs[LEAVES];
    struct world w;
    world_init(&w, 8);
    for (unsigned i = 0; i < LEAVES; i++) {
        builder_clear(&w.builder);
        unsigned op = strchr(leaves[i], '[') || strcmp(leaves[i], ":l") == 0 ? MST_OP_IN : MST_OP_EQ;
        add_leaf_node(&w.builder, add_leaf(&w.builder, op, "k", leaves[i], NULL));
        programs[i] = load(&w.builder);
    }
    for (unsigned round = 0; round < 400; round++) {
        char id[20], text[100];
        unsigned number = dice(&w.seed, 3);
        struct mst_buffer parameters = {0};
        size_t length = (size_t)snprintf(id, sizeof id, "d%u", number);
        snprintf(text, sizeof text, "{\"k\":\"%s\"}", values[dice(&w.seed, 5)]);
        if (dice(&w.seed, 3))
            put_raw(&w, id, text);
        else
            mst_view_remove(w.view, id, length, ++w.revision);
        snprintf(text, sizeof text, "{\"p\":\"%s\",\"l\":[\"%s\",\"x\"]}", values[dice(&w.seed, 5)],
                 values[dice(&w.seed, 5)]);
        put_json(w.builder.parser, &parameters, text);
        for (unsigned i = 0; i < LEAVES; i++) {
            struct mst_bound *bound;
            assert_int_equal(
                mst_bound_create(&bound, programs[i], (const uint8_t *)parameters.data, w.now, "iot", NULL), 0);
            compare(&w, bound);
            mst_bound_destroy(bound);
        }
        mst_buffer_deinit(&parameters);
    }
    for (unsigned i = 0; i < LEAVES; i++)
        mst_program_destroy(programs[i]);
    world_deinit(&w);
}

static void test_kept_programs_test_new_values_only(void **state)
{
    (void)state;
    struct mst_bound *bound;
    struct mst_step step;
    struct world w;
    uint32_t count, rows;
    world_init(&w, 1);
    put_raw(&w, "first", "{}");
    struct mst_program *program = keep_leaf(&w, MST_OP_LT, "n", "=500", NULL, &bound);
    for (unsigned i = 0; i < 400; i++) {
        char id[20], metadata[40];
        assert_int_equal(mst_match_explain(w.view, bound, true, &step, 1, &count, &rows, NULL), 0);
        if (step.tested > 2)
            fail_msg("%u values were tested for one that was new", step.tested);
        compare(&w, bound);
        snprintf(id, sizeof id, "d%u", i);
        snprintf(metadata, sizeof metadata, "{\"n\":%u}", i * 389 % 1000);
        put_raw(&w, id, metadata);
    }
    drop_leaf(program, bound);
    world_deinit(&w);
}

static void check_step(const struct mst_step *step, const char *path, const char *encoding, const char *kernel,
                       uint64_t rows_in, uint64_t rows_out)
{
    assert_int_equal(step->path_length, strlen(path));
    assert_memory_equal(step->path, path, step->path_length);
    assert_string_equal(step->encoding, encoding);
    assert_string_equal(step->kernel, kernel);
    assert_int_equal(step->rows_in, rows_in);
    assert_int_equal(step->rows_out, rows_out);
}

/* The rare clause goes first and the dear one last, whatever the order of the text. */
static void test_steps_of_an_explanation(void **state)
{
    (void)state;
    struct world w;
    struct mst_step steps[4];
    struct mst_bound *bound;
    uint32_t count, rows;
    world_init(&w, 1);
    put_numbered(&w, 1000);
    put_raw(&w, "other", "{\"k\":{\"a b\":[1]}}");
    struct builder *b = &w.builder;
    builder_clear(b);
    add_node(b, NODE_AND, 0, 6);
    add_leaf_node(b, add_leaf(b, MST_OP_GE, "@ttl", "=0", NULL));
    add_leaf_node(b, add_leaf(b, MST_OP_EXISTS, "s", NULL, NULL));
    add_node(b, NODE_NOT, 0, 5);
    add_leaf_node(b, add_leaf(b, MST_OP_GE, "n", "=100", NULL));
    add_leaf_node(b, add_leaf(b, MST_OP_EQ, "m", "=3", NULL));
    struct mst_program *program = load(b);
    assert_int_equal(mst_bound_create(&bound, program, NULL, w.now, "iot", NULL), 0);
    assert_int_equal(mst_match_explain(w.view, bound, true, steps, 4, &count, &rows, NULL), 0);
    assert_int_equal(count, 4);
    assert_int_equal(rows, 0);
    check_step(&steps[0], "m", "dict8", "equal", 1001, 100);
    check_step(&steps[1], "n", "dict16", "range", 100, 10);
    check_step(&steps[2], "s", "dict16", "except", 10, 10);
    check_step(&steps[3], "@ttl", "none", "rows", 10, 0);
    assert_int_equal(steps[0].leaf, 3);
    assert_int_equal(steps[0].values, 10);
    assert_int_equal(steps[0].missing, 1);
    assert_true(steps[1].negated && !steps[0].negated);
    assert_int_equal(steps[1].tested, 1001);
    assert_int_equal(steps[3].rows_verified, 10);
    assert_true(steps[3].ns > 0);
    /* Worked out once; and only planned. */
    assert_int_equal(mst_match_explain(w.view, bound, false, steps, 2, &count, &rows, NULL), 0);
    assert_int_equal(count, 4);
    assert_int_equal(steps[1].tested, 0);
    assert_true(steps[0].rows_in == 0 && steps[0].ns == 0);
    drop_leaf(program, bound);
    program = keep_leaf(&w, MST_OP_EQ, "k.`a b`[0]", "=1", NULL, &bound);
    assert_int_equal(mst_match_explain(w.view, bound, true, steps, 4, &count, &rows, NULL), 0);
    check_step(&steps[0], "k.`a b`[0]", "dict8", "equal", 1001, 1);
    drop_leaf(program, bound);
    program = keep_leaf(&w, MST_OP_EQ, "@id", "=\"d7\"", NULL, &bound);
    assert_int_equal(mst_match_explain(w.view, bound, true, steps, 4, &count, &rows, NULL), 0);
    check_step(&steps[0], "@id", "ids", "lookup", 1001, 1);
    drop_leaf(program, bound);
    world_deinit(&w);
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
        cmocka_unit_test(test_kept_programs_follow_the_view),
        cmocka_unit_test(test_one_program_over_many_views),
        cmocka_unit_test(test_counts_on_columns_of_every_width),
        cmocka_unit_test(test_literals_looked_up_in_large_dictionaries),
        cmocka_unit_test(test_sketches_look_at_few_rows),
        cmocka_unit_test(test_kept_programs_follow_a_sketch),
        cmocka_unit_test(test_kept_programs_test_new_values_only),
        cmocka_unit_test(test_kept_equalities_follow_codes_and_parameters),
        cmocka_unit_test(test_steps_of_an_explanation),
        cmocka_unit_test(test_no_filter_is_all_live_rows),
        cmocka_unit_test(test_more_paths_than_columns),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
