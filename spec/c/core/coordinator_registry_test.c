// SPDX-License-Identifier: Apache-2.0
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

/* The coordinator on a registry that answers when and what the test says: order, delay, failure, feed. */

#define SLOTS 8

struct fake {
    struct mst_registry base;
    int64_t now;
    struct mst_registry_put *puts[SLOTS];
    struct mst_registry_remove *removes[SLOTS];
    struct mst_registry_renew *renews[SLOTS];
    struct mst_registry_follow *follows[SLOTS];
    unsigned put_count, remove_count, renew_count, follow_count, list_count;
    void (*each)(void *context, const char *namespace_);
    void (*listed)(void *context, int status, const struct mst_error *error);
    void *list_context;
    unsigned reap_calls, reaped;
    char last_reaped[256];
    struct mst_error why; /* code not 0: not healthy */
};

struct world {
    struct mst_timers timers;
    struct mst_coordinator *coordinator;
    struct fake fake;
    struct mst_messaging *messaging;
    unsigned ready;
    int ready_status;
    bool flag, drained;
};

struct reply {
    unsigned count;
    int status;
    char json[2000];
};

static void fake_put(struct mst_registry *registry, struct mst_registry_put *put)
{
    struct fake *fake = (struct fake *)registry;
    fake->puts[fake->put_count++ % SLOTS] = put;
}

static void fake_renew(struct mst_registry *registry, struct mst_registry_renew *renew)
{
    struct fake *fake = (struct fake *)registry;
    fake->renews[fake->renew_count++ % SLOTS] = renew;
}

static void fake_remove(struct mst_registry *registry, struct mst_registry_remove *remove)
{
    struct fake *fake = (struct fake *)registry;
    fake->removes[fake->remove_count++ % SLOTS] = remove;
}

static void fake_follow(struct mst_registry *registry, struct mst_registry_follow *follow)
{
    struct fake *fake = (struct fake *)registry;
    fake->follows[fake->follow_count++ % SLOTS] = follow;
}

static void fake_namespaces(struct mst_registry *registry, void (*each)(void *context, const char *namespace_),
                            void (*ready)(void *context, int status, const struct mst_error *error), void *context)
{
    struct fake *fake = (struct fake *)registry;
    fake->each = each;
    fake->listed = ready;
    fake->list_context = context;
    fake->list_count++;
}

static void fake_reap(struct mst_registry *registry, const char *namespace_, const struct mst_span *ids, uint32_t count)
{
    struct fake *fake = (struct fake *)registry;
    assert_string_equal(namespace_, "space");
    assert_true(count > 0);
    fake->reap_calls++;
    fake->reaped += count;
    memcpy(fake->last_reaped, ids[count - 1].data, ids[count - 1].length);
    fake->last_reaped[ids[count - 1].length] = '\0';
}

static int64_t fake_now(struct mst_registry *registry)
{
    return ((struct fake *)registry)->now;
}

static bool fake_healthy(struct mst_registry *registry, struct mst_error *why)
{
    const struct fake *fake = (struct fake *)registry;
    if (why && fake->why.code)
        *why = fake->why;
    return fake->why.code == 0;
}

static const struct mst_registry_ops fake_ops = {
    .name = "fake",
    .put = fake_put,
    .renew = fake_renew,
    .remove = fake_remove,
    .follow = fake_follow,
    .namespaces = fake_namespaces,
    .reap = fake_reap,
    .now = fake_now,
    .healthy = fake_healthy,
};

static int no_compiler(void *context, struct mst_span source, bool json, struct mst_buffer *program,
                       struct mst_buffer *warnings, struct mst_error *error)
{
    (void)context;
    (void)source;
    (void)json;
    (void)program;
    (void)warnings;
    return mst_error_set(error, MST_EFILTER, "no filters here");
}

