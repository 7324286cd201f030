// SPDX-License-Identifier: Apache-2.0
/* The Redis registry when things go wrong: the server, the connection, the data. */
#include "redis_fixture.h"

static const char *const DURABLE[] = {"--appendonly", "yes", "--appendfsync", "always", NULL};

static struct mst_registry *open_port(struct mst_loop *loop, int port, struct opening *opening)
{
    struct mst_redis_options options = {.host = "127.0.0.1", .port = port};
    return open_with(loop, &options, opening);
}

static void test_nobody_listens(void **state)
{
    (void)state;
    struct mst_loop loop;
    struct opening opening;
    char wanted[100];
    assert_int_equal(mst_loop_init(&loop, NULL), 0);
    int port = test_free_port();
    uint64_t start = mst_clock_monotonic();
    struct mst_registry *registry = open_port(&loop, port, &opening);
    assert_true(mst_clock_monotonic() - start < MST_NS_PER_SECOND);
    snprintf(wanted, sizeof wanted, "Redis at 127.0.0.1:%d: cannot connect: Connection refused", port);
    assert_int_equal(opening.status, MST_EREDIS);
    assert_string_equal(opening.error.message, wanted);
    assert_false(registry->ops->healthy(registry, NULL));
    close_registry(&loop, registry);
    mst_loop_deinit(&loop);
}

static void test_a_name_that_does_not_resolve(void **state)
{
    (void)state;
    struct mst_loop loop;
    struct opening opening;
    struct mst_redis_options options = {.host = "no-such-host.invalid", .port = 1};
    assert_int_equal(mst_loop_init(&loop, NULL), 0);
    struct mst_registry *registry = open_with(&loop, &options, &opening);
    assert_int_equal(opening.status, MST_EREDIS);
    assert_non_null(strstr(opening.error.message, "no-such-host.invalid:1"));
    close_registry(&loop, registry);
    mst_loop_deinit(&loop);
}

/* Opens and closes at every point of time near the beginning. */
static void test_close_while_opening(void **state)
{
    struct fixture *fixture = *state;
    for (unsigned turns = 0; turns < 40; turns++) {
        struct opening opening = {0};
        struct mst_redis_options options = {.host = "localhost", .port = fixture->server.port};
        struct mst_registry *registry = mst_redis_registry_open(&fixture->loop, NULL, &options, on_open, &opening);
        for (unsigned i = 0; i < turns; i++)
            uv_run(fixture->loop.uv, UV_RUN_NOWAIT);
        close_registry(&fixture->loop, registry);
        assert_true(opening.done);
    }
}

static void open_on(const char *const *server_options, const struct mst_redis_options *options, int status,
                    const char *part)
{
    struct test_server server;
    struct mst_loop loop;
    struct opening opening;
    struct mst_redis_options own = *options;
    assert_true(test_redis_start(&server, server_options));
    assert_int_equal(mst_loop_init(&loop, NULL), 0);
    own.host = "127.0.0.1";
    own.port = server.port;
    struct mst_registry *registry = open_with(&loop, &own, &opening);
    assert_int_equal(opening.status, status);
    if (part != NULL && strstr(opening.error.message, part) == NULL)
        fail_msg("no \"%s\" in \"%s\"", part, opening.error.message);
    assert_int_equal(registry->ops->healthy(registry, NULL), status == 0);
    close_registry(&loop, registry);
    mst_loop_deinit(&loop);
    test_server_stop(&server);
}

static void test_an_evicting_server_is_refused(void **state)
{
    (void)state;
    struct mst_redis_options plain = {0};
    open_on((const char *const[]){"--maxmemory-policy", "allkeys-lru", NULL}, &plain, MST_ECONFIG,
            "maxmemory-policy is allkeys-lru");
}

static void test_databases_and_users(void **state)
{
    (void)state;
    struct mst_redis_options plain = {0}, far = {.database = 99}, near = {.database = 3};
    struct mst_redis_options right = {.user = "default", .password = "secret"}, wrong = {.password = "bad"};
    static const char *const guarded[] = {"--requirepass", "secret", NULL};
    open_on(NULL, &near, 0, NULL);
    open_on(NULL, &far, MST_EREDIS, "DB index is out of range");
    open_on(guarded, &plain, MST_EREDIS, "NOAUTH");
    open_on(guarded, &wrong, MST_EREDIS, "WRONGPASS");
    open_on(guarded, &right, 0, NULL);
}

