// SPDX-License-Identifier: Apache-2.0
#include "coordinator_world.h"

static void register_answers_with_the_lease(void **state)
{
    struct world *world = *state;
    int64_t before = mst_clock_wall();
    struct reply *reply = call(world, "register", "{\"id\":\"a\",\"metadata\":{\"x\":1}}");
    expect_ok(reply, "{\"id\":\"a\",\"revision\":1,\"created\":true,\"registered_at\":");
    long long registered = 0, expires = 0;
    assert_int_equal(sscanf(strstr(reply->json, "\"registered_at\""), "\"registered_at\":%lld,\"expires_at\":%lld}",
                            &registered, &expires),
                     2);
    assert_true(registered >= before);
    assert_int_equal(expires - registered, 300000);
    answers(world, "register", "{\"id\":\"a\",\"metadata\":{\"x\":1}}", "\"revision\":2,\"created\":false");
    assert_true(world->ready);
}

static void metadata_stays_as_it_was_written(void **state)
{
    struct world *world = *state;
    answers(world, "register", "{ \"metadata\" : { \"b\" :1.50, \"a\":\"\\u00e9\" } , \"id\":\"a\"}", "\"id\":\"a\"");
    answers(world, "get", "{\"id\":\"a\"}",
            "{\"id\":\"a\",\"metadata\":{ \"b\" :1.50, \"a\":\"\\u00e9\" },\"gateway\":null,");
    answers(world, "register", "[ {\"id\":\"b\"} , {\"id\":\"c\",\"gateway\":\"g\",\"metadata\":{ }} ]",
            "\"id\":\"c\"");
    answers(world, "get", "{\"id\":\"b\"}", "\"metadata\":{},\"gateway\":null,\"revision\":2,");
    answers(world, "get", "{\"id\":\"c\"}", "\"metadata\":{ },\"gateway\":\"g\",\"revision\":3,");
}

static void a_lease_is_given_in_several_ways(void **state)
{
    struct world *world = *state;
    static const struct {
        const char *ttl;
        long long ms;
    } cases[] = {{"1", 1000},
                 {"1.5", 1500},
                 {"\"5m\"", 300000},
                 {"\"1h30m\"", 5400000},
                 {"2592000", 2592000000},
                 {"\"30d\"", 2592000000}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char body[100];
        snprintf(body, sizeof body, "{\"id\":\"a%zu\",\"ttl\":%s}", i, cases[i].ttl);
        struct reply *reply = call(world, "register", body);
        expect_ok(reply, "\"registered_at\"");
        long long registered, expires;
        assert_int_equal(sscanf(strstr(reply->json, "\"registered_at\""), "\"registered_at\":%lld,\"expires_at\":%lld}",
                                &registered, &expires),
                         2);
        assert_int_equal(expires - registered, cases[i].ms);
    }
    answers(world, "register", "{\"id\":\"x\",\"ttl\":\"never\"}", "\"expires_at\":null}");
    answers(world, "register", "{\"id\":\"y\",\"ttl\":null}", "\"expires_at\":null}");
    answers(world, "get", "{\"id\":\"y\"}", "\"expires_at\":null}");
}

static void a_lease_out_of_range_is_refused(void **state)
{
    struct world *world = *state;
    static const char *const wrong[] = {"0", "-1", "0.9994", "2592000.01", "\"0s\"", "\"31d\"", "1e300", "-1e300"};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        char body[100];
        snprintf(body, sizeof body, "{\"id\":\"a\",\"ttl\":%s}", wrong[i]);
        refuses(world, "register", body, MST_ERANGE, "a lease that does not end is \\\"ttl\\\": \\\"never\\\"");
    }
    refuses(world, "register", "{\"id\":\"a\",\"ttl\":0}", MST_ERANGE, "key \\\"ttl\\\": expected 1s to 30d, got 0ms");
    refuses(world, "register", "{\"id\":\"a\",\"ttl\":\"soon\"}", MST_EINVAL, "\\\"soon\\\" is not a duration");
    refuses(world, "register", "{\"id\":\"a\",\"ttl\":[]}", MST_EINVAL,
            "key \\\"ttl\\\": expected a number, a string or null, got an array");
    answers(world, "count", "{}", "{\"count\":0,\"revision\":0,\"warnings\":[]}");
}

