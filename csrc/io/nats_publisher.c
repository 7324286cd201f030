// SPDX-License-Identifier: Apache-2.0
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "io/nats_internal.h"

enum {
    MOST_QUEUED = 4096, /* casts */
    WINDOW = 512,
    WINDOWS = 64,
    MOST_WINDOW = 65536,
    MOST_WINDOWS = 4096,
    SETTLED_SECONDS = 2, /* an epoch that lived as long was a good one */
};

/* ------------------------------------------------------------------------ windows */

/* Tells the outcome of `count` segments from the front of the ring. */
static void settle_segments(struct mst__nats_publisher *publisher, uint32_t count,
                            const struct mst__nats_event *outcome, const struct mst_span *text)
{
    for (uint32_t i = 0; i < count; i++) {
        const struct mst__nats_segment *segment = &publisher->segments[publisher->segment_first];
        struct mst__nats_event event = *outcome;
        event.slot = segment->slot;
        event.generation = segment->generation;
        event.first = segment->first;
        event.end = segment->end;
        mst__nats_events_post(publisher->events, &event, text, text ? 1 : 0);
        publisher->segment_first = (publisher->segment_first + 1) % publisher->segment_capacity;
    }
    publisher->segment_count -= count;
}

void mst__nats_windows_settle(struct mst__nats_publisher *publisher, uint64_t sequence,
                              const struct mst__nats_event *outcome, const struct mst_span *text)
{
    while (publisher->window_count && publisher->windows[publisher->window_first].sequence <= sequence) {
        settle_segments(publisher, publisher->windows[publisher->window_first].segments, outcome, text);
        publisher->window_first = (publisher->window_first + 1) % publisher->window_limit;
        publisher->window_count--;
    }
    /* The end of an epoch takes what is in the open window along. */
    if (sequence == UINT64_MAX)
        settle_segments(publisher, publisher->segment_count, outcome, text);
}

static void add_segment(struct mst__nats_publisher *publisher, const struct mst__nats_part *part, uint32_t end)
{
    uint32_t at = (publisher->segment_first + publisher->segment_count) % publisher->segment_capacity;
    publisher->segments[at] = (struct mst__nats_segment){part->job->slot, part->job->generation, part->position, end};
    publisher->segment_count++;
    publisher->open_segments++;
    publisher->open_messages += end - part->position;
}

static void end_epoch(struct mst__nats_publisher *publisher, const struct mst_error *reason)
{
    bool good =
        publisher->proven || mst_clock_monotonic() - publisher->epoch_began > SETTLED_SECONDS * MST_NS_PER_SECOND;
    struct mst__nats_event down = {.kind = MST__NATS_DOWN, .source = publisher->source, .code = (int16_t)reason->code};
    struct mst_span text = {reason->message, strlen(reason->message)};
    pthread_mutex_unlock(&publisher->lock);
    mst_log_write(publisher->log, MST_LOG_WARN, "nats", "publisher connection lost", "error", reason->message,
                  "servers", publisher->label, NULL);
    mst__nats_events_post(publisher->events, &down, &text, 1);
    mst__nats_epoch_end(publisher, reason);
    if (good)
        mst__nats_backoff_reset(&publisher->backoff);
    pthread_mutex_lock(&publisher->lock);
}

static void end_epoch_status(struct mst__nats_publisher *publisher, natsStatus status)
{
    struct mst_error reason = publisher->reason;
    if (!publisher->broken)
        mst__nats_status(status, &reason, "NATS: publishing failed");
    end_epoch(publisher, &reason);
}

/* Writes the marker behind the open window. With the lock, which it lets go meanwhile. */
static void close_window(struct mst__nats_publisher *publisher)
{
    uint32_t at = (publisher->window_first + publisher->window_count) % publisher->window_limit;
    /* Recorded first: the fence may be back before the call returns. */
    publisher->windows[at] = (struct mst__nats_window){
        .sequence = ++publisher->sequence, .sent_at = mst_clock_monotonic(), .segments = publisher->open_segments};
    if (++publisher->window_count == publisher->window_limit)
        publisher->congested = true;
    publisher->open_messages = publisher->open_segments = 0;
    publisher->open_bytes = 0;
    publisher->unflushed = true;
    pthread_mutex_unlock(&publisher->lock);
    natsStatus status = mst__nats_epoch_mark(publisher, publisher->sequence);
    pthread_mutex_lock(&publisher->lock);
    if (status != NATS_OK)
        end_epoch_status(publisher, status);
}

/* When the oldest fence is overdue. One that comes back gives the others their time anew: the server is at work. */
static uint64_t fence_deadline(const struct mst__nats_publisher *publisher)
{
    if (publisher->window_count == 0)
        return UINT64_MAX;
    uint64_t since = publisher->windows[publisher->window_first].sent_at;
    return (since > publisher->progress ? since : publisher->progress) + publisher->fence_timeout;
}

