// SPDX-License-Identifier: Apache-2.0
/* The service: over the memory slot, and over a real NATS server with a client of another make. */
#include "host/service.h"

#include <nats/nats.h>

#include "model/value.h"
#include "service_world.h"

/* A request over the slot itself. */

struct ask {
    struct mst_cast cast;
    struct mst_cast_message message;
    struct reply reply;
    unsigned replies, nobody;
    bool released;
};

static void on_ask_event(struct mst_cast *cast, const struct mst_cast_event *event)
{
    struct ask *ask = cast->owner;
    if (event->kind == MST_CAST_REPLY) {
        ask->replies++;
        on_reply(&ask->reply, 0, event->data.data, event->data.length);
    } else if (event->kind == MST_CAST_NO_RECEIVER) {
        ask->nobody++;
    }
}

static void on_ask_released(struct mst_cast *cast)
{
    ((struct ask *)cast->owner)->released = true;
}

/* The answer, to be freed; NULL: nobody is there. */
static char *ask_slot(const char *subject, const char *body, unsigned wanted)
{
    struct ask ask = {.message = {.subject_length = (uint16_t)strlen(subject)}};
    mst_buffer_append_string(&ask.cast.text, subject);
    ask.cast.messages = &ask.message;
    ask.cast.count = 1;
    ask.cast.payload = (struct mst_span){body, strlen(body)};
    ask.cast.want_replies = true;
    ask.cast.deadline = UINT64_MAX;
    ask.cast.event = on_ask_event;
    ask.cast.released = on_ask_released;
    ask.cast.owner = &ask;
    host->messaging->ops->send(host->messaging, &ask.cast);
    for (int i = 0; i < 3000 && ask.replies < wanted && !ask.nobody; i++)
        step_for(host, 1);
    step_for(host, 5);
    assert_int_equal(ask.replies, ask.nobody ? 0 : wanted);
    host->messaging->ops->release(host->messaging, &ask.cast);
    wait_flag(host, &ask.released);
    mst_buffer_deinit(&ask.cast.text);
    return ask.reply.json;
}

static void expect_answer(const char *subject, const char *body, const char *part)
{
    char *json = ask_slot(subject, body, 1);
    if (!json || !strstr(json, part))
        fail_msg("%s: no %s in %s", subject, part, json ? json : "nothing");
    free(json);
}

/* Memory */

static void requests_are_answered_within_the_process(void **state)
{
    (void)state;
    expect_answer("muster.default.api.register", "{\"id\":\"a\"}", "\"created\":true");
    expect_answer("muster.default.api.count", "", "{\"count\":1,");
    expect_answer("muster.other.api.count", "{}", "{\"count\":0,");
    expect_answer("muster.default.api.count", "{\"filter\":\"a ==\"}", "{\"error\":{\"code\":\"EFILTER\"");
    expect_answer("muster.default.api.drop", "{}", "EVERB");
    expect_answer("muster.default.api.nonsense", "{}", "EVERB");
    expect_answer("muster.na=20me.api.count", "{}", "ENAMESPACE");
    expect_answer("muster.default.api.count", "{\"filter\":\"a == 1\"}", "{\"count\":0,");
}

static void other_subjects_are_none_of_its_business(void **state)
{
    (void)state;
    assert_null(ask_slot("other.default.api.count", "{}", 1));
    assert_null(ask_slot("muster.default.api.count.more", "{}", 1));
    assert_null(ask_slot("muster.default.other.count", "{}", 1));
}

static const uint8_t *parse(struct mst_buffer *packed, const char *json)
{
    const struct mst_json_limits limits = {.bytes = 65536, .depth = 8};
    struct mst_error error;
    if (mst_json_parse(host->parser, json, strlen(json), &limits, packed, &error))
        fail_msg("%s: %s", error.message, json);
    return (const uint8_t *)packed->data;
}

static const uint8_t *member(const uint8_t *object, const char *key)
{
    const uint8_t *value = mst_value_get(object, key, strlen(key));
    if (!value)
        fail_msg("no %s", key);
    return value;
}

