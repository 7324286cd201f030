// SPDX-License-Identifier: Apache-2.0
#pragma once

/* What the tests of the Redis registry share: a server, a loop, registries, and waiting for an answer. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <hiredis/hiredis.h>

#include "base/clock.h"
#include "base/map.h"
#include "io/redis_registry.h"
#include "support/servers.h"

#define PATIENCE (20 * MST_NS_PER_SECOND)
#define SPAN(text) ((struct mst_span){(text), strlen(text)})

struct fixture {
    struct test_server server;
    struct mst_loop loop;
    struct mst_registry *registry;
};

/* ---- waiting ---- */

struct patience {
    struct mst_timer timer;
    const bool *flag;
    uint64_t end;
    struct mst_loop *loop;
    bool stop;
};

static inline void look_at_flag(struct mst_timer *timer, void *owner)
{
    struct patience *patience = owner;
    uint64_t now = mst_clock_monotonic();
    patience->stop = *patience->flag || now > patience->end;
    if (!patience->stop)
        mst_timers_set(&patience->loop->timers, timer, now + MST_NS_PER_MS / 2);
}

/* Runs the loop until `*flag` is set; false if it is not within `ns`. */
static inline bool run_for(struct mst_loop *loop, const bool *flag, uint64_t ns)
{
    struct patience patience = {.flag = flag, .end = mst_clock_monotonic() + ns, .loop = loop};
    patience.timer.fire = look_at_flag;
    patience.timer.owner = &patience;
    mst_timers_set(&loop->timers, &patience.timer, 0);
    mst_loop_run(loop, &patience.stop);
    mst_timers_cancel(&loop->timers, &patience.timer);
    return *flag;
}

static inline void run_ms(struct mst_loop *loop, uint64_t ms)
{
    bool never = false;
    run_for(loop, &never, ms * MST_NS_PER_MS);
}

static inline uint64_t in_ms(uint64_t ms)
{
    return mst_clock_monotonic() + ms * MST_NS_PER_MS;
}

/* ---- open and close ---- */

struct opening {
    bool done;
    int status;
    struct mst_error error;
};

static inline void on_open(void *context, int status, const struct mst_error *error)
{
    struct opening *opening = context;
    opening->done = true;
    opening->status = status;
    if (error != NULL)
        opening->error = *error;
}

static inline struct mst_registry *open_with(struct mst_loop *loop, const struct mst_redis_options *options,
                                             struct opening *opening)
{
    *opening = (struct opening){0};
    struct mst_registry *registry = mst_redis_registry_open(loop, NULL, options, on_open, opening);
    assert_non_null(registry);
    assert_false(opening->done);
    assert_true(run_for(loop, &opening->done, PATIENCE));
    return registry;
}

static inline struct mst_registry *open_registry(struct fixture *fixture)
{
    struct opening opening;
    struct mst_redis_options options = {.host = "127.0.0.1", .port = fixture->server.port};
    struct mst_registry *registry = open_with(&fixture->loop, &options, &opening);
    if (opening.status != 0)
        fail_msg("%s", opening.error.message);
    return registry;
}

static inline void set_flag(void *context)
{
    *(bool *)context = true;
}

static inline void close_registry(struct mst_loop *loop, struct mst_registry *registry)
{
    bool closed = false;
    registry->ops->close(registry, set_flag, &closed);
    assert_false(closed);
    assert_true(run_for(loop, &closed, PATIENCE));
}

/* ---- operations, answered ---- */

static inline void on_put_done(struct mst_registry_put *put)
{
    *(bool *)put->owner_context = true;
}

static inline struct mst_registry_put put_of(const char *id, const char *metadata, int64_t lease_ms)
{
    return (struct mst_registry_put){.namespace_ = "fleet",
                                     .id = SPAN(id),
                                     .metadata = SPAN(metadata),
                                     .lease_ms = lease_ms,
                                     .deadline = in_ms(10000),
                                     .status = 77,
                                     .done = on_put_done};
}

static inline int do_put(struct fixture *fixture, struct mst_registry_put *put)
{
    bool done = false;
    put->owner_context = &done;
    fixture->registry->ops->put(fixture->registry, put);
    assert_false(done);
    assert_true(run_for(&fixture->loop, &done, PATIENCE));
    return put->status;
}

static inline void on_renew_done(struct mst_registry_renew *renew)
{
    *(bool *)renew->owner_context = true;
}

static inline int do_renew(struct fixture *fixture, struct mst_registry_renew *renew)
{
    bool done = false;
    renew->namespace_ = "fleet";
    renew->deadline = in_ms(10000);
    renew->done = on_renew_done;
    renew->owner_context = &done;
    fixture->registry->ops->renew(fixture->registry, renew);
    assert_false(done);
    assert_true(run_for(&fixture->loop, &done, PATIENCE));
    return renew->status;
}

static inline void on_remove_done(struct mst_registry_remove *remove)
{
    *(bool *)remove->owner_context = true;
}

static inline int do_remove(struct fixture *fixture, struct mst_registry_remove *remove, const char *id)
{
    bool done = false;
    *remove = (struct mst_registry_remove){.namespace_ = "fleet", .id = SPAN(id), .deadline = in_ms(10000)};
    remove->done = on_remove_done;
    remove->owner_context = &done;
    fixture->registry->ops->remove(fixture->registry, remove);
    assert_false(done);
    assert_true(run_for(&fixture->loop, &done, PATIENCE));
    return remove->status;
}

/* ---- a follower that keeps what it hears ---- */

struct held {
    char *metadata, *owner, *gateway;
    int64_t registered_at, updated_at, expires_at, lease_ms;
    uint64_t revision;
};