static void test_a_unix_socket(void **state)
{
    struct fixture *fixture = *state;
    struct opening opening;
    char path[120];
    snprintf(path, sizeof path, "%s/socket", fixture->server.dir);
    struct mst_redis_options options = {.host = path};
    struct mst_registry *registry = open_with(&fixture->loop, &options, &opening);
    assert_int_equal(opening.status, 0);
    close_registry(&fixture->loop, registry);
}

static int set_up_socket(void **state)
{
    struct fixture *fixture = calloc(1, sizeof *fixture);
    *state = fixture;
    /* A relative path: the server's directory is its working directory. */
    if (!test_redis_start(&fixture->server, (const char *const[]){"--unixsocket", "socket", NULL}))
        return -1;
    return mst_loop_init(&fixture->loop, NULL);
}

static int set_up_bare(void **state)
{
    struct fixture *fixture = calloc(1, sizeof *fixture);
    *state = fixture;
    return test_redis_start(&fixture->server, NULL) ? mst_loop_init(&fixture->loop, NULL) : -1;
}

static void wait_healthy(struct fixture *fixture, bool healthy)
{
    for (int i = 0; i < 10000 && fixture->registry->ops->healthy(fixture->registry, NULL) != healthy; i++)
        run_ms(&fixture->loop, 1);
    assert_int_equal(fixture->registry->ops->healthy(fixture->registry, NULL), healthy);
}

static void done_with(struct fixture *fixture, struct follower *follower)
{
    close_registry(&fixture->loop, fixture->registry);
    fixture->registry = NULL;
    follower_free(follower);
}

static void test_acknowledged_registrations_survive_a_restart(void **state)
{
    enum { COUNT = 200 };
    struct fixture *fixture = *state;
    struct follower follower, fresh;
    static struct mst_registry_put puts[COUNT];
    static char names[COUNT][16];
    follow_namespace(&fixture->loop, fixture->registry, &follower, "fleet");
    for (int i = 0; i < COUNT; i++) {
        snprintf(names[i], sizeof names[i], "n%d", i);
        puts[i] = put_of(names[i], "{\"a\":[1,2]}", 60000 + i);
        puts[i].owner = SPAN("o");
        puts[i].gateway = SPAN("gw");
        assert_int_equal(do_put(fixture, &puts[i]), 0);
    }
    assert_true(wait_count(&fixture->loop, &follower, COUNT));
    test_server_kill(&fixture->server);
    wait_healthy(fixture, false);
    assert_true(test_server_restart(&fixture->server));
    wait_healthy(fixture, true);
    follow_namespace(&fixture->loop, fixture->registry, &fresh, "fleet");
    assert_int_equal(mst_map_count(fresh.held), COUNT);
    for (int i = 0; i < COUNT; i++) {
        struct held *held = holds(&fresh, names[i]);
        assert_non_null(held);
        assert_string_equal(held->metadata, "{\"a\":[1,2]}");
        assert_string_equal(held->owner, "o");
        assert_string_equal(held->gateway, "gw");
        assert_int_equal(held->expires_at, puts[i].expires_at);
        assert_int_equal(held->registered_at, puts[i].registered_at);
        assert_int_equal(held->lease_ms, puts[i].lease_ms);
        assert_int_equal(held->revision, puts[i].revision);
    }
    /* The old follower goes on without a new snapshot: nothing was lost. */
    unsigned before = follower.puts;
    struct mst_registry_put more = put_of("more", "{}", 60000);
    assert_int_equal(do_put(fixture, &more), 0);
    assert_true(more.revision > puts[COUNT - 1].revision);
    assert_true(wait_count(&fixture->loop, &follower, COUNT + 1));
    assert_int_equal(follower.puts, before + 1);
    assert_int_equal(follower.removes, 0);
    assert_int_equal(follower.readies, 1);
    done_with(fixture, &follower);
    follower_free(&fresh);
}

