// SPDX-License-Identifier: Apache-2.0
#include "coordinator_world.h"

static void explain_names_the_clauses(void **state)
{
    struct world *world = *state;
    fill(world);
    struct reply *reply = call(world, "explain", "{\"filter\":\"load > 5\"}");
    expect_ok(reply, "{\"matches\":null,\"total\":2,\"identities\":3,\"only_missing\":0,");
    expect_in(reply, "\"revision\":3,\"warnings\":[\"5 is a lot\"]}");
    answers(world, "explain", "{\"filter\":\"load > 5\",\"id\":\"a\"}",
            "{\"matches\":true,\"total\":2,\"identities\":3,"
            "\"clauses\":[{\"text\":\"load > 5\",\"holds\":true,\"negated\":false,\"value\":9}],");
    reply = call(world, "explain", "{\"filter\":\"not status == \\\"online\\\"\",\"id\":\"a\"}");
    expect_ok(reply, "{\"matches\":false,");
    expect_in(reply, "\"holds\":true,\"negated\":true,\"value\":\"online\"}");
    answers(world, "register", "{\"id\":\"d\"}", "created");
    answers(world, "explain", "{\"filter\":\"load > 5\",\"id\":\"d\"}", "\"holds\":false,\"negated\":false}],");
    refuses(world, "explain", "{\"filter\":\"load > 5\",\"id\":\"nobody\"}", MST_ENOTFOUND,
            "identity not found: nobody");
    answers(world, "explain", "{\"id\":\"a\"}", "{\"matches\":true,\"total\":4,\"identities\":4,\"clauses\":[]");
    refuses(world, "explain", "{\"analyze\":1}", MST_EINVAL, "expected a boolean");
}

static void explain_tells_the_plan(void **state)
{
    struct world *world = *state;
    fill(world);
    answers(world, "register", "{\"id\":\"d\"}", "created");
    struct reply *reply = call(world, "explain", "{\"filter\":\"load > 5\"}");
    expect_ok(reply, "\"plan\":[{\"clause\":\"load > 5\",\"negated\":false,\"path\":\"load\",\"encoding\":\"dict8\",");
    expect_in(reply, "\"values\":3,\"missing\":1,\"only_missing\":0}]");
    assert_null(strstr(reply->json, "\"ns\":"));
    reply = call(world, "explain", "{\"filter\":\"load > 5\",\"analyze\":true}");
    expect_ok(reply, "\"rows_in\":4,\"rows_out\":2,\"rows_verified\":");
    expect_in(reply, "\"ns\":");
    expect_in(reply, "\"instructions\":\"");
    answers(world, "explain", "{}", "\"plan\":[]");
}

static void matches_by_a_missing_field_are_counted(void **state)
{
    struct world *world = *state;
    const char *filter = "{\"filter\":\"not status == \\\"online\\\"\"}";
    fill(world);
    answers(world, "explain", filter, "\"total\":1,\"identities\":3,\"only_missing\":0,");
    answers(world, "register", "[{\"id\":\"d\"},{\"id\":\"e\",\"metadata\":{\"status\":null}},{\"id\":\"f\"}]",
            "created");
    answers(world, "explain", filter, "\"total\":4,\"identities\":6,\"only_missing\":2,");
    expect_in(call(world, "explain", filter), "\"missing\":2,\"only_missing\":2}]");
    answers(world, "explain", "{\"filter\":\"status == \\\"online\\\"\"}", "\"only_missing\":0,");
}

/* Registers one identity with the metadata, and expects this of the warning about "load". */
static void expect_suggestion(struct world *world, const char *metadata, const char *warning)
{
    char body[300], part[200];
    answers(world, "drop", "{}", "removed");
    snprintf(body, sizeof body, "{\"id\":\"a\",\"metadata\":%s}", metadata);
    answers(world, "register", body, "created");
    snprintf(part, sizeof part, "\"warnings\":[%s]}", warning);
    answers(world, "explain", "{\"filter\":\"load > 1000\"}", part);
}

static void fields_that_nobody_has_are_told(void **state)
{
    struct world *world = *state;
    answers(world, "explain", "{\"filter\":\"load > 1000\"}", "\"warnings\":[]}"); /* nobody is there */
    expect_suggestion(world, "{\"laod\":1}", "\"no identity has `load`; did you mean `laod`?\"");
    expect_suggestion(world, "{\"metrics\":[{\"load\":1}]}",
                      "\"no identity has `load`; did you mean `metrics.load`?\"");
    expect_suggestion(world, "{\"a b\":{\"load\":1}}", "\"no identity has `load`; did you mean ``a b`.load`?\"");
    expect_suggestion(world, "{\"nothing\":{\"like\":1}}", "\"no identity has `load`\"");
    expect_suggestion(world, "{\"load\":null}", "");
    answers(world, "drop", "{}", "removed");
    answers(world, "register", "{\"id\":\"a\"}", "created");
    answers(world, "explain", "{\"filter\":\"load > 5\"}", "\"warnings\":[\"5 is a lot\",\"no identity has `load`\"]}");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(explain_names_the_clauses),
        TEST(explain_tells_the_plan),
        TEST(matches_by_a_missing_field_are_counted),
        TEST(fields_that_nobody_has_are_told),
    };
    return cmocka_run_group_tests_name("verb_explain", tests, NULL, NULL);
}
