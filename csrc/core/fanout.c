// SPDX-License-Identifier: Apache-2.0
#include "core/fanout.h"

#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "base/clock.h"
#include "core/fanout_internal.h"

struct mst_fanout *mst_fanout_create(struct mst_messaging *messaging, struct mst_timers *timers, struct mst_log *log,
                                     struct mst_json_parser *parser, const char *prefix)
{
    struct mst_fanout *fanout = calloc(1, sizeof *fanout + strlen(prefix) + 1);
    if (!fanout)
        return NULL;
    fanout->messaging = messaging;
    fanout->timers = timers;
    fanout->log = log;
    fanout->parser = parser;
    memcpy(fanout->prefix, prefix, strlen(prefix) + 1);
    return fanout;
}

void mst_fanout_destroy(struct mst_fanout *fanout)
{
    if (!fanout)
        return;
    mst_buffer_deinit(&fanout->scratch);
    free(fanout);
}

uint32_t mst_fanout_active(const struct mst_fanout *fanout)
{
    return fanout->active;
}

const struct mst_fanout_stats *mst_fanout_stats(const struct mst_fanout *fanout)
{
    return &fanout->stats;
}

static void multicast_free(struct mst_multicast *multicast)
{
    mst_buffer_deinit(&multicast->ids);
    mst_buffer_deinit(&multicast->codes);
    mst_buffer_deinit(&multicast->text);
    free(multicast->targets);
    free(multicast->order);
    free(multicast->messages);
    free(multicast->cast_messages);
    free(multicast);
}

/* Moves the timer to now, where it does what is due: the end, or sending again. */
static void wake(struct mst_multicast *multicast)
{
    if (multicast->awake || multicast->finished)
        return;
    multicast->awake = true;
    mst_timers_set(multicast->fanout->timers, &multicast->timer, mst_clock_monotonic());
}

static void release_attempts(struct mst_multicast *multicast)
{
    struct mst_messaging *messaging = multicast->fanout->messaging;
    for (struct mst__attempt *attempt = multicast->attempts; attempt; attempt = attempt->next) {
        if (attempt->releasing)
            continue;
        attempt->releasing = true;
        messaging->ops->release(messaging, &attempt->cast);
    }
}

/* Done and in nobody's hands: from here on only the receipts are needed. */
static void let_go(struct mst_multicast *multicast)
{
    multicast->fanout->active--;
    multicast->fanout->under_way -= multicast->target_count;
    mst_buffer_deinit(&multicast->text);
    free(multicast->order);
    free(multicast->messages);
    free(multicast->cast_messages);
    multicast->order = NULL;
    multicast->messages = NULL;
    multicast->cast_messages = NULL;
}

static void finish(struct mst_multicast *multicast)
{
    struct mst_fanout *fanout = multicast->fanout;
    mst_timers_cancel(fanout->timers, &multicast->timer);
    multicast->finished = true;
    multicast->settled = true;
    multicast->ended = mst_clock_monotonic();
    for (int state = 0; state < MST_RECEIPT_STATES; state++)
        fanout->stats.states[state] += multicast->counts[state];
    release_attempts(multicast);
    if (!multicast->attempts)
        let_go(multicast);
    multicast->done(multicast, multicast->owner);
}

static void attempt_released(struct mst_cast *cast)
{
    struct mst__attempt *attempt = cast->owner, **link;
    struct mst_multicast *multicast = attempt->multicast;
    for (link = &multicast->attempts; *link != attempt; link = &(*link)->next)
        ;
    *link = attempt->next;
    if (!attempt->releasing) {
        /* Messaging is closing: no reply can come any more, and nothing can be sent. */
        mst__multicast_settle(multicast, MST_RECEIPT_UNREACHABLE, MST_RECEIPT_UNREACHABLE);
        wake(multicast);
    }
    if (attempt->messages)
        free(cast->messages);
    free(attempt->messages);
    free(attempt);
    if (multicast->attempts || !multicast->finished)
        return;
    let_go(multicast);
    if (multicast->destroyed)
        multicast_free(multicast);
}

