// SPDX-License-Identifier: Apache-2.0
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "match/program.h"

#include "builder.h"

#define NOW INT64_C(1760000000000)

struct given {
    const struct mst_identity *identity;
    const char *parameters;
};

/* Runs the program in `b` on one record. */
static bool run(struct builder *b, const char *metadata, const struct given *given)
{
    struct mst_program *program = load(b);
    struct mst_buffer document = {0}, parameters = {0};
    struct mst_bound *bound = NULL;
    struct mst_error error = {0};
    put_json(b->parser, &document, metadata);
    if (given->parameters)
        put_json(b->parser, &parameters, given->parameters);
    const uint8_t *packed = given->parameters ? (const uint8_t *)parameters.data : NULL;
    if (mst_bound_create(&bound, program, packed, NOW, "iot", &error) < 0)
        fail_msg("not bound: %s", error.message);
    bool holds = mst_bound_match(bound, given->identity, (const uint8_t *)document.data);
    mst_bound_destroy(bound);
    mst_program_destroy(program);
    mst_buffer_deinit(&document);
    mst_buffer_deinit(&parameters);
    return holds;
}

static void check_third(const char *metadata, unsigned op, const char *left, const char *right, const char *third,
                        const struct given *given, bool expected)
{
    struct builder b;
    builder_init(&b);
    add_leaf_node(&b, add_leaf(&b, op, left, right, third));
    if (run(&b, metadata, given) != expected)
        fail_msg("operation %u of %s and %s (%s) on %s is not %s", op, left, right ? right : "nothing",
                 given->parameters ? given->parameters : "no parameters", metadata, expected ? "true" : "false");
    builder_deinit(&b);
}

static void check(const char *metadata, unsigned op, const char *left, const char *right, bool expected)
{
    check_third(metadata, op, left, right, NULL, &(struct given){0}, expected);
}

static void check_with(const char *metadata, unsigned op, const char *left, const char *right, const char *parameters,
                       bool expected)
{
    check_third(metadata, op, left, right, NULL, &(struct given){.parameters = parameters}, expected);
}

static void check_identity(const struct mst_identity *identity, unsigned op, const char *left, const char *right,
                           bool expected)
{
    check_third("{}", op, left, right, NULL, &(struct given){.identity = identity}, expected);
}

static void test_equality(void **state)
{
    (void)state;
    check("{\"a\":1.0}", MST_OP_EQ, "a", "=1", true);
    check("{\"a\":1}", MST_OP_EQ, "a", "=\"1\"", false);
    check("{\"a\":1}", MST_OP_EQ, "a", "=true", false);
    check("{\"a\":-0.0}", MST_OP_EQ, "a", "=0", true);
    check("{\"a\":9007199254740993}", MST_OP_EQ, "a", "=9007199254740992.0", false);
    check("{\"a\":\"\"}", MST_OP_EQ, "a", "=\"\"", true);
    check("{}", MST_OP_EQ, "a", "=\"\"", false);
    check("{\"a\":{\"y\":1,\"x\":2}}", MST_OP_EQ, "a", "={\"x\":2.0,\"y\":1}", true);
    check("{\"a\":{\"x\":1,\"y\":2}}", MST_OP_EQ, "a", "={\"x\":1}", false);
    check("{\"tags\":[\"x\",\"y\"]}", MST_OP_EQ, "tags", "=\"x\"", true);
    check("{\"tags\":[\"x\",\"y\"]}", MST_OP_EQ, "tags", "=[\"x\",\"y\"]", true);
    check("{\"tags\":[\"x\",\"y\"]}", MST_OP_EQ, "tags", "=[\"y\",\"x\"]", false);
    check("{\"m\":[[1,2],[3]]}", MST_OP_EQ, "m", "=3", false);
    check("{\"m\":[[1,2],[3]]}", MST_OP_EQ, "m", "=[3]", true);
    check("{\"a\":5}", MST_OP_EQ, "=5", "a", true);
    check("{\"a\":5}", MST_OP_EQ, "a.b", "=1", false);
    check("{\"a.b\":1}", MST_OP_EQ, "`a.b`", "=1", true);
    check("{\"a\":{\"0\":7}}", MST_OP_EQ, "a[0]", "=7", true);
    check("{\"a\":[1,2]}", MST_OP_EQ, "a[2]", "=1", false);
}

