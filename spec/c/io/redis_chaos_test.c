// SPDX-License-Identifier: Apache-2.0
/*
 * Two instances write and follow one namespace while the server is killed and connections are cut at random. In the end
 * everything that was acknowledged is there, and both instances hold exactly what Redis holds.
 */
#include "redis_fixture.h"

enum { IDS = 400, WRITERS = 32, ROUNDS = 4 };

struct chaos {
    struct fixture *fixture;
    struct mst_registry *registries[2];
    uint32_t random;
    bool stop;
    unsigned running, acknowledged, failed;
    bool idle;
    /* What Redis last acknowledged for an id, and whether something unacknowledged came after. */
    struct {
        int value; /* 0: removed */
        bool unsure, busy;
    } ids[IDS];
};

struct writer {
    struct chaos *chaos;
    struct mst_registry_put put;
    struct mst_registry_remove remove;
    unsigned id;
    int value;
    char name[16], metadata[32];
};

static void next_write(struct writer *writer);

static uint32_t random_of(struct chaos *chaos, uint32_t limit)
{
    chaos->random = chaos->random * 1664525 + 1013904223;
    return (chaos->random >> 8) % limit;
}

static void finish_write(struct writer *writer, int status, int value)
{
    struct chaos *chaos = writer->chaos;
    chaos->ids[writer->id].busy = false;
    if (status == 0) {
        chaos->ids[writer->id].value = value;
        chaos->ids[writer->id].unsure = false;
        chaos->acknowledged++;
    } else {
        chaos->ids[writer->id].unsure = true;
        chaos->failed++;
    }
    next_write(writer);
}

static void on_chaos_put(struct mst_registry_put *put)
{
    struct writer *writer = put->owner_context;
    finish_write(writer, put->status, writer->value);
}

static void on_chaos_remove(struct mst_registry_remove *remove)
{
    finish_write(remove->owner_context, remove->status, 0);
}

static void next_write(struct writer *writer)
{
    struct chaos *chaos = writer->chaos;
    if (chaos->stop) {
        chaos->idle = --chaos->running == 0;
        return;
    }
    do
        writer->id = random_of(chaos, IDS);
    while (chaos->ids[writer->id].busy);
    chaos->ids[writer->id].busy = true;
    writer->value = 1 + (int)random_of(chaos, 1000000);
    snprintf(writer->name, sizeof writer->name, "n%u", writer->id);
    snprintf(writer->metadata, sizeof writer->metadata, "{\"v\":%d}", writer->value);
    struct mst_registry *registry = chaos->registries[random_of(chaos, 2)];
    if (random_of(chaos, 5) == 0) {
        writer->remove = (struct mst_registry_remove){.namespace_ = "fleet", .id = SPAN(writer->name)};
        writer->remove.deadline = in_ms(8000);
        writer->remove.done = on_chaos_remove;
        writer->remove.owner_context = writer;
        registry->ops->remove(registry, &writer->remove);
    } else {
        writer->put = put_of(writer->name, writer->metadata, 600000);
        writer->put.deadline = in_ms(8000);
        writer->put.done = on_chaos_put;
        writer->put.owner_context = writer;
        registry->ops->put(registry, &writer->put);
    }
}

static void disturb(struct chaos *chaos)
{
    struct fixture *fixture = chaos->fixture;
    for (int round = 0; round < ROUNDS; round++) {
        run_ms(&fixture->loop, 100 + random_of(chaos, 200));
        if (round % 2 == 0)
            assert_true(test_server_restart(&fixture->server));
        else
            redis_says(fixture, "CLIENT KILL TYPE normal SKIPME yes");
    }
    run_ms(&fixture->loop, 300);
}

static bool agrees(const struct chaos *chaos, struct follower *follower)
{
    for (unsigned i = 0; i < IDS; i++) {
        char name[16], metadata[32];
        snprintf(name, sizeof name, "n%u", i);
        snprintf(metadata, sizeof metadata, "{\"v\":%d}", chaos->ids[i].value);
        struct held *held = holds(follower, name);
        if (chaos->ids[i].unsure)
            continue;
        if ((chaos->ids[i].value == 0) != (held == NULL) || (held != NULL && strcmp(held->metadata, metadata) != 0))
            return false;
    }
    return true;
}

static bool same(struct follower *one, struct follower *two)
{
    size_t position = 0, length;
    const void *key;
    uint64_t value;
    if (mst_map_count(one->held) != mst_map_count(two->held))
        return false;
    while (mst_map_next(one->held, &position, &key, &length, &value)) {
        struct held *mine = (struct held *)(uintptr_t)value;
        struct held *theirs = held_find(two, (struct mst_span){key, length});
        if (theirs == NULL || strcmp(mine->metadata, theirs->metadata) != 0 || mine->expires_at != theirs->expires_at)
            return false;
    }
    return true;
}

static void test_nothing_acknowledged_is_lost(void **state)
{
    struct fixture *fixture = *state;
    static struct writer writers[WRITERS];
    struct chaos chaos = {.fixture = fixture, .random = (uint32_t)mst_clock_monotonic(), .running = WRITERS};
    struct follower one, two, fresh;
    uint32_t seed = chaos.random;
    chaos.registries[0] = fixture->registry;
    chaos.registries[1] = open_registry(fixture);
    follow_namespace(&fixture->loop, chaos.registries[0], &one, "fleet");
    follow_namespace(&fixture->loop, chaos.registries[1], &two, "fleet");
    for (int i = 0; i < WRITERS; i++) {
        writers[i] = (struct writer){.chaos = &chaos};
        next_write(&writers[i]);
    }
    disturb(&chaos);
    chaos.stop = true;
    assert_true(run_for(&fixture->loop, &chaos.idle, PATIENCE));
    follow_namespace(&fixture->loop, chaos.registries[0], &fresh, "fleet");
    for (int i = 0; i < 5000 && !(same(&one, &fresh) && same(&two, &fresh)); i++)
        run_ms(&fixture->loop, 1);
    print_message("seed %u: %u acknowledged, %u failed\n", seed, chaos.acknowledged, chaos.failed);
    assert_true(chaos.acknowledged > 500);
    assert_true(agrees(&chaos, &fresh));
    assert_true(same(&one, &fresh));
    assert_true(same(&two, &fresh));
    close_registry(&fixture->loop, chaos.registries[0]);
    close_registry(&fixture->loop, chaos.registries[1]);
    fixture->registry = NULL;
    follower_free(&one);
    follower_free(&two);
    follower_free(&fresh);
}

static int set_up_everysec(void **state)
{
    return set_up_with(state, (const char *const[]){"--appendonly", "yes", "--appendfsync", "everysec", NULL});
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_nothing_acknowledged_is_lost, set_up_everysec, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
