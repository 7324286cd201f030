// SPDX-License-Identifier: Apache-2.0
#include "match/sort.h"

#include <stdlib.h>
#include <string.h>

#include "model/value.h"

struct order {
    const struct mst_view *view;
    const struct mst_sort_key *keys;
    struct mst_column **columns;
    bool *coded; /* by key: equal codes are equal values */
    uint32_t key_count;
    const struct mst_sort_place *place;
    struct mst_row_scratch left, right;
};

void mst_row_scratch_deinit(struct mst_row_scratch *scratch)
{
    mst_buffer_deinit(&scratch->document);
    mst_buffer_deinit(&scratch->finals);
}

const uint8_t *mst_row_value(const struct mst_view *view, const struct mst_column *column, const struct mst_path *path,
                             uint32_t row, struct mst_row_scratch *scratch)
{
    if (column && !mst_column_filling(column))
        return mst_column_row_value(column, row, scratch->cell);
    mst_buffer_clear(&scratch->document);
    mst_buffer_clear(&scratch->finals);
    if (mst_view_document(view, row, &scratch->document) < 0)
        return NULL;
    return mst_path_find(path, (const uint8_t *)scratch->document.data, &scratch->finals);
}

static const uint8_t *first_of(const uint8_t *value)
{
    const uint8_t *position = NULL, *first;
    if (value && mst_value_tag(value) == MST_FINALS)
        return mst_value_next(value, &position, &first) ? first : NULL;
    return value;
}

const uint8_t *mst_row_first_value(const struct mst_view *view, const struct mst_column *column,
                                   const struct mst_path *path, uint32_t row, struct mst_row_scratch *scratch)
{
    return first_of(mst_row_value(view, column, path, row, scratch));
}

static int compare_id(struct mst_span left, struct mst_span right)
{
    size_t shorter = left.length < right.length ? left.length : right.length;
    int order = memcmp(left.data, right.data, shorter);
    return order ? order : (left.length > right.length) - (left.length < right.length);
}

static int compare_values(const uint8_t *left, const uint8_t *right, bool descending)
{
    if (!left || !right)
        return (left == NULL) - (right == NULL);
    int order = mst_value_compare(left, right);
    return descending ? -order : order;
}

static const uint8_t *key_of(const struct order *order, uint32_t key, uint32_t row, struct mst_row_scratch *scratch)
{
    return mst_row_first_value(order->view, order->columns[key], &order->keys[key].path, row, scratch);
}

static int compare_rows(struct order *order, uint32_t a, uint32_t b)
{
    for (uint32_t i = 0; i < order->key_count; i++) {
        if (order->coded[i] && mst_column_code(order->columns[i], a) == mst_column_code(order->columns[i], b))
            continue;
        int found = compare_values(key_of(order, i, a, &order->left), key_of(order, i, b, &order->right),
                                   order->keys[i].descending);
        if (found)
            return found;
    }
    struct mst_identity left, right;
    mst_view_identity(order->view, a, &left);
    mst_view_identity(order->view, b, &right);
    return compare_id(left.id, right.id);
}

static bool is_after(struct order *order, uint32_t row)
{
    for (uint32_t i = 0; i < order->key_count; i++) {
        int found =
            compare_values(key_of(order, i, row, &order->left), order->place->values[i], order->keys[i].descending);
        if (found)
            return found > 0;
    }
    struct mst_identity identity;
    mst_view_identity(order->view, row, &identity);
    return compare_id(identity.id, order->place->id) > 0;
}

/* Moves the row at `place` down until no child comes after it in the order: the root is the last of all. */
static void sift_down(struct order *order, uint32_t *heap, uint32_t count, uint32_t place)
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
static uint32_t select_first(struct order *order, const struct mst_rowset *set, uint32_t limit, uint32_t *rows)
{
    uint32_t count = 0;
    for (uint32_t row = mst_rowset_next(set, 0); row != MST_ROW_NONE; row = mst_rowset_next(set, row + 1)) {
        if (order->place && !is_after(order, row))
            continue;
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

static int open_columns(struct order *order, struct mst_view *view)
{
    order->columns = calloc(order->key_count + 1u, sizeof(*order->columns));
    order->coded = calloc(order->key_count + 1u, sizeof(*order->coded));
    if (!order->columns || !order->coded)
        return MST_ENOMEM;
    for (uint32_t i = 0; i < order->key_count; i++) {
        /* NULL, because there are too many columns: read from the documents. */
        struct mst_column *column = order->columns[i] = mst_view_column(view, &order->keys[i].path);
        order->coded[i] =
            column && !mst_column_filling(column) && mst_column_encoding(column) == MST_ENCODING_DICTIONARY;
    }
    return 0;
}

int mst_sort_after(struct mst_view *view, const struct mst_rowset *set, const struct mst_sort_key *keys,
                   uint32_t key_count, const struct mst_sort_place *place, uint32_t limit, uint32_t *rows,
                   uint32_t *count)
{
    struct order order = {.view = view, .keys = keys, .key_count = key_count, .place = place};
    *count = 0;
    if (limit > set->count)
        limit = set->count;
    if (limit == 0)
        return 0;
    int status = open_columns(&order, view);
    if (status == 0)
        *count = select_first(&order, set, limit, rows);
    if (order.left.document.failed || order.right.document.failed || order.left.finals.failed ||
        order.right.finals.failed)
        status = MST_ENOMEM;
    mst_row_scratch_deinit(&order.left);
    mst_row_scratch_deinit(&order.right);
    free(order.columns);
    free(order.coded);
    return status;
}

int mst_sort(struct mst_view *view, const struct mst_rowset *set, const struct mst_sort_key *keys, uint32_t key_count,
             uint32_t limit, uint32_t *rows, uint32_t *count)
{
    return mst_sort_after(view, set, keys, key_count, NULL, limit, rows, count);
}
