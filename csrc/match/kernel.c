// SPDX-License-Identifier: Apache-2.0
#include "match/kernel.h"

#ifdef __SSE2__
#include <emmintrin.h>
#endif

#define ROWS 64u /* of one word */

/* One loop per width, so that the compiler sees the type of the codes. `test` is an expression over `code_at`. */
#define PASS(type, test)                                            \
    for (unsigned word = 0; word < words; word++) {                 \
        const type *at = (const type *)codes + (size_t)word * ROWS; \
        uint64_t bits = 0;                                          \
        if (mask[word])                                             \
            for (unsigned row = 0; row < ROWS; row++) {             \
                type code_at = at[row];                             \
                bits |= (uint64_t)(test) << row;                    \
            }                                                       \
        out[word] = bits & mask[word];                              \
    }

void mst__kernel_equal_scalar(const void *codes, unsigned width, uint32_t code, const uint64_t *mask, uint64_t *out,
                              unsigned words)
{
    if (width == 1)
        PASS(uint8_t, code_at == code)
    else if (width == 2)
        PASS(uint16_t, code_at == code)
    else
        PASS(uint32_t, code_at == code)
}

void mst__kernel_member(const void *codes, unsigned width, const uint8_t *table, const uint64_t *mask, uint64_t *out,
                        unsigned words)
{
    if (width == 1)
        PASS(uint8_t, table[code_at] != 0)
    else if (width == 2)
        PASS(uint16_t, table[code_at] != 0)
    else
        PASS(uint32_t, table[code_at] != 0)
}

#ifdef __SSE2__

/* 16 rows to 16 bits; the packs narrow a comparison's all-ones lanes down to bytes. */
static uint64_t equal16_u8(const uint8_t *at, __m128i wanted)
{
    __m128i found = _mm_cmpeq_epi8(_mm_loadu_si128((const __m128i *)at), wanted);
    return (uint32_t)_mm_movemask_epi8(found);
}

static uint64_t equal16_u16(const uint16_t *at, __m128i wanted)
{
    __m128i low = _mm_cmpeq_epi16(_mm_loadu_si128((const __m128i *)at), wanted);
    __m128i high = _mm_cmpeq_epi16(_mm_loadu_si128((const __m128i *)(at + 8)), wanted);
    return (uint32_t)_mm_movemask_epi8(_mm_packs_epi16(low, high));
}

static uint64_t equal16_u32(const uint32_t *at, __m128i wanted)
{
    __m128i found[4];
    for (unsigned i = 0; i < 4; i++)
        found[i] = _mm_cmpeq_epi32(_mm_loadu_si128((const __m128i *)(at + 4 * i)), wanted);
    __m128i low = _mm_packs_epi32(found[0], found[1]), high = _mm_packs_epi32(found[2], found[3]);
    return (uint32_t)_mm_movemask_epi8(_mm_packs_epi16(low, high));
}

#define PASS16(type, equal16)                                           \
    for (unsigned word = 0; word < words; word++) {                     \
        const type *at = (const type *)codes + (size_t)word * ROWS;     \
        uint64_t bits = 0;                                              \
        if (mask[word])                                                 \
            for (unsigned part = 0; part < 4; part++)                   \
                bits |= equal16(at + 16 * part, wanted) << (16 * part); \
        out[word] = bits & mask[word];                                  \
    }

void mst__kernel_equal(const void *codes, unsigned width, uint32_t code, const uint64_t *mask, uint64_t *out,
                       unsigned words)
{
    __m128i wanted = width == 1   ? _mm_set1_epi8((char)code)
                     : width == 2 ? _mm_set1_epi16((short)code)
                                  : _mm_set1_epi32((int)code);
    if (width == 1)
        PASS16(uint8_t, equal16_u8)
    else if (width == 2)
        PASS16(uint16_t, equal16_u16)
    else
        PASS16(uint32_t, equal16_u32)
}

#else

void mst__kernel_equal(const void *codes, unsigned width, uint32_t code, const uint64_t *mask, uint64_t *out,
                       unsigned words)
{
    mst__kernel_equal_scalar(codes, width, code, mask, out, words);
}

#endif
