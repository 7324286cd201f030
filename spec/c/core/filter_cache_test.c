// SPDX-License-Identifier: Apache-2.0
#include "coordinator_world.h"
#include "core/coordinator_internal.h"

static void filters_are_compiled_once(void **state)
{
    struct world *world = *state;
    fill(world);
    for (int i = 0; i < 3; i++) {
        answers(world, "count", "{\"filter\":\"load > 5\"}", "\"count\":2");
        answers(world, "count", "{\"filter\":\"status == \\\"online\\\"\"}", "\"count\":2");
    }
    assert_int_equal(world->compiled, 2);
    refuses(world, "count", "{\"filter\":\"bad bad\"}", MST_EFILTER, "");
    refuses(world, "count", "{\"filter\":\"bad bad\"}", MST_EFILTER, "");
    assert_int_equal(world->compiled, 4);
    struct mst_coordinator_stats stats;
    mst_coordinator_stats(world->coordinator, &stats);
    assert_int_equal(stats.filter_hits, 4);
    assert_int_equal(stats.filter_misses, 4);
    assert_int_equal(stats.identities, 3);
    assert_int_equal(stats.namespaces, 1);
}

static int compile_anything(void *context, struct mst_span source, bool json, struct mst_buffer *program,
                            struct mst_buffer *warnings, struct mst_error *error)
{
    (void)json;
    (void)warnings;
    (void)error;
    ++*(unsigned *)context;
    if (is(source, "rubbish"))
        mst_buffer_append_string(program, "MSTPrubbish");
    else
        put_header(program, false, 0, 0);
    return 0;
}

static void the_least_recently_used_filter_goes(void **state)
{
    (void)state;
    unsigned compiled = 0;
    const struct mst_compiler compiler = {.context = &compiled, .compile = compile_anything};
    struct mst__filter_cache cache = {0};
    struct mst__filter *filter;
    char text[20];
    assert_int_equal(mst__filter_cache_init(&cache), 0);
    for (unsigned i = 0; i < 4096; i++) {
        size_t length = (size_t)snprintf(text, sizeof text, "f%u", i);
        assert_int_equal(mst__filter_get(&cache, &compiler, (struct mst_span){text, length}, false, &filter, NULL), 0);
    }
    const struct mst_span oldest = {"f0", 2}, second = {"f1", 2};
    mst__filter_get(&cache, &compiler, oldest, false, &filter, NULL);
    assert_int_equal(compiled, 4096);
    /* The same text as JSON is another filter, and takes the place of f1. */
    mst__filter_get(&cache, &compiler, oldest, true, &filter, NULL);
    assert_int_equal(compiled, 4097);
    assert_int_equal(cache.count, 4096);
    mst__filter_get(&cache, &compiler, oldest, false, &filter, NULL);
    assert_int_equal(compiled, 4097);
    mst__filter_get(&cache, &compiler, second, false, &filter, NULL);
    assert_int_equal(compiled, 4098);
    assert_int_equal(filter->warnings_length, 2);
    mst__filter_cache_deinit(&cache);
}

static void large_filters_are_bounded_by_their_bytes(void **state)
{
    (void)state;
    unsigned compiled = 0;
    const struct mst_compiler compiler = {.context = &compiled, .compile = compile_anything};
    struct mst__filter_cache cache = {0};
    struct mst__filter *filter;
    const size_t size = 1u << 20;
    char *text = calloc(1, size);
    assert_int_equal(mst__filter_cache_init(&cache), 0);
    for (unsigned i = 0; i < 100; i++) {
        text[0] = (char)i;
        assert_int_equal(mst__filter_get(&cache, &compiler, (struct mst_span){text, size}, true, &filter, NULL), 0);
    }
    assert_true(cache.count > 10 && cache.count < 40);
    assert_true(cache.cost <= 64u << 20);
    mst__filter_cache_deinit(&cache);
    free(text);
}

static void a_program_that_does_not_load_is_not_kept(void **state)
{
    (void)state;
    unsigned compiled = 0;
    const struct mst_compiler compiler = {.context = &compiled, .compile = compile_anything};
    struct mst__filter_cache cache = {0};
    struct mst__filter *filter;
    struct mst_error error;
    assert_int_equal(mst__filter_cache_init(&cache), 0);
    for (int i = 0; i < 2; i++)
        assert_int_equal(mst__filter_get(&cache, &compiler, (struct mst_span){"rubbish", 7}, false, &filter, &error),
                         MST_EFILTER);
    assert_int_equal(compiled, 2);
    assert_int_equal(cache.count, 0);
    mst__filter_cache_deinit(&cache);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(filters_are_compiled_once),
        cmocka_unit_test(the_least_recently_used_filter_goes),
        cmocka_unit_test(large_filters_are_bounded_by_their_bytes),
        cmocka_unit_test(a_program_that_does_not_load_is_not_kept),
    };
    return cmocka_run_group_tests_name("filter_cache", tests, NULL, NULL);
}
