// SPDX-License-Identifier: Apache-2.0
#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "model/value.h"
#include "view/sketch.h"

/*
 * Buckets: null, false, true; then those of numbers and those of strings, each a range of its order; then objects, and
 * arrays with finals, which are in no order worth having. A bucket of a range begins at its start and ends before the
 * next one's. Numbers are placed by their value as a double: rounding keeps the order, and bounds are widened by a step
 * where it may have moved a number over a start. A heavy value h has the range from h to the value right behind it.
 */
#define EXACT 0x1p53 /* below it a double stands for one number only */

static bool holds_memory(const struct mst__layout *layout, uint32_t code)
{
    return code >= layout->strings;
}

/* Never less for a greater key. */
static uint32_t step_of(const struct mst__layout *layout, double key)
{
    double step = (key - layout->origin) * layout->scale;
    if (!(step > 0))
        return 0;
    return step < MST__HINTS - 1 ? (uint32_t)step : MST__HINTS - 1;
}

void mst__layout_hint(struct mst__layout *layout)
{
    uint32_t count = layout->strings - layout->numbers, at = 0;
    layout->origin = layout->scale = 0;
    if (count > 2) {
        layout->origin = layout->number_starts[1];
        layout->scale = MST__HINTS / (layout->number_starts[count - 1] - layout->origin);
    }
    for (uint32_t step = 0; step <= MST__HINTS; step++) {
        while (at + 1 < count && step_of(layout, layout->number_starts[at + 1]) < step)
            at++;
        layout->hints[step] = (uint8_t)at;
    }
}

/* Where the numbers lie evenly, the hints leave one bucket or two; else a search of a few steps. */
uint32_t mst__layout_number(const struct mst__layout *layout, double key)
{
    uint32_t step = step_of(layout, key), low = layout->hints[step], count = layout->hints[step + 1] - low + 1;
    while (count > 1) {
        uint32_t half = count / 2;
        low += half * (layout->number_starts[low + half] <= key); /* no branch: it could not be foretold */
        count -= half;
    }
    return layout->numbers + low;
}

uint32_t mst__layout_string(const struct mst__layout *layout, const uint8_t *value)
{
    uint32_t low = 0, count = layout->objects - layout->strings;
    while (count > 1) {
        uint32_t half = count / 2;
        low += mst_value_compare(layout->string_starts[low + half], value) <= 0 ? half : 0;
        count -= half;
    }
    return layout->strings + low;
}

static uint32_t code_of(const struct mst__layout *layout, const uint8_t *value)
{
    switch (mst_value_tag(value)) {
    case MST_NULL:
    case MST_FALSE:
    case MST_TRUE:
        return MST__BUCKET_NULL + (uint32_t)mst_value_tag(value);
    case MST_INT:
    case MST_DOUBLE:
        return mst__layout_number(layout, mst_value_double(value));
    case MST_STRING:
        return mst__layout_string(layout, value);
    case MST_OBJECT:
        return layout->objects;
    default:
        return layout->objects + 1;
    }
}

static void store_scalar(const struct mst__layout *layout, const uint8_t *value, struct mst__cell *cell)
{
    if (cell->code < layout->numbers)
        return;
    memcpy(&cell->bits, value + 1, sizeof cell->bits);
    cell->real = mst_value_tag(value) == MST_DOUBLE;
}

/* The address of a copy in the arena; 0: no memory. */
static uint64_t copy_value(struct mst_column *column, const uint8_t *value)
{
    size_t size = mst_value_size(value);
    uint8_t *copy = mst__arena_take(&column->view->arena, size);
    if (copy)
        memcpy(copy, value, size);
    return (uintptr_t)copy;
}

