// SPDX-License-Identifier: Apache-2.0
#include "base/timers.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

static struct mst_timers timers;
static uint64_t fired_at[4096];
static void *fired_owner[4096];
static size_t fired;

static void note(struct mst_timer *timer, void *owner)
{
    assert_int_equal(timer->slot, 0);
    fired_at[fired] = timer->at;
    fired_owner[fired++] = owner;
}

static int reset(void **state)
{
    (void)state;
    mst_timers_deinit(&timers);
    fired = 0;
    return 0;
}

static void none_set(void **state)
{
    (void)state;
    assert_true(mst_timers_next(&timers) == UINT64_MAX);
    assert_int_equal(mst_timers_run(&timers, UINT64_MAX), 0);
}

static void fires_what_is_due_in_order(void **state)
{
    (void)state;
    struct mst_timer timer[4] = {{.fire = note}, {.fire = note}, {.fire = note}, {.fire = note}};
    static const uint64_t at[] = {30, 10, 20, 10};
    for (int i = 0; i < 4; i++) {
        timer[i].owner = &timer[i];
        mst_timers_set(&timers, &timer[i], at[i]);
    }
    assert_int_equal(mst_timers_next(&timers), 10);
    assert_int_equal(mst_timers_run(&timers, 9), 0);
    assert_int_equal(mst_timers_run(&timers, 20), 3);
    assert_ptr_equal(fired_owner[0], &timer[1]);
    assert_ptr_equal(fired_owner[1], &timer[3]); /* set later than [1] */
    assert_ptr_equal(fired_owner[2], &timer[2]);
    assert_int_equal(mst_timers_next(&timers), 30);
    mst_timers_cancel(&timers, &timer[0]); /* it goes with this function */
}

static void move_and_cancel(void **state)
{
    (void)state;
    struct mst_timer a = {.fire = note, .owner = &a}, b = {.fire = note, .owner = &b};
    mst_timers_set(&timers, &a, 10);
    mst_timers_set(&timers, &b, 20);
    mst_timers_set(&timers, &a, 30);
    assert_int_equal(timers.count, 2);
    assert_int_equal(mst_timers_next(&timers), 20);
    mst_timers_cancel(&timers, &b);
    mst_timers_cancel(&timers, &b);
    assert_int_equal(mst_timers_next(&timers), 30);
    assert_int_equal(mst_timers_run(&timers, 100), 1);
    assert_ptr_equal(fired_owner[0], &a);
}

static void set_again(struct mst_timer *timer, void *owner)
{
    note(timer, owner);
    mst_timers_set(&timers, timer, 1);
}

static void one_that_sets_itself_fires_once_a_run(void **state)
{
    (void)state;
    struct mst_timer again = {.fire = set_again}, other = {.fire = note, .owner = &other};
    mst_timers_set(&timers, &again, 1);
    mst_timers_set(&timers, &other, 5);
    assert_int_equal(mst_timers_run(&timers, 5), 2);
    assert_ptr_equal(fired_owner[1], &other);
    assert_int_equal(mst_timers_run(&timers, 5), 1);
    assert_int_equal(timers.count, 1);
    mst_timers_cancel(&timers, &again); /* it goes with this function */
}

static void free_owner(struct mst_timer *timer, void *owner)
{
    note(timer, owner);
    free(timer);
}

static void a_timer_may_free_itself(void **state)
{
    (void)state;
    for (int i = 0; i < 100; i++) {
        struct mst_timer *timer = calloc(1, sizeof *timer);
        timer->fire = free_owner;
        mst_timers_set(&timers, timer, (uint64_t)(i * 7 % 50));
    }
    assert_int_equal(mst_timers_run(&timers, 50), 100);
    assert_int_equal(timers.count, 0);
}

static struct mst_timer victim;

static void cancel_victim(struct mst_timer *timer, void *owner)
{
    note(timer, owner);
    mst_timers_cancel(&timers, &victim);
}

static void a_due_timer_may_be_cancelled_by_another(void **state)
{
    (void)state;
    struct mst_timer killer = {.fire = cancel_victim};
    victim = (struct mst_timer){.fire = note};
    mst_timers_set(&timers, &killer, 1);
    mst_timers_set(&timers, &victim, 2);
    assert_int_equal(mst_timers_run(&timers, 10), 1);
}

static void random_sets_and_cancels_keep_the_order(void **state)
{
    (void)state;
    static struct mst_timer many[2000];
    srand(7);
    size_t alive = 0;
    for (int step = 0; step < 20000; step++) {
        struct mst_timer *timer = &many[rand() % 2000];
        timer->fire = note;
        if (rand() % 3) {
            alive += timer->slot == 0;
            assert_int_equal(mst_timers_set(&timers, timer, (uint64_t)(rand() % 5000)), 0);
        } else {
            alive -= timer->slot != 0;
            mst_timers_cancel(&timers, timer);
        }
        assert_int_equal(timers.count, alive);
    }
    for (uint64_t now = 0; now < 5000; now += 100) {
        size_t before = fired;
        mst_timers_run(&timers, now);
        for (size_t i = before; i < fired; i++)
            assert_true(fired_at[i] <= now && (i == 0 || fired_at[i - 1] <= fired_at[i]));
        assert_true(mst_timers_next(&timers) > now);
    }
    mst_timers_run(&timers, 5000);
    assert_int_equal(fired, alive);
}

static void deinit_unsets_what_is_left(void **state)
{
    (void)state;
    struct mst_timer timer = {.fire = note};
    mst_timers_set(&timers, &timer, 1);
    mst_timers_deinit(&timers);
    assert_int_equal(timer.slot, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(none_set, reset),
        cmocka_unit_test_setup(fires_what_is_due_in_order, reset),
        cmocka_unit_test_setup(move_and_cancel, reset),
        cmocka_unit_test_setup(one_that_sets_itself_fires_once_a_run, reset),
        cmocka_unit_test_setup(a_timer_may_free_itself, reset),
        cmocka_unit_test_setup(a_due_timer_may_be_cancelled_by_another, reset),
        cmocka_unit_test_setup(random_sets_and_cancels_keep_the_order, reset),
        cmocka_unit_test_setup(deinit_unsets_what_is_left, reset),
    };
    int status = cmocka_run_group_tests(tests, NULL, NULL);
    mst_timers_deinit(&timers);
    return status;
}
