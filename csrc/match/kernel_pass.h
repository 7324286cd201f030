// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The loop around a kernel, for the kernel_*.c files. `bits` is an expression for the 64 bits of the rows at `at`
 * (`const type *`); `setup` declares what stays the same over the rows. MST__TARGET names the instructions. Words whose
 * mask is empty need no look, and behind a selective clause most are; MST__LOOKS_AT says where a look costs less than a
 * branch that goes wrong.
 */
#include <stddef.h>
#include <stdint.h>

#define MST__AHEAD_ROWS 4096u /* a block of the evaluation (eval.h) */

/*
 * Asks for the codes of the next block. Clauses take turns within a block, and a block of a column of 8-bit codes is
 * just a page: the processor's own prefetching would begin anew with each.
 */
static inline __attribute__((always_inline)) void mst__fetch_ahead(const void *codes, size_t width)
{
    for (size_t line = 0; line < width; line++)
        __builtin_prefetch((const void *)((uintptr_t)codes + MST__AHEAD_ROWS * width + line * 64));
}

#define MST__PASS(name, type, setup, bits)                                                                   \
    static MST__TARGET uint64_t match_##name(const struct mst__test *test, uint64_t flip, const void *codes, \
                                             const uint64_t *mask, uint64_t *out, size_t words)              \
    {                                                                                                        \
        const type *at = codes;                                                                              \
        uint64_t any = 0;                                                                                    \
        setup;                                                                                               \
        for (size_t word = 0; word < words; word++, at += 64) {                                              \
            uint64_t wanted = mask[word], found = 0;                                                         \
            if (MST__LOOKS_AT(sizeof *at, wanted)) {                                                         \
                mst__fetch_ahead(at, sizeof *at);                                                            \
                found = ((bits) ^ flip) & wanted;                                                            \
            }                                                                                                \
            out[word] = found;                                                                               \
            any |= found;                                                                                    \
        }                                                                                                    \
        return any;                                                                                          \
    }                                                                                                        \
    static MST__TARGET uint64_t count_##name(const struct mst__test *test, uint64_t flip, const void *codes, \
                                             const uint64_t *mask, size_t words)                             \
    {                                                                                                        \
        const type *at = codes;                                                                              \
        uint64_t count = 0;                                                                                  \
        setup;                                                                                               \
        if (!mask) {                                                                                         \
            for (size_t word = 0; word < words; word++, at += 64)                                            \
                count += (uint64_t)__builtin_popcountll((bits) ^ flip);                                      \
            return count;                                                                                    \
        }                                                                                                    \
        for (size_t word = 0; word < words; word++, at += 64)                                                \
            count += (uint64_t)__builtin_popcountll(((bits) ^ flip) & mask[word]);                           \
        return count;                                                                                        \
    }
