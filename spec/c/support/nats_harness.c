// SPDX-License-Identifier: Apache-2.0
#include "support/nats_harness.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* ------------------------------------------------------------------------ harness */

static void on_ready(void *context, int status, const struct mst_error *error)
{
    struct harness *harness = context;
    assert_false(harness->ready);
    harness->ready = true;
    harness->status = status;
    if (status < 0)
        harness->error = *error;
}

static void on_closed(void *context)
{
    ((struct harness *)context)->closed = true;
}

static bool is_ready(void *context)
{
    return ((struct harness *)context)->ready;
}

static bool is_closed(void *context)
{
    return ((struct harness *)context)->closed;
}

void harness_try(struct harness *harness, const struct mst_nats_options *options)
{
    memset(harness, 0, sizeof *harness);
    assert_int_equal(mst_loop_init(&harness->loop, NULL), 0);
    harness->messaging = mst_nats_messaging_open(&harness->loop, NULL, options, on_ready, harness);
    assert_non_null(harness->messaging);
    assert_false(harness->ready);
    run_until(harness, is_ready, harness, 10);
}

void harness_try_port(struct harness *harness, int port, const struct mst_nats_options *options)
{
    struct mst_nats_options mine = options ? *options : (struct mst_nats_options){0};
    char servers[64];
    snprintf(servers, sizeof servers, "nats://127.0.0.1:%d", port);
    mine.servers = servers;
    harness_try(harness, &mine);
}

void harness_open_port(struct harness *harness, int port, const struct mst_nats_options *options)
{
    harness_try_port(harness, port, options);
    if (harness->status < 0)
        fail_msg("%s", harness->error.message);
}

void harness_open(struct harness *harness, const struct test_server *server, const struct mst_nats_options *options)
{
    harness_open_port(harness, server->port, options);
}

void harness_close(struct harness *harness)
{
    harness->messaging->ops->close(harness->messaging, on_closed, harness);
    assert_false(harness->closed);
    run_until(harness, is_closed, harness, 15);
    mst_loop_deinit(&harness->loop);
}

static void on_tick(struct mst_timer *timer, void *owner)
{
    (void)timer;
    (void)owner;
}

/* A timer keeps the loop turning, so that the time is looked at. */
static bool run_to(struct harness *harness, bool (*condition)(void *context), void *context, uint64_t until)
{
    struct mst_timer tick = {.fire = on_tick};
    while (!condition || !condition(context)) {
        uint64_t now = mst_clock_monotonic();
        if (now >= until)
            return false;
        uint64_t next = now + 10 * MST_NS_PER_MS;
        mst_timers_set(&harness->loop.timers, &tick, next < until ? next : until);
        uv_run(harness->loop.uv, UV_RUN_ONCE);
        mst_timers_cancel(&harness->loop.timers, &tick);
    }
    return true;
}

void run_until(struct harness *harness, bool (*condition)(void *context), void *context, unsigned seconds)
{
    if (!run_to(harness, condition, context, mst_clock_monotonic() + seconds * MST_NS_PER_SECOND))
        fail_msg("nothing came of it in %u seconds", seconds);
}

void run_for_us(struct harness *harness, unsigned microseconds)
{
    run_to(harness, NULL, NULL, mst_clock_monotonic() + microseconds * UINT64_C(1000));
}

void run_for(struct harness *harness, unsigned milliseconds)
{
    run_for_us(harness, milliseconds * 1000);
}

/* ------------------------------------------------------------------------ probe */

static void on_reply(struct probe *probe, uint32_t index, struct mst_span data)
{
    char subject[64];
    int length = snprintf(subject, sizeof subject, "%s.%u", probe->prefix, index);
    probe->replies++;
    if (data.length != (size_t)length || memcmp(data.data, subject, data.length) != 0)
        probe->wrong_replies++;
}