static void test_null_means_no_value(void **state)
{
    (void)state;
    static const struct {
        const char *metadata;
        bool is_null;
    } cases[] = {{"{}", true},
                 {"{\"a\":null}", true},
                 {"{\"a\":0}", false},
                 {"{\"a\":\"\"}", false},
                 {"{\"a\":false}", false},
                 {"{\"a\":[]}", false},
                 {"{\"a\":[1,null]}", true},
                 {"{\"a\":[1]}", false}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        check(cases[i].metadata, MST_OP_EQ, "a", "=null", cases[i].is_null);
        check(cases[i].metadata, MST_OP_EQ, "=null", "a", cases[i].is_null);
        check(cases[i].metadata, MST_OP_IN, "a", "=[null]", cases[i].is_null);
        check_with(cases[i].metadata, MST_OP_EQ, "a", ":x", "{\"x\":null}", cases[i].is_null);
        check_with(cases[i].metadata, MST_OP_IN, "a", ":x", "{\"x\":[\"q\",null]}", cases[i].is_null);
    }
    check("{}", MST_OP_LT, "a", "=null", false);
    check("{\"a\":null}", MST_OP_LT, "a", "=5", false);
    check("{\"a\":null}", MST_OP_EXISTS, "a", NULL, true);
    check("{}", MST_OP_EXISTS, "a", NULL, false);
    check("{\"a\":[{\"b\":1}]}", MST_OP_EQ, "a.c", "=null", true);
    check("{}", MST_OP_EQ, "a", "b", false);
    check("{\"a\":null,\"b\":null}", MST_OP_EQ, "a", "b", true);
    check_with("{}", MST_OP_EQ, ":x", "=null", "{\"x\":null}", true);
    check_with("{}", MST_OP_EQ, ":x", "=null", "{\"x\":1}", false);
}

static void test_order(void **state)
{
    (void)state;
    check("{\"a\":3}", MST_OP_LT, "a", "=5", true);
    check("{\"a\":5}", MST_OP_LT, "a", "=5", false);
    check("{\"a\":5}", MST_OP_LE, "a", "=5", true);
    check("{\"a\":9007199254740993}", MST_OP_GT, "a", "=9007199254740992.0", true);
    check("{\"a\":\"3\"}", MST_OP_LT, "a", "=5", false);
    check("{\"a\":true}", MST_OP_GE, "a", "=0", false);
    check("{\"a\":\"Z\"}", MST_OP_LT, "a", "=\"a\"", true);
    check("{\"a\":\"a\"}", MST_OP_LT, "a", "=\"ab\"", true);
    check("{\"v\":\"10.0\"}", MST_OP_GE, "v", "=\"2.0\"", false);
    check("{\"a\":7}", MST_OP_LT, "=5", "a", true);
    check("{\"t\":[10,40]}", MST_OP_GT, "t", "=30", true);
    check("{\"t\":[]}", MST_OP_GT, "t", "=30", false);
    check("{\"s\":[{\"t\":10},{\"t\":40}]}", MST_OP_GT, "s.t", "=30", true);
    check("{\"a\":2,\"b\":4}", MST_OP_LT, "a", "b", true);
    check("{\"a\":4}", MST_OP_LT, "a", "b", false);
    check("{\"a\":[9,2],\"b\":[1,3]}", MST_OP_LT, "a", "b", true);
    check_third("{\"x\":1}", MST_OP_BETWEEN, "x", "=1", "=5", &(struct given){0}, true);
    check_third("{\"x\":5}", MST_OP_BETWEEN, "x", "=1", "=5", &(struct given){0}, true);
    check_third("{\"x\":5.01}", MST_OP_BETWEEN, "x", "=1", "=5", &(struct given){0}, false);
    check_third("{\"x\":[0,9]}", MST_OP_BETWEEN, "x", "=1", "=5", &(struct given){0}, false);
    check_third("{\"x\":\"b\"}", MST_OP_BETWEEN, "x", "=\"a\"", "=\"m\"", &(struct given){0}, true);
    check_third("{\"x\":3,\"l\":1,\"h\":4}", MST_OP_BETWEEN, "x", "l", "h", &(struct given){0}, true);
    check_third("{\"x\":3,\"l\":1}", MST_OP_BETWEEN, "x", "l", "h", &(struct given){0}, false);
}

