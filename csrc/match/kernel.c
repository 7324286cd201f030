// SPDX-License-Identifier: Apache-2.0
#include "match/kernel.h"

#include <stdlib.h>
#include <string.h>

#define MST__TARGET
#define MST__LOOKS_AT(width, wanted) (wanted)
#include "match/kernel_pass.h"

/* `holds` is an expression over `code`. */
#define LOOP64(type, holds)                       \
    ({                                            \
        uint64_t bits64 = 0;                      \
        for (unsigned row = 0; row < 64; row++) { \
            type code = at[row];                  \
            bits64 |= (uint64_t)(holds) << row;   \
        }                                         \
        bits64;                                   \
    })

#define SCALAR(width, type)                                                                                       \
    MST__PASS(equal_##width, type, type wanted_code = (type)test->low,                                            \
              __extension__ LOOP64(type, code == wanted_code))                                                    \
    MST__PASS(range_##width, type, type low = (type)test->low;                                                    \
              type span = (type)(test->high - test->low), __extension__ LOOP64(type, (type)(code - low) <= span)) \
    MST__PASS(member_##width, type, const uint8_t *table = test->table, __extension__ LOOP64(type, table[code] != 0))

SCALAR(1, uint8_t)
SCALAR(2, uint16_t)
SCALAR(4, uint32_t)

static uint64_t popcount(const uint64_t *words, size_t count)
{
    uint64_t found = 0;
    for (size_t i = 0; i < count; i++)
        found += (uint64_t)__builtin_popcountll(words[i]);
    return found;
}

static uint32_t list(const uint64_t *words, size_t count, uint32_t base, uint32_t *rows)
{
    uint32_t found = 0;
    for (size_t i = 0; i < count; i++, base += 64)
        for (uint64_t rest = words[i]; rest; rest &= rest - 1)
            rows[found++] = base + (uint32_t)__builtin_ctzll(rest);
    return found;
}

const struct mst__kernels mst__kernels_scalar = {
    .name = "scalar",
    .equal = {match_equal_1, match_equal_2, match_equal_4},
    .range = {match_range_1, match_range_2, match_range_4},
    .member = {match_member_1, match_member_2, match_member_4},
    .count_equal = {count_equal_1, count_equal_2, count_equal_4},
    .count_range = {count_range_1, count_range_2, count_range_4},
    .count_member = {count_member_1, count_member_2, count_member_4},
    .popcount = popcount,
    .list = list,
};

const struct mst__kernels *mst__kernels_find(const char *name)
{
    if (strcmp(name, "scalar") == 0)
        return &mst__kernels_scalar;
#ifdef __x86_64__
    if (strcmp(name, "sse2") == 0)
        return &mst__kernels_sse2;
    if (strcmp(name, "avx2") == 0 && __builtin_cpu_supports("avx2") && __builtin_cpu_supports("popcnt"))
        return &mst__kernels_avx2;
    if (strcmp(name, "avx512") == 0 && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
        __builtin_cpu_supports("avx512vbmi") && __builtin_cpu_supports("avx512vpopcntdq"))
        return &mst__kernels_avx512;
#endif
    return NULL;
}

const struct mst__kernels *mst__kernels_choose(void)
{
    static const char *const best_first[] = {"avx512", "avx2", "sse2"};
    const char *asked = getenv("MUSTER_KERNELS");
    const struct mst__kernels *found = asked ? mst__kernels_find(asked) : NULL;
    for (unsigned i = 0; !found && i < sizeof best_first / sizeof *best_first; i++)
        found = mst__kernels_find(best_first[i]);
    return found ? found : &mst__kernels_scalar;
}

/* ------------------------------------------------------------------------------------------------ tests */

struct survey {
    uint32_t count, first, last;
};

/* Which codes have this mark, those that do not occur left out; and whether codes with another lie between them. */
static struct survey survey(const uint8_t *table, uint32_t codes, uint8_t mark)
{
    struct survey found = {.first = UINT32_MAX};
    for (uint32_t code = 0; code <= codes; code++)
        if (table[code] == mark) {
            found.count++;
            found.first = found.first == UINT32_MAX ? code : found.first;
            found.last = code;
        }
    return found;
}

static bool is_run(const uint8_t *table, const struct survey *found, uint8_t other)
{
    return found->count && !memchr(table + found->first, other, found->last - found->first + 1);
}

static void list_few(struct mst__test *test, uint8_t mark, unsigned count)
{
    test->few_flip = mark ? 0 : ~UINT64_C(0);
    for (uint32_t code = 0; test->few_count < count; code++)
        if (test->table[code] == mark)
            test->few[test->few_count++] = code;
}

static void fill_bits(struct mst__test *test)
{
    for (uint32_t code = 0; test->width == 1 && code <= test->codes; code++)
        if (test->table[code])
            test->nibbles[(code & 15) + (code >= 128 ? 16 : 0)] |= (uint8_t)(1u << (code >> 4 & 7));
    for (uint32_t code = 0; test->width == 2 && test->codes < 1024 && code <= test->codes; code++)
        if (test->table[code])
            test->bits[code / 16] |= (uint16_t)(1u << code % 16);
}

static void make_member(struct mst__test *test, uint8_t *table, const struct survey *yes, const struct survey *no)
{
    test->kind = MST__TEST_MEMBER;
    test->table = table;
    if (yes->count <= MST__FEW_CODES)
        list_few(test, 0xff, yes->count);
    else if (no->count <= MST__FEW_CODES)
        list_few(test, 0, no->count);
    for (uint32_t code = 0; yes->count + no->count <= test->codes && code <= test->codes; code++)
        if (table[code] == 1)
            table[code] = 0;
    fill_bits(test);
}

uint32_t mst__test_make(struct mst__test *test, unsigned width, uint8_t *table, uint32_t codes)
{
    struct survey yes = survey(table, codes, 0xff), no = survey(table, codes, 0);
    *test = (struct mst__test){.kind = MST__TEST_NONE, .width = width, .codes = codes};
    if (yes.count == 0)
        return 0;
    if (no.count == 0) {
        test->kind = MST__TEST_ALL;
        return yes.count;
    }
    bool run = is_run(table, &yes, 0), other_run = is_run(table, &no, 0xff);
    if (!run && !other_run) {
        make_member(test, table, &yes, &no);
        return yes.count;
    }
    /* One code is cheaper to look for than several. */
    const struct survey *chosen = other_run && (!run || (no.count == 1 && yes.count > 1)) ? &no : &yes;
    test->kind = chosen->count == 1 ? MST__TEST_EQUAL : MST__TEST_RANGE;
    test->low = chosen->first;
    test->high = chosen->last;
    test->flip = chosen == &no ? ~UINT64_C(0) : 0;
    return yes.count;
}

static unsigned place_of(unsigned width)
{
    return width / 2; /* 1, 2, 4 to 0, 1, 2 */
}

static uint64_t copy_mask(const uint64_t *mask, uint64_t *out, size_t words)
{
    uint64_t any = 0;
    for (size_t i = 0; i < words; i++)
        any |= out[i] = mask[i];
    return any;
}

uint64_t mst__test_match(const struct mst__kernels *kernels, const struct mst__test *test, uint64_t flip,
                         const void *codes, const uint64_t *mask, uint64_t *out, size_t words)
{
    unsigned place = place_of(test->width);
    switch (test->kind) {
    case MST__TEST_EQUAL:
        return kernels->equal[place](test, flip ^ test->flip, codes, mask, out, words);
    case MST__TEST_RANGE:
        return kernels->range[place](test, flip ^ test->flip, codes, mask, out, words);
    case MST__TEST_MEMBER:
        if (test->few_count && kernels->few[place])
            return kernels->few[place](test, flip ^ test->few_flip, codes, mask, out, words);
        return kernels->member[place](test, flip, codes, mask, out, words);
    default:
        if ((test->kind == MST__TEST_ALL) != (flip != 0))
            return copy_mask(mask, out, words);
        memset(out, 0, words * sizeof *out);
        return 0;
    }
}

uint64_t mst__test_count(const struct mst__kernels *kernels, const struct mst__test *test, uint64_t flip,
                         const void *codes, const uint64_t *mask, size_t words)
{
    unsigned place = place_of(test->width);
    switch (test->kind) {
    case MST__TEST_EQUAL:
        return kernels->count_equal[place](test, flip ^ test->flip, codes, mask, words);
    case MST__TEST_RANGE:
        return kernels->count_range[place](test, flip ^ test->flip, codes, mask, words);
    case MST__TEST_MEMBER:
        if (test->few_count && kernels->count_few[place])
            return kernels->count_few[place](test, flip ^ test->few_flip, codes, mask, words);
        return kernels->count_member[place](test, flip, codes, mask, words);
    default:
        if ((test->kind == MST__TEST_ALL) == (flip != 0))
            return 0;
        return mask ? kernels->popcount(mask, words) : words * 64;
    }
}