static void expect_text(const uint8_t *object, const char *key, const char *text)
{
    size_t length;
    const uint8_t *value = member(object, key);
    assert_int_equal(mst_value_tag(value), MST_STRING);
    const char *is = mst_value_string(value, &length);
    if (length != strlen(text) || memcmp(is, text, length) != 0)
        fail_msg("%s is %.*s, not %s", key, (int)length, is, text);
}

static const uint8_t *find_endpoint(const uint8_t *info, const char *name)
{
    const uint8_t *position = NULL, *endpoint;
    while (mst_value_next(member(info, "endpoints"), &position, &endpoint)) {
        size_t length;
        const char *is = mst_value_string(member(endpoint, "name"), &length);
        if (length == strlen(name) && memcmp(is, name, length) == 0)
            return endpoint;
    }
    return NULL;
}

static void expect_common(const uint8_t *answer, const char *type)
{
    size_t length;
    expect_text(answer, "type", type);
    expect_text(answer, "name", "muster");
    expect_text(answer, "version", MST_VERSION);
    mst_value_string(member(answer, "id"), &length);
    assert_int_equal(length, 22);
    assert_int_equal(mst_value_tag(member(answer, "metadata")), MST_OBJECT);
}

static void it_tells_who_it_is(void **state)
{
    (void)state;
    char subject[64], *json = ask_slot("$SRV.PING", "", 1);
    struct mst_buffer packed = {0};
    const uint8_t *ping = parse(&packed, json);
    size_t length;
    expect_common(ping, "io.nats.micro.v1.ping_response");
    const char *id = mst_value_string(member(ping, "id"), &length);
    snprintf(subject, sizeof subject, "$SRV.PING.muster.%.*s", (int)length, id);
    expect_answer(subject, "", "ping_response");
    snprintf(subject, sizeof subject, "$SRV.INFO.muster.%.*s", (int)length, id);
    expect_answer(subject, "", "info_response");
    snprintf(subject, sizeof subject, "$SRV.STATS.muster.%.*s", (int)length, id);
    expect_answer(subject, "", "stats_response");
    expect_answer("$SRV.PING.muster", "", "ping_response");
    assert_null(ask_slot("$SRV.PING.other", "", 1));
    free(json);
    mst_buffer_deinit(&packed);
}

static void its_endpoints_are_the_public_verbs(void **state)
{
    (void)state;
    char *json = ask_slot("$SRV.INFO.muster", "", 1);
    struct mst_buffer packed = {0};
    const uint8_t *info = parse(&packed, json);
    expect_common(info, "io.nats.micro.v1.info_response");
    assert_int_equal(mst_value_tag(member(info, "description")), MST_STRING);
    static const char *const verbs[] = {"register",  "heartbeat",  "get",     "enumerate", "count",  "aggregate",
                                        "multicast", "unregister", "explain", "filters",   "prepare"};
    for (size_t i = 0; i < sizeof verbs / sizeof *verbs; i++) {
        char subject[64];
        const uint8_t *endpoint = find_endpoint(info, verbs[i]);
        assert_non_null(endpoint);
        snprintf(subject, sizeof subject, "muster.*.api.%s", verbs[i]);
        expect_text(endpoint, "subject", subject);
        expect_text(endpoint, "queue_group", "q");
        assert_int_equal(mst_value_tag(member(endpoint, "metadata")), MST_OBJECT);
    }
    assert_null(find_endpoint(info, "drop"));
    free(json);
    mst_buffer_deinit(&packed);
}