static void test_membership(void **state)
{
    (void)state;
    check("{\"s\":true}", MST_OP_IN, "s", "=[1,\"x\",true]", true);
    check("{\"s\":\"1\"}", MST_OP_IN, "s", "=[1,2]", false);
    check("{\"s\":2.0}", MST_OP_IN, "s", "=[1,2]", true);
    check("{\"s\":1}", MST_OP_IN, "s", "=[]", false);
    check("{}", MST_OP_IN, "s", "=[]", false);
    check("{\"s\":[\"y\",\"x\"]}", MST_OP_IN, "s", "=[\"x\",\"z\"]", true);
    check("{\"s\":[\"x\",\"y\"]}", MST_OP_IN, "s", "=[[\"x\",\"y\"]]", true);
    check("{\"s\":{\"a\":[1]}}", MST_OP_IN, "s", "=[3,{\"a\":[1.0]}]", true);
    check("{\"tags\":[\"x\",\"y\"]}", MST_OP_IN, "=\"x\"", "tags", true);
    check("{\"tags\":\"x\"}", MST_OP_IN, "=\"x\"", "tags", false);
    check("{\"role\":\"ops\",\"allowed\":[\"dev\",\"ops\"]}", MST_OP_IN, "role", "allowed", true);
    check("{\"role\":\"ops\"}", MST_OP_IN, "role", "allowed", false);
    check("{\"allowed\":[null]}", MST_OP_IN, "role", "allowed", false);
    check("{\"g\":[{\"m\":[1]},{\"m\":[2]}]}", MST_OP_IN, "=2", "g.m", true);
    check_with("{\"s\":\"b\"}", MST_OP_IN, "s", ":l", "{\"l\":[\"a\",\"b\"]}", true);
    check_with("{\"s\":\"b\"}", MST_OP_IN, "s", ":l", "{\"l\":\"b\"}", false);
    check("{\"v\":\"1.2.0\"}", MST_OP_IN, "semver(v)", "=[\"2\",\"1.2\"]", true);
}

