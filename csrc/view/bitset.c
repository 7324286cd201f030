// SPDX-License-Identifier: Apache-2.0
#include <stdlib.h>
#include <string.h>

#include "view/internal.h"

#define SETS_MAX 64u /* per view */
#define CANDIDATES 8u
#define USES 3u /* from the third within a minute on */
#define WINDOW_MS 60000
#define LEAST_BUDGET ((size_t)1 << 16)

struct set {
    uint64_t *words; /* owned block */
    uint32_t code;
    int64_t used_at;
};

/* A code that has been asked for, but not often enough yet. */
struct candidate {
    uint32_t code; /* 0: none */
    uint32_t uses;
    int64_t since;
};

struct mst__bitsets {
    struct set sets[SETS_MAX];
    uint32_t count;
    uint32_t capacity; /* rows that the sets have room for */
    struct candidate candidates[CANDIDATES];
    uint32_t next; /* the candidate to give way */
};

static size_t set_bytes(uint32_t capacity)
{
    return ((size_t)capacity + 63) / 64 * sizeof(uint64_t);
}

static void flip(uint64_t *words, uint32_t row, bool on)
{
    uint64_t bit = UINT64_C(1) << (row % 64);
    words[row / 64] = on ? words[row / 64] | bit : words[row / 64] & ~bit;
}

void mst__bitsets_move(struct mst_column *column, uint32_t row, uint32_t before, uint32_t after)
{
    struct mst__bitsets *bitsets = column->bitsets;
    for (uint32_t i = 0; before != after && i < bitsets->count; i++)
        if (bitsets->sets[i].code == before || bitsets->sets[i].code == after)
            flip(bitsets->sets[i].words, row, bitsets->sets[i].code == after);
}

static void remove_set(struct mst_column *column, uint32_t at)
{
    struct mst__bitsets *bitsets = column->bitsets;
    mst__block_free(bitsets->sets[at].words, set_bytes(bitsets->capacity));
    bitsets->sets[at] = bitsets->sets[--bitsets->count];
    column->view->bitset_count--;
}

void mst__bitsets_drop(struct mst_column *column)
{
    struct mst__bitsets *bitsets = column->bitsets;
    if (!bitsets)
        return;
    while (bitsets->count)
        remove_set(column, bitsets->count - 1);
    memset(bitsets->candidates, 0, sizeof bitsets->candidates);
}

void mst__bitsets_destroy(struct mst_column *column)
{
    mst__bitsets_drop(column);
    free(column->bitsets);
    column->bitsets = NULL;
}

void mst__bitsets_grow(struct mst_column *column, uint32_t capacity)
{
    struct mst__bitsets *bitsets = column->bitsets;
    if (!bitsets)
        return;
    /* A block knows its size from the one capacity of all: so all or none. */
    for (uint32_t i = 0; i < bitsets->count; i++) {
        void *words = bitsets->sets[i].words;
        if (mst__block_grow(&words, set_bytes(bitsets->capacity), set_bytes(capacity)) < 0) {
            for (uint32_t k = 0; k < bitsets->count; k++)
                mst__block_free(bitsets->sets[k].words, set_bytes(k < i ? capacity : bitsets->capacity));
            column->view->bitset_count -= bitsets->count;
            bitsets->count = 0;
            break;
        }
        bitsets->sets[i].words = words;
    }
    bitsets->capacity = capacity;
}

size_t mst__bitsets_bytes(const struct mst_column *column)
{
    const struct mst__bitsets *bitsets = column->bitsets;
    return bitsets ? sizeof *bitsets + bitsets->count * set_bytes(bitsets->capacity) : 0;
}

/* The set of a view that has been idle longest. */
static struct mst_column *idlest(const struct mst_view *view, uint32_t *at)
{
    struct mst_column *found = NULL;
    int64_t used_at = INT64_MAX;
    for (uint32_t i = 0; i < view->column_count; i++) {
        const struct mst__bitsets *bitsets = view->columns[i]->bitsets;
        for (uint32_t k = 0; bitsets && k < bitsets->count; k++) {
            if (bitsets->sets[k].used_at >= used_at)
                continue;
            used_at = bitsets->sets[k].used_at;
            found = view->columns[i];
            *at = k;
        }
    }
    return found;
}

