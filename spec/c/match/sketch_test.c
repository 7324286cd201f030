// SPDX-License-Identifier: Apache-2.0
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "match/plan.h"

#include "builder.h"
#include "random.h"

#define NOW INT64_C(1760000000000)
#define VALUES_MAX 12u

/* A value as it may lie in a bucket with bounds: anything but arrays. Clustered, so that buckets are narrow too. */
static void put_random_value(struct builder *b, uint64_t *seed, unsigned family, struct mst_buffer *out)
{
    char text[60];
    const char *scalar;
    static const char *const edges[] = {"99999999999",   "100000000000", "100000000000.5", "9000000000000",
                                        "8999999999999", "-1e11",        "-99999999999.5", "9223372036854775807",
                                        "1e18",          "9.3e18",       "-9.3e18",        "1760000000.25"};
    switch (family) {
    case 0:
        snprintf(text, sizeof text, "%u%s", dice(seed, 12), dice(seed, 2) ? "" : dice(seed, 2) ? ".0" : ".5");
        break;
    case 1:
        snprintf(text, sizeof text, "\"SN%u\"", dice(seed, 800));
        break;
    case 2:
        snprintf(text, sizeof text, "%u", 1759998000u + dice(seed, 3000));
        break;
    case 3:
        snprintf(text, sizeof text, "175999%07u", dice(seed, 9999999));
        break;
    case 4:
        snprintf(text, sizeof text, "%s", edges[dice(seed, sizeof edges / sizeof *edges)]);
        break;
    case 5:
        snprintf(text, sizeof text, "\"2025-10-%02u%s\"", 1 + dice(seed, 28), dice(seed, 2) ? "" : "T07:00:00Z");
        break;
    case 6:
        snprintf(text, sizeof text, "\"%u.%u%s\"", dice(seed, 3), dice(seed, 12), dice(seed, 3) ? "" : "-rc.1");
        break;
    default:
        do
            scalar = random_scalar(seed);
        while (*scalar == '[');
        snprintf(text, sizeof text, "%s", scalar);
    }
    put_json(b->parser, out, text);
}

static const char *clock_right(uint64_t *seed)
{
    static const char *const rights[] = {
        "#time 1759999000000000", "now-1000", "now", "now-:p", "#time 100000000000000000", "#time 175999500000000"};
    return rights[dice(seed, sizeof rights / sizeof *rights)];
}

/* One leaf of the path `a`, often one that follows the order of values. */
static void random_clause(struct builder *b, uint64_t *seed)
{
    static const unsigned ordered[] = {MST_OP_EQ,      MST_OP_LT, MST_OP_LE,         MST_OP_GT, MST_OP_GE,
                                       MST_OP_BETWEEN, MST_OP_IN, MST_OP_STARTSWITH, MST_OP_EQ};
    unsigned op = ordered[dice(seed, 9)];
    builder_clear(b);
    uint16_t left = dice(seed, 8) ? add(b, "a") : add_operand_with_term(b, 0, 0, add_path(b, "a"), dice(seed, 2), "1");
    if (dice(seed, 4) == 0 && op <= MST_OP_BETWEEN) {
        uint16_t time_left = dice(seed, 2) ? left : add(b, "time(a)");
        uint16_t right = add(b, clock_right(seed));
        add_leaf_node(
            b, add_raw_leaf(b, op, time_left, right, op == MST_OP_BETWEEN ? add(b, clock_right(seed)) : NONE, 0, 0));
    } else if (dice(seed, 3) == 0) {
        do
            builder_clear(b);
        while (random_leaf(b, seed) != 0);
        add_leaf_node(b, 0);
    } else if (op == MST_OP_IN) {
        add_leaf_node(b, add_raw_leaf(b, op, left, random_list(b, seed), NONE, 0, 0));
    } else {
        char text[40], other[40];
        snprintf(text, sizeof text, dice(seed, 2) ? "=\"SN%u\"" : "=%u", dice(seed, dice(seed, 2) ? 12 : 800));
        snprintf(other, sizeof other, dice(seed, 2) ? "=\"SN%u\"" : "=%u.5", dice(seed, 800));
        const char *right = dice(seed, 3) ? text : dice(seed, 2) ? ":p" : "=\"SN\"";
        uint16_t second = add(b, right);
        add_leaf_node(b, add_raw_leaf(b, op, left, second, op == MST_OP_BETWEEN ? add(b, other) : NONE, 0, 0));
    }
}

