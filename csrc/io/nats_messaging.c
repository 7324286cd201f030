// SPDX-License-Identifier: Apache-2.0
#include "io/nats_messaging.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "io/nats_internal.h"

enum {
    EVENTS_PER_TURN = 8192, /* then the loop's other business has its turn */
    PUBLISHERS = 1,
    FIRST_SLOTS = 64,
};

/* Use of a cast's slot_state. All casts from `send` to `released` are in one list. */
enum { STATE_JOB, STATE_BEFORE, STATE_AFTER, STATE_FLAGS };
enum { REFUSE_PENDING = 1, RELEASE_PENDING = 2, CODE_SHIFT = 8 };

struct source {
    bool up, stopped;
    struct mst_error why;
};

struct messaging {
    struct mst_messaging base;
    struct mst_loop *loop;
    char *label;
    struct mst__nats_events events;
    struct mst_timer soon; /* for the events that this thread has put */
    struct mst__nats_publisher *publishers;
    struct mst__nats_control control;
    uint32_t publisher_count, publishers_started;
    bool control_started;
    struct source sources[MST__NATS_SOURCES];
    struct mst_error failed; /* the options cannot be used: nothing was started */

    struct mst__nats_job **slots; /* by number; NULL: free */
    uint32_t *generations, *free_slots;
    uint32_t slot_count, free_count;
    struct mst_cast *casts;
    uint32_t orphans; /* casts that got no job or were not taken, with a pending flag */

    void (*ready)(void *context, int status, const struct mst_error *error);
    void *ready_context;
    bool closing, finishing;
    void (*closed)(void *context);
    void *closed_context;
    struct mst_messaging_stats stats;
};

static struct messaging *self(struct mst_messaging *messaging)
{
    return (struct messaging *)messaging;
}

/* ------------------------------------------------------------------------ the list of casts */

static struct mst_cast *neighbour(const struct mst_cast *cast, int which)
{
    return (struct mst_cast *)(uintptr_t)cast->slot_state[which];
}

static struct mst__nats_job *job_of(const struct mst_cast *cast)
{
    return (struct mst__nats_job *)(uintptr_t)cast->slot_state[STATE_JOB];
}

static void list_cast(struct messaging *messaging, struct mst_cast *cast)
{
    memset(cast->slot_state, 0, sizeof cast->slot_state);
    cast->slot_state[STATE_AFTER] = (uintptr_t)messaging->casts;
    if (messaging->casts)
        messaging->casts->slot_state[STATE_BEFORE] = (uintptr_t)cast;
    messaging->casts = cast;
}

static void unlist_cast(struct messaging *messaging, struct mst_cast *cast)
{
    struct mst_cast *before = neighbour(cast, STATE_BEFORE), *after = neighbour(cast, STATE_AFTER);
    if (before)
        before->slot_state[STATE_AFTER] = (uintptr_t)after;
    else
        messaging->casts = after;
    if (after)
        after->slot_state[STATE_BEFORE] = (uintptr_t)before;
}

/* Has something told about a cast on the next turn of the loop. */
static void set_pending(struct messaging *messaging, struct mst_cast *cast, uint64_t flags)
{
    if (!(cast->slot_state[STATE_FLAGS] & (REFUSE_PENDING | RELEASE_PENDING)))
        messaging->orphans++;
    cast->slot_state[STATE_FLAGS] |= flags;
    uv_async_send(&messaging->events.wake);
}

/* ------------------------------------------------------------------------ slots */

static int grow_slots(struct messaging *messaging)
{
    if (messaging->free_count)
        return 0;
    uint32_t count = messaging->slot_count ? messaging->slot_count * 2 : FIRST_SLOTS;
    struct mst__nats_job **slots = realloc(messaging->slots, count * sizeof *slots);
    if (slots)
        messaging->slots = slots;
    uint32_t *generations = realloc(messaging->generations, count * sizeof *generations);
    if (generations)
        messaging->generations = generations;
    uint32_t *free_slots = realloc(messaging->free_slots, count * sizeof *free_slots);
    if (free_slots)
        messaging->free_slots = free_slots;
    if (!slots || !generations || !free_slots)
        return MST_ENOMEM;
    for (uint32_t slot = count; slot-- > messaging->slot_count;) {
        slots[slot] = NULL;
        generations[slot] = 0;
        free_slots[messaging->free_count++] = slot;
    }
    messaging->slot_count = count;
    return 0;
}

