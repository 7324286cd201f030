// SPDX-License-Identifier: Apache-2.0
#include <unistd.h>

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

/* The times of a row that was never updated are written from one text, those of others are not; and never is null. */
static void rows_tell_their_times(void **state)
{
    struct world *world = *state;
    long long registered, updated, expires;
    answers(world, "register", "{\"id\":\"a\",\"ttl\":60}", "created");
    struct reply *reply = call(world, "enumerate", "{}");
    const char *at = strstr(reply->json, "\"registered_at\"");
    assert_int_equal(
        sscanf(at, "\"registered_at\":%lld,\"updated_at\":%lld,\"expires_at\":%lld}", &registered, &updated, &expires),
        3);
    assert_int_equal(updated, registered);
    assert_int_equal(expires, registered + 60000);
    usleep(5000);
    answers(world, "register", "{\"id\":\"a\",\"metadata\":{\"n\":1},\"ttl\":\"never\"}", "\"created\":false");
    reply = call(world, "enumerate", "{}");
    at = strstr(reply->json, "\"registered_at\"");
    assert_int_equal(sscanf(at, "\"registered_at\":%lld,\"updated_at\":%lld,", &expires, &updated), 2);
    assert_int_equal(expires, registered);
    assert_true(updated >= registered + 5 && updated < registered + 60000);
    expect_in(reply, "\"expires_at\":null}],\"total\":1");
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
            refuses(world, "enumerate", body, MST_EINVAL, "not a cursor that a sorted list has given");
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
    expect_ok(reply, "\"total\":3,\"next_cursor\":");
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
    refuses(world, "enumerate", "{\"sort\":\"a,-si te\"}", MST_EINVAL,
            "key \\\"sort\\\": path \\\"-si te\\\": expected \\\".\\\" or \\\"[\\\"");
    refuses(world, "enumerate", "{\"sort\":[\"a\",\"-si te\"]}", MST_EINVAL,
            "\"at\":{\"offset\":3,\"line\":1,\"column\":4}");
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

/* Reads one page of ids into `seen` (as many times as they come) and its cursor into `cursor`; returns how many. */
static int read_page(struct world *world, const char *order, int limit, struct mst_buffer *cursor, unsigned *seen)
{
    struct mst_buffer body = {0};
    mst_buffer_appendf(&body, "{\"filter\":\"status == \\\"online\\\"\",\"sort\":%s,\"limit\":%d", order, limit);
    if (cursor->length)
        mst_buffer_appendf(&body, ",\"cursor\":\"%.*s\"", (int)cursor->length, cursor->data);
    mst_buffer_append(&body, "}", 2);
    struct reply *reply = call(world, "enumerate", body.data);
    expect_ok(reply, "\"identities\":[");
    int count = 0, id;
    for (const char *at = reply->json; (at = strstr(at, "{\"id\":\"n")); at++, count++) {
        assert_int_equal(sscanf(at + 8, "%d", &id), 1);
        seen[id]++;
    }
    const char *next = strstr(reply->json, "\"next_cursor\":\"");
    mst_buffer_clear(cursor);
    if (next)
        mst_buffer_append(cursor, next + 15, strcspn(next + 15, "\""));
    mst_buffer_deinit(&body);
    return count;
}

static void put_node_with(struct world *world, int id, int rank, const char *status)
{
    char body[160];
    /* Every seventh has no rank, and some ranks are equal numbers that are written in two ways. */
    snprintf(body, sizeof body, "{\"id\":\"n%d\",\"metadata\":{\"status\":\"%s\"", id, status);
    if (id % 7)
        snprintf(body + strlen(body), sizeof body - strlen(body), ",\"rank\":%d%s", rank, id % 3 ? "" : ".0");
    strcat(body, "}}");
    answers(world, "register", body, "\"id\"");
}

enum { NODES = 200 };

/* Those with id % 4 == 0 come and go, those with id % 4 == 1 change in what is not sorted by; the rest stays. */
static void churn(struct world *world, int page)
{
    char body[64];
    for (int id = page % 4; id < NODES; id += 4) {
        if (id % 4 == 0) {
            snprintf(body, sizeof body, "{\"id\":\"n%d\"}", id);
            if (page % 2)
                put_node_with(world, id, (id * 37 + page) % 11, "online");
            else
                answers(world, "unregister", body, "removed");
        } else if (id % 4 == 1) {
            snprintf(body, sizeof body, "{\"id\":\"n%d\"}", id);
            answers(world, "heartbeat", body, "\"renewed\":1");
        }
    }
}

static void sorted_pages_are_stable_under_churn(void **state)
{
    static const char *const orders[] = {"[\"rank\"]", "[\"-rank\"]", "[\"status\",\"-rank\"]", "[\"nothing\"]"};
    struct world *world = *state;
    for (size_t i = 0; i < sizeof orders / sizeof *orders; i++) {
        for (int id = 0; id < NODES; id++)
            put_node_with(world, id, id * 37 % 11, id % 5 ? "online" : "offline");
        unsigned seen[NODES] = {0};
        struct mst_buffer cursor = {0};
        int page = 0;
        do {
            assert_true(page < 100);
            assert_true(read_page(world, orders[i], 7, &cursor, seen) <= 7);
            churn(world, ++page);
        } while (cursor.length);
        for (int id = 0; id < NODES; id++) {
            if (id % 4 == 0)
                assert_true(seen[id] <= 1);
            else
                assert_int_equal(seen[id], id % 5 != 0);
        }
        assert_true(page > 15);
        mst_buffer_deinit(&cursor);
    }
}

static void sorted_cursors_are_checked(void **state)
{
    struct world *world = *state;
    struct mst_buffer cursor = {0}, body = {0};
    unsigned seen[NODES] = {0};
    for (int id = 0; id < 10; id++)
        put_node_with(world, id, id, "online");
    assert_int_equal(read_page(world, "[\"rank\"]", 3, &cursor, seen), 3);
    static const char *const others[] = {"\"sort\":[\"-rank\"]", "\"sort\":[\"status\"]",
                                         "\"sort\":[\"rank\",\"rank\"]"};
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        mst_buffer_clear(&body);
        mst_buffer_appendf(&body, "{\"filter\":\"status == \\\"online\\\"\",%s,\"cursor\":\"%.*s\"}", others[i],
                           (int)cursor.length, cursor.data);
        mst_buffer_append_byte(&body, '\0');
        refuses(world, "enumerate", body.data, MST_EINVAL, "belongs to another filter, parameters, order");
    }
    mst_buffer_clear(&body);
    mst_buffer_appendf(&body, "{\"filter\":\"status == \\\"online\\\"\",\"cursor\":\"%.*s\"}", (int)cursor.length,
                       cursor.data);
    mst_buffer_append_byte(&body, '\0');
    refuses(world, "enumerate", body.data, MST_EINVAL, "not a cursor");
    /* Every byte of it changed, and every length cut: refused, or a cursor of its own, but never a crash. */
    for (size_t i = 0; i < cursor.length; i++) {
        mst_buffer_clear(&body);
        mst_buffer_appendf(&body, "{\"filter\":\"status == \\\"online\\\"\",\"sort\":[\"rank\"],\"cursor\":\"%.*s\"}",
                           (int)i, cursor.data);
        mst_buffer_append_byte(&body, '\0');
        refuses(world, "enumerate", body.data, MST_EINVAL, "key \\\"cursor\\\": ");
        mst_buffer_clear(&body);
        mst_buffer_appendf(
            &body, "{\"filter\":\"status == \\\"online\\\"\",\"sort\":[\"rank\"],\"cursor\":\"%.*s%c%.*s\"}", (int)i,
            cursor.data, cursor.data[i] == 'A' ? 'B' : 'A', (int)(cursor.length - i - 1), cursor.data + i + 1);
        mst_buffer_append_byte(&body, '\0');
        struct reply *reply = call(world, "enumerate", body.data);
        assert_true(reply->status == 0 || reply->status == MST_EINVAL);
    }
    mst_buffer_deinit(&cursor);
    mst_buffer_deinit(&body);
}

