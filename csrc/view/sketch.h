// SPDX-License-Identifier: Apache-2.0
#pragma once

/* The inside of a column's order sketch; for sketch.c and even.c only. */
#include "view/internal.h"

#define MST__BUCKETS 256u
#define MST__BUCKET_NULL 1u
#define MST__BUCKET_NUMBERS 4u
/* Most buckets of numbers and strings together; null, false, true, objects and lists have one each. */
#define MST__RANGES_MAX (MST__BUCKETS - 1 - 5)

#define MST__HINTS 256u

/* Where the buckets begin. There is at least one of numbers and one of strings. */
struct mst__layout {
    uint32_t numbers, strings, objects;   /* the first code of each; that of lists is objects + 1 */
    double number_starts[MST__BUCKETS];   /* [0] is -infinity */
    double lowest, highest;               /* no number lies beyond */
    double origin, scale;                 /* of the hints */
    uint8_t hints[MST__HINTS + 1];        /* by equal steps of the numbers: a bucket that begins before the step */
    uint8_t *string_starts[MST__BUCKETS]; /* owned, packed; [0] is the empty string */
    uint8_t low[MST__BUCKETS][9], high[MST__BUCKETS][9];
};

struct mst__sketch {
    struct mst__layout layout;
    uint32_t rows[MST__BUCKETS];
    uint32_t patience[MST__BUCKETS]; /* with more rows a bucket is worth a look */
    uint64_t *cells;                 /* owned block: by row the bits of a number, or the address of a value */
    uint64_t *reals;                 /* owned block: a bit per row: the number is a double */
    uint32_t capacity, cell_capacity;
};

int mst__layout_init(struct mst__layout *layout); /* one bucket of each kind; MST_ENOMEM */
void mst__layout_deinit(struct mst__layout *layout);
void mst__layout_hint(struct mst__layout *layout); /* after number_starts have been set */
uint32_t mst__layout_number(const struct mst__layout *layout, double key);
uint32_t mst__layout_string(const struct mst__layout *layout, const uint8_t *value);
bool mst__layout_single(const struct mst__layout *layout, uint32_t code); /* all its values are equal */
void mst__layout_bounds(struct mst__layout *layout, uint32_t code);

static inline bool mst__sketch_real(const struct mst__sketch *sketch, uint32_t row)
{
    return sketch->reals[row / 64] >> (row % 64) & 1;
}

static inline double mst__cell_number(uint64_t bits, bool real)
{
    if (!real)
        return (double)(int64_t)bits;
    double number;
    __builtin_memcpy(&number, &bits, sizeof number);
    return number;
}

/* Lays out the buckets of a new sketch, whose rows have been counted, for the column's dictionary. */
void mst__sketch_plan(struct mst_column *column);

/* Sets from how many rows on each bucket is worth a look. */
void mst__sketch_patience(struct mst__sketch *sketch, uint32_t total);
