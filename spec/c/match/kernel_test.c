// SPDX-License-Identifier: Apache-2.0
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "match/kernel.h"

#include "dice.h"

#define WORDS 9u
#define ROWS (WORDS * 64u)
#define CODES_MAX 100000u

static const char *const instructions[] = {"scalar", "sse2", "avx2", "avx512"};
#define INSTRUCTIONS (sizeof instructions / sizeof *instructions)

/* One random column piece and a set of its codes. */
struct sample {
    void *codes; /* exactly `words` * 64 of them, so that a sanitizer sees a pass that reads on */
    unsigned width, words;
    uint32_t most;
    uint8_t *marks; /* by code, as the caller of mst__test_make writes them */
    uint8_t *table; /* the same, given to it */
    uint64_t mask[WORDS];
};

static uint32_t code_at(const struct sample *s, unsigned row)
{
    if (s->width == 1)
        return ((const uint8_t *)s->codes)[row];
    return s->width == 2 ? ((const uint16_t *)s->codes)[row] : ((const uint32_t *)s->codes)[row];
}

static void set_code(struct sample *s, unsigned row, uint32_t code)
{
    if (s->width == 1)
        ((uint8_t *)s->codes)[row] = (uint8_t)code;
    else if (s->width == 2)
        ((uint16_t *)s->codes)[row] = (uint16_t)code;
    else
        ((uint32_t *)s->codes)[row] = code;
}

static uint32_t random_most(unsigned width, uint64_t *seed)
{
    static const uint32_t edges[3][6] = {
        {1, 3, 127, 128, 200, 255}, {2, 255, 256, 1023, 1024, 65535}, {2, 1023, 65535, 65536, 99999, CODES_MAX}};
    return edges[width / 2][dice(seed, 6)];
}

/* Sets that become each of the forms: none, all, one, all but one, ranges, few, many. */
static void mark_codes(struct sample *s, uint64_t *seed)
{
    uint32_t low = dice(seed, s->most + 1), high = low + dice(seed, s->most + 1 - low);
    unsigned shape = dice(seed, 8);
    uint8_t inside = dice(seed, 2) ? 0xff : 0, outside = inside ? 0 : 0xff;
    for (uint32_t code = 0; code <= s->most; code++) {
        bool in = shape == 0   ? false
                  : shape == 1 ? code == low
                  : shape <= 3 ? code >= low && code <= high
                  : shape == 4 ? code == low || code == high || code == (low + high) / 2
                               : dice(seed, 2);
        s->marks[code] = in ? inside : outside;
        if (shape != 7 && dice(seed, 9) == 0)
            s->marks[code] = 1; /* does not occur */
    }
}

static void sample_init(struct sample *s, unsigned width, uint64_t *seed)
{
    *s = (struct sample){.width = width, .words = 1 + dice(seed, WORDS), .most = random_most(width, seed)};
    s->codes = malloc((size_t)s->words * 64 * width);
    size_t size = s->most + 1 < MST__TABLE_LEAST ? MST__TABLE_LEAST : s->most + 1;
    s->marks = calloc(1, size);
    s->table = calloc(1, size + MST__TABLE_SPARE);
    assert_true(s->codes && s->marks && s->table);
    mark_codes(s, seed);
    for (unsigned row = 0; row < s->words * 64; row++) {
        uint32_t code = dice(seed, 3) ? dice(seed, s->most + 1) : dice(seed, s->most < 4 ? s->most + 1 : 4);
        while (code < s->most && s->marks[code] == 1)
            code++;
        if (s->marks[code] == 1)
            s->marks[code] = 0;
        set_code(s, row, code);
    }
    for (unsigned i = 0; i < s->words; i++) {
        uint64_t random = (uint64_t)dice(seed, 1u << 30) * UINT64_C(0x9e3779b97f4a7c15);
        s->mask[i] = dice(seed, 4) == 0 ? 0 : dice(seed, 3) == 0 ? ~UINT64_C(0) : random;
    }
    memcpy(s->table, s->marks, s->most + 1);
}

static void sample_deinit(struct sample *s)
{
    free(s->codes);
    free(s->marks);
    free(s->table);
}

static void check_bits(const struct sample *s, const uint64_t *out, uint64_t flip, const char *name)
{
    for (unsigned row = 0; row < s->words * 64; row++) {
        bool marked = s->marks[code_at(s, row)] == 0xff;
        bool expected = (s->mask[row / 64] >> (row % 64) & 1) && marked != (flip != 0);
        if ((out[row / 64] >> (row % 64) & 1) != expected)
            fail_msg("%s, width %u, row %u of code %u (%u codes): not %d", name, s->width, row, code_at(s, row),
                     s->most, expected);
    }
}