static void ids_are_an_order(void **state)
{
    struct world *world = *state;
    struct mst_buffer cursor = {0};
    unsigned seen[NODES] = {0};
    int pages = 0;
    fill(world);
    for (int id = 0; id < 50; id++)
        put_node_with(world, id * 37 % 50, 1, "online");
    answers(world, "enumerate", "{\"sort\":\"@id\",\"limit\":2,\"include_metadata\":false}", "[{\"id\":\"a\",");
    answers(world, "enumerate", "{\"sort\":[\"-load\",\"@id\"],\"limit\":1}", "[{\"id\":\"a\",");
    do {
        read_page(world, "[\"@id\"]", 7, &cursor, seen);
        pages++;
    } while (cursor.length);
    for (int id = 0; id < 50; id++)
        assert_int_equal(seen[id], 1);
    assert_int_equal(pages, 8); /* 52 of 53 are online */
    refuses(world, "enumerate", "{\"sort\":[\"@id\",\"load\"]}", MST_EINVAL, "nothing can stand behind @id");
    refuses(world, "enumerate", "{\"sort\":[\"-@id\"]}", MST_EINVAL, "key \\\"sort\\\": ");
    mst_buffer_deinit(&cursor);
}

static void an_unsorted_cursor_ends_with_its_view(void **state)
{
    struct world *world = *state;
    char cursor[64] = "", body[120];
    fill(world);
    struct reply *reply = call(world, "enumerate", "{\"limit\":1}");
    sscanf(strstr(reply->json, "\"next_cursor\""), "\"next_cursor\":\"%60[^\"]", cursor);
    snprintf(body, sizeof body, "{\"limit\":1,\"cursor\":\"%s\"}", cursor);
    answers(world, "enumerate", body, "[{\"id\":\"b\"");
    answers(world, "drop", "{}", "removed");
    answers(world, "register", "[{\"id\":\"a\"},{\"id\":\"b\"}]", "created");
    refuses(world, "enumerate", body, MST_EINVAL, "or to another instance");
    refuses(world, "enumerate", body, MST_EINVAL, "@id");
}