static void deadline_passed(struct mst_timer *timer, void *owner)
{
    struct messaging *messaging = owner;
    struct mst__nats_job *job = (struct mst__nats_job *)((char *)timer - offsetof(struct mst__nats_job, deadline));
    for (uint32_t i = 0; i < messaging->publisher_count; i++)
        mst__nats_publisher_expire(&messaging->publishers[i], &job->parts[i]);
}

/* Shard i is publisher i's; a cast that is divided in any other way is the first one's. */
static void divide(const struct messaging *messaging, struct mst__nats_job *job)
{
    const struct mst_cast *cast = job->cast;
    bool fits = cast->shards == messaging->publisher_count;
    uint32_t before = 0;
    for (uint32_t i = 0; i < messaging->publisher_count; i++) {
        uint32_t end = fits && i + 1 < cast->shards ? cast->ends[i] : cast->count;
        job->parts[i] = (struct mst__nats_part){.job = job, .position = before, .end = end};
        before = end;
    }
}

static struct mst__nats_job *make_job(struct messaging *messaging, struct mst_cast *cast)
{
    size_t size = sizeof(struct mst__nats_job) + messaging->publisher_count * sizeof(struct mst__nats_part);
    struct mst__nats_job *job = grow_slots(messaging) == 0 ? calloc(1, size) : NULL;
    if (!job)
        return NULL;
    job->cast = cast;
    job->slot = messaging->free_slots[--messaging->free_count];
    job->generation = ++messaging->generations[job->slot];
    job->deadline.fire = deadline_passed;
    job->deadline.owner = messaging;
    messaging->slots[job->slot] = job;
    divide(messaging, job);
    cast->slot_state[STATE_JOB] = (uintptr_t)job;
    return job;
}

static void free_job(struct messaging *messaging, struct mst__nats_job *job)
{
    mst_timers_cancel(&messaging->loop->timers, &job->deadline);
    messaging->slots[job->slot] = NULL;
    messaging->free_slots[messaging->free_count++] = job->slot;
    free(job);
}

/* The end of a cast: from here on it is the caller's. */
static void finish_cast(struct messaging *messaging, struct mst_cast *cast)
{
    if (job_of(cast))
        free_job(messaging, job_of(cast));
    if (cast->slot_state[STATE_FLAGS] & (REFUSE_PENDING | RELEASE_PENDING))
        messaging->orphans--;
    unlist_cast(messaging, cast);
    memset(cast->slot_state, 0, sizeof cast->slot_state);
    cast->released(cast);
}

/* ------------------------------------------------------------------------ events to the caller */

static void tell(struct messaging *messaging, struct mst_cast *cast, const struct mst_cast_event *event)
{
    uint32_t count = event->end - event->first;
    switch (event->kind) {
    case MST_CAST_ROUTED:
        messaging->stats.routed += count;
        break;
    case MST_CAST_NO_RECEIVER:
        messaging->stats.no_receiver += count;
        break;
    case MST_CAST_REPLY:
        messaging->stats.replies += count;
        break;
    case MST_CAST_LOST:
        messaging->stats.lost += count;
        break;
    case MST_CAST_REFUSED:
        messaging->stats.refused += count;
        break;
    }
    cast->event(cast, event);
}

static void refuse_cast(struct messaging *messaging, struct mst_cast *cast)
{
    struct mst_error error;
    int code = -(int)(cast->slot_state[STATE_FLAGS] >> CODE_SHIFT);
    struct mst_cast_event event = {.kind = MST_CAST_REFUSED, .end = cast->count, .error = &error};
    mst_error_set(&error, code, "%s", mst_error_text(code));
    cast->slot_state[STATE_FLAGS] &= ~(uint64_t)REFUSE_PENDING;
    messaging->orphans--;
    tell(messaging, cast, &event);
}

