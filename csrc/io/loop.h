// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The loop: libuv's, with the deadlines of base/timers run from it at nanosecond resolution (a timerfd; libuv's own
 * timers count milliseconds). The loop is the host's own or one the embedding program lends.
 *
 * Timers run behind the turn's other events. One that a firing timer sets for now runs in the same turn, up to a limit,
 * and the timerfd is left at an earlier time than it need be rather than be set again: both save system calls.
 */
#include <stdbool.h>
#include <uv.h>

#include "base/timers.h"

struct mst_loop {
    uv_loop_t *uv;
    struct mst_timers timers; /* set from the loop thread only */
    bool owned;
    /* private */
    uv_loop_t own;
    uv_prepare_t prepare;
    uv_check_t check;
    uv_idle_t idle; /* started when a timer is due already: the next turn does not wait */
    uv_poll_t poll;
    int timer_fd;
    uint64_t armed;   /* what the timerfd is set to; UINT64_MAX: nothing; 0: it has expired */
    const bool *stop; /* of the mst_loop_run under way, or NULL */
    int handles;      /* of the loop itself that are open */
    void (*closed)(struct mst_loop *loop);
};

/*
 * `uv` NULL: makes its own loop. Handles of the loop itself do not keep it alive; a set timer does (on a borrowed loop
 * that somebody else runs: one set before it runs, or in a close callback, counts from the next turn on). MST_E* or 0.
 */
int mst_loop_init(struct mst_loop *loop, uv_loop_t *uv);

/* Runs until `*stop` is true or nothing is left to do. For an owned loop, or a borrowed one that nobody else runs. */
void mst_loop_run(struct mst_loop *loop, const bool *stop);

/*
 * After timers were set from outside the loop's callbacks: lets them keep a borrowed loop alive, which its owner may be
 * about to run. Nothing to do for an owned one.
 */
void mst_loop_sync(struct mst_loop *loop);

/* One turn: waits for the next event or timer, and handles what there is. */
void mst_loop_turn(struct mst_loop *loop);

/*
 * For a borrowed loop that its owner goes on running, and from a callback of it: closes the loop's own handles and
 * calls `closed` when that is done, from where `loop` may be freed.
 */
void mst_loop_close(struct mst_loop *loop, void (*closed)(struct mst_loop *loop));

/*
 * Closes the loop's own handles, runs the loop until they are closed (an owned one: until no handle keeps it alive),
 * frees. Not from a callback of the loop. A loop that mst_loop_init refused needs no deinit.
 */
void mst_loop_deinit(struct mst_loop *loop);