static int setup(void **state)
{
    struct world *world = calloc(1, sizeof *world);
    world->fake.base.ops = &fake_ops;
    world->fake.now = 1000000;
    world->coordinator = mst_coordinator_create(&(struct mst_coordinator_options){
        .timers = &world->timers,
        .compiler = {world, no_compiler},
        .max_identities = 3,
        .max_in_flight = 5,
        .request_timeout = 200 * MST_NS_PER_MS,
    });
    assert_non_null(world->coordinator);
    world->messaging = mst_messaging_memory_create(&world->timers, 0);
    mst_coordinator_set_slots(world->coordinator, &world->fake.base, world->messaging);
    *state = world;
    return 0;
}

static void turn(struct world *world)
{
    mst_timers_run(&world->timers, mst_clock_monotonic());
}

static void raise_flag(void *context)
{
    ((struct world *)context)->flag = true;
}

static void drain(struct world *world)
{
    world->flag = false;
    mst_coordinator_drain(world->coordinator, 0, raise_flag, world);
    turn(world);
    assert_true(world->flag);
    world->drained = true;
}

static int teardown(void **state)
{
    struct world *world = *state;
    if (!world->drained)
        drain(world);
    world->flag = false;
    world->messaging->ops->close(world->messaging, raise_flag, world);
    turn(world);
    assert_true(world->flag);
    mst_coordinator_destroy(world->coordinator);
    assert_int_equal(world->timers.count, 0);
    mst_timers_deinit(&world->timers);
    free(world);
    return 0;
}

static void pass_time(unsigned ms)
{
    struct timespec pause = {ms / 1000, (long)(ms % 1000) * 1000000};
    nanosleep(&pause, NULL);
}

static void on_ready(void *context, int status, const struct mst_error *error)
{
    struct world *world = context;
    assert_true((status == 0) == (error == NULL));
    world->ready++;
    world->ready_status = status;
}

static void on_answer(void *context, int status, const char *json, size_t length)
{
    struct reply *reply = context;
    reply->count++;
    reply->status = status;
    snprintf(reply->json, sizeof reply->json, "%.*s", (int)length, json);
}

static void call(struct world *world, const char *verb, const char *body, struct reply *reply)
{
    *reply = (struct reply){0};
    mst_coordinator_call(world->coordinator, verb, "space", body, strlen(body), on_answer, reply);
    assert_int_equal(reply->count, 0);
    turn(world);
}

static void expect(const struct reply *reply, int status, const char *part)
{
    if (reply->count != 1 || reply->status != status || !strstr(reply->json, part))
        fail_msg("not %s %s: %u times %s", mst_error_name(status), part, reply->count, reply->json);
}

static void expect_count(struct world *world, unsigned count, unsigned revision)
{
    struct reply reply;
    char part[60];
    snprintf(part, sizeof part, "{\"count\":%u,\"revision\":%u,", count, revision);
    call(world, "count", "{}", &reply);
    expect(&reply, 0, part);
}

static struct mst_span span(const char *text)
{
    return (struct mst_span){text, strlen(text)};
}

static void feed_put(struct world *world, const char *id, uint64_t revision, int64_t expires_at)
{
    const struct mst_identity identity = {.id = span(id),
                                          .metadata = span("{\"n\":1}"),
                                          .registered_at = 5,
                                          .updated_at = 5,
                                          .expires_at = expires_at,
                                          .lease_ms = 1000,
                                          .revision = revision};
    struct mst_registry_follow *follow = world->fake.follows[0];
    follow->put(follow, &identity);
}

/* Starts with one namespace, "space", which is empty at revision 10. */
static void start(struct world *world)
{
    struct fake *fake = &world->fake;
    mst_coordinator_start(world->coordinator, on_ready, world);
    fake->each(fake->list_context, "space");
    fake->listed(fake->list_context, 0, NULL);
    assert_int_equal(world->ready, 0);
    fake->follows[0]->ready(fake->follows[0], 0, 10, NULL);
    assert_int_equal(world->ready, 1);
    assert_int_equal(world->ready_status, 0);
}

