// SPDX-License-Identifier: Apache-2.0
/* A Redis that says nothing, and one that is gone: each way to it ends with the same code, and what is sure is said. */
#include "io/redis_sweep.h"
#include "redis_fixture.h"

#define UNSURE "it may have been carried out"

static void wait_unhealthy(struct fixture *fixture)
{
    for (int i = 0; i < 10000 && fixture->registry->ops->healthy(fixture->registry, NULL); i++)
        run_ms(&fixture->loop, 1);
    assert_false(fixture->registry->ops->healthy(fixture->registry, NULL));
}

static void expect_put(struct fixture *fixture, const char *namespace_, int status, bool unsure)
{
    struct mst_registry_put put = put_of("a", "{}", 60000);
    put.namespace_ = namespace_;
    put.deadline = in_ms(100);
    assert_int_equal(do_put(fixture, &put), status);
    assert_non_null(strstr(put.error.message, fixture->server.address));
    if ((strstr(put.error.message, UNSURE) != NULL) != unsure)
        fail_msg("%s", put.error.message);
}

struct listing {
    bool done;
    int status;
    char message[400];
};

static void ignore_name(void *context, const char *name)
{
    (void)context;
    (void)name;
}

static void on_names(void *context, int status, const struct mst_error *error)
{
    struct listing *listing = context;
    listing->done = true;
    listing->status = status;
    snprintf(listing->message, sizeof listing->message, "%s", error != NULL ? error->message : "");
}

static void start_listing(struct fixture *fixture, struct listing *listing)
{
    *listing = (struct listing){0};
    fixture->registry->ops->namespaces(fixture->registry, ignore_name, on_names, listing);
}

static void expect_listing(struct fixture *fixture, struct listing *listing, int status)
{
    assert_true(run_for(&fixture->loop, &listing->done, PATIENCE));
    if (listing->status != status)
        fail_msg("%d %s", listing->status, listing->message);
}

static void on_drop_done(struct mst_registry_drop *drop)
{
    *(bool *)drop->owner_context = true;
}

static void silence_is_a_passed_deadline_on_every_way(void **state)
{
    struct fixture *fixture = *state;
    struct mst_error why;
    struct listing listing;
    bool dropped = false;
    struct mst_registry_put first = put_of("a", "{}", 60000);
    struct mst_registry_drop drop = {.namespace_ = "fleet", .done = on_drop_done, .owner_context = &dropped};
    assert_int_equal(do_put(fixture, &first), 0);
    run_ms(&fixture->loop, 50);
    test_server_pause(&fixture->server);
    expect_put(fixture, "fleet", MST_EDEADLINE, true);
    expect_put(fixture, "unheard-of", MST_EDEADLINE, false); /* it would have to be attached to first */
    start_listing(fixture, &listing);
    fixture->registry->ops->drop(fixture->registry, &drop);
    expect_listing(fixture, &listing, MST_EDEADLINE);
    assert_true(run_for(&fixture->loop, &dropped, PATIENCE));
    assert_int_equal(drop.status, MST_EDEADLINE);
    assert_non_null(strstr(drop.error.message, UNSURE));
    /* The connection has been given up, and the next ones find nobody who answers. */
    wait_unhealthy(fixture);
    for (int i = 0; i < 3; i++) {
        assert_false(fixture->registry->ops->healthy(fixture->registry, &why));
        assert_int_equal(why.code, MST_EDEADLINE);
        expect_put(fixture, "fleet", MST_EDEADLINE, false);
        expect_put(fixture, "unheard-of", MST_EDEADLINE, false);
        start_listing(fixture, &listing);
        expect_listing(fixture, &listing, MST_EDEADLINE);
        run_ms(&fixture->loop, 1200);
    }
    test_server_resume(&fixture->server);
}

static void one_that_is_gone_is_not_reachable_on_any_way(void **state)
{
    struct fixture *fixture = *state;
    struct listing listing;
    struct mst_registry_put first = put_of("a", "{}", 60000), second = put_of("b", "{}", 60000);
    bool done = false;
    assert_int_equal(do_put(fixture, &first), 0);
    run_ms(&fixture->loop, 50);
    test_server_pause(&fixture->server);
    second.owner_context = &done;
    second.deadline = in_ms(800);
    fixture->registry->ops->put(fixture->registry, &second);
    run_ms(&fixture->loop, 50);
    test_server_kill(&fixture->server);
    assert_true(run_for(&fixture->loop, &done, PATIENCE));
    assert_int_equal(second.status, MST_EREDIS); /* sent, and then the connection broke */
    assert_non_null(strstr(second.error.message, UNSURE));
    expect_put(fixture, "fleet", MST_EREDIS, false);
    expect_put(fixture, "unheard-of", MST_EREDIS, false);
    start_listing(fixture, &listing);
    expect_listing(fixture, &listing, MST_EREDIS);
}

static void what_is_in_flight_at_the_end_may_have_been_carried_out(void **state)
{
    struct fixture *fixture = *state;
    struct mst_registry_put first = put_of("a", "{}", 60000), sent = put_of("b", "{}", 60000),
                            waiting = put_of("c", "{}", 60000);
    bool sent_done = false, waiting_done = false;
    assert_int_equal(do_put(fixture, &first), 0);
    test_server_pause(&fixture->server);
    sent.owner_context = &sent_done;
    waiting.owner_context = &waiting_done;
    waiting.namespace_ = "unheard-of";
    fixture->registry->ops->put(fixture->registry, &sent);
    run_ms(&fixture->loop, 20);
    fixture->registry->ops->put(fixture->registry, &waiting);
    close_registry(&fixture->loop, fixture->registry);
    fixture->registry = NULL;
    assert_true(sent_done && waiting_done);
    assert_int_equal(sent.status, MST_ECLOSED);
    assert_non_null(strstr(sent.error.message, UNSURE));
    assert_int_equal(waiting.status, MST_ECLOSED);
    assert_null(strstr(waiting.error.message, UNSURE));
    test_server_resume(&fixture->server);
}

