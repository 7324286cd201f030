// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Passes over the codes of a column, 64 rows a word of `mask` and `out`: out = mask and test. `codes` points at the
 * first row of the pass and is readable for words * 64 rows. Rows outside the mask cost nothing where a whole word is
 * empty. `out` may be `mask`.
 */
#include <stddef.h>
#include <stdint.h>

/* Rows whose code is `code`. */
void mst__kernel_equal(const void *codes, unsigned width, uint32_t code, const uint64_t *mask, uint64_t *out,
                       unsigned words);

/* Rows whose code has a byte other than 0 in `table`, which has a place for every code that occurs. */
void mst__kernel_member(const void *codes, unsigned width, const uint8_t *table, const uint64_t *mask, uint64_t *out,
                        unsigned words);

/* The same as mst__kernel_equal without vector instructions: its twin for other machines and for tests. */
void mst__kernel_equal_scalar(const void *codes, unsigned width, uint32_t code, const uint64_t *mask, uint64_t *out,
                              unsigned words);