struct bucket {
    struct mst_buffer values[VALUES_MAX];
    unsigned count;
    const uint8_t *low, *high;
};

static void fill_bucket(struct builder *b, uint64_t *seed, struct bucket *bucket)
{
    unsigned family = dice(seed, 8), other = dice(seed, 6) ? family : dice(seed, 8);
    bucket->count = 1 + dice(seed, VALUES_MAX);
    for (unsigned i = 0; i < bucket->count; i++) {
        mst_buffer_clear(&bucket->values[i]);
        put_random_value(b, seed, dice(seed, 2) ? family : other, &bucket->values[i]);
        const uint8_t *value = (const uint8_t *)bucket->values[i].data;
        if (i == 0 || mst_value_compare(value, bucket->low) < 0)
            bucket->low = value;
        if (i == 0 || mst_value_compare(value, bucket->high) > 0)
            bucket->high = value;
    }
}

static void check(struct mst_bound *bound, const struct mst__leaf *leaf, const struct bucket *bucket,
                  unsigned decided[3])
{
    enum mst__bucket found = mst__sketch_decide(bound, leaf, bucket->low, bucket->high);
    decided[found]++;
    if (found == MST__BUCKET_VERIFY)
        return;
    for (unsigned i = 0; i < bucket->count; i++)
        if (mst__plan_test(bound, leaf, (const uint8_t *)bucket->values[i].data) != (found == MST__BUCKET_YES))
            fail_msg("operation %u: a bucket decided as %d has value %u of %u that says otherwise", leaf->op, found, i,
                     bucket->count);
}

static void test_decided_buckets_hold_no_exception(void **state)
{
    (void)state;
    struct builder b;
    struct bucket bucket = {.count = 0};
    unsigned decided[3] = {0};
    uint64_t seed = 77;
    builder_init(&b);
    for (unsigned round = 0; round < 6000; round++) {
        struct mst_buffer parameters = {0};
        struct mst_bound *bound = NULL;
        struct mst_error error = {0};
        random_clause(&b, &seed);
        struct mst_program *program = load(&b);
        random_parameters(&b, &seed, &parameters);
        if (mst_bound_create(&bound, program, (const uint8_t *)parameters.data, NOW, "iot", &error) < 0)
            fail_msg("not bound: %s", error.message);
        const struct mst__leaf *leaf = &program->leaves[0];
        for (unsigned i = 0; leaf->path_count == 1 && !leaf->by_row && i < 12; i++) {
            fill_bucket(&b, &seed, &bucket);
            check(bound, leaf, &bucket, decided);
        }
        mst_bound_destroy(bound);
        mst_program_destroy(program);
        mst_buffer_deinit(&parameters);
    }
    for (unsigned i = 0; i < 3; i++)
        if (decided[i] < 2000)
            fail_msg("only %u buckets of kind %u", decided[i], i);
    for (unsigned i = 0; i < VALUES_MAX; i++)
        mst_buffer_deinit(&bucket.values[i]);
    builder_deinit(&b);
}

struct expected {
    unsigned op;
    const char *right, *third, *low, *high;
    enum mst__bucket found;
};

