// SPDX-License-Identifier: Apache-2.0
#include "fanout_world.h"

static void no_targets_are_done_from_the_loop(void **state)
{
    struct world *world = *state;
    start(world, MST_ACK_RECEIVED, 3);
    assert_int_equal(world->done, 0);
    assert_int_equal(mst_fanout_active(world->fanout), 1);
    run(world);
    assert_int_equal(world->done, 1);
    assert_int_equal(world->fake.count, 0);
    assert_int_equal(mst_multicast_targets(world->multicast), 0);
    assert_int_equal(mst_multicast_digest(world->multicast), 0);
    check_counts(world);
}

static void without_acknowledgement_the_route_is_the_end(void **state)
{
    struct world *world = *state;
    add_six(world);
    start(world, MST_ACK_NONE, 5);
    assert_false(world->fake.casts[0]->want_replies);
    routed(world, 0, 0, 1);
    assert_int_equal(count(world, MST_RECEIPT_PUBLISHED), 3);
    lost(world, 0, 1, 3);
    run(world);
    assert_int_equal(world->done, 0);
    emit(world, 0, MST_CAST_REFUSED, 3, 4, "", MST_ETOOBIG);
    assert_int_equal(world->done, 0);
    run(world);
    assert_int_equal(world->done, 1);
    assert_int_equal(world->fake.count, 1);
    expect(world, "a", MST_RECEIPT_PUBLISHED, "");
    expect(world, "g", MST_RECEIPT_UNREACHABLE, "");
    expect(world, "direct", MST_RECEIPT_UNREACHABLE, "");
    expect(world, "own.id", MST_RECEIPT_FAILED, "ETOOBIG too large");
    const struct mst_fanout_stats *stats = mst_fanout_stats(world->fanout);
    assert_int_equal(stats->multicasts, 1);
    assert_int_equal(stats->targets, 6);
    assert_int_equal(stats->states[MST_RECEIPT_PUBLISHED], 3);
    assert_int_equal(stats->states[MST_RECEIPT_UNREACHABLE], 2);
    assert_int_equal(stats->states[MST_RECEIPT_FAILED], 1);
    assert_true(mst_multicast_elapsed(world->multicast) > 0);
    assert_int_equal(mst_multicast_elapsed(world->multicast), mst_multicast_elapsed(world->multicast));
}

static void refusals_tell_why(void **state)
{
    struct world *world = *state;
    add_six(world);
    start(world, MST_ACK_RECEIVED, 5);
    emit(world, 0, MST_CAST_REFUSED, 0, 1, "", MST_EDEADLINE);
    emit(world, 0, MST_CAST_REFUSED, 1, 2, "", MST_ENATS);
    emit(world, 0, MST_CAST_REFUSED, 2, 3, "", MST_EPERMISSION);
    emit(world, 0, MST_CAST_REFUSED, 3, 4, "", MST_ECLOSED);
    run(world);
    assert_int_equal(world->done, 1);
    expect(world, "b", MST_RECEIPT_TIMEOUT, "");
    expect(world, "g", MST_RECEIPT_UNREACHABLE, "");
    expect(world, "direct", MST_RECEIPT_FAILED, "EPERMISSION not permitted");
    expect(world, "own.id", MST_RECEIPT_UNREACHABLE, "");
}

