// SPDX-License-Identifier: Apache-2.0
#pragma once

/* Random numbers that are the same in every run. For tests only. */
#include <stdint.h>

static inline uint32_t dice(uint64_t *seed, uint32_t sides)
{
    *seed = *seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (uint32_t)(*seed >> 33) % sides;
}
