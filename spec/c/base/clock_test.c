// SPDX-License-Identifier: Apache-2.0
#include "base/clock.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#include <cmocka.h>

static void each_clock_counts_its_own_time(void **state)
{
    (void)state;
    uint64_t steady = mst_clock_monotonic(), cpu = mst_clock_cpu();
    int64_t wall = mst_clock_wall();
    assert_true(wall / 1000 - (int64_t)time(NULL) <= 1 && (int64_t)time(NULL) - wall / 1000 <= 1);
    struct timespec pause = {0, 20000000};
    nanosleep(&pause, NULL);
    assert_true(mst_clock_monotonic() - steady >= 20 * MST_NS_PER_MS);
    assert_true(mst_clock_cpu() - cpu < 15 * MST_NS_PER_MS); /* sleeping takes no CPU */
    uint64_t start = mst_clock_cpu();
    for (volatile unsigned i = 0; i < 3000000; i++)
        continue;
    assert_true(mst_clock_cpu() > start);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(each_clock_counts_its_own_time)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
