// SPDX-License-Identifier: Apache-2.0
#include <float.h>

#include "coordinator_world.h"
#include "core/aggregate.h"

static void groups_are_counted(void **state)
{
    struct world *world = *state;
    answers(world, "aggregate", "{}", "{\"groups\":[],\"total_groups\":0,\"total\":0,\"revision\":0,\"warnings\":[]}");
    fill(world);
    answers(
        world, "aggregate", "{\"group_by\":[\"region\"]}",
        "{\"groups\":[{\"key\":[\"eu\"],\"count\":2},{\"key\":[\"us\"],\"count\":1}],\"total_groups\":2,\"total\":3,"
        "\"revision\":3,\"warnings\":[]}");
    answers(world, "aggregate", "{\"group_by\":\"region\",\"filter\":\"status == \\\"online\\\"\"}",
            "[{\"key\":[\"eu\"],\"count\":1},{\"key\":[\"us\"],\"count\":1}],\"total_groups\":2,\"total\":2,");
    answers(world, "aggregate", "{\"group_by\":[\"status\",\"region\"]}",
            "[{\"key\":[\"offline\",\"eu\"],\"count\":1},{\"key\":[\"online\",\"eu\"],\"count\":1},"
            "{\"key\":[\"online\",\"us\"],\"count\":1}]");
    answers(world, "aggregate", "{\"group_by\":[\"region\"],\"limit\":1}",
            "[{\"key\":[\"eu\"],\"count\":2}],\"total_groups\":2,");
    answers(world, "aggregate", "{}", "[{\"key\":[],\"count\":3}],\"total_groups\":1,\"total\":3,");
    answers(world, "enumerate", "{\"group_by\":[\"region\"],\"compute\":{\"m\":\"max(load)\"}}",
            "[{\"key\":[\"eu\"],\"count\":2,\"m\":9},{\"key\":[\"us\"],\"count\":1,\"m\":7}]");
}

static void equal_values_are_one_group(void **state)
{
    struct world *world = *state;
    answers(world, "register",
            "[{\"id\":\"a\",\"metadata\":{\"n\":1}},{\"id\":\"b\",\"metadata\":{\"n\":1.0}},"
            "{\"id\":\"c\",\"metadata\":{\"n\":null}},{\"id\":\"d\",\"metadata\":{}},{\"id\":\"e\",\"metadata\":{\"n\":"
            "1e0}},"
            "{\"id\":\"f\",\"metadata\":{\"n\":[1,2]}},{\"id\":\"g\",\"metadata\":{\"n\":[1,2]}},"
            "{\"id\":\"h\",\"metadata\":{\"n\":0.5}},{\"id\":\"i\",\"metadata\":{\"n\":-0.0}},{\"id\":\"j\","
            "\"metadata\":{\"n\":0}}]",
            "created");
    answers(world, "aggregate", "{\"group_by\":[\"n\"],\"order\":\"key\"}",
            "[{\"key\":[0],\"count\":2},{\"key\":[0.5],\"count\":1},{\"key\":[1],\"count\":3},{\"key\":[[1,2]],"
            "\"count\":2},"
            "{\"key\":[null],\"count\":2}]");
}

static void figures_are_over_numbers(void **state)
{
    struct world *world = *state;
    answers(
        world, "register",
        "[{\"id\":\"a\",\"metadata\":{\"g\":1,\"m\":{\"load\":4}}},{\"id\":\"b\",\"metadata\":{\"g\":1,\"m\":{\"load\":"
        "2.5}}},"
        "{\"id\":\"c\",\"metadata\":{\"g\":1,\"m\":{\"load\":\"high\"}}},{\"id\":\"d\",\"metadata\":{\"g\":1}},"
        "{\"id\":\"e\",\"metadata\":{\"g\":2,\"m\":{\"load\":[10,30,\"x\"]}}},{\"id\":\"f\",\"metadata\":{\"g\":3}},"
        "{\"id\":\"h\",\"metadata\":{\"g\":2,\"m\":[{\"load\":20},{\"load\":40}]}}]",
        "created");
    answers(world, "aggregate",
            "{\"group_by\":[\"g\"],\"order\":\"key\",\"compute\":{\"n\":\"count(m.load)\",\"s\":\"sum(m.load)\","
            "\"a\":\"avg(m.load)\",\"lo\":\"min:m.load\",\"hi\":\"max(m.load)\",\"half\":\"p50(m.load)\"}}",
            "[{\"key\":[1],\"count\":4,\"a\":3.25,\"half\":2.5,\"hi\":4,\"lo\":2.5,\"n\":3,\"s\":6.5},"
            "{\"key\":[2],\"count\":2,\"a\":25.0,\"half\":20,\"hi\":40,\"lo\":10,\"n\":2,\"s\":100},"
            "{\"key\":[3],\"count\":1,\"a\":null,\"half\":null,\"hi\":null,\"lo\":null,\"n\":0,\"s\":0}]");
}