static void test_a_put_during_an_outage(void **state)
{
    struct fixture *fixture = *state;
    struct mst_registry_put early = put_of("early", "{}", 60000), late = put_of("late", "{}", 60000);
    test_server_kill(&fixture->server);
    wait_healthy(fixture, false);
    uint64_t start = mst_clock_monotonic();
    early.deadline = in_ms(150);
    assert_int_equal(do_put(fixture, &early), MST_EREDIS);
    assert_in_range(mst_clock_monotonic() - start, 140 * MST_NS_PER_MS, 400 * MST_NS_PER_MS);
    assert_non_null(strstr(early.error.message, fixture->server.address));
    assert_string_equal(mst_error_class(early.status), "connection");
    /* One that may wait long enough is registered as soon as the server is back. */
    bool done = false;
    late.owner_context = &done;
    fixture->registry->ops->put(fixture->registry, &late);
    run_ms(&fixture->loop, 50);
    assert_false(done);
    assert_true(test_server_restart(&fixture->server));
    assert_true(run_for(&fixture->loop, &done, PATIENCE));
    assert_int_equal(late.status, 0);
    assert_true(late.created);
    assert_int_equal(redis_says(fixture, "HEXISTS muster:{fleet}:h early"), 0);
}

static void test_a_server_that_does_not_answer(void **state)
{
    struct fixture *fixture = *state;
    struct mst_registry_put put = put_of("a", "{}", 60000);
    assert_int_equal(do_put(fixture, &put), 0);
    test_server_pause(&fixture->server);
    put.deadline = in_ms(100);
    assert_int_equal(do_put(fixture, &put), MST_EDEADLINE);
    /* The watchdog gives the connection up, and the next one times out as well. */
    wait_healthy(fixture, false);
    test_server_resume(&fixture->server);
    wait_healthy(fixture, true);
    put.deadline = in_ms(5000);
    assert_int_equal(do_put(fixture, &put), 0);
}

static void test_close_with_operations_in_flight(void **state)
{
    struct fixture *fixture = *state;
    bool put_done = false, renew_done = false, remove_done = false, queued_done = false, closed = false;
    struct mst_registry_put put = put_of("a", "{}", 60000), queued = put_of("b", "{}", 60000);
    struct mst_registry_remove remove = {.namespace_ = "fleet", .id = SPAN("a"), .deadline = in_ms(10000)};
    struct mst_span id = SPAN("a");
    struct mst_renewed result;
    struct mst_registry_renew renew = {.namespace_ = "fleet", .ids = &id, .count = 1, .results = &result};
    renew.deadline = in_ms(10000);
    assert_int_equal(do_put(fixture, &put), 0);
    test_server_pause(&fixture->server);
    put.owner_context = &put_done;
    queued.owner_context = &queued_done;
    queued.namespace_ = "another"; /* still to be attached */
    renew.done = on_renew_done;
    renew.owner_context = &renew_done;
    remove.done = on_remove_done;
    remove.owner_context = &remove_done;
    const struct mst_registry_ops *ops = fixture->registry->ops;
    ops->put(fixture->registry, &put);
    run_ms(&fixture->loop, 5);
    ops->renew(fixture->registry, &renew);
    run_ms(&fixture->loop, 5);
    ops->remove(fixture->registry, &remove);
    ops->put(fixture->registry, &queued);
    ops->close(fixture->registry, set_flag, &closed);
    assert_false(put_done || renew_done || remove_done || queued_done);
    assert_true(run_for(&fixture->loop, &closed, PATIENCE));
    assert_true(put_done && renew_done && remove_done && queued_done);
    assert_int_equal(put.status, MST_ECLOSED);
    assert_int_equal(renew.status, MST_ECLOSED);
    assert_int_equal(remove.status, MST_ECLOSED);
    assert_int_equal(queued.status, MST_ECLOSED);
    fixture->registry = NULL;
    test_server_resume(&fixture->server);
}

