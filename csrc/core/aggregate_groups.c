// SPDX-License-Identifier: Apache-2.0
#include <stdlib.h>
#include <string.h>

#include "core/aggregate.h"
#include "model/value.h"

static int open_key(struct mst__group_key *key, struct mst_view *view, const struct mst_path *path)
{
    key->path = *path;
    key->column = mst_view_column(view, path); /* NULL: the documents are read */
    key->numbers = mst_map_create();
    key->capacity = 16;
    key->offsets = malloc(key->capacity * sizeof *key->offsets);
    if (!key->numbers || !key->offsets)
        return MST_ENOMEM;
    key->count = 1;
    if (!key->column || mst_column_filling(key->column) || mst_column_encoding(key->column) != MST_ENCODING_DICTIONARY)
        return 0;
    key->by_code = calloc((size_t)mst_column_codes(key->column) + 1, sizeof *key->by_code);
    return key->by_code ? 0 : MST_ENOMEM;
}

int mst__groups_init(struct mst__groups *groups, struct mst_view *view, const struct mst_path *paths, uint32_t count)
{
    *groups = (struct mst__groups){.view = view, .key_count = count};
    groups->index = mst_map_create();
    if (!groups->index)
        return MST_ENOMEM;
    for (uint32_t i = 0; i < count; i++)
        if (open_key(&groups->keys[i], view, &paths[i]) < 0)
            return MST_ENOMEM;
    return 0;
}

void mst__groups_deinit(struct mst__groups *groups)
{
    for (uint32_t i = 0; i < groups->key_count; i++) {
        struct mst__group_key *key = &groups->keys[i];
        free(key->by_code);
        free(key->offsets);
        if (key->numbers)
            mst_map_destroy(key->numbers);
        mst_buffer_deinit(&key->values);
    }
    if (groups->index)
        mst_map_destroy(groups->index);
    free(groups->numbers);
    free(groups->rows);
    mst_row_scratch_deinit(&groups->scratch);
}

/* A double that is a whole number as that integer, so that equal numbers have equal bytes. */
static const uint8_t *plain_number(const uint8_t *value, struct mst_buffer *cell)
{
    double number = mst_value_double(value);
    if (!(number >= -9223372036854775808.0 && number < 9223372036854775808.0) || number != (double)(int64_t)number)
        return value;
    mst_buffer_clear(cell);
    mst_value_put_int(cell, (int64_t)number);
    return cell->failed ? NULL : (const uint8_t *)cell->data;
}

static int add_value(struct mst__groups *groups, struct mst__group_key *key, const uint8_t *value, size_t size,
                     uint32_t *number, struct mst_error *error)
{
    if (size > MST__GROUP_KEYS_MAX - groups->key_bytes) {
        mst_error_set(error, MST_ETOOBIG, "the values of the groups take more than %u MiB", MST__GROUP_KEYS_MAX >> 20);
        mst_error_hint(error, "group by fields with fewer or shorter values, or filter");
        return MST_ETOOBIG;
    }
    if (key->count == key->capacity) {
        size_t *grown = realloc(key->offsets, 2 * key->capacity * sizeof *grown);
        if (!grown)
            return MST_ENOMEM;
        key->offsets = grown;
        key->capacity *= 2;
    }
    key->offsets[key->count] = key->values.length;
    mst_buffer_append(&key->values, value, size);
    if (key->values.failed || mst_map_set(key->numbers, value, size, key->count) < 0)
        return MST_ENOMEM;
    groups->key_bytes += size;
    *number = key->count++;
    return 0;
}

static int number_of_value(struct mst__groups *groups, struct mst__group_key *key, const uint8_t *value,
                           struct mst_buffer *cell, uint32_t *number, struct mst_error *error)
{
    uint64_t known;
    *number = 0;
    if (!value || mst_value_tag(value) == MST_NULL)
        return 0;
    if (mst_value_tag(value) == MST_DOUBLE)
        value = plain_number(value, cell);
    if (!value)
        return MST_ENOMEM;
    size_t size = mst_value_size(value);
    if (!mst_map_get(key->numbers, value, size, &known))
        return add_value(groups, key, value, size, number, error);
    *number = (uint32_t)known;
    return 0;
}

static int number_of_row(struct mst__groups *groups, struct mst__group_key *key, uint32_t row, uint32_t *number,
                         struct mst_error *error)
{
    uint32_t code = key->by_code ? mst_column_code(key->column, row) : 0;
    if (key->by_code && key->by_code[code]) {
        *number = key->by_code[code] - 1;
        return 0;
    }
    struct mst_row_scratch *scratch = &groups->scratch;
    const uint8_t *value = mst_row_value(groups->view, key->column, &key->path, row, scratch);
    if (scratch->document.failed || scratch->finals.failed)
        return MST_ENOMEM;
    struct mst_buffer cell = {0};
    int status = number_of_value(groups, key, value, &cell, number, error);
    mst_buffer_deinit(&cell);
    if (status == 0 && key->by_code)
        key->by_code[code] = *number + 1;
    return status;
}

static int grow(struct mst__groups *groups)
{
    uint32_t capacity = groups->capacity ? 2 * groups->capacity : 16;
    uint32_t *rows = realloc(groups->rows, capacity * sizeof *rows);
    if (!rows)
        return MST_ENOMEM;
    groups->rows = rows;
    uint32_t *numbers = realloc(groups->numbers, ((size_t)capacity * groups->key_count + 1) * sizeof *numbers);
    if (!numbers)
        return MST_ENOMEM;
    groups->numbers = numbers;
    groups->capacity = capacity;
    return 0;
}

static int refuse_group(struct mst_error *error)
{
    mst_error_set(error, MST_ETOOBIG, "more than %u groups", MST__GROUPS_MAX);
    mst_error_hint(error, "group by fields with fewer values, or filter");
    return MST_ETOOBIG;
}

int mst__groups_add(struct mst__groups *groups, uint32_t row, uint32_t *group, struct mst_error *error)
{
    uint32_t numbers[MST__GROUP_PATHS_MAX] = {0};
    size_t size = groups->key_count * sizeof *numbers;
    uint64_t known;
    for (uint32_t i = 0; i < groups->key_count; i++) {
        int status = number_of_row(groups, &groups->keys[i], row, &numbers[i], error);
        if (status)
            return status;
    }
    if (mst_map_get(groups->index, numbers, size, &known)) {
        groups->rows[known]++;
        *group = (uint32_t)known;
        return 0;
    }
    if (groups->count == MST__GROUPS_MAX)
        return refuse_group(error);
    if (groups->count == groups->capacity && grow(groups) < 0)
        return MST_ENOMEM;
    if (mst_map_set(groups->index, numbers, size, groups->count) < 0)
        return MST_ENOMEM;
    memcpy(groups->numbers + (size_t)groups->count * groups->key_count, numbers, size);
    groups->rows[groups->count] = 1;
    *group = groups->count++;
    return 0;
}

const uint8_t *mst__group_value(const struct mst__groups *groups, uint32_t group, uint32_t key)
{
    uint32_t number = groups->numbers[(size_t)group * groups->key_count + key];
    return number ? (const uint8_t *)groups->keys[key].values.data + groups->keys[key].offsets[number] : NULL;
}

int mst__groups_compare(const struct mst__groups *groups, uint32_t a, uint32_t b)
{
    for (uint32_t i = 0; i < groups->key_count; i++) {
        const uint8_t *left = mst__group_value(groups, a, i), *right = mst__group_value(groups, b, i);
        int order = left && right ? mst_value_compare(left, right) : (left == NULL) - (right == NULL);
        if (order)
            return order;
    }
    return 0;
}
