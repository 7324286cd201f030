// SPDX-License-Identifier: Apache-2.0
/* The client of the NATS service, with a real server. One loop runs client and host. */
#include "host/client.h"

#include "service_world.h"

static struct mst_client *open_client(const char *prefix, uint64_t timeout)
{
    struct reply ready = {0};
    struct mst_nats_options options = {.servers = url};
    struct mst_client *client =
        client_started(mst_client_open_nats(&host->loop, NULL, &options, prefix, timeout, on_reply, &ready));
    assert_non_null(client);
    assert_int_equal(ready.count, 0);
    wait_count(host, &ready.count, 1);
    if (ready.status)
        fail_msg("%s", ready.json);
    reply_clear(&ready);
    return client;
}

static void a_client_calls_over_nats(void **state)
{
    (void)state;
    struct mst_client *client = open_client(NULL, 0);
    struct reply reply = {0};
    assert_int_equal(client_do(host, client, "register", "{\"id\":\"a\"}", &reply), 0);
    assert_int_equal(client_do(host, client, "count", "", &reply), 0);
    assert_memory_equal(reply.json, "{\"count\":1,", 11);
    assert_int_equal(client_do(host, client, "get", "{\"id\":\"b\"}", &reply), MST_ENOTFOUND);
    assert_memory_equal(reply.json, "{\"error\":{\"code\":\"ENOTFOUND\"", 28);
    assert_int_equal(client_do(host, client, "drop", "{}", &reply), MST_EVERB);
    assert_int_equal(client_do(host, client, "a.b", "{}", &reply), MST_EVERB);
    reply_clear(&reply);
    mst_client_call(client, "count", "a.b", "{}", 2, on_reply, &reply);
    wait_count(host, &reply.count, 1);
    assert_int_equal(reply.status, MST_ENAMESPACE);
    reply_clear(&reply);
    client_stop(host, client);
}

static void many_calls_at_once_are_all_answered(void **state)
{
    (void)state;
    enum { CALLS = 900 };
    static struct reply replies[CALLS];
    struct mst_client *client = open_client(NULL, 0);
    for (unsigned i = 0; i < CALLS; i++) {
        char body[64];
        snprintf(body, sizeof body, "{\"id\":\"id-%u\"}", i);
        mst_client_call(client, "register", "default", body, strlen(body), on_reply, &replies[i]);
    }
    for (unsigned i = 0; i < CALLS; i++) {
        char id[64];
        wait_count(host, &replies[i].count, 1);
        snprintf(id, sizeof id, "{\"id\":\"id-%u\",", i);
        assert_int_equal(strncmp(replies[i].json, id, strlen(id)), 0);
        reply_clear(&replies[i]);
    }
    client_stop(host, client);
}

static void a_client_receives_over_nats(void **state)
{
    (void)state;
    struct mst_client *client = open_client(NULL, 0);
    struct inbox one = {.client = client, .text = "+"}, edge = {.client = client, .text = ""};
    struct inbox bad = {.client = client};
    struct reply reply = {0};
    host_do(host, "register", "[{\"id\":\"one\"},{\"id\":\"g1\",\"gateway\":\"edge\"}]");
    assert_non_null(mst_client_receive(client, "default", "one", 3, false, on_inbox, on_armed, &one));
    assert_non_null(mst_client_receive(client, "default", "edge", 4, true, on_inbox, on_armed, &edge));
    assert_non_null(mst_client_receive(client, "default", "", 0, false, on_inbox, on_armed, &bad));
    assert_int_equal(one.armed + edge.armed + bad.armed, 0);
    wait_count(host, &bad.armed, 1);
    wait_count(host, &edge.armed, 1);
    assert_int_equal(one.armed_status | edge.armed_status, 0);
    assert_int_equal(bad.armed_status, MST_EID);
    const char *body = "{\"all\":true,\"payload\":\"p\",\"timeout\":3}";
    assert_int_equal(client_do(host, client, "multicast", body, &reply), 0);
    assert_non_null(strstr(reply.json, "\"processed\":1"));
    assert_non_null(strstr(reply.json, "\"received\":1"));
    assert_string_equal(one.payload, "p");
    assert_non_null(strstr(edge.payload, "\"to\":[\"g1\"]}\np"));
    reply_clear(&reply);
    free(one.armed_json);
    free(edge.armed_json);
    free(bad.armed_json);
    client_stop(host, client);
}

static void without_a_coordinator_the_client_says_so_at_once(void **state)
{
    (void)state;
    struct mst_client *client = open_client("elsewhere", 0);
    struct reply reply = {0};
    uint64_t before = mst_clock_monotonic();
    assert_int_equal(client_do(host, client, "count", "{}", &reply), MST_ECONNECT);
    assert_true(mst_clock_monotonic() - before < 2 * MST_NS_PER_SECOND);
    assert_non_null(strstr(reply.json, "no coordinator answers on elsewhere.default.api.count"));
    reply_clear(&reply);
    client_stop(host, client);
}

