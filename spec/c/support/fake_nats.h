// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * A server that speaks as much of the NATS protocol as a publisher needs. It notes which messages it has read, and can
 * reset the connection after any number of them: a real server killed at that moment could not tell what it had read.
 *
 * A message to a subject that ends in `.<number>` is noted under that number; one to a subject that is subscribed on
 * the same connection is sent back.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct fake_nats {
    int port;
    atomic_uint_least64_t read;      /* messages noted */
    atomic_uint_least64_t die_after; /* of them; then the connection is reset, and this is set to 0: no more dying */
    atomic_uchar *seen;              /* by number: how often */
    uint32_t limit;                  /* of numbers */
    /* private */
    pthread_t thread;
    int listener;
    atomic_bool stop;
};

bool fake_nats_start(struct fake_nats *fake, uint32_t limit);
void fake_nats_stop(struct fake_nats *fake);
