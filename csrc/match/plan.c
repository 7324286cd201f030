// SPDX-License-Identifier: Apache-2.0
#include "match/plan.h"

#include <stdlib.h>
#include <string.h>

#define EAGER_CODES 4096u /* dictionaries up to this size are tested whole, larger ones as far as rows ask for it */
#define PROBE_CODES 64u   /* in larger ones equality looks its literals up instead of testing all values */

bool mst__plan_test(struct mst_bound *bound, const struct mst__leaf *leaf, const uint8_t **values, const uint8_t *value)
{
    struct mst__scope scope = {.values = values};
    for (unsigned i = 0; i < leaf->path_count; i++)
        values[leaf->paths[i]] = value;
    return mst__leaf_holds(bound, leaf, &scope);
}

/* After a probe of a large dictionary, where few codes are marked and a look at each would be dear. */
static void settle_few(struct mst__plan *plan, uint32_t codes)
{
    uint32_t marked = 0;
    for (uint32_t code = 0; code <= codes; code++)
        marked += plan->table[code];
    if (marked == 1)
        plan->code = (uint32_t)((const uint8_t *)memchr(plan->table, 1, (size_t)codes + 1) - plan->table);
    plan->answer = marked == 0 ? MST__NEVER : marked == 1 ? MST__EQUAL : MST__MEMBER;
}

/* Takes the simplest answer that says the same as the table for all codes that some row holds. */
static void settle(struct mst__plan *plan, uint32_t codes)
{
    uint32_t marked = 0, unmarked = 0, last_marked = 0, last_unmarked = 0;
    for (uint32_t code = 0; code <= codes; code++) {
        if (mst_column_rows(plan->columns[0], code) == 0)
            continue;
        if (plan->table[code]) {
            marked++;
            last_marked = code;
        } else {
            unmarked++;
            last_unmarked = code;
        }
    }
    plan->code = marked == 1 ? last_marked : last_unmarked;
    plan->answer = marked == 0     ? MST__NEVER
                   : unmarked == 0 ? MST__ALWAYS
                   : marked == 1   ? MST__EQUAL
                   : unmarked == 1 ? MST__EXCEPT
                                   : MST__MEMBER;
}

static void mark(const struct mst__plan *plan, const uint8_t *value)
{
    uint32_t code = mst_column_find(plan->columns[0], value);
    if (code)
        plan->table[code] = 1;
}

static void mark_number(const struct mst__plan *plan, const uint8_t *number)
{
    struct mst_buffer other = {.limit = 64};
    double value = mst_value_double(number);
    mark(plan, number);
    /* A number has at most one form as an integer and one as a double, but for zero, which has two of the latter. */
    // cppcheck-suppress incorrectLogicOperator ; it misreads hexadecimal floating constants
    if (value >= -0x1p63 && value < 0x1p63)
        mst_value_put_int(&other, (int64_t)value);
    mst_value_put_double(&other, value);
    if (value == 0) {
        mst_value_put_double(&other, 0.0);
        mst_value_put_double(&other, -0.0);
    }
    for (size_t at = 0; !other.failed && at < other.length; at += 9)
        if (mst_value_compare_numbers((const uint8_t *)other.data + at, number) == 0)
            mark(plan, (const uint8_t *)other.data + at);
    mst_buffer_deinit(&other);
}

/* False where lookups by bytes cannot tell what equals the literal. */
static bool mark_literal(const struct mst__plan *plan, const uint8_t *literal)
{
    switch (mst_value_tag(literal)) {
    case MST_OBJECT:
        return false;
    case MST_ARRAY:
        return true; /* the column has none */
    case MST_INT:
    case MST_DOUBLE:
        mark_number(plan, literal);
        return true;
    case MST_NULL:
        plan->table[0] = 1;
        break;
    default:
        break;
    }
    mark(plan, literal);
    return true;
}

