// SPDX-License-Identifier: Apache-2.0
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "core/registry_memory.h"

struct world {
    struct mst_timers timers;
    struct mst_json_parser *parser;
    struct mst_view *views[2]; /* of "one" and "two" */
    struct mst_registry *registry;
    char order[64]; /* a letter per callback */
    bool closed;
};

static struct mst_view *view_of(void *context, const char *namespace_)
{
    struct world *world = context;
    return world->views[strcmp(namespace_, "two") == 0];
}

static int setup(void **state)
{
    struct world *world = calloc(1, sizeof *world);
    world->parser = mst_json_parser_create();
    world->views[0] = mst_view_create("one", world->parser);
    world->views[1] = mst_view_create("two", world->parser);
    world->registry = mst_registry_memory_create(&world->timers, view_of, world);
    assert_non_null(world->registry);
    *state = world;
    return 0;
}

static void turn(struct world *world)
{
    mst_timers_run(&world->timers, mst_clock_monotonic());
}

static void on_closed(void *context)
{
    ((struct world *)context)->closed = true;
}

static int teardown(void **state)
{
    struct world *world = *state;
    if (world->registry) {
        world->registry->ops->close(world->registry, on_closed, world);
        assert_false(world->closed);
        turn(world);
        assert_true(world->closed);
    }
    assert_int_equal(world->timers.count, 0);
    mst_timers_deinit(&world->timers);
    mst_view_destroy(world->views[0]);
    mst_view_destroy(world->views[1]);
    mst_json_parser_destroy(world->parser);
    free(world);
    return 0;
}

static struct mst_span span(const char *text)
{
    return (struct mst_span){text, strlen(text)};
}

static void note(struct world *world, char letter)
{
    size_t length = strlen(world->order);
    assert_true(length + 1 < sizeof world->order);
    world->order[length] = letter;
}

static void on_put(struct mst_registry_put *put)
{
    note(put->owner_context, 'p');
}

static struct mst_registry_put a_put(struct world *world, const char *id, const char *metadata)
{
    return (struct mst_registry_put){
        .namespace_ = "one",
        .id = span(id),
        .metadata = span(metadata),
        .lease_ms = 60000,
        .deadline = UINT64_MAX,
        .done = on_put,
        .owner_context = world,
    };
}

static int run_put(struct world *world, struct mst_registry_put *put)
{
    size_t before = strlen(world->order);
    world->registry->ops->put(world->registry, put);
    assert_int_equal(strlen(world->order), before);
    turn(world);
    assert_int_equal(strlen(world->order), before + 1);
    world->order[before] = '\0';
    return put->status;
}

static int put(struct world *world, const char *id, const char *metadata)
{
    struct mst_registry_put operation = a_put(world, id, metadata);
    return run_put(world, &operation);
}

static struct mst_identity identity_of(struct world *world, const char *id)
{
    struct mst_identity identity = {0};
    uint32_t row = mst_view_find(world->views[0], id, strlen(id));
    assert_int_not_equal(row, MST_ROW_NONE);
    mst_view_identity(world->views[0], row, &identity);
    return identity;
}

static void a_new_identity_is_created(void **state)
{
    struct world *world = *state;
    struct mst_registry_put operation = a_put(world, "a", "{\"x\": 1}");
    operation.gateway = span("g1");
    int64_t before = mst_clock_wall();
    assert_int_equal(run_put(world, &operation), 0);
    assert_true(operation.created);
    assert_true(operation.metadata_changed);
    assert_int_equal(operation.revision, 1);
    assert_true(operation.registered_at >= before && operation.registered_at <= mst_clock_wall());
    assert_int_equal(operation.expires_at, operation.registered_at + 60000);
    struct mst_identity identity = identity_of(world, "a");
    assert_memory_equal(identity.metadata.data, "{\"x\": 1}", 8);
    assert_memory_equal(identity.gateway.data, "g1", 2);
}

static void nothing_is_seen_before_its_turn(void **state)
{
    struct world *world = *state;
    struct mst_registry_put operation = a_put(world, "a", "{}");
    world->registry->ops->put(world->registry, &operation);
    assert_int_equal(mst_view_count(world->views[0]), 0);
    turn(world);
    assert_int_equal(mst_view_count(world->views[0]), 1);
}

