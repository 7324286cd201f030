// SPDX-License-Identifier: Apache-2.0
#include <stdlib.h>
#include <string.h>

#include "model/value.h"
#include "view/internal.h"

static int copy_path(struct mst_column *column, const struct mst_path *path)
{
    size_t total = 1;
    for (uint32_t i = 0; i < path->count; i++)
        total += path->steps[i].length;
    char *at = column->names = malloc(total);
    if (!at)
        return MST_ENOMEM;
    column->path = *path;
    for (uint32_t i = 0; i < path->count; i++) {
        struct mst_path_step *step = &column->path.steps[i];
        memcpy(at, path->steps[i].name, step->length);
        step->name = at;
        at += step->length;
    }
    return 0;
}

struct mst_column *mst__column_create(const struct mst_view *view, const struct mst_path *path, uint32_t capacity)
{
    struct mst_column *column = calloc(1, sizeof *column);
    if (!column)
        return NULL;
    column->view = view;
    column->width = 1;
    column->index = mst_map_create();
    column->codes = calloc(capacity ? capacity : 1, 1);
    if (!column->index || !column->codes || copy_path(column, path) < 0) {
        mst__column_destroy(column);
        return NULL;
    }
    return column;
}

void mst__column_destroy(struct mst_column *column)
{
    if (!column)
        return;
    for (uint32_t code = 1; code <= column->code_count; code++)
        free(column->entries[code].value);
    free(column->entries);
    if (column->index)
        mst_map_destroy(column->index);
    free(column->codes);
    free(column->names);
    free(column);
}

int mst__column_grow(struct mst_column *column, uint32_t from, uint32_t to)
{
    uint8_t *grown = realloc(column->codes, (size_t)to * column->width);
    if (!grown)
        return MST_ENOMEM;
    memset(grown + (size_t)from * column->width, 0, (size_t)(to - from) * column->width);
    column->codes = grown;
    return 0;
}

static uint32_t load_code(const void *codes, unsigned width, uint32_t row)
{
    if (width == 1)
        return ((const uint8_t *)codes)[row];
    return width == 2 ? ((const uint16_t *)codes)[row] : ((const uint32_t *)codes)[row];
}

static void store_code(void *codes, unsigned width, uint32_t row, uint32_t code)
{
    if (width == 1)
        ((uint8_t *)codes)[row] = (uint8_t)code;
    else if (width == 2)
        ((uint16_t *)codes)[row] = (uint16_t)code;
    else
        ((uint32_t *)codes)[row] = code;
}

static int widen(struct mst_column *column)
{
    unsigned width = column->width * 2;
    uint32_t capacity = column->view->rows.capacity, limit = column->view->rows.limit;
    void *codes = calloc(capacity ? capacity : 1, width);
    if (!codes)
        return MST_ENOMEM;
    for (uint32_t row = 0; row < limit; row++)
        store_code(codes, width, row, load_code(column->codes, column->width, row));
    free(column->codes);
    column->codes = codes;
    column->width = width;
    return 0;
}

static int grow_entries(struct mst_column *column)
{
    uint32_t capacity = column->entry_capacity ? column->entry_capacity * 2 : 16;
    struct mst__entry *entries = realloc(column->entries, capacity * sizeof *entries);
    if (!entries)
        return MST_ENOMEM;
    column->entries = entries;
    column->entry_capacity = capacity;
    return 0;
}

/* The code the next new value gets, with room made for it. */
static int vacant_code(struct mst_column *column, uint32_t *code)
{
    if (column->first_free) {
        *code = column->first_free;
        return 0;
    }
    uint32_t next = column->code_count + 1;
    if (next >= column->entry_capacity && grow_entries(column) < 0)
        return MST_ENOMEM;
    if (column->width < 4 && next >> (8 * column->width) && widen(column) < 0)
        return MST_ENOMEM;
    *code = next;
    return 0;
}

static bool is_compound(const uint8_t *value)
{
    return mst_value_tag(value) == MST_ARRAY || mst_value_tag(value) == MST_FINALS;
}

static int intern(struct mst_column *column, const uint8_t *value, size_t size, uint32_t *code)
{
    uint64_t known;
    if (mst_map_get(column->index, value, size, &known)) {
        *code = (uint32_t)known;
        column->entries[known].rows++;
        return 0;
    }
    if (vacant_code(column, code) < 0)
        return MST_ENOMEM;
    uint8_t *copy = malloc(size);
    if (!copy)
        return MST_ENOMEM;
    if (mst_map_set(column->index, value, size, *code) < 0) {
        free(copy);
        return MST_ENOMEM;
    }
    memcpy(copy, value, size);
    if (*code == column->first_free)
        column->first_free = column->entries[*code].next_free;
    else
        column->code_count = *code;
    column->entries[*code] = (struct mst__entry){.value = copy, .rows = 1};
    column->compounds += is_compound(copy);
    column->value_bytes += size;
    column->epoch++;
    return 0;
}

int mst__column_extract(struct mst_column *column, const uint8_t *document, struct mst_buffer *scratch, uint32_t *code)
{
    mst_buffer_clear(scratch);
    const uint8_t *value = mst_path_find(&column->path, document, scratch);
    *code = 0;
    if (value)
        return intern(column, value, mst_value_size(value), code);
    return scratch->failed ? MST_ENOMEM : 0;
}

void mst__column_release(struct mst_column *column, uint32_t code)
{
    if (code == 0 || --column->entries[code].rows > 0)
        return;
    struct mst__entry *entry = &column->entries[code];
    size_t size = mst_value_size(entry->value);
    mst_map_remove(column->index, entry->value, size, NULL);
    column->compounds -= is_compound(entry->value);
    column->value_bytes -= size;
    free(entry->value);
    entry->value = NULL;
    entry->next_free = column->first_free;
    column->first_free = code;
}

void mst__column_set(struct mst_column *column, uint32_t row, uint32_t code)
{
    uint32_t before = load_code(column->codes, column->width, row);
    store_code(column->codes, column->width, row, code);
    column->present = column->present + (code != 0) - (before != 0);
    mst__column_release(column, before);
}

size_t mst__column_bytes(const struct mst_column *column)
{
    size_t codes = (size_t)column->view->rows.capacity * column->width;
    /* Each value lies in the dictionary and, as a key, in the index. */
    return sizeof *column + codes + column->entry_capacity * sizeof *column->entries + 2 * column->value_bytes +
           mst_map_count(column->index) * 24;
}

uint32_t mst_column_codes(const struct mst_column *column)
{
    return column->code_count;
}

unsigned mst_column_width(const struct mst_column *column)
{
    return column->width;
}

const void *mst_column_data(const struct mst_column *column)
{
    return column->codes;
}

uint32_t mst_column_code(const struct mst_column *column, uint32_t row)
{
    return load_code(column->codes, column->width, row);
}

const uint8_t *mst_column_value(const struct mst_column *column, uint32_t code)
{
    return code == 0 || code > column->code_count ? NULL : column->entries[code].value;
}

uint32_t mst_column_rows(const struct mst_column *column, uint32_t code)
{
    if (code == 0)
        return column->view->rows.count - column->present;
    return code > column->code_count || !column->entries[code].value ? 0 : column->entries[code].rows;
}

uint64_t mst_column_epoch(const struct mst_column *column)
{
    return column->epoch;
}

uint32_t mst_column_find(const struct mst_column *column, const uint8_t *value)
{
    uint64_t code;
    return mst_map_get(column->index, value, mst_value_size(value), &code) ? (uint32_t)code : 0;
}

uint32_t mst_column_compounds(const struct mst_column *column)
{
    return column->compounds;
}
