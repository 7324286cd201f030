// SPDX-License-Identifier: Apache-2.0
/* The Redis registry's operations, against a real server. */
#include "redis_fixture.h"

static void test_put_new_and_again(void **state)
{
    struct fixture *fixture = *state;
    struct mst_registry_put put = put_of("a", "{\"x\":1}", 60000);
    int64_t before = mst_clock_wall();
    assert_int_equal(do_put(fixture, &put), 0);
    assert_true(put.created);
    assert_true(put.metadata_changed);
    assert_int_equal(put.revision, 1);
    assert_in_range(put.registered_at, before - 5, mst_clock_wall() + 5);
    assert_int_equal(put.updated_at, put.registered_at);
    assert_int_equal(put.expires_at, put.registered_at + 60000);

    run_ms(&fixture->loop, 5);
    struct mst_registry_put renewal = put_of("a", "{\"x\":1}", 90000);
    assert_int_equal(do_put(fixture, &renewal), 0);
    assert_false(renewal.created);
    assert_false(renewal.metadata_changed);
    assert_int_equal(renewal.revision, 2);
    assert_int_equal(renewal.registered_at, put.registered_at);
    assert_int_equal(renewal.updated_at, put.updated_at);
    assert_true(renewal.expires_at >= put.registered_at + 90000 + 5);

    struct mst_registry_put change = put_of("a", "{\"x\":2}", 60000);
    assert_int_equal(do_put(fixture, &change), 0);
    assert_false(change.created);
    assert_true(change.metadata_changed);
    assert_int_equal(change.registered_at, put.registered_at);
    assert_true(change.updated_at > put.updated_at);
    assert_int_equal(change.revision, 3);

    struct mst_registry_put gateway = put_of("a", "{\"x\":2}", 60000);
    gateway.gateway = SPAN("gw1");
    assert_int_equal(do_put(fixture, &gateway), 0);
    assert_true(gateway.metadata_changed);
}

static void test_put_create(void **state)
{
    struct fixture *fixture = *state;
    struct mst_registry_put put = put_of("a", "{}", 60000);
    put.mode = MST_PUT_CREATE;
    assert_int_equal(do_put(fixture, &put), 0);
    assert_int_equal(do_put(fixture, &put), MST_EEXISTS);
    assert_string_equal(put.error.message, "identity a already registered");
    struct mst_registry_remove remove;
    assert_int_equal(do_remove(fixture, &remove, "a"), 0);
    assert_int_equal(do_put(fixture, &put), 0);
    assert_true(put.created);
}

static void test_put_owners(void **state)
{
    struct fixture *fixture = *state;
    struct mst_registry_put mine = put_of("a", "{}", 60000), theirs = put_of("a", "{}", 60000);
    mine.owner = SPAN("me");
    theirs.owner = SPAN("them");
    assert_int_equal(do_put(fixture, &mine), 0);
    assert_int_equal(do_put(fixture, &theirs), MST_EOWNER);
    assert_int_equal(do_put(fixture, &mine), 0);
    theirs.mode = MST_PUT_REPLACE;
    assert_int_equal(do_put(fixture, &theirs), 0);
    assert_false(theirs.created);
    assert_false(theirs.metadata_changed);
    assert_int_equal(theirs.registered_at, mine.registered_at);
    assert_int_equal(do_put(fixture, &mine), MST_EOWNER);
}

static void test_put_if_revision(void **state)
{
    struct fixture *fixture = *state;
    struct mst_registry_put put = put_of("a", "{}", 60000);
    put.has_if_revision = true;
    put.if_revision = 5;
    assert_int_equal(do_put(fixture, &put), MST_EREVISION);
    put.if_revision = 0;
    assert_int_equal(do_put(fixture, &put), 0);
    assert_int_equal(do_put(fixture, &put), MST_EREVISION);
    put.if_revision = put.revision;
    assert_int_equal(do_put(fixture, &put), 0);
    assert_int_equal(put.revision, 2);
}