static void what_was_lost_is_sent_again(void **state)
{
    struct world *world = *state;
    add_six(world);
    start(world, MST_ACK_RECEIVED, 2);
    reply(world, 0, 1, "");
    lost(world, 0, 0, 2);
    lost(world, 0, 3, 4);
    routed(world, 0, 2, 3);
    assert_int_equal(count(world, MST_RECEIPT_UNKNOWN), 4);
    assert_int_equal(world->fake.count, 1);
    run(world);
    assert_int_equal(world->fake.count, 2);
    const struct mst_cast *first = world->fake.casts[0], *again = world->fake.casts[1];
    assert_int_equal(again->count, 2);
    assert_true(span_is(subject_of(again, 0), "mc.ns.via.gw=201"));
    assert_true(span_is(subject_of(again, 1), "mc.ns.to.own=2Eid"));
    assert_memory_equal(body_of(again, 0).data, body_of(first, 0).data, body_of(first, 0).length);
    assert_true(span_is(body_of(again, 1), "payload"));
    assert_true(again->want_replies);
    assert_int_equal(again->deadline, first->deadline);
    routed(world, 1, 0, 2);
    assert_int_equal(count(world, MST_RECEIPT_UNKNOWN), 0);
    reply(world, 1, 1, "-E own");
    expect(world, "own.id", MST_RECEIPT_FAILED, "E own");
    expect(world, "a", MST_RECEIPT_SENT, "");
    reply(world, 1, 0, "{\"b\":\"+\"}");
    expect(world, "a", MST_RECEIPT_RECEIVED, "");
    expect(world, "b", MST_RECEIPT_PROCESSED, "");
    reply(world, 0, 2, "");
    run(world);
    assert_int_equal(world->done, 1);
    assert_int_equal(world->fake.count, 2);
}

static void the_budget_of_retries_is_kept_per_message(void **state)
{
    struct world *world = *state;
    add_six(world);
    start(world, MST_ACK_RECEIVED, 2);
    lost(world, 0, 0, 1);
    run(world);
    lost(world, 0, 1, 4);
    lost(world, 0, 0, 4);
    run(world);
    assert_int_equal(world->fake.count, 3);
    assert_int_equal(world->fake.casts[1]->count, 1);
    assert_int_equal(world->fake.casts[2]->count, 3);
    lost(world, 1, 0, 1);
    run(world);
    assert_int_equal(world->fake.count, 4);
    expect(world, "a", MST_RECEIPT_UNKNOWN, "");
    lost(world, 3, 0, 1);
    run(world);
    assert_int_equal(world->fake.count, 4);
    expect(world, "a", MST_RECEIPT_UNREACHABLE, "");
    lost(world, 2, 1, 2);
    reply(world, 0, 2, "+");
    run(world);
    assert_int_equal(world->fake.count, 4);
    expect(world, "direct", MST_RECEIPT_PROCESSED, "");
    emit(world, 2, MST_CAST_REFUSED, 0, 1, "", MST_EDEADLINE);
    expect(world, "g", MST_RECEIPT_UNREACHABLE, "");
    assert_int_equal(world->done, 0);
    pass_deadline(world);
    assert_int_equal(world->done, 1);
    expect(world, "own.id", MST_RECEIPT_UNREACHABLE, "");
}

static void at_the_deadline_everything_is_final(void **state)
{
    struct world *world = *state;
    add_six(world);
    start(world, MST_ACK_RECEIVED, 1);
    routed(world, 0, 0, 1);
    lost(world, 0, 1, 2);
    run(world);
    reply(world, 0, 2, "");
    assert_int_equal(world->done, 0);
    pass_deadline(world);
    assert_int_equal(world->done, 1);
    expect(world, "a", MST_RECEIPT_TIMEOUT, "");
    expect(world, "g", MST_RECEIPT_UNREACHABLE, "");
    expect(world, "direct", MST_RECEIPT_RECEIVED, "");
    expect(world, "own.id", MST_RECEIPT_TIMEOUT, "");
    assert_true(world->fake.releasing[0] && world->fake.releasing[1]);
    check_counts(world);
}

static void a_short_timeout_passes_by_the_clock(void **state)
{
    struct world *world = *state;
    add_six(world);
    target_all(world);
    assert_int_equal(try_start(world, MST_ACK_RECEIVED, 2 * MST_NS_PER_MS, 1, ""), 0);
    wait_done(world);
    assert_int_equal(count(world, MST_RECEIPT_TIMEOUT), 6);
    assert_true(mst_multicast_elapsed(world->multicast) >= 2 * MST_NS_PER_MS);
}

