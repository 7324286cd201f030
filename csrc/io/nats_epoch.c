// SPDX-License-Identifier: Apache-2.0
#include <string.h>

#include "base/clock.h"
#include "io/nats_internal.h"

/* Reads a hexadecimal number and the dot behind it (or the end). False if there is none or it does not fit. */
static bool take_hex(const char **text, uint64_t most, uint64_t *number)
{
    const char *at = *text;
    uint64_t value = 0;
    for (; *at && *at != '.'; at++) {
        unsigned digit = *at >= '0' && *at <= '9'   ? (unsigned)(*at - '0')
                         : *at >= 'a' && *at <= 'f' ? (unsigned)(*at - 'a') + 10
                                                    : 16;
        if (digit > 15 || value > (most - digit) / 16)
            return false;
        value = value * 16 + digit;
    }
    if (at == *text)
        return false;
    *text = *at ? at + 1 : at;
    *number = value;
    return true;
}

static void break_epoch(struct mst__nats_publisher *publisher, const struct mst_error *reason)
{
    pthread_mutex_lock(&publisher->lock);
    if (!publisher->broken) {
        publisher->broken = reason->code;
        publisher->reason = *reason;
    }
    pthread_cond_signal(&publisher->changed);
    pthread_mutex_unlock(&publisher->lock);
}

/* Sequences begin at a secret number: a receiver knows the inbox from its reply subject and could forge fences. */
static void settle_fence(struct mst__nats_publisher *publisher, uint64_t sequence)
{
    pthread_mutex_lock(&publisher->lock);
    bool genuine = sequence >= publisher->greeting && sequence <= publisher->sequence;
    if (genuine)
        publisher->progress = mst_clock_monotonic();
    if (genuine && sequence == publisher->greeting) {
        publisher->greeted = true;
        pthread_cond_signal(&publisher->changed);
    } else if (genuine) {
        struct mst__nats_event routed = {.kind = MST__NATS_ROUTED};
        publisher->proven = true;
        atomic_fetch_add(&publisher->fences, 1);
        mst__nats_windows_settle(publisher, sequence, &routed, NULL);
        if (publisher->congested && publisher->window_count <= publisher->window_limit / 2) {
            publisher->congested = false;
            pthread_cond_signal(&publisher->changed);
        }
    }
    pthread_mutex_unlock(&publisher->lock);
}

/*
 * A refused publish is told by -ERR, which nats.c has noted before it hands on the marker that the server sent after
 * it. So an error at a fence is the error of something before the fence.
 */
static void on_fence(struct mst__nats_publisher *publisher, natsConnection *connection, const char *text)
{
    uint64_t epoch, sequence;
    struct mst_error error;
    if (!take_hex(&text, UINT64_MAX, &epoch) || !take_hex(&text, UINT64_MAX, &sequence) ||
        epoch != atomic_load(&publisher->epoch))
        return;
    if (mst__nats_last_error(connection, &error) < 0) {
        break_epoch(publisher, &error);
        return;
    }
    settle_fence(publisher, sequence);
}

static void on_answer(struct mst__nats_publisher *publisher, natsMsg *message, const char *text)
{
    uint64_t slot, generation, index;
    if (!take_hex(&text, UINT32_MAX, &slot) || !take_hex(&text, UINT32_MAX, &generation) ||
        !take_hex(&text, UINT32_MAX, &index))
        return;
    bool nobody = natsMsg_IsNoResponders(message);
    struct mst_span data = {natsMsg_GetData(message), (size_t)natsMsg_GetDataLength(message)};
    struct mst__nats_event event = {.kind = nobody ? MST__NATS_NO_RECEIVER : MST__NATS_REPLY,
                                    .slot = (uint32_t)slot,
                                    .generation = (uint32_t)generation,
                                    .first = (uint32_t)index,
                                    .end = (uint32_t)index + 1};
    mst__nats_events_post(publisher->events, &event, &data, nobody ? 0 : 1);
}

/* On the one delivery thread of the epoch's one subscription: so "nobody" stays before the fence behind it. */
static void on_inbox(natsConnection *connection, natsSubscription *subscription, natsMsg *message, void *closure)
{
    struct mst__nats_gate *gate = closure;
    (void)subscription;
    pthread_mutex_lock(&gate->lock);
    struct mst__nats_publisher *publisher = gate->owner;
    const char *subject = natsMsg_GetSubject(message);
    if (publisher && strncmp(subject, publisher->inbox, publisher->inbox_length) == 0) {
        const char *text = subject + publisher->inbox_length;
        if (text[0] == 'f' && text[1] == '.')
            on_fence(publisher, connection, text + 2);
        else if (text[0] == 'r' && text[1] == '.')
            on_answer(publisher, message, text + 2);
    }
    pthread_mutex_unlock(&gate->lock);
    natsMsg_Destroy(message);
}

static void on_closed(natsConnection *connection, void *closure)
{
    struct mst__nats_gate *gate = closure;
    pthread_mutex_lock(&gate->lock);
    struct mst__nats_publisher *publisher = gate->owner;
    if (publisher) {
        struct mst_error error;
        if (mst__nats_last_error(connection, &error) == 0)
            mst_error_set(&error, MST_ENATS, "NATS: the connection was closed");
        break_epoch(publisher, &error);
    }
    pthread_mutex_unlock(&gate->lock);
    mst__nats_gate_unref(gate);
}

