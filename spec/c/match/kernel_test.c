// SPDX-License-Identifier: Apache-2.0
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "match/kernel.h"

#include "random.h"

#define WORDS 9u
#define ROWS (WORDS * 64u)

static uint32_t code_at(const void *codes, unsigned width, unsigned row)
{
    if (width == 1)
        return ((const uint8_t *)codes)[row];
    return width == 2 ? ((const uint16_t *)codes)[row] : ((const uint32_t *)codes)[row];
}

static void fill(void *codes, unsigned width, uint32_t most, uint64_t *seed)
{
    for (unsigned row = 0; row < ROWS; row++) {
        uint32_t code = dice(seed, 4) ? dice(seed, 4) : dice(seed, most + 1);
        if (width == 1)
            ((uint8_t *)codes)[row] = (uint8_t)code;
        else if (width == 2)
            ((uint16_t *)codes)[row] = (uint16_t)code;
        else
            ((uint32_t *)codes)[row] = code;
    }
}

static void check(const uint64_t *out, const uint64_t *mask, const void *codes, unsigned width, const uint8_t *table)
{
    for (unsigned row = 0; row < ROWS; row++) {
        bool expected = (mask[row / 64] >> (row % 64) & 1) && table[code_at(codes, width, row)];
        assert_int_equal(out[row / 64] >> (row % 64) & 1, expected);
    }
}

static void test_kernels_against_a_loop(void **state)
{
    (void)state;
    static const uint32_t most[] = {0, 255, 65535, 0, 100000};
    uint8_t *table = malloc(100001);
    void *codes = malloc(ROWS * 4);
    uint64_t mask[WORDS], out[WORDS], seed = 5;
    for (unsigned round = 0; round < 300; round++) {
        unsigned width = 1u << round % 3;
        fill(codes, width, most[width], &seed);
        for (unsigned i = 0; i < WORDS; i++)
            mask[i] = dice(&seed, 3) ? (uint64_t)dice(&seed, 1u << 30) * UINT64_C(0x9e3779b97f4a7c15) : 0;
        uint32_t code = code_at(codes, width, dice(&seed, ROWS));
        memset(table, 0, 100001);
        table[code] = 1;
        mst__kernel_equal(codes, width, code, mask, out, WORDS);
        check(out, mask, codes, width, table);
        mst__kernel_equal_scalar(codes, width, code, mask, out, WORDS);
        check(out, mask, codes, width, table);
        for (uint32_t i = 0; i <= most[width]; i++)
            table[i] = (uint8_t)dice(&seed, 2);
        mst__kernel_member(codes, width, table, mask, out, WORDS);
        check(out, mask, codes, width, table);
        /* The result may replace the mask. */
        memcpy(out, mask, sizeof out);
        mst__kernel_member(codes, width, table, out, out, WORDS);
        check(out, mask, codes, width, table);
    }
    free(codes);
    free(table);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_kernels_against_a_loop)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
