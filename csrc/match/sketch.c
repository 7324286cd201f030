// SPDX-License-Identifier: Apache-2.0
#include <math.h>

#include "match/plan.h"

/*
 * A bucket is decided where the clause cannot tell two of its values apart: from its bounds for clauses that follow the
 * order of values, else not at all. To verify is always right, only slower.
 */

#define MILLISECONDS_FROM 1e11  /* numbers as times: smaller ones are seconds (operand.c) */
#define MILLISECONDS_EXACT 9e12 /* up to here times of doubles are as exact as those of integers */

static bool is_number(const uint8_t *value)
{
    return mst_value_tag(value) == MST_INT || mst_value_tag(value) == MST_DOUBLE;
}

static bool is_string(const uint8_t *value)
{
    return mst_value_tag(value) == MST_STRING;
}

static bool is_bare_path(const struct mst__operand *operand)
{
    return operand->kind == MST__PATH && operand->function == MST__NONE && operand->term_count == 0;
}

static bool has_terms(const struct mst__operand *operand)
{
    return operand && operand->term_count > 0;
}

/* Values that compare as equal are the same bytes, but for the two forms of a number. */
static bool is_blind_to_form(const struct mst__leaf *leaf)
{
    return leaf->op != MST_OP_TYPE && leaf->class == MST__PLAIN && !has_terms(leaf->left) && !has_terms(leaf->right) &&
           !has_terms(leaf->third);
}

static enum mst__bucket if_within(const uint8_t *low, const uint8_t *high, const uint8_t *value)
{
    bool outside = mst_value_compare(value, low) < 0 || mst_value_compare(value, high) > 0;
    return outside ? MST__BUCKET_NO : MST__BUCKET_VERIFY;
}

/* Arrays and objects may be equal to others that lie elsewhere in the order. */
static enum mst__bucket decide_equal(const uint8_t *literal, const uint8_t *low, const uint8_t *high)
{
    if (!literal)
        return MST__BUCKET_VERIFY;
    if (mst_value_tag(literal) >= MST_ARRAY)
        return mst_value_tag(high) < MST_ARRAY ? MST__BUCKET_NO : MST__BUCKET_VERIFY;
    return if_within(low, high, literal);
}

static enum mst__bucket decide_in(const struct mst_bound *bound, const struct mst__leaf *leaf, const uint8_t *low,
                                  const uint8_t *high)
{
    if (leaf->right->kind == MST__PATH)
        return MST__BUCKET_VERIFY;
    const struct mst__matcher *matcher = leaf->right->kind == MST__CONSTANT
                                             ? &bound->program->constants[leaf->right->index].matcher
                                             : &bound->matchers[leaf - bound->program->leaves];
    if (!matcher->usable)
        return MST__BUCKET_NO;
    if (mst_value_tag(high) >= MST_ARRAY)
        return MST__BUCKET_VERIFY;
    /* The first of the wanted values that is not below the bucket. */
    uint32_t from = 0, to = matcher->set.scalars;
    while (from < to) {
        uint32_t middle = from + (to - from) / 2;
        if (mst_value_compare(matcher->set.items[middle], low) < 0)
            from = middle + 1;
        else
            to = middle;
    }
    bool any = from < matcher->set.scalars && mst_value_compare(matcher->set.items[from], high) <= 0;
    return any ? MST__BUCKET_VERIFY : MST__BUCKET_NO;
}

static enum mst__bucket decide_type(const struct mst_bound *bound, const struct mst__leaf *leaf, const uint8_t *low,
                                    const uint8_t *high)
{
    enum { STRING = 1, NUMBER = 2, INTEGER = 4 };
    unsigned types = bound->program->constants[leaf->right->index].types;
    if (is_string(low) && is_string(high))
        return types & STRING ? MST__BUCKET_YES : MST__BUCKET_NO;
    if (is_number(low) && is_number(high))
        return types & NUMBER ? MST__BUCKET_YES : types & INTEGER ? MST__BUCKET_VERIFY : MST__BUCKET_NO;
    return MST__BUCKET_VERIFY;
}

/* Bounds of a condition that holds for an interval of the order; neither bound of the bucket lies in it. */
static enum mst__bucket decide_interval(struct mst_bound *bound, const struct mst__leaf *leaf, const uint8_t *low,
                                        const uint8_t *high)
{
    const uint8_t *from = mst__operand_literal(bound, leaf->right);
    const uint8_t *to = leaf->op == MST_OP_BETWEEN ? mst__operand_literal(bound, leaf->third) : from;
    if (!from || !to)
        return MST__BUCKET_VERIFY;
    if (is_number(low) != is_number(from) || is_string(low) != is_string(from))
        return MST__BUCKET_NO;
    /* A text that does not begin with the prefix and comes behind it comes behind all that do. */
    if (mst_value_compare(high, from) < 0 || mst_value_compare(low, to) > 0)
        return MST__BUCKET_NO;
    return MST__BUCKET_VERIFY;
}

static enum mst__bucket decide_ordered(struct mst_bound *bound, const struct mst__leaf *leaf, const uint8_t *low,
                                       const uint8_t *high)
{
    if ((!is_number(low) || !is_number(high)) && (!is_string(low) || !is_string(high)))
        return MST__BUCKET_VERIFY;
    if (leaf->right->kind == MST__PATH || (leaf->third && leaf->third->kind == MST__PATH))
        return MST__BUCKET_VERIFY;
    bool first = mst__plan_test(bound, leaf, low), last = mst__plan_test(bound, leaf, high);
    if (first && last)
        return MST__BUCKET_YES;
    if (first || last)
        return MST__BUCKET_VERIFY;
    if (leaf->op == MST_OP_BETWEEN || leaf->op == MST_OP_STARTSWITH)
        return decide_interval(bound, leaf, low, high);
    return MST__BUCKET_NO;
}

