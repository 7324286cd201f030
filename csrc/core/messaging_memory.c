// SPDX-License-Identifier: Apache-2.0
#include "core/messaging_memory.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/map.h"
#include "core/subscriptions.h"

#define SLICE 512u
#define MAX_PAYLOAD (1024u * 1024u)
#define MAX_SUBJECT 2048u
#define INBOX "_INBOX.memory."

/*
 * A cast needs no struct of ours: its slot_state holds the link of the queue, the number (its place in the order of the
 * queue, its key in `casts` and part of its reply subjects), the next message and the flags.
 */
enum cast_slot { CAST_NEXT, CAST_NUMBER, CAST_POSITION, CAST_FLAGS };
enum cast_flag { CAST_QUEUED = 1, CAST_RELEASED = 2, CAST_UNKEPT = 4 };

/* A message of mst_messaging_ops.publish on its way. */
struct post {
    struct post *next;
    uint64_t number;
    struct mst_span subject, reply, payload; /* behind the struct */
};

struct memory {
    struct mst_messaging base;
    struct mst_timers *timers;
    struct mst_timer timer; /* always set, to UINT64_MAX when idle: moving it cannot fail */
    size_t max_payload;
    uint64_t numbers;
    struct mst_cast *first_cast, *last_cast;
    struct post *first_post, *last_post;
    struct mst_map *casts; /* number -> cast, until it is released */
    struct mst__subscriptions *subscriptions;
    bool closing;
    void (*closed)(void *context);
    void *closed_context;
    struct mst_messaging_stats stats;
};

static struct memory *memory_of(struct mst_messaging *messaging)
{
    return (struct memory *)messaging;
}

static struct mst_cast *next_cast(const struct mst_cast *cast)
{
    return (struct mst_cast *)(uintptr_t)cast->slot_state[CAST_NEXT];
}

/* Reads decimal digits without leading zeros up to `end`. */
static bool read_number(const char **text, const char *end, uint64_t most, uint64_t *number)
{
    const char *at = *text;
    *number = 0;
    for (; at < end && *at >= '0' && *at <= '9'; at++) {
        if (*number > (most - (uint64_t)(*at - '0')) / 10 || (at > *text && **text == '0'))
            return false;
        *number = *number * 10 + (uint64_t)(*at - '0');
    }
    bool some = at > *text;
    *text = at;
    return some;
}

/* The cast and message that a subject is the reply subject of; NULL: none. */
static struct mst_cast *inbox_cast(const struct memory *memory, struct mst_span subject, uint32_t *index)
{
    size_t prefix = sizeof INBOX - 1;
    uint64_t number, message, cast;
    if (subject.length <= prefix || memcmp(subject.data, INBOX, prefix) != 0)
        return NULL;
    const char *at = subject.data + prefix, *end = subject.data + subject.length;
    if (!read_number(&at, end, UINT64_MAX, &number) || at == end || *at++ != '.' ||
        !read_number(&at, end, UINT32_MAX, &message) || at != end)
        return NULL;
    if (!mst_map_get(memory->casts, &number, sizeof number, &cast))
        return NULL;
    struct mst_cast *found = (struct mst_cast *)(uintptr_t)cast;
    *index = (uint32_t)message;
    return found->want_replies && message < found->slot_state[CAST_POSITION] ? found : NULL;
}

static bool is_inbox(struct mst_span subject)
{
    return subject.length >= sizeof INBOX - 1 && memcmp(subject.data, INBOX, sizeof INBOX - 1) == 0;
}

static int memory_listen(struct mst_messaging *messaging, const char *subject, const char *queue,
                         struct mst_listener *listener, struct mst_error *error)
{
    struct memory *memory = memory_of(messaging);
    if (memory->closing)
        return mst_error_set(error, MST_ECLOSED, "messaging is closed");
    return mst__subscriptions_add(memory->subscriptions, subject, queue, listener, error);
}

static void memory_unlisten(struct mst_messaging *messaging, struct mst_listener *listener)
{
    mst__subscriptions_remove(memory_of(messaging)->subscriptions, listener);
}

static void wake(struct memory *memory)
{
    if (memory->timer.at == UINT64_MAX)
        mst_timers_set(memory->timers, &memory->timer, mst_clock_monotonic());
}

