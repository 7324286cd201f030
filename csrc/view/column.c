// SPDX-License-Identifier: Apache-2.0
#include <stdlib.h>
#include <string.h>

#include "model/value.h"
#include "view/internal.h"

#define SKETCH_FROM 4096u /* distinct values a dictionary may always have */
#define SKETCH_AT 16384u  /* and those it may not pass: look-ups would leave the cache */

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

static bool same_value(const void *owner, uint32_t code, const void *key, size_t length)
{
    const struct mst__entry *entry = &((const struct mst_column *)owner)->entries[code];
    return entry->size == length && mst__same_bytes(entry->value, key, length);
}

struct mst_column *mst__column_create(struct mst_view *view, const struct mst_path *path, uint32_t capacity)
{
    struct mst_column *column = calloc(1, sizeof *column);
    if (!column)
        return NULL;
    column->view = view;
    column->width = 1;
    column->plain = path->count == 1 && path->steps[0].index < 0;
    column->settle_at = SKETCH_FROM;
    if (mst__table_init(&column->index, same_value, column, view->ids.seed) < 0 || copy_path(column, path) < 0 ||
        (capacity && mst__column_grow(column, capacity) < 0)) {
        mst__column_destroy(column);
        return NULL;
    }
    return column;
}

void mst__column_destroy(struct mst_column *column)
{
    if (!column)
        return;
    mst__bitsets_destroy(column);
    if (column->sketch)
        mst__sketch_destroy(column);
    mst__table_deinit(&column->index);
    free(column->entries);
    mst__block_free(column->codes, (size_t)column->capacity * column->width);
    free(column->names);
    free(column);
}

int mst__column_grow(struct mst_column *column, uint32_t capacity)
{
    size_t width = column->width;
    if (column->capacity >= capacity) /* since an earlier growth that failed half-way */
        return 0;
    if (column->sketch && mst__sketch_grow(column, capacity) < 0)
        return MST_ENOMEM;
    if (mst__block_grow(&column->codes, column->capacity * width, capacity * width) < 0)
        return MST_ENOMEM;
    mst__bitsets_grow(column, capacity);
    column->capacity = capacity;
    return 0;
}

