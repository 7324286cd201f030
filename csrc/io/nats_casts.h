// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The casts of a NATS slot, from `send` to `released`: their jobs by slot and generation, their division among the
 * publishers, and what is told to their callers. Loop thread. Owns the jobs; the casts are the callers'.
 */
#include "io/nats_internal.h"

struct mst__nats_casts {
    /* Borrowed, set by the owner before use. */
    struct mst_loop *loop;
    struct mst__nats_events *events;
    struct mst_timer *soon; /* looks at the events that this thread has put */
    struct mst__nats_publisher *publishers;
    uint32_t publisher_count;

    struct mst_messaging_stats stats; /* those that are counted per event */

    /* private */
    struct mst__nats_job **slots; /* by number; NULL: free */
    uint32_t *generations, *free_slots;
    uint32_t slot_count, free_count;
    struct mst_cast *first;
    uint32_t orphans; /* casts that got no job or were not taken, with a pending flag */
};

/* Hands a cast to the publishers; `code` not 0: refuses it for that reason on the next turn. */
void mst__nats_casts_send(struct mst__nats_casts *casts, struct mst_cast *cast, int code);

/* No further events; `released` follows when no publisher refers to it. */
void mst__nats_casts_release(struct mst__nats_casts *casts, struct mst_cast *cast);

/* Tells what waits for a turn of the loop: refusals and releases. */
void mst__nats_casts_tell(struct mst__nats_casts *casts);

/* What became of messages of the cast with this slot and generation; what belongs to no cast is counted as stray. */
void mst__nats_casts_event(struct mst__nats_casts *casts, uint32_t slot, uint32_t generation,
                           const struct mst_cast_event *event);

/* REFUSED from the queue of events. */
void mst__nats_casts_refused(struct mst__nats_casts *casts, const struct mst__nats_event *event);

/* LET_GO. */
void mst__nats_casts_let_go(struct mst__nats_casts *casts, const struct mst__nats_event *event);

/* Every publisher has ended: releases all that are left. */
void mst__nats_casts_finish(struct mst__nats_casts *casts);

void mst__nats_casts_deinit(struct mst__nats_casts *casts);
