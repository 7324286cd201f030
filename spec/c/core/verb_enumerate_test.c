// SPDX-License-Identifier: Apache-2.0
#include "coordinator_world.h"

static void enumerate_lists_what_matches(void **state)
{
    struct world *world = *state;
    fill(world);
    struct reply *reply = call(world, "enumerate", "{\"filter\":\"status == \\\"online\\\"\"}");
    expect_ok(reply, "{\"identities\":[{\"id\":\"a\",\"metadata\":{\"status\":\"online\",\"load\":9,\"region\":\"eu\"},"
                     "\"gateway\":null,\"revision\":1,\"registered_at\":");
    expect_in(reply, "},{\"id\":\"c\",");
    expect_in(reply, "}],\"total\":2,\"next_cursor\":null,\"revision\":3,\"warnings\":[]}");
    answers(world, "enumerate", "{\"filter\":{\"status\":\"online\"}}", "\"total\":2");
    answers(world, "enumerate", "{\"filter\":\"region == :r\",\"params\":{\"r\":\"us\"}}", "[{\"id\":\"c\"");
    answers(world, "enumerate", "{\"filter\":\"load > 5\"}", "\"warnings\":[\"5 is a lot\"]");
    answers(world, "enumerate", "", "\"total\":3");
    answers(world, "enumerate", "{\"filter\":null}", "\"total\":3");
    answers(world, "enumerate", "{\"filter\":\" \"}", "\"total\":3");
    answers(world, "enumerate", "{\"include_metadata\":false}", "{\"identities\":[{\"id\":\"a\",\"gateway\":null,");
    refuses(world, "enumerate", "{\"filter\":\"region == :r\"}", MST_EPARAM, "");
    refuses(world, "enumerate", "{\"filter\":\"status online\"}", MST_EFILTER, "\"line\":1,\"column\":3");
    refuses(world, "enumerate", "{\"filter\":[]}", MST_EINVAL, "expected a string or an object, got an array");
}

static void pages_follow_one_another(void **state)
{
    struct world *world = *state;
    for (int i = 0; i < 10; i++) {
        char body[100];
        snprintf(body, sizeof body, "{\"id\":\"n%d\",\"metadata\":{\"status\":\"%s\"}}", i, i % 3 ? "online" : "off");
        answers(world, "register", body, "created");
    }
    char cursor[64] = "", body[300], seen[64] = "";
    int pages = 0;
    do {
        snprintf(body, sizeof body, "{\"filter\":\"status == \\\"online\\\"\",\"limit\":4%s%s%s}",
                 cursor[0] ? ",\"cursor\":\"" : "", cursor, cursor[0] ? "\"" : "");
        struct reply *reply = call(world, "enumerate", body);
        expect_ok(reply, "\"total\":6");
        for (const char *at = reply->json; (at = strstr(at, "{\"id\":\"n")); at++)
            strncat(seen, at + 8, 1);
        cursor[0] = '\0';
        sscanf(strstr(reply->json, "\"next_cursor\""), "\"next_cursor\":\"%60[^\"]", cursor);
        if (++pages == 1) {
            assert_true(cursor[0]);
            snprintf(body, sizeof body, "{\"filter\":\"load > 5\",\"cursor\":\"%s\"}", cursor);
            refuses(world, "enumerate", body, MST_EINVAL, "belongs to another filter");
            snprintf(body, sizeof body,
                     "{\"filter\":\"status == \\\"online\\\"\",\"sort\":[\"load\"],\"cursor\":\"%s\"}", cursor);
            refuses(world, "enumerate", body, MST_EUNSUPPORTED, "cannot be continued");
        }
    } while (cursor[0]);
    assert_int_equal(pages, 2);
    assert_string_equal(seen, "124578");
    refuses(world, "enumerate", "{\"cursor\":\"x\"}", MST_EINVAL, "not a cursor");
    refuses(world, "enumerate", "{\"cursor\":\"\"}", MST_EINVAL, "not a cursor");
    refuses(world, "enumerate", "{\"limit\":0}", MST_ERANGE, "expected 1 to 10000, got 0");
    refuses(world, "enumerate", "{\"limit\":10001}", MST_ERANGE, "");
    answers(world, "enumerate", "{\"limit\":10}", "\"next_cursor\":null");
}

static void expect_order(struct world *world, const char *body, const char *order)
{
    struct reply *reply = call(world, "enumerate", body);
    char seen[16] = "";
    expect_ok(reply, "\"next_cursor\":null");
    for (const char *at = reply->json; (at = strstr(at, "{\"id\":\"")); at++)
        strncat(seen, at + 7, 1);
    assert_string_equal(seen, order);
}

static void sorting_takes_several_keys(void **state)
{
    struct world *world = *state;
    fill(world);
    expect_order(world, "{\"sort\":[\"load\"]}", "bca");
    expect_order(world, "{\"sort\":\"-load\"}", "acb");
    expect_order(world, "{\"sort\":[\"region\",\"-load\"]}", "abc");
    expect_order(world, "{\"sort\":\"-region, load\"}", "cba");
    expect_order(world, "{\"sort\":\"-`region`,load\",\"limit\":2}", "cb");
    expect_order(world, "{\"sort\":[]}", "abc");
    refuses(world, "enumerate", "{\"sort\":[7]}", MST_EINVAL, "key \\\"sort\\\": expected strings");
    refuses(world, "enumerate", "{\"sort\":\"a..b\"}", MST_EINVAL, "key \\\"sort\\\": ");
    refuses(world, "enumerate", "{\"sort\":\"a,b,c,d,e,f,g,h,i\"}", MST_ETOOBIG, "at most 8");
}

static void fields_are_projected(void **state)
{
    struct world *world = *state;
    answers(world, "register", "{\"id\":\"a\",\"metadata\":{\"p\":{\"q\":[1,2]},\"l\":[{\"n\":1},{\"n\":2}]}}",
            "created");
    answers(world, "enumerate", "{\"fields\":[\"p.q[1]\",\"l.n\",\"nothing\"]}",
            "\"metadata\":{\"p.q[1]\":2,\"l.n\":[1,2]},\"gateway\"");
    answers(world, "enumerate", "{\"fields\":[]}", "\"metadata\":{},\"gateway\"");
    refuses(world, "enumerate", "{\"fields\":[\"a.\"]}", MST_EINVAL, "key \\\"fields\\\": ");
    refuses(world, "enumerate", "{\"fields\":[1]}", MST_EINVAL, "expected strings");
    refuses(world, "enumerate", "{\"fields\":[\"p\"],\"include_metadata\":false}", MST_EINVAL, "exclude each other");
}

static void min_revision_must_have_been_reached(void **state)
{
    struct world *world = *state;
    fill(world);
    answers(world, "enumerate", "{\"min_revision\":3}", "\"total\":3");
    refuses(world, "enumerate", "{\"min_revision\":4}", MST_EREVISION, "is at revision 3 here, not yet at 4");
}

static void count_counts(void **state)
{
    struct world *world = *state;
    fill(world);
    answers(world, "count", "{}", "{\"count\":3,\"revision\":3,\"warnings\":[]}");
    answers(world, "count", "{\"filter\":\"not status == \\\"online\\\"\"}", "{\"count\":1,");
    refuses(world, "count", "{\"limit\":3}", MST_EINVAL, "unknown key");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(enumerate_lists_what_matches),        TEST(pages_follow_one_another),
        TEST(sorting_takes_several_keys),          TEST(fields_are_projected),
        TEST(min_revision_must_have_been_reached), TEST(count_counts),
    };
    return cmocka_run_group_tests_name("verb_enumerate", tests, NULL, NULL);
}