static void test_strings_and_patterns(void **state)
{
    (void)state;
    check("{\"n\":\"sensor-1\"}", MST_OP_STARTSWITH, "n", "=\"sen\"", true);
    check("{\"n\":\"sensor-1\"}", MST_OP_STARTSWITH, "n", "=\"Sen\"", false);
    check("{\"n\":5}", MST_OP_STARTSWITH, "n", "=\"\"", false);
    check("{\"n\":\"se\"}", MST_OP_STARTSWITH, "n", "=\"sen\"", false);
    check("{\"n\":[\"a\",\"sensor\"]}", MST_OP_ENDSWITH, "n", "=\"sor\"", true);
    check("{\"n\":\"or\"}", MST_OP_ENDSWITH, "n", "=\"sor\"", false);
    check("{\"n\":\"abc\",\"p\":\"ab\"}", MST_OP_STARTSWITH, "n", "p", true);
    check_with("{\"n\":\"abc\"}", MST_OP_STARTSWITH, "n", ":p", "{\"p\":5}", false);
    check("{\"n\":\"sensor-17\"}", MST_OP_LIKE, "n", "#like sensor-__", true);
    check("{\"n\":17}", MST_OP_LIKE, "n", "#like %", false);
    check("{\"n\":\"gw-7\"}", MST_OP_GLOB, "n", "#glob gw-[!0-9]", false);
    check("{\"n\":\"sensor-17\"}", MST_OP_MATCHES, "n", "#regex or", true);
    check("{\"n\":\"sensor-17\"}", MST_OP_MATCHES, "n", "#regex ^or", false);
    check("{\"n\":\"SENSOR\"}", MST_OP_MATCHES, "n", "#regex (?i)^sensor$", true);
    check("{\"n\":[\"x\",\"sensor\"]}", MST_OP_MATCHES, "n", "#regex ^s", true);
    check("{\"n\":\"ALICE\"}", MST_OP_MATCHES, "lower(n)", "#regex ^alice$", true);
    check_with("{\"n\":\"sensor-17\"}", MST_OP_MATCHES, "n", ":p", "{\"p\":\"\\\\d+$\"}", true);
    check_with("{\"n\":\"sensor-17\"}", MST_OP_LIKE, "n", ":p", "{\"p\":\"sens%\"}", true);
    check_with("{\"n\":\"sensor-17\"}", MST_OP_GLOB, "n", ":p", "{\"p\":\"s*7\"}", true);
    check_with("{\"n\":\"sensor-17\"}", MST_OP_GLOB, "n", ":p", "{\"p\":17}", false);
    check("{\"ip\":\"10.1.2.42\"}", MST_OP_CIDR, "ip", "#cidr 10.1.0.0/16", true);
    check("{\"ip\":\"x\"}", MST_OP_CIDR, "ip", "#cidr 10.1.0.0/16", false);
    check("{\"ip\":[\"10.0.0.1\",\"fd00::7\"]}", MST_OP_CIDR, "ip", "#cidr fd00::/8", true);
    check_with("{\"ip\":\"10.1.2.42\"}", MST_OP_CIDR, "ip", ":n", "{\"n\":\"10.0.0.0/8\"}", true);
}

static void test_contains(void **state)
{
    (void)state;
    check("{\"n\":\"sensor\"}", MST_OP_CONTAINS, "n", "=\"ens\"", true);
    check("{\"n\":\"sensor\"}", MST_OP_CONTAINS, "n", "=\"\"", true);
    check("{\"n\":[\"paypal\",\"credit-card\"]}", MST_OP_CONTAINS, "n", "=\"credit-card\"", true);
    check("{\"n\":[\"paypal\",\"credit-card\"]}", MST_OP_CONTAINS, "n", "=\"card\"", false);
    check("{\"n\":5}", MST_OP_CONTAINS, "n", "=\"5\"", false);
    check("{\"n\":[80,443]}", MST_OP_CONTAINS, "n", "=443.0", true);
    check("{\"n\":[80,443]}", MST_OP_CONTAINS, "n", "=\"443\"", false);
    check("{\"n\":[[1],[2]]}", MST_OP_CONTAINS, "n", "=[2]", true);
    check("{\"n\":[[1],[2]]}", MST_OP_CONTAINS, "n", "=2", false);
    check("{\"n\":[1,null]}", MST_OP_CONTAINS, "n", "=null", true);
    check("{}", MST_OP_CONTAINS, "n", "=null", false);
    check("{\"n\":[\"x\",\"y\"],\"r\":\"y\"}", MST_OP_CONTAINS, "n", "r", true);
    check("{\"n\":\"ALICE\"}", MST_OP_CONTAINS, "lower(n)", "=\"lic\"", true);
    check("{\"t\":[\"b\",\"c\"]}", MST_OP_CONTAINS_ANY, "t", "=[\"a\",\"b\"]", true);
    check("{\"t\":[\"b\",\"c\"]}", MST_OP_CONTAINS_ANY, "t", "=[]", false);
    check("{\"t\":\"abc\"}", MST_OP_CONTAINS_ANY, "t", "=[1,\"bc\"]", true);
    check("{\"t\":[\"c\",\"b\",\"a\"]}", MST_OP_CONTAINS_ALL, "t", "=[\"a\",\"b\"]", true);
    check("{\"t\":[\"c\",\"b\"]}", MST_OP_CONTAINS_ALL, "t", "=[\"a\",\"b\"]", false);
    check("{\"t\":\"abc\"}", MST_OP_CONTAINS_ALL, "t", "=[\"a\",1]", false);
    check("{\"t\":[\"x\"]}", MST_OP_CONTAINS_ALL, "t", "=[]", true);
    check("{\"t\":\"x\"}", MST_OP_CONTAINS_ALL, "t", "=[]", true);
    check("{\"t\":5}", MST_OP_CONTAINS_ALL, "t", "=[]", false);
    check("{}", MST_OP_CONTAINS_ALL, "t", "=[]", false);
    check("{\"s\":[{\"t\":[1]},{\"t\":[2]}]}", MST_OP_CONTAINS_ALL, "s.t", "=[1,2]", false);
    check_with("{\"t\":[\"c\",\"b\",\"a\"]}", MST_OP_CONTAINS_ALL, "t", ":l", "{\"l\":[\"a\",\"b\"]}", true);
    check_with("{\"t\":[\"c\"]}", MST_OP_CONTAINS_ANY, "t", ":l", "{\"l\":\"c\"}", false);
}