int mst__sketch_cell(struct mst_column *column, const uint8_t *value, struct mst__cell *cell)
{
    const struct mst__sketch *sketch = column->sketch;
    uint32_t code = code_of(&sketch->layout, value);
    cell->code = code;
    if (!holds_memory(&sketch->layout, code)) {
        store_scalar(&sketch->layout, value, cell);
        return 0;
    }
    cell->bits = copy_value(column, value);
    if (cell->bits)
        return 0;
    cell->code = 0;
    return MST_ENOMEM;
}

static void give(struct mst_column *column, uint32_t code, uint64_t bits)
{
    if (!holds_memory(&column->sketch->layout, code))
        return;
    uint8_t *value = (uint8_t *)(uintptr_t)bits;
    mst__arena_give(&column->view->arena, value, mst_value_size(value));
}

void mst__sketch_discard(struct mst_column *column, const struct mst__cell *cell)
{
    if (cell->code)
        give(column, cell->code, cell->bits);
}

/* A number at an end beyond all before: the bound is let go until the next evening out. */
static void widen_bounds(struct mst_column *column, uint32_t code, const struct mst__cell *cell)
{
    struct mst__layout *layout = &column->sketch->layout;
    if (code < layout->numbers || code >= layout->strings)
        return;
    bool first = code == layout->numbers, last = code + 1 == layout->strings;
    if (!first && !last)
        return;
    double key = mst__cell_number(cell->bits, cell->real);
    if (last && key > layout->highest) {
        layout->highest = DBL_MAX;
        column->epoch++;
    }
    if (first && key < layout->lowest) {
        layout->lowest = -DBL_MAX;
        column->epoch++;
    }
}

void mst__sketch_set(struct mst_column *column, uint32_t row, uint32_t before, const struct mst__cell *cell)
{
    struct mst__sketch *sketch = column->sketch;
    uint32_t code = cell->code, compound = sketch->layout.objects + 1;
    if (before) {
        sketch->rows[before]--;
        give(column, before, sketch->cells[row]);
    }
    column->compounds = column->compounds + (code == compound) - (before == compound);
    if (code == 0)
        return;
    sketch->cells[row] = cell->bits;
    uint64_t bit = UINT64_C(1) << (row % 64);
    sketch->reals[row / 64] = (sketch->reals[row / 64] & ~bit) | (cell->real ? bit : 0);
    if (++sketch->rows[code] > sketch->patience[code])
        column->unsettled = column->view->unsettled = true;
    widen_bounds(column, code, cell);
}

const uint8_t *mst__sketch_value(const struct mst_column *column, uint32_t row, uint8_t cell[16])
{
    static const uint8_t scalars[] = {MST_NULL, MST_FALSE, MST_TRUE};
    const struct mst__sketch *sketch = column->sketch;
    uint32_t code = mst__code_load(column->codes, 1, row);
    if (code == 0)
        return NULL;
    if (holds_memory(&sketch->layout, code))
        return (const uint8_t *)(uintptr_t)sketch->cells[row];
    if (code < sketch->layout.numbers)
        return &scalars[code - MST__BUCKET_NULL];
    cell[0] = mst__sketch_real(sketch, row) ? MST_DOUBLE : MST_INT;
    memcpy(cell + 1, &sketch->cells[row], sizeof sketch->cells[row]);
    return cell;
}

uint32_t mst__sketch_codes(const struct mst_column *column)
{
    return column->sketch->layout.objects + 1;
}

uint32_t mst__sketch_rows(const struct mst_column *column, uint32_t code)
{
    return code > mst__sketch_codes(column) ? 0 : column->sketch->rows[code];
}

static size_t real_bytes(uint32_t capacity)
{
    return ((size_t)capacity + 63) / 64 * sizeof(uint64_t);
}

