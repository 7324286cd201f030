// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Passes over the codes of a column: a set of codes in the form a pass wants, and the passes themselves for each set of
 * vector instructions. All but the scalar ones may be missing on a processor; the scalar ones are their twins in tests.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MST__TABLE_LEAST 256u /* bytes every table has, so that a pass over 8-bit codes can load it whole */
#define MST__TABLE_SPARE 4u   /* readable bytes behind a table: a gather fetches four for one */
#define MST__FEW_CODES 8u

enum mst__test_kind {
    MST__TEST_NONE,
    MST__TEST_ALL,
    MST__TEST_EQUAL,
    MST__TEST_RANGE,
    MST__TEST_MEMBER,
};

/* A set of codes. Made by mst__test_make or by hand (NONE, ALL, EQUAL: kind, width, low, flip). */
struct mst__test {
    enum mst__test_kind kind;
    unsigned width; /* bytes per code: 1, 2, 4 */
    uint64_t flip;  /* EQUAL, RANGE: all ones: every code but these */
    uint32_t low, high;
    /* MEMBER: */
    const uint8_t *table; /* borrowed; by code: 0 no, 0xff yes */
    uint32_t codes;       /* the highest code that occurs */
    unsigned few_count;   /* not 0: the set is exactly these codes, or with few_flip all but these */
    uint64_t few_flip;
    uint32_t few[MST__FEW_CODES];
    uint8_t nibbles[32]; /* width 1: bits of the code's high half by its low half, for high halves 0..7, then 8..15 */
    uint16_t bits[64];   /* width 2, codes < 1024: one bit per code */
};

/*
 * The simplest form of the set of codes 0 .. `codes` that `table` marks with 0xff (not: with 0). Codes marked 1 do not
 * occur and may go either way; they are set to 0. `table` has MST__TABLE_LEAST bytes or more and MST__TABLE_SPARE
 * behind, 0 above `codes`; it is borrowed. Returns how many codes are marked.
 */
uint32_t mst__test_make(struct mst__test *test, unsigned width, uint8_t *table, uint32_t codes);

/*
 * 64 rows a word of `mask` and `out`: out = mask and test. `codes` points at the first row of the pass and is readable
 * for words * 64 rows. `flip`: all ones inverts the test. `out` may be `mask`. Returns 0 where all of `out` is 0.
 */
typedef uint64_t mst__match_pass(const struct mst__test *test, uint64_t flip, const void *codes, const uint64_t *mask,
                                 uint64_t *out, size_t words);

/* The same without a bitmap: how many rows. `mask` NULL: all rows. */
typedef uint64_t mst__count_pass(const struct mst__test *test, uint64_t flip, const void *codes, const uint64_t *mask,
                                 size_t words);

/* By log2 of the width. */
struct mst__kernels {
    const char *name;
    mst__match_pass *equal[3], *range[3], *few[3], *member[3]; /* few: NULL where member is as fast */
    mst__count_pass *count_equal[3], *count_range[3], *count_few[3], *count_member[3];
    uint64_t (*popcount)(const uint64_t *words, size_t count);
    /* Row numbers of the bits, the first word's being base .. base + 63; writes up to 16 more than it returns. */
    uint32_t (*list)(const uint64_t *words, size_t count, uint32_t base, uint32_t *rows);
};

extern const struct mst__kernels mst__kernels_scalar;
#ifdef __x86_64__
extern const struct mst__kernels mst__kernels_sse2, mst__kernels_avx2, mst__kernels_avx512;
#endif

/* By name; NULL: unknown, or the processor lacks it. */
const struct mst__kernels *mst__kernels_find(const char *name);

/* What MUSTER_KERNELS asks for, else the best there is. */
const struct mst__kernels *mst__kernels_choose(void);

/* out = mask and test, for any kind. */
uint64_t mst__test_match(const struct mst__kernels *kernels, const struct mst__test *test, uint64_t flip,
                         const void *codes, const uint64_t *mask, uint64_t *out, size_t words);
uint64_t mst__test_count(const struct mst__kernels *kernels, const struct mst__test *test, uint64_t flip,
                         const void *codes, const uint64_t *mask, size_t words);