/* What was in flight when a connection died may have arrived: it is sent again only to receivers that acknowledge. */
static void message_lost(struct mst_multicast *multicast, uint32_t index)
{
    struct mst__message *message = &multicast->messages[index];
    if (mst__message_final(multicast, index))
        return;
    if (multicast->ack == MST_ACK_NONE || message->tries >= multicast->retries) {
        mst__message_set(multicast, index, MST_RECEIPT_UNREACHABLE, 0);
        return;
    }
    mst__message_set(multicast, index, MST_RECEIPT_UNKNOWN, 0);
    message->waiting = true;
    multicast->waiting++;
}

/* What the deadline makes of a target that never got out: without a connection that is the reason, not the receiver. */
static enum mst_receipt_state never_sent(const struct mst_multicast *multicast)
{
    struct mst_messaging *messaging = multicast->fanout->messaging;
    return messaging->ops->healthy(messaging, NULL) ? MST_RECEIPT_TIMEOUT : MST_RECEIPT_UNREACHABLE;
}

static void message_refused(struct mst_multicast *multicast, uint32_t index, const struct mst_error *error)
{
    int code = error ? error->code : MST_EINTERNAL;
    if (code == MST_EDEADLINE) {
        const struct mst__message *message = &multicast->messages[index];
        mst__message_set(multicast, index, message->tries ? MST_RECEIPT_UNREACHABLE : never_sent(multicast), 0);
        return;
    }
    if (strcmp(mst_error_class(code), "connection") == 0) {
        mst__message_set(multicast, index, MST_RECEIPT_UNREACHABLE, 0);
        return;
    }
    struct mst_buffer text = {0};
    mst_buffer_append_string(&text, mst_error_name(code));
    mst_buffer_append_byte(&text, ' ');
    mst_buffer_append_string(&text, error && error->message[0] ? error->message : mst_error_text(code));
    uint32_t offset = text.failed ? 0 : mst__code_keep(multicast, (struct mst_span){text.data, text.length});
    mst_buffer_deinit(&text);
    mst__message_set(multicast, index, MST_RECEIPT_FAILED, offset);
}

static void message_event(struct mst__attempt *attempt, uint32_t index, const struct mst_cast_event *event)
{
    struct mst_multicast *multicast = attempt->multicast;
    const struct mst__message *message = &multicast->messages[index];
    if (event->kind == MST_CAST_REPLY) {
        if (multicast->ack != MST_ACK_NONE)
            mst__message_reply(multicast, index, event->data);
        return;
    }
    /* A reply is worth the same from any cast; how a message fared counts only in its latest. */
    if (message->attempt != attempt->serial || message->waiting)
        return;
    if (event->kind == MST_CAST_ROUTED)
        mst__message_set(multicast, index, multicast->ack == MST_ACK_NONE ? MST_RECEIPT_PUBLISHED : MST_RECEIPT_SENT,
                         0);
    else if (event->kind == MST_CAST_NO_RECEIVER)
        mst__message_set(multicast, index, MST_RECEIPT_NO_RECEIVER, 0);
    else if (event->kind == MST_CAST_LOST)
        message_lost(multicast, index);
    else if (event->kind == MST_CAST_REFUSED)
        message_refused(multicast, index, event->error);
}

static void log_trouble(const struct mst_multicast *multicast, const struct mst_cast_event *event)
{
    if (event->kind == MST_CAST_LOST || event->kind == MST_CAST_REFUSED)
        mst_log_write(multicast->fanout->log, MST_LOG_WARN, "fanout",
                      event->kind == MST_CAST_LOST ? "messages lost with their connection" : "messages refused",
                      "multicast", multicast->id, "reason", event->error ? event->error->message : NULL, NULL);
}

static void attempt_event(struct mst_cast *cast, const struct mst_cast_event *event)
{
    struct mst__attempt *attempt = cast->owner;
    struct mst_multicast *multicast = attempt->multicast;
    bool single = event->kind == MST_CAST_REPLY || event->kind == MST_CAST_NO_RECEIVER;
    uint32_t end = single ? event->first + 1 : event->end;
    if (multicast->finished || event->first >= cast->count)
        return;
    if (end > cast->count)
        end = cast->count;
    log_trouble(multicast, event);
    for (uint32_t i = event->first; i < end; i++)
        message_event(attempt, attempt->messages ? attempt->messages[i] : i, event);
    if (!multicast->open || multicast->waiting)
        wake(multicast);
}