static void queue_cast(struct memory *memory, struct mst_cast *cast)
{
    cast->slot_state[CAST_NEXT] = 0;
    cast->slot_state[CAST_NUMBER] = ++memory->numbers;
    cast->slot_state[CAST_FLAGS] |= CAST_QUEUED;
    if (memory->last_cast)
        memory->last_cast->slot_state[CAST_NEXT] = (uintptr_t)cast;
    else
        memory->first_cast = cast;
    memory->last_cast = cast;
    wake(memory);
}

static void unqueue_first(struct memory *memory)
{
    struct mst_cast *cast = memory->first_cast;
    cast->slot_state[CAST_FLAGS] &= ~(uint64_t)CAST_QUEUED;
    memory->first_cast = next_cast(cast);
    if (!memory->first_cast)
        memory->last_cast = NULL;
}

static void memory_send(struct mst_messaging *messaging, struct mst_cast *cast)
{
    struct memory *memory = memory_of(messaging);
    memset(cast->slot_state, 0, sizeof cast->slot_state);
    queue_cast(memory, cast);
    uint64_t number = cast->slot_state[CAST_NUMBER];
    if (mst_map_set(memory->casts, &number, sizeof number, (uintptr_t)cast) < 0)
        cast->slot_state[CAST_FLAGS] |= CAST_UNKEPT;
}

static void forget(struct memory *memory, const struct mst_cast *cast)
{
    uint64_t number = cast->slot_state[CAST_NUMBER];
    mst_map_remove(memory->casts, &number, sizeof number, NULL);
}

static void memory_release(struct mst_messaging *messaging, struct mst_cast *cast)
{
    struct memory *memory = memory_of(messaging);
    if (cast->slot_state[CAST_FLAGS] & CAST_RELEASED)
        return;
    forget(memory, cast);
    cast->slot_state[CAST_FLAGS] |= CAST_RELEASED;
    if (!(cast->slot_state[CAST_FLAGS] & CAST_QUEUED))
        queue_cast(memory, cast);
}

static void emit(struct memory *memory, struct mst_cast *cast, enum mst_cast_event_kind kind, uint64_t first,
                 uint64_t end, const struct mst_error *error)
{
    if (first == end || (cast->slot_state[CAST_FLAGS] & CAST_RELEASED))
        return;
    struct mst_cast_event event = {.kind = kind, .first = (uint32_t)first, .end = (uint32_t)end, .error = error};
    if (kind == MST_CAST_ROUTED) {
        memory->stats.routed += end - first;
        memory->stats.fences++;
    } else if (kind == MST_CAST_REFUSED) {
        memory->stats.refused += end - first;
    } else {
        memory->stats.no_receiver++;
    }
    cast->event(cast, &event);
}

static void refuse_rest(struct memory *memory, struct mst_cast *cast, int code)
{
    struct mst_error error;
    uint64_t first = cast->slot_state[CAST_POSITION];
    cast->slot_state[CAST_POSITION] = cast->count;
    mst_error_set(&error, code, "%s", mst_error_text(code));
    emit(memory, cast, MST_CAST_REFUSED, first, cast->count, &error);
}

/* What a server or its client would say to a message; 0: nothing. */
static int check(const struct memory *memory, struct mst_span subject, struct mst_span payload, struct mst_error *error)
{
    if (!mst__subject_valid(subject, false, NULL))
        return mst_error_set(error, MST_EINVAL, "invalid subject");
    if (payload.length > memory->max_payload)
        return mst_error_set(error, MST_ETOOBIG, "payload of %zu bytes is over the limit of %zu", payload.length,
                             memory->max_payload);
    return 0;
}

static void send_message(struct memory *memory, struct mst_cast *cast, uint32_t index, struct mst_delivery delivery)
{
    char reply[sizeof INBOX + 32];
    if (cast->want_replies) {
        struct mst_buffer text = {.data = reply, .capacity = sizeof reply};
        mst_buffer_append(&text, INBOX, sizeof INBOX - 1);
        mst_buffer_append_u64(&text, cast->slot_state[CAST_NUMBER]);
        mst_buffer_append_byte(&text, '.');
        mst_buffer_append_u64(&text, index);
        delivery.reply = (struct mst_span){reply, text.length};
    }
    memory->stats.published++;
    if (mst__subscriptions_deliver(memory->subscriptions, &delivery) == 0 && cast->want_replies)
        emit(memory, cast, MST_CAST_NO_RECEIVER, index, index + 1, NULL);
}