static void sums_stay_exact(void **state)
{
    struct world *world = *state;
    answers(
        world, "register",
        "[{\"id\":\"a\",\"metadata\":{\"g\":1,\"n\":9007199254740993}},{\"id\":\"b\",\"metadata\":{\"g\":1,\"n\":2}},"
        "{\"id\":\"c\",\"metadata\":{\"g\":2,\"n\":9223372036854775807}},{\"id\":\"d\",\"metadata\":{\"g\":2,\"n\":1}},"
        "{\"id\":\"e\",\"metadata\":{\"g\":3,\"n\":1e100}},{\"id\":\"f\",\"metadata\":{\"g\":3,\"n\":1.5}},"
        "{\"id\":\"h\",\"metadata\":{\"g\":3,\"n\":-1e100}}]",
        "created");
    struct reply *reply = call(
        world, "aggregate", "{\"group_by\":\"g\",\"order\":\"key\",\"compute\":{\"s\":\"sum(n)\",\"m\":\"max(n)\"}}");
    expect_ok(reply, "{\"key\":[1],\"count\":2,\"m\":9007199254740993,\"s\":9007199254740995}");
    expect_in(reply, "{\"key\":[2],\"count\":2,\"m\":9223372036854775807,\"s\":9.22337203685477");
    expect_in(reply, "{\"key\":[3],\"count\":3,\"m\":1e+100,\"s\":1.5}");
}

static int by_number(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Against sorted arrays, for several sizes, orders and many equal values. */
static void percentiles_are_nearest_ranks(void **state)
{
    static const int sizes[] = {1, 2, 3, 10, 99, 100, 101, 500};
    struct world *world = *state;
    uint32_t seed = 12345;
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
        double numbers[500];
        struct mst_buffer body = {0};
        mst_buffer_append_byte(&body, '[');
        for (int i = 0; i < sizes[s]; i++) {
            seed = seed * 1664525u + 1013904223u;
            int number = (int)(seed >> 16) % (s % 2 ? 7 : 100000);
            numbers[i] = number;
            mst_buffer_appendf(&body, "%s{\"id\":\"%d\",\"metadata\":{\"n\":%d}}", i ? "," : "", i, number);
        }
        mst_buffer_append(&body, "]", 2);
        answers(world, "register", body.data, "\"id\"");
        mst_buffer_deinit(&body);
        qsort(numbers, (size_t)sizes[s], sizeof *numbers, by_number);
        static const int thousandths[] = {0, 500, 900, 990, 999, 1000};
        struct reply *reply = call(world, "aggregate",
                                   "{\"compute\":{\"a\":\"p0(n)\",\"b\":\"p50(n)\",\"c\":\"p90(n)\",\"d\":\"p99(n)\","
                                   "\"e\":\"p99.9(n)\",\"f\":\"p100(n)\"}}");
        for (int i = 0; i < 6; i++) {
            char part[64];
            int rank = (thousandths[i] * sizes[s] + 999) / 1000;
            snprintf(part, sizeof part, "\"%c\":%d", 'a' + i, (int)numbers[rank ? rank - 1 : 0]);
            expect_ok(reply, part);
        }
    }
}