/* ------------------------------------------------------------------------ slices */

struct slice {
    uint32_t end; /* messages up to here were handed over */
    size_t bytes;
    int refused;       /* the message at `end` cannot be sent: code */
    natsStatus status; /* not OK: the connection is no good any more */
};

/* The part of the reply subject that all messages of a job share. */
static char *reply_prefix(struct mst__nats_publisher *publisher, const struct mst__nats_job *job)
{
    char *to = publisher->reply;
    memcpy(to, publisher->inbox, publisher->inbox_length);
    to += publisher->inbox_length;
    *to++ = 'r';
    *to++ = '.';
    to += mst__nats_put_hex(to, job->slot);
    *to++ = '.';
    to += mst__nats_put_hex(to, job->generation);
    *to++ = '.';
    return to;
}

static natsStatus publish_message(struct mst__nats_publisher *publisher, const struct mst_cast *cast, uint32_t index,
                                  char *reply, struct slice *slice)
{
    const struct mst_cast_message *message = &cast->messages[index];
    const char *body = cast->payload.data;
    size_t length = cast->payload.length;
    if (message->body_length)
        body = cast->text.data + message->body_offset, length = message->body_length;
    if (length > INT32_MAX)
        return NATS_MAX_PAYLOAD;
    if (!mst__nats_subject_copy(publisher->subject, cast->text.data + message->subject_offset, message->subject_length,
                                false))
        return NATS_INVALID_SUBJECT;
    slice->bytes += length + message->subject_length;
    if (!reply)
        return natsConnection_Publish(publisher->connection, publisher->subject, body, (int)length);
    reply[mst__nats_put_hex(reply, index)] = '\0';
    return natsConnection_PublishRequest(publisher->connection, publisher->subject, publisher->reply, body,
                                         (int)length);
}

/* Hands messages of a part to nats.c until the window is full. Without the lock. */
static void publish_messages(struct mst__nats_publisher *publisher, const struct mst__nats_part *part,
                             struct slice *slice)
{
    const struct mst_cast *cast = part->job->cast;
    char *reply = cast->want_replies ? reply_prefix(publisher, part->job) : NULL;
    uint32_t room = publisher->window_messages - publisher->open_messages;
    uint32_t most = part->end - part->position < room ? part->end : part->position + room;
    slice->end = part->position;
    while (slice->end < most && publisher->open_bytes + slice->bytes < MST__NATS_WINDOW_BYTES) {
        natsStatus status = publish_message(publisher, cast, slice->end, reply, slice);
        if (status == NATS_MAX_PAYLOAD || status == NATS_INVALID_SUBJECT) {
            slice->refused = status == NATS_MAX_PAYLOAD ? MST_ETOOBIG : MST_EINVAL;
            break;
        }
        /* On a closed connection nothing was written; with any other error it may have been. */
        if (status != NATS_CONNECTION_CLOSED)
            slice->end++;
        if (status != NATS_OK) {
            slice->status = status;
            break;
        }
    }
    atomic_fetch_add_explicit(&publisher->published, slice->end - part->position, memory_order_relaxed);
}

static void refuse(struct mst__nats_publisher *publisher, struct mst__nats_part *part, uint32_t end, int code,
                   const char *text)
{
    struct mst__nats_event event = {.kind = MST__NATS_REFUSED,
                                    .code = (int16_t)code,
                                    .slot = part->job->slot,
                                    .generation = part->job->generation,
                                    .first = part->position,
                                    .end = end};
    struct mst_span piece = {text, strlen(text)};
    if (part->position < end)
        mst__nats_events_post(publisher->events, &event, &piece, 1);
    part->position = end;
}

static void unlink_part(struct mst__nats_publisher *publisher, struct mst__nats_part *part)
{
    struct mst__nats_part **link = &publisher->head, *before = NULL;
    for (; *link != part; link = &(*link)->next)
        before = *link;
    *link = part->next;
    if (publisher->tail == part)
        publisher->tail = before;
    part->next = NULL;
    part->queued = false;
    publisher->queued--;
}

static void append_part(struct mst__nats_publisher *publisher, struct mst__nats_part *part)
{
    part->next = NULL;
    if (publisher->tail)
        publisher->tail->next = part;
    else
        publisher->head = part;
    publisher->tail = part;
    part->queued = true;
    publisher->queued++;
}

