// SPDX-License-Identifier: Apache-2.0
#ifdef __x86_64__

#include <immintrin.h>

#include "match/kernel.h"

#define MST__TARGET __attribute__((target("avx2,bmi,popcnt")))
#define INLINE static inline MST__TARGET __attribute__((always_inline))
#define MST__LOOKS_AT(width, wanted) ((width) == 1 || (wanted))
#include "match/kernel_pass.h"

/* 32 lanes of all ones or zeros become 32 bits. The packs work on halves of 128 bits: quarters are put in order again.
 */
INLINE uint64_t bits_of_8(__m256i lanes)
{
    return (uint32_t)_mm256_movemask_epi8(lanes);
}

INLINE uint64_t bits_of_16(__m256i low, __m256i high)
{
    return bits_of_8(_mm256_permute4x64_epi64(_mm256_packs_epi16(low, high), 0xd8));
}

INLINE uint64_t bits_of_32(__m256i lanes)
{
    return (uint32_t)_mm256_movemask_ps(_mm256_castsi256_ps(lanes));
}

INLINE __m256i load(const void *at)
{
    return _mm256_loadu_si256(at);
}

INLINE uint64_t equal_1(const uint8_t *at, __m256i wanted)
{
    return bits_of_8(_mm256_cmpeq_epi8(load(at), wanted));
}

INLINE uint64_t equal_2(const uint16_t *at, __m256i wanted)
{
    return bits_of_16(_mm256_cmpeq_epi16(load(at), wanted), _mm256_cmpeq_epi16(load(at + 16), wanted));
}

INLINE uint64_t equal_4(const uint32_t *at, __m256i wanted)
{
    uint64_t bits = 0;
    for (unsigned i = 0; i < 4; i++)
        bits |= bits_of_32(_mm256_cmpeq_epi32(load(at + 8 * i), wanted)) << (8 * i);
    return bits;
}

/* Unsigned code - low <= span: the smaller of the two is the difference itself. */
INLINE uint64_t range_1(const uint8_t *at, __m256i low, __m256i span)
{
    __m256i shifted = _mm256_sub_epi8(load(at), low);
    return bits_of_8(_mm256_cmpeq_epi8(_mm256_min_epu8(shifted, span), shifted));
}

INLINE __m256i range_lanes_2(const uint16_t *at, __m256i low, __m256i span)
{
    __m256i shifted = _mm256_sub_epi16(load(at), low);
    return _mm256_cmpeq_epi16(_mm256_min_epu16(shifted, span), shifted);
}

INLINE uint64_t range_2(const uint16_t *at, __m256i low, __m256i span)
{
    return bits_of_16(range_lanes_2(at, low, span), range_lanes_2(at + 16, low, span));
}

INLINE uint64_t range_4(const uint32_t *at, __m256i low, __m256i span)
{
    uint64_t bits = 0;
    for (unsigned i = 0; i < 4; i++) {
        __m256i shifted = _mm256_sub_epi32(load(at + 8 * i), low);
        bits |= bits_of_32(_mm256_cmpeq_epi32(_mm256_min_epu32(shifted, span), shifted)) << (8 * i);
    }
    return bits;
}

INLINE __m256i few_lanes_2(const uint16_t *at, const __m256i *few, unsigned count)
{
    __m256i codes = load(at), found = _mm256_cmpeq_epi16(codes, few[0]);
    for (unsigned i = 1; i < count; i++)
        found = _mm256_or_si256(found, _mm256_cmpeq_epi16(codes, few[i]));
    return found;
}

INLINE uint64_t few_2(const uint16_t *at, const __m256i *few, unsigned count)
{
    return bits_of_16(few_lanes_2(at, few, count), few_lanes_2(at + 16, few, count));
}

INLINE uint64_t few_4(const uint32_t *at, const __m256i *few, unsigned count)
{
    uint64_t bits = 0;
    for (unsigned part = 0; part < 4; part++) {
        __m256i codes = load(at + 8 * part), found = _mm256_cmpeq_epi32(codes, few[0]);
        for (unsigned i = 1; i < count; i++)
            found = _mm256_or_si256(found, _mm256_cmpeq_epi32(codes, few[i]));
        bits |= bits_of_32(found) << (8 * part);
    }
    return bits;
}