static void test_functions_and_types(void **state)
{
    (void)state;
    check("{\"n\":\"ALICE\"}", MST_OP_EQ, "lower(n)", "=\"alice\"", true);
    check("{\"n\":[\"BOB\",\"ALICE\"]}", MST_OP_EQ, "lower(n)", "=\"alice\"", true);
    check("{\"n\":\"\xc3\x89\"}", MST_OP_EQ, "lower(n)", "=\"\xc3\x89\"", true);
    check("{\"n\":\"[a`z{\"}", MST_OP_EQ, "upper(n)", "=\"[A`Z{\"", true);
    check("{\"n\":5}", MST_OP_EQ, "lower(n)", "=\"5\"", false);
    check("{\"n\":\"\xc3\xa9\"}", MST_OP_EQ, "len(n)", "=1", true);
    check("{\"n\":[\"x\",\"y\"]}", MST_OP_EQ, "len(n)", "=2", true);
    check("{\"n\":[\"x\",\"y\"]}", MST_OP_EQ, "len(n)", "=1", false);
    check("{\"n\":{\"x\":1}}", MST_OP_EQ, "len(n)", "=1", true);
    check("{}", MST_OP_EQ, "len(n)", "=0", false);
    check("{\"n\":7}", MST_OP_GE, "len(n)", "=0", false);
    check("{\"s\":[{\"t\":[1]},{\"t\":[1,2,3]}]}", MST_OP_EQ, "len(s.t)", "=3", true);
    check("{\"a\":1,\"b\":\"x\"}", MST_OP_TYPE, "a", "#types 4", true);
    check("{\"a\":1.0}", MST_OP_TYPE, "a", "#types 4", false);
    check("{\"a\":1.0}", MST_OP_TYPE, "a", "#types 2", true);
    check("{\"a\":[]}", MST_OP_TYPE, "a", "#types 32", true);
    check("{\"a\":[1]}", MST_OP_TYPE, "a", "#types 2", false);
    check("{\"a\":null}", MST_OP_TYPE, "a", "#types 16", true);
    check("{}", MST_OP_TYPE, "a", "#types 127", false);
    check("{\"a\":{}}", MST_OP_TYPE, "a", "#types 64", true);
    check("{\"a\":false}", MST_OP_TYPE, "a", "#types 9", true);
    check("{\"a\":true}", MST_OP_TRUE, "a", NULL, true);
    check("{\"a\":[false,true]}", MST_OP_TRUE, "a", NULL, true);
    check("{\"a\":1}", MST_OP_TRUE, "a", NULL, false);
    check("{}", MST_OP_TRUE, "a", NULL, false);
    check_with("{}", MST_OP_TRUE, ":on", NULL, "{\"on\":true}", true);
}