static void it_counts_what_it_did(void **state)
{
    (void)state;
    for (int i = 0; i < 3; i++)
        expect_answer("muster.default.api.count", "{}", "count");
    expect_answer("muster.default.api.count", "{\"fitler\":1}", "EINVAL");
    char *json = ask_slot("$SRV.STATS", "", 1);
    struct mst_buffer packed = {0};
    const uint8_t *stats = parse(&packed, json);
    expect_common(stats, "io.nats.micro.v1.stats_response");
    size_t length;
    const char *started = mst_value_string(member(stats, "started"), &length);
    assert_int_equal(length, strlen("2025-10-09T12:00:00.000Z"));
    assert_memory_equal(started, "20", 2);
    const uint8_t *count = find_endpoint(stats, "count"), *get = find_endpoint(stats, "get");
    assert_int_equal(mst_value_int(member(count, "num_requests")), 4);
    assert_int_equal(mst_value_int(member(count, "num_errors")), 1);
    assert_true(mst_value_int(member(count, "processing_time")) > 0);
    assert_int_equal(mst_value_int(member(count, "average_processing_time")),
                     mst_value_int(member(count, "processing_time")) / 4);
    assert_memory_equal(mst_value_string(member(count, "last_error"), &length), "400:EINVAL: ", 12);
    assert_int_equal(mst_value_int(member(get, "num_requests")), 0);
    assert_int_equal(mst_value_int(member(get, "average_processing_time")), 0);
    expect_text(get, "last_error", "");
    free(json);
    mst_buffer_deinit(&packed);
}

static void refused_it_leaves_the_requests_to_others(void **state)
{
    (void)state;
    mst_service_refuse(host->service);
    assert_null(ask_slot("muster.default.api.count", "{}", 1));
    assert_null(ask_slot("$SRV.PING", "", 1));
}

static void an_answer_too_long_says_so(void **state)
{
    (void)state;
    put_long_identities(host, 80);
    expect_answer("muster.default.api.enumerate", "{}", "\"code\":\"ETOOBIG\"");
    expect_answer("muster.default.api.enumerate", "{}", "\\\"limit\\\"");
    expect_answer("muster.default.api.enumerate", "{\"limit\":2}", "\"identities\"");
    expect_answer("$SRV.STATS", "", "413:ETOOBIG");
}

/* NATS, with a client of another make */

struct foreign {
    natsConnection *connection;
    natsSubscription *inbox;
};

static void foreign_open(struct foreign *foreign)
{
    assert_int_equal(natsConnection_ConnectTo(&foreign->connection, url), NATS_OK);
    assert_int_equal(natsConnection_SubscribeSync(&foreign->inbox, foreign->connection, "_INBOX.foreign"), NATS_OK);
}

static void foreign_close(struct foreign *foreign)
{
    natsSubscription_Destroy(foreign->inbox);
    natsConnection_Destroy(foreign->connection);
}

static natsMsg *foreign_next(struct foreign *foreign)
{
    natsMsg *message = NULL;
    for (int i = 0; i < 500 && !message; i++) {
        step_for(host, 5);
        natsSubscription_NextMsg(&message, foreign->inbox, 1);
    }
    return message;
}

static natsMsg *foreign_ask(struct foreign *foreign, const char *subject, const char *body)
{
    natsConnection_PublishRequestString(foreign->connection, subject, "_INBOX.foreign", body);
    natsConnection_Flush(foreign->connection);
    natsMsg *message = foreign_next(foreign);
    assert_non_null(message);
    return message;
}

static void expect_error_headers(struct foreign *foreign, const char *subject, const char *body, const char *number,
                                 const char *name)
{
    const char *value = NULL;
    natsMsg *message = foreign_ask(foreign, subject, body);
    assert_int_equal(natsMsgHeader_Get(message, "Nats-Service-Error-Code", &value), NATS_OK);
    assert_string_equal(value, number);
    assert_int_equal(natsMsgHeader_Get(message, "Nats-Service-Error", &value), NATS_OK);
    if (strncmp(value, name, strlen(name)) != 0 || value[strlen(name)] != ':')
        fail_msg("%s is not %s", value, name);
    assert_true(strlen(value) > strlen(name) + 5);
    assert_non_null(strstr(natsMsg_GetData(message), name));
    natsMsg_Destroy(message);
}

