// SPDX-License-Identifier: Apache-2.0
#include "io/nats_messaging.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "io/nats_casts.h"

enum {
    EVENTS_PER_TURN = 8192, /* then the loop's other business has its turn */
    PUBLISHERS = 1,
};

struct messaging {
    struct mst_messaging base;
    struct mst_loop *loop;
    char *label;
    struct mst__nats_settings settings;
    struct mst__nats_events events;
    struct mst_timer soon; /* for the events that this thread has put */
    struct mst__nats_publisher *publishers;
    struct mst__nats_control control;
    uint32_t publisher_count, publishers_started, publishers_open;
    bool control_started, control_up, control_stopped;
    struct mst_error why;    /* of the last connection that was lost or could not be made */
    struct mst_error failed; /* the options cannot be used: nothing was started */

    struct mst__nats_casts casts;

    void (*ready)(void *context, int status, const struct mst_error *error);
    void *ready_context;
    bool closing, stopping, finishing;
    void (*closed)(void *context);
    void *closed_context;
};

static struct messaging *self(struct mst_messaging *messaging)
{
    return (struct messaging *)messaging;
}

/* ------------------------------------------------------------------------ events */

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

static bool all_up(const struct messaging *messaging)
{
    bool all = messaging->control_up;
    for (uint32_t i = 0; i < messaging->publisher_count; i++)
        all = all && messaging->publishers[i].up;
    return all;
}

static void on_change(struct messaging *messaging, bool up, const struct mst_error *why)
{
    if (!up)
        messaging->why = *why;
    if (up && all_up(messaging))
        tell_ready(messaging, 0, NULL);
    else if (!up)
        tell_ready(messaging, why->code, why);
}

static void on_publisher(struct mst__nats_publisher *publisher, bool up, const struct mst_error *why)
{
    on_change(publisher->owner, up, why);
}

/*
 * While the control connection is down, receivers of this process would be taken for nobody; after a restart of the
 * server the publishers are back before it is. So they wait for it.
 */
static void on_control(struct messaging *messaging, const struct mst__nats_event *event)
{
    struct mst_error why;
    struct mst_span text = mst__nats_event_piece(&messaging->events, event, 0);
    messaging->control_up = event->kind == MST__NATS_UP;
    if (!messaging->control_up)
        mst_error_set(&why, event->code, "%.*s", (int)text.length, text.data);
    for (uint32_t i = 0; i < messaging->publishers_started; i++)
        mst__nats_publisher_hold(&messaging->publishers[i], !messaging->control_up);
    on_change(messaging, messaging->control_up, &why);
}

static void handle(struct messaging *messaging, const struct mst__nats_event *event)
{
    switch ((enum mst__nats_event_kind)event->kind) {
    case MST__NATS_LET_GO:
        mst__nats_casts_let_go(&messaging->casts, event);
        break;
    case MST__NATS_DELIVERY:
        on_delivery(messaging, event);
        break;
    case MST__NATS_GONE:
        on_gone(event);
        break;
    case MST__NATS_UP:
    case MST__NATS_DOWN:
        on_control(messaging, event);
        break;
    case MST__NATS_STOPPED:
        messaging->control_stopped = true;
        break;
    case MST__NATS_REFUSED:
        mst__nats_casts_refused(&messaging->casts, event);
        break;
    }
}

/* ------------------------------------------------------------------------ closing */

static void free_messaging(struct messaging *messaging)
{
    mst__nats_casts_deinit(&messaging->casts);
    mst__nats_settings_deinit(&messaging->settings);
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
    mst__nats_casts_finish(&messaging->casts);
    mst_timers_cancel(&messaging->loop->timers, &messaging->soon);
    uv_close((uv_handle_t *)&messaging->events.wake, on_wake_closed);
}

static bool all_stopped(const struct messaging *messaging)
{
    return messaging->publishers_open == 0 && (!messaging->control_started || messaging->control_stopped);
}

static void on_publisher_stopped(struct mst__nats_publisher *publisher)
{
    struct messaging *messaging = publisher->owner;
    messaging->publishers_open--;
    uv_async_send(&messaging->events.wake);
}

static void stop(struct messaging *messaging)
{
    messaging->stopping = true;
    messaging->publishers_open = messaging->publishers_started;
    for (uint32_t i = 0; i < messaging->publishers_started; i++)
        if (mst__nats_publisher_stop(&messaging->publishers[i], on_publisher_stopped))
            messaging->publishers_open--;
    if (messaging->control_started)
        mst__nats_control_stop(&messaging->control);
}

