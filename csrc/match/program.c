// SPDX-License-Identifier: Apache-2.0
#include "match/program.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "match/internal.h"
#include "match/plan.h"

#define PROGRAM_MAX 65536u
#define TABLE_MAX 4096u /* entries of any table; the clauses that fit need no more */
#define LEAVES_MAX 1024u
#define REGEXES_MAX 64u
#define VALUE_DEPTH 16u
#define NO_OPERAND 0xffffu

/* Reads little-endian fields; once a read does not fit, all further reads give zeros and `failed` stays set. */
struct reader {
    const uint8_t *at, *end;
    bool failed;
};

static const uint8_t *read_bytes(struct reader *reader, size_t count)
{
    if (reader->failed || (size_t)(reader->end - reader->at) < count) {
        reader->failed = true;
        return NULL;
    }
    const uint8_t *bytes = reader->at;
    reader->at += count;
    return bytes;
}

static uint64_t read_number(struct reader *reader, unsigned count)
{
    const uint8_t *bytes = read_bytes(reader, count);
    uint64_t number = 0;
    for (unsigned i = 0; bytes && i < count; i++)
        number |= (uint64_t)bytes[i] << (8 * i);
    return number;
}

static uint8_t read_u8(struct reader *reader)
{
    return (uint8_t)read_number(reader, 1);
}

static uint16_t read_u16(struct reader *reader)
{
    return (uint16_t)read_number(reader, 2);
}

static double read_f64(struct reader *reader)
{
    uint64_t bits = read_number(reader, 8);
    double number;
    memcpy(&number, &bits, sizeof number);
    return number;
}

static struct mst_span read_text(struct reader *reader)
{
    uint16_t length = read_u16(reader);
    const uint8_t *bytes = read_bytes(reader, length);
    return (struct mst_span){bytes ? (const char *)bytes : "", bytes ? length : 0};
}

static int bad(struct mst_error *error, const char *what, unsigned number)
{
    return mst_error_set(error, MST_EFILTER, "not a filter program: %s %u", what, number);
}

static int read_step(struct reader *reader, struct mst_path_step *step, char **decimal)
{
    if (read_u8(reader) == 0) {
        struct mst_span name = read_text(reader);
        *step = (struct mst_path_step){name.data, (uint32_t)name.length, -1};
        return 0;
    }
    reader->at -= reader->failed ? 0 : 1;
    if (read_u8(reader) != 1)
        return -1;
    uint32_t index = (uint32_t)read_number(reader, 4);
    if (index > INT32_MAX)
        return -1;
    int length = sprintf(*decimal, "%u", index);
    *step = (struct mst_path_step){*decimal, (uint32_t)length, (int32_t)index};
    *decimal += length;
    return 0;
}

static int read_source(struct reader *reader, struct mst__source *source, char **decimal)
{
    uint8_t root = read_u8(reader), count = read_u8(reader);
    source->builtin = root == 1;
    source->which = count;
    if (root == 1)
        return count <= MST__AGE ? 0 : -1;
    if (root != 0 || count > sizeof source->path.steps / sizeof *source->path.steps)
        return -1;
    source->path.count = count;
    for (unsigned i = 0; i < count && !reader->failed; i++)
        if (read_step(reader, &source->path.steps[i], decimal) < 0)
            return -1;
    return 0;
}

static int read_value(struct reader *reader, struct mst__constant *constant)
{
    uint32_t length = (uint32_t)read_number(reader, 4);
    constant->value = read_bytes(reader, length);
    return constant->value && mst_value_verify(constant->value, length, VALUE_DEPTH) ? 0 : -1;
}

static int read_pattern(struct reader *reader, struct mst__constant *constant, enum mst_op op, struct mst_error *error)
{
    return mst__matcher_init_text(&constant->matcher, op, read_text(reader), error);
}

static int read_version(struct reader *reader, struct mst__constant *constant, struct mst_error *error)
{
    struct mst_span text = read_text(reader);
    if (mst__version_parse(&constant->version, text.data, text.length))
        return 0;
    return mst_error_set(error, MST_EFILTER, "bad version \"%.*s\"", (int)(text.length > 60 ? 60 : text.length),
                         text.data);
}