/* The one time of an operand that is no path, or of `value` on the left side; false: it has none. */
static bool time_of(struct mst_bound *bound, const struct mst__operand *operand, const uint8_t *value, int64_t *time)
{
    struct mst__scope scope = {.values = bound->program->cache->values};
    struct mst__cursor cursor;
    struct mst__item item;
    if (operand->kind == MST__PATH)
        bound->program->cache->values[operand->index] = value;
    mst__cursor_init(&cursor, bound, operand, &scope, 0, MST__TIME, MST__CANDIDATES);
    if (!mst__cursor_next(&cursor, &item))
        return false;
    *time = item.time;
    return true;
}

/* Whether numbers between the two become times in the same order: all of them seconds, or all milliseconds. */
static bool keeps_order(const uint8_t *low, const uint8_t *high)
{
    if (!is_number(low) || !is_number(high))
        return false;
    double first = mst_value_double(low), last = mst_value_double(high);
    if (first > -MILLISECONDS_FROM && last < MILLISECONDS_FROM)
        return true;
    return (first >= MILLISECONDS_FROM && last < MILLISECONDS_EXACT) ||
           (first > -MILLISECONDS_EXACT && last <= -MILLISECONDS_FROM);
}

static enum mst__bucket decide_time(struct mst_bound *bound, const struct mst__leaf *leaf, const uint8_t *low,
                                    const uint8_t *high)
{
    const struct mst__operand *third = leaf->third ? leaf->third : leaf->right;
    int64_t first, last, from, to;
    if (leaf->left->kind != MST__PATH || leaf->right->kind == MST__PATH || third->kind == MST__PATH ||
        leaf->left->term_count > 0 || (leaf->left->function != MST__NONE && leaf->left->function != MST__TIME_OF) ||
        !keeps_order(low, high))
        return MST__BUCKET_VERIFY;
    if (!time_of(bound, leaf->left, low, &first) || !time_of(bound, leaf->left, high, &last))
        return MST__BUCKET_VERIFY;
    bool at_low = mst__plan_test(bound, leaf, low), at_high = mst__plan_test(bound, leaf, high);
    if (at_low && at_high)
        return MST__BUCKET_YES;
    if (at_low || at_high)
        return MST__BUCKET_VERIFY;
    if (leaf->op != MST_OP_EQ && leaf->op != MST_OP_BETWEEN)
        return MST__BUCKET_NO;
    if (!time_of(bound, leaf->right, NULL, &from) || !time_of(bound, third, NULL, &to))
        return MST__BUCKET_VERIFY;
    return last < from || first > to ? MST__BUCKET_NO : MST__BUCKET_VERIFY;
}

static bool is_order(enum mst_op op)
{
    return op == MST_OP_LT || op == MST_OP_LE || op == MST_OP_GT || op == MST_OP_GE || op == MST_OP_BETWEEN;
}

static bool is_text_test(enum mst_op op)
{
    return op == MST_OP_ENDSWITH || op == MST_OP_STARTSWITH || op == MST_OP_LIKE || op == MST_OP_GLOB ||
           op == MST_OP_MATCHES || op == MST_OP_CIDR;
}

static enum mst__bucket decide_bounds(struct mst_bound *bound, const struct mst__leaf *leaf, const uint8_t *low,
                                      const uint8_t *high)
{
    static const uint8_t true_value[] = {MST_TRUE};
    if (leaf->class == MST__TIME && (is_order(leaf->op) || leaf->op == MST_OP_EQ))
        return decide_time(bound, leaf, low, high);
    if (leaf->class != MST__PLAIN || !is_bare_path(leaf->left))
        return MST__BUCKET_VERIFY;
    if (leaf->op == MST_OP_TYPE)
        return decide_type(bound, leaf, low, high);
    if (leaf->op == MST_OP_TRUE)
        return if_within(low, high, true_value);
    if (leaf->op == MST_OP_EQ)
        return decide_equal(mst__operand_literal(bound, leaf->right), low, high);
    if (leaf->op == MST_OP_IN)
        return decide_in(bound, leaf, low, high);
    if (is_text_test(leaf->op) && is_number(low) && is_number(high))
        return MST__BUCKET_NO;
    if (is_order(leaf->op) || leaf->op == MST_OP_STARTSWITH)
        return decide_ordered(bound, leaf, low, high);
    return MST__BUCKET_VERIFY;
}

enum mst__bucket mst__sketch_decide(struct mst_bound *bound, const struct mst__leaf *leaf, const uint8_t *low,
                                    const uint8_t *high)
{
    if (leaf->op == MST_OP_EXISTS)
        return MST__BUCKET_YES;
    if (leaf->class == MST__MIXED)
        return MST__BUCKET_NO;
    if (!low || !high)
        return MST__BUCKET_VERIFY;
    if (mst_value_compare(low, high) == 0 && (!is_number(low) || is_blind_to_form(leaf)))
        return mst__plan_test(bound, leaf, low) ? MST__BUCKET_YES : MST__BUCKET_NO;
    return decide_bounds(bound, leaf, low, high);
}