static void answer_put(struct mst_registry_put *put, uint64_t revision)
{
    put->status = 0;
    put->created = put->metadata_changed = true;
    put->registered_at = put->updated_at = 1000000;
    put->expires_at = put->lease_ms ? 1000000 + put->lease_ms : 0;
    put->revision = revision;
    put->done(put);
}

static void calls_wait_for_the_start(void **state)
{
    struct world *world = *state;
    struct fake *fake = &world->fake;
    struct reply counted, other, refused[4];
    call(world, "count", "{}", &counted);
    mst_coordinator_start(world->coordinator, on_ready, world);
    call(world, "get", "{\"id\":\"b\"}", &other);
    fake->each(fake->list_context, "space");
    fake->listed(fake->list_context, 0, NULL);
    assert_int_equal(fake->follow_count, 1);
    assert_string_equal(fake->follows[0]->namespace_, "space");
    feed_put(world, "a", 7, 0);
    feed_put(world, "b", 9, 0);
    turn(world);
    assert_int_equal(counted.count, 0);
    for (int i = 0; i < 4; i++)
        call(world, "count", "{}", &refused[i]);
    expect(&refused[3], MST_EBUSY, "in flight");
    assert_int_equal(refused[2].count, 0);
    fake->follows[0]->ready(fake->follows[0], 0, 12, NULL);
    assert_int_equal(world->ready, 1);
    turn(world);
    expect(&counted, 0, "{\"count\":2,\"revision\":12,");
    expect(&other, 0, "\"metadata\":{\"n\":1}");
    expect(&refused[2], 0, "\"count\":2");
}

static void a_start_that_fails_may_be_tried_again(void **state)
{
    struct world *world = *state;
    struct reply waiting;
    struct mst_error error;
    mst_coordinator_start(world->coordinator, on_ready, world);
    call(world, "count", "{}", &waiting);
    mst_error_set(&error, MST_EREDIS, "Redis went away");
    world->fake.listed(world->fake.list_context, MST_EREDIS, &error);
    assert_int_equal(world->ready_status, MST_EREDIS);
    turn(world);
    expect(&waiting, MST_EREDIS, "Redis went away");
    world->ready = 0;
    start(world);
    expect_count(world, 0, 10);
}

static void a_call_waits_no_longer_than_its_deadline(void **state)
{
    struct world *world = *state;
    struct reply waiting;
    mst_coordinator_start(world->coordinator, on_ready, world);
    call(world, "count", "{}", &waiting);
    pass_time(150);
    turn(world);
    assert_int_equal(waiting.count, 0);
    pass_time(60);
    turn(world);
    turn(world);
    expect(&waiting, MST_EDEADLINE, "still being loaded");
}

/* A namespace that is new cannot be loaded while the registry is away: that is what the caller has to hear. */
static void who_waited_for_an_unreachable_registry_is_told_so(void **state)
{
    struct world *world = *state;
    struct fake *fake = &world->fake;
    struct reply waiting;
    mst_coordinator_start(world->coordinator, on_ready, world);
    fake->listed(fake->list_context, 0, NULL);
    mst_error_set(&fake->why, MST_EREDIS, "the registry is gone");
    call(world, "register", "{\"id\":\"a\"}", &waiting);
    assert_int_equal(fake->follow_count, 1);
    pass_time(210);
    turn(world);
    turn(world);
    expect(&waiting, MST_EREDIS, "the registry is gone");
}

static void a_snapshot_that_fails_is_tried_again(void **state)
{
    struct world *world = *state;
    struct fake *fake = &world->fake;
    struct reply reply;
    struct mst_error error;
    mst_error_set(&error, MST_EREDIS, "torn");
    mst_coordinator_start(world->coordinator, on_ready, world);
    fake->each(fake->list_context, "space");
    fake->listed(fake->list_context, 0, NULL);
    feed_put(world, "ghost", 2, 0);
    fake->follows[0]->ready(fake->follows[0], MST_EREDIS, 0, &error);
    assert_int_equal(world->ready_status, MST_EREDIS);
    call(world, "count", "{}", &reply);
    expect(&reply, MST_EREDIS, "torn");
    assert_int_equal(fake->follow_count, 1);
    pass_time(1010);
    call(world, "count", "{}", &reply);
    assert_int_equal(reply.count, 0);
    assert_int_equal(fake->follow_count, 2);
    fake->follows[1]->ready(fake->follows[1], 0, 3, NULL);
    turn(world);
    expect(&reply, 0, "{\"count\":0,\"revision\":3,");
}