static void a_cancelled_multicast_ends_soon(void **state)
{
    struct world *world = *state;
    add_six(world);
    start(world, MST_ACK_PROCESSED, 1);
    routed(world, 0, 0, 1);
    lost(world, 0, 1, 2);
    reply(world, 0, 2, "");
    mst_multicast_cancel(world->multicast);
    assert_int_equal(world->done, 0);
    late_reply(world, 0, 2, "");
    late_reply(world, 0, 0, "+");
    fake_let_go(&world->fake);
    run(world);
    assert_int_equal(world->done, 1);
    assert_int_equal(world->fake.count, 1);
    expect(world, "a", MST_RECEIPT_UNREACHABLE, "");
    expect(world, "g", MST_RECEIPT_UNREACHABLE, "");
    expect(world, "direct", MST_RECEIPT_RECEIVED, "");
    expect(world, "own.id", MST_RECEIPT_SKIPPED, "cancelled");
    mst_multicast_cancel(world->multicast);
    run(world);
    assert_int_equal(world->done, 1);
    check_counts(world);
}

static void progress_after_a_cancel_changes_no_count_of_what_is_waited_for(void **state)
{
    struct world *world = *state;
    add_six(world);
    start(world, MST_ACK_PROCESSED, 0);
    reply(world, 0, 2, "");
    mst_multicast_cancel(world->multicast);
    late_reply(world, 0, 2, "+");
    run(world);
    assert_int_equal(world->done, 1);
    expect(world, "direct", MST_RECEIPT_PROCESSED, "");
}

static void it_may_be_destroyed_from_its_own_end(void **state)
{
    struct world *world = *state;
    add_six(world);
    world->destroy_in_done = true;
    start(world, MST_ACK_NONE, 0);
    routed(world, 0, 0, 4);
    run(world);
    assert_int_equal(world->done, 1);
    assert_int_equal(mst_fanout_active(world->fanout), 1);
    fake_let_go(&world->fake);
    assert_int_equal(mst_fanout_active(world->fanout), 0);
    start(world, MST_ACK_NONE, 0);
    mst_multicast_cancel(world->multicast);
    fake_let_go(&world->fake);
    run(world);
    assert_int_equal(world->done, 2);
    assert_int_equal(mst_fanout_active(world->fanout), 0);
}

static void receipts_outlive_the_fan_out(void **state)
{
    struct world *world = *state;
    add_six(world);
    start(world, MST_ACK_RECEIVED, 0);
    reply(world, 0, 0, "-E x");
    routed(world, 0, 0, 4);
    pass_deadline(world);
    fake_let_go(&world->fake);
    assert_int_equal(mst_fanout_active(world->fanout), 0);
    mst_fanout_destroy(world->fanout);
    expect(world, "b", MST_RECEIPT_FAILED, "E x");
    assert_int_equal(count(world, MST_RECEIPT_TIMEOUT), 3);
    mst_multicast_destroy(world->multicast);
    world->multicast = NULL;
    world->fanout = mst_fanout_create(&world->fake.base, &world->timers, NULL, world->parser, "mc");
}

static void ignore_done(struct mst_multicast *multicast, void *owner)
{
    (void)owner;
    mst_multicast_destroy(multicast);
}

/* With nobody to talk to, the deadline is not the receivers' fault. */
static void without_a_connection_the_deadline_says_so(void **state)
{
    struct world *world = *state;
    struct mst_multicast_request request = {
        .namespace_ = "ns", .view = world->view, .targets = &world->targets, .timeout = 1000000, .done = ignore_done};
    struct mst_multicast *multicast = NULL;
    add(world, "id", "");
    target_all(world);
    world->fake.down = true;
    assert_int_equal(mst_multicast_start(world->fanout, &request, &multicast, NULL), 0);
    mst_timers_run(&world->timers, mst_clock_monotonic() + SECOND);
    mst_timers_run(&world->timers, mst_clock_monotonic() + 2 * SECOND);
    fake_let_go(&world->fake);
    assert_int_equal(mst_fanout_stats(world->fanout)->states[MST_RECEIPT_UNREACHABLE], 1);
    assert_int_equal(mst_fanout_stats(world->fanout)->states[MST_RECEIPT_TIMEOUT], 0);
}

