// SPDX-License-Identifier: Apache-2.0
#pragma once

/* Random records and random filters over their fields. For tests only. */
#include <stdio.h>

#include "builder.h"
#include "dice.h"

static const char *const random_scalars[] = {
    "0",         "1",          "2",       "1.0",   "-0.0", "2.5",          "\"a\"",     "\"ab\"",
    "\"A\"",     "\"\"",       "true",    "false", "null", "[]",           "{}",        "[1]",
    "[1,\"a\"]", "[null,2]",   "[[1],2]", "1e3",   "1000", "\"10.1.2.3\"", "\"1.2.0\"", "\"2025-10-09\"",
    "{\"x\":1}", "{\"x\":1.0}"};

static inline const char *random_scalar(uint64_t *seed)
{
    return random_scalars[dice(seed, sizeof random_scalars / sizeof *random_scalars)];
}

/* `serial` is different in every record that has it. */
static inline void random_metadata(uint64_t *seed, unsigned serial, char *out, size_t size)
{
    size_t at = 0;
    const char *separator = "";
#define FIELD(...)                                                    \
    do {                                                              \
        at += (size_t)snprintf(out + at, size - at, "%s", separator); \
        at += (size_t)snprintf(out + at, size - at, __VA_ARGS__);     \
        separator = ",";                                              \
    } while (0)
    FIELD("{\"pad\":0");
    if (dice(seed, 5))
        FIELD("\"a\":%s", random_scalar(seed));
    if (dice(seed, 3))
        FIELD("\"b\":%s", random_scalar(seed));
    if (dice(seed, 10))
        FIELD("\"serial\":\"SN%u\"", serial);
    if (dice(seed, 10))
        FIELD("\"n\":%u%s", serial % 500, dice(seed, 4) ? "" : ".0");
    if (dice(seed, 2))
        FIELD("\"tags\":[%s,%s]", random_scalar(seed), random_scalar(seed));
    if (dice(seed, 2))
        FIELD("\"o\":{\"p\":%s,\"q\":[{\"r\":%s},{\"r\":%s},3]}", random_scalar(seed), random_scalar(seed),
              random_scalar(seed));
    if (dice(seed, 2))
        FIELD("\"v\":\"%u.%u%s\"", dice(seed, 3), dice(seed, 12), dice(seed, 3) ? "" : "-rc.1");
    if (dice(seed, 2))
        FIELD("\"seen\":%u", 1759999000u + dice(seed, 2000));
    if (dice(seed, 3) == 0)
        FIELD("\"at\":{\"lat\":%u,\"lon\":%u}", dice(seed, 90), dice(seed, 180));
    FIELD("\"end\":1}");
#undef FIELD
}

static inline const char *random_path(uint64_t *seed)
{
    static const char *const paths[] = {"a",        "a", "b", "tags",   "tags", "o.p",  "o.q.r", "tags[0]",
                                        "o.q[1].r", "o", "n", "serial", "v",    "seen", "none",  "it"};
    return paths[dice(seed, sizeof paths / sizeof *paths)];
}

static inline uint16_t random_left(struct builder *b, uint64_t *seed)
{
    static const char *const functions[] = {"lower", "upper", "len", "semver", "time"};
    static const char *const builtins[] = {"@id",  "@namespace", "@registered_at", "@updated_at", "@expires_at",
                                           "@ttl", "@age"};
    char spec[60];
    switch (dice(seed, 12)) {
    case 0:
        snprintf(spec, sizeof spec, "%s(%s)", functions[dice(seed, 5)], random_path(seed));
        return add(b, spec);
    case 1:
        return add(b, builtins[dice(seed, 7)]);
    case 3:
        return add(b, "@id");
    case 2:
        return dice(seed, 3) ? add_distance(b, "at", 10, 10) : add(b, ":p");
    default:
        return add(b, random_path(seed));
    }
}

static inline uint16_t random_right(struct builder *b, uint64_t *seed)
{
    char spec[60];
    switch (dice(seed, 12)) {
    case 0:
        return add(b, dice(seed, 2) ? "#semver 1.2" : "#time 1759999900000000");
    case 1:
        return add(b, dice(seed, 2) ? "now-1000" : "now-:p");
    case 2:
        return add(b, ":p");
    case 3:
    case 4:
        return random_left(b, seed);
    case 5:
        snprintf(spec, sizeof spec, "=\"SN%u\"", dice(seed, 800));
        return add(b, spec);
    case 6:
        snprintf(spec, sizeof spec, "=%u%s", dice(seed, 500), dice(seed, 2) ? "" : ".0");
        return add(b, spec);
    default:
        snprintf(spec, sizeof spec, "=%s", random_scalar(seed));
        return add(b, spec);
    }
}