static int read_constant(struct reader *reader, struct mst__constant *constant, unsigned number,
                         struct mst_error *error)
{
    uint8_t type = read_u8(reader);
    constant->type = (enum mst__constant_type)type;
    switch (type) {
    case MST__VALUE:
        return read_value(reader, constant) == 0 ? 0 : bad(error, "constant", number);
    case MST__CONST_VERSION:
        return read_version(reader, constant, error);
    case MST__CONST_TIME:
        constant->time = (int64_t)read_number(reader, 8);
        return 0;
    case MST__CONST_CIDR:
        return read_pattern(reader, constant, MST_OP_CIDR, error);
    case MST__CONST_REGEX:
        return read_pattern(reader, constant, MST_OP_MATCHES, error);
    case MST__CONST_LIKE:
        return read_pattern(reader, constant, MST_OP_LIKE, error);
    case MST__CONST_GLOB:
        return read_pattern(reader, constant, MST_OP_GLOB, error);
    case MST__CONST_TYPES:
        constant->types = read_u16(reader);
        return constant->types < 128 ? 0 : bad(error, "constant", number);
    default:
        return bad(error, "constant", number);
    }
}

static int read_operand(struct reader *reader, struct mst__operand *operand)
{
    uint8_t kind = read_u8(reader), function = read_u8(reader);
    operand->index = read_u16(reader);
    operand->term_count = read_u8(reader);
    if (kind > MST__NOW || function > MST__DISTANCE || operand->term_count > 4)
        return -1;
    operand->kind = (enum mst__operand_kind)kind;
    operand->function = (enum mst__function)function;
    for (unsigned i = 0; i < operand->term_count; i++) {
        struct mst__term *term = &operand->terms[i];
        uint8_t sign = read_u8(reader), source = read_u8(reader);
        term->minus = sign == 1;
        term->index = read_u16(reader);
        if (sign > 1 || (source != MST__CONSTANT && source != MST__PARAMETER))
            return -1;
        term->kind = (enum mst__operand_kind)source;
    }
    if (function != MST__DISTANCE)
        return 0;
    operand->latitude = read_f64(reader);
    operand->longitude = read_f64(reader);
    return isfinite(operand->latitude) && isfinite(operand->longitude) ? 0 : -1;
}

/* False if the number points at no operand. */
static bool link_operand(const struct mst_program *program, uint16_t number, const struct mst__operand **operand)
{
    *operand = number == NO_OPERAND ? NULL : &program->operands[number];
    return number == NO_OPERAND || number < program->operand_count;
}

static int read_leaf(struct reader *reader, const struct mst_program *program, struct mst__leaf *leaf)
{
    uint8_t op = read_u8(reader), reserved = read_u8(reader);
    uint16_t left = read_u16(reader), right = read_u16(reader), third = read_u16(reader);
    leaf->op = (enum mst_op)op;
    leaf->first = read_u16(reader);
    leaf->end = read_u16(reader);
    leaf->text = read_text(reader);
    return op < MST_OP_COUNT && reserved == 0 && link_operand(program, left, &leaf->left) &&
                   link_operand(program, right, &leaf->right) && link_operand(program, third, &leaf->third)
               ? 0
               : -1;
}

static int read_node(struct reader *reader, struct mst__node *node)
{
    node->kind = read_u8(reader);
    uint8_t reserved = read_u8(reader);
    node->leaf = read_u16(reader);
    node->end = read_u16(reader);
    return node->kind <= MST__FALSE && reserved == 0 ? 0 : -1;
}

static int read_header(struct reader *reader, struct mst_program *program, struct mst_error *error)
{
    const uint8_t *magic = read_bytes(reader, 4);
    if (!magic || memcmp(magic, "MSTP", 4) != 0)
        return mst_error_set(error, MST_EFILTER, "not a filter program");
    uint8_t version = read_u8(reader), flags = read_u8(reader);
    if (version != 1 || flags != 0)
        return mst_error_set(error, MST_EFILTER, "filter program of version %u is not supported", version);
    program->source_count = read_u16(reader);
    program->constant_count = read_u16(reader);
    program->parameter_count = read_u16(reader);
    program->operand_count = read_u16(reader);
    program->leaf_count = read_u16(reader);
    program->node_count = read_u16(reader);
    if (reader->failed)
        return bad(error, "header", 0);
    if (program->source_count > TABLE_MAX || program->constant_count > TABLE_MAX ||
        program->parameter_count > TABLE_MAX || program->operand_count > TABLE_MAX ||
        program->leaf_count > LEAVES_MAX || program->node_count > TABLE_MAX)
        return mst_error_set(error, MST_ETOOBIG, "filter is too big (%u clauses)", program->leaf_count);
    return 0;
}

static void *table(size_t count, size_t size)
{
    return calloc(count ? count : 1, size);
}

