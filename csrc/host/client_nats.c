// SPDX-License-Identifier: Apache-2.0
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "host/client_internal.h"
#include "host/door.h"
#include "model/identity.h"

/*
 * A call is a cast of one message: its reply subject is in the inbox of the connection, and "nobody subscribes" comes
 * back at once.
 */

struct nats_client {
    struct mst_client base;
    struct mst_messaging *messaging;
    char *prefix;
};

struct nats_call {
    struct mst__client_call base;
    struct mst_messaging *messaging;
    struct mst_cast cast; /* `text`: subject, body */
    struct mst_cast_message message;
    bool sent, over;
};

static struct nats_client *self(struct mst_client *client)
{
    return (struct nats_client *)client;
}

/* Calls */

static void free_nats_call(struct nats_call *call)
{
    mst_buffer_deinit(&call->cast.text);
    free(call);
}

static void on_released(struct mst_cast *cast)
{
    free_nats_call(cast->owner);
}

static void take_answer(struct nats_call *call, struct mst_span data)
{
    int status = mst__door_status(call->base.client->parser, data.data, data.length, NULL, 0);
    mst__client_end(&call->base, status, data.data, data.length);
}

static void tell_nobody(struct nats_call *call)
{
    struct mst_error error;
    mst_error_set(&error, MST_ECONNECT, "no coordinator answers on %.*s", (int)call->message.subject_length,
                  call->cast.text.data);
    mst_error_hint(&error, "is \"muster serve\" running with these --nats-servers and this --prefix?");
    mst__client_fail(&call->base, &error);
}

static void tell_lost(struct nats_call *call, const struct mst_error *why)
{
    struct mst_error error;
    mst_error_set(&error, MST_ECLOSED, "the connection went while the call was on its way: %.300s", why->message);
    mst_error_hint(&error, "it may have been carried out or not");
    mst__client_fail(&call->base, &error);
}

static void on_event(struct mst_cast *cast, const struct mst_cast_event *event)
{
    struct nats_call *call = cast->owner;
    if (call->over)
        return;
    switch (event->kind) {
    case MST_CAST_ROUTED:
        break;
    case MST_CAST_NO_RECEIVER:
        tell_nobody(call);
        break;
    case MST_CAST_REPLY:
        take_answer(call, event->data);
        break;
    case MST_CAST_LOST:
        tell_lost(call, event->error);
        break;
    case MST_CAST_REFUSED:
        mst__client_fail(&call->base, event->error);
        break;
    }
}

static int nats_call(struct mst__client_call *base, const char *verb, const char *namespace_, struct mst_span body,
                     struct mst_error *error)
{
    struct nats_call *call = (struct nats_call *)base;
    struct nats_client *client = self(base->client);
    struct mst_messaging *messaging = client->messaging;
    struct mst_buffer *text = &call->cast.text;
    mst_buffer_appendf(text, "%s.%s.api.%s", client->prefix, namespace_, verb);
    size_t subject = text->length;
    mst_buffer_append(text, body.data, body.length);
    if (text->failed)
        return mst_error_set(error, MST_ENOMEM, "%s", mst_error_text(MST_ENOMEM));
    size_t most = messaging->ops->max_payload(messaging);
    if (body.length > most)
        return mst_error_set(error, MST_ETOOBIG, "the request has %zu bytes, the NATS server takes %zu", body.length,
                             most);
    call->message.subject_length = (uint16_t)subject;
    call->message.body_offset = (uint32_t)subject;
    call->message.body_length = (uint32_t)body.length;
    call->cast.messages = &call->message;
    call->cast.count = 1;
    call->cast.payload = (struct mst_span){"", 0};
    call->cast.want_replies = true;
    call->cast.deadline = base->timer.at;
    call->cast.event = on_event;
    call->cast.released = on_released;
    call->cast.owner = call;
    call->messaging = messaging;
    call->sent = true;
    messaging->ops->send(messaging, &call->cast);
    return 0;
}

