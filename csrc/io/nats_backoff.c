// SPDX-License-Identifier: Apache-2.0
#include "io/nats_backoff.h"

#include <sys/random.h>

#include "base/clock.h"

enum { LEAST_MS = 50, MOST_MS = 2000 };

/* xorshift64 (Marsaglia 2003) */
uint64_t mst__nats_backoff_random(struct mst__nats_backoff *backoff)
{
    backoff->random ^= backoff->random << 13;
    backoff->random ^= backoff->random >> 7;
    backoff->random ^= backoff->random << 17;
    return backoff->random;
}

void mst__nats_backoff_init(struct mst__nats_backoff *backoff)
{
    backoff->step = 0;
    if (getrandom(&backoff->random, sizeof backoff->random, 0) != (ssize_t)sizeof backoff->random)
        backoff->random = mst_clock_monotonic();
    backoff->random |= 1;
}

uint64_t mst__nats_backoff_next(struct mst__nats_backoff *backoff)
{
    backoff->step = backoff->step ? backoff->step * 2 : LEAST_MS * MST_NS_PER_MS;
    if (backoff->step > MOST_MS * MST_NS_PER_MS)
        backoff->step = MOST_MS * MST_NS_PER_MS;
    return backoff->step / 2 + mst__nats_backoff_random(backoff) % (backoff->step / 2);
}

void mst__nats_backoff_reset(struct mst__nats_backoff *backoff)
{
    backoff->step = 0;
}
