// SPDX-License-Identifier: Apache-2.0
#pragma once

/* How one clause is answered over one view; for eval.c. */
#include <stdint.h>

#include "match/internal.h"
#include "view/view.h"

enum mst__answer {
    MST__UNPLANNED,
    MST__NEVER,
    MST__ALWAYS,
    MST__EQUAL,    /* rows with one code */
    MST__EXCEPT,   /* rows with any code but one */
    MST__MEMBER,   /* rows whose code is marked in the table */
    MST__LAZY,     /* as member, but a code's mark is found when the first row under the mask has it */
    MST__LISTED,   /* rows found by their ids */
    MST__ROWS,     /* tested row by row on the values of its columns */
    MST__DOCUMENTS /* tested row by row on the parsed metadata: there are no more columns to be had */
};

struct mst__plan {
    enum mst__answer answer;
    struct mst_column *columns[3]; /* of the leaf's document paths */
    uint32_t code;                 /* MST__EQUAL, MST__EXCEPT */
    uint8_t *table;                /* owned; by code. MST__MEMBER: 0 no, 1 yes. MST__LAZY: 0 unknown, 1 no, 2 yes */
    uint64_t *rows;                /* owned; MST__LISTED: one bit per row */
};

/*
 * Chooses the answer for a leaf whose plan is zeroed. `values` has a place for every path of the program and is
 * overwritten. MST_ENOMEM.
 */
int mst__plan_make(struct mst__plan *plan, struct mst_view *view, struct mst_bound *bound, const struct mst__leaf *leaf,
                   const uint8_t **values);

void mst__plan_deinit(struct mst__plan *plan);

/* Tests a leaf of one path on one value. */
bool mst__plan_test(struct mst_bound *bound, const struct mst__leaf *leaf, const uint8_t **values,
                    const uint8_t *value);
