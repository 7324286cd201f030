// SPDX-License-Identifier: Apache-2.0

/*
 * Fan-out: envelopes made of any ids and gateways name every target once, and whatever comes back on the wire
 * (acknowledgements, losses), the counts of the receipts add up.
 *
 * Input: a byte of options, a byte with the number of targets, for each a line with its id and one with its gateway, a
 * line of payload; then lines that are events: a byte for the kind, a byte for the message, what was replied.
 */
#include "base/clock.h"
#include "core/fanout.h"
#include "fuzz.h"
#include "model/identity.h"
#include "model/value.h"

enum { TARGETS = 31, CASTS = 256 };

/* A messaging slot that only collects casts. */
struct wire {
    struct mst_messaging base;
    struct mst_cast *casts[CASTS]; /* NULL: let go */
    bool released[CASTS];
    uint32_t count;
    size_t max_payload;
    uint32_t shards;
};

static void wire_send(struct mst_messaging *messaging, struct mst_cast *cast)
{
    struct wire *wire = (struct wire *)messaging;
    REQUIRE(wire->count < CASTS);
    cast->slot_state[0] = wire->count;
    wire->casts[wire->count++] = cast;
}

static void wire_release(struct mst_messaging *messaging, struct mst_cast *cast)
{
    struct wire *wire = (struct wire *)messaging;
    REQUIRE(wire->casts[cast->slot_state[0]] == cast && !wire->released[cast->slot_state[0]]);
    wire->released[cast->slot_state[0]] = true;
}

static size_t wire_max_payload(struct mst_messaging *messaging)
{
    return ((struct wire *)messaging)->max_payload;
}

static uint32_t wire_shards(struct mst_messaging *messaging)
{
    return ((struct wire *)messaging)->shards;
}

static bool wire_healthy(struct mst_messaging *messaging, struct mst_error *why)
{
    (void)messaging;
    (void)why;
    return true;
}

static const struct mst_messaging_ops wire_ops = {
    .name = "fuzz",
    .send = wire_send,
    .release = wire_release,
    .max_payload = wire_max_payload,
    .shards = wire_shards,
    .healthy = wire_healthy,
};

static struct mst_json_parser *parser;
static struct mst_log *quiet;

struct world {
    struct mst_timers timers;
    struct wire wire;
    struct mst_fanout *fanout;
    struct mst_view *view;
    struct mst_multicast *multicast;
    bool done;
};

static void on_done(struct mst_multicast *multicast, void *owner)
{
    (void)multicast;
    struct world *world = owner;
    REQUIRE(!world->done);
    world->done = true;
}

static void put_targets(struct world *world, struct input *input, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        struct mst_span id = take_line(input), gateway = take_line(input);
        if (mst_id_check(id.data, id.length, NULL) ||
            (gateway.length && mst_gateway_check(gateway.data, gateway.length, NULL)))
            continue;
        struct mst_identity identity = {.id = id, .metadata = {"{}", 2}, .gateway = gateway, .revision = i + 1};
        REQUIRE(mst_view_put(world->view, &identity, NULL, NULL) == 0);
    }
}

/* A subject is that of the target itself, or of its gateway and then followed by an envelope with its id. */
static uint32_t check_message(const struct world *world, const struct mst_cast *cast, uint32_t index,
                              struct mst_span payload)
{
    const struct mst_cast_message *message = &cast->messages[index];
    REQUIRE(message->subject_length > 9);
    const char *subject = cast->text.data + message->subject_offset;
    bool direct = memcmp(subject, "mc.ns.to.", 9) == 0;
    REQUIRE(direct == (message->body_length == 0));
    REQUIRE(direct || memcmp(subject, "mc.ns.via.", 10) == 0);
    if (direct) {
        struct mst_buffer id = {0};
        REQUIRE(mst_subject_decode(&id, subject + 9, message->subject_length - 9u) == 0);
        REQUIRE(mst_view_find(world->view, id.data, id.length) != MST_ROW_NONE);
        mst_buffer_deinit(&id);
        return 1;
    }
    REQUIRE(message->body_length <= world->wire.max_payload);
    struct mst_span body = {cast->text.data + message->body_offset, message->body_length};
    const char *newline = memchr(body.data, '\n', body.length);
    REQUIRE(newline && body.length - (size_t)(newline + 1 - body.data) == payload.length);
    REQUIRE(payload.length == 0 || memcmp(newline + 1, payload.data, payload.length) == 0);
    struct mst_buffer packed = {0};
    const struct mst_json_limits limits = {.bytes = 1u << 20, .depth = 2};
    REQUIRE(mst_json_parse(parser, body.data, (size_t)(newline - body.data), &limits, &packed, NULL) == 0);
    const uint8_t *to = mst_value_get((const uint8_t *)packed.data, "to", 2), *position = NULL, *element;
    REQUIRE(to);
    while (mst_value_next(to, &position, &element)) {
        size_t length;
        const char *id = mst_value_string(element, &length);
        REQUIRE(mst_view_find(world->view, id, length) != MST_ROW_NONE);
    }
    uint32_t count = mst_value_count(to);
    mst_buffer_deinit(&packed);
    return count;
}

