// SPDX-License-Identifier: Apache-2.0
/* The feed beside an instance's own writes: what is read, what need not be, and that followers are told the same. */
#include "redis_fixture.h"
#include "support/proxy.h"

static long long calls_of(const struct fixture *fixture, const char *command)
{
    char name[64];
    redisContext *redis = redisConnect("127.0.0.1", fixture->server.port);
    redisReply *reply = redisCommand(redis, "INFO commandstats");
    assert_non_null(reply);
    snprintf(name, sizeof name, "cmdstat_%s:calls=", command);
    const char *at = strstr(reply->str, name);
    long long calls = at != NULL ? strtoll(at + strlen(name), NULL, 10) : 0;
    freeReplyObject(reply);
    redisFree(redis);
    return calls;
}

static int put_named(struct fixture *fixture, struct mst_registry *registry, unsigned number,
                     struct mst_registry_put *put)
{
    static char name[16], metadata[32];
    snprintf(name, sizeof name, "n%u", number);
    snprintf(metadata, sizeof metadata, "{\"n\":%u}", number);
    fixture->registry = registry;
    *put = put_of(name, metadata, 60000);
    return do_put(fixture, put);
}

static void test_own_writes_need_no_read(void **state)
{
    enum { COUNT = 200 };
    struct fixture *fixture = *state;
    struct follower follower;
    struct mst_registry_put put;
    follow_namespace(&fixture->loop, fixture->registry, &follower, "fleet");
    assert_int_equal(put_named(fixture, fixture->registry, 0, &put), 0);
    run_ms(&fixture->loop, 30);
    long long before = calls_of(fixture, "xread");
    for (unsigned i = 1; i <= COUNT; i++)
        assert_int_equal(put_named(fixture, fixture->registry, i, &put), 0);
    long long reads = calls_of(fixture, "xread") - before;
    /* Not none: a machine that stops for a while between two puts lets one through. */
    assert_in_range(reads, 0, COUNT / 4);
    assert_int_equal(follower.puts, COUNT + 1);
    assert_int_equal(follower.last_revision, put.revision);
    assert_string_equal(holds(&follower, "n7")->metadata, "{\"n\":7}");
    struct mst_span id = SPAN("n7");
    struct mst_renewed result;
    struct mst_registry_renew renew = {.ids = &id, .count = 1, .lease_ms = 99000, .results = &result};
    assert_int_equal(do_renew(fixture, &renew), 0);
    assert_true(wait_unsigned(&fixture->loop, &follower.touches, 1));
    assert_int_equal(holds(&follower, "n7")->lease_ms, 99000);
    assert_int_equal(holds(&follower, "n7")->revision, result.revision);
    struct mst_registry_remove remove;
    assert_int_equal(do_remove(fixture, &remove, "n7"), 0);
    assert_true(wait_count(&fixture->loop, &follower, COUNT));
    assert_string_equal(follower.last_removed, "n7");
    assert_int_equal(follower.puts, COUNT + 1);
    close_registry(&fixture->loop, fixture->registry);
    fixture->registry = NULL;
    follower_free(&follower);
}

/* While own writes keep the read from going out, those of others are still seen, and in time. */
static void test_others_are_seen_between_own_writes(void **state)
{
    enum { COUNT = 100 };
    struct fixture *fixture = *state;
    struct mst_registry *first = fixture->registry, *second = open_registry(fixture);
    struct follower follower;
    struct mst_registry_put own, other;
    uint64_t slow = 0;
    follow_namespace(&fixture->loop, first, &follower, "fleet");
    for (unsigned i = 0; i < COUNT; i++) {
        char name[16];
        assert_int_equal(put_named(fixture, first, 2 * i, &own), 0);
        assert_int_equal(put_named(fixture, second, 2 * i + 1, &other), 0);
        uint64_t since = mst_clock_monotonic();
        snprintf(name, sizeof name, "n%u", 2 * i + 1);
        while (holds(&follower, name) == NULL && mst_clock_monotonic() - since < PATIENCE) {
            /* Half of the time with nothing of our own that could show it. */
            if (i % 2 == 0)
                assert_int_equal(put_named(fixture, first, 2 * i, &own), 0);
            else
                run_ms(&fixture->loop, 1);
        }
        assert_non_null(holds(&follower, name));
        slow += mst_clock_monotonic() - since > 50 * MST_NS_PER_MS;
    }
    assert_in_range(slow, 0, COUNT / 4);
    assert_int_equal(follower.removes, 0);
    assert_int_equal(mst_map_count(follower.held), 2 * COUNT);
    close_registry(&fixture->loop, second);
    close_registry(&fixture->loop, first);
    fixture->registry = NULL;
    follower_free(&follower);
}

