// SPDX-License-Identifier: Apache-2.0
#include "io/nats_casts.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

enum { FIRST_SLOTS = 64 };

/* Use of a cast's slot_state. All casts from `send` to `released` are in one list. */
enum { STATE_JOB, STATE_BEFORE, STATE_AFTER, STATE_FLAGS };
enum { REFUSE_PENDING = 1, RELEASE_PENDING = 2, CODE_SHIFT = 8 };

/* ------------------------------------------------------------------------ the list of casts */

static struct mst_cast *neighbour(const struct mst_cast *cast, int which)
{
    return (struct mst_cast *)(uintptr_t)cast->slot_state[which];
}

static struct mst__nats_job *job_of(const struct mst_cast *cast)
{
    return (struct mst__nats_job *)(uintptr_t)cast->slot_state[STATE_JOB];
}

static void list_cast(struct mst__nats_casts *casts, struct mst_cast *cast)
{
    memset(cast->slot_state, 0, sizeof cast->slot_state);
    cast->slot_state[STATE_AFTER] = (uintptr_t)casts->first;
    if (casts->first)
        casts->first->slot_state[STATE_BEFORE] = (uintptr_t)cast;
    casts->first = cast;
}

static void unlist_cast(struct mst__nats_casts *casts, struct mst_cast *cast)
{
    struct mst_cast *before = neighbour(cast, STATE_BEFORE), *after = neighbour(cast, STATE_AFTER);
    if (before)
        before->slot_state[STATE_AFTER] = (uintptr_t)after;
    else
        casts->first = after;
    if (after)
        after->slot_state[STATE_BEFORE] = (uintptr_t)before;
}

/* Has something told about a cast on the next turn of the loop. */
static void set_pending(struct mst__nats_casts *casts, struct mst_cast *cast, uint64_t flags)
{
    if (!(cast->slot_state[STATE_FLAGS] & (REFUSE_PENDING | RELEASE_PENDING)))
        casts->orphans++;
    cast->slot_state[STATE_FLAGS] |= flags;
    uv_async_send(&casts->events->wake);
}

/* ------------------------------------------------------------------------ slots */

static int grow_slots(struct mst__nats_casts *casts)
{
    if (casts->free_count)
        return 0;
    uint32_t count = casts->slot_count ? casts->slot_count * 2 : FIRST_SLOTS;
    struct mst__nats_job **slots = realloc(casts->slots, count * sizeof *slots);
    if (slots)
        casts->slots = slots;
    uint32_t *generations = realloc(casts->generations, count * sizeof *generations);
    if (generations)
        casts->generations = generations;
    uint32_t *free_slots = realloc(casts->free_slots, count * sizeof *free_slots);
    if (free_slots)
        casts->free_slots = free_slots;
    if (!slots || !generations || !free_slots)
        return MST_ENOMEM;
    for (uint32_t slot = count; slot-- > casts->slot_count;) {
        slots[slot] = NULL;
        generations[slot] = 0;
        free_slots[casts->free_count++] = slot;
    }
    casts->slot_count = count;
    return 0;
}

static void deadline_passed(struct mst_timer *timer, void *owner)
{
    struct mst__nats_casts *casts = owner;
    struct mst__nats_job *job = (struct mst__nats_job *)((char *)timer - offsetof(struct mst__nats_job, deadline));
    for (uint32_t i = 0; i < casts->publisher_count; i++)
        mst__nats_publisher_expire(&casts->publishers[i], &job->parts[i]);
}

/* Shard i is publisher i's; a cast that is divided in any other way is the first one's. */
static void divide(const struct mst__nats_casts *casts, struct mst__nats_job *job)
{
    const struct mst_cast *cast = job->cast;
    bool fits = cast->shards == casts->publisher_count;
    uint32_t before = 0;
    for (uint32_t i = 0; i < casts->publisher_count; i++) {
        uint32_t end = fits && i + 1 < cast->shards ? cast->ends[i] : cast->count;
        job->parts[i] = (struct mst__nats_part){.job = job, .position = before, .end = end};
        before = end;
    }
}

