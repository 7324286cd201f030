// SPDX-License-Identifier: Apache-2.0
#include "io/loop.h"

#include <errno.h>
#include <string.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"

static void arm(struct mst_loop *loop, uint64_t at)
{
    if (at == loop->armed)
        return;
    struct itimerspec when = {0};
    if (at != UINT64_MAX) {
        /* All zero would disarm. */
        uint64_t ns = at == 0 ? 1 : at;
        when.it_value.tv_sec = (time_t)(ns / MST_NS_PER_SECOND);
        when.it_value.tv_nsec = (long)(ns % MST_NS_PER_SECOND);
    }
    if (timerfd_settime(loop->timer_fd, TFD_TIMER_ABSTIME, &when, NULL) == 0)
        loop->armed = at;
}

/* Brings the timerfd and the poll handle's reference in line with the heap. */
static void follow_timers(struct mst_loop *loop)
{
    uint64_t next = mst_timers_next(&loop->timers);
    arm(loop, next);
    if (next == UINT64_MAX)
        uv_unref((uv_handle_t *)&loop->poll);
    else
        uv_ref((uv_handle_t *)&loop->poll);
}

static void on_prepare(uv_prepare_t *handle)
{
    struct mst_loop *loop = handle->data;
    follow_timers(loop);
    /* Something between the last look at `*stop` and here may have set it; do not block then. */
    if (loop->stop != NULL && *loop->stop)
        uv_stop(loop->uv);
}

/* A timer set by a callback of the poll phase must keep the loop alive until the next turn arms it. */
static void on_check(uv_check_t *handle)
{
    follow_timers(handle->data);
}

static void on_timer(uv_poll_t *handle, int status, int events)
{
    struct mst_loop *loop = handle->data;
    (void)status;
    (void)events;
    uint64_t expirations;
    if (read(loop->timer_fd, &expirations, sizeof expirations) == (ssize_t)sizeof expirations)
        loop->armed = UINT64_MAX;
    mst_timers_run(&loop->timers, mst_clock_monotonic());
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
    loop->prepare.data = loop->check.data = loop->poll.data = loop;
    loop->handles = 3;
    uv_prepare_start(&loop->prepare, on_prepare);
    uv_check_start(&loop->check, on_check);
    uv_unref((uv_handle_t *)&loop->prepare);
    uv_unref((uv_handle_t *)&loop->check);
    uv_unref((uv_handle_t *)&loop->poll);
}

static void begin_close(struct mst_loop *loop)
{
    uv_close((uv_handle_t *)&loop->prepare, on_closed);
    uv_close((uv_handle_t *)&loop->check, on_closed);
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