static void wrong_registrations_are_refused(void **state)
{
    struct world *world = *state;
    refuses(world, "register", "{}", MST_EINVAL, "key \\\"id\\\" is missing");
    refuses(world, "register", "{\"id\":null}", MST_EINVAL, "key \\\"id\\\" is missing");
    refuses(world, "register", "{\"id\":7}", MST_EINVAL, "key \\\"id\\\": expected a string, got a number");
    refuses(world, "register", "{\"id\":\"\"}", MST_EID, "");
    refuses(world, "register", "{\"id\":\"a\\r\\nb\"}", MST_EID, "");
    refuses(world, "register", "{\"id\":\"a\",\"metdata\":{}}", MST_EINVAL, "unknown key \\\"metdata\\\"");
    refuses(world, "register", "{\"id\":\"a\",\"metdata\":{}}", MST_EINVAL, "did you mean \\\"metadata\\\"?");
    refuses(world, "register", "{\"id\":\"a\",\"zzzzzz\":{}}", MST_EINVAL, "known keys: id, metadata, ttl");
    refuses(world, "register", "{\"id\":\"a\",\"metadata\":[]}", MST_EINVAL, "expected an object, got an array");
    refuses(world, "register", "{\"id\":\"a\",\"mode\":\"craete\"}", MST_EINVAL, "did you mean \\\"create\\\"?");
    refuses(world, "register", "{\"id\":\"a\",\"mode\":\"x\"}", MST_EINVAL,
            "expected upsert, create or replace, got \\\"x\\\"");
    refuses(world, "register", "{\"id\":\"a\",\"gateway\":\"g\\u0000\"}", MST_EINVAL, "gateway");
    refuses(world, "register", "{\"id\":\"a\",\"if_revision\":1.5}", MST_EINVAL, "expected an integer");
    refuses(world, "register", "{\"id\":\"a\",\"if_revision\":-1}", MST_ERANGE, "if_revision");
    refuses(world, "register", "{\"id\":\"a\",\"id\":\"b\"}", MST_EJSON, "");
    refuses(world, "register", "{\"id\":", MST_EJSON, "\"at\":{");
    refuses(world, "register", "\"a\"", MST_EINVAL, "expected an object, got a string");
    refuses(world, "register", "{\"id\":\"a\",\"if_revision\":1}", MST_EREVISION, "");
    struct mst_coordinator_stats stats;
    mst_coordinator_stats(world->coordinator, &stats);
    assert_int_equal(stats.identities, 0);
    assert_int_equal(stats.errors, stats.calls);
    assert_int_equal(stats.in_flight, 0);
}

static void metadata_has_its_own_limits(void **state)
{
    struct world *world = *state;
    char body[20000];
    /* Exactly 16 KiB: {"k":"..."} has 8 bytes around the text. */
    for (int over = 0; over < 2; over++) {
        int length = sprintf(body, "{\"id\":\"a\",\"metadata\":{\"k\":\"");
        memset(body + length, 'x', 16384 - 8 + (size_t)over);
        strcpy(body + length + 16384 - 8 + over, "\"}}");
        if (over)
            refuses(world, "register", body, MST_ETOOBIG, "metadata has 16385 bytes, at most 16384 are allowed");
        else
            answers(world, "register", body, "\"created\":true");
    }
    for (unsigned fields = 64; fields < 66; fields++) {
        int length = sprintf(body, "{\"id\":\"b\",\"metadata\":{\"o\":{");
        for (unsigned i = 1; i < fields; i++)
            length += sprintf(body + length, "%s\"f%u\":0", i == 1 ? "" : ",", i);
        strcpy(body + length, "}}}");
        if (fields > 64)
            refuses(world, "register", body, MST_ETOOBIG, "metadata has 65 fields");
        else
            answers(world, "register", body, "\"created\":true");
    }
    for (unsigned depth = 16; depth < 18; depth++) {
        int length = sprintf(body, "{\"id\":\"c\",\"metadata\":{\"a\":");
        for (unsigned i = 1; i < depth; i++)
            body[length++] = '[';
        for (unsigned i = 1; i < depth; i++)
            body[length++] = ']';
        strcpy(body + length, "}}");
        if (depth > 16)
            refuses(world, "register", body, MST_ETOOBIG, "nested 17 deep");
        else
            answers(world, "register", body, "\"created\":true");
    }
}