static void test_an_endless_lease(void **state)
{
    struct fixture *fixture = *state;
    struct mst_registry_put put = put_of("a", "{}", 0);
    assert_int_equal(do_put(fixture, &put), 0);
    assert_int_equal(put.expires_at, 0);
    struct mst_span id = SPAN("a");
    struct mst_renewed result;
    struct mst_registry_renew renew = {.ids = &id, .count = 1, .lease_ms = -1, .results = &result};
    assert_int_equal(do_renew(fixture, &renew), 0);
    assert_true(result.renewed);
    assert_int_equal(result.expires_at, 0);
    assert_int_equal(result.lease_ms, 0);
}

static void test_a_past_deadline_is_not_tried(void **state)
{
    struct fixture *fixture = *state;
    struct mst_registry_put put = put_of("a", "{}", 60000);
    put.deadline = mst_clock_monotonic() - 1;
    assert_int_equal(do_put(fixture, &put), MST_EDEADLINE);
    assert_int_equal(redis_says(fixture, "EXISTS muster:{fleet}:h"), 0);
}

static void test_renew(void **state)
{
    struct fixture *fixture = *state;
    struct mst_registry_put a = put_of("a", "{}", 60000), b = put_of("b", "{}", 30000);
    assert_int_equal(do_put(fixture, &a), 0);
    assert_int_equal(do_put(fixture, &b), 0);
    struct mst_span ids[] = {SPAN("a"), SPAN("nobody"), SPAN("b")};
    struct mst_renewed results[3];
    struct mst_registry_renew renew = {.ids = ids, .count = 3, .lease_ms = -1, .results = results};
    run_ms(&fixture->loop, 5);
    assert_int_equal(do_renew(fixture, &renew), 0);
    assert_true(results[0].renewed);
    assert_false(results[1].renewed);
    assert_true(results[2].renewed);
    assert_int_equal(results[0].lease_ms, 60000);
    assert_int_equal(results[2].lease_ms, 30000);
    assert_true(results[0].expires_at >= a.expires_at + 5);
    assert_int_equal(results[0].revision, 3);
    assert_int_equal(results[2].revision, 4);
    assert_int_equal(renew.revision, 4);
    renew.lease_ms = 120000;
    assert_int_equal(do_renew(fixture, &renew), 0);
    assert_int_equal(results[2].lease_ms, 120000);
    assert_true(results[2].expires_at > b.expires_at + 80000);
    /* A renewal changes the revision. */
    a.has_if_revision = true;
    a.if_revision = a.revision;
    assert_int_equal(do_put(fixture, &a), MST_EREVISION);
    renew.count = 0;
    assert_int_equal(do_renew(fixture, &renew), 0);
}

static void test_renew_many_in_one_call(void **state)
{
    enum { COUNT = 1000 };
    struct fixture *fixture = *state;
    static char names[COUNT][16];
    static struct mst_span ids[COUNT];
    static struct mst_renewed results[COUNT];
    for (int i = 0; i < COUNT; i++) {
        snprintf(names[i], sizeof names[i], "n%d", i);
        ids[i] = SPAN(names[i]);
        struct mst_registry_put put = put_of(names[i], "{}", 60000);
        if (i % 2 == 0)
            assert_int_equal(do_put(fixture, &put), 0);
    }
    struct mst_registry_renew renew = {.ids = ids, .count = COUNT, .lease_ms = -1, .results = results};
    assert_int_equal(do_renew(fixture, &renew), 0);
    for (int i = 0; i < COUNT; i++)
        assert_int_equal(results[i].renewed, i % 2 == 0);
    assert_int_equal(renew.revision, COUNT);
}

static void test_remove(void **state)
{
    struct fixture *fixture = *state;
    struct mst_registry_put put = put_of("a", "{}", 60000);
    struct mst_registry_remove remove;
    assert_int_equal(do_remove(fixture, &remove, "a"), 0);
    assert_false(remove.removed);
    assert_int_equal(do_put(fixture, &put), 0);
    assert_int_equal(do_remove(fixture, &remove, "a"), 0);
    assert_true(remove.removed);
    assert_int_equal(remove.revision, 2);
    assert_int_equal(do_remove(fixture, &remove, "a"), 0);
    assert_false(remove.removed);
    assert_int_equal(redis_says(fixture, "HEXISTS muster:{fleet}:h a"), 0);
    assert_int_equal(do_put(fixture, &put), 0);
    assert_true(put.created);
}

