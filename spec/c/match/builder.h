// SPDX-License-Identifier: Apache-2.0
#pragma once

/* Writes filter programs by hand, and a record to run them on. For tests only; a wrong call aborts. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/buffer.h"
#include "match/program.h"
#include "model/json.h"
#include "model/path.h"
#include "model/value.h"

#define NONE 0xffffu

enum { NODE_LEAF, NODE_AND, NODE_OR, NODE_NOT, NODE_TRUE, NODE_FALSE };

struct builder {
    struct mst_json_parser *parser;
    struct mst_buffer paths, constants, parameters, operands, leaves, nodes, out;
    uint16_t path_count, constant_count, parameter_count, operand_count, leaf_count, node_count;
};

static inline void builder_init(struct builder *b)
{
    memset(b, 0, sizeof *b);
    b->parser = mst_json_parser_create();
    assert_non_null(b->parser);
}

static inline void builder_deinit(struct builder *b)
{
    mst_json_parser_destroy(b->parser);
    struct mst_buffer *all[] = {&b->paths, &b->constants, &b->parameters, &b->operands, &b->leaves, &b->nodes, &b->out};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        mst_buffer_deinit(all[i]);
}

/* Keeps the parser. */
static inline void builder_clear(struct builder *b)
{
    struct mst_json_parser *parser = b->parser;
    b->parser = NULL;
    struct mst_buffer *all[] = {&b->paths, &b->constants, &b->parameters, &b->operands, &b->leaves, &b->nodes, &b->out};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        mst_buffer_deinit(all[i]);
    memset(b, 0, sizeof *b);
    b->parser = parser;
}

static inline void put_number(struct mst_buffer *out, uint64_t number, unsigned bytes)
{
    for (unsigned i = 0; i < bytes; i++)
        mst_buffer_append_byte(out, (char)(number >> (8 * i)));
}

static inline void put_text(struct mst_buffer *out, const char *text, size_t length)
{
    put_number(out, length, 2);
    mst_buffer_append(out, text, length);
}

static inline void put_f64(struct mst_buffer *out, double number)
{
    uint64_t bits;
    memcpy(&bits, &number, sizeof bits);
    put_number(out, bits, 8);
}

/* Appends one JSON text as a packed value. */
static inline void put_json(struct mst_json_parser *parser, struct mst_buffer *out, const char *text)
{
    struct mst_json_limits limits = {.bytes = 1 << 20, .depth = 64};
    struct mst_error error = {0};
    if (mst_json_parse(parser, text, strlen(text), &limits, out, &error) < 0)
        fail_msg("bad JSON in a test: %s: %s", text, error.message);
}

/* "a.b[0]", or "" for the document itself. */
static inline uint16_t add_path(struct builder *b, const char *text)
{
    struct mst_path path = {0};
    if (*text)
        assert_int_equal(mst_path_parse(&path, text, strlen(text), NULL), 0);
    put_number(&b->paths, 0, 1);
    put_number(&b->paths, path.count, 1);
    for (uint32_t i = 0; i < path.count; i++) {
        put_number(&b->paths, path.steps[i].index >= 0, 1);
        if (path.steps[i].index >= 0)
            put_number(&b->paths, (uint64_t)path.steps[i].index, 4);
        else
            put_text(&b->paths, path.steps[i].name, path.steps[i].length);
    }
    return b->path_count++;
}

static inline uint16_t add_builtin(struct builder *b, const char *name)
{
    static const char *const names[] = {"id", "namespace", "registered_at", "updated_at", "expires_at", "ttl", "age"};
    unsigned which = 0;
    while (strcmp(names[which], name) != 0)
        which++;
    put_number(&b->paths, 1, 1);
    put_number(&b->paths, which, 1);
    return b->path_count++;
}

static inline uint16_t add_json(struct builder *b, const char *text)
{
    struct mst_buffer value = {0};
    put_json(b->parser, &value, text);
    put_number(&b->constants, 0, 1);
    put_number(&b->constants, value.length, 4);
    mst_buffer_append(&b->constants, value.data, value.length);
    mst_buffer_deinit(&value);
    return b->constant_count++;
}

static inline uint16_t add_text_constant(struct builder *b, unsigned type, const char *text)
{
    put_number(&b->constants, type, 1);
    put_text(&b->constants, text, strlen(text));
    return b->constant_count++;
}

static inline uint16_t add_parameter(struct builder *b, const char *name)
{
    put_text(&b->parameters, name, strlen(name));
    return b->parameter_count++;
}

static inline uint16_t add_operand(struct builder *b, unsigned kind, unsigned function, uint16_t index)
{
    put_number(&b->operands, kind, 1);
    put_number(&b->operands, function, 1);
    put_number(&b->operands, index, 2);
    put_number(&b->operands, 0, 1);
    return b->operand_count++;
}

/* One term: a JSON number, or ":name". */
static inline uint16_t add_operand_with_term(struct builder *b, unsigned kind, unsigned function, uint16_t index,
                                             bool minus, const char *term)
{
    uint16_t term_index = *term == ':' ? add_parameter(b, term + 1) : add_json(b, term);
    put_number(&b->operands, kind, 1);
    put_number(&b->operands, function, 1);
    put_number(&b->operands, index, 2);
    put_number(&b->operands, 1, 1);
    put_number(&b->operands, minus, 1);
    put_number(&b->operands, *term == ':' ? 2 : 1, 1);
    put_number(&b->operands, term_index, 2);
    return b->operand_count++;
}

static inline uint16_t add_distance(struct builder *b, const char *path, double latitude, double longitude)
{
    uint16_t operand = add_operand(b, 0, 6, add_path(b, path));
    put_f64(&b->operands, latitude);
    put_f64(&b->operands, longitude);
    return operand;
}

