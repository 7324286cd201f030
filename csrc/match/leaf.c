// SPDX-License-Identifier: Apache-2.0
#include <string.h>

#include "match/internal.h"
#include "match/regex.h"

/*
 * `null` as a literal or parameter means "no value": it equals a side that yields no candidate. Every other rule here
 * is existential: some candidate on the left, some on the right.
 */

static bool is_null(const uint8_t *value)
{
    return value && mst_value_tag(value) == MST_NULL;
}

static bool is_string(const uint8_t *value)
{
    return value && mst_value_tag(value) == MST_STRING;
}

static bool is_number(const uint8_t *value)
{
    return mst_value_tag(value) == MST_INT || mst_value_tag(value) == MST_DOUBLE;
}

static int sign(int order)
{
    return (order > 0) - (order < 0);
}

static struct mst_span string_of(const uint8_t *value)
{
    struct mst_span text;
    text.data = mst_value_string(value, &text.length);
    return text;
}

/* False where the two have no order. */
static bool compare(enum mst__class class, const struct mst__item *a, const struct mst__item *b, int *order)
{
    if (class == MST__TIME) {
        *order = (a->time > b->time) - (a->time < b->time);
        return true;
    }
    if (class == MST__VERSION) {
        *order = mst__version_compare(&a->version, &b->version);
        return true;
    }
    if (is_number(a->value) && is_number(b->value)) {
        *order = mst_value_compare_numbers(a->value, b->value);
        return true;
    }
    if (!is_string(a->value) || !is_string(b->value))
        return false;
    *order = sign(mst_value_compare(a->value, b->value));
    return true;
}

static bool equal(enum mst__class class, const struct mst__item *a, const struct mst__item *b)
{
    int order;
    if (class == MST__PLAIN)
        return mst_value_equal(a->value, b->value);
    return compare(class, a, b, &order) && order == 0;
}

static bool ends_with(struct mst_span text, struct mst_span part)
{
    return part.length <= text.length && memcmp(text.data + text.length - part.length, part.data, part.length) == 0;
}

static bool pair_holds(enum mst_op op, enum mst__class class, const struct mst__item *a, const struct mst__item *b)
{
    int order;
    if (op == MST_OP_EQ || op == MST_OP_IN)
        return equal(class, a, b);
    if (op == MST_OP_STARTSWITH || op == MST_OP_ENDSWITH) {
        if (class != MST__PLAIN || !is_string(a->value) || !is_string(b->value))
            return false;
        struct mst_span text = string_of(a->value), part = string_of(b->value);
        if (op == MST_OP_ENDSWITH)
            return ends_with(text, part);
        return part.length <= text.length && memcmp(text.data, part.data, part.length) == 0;
    }
    if (!compare(class, a, b, &order))
        return false;
    switch (op) {
    case MST_OP_LT:
        return order < 0;
    case MST_OP_LE:
        return order <= 0;
    case MST_OP_GT:
        return order > 0;
    default:
        return order >= 0;
    }
}

/* Some candidate of `left` and some of `right`. */
static bool pairs_hold(enum mst_op op, struct mst__cursor *left, struct mst__cursor *right)
{
    struct mst__item a, b;
    while (mst__cursor_next(left, &a)) {
        mst__cursor_rewind(right);
        while (mst__cursor_next(right, &b))
            if (pair_holds(op, left->class, &a, &b))
                return true;
    }
    return false;
}

/* Whether a side is null to a literal null: no candidate at all, or a null among them. */
static bool side_is_null(struct mst__cursor *cursor)
{
    struct mst__item item;
    bool any = false;
    while (mst__cursor_next(cursor, &item)) {
        if (is_null(item.value))
            return true;
        any = true;
    }
    return !any;
}

static void open_sides(struct mst_bound *bound, const struct mst__leaf *leaf, const struct mst__scope *scope,
                       enum mst__mode right_mode, struct mst__cursor *left, struct mst__cursor *right)
{
    mst__cursor_init(left, bound, leaf->left, scope, 0, leaf->class, MST__CANDIDATES);
    mst__cursor_init(right, bound, leaf->right, scope, 1, leaf->class, right_mode);
}

static bool compares(struct mst_bound *bound, const struct mst__leaf *leaf, const struct mst__scope *scope)
{
    struct mst__cursor left, right;
    open_sides(bound, leaf, scope, MST__CANDIDATES, &left, &right);
    if (leaf->op == MST_OP_EQ) {
        if (is_null(mst__operand_literal(bound, leaf->right)))
            return side_is_null(&left);
        if (is_null(mst__operand_literal(bound, leaf->left)))
            return side_is_null(&right);
    }
    return pairs_hold(leaf->op, &left, &right);
}