static void test_versions_and_times(void **state)
{
    (void)state;
    check("{\"v\":\"1.9.0\"}", MST_OP_LT, "v", "#semver 1.10.0", true);
    check("{\"v\":\"v1.2.3+x\"}", MST_OP_EQ, "v", "#semver 1.2.3", true);
    check("{\"v\":\"latest\"}", MST_OP_LT, "v", "#semver 2.0.0", false);
    check("{\"v\":1.5}", MST_OP_LT, "v", "#semver 2.0.0", false);
    check("{\"v\":[\"junk\",\"1.0\"]}", MST_OP_LT, "v", "#semver 2.0.0", true);
    check("{\"i\":\"1.9.0\",\"w\":\"1.10.0\"}", MST_OP_LT, "semver(i)", "semver(w)", true);
    check("{\"i\":\"1.9.0\",\"w\":\"1.10.0\"}", MST_OP_LT, "i", "semver(w)", true);
    check_with("{\"v\":\"1.9\"}", MST_OP_LT, "semver(v)", ":w", "{\"w\":\"1.10\"}", true);
    check("{\"t\":1759999800}", MST_OP_GT, "t", "now-300", true);
    check("{\"t\":1759999800000}", MST_OP_GT, "t", "now-300", true);
    check("{\"t\":1759999600}", MST_OP_GT, "t", "now-300", false);
    check("{\"t\":1759999700.5}", MST_OP_GT, "t", "now-300", true);
    check("{\"t\":\"2025-10-09T08:48:20.001Z\"}", MST_OP_GT, "t", "now-300", true);
    check("{\"t\":\"2025-10-09T08:48:19.999Z\"}", MST_OP_GT, "t", "now-300", false);
    check("{\"t\":\"yesterday\"}", MST_OP_GT, "t", "now-300", false);
    check("{\"t\":true}", MST_OP_GT, "t", "now-300", false);
    check("{}", MST_OP_GT, "t", "now-300", false);
    check("{\"t\":1760086401}", MST_OP_GT, "t", "now+86400", true);
    check("{\"t\":99999999999}", MST_OP_GT, "time(t)", "now", true);
    check("{\"t\":100000000000}", MST_OP_LT, "time(t)", "now", true);
    check("{\"t\":-100000000000}", MST_OP_GT, "time(t)", "#time 0", false);
    check("{\"t\":1e300}", MST_OP_GT, "time(t)", "now", false);
    check("{\"t\":\"2025-10-09\"}", MST_OP_EQ, "t", "#time 1759968000000000", true);
    check_with("{\"t\":1759999990}", MST_OP_GT, "t", "now-:w", "{\"w\":60}", true);
    check_with("{\"t\":1759999990}", MST_OP_GT, "t", "now-:w", "{\"w\":1.5}", false);
    check_with("{\"t\":1759999990}", MST_OP_GT, "t", "now-:w", "{\"w\":\"60\"}", false);
    check_with("{\"t\":1759999990}", MST_OP_LT, "t", "now+:w", "{\"w\":9223372036854775807}", false);
    check("{\"t\":\"1.0\"}", MST_OP_LT, "#semver 1", "now", false);
}