static void sums_pass_through_what_no_double_holds(void **state)
{
    struct world *world = *state;
    answers(world, "register",
            "[{\"id\":\"a\",\"metadata\":{\"g\":1,\"n\":[1e308,1e308,-1e308]}},"
            "{\"id\":\"b\",\"metadata\":{\"g\":2,\"n\":[1.5e308,1.5e308]}}]",
            "created");
    struct reply *reply = call(
        world, "aggregate", "{\"group_by\":\"g\",\"order\":\"key\",\"compute\":{\"s\":\"sum(n)\",\"a\":\"avg(n)\"}}");
    if (LDBL_MAX_EXP > DBL_MAX_EXP) {
        expect_ok(reply, "{\"key\":[1],\"count\":1,\"a\":3.33333333333333");
        expect_in(reply, ",\"s\":1e+308}");
        expect_in(reply, "{\"key\":[2],\"count\":1,\"a\":1.5e+308,\"s\":null}");
    }
}

/* By the definition: the rank is enough, the one before is not. Doubles are one too high for some of these. */
static void ranks_are_exact(void **state)
{
    (void)state;
    for (uint64_t thousandths = 0; thousandths <= 100000; thousandths += thousandths % 10 == 0 ? 3 : 7) {
        char text[16];
        int length = snprintf(text, sizeof text, "%d.%03d", (int)thousandths / 1000, (int)thousandths % 1000);
        struct mst__percent percent;
        if (thousandths % 1000 == 0)
            length -= 4;
        assert_true(mst__percent_read((struct mst_span){text, (size_t)length}, &percent));
        for (uint64_t count = 1; count <= 2000; count++) {
            uint64_t rank = mst__percent_rank(percent, count), wanted = thousandths * count;
            bool exact = rank * 100000 >= wanted && (rank == 1 || (rank - 1) * 100000 < wanted);
            if (!exact || rank < 1 || rank > count)
                fail_msg("p%s of %d is at %d", text, (int)count, (int)rank);
        }
    }
    struct mst__percent percent;
    assert_true(mst__percent_read((struct mst_span){"100.0000000", 11}, &percent));
    assert_int_equal(mst__percent_rank(percent, MST__SAMPLES_MAX / 8), MST__SAMPLES_MAX / 8);
    assert_true(mst__percent_read((struct mst_span){"0.000000001", 11}, &percent));
    assert_int_equal(mst__percent_rank(percent, MST__SAMPLES_MAX / 8), 1);
}

/* Appends the numbers as lists of identities, 2,000 each, and registers them. */
static void register_numbers(struct world *world, const char *group, const uint32_t *numbers, uint32_t count)
{
    struct mst_buffer body = {0};
    for (uint32_t i = 0; i < count;) {
        mst_buffer_appendf(&body, "%s{\"id\":\"%s%u\",\"metadata\":{\"g\":\"%s\",\"n\":[", body.length ? "," : "[",
                           group, i, group);
        for (uint32_t end = count - i < 2000 ? count : i + 2000; i < end; i++)
            mst_buffer_appendf(&body, i + 1 < end ? "%u," : "%u]}}", numbers[i]);
        if (i == count || body.length > 900000) {
            mst_buffer_append(&body, "]", 2);
            answers(world, "register", body.data, "\"created\":true");
            mst_buffer_clear(&body);
        }
    }
    mst_buffer_deinit(&body);
}

static void percentiles_have_no_rank_too_high(void **state)
{
    static const struct {
        const char *group;
        uint32_t count;
        const char *part;
    } cases[] = {
        {"a", 100, "\"p55\":55,\"p7\":7,"}, {"b", 50, "\"p14\":7,"},     {"c", 25, "\"p28\":7,"},
        {"d", 1000, "\"p99.9\":999}"},      {"e", 1250, "\"p0.56\":7,"},
    };
    struct world *world = *state;
    uint32_t numbers[1250];
    for (uint32_t i = 0; i < 1250; i++)
        numbers[i] = i + 1;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        register_numbers(world, cases[i].group, numbers, cases[i].count);
    struct reply *reply =
        call(world, "aggregate",
             "{\"group_by\":\"g\",\"compute\":{\"p55\":\"p55(n)\",\"p7\":\"p7(n)\",\"p14\":\"p14(n)\","
             "\"p28\":\"p28(n)\",\"p99.9\":\"p99.9(n)\",\"p0.56\":\"p0.56(n)\"}}");
    assert_int_equal(reply->status, 0);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char key[16];
        snprintf(key, sizeof key, "{\"key\":[\"%s\"]", cases[i].group);
        const char *start = strstr(reply->json, key);
        assert_non_null(start);
        char *group = copy_text(start, strcspn(start, "}") + 1);
        if (!strstr(group, cases[i].part))
            fail_msg("no %s in %s", cases[i].part, group);
        free(group);
    }
}

