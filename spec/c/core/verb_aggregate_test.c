// SPDX-License-Identifier: Apache-2.0
#include <math.h>

#include "coordinator_world.h"

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
        static const double percents[] = {0, 50, 90, 99, 99.9, 100};
        struct reply *reply = call(world, "aggregate",
                                   "{\"compute\":{\"a\":\"p0(n)\",\"b\":\"p50(n)\",\"c\":\"p90(n)\",\"d\":\"p99(n)\","
                                   "\"e\":\"p99.9(n)\",\"f\":\"p100(n)\"}}");
        for (int i = 0; i < 6; i++) {
            char part[64];
            int rank = (int)ceil(percents[i] / 100 * sizes[s]);
            snprintf(part, sizeof part, "\"%c\":%d", 'a' + i, (int)numbers[rank ? rank - 1 : 0]);
            expect_ok(reply, part);
        }
    }
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
        TEST(groups_are_counted), TEST(equal_values_are_one_group),    TEST(figures_are_over_numbers),
        TEST(sums_stay_exact),    TEST(percentiles_are_nearest_ranks), TEST(wrong_requests_are_refused),
    };
    return cmocka_run_group_tests_name("verb_aggregate", tests, NULL, NULL);
}
