// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * A high dynamic range histogram (Gil Tene's HdrHistogram layout): values 1 to 3,600,000,000 with 3 significant digits;
 * the unit is the caller's (the load tester records microseconds times 1: see its own note). Recording never allocates.
 * Values above the range are recorded as the highest and counted in `clipped`; value 0 is kept apart as 0.
 */
#include <stdint.h>

struct mst_hdr;

struct mst_hdr *mst_hdr_create(void); /* NULL: no memory */
void mst_hdr_destroy(struct mst_hdr *hdr);
void mst_hdr_reset(struct mst_hdr *hdr);
void mst_hdr_record(struct mst_hdr *hdr, uint64_t value);
void mst_hdr_add(struct mst_hdr *into, const struct mst_hdr *from);

uint64_t mst_hdr_count(const struct mst_hdr *hdr);
uint64_t mst_hdr_min(const struct mst_hdr *hdr); /* exact; 0 if empty */
uint64_t mst_hdr_max(const struct mst_hdr *hdr); /* exact; 0 if empty */
double mst_hdr_mean(const struct mst_hdr *hdr);  /* exact sum / count; 0 if empty */
uint64_t mst_hdr_clipped(const struct mst_hdr *hdr);

/*
 * The value at a percentile (0..100), which that share of all values does not pass: the highest value equivalent to it,
 * never above the exact maximum. 0 gives the exact minimum.
 */
uint64_t mst_hdr_percentile(const struct mst_hdr *hdr, double percentile);