static bool between(struct mst_bound *bound, const struct mst__leaf *leaf, const struct mst__scope *scope)
{
    struct mst__cursor left, low, high;
    struct mst__item item, bound_item;
    open_sides(bound, leaf, scope, MST__CANDIDATES, &left, &low);
    mst__cursor_init(&high, bound, leaf->third, scope, 2, leaf->class, MST__CANDIDATES);
    while (mst__cursor_next(&left, &item)) {
        bool above = false, below = false;
        mst__cursor_rewind(&low);
        mst__cursor_rewind(&high);
        while (!above && mst__cursor_next(&low, &bound_item))
            above = pair_holds(MST_OP_GE, leaf->class, &item, &bound_item);
        while (above && !below && mst__cursor_next(&high, &bound_item))
            below = pair_holds(MST_OP_LE, leaf->class, &item, &bound_item);
        if (below)
            return true;
    }
    return false;
}

static const struct mst__matcher *matcher_of(const struct mst_bound *bound, const struct mst__leaf *leaf)
{
    if (leaf->right->kind == MST__CONSTANT)
        return &bound->program->constants[leaf->right->index].matcher;
    return &bound->matchers[leaf - bound->program->leaves];
}

static bool is_member(struct mst_bound *bound, const struct mst__leaf *leaf, const struct mst__scope *scope)
{
    struct mst__cursor left, right;
    struct mst__item item;
    open_sides(bound, leaf, scope, MST__MEMBERS, &left, &right);
    if (leaf->right->kind == MST__PATH)
        return pairs_hold(MST_OP_IN, &left, &right);
    const struct mst__matcher *matcher = matcher_of(bound, leaf);
    if (!matcher->usable)
        return false;
    if (matcher->set.has_null) {
        if (side_is_null(&left))
            return true;
        mst__cursor_rewind(&left);
    }
    if (leaf->class != MST__PLAIN)
        return pairs_hold(MST_OP_IN, &left, &right);
    while (mst__cursor_next(&left, &item))
        if (mst__set_has(&matcher->set, item.value))
            return true;
    return false;
}

/* A function is applied to a final as a whole, and none of these takes an array to one. */
static bool changes_value(enum mst__function function)
{
    return function == MST__LOWER || function == MST__UPPER || function == MST__LEN || function == MST__DISTANCE;
}

/* What can contain anything; even an empty list of wanted values needs it. */
static bool is_container(enum mst__function function, const uint8_t *final)
{
    if (mst_value_tag(final) == MST_STRING)
        return function != MST__LEN && function != MST__DISTANCE;
    return mst_value_tag(final) == MST_ARRAY && !changes_value(function);
}

/* Whether a final contains one wanted value: a substring of a string, an element of an array. */
static bool final_contains(struct mst__cursor *left, const uint8_t *final, const struct mst__item *wanted)
{
    struct mst__item own;
    const uint8_t *position = NULL, *element;
    if (mst_value_tag(final) == MST_STRING) {
        if (left->class != MST__PLAIN || !is_string(wanted->value) ||
            !mst__cursor_convert(left, MST__PLAIN, final, &own) || !is_string(own.value))
            return false;
        struct mst_span text = string_of(own.value), part = string_of(wanted->value);
        return part.length == 0 || memmem(text.data, text.length, part.data, part.length);
    }
    while (mst_value_next(final, &position, &element))
        if (mst__cursor_convert(left, left->class, element, &own) && equal(left->class, &own, wanted))
            return true;
    return false;
}

/* How many of the wanted values a final contains; `enough` ends the count. */
static uint32_t count_contained(struct mst__cursor *left, const uint8_t *final, struct mst__cursor *right,
                                uint32_t enough)
{
    struct mst__item wanted;
    uint32_t count = 0;
    mst__cursor_rewind(right);
    while (count < enough && mst__cursor_next(right, &wanted))
        count += final_contains(left, final, &wanted);
    return count;
}

static bool contains(struct mst_bound *bound, const struct mst__leaf *leaf, const struct mst__scope *scope)
{
    struct mst__cursor left, right;
    const uint8_t *final, *list = NULL;
    uint32_t needed = 1;
    if (leaf->op != MST_OP_CONTAINS) {
        list = mst__operand_literal(bound, leaf->right);
        if (!list || mst_value_tag(list) != MST_ARRAY)
            return false;
        if (leaf->op == MST_OP_CONTAINS_ALL)
            needed = mst_value_count(list);
    }
    open_sides(bound, leaf, scope, list ? MST__MEMBERS : MST__CANDIDATES, &left, &right);
    while (mst__cursor_next_final(&left, &final))
        if (is_container(leaf->left->function, final) && count_contained(&left, final, &right, needed) >= needed)
            return true;
    return false;
}

static bool pattern_holds(enum mst_op op, const struct mst__matcher *matcher, struct mst_span text)
{
    switch (op) {
    case MST_OP_LIKE:
        return mst__like_match(matcher->pattern, text);
    case MST_OP_GLOB:
        return mst__glob_match(matcher->pattern, text);
    case MST_OP_MATCHES:
        return mst__regex_search(matcher->regex, text.data, text.length);
    default:
        return mst__cidr_holds(&matcher->cidr, text.data, text.length);
    }
}

