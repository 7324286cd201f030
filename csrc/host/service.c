// SPDX-License-Identifier: Apache-2.0
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "base/clock.h"
#include "base/utf8.h"
#include "host/door.h"
#include "host/service_internal.h"

#define HEADER_TEXT 300u
#define HEADER_ROOM 1024u /* what the two headers of an error may take of a message */

/* A call under way. */
struct request {
    struct mst_service *service;
    struct mst__service_endpoint *endpoint; /* NULL: no such verb */
    uint64_t started;
    size_t reply_length;
    char reply[];
};

static void free_if_over(struct mst_service *service)
{
    if (service->destroyed && service->under_way == 0)
        free(service);
}

/* Answers */

static int publish(struct mst_service *service, struct mst_span reply, int status, const char *text,
                   struct mst_span json, struct mst_error *error)
{
    struct mst_messaging *messaging = service->host->messaging;
    char number[8], line[HEADER_TEXT + 32];
    snprintf(number, sizeof number, "%d", mst__door_number(status));
    snprintf(line, sizeof line, "%s: %s", mst_error_name(status), text);
    const struct mst_header headers[] = {{"Nats-Service-Error", line}, {"Nats-Service-Error-Code", number}};
    size_t room = messaging->ops->max_payload(messaging), needed = json.length + (status ? HEADER_ROOM : 0);
    if (needed > room)
        return mst__door_too_big(error, json.length, room);
    return messaging->ops->publish(messaging, reply, (struct mst_span){"", 0}, headers, status ? 2 : 0, json, error);
}

static void note_error(struct mst__service_endpoint *endpoint, int status, const char *text)
{
    if (!endpoint)
        return;
    char line[HEADER_TEXT + 48];
    int length = snprintf(line, sizeof line, "%d:%s: %s", mst__door_number(status), mst_error_name(status), text);
    size_t cut = mst_utf8_cut(line, (size_t)length < sizeof line ? (size_t)length : sizeof line - 1,
                              sizeof endpoint->last_error - 1);
    endpoint->errors++;
    memcpy(endpoint->last_error, line, cut);
    endpoint->last_error[cut] = '\0';
}

static int send_error(struct mst_service *service, struct mst_span reply, const struct mst_error *error)
{
    struct mst_buffer json = {0};
    char text[HEADER_TEXT];
    size_t length = mst_utf8_cut(error->message, strlen(error->message), sizeof text - 1);
    memcpy(text, error->message, length);
    text[length] = '\0';
    mst_json_put_error(&json, error);
    int code = json.failed
                   ? MST_ENOMEM
                   : publish(service, reply, error->code, text, (struct mst_span){json.data, json.length}, NULL);
    mst_buffer_deinit(&json);
    return code;
}

/* Sends an answer, or in its place why it cannot be sent: the caller must not wait for nothing. */
static void respond(struct mst_service *service, struct mst__service_endpoint *endpoint, struct mst_span reply,
                    int status, struct mst_span json)
{
    struct mst_error error;
    char text[HEADER_TEXT] = "";
    if (status) {
        mst__door_status(service->host->parser, json.data, json.length, text, sizeof text);
        note_error(endpoint, status, text);
    }
    if (reply.length == 0)
        return;
    int code = publish(service, reply, status, text, json, &error);
    if (code == 0)
        return;
    if (status == 0)
        note_error(endpoint, code, error.message);
    if (send_error(service, reply, &error) < 0)
        mst_log_write(service->host->log, MST_LOG_WARN, "service", "answer lost", "error", error.message, NULL);
}

static void on_answer(void *context, int status, const char *json, size_t length)
{
    struct request *request = context;
    struct mst_service *service = request->service;
    struct mst_span reply = {request->reply, request->reply_length};
    service->under_way--;
    if (!service->destroyed) {
        request->endpoint->processing += mst_clock_monotonic() - request->started;
        respond(service, request->endpoint, reply, status, (struct mst_span){json, length});
    }
    free(request);
    free_if_over(service);
}

/* Requests */

static struct mst__service_endpoint *find_endpoint(struct mst_service *service, const char *verb)
{
    for (unsigned i = 0; i < service->endpoint_count; i++)
        if (strcmp(service->endpoints[i].verb, verb) == 0)
            return &service->endpoints[i];
    return NULL;
}

/* The parts of `<prefix>.<namespace>.api.<verb>`; the subscription lets nothing of another shape through. */
static void split_subject(const struct mst_service *service, struct mst_span subject, char *namespace_, char *verb)
{
    struct mst_span rest = {subject.data + service->prefix_length + 1, subject.length - service->prefix_length - 1};
    const char *dot = memchr(rest.data, '.', rest.length);
    const char *last = memrchr(rest.data, '.', rest.length);
    mst__door_word(namespace_, (struct mst_span){rest.data, (size_t)(dot - rest.data)});
    mst__door_word(verb, (struct mst_span){last + 1, (size_t)(rest.data + rest.length - last - 1)});
}