static void nats_free_call(struct mst__client_call *base)
{
    struct nats_call *call = (struct nats_call *)base;
    call->over = true;
    if (call->sent)
        call->messaging->ops->release(call->messaging, &call->cast);
    else
        free_nats_call(call);
}

/* Receiving */

static void deliver(struct mst_listener *listener, const struct mst_delivery *delivery)
{
    struct mst_client_receiver *receiver = listener->owner;
    struct mst_message message = {delivery->subject.data,   delivery->subject.length, delivery->payload.data,
                                  delivery->payload.length, delivery->reply.data,     delivery->reply.length};
    if (!receiver->client->closing)
        receiver->message(receiver->context, &message);
}

static int nats_receive(struct mst_client_receiver *receiver, const char *namespace_, struct mst_span name,
                        bool gateway, struct mst__client_call *armed, struct mst_error *error)
{
    struct nats_client *client = self(receiver->client);
    struct mst_buffer subject = {0};
    (void)armed;
    receiver->listener = (struct mst_listener){.deliver = deliver, .owner = receiver};
    int code = mst__door_subject(&subject, client->prefix, namespace_, name.data, name.length, gateway, error);
    if (code == 0)
        code = client->messaging->ops->listen(client->messaging, subject.data, NULL, &receiver->listener, error);
    receiver->listening = code == 0;
    mst_buffer_deinit(&subject);
    return code;
}

static int nats_acknowledge(struct mst_client *base, struct mst_span reply, struct mst_span text)
{
    struct mst_messaging *messaging = self(base)->messaging;
    return messaging->ops->publish(messaging, reply, (struct mst_span){"", 0}, NULL, 0, text, NULL);
}

/* Life */

static void on_closed(void *context)
{
    struct nats_client *client = context;
    client->messaging = NULL;
    mst__client_closed(&client->base);
}

static void nats_close(struct mst_client *base)
{
    struct nats_client *client = self(base);
    if (!client->messaging) {
        mst__client_closed(base);
        return;
    }
    for (struct mst_client_receiver *receiver = base->receivers; receiver; receiver = receiver->next)
        if (receiver->listening)
            client->messaging->ops->unlisten(client->messaging, &receiver->listener);
    client->messaging->ops->close(client->messaging, on_closed, client);
}

static void nats_free(struct mst_client *base)
{
    free(self(base)->prefix);
    free(self(base));
}

static void on_ready(void *context, int status, const struct mst_error *error)
{
    struct nats_client *client = context;
    if (status)
        client->base.failure = *error;
    mst__client_opened(&client->base);
}

static const struct mst__client_transport transport = {
    .call_size = sizeof(struct nats_call),
    .call = nats_call,
    .receive = nats_receive,
    .acknowledge = nats_acknowledge,
    .free_call = nats_free_call,
    .close = nats_close,
    .free = nats_free,
};

struct mst_client *mst_client_open_nats(struct mst_loop *loop, struct mst_log *log,
                                        const struct mst_nats_options *options, const char *prefix, uint64_t timeout,
                                        mst_answer_cb *ready, void *context)
{
    struct nats_client *client = calloc(1, sizeof *client);
    if (!client)
        return NULL;
    if (mst__client_init(&client->base, &transport, loop, timeout, ready, context) < 0) {
        free(client);
        return NULL;
    }
    if (!prefix)
        prefix = "muster";
    client->prefix = strdup(prefix);
    if (!client->prefix)
        goto fail;
    if (mst_prefix_check(prefix, strlen(prefix), &client->base.failure) < 0) {
        mst__client_opened(&client->base);
        return &client->base;
    }
    struct mst_nats_options one = *options;
    one.publishers = 1; /* a request at a time needs no more */
    client->messaging = mst_nats_messaging_open(loop, log, &one, on_ready, client);
    if (client->messaging)
        return &client->base;

fail:
    mst__client_deinit(&client->base);
    nats_free(&client->base);
    return NULL;
}