static void a_namespace_made_elsewhere_is_found(void **state)
{
    struct world *world = *state;
    struct fake *fake = &world->fake;
    struct reply reply, again;
    struct mst_error error;
    mst_coordinator_start(world->coordinator, on_ready, world);
    fake->listed(fake->list_context, 0, NULL);
    assert_int_equal(world->ready, 1);
    call(world, "count", "{}", &reply); /* within a second of the last look */
    expect(&reply, 0, "\"count\":0");
    assert_int_equal(fake->list_count, 1);
    pass_time(1010);
    call(world, "count", "{}", &reply);
    call(world, "count", "{}", &again);
    assert_int_equal(reply.count, 0);
    assert_int_equal(fake->list_count, 2);
    mst_error_set(&error, MST_EREDIS, "torn");
    fake->listed(fake->list_context, MST_EREDIS, &error);
    turn(world);
    expect(&reply, MST_EREDIS, "torn");
    expect(&again, MST_EREDIS, "torn");
    pass_time(1010);
    call(world, "count", "{}", &reply);
    fake->each(fake->list_context, "space");
    fake->listed(fake->list_context, 0, NULL);
    turn(world);
    assert_int_equal(reply.count, 0);
    feed_put(world, "a", 3, 0);
    fake->follows[0]->ready(fake->follows[0], 0, 3, NULL);
    turn(world);
    expect(&reply, 0, "{\"count\":1,\"revision\":3,");
}

static void a_registration_is_answered_and_seen_when_the_registry_has_it(void **state)
{
    struct world *world = *state;
    struct reply reply;
    start(world);
    call(world, "register", "{\"id\":\"a\",\"metadata\":{\"n\":2}}", &reply);
    assert_int_equal(reply.count, 0);
    expect_count(world, 0, 10);
    answer_put(world->fake.puts[0], 11);
    expect_count(world, 1, 11);
    expect(&reply, 0,
           "{\"id\":\"a\",\"revision\":11,\"created\":true,\"registered_at\":1000000,\"expires_at\":1300000}");

    call(world, "register", "{\"id\":\"b\"}", &reply);
    struct mst_registry_put *put = world->fake.puts[1];
    put->status = mst_error_set(&put->error, MST_EREDIS, "no answer in time");
    put->done(put);
    turn(world);
    expect(&reply, MST_EREDIS, "no answer in time");
    expect_count(world, 1, 11);
}

static void registrations_under_way_count_for_the_quota(void **state)
{
    struct world *world = *state;
    struct reply replies[3], refused;
    start(world);
    for (int i = 0; i < 3; i++)
        call(world, "register", i == 0 ? "{\"id\":\"a\"}" : i == 1 ? "{\"id\":\"b\"}" : "{\"id\":\"c\"}", &replies[i]);
    call(world, "register", "{\"id\":\"d\"}", &refused);
    expect(&refused, MST_EQUOTA, "max identities limit reached (3)");
    struct mst_registry_put *put = world->fake.puts[0];
    put->status = mst_error_set(&put->error, MST_EEXISTS, "no");
    put->done(put);
    answer_put(world->fake.puts[1], 11);
    call(world, "register", "{\"id\":\"d\"}", &refused);
    assert_int_equal(refused.count, 0);
    answer_put(world->fake.puts[2], 12);
    answer_put(world->fake.puts[3], 13);
    expect_count(world, 3, 13);
    call(world, "register", "{\"id\":\"e\"}", &refused);
    expect(&refused, MST_EQUOTA, "");
}

