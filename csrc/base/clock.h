// SPDX-License-Identifier: Apache-2.0
#pragma once

/* Clocks. Deadlines and latencies use the monotonic clock; times that users see use the wall clock. */
#include <stdint.h>

#define MST_NS_PER_MS UINT64_C(1000000)
#define MST_NS_PER_SECOND UINT64_C(1000000000)

uint64_t mst_clock_monotonic(void); /* nanoseconds */
int64_t mst_clock_wall(void);       /* Unix milliseconds */
uint64_t mst_clock_cpu(void);       /* CPU time of this process, user and system, nanoseconds */
