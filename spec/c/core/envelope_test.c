// SPDX-License-Identifier: Apache-2.0
#include "fanout_world.h"

static void targets_are_grouped_by_gateway(void **state)
{
    struct world *world = *state;
    char expected[128];
    add_six(world);
    start(world, MST_ACK_RECEIVED, 0);
    const struct mst_cast *cast = world->fake.casts[0];
    assert_int_equal(world->fake.count, 1);
    assert_int_equal(cast->count, 4);
    assert_true(cast->want_replies);
    assert_true(span_is(subject_of(cast, 0), "mc.ns.via.gw=201"));
    assert_true(span_is(subject_of(cast, 1), "mc.ns.via.g2"));
    assert_true(span_is(subject_of(cast, 2), "mc.ns.to.direct"));
    assert_true(span_is(subject_of(cast, 3), "mc.ns.to.own=2Eid"));
    snprintf(expected, sizeof expected, "{\"m\":\"%s\",\"rev\":7,\"to\":[\"a\",\"b\",\"c\"]}\npayload",
             mst_multicast_id(world->multicast));
    assert_true(span_is(body_of(cast, 0), expected));
    assert_true(span_is(body_of(cast, 2), "payload"));
    assert_int_equal(strlen(mst_multicast_id(world->multicast)), 18);
    assert_memory_equal(mst_multicast_id(world->multicast), "m-", 2);
    assert_int_equal(strspn(mst_multicast_id(world->multicast) + 2, "0123456789abcdefghijklmnopqrstuvwxyz"), 16);
    assert_int_equal(mst_multicast_digest(world->multicast), mst_fanout_digest(world->view, &world->targets));
    static const char *const order[] = {"a", "direct", "b", "g", "c", "own.id"};
    for (uint32_t i = 0; i < 6; i++) {
        struct mst_receipt receipt;
        mst_multicast_receipt(world->multicast, i, &receipt);
        assert_true(span_is(receipt.id, order[i]));
    }
    assert_int_equal(count(world, MST_RECEIPT_QUEUED), 6);
    mst_multicast_cancel(world->multicast);
    run(world);
}

static void the_view_may_change_after_the_start(void **state)
{
    struct world *world = *state;
    add_six(world);
    start(world, MST_ACK_NONE, 0);
    uint64_t digest = mst_multicast_digest(world->multicast);
    assert_int_equal(mst_view_remove(world->view, "a", 1, ++world->revision), 0);
    add(world, "stranger", "g2");
    assert_int_equal(mst_multicast_targets(world->multicast), 6);
    expect(world, "a", MST_RECEIPT_QUEUED, "");
    assert_int_equal(mst_multicast_digest(world->multicast), digest);
    mst_multicast_cancel(world->multicast);
    run(world);
    mst_multicast_destroy(world->multicast);
    fake_let_go(&world->fake);
    /* The old set now holds the row of the stranger, and would hold a dead row had it not come. */
    assert_int_equal(mst_view_remove(world->view, "stranger", 8, ++world->revision), 0);
    assert_int_equal(try_start(world, MST_ACK_NONE, 60 * SECOND, 0, ""), 0);
    assert_int_equal(mst_multicast_targets(world->multicast), 5);
    mst_multicast_cancel(world->multicast);
    run(world);
}

/* Checks every envelope of the first cast against the limits; each of `most` ids ("x" and its number) comes once. */
static void check_envelopes(struct world *world, uint32_t most, size_t id_bytes)
{
    const struct mst_cast *cast = world->fake.casts[0];
    struct mst_buffer out = {0};
    uint8_t *seen = calloc(most, 1);
    for (uint32_t i = 0; i < cast->count; i++) {
        struct mst_span body = body_of(cast, i);
        assert_true(body.length <= world->fake.max_payload);
        const uint8_t *to = open_envelope(world->parser, body, "payload", &out);
        const uint8_t *position = NULL, *element;
        size_t bytes = 0, length;
        assert_in_range(mst_value_count(to), 1, 1000);
        while (mst_value_next(to, &position, &element)) {
            const char *id = mst_value_string(element, &length);
            uint32_t number = (uint32_t)strtoul(id + 1, NULL, 10);
            assert_true(number < most && !seen[number]);
            seen[number] = 1;
            bytes += length;
        }
        assert_true(bytes <= id_bytes);
    }
    for (uint32_t i = 0; i < most; i++)
        assert_true(seen[i]);
    free(seen);
    mst_buffer_deinit(&out);
    mst_multicast_cancel(world->multicast);
    run(world);
}

static void add_padded(struct world *world, uint32_t how_many, size_t length)
{
    char id[256];
    for (uint32_t i = 0; i < how_many; i++) {
        memset(id, '"', sizeof id);
        int head = snprintf(id, sizeof id, "x%u,", i);
        id[head] = '"';
        add_bytes(world, id, length > (size_t)head ? length : (size_t)head, "gw");
    }
}