/* Sends up to `budget` messages of a cast; returns how many it took. */
static uint32_t run_messages(struct memory *memory, struct mst_cast *cast, uint32_t budget)
{
    uint64_t routed = cast->slot_state[CAST_POSITION];
    uint32_t taken = 0;
    for (; taken < budget && cast->slot_state[CAST_POSITION] < cast->count; taken++) {
        uint32_t index = (uint32_t)cast->slot_state[CAST_POSITION]++;
        const struct mst_cast_message *message = &cast->messages[index];
        struct mst_error error;
        struct mst_delivery delivery = {
            .subject = {cast->text.data + message->subject_offset, message->subject_length},
            .payload = cast->payload,
        };
        if (message->body_length)
            delivery.payload = (struct mst_span){cast->text.data + message->body_offset, message->body_length};
        if (check(memory, delivery.subject, delivery.payload, &error) == 0) {
            send_message(memory, cast, index, delivery);
        } else {
            emit(memory, cast, MST_CAST_ROUTED, routed, index, NULL);
            emit(memory, cast, MST_CAST_REFUSED, index, index + 1, &error);
            routed = index + 1;
        }
        if (memory->closing || (cast->slot_state[CAST_FLAGS] & CAST_RELEASED)) {
            taken++;
            break;
        }
    }
    emit(memory, cast, MST_CAST_ROUTED, routed, cast->slot_state[CAST_POSITION], NULL);
    return taken;
}

/* Works on the first cast of the queue and takes it out when it has no more to send. */
static uint32_t run_cast(struct memory *memory, uint32_t budget)
{
    struct mst_cast *cast = memory->first_cast;
    uint32_t taken = 0;
    if (!(cast->slot_state[CAST_FLAGS] & CAST_RELEASED)) {
        if (cast->slot_state[CAST_FLAGS] & CAST_UNKEPT)
            refuse_rest(memory, cast, MST_ENOMEM);
        else if (mst_clock_monotonic() > cast->deadline)
            refuse_rest(memory, cast, MST_EDEADLINE);
        else
            taken = run_messages(memory, cast, budget);
    }
    if (cast->slot_state[CAST_FLAGS] & CAST_RELEASED) {
        unqueue_first(memory);
        cast->released(cast);
    } else if (cast->slot_state[CAST_POSITION] >= cast->count) {
        unqueue_first(memory);
    }
    return taken;
}

static void unqueue_post(struct memory *memory)
{
    memory->first_post = memory->first_post->next;
    if (!memory->first_post)
        memory->last_post = NULL;
}

static void run_post(struct memory *memory)
{
    struct post *post = memory->first_post;
    struct mst_delivery delivery = {post->subject, post->reply, post->payload};
    uint32_t index;
    unqueue_post(memory);
    struct mst_cast *cast = inbox_cast(memory, post->subject, &index);
    memory->stats.published++;
    if (cast) {
        struct mst_cast_event event = {MST_CAST_REPLY, index, index + 1, post->payload, NULL};
        memory->stats.replies++;
        cast->event(cast, &event);
    }
    if (mst__subscriptions_deliver(memory->subscriptions, &delivery) == 0 && !cast && is_inbox(post->subject))
        memory->stats.stray_replies++;
    free(post);
}

static int memory_publish(struct mst_messaging *messaging, struct mst_span subject, struct mst_span reply,
                          const struct mst_header *headers, uint32_t header_count, struct mst_span payload,
                          struct mst_error *error)
{
    struct memory *memory = memory_of(messaging);
    (void)headers;
    (void)header_count;
    if (memory->closing)
        return mst_error_set(error, MST_ECLOSED, "messaging is closed");
    int code = check(memory, subject, payload, error);
    if (code < 0)
        return code;
    if (reply.length && !mst__subject_valid(reply, false, NULL))
        return mst_error_set(error, MST_EINVAL, "invalid reply subject");
    struct post *post = malloc(sizeof *post + subject.length + reply.length + payload.length);
    if (!post)
        return mst_error_set(error, MST_ENOMEM, "no memory for a message");
    char *text = (char *)(post + 1);
    *post = (struct post){
        .number = ++memory->numbers,
        .subject = {text, subject.length},
        .reply = {text + subject.length, reply.length},
        .payload = {text + subject.length + reply.length, payload.length},
    };
    memcpy(text, subject.data, subject.length);
    if (reply.length)
        memcpy(text + subject.length, reply.data, reply.length);
    if (payload.length)
        memcpy(text + subject.length + reply.length, payload.data, payload.length);
    if (memory->last_post)
        memory->last_post->next = post;
    else
        memory->first_post = post;
    memory->last_post = post;
    wake(memory);
    return 0;
}