static void a_coordinator_that_is_silent_costs_the_timeout(void **state)
{
    (void)state;
    struct mst_client *client = open_client("silent", 150 * MST_NS_PER_MS);
    struct reply reply = {0};
    natsConnection *connection = NULL;
    natsSubscription *subscription = NULL;
    assert_int_equal(natsConnection_ConnectTo(&connection, url), NATS_OK);
    assert_int_equal(natsConnection_SubscribeSync(&subscription, connection, "silent.>"), NATS_OK);
    natsConnection_Flush(connection);
    uint64_t before = mst_clock_monotonic();
    assert_int_equal(client_do(host, client, "count", "{}", &reply), MST_EDEADLINE);
    assert_in_range(mst_clock_monotonic() - before, 150 * MST_NS_PER_MS, 1500 * MST_NS_PER_MS);
    const char *body = "{\"all\":true,\"payload\":\"p\",\"timeout\":\"400ms\"}";
    before = mst_clock_monotonic();
    assert_int_equal(client_do(host, client, "multicast", body, &reply), MST_EDEADLINE);
    assert_in_range(mst_clock_monotonic() - before, 550 * MST_NS_PER_MS, 2000 * MST_NS_PER_MS);
    natsSubscription_Destroy(subscription);
    natsConnection_Destroy(connection);
    reply_clear(&reply);
    client_stop(host, client);
}

static void what_nats_does_not_carry_is_told(void **state)
{
    (void)state;
    struct mst_client *client = open_client(NULL, 0);
    struct reply reply = {0};
    put_long_identities(host, 80);
    assert_int_equal(client_do(host, client, "enumerate", "{}", &reply), MST_ETOOBIG);
    assert_non_null(strstr(reply.json, "\\\"limit\\\""));
    assert_int_equal(client_do(host, client, "enumerate", "{\"limit\":60}", &reply), 0);
    char *body = calloc(1, (2u << 20) + 1);
    memset(body, ' ', 2u << 20);
    assert_int_equal(client_do(host, client, "count", body, &reply), MST_ETOOBIG);
    free(body);
    reply_clear(&reply);
    client_stop(host, client);
}

static void closing_a_client_fails_what_is_outstanding(void **state)
{
    (void)state;
    struct mst_client *client = open_client(NULL, 0);
    struct reply reply = {0};
    host_do(host, "register", "{\"id\":\"a\"}");
    struct mst_receiver *mute = mst_host_receive(host, "default", "a", 1, 0, on_inbox, &(struct inbox){0}, NULL, 0);
    assert_non_null(mute);
    const char *body = "{\"all\":true,\"payload\":\"p\",\"timeout\":\"300ms\"}";
    mst_client_call(client, "multicast", "default", body, strlen(body), on_reply, &reply);
    step_for(host, 50);
    client_stop(host, client);
    assert_int_equal(reply.count, 1);
    assert_int_equal(reply.status, MST_ECLOSED);
    step_for(host, 400);
    reply_clear(&reply);
    mst_receiver_close(mute);
}

static void a_server_that_is_not_there_is_told(void **state)
{
    (void)state;
    char nowhere[64];
    struct reply ready = {0};
    snprintf(nowhere, sizeof nowhere, "nats://127.0.0.1:%d", test_free_port());
    struct mst_nats_options options = {.servers = nowhere};
    struct mst_client *client =
        client_started(mst_client_open_nats(&host->loop, NULL, &options, NULL, 0, on_reply, &ready));
    wait_count(host, &ready.count, 1);
    assert_int_equal(ready.status, MST_ENATS);
    assert_non_null(strstr(ready.json, nowhere));
    client_stop(host, client);
    reply_clear(&ready);
    client = client_started(mst_client_open_nats(&host->loop, NULL, &options, "a..b", 0, on_reply, &ready));
    wait_count(host, &ready.count, 1);
    assert_int_equal(ready.status, MST_EINVAL);
    client_stop(host, client);
    reply_clear(&ready);
}

static void after_an_outage_it_serves_again(void **state)
{
    (void)state;
    struct mst_client *client = open_client(NULL, 2 * MST_NS_PER_SECOND);
    struct reply reply = {0}, outstanding = {0};
    assert_int_equal(client_do(host, client, "count", "{}", &reply), 0);
    host_do(host, "register", "{\"id\":\"a\"}");
    struct mst_receiver *mute = mst_host_receive(host, "default", "a", 1, 0, on_inbox, &(struct inbox){0}, NULL, 0);
    const char *body = "{\"all\":true,\"payload\":\"p\",\"timeout\":\"1s\"}";
    mst_client_call(client, "multicast", "default", body, strlen(body), on_reply, &outstanding);
    step_for(host, 50);
    assert_true(test_server_restart(&server));
    /* The client may be back before the service is: then it hears at once that nobody is there. */
    uint64_t until = mst_clock_monotonic() + 10 * MST_NS_PER_SECOND;
    int status = MST_EDEADLINE;
    while (status && mst_clock_monotonic() < until) {
        status = client_do(host, client, "count", "{}", &reply);
        step_for(host, 10);
    }
    assert_int_equal(status, 0);
    /* What was under way may come through or not, but it ends. */
    wait_count(host, &outstanding.count, 1);
    reply_clear(&reply);
    reply_clear(&outstanding);
    mst_receiver_close(mute);
    client_stop(host, client);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        NATS(a_client_calls_over_nats),
        NATS(many_calls_at_once_are_all_answered),
        NATS(a_client_receives_over_nats),
        NATS(without_a_coordinator_the_client_says_so_at_once),
        NATS(a_coordinator_that_is_silent_costs_the_timeout),
        NATS(what_nats_does_not_carry_is_told),
        NATS(closing_a_client_fails_what_is_outstanding),
        NATS(a_server_that_is_not_there_is_told),
        NATS(after_an_outage_it_serves_again),
    };
    return cmocka_run_group_tests(tests, start_server, stop_server);
}