#define MANY 200000u

/* The middle one of what is left is always the least: each round of a plain selection takes one number away. */
static void fill_killer(uint32_t *numbers)
{
    static uint32_t places[MANY];
    for (uint32_t i = 0; i < MANY; i++)
        places[i] = i;
    for (uint32_t low = 0; low < MANY; low++) {
        uint32_t middle = low + (MANY - 1 - low) / 2, place = places[middle];
        places[middle] = places[low];
        numbers[place] = low;
    }
}

static uint64_t time_percentiles(struct world *world)
{
    uint64_t start = mst_clock_monotonic();
    answers(world, "aggregate", "{\"compute\":{\"a\":\"p100(n)\",\"b\":\"p50(n)\",\"c\":\"p0.5(n)\"}}",
            "\"a\":199999,\"b\":99999,\"c\":999}");
    return mst_clock_monotonic() - start;
}

static void no_order_of_numbers_is_slow(void **state)
{
    (void)state;
    uint32_t *numbers = malloc(MANY * sizeof *numbers);
    assert_non_null(numbers);
    uint64_t times[4];
    for (unsigned order = 0; order < 4; order++) {
        for (uint32_t i = 0; i < MANY; i++)
            numbers[i] = order == 0   ? (uint32_t)((uint64_t)i * 7919 % MANY)
                         : order == 1 ? MANY - 1 - i
                                      : (i < MANY / 2 ? 2 * i : 2 * (MANY - i) - 1);
        if (order == 3)
            fill_killer(numbers);
        void *world;
        setup(&world);
        register_numbers(world, "x", numbers, MANY);
        times[order] = time_percentiles(world);
        teardown(&world);
    }
    free(numbers);
    for (unsigned order = 1; order < 4; order++)
        if (times[order] > 20 * times[0] + 500 * UINT64_C(1000000))
            fail_msg("order %u takes %llu us, any order %llu us", order, (unsigned long long)times[order] / 1000,
                     (unsigned long long)times[0] / 1000);
}

/* Sixteen ways to write one path: as many figures, each with numbers of its own. */
static void put_percentiles(struct mst_buffer *body)
{
    static const char *const names[] = {"a", "b", "c", "n"};
    for (unsigned i = 0; i < 16; i++) {
        mst_buffer_appendf(body, "%s\"x%u\":\"p50(", i ? "," : "{", i);
        for (unsigned j = 0; j < 4; j++)
            mst_buffer_appendf(body, i >> j & 1 ? "%s`%s`" : "%s%s", j ? "." : "", names[j]);
        mst_buffer_append_string(body, ")\"");
    }
    mst_buffer_append_byte(body, '}');
}

static void percentiles_have_a_budget(void **state)
{
    struct world *world = *state;
    struct mst_buffer body = {0};
    for (int part = 0; part < 4; part++) {
        mst_buffer_clear(&body);
        for (int i = 0; i < 30; i++) {
            mst_buffer_appendf(&body, "%s{\"id\":\"%d-%d\",\"metadata\":{\"load\":%d,\"a\":{\"b\":{\"c\":{\"n\":[1",
                               i ? "," : "[", part, i, part * 30 + i == 77 ? 9 : 1);
            for (int j = 1; j < 8100; j++)
                mst_buffer_append(&body, j % 2 ? ",2" : ",1", 2);
            mst_buffer_append_string(&body, "]}}}}}");
        }
        mst_buffer_append(&body, "]", 2);
        answers(world, "register", body.data, "\"created\":true");
    }
    mst_buffer_clear(&body);
    mst_buffer_append_string(&body, "{\"compute\":");
    put_percentiles(&body);
    mst_buffer_append(&body, "}", 2);
    refuses(world, "aggregate", body.data, MST_ETOOBIG, "percentiles of so many numbers need more than 256 MiB");
    refuses(world, "aggregate", body.data, MST_ETOOBIG, "\"hint\":\"a filter");
    body.length -= 2;
    mst_buffer_append_string(&body, ",\"filter\":\"load > 5\"}");
    mst_buffer_append(&body, "", 1);
    answers(world, "aggregate", body.data, "[{\"key\":[],\"count\":1,\"x0\":1,");
    answers(world, "aggregate", "{\"compute\":{\"x\":\"p51(a.b.c.n)\",\"y\":\"sum(`a`.b.c.n)\"}}",
            "\"count\":120,\"x\":2,\"y\":1458000}");
    mst_buffer_deinit(&body);
}