static void look(struct messaging *messaging)
{
    const struct mst__nats_event *event = NULL;
    if (messaging->failed.code)
        tell_ready(messaging, messaging->failed.code, &messaging->failed);
    mst__nats_casts_tell(&messaging->casts);
    if (messaging->closing && !messaging->stopping)
        stop(messaging);
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
    uv_async_send(&messaging->events.wake);
}

/* ------------------------------------------------------------------------ operations */

static void send_cast(struct mst_messaging *base, struct mst_cast *cast)
{
    struct messaging *messaging = self(base);
    int code = messaging->closing ? MST_ECLOSED : messaging->publishers_started ? 0 : messaging->failed.code;
    mst__nats_casts_send(&messaging->casts, cast, code);
}

static void release_cast(struct mst_messaging *base, struct mst_cast *cast)
{
    mst__nats_casts_release(&self(base)->casts, cast);
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
    size_t least = messaging->publishers_started ? SIZE_MAX : 0;
    for (uint32_t i = 0; i < messaging->publishers_started; i++) {
        size_t most = messaging->publishers[i].link.server.max_payload;
        least = most < least ? most : least;
    }
    return least;
}

static uint32_t shards(struct mst_messaging *base)
{
    return self(base)->publisher_count;
}

static bool healthy(struct mst_messaging *base, struct mst_error *why)
{
    struct messaging *messaging = self(base);
    bool up = all_up(messaging), answering = up;
    for (uint32_t i = 0; i < messaging->publishers_started; i++)
        answering = answering && mst__nats_publisher_healthy(&messaging->publishers[i]);
    if (why && !up)
        *why = messaging->failed.code ? messaging->failed : messaging->why;
    else if (why && !answering)
        mst_error_set(why, MST_ENATS, "NATS at %s: the server does not answer", messaging->label);
    return answering;
}

static void get_stats(struct mst_messaging *base, struct mst_messaging_stats *stats)
{
    struct messaging *messaging = self(base);
    *stats = messaging->casts.stats;
    for (uint32_t i = 0; i < messaging->publishers_started; i++) {
        stats->published += messaging->publishers[i].published;
        stats->fences += messaging->publishers[i].fences;
        stats->epochs += messaging->publishers[i].epochs;
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

static int start_publisher(struct messaging *messaging, struct mst_log *log, const struct mst_nats_options *options)
{
    struct mst__nats_publisher *publisher = &messaging->publishers[messaging->publishers_started];
    publisher->loop = messaging->loop;
    publisher->log = log;
    publisher->casts = &messaging->casts;
    publisher->settings = &messaging->settings;
    publisher->label = messaging->label;
    publisher->owner = messaging;
    publisher->changed = on_publisher;
    publisher->held = true;
    int code = mst__nats_publisher_start(publisher, options);
    if (code < 0)
        return mst_error_set(&messaging->failed, code, "cannot start a publisher: %s", mst_error_text(code));
    messaging->publishers_started++;
    return 0;
}

static int start(struct messaging *messaging, struct mst_log *log, const struct mst_nats_options *options)
{
    struct mst_error *error = &messaging->failed;
    struct mst__nats_control *control = &messaging->control;
    uint64_t deadline = options->fence_timeout ? options->fence_timeout : 5 * MST_NS_PER_SECOND;
    control->events = &messaging->events;
    control->log = log;
    control->label = messaging->label;
    int code = mst__nats_settings_init(&messaging->settings, options, error);
    if (code == 0)
        code = mst__nats_options_create(&control->options, options, deadline, error);
    if (code < 0)
        return code;
    if ((code = mst__nats_control_start(control)) < 0)
        return mst_error_set(error, code, "cannot start the control thread: %s", mst_error_text(code));
    messaging->control_started = true;
    while (code == 0 && messaging->publishers_started < messaging->publisher_count)
        code = start_publisher(messaging, log, options);
    return code;
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
    messaging->casts = (struct mst__nats_casts){.loop = loop,
                                                .events = &messaging->events,
                                                .soon = &messaging->soon,
                                                .publishers = messaging->publishers,
                                                .publisher_count = messaging->publisher_count};
    mst_error_set(&messaging->why, MST_ENATS, "NATS at %s is not connected yet", messaging->label);
    if (start(messaging, log, options) < 0)
        uv_async_send(&messaging->events.wake);
    return &messaging->base;
}
