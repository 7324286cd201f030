// SPDX-License-Identifier: Apache-2.0
#include <string.h>

#include "view/internal.h"

#define AT_ONCE 50000u /* a view with fewer identities has its new columns filled at once */

/* Paths are told apart by their steps; an index step is not the same as a name step of the same text. */
static int path_key(struct mst_buffer *key, const struct mst_path *path)
{
    mst_buffer_clear(key);
    for (uint32_t i = 0; i < path->count; i++) {
        const struct mst_path_step *step = &path->steps[i];
        mst_buffer_append(key, &step->index, sizeof step->index);
        mst_buffer_append(key, &step->length, sizeof step->length);
        if (step->index < 0)
            mst_buffer_append(key, step->name, step->length);
    }
    return key->failed ? MST_ENOMEM : 0;
}

/* The document itself has an empty key, which has no address of its own. */
static const void *key_data(const struct mst_buffer *key)
{
    return key->length ? key->data : "";
}

struct mst_column *mst__view_add_column(struct mst_view *view, const struct mst_path *path)
{
    uint32_t number = view->column_count;
    if (number == MST__COLUMNS_MAX || path_key(&view->key, path) < 0)
        return NULL;
    struct mst_column *column = mst__column_create(view, path, view->rows.capacity);
    if (!column)
        return NULL;
    if (mst_map_set(view->paths, key_data(&view->key), view->key.length, number) < 0)
        goto fail;
    if (column->plain && mst__fields_enter(view, path->steps[0].name, path->steps[0].length, number) < 0) {
        mst_map_remove(view->paths, key_data(&view->key), view->key.length, NULL);
        goto fail;
    }
    view->columns[number] = column;
    view->cells[number] = (struct mst__cell){0};
    view->column_count++;
    return column;
fail:
    mst__column_destroy(column);
    return NULL;
}

/* Whether the text of a document cannot have the path; then it need not be parsed. */
static bool surely_missing(const struct mst_path *path, struct mst_span metadata)
{
    return path->count > 0 && path->steps[0].length > 0 && !memchr(metadata.data, '\\', metadata.length) &&
           !memmem(metadata.data, metadata.length, path->steps[0].name, path->steps[0].length);
}

/* What a put meanwhile has stored is stored once more. */
static int fill_row(struct mst_view *view, struct mst_column *column, uint32_t row)
{
    struct mst__cell cell = {0};
    if (!mst__rows_alive(&view->rows, row) ||
        surely_missing(&column->path, mst__head_metadata(mst__rows_head(&view->rows, row))))
        return 0;
    mst_buffer_clear(&view->document);
    int status = mst_view_document(view, row, &view->document);
    if (status == 0)
        status = mst__column_extract(column, (const uint8_t *)view->document.data, &view->finals, &cell);
    if (status < 0)
        return status == MST_ENOMEM ? status : 0; /* a text that is no document denotes nothing */
    mst__column_set(column, row, &cell);
    if (column->unsettled)
        mst__column_settle(column);
    return 0;
}

/* Fills at most `*rows` rows, and counts them off. */
static int fill_column(struct mst_view *view, struct mst_column *column, uint32_t *rows)
{
    for (; column->filled < view->rows.limit && *rows; column->filled++, --*rows)
        if (fill_row(view, column, column->filled) < 0)
            return MST_ENOMEM;
    if (column->filled >= view->rows.limit) {
        column->filling = false;
        view->filling--;
    }
    return 0;
}

bool mst_view_fill(struct mst_view *view, uint32_t rows)
{
    for (uint32_t i = 0; view->filling && rows && i < view->column_count; i++)
        if (view->columns[i]->filling && fill_column(view, view->columns[i], &rows) < 0)
            break;
    return view->filling > 0;
}

struct mst_column *mst_view_column(struct mst_view *view, const struct mst_path *path)
{
    uint64_t known;
    if (path_key(&view->key, path) < 0)
        return NULL;
    bool there = mst_map_get(view->paths, key_data(&view->key), view->key.length, &known);
    if (!there && view->column_count - view->automatic >= MST__COLUMNS_MAX - MST__AUTOMATIC_COLUMNS)
        return NULL;
    struct mst_column *column = there ? view->columns[known] : mst__view_add_column(view, path);
    if (!column)
        return NULL;
    if (!there) {
        column->filling = true;
        view->filling++;
    }
    uint32_t all = UINT32_MAX;
    if (column->filling && view->rows.count < AT_ONCE && fill_column(view, column, &all) < 0)
        return NULL; /* it stays, and goes on being filled */
    return column;
}