/* Callbacks may send and release other casts, so the search begins anew after each. */
static void tell_orphans(struct messaging *messaging)
{
    struct mst_cast *cast = messaging->casts;
    while (messaging->orphans && cast) {
        uint64_t flags = cast->slot_state[STATE_FLAGS];
        if (flags & RELEASE_PENDING)
            finish_cast(messaging, cast);
        else if (flags & REFUSE_PENDING)
            refuse_cast(messaging, cast);
        cast = flags & (RELEASE_PENDING | REFUSE_PENDING) ? messaging->casts : neighbour(cast, STATE_AFTER);
    }
}

static enum mst_cast_event_kind cast_kind(uint8_t kind)
{
    switch (kind) {
    case MST__NATS_ROUTED:
        return MST_CAST_ROUTED;
    case MST__NATS_NO_RECEIVER:
        return MST_CAST_NO_RECEIVER;
    case MST__NATS_REPLY:
        return MST_CAST_REPLY;
    case MST__NATS_LOST:
        return MST_CAST_LOST;
    default:
        return MST_CAST_REFUSED;
    }
}

static void on_cast_event(struct messaging *messaging, const struct mst__nats_event *from)
{
    struct mst__nats_job *job = from->slot < messaging->slot_count ? messaging->slots[from->slot] : NULL;
    bool outside = from->kind == MST__NATS_REPLY || from->kind == MST__NATS_NO_RECEIVER;
    if (job && (job->generation != from->generation || job->let_go))
        job = NULL;
    if (!job || from->end > job->cast->count) {
        messaging->stats.stray_replies += outside;
        return;
    }
    struct mst_error error;
    struct mst_cast_event event = {.kind = cast_kind(from->kind), .first = from->first, .end = from->end};
    if (event.kind == MST_CAST_REPLY)
        event.data = mst__nats_event_piece(&messaging->events, from, 0);
    if (event.kind == MST_CAST_LOST || event.kind == MST_CAST_REFUSED) {
        struct mst_span text = mst__nats_event_piece(&messaging->events, from, 0);
        mst_error_set(&error, from->code, "%.*s", (int)text.length, text.data);
        event.error = &error;
    }
    tell(messaging, job->cast, &event);
}

static void on_let_go(struct messaging *messaging, const struct mst__nats_event *event)
{
    struct mst__nats_job *job = messaging->slots[event->slot];
    if (job && job->generation == event->generation && --job->holders == 0)
        finish_cast(messaging, job->cast);
}

static void on_delivery(struct messaging *messaging, const struct mst__nats_event *event)
{
    struct mst__nats_listener *entry = event->object;
    struct mst_delivery delivery = {
        .subject = mst__nats_event_piece(&messaging->events, event, 0),
        .reply = mst__nats_event_piece(&messaging->events, event, 1),
        .payload = mst__nats_event_piece(&messaging->events, event, 2),
    };
    if (entry->listener)
        entry->listener->deliver(entry->listener, &delivery);
}

static void on_gone(const struct mst__nats_event *event)
{
    struct mst__nats_listener *entry = event->object;
    if (entry->listener)
        entry->listener->slot_state = NULL;
    mst__nats_listener_free(entry);
}

static void tell_ready(struct messaging *messaging, int status, const struct mst_error *error)
{
    void (*ready)(void *, int, const struct mst_error *) = messaging->ready;
    messaging->ready = NULL;
    if (ready && !messaging->closing)
        ready(messaging->ready_context, status, error);
}

static void on_source(struct messaging *messaging, const struct mst__nats_event *event)
{
    struct source *source = &messaging->sources[event->source];
    source->up = event->kind == MST__NATS_UP;
    if (source->up) {
        bool all = true;
        for (uint32_t i = 0; i <= messaging->publisher_count; i++)
            all = all && messaging->sources[i].up;
        if (all)
            tell_ready(messaging, 0, NULL);
        return;
    }
    struct mst_span text = mst__nats_event_piece(&messaging->events, event, 0);
    mst_error_set(&source->why, event->code, "%.*s", (int)text.length, text.data);
    tell_ready(messaging, source->why.code, &source->why);
}

