// SPDX-License-Identifier: Apache-2.0
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "match/match.h"
#include "match/program.h"
#include "view/view.h"

#include "builder.h"
#include "random.h"

/* Loads what is built so far; returns the code and checks that the message has `part`. */
static void refuse(struct builder *b, int code, const char *part)
{
    const struct mst_buffer *bytes = build(b);
    struct mst_program *program = NULL;
    struct mst_error error = {0};
    assert_int_equal(mst_program_load(&program, bytes->data, bytes->length, &error), code);
    assert_null(program);
    assert_int_equal(error.code, code);
    if (!strstr(error.message, part))
        fail_msg("\"%s\" does not say \"%s\"", error.message, part);
    builder_clear(b);
}

static int setup(void **state)
{
    struct builder *b = malloc(sizeof *b);
    builder_init(b);
    *state = b;
    return 0;
}

static int teardown(void **state)
{
    builder_deinit(*state);
    free(*state);
    return 0;
}

static void test_header(void **state)
{
    struct builder *b = *state;
    struct mst_program *program = load(b);
    assert_int_equal(mst_program_leaf_count(program), 0);
    mst_program_destroy(program);
    struct mst_buffer bytes = {0};
    mst_buffer_append(&bytes, build(b)->data, build(b)->length);
    for (size_t length = 0; length < bytes.length; length++)
        assert_int_equal(mst_program_load(&program, bytes.data, length, NULL), MST_EFILTER);
    mst_buffer_append_byte(&bytes, 0);
    assert_int_equal(mst_program_load(&program, bytes.data, bytes.length, NULL), MST_EFILTER);
    bytes.data[4] = 2;
    assert_int_equal(mst_program_load(&program, bytes.data, bytes.length - 1, NULL), MST_EFILTER);
    char *big = calloc(1, 70000);
    assert_int_equal(mst_program_load(&program, big, 65537, NULL), MST_ETOOBIG);
    free(big);
    mst_buffer_deinit(&bytes);
}

static void test_wrong_operands_are_refused(void **state)
{
    struct builder *b = *state;
    add_leaf(b, MST_OP_EQ, "a", NULL, NULL);
    refuse(b, MST_EFILTER, "clause 0");
    add_leaf(b, MST_OP_EQ, "a", "=1", "=2");
    refuse(b, MST_EFILTER, "clause 0");
    add_leaf(b, MST_OP_BETWEEN, "a", "=1", NULL);
    refuse(b, MST_EFILTER, "clause 0");
    add_leaf(b, MST_OP_EXISTS, "a", "=1", NULL);
    refuse(b, MST_EFILTER, "clause 0");
    add_leaf(b, MST_OP_COUNT, "a", "=1", NULL);
    refuse(b, MST_EFILTER, "clause 0");
    add_raw_leaf(b, MST_OP_EXISTS, 7, NONE, NONE, 0, 0);
    refuse(b, MST_EFILTER, "clause 0");
    add_raw_leaf(b, MST_OP_EXISTS, add(b, "a"), NONE, NONE, 0, 1);
    refuse(b, MST_EFILTER, "clause 0");
    add_operand(b, 0, 0, 3);
    refuse(b, MST_EFILTER, "operand 0");
    add_operand(b, 3, 0, 1);
    refuse(b, MST_EFILTER, "operand 0");
    add_operand(b, 1, 1, add_json(b, "1"));
    refuse(b, MST_EFILTER, "operand 0");
    add_operand_with_term(b, 3, 0, 0, true, "\"5\"");
    refuse(b, MST_EFILTER, "operand 0");
    add_distance(b, "a", 0.0 / 0.0, 1);
    refuse(b, MST_EFILTER, "operand 0");
}

