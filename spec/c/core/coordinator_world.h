// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * A coordinator on the memory slots for tests, with a compiler that knows a few filters by heart, and calls that are
 * waited for.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "base/clock.h"
#include "core/coordinator.h"
#include "core/messaging_memory.h"
#include "core/registry_memory.h"
#include "match/program.h"
#include "model/value.h"

struct world {
    struct mst_timers timers;
    struct mst_coordinator *coordinator;
    struct mst_registry *registry;
    struct mst_messaging *messaging;
    uint32_t compiled; /* how often the compiler ran */
    bool ready, drained, closed;
};

struct reply {
    unsigned count;
    int status;
    char *json;
};

/* A compiler that knows one clause: `path op value`, with a `not` before it if need be. */

static inline void put_u16(struct mst_buffer *out, unsigned number)
{
    mst_buffer_append_byte(out, (char)(number & 0xff));
    mst_buffer_append_byte(out, (char)(number >> 8));
}

static inline void put_text(struct mst_buffer *out, const char *text)
{
    put_u16(out, (unsigned)strlen(text));
    mst_buffer_append_string(out, text);
}

static inline void put_header(struct mst_buffer *out, bool parameter, unsigned leaves, unsigned nodes)
{
    mst_buffer_append(out, "MSTP\1\0", 6);
    put_u16(out, leaves);
    put_u16(out, leaves && !parameter);
    put_u16(out, leaves && parameter);
    put_u16(out, leaves * 2);
    put_u16(out, leaves);
    put_u16(out, nodes);
}

static inline void put_node(struct mst_buffer *out, unsigned kind, unsigned leaf, unsigned end)
{
    mst_buffer_append_byte(out, (char)kind);
    mst_buffer_append_byte(out, 0);
    put_u16(out, leaf);
    put_u16(out, end);
}

struct clause {
    const char *source, *path, *string, *parameter;
    int64_t number;
    enum mst_op op;
    bool negated;
};

static inline void put_clause(struct mst_buffer *out, const struct clause *clause)
{
    struct mst_buffer value = {0};
    put_header(out, clause->parameter != NULL, 1, clause->negated ? 2 : 1);
    mst_buffer_append(out, "\0\1\0", 3);
    put_text(out, clause->path);
    if (clause->parameter) {
        put_text(out, clause->parameter);
    } else {
        if (clause->string)
            mst_value_put_string(&value, clause->string, strlen(clause->string));
        else
            mst_value_put_int(&value, clause->number);
        mst_buffer_append_byte(out, 0);
        put_u16(out, (unsigned)value.length);
        put_u16(out, 0);
        mst_buffer_append(out, value.data, value.length);
        mst_buffer_deinit(&value);
    }
    mst_buffer_append(out, "\0\0\0\0\0", 5);
    mst_buffer_append(out, clause->parameter ? "\2\0\0\0\0" : "\1\0\0\0\0", 5);
    mst_buffer_append_byte(out, (char)clause->op);
    mst_buffer_append_byte(out, 0);
    put_u16(out, 0);
    put_u16(out, 1);
    put_u16(out, 0xffff);
    put_u16(out, 0);
    put_u16(out, 0);
    put_text(out, clause->source);
    if (clause->negated)
        put_node(out, 3, 0, 2);
    put_node(out, 0, 0, clause->negated ? 2 : 1);
}

static const struct clause clauses[] = {
    {.source = "status == \"online\"", .path = "status", .string = "online", .op = MST_OP_EQ},
    {.source = "not status == \"online\"", .path = "status", .string = "online", .op = MST_OP_EQ, .negated = true},
    {.source = "region == :r", .path = "region", .parameter = "r", .op = MST_OP_EQ},
    {.source = "load > 5", .path = "load", .number = 5, .op = MST_OP_GT},
    {.source = "load > 1000", .path = "load", .number = 1000, .op = MST_OP_GT},
    {.source = "{\"status\":\"online\"}", .path = "status", .string = "online", .op = MST_OP_EQ},
};

static inline bool is(struct mst_span span, const char *text)
{
    return span.length == strlen(text) && memcmp(span.data, text, span.length) == 0;
}