static void handle(struct messaging *messaging, const struct mst__nats_event *event)
{
    switch ((enum mst__nats_event_kind)event->kind) {
    case MST__NATS_LET_GO:
        on_let_go(messaging, event);
        break;
    case MST__NATS_DELIVERY:
        on_delivery(messaging, event);
        break;
    case MST__NATS_GONE:
        on_gone(event);
        break;
    case MST__NATS_UP:
    case MST__NATS_DOWN:
        on_source(messaging, event);
        break;
    case MST__NATS_STOPPED:
        messaging->sources[event->source].stopped = true;
        break;
    default:
        on_cast_event(messaging, event);
        break;
    }
}

/* ------------------------------------------------------------------------ closing */

static void free_messaging(struct messaging *messaging)
{
    free(messaging->slots);
    free(messaging->generations);
    free(messaging->free_slots);
    free(messaging->publishers);
    free(messaging->label);
    free(messaging);
}

static void on_wake_closed(uv_handle_t *handle)
{
    struct messaging *messaging = handle->data;
    void (*closed)(void *) = messaging->closed;
    void *context = messaging->closed_context;
    mst__nats_events_deinit(&messaging->events);
    free_messaging(messaging);
    if (closed)
        closed(context);
}

static void finish_closing(struct messaging *messaging)
{
    messaging->finishing = true;
    for (uint32_t i = 0; i < messaging->publishers_started; i++)
        mst__nats_publisher_finish(&messaging->publishers[i]);
    if (messaging->control_started)
        mst__nats_control_finish(&messaging->control);
    tell_orphans(messaging);
    while (messaging->casts)
        finish_cast(messaging, messaging->casts);
    mst_timers_cancel(&messaging->loop->timers, &messaging->soon);
    uv_close((uv_handle_t *)&messaging->events.wake, on_wake_closed);
}

static bool all_stopped(const struct messaging *messaging)
{
    for (uint32_t i = 0; i < messaging->publishers_started; i++)
        if (!messaging->sources[MST__NATS_PUBLISHER + i].stopped)
            return false;
    return !messaging->control_started || messaging->sources[MST__NATS_CONTROL].stopped;
}

static void look(struct messaging *messaging)
{
    const struct mst__nats_event *event = NULL;
    if (messaging->failed.code)
        tell_ready(messaging, messaging->failed.code, &messaging->failed);
    tell_orphans(messaging);
    for (int i = 0; i < EVENTS_PER_TURN && (event = mst__nats_events_next(&messaging->events)) != NULL; i++)
        handle(messaging, event);
    if (event)
        uv_async_send(&messaging->events.wake);
    else if (messaging->closing && !messaging->finishing && all_stopped(messaging))
        finish_closing(messaging);
}

static void on_wake(uv_async_t *wake)
{
    look(wake->data);
}

static void on_soon(struct mst_timer *timer, void *owner)
{
    (void)timer;
    look(owner);
}

static void close_messaging(struct mst_messaging *base, void (*closed)(void *context), void *context)
{
    struct messaging *messaging = self(base);
    if (messaging->closing)
        return;
    messaging->closing = true;
    messaging->closed = closed;
    messaging->closed_context = context;
    for (uint32_t i = 0; i < messaging->publishers_started; i++)
        mst__nats_publisher_stop(&messaging->publishers[i]);
    if (messaging->control_started)
        mst__nats_control_stop(&messaging->control);
    uv_async_send(&messaging->events.wake);
}

/* ------------------------------------------------------------------------ operations */

/* Puts an event of our own behind those that are pending. */
static void put_event(struct messaging *messaging, const struct mst__nats_event *event, const struct mst_span *text)
{
    mst__nats_events_put(&messaging->events, event, text, text ? 1 : 0);
    if (messaging->soon.slot == 0 && mst_timers_set(&messaging->loop->timers, &messaging->soon, 0) < 0)
        uv_async_send(&messaging->events.wake);
}

/* Hands the parts to their publishers. If one does not take its own, neither that nor those behind it are sent. */
static int put_parts(struct messaging *messaging, struct mst__nats_job *job)
{
    uint32_t taken = 0;
    for (uint32_t i = 0; i < messaging->publisher_count; i++) {
        struct mst__nats_part *part = &job->parts[i];
        uint32_t first = part->position;
        if (first == part->end)
            continue;
        int code = mst__nats_publisher_put(&messaging->publishers[i], part);
        if (code < 0 && !taken)
            return code;
        if (code < 0) {
            struct mst__nats_event refused = {.kind = MST__NATS_REFUSED, .code = (int16_t)code, .slot = job->slot};
            struct mst_span text = {mst_error_text(code), strlen(mst_error_text(code))};
            refused.generation = job->generation;
            refused.first = first;
            refused.end = job->cast->count;
            put_event(messaging, &refused, &text);
            break;
        }
        taken++;
    }
    return 0;
}

