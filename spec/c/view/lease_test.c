// SPDX-License-Identifier: Apache-2.0
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "model/json.h"
#include "view/view.h"

#define IDS 400
#define DAY INT64_C(86400000)
#define START INT64_C(1760000000000)

/* The naive list: what each identity's lease should be; 0 never, -1 not registered. */
struct world {
    struct mst_json_parser *parser;
    struct mst_view *view;
    int64_t deadline[IDS];
    uint64_t revision, seed;
    int64_t now;
    uint32_t ended;
};

static uint32_t dice(struct world *w, uint32_t sides)
{
    w->seed = w->seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (uint32_t)(w->seed >> 33) % sides;
}

static int name_of(char *id, unsigned number)
{
    return sprintf(id, "d%u", number);
}

static void world_init(struct world *w, uint64_t seed)
{
    *w = (struct world){.seed = seed, .now = START};
    w->parser = mst_json_parser_create();
    w->view = mst_view_create("t", w->parser);
    assert_non_null(w->view);
    for (unsigned i = 0; i < IDS; i++)
        w->deadline[i] = -1;
}

static void world_deinit(struct world *w)
{
    mst_view_destroy(w->view);
    mst_json_parser_destroy(w->parser);
}

static void put(struct world *w, unsigned number, int64_t deadline)
{
    char id[16];
    struct mst_identity identity = {.metadata = {"{}", 2}, .expires_at = deadline, .revision = ++w->revision};
    identity.id = (struct mst_span){id, (size_t)name_of(id, number)};
    assert_int_equal(mst_view_put(w->view, &identity, NULL, NULL), 0);
    w->deadline[number] = deadline;
}

static void touch(struct world *w, unsigned number, int64_t deadline)
{
    char id[16];
    size_t length = (size_t)name_of(id, number);
    bool there = w->deadline[number] >= 0;
    assert_int_equal(mst_view_touch(w->view, id, length, deadline, 1000, ++w->revision), there ? 0 : MST_ENOTFOUND);
    if (there)
        w->deadline[number] = deadline;
}

static void drop(struct world *w, unsigned number)
{
    char id[16];
    size_t length = (size_t)name_of(id, number);
    int expected = w->deadline[number] >= 0 ? 0 : MST_ENOTFOUND;
    assert_int_equal(mst_view_remove(w->view, id, length, ++w->revision), expected);
    w->deadline[number] = -1;
}

static void on_end(void *context, const struct mst_identity *identity)
{
    struct world *w = context;
    unsigned number = (unsigned)strtoul(identity->id.data + 1, NULL, 10);
    assert_true(w->deadline[number] > 0 && w->deadline[number] <= w->now);
    assert_int_equal(identity->expires_at, w->deadline[number]);
    w->deadline[number] = -1;
    w->ended++;
}

/* Expires and compares with the list. */
static void expire(struct world *w)
{
    w->ended = 0;
    uint32_t ended = mst_view_expire(w->view, w->now, on_end, w);
    assert_int_equal(ended, w->ended);
    uint32_t alive = 0;
    int64_t next = INT64_MAX;
    for (unsigned i = 0; i < IDS; i++) {
        char id[16];
        size_t length = (size_t)name_of(id, i);
        if (w->deadline[i] > 0 && w->deadline[i] <= w->now)
            fail_msg("lease of d%u should have ended", i);
        if (w->deadline[i] > 0 && w->deadline[i] < next)
            next = w->deadline[i];
        alive += w->deadline[i] >= 0;
        assert_int_equal(mst_view_find(w->view, id, length) != MST_ROW_NONE, w->deadline[i] >= 0);
    }
    assert_int_equal(mst_view_count(w->view), alive);
    assert_true(mst_view_next_expiry(w->view) <= next);
}

static int64_t random_lease(struct world *w)
{
    static const int64_t spans[] = {2, 64, 70, 4100, 300000, DAY, 30 * DAY};
    return 1 + (int64_t)(dice(w, 1u << 30) % spans[dice(w, 7)]) * (dice(w, 20) ? 1 : 3);
}

static void random_step(struct world *w)
{
    unsigned number = dice(w, IDS);
    switch (dice(w, 10)) {
    case 0:
    case 1:
    case 2:
        put(w, number, dice(w, 12) ? w->now + random_lease(w) : 0);
        break;
    case 3:
    case 4:
    case 5:
        touch(w, number, dice(w, 12) ? w->now + random_lease(w) : 0);
        break;
    case 6:
        touch(w, number, w->now - (int64_t)dice(w, 5000) + 1);
        break;
    default:
        drop(w, number);
    }
}