static void too_many_targets_at_once_are_refused(void **state)
{
    enum { IDS = 5000, FULL = 400 }; /* two million targets */
    struct world *world = *state;
    struct mst_multicast_request request = {
        .namespace_ = "ns", .view = world->view, .targets = &world->targets, .timeout = SECOND, .done = ignore_done};
    struct mst_multicast *multicast = NULL;
    struct mst_error error;
    char id[16];
    for (int i = 0; i < IDS; i++) {
        snprintf(id, sizeof id, "id-%d", i);
        add(world, id, "");
    }
    target_all(world);
    for (int i = 0; i < FULL; i++)
        assert_int_equal(mst_multicast_start(world->fanout, &request, &multicast, NULL), 0);
    assert_int_equal(mst_multicast_start(world->fanout, &request, &multicast, &error), MST_EBUSY);
    assert_int_equal(mst_fanout_active(world->fanout), FULL);
    routed(world, 0, 0, IDS);
    run(world);
    fake_let_go(&world->fake);
    assert_int_equal(mst_multicast_start(world->fanout, &request, &multicast, NULL), 0);
    for (uint32_t i = 1; i <= FULL; i++)
        routed(world, i, 0, IDS);
    run(world);
    fake_let_go(&world->fake);
    assert_int_equal(mst_fanout_active(world->fanout), 0);
}

static void too_many_at_once_are_refused(void **state)
{
    struct world *world = *state;
    struct mst_multicast_request request = {
        .namespace_ = "ns", .view = world->view, .targets = &world->targets, .timeout = SECOND, .done = ignore_done};
    struct mst_multicast *multicast = NULL;
    struct mst_error error;
    add(world, "id", "");
    target_all(world);
    for (int i = 0; i < 1024; i++)
        assert_int_equal(mst_multicast_start(world->fanout, &request, &multicast, NULL), 0);
    assert_int_equal(mst_multicast_start(world->fanout, &request, &multicast, &error), MST_EBUSY);
    assert_int_equal(error.code, MST_EBUSY);
    for (uint32_t i = 0; i < 1024; i++)
        routed(world, i, 0, 1);
    run(world);
    fake_let_go(&world->fake);
    assert_int_equal(mst_fanout_active(world->fanout), 0);
    assert_int_equal(mst_multicast_start(world->fanout, &request, &multicast, NULL), 0);
    mst_multicast_cancel(multicast);
    run(world);
}

static uint32_t random_below(uint64_t *seed, uint32_t limit)
{
    *seed ^= *seed << 13;
    *seed ^= *seed >> 7;
    *seed ^= *seed << 17;
    return (uint32_t)((*seed >> 16) % limit);
}

/* One random event, in any order and any number of times, far beyond what the contract allows. */
static void storm_event(struct world *world, uint64_t *seed)
{
    static const char *const replies[] = {"",
                                          "+",
                                          "-E a",
                                          "-EFOO b",
                                          "{}",
                                          "+{}",
                                          "{\"t1\":\"-E x\"}",
                                          "+{\"t2\":\"\",\"t4\":\"-E y\",\"no\":\"\"}",
                                          "garbage",
                                          "{\"t1\":3}"};
    static const int codes[] = {MST_EDEADLINE, MST_ENATS, MST_ETOOBIG, MST_ECLOSED, 0};
    uint32_t at = random_below(seed, world->fake.count);
    struct mst_cast *cast = world->fake.casts[at];
    if (!cast || world->fake.releasing[at])
        return;
    uint32_t first = random_below(seed, cast->count), end = first + 1 + random_below(seed, cast->count - first);
    uint32_t dice = random_below(seed, 100);
    if (dice < 30)
        routed(world, at, first, end);
    else if (dice < 55)
        lost(world, at, first, end);
    else if (dice < 60)
        emit(world, at, MST_CAST_NO_RECEIVER, first, first + 1, "", 0);
    else if (dice < 62)
        emit(world, at, MST_CAST_REFUSED, first, first + 1, "", codes[random_below(seed, 5)]);
    else
        reply(world, at, first, replies[random_below(seed, sizeof replies / sizeof *replies)]);
}