static bool fits(const struct mst_view *view)
{
    size_t codes = 0;
    for (uint32_t i = 0; i < view->column_count; i++)
        codes += (size_t)view->columns[i]->capacity * view->columns[i]->width;
    size_t budget = codes / 8 > LEAST_BUDGET ? codes / 8 : LEAST_BUDGET;
    return view->bitset_count < SETS_MAX && (view->bitset_count + 1) * set_bytes(view->rows.capacity) <= budget;
}

/* Makes room at the price of sets that have not been asked for in a while. */
static bool make_room(struct mst_view *view, int64_t now_ms)
{
    while (!fits(view)) {
        uint32_t at = 0;
        struct mst_column *column = idlest(view, &at);
        if (!column || now_ms - column->bitsets->sets[at].used_at <= WINDOW_MS)
            return false;
        remove_set(column, at);
    }
    return true;
}

/* The bytes of `word` that are `code`, one bit each. */
static uint64_t equal_bytes(uint64_t word, uint64_t code)
{
    const uint64_t low = UINT64_C(0x7f7f7f7f7f7f7f7f);
    uint64_t difference = word ^ code;
    uint64_t zero = ~(((difference & low) + low) | difference | low);
    return ((zero >> 7) * UINT64_C(0x0102040810204080)) >> 56;
}

static void fill(const struct mst_column *column, uint32_t code, uint64_t *words)
{
    uint32_t limit = column->view->rows.limit;
    if (column->width > 1) {
        for (uint32_t row = 0; row < limit; row++)
            words[row / 64] |= (uint64_t)(mst__code_load(column->codes, column->width, row) == code) << (row % 64);
        return;
    }
    for (uint32_t row = 0; row < limit; row += 8) {
        uint64_t word;
        memcpy(&word, (const uint8_t *)column->codes + row, sizeof word);
        words[row / 64] |= equal_bytes(word, code * UINT64_C(0x0101010101010101)) << (row % 64);
    }
}

static const uint64_t *keep(struct mst_column *column, uint32_t code, int64_t now_ms)
{
    struct mst__bitsets *bitsets = column->bitsets;
    void *words = NULL;
    if (column->capacity == 0 || !make_room(column->view, now_ms))
        return NULL;
    bitsets->capacity = column->capacity;
    if (mst__block_grow(&words, 0, set_bytes(bitsets->capacity)) < 0)
        return NULL;
    fill(column, code, words);
    bitsets->sets[bitsets->count++] = (struct set){words, code, now_ms};
    column->view->bitset_count++;
    return words;
}

/* Counts a use; true: often enough. */
static bool in_demand(struct mst__bitsets *bitsets, uint32_t code, int64_t now_ms)
{
    struct candidate *candidate = NULL;
    for (uint32_t i = 0; i < CANDIDATES; i++)
        if (bitsets->candidates[i].code == code)
            candidate = &bitsets->candidates[i];
    if (!candidate) {
        candidate = &bitsets->candidates[bitsets->next++ % CANDIDATES];
        *candidate = (struct candidate){.code = code, .since = now_ms};
    }
    if (now_ms - candidate->since > WINDOW_MS || now_ms < candidate->since)
        *candidate = (struct candidate){.code = code, .since = now_ms};
    if (++candidate->uses < USES)
        return false;
    candidate->uses = USES;
    return true;
}

static void forget(struct mst__bitsets *bitsets, uint32_t code)
{
    for (uint32_t i = 0; i < CANDIDATES; i++)
        if (bitsets->candidates[i].code == code)
            bitsets->candidates[i] = (struct candidate){0};
}

const uint64_t *mst_column_bitset(struct mst_column *column, uint32_t code, int64_t now_ms)
{
    if (code == 0 || column->filling || (!column->bitsets && !(column->bitsets = calloc(1, sizeof *column->bitsets))))
        return NULL;
    struct mst__bitsets *bitsets = column->bitsets;
    for (uint32_t i = 0; i < bitsets->count; i++) {
        if (bitsets->sets[i].code == code) {
            bitsets->sets[i].used_at = now_ms;
            return bitsets->sets[i].words;
        }
    }
    if (!in_demand(bitsets, code, now_ms))
        return NULL;
    const uint64_t *words = keep(column, code, now_ms);
    if (words)
        forget(bitsets, code);
    return words;
}
