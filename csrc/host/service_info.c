// SPDX-License-Identifier: Apache-2.0
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "host/service_internal.h"

#define PUT(out, literal) mst_buffer_append((out), "" literal, sizeof(literal) - 1)

enum kind { PING, INFO, STATS, KINDS };

static const char *const kinds[KINDS] = {"PING", "INFO", "STATS"};
static const char *const types[KINDS] = {"ping", "info", "stats"};

static void put_text(struct mst_buffer *out, const char *text)
{
    mst_json_put_string(out, text, strlen(text));
}

static void put_number(struct mst_buffer *out, const char *key, uint64_t number)
{
    mst_buffer_append_string(out, key);
    mst_buffer_append_u64(out, number);
}

/* RFC 3339 in UTC. */
static void put_time(struct mst_buffer *out, int64_t milliseconds)
{
    time_t seconds = (time_t)(milliseconds / 1000);
    struct tm parts;
    char text[40];
    gmtime_r(&seconds, &parts);
    strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &parts);
    mst_buffer_appendf(out, "\"%s.%03dZ\"", text, (int)(milliseconds % 1000));
}

static void put_endpoint(struct mst_buffer *out, const struct mst_service *service,
                         const struct mst__service_endpoint *endpoint)
{
    PUT(out, "{\"name\":");
    put_text(out, endpoint->verb);
    mst_buffer_appendf(out, ",\"subject\":\"%s.*.api.%s\",\"queue_group\":\"" MST__SERVICE_QUEUE "\"",
                       service->host->prefix, endpoint->verb);
}

static void put_endpoint_stats(struct mst_buffer *out, const struct mst__service_endpoint *endpoint)
{
    put_number(out, ",\"num_requests\":", endpoint->requests);
    put_number(out, ",\"num_errors\":", endpoint->errors);
    PUT(out, ",\"last_error\":");
    put_text(out, endpoint->last_error);
    put_number(out, ",\"processing_time\":", endpoint->processing);
    put_number(out,
               ",\"average_processing_time\":", endpoint->requests ? endpoint->processing / endpoint->requests : 0);
}

static void put_endpoints(struct mst_buffer *out, const struct mst_service *service, enum kind kind)
{
    PUT(out, ",\"endpoints\":[");
    for (unsigned i = 0; i < service->endpoint_count; i++) {
        if (i)
            mst_buffer_append_byte(out, ',');
        put_endpoint(out, service, &service->endpoints[i]);
        if (kind == STATS)
            put_endpoint_stats(out, &service->endpoints[i]);
        else
            PUT(out, ",\"metadata\":{}");
        mst_buffer_append_byte(out, '}');
    }
    mst_buffer_append_byte(out, ']');
}

static void put_answer(struct mst_buffer *out, const struct mst_service *service, enum kind kind)
{
    mst_buffer_appendf(out, "{\"type\":\"io.nats.micro.v1.%s_response\",\"name\":\"" MST__SERVICE_NAME "\"",
                       types[kind]);
    mst_buffer_appendf(out, ",\"id\":\"%s\",\"version\":\"" MST_VERSION "\",\"metadata\":{\"prefix\":\"%s\"}",
                       service->id, service->host->prefix);
    if (kind == INFO)
        PUT(out, ",\"description\":\"Registers identities, finds them by metadata, sends to all that match\"");
    if (kind == STATS) {
        PUT(out, ",\"started\":");
        put_time(out, service->started);
    }
    if (kind != PING)
        put_endpoints(out, service, kind);
    mst_buffer_append_byte(out, '}');
}

/* The listeners of a kind lie side by side. */
static void on_discovery(struct mst_listener *listener, const struct mst_delivery *delivery)
{
    struct mst_service *service = listener->owner;
    struct mst_messaging *messaging = service->host->messaging;
    enum kind kind = (enum kind)((size_t)(listener - service->discovery) / 3);
    struct mst_buffer json = {0};
    struct mst_error error;
    if (delivery->reply.length == 0)
        return;
    put_answer(&json, service, kind);
    int code = json.failed ? mst_error_set(&error, MST_ENOMEM, "%s", mst_error_text(MST_ENOMEM))
                           : messaging->ops->publish(messaging, delivery->reply, (struct mst_span){"", 0}, NULL, 0,
                                                     (struct mst_span){json.data, json.length}, &error);
    if (code)
        mst_log_write(service->host->log, MST_LOG_WARN, "service", "discovery not answered", "error", error.message,
                      NULL);
    mst_buffer_deinit(&json);
}

static void put_subject(char *subject, size_t size, const struct mst_service *service, unsigned index)
{
    const char *kind = kinds[index / 3];
    if (index % 3 == 0)
        snprintf(subject, size, "$SRV.%s", kind);
    else if (index % 3 == 1)
        snprintf(subject, size, "$SRV.%s." MST__SERVICE_NAME, kind);
    else
        snprintf(subject, size, "$SRV.%s." MST__SERVICE_NAME ".%s", kind, service->id);
}

int mst__service_discovery_start(struct mst_service *service, struct mst_error *error)
{
    struct mst_messaging *messaging = service->host->messaging;
    for (unsigned i = 0; i < MST__SERVICE_DISCOVERY; i++) {
        char subject[64];
        put_subject(subject, sizeof subject, service, i);
        service->discovery[i] = (struct mst_listener){.deliver = on_discovery, .owner = service};
        int code = messaging->ops->listen(messaging, subject, NULL, &service->discovery[i], error);
        if (code)
            return code;
        service->discovery_count++;
    }
    return 0;
}

void mst__service_discovery_stop(struct mst_service *service)
{
    struct mst_messaging *messaging = service->host->messaging;
    while (service->discovery_count)
        messaging->ops->unlisten(messaging, &service->discovery[--service->discovery_count]);
}