static void on_event(struct mst_cast *cast, const struct mst_cast_event *event)
{
    struct probe *probe = cast->owner;
    assert_int_equal(probe->released, 0);
    assert_true(event->first < event->end && event->end <= cast->count);
    if (event->kind == MST_CAST_REPLY) {
        on_reply(probe, event->first, event->data);
        return;
    }
    if (event->kind == MST_CAST_NO_RECEIVER) {
        probe->nobody++;
        probe->nobody_at[event->first]++;
        probe->late_nobody += probe->outcome[event->first] != 0;
        return;
    }
    if (event->kind != MST_CAST_ROUTED) {
        assert_true(event->error->message[0] != '\0');
        probe->code = event->error->code;
    }
    for (uint32_t i = event->first; i < event->end; i++) {
        probe->twice += probe->outcome[i] != 0;
        probe->outcome[i] = (uint8_t)(1 + event->kind);
    }
    probe->ended[event->kind] += event->end - event->first;
    probe->final += event->end - event->first;
}

static void on_released(struct mst_cast *cast)
{
    ((struct probe *)cast->owner)->released++;
}

void probe_subject(struct probe *probe, uint32_t index, const char *subject)
{
    struct mst_cast_message *message = &probe->cast.messages[index];
    message->subject_offset = (uint32_t)probe->cast.text.length;
    message->subject_length = (uint16_t)strlen(subject);
    mst_buffer_append(&probe->cast.text, subject, strlen(subject));
}

void probe_body(struct probe *probe, uint32_t index, const char *body, size_t length)
{
    struct mst_cast_message *message = &probe->cast.messages[index];
    message->body_offset = (uint32_t)probe->cast.text.length;
    message->body_length = (uint32_t)length;
    mst_buffer_append(&probe->cast.text, body, length);
}

struct probe *probe_make(struct harness *harness, const char *prefix, uint32_t count, const char *payload, bool replies)
{
    struct probe *probe = calloc(1, sizeof *probe);
    (void)harness;
    assert_non_null(probe);
    probe->prefix = strdup(prefix);
    probe->payload = strdup(payload);
    probe->outcome = calloc(count, 1);
    probe->nobody_at = calloc(count, 1);
    probe->cast.messages = calloc(count, sizeof *probe->cast.messages);
    probe->cast.count = count;
    for (uint32_t i = 0; i < count; i++) {
        char subject[64];
        snprintf(subject, sizeof subject, "%s.%u", prefix, i);
        probe_subject(probe, i, subject);
    }
    probe->cast.payload = (struct mst_span){probe->payload, strlen(payload)};
    probe->cast.want_replies = replies;
    probe->cast.deadline = mst_clock_monotonic() + 60 * MST_NS_PER_SECOND;
    probe->cast.event = on_event;
    probe->cast.released = on_released;
    probe->cast.owner = probe;
    return probe;
}

struct probe *probe_send(struct harness *harness, const char *prefix, uint32_t count, const char *payload, bool replies)
{
    struct probe *probe = probe_make(harness, prefix, count, payload, replies);
    probe->cast.shards = harness->messaging->ops->shards(harness->messaging);
    for (uint32_t s = 0; s < probe->cast.shards; s++)
        probe->cast.ends[s] = (uint32_t)((uint64_t)count * (s + 1) / probe->cast.shards);
    harness->messaging->ops->send(harness->messaging, &probe->cast);
    assert_int_equal(probe->final, 0);
    return probe;
}

static bool probe_released(void *context)
{
    return ((struct probe *)context)->released > 0;
}

void probe_destroy(struct probe *probe)
{
    mst_buffer_deinit(&probe->cast.text);
    free(probe->cast.messages);
    free(probe->outcome);
    free(probe->nobody_at);
    free(probe->prefix);
    free(probe->payload);
    free(probe);
}

void probe_free(struct harness *harness, struct probe *probe)
{
    uint32_t final = probe->final;
    assert_int_equal(probe->twice, 0);
    harness->messaging->ops->release(harness->messaging, &probe->cast);
    assert_int_equal(probe->released, 0);
    run_until(harness, probe_released, probe, 10);
    assert_int_equal(probe->released, 1);
    assert_int_equal(probe->final, final);
    probe_destroy(probe);
}

bool probe_ended(void *context)
{
    struct probe *probe = context;
    return probe->final >= probe->cast.count;
}

bool probe_begun(void *context)
{
    return ((struct probe *)context)->final > 0;
}

bool probe_lost_some(void *context)
{
    return ((struct probe *)context)->ended[MST_CAST_LOST] > 0;
}

