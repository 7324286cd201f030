// SPDX-License-Identifier: Apache-2.0
#include <stdlib.h>
#include <string.h>

#include "model/value.h"
#include "view/internal.h"

static int compare_names(const char *a, size_t a_length, const char *b, size_t b_length)
{
    size_t shorter = a_length < b_length ? a_length : b_length;
    int order = memcmp(a, b, shorter);
    return order ? order : (a_length > b_length) - (a_length < b_length);
}

/* The place of a name, or where it belongs. */
static uint32_t place_of(const struct mst_view *view, const char *name, size_t length, bool *there)
{
    uint32_t low = 0, high = view->field_count;
    *there = false;
    while (low < high) {
        uint32_t middle = (low + high) / 2;
        int order = compare_names(view->fields[middle].name, view->fields[middle].length, name, length);
        if (order == 0) {
            *there = true;
            return middle;
        }
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

int mst__fields_enter(struct mst_view *view, const char *name, uint32_t length, uint32_t column)
{
    bool there;
    uint32_t place = place_of(view, name, length, &there);
    if (there) {
        view->fields[place].column = column;
        return 0;
    }
    if (view->field_count == view->field_capacity) {
        uint32_t capacity = view->field_capacity ? view->field_capacity * 2 : 16;
        struct mst__field *grown = realloc(view->fields, capacity * sizeof *grown);
        if (!grown)
            return MST_ENOMEM;
        view->fields = grown;
        view->field_capacity = capacity;
    }
    char *copy = malloc(length ? length : 1);
    if (!copy)
        return MST_ENOMEM;
    memcpy(copy, name, length);
    memmove(&view->fields[place + 1], &view->fields[place], (view->field_count - place) * sizeof *view->fields);
    view->fields[place].name = copy;
    view->fields[place].length = length;
    view->fields[place].column = column;
    view->field_count++;
    return 0;
}

void mst__fields_deinit(struct mst_view *view)
{
    for (uint32_t i = 0; i < view->field_count; i++)
        free(view->fields[i].name);
    free(view->fields);
}

static bool is_scalar(const uint8_t *value)
{
    return mst_value_tag(value) < MST_ARRAY;
}

/*
 * A name no document had before, so that no row has a value to fill in. Where it cannot be remembered, no further name
 * is known to be new, and the watch ends.
 */
static void meet(struct mst_view *view, const char *name, size_t length, const uint8_t *value)
{
    struct mst_path path = {.count = 1, .steps = {{name, (uint32_t)length, -1}}};
    if (is_scalar(value) && view->automatic < MST__AUTOMATIC_COLUMNS && mst__view_add_column(view, &path)) {
        view->automatic++;
        return;
    }
    if (is_scalar(value) || view->field_count >= MST__FIELDS_MAX ||
        mst__fields_enter(view, name, (uint32_t)length, MST__NUMBER_NONE) < 0)
        view->watching = false;
}

/* The field of a name, looked for from `*at` on, which moves along as both sides are in order; NULL: it is unknown. */
static const struct mst__field *advance(const struct mst_view *view, uint32_t *at, const char *name, size_t length)
{
    for (; *at < view->field_count; ++*at) {
        const struct mst__field *field = &view->fields[*at];
        if (field->length == length && mst__same_bytes(field->name, name, length))
            return &view->fields[(*at)++];
        if (compare_names(field->name, field->length, name, length) > 0)
            break;
    }
    return NULL;
}

static int gather_plain(struct mst_view *view, const uint8_t *document)
{
    const uint8_t *position = NULL, *value;
    const char *name;
    size_t length;
    uint32_t at = 0;
    while (mst_value_next_member(document, &position, &name, &length, &value)) {
        const struct mst__field *field = advance(view, &at, name, length);
        if (!field && view->watching) {
            meet(view, name, length, value);
            field = advance(view, &at, name, length);
        }
        if (!field || field->column == MST__NUMBER_NONE)
            continue;
        int status = mst__column_cell(view->columns[field->column], value, &view->cells[field->column]);
        if (status < 0)
            return status;
    }
    return 0;
}

int mst__fields_gather(struct mst_view *view, const uint8_t *document)
{
    memset(view->cells, 0, view->column_count * sizeof *view->cells);
    int status = gather_plain(view, document);
    for (uint32_t i = 0; status == 0 && i < view->column_count; i++)
        if (!view->columns[i]->plain)
            status = mst__column_extract(view->columns[i], document, &view->finals, &view->cells[i]);
    return status;
}
