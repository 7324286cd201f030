// SPDX-License-Identifier: Apache-2.0
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "base/base64.h"
#include "core/coordinator_internal.h"

/*
 * Cursors of sorted lists: the letter s and, in base64, the packed array [mark, [value], .., id] of the last row
 * listed;
 * [] stands for a missing field. They need no memory here, and any instance can go on from them.
 */

#define CURSOR_MAX (1u << 20)

uint64_t mst__sort_mark(const struct mst_sort_key *keys, uint32_t count, uint64_t mark)
{
    for (uint32_t i = 0; i < count; i++) {
        const struct mst_path *path = &keys[i].path;
        mark = XXH3_64bits_withSeed(keys[i].descending ? "-" : "+", 1, mark);
        for (uint32_t step = 0; step < path->count; step++)
            mark = XXH3_64bits_withSeed(path->steps[step].name, path->steps[step].length,
                                        mark + (path->steps[step].index >= 0));
    }
    return mark;
}

void mst__cursor_deinit(struct mst__cursor *cursor)
{
    mst_buffer_deinit(&cursor->packed);
}

static bool take_values(struct mst__cursor *cursor, uint32_t key_count, const uint8_t *packed)
{
    const uint8_t *position = NULL, *element, *inner;
    uint32_t at = 0;
    while (mst_value_next(packed, &position, &element)) {
        bool fits = at == 0           ? mst_value_tag(element) == MST_INT
                    : at <= key_count ? mst_value_tag(element) == MST_ARRAY && mst_value_count(element) < 2
                                      : mst_value_tag(element) == MST_STRING;
        if (!fits)
            return false;
        const uint8_t *within = NULL;
        if (at > 0 && at <= key_count)
            cursor->values[at - 1] = mst_value_next(element, &within, &inner) ? inner : NULL;
        else if (at > 0)
            cursor->place.id = mst__body_string(element);
        at++;
    }
    return at == key_count + 2;
}

int mst__cursor_read(struct mst__cursor *cursor, struct mst_span text, uint32_t key_count, uint64_t mark,
                     struct mst_error *error)
{
    const uint8_t *packed = NULL;
    cursor->packed.limit = CURSOR_MAX;
    if (text.length && text.data[0] == 's' && mst_base64_decode(&cursor->packed, text.data + 1, text.length - 1) == 0 &&
        mst_value_verify((const uint8_t *)cursor->packed.data, cursor->packed.length, MST__REQUEST_DEPTH))
        packed = (const uint8_t *)cursor->packed.data;
    if (!packed || mst_value_tag(packed) != MST_ARRAY)
        return mst_error_set(error, MST_EINVAL, "key \"cursor\": not a cursor that a sorted list has given");
    const uint8_t *first = mst_value_at(packed, 0);
    bool same = first && mst_value_tag(first) == MST_INT && (uint64_t)mst_value_int(first) == mark;
    if (!same || !take_values(cursor, key_count, packed))
        return mst_error_set(error, MST_EINVAL,
                             "key \"cursor\": belongs to another filter, parameters, order or namespace");
    cursor->place.values = cursor->values;
    cursor->given = true;
    return 0;
}

int mst__cursor_put(struct mst__call *call, const struct mst_sort_key *keys, uint32_t key_count, uint64_t mark,
                    uint32_t row)
{
    struct mst_view *view = call->space->view;
    struct mst_buffer packed = {0};
    struct mst_row_scratch scratch = {0};
    size_t array = mst_value_begin(&packed, MST_ARRAY);
    mst_value_put_int(&packed, (int64_t)mark);
    for (uint32_t i = 0; i < key_count; i++) {
        const struct mst_column *column = mst_view_column(view, &keys[i].path);
        const uint8_t *value = mst_row_first_value(view, column, &keys[i].path, row, &scratch);
        size_t one = mst_value_begin(&packed, MST_ARRAY);
        if (value)
            mst_buffer_append(&packed, value, mst_value_size(value));
        mst_value_end(&packed, one, value != NULL);
    }
    struct mst_identity identity;
    mst_view_identity(view, row, &identity);
    mst_value_put_string(&packed, identity.id.data, identity.id.length);
    mst_value_end(&packed, array, key_count + 2);
    bool failed = packed.failed || scratch.document.failed || scratch.finals.failed;
    MST__PUT(&call->answer, ",\"next_cursor\":\"s");
    mst_base64_encode(&call->answer, packed.data, packed.length);
    mst_buffer_append_byte(&call->answer, '"');
    mst_row_scratch_deinit(&scratch);
    mst_buffer_deinit(&packed);
    return failed ? MST_ENOMEM : 0;
}