static void errors_carry_the_headers_of_a_service(void **state)
{
    (void)state;
    struct foreign foreign;
    const char *value;
    foreign_open(&foreign);
    natsMsg *good = foreign_ask(&foreign, "muster.default.api.register", "{\"id\":\"a\",\"owner\":\"me\"}");
    assert_int_not_equal(natsMsgHeader_Get(good, "Nats-Service-Error-Code", &value), NATS_OK);
    natsMsg_Destroy(good);
    expect_error_headers(&foreign, "muster.default.api.count", "{\"filter\":\"\\n\\r\\u0000 == \\u00e4\"}", "400",
                         "EFILTER");
    expect_error_headers(&foreign, "muster.default.api.count", "{", "400", "EJSON");
    expect_error_headers(&foreign, "muster.default.api.register", "{\"id\":\"\"}", "400", "EID");
    expect_error_headers(&foreign, "muster.default.api.get", "{\"id\":\"b\"}", "404", "ENOTFOUND");
    expect_error_headers(&foreign, "muster.default.api.drop", "{}", "404", "EVERB");
    expect_error_headers(&foreign, "muster.default.api.register", "{\"id\":\"a\",\"mode\":\"create\"}", "409",
                         "EEXISTS");
    expect_error_headers(&foreign, "muster.default.api.register", "{\"id\":\"a\",\"owner\":\"you\"}", "409", "EOWNER");
    expect_error_headers(&foreign, "muster.default.api.register", "{\"id\":\"a\",\"owner\":\"me\",\"if_revision\":9}",
                         "409", "EREVISION");
    expect_error_headers(&foreign, "muster.default.api.multicast",
                         "{\"all\":true,\"payload\":1,\"delivery\":\"exactly_once\"}", "501", "EUNSUPPORTED");
    put_long_identities(host, 80);
    expect_error_headers(&foreign, "muster.default.api.enumerate", "{}", "413", "ETOOBIG");
    foreign_close(&foreign);
}

static void instances_share_the_requests(void **state)
{
    (void)state;
    enum { REQUESTS = 60 };
    struct mst_host_options options = {.nats_servers = url};
    struct mst_host *second = host_start(&options);
    struct foreign foreign;
    serve(second);
    foreign_open(&foreign);
    for (int i = 0; i < REQUESTS; i++)
        natsConnection_PublishRequestString(foreign.connection, "muster.default.api.count", "_INBOX.foreign", "{}");
    natsConnection_Flush(foreign.connection);
    for (int i = 0; i < REQUESTS; i++) {
        natsMsg *message = NULL;
        for (int tries = 0; tries < 500 && !message; tries++) {
            step_for(host, 1);
            step_for(second, 1);
            natsSubscription_NextMsg(&message, foreign.inbox, 1);
        }
        assert_non_null(message);
        natsMsg_Destroy(message);
    }
    struct mst_coordinator_stats one, two;
    mst_coordinator_stats(host->coordinator, &one);
    mst_coordinator_stats(second->coordinator, &two);
    assert_int_equal(one.calls + two.calls, REQUESTS);
    assert_true(one.calls > 5 && two.calls > 5);
    /* Discovery asks each of them. */
    natsConnection_PublishRequestString(foreign.connection, "$SRV.PING.muster", "_INBOX.foreign", "");
    natsConnection_Flush(foreign.connection);
    step_for(second, 50);
    step_for(host, 50);
    for (int i = 0; i < 2; i++) {
        natsMsg *message = foreign_next(&foreign);
        assert_non_null(message);
        assert_non_null(strstr(natsMsg_GetData(message), "ping_response"));
        natsMsg_Destroy(message);
    }
    foreign_close(&foreign);
    mst_host_free(second);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        MEMORY(requests_are_answered_within_the_process),
        MEMORY(other_subjects_are_none_of_its_business),
        MEMORY(it_tells_who_it_is),
        MEMORY(its_endpoints_are_the_public_verbs),
        MEMORY(it_counts_what_it_did),
        MEMORY(refused_it_leaves_the_requests_to_others),
        MEMORY(an_answer_too_long_says_so),
        NATS(errors_carry_the_headers_of_a_service),
        NATS(instances_share_the_requests),
    };
    return cmocka_run_group_tests(tests, start_server, stop_server);
}
