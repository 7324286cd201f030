// SPDX-License-Identifier: Apache-2.0
/* The loop: nanosecond timers over libuv, on a loop of its own and on a borrowed one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/clock.h"
#include "io/loop.h"

struct probe {
    struct mst_loop *loop;
    struct mst_timer timer;
    uint64_t fired_at[64];
    unsigned fired, repeat;
    uint64_t every;
    bool *stop;
};

static void on_fire(struct mst_timer *timer, void *owner)
{
    struct probe *probe = owner;
    probe->fired_at[probe->fired++] = mst_clock_monotonic();
    if (probe->fired < probe->repeat)
        mst_timers_set(&probe->loop->timers, timer, timer->at + probe->every);
    else if (probe->stop != NULL)
        *probe->stop = true;
}

static void probe_set(struct probe *probe, struct mst_loop *loop, uint64_t at)
{
    probe->loop = loop;
    probe->timer.fire = on_fire;
    probe->timer.owner = probe;
    assert_int_equal(mst_timers_set(&loop->timers, &probe->timer, at), 0);
}

static void test_empty_loop_ends_at_once(void **state)
{
    (void)state;
    struct mst_loop loop;
    bool stop = false;
    assert_int_equal(mst_loop_init(&loop, NULL), 0);
    assert_true(loop.owned);
    mst_loop_run(&loop, &stop);
    mst_loop_deinit(&loop);
}

static void test_a_set_timer_keeps_it_alive_and_fires_once(void **state)
{
    (void)state;
    struct mst_loop loop;
    bool stop = false;
    struct probe probe = {0};
    assert_int_equal(mst_loop_init(&loop, NULL), 0);
    uint64_t at = mst_clock_monotonic() + 3 * MST_NS_PER_MS;
    probe_set(&probe, &loop, at);
    mst_loop_run(&loop, &stop);
    assert_int_equal(probe.fired, 1);
    assert_true(probe.fired_at[0] >= at);
    mst_loop_deinit(&loop);
}

static void test_resolution_is_finer_than_a_millisecond(void **state)
{
    (void)state;
    struct mst_loop loop;
    bool stop = false;
    struct probe probe = {.repeat = 50, .every = 100000};
    assert_int_equal(mst_loop_init(&loop, NULL), 0);
    uint64_t start = mst_clock_monotonic();
    probe_set(&probe, &loop, start + probe.every);
    mst_loop_run(&loop, &stop);
    assert_int_equal(probe.fired, 50);
    for (unsigned i = 0; i < probe.fired; i++)
        assert_true(probe.fired_at[i] >= start + (i + 1) * probe.every);
    /* 50 steps of 0.1 ms; with millisecond timers it would take 50 ms. */
    assert_true(probe.fired_at[49] - start < 40 * MST_NS_PER_MS);
    mst_loop_deinit(&loop);
}

static void test_a_moved_and_a_cancelled_timer(void **state)
{
    (void)state;
    struct mst_loop loop;
    bool stop = false;
    struct probe moved = {0}, cancelled = {0};
    assert_int_equal(mst_loop_init(&loop, NULL), 0);
    uint64_t now = mst_clock_monotonic();
    probe_set(&moved, &loop, now + 60 * MST_NS_PER_SECOND);
    probe_set(&moved, &loop, now + MST_NS_PER_MS);
    probe_set(&cancelled, &loop, now + MST_NS_PER_MS);
    mst_timers_cancel(&loop.timers, &cancelled.timer);
    mst_loop_run(&loop, &stop);
    assert_int_equal(moved.fired, 1);
    assert_int_equal(cancelled.fired, 0);
    mst_loop_deinit(&loop);
}

static void test_stop_ends_it_though_timers_are_left(void **state)
{
    (void)state;
    struct mst_loop loop;
    bool stop = false;
    struct probe first = {.stop = &stop}, never = {0};
    assert_int_equal(mst_loop_init(&loop, NULL), 0);
    uint64_t now = mst_clock_monotonic();
    probe_set(&first, &loop, now);
    probe_set(&never, &loop, now + 60 * MST_NS_PER_SECOND);
    mst_loop_run(&loop, &stop);
    assert_int_equal(first.fired, 1);
    assert_int_equal(never.fired, 0);
    mst_timers_cancel(&loop.timers, &never.timer);
    mst_loop_deinit(&loop);
}

static void set_stop(uv_prepare_t *handle)
{
    *(bool *)handle->data = true;
    uv_prepare_stop(handle);
}

static void test_stop_set_just_before_blocking_is_seen(void **state)
{
    (void)state;
    struct mst_loop loop;
    bool stop = false;
    struct probe never = {0};
    uv_prepare_t prepare;
    assert_int_equal(mst_loop_init(&loop, NULL), 0);
    uv_prepare_init(loop.uv, &prepare);
    prepare.data = &stop;
    uv_prepare_start(&prepare, set_stop);
    probe_set(&never, &loop, mst_clock_monotonic() + 60 * MST_NS_PER_SECOND);
    mst_loop_run(&loop, &stop);
    assert_int_equal(never.fired, 0);
    mst_timers_cancel(&loop.timers, &never.timer);
    uv_close((uv_handle_t *)&prepare, NULL);
    mst_loop_deinit(&loop);
}

static void on_uv_timer(uv_timer_t *handle)
{
    probe_set(handle->data, ((struct probe *)handle->data)->loop, 0);
}

static void test_borrowed_loop_run_by_its_owner(void **state)
{
    (void)state;
    uv_loop_t uv;
    uv_timer_t trigger;
    struct mst_loop loop;
    struct probe probe = {.loop = &loop};
    assert_int_equal(uv_loop_init(&uv), 0);
    assert_int_equal(mst_loop_init(&loop, &uv), 0);
    assert_false(loop.owned);
    uv_timer_init(&uv, &trigger);
    trigger.data = &probe;
    uv_timer_start(&trigger, on_uv_timer, 1, 0);
    /* Its own handles do not keep the loop alive, the deadline set in the last callback does. */
    uv_run(&uv, UV_RUN_DEFAULT);
    assert_int_equal(probe.fired, 1);
    uv_close((uv_handle_t *)&trigger, NULL);
    mst_loop_deinit(&loop);
    uv_run(&uv, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&uv), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_empty_loop_ends_at_once),
        cmocka_unit_test(test_a_set_timer_keeps_it_alive_and_fires_once),
        cmocka_unit_test(test_resolution_is_finer_than_a_millisecond),
        cmocka_unit_test(test_a_moved_and_a_cancelled_timer),
        cmocka_unit_test(test_stop_ends_it_though_timers_are_left),
        cmocka_unit_test(test_stop_set_just_before_blocking_is_seen),
        cmocka_unit_test(test_borrowed_loop_run_by_its_owner),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
