// SPDX-License-Identifier: Apache-2.0
#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "model/value.h"
#include "view/sketch.h"

/*
 * Evening out a sketch: buckets that hold too many rows are split at quantiles of a sample of their rows, a heavy value
 * gets one of its own, and where there are then too many, the lightest neighbours become one. All rows are given their
 * new codes in one pass, in which only those of split buckets need a search.
 */
#define UNEVEN 25u     /* a bucket of more than 1/25 of the rows starts it */
#define WORTH 50u      /* then those of more than 1/50 are split */
#define PARTS 200u     /* into parts of about 1/200 */
#define LEAST_ROWS 64u /* a bucket of no more than these is never split */
#define SAMPLES 4096u  /* about so many, unless more rows than this would have to be looked at: */
#define LOOKS 65536u
#define STARTS_MAX 1536u

static const uint8_t empty_string[] = {MST_STRING, 0, 0, 0, 0};

/* A bucket of the layout to come. */
struct start {
    double number;
    uint8_t *text; /* owned; NULL: of numbers */
    uint32_t rows; /* an estimate */
};

struct evening {
    struct mst_column *column;
    struct mst__sketch *sketch;
    bool split[MST__BUCKETS];
    uint32_t sampled[MST__BUCKETS];
    double *numbers;       /* samples, ascending */
    const uint8_t **texts; /* the same of strings */
    uint32_t number_count, text_count;
    struct start *starts; /* numbers first */
    uint32_t start_count, first_text;
    bool failed;
    struct mst__layout fresh;
    uint8_t codes[MST__BUCKETS]; /* old to new; 0: search */
    uint32_t rows[MST__BUCKETS];
    double lowest, highest; /* of the rows searched for */
};

static uint8_t *copy_text(const uint8_t *text, bool behind)
{
    size_t size = mst_value_size(text);
    uint8_t *copy = malloc(size + 1);
    if (!copy)
        return NULL;
    memcpy(copy, text, size);
    if (behind) {
        uint32_t length = (uint32_t)(size - 5) + 1; /* little endian behind the tag, as model/value.h has it */
        for (unsigned i = 0; i < 4; i++)
            copy[1 + i] = (uint8_t)(length >> (8 * i));
        copy[size] = 0;
    }
    return copy;
}

int mst__layout_init(struct mst__layout *layout)
{
    layout->numbers = MST__BUCKET_NUMBERS;
    layout->strings = layout->numbers + 1;
    layout->objects = layout->strings + 1;
    layout->number_starts[0] = -INFINITY;
    layout->lowest = -DBL_MAX;
    layout->highest = DBL_MAX;
    mst__layout_hint(layout);
    layout->string_starts[0] = copy_text(empty_string, false);
    return layout->string_starts[0] ? 0 : MST_ENOMEM;
}

void mst__layout_deinit(struct mst__layout *layout)
{
    for (uint32_t i = 0; i < layout->objects - layout->strings; i++)
        free(layout->string_starts[i]);
}

static uint32_t share_of(uint32_t total, uint32_t divisor)
{
    return total / divisor > LEAST_ROWS ? total / divisor : LEAST_ROWS;
}

static int compare_numbers(const void *a, const void *b)
{
    double left = *(const double *)a, right = *(const double *)b;
    return (left > right) - (left < right);
}

static int compare_texts(const void *a, const void *b)
{
    return mst_value_compare(*(const uint8_t *const *)a, *(const uint8_t *const *)b);
}

static void take_sample(struct evening *even, uint32_t row)
{
    const struct mst__sketch *sketch = even->sketch;
    uint32_t code = ((const uint8_t *)even->column->codes)[row];
    if (!even->split[code])
        return;
    even->sampled[code]++;
    if (code < sketch->layout.strings)
        even->numbers[even->number_count++] = mst__cell_number(sketch->cells[row], mst__sketch_real(sketch, row));
    else
        even->texts[even->text_count++] = (const uint8_t *)(uintptr_t)sketch->cells[row];
}

static void sort_samples(struct evening *even)
{
    qsort(even->numbers, even->number_count, sizeof *even->numbers, compare_numbers);
    qsort(even->texts, even->text_count, sizeof(*even->texts), compare_texts);
}

/* One row of each stretch, not always the same one of it: rows may follow a pattern. */
static bool take_samples(struct evening *even, uint32_t candidates)
{
    uint64_t looks = (uint64_t)SAMPLES * even->column->present / (candidates + 1) + SAMPLES;
    uint32_t limit = even->column->view->rows.limit, stretch = limit / (uint32_t)(looks < LOOKS ? looks : LOOKS) + 1;
    uint32_t room = limit / stretch + 1;
    even->numbers = malloc(room * sizeof *even->numbers);
    even->texts = malloc(room * sizeof(*even->texts));
    if (!even->numbers || !even->texts)
        return false;
    for (uint32_t row = 0, dice = 1; row < limit; row += stretch) {
        dice = dice * 1664525u + 1013904223u;
        uint32_t at = row + (dice >> 16) % stretch;
        if (at < limit)
            take_sample(even, at);
    }
    sort_samples(even);
    return true;
}