static void send_cast(struct mst_messaging *base, struct mst_cast *cast)
{
    struct messaging *messaging = self(base);
    int code = messaging->closing ? MST_ECLOSED : messaging->publishers_started ? 0 : messaging->failed.code;
    list_cast(messaging, cast);
    if (code == 0) {
        struct mst__nats_job *job = make_job(messaging, cast);
        code = job ? 0 : MST_ENOMEM;
        if (job && cast->deadline != UINT64_MAX)
            code = mst_timers_set(&messaging->loop->timers, &job->deadline, cast->deadline);
        if (code == 0 && cast->count)
            code = put_parts(messaging, job);
    }
    if (code < 0) {
        cast->slot_state[STATE_FLAGS] = (uint64_t)-code << CODE_SHIFT;
        set_pending(messaging, cast, REFUSE_PENDING);
    }
}

static void release_cast(struct mst_messaging *base, struct mst_cast *cast)
{
    struct messaging *messaging = self(base);
    struct mst__nats_job *job = job_of(cast);
    if ((cast->slot_state[STATE_FLAGS] & RELEASE_PENDING) || (job && job->let_go))
        return;
    if (job) {
        mst_timers_cancel(&messaging->loop->timers, &job->deadline);
        job->let_go = true;
        struct mst__nats_event let_go = {.kind = MST__NATS_LET_GO, .slot = job->slot, .generation = job->generation};
        job->holders = 1;
        /* A publisher that is reading it just now says so itself when it is done. */
        for (uint32_t i = 0; i < messaging->publisher_count; i++)
            job->holders += !mst__nats_publisher_drop(&messaging->publishers[i], &job->parts[i]);
        put_event(messaging, &let_go, NULL);
        return;
    }
    set_pending(messaging, cast, RELEASE_PENDING);
}

static int not_started(const struct messaging *messaging, struct mst_error *error)
{
    if (messaging->closing)
        return mst_error_set(error, MST_ECLOSED, "messaging was closed");
    if (messaging->control_started)
        return 0;
    if (error)
        *error = messaging->failed;
    return messaging->failed.code;
}

static int listen_to(struct mst_messaging *base, const char *subject, const char *queue, struct mst_listener *listener,
                     struct mst_error *error)
{
    struct messaging *messaging = self(base);
    int code = not_started(messaging, error);
    listener->slot_state = NULL;
    return code < 0 ? code : mst__nats_control_listen(&messaging->control, subject, queue, listener, error);
}

static void unlisten(struct mst_messaging *base, struct mst_listener *listener)
{
    mst__nats_control_unlisten(&self(base)->control, listener);
}

static int publish(struct mst_messaging *base, struct mst_span subject, struct mst_span reply,
                   const struct mst_header *headers, uint32_t header_count, struct mst_span payload,
                   struct mst_error *error)
{
    struct messaging *messaging = self(base);
    int code = not_started(messaging, error);
    return code < 0
               ? code
               : mst__nats_control_publish(&messaging->control, subject, reply, headers, header_count, payload, error);
}

static size_t max_payload(struct mst_messaging *base)
{
    struct messaging *messaging = self(base);
    uint64_t least = messaging->publishers_started ? UINT64_MAX : 0;
    for (uint32_t i = 0; i < messaging->publishers_started; i++) {
        uint64_t most = atomic_load(&messaging->publishers[i].max_payload);
        least = most < least ? most : least;
    }
    return (size_t)least;
}

static uint32_t shards(struct mst_messaging *base)
{
    return self(base)->publisher_count;
}

static bool healthy(struct mst_messaging *base, struct mst_error *why)
{
    struct messaging *messaging = self(base);
    for (uint32_t i = 0; i <= messaging->publisher_count; i++) {
        if (messaging->sources[i].up)
            continue;
        if (why)
            *why = messaging->failed.code ? messaging->failed : messaging->sources[i].why;
        return false;
    }
    return true;
}