static void an_envelope_has_at_most_a_thousand_ids(void **state)
{
    struct world *world = *state;
    add_padded(world, 2500, 0);
    start(world, MST_ACK_NONE, 0);
    assert_int_equal(world->fake.casts[0]->count, 3);
    check_envelopes(world, 2500, 64 * 1024);
}

static void an_envelope_has_at_most_64_kib_of_ids(void **state)
{
    struct world *world = *state;
    add_padded(world, 1000, 255);
    start(world, MST_ACK_NONE, 0);
    assert_true(world->fake.casts[0]->count >= 4);
    check_envelopes(world, 1000, 64 * 1024);
}

static void an_envelope_never_passes_the_payload_limit(void **state)
{
    struct world *world = *state;
    world->fake.max_payload = 640;
    add_padded(world, 300, 255);
    start(world, MST_ACK_NONE, 0);
    assert_int_equal(world->fake.casts[0]->count, 300);
    check_envelopes(world, 300, 640);
}

static void an_envelope_is_filled_up_to_the_payload_limit(void **state)
{
    struct world *world = *state;
    world->fake.max_payload = 640;
    add_padded(world, 300, 0);
    start(world, MST_ACK_NONE, 0);
    assert_in_range(world->fake.casts[0]->count, 4, 8);
    check_envelopes(world, 300, 640);
}

static void what_messaging_does_not_carry_is_refused_as_a_whole(void **state)
{
    struct world *world = *state;
    world->fake.max_payload = 40;
    add(world, "id", "");
    target_all(world);
    assert_int_equal(try_start(world, MST_ACK_NONE, SECOND, 0, "12345678901234567890123456789012345678901"),
                     MST_ETOOBIG);
    add(world, "behind", "gw");
    target_all(world);
    assert_int_equal(try_start(world, MST_ACK_NONE, SECOND, 0, "123"), MST_ETOOBIG);
    assert_int_equal(world->fake.count, 0);
    assert_int_equal(mst_fanout_active(world->fanout), 0);
    assert_int_equal(world->timers.count, 0);
    assert_null(world->multicast);
}

static uint32_t shard_of(const struct mst_cast *cast, struct mst_span subject)
{
    uint32_t shard = 0, found = UINT32_MAX;
    assert_int_equal(cast->ends[cast->shards - 1], cast->count);
    for (uint32_t i = 0; i < cast->count; i++) {
        struct mst_span other = subject_of(cast, i);
        while (cast->ends[shard] <= i)
            shard++;
        if (other.length != subject.length || memcmp(other.data, subject.data, subject.length) != 0)
            continue;
        assert_true(found == UINT32_MAX || found == shard);
        found = shard;
    }
    return found;
}

/* Whatever the other targets are, and when it is sent again, too. */
static void a_subject_is_always_in_the_same_shard(void **state)
{
    struct world *world = *state;
    char id[16], gateway[16];
    world->fake.shards = 3;
    for (unsigned i = 0; i < 300; i++) {
        snprintf(id, sizeof id, "x%u", i);
        snprintf(gateway, sizeof gateway, "g%u", i % 12);
        add(world, id, i % 2 ? gateway : "");
    }
    start(world, MST_ACK_RECEIVED, 2);
    const struct mst_cast *first = world->fake.casts[0];
    assert_int_equal(first->shards, 3);
    for (uint32_t s = 0; s < 3; s++)
        assert_true(first->ends[s] > (s ? first->ends[s - 1] : 0));
    emit(world, 0, MST_CAST_LOST, 5, first->count - 5, "", MST_ENATS);
    run(world);
    const struct mst_cast *again = world->fake.casts[1];
    assert_int_equal(again->shards, 3);
    assert_int_equal(again->count, first->count - 10);
    for (uint32_t i = 0; i < again->count; i++) {
        struct mst_span subject = subject_of(again, i);
        assert_int_equal(shard_of(again, subject), shard_of(first, subject));
    }
    mst_multicast_cancel(world->multicast);
    run(world);
    mst_multicast_destroy(world->multicast);
    for (unsigned i = 0; i < 300; i += 3) {
        snprintf(id, sizeof id, "x%u", i);
        mst_view_remove(world->view, id, strlen(id), ++world->revision);
    }
    uint32_t before = world->fake.count;
    assert_int_equal(try_start(world, MST_ACK_NONE, 60 * SECOND, 0, ""), 0);
    const struct mst_cast *other = world->fake.casts[before];
    for (uint32_t i = 0; i < other->count; i++) {
        struct mst_span subject = subject_of(other, i);
        assert_int_equal(shard_of(other, subject), shard_of(first, subject));
    }
    mst_multicast_cancel(world->multicast);
    run(world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
        TEST(targets_are_grouped_by_gateway),
        TEST(the_view_may_change_after_the_start),
        TEST(an_envelope_has_at_most_a_thousand_ids),
        TEST(an_envelope_has_at_most_64_kib_of_ids),
        TEST(an_envelope_never_passes_the_payload_limit),
        TEST(an_envelope_is_filled_up_to_the_payload_limit),
        TEST(what_messaging_does_not_carry_is_refused_as_a_whole),
        TEST(a_subject_is_always_in_the_same_shard),
#undef TEST
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
