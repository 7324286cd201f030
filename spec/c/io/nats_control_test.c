// SPDX-License-Identifier: Apache-2.0
/* Listeners and single messages over a real nats-server. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "support/nats_harness.h"

static struct test_server server;

struct ear {
    struct mst_listener listener;
    uint32_t heard;
    char subject[64], reply[64], payload[64];
};

static void copy(char *to, struct mst_span from)
{
    snprintf(to, 64, "%.*s", (int)from.length, from.data);
}

static void on_delivery(struct mst_listener *listener, const struct mst_delivery *delivery)
{
    struct ear *ear = listener->owner;
    ear->heard++;
    copy(ear->subject, delivery->subject);
    copy(ear->reply, delivery->reply);
    copy(ear->payload, delivery->payload);
}

static int listen_with(struct harness *harness, struct ear *ear, const char *subject, const char *queue)
{
    *ear = (struct ear){.listener = {.deliver = on_delivery}};
    ear->listener.owner = ear;
    return harness->messaging->ops->listen(harness->messaging, subject, queue, &ear->listener, NULL);
}

static int say(struct harness *harness, const char *subject, const char *reply, const char *payload)
{
    struct mst_span to = {subject, strlen(subject)}, back = {reply, strlen(reply)}, what = {payload, strlen(payload)};
    return harness->messaging->ops->publish(harness->messaging, to, back, NULL, 0, what, NULL);
}

static bool heard_one(void *context)
{
    return ((struct ear *)context)->heard > 0;
}

static void a_message_comes_with_all_its_parts(void **state)
{
    (void)state;
    struct harness harness;
    struct ear ear;
    harness_open(&harness, &server, NULL);
    assert_int_equal(listen_with(&harness, &ear, "svc.*.info", NULL), 0);
    assert_int_equal(say(&harness, "svc.a.info", "back.to.me", "question"), 0);
    assert_int_equal(ear.heard, 0);
    run_until(&harness, heard_one, &ear, 5);
    assert_string_equal(ear.subject, "svc.a.info");
    assert_string_equal(ear.reply, "back.to.me");
    assert_string_equal(ear.payload, "question");
    assert_int_equal(say(&harness, "svc.b.info", "", ""), 0);
    ear.heard = 0;
    run_until(&harness, heard_one, &ear, 5);
    assert_string_equal(ear.reply, "");
    assert_string_equal(ear.payload, "");
    harness.messaging->ops->unlisten(harness.messaging, &ear.listener);
    harness_close(&harness);
}

/* As it returns, without a turn of the loop: another connection's request must find the listener. */
static void a_listener_is_in_force_at_once(void **state)
{
    (void)state;
    struct harness harness;
    struct ear ear;
    struct counter other;
    harness_open(&harness, &server, NULL);
    counter_open(&other, &server, "unused.>", 1);
    for (unsigned i = 0; i < 50; i++) {
        char subject[32];
        snprintf(subject, sizeof subject, "force.%u", i);
        assert_int_equal(listen_with(&harness, &ear, subject, NULL), 0);
        natsConnection_PublishString(other.connection, subject, "x");
        natsConnection_Flush(other.connection);
        run_until(&harness, heard_one, &ear, 5);
        harness.messaging->ops->unlisten(harness.messaging, &ear.listener);
    }
    counter_close(&other);
    harness_close(&harness);
}

static void nothing_is_delivered_after_unlisten(void **state)
{
    (void)state;
    struct harness harness;
    struct ear gone, stays;
    harness_open(&harness, &server, NULL);
    assert_int_equal(listen_with(&harness, &gone, "u.>", NULL), 0);
    assert_int_equal(listen_with(&harness, &stays, "u.>", NULL), 0);
    for (unsigned i = 0; i < 1000; i++)
        assert_int_equal(say(&harness, "u.x", "", "hello"), 0);
    run_until(&harness, heard_one, &gone, 5);
    uint32_t heard = gone.heard;
    /* The others have arrived, and wait for the loop. */
    usleep(100000);
    harness.messaging->ops->unlisten(harness.messaging, &gone.listener);
    run_for(&harness, 100);
    assert_int_equal(gone.heard, heard);
    assert_int_equal(stays.heard, 1000);
    /* What still listens when messaging is closed is let go by itself. */
    harness_close(&harness);
    assert_null(stays.listener.slot_state);
}

static void answer_delivery(struct mst_listener *listener, const struct mst_delivery *delivery)
{
    struct harness *harness = listener->owner;
    struct mst_span none = {"", 0};
    assert_int_equal(
        harness->messaging->ops->publish(harness->messaging, delivery->reply, none, NULL, 0, delivery->subject, NULL),
        0);
}