bool probe_answered_twice(void *context)
{
    struct probe *probe = context;
    return probe_ended(probe) && probe->replies >= 2 * probe->cast.count;
}

/* ------------------------------------------------------------------------ counter */

static void on_message(natsConnection *connection, natsSubscription *subscription, natsMsg *message, void *closure)
{
    struct counter *counter = closure;
    const char *subject = natsMsg_GetSubject(message), *reply = natsMsg_GetReply(message);
    unsigned long number = strtoul(strrchr(subject, '.') + 1, NULL, 10);
    (void)subscription;
    if (reply)
        snprintf(counter->reply, sizeof counter->reply, "%s", reply);
    if (number < counter->limit) {
        atomic_fetch_add(&counter->seen[number], 1);
        atomic_store(&counter->body_length[number], natsMsg_GetDataLength(message));
    }
    nats_Sleep(atomic_load(&counter->delay_ms));
    for (unsigned i = 0; reply && i < atomic_load(&counter->replies); i++)
        natsConnection_PublishString(connection, reply, subject);
    atomic_fetch_add(&counter->total, 1);
    natsMsg_Destroy(message);
}

static void connect_counter(struct counter *counter, const struct test_server *server, uint32_t limit)
{
    char url[64];
    memset(counter, 0, sizeof *counter);
    counter->limit = limit;
    counter->seen = calloc(limit, sizeof *counter->seen);
    counter->body_length = calloc(limit, sizeof *counter->body_length);
    counter->subscriptions = calloc(limit, sizeof *counter->subscriptions);
    natsOptions *options = NULL;
    snprintf(url, sizeof url, "nats://%s", server->address);
    assert_int_equal(natsOptions_Create(&options), NATS_OK);
    natsOptions_SetURL(options, url);
    natsOptions_SetAllowReconnect(options, false);
    natsOptions_UseGlobalMessageDelivery(options, true);
    assert_int_equal(natsConnection_Connect(&counter->connection, options), NATS_OK);
    natsOptions_Destroy(options);
}

static void subscribe(struct counter *counter, const char *subject)
{
    natsSubscription **subscription = &counter->subscriptions[counter->subscription_count++];
    assert_int_equal(natsConnection_Subscribe(subscription, counter->connection, subject, on_message, counter),
                     NATS_OK);
    natsSubscription_SetPendingLimits(*subscription, -1, -1);
}

void counter_open(struct counter *counter, const struct test_server *server, const char *subject, uint32_t limit)
{
    connect_counter(counter, server, limit);
    subscribe(counter, subject);
    assert_int_equal(natsConnection_Flush(counter->connection), NATS_OK);
}

void counter_open_some(struct counter *counter, const struct test_server *server, const char *prefix, uint32_t limit,
                       uint32_t step)
{
    connect_counter(counter, server, limit);
    for (uint32_t i = 0; i < limit; i += step) {
        char subject[64];
        snprintf(subject, sizeof subject, "%s.%u", prefix, i);
        subscribe(counter, subject);
    }
    assert_int_equal(natsConnection_Flush(counter->connection), NATS_OK);
}

void counter_wait(struct counter *counter, uint32_t total)
{
    for (int i = 0; i < 2000 && atomic_load(&counter->total) < total; i++)
        usleep(5000);
    usleep(20000);
    assert_int_equal(atomic_load(&counter->total), total);
}

static void on_complete(void *closure)
{
    atomic_fetch_add((atomic_uint *)closure, 1);
}

/* Waits until the delivery thread has done with each subscription. */
void counter_close(struct counter *counter)
{
    atomic_uint complete = 0;
    for (uint32_t i = 0; i < counter->subscription_count; i++)
        assert_int_equal(natsSubscription_SetOnCompleteCB(counter->subscriptions[i], on_complete, &complete), NATS_OK);
    for (uint32_t i = 0; i < counter->subscription_count; i++)
        natsSubscription_Destroy(counter->subscriptions[i]);
    while (atomic_load(&complete) < counter->subscription_count)
        usleep(500);
    natsConnection_Destroy(counter->connection);
    free(counter->subscriptions);
    free(counter->seen);
    free(counter->body_length);
}