/* What is to be said of a part after its slice: it is at its end, was ended meanwhile, or has another turn later. */
static void requeue(struct mst__nats_publisher *publisher, struct mst__nats_part *part)
{
    struct mst__nats_event let_go = {
        .kind = MST__NATS_LET_GO, .slot = part->job->slot, .generation = part->job->generation};
    unlink_part(publisher, part);
    if (part->dropped)
        mst__nats_events_post(publisher->events, &let_go, NULL, 0);
    else if (part->expired)
        refuse(publisher, part, part->end, MST_EDEADLINE, mst_error_text(MST_EDEADLINE));
    else if (part->position < part->end)
        append_part(publisher, part);
}

/* A window's worth of the first part; then it is the next one's turn, so that a long cast does not hold up a short. */
static void publish_slice(struct mst__nats_publisher *publisher)
{
    struct mst__nats_part *part = publisher->head;
    struct slice slice = {.status = NATS_OK};
    part->busy = true;
    pthread_mutex_unlock(&publisher->lock);
    publish_messages(publisher, part, &slice);
    pthread_mutex_lock(&publisher->lock);
    part->busy = false;
    if (slice.end > part->position)
        add_segment(publisher, part, slice.end);
    publisher->open_bytes += slice.bytes;
    part->position = slice.end;
    if (slice.refused)
        refuse(publisher, part, slice.end + 1, slice.refused,
               slice.refused == MST_ETOOBIG ? "the message is larger than the NATS server takes"
                                            : "the subject is not one that NATS can carry");
    requeue(publisher, part);
    if (slice.status != NATS_OK)
        end_epoch_status(publisher, slice.status);
    else if (publisher->open_messages >= publisher->window_messages ||
             publisher->open_bytes >= MST__NATS_WINDOW_BYTES || publisher->open_segments >= MST__NATS_SEGMENTS)
        close_window(publisher);
}

/* ------------------------------------------------------------------------ the thread */

static void connect_epoch(struct mst__nats_publisher *publisher)
{
    struct mst_error error;
    pthread_mutex_unlock(&publisher->lock);
    int code = mst__nats_epoch_open(publisher, &error);
    if (code == 0) {
        struct mst__nats_event up = {.kind = MST__NATS_UP, .source = publisher->source};
        mst_log_write(publisher->log, MST_LOG_INFO, "nats", "publisher connected", "servers", publisher->label, NULL);
        mst__nats_events_post(publisher->events, &up, NULL, 0);
        pthread_mutex_lock(&publisher->lock);
        return;
    }
    struct mst__nats_event down = {.kind = MST__NATS_DOWN, .source = publisher->source, .code = (int16_t)code};
    struct mst_span text = {error.message, strlen(error.message)};
    mst_log_write(publisher->log, MST_LOG_WARN, "nats", "publisher cannot connect", "error", error.message, NULL);
    mst__nats_events_post(publisher->events, &down, &text, 1);
    pthread_mutex_lock(&publisher->lock);
}

static void pause_between_epochs(struct mst__nats_publisher *publisher)
{
    uint64_t until = mst_clock_monotonic() + mst__nats_backoff_next(&publisher->backoff);
    while (!publisher->stop && mst_clock_monotonic() < until)
        mst__nats_wait(&publisher->changed, &publisher->lock, until);
}

/*
 * Writes out what lies in nats.c's buffer. The result is ignored: it can be OK although nothing was written, and the
 * fences tell the truth anyway.
 */
static void push(struct mst__nats_publisher *publisher)
{
    publisher->unflushed = false;
    pthread_mutex_unlock(&publisher->lock);
    natsConnection_FlushTimeout(publisher->connection, 1);
    pthread_mutex_lock(&publisher->lock);
}

static void step(struct mst__nats_publisher *publisher)
{
    uint64_t overdue = fence_deadline(publisher);
    if (publisher->broken) {
        struct mst_error reason = publisher->reason;
        end_epoch(publisher, &reason);
    } else if (overdue <= mst_clock_monotonic()) {
        struct mst_error reason;
        mst_error_set(&reason, MST_ENATS, "NATS: the server did not answer within the fence timeout");
        end_epoch(publisher, &reason);
    } else if (publisher->head && !publisher->congested) {
        publish_slice(publisher);
    } else if (publisher->open_messages) {
        close_window(publisher);
    } else if (publisher->unflushed) {
        push(publisher);
    } else {
        mst__nats_wait(&publisher->changed, &publisher->lock, overdue);
    }
}