static void modes_and_owners_reach_the_registry(void **state)
{
    struct world *world = *state;
    answers(world, "register", "{\"id\":\"a\",\"mode\":\"create\",\"owner\":\"me\"}", "\"created\":true");
    refuses(world, "register", "{\"id\":\"a\",\"mode\":\"create\"}", MST_EEXISTS, "identity a already registered");
    refuses(world, "register", "{\"id\":\"a\"}", MST_EOWNER, "");
    answers(world, "register", "{\"id\":\"a\",\"owner\":\"me\",\"if_revision\":1}", "\"created\":false");
    refuses(world, "register", "{\"id\":\"a\",\"owner\":\"me\",\"if_revision\":1}", MST_EREVISION, "");
    answers(world, "register", "{\"id\":\"a\",\"mode\":\"replace\",\"metadata\":{\"n\":1}}", "\"revision\":3");
    answers(world, "get", "{\"id\":\"a\"}", "\"metadata\":{\"n\":1}");
}

static void a_list_is_answered_in_order(void **state)
{
    struct world *world = *state;
    answers(world, "register", "[]", "[]");
    struct reply *reply = call(world, "register",
                               "[{\"id\":\"a\"},{\"id\":\"\"},{\"id\":\"a\",\"metadata\":{\"n\":2}},7,{\"id\":\"b\"}]");
    assert_int_equal(reply->status, 0);
    const char *at = reply->json;
    static const char *const parts[] = {
        "[{\"id\":\"a\",\"revision\":1,\"created\":true", "{\"error\":{\"code\":\"EID\"",
        "{\"id\":\"a\",\"revision\":2,\"created\":false", "{\"error\":{\"code\":\"EINVAL\"",
        "{\"id\":\"b\",\"revision\":3,\"created\":true"};
    for (size_t i = 0; i < 5; i++) {
        at = strstr(at, parts[i]);
        if (!at)
            fail_msg("no %s in order in %s", parts[i], reply->json);
    }
    answers(world, "get", "{\"id\":\"a\"}", "\"metadata\":{\"n\":2}");
}

static void a_list_has_at_most_a_thousand(void **state)
{
    struct world *world = *state;
    struct mst_buffer body = {0};
    for (unsigned count = 1000; count < 1002; count++) {
        mst_buffer_clear(&body);
        for (unsigned i = 0; i < count; i++)
            mst_buffer_appendf(&body, "%c{\"id\":\"n%u\"}", i ? ',' : '[', i);
        mst_buffer_append(&body, "]", 2);
        if (count > 1000)
            refuses(world, "register", body.data, MST_ETOOBIG, "1001 registrations in one request");
        else
            answers(world, "register", body.data, "{\"id\":\"n999\",\"revision\":1000");
    }
    mst_buffer_deinit(&body);
    answers(world, "count", "{}", "\"count\":1000");
}

static void the_quota_holds(void **state)
{
    struct world *world = *state;
    struct reply *reply = call(world, "register", "[{\"id\":\"a\"},{\"id\":\"b\"},{\"id\":\"c\"},{\"id\":\"d\"}]");
    expect_ok(reply, "\"message\":\"max identities limit reached (3)\"");
    refuses(world, "register", "{\"id\":\"e\"}", MST_EQUOTA, "max identities limit reached (3)");
    answers(world, "register", "{\"id\":\"c\",\"metadata\":{\"n\":1}}", "\"created\":false");
    answers(world, "unregister", "{\"id\":\"a\"}", "{\"removed\":true,\"revision\":5}");
    answers(world, "register", "{\"id\":\"e\"}", "\"created\":true");
    refuses(world, "register", "{\"id\":\"f\"}", MST_EQUOTA, "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(register_answers_with_the_lease),     TEST(metadata_stays_as_it_was_written),
        TEST(a_lease_is_given_in_several_ways),    TEST(a_lease_out_of_range_is_refused),
        TEST(wrong_registrations_are_refused),     TEST(metadata_has_its_own_limits),
        TEST(modes_and_owners_reach_the_registry), TEST(a_list_is_answered_in_order),
        TEST(a_list_has_at_most_a_thousand),       TEST_SMALL(the_quota_holds),
    };
    return cmocka_run_group_tests_name("verb_register", tests, NULL, NULL);
}