static void the_feed_applies_what_is_newer(void **state)
{
    struct world *world = *state;
    struct mst_registry_follow *follow;
    struct reply reply;
    start(world);
    follow = world->fake.follows[0];
    feed_put(world, "a", 20, 2000000);
    expect_count(world, 1, 20);
    feed_put(world, "a", 19, 3000000);
    call(world, "get", "{\"id\":\"a\"}", &reply);
    expect(&reply, 0, "\"revision\":20,\"registered_at\":5,\"updated_at\":5,\"expires_at\":2000000}");
    follow->touched(follow, span("a"), 4000000, 1000, 19);
    follow->touched(follow, span("nobody"), 4000000, 1000, 30);
    call(world, "get", "{\"id\":\"a\"}", &reply);
    expect(&reply, 0, "\"expires_at\":2000000}");
    follow->touched(follow, span("a"), 4000000, 1000, 21);
    call(world, "get", "{\"id\":\"a\"}", &reply);
    expect(&reply, 0, "\"revision\":21,\"registered_at\":5,\"updated_at\":5,\"expires_at\":4000000}");
    follow->removed(follow, span("a"), 20);
    expect_count(world, 1, 21);
    follow->removed(follow, span("a"), 22);
    expect_count(world, 0, 22);
}

static void what_was_removed_does_not_come_back_late(void **state)
{
    struct world *world = *state;
    struct reply removing, registering;
    start(world);
    feed_put(world, "a", 11, 0);
    call(world, "unregister", "{\"id\":\"a\"}", &removing);
    struct mst_registry_remove *remove = world->fake.removes[0];
    remove->status = 0;
    remove->removed = true;
    remove->revision = 13;
    remove->done(remove);
    turn(world);
    expect(&removing, 0, "{\"removed\":true,\"revision\":13}");
    feed_put(world, "a", 12, 0);
    expect_count(world, 0, 13);

    /* The feed is faster than the answer to an own write. */
    call(world, "register", "{\"id\":\"b\"}", &registering);
    struct mst_registry_follow *follow = world->fake.follows[0];
    follow->removed(follow, span("b"), 15);
    answer_put(world->fake.puts[0], 14);
    turn(world);
    expect(&registering, 0, "\"revision\":14");
    expect_count(world, 0, 15);
    feed_put(world, "b", 16, 0);
    expect_count(world, 1, 16);
}

static void a_heartbeat_is_applied(void **state)
{
    struct world *world = *state;
    struct reply reply;
    start(world);
    feed_put(world, "a", 11, 2000000);
    call(world, "heartbeat", "{\"ids\":[\"a\",\"x\"],\"ttl\":60}", &reply);
    struct mst_registry_renew *renew = world->fake.renews[0];
    assert_int_equal(renew->lease_ms, 60000);
    assert_int_equal(renew->count, 2);
    renew->status = 0;
    renew->results[0] = (struct mst_renewed){true, 1060000, 60000, 12};
    renew->results[1] = (struct mst_renewed){0};
    renew->revision = 12;
    renew->done(renew);
    turn(world);
    expect(&reply, 0, "{\"renewed\":1,\"unknown\":[\"x\"],\"revision\":12}");
    call(world, "get", "{\"id\":\"a\"}", &reply);
    expect(&reply, 0, "\"expires_at\":1060000}");
}

static void ended_leases_are_reaped(void **state)
{
    struct world *world = *state;
    char id[20];
    start(world);
    for (unsigned i = 0; i < 600; i++) {
        snprintf(id, sizeof id, "n%u", i);
        feed_put(world, id, 11 + i, 1001000);
    }
    feed_put(world, "stays", 700, 0);
    expect_count(world, 601, 700);
    assert_int_equal(world->fake.reap_calls, 0);
    world->fake.now = 1000999;
    expect_count(world, 601, 700);
    world->fake.now = 1001000;
    expect_count(world, 1, 700);
    assert_int_equal(world->fake.reaped, 600);
    assert_int_equal(world->fake.reap_calls, 3);
}