static inline uint16_t random_list(struct builder *b, uint64_t *seed)
{
    char spec[300];
    size_t at = (size_t)snprintf(spec, sizeof spec, "=[%u", dice(seed, 500));
    if (dice(seed, 4) == 0)
        return add(b, ":l");
    for (uint32_t i = dice(seed, 5); i > 0; i--)
        at += (size_t)snprintf(spec + at, sizeof spec - at, ",%s", random_scalar(seed));
    snprintf(spec + at, sizeof spec - at, ",\"SN%u\",\"d%u\"]", dice(seed, 800), dice(seed, 300));
    return add(b, spec);
}

static inline uint16_t random_pattern(struct builder *b, uint64_t *seed, unsigned op)
{
    static const char *const patterns[][3] = {{"#like %1%", "#like a_", "#like SN1__"},
                                              {"#glob *1*", "#glob [a-c]*", "#glob SN?"},
                                              {"#regex ^SN1", "#regex (?i)a", "#regex [0-9]+$"},
                                              {"#cidr 10.0.0.0/8", "#cidr ::/0", "#cidr 10.1.2.3"}};
    if (dice(seed, 6) == 0)
        return add(b, op == MST_OP_CIDR ? ":net" : ":p");
    return add(b, patterns[op == MST_OP_CIDR ? 3 : op - MST_OP_LIKE][dice(seed, 3)]);
}

/* A leaf without an inner expression. */
static inline uint16_t random_leaf(struct builder *b, uint64_t *seed)
{
    char types[20];
    unsigned op = dice(seed, MST_OP_ANY);
    uint16_t left = random_left(b, seed), right = NONE, third = NONE;
    switch (op) {
    case MST_OP_BETWEEN:
        right = random_right(b, seed);
        third = random_right(b, seed);
        break;
    case MST_OP_IN:
        right = dice(seed, 4) ? random_list(b, seed) : add(b, random_path(seed));
        break;
    case MST_OP_CONTAINS_ANY:
    case MST_OP_CONTAINS_ALL:
        right = random_list(b, seed);
        break;
    case MST_OP_LIKE:
    case MST_OP_GLOB:
    case MST_OP_MATCHES:
    case MST_OP_CIDR:
        right = random_pattern(b, seed, op);
        break;
    case MST_OP_TYPE:
        snprintf(types, sizeof types, "#types %u", dice(seed, 128));
        right = add(b, types);
        left = add(b, random_path(seed));
        break;
    case MST_OP_EXISTS:
        left = add(b, random_path(seed));
        break;
    case MST_OP_TRUE:
        break;
    default:
        right = random_right(b, seed);
    }
    return add_raw_leaf(b, op, left, right, third, 0, 0);
}

/* Leaves that still need their inner expression: where their range stands in the leaf table. */
struct pending {
    size_t at[64];
    unsigned count;
};

static inline void patch(struct mst_buffer *out, size_t at, unsigned number)
{
    out->data[at] = (char)number;
    out->data[at + 1] = (char)(number >> 8);
}

static inline void random_tree(struct builder *b, uint64_t *seed, unsigned depth, struct pending *pending)
{
    size_t node = b->node_count;
    if (depth == 0 || dice(seed, 3) == 0) {
        if (pending->count < 4 && dice(seed, 6) == 0) {
            uint16_t left = add(b, random_path(seed));
            pending->at[pending->count++] = b->leaves.length + 8;
            add_leaf_node(b, add_raw_leaf(b, dice(seed, 2) ? MST_OP_ANY : MST_OP_ALL, left, NONE, NONE, 0, 0));
        } else if (dice(seed, 15) == 0) {
            add_node(b, dice(seed, 2) ? NODE_TRUE : NODE_FALSE, 0, (unsigned)node + 1);
        } else {
            add_leaf_node(b, random_leaf(b, seed));
        }
        return;
    }
    unsigned kind = NODE_AND + dice(seed, 3);
    add_node(b, kind, 0, 0);
    for (uint32_t children = kind == NODE_NOT ? 1 : 1 + dice(seed, 3); children > 0; children--)
        random_tree(b, seed, depth - 1, pending);
    patch(&b->nodes, node * 6 + 4, b->node_count);
}

static inline void random_filter(struct builder *b, uint64_t *seed)
{
    struct pending pending = {0};
    builder_clear(b);
    random_tree(b, seed, 4, &pending);
    for (unsigned i = 0; i < pending.count; i++) {
        size_t at = pending.at[i];
        patch(&b->leaves, at, b->node_count);
        random_tree(b, seed, 2, &pending);
        patch(&b->leaves, at + 2, b->node_count);
    }
}

/* Parameters that random filters use. */
static inline void random_parameters(struct builder *b, uint64_t *seed, struct mst_buffer *out)
{
    char text[400];
    snprintf(text, sizeof text, "{\"l\":%s,\"net\":\"10.0.0.0/9\",\"p\":%s}",
             dice(seed, 3) ? "[1,\"a\",[1],null]" : random_scalar(seed), random_scalar(seed));
    put_json(b->parser, out, text);
}
