// SPDX-License-Identifier: Apache-2.0
#include "io/loop.h"

#include <errno.h>
#include <string.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"

/* How often in one turn timers run that timers have set for now. */
#define PASSES 4

#define EXPIRED 0

static void set_timerfd(struct mst_loop *loop, uint64_t at)
{
    struct itimerspec when = {0};
    if (at != UINT64_MAX) {
        when.it_value.tv_sec = (time_t)(at / MST_NS_PER_SECOND);
        when.it_value.tv_nsec = (long)(at % MST_NS_PER_SECOND);
    }
    if (timerfd_settime(loop->timer_fd, TFD_TIMER_ABSTIME, &when, NULL) == 0)
        loop->armed = at;
}

static void on_idle(uv_idle_t *handle)
{
    (void)handle;
}

/*
 * Brings the timerfd, the idle handle and the poll handle's reference in line with the heap. A timerfd that is set too
 * early wakes us once for nothing, which costs as much as setting it and is rare: it stays. Setting it also takes back
 * that it has expired, so it need not be read.
 */
static void follow_timers(struct mst_loop *loop)
{
    uint64_t next = mst_timers_next(&loop->timers);
    if (next == UINT64_MAX)
        uv_unref((uv_handle_t *)&loop->poll);
    else
        uv_ref((uv_handle_t *)&loop->poll);
    if (next == 0 || (next != UINT64_MAX && next <= mst_clock_monotonic())) {
        uv_idle_start(&loop->idle, on_idle);
        return;
    }
    uv_idle_stop(&loop->idle);
    if (loop->armed == EXPIRED || next < loop->armed)
        set_timerfd(loop, next);
}

static void on_prepare(uv_prepare_t *handle)
{
    struct mst_loop *loop = handle->data;
    follow_timers(loop);
    /* Something between the last look at `*stop` and here may have set it; do not block then. */
    if (loop->stop != NULL && *loop->stop)
        uv_stop(loop->uv);
}

static void on_check(uv_check_t *handle)
{
    struct mst_loop *loop = handle->data;
    for (int pass = 0; pass < PASSES && !(loop->stop != NULL && *loop->stop); pass++) {
        uint64_t next = mst_timers_next(&loop->timers), now;
        if (next == UINT64_MAX || next > (now = mst_clock_monotonic()))
            break;
        mst_timers_run(&loop->timers, now);
    }
    /* A timer set by a callback of this turn must keep the loop alive until the next one arms it. */
    if (mst_timers_next(&loop->timers) != UINT64_MAX)
        uv_ref((uv_handle_t *)&loop->poll);
    else
        uv_unref((uv_handle_t *)&loop->poll);
}

/* The timers run in the check phase. */
static void on_timer(uv_poll_t *handle, int status, int events)
{
    struct mst_loop *loop = handle->data;
    (void)status;
    (void)events;
    loop->armed = EXPIRED;
}

static void on_closed(uv_handle_t *handle)
{
    struct mst_loop *loop = handle->data;
    if (--loop->handles > 0 || loop->closed == NULL)
        return;
    close(loop->timer_fd);
    mst_timers_deinit(&loop->timers);
    loop->closed(loop);
}

static void open_handles(struct mst_loop *loop)
{
    /* These cannot fail: libuv only links the handles. */
    uv_prepare_init(loop->uv, &loop->prepare);
    uv_check_init(loop->uv, &loop->check);
    uv_idle_init(loop->uv, &loop->idle);
    loop->prepare.data = loop->check.data = loop->idle.data = loop->poll.data = loop;
    loop->handles = 4;
    uv_prepare_start(&loop->prepare, on_prepare);
    uv_check_start(&loop->check, on_check);
    uv_unref((uv_handle_t *)&loop->prepare);
    uv_unref((uv_handle_t *)&loop->check);
    uv_unref((uv_handle_t *)&loop->idle);
    uv_unref((uv_handle_t *)&loop->poll);
}

static void begin_close(struct mst_loop *loop)
{
    uv_close((uv_handle_t *)&loop->prepare, on_closed);
    uv_close((uv_handle_t *)&loop->check, on_closed);
    uv_close((uv_handle_t *)&loop->idle, on_closed);
    uv_close((uv_handle_t *)&loop->poll, on_closed);
}

static void close_handles(struct mst_loop *loop)
{
    begin_close(loop);
    while (loop->handles > 0)
        uv_run(loop->uv, UV_RUN_NOWAIT);
}

int mst_loop_init(struct mst_loop *loop, uv_loop_t *uv)
{
    memset(loop, 0, sizeof *loop);
    loop->armed = UINT64_MAX;
    loop->owned = uv == NULL;
    loop->uv = uv != NULL ? uv : &loop->own;
    int code = MST_ENOMEM;
    loop->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    if (loop->timer_fd < 0)
        return errno == ENOMEM ? MST_ENOMEM : MST_EBUSY;
    if (loop->owned && uv_loop_init(&loop->own) != 0)
        goto fail;
    /* A poll handle that failed to initialise is not linked into the loop, so there is nothing to close. */
    if (uv_poll_init(loop->uv, &loop->poll, loop->timer_fd) != 0) {
        code = MST_EINTERNAL;
        goto fail_loop;
    }
    open_handles(loop);
    if (uv_poll_start(&loop->poll, UV_READABLE, on_timer) != 0) {
        close_handles(loop);
        goto fail_loop;
    }
    return 0;

fail_loop:
    if (loop->owned)
        uv_loop_close(&loop->own);
fail:
    close(loop->timer_fd);
    return code;
}

void mst_loop_run(struct mst_loop *loop, const bool *stop)
{
    const bool *outer = loop->stop;
    loop->stop = stop;
    while (!*stop) {
        follow_timers(loop);
        if (uv_run(loop->uv, UV_RUN_ONCE) == 0 && mst_timers_next(&loop->timers) == UINT64_MAX)
            break;
    }
    loop->stop = outer;
}

void mst_loop_sync(struct mst_loop *loop)
{
    if (!loop->owned)
        follow_timers(loop);
}

void mst_loop_turn(struct mst_loop *loop)
{
    follow_timers(loop);
    uv_run(loop->uv, UV_RUN_ONCE);
}

void mst_loop_close(struct mst_loop *loop, void (*closed)(struct mst_loop *loop))
{
    loop->closed = closed;
    begin_close(loop);
}

void mst_loop_deinit(struct mst_loop *loop)
{
    close_handles(loop);
    if (loop->owned) {
        while (uv_run(loop->uv, UV_RUN_ONCE) != 0) {
        }
        uv_loop_close(&loop->own);
    }
    close(loop->timer_fd);
    mst_timers_deinit(&loop->timers);
}