static void a_renewal_keeps_the_times_of_the_metadata(void **state)
{
    struct world *world = *state;
    assert_int_equal(put(world, "a", "{\"x\":1}"), 0);
    struct mst_identity first = identity_of(world, "a");
    usleep(3000);
    struct mst_registry_put operation = a_put(world, "a", "{\"x\":1}");
    operation.lease_ms = 0;
    assert_int_equal(run_put(world, &operation), 0);
    assert_false(operation.created);
    assert_false(operation.metadata_changed);
    assert_int_equal(operation.revision, 2);
    assert_int_equal(operation.expires_at, 0);
    assert_int_equal(operation.updated_at, first.updated_at);
    assert_int_equal(identity_of(world, "a").expires_at, 0);

    operation = a_put(world, "a", "{\"x\":2}");
    assert_int_equal(run_put(world, &operation), 0);
    assert_true(operation.metadata_changed);
    assert_int_equal(operation.registered_at, first.registered_at);
    assert_true(operation.updated_at > first.updated_at);
    assert_memory_equal(identity_of(world, "a").metadata.data, "{\"x\":2}", 7);
}

static void another_gateway_replaces_the_old_one(void **state)
{
    struct world *world = *state;
    assert_int_equal(put(world, "a", "{}"), 0);
    struct mst_registry_put operation = a_put(world, "a", "{}");
    operation.gateway = span("g2");
    assert_int_equal(run_put(world, &operation), 0);
    assert_true(operation.metadata_changed);
    assert_int_equal(identity_of(world, "a").gateway.length, 2);
}

static void create_refuses_what_is_alive(void **state)
{
    struct world *world = *state;
    struct mst_registry_put operation = a_put(world, "a", "{}");
    operation.mode = MST_PUT_CREATE;
    assert_int_equal(run_put(world, &operation), 0);
    operation = a_put(world, "a", "{}");
    operation.mode = MST_PUT_CREATE;
    assert_int_equal(run_put(world, &operation), MST_EEXISTS);
    assert_string_equal(operation.error.message, "identity a already registered");
    assert_int_equal(mst_view_revision(world->views[0]), 1);
}

static void only_the_owner_renews(void **state)
{
    struct world *world = *state;
    struct mst_registry_put operation = a_put(world, "a", "{}");
    operation.owner = span("me");
    assert_int_equal(run_put(world, &operation), 0);
    struct mst_registry_put other = a_put(world, "a", "{}");
    other.owner = span("you");
    assert_int_equal(run_put(world, &other), MST_EOWNER);
    assert_int_equal(put(world, "a", "{}"), MST_EOWNER);
    other.mode = MST_PUT_REPLACE;
    assert_int_equal(run_put(world, &other), 0);
    assert_memory_equal(identity_of(world, "a").owner.data, "you", 3);
    assert_int_equal(run_put(world, &operation), MST_EOWNER);
}

static void if_revision_must_hold(void **state)
{
    struct world *world = *state;
    struct mst_registry_put operation = a_put(world, "a", "{}");
    operation.has_if_revision = true;
    operation.if_revision = 1;
    assert_int_equal(run_put(world, &operation), MST_EREVISION);
    operation.if_revision = 0;
    assert_int_equal(run_put(world, &operation), 0);
    assert_int_equal(run_put(world, &operation), MST_EREVISION);
    operation.if_revision = operation.revision;
    assert_int_equal(run_put(world, &operation), 0);
    assert_int_equal(operation.revision, 2);
}

static void an_ended_lease_counts_as_not_there(void **state)
{
    struct world *world = *state;
    struct mst_registry_put operation = a_put(world, "a", "{}");
    operation.lease_ms = 5;
    operation.owner = span("me");
    assert_int_equal(run_put(world, &operation), 0);
    usleep(10000);
    operation = a_put(world, "a", "{}");
    operation.mode = MST_PUT_CREATE;
    assert_int_equal(run_put(world, &operation), 0);
    assert_true(operation.created);
}

