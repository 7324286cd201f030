// SPDX-License-Identifier: Apache-2.0
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/duration.h"
#include "host/client_internal.h"
#include "host/door.h"
#include "model/identity.h"
#include "model/value.h"

#define PATIENCE (30 * MST_NS_PER_SECOND)
#define MULTICAST_DEFAULT (5 * MST_NS_PER_SECOND)
#define MULTICAST_MAX (3600 * MST_NS_PER_SECOND)

/* Calls */

struct mst__client_call *mst__client_find(struct mst_client *client, uint64_t sequence)
{
    uint64_t found;
    if (!mst_map_get(client->calls, &sequence, sizeof sequence, &found))
        return NULL;
    return (struct mst__client_call *)(uintptr_t)found;
}

void mst__client_end(struct mst__client_call *call, int status, const char *json, size_t length)
{
    struct mst_client *client = call->client;
    mst_timers_cancel(&client->loop->timers, &call->timer);
    mst_map_remove(client->calls, &call->sequence, sizeof call->sequence, NULL);
    *call->link = call->next;
    if (call->next)
        call->next->link = call->link;
    else
        client->last = call->link;
    if (call->done)
        call->done(call->context, status, json, length);
    client->transport->free_call(call);
}

static void tell_error(mst_answer_cb *done, void *context, const struct mst_error *error)
{
    struct mst_buffer json = {0};
    mst_json_put_error(&json, error);
    if (json.failed)
        done(context, error->code, "{}", 2);
    else
        done(context, error->code, json.data, json.length);
    mst_buffer_deinit(&json);
}

void mst__client_fail(struct mst__client_call *call, const struct mst_error *error)
{
    struct mst_buffer json = {0};
    mst_json_put_error(&json, error);
    if (json.failed)
        mst__client_end(call, error->code, "{}", 2);
    else
        mst__client_end(call, error->code, json.data, json.length);
    mst_buffer_deinit(&json);
}

static void on_deadline(struct mst_timer *timer, void *owner)
{
    struct mst__client_call *call = owner;
    (void)timer;
    if (call->good) {
        mst__client_end(call, 0, "{}", 2);
        return;
    }
    if (call->error.code == 0)
        mst_error_set(&call->error, MST_EDEADLINE, "no answer from a coordinator in %.9g s%s",
                      (double)call->patience / 1e9, call->writes ? "; it may have been carried out" : "");
    mst__client_fail(call, &call->error);
}

/* A call that waits for an answer until its deadline; NULL: no memory. */
static struct mst__client_call *begin(struct mst_client *client, uint64_t patience, mst_answer_cb *done, void *context)
{
    struct mst__client_call *call = calloc(1, client->transport->call_size);
    if (!call)
        return NULL;
    call->client = client;
    call->done = done;
    call->context = context;
    call->patience = patience;
    call->sequence = ++client->sequence;
    call->timer = (struct mst_timer){.fire = on_deadline, .owner = call};
    if (mst_map_set(client->calls, &call->sequence, sizeof call->sequence, (uintptr_t)call) < 0)
        goto fail;
    if (mst_timers_set(&client->loop->timers, &call->timer, mst_clock_monotonic() + patience) < 0) {
        mst_map_remove(client->calls, &call->sequence, sizeof call->sequence, NULL);
        goto fail;
    }
    call->link = client->last;
    *call->link = call;
    client->last = &call->next;
    return call;

fail:
    free(call);
    return NULL;
}

/* Tells of `error` from the loop. */
static void fail_soon(struct mst__client_call *call, const struct mst_error *error)
{
    call->error = *error;
    mst_timers_set(&call->client->loop->timers, &call->timer, 0); /* it is set already, so moving it cannot fail */
}

static void succeed_soon(struct mst__client_call *call)
{
    call->good = true;
    mst_timers_set(&call->client->loop->timers, &call->timer, 0);
}

static void no_memory(mst_answer_cb *done, void *context)
{
    struct mst_error error;
    mst_error_set(&error, MST_ENOMEM, "%s", mst_error_text(MST_ENOMEM));
    /* There is nothing to keep the call in until later; an answer too early is better than none. */
    if (done)
        tell_error(done, context, &error);
}