static void test_built_ins(void **state)
{
    (void)state;
    struct mst_identity none = {0};
    struct mst_identity identity = {
        .id = {"d-1", 3}, .registered_at = NOW - 60000, .updated_at = NOW - 20000, .expires_at = NOW + 25500};
    check_identity(&identity, MST_OP_EQ, "@id", "=\"d-1\"", true);
    check_identity(&identity, MST_OP_STARTSWITH, "@id", "=\"d-\"", true);
    check_identity(&identity, MST_OP_EQ, "upper(@id)", "=\"D-1\"", true);
    check_identity(&none, MST_OP_EXISTS, "@id", NULL, false);
    check_identity(NULL, MST_OP_EXISTS, "@id", NULL, false);
    check_identity(NULL, MST_OP_EQ, "@namespace", "=\"iot\"", true);
    check_identity(&identity, MST_OP_GT, "@registered_at", "now-3600", true);
    check_identity(&identity, MST_OP_LE, "@registered_at", "@updated_at", true);
    check_identity(&identity, MST_OP_LT, "@updated_at", "now-10", true);
    check_identity(&identity, MST_OP_GT, "@expires_at", "now", true);
    check_identity(&identity, MST_OP_LT, "@ttl", "=30", true);
    check_identity(&identity, MST_OP_EQ, "@ttl", "=25.5", true);
    check_identity(&identity, MST_OP_EQ, "@age", "=60", true);
    check_identity(&identity, MST_OP_GT, "@age", "=86400", false);
    check_identity(&none, MST_OP_LT, "@ttl", "=30", false);
    check_identity(&none, MST_OP_EXISTS, "@expires_at", NULL, false);
    check_identity(&none, MST_OP_EQ, "@expires_at", "=null", true);
    check_identity(&identity, MST_OP_EQ, "@expires_at", "=null", false);
}

/* any(list, kind == "probe" and temp > 30), or all(...) */
static bool quantified(unsigned op, const char *metadata)
{
    struct builder b;
    builder_init(&b);
    uint16_t outer = add_raw_leaf(&b, op, add(&b, "list"), NONE, NONE, 1, 4);
    add_leaf_node(&b, outer);
    add_node(&b, NODE_AND, 0, 4);
    add_leaf_node(&b, add_leaf(&b, MST_OP_EQ, "kind", "=\"probe\"", NULL));
    add_leaf_node(&b, add_leaf(&b, MST_OP_GT, "temp", "=30", NULL));
    bool holds = run(&b, metadata, &(struct given){0});
    builder_deinit(&b);
    return holds;
}

static void test_any_and_all(void **state)
{
    (void)state;
    const char *hit = "{\"list\":[{\"kind\":\"x\",\"temp\":50},{\"kind\":\"probe\",\"temp\":40}]}";
    const char *apart = "{\"list\":[{\"kind\":\"probe\",\"temp\":20},{\"kind\":\"x\",\"temp\":40}]}";
    const char *every = "{\"list\":[{\"kind\":\"probe\",\"temp\":31},{\"kind\":\"probe\",\"temp\":40}]}";
    assert_true(quantified(MST_OP_ANY, hit));
    assert_false(quantified(MST_OP_ANY, apart));
    assert_false(quantified(MST_OP_ALL, hit));
    assert_true(quantified(MST_OP_ALL, every));
    assert_true(quantified(MST_OP_ALL, "{\"list\":[]}"));
    assert_false(quantified(MST_OP_ANY, "{\"list\":[]}"));
    assert_false(quantified(MST_OP_ALL, "{}"));
    assert_false(quantified(MST_OP_ALL, "{\"list\":{\"kind\":\"probe\",\"temp\":40}}"));
}

/* any(groups, all(temps, it < 30) and @id == "d"): two levels, the element itself, a built-in inside */
static void test_nested_quantifiers(void **state)
{
    (void)state;
    struct builder b;
    struct mst_identity identity = {.id = {"d", 1}};
    struct given given = {.identity = &identity};
    builder_init(&b);
    uint16_t outer = add_raw_leaf(&b, MST_OP_ANY, add(&b, "groups"), NONE, NONE, 1, 4);
    add_leaf_node(&b, outer);
    add_node(&b, NODE_AND, 0, 4);
    uint16_t inner = add_raw_leaf(&b, MST_OP_ALL, add(&b, "temps"), NONE, NONE, 4, 5);
    add_leaf_node(&b, inner);
    add_leaf_node(&b, add_leaf(&b, MST_OP_EQ, "@id", "=\"d\"", NULL));
    add_leaf_node(&b, add_leaf(&b, MST_OP_LT, "it", "=30", NULL));
    assert_true(run(&b, "{\"groups\":[{\"temps\":[40]},{\"temps\":[10,20]}]}", &given));
    assert_false(run(&b, "{\"groups\":[{\"temps\":[40]},{\"temps\":[10,50]}]}", &given));
    identity.id.data = "e";
    assert_false(run(&b, "{\"groups\":[{\"temps\":[40]},{\"temps\":[10,20]}]}", &given));
    builder_deinit(&b);
}