static void storm(struct world *world, uint64_t *seed)
{
    enum mst_ack ack = (enum mst_ack)random_below(seed, 3);
    world->fake.count = 0;
    memset(world->fake.releasing, 0, sizeof world->fake.releasing);
    world->done = 0;
    start(world, ack, random_below(seed, 4));
    uint32_t events = random_below(seed, 400);
    for (uint32_t i = 0; i < events; i++) {
        storm_event(world, seed);
        check_counts(world);
        if (random_below(seed, 4) == 0)
            turn(world);
        if (random_below(seed, 300) == 0)
            mst_multicast_cancel(world->multicast);
        if (random_below(seed, 8) == 0)
            fake_let_go(&world->fake);
        check_counts(world);
    }
    pass_deadline(world);
    run(world);
    assert_int_equal(world->done, 1);
    check_counts(world);
    assert_int_equal(mst_multicast_count(world->multicast, MST_RECEIPT_QUEUED), 0);
    assert_int_equal(mst_multicast_count(world->multicast, MST_RECEIPT_SENT), 0);
    assert_int_equal(mst_multicast_count(world->multicast, MST_RECEIPT_UNKNOWN), 0);
    for (uint32_t i = 0; i < world->fake.count; i++)
        assert_true(!world->fake.casts[i] || world->fake.releasing[i]);
    mst_multicast_destroy(world->multicast);
    world->multicast = NULL;
    fake_let_go(&world->fake);
    assert_int_equal(mst_fanout_active(world->fanout), 0);
    assert_int_equal(world->timers.count, 0);
}

static void in_a_storm_of_events_the_counts_add_up(void **state)
{
    struct world *world = *state;
    uint64_t seed = UINT64_C(0x9E3779B97F4A7C15);
    char id[16], gateway[16];
    for (int i = 0; i < 24; i++) {
        snprintf(id, sizeof id, "t%d", i);
        snprintf(gateway, sizeof gateway, i % 4 ? "g%d" : "", i % 4);
        add(world, id, gateway);
    }
    for (int i = 0; i < 400; i++)
        storm(world, &seed);
    const struct mst_fanout_stats *stats = mst_fanout_stats(world->fanout);
    uint64_t sum = 0;
    for (int i = 0; i < MST_RECEIPT_STATES; i++)
        sum += stats->states[i];
    assert_int_equal(sum, stats->targets);
    assert_int_equal(stats->multicasts, 400);
    assert_true(stats->duplicate_acks && stats->foreign_acks && stats->garbage_acks);
    /* The storm must reach every end it can, or it proves little. */
    static const enum mst_receipt_state ends[] = {MST_RECEIPT_PUBLISHED, MST_RECEIPT_RECEIVED,    MST_RECEIPT_PROCESSED,
                                                  MST_RECEIPT_FAILED,    MST_RECEIPT_NO_RECEIVER, MST_RECEIPT_TIMEOUT,
                                                  MST_RECEIPT_SKIPPED,   MST_RECEIPT_UNREACHABLE};
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++)
        assert_true(stats->states[ends[i]] > 0);
}

/* A receiver behind the memory messaging: counts, and answers what it is told to. */
struct receiver {
    struct mst_listener listener;
    struct world *world;
    const char *answer; /* NULL: none */
    const char *payload;
    uint32_t heard;
    uint8_t *seen; /* ids "x" and number, in envelopes */
    uint32_t ids;
    struct mst_buffer scratch;
};

static void on_delivery(struct mst_listener *listener, const struct mst_delivery *delivery)
{
    struct receiver *receiver = listener->owner;
    struct mst_messaging *messaging = receiver->world->memory;
    receiver->heard++;
    if (receiver->seen) {
        const uint8_t *to =
            open_envelope(receiver->world->parser, delivery->payload, receiver->payload, &receiver->scratch);
        const uint8_t *position = NULL, *element;
        size_t length;
        while (mst_value_next(to, &position, &element)) {
            receiver->seen[strtoul(mst_value_string(element, &length) + 1, NULL, 10)]++;
            receiver->ids++;
        }
    } else {
        assert_true(span_is(delivery->payload, receiver->payload));
    }
    if (receiver->answer)
        assert_int_equal(
            messaging->ops->publish(messaging, delivery->reply, span(""), NULL, 0, span(receiver->answer), NULL), 0);
}