/* A cast that borrows text and payload of its multicast; its messages are the caller's to fill in. */
static struct mst__attempt *attempt_create(struct mst_multicast *multicast)
{
    struct mst__attempt *attempt = calloc(1, sizeof *attempt);
    if (!attempt)
        return NULL;
    attempt->multicast = multicast;
    attempt->serial = multicast->serials++;
    attempt->cast.text = multicast->text;
    attempt->cast.payload = (struct mst_span){multicast->text.data, multicast->payload_length};
    attempt->cast.want_replies = multicast->ack != MST_ACK_NONE;
    attempt->cast.deadline = multicast->deadline;
    attempt->cast.event = attempt_event;
    attempt->cast.released = attempt_released;
    attempt->cast.owner = attempt;
    return attempt;
}

static void attempt_send(struct mst__attempt *attempt)
{
    struct mst_multicast *multicast = attempt->multicast;
    struct mst_messaging *messaging = multicast->fanout->messaging;
    attempt->next = multicast->attempts;
    multicast->attempts = attempt;
    messaging->ops->send(messaging, &attempt->cast);
}

/* An attempt with room for `count` messages of its own. */
static struct mst__attempt *attempt_create_again(struct mst_multicast *multicast, uint32_t count)
{
    struct mst__attempt *attempt = attempt_create(multicast);
    if (!attempt)
        return NULL;
    attempt->messages = malloc(count * sizeof *attempt->messages);
    attempt->cast.messages = malloc(count * sizeof *attempt->cast.messages);
    if (attempt->messages && attempt->cast.messages)
        return attempt;
    free(attempt->messages);
    free(attempt->cast.messages);
    free(attempt);
    return NULL;
}

static void send_again(struct mst_multicast *multicast)
{
    struct mst__attempt *attempt = attempt_create_again(multicast, multicast->waiting);
    uint32_t shard = 0;
    for (uint32_t i = 0; i < multicast->message_count && multicast->waiting; i++) {
        struct mst__message *message = &multicast->messages[i];
        for (; attempt && multicast->ends[shard] <= i; shard++)
            attempt->cast.ends[shard] = attempt->cast.count;
        if (!message->waiting)
            continue;
        message->waiting = false;
        multicast->waiting--;
        if (!attempt) {
            mst__message_set(multicast, i, MST_RECEIPT_UNREACHABLE, 0);
        } else if (!mst__message_final(multicast, i)) {
            message->attempt = attempt->serial;
            message->tries++;
            attempt->messages[attempt->cast.count] = i;
            attempt->cast.messages[attempt->cast.count++] = multicast->cast_messages[i];
        }
    }
    if (attempt && attempt->cast.count) {
        attempt->cast.shards = multicast->shards;
        for (; shard < multicast->shards; shard++)
            attempt->cast.ends[shard] = attempt->cast.count;
        attempt_send(attempt);
    } else if (attempt) {
        free(attempt->messages);
        free(attempt->cast.messages);
        free(attempt);
    }
}

static void on_timer(struct mst_timer *timer, void *owner)
{
    struct mst_multicast *multicast = owner;
    bool late = timer->at >= multicast->deadline;
    /* Set again before anything else can take its place in the heap: so this cannot fail. */
    mst_timers_set(multicast->fanout->timers, timer, multicast->deadline);
    multicast->awake = false;
    if (multicast->open && late)
        mst__multicast_settle(multicast, never_sent(multicast), MST_RECEIPT_TIMEOUT);
    if (multicast->open && multicast->waiting)
        send_again(multicast);
    if (!multicast->open)
        finish(multicast);
}

static int make_id(char *id)
{
    static const char alphabet[] = "0123456789abcdefghijklmnopqrstuvwxyz";
    uint32_t made = 0;
    memcpy(id, "m-", 2);
    while (made < 16) {
        unsigned char bytes[32];
        if (getrandom(bytes, sizeof bytes, 0) != (ssize_t)sizeof bytes)
            return MST_EINTERNAL;
        for (uint32_t i = 0; i < sizeof bytes && made < 16; i++)
            if (bytes[i] < 252) /* 7 * 36: above it the letters would not be equally likely */
                id[2 + made++] = alphabet[bytes[i] % 36];
    }
    id[18] = '\0';
    return 0;
}