static void *run(void *owner)
{
    struct mst__nats_publisher *publisher = owner;
    struct mst__nats_event stopped = {.kind = MST__NATS_STOPPED, .source = publisher->source};
    struct mst_error closing;
    bool began = false;
    mst_error_set(&closing, MST_ECLOSED, "messaging was closed");
    pthread_mutex_lock(&publisher->lock);
    while (!publisher->stop) {
        if (publisher->connection) {
            step(publisher);
            continue;
        }
        if (began)
            pause_between_epochs(publisher);
        began = true;
        if (!publisher->stop)
            connect_epoch(publisher);
    }
    for (struct mst__nats_part *part; (part = publisher->head) != NULL;) {
        unlink_part(publisher, part);
        refuse(publisher, part, part->end, MST_ECLOSED, closing.message);
    }
    pthread_mutex_unlock(&publisher->lock);
    if (publisher->connection)
        mst__nats_epoch_end(publisher, &closing);
    nats_ReleaseThreadMemory();
    mst__nats_events_post(publisher->events, &stopped, NULL, 0);
    return NULL;
}

/* ------------------------------------------------------------------------ from the loop */

int mst__nats_publisher_put(struct mst__nats_publisher *publisher, struct mst__nats_part *part)
{
    int code = 0;
    pthread_mutex_lock(&publisher->lock);
    if (publisher->stop)
        code = MST_ECLOSED;
    else if (publisher->queued >= MOST_QUEUED)
        code = MST_EBUSY;
    else
        append_part(publisher, part);
    if (code == 0 && publisher->queued == 1)
        pthread_cond_signal(&publisher->changed);
    pthread_mutex_unlock(&publisher->lock);
    return code;
}

bool mst__nats_publisher_drop(struct mst__nats_publisher *publisher, struct mst__nats_part *part)
{
    pthread_mutex_lock(&publisher->lock);
    bool busy = part->busy;
    if (busy)
        part->dropped = true;
    else if (part->queued)
        unlink_part(publisher, part);
    pthread_mutex_unlock(&publisher->lock);
    return !busy;
}

void mst__nats_publisher_expire(struct mst__nats_publisher *publisher, struct mst__nats_part *part)
{
    pthread_mutex_lock(&publisher->lock);
    if (part->busy) {
        part->expired = true;
    } else if (part->queued) {
        unlink_part(publisher, part);
        refuse(publisher, part, part->end, MST_EDEADLINE, mst_error_text(MST_EDEADLINE));
    }
    pthread_mutex_unlock(&publisher->lock);
}

static uint32_t bounded(uint32_t wanted, uint32_t normal, uint32_t most)
{
    return wanted == 0 ? normal : wanted < most ? wanted : most;
}

static void free_memory(struct mst__nats_publisher *publisher)
{
    free(publisher->segments);
    free(publisher->windows);
    natsOptions_Destroy(publisher->options);
}

int mst__nats_publisher_start(struct mst__nats_publisher *publisher, const struct mst_nats_options *options)
{
    publisher->window_messages = bounded(options->window, WINDOW, MOST_WINDOW);
    publisher->window_limit = bounded(options->windows, WINDOWS, MOST_WINDOWS);
    publisher->fence_timeout = options->fence_timeout ? options->fence_timeout : 5 * MST_NS_PER_SECOND;
    publisher->connect_timeout = options->connect_timeout ? options->connect_timeout : 2 * MST_NS_PER_SECOND;
    publisher->segment_capacity = (publisher->window_limit + 1) * MST__NATS_SEGMENTS;
    publisher->segments = calloc(publisher->segment_capacity, sizeof *publisher->segments);
    publisher->windows = calloc(publisher->window_limit, sizeof *publisher->windows);
    mst__nats_backoff_init(&publisher->backoff);
    atomic_store(&publisher->max_payload, 1 << 20);
    int code = publisher->segments && publisher->windows ? mst__nats_inbox(publisher->inbox, &publisher->inbox_length)
                                                         : MST_ENOMEM;
    if (code == 0 && pthread_mutex_init(&publisher->lock, NULL) != 0)
        code = MST_ENOMEM;
    if (code < 0)
        goto fail_memory;
    if ((code = mst__nats_condition_init(&publisher->changed)) < 0)
        goto fail_lock;
    if ((code = mst__nats_thread_start(&publisher->thread, run, publisher)) == 0)
        return 0;
    pthread_cond_destroy(&publisher->changed);
fail_lock:
    pthread_mutex_destroy(&publisher->lock);
fail_memory:
    free_memory(publisher);
    return code;
}

void mst__nats_publisher_stop(struct mst__nats_publisher *publisher)
{
    pthread_mutex_lock(&publisher->lock);
    publisher->stop = true;
    pthread_cond_signal(&publisher->changed);
    pthread_mutex_unlock(&publisher->lock);
}

void mst__nats_publisher_finish(struct mst__nats_publisher *publisher)
{
    pthread_join(publisher->thread, NULL);
    pthread_cond_destroy(&publisher->changed);
    pthread_mutex_destroy(&publisher->lock);
    free_memory(publisher);
}