static void receiver_listen(struct world *world, struct receiver *receiver, const char *kind, struct mst_span name,
                            const char *answer)
{
    struct mst_buffer subject = {0};
    *receiver = (struct receiver){
        .listener = {.deliver = on_delivery, .owner = receiver},
        .world = world,
        .answer = answer,
        .payload = "payload",
    };
    mst_buffer_appendf(&subject, "mc.ns.%s.", kind);
    mst_subject_encode(&subject, name.data, name.length);
    mst_buffer_append_byte(&subject, '\0');
    assert_int_equal(world->memory->ops->listen(world->memory, subject.data, NULL, &receiver->listener, NULL), 0);
    mst_buffer_deinit(&subject);
}

static void strange_ids_reach_their_own_listener_and_no_other(void **state)
{
    static const struct mst_span ids[] = {
#define ID(text) {text, sizeof text - 1}
        ID("a b"),
        ID("a"),
        ID("b"),
        ID("a.b"),
        ID("*"),
        ID(">"),
        ID("a.*"),
        ID("a.>"),
        ID("\r\n"),
        ID("x 0\r\n\r\nPUB mc.ns.to.a 4\r\nEVIL\r\n"),
        ID("=20"),
        ID("a=2Eb"),
        ID("\xc3\xa4\xe2\x82\xac"),
        ID("\xc3\xa4"),
        ID("\xf0\x9f\x98\x80"),
        ID("."),
        ID(".."),
        ID(" "),
        ID("\t"),
        ID("_INBOX.memory.1.0"),
        ID("$SYS"),
        ID("\""),
        ID("\\"),
        ID("A"),
#undef ID
    };
    enum { IDS = sizeof ids / sizeof *ids };
    struct world *world = *state;
    struct receiver receivers[IDS];
    char long_id[255];
    memset(long_id, 0xc3, sizeof long_id);
    for (size_t i = 0; i < IDS; i++) {
        add_bytes(world, ids[i].data, ids[i].length, "");
        receiver_listen(world, &receivers[i], "to", ids[i], "+");
    }
    add_bytes(world, long_id, sizeof long_id, "");
    start(world, MST_ACK_PROCESSED, 0);
    run(world);
    assert_int_equal(world->done, 1);
    assert_int_equal(count(world, MST_RECEIPT_PROCESSED), IDS);
    assert_int_equal(count(world, MST_RECEIPT_NO_RECEIVER), 1);
    for (size_t i = 0; i < IDS; i++)
        assert_int_equal(receivers[i].heard, 1);
    /* One at a time: nobody else hears what is for one. */
    for (size_t i = 0; i < IDS; i++) {
        mst_multicast_destroy(world->multicast);
        world->done = 0;
        memset(world->targets.words, 0, world->targets.word_count * sizeof *world->targets.words);
        uint32_t row = mst_view_find(world->view, ids[i].data, ids[i].length);
        world->targets.words[row / 64] |= UINT64_C(1) << row % 64;
        world->targets.count = 1;
        assert_int_equal(try_start(world, MST_ACK_RECEIVED, SECOND, 0, "payload"), 0);
        run(world);
        assert_int_equal(world->done, 1);
        assert_int_equal(count(world, MST_RECEIPT_PROCESSED), 1);
        for (size_t j = 0; j < IDS; j++)
            assert_int_equal(receivers[j].heard, 1 + (j <= i));
    }
}

