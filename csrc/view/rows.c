// SPDX-License-Identifier: Apache-2.0
#include <stdlib.h>
#include <string.h>

#include "view/internal.h"

#define FIRST_CAPACITY 4096u
#define LAST_CAPACITY 0x80000000u
#define TOUCH_ROWS (MST__TOUCH / sizeof(struct mst__head))

static size_t level_words(unsigned level, uint32_t capacity)
{
    return ((size_t)capacity >> (6 * (level + 1))) + 1;
}

uint32_t mst__rows_next_capacity(const struct mst__rows *rows)
{
    if (rows->capacity >= LAST_CAPACITY)
        return 0;
    return rows->capacity ? rows->capacity * 2 : FIRST_CAPACITY;
}

static int grow_words(uint64_t **words, size_t from, size_t to)
{
    uint64_t *grown = realloc(*words, to * sizeof *grown);
    if (!grown)
        return MST_ENOMEM;
    memset(grown + from, 0, (to - from) * sizeof *grown);
    *words = grown;
    return 0;
}

int mst__rows_grow(struct mst__rows *rows, uint32_t capacity)
{
    uint32_t before = rows->capacity;
    for (unsigned level = 0; level < MST__FREE_LEVELS; level++) {
        size_t from = rows->free[level] ? level_words(level, before) : 0;
        if (grow_words(&rows->free[level], from, level_words(level, capacity)) < 0)
            return MST_ENOMEM;
    }
    if (grow_words(&rows->live, before / 64, capacity / 64) < 0)
        return MST_ENOMEM;
    size_t segments = ((size_t)capacity + MST__SEGMENT_ROWS - 1) / MST__SEGMENT_ROWS;
    struct mst__head **grown = realloc(rows->segments, segments * sizeof(*grown));
    if (!grown)
        return MST_ENOMEM;
    rows->segments = grown;
    rows->capacity = capacity;
    return 0;
}

bool mst__rows_full(const struct mst__rows *rows)
{
    return rows->limit == rows->capacity && rows->count == rows->limit;
}

int mst__rows_prepare(struct mst__rows *rows)
{
    if (rows->count < rows->limit || rows->limit / MST__SEGMENT_ROWS < rows->segment_count)
        return 0;
    struct mst__head *segment = aligned_alloc(64, MST__SEGMENT_ROWS * sizeof *segment);
    if (!segment)
        return MST_ENOMEM;
    rows->segments[rows->segment_count++] = segment;
    return 0;
}

static void free_set(struct mst__rows *rows, uint32_t place)
{
    for (unsigned level = 0; level < MST__FREE_LEVELS; level++, place /= 64) {
        uint64_t before = rows->free[level][place / 64];
        rows->free[level][place / 64] = before | UINT64_C(1) << (place % 64);
        if (before)
            return;
    }
}

static void free_clear(struct mst__rows *rows, uint32_t place)
{
    for (unsigned level = 0; level < MST__FREE_LEVELS; level++, place /= 64) {
        rows->free[level][place / 64] &= ~(UINT64_C(1) << (place % 64));
        if (rows->free[level][place / 64])
            return;
    }
}

static uint32_t free_lowest(const struct mst__rows *rows)
{
    uint32_t word = 0;
    while (!rows->free[MST__FREE_LEVELS - 1][word])
        word++;
    for (unsigned level = MST__FREE_LEVELS; level-- > 0;)
        word = word * 64 + (uint32_t)__builtin_ctzll(rows->free[level][word]);
    return word;
}

uint32_t mst__rows_take(struct mst__rows *rows)
{
    uint32_t row;
    if (rows->count < rows->limit) {
        row = free_lowest(rows);
        free_clear(rows, row);
    } else {
        row = rows->limit++;
        if (rows->limit > rows->touched)
            rows->touched = rows->limit;
        if (row > TOUCH_ROWS && row % TOUCH_ROWS == 0)
            mst__memory_touch(mst__rows_head(rows, row), MST__TOUCH);
    }
    rows->live[row / 64] |= UINT64_C(1) << (row % 64);
    rows->count++;
    struct mst__head *head = mst__rows_head(rows, row);
    memset(head, 0, sizeof *head);
    head->wheel_place = MST__PLACE_NONE;
    return row;
}

void mst__rows_give(struct mst__rows *rows, uint32_t row)
{
    mst__rows_head(rows, row)->blob = NULL;
    rows->live[row / 64] &= ~(UINT64_C(1) << (row % 64));
    rows->count--;
    free_set(rows, row);
    while (rows->limit > 0 && !mst__rows_alive(rows, rows->limit - 1))
        free_clear(rows, --rows->limit);
}

void mst__rows_deinit(struct mst__rows *rows)
{
    for (uint32_t i = 0; i < rows->segment_count; i++)
        free(rows->segments[i]);
    free(rows->segments);
    free(rows->live);
    for (unsigned level = 0; level < MST__FREE_LEVELS; level++)
        free(rows->free[level]);
}
