// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Deadlines: a 4-ary heap of intrusive timers on the monotonic clock. Knows no loop: the loop asks for the next
 * deadline and calls mst_timers_run when it has passed. One thread.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct mst_timer {
    uint64_t at;                                        /* monotonic nanoseconds */
    uint64_t order;                                     /* of setting; equal deadlines fire in this order */
    uint32_t slot;                                      /* place in the heap plus 1; 0 = not set */
    void (*fire)(struct mst_timer *timer, void *owner); /* called once; may set the timer again or free its owner */
    void *owner;
};

struct mst_timers {
    struct mst_timer **heap;
    uint32_t count, capacity;
    uint64_t sets;  /* how often a timer was set */
    uint64_t floor; /* while mst_timers_run fires: its `now`; else 0 */
};

void mst_timers_deinit(struct mst_timers *timers);

/* Sets (or moves) a timer whose `fire` and `owner` are filled. MST_ENOMEM or 0. */
int mst_timers_set(struct mst_timers *timers, struct mst_timer *timer, uint64_t at);

/* Takes a timer out; nothing happens if it is not set. */
void mst_timers_cancel(struct mst_timers *timers, struct mst_timer *timer);

/* The next deadline; UINT64_MAX if there is none. */
uint64_t mst_timers_next(const struct mst_timers *timers);

/* Fires every timer due at `now`; those set meanwhile for `now` or earlier fire in the next run. Returns how many. */
size_t mst_timers_run(struct mst_timers *timers, uint64_t now);