int mst__sketch_grow(struct mst_column *column, uint32_t capacity)
{
    struct mst__sketch *sketch = column->sketch;
    size_t from = sketch->capacity, to = capacity;
    void *cells = sketch->cells, *reals = sketch->reals;
    /* What has grown when the other fails is only larger than it needs to be. */
    if (sketch->cell_capacity < capacity) {
        if (mst__block_grow(&cells, sketch->cell_capacity * sizeof *sketch->cells, to * sizeof *sketch->cells) < 0)
            return MST_ENOMEM;
        sketch->cells = cells;
        sketch->cell_capacity = capacity;
    }
    if (from < to) {
        if (mst__block_grow(&reals, real_bytes(sketch->capacity), real_bytes(capacity)) < 0)
            return MST_ENOMEM;
        sketch->reals = reals;
        sketch->capacity = capacity;
    }
    return 0;
}

static void destroy(struct mst__sketch *sketch)
{
    mst__block_free(sketch->cells, sketch->cell_capacity * sizeof *sketch->cells);
    mst__block_free(sketch->reals, real_bytes(sketch->capacity));
    mst__layout_deinit(&sketch->layout);
    free(sketch);
}

void mst__sketch_destroy(struct mst_column *column)
{
    destroy(column->sketch);
    column->sketch = NULL;
}

size_t mst__sketch_bytes(const struct mst_column *column)
{
    const struct mst__sketch *sketch = column->sketch;
    return sizeof *sketch + sketch->cell_capacity * sizeof *sketch->cells + real_bytes(sketch->capacity);
}

void mst__sketch_prefetch(const struct mst_column *column, uint32_t row)
{
    __builtin_prefetch(&column->sketch->cells[row], 1);
}

/* Gives back what the first `limit` rows hold. */
static void give_rows(struct mst_column *column, const uint8_t *codes, uint32_t limit)
{
    for (uint32_t row = 0; row < limit; row++)
        if (codes[row])
            give(column, codes[row], column->sketch->cells[row]);
}

/* Cells by dictionary code; those with memory point at the dictionary's value. */
static struct mst__cell *translate(const struct mst_column *column)
{
    const struct mst__layout *layout = &column->sketch->layout;
    struct mst__cell *cells = calloc((size_t)column->code_count + 1, sizeof *cells);
    for (uint32_t code = 1; cells && code <= column->code_count; code++) {
        const uint8_t *value = column->entries[code].value;
        if (!value)
            continue;
        cells[code].code = code_of(layout, value);
        if (holds_memory(layout, cells[code].code))
            cells[code].bits = (uintptr_t)value;
        else
            store_scalar(layout, value, &cells[code]);
    }
    return cells;
}

static int move_rows(struct mst_column *column, uint8_t *codes)
{
    struct mst__sketch *sketch = column->sketch;
    struct mst__cell *cells = translate(column);
    uint32_t row, limit = cells ? column->view->rows.limit : 0;
    int status = cells ? 0 : MST_ENOMEM;
    for (row = 0; row < limit; row++) {
        const struct mst__cell *cell = &cells[mst__code_load(column->codes, column->width, row)];
        if (cell->code == 0)
            continue;
        uint64_t bits = cell->bits;
        if (holds_memory(&sketch->layout, cell->code) &&
            !(bits = copy_value(column, (const uint8_t *)(uintptr_t)bits))) {
            give_rows(column, codes, row);
            status = MST_ENOMEM;
            break;
        }
        codes[row] = (uint8_t)cell->code;
        sketch->cells[row] = bits;
        sketch->reals[row / 64] |= (uint64_t)cell->real << (row % 64);
    }
    free(cells);
    return status;
}

/* The rows of each bucket, from those of the dictionary's codes. */
static void count_rows(struct mst_column *column)
{
    struct mst__sketch *sketch = column->sketch;
    memset(sketch->rows, 0, sizeof sketch->rows);
    for (uint32_t code = 1; code <= column->code_count; code++)
        if (column->entries[code].value)
            sketch->rows[code_of(&sketch->layout, column->entries[code].value)] += column->entries[code].rows;
}