static bool probe_answered(void *context)
{
    struct probe *probe = context;
    return probe_ended(probe) && probe->replies == probe->cast.count;
}

static void casts_are_answered_until_unlisten(void **state)
{
    (void)state;
    struct harness harness;
    struct mst_listener listener = {.deliver = answer_delivery, .owner = &harness};
    harness_open(&harness, &server, NULL);
    assert_int_equal(harness.messaging->ops->listen(harness.messaging, "svc.>", NULL, &listener, NULL), 0);
    struct probe *probe = probe_send(&harness, "svc", 3000, "question", true);
    run_until(&harness, probe_answered, probe, 20);
    assert_int_equal(probe->wrong_replies, 0);
    assert_int_equal(probe->nobody, 0);
    probe_free(&harness, probe);
    harness.messaging->ops->unlisten(harness.messaging, &listener);
    run_for(&harness, 200);
    probe = probe_send(&harness, "svc", 10, "anybody?", true);
    run_until(&harness, probe_ended, probe, 20);
    assert_int_equal(probe->nobody, 10);
    probe_free(&harness, probe);
    harness_close(&harness);
}

static void a_queue_group_shares(void **state)
{
    (void)state;
    struct harness one, two;
    struct ear first, second, third;
    harness_open(&one, &server, NULL);
    harness_open(&two, &server, NULL);
    assert_int_equal(listen_with(&one, &first, "q.work", "q"), 0);
    assert_int_equal(listen_with(&two, &second, "q.work", "q"), 0);
    assert_int_equal(listen_with(&two, &third, "q.work", NULL), 0);
    for (unsigned i = 0; i < 400; i++)
        assert_int_equal(say(&one, "q.work", "", "hello"), 0);
    for (int i = 0; i < 100 && first.heard + second.heard + third.heard < 800; i++) {
        run_for(&one, 5);
        run_for(&two, 5);
    }
    assert_int_equal(first.heard + second.heard, 400);
    assert_true(first.heard > 0 && second.heard > 0);
    assert_int_equal(third.heard, 400);
    assert_int_equal(listen_with(&one, &first, "q.work", "bad name"), MST_EINVAL);
    assert_int_equal(listen_with(&one, &first, "q.work", ""), MST_EINVAL);
    harness_close(&one);
    harness_close(&two);
}

