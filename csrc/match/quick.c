// SPDX-License-Identifier: Apache-2.0
#include <string.h>

#include "match/plan.h"

static bool is_number(const uint8_t *value)
{
    return mst_value_tag(value) == MST_INT || mst_value_tag(value) == MST_DOUBLE;
}

static bool is_string(const uint8_t *value)
{
    return mst_value_tag(value) == MST_STRING;
}

static bool is_comparable(const uint8_t *literal)
{
    return literal && (is_number(literal) || is_string(literal));
}

void mst__quick_init(struct mst__quick *quick, const struct mst_bound *bound, const struct mst__leaf *leaf)
{
    const struct mst__operand *left = leaf->left;
    *quick = (struct mst__quick){.op = leaf->op};
    if (leaf->class != MST__PLAIN || left->kind != MST__PATH || left->function != MST__NONE || left->term_count > 0)
        return;
    switch (leaf->op) {
    case MST_OP_BETWEEN:
        quick->third = mst__operand_literal(bound, leaf->third);
        if (!is_comparable(quick->third))
            return;
        break;
    case MST_OP_EQ:
    case MST_OP_LT:
    case MST_OP_LE:
    case MST_OP_GT:
    case MST_OP_GE:
    case MST_OP_STARTSWITH:
        break;
    default:
        return;
    }
    quick->literal = mst__operand_literal(bound, leaf->right);
    quick->usable = is_comparable(quick->literal);
}

/* False where the two have no order. */
static bool compare(const uint8_t *value, const uint8_t *literal, int *order)
{
    if (is_number(value) && is_number(literal))
        *order = mst_value_compare_numbers(value, literal);
    else if (is_string(value) && is_string(literal))
        *order = mst_value_compare(value, literal);
    else
        return false;
    return true;
}

static bool starts_with(const uint8_t *value, const uint8_t *literal)
{
    size_t length, prefix_length;
    if (!is_string(value) || !is_string(literal))
        return false;
    const char *text = mst_value_string(value, &length), *prefix = mst_value_string(literal, &prefix_length);
    return prefix_length <= length && memcmp(text, prefix, prefix_length) == 0;
}

bool mst__quick_test(const struct mst__quick *quick, const uint8_t *value)
{
    int order, other;
    if (quick->op == MST_OP_STARTSWITH)
        return starts_with(value, quick->literal);
    if (!compare(value, quick->literal, &order))
        return false;
    switch (quick->op) {
    case MST_OP_EQ:
        return order == 0;
    case MST_OP_LT:
        return order < 0;
    case MST_OP_LE:
        return order <= 0;
    case MST_OP_GT:
        return order > 0;
    case MST_OP_GE:
        return order >= 0;
    default:
        return order >= 0 && compare(value, quick->third, &other) && other <= 0;
    }
}