static void run_random(uint64_t seed, bool jumps)
{
    static const int64_t ahead[] = {1, 3, 64, 4096, 100000, DAY, 40 * DAY};
    struct world w;
    world_init(&w, seed);
    for (int round = 0; round < 300; round++) {
        for (uint32_t i = dice(&w, 60); i > 0; i--)
            random_step(&w);
        if (jumps && dice(&w, 6) == 0)
            w.now -= (int64_t)dice(&w, 1u << 30) % ahead[dice(&w, 7)];
        else
            w.now += (int64_t)dice(&w, 1u << 30) % ahead[dice(&w, jumps ? 7 : 5)];
        expire(&w);
    }
    world_deinit(&w);
}

static void test_random_leases_end_as_in_a_naive_list(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 10; seed++)
        run_random(seed, false);
}

static void test_random_leases_under_clock_jumps(void **state)
{
    (void)state;
    for (uint64_t seed = 100; seed <= 120; seed++)
        run_random(seed, true);
}

static void test_leases_end_on_their_millisecond(void **state)
{
    (void)state;
    static const int64_t leases[] = {1, 63, 64, 65, 4095, 4096, 262143, 262144, 16777216, DAY, 30 * DAY};
    struct world w;
    world_init(&w, 1);
    mst_view_expire(w.view, w.now, NULL, NULL);
    for (size_t i = 0; i < sizeof leases / sizeof *leases; i++)
        put(&w, (unsigned)i, START + leases[i]);
    for (size_t i = 0; i < sizeof leases / sizeof *leases; i++) {
        w.now = START + leases[i] - 1;
        expire(&w);
        assert_int_equal(w.ended, 0);
        assert_int_equal(mst_view_next_expiry(w.view), START + leases[i]);
        w.now++;
        expire(&w);
        assert_int_equal(w.ended, 1);
    }
    world_deinit(&w);
}

static void test_renewed_leases_do_not_end_early(void **state)
{
    (void)state;
    struct world w;
    world_init(&w, 1);
    put(&w, 0, w.now + 10000);
    for (int i = 0; i < 1000; i++) {
        w.now += 3000;
        touch(&w, 0, w.now + 10000);
        expire(&w);
        assert_int_equal(w.ended, 0);
    }
    w.now += 9999;
    expire(&w);
    assert_int_equal(w.ended, 0);
    w.now++;
    expire(&w);
    assert_int_equal(w.ended, 1);
    world_deinit(&w);
}

static void test_a_lease_can_be_shortened_and_made_endless(void **state)
{
    (void)state;
    struct world w;
    world_init(&w, 1);
    put(&w, 0, w.now + DAY);
    put(&w, 1, w.now + 100);
    touch(&w, 0, w.now + 5);
    touch(&w, 1, 0);
    w.now += 5;
    expire(&w);
    assert_int_equal(w.ended, 1);
    w.now += 400 * DAY;
    expire(&w);
    assert_int_equal(w.ended, 0);
    assert_int_equal(mst_view_next_expiry(w.view), INT64_MAX);
    world_deinit(&w);
}

static void test_extreme_deadlines_and_clocks(void **state)
{
    (void)state;
    struct world w;
    world_init(&w, 1);
    put(&w, 0, INT64_MAX);
    put(&w, 1, 1);
    w.now = 0;
    expire(&w);
    w.now = 1;
    expire(&w);
    assert_int_equal(w.ended, 1);
    w.now = INT64_MAX - 1;
    expire(&w);
    assert_int_equal(w.ended, 0);
    w.now = INT64_MAX;
    expire(&w);
    assert_int_equal(w.ended, 1);
    w.now = -5;
    put(&w, 2, 7);
    expire(&w);
    w.now = 7;
    expire(&w);
    assert_int_equal(w.ended, 1);
    world_deinit(&w);
}

static void test_a_waiting_loop_always_gets_further(void **state)
{
    (void)state;
    struct world w;
    world_init(&w, 5);
    for (unsigned i = 0; i < IDS; i++)
        put(&w, i, w.now + random_lease(&w));
    unsigned wakes = 0;
    for (int64_t next; (next = mst_view_next_expiry(w.view)) != INT64_MAX; wakes++) {
        w.now = next > w.now ? next : w.now;
        mst_view_expire(w.view, w.now, on_end, &w);
        assert_true(mst_view_next_expiry(w.view) > w.now);
    }
    assert_int_equal(mst_view_count(w.view), 0);
    assert_true(wakes < IDS * 10);
    world_deinit(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random_leases_end_as_in_a_naive_list),
        cmocka_unit_test(test_random_leases_under_clock_jumps),
        cmocka_unit_test(test_leases_end_on_their_millisecond),
        cmocka_unit_test(test_renewed_leases_do_not_end_early),
        cmocka_unit_test(test_a_lease_can_be_shortened_and_made_endless),
        cmocka_unit_test(test_extreme_deadlines_and_clocks),
        cmocka_unit_test(test_a_waiting_loop_always_gets_further),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
