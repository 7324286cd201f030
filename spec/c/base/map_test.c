// SPDX-License-Identifier: Apache-2.0
#include "base/map.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define KEYS 6000u

static void an_empty_map_finds_nothing(void **state)
{
    (void)state;
    struct mst_map *map = mst_map_create();
    size_t position = 0;
    assert_int_equal(mst_map_count(map), 0);
    assert_false(mst_map_get(map, "a", 1, NULL));
    assert_false(mst_map_remove(map, "a", 1, NULL));
    assert_false(mst_map_next(map, &position, NULL, NULL, NULL));
    mst_map_destroy(map);
    mst_map_destroy(NULL);
}

static void keys_are_bytes_and_are_copied(void **state)
{
    (void)state;
    struct mst_map *map = mst_map_create();
    char key[4096];
    uint64_t value = 0;
    memset(key, 'k', sizeof key);
    assert_int_equal(mst_map_set(map, key, sizeof key, 1), 0);
    assert_int_equal(mst_map_set(map, NULL, 0, 2), 0);
    assert_int_equal(mst_map_set(map, "a\0b", 3, 3), 0);
    assert_int_equal(mst_map_set(map, "a\0c", 3, 4), 0);
    assert_int_equal(mst_map_set(map, "a", 1, 5), 0);
    assert_int_equal(mst_map_set(map, "a", 1, 6), 0);
    key[7] = 'x';
    assert_false(mst_map_get(map, key, sizeof key, &value));
    key[7] = 'k';
    assert_true(mst_map_get(map, key, sizeof key, &value) && value == 1);
    assert_true(mst_map_get(map, "", 0, &value) && value == 2);
    assert_true(mst_map_get(map, "a\0b", 3, &value) && value == 3);
    assert_true(mst_map_get(map, "a\0c", 3, &value) && value == 4);
    assert_true(mst_map_get(map, "a", 1, &value) && value == 6);
    assert_int_equal(mst_map_count(map), 5);
    assert_true(mst_map_remove(map, "a", 1, &value) && value == 6);
    assert_false(mst_map_get(map, "a", 1, NULL));
    mst_map_destroy(map);
}

static uint64_t random_next(uint64_t *state)
{
    *state = *state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return *state >> 33;
}

static size_t name(char *key, uint64_t number)
{
    return (size_t)snprintf(key, 32, "key-%llu", (unsigned long long)number);
}

/* What the walk yields must be exactly what the model holds. */
static void check_walk(const struct mst_map *map, const uint64_t *model, size_t expected)
{
    size_t position = 0, length, seen = 0;
    const void *key;
    uint64_t value;
    uint8_t met[KEYS] = {0};
    while (mst_map_next(map, &position, &key, &length, &value)) {
        char text[32] = {0};
        memcpy(text, key, length);
        uint64_t number = strtoull(text + 4, NULL, 10);
        assert_true(number < KEYS && !met[number]);
        met[number] = 1;
        assert_int_equal(value, model[number]);
        seen++;
    }
    assert_int_equal(seen, expected);
    assert_int_equal(mst_map_count(map), expected);
}

/* Phases that mostly insert and mostly remove, so that growing, shrinking and removing during both occur. */
static void agrees_with_a_plain_array(void **state)
{
    (void)state;
    struct mst_map *map = mst_map_create();
    static uint64_t model[KEYS]; /* 0: not there */
    uint64_t seed = 20251009;
    size_t expected = 0;
    for (unsigned step = 0; step < 240000; step++) {
        uint64_t number = random_next(&seed) % KEYS, value = step + 1, found = 0;
        char key[32];
        size_t length = name(key, number);
        bool inserting = (step / 20000) % 2 == 0;
        if (random_next(&seed) % 10 < (inserting ? 7u : 2u)) {
            assert_int_equal(mst_map_set(map, key, length, value), 0);
            expected += model[number] == 0;
            model[number] = value;
        } else {
            assert_int_equal(mst_map_remove(map, key, length, &found), model[number] != 0);
            assert_int_equal(found, model[number]);
            expected -= model[number] != 0;
            model[number] = 0;
        }
        number = random_next(&seed) % KEYS;
        length = name(key, number);
        found = 0;
        assert_int_equal(mst_map_get(map, key, length, &found), model[number] != 0);
        assert_int_equal(found, model[number]);
        if (step % 997 == 0)
            check_walk(map, model, expected);
    }
    mst_map_destroy(map);
}

/* Every key stays findable at every moment of a growth. */
static void growth_hides_no_key(void **state)
{
    (void)state;
    struct mst_map *map = mst_map_create();
    for (uint64_t count = 0; count < 3000; count++) {
        char key[32];
        assert_int_equal(mst_map_set(map, key, name(key, count), count), 0);
        for (uint64_t i = count > 1600 ? count - 1600 : 0; i <= count; i += 1 + count / 200) {
            uint64_t value;
            assert_true(mst_map_get(map, key, name(key, i), &value));
            assert_int_equal(value, i);
        }
    }
    mst_map_destroy(map);
}

static void emptied_and_filled_again(void **state)
{
    (void)state;
    struct mst_map *map = mst_map_create();
    char key[32];
    for (int round = 0; round < 3; round++) {
        for (uint64_t i = 0; i < 5000; i++)
            assert_int_equal(mst_map_set(map, key, name(key, i), i), 0);
        for (uint64_t i = 0; i < 5000; i++) {
            uint64_t value;
            assert_true(mst_map_remove(map, key, name(key, i), &value));
            assert_int_equal(value, i);
        }
        assert_int_equal(mst_map_count(map), 0);
    }
    mst_map_destroy(map);
}

static void a_growth_moves_few_entries_at_a_time(void **state)
{
    (void)state;
    struct mst_map *map = mst_map_create();
    size_t pending = 0, most = 0;
    for (uint64_t i = 0; i < 100000; i++) {
        char key[32];
        assert_int_equal(mst_map_set(map, key, name(key, i), i), 0);
        size_t now = mst_map_pending(map);
        assert_true(now >= pending || pending - now <= 16);
        pending = now;
        most = now > most ? now : most;
    }
    assert_true(most > 40000);
    mst_map_destroy(map);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_empty_map_finds_nothing), cmocka_unit_test(keys_are_bytes_and_are_copied),
        cmocka_unit_test(agrees_with_a_plain_array),  cmocka_unit_test(growth_hides_no_key),
        cmocka_unit_test(emptied_and_filled_again),   cmocka_unit_test(a_growth_moves_few_entries_at_a_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