/* Equality with literals on a column of scalars: lookups instead of tests. False: not such a case. */
static bool probe(const struct mst__plan *plan, const struct mst_bound *bound, const struct mst__leaf *leaf)
{
    const uint8_t *literal = leaf->right ? mst__operand_literal(bound, leaf->right) : NULL;
    const uint8_t *position = NULL, *element;
    if (!literal || (leaf->op != MST_OP_EQ && leaf->op != MST_OP_IN) || leaf->class != MST__PLAIN ||
        leaf->left->kind != MST__PATH || leaf->left->function != MST__NONE || leaf->left->term_count > 0 ||
        mst_column_codes(plan->columns[0]) <= PROBE_CODES || mst_column_compounds(plan->columns[0]) > 0)
        return false;
    if (leaf->op == MST_OP_EQ)
        return mark_literal(plan, literal);
    if (mst_value_tag(literal) != MST_ARRAY)
        return true;
    while (mst_value_next(literal, &position, &element))
        if (!mark_literal(plan, element))
            return false;
    return true;
}

static int plan_codes(struct mst__plan *plan, struct mst_bound *bound, const struct mst__leaf *leaf,
                      const uint8_t **values)
{
    uint32_t codes = mst_column_codes(plan->columns[0]);
    plan->table = calloc((size_t)codes + 1, 1);
    if (!plan->table)
        return MST_ENOMEM;
    if (probe(plan, bound, leaf)) {
        settle_few(plan, codes);
        return 0;
    }
    if (codes > EAGER_CODES) {
        /* A probe that gave up has left only marks that are right, though in the other coding. */
        for (uint32_t code = 0; code <= codes; code++)
            plan->table[code] *= 2;
        plan->answer = MST__LAZY;
        return 0;
    }
    for (uint32_t code = 0; code <= codes; code++) {
        const uint8_t *value = mst_column_value(plan->columns[0], code);
        if (value || code == 0)
            plan->table[code] = mst__plan_test(bound, leaf, values, value);
    }
    settle(plan, codes);
    return 0;
}

static void list_id(struct mst__plan *plan, const struct mst_view *view, const uint8_t *literal)
{
    size_t length;
    if (mst_value_tag(literal) != MST_STRING)
        return;
    const char *id = mst_value_string(literal, &length);
    uint32_t row = mst_view_find(view, id, length);
    if (row != MST_ROW_NONE)
        plan->rows[row / 64] |= UINT64_C(1) << (row % 64);
}

/* Equality of @id with literals. Every row has an id, so that null equals none. */
static bool is_id_lookup(const struct mst_bound *bound, const struct mst__leaf *leaf)
{
    const struct mst__operand *left = leaf->left;
    if ((leaf->op != MST_OP_EQ && leaf->op != MST_OP_IN) || leaf->class != MST__PLAIN || left->kind != MST__PATH ||
        left->function != MST__NONE || left->term_count > 0 || !mst__operand_literal(bound, leaf->right))
        return false;
    const struct mst__source *source = &bound->program->sources[left->index];
    return source->builtin && source->which == MST__ID;
}

static int plan_ids(struct mst__plan *plan, const struct mst_view *view, const struct mst_bound *bound,
                    const struct mst__leaf *leaf)
{
    const uint8_t *literal = mst__operand_literal(bound, leaf->right), *position = NULL, *element;
    plan->rows = calloc(mst_view_row_limit(view) / 64 + 1, sizeof *plan->rows);
    if (!plan->rows)
        return MST_ENOMEM;
    plan->answer = MST__LISTED;
    if (leaf->op == MST_OP_EQ)
        list_id(plan, view, literal);
    else if (mst_value_tag(literal) == MST_ARRAY)
        while (mst_value_next(literal, &position, &element))
            list_id(plan, view, element);
    return 0;
}

void mst__plan_deinit(struct mst__plan *plan)
{
    free(plan->table);
    free(plan->rows);
}

int mst__plan_make(struct mst__plan *plan, struct mst_view *view, struct mst_bound *bound, const struct mst__leaf *leaf,
                   const uint8_t **values)
{
    bool one = true;
    if (is_id_lookup(bound, leaf))
        return plan_ids(plan, view, bound, leaf);
    for (unsigned i = 0; i < leaf->path_count; i++) {
        plan->columns[i] = mst_view_column(view, &bound->program->sources[leaf->paths[i]].path);
        if (!plan->columns[i]) {
            plan->answer = MST__DOCUMENTS;
            return 0;
        }
        one = one && plan->columns[i] == plan->columns[0];
    }
    if (leaf->by_row || !one) {
        plan->answer = MST__ROWS;
        return 0;
    }
    if (leaf->path_count > 0)
        return plan_codes(plan, bound, leaf, values);
    plan->answer = mst__plan_test(bound, leaf, values, NULL) ? MST__ALWAYS : MST__NEVER;
    return 0;
}