/* Two shuffles fetch the bits of all codes with this low half, the third the bit of the high half among them. */
INLINE uint64_t member_1(const uint8_t *at, __m256i below, __m256i above)
{
    const __m256i places = _mm256_setr_epi8(1, 2, 4, 8, 16, 32, 64, -128, 1, 2, 4, 8, 16, 32, 64, -128, 1, 2, 4, 8, 16,
                                            32, 64, -128, 1, 2, 4, 8, 16, 32, 64, -128);
    const __m256i half = _mm256_set1_epi8(15);
    __m256i codes = load(at), low = _mm256_and_si256(codes, half);
    __m256i high = _mm256_and_si256(_mm256_srli_epi16(codes, 4), half);
    __m256i row = _mm256_blendv_epi8(_mm256_shuffle_epi8(below, low), _mm256_shuffle_epi8(above, low), codes);
    __m256i bit = _mm256_shuffle_epi8(places, high);
    return bits_of_8(_mm256_cmpeq_epi8(_mm256_and_si256(row, bit), bit));
}

INLINE uint64_t gather_8(const uint8_t *table, __m256i codes)
{
    __m256i bytes = _mm256_i32gather_epi32((const int *)(const void *)table, codes, 1);
    return bits_of_32(_mm256_slli_epi32(bytes, 24));
}

INLINE uint64_t member_2(const uint16_t *at, const uint8_t *table)
{
    uint64_t bits = 0;
    for (unsigned i = 0; i < 4; i++) {
        __m256i codes = _mm256_cvtepu16_epi32(_mm_loadu_si128((const void *)(at + 8 * i)));
        bits |= gather_8(table, codes) << (8 * i);
    }
    return bits;
}

INLINE uint64_t member_4(const uint32_t *at, const uint8_t *table)
{
    uint64_t bits = 0;
    for (unsigned i = 0; i < 4; i++)
        bits |= gather_8(table, load(at + 8 * i)) << (8 * i);
    return bits;
}

INLINE __m256i twice(const uint8_t *sixteen)
{
    return _mm256_broadcastsi128_si256(_mm_loadu_si128((const void *)sixteen));
}

#define TWO(half, ...) (half(at, __VA_ARGS__) | half(at + 32, __VA_ARGS__) << 32)

MST__PASS(equal_1, uint8_t, __m256i code = _mm256_set1_epi8((char)test->low), TWO(equal_1, code))
MST__PASS(equal_2, uint16_t, __m256i code = _mm256_set1_epi16((short)test->low), TWO(equal_2, code))
MST__PASS(equal_4, uint32_t, __m256i code = _mm256_set1_epi32((int)test->low), TWO(equal_4, code))

#define LIMITS(set) __m256i low = set(test->low), span = set(test->high - test->low)
MST__PASS(range_1, uint8_t, LIMITS(_mm256_set1_epi8), TWO(range_1, low, span))
MST__PASS(range_2, uint16_t, LIMITS(_mm256_set1_epi16), TWO(range_2, low, span))
MST__PASS(range_4, uint32_t, LIMITS(_mm256_set1_epi32), TWO(range_4, low, span))

#define FEW(set)                             \
    __m256i few[MST__FEW_CODES];             \
    unsigned few_count = test->few_count;    \
    for (unsigned i = 0; i < few_count; i++) \
    few[i] = set(test->few[i])
MST__PASS(few_2, uint16_t, FEW(_mm256_set1_epi16), TWO(few_2, few, few_count))
MST__PASS(few_4, uint32_t, FEW(_mm256_set1_epi32), TWO(few_4, few, few_count))

MST__PASS(member_1, uint8_t, __m256i below = twice(test->nibbles);
          __m256i above = twice(test->nibbles + 16), TWO(member_1, below, above))
MST__PASS(member_2, uint16_t, const uint8_t *table = test->table, TWO(member_2, table))
MST__PASS(member_4, uint32_t, const uint8_t *table = test->table, TWO(member_4, table))

static MST__TARGET uint64_t popcount(const uint64_t *words, size_t count)
{
    uint64_t found = 0;
    for (size_t i = 0; i < count; i++)
        found += (uint64_t)__builtin_popcountll(words[i]);
    return found;
}

static MST__TARGET uint32_t list(const uint64_t *words, size_t count, uint32_t base, uint32_t *rows)
{
    uint32_t found = 0;
    for (size_t i = 0; i < count; i++, base += 64)
        for (uint64_t rest = words[i]; rest; rest &= rest - 1)
            rows[found++] = base + (uint32_t)__builtin_ctzll(rest);
    return found;
}

const struct mst__kernels mst__kernels_avx2 = {
    .name = "avx2",
    .equal = {match_equal_1, match_equal_2, match_equal_4},
    .range = {match_range_1, match_range_2, match_range_4},
    .few = {NULL, match_few_2, match_few_4},
    .member = {match_member_1, match_member_2, match_member_4},
    .count_equal = {count_equal_1, count_equal_2, count_equal_4},
    .count_range = {count_range_1, count_range_2, count_range_4},
    .count_few = {NULL, count_few_2, count_few_4},
    .count_member = {count_member_1, count_member_2, count_member_4},
    .popcount = popcount,
    .list = list,
};

#endif
