// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Evaluation of a bound filter over a view, column by column: the meaning of a clause is worked out once per distinct
 * value of its column, then one pass over the codes gives a bit per row. And, or and not pass a running mask down, in
 * blocks of 4,096 rows.
 */
#include <stdint.h>

#include "base/error.h"
#include "match/program.h"
#include "view/view.h"

/* A set of rows of one view at one moment: one bit per row. Zero-initialise; free with mst_rowset_deinit. */
struct mst_rowset {
    uint64_t *words;
    uint32_t word_count;
    uint32_t capacity;
    uint32_t count; /* bits set */
};

void mst_rowset_deinit(struct mst_rowset *set);

/* All live rows for which the filter holds; `bound` NULL = all live rows. MST_ENOMEM. */
int mst_match(struct mst_view *view, struct mst_bound *bound, struct mst_rowset *set, struct mst_error *error);

/* The first row of the set at or after `row`; MST_ROW_NONE at the end. */
uint32_t mst_rowset_next(const struct mst_rowset *set, uint32_t row);

/* One key of an order. */
struct mst_sort_key {
    struct mst_path path;
    bool descending;
};

/*
 * The first `limit` rows of the set in the order of the keys: values by mst_value_compare, rows without the field last
 * in both directions, ties by id. `rows` has room for min(limit, set->count); `*count` gets how many were written. A
 * path that yields several finals sorts by the first. MST_ENOMEM.
 */
int mst_sort(struct mst_view *view, const struct mst_rowset *set, const struct mst_sort_key *keys, uint32_t key_count,
             uint32_t limit, uint32_t *rows, uint32_t *count);
