// SPDX-License-Identifier: Apache-2.0
/* The three connections of the Redis registry come up in any order, or not all: what is asked of it meanwhile. */
#include "redis_fixture.h"
#include "support/proxy.h"

/* With one thread that resolves names the connections are made in this order. */
enum { WRITE, FEED, BULK, NEXT };

struct world {
    struct fixture base;
    struct test_proxy *proxy;
};

struct listing {
    bool done;
    int status;
    unsigned count;
    char name[65];
};

static void on_name(void *context, const char *name)
{
    struct listing *listing = context;
    listing->count++;
    snprintf(listing->name, sizeof listing->name, "%s", name);
}

static void on_names(void *context, int status, const struct mst_error *error)
{
    struct listing *listing = context;
    (void)error;
    listing->done = true;
    listing->status = status;
}

static void list_names(struct world *world, struct listing *listing)
{
    struct mst_registry *registry = world->base.registry;
    *listing = (struct listing){0};
    registry->ops->namespaces(registry, on_name, on_names, listing);
}

static void expect_fleet(struct world *world, struct listing *listing)
{
    assert_true(run_for(&world->base.loop, &listing->done, PATIENCE));
    assert_int_equal(listing->status, 0);
    assert_int_equal(listing->count, 1);
    assert_string_equal(listing->name, "fleet");
}

/* A registry behind a proxy with this rule for its bulk connection; it is ready. */
static void open_behind(struct world *world, enum test_proxy_rule bulk)
{
    const enum test_proxy_rule rules[] = {[WRITE] = TEST_PROXY_PASS, [FEED] = TEST_PROXY_PASS, [BULK] = bulk};
    struct opening opening;
    world->proxy = test_proxy_start(world->base.server.port, rules, 3);
    assert_non_null(world->proxy);
    struct mst_redis_options options = {.host = "127.0.0.1", .port = test_proxy_port(world->proxy)};
    world->base.registry = open_with(&world->base.loop, &options, &opening);
    assert_int_equal(opening.status, 0);
}

static void the_namespaces_wait_for_the_connection_that_reads_them(void **state)
{
    struct world *world = *state;
    struct listing listing;
    open_behind(world, TEST_PROXY_HOLD);
    list_names(world, &listing);
    run_ms(&world->base.loop, 100);
    assert_false(listing.done);
    test_proxy_set(world->proxy, BULK, TEST_PROXY_PASS);
    expect_fleet(world, &listing);
    assert_int_equal(test_proxy_count(world->proxy), NEXT);
}

static void a_namespace_is_followed_when_the_connection_is_there(void **state)
{
    struct world *world = *state;
    struct follower follower = {.held = mst_map_create()};
    open_behind(world, TEST_PROXY_HOLD);
    follower.follow = (struct mst_registry_follow){.namespace_ = "fleet",
                                                   .put = on_follow_put,
                                                   .touched = on_follow_touched,
                                                   .removed = on_follow_removed,
                                                   .ready = on_follow_ready};
    world->base.registry->ops->follow(world->base.registry, &follower.follow);
    run_ms(&world->base.loop, 100);
    assert_false(follower.ready);
    test_proxy_set(world->proxy, BULK, TEST_PROXY_PASS);
    assert_true(run_for(&world->base.loop, &follower.ready, PATIENCE));
    assert_int_equal(follower.status, 0);
    assert_non_null(holds(&follower, "early"));
    close_registry(&world->base.loop, world->base.registry);
    world->base.registry = NULL;
    follower_free(&follower);
}

static void on_drop_done(struct mst_registry_drop *drop)
{
    *(bool *)drop->owner_context = true;
}

static void a_drop_waits_for_its_connection(void **state)
{
    struct world *world = *state;
    bool done = false;
    struct mst_registry_drop drop = {.namespace_ = "fleet", .status = 77, .done = on_drop_done, .owner_context = &done};
    open_behind(world, TEST_PROXY_HOLD);
    world->base.registry->ops->drop(world->base.registry, &drop);
    run_ms(&world->base.loop, 100);
    assert_false(done);
    test_proxy_set(world->proxy, BULK, TEST_PROXY_PASS);
    assert_true(run_for(&world->base.loop, &done, PATIENCE));
    assert_int_equal(drop.status, 0);
    assert_int_equal(redis_says(&world->base, "KEYS muster:{fleet}:*"), 0);
}

/* It is not waited for without end: once it has failed, who asks is told so, until it is back. */
static void a_connection_that_is_refused_is_told(void **state)
{
    struct world *world = *state;
    struct listing listing;
    open_behind(world, TEST_PROXY_REFUSE);
    for (unsigned i = NEXT; i < 64; i++)
        test_proxy_set(world->proxy, i, TEST_PROXY_REFUSE);
    list_names(world, &listing);
    assert_true(run_for(&world->base.loop, &listing.done, PATIENCE));
    assert_int_equal(listing.status, MST_EREDIS);
    assert_int_equal(listing.count, 0);
    assert_true(world->base.registry->ops->healthy(world->base.registry, NULL));
    for (unsigned i = NEXT; i < 64; i++)
        test_proxy_set(world->proxy, i, TEST_PROXY_PASS);
    for (int i = 0; i < 200 && listing.status != 0; i++) {
        run_ms(&world->base.loop, 25);
        list_names(world, &listing);
        assert_true(run_for(&world->base.loop, &listing.done, PATIENCE));
    }
    expect_fleet(world, &listing);
}

static int set_up_behind(void **state)
{
    struct world *world = calloc(1, sizeof *world);
    struct mst_registry_put put = put_of("early", "{}", 60000);
    *state = world;
    if (!test_redis_start(&world->base.server, NULL) || mst_loop_init(&world->base.loop, NULL) != 0)
        return -1;
    world->base.registry = open_registry(&world->base);
    int status = do_put(&world->base, &put);
    close_registry(&world->base.loop, world->base.registry);
    world->base.registry = NULL;
    return status;
}

static int tear_down_behind(void **state)
{
    struct world *world = *state;
    if (world->base.registry != NULL)
        close_registry(&world->base.loop, world->base.registry);
    world->base.registry = NULL;
    if (world->proxy != NULL)
        test_proxy_stop(world->proxy);
    mst_loop_deinit(&world->base.loop);
    test_server_stop(&world->base.server);
    free(world);
    return 0;
}

int main(void)
{
    setenv("UV_THREADPOOL_SIZE", "1", 1);
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up_behind, tear_down_behind)
    const struct CMUnitTest tests[] = {
        TEST(the_namespaces_wait_for_the_connection_that_reads_them),
        TEST(a_namespace_is_followed_when_the_connection_is_there),
        TEST(a_drop_waits_for_its_connection),
        TEST(a_connection_that_is_refused_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