/* At the start the word is that there is no Redis, in whatever way. */
static void a_silent_server_is_not_reachable_at_the_start(void **state)
{
    struct fixture *fixture = *state;
    struct opening opening;
    struct mst_redis_options options = {.host = "127.0.0.1", .port = fixture->server.port};
    options.connect_timeout = 200 * MST_NS_PER_MS;
    test_server_pause(&fixture->server);
    struct mst_registry *registry = open_with(&fixture->loop, &options, &opening);
    assert_int_equal(opening.status, MST_EREDIS);
    assert_non_null(strstr(opening.error.message, "no answer in time"));
    close_registry(&fixture->loop, registry);
    test_server_resume(&fixture->server);
}

/* ---- namespaces that end with their process, and those that were left ---- */

static void a_namespace_that_is_not_renewed_goes_by_itself(void **state)
{
    struct fixture *fixture = *state;
    struct mst_registry_put put = put_of("a", "{}", 0), other = put_of("b", "{}", 0);
    other.namespace_ = "stays";
    mst_redis_registry_expire(fixture->registry, "fleet", 2);
    assert_int_equal(do_put(fixture, &put), 0);
    assert_int_equal(do_put(fixture, &other), 0);
    run_ms(&fixture->loop, 3500);
    assert_int_equal(redis_says(fixture, "KEYS muster:{fleet}:*"), 4);
    assert_in_range(redis_says(fixture, "PTTL muster:{fleet}:s"), 1, 2000);
    close_registry(&fixture->loop, fixture->registry);
    fixture->registry = NULL;
    run_ms(&fixture->loop, 2300);
    assert_int_equal(redis_says(fixture, "KEYS muster:{fleet}:*"), 0);
    assert_int_equal(redis_says(fixture, "PTTL muster:{stays}:s"), -1);
}

struct finding {
    unsigned count;
    struct mst_redis_found last;
};

static void on_found(void *context, const struct mst_redis_found *found)
{
    struct finding *finding = context;
    finding->count++;
    finding->last = *found;
}

static void what_was_left_is_found_and_removed(void **state)
{
    struct fixture *fixture = *state;
    struct mst_redis_options options = {.host = "127.0.0.1", .port = fixture->server.port};
    struct mst_registry_put put = put_of("a", "{}", 0), mine = put_of("b", "{}", 0);
    struct finding finding = {0};
    struct mst_error error;
    const char *name = "lt-left";
    uint64_t keys = 0;
    put.namespace_ = name;
    assert_int_equal(do_put(fixture, &put), 0);
    assert_int_equal(do_put(fixture, &mine), 0);
    close_registry(&fixture->loop, fixture->registry);
    fixture->registry = NULL;
    assert_int_equal(mst_redis_find(&options, "lt-", on_found, &finding, &error), 0);
    assert_int_equal(finding.count, 1);
    assert_string_equal(finding.last.name, name);
    assert_int_equal(finding.last.identities, 1);
    assert_int_equal(finding.last.keys, 4);
    assert_int_equal(finding.last.ends_in_ms, -1);
    assert_int_equal(mst_redis_remove(&options, &name, 1, 0, &keys, &error), 0);
    assert_int_equal(keys, 4);
    assert_int_equal(redis_says(fixture, "KEYS muster:{lt-*"), 0);
    assert_int_equal(redis_says(fixture, "SMEMBERS muster:namespaces"), 1);
    assert_int_equal(redis_says(fixture, "KEYS muster:{fleet}:*"), 4);
    /* Without its name in the set, by its keys; and the name without keys. */
    redis_says(fixture, "HSET muster:{lt-keys}:m rev 1");
    redis_says(fixture, "SADD muster:namespaces lt-name");
    redis_says(fixture, "SET muster:{lt-other}:x 1");
    finding.count = 0;
    assert_int_equal(mst_redis_find(&options, "lt-", on_found, &finding, &error), 0);
    assert_int_equal(finding.count, 2);
}

static void a_removal_waits_for_a_server_to_come_back(void **state)
{
    struct fixture *fixture = *state;
    struct mst_redis_options options = {.host = "127.0.0.1", .port = fixture->server.port};
    const char *name = "fleet";
    struct mst_error error;
    uint64_t before = mst_clock_monotonic();
    close_registry(&fixture->loop, fixture->registry);
    fixture->registry = NULL;
    test_server_kill(&fixture->server);
    assert_int_equal(mst_redis_remove(&options, &name, 1, 0, NULL, &error), MST_EREDIS);
    assert_true(mst_clock_monotonic() - before < MST_NS_PER_SECOND);
    assert_non_null(strstr(error.message, "Connection refused"));
    before = mst_clock_monotonic();
    assert_int_equal(mst_redis_remove(&options, &name, 1, 500 * MST_NS_PER_MS, NULL, &error), MST_EREDIS);
    assert_true(mst_clock_monotonic() - before >= 500 * MST_NS_PER_MS);
    assert_true(test_server_restart(&fixture->server));
    assert_int_equal(mst_redis_remove(&options, &name, 1, 0, NULL, &error), 0);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(silence_is_a_passed_deadline_on_every_way),
        TEST(one_that_is_gone_is_not_reachable_on_any_way),
        TEST(what_is_in_flight_at_the_end_may_have_been_carried_out),
        TEST(a_silent_server_is_not_reachable_at_the_start),
        TEST(a_namespace_that_is_not_renewed_goes_by_itself),
        TEST(what_was_left_is_found_and_removed),
        TEST(a_removal_waits_for_a_server_to_come_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