static void ten_thousand_behind_sixteen_gateways_take_sixteen_messages(void **state)
{
    enum { TARGETS = 10000, GATEWAYS = 16 };
    struct world *world = *state;
    struct receiver receivers[GATEWAYS];
    uint8_t *seen = calloc(TARGETS, 1);
    char id[32], gateway[32];
    for (int i = 0; i < TARGETS; i++) {
        snprintf(id, sizeof id, "x%d", i);
        snprintf(gateway, sizeof gateway, "gateway.%d", i % GATEWAYS);
        add(world, id, gateway);
    }
    for (int i = 0; i < GATEWAYS; i++) {
        snprintf(gateway, sizeof gateway, "gateway.%d", i);
        receiver_listen(world, &receivers[i], "via", span(gateway), i % 2 ? "" : "+{\"x0\":\"-E zero\",\"x1\":\"\"}");
        receivers[i].seen = seen;
    }
    start(world, MST_ACK_RECEIVED, 0);
    run(world);
    assert_int_equal(world->done, 1);
    for (int i = 0; i < GATEWAYS; i++) {
        assert_int_equal(receivers[i].heard, 1);
        assert_int_equal(receivers[i].ids, TARGETS / GATEWAYS);
        mst_buffer_deinit(&receivers[i].scratch);
    }
    for (int i = 0; i < TARGETS; i++)
        assert_int_equal(seen[i], 1);
    assert_int_equal(count(world, MST_RECEIPT_RECEIVED), TARGETS / 2);
    assert_int_equal(count(world, MST_RECEIPT_PROCESSED), TARGETS / 2 - 1);
    expect(world, "x0", MST_RECEIPT_FAILED, "E zero");
    assert_int_equal(mst_fanout_stats(world->fanout)->foreign_acks, 8 + 7);
    free(seen);
}

static void nobody_there_is_told_at_once(void **state)
{
    struct world *world = *state;
    struct receiver silent;
    add_six(world);
    receiver_listen(world, &silent, "to", span("direct"), NULL);
    target_all(world);
    assert_int_equal(try_start(world, MST_ACK_RECEIVED, SECOND / 5, 0, "payload"), 0);
    run(world);
    assert_int_equal(count(world, MST_RECEIPT_NO_RECEIVER), 5);
    expect(world, "direct", MST_RECEIPT_SENT, "");
    assert_int_equal(world->done, 0);
    wait_done(world);
    expect(world, "direct", MST_RECEIPT_TIMEOUT, "");
}

static void closing_messaging_ends_what_is_under_way(void **state)
{
    struct world *world = *state;
    struct receiver silent;
    add_six(world);
    receiver_listen(world, &silent, "to", span("direct"), NULL);
    start(world, MST_ACK_RECEIVED, 3);
    run(world);
    assert_int_equal(count(world, MST_RECEIPT_SENT), 1);
    world->memory->ops->close(world->memory, on_closed, world);
    run(world);
    assert_true(world->closed);
    assert_int_equal(world->done, 1);
    expect(world, "direct", MST_RECEIPT_UNREACHABLE, "");
    assert_int_equal(mst_fanout_active(world->fanout), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
#define TEST_MEMORY(name) cmocka_unit_test_setup_teardown(name, setup_memory, teardown)
        TEST(no_targets_are_done_from_the_loop),
        TEST(without_acknowledgement_the_route_is_the_end),
        TEST(refusals_tell_why),
        TEST(what_was_lost_is_sent_again),
        TEST(the_budget_of_retries_is_kept_per_message),
        TEST(at_the_deadline_everything_is_final),
        TEST(a_short_timeout_passes_by_the_clock),
        TEST(a_cancelled_multicast_ends_soon),
        TEST(progress_after_a_cancel_changes_no_count_of_what_is_waited_for),
        TEST(it_may_be_destroyed_from_its_own_end),
        TEST(receipts_outlive_the_fan_out),
        TEST(without_a_connection_the_deadline_says_so),
        TEST(too_many_targets_at_once_are_refused),
        TEST(too_many_at_once_are_refused),
        TEST(in_a_storm_of_events_the_counts_add_up),
        TEST_MEMORY(strange_ids_reach_their_own_listener_and_no_other),
        TEST_MEMORY(ten_thousand_behind_sixteen_gateways_take_sixteen_messages),
        TEST_MEMORY(nobody_there_is_told_at_once),
        TEST_MEMORY(closing_messaging_ends_what_is_under_way),
#undef TEST
#undef TEST_MEMORY
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