static void refuse_request(struct mst_service *service, const struct mst_delivery *delivery,
                           struct mst__service_endpoint *endpoint, const struct mst_error *error)
{
    note_error(endpoint, error->code, error->message);
    if (delivery->reply.length && send_error(service, delivery->reply, error) < 0)
        mst_log_write(service->host->log, MST_LOG_WARN, "service", "answer lost", "error", error->message, NULL);
}

static void on_request(struct mst_listener *listener, const struct mst_delivery *delivery)
{
    struct mst_service *service = listener->owner;
    char namespace_[MST__DOOR_WORD], verb[MST__DOOR_WORD];
    struct mst_error error;
    split_subject(service, delivery->subject, namespace_, verb);
    struct mst__service_endpoint *endpoint = find_endpoint(service, verb);
    if (!endpoint) {
        mst__door_no_verb(&error, verb);
        refuse_request(service, delivery, NULL, &error);
        return;
    }
    endpoint->requests++;
    struct request *request = malloc(sizeof *request + delivery->reply.length);
    if (!request) {
        mst_error_set(&error, MST_ENOMEM, "%s", mst_error_text(MST_ENOMEM));
        refuse_request(service, delivery, endpoint, &error);
        return;
    }
    *request = (struct request){service, endpoint, mst_clock_monotonic(), delivery->reply.length};
    if (delivery->reply.length)
        memcpy(request->reply, delivery->reply.data, delivery->reply.length);
    service->under_way++;
    mst_host_call(service->host, verb, namespace_, delivery->payload.data, delivery->payload.length, on_answer,
                  request);
}

/* Life */

static int make_id(char id[MST__SERVICE_ID + 1])
{
    static const char digits[] = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz-_";
    unsigned char random[MST__SERVICE_ID];
    if (getrandom(random, sizeof random, 0) != (ssize_t)sizeof random)
        return MST_EINTERNAL;
    for (unsigned i = 0; i < MST__SERVICE_ID; i++)
        id[i] = digits[random[i] & 63];
    id[MST__SERVICE_ID] = '\0';
    return 0;
}

static void add_endpoints(struct mst_service *service)
{
    /* What a coordinator may know; it says itself which of them are for everybody. */
    static const char *const verbs[] = {"register",  "heartbeat", "patch",     "unregister", "get",
                                        "enumerate", "count",     "aggregate", "multicast",  "report",
                                        "cancel",    "watch",     "explain",   "filters",    "prepare"};
    for (size_t i = 0; i < sizeof verbs / sizeof *verbs; i++)
        if (mst_coordinator_is_public(verbs[i]))
            service->endpoints[service->endpoint_count++].verb = verbs[i];
}

static int start(struct mst_service *service, struct mst_error *error)
{
    struct mst_messaging *messaging = service->host->messaging;
    char subject[128];
    if (!messaging)
        return mst_error_set(error, MST_ECONNECT, "the host is not ready yet");
    snprintf(subject, sizeof subject, "%s.*.api.*", service->host->prefix);
    service->requests = (struct mst_listener){.deliver = on_request, .owner = service};
    int code = messaging->ops->listen(messaging, subject, MST__SERVICE_QUEUE, &service->requests, error);
    if (code)
        return code;
    service->listening = true;
    return mst__service_discovery_start(service, error);
}

int mst_service_create(struct mst_service **made, struct mst_host *host, struct mst_error *error)
{
    struct mst_service *service = calloc(1, sizeof *service);
    if (!service)
        return mst_error_set(error, MST_ENOMEM, "%s", mst_error_text(MST_ENOMEM));
    service->host = host;
    service->prefix_length = strlen(host->prefix);
    service->started = mst_clock_wall();
    add_endpoints(service);
    int code = make_id(service->id);
    if (code)
        mst_error_set(error, code, "%s", mst_error_text(code));
    else
        code = start(service, error);
    if (code) {
        mst_service_destroy(service);
        return code;
    }
    mst_log_write(host->log, MST_LOG_INFO, "service", "serving", "id", service->id, "prefix", host->prefix, NULL);
    *made = service;
    return 0;
}

void mst_service_refuse(struct mst_service *service)
{
    struct mst_messaging *messaging = service->host->messaging;
    if (service->listening)
        messaging->ops->unlisten(messaging, &service->requests);
    service->listening = false;
    mst__service_discovery_stop(service);
}

void mst_service_destroy(struct mst_service *service)
{
    mst_service_refuse(service);
    service->destroyed = true;
    free_if_over(service);
}