static inline int compile(void *context, struct mst_span source, bool json, struct mst_buffer *program,
                          struct mst_buffer *warnings, struct mst_error *error)
{
    struct world *world = context;
    world->compiled++;
    assert_int_equal(json, source.data[0] == '{');
    mst_buffer_append_string(warnings, is(source, "load > 5") ? "[\"5 is a lot\"]" : "[]");
    for (size_t i = 0; i < sizeof clauses / sizeof clauses[0]; i++) {
        if (is(source, clauses[i].source)) {
            put_clause(program, &clauses[i]);
            return 0;
        }
    }
    if (is(source, "-- all")) {
        put_header(program, false, 0, 0);
        return 0;
    }
    if (is(source, "true") || is(source, "false")) {
        put_header(program, false, 0, 1);
        put_node(program, source.data[0] == 't' ? 4 : 5, 0, 1);
        return 0;
    }
    mst_error_set(error, MST_EFILTER, "expected an operator");
    mst_error_at(error, source.data, source.length, 2);
    return MST_EFILTER;
}

static inline void on_ready(void *context, int status, const struct mst_error *error)
{
    assert_int_equal(status, 0);
    assert_null(error);
    ((struct world *)context)->ready = true;
}

static inline void on_drained(void *context)
{
    ((struct world *)context)->drained = true;
}

static inline void on_closed(void *context)
{
    ((struct world *)context)->closed = true;
}

/* Waits for the next deadline (a little at most) and runs the timers; fails after `end`, and where nothing is left. */
static inline void run_turn(struct world *world, uint64_t end)
{
    uint64_t now = mst_clock_monotonic(), next = mst_timers_next(&world->timers);
    assert_true(now < end);
    assert_true(next != UINT64_MAX);
    if (next > now) {
        struct timespec pause = {0, (long)(next - now > 5000000 ? 5000000 : next - now)};
        nanosleep(&pause, NULL);
    }
    mst_timers_run(&world->timers, mst_clock_monotonic());
}

static inline void run_until(struct world *world, const bool *done)
{
    uint64_t end = mst_clock_monotonic() + 10 * MST_NS_PER_SECOND;
    while (!*done)
        run_turn(world, end);
}

static inline struct world *open_world(struct mst_coordinator_options options)
{
    struct world *world = calloc(1, sizeof *world);
    options.timers = &world->timers;
    options.compiler = (struct mst_compiler){.context = world, .compile = compile};
    world->coordinator = mst_coordinator_create(&options);
    assert_non_null(world->coordinator);
    world->registry = mst_registry_memory_create(&world->timers, mst_coordinator_view, world->coordinator);
    world->messaging = mst_messaging_memory_create(&world->timers, 1000);
    mst_coordinator_set_slots(world->coordinator, world->registry, world->messaging);
    mst_coordinator_start(world->coordinator, on_ready, world);
    assert_false(world->ready);
    return world;
}

static inline int setup(void **state)
{
    *state = open_world((struct mst_coordinator_options){0});
    return 0;
}

static inline int setup_small(void **state)
{
    *state = open_world((struct mst_coordinator_options){
        .max_identities = 3, .max_in_flight = 4, .max_request_bytes = 2000, .max_namespaces = 2});
    return 0;
}

static inline int teardown(void **state)
{
    struct world *world = *state;
    if (!world->drained) {
        mst_coordinator_drain(world->coordinator, 0, on_drained, world);
        run_until(world, &world->drained);
    }
    world->closed = false;
    world->messaging->ops->close(world->messaging, on_closed, world);
    run_until(world, &world->closed);
    world->closed = false;
    world->registry->ops->close(world->registry, on_closed, world);
    run_until(world, &world->closed);
    mst_coordinator_destroy(world->coordinator);
    assert_int_equal(world->timers.count, 0);
    mst_timers_deinit(&world->timers);
    free(world);
    return 0;
}

/* Not strndup, which sanitizers want to see the end of the text of. */
static inline char *copy_text(const char *text, size_t length)
{
    char *copy = malloc(length + 1);
    assert_non_null(copy);
    memcpy(copy, text, length);
    copy[length] = '\0';
    return copy;
}

