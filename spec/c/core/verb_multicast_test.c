// SPDX-License-Identifier: Apache-2.0
#include "coordinator_world.h"

static void multicast_reports_every_target(void **state)
{
    struct world *world = *state;
    struct ear ears[2];
    fill(world);
    listen(world, &ears[0], "muster.space.to.a", "+");
    listen(world, &ears[1], "muster.space.via.g", "-EFULL no room");
    struct reply *reply =
        call(world, "multicast", "{\"all\":true,\"payload\":{\"do\": 1},\"report\":\"all\",\"timeout\":1}");
    expect_ok(reply, "{\"multicast\":\"m-");
    expect_in(reply, "\"revision\":3,\"targets\":3,\"digest\":\"");
    expect_in(reply, "\"states\":{\"processed\":1,\"failed\":1,\"no_receiver\":1},"
                     "\"failures\":{\"timeout\":0,\"connection\":0,\"logic\":2},\"receipts\":["
                     "{\"id\":\"a\",\"state\":\"processed\",\"code\":null},"
                     "{\"id\":\"b\",\"state\":\"no_receiver\",\"code\":null},"
                     "{\"id\":\"c\",\"state\":\"failed\",\"code\":\"EFULL no room\"}],\"elapsed_ms\":");
    expect_in(reply, ",\"warnings\":[]}");
    assert_string_equal(ears[0].payload, "{\"do\": 1}");
    assert_non_null(strstr(ears[1].payload, "\"to\":[\"c\"]}\n{\"do\": 1}"));

    reply = call(world, "multicast", "{\"filter\":\"load > 5\",\"payload\":\"x\\ty\",\"report\":\"failed\"}");
    expect_ok(reply, "\"targets\":2");
    expect_in(reply, "\"receipts\":[{\"id\":\"c\",");
    expect_in(reply, "\"warnings\":[\"5 is a lot\"]");
    assert_string_equal(ears[0].payload, "x\ty");

    reply = call(world, "multicast", "{\"filter\":\"load > 5\",\"payload_base64\":\"aGk=\",\"ack\":\"none\"}");
    expect_ok(reply,
              "\"states\":{\"published\":2},\"failures\":{\"timeout\":0,\"connection\":0,\"logic\":0},\"elapsed_ms\"");
    assert_string_equal(ears[0].payload, "hi");
    answers(world, "multicast", "{\"filter\":\"load > 5\",\"payload\":null,\"delivery\":\"at_most_once\"}",
            "{\"published\":2}");
    assert_string_equal(ears[0].payload, "null");
    for (int i = 0; i < 2; i++)
        world->messaging->ops->unlisten(world->messaging, &ears[i].listener);
}

static void multicast_times_out(void **state)
{
    struct world *world = *state;
    struct ear ear;
    fill(world);
    listen(world, &ear, "muster.space.to.*", NULL);
    answers(world, "multicast", "{\"filter\":\"not status == \\\"online\\\"\",\"payload\":1,\"timeout\":\"20ms\"}",
            "\"states\":{\"timeout\":1},\"failures\":{\"timeout\":1,\"connection\":0,\"logic\":0}");
    assert_int_equal(ear.heard, 1);
    world->messaging->ops->unlisten(world->messaging, &ear.listener);
}

static void received_is_not_reached_where_processed_is_asked_for(void **state)
{
    struct world *world = *state;
    struct ear ear;
    fill(world);
    listen(world, &ear, "muster.>", "");
    struct reply *reply = call(world, "multicast",
                               "{\"all\":true,\"payload\":1,\"ack\":\"processed\","
                               "\"report\":\"failed\",\"timeout\":\"20ms\"}");
    expect_ok(reply, "\"states\":{\"received\":3}");
    expect_in(reply, "\"receipts\":[{\"id\":\"a\",\"state\":\"received\",\"code\":null},");
    reply = call(world, "multicast", "{\"all\":true,\"payload\":1,\"report\":\"failed\",\"timeout\":\"20ms\"}");
    expect_ok(reply, "\"receipts\":[]");
    world->messaging->ops->unlisten(world->messaging, &ear.listener);
}

static void multicast_is_guarded(void **state)
{
    struct world *world = *state;
    fill(world);
    static const char *const open[] = {"", "\"filter\":\"\",", "\"filter\":{},", "\"filter\":\"-- all\",",
                                       "\"filter\":\"true\","};
    for (size_t i = 0; i < sizeof open / sizeof open[0]; i++) {
        char body[100];
        snprintf(body, sizeof body, "{%s\"payload\":1}", open[i]);
        refuses(world, "multicast", body, MST_EGUARD, "add \\\"all\\\": true");
        snprintf(body, sizeof body, "{%s\"payload\":1,\"all\":true,\"ack\":\"none\"}", open[i]);
        answers(world, "multicast", body, "\"targets\":3");
    }
    answers(world, "multicast", "{\"filter\":\"false\",\"payload\":1}", "\"targets\":0");
    refuses(world, "multicast", "{\"filter\":\"load > 5\",\"payload\":1,\"expect\":3}", MST_EGUARD,
            "2 identities match, expected 3");
    refuses(world, "multicast", "{\"filter\":\"load > 5\",\"payload\":1,\"expect\":\"4~49%\"}", MST_EGUARD,
            "3 to 5 would do");
    answers(world, "multicast", "{\"filter\":\"load > 5\",\"payload\":1,\"expect\":\"4~50%\"}", "\"targets\":2");
    answers(world, "multicast", "{\"filter\":\"load > 5\",\"payload\":1,\"expect\":\"2\"}", "\"targets\":2");
    refuses(world, "multicast", "{\"filter\":\"load > 5\",\"payload\":1,\"max_targets\":1}", MST_EGUARD,
            "max_targets is 1");
    answers(world, "multicast", "{\"filter\":\"load > 5\",\"payload\":1,\"max_targets\":2}", "\"targets\":2");
    static const char *const bad[] = {"\"\"", "\"2~\"", "\"2~5\"", "\"~5%\"", "\"2~101%\"", "\"2 ~5%\"", "\"-2\""};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        char body[100];
        snprintf(body, sizeof body, "{\"filter\":\"load > 5\",\"payload\":1,\"expect\":%s}", bad[i]);
        refuses(world, "multicast", body, MST_EINVAL, "key \\\"expect\\\"");
    }
}

