// SPDX-License-Identifier: Apache-2.0
#include <stdlib.h>
#include <string.h>

#include "match/match.h"
#include "model/value.h"

struct order {
    const struct mst_view *view;
    const struct mst_sort_key *keys;
    struct mst_column **columns;
    uint32_t key_count;
};

static const uint8_t *key_value(const struct mst_column *column, uint32_t code)
{
    const uint8_t *value = mst_column_value(column, code), *position = NULL, *first;
    if (value && mst_value_tag(value) == MST_FINALS)
        return mst_value_next(value, &position, &first) ? first : NULL;
    return value;
}

static int compare_ids(const struct mst_view *view, uint32_t a, uint32_t b)
{
    struct mst_identity left, right;
    mst_view_identity(view, a, &left);
    mst_view_identity(view, b, &right);
    size_t shorter = left.id.length < right.id.length ? left.id.length : right.id.length;
    int order = memcmp(left.id.data, right.id.data, shorter);
    return order ? order : (left.id.length > right.id.length) - (left.id.length < right.id.length);
}

static int compare_key(const struct mst_column *column, bool descending, uint32_t a, uint32_t b)
{
    uint32_t a_code = mst_column_code(column, a), b_code = mst_column_code(column, b);
    if (a_code == b_code)
        return 0;
    const uint8_t *left = key_value(column, a_code), *right = key_value(column, b_code);
    if (!left || !right)
        return (left == NULL) - (right == NULL);
    int order = mst_value_compare(left, right);
    return descending ? -order : order;
}

static int compare_rows(const struct order *order, uint32_t a, uint32_t b)
{
    for (uint32_t i = 0; i < order->key_count; i++) {
        int found = compare_key(order->columns[i], order->keys[i].descending, a, b);
        if (found)
            return found;
    }
    return compare_ids(order->view, a, b);
}

/* Moves the row at `place` down until no child comes after it in the order: the root is the last of all. */
static void sift_down(const struct order *order, uint32_t *heap, uint32_t count, uint32_t place)
{
    uint32_t row = heap[place];
    for (;;) {
        size_t child = (size_t)place * 2 + 1;
        if (child >= count)
            break;
        if (child + 1 < count && compare_rows(order, heap[child + 1], heap[child]) > 0)
            child++;
        if (compare_rows(order, heap[child], row) <= 0)
            break;
        heap[place] = heap[child];
        place = (uint32_t)child;
    }
    heap[place] = row;
}

/* Keeps the first `limit` rows in a heap whose root is the one to go, then takes the heap apart from behind. */
static uint32_t select_first(const struct order *order, const struct mst_rowset *set, uint32_t limit, uint32_t *rows)
{
    uint32_t count = 0;
    for (uint32_t row = mst_rowset_next(set, 0); row != MST_ROW_NONE; row = mst_rowset_next(set, row + 1)) {
        if (count < limit) {
            rows[count++] = row;
            for (uint32_t place = count / 2; count == limit && place-- > 0;)
                sift_down(order, rows, count, place);
        } else if (compare_rows(order, row, rows[0]) < 0) {
            rows[0] = row;
            sift_down(order, rows, count, 0);
        }
    }
    for (uint32_t place = count / 2; count < limit && place-- > 0;)
        sift_down(order, rows, count, place);
    for (uint32_t last = count; last > 1; last--) {
        uint32_t row = rows[0];
        rows[0] = rows[last - 1];
        rows[last - 1] = row;
        sift_down(order, rows, last - 1, 0);
    }
    return count;
}

int mst_sort(struct mst_view *view, const struct mst_rowset *set, const struct mst_sort_key *keys, uint32_t key_count,
             uint32_t limit, uint32_t *rows, uint32_t *count)
{
    struct order order = {.view = view, .keys = keys, .key_count = key_count};
    int status = 0;
    *count = 0;
    if (limit > set->count)
        limit = set->count;
    if (limit == 0)
        return 0;
    order.columns = calloc(key_count + 1u, sizeof(*order.columns));
    if (!order.columns)
        return MST_ENOMEM;
    for (uint32_t i = 0; i < key_count; i++) {
        order.columns[i] = mst_view_column(view, &keys[i].path);
        if (!order.columns[i]) {
            status = MST_ENOMEM;
            goto fail;
        }
    }
    *count = select_first(&order, set, limit, rows);
fail:
    free(order.columns);
    return status;
}