/*
 * Samples of a column that has a dictionary still: a value for every so many rows, where the entries stand one behind
 * the other in the order of their codes.
 */
static bool take_entries(struct evening *even)
{
    const struct mst_column *column = even->column;
    const struct mst__layout *layout = &even->sketch->layout;
    uint32_t step = column->present / SAMPLES + 1, room = column->present / step + 2, wait = step;
    even->numbers = malloc(room * sizeof *even->numbers);
    even->texts = malloc(room * sizeof(*even->texts));
    if (!even->numbers || !even->texts)
        return false;
    for (uint32_t code = 1; code <= column->code_count; code++) {
        const struct mst__entry *entry = &column->entries[code];
        uint32_t rows = entry->rows;
        if (!entry->value)
            continue;
        for (; rows >= wait; rows -= wait, wait = step) {
            if (mst_value_tag(entry->value) == MST_STRING)
                even->texts[even->text_count++] = entry->value;
            else if (mst_value_tag(entry->value) == MST_INT || mst_value_tag(entry->value) == MST_DOUBLE)
                even->numbers[even->number_count++] = mst_value_double(entry->value);
        }
        wait -= rows;
    }
    even->sampled[layout->numbers] = even->number_count;
    even->sampled[layout->strings] = even->text_count;
    sort_samples(even);
    return true;
}

/* -------------------------------------------------------------------------------------- where buckets begin */

/* Adds a start if it is behind the last one and before `end` (of its kind; NULL: no end). */
static void add_start(struct evening *even, const struct start *start, const struct start *end)
{
    const struct start *last = &even->starts[even->start_count - 1];
    bool behind, before;
    if (start->text) {
        behind = mst_value_compare(last->text, start->text) < 0;
        before = !end || mst_value_compare(start->text, end->text) < 0;
    } else {
        behind = last->number < start->number;
        before = !end || start->number < end->number;
    }
    if (!behind || !before || even->start_count >= STARTS_MAX - MST__BUCKETS) {
        free(start->text);
        return;
    }
    even->starts[even->start_count++] = *start;
}

/* One bucket's sorted samples; either list. */
struct samples {
    const double *numbers;
    const uint8_t **texts;
    uint32_t count;
};

static bool same_sample(const struct samples *samples, uint32_t a, uint32_t b)
{
    if (samples->numbers)
        return samples->numbers[a] == samples->numbers[b];
    return mst_value_compare(samples->texts[a], samples->texts[b]) == 0;
}

/* A bucket that begins at a sample's value, or right behind it. */
static void start_at(struct evening *even, const struct samples *samples, uint32_t at, bool behind,
                     const struct start *end)
{
    struct start start = {0};
    if (samples->numbers) {
        start.number = samples->numbers[at];
        if (behind)
            start.number = nextafter(start.number, INFINITY);
    } else if (!(start.text = copy_text(samples->texts[at], behind))) {
        even->failed = true;
        return;
    }
    add_start(even, &start, end);
}

static void split(struct evening *even, const struct samples *samples, uint32_t rows, const struct start *end)
{
    uint32_t parts = rows / (even->column->present / PARTS + 1) + 2, share = samples->count / parts;
    uint32_t each = rows / samples->count, gathered = 0;
    if (share < 2)
        share = 2;
    even->starts[even->start_count - 1].rows = 0;
    for (uint32_t at = 0, next; at < samples->count && !even->failed; at = next) {
        for (next = at + 1; next < samples->count && same_sample(samples, at, next);)
            next++;
        bool heavy = next - at >= share;
        if (heavy || gathered >= share) {
            start_at(even, samples, at, false, end);
            gathered = 0;
        }
        even->starts[even->start_count - 1].rows += (next - at) * each;
        gathered += next - at;
        if (heavy) {
            start_at(even, samples, at, true, end);
            gathered = 0;
        }
    }
}

static void plan_range(struct evening *even, uint32_t first, uint32_t end)
{
    const struct mst__sketch *sketch = even->sketch;
    const struct mst__layout *old = &sketch->layout;
    bool numbers = first == old->numbers;
    uint32_t used = 0;
    for (uint32_t code = first; code < end && !even->failed; code++) {
        struct start next = {0}, start = {.rows = sketch->rows[code]};
        if (numbers) {
            start.number = old->number_starts[code - first];
            next.number = code + 1 < end ? old->number_starts[code + 1 - first] : 0;
        } else {
            start.text = copy_text(old->string_starts[code - first], false);
            next.text = code + 1 < end ? old->string_starts[code + 1 - first] : NULL;
            even->failed = even->failed || !start.text;
        }
        if (even->failed)
            break;
        even->starts[even->start_count++] = start;
        struct samples samples = {numbers ? even->numbers + used : NULL, numbers ? NULL : even->texts + used,
                                  even->sampled[code]};
        if (samples.count)
            split(even, &samples, start.rows, code + 1 < end ? &next : NULL);
        used += samples.count;
    }
}