static void existence_needs_no_list(void **state)
{
    struct world *world = *state;
    answers(world, "enumerate", "{\"exists\":true}", "{\"exists\":false,\"revision\":0,\"warnings\":[]}");
    fill(world);
    answers(world, "enumerate", "{\"exists\":true}", "{\"exists\":true,\"revision\":3,\"warnings\":[]}");
    answers(world, "enumerate", "{\"exists\":true,\"filter\":\"load > 5\"}", "{\"exists\":true,");
    answers(world, "enumerate", "{\"exists\":true,\"filter\":\"load > 1000\"}", "{\"exists\":false,");
    answers(world, "enumerate", "{\"exists\":false}", "\"total\":3");
    refuses(world, "enumerate", "{\"exists\":1}", MST_EINVAL, "expected a boolean");
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
        TEST(enumerate_lists_what_matches),
        TEST(rows_tell_their_times),
        TEST(pages_follow_one_another),
        TEST(sorting_takes_several_keys),
        TEST(fields_are_projected),
        TEST(min_revision_must_have_been_reached),
        TEST(count_counts),
        TEST(sorted_pages_are_stable_under_churn),
        TEST(sorted_cursors_are_checked),
        TEST(existence_needs_no_list),
        TEST(ids_are_an_order),
        TEST(an_unsorted_cursor_ends_with_its_view),
    };
    return cmocka_run_group_tests_name("verb_enumerate", tests, NULL, NULL);
}