static void check_test(const struct sample *s, const struct mst__kernels *kernels, const struct mst__test *test,
                       uint64_t flip)
{
    uint64_t out[WORDS], all = 0, expected = 0;
    uint64_t any = mst__test_match(kernels, test, flip, s->codes, s->mask, out, s->words);
    check_bits(s, out, flip, kernels->name);
    for (unsigned i = 0; i < s->words; i++) {
        all |= out[i];
        expected += (uint64_t)__builtin_popcountll(out[i]);
    }
    assert_int_equal(any != 0, all != 0);
    assert_int_equal(mst__test_count(kernels, test, flip, s->codes, s->mask, s->words), expected);
    assert_int_equal(kernels->popcount(out, s->words), expected);
    /* The result may replace the mask. */
    memcpy(out, s->mask, sizeof out);
    mst__test_match(kernels, test, flip, s->codes, out, out, s->words);
    check_bits(s, out, flip, kernels->name);
    expected = 0;
    for (unsigned row = 0; row < s->words * 64; row++)
        expected += (s->marks[code_at(s, row)] == 0xff) != (flip != 0);
    assert_int_equal(mst__test_count(kernels, test, flip, s->codes, NULL, s->words), expected);
}

static void test_passes_of_all_instructions_agree_with_a_loop(void **state)
{
    (void)state;
    unsigned kinds[5] = {0}, few = 0, seen = 0;
    uint64_t seed = 5;
    for (unsigned round = 0; round < 1200; round++) {
        struct sample s;
        struct mst__test test;
        sample_init(&s, 1u << round % 3, &seed);
        mst__test_make(&test, s.width, s.table, s.most);
        kinds[test.kind]++;
        few += test.few_count > 0;
        for (unsigned i = 0; i < INSTRUCTIONS; i++) {
            const struct mst__kernels *kernels = mst__kernels_find(instructions[i]);
            if (!kernels)
                continue;
            seen |= 1u << i;
            check_test(&s, kernels, &test, 0);
            check_test(&s, kernels, &test, ~UINT64_C(0));
        }
        sample_deinit(&s);
    }
    for (unsigned i = 0; i < 5; i++)
        assert_true(kinds[i] > 20);
    assert_true(few > 20 && few < kinds[MST__TEST_MEMBER]);
    assert_true(seen & 1);
    for (unsigned i = 0; i < INSTRUCTIONS; i++)
        if (!(seen >> i & 1))
            print_message("%s: not on this processor\n", instructions[i]);
}

static void test_lists_of_rows(void **state)
{
    (void)state;
    uint64_t seed = 6;
    for (unsigned round = 0; round < 200; round++) {
        uint64_t words[WORDS];
        uint32_t expected[ROWS], count = 0, *rows = malloc((ROWS + 16) * sizeof *rows);
        assert_non_null(rows);
        for (unsigned i = 0; i < WORDS; i++) {
            words[i] = dice(&seed, 3) ? (uint64_t)dice(&seed, 1u << 30) * UINT64_C(0x9e3779b97f4a7c15) : 0;
            for (unsigned bit = 0; bit < 64; bit++)
                if (words[i] >> bit & 1)
                    expected[count++] = 640 + i * 64 + bit;
        }
        for (unsigned i = 0; i < INSTRUCTIONS; i++) {
            const struct mst__kernels *kernels = mst__kernels_find(instructions[i]);
            if (!kernels)
                continue;
            assert_int_equal(kernels->list(words, WORDS, 640, rows), count);
            assert_memory_equal(rows, expected, count * sizeof *rows);
        }
        free(rows);
    }
}

static void test_choice_by_environment(void **state)
{
    (void)state;
    unsetenv("MUSTER_KERNELS");
    const struct mst__kernels *best = mst__kernels_choose();
    for (unsigned i = 0; i < INSTRUCTIONS; i++) {
        setenv("MUSTER_KERNELS", instructions[i], 1);
        const struct mst__kernels *found = mst__kernels_find(instructions[i]);
        assert_ptr_equal(mst__kernels_choose(), found ? found : best);
    }
    setenv("MUSTER_KERNELS", "avx1024", 1);
    assert_ptr_equal(mst__kernels_choose(), best);
    unsetenv("MUSTER_KERNELS");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_passes_of_all_instructions_agree_with_a_loop),
        cmocka_unit_test(test_lists_of_rows),
        cmocka_unit_test(test_choice_by_environment),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