static void headers_are_carried_or_refused(void **state)
{
    (void)state;
    struct harness harness;
    natsOptions *options = NULL;
    natsConnection *connection = NULL;
    natsSubscription *subscription = NULL;
    natsMsg *message = NULL;
    char url[64];
    harness_open(&harness, &server, NULL);
    snprintf(url, sizeof url, "nats://%s", server.address);
    natsOptions_Create(&options);
    natsOptions_SetURL(options, url);
    assert_int_equal(natsConnection_Connect(&connection, options), NATS_OK);
    assert_int_equal(natsConnection_SubscribeSync(&subscription, connection, "h.x"), NATS_OK);
    natsConnection_Flush(connection);
    struct mst_span subject = {"h.x", 3}, reply = {"r", 1}, payload = {"body", 4};
    struct mst_header headers[] = {{"Nats-Service-Error", "no such thing"}, {"Nats-Service-Error-Code", "404"}};
    struct mst_messaging const *m = harness.messaging;
    assert_int_equal(m->ops->publish(harness.messaging, subject, reply, headers, 2, payload, NULL), 0);
    assert_int_equal(natsSubscription_NextMsg(&message, subscription, 2000), NATS_OK);
    const char *value = NULL;
    assert_int_equal(natsMsgHeader_Get(message, "Nats-Service-Error", &value), NATS_OK);
    assert_string_equal(value, "no such thing");
    assert_int_equal(natsMsgHeader_Get(message, "Nats-Service-Error-Code", &value), NATS_OK);
    assert_string_equal(value, "404");
    assert_int_equal(natsMsg_GetDataLength(message), 4);
    assert_string_equal(natsMsg_GetReply(message), "r");
    natsMsg_Destroy(message);
    struct mst_header bad[] = {{"", "x"}, {"a b", "x"}, {"a:b", "x"}, {"a\r\nb", "x"}, {"a", "x\r\ny"}, {"a", "x\ny"}};
    for (unsigned i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(m->ops->publish(harness.messaging, subject, reply, &bad[i], 1, payload, NULL), MST_EINVAL);
    natsSubscription_Destroy(subscription);
    natsConnection_Destroy(connection);
    natsOptions_Destroy(options);
    harness_close(&harness);
}

static void a_message_too_large_is_refused(void **state)
{
    (void)state;
    struct harness harness;
    harness_open(&harness, &server, NULL);
    size_t most = harness.messaging->ops->max_payload(harness.messaging);
    char *body = calloc(1, most + 1);
    struct mst_span subject = {"big", 3}, none = {"", 0}, payload = {body, most + 1};
    struct mst_error error;
    assert_int_equal(harness.messaging->ops->publish(harness.messaging, subject, none, NULL, 0, payload, &error),
                     MST_ETOOBIG);
    payload.length = most;
    assert_int_equal(harness.messaging->ops->publish(harness.messaging, subject, none, NULL, 0, payload, &error), 0);
    harness_close(&harness);
    free(body);
}

static bool is_healthy(void *context)
{
    struct harness *harness = context;
    return harness->messaging->ops->healthy(harness->messaging, NULL);
}

static bool is_sick(void *context)
{
    return !is_healthy(context);
}

static void listeners_survive_the_server(void **state)
{
    (void)state;
    struct harness harness;
    struct ear ear, gone, late;
    harness_open(&harness, &server, NULL);
    assert_int_equal(listen_with(&harness, &ear, "again", NULL), 0);
    assert_int_equal(listen_with(&harness, &gone, "again", NULL), 0);
    for (unsigned round = 0; round < 3; round++) {
        test_server_kill(&server);
        run_until(&harness, is_sick, &harness, 5);
        /* Neither loop nor caller waits for a server that is not there. */
        uint64_t began = mst_clock_monotonic();
        run_for(&harness, 300);
        assert_int_equal(say(&harness, "again", "", "lost"), MST_ENATS);
        assert_int_equal(listen_with(&harness, &late, "again", NULL), MST_ENATS);
        assert_in_range(mst_clock_monotonic() - began, 0, 500 * MST_NS_PER_MS);
        if (round == 1)
            harness.messaging->ops->unlisten(harness.messaging, &gone.listener);
        gone.heard = ear.heard = 0;
        assert_true(test_server_restart(&server));
        run_until(&harness, is_healthy, &harness, 15);
        assert_int_equal(say(&harness, "again", "", "found"), 0);
        run_until(&harness, heard_one, &ear, 5);
        run_for(&harness, 50);
        assert_string_equal(ear.payload, "found");
        assert_int_equal(ear.heard, 1);
        assert_int_equal(gone.heard, round == 0);
    }
    harness_close(&harness);
}

/* The loop must not feel it; a subscription cannot be promised. */
static void a_frozen_server_does_not_stop_the_loop(void **state)
{
    (void)state;
    struct harness harness;
    struct ear ear;
    char *body = calloc(1, 500000);
    harness_open(&harness, &server, NULL);
    test_server_pause(&server);
    struct mst_span subject = {"frozen", 6}, none = {"", 0}, payload = {body, 500000};
    uint64_t began = mst_clock_monotonic();
    int code = 0;
    for (unsigned i = 0; i < 100; i++)
        code = harness.messaging->ops->publish(harness.messaging, subject, none, NULL, 0, payload, NULL);
    /* Copying 16 MB takes its time, with sanitizers most of all. */
    assert_in_range(mst_clock_monotonic() - began, 0, 900 * MST_NS_PER_MS);
    assert_true(code == MST_EBUSY || code == MST_ENATS);
    began = mst_clock_monotonic();
    code = listen_with(&harness, &ear, "frozen.too", NULL);
    assert_int_equal(code, MST_ENATS);
    assert_in_range(mst_clock_monotonic() - began, 0, 1500 * MST_NS_PER_MS);
    test_server_resume(&server);
    run_until(&harness, is_healthy, &harness, 15);
    harness_close(&harness);
    free(body);
}

static int set_up(void **state)
{
    (void)state;
    return test_nats_start(&server, NULL) ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    test_server_stop(&server);
    nats_CloseAndWait(5000);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_message_comes_with_all_its_parts),
        cmocka_unit_test(a_listener_is_in_force_at_once),
        cmocka_unit_test(nothing_is_delivered_after_unlisten),
        cmocka_unit_test(casts_are_answered_until_unlisten),
        cmocka_unit_test(a_queue_group_shares),
        cmocka_unit_test(headers_are_carried_or_refused),
        cmocka_unit_test(a_message_too_large_is_refused),
        cmocka_unit_test(listeners_survive_the_server),
        cmocka_unit_test(a_frozen_server_does_not_stop_the_loop),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