static struct mst__nats_job *make_job(struct mst__nats_casts *casts, struct mst_cast *cast)
{
    size_t size = sizeof(struct mst__nats_job) + casts->publisher_count * sizeof(struct mst__nats_part);
    struct mst__nats_job *job = grow_slots(casts) == 0 ? calloc(1, size) : NULL;
    if (!job)
        return NULL;
    job->cast = cast;
    job->slot = casts->free_slots[--casts->free_count];
    job->generation = ++casts->generations[job->slot];
    job->deadline.fire = deadline_passed;
    job->deadline.owner = casts;
    casts->slots[job->slot] = job;
    divide(casts, job);
    cast->slot_state[STATE_JOB] = (uintptr_t)job;
    return job;
}

static void free_job(struct mst__nats_casts *casts, struct mst__nats_job *job)
{
    mst_timers_cancel(&casts->loop->timers, &job->deadline);
    casts->slots[job->slot] = NULL;
    casts->free_slots[casts->free_count++] = job->slot;
    free(job);
}

/* The end of a cast: from here on it is the caller's. */
static void finish_cast(struct mst__nats_casts *casts, struct mst_cast *cast)
{
    if (job_of(cast))
        free_job(casts, job_of(cast));
    if (cast->slot_state[STATE_FLAGS] & (REFUSE_PENDING | RELEASE_PENDING))
        casts->orphans--;
    unlist_cast(casts, cast);
    memset(cast->slot_state, 0, sizeof cast->slot_state);
    cast->released(cast);
}

/* ------------------------------------------------------------------------ events to the caller */

static void tell(struct mst__nats_casts *casts, struct mst_cast *cast, const struct mst_cast_event *event)
{
    uint32_t count = event->end - event->first;
    switch (event->kind) {
    case MST_CAST_ROUTED:
        casts->stats.routed += count;
        break;
    case MST_CAST_NO_RECEIVER:
        casts->stats.no_receiver += count;
        break;
    case MST_CAST_REPLY:
        casts->stats.replies += count;
        break;
    case MST_CAST_LOST:
        casts->stats.lost += count;
        break;
    case MST_CAST_REFUSED:
        casts->stats.refused += count;
        break;
    }
    cast->event(cast, event);
}

static void refuse_cast(struct mst__nats_casts *casts, struct mst_cast *cast)
{
    struct mst_error error;
    int code = -(int)(cast->slot_state[STATE_FLAGS] >> CODE_SHIFT);
    struct mst_cast_event event = {.kind = MST_CAST_REFUSED, .end = cast->count, .error = &error};
    mst_error_set(&error, code, "%s", mst_error_text(code));
    cast->slot_state[STATE_FLAGS] &= ~(uint64_t)REFUSE_PENDING;
    casts->orphans--;
    tell(casts, cast, &event);
}

/* Callbacks may send and release other casts, so the search begins anew after each. */
void mst__nats_casts_tell(struct mst__nats_casts *casts)
{
    struct mst_cast *cast = casts->first;
    while (casts->orphans && cast) {
        uint64_t flags = cast->slot_state[STATE_FLAGS];
        if (flags & RELEASE_PENDING)
            finish_cast(casts, cast);
        else if (flags & REFUSE_PENDING)
            refuse_cast(casts, cast);
        cast = flags & (RELEASE_PENDING | REFUSE_PENDING) ? casts->first : neighbour(cast, STATE_AFTER);
    }
}

void mst__nats_casts_event(struct mst__nats_casts *casts, uint32_t slot, uint32_t generation,
                           const struct mst_cast_event *event)
{
    struct mst__nats_job *job = slot < casts->slot_count ? casts->slots[slot] : NULL;
    bool outside = event->kind == MST_CAST_REPLY || event->kind == MST_CAST_NO_RECEIVER;
    if (job && (job->generation != generation || job->let_go))
        job = NULL;
    if (job && event->end <= job->cast->count)
        tell(casts, job->cast, event);
    else
        casts->stats.stray_replies += outside;
}