/* What must not fall back to rows, or sketches were for nothing. */
static void test_buckets_that_need_no_look(void **state)
{
    (void)state;
    static const struct expected cases[] = {
        {MST_OP_LT, "=5", NULL, "1", "4.5", MST__BUCKET_YES},
        {MST_OP_LT, "=5", NULL, "5", "9", MST__BUCKET_NO},
        {MST_OP_LT, "=5", NULL, "4", "9", MST__BUCKET_VERIFY},
        {MST_OP_LT, "=5", NULL, "\"a\"", "\"b\"", MST__BUCKET_NO},
        {MST_OP_GE, "=5", NULL, "5.0", "9", MST__BUCKET_YES},
        {MST_OP_EQ, "=5", NULL, "6", "9", MST__BUCKET_NO},
        {MST_OP_EQ, "=5", NULL, "4", "9", MST__BUCKET_VERIFY},
        {MST_OP_EQ, "=5", NULL, "5.0", "5", MST__BUCKET_YES},
        {MST_OP_EQ, "=5", NULL, "\"a\"", "\"b\"", MST__BUCKET_NO},
        {MST_OP_EQ, "=\"SN5\"", NULL, "\"SN6\"", "\"SN7\"", MST__BUCKET_NO},
        {MST_OP_EQ, "=null", NULL, "\"SN6\"", "\"SN7\"", MST__BUCKET_NO},
        {MST_OP_IN, "=[1,5,9]", NULL, "6", "8", MST__BUCKET_NO},
        {MST_OP_IN, "=[1,5,9]", NULL, "6", "9", MST__BUCKET_VERIFY},
        {MST_OP_BETWEEN, "=5", "=9", "6", "8", MST__BUCKET_YES},
        {MST_OP_BETWEEN, "=5", "=9", "10", "12", MST__BUCKET_NO},
        {MST_OP_BETWEEN, "=5", "=9", "1", "12", MST__BUCKET_VERIFY},
        {MST_OP_STARTSWITH, "=\"SN1\"", NULL, "\"SN1\"", "\"SN19\"", MST__BUCKET_YES},
        {MST_OP_STARTSWITH, "=\"SN1\"", NULL, "\"SN2\"", "\"SN3\"", MST__BUCKET_NO},
        {MST_OP_STARTSWITH, "=\"SN1\"", NULL, "\"A\"", "\"SN0\"", MST__BUCKET_NO},
        {MST_OP_STARTSWITH, "=\"SN1\"", NULL, "\"SN0\"", "\"SN15\"", MST__BUCKET_VERIFY},
        {MST_OP_ENDSWITH, "=\"1\"", NULL, "1", "15", MST__BUCKET_NO},
        {MST_OP_EXISTS, NULL, NULL, "1", "\"a\"", MST__BUCKET_YES},
        {MST_OP_TYPE, "#types 2", NULL, "1", "1.5", MST__BUCKET_YES},
        {MST_OP_TYPE, "#types 4", NULL, "1", "2", MST__BUCKET_VERIFY},
        {MST_OP_TYPE, "#types 1", NULL, "\"a\"", "\"b\"", MST__BUCKET_YES},
        {MST_OP_GT, "now-60", NULL, "1759999950", "1759999999", MST__BUCKET_YES},
        {MST_OP_GT, "now-60", NULL, "1759999000", "1759999900", MST__BUCKET_NO},
        {MST_OP_GT, "now-60", NULL, "1759999950000", "1759999999999", MST__BUCKET_YES},
        {MST_OP_GT, "now-60", NULL, "99999999999", "1759999999999", MST__BUCKET_VERIFY},
        {MST_OP_BETWEEN, "now-60", "now", "1759999000", "1759999900", MST__BUCKET_NO},
    };
    struct builder b;
    builder_init(&b);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const struct expected *c = &cases[i];
        struct mst_buffer low = {0}, high = {0};
        struct mst_bound *bound = NULL;
        builder_clear(&b);
        add_leaf_node(&b, add_leaf(&b, c->op, "a", c->right, c->third));
        struct mst_program *program = load(&b);
        put_json(b.parser, &low, c->low);
        put_json(b.parser, &high, c->high);
        assert_int_equal(mst_bound_create(&bound, program, NULL, NOW, "iot", NULL), 0);
        enum mst__bucket found =
            mst__sketch_decide(bound, &program->leaves[0], (const uint8_t *)low.data, (const uint8_t *)high.data);
        if (found != c->found)
            fail_msg("case %zu: %s .. %s is decided as %d", i, c->low, c->high, found);
        mst_bound_destroy(bound);
        mst_program_destroy(program);
        mst_buffer_deinit(&low);
        mst_buffer_deinit(&high);
    }
    builder_deinit(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_decided_buckets_hold_no_exception),
        cmocka_unit_test(test_buckets_that_need_no_look),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
