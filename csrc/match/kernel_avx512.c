// SPDX-License-Identifier: Apache-2.0
#ifdef __x86_64__

#include <immintrin.h>

#include "match/kernel.h"

#define MST__TARGET __attribute__((target("avx512f,avx512bw,avx512vl,avx512vbmi,avx512vpopcntdq,bmi,popcnt")))
#define INLINE static inline MST__TARGET __attribute__((always_inline))
#define MST__LOOKS_AT(width, wanted) ((width) == 1 || (wanted))
#include "match/kernel_pass.h"

INLINE __m512i load(const void *at)
{
    return _mm512_loadu_si512(at);
}

INLINE uint64_t equal_1(const uint8_t *at, __m512i wanted)
{
    return _mm512_cmpeq_epi8_mask(load(at), wanted);
}

INLINE __mmask32 equal_2(const uint16_t *at, __m512i wanted)
{
    return _mm512_cmpeq_epi16_mask(load(at), wanted);
}

INLINE __mmask16 equal_4(const uint32_t *at, __m512i wanted)
{
    return _mm512_cmpeq_epi32_mask(load(at), wanted);
}

INLINE uint64_t range_1(const uint8_t *at, __m512i low, __m512i span)
{
    return _mm512_cmple_epu8_mask(_mm512_sub_epi8(load(at), low), span);
}

INLINE __mmask32 range_2(const uint16_t *at, __m512i low, __m512i span)
{
    return _mm512_cmple_epu16_mask(_mm512_sub_epi16(load(at), low), span);
}

INLINE __mmask16 range_4(const uint32_t *at, __m512i low, __m512i span)
{
    return _mm512_cmple_epu32_mask(_mm512_sub_epi32(load(at), low), span);
}

/* Each permutation fetches from 128 bytes of the table by the low seven bits; the code's top bit chooses between them.
 */
INLINE uint64_t member_1(const uint8_t *at, const __m512i *table)
{
    __m512i codes = load(at);
    __m512i below = _mm512_permutex2var_epi8(table[0], codes, table[1]);
    __m512i above = _mm512_permutex2var_epi8(table[2], codes, table[3]);
    return _mm512_movepi8_mask(_mm512_mask_blend_epi8(_mm512_movepi8_mask(codes), below, above));
}

INLINE __mmask16 gather_16(const uint8_t *table, __m512i codes)
{
    __m512i bytes = _mm512_i32gather_epi32(codes, table, 1);
    return _mm512_test_epi32_mask(bytes, _mm512_set1_epi32(0xff));
}

/* Sets of codes below 1024 are 1024 bits in two registers: a permutation fetches the code's 16, a shift its one. */
INLINE __mmask32 small_member_2(const uint16_t *at, const __m512i *bits)
{
    __m512i codes = load(at);
    __m512i word = _mm512_permutex2var_epi16(bits[0], _mm512_srli_epi16(codes, 4), bits[1]);
    __m512i place = _mm512_andnot_si512(codes, _mm512_set1_epi16(15));
    return _mm512_movepi16_mask(_mm512_sllv_epi16(word, place));
}

INLINE __mmask32 large_member_2(const uint16_t *at, const uint8_t *table)
{
    __m512i low = _mm512_cvtepu16_epi32(_mm256_loadu_si256((const void *)at));
    __m512i high = _mm512_cvtepu16_epi32(_mm256_loadu_si256((const void *)(at + 16)));
    return _mm512_kunpackw(gather_16(table, high), gather_16(table, low));
}

INLINE __mmask16 member_4(const uint32_t *at, const uint8_t *table)
{
    return gather_16(table, load(at));
}

INLINE __mmask32 few_2(const uint16_t *at, const __m512i *few, unsigned count)
{
    __m512i codes = load(at);
    __mmask32 found = 0;
    for (unsigned i = 0; i < count; i++)
        found |= _mm512_cmpeq_epi16_mask(codes, few[i]);
    return found;
}

INLINE __mmask16 few_4(const uint32_t *at, const __m512i *few, unsigned count)
{
    __m512i codes = load(at);
    __mmask16 found = 0;
    for (unsigned i = 0; i < count; i++)
        found |= _mm512_cmpeq_epi32_mask(codes, few[i]);
    return found;
}

/*
 * Masks are put together by unpacking, which looks at the low halves only: GCC 12 spills a mask of 16 bits to two bytes
 * of the stack and may read eight back where it is shifted as a wider number.
 */
#define TWO(half, ...) _mm512_kunpackd(half(at + 32, __VA_ARGS__), half(at, __VA_ARGS__))
#define FOUR(part, ...)                                                                      \
    _mm512_kunpackd(_mm512_kunpackw(part(at + 48, __VA_ARGS__), part(at + 32, __VA_ARGS__)), \
                    _mm512_kunpackw(part(at + 16, __VA_ARGS__), part(at, __VA_ARGS__)))