static void test_distance_of_a_place(void **state)
{
    (void)state;
    struct builder b;
    builder_init(&b);
    uint16_t limit = add(&b, "=5000");
    add_leaf_node(&b, add_raw_leaf(&b, MST_OP_LT, add_distance(&b, "at", 37.7749, -122.4194), limit, NONE, 0, 0));
    struct given given = {0};
    assert_true(run(&b, "{\"at\":{\"lat\":37.8044,\"lon\":-122.4194}}", &given));
    assert_true(run(&b, "{\"at\":[{\"lat\":0,\"lon\":0},{\"lat\":37.8044,\"lon\":-122.4194}]}", &given));
    assert_false(run(&b, "{\"at\":{\"lat\":38.8044,\"lon\":-122.4194}}", &given));
    assert_false(run(&b, "{}", &given));
    builder_deinit(&b);
}

/* left + term compared with right. */
static void check_sum(const char *metadata, const char *left, bool minus, const char *term, const char *right,
                      const char *parameters, bool expected)
{
    struct builder b;
    struct given given = {.parameters = parameters};
    builder_init(&b);
    uint16_t sum = *left == ':'   ? add_operand_with_term(&b, 2, 0, add_parameter(&b, left + 1), minus, term)
                   : *left == '=' ? add_operand_with_term(&b, 1, 0, add_json(&b, left + 1), minus, term)
                                  : add_operand_with_term(&b, 0, 0, add_path(&b, left), minus, term);
    add_leaf_node(&b, add_raw_leaf(&b, MST_OP_EQ, sum, add(&b, right), NONE, 0, 0));
    if (run(&b, metadata, &given) != expected)
        fail_msg("%s %c %s == %s on %s", left, minus ? '-' : '+', term, right, metadata);
    builder_deinit(&b);
}

static void test_sums_of_numbers(void **state)
{
    (void)state;
    check_sum("{\"a\":5}", "a", false, "2", "=7", NULL, true);
    check_sum("{\"a\":5}", "a", true, "2", "=3", NULL, true);
    check_sum("{\"a\":[5,6]}", "a", false, "2.5", "=8.5", NULL, true);
    check_sum("{\"a\":\"5\"}", "a", false, "2", "=7", NULL, false);
    check_sum("{}", "a", false, "2", "=2", NULL, false);
    check_sum("{\"a\":9007199254740993}", "a", false, "2", "=9007199254740995", NULL, true);
    check_sum("{\"a\":9223372036854775807}", "a", false, "1", "=9223372036854775808.0", NULL, true);
    check_sum("{\"a\":1.7e308}", "a", false, "1.7e308", "a", NULL, false);
    check_sum("{\"a\":9}", "=4", false, ":n", "a", "{\"n\":5}", true);
    check_sum("{\"a\":9}", ":m", true, ":n", "a", "{\"n\":1,\"m\":10}", true);
    check_sum("{\"a\":9}", ":m", true, ":n", "a", "{\"n\":\"1\",\"m\":10}", false);
    check_sum("{}", ":m", false, "1", "=null", "{\"m\":null}", true);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_equality),
        cmocka_unit_test(test_null_means_no_value),
        cmocka_unit_test(test_order),
        cmocka_unit_test(test_membership),
        cmocka_unit_test(test_strings_and_patterns),
        cmocka_unit_test(test_contains),
        cmocka_unit_test(test_functions_and_types),
        cmocka_unit_test(test_versions_and_times),
        cmocka_unit_test(test_built_ins),
        cmocka_unit_test(test_any_and_all),
        cmocka_unit_test(test_nested_quantifiers),
        cmocka_unit_test(test_distance_of_a_place),
        cmocka_unit_test(test_sums_of_numbers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
