// SPDX-License-Identifier: Apache-2.0
#include "coordinator_world.h"

static void explain_names_the_clauses(void **state)
{
    struct world *world = *state;
    fill(world);
    answers(world, "explain", "{\"filter\":\"load > 5\"}",
            "{\"matches\":null,\"total\":2,\"identities\":3,\"revision\":3,\"warnings\":[\"5 is a lot\"]}");
    answers(world, "explain", "{\"filter\":\"load > 5\",\"id\":\"a\"}",
            "{\"matches\":true,\"total\":2,\"identities\":3,"
            "\"clauses\":[{\"text\":\"load > 5\",\"holds\":true,\"negated\":false,\"value\":9}],\"revision\":3,");
    struct reply *reply = call(world, "explain", "{\"filter\":\"not status == \\\"online\\\"\",\"id\":\"a\"}");
    expect_ok(reply, "{\"matches\":false,");
    expect_in(reply, "\"holds\":true,\"negated\":true,\"value\":\"online\"}");
    answers(world, "register", "{\"id\":\"d\"}", "created");
    answers(world, "explain", "{\"filter\":\"load > 5\",\"id\":\"d\"}", "\"holds\":false,\"negated\":false}],");
    refuses(world, "explain", "{\"filter\":\"load > 5\",\"id\":\"nobody\"}", MST_ENOTFOUND,
            "identity not found: nobody");
    answers(world, "explain", "{\"id\":\"a\"}", "{\"matches\":true,\"total\":4,\"identities\":4,\"clauses\":[]");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(explain_names_the_clauses),
    };
    return cmocka_run_group_tests_name("verb_explain", tests, NULL, NULL);
}
