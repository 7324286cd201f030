// SPDX-License-Identifier: Apache-2.0
#include "base/timers.h"

#include <stdlib.h>

#include "base/error.h"

void mst_timers_deinit(struct mst_timers *timers)
{
    for (uint32_t i = 0; i < timers->count; i++)
        timers->heap[i]->slot = 0;
    free(timers->heap);
    *timers = (struct mst_timers){0};
}

static bool before(const struct mst_timer *a, const struct mst_timer *b)
{
    return a->at != b->at ? a->at < b->at : a->order < b->order;
}

static void place(struct mst_timers *timers, struct mst_timer *timer, uint32_t index)
{
    timers->heap[index] = timer;
    timer->slot = index + 1;
}

static void sift_up(struct mst_timers *timers, struct mst_timer *timer, uint32_t index)
{
    while (index > 0) {
        uint32_t parent = (index - 1) / 4;
        if (!before(timer, timers->heap[parent]))
            break;
        place(timers, timers->heap[parent], index);
        index = parent;
    }
    place(timers, timer, index);
}

static void sift_down(struct mst_timers *timers, struct mst_timer *timer, uint32_t index)
{
    for (;;) {
        uint64_t child = (uint64_t)index * 4 + 1, end = child + 4;
        if (child >= timers->count)
            break;
        if (end > timers->count)
            end = timers->count;
        uint32_t least = (uint32_t)child;
        for (uint32_t i = least + 1; i < end; i++)
            if (before(timers->heap[i], timers->heap[least]))
                least = i;
        if (!before(timers->heap[least], timer))
            break;
        place(timers, timers->heap[least], index);
        index = least;
    }
    place(timers, timer, index);
}

static void reseat(struct mst_timers *timers, struct mst_timer *timer, uint32_t index)
{
    if (index > 0 && before(timer, timers->heap[(index - 1) / 4]))
        sift_up(timers, timer, index);
    else
        sift_down(timers, timer, index);
}

static int grow(struct mst_timers *timers)
{
    if (timers->count < timers->capacity)
        return 0;
    if (timers->capacity > UINT32_MAX / 4)
        return MST_ENOMEM;
    uint32_t capacity = timers->capacity ? timers->capacity * 2 : 64;
    struct mst_timer **heap = realloc(timers->heap, capacity * sizeof *heap);
    if (!heap)
        return MST_ENOMEM;
    timers->heap = heap;
    timers->capacity = capacity;
    return 0;
}

int mst_timers_set(struct mst_timers *timers, struct mst_timer *timer, uint64_t at)
{
    if (!timer->slot && grow(timers) < 0)
        return MST_ENOMEM;
    /* A timer set by a firing one must sort behind all that are due in this run, or it would hide them. */
    timer->at = at < timers->floor ? timers->floor : at;
    timer->order = timers->sets++;
    if (timer->slot)
        reseat(timers, timer, timer->slot - 1);
    else
        sift_up(timers, timer, timers->count++);
    return 0;
}

void mst_timers_cancel(struct mst_timers *timers, struct mst_timer *timer)
{
    if (!timer->slot)
        return;
    uint32_t index = timer->slot - 1;
    struct mst_timer *last = timers->heap[--timers->count];
    timer->slot = 0;
    if (last != timer)
        reseat(timers, last, index);
}

uint64_t mst_timers_next(const struct mst_timers *timers)
{
    return timers->count ? timers->heap[0]->at : UINT64_MAX;
}

size_t mst_timers_run(struct mst_timers *timers, uint64_t now)
{
    size_t fired = 0;
    uint64_t sets = timers->sets;
    timers->floor = now;
    while (timers->count) {
        struct mst_timer *timer = timers->heap[0];
        if (timer->at > now || timer->order >= sets)
            break;
        mst_timers_cancel(timers, timer);
        timer->fire(timer, timer->owner);
        fired++;
    }
    timers->floor = 0;
    return fired;
}
