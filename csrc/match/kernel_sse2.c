// SPDX-License-Identifier: Apache-2.0
#ifdef __x86_64__

#include <emmintrin.h>

#include "match/kernel.h"

#define MST__TARGET
#define MST__LOOKS_AT(width, wanted) (wanted)
#include "match/kernel_pass.h"

/* 16 lanes of all ones or zeros each become 16 bits; the packs narrow wider lanes down to bytes. */
static uint64_t bits_of_8(__m128i lanes)
{
    return (uint32_t)_mm_movemask_epi8(lanes);
}

static uint64_t bits_of_16(__m128i low, __m128i high)
{
    return bits_of_8(_mm_packs_epi16(low, high));
}

static __m128i load(const void *at)
{
    return _mm_loadu_si128(at);
}

static __m128i equal_lanes_1(const uint8_t *at, __m128i wanted)
{
    return _mm_cmpeq_epi8(load(at), wanted);
}

static __m128i equal_lanes_2(const uint16_t *at, __m128i wanted)
{
    return _mm_cmpeq_epi16(load(at), wanted);
}

static __m128i equal_lanes_4(const uint32_t *at, __m128i wanted)
{
    return _mm_cmpeq_epi32(load(at), wanted);
}

/* Unsigned code - low <= span, in what SSE2 has: a minimum of bytes, a saturating difference, a signed comparison. */
static __m128i range_lanes_1(const uint8_t *at, const __m128i *limits)
{
    __m128i shifted = _mm_sub_epi8(load(at), limits[0]);
    return _mm_cmpeq_epi8(_mm_min_epu8(shifted, limits[1]), shifted);
}

static __m128i range_lanes_2(const uint16_t *at, const __m128i *limits)
{
    __m128i shifted = _mm_sub_epi16(load(at), limits[0]);
    return _mm_cmpeq_epi16(_mm_subs_epu16(shifted, limits[1]), _mm_setzero_si128());
}

/* limits[1] is span + 1 with the sign bit turned; a span of all codes never gets here. */
static __m128i range_lanes_4(const uint32_t *at, const __m128i *limits)
{
    __m128i shifted = _mm_xor_si128(_mm_sub_epi32(load(at), limits[0]), _mm_set1_epi32(INT32_MIN));
    return _mm_cmplt_epi32(shifted, limits[1]);
}

static __m128i few_lanes_1(const uint8_t *at, const __m128i *few, unsigned count)
{
    __m128i found = equal_lanes_1(at, few[0]);
    for (unsigned i = 1; i < count; i++)
        found = _mm_or_si128(found, equal_lanes_1(at, few[i]));
    return found;
}

static __m128i few_lanes_2(const uint16_t *at, const __m128i *few, unsigned count)
{
    __m128i found = equal_lanes_2(at, few[0]);
    for (unsigned i = 1; i < count; i++)
        found = _mm_or_si128(found, equal_lanes_2(at, few[i]));
    return found;
}

static __m128i few_lanes_4(const uint32_t *at, const __m128i *few, unsigned count)
{
    __m128i found = equal_lanes_4(at, few[0]);
    for (unsigned i = 1; i < count; i++)
        found = _mm_or_si128(found, equal_lanes_4(at, few[i]));
    return found;
}

/* The 64 bits of 64 rows; `lanes(place)` gives the lanes of the vector that starts at that row. */
#define ROWS64_1(lanes) \
    (bits_of_8(lanes(0)) | bits_of_8(lanes(16)) << 16 | bits_of_8(lanes(32)) << 32 | bits_of_8(lanes(48)) << 48)
#define PART_2(lanes, row) (bits_of_16(lanes(row), lanes((row) + 8)) << (row))
#define ROWS64_2(lanes) (PART_2(lanes, 0) | PART_2(lanes, 16) | PART_2(lanes, 32) | PART_2(lanes, 48))
#define PART_4(lanes, row)                                                                                           \
    (bits_of_16(_mm_packs_epi32(lanes(row), lanes((row) + 4)), _mm_packs_epi32(lanes((row) + 8), lanes((row) + 12))) \
     << (row))
