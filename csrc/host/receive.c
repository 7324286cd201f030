// SPDX-License-Identifier: Apache-2.0
#include <stdio.h>
#include <stdlib.h>

#include "core/messaging.h"
#include "host/door.h"
#include "host/host.h"

struct mst_receiver {
    struct mst_listener listener;
    struct mst_host *host;
    mst_message_cb *message;
    void *context;
    struct mst_receiver *next, **link; /* of the host's list */
};

static void enlist(struct mst_receiver *receiver)
{
    struct mst_host *host = receiver->host;
    receiver->next = host->receivers;
    receiver->link = &host->receivers;
    if (receiver->next)
        receiver->next->link = &receiver->next;
    host->receivers = receiver;
}

int mst__host_subject(const struct mst_host *host, struct mst_buffer *subject, const char *namespace_, const char *name,
                      size_t length, bool gateway, struct mst_error *error)
{
    return mst__door_subject(subject, host->prefix, namespace_, name, length, gateway, error);
}

static void deliver(struct mst_listener *listener, const struct mst_delivery *delivery)
{
    struct mst_receiver *receiver = listener->owner;
    struct mst_message message = {
        .subject = delivery->subject.data,
        .subject_length = delivery->subject.length,
        .payload = delivery->payload.data,
        .payload_length = delivery->payload.length,
        .reply = delivery->reply.data,
        .reply_length = delivery->reply.length,
    };
    receiver->message(receiver->context, &message);
}

static int start(struct mst_receiver *receiver, const char *namespace_, const char *name, size_t length, bool gateway,
                 struct mst_error *error)
{
    struct mst_messaging *messaging = receiver->host->messaging;
    struct mst_buffer subject = {0};
    if (receiver->host->closing)
        return mst_error_set(error, MST_ECLOSED, "the host is closing");
    if (!messaging)
        return mst_error_set(error, MST_ECONNECT, "the host is not ready yet");
    int code = mst__host_subject(receiver->host, &subject, namespace_, name, length, gateway, error);
    if (code == 0)
        code = messaging->ops->listen(messaging, subject.data, NULL, &receiver->listener, error);
    mst_buffer_deinit(&subject);
    return code;
}

struct mst_receiver *mst_host_receive(struct mst_host *host, const char *namespace_, const char *name,
                                      size_t name_length, int as_gateway, mst_message_cb *message, void *context,
                                      char *why, size_t why_size)
{
    struct mst_error error = {.code = MST_ENOMEM};
    struct mst_receiver *receiver = calloc(1, sizeof *receiver);
    int code = MST_ENOMEM;
    if (receiver) {
        receiver->listener = (struct mst_listener){.deliver = deliver, .owner = receiver};
        receiver->host = host;
        receiver->message = message;
        receiver->context = context;
        code = start(receiver, namespace_, name, name_length, as_gateway != 0, &error);
    }
    if (code == 0) {
        enlist(receiver);
        return receiver;
    }
    if (why && why_size)
        snprintf(why, why_size, "%s", error.message[0] ? error.message : mst_error_text(code));
    free(receiver);
    return NULL;
}

void mst_receiver_close(struct mst_receiver *receiver)
{
    if (!receiver)
        return;
    struct mst_messaging *messaging = receiver->host->messaging;
    messaging->ops->unlisten(messaging, &receiver->listener);
    *receiver->link = receiver->next;
    if (receiver->next)
        receiver->next->link = receiver->link;
    free(receiver);
}

int mst_host_acknowledge(struct mst_host *host, const char *reply, size_t reply_length, const char *text, size_t length)
{
    struct mst_messaging *messaging = host->messaging;
    if (!messaging)
        return MST_ECONNECT;
    return messaging->ops->publish(messaging, (struct mst_span){reply, reply_length}, (struct mst_span){"", 0}, NULL, 0,
                                   (struct mst_span){text, length}, NULL);
}
