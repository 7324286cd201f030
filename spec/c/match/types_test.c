// SPDX-License-Identifier: Apache-2.0
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "match/types.h"
#include "model/value.h"

#include "builder.h"

static struct mst_span span(const char *text)
{
    return (struct mst_span){text, strlen(text)};
}

static void test_versions_are_ordered_as_semver_says(void **state)
{
    (void)state;
    static const char *const ascending[] = {
        "0",
        "0.0.1",
        "0.9.9-rc.1",
        "0.9.9",
        "1.0.0-1",
        "1.0.0-2",
        "1.0.0-10",
        "1.0.0-alpha",
        "1.0.0-alpha.1",
        "1.0.0-alpha.beta",
        "1.0.0-beta",
        "1.0.0-beta.2",
        "1.0.0-beta.11",
        "1.0.0-rc.1",
        "1.0.0",
        "1.0.0.1",
        "1.2",
        "1.9.0",
        "1.10.0",
        "v2",
        "18446744073709551616.0",
        "99999999999999999999999999999999",
    };
    size_t count = sizeof ascending / sizeof *ascending;
    for (size_t i = 0; i < count; i++)
        for (size_t j = 0; j < count; j++) {
            struct mst__version a, b;
            assert_true(mst__version_parse(&a, ascending[i], strlen(ascending[i])));
            assert_true(mst__version_parse(&b, ascending[j], strlen(ascending[j])));
            assert_int_equal(mst__version_compare(&a, &b), (i > j) - (i < j));
        }
}

