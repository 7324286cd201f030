// SPDX-License-Identifier: Apache-2.0
#pragma once

/* One evaluation of a bound filter over a view, block by block; for the files of this folder only. */
#include "match/match.h"
#include "match/plan.h"

#define MST__BLOCK_WORDS 64u  /* 4,096 rows: the masks of a block stay in the first cache */
#define MST__WIDE_WORDS 1024u /* where no masks are kept */

/* What one clause did, for explain. By node. */
struct mst__trace {
    uint64_t rows_in, rows_out, verified, ns;
};

struct mst__run {
    struct mst_view *view;
    struct mst_bound *bound;
    struct mst__prepared *prepared;
    const struct mst__kernels *kernels;
    struct mst__trace *traces; /* NULL: not wanted */
    uint64_t verified;
    uint16_t root;
    int status;
};

/* `words` words of rows from `row` on. */
struct mst__block {
    uint32_t row;
    unsigned words;
};

/* Makes plans. `bound` must have nodes. MST_ENOMEM. */
int mst__run_open(struct mst__run *run, struct mst_view *view, struct mst_bound *bound);

/* 0, or what has gone wrong since; then what was worked out is dropped. */
int mst__run_close(struct mst__run *run);

/* How many words a block of this run may have. */
unsigned mst__run_block_words(const struct mst__run *run);

/* out = the rows of `mask` for which the filter holds; 0 if there are none. `out` may be `mask`. */
uint64_t mst__run_block(struct mst__run *run, struct mst__block block, const uint64_t *mask, uint64_t *out);

/* The plan that answers the whole filter, if it is a single clause; NULL. */
const struct mst__plan *mst__run_single(const struct mst__run *run, bool *inverted);

static inline const uint8_t *mst__plan_codes(const struct mst__plan *plan, uint32_t row)
{
    return plan->data ? plan->data + (size_t)row * plan->yes.width : NULL; /* NULL: the clause has no column */
}
