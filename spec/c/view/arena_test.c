// SPDX-License-Identifier: Apache-2.0
/* The arena: pieces never overlap, whatever sizes are mixed, and nothing is cut that a chunk does not have. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "view/internal.h"

enum { PIECES = 4000, ROUNDS = 60000, GRAIN = 16 };

struct taken {
    unsigned char *memory;
    size_t size;
    unsigned char mark;
};

static uint32_t dice(uint64_t *seed, uint32_t sides)
{
    *seed = *seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (uint32_t)((*seed >> 33) % sides);
}

static void check(const struct taken *taken)
{
    for (size_t i = 0; i < taken->size; i++)
        assert_int_equal(taken->memory[i], taken->mark);
}

/* Big pieces of odd sizes between small ones: what is held is then no multiple of anything. */
static void pieces_stay_what_they_were(void **state)
{
    (void)state;
    struct mst__arena arena = {0};
    struct taken *pieces = calloc(PIECES, sizeof *pieces);
    uint64_t seed = 7;
    for (int round = 0; round < ROUNDS; round++) {
        struct taken *taken = &pieces[dice(&seed, PIECES)];
        if (taken->memory) {
            check(taken);
            mst__arena_give(&arena, taken->memory, taken->size);
        }
        taken->size = dice(&seed, 50) == 0 ? 2049 + dice(&seed, 9000) : 1 + dice(&seed, 400);
        taken->memory = mst__arena_take(&arena, taken->size);
        taken->mark = (unsigned char)round;
        assert_non_null(taken->memory);
        assert_int_equal((uintptr_t)arena.end % GRAIN, 0);
        assert_int_equal((uintptr_t)arena.at % GRAIN, 0);
        memset(taken->memory, taken->mark, taken->size);
    }
    for (int i = 0; i < PIECES; i++)
        if (pieces[i].memory)
            check(&pieces[i]);
    mst__arena_deinit(&arena);
    free(pieces);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pieces_stay_what_they_were),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
