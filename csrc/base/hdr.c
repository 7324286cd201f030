// SPDX-License-Identifier: Apache-2.0
#include "base/hdr.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/*
 * Buckets double in width; each has 1024 sub-buckets (2 * 10^3 rounded up to a power of two, halved, because the lower
 * half of a bucket is the bucket below it), but for the first, which has 2048 of width 1. 22 buckets pass 3.6e9.
 */
#define SUB_BITS 11u
#define SUB_COUNT (1u << SUB_BITS)
#define SUB_HALF (SUB_COUNT / 2)
#define BUCKETS 22u
#define COUNTS ((BUCKETS + 1) * SUB_HALF)
#define HIGHEST UINT64_C(3600000000)

_Static_assert((UINT64_C(1) << (SUB_BITS + BUCKETS - 1)) > HIGHEST, "the buckets must cover the range");

struct mst_hdr {
    uint64_t count, sum, min, max, clipped;
    uint64_t counts[COUNTS];
};

struct mst_hdr *mst_hdr_create(void)
{
    return calloc(1, sizeof(struct mst_hdr));
}

void mst_hdr_destroy(struct mst_hdr *hdr)
{
    free(hdr);
}

void mst_hdr_reset(struct mst_hdr *hdr)
{
    memset(hdr, 0, sizeof *hdr);
}

static unsigned bucket_of(uint64_t value)
{
    return 64 - SUB_BITS - (unsigned)__builtin_clzll(value | (SUB_COUNT - 1));
}

static size_t index_of(uint64_t value)
{
    unsigned bucket = bucket_of(value);
    return (size_t)bucket * SUB_HALF + (size_t)(value >> bucket);
}

/* The highest value that falls into the same count as those of `index`. */
static uint64_t highest_at(size_t index)
{
    if (index < SUB_COUNT)
        return index;
    unsigned bucket = (unsigned)(index / SUB_HALF) - 1;
    uint64_t sub = index % SUB_HALF + SUB_HALF;
    return ((sub + 1) << bucket) - 1;
}

void mst_hdr_record(struct mst_hdr *hdr, uint64_t value)
{
    if (value > HIGHEST) {
        value = HIGHEST;
        hdr->clipped++;
    }
    hdr->min = hdr->count == 0 || value < hdr->min ? value : hdr->min;
    hdr->max = value > hdr->max ? value : hdr->max;
    hdr->counts[index_of(value)]++;
    hdr->sum += value;
    hdr->count++;
}

void mst_hdr_add(struct mst_hdr *into, const struct mst_hdr *from)
{
    if (from->count == 0)
        return;
    into->min = into->count == 0 || from->min < into->min ? from->min : into->min;
    into->max = from->max > into->max ? from->max : into->max;
    into->count += from->count;
    into->sum += from->sum;
    into->clipped += from->clipped;
    for (size_t i = 0; i < COUNTS; i++)
        into->counts[i] += from->counts[i];
}

uint64_t mst_hdr_count(const struct mst_hdr *hdr)
{
    return hdr->count;
}

uint64_t mst_hdr_min(const struct mst_hdr *hdr)
{
    return hdr->min;
}

uint64_t mst_hdr_max(const struct mst_hdr *hdr)
{
    return hdr->max;
}

double mst_hdr_mean(const struct mst_hdr *hdr)
{
    return hdr->count ? (double)hdr->sum / (double)hdr->count : 0;
}

uint64_t mst_hdr_clipped(const struct mst_hdr *hdr)
{
    return hdr->clipped;
}

uint64_t mst_hdr_percentile(const struct mst_hdr *hdr, double percentile)
{
    if (percentile <= 0 || hdr->count == 0)
        return hdr->min;
    double share = percentile > 100 ? 100 : percentile;
    /* The product may come out one unit in the last place too high, which must not lift it over a whole rank. */
    uint64_t rank = (uint64_t)ceil(nextafter(share / 100 * (double)hdr->count, 0)), seen = 0;
    if (rank == 0)
        rank = 1;
    for (size_t i = 0; i < COUNTS; i++) {
        seen += hdr->counts[i];
        if (seen >= rank) {
            uint64_t highest = highest_at(i);
            return highest < hdr->max ? highest : hdr->max;
        }
    }
    return hdr->max;
}
