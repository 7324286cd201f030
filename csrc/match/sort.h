// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Orders page by page: mst_sort (match.h) goes on behind a place that is given as values, so that a page needs nothing
 * from the one before but its last row's keys and id, and holds whatever has changed meanwhile.
 */
#include <stdint.h>

#include "base/buffer.h"
#include "match/match.h"

/* A place in an order. */
struct mst_sort_place {
    const uint8_t *const *values; /* packed, one per key; NULL: the field is missing */
    struct mst_span id;
};

/* As mst_sort, but only rows that come after `place` (NULL: all). `rows` has room for min(limit, set->count). */
int mst_sort_after(struct mst_view *view, const struct mst_rowset *set, const struct mst_sort_key *keys,
                   uint32_t key_count, const struct mst_sort_place *place, uint32_t limit, uint32_t *rows,
                   uint32_t *count);

/* What a row is read with where its column cannot be. Zero-initialise; free with mst_row_scratch_deinit. */
struct mst_row_scratch {
    uint8_t cell[16];
    struct mst_buffer document, finals;
};

void mst_row_scratch_deinit(struct mst_row_scratch *scratch);

/*
 * What a path denotes in a row, from its column (NULL, or still being filled: from the row's document). NULL: missing.
 * Borrowed until the scratch is used again or the view changes.
 */
const uint8_t *mst_row_value(const struct mst_view *view, const struct mst_column *column, const struct mst_path *path,
                             uint32_t row, struct mst_row_scratch *scratch);

/* The value by which a row is sorted: of several finals the first. */
const uint8_t *mst_row_first_value(const struct mst_view *view, const struct mst_column *column,
                                   const struct mst_path *path, uint32_t row, struct mst_row_scratch *scratch);