static bool matches(struct mst_bound *bound, const struct mst__leaf *leaf, const struct mst__scope *scope)
{
    const struct mst__matcher *matcher = matcher_of(bound, leaf);
    struct mst__cursor left;
    struct mst__item item;
    if (!matcher->usable)
        return false;
    mst__cursor_init(&left, bound, leaf->left, scope, 0, MST__PLAIN, MST__CANDIDATES);
    while (mst__cursor_next(&left, &item))
        if (is_string(item.value) && pattern_holds(leaf->op, matcher, string_of(item.value)))
            return true;
    return false;
}

static unsigned type_mask(const uint8_t *value)
{
    switch (mst_value_tag(value)) {
    case MST_STRING:
        return 1;
    case MST_INT:
        return 2 | 4;
    case MST_DOUBLE:
        return 2;
    case MST_FALSE:
    case MST_TRUE:
        return 8;
    case MST_NULL:
        return 16;
    case MST_ARRAY:
        return 32;
    default:
        return 64;
    }
}

static bool has_type(struct mst_bound *bound, const struct mst__leaf *leaf, const struct mst__scope *scope)
{
    struct mst__cursor left;
    const uint8_t *final;
    unsigned types = bound->program->constants[leaf->right->index].types;
    mst__cursor_init(&left, bound, leaf->left, scope, 0, MST__PLAIN, MST__CANDIDATES);
    while (mst__cursor_next_final(&left, &final))
        if (type_mask(final) & types)
            return true;
    return false;
}

static bool is_true(struct mst_bound *bound, const struct mst__leaf *leaf, const struct mst__scope *scope)
{
    struct mst__cursor left;
    struct mst__item item;
    mst__cursor_init(&left, bound, leaf->left, scope, 0, MST__PLAIN, MST__CANDIDATES);
    while (mst__cursor_next(&left, &item))
        if (item.value && mst_value_tag(item.value) == MST_TRUE)
            return true;
    return false;
}

static bool exists(struct mst_bound *bound, const struct mst__leaf *leaf, const struct mst__scope *scope)
{
    return leaf->left->kind != MST__PATH || mst__operand_finals(bound, leaf->left, scope, 0) != NULL;
}

/* Whether the inner expression gives `wanted` for some element. */
static bool some_element(struct mst_bound *bound, const struct mst__leaf *leaf, const struct mst__scope *scope,
                         const uint8_t *array, bool wanted)
{
    struct mst__scope inner = {.identity = scope->identity, .level = scope->level + 1};
    const uint8_t *position = NULL;
    while (mst_value_next(array, &position, &inner.document))
        if (mst__tree_holds(bound, leaf->first, &inner) == wanted)
            return true;
    return false;
}

static bool quantifies(struct mst_bound *bound, const struct mst__leaf *leaf, const struct mst__scope *scope)
{
    struct mst__cursor left;
    const uint8_t *final;
    bool any = leaf->op == MST_OP_ANY;
    mst__cursor_init(&left, bound, leaf->left, scope, 0, MST__PLAIN, MST__CANDIDATES);
    while (mst__cursor_next_final(&left, &final))
        if (mst_value_tag(final) == MST_ARRAY && some_element(bound, leaf, scope, final, any) == any)
            return true;
    return false;
}

bool mst__leaf_holds(struct mst_bound *bound, const struct mst__leaf *leaf, const struct mst__scope *scope)
{
    if (leaf->class == MST__MIXED)
        return false;
    switch (leaf->op) {
    case MST_OP_BETWEEN:
        return between(bound, leaf, scope);
    case MST_OP_IN:
        return is_member(bound, leaf, scope);
    case MST_OP_CONTAINS:
    case MST_OP_CONTAINS_ANY:
    case MST_OP_CONTAINS_ALL:
        return contains(bound, leaf, scope);
    case MST_OP_LIKE:
    case MST_OP_GLOB:
    case MST_OP_MATCHES:
    case MST_OP_CIDR:
        return matches(bound, leaf, scope);
    case MST_OP_EXISTS:
        return exists(bound, leaf, scope);
    case MST_OP_TYPE:
        return has_type(bound, leaf, scope);
    case MST_OP_TRUE:
        return is_true(bound, leaf, scope);
    case MST_OP_ANY:
    case MST_OP_ALL:
        return quantifies(bound, leaf, scope);
    default:
        return compares(bound, leaf, scope);
    }
}

/* Recursion is bounded: load refuses trees deeper than 64, inner expressions counted along. */
bool mst__tree_holds(struct mst_bound *bound, uint32_t node, const struct mst__scope *scope)
{
    const struct mst__node *nodes = bound->program->nodes, *here = &nodes[node];
    switch (here->kind) {
    case MST__LEAF:
        return mst__leaf_holds(bound, &bound->program->leaves[here->leaf], scope);
    case MST__NOT:
        return !mst__tree_holds(bound, node + 1, scope);
    case MST__TRUE:
    case MST__FALSE:
        return here->kind == MST__TRUE;
    default:
        for (uint32_t child = node + 1; child < here->end; child = nodes[child].end)
            if (mst__tree_holds(bound, child, scope) == (here->kind == MST__OR))
                return here->kind == MST__OR;
        return here->kind == MST__AND;
    }
}
