// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Evaluation of a bound filter over a view, column by column: the meaning of a clause is worked out once per distinct
 * value of its column and kept with the program, then one pass over the codes gives a bit per row. Columns of too many
 * values are decided by buckets of their order, and only rows of buckets that may go either way are looked at. And, or
 * pass a running mask down, in blocks of 4,096 rows, the cheap and selective clauses first.
 *
 * The passes use the widest vectors that the processor has. The environment variable MUSTER_KERNELS = scalar, sse2,
 * avx2 or avx512, read when a program is loaded, asks for others; what the processor lacks, or an unknown name, falls
 * back to the best there is.
 */
#include <stdbool.h>
#include <stddef.h>
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

/*
 * Whether columns that the filter needs are still being filled (mst_view_fill): matching then reads documents, which
 * takes long in a large view. Asks for columns that are not there yet. `bound` NULL: false.
 */
bool mst_match_unfilled(struct mst_view *view, const struct mst_bound *bound);

/* How many live rows the filter holds for, without keeping them; often from the columns' counts alone. */
int mst_match_count(struct mst_view *view, struct mst_bound *bound, uint32_t *count, struct mst_error *error);

/* Whether there is any such row; stops at the first block that has one. */
int mst_match_exists(struct mst_view *view, struct mst_bound *bound, bool *exists, struct mst_error *error);

/* One clause as it was answered, in the order of evaluation. Texts are borrowed from bound and view, or constant. */
struct mst_step {
    uint32_t leaf;    /* number of the clause as in mst_bound_verdict; UINT32_MAX: not one of those */
    const char *text; /* the clause */
    size_t text_length;
    const char *path; /* the left path as it is written in filters; empty: none */
    size_t path_length;
    const char *encoding; /* "dict8", "dict16", "dict32", "sketch8", "bitset", "ids", "documents", "none" */
    const char *kernel; /* "never", "always", "equal", "except", "range", "member", "bitset", "lookup" (of ids), "rows",
                           "documents"; in a sketch: that of the buckets that need no look at their rows */
    uint32_t values;    /* distinct values or buckets in the column */
    uint32_t tested;    /* how many of them the clause was worked out for in this request; others were known */
    uint64_t rows_in, rows_out; /* rows under the mask before and after */
    uint64_t rows_verified;     /* rows looked at one by one */
    uint32_t missing;           /* live rows without the field */
    uint64_t ns;                /* time spent; 0 without `analyze` */
    bool negated;               /* an odd number of `not` stands around the clause; rows_out counts along */
};

/*
 * Runs the filter (analyze), or only plans it (rows, and all figures of rows and time, are 0). Writes up to `capacity`
 * steps; `*step_count` gets how many there were. `*rows`: how many match. `bound` NULL: no steps.
 */
int mst_match_explain(struct mst_view *view, struct mst_bound *bound, bool analyze, struct mst_step *steps,
                      uint32_t capacity, uint32_t *step_count, uint32_t *rows, struct mst_error *error);

/* What the passes of programs loaded now are made of: "avx512", "avx2", "sse2" or "scalar". */
const char *mst_match_instructions(void);

/* The first row of the set at or after `row`; MST_ROW_NONE at the end. */
uint32_t mst_rowset_next(const struct mst_rowset *set, uint32_t row);

/*
 * Writes the rows of the set from `first` on, ascending, until there are no more or `capacity` is reached; returns how
 * many. `rows` has room for capacity + 16. Several times faster than mst_rowset_next where the set is dense.
 */
uint32_t mst_rowset_list(const struct mst_rowset *set, uint32_t first, uint32_t *rows, uint32_t capacity);

/*
 * Walks the live rows of a set from `first` on, ascending; the memory of those to come is asked for ahead. The view and
 * the set must not change meanwhile.
 */
struct mst_row_walk {
    const struct mst_view *view;
    const struct mst_rowset *set;
    uint32_t next, at, count;
    uint32_t rows[64 + 16];
};

void mst_row_walk_init(struct mst_row_walk *walk, const struct mst_view *view, const struct mst_rowset *set,
                       uint32_t first);
uint32_t mst_row_walk_next(struct mst_row_walk *walk); /* MST_ROW_NONE at the end */

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
