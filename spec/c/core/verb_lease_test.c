// SPDX-License-Identifier: Apache-2.0
#include "coordinator_world.h"

static void a_heartbeat_tells_who_is_unknown(void **state)
{
    struct world *world = *state;
    fill(world);
    answers(world, "heartbeat", "{\"ids\":[\"a\",\"x\",\"c\",\"y\\\"\"]}",
            "{\"renewed\":2,\"unknown\":[\"x\",\"y\\\"\"],\"revision\":5}");
    answers(world, "heartbeat", "{\"id\":\"b\",\"ttl\":\"never\"}", "{\"renewed\":1,\"unknown\":[],\"revision\":6}");
    answers(world, "get", "{\"id\":\"b\"}", "\"expires_at\":null}");
    answers(world, "heartbeat", "{\"ids\":[]}", "{\"renewed\":0,\"unknown\":[],\"revision\":6}");
    refuses(world, "heartbeat", "{}", MST_EINVAL, "expected either");
    refuses(world, "heartbeat", "{\"ids\":[\"a\"],\"id\":\"a\"}", MST_EINVAL, "expected either");
    refuses(world, "heartbeat", "{\"ids\":[7]}", MST_EINVAL, "element 1 is not a string");
    refuses(world, "heartbeat", "{\"ids\":[\"a\",\"\"]}", MST_EID, "");
    refuses(world, "heartbeat", "{\"id\":\"a\",\"ttl\":0}", MST_ERANGE, "never");
}

static void unregister_is_idempotent(void **state)
{
    struct world *world = *state;
    fill(world);
    answers(world, "unregister", "{\"id\":\"a\"}", "{\"removed\":true,\"revision\":4}");
    answers(world, "unregister", "{\"id\":\"a\"}", "{\"removed\":false,\"revision\":4}");
    refuses(world, "get", "{\"id\":\"a\"}", MST_ENOTFOUND, "identity not found: a");
    refuses(world, "unregister", "{}", MST_EINVAL, "key \\\"id\\\" is missing");
    answers(world, "register", "{\"id\":\"a\"}", "\"revision\":5,\"created\":true");
}

static void a_lease_ends_without_a_reader(void **state)
{
    struct world *world = *state;
    answers(world, "register", "[{\"id\":\"a\",\"ttl\":1},{\"id\":\"b\",\"ttl\":60}]", "\"id\":\"b\"");
    struct mst_view *view = mst_coordinator_view(world->coordinator, "space");
    uint64_t end = mst_clock_monotonic() + 1200 * MST_NS_PER_MS;
    while (mst_clock_monotonic() < end) {
        struct timespec pause = {0, 5000000};
        nanosleep(&pause, NULL);
        mst_timers_run(&world->timers, mst_clock_monotonic());
        if (mst_clock_monotonic() < end - 400 * MST_NS_PER_MS)
            assert_int_equal(mst_view_count(view), 2);
    }
    assert_int_equal(mst_view_count(view), 1);
    answers(world, "register", "{\"id\":\"a\",\"mode\":\"create\"}", "\"created\":true");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_heartbeat_tells_who_is_unknown),
        TEST(unregister_is_idempotent),
        TEST(a_lease_ends_without_a_reader),
    };
    return cmocka_run_group_tests_name("verb_lease", tests, NULL, NULL);
}