static void check_counts(const struct world *world)
{
    uint32_t counted[MST_RECEIPT_STATES] = {0};
    uint32_t targets = mst_multicast_targets(world->multicast);
    for (uint32_t i = 0; i < targets; i++) {
        struct mst_receipt receipt;
        mst_multicast_receipt(world->multicast, i, &receipt);
        REQUIRE(receipt.state < MST_RECEIPT_STATES && receipt.id.length > 0);
        REQUIRE((receipt.code.length > 0) ==
                (receipt.state == MST_RECEIPT_FAILED || receipt.state == MST_RECEIPT_SKIPPED));
        counted[receipt.state]++;
    }
    for (int state = 0; state < MST_RECEIPT_STATES; state++)
        REQUIRE(counted[state] == mst_multicast_count(world->multicast, (enum mst_receipt_state)state));
}

static void let_go(struct wire *wire)
{
    for (uint32_t i = 0; i < wire->count; i++) {
        struct mst_cast *cast = wire->casts[i];
        if (!cast || !wire->released[i])
            continue;
        wire->casts[i] = NULL;
        cast->released(cast);
    }
}

/* One event for the cast that was sent last, if it is not over. */
static void emit(struct world *world, struct input *input)
{
    unsigned kind = take_byte(input) % 5, message = take_byte(input);
    struct mst_span line = take_line(input);
    uint32_t last = world->wire.count - 1;
    struct mst_cast *cast = world->wire.count ? world->wire.casts[last] : NULL;
    if (!cast || world->wire.released[last] || cast->count == 0)
        return;
    message %= cast->count;
    struct mst_error error = {0};
    mst_error_set(&error, MST_ENATS, "gone");
    char *data = tight_copy(line);
    struct mst_cast_event event = {.kind = (enum mst_cast_event_kind)kind,
                                   .first = message,
                                   .end = kind == MST_CAST_REPLY ? message + 1 : cast->count,
                                   .data = {data, line.length},
                                   .error = &error};
    if (kind == MST_CAST_NO_RECEIVER)
        event.end = event.first + 1;
    cast->event(cast, &event);
    free(data);
    mst_timers_run(&world->timers, mst_clock_monotonic() + 2 * MST_NS_PER_SECOND);
    let_go(&world->wire);
}

static void multicast(struct world *world, struct input *input, unsigned options)
{
    struct mst_rowset targets = {0};
    struct mst_span payload = take_line(input);
    REQUIRE(mst_match(world->view, NULL, &targets, NULL) == 0);
    struct mst_multicast_request request = {
        .namespace_ = "ns",
        .view = world->view,
        .targets = &targets,
        .revision = 7,
        .payload = payload,
        .ack = (enum mst_ack)(options % 3),
        .timeout = 3600 * MST_NS_PER_SECOND,
        .retries = options / 8 % 3,
        .done = on_done,
        .owner = world,
    };
    struct mst_error error = {0};
    int code = mst_multicast_start(world->fanout, &request, &world->multicast, &error);
    REQUIRE(code == 0 || code == MST_ETOOBIG);
    mst_rowset_deinit(&targets);
    if (code)
        return;
    uint32_t named = 0;
    for (uint32_t c = 0; c < world->wire.count; c++)
        for (uint32_t i = 0; i < world->wire.casts[c]->count; i++)
            named += check_message(world, world->wire.casts[c], i, payload);
    REQUIRE(named == mst_view_count(world->view) && named == mst_multicast_targets(world->multicast));
    while (input->size) {
        emit(world, input);
        check_counts(world);
    }
    mst_multicast_cancel(world->multicast);
    for (int i = 0; i < 4 && !world->done; i++)
        mst_timers_run(&world->timers, mst_clock_monotonic() + 7200 * MST_NS_PER_SECOND);
    REQUIRE(world->done);
    check_counts(world);
    mst_multicast_destroy(world->multicast);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input input = {data, size};
    unsigned options = take_byte(&input), count = take_byte(&input) % (TARGETS + 1);
    if (!parser) {
        parser = mst_json_parser_create();
        quiet = mst_log_create(MST_LOG_OFF, false);
    }
    REQUIRE(parser && quiet);
    struct world world = {.wire = {.base = {&wire_ops}, .max_payload = options & 0x40 ? 512 : 1u << 20}};
    world.wire.shards = options & 0x80 ? 3 : 1;
    world.view = mst_view_create("ns", parser);
    world.fanout = mst_fanout_create(&world.wire.base, &world.timers, quiet, parser, "mc");
    REQUIRE(world.view && world.fanout);
    put_targets(&world, &input, count);
    multicast(&world, &input, options);
    let_go(&world.wire);
    REQUIRE(mst_fanout_active(world.fanout) == 0);
    mst_fanout_destroy(world.fanout);
    mst_timers_deinit(&world.timers);
    mst_view_destroy(world.view);
    return 0;
}
