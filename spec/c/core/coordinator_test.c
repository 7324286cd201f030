// SPDX-License-Identifier: Apache-2.0
#include "coordinator_world.h"

static void an_unknown_namespace_is_empty(void **state)
{
    struct world *world = *state;
    for (int i = 0; i < 2; i++) {
        answers(world, "enumerate", "{}",
                "{\"identities\":[],\"total\":0,\"next_cursor\":null,\"revision\":0,\"warnings\":[]}");
        answers(world, "heartbeat", "{\"id\":\"a\"}", "{\"renewed\":0,\"unknown\":[\"a\"],\"revision\":0}");
        answers(world, "unregister", "{\"id\":\"a\"}", "{\"removed\":false,\"revision\":0}");
        refuses(world, "get", "{\"id\":\"a\"}", MST_ENOTFOUND, "");
        answers(world, "multicast", "{\"all\":true,\"payload\":1}", "\"targets\":0");
        answers(world, "drop", "{}", "\"removed\":false");
    }
    struct mst_coordinator_stats stats;
    mst_coordinator_stats(world->coordinator, &stats);
    assert_int_equal(stats.namespaces, 0);
}

static void a_drop_deletes_the_namespace(void **state)
{
    struct world *world = *state;
    fill(world);
    answers(world, "drop", "", "{\"removed\":true,\"revision\":4}");
    answers(world, "enumerate", "{}", "\"total\":0,\"next_cursor\":null,\"revision\":4");
    answers(world, "register", "{\"id\":\"a\"}", "\"revision\":5,\"created\":true");
    answers(world, "enumerate", "{\"filter\":\"status == \\\"online\\\"\"}", "\"total\":0");
    refuses(world, "drop", "{\"id\":1}", MST_EINVAL, "unknown key");
    assert_false(mst_coordinator_is_public("drop"));
    assert_false(mst_coordinator_is_public("nothing"));
    assert_true(mst_coordinator_is_public("register"));
}

static void too_many_namespaces_are_refused(void **state)
{
    struct world *world = *state;
    expect_ok(call_in(world, "one", "register", "{\"id\":\"a\"}"), "\"created\":true");
    expect_ok(call_in(world, "two", "register", "{\"id\":\"a\"}"), "\"created\":true");
    expect_error(call_in(world, "three", "register", "{\"id\":\"a\"}"), MST_EQUOTA, "max namespaces limit reached (2)");
    expect_error(call_in(world, "three", "register", "{}"), MST_EINVAL, "missing");
}

/* calls */

static void unknown_verbs_and_names_are_refused(void **state)
{
    struct world *world = *state;
    refuses(world, "regster", "{}", MST_EVERB, "did you mean \\\"register\\\"?");
    refuses(world, "watch", "{}", MST_EVERB, "unknown verb");
    expect_error(call_in(world, "a.b", "count", "{}"), MST_ENAMESPACE, "");
    expect_error(call_in(world, "", "count", "{}"), MST_ENAMESPACE, "");
    char body[2100];
    memset(body, ' ', sizeof body);
    memcpy(body, "{}", 2);
    body[2000] = '\0';
    answers(world, "count", body, "\"count\":0");
    body[2000] = ' ';
    body[2001] = '\0';
    refuses(world, "count", body, MST_ETOOBIG, "has 2001 bytes, at most 2000");
}

static void too_many_calls_are_refused(void **state)
{
    struct world *world = *state;
    struct reply replies[6] = {0}, other = {0};
    answers(world, "register", "{\"id\":\"a\"}", "created");
    for (int i = 0; i < 6; i++)
        start_call(world, i % 2 ? "count" : "register", i % 2 ? "{}" : "{\"id\":\"a\"}", &replies[i]);
    mst_coordinator_call(world->coordinator, "count", "other", "{}", 2, on_answer, &other);
    for (int i = 0; i < 6; i++)
        wait_for(world, &replies[i]);
    wait_for(world, &other);
    for (int i = 0; i < 6; i++)
        assert_int_equal(replies[i].status, i < 4 ? 0 : MST_EBUSY);
    expect_error(&replies[5], MST_EBUSY, "4 requests of namespace space are in flight");
    assert_int_equal(other.status, 0);
    answers(world, "count", "{}", "\"count\":1");
    for (int i = 0; i < 6; i++)
        free(replies[i].json);
    free(other.json);
}

struct chain {
    struct world *world;
    int left;
    bool done;
};

static void on_chain(void *context, int status, const char *json, size_t length)
{
    struct chain *chain = context;
    (void)json;
    (void)length;
    assert_int_equal(status, 0);
    if (--chain->left == 0)
        chain->done = true;
    else
        mst_coordinator_call(chain->world->coordinator, "count", "space", "{}", 2, on_chain, chain);
}

static void a_callback_may_call_again(void **state)
{
    struct world *world = *state;
    struct chain chain = {world, 50, false};
    answers(world, "register", "{\"id\":\"a\"}", "created");
    mst_coordinator_call(world->coordinator, "count", "space", "{}", 2, on_chain, &chain);
    run_until(world, &chain.done);
}

static void a_drain_lets_calls_end_and_refuses_new_ones(void **state)
{
    struct world *world = *state;
    struct ear ear;
    struct reply running = {0}, sending = {0}, late = {0};
    fill(world);
    listen(world, &ear, "muster.>", NULL);
    start_call(world, "register", "{\"id\":\"z\"}", &running);
    start_call(world, "multicast", "{\"filter\":\"load > 5\",\"payload\":1,\"timeout\":60}", &sending);
    uint64_t before = mst_clock_monotonic();
    mst_coordinator_drain(world->coordinator, 50 * MST_NS_PER_MS, on_drained, world);
    assert_false(world->drained);
    start_call(world, "count", "{}", &late);
    run_until(world, &world->drained);
    uint64_t took = mst_clock_monotonic() - before;
    assert_true(took >= 50 * MST_NS_PER_MS && took < 5 * MST_NS_PER_SECOND);
    expect_ok(&running, "\"id\":\"z\"");
    expect_ok(&sending, "\"targets\":2");
    expect_in(&sending, "\"states\":{\"unreachable\":2}");
    expect_error(&late, MST_ECLOSED, "shutting down");
    assert_int_equal(ear.heard, 2);
    world->messaging->ops->unlisten(world->messaging, &ear.listener);
    free(running.json);
    free(sending.json);
    free(late.json);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(an_unknown_namespace_is_empty),
        TEST(a_drop_deletes_the_namespace),
        TEST_SMALL(too_many_namespaces_are_refused),
        TEST_SMALL(unknown_verbs_and_names_are_refused),
        TEST_SMALL(too_many_calls_are_refused),
        TEST(a_callback_may_call_again),
        TEST(a_drain_lets_calls_end_and_refuses_new_ones),
    };
    return cmocka_run_group_tests_name("coordinator", tests, NULL, NULL);
}
