// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Groups of rows and figures over them; for verb_aggregate.c. Nothing here knows about requests.
 *
 * mst__groups gives each row a group: rows with the same values at the paths are together. Numbers are the same where
 * they are equal (1 and 1.0), null is the same as missing, a list is one value. mst__figures adds up what the rows of a
 * group hold at one path: each number, also those in a list.
 */
#include <stdbool.h>
#include <stdint.h>

#include "base/buffer.h"
#include "base/map.h"
#include "match/sort.h"

#define MST__GROUP_PATHS_MAX 8u
#define MST__GROUPS_MAX 100000u
#define MST__GROUP_KEYS_MAX (64u << 20) /* bytes of all values that groups are told apart by */
#define MST__SAMPLES_MAX (256u << 20)   /* bytes for the numbers that the percentiles of one request are of */

/* One path to group by: its values are numbered as they are met. */
struct mst__group_key {
    struct mst_path path;
    struct mst_column *column;
    uint32_t *by_code; /* owned; number + 1 by code of the column's dictionary, 0: not met; NULL: no dictionary */
    struct mst_map *numbers;
    struct mst_buffer values; /* packed, one behind the other; number 0 stands for missing and has none */
    size_t *offsets;          /* owned; by number */
    uint32_t count, capacity;
};

struct mst__groups {
    struct mst_view *view;
    struct mst__group_key keys[MST__GROUP_PATHS_MAX];
    uint32_t key_count;
    struct mst_map *index; /* numbers of the values, one per key, to group */
    uint32_t *numbers;     /* owned; key_count per group */
    uint32_t *rows;        /* owned; by group: how many rows */
    uint32_t count, capacity;
    size_t key_bytes; /* of the values of all keys; each is kept twice, here and in the map that finds it */
    struct mst_row_scratch scratch;
};

/* `paths` are copied, what they point into is borrowed. MST_ENOMEM. To be deinitialised in both cases. */
int mst__groups_init(struct mst__groups *groups, struct mst_view *view, const struct mst_path *paths, uint32_t count);
void mst__groups_deinit(struct mst__groups *groups);

/* Counts a row in and tells its group. MST_ETOOBIG (said in `error`): too many groups, or too large ones. MST_ENOMEM.
 */
int mst__groups_add(struct mst__groups *groups, uint32_t row, uint32_t *group, struct mst_error *error);

/* The value of a group at a key; NULL: missing. Borrowed until the next row is added. */
const uint8_t *mst__group_value(const struct mst__groups *groups, uint32_t group, uint32_t key);

/* Order of the groups' values, key by key; missing comes last. */
int mst__groups_compare(const struct mst__groups *groups, uint32_t a, uint32_t b);

enum mst__figure { MST__COUNT, MST__SUM, MST__AVG, MST__MIN, MST__MAX, MST__PERCENTILE };

/* A percentage as it is written: `units` of `scale` parts, 99.9 is 999 of 10. A double would miss ranks by one. */
struct mst__percent {
    uint64_t units, scale;
};

/* Reads "99" or "99.9": at most 11 bytes, from 0 to 100. */
bool mst__percent_read(struct mst_span text, struct mst__percent *percent);

/* The nearest rank, from 1 to `count`: the least that is no less than so many percent of `count`. */
size_t mst__percent_rank(struct mst__percent percent, size_t count);

/*
 * What the rows of one group hold. The sum has a wider range than double where long double does (x86-64, ARM64): it
 * may pass through sums that no double holds, and an average is finite. A sum that ends up beyond double is put as
 * null, since JSON's readers have nothing for it.
 */
struct mst__sums {
    uint64_t present, numbers; /* rows with a value there; numbers in them */
    int64_t whole;             /* their sum, while all are integers and it fits */
    bool broken;               /* it does not */
    bool fraction;             /* some number is no integer */
    long double sum, carry;    /* the sum, with what rounding has lost (Neumaier) */
    uint8_t least[9], most[9]; /* packed */
};

struct mst__samples;

struct mst__figures {
    struct mst_view *view;
    struct mst_path path;
    struct mst_column *column;
    struct mst__sums *sums; /* owned; by group */
    uint32_t groups;
    size_t *budget;                    /* borrowed; bytes left for samples; NULL: no percentiles, none are kept */
    struct mst__samples *first, *last; /* owned; blocks of samples; gone once they are sorted */
    size_t *starts;                    /* owned; by group; made when the first percentile is asked for */
    double *sorted;                    /* owned; the numbers by group */
    struct mst_row_scratch scratch;
};

/*
 * Makes a column of the path. With `budget`, every number is kept for percentiles, and what that takes is subtracted
 * there; the figures of a request share one, MST__SAMPLES_MAX at first.
 */
void mst__figures_init(struct mst__figures *figures, struct mst_view *view, const struct mst_path *path,
                       size_t *budget);
void mst__figures_deinit(struct mst__figures *figures);

/* Adds what a row holds to a group. MST_ETOOBIG (said in `error`): no budget left for its numbers. MST_ENOMEM. */
int mst__figures_add(struct mst__figures *figures, uint32_t group, uint32_t row, struct mst_error *error);

/* Appends a figure as JSON; null where there is no number. `percent` is for percentiles (nearest rank). MST_ENOMEM. */
int mst__figures_put(struct mst__figures *figures, uint32_t group, enum mst__figure figure, struct mst__percent percent,
                     struct mst_buffer *out);