static int allocate(struct mst_program *program, struct mst_error *error)
{
    program->sources = table(program->source_count, sizeof *program->sources);
    program->constants = table(program->constant_count, sizeof *program->constants);
    program->parameters = table(program->parameter_count, sizeof *program->parameters);
    program->operands = table(program->operand_count, sizeof *program->operands);
    program->leaves = table(program->leaf_count, sizeof *program->leaves);
    program->nodes = table(program->node_count, sizeof *program->nodes);
    program->top = table(program->leaf_count, sizeof *program->top);
    program->decimals = malloc(program->length * 2 + 11); /* an index step: five bytes there, ten digits here */
    if (!program->sources || !program->constants || !program->parameters || !program->operands || !program->leaves ||
        !program->nodes || !program->top || !program->decimals)
        return mst_error_set(error, MST_ENOMEM, "no memory for a filter");
    return 0;
}

static int read_constants(struct reader *reader, struct mst_program *program, struct mst_error *error)
{
    unsigned regexes = 0;
    for (unsigned i = 0; i < program->constant_count; i++) {
        int status = read_constant(reader, &program->constants[i], i, error);
        if (status < 0)
            return status;
        if (reader->failed)
            return bad(error, "constant", i);
        regexes += program->constants[i].type == MST__CONST_REGEX;
        if (regexes > REGEXES_MAX)
            return mst_error_set(error, MST_ETOOBIG, "filter has more than %u regular expressions", REGEXES_MAX);
    }
    return 0;
}

static int read_tables(struct reader *reader, struct mst_program *program, struct mst_error *error)
{
    char *decimal = program->decimals;
    for (unsigned i = 0; i < program->source_count; i++)
        if (read_source(reader, &program->sources[i], &decimal) < 0 || reader->failed)
            return bad(error, "path", i);
    int status = read_constants(reader, program, error);
    if (status < 0)
        return status;
    for (unsigned i = 0; i < program->parameter_count; i++)
        program->parameters[i] = read_text(reader);
    for (unsigned i = 0; i < program->operand_count; i++)
        if (read_operand(reader, &program->operands[i]) < 0 || reader->failed)
            return bad(error, "operand", i);
    for (unsigned i = 0; i < program->leaf_count; i++)
        if (read_leaf(reader, program, &program->leaves[i]) < 0 || reader->failed)
            return bad(error, "clause", i);
    for (unsigned i = 0; i < program->node_count; i++)
        if (read_node(reader, &program->nodes[i]) < 0 || reader->failed)
            return bad(error, "node", i);
    return reader->failed || reader->at != reader->end ? bad(error, "bytes behind node", program->node_count) : 0;
}

int mst_program_load(struct mst_program **out, const void *bytes, size_t length, struct mst_error *error)
{
    if (length > PROGRAM_MAX)
        return mst_error_set(error, MST_ETOOBIG, "filter program of %zu bytes is too big", length);
    struct mst_program *program = calloc(1, sizeof *program);
    if (!program || !(program->bytes = malloc(length + 1))) {
        free(program);
        return mst_error_set(error, MST_ENOMEM, "no memory for a filter");
    }
    if (length)
        memcpy(program->bytes, bytes, length);
    program->length = length;
    struct reader reader = {program->bytes, program->bytes + length, false};
    int status = read_header(&reader, program, error);
    if (status < 0)
        goto fail;
    status = allocate(program, error);
    if (status < 0)
        goto fail;
    status = read_tables(&reader, program, error);
    if (status < 0)
        goto fail;
    status = mst__program_verify(program, error);
    if (status < 0)
        goto fail;
    program->cache = mst__cache_create(program);
    if (!program->cache) {
        status = mst_error_set(error, MST_ENOMEM, "no memory for a filter");
        goto fail;
    }
    *out = program;
    return 0;
fail:
    mst_program_destroy(program);
    return status;
}

void mst_program_destroy(struct mst_program *program)
{
    if (!program)
        return;
    mst__cache_destroy(program->cache);
    for (unsigned i = 0; program->constants && i < program->constant_count; i++)
        mst__matcher_deinit(&program->constants[i].matcher);
    free(program->sources);
    free(program->constants);
    free(program->parameters);
    free(program->operands);
    free(program->leaves);
    free(program->nodes);
    free(program->top);
    free(program->decimals);
    free(program->bytes);
    free(program);
}

size_t mst_program_kept(const struct mst_program *program)
{
    return program->cache->kept;
}

uint32_t mst_program_leaf_count(const struct mst_program *program)
{
    return program->top_count;
}

uint32_t mst_program_parameter_count(const struct mst_program *program)
{
    return program->parameter_count;
}

struct mst_span mst_program_parameter(const struct mst_program *program, uint32_t index)
{
    return program->parameters[index];
}