static int check_alive(const struct mst_client *client, struct mst_error *error)
{
    if (client->closing)
        return mst_error_set(error, MST_ECLOSED, "the client was closed");
    if (client->failure.code == 0)
        return 0;
    *error = client->failure;
    return error->code;
}

static uint64_t read_timeout(const uint8_t *value)
{
    enum mst_tag tag = value ? mst_value_tag(value) : MST_NULL;
    uint64_t nanoseconds = MULTICAST_DEFAULT;
    if (tag == MST_INT || tag == MST_DOUBLE) {
        double seconds = mst_value_double(value);
        nanoseconds = seconds > 0 ? (uint64_t)llround(fmin(seconds, 3600) * 1e9) : 0;
    } else if (tag == MST_STRING) {
        size_t length;
        const char *text = mst_value_string(value, &length);
        if (mst_duration_parse(text, length, &nanoseconds) < 0)
            nanoseconds = 0;
    }
    return nanoseconds < MULTICAST_MAX ? nanoseconds : MULTICAST_MAX;
}

/* How long the coordinator may take by the call's own words. A body that is wrong is refused there, and soon. */
static uint64_t own_timeout(struct mst_client *client, const char *verb, const char *body, size_t length)
{
    const struct mst_json_limits limits = {.bytes = 1u << 20, .depth = 24};
    struct mst_buffer packed = {0};
    uint64_t timeout = 0;
    if (strcmp(verb, "multicast") != 0)
        return 0;
    if (mst_json_parse(client->parser, body, length, &limits, &packed, NULL) == 0)
        timeout = read_timeout(mst_value_get((const uint8_t *)packed.data, "timeout", 7));
    mst_buffer_deinit(&packed);
    return timeout;
}

static bool is_write(const char *verb)
{
    static const char *const writes[] = {"register", "heartbeat", "unregister", "multicast"};
    for (size_t i = 0; i < sizeof writes / sizeof *writes; i++)
        if (strcmp(verb, writes[i]) == 0)
            return true;
    return false;
}

void mst_client_call(struct mst_client *client, const char *verb, const char *namespace_, const char *body,
                     size_t length, mst_answer_cb *done, void *context)
{
    uint64_t patience = client->timeout + own_timeout(client, verb, body, length);
    struct mst__client_call *call = begin(client, patience, done, context);
    struct mst_error error;
    if (call)
        call->writes = is_write(verb);
    if (!call)
        no_memory(done, context);
    else if (check_alive(client, &error) < 0 || mst__door_check_words(verb, namespace_, &error) < 0 ||
             client->transport->call(call, verb, namespace_, (struct mst_span){body, length}, &error) < 0)
        fail_soon(call, &error);
}

/* Receiving */

static void ignore_message(void *context, const struct mst_message *message)
{
    (void)context;
    (void)message;
}

struct mst_client_receiver *mst_client_receive(struct mst_client *client, const char *namespace_, const char *name,
                                               size_t name_length, bool as_gateway, mst_message_cb *message,
                                               mst_answer_cb *armed, void *context)
{
    struct mst_client_receiver *receiver = calloc(1, sizeof *receiver);
    struct mst__client_call *call = receiver ? begin(client, client->timeout, armed, context) : NULL;
    struct mst_error error;
    if (!call) {
        free(receiver);
        return NULL;
    }
    receiver->client = client;
    receiver->message = message ? message : ignore_message;
    receiver->context = context;
    receiver->sequence = call->sequence;
    receiver->next = client->receivers;
    client->receivers = receiver;
    int code = check_alive(client, &error);
    if (code == 0)
        code = mst_namespace_check(namespace_, strlen(namespace_), &error);
    if (code == 0)
        code = client->transport->receive(receiver, namespace_, (struct mst_span){name, name_length}, as_gateway, call,
                                          &error);
    if (code < 0)
        fail_soon(call, &error);
    else if (code == 0)
        succeed_soon(call);
    return receiver;
}