static void keys_of_groups_have_a_limit(void **state)
{
    struct world *world = *state;
    struct mst_buffer body = {0};
    char *text = calloc(1, 16201);
    assert_non_null(text);
    memset(text, 'x', 16200);
    for (int part = 0; part < 9; part++) {
        mst_buffer_clear(&body);
        for (int i = 0; i < 60; i++) {
            mst_buffer_appendf(&body, "%s{\"id\":\"%d-%d\",\"metadata\":{\"load\":%d,\"s\":\"%d-%d-", i ? "," : "[",
                               part, i, part * 60 + i < 20 ? 9 : 1, part, i);
            mst_buffer_append_string(&body, text);
            mst_buffer_append_string(&body, "\"}}");
        }
        mst_buffer_append(&body, "]", 2);
        answers(world, "register", body.data, "\"created\":true");
    }
    free(text);
    mst_buffer_deinit(&body);
    refuses(world, "aggregate", "{\"group_by\":[\"s\",\"s\",\"s\",\"s\",\"s\",\"s\",\"s\",\"s\"],\"limit\":1}",
            MST_ETOOBIG, "the values of the groups take more than 64 MiB");
    answers(world, "aggregate", "{\"group_by\":[\"s\",\"s\",\"s\",\"s\",\"s\",\"s\",\"s\"],\"limit\":1}",
            "\"total_groups\":540,");
    answers(world, "aggregate",
            "{\"group_by\":[\"s\",\"s\",\"s\",\"s\",\"s\",\"s\",\"s\",\"s\"],\"limit\":1,\"filter\":\"load > 5\"}",
            "\"total_groups\":20,");
}

static void groups_have_a_limit(void **state)
{
    struct world *world = *state;
    struct mst_buffer body = {0};
    for (unsigned i = 0; i <= MST__GROUPS_MAX; i++) {
        mst_buffer_appendf(&body, "%s{\"id\":\"%u\",\"metadata\":{\"n\":%u}}", body.length ? "," : "[", i, i);
        if (i % 1000 == 999 || i == MST__GROUPS_MAX) {
            mst_buffer_append(&body, "]", 2);
            answers(world, "register", body.data, "\"created\":true");
            mst_buffer_clear(&body);
        }
    }
    mst_buffer_deinit(&body);
    refuses(world, "aggregate", "{\"group_by\":\"n\"}", MST_ETOOBIG, "more than 100000 groups");
    answers(world, "unregister", "{\"id\":\"0\"}", "true");
    answers(world, "aggregate", "{\"group_by\":\"n\",\"limit\":1}", "\"total_groups\":100000,");
}

static void refused_requests_make_no_columns(void **state)
{
    struct world *world = *state;
    fill(world);
    for (unsigned i = 0; i < 100; i++) {
        struct mst_buffer body = {0};
        mst_buffer_append_string(&body, "{\"compute\":{");
        for (unsigned j = 0; j < 15; j++)
            mst_buffer_appendf(&body, "%s\"x%02u\":\"sum(junk%u_%u)\"", j ? "," : "", j, i, j);
        mst_buffer_append_string(&body, i % 2 ? "},\"filter\":\"nonsense\"}" : ",\"y\":\"sums(load)\"}}");
        mst_buffer_append(&body, "", 1);
        refuses(world, "aggregate", body.data, i % 2 ? MST_EFILTER : MST_EINVAL, "");
        mst_buffer_deinit(&body);
    }
    struct mst_path path;
    assert_int_equal(mst_path_parse(&path, "new", 3, NULL), 0);
    assert_non_null(mst_view_column(mst_coordinator_view(world->coordinator, "space"), &path));
}