int mst__sketch_adopt(struct mst_column *column)
{
    void *codes = NULL;
    struct mst__sketch *sketch = calloc(1, sizeof *sketch);
    if (!sketch)
        return MST_ENOMEM;
    column->sketch = sketch;
    if (mst__layout_init(&sketch->layout) < 0 || mst__sketch_grow(column, column->capacity) < 0 ||
        mst__block_grow(&codes, 0, column->capacity) < 0)
        goto fail;
    count_rows(column);
    mst__sketch_plan(column);
    if (move_rows(column, codes) < 0)
        goto fail;
    count_rows(column);
    mst__sketch_patience(sketch, column->present);
    mst__column_give_dictionary(column);
    mst__bitsets_drop(column);
    mst__block_free(column->codes, (size_t)column->capacity * column->width);
    column->codes = codes;
    column->width = 1;
    column->compounds = sketch->rows[sketch->layout.objects + 1];
    column->epoch++;
    return 0;
fail:
    mst__block_free(codes, codes ? column->capacity : 0);
    mst__sketch_destroy(column);
    return MST_ENOMEM;
}

static void number_bound(uint8_t *packed, double bound)
{
    packed[0] = MST_DOUBLE;
    memcpy(packed + 1, &bound, sizeof bound);
}

/* Bounds as they are handed out; a new layout or a widened end makes them anew. */
void mst__layout_bounds(struct mst__layout *layout, uint32_t code)
{
    uint32_t at = code - layout->numbers;
    bool last = code + 1 == layout->strings;
    double low = at == 0 ? layout->lowest : layout->number_starts[at];
    double high = last ? layout->highest : layout->number_starts[at + 1];
    if (at > 0 && !last && mst__layout_single(layout, code))
        high = low;
    if (fabs(low) >= EXACT && low > -DBL_MAX)
        low = nextafter(low, -DBL_MAX);
    if (fabs(high) >= EXACT && high < DBL_MAX)
        high = nextafter(high, DBL_MAX);
    number_bound(layout->low[code], low);
    number_bound(layout->high[code], high);
}

bool mst__layout_single(const struct mst__layout *layout, uint32_t code)
{
    if (code > layout->numbers && code + 1 < layout->strings) {
        const double *start = &layout->number_starts[code - layout->numbers];
        return fabs(start[0]) < EXACT && start[1] == nextafter(start[0], DBL_MAX);
    }
    if (code > layout->strings && code + 1 < layout->objects) {
        uint8_t *const *start = &layout->string_starts[code - layout->strings];
        size_t length, next;
        const char *text = mst_value_string(start[0], &length), *behind = mst_value_string(start[1], &next);
        return next == length + 1 && behind[length] == '\0' && memcmp(text, behind, length) == 0;
    }
    return code < layout->numbers;
}

void mst_column_bucket(const struct mst_column *column, uint32_t bucket, const uint8_t **low, const uint8_t **high)
{
    static const uint8_t scalars[] = {MST_NULL, MST_FALSE, MST_TRUE};
    static const uint8_t last_string[] = {MST_STRING, 1, 0, 0, 0, 0xff}; /* behind all UTF-8 */
    struct mst__sketch *sketch = column->sketch;
    *low = *high = NULL;
    if (!sketch || bucket == 0 || bucket >= sketch->layout.objects || sketch->rows[bucket] == 0)
        return;
    struct mst__layout *layout = &sketch->layout;
    if (bucket < layout->numbers) {
        *low = *high = &scalars[bucket - MST__BUCKET_NULL];
    } else if (bucket < layout->strings) {
        mst__layout_bounds(layout, bucket);
        *low = layout->low[bucket];
        *high = layout->high[bucket];
    } else {
        uint32_t at = bucket - layout->strings;
        *low = layout->string_starts[at];
        *high = bucket + 1 == layout->objects ? last_string : layout->string_starts[at + 1];
        if (mst__layout_single(layout, bucket))
            *high = *low;
    }
}