static void a_dry_run_sends_nothing(void **state)
{
    struct world *world = *state;
    struct ear ear;
    fill(world);
    listen(world, &ear, "muster.>", NULL);
    struct reply *reply = call(world, "multicast", "{\"filter\":\"load > 5\",\"dry_run\":true}");
    expect_ok(reply, "{\"dry_run\":true,\"targets\":2,\"digest\":\"");
    expect_in(reply, "\",\"sample\":[\"a\",\"c\"],\"revision\":3,\"warnings\":[\"5 is a lot\"]}");
    char digest[17] = "", part[40];
    assert_int_equal(sscanf(strstr(reply->json, "\"digest\""), "\"digest\":\"%16[0-9a-f]\"", digest), 1);
    assert_int_equal(strlen(digest), 16);
    assert_int_equal(ear.heard, 0);
    snprintf(part, sizeof part, "\"digest\":\"%s\"", digest);
    answers(world, "multicast", "{\"filter\":\"load > 5\",\"payload\":1,\"ack\":\"none\"}", part);
    assert_int_equal(ear.heard, 2);
    refuses(world, "multicast", "{\"dry_run\":true}", MST_EGUARD, "all 3 identities");
    world->messaging->ops->unlisten(world->messaging, &ear.listener);
}

static void wrong_multicasts_are_refused(void **state)
{
    struct world *world = *state;
    fill(world);
    refuses(world, "multicast", "{\"all\":true}", MST_EINVAL, "is missing");
    refuses(world, "multicast", "{\"all\":true,\"payload\":1,\"payload_base64\":\"\"}", MST_EINVAL,
            "exclude each other");
    refuses(world, "multicast", "{\"all\":true,\"payload_base64\":\"a\"}", MST_EINVAL, "not valid base64");
    refuses(world, "multicast", "{\"all\":true,\"payload\":1,\"timeout\":0}", MST_ERANGE,
            "expected 1ms to 1h, got 0ms");
    refuses(world, "multicast", "{\"all\":true,\"payload\":1,\"timeout\":\"61m\"}", MST_ERANGE, "");
    refuses(world, "multicast", "{\"all\":true,\"payload\":1,\"ack\":\"recieved\"}", MST_EINVAL,
            "did you mean \\\"received\\\"?");
    refuses(world, "multicast", "{\"all\":true,\"payload\":1,\"retries\":11}", MST_ERANGE, "");
    refuses(world, "multicast", "{\"all\":true,\"payload\":1,\"report\":\"x\"}", MST_EINVAL, "summary, failed or all");
    refuses(world, "multicast", "{\"all\":true,\"payload\":1,\"delivery\":\"at_least_once\"}", MST_EUNSUPPORTED,
            "at_least_once is not supported");
    refuses(world, "multicast", "{\"all\":true,\"payload\":1,\"delivery\":\"at_most_once\",\"ack\":\"received\"}",
            MST_EINVAL, "contradicts");
    refuses(world, "multicast", "{\"all\":true,\"payload\":1,\"delivery\":\"acknowledged\",\"ack\":\"none\"}",
            MST_EINVAL, "contradicts");
    static const char *const later[] = {"key", "priority", "policy", "policy_params", "rate"};
    for (size_t i = 0; i < sizeof later / sizeof later[0]; i++) {
        char body[100], part[60];
        snprintf(body, sizeof body, "{\"all\":true,\"payload\":1,\"%s\":1}", later[i]);
        snprintf(part, sizeof part, "key \\\"%s\\\" is not supported", later[i]);
        refuses(world, "multicast", body, MST_EUNSUPPORTED, part);
    }
    for (size_t length = 1000; length < 1002; length++) {
        char body[1100] = "{\"filter\":\"load > 1000\",\"payload\":\"";
        size_t start = strlen(body);
        memset(body + start, 'x', length);
        strcpy(body + start + length, "\"}");
        if (length > 1000)
            refuses(world, "multicast", body, MST_ETOOBIG, "has 1001 bytes, messaging carries at most 1000");
        else
            answers(world, "multicast", body, "\"targets\":0");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(multicast_reports_every_target),
        TEST(received_is_not_reached_where_processed_is_asked_for),
        TEST(multicast_times_out),
        TEST(multicast_is_guarded),
        TEST(a_dry_run_sends_nothing),
        TEST(wrong_multicasts_are_refused),
    };
    return cmocka_run_group_tests_name("verb_multicast", tests, NULL, NULL);
}