static void remove_start(struct evening *even, uint32_t at)
{
    even->starts[at - 1].rows += even->starts[at].rows;
    free(even->starts[at].text);
    even->start_count--;
    memmove(&even->starts[at], &even->starts[at + 1], (even->start_count - at) * sizeof *even->starts);
    even->first_text -= at < even->first_text;
}

static void merge_lightest(struct evening *even)
{
    while (even->start_count > MST__RANGES_MAX) {
        uint32_t lightest = 0, least = UINT32_MAX;
        for (uint32_t i = 1; i < even->start_count; i++) {
            uint32_t together = even->starts[i - 1].rows + even->starts[i].rows;
            if (i == even->first_text || together >= least)
                continue;
            least = together;
            lightest = i;
        }
        remove_start(even, lightest);
    }
}

/* The starts' texts move to the layout. */
static void lay_out(struct evening *even)
{
    struct mst__layout *fresh = &even->fresh;
    fresh->numbers = MST__BUCKET_NUMBERS;
    fresh->strings = fresh->numbers + even->first_text;
    fresh->objects = fresh->numbers + even->start_count;
    for (uint32_t i = 0; i < even->start_count; i++) {
        if (i < even->first_text)
            fresh->number_starts[i] = even->starts[i].number;
        else
            fresh->string_starts[i - even->first_text] = even->starts[i].text;
    }
    even->start_count = 0;
    mst__layout_hint(fresh);
}

/* -------------------------------------------------------------------------------------------- new codes */

static uint32_t last_of_numbers(const struct evening *even, uint32_t code)
{
    const struct mst__layout *old = &even->sketch->layout;
    if (code + 1 == old->strings)
        return even->fresh.strings - 1;
    return mst__layout_number(&even->fresh, nextafter(old->number_starts[code + 1 - old->numbers], -INFINITY));
}

static uint32_t last_of_strings(const struct evening *even, uint32_t code)
{
    const struct mst__layout *old = &even->sketch->layout;
    if (code + 1 == old->objects)
        return even->fresh.objects - 1;
    const uint8_t *end = old->string_starts[code + 1 - old->strings];
    uint32_t found = mst__layout_string(&even->fresh, end);
    bool begins = mst_value_compare(even->fresh.string_starts[found - even->fresh.strings], end) == 0;
    return begins ? found - 1 : found;
}

static void map_codes(struct evening *even)
{
    const struct mst__layout *old = &even->sketch->layout, *fresh = &even->fresh;
    for (uint32_t code = 1; code <= old->objects + 1; code++) {
        uint32_t first, last;
        if (code < old->numbers) {
            first = last = code;
        } else if (code < old->strings) {
            first = mst__layout_number(fresh, old->number_starts[code - old->numbers]);
            last = last_of_numbers(even, code);
        } else if (code < old->objects) {
            first = mst__layout_string(fresh, old->string_starts[code - old->strings]);
            last = last_of_strings(even, code);
        } else {
            first = last = fresh->objects + (code - old->objects);
        }
        even->codes[code] = (uint8_t)(first == last ? first : 0);
        if (first == last)
            even->rows[first] += even->sketch->rows[code];
    }
}

static uint32_t search(struct evening *even, uint32_t row, uint32_t code)
{
    const struct mst__sketch *sketch = even->sketch;
    if (code >= sketch->layout.strings)
        return mst__layout_string(&even->fresh, (const uint8_t *)(uintptr_t)sketch->cells[row]);
    double key = mst__cell_number(sketch->cells[row], mst__sketch_real(sketch, row));
    even->lowest = key < even->lowest ? key : even->lowest;
    even->highest = key > even->highest ? key : even->highest;
    return mst__layout_number(&even->fresh, key);
}

static void recode(struct evening *even)
{
    uint8_t *codes = even->column->codes;
    uint32_t limit = even->column->view->rows.limit;
    even->lowest = INFINITY;
    even->highest = -INFINITY;
    for (uint32_t row = 0; row < limit; row++) {
        uint32_t code = codes[row], now = even->codes[code];
        if (now == 0 && code != 0) {
            now = search(even, row, code);
            even->rows[now]++;
        }
        codes[row] = (uint8_t)now;
    }
}