static void get_stats(struct mst_messaging *base, struct mst_messaging_stats *stats)
{
    struct messaging *messaging = self(base);
    *stats = messaging->stats;
    for (uint32_t i = 0; i < messaging->publishers_started; i++) {
        stats->published += atomic_load(&messaging->publishers[i].published);
        stats->fences += atomic_load(&messaging->publishers[i].fences);
        stats->epochs += atomic_load(&messaging->publishers[i].epochs);
    }
}

static const struct mst_messaging_ops operations = {
    .name = "nats",
    .send = send_cast,
    .release = release_cast,
    .listen = listen_to,
    .unlisten = unlisten,
    .publish = publish,
    .max_payload = max_payload,
    .shards = shards,
    .healthy = healthy,
    .stats = get_stats,
    .close = close_messaging,
};

/* ------------------------------------------------------------------------ opening */

static int start_publisher(struct messaging *messaging, struct mst_log *log, const struct mst_nats_options *options,
                           uint64_t deadline)
{
    struct mst_error *error = &messaging->failed;
    struct mst__nats_publisher *publisher = &messaging->publishers[messaging->publishers_started];
    int code = mst__nats_options_create(&publisher->options, options, deadline, error);
    if (code < 0)
        return code;
    publisher->events = &messaging->events;
    publisher->log = log;
    publisher->label = messaging->label;
    publisher->source = (uint8_t)(MST__NATS_PUBLISHER + messaging->publishers_started);
    if ((code = mst__nats_publisher_start(publisher, options)) < 0)
        return mst_error_set(error, code, "cannot start a publisher: %s", mst_error_text(code));
    messaging->publishers_started++;
    return 0;
}

static int start(struct messaging *messaging, struct mst_log *log, const struct mst_nats_options *options)
{
    struct mst_error *error = &messaging->failed;
    struct mst__nats_control *control = &messaging->control;
    uint64_t deadline = options->fence_timeout ? options->fence_timeout : 5 * MST_NS_PER_SECOND;
    int code = 0;
    while (messaging->publishers_started < messaging->publisher_count)
        if ((code = start_publisher(messaging, log, options, deadline)) < 0)
            return code;
    control->events = &messaging->events;
    control->log = log;
    control->label = messaging->label;
    if ((code = mst__nats_options_create(&control->options, options, deadline, error)) < 0)
        return code;
    if ((code = mst__nats_control_start(control)) < 0)
        return mst_error_set(error, code, "cannot start the control thread: %s", mst_error_text(code));
    messaging->control_started = true;
    return 0;
}

struct mst_messaging *mst_nats_messaging_open(struct mst_loop *loop, struct mst_log *log,
                                              const struct mst_nats_options *options,
                                              void (*ready)(void *context, int status, const struct mst_error *error),
                                              void *context)
{
    struct messaging *messaging = calloc(1, sizeof *messaging);
    if (!messaging)
        return NULL;
    messaging->base.ops = &operations;
    messaging->loop = loop;
    messaging->ready = ready;
    messaging->ready_context = context;
    messaging->label = mst__nats_label(options->servers ? options->servers : NATS_DEFAULT_URL);
    messaging->soon = (struct mst_timer){.fire = on_soon, .owner = messaging};
    messaging->publisher_count = options->publishers == 0                     ? PUBLISHERS
                                 : options->publishers < MST__NATS_PUBLISHERS ? options->publishers
                                                                              : MST__NATS_PUBLISHERS;
    messaging->publishers = calloc(messaging->publisher_count, sizeof *messaging->publishers);
    if (!messaging->publishers || !messaging->label ||
        mst__nats_events_init(&messaging->events, loop->uv, on_wake, messaging) < 0) {
        free_messaging(messaging);
        return NULL;
    }
    for (uint32_t i = 0; i <= messaging->publisher_count; i++)
        mst_error_set(&messaging->sources[i].why, MST_ENATS, "NATS at %s is not connected yet", messaging->label);
    if (start(messaging, log, options) < 0)
        uv_async_send(&messaging->events.wake);
    return &messaging->base;
}