static void wrong_requests_are_refused(void **state)
{
    struct world *world = *state;
    fill(world);
    refuses(world, "aggregate", "{\"group_by\":[1]}", MST_EINVAL, "expected strings");
    refuses(world, "aggregate", "{\"group_by\":\"a..b\"}", MST_EINVAL, "key \\\"group_by\\\": ");
    refuses(world, "aggregate", "{\"group_by\":[\"a\",\"b\",\"c\",\"d\",\"e\",\"f\",\"g\",\"h\",\"i\"]}", MST_ETOOBIG,
            "at most 8 paths");
    refuses(world, "aggregate", "{\"compute\":{\"x\":\"load\"}}", MST_EINVAL, "\\\"load\\\" is no figure");
    refuses(world, "aggregate", "{\"compute\":{\"x\":\"agv(load)\"}}", MST_EINVAL, "did you mean \\\"avg\\\"?");
    refuses(world, "aggregate", "{\"compute\":{\"x\":\"p101(load)\"}}", MST_EINVAL, "is no figure");
    refuses(world, "aggregate", "{\"compute\":{\"x\":\"p(load)\"}}", MST_EINVAL, "is no figure");
    refuses(world, "aggregate", "{\"compute\":{\"x\":\"p9.(load)\"}}", MST_EINVAL, "is no figure");
    refuses(world, "aggregate", "{\"compute\":{\"x\":\"p99\\u0000x(load)\"}}", MST_EINVAL, "is no figure");
    refuses(world, "aggregate", "{\"compute\":{\"x\":\"p99\\u0000(load)\"}}", MST_EINVAL, "is no figure");
    refuses(world, "aggregate", "{\"compute\":{\"x\":\"p.5(load)\"}}", MST_EINVAL, "is no figure");
    refuses(world, "aggregate", "{\"compute\":{\"x\":\"p9.9.9(load)\"}}", MST_EINVAL, "is no figure");
    refuses(world, "aggregate", "{\"compute\":{\"x\":\"p100.01(load)\"}}", MST_EINVAL, "is no figure");
    refuses(world, "aggregate", "{\"compute\":{\"x\":\"p99.0000000001(load)\"}}", MST_EINVAL, "is no figure");
    refuses(world, "aggregate", "{\"compute\":{\"x\":\"avg(load\"}}", MST_EINVAL, "is no figure");
    refuses(world, "aggregate", "{\"compute\":{\"x\":\"avg()\"}}", MST_EINVAL, "key \\\"compute\\\": ");
    refuses(world, "aggregate", "{\"compute\":{\"x\":7}}", MST_EINVAL, "expected a string");
    refuses(world, "aggregate", "{\"compute\":{\"count\":\"sum(load)\"}}", MST_EINVAL, "cannot be the name");
    refuses(world, "aggregate", "{\"order\":\"size\"}", MST_EINVAL, "expected count or key");
    refuses(world, "aggregate", "{\"sort\":[\"a\"]}", MST_EINVAL, "unknown key");
    refuses(world, "aggregate", "{\"limit\":0}", MST_ERANGE, "");
    refuses(world, "aggregate", "{\"min_revision\":9}", MST_EREVISION, "");
    refuses(world, "enumerate", "{\"group_by\":[\"a\"],\"sort\":[\"a\"]}", MST_EINVAL, "unknown key \\\"sort\\\"");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(groups_are_counted),
        TEST(equal_values_are_one_group),
        TEST(figures_are_over_numbers),
        TEST(sums_stay_exact),
        TEST(sums_pass_through_what_no_double_holds),
        TEST(percentiles_are_nearest_ranks),
        TEST(percentiles_have_no_rank_too_high),
        TEST(percentiles_have_a_budget),
        TEST(keys_of_groups_have_a_limit),
        TEST(groups_have_a_limit),
        TEST(refused_requests_make_no_columns),
        TEST(wrong_requests_are_refused),
        cmocka_unit_test(ranks_are_exact),
        cmocka_unit_test(no_order_of_numbers_is_slow),
    };
    return cmocka_run_group_tests_name("verb_aggregate", tests, NULL, NULL);
}