static void multicast_init(struct mst_multicast *multicast, struct mst_fanout *fanout,
                           const struct mst_multicast_request *request)
{
    multicast->fanout = fanout;
    multicast->ack = request->ack;
    multicast->retries = request->retries < UINT16_MAX ? request->retries : UINT16_MAX;
    multicast->started = mst_clock_monotonic();
    multicast->deadline =
        request->timeout < UINT64_MAX - 1 - multicast->started ? multicast->started + request->timeout : UINT64_MAX - 1;
    multicast->timer = (struct mst_timer){.fire = on_timer, .owner = multicast};
    multicast->done = request->done;
    multicast->owner = request->owner;
}

/* Takes the first step of a multicast that is built; nothing can fail behind it. */
static void launch(struct mst_multicast *multicast, struct mst__attempt *attempt)
{
    struct mst_fanout *fanout = multicast->fanout;
    multicast->counts[MST_RECEIPT_QUEUED] = multicast->open = multicast->target_count;
    fanout->active++;
    fanout->under_way += multicast->target_count;
    fanout->stats.multicasts++;
    fanout->stats.targets += multicast->target_count;
    attempt->cast.messages = multicast->cast_messages;
    attempt->cast.count = multicast->message_count;
    attempt->cast.shards = multicast->shards;
    memcpy(attempt->cast.ends, multicast->ends, sizeof multicast->ends);
    if (multicast->message_count) {
        attempt_send(attempt);
    } else {
        free(attempt);
        wake(multicast);
    }
}

int mst_multicast_start(struct mst_fanout *fanout, const struct mst_multicast_request *request,
                        struct mst_multicast **result, struct mst_error *error)
{
    if (fanout->active >= MST__FANOUT_ACTIVE)
        return mst_error_set(error, MST_EBUSY, "%u multicasts are under way", fanout->active);
    if (fanout->active && fanout->under_way + request->targets->count > MST__FANOUT_TARGETS)
        return mst_error_set(error, MST_EBUSY, "more than %u targets would be under way", MST__FANOUT_TARGETS);
    int code;
    struct mst__attempt *attempt = NULL;
    struct mst_multicast *multicast = calloc(1, sizeof *multicast);
    if (!multicast)
        return mst_error_set(error, MST_ENOMEM, "no memory for a multicast");
    multicast_init(multicast, fanout, request);
    if ((code = make_id(multicast->id)) < 0) {
        mst_error_set(error, code, "no random numbers for the id of a multicast");
        goto fail;
    }
    if ((code = mst__multicast_build(multicast, request, error)) < 0)
        goto fail;
    if (!(attempt = attempt_create(multicast)) ||
        mst_timers_set(fanout->timers, &multicast->timer, multicast->deadline) < 0) {
        code = mst_error_set(error, MST_ENOMEM, "no memory for a multicast");
        goto fail;
    }
    *result = multicast;
    launch(multicast, attempt);
    return 0;
fail:
    free(attempt);
    multicast_free(multicast);
    return code;
}

void mst_multicast_cancel(struct mst_multicast *multicast)
{
    if (multicast->finished || !multicast->open)
        return;
    mst__multicast_settle(multicast, MST_RECEIPT_SKIPPED, MST_RECEIPT_UNREACHABLE);
    release_attempts(multicast);
    wake(multicast);
}

void mst_multicast_destroy(struct mst_multicast *multicast)
{
    if (!multicast)
        return;
    if (multicast->attempts)
        multicast->destroyed = true;
    else
        multicast_free(multicast);
}

const char *mst_multicast_id(const struct mst_multicast *multicast)
{
    return multicast->id;
}

uint32_t mst_multicast_targets(const struct mst_multicast *multicast)
{
    return multicast->target_count;
}

uint64_t mst_multicast_digest(const struct mst_multicast *multicast)
{
    return multicast->digest;
}

uint64_t mst_multicast_elapsed(const struct mst_multicast *multicast)
{
    return (multicast->finished ? multicast->ended : mst_clock_monotonic()) - multicast->started;
}
