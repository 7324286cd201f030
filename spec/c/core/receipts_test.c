// SPDX-License-Identifier: Apache-2.0
#include "fanout_world.h"

static void a_reply_has_three_plain_forms(void **state)
{
    static const struct {
        const char *reply;
        enum mst_receipt_state state;
        const char *code;
    } cases[] = {
        {"", MST_RECEIPT_RECEIVED, ""},
        {"+", MST_RECEIPT_PROCESSED, ""},
        {"-E", MST_RECEIPT_FAILED, "E"},
        {"-EBROKEN it is \xc3\xa4 broken", MST_RECEIPT_FAILED, "EBROKEN it is \xc3\xa4 broken"},
        {"-", MST_RECEIPT_SENT, ""},
        {"- text", MST_RECEIPT_SENT, ""},
        {"-E\"X", MST_RECEIPT_SENT, ""},
        {"-E bad \xff", MST_RECEIPT_SENT, ""},
        {"++", MST_RECEIPT_SENT, ""},
        {"ok", MST_RECEIPT_SENT, ""},
        {" ", MST_RECEIPT_SENT, ""},
        {"{}", MST_RECEIPT_SENT, ""}, /* for gateways only */
        {"+{}", MST_RECEIPT_SENT, ""},
    };
    struct world *world = *state;
    add(world, "id", "");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        uint64_t garbage = mst_fanout_stats(world->fanout)->garbage_acks;
        start(world, MST_ACK_RECEIVED, 0);
        routed(world, (uint32_t)i, 0, 1);
        expect(world, "id", MST_RECEIPT_SENT, "");
        reply(world, (uint32_t)i, 0, cases[i].reply);
        expect(world, "id", cases[i].state, cases[i].code);
        bool understood = cases[i].state != MST_RECEIPT_SENT;
        assert_int_equal(mst_fanout_stats(world->fanout)->garbage_acks, garbage + !understood);
        run(world);
        assert_int_equal(world->done, understood);
        world->done = 0;
        mst_multicast_cancel(world->multicast);
        run(world);
        world->done = 0;
        mst_multicast_destroy(world->multicast);
        world->multicast = NULL;
        fake_let_go(&world->fake);
    }
}

static void long_codes_are_cut_between_characters(void **state)
{
    struct world *world = *state;
    char text[600] = "-E ";
    for (int i = 3; i < 599; i += 2)
        memcpy(text + i, "\xc3\xa4", 2);
    add(world, "id", "");
    start(world, MST_ACK_RECEIVED, 0);
    reply(world, 0, 0, text);
    struct mst_receipt receipt = receipt_of(world, "id");
    assert_int_equal(receipt.code.length, 256);
    assert_memory_equal(receipt.code.data, text + 1, 256);
    run(world);
}

static void codes_are_kept_apart(void **state)
{
    static const char *const ids[] = {"a", "b", "c", "d", "e"};
    static const char *const replies[] = {"-EAB", "-EA", "-EA", "-EA x", "-EAB"};
    struct world *world = *state;
    for (int i = 0; i < 5; i++)
        add(world, ids[i], "");
    start(world, MST_ACK_RECEIVED, 0);
    for (uint32_t i = 0; i < 5; i++)
        reply(world, 0, i, replies[i]);
    for (int i = 0; i < 5; i++)
        expect(world, ids[i], MST_RECEIPT_FAILED, replies[i] + 1);
    run(world);
}

static void the_first_final_state_stays(void **state)
{
    struct world *world = *state;
    add(world, "one", "");
    add(world, "two", "");
    add(world, "three", "");
    start(world, MST_ACK_RECEIVED, 0);
    reply(world, 0, 0, "");
    reply(world, 0, 0, "+");
    reply(world, 0, 0, "-E");
    expect(world, "one", MST_RECEIPT_RECEIVED, "");
    assert_int_equal(mst_fanout_stats(world->fanout)->duplicate_acks, 2);
    emit(world, 0, MST_CAST_NO_RECEIVER, 1, 2, "", 0);
    reply(world, 0, 1, "+");
    expect(world, "two", MST_RECEIPT_NO_RECEIVER, "");
    assert_int_equal(mst_fanout_stats(world->fanout)->duplicate_acks, 2);
    routed(world, 0, 0, 3);
    expect(world, "three", MST_RECEIPT_SENT, "");
    reply(world, 0, 2, "-E first");
    reply(world, 0, 2, "+");
    expect(world, "three", MST_RECEIPT_FAILED, "E first");
    assert_int_equal(mst_fanout_stats(world->fanout)->duplicate_acks, 3);
    run(world);
    assert_int_equal(world->done, 1);
    late_reply(world, 0, 2, "+");
    assert_int_equal(mst_fanout_stats(world->fanout)->duplicate_acks, 3);
}