MST__PASS(equal_1, uint8_t, __m512i code = _mm512_set1_epi8((char)test->low), equal_1(at, code))
MST__PASS(equal_2, uint16_t, __m512i code = _mm512_set1_epi16((short)test->low), TWO(equal_2, code))
MST__PASS(equal_4, uint32_t, __m512i code = _mm512_set1_epi32((int)test->low), FOUR(equal_4, code))

#define LIMITS(set) __m512i low = set(test->low), span = set(test->high - test->low)
MST__PASS(range_1, uint8_t, LIMITS(_mm512_set1_epi8), range_1(at, low, span))
MST__PASS(range_2, uint16_t, LIMITS(_mm512_set1_epi16), TWO(range_2, low, span))
MST__PASS(range_4, uint32_t, LIMITS(_mm512_set1_epi32), FOUR(range_4, low, span))

#define TABLE_1 \
    __m512i table[4] = {load(test->table), load(test->table + 64), load(test->table + 128), load(test->table + 192)}
#define BITS_2 __m512i bits[2] = {load(test->bits), load(test->bits + 32)}
MST__PASS(member_1, uint8_t, TABLE_1, member_1(at, table))
MST__PASS(small_member_2, uint16_t, BITS_2, TWO(small_member_2, bits))
MST__PASS(large_member_2, uint16_t, const uint8_t *table = test->table, TWO(large_member_2, table))
MST__PASS(member_4, uint32_t, const uint8_t *table = test->table, FOUR(member_4, table))

#define FEW(set)                             \
    __m512i few[MST__FEW_CODES];             \
    unsigned few_count = test->few_count;    \
    for (unsigned i = 0; i < few_count; i++) \
    few[i] = set(test->few[i])
MST__PASS(large_few_2, uint16_t, FEW(_mm512_set1_epi16), TWO(few_2, few, few_count))
MST__PASS(few_4, uint32_t, FEW(_mm512_set1_epi32), FOUR(few_4, few, few_count))

static uint64_t match_member_2(const struct mst__test *test, uint64_t flip, const void *codes, const uint64_t *mask,
                               uint64_t *out, size_t words)
{
    return (test->codes < 1024 ? match_small_member_2 : match_large_member_2)(test, flip, codes, mask, out, words);
}

static uint64_t count_member_2(const struct mst__test *test, uint64_t flip, const void *codes, const uint64_t *mask,
                               size_t words)
{
    return (test->codes < 1024 ? count_small_member_2 : count_large_member_2)(test, flip, codes, mask, words);
}

static MST__TARGET uint64_t popcount(const uint64_t *words, size_t count)
{
    __m512i sum = _mm512_setzero_si512();
    size_t i = 0;
    for (; i + 8 <= count; i += 8)
        sum = _mm512_add_epi64(sum, _mm512_popcnt_epi64(load(words + i)));
    uint64_t found = (uint64_t)_mm512_reduce_add_epi64(sum);
    for (; i < count; i++)
        found += (uint64_t)__builtin_popcountll(words[i]);
    return found;
}

static MST__TARGET uint32_t list(const uint64_t *words, size_t count, uint32_t base, uint32_t *rows)
{
    const __m512i step = _mm512_set1_epi32(16);
    __m512i numbers = _mm512_add_epi32(_mm512_set1_epi32((int)base),
                                       _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15));
    uint32_t found = 0;
    for (size_t i = 0; i < count; i++) {
        if (!words[i]) {
            numbers = _mm512_add_epi32(numbers, _mm512_set1_epi32(64));
            continue;
        }
        for (uint64_t rest = words[i], part = 0; part < 4; part++, rest >>= 16) {
            /* Compressing into a register and storing all of it: a compressing store is slow on some processors. */
            _mm512_storeu_si512(rows + found, _mm512_maskz_compress_epi32((__mmask16)rest, numbers));
            found += (uint32_t)__builtin_popcountll(rest & 0xffff);
            numbers = _mm512_add_epi32(numbers, step);
        }
    }
    return found;
}

const struct mst__kernels mst__kernels_avx512 = {
    .name = "avx512",
    .equal = {match_equal_1, match_equal_2, match_equal_4},
    .range = {match_range_1, match_range_2, match_range_4},
    .few = {NULL, match_large_few_2, match_few_4},
    .member = {match_member_1, match_member_2, match_member_4},
    .count_equal = {count_equal_1, count_equal_2, count_equal_4},
    .count_range = {count_range_1, count_range_2, count_range_4},
    .count_few = {NULL, count_large_few_2, count_few_4},
    .count_member = {count_member_1, count_member_2, count_member_4},
    .popcount = popcount,
    .list = list,
};

#endif
