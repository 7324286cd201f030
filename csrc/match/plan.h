// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * How the clauses of a program are answered over one view, and in which order; kept with the program from request to
 * request. What depends on a binding (parameters, the time) is worked out for each request anew.
 */
#include <stdint.h>

#include "match/internal.h"
#include "match/kernel.h"
#include "view/view.h"

#define MST__EMPTY_KEPT 8u
#define MST__VIEWS_KEPT 4u /* plans for more views push out those used longest ago */

enum mst__answer {
    MST__UNPLANNED,
    MST__CODES,    /* rows whose code is in `yes` */
    MST__SKETCH,   /* those, and of the rows whose code is in `maybe` the ones that pass a test of their value */
    MST__LAZY,     /* a code's mark is found when the first row under the mask has it */
    MST__LISTED,   /* rows found by their ids */
    MST__ROWS,     /* tested row by row on the values of its columns */
    MST__DOCUMENTS /* tested row by row on the parsed metadata: columns are not there, or not yet */
};

/* A clause that compares with literals, without the machinery for lists and functions. */
struct mst__quick {
    bool usable;
    enum mst_op op;
    const uint8_t *literal, *third; /* borrowed from program or binding */
};

struct mst__plan {
    enum mst__answer answer;
    struct mst_column *columns[3]; /* of the leaf's document paths */
    struct mst__test yes, maybe;
    uint8_t *table;       /* owned; by code. CODES, SKETCH: what `yes` points to. LAZY: 0 unknown, 1 no, 2 yes */
    uint8_t *maybe_table; /* owned; SKETCH */
    uint32_t capacity, maybe_capacity;
    uint32_t *rows; /* owned; LISTED: ascending */
    uint32_t row_count, row_capacity;
    /* What the column was when this was worked out. */
    uint64_t epoch;
    uint32_t codes;
    uint8_t empty[MST__EMPTY_KEPT]; /* SKETCH: buckets without rows then, and so without bounds */
    unsigned empty_count;
    bool probed; /* by looking literals up: the table says nothing of other codes */
    uint32_t tested, uses;
    /* For this request. */
    const uint8_t *data;
    struct mst__quick quick; /* SKETCH */
    const uint64_t *bitset;  /* NULL: none; else of the rows with code yes.low */
    int sure;                /* -1: no row, 1: every row, by the column's counts; 0: look */
    double share;            /* of the rows that pass, about */
    double cost;             /* ns per row under the mask, about */
};

/* The plans of one program for one view. */
struct mst__prepared {
    const struct mst_view *view;
    uint64_t serial;
    uint32_t live; /* rows when the order was made */
    bool ordered;
    uint16_t leaf_count;
    size_t bytes;
    struct mst__plan *plans; /* by leaf */
    uint16_t *first, *next;  /* by node: children in order of evaluation; 0: none. Nodes that are `not` are left out */
};

struct mst__cache {
    const struct mst__kernels *kernels;
    struct mst_bound *spare; /* of the last request, for the next */
    const uint8_t **values;  /* by path of the program: working memory of tests */
    uint8_t *inverted;       /* by node: an odd number of `not` stands around it */
    char **path_texts;       /* by path, owned; made for explain */
    uint16_t path_count;
    struct mst_buffer document;
    size_t kept;
    struct mst__prepared *prepared[MST__VIEWS_KEPT]; /* used last first */
};

struct mst__cache *mst__cache_create(const struct mst_program *program);
void mst__cache_destroy(struct mst__cache *cache);

/* Plans up to date for this view and binding. MST_ENOMEM. */
int mst__prepare(struct mst__prepared **out, struct mst_view *view, struct mst_bound *bound);

/* After a failure: nothing that was worked out for this view is to be trusted. */
void mst__prepared_forget(struct mst__prepared *prepared, const struct mst_program *program);

/* plan.c: brings the plan of one leaf up to date; true in `changed` if it is another than before. MST_ENOMEM. */
int mst__plan_update(struct mst__plan *plan, struct mst_view *view, struct mst_bound *bound,
                     const struct mst__leaf *leaf, bool *changed);
void mst__plan_deinit(struct mst__plan *plan);
size_t mst__plan_bytes(const struct mst__plan *plan);

/* Tests a leaf of one path on one value. */
bool mst__plan_test(struct mst_bound *bound, const struct mst__leaf *leaf, const uint8_t *value);

/* quick.c: fills `quick`; not usable where the clause is none of these. */
void mst__quick_init(struct mst__quick *quick, const struct mst_bound *bound, const struct mst__leaf *leaf);

/* What the clause says of a scalar. */
bool mst__quick_test(const struct mst__quick *quick, const uint8_t *value);

/* order.c: puts the children of and/or nodes in order of what they cost and how many rows they leave. */
void mst__order(struct mst__prepared *prepared, const struct mst_program *program);

/* The node that `node` stands for once `not` is left to the flags. */
static inline uint16_t mst__order_resolve(const struct mst_program *program, uint16_t node)
{
    while (program->nodes[node].kind == MST__NOT)
        node++;
    return node;
}

enum mst__bucket { MST__BUCKET_NO, MST__BUCKET_YES, MST__BUCKET_VERIFY };

/*
 * sketch.c: what a leaf of one path says of all values between `low` and `high` in the order of mst_value_compare
 * (NULL: of any values).
 */
enum mst__bucket mst__sketch_decide(struct mst_bound *bound, const struct mst__leaf *leaf, const uint8_t *low,
                                    const uint8_t *high);
