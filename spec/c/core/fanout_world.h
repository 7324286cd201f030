// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * What the tests of the fan-out share: a world with a view, a fan-out, and a messaging slot that only collects casts
 * (or the memory messaging), timers that the test runs, one multicast at a time.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/clock.h"
#include "core/fanout.h"
#include "core/messaging_memory.h"
#include "model/value.h"

#define SECOND MST_NS_PER_SECOND
#define CASTS 4096u

/* A messaging slot that only collects casts: the tests say what becomes of them. */
struct fake {
    struct mst_messaging base;
    struct mst_cast *casts[CASTS]; /* NULL: let go */
    bool releasing[CASTS];
    uint32_t count;
    size_t max_payload;
    bool down;       /* not healthy */
    uint32_t shards; /* 0: 1 */
};

struct world {
    struct mst_timers timers;
    struct mst_json_parser *parser;
    struct fake fake;
    struct mst_messaging *memory; /* NULL: the fake is in use */
    struct mst_fanout *fanout;
    struct mst_view *view;
    struct mst_rowset targets;
    uint64_t revision;
    struct mst_multicast *multicast;
    uint32_t done;
    bool destroy_in_done, closed;
};

static inline struct mst_span span(const char *text)
{
    return (struct mst_span){text, strlen(text)};
}

static inline bool span_is(struct mst_span span, const char *text)
{
    return span.length == strlen(text) && memcmp(span.data, text, span.length) == 0;
}

static inline void fake_send(struct mst_messaging *messaging, struct mst_cast *cast)
{
    struct fake *fake = (struct fake *)messaging;
    assert_true(fake->count < CASTS);
    cast->slot_state[0] = fake->count;
    fake->casts[fake->count++] = cast;
}

static inline void fake_release(struct mst_messaging *messaging, struct mst_cast *cast)
{
    struct fake *fake = (struct fake *)messaging;
    assert_ptr_equal(fake->casts[cast->slot_state[0]], cast);
    assert_false(fake->releasing[cast->slot_state[0]]);
    fake->releasing[cast->slot_state[0]] = true;
}

static inline size_t fake_max_payload(struct mst_messaging *messaging)
{
    return ((struct fake *)messaging)->max_payload;
}

static inline uint32_t fake_shards(struct mst_messaging *messaging)
{
    const struct fake *fake = (struct fake *)messaging;
    return fake->shards ? fake->shards : 1;
}

static inline bool fake_healthy(struct mst_messaging *messaging, struct mst_error *why)
{
    (void)why;
    return !((struct fake *)messaging)->down;
}

static const struct mst_messaging_ops fake_ops = {
    .name = "fake",
    .send = fake_send,
    .release = fake_release,
    .max_payload = fake_max_payload,
    .healthy = fake_healthy,
    .shards = fake_shards,
};

/* Lets go of what was released. */
static inline void fake_let_go(struct fake *fake)
{
    for (uint32_t i = 0; i < fake->count; i++) {
        struct mst_cast *cast = fake->casts[i];
        if (!cast || !fake->releasing[i])
            continue;
        fake->casts[i] = NULL;
        cast->released(cast);
    }
}

static inline void emit(struct world *world, uint32_t cast, enum mst_cast_event_kind kind, uint32_t first, uint32_t end,
                        const char *data, int code)
{
    struct mst_error error;
    struct mst_cast_event event = {.kind = kind, .first = first, .end = end, .data = span(data)};
    if (world->fake.releasing[cast])
        return;
    mst_error_set(&error, code, "%s", mst_error_text(code));
    event.error = code ? &error : NULL;
    world->fake.casts[cast]->event(world->fake.casts[cast], &event);
}

static inline void routed(struct world *world, uint32_t cast, uint32_t first, uint32_t end)
{
    emit(world, cast, MST_CAST_ROUTED, first, end, "", 0);
}

static inline void lost(struct world *world, uint32_t cast, uint32_t first, uint32_t end)
{
    emit(world, cast, MST_CAST_LOST, first, end, "", MST_ENATS);
}