/*
 * An own write is carried out while a follower's snapshot is taken, which shows it, and its answer comes long after: it
 * must not be taken for the next entry of the feed, which is another instance's.
 */
static void test_a_late_answer_hides_no_entry(void **state)
{
    enum { WRITE, FEED, BULK };
    struct fixture *fixture = *state;
    struct mst_registry *other = fixture->registry;
    struct follower follower;
    struct opening opening;
    struct mst_registry_put put;
    struct test_proxy *proxy = test_proxy_start(fixture->server.port, NULL, 0);
    struct mst_redis_options options = {.host = "127.0.0.1", .port = test_proxy_port(proxy)};
    struct mst_registry *first = open_with(&fixture->loop, &options, &opening);
    assert_int_equal(put_named(fixture, first, 0, &put), 0);
    run_ms(&fixture->loop, 30);
    test_proxy_set(proxy, WRITE, TEST_PROXY_MUTE);
    test_proxy_set(proxy, FEED, TEST_PROXY_MUTE);
    test_proxy_set(proxy, BULK, TEST_PROXY_MUTE);
    run_ms(&fixture->loop, 10);
    follow_begin(first, &follower, "fleet");
    run_ms(&fixture->loop, 30);
    struct mst_registry_put held = put_of("held", "{}", 60000);
    bool answered = false;
    held.owner_context = &answered;
    first->ops->put(first, &held);
    run_ms(&fixture->loop, 50);
    test_proxy_set(proxy, FEED, TEST_PROXY_PASS);
    test_proxy_set(proxy, BULK, TEST_PROXY_PASS);
    assert_true(wait_count(&fixture->loop, &follower, 2));
    assert_false(answered);
    run_ms(&fixture->loop, 100);
    test_proxy_set(proxy, WRITE, TEST_PROXY_PASS);
    assert_true(run_for(&fixture->loop, &answered, PATIENCE));
    assert_int_equal(put_named(fixture, other, 7, &put), 0);
    assert_true(wait_count(&fixture->loop, &follower, 3));
    assert_non_null(holds(&follower, "n7"));
    close_registry(&fixture->loop, first);
    close_registry(&fixture->loop, other);
    fixture->registry = NULL;
    follower_free(&follower);
    test_proxy_stop(proxy);
}

/* ---- random operations of two instances ---- */

enum { OPERATIONS = 3000, NAMES = 40 };

struct operation {
    union {
        struct mst_registry_put put;
        struct mst_registry_renew renew;
        struct mst_registry_remove remove;
    };
    char name[8], metadata[24];
    struct mst_span id;
    struct mst_renewed result;
    unsigned *pending;
};

static void put_answered(struct mst_registry_put *put)
{
    --*((struct operation *)put->owner_context)->pending;
}

static void renew_answered(struct mst_registry_renew *renew)
{
    --*((struct operation *)renew->owner_context)->pending;
}

static void remove_answered(struct mst_registry_remove *remove)
{
    --*((struct operation *)remove->owner_context)->pending;
}

static uint64_t dice(uint64_t *seed)
{
    *seed = *seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return *seed >> 33;
}