#define ROWS64_4(lanes) (PART_4(lanes, 0) | PART_4(lanes, 16) | PART_4(lanes, 32) | PART_4(lanes, 48))

#define EQUAL_1(row) equal_lanes_1(at + (row), wanted_code)
#define EQUAL_2(row) equal_lanes_2(at + (row), wanted_code)
#define EQUAL_4(row) equal_lanes_4(at + (row), wanted_code)
MST__PASS(equal_1, uint8_t, __m128i wanted_code = _mm_set1_epi8((char)test->low), ROWS64_1(EQUAL_1))
MST__PASS(equal_2, uint16_t, __m128i wanted_code = _mm_set1_epi16((short)test->low), ROWS64_2(EQUAL_2))
MST__PASS(equal_4, uint32_t, __m128i wanted_code = _mm_set1_epi32((int)test->low), ROWS64_4(EQUAL_4))

#define RANGE_1(row) range_lanes_1(at + (row), limits)
#define RANGE_2(row) range_lanes_2(at + (row), limits)
#define RANGE_4(row) range_lanes_4(at + (row), limits)
#define LIMITS(set, span) __m128i limits[2] = {set(test->low), set(span)}
MST__PASS(range_1, uint8_t, LIMITS(_mm_set1_epi8, test->high - test->low), ROWS64_1(RANGE_1))
MST__PASS(range_2, uint16_t, LIMITS(_mm_set1_epi16, test->high - test->low), ROWS64_2(RANGE_2))
MST__PASS(range_4, uint32_t, LIMITS(_mm_set1_epi32, (test->high - test->low + 1) ^ 0x80000000u), ROWS64_4(RANGE_4))

#define FEW_1(row) few_lanes_1(at + (row), few, count_few)
#define FEW_2(row) few_lanes_2(at + (row), few, count_few)
#define FEW_4(row) few_lanes_4(at + (row), few, count_few)
#define FEW_SETUP(set)                       \
    __m128i few[MST__FEW_CODES];             \
    unsigned count_few = test->few_count;    \
    for (unsigned i = 0; i < count_few; i++) \
    few[i] = set(test->few[i])
MST__PASS(few_1, uint8_t, FEW_SETUP(_mm_set1_epi8), ROWS64_1(FEW_1))
MST__PASS(few_2, uint16_t, FEW_SETUP(_mm_set1_epi16), ROWS64_2(FEW_2))
MST__PASS(few_4, uint32_t, FEW_SETUP(_mm_set1_epi32), ROWS64_4(FEW_4))

/* No shuffles by vector and no gathers in SSE2: larger sets, and what counts bits, are left to the scalar twins. */
static uint64_t match_member(const struct mst__test *test, uint64_t flip, const void *codes, const uint64_t *mask,
                             uint64_t *out, size_t words)
{
    return mst__kernels_scalar.member[test->width / 2](test, flip, codes, mask, out, words);
}

static uint64_t count_member(const struct mst__test *test, uint64_t flip, const void *codes, const uint64_t *mask,
                             size_t words)
{
    return mst__kernels_scalar.count_member[test->width / 2](test, flip, codes, mask, words);
}

static uint64_t popcount(const uint64_t *words, size_t count)
{
    return mst__kernels_scalar.popcount(words, count);
}

static uint32_t list(const uint64_t *words, size_t count, uint32_t base, uint32_t *rows)
{
    return mst__kernels_scalar.list(words, count, base, rows);
}

const struct mst__kernels mst__kernels_sse2 = {
    .name = "sse2",
    .equal = {match_equal_1, match_equal_2, match_equal_4},
    .range = {match_range_1, match_range_2, match_range_4},
    .few = {match_few_1, match_few_2, match_few_4},
    .member = {match_member, match_member, match_member},
    .count_equal = {count_equal_1, count_equal_2, count_equal_4},
    .count_range = {count_range_1, count_range_2, count_range_4},
    .count_few = {count_few_1, count_few_2, count_few_4},
    .count_member = {count_member, count_member, count_member},
    .popcount = popcount,
    .list = list,
};

#endif