static inline void reply(struct world *world, uint32_t cast, uint32_t message, const char *data)
{
    emit(world, cast, MST_CAST_REPLY, message, message + 1, data, 0);
}

/* A reply to a cast that is released already, which the contract of the slot rules out. */
static inline void late_reply(struct world *world, uint32_t cast, uint32_t message, const char *data)
{
    struct mst_cast_event event = {.kind = MST_CAST_REPLY, .first = message, .end = message + 1, .data = span(data)};
    assert_true(world->fake.releasing[cast]);
    world->fake.casts[cast]->event(world->fake.casts[cast], &event);
}

static inline int setup(void **state)
{
    struct world *world = calloc(1, sizeof *world);
    world->parser = mst_json_parser_create();
    world->view = mst_view_create("ns", world->parser);
    world->fake.base.ops = &fake_ops;
    world->fake.max_payload = 1024 * 1024;
    world->fanout = mst_fanout_create(&world->fake.base, &world->timers, NULL, world->parser, "mc");
    *state = world;
    return world->parser && world->view && world->fanout ? 0 : -1;
}

static inline int setup_memory(void **state)
{
    if (setup(state) < 0)
        return -1;
    struct world *world = *state;
    mst_fanout_destroy(world->fanout);
    world->memory = mst_messaging_memory_create(&world->timers, 0);
    world->fanout = mst_fanout_create(world->memory, &world->timers, NULL, world->parser, "mc");
    return 0;
}

static inline bool turn(struct world *world)
{
    return mst_timers_run(&world->timers, mst_clock_monotonic()) > 0;
}

static inline void run(struct world *world)
{
    while (turn(world))
        ;
}

static inline void on_closed(void *context)
{
    ((struct world *)context)->closed = true;
}

static inline int teardown(void **state)
{
    struct world *world = *state;
    if (world->multicast)
        mst_multicast_destroy(world->multicast);
    fake_let_go(&world->fake);
    if (world->memory && !world->closed) {
        world->memory->ops->close(world->memory, on_closed, world);
        run(world);
    }
    assert_int_equal(mst_fanout_active(world->fanout), 0);
    mst_fanout_destroy(world->fanout);
    assert_int_equal(world->timers.count, 0);
    mst_timers_deinit(&world->timers);
    mst_rowset_deinit(&world->targets);
    mst_view_destroy(world->view);
    mst_json_parser_destroy(world->parser);
    free(world);
    return 0;
}

static inline void add_bytes(struct world *world, const char *id, size_t length, const char *gateway)
{
    struct mst_identity identity = {
        .id = {id, length}, .metadata = span("{}"), .gateway = span(gateway), .revision = ++world->revision};
    assert_int_equal(mst_view_put(world->view, &identity, NULL, NULL), 0);
}

static inline void add(struct world *world, const char *id, const char *gateway)
{
    add_bytes(world, id, strlen(id), gateway);
}

static inline void target_all(struct world *world)
{
    assert_int_equal(mst_match(world->view, NULL, &world->targets, NULL), 0);
}

static inline void on_done(struct mst_multicast *multicast, void *owner)
{
    struct world *world = owner;
    assert_ptr_equal(multicast, world->multicast);
    world->done++;
    if (world->destroy_in_done) {
        mst_multicast_destroy(multicast);
        world->multicast = NULL;
    }
}

static inline int try_start(struct world *world, enum mst_ack ack, uint64_t timeout, uint32_t retries,
                            const char *payload)
{
    struct mst_multicast_request request = {
        .namespace_ = "ns",
        .view = world->view,
        .targets = &world->targets,
        .revision = 7,
        .payload = span(payload),
        .ack = ack,
        .timeout = timeout,
        .retries = retries,
        .done = on_done,
        .owner = world,
    };
    return mst_multicast_start(world->fanout, &request, &world->multicast, NULL);
}

static inline void start(struct world *world, enum mst_ack ack, uint32_t retries)
{
    target_all(world);
    assert_int_equal(try_start(world, ack, 60 * SECOND, retries, "payload"), 0);
}