static void test_two_instances_see_each_other(void **state)
{
    struct fixture *fixture = *state;
    struct mst_registry *first = fixture->registry, *second = open_registry(fixture);
    struct follower one, two;
    struct mst_registry_put a = put_of("a", "{\"n\":1}", 60000), b = put_of("b", "{\"n\":2}", 60000);
    follow_namespace(&fixture->loop, first, &one, "fleet");
    follow_namespace(&fixture->loop, second, &two, "fleet");
    assert_int_equal(do_put(fixture, &a), 0);
    fixture->registry = second;
    assert_int_equal(do_put(fixture, &b), 0);
    assert_int_equal(b.revision, 2);
    assert_true(wait_count(&fixture->loop, &one, 2));
    assert_true(wait_count(&fixture->loop, &two, 2));
    struct mst_registry_put change = put_of("a", "{\"n\":3}", 60000);
    assert_int_equal(do_put(fixture, &change), 0);
    struct mst_span id = SPAN("b");
    struct mst_renewed result;
    struct mst_registry_renew renew = {.ids = &id, .count = 1, .lease_ms = 99000, .results = &result};
    assert_int_equal(do_renew(fixture, &renew), 0);
    assert_true(wait_unsigned(&fixture->loop, &one.touches, 1));
    assert_true(wait_unsigned(&fixture->loop, &two.touches, 1));
    assert_string_equal(holds(&one, "a")->metadata, "{\"n\":3}");
    assert_int_equal(holds(&one, "b")->expires_at, result.expires_at);
    assert_int_equal(holds(&one, "b")->lease_ms, 99000);
    assert_int_equal(holds(&one, "b")->revision, 4);
    struct mst_registry_remove remove;
    assert_int_equal(do_remove(fixture, &remove, "a"), 0);
    assert_true(wait_count(&fixture->loop, &one, 1));
    assert_true(wait_count(&fixture->loop, &two, 1));
    assert_int_equal(one.last_revision, 5);
    close_registry(&fixture->loop, second);
    fixture->registry = first;
    done_with(fixture, &one);
    follower_free(&two);
}

static void test_a_gap_in_the_feed_is_seen(void **state)
{
    struct fixture *fixture = *state;
    struct follower follower;
    struct mst_registry_put a = put_of("a", "{}", 60000), b = put_of("b", "{}", 60000);
    follow_namespace(&fixture->loop, fixture->registry, &follower, "fleet");
    assert_int_equal(do_put(fixture, &a), 0);
    assert_true(wait_count(&fixture->loop, &follower, 1));
    /* Both in one step, so that the follower cannot read what is cut off. */
    redis_says(fixture, "EVAL %s 0",
               "redis.call('HDEL', 'muster:{fleet}:t', 'a') redis.call('HDEL', 'muster:{fleet}:h', 'a')"
               "redis.call('HINCRBY', 'muster:{fleet}:m', 'rev', 1)"
               "local id = redis.call('XADD', 'muster:{fleet}:s', redis.call('HGET', 'muster:{fleet}:m', 'epoch') .. "
               "'-*', 'd', '')"
               "redis.call('XDEL', 'muster:{fleet}:s', id) return 1");
    assert_int_equal(do_put(fixture, &b), 0);
    assert_true(wait_unsigned(&fixture->loop, &follower.removes, 1));
    assert_true(wait_count(&fixture->loop, &follower, 1));
    assert_non_null(holds(&follower, "b"));
    assert_string_equal(follower.last_removed, "a");
    assert_int_equal(follower.readies, 1);
    done_with(fixture, &follower);
}