static void leases_end_by_the_clock_of_the_registry_without_a_reader(void **state)
{
    struct world *world = *state;
    start(world);
    feed_put(world, "a", 11, world->fake.now + 30);
    pass_time(40);
    turn(world); /* its clock stands still: nothing is due yet */
    assert_int_equal(world->fake.reaped, 0);
    world->fake.now += 30;
    for (int i = 0; i < 100 && world->fake.reaped == 0; i++) {
        pass_time(5);
        turn(world);
    }
    assert_int_equal(world->fake.reaped, 1);
    assert_string_equal(world->fake.last_reaped, "a");
}

static void the_feed_sets_no_timer_after_the_drain(void **state)
{
    struct world *world = *state;
    start(world);
    drain(world);
    uint32_t timers = world->timers.count;
    feed_put(world, "a", 11, world->fake.now + 5);
    assert_int_equal(world->timers.count, timers);
}

static void a_drain_ends_the_calls_that_wait(void **state)
{
    struct world *world = *state;
    struct reply waiting;
    mst_coordinator_start(world->coordinator, on_ready, world);
    call(world, "count", "{}", &waiting);
    assert_int_equal(waiting.count, 0);
    drain(world);
    expect(&waiting, MST_ECLOSED, "shutting down");
    struct mst_error error;
    mst_error_set(&error, MST_ECLOSED, "the registry is closed");
    world->fake.listed(world->fake.list_context, MST_ECLOSED, &error);
    assert_int_equal(world->ready, 1);
    assert_int_equal(world->ready_status, MST_ECLOSED);
}

static void the_first_registration_follows_its_namespace(void **state)
{
    struct world *world = *state;
    struct fake *fake = &world->fake;
    struct reply reply, refused;
    mst_coordinator_start(world->coordinator, on_ready, world);
    fake->listed(fake->list_context, 0, NULL);
    call(world, "register", "{\"id\":\"\"}", &refused);
    expect(&refused, MST_EID, "");
    assert_int_equal(fake->follow_count, 0);
    call(world, "register", "{\"id\":\"a\"}", &reply);
    assert_int_equal(fake->follow_count, 1);
    assert_int_equal(fake->put_count, 0);
    fake->follows[0]->ready(fake->follows[0], 0, 4, NULL);
    turn(world);
    assert_int_equal(fake->put_count, 1);
    assert_memory_equal(fake->puts[0]->id.data, "a", 1);
    answer_put(fake->puts[0], 5);
    turn(world);
    expect(&reply, 0, "\"revision\":5");
    struct mst_coordinator_stats stats;
    mst_coordinator_stats(world->coordinator, &stats);
    assert_int_equal(stats.in_flight, 0);
    assert_int_equal(stats.identities, 1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(calls_wait_for_the_start),
        TEST(a_start_that_fails_may_be_tried_again),
        TEST(a_call_waits_no_longer_than_its_deadline),
        TEST(who_waited_for_an_unreachable_registry_is_told_so),
        TEST(a_snapshot_that_fails_is_tried_again),
        TEST(a_namespace_made_elsewhere_is_found),
        TEST(a_registration_is_answered_and_seen_when_the_registry_has_it),
        TEST(registrations_under_way_count_for_the_quota),
        TEST(the_feed_applies_what_is_newer),
        TEST(what_was_removed_does_not_come_back_late),
        TEST(a_heartbeat_is_applied),
        TEST(ended_leases_are_reaped),
        TEST(leases_end_by_the_clock_of_the_registry_without_a_reader),
        TEST(the_feed_sets_no_timer_after_the_drain),
        TEST(a_drain_ends_the_calls_that_wait),
        TEST(the_first_registration_follows_its_namespace),
    };
    return cmocka_run_group_tests_name("coordinator_registry", tests, NULL, NULL);
}