/* Lets the deadline of a multicast that has 60 seconds pass: what was to be done before it, then itself. */
static inline void pass_deadline(struct world *world)
{
    for (uint64_t later = 61; later < 64; later++)
        mst_timers_run(&world->timers, mst_clock_monotonic() + later * SECOND);
}

/* Lets a short deadline pass by the clock. */
static inline void wait_done(struct world *world)
{
    uint64_t began = mst_clock_monotonic();
    while (!world->done && mst_clock_monotonic() - began < 10 * SECOND)
        turn(world);
    assert_int_equal(world->done, 1);
}

/* The counts add up, and each receipt is counted. */
static inline void check_counts(const struct world *world)
{
    uint32_t counted[MST_RECEIPT_STATES] = {0}, sum = 0;
    for (uint32_t i = 0; i < mst_multicast_targets(world->multicast); i++) {
        struct mst_receipt receipt;
        mst_multicast_receipt(world->multicast, i, &receipt);
        counted[receipt.state]++;
        assert_true(receipt.id.length > 0);
        assert_int_equal(receipt.code.length > 0,
                         receipt.state == MST_RECEIPT_FAILED || receipt.state == MST_RECEIPT_SKIPPED);
    }
    for (int state = 0; state < MST_RECEIPT_STATES; state++) {
        assert_int_equal(counted[state], mst_multicast_count(world->multicast, state));
        sum += mst_multicast_count(world->multicast, state);
    }
    assert_int_equal(sum, mst_multicast_targets(world->multicast));
}

static inline uint32_t count(const struct world *world, enum mst_receipt_state state)
{
    check_counts(world);
    return mst_multicast_count(world->multicast, state);
}

static inline struct mst_receipt receipt_of(const struct world *world, const char *id)
{
    struct mst_receipt receipt;
    for (uint32_t i = 0; i < mst_multicast_targets(world->multicast); i++) {
        mst_multicast_receipt(world->multicast, i, &receipt);
        if (span_is(receipt.id, id))
            return receipt;
    }
    fail_msg("no receipt for %s", id);
    return receipt;
}

static inline void expect(const struct world *world, const char *id, enum mst_receipt_state state, const char *code)
{
    struct mst_receipt receipt = receipt_of(world, id);
    assert_string_equal(mst_receipt_name(receipt.state), mst_receipt_name(state));
    assert_true(span_is(receipt.code, code));
}

static inline struct mst_span subject_of(const struct mst_cast *cast, uint32_t message)
{
    return (struct mst_span){cast->text.data + cast->messages[message].subject_offset,
                             cast->messages[message].subject_length};
}

static inline struct mst_span body_of(const struct mst_cast *cast, uint32_t message)
{
    if (!cast->messages[message].body_length)
        return cast->payload;
    return (struct mst_span){cast->text.data + cast->messages[message].body_offset,
                             cast->messages[message].body_length};
}

/* The ids of an envelope, with its payload checked; packed values in `out`. */
static inline const uint8_t *open_envelope(struct mst_json_parser *parser, struct mst_span body, const char *payload,
                                           struct mst_buffer *out)
{
    const struct mst_json_limits limits = {1024 * 1024, 2, 0};
    const char *newline = memchr(body.data, '\n', body.length);
    assert_non_null(newline);
    size_t head = (size_t)(newline - body.data);
    assert_true(span_is((struct mst_span){newline + 1, body.length - head - 1}, payload));
    mst_buffer_clear(out);
    assert_int_equal(mst_json_parse(parser, body.data, head, &limits, out, NULL), 0);
    const uint8_t *object = (const uint8_t *)out->data;
    assert_int_equal(mst_value_count(object), 3);
    assert_int_equal(mst_value_int(mst_value_get(object, "rev", 3)), 7);
    return mst_value_get(object, "to", 2);
}

/* Three behind "gw 1", one behind "g2", two on their own: messages 0 = a b c, 1 = g, 2 = direct, 3 = own.id. */
static inline void add_six(struct world *world)
{
    add(world, "a", "gw 1");
    add(world, "direct", "");
    add(world, "b", "gw 1");
    add(world, "g", "g2");
    add(world, "c", "gw 1");
    add(world, "own.id", "");
}