static void bad_metadata_changes_nothing(void **state)
{
    struct world *world = *state;
    assert_int_equal(put(world, "a", "{"), MST_EJSON);
    assert_int_equal(mst_view_count(world->views[0]), 0);
    struct mst_registry_put operation = a_put(world, "a", "{}");
    assert_int_equal(run_put(world, &operation), 0);
    assert_int_equal(operation.revision, 1);
}

static void a_deadline_that_has_passed_is_kept(void **state)
{
    struct world *world = *state;
    struct mst_registry_put operation = a_put(world, "a", "{}");
    operation.deadline = mst_clock_monotonic() - 1;
    assert_int_equal(run_put(world, &operation), MST_EDEADLINE);
    assert_int_equal(mst_view_count(world->views[0]), 0);
}

static void on_renew(struct mst_registry_renew *renew)
{
    note(renew->owner_context, 'r');
}

static void a_heartbeat_renews_many(void **state)
{
    struct world *world = *state;
    put(world, "a", "{}");
    put(world, "b", "{}");
    struct mst_span ids[] = {span("b"), span("nobody"), span("a")};
    struct mst_renewed results[3];
    memset(results, 0xff, sizeof results);
    struct mst_registry_renew renew = {
        "one", ids, 3, -1, UINT64_MAX, .results = results, .done = on_renew, .owner_context = world};
    usleep(3000);
    int64_t now = mst_clock_wall();
    world->registry->ops->renew(world->registry, &renew);
    assert_string_equal(world->order, "");
    turn(world);
    assert_string_equal(world->order, "r");
    assert_int_equal(renew.status, 0);
    assert_true(results[0].renewed && results[2].renewed);
    assert_false(results[1].renewed);
    assert_int_equal(results[0].lease_ms, 60000);
    assert_true(results[0].expires_at >= now + 60000);
    assert_int_equal(identity_of(world, "b").expires_at, results[0].expires_at);
    assert_int_equal(results[0].revision, 3);
    assert_int_equal(results[2].revision, 4);
    assert_int_equal(renew.revision, 4);

    renew.lease_ms = 0;
    world->registry->ops->renew(world->registry, &renew);
    turn(world);
    assert_int_equal(identity_of(world, "a").expires_at, 0);
}

static void on_remove(struct mst_registry_remove *remove)
{
    note(remove->owner_context, 'x');
}

static void a_removal_is_idempotent(void **state)
{
    struct world *world = *state;
    put(world, "a", "{}");
    struct mst_registry_remove remove = {
        .namespace_ = "one", .id = span("a"), .deadline = UINT64_MAX, .done = on_remove, .owner_context = world};
    world->registry->ops->remove(world->registry, &remove);
    turn(world);
    assert_int_equal(remove.status, 0);
    assert_true(remove.removed);
    assert_int_equal(remove.revision, 2);
    assert_int_equal(mst_view_count(world->views[0]), 0);
    world->registry->ops->remove(world->registry, &remove);
    turn(world);
    assert_int_equal(remove.status, 0);
    assert_false(remove.removed);
    assert_int_equal(remove.revision, 2);
    assert_string_equal(world->order, "xx");
}

static void operations_keep_their_order_across_kinds(void **state)
{
    struct world *world = *state;
    struct mst_registry_put first = a_put(world, "a", "{\"n\":1}"), second = a_put(world, "a", "{\"n\":2}");
    struct mst_registry_remove remove = {
        .namespace_ = "one", .id = span("a"), .deadline = UINT64_MAX, .done = on_remove, .owner_context = world};
    struct mst_span ids[] = {span("a")};
    struct mst_renewed result;
    struct mst_registry_renew renew = {
        "one", ids, 1, -1, UINT64_MAX, .results = &result, .done = on_renew, .owner_context = world};
    world->registry->ops->put(world->registry, &first);
    world->registry->ops->remove(world->registry, &remove);
    world->registry->ops->renew(world->registry, &renew);
    world->registry->ops->put(world->registry, &second);
    turn(world);
    assert_string_equal(world->order, "pxrp");
    assert_true(remove.removed);
    assert_false(result.renewed);
    assert_true(second.created);
    assert_int_equal(second.revision, 3);
}