void mst__nats_casts_refused(struct mst__nats_casts *casts, const struct mst__nats_event *event)
{
    struct mst_error error;
    struct mst_span text = mst__nats_event_piece(casts->events, event, 0);
    struct mst_cast_event refused = {
        .kind = MST_CAST_REFUSED, .first = event->first, .end = event->end, .error = &error};
    mst_error_set(&error, event->code, "%.*s", (int)text.length, text.data);
    mst__nats_casts_event(casts, event->slot, event->generation, &refused);
}

void mst__nats_casts_let_go(struct mst__nats_casts *casts, const struct mst__nats_event *event)
{
    struct mst__nats_job *job = casts->slots[event->slot];
    if (job && job->generation == event->generation)
        finish_cast(casts, job->cast);
}

/* Puts an event of our own behind those that are pending. */
static void put_event(struct mst__nats_casts *casts, const struct mst__nats_event *event, const struct mst_span *text)
{
    mst__nats_events_put(casts->events, event, text, text ? 1 : 0);
    if (casts->soon->slot == 0 && mst_timers_set(&casts->loop->timers, casts->soon, 0) < 0)
        uv_async_send(&casts->events->wake);
}

/* Hands the parts to their publishers. If one does not take its own, neither that nor those behind it are sent. */
static int put_parts(struct mst__nats_casts *casts, struct mst__nats_job *job)
{
    uint32_t taken = 0;
    for (uint32_t i = 0; i < casts->publisher_count; i++) {
        struct mst__nats_part *part = &job->parts[i];
        uint32_t first = part->position;
        if (first == part->end)
            continue;
        int code = mst__nats_publisher_put(&casts->publishers[i], part);
        if (code < 0 && !taken)
            return code;
        if (code < 0) {
            struct mst__nats_event refused = {.kind = MST__NATS_REFUSED, .code = (int16_t)code, .slot = job->slot};
            struct mst_span text = {mst_error_text(code), strlen(mst_error_text(code))};
            refused.generation = job->generation;
            refused.first = first;
            refused.end = job->cast->count;
            put_event(casts, &refused, &text);
            break;
        }
        taken++;
    }
    return 0;
}

void mst__nats_casts_send(struct mst__nats_casts *casts, struct mst_cast *cast, int code)
{
    list_cast(casts, cast);
    if (code == 0) {
        struct mst__nats_job *job = make_job(casts, cast);
        code = job ? 0 : MST_ENOMEM;
        if (job && cast->deadline != UINT64_MAX)
            code = mst_timers_set(&casts->loop->timers, &job->deadline, cast->deadline);
        if (code == 0 && cast->count)
            code = put_parts(casts, job);
    }
    if (code < 0) {
        cast->slot_state[STATE_FLAGS] = (uint64_t)-code << CODE_SHIFT;
        set_pending(casts, cast, REFUSE_PENDING);
    }
}

void mst__nats_casts_release(struct mst__nats_casts *casts, struct mst_cast *cast)
{
    struct mst__nats_job *job = job_of(cast);
    if ((cast->slot_state[STATE_FLAGS] & RELEASE_PENDING) || (job && job->let_go))
        return;
    if (job) {
        mst_timers_cancel(&casts->loop->timers, &job->deadline);
        job->let_go = true;
        if (cast->slot_state[STATE_FLAGS] & REFUSE_PENDING) {
            cast->slot_state[STATE_FLAGS] &= ~(uint64_t)REFUSE_PENDING;
            casts->orphans--;
        }
        struct mst__nats_event let_go = {.kind = MST__NATS_LET_GO, .slot = job->slot, .generation = job->generation};
        for (uint32_t i = 0; i < casts->publisher_count; i++)
            mst__nats_publisher_drop(&casts->publishers[i], &job->parts[i]);
        put_event(casts, &let_go, NULL);
        return;
    }
    set_pending(casts, cast, RELEASE_PENDING);
}

void mst__nats_casts_finish(struct mst__nats_casts *casts)
{
    mst__nats_casts_tell(casts);
    while (casts->first)
        finish_cast(casts, casts->first);
}

void mst__nats_casts_deinit(struct mst__nats_casts *casts)
{
    free(casts->slots);
    free(casts->generations);
    free(casts->free_slots);
}