natsStatus mst__nats_epoch_mark(struct mst__nats_publisher *publisher, uint64_t sequence)
{
    char subject[sizeof publisher->inbox + 40], *to = subject;
    memcpy(to, publisher->inbox, publisher->inbox_length);
    to += publisher->inbox_length;
    *to++ = 'f';
    *to++ = '.';
    to += mst__nats_put_hex(to, atomic_load(&publisher->epoch));
    *to++ = '.';
    to += mst__nats_put_hex(to, sequence);
    *to = '\0';
    return natsConnection_Publish(publisher->connection, subject, NULL, 0);
}

static natsStatus subscribe(struct mst__nats_publisher *publisher)
{
    char subject[sizeof publisher->inbox + 2];
    memcpy(subject, publisher->inbox, publisher->inbox_length);
    memcpy(subject + publisher->inbox_length, ">", 2);
    natsStatus status =
        natsConnection_Subscribe(&publisher->subscription, publisher->connection, subject, on_inbox, publisher->gate);
    if (status == NATS_OK)
        status = natsSubscription_SetPendingLimits(publisher->subscription, -1, -1);
    if (status == NATS_OK) {
        mst__nats_gate_ref(publisher->gate);
        status = natsSubscription_SetOnCompleteCB(publisher->subscription, mst__nats_gate_unref, publisher->gate);
        /* If it has ended by now its thread may still hold the gate: that one is never freed. */
    }
    return status;
}

/* The first marker proves that the inbox works: subscription, permissions and the way back. */
static int greet(struct mst__nats_publisher *publisher, struct mst_error *error)
{
    uint64_t until = mst_clock_monotonic() + publisher->connect_timeout;
    natsStatus status = subscribe(publisher);
    if (status == NATS_OK)
        status = mst__nats_epoch_mark(publisher, publisher->greeting);
    if (status != NATS_OK)
        return mst__nats_status(status, error, "NATS: cannot use the inbox");
    natsConnection_FlushTimeout(publisher->connection, 1);
    pthread_mutex_lock(&publisher->lock);
    while (!publisher->stop && !publisher->greeted && !publisher->broken && mst_clock_monotonic() < until)
        mst__nats_wait(&publisher->changed, &publisher->lock, until);
    int code = publisher->broken;
    if (code)
        *error = publisher->reason;
    else if (!publisher->greeted)
        code = mst_error_set(error, MST_ENATS, "NATS at %s: a message to the own inbox did not come back",
                             publisher->label);
    pthread_mutex_unlock(&publisher->lock);
    if (code && !natsConnection_IsClosed(publisher->connection)) {
        struct mst_error refused;
        /* A subscription that is not permitted shows only here. */
        if (mst__nats_last_error(publisher->connection, &refused) < 0)
            *error = refused, code = refused.code;
    }
    return code;
}

int mst__nats_epoch_open(struct mst__nats_publisher *publisher, struct mst_error *error)
{
    publisher->gate = mst__nats_gate_create(publisher, NULL);
    if (!publisher->gate)
        return mst_error_set(error, MST_ENOMEM, "out of memory");
    pthread_mutex_lock(&publisher->lock);
    publisher->greeted = publisher->proven = publisher->congested = false;
    publisher->broken = 0;
    publisher->greeting = publisher->sequence = mst__nats_random(&publisher->backoff) >> 1;
    pthread_mutex_unlock(&publisher->lock);
    atomic_fetch_add(&publisher->epoch, 1);
    publisher->epoch_began = mst_clock_monotonic();
    int code = mst__nats_connect(&publisher->connection, publisher->options, publisher->label, on_closed,
                                 publisher->gate, error);
    if (code == 0)
        code = greet(publisher, error);
    if (code < 0) {
        mst__nats_epoch_end(publisher, error);
        return code;
    }
    atomic_fetch_add(&publisher->epochs, 1);
    atomic_store(&publisher->max_payload, (uint64_t)natsConnection_GetMaxPayload(publisher->connection));
    return 0;
}

void mst__nats_epoch_end(struct mst__nats_publisher *publisher, const struct mst_error *reason)
{
    struct mst__nats_event lost = {.kind = MST__NATS_LOST, .code = (int16_t)reason->code};
    struct mst_span text = {reason->message, strlen(reason->message)};
    /* From here on no fence and no "nobody" of this epoch counts. */
    mst__nats_gate_shut(publisher->gate);
    pthread_mutex_lock(&publisher->lock);
    mst__nats_windows_settle(publisher, UINT64_MAX, &lost, &text);
    publisher->congested = false;
    pthread_mutex_unlock(&publisher->lock);
    publisher->open_messages = publisher->open_segments = 0;
    publisher->open_bytes = 0;
    publisher->unflushed = false;
    natsSubscription_Destroy(publisher->subscription);
    natsConnection_Destroy(publisher->connection);
    publisher->subscription = NULL;
    publisher->connection = NULL;
    mst__nats_gate_unref(publisher->gate);
    publisher->gate = NULL;
}