static void namespaces_do_not_touch_each_other(void **state)
{
    struct world *world = *state;
    put(world, "a", "{}");
    put(world, "b", "{}");
    struct mst_registry_put operation = a_put(world, "a", "{}");
    operation.namespace_ = "two";
    assert_int_equal(run_put(world, &operation), 0);
    assert_true(operation.created);
    assert_int_equal(operation.revision, 1);
}

static void on_drop(struct mst_registry_drop *drop)
{
    note(drop->owner_context, 'd');
}

static void each_name(void *context, const char *namespace_)
{
    note(context, strcmp(namespace_, "one") == 0 ? '1' : '2');
}

static void names_ready(void *context, int status, const struct mst_error *error)
{
    assert_true((status == 0) == (error == NULL));
    note(context, status == 0 ? '.' : '!');
}

static void a_drop_empties_but_counts_on(void **state)
{
    struct world *world = *state;
    put(world, "a", "{}");
    put(world, "b", "{}");
    world->registry->ops->namespaces(world->registry, each_name, names_ready, world);
    struct mst_registry_drop drop = {.namespace_ = "one", .done = on_drop, .owner_context = world};
    world->registry->ops->drop(world->registry, &drop);
    world->registry->ops->namespaces(world->registry, each_name, names_ready, world);
    assert_string_equal(world->order, "");
    turn(world);
    assert_string_equal(world->order, "1.d.");
    assert_int_equal(drop.status, 0);
    assert_int_equal(mst_view_count(world->views[0]), 0);

    /* Even when the view is a new one. */
    mst_view_destroy(world->views[0]);
    world->views[0] = mst_view_create("one", world->parser);
    struct mst_registry_put operation = a_put(world, "a", "{}");
    assert_int_equal(run_put(world, &operation), 0);
    assert_int_equal(operation.revision, 4);
}

static void on_ready(struct mst_registry_follow *follow, int status, uint64_t revision, const struct mst_error *error)
{
    assert_int_equal(status, 0);
    assert_null(error);
    note(follow->owner_context, (char)('0' + revision));
}

static void a_follow_tells_the_revision(void **state)
{
    struct world *world = *state;
    put(world, "a", "{}");
    put(world, "b", "{}");
    struct mst_registry_follow follow = {.namespace_ = "one", .ready = on_ready, .owner_context = world};
    world->registry->ops->follow(world->registry, &follow);
    assert_string_equal(world->order, "");
    turn(world);
    assert_string_equal(world->order, "2");
    struct mst_registry_follow unknown = {.namespace_ = "two", .ready = on_ready, .owner_context = world};
    world->registry->ops->follow(world->registry, &unknown);
    turn(world);
    assert_string_equal(world->order, "20");
}

static void closing_completes_what_is_outstanding(void **state)
{
    struct world *world = *state;
    struct mst_registry_put operation = a_put(world, "a", "{}");
    world->registry->ops->put(world->registry, &operation);
    assert_true(world->registry->ops->healthy(world->registry, NULL));
    world->registry->ops->close(world->registry, on_closed, world);
    struct mst_error why;
    assert_false(world->registry->ops->healthy(world->registry, &why));
    assert_int_equal(why.code, MST_ECLOSED);
    turn(world);
    assert_true(world->closed);
    assert_string_equal(world->order, "p");
    assert_int_equal(operation.status, MST_ECLOSED);
    world->registry = NULL;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_new_identity_is_created),
        TEST(nothing_is_seen_before_its_turn),
        TEST(a_renewal_keeps_the_times_of_the_metadata),
        TEST(another_gateway_replaces_the_old_one),
        TEST(create_refuses_what_is_alive),
        TEST(only_the_owner_renews),
        TEST(if_revision_must_hold),
        TEST(an_ended_lease_counts_as_not_there),
        TEST(bad_metadata_changes_nothing),
        TEST(a_deadline_that_has_passed_is_kept),
        TEST(a_heartbeat_renews_many),
        TEST(a_removal_is_idempotent),
        TEST(operations_keep_their_order_across_kinds),
        TEST(namespaces_do_not_touch_each_other),
        TEST(a_drop_empties_but_counts_on),
        TEST(a_follow_tells_the_revision),
        TEST(closing_completes_what_is_outstanding),
    };
    return cmocka_run_group_tests_name("registry_memory", tests, NULL, NULL);
}
