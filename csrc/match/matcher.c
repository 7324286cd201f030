// SPDX-License-Identifier: Apache-2.0
#include <stdlib.h>

#include "match/internal.h"
#include "match/regex.h"

static bool is_scalar(const uint8_t *value)
{
    return mst_value_tag(value) < MST_ARRAY;
}

static int by_value(const void *a, const void *b)
{
    const uint8_t *const *left = a, *const *right = b;
    return mst_value_compare(*left, *right);
}

int mst__set_init(struct mst__set *set, const uint8_t *array)
{
    const uint8_t *position = NULL, *element;
    uint32_t count = mst_value_count(array), behind = count;
    *set = (struct mst__set){.count = count};
    set->items = malloc((count ? count : 1) * sizeof(*set->items));
    if (!set->items)
        return MST_ENOMEM;
    while (mst_value_next(array, &position, &element)) {
        set->has_null = set->has_null || mst_value_tag(element) == MST_NULL;
        if (is_scalar(element))
            set->items[set->scalars++] = element;
        else
            set->items[--behind] = element;
    }
    qsort(set->items, set->scalars, sizeof(*set->items), by_value);
    return 0;
}

void mst__set_deinit(struct mst__set *set)
{
    free(set->items);
}

bool mst__set_has(const struct mst__set *set, const uint8_t *value)
{
    if (is_scalar(value))
        return set->scalars && bsearch(&value, set->items, set->scalars, sizeof(*set->items), by_value);
    for (uint32_t i = set->scalars; i < set->count; i++)
        if (mst_value_equal(set->items[i], value))
            return true;
    return false;
}

static int compile(struct mst__matcher *matcher, struct mst_span text, struct mst_error *error)
{
    char message[200];
    long offset = -1;
    switch (mst__regex_compile(&matcher->regex, text.data, text.length, message, sizeof message, &offset)) {
    case MST__REGEX_OK:
        return 0;
    case MST__REGEX_BAD:
        return mst_error_set(error, MST_EFILTER, "bad regular expression: %s", message);
    default:
        return mst_error_set(error, MST_ENOMEM, "no memory for a regular expression");
    }
}

int mst__matcher_init_text(struct mst__matcher *matcher, enum mst_op op, struct mst_span text, struct mst_error *error)
{
    *matcher = (struct mst__matcher){.pattern = text};
    if (op == MST_OP_CIDR) {
        if (!mst__cidr_parse(&matcher->cidr, text.data, text.length))
            return mst_error_set(error, MST_EFILTER, "bad network \"%.*s\"", (int)(text.length > 60 ? 60 : text.length),
                                 text.data);
    } else {
        if (text.length > MST__PATTERN_MAX)
            return mst_error_set(error, MST_EFILTER, "pattern of %zu bytes is too long (limit %u)", text.length,
                                 MST__PATTERN_MAX);
        int status = op == MST_OP_MATCHES ? compile(matcher, text, error) : 0;
        if (status < 0)
            return status;
    }
    matcher->usable = true;
    return 0;
}

int mst__matcher_init_value(struct mst__matcher *matcher, enum mst_op op, const uint8_t *value, struct mst_error *error)
{
    *matcher = (struct mst__matcher){0};
    if (op == MST_OP_IN) {
        if (mst_value_tag(value) != MST_ARRAY)
            return 0;
        if (mst__set_init(&matcher->set, value) < 0)
            return mst_error_set(error, MST_ENOMEM, "no memory for a list");
        matcher->usable = true;
        return 0;
    }
    if (mst_value_tag(value) != MST_STRING)
        return 0;
    struct mst_span text;
    text.data = mst_value_string(value, &text.length);
    return mst__matcher_init_text(matcher, op, text, error);
}

void mst__matcher_deinit(struct mst__matcher *matcher)
{
    if (matcher->regex)
        mst__regex_destroy(matcher->regex);
    mst__set_deinit(&matcher->set);
}

int mst_regex_check(const char *pattern, size_t length, struct mst_error *error)
{
    char message[200];
    long offset = -1;
    int status;
    if (length > MST__PATTERN_MAX) {
        status =
            mst_error_set(error, MST_EFILTER, "pattern of %zu bytes is too long (limit %u)", length, MST__PATTERN_MAX);
    } else {
        enum mst__regex_status found = mst__regex_compile(NULL, pattern, length, message, sizeof message, &offset);
        if (found == MST__REGEX_OK)
            return 0;
        status = found == MST__REGEX_BAD ? mst_error_set(error, MST_EFILTER, "bad regular expression: %s", message)
                                         : mst_error_set(error, MST_ENOMEM, "no memory for a regular expression");
    }
    if (error) {
        error->has_position = offset >= 0;
        error->offset = offset >= 0 ? (uint32_t)offset : UINT32_MAX;
    }
    return status;
}