static void destroy(struct memory *memory)
{
    while (memory->first_post) {
        struct post *post = memory->first_post;
        unqueue_post(memory);
        free(post);
    }
    mst_timers_cancel(memory->timers, &memory->timer);
    mst__subscriptions_destroy(memory->subscriptions);
    if (memory->casts)
        mst_map_destroy(memory->casts);
    free(memory);
}

static void end_cast(struct memory *memory, struct mst_cast *cast)
{
    forget(memory, cast);
    cast->slot_state[CAST_FLAGS] |= CAST_RELEASED;
    cast->released(cast);
}

static void finish_close(struct memory *memory)
{
    for (;;) {
        const void *key;
        size_t length, position = 0;
        uint64_t value;
        struct mst_cast *cast = memory->first_cast;
        if (cast) {
            /* While it is still queued: a release from inside must not queue it again. */
            refuse_rest(memory, cast, MST_ECLOSED);
            unqueue_first(memory);
            end_cast(memory, cast);
        } else if (mst_map_next(memory->casts, &position, &key, &length, &value)) {
            end_cast(memory, (struct mst_cast *)(uintptr_t)value);
        } else {
            break;
        }
    }
    void (*closed)(void *context) = memory->closed;
    void *context = memory->closed_context;
    destroy(memory);
    closed(context);
}

/* One turn of the loop: up to SLICE of the messages that were there at its start, in the order in which they came. */
static void turn(struct mst_timer *timer, void *owner)
{
    struct memory *memory = owner;
    uint64_t end = memory->numbers;
    uint32_t budget = SLICE;
    mst_timers_set(memory->timers, timer, UINT64_MAX);
    while (budget && !memory->closing) {
        const struct mst_cast *cast = memory->first_cast;
        const struct post *post = memory->first_post;
        uint64_t cast_number = cast ? cast->slot_state[CAST_NUMBER] : UINT64_MAX;
        uint64_t post_number = post ? post->number : UINT64_MAX;
        if (cast_number < post_number && cast_number <= end) {
            budget -= run_cast(memory, budget);
        } else if (post && post_number <= end) {
            run_post(memory);
            budget--;
        } else {
            break;
        }
    }
    if (memory->closing)
        finish_close(memory);
    else if (memory->first_cast || memory->first_post)
        wake(memory);
}

static size_t memory_max_payload(struct mst_messaging *messaging)
{
    return memory_of(messaging)->max_payload;
}

static bool memory_healthy(struct mst_messaging *messaging, struct mst_error *why)
{
    if (!memory_of(messaging)->closing)
        return true;
    mst_error_set(why, MST_ECLOSED, "messaging is closed");
    return false;
}

static void memory_stats(struct mst_messaging *messaging, struct mst_messaging_stats *stats)
{
    *stats = memory_of(messaging)->stats;
}

static void memory_close(struct mst_messaging *messaging, void (*closed)(void *context), void *context)
{
    struct memory *memory = memory_of(messaging);
    memory->closing = true;
    memory->closed = closed;
    memory->closed_context = context;
    wake(memory);
}

struct mst_messaging *mst_messaging_memory_create(struct mst_timers *timers, size_t max_payload)
{
    static const struct mst_messaging_ops ops = {
        .name = "memory",
        .send = memory_send,
        .release = memory_release,
        .listen = memory_listen,
        .unlisten = memory_unlisten,
        .publish = memory_publish,
        .max_payload = memory_max_payload,
        .healthy = memory_healthy,
        .stats = memory_stats,
        .close = memory_close,
    };
    struct memory *memory = calloc(1, sizeof *memory);
    if (!memory)
        return NULL;
    memory->base.ops = &ops;
    memory->timers = timers;
    memory->timer = (struct mst_timer){.fire = turn, .owner = memory};
    memory->max_payload = max_payload ? max_payload : MAX_PAYLOAD;
    memory->stats.epochs = 1;
    memory->casts = mst_map_create();
    memory->subscriptions = mst__subscriptions_create();
    if (!memory->casts || !memory->subscriptions || mst_timers_set(timers, &memory->timer, UINT64_MAX) < 0) {
        destroy(memory);
        return NULL;
    }
    return &memory->base;
}