static void test_an_expired_lease_is_not_there(void **state)
{
    struct fixture *fixture = *state;
    struct mst_registry_put put = put_of("a", "{}", 30);
    assert_int_equal(do_put(fixture, &put), 0);
    run_ms(&fixture->loop, 60);
    assert_true(fixture->registry->ops->now(fixture->registry) > put.expires_at);
    struct mst_span id = SPAN("a");
    struct mst_renewed result;
    struct mst_registry_renew renew = {.ids = &id, .count = 1, .lease_ms = -1, .results = &result};
    assert_int_equal(do_renew(fixture, &renew), 0);
    assert_false(result.renewed);
    struct mst_registry_remove remove;
    assert_int_equal(do_remove(fixture, &remove, "a"), 0);
    assert_false(remove.removed);
    struct mst_registry_put create = put_of("a", "{}", 60000);
    create.mode = MST_PUT_CREATE;
    assert_int_equal(do_put(fixture, &create), 0);
    assert_true(create.created);
    assert_true(create.registered_at > put.registered_at);
}

static void test_reap_only_what_is_due(void **state)
{
    struct fixture *fixture = *state;
    struct follower follower;
    follow_namespace(&fixture->loop, fixture->registry, &follower, "fleet");
    struct mst_registry_put due = put_of("due", "{}", 30), alive = put_of("alive", "{}", 60000);
    assert_int_equal(do_put(fixture, &due), 0);
    assert_int_equal(do_put(fixture, &alive), 0);
    struct mst_span ids[] = {SPAN("due"), SPAN("alive"), SPAN("nobody")};
    fixture->registry->ops->reap(fixture->registry, "fleet", ids, 3);
    run_ms(&fixture->loop, 60);
    assert_int_equal(follower.removes, 0);
    for (int i = 0; i < 3; i++)
        fixture->registry->ops->reap(fixture->registry, "fleet", ids, 3);
    assert_true(wait_count(&fixture->loop, &follower, 1));
    run_ms(&fixture->loop, 50);
    /* Three instances may reap the same lease; it ends once. */
    assert_int_equal(follower.removes, 1);
    assert_string_equal(follower.last_removed, "due");
    assert_int_equal(redis_says(fixture, "HLEN muster:{fleet}:h"), 1);
    assert_int_equal(redis_says(fixture, "HLEN muster:{fleet}:t"), 1);
    close_registry(&fixture->loop, fixture->registry);
    fixture->registry = NULL;
    follower_free(&follower);
}

struct bulk {
    struct mst_registry_put *puts;
    unsigned done, failed;
    bool finished;
    unsigned wanted;
};

static void on_bulk_put(struct mst_registry_put *put)
{
    struct bulk *bulk = put->owner_context;
    bulk->failed += put->status != 0;
    bulk->finished = ++bulk->done == bulk->wanted;
}

static void put_many(struct fixture *fixture, unsigned count, unsigned *failed)
{
    struct bulk bulk = {.puts = calloc(count, sizeof *bulk.puts), .wanted = count};
    char(*names)[16] = calloc(count, sizeof *names);
    for (unsigned i = 0; i < count; i++) {
        snprintf(names[i], sizeof names[i], "n%u", i);
        bulk.puts[i] = put_of(names[i], "{\"role\":\"x\"}", 60000);
        bulk.puts[i].done = on_bulk_put;
        bulk.puts[i].owner_context = &bulk;
        fixture->registry->ops->put(fixture->registry, &bulk.puts[i]);
    }
    assert_true(run_for(&fixture->loop, &bulk.finished, PATIENCE));
    *failed = bulk.failed;
    free(bulk.puts);
    free(names);
}