int mst_client_acknowledge(struct mst_client *client, struct mst_span reply, struct mst_span text)
{
    struct mst_error error;
    int code = check_alive(client, &error);
    return code < 0 ? code : client->transport->acknowledge(client, reply, text);
}

/* Life */

static void fail_outstanding(struct mst_client *client, const struct mst_error *error)
{
    /* Their callbacks may start others, which are not meant. */
    uint64_t last = client->sequence;
    while (client->first && client->first->sequence <= last)
        mst__client_fail(client->first, error);
}

static void wake(struct mst_client *client)
{
    mst_timers_set(&client->loop->timers, &client->timer, 0); /* always set: moving it cannot fail */
}

static void tell_ready(struct mst_client *client)
{
    mst_answer_cb *ready = client->ready;
    client->ready = NULL;
    if (!ready)
        return;
    if (client->failure.code)
        tell_error(ready, client->ready_context, &client->failure);
    else
        ready(client->ready_context, 0, "{}", 2);
}

static void tell_lost(struct mst_client *client)
{
    void (*lost)(void *context) = client->lost;
    client->lost = NULL;
    fail_outstanding(client, &client->failure);
    if (lost && !client->closing)
        lost(client->lost_context);
}

static void go_on_closing(struct mst_client *client)
{
    struct mst_error error;
    mst_error_set(&error, MST_ECLOSED, "the client was closed");
    fail_outstanding(client, &error);
    if (client->first) {
        wake(client);
        return;
    }
    if (!client->transport_closing) {
        client->transport_closing = true;
        client->transport->close(client);
    }
    if (!client->transport_closed)
        return;
    void (*closed)(void *context) = client->closed;
    void *context = client->closed_context;
    mst__client_deinit(client);
    client->transport->free(client);
    if (closed)
        closed(context);
}

static void on_timer(struct mst_timer *timer, void *owner)
{
    struct mst_client *client = owner;
    mst_timers_set(&client->loop->timers, timer, UINT64_MAX);
    if (client->closing) {
        go_on_closing(client);
        return;
    }
    if (client->opened)
        tell_ready(client);
    if (client->is_lost && !client->closing)
        tell_lost(client);
}

int mst__client_init(struct mst_client *client, const struct mst__client_transport *transport, struct mst_loop *loop,
                     uint64_t timeout, mst_answer_cb *ready, void *context)
{
    client->transport = transport;
    client->loop = loop;
    client->timeout = timeout ? timeout : PATIENCE;
    client->last = &client->first;
    client->ready = ready;
    client->ready_context = context;
    client->timer = (struct mst_timer){.fire = on_timer, .owner = client};
    client->parser = mst_json_parser_create();
    client->calls = mst_map_create();
    if (client->parser && client->calls && mst_timers_set(&loop->timers, &client->timer, UINT64_MAX) == 0)
        return 0;
    mst__client_deinit(client);
    return MST_ENOMEM;
}

void mst__client_deinit(struct mst_client *client)
{
    mst_timers_cancel(&client->loop->timers, &client->timer);
    for (struct mst_client_receiver *receiver; (receiver = client->receivers);) {
        client->receivers = receiver->next;
        free(receiver);
    }
    if (client->parser)
        mst_json_parser_destroy(client->parser);
    if (client->calls)
        mst_map_destroy(client->calls);
}

void mst__client_opened(struct mst_client *client)
{
    client->opened = true;
    wake(client);
}

void mst__client_lost(struct mst_client *client)
{
    client->is_lost = true;
    wake(client);
}

void mst__client_closed(struct mst_client *client)
{
    client->transport_closed = true;
    wake(client);
}

void mst_client_on_lost(struct mst_client *client, void (*lost)(void *context), void *context)
{
    client->lost = lost;
    client->lost_context = context;
}

void mst_client_close(struct mst_client *client, void (*closed)(void *context), void *context)
{
    if (!client->closing) {
        client->closing = true;
        client->closed = closed;
        client->closed_context = context;
        wake(client);
    }
}