static void test_versions_that_are_equal_and_texts_that_are_none(void **state)
{
    (void)state;
    static const char *const same[][2] = {
        {"1.2.3", "v1.2.3+build.7"}, {"1", "1.0.0.0"}, {"01.02", "1.2"}, {"1.0-rc.01", "1-rc.1"}, {"V1", "1"}};
    static const char *const bad[] = {"",         "v",    "latest", "1.", ".1",      "1..2", "1.0-",
                                      "1.0-a..b", "1.0+", "1.0 ",   " 1", "1.0-a_b", "1.x",  "1+a+b"};
    struct mst__version a, b;
    for (size_t i = 0; i < sizeof same / sizeof *same; i++) {
        assert_true(mst__version_parse(&a, same[i][0], strlen(same[i][0])));
        assert_true(mst__version_parse(&b, same[i][1], strlen(same[i][1])));
        assert_int_equal(mst__version_compare(&a, &b), 0);
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        if (mst__version_parse(&a, bad[i], strlen(bad[i])))
            fail_msg("\"%s\" passes for a version", bad[i]);
}

static bool holds(const char *network, const char *address)
{
    struct mst__cidr cidr;
    assert_true(mst__cidr_parse(&cidr, network, strlen(network)));
    return mst__cidr_holds(&cidr, address, strlen(address));
}

static void test_networks(void **state)
{
    (void)state;
    assert_true(holds("10.1.0.0/16", "10.1.2.42"));
    assert_false(holds("10.1.0.0/16", "10.2.0.1"));
    assert_true(holds("10.1.2.3/16", "10.1.9.9"));
    assert_true(holds("192.168.0.128/25", "192.168.0.255"));
    assert_false(holds("192.168.0.128/25", "192.168.0.127"));
    assert_true(holds("0.0.0.0/0", "255.255.255.255"));
    assert_false(holds("0.0.0.0/0", "::1"));
    assert_true(holds("10.0.0.1", "10.0.0.1"));
    assert_false(holds("10.0.0.1/32", "10.0.0.2"));
    assert_true(holds("2001:db8::/33", "2001:db8:7fff::1"));
    assert_false(holds("2001:db8::/33", "2001:db8:8000::1"));
    assert_true(holds("::1/128", "0:0:0:0:0:0:0:1"));
    assert_false(holds("10.0.0.0/8", "10.0.0.1/8"));
    assert_false(holds("10.0.0.0/8", "010.0.0.1"));
    assert_false(holds("10.0.0.0/8", "not-an-ip"));
    assert_false(holds("10.0.0.0/8", ""));
    static const char *const bad[] = {"",          "/8",          "10.0.0.0/", "10.0.0.0/33", "10.0.0.0/08",
                                      "10.0.0/8",  "10.0.0.0/-1", "::/129",    "::g",         "10.0.0.0/8/8",
                                      "1.2.3.4.5", "10.0.0.0/8 "};
    struct mst__cidr cidr;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_false(mst__cidr_parse(&cidr, bad[i], strlen(bad[i])));
}

static void test_like(void **state)
{
    (void)state;
    static const struct {
        const char *pattern, *text;
        bool matches;
    } cases[] = {
        {"sensor-%", "sensor-17", true},
        {"sensor-%", "my-sensor-17", false},
        {"%17", "sensor-17", true},
        {"s%r-__", "sensor-17", true},
        {"s%r-__", "sensor-1", false},
        {"_", "\xc3\xa9", true},
        {"__", "\xc3\xa9", false},
        {"100\\%", "100%", true},
        {"100\\%", "1000", false},
        {"a\\_b", "a_b", true},
        {"a\\_b", "axb", false},
        {"a\\\\b", "a\\b", true},
        {"a\\", "a\\", true},
        {"", "", true},
        {"", "a", false},
        {"%", "", true},
        {"%%", "abc", true},
        {"%a%b%", "xxaxxbxx", true},
        {"%a%b%", "xxbxxaxx", false},
        {"%ab", "aab", true},
        {"a*", "ab", false},
        {"\\\xc3\xa9", "\xc3\xa9", true},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        if (mst__like_match(span(cases[i].pattern), span(cases[i].text)) != cases[i].matches)
            fail_msg("like \"%s\" on \"%s\"", cases[i].pattern, cases[i].text);
}

static void test_glob(void **state)
{
    (void)state;
    static const struct {
        const char *pattern, *text;
        bool matches;
    } cases[] = {
        {"sensor-*", "sensor-17", true},
        {"sensor-??", "sensor-17", true},
        {"sensor-??", "sensor-1", false},
        {"gw-[!0-9]", "gw-7", false},
        {"gw-[!0-9]", "gw-x", true},
        {"[a-c]*[!x]", "bcd", true},
        {"[a-c]*[!x]", "bcx", false},
        {"[]a]", "]", true},
        {"[]a]", "a", true},
        {"[]a]", "b", false},
        {"[!]a]", "b", true},
        {"[!]a]", "]", false},
        {"[a-]", "-", true},
        {"[-a]", "-", true},
        {"[a", "[a", true},
        {"[a", "a", false},
        {"[", "[", true},
        {"[!", "[!", true},
        {"[]", "[]", true},
        {"?", "\xe2\x82\xac", true},
        {"[\xc3\xa0-\xc3\xbc]", "\xc3\xa9", true},
        {"[\xc3\xa0-\xc3\xbc]", "e", false},
        {"*", "", true},
        {"a\\*", "a\\bc", true},
        {"a%", "ab", false},
        {"*.*.*", "a.b.c", true},
        {"*.*.*", "a.b", false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        if (mst__glob_match(span(cases[i].pattern), span(cases[i].text)) != cases[i].matches)
            fail_msg("glob \"%s\" on \"%s\"", cases[i].pattern, cases[i].text);
}

static void test_patterns_take_no_exponential_time(void **state)
{
    (void)state;
    char text[16000], pattern[1000];
    memset(text, 'a', sizeof text);
    for (size_t i = 0; i < sizeof pattern; i++)
        pattern[i] = i % 2 ? 'a' : '*';
    pattern[sizeof pattern - 1] = 'b';
    assert_false(mst__glob_match((struct mst_span){pattern, sizeof pattern}, (struct mst_span){text, sizeof text}));
    memset(text, '[', sizeof text);
    memset(pattern, '[', sizeof pattern);
    pattern[0] = '*';
    pattern[sizeof pattern - 1] = 'b';
    assert_false(mst__glob_match((struct mst_span){pattern, sizeof pattern}, (struct mst_span){text, sizeof text}));
}

static double metres(struct builder *b, const char *json, double latitude, double longitude)
{
    struct mst_buffer value = {0};
    double found = -1;
    put_json(b->parser, &value, json);
    if (!mst__distance((const uint8_t *)value.data, latitude, longitude, &found))
        found = -1;
    mst_buffer_deinit(&value);
    return found;
}

static void test_distance(void **state)
{
    (void)state;
    struct builder b;
    builder_init(&b);
    double expected = metres(&b, "{\"lat\":37.8044,\"lon\":-122.4194}", 37.7749, -122.4194);
    assert_true(expected > 3279 && expected < 3282);
    assert_true(metres(&b, "{\"lat\":37.8044,\"lng\":-122.4194}", 37.7749, -122.4194) == expected);
    assert_true(metres(&b, "{\"latitude\":37.8044,\"longitude\":-122.4194}", 37.7749, -122.4194) == expected);
    const char *point = "{\"type\":\"Point\",\"coordinates\":[-122.4194,37.8044,9]}";
    assert_true(metres(&b, point, 37.7749, -122.4194) == expected);
    double date_line = metres(&b, "{\"lat\":0,\"lon\":-179.9}", 0, 179.9);
    assert_true(date_line > 22230 && date_line < 22245);
    double half = metres(&b, "{\"lat\":0,\"lon\":180}", 0, 0);
    assert_true(half > 20015000 && half < 20015200);
    assert_true(metres(&b, "{\"lat\":90,\"lon\":0}", 90, 77) < 1e-3);
    static const char *const none[] = {"1",
                                       "[1,2]",
                                       "{}",
                                       "{\"lat\":1}",
                                       "{\"lat\":\"1\",\"lon\":2}",
                                       "{\"lat\":91,\"lon\":2}",
                                       "{\"lat\":1,\"lon\":-181}",
                                       "{\"type\":\"Point\",\"coordinates\":[1]}",
                                       "{\"type\":\"Line\",\"coordinates\":[1,2]}",
                                       "{\"lat\":1e308,\"lon\":0}"};
    for (size_t i = 0; i < sizeof none / sizeof *none; i++)
        assert_true(metres(&b, none[i], 0, 0) == -1);
    builder_deinit(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_versions_are_ordered_as_semver_says),
        cmocka_unit_test(test_versions_that_are_equal_and_texts_that_are_none),
        cmocka_unit_test(test_networks),
        cmocka_unit_test(test_like),
        cmocka_unit_test(test_glob),
        cmocka_unit_test(test_patterns_take_no_exponential_time),
        cmocka_unit_test(test_distance),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
