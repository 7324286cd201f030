// SPDX-License-Identifier: Apache-2.0
#include <stdlib.h>
#include <unistd.h>

#include "io/nats_internal.h"

enum {
    OUTSIDE_EVENTS = 1 << 20, /* most events pending before deliveries are left out */
    OUTSIDE_BYTES = 64 << 20, /* most bytes pending, likewise */
    KEPT_EVENTS = 1 << 16,    /* capacity beyond which a batch gives its memory back once it is empty */
    KEPT_BYTES = 4 << 20,
    FIRST_CAPACITY = 256,
    MEMORY_PAUSE_US = 1000,
};

int mst__nats_events_init(struct mst__nats_events *events, uv_loop_t *uv, uv_async_cb wake, void *owner)
{
    if (pthread_mutex_init(&events->lock, NULL) != 0)
        return MST_ENOMEM;
    if (uv_async_init(uv, &events->wake, wake) != 0) {
        pthread_mutex_destroy(&events->lock);
        return MST_ENOMEM;
    }
    events->wake.data = owner;
    return 0;
}

static void batch_deinit(struct mst__nats_batch *batch)
{
    free(batch->events);
    mst_buffer_deinit(&batch->bytes);
    *batch = (struct mst__nats_batch){0};
}

void mst__nats_events_deinit(struct mst__nats_events *events)
{
    batch_deinit(&events->pending);
    batch_deinit(&events->working);
    pthread_mutex_destroy(&events->lock);
}

static bool from_outside(const struct mst__nats_event *event)
{
    return event->kind == MST__NATS_DELIVERY;
}

static bool batch_grow(struct mst__nats_batch *batch)
{
    if (batch->count < batch->capacity)
        return true;
    uint32_t capacity = batch->capacity ? batch->capacity * 2 : FIRST_CAPACITY;
    struct mst__nats_event *events = realloc(batch->events, capacity * sizeof *events);
    if (!events)
        return false;
    batch->events = events;
    batch->capacity = capacity;
    return true;
}

static bool batch_append(struct mst__nats_batch *batch, const struct mst__nats_event *event,
                         const struct mst_span *pieces, unsigned count)
{
    size_t length = 0, offset = batch->bytes.length;
    for (unsigned i = 0; i < count; i++)
        length += pieces[i].length;
    if (!batch_grow(batch))
        return false;
    if (length && !mst_buffer_reserve(&batch->bytes, length)) {
        batch->bytes.failed = false;
        return false;
    }
    struct mst__nats_event *added = &batch->events[batch->count++];
    *added = *event;
    added->offset = offset;
    for (unsigned i = 0; i < count; i++) {
        mst_buffer_append(&batch->bytes, pieces[i].data, pieces[i].length);
        added->lengths[i] = (uint32_t)pieces[i].length;
    }
    return true;
}

/* `was_empty`: nobody has been told yet that there are events. */
static bool post(struct mst__nats_events *events, const struct mst__nats_event *event, const struct mst_span *pieces,
                 unsigned count, bool *was_empty)
{
    pthread_mutex_lock(&events->lock);
    struct mst__nats_batch *batch = &events->pending;
    bool first = batch->count == 0, done = false;
    *was_empty = false;
    if (from_outside(event) && (batch->count >= OUTSIDE_EVENTS || batch->bytes.length >= OUTSIDE_BYTES)) {
        pthread_mutex_unlock(&events->lock);
        return false;
    }
    while (!done && !(done = batch_append(batch, event, pieces, count)) && !from_outside(event)) {
        /* An outcome must not get lost: memory comes back as the loop works. */
        pthread_mutex_unlock(&events->lock);
        usleep(MEMORY_PAUSE_US);
        pthread_mutex_lock(&events->lock);
        first = batch->count == 0;
    }
    pthread_mutex_unlock(&events->lock);
    *was_empty = first && done;
    return done;
}

bool mst__nats_events_post(struct mst__nats_events *events, const struct mst__nats_event *event,
                           const struct mst_span *pieces, unsigned count)
{
    bool first, done = post(events, event, pieces, count, &first);
    if (first)
        uv_async_send(&events->wake);
    return done;
}

bool mst__nats_events_put(struct mst__nats_events *events, const struct mst__nats_event *event,
                          const struct mst_span *pieces, unsigned count)
{
    bool first;
    return post(events, event, pieces, count, &first);
}

static void batch_clear(struct mst__nats_batch *batch)
{
    if (batch->capacity > KEPT_EVENTS || batch->bytes.capacity > KEPT_BYTES) {
        batch_deinit(batch);
        return;
    }
    batch->count = 0;
    mst_buffer_clear(&batch->bytes);
}

const struct mst__nats_event *mst__nats_events_next(struct mst__nats_events *events)
{
    if (events->position == events->working.count) {
        batch_clear(&events->working);
        events->position = 0;
        pthread_mutex_lock(&events->lock);
        struct mst__nats_batch batch = events->pending;
        events->pending = events->working;
        events->working = batch;
        pthread_mutex_unlock(&events->lock);
    }
    if (events->position == events->working.count)
        return NULL;
    return &events->working.events[events->position++];
}

struct mst_span mst__nats_event_piece(const struct mst__nats_events *events, const struct mst__nats_event *event,
                                      unsigned index)
{
    size_t offset = event->offset;
    for (unsigned i = 0; i < index; i++)
        offset += event->lengths[i];
    /* A batch without any bytes has no memory to point into. */
    const char *bytes = events->working.bytes.data ? events->working.bytes.data + offset : "";
    return (struct mst_span){.data = bytes, .length = event->lengths[index]};
}
