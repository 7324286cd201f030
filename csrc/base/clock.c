// SPDX-License-Identifier: Apache-2.0
#include "base/clock.h"

#include <time.h>

static uint64_t nanoseconds(clockid_t clock)
{
    struct timespec now;
    clock_gettime(clock, &now);
    return (uint64_t)now.tv_sec * MST_NS_PER_SECOND + (uint64_t)now.tv_nsec;
}

uint64_t mst_clock_monotonic(void)
{
    return nanoseconds(CLOCK_MONOTONIC);
}

int64_t mst_clock_wall(void)
{
    return (int64_t)(nanoseconds(CLOCK_REALTIME) / MST_NS_PER_MS);
}

uint64_t mst_clock_cpu(void)
{
    return nanoseconds(CLOCK_PROCESS_CPUTIME_ID);
}