/* An end whose bucket was searched is known anew; else it is what it was. */
static void set_ends(struct evening *even)
{
    const struct mst__layout *old = &even->sketch->layout;
    bool first = even->codes[old->numbers] == 0, last = even->codes[old->strings - 1] == 0;
    even->fresh.lowest = first && even->lowest < INFINITY ? even->lowest : old->lowest;
    even->fresh.highest = last && even->highest > -INFINITY ? even->highest : old->highest;
}

void mst__sketch_patience(struct mst__sketch *sketch, uint32_t total)
{
    uint32_t share = share_of(total, UNEVEN);
    for (uint32_t code = 0; code < MST__BUCKETS; code++) {
        bool range = code >= sketch->layout.numbers && code < sketch->layout.objects;
        sketch->patience[code] = UINT32_MAX;
        if (range && !mst__layout_single(&sketch->layout, code)) /* what could not be split is left alone for long */
            sketch->patience[code] = sketch->rows[code] > share ? sketch->rows[code] * 2 : share;
    }
}

/* Whether any bucket has grown too big; those that only seemed so get a new measure. */
static bool uneven(struct mst_column *column)
{
    struct mst__sketch *sketch = column->sketch;
    uint32_t share = share_of(column->present, UNEVEN);
    bool found = false;
    for (uint32_t code = sketch->layout.numbers; code < sketch->layout.objects; code++) {
        if (sketch->rows[code] <= sketch->patience[code])
            continue;
        if (sketch->rows[code] > share)
            found = true;
        else
            sketch->patience[code] = share;
    }
    return found;
}

static uint32_t choose(struct evening *even)
{
    const struct mst__sketch *sketch = even->sketch;
    uint32_t candidates = 0, share = share_of(even->column->present, WORTH);
    for (uint32_t code = sketch->layout.numbers; code < sketch->layout.objects; code++) {
        even->split[code] = sketch->rows[code] > share && !mst__layout_single(&sketch->layout, code);
        candidates += even->split[code] ? sketch->rows[code] : 0;
    }
    return candidates;
}

static void apply(struct evening *even)
{
    struct mst_column *column = even->column;
    map_codes(even);
    recode(even);
    set_ends(even);
    mst__layout_deinit(&even->sketch->layout);
    even->sketch->layout = even->fresh;
    memcpy(even->sketch->rows, even->rows, sizeof even->rows);
    mst__bitsets_drop(column);
    column->epoch++;
}

static struct evening *begin(struct mst_column *column)
{
    struct evening *even = calloc(1, sizeof *even);
    if (!even || !(even->starts = malloc(STARTS_MAX * sizeof *even->starts))) {
        free(even);
        return NULL;
    }
    even->column = column;
    even->sketch = column->sketch;
    return even;
}

/* From the samples to the layout; false: no memory. */
static bool plan(struct evening *even)
{
    const struct mst__layout *old = &even->sketch->layout;
    plan_range(even, old->numbers, old->strings);
    even->first_text = even->start_count;
    if (!even->failed)
        plan_range(even, old->strings, old->objects);
    if (even->failed)
        return false;
    merge_lightest(even);
    lay_out(even);
    return true;
}

static void end(struct evening *even)
{
    for (uint32_t i = 0; i < even->start_count; i++)
        free(even->starts[i].text);
    free(even->starts);
    free(even->numbers);
    free(even->texts);
    free(even);
}

void mst__sketch_even(struct mst_column *column)
{
    if (!uneven(column))
        return;
    struct evening *even = begin(column);
    if (even && take_samples(even, choose(even)) && plan(even))
        apply(even);
    if (even)
        end(even);
    mst__sketch_patience(column->sketch,
                         column->present); /* after a failure too: it is tried again when much has been added */
}

static void find_ends(const struct mst_column *column, struct mst__layout *layout)
{
    double lowest = INFINITY, highest = -INFINITY;
    for (uint32_t code = 1; code <= column->code_count; code++) {
        const uint8_t *value = column->entries[code].value;
        if (!value || (mst_value_tag(value) != MST_INT && mst_value_tag(value) != MST_DOUBLE))
            continue;
        double key = mst_value_double(value);
        lowest = key < lowest ? key : lowest;
        highest = key > highest ? key : highest;
    }
    layout->lowest = lowest < INFINITY ? lowest : -DBL_MAX;
    layout->highest = highest > -INFINITY ? highest : DBL_MAX;
}

/* Without memory for a plan there is one bucket of each kind, until they are evened out. */
void mst__sketch_plan(struct mst_column *column)
{
    struct evening *even = begin(column);
    if (!even)
        return;
    if (take_entries(even) && plan(even)) {
        mst__layout_deinit(&column->sketch->layout);
        column->sketch->layout = even->fresh;
        find_ends(column, &column->sketch->layout);
    }
    end(even);
}