static int widen(struct mst_column *column)
{
    unsigned width = column->width * 2;
    uint32_t capacity = column->capacity, limit = column->view->rows.limit;
    void *codes = NULL;
    if (capacity && mst__block_grow(&codes, 0, (size_t)capacity * width) < 0)
        return MST_ENOMEM;
    for (uint32_t row = 0; row < limit; row++)
        mst__code_store(codes, width, row, mst__code_load(column->codes, column->width, row));
    mst__block_free(column->codes, (size_t)capacity * column->width);
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

static void ask_to_settle(struct mst_column *column)
{
    column->unsettled = column->view->unsettled = true;
}

static int intern(struct mst_column *column, const uint8_t *value, size_t size, uint32_t *code)
{
    uint32_t hash = mst__table_hash(&column->index, value, size);
    uint32_t known = mst__table_home(&column->index, hash);
    if (known == MST__NUMBER_NONE || !same_value(column, known, value, size))
        known = mst__table_find(&column->index, hash, value, size);
    if (known != MST__NUMBER_NONE) {
        *code = known;
        column->entries[known].rows++;
        return 0;
    }
    if (vacant_code(column, code) < 0 || mst__table_prepare(&column->index, hash) < 0) {
        *code = 0;
        return MST_ENOMEM;
    }
    uint8_t *copy = mst__arena_take(&column->view->arena, size);
    if (!copy) {
        *code = 0;
        return MST_ENOMEM;
    }
    mst__table_add(&column->index, hash, *code);
    memcpy(copy, value, size);
    if (*code == column->first_free) {
        column->first_free = column->entries[*code].next_free;
        column->epoch++;
    } else {
        column->code_count = *code;
    }
    column->entries[*code] = (struct mst__entry){.value = copy, .size = (uint32_t)size, .hash = hash, .rows = 1};
    column->compounds += is_compound(copy);
    if (mst__table_count(&column->index) > column->settle_at)
        ask_to_settle(column);
    return 0;
}

static void release(struct mst_column *column, uint32_t code)
{
    if (code == 0 || --column->entries[code].rows > 0)
        return;
    struct mst__entry *entry = &column->entries[code];
    mst__table_remove(&column->index, entry->hash, code);
    column->compounds -= is_compound(entry->value);
    mst__arena_give(&column->view->arena, entry->value, entry->size);
    entry->value = NULL;
    entry->next_free = column->first_free;
    column->first_free = code;
}

int mst__column_cell(struct mst_column *column, const uint8_t *value, struct mst__cell *cell)
{
    *cell = (struct mst__cell){0};
    if (!value)
        return 0;
    if (column->sketch)
        return mst__sketch_cell(column, value, cell);
    return intern(column, value, mst_value_size(value), &cell->code);
}

int mst__column_extract(struct mst_column *column, const uint8_t *document, struct mst_buffer *scratch,
                        struct mst__cell *cell)
{
    mst_buffer_clear(scratch);
    const uint8_t *value = mst_path_find(&column->path, document, scratch);
    int status = mst__column_cell(column, value, cell);
    return !value && scratch->failed ? MST_ENOMEM : status;
}

void mst__column_discard(struct mst_column *column, const struct mst__cell *cell)
{
    if (column->sketch)
        mst__sketch_discard(column, cell);
    else
        release(column, cell->code);
}

void mst__column_set(struct mst_column *column, uint32_t row, const struct mst__cell *cell)
{
    uint32_t before = mst__code_load(column->codes, column->width, row);
    if (before == 0 && cell->code == 0)
        return;
    if (column->bitsets)
        mst__bitsets_move(column, row, before, cell->code);
    if (column->sketch)
        mst__sketch_set(column, row, before, cell);
    else
        release(column, before);
    mst__code_store(column->codes, column->width, row, cell->code);
    column->present = column->present + (cell->code != 0) - (before != 0);
}

/*
 * Leaving the dictionary is for good: a column with that many values would soon be back, and while a view fills up, its
 * dictionary is found too large early and at little cost. What found no memory is tried again a good deal later.
 */
static void settle_dictionary(struct mst_column *column)
{
    size_t distinct = mst__table_count(&column->index);
    uint32_t eighth = column->view->rows.count / 8;
    if (distinct <= SKETCH_FROM || (distinct <= eighth && distinct <= SKETCH_AT)) {
        column->settle_at = eighth > SKETCH_AT ? SKETCH_AT : eighth > SKETCH_FROM ? eighth : SKETCH_FROM;
        return;
    }
    if (mst__sketch_adopt(column) < 0)
        column->settle_at = (uint32_t)(distinct + distinct / 4);
}

void mst__column_settle(struct mst_column *column)
{
    column->unsettled = false;
    if (!column->sketch)
        settle_dictionary(column);
    if (column->sketch)
        mst__sketch_even(column);
}

void mst__column_prefetch(const struct mst_column *column, uint32_t row)
{
    __builtin_prefetch((const char *)column->codes + (size_t)row * column->width, 1);
    if (column->sketch)
        mst__sketch_prefetch(column, row);
}

void mst__column_give_dictionary(struct mst_column *column)
{
    for (uint32_t code = 1; code <= column->code_count; code++) {
        struct mst__entry *entry = &column->entries[code];
        if (entry->value)
            mst__arena_give(&column->view->arena, entry->value, entry->size);
    }
    mst__table_deinit(&column->index);
    free(column->entries);
    column->entries = NULL;
    column->entry_capacity = column->code_count = column->first_free = 0;
}

size_t mst__column_bytes(const struct mst_column *column)
{
    size_t bytes = sizeof *column + (size_t)column->capacity * column->width + column->index.bytes +
                   column->entry_capacity * sizeof *column->entries + mst__bitsets_bytes(column);
    return column->sketch ? bytes + mst__sketch_bytes(column) : bytes;
}

enum mst_encoding mst_column_encoding(const struct mst_column *column)
{
    return column->sketch ? MST_ENCODING_SKETCH : MST_ENCODING_DICTIONARY;
}

bool mst_column_filling(const struct mst_column *column)
{
    return column->filling;
}

uint32_t mst_column_codes(const struct mst_column *column)
{
    return column->sketch ? mst__sketch_codes(column) : column->code_count;
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
    return mst__code_load(column->codes, column->width, row);
}

const uint8_t *mst_column_value(const struct mst_column *column, uint32_t code)
{
    return code == 0 || code > column->code_count ? NULL : column->entries[code].value;
}

const uint8_t *mst_column_row_value(const struct mst_column *column, uint32_t row, uint8_t cell[16])
{
    return column->sketch ? mst__sketch_value(column, row, cell)
                          : mst_column_value(column, mst_column_code(column, row));
}

uint32_t mst_column_rows(const struct mst_column *column, uint32_t code)
{
    if (code == 0)
        return column->view->rows.count - column->present;
    if (column->sketch)
        return mst__sketch_rows(column, code);
    return code > column->code_count || !column->entries[code].value ? 0 : column->entries[code].rows;
}

uint64_t mst_column_epoch(const struct mst_column *column)
{
    return column->epoch;
}

uint32_t mst_column_find(const struct mst_column *column, const uint8_t *value)
{
    if (column->sketch)
        return 0;
    size_t size = mst_value_size(value);
    uint32_t code = mst__table_find(&column->index, mst__table_hash(&column->index, value, size), value, size);
    return code == MST__NUMBER_NONE ? 0 : code;
}

uint32_t mst_column_compounds(const struct mst_column *column)
{
    return column->compounds;
}