static void where_processed_is_asked_for_received_is_a_step(void **state)
{
    struct world *world = *state;
    add(world, "up", "");
    add(world, "down", "");
    add(world, "stays", "");
    start(world, MST_ACK_PROCESSED, 3);
    for (uint32_t i = 0; i < 3; i++)
        reply(world, 0, i, "");
    routed(world, 0, 0, 3);
    assert_int_equal(count(world, MST_RECEIPT_RECEIVED), 3);
    run(world);
    assert_int_equal(world->done, 0);
    reply(world, 0, 0, "+");
    reply(world, 0, 0, "-E no");
    reply(world, 0, 1, "-E no");
    reply(world, 0, 1, "+");
    reply(world, 0, 2, "");
    assert_int_equal(mst_fanout_stats(world->fanout)->duplicate_acks, 3);
    expect(world, "up", MST_RECEIPT_PROCESSED, "");
    expect(world, "down", MST_RECEIPT_FAILED, "E no");
    run(world);
    assert_int_equal(world->done, 0);
    pass_deadline(world);
    assert_int_equal(world->done, 1);
    expect(world, "stays", MST_RECEIPT_RECEIVED, "");
    check_counts(world);
}

static void a_gateway_names_only_those_that_differ(void **state)
{
    struct world *world = *state;
    add(world, "c", "gw");
    add(world, "a\"", "gw");
    add(world, "b", "gw");
    add(world, "d", "gw");
    add(world, "e", "other");
    start(world, MST_ACK_RECEIVED, 0);
    reply(world, 0, 0, "{\"b\":\"-EFULL try later\",\"a\\\"\":\"+\",\"e\":\"+\",\"\":\"+\",\"d\":17}");
    expect(world, "c", MST_RECEIPT_RECEIVED, "");
    expect(world, "a\"", MST_RECEIPT_PROCESSED, "");
    expect(world, "b", MST_RECEIPT_FAILED, "EFULL try later");
    expect(world, "d", MST_RECEIPT_QUEUED, "");
    expect(world, "e", MST_RECEIPT_QUEUED, "");
    const struct mst_fanout_stats *stats = mst_fanout_stats(world->fanout);
    assert_int_equal(stats->foreign_acks, 2);
    assert_int_equal(stats->garbage_acks, 1);
    assert_int_equal(stats->duplicate_acks, 0);
    reply(world, 0, 0, "+{\"c\":\"\"}");
    expect(world, "d", MST_RECEIPT_PROCESSED, "");
    assert_int_equal(stats->duplicate_acks, 3);
    static const char *const garbage[] = {
        "{", "[]", "{}x", "+{\"e\":\"+\",\"e\":\"\"}", "+[]", "x{}", "{\"e\":{\"x\":{}}}"};
    for (size_t i = 0; i < sizeof garbage / sizeof *garbage; i++)
        reply(world, 0, 1, garbage[i]);
    assert_int_equal(stats->garbage_acks, 1 + sizeof garbage / sizeof *garbage);
    expect(world, "e", MST_RECEIPT_QUEUED, "");
    reply(world, 0, 1, "{}");
    expect(world, "e", MST_RECEIPT_RECEIVED, "");
    run(world);
    assert_int_equal(world->done, 1);
}

static void a_gateway_fails_for_all_or_processes_for_all(void **state)
{
    struct world *world = *state;
    add_six(world);
    start(world, MST_ACK_PROCESSED, 0);
    reply(world, 0, 0, "-EDOWN restarting");
    reply(world, 0, 1, "+{}");
    assert_int_equal(count(world, MST_RECEIPT_FAILED), 3);
    expect(world, "c", MST_RECEIPT_FAILED, "EDOWN restarting");
    expect(world, "g", MST_RECEIPT_PROCESSED, "");
    mst_multicast_cancel(world->multicast);
    run(world);
}

static void states_have_names_and_classes(void **state)
{
    (void)state;
    assert_string_equal(mst_receipt_name(MST_RECEIPT_QUEUED), "queued");
    assert_string_equal(mst_receipt_name(MST_RECEIPT_NO_RECEIVER), "no_receiver");
    assert_string_equal(mst_receipt_name(MST_RECEIPT_UNREACHABLE), "unreachable");
    assert_null(mst_receipt_class(MST_RECEIPT_PUBLISHED));
    assert_null(mst_receipt_class(MST_RECEIPT_SKIPPED));
    assert_string_equal(mst_receipt_class(MST_RECEIPT_FAILED), "logic");
    assert_string_equal(mst_receipt_class(MST_RECEIPT_NO_RECEIVER), "logic");
    assert_string_equal(mst_receipt_class(MST_RECEIPT_TIMEOUT), "timeout");
    assert_string_equal(mst_receipt_class(MST_RECEIPT_UNREACHABLE), "connection");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
        TEST(a_reply_has_three_plain_forms),
        TEST(long_codes_are_cut_between_characters),
        TEST(codes_are_kept_apart),
        TEST(the_first_final_state_stays),
        TEST(where_processed_is_asked_for_received_is_a_step),
        TEST(a_gateway_names_only_those_that_differ),
        TEST(a_gateway_fails_for_all_or_processes_for_all),
        cmocka_unit_test(states_have_names_and_classes),
#undef TEST
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