static void test_what_is_not_supported_is_refused(void **state)
{
    struct builder *b = *state;
    static const struct {
        unsigned op;
        const char *left, *right;
    } cases[] = {
        {MST_OP_IN, "a", "=1"},
        {MST_OP_IN, "a", "now"},
        {MST_OP_CONTAINS_ANY, "a", "b"},
        {MST_OP_LIKE, "a", "=\"x\""},
        {MST_OP_LIKE, "a", "#glob x"},
        {MST_OP_MATCHES, "a", "b"},
        {MST_OP_TYPE, "a", ":t"},
        {MST_OP_EQ, "a", "#like x"},
        {MST_OP_EQ, "#regex x", "=1"},
        {MST_OP_CIDR, "a", "=\"::/0\""},
        {MST_OP_EXISTS, "lower(a)", NULL},
        {MST_OP_TYPE, "len(a)", "#types 1"},
        {MST_OP_STARTSWITH, "a", "#types 1"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        add_leaf(b, cases[i].op, cases[i].left, cases[i].right, NULL);
        refuse(b, MST_EFILTER, "not supported");
    }
    add_raw_leaf(b, MST_OP_ANY, add(b, "lower(a)"), NONE, NONE, 1, 2);
    refuse(b, MST_EFILTER, "not supported");
    add_raw_leaf(b, MST_OP_ANY, add(b, ":p"), NONE, NONE, 1, 2);
    refuse(b, MST_EFILTER, "not supported");
}

static void test_wrong_constants_are_refused(void **state)
{
    struct builder *b = *state;
    add(b, "#semver latest");
    refuse(b, MST_EFILTER, "bad version");
    add(b, "#cidr 10.0.0.0/99");
    refuse(b, MST_EFILTER, "bad network");
    add(b, "#regex a(b");
    refuse(b, MST_EFILTER, "bad regular expression");
    add(b, "#regex (a)\\1");
    refuse(b, MST_EFILTER, "bad regular expression");
    add(b, "#regex ((a{900}){900}){900}");
    refuse(b, MST_EFILTER, "bad regular expression");
    add(b, "#types 128");
    refuse(b, MST_EFILTER, "constant 0");
    put_number(&b->constants, 0, 1);
    put_number(&b->constants, 1, 4);
    put_number(&b->constants, MST_FINALS, 1);
    b->constant_count = 1;
    refuse(b, MST_EFILTER, "constant 0");
    char pattern[1100] = "like ";
    memset(pattern + 5, 'x', 1025);
    add_typed_constant(b, pattern);
    refuse(b, MST_EFILTER, "too long");
    for (int i = 0; i < 65; i++)
        add(b, "#regex a");
    refuse(b, MST_ETOOBIG, "64 regular expressions");
}

/* A chain of one clause under `depth` nots. */
static void add_nots(struct builder *b, unsigned depth)
{
    for (unsigned i = 0; i < depth; i++)
        add_node(b, NODE_NOT, 0, depth + 1);
    add_leaf_node(b, add_leaf(b, MST_OP_EXISTS, "a", NULL, NULL));
}

static void test_wrong_trees_are_refused(void **state)
{
    struct builder *b = *state;
    static const struct {
        unsigned count, nodes[4][3];
    } trees[] = {
        {1, {{NODE_LEAF, 0, 0}}},
        {1, {{NODE_LEAF, 0, 2}}},
        {1, {{NODE_LEAF, 9, 1}}},
        {1, {{NODE_AND, 0, 1}}},
        {1, {{NODE_NOT, 0, 1}}},
        {1, {{6, 0, 1}}},
        {2, {{NODE_LEAF, 0, 1}, {NODE_LEAF, 0, 2}}},
        {2, {{NODE_LEAF, 0, 2}, {NODE_LEAF, 0, 2}}},
        {2, {{NODE_AND, 1, 2}, {NODE_LEAF, 0, 2}}},
        {2, {{NODE_AND, 0, 2}, {NODE_LEAF, 0, 1}}},
        {2, {{NODE_TRUE, 0, 2}, {NODE_LEAF, 0, 2}}},
        {3, {{NODE_NOT, 0, 3}, {NODE_LEAF, 0, 2}, {NODE_LEAF, 0, 3}}},
        {3, {{NODE_AND, 0, 2}, {NODE_AND, 0, 3}, {NODE_LEAF, 0, 3}}},
        {3, {{NODE_AND, 0, 3}, {NODE_LEAF, 0, 2}, {NODE_LEAF, 0, 2}}},
    };
    for (size_t i = 0; i < sizeof trees / sizeof *trees; i++) {
        add_leaf(b, MST_OP_EXISTS, "a", NULL, NULL);
        for (unsigned j = 0; j < trees[i].count; j++)
            add_node(b, trees[i].nodes[j][0], trees[i].nodes[j][1], trees[i].nodes[j][2]);
        refuse(b, MST_EFILTER, "node");
    }
    add_nots(b, 65);
    refuse(b, MST_ETOOBIG, "nested deeper");
    add_nots(b, 64);
    struct mst_program *program = load(b);
    mst_program_destroy(program);
}

static void test_wrong_inner_expressions_are_refused(void **state)
{
    struct builder *b = *state;
    static const unsigned ranges[][2] = {{0, 0}, {0, 1}, {1, 1}, {1, 3}, {2, 3}, {1, 60000}, {60000, 60001}};
    for (size_t i = 0; i < sizeof ranges / sizeof *ranges; i++) {
        add_leaf_node(b, add_raw_leaf(b, MST_OP_ANY, add(b, "a"), NONE, NONE, ranges[i][0], ranges[i][1]));
        add_leaf_node(b, add_leaf(b, MST_OP_EXISTS, "a", NULL, NULL));
        refuse(b, MST_EFILTER, "node");
    }
    /* Two clauses, or two nodes, that share an inner expression. */
    uint16_t list = add(b, "a");
    add_node(b, NODE_AND, 0, 3);
    add_leaf_node(b, add_raw_leaf(b, MST_OP_ANY, list, NONE, NONE, 3, 4));
    add_leaf_node(b, add_raw_leaf(b, MST_OP_ANY, list, NONE, NONE, 3, 4));
    add_node(b, NODE_TRUE, 0, 4);
    refuse(b, MST_EFILTER, "node");
    list = add(b, "a");
    add_node(b, NODE_AND, 0, 3);
    uint16_t leaf = add_raw_leaf(b, MST_OP_ANY, list, NONE, NONE, 3, 4);
    add_leaf_node(b, leaf);
    add_leaf_node(b, leaf);
    add_node(b, NODE_TRUE, 0, 4);
    refuse(b, MST_EFILTER, "second use");
}

static void test_binding(void **state)
{
    struct builder *b = *state;
    struct mst_bound *bound = NULL;
    struct mst_error error = {0};
    struct mst_buffer parameters = {0};
    add_leaf_node(b, add_leaf(b, MST_OP_MATCHES, "a", ":p", NULL));
    struct mst_program *program = load(b);
    assert_int_equal(mst_bound_create(&bound, program, NULL, 0, "n", &error), MST_EPARAM);
    assert_non_null(strstr(error.message, "\"p\""));
    put_json(b->parser, &parameters, "{\"p\":\"a(b\"}");
    const uint8_t *packed = (const uint8_t *)parameters.data;
    assert_int_equal(mst_bound_create(&bound, program, packed, 0, "n", &error), MST_EFILTER);
    assert_non_null(strstr(error.message, "bad regular expression"));
    assert_null(bound);
    mst_program_destroy(program);
    mst_buffer_deinit(&parameters);
}

static void test_regex_check(void **state)
{
    (void)state;
    struct mst_error error = {0};
    assert_int_equal(mst_regex_check("^a+(?i)b$", 9, &error), 0);
    assert_int_equal(mst_regex_check("ab(?<x)", 7, &error), MST_EFILTER);
    assert_int_equal(mst_regex_check("ab[z-a]", 7, &error), MST_EFILTER);
    assert_true(error.has_position);
    assert_int_equal(error.offset, 3);
    assert_int_equal(mst_regex_check("a(b", 3, NULL), MST_EFILTER);
    char *large = calloc(1, 5000);
    assert_int_equal(mst_regex_check(large, 5000, &error), MST_EFILTER);
    free(large);
}

/* not (a == 1 and any(l, it == 2)) or not exists(@id): explained clause by clause. */
static void test_verdicts(void **state)
{
    struct builder *b = *state;
    add_node(b, NODE_OR, 0, 7);
    add_node(b, NODE_NOT, 0, 5);
    add_node(b, NODE_AND, 0, 5);
    add_leaf_node(b, add_leaf(b, MST_OP_EQ, "a", "=1", NULL));
    add_leaf_node(b, add_raw_leaf(b, MST_OP_ANY, add(b, "l"), NONE, NONE, 7, 8));
    add_node(b, NODE_NOT, 0, 7);
    uint16_t inner = add_leaf(b, MST_OP_EQ, "it", "=2", NULL);
    add_leaf_node(b, add_leaf(b, MST_OP_EXISTS, "@id", NULL, NULL));
    add_leaf_node(b, inner);
    struct mst_program *program = load(b);
    struct mst_bound *bound = NULL;
    struct mst_buffer document = {0};
    struct mst_identity identity = {.id = {"d1", 2}};
    struct mst_verdict verdict;
    put_json(b->parser, &document, "{\"a\":1,\"l\":[5]}");
    const uint8_t *metadata = (const uint8_t *)document.data;
    assert_int_equal(mst_bound_create(&bound, program, NULL, 0, "n", NULL), 0);
    assert_int_equal(mst_program_leaf_count(program), 3);
    mst_bound_verdict(bound, 0, &identity, metadata, &verdict);
    assert_true(verdict.holds && verdict.negated);
    assert_int_equal(mst_value_int(verdict.value), 1);
    assert_memory_equal(verdict.text, "clause 0", verdict.text_length);
    mst_bound_verdict(bound, 1, &identity, metadata, &verdict);
    assert_true(!verdict.holds && verdict.negated);
    assert_int_equal(mst_value_tag(verdict.value), MST_ARRAY);
    mst_bound_verdict(bound, 2, &identity, metadata, &verdict);
    assert_true(verdict.holds && verdict.negated);
    assert_memory_equal(verdict.text, "clause 3", verdict.text_length);
    assert_int_equal(mst_value_tag(verdict.value), MST_STRING);
    mst_bound_verdict(bound, 2, NULL, metadata, &verdict);
    assert_true(!verdict.holds);
    assert_null(verdict.value);
    mst_bound_destroy(bound);
    mst_program_destroy(program);
    mst_buffer_deinit(&document);
}

struct victim {
    struct mst_view *view;
    struct mst_rowset set;
    struct mst_buffer document, parameters;
    unsigned loaded;
};

/* Whatever loads must run: on columns and on a row, and say the same. */
static void attack(struct victim *victim, const void *bytes, size_t length)
{
    struct mst_program *program = NULL;
    struct mst_bound *bound = NULL;
    struct mst_error error = {0};
    struct mst_verdict verdict;
    if (mst_program_load(&program, bytes, length, &error) < 0) {
        assert_true(error.message[0] != '\0');
        return;
    }
    victim->loaded++;
    const uint8_t *parameters = (const uint8_t *)victim->parameters.data;
    if (mst_bound_create(&bound, program, parameters, INT64_C(1760000000000), "n", &error) == 0) {
        struct mst_identity identity;
        mst_view_identity(victim->view, 0, &identity);
        const uint8_t *document = (const uint8_t *)victim->document.data;
        bool holds = mst_bound_match(bound, &identity, document);
        if (mst_match(victim->view, bound, &victim->set, NULL) == 0)
            assert_int_equal(mst_rowset_next(&victim->set, 0) == 0, holds);
        for (uint32_t i = 0; i < mst_program_leaf_count(program); i++)
            mst_bound_verdict(bound, i, &identity, document, &verdict);
        mst_bound_destroy(bound);
    }
    mst_program_destroy(program);
}

static void attack_with_mutations(struct victim *victim, struct builder *b, uint64_t *seed)
{
    char bytes[8192];
    const struct mst_buffer *whole = build(b);
    size_t length = whole->length;
    if (length > sizeof bytes)
        return;
    for (unsigned round = 0; round < 60; round++) {
        memcpy(bytes, whole->data, length);
        for (uint32_t i = 1 + dice(seed, 3); i > 0; i--) {
            size_t at = dice(seed, (uint32_t)length);
            switch (dice(seed, 3)) {
            case 0:
                bytes[at] = (char)(bytes[at] ^ 1 << dice(seed, 8));
                break;
            case 1:
                bytes[at] = (char)dice(seed, 256);
                break;
            default:
                bytes[at] = (char)(bytes[at] + (dice(seed, 2) ? 1 : -1));
            }
        }
        attack(victim, bytes, length);
    }
    for (unsigned round = 0; round < 10; round++)
        attack(victim, whole->data, dice(seed, (uint32_t)length + 1));
    attack(victim, whole->data, length);
}

static void test_mutated_programs_do_no_harm(void **state)
{
    struct builder *b = *state;
    struct victim victim = {0};
    uint64_t seed = 11;
    char metadata[600];
    victim.view = mst_view_create("n", b->parser);
    for (unsigned i = 0; i < 40; i++) {
        char id[20];
        random_metadata(&seed, i, metadata, sizeof metadata);
        struct mst_identity identity = {.metadata = {metadata, strlen(metadata)}, .registered_at = 5};
        identity.revision = i + 1;
        identity.id = (struct mst_span){id, (size_t)snprintf(id, sizeof id, "d%u", i)};
        assert_int_equal(mst_view_put(victim.view, &identity, NULL, NULL), 0);
        if (i == 0)
            put_json(b->parser, &victim.document, metadata);
    }
    random_parameters(b, &seed, &victim.parameters);
    for (unsigned i = 0; i < 500; i++) {
        random_filter(b, &seed);
        attack_with_mutations(&victim, b, &seed);
    }
    assert_true(victim.loaded > 1000);
    mst_view_destroy(victim.view);
    mst_rowset_deinit(&victim.set);
    mst_buffer_deinit(&victim.document);
    mst_buffer_deinit(&victim.parameters);
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        CASE(test_header),
        CASE(test_wrong_operands_are_refused),
        CASE(test_what_is_not_supported_is_refused),
        CASE(test_wrong_constants_are_refused),
        CASE(test_wrong_trees_are_refused),
        CASE(test_wrong_inner_expressions_are_refused),
        CASE(test_binding),
        CASE(test_regex_check),
        CASE(test_verdicts),
        CASE(test_mutated_programs_do_no_harm),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