struct follower {
    struct mst_registry_follow follow;
    struct mst_map *held;
    unsigned puts, touches, removes, readies;
    bool ready;
    int status;
    uint64_t ready_revision, last_revision;
    char last_removed[256];
};

static inline char *text_of(struct mst_span span)
{
    char *text = malloc(span.length + 1);
    if (span.length > 0)
        memcpy(text, span.data, span.length);
    text[span.length] = '\0';
    return text;
}

static inline struct held *held_find(struct follower *follower, struct mst_span id)
{
    uint64_t found;
    return mst_map_get(follower->held, id.data, id.length, &found) ? (struct held *)(uintptr_t)found : NULL;
}

static inline struct held *holds(struct follower *follower, const char *id)
{
    return held_find(follower, SPAN(id));
}

static inline void held_free(struct held *held)
{
    if (held == NULL)
        return;
    free(held->metadata);
    free(held->owner);
    free(held->gateway);
    free(held);
}

static inline void on_follow_put(struct mst_registry_follow *follow, const struct mst_identity *identity)
{
    struct follower *follower = (struct follower *)follow;
    struct held *held = calloc(1, sizeof *held);
    follower->puts++;
    held_free(held_find(follower, identity->id));
    *held = (struct held){text_of(identity->metadata), text_of(identity->owner), text_of(identity->gateway),
                          identity->registered_at,     identity->updated_at,     identity->expires_at,
                          identity->lease_ms,          identity->revision};
    follower->last_revision = identity->revision;
    mst_map_set(follower->held, identity->id.data, identity->id.length, (uint64_t)(uintptr_t)held);
}

static inline void on_follow_touched(struct mst_registry_follow *follow, struct mst_span id, int64_t expires_at,
                                     int64_t lease_ms, uint64_t revision)
{
    struct follower *follower = (struct follower *)follow;
    struct held *held = held_find(follower, id);
    follower->touches++;
    assert_non_null(held);
    held->expires_at = expires_at;
    held->lease_ms = lease_ms;
    held->revision = follower->last_revision = revision;
}

static inline void on_follow_removed(struct mst_registry_follow *follow, struct mst_span id, uint64_t revision)
{
    struct follower *follower = (struct follower *)follow;
    follower->removes++;
    follower->last_revision = revision;
    snprintf(follower->last_removed, sizeof follower->last_removed, "%.*s", (int)id.length, id.data);
    held_free(held_find(follower, id));
    assert_true(mst_map_remove(follower->held, id.data, id.length, NULL));
}

static inline void on_follow_ready(struct mst_registry_follow *follow, int status, uint64_t revision,
                                   const struct mst_error *error)
{
    struct follower *follower = (struct follower *)follow;
    (void)error;
    follower->readies++;
    follower->ready = true;
    follower->status = status;
    follower->ready_revision = revision;
}

static inline void follow_begin(struct mst_registry *registry, struct follower *follower, const char *namespace_)
{
    *follower = (struct follower){.held = mst_map_create()};
    follower->follow = (struct mst_registry_follow){.namespace_ = namespace_,
                                                    .put = on_follow_put,
                                                    .touched = on_follow_touched,
                                                    .removed = on_follow_removed,
                                                    .ready = on_follow_ready};
    registry->ops->follow(registry, &follower->follow);
    assert_false(follower->ready);
}

static inline void follow_namespace(struct mst_loop *loop, struct mst_registry *registry, struct follower *follower,
                                    const char *namespace_)
{
    follow_begin(registry, follower, namespace_);
    assert_true(run_for(loop, &follower->ready, PATIENCE));
}

static inline void follower_free(struct follower *follower)
{
    size_t position = 0, length;
    const void *key;
    uint64_t value;
    while (mst_map_next(follower->held, &position, &key, &length, &value))
        held_free((struct held *)(uintptr_t)value);
    mst_map_destroy(follower->held);
}

static inline bool wait_count(struct mst_loop *loop, const struct follower *follower, size_t count)
{
    for (int i = 0; i < 10000 && mst_map_count(follower->held) != count; i++)
        run_ms(loop, 1);
    return mst_map_count(follower->held) == count;
}

static inline bool wait_unsigned(struct mst_loop *loop, const unsigned *number, unsigned wanted)
{
    for (int i = 0; i < 10000 && *number < wanted; i++)
        run_ms(loop, 1);
    return *number >= wanted;
}

/* ---- Redis as seen by somebody else ---- */

__attribute__((format(printf, 2, 3))) static inline long long redis_says(const struct fixture *fixture,
                                                                         const char *format, ...)
{
    redisContext *redis = redisConnect("127.0.0.1", fixture->server.port);
    va_list args;
    va_start(args, format);
    redisReply *reply = redisvCommand(redis, format, args);
    va_end(args);
    assert_non_null(reply);
    if (reply->type == REDIS_REPLY_ERROR)
        fail_msg("%s", reply->str);
    long long number = reply->type == REDIS_REPLY_ARRAY ? (long long)reply->elements : reply->integer;
    freeReplyObject(reply);
    redisFree(redis);
    return number;
}

/* ---- one server and one registry for a test ---- */

static inline int set_up_with(void **state, const char *const *options)
{
    struct fixture *fixture = calloc(1, sizeof *fixture);
    *state = fixture;
    if (!test_redis_start(&fixture->server, options) || mst_loop_init(&fixture->loop, NULL) != 0)
        return -1;
    fixture->registry = open_registry(fixture);
    return 0;
}

static inline int set_up(void **state)
{
    return set_up_with(state, NULL);
}

static inline int tear_down(void **state)
{
    struct fixture *fixture = *state;
    if (fixture->registry != NULL)
        close_registry(&fixture->loop, fixture->registry);
    mst_loop_deinit(&fixture->loop);
    test_server_stop(&fixture->server);
    free(fixture);
    return 0;
}