static void test_ten_thousand_puts_at_once(void **state)
{
    struct fixture *fixture = *state;
    unsigned failed;
    put_many(fixture, 10000, &failed);
    assert_int_equal(failed, 0);
    assert_int_equal(redis_says(fixture, "HLEN muster:{fleet}:h"), 10000);
    /* Group commit: far fewer feed entries than changes. */
    assert_in_range(redis_says(fixture, "XLEN muster:{fleet}:s"), 10000 / 128, 400);
    struct follower follower;
    follow_namespace(&fixture->loop, fixture->registry, &follower, "fleet");
    assert_int_equal(follower.puts, 10000);
    assert_int_equal(follower.ready_revision, 10000);
    close_registry(&fixture->loop, fixture->registry);
    fixture->registry = NULL;
    follower_free(&follower);
}

static void test_the_queue_is_bounded(void **state)
{
    struct fixture *fixture = *state;
    struct opening opening;
    struct mst_redis_options options = {.host = "127.0.0.1", .port = fixture->server.port, .queue_records = 100};
    close_registry(&fixture->loop, fixture->registry);
    fixture->registry = open_with(&fixture->loop, &options, &opening);
    assert_int_equal(opening.status, 0);
    unsigned failed;
    put_many(fixture, 150, &failed);
    assert_int_equal(failed, 50);
    put_many(fixture, 100, &failed);
    assert_int_equal(failed, 0);
}

static void on_drop_done(struct mst_registry_drop *drop)
{
    *(bool *)drop->owner_context = true;
}

struct listing {
    char names[200];
    bool done;
    int status;
};

static void note_name(void *context, const char *name)
{
    struct listing *listing = context;
    strcat(strcat(listing->names, name), " ");
}

static void on_listed(void *context, int status, const struct mst_error *error)
{
    struct listing *listing = context;
    (void)error;
    listing->done = true;
    listing->status = status;
}

static void test_namespaces_and_drop(void **state)
{
    struct fixture *fixture = *state;
    struct listing empty = {0}, two = {0}, one = {0};
    struct mst_registry_put a = put_of("a", "{}", 60000), b = put_of("b", "{}", 60000);
    struct follower follower;
    bool dropped = false;
    b.namespace_ = "other";
    const struct mst_registry_ops *ops = fixture->registry->ops;
    ops->namespaces(fixture->registry, note_name, on_listed, &empty);
    assert_false(empty.done);
    assert_true(run_for(&fixture->loop, &empty.done, PATIENCE));
    assert_string_equal(empty.names, "");
    assert_int_equal(do_put(fixture, &a), 0);
    assert_int_equal(do_put(fixture, &b), 0);
    ops->namespaces(fixture->registry, note_name, on_listed, &two);
    assert_true(run_for(&fixture->loop, &two.done, PATIENCE));
    assert_true(strcmp(two.names, "fleet other ") == 0 || strcmp(two.names, "other fleet ") == 0);

    follow_namespace(&fixture->loop, fixture->registry, &follower, "fleet");
    assert_int_equal(follower.puts, 1);
    struct mst_registry_drop drop = {.namespace_ = "fleet", .done = on_drop_done, .owner_context = &dropped};
    ops->drop(fixture->registry, &drop);
    assert_false(dropped);
    assert_true(run_for(&fixture->loop, &dropped, PATIENCE));
    assert_int_equal(drop.status, 0);
    assert_int_equal(follower.removes, 1);
    assert_int_equal(redis_says(fixture, "KEYS muster:{fleet}:*"), 0);
    ops->namespaces(fixture->registry, note_name, on_listed, &one);
    assert_true(run_for(&fixture->loop, &one.done, PATIENCE));
    assert_string_equal(one.names, "other ");

    /* It can be used again, also by those who followed it, with revisions that go on growing. */
    uint64_t before = a.revision;
    assert_int_equal(do_put(fixture, &a), 0);
    assert_true(a.created);
    assert_true(a.revision > before);
    assert_true(wait_count(&fixture->loop, &follower, 1));
    close_registry(&fixture->loop, fixture->registry);
    fixture->registry = NULL;
    follower_free(&follower);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_put_new_and_again, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_put_create, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_put_owners, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_put_if_revision, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_an_endless_lease, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_past_deadline_is_not_tried, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_renew, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_renew_many_in_one_call, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_remove, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_an_expired_lease_is_not_there, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_reap_only_what_is_due, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_ten_thousand_puts_at_once, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_the_queue_is_bounded, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_namespaces_and_drop, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