static inline uint16_t add_typed_constant(struct builder *b, const char *spec)
{
    static const struct {
        const char *prefix;
        unsigned type;
    } kinds[] = {{"semver ", 1}, {"cidr ", 3}, {"regex ", 4}, {"like ", 5}, {"glob ", 6}};
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if (strncmp(spec, kinds[i].prefix, strlen(kinds[i].prefix)) == 0)
            return add_text_constant(b, kinds[i].type, spec + strlen(kinds[i].prefix));
    if (strncmp(spec, "time ", 5) == 0) {
        put_number(&b->constants, 2, 1);
        put_number(&b->constants, strtoull(spec + 5, NULL, 10), 8);
    } else if (strncmp(spec, "types ", 6) == 0) {
        put_number(&b->constants, 7, 1);
        put_number(&b->constants, strtoul(spec + 6, NULL, 10), 2);
    } else {
        fail_msg("bad operand in a test: %s", spec);
    }
    return b->constant_count++;
}

/*
 * An operand from a short spelling: NULL none; "=JSON" constant; ":name" parameter; "now", "now-300", "now-:w";
 * "#semver 1.2", "#cidr ..", "#regex ..", "#like ..", "#glob ..", "#time micros", "#types mask" typed constant;
 * "@ttl" built-in; "lower(a)" "upper" "len" "semver" "time" function of a path; else a path ("it": the document).
 */
static inline uint16_t add(struct builder *b, const char *spec)
{
    static const char *const functions[] = {"", "lower(", "upper(", "len(", "semver(", "time("};
    if (!spec)
        return NONE;
    if (*spec == '=')
        return add_operand(b, 1, 0, add_json(b, spec + 1));
    if (*spec == ':')
        return add_operand(b, 2, 0, add_parameter(b, spec + 1));
    if (*spec == '#')
        return add_operand(b, 1, 0, add_typed_constant(b, spec + 1));
    if (*spec == '@')
        return add_operand(b, 0, 0, add_builtin(b, spec + 1));
    if (strcmp(spec, "now") == 0)
        return add_operand(b, 3, 0, 0);
    if (strncmp(spec, "now-", 4) == 0 || strncmp(spec, "now+", 4) == 0)
        return add_operand_with_term(b, 3, 0, 0, spec[3] == '-', spec + 4);
    for (unsigned i = 1; i < 6; i++) {
        size_t length = strlen(functions[i]);
        if (strncmp(spec, functions[i], length) != 0)
            continue;
        char path[100];
        snprintf(path, sizeof path, "%.*s", (int)(strlen(spec) - length - 1), spec + length);
        if (*path == '@')
            return add_operand(b, 0, i, add_builtin(b, path + 1));
        return add_operand(b, 0, i, add_path(b, strcmp(path, "it") == 0 ? "" : path));
    }
    return add_operand(b, 0, 0, add_path(b, strcmp(spec, "it") == 0 ? "" : spec));
}

/* A leaf of operand numbers; inner range 0, 0 but for any/all. */
static inline uint16_t add_raw_leaf(struct builder *b, unsigned op, uint16_t left, uint16_t right, uint16_t third,
                                    unsigned first, unsigned end)
{
    char text[20];
    put_number(&b->leaves, op, 1);
    put_number(&b->leaves, 0, 1);
    put_number(&b->leaves, left, 2);
    put_number(&b->leaves, right, 2);
    put_number(&b->leaves, third, 2);
    put_number(&b->leaves, first, 2);
    put_number(&b->leaves, end, 2);
    snprintf(text, sizeof text, "clause %u", b->leaf_count);
    put_text(&b->leaves, text, strlen(text));
    return b->leaf_count++;
}

static inline uint16_t add_leaf(struct builder *b, unsigned op, const char *left, const char *right, const char *third)
{
    uint16_t operands[3] = {add(b, left), add(b, right), add(b, third)};
    return add_raw_leaf(b, op, operands[0], operands[1], operands[2], 0, 0);
}

static inline void add_node(struct builder *b, unsigned kind, unsigned leaf, unsigned end)
{
    put_number(&b->nodes, kind, 1);
    put_number(&b->nodes, 0, 1);
    put_number(&b->nodes, leaf, 2);
    put_number(&b->nodes, end, 2);
    b->node_count++;
}

static inline void add_leaf_node(struct builder *b, unsigned leaf)
{
    add_node(b, NODE_LEAF, leaf, b->node_count + 1u);
}

/* The whole program; valid until the builder changes. */
static inline const struct mst_buffer *build(struct builder *b)
{
    mst_buffer_clear(&b->out);
    mst_buffer_append(&b->out, "MSTP\1\0", 6);
    uint16_t counts[] = {b->path_count,    b->constant_count, b->parameter_count,
                         b->operand_count, b->leaf_count,     b->node_count};
    for (size_t i = 0; i < 6; i++)
        put_number(&b->out, counts[i], 2);
    struct mst_buffer *parts[] = {&b->paths, &b->constants, &b->parameters, &b->operands, &b->leaves, &b->nodes};
    for (size_t i = 0; i < 6; i++)
        mst_buffer_append(&b->out, parts[i]->data, parts[i]->length);
    assert_false(b->out.failed);
    return &b->out;
}

static inline struct mst_program *load(struct builder *b)
{
    const struct mst_buffer *bytes = build(b);
    struct mst_program *program = NULL;
    struct mst_error error = {0};
    if (mst_program_load(&program, bytes->data, bytes->length, &error) < 0)
        fail_msg("program refused: %s", error.message);
    return program;
}