static void test_an_emptied_server(void **state)
{
    struct fixture *fixture = *state;
    struct follower follower;
    struct mst_registry_put a = put_of("a", "{}", 60000), b = put_of("b", "{}", 60000), c = put_of("c", "{}", 60000);
    struct mst_registry *own = fixture->registry;
    fixture->registry = open_registry(fixture);
    assert_int_equal(do_put(fixture, &a), 0);
    close_registry(&fixture->loop, fixture->registry);
    fixture->registry = own;
    follow_namespace(&fixture->loop, fixture->registry, &follower, "fleet");
    assert_int_equal(follower.puts, 1);
    redis_says(fixture, "FLUSHALL");
    /* Nobody writes; the follower notices by itself. */
    assert_true(wait_count(&fixture->loop, &follower, 0));
    assert_int_equal(follower.removes, 1);
    assert_int_equal(do_put(fixture, &b), 0);
    assert_true(b.revision > a.revision);
    assert_true(wait_count(&fixture->loop, &follower, 1));
    redis_says(fixture, "FLUSHALL");
    assert_int_equal(do_put(fixture, &c), 0);
    assert_true(c.created);
    assert_true(c.revision > b.revision);
    /* What this instance had acknowledged a moment ago comes back with it. */
    assert_true(wait_count(&fixture->loop, &follower, 2));
    assert_non_null(holds(&follower, "b"));
    assert_non_null(holds(&follower, "c"));
    assert_int_equal(holds(&follower, "b")->expires_at, b.expires_at);
    assert_int_equal(redis_says(fixture, "HLEN muster:{fleet}:h"), 2);
    done_with(fixture, &follower);
}

static void test_functions_are_loaded_again(void **state)
{
    struct fixture *fixture = *state;
    struct mst_registry_put put = put_of("a", "{}", 60000);
    assert_int_equal(do_put(fixture, &put), 0);
    redis_says(fixture, "FUNCTION FLUSH");
    assert_int_equal(do_put(fixture, &put), 0);
    assert_false(put.created);
    assert_int_equal(redis_says(fixture, "FUNCTION LIST LIBRARYNAME muster_v1"), 1);
}

static void test_a_corrected_server_is_used_again(void **state)
{
    struct fixture *fixture = *state;
    struct mst_error why;
    redis_says(fixture, "CONFIG SET maxmemory-policy allkeys-lru");
    redis_says(fixture, "CLIENT KILL TYPE normal SKIPME yes");
    wait_healthy(fixture, false);
    for (int i = 0; i < 3000 && (fixture->registry->ops->healthy(fixture->registry, &why), why.code != MST_ECONFIG);
         i++)
        run_ms(&fixture->loop, 1);
    assert_int_equal(why.code, MST_ECONFIG);
    redis_says(fixture, "CONFIG SET maxmemory-policy noeviction");
    wait_healthy(fixture, true);
}

static void test_killed_connections_heal(void **state)
{
    struct fixture *fixture = *state;
    struct follower follower;
    follow_namespace(&fixture->loop, fixture->registry, &follower, "fleet");
    for (int i = 0; i < 20; i++) {
        char name[16];
        snprintf(name, sizeof name, "n%d", i);
        struct mst_registry_put put = put_of(name, "{}", 60000);
        bool done = false;
        put.owner_context = &done;
        fixture->registry->ops->put(fixture->registry, &put);
        if (i % 3 == 0)
            redis_says(fixture, "CLIENT KILL TYPE normal SKIPME yes");
        assert_true(run_for(&fixture->loop, &done, PATIENCE));
        assert_int_equal(put.status, 0);
        assert_true(put.created);
    }
    assert_true(wait_count(&fixture->loop, &follower, 20));
    assert_int_equal(follower.removes, 0);
    done_with(fixture, &follower);
}

static void test_a_full_server_refuses_registrations_only(void **state)
{
    struct fixture *fixture = *state;
    struct mst_registry_put a = put_of("a", "{}", 60000), b = put_of("b", "{}", 60000);
    struct mst_registry_remove remove = {.namespace_ = "fleet", .id = SPAN("a"), .deadline = in_ms(5000)};
    struct mst_span id = SPAN("a");
    struct mst_renewed result;
    bool put_done = false, remove_done = false;
    assert_int_equal(do_put(fixture, &a), 0);
    redis_says(fixture, "CONFIG SET maxmemory 1");
    struct mst_registry_renew renew = {.ids = &id, .count = 1, .lease_ms = -1, .results = &result};
    assert_int_equal(do_renew(fixture, &renew), 0);
    assert_true(result.renewed);
    /* In one batch. */
    b.owner_context = &put_done;
    remove.done = on_remove_done;
    remove.owner_context = &remove_done;
    fixture->registry->ops->put(fixture->registry, &b);
    fixture->registry->ops->remove(fixture->registry, &remove);
    assert_true(run_for(&fixture->loop, &put_done, PATIENCE));
    assert_true(run_for(&fixture->loop, &remove_done, PATIENCE));
    assert_int_equal(b.status, MST_EREDIS);
    assert_non_null(strstr(b.error.message, "OOM"));
    assert_int_equal(remove.status, 0);
    assert_true(remove.removed);
    redis_says(fixture, "CONFIG SET maxmemory 0");
    assert_int_equal(do_put(fixture, &b), 0);
}