static inline void on_answer(void *context, int status, const char *json, size_t length)
{
    struct reply *reply = context;
    reply->count++;
    reply->status = status;
    free(reply->json);
    reply->json = copy_text(json, length);
}

static inline void start_call(struct world *world, const char *verb, const char *body, struct reply *reply)
{
    unsigned before = reply->count;
    mst_coordinator_call(world->coordinator, verb, "space", body, strlen(body), on_answer, reply);
    assert_int_equal(reply->count, before);
}

static inline void wait_for(struct world *world, struct reply *reply)
{
    uint64_t end = mst_clock_monotonic() + 10 * MST_NS_PER_SECOND;
    while (reply->count == 0)
        run_turn(world, end);
    assert_int_equal(reply->count, 1);
}

/* One call, waited for; the reply is good until the next call of this function. */
static inline struct reply *call_in(struct world *world, const char *namespace_, const char *verb, const char *body)
{
    static struct reply reply;
    reply.count = 0;
    mst_coordinator_call(world->coordinator, verb, namespace_, body, strlen(body), on_answer, &reply);
    assert_int_equal(reply.count, 0);
    wait_for(world, &reply);
    return &reply;
}

static inline struct reply *call(struct world *world, const char *verb, const char *body)
{
    return call_in(world, "space", verb, body);
}

static inline void expect_in(const struct reply *reply, const char *part)
{
    const char *json = reply->json ? reply->json : "";
    if (!strstr(json, part))
        fail_msg("no %s in %s", part, json);
}

static inline void expect_ok(const struct reply *reply, const char *part)
{
    if (reply->status)
        fail_msg("%s", reply->json);
    expect_in(reply, part);
}

static inline void expect_error(const struct reply *reply, int code, const char *part)
{
    if (reply->status != code)
        fail_msg("not %s: %s", mst_error_name(code), reply->json);
    char name[64];
    snprintf(name, sizeof name, "{\"error\":{\"code\":\"%s\",", mst_error_name(code));
    expect_in(reply, name);
    expect_in(reply, part);
}

static inline void refuses(struct world *world, const char *verb, const char *body, int code, const char *part)
{
    expect_error(call(world, verb, body), code, part);
}

static inline void answers(struct world *world, const char *verb, const char *body, const char *part)
{
    expect_ok(call(world, verb, body), part);
}

static inline void fill(struct world *world)
{
    answers(world, "register",
            "[{\"id\":\"a\",\"metadata\":{\"status\":\"online\",\"load\":9,\"region\":\"eu\"}},"
            "{\"id\":\"b\",\"metadata\":{\"status\":\"offline\",\"load\":3,\"region\":\"eu\"}},"
            "{\"id\":\"c\",\"metadata\":{\"status\":\"online\",\"load\":7,\"region\":\"us\"},\"gateway\":\"g\"}]",
            "\"revision\":3,\"created\":true");
}

struct ear {
    struct mst_listener listener;
    struct world *world;
    const char *answer; /* NULL: none */
    char payload[200];
    unsigned heard;
};

static inline void on_delivery(struct mst_listener *listener, const struct mst_delivery *delivery)
{
    struct ear *ear = listener->owner;
    ear->heard++;
    snprintf(ear->payload, sizeof ear->payload, "%.*s", (int)delivery->payload.length,
             delivery->payload.length ? delivery->payload.data : "");
    if (ear->answer && delivery->reply.length)
        ear->world->messaging->ops->publish(ear->world->messaging, delivery->reply, (struct mst_span){"", 0}, NULL, 0,
                                            (struct mst_span){ear->answer, strlen(ear->answer)}, NULL);
}

static inline void listen(struct world *world, struct ear *ear, const char *subject, const char *answer)
{
    *ear = (struct ear){.listener = {.deliver = on_delivery, .owner = ear}, .world = world, .answer = answer};
    assert_int_equal(world->messaging->ops->listen(world->messaging, subject, NULL, &ear->listener, NULL), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
#define TEST_SMALL(name) cmocka_unit_test_setup_teardown(name, setup_small, teardown)
