// SPDX-License-Identifier: Apache-2.0
#pragma once

/* Waits between attempts: doubling from 50 ms to 2 s, of which a random half is left out. */
#include <stdint.h>

struct mst__nats_backoff {
    uint64_t step;
    uint64_t random; /* state of the generator; not 0 */
};

void mst__nats_backoff_init(struct mst__nats_backoff *backoff);
uint64_t mst__nats_backoff_next(struct mst__nats_backoff *backoff);   /* nanoseconds */
uint64_t mst__nats_backoff_random(struct mst__nats_backoff *backoff); /* any number */
void mst__nats_backoff_reset(struct mst__nats_backoff *backoff);