/* A server that comes back without its last moments hears them again from the one who had them acknowledged. */
static void test_a_lost_tail_is_offered_again(void **state)
{
    struct fixture *fixture = *state;
    struct follower follower;
    struct mst_registry_put a = put_of("a", "{\"n\":1}", 60000), b = put_of("b", "{\"n\":2}", 60000),
                            c = put_of("c", "{}", 60000);
    struct mst_registry_remove remove;
    b.owner = SPAN("me");
    assert_int_equal(do_put(fixture, &c), 0);
    /* What a restart without any persistence comes back with: nothing. */
    follow_namespace(&fixture->loop, fixture->registry, &follower, "fleet");
    assert_int_equal(do_put(fixture, &a), 0);
    assert_int_equal(do_put(fixture, &b), 0);
    assert_int_equal(do_remove(fixture, &remove, "c"), 0);
    assert_true(wait_count(&fixture->loop, &follower, 2));
    assert_true(test_server_restart(&fixture->server));
    wait_healthy(fixture, false);
    wait_healthy(fixture, true);
    for (int i = 0; i < 3000 && redis_says(fixture, "HLEN muster:{fleet}:h") != 2; i++)
        run_ms(&fixture->loop, 1);
    assert_int_equal(redis_says(fixture, "HEXISTS muster:{fleet}:h a"), 1);
    assert_int_equal(redis_says(fixture, "HEXISTS muster:{fleet}:h b"), 1);
    assert_int_equal(redis_says(fixture, "HEXISTS muster:{fleet}:h c"), 0);
    struct mst_registry_put again = put_of("b", "{\"n\":2}", 60000);
    assert_int_equal(do_put(fixture, &again), MST_EOWNER);
    again.owner = SPAN("me");
    assert_int_equal(do_put(fixture, &again), 0);
    assert_false(again.created);
    assert_false(again.metadata_changed);
    assert_int_equal(again.registered_at, b.registered_at);
    assert_true(again.revision > b.revision);
    for (int i = 0; i < 3000 && (holds(&follower, "b") == NULL || holds(&follower, "b")->revision != again.revision);
         i++)
        run_ms(&fixture->loop, 1);
    assert_int_equal(mst_map_count(follower.held), 2);
    assert_int_equal(holds(&follower, "b")->revision, again.revision);
    assert_int_equal(holds(&follower, "a")->expires_at, a.expires_at);
    done_with(fixture, &follower);
}

static int set_up_restartable(void **state)
{
    return set_up_with(state, DURABLE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nobody_listens),
        cmocka_unit_test(test_a_name_that_does_not_resolve),
        cmocka_unit_test_setup_teardown(test_close_while_opening, set_up_bare, tear_down),
        cmocka_unit_test(test_an_evicting_server_is_refused),
        cmocka_unit_test(test_databases_and_users),
        cmocka_unit_test_setup_teardown(test_a_unix_socket, set_up_socket, tear_down),
        cmocka_unit_test_setup_teardown(test_acknowledged_registrations_survive_a_restart, set_up_restartable,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_a_put_during_an_outage, set_up_restartable, tear_down),
        cmocka_unit_test_setup_teardown(test_a_server_that_does_not_answer, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_close_with_operations_in_flight, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_two_instances_see_each_other, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_gap_in_the_feed_is_seen, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_an_emptied_server, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_functions_are_loaded_again, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_killed_connections_heal, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_corrected_server_is_used_again, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_full_server_refuses_registrations_only, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_lost_tail_is_offered_again, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