static void start_operation(struct mst_registry *registry, struct operation *operation, uint64_t *seed)
{
    uint64_t kind = dice(seed) % 8;
    snprintf(operation->name, sizeof operation->name, "n%u", (unsigned)(dice(seed) % NAMES));
    snprintf(operation->metadata, sizeof operation->metadata, "{\"n\":%u}", (unsigned)(dice(seed) % 3));
    operation->id = SPAN(operation->name);
    ++*operation->pending;
    if (kind < 4) {
        operation->put = put_of(operation->name, operation->metadata, 60000);
        operation->put.mode = kind == 0 ? MST_PUT_CREATE : MST_PUT_UPSERT;
        operation->put.owner = dice(seed) % 4 == 0 ? SPAN("me") : SPAN("");
        operation->put.done = put_answered;
        operation->put.owner_context = operation;
        registry->ops->put(registry, &operation->put);
    } else if (kind < 6) {
        operation->renew = (struct mst_registry_renew){.namespace_ = "fleet", .ids = &operation->id, .count = 1};
        operation->renew.lease_ms = 60000;
        operation->renew.deadline = in_ms(10000);
        operation->renew.results = &operation->result;
        operation->renew.done = renew_answered;
        operation->renew.owner_context = operation;
        registry->ops->renew(registry, &operation->renew);
    } else {
        operation->remove = (struct mst_registry_remove){.namespace_ = "fleet", .id = operation->id};
        operation->remove.deadline = in_ms(10000);
        operation->remove.done = remove_answered;
        operation->remove.owner_context = operation;
        registry->ops->remove(registry, &operation->remove);
    }
}

static void assert_same(struct follower *a, struct follower *b)
{
    size_t position = 0, length;
    const void *key;
    uint64_t value;
    assert_int_equal(mst_map_count(a->held), mst_map_count(b->held));
    while (mst_map_next(a->held, &position, &key, &length, &value)) {
        const struct held *one = (const struct held *)(uintptr_t)value;
        const struct held *two = held_find(b, (struct mst_span){key, length});
        assert_non_null(two);
        assert_int_equal(one->revision, two->revision);
        assert_int_equal(one->expires_at, two->expires_at);
        assert_int_equal(one->lease_ms, two->lease_ms);
        assert_int_equal(one->registered_at, two->registered_at);
        assert_int_equal(one->updated_at, two->updated_at);
        assert_string_equal(one->metadata, two->metadata);
        assert_string_equal(one->owner, two->owner);
    }
}

/* Whether told from memory, by the feed or by a snapshot: it is the same. */
static void test_all_ways_tell_the_same(void **state)
{
    struct fixture *fixture = *state;
    struct mst_registry *registries[2] = {fixture->registry, open_registry(fixture)}, *third;
    struct operation *operations = calloc(OPERATIONS, sizeof *operations);
    struct follower one, two, fresh;
    unsigned pending = 0;
    uint64_t seed = 7;
    follow_namespace(&fixture->loop, registries[0], &one, "fleet");
    follow_namespace(&fixture->loop, registries[1], &two, "fleet");
    for (unsigned i = 0; i < OPERATIONS; i++) {
        operations[i].pending = &pending;
        /* Alone for a while, then the other alone, then both. */
        start_operation(registries[i / 500 % 3 < 2 ? i / 500 % 3 : dice(&seed) % 2], &operations[i], &seed);
        if (dice(&seed) % 3 == 0)
            run_ms(&fixture->loop, dice(&seed) % 50 == 0 ? 15 : 1);
    }
    for (int i = 0; i < 10000 && pending > 0; i++)
        run_ms(&fixture->loop, 1);
    assert_int_equal(pending, 0);
    run_ms(&fixture->loop, 100);
    third = open_registry(fixture);
    follow_namespace(&fixture->loop, third, &fresh, "fleet");
    for (int i = 0; i < 3000 && (one.last_revision != two.last_revision); i++)
        run_ms(&fixture->loop, 1);
    assert_same(&one, &fresh);
    assert_same(&two, &fresh);
    assert_int_equal(one.readies + two.readies, 2);
    close_registry(&fixture->loop, third);
    close_registry(&fixture->loop, registries[1]);
    close_registry(&fixture->loop, registries[0]);
    fixture->registry = NULL;
    follower_free(&one);
    follower_free(&two);
    follower_free(&fresh);
    free(operations);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_own_writes_need_no_read, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_others_are_seen_between_own_writes, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_late_answer_hides_no_entry, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_all_ways_tell_the_same, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
